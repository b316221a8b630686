//! The worker: waits for runs' ends and for the time of the next attempt, lets tenants take turns, and writes down what came of
//! each attempt.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use vivarium_domain::{Delivery, DeliveryAttempt, DeliveryStatus, RunId, TenantId, Timestamp};
use vivarium_sight::metric::{self, NO_LABELS};
use vivarium_store::{Batch, StoreError, Write};

use crate::backoff::next_attempt;
use crate::line::Line;
use crate::send::{Verdict, attempt};
use crate::{Asked, Rooms, WebhooksConfig};

/// How long a stop waits for requests that are under way; what is cut is sent again by the next start.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// A store that failed is asked again after so long.
const AFTER_A_FAILED_STORE: Duration = Duration::from_secs(5);

/// Makes all deliveries of a host.
pub struct Worker {
    job: Job,
    asked: Asked,
    /// Deliveries that are taken care of: one that is asked for while the store is read for pending ones is found there, too.
    known: HashSet<(TenantId, RunId)>,
    line: Line,
    /// Deliveries whose next attempt has its time.
    later: BinaryHeap<Reverse<(Timestamp, TenantId, RunId)>>,
    /// Runs whose ends are waited for.
    waiting: JoinSet<(TenantId, RunId)>,
    sending: JoinSet<Attempted>,
}

/// What one attempt needs. Cheap to clone.
#[derive(Clone)]
struct Job {
    rooms: Rooms,
    config: Arc<WebhooksConfig>,
}

/// An attempt is over.
struct Attempted {
    tenant: TenantId,
    run: RunId,
    /// When to try again; none: not at all.
    next: Option<Timestamp>,
}

impl Worker {
    /// A worker on what is asked.
    #[must_use]
    pub fn new(rooms: Rooms, config: WebhooksConfig, asked: Asked) -> Self {
        Self {
            line: Line::new(config.max_sending.max(1), config.max_sending_per_tenant.max(1)),
            job: Job { rooms, config: Arc::new(config) },
            asked,
            known: HashSet::new(),
            later: BinaryHeap::new(),
            waiting: JoinSet::new(),
            sending: JoinSet::new(),
        }
    }

    /// Takes up the deliveries that a process before this one left pending, and makes all that are asked for, until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        tokio::select! {
            () = self.take_up() => {}
            () = stop.cancelled() => return,
        }
        loop {
            while let Some((tenant, run)) = self.line.next() {
                self.sending.spawn(self.job.clone().attempt(tenant, run));
            }
            tokio::select! {
                () = stop.cancelled() => break,
                Some((tenant, run)) = self.asked.0.recv() => self.wait_for(tenant, run),
                Some(ended) = self.waiting.join_next() => {
                    if let Ok((tenant, run)) = ended {
                        self.line.push(tenant, run);
                    }
                }
                Some(attempted) = self.sending.join_next() => self.attempted(attempted),
                () = until(self.later.peek().map(|Reverse((at, _, _))| *at)) => self.due(),
            }
        }
        let all_sent = async { while self.sending.join_next().await.is_some() {} };
        if tokio::time::timeout(STOP_PATIENCE, all_sent).await.is_err() {
            tracing::warn!(requests = self.sending.len(), "some deliveries were cut; the next start repeats them");
        }
    }

    async fn take_up(&mut self) {
        let pending = loop {
            match self.job.rooms.store.pending_deliveries().await {
                Ok(pending) => break pending,
                Err(error) => {
                    tracing::error!(%error, "the pending deliveries can not be read");
                    tokio::time::sleep(AFTER_A_FAILED_STORE).await;
                }
            }
        };
        if !pending.is_empty() {
            tracing::info!(deliveries = pending.len(), "taking up deliveries that the last process left pending");
        }
        for (tenant, delivery) in pending {
            let run = delivery.run_id;
            match delivery.next_attempt_at {
                Some(at) => {
                    self.known.insert((tenant.clone(), run));
                    self.later.push(Reverse((at, tenant, run)));
                }
                None => self.wait_for(tenant, run),
            }
        }
    }

    fn wait_for(&mut self, tenant: TenantId, run: RunId) {
        if !self.known.insert((tenant.clone(), run)) {
            return;
        }
        let ends = Arc::clone(&self.job.rooms.ends);
        self.waiting.spawn(async move {
            while let Err(error) = ends.ended(&tenant, run).await {
                tracing::error!(%error, %run, "a run's end can not be waited for");
                tokio::time::sleep(AFTER_A_FAILED_STORE).await;
            }
            (tenant, run)
        });
    }

    fn attempted(&mut self, attempted: Result<Attempted, tokio::task::JoinError>) {
        match attempted {
            Ok(Attempted { tenant, run, next }) => {
                self.line.done(&tenant);
                match next {
                    Some(at) => self.later.push(Reverse((at, tenant, run))),
                    None => {
                        self.known.remove(&(tenant, run));
                    }
                }
            }
            // Nothing in an attempt panics; if it did, its place would be lost, and its delivery is taken up by the next start.
            Err(error) => tracing::error!(%error, "a delivery broke off"),
        }
    }

    /// Everything whose time has come is due.
    fn due(&mut self) {
        let now = Timestamp::now();
        while self.later.peek().is_some_and(|Reverse((at, _, _))| *at <= now) {
            if let Some(Reverse((_, tenant, run))) = self.later.pop() {
                self.line.push(tenant, run);
            }
        }
    }
}

