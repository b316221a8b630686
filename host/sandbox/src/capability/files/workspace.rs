//! A session's workspace: one folder with a quota, and one count of what stands in it, which all calls of the session
//! share.
//!
//! Whatever makes the folder grow happens under one lock, from the look at the file's length to the write itself; so no two
//! calls can both take the last bytes. What shrinks it is not subtracted, but marks the count as stale: when the quota
//! seems full, the folder is measured anew. The count is thus never too low, and a walk is paid for by those who are near
//! their limit. A file that was removed while it is open still takes its place on the disk, and is counted.
//!
//! Reading takes no lock; opening does.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tokio::sync::{Mutex, OwnedMutexGuard};
use wasmtime_wasi::filesystem::Dir;
use wasmtime_wasi::{FsPerms, OpenMode};

/// The most files and folders of one workspace that are open at one time: each is a file descriptor of the whole process.
const MAX_OPEN: usize = 128;
/// How long a count that seems full is believed: the operator may have cleared up, and nobody tells us.
const BELIEVED: Duration = Duration::from_secs(10);
/// The most bytes of one write; a longer one is a partial write, which every guest's library goes on with.
pub(super) const MAX_WRITE_BYTES: usize = 1 << 20;

/// What a workspace may hold, or holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileQuota {
    /// The lengths of all its files together; a sparse file counts by its length.
    pub bytes: u64,
    /// Files and folders.
    pub files: u64,
}

impl FileQuota {
    fn plus(self, more: Self) -> Self {
        Self { bytes: self.bytes.saturating_add(more.bytes), files: self.files.saturating_add(more.files) }
    }

    fn fits(self, quota: Self) -> bool {
        self.bytes <= quota.bytes && self.files <= quota.files
    }
}

/// Why a workspace can not be opened.
#[derive(Debug, thiserror::Error)]
pub enum WorkspaceError {
    /// The folder can not be made or read.
    #[error("the workspace's folder {folder} can not be used: {error}")]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The system's words.
        error: io::Error,
    },
}

/// Why a file does not grow.
#[derive(Debug, thiserror::Error)]
pub enum GrowError {
    /// It may not hold so many bytes.
    #[error(
        "the workspace may hold {0} bytes, and this would be more; a grant with a higher `limits.fileBytes` would allow it"
    )]
    Bytes(u64),
    /// It may not hold so many files and folders.
    #[error(
        "the workspace may hold {0} files and folders, and this would be more; a grant with a higher `limits.files` would allow it"
    )]
    Files(u64),
    /// The disk refused.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Where in a file a write goes.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    At(u64),
    End,
}

/// A folder with a quota. To be opened once per session and shared: two counts of one folder would both be wrong.
pub struct Workspace {
    folder: PathBuf,
    quota: FileQuota,
    /// What the guest's paths start from: the folder as it was when the workspace was opened, whatever its name becomes.
    root: Dir,
    count: Arc<Mutex<Count>>,
}

/// What the workspace holds, as far as we know: never less than it does.
pub(super) struct Count {
    used: FileQuota,
    /// Something was removed since: there may be more room than it seems.
    stale: bool,
    measured: Instant,
    open: Vec<Weak<File>>,
}

/// The right to change the workspace, for one operation. Whoever has it is alone in that.
pub(crate) struct Change {
    workspace: Arc<Workspace>,
    count: OwnedMutexGuard<Count>,
}

impl std::fmt::Debug for Workspace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Workspace").field("folder", &self.folder).field("quota", &self.quota).finish_non_exhaustive()
    }
}

impl Workspace {
    /// Opens the workspace in `folder`, which is made if it is not there, and measures what it holds. Blocks.
    ///
    /// # Errors
    /// When the folder can not be made or opened.
    pub fn open(folder: PathBuf, quota: FileQuota) -> Result<Arc<Self>, WorkspaceError> {
        let failed = |error| WorkspaceError::Folder { folder: folder.clone(), error };
        std::fs::create_dir_all(&folder).map_err(failed)?;
        let folder = folder.canonicalize().map_err(failed)?;
        let root = File::open(&folder).map_err(|error| WorkspaceError::Folder { folder: folder.clone(), error })?;
        let root = Dir::new(root, FsPerms::ReadWrite, OpenMode::READ | OpenMode::WRITE, false);
        let used = measure(&folder, quota);
        let count = Arc::new(Mutex::new(Count { used, stale: false, measured: Instant::now(), open: Vec::new() }));
        Ok(Arc::new(Self { folder, quota, root, count }))
    }

