//! Around everything: a request has an id, a time, and an answer even if a handler panics.

use std::panic::AssertUnwindSafe;
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use futures::FutureExt as _;
use tracing::Instrument as _;
use uuid::Uuid;
use vivarium_sight::metric::{self, Label, NO_LABELS, OneMore};
use vivarium_sight::{self as sight, InSpan as _, Remote, RequestIn, Span};

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

/// The methods by which requests are told apart; a client can make up others.
fn method(request: &Request) -> &'static str {
    match *request.method() {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    }
}

/// What is asked all day by machines that look whether the host is well: worth counting, and no trace.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// A request that is being answered, for the metrics. One that is dropped has lost its client.
struct Answering {
    method: &'static str,
    route: String,
    dialect: Dialect,
    status: &'static str,
    started: Instant,
    _in_flight: OneMore,
}

impl Answering {
    fn begin(request: &Request) -> Self {
        let route = request.extensions().get::<MatchedPath>().map_or("unmatched", MatchedPath::as_str);
        Self {
            method: method(request),
            route: route.to_owned(),
            dialect: Dialect::of_path(request.uri().path()),
            status: "left",
            started: Instant::now(),
            _in_flight: metric::HTTP_IN_FLIGHT.one_more(NO_LABELS),
        }
    }

    fn span(&self, request: &Request, id: &str) -> Span {
        if PROBES.contains(&self.route.as_str()) {
            return Span::default();
        }
        let caller = caller(request.headers());
        let Self { method, route, dialect, .. } = self;
        RequestIn { method, route, dialect: dialect.name(), id, caller: caller.as_ref() }.begin()
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let route = std::mem::take(&mut self.route);
        let labels =
            [Label::new("route", route), Label::new("method", self.method), Label::new("dialect", self.dialect.name())];
        metric::HTTP_DURATION.took(self.started.elapsed(), labels.iter());
        metric::HTTP_REQUESTS
            .add(1, labels.iter().cloned().chain([Label::new("status", self.status)]).collect::<Vec<_>>());
    }
}

/// The class of a status.
fn class(status: StatusCode) -> &'static str {
    match status.as_u16() {
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

/// The caller's own span, as W3C's headers say it.
fn caller(headers: &HeaderMap) -> Option<Remote> {
    let one = |name: &str| {
        let mut values = headers.get_all(name).iter();
        let value = values.next().filter(|_| values.next().is_none());
        value.and_then(|value| value.to_str().ok()).map(str::to_owned)
    };
    Some(Remote { parent: one("traceparent")?, state: one("tracestate") })
}

/// The outermost layer.
pub(crate) async fn outer(mut request: Request, next: Next) -> Response {
    let mut answering = Answering::begin(&request);
    let id = request_id(&request);
    let text = id.to_str().unwrap_or_default();
    let trace = answering.span(&request, text);
    let log = sight::log::request(text, &trace);
    let dialect = answering.dialect;
    request.extensions_mut().insert(RequestId(id.clone()));
    let work = AssertUnwindSafe(next.run(request)).catch_unwind().within(&trace).instrument(log.clone());
    let answered = sight::log::for_request(text.to_owned(), work).await;
    let mut response = answered.unwrap_or_else(|_| {
        log.in_scope(|| tracing::error!("a handler panicked; the client was told of an internal error"));
        ApiError::internal().within(dialect).into_response()
    });
    let milliseconds = u64::try_from(answering.started.elapsed().as_millis()).unwrap_or(u64::MAX);
    log.in_scope(|| tracing::debug!(status = response.status().as_u16(), duration_ms = milliseconds, "answered"));
    answering.status = class(response.status());
    RequestIn::answered(&trace, response.status().as_u16());
    trace.end();
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
