//! What lies in a data folder.

use std::path::{Path, PathBuf};

/// The files and folders below this one whose names or bytes hold a text.
///
/// # Panics
/// When the folder can not be read.
#[must_use]
pub fn files_with(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder can be read").flatten() {
        let path = entry.path();
        let is_named = entry.file_name().to_string_lossy().contains(text);
        let holds = |path: &Path| {
            let bytes = std::fs::read(path).unwrap_or_default();
            memchr::memmem::find(&bytes, text.as_bytes()).is_some()
        };
        if path.is_dir() {
            found.extend(files_with(&path, text));
        }
        if is_named || path.is_file() && holds(&path) {
            found.push(path);
        }
    }
    found
}
