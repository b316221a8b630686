//! Calls that wait for a person. A run that waits is driven on by `approve`, which names the call; the decision is for
//! that call and its arguments alone: no other call of the run has its id. A decision is on disk before anybody is told that
//! it was taken.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use vivarium_domain::{PendingApproval, Timestamp};

/// What a person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// The call may be made.
    pub approved: bool,
    /// Why, or why not; for the model and the log.
    pub reason: Option<String>,
}

#[derive(Debug)]
struct Asked {
    expires_at: Option<Timestamp>,
    decision: Option<Decision>,
}

/// The calls of one run that were asked about and are not completed.
#[derive(Debug, Default)]
pub(crate) struct Approvals {
    asked: Mutex<BTreeMap<String, Asked>>,
    changed: Notify,
}

impl Approvals {
    /// Those that a run waits for.
    pub(crate) fn waiting_for(pending: &[PendingApproval]) -> Self {
        let approvals = Self::default();
        for PendingApproval { call_id, expires_at } in pending {
            approvals.ask(call_id, *expires_at, None);
        }
        approvals
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Asked>> {
        // Only whole entries go in and out.
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Somebody is asked about a call; of one that was asked about before, what is known stays.
    pub(crate) fn ask(&self, call_id: &str, expires_at: Option<Timestamp>, decision: Option<Decision>) {
        let mut asked = self.lock();
        let entry = asked.entry(call_id.to_owned()).or_insert(Asked { expires_at, decision: None });
        entry.decision = entry.decision.take().or(decision);
    }

    /// Takes a decision for the call that waits for it, and calls `record` before anybody else can see it. False: no call of
    /// this id waits.
    pub(crate) fn decide(&self, call_id: &str, decision: Decision, record: impl FnOnce()) -> bool {
        let mut asked = self.lock();
        let Some(open) = asked.get_mut(call_id).filter(|asked| asked.decision.is_none()) else { return false };
        record();
        open.decision = Some(decision);
        drop(asked);
        self.changed.notify_waiters();
        true
    }

    /// What was decided about a call, once it is. Cancel-safe.
    pub(crate) async fn decision(&self, call_id: &str) -> Decision {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a decision wakes us, so none is missed between the look and the wait.
            changed.as_mut().enable();
            if let Some(decision) = self.lock().get(call_id).and_then(|asked| asked.decision.clone()) {
                return decision;
            }
            changed.await;
        }
    }

    /// A call is completed: nothing waits for it any more.
    pub(crate) fn close(&self, call_id: &str) {
        self.lock().remove(call_id);
    }

    /// Some call waits for a decision.
    pub(crate) fn any(&self) -> bool {
        self.lock().values().any(|asked| asked.decision.is_none())
    }

    /// A call has its decision and is not completed.
    pub(crate) fn any_decided(&self) -> bool {
        self.lock().values().any(|asked| asked.decision.is_some())
    }

    /// The calls that wait for a decision.
    pub(crate) fn pending(&self) -> Vec<PendingApproval> {
        let asked = self.lock();
        let open = asked.iter().filter(|(_, asked)| asked.decision.is_none());
        open.map(|(call_id, asked)| PendingApproval { call_id: call_id.clone(), expires_at: asked.expires_at })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    #[test]
    fn a_decision_reaches_the_call_that_it_names_and_once() {
        let approvals = Approvals::default();
        approvals.ask("a", None, None);
        assert!(approvals.any() && approvals.decision("a").now_or_never().is_none());
        let yes = Decision { approved: true, reason: None };
        let mut recorded = 0;
        assert!(!approvals.decide("b", yes.clone(), || recorded += 1));
        assert!(approvals.decide("a", yes.clone(), || recorded += 1));
        assert!(!approvals.decide("a", Decision { approved: false, reason: None }, || recorded += 1));
        assert_eq!(recorded, 1);
        assert_eq!(approvals.decision("a").now_or_never(), Some(yes));
        assert!(!approvals.any() && approvals.any_decided());
        approvals.close("a");
        assert!(!approvals.any_decided());
    }

    #[test]
    fn what_is_known_of_a_call_stays_when_it_is_asked_about_again() {
        let approvals = Approvals::waiting_for(&[PendingApproval { call_id: "a".to_owned(), expires_at: None }]);
        let no = Decision { approved: false, reason: Some("too dear".to_owned()) };
        assert!(approvals.decide("a", no.clone(), || ()));
        approvals.ask("a", None, None);
        assert_eq!(approvals.decision("a").now_or_never(), Some(no));
        assert_eq!(approvals.pending(), Vec::new());
    }
}
