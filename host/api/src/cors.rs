//! Browsers: whose pages may use a key, and which of them may read the answers. That is the key's to say, so a library's layer,
//! which is asked before a key is known, would have to be told by what comes after it.
//!
//! A preflight carries no key. It is answered alike for every origin, and tells what the document tells: the methods of the path and the
//! headers that are read.

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;

use crate::error::{ApiError, Kind};

/// The headers of requests that any route reads.
const READ: &str =
    "Authorization, Content-Type, Accept, Idempotency-Key, Last-Event-ID, If-Match, If-None-Match, X-Request-ID";

/// The headers of answers that a page may read, besides those that it always may.
const EXPOSED: &str = "X-Request-ID, X-Processing-Time-Ms, X-Run-ID, Retry-After, ETag, Location, Link, Content-Disposition, \
    X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Reset, \
    X-RateLimit-Limit-RPM, X-RateLimit-Remaining-RPM, X-RateLimit-Reset-RPM, \
    X-RateLimit-Limit-TPM, X-RateLimit-Remaining-TPM, X-RateLimit-Reset-TPM";

/// For how long a browser need not ask again, in seconds.
const PREFLIGHT_KEPT: u32 = 7200;

/// A browser asks whether a page may send a request.
pub(crate) fn is_preflight(request: &Request) -> bool {
    request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ORIGIN)
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// Answers preflights, around all routes.
pub(crate) async fn preflight(request: Request, next: Next) -> Response {
    let asked = is_preflight(&request);
    let response = next.run(request).await;
    // No route takes OPTIONS; the refusal says what it takes. There is none where nothing is.
    match response.headers().get(header::ALLOW) {
        Some(allowed) if asked => {
            let allowed = allowed.clone();
            let (mut head, _refusal) = response.into_parts();
            head.status = StatusCode::NO_CONTENT;
            head.headers.remove(header::CONTENT_TYPE);
            head.headers.remove(header::CONTENT_LENGTH);
            head.headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
            head.headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, allowed);
            head.headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(READ));
            head.headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_KEPT.into());
            Response::from_parts(head, Body::empty())
        }
        _ => response,
    }
}

/// The origin of the request's page, if the key has a list in which it is; nothing of one where the key has no list.
///
/// # Errors
/// When the page's origin is not in the key's list. A request that comes from no page has none.
pub(crate) fn admitted(allowed: &[String], headers: &HeaderMap) -> Result<Option<HeaderValue>, ApiError> {
    if allowed.is_empty() {
        return Ok(None);
    }
    let mut origins = headers.get_all(header::ORIGIN).iter();
    let Some(origin) = origins.next() else { return Ok(None) };
    let is_allowed = allowed.iter().any(|allowed| origin == allowed.as_str());
    if is_allowed && origins.next().is_none() {
        return Ok(Some(origin.clone()));
    }
    let message = "this API key can not be used by pages of this origin: the key's allowedOrigins do not have it";
    Err(ApiError::new(Kind::OriginNotAllowed, message))
}

/// Lets the page of an origin read the answer, and says to caches that it is for that one alone.
pub(crate) fn tell(response: &mut Response, origin: Option<HeaderValue>) {
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    }
}
