//! `/mcp`: the tenant's tools and agents for clients that speak the Model Context Protocol, over streamable HTTP. It is a view of the
//! same tools and runs as all else: the keys, the scopes, the allowances and the budgets are those of the native dialect.
//!
//! Nothing is kept between requests, in the newest version of the protocol and in the earlier ones alike: so there are no sessions
//! to be bounded, taken over or lost with a restart. Clients of earlier versions are given an id that stands for nothing but
//! themselves: with it, what one of them cancels is not what another one has asked for with the same key.

mod agents;
mod calls;
mod handler;
mod origin;
mod shown;

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use http_body_util::Full;
use rmcp::transport::streamable_http_server::session::never::NeverSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::{Scope, Tier};

use crate::ApiState;
use crate::body::json_bytes;
use crate::error::{ApiError, Dialect, Kind};
use crate::gate::{CallerExt, Gate, guarded};
use crate::native::NativeError;

pub(crate) use calls::Calls;
use calls::Of;
use handler::Handler;

/// The id that a client of an early version of the protocol comes back with.
const SESSION: HeaderName = HeaderName::from_static("mcp-session-id");
/// The same, as a person reads it.
const MCP_SESSION_ID: &str = "Mcp-Session-Id";
/// What it must be.
const WRONG_SESSION: &str = "must be what the answer to initialize has said";

/// The longest of them that is read.
const MAX_SESSION_BYTES: usize = 64;

/// How often a stream on which nothing happens shows that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Codes of JSON-RPC.
const PARSE_ERROR: i32 = -32_700;
const INVALID_REQUEST: i32 = -32_600;

pub(crate) fn routes(state: &ApiState) -> OpenApiRouter<ApiState> {
    let gate = Gate { state: state.clone(), dialect: Dialect::Native, least: Tier::Free, scope: None };
    guarded(OpenApiRouter::new().routes(routes!(message, end)), gate)
}

/// A message of JSON-RPC 2.0.
#[derive(ToSchema)]
#[expect(dead_code, reason = "messages are read and written by the protocol's library; this says what they look like")]
struct JsonRpcMessage {
    /// `2.0`.
    jsonrpc: String,
    /// A request's, and its answer's; none: a notification.
    #[schema(value_type = Option<Value>)]
    id: Option<Value>,
    /// A request's or a notification's.
    #[schema(nullable = false)]
    method: Option<String>,
    /// What the method takes.
    #[schema(value_type = Option<Object>, nullable = false)]
    params: Option<Value>,
    /// What came of a request.
    #[schema(value_type = Option<Object>, nullable = false)]
    result: Option<Value>,
    /// Why nothing came of it.
    #[schema(value_type = Option<Object>, nullable = false)]
    error: Option<Value>,
}

/// Speak the Model Context Protocol
///
/// One message of JSON-RPC. The tools are the tenant's, and each agent is one: `agent_` and its name. A request is answered with
/// JSON, or with events where there is something to tell before the answer. Calling a tool needs the scope `runs`.
#[utoipa::path(
    post, path = "/mcp", operation_id = "mcp", tag = "MCP",
    params(
        ("Mcp-Session-Id" = Option<String>, Header, nullable = false, max_length = 64, pattern = "^[!-~]*$", description = "What the answer to `initialize` has said. It tells clients with one key apart, and nothing else."),
    ),
    request_body(content = JsonRpcMessage, example = json!({
        "jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}
    })),
    responses(
        (
            status = 200, description = "The answer to a request; an error of the protocol, too.",
            content((JsonRpcMessage = "application/json"), (JsonRpcMessage = "text/event-stream")),
        ),
        (status = 202, description = "It was a notification."),
        (
            status = 400, description = "It is no message of the protocol, or of a version that is not spoken here.", body = JsonRpcMessage,
            example = json!({"jsonrpc": "2.0", "id": null, "error": {"code": -32600, "message": "the body must be one message of JSON-RPC 2.0"}})
        ),
        (
            status = 404, description = "There is no such method.", body = JsonRpcMessage,
            example = json!({"jsonrpc": "2.0", "id": 1, "error": {"code": -32601, "message": "there is no method \"no/such\" here"}})
        ),
        (status = 429, description = "The key's requests or tokens of this minute are used up."),
    )
)]
async fn message(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    request: Request,
) -> Result<Response, NativeError> {
    let (mut head, body) = request.into_parts();
    origin::check(&caller, &head.headers)?;
    let Ok(session) = session_of(&head.headers) else {
        return Ok(refused(&Value::Null, INVALID_REQUEST, &format!("{MCP_SESSION_ID} {WRONG_SESSION}")));
    };
    let body = json_bytes(&state, &head.headers, body).await?;
    let message: Value = match serde_json::from_slice(&body) {
        Ok(message) => message,
        Err(error) => return Ok(refused(&Value::Null, PARSE_ERROR, &format!("the body is no JSON: {error}"))),
    };
    let id = message.get("id").cloned().unwrap_or(Value::Null);
    let Some(method) = method_of(&message) else {
        let wrong = "the body must be one message of JSON-RPC 2.0: an object with jsonrpc \"2.0\" and a method";
        return Ok(refused(&id, INVALID_REQUEST, wrong));
    };
    let of = Of { key: caller.key, session: session.clone(), request: message.get("id").cloned() };
    if method == "notifications/cancelled" {
        let request = message.pointer("/params/requestId").cloned();
        state.0.mcp_calls.cancel(&Of { request, ..of });
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    if of.request.is_none() {
        return Ok(StatusCode::ACCEPTED.into_response());
    }
    if method == "tools/call" {
        caller.needs(Scope::Runs)?;
        caller.limits.take_request()?;
    }
    let call = state.0.mcp_calls.begin(of);
    let handler = Handler { state: state.clone(), caller, cancelled: call.cancelled(), _call: Arc::new(call) };
    // Whoever accepts only one of both gets that one, where there is nothing to tell before the answer.
    head.headers.insert(http::header::ACCEPT, HeaderValue::from_static("application/json, text/event-stream"));
    let request = Request::from_parts(head, Full::new(body));
    let mut response = service(&state, handler).handle(request).await.map(Body::new);
    if method == "initialize" && session.is_none() && response.status() == StatusCode::OK {
        let own = uuid::Uuid::now_v7().to_string();
        if let Ok(own) = HeaderValue::from_str(&own) {
            response.headers_mut().insert(SESSION, own);
        }
    }
    explain(&id, &mut response);
    Ok(response)
}

/// End what a client of MCP has under way
///
/// For clients of early versions of the protocol, which end their session: the calls that it has under way are cancelled.
#[utoipa::path(
    delete, path = "/mcp", operation_id = "endMcpSession", tag = "MCP",
    params(
        ("Mcp-Session-Id" = Option<String>, Header, nullable = false, max_length = 64, pattern = "^[!-~]*$", description = "What the answer to `initialize` has said."),
    ),
    responses((status = 204, description = "Nothing of it is under way any more."))
)]
async fn end(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    headers: HeaderMap,
) -> Result<StatusCode, NativeError> {
    origin::check(&caller, &headers)?;
    if let Some(session) = session_of(&headers)? {
        state.0.mcp_calls.cancel_all(caller.key, &session);
    }
    Ok(StatusCode::NO_CONTENT)
}

