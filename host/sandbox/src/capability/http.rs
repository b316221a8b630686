//! `wasi:http`, through the host's one door to the network. Linked always; without a grant every request is refused with
//! what would allow it.

use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use vivarium_egress::{Egress, EgressError, EgressPolicy, Meter};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// What `wasi:http` asks of us, and what it may do.
pub(crate) struct EgressHooks {
    door: Option<(Arc<Egress>, Arc<EgressPolicy>)>,
    meter: Meter,
}

type Done = Box<dyn Future<Output = Result<(), Error>> + Send>;

impl EgressHooks {
    pub(crate) fn new(door: Option<(Arc<Egress>, Arc<EgressPolicy>)>) -> Self {
        Self { door, meter: Meter::default() }
    }

    /// How many requests were made, and the bytes of both ways together.
    pub(crate) fn used(&self) -> (u32, u64) {
        let traffic = self.meter.traffic();
        let requests = u32::try_from(traffic.requests).unwrap_or(u32::MAX);
        (requests, traffic.sent_bytes.saturating_add(traffic.received_bytes))
    }
}

impl WasiHttpHooks for EgressHooks {
    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _done: Done,
    ) -> Box<dyn Future<Output = Result<(http::Response<WasiBody>, Done), Error>> + Send> {
        let door = self.door.clone();
        let meter = self.meter.clone();
        Box::new(async move {
            let Some((egress, policy)) = door else {
                let host = request.uri().host().unwrap_or("the host");
                return Err(denied(format!(
                    "no host is granted to this plugin; a grant of the host {host:?} would allow it"
                )));
            };
            let request = request.map(|body| body.map_err(|error| std::io::Error::other(format!("{error:?}"))));
            let send = egress.send(&policy, &meter, request);
            let response = match options.and_then(|options| options.first_byte_timeout) {
                Some(patience) => tokio::time::timeout(patience, send).await.map_err(|_| Error::HttpResponseTimeout)?,
                None => send.await,
            };
            let response = response.map_err(to_wasi)?;
            let response = response
                .map(|body| body.map_frame(|frame| frame.map_data(|data: Bytes| data)).map_err(to_wasi).boxed_unsync());
            let done: Done = Box::new(async { Ok(()) });
            Ok((response, done))
        })
    }
}

/// A denial carries its sentence, because `wasi:http` has no other place for it.
fn denied(sentence: String) -> Error {
    Error::InternalError(Some(sentence))
}

fn to_wasi(error: EgressError) -> Error {
    match error {
        EgressError::Timeout { step: "connect", .. } => Error::ConnectionTimeout,
        EgressError::Timeout { .. } => Error::HttpResponseTimeout,
        EgressError::RequestBody(_) => Error::HttpProtocolError,
        other => denied(other.to_string()),
    }
}
