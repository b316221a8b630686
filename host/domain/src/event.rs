//! A run's log. It is the journal, too: every answer of the host to a mode is an event, in the order in which the mode
//! saw them, so that a run can be replayed.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::agent::AgentRef;
use crate::id::{ContentHash, RunId, SessionId};
use crate::manifest::PluginName;
use crate::model::{GenerateResponse, ModelName, Usage};
use crate::model_error::ModelError;
use crate::money::Money;
use crate::run::{CheckedCitation, Outcome, RunFailure};
use crate::session::SessionSummary;
use crate::source::Source;
use crate::workspace::WorkspaceChanges;

/// One entry of a run's log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Event {
    /// Its number: from 1, without gaps.
    pub seq: u64,
    /// When the host wrote it.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What a tool call came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ToolOutcome {
    /// The content for the model.
    Output(String),
    /// What went wrong, for the model and the client.
    Error(String),
}

/// What a guest call used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolUsage {
    /// From start to end, host time included.
    pub wall_ms: u64,
    /// Processor time of the guest.
    pub cpu_ms: u64,
    /// The largest sum of its memories.
    pub memory_peak_bytes: u64,
    /// What it sent and received over the network.
    pub egress_bytes: u64,
    /// Requests that it sent.
    pub egress_requests: u32,
    /// Calls of the host that it made.
    #[serde(default)]
    pub host_calls: u64,
}

/// What a person is asked to allow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApprovalQuestion {
    /// The call's id in its run: what a decision names.
    pub call_id: String,
    /// The tool's name.
    pub tool: String,
    /// The arguments that the decision is about.
    pub arguments_json: String,
    /// When nobody has decided by then, it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// A host call whose answer is small and has no event of its own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "call", content = "answer", rename_all = "camelCase")]
