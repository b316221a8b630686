//! The words for the members of closed sets, as metrics and traces have them: those of the wire.

use crate::{FailureCode, FinishReason, ModelError};

impl FinishReason {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::ToolCalls => "tool_calls",
            Self::Length => "length",
            Self::ContentFilter => "content_filter",
        }
    }
}

impl ModelError {
    /// The word for its kind.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Unsupported(_) => "unsupported",
            Self::InvalidRequest(_) => "invalid_request",
            Self::ContextLengthExceeded(_) => "context_length_exceeded",
            Self::ContentPolicy(_) => "content_policy",
            Self::Unavailable(_) => "unavailable",
            Self::BudgetExhausted(_) => "budget_exhausted",
        }
    }
}

impl FailureCode {
    /// The word for it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::InvalidInput => "invalid_input",
            Self::ModelUnavailable => "model_unavailable",
            Self::ContextLengthExceeded => "context_length_exceeded",
            Self::ContentPolicy => "content_policy",
            Self::ModeFailed => "mode_failed",
            Self::Trapped => "trapped",
            Self::DeadlineExceeded => "deadline_exceeded",
            Self::CpuExceeded => "cpu_exceeded",
            Self::MemoryExceeded => "memory_exceeded",
            Self::OutputExceeded => "output_exceeded",
            Self::BudgetExhausted => "budget_exhausted",
            Self::Interrupted => "interrupted",
            Self::Nondeterminism => "nondeterminism",
            Self::Internal => "internal",
        }
    }
}
