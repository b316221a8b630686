//! A tenant's secrets: set, listed by name, removed, and sealed anew when the key is replaced.

use secrecy::SecretString;
use vivarium_domain::{AuditAction, AuditBy, SealedSecret, SecretName, SecretUse, TenantId, Timestamp};
use vivarium_egress::Injection;
use vivarium_store::Write;

use crate::error::RegistryError;
use crate::service::{Place, Registry};

/// The most secrets of a tenant.
const MAX_SECRETS: usize = 200;

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    /// Its name.
    pub name: SecretName,
    /// Where it goes.
    pub inject: SecretUse,
    /// When it was set.
    pub set_at: Timestamp,
}

impl From<SealedSecret> for SecretInfo {
    fn from(secret: SealedSecret) -> Self {
        Self { name: secret.name, inject: secret.inject, set_at: secret.set_at }
    }
}

impl Registry {
    /// Sets a secret.
    ///
    /// # Errors
    /// When it can not be put where it should go, there are too many, or the store fails.
    pub async fn set_secret(
        &self,
        tenant: &TenantId,
        name: SecretName,
        inject: SecretUse,
        value: SecretString,
        by: &AuditBy,
    ) -> Result<SecretInfo, RegistryError> {
        Injection::new(&inject.host, &inject.header, &inject.prefix, value.clone())
            .map_err(|error| RegistryError::invalid("inject", format!("can not be used: {error}")))?;
        let _changing = self.0.changing.lock().await;
        let secrets = self.0.store.secrets(tenant).await?;
        if secrets.len() >= MAX_SECRETS && !secrets.iter().any(|secret| secret.name == name) {
            return Err(RegistryError::Full(format!("a tenant may have {MAX_SECRETS} secrets; remove one first")));
        }
        let sealed = self.0.vault.seal(tenant, name, inject, &value)?;
        let SecretUse { host, header, .. } = &sealed.inject;
        let note = by.did(AuditAction::SecretSet, &sealed.name).with("host", host).with("header", header);
        self.write(tenant, vec![Write::PutSecret(sealed.clone()), note.into()]).await?;
        self.changed(&Place::Tenant(tenant.clone()));
        Ok(sealed.into())
    }

    /// The tenant's secrets, by name, without their values.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn secrets(&self, tenant: &TenantId) -> Result<Vec<SecretInfo>, RegistryError> {
        Ok(self.0.store.secrets(tenant).await?.into_iter().map(SecretInfo::from).collect())
    }

    /// Removes a secret. False: there is none of this name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_secret(
        &self,
        tenant: &TenantId,
        name: &SecretName,
        by: &AuditBy,
    ) -> Result<bool, RegistryError> {
        let _changing = self.0.changing.lock().await;
        if !self.0.store.secrets(tenant).await?.iter().any(|secret| secret.name == *name) {
            return Ok(false);
        }
        self.write(tenant, vec![Write::DeleteSecret(name.clone()), by.did(AuditAction::SecretRemoved, name).into()])
            .await?;
        self.changed(&Place::Tenant(tenant.clone()));
        Ok(true)
    }

    /// The key that a tenant's webhooks are signed with: another one once the key that seals is replaced.
    #[must_use]
    pub fn webhook_key(&self, tenant: &TenantId) -> [u8; 32] {
        self.0.vault.derive(tenant, "webhooks")
    }

    /// Seals all secrets of a tenant anew that another key than the current one sealed. Gives how many.
    ///
    /// # Errors
    /// When one does not open, or the store fails.
    pub async fn reseal(&self, tenant: &TenantId, by: &AuditBy) -> Result<usize, RegistryError> {
        let _changing = self.0.changing.lock().await;
        let mut writes = Vec::new();
        for secret in self.0.store.secrets(tenant).await? {
            if !self.0.vault.is_current(&secret) {
                let value = self.0.vault.open(tenant, &secret)?;
                writes.push(Write::PutSecret(self.0.vault.seal(tenant, secret.name, secret.inject, &value)?));
            }
        }
        let count = writes.len();
        if count > 0 {
            writes.push(by.did(AuditAction::SecretsResealed, tenant).with("count", count).into());
        }
        self.write(tenant, writes).await?;
        Ok(count)
    }
}
