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
            Ok(state) => {
                let _span = self.span("state.get");
                Ok(state.get(key).await.map_err(Into::into))
            }
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
        let _span = self.span("state.set");
        Ok(state.set(key, value).await.map_err(Into::into))
    }

    async fn delete(&mut self, key: String) -> wasmtime::Result<Result<(), wit::StateError>> {
        self.count_host_call()?;
        match self.state(&key) {
            Ok(state) => {
                let _span = self.span("state.delete");
                Ok(state.delete(key).await.map_err(Into::into))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    async fn list(&mut self, prefix: String, max_keys: u32) -> wasmtime::Result<Result<Vec<String>, wit::StateError>> {
        self.count_host_call()?;
        match self.state(&prefix) {
            Ok(state) => {
                let _span = self.span("state.list");
                let keys = state.list(prefix, max_keys.min(MAX_LISTED) as usize).await;
                Ok(keys.map_err(Into::into))
            }
            Err(error) => Ok(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Mutex;

    use futures::FutureExt as _;
    use vivarium_domain::Manifest;

    use super::wit::Host as _;
    use super::*;
    use crate::capability::{Grant, LogLevel, LogSink};
    use crate::guest::{Role, Setting};
    use crate::limits::Limits;

    #[derive(Default)]
    struct Space(Mutex<BTreeMap<String, Vec<u8>>>);

    impl StateView for Space {
        fn get(&self, key: String) -> BoxFuture<'static, Result<Option<Vec<u8>>, StateError>> {
            let value = self.0.lock().unwrap().get(&key).cloned();
            async move { Ok(value) }.boxed()
        }
        fn set(&self, key: String, value: Vec<u8>) -> BoxFuture<'static, Result<(), StateError>> {
            let full = self.0.lock().unwrap().len() >= 3;
            if !full {
                self.0.lock().unwrap().insert(key, value);
            }
            let result = if full { Err(StateError::TooLarge("the space is full".to_owned())) } else { Ok(()) };
            async move { result }.boxed()
        }
        fn delete(&self, key: String) -> BoxFuture<'static, Result<(), StateError>> {
            self.0.lock().unwrap().remove(&key);
            async { Ok(()) }.boxed()
        }
        fn list(&self, prefix: String, max_keys: usize) -> BoxFuture<'static, Result<Vec<String>, StateError>> {
            let space = self.0.lock().unwrap();
            let keys = space.keys().filter(|key| key.starts_with(&prefix)).take(max_keys).cloned().collect();
            async { Ok(keys) }.boxed()
        }
    }

    struct NoLog;

    impl LogSink for NoLog {
        fn line(&self, _level: LogLevel, _line: &str) {}
        fn progress(&self, _message: &str, _fraction: Option<f32>) {}
    }

    fn guest(state: Option<Arc<dyn StateView>>) -> Guest {
        let manifest = br#"{"name":"a/b","version":"1.0.0","contract":"0.1.0","description":"d",
            "modes":[{"name":"m","title":"t","description":"d","defaultMaxCycles":1}],"requests":{"state":true}}"#;
        let manifest = Arc::new(Manifest::from_json(manifest).unwrap());
        let grant = Arc::new(Grant { state, ..Grant::default() });
        let (limits, sink) = (Arc::new(Limits::for_tool()), Arc::new(NoLog));
        Guest::new(Role::Tool, manifest, Setting { grant, workspace: None, limits, sink })
    }

    #[tokio::test]
    async fn what_is_set_is_there_until_it_is_deleted() {
        let mut guest = guest(Some(Arc::new(Space::default())));
        let key = || "a/1".to_owned();
        guest.set(key(), vec![1, 2]).await.unwrap().unwrap();
        guest.set("b".to_owned(), vec![]).await.unwrap().unwrap();
        assert_eq!(guest.get(key()).await.unwrap().unwrap(), Some(vec![1, 2]));
        assert_eq!(guest.list("a".to_owned(), u32::MAX).await.unwrap().unwrap(), ["a/1"]);
        assert_eq!(guest.list(String::new(), 1).await.unwrap().unwrap(), ["a/1"]);
        guest.delete(key()).await.unwrap().unwrap();
        assert_eq!(guest.get(key()).await.unwrap().unwrap(), None);
        assert_eq!(guest.host_calls().load(std::sync::atomic::Ordering::Relaxed), 7);
    }

    #[tokio::test]
    async fn a_key_a_value_and_the_space_are_bounded_and_the_error_says_which() {
        let mut guest = guest(Some(Arc::new(Space::default())));
        let too_large = |result: Result<(), wit::StateError>| match result {
            Err(wit::StateError::TooLarge(text)) => text,
            other => panic!("{other:?}"),
        };
        let long = guest.set("k".repeat(257), vec![]).await.unwrap();
        assert_eq!(too_large(long), "the key has 257 bytes; at most 256 are taken");
        let large = guest.set("k".to_owned(), vec![0; (64 << 10) + 1]).await.unwrap();
        assert_eq!(too_large(large), "the value has 65537 bytes; at most 65536 are taken");
        guest.set("k".repeat(256), vec![0; 64 << 10]).await.unwrap().unwrap();
        guest.set("1".to_owned(), vec![]).await.unwrap().unwrap();
        guest.set("2".to_owned(), vec![]).await.unwrap().unwrap();
        assert_eq!(too_large(guest.set("3".to_owned(), vec![]).await.unwrap()), "the space is full");
    }

    #[tokio::test]
    async fn without_a_grant_every_operation_is_denied_and_noted_once() {
        let mut guest = guest(None);
        let text = "state is not granted to this plugin; a grant of `state` would allow it";
        let denied = |error: wit::StateError| matches!(error, wit::StateError::Denied(found) if found == text);
        assert!(denied(guest.get("k".to_owned()).await.unwrap().unwrap_err()));
        assert!(denied(guest.set("k".to_owned(), vec![]).await.unwrap().unwrap_err()));
        assert!(denied(guest.delete("k".to_owned()).await.unwrap().unwrap_err()));
        assert!(denied(guest.list(String::new(), 1).await.unwrap().unwrap_err()));
        let noted = guest.denials.take();
        assert_eq!(noted.len(), 1);
        assert_eq!((noted[0].capability, noted[0].message.as_str()), ("state", text));
    }
}
