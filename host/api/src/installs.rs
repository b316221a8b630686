//! Whose component is being installed. An upload is held in memory and a compiler is kept busy, so there is room for few at
//! one time; and one tenant has one of these places at a time, so that a flood of one tenant's components makes that tenant
//! wait and not the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedMutexGuard, Semaphore, SemaphorePermit};
use vivarium_domain::TenantId;

use crate::error::{ApiError, Kind};

/// Components that are installed at one time: each is held in memory.
const PLACES: usize = 4;

/// The places of installs.
pub(crate) struct Installs {
    places: Semaphore,
    turns: Mutex<HashMap<TenantId, Arc<tokio::sync::Mutex<()>>>>,
}

/// A place, and the tenant's turn. Dropping it gives both back.
pub(crate) struct Place<'a> {
    _turn: OwnedMutexGuard<()>,
    _place: SemaphorePermit<'a>,
}

impl Installs {
    pub(crate) fn new() -> Self {
        Self { places: Semaphore::new(PLACES), turns: Mutex::default() }
    }

    /// Waits for the tenant's turn and then for a place, with the body of the request unread.
    pub(crate) async fn place(&self, tenant: &TenantId, patience: Duration) -> Result<Place<'_>, ApiError> {
        let busy = "this tenant installs other plugins; try again when they are done";
        let turn = tokio::time::timeout(patience, self.turn(tenant).lock_owned());
        let turn = turn.await.map_err(|_| ApiError::new(Kind::TenantBusy, busy))?;
        let full = || ApiError::new(Kind::Overloaded, "many plugins are being installed already; try again later");
        let place = tokio::time::timeout(patience, self.places.acquire()).await.map_err(|_| full())?;
        Ok(Place { _turn: turn, _place: place.map_err(|_| full())? })
    }

    fn turn(&self, tenant: &TenantId) -> Arc<tokio::sync::Mutex<()>> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| Arc::strong_count(turn) > 1);
        Arc::clone(turns.entry(tenant.clone()).or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(20);
    const LONG: Duration = Duration::from_secs(60);

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    #[tokio::test]
    async fn a_tenant_that_installs_waits_for_itself_and_others_do_not() {
        let installs = Installs::new();
        let held = installs.place(&tenant("flood"), LONG).await.unwrap();
        let refused = installs.place(&tenant("flood"), SHORT).await.err().unwrap();
        assert_eq!(refused.code(), "tenant_busy");
        let other = installs.place(&tenant("other"), SHORT).await;
        assert!(other.is_ok());
        drop(held);
        assert!(installs.place(&tenant("flood"), LONG).await.is_ok());
    }

    #[tokio::test]
    async fn no_more_are_installed_at_once_than_there_is_room_for() {
        let installs = Installs::new();
        let mut held = Vec::new();
        for number in 0..PLACES {
            held.push(installs.place(&tenant(&format!("t{number}")), LONG).await.unwrap());
        }
        let refused = installs.place(&tenant("late"), SHORT).await.err().unwrap();
        assert_eq!(refused.code(), "overloaded");
        held.pop();
        assert!(installs.place(&tenant("late"), LONG).await.is_ok());
        assert!(installs.turns.lock().unwrap().len() <= PLACES + 1);
    }
}
