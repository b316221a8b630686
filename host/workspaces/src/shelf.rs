//! Where a session's snapshots are, beside its workspace: `objects/` has each content once, under its hash, and each snapshot is
//! two files, its tree and, written last, its record. What has no record is not there.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use vivarium_domain::{ContentHash, Snapshot, SnapshotId};

use crate::aside::Aside;
use crate::error::FilesError;
use crate::tree::{Tree, hash_and_copy, walk};

/// The snapshots of one session.
pub(crate) struct SnapshotShelf(PathBuf);

impl SnapshotShelf {
    pub(crate) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.0
    }

    fn objects(&self) -> PathBuf {
        self.0.join("objects")
    }

    /// Where a content is.
    pub(crate) fn object(&self, hash: ContentHash) -> PathBuf {
        self.objects().join(hash.to_string())
    }

    fn record(&self, id: SnapshotId) -> PathBuf {
        self.0.join(format!("{id}.json"))
    }

    fn tree_file(&self, id: SnapshotId) -> PathBuf {
        self.0.join(format!("{id}.tree"))
    }

    /// All records, the newest first.
    pub(crate) fn records(&self) -> Result<Vec<Snapshot>, FilesError> {
        let entries = match fs::read_dir(&self.0) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            entries => entries.map_err(FilesError::at(&self.0))?,
        };
        let mut records = Vec::new();
        for entry in entries {
            let path = entry.map_err(FilesError::at(&self.0))?.path();
            if path.extension().is_some_and(|extension| extension == "json") {
                records.push(read::<Snapshot>(&path)?);
            }
        }
        records.sort_by_key(|record: &Snapshot| std::cmp::Reverse(record.id));
        Ok(records)
    }

    /// One record.
    pub(crate) fn one(&self, id: SnapshotId) -> Result<Snapshot, FilesError> {
        read(&self.record(id))
    }

    /// What the files were.
    pub(crate) fn tree(&self, id: SnapshotId) -> Result<Tree, FilesError> {
        self.one(id)?;
        read(&self.tree_file(id))
    }

    /// The contents that a tree needs and that are not there, with their lengths together.
    pub(crate) fn missing(&self, tree: &Tree) -> (Vec<(String, ContentHash)>, u64) {
        let (mut missing, mut bytes, mut seen) = (Vec::new(), 0_u64, HashSet::new());
        for (path, file) in &tree.files {
            if seen.insert(file.hash) && !self.object(file.hash).exists() {
                missing.push((path.clone(), file.hash));
                bytes = bytes.saturating_add(file.bytes);
            }
        }
        (missing, bytes)
    }

    /// How many bytes all contents have together.
    pub(crate) fn bytes(&self) -> Result<u64, FilesError> {
        Ok(walk(&self.objects())?.iter().map(|found| found.bytes).fold(0, u64::saturating_add))
    }

    /// Keeps a snapshot of `folder`, whose contents that are missing here are these.
    pub(crate) fn keep(
        &self,
        aside: &Aside,
        folder: &Path,
        (record, tree): (&Snapshot, &Tree),
        missing: &[(String, ContentHash)],
    ) -> Result<(), FilesError> {
        let objects = self.objects();
        fs::create_dir_all(&objects).map_err(FilesError::at(&objects))?;
        for (path, hash) in missing {
            let place = aside.place()?;
            let from = folder.join(path);
            let copy = || hash_and_copy(&mut File::open(&from)?, &mut File::create_new(place.path())?);
            let (copied, _) = copy().map_err(FilesError::at(&from))?;
            if copied != *hash {
                return Err(FilesError::Disk(format!("{path}: it was changed while it was copied")));
            }
            fs::rename(place.path(), self.object(*hash)).map_err(FilesError::at(&objects))?;
        }
        write(aside, &self.tree_file(record.id), tree)?;
        write(aside, &self.record(record.id), record)
    }

    /// Removes a snapshot's record and tree. Its contents stay.
    pub(crate) fn forget(&self, id: SnapshotId) -> Result<(), FilesError> {
        for file in [self.record(id), self.tree_file(id)] {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(FilesError::at(&file)(error)),
                _ => {}
            }
        }
        Ok(())
    }

    /// Removes the contents that no snapshot has.
    pub(crate) fn sweep(&self) -> Result<(), FilesError> {
        let mut needed = HashSet::new();
        for record in self.records()? {
            needed.extend(self.tree(record.id)?.files.values().map(|file| file.hash.to_string()));
        }
        let objects = self.objects();
        for found in walk(&objects)? {
            if !needed.contains(&found.path) {
                let object = objects.join(found.path);
                fs::remove_file(&object).map_err(FilesError::at(&object))?;
            }
        }
        Ok(())
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, FilesError> {
    let bytes = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FilesError::NoSuchSnapshot),
        bytes => bytes.map_err(FilesError::at(path))?,
    };
    serde_json::from_slice(&bytes).map_err(|error| FilesError::Damaged(format!("{}: {error}", path.display())))
}

/// Whole or not at all.
fn write(aside: &Aside, path: &Path, value: &impl serde::Serialize) -> Result<(), FilesError> {
    let place = aside.place()?;
    let json = serde_json::to_vec(value).map_err(|error| FilesError::Disk(error.to_string()))?;
    let written = fs::write(place.path(), json).and_then(|()| fs::rename(place.path(), path));
    written.map_err(FilesError::at(path))
}