    pub(super) async fn counted(&self) -> OwnedMutexGuard<Count> {
        Arc::clone(&self.count).lock_owned().await
    }

    pub(super) fn own_quota(&self) -> FileQuota {
        self.quota
    }

    pub(super) fn path(&self) -> &Path {
        &self.folder
    }

    /// What it holds. Measured anew where something was removed.
    pub async fn used(self: &Arc<Self>) -> FileQuota {
        let (workspace, mut count) = (Arc::clone(self), Arc::clone(&self.count).lock_owned().await);
        let used = count.used;
        let measured = tokio::task::spawn_blocking(move || {
            if count.stale {
                count.measure(&workspace);
            }
            count.used
        });
        measured.await.unwrap_or(used)
    }

    pub(crate) fn is_root(&self, folder: &Dir) -> bool {
        Arc::ptr_eq(&self.root.dir, &folder.dir)
    }

    /// The folder as a guest gets it.
    pub(crate) fn root(&self, may_write: bool) -> Dir {
        let mut root = self.root.clone();
        if !may_write {
            (root.perms, root.open_mode) = (FsPerms::ReadOnly, OpenMode::READ);
        }
        root
    }

    /// Waits for the right to change the workspace.
    pub(crate) async fn change(self: &Arc<Self>) -> Change {
        Change { workspace: Arc::clone(self), count: Arc::clone(&self.count).lock_owned().await }
    }

    /// Writes what may be written of `bytes`, and tells how much that was.
    pub(crate) async fn write(
        self: Arc<Self>,
        file: Arc<File>,
        place: Place,
        bytes: Bytes,
    ) -> Result<usize, GrowError> {
        let bytes = bytes.slice(..bytes.len().min(MAX_WRITE_BYTES));
        self.change_file(file, move |workspace, count, file, length| {
            let at = match place {
                Place::At(at) => at,
                Place::End => length,
            };
            let end = at.saturating_add(bytes.len() as u64);
            count.make_room(workspace, FileQuota { bytes: end.saturating_sub(length), files: 0 })?;
            Ok(write_at(file, &bytes, at)?)
        })
        .await
    }

    /// Sets a file's length.
    pub(crate) async fn set_size(self: Arc<Self>, file: Arc<File>, size: u64) -> Result<(), GrowError> {
        self.change_file(file, move |workspace, count, file, length| {
            count.make_room(workspace, FileQuota { bytes: size.saturating_sub(length), files: 0 })?;
            Ok(file.set_len(size)?)
        })
        .await
    }

    /// Lets `change` change the file, alone, and counts what it has grown by. Once begun it is done to its end, even if
    /// the guest is gone by then.
    async fn change_file<T: Send + 'static>(
        self: Arc<Self>,
        file: Arc<File>,
        change: impl FnOnce(&Self, &mut Count, &File, u64) -> Result<T, GrowError> + Send + 'static,
    ) -> Result<T, GrowError> {
        let mut count = Arc::clone(&self.count).lock_owned().await;
        let changed = tokio::task::spawn_blocking(move || {
            let before = file.metadata()?.len();
            let changed = change(&self, &mut count, &file, before);
            let after = file.metadata()?.len();
            count.used.bytes = count.used.bytes.saturating_add(after.saturating_sub(before));
            count.stale |= after < before;
            changed
        });
        changed.await.map_err(io::Error::other)?
    }
}

impl Change {
    /// Takes the room for one more file or folder.
    pub(crate) async fn one_more(self) -> Result<Self, GrowError> {
        let one = FileQuota { bytes: 0, files: 1 };
        let mut change = self;
        if !change.count.used.plus(one).fits(change.workspace.quota) {
            let measured = tokio::task::spawn_blocking(move || {
                let made = change.count.make_room(&change.workspace, one);
                made.map(|()| change)
            });
            change = measured.await.map_err(io::Error::other)??;
        }
        change.count.used = change.count.used.plus(one);
        // The caller may be cancelled before it knows whether anything was made.
        change.count.stale = true;
        Ok(change)
    }

