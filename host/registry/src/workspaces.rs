//! The sessions' workspaces: a folder each, below the tenant's own. Calls of one session that run at once share one
//! workspace, and so one count of what it holds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use vivarium_domain::{ContentHash, SessionId, TenantId};
use vivarium_sandbox::{FileQuota, Workspace};

use crate::error::RegistryError;

pub(crate) struct Workspaces {
    folder: PathBuf,
    open: Mutex<HashMap<PathBuf, Slot>>,
}

/// One session's workspace, while somebody has it open. Its lock is held while it is opened, which takes as long as looking
/// through its files does; others wait for nobody's but their own.
type Slot = Arc<Mutex<Weak<Workspace>>>;

/// A workspace that is removed when this is dropped.
pub struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        let folder = std::mem::take(&mut self.0);
        let remove = move || match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                tracing::warn!(folder = %folder.display(), %error, "the files of a call that has ended could not be removed");
            }
            _ => {}
        };
        // A folder of many files takes a while: not on an async thread, where there is one.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

impl Workspaces {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self { folder, open: Mutex::default() }
    }

    /// A session's id may hold what a file name may not: its hash names the folder.
    fn path(&self, tenant: &TenantId, session: &SessionId) -> PathBuf {
        let name = ContentHash::of(session.as_str().as_bytes()).to_string();
        self.folder.join(tenant.as_str()).join(name)
    }

    /// Lets a session's workspace go when the answer is dropped.
    pub(crate) fn scratch(&self, tenant: &TenantId, session: &SessionId) -> Scratch {
        Scratch(self.path(tenant, session))
    }

    /// Opens a session's workspace, which is made if it is not there. Blocks: it looks through what is there.
    pub(crate) fn open(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        quota: FileQuota,
    ) -> Result<Arc<Workspace>, RegistryError> {
        let path = self.path(tenant, session);
        let slot = self.slot(&path);
        // So that two calls at once do not count apart.
        let mut open = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workspace) = open.upgrade() {
            return Ok(workspace);
        }
        let workspace = Workspace::open(path, quota).map_err(|error| RegistryError::Workspace(error.to_string()))?;
        *open = Arc::downgrade(&workspace);
        Ok(workspace)
    }

    /// Removes the workspaces of all sessions of a tenant. Blocks.
    pub(crate) fn remove_tenant(&self, tenant: &TenantId) -> Result<(), RegistryError> {
        let folder = self.folder.join(tenant.as_str());
        match std::fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(RegistryError::Files(format!("{}: {error}", folder.display())))
            }
            _ => Ok(()),
        }
    }

    fn slot(&self, path: &Path) -> Slot {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = open.get(path) {
            return Arc::clone(slot);
        }
        // A slot that somebody holds is being opened; one whose workspace is alive is in use.
        let in_use = |slot: &Slot| slot.try_lock().is_ok_and(|workspace| workspace.strong_count() > 0);
        open.retain(|_, slot| Arc::strong_count(slot) > 1 || in_use(slot));
        Arc::clone(open.entry(path.to_owned()).or_default())
    }
}
