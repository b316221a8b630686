//! What is done with runs from outside while they are under way or wait: a decision, a cancellation, the end of a person's
//! time. A run that waits is woken for each.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use vivarium_domain::{AuditAction, AuditBy, AuditNote, ContentHash, EventBody, RunId, TenantId, Timestamp};
use vivarium_sight::InSpan as _;
use vivarium_sight::metric::{self, NO_LABELS};
use vivarium_store::StoreError;

use crate::approvals::{Approvals, Decision};
use crate::execute::{Control, Ending, Execution, Seat};
use crate::journal::Journal;
use crate::log::RunLog;
use crate::service::{Runs, STOP_PATIENCE};
use crate::table::{Active, RunKey, Table, Waiting};
use crate::trace::{Told, begin_part};

/// How long at least lies between two looks for approvals whose time is over.
const BETWEEN_LOOKS: Duration = Duration::from_millis(250);

/// What came of a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decided {
    /// It is on disk, and the run goes on.
    Taken,
    /// No call of this id waits in the run.
    NotWaiting,
    /// There is no such run in this tenant, or it has ended.
    NoRun,
}

/// What came of a cancellation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cancelled {
    /// The run has ended.
    Ended,
    /// The run was told to end, and has not yet.
    Ending,
    /// There is no such run in this tenant, or it had ended before.
    NoRun,
}

/// Where a decision has found its run.
enum Found {
    /// There is no such run, or it has ended.
    NoRun,
    /// The decision is recorded here, and not on disk yet.
    Taken(Arc<RunLog>),
    /// As far as its memory tells, the run does not wait for this call.
    NotAsked,
}

/// A decision, and what the audit log is told of it.
struct Noted {
    decision: Decision,
    note: AuditNote,
}

/// What a run's log says of a call that its memory does not know.
enum ByLog {
    /// It does not wait for a decision.
    NotOpen,
    /// It waits, and the decision is recorded here, and not on disk yet.
    Taken(Arc<RunLog>),
    /// It waits, and the run's memory knows of it by now.
    Moved,
}

impl Runs {
    /// Decides about a tool call that waits for a person, on behalf of `by`. The decision is on disk when this returns, and the
    /// audit log is told of it in the same batch.
    ///
    /// # Errors
    /// When the store fails, or the host is shutting down.
    pub async fn decide(
        &self,
        tenant: &TenantId,
        run: RunId,
        call_id: &str,
        decision: Decision,
        by: &AuditBy,
    ) -> Result<Decided, StoreError> {
        let key = (tenant.clone(), run);
        let decision = &Noted { note: self.decision_note(&key, call_id, &decision, by).await?, decision };
        loop {
            let log = match self.decide_now(&key, call_id, decision)? {
                Found::NoRun => return Ok(Decided::NoRun),
                Found::Taken(log) => log,
                // A run that was just taken up again may not have come back to the call yet; its log knows of it.
                Found::NotAsked => match self.decide_by_log(&key, call_id, decision).await? {
                    ByLog::NotOpen => return Ok(Decided::NotWaiting),
                    ByLog::Taken(log) => log,
                    ByLog::Moved => continue,
                },
            };
            log.flush(Vec::new()).await?;
            return Ok(Decided::Taken);
        }
    }

    /// What the audit log is told: which call it was, and with which arguments.
    async fn decision_note(
        &self,
        (tenant, run): &RunKey,
        call_id: &str,
        decision: &Decision,
        by: &AuditBy,
    ) -> Result<AuditNote, StoreError> {
        let action = if decision.approved { AuditAction::ApprovalGiven } else { AuditAction::ApprovalRefused };
        let note = by.did(action, run).with("call", call_id);
        let journal = Journal::read(&**self.store(), tenant, *run).await?;
        Ok(match journal.open_call(call_id) {
            Some(call) => {
                let arguments = ContentHash::of(call.arguments_json.as_bytes());
                note.with("tool", &call.tool).with("argumentsHash", arguments)
            }
            None => note,
        })
    }

    fn decide_now(&self, key: &RunKey, call_id: &str, decision: &Noted) -> Result<Found, StoreError> {
        let mut table = self.0.table();
        if let Some(waiting) = table.waiting(key) {
            if !waiting.waits_for(call_id) {
                return Ok(Found::NotAsked);
            }
            if self.0.is_closing() {
                return Err(StoreError::Unavailable("the host is shutting down; decide when it is back".to_owned()));
            }
            self.wake(&mut table, key);
        }
        let Some(active) = table.active(key).filter(|active| !active.log.has_ended()) else { return Ok(Found::NoRun) };
        let taken = take(active, call_id, decision);
        Ok(if taken { Found::Taken(Arc::clone(&active.log)) } else { Found::NotAsked })
    }

    async fn decide_by_log(&self, key: &RunKey, call_id: &str, decision: &Noted) -> Result<ByLog, StoreError> {
        let journal = Journal::read(&**self.store(), &key.0, key.1).await?;
        let mut open = journal.open_approvals().filter(|(id, _, decision)| *id == call_id && decision.is_none());
        let Some((_, expires_at, _)) = open.next() else { return Ok(ByLog::NotOpen) };
        let table = self.0.table();
        // It may have come to the call meanwhile, and wait for it.
        if table.waiting(key).is_some_and(|waiting| waiting.waits_for(call_id)) {
            return Ok(ByLog::Moved);
        }
        let active = table.active(key).filter(|active| !active.log.has_ended());
        let Some(active) = active else { return Ok(ByLog::NotOpen) };
        active.approvals.ask(call_id, expires_at, None);
        let taken = take(active, call_id, decision);
        Ok(if taken { ByLog::Taken(Arc::clone(&active.log)) } else { ByLog::NotOpen })
    }

