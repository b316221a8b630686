//! Documents that a run has read, and the ledger's entries for them.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::id::ContentHash;

/// A document that a tool has read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Document {
    /// What a person calls it.
    pub title: String,
    /// An absolute URL, or the path within the corpus.
    pub location: String,
    /// The media type of `text`.
    pub media_type: String,
    /// The whole readable text.
    pub text: String,
}

/// A document in a run's ledger; its text is kept under `content_hash`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Source {
    /// `s1`, `s2`, … in the order of arrival.
    pub id: String,
    /// What a person calls it.
    pub title: String,
    /// An absolute URL, or the path within the corpus.
    pub location: String,
    /// The media type of the stored text.
    pub media_type: String,
    /// When the host received it.
    pub fetched_at: Timestamp,
    /// SHA-256 of the stored text.
    pub content_hash: ContentHash,
    /// Its length in bytes.
    pub length_bytes: u32,
    /// The tool that read it.
    pub tool: String,
}
