//! One execution of a mode.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::agent::{AgentRef, AgentTool, OutputFormat};
use crate::budget::SpentBudget;
use crate::id::{ContentHash, DocumentId, KeyId, RunId, SessionId, ToolName};
use crate::model::{Message, ModelName, Usage};
use crate::money::Money;
use crate::options::ModelOptions;
use crate::session::KeptAttachment;

/// Where a run is: `queued → running ⇄ waiting → completed | failed | cancelled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum RunStatus {
    /// Accepted, and waiting for its turn.
    Queued,
    /// Its mode works.
    Running,
    /// Waits for an approval; holds no memory.
    Waiting,
    /// Ended with an answer.
    Completed,
    /// Ended without one.
    Failed,
    /// Ended by a client or the operator.
    Cancelled,
}

impl RunStatus {
    /// Nothing comes after it.
    #[must_use]
    pub fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

/// A quote and whether the host has found it in the stored text of its source. Places count Unicode characters (code points),
/// from 0.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CheckedCitation {
    /// The source's id in the run's ledger.
    pub source_id: String,
    /// The quote.
    pub quote: String,
    /// The quote stands in the source's stored text, white space aside.
    pub verified: bool,
    /// Where it begins in the source's stored text; of several places the first. Not there where it was not found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub start: Option<u32>,
    /// Where it ends there: the first character behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub end: Option<u32>,
    /// In how many places it stands there, if in more than one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub occurrences: Option<u32>,
    /// The sentence of the answer that rests on it. Not there where no sentence cites its source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub claim: Option<Claim>,
}

/// A sentence of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Claim {
    /// The sentence, word for word, with its marks.
    pub text: String,
    /// Where it begins in the answer, in Unicode characters.
    pub start: u32,
    /// Where it ends there: the first character behind it.
    pub end: u32,
}

/// How a run ended well.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Outcome {
    /// The answer, in Markdown.
    pub answer: String,
    /// The answer as JSON, where a schema was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<serde_json::Value>,
    /// What the answer rests on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub citations: Vec<CheckedCitation>,
}

/// Why a run failed: a closed set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FailureCode {
    /// The mode said that it can not work on the input.
    InvalidInput,
    /// The model did not answer, or can not do what the mode needs.
    ModelUnavailable,
    /// The conversation is longer than the model's context.
    ContextLengthExceeded,
    /// The provider's policy refused it.
    ContentPolicy,
    /// The mode's own failure.
    ModeFailed,
    /// The mode's component trapped (a panic, an illegal access).
    Trapped,
    /// The run took longer than it may.
    DeadlineExceeded,
    /// The mode's component used more processor time than it may.
    CpuExceeded,
    /// The mode's component used more memory than it may.
    MemoryExceeded,
    /// The mode gave more output, or called the host more often, than it may.
    OutputExceeded,
    /// A budget did not have what the next question to the model may take.
    BudgetExhausted,
    /// The host stopped while the run was under way, and could not take it up again.
    Interrupted,
    /// Taken up again, the mode asked for something else than what its log says: it is not deterministic.
    Nondeterminism,
    /// The host is at fault.
    Internal,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct RunFailure {
    /// The kind.
    pub code: FailureCode,
    /// For a person: what is wrong and what would help. Holds no secret.
    pub message: String,
    /// The budget that was spent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub budget: Option<Box<SpentBudget>>,
}

impl RunFailure {
    /// A failure that has nothing to do with a budget.
    #[must_use]
    pub fn new(code: FailureCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), budget: None }
    }
}

/// What a run that waits, waits for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Waiting {
    /// Since when.
    pub since: Timestamp,
    /// The tool calls that wait for a person's decision.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub approvals: Vec<PendingApproval>,
    /// The runs that it has started and that wait themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subruns: Vec<RunId>,
}

/// A tool call that waits for a person's decision. Its arguments are in the event `approval.requested`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct PendingApproval {
    /// The call's id: what a decision names.
    pub call_id: String,
    /// When nobody has decided by then, it is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

/// The run that has started another one, as a tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ParentRun {
    /// The run.
    pub run_id: RunId,
    /// How many runs stand above the one that was started; at least 1.
    pub depth: u32,
    /// How many further runs the one that was started may start, all of theirs included.
    pub subruns: u32,
}

