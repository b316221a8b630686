//! Which files a folder has. What its `.gitignore` and `.ignore` files name and what is hidden stays out, as a person
//! expects of a search over a checkout. Links are not followed: a folder of documents must not become a window to the
//! rest of the disk.

use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use ignore::WalkBuilder;

use crate::CorpusError;
use crate::extract::SkipReason;

/// A file that could be indexed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    /// Its path within the folder, with `/`.
    pub(crate) location: String,
    pub(crate) path: PathBuf,
    pub(crate) size: u64,
    /// Nanoseconds since 1970.
    pub(crate) modified: u64,
}

/// A folder's files, and why others are not among them.
#[derive(Debug, Default)]
pub(crate) struct Walked {
    pub(crate) files: Vec<Found>,
    pub(crate) skipped: Vec<SkipReason>,
}

/// Walks `folder`, which is canonical, leaving out `index_dir`. `seen` is told how many files were found so far.
pub(crate) fn walk(folder: &Path, index_dir: &Path, seen: &mut dyn FnMut(u64)) -> Result<Walked, CorpusError> {
    let mut walked = Walked::default();
    let leave_out = index_dir.to_owned();
    let entries = WalkBuilder::new(folder)
        .follow_links(false)
        .parents(false)
        .git_global(false)
        .git_exclude(false)
        .require_git(false)
        .filter_entry(move |entry| entry.path() != leave_out)
        .build();
    for entry in entries {
        let entry = match entry {
            Ok(entry) => entry,
            Err(error) if error.depth() == Some(0) => return Err(unreadable(folder, &error)),
            Err(error) => {
                tracing::warn!(%error, "a part of the corpus is unreadable");
                walked.skipped.push(SkipReason::Unreadable);
                continue;
            }
        };
        match look_at(folder, &entry) {
            Some(Ok(found)) => walked.files.push(found),
            Some(Err(reason)) => walked.skipped.push(reason),
            None => {}
        }
        if walked.files.len() % 1000 == 0 {
            seen(walked.files.len() as u64);
        }
    }
    walked.files.sort_unstable_by(|a, b| a.location.cmp(&b.location));
    Ok(walked)
}

fn unreadable(folder: &Path, error: &ignore::Error) -> CorpusError {
    CorpusError::Unavailable(format!("the folder {} can not be read: {error}", folder.display()))
}

/// None for folders.
fn look_at(folder: &Path, entry: &ignore::DirEntry) -> Option<Result<Found, SkipReason>> {
    let kind = entry.file_type()?;
    if kind.is_dir() {
        return None;
    }
    if kind.is_symlink() {
        return Some(Err(SkipReason::SymbolicLink));
    }
    if !kind.is_file() {
        return Some(Err(SkipReason::NotAFile));
    }
    let Some(location) = location(folder, entry.path()) else { return Some(Err(SkipReason::BadName)) };
    let Ok(metadata) = entry.metadata() else { return Some(Err(SkipReason::Unreadable)) };
    let path = entry.path().to_owned();
    Some(Ok(Found { location, path, size: metadata.len(), modified: modified(&metadata) }))
}

fn location(folder: &Path, path: &Path) -> Option<String> {
    let parts: Option<Vec<&str>> =
        path.strip_prefix(folder).ok()?.components().map(|part| part.as_os_str().to_str()).collect();
    parts.map(|parts| parts.join("/")).filter(|location| !location.is_empty())
}

/// When a file was last written, in nanoseconds since 1970; 0 where the file system does not say.
pub(crate) fn modified(metadata: &std::fs::Metadata) -> u64 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since.and_then(|since| u64::try_from(since.as_nanos()).ok()).unwrap_or(0)
}
