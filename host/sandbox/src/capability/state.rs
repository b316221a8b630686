//! The key-value space of a plugin in a tenant, where a grant includes it. What one entry may hold is checked here; what
//! all of them together may hold is the store's to count.

use std::sync::Arc;

use futures::future::BoxFuture;

use crate::bindings::vivarium::plugin::state as wit;
use crate::guest::Guest;

/// The longest key.
const MAX_KEY_BYTES: usize = 256;
/// The largest value.
const MAX_VALUE_BYTES: usize = 64 << 10;
/// The most keys of one list.
const MAX_LISTED: u32 = 1_000;

/// Why an operation on the state failed; the contract's `state-error` but for `denied`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateError {
    /// The space is over its quota. Says which.
    #[error("{0}")]
    TooLarge(String),
    /// The store did not answer.
    #[error("{0}")]
    Unavailable(String),
}

/// The key-value space of one plugin within one tenant, with its quota. Implemented by the host over its store.
pub trait StateView: Send + Sync {
    /// The value under a key.
    fn get(&self, key: String) -> BoxFuture<'static, Result<Option<Vec<u8>>, StateError>>;

    /// Sets the value under a key.
    fn set(&self, key: String, value: Vec<u8>) -> BoxFuture<'static, Result<(), StateError>>;

    /// Removes a key, if it is there.
    fn delete(&self, key: String) -> BoxFuture<'static, Result<(), StateError>>;

    /// The keys that start with `prefix`, in order, at most `max_keys`.
    fn list(&self, prefix: String, max_keys: usize) -> BoxFuture<'static, Result<Vec<String>, StateError>>;
}

impl From<StateError> for wit::StateError {
    fn from(error: StateError) -> Self {
        match error {
            StateError::TooLarge(text) => Self::TooLarge(text),
            StateError::Unavailable(text) => Self::Unavailable(text),
        }
    }
}

impl Guest {
    fn state(&self, key: &str) -> Result<Arc<dyn StateView>, wit::StateError> {
        let Some(state) = self.grant.state.clone() else {
            let message = "state is not granted to this plugin; a grant of `state` would allow it";
            self.denials.note("state", message.to_owned());
            return Err(wit::StateError::Denied(message.to_owned()));
        };
        if key.len() > MAX_KEY_BYTES {
            let message = format!("the key has {} bytes; at most {MAX_KEY_BYTES} are taken", key.len());
            return Err(wit::StateError::TooLarge(message));
        }
        Ok(state)
    }
}

impl wit::Host for Guest {
    async fn get(&mut self, key: String) -> wasmtime::Result<Result<Option<Vec<u8>>, wit::StateError>> {
        self.count_host_call()?;
        match self.state(&key) {
            Ok(state) => Ok(state.get(key).await.map_err(Into::into)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn set(&mut self, key: String, value: Vec<u8>) -> wasmtime::Result<Result<(), wit::StateError>> {
        self.count_host_call()?;
        let state = match self.state(&key) {
            Ok(state) => state,
            Err(error) => return Ok(Err(error)),
        };
        if value.len() > MAX_VALUE_BYTES {
            let message = format!("the value has {} bytes; at most {MAX_VALUE_BYTES} are taken", value.len());
            return Ok(Err(wit::StateError::TooLarge(message)));
        }
        Ok(state.set(key, value).await.map_err(Into::into))
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), wit::StateError>> {
        self.count_host_call()?;
        match self.state(&key) {
            Ok(state) => Ok(state.delete(key).await.map_err(Into::into)),
            Err(error) => Ok(Err(error)),
        }
    }

    async fn list(&mut self, prefix: String, max_keys: u32) -> wasmtime::Result<Result<Vec<String>, wit::StateError>> {
        self.count_host_call()?;
        match self.state(&prefix) {
            Ok(state) => {
                let keys = state.list(prefix, max_keys.min(MAX_LISTED) as usize).await;
                Ok(keys.map_err(Into::into))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}
