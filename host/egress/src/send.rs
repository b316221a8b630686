//! One exchange: check, connect, send, and hand the answer on as it comes.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;
use vivarium_sight::metric;

use crate::body::{AnyError, Connection, EgressBody, RequestBody};
use crate::connect::{Connector, Resolve, Stream, SystemResolver};
use crate::metered::{Failure, Metered};
use crate::request::{Checked, Target, check, header_bytes, is_forbidden_header};
use crate::{EgressError, EgressPolicy, Meter, Redactor};

/// The HTTP library's least buffer; a smaller bound on headers is kept by counting.
const LEAST_BUFFER_BYTES: usize = 8 << 10;

/// The door. One per host process; clones share it.
#[derive(Clone)]
pub struct Egress {
    connector: Arc<Connector>,
}

impl Default for Egress {
    fn default() -> Self {
        Self::new()
    }
}

impl std::fmt::Debug for Egress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Egress").finish_non_exhaustive()
    }
}

impl Egress {
    /// A door with the operating system's resolver.
    #[must_use]
    pub fn new() -> Self {
        Self::with_resolver(Arc::new(SystemResolver))
    }

    /// A door with another resolver.
    #[must_use]
    pub fn with_resolver(resolver: Arc<dyn Resolve>) -> Self {
        Self { connector: Arc::new(Connector::new(resolver)) }
    }

    /// Sends what `policy` allows of `request` and gives the answer as it comes, redirects and error statuses included:
    /// following them, each as a request of its own, is the guest's. The request's URI is absolute. Dropping the future
    /// or the response's body ends the exchange on the wire.
    ///
    /// # Errors
    /// See [`EgressError`]. Denied requests touch no network and are not counted.
    pub async fn send<B>(
        &self,
        policy: &EgressPolicy,
        meter: &Meter,
        request: Request<B>,
    ) -> Result<Response<EgressBody>, EgressError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let mut measuring = Measuring { outcome: "cancelled" };
        let answered = self.exchange(policy, meter, request).await;
        measuring.outcome = answered.as_ref().map_or_else(EgressError::word, |_| "ok");
        answered
    }

    async fn exchange<B>(
        &self,
        policy: &EgressPolicy,
        meter: &Meter,
        request: Request<B>,
    ) -> Result<Response<EgressBody>, EgressError>
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<AnyError>,
    {
        let (head, body) = request.into_parts();
        let checked = check(&head, policy)?;
        meter.take_request(&policy.limits)?;
        let exchange = Exchange { policy, meter, deadline: Instant::now() + policy.limits.total_timeout };
        let host = checked.target.name();
        let answered = tokio::time::timeout_at(exchange.deadline, async {
            let connect_timeout = policy.limits.connect_timeout.min(policy.limits.total_timeout);
            let stream = self.connector.connect(&checked.target, connect_timeout).await?;
            let body = body.map_err(Into::into).boxed_unsync();
            exchange.run(stream, checked, body).await
        });
        answered.await.unwrap_or_else(|_| {
            Err(EgressError::Timeout { host, limit_ms: milliseconds(policy.limits.total_timeout), step: "answer" })
        })
    }
}

/// An exchange that is under way. One that is dropped was cancelled.
struct Measuring {
    outcome: &'static str,
}

