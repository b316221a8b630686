//! A conversation with a server: begun, used for one thing, and ended, whatever becomes of it.

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use rmcp::model::{ClientCapabilities, ClientConfig, ErrorData, Implementation, ProtocolVersion};
use rmcp::service::{
    ClientInitializeError, ClientLifecycleMode, Peer, RoleClient, RunningService, ServiceError,
    serve_client_with_lifecycle,
};
use rmcp::transport::StreamableHttpClientTransport;
use rmcp::transport::common::client_side_sse::ExponentialBackoff;
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use tokio_util::sync::CancellationToken;
use vivarium_egress::Meter;
use vivarium_sight::InSpan as _;

use crate::door::Door;
use crate::error::{McpError, told};
use crate::place::RemoteServer;

/// The newest version of the protocol that begins with a handshake, and the one that servers without the newest are asked in.
const EARLY: ProtocolVersion = ProtocolVersion::LATEST_WITH_INITIALIZE;

/// How long a server is told goodbye for.
const FAREWELL: Duration = Duration::from_secs(5);

/// How often an answer that breaks off is gone on with, where the server lets it be.
const RESUMPTIONS: usize = 2;

/// What a conversation does once it has begun. It watches for the end of whoever waits for it.
pub(crate) type Talk<T> =
    Box<dyn FnOnce(Peer<RoleClient>, CancellationToken) -> BoxFuture<'static, Result<T, McpError>> + Send>;

/// What a server is, as it says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Greeting {
    pub(crate) protocol: String,
    pub(crate) software: Option<String>,
}

/// Talks with a server for at most `patience`. Who drops this no longer waits: then the server is told so, behind the scenes,
/// and the conversation ends.
pub(crate) async fn converse<T: Send + 'static>(
    server: RemoteServer,
    meter: Meter,
    patience: Duration,
    talk: Talk<T>,
) -> Result<(Greeting, T), McpError> {
    let left = CancellationToken::new();
    let _told_when_dropped = left.clone().drop_guard();
    let task = tokio::spawn(whole(server, meter, patience, talk, left).carried());
    task.await.unwrap_or_else(|error| Err(McpError::Protocol(format!("the conversation broke off: {error}"))))
}

async fn whole<T: Send + 'static>(
    server: RemoteServer,
    meter: Meter,
    patience: Duration,
    talk: Talk<T>,
    left: CancellationToken,
) -> Result<(Greeting, T), McpError> {
    let deadline = tokio::time::Instant::now() + patience;
    let limit_ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
    let door = Door::new(server, meter);
    let begun = tokio::select! {
        biased;
        () = left.cancelled() => Err(McpError::Cancelled),
        begun = tokio::time::timeout_at(deadline, begin(&door)) => begun.unwrap_or(Err(McpError::Timeout { limit_ms })),
    };
    let mut running = begun?;
    let greeting = greeting(&running);
    // Who leaves and who waited for too long are one to the talk: it tells the server.
    let over = left.child_token();
    let talking = talk(running.peer().clone(), over.clone());
    tokio::pin!(talking);
    let said = tokio::select! {
        biased;
        said = &mut talking => said,
        () = tokio::time::sleep_until(deadline) => {
            over.cancel();
            let _farewell = tokio::time::timeout(FAREWELL, &mut talking).await;
            Err(McpError::Timeout { limit_ms })
        }
    };
    let _ended = running.close_with_timeout(FAREWELL).await;
    // What the way says of a failure is nearer to its cause than what became of it further up.
    said.map_err(|error| match error {
        McpError::Protocol(_) | McpError::SessionGone => door.failure().unwrap_or(error),
        error => error,
    })
    .map(|said| (greeting, said))
}

type Running = RunningService<RoleClient, ClientConfig>;

async fn begin(door: &Door) -> Result<Running, McpError> {
    let either =
        ClientLifecycleMode::Auto { preferred_versions: vec![ProtocolVersion::LATEST], legacy_version: Some(EARLY) };
    let (first, second) = match door.is_early() {
        true => (ClientLifecycleMode::Initialize, either),
        false => (either, ClientLifecycleMode::Initialize),
    };
    match attempt(door, first).await {
        // It may have been brought to another version since, or says of itself that it speaks the early ones alone.
        Err(McpError::Refused { .. } | McpError::Version) => attempt(door, second).await,
        begun => begun,
    }
}

async fn attempt(door: &Door, lifecycle: ClientLifecycleMode) -> Result<Running, McpError> {
    let mut config = StreamableHttpClientTransportConfig::with_uri(door.url());
    let mut resumptions = ExponentialBackoff::default();
    resumptions.max_times = Some(RESUMPTIONS);
    config.retry_config = Arc::new(resumptions);
    let transport = StreamableHttpClientTransport::with_client(door.clone(), config);
    let me = Implementation::new("vivarium", env!("CARGO_PKG_VERSION"));
    let me = ClientConfig::new(ClientCapabilities::default(), me).with_protocol_version(EARLY);
    let begun = serve_client_with_lifecycle(me, transport, lifecycle).await;
    begun.map_err(|error| not_begun(door, error))
}

fn greeting(running: &Running) -> Greeting {
    let Some(info) = running.peer().peer_info() else {
        return Greeting { protocol: EARLY.to_string(), software: None };
    };
    let software = info.server_info.as_ref().map(|server| told(&format!("{} {}", server.name, server.version)));
    Greeting { protocol: info.protocol_version.to_string(), software }
}

fn not_begun(door: &Door, error: ClientInitializeError) -> McpError {
    if let Some(failure) = door.failure() {
        return failure;
    }
    match error {
        ClientInitializeError::JsonRpcError(error) => refused(&error),
        // There are servers that answer whatever they do not know with an empty success.
        ClientInitializeError::NoCompatibleProtocolVersion { .. }
        | ClientInitializeError::NoPreferredProtocolVersion
        | ClientInitializeError::ExpectedInitResponse(_)
        | ClientInitializeError::ExpectedInitResult(_) => McpError::Version,
        ClientInitializeError::LegacyFallbackFailed { fallback, .. } => not_begun(door, *fallback),
        ClientInitializeError::Cancelled => McpError::Cancelled,
        ClientInitializeError::ConnectionClosed(_) => McpError::Protocol("its answer ends before the end".to_owned()),
        error => McpError::Protocol(told(&error.to_string())),
    }
}

/// An error of a request in a conversation.
pub(crate) fn failed(error: ServiceError) -> McpError {
    match error {
        ServiceError::McpError(error) => refused(&error),
        ServiceError::UnexpectedResponse => McpError::Protocol("its answer is not what was asked for".to_owned()),
        ServiceError::TransportClosed => McpError::Protocol("its answer ends before the end".to_owned()),
        ServiceError::TransportSend(error) if error.to_string().contains("Session expired") => McpError::SessionGone,
        ServiceError::Cancelled { .. } => McpError::Cancelled,
        error => McpError::Protocol(told(&error.to_string())),
    }
}

fn refused(error: &ErrorData) -> McpError {
    McpError::Refused { code: error.code.0, message: told(&error.message) }
}