    /// Makes a run that waits one that is under way, and lets it go on when the table is free again.
    fn wake(&self, table: &mut Table, key: &RunKey) {
        let mut seat = None;
        let woken = table.wake(key, |waiting| {
            let (log, control, approvals) = self.desk(key, waiting.last_seq, Approvals::waiting_for(&waiting.pending));
            seat = Some((Arc::clone(&log), Arc::clone(&control), Arc::clone(&approvals)));
            Active { session: waiting.session.clone(), parent: waiting.parent, log, control, approvals }
        });
        let (Some(Waiting { place, payer, .. }), Some((log, control, approvals))) = (woken, seat) else { return };
        self.go_on(key.clone(), Seat { log, control, approvals, place, payer }, false);
        // Whoever has started it may be seeing to it that it waits.
        self.0.changed.notify_waiters();
    }

    /// Wakes a run that waits if this is so of it.
    pub(crate) fn wake_if(&self, key: &RunKey, is_so: impl FnOnce(&Waiting) -> bool) {
        let mut table = self.0.table();
        if table.waiting(key).is_some_and(is_so) {
            self.wake(&mut table, key);
        }
    }

    /// What a run works at whose last event so far is number `last_seq`.
    pub(crate) fn desk(
        &self,
        key: &RunKey,
        last_seq: u64,
        approvals: Approvals,
    ) -> (Arc<RunLog>, Arc<Control>, Arc<Approvals>) {
        let log = RunLog::new(key.0.clone(), key.1, Arc::clone(self.store()), last_seq);
        (Arc::new(log), Arc::default(), Arc::new(approvals))
    }

    /// Drives a run on that is in the store and among the active ones.
    pub(crate) fn go_on(&self, (tenant, run): RunKey, seat: Seat, after_a_stop: bool) {
        let shared = Arc::clone(&self.0);
        tokio::spawn(async move {
            let record = match shared.store.run(&tenant, run).await {
                Ok(Some(record)) => record,
                Ok(None) => return shared.forget(&tenant, run),
                Err(error) => {
                    tracing::error!(%run, %error, "a run can not be read and is left to the next start");
                    seat.log.leave();
                    return shared.forget(&tenant, run);
                }
            };
            metric::RUNS_RESUMED.add(1, NO_LABELS);
            let Told { span, log } = begin_part(&tenant, &record, true);
            let execution = Execution {
                shared,
                tenant,
                run: record,
                seat,
                found: None,
                new_session: false,
                after_a_stop,
                trace: span.clone(),
            };
            execution.run_to_end().within(&span).instrument(log).await;
        });
    }

    /// Ends a run, wherever it is, and waits until it has ended; for a while.
    pub async fn cancel(&self, tenant: &TenantId, run: RunId, reason: &str) -> Cancelled {
        let key = (tenant.clone(), run);
        if !self.tell_to_end(&key, reason) {
            return Cancelled::NoRun;
        }
        let ended = self.0.until(|table| table.active(&key).is_none() && table.waiting(&key).is_none());
        match tokio::time::timeout(STOP_PATIENCE, ended).await {
            Ok(()) => Cancelled::Ended,
            Err(_) => Cancelled::Ending,
        }
    }

    /// Tells a run to end. False: it is not there, or has ended.
    pub(crate) fn tell_to_end(&self, key: &RunKey, reason: &str) -> bool {
        let mut table = self.0.table();
        self.wake(&mut table, key);
        let active = table.active(key).filter(|active| !active.log.has_ended());
        if let Some(active) = active {
            active.control.end(Ending::Cancelled(reason.to_owned()));
        }
        active.is_some()
    }

    /// Refuses what nobody has decided about in time, until the token is cancelled.
    pub async fn expire_approvals(&self, stop: CancellationToken) {
        const REASON: &str = "nobody has decided in time";
        loop {
            let (expired, next) = self.0.table().expired(Timestamp::now());
            for ((tenant, run), call_id) in expired {
                let decision = Decision { approved: false, reason: Some(REASON.to_owned()) };
                if let Err(error) = self.decide(&tenant, run, &call_id, decision, &AuditBy::HOST).await {
                    tracing::warn!(%run, call_id, %error, "an approval whose time is over could not be refused");
                }
            }
            let wait = next.map(|next| Duration::try_from(next.duration_since(Timestamp::now())).unwrap_or_default());
            let next_look = async {
                match wait {
                    Some(wait) => tokio::time::sleep(wait.max(BETWEEN_LOOKS)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = next_look => (),
                () = async { self.0.waiting_changed.notified().await; tokio::time::sleep(BETWEEN_LOOKS).await } => (),
            }
        }
    }
}

/// Takes a decision for a run that is under way. Called with the table locked, so that the run does not begin to wait
/// meanwhile.
fn take(active: &Active, call_id: &str, Noted { decision, note }: &Noted) -> bool {
    let Decision { approved, reason } = decision.clone();
    let given = EventBody::ApprovalGiven { call_id: call_id.to_owned(), approved, reason };
    let record = || {
        active.log.record_with(given, note.clone().into());
    };
    active.approvals.decide(call_id, decision.clone(), record)
}
