//! Servers of the Model Context Protocol: one that is as servers are, made with the protocol's own library, and one that says whatever a
//! test wants.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ContentBlock, ListToolsResult, PaginatedRequestParams,
    ProtocolVersion, ServerCapabilities, ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::transport::streamable_http_server::session::local::LocalSessionManager;
use rmcp::transport::{StreamableHttpServerConfig, StreamableHttpService};
use rmcp::{ErrorData, ServerHandler};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::soon;

/// A call that a server was asked for.
#[derive(Debug, Clone)]
pub struct McpCall {
    /// The tool.
    pub tool: String,
    /// The arguments.
    pub arguments: Value,
    /// What else came with it.
    pub meta: Value,
}

#[derive(Default)]
struct Shared {
    tools: Mutex<Vec<Value>>,
    calls: watch::Sender<Vec<McpCall>>,
    cancelled: watch::Sender<usize>,
    /// Calls of `slow` that may end.
    released: watch::Sender<usize>,
}

/// A server with tools: `read` (changes nothing) and `write` say their arguments, `who` says the credential that it got, `slow` waits
/// until it is told to go on or cancelled, `odd` answers with all kinds of content, `fail` fails, and any other says its name.
pub struct McpServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

#[derive(Clone)]
struct Handler {
    shared: Arc<Shared>,
    versions: Vec<ProtocolVersion>,
}

/// What a server says of a tool.
#[must_use]
pub fn mcp_tool(name: &str, read_only: bool) -> Value {
    json!({
        "name": name, "description": format!("Does {name}."), "annotations": {"readOnlyHint": read_only},
        "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}},
    })
}

impl McpServer {
    /// Speaks all versions of the protocol, the newest one first.
    pub async fn start() -> Self {
        Self::speaking(ProtocolVersion::KNOWN_VERSIONS.to_vec()).await
    }

    /// Speaks 2025-06-18 alone: with a handshake and sessions.
    pub async fn early() -> Self {
        Self::speaking(vec![ProtocolVersion::V_2025_06_18]).await
    }

    async fn speaking(versions: Vec<ProtocolVersion>) -> Self {
        let shared = Arc::<Shared>::default();
        *shared.tools.lock().unwrap() = vec![mcp_tool("read", true), mcp_tool("write", false)];
        let handler = Handler { shared: Arc::clone(&shared), versions };
        let config = StreamableHttpServerConfig::default().disable_allowed_hosts();
        let service =
            StreamableHttpService::new(move || Ok(handler.clone()), Arc::new(LocalSessionManager::default()), config);
        let routes = Router::new().route_service("/mcp", service);
        let (address, server) = serve(routes).await;
        Self { address, shared, server }
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// Its tools from now on.
    pub fn offers(&self, tools: Vec<Value>) {
        *self.shared.tools.lock().unwrap() = tools;
    }

    /// The calls so far.
    #[must_use]
    pub fn calls(&self) -> Vec<McpCall> {
        self.shared.calls.borrow().clone()
    }

    /// Waits until so many calls have come.
    pub async fn called(&self, count: usize) {
        let mut receiver = self.shared.calls.subscribe();
        soon("a call of an MCP server", receiver.wait_for(|calls| calls.len() >= count)).await.unwrap();
    }

    /// Waits until so many calls of `slow` were cancelled.
    pub async fn cancelled(&self, count: usize) {
        let mut receiver = self.shared.cancelled.subscribe();
        soon("a cancelled call", receiver.wait_for(|cancelled| *cancelled >= count)).await.unwrap();
    }

    /// Lets the calls of `slow` go on that are under way, and those that come.
    pub fn release(&self) {
        self.shared.released.send_modify(|released| *released += 1);
    }
}

impl Drop for McpServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn serve(routes: Router) -> (SocketAddr, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    (address, server)
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
    }

    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        self.versions.clone().into()
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        // Two tools a page, so that whoever reads only the first one is found out.
        let after: usize = request.and_then(|request| request.cursor).map_or(0, |cursor| cursor.parse().unwrap());
        let tools = self.shared.tools.lock().unwrap().clone();
        let page: Vec<Tool> =
            tools.iter().skip(after).take(2).map(|tool| serde_json::from_value(tool.clone()).unwrap()).collect();
        let mut result = ListToolsResult::with_all_items(page);
        result.next_cursor = (after + 2 < tools.len()).then(|| (after + 2).to_string());
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let call = McpCall {
            tool: request.name.to_string(),
            arguments: request.arguments.map(Value::Object).unwrap_or_default(),
            meta: serde_json::to_value(&context.meta).unwrap(),
        };
        self.shared.calls.send_modify(|calls| calls.push(call.clone()));
        let text = |text: String| CallToolResult::success(vec![ContentBlock::text(text)]);
        let result = match &*request.name {
            "who" => {
                let parts = context.extensions.get::<axum::http::request::Parts>().unwrap();
                let got = parts.headers.get(header::AUTHORIZATION).map(|value| value.to_str().unwrap().to_owned());
                text(format!("{got:?} {}", parts.headers.len()))
            }
            "slow" => {
                let mut released = self.shared.released.subscribe();
                tokio::select! {
                    _ = released.wait_for(|released| *released > 0) => text("done at last".to_owned()),
                    () = context.ct.cancelled() => {
                        self.shared.cancelled.send_modify(|cancelled| *cancelled += 1);
                        text("never seen".to_owned())
                    }
                }
            }
            "odd" => {
                let odd = json!({"content": [
                    {"type": "text", "text": "words"},
                    {"type": "image", "data": "AAAA", "mimeType": "image/png"},
                    {"type": "resource", "resource": {"uri": "https://example.com/page", "text": "A page says so."}},
                ]});
                serde_json::from_value(odd).unwrap()
            }
            "structured" => {
                let mut result = text("21 degrees".to_owned());
                result.structured_content = Some(json!({"degrees": 21}));
                result
            }
            "fail" => CallToolResult::error(vec![ContentBlock::text("it did not work out")]),
            "read" | "write" => text(format!("{} says {}", request.name, call.arguments["text"])),
            other => text(other.to_owned()),
        };
        Ok(result.into())
    }
}

