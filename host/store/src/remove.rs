//! Removing what may be a hundred thousand records: writing their end as one batch would hold up everybody else. So first
//! the door is closed: one small batch takes the thing out of all lists and leaves a mark, and from then on nothing of it is
//! found, because readers pass over what is marked. Then it is emptied, piece by piece, each a batch like any other; the mark
//! goes with the last. What a crash interrupts is finished when the store is opened again.
//!
//! *A session* goes with its messages and its runs. A new session of the same id is refused until it has gone.
//!
//! *A run that has ended* goes with its log, its delivery and its idempotency keys, or its log goes alone and its record says
//! so. The closing batch is for up to [`RUNS_AT_ONCE`] of them and has all but their logs, so only who reads a log has to
//! look for marks.
//!
//! *A tenant* is closed by [`Remover::close_tenant`]: its record is gone, nothing of it is written any more, and no file is
//! kept for it. Whatever else is kept of it outside the store can be removed then, and [`Remover::remove_tenant`] does the
//! rest. Only that is not finished by itself after a crash: the mark stays, and whoever opened the store must go on.
//!
//! Blobs are removed by who refers to them (the module `loose`).

mod emptying;
mod loose;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use vivarium_domain::{AuditAction, AuditBy, AuditNote, Run, RunId, SessionId, TenantId, Timestamp};

use crate::audit;
use crate::batch::{Prepared, Step, ended_place, from_json, json};
use crate::blobs::Blobs;
use crate::queue::Queue;
use crate::record::{self, Op};
use crate::resolve::Resolver;
use crate::sled_store::aside;
use crate::table::{Key, Place, Range, Table, last_id, split_tenant};
use crate::view::{Direction, PIECE, View};
use crate::{Condition, StoreError};
use emptying::{Emptying, LARGEST_PIECE, OfLogs, OfSession, OfTenant};

/// How many runs are closed by one batch.
const RUNS_AT_ONCE: usize = 64;

/// How long a piece waits for the trees at most: a disk that is full may keep them for ever.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many removals were begun and ended, so that readers know when they have to look for marks: nearly never.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// How many removals had begun when a reader began; none where one was under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calm(Option<u64>);

impl Removals {
    /// What a reader asks first.
    pub(crate) fn calm(&self) -> Calm {
        // In this order: one that begins in between counts as under way.
        let ended = self.ended.load(Ordering::SeqCst);
        let begun = self.begun.load(Ordering::SeqCst);
        Calm((begun == ended).then_some(begun))
    }

    /// What a reader asks last: no removal was under way since it began, so what it has read is no half.
    pub(crate) fn is_calm_since(&self, calm: Calm) -> bool {
        calm.0 == Some(self.begun.load(Ordering::SeqCst))
    }

    /// Before a mark can be there. Where a removal fails it never ends, and readers go on looking.
    fn begin(&self) {
        self.begun.fetch_add(1, Ordering::SeqCst);
    }

