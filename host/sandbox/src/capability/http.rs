//! `wasi:http`, through the host's one door to the network. Linked always; without a grant every request is refused with
//! what would allow it.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http_body_util::BodyExt;
use http_body_util::combinators::UnsyncBoxBody;
use vivarium_egress::{Egress, EgressError, EgressPolicy, Meter};
use vivarium_sight::{HostCall, InSpan as _, Span, attribute};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

use crate::capability::denial::Denials;

/// An error of a request's body, of whatever type.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A guest's request: a wish, unchecked. Its URI is absolute.
pub type DoorRequest = http::Request<UnsyncBoxBody<Bytes, BodyError>>;

/// The answer, as it comes.
pub type DoorResponse = http::Response<UnsyncBoxBody<Bytes, EgressError>>;

/// What a guest's requests go through.
pub trait HttpDoor: Send + Sync {
    /// Sends what is allowed of `request` and counts it on `meter`. Dropping the future or the answer's body ends the
    /// exchange.
    fn send(&self, meter: &Meter, request: DoorRequest) -> BoxFuture<'static, Result<DoorResponse, EgressError>>;
}

/// The door to the network, for one plugin within one tenant.
#[derive(Debug, Clone)]
pub struct GuardedDoor {
    /// The process's door.
    pub egress: Arc<Egress>,
    /// What may go through it.
    pub policy: Arc<EgressPolicy>,
}

impl HttpDoor for GuardedDoor {
    fn send(&self, meter: &Meter, request: DoorRequest) -> BoxFuture<'static, Result<DoorResponse, EgressError>> {
        let (Self { egress, policy }, meter) = (self.clone(), meter.clone());
        async move {
            let response = egress.send(&policy, &meter, request).await?;
            Ok(response.map(BodyExt::boxed_unsync))
        }
        .boxed()
    }
}

/// What `wasi:http` asks of us, and what it may do.
pub(crate) struct EgressHooks {
    door: Option<Arc<dyn HttpDoor>>,
    meter: Meter,
    denials: Denials,
}

type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl EgressHooks {
    pub(crate) fn new(door: Option<Arc<dyn HttpDoor>>, denials: Denials) -> Self {
        Self { door, meter: Meter::default(), denials }
    }

    /// How many requests were made, and the bytes of both ways together.
    pub(crate) fn used(&self) -> (u32, u64) {
        used(&self.meter)
    }

    /// What counts its requests.
    pub(crate) fn meter(&self) -> Meter {
        self.meter.clone()
    }
}

/// How many requests were made, and the bytes of both ways together.
pub(crate) fn used(meter: &Meter) -> (u32, u64) {
    let traffic = meter.traffic();
    let requests = u32::try_from(traffic.requests).unwrap_or(u32::MAX);
    (requests, traffic.sent_bytes.saturating_add(traffic.received_bytes))
}

impl WasiHttpHooks for EgressHooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _done: Done,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Done), Error>> + Send> {
        let (door, meter, denials) = (self.door.clone(), self.meter.clone(), self.denials.clone());
        Box::new(async move {
            let span = begin_span(request.method(), request.uri());
            let Some(door) = door else {
                let host = request.uri().host().unwrap_or("the host");
                let message = format!("no host is granted to this plugin; a grant of the host {host:?} would allow it");
                denials.note("hosts", message.clone());
                span.fail("host_denied");
                return Err(with_sentence(message));
            };
            let request = request.map(|body| {
                body.map_err(|error| BodyError::from(std::io::Error::other(format!("{error:?}")))).boxed_unsync()
            });
            let send = door.send(&meter, request).within(&span);
            let response = match options.and_then(|options| options.first_byte_timeout) {
                Some(patience) => tokio::time::timeout(patience, send).await.map_err(|_| {
                    span.fail("timeout");
                    Error::HttpResponseTimeout
                })?,
                None => send.await,
            };
            match &response {
                Ok(response) => span.set(attribute::HTTP_STATUS, i64::from(response.status().as_u16())),
                Err(error) => span.fail(error.word()),
            }
            let response = response.inspect_err(|error| note(&denials, error)).map_err(to_wasi)?;
            let response = response.map(|body| body.map_err(to_wasi).boxed_unsync());
            let done: Done = Box::new(async { Ok(()) });
            Ok((response, done))
        })
    }
}

/// A request, in the trace of the call that makes it.
fn begin_span(method: &http::Method, uri: &http::Uri) -> Span {
    let method = match *method {
        http::Method::GET => "GET",
        http::Method::HEAD => "HEAD",
        http::Method::POST => "POST",
        http::Method::PUT => "PUT",
        http::Method::PATCH => "PATCH",
        http::Method::DELETE => "DELETE",
        http::Method::OPTIONS => "OPTIONS",
        _ => "_OTHER",
    };
    HostCall::Http { method, host: uri.host().unwrap_or_default(), port: uri.port_u16() }.begin()
}

/// A refusal that a grant would lift is a denial; all others are the request's or the network's.
fn note(denials: &Denials, error: &EgressError) {
    if error.is_denial() {
        let in_the_clear = matches!(error, EgressError::CredentialInTheClear { .. });
        denials.note(if in_the_clear { "secrets" } else { "hosts" }, error.to_string());
    }
}

/// The error carries its sentence, because `wasi:http` has no other place for it.
fn with_sentence(sentence: String) -> Error {
    Error::InternalError(Some(sentence))
}

fn to_wasi(error: EgressError) -> Error {
    match error {
        EgressError::Timeout { step: "connect", .. } => Error::ConnectionTimeout,
        EgressError::Timeout { .. } => Error::HttpResponseTimeout,
        EgressError::RequestBody(_) => Error::HttpProtocolError,
        other => with_sentence(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Empty;

    use super::*;

    fn request() -> http::Request<WasiBody> {
        let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
        http::Request::get("https://api.example.com/x").body(body).unwrap()
    }

    async fn denials_of(door: Option<Arc<dyn HttpDoor>>) -> Vec<String> {
        let denials = Denials::default();
        let mut hooks = EgressHooks::new(door, denials.clone());
        let sent = Box::into_pin(hooks.send_request(request(), None, Box::new(async { Ok(()) })));
        assert!(sent.await.is_err());
        assert_eq!(hooks.used(), (0, 0));
        denials.take().into_iter().map(|denial| format!("{}: {}", denial.capability, denial.message)).collect()
    }

    #[tokio::test]
    async fn a_request_that_is_not_granted_is_refused_and_noted_with_the_grant_that_would_allow_it() {
        let without = denials_of(None).await;
        assert_eq!(
            without,
            ["hosts: no host is granted to this plugin; a grant of the host \"api.example.com\" would allow it"]
        );
        let guarded = GuardedDoor { egress: Arc::new(Egress::new()), policy: Arc::new(EgressPolicy::default()) };
        let guarded = denials_of(Some(Arc::new(guarded))).await;
        assert!(guarded.len() == 1 && guarded[0].starts_with("hosts: "), "{guarded:?}");
        assert!(guarded[0].contains("api.example.com"), "{guarded:?}");
    }
}
