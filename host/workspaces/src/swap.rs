//! Putting another folder in a workspace's place: all of it or nothing, also where the host is killed in the middle. The new
//! folder is made aside and brought to the disk, and then the two change places in one step of the file system.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::aside::Leaving;
use crate::error::FilesError;

/// Where a workspace's folder is for a moment on systems that can not exchange two folders in one step.
pub(crate) fn before(folder: &Path) -> PathBuf {
    folder.with_extension("before")
}

/// Puts back what was on its way out when the host was killed. Blocks.
pub(crate) fn recover(folder: &Path) -> Result<(), FilesError> {
    let before = before(folder);
    if folder.exists() || !before.exists() {
        return Ok(());
    }
    fs::rename(&before, folder).map_err(FilesError::at(folder))
}

/// Puts `new` in the place of `folder`, which goes. Blocks.
pub(crate) fn replace(folder: &Path, new: Leaving) -> Result<(), FilesError> {
    let failed = FilesError::at(folder);
    let replaced = || {
        bring_to_disk(new.path())?;
        let parent = folder.parent().unwrap_or(Path::new("."));
        fs::create_dir_all(parent)?;
        if folder.exists() {
            // The old one is in the new one's place then, and goes with it.
            exchange(new.path(), folder)?;
        } else {
            fs::rename(new.path(), folder)?;
        }
        File::open(parent)?.sync_all()
    };
    replaced().map_err(failed)
}

#[cfg(target_os = "linux")]
fn exchange(new: &Path, folder: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, new, CWD, folder, RenameFlags::EXCHANGE) {
        // A file system that can not: in two steps, and the next one who opens it makes good what is cut short.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => in_two_steps(new, folder),
        exchanged => Ok(exchanged?),
    }
}

#[cfg(not(target_os = "linux"))]
fn exchange(new: &Path, folder: &Path) -> io::Result<()> {
    in_two_steps(new, folder)
}

fn in_two_steps(new: &Path, folder: &Path) -> io::Result<()> {
    let before = before(folder);
    if before.exists() {
        fs::remove_dir_all(&before)?;
    }
    fs::rename(folder, &before)?;
    fs::rename(new, folder)?;
    fs::remove_dir_all(&before)
}

/// Brings what was written below a folder to the disk.
pub(crate) fn bring_to_disk(folder: &Path) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(File::open(folder)?)?;
    #[cfg(not(target_os = "linux"))]
    for found in crate::tree::walk(folder).map_err(io::Error::other)? {
        if !found.is_folder {
            File::open(folder.join(found.path))?.sync_all()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::aside::Aside;

    #[test]
    fn a_replacement_that_is_cut_short_leaves_the_old_or_the_new() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("t/w");
        let aside = Aside::of(root.path());
        let with = |text: &str| {
            let new = aside.folder().unwrap();
            fs::write(new.path().join("f"), text).unwrap();
            new
        };
        replace(&folder, with("one")).unwrap();
        replace(&folder, with("two")).unwrap();
        assert_eq!(fs::read_to_string(folder.join("f")).unwrap(), "two");
        // As a kill between the two steps leaves it.
        fs::rename(&folder, before(&folder)).unwrap();
        recover(&folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join("f")).unwrap(), "two");
        in_two_steps(with("three").path(), &folder).unwrap();
        assert_eq!(fs::read_to_string(folder.join("f")).unwrap(), "three");
        assert!(!before(&folder).exists());
    }
}
