//! Puts a backup back into a data folder that has no store: aside first, and under its own names when all sums are right.

use std::fs::{self, File};
use std::io::{self, BufReader};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use vivarium_store::{OpenReport, Restore};

use crate::archive::{self, ArchiveError, Item, Manifest};

/// Where a restore works, in the data folder.
const ASIDE: &str = "restoring";

/// Why a backup was not restored. Nothing of it is left then.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is something already.
    #[error("{0} is there already: a backup is restored into a folder that has none")]
    NotEmpty(PathBuf),
    /// Somebody else restores into the same folder now.
    #[error("another restore into {0} is under way")]
    Busy(PathBuf),
    /// The data folder can not be used.
    #[error("{folder}: {error}")]
    Folder {
        /// Which.
        folder: PathBuf,
        /// The system's words.
        error: io::Error,
    },
    /// The backup is not to be used.
    #[error("{file}: {error}")]
    Backup {
        /// The backup.
        file: PathBuf,
        /// What is wrong with it.
        error: ArchiveError,
    },
}

/// Restores a backup. Blocks. Gives what it held, and what opening its store once has found.
///
/// # Errors
/// See [`RestoreError`].
pub fn restore(file: &Path, data: &Path) -> Result<(Manifest, OpenReport), RestoreError> {
    for kept in ["store", "workspaces"] {
        let kept = data.join(kept);
        if kept.exists() {
            return Err(RestoreError::NotEmpty(kept));
        }
    }
    let refused = |error: ArchiveError| RestoreError::Backup { file: file.to_owned(), error };
    let opened = File::open(file).map_err(ArchiveError::io("it can not be opened")).map_err(refused)?;
    let place = Place::make(data)?;
    let restored = place.fill(opened).map_err(refused)?;
    place.name_it()?;
    Ok(restored)
}

/// Where a restore works. What is left in it goes when this is dropped.
struct Place<'a> {
    data: &'a Path,
    aside: PathBuf,
    /// The data folder was not there before.
    made: bool,
    /// Held while it works.
    _lock: File,
}

impl<'a> Place<'a> {
    fn make(data: &'a Path) -> Result<Self, RestoreError> {
        let failed = |error: io::Error| RestoreError::Folder { folder: data.to_owned(), error };
        let made = !data.exists();
        fs::create_dir_all(data).map_err(failed)?;
        let lock = File::open(data).map_err(failed)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| RestoreError::Busy(data.to_owned()))?;
        let place = Self { data, aside: data.join(ASIDE), made, _lock: lock };
        // What one that was killed has left.
        match fs::remove_dir_all(&place.aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => fs::create_dir(&place.aside).map_err(failed)?,
        }
        Ok(place)
    }

    fn fill(&self, file: File) -> Result<(Manifest, OpenReport), ArchiveError> {
        let (mut store, workspaces) = (None, self.aside.join("workspaces"));
        let no_head = || ArchiveError::NotWhole("it has no head".to_owned());
        let manifest = archive::read(BufReader::with_capacity(256 << 10, file), |item| {
            match item {
                Item::Head(head) => store = Some(Restore::begin(&self.aside.join("store"), head.schema)?),
                Item::Records(piece) => store.as_mut().ok_or_else(no_head)?.records(&piece)?,
                Item::Blob(tenant, hash, content) => {
                    store.as_mut().ok_or_else(no_head)?.blob(&tenant, hash, content)?;
                }
                Item::Folder(path) => {
                    let path = workspaces.join(path);
                    fs::create_dir_all(&path).map_err(ArchiveError::io(path.display().to_string()))?;
                }
                Item::File(path, content) => {
                    let path = workspaces.join(path);
                    let written = File::create_new(&path).and_then(|mut file| io::copy(content, &mut file));
                    written.map_err(ArchiveError::io(path.display().to_string()))?;
                }
            }
            Ok(())
        })?;
        // It brings the whole file system to disk, the workspaces too.
        let report = store.ok_or_else(no_head)?.finish()?;
        Ok((manifest, report))
    }

    /// Gives everything its name; the store last, because where that is, all is.
    fn name_it(self) -> Result<(), RestoreError> {
        let failed = |error: io::Error| RestoreError::Folder { folder: self.data.to_owned(), error };
        for name in ["workspaces", "store"] {
            match fs::rename(self.aside.join(name), self.data.join(name)) {
                Err(error) if name == "workspaces" && error.kind() == io::ErrorKind::NotFound => {}
                named => named.map_err(failed)?,
            }
        }
        File::open(self.data).and_then(|folder| folder.sync_all()).map_err(failed)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        // What can not be removed is litter; the next restore tries again.
        let _ = fs::remove_dir_all(&self.aside);
        if self.made {
            // Only if nothing came into it.
            let _ = fs::remove_dir(self.data);
        }
    }
}
