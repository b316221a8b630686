//! The paths that a client may name: relative, plain, and the same on every system.

use std::fmt;
use std::str::FromStr;

use crate::error::FilesError;

/// The longest path, in bytes.
const MAX_BYTES: usize = 1024;
/// The longest name of a file or a folder, in bytes: what file systems take.
const MAX_NAME_BYTES: usize = 255;
/// Folders within folders.
const MAX_DEPTH: usize = 32;

/// A file's path within a workspace.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FilePath(String);

impl FilePath {
    /// The path as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folders above it, the outermost first.
    pub(crate) fn folders(&self) -> impl Iterator<Item = &str> {
        self.0.match_indices('/').filter_map(|(at, _)| self.0.get(..at))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for FilePath {
    type Err = FilesError;

    fn from_str(text: &str) -> Result<Self, FilesError> {
        let names: Vec<&str> = text.split('/').collect();
        let reason = if text.is_empty() {
            "it is empty"
        } else if text.len() > MAX_BYTES {
            "it has more than 1024 bytes"
        } else if text.starts_with('/') {
            "it must be relative to the workspace, without a leading slash"
        } else if text.contains('\\') {
            "folders are separated by /, and a name holds no \\"
        } else if text.contains(char::is_control) {
            "it holds a control character"
        } else if names.iter().any(|name| name.is_empty()) {
            "it has an empty name in it; two slashes, or one at the end"
        } else if names.iter().any(|name| matches!(*name, "." | "..")) {
            "it must not hold . or .. as a name"
        } else if names.iter().any(|name| name.len() > MAX_NAME_BYTES) {
            "a name in it has more than 255 bytes"
        } else if names.len() > MAX_DEPTH {
            "it is more than 32 folders deep"
        } else {
            return Ok(Self(text.to_owned()));
        };
        Err(FilesError::Path { path: text.chars().take(200).collect(), reason })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_path_stays_within_the_workspace_and_names_one_file() {
        for good in ["a", "src/main.py", "a b/ü.txt", ".gitignore", "...", "a/..b/c"] {
            assert!(good.parse::<FilePath>().is_ok(), "{good:?}");
        }
        let long = "x".repeat(256);
        let deep = "a/".repeat(40) + "b";
        for bad in
            ["", "/", "/etc/passwd", "..", "a/../b", "a/./b", "./a", "a//b", "a/", "a\\b", "a\nb", "a\0b", &long, &deep]
        {
            assert!(bad.parse::<FilePath>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_folders_above_a_file_are_told_from_the_outermost_on() {
        let path: FilePath = "a/b/c.txt".parse().unwrap();
        assert_eq!(path.folders().collect::<Vec<_>>(), ["a", "a/b"]);
    }

    proptest! {
        #[test]
        fn no_path_that_is_taken_leads_out_of_a_folder(text in "[./a\\\\\n]{0,12}") {
            if let Ok(path) = text.parse::<FilePath>() {
                let joined = std::path::Path::new("/w").join(path.as_str());
                prop_assert!(joined.starts_with("/w"));
                prop_assert!(joined.components().all(|part| part != std::path::Component::ParentDir));
            }
        }
    }
}
