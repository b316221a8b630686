//! What the index knows of the folder's files: enough to tell, without opening one, which of them changed.
//!
//! The manifest is a file beside the index, and the index's own commit names it. So the two can not disagree: a crash
//! between writing the one and committing the other leaves the commit before, which names the manifest before.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead as _, BufReader, BufWriter, Write as _};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::extract::SkipReason;

/// One file, as it was when it was indexed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FileRecord {
    #[serde(rename = "p")]
    pub(crate) location: String,
    #[serde(rename = "s")]
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    #[serde(rename = "m")]
    pub(crate) modified: u64,
    /// The first half of the SHA-256 of its bytes, in hex; empty where they were not read.
    #[serde(rename = "h", default, skip_serializing_if = "String::is_empty")]
    pub(crate) hash: String,
    /// It was modified so shortly before it was read that a later change might carry the same time: look again.
    #[serde(rename = "u", default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) unsettled: bool,
    #[serde(rename = "o")]
    pub(crate) outcome: Outcome,
}

/// What came of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Outcome {
    #[serde(rename = "i")]
    Indexed {
        #[serde(rename = "n")]
        passages: u32,
        #[serde(rename = "t", default, skip_serializing_if = "std::ops::Not::not")]
        truncated: bool,
    },
    #[serde(rename = "x")]
    Skipped(SkipReason),
}

/// All files, by location.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(crate) files: BTreeMap<String, FileRecord>,
}

/// What a commit of the index says of itself.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CommitNote {
    /// The version of extraction and schema that made it.
    pub(crate) format: u32,
    /// Where texts were cut.
    pub(crate) max_text_bytes: usize,
    /// The manifest's file name.
    pub(crate) files: String,
}

const PREFIX: &str = "files-";

impl Manifest {
    pub(crate) fn file_name(number: u64) -> String {
        format!("{PREFIX}{number}.jsonl")
    }

    pub(crate) fn number(file_name: &str) -> Option<u64> {
        file_name.strip_prefix(PREFIX)?.strip_suffix(".jsonl")?.parse().ok()
    }

    pub(crate) fn load(path: &Path) -> io::Result<Self> {
        let mut files = BTreeMap::new();
        for line in BufReader::new(File::open(path)?).lines() {
            let record: FileRecord = serde_json::from_str(&line?)?;
            files.insert(record.location.clone(), record);
        }
        Ok(Self { files })
    }

    /// Writes it so that it is wholly there or not at all.
    pub(crate) fn save(&self, path: &Path) -> io::Result<()> {
        let temporary = path.with_extension("tmp");
        let mut file = BufWriter::new(File::create(&temporary)?);
        for record in self.files.values() {
            serde_json::to_writer(&mut file, record)?;
            file.write_all(b"\n")?;
        }
        file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
        fs::rename(&temporary, path)
    }

    /// Removes every manifest in `folder` but the one that counts.
    pub(crate) fn remove_others(folder: &Path, keep: Option<&str>) -> io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some(name) = name.to_str().filter(|name| name.starts_with(PREFIX)) else { continue };
            if Some(name) != keep {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}
