//! The audit log of a data folder that no server has open.

use std::sync::Arc;

use vivarium_domain::{AuditCheck, AuditEntry, AuditFault, AuditHead, TenantId};
use vivarium_store::{Store, StoreError};

use crate::config::Config;
use crate::host::{StartError, open_store};

/// How many entries are read at a time.
const PIECE: usize = 200;

/// The chains of one data folder.
pub struct AuditLog(Arc<dyn Store>);

impl AuditLog {
    /// Those of a data folder that no server has open.
    ///
    /// # Errors
    /// When the store does not open.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        Ok(Self(open_store(&config.data).await?))
    }

    /// Whose chains there are: the operator's first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn chains(&self) -> Result<Vec<TenantId>, StoreError> {
        let mut chains = vec![TenantId::operator()];
        chains.extend(self.0.tenants().await?.into_iter().map(|tenant| tenant.id));
        Ok(chains)
    }

    /// The newest entries of a chain, the newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn newest(&self, tenant: &TenantId, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        Ok(self.0.audit(tenant, None, limit).await?.items)
    }

    /// A chain's end, and what is wrong with the chain; `kept` is a head of it that was kept elsewhere.
    ///
    /// # Errors
    /// When the store fails, or an entry does not read.
    pub async fn verify(
        &self,
        tenant: &TenantId,
        kept: Option<AuditHead>,
    ) -> Result<(AuditHead, Vec<AuditFault>), StoreError> {
        let (mut check, mut after) = (AuditCheck::new(tenant, kept), 0);
        loop {
            let page = self.0.audit_from(tenant, after, PIECE).await?;
            page.items.iter().for_each(|entry| check.next(entry));
            let Some(next) = page.next else { break };
            after = next;
        }
        Ok(check.end(self.0.audit_head(tenant).await?))
    }
}
