//! `Idempotency-Key`: makes a request safe to repeat. A key belongs to one request: the same key with another body, or sent
//! to another path, is a conflict and never somebody else's answer.

use axum::http::HeaderMap;
use vivarium_domain::ContentHash;
use vivarium_runs::Idempotency;

use crate::error::ApiError;

/// The longest key.
const MAX_KEY_BYTES: usize = 255;

/// The `Idempotency-Key` header of a request to this path, with the hash of what it stands for.
pub(crate) fn idempotency(headers: &HeaderMap, path: &str, body: &[u8]) -> Result<Option<Idempotency>, ApiError> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
    let key = key.filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
    let key = key.filter(|_| values.next().is_none()).ok_or_else(|| {
        ApiError::invalid("Idempotency-Key", format!("must be 1 to {MAX_KEY_BYTES} visible ASCII characters, once"))
    })?;
    // No path holds a line break, so what is hashed can be read in one way only.
    let request = [path.as_bytes(), b"\n", body].concat();
    Ok(Some(Idempotency { key: key.to_owned(), request_hash: ContentHash::of(&request) }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn hash(path: &str, body: &[u8]) -> ContentHash {
        let headers = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), HeaderValue::from_static("k"))]);
        idempotency(&headers, path, body).unwrap().unwrap().request_hash
    }

    #[test]
    fn a_key_stands_for_one_body_at_one_path() {
        assert_eq!(hash("/v1/runs", b"{}"), hash("/v1/runs", b"{}"));
        assert_ne!(hash("/v1/runs", b"{}"), hash("/v1/runs", b"{ }"));
        assert_ne!(hash("/v1/runs", b"{}"), hash("/v1/agent/run", b"{}"));
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        for bad in [&b""[..], b"\xff", &[b'x'; 256]] {
            let value = HeaderValue::from_bytes(bad).unwrap();
            let headers = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), value)]);
            assert_eq!(idempotency(&headers, "/", b"").unwrap_err().code(), "invalid_parameter", "{bad:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append("idempotency-key", HeaderValue::from_static("a"));
        twice.append("idempotency-key", HeaderValue::from_static("b"));
        assert!(idempotency(&twice, "/", b"").is_err());
        assert!(idempotency(&HeaderMap::new(), "/", b"").unwrap().is_none());
    }
}
