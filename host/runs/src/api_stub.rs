//! STUB of the crate's public face, to be replaced by the real thing with the same signatures.
#![allow(missing_docs, unused, reason = "stub")]
use std::sync::Arc;

use bytes::Bytes;
use vivarium_domain::*;

/// What a client asks for.
#[derive(Debug, Clone)]
pub struct RunRequest {
    pub mode: String,
    pub input: String,
    /// None: the host's default model.
    pub model: Option<ModelName>,
    /// None: a new session.
    pub session_id: Option<SessionId>,
    /// None: the mode's default.
    pub max_cycles: Option<u32>,
    pub output_schema: Option<serde_json::Value>,
    pub idempotency: Option<Idempotency>,
}

#[derive(Debug, Clone)]
pub struct Idempotency {
    pub key: String,
    /// SHA-256 of the request's body.
    pub request_hash: ContentHash,
}

/// A run that was accepted (or found by its idempotency key).
#[derive(Debug, Clone)]
pub struct Started {
    pub run_id: RunId,
    pub session_id: SessionId,
    /// The idempotency key was known: this is the run that it made.
    pub replayed: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error("there is no mode {name:?}; there are {available}")]
    UnknownMode { name: String, available: String },
    #[error("{0}")]
    UnknownModel(String),
    #[error("maxCycles must be an integer from 1 to {max}")]
    MaxCycles { max: u32 },
    #[error("this Idempotency-Key was used with another body")]
    IdempotencyConflict,
    #[error("the host is full: {0}")]
    Overloaded(String),
    #[error("the host is shutting down")]
    ShuttingDown,
    #[error(transparent)]
    Store(#[from] vivarium_store::StoreError),
}

/// A mode that can be asked for.
#[derive(Debug, Clone)]
pub struct ModeInfo {
    pub name: String,
    pub title: String,
    pub description: String,
    pub default_max_cycles: u32,
}

/// An event and its JSON, serialised once.
#[derive(Debug)]
pub struct LoggedEvent {
    pub event: Event,
    pub json: Bytes,
}

/// What a reader of a run's log sees, in order.
#[derive(Debug, Clone)]
pub enum Item {
    /// An event that is on disk.
    Event(Arc<LoggedEvent>),
    /// A piece of the answer's text, as the model writes it. Not in the log: `model.completed` and `run.completed` hold
    /// the whole.
    Token(Arc<str>),
}

/// Follows one run's log: from the store, then live. Ends after the run's last event.
pub struct Reader {}

impl Reader {
    /// The next item; none after the last event. Cancel-safe.
    pub async fn next(&mut self) -> Result<Option<Item>, vivarium_store::StoreError> {
        todo!()
    }
}

#[derive(Clone)]
pub struct Runs {}

impl Runs {
    /// The modes that this tenant can use.
    pub fn modes(&self, tenant: &TenantId) -> Vec<ModeInfo> {
        todo!()
    }
    /// Accepts a run: it is on disk when this returns, and goes on by itself, whoever listens.
    pub async fn start(&self, tenant: &TenantId, request: RunRequest) -> Result<Started, StartError> {
        todo!()
    }
    /// One run's record.
    pub async fn get(&self, tenant: &TenantId, run: RunId) -> Result<Option<Run>, vivarium_store::StoreError> {
        todo!()
    }
    /// Follows a run's events with numbers above `after`. None: no such run in this tenant.
    pub async fn follow(
        &self,
        tenant: &TenantId,
        run: RunId,
        after: u64,
    ) -> Result<Option<Reader>, vivarium_store::StoreError> {
        todo!()
    }
    /// Ends a run. False: no such run, or it has ended.
    pub async fn cancel(&self, tenant: &TenantId, run: RunId, reason: &str) -> bool {
        todo!()
    }
    /// Takes no new runs, waits up to `grace` for the running ones, then cancels the rest as interrupted.
    pub async fn drain(&self, grace: std::time::Duration) {
        todo!()
    }
}
