//! What a run's tool calls wait for outside of the host. A run all of whose calls wait for people, its own or those of the
//! runs that it has started, is left: its instance is dropped, and made again by replay when there is something to go on with.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use vivarium_domain::RunId;

/// The tool calls of one run that wait.
#[derive(Debug, Default)]
pub(crate) struct Waits {
    state: Mutex<State>,
    changed: Notify,
    idle: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// For a person.
    people: usize,
    /// For a run that was started as a tool.
    runs: usize,
    /// Of these runs, those that wait themselves.
    waiting_runs: BTreeSet<RunId>,
}

/// What a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WaitFor {
    /// A person's decision.
    Person,
    /// The end of a run.
    Run,
    /// The end of a run that waits itself.
    WaitingRun(RunId),
}

/// A call waits; dropping it says that it goes on.
pub(crate) struct Waiting<'a>(&'a Waits, WaitFor);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        match self.1 {
            WaitFor::Person => state.people -= 1,
            WaitFor::Run => state.runs -= 1,
            WaitFor::WaitingRun(run) => drop(state.waiting_runs.remove(&run)),
        }
        drop(state);
        self.0.changed.notify_one();
    }
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Counts and ids go in and out, and nothing panics between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call waits from now on.
    pub(crate) fn begin(&self, what: WaitFor) -> Waiting<'_> {
        let mut state = self.lock();
        match what {
            WaitFor::Person => state.people += 1,
            WaitFor::Run => state.runs += 1,
            WaitFor::WaitingRun(run) => drop(state.waiting_runs.insert(run)),
        }
        drop(state);
        self.changed.notify_one();
        Waiting(self, what)
    }

    /// All of so many calls wait.
    pub(crate) fn are_all(&self, calls: usize) -> bool {
        let state = self.lock();
        state.people + state.runs == calls
    }

    /// All of so many calls wait for people, their own or those of the runs that they wait for.
    pub(crate) fn are_all_for_people(&self, calls: usize) -> bool {
        let state = self.lock();
        state.people + state.waiting_runs.len() == calls
    }

    /// The runs that are waited for and wait themselves.
    pub(crate) fn waiting_runs(&self) -> Vec<RunId> {
        self.lock().waiting_runs.iter().copied().collect()
    }

    /// What waits has changed since it was last looked at. For one task alone.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// All that the run does is wait for people.
    pub(crate) fn all_wait(&self) {
        self.idle.notify_one();
    }

    /// Until all that the run does is wait for people.
    pub(crate) async fn until_all_wait(&self) {
        self.idle.notified().await;
    }
}
