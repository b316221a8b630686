//! What the tools take; `build.rs` makes the JSON Schemas of it.

use schemars::JsonSchema;
use serde::Deserialize;

/// Which files to list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct List {
    /// The folder to begin at; without it, the whole workspace.
    #[schemars(length(max = 1024))]
    pub(crate) path: Option<String>,
    /// Only files whose path fits, such as `**/*.py` or `src/*.{js,ts}`.
    #[schemars(length(min = 1, max = 500))]
    pub(crate) glob: Option<String>,
    /// How many folders deep; without it, all.
    #[schemars(range(min = 1, max = 32))]
    pub(crate) depth: Option<u32>,
    /// Also what `.gitignore` files leave out, and `.git`.
    pub(crate) all: Option<bool>,
}

/// What to read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Read {
    /// The file.
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) path: String,
    /// The first line to read, from 1; without it, 1.
    #[schemars(range(min = 1))]
    pub(crate) from_line: Option<u32>,
    /// The last line to read; without it, as many as fit.
    #[schemars(range(min = 1))]
    pub(crate) to_line: Option<u32>,
}

/// What to search for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Search {
    /// A regular expression, as Rust and RE2 have it: no look-around, no back-references. It is looked for line by line.
    #[schemars(length(min = 1, max = 1000))]
    pub(crate) pattern: String,
    /// The folder or file to search; without it, the whole workspace.
    #[schemars(length(max = 1024))]
    pub(crate) path: Option<String>,
    /// Only files whose path fits, such as `**/*.py`.
    #[schemars(length(min = 1, max = 500))]
    pub(crate) glob: Option<String>,
    /// Upper and lower case are the same.
    pub(crate) ignore_case: Option<bool>,
    /// Lines to show before and after each match.
    #[schemars(range(min = 0, max = 10))]
    pub(crate) context: Option<u32>,
    /// How many lines that match to show, 100 when it is not there.
    #[schemars(range(min = 1, max = 1000))]
    pub(crate) max_matches: Option<u32>,
    /// Also what `.gitignore` files leave out, and `.git`.
    pub(crate) all: Option<bool>,
}

/// What to write.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Write {
    /// The file; folders are made as they are needed.
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) path: String,
    /// All of its content.
    pub(crate) content: String,
    /// The hash that read_file gave for it: needed where the file is there, so that nothing is overwritten that you have not read.
    #[schemars(length(min = 8, max = 64))]
    pub(crate) hash: Option<String>,
}

/// One replacement.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Edit {
    /// The text to replace, exactly as it stands in the file, with its indentation and without line numbers. It must stand there once.
    #[schemars(length(min = 1))]
    pub(crate) old: String,
    /// The text to put in its place.
    pub(crate) new: String,
    /// Replace it wherever it stands.
    pub(crate) all: Option<bool>,
}

/// What to change in one file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct EditFile {
    /// The file.
    #[schemars(length(min = 1, max = 1024))]
    pub(crate) path: String,
    /// The hash that read_file gave for it.
    #[schemars(length(min = 8, max = 64))]
    pub(crate) hash: String,
    /// The replacements, made one after the other: all of them or none.
    #[schemars(length(min = 1, max = 100))]
    pub(crate) edits: Vec<Edit>,
}

/// What to patch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Patch {
    /// A unified diff of one or several files, with `--- a/path` and `+++ b/path` (`/dev/null` for a file that is not there) and hunks
    /// that begin with `@@ -1,3 +1,4 @@`.
    #[schemars(length(min = 1))]
    pub(crate) patch: String,
}

/// How far something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Open,
    Doing,
    Done,
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Item {
    /// What is to be done, in one line.
    #[schemars(length(min = 1, max = 300))]
    pub(crate) text: String,
    /// How far it is.
    pub(crate) status: Status,
}

/// The list of things to do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct Todo {
    /// The whole list, in place of the one before; without it, the list is only shown.
    #[schemars(length(max = 50))]
    pub(crate) items: Option<Vec<Item>>,
}
