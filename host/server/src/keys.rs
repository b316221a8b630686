//! Tenants and keys, as an operator makes them: the first ones by starting the host, others by the command line.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use vivarium_api::{hash_key, new_key};
use vivarium_domain::{ApiKey, ContentHash, KeyId, Scope, Tenant, TenantId, Tier, Timestamp};
use vivarium_store::{Batch, Store, StoreError, Write};

use crate::config::Config;
use crate::host::{StartError, open_store};

/// The tenant that a new data folder begins with, and that the command line means where none is named.
///
/// # Errors
/// Never: its name is a good one.
pub fn default_tenant() -> Result<TenantId, vivarium_domain::IdError> {
    "default".parse()
}

/// Where a host's first key came from.
#[derive(Debug, Clone)]
pub enum FirstKey {
    /// The data folder has keys already.
    NotNew,
    /// `VIVARIUM_ADMIN_KEY` is the key.
    FromEnvironment,
    /// It was made, and is shown this once.
    Made(SecretString),
}

/// Tenants and keys of one store.
#[derive(Clone)]
pub struct Keys(Arc<dyn Store>);

impl Keys {
    /// Over this store.
    #[must_use]
    pub fn new(store: Arc<dyn Store>) -> Self {
        Self(store)
    }

    /// Those of a data folder that no server has open.
    ///
    /// # Errors
    /// When the store does not open.
    pub async fn open(config: &Config) -> Result<Self, StartError> {
        Ok(Self(open_store(&config.data).await?))
    }

    /// Gives an empty store its first tenant and key.
    ///
    /// # Errors
    /// When the store fails, or there is no randomness.
    pub async fn first(&self, chosen: Option<&SecretString>) -> Result<FirstKey, StartError> {
        if !self.0.tenants().await?.is_empty() {
            self.warn_of_an_unused_key(chosen).await?;
            return Ok(FirstKey::NotNew);
        }
        let text = match chosen {
            Some(key) => key.clone(),
            None => new_key().map_err(StartError::Randomness)?.into(),
        };
        let tenant = Tenant { id: default_tenant()?, tier: Tier::Enterprise, created_at: Timestamp::now() };
        let (hash, key) = record(&tenant.id, "first key", vec![Scope::Runs, Scope::Admin], &text);
        // Both or neither: a tenant without a key could never be entered.
        let writes = vec![Write::PutTenant(tenant.clone()), Write::PutApiKey { hash, key }];
        self.0.commit(&tenant.id, Batch { conditions: Vec::new(), writes }).await?;
        Ok(if chosen.is_some() { FirstKey::FromEnvironment } else { FirstKey::Made(text) })
    }

    async fn warn_of_an_unused_key(&self, chosen: Option<&SecretString>) -> Result<(), StoreError> {
        if let Some(key) = chosen
            && self.0.api_key_by_hash(hash_key(key.expose_secret())).await?.is_none()
        {
            tracing::warn!(
                "VIVARIUM_ADMIN_KEY is not used: it sets the first key of an empty data folder, and this one has keys"
            );
        }
        Ok(())
    }

    /// Makes a tenant. False: there is one of this name already.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn create_tenant(&self, id: &TenantId, tier: Tier) -> Result<bool, StoreError> {
        if id.as_str().starts_with('_') {
            // Those are the host's own: what the operator shares lies under one.
            return Err(StoreError::Refused(format!("a tenant's id does not begin with an underscore, as {id} does")));
        }
        if self.0.tenant(id).await?.is_some() {
            return Ok(false);
        }
        let tenant = Tenant { id: id.clone(), tier, created_at: Timestamp::now() };
        let batch = Batch { conditions: Vec::new(), writes: vec![Write::PutTenant(tenant)] };
        self.0.commit(id, batch).await?;
        Ok(true)
    }

    /// All tenants.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        self.0.tenants().await
    }

    /// Makes a key for a tenant: its text, which is kept nowhere, and its record. None: there is no such tenant.
    ///
    /// # Errors
    /// When the store fails, or there is no randomness.
    pub async fn create(
        &self,
        tenant: &TenantId,
        name: &str,
        scopes: Vec<Scope>,
    ) -> Result<Option<(SecretString, ApiKey)>, StartError> {
        if self.0.tenant(tenant).await?.is_none() {
            return Ok(None);
        }
        let text: SecretString = new_key().map_err(StartError::Randomness)?.into();
        let (hash, key) = record(tenant, name, scopes, &text);
        let batch = Batch { conditions: Vec::new(), writes: vec![Write::PutApiKey { hash, key: key.clone() }] };
        self.0.commit(tenant, batch).await?;
        Ok(Some((text, key)))
    }

    /// A tenant's keys, oldest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn of(&self, tenant: &TenantId) -> Result<Vec<ApiKey>, StoreError> {
        let mut keys: Vec<ApiKey> = self.0.api_keys(tenant).await?.into_iter().map(|(_, key)| key).collect();
        keys.sort_by_key(|key| key.id);
        Ok(keys)
    }

    /// Revokes a key, while no server has the store open. False: there is no such key, or it was revoked before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn revoke(&self, tenant: &TenantId, id: KeyId) -> Result<bool, StoreError> {
        let found = self.0.api_keys(tenant).await?.into_iter().find(|(_, key)| key.id == id);
        let Some((hash, mut key)) = found.filter(|(_, key)| key.revoked_at.is_none()) else { return Ok(false) };
        key.revoked_at = Some(Timestamp::now());
        let batch = Batch { conditions: Vec::new(), writes: vec![Write::PutApiKey { hash, key }] };
        self.0.commit(tenant, batch).await?;
        Ok(true)
    }
}

fn record(tenant: &TenantId, name: &str, scopes: Vec<Scope>, text: &SecretString) -> (ContentHash, ApiKey) {
    let key = ApiKey {
        id: KeyId::new(),
        tenant: tenant.clone(),
        name: name.to_owned(),
        scopes,
        created_at: Timestamp::now(),
        revoked_at: None,
    };
    (hash_key(text.expose_secret()), key)
}
