//! Why a model did not answer: the closed set of the contract's `model-error`.

use serde::{Deserialize, Serialize};

/// Why there is no answer. Retries are done by then. No message holds a key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "code", content = "message", rename_all = "snake_case")]
pub enum ModelError {
    /// The model lacks an ability that the request needs.
    #[error("the model can not do what was asked: {0}")]
    Unsupported(String),
    /// The provider refused the request, the key included.
    #[error("the provider refused the request: {0}")]
    InvalidRequest(String),
    /// The conversation is longer than the model's context.
    #[error("the conversation is longer than the model's context: {0}")]
    ContextLengthExceeded(String),
    /// The provider's policy refused it.
    #[error("the provider's content policy refused the request: {0}")]
    ContentPolicy(String),
    /// The provider did not answer, or not in time.
    #[error("the model is not available: {0}")]
    Unavailable(String),
    /// The budget is spent.
    #[error("the budget is spent: {0}")]
    BudgetExhausted(String),
}
