//! What start-up does with the runs that the process before has left: all of them go on.

use std::sync::Arc;

use vivarium_domain::{Run, RunStatus, TenantId};
use vivarium_store::StoreError;

use crate::approvals::Approvals;
use crate::execute::Seat;
use crate::service::Runs;
use crate::table::{Active, Waiting};

/// What start-up did with the runs of the process before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Runs that had begun and are taken up where they were.
    pub resumed: usize,
    /// Runs that had not begun and wait for their turn again.
    pub queued: usize,
    /// Runs that wait for a person, as before.
    pub waiting: usize,
}

impl RecoveryReport {
    /// There was nothing to take up.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Runs {
    /// Takes up the runs that a process before this one left unfinished. They are among the active ones, or wait, when this
    /// returns, each with the place in its session that it had; those that work are driven on meanwhile. To be called before
    /// any new run is accepted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recover(&self) -> Result<RecoveryReport, StoreError> {
        let mut unfinished = Vec::new();
        for (tenant, run) in self.0.store.unfinished_runs().await? {
            let last_seq = self.0.store.last_event(&tenant, run.id).await?;
            unfinished.push((tenant, run, last_seq));
        }
        // Of each session the one that had begun comes first, then those that were in line behind it; ids sort by time.
        unfinished.sort_by_key(|(_, run, last_seq)| (*last_seq == 0, run.id));
        let mut report = RecoveryReport::default();
        for (tenant, run, last_seq) in unfinished {
            self.take_up(tenant, run, last_seq, &mut report);
        }
        // A run that it waits for may have ended, or gone on, when nobody could tell it any more.
        let with_news = self.0.table().with_news();
        for key in with_news {
            self.wake_if(&key, |_| true);
        }
        Ok(report)
    }

    fn take_up(&self, tenant: TenantId, run: Run, last_seq: u64, report: &mut RecoveryReport) {
        let place = self.0.sessions.join_again(&tenant, &run.session_id);
        let key = (tenant, run.id);
        let waits = run.waiting.as_ref().filter(|_| run.status == RunStatus::Waiting && run.last_seq == last_seq);
        if let Some(waits) = waits {
            let waiting = Waiting {
                session: run.session_id.clone(),
                place,
                parent: run.parent.map(|parent| parent.run_id),
                pending: waits.approvals.clone(),
                subruns: waits.subruns.clone(),
                last_seq,
                payer: None,
                woken: Arc::default(),
            };
            self.0.table().take_in_waiting(key, waiting);
            report.waiting += 1;
            return;
        }
        let (log, control, approvals) = self.desk(&key, last_seq, Approvals::default());
        let active = Active {
            session: run.session_id,
            parent: run.parent.map(|parent| parent.run_id),
            log: Arc::clone(&log),
            control: Arc::clone(&control),
            approvals: Arc::clone(&approvals),
        };
        self.0.table().take_in(key.clone(), active);
        *(if last_seq == 0 { &mut report.queued } else { &mut report.resumed }) += 1;
        self.go_on(key, Seat { log, control, approvals, place, payer: None }, last_seq > 0);
    }
}
