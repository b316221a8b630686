//! Where a client wants to be called back.

use url::Url;

use crate::error::ApiError;

/// The longest address.
const MAX_BYTES: usize = 2048;

/// An address that a run's end may be told to, as it is kept. Whether it is on the public internet, its delivery shows: what a
/// name stands for may change until then.
pub(crate) fn callback_url(param: &'static str, text: &str) -> Result<String, ApiError> {
    let wrong = |wrong: &str| Err(ApiError::invalid(param, wrong));
    if text.len() > MAX_BYTES {
        return wrong("must be at most 2048 bytes");
    }
    // The parser forgives spaces around, line breaks within and slashes too few or too many; what is kept should be what was
    // sent.
    let has_host = text.split_once("://").is_some_and(|(_, rest)| !rest.starts_with(['/', '\\']));
    let plain = has_host && text.bytes().all(|byte| byte.is_ascii_graphic());
    let Some(url) = Url::parse(text).ok().filter(|url| plain && url.host().is_some()) else {
        return wrong("must be an absolute URL, such as https://example.com/done");
    };
    if !matches!(url.scheme(), "https" | "http") {
        return wrong("must begin with https:// or http://");
    }
    if !url.username().is_empty() || url.password().is_some() {
        return wrong("must not hold a user name or a password: deliveries are signed instead");
    }
    Ok(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_absolute_and_holds_no_credentials() {
        for good in ["https://example.com/done?x=1", "http://127.0.0.1:8080/", "https://[::1]/a"] {
            assert_eq!(callback_url("callbackUrl", good).unwrap(), good);
        }
        assert_eq!(callback_url("u", "HTTPS://Example.com").unwrap(), "https://example.com/");
        let long = format!("https://example.com/{}", "x".repeat(MAX_BYTES));
        for bad in [
            "",
            "/done",
            "example.com/done",
            "ftp://example.com/",
            "javascript:alert(1)",
            "https:///x",
            "https:example.com",
            "https://user@example.com/",
            "https://:pw@example.com/",
            " https://example.com/",
            "https://exa mple.com/",
            "https://example.com/\n",
            "https://exämple.com/",
            "mailto:a@example.com",
            &long,
        ] {
            assert_eq!(callback_url("callbackUrl", bad).unwrap_err().code(), "invalid_parameter", "{bad}");
        }
    }
}