/// Sleeps until then; none: for ever. By the wall clock, since that is what the record has.
async fn until(at: Option<Timestamp>) {
    let Some(at) = at else { return std::future::pending().await };
    let left = Duration::try_from(at.duration_since(Timestamp::now())).unwrap_or_default();
    tokio::time::sleep(left).await;
}

impl Job {
    async fn attempt(self, tenant: TenantId, run: RunId) -> Attempted {
        let next = match self.deliver(&tenant, run).await {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, %run, "a delivery can not be read or written");
                Timestamp::now().checked_add(AFTER_A_FAILED_STORE).ok()
            }
        };
        Attempted { tenant, run, next }
    }

    /// Makes one attempt and writes down what came of it. When the next one is.
    async fn deliver(&self, tenant: &TenantId, run: RunId) -> Result<Option<Timestamp>, StoreError> {
        let delivery = self.rooms.store.delivery(tenant, run).await?;
        // It was made already, or was removed with its session.
        let Some(mut delivery) = delivery.filter(|delivery| delivery.status == DeliveryStatus::Pending) else {
            return Ok(None);
        };
        let Some(body) = self.rooms.ends.body(tenant, &delivery).await? else {
            let error = "nothing is left of the run that it tells of: its session was deleted".to_owned();
            delivery.attempts.push(DeliveryAttempt { at: Timestamp::now(), status: None, error: Some(error) });
            delivery.status = DeliveryStatus::Failed;
            delivery.next_attempt_at = None;
            self.write(tenant, delivery).await?;
            return Ok(None);
        };
        let began = Instant::now();
        let (attempted, verdict) = attempt(&self.rooms, &self.config, tenant, &delivery, body).await;
        let outcome = match verdict {
            Verdict::Delivered => "delivered",
            Verdict::TryAgain => "again",
            Verdict::GiveUp => "given_up",
        };
        metric::WEBHOOK_ATTEMPTS.add(1, &[("outcome", outcome)]);
        metric::WEBHOOK_DURATION.took(began.elapsed(), NO_LABELS);
        tracing::debug!(%run, status = attempted.status, error = attempted.error, "a delivery was attempted");
        delivery.attempts.push(attempted);
        let next = match verdict {
            Verdict::TryAgain => next_attempt(delivery.attempts.len(), self.config.first_retry, Timestamp::now()),
            Verdict::Delivered | Verdict::GiveUp => None,
        };
        delivery.status = match (verdict, next) {
            (Verdict::Delivered, _) => DeliveryStatus::Delivered,
            (_, Some(_)) => DeliveryStatus::Pending,
            (_, None) => DeliveryStatus::Failed,
        };
        delivery.next_attempt_at = next;
        self.write(tenant, delivery).await?;
        Ok(next)
    }

    async fn write(&self, tenant: &TenantId, delivery: Delivery) -> Result<(), StoreError> {
        let writes = vec![Write::PutDelivery(Box::new(delivery))];
        self.rooms.store.commit(tenant, Batch { conditions: Vec::new(), writes }).await
    }
}
