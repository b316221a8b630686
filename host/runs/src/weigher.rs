//! How much of what tenants share goes to one of them.

use std::sync::Arc;

use vivarium_domain::{TenantId, Tier, TierWeights};
use vivarium_sandbox::Payer;
use vivarium_store::Store;

/// Knows each tenant's weight. It is asked for anew each time, so that a change counts at once: a look into memory.
pub(crate) struct Weigher {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) weights: TierWeights,
}

impl Weigher {
    /// A tenant's weight; of one that can not be read, the least tier's.
    pub(crate) async fn of(&self, tenant: &TenantId) -> u32 {
        let tier = match self.store.tenant(tenant).await {
            Ok(found) => found.map_or(Tier::Free, |tenant| tenant.tier),
            Err(error) => {
                tracing::warn!(%tenant, %error, "a tenant's tier can not be read; its weight is the least");
                Tier::Free
            }
        };
        self.weights.of(tier)
    }

    /// Who a tenant's processor time is shared out to.
    pub(crate) async fn payer(&self, tenant: &TenantId) -> Payer {
        Payer { id: tenant.as_str().into(), weight: self.of(tenant).await }
    }
}
