//! A run as this dialect tells it: its execution steps, the same in the stream, in the answer and in a callback, and what it
//! came to. Steps are made from the run's log, so that a later reading of it gives the same ones, with the same ids.

use std::sync::Arc;

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;
use vivarium_domain::{
    ContentHash, Event, EventBody, GenerateResponse, Message, Outcome, Run, RunId, SessionId, Timestamp, ToolOutcome,
    Usage,
};
use vivarium_runs::LoggedEvent;

use super::step_id;
use crate::error::ApiError;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = MakeRole)]
enum Role {
    /// The agent's configuration.
    System,
    /// The client.
    User,
    /// The model.
    Assistant,
    /// A tool.
    Tool,
}

/// One step of a run.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ExecutionStep)]
pub(super) struct Step {
    /// Who speaks.
    role: Role,
    /// What is said.
    content: String,
    /// The step's id.
    id: Uuid,
    /// The same for an answer of the model and the tool calls that it asked for.
    agent_iteration_id: Uuid,
    /// The step's place, from 0.
    index: usize,
    /// How long the model or the tool took.
    #[serde(skip_serializing_if = "Option::is_none")]
    execution_time_ms: Option<u64>,
    /// What the model read and wrote.
    #[serde(skip_serializing_if = "Option::is_none")]
    token_usage: Option<TokenUsage>,
    /// The tools that the model asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    tool_calls: Vec<ToolCallView>,
    /// What a tool answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_response: Option<ToolResponse>,
}

/// Tokens read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenUsage {
    /// Read.
    prompt_tokens: u64,
    /// Written.
    completion_tokens: u64,
    /// Both together.
    total_tokens: u64,
}

impl From<Usage> for TokenUsage {
    fn from(usage: Usage) -> Self {
        Self { prompt_tokens: usage.input_tokens, completion_tokens: usage.output_tokens, total_tokens: usage.total() }
    }
}

/// A tool that the model asked for.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct ToolCallView {
    /// The call's id.
    id: String,
    /// The tool's name.
    name: String,
    /// The arguments; a text where what the model wrote is no JSON.
    arguments: Value,
}

/// What a tool answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ToolResponse {
    /// The call that this answers.
    tool_call_id: String,
    /// The tool's name.
    tool_name: String,
    /// The output or the error.
    content: String,
    /// The call failed.
    is_error: bool,
}

/// What a run came to.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunAnswer<'a> {
    /// The answer.
    response: &'a str,
    /// The answer as JSON, where the agent's or the run's output format asks for it.
    json_response: Option<&'a Value>,
    /// All steps, in order.
    execution_steps: &'a [Step],
    /// From the run's start to its end.
    execution_time_ms: u64,
    /// The thread, to go on with.
    #[schema(value_type = String)]
    thread_id: &'a SessionId,
    /// Tokens of all steps together.
    token_usage_summary: TokenUsage,
    /// The `agentIterationId` of the last steps.
    last_agent_iteration_id: Uuid,
}

/// What a run begins with, before its log says anything.
#[derive(Debug, Default)]
struct Opening {
    instructions: Option<String>,
    user_messages: Vec<String>,
}

impl From<&Run> for Opening {
    fn from(run: &Run) -> Self {
        let of_user = |message: &&Message| matches!(message, Message::User { .. });
        let earlier = run.settings.earlier.iter().filter(of_user).map(Message::text);
        let user_messages = earlier.chain([run.input.clone()]).collect();
        Self { instructions: run.settings.instructions.clone(), user_messages }
    }
}

/// Reads a run's log and remembers its steps.
pub(super) struct Teller {
    run: RunId,
    session: SessionId,
    opening: Opening,
    started: Option<Timestamp>,
    iteration: u32,
    steps: Vec<Step>,
}

impl Teller {
    pub(super) fn of(run: &Run) -> Self {
        let (opening, session) = (Opening::from(run), run.session_id.clone());
        Self { run: run.id, session, opening, started: None, iteration: 1, steps: Vec::new() }
    }

    /// Takes the log's next event. Gives the steps that it is.
    pub(super) fn take(&mut self, event: &Event) -> &[Step] {
        let before = self.steps.len();
        self.started.get_or_insert(event.at);
        match &event.body {
            EventBody::RunStarted { .. } => self.open(),
            EventBody::ModelStarted { call, .. } => self.iteration = *call,
            EventBody::ModelCompleted { response: Some(response), duration_ms, .. } => {
                self.assistant(response, *duration_ms);
            }
            EventBody::ToolCompleted { call_id, tool, outcome, usage, .. } => {
                let response = response(call_id, tool, outcome);
                let mut step = self.step(Role::Tool, response.content.clone());
                step.execution_time_ms = Some(usage.wall_ms);
                step.tool_response = Some(response);
                self.steps.push(step);
            }
            _ => {}
        }
        self.steps.get(before..).unwrap_or_default()
    }

