//! What the tools take; `build.rs` makes the JSON Schemas of it.

use schemars::JsonSchema;
use serde::Deserialize;

/// What to search for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Search {
    /// Words to search for.
    #[schemars(length(min = 1, max = 1000))]
    pub(crate) query: String,
    /// How many passages to give, 8 when it is not there.
    #[schemars(range(min = 1, max = 50))]
    pub(crate) max_hits: Option<u32>,
}

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Read {
    /// The document's location, as corpus_search gave it.
    #[schemars(length(min = 1, max = 4096))]
    pub(crate) location: String,
    /// What you want to know of the document: the parts that speak of it are given first.
    #[schemars(length(max = 1000))]
    pub(crate) focus: Option<String>,
}
