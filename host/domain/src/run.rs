//! One execution of a mode.

use serde::{Deserialize, Serialize};

use crate::Timestamp;
use crate::id::{ContentHash, RunId, SessionId};
use crate::model::{ModelName, Usage};

/// Where a run is: `queued → running ⇄ waiting → completed | failed | cancelled`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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

/// A quote and whether the host has found it in the stored text of its source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckedCitation {
    /// The source's id in the run's ledger.
    pub source_id: String,
    /// The quote.
    pub quote: String,
    /// The quote stands in the source's stored text, white space aside.
    pub verified: bool,
}

/// How a run ended well.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
    /// The host stopped while the run was under way.
    Interrupted,
    /// The host is at fault.
    Internal,
}

/// Why a run failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunFailure {
    /// The kind.
    pub code: FailureCode,
    /// For a person: what is wrong and what would help. Holds no secret.
    pub message: String,
}

/// A run's record: what lists show. Its story is in its events.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// The model that answers.
    pub model: ModelName,
    /// The conversation that it belongs to.
    pub session_id: SessionId,
    /// What the client asked for.
    pub input: String,
    /// The bound on its cycles.
    pub max_cycles: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
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
    /// The number of its last event.
    pub last_seq: u64,
}
