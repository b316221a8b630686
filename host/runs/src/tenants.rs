//! The end of a tenant. Its runs are ended first; then its door is closed in the store, so that nothing is written of it any
//! more, whoever still works; then everything goes: what plugins have left outside the store, and last what is in it.

use std::collections::HashSet;
use std::sync::{Arc, PoisonError};

use vivarium_domain::{AuditBy, TenantId};
use vivarium_registry::RegistryError;
use vivarium_store::StoreError;

use crate::service::{Runs, STOP_PATIENCE};

/// Why a tenant was not deleted.
#[derive(Debug, thiserror::Error)]
pub enum TenantError {
    /// There is none.
    #[error("there is no such tenant")]
    NotFound,
    /// Something of it outside the store could not be removed. It is closed, and can be deleted again.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// The tenants that get no new runs: they are being deleted.
pub(crate) type Leaving = std::sync::Mutex<HashSet<TenantId>>;

/// A tenant that is closed, and waits to be deleted.
pub struct ClosedTenant {
    runs: Runs,
    tenant: TenantId,
}

impl Runs {
    /// Closes a tenant on behalf of `by`: its runs are cancelled, it gets no new ones, and its keys are no longer in the store. From here on
    /// the next start goes on with the deletion if this process does not.
    ///
    /// # Errors
    /// [`TenantError::NotFound`].
    pub async fn close_tenant(&self, tenant: &TenantId, by: &AuditBy) -> Result<ClosedTenant, TenantError> {
        let is_there = self.store().tenant(tenant).await?.is_some();
        if !is_there && !self.store().closed_tenants().await?.contains(tenant) {
            return Err(TenantError::NotFound);
        }
        self.leaving().insert(tenant.clone());
        let closed = ClosedTenant { runs: self.clone(), tenant: tenant.clone() };
        if tokio::time::timeout(STOP_PATIENCE, self.end_runs_of(tenant)).await.is_err() {
            tracing::warn!(%tenant, "some runs of a tenant that is being deleted do not stop; what they write is refused");
        }
        // False: another deletion has finished meanwhile, and nothing is left to be done.
        self.store().close_tenant(tenant, by).await?;
        self.0.accounts.forget(tenant);
        Ok(closed)
    }

    /// Cancels a tenant's runs, and waits until they have ended.
    async fn end_runs_of(&self, tenant: &TenantId) {
        let runs = self.0.table().of_tenant(tenant);
        for run in runs {
            self.tell_to_end(&(tenant.clone(), run), "its tenant is being deleted");
        }
        self.0.until(|table| table.of_tenant(tenant).is_empty()).await;
    }

    pub(crate) fn leaving(&self) -> std::sync::MutexGuard<'_, HashSet<TenantId>> {
        // Only whole entries go in and out.
        self.0.leaving.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClosedTenant {
    /// Deletes all of the tenant: what its plugins have left, its files, and everything that the store has of it.
    ///
    /// # Errors
    /// When something can not be removed.
    pub async fn delete(self) -> Result<(), TenantError> {
        let store = Arc::clone(self.runs.store());
        if store.closed_tenants().await?.contains(&self.tenant) {
            self.runs.registry().remove_tenant(&self.tenant).await?;
            store.delete_closed_tenant(&self.tenant).await?;
            self.runs.0.known_definitions.forget(&self.tenant);
        }
        Ok(())
    }
}

impl Drop for ClosedTenant {
    fn drop(&mut self) {
        self.runs.leaving().remove(&self.tenant);
    }
}
