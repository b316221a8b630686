//! What stands in a folder: its files with the hashes of their contents, and its folders.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, Metadata};
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vivarium_domain::{ContentHash, Timestamp};

use crate::error::FilesError;

/// How much of a file is in memory while it is hashed or copied.
const PIECE: usize = 64 << 10;

/// The state of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub(crate) struct Tree {
    /// The files, by path.
    pub(crate) files: BTreeMap<String, TreeFile>,
    /// The folders, by path; those with files in them, too.
    pub(crate) folders: BTreeSet<String>,
}

/// A file of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct TreeFile {
    pub(crate) bytes: u64,
    pub(crate) hash: ContentHash,
}

impl Tree {
    /// What stands in a folder now.
    pub(crate) fn of(folder: &Path) -> Result<Self, FilesError> {
        let mut tree = Self::default();
        for found in walk(folder)? {
            if found.is_folder {
                tree.folders.insert(found.path);
            } else {
                let (hash, bytes) = hash_file(&folder.join(&found.path)).map_err(FilesError::at(folder))?;
                tree.files.insert(found.path, TreeFile { bytes, hash });
            }
        }
        Ok(tree)
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.files.values().map(|file| file.bytes).fold(0, u64::saturating_add)
    }

    /// Files and folders.
    pub(crate) fn entries(&self) -> u64 {
        (self.files.len() + self.folders.len()) as u64
    }
}

/// Something that stands in a workspace.
#[derive(Debug)]
pub(crate) struct Found {
    /// Its path within the workspace.
    pub(crate) path: String,
    pub(crate) is_folder: bool,
    pub(crate) bytes: u64,
    pub(crate) modified_at: Timestamp,
}

/// All that stands in a folder, by path. What is neither file nor folder, and what has no name in UTF-8, no guest and no client
/// has put there: it is passed over. A folder that is not there holds nothing.
pub(crate) fn walk(folder: &Path) -> Result<Vec<Found>, FilesError> {
    let mut found = Vec::new();
    let mut ahead = vec![(folder.to_owned(), String::new())];
    while let Some((folder, above)) = ahead.pop() {
        let entries = match fs::read_dir(&folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            entries => entries.map_err(FilesError::at(&folder))?,
        };
        for entry in entries {
            let entry = entry.map_err(FilesError::at(&folder))?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let path = if above.is_empty() { name } else { format!("{above}/{name}") };
            // Of a link itself, not of what it points to.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_dir() {
                ahead.push((entry.path(), path.clone()));
            } else if !metadata.is_file() {
                continue;
            }
            let modified_at = modified(&metadata);
            found.push(Found { path, is_folder: metadata.is_dir(), bytes: metadata.len(), modified_at });
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

pub(crate) fn modified(metadata: &Metadata) -> Timestamp {
    metadata.modified().ok().and_then(|at| Timestamp::try_from(at).ok()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A file's hash and its length.
pub(crate) fn hash_file(path: &Path) -> io::Result<(ContentHash, u64)> {
    hash_and_copy(&mut File::open(path)?, &mut io::sink())
}

/// Copies what there is to read, and gives its hash and its length.
pub(crate) fn hash_and_copy(from: &mut impl io::Read, to: &mut impl io::Write) -> io::Result<(ContentHash, u64)> {
    let (mut hasher, mut bytes, mut piece) = (Sha256::new(), 0_u64, vec![0; PIECE]);
    loop {
        let read = from.by_ref().read(&mut piece)?;
        let Some(part) = piece.get(..read).filter(|part| !part.is_empty()) else { break };
        hasher.update(part);
        to.write_all(part)?;
        bytes = bytes.saturating_add(part.len() as u64);
    }
    let hash: [u8; 32] = hasher.finalize().into();
    Ok((ContentHash::from(hash), bytes))
}
