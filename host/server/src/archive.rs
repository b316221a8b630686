//! What a backup looks like as one file: a tar, so that anybody can look into it, in which these stand one after the other:
//!
//! | Entry | Holds |
//! |---|---|
//! | `backup.json` | the form, the store's schema, the host's version, when ([`Head`]) |
//! | `records/<number>` | the store's records, in the order in which they are put back |
//! | `blobs/<tenant>/<hash>` | texts and files |
//! | `workspaces/<tenant>/<session>/…` | the files of sessions |
//! | `manifest.json` | the head again, and of each part how much it is and its SHA-256 ([`Manifest`]) |
//! | `manifest.sha256` | the SHA-256 of that |
//!
//! It is written in one go, to where nobody can go back, so the sums come last: what ends before them is no backup.

mod read;
mod write;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use vivarium_domain::{ContentHash, Timestamp};
use vivarium_store::StoreError;

pub(crate) use read::{Item, read};
pub(crate) use write::write;

/// The form of the file.
const FORMAT: u32 = 1;

const HEAD: &str = "backup.json";
const RECORDS: &str = "records";
const BLOBS: &str = "blobs";
const WORKSPACES: &str = "workspaces";
const MANIFEST: &str = "manifest.json";
const SUM: &str = "manifest.sha256";

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Head {
    /// The form of the file.
    pub format: u32,
    /// The form of the store's records.
    pub schema: u32,
    /// The version of the host that made it.
    pub version: String,
    /// When it was begun.
    pub at: Timestamp,
    /// Where the key of the secrets is, which is not in the backup.
    pub secrets_key: String,
}

/// One part of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// How many entries it has.
    pub entries: u64,
    /// What they hold together, in bytes.
    pub bytes: u64,
    /// SHA-256 over each entry's name and content, with their lengths.
    pub sha256: ContentHash,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// What it is of.
    #[serde(flatten)]
    pub head: Head,
    /// The store's records, in pieces.
    pub records: Part,
    /// Texts and files.
    pub blobs: Part,
    /// Blobs that were damaged already: their bytes have another hash than their name says.
    pub damaged_blobs: u64,
    /// The files of sessions, and their folders.
    pub workspaces: Part,
    /// Files that were changed while they were read, and may be in the backup half as before and half as after.
    pub changed_files: u64,
}

/// Why a backup can not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is none, or not the whole of one.
    #[error("it is no whole backup: {0}")]
    NotWhole(String),
    /// It is not what was written.
    #[error("it was changed since it was made: {0}")]
    Changed(String),
    /// It has a form that this program does not know.
    #[error("it has form {0}, and this program reads form {FORMAT}: another version of the program made it")]
    Form(u32),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A file can not be read or written.
    #[error("{what}: {error}")]
    Io {
        /// Which, or what of it.
        what: String,
        /// The system's words.
        error: std::io::Error,
    },
}

impl ArchiveError {
    pub(crate) fn io(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |error| Self::Io { what, error }
    }
}

/// Sums a part up, as it is written or read.
#[derive(Default)]
struct Sum {
    entries: u64,
    bytes: u64,
    hasher: Sha256,
}

impl Sum {
    /// An entry follows.
    fn entry(&mut self, name: &[u8], length: u64) {
        self.entries += 1;
        self.bytes += length;
        self.hasher.update((name.len() as u64).to_be_bytes());
        self.hasher.update(name);
        self.hasher.update(length.to_be_bytes());
    }

    fn part(self) -> Part {
        let Self { entries, bytes, hasher } = self;
        Part { entries, bytes, sha256: <[u8; 32]>::from(hasher.finalize()).into() }
    }
}
