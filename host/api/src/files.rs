//! Requests that may bring files. Their bodies are many times as large as others', and for a while they are in memory several
//! times over: as they came, as JSON's texts, as bytes. So few of them are taken at one time, and of these no tenant has all.
//! A request whose head says that its body is an ordinary one needs no place.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::{HeaderMap, header};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use vivarium_domain::TenantId;

use crate::error::{ApiError, Kind};

/// Large bodies at one time.
const PLACES: usize = 16;

/// Those of one tenant.
const TENANT_PLACES: usize = 12;

/// The places of large bodies.
pub(crate) struct FilePlaces {
    places: Arc<Semaphore>,
    of_tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
}

/// A place for a large body. Dropping it gives it back.
pub(crate) struct FilePlace {
    _of_tenant: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl FilePlaces {
    pub(crate) fn new() -> Self {
        Self { places: Arc::new(Semaphore::new(PLACES)), of_tenants: Mutex::default() }
    }

    /// Waits for a place, with the body unread; none where the body is at most as large as an ordinary one.
    pub(crate) async fn place(
        &self,
        tenant: &TenantId,
        headers: &HeaderMap,
        ordinary_bytes: usize,
        patience: Duration,
    ) -> Result<Option<FilePlace>, ApiError> {
        if body_bytes(headers).is_some_and(|bytes| bytes <= ordinary_bytes) {
            return Ok(None);
        }
        let busy = || ApiError::new(Kind::TenantBusy, "this tenant sends other large requests; try again");
        let full = || ApiError::new(Kind::Overloaded, "many large requests are under way; try again");
        let of_tenant = tokio::time::timeout(patience, self.of_tenant(tenant).acquire_owned());
        let of_tenant = of_tenant.await.map_err(|_| busy())?.map_err(|_| busy())?;
        let place = tokio::time::timeout(patience, Arc::clone(&self.places).acquire_owned());
        let place = place.await.map_err(|_| full())?.map_err(|_| full())?;
        Ok(Some(FilePlace { _of_tenant: of_tenant, _place: place }))
    }

    /// Waits for a place for what is large in any case: an archive on its way in or out.
    pub(crate) async fn large(&self, tenant: &TenantId, patience: Duration) -> Result<FilePlace, ApiError> {
        let place = self.place(tenant, &HeaderMap::new(), 0, patience).await?;
        place.ok_or_else(ApiError::internal)
    }

    fn of_tenant(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut all = self.of_tenants.lock().unwrap_or_else(PoisonError::into_inner);
        // A place that is held holds its tenant's semaphore, too.
        all.retain(|_, places| Arc::strong_count(places) > 1);
        Arc::clone(all.entry(tenant.clone()).or_insert_with(|| Arc::new(Semaphore::new(TENANT_PLACES))))
    }
}

/// How large the request's head says that the body is.
fn body_bytes(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    const SHORT: Duration = Duration::from_millis(20);

    fn tenant(id: &str) -> TenantId {
        id.parse().unwrap()
    }

    fn length(bytes: u64) -> HeaderMap {
        HeaderMap::from_iter([(header::CONTENT_LENGTH, HeaderValue::from(bytes))])
    }

    #[tokio::test]
    async fn an_ordinary_body_waits_for_nobody_and_no_tenant_takes_all_places() {
        let places = FilePlaces::new();
        let mut held = Vec::new();
        for _ in 0..TENANT_PLACES {
            held.push(places.place(&tenant("a"), &length(1001), 1000, SHORT).await.unwrap().unwrap());
        }
        let refused = places.place(&tenant("a"), &HeaderMap::new(), 1000, SHORT).await.err().unwrap();
        assert_eq!(refused.code(), "tenant_busy");
        assert!(places.place(&tenant("a"), &length(1000), 1000, SHORT).await.unwrap().is_none());
        for _ in TENANT_PLACES..PLACES {
            held.push(places.place(&tenant("b"), &length(1001), 1000, SHORT).await.unwrap().unwrap());
        }
        let refused = places.place(&tenant("b"), &length(1001), 1000, SHORT).await.err().unwrap();
        assert_eq!(refused.code(), "overloaded");
        held.clear();
        assert!(places.place(&tenant("a"), &length(1001), 1000, SHORT).await.unwrap().is_some());
    }
}
