//! What goes because its time is over: sessions in which nobody has spoken for their time, and of runs that have ended what
//! the operator does not keep any longer. An expired session is as good as deleted from the moment on; this takes away what
//! is left of it.
//!
//! A look costs by what it finds, and one step for each tenant: sessions and ended runs stand in the order of their times.

use std::num::NonZeroU64;
use std::time::Duration;

use vivarium_domain::{AuditBy, RunId, TenantId, Timestamp};
use vivarium_store::{EndedFilter, StoreError};

use crate::conversations::SessionError;
use crate::service::Runs;

/// How many sessions are looked up at a time.
const BATCH: usize = 256;

/// How many runs are: only their ids. A look goes past what the last one has found and is not out of the trees yet, so there
/// should be few.
const RUNS_AT_ONCE: usize = 10_000;

/// A run that ended just now is not yet too much: whoever waited for its end is about to read its record.
const AFTER_THE_END: Duration = Duration::from_secs(1);

/// What is kept of runs that have ended, and for how long. None: everything, for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Retention {
    /// Their logs.
    pub logs: Option<Duration>,
    /// All of them.
    pub runs: Option<Duration>,
    /// How many of one tenant.
    pub max_runs_per_tenant: Option<NonZeroU64>,
}

/// What was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Removed {
    /// Logs of runs whose records stay.
    pub logs: usize,
    /// Runs.
    pub runs: usize,
}

impl Runs {
    /// Deletes the sessions whose time is over. One in which a run is under way or waits is left for the next time: somebody waits
    /// for its answer. Gives how many were deleted.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete_expired_sessions(&self) -> Result<usize, StoreError> {
        let mut deleted = 0;
        loop {
            let expired = self.store().expired_sessions(Timestamp::now(), BATCH).await?;
            let found = expired.len();
            let before = deleted;
            for (tenant, session) in expired {
                if self.is_busy(&tenant, &session) {
                    continue;
                }
                match self.delete_session(&tenant, &session, &AuditBy::HOST).await {
                    Ok(()) => deleted += 1,
                    Err(SessionError::Store(error)) => return Err(error),
                    // Gone meanwhile, or spoken in.
                    Err(_) => {}
                }
            }
            if found < BATCH || deleted == before {
                return Ok(deleted);
            }
        }
    }

    /// Removes the runs that have ended, and the logs of such runs, that are not kept any longer at `now`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_old_runs(&self, retention: &Retention, now: Timestamp) -> Result<Removed, StoreError> {
        let mut removed = Removed::default();
        if let Some(before) = retention.runs.and_then(|kept| now.checked_sub(kept).ok()) {
            let old = EndedFilter { before: Some(before), ..EndedFilter::default() };
            removed.runs += self.remove_ended(old, usize::MAX, None).await?;
        }
        if let Some(most) = retention.max_runs_per_tenant {
            removed.runs += self.remove_beyond(most.get(), now).await?;
        }
        if let Some(before) = retention.logs.and_then(|kept| now.checked_sub(kept).ok()) {
            let old = EndedFilter { before: Some(before), with_log: true, ..EndedFilter::default() };
            removed.logs += self.remove_ended(old, usize::MAX, Some(now)).await?;
        }
        Ok(removed)
    }

    /// Removes the runs that ended first of each tenant that has more than `most`.
    async fn remove_beyond(&self, most: u64, now: Timestamp) -> Result<usize, StoreError> {
        let mut removed = 0;
        for tenant in self.store().tenants().await? {
            let count = self.store().count_ended_runs(&tenant.id).await?;
            let beyond = usize::try_from(count.saturating_sub(most)).unwrap_or(usize::MAX);
            if beyond > 0 {
                let before = now.checked_sub(AFTER_THE_END).ok();
                let oldest = EndedFilter { tenant: Some(tenant.id), before, ..EndedFilter::default() };
                removed += self.remove_ended(oldest, beyond, None).await?;
            }
        }
        Ok(removed)
    }

    /// Removes what a filter finds, but at most so many: only the logs, at a time, or all of the runs.
    async fn remove_ended(
        &self,
        filter: EndedFilter,
        most: usize,
        logs_at: Option<Timestamp>,
    ) -> Result<usize, StoreError> {
        let mut removed = 0;
        while removed < most {
            let limit = RUNS_AT_ONCE.min(most - removed);
            let found = self.store().ended_runs(EndedFilter { limit, ..filter.clone() }).await?;
            let before = removed;
            for of_tenant in found.chunk_by(|(a, _), (b, _)| a == b) {
                let Some((tenant, _)) = of_tenant.first() else { continue };
                let runs = of_tenant.iter().map(|(_, run)| *run).collect();
                removed += match logs_at {
                    Some(at) => self.store().delete_logs(tenant, runs, at, &AuditBy::HOST).await?,
                    None => self.store().delete_runs(tenant, runs, &AuditBy::HOST).await?,
                };
            }
            if found.len() < limit || removed == before {
                break;
            }
        }
        Ok(removed)
    }
}

/// Why a run was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeletionError {
    /// The tenant has no such run.
    #[error("there is no such run")]
    NotFound,
    /// It has not ended.
    #[error("the run is under way: cancel it first")]
    UnderWay,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Runs {
    /// Deletes a run that has ended, with its log, on behalf of `by`. What was said in it stays in its session.
    ///
    /// # Errors
    /// [`DeletionError::NotFound`], [`DeletionError::UnderWay`].
    pub async fn delete_run(&self, tenant: &TenantId, run: RunId, by: &AuditBy) -> Result<(), DeletionError> {
        let found = self.get(tenant, run).await?.ok_or(DeletionError::NotFound)?;
        if !found.status.is_terminal() {
            return Err(DeletionError::UnderWay);
        }
        self.store().delete_runs(tenant, vec![run], by).await?;
        Ok(())
    }
}
