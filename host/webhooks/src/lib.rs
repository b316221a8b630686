//! Runs' ends, told to clients' own servers: each delivery is a record in the store before anything is sent, goes through the
//! same door as all requests that a tenant asks for, is signed as the Standard Webhooks specification says, and is tried again
//! until it arrives or there is no hope. A delivery may arrive twice, never not at all without its record saying why: between
//! the server's answer and the record of it the host may die.
//!
//! This crate knows no HTTP API and no run: it is told that a delivery was asked for, and asks [`RunEnds`] for the rest.

mod backoff;
mod line;
mod send;
mod sign;
mod worker;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use vivarium_domain::{Delivery, RunId, TenantId};
use vivarium_egress::{Egress, HostPort};
use vivarium_store::{Store, StoreError};

pub use sign::{secret_text, signature};

/// What is known of runs elsewhere.
pub trait RunEnds: Send + Sync + 'static {
    /// Waits for the end of a run. At once where it has ended, or is not there.
    fn ended(&self, tenant: &TenantId, run: RunId) -> BoxFuture<'static, Result<(), StoreError>>;

    /// What a delivery tells, as JSON, in the words that it asks for. None: nothing is left of the run.
    fn body(&self, tenant: &TenantId, delivery: &Delivery) -> BoxFuture<'static, Result<Option<Vec<u8>>, StoreError>>;
}

/// The key that a tenant's deliveries are signed with.
pub type SigningKeys = Arc<dyn Fn(&TenantId) -> [u8; 32] + Send + Sync>;

/// How deliveries are made.
#[derive(Debug, Clone)]
pub struct WebhooksConfig {
    /// How long the second attempt waits for after the first; the later ones wait longer.
    pub first_retry: Duration,
    /// Requests at one time.
    pub max_sending: usize,
    /// Requests of one tenant at one time.
    pub max_sending_per_tenant: usize,
    /// Hosts with ports that may be told although their addresses are not public.
    pub dangerously_allow_private_addresses: Vec<HostPort>,
}

impl Default for WebhooksConfig {
    fn default() -> Self {
        Self {
            first_retry: Duration::from_secs(5),
            max_sending: 32,
            max_sending_per_tenant: 8,
            dangerously_allow_private_addresses: Vec::new(),
        }
    }
}

/// What deliveries are made with.
#[derive(Clone)]
pub struct Rooms {
    /// Keeps them.
    pub store: Arc<dyn Store>,
    /// Sends them.
    pub egress: Arc<Egress>,
    /// Knows what they tell.
    pub ends: Arc<dyn RunEnds>,
    /// Signs them.
    pub keys: SigningKeys,
}

/// The way to say that a delivery was asked for. Clones say it to the same worker.
#[derive(Clone)]
pub struct Webhooks(UnboundedSender<(TenantId, RunId)>);

/// What was said to [`Webhooks`], until somebody works on it.
pub struct Asked(UnboundedReceiver<(TenantId, RunId)>);

impl Webhooks {
    /// A way, and its other end.
    #[must_use]
    pub fn new() -> (Self, Asked) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), Asked(receiver))
    }

    /// Somebody wants to be told of this run's end; the record of that is in the store. Runs are bounded, so these are.
    pub fn tell(&self, tenant: &TenantId, run: RunId) {
        // Without a worker the host stops; the next one finds the record.
        let _stopped = self.0.send((tenant.clone(), run));
    }
}

pub use worker::Worker;
