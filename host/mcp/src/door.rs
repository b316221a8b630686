//! The protocol's HTTP over the one door to the network: bounded by its policy in requests, bytes and time, without redirects,
//! with the credentials put in and masked there.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use rmcp::model::{ClientJsonRpcMessage, ClientRequest, ErrorData, JsonRpcMessage, ServerJsonRpcMessage};
use rmcp::transport::common::http_header::{
    EVENT_STREAM_MIME_TYPE, HEADER_LAST_EVENT_ID, HEADER_SESSION_ID, JSON_MIME_TYPE,
};
use rmcp::transport::streamable_http_client::{
    SseError, StreamableHttpClient, StreamableHttpError, StreamableHttpPostResponse,
};
use sse_stream::{Sse, SseStream};
use vivarium_egress::{EgressBody, EgressError, Meter};

use crate::error::{McpError, told};
use crate::place::RemoteServer;

type HttpError = StreamableHttpError<McpError>;

/// One conversation's way to the server.
#[derive(Clone)]
pub(crate) struct Door {
    server: RemoteServer,
    meter: Meter,
    /// What went wrong first: the protocol's library hides it in an error of its own.
    failure: Arc<OnceLock<McpError>>,
}

impl Door {
    pub(crate) fn new(server: RemoteServer, meter: Meter) -> Self {
        Self { server, meter, failure: Arc::default() }
    }

    /// What went wrong first on the way.
    pub(crate) fn failure(&self) -> Option<McpError> {
        self.failure.get().cloned()
    }

    /// Where the server answers.
    pub(crate) fn url(&self) -> &str {
        self.server.place.url()
    }

    /// The server is asked in an early version of the protocol first.
    pub(crate) fn is_early(&self) -> bool {
        self.server.is_early
    }

    fn fail(&self, error: McpError) -> HttpError {
        StreamableHttpError::Client(self.failure.get_or_init(|| error).clone())
    }

    fn request(
        &self,
        method: Method,
        session: Option<&str>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> http::request::Builder {
        let mut request = Request::builder().method(method).uri(self.server.place.url());
        for (name, value) in headers {
            request = request.header(name, value);
        }
        match session {
            Some(session) => request.header(HEADER_SESSION_ID, session),
            None => request,
        }
    }

    async fn send(&self, request: http::request::Builder, body: Bytes) -> Result<Response<EgressBody>, HttpError> {
        let request = request.body(Full::new(body)).map_err(|error| {
            self.fail(McpError::Protocol(format!("its answer makes no header of a request: {error}")))
        })?;
        let sent = self.server.egress.send(&self.server.policy, &self.meter, request).await;
        sent.map_err(|error| self.fail(McpError::Door(error)))
    }

    async fn whole(&self, body: EgressBody) -> Result<Bytes, HttpError> {
        let whole = body.collect().await.map_err(|error| self.fail(McpError::Door(error)))?;
        Ok(whole.to_bytes())
    }

    fn events(&self, body: EgressBody) -> BoxStream<'static, Result<Sse, SseError>> {
        let failure = Arc::clone(&self.failure);
        let pieces = body.into_data_stream().inspect(move |piece: &Result<Bytes, EgressError>| {
            if let Err(error) = piece {
                let _first = failure.set(McpError::Door(error.clone()));
            }
        });
        SseStream::from_bytes_stream(pieces).boxed()
    }

