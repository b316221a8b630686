//! What is answered to one request of a client.

use std::collections::BTreeMap;
use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, CustomRequest, CustomResult, Implementation,
    ListToolsResult, PaginatedRequestParams, ProgressNotificationParam, ProtocolVersion, ServerCapabilities,
    ServerConfig, Tool,
};
use rmcp::service::{RequestContext, RoleServer};
use rmcp::{ErrorData, ServerHandler};
use serde::Deserialize;
use serde_json::{Map, Value};
use tokio_util::sync::CancellationToken;
use vivarium_domain::{Agent, Approval, EventBody, SessionId, bounds};
use vivarium_runs::{RunRequest, Started, ToolInfo};

use super::calls::Call;
use super::{agents, shown, stopping};
use crate::ApiState;
use crate::attend::{attend, start};
use crate::auth::Caller;
use crate::error::{ApiError, Kind};

/// How many tools a page has.
const PAGE: usize = 50;

const ABOUT: &str = "The tools of one tenant of a Vivarium host, and its agents: a tool whose name begins with agent_ works on a task in a run \
                     of its own, which may take minutes; it tells of its steps where it is asked for progress.";

/// What an agent takes.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct AgentInput {
    input: String,
    session_id: Option<SessionId>,
}

/// Answers one request.
#[derive(Clone)]
pub(super) struct Handler {
    pub(super) state: ApiState,
    pub(super) caller: Arc<Caller>,
    /// The client has said that it does not want the answer any more.
    pub(super) cancelled: CancellationToken,
    /// The request is under way as long as this is there.
    pub(super) _call: Arc<Call>,
}

/// What stands behind a tool's name.
enum Target {
    Tool(ToolInfo),
    Agent(Box<Agent>),
}

fn internal(error: impl Into<ApiError>) -> ErrorData {
    let error = error.into();
    ErrorData::internal_error(error.message().to_owned(), None)
}

impl Handler {
    /// All that can be called, by name.
    async fn all(&self) -> Result<BTreeMap<String, Target>, ApiError> {
        let tenant = &self.caller.tenant;
        let tools = self.state.0.runs.tools(tenant).await?;
        let tools = tools.into_iter().map(|info| (info.manifest.name.to_string(), Target::Tool(info)));
        let mut all: BTreeMap<String, Target> = tools.collect();
        let agents = agents::as_tools(&self.state, tenant, |name| all.contains_key(name)).await?;
        all.extend(agents.into_iter().map(|(name, agent)| (name, Target::Agent(Box::new(agent)))));
        Ok(all)
    }