pub enum HostCall {
    /// `model.describe`: the model's info as JSON.
    ModelDescribe(serde_json::Value),
    /// `tools.list`: the names that were given.
    ToolsList(Vec<String>),
    /// `sources.list`: the ids that were given.
    SourcesList(Vec<String>),
    /// `sources.read`: the hash of the text that was given; none where there was no such source.
    SourcesRead(Option<ContentHash>),
    /// `sources.check`.
    SourcesCheck(Vec<CheckedCitation>),
    /// `session.append`: how many messages.
    SessionAppend(u64),
    /// `workspace.changes`: what was given; none where the run had written nothing.
    WorkspaceChanges(Option<Box<WorkspaceChanges>>),
    /// `session.summarize`: how many messages of the history it stands for; 0: it was not taken.
    SessionSummarize(u64),
    /// `wasi:clocks/wall-clock`: nanoseconds since 1970.
    WallClock(u64),
    /// `wasi:clocks/monotonic-clock`: nanoseconds since the run's start.
    MonotonicClock(u64),
    /// `wasi:random`: the bytes, in hex.
    Random(String),
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type")]
pub enum EventBody {
    /// The run's mode has started.
    #[serde(rename = "run.started", rename_all = "camelCase")]
    RunStarted {
        /// The mode's name.
        mode: String,
        /// The component that the run is pinned to.
        plugin: ContentHash,
        /// The model that answers.
        model: ModelName,
        /// The conversation that it belongs to.
        session_id: SessionId,
        /// How many messages of the conversation the mode was given.
        history_messages: u64,
        /// What the client asked for.
        input: String,
        /// The bound on its cycles.
        max_cycles: u32,
        /// SHA-256 of the conversation that the mode was given, as JSON: a replay compares it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        history_hash: Option<ContentHash>,
        /// The text with the definitions of the tools that it may use, as a JSON array: a replay offers the same.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        tools: Option<ContentHash>,
        /// The summary that the conversation begins with, in the place of its oldest messages.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        summary: Option<SessionSummary>,
    },
    /// The host was stopped while the run was under way, and has taken it up again: what is in the log is not done twice.
    #[serde(rename = "run.resumed")]
    RunResumed {},
    /// What the client should see of the work.
    #[serde(rename = "step", rename_all = "camelCase")]
    Step {
        /// A short sentence.
        message: String,
    },
    /// A model is being asked.
    #[serde(rename = "model.started", rename_all = "camelCase")]
    ModelStarted {
        /// Numbers the run's model calls from 1; a question that goes to a second model is another call.
        call: u32,
        /// The model.
        model: ModelName,
        /// SHA-256 of the request's JSON: a replay compares it.
        request_hash: ContentHash,
    },
    /// A model has answered, or has not.
    #[serde(rename = "model.completed", rename_all = "camelCase")]
    ModelCompleted {
        /// The call's number.
        call: u32,
        /// The answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        response: Option<GenerateResponse>,
        /// Why there is none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        error: Option<serde_json::Value>,
        /// The model that is asked the same instead.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fallback: Option<ModelName>,
        /// How long it took.
        duration_ms: u64,
        /// What it cost, in US dollars; none: the model has no price.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost: Option<Money>,
        /// The client saw its text while the model wrote it: it is the answer.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        visible: bool,
    },
    /// A tool is about to be called: the intent, on disk before the call.
    #[serde(rename = "tool.started", rename_all = "camelCase")]
    ToolStarted {
        /// The call's id: the model's, with a number where the model has used it in this run before.
        call_id: String,
        /// The tool's name.
        tool: String,
        /// The arguments, as given.
        arguments_json: String,
        /// What is called: the component's digest, or that of what a remote server says of the tool; none where there is no
        /// such tool.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        plugin: Option<ContentHash>,
        /// The same for every attempt of this call.
        idempotency_key: String,
    },
    /// A tool is really called: after a person has approved, or once more after the host was stopped. A call without this
    /// event was made as soon as it was started.
    #[serde(rename = "tool.attempted", rename_all = "camelCase")]
    ToolAttempted {
        /// The call's id.
        call_id: String,
        /// Numbers the attempts of this call, from 1.
        attempt: u32,
    },
    /// A tool call waits for a person's approval.
    #[serde(rename = "approval.requested", rename_all = "camelCase")]
    ApprovalRequested {
        /// The call's id: what a decision names.
        call_id: String,
        /// The tool's name.
        tool: String,
        /// The arguments that the decision is about.
        arguments_json: String,
        /// When nobody has decided by then, it is refused.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expires_at: Option<Timestamp>,
    },
    /// A person has decided about a tool call.
    #[serde(rename = "approval.given", rename_all = "camelCase")]
    ApprovalGiven {
        /// The call's id.
        call_id: String,
        /// The call may be made.
        approved: bool,
        /// Why, or why not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
    },
    /// A tool wanted what it is not granted.
    #[serde(rename = "grant.denied", rename_all = "camelCase")]
    GrantDenied {
        /// The tool call's id.
        call_id: String,
        /// The plugin.
        plugin: PluginName,
        /// What was denied: `hosts`, `secrets`, `files`, `corpus` or `state`.
        capability: String,
        /// What was wanted, and which grant would allow it.
        message: String,
    },
    /// An agent that is called as a tool has its run.
    #[serde(rename = "subrun.started", rename_all = "camelCase")]
    SubrunStarted {
        /// The tool call's id.
        call_id: String,
        /// The run.
        run_id: RunId,
        /// Its agent.
        agent: AgentRef,
    },
    /// A run that was started as a tool, or one that it has started, shows a step.
    #[serde(rename = "subrun.step", rename_all = "camelCase")]
    SubrunStep {
        /// The tool call's id.
        call_id: String,
        /// The run whose step it is.
        run_id: RunId,
        /// The number of the event in the log of the run that was started.
        source_seq: u64,
        /// A short sentence.
        message: String,
    },
    /// A tool call of a run that was started as a tool, or of one that it has started, waits for a person's approval: the
    /// decision is to be sent to that run.
    #[serde(rename = "subrun.approval_requested", rename_all = "camelCase")]
    SubrunApprovalRequested {
        /// The tool call's id.
        call_id: String,
        /// The run that waits.
        run_id: RunId,
        /// The number of the event in the log of the run that was started.
        source_seq: u64,
        /// What is asked for.
        approval: ApprovalQuestion,
    },
    /// A tool has answered, or has failed.
    #[serde(rename = "tool.completed", rename_all = "camelCase")]
    ToolCompleted {
        /// The call's id.
        call_id: String,
        /// The tool's name.
        tool: String,
        /// What came of it.
        outcome: ToolOutcome,
        /// The ids of the sources that it added.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        sources: Vec<String>,
        /// What it used.
        usage: ToolUsage,
    },
    /// A document came into the run's ledger.
    #[serde(rename = "source.added", rename_all = "camelCase")]
    SourceAdded {
        /// The ledger's entry.
        source: Source,
    },
    /// The host answered a small call of the mode.
    #[serde(rename = "host.answered")]
    HostAnswered(HostCall),
    /// The run ended with an answer.
    #[serde(rename = "run.completed", rename_all = "camelCase")]
    RunCompleted {
        /// The answer.
        outcome: Outcome,
        /// Tokens of all model calls.
        usage: Usage,
        /// What they cost, in US dollars; nothing for models without a price.
        #[serde(default)]
        cost: Money,
    },
    /// The run ended without an answer.
    #[serde(rename = "run.failed", rename_all = "camelCase")]
    RunFailed {
        /// Why.
        failure: RunFailure,
        /// Tokens of all model calls.
        usage: Usage,
        /// What they cost, in US dollars; nothing for models without a price.
        #[serde(default)]
        cost: Money,
    },
    /// The run was ended by a client or the operator.
    #[serde(rename = "run.cancelled", rename_all = "camelCase")]
    RunCancelled {
        /// Why.
        reason: String,
        /// Tokens of all model calls.
        usage: Usage,
        /// What they cost, in US dollars; nothing for models without a price.
        #[serde(default)]
        cost: Money,
    },
}

impl EventBody {
    /// The event's type, as on the wire.
    #[must_use]
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::RunStarted { .. } => "run.started",
            Self::RunResumed {} => "run.resumed",
            Self::Step { .. } => "step",
            Self::ModelStarted { .. } => "model.started",
            Self::ModelCompleted { .. } => "model.completed",
            Self::ToolStarted { .. } => "tool.started",
            Self::ToolAttempted { .. } => "tool.attempted",
            Self::ApprovalRequested { .. } => "approval.requested",
            Self::ApprovalGiven { .. } => "approval.given",
            Self::GrantDenied { .. } => "grant.denied",
            Self::SubrunStarted { .. } => "subrun.started",
            Self::SubrunStep { .. } => "subrun.step",
            Self::SubrunApprovalRequested { .. } => "subrun.approval_requested",
            Self::ToolCompleted { .. } => "tool.completed",
            Self::SourceAdded { .. } => "source.added",
            Self::HostAnswered(_) => "host.answered",
            Self::RunCompleted { .. } => "run.completed",
            Self::RunFailed { .. } => "run.failed",
            Self::RunCancelled { .. } => "run.cancelled",
        }
    }

    /// What a person who watches is told of it, in a sentence: a step of the mode's, or that another model is asked.
    #[must_use]
    pub fn step(&self) -> Option<Cow<'_, str>> {
        match self {
            Self::Step { message } => Some(Cow::Borrowed(message)),
            Self::ModelCompleted { fallback: Some(next), error, .. } => {
                let error = error.clone().and_then(|error| serde_json::from_value::<ModelError>(error).ok());
                let why = error.map(|error| format!(": {error}")).unwrap_or_default();
                Some(Cow::Owned(format!("Asking {next} instead{why}")))
            }
            _ => None,
        }
    }

    /// The run is over: this is its last event.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self, Self::RunCompleted { .. } | Self::RunFailed { .. } | Self::RunCancelled { .. })
    }
}
