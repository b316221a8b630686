//! The key-value space of a plugin in a tenant, with its quota. One space is shared by all calls of the plugin in the
//! tenant, so that what they write together stays within it.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use vivarium_domain::{PluginName, TenantId};
use vivarium_sandbox::{StateError, StateView};
use vivarium_store::{Batch, MAX_STATE_VALUE, Store, StoreError, Write};

/// What a key costs besides its bytes and its value's, so that a flood of empty values is bounded too.
const KEY_COST: u64 = 64;

/// The most keys of a space that are looked through when its usage is measured.
const MAX_KEYS: usize = 1 << 20;

/// One plugin's space in one tenant. Clones are the same space.
#[derive(Clone)]
pub(crate) struct StateSpace(Arc<Space>);

struct Space {
    store: Arc<dyn Store>,
    tenant: TenantId,
    plugin: PluginName,
    /// What the space costs; none: not measured yet. Held while something is written.
    used: Mutex<Option<u64>>,
}

impl StateSpace {
    pub(crate) fn new(store: Arc<dyn Store>, tenant: TenantId, plugin: PluginName) -> Self {
        Self(Arc::new(Space { store, tenant, plugin, used: Mutex::new(None) }))
    }

    /// The space as a plugin sees it that may keep `quota_bytes` there.
    pub(crate) fn with_quota(&self, quota_bytes: u64) -> Arc<dyn StateView> {
        Arc::new(Quoted { space: Arc::clone(&self.0), quota_bytes })
    }

    /// Removes everything.
    pub(crate) async fn clear(&self) -> Result<(), StoreError> {
        let space = &self.0;
        let mut used = space.used.lock().await;
        loop {
            let keys = space.store.state_keys(&space.tenant, &space.plugin, "", 1_000).await?;
            if keys.is_empty() {
                *used = Some(0);
                return Ok(());
            }
            let delete = |(key, _)| Write::DeleteState { plugin: space.plugin.clone(), key };
            let writes = keys.into_iter().map(delete).collect();
            space.store.commit(&space.tenant, Batch { conditions: Vec::new(), writes }).await?;
        }
    }
}

struct Quoted {
    space: Arc<Space>,
    quota_bytes: u64,
}

fn cost(key: &str, value_bytes: usize) -> u64 {
    (key.len() as u64).saturating_add(value_bytes as u64).saturating_add(KEY_COST)
}

fn unavailable(error: &StoreError) -> StateError {
    tracing::error!(%error, "a plugin's state can not be read or written");
    StateError::Unavailable("the store does not answer; try again".to_owned())
}

impl Space {
    async fn measured(&self) -> Result<u64, StateError> {
        let keys = self.store.state_keys(&self.tenant, &self.plugin, "", MAX_KEYS).await;
        Ok(keys.map_err(|error| unavailable(&error))?.iter().map(|(key, bytes)| cost(key, *bytes)).sum())
    }

    async fn value(&self, key: &str) -> Result<Option<Bytes>, StateError> {
        self.store.state(&self.tenant, &self.plugin, key).await.map_err(|error| unavailable(&error))
    }

    /// Writes, if it leaves the space within `quota`.
    async fn write(&self, key: String, value: Option<Bytes>, quota: u64) -> Result<(), StateError> {
        let mut used = self.used.lock().await;
        let now = match *used {
            Some(used) => used,
            None => self.measured().await?,
        };
        let freed = self.value(&key).await?.map_or(0, |old| cost(&key, old.len()));
        let taken = value.as_ref().map_or(0, |value| cost(&key, value.len()));
        let after = now.saturating_sub(freed).saturating_add(taken);
        if after > quota && taken > freed {
            return Err(StateError::TooLarge(format!(
                "the space would have {after} bytes, {KEY_COST} for each key among them; at most {quota} are granted \
                 (limits.stateBytes)"
            )));
        }
        let plugin = self.plugin.clone();
        let write = match value {
            Some(value) => Write::PutState { plugin, key, value },
            None => Write::DeleteState { plugin, key },
        };
        // Not known until the write has succeeded.
        *used = None;
        let batch = Batch { conditions: Vec::new(), writes: vec![write] };
        self.store.commit(&self.tenant, batch).await.map_err(|error| unavailable(&error))?;
        *used = Some(after);
        Ok(())
    }
}

