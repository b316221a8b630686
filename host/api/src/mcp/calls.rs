//! The requests that are under way, so that their clients can cancel them with another request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde_json::Value;
use tokio_util::sync::CancellationToken;
use vivarium_domain::KeyId;

/// Whose request.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Of {
    pub(super) key: KeyId,
    /// What tells clients with one key apart.
    pub(super) session: Option<String>,
    /// The request's id, as its client says it.
    pub(super) request: Option<Value>,
}

type Key = (KeyId, Option<String>, String);

/// All requests that are under way. Clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Calls(Arc<Mutex<HashMap<Key, Vec<CancellationToken>>>>);

/// A request that is under way, until it is dropped.
#[derive(Debug)]
pub(super) struct Call {
    calls: Calls,
    key: Key,
    cancelled: CancellationToken,
}

impl Of {
    fn key(&self) -> Key {
        // As JSON, so that the text "1" is not the number 1.
        let request = self.request.as_ref().map(ToString::to_string).unwrap_or_default();
        (self.key, self.session.clone(), request)
    }
}

impl Calls {
    fn under_way(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Vec<CancellationToken>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin(&self, of: Of) -> Call {
        let (key, cancelled) = (of.key(), CancellationToken::new());
        self.under_way().entry(key.clone()).or_default().push(cancelled.clone());
        Call { calls: self.clone(), key, cancelled }
    }

    /// Cancels a request. One that is unknown or has ended is nobody's fault: both cross on the way.
    pub(super) fn cancel(&self, of: &Of) {
        for cancelled in self.under_way().get(&of.key()).into_iter().flatten() {
            cancelled.cancel();
        }
    }

    /// Cancels all that a client has under way.
    pub(super) fn cancel_all(&self, key: KeyId, session: &str) {
        let under_way = self.under_way();
        let own = under_way.iter().filter(|((of, named, _), _)| *of == key && named.as_deref() == Some(session));
        own.flat_map(|(_, calls)| calls).for_each(CancellationToken::cancel);
    }
}

impl Call {
    pub(super) fn cancelled(&self) -> CancellationToken {
        self.cancelled.clone()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        // Cancelled or not, this token is of no use to anybody any more; that is what tells it from one with the same id.
        self.cancelled.cancel();
        let mut under_way = self.calls.under_way();
        if let Some(calls) = under_way.get_mut(&self.key) {
            calls.retain(|call| !call.is_cancelled());
            if calls.is_empty() {
                under_way.remove(&self.key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(key: KeyId, session: Option<&str>, request: Value) -> Of {
        Of { key, session: session.map(ToOwned::to_owned), request: Some(request) }
    }

    #[test]
    fn a_client_cancels_its_own_request_and_no_other() {
        let (calls, one, other) = (Calls::default(), KeyId::new(), KeyId::new());
        let call = calls.begin(of(one, Some("a"), json!(1)));
        for wrong in [
            of(other, Some("a"), json!(1)),
            of(one, Some("b"), json!(1)),
            of(one, None, json!(1)),
            of(one, Some("a"), json!("1")),
            of(one, Some("a"), json!(2)),
        ] {
            calls.cancel(&wrong);
            calls.cancel_all(wrong.key, "b");
        }
        assert!(!call.cancelled().is_cancelled());
        calls.cancel(&of(one, Some("a"), json!(1)));
        assert!(call.cancelled().is_cancelled());
        drop(call);
        let again = calls.begin(of(one, Some("a"), json!(1)));
        assert!(!again.cancelled().is_cancelled());
        calls.cancel_all(one, "a");
        assert!(again.cancelled().is_cancelled());
        drop(again);
        assert!(calls.under_way().is_empty(), "nothing is kept of what has ended");
    }
}
