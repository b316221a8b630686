//! A message as this dialect's clients see it: the answer of a run, and what a session holds.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use vivarium_domain::{
    AgentId, EventBody, KeptAttachment, Message as Said, Outcome, Run, RunId, SessionId, SessionMessage, TenantId,
    Timestamp, ToolOutcome,
};
use vivarium_runs::LoggedEvent;

use super::message_id;
use crate::ApiState;
use crate::error::ApiError;

/// How far from a session's end a run's answer is looked for: what other runs may have said since it ended.
const LOOK_BACK: u64 = 2_000;
const LOOK_BACK_PAGE: u64 = 16;

/// A message.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentHubMessage)]
pub(super) struct Message {
    #[schema(pattern = "^msg_[0-9]+_[0-9a-z]{9}$", example = "msg_1701234567890_abc123def")]
    id: String,
    role: Role,
    content: Vec<Content>,
    /// Unix seconds.
    #[schema(example = 1701234567)]
    created_at: i64,
    /// The agent; null in a session that is with none.
    assistant_id: Option<AgentId>,
    /// `json` where JSON was asked for; without it, text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    message_type: Option<MessageType>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    data: Option<Data>,
    /// The files that came with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    attachments: Vec<File>,
    /// The session, where the message is in one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    session_id: Option<SessionId>,
}

/// Who said it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AgentHubRole)]
enum Role {
    User,
    Assistant,
    Tool,
    System,
}

/// A piece of a message.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentHubContent)]
struct Content {
    r#type: ContentType,
    text: Text,
}

/// What a piece is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AgentHubContentType)]
enum ContentType {
    Text,
}

/// A text.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentHubText)]
struct Text {
    /// The text itself; JSON text where JSON was asked for.
    #[schema(example = "Here are the key points...")]
    value: String,
}

/// What a message's text is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = AgentHubMessageType)]
enum MessageType {
    Json,
}

/// What a message is besides its text.
#[derive(Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentHubMessageData)]
struct Data {
    /// The value of the JSON text.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Value, required = false)]
    json: Option<Value>,
    /// The tools that were called for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tool_calls: Option<Vec<ToolCall>>,
    /// What they answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    tool_results: Option<Vec<ToolResult>>,
}

/// A call of a tool.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentHubToolCall)]
struct ToolCall {
    /// Names the call; its result has the same.
    id: String,
    /// The tool.
    name: String,
    /// The arguments; a text where the model wrote no JSON.
    arguments: Value,
}

impl ToolCall {
    fn new(id: &str, name: &str, arguments_json: &str) -> Self {
        let arguments =
            serde_json::from_str(arguments_json).unwrap_or_else(|_| Value::String(arguments_json.to_owned()));
        Self { id: id.to_owned(), name: name.to_owned(), arguments }
    }
}

/// What a call came to.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentHubToolResult)]
struct ToolResult {
    /// The call's id.
    id: String,
    /// The tool.
    name: String,
    /// What the tool said, or what went wrong.
    result: String,
    is_error: bool,
}

/// A file that came with a message.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentHubFile)]
struct File {
    file_name: String,
    mime_type: String,
}

impl From<KeptAttachment> for File {
    fn from(kept: KeptAttachment) -> Self {
        Self { file_name: kept.file_name, mime_type: kept.media_type }
    }
}

/// The text of an answer and, where JSON was asked for, its value.
fn answer(outcome: &Outcome) -> (String, Option<&Value>) {
    match &outcome.output {
        Some(value) => (value.to_string(), Some(value)),
        None => (outcome.answer.clone(), None),
    }
}

/// The text that a completed run's answer has in this dialect.
pub(super) fn answer_text(outcome: &Outcome) -> String {
    answer(outcome).0
}

