//! A workspace in the hands of the host itself: while it has it, no guest changes anything, and what it lets grow is within the
//! same quota.

use std::path::Path;
use std::sync::Arc;

use tokio::sync::OwnedMutexGuard;

use super::workspace::{Count, FileQuota, GrowError, Workspace};

/// The right to change a workspace, for as long as it is held. Guests' changes wait.
pub struct Alone {
    workspace: Arc<Workspace>,
    count: OwnedMutexGuard<Count>,
}

impl Workspace {
    /// Waits for the right to change the workspace.
    pub async fn alone(self: &Arc<Self>) -> Alone {
        Alone { workspace: Arc::clone(self), count: self.counted().await }
    }

    /// What it may hold.
    #[must_use]
    pub fn quota(&self) -> FileQuota {
        self.own_quota()
    }
}

impl Alone {
    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.workspace.path()
    }

    /// Takes the room for what the workspace is about to grow by. Blocks: it may look through the files.
    ///
    /// # Errors
    /// [`GrowError`] when that is more than there is room for.
    pub fn make_room(&mut self, more: FileQuota) -> Result<(), GrowError> {
        self.count.take_room(&self.workspace, more)
    }

    /// Something was removed, or did not grow as far as it might have.
    pub fn shrunk(&mut self) {
        self.count.is_stale();
    }
}