    async fn call_plain(
        &self,
        info: &ToolInfo,
        arguments: &Map<String, Value>,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ApiError> {
        let name = info.manifest.name.as_str();
        if info.approval == Approval::Ask {
            return Ok(shown::asks(name));
        }
        let arguments = Value::Object(arguments.clone()).to_string();
        let Caller { tenant, key, .. } = &*self.caller;
        let trial = tokio::select! {
            biased;
            trial = self.state.0.runs.try_tool(tenant, name, &arguments, None, *key) => trial?,
            () = self.cancelled.cancelled() => return Ok(shown::error("the call was cancelled")),
            // Who leaves a tool's call ends it.
            () = context.ct.cancelled() => return Ok(shown::error("the call was cancelled")),
            () = self.state.0.shutdown.cancelled() => return Err(stopping()),
        };
        Ok(shown::trial(&info.manifest, trial))
    }

    async fn call_agent(
        &self,
        agent: &Agent,
        arguments: &Map<String, Value>,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ApiError> {
        let AgentInput { input, session_id } = match serde_json::from_value(Value::Object(arguments.clone())) {
            Ok(input) => input,
            Err(error) => return Ok(shown::error(format!("invalid arguments: {error}"))),
        };
        let chars = input.chars().count();
        if input.trim().is_empty() || chars > bounds::INPUT_CHARS {
            let must = format!("invalid arguments: input must have 1 to {} characters", bounds::INPUT_CHARS);
            return Ok(shown::error(must));
        }
        let stateless = session_id.is_none();
        let request = RunRequest { session_id, stateless, ..RunRequest::of_agent(agent, input) };
        let started = start(&self.state, &self.caller, request).await?;
        vivarium_sight::log::names_run(started.run_id);
        let following = self.follow(agent, &started, context);
        tokio::select! {
            biased;
            followed = following => followed,
            () = self.over(context) => {
                let reason = "the client of the call has cancelled it";
                // It ends whether or not somebody waits for that.
                let _ended = self.state.0.runs.cancel(&self.caller.tenant, started.run_id, reason).await;
                Ok(shown::error(format!("the run {} was cancelled", started.run_id)))
            }
        }
    }

    /// The client wants the run to end: it says so, or, in the newest version of the protocol, closes the stream of the answer. In the
    /// earlier ones a connection that is lost says nothing, and the run goes on.
    async fn over(&self, context: &RequestContext<RoleServer>) {
        let is_newest = context.protocol_version().is_some_and(|version| !version.has_initialize());
        tokio::select! {
            () = self.cancelled.cancelled() => {}
            () = context.ct.cancelled(), if is_newest => {}
        }
    }

    /// Follows a run to its end and tells of its steps, if the client has asked for that.
    async fn follow(
        &self,
        agent: &Agent,
        started: &Started,
        context: &RequestContext<RoleServer>,
    ) -> Result<CallToolResult, ApiError> {
        let token = context.meta.get_progress_token();
        let mut attended = attend(&self.state, &self.caller, started.run_id).await?;
        let (mut sources, mut steps) = (Vec::new(), 0.0_f64);
        while let Some(logged) = attended.next_event(&self.state).await? {
            let told = match &logged.event.body {
                EventBody::RunCompleted { outcome, .. } => {
                    return Ok(shown::outcome(agent, started, outcome, &sources));
                }
                EventBody::RunFailed { failure, .. } => {
                    return Ok(shown::error(format!("the run {} failed: {}", started.run_id, failure.message)));
                }
                EventBody::RunCancelled { reason, .. } => {
                    return Ok(shown::error(format!("the run {} was cancelled: {reason}", started.run_id)));
                }
                EventBody::SourceAdded { source } => {
                    sources.push(source.clone());
                    None
                }
                body => step(body, started),
            };
            let (Some(token), Some(told)) = (&token, told) else { continue };
            steps += 1.0;
            let progress = ProgressNotificationParam::new(token.clone(), steps).with_message(told);
            // A client that is gone is noticed elsewhere.
            let _told = context.peer.notify_progress(progress).await;
        }
        Err(ApiError::internal())
    }
}

/// What is told of an event while the run goes on.
fn step(body: &EventBody, started: &Started) -> Option<String> {
    match body {
        EventBody::Step { message } | EventBody::SubrunStep { message, .. } => Some(message.clone()),
        EventBody::ToolStarted { tool, .. } => Some(format!("calls {tool}")),
        EventBody::ApprovalRequested { call_id, tool, .. } => {
            let run = started.run_id;
            Some(format!(
                "waits for a person to allow a call of {tool}: POST /v1/runs/{run}/approve with the callId {call_id}"
            ))
        }
        EventBody::SubrunApprovalRequested { run_id, approval, .. } => {
            let (call, tool) = (&approval.call_id, &approval.tool);
            Some(format!(
                "waits for a person to allow a call of {tool}: POST /v1/runs/{run_id}/approve with the callId {call}"
            ))
        }
        _ => None,
    }
}

impl ServerHandler for Handler {
    fn get_info(&self) -> ServerConfig {
        let me = Implementation::new("vivarium", env!("CARGO_PKG_VERSION")).with_title("Vivarium");
        ServerConfig::new(ServerCapabilities::builder().enable_tools().build())
            .with_server_info(me)
            .with_instructions(ABOUT)
            .with_protocol_version(ProtocolVersion::LATEST_WITH_INITIALIZE)
    }

    async fn list_tools(
        &self,
        request: Option<PaginatedRequestParams>,
        _context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let all = self.all().await.map_err(internal)?;
        let after = request.and_then(|request| request.cursor);
        if after.as_ref().is_some_and(|after| after.parse::<vivarium_domain::ToolName>().is_err()) {
            return Err(ErrorData::invalid_params("cursor must be the nextCursor of an earlier page", None));
        }
        let mut rest = all.iter().filter(|(name, _)| after.as_ref().is_none_or(|after| *name > after));
        let page: Vec<Tool> = rest
            .by_ref()
            .take(PAGE)
            .map(|(name, target)| match target {
                Target::Tool(info) => shown::tool(info),
                Target::Agent(agent) => shown::agent(name, agent),
            })
            .collect();
        let next = rest.next().and_then(|_| page.last()).map(|last| last.name.to_string());
        let mut result = ListToolsResult::with_all_items(page);
        result.next_cursor = next;
        Ok(result)
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let all = self.all().await.map_err(internal)?;
        let arguments = request.arguments.unwrap_or_default();
        let called = match all.get(&*request.name) {
            Some(Target::Tool(info)) => self.call_plain(info, &arguments, &context).await,
            Some(Target::Agent(agent)) => self.call_agent(agent, &arguments, &context).await,
            None => {
                let name: String = request.name.chars().take(80).collect();
                return Err(ErrorData::invalid_params(
                    format!("there is no tool {name:?}; tools/list tells which there are"),
                    None,
                ));
            }
        };
        match called {
            Ok(result) => Ok(result.into()),
            // What the caller can do something about is for the caller to read.
            Err(error) if error.is(Kind::Internal) || error.is(Kind::StoreUnavailable) => Err(internal(error)),
            Err(error) => Ok(shown::error(error.message()).into()),
        }
    }

    /// What the library could not read as a request that it knows.
    async fn on_custom_request(
        &self,
        request: CustomRequest,
        _context: RequestContext<RoleServer>,
    ) -> Result<CustomResult, ErrorData> {
        match request.method.as_str() {
            known @ ("initialize" | "tools/list" | "tools/call" | "ping" | "server/discover") => {
                Err(ErrorData::invalid_params(format!("the params of {known} are not what they must be"), None))
            }
            unknown => {
                let name: String = unknown.chars().take(80).collect();
                let message = format!("there is no method {name:?} here");
                Err(ErrorData::new(rmcp::model::ErrorCode::METHOD_NOT_FOUND, message, None))
            }
        }
    }
}
