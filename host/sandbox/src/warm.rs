//! Instances that wait for the next call: for plugins whose manifest says that their tools may be called again.
//!
//! The pool belongs to whoever makes the calls and comes with each of them; there is one per plugin within one tenant, so
//! that no instance can serve two tenants. An instance goes back only after a call that went well, and only if the guest
//! has let go of what it held: what one call has opened must not be there for the next. Files are the exception, because
//! the C library asks once for the folders and keeps them; such an instance serves only the same workspace again.
//!
//! While an instance waits it holds nothing of its last call: no grant, no workspace, no log. It does hold a place of the
//! engine's pool, so all that wait, of all tenants, get a part of the places and no more.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use wasmtime::Store;
use wasmtime::component::Instance;

use crate::guest::{Guest, Setting};

/// The most instances that wait in one pool.
const MAX_IDLE: usize = 4;
/// How long one waits.
const MAX_IDLE_TIME: Duration = Duration::from_secs(60);
/// How many calls one serves: what a guest leaks of its own memory comes to an end.
const MAX_CALLS: u32 = 1_000;
/// One of so many places of the engine may be held by instances that wait.
const SHARE_OF_PLACES: u32 = 4;

/// The places that all waiting instances share.
pub(crate) fn idle_room(max_instances: u32) -> Arc<Semaphore> {
    Arc::new(Semaphore::new(max_instances.div_ceil(SHARE_OF_PLACES) as usize))
}

/// A store, its instance once there is one, and how often it was called.
pub(crate) struct Seat {
    pub(crate) store: Store<Guest>,
    pub(crate) instance: Option<Instance>,
    calls: u32,
}

impl Seat {
    pub(crate) fn new(store: Store<Guest>) -> Self {
        Self { store, instance: None, calls: 0 }
    }
}

struct Idle {
    seat: Seat,
    /// The loaded plugin that it is an instance of.
    plugin: Arc<()>,
    since: Instant,
    _room: OwnedSemaphorePermit,
}

#[derive(Default)]
struct Waiting {
    idle: Vec<Idle>,
    swept: bool,
}

/// The waiting instances of one plugin within one tenant. Dropping the pool drops them.
#[derive(Default)]
pub struct WarmPool(Mutex<Waiting>);

impl std::fmt::Debug for WarmPool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WarmPool").field("idle", &self.idle()).finish()
    }
}

impl WarmPool {
    /// How many instances wait.
    #[must_use]
    pub fn idle(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).idle.len()
    }

    /// Drops all waiting instances: their grant or their plugin has changed.
    pub fn clear(&self) {
        let dropped = std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner).idle);
        drop(dropped);
    }

    /// An instance for a call in this setting, if one waits that fits. What can fit no more is dropped.
    pub(crate) fn take(&self, plugin: &Arc<()>, setting: &Setting) -> Option<Seat> {
        let mut dropped = Vec::new();
        let mut taken = None;
        {
            let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let mut kept = Vec::with_capacity(waiting.idle.len());
            // The last one that came is the likeliest to be in the processor's caches.
            while let Some(mut idle) = waiting.idle.pop() {
                if !Arc::ptr_eq(&idle.plugin, plugin) || idle.since.elapsed() > MAX_IDLE_TIME {
                    dropped.push(idle);
                } else if taken.is_none() && idle.seat.store.data_mut().begin(setting) {
                    taken = Some(idle.seat);
                } else {
                    kept.push(idle);
                }
            }
            kept.reverse();
            waiting.idle = kept;
        }
        // Outside of the lock: dropping an instance is a system call or more.
        drop(dropped);
        taken
    }

    /// Keeps an instance after a call that went well, if it may serve another one.
    pub(crate) fn put(self: &Arc<Self>, plugin: &Arc<()>, mut seat: Seat, room: &Arc<Semaphore>) {
        seat.calls = seat.calls.saturating_add(1);
        if seat.calls >= MAX_CALLS || seat.instance.is_none() || !seat.store.data_mut().rest() {
            return;
        }
        let Ok(permit) = Arc::clone(room).try_acquire_owned() else { return };
        let idle = Idle { seat, plugin: Arc::clone(plugin), since: Instant::now(), _room: permit };
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.idle.len() >= MAX_IDLE {
            drop(waiting);
            drop(idle);
            return;
        }
        waiting.idle.push(idle);
        if !std::mem::replace(&mut waiting.swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Drops what has waited too long; whether anything is left.
    fn drop_old(&self) -> bool {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (old, kept) =
            std::mem::take(&mut waiting.idle).into_iter().partition(|idle| idle.since.elapsed() >= MAX_IDLE_TIME);
        waiting.idle = kept;
        waiting.swept = !waiting.idle.is_empty();
        let left = waiting.swept;
        drop(waiting);
        drop::<Vec<Idle>>(old);
        left
    }
}

/// Runs while anything waits.
async fn sweep(pool: Weak<WarmPool>) {
    loop {
        tokio::time::sleep(MAX_IDLE_TIME / 4).await;
        let Some(pool) = pool.upgrade() else { return };
        if !pool.drop_old() {
            return;
        }
    }
}
