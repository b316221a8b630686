//! Places that tenants share. Where all are taken, whoever waits gets the next one in turn by tenant, by what each tenant has
//! used of places and by its weight ([`FairLines`]); so a flood of one tenant's makes that tenant wait, and not the others.
//!
//! A plain semaphore would serve in the order of arrival: a thousand calls of one tenant would stand before the first
//! call of another. A limit per tenant alone would leave places empty when only one tenant is there.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use vivarium_domain::{FairLines, FairTurn, TenantId};

/// How many places there are, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct QueueLimits {
    /// All places.
    pub(crate) places: usize,
    /// Of these at most so many for one tenant.
    pub(crate) per_tenant: usize,
    /// Who waits of one tenant; further ones are refused at once.
    pub(crate) waiting_per_tenant: usize,
}

/// Why there was no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NoPlace {
    /// The tenant's own calls are in the way.
    #[error("this tenant has as many calls under way and waiting as it may; try again when some have ended")]
    Tenant,
    /// The host is full.
    #[error("the host has no free place; try again later")]
    Host,
}

/// What a queue has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Load {
    pub(crate) places: usize,
    pub(crate) taken: usize,
    pub(crate) waiting: usize,
}

#[derive(Debug)]
pub(crate) struct FairQueue {
    limits: QueueLimits,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    taken: usize,
    lines: FairLines<TenantId, oneshot::Sender<Place>>,
}

/// A place; dropping it gives it to the next.
#[derive(Debug)]
pub(crate) struct Place {
    queue: Arc<FairQueue>,
    tenant: TenantId,
    turn: FairTurn,
    since: Instant,
}

impl Drop for Place {
    fn drop(&mut self) {
        let used = u64::try_from(self.since.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.queue.give_back(&self.tenant, self.turn, used);
    }
}

impl FairQueue {
    pub(crate) fn new(limits: QueueLimits) -> Arc<Self> {
        let lines = FairLines::new(limits.per_tenant);
        Arc::new(Self { limits, state: Mutex::new(State { taken: 0, lines }) })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counts and lines are changed together, without anything between that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place, at most so long, with the weight that the tenant has. Dropping the future gives up the place in line.
    pub(crate) async fn place(
        self: &Arc<Self>,
        tenant: &TenantId,
        weight: u32,
        patience: Duration,
    ) -> Result<Place, NoPlace> {
        let turn = match self.enter(tenant, weight)? {
            Entered::Placed(place) => return Ok(place),
            Entered::Waiting(turn) => turn,
        };
        match tokio::time::timeout(patience, turn).await {
            Ok(Ok(place)) => Ok(place),
            _ => Err(self.why_not(tenant)),
        }
    }

    /// How many places there are, how many are taken, and how many wait for one.
    pub(crate) fn load(&self) -> Load {
        let state = self.lock();
        let waiting = state.lines.waiters().filter(|turn| !turn.is_closed()).count();
        Load { places: self.limits.places, taken: state.taken, waiting }
    }

    fn enter(self: &Arc<Self>, tenant: &TenantId, weight: u32) -> Result<Entered, NoPlace> {
        let mut state = self.lock();
        if state.taken < self.limits.places
            && let Some(turn) = state.lines.take(tenant, weight)
        {
            state.taken += 1;
            return Ok(Entered::Placed(self.taken(tenant.clone(), turn)));
        }
        if state.lines.waiting(tenant) >= self.limits.waiting_per_tenant {
            // Some may have left without a word.
            state.lines.forget(tenant, oneshot::Sender::is_closed);
            if state.lines.waiting(tenant) >= self.limits.waiting_per_tenant {
                return Err(NoPlace::Tenant);
            }
        }
        let (sender, turn) = oneshot::channel();
        state.lines.wait(tenant, weight, sender);
        Ok(Entered::Waiting(turn))
    }

    fn taken(self: &Arc<Self>, tenant: TenantId, turn: FairTurn) -> Place {
        Place { queue: Arc::clone(self), tenant, turn, since: Instant::now() }
    }

    fn why_not(&self, tenant: &TenantId) -> NoPlace {
        let own = self.lock().lines.held(tenant);
        if own >= self.limits.per_tenant { NoPlace::Tenant } else { NoPlace::Host }
    }

    fn give_back(self: &Arc<Self>, tenant: &TenantId, turn: FairTurn, used: u64) {
        let mut state = self.lock();
        state.taken = state.taken.saturating_sub(1);
        state.lines.give_back(tenant, turn, used);
        let mut placed = Vec::new();
        while state.taken < self.limits.places {
            let Some((tenant, waiting, turn)) = state.lines.take_next() else { break };
            state.taken += 1;
            placed.push((waiting, self.taken(tenant, turn)));
        }
        drop(state);
        for (waiting, place) in placed {
            // Who has left gives the place back by dropping it, which must not happen under the lock.
            drop(waiting.send(place));
        }
    }
}

enum Entered {
    Placed(Place),
    Waiting(oneshot::Receiver<Place>),
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;

    use super::*;

    const LONG: Duration = Duration::from_secs(3600);

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    fn queue(places: usize, per_tenant: usize, waiting_per_tenant: usize) -> Arc<FairQueue> {
        FairQueue::new(QueueLimits { places, per_tenant, waiting_per_tenant })
    }

