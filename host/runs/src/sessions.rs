//! One run at a time in a session: later messages wait in line, so that each sees the history that the one before it left.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use vivarium_domain::{BusyPolicy, SessionId, TenantId};

/// How many runs of one session may wait for the one that is running.
const MAX_WAITING: usize = 32;

type Key = (TenantId, SessionId);

struct Line {
    /// One permit, given out in the order of asking.
    turn: Arc<Semaphore>,
    members: usize,
}

/// Why there is no place in a session's line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoTurn {
    /// A run is under way, and the new one does not want to wait.
    Busy,
    /// The line is too long.
    TooLong,
    /// The session is being deleted.
    Closed,
}

/// The lines in front of all busy sessions.
#[derive(Default)]
pub(crate) struct SessionLines {
    state: Mutex<Lines>,
    left: Notify,
}

#[derive(Default)]
struct Lines {
    busy: HashMap<Key, Line>,
    /// Sessions that take no runs: they are being deleted.
    closed: HashSet<Key>,
}

/// Keeps a session closed; dropping it opens the session again.
pub(crate) struct Closed {
    lines: Arc<SessionLines>,
    key: Key,
}

/// A place in a session's line; leaving it lets the next one in.
pub(crate) struct Place {
    lines: Arc<SessionLines>,
    key: Key,
    turn: Arc<Semaphore>,
    permit: Option<OwnedSemaphorePermit>,
}

impl SessionLines {
    fn lock(&self) -> MutexGuard<'_, Lines> {
        // Only whole entries go in and out.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets no run join the session any more. None: somebody else has closed it.
    pub(crate) fn close(self: &Arc<Self>, tenant: &TenantId, session: &SessionId) -> Option<Closed> {
        let key = (tenant.clone(), session.clone());
        let closed = self.lock().closed.insert(key.clone());
        closed.then(|| Closed { lines: Arc::clone(self), key })
    }
    /// Takes a place in the line.
    pub(crate) fn join(
        self: &Arc<Self>,
        tenant: &TenantId,
        session: &SessionId,
        policy: BusyPolicy,
    ) -> Result<Place, NoTurn> {
        let key = (tenant.clone(), session.clone());
        let mut lines = self.lock();
        if lines.closed.contains(&key) {
            return Err(NoTurn::Closed);
        }
        let members = lines.busy.get(&key).map_or(0, |line| line.members);
        if members > 0 && policy == BusyPolicy::Reject {
            return Err(NoTurn::Busy);
        }
        if members > MAX_WAITING {
            return Err(NoTurn::TooLong);
        }
        Ok(self.enter(&mut lines, key))
    }

    /// Takes a place for a run that had one before.
    pub(crate) fn join_again(self: &Arc<Self>, tenant: &TenantId, session: &SessionId) -> Place {
        self.enter(&mut self.lock(), (tenant.clone(), session.clone()))
    }

    fn enter(self: &Arc<Self>, lines: &mut Lines, key: Key) -> Place {
        let new = || Line { turn: Arc::new(Semaphore::new(1)), members: 0 };
        let line = lines.busy.entry(key.clone()).or_insert_with(new);
        line.members += 1;
        let turn = Arc::clone(&line.turn);
        // Taken at once where the session is free, so that the order is the order of joining.
        let permit = Arc::clone(&turn).try_acquire_owned().ok();
        Place { lines: Arc::clone(self), key, turn, permit }
    }
}

impl Place {
    /// Waits until it is this place's turn.
    pub(crate) async fn turn(&mut self) {
        if self.permit.is_none() {
            // The semaphore is never closed.
            self.permit = Arc::clone(&self.turn).acquire_owned().await.ok();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        if let Some(line) = lines.busy.get_mut(&self.key) {
            line.members = line.members.saturating_sub(1);
            if line.members == 0 {
                lines.busy.remove(&self.key);
            }
        }
        drop(lines);
        self.lines.left.notify_waiters();
    }
}

impl Closed {
    /// Waits until nobody is in the line. `each_time` somebody has left it, and at the beginning, is called.
    pub(crate) async fn quiet(&self, mut each_time: impl FnMut()) {
        loop {
            let left = self.lines.left.notified();
            tokio::pin!(left);
            // From here on a leaving wakes us, so none is missed between the look and the wait.
            left.as_mut().enable();
            each_time();
            if !self.lines.lock().busy.contains_key(&self.key) {
                return;
            }
            left.await;
        }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.lines.lock().closed.remove(&self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ids() -> (TenantId, SessionId) {
        ("t".parse().unwrap(), "s".parse().unwrap())
    }

    #[tokio::test]
    async fn runs_of_one_session_take_turns() {
        let lines = Arc::new(SessionLines::default());
        let (tenant, session) = ids();
        let mut first = lines.join(&tenant, &session, BusyPolicy::Enqueue).unwrap();
        first.turn().await;
        let mut second = lines.join(&tenant, &session, BusyPolicy::Enqueue).unwrap();
        assert!(futures::poll!(std::pin::pin!(second.turn())).is_pending());
        drop(first);
        second.turn().await;
        drop(second);
        assert!(lines.lock().busy.is_empty(), "a quiet session holds no memory");
    }

    #[test]
    fn who_does_not_want_to_wait_is_refused_while_a_run_is_under_way() {
        let lines = Arc::new(SessionLines::default());
        let (tenant, session) = ids();
        let first = lines.join(&tenant, &session, BusyPolicy::Reject).unwrap();
        assert_eq!(lines.join(&tenant, &session, BusyPolicy::Reject).err(), Some(NoTurn::Busy));
        drop(first);
        assert!(lines.join(&tenant, &session, BusyPolicy::Reject).is_ok());
    }

    #[tokio::test]
    async fn a_closed_session_is_quiet_when_its_last_run_has_left_and_takes_no_other() {
        let lines = Arc::new(SessionLines::default());
        let (tenant, session) = ids();
        let run = lines.join(&tenant, &session, BusyPolicy::Enqueue).unwrap();
        let closed = lines.close(&tenant, &session).unwrap();
        assert!(lines.close(&tenant, &session).is_none());
        assert_eq!(lines.join(&tenant, &session, BusyPolicy::Enqueue).err(), Some(NoTurn::Closed));
        let mut run = Some(run);
        // Ended at the first look, as a cancelled run would be.
        closed.quiet(|| drop(run.take())).await;
        drop(closed);
        assert!(lines.join(&tenant, &session, BusyPolicy::Enqueue).is_ok());
    }

    #[test]
    fn a_sessions_line_is_bounded() {
        let lines = Arc::new(SessionLines::default());
        let (tenant, session) = ids();
        let places: Vec<_> =
            std::iter::from_fn(|| lines.join(&tenant, &session, BusyPolicy::Enqueue).ok()).take(1000).collect();
        assert_eq!(places.len(), MAX_WAITING + 1);
    }
}
