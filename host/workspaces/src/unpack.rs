//! Archives that clients send. They are hostile until they have been read to their end: each entry's name is checked before
//! anything is made of it, what comes out is counted while it comes out, and all of it is made aside, so that an archive that is
//! refused has changed nothing.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::Path;

use tar::EntryType;
use vivarium_sandbox::FileQuota;

use crate::error::FilesError;
use crate::path::FilePath;
use crate::zip_directory;

/// What an archive is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveFormat {
    /// `application/x-tar`.
    Tar,
    /// `application/zip`.
    Zip,
}

/// A folder that an archive is unpacked into.
struct Unpacking<'a> {
    folder: &'a Path,
    quota: FileQuota,
    used: FileQuota,
    /// The names that the archive itself has had.
    files: BTreeSet<String>,
    folders: BTreeSet<String>,
}

/// Unpacks an archive into a folder that holds so much. What stands there under the names of its entries is replaced. Blocks.
pub(crate) fn unpack(
    format: ArchiveFormat,
    archive: &Path,
    folder: &Path,
    used: FileQuota,
    quota: FileQuota,
) -> Result<(), FilesError> {
    let file = File::open(archive).map_err(FilesError::at(archive))?;
    let mut to = Unpacking { folder, quota, used, files: BTreeSet::new(), folders: BTreeSet::new() };
    match format {
        ArchiveFormat::Tar => to.tar(file),
        ArchiveFormat::Zip => to.zip(file),
    }
}

impl Unpacking<'_> {
    fn tar(&mut self, file: File) -> Result<(), FilesError> {
        let broken = |error: io::Error| FilesError::archive(format!("it is no whole tar: {error}"));
        let mut archive = tar::Archive::new(io::BufReader::new(file));
        for entry in archive.entries().map_err(broken)? {
            let mut entry = entry.map_err(broken)?;
            let kind = entry.header().entry_type();
            let name = entry.path_bytes().into_owned();
            let name = String::from_utf8(name).map_err(|error| {
                FilesError::entry(&String::from_utf8_lossy(error.as_bytes()), "has a name that is not UTF-8")
            })?;
            match kind {
                // What `git archive` begins with: the commit, and no file.
                EntryType::XGlobalHeader => {}
                EntryType::Regular | EntryType::Continuous => self.file(&name, &mut entry)?,
                EntryType::Directory => self.folder(&name)?,
                other => {
                    return Err(FilesError::entry(
                        &name,
                        format!("is {}; files and folders are taken", kind_of(other)),
                    ));
                }
            }
        }
        Ok(())
    }

    fn zip(&mut self, mut file: File) -> Result<(), FilesError> {
        zip_directory::check(&mut file, self.quota.files)?;
        let broken = |error: zip::result::ZipError| FilesError::archive(format!("it is no whole zip: {error}"));
        let mut archive = zip::ZipArchive::new(io::BufReader::new(file)).map_err(broken)?;
        for number in 0..archive.len() {
            // Before its content is touched: what is encrypted or packed in another way says so here.
            let mut entry = archive.by_index(number).map_err(broken)?;
            let name = entry.name().map_err(broken)?.into_owned();
            // The upper bits say what a Unix system took it for.
            match entry.unix_mode().map_or(0, |mode| mode & 0o170_000) {
                0 | 0o100_000 | 0o040_000 => {}
                0o120_000 => return Err(FilesError::entry(&name, "is a symbolic link; files and folders are taken")),
                _ => return Err(FilesError::entry(&name, "is no file and no folder; files and folders are taken")),
            }
            if entry.is_dir() { self.folder(&name)? } else { self.file(&name, &mut entry)? }
        }
        Ok(())
    }

    fn file(&mut self, name: &str, content: &mut impl Read) -> Result<(), FilesError> {
        let path = checked(name)?;
        if !self.files.insert(path.as_str().to_owned()) || self.folders.contains(path.as_str()) {
            return Err(FilesError::entry(name, "is there twice"));
        }
        self.above(name, &path)?;
        let target = self.folder.join(path.as_str());
        match fs::symlink_metadata(&target) {
            // It may be the very file that stands in the workspace now: it is not written into, but replaced.
            Ok(found) if found.is_file() => {
                fs::remove_file(&target).map_err(FilesError::at(&target))?;
                self.used.bytes = self.used.bytes.saturating_sub(found.len());
            }
            Ok(_) => return Err(FilesError::entry(name, "is a file where the session has a folder")),
            Err(_) => self.one_more(name)?,
        }
        let mut file = File::create_new(&target).map_err(FilesError::at(&target))?;
        let left = self.quota.bytes.saturating_sub(self.used.bytes);
        // One byte more than there is room for, to see that there is more.
        let copied = io::copy(&mut content.take(left.saturating_add(1)), &mut file);
        let copied = copied.map_err(|error| FilesError::entry(name, format!("can not be read: {error}")))?;
        if copied > left {
            let most = self.quota.bytes;
            return Err(FilesError::entry(
                name,
                format!("goes beyond the {most} bytes that a session's files may have together"),
            ));
        }
        self.used.bytes = self.used.bytes.saturating_add(copied);
        Ok(())
    }

    fn folder(&mut self, name: &str) -> Result<(), FilesError> {
        let plain = name.trim_end_matches('/');
        // What `tar c .` begins with.
        if matches!(plain, "." | "") && name != "/" {
            return Ok(());
        }
        let path = checked(plain)?;
        if self.files.contains(path.as_str()) {
            return Err(FilesError::entry(name, "is there twice: as a file and as a folder"));
        }
        self.above(name, &path)?;
        self.make(name, path.as_str())
    }

    /// Makes the folders above an entry.
    fn above(&mut self, name: &str, path: &FilePath) -> Result<(), FilesError> {
        for above in path.folders() {
            if self.files.contains(above) {
                return Err(FilesError::entry(name, format!("is below {above:?}, which is a file")));
            }
            self.make(name, above)?;
        }
        Ok(())
    }

    fn make(&mut self, name: &str, path: &str) -> Result<(), FilesError> {
        self.folders.insert(path.to_owned());
        let folder = self.folder.join(path);
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => Ok(()),
            Ok(_) => Err(FilesError::entry(name, format!("needs the folder {path:?} where the session has a file"))),
            Err(_) => {
                self.one_more(name)?;
                fs::create_dir(&folder).map_err(FilesError::at(&folder))
            }
        }
    }

    fn one_more(&mut self, name: &str) -> Result<(), FilesError> {
        self.used.files = self.used.files.saturating_add(1);
        if self.used.files > self.quota.files {
            let most = self.quota.files;
            let reason = format!("goes beyond the {most} files and folders that a session may have");
            return Err(FilesError::entry(name, reason));
        }
        Ok(())
    }
}

/// An entry's name as a path. Archives like to begin names with `./`.
fn checked(name: &str) -> Result<FilePath, FilesError> {
    let plain = name.strip_prefix("./").unwrap_or(name);
    plain.parse().map_err(|error| match error {
        FilesError::Path { reason, .. } => FilesError::entry(name, format!("has a name that is not taken: {reason}")),
        other => other,
    })
}

fn kind_of(kind: EntryType) -> &'static str {
    match kind {
        EntryType::Link => "a hard link",
        EntryType::Symlink => "a symbolic link",
        EntryType::Char | EntryType::Block => "a device",
        EntryType::Fifo => "a pipe",
        EntryType::GNUSparse => "a sparse file",
        _ => "of another kind",
    }
}
