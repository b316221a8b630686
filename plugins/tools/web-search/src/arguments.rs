//! What the tool takes; `build.rs` makes the JSON Schema of it.

use schemars::JsonSchema;
use serde::Deserialize;

/// What to search for.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Search {
    /// Words to search for.
    #[schemars(length(min = 1, max = 1000))]
    pub(crate) query: String,
    /// How many results to give, 8 when it is not there.
    #[schemars(range(min = 1, max = 20))]
    pub(crate) max_results: Option<u32>,
}
