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

/// Components that wait to be compiled; further ones are refused.
const WAITING: usize = 16;

pub(crate) struct Shelf {
    sandbox: Sandbox,
    loaded: Mutex<HashMap<ContentHash, Arc<Plugin>>>,
    waiting: Semaphore,
    compiling: Semaphore,
}

impl Shelf {
    pub(crate) fn new(sandbox: Sandbox) -> Self {
        Self {
            sandbox,
            loaded: Mutex::default(),
            waiting: Semaphore::new(WAITING + COMPILING),
            compiling: Semaphore::new(COMPILING),
        }
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, HashMap<ContentHash, Arc<Plugin>>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The plugin with this digest, if it is loaded.
    pub(crate) fn get(&self, digest: ContentHash) -> Option<Arc<Plugin>> {
        self.loaded().get(&digest).cloned()
    }

    /// Loads a component: off the async threads, one after the other, and no more in line than is sensible.
    pub(crate) async fn load(&self, bytes: Bytes) -> Result<Arc<Plugin>, RegistryError> {
        let busy = || RegistryError::Busy("many plugins are being compiled already; try again later".to_owned());
        let _place = self.waiting.try_acquire().map_err(|_| busy())?;
        let _turn = self.compiling.acquire().await.map_err(|_| busy())?;
        let digest = ContentHash::of(&bytes);
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
