//! Files and folders that are made beside the workspaces and take their places when they are whole. What a crash leaves of them
//! the next start removes.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tokio::io::AsyncWriteExt as _;

use crate::error::FilesError;

/// The folder for the meantime. No tenant has such an id.
const NAME: &str = ".aside";

/// Where things are for the meantime.
#[derive(Debug, Clone)]
pub(crate) struct Aside(PathBuf);

/// A file or a folder for the meantime: it goes with this, unless it has been moved.
#[derive(Debug)]
pub(crate) struct Leaving(PathBuf);

impl Leaving {
    pub(crate) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        let path = std::mem::take(&mut self.0);
        let remove = move || {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            match removed {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    tracing::warn!(path = %path.display(), %error, "files that nobody needs any more are still there");
                }
                _ => {}
            }
        };
        // A folder of many files takes a while: not on an async thread, where there is one.
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(remove)),
            Err(_) => remove(),
        }
    }
}

impl Aside {
    /// The folder below that of the workspaces, emptied of what an earlier process has left.
    pub(crate) fn of(workspaces: &Path) -> Self {
        let folder = workspaces.join(NAME);
        match fs::remove_dir_all(&folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(folder = %folder.display(), %error, "what an earlier process has left of unfinished work is still there");
            }
            _ => {}
        }
        Self(folder)
    }

    /// A place that nobody else has.
    pub(crate) fn place(&self) -> Result<Leaving, FilesError> {
        fs::create_dir_all(&self.0).map_err(FilesError::at(&self.0))?;
        Ok(Leaving(self.0.join(uuid::Uuid::now_v7().to_string())))
    }

    /// A new folder.
    pub(crate) fn folder(&self) -> Result<Leaving, FilesError> {
        let place = self.place()?;
        fs::create_dir(place.path()).map_err(FilesError::at(place.path()))?;
        Ok(place)
    }

    /// A file that nobody else finds.
    pub(crate) fn nameless_file(&self) -> Result<File, FilesError> {
        let place = self.place()?;
        let made = OpenOptions::new().read(true).write(true).create_new(true).open(place.path());
        let file = made.map_err(FilesError::at(place.path()))?;
        fs::remove_file(place.path()).map_err(FilesError::at(place.path()))?;
        Ok(file)
    }

    /// Takes something out of the way, to be removed. Nothing where it is not there.
    pub(crate) fn take(&self, path: &Path) -> Option<Leaving> {
        if !path.exists() {
            return None;
        }
        let place = self.place().inspect_err(|error| tracing::warn!(%error, "files can not be put aside")).ok()?;
        match fs::rename(path, place.path()) {
            Ok(()) => Some(place),
            // It is removed where it is.
            Err(_) => Some(Leaving(path.to_owned())),
        }
    }
}

/// A body on its way into a workspace: on the disk, so that a large one takes no memory, and not yet in its place.
#[derive(Debug)]
pub struct Incoming {
    pub(crate) place: Leaving,
    file: tokio::fs::File,
    bytes: u64,
    most: u64,
}

impl Incoming {
    pub(crate) async fn new(place: Leaving, most: u64) -> Result<Self, FilesError> {
        let made = tokio::fs::File::create_new(place.path()).await;
        let file = made.map_err(FilesError::at(place.path()))?;
        Ok(Self { place, file, bytes: 0, most })
    }

    /// Adds a piece.
    ///
    /// # Errors
    /// [`FilesError::TooLarge`], and when the disk refuses.
    pub async fn add(&mut self, piece: Bytes) -> Result<(), FilesError> {
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        if self.bytes > self.most {
            return Err(FilesError::TooLarge(self.most));
        }
        self.file.write_all(&piece).await.map_err(FilesError::at(self.place.path()))
    }

    /// All of it is there.
    ///
    /// # Errors
    /// When the disk refuses.
    pub async fn whole(mut self) -> Result<Whole, FilesError> {
        self.file.flush().await.map_err(FilesError::at(self.place.path()))?;
        self.file.sync_all().await.map_err(FilesError::at(self.place.path()))?;
        Ok(Whole { place: self.place, bytes: self.bytes })
    }
}

/// A body that is there, whole and on the disk.
#[derive(Debug)]
pub struct Whole {
    pub(crate) place: Leaving,
    pub(crate) bytes: u64,
}
