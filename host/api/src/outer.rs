//! Around everything: a request has an id, a time, and an answer even if a handler panics.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use tracing::Instrument as _;
use uuid::Uuid;

use crate::error::{ApiError, Dialect};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const PROCESSING_TIME: HeaderName = HeaderName::from_static("x-processing-time-ms");

/// A request's id, for whoever answers the request.
#[derive(Clone)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

/// A client's own id is taken if it is short and plain: it goes into logs and back into a header.
fn accepted(value: &HeaderValue) -> bool {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b':');
    matches!(value.len(), 1..=128) && value.as_bytes().iter().all(plain)
}

fn request_id(request: &Request) -> HeaderValue {
    if let Some(id) = request.headers().get(REQUEST_ID).filter(|id| accepted(id)) {
        return id.clone();
    }
    let mut text = Uuid::encode_buffer();
    let text = Uuid::now_v7().hyphenated().encode_lower(&mut text);
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static("none"))
}

/// The outermost layer.
pub(crate) async fn outer(mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&request);
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), run = tracing::field::Empty);
    let dialect = Dialect::of_path(request.uri().path());
    request.extensions_mut().insert(RequestId(id.clone()));
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind().instrument(span.clone()).await;
    let mut response = answered.unwrap_or_else(|_| {
        span.in_scope(|| tracing::error!("a handler panicked; the client was told of an internal error"));
        ApiError::internal().within(dialect).into_response()
    });
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    span.in_scope(|| tracing::debug!(status = response.status().as_u16(), duration_ms = milliseconds, "answered"));
    response.headers_mut().insert(REQUEST_ID, id);
    response.headers_mut().insert(PROCESSING_TIME, milliseconds.into());
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    fn id_for(sent: &'static [u8]) -> String {
        let mut request = Request::new(Body::empty());
        request.headers_mut().insert(REQUEST_ID, HeaderValue::from_bytes(sent).unwrap());
        request_id(&request).to_str().unwrap().to_owned()
    }

    #[test]
    fn a_sane_request_id_is_kept_and_any_other_replaced() {
        assert_eq!(id_for(b"trace-1.2:3_x"), "trace-1.2:3_x");
        for odd in [b"a b".as_slice(), b"<script>", b"\xff", &[b'a'; 129], b""] {
            assert!(Uuid::try_parse(&id_for(odd)).is_ok(), "{odd:?}");
        }
    }
}
