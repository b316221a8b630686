//! Turns of requests with the same idempotency key: the first one makes something, and those that come meanwhile wait to be
//! given its answer. Requests with other keys never wait for each other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::OwnedMutexGuard;
use vivarium_domain::TenantId;

type Key = (TenantId, String);

/// The keys of the requests that are under way.
#[derive(Default)]
pub(crate) struct Turns(Arc<Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>>);

/// A request's turn. Dropping it gives the next one its turn.
pub(crate) struct Turn {
    turns: Turns,
    key: Key,
    held: Option<OwnedMutexGuard<()>>,
}

impl Turns {
    /// Waits for the requests that came before with the same key.
    pub(crate) async fn turn(&self, tenant: &TenantId, key: &str) -> Turn {
        let key = (tenant.clone(), key.to_owned());
        let line = Arc::clone(self.all().entry(key.clone()).or_default());
        // Before it waits: who stops waiting must leave nothing behind either.
        let mut turn = Turn { turns: Self(Arc::clone(&self.0)), key, held: None };
        turn.held = Some(line.lock_owned().await);
        turn
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Key, Arc<tokio::sync::Mutex<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut all = self.turns.all();
        self.held = None;
        // Whoever waits or has the turn holds on to it, too; and nobody new comes while all are locked.
        if all.get(&self.key).is_some_and(|line| Arc::strong_count(line) == 1) {
            all.remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn requests_with_one_key_take_turns_and_leave_nothing_behind() {
        let (turns, a, b) = (Turns::default(), "a".parse().unwrap(), "b".parse().unwrap());
        let first = turns.turn(&a, "k").await;
        let second = turns.turn(&a, "k");
        tokio::pin!(second);
        assert!(second.as_mut().now_or_never().is_none(), "the first one has its turn");
        assert!(turns.turn(&a, "other").now_or_never().is_some());
        assert!(turns.turn(&b, "k").now_or_never().is_some(), "another tenant's key is another key");
        drop(first);
        drop(second.await);
        assert!(turns.all().is_empty());
    }

    #[tokio::test]
    async fn who_stops_waiting_leaves_nothing_behind() {
        let (turns, a) = (Turns::default(), "a".parse().unwrap());
        let first = turns.turn(&a, "k").await;
        let mut waiting = Box::pin(turns.turn(&a, "k"));
        assert!(waiting.as_mut().now_or_never().is_none());
        drop(first);
        drop(waiting);
        assert!(turns.all().is_empty());
    }
}