    /// What the run came to; `at` is when.
    pub(super) fn answer<'a>(&'a self, at: Timestamp, outcome: &'a Outcome, usage: Usage) -> RunAnswer<'a> {
        let took = self.started.map_or(0, |started| at.duration_since(started).as_millis());
        RunAnswer {
            response: &outcome.answer,
            json_response: outcome.output.as_ref(),
            execution_steps: &self.steps,
            execution_time_ms: u64::try_from(took).unwrap_or(0),
            thread_id: &self.session,
            token_usage_summary: usage.into(),
            last_agent_iteration_id: self.iteration_id(),
        }
    }

    fn open(&mut self) {
        let Opening { instructions, user_messages } = std::mem::take(&mut self.opening);
        if let Some(instructions) = instructions {
            let step = self.step(Role::System, instructions);
            self.steps.push(step);
        }
        for message in user_messages {
            let step = self.step(Role::User, message);
            self.steps.push(step);
        }
    }

    fn assistant(&mut self, response: &GenerateResponse, duration_ms: u64) {
        let mut step = self.step(Role::Assistant, response.text.clone());
        step.execution_time_ms = Some(duration_ms);
        step.token_usage = Some(response.usage.into());
        let call = |call: &vivarium_domain::ToolCall| ToolCallView {
            id: call.id.clone(),
            name: call.name.clone(),
            arguments: serde_json::from_str(&call.arguments_json)
                .unwrap_or_else(|_| Value::String(call.arguments_json.clone())),
        };
        step.tool_calls = response.tool_calls.iter().map(call).collect();
        self.steps.push(step);
    }

    fn step(&self, role: Role, content: String) -> Step {
        Step {
            role,
            content,
            id: step_id::of(self.run, self.steps.len()),
            agent_iteration_id: self.iteration_id(),
            index: self.steps.len(),
            execution_time_ms: None,
            token_usage: None,
            tool_calls: Vec::new(),
            tool_response: None,
        }
    }

    fn iteration_id(&self) -> Uuid {
        named(self.run, &format!("iteration {}", self.iteration))
    }
}

impl Step {
    pub(super) fn id(&self) -> Uuid {
        self.id
    }

    /// From 0.
    pub(super) fn place(&self) -> usize {
        self.index
    }
}

fn response(call_id: &str, tool: &str, outcome: &ToolOutcome) -> ToolResponse {
    let (content, is_error) = match outcome {
        ToolOutcome::Output(output) => (output, false),
        ToolOutcome::Error(error) => (error, true),
    };
    ToolResponse { tool_call_id: call_id.to_owned(), tool_name: tool.to_owned(), content: content.clone(), is_error }
}

/// The id of what is called so within a run: a UUID of its SHA-256 (version 8, as RFC 9562 shows in its appendix B.2), the same
/// whenever it is asked for.
fn named(run: RunId, name: &str) -> Uuid {
    let hash = ContentHash::of(&[run.as_bytes(), name.as_bytes()].concat());
    let bytes = hash.as_bytes().first_chunk().copied().unwrap_or_default();
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// What a callback is told of an ended run: the answer, or the error. None: the log has no end.
pub(crate) fn ended_body(run: &Run, log: &[Arc<LoggedEvent>]) -> Option<Vec<u8>> {
    let mut teller = Teller::of(run);
    for logged in log {
        let event = &logged.event;
        teller.take(event);
        let error: ApiError = match &event.body {
            EventBody::RunCompleted { outcome, usage, .. } => {
                return serde_json::to_vec(&teller.answer(event.at, outcome, *usage)).ok();
            }
            EventBody::RunFailed { failure, .. } => failure.into(),
            EventBody::RunCancelled { reason, .. } => ApiError::run_cancelled(reason),
            _ => continue,
        };
        return serde_json::to_vec(&with_thread(error.make_body(), &run.session_id)).ok();
    }
    None
}

/// An error of a run that was accepted names its thread.
fn with_thread(mut error: Value, thread: &SessionId) -> Value {
    if let Some(fields) = error.as_object_mut() {
        fields.insert("threadId".to_owned(), Value::String(thread.to_string()));
    }
    error
}