    /// What a status without a message of the protocol says.
    fn refusal(&self, status: StatusCode) -> HttpError {
        let code = status.as_u16();
        self.fail(match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => McpError::Credential { status: code },
            _ if status.is_redirection() => McpError::Redirected { status: code },
            _ => McpError::Status { status: code },
        })
    }

    /// The answer to a message that was not answered with a success.
    async fn refused(
        &self,
        message: &ClientJsonRpcMessage,
        has_session: bool,
        response: Response<EgressBody>,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let status = response.status();
        if status == StatusCode::NOT_FOUND && has_session {
            return Err(StreamableHttpError::SessionExpired);
        }
        let is_auth = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
        let may_explain = !is_auth && !status.is_redirection() && media_type(&response) == JSON_MIME_TYPE;
        let explained = match may_explain {
            true => serde_json::from_slice(&self.whole(response.into_body()).await?).ok(),
            false => None,
        };
        // A server of an early version does not know the question which versions it speaks, and may say so in any way.
        if let ClientJsonRpcMessage::Request(request) = message
            && matches!(request.request, ClientRequest::DiscoverRequest(_))
            && status.is_client_error()
            && !is_auth
        {
            let error = match explained {
                Some(JsonRpcMessage::Error(error)) => error.error,
                _ => ErrorData::invalid_request(format!("answered with the HTTP status {}", status.as_u16()), None),
            };
            let answer = ServerJsonRpcMessage::error(error, Some(request.id.clone()));
            return Ok(StreamableHttpPostResponse::Json(answer, None));
        }
        match explained {
            Some(message @ JsonRpcMessage::Error(_)) => Ok(StreamableHttpPostResponse::Json(message, None)),
            _ => Err(self.refusal(status)),
        }
    }
}

fn media_type<B>(response: &Response<B>) -> String {
    let value = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

impl StreamableHttpClient for Door {
    type Error = McpError;

    async fn post_message(
        &self,
        _uri: Arc<str>,
        message: ClientJsonRpcMessage,
        session: Option<Arc<str>>,
        _auth: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<StreamableHttpPostResponse, HttpError> {
        let json = serde_json::to_vec(&message)?;
        let request = self
            .request(Method::POST, session.as_deref(), headers)
            .header(ACCEPT, format!("{JSON_MIME_TYPE}, {EVENT_STREAM_MIME_TYPE}"))
            .header(CONTENT_TYPE, JSON_MIME_TYPE);
        let response = self.send(request, json.into()).await?;
        let status = response.status();
        if !status.is_success() {
            return self.refused(&message, session.is_some(), response).await;
        }
        let awaits_an_answer = matches!(message, ClientJsonRpcMessage::Request(_));
        if !awaits_an_answer {
            return Ok(StreamableHttpPostResponse::Accepted);
        }
        let session = response.headers().get(HEADER_SESSION_ID).and_then(|value| value.to_str().ok());
        let session = session.map(ToOwned::to_owned);
        match media_type(&response).as_str() {
            EVENT_STREAM_MIME_TYPE => Ok(StreamableHttpPostResponse::Sse(self.events(response.into_body()), session)),
            JSON_MIME_TYPE => {
                let body = self.whole(response.into_body()).await?;
                let message = serde_json::from_slice(&body).map_err(|error| {
                    let error = told(&format!("its answer is no message of the protocol: {error}"));
                    self.fail(McpError::Protocol(error))
                })?;
                Ok(StreamableHttpPostResponse::Json(message, session))
            }
            other => {
                let error = format!("its answer of the status {} is of the type {other:?}", status.as_u16());
                Err(self.fail(McpError::Protocol(told(&error))))
            }
        }
    }

    async fn delete_session(
        &self,
        _uri: Arc<str>,
        session: Arc<str>,
        _auth: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<(), HttpError> {
        // A server need not let its sessions be ended by others, and whether it did is of no interest.
        self.send(self.request(Method::DELETE, Some(&session), headers), Bytes::new()).await.map(|_| ())
    }

    /// Only to go on with an answer that broke off: what a server says unasked, nobody here listens to.
    async fn get_stream(
        &self,
        _uri: Arc<str>,
        session: Option<Arc<str>>,
        last_event_id: Option<String>,
        _auth: Option<String>,
        headers: HashMap<HeaderName, HeaderValue>,
    ) -> Result<BoxStream<'static, Result<Sse, SseError>>, HttpError> {
        let Some(last_event_id) = last_event_id else { return Err(StreamableHttpError::ServerDoesNotSupportSse) };
        let request = self
            .request(Method::GET, session.as_deref(), headers)
            .header(ACCEPT, EVENT_STREAM_MIME_TYPE)
            .header(HEADER_LAST_EVENT_ID, last_event_id);
        let response = self.send(request, Bytes::new()).await?;
        match response.status() {
            status if status.is_success() && media_type(&response) == EVENT_STREAM_MIME_TYPE => {
                Ok(self.events(response.into_body()))
            }
            _ => Err(StreamableHttpError::ServerDoesNotSupportSse),
        }
    }
}
