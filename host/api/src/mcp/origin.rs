//! Whose pages may speak to `/mcp`. A page in a browser that has tricked a name into pointing at this host names itself as the
//! origin: so an origin must be one that the key allows, or this machine itself.

use axum::http::{HeaderMap, header};
use url::{Host, Url};

use crate::auth::Caller;
use crate::error::{ApiError, Kind};

/// # Errors
/// When the request comes from a page that may not use the key here. A key that has a list of origins was checked by the gate.
pub(super) fn check(caller: &Caller, headers: &HeaderMap) -> Result<(), ApiError> {
    if caller.allowed_origins.is_empty() { admit(headers) } else { Ok(()) }
}

fn admit(headers: &HeaderMap) -> Result<(), ApiError> {
    let origins = headers.get_all(header::ORIGIN);
    if origins.iter().all(|origin| origin.to_str().is_ok_and(is_this_machine)) {
        return Ok(());
    }
    let message = "pages of this origin can not speak to /mcp: give the key allowedOrigins that have it";
    Err(ApiError::new(Kind::OriginNotAllowed, message))
}

/// A page of this machine's own.
fn is_this_machine(origin: &str) -> bool {
    let url = Url::parse(origin).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
    match url.as_ref().and_then(Url::host) {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn a_page_from_elsewhere_is_refused_and_whoever_is_no_page_is_not() {
        assert!(admit(&HeaderMap::new()).is_ok());
        for (origin, admitted) in [
            ("http://localhost:3000", true),
            ("https://127.0.0.1", true),
            ("http://[::1]:8080", true),
            ("http://evil.example", false),
            ("http://localhost.evil.example", false),
            ("http://127.0.0.1.evil.example:8080", false),
            ("null", false),
            ("file://", false),
        ] {
            let headers = HeaderMap::from_iter([(header::ORIGIN, HeaderValue::from_static(origin))]);
            assert_eq!(admit(&headers).is_ok(), admitted, "{origin}");
        }
    }
}
