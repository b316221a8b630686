//! One call of a tool.

use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rmcp::model::{
    CallToolRequest, CallToolRequestParams, CallToolResult, ClientRequest, MetaObject, RequestMetaObject, ServerResult,
};
use rmcp::service::{Peer, PeerRequestOptions, RequestHandle, RoleClient};
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use vivarium_domain::ContentHash;
use vivarium_egress::{Meter, Traffic};

use crate::answer::{Answer, Shown};
use crate::conversation::{converse, failed};
use crate::error::McpError;
use crate::listing::listed;
use crate::place::RemoteServer;

/// Under which name a server is told the key that all attempts of a call share.
const IDEMPOTENCY_KEY: &str = "vivarium/idempotencyKey";

/// A call of a tool.
#[derive(Debug, Clone)]
pub struct ToolCall {
    /// What the server calls the tool.
    pub name: String,
    /// What was accepted of it: it is called only if the server says the same now.
    pub digest: ContentHash,
    /// The arguments.
    pub arguments: Map<String, Value>,
    /// The same for every attempt of this call; for servers that make use of it.
    pub idempotency_key: String,
    /// How its answer is shown.
    pub shown: Shown,
}

/// What came of a call.
#[derive(Debug)]
pub struct Called {
    /// The answer, or why there is none.
    pub result: Result<Answer, McpError>,
    /// What went over the network.
    pub traffic: Traffic,
}

impl RemoteServer {
    /// Calls a tool, for at most `patience`. Who drops this no longer waits, and the server is told so.
    pub async fn call(&self, call: ToolCall, patience: Duration) -> Called {
        let meter = Meter::default();
        let talk = |peer, left| talk(peer, left, call).boxed();
        let result = converse(self.clone(), meter.clone(), patience, Box::new(talk)).await;
        Called { result: result.map(|(_, answer)| answer), traffic: meter.traffic() }
    }
}

async fn talk(peer: Peer<RoleClient>, left: CancellationToken, call: ToolCall) -> Result<Answer, McpError> {
    // The listing is also what tells the library which arguments the server wants as headers.
    let tools = tokio::select! {
        biased;
        () = left.cancelled() => return Err(McpError::Cancelled),
        tools = listed(&peer) => tools?,
    };
    let tool = tools.iter().find(|tool| tool.name == call.name);
    let tool = tool.ok_or_else(|| McpError::NoSuchTool(call.name.clone()))?;
    if tool.digest != call.digest {
        return Err(McpError::Changed(call.name));
    }
    let asked = CallToolRequestParams::new(call.name).with_arguments(call.arguments);
    let request = ClientRequest::CallToolRequest(CallToolRequest::new(asked));
    let mut meta = MetaObject::new();
    meta.insert(IDEMPOTENCY_KEY.to_owned(), call.idempotency_key.into());
    let options = PeerRequestOptions::no_options().with_meta(RequestMetaObject::from(meta));
    let mut handle = peer.send_cancellable_request(request, options).await.map_err(failed)?;
    let answered = tokio::select! {
        biased;
        answered = &mut handle.rx => answered,
        () = left.cancelled() => {
            give_up(handle).await;
            return Err(McpError::Cancelled);
        }
    };
    match answered.unwrap_or(Err(rmcp::ServiceError::TransportClosed)).map_err(failed)? {
        ServerResult::CallToolResult(result) => Ok(Answer::of(result, &call.shown)),
        // A server that has nothing to say may leave out all fields.
        ServerResult::EmptyResult(_) => Ok(Answer::of(CallToolResult::default(), &call.shown)),
        ServerResult::InputRequiredResult(_) => Err(McpError::Wants("an answer of a person or a model")),
        ServerResult::CreateTaskResult(_) => Err(McpError::Wants("to be asked for its answer later")),
        _ => Err(McpError::Protocol("its answer is not what was asked for".to_owned())),
    }
}

/// Tells the server that nobody waits any more.
fn give_up(handle: RequestHandle<RoleClient>) -> BoxFuture<'static, ()> {
    async move {
        // A server that can not be told finds out when the connection closes.
        let _told = handle.cancel(Some("nobody waits for the answer any more".to_owned())).await;
    }
    .boxed()
}
