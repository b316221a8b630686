//! The runs that have not ended: those that are under way, with all that belongs to them, and those that wait for a person,
//! of which hardly more is kept than their ids.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use tokio::sync::Notify;
use vivarium_domain::{PendingApproval, Run, RunId, RunStatus, SessionId, TenantId, Timestamp, Usage};

use crate::approvals::Approvals;
use crate::execute::{Control, Ending};
use crate::log::RunLog;
use crate::sessions::Place;

/// Who is charged for a run when it ends.
pub trait Payer: fmt::Debug + Send + Sync {
    /// The run has used this.
    fn pay(&self, usage: Usage);
}

pub(crate) type RunKey = (TenantId, RunId);

/// A run that is under way, or waits for its turn.
pub(crate) struct Active {
    pub(crate) session: SessionId,
    /// The run that has started it.
    pub(crate) parent: Option<RunId>,
    pub(crate) log: Arc<RunLog>,
    pub(crate) control: Arc<Control>,
    pub(crate) approvals: Arc<Approvals>,
}

/// A run that waits for a person. Its instance is gone, its log is in the store.
pub(crate) struct Waiting {
    pub(crate) session: SessionId,
    /// Its turn in its session: later messages wait until it has ended.
    pub(crate) place: Place,
    /// The run that has started it.
    pub(crate) parent: Option<RunId>,
    pub(crate) pending: Vec<PendingApproval>,
    /// The runs that it has started and that wait themselves.
    pub(crate) subruns: Vec<RunId>,
    pub(crate) last_seq: u64,
    pub(crate) payer: Option<Arc<dyn Payer>>,
    /// Told when it no longer waits.
    pub(crate) woken: Arc<Notify>,
}

impl Waiting {
    /// It waits for a decision about this call.
    pub(crate) fn waits_for(&self, call_id: &str) -> bool {
        self.pending.iter().any(|pending| pending.call_id == call_id)
    }
}

/// Where a run is to be found.
pub(crate) enum Where {
    /// Under way.
    Active(Arc<RunLog>),
    /// Waiting.
    Waiting { last_seq: u64, woken: Arc<Notify> },
    /// In the store alone, if it is there: it has ended, or the host stops.
    Nowhere,
}

/// Why a run is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Host,
    Tenant,
}

#[derive(Default)]
pub(crate) struct Table {
    active: HashMap<RunKey, Active>,
    /// How many runs of each tenant are active.
    active_of: HashMap<TenantId, usize>,
    waiting: HashMap<RunKey, Waiting>,
    /// How many runs of each tenant wait.
    waiting_of: HashMap<TenantId, usize>,
}

fn leave(counts: &mut HashMap<TenantId, usize>, tenant: &TenantId) {
    if let Some(count) = counts.get_mut(tenant) {
        *count = count.saturating_sub(1);
        if *count == 0 {
            counts.remove(tenant);
        }
    }
}

impl Table {
    /// Takes a run in, if there are fewer than `room` and fewer than `share` of its tenant's.
    pub(crate) fn admit(&mut self, key: RunKey, active: Active, room: usize, share: usize) -> Result<(), NoRoom> {
        if self.active.len() >= room {
            return Err(NoRoom::Host);
        }
        if self.active_of.get(&key.0).is_some_and(|count| *count >= share) {
            return Err(NoRoom::Tenant);
        }
        self.take_in(key, active);
        Ok(())
    }

    /// Takes a run in that was accepted before.
    pub(crate) fn take_in(&mut self, key: RunKey, active: Active) {
        *self.active_of.entry(key.0.clone()).or_default() += 1;
        self.active.insert(key, active);
    }

    /// A run is no longer under way. False: it was not.
    pub(crate) fn forget(&mut self, key: &RunKey) -> bool {
        let was = self.active.remove(key).is_some();
        if was {
            leave(&mut self.active_of, &key.0);
        }
        was
    }

    /// A run waits from now on, if fewer than `room` do, and fewer than `share` of its tenant's.
    pub(crate) fn wait(
        &mut self,
        key: &RunKey,
        waiting: Box<Waiting>,
        room: usize,
        share: usize,
    ) -> Result<(), Box<Waiting>> {
        if self.waiting.len() >= room || self.waiting_of.get(&key.0).is_some_and(|count| *count >= share) {
            return Err(waiting);
        }
        self.forget(key);
        self.take_in_waiting(key.clone(), *waiting);
        Ok(())
    }

    /// A run waits that had waited before.
    pub(crate) fn take_in_waiting(&mut self, key: RunKey, waiting: Waiting) {
        *self.waiting_of.entry(key.0.clone()).or_default() += 1;
        self.waiting.insert(key, waiting);
    }

