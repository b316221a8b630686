//! What is asked of this crate, and what it answers at once.

use vivarium_domain::{ContentHash, ModelName, RunId, SessionId};
use vivarium_store::StoreError;

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct RunRequest {
    /// The mode's name.
    pub mode: String,
    /// The question or the task.
    pub input: String,
    /// Who answers; none: the host's default model.
    pub model: Option<ModelName>,
    /// The conversation to continue, or the id of a new one; none: a new one with an id of our choice.
    pub session_id: Option<SessionId>,
    /// The bound on cycles, from 1; none: the mode's default.
    pub max_cycles: Option<u32>,
    /// JSON Schema that the answer must satisfy.
    pub output_schema: Option<serde_json::Value>,
    /// Makes the request safe to repeat.
    pub idempotency: Option<Idempotency>,
}

/// A client's idempotency key and what it came with.
#[derive(Debug, Clone)]
pub struct Idempotency {
    /// The key, as the client sent it.
    pub key: String,
    /// SHA-256 of the request's body.
    pub request_hash: ContentHash,
}

/// A run that was accepted, or found by its idempotency key.
#[derive(Debug, Clone)]
pub struct Started {
    /// The run.
    pub run_id: RunId,
    /// The conversation that it belongs to.
    pub session_id: SessionId,
    /// The idempotency key was known: this is the run that it made.
    pub replayed: bool,
}

/// Why a run was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// No plugin provides the mode.
    #[error("there is no mode {name:?}; there are: {available}")]
    UnknownMode {
        /// What was asked for.
        name: String,
        /// The modes that there are, in a sentence.
        available: String,
    },
    /// No provider serves the model.
    #[error("{0}")]
    UnknownModel(String),
    /// The bound on cycles is out of its range.
    #[error("maxCycles must be an integer from 1 to {max}")]
    MaxCycles {
        /// The most.
        max: u32,
    },
    /// The schema for the answer is no JSON Schema.
    #[error("the output schema is no valid JSON Schema: {0}")]
    OutputSchema(String),
    /// The key came with another request before.
    #[error("this Idempotency-Key was used with another request body")]
    IdempotencyConflict,
    /// Too many runs wait already.
    #[error("the host is full: {0}")]
    Overloaded(String),
    /// The tenant's own runs are in the way.
    #[error("this tenant has {0} runs under way, as many as it may; try again when some have ended")]
    TenantOverloaded(usize),
    /// The tenant's plugins can not be read.
    #[error(transparent)]
    Registry(#[from] vivarium_registry::RegistryError),
    /// No new runs are taken.
    #[error("the host is shutting down")]
    ShuttingDown,
    /// The run could not be written down.
    #[error(transparent)]
    Store(#[from] StoreError),
}
