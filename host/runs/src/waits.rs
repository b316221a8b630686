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
    /// The run is being left: who is decided about now goes on when it is taken up again, or would be broken off at its work.
    left: bool,
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

impl State {
    fn begin(&mut self, what: WaitFor) {
        match what {
            WaitFor::Person => self.people += 1,
            WaitFor::Run => self.runs += 1,
            WaitFor::WaitingRun(run) => drop(self.waiting_runs.insert(run)),
        }
    }

    fn end(&mut self, what: WaitFor) {
        match what {
            WaitFor::Person => self.people -= 1,
            WaitFor::Run => self.runs -= 1,
            WaitFor::WaitingRun(run) => drop(self.waiting_runs.remove(&run)),
        }
    }
}

/// A call waits; dropping it says that it goes on.
pub(crate) struct Waiting<'a> {
    waits: &'a Waits,
    what: Option<WaitFor>,
}

impl Waiting<'_> {
    /// Goes on; never, if the run is being left.
    pub(crate) async fn go_on(mut self) {
        if !self.end(|state| !state.left) {
            std::future::pending::<()>().await;
        }
    }

    /// The call waits no more, if it may go on. False: it still waits.
    fn end(&mut self, may_go_on: impl FnOnce(&State) -> bool) -> bool {
        let mut state = self.waits.lock();
        if !may_go_on(&state) {
            return false;
        }
        if let Some(what) = self.what.take() {
            state.end(what);
        }
        drop(state);
        self.waits.changed.notify_one();
        true
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if self.what.is_some() {
            self.end(|_| true);
        }
    }
}

impl Waits {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Counts and ids go in and out, and nothing panics between.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A call waits from now on.
    pub(crate) fn begin(&self, what: WaitFor) -> Waiting<'_> {
        self.lock().begin(what);
        self.changed.notify_one();
        Waiting { waits: self, what: Some(what) }
    }

    /// All of so many calls wait.
    pub(crate) fn are_all(&self, calls: usize) -> bool {
        let state = self.lock();
        state.people + state.runs == calls
    }

    /// Leaves the run if all of so many calls wait for people, their own or those of the runs that they wait for. False: they
    /// do not.
    pub(crate) fn leave_if_all_wait_for_people(&self, calls: usize) -> bool {
        let mut state = self.lock();
        if state.people + state.waiting_runs.len() != calls {
            return false;
        }
        state.left = true;
        drop(state);
        self.idle.notify_one();
        true
    }

    /// The runs that are waited for and wait themselves.
    pub(crate) fn waiting_runs(&self) -> Vec<RunId> {
        self.lock().waiting_runs.iter().copied().collect()
    }

    /// What waits has changed since it was last looked at. For one task alone.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Until all that the run does is wait for people, and it is to be left.
    pub(crate) async fn until_all_wait(&self) {
        self.idle.notified().await;
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_call_that_is_decided_about_while_its_run_is_left_does_not_begin_its_work() {
        let waits = Waits::default();
        let waiting = waits.begin(WaitFor::Person);
        assert!(!waits.leave_if_all_wait_for_people(2), "another call is at work");
        assert!(waits.leave_if_all_wait_for_people(1) && waits.until_all_wait().now_or_never().is_some());
        assert!(waiting.go_on().now_or_never().is_none(), "it would be broken off at its work");
    }

    #[test]
    fn a_run_one_of_whose_calls_goes_on_is_not_left() {
        let waits = Waits::default();
        let (one, _other) = (waits.begin(WaitFor::Person), waits.begin(WaitFor::Person));
        assert!(one.go_on().now_or_never().is_some());
        assert!(!waits.leave_if_all_wait_for_people(2) && waits.until_all_wait().now_or_never().is_none());
        assert!(waits.are_all(1));
    }
}
