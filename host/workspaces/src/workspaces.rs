//! The sessions' workspaces: a folder each, below the tenant's own. Calls of one session that run at once share one
//! workspace, and so one count of what it holds.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use vivarium_domain::{ContentHash, SessionId, TenantId};
use vivarium_sandbox::{FileQuota, Workspace};

use crate::aside::{Aside, Incoming, Leaving};
use crate::error::FilesError;
use crate::swap;

/// How much is kept of sessions' files.
#[derive(Debug, Clone)]
pub struct WorkspacesConfig {
    /// The folder of the sessions' workspaces.
    pub folder: PathBuf,
    /// The most snapshots of one session that clients have asked for.
    pub max_snapshots: usize,
    /// The most bytes of all snapshots of one session; equal files count once.
    pub max_snapshot_bytes: u64,
}

/// The files of all sessions.
pub struct Workspaces {
    pub(crate) config: WorkspacesConfig,
    pub(crate) aside: Aside,
    open: Mutex<HashMap<PathBuf, Slot>>,
}

/// One session's workspace, while somebody has it open. Its lock is held while it is opened, which takes as long as looking
/// through its files does; others wait for nobody's but their own.
type Slot = Arc<Mutex<Weak<Workspace>>>;

/// The files of a session; they are removed when this is dropped.
pub struct Scratch {
    workspaces: Arc<Workspaces>,
    folder: PathBuf,
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let Self { workspaces, folder } = self;
        // Out of the way at once, so that a new session of the same id finds nothing of this one; removed in its own time.
        workspaces.forget(folder);
        for path in [folder.clone(), swap::before(folder), snapshots_of(folder)] {
            drop(workspaces.aside.take(&path));
        }
    }
}

/// The folder of a workspace's snapshots.
pub(crate) fn snapshots_of(folder: &Path) -> PathBuf {
    folder.with_extension("snapshots")
}

impl Workspaces {
    /// Those below a folder. Blocks: it removes what an earlier process has left unfinished.
    #[must_use]
    pub fn new(config: WorkspacesConfig) -> Self {
        Self { aside: Aside::of(&config.folder), config, open: Mutex::default() }
    }

    /// A session's id may hold what a file name may not: its hash names the folder.
    pub(crate) fn path(&self, tenant: &TenantId, session: &SessionId) -> PathBuf {
        let name = ContentHash::of(session.as_str().as_bytes()).to_string();
        self.config.folder.join(tenant.as_str()).join(name)
    }

    /// Lets a session's files go when the answer is dropped.
    #[must_use]
    pub fn scratch(self: &Arc<Self>, tenant: &TenantId, session: &SessionId) -> Scratch {
        Scratch { workspaces: Arc::clone(self), folder: self.path(tenant, session) }
    }

    /// Opens a session's workspace, which is made if it is not there. Blocks: it looks through what is there.
    ///
    /// # Errors
    /// When the folder can not be made or read.
    pub fn open(&self, tenant: &TenantId, session: &SessionId, quota: FileQuota) -> Result<Arc<Workspace>, FilesError> {
        let path = self.path(tenant, session);
        let slot = self.slot(&path);
        // So that two calls at once do not count apart.
        let mut open = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(workspace) = open.upgrade() {
            return Ok(workspace);
        }
        swap::recover(&path)?;
        let workspace = Workspace::open(path, quota).map_err(|error| FilesError::Disk(error.to_string()))?;
        *open = Arc::downgrade(&workspace);
        Ok(workspace)
    }

    /// Does something with a session's folder while nobody has it open and nobody can open it. Blocks.
    pub(crate) fn alone<T>(
        &self,
        path: &Path,
        work: impl FnOnce(&Path) -> Result<T, FilesError>,
    ) -> Result<T, FilesError> {
        let slot = self.slot(path);
        let open = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if open.strong_count() > 0 {
            return Err(FilesError::InUse);
        }
        swap::recover(path)?;
        work(path)
    }

    /// A body that goes into a workspace, of at most so many bytes.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn incoming(&self, most: u64) -> Result<Incoming, FilesError> {
        let place: Leaving = self.aside.place()?;
        Incoming::new(place, most).await
    }

    /// Removes the files of all sessions of a tenant. Blocks.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove_tenant(&self, tenant: &TenantId) -> Result<(), FilesError> {
        let folder = self.config.folder.join(tenant.as_str());
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(FilesError::at(&folder)(error)),
            _ => Ok(()),
        }
    }

    /// Nobody who opens it from here on shares it with those who have it open.
    fn forget(&self, path: &Path) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).remove(path);
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

/// Does blocking work on a thread for it.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, FilesError> + Send + 'static,
) -> Result<T, FilesError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| FilesError::Disk(format!("the work broke off: {error}")))?
}
