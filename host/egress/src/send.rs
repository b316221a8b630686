//! One exchange: check, connect, send, and hand the answer on as it comes.

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Request, Response};
use http_body::Body;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::Instant;

use crate::body::{AnyError, Connection, EgressBody, RequestBody};
use crate::connect::{Connector, Resolve, Stream, SystemResolver};
use crate::request::{Checked, Target, check, header_bytes, is_forbidden_header};
use crate::scrub::{Scrubber, mask};
use crate::{EgressError, EgressPolicy, Meter};

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
        let (head, body) = request.into_parts();
        let checked = check(&head, policy)?;
        meter.take_request(policy.limits.max_requests)?;
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
        let Checked { target, request, secrets } = checked;
        let limits = &self.policy.limits;
        let failed = Arc::new(OnceLock::new());
        let body = RequestBody {
            inner: body,
            left: limits.max_request_bytes,
            max: limits.max_request_bytes,
            max_total: limits.max_total_bytes,
            meter: self.meter.clone(),
            failed: Arc::clone(&failed),
        };
        let target_bytes = request.uri().path_and_query().map_or(0, |path| path.as_str().len());
        self.meter.send(header_bytes(request.headers()) + target_bytes, limits.max_total_bytes)?;

        let (mut sender, connection) = http1::Builder::new()
            .max_headers(limits.max_headers)
            .max_buf_size(limits.max_header_bytes.max(LEAST_BUFFER_BYTES))
            .handshake(TokioIo::new(stream))
            .await
            .map_err(|error| protocol(&target, &error))?;
        let connection = Connection(tokio::spawn(async move {
            // What goes wrong here is told to the request or to the body's reader.
            let _told = connection.await;
        }));
        let sent = sender.send_request(request.map(|()| body)).await;
        let response = sent.map_err(|error| match failed.get() {
            Some(failed) => failed.clone(),
            None if error.is_parse_too_large() => self.too_many_headers(),
            None => protocol(&target, &error),
        })?;
        self.answer(&target, secrets, response, connection)
    }

    /// The response without what belongs to the connection, and with its secrets masked.
    fn answer(
        &self,
        target: &Target,
        secrets: Vec<Vec<u8>>,
        response: Response<Incoming>,
        connection: Connection,
    ) -> Result<Response<EgressBody>, EgressError> {
        let limits = &self.policy.limits;
        let (mut head, body) = response.into_parts();
        self.meter.receive(header_bytes(&head.headers), limits.max_total_bytes)?;
        if header_bytes(&head.headers) > limits.max_header_bytes {
            return Err(self.too_many_headers());
        }
        if !secrets.is_empty() && is_coded(&head.headers) {
            let reason = "it coded a response to a request with a credential, although it was asked not to".to_owned();
            return Err(EgressError::Protocol { host: target.name(), reason });
        }
        head.headers = clean(&head.headers, &secrets);
        let body = EgressBody {
            inner: body,
            scrubber: Scrubber::new(secrets),
            left: limits.max_response_bytes,
            max: limits.max_response_bytes,
            max_total: limits.max_total_bytes,
            meter: self.meter.clone(),
            deadline: Pin::from(Box::new(tokio::time::sleep_until(self.deadline))),
            total_ms: milliseconds(limits.total_timeout),
            host: target.name(),
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

/// A coding hides a secret from the mask.
fn is_coded(headers: &HeaderMap) -> bool {
    headers.get_all(header::CONTENT_ENCODING).iter().any(|coding| coding.as_bytes() != b"identity")
}

fn clean(headers: &HeaderMap, secrets: &[Vec<u8>]) -> HeaderMap {
    let mut clean = HeaderMap::with_capacity(headers.len());
    for (name, value) in headers.iter().filter(|(name, _)| !is_forbidden_header(name)) {
        let mut bytes = value.as_bytes().to_vec();
        let value = match mask(&mut bytes, secrets) {
            true => HeaderValue::from_bytes(&bytes).unwrap_or_else(|_| HeaderValue::from_static("")),
            false => value.clone(),
        };
        if !names_a_secret(name, secrets) {
            clean.append(name, value);
        }
    }
    clean
}

/// Header names come in lower case, so a secret in one is found without regard to case.
fn names_a_secret(name: &HeaderName, secrets: &[Vec<u8>]) -> bool {
    let name = name.as_str().as_bytes();
    secrets.iter().any(|secret| name.windows(secret.len().max(1)).any(|part| part.eq_ignore_ascii_case(secret)))
}
