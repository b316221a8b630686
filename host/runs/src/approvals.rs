//! Calls that wait for a person. A run that waits is driven on by `approve`, which names the call; the decision is for
//! that call and its arguments alone.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The call may be made.
    pub approved: bool,
    /// Why, or why not; for the model and the log.
    pub reason: Option<String>,
}

/// The calls of one run that wait for a decision.
#[derive(Debug, Default)]
pub(crate) struct Approvals(Mutex<BTreeMap<String, oneshot::Sender<Decision>>>);

impl Approvals {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, oneshot::Sender<Decision>>> {
        // Only whole entries go in and out.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins to wait. None: a call of this id waits already.
    pub(crate) fn ask(&self, call_id: &str) -> Option<oneshot::Receiver<Decision>> {
        let mut waiting = self.lock();
        waiting.retain(|_, asked| !asked.is_closed());
        if waiting.contains_key(call_id) {
            return None;
        }
        let (asked, answered) = oneshot::channel();
        waiting.insert(call_id.to_owned(), asked);
        Some(answered)
    }

    /// Gives the decision to the call that waits for it. False: none of this id waits.
    pub(crate) fn decide(&self, call_id: &str, decision: Decision) -> bool {
        self.lock().remove(call_id).is_some_and(|asked| asked.send(decision).is_ok())
    }

    /// Some call waits.
    pub(crate) fn any(&self) -> bool {
        self.lock().values().any(|asked| !asked.is_closed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decision_reaches_the_call_that_it_names_and_once() {
        let approvals = Approvals::default();
        let mut first = approvals.ask("a").unwrap();
        assert!(approvals.any() && approvals.ask("a").is_none());
        let yes = Decision { approved: true, reason: None };
        assert!(!approvals.decide("b", yes.clone()));
        assert!(approvals.decide("a", yes.clone()));
        assert!(!approvals.decide("a", yes.clone()) && !approvals.any());
        assert_eq!(first.try_recv().unwrap(), yes);
        drop(approvals.ask("c"));
        assert!(!approvals.any() && approvals.ask("c").is_some());
    }
}
