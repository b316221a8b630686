//! Whether the guests have to be built again.
//!
//! Asking the inner cargo costs a second or more and, with Debian's compiler, a look at the whole standard library. A hash
//! over what goes in (sources and contract) and what came out (the components) answers in milliseconds.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::guests::{file_name, replace};
use crate::repository::Repository;

/// Changes whenever this program makes components in another way.
const RECIPE: &str = "1";

/// A file in `plugins/dist`, beside the components that it speaks of.
const FILE: &str = "fingerprint";

/// What goes into the guests.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Fingerprint(String);

impl Fingerprint {
    /// # Errors
    /// When a source can not be read.
    pub(crate) fn of_sources(repository: &Repository) -> Result<Self> {
        let mut hash = Sha256::new();
        hash.update(RECIPE);
        for folder in ["plugins", "wit"] {
            add_folder(&mut hash, &repository.root.join(folder), &["target", "dist"])?;
        }
        Ok(Self(hex::encode(hash.finalize())))
    }

    /// Whether `dist` holds the components of these packages, made of these sources, as they were written.
    pub(crate) fn still_fits(&self, dist: &Path, packages: &[String]) -> bool {
        let Ok(kept) = fs::read_to_string(dist.join(FILE)) else { return false };
        self.with_components(dist, packages).is_ok_and(|now| now == kept)
    }

    /// Keeps it for the next time.
    ///
    /// # Errors
    /// When `dist` can not be read or written.
    pub(crate) fn write(&self, dist: &Path, packages: &[String]) -> Result<()> {
        let text = self.with_components(dist, packages)?;
        replace(&dist.join(FILE), text.as_bytes())
    }

    fn with_components(&self, dist: &Path, packages: &[String]) -> Result<String> {
        let mut text = format!("sources {}\n", self.0);
        for package in packages {
            let path = dist.join(file_name(package));
            let bytes = fs::read(&path).with_context(|| format!("{} can not be read", path.display()))?;
            text.push_str(&format!("{} {}\n", file_name(package), hex::encode(Sha256::digest(&bytes))));
        }
        Ok(text)
    }
}

/// Adds names and contents, in the order of the names. `left_out` are folders at the top.
pub(crate) fn add_folder(hash: &mut Sha256, folder: &Path, left_out: &[&str]) -> Result<()> {
    let problem = || format!("{} can not be read", folder.display());
    let mut paths = BTreeSet::new();
    for entry in fs::read_dir(folder).with_context(problem)? {
        paths.insert(entry.with_context(problem)?.path());
    }
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if left_out.contains(&name.as_str()) {
            continue;
        }
        if path.is_dir() {
            hash.update(format!("folder {} {name}\n", name.len()));
            add_folder(hash, &path, &[])?;
            hash.update("end\n");
        } else {
            let bytes = fs::read(&path).with_context(|| format!("{} can not be read", path.display()))?;
            hash.update(format!("file {} {name} {}\n", name.len(), bytes.len()));
            hash.update(&bytes);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Clone {
        folder: tempfile::TempDir,
    }

    impl Clone {
        fn new() -> Self {
            let clone = Self { folder: tempfile::tempdir().unwrap() };
            for (path, text) in
                [("plugins/a/lib.rs", "fn a() {}"), ("wit/w.wit", "world w {}"), ("plugins/dist/a.wasm", "wasm")]
            {
                clone.write(path, text);
            }
            clone
        }

        fn write(&self, path: &str, text: &str) {
            let path = self.folder.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        fn repository(&self) -> Repository {
            Repository { root: self.folder.path().to_owned() }
        }

        fn fits(&self) -> bool {
            let repository = self.repository();
            Fingerprint::of_sources(&repository).unwrap().still_fits(&repository.dist(), &["a".to_owned()])
        }

        fn built(self) -> Self {
            let repository = self.repository();
            Fingerprint::of_sources(&repository).unwrap().write(&repository.dist(), &["a".to_owned()]).unwrap();
            assert!(self.fits());
            self
        }
    }

    #[test]
    fn guests_that_were_never_built_do_not_fit() {
        assert!(!Clone::new().fits());
    }

    #[test]
    fn a_changed_source_or_contract_is_seen() {
        for (path, text) in [("plugins/a/lib.rs", "fn b() {}"), ("wit/w.wit", "world v {}"), ("plugins/a/new.rs", "")] {
            let clone = Clone::new().built();
            clone.write(path, text);
            assert!(!clone.fits(), "{path}");
        }
    }

    #[test]
    fn a_lost_or_altered_component_is_seen() {
        let clone = Clone::new().built();
        clone.write("plugins/dist/a.wasm", "other");
        assert!(!clone.fits());
        fs::remove_file(clone.folder.path().join("plugins/dist/a.wasm")).unwrap();
        assert!(!clone.fits());
    }

    #[test]
    fn what_a_build_leaves_behind_changes_nothing() {
        let clone = Clone::new().built();
        clone.write("plugins/target/release/x", "anything");
        assert!(clone.fits());
    }

    #[test]
    fn the_same_bytes_under_another_division_are_another_source() {
        let clone = Clone::new().built();
        clone.write("plugins/a/lib.rs", "");
        clone.write("plugins/a/lib.rs2", "fn a() {}");
        assert!(!clone.fits());
    }
}