    /// No mark is there any more.
    fn end(&self) {
        self.ended.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a removal works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Remover {
    pub(crate) queue: Arc<Queue>,
    pub(crate) view: Arc<View>,
    pub(crate) blobs: Blobs,
    /// Of sessions.
    pub(crate) removals: Arc<Removals>,
    /// Of logs.
    pub(crate) log_removals: Arc<Removals>,
}

impl Remover {
    /// Removes a session. False: there is none.
    pub(crate) async fn remove(self, tenant: TenantId, session: SessionId, by: AuditBy) -> Result<bool, StoreError> {
        self.removals.begin();
        let note = by.did(AuditAction::SessionDeleted, &session);
        let is_there = match self.commit(Prepared::closing(&tenant, &session, note)).await {
            Ok(()) => Ok(true),
            // Another removal of it may be under way, or was given up: then this one helps.
            Err(StoreError::ConditionFailed(Condition::SessionExists(_))) => {
                self.view.contains(Table::Removals, Key::of(&tenant).session(&session).as_slice())
            }
            Err(error) => Err(error),
        };
        if matches!(is_there, Ok(true)) {
            self.empty(OfSession::new(tenant.clone(), session)).await?;
        }
        self.removals.end();
        if matches!(is_there, Ok(true)) {
            self.sweep(&tenant).await;
        }
        is_there
    }

    /// Removes those of the runs that have ended. Gives how many that were.
    pub(crate) async fn remove_runs(
        self,
        tenant: TenantId,
        runs: Vec<RunId>,
        by: AuditBy,
    ) -> Result<usize, StoreError> {
        let note = || by.did(AuditAction::RunsDeleted, &tenant);
        self.remove_logs_of(&tenant, runs, note, |view, tenant, run, steps| {
            emptying::remove_run(view, tenant, run.id, steps)?;
            Ok(true)
        })
        .await
    }

    /// Removes the logs of those of the runs that have ended and have one. Gives how many that were.
    pub(crate) async fn remove_logs(
        self,
        tenant: TenantId,
        runs: Vec<RunId>,
        at: Timestamp,
        by: AuditBy,
    ) -> Result<usize, StoreError> {
        let note = || by.did(AuditAction::LogsDeleted, &tenant);
        self.remove_logs_of(&tenant, runs, note, |_, tenant, run, steps| {
            if run.log_removed_at.is_some() {
                return Ok(false);
            }
            let (before, after) = (ended_place(tenant, &run, false), ended_place(tenant, &run, true));
            let (key, run) = (Key::of(tenant).run(run.id).into_bytes(), Run { log_removed_at: Some(at), ..run });
            let mut ops = Vec::new();
            record::put(&mut ops, Table::EndedRuns, after.clone(), b"");
            record::put(&mut ops, Table::Runs, key, &json(&run)?);
            steps.push(Step::LogGone { places: [before, after], ops });
            Ok(true)
        })
        .await
    }

    /// Closes what `close` says of each run that has ended (false: nothing), and empties its log. The audit log is told with
    /// `note`, of all runs that are closed together.
    async fn remove_logs_of(
        &self,
        tenant: &TenantId,
        runs: Vec<RunId>,
        note: impl Fn() -> AuditNote,
        close: impl Fn(&View, &TenantId, Run, &mut Vec<Step>) -> Result<bool, StoreError>,
    ) -> Result<usize, StoreError> {
        self.log_removals.begin();
        let mut removed = 0;
        for some in runs.chunks(RUNS_AT_ONCE) {
            let (mut steps, mut closed) = (Vec::new(), Vec::with_capacity(some.len()));
            for id in some {
                let key = Key::of(tenant).run(*id).into_bytes();
                let Some(payload) = self.view.get(Table::Runs, &key)? else { continue };
                let run: Run = from_json(Table::Runs, &key, &payload)?;
                if run.status.is_terminal() && close(&self.view, tenant, run, &mut steps)? {
                    let mut mark = Vec::new();
                    record::put(&mut mark, Table::RunRemovals, key, b"");
                    steps.extend(mark.into_iter().map(Step::Write));
                    closed.push(*id);
                }
            }
            if closed.is_empty() {
                continue;
            }
            removed += closed.len();
            self.take_turn().await;
            steps.push(audit::noted(tenant, note().with("runs", &closed)));
            self.commit(Prepared::of_steps(steps)).await?;
            self.empty(OfLogs::new(tenant.clone(), closed)).await?;
        }
        self.log_removals.end();
        if removed > 0 {
            self.sweep(tenant).await;
        }
        Ok(removed)
    }

    /// Closes a tenant. False: there is none.
    pub(crate) async fn close_tenant(self, tenant: TenantId, by: AuditBy) -> Result<bool, StoreError> {
        let note = by.did(AuditAction::TenantDeleted, &tenant);
        match self.commit(Prepared::closing_tenant(&tenant, note)).await {
            Ok(()) => {}
            // Its removal may be under way, or a crash has interrupted it.
            Err(StoreError::ConditionFailed(Condition::TenantExists(_))) => {
                return self.view.contains(Table::TenantRemovals, Key::of(&tenant).as_slice());
            }
            Err(error) => return Err(error),
        }
        let blobs = self.blobs.clone();
        aside(move || {
            blobs.close(&tenant);
            Ok(true)
        })
        .await
    }

    /// Removes all that is left of a tenant that was closed.
    pub(crate) async fn remove_tenant(self, tenant: TenantId) -> Result<(), StoreError> {
        if !self.view.contains(Table::TenantRemovals, Key::of(&tenant).as_slice())? {
            return Err(StoreError::Refused(format!("the tenant {tenant} is not being removed: it was not closed")));
        }
        self.empty(OfTenant::new(tenant.clone())).await?;
        let (blobs, of_tenant) = (self.blobs.clone(), tenant.clone());
        aside(move || blobs.remove_tenant(&of_tenant)).await?;
        self.commit(Prepared::opening_tenant(&tenant)).await?;
        self.blobs.open_again(&tenant);
        Ok(())
    }

    async fn empty(&self, mut emptying: impl Emptying) -> Result<(), StoreError> {
        loop {
            self.take_turn().await;
            let Some(steps) = emptying.next(&self.view)? else { return Ok(()) };
            self.commit(Prepared::of_steps(steps)).await?;
        }
    }

    /// A removal writes faster than the trees take it in, and everybody's writes would wait for a free journal. So it waits
    /// instead, while one is on its way into the trees.
    async fn take_turn(&self) {
        // In vain: it goes on, and may have to wait like everybody else.
        let _ = tokio::time::timeout(PATIENCE, self.view.rest()).await;
    }

    /// Removes the blobs that nothing refers to any more.
    async fn sweep(&self, tenant: &TenantId) {
        let swept = async {
            let (loose, mut done) = loose::loose_blobs(&self.view, tenant)?;
            for some in loose.chunks(LARGEST_PIECE) {
                let (view, blobs, of_tenant) = (Arc::clone(&self.view), self.blobs.clone(), tenant.clone());
                let some = some.to_vec();
                done.extend(aside(move || loose::remove_loose(&view, &blobs, &of_tenant, &some)).await?);
            }
            while !done.is_empty() {
                let rest = done.split_off(done.len().min(LARGEST_PIECE));
                self.take_turn().await;
                self.commit(Prepared::of_ops(std::mem::replace(&mut done, rest))).await?;
            }
            Ok::<_, StoreError>(())
        };
        if let Err(error) = swept.await {
            // What they belonged to is gone, and what is loose is noted: the next removal takes it away.
            tracing::warn!(%tenant, %error, "blobs that nothing refers to are still there");
        }
    }

    async fn commit(&self, prepared: Prepared) -> Result<(), StoreError> {
        self.queue.push(prepared)?.await.unwrap_or_else(|_| Err(crate::queue::closed()))
    }
}

/// How many removals a crash had interrupted, and opening has finished.
pub(crate) struct Finished {
    pub(crate) sessions: u64,
    pub(crate) logs: u64,
}

/// Finishes what a crash has interrupted: straight in the trees, because nobody else uses them yet.
pub(crate) fn finish(view: &View, blobs: &Blobs) -> Result<Finished, StoreError> {
    let mut finished = Finished { sessions: 0, logs: 0 };
    for (tenant, session) in interrupted_sessions(view)? {
        empty_now(view, OfSession::new(tenant, session))?;
        finished.sessions += 1;
    }
    for (tenant, runs) in interrupted_logs(view)? {
        finished.logs += runs.len() as u64;
        empty_now(view, OfLogs::new(tenant, runs))?;
    }
    for tenant in loose::tenants_with_loose_blobs(view)? {
        let (loose, mut done) = loose::loose_blobs(view, &tenant)?;
        done.extend(loose::remove_loose(view, blobs, &tenant, &loose)?);
        apply(view, done)?;
    }
    Ok(finished)
}

/// Piece by piece, each worked out as the writer would.
fn empty_now(view: &View, mut emptying: impl Emptying) -> Result<(), StoreError> {
    let mut resolver = Resolver::new(view, HashSet::new());
    while let Some(steps) = emptying.next(view)? {
        let mut ops = resolver.resolve(Prepared::of_steps(steps))?;
        ops.extend(resolver.shared());
        apply(view, ops)?;
        resolver.forget();
    }
    Ok(())
}

fn apply(view: &View, ops: Vec<Op>) -> Result<(), StoreError> {
    view.trees().apply(ops.into_iter().map(|op| (op.table, op.key, op.value)))
}

/// The sessions whose removal a crash has interrupted.
fn interrupted_sessions(view: &View) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
    let session_of = |key: &Bytes| {
        let (tenant, rest) = split_tenant(key)?;
        let session = std::str::from_utf8(rest.get(1..)?).ok()?.parse().ok()?;
        Some((tenant, session))
    };
    marks(view, Table::Removals, session_of)
}

/// The runs whose logs' removal a crash has interrupted.
fn interrupted_logs(view: &View) -> Result<BTreeMap<TenantId, Vec<RunId>>, StoreError> {
    let mut found = BTreeMap::<_, Vec<_>>::new();
    for (tenant, run) in marks(view, Table::RunRemovals, |key| Some((split_tenant(key)?.0, last_id(key)?)))? {
        found.entry(tenant).or_default().push(RunId::from_bytes(run));
    }
    Ok(found)
}

/// The tenants that were closed and are not yet removed.
pub(crate) fn closed_tenants(view: &View) -> Result<Vec<TenantId>, StoreError> {
    marks(view, Table::TenantRemovals, |key| Some(split_tenant(key)?.0))
}

fn marks<T>(view: &View, table: Table, what: impl Fn(&Bytes) -> Option<T>) -> Result<Vec<T>, StoreError> {
    let (mut found, mut range) = (Vec::new(), Range::prefix(b""));
    loop {
        let piece = view.keys(table, &range, Direction::Forward, PIECE)?;
        let Some(last) = piece.last() else { return Ok(found) };
        range = range.after(last);
        for key in &piece {
            let marked = what(key);
            let nothing = || StoreError::Corrupt(format!("{}: it marks nothing", Place(table, key)));
            found.push(marked.ok_or_else(nothing)?);
        }
    }
}

/// The tenant of a key, and where the keys of the next begin.
pub(crate) fn next_tenant(table: Table, key: &Bytes) -> Result<(TenantId, Bound<Vec<u8>>), StoreError> {
    let no_tenant = || StoreError::Corrupt(format!("{}: there is no tenant", Place(table, key)));
    let (tenant, _) = split_tenant(key).ok_or_else(no_tenant)?;
    let next = match Range::prefix(Key::of(&tenant).as_slice()).to {
        Bound::Excluded(next) => Bound::Included(next),
        // No tenant's keys are the last that there can be. Were they, whoever walks must still get on.
        _ => Bound::Excluded(key.to_vec()),
    };
    Ok((tenant, next))
}
