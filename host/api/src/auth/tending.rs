//! What is done about keys while nobody asks: a key whose time is over ends what was opened with it, and when keys were used
//! last is written down, off the requests' way.

use std::collections::HashMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use vivarium_domain::{ApiKey, ContentHash, KeyEnd, TenantId, Timestamp};
use vivarium_store::{Batch, StoreError, Write};

use super::{Auth, Caller};

/// How often is looked for keys whose time is over. By the clock on the wall, which may be set meanwhile.
const LOOK: Duration = Duration::from_millis(500);

/// How often is written down when keys were used last.
const WRITE: Duration = Duration::from_secs(60);

impl Auth {
    /// Tends the keys until `stop`. What was used until then is written by [`Auth::write_uses`].
    pub(crate) async fn tend(&self, stop: CancellationToken) {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut written = Instant::now();
        loop {
            tokio::select! {
                _ = looks.tick() => self.end_expired(),
                () = stop.cancelled() => return,
            }
            if written.elapsed() >= WRITE {
                written = Instant::now();
                self.write_uses().await;
            }
        }
    }

    /// Ends what was opened with keys whose time is over.
    fn end_expired(&self) {
        let now = Timestamp::now();
        let has_expired = |caller: &Caller| caller.has_expired(now);
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        // Rarely one: the others need not wait for it.
        if !known.keys.values().any(|remembered| has_expired(&remembered.caller)) {
            return;
        }
        drop(known);
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let ended: Vec<_> = known.keys.extract_if(|_, remembered| has_expired(&remembered.caller)).collect();
        drop(known);
        for (hash, remembered) in ended {
            self.end(hash, remembered, KeyEnd::Expired);
        }
    }

    /// Writes down when keys were used last: for each tenant a batch, all of them with one sync.
    pub(crate) async fn write_uses(&self) {
        let mut of_tenants: HashMap<TenantId, Vec<(Arc<Caller>, i64, Write)>> = HashMap::new();
        for (hash, caller) in self.used() {
            let Some(used_at) = caller.life.unwritten() else { continue };
            let Ok(at) = Timestamp::from_microsecond(used_at) else { continue };
            let write = Write::UseApiKey { hash, at };
            of_tenants.entry(caller.tenant.clone()).or_default().push((caller, used_at, write));
        }
        let batches = of_tenants.into_iter().map(async |(tenant, uses)| {
            let writes = uses.iter().map(|(_, _, write)| write.clone()).collect();
            match self.store.commit(&tenant, Batch { conditions: Vec::new(), writes }).await {
                Ok(()) => {
                    for (caller, used_at, _) in uses {
                        caller.life.written_at.fetch_max(used_at, Ordering::Relaxed);
                    }
                }
                // The tenant is being deleted, and its keys with it.
                Err(StoreError::Refused(_)) => {}
                Err(error) => tracing::warn!(%error, %tenant, "when keys were used last can not be written down"),
            }
        });
        join_all(batches).await;
    }

    /// Those that may have been used since it was written down.
    fn used(&self) -> Vec<(ContentHash, Arc<Caller>)> {
        let mut used = std::mem::take(&mut *self.left.lock().unwrap_or_else(PoisonError::into_inner));
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        used.extend(known.keys.iter().map(|(hash, remembered)| (*hash, Arc::clone(&remembered.caller))));
        used
    }

    /// A key's record with its last use as it is known here, which may be later than what is on disk.
    pub(crate) fn with_use(&self, hash: &ContentHash, key: ApiKey) -> ApiKey {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let used_at = known.keys.get(hash).map(|remembered| remembered.caller.life.used_at.load(Ordering::Relaxed));
        let used_at = used_at.filter(|at| *at > 0).and_then(|at| Timestamp::from_microsecond(at).ok());
        ApiKey { last_used_at: key.last_used_at.max(used_at), ..key }
    }
}