    #[tokio::test]
    async fn a_tenant_that_comes_late_waits_for_one_place_and_not_behind_a_flood() {
        let queue = queue(1, 1, 100);
        let flood = tenant("flood");
        let held = queue.place(&flood, 1, LONG).await.unwrap();
        let mut flooding: Vec<_> = (0..50).map(|_| Box::pin(queue.place(&flood, 1, LONG))).collect();
        assert!(flooding.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        let other = tenant("other");
        let mut late = Box::pin(queue.place(&other, 1, LONG));
        assert!((&mut late).now_or_never().is_none());
        drop(held);
        // The flood was first in line, and has had a place.
        let place = late.now_or_never().unwrap().unwrap();
        assert!(flooding.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        drop(place);
        assert!(flooding.iter_mut().find_map(|waiting| waiting.now_or_never()).unwrap().is_ok());
    }

    #[tokio::test]
    async fn the_tenant_that_has_had_the_least_is_served_first() {
        let queue = queue(3, 3, 100);
        let (a, b) = (tenant("a"), tenant("b"));
        let mut held = vec![queue.place(&a, 1, LONG).await.unwrap(), queue.place(&a, 1, LONG).await.unwrap()];
        held.push(queue.place(&a, 1, LONG).await.unwrap());
        let mut first = Box::pin(queue.place(&a, 1, LONG));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(queue.place(&b, 1, LONG));
        assert!((&mut second).now_or_never().is_none());
        held.pop();
        assert!(second.now_or_never().unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_is_told_whose_calls_are_in_the_way() {
        let queue = queue(2, 1, 1);
        let (a, b, c) = (tenant("a"), tenant("b"), tenant("c"));
        let _a = queue.place(&a, 1, LONG).await.unwrap();
        let patience = Duration::from_secs(1);
        assert_eq!(queue.place(&a, 1, patience).await.unwrap_err(), NoPlace::Tenant);
        let _b = queue.place(&b, 1, LONG).await.unwrap();
        assert_eq!(queue.place(&c, 1, patience).await.unwrap_err(), NoPlace::Host);
        let mut waiting = Box::pin(queue.place(&a, 1, LONG));
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(queue.place(&a, 1, LONG).now_or_never().unwrap().unwrap_err(), NoPlace::Tenant);
    }

    #[tokio::test(start_paused = true)]
    async fn places_go_by_weight_and_by_how_long_they_were_held() {
        let queue = queue(1, 1, 1000);
        let held = queue.place(&tenant("first"), 1, LONG).await.unwrap();
        let mut waiting = Vec::new();
        for (id, weight, seconds) in [("light", 1, 1), ("heavy", 4, 1), ("slow", 1, 4)] {
            for _ in 0..200 {
                let queue = Arc::clone(&queue);
                waiting.push(tokio::spawn(async move {
                    let place = queue.place(&tenant(id), weight, LONG).await.unwrap();
                    tokio::time::sleep(Duration::from_secs(seconds)).await;
                    drop(place);
                    id
                }));
            }
        }
        tokio::task::yield_now().await;
        drop(held);
        // A part of six seconds' turns goes to each: one to the light, four to the heavy, a quarter of one to the slow.
        tokio::time::sleep(Duration::from_secs(240)).await;
        let mut ended = std::collections::HashMap::<&str, usize>::new();
        for task in waiting {
            if task.is_finished() {
                *ended.entry(task.await.unwrap()).or_default() += 1;
            } else {
                task.abort();
            }
        }
        assert!((36..=44).contains(&ended["light"]), "{ended:?}");
        assert!((150..=170).contains(&ended["heavy"]), "{ended:?}");
        assert!((8..=12).contains(&ended["slow"]), "{ended:?}");
    }

    #[tokio::test]
    async fn who_leaves_the_line_leaves_no_gap_and_no_trace() {
        let queue = queue(1, 1, 10);
        let (a, b) = (tenant("a"), tenant("b"));
        let held = queue.place(&a, 1, LONG).await.unwrap();
        let mut leaving = Box::pin(queue.place(&b, 1, LONG));
        assert!((&mut leaving).now_or_never().is_none());
        drop(leaving);
        drop(held);
        drop(queue.place(&b, 1, LONG).now_or_never().unwrap().unwrap());
        let state = queue.lock();
        assert!(state.taken == 0 && state.lines.is_empty(), "{state:?}");
    }

    #[tokio::test]
    async fn no_more_places_are_out_than_there_are_however_they_come_and_go() {
        let queue = queue(4, 3, 1000);
        let out = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let tasks = (0..200).map(|i| {
            let (queue, out) = (Arc::clone(&queue), Arc::clone(&out));
            tokio::spawn(async move {
                let place = queue.place(&tenant(["a", "b", "c"][i % 3]), 1, LONG).await.unwrap();
                assert!(out.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 4);
                tokio::task::yield_now().await;
                out.fetch_sub(1, std::sync::atomic::Ordering::SeqCst);
                drop(place);
            })
        });
        for done in futures::future::join_all(tasks).await {
            done.unwrap();
        }
    }
}