impl Message {
    fn new(id: String, role: Role, text: String, at: Timestamp) -> Self {
        Self {
            id,
            role,
            content: vec![Content { r#type: ContentType::Text, text: Text { value: text } }],
            created_at: at.as_second(),
            assistant_id: None,
            message_type: None,
            data: None,
            attachments: Vec::new(),
            session_id: None,
        }
    }

    /// The answer of a run; `role` is the assistant's.
    fn of_outcome(id: String, at: Timestamp, outcome: &Outcome) -> Self {
        let (text, json) = answer(outcome);
        let json = json.cloned();
        Self {
            message_type: json.is_some().then_some(MessageType::Json),
            data: json.map(|json| Data { json: Some(json), ..Data::default() }),
            ..Self::new(id, Role::Assistant, text, at)
        }
    }

    /// What a session holds at a number. `run` is the run that said it, as far as it is still there, and `with` the agent
    /// that the session is with.
    pub(super) fn stored(
        session: &SessionId,
        number: u64,
        stored: SessionMessage,
        run: Option<&Run>,
        with: Option<AgentId>,
    ) -> Self {
        let SessionMessage { run_id: _, at, message, attachments } = stored;
        let id = message_id::of_session(session, number, at);
        let shown = match &message {
            Said::System { text } => Self::new(id, Role::System, text.clone(), at),
            Said::User { .. } => Self::new(id, Role::User, message.text(), at),
            Said::Assistant(said) if said.tool_calls.is_empty() => {
                let outcome = run.and_then(|run| run.outcome.as_ref()).filter(|outcome| outcome.answer == said.text);
                match outcome {
                    Some(outcome) => Self::of_outcome(id, at, outcome),
                    None => Self::new(id, Role::Assistant, said.text.clone(), at),
                }
            }
            Said::Assistant(said) => {
                let call = |call: &vivarium_domain::ToolCall| ToolCall::new(&call.id, &call.name, &call.arguments_json);
                let calls = said.tool_calls.iter().map(call).collect();
                let data = Data { tool_calls: Some(calls), ..Data::default() };
                Self { data: Some(data), ..Self::new(id, Role::Assistant, said.text.clone(), at) }
            }
            Said::Tool(said) => {
                let (name, result) = (said.name.clone(), said.content.clone());
                let result = ToolResult { id: said.call_id.clone(), name, result, is_error: said.is_error };
                let data = Data { tool_results: Some(vec![result]), ..Data::default() };
                Self { data: Some(data), ..Self::new(id, Role::Tool, said.content.clone(), at) }
            }
        };
        let agent = run.and_then(|run| run.agent).map(|agent| agent.id);
        Self {
            assistant_id: agent.or(with),
            session_id: Some(session.clone()),
            attachments: attachments.into_iter().map(File::from).collect(),
            ..shown
        }
    }
}

/// A run whose answer a client waits for.
pub(super) struct Awaited {
    pub(super) tenant: TenantId,
    pub(super) run: RunId,
    pub(super) agent: AgentId,
    /// None: nothing is kept of it.
    pub(super) session: Option<SessionId>,
    /// What its tools did, where the client wants to know.
    tools: Option<Vec<Arc<LoggedEvent>>>,
}

impl Awaited {
    pub(super) fn new(
        tenant: TenantId,
        run: RunId,
        agent: AgentId,
        session: Option<SessionId>,
        with_tools: bool,
    ) -> Self {
        Self { tenant, run, agent, session, tools: with_tools.then(Vec::new) }
    }

    /// Notes what is needed for the answer.
    pub(super) fn note(&mut self, logged: &Arc<LoggedEvent>) {
        if let Some(tools) = &mut self.tools
            && matches!(logged.event.body, EventBody::ToolStarted { .. } | EventBody::ToolCompleted { .. })
        {
            tools.push(Arc::clone(logged));
        }
    }

    /// The id that the answer has for ever, and its time: those that it has in its session, where it is in one. `at` is when
    /// the run ended.
    pub(super) async fn placed(&self, state: &ApiState, at: Timestamp) -> (String, Timestamp) {
        let alone = || (message_id::of_run(self.run, at), at);
        let Some(session) = &self.session else { return alone() };
        match self.place(state, session).await {
            Ok(Some((number, at))) => (message_id::of_session(session, number, at), at),
            // The session was deleted as the run ended.
            Ok(None) => alone(),
            Err(error) => {
                tracing::warn!(run = %self.run, reason = error.message(), "an answer's place in its session was not found");
                alone()
            }
        }
    }

    /// The number and the time of the run's last message in its session.
    async fn place(&self, state: &ApiState, session: &SessionId) -> Result<Option<(u64, Timestamp)>, ApiError> {
        let Some(found) = state.0.store.session(&self.tenant, session).await? else { return Ok(None) };
        let least = found.messages.saturating_sub(LOOK_BACK);
        let mut end = found.messages;
        while end > least {
            let first = end.saturating_sub(LOOK_BACK_PAGE);
            let limit = usize::try_from(end - first).unwrap_or_default();
            let page = state.0.store.messages_from(&self.tenant, session, first, limit).await?;
            let found = (first..).zip(&page).filter(|(_, message)| message.run_id == self.run).last();
            if let Some((number, message)) = found {
                return Ok(Some((number, message.at)));
            }
            end = first;
        }
        Ok(None)
    }

    /// The answer.
    pub(super) fn answer(&self, (id, at): (String, Timestamp), outcome: &Outcome) -> Message {
        let mut message = Message::of_outcome(id, at, outcome);
        message.assistant_id = Some(self.agent);
        message.session_id.clone_from(&self.session);
        if let Some(tools) = &self.tools {
            let data = message.data.get_or_insert_default();
            data.tool_calls = Some(tools.iter().filter_map(|logged| call(&logged.event.body)).collect());
            data.tool_results = Some(tools.iter().filter_map(|logged| result(&logged.event.body)).collect());
        }
        message
    }
}

fn call(body: &EventBody) -> Option<ToolCall> {
    match body {
        EventBody::ToolStarted { call_id, tool, arguments_json, .. } => {
            Some(ToolCall::new(call_id, tool, arguments_json))
        }
        _ => None,
    }
}

fn result(body: &EventBody) -> Option<ToolResult> {
    let EventBody::ToolCompleted { call_id, tool, outcome, .. } = body else { return None };
    let (result, is_error) = match outcome {
        ToolOutcome::Output(text) => (text.clone(), false),
        ToolOutcome::Error(text) => (text.clone(), true),
    };
    Some(ToolResult { id: call_id.clone(), name: tool.clone(), result, is_error })
}
