//! Loaded plugins, by digest: a component is compiled once, whoever uses it. It holds nothing of a tenant's.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::Semaphore;
use vivarium_domain::ContentHash;
use vivarium_sandbox::{Plugin, Sandbox};

use crate::error::RegistryError;

/// Components that are compiled at one time. The compiler uses all cores by itself.
const COMPILING: usize = 1;

pub(crate) struct Shelf {
    sandbox: Sandbox,
    loaded: Mutex<HashMap<ContentHash, Arc<Plugin>>>,
    compiling: Semaphore,
}

impl Shelf {
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        Self { sandbox, loaded: Mutex::default(), compiling: Semaphore::new(COMPILING) }
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, HashMap<ContentHash, Arc<Plugin>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plugin with this digest, if it is loaded.
    pub(crate) fn get(&self, digest: ContentHash) -> Option<Arc<Plugin>> {
        self.loaded().get(&digest).cloned()
    }

    /// Loads a component, off the async threads. One that has to be compiled waits for its turn; one whose compiled form is
    /// kept does not, so that nobody's plugins wait for somebody else's install.
    pub(crate) async fn load(&self, bytes: Bytes) -> Result<Arc<Plugin>, RegistryError> {
        let digest = ContentHash::of(&bytes);
        let _turn = match self.sandbox.keeps(digest) {
            true => None,
            // The semaphore is never closed.
            false => self.compiling.acquire().await.ok(),
        };
        if let Some(plugin) = self.get(digest) {
            return Ok(plugin);
        }
        let sandbox = self.sandbox.clone();
        let loading = tokio::task::spawn_blocking(move || sandbox.load(&bytes));
        let plugin = loading.await.map_err(|error| RegistryError::BrokeOff(error.to_string()))??;
        Ok(Arc::clone(self.loaded().entry(digest).or_insert_with(|| Arc::new(plugin))))
    }

    /// Removes what was kept of a component that nobody has any more.
    pub(crate) fn forget(&self, digest: ContentHash) {
        self.sandbox.forget(digest);
    }

    /// Lets go of what nobody uses.
    pub(crate) fn sweep(&self) {
        self.loaded().retain(|_, plugin| Arc::strong_count(plugin) > 1);
    }
}
