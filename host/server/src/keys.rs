//! The first tenant and the first key, which are made by starting the host.

use std::sync::Arc;

use secrecy::{ExposeSecret as _, SecretString};
use vivarium_api::{Keyring, hash_key};
use vivarium_domain::{Tenant, TenantId, Tier, Timestamp};
use vivarium_store::{Store, StoreError};

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

/// The tenants and keys of a data folder that no server has open.
///
/// # Errors
/// When the store does not open.
pub async fn open_keyring(config: &Config) -> Result<Keyring, StartError> {
    Ok(Keyring::new(open_store(&config.data).await?))
}

/// Gives an empty store its first tenant and key.
///
/// # Errors
/// When the store fails, or there is no randomness.
pub(crate) async fn first_key(store: &Arc<dyn Store>, chosen: Option<&SecretString>) -> Result<FirstKey, StartError> {
    if !store.tenants().await?.is_empty() {
        warn_of_an_unused_key(&**store, chosen).await?;
        return Ok(FirstKey::NotNew);
    }
    let tenant = Tenant::new(default_tenant()?, Tier::Enterprise, Timestamp::now());
    let made = Keyring::new(Arc::clone(store)).create_first(tenant, "first key", chosen.cloned()).await?;
    Ok(if chosen.is_some() { FirstKey::FromEnvironment } else { FirstKey::Made(made.text) })
}

async fn warn_of_an_unused_key(store: &dyn Store, chosen: Option<&SecretString>) -> Result<(), StoreError> {
    if let Some(key) = chosen
        && store.api_key_by_hash(hash_key(key.expose_secret())).await?.is_none()
    {
        tracing::warn!(
            "VIVARIUM_ADMIN_KEY is not used: it sets the first key of an empty data folder, and this one has keys"
        );
    }
    Ok(())
}