    /// A run no longer waits; `active` makes of it what is under way from now on. None: it does not wait.
    pub(crate) fn wake(&mut self, key: &RunKey, active: impl FnOnce(&Waiting) -> Active) -> Option<Waiting> {
        let waiting = self.waiting.remove(key)?;
        leave(&mut self.waiting_of, &key.0);
        let active = active(&waiting);
        self.take_in(key.clone(), active);
        waiting.woken.notify_waiters();
        Some(waiting)
    }

    pub(crate) fn active(&self, key: &RunKey) -> Option<&Active> {
        self.active.get(key)
    }

    pub(crate) fn waiting(&self, key: &RunKey) -> Option<&Waiting> {
        self.waiting.get(key)
    }

    pub(crate) fn whereabouts(&self, tenant: &TenantId, run: RunId) -> Where {
        let key = (tenant.clone(), run);
        if let Some(active) = self.active.get(&key) {
            return Where::Active(Arc::clone(&active.log));
        }
        match self.waiting.get(&key) {
            Some(waiting) => Where::Waiting { last_seq: waiting.last_seq, woken: Arc::clone(&waiting.woken) },
            None => Where::Nowhere,
        }
    }

    /// The runs of a session that have not ended: under way, and waiting.
    pub(crate) fn of_session(&self, tenant: &TenantId, session: &SessionId) -> Vec<RunId> {
        let active = self.active.iter().filter(|(key, active)| key.0 == *tenant && active.session == *session);
        let waiting = self.waiting.iter().filter(|(key, waiting)| key.0 == *tenant && waiting.session == *session);
        active.map(|(key, _)| key.1).chain(waiting.map(|(key, _)| key.1)).collect()
    }

    /// The runs that a run has started and that have not ended.
    pub(crate) fn started_by(&self, tenant: &TenantId, run: RunId) -> Vec<RunId> {
        let active = self.active.iter().filter(|(key, active)| active.parent == Some(run) && key.0 == *tenant);
        let waiting = self.waiting.iter().filter(|(key, waiting)| waiting.parent == Some(run) && key.0 == *tenant);
        active.map(|(key, _)| key.1).chain(waiting.map(|(key, _)| key.1)).collect()
    }

    /// A tenant's runs that have not ended.
    pub(crate) fn of_tenant(&self, tenant: &TenantId) -> Vec<RunId> {
        let all = self.active.keys().chain(self.waiting.keys());
        all.filter(|(owner, _)| owner == tenant).map(|(_, run)| *run).collect()
    }

    /// The runs that wait for one that does not wait.
    pub(crate) fn with_news(&self) -> Vec<RunKey> {
        let waits = |tenant: &TenantId, run: &RunId| self.waiting.contains_key(&(tenant.clone(), *run));
        let has_news = |(key, waiting): &(&RunKey, &Waiting)| waiting.subruns.iter().any(|run| !waits(&key.0, run));
        self.waiting.iter().filter(has_news).map(|(key, _)| key.clone()).collect()
    }

    /// How many runs are under way.
    pub(crate) fn under_way(&self) -> usize {
        self.active.len()
    }

    /// How many runs wait.
    pub(crate) fn waiting_count(&self) -> usize {
        self.waiting.len()
    }

    /// Ends all that is under way.
    pub(crate) fn end_all(&self, ending: &Ending) {
        for active in self.active.values() {
            active.control.end(ending.clone());
        }
    }

    /// The approvals whose time was over at `now`, and when the next one's will be.
    pub(crate) fn expired(&self, now: Timestamp) -> (Vec<(RunKey, String)>, Option<Timestamp>) {
        let mut next: Option<Timestamp> = None;
        let mut expired = Vec::new();
        for (key, waiting) in &self.waiting {
            for pending in &waiting.pending {
                match pending.expires_at {
                    Some(at) if at <= now => expired.push((key.clone(), pending.call_id.clone())),
                    Some(at) => next = Some(next.map_or(at, |next| next.min(at))),
                    None => {}
                }
            }
        }
        (expired, next)
    }
}

impl Active {
    /// The run's record as it is now; `stored` is as it was written last.
    pub(crate) fn now(&self, stored: Run) -> Run {
        let last_seq = self.log.last_seq();
        let waits = self.approvals.any();
        // Its first event is the start of its mode.
        let status = match last_seq {
            0 => RunStatus::Queued,
            _ if waits => RunStatus::Waiting,
            _ => RunStatus::Running,
        };
        let waiting = stored.waiting.filter(|_| waits);
        Run { status, last_seq, waiting, ..stored }
    }
}
