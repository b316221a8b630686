//! What the tool takes; `build.rs` makes the JSON Schema of it.

use schemars::JsonSchema;
use serde::Deserialize;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct ReadDocument {
    /// The file's format.
    pub(crate) format: Format,
    /// The file's bytes in standard base64.
    pub(crate) data: String,
    /// The character set of an HTML file, where its sender has named one.
    pub(crate) charset: Option<String>,
}

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Format {
    /// Portable Document Format.
    Pdf,
    /// Word, Office Open XML.
    Docx,
    /// Excel, Office Open XML.
    Xlsx,
    /// A web page.
    Html,
}
