//! A session's workspace: one folder, and one count of what stands in it, which all calls of the session share.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// What a workspace may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileQuota {
    /// The lengths of all its files together; a sparse file counts by its length.
    pub bytes: u64,
    /// Files and folders.
    pub files: u64,
}

/// Why a workspace can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The folder can not be read or made.
    #[error("the workspace's folder {folder} can not be used: {error}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's words.
        error: std::io::Error,
    },
}

/// A folder with a quota. Shared by all calls of one session: two counts of one folder would both be wrong.
#[derive(Debug)]
pub struct Workspace {
    folder: PathBuf,
    quota: FileQuota,
    used: Mutex<FileQuota>,
}

impl Workspace {
    /// Opens the workspace in `folder`, which is made if it is not there, and measures what it holds.
    ///
    /// # Errors
    /// When the folder can not be made or read.
    pub fn open(folder: PathBuf, quota: FileQuota) -> Result<Arc<Self>, WorkspaceError> {
        let failed = |error| WorkspaceError::Folder { folder: folder.clone(), error };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let used = measure(&folder).map_err(failed)?;
        Ok(Arc::new(Self { folder, quota, used: Mutex::new(used) }))
    }

    /// What it holds now.
    #[must_use]
    pub fn used(&self) -> FileQuota {
        *self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn measure(folder: &Path) -> std::io::Result<FileQuota> {
    let mut used = FileQuota { bytes: 0, files: 0 };
    let mut ahead = vec![folder.to_owned()];
    while let Some(folder) = ahead.pop() {
        for entry in std::fs::read_dir(folder)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            used.files = used.files.saturating_add(1);
            if metadata.is_dir() {
                ahead.push(entry.path());
            } else {
                used.bytes = used.bytes.saturating_add(metadata.len());
            }
        }
    }
    Ok(used)
}
