//! The end of tenants where no client waits for it: on a data folder that no server has open, and at the start.

use vivarium_domain::{AuditBy, TenantId};
use vivarium_registry::Registry;
use vivarium_store::Store;

use crate::config::Config;
use crate::host::{StartError, without_server};
use crate::library;

/// Deletes a tenant of a data folder that no server has open, with all that is its own. False: there is none.
///
/// # Errors
/// When the store or the key can not be had, or something can not be removed.
pub async fn delete_tenant(config: &Config, tenant: &TenantId) -> Result<bool, StartError> {
    let (store, registry) = without_server(config).await?;
    if !store.close_tenant(tenant, &AuditBy::CLI).await? {
        return Ok(false);
    }
    library::remove(&config.data, tenant);
    delete_closed(&*store, &registry, tenant).await?;
    Ok(true)
}

async fn delete_closed(store: &dyn Store, registry: &Registry, tenant: &TenantId) -> Result<(), StartError> {
    registry.remove_tenant(tenant).await?;
    Ok(store.delete_closed_tenant(tenant).await?)
}

/// Goes on with the deletion of tenants that a process before this one has not finished.
pub(crate) async fn finish_deletions(store: &dyn Store, registry: &Registry) -> Result<(), StartError> {
    for tenant in store.closed_tenants().await? {
        delete_closed(store, registry, &tenant).await?;
        tracing::warn!(%tenant, "a tenant was deleted whose deletion the last process had not finished");
    }
    Ok(())
}
