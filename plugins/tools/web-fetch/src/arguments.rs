//! What the tool takes; `build.rs` makes the JSON Schema of it.

use schemars::JsonSchema;
use serde::Deserialize;

/// What to read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Fetch {
    /// The page's absolute http or https URL.
    #[schemars(length(min = 1, max = 8192))]
    pub(crate) url: String,
    /// What you want to know of the page: the parts that speak of it are given first.
    #[schemars(length(max = 1000))]
    pub(crate) focus: Option<String>,
    /// Where in the document's text to begin, in bytes: what an earlier answer has named to go on. 0 when it is not there.
    #[schemars(range(max = 1_048_576))]
    pub(crate) start: Option<u32>,
    /// How much of the text to give, in bytes; 24576 when it is not there.
    #[schemars(range(min = 200, max = 262_144))]
    pub(crate) max_bytes: Option<u32>,
}