/// An agent that a run may start, as a tool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentAsTool {
    /// The name of the tool.
    pub tool: ToolName,
    /// The agent, in the version that it had when the run was accepted.
    pub agent: AgentRef,
}

/// What a run was told besides its input: an agent's configuration and what the client said over it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunSettings {
    /// Instructions for the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// The tools that it may use; none: all that the tenant has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<AgentTool>>,
    /// How many earlier turns of the session it is given; none: as many as the host gives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub history_turns: Option<u32>,
    /// The most tokens that the model writes in one answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// The models that are asked instead, in this order, when the run's model can not answer.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback_models: Vec<ModelName>,
    /// How long a model may take: to its first token, between two, and for an answer in all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_timeout_seconds: Option<u32>,
    /// How a model is to answer.
    #[serde(skip_serializing_if = "ModelOptions::is_empty")]
    pub model_options: ModelOptions,
    /// After so many seconds it is ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout_seconds: Option<u32>,
    /// What the answer must be.
    #[serde(skip_serializing_if = "OutputFormat::is_text")]
    pub output: OutputFormat,
    /// Documents that its corpus tools search, besides the host's own.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub contexts: Vec<DocumentId>,
    /// Corpora of its tenant that its corpus tools search whole.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub corpora: Vec<String>,
    /// The agents that it may start, each as a tool.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub agents: Vec<AgentAsTool>,
    /// Turns that the client put in front of its input, oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Message>,
    /// The files that came with the input.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub attachments: Vec<KeptAttachment>,
    /// The client's own notes.
    #[serde(skip_serializing_if = "serde_json::Map::is_empty")]
    pub metadata: serde_json::Map<String, serde_json::Value>,
}

impl RunSettings {
    /// It was told nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Where a run comes from, for who reads logs and traces: all its parts say so, however long it waits and whichever process
/// goes on with it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RunTrace {
    /// The id of the request that has started it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub request_id: Option<String>,
    /// The span that has asked for it, as a W3C `traceparent`; where the host makes traces.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub parent: Option<String>,
    /// The W3C `tracestate` that goes with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub state: Option<String>,
}

/// What one model has used in a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelUsed {
    /// The model.
    pub model: ModelName,
    /// How often it has answered.
    pub calls: u32,
    /// Tokens of its answers.
    pub usage: Usage,
    /// What they cost, in US dollars; none: the model has no price.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<Money>,
}

/// A run's record: what lists show. Its story is in its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its id.
    pub id: RunId,
    /// Where it is.
    pub status: RunStatus,
    /// The mode's name.
    pub mode: String,
    /// The component that the run is pinned to.
    pub plugin: ContentHash,
    /// The model that answers; `usageByModel` tells which ones have, where there are several.
    pub model: ModelName,
    /// The conversation that it belongs to.
    pub session_id: SessionId,
    /// It leaves nothing in any session: `session_id` names its files and nothing else.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stateless: bool,
    /// The agent that it is a run of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentRef>,
    /// The run that has started it, as a tool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentRun>,
    /// The key that pays for it; none: it was made on the host's own command line, or by an earlier version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// What the client asked for.
    pub input: String,
    /// The bound on its cycles.
    pub max_cycles: u32,
    /// What it was told besides.
    #[serde(default, skip_serializing_if = "RunSettings::is_empty")]
    pub settings: RunSettings,
    /// Where it comes from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub trace: Option<RunTrace>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// What it waits for, while it waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// How it ended well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Outcome>,
    /// Why it failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failure: Option<RunFailure>,
    /// Tokens of all its model calls.
    pub usage: Usage,
    /// What these tokens cost, in US dollars; nothing for models without a price. Runs that it has started have their own.
    #[serde(default)]
    pub cost: Money,
    /// The same by model, in the order in which they first answered.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub usage_by_model: Vec<ModelUsed>,
    /// The number of its last event.
    pub last_seq: u64,
    /// When its log was removed, because the host keeps logs for a time only. The record stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_removed_at: Option<Timestamp>,
}
