//! What goes because its time is over, or because there is too much of it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use jiff::SignedDuration;
use tokio_util::sync::CancellationToken;
use vivarium_domain::{Timestamp, utc_day};
use vivarium_runs::{Removed, Retention, Runs};
use vivarium_store::{Store, StoreError};

use crate::config::Config;
use crate::library::Library;

/// How often is looked for sessions, runs and answers whose time is over.
const EVERY: Duration = Duration::from_secs(60);

/// How many answers are forgotten in one batch.
const ANSWERS_AT_ONCE: usize = 256;

/// How many records of what was used are forgotten in one batch.
const RECORDS_AT_ONCE: usize = 1000;

/// What the operator keeps of runs.
pub(crate) fn retention(config: &Config) -> Retention {
    let days = |days: NonZeroU32| Duration::from_secs(u64::from(days.get()) * 24 * 3600);
    Retention {
        logs: config.run_log_days.map(days),
        runs: config.run_days.map(days),
        max_runs_per_tenant: config.max_runs_per_tenant,
    }
}

/// Deletes the sessions and the runs and forgets the answers whose time is over, at once and then regularly, until the host
/// stops.
pub(crate) async fn sweep(
    runs: Runs,
    store: Arc<dyn Store>,
    retention: Retention,
    usage_days: NonZeroU32,
    shutdown: CancellationToken,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => (),
            () = shutdown.cancelled() => return,
        }
        match runs.delete_expired_sessions().await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "sessions were deleted: their time was over"),
            Err(error) => tracing::warn!(%error, "sessions whose time is over could not be deleted"),
        }
        match runs.remove_old_runs(&retention, Timestamp::now()).await {
            Ok(Removed { logs: 0, runs: 0 }) => {}
            Ok(Removed { logs, runs }) => tracing::info!(logs, runs, "old runs, and logs of runs, were removed"),
            Err(error) => tracing::warn!(%error, "old runs could not be removed"),
        }
        if let Err(error) = forget_answers(&*store).await {
            tracing::warn!(%error, "answers whose time is over could not be forgotten");
        }
        if let Err(error) = forget_usage(&*store, usage_days).await {
            tracing::warn!(%error, "what was used long ago could not be forgotten");
        }
    }
}

/// Removes the indexes of tenants that are gone, regularly, until the host stops.
pub(crate) async fn prune(library: Library, shutdown: CancellationToken) {
    while shutdown.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
        if let Err(error) = library.prune().await {
            tracing::warn!(%error, "the indexes of tenants that are gone could not be looked for");
        }
    }
}

/// Forgets what was used more than so many days ago.
async fn forget_usage(store: &dyn Store, days: NonZeroU32) -> Result<(), StoreError> {
    let kept = SignedDuration::from_hours(24 * i64::from(days.get()));
    let Ok(first) = utc_day(Timestamp::now()).checked_sub(kept) else { return Ok(()) };
    while store.forget_usage(first, RECORDS_AT_ONCE).await? == RECORDS_AT_ONCE {}
    Ok(())
}

/// Forgets the answers to requests with idempotency keys whose time is over.
async fn forget_answers(store: &dyn Store) -> Result<(), StoreError> {
    while store.forget_answers(Timestamp::now(), ANSWERS_AT_ONCE).await? == ANSWERS_AT_ONCE {}
    Ok(())
}
