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
}
