//! What the tool takes; `build.rs` makes the JSON Schema of it.

use schemars::JsonSchema;
use serde::Deserialize;

/// What the code is written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Language {
    // Words of their own for each would hide from an error which languages there are.
    Javascript,
    Python,
    Wasm,
}

/// What to run.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct RunCode {
    /// What the code is written in.
    pub(crate) language: Language,
    /// The code itself. Either this, or `path`, or `module`.
    #[schemars(length(min = 1, max = 500_000))]
    pub(crate) code: Option<String>,
    /// A file of the workspace with the code, such as `src/main.py`; for wasm always this.
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) path: Option<String>,
    /// What `python -m` takes: `pytest` or `unittest`, which run tests, or a module of the workspace. For javascript `test`, which runs the
    /// test files. Which tests is said in `args`, such as `["two_fer_test.py"]`; without, all.
    #[schemars(length(min = 1, max = 200))]
    pub(crate) module: Option<String>,
    /// The program's arguments: `process.argv.slice(2)`, `sys.argv[1:]`.
    #[schemars(length(max = 100))]
    pub(crate) args: Option<Vec<String>>,
    /// What the program reads from its standard input. Without it that is empty.
    #[schemars(length(max = 1_000_000))]
    pub(crate) stdin: Option<String>,
    /// How long the program may take, in milliseconds. Without it: as long as the call may.
    #[schemars(range(min = 1, max = 600_000))]
    pub(crate) timeout_ms: Option<u32>,
}