impl Drop for Measuring {
    fn drop(&mut self) {
        metric::EGRESS_REQUESTS.add(1, &[("outcome", self.outcome)]);
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// One exchange's bounds.
struct Exchange<'a> {
    policy: &'a EgressPolicy,
    meter: &'a Meter,
    deadline: Instant,
}

impl Exchange<'_> {
    async fn run(
        &self,
        stream: Box<dyn Stream>,
        checked: Checked,
        body: http_body_util::combinators::UnsyncBoxBody<Bytes, AnyError>,
    ) -> Result<Response<EgressBody>, EgressError> {
        let Checked { target, request, credentialed } = checked;
        let limits = &self.policy.limits;
        let failure = Failure::default();
        let (max, max_total) = (limits.max_request_bytes, limits.max_total_bytes);
        let body = RequestBody { inner: body, left: max, max, failure: failure.clone() };
        let stream = Metered { inner: stream, meter: self.meter.clone(), max_total, failure: failure.clone() };

        let (mut sender, connection) = http1::Builder::new()
            .max_headers(limits.max_headers)
            .max_buf_size(limits.max_header_bytes.max(LEAST_BUFFER_BYTES))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| protocol(&target, &error))?;
        // The deadline holds for the connection too: a guest that neither reads nor drops an answer can not keep it open.
        let connection = tokio::time::timeout_at(self.deadline, connection);
        let connection = Connection(tokio::spawn(async move {
            // What goes wrong here is told to the request or to the body's reader.
            let _told = connection.await;
        }));
        let sent = sender.send_request(request.map(|()| body)).await;
        let response = sent.map_err(|error| match failure.get() {
            Some(failure) => failure,
            None if error.is_parse_too_large() => self.too_many_headers(),
            None => protocol(&target, &error),
        })?;
        self.answer(&target, credentialed, response, connection, failure)
    }

    /// The response without what belongs to the connection, and with its secrets masked.
    fn answer(
        &self,
        target: &Target,
        credentialed: bool,
        response: Response<Incoming>,
        connection: Connection,
        failure: Failure,
    ) -> Result<Response<EgressBody>, EgressError> {
        let limits = &self.policy.limits;
        let (mut head, body) = response.into_parts();
        if header_bytes(&head.headers) > limits.max_header_bytes {
            return Err(self.too_many_headers());
        }
        if credentialed && let Some(what) = unreadable(&head) {
            let reason =
                format!("it {what} although it was asked not to, and so could hide the credential that it got");
            return Err(EgressError::Protocol { host: target.name(), reason });
        }
        let redactor = self.policy.redactor();
        head.headers = clean(&head.headers, &redactor);
        // The HTTP library keeps the status line's phrase there: a text of the server's that nothing needs.
        head.extensions.clear();
        let body = EgressBody {
            inner: body,
            redactor: redactor.stream(),
            left: limits.max_response_bytes,
            max: limits.max_response_bytes,
            deadline: Pin::from(Box::new(tokio::time::sleep_until(self.deadline))),
            total_ms: milliseconds(limits.total_timeout),
            host: target.name(),
            failure,
            ended: false,
            _connection: connection,
        };
        Ok(Response::from_parts(head, body))
    }

    fn too_many_headers(&self) -> EgressError {
        let max = self.policy.limits.max_header_bytes as u64;
        EgressError::LimitExceeded { what: "the size of the response's headers in bytes, or their number,", max }
    }
}

fn protocol(target: &Target, error: &hyper::Error) -> EgressError {
    EgressError::Protocol { host: target.name(), reason: error.to_string() }
}

/// What keeps the mask from finding a secret: a coding, or a piece of the whole.
fn unreadable(head: &http::response::Parts) -> Option<&'static str> {
    let other_than = |name: HeaderName, allowed: &[u8]| {
        head.headers.get_all(name).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(allowed))
    };
    if other_than(header::CONTENT_ENCODING, b"identity") || other_than(header::TRANSFER_ENCODING, b"chunked") {
        Some("coded its answer")
    } else if head.status == StatusCode::PARTIAL_CONTENT || head.headers.contains_key(header::CONTENT_RANGE) {
        Some("answered with a piece")
    } else {
        None
    }
}

/// The headers without those of the connection and those that the server says are, and without secrets.
fn clean(headers: &HeaderMap, redactor: &Redactor) -> HeaderMap {
    let connection =
        headers.get_all(header::CONNECTION).iter().flat_map(|value| value.as_bytes().split(|&b| b == b','));
    let named: Vec<&[u8]> = connection.map(<[u8]>::trim_ascii).collect();
    let is_named = |name: &HeaderName| named.iter().any(|named| named.eq_ignore_ascii_case(name.as_str().as_bytes()));
    let mut clean = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !is_forbidden_header(name) && !is_named(name)) {
        // Header names come in lower case.
        if redactor.finds_in_any_case(name.as_str().as_bytes()) {
            continue;
        }
        let value = match redactor.redact_bytes(value.as_bytes()) {
            Cow::Borrowed(_) => value.clone(),
            Cow::Owned(bytes) => HeaderValue::from_bytes(&bytes).unwrap_or_else(|_| HeaderValue::from_static("")),
        };
        clean.append(name, value);
    }
    clean
}