impl StateView for Quoted {
    fn get(&self, key: String) -> BoxFuture<'static, Result<Option<Vec<u8>>, StateError>> {
        let space = Arc::clone(&self.space);
        async move { Ok(space.value(&key).await?.map(|value| value.to_vec())) }.boxed()
    }

    fn set(&self, key: String, value: Vec<u8>) -> BoxFuture<'static, Result<(), StateError>> {
        let (space, quota) = (Arc::clone(&self.space), self.quota_bytes);
        async move {
            if value.len() > MAX_STATE_VALUE {
                let size = value.len();
                return Err(StateError::TooLarge(format!(
                    "the value has {size} bytes; at most {MAX_STATE_VALUE} are taken"
                )));
            }
            space.write(key, Some(value.into()), quota).await
        }
        .boxed()
    }

    fn delete(&self, key: String) -> BoxFuture<'static, Result<(), StateError>> {
        let (space, quota) = (Arc::clone(&self.space), self.quota_bytes);
        async move { space.write(key, None, quota).await }.boxed()
    }

    fn list(&self, prefix: String, max_keys: usize) -> BoxFuture<'static, Result<Vec<String>, StateError>> {
        let space = Arc::clone(&self.space);
        async move {
            let keys = space.store.state_keys(&space.tenant, &space.plugin, &prefix, max_keys.min(1_000)).await;
            Ok(keys.map_err(|error| unavailable(&error))?.into_iter().map(|(key, _)| key).collect())
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vivarium_store::SledStore;

    fn space(folder: &std::path::Path) -> StateSpace {
        let store: Arc<dyn Store> = Arc::new(SledStore::open(folder).unwrap().0);
        StateSpace::new(store, "acme".parse().unwrap(), "a/b".parse().unwrap())
    }

    #[tokio::test]
    async fn a_space_stays_within_its_quota_and_gives_back_what_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let space = space(folder.path());
        let state = space.with_quota(300);
        state.set("a".into(), vec![1; 100]).await.unwrap();
        let full = state.set("b".into(), vec![1; 100]).await.unwrap_err();
        assert!(matches!(&full, StateError::TooLarge(text) if text.contains("330 bytes")), "{full:?}");
        state.set("a".into(), vec![1; 200]).await.unwrap();
        state.delete("a".into()).await.unwrap();
        state.set("b".into(), vec![1; 200]).await.unwrap();
        assert_eq!(state.list(String::new(), 10).await.unwrap(), ["b"]);
        assert_eq!(state.get("b".into()).await.unwrap().unwrap().len(), 200);
        assert_eq!(state.get("a".into()).await.unwrap(), None);
    }

    #[tokio::test]
    async fn many_calls_at_once_do_not_get_past_the_quota_together() {
        let folder = tempfile::tempdir().unwrap();
        let space = space(folder.path());
        let writes = (0..50).map(|i| space.with_quota(1_000).set(format!("{i:02}"), vec![0; 34]));
        let done = futures::future::join_all(writes).await;
        assert_eq!(done.iter().filter(|done| done.is_ok()).count(), 10);
        space.clear().await.unwrap();
        assert_eq!(space.with_quota(1_000).list(String::new(), 10).await.unwrap(), [] as [&str; 0]);
    }

    #[tokio::test]
    async fn a_quota_that_was_lowered_still_lets_things_be_made_smaller() {
        let folder = tempfile::tempdir().unwrap();
        let space = space(folder.path());
        space.with_quota(10_000).set("a".into(), vec![0; 5_000]).await.unwrap();
        let low = space.with_quota(100);
        assert!(low.set("b".into(), Vec::new()).await.is_err());
        low.set("a".into(), vec![0; 10]).await.unwrap();
        low.delete("a".into()).await.unwrap();
    }
}
