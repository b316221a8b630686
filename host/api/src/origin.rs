//! Origins: which pages in a browser may use a key.

use url::{Origin, Url};

use crate::error::{ApiError, Kind};

/// The most origins of a key.
const MAX_ORIGINS: usize = 100;

/// The longest origin that is taken, in characters.
const MAX_CHARS: usize = 300;

/// An origin as browsers write it: scheme, host and, where it is not the scheme's own, port. None: it is no origin of a web
/// page; `*` is none, and `null`, which a browser sends for every page that has none, is none either.
fn normalised(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(|_| text.chars().count() <= MAX_CHARS)?;
    let plain = matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
        && url.path() == "/"
        && url.host_str().is_some_and(|host| !host.contains('*'))
        && url.query().is_none()
        && url.fragment().is_none();
    match url.origin() {
        origin @ Origin::Tuple(..) if plain => Some(origin.ascii_serialization()),
        _ => None,
    }
}

/// Why texts are not a key's origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OriginError {
    /// There are too many.
    #[error("allowedOrigins must have at most {MAX_ORIGINS} items")]
    TooMany,
    /// The one at this place is none.
    #[error(
        "allowedOrigins[{0}] must be the origin of a page, such as https://app.example.com: http or https, a host, and no path"
    )]
    NotOne(usize),
}

impl From<OriginError> for ApiError {
    fn from(error: OriginError) -> Self {
        let place = match error {
            OriginError::TooMany => "allowedOrigins".to_owned(),
            OriginError::NotOne(place) => format!("allowedOrigins[{place}]"),
        };
        Self::new(Kind::InvalidParameter, error.to_string()).about(place)
    }
}

/// A key's origins, each once and as browsers write them.
///
/// # Errors
/// When one is none, with its place.
pub fn origins(texts: &[String]) -> Result<Vec<String>, OriginError> {
    if texts.len() > MAX_ORIGINS {
        return Err(OriginError::TooMany);
    }
    let mut found = Vec::with_capacity(texts.len());
    for (place, text) in texts.iter().enumerate() {
        let origin = normalised(text).ok_or(OriginError::NotOne(place))?;
        if !found.contains(&origin) {
            found.push(origin);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_kept_as_browsers_write_it() {
        let of = |text: &str| normalised(text).unwrap_or_default();
        assert_eq!(of("https://APP.Example.com:443/"), "https://app.example.com");
        assert_eq!(of("http://localhost:3000"), "http://localhost:3000");
        assert_eq!(of("https://b\u{fc}cher.example"), "https://xn--bcher-kva.example");
        assert_eq!(of("http://[::1]:8080"), "http://[::1]:8080");
    }

    #[test]
    fn what_is_no_origin_of_a_page_is_refused_with_its_place() {
        let bad = [
            "*",
            "null",
            "",
            "example.com",
            "https://*.example.com",
            "https://a.example/path",
            "https://a.example?q",
            "https://a.example#f",
            "https://user@a.example",
            "ftp://a.example",
            "file:///tmp",
            "data:text/html,x",
            "https://",
        ];
        for bad in bad {
            let error = origins(&["https://good.example".to_owned(), bad.to_owned()]).unwrap_err();
            assert_eq!(error, OriginError::NotOne(1), "{bad}");
        }
        assert_eq!(origins(&vec!["https://a.example".to_owned(); MAX_ORIGINS + 1]), Err(OriginError::TooMany));
        assert_eq!(origins(&["https://a.example".to_owned(), "HTTPS://A.example/".to_owned()]).unwrap().len(), 1);
    }
}