    /// Nothing was made after all.
    pub(crate) fn give_back(mut self) {
        self.count.used.files = self.count.used.files.saturating_sub(1);
    }

    /// Something was removed or cut.
    pub(crate) fn shrunk(&mut self) {
        self.count.stale = true;
    }

    /// Whether one more file or folder may be open.
    pub(crate) fn may_open(&mut self) -> bool {
        self.count.open.retain(|file| file.strong_count() > 0);
        self.count.open.len() < MAX_OPEN
    }

    /// Counts an open file or folder for as long as anybody holds it.
    pub(crate) fn opened(&mut self, file: &Arc<File>) {
        self.count.open.push(Arc::downgrade(file));
    }
}

impl Count {
    /// Measures anew if `more` does not fit and something was removed since. Blocks.
    fn make_room(&mut self, workspace: &Workspace, more: FileQuota) -> Result<(), GrowError> {
        let quota = workspace.quota;
        if !self.used.plus(more).fits(quota) && (self.stale || self.measured.elapsed() > BELIEVED) {
            self.measure(workspace);
        }
        let after = self.used.plus(more);
        // What asks for no room gets it, even where the quota was lowered below what is there.
        if more.bytes > 0 && after.bytes > quota.bytes {
            return Err(GrowError::Bytes(quota.bytes));
        }
        if more.files > 0 && after.files > quota.files {
            return Err(GrowError::Files(quota.files));
        }
        Ok(())
    }

    pub(super) fn take_room(&mut self, workspace: &Workspace, more: FileQuota) -> Result<(), GrowError> {
        self.make_room(workspace, more)?;
        self.used = self.used.plus(more);
        Ok(())
    }

    pub(super) fn is_stale(&mut self) {
        self.stale = true;
    }

    fn measure(&mut self, workspace: &Workspace) {
        let open: Vec<Arc<File>> = self.open.iter().filter_map(Weak::upgrade).collect();
        let removed: u64 = open.iter().filter_map(|file| length_if_removed(file)).fold(0, u64::saturating_add);
        self.used = measure(&workspace.folder, workspace.quota).plus(FileQuota { bytes: removed, files: 0 });
        // A removed file that is still open gives its room back later.
        self.stale = removed > 0;
        self.measured = Instant::now();
    }
}

/// What stands in the folder. Where the walk can not be finished (a path too long for the system, more files than the
/// quota allows) the folder counts as full: what is not known must not be written on top of.
fn measure(folder: &Path, quota: FileQuota) -> FileQuota {
    walk(folder, quota.files).unwrap_or(FileQuota { bytes: u64::MAX, files: u64::MAX })
}

fn walk(folder: &Path, most_files: u64) -> Option<FileQuota> {
    let mut found = FileQuota::default();
    let mut ahead = vec![folder.to_owned()];
    while let Some(folder) = ahead.pop() {
        for entry in std::fs::read_dir(folder).ok()? {
            let entry = entry.ok()?;
            // Of a symbolic link itself, not of what it points to.
            let metadata = entry.metadata().ok()?;
            let is_folder = metadata.is_dir();
            found = found.plus(FileQuota { bytes: if is_folder { 0 } else { metadata.len() }, files: 1 });
            if found.files > most_files {
                return None;
            }
            if is_folder {
                ahead.push(entry.path());
            }
        }
    }
    Some(found)
}

#[cfg(unix)]
fn length_if_removed(file: &File) -> Option<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let metadata = file.metadata().ok()?;
    (metadata.nlink() == 0 && metadata.is_file()).then_some(metadata.len())
}

#[cfg(not(unix))]
fn length_if_removed(_file: &File) -> Option<u64> {
    None
}

#[cfg(unix)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<usize> {
    std::os::unix::fs::FileExt::write_at(file, bytes, at)
}

#[cfg(windows)]
fn write_at(file: &File, bytes: &[u8], at: u64) -> io::Result<usize> {
    std::os::windows::fs::FileExt::seek_write(file, bytes, at)
}
