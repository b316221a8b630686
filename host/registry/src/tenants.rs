//! The end of a tenant: what the registry keeps of it outside the store.

use std::sync::{Arc, PoisonError};

use vivarium_domain::TenantId;

use crate::error::RegistryError;
use crate::service::{Place, Registry};

impl Registry {
    /// Removes a tenant's components with the compiled forms that nobody else needs, the files of its sessions, and what is
    /// at hand of its plugins. The tenant is closed in the store, so nothing of it is made anew, and its records are still
    /// there: they say what its components are.
    ///
    /// # Errors
    /// When the store fails or the files can not be removed.
    pub async fn remove_tenant(&self, tenant: &TenantId) -> Result<(), RegistryError> {
        let changing = self.0.changing.lock().await;
        let records = self.0.store.plugins(tenant).await?;
        let digests = records.iter().flat_map(|record| record.versions.iter().map(|version| version.digest));
        self.forget_components(tenant, digests.collect()).await;
        self.0.spaces.lock().unwrap_or_else(PoisonError::into_inner).retain(|(owner, _), _| owner != tenant);
        self.changed(&Place::Tenant(tenant.clone()));
        drop(changing);
        let (workspaces, tenant) = (Arc::clone(&self.0.workspaces), tenant.clone());
        let removing = tokio::task::spawn_blocking(move || workspaces.remove_tenant(&tenant));
        let removed = removing.await.map_err(|error| RegistryError::BrokeOff(error.to_string()))?;
        removed.map_err(|error| RegistryError::Files(error.to_string()))
    }
}
