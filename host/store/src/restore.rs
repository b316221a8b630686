//! The way of a backup back into a folder. It is for a folder that nobody else uses and that goes away if this fails: what is
//! there before [`Restore::finish`] is no store.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use vivarium_domain::{ContentHash, TenantId};

use crate::blobs::blob_path;
use crate::open::{self, OpenReport, StoreOptions};
use crate::settle::Disk;
use crate::view::Trees;
use crate::{SledStore, StoreError, journal};

/// A store that is put together from the pieces of a backup.
pub struct Restore {
    folder: PathBuf,
    disk: Disk,
    trees: Trees,
}

impl Restore {
    /// Begins a store in this folder, which is made, from a backup of a store of this schema.
    ///
    /// # Errors
    /// [`StoreError::Refused`] where this program does not read that schema; [`StoreError::Unavailable`] where the folder can
    /// not be used.
    pub fn begin(folder: &Path, schema: u32) -> Result<Self, StoreError> {
        fs::create_dir_all(folder.join("blobs")).map_err(|error| unavailable(folder, &error))?;
        let (disk, trees) = open::make_trees(&folder.join("tree"), schema)?;
        Ok(Self { folder: folder.to_owned(), disk, trees })
    }

    /// Takes some records.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where they do not read.
    pub fn records(&mut self, piece: &Bytes) -> Result<(), StoreError> {
        let ops = journal::decode(piece)
            .ok_or_else(|| StoreError::Corrupt("a piece of the backup's records does not read".to_owned()))?;
        self.trees.apply(ops.into_iter().map(|op| (op.table, op.key, op.value)))
    }

    /// Takes a blob. It is on disk when the restore is finished.
    ///
    /// # Errors
    /// When it can not be read or written.
    pub fn blob(&mut self, tenant: &TenantId, hash: ContentHash, content: &mut dyn Read) -> Result<(), StoreError> {
        let (folder, path) = blob_path(&self.folder.join("blobs"), tenant, hash);
        let written = fs::create_dir_all(&folder)
            .and_then(|()| File::create_new(&path))
            .and_then(|mut file| io::copy(content, &mut file));
        written.map(|_| ()).map_err(|error| unavailable(&path, &error))
    }

    /// Brings everything to disk, opens the store once, and says what that found: an earlier schema is brought into the present
    /// one, and the removal of a session that was under way is finished.
    ///
    /// # Errors
    /// When something can not be written, or the store does not open.
    pub fn finish(self) -> Result<OpenReport, StoreError> {
        let Self { folder, disk, trees } = self;
        disk.sync()?;
        // One sync for all blobs: they may be a million files.
        let synced = File::open(&folder).and_then(|opened| Ok(rustix::fs::syncfs(opened)?));
        synced.map_err(|error| unavailable(&folder, &error))?;
        drop((disk, trees));
        let (store, report) =
            SledStore::open_with(&folder, StoreOptions { reserve_bytes: 0, ..StoreOptions::default() })?;
        drop(store);
        Ok(report)
    }
}

fn unavailable(path: &Path, error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("{}: {error}", path.display()))
}