/// What a server of a test's own does with a request: its method, of the protocol, and the whole message.
pub type Says = Box<dyn Fn(&str, &Value) -> Response + Send + Sync>;

/// A server that says what a test wants.
pub struct OddMcpServer {
    address: SocketAddr,
    methods: Arc<Mutex<Vec<String>>>,
    server: JoinHandle<()>,
}

struct Odd {
    says: Says,
    methods: Arc<Mutex<Vec<String>>>,
}

/// A message as JSON.
#[must_use]
pub fn rpc(request: &Value, result: Value) -> Response {
    axum::Json(json!({"jsonrpc": "2.0", "id": request["id"], "result": result})).into_response()
}

/// What a server of the version 2025-06-18 answers to everything but `tools/call`, with these tools.
#[must_use]
pub fn early_answer(method: &str, request: &Value, tools: &[Value]) -> Response {
    match method {
        "initialize" => rpc(
            request,
            json!({"protocolVersion": "2025-06-18", "capabilities": {"tools": {}}, "serverInfo": {"name": "odd", "version": "1"}}),
        ),
        "tools/list" => rpc(request, json!({"tools": tools})),
        method if method.starts_with("notifications/") => StatusCode::ACCEPTED.into_response(),
        _ => StatusCode::BAD_REQUEST.into_response(),
    }
}

/// Events with these pieces, each sent as it is; and then silence, or the end.
#[must_use]
pub fn events(pieces: Vec<Bytes>, then_silence: bool) -> Response {
    let pieces = futures::stream::iter(pieces.into_iter().map(Ok::<_, std::io::Error>));
    let body = match then_silence {
        true => Body::from_stream(pieces.chain(futures::stream::pending())),
        false => Body::from_stream(pieces),
    };
    ([(header::CONTENT_TYPE, "text/event-stream")], body).into_response()
}

/// Bytes of this type without an end.
#[must_use]
pub fn endless(content_type: &'static str) -> Response {
    let pieces = futures::stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 64 << 10])));
    ([(header::CONTENT_TYPE, content_type)], Body::from_stream(pieces.boxed())).into_response()
}

impl OddMcpServer {
    /// One that answers in this way.
    pub async fn start(says: impl Fn(&str, &Value) -> Response + Send + Sync + 'static) -> Self {
        let methods = Arc::default();
        let odd = Arc::new(Odd { says: Box::new(says), methods: Arc::clone(&methods) });
        let (address, server) = serve(Router::new().fallback(answer).with_state(odd)).await;
        Self { address, methods, server }
    }

    /// Where it answers.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}/mcp", self.address)
    }

    /// The methods of all messages so far; HTTP's where it was no message.
    #[must_use]
    pub fn methods(&self) -> Vec<String> {
        self.methods.lock().unwrap().clone()
    }
}

impl Drop for OddMcpServer {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(odd): State<Arc<Odd>>, method: Method, body: Bytes) -> Response {
    let message: Value = serde_json::from_slice(&body).unwrap_or_default();
    let asked = message["method"].as_str().map_or_else(|| method.to_string(), str::to_owned);
    odd.methods.lock().unwrap().push(asked.clone());
    if method != Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    (odd.says)(&asked, &message)
}
