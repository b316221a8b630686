//! The workspace as the tools see it. The real one is the session's; tests have one in memory.

use vivarium_sdk::files::{Entry, FileError, Workspace};

/// Files to be written together: a path, and its content, or none where it is to be removed.
pub(crate) type Changes = Vec<(String, Option<Vec<u8>>)>;

/// A folder of files.
pub(crate) trait Disk {
    /// What stands in a folder; the empty path is the whole.
    fn entries(&self, folder: &str) -> Result<Vec<Entry>, FileError>;
    /// The length of a file; none: a folder stands there.
    fn length(&self, path: &str) -> Result<Option<u64>, FileError>;
    /// A file's bytes, at most so many.
    fn read(&self, path: &str, most: usize) -> Result<Vec<u8>, FileError>;
    /// Makes all changes, or none where there is no room for them.
    fn commit(&mut self, changes: Changes) -> Result<(), FileError>;
}

impl Disk for Workspace {
    fn entries(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        Self::entries(self, folder)
    }

    fn length(&self, path: &str) -> Result<Option<u64>, FileError> {
        Self::length(self, path)
    }

    fn read(&self, path: &str, most: usize) -> Result<Vec<u8>, FileError> {
        Self::read(self, path, most)
    }

    /// Everything is written beside its place first: what may fail for want of room fails there. Then all of it is renamed.
    fn commit(&mut self, changes: Changes) -> Result<(), FileError> {
        let mut staged: Vec<(String, String)> = Vec::new();
        let mut failed = None;
        for (path, content) in &changes {
            let Some(content) = content else { continue };
            let aside = aside(path);
            // One of a call that was stopped in the middle.
            let _ = self.remove(&aside);
            if let Err(error) = self.write_new(&aside, content) {
                failed = Some(error);
                break;
            }
            staged.push((aside, path.clone()));
        }
        if let Some(error) = failed {
            for (aside, _) in &staged {
                let _ = self.remove(aside);
            }
            return Err(error);
        }
        for (aside, path) in &staged {
            self.rename(aside, path)?;
        }
        for (path, _) in changes.iter().filter(|(_, content)| content.is_none()) {
            self.remove(path)?;
        }
        Ok(())
    }
}

/// Where a file is while it is written: a name that nobody gives a file of their own, in the same folder.
fn aside(path: &str) -> String {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    crate::text::join(folder, &format!(".{name}.vivarium-part"))
}
