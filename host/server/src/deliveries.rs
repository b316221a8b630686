//! The worker that tells clients' servers of runs' ends: only a host that serves has one at work.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use vivarium_api::RunStories;
use vivarium_egress::{Egress, HostPort};
use vivarium_registry::Registry;
use vivarium_runs::Runs;
use vivarium_store::Store;
use vivarium_webhooks::{Rooms, Webhooks, WebhooksConfig, Worker};

use crate::config::Config;

pub(crate) struct Deliveries {
    /// Until it is at work.
    worker: Mutex<Option<Worker>>,
    at_work: Mutex<Option<JoinHandle<()>>>,
    stop: CancellationToken,
}

impl Deliveries {
    pub(crate) fn new(
        config: &Config,
        store: Arc<dyn Store>,
        egress: Arc<Egress>,
        exceptions: Vec<HostPort>,
        registry: Registry,
        runs: &Runs,
    ) -> Self {
        let (webhooks, asked) = Webhooks::new();
        runs.on_webhook(move |tenant, run| webhooks.tell(tenant, run));
        let rooms = Rooms {
            store: Arc::clone(&store),
            egress,
            ends: Arc::new(RunStories::new(runs.clone(), store)),
            keys: Arc::new(move |tenant| registry.webhook_key(tenant)),
        };
        let config = WebhooksConfig {
            first_retry: Duration::from_millis(config.webhook_first_retry_ms),
            dangerously_allow_private_addresses: exceptions,
            ..WebhooksConfig::default()
        };
        let worker = Mutex::new(Some(Worker::new(rooms, config, asked)));
        Self { worker, at_work: Mutex::default(), stop: CancellationToken::new() }
    }

    /// Begins to deliver, with what the last process left pending. Once.
    pub(crate) fn start(&self) {
        if let Some(worker) = take(&self.worker) {
            let task = tokio::spawn(worker.run(self.stop.clone()));
            *self.at_work.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
        }
    }

    /// Sends nothing more, and waits for what is under way; the worker bounds that itself.
    pub(crate) async fn stop(&self) {
        self.stop.cancel();
        if let Some(task) = take(&self.at_work) {
            let _ended = task.await;
        }
    }
}

fn take<T>(slot: &Mutex<Option<T>>) -> Option<T> {
    slot.lock().unwrap_or_else(PoisonError::into_inner).take()
}
