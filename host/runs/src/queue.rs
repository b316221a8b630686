//! Places that tenants share. Where all are taken, whoever waits gets the next one in turn by tenant, the tenant with the
//! fewest places first; so a flood of one tenant's makes that tenant wait, and not the others.
//!
//! A plain semaphore would serve in the order of arrival: a thousand calls of one tenant would stand before the first
//! call of another. A limit per tenant alone would leave places empty when only one tenant is there.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use vivarium_domain::TenantId;

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

#[derive(Debug, Default)]
struct State {
    taken: usize,
    tenants: HashMap<TenantId, Line>,
    /// Tenants of whom somebody waits, in the order of their turns.
    turns: VecDeque<TenantId>,
}

#[derive(Debug, Default)]
struct Line {
    taken: usize,
    waiting: VecDeque<oneshot::Sender<Place>>,
}

/// A place; dropping it gives it to the next.
#[derive(Debug)]
pub(crate) struct Place {
    queue: Arc<FairQueue>,
    tenant: TenantId,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.give_back(&self.tenant);
    }
}

impl FairQueue {
    pub(crate) fn new(limits: QueueLimits) -> Arc<Self> {
        Arc::new(Self { limits, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counts and lines are changed together, without anything between that could panic.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place, at most so long. Dropping the future gives up the place in line.
    pub(crate) async fn place(self: &Arc<Self>, tenant: &TenantId, patience: Duration) -> Result<Place, NoPlace> {
        let turn = match self.enter(tenant)? {
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
        let waiting = state.tenants.values().flat_map(|line| &line.waiting).filter(|turn| !turn.is_closed()).count();
        Load { places: self.limits.places, taken: state.taken, waiting }
    }

    fn enter(self: &Arc<Self>, tenant: &TenantId) -> Result<Entered, NoPlace> {
        let mut state = self.lock();
        let free = state.taken < self.limits.places;
        let line = state.tenants.entry(tenant.clone()).or_default();
        line.waiting.retain(|waiting| !waiting.is_closed());
        if free && line.taken < self.limits.per_tenant && line.waiting.is_empty() {
            line.taken += 1;
            state.taken += 1;
            return Ok(Entered::Placed(Place { queue: Arc::clone(self), tenant: tenant.clone() }));
        }
        if line.waiting.len() >= self.limits.waiting_per_tenant {
            return Err(NoPlace::Tenant);
        }
        let (sender, turn) = oneshot::channel();
        let first = line.waiting.is_empty();
        line.waiting.push_back(sender);
        if first && !state.turns.contains(tenant) {
            state.turns.push_back(tenant.clone());
        }
        Ok(Entered::Waiting(turn))
    }

    fn why_not(&self, tenant: &TenantId) -> NoPlace {
        let state = self.lock();
        let own = state.tenants.get(tenant).map_or(0, |line| line.taken);
        if own >= self.limits.per_tenant { NoPlace::Tenant } else { NoPlace::Host }
    }

    fn give_back(self: &Arc<Self>, tenant: &TenantId) {
        let mut state = self.lock();
        state.taken = state.taken.saturating_sub(1);
        if let Some(line) = state.tenants.get_mut(tenant) {
            line.taken = line.taken.saturating_sub(1);
            if line.taken == 0 && line.waiting.is_empty() {
                state.tenants.remove(tenant);
            }
        }
        let placed = self.hand_out(&mut state);
        drop(state);
        for (turn, tenant) in placed {
            // Who has left gives the place back by dropping it, which must not happen under the lock.
            drop(turn.send(Place { queue: Arc::clone(self), tenant }));
        }
    }

    /// Gives free places to who waits.
    fn hand_out(&self, state: &mut State) -> Vec<(oneshot::Sender<Place>, TenantId)> {
        let mut placed = Vec::new();
        while state.taken < self.limits.places {
            let Some((turn, tenant)) = self.next(state) else { break };
            state.taken += 1;
            placed.push((turn, tenant));
        }
        placed
    }

    /// The next in turn: of the tenants that may have one more place, the one with the fewest.
    fn next(&self, state: &mut State) -> Option<(oneshot::Sender<Place>, TenantId)> {
        let State { tenants, turns, .. } = state;
        turns.retain(|tenant| {
            let Some(line) = tenants.get_mut(tenant) else { return false };
            line.waiting.retain(|waiting| !waiting.is_closed());
            !line.waiting.is_empty()
        });
        let taken = |tenant: &TenantId| tenants.get(tenant).map_or(0, |line| line.taken);
        let may = |tenant: &&TenantId| taken(tenant) < self.limits.per_tenant;
        let tenant = turns.iter().filter(may).min_by_key(|tenant| taken(tenant))?.clone();
        turns.retain(|other| *other != tenant);
        let line = tenants.get_mut(&tenant)?;
        let turn = line.waiting.pop_front()?;
        line.taken += 1;
        if !line.waiting.is_empty() {
            turns.push_back(tenant.clone());
        }
        Some((turn, tenant))
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
        let held = queue.place(&flood, LONG).await.unwrap();
        let mut flooding: Vec<_> = (0..50).map(|_| Box::pin(queue.place(&flood, LONG))).collect();
        assert!(flooding.iter_mut().all(|waiting| waiting.now_or_never().is_none()));
        let other = tenant("other");
        let mut late = Box::pin(queue.place(&other, LONG));
        assert!((&mut late).now_or_never().is_none());
        drop(held);
        // The flood was first in line; the next turn is the other tenant's.
        let first = flooding.iter_mut().find_map(|waiting| waiting.now_or_never()).unwrap().unwrap();
        drop(first);
        assert!(late.now_or_never().unwrap().is_ok());
    }

    #[tokio::test]
    async fn the_tenant_with_the_fewest_places_is_served_first() {
        let queue = queue(3, 3, 100);
        let (a, b) = (tenant("a"), tenant("b"));
        let mut held = vec![queue.place(&a, LONG).await.unwrap(), queue.place(&a, LONG).await.unwrap()];
        held.push(queue.place(&a, LONG).await.unwrap());
        let mut first = Box::pin(queue.place(&a, LONG));
        assert!((&mut first).now_or_never().is_none());
        let mut second = Box::pin(queue.place(&b, LONG));
        assert!((&mut second).now_or_never().is_none());
        held.pop();
        assert!(second.now_or_never().unwrap().is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_in_vain_is_told_whose_calls_are_in_the_way() {
        let queue = queue(2, 1, 1);
        let (a, b, c) = (tenant("a"), tenant("b"), tenant("c"));
        let _a = queue.place(&a, LONG).await.unwrap();
        let patience = Duration::from_secs(1);
        assert_eq!(queue.place(&a, patience).await.unwrap_err(), NoPlace::Tenant);
        let _b = queue.place(&b, LONG).await.unwrap();
        assert_eq!(queue.place(&c, patience).await.unwrap_err(), NoPlace::Host);
        let mut waiting = Box::pin(queue.place(&a, LONG));
        assert!((&mut waiting).now_or_never().is_none());
        assert_eq!(queue.place(&a, LONG).now_or_never().unwrap().unwrap_err(), NoPlace::Tenant);
    }

    #[tokio::test]
    async fn who_leaves_the_line_leaves_no_gap_and_no_trace() {
        let queue = queue(1, 1, 10);
        let (a, b) = (tenant("a"), tenant("b"));
        let held = queue.place(&a, LONG).await.unwrap();
        let mut leaving = Box::pin(queue.place(&b, LONG));
        assert!((&mut leaving).now_or_never().is_none());
        drop(leaving);
        drop(held);
        drop(queue.place(&b, LONG).now_or_never().unwrap().unwrap());
        let state = queue.lock();
        assert!(state.taken == 0 && state.tenants.is_empty(), "{state:?}");
    }

    #[tokio::test]
    async fn no_more_places_are_out_than_there_are_however_they_come_and_go() {
        let queue = queue(4, 3, 1000);
        let out = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let tasks = (0..200).map(|i| {
            let (queue, out) = (Arc::clone(&queue), Arc::clone(&out));
            tokio::spawn(async move {
                let place = queue.place(&tenant(["a", "b", "c"][i % 3]), LONG).await.unwrap();
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
