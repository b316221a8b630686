//! What deliveries tell of runs: each dialect's own words, made from the run's record and log, so that they are the same before
//! and after a restart.

use std::sync::Arc;

use futures::future::BoxFuture;
use vivarium_domain::{Delivery, RunId, TenantId, WebhookForm};
use vivarium_runs::{Cursor, FollowError, Item, LoggedEvent, Runs};
use vivarium_store::{Store, StoreError};
use vivarium_webhooks::RunEnds;

use crate::make;

/// Knows of runs what deliveries need.
pub struct RunStories {
    runs: Runs,
    store: Arc<dyn Store>,
}

impl RunStories {
    /// Of these runs, which this store keeps.
    #[must_use]
    pub fn new(runs: Runs, store: Arc<dyn Store>) -> Self {
        Self { runs, store }
    }
}

impl RunEnds for RunStories {
    fn ended(&self, tenant: &TenantId, run: RunId) -> BoxFuture<'static, Result<(), StoreError>> {
        let (runs, store, tenant) = (self.runs.clone(), Arc::clone(&self.store), tenant.clone());
        Box::pin(async move {
            let stored = store.run(&tenant, run).await?;
            if stored.is_none_or(|run| !run.status.is_terminal()) {
                log(&runs, &tenant, run).await?;
            }
            Ok(())
        })
    }

    fn body(&self, tenant: &TenantId, delivery: &Delivery) -> BoxFuture<'static, Result<Option<Vec<u8>>, StoreError>> {
        let (runs, store, tenant) = (self.runs.clone(), Arc::clone(&self.store), tenant.clone());
        let (id, form) = (delivery.run_id, delivery.form);
        Box::pin(async move {
            // From the store: among the active runs, one that has ended a moment ago has no outcome yet.
            let Some(run) = store.run(&tenant, id).await? else { return Ok(None) };
            match form {
                WebhookForm::Native => Ok(serde_json::to_vec(&run).ok()),
                WebhookForm::Make => Ok(make::ended_body(&run, &log(&runs, &tenant, id).await?)),
            }
        })
    }
}

/// A run's whole log, once it has ended; empty where there is no such run.
async fn log(runs: &Runs, tenant: &TenantId, run: RunId) -> Result<Vec<Arc<LoggedEvent>>, StoreError> {
    let mut log = Vec::new();
    let Some(mut reader) = runs.follow(tenant, run, Cursor::default()).await? else { return Ok(log) };
    loop {
        match reader.next().await {
            Ok(Some(Item::Event(logged))) => log.push(logged),
            Ok(Some(_)) => {}
            Ok(None) => return Ok(log),
            Err(FollowError::Deleted) => return Ok(Vec::new()),
            Err(FollowError::Store(error)) => return Err(error),
            Err(error @ FollowError::Stopping) => return Err(StoreError::Unavailable(error.to_string())),
        }
    }
}
