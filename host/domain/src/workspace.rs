//! The files of a session, as they are told of: which there are, snapshots of them, and how two states differ.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::id::{ContentHash, RunId, SnapshotId};

/// One file of a workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceFile {
    /// Its path within the workspace, with `/` between the folders.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its content: what `If-Match` takes.
    pub hash: ContentHash,
    /// When it was written last.
    pub modified_at: Timestamp,
}

/// What a snapshot was made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum SnapshotReason {
    /// A client asked for it.
    Asked,
    /// A run was about to write files for the first time.
    RunBegan,
    /// A run that may have written files has ended.
    RunEnded,
}

/// The files of a session as they were at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Snapshot {
    /// Its id.
    pub id: SnapshotId,
    /// What a person calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// What it was made for.
    pub reason: SnapshotReason,
    /// The run that it was made for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// How many files it has.
    pub files: u64,
    /// The lengths of its files together; equal files are kept once.
    pub bytes: u64,
}

/// What became of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum ChangeKind {
    /// It is new.
    Added,
    /// Its content is another one.
    Changed,
    /// It is gone.
    Removed,
}

/// One file that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct FileChange {
    /// Its path.
    pub path: String,
    /// What became of it.
    pub change: ChangeKind,
    /// It is not text, so its lines are not shown.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub binary: bool,
    /// It is too long to be compared line by line.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub too_long: bool,
    /// Lines that are there now and were not.
    pub added_lines: u64,
    /// Lines that were there and are not now.
    pub removed_lines: u64,
}

/// How two states of a workspace differ.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct WorkspaceChanges {
    /// The files that differ, by path.
    pub files: Vec<FileChange>,
    /// How many files differ beyond these.
    #[serde(default)]
    pub more_files: u64,
    /// The difference as a unified diff, in whole lines.
    pub diff: String,
    /// How many lines the diff has beyond these.
    #[serde(default)]
    pub more_lines: u64,
}