/// The protocol's own server, for one request.
fn service(state: &ApiState, handler: Handler) -> StreamableHttpService<Handler, NeverSessionManager> {
    // Hosts and origins are checked here, with the key; and the body's length was.
    let config = StreamableHttpServerConfig::default()
        .with_legacy_session_mode(false)
        .with_json_response(true)
        .with_sse_keep_alive(Some(KEEP_ALIVE))
        .with_cancellation_token(state.0.shutdown.child_token())
        .disable_allowed_hosts()
        .disable_allowed_origins();
    StreamableHttpService::new(move || Ok(handler.clone()), Arc::new(NeverSessionManager::default()), config)
}

/// The method of a request or a notification.
fn method_of(message: &Value) -> Option<&str> {
    let is_id = |id: &Value| id.is_string() || id.is_i64() || id.is_u64();
    let message = message.as_object()?;
    let plain = message.get("jsonrpc").and_then(Value::as_str) == Some("2.0")
        && message.get("id").is_none_or(is_id)
        && message.get("params").is_none_or(Value::is_object);
    message.get("method").and_then(Value::as_str).filter(|_| plain)
}

fn session_of(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(session) = headers.get(SESSION) else { return Ok(None) };
    let is_visible = |text: &&str| text.len() <= MAX_SESSION_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    let text = session.to_str().ok().filter(is_visible);
    text.map(|text| Some(text.to_owned())).ok_or_else(|| ApiError::invalid(MCP_SESSION_ID, WRONG_SESSION))
}

/// An error of the protocol, before the protocol's server sees the message.
fn refused(id: &Value, code: i32, message: &str) -> Response {
    let error = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": message}});
    (StatusCode::BAD_REQUEST, Json(error)).into_response()
}

/// The library says in plain words what is wrong with a request's headers: here it is an error of the protocol, as a client can
/// read it.
fn explain(id: &Value, response: &mut Response) {
    let is_json = |value: &HeaderValue| {
        let value = value.as_bytes();
        value.starts_with(b"application/json") || value.starts_with(b"text/event-stream")
    };
    let told = response.headers().get(http::header::CONTENT_TYPE).is_some_and(is_json);
    if told || !response.status().is_client_error() {
        return;
    }
    let wrong = "the headers of the request do not fit: MCP-Protocol-Version must name a version that is spoken here \
                 (2024-11-05 to 2026-07-28), and say what the message says";
    *response = refused(id, INVALID_REQUEST, wrong);
}

/// What a host that stops says.
fn stopping() -> ApiError {
    ApiError::new(Kind::ShuttingDown, "the host is shutting down; try again")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_is_a_message_and_nothing_else_is() {
        let good = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
        assert_eq!(method_of(&good), Some("ping"));
        assert_eq!(
            method_of(&json!({"jsonrpc": "2.0", "method": "notifications/initialized"})),
            Some("notifications/initialized")
        );
        for bad in [
            json!([good]),
            json!("ping"),
            json!({"id": 1, "method": "ping"}),
            json!({"jsonrpc": "1.0", "id": 1, "method": "ping"}),
            json!({"jsonrpc": "2.0", "id": 1}),
            json!({"jsonrpc": "2.0", "id": null, "method": "ping"}),
            json!({"jsonrpc": "2.0", "id": {}, "method": "ping"}),
            json!({"jsonrpc": "2.0", "id": 1, "method": 7}),
            json!({"jsonrpc": "2.0", "id": 1, "method": "ping", "params": [1]}),
        ] {
            assert_eq!(method_of(&bad), None, "{bad}");
        }
    }
}
