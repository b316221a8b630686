//! The files of the session that a call belongs to, through `wasi:filesystem`: for a plugin that asks for them and is granted them.
//! Paths are relative to the workspace, with `/` between the folders; the empty path is the workspace itself.

use std::fmt;

use crate::bindings::files::wasi::filesystem as wasi;
use wasi::types::{Descriptor, DescriptorFlags, DescriptorType, ErrorCode, OpenFlags, PathFlags};

/// The most bytes of one read or write.
const PIECE: usize = 1 << 20;

/// Why something was not done with a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileError {
    /// There is none.
    NotFound,
    /// The grant does not allow it.
    Denied,
    /// The workspace may not hold more.
    Full,
    /// Something of another kind stands there.
    WrongKind,
    /// Anything else, in the system's word.
    Other(String),
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound => f.write_str("it is not there"),
            Self::Denied => f.write_str("files are not granted to this plugin, or only to be read"),
            Self::Full => {
                f.write_str("the workspace is full: it may not hold more bytes or files; remove something first")
            }
            Self::WrongKind => f.write_str("a folder stands where a file is meant, or a file where a folder is"),
            Self::Other(word) => write!(f, "the system says: {word}"),
        }
    }
}

impl From<ErrorCode> for FileError {
    fn from(code: ErrorCode) -> Self {
        match code {
            ErrorCode::NoEntry => Self::NotFound,
            ErrorCode::Access | ErrorCode::NotPermitted | ErrorCode::ReadOnly => Self::Denied,
            ErrorCode::Quota | ErrorCode::InsufficientSpace => Self::Full,
            ErrorCode::IsDirectory | ErrorCode::NotDirectory => Self::WrongKind,
            other => Self::Other(other.name().to_owned()),
        }
    }
}

/// What stands in a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name.
    pub name: String,
    /// It is a folder.
    pub is_folder: bool,
}

/// The workspace.
pub struct Workspace {
    root: Descriptor,
}

impl fmt::Debug for Workspace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Workspace").finish_non_exhaustive()
    }
}

impl Workspace {
    /// The workspace of this call.
    ///
    /// # Errors
    /// [`FileError::Denied`] where none is granted.
    pub fn open() -> Result<Self, FileError> {
        let root = wasi::preopens::get_directories().into_iter().next();
        root.map(|(root, _)| Self { root }).ok_or(FileError::Denied)
    }

    fn at(&self, path: &str, open: OpenFlags, flags: DescriptorFlags) -> Result<Descriptor, FileError> {
        let path = if path.is_empty() { "." } else { path };
        Ok(self.root.open_at(PathFlags::empty(), path, open, flags)?)
    }

    /// What stands in a folder, by no order.
    ///
    /// # Errors
    /// When there is no such folder.
    pub fn entries(&self, folder: &str) -> Result<Vec<Entry>, FileError> {
        let folder = self.at(folder, OpenFlags::DIRECTORY, DescriptorFlags::READ)?;
        let (stream, mut entries) = (folder.read_directory()?, Vec::new());
        while let Some(entry) = stream.read_directory_entry()? {
            match entry.type_ {
                DescriptorType::Directory => entries.push(Entry { name: entry.name, is_folder: true }),
                DescriptorType::RegularFile => entries.push(Entry { name: entry.name, is_folder: false }),
                _ => {}
            }
        }
        Ok(entries)
    }

    /// The length of a file; none: a folder stands there.
    ///
    /// # Errors
    /// [`FileError::NotFound`].
    pub fn length(&self, path: &str) -> Result<Option<u64>, FileError> {
        let found = self.root.stat_at(PathFlags::empty(), path)?;
        Ok((found.type_ == DescriptorType::RegularFile).then_some(found.size))
    }

    /// A file's bytes, at most `most` of them.
    ///
    /// # Errors
    /// [`FileError::NotFound`].
    pub fn read(&self, path: &str, most: usize) -> Result<Vec<u8>, FileError> {
        let file = self.at(path, OpenFlags::empty(), DescriptorFlags::READ)?;
        let mut bytes = Vec::new();
        while bytes.len() < most {
            let wanted = PIECE.min(most - bytes.len());
            let (piece, is_end) = file.read(wanted as u64, bytes.len() as u64)?;
            let is_empty = piece.is_empty();
            bytes.extend(piece);
            if is_end || is_empty {
                break;
            }
        }
        Ok(bytes)
    }

    /// Writes a file that is not there, with the folders above it.
    ///
    /// # Errors
    /// [`FileError::Full`]; what was begun is removed then.
    pub fn write_new(&self, path: &str, bytes: &[u8]) -> Result<(), FileError> {
        for (at, _) in path.match_indices('/') {
            match self.root.create_directory_at(path.get(..at).unwrap_or_default()) {
                Ok(()) | Err(ErrorCode::Exist) => {}
                Err(code) => return Err(code.into()),
            }
        }
        let file = self.at(path, OpenFlags::CREATE | OpenFlags::EXCLUSIVE, DescriptorFlags::WRITE)?;
        let mut written = 0;
        while let Some(piece) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
            match file.write(piece.get(..PIECE).unwrap_or(piece), written as u64) {
                Ok(count) if count > 0 => written += usize::try_from(count).unwrap_or(usize::MAX),
                Ok(_) => return Err(FileError::Full),
                Err(code) => {
                    drop(file);
                    let _ = self.remove(path);
                    return Err(code.into());
                }
            }
        }
        Ok(())
    }

    /// Gives a file another name, over what stands there.
    ///
    /// # Errors
    /// [`FileError::NotFound`].
    pub fn rename(&self, from: &str, to: &str) -> Result<(), FileError> {
        Ok(self.root.rename_at(from, &self.root, to)?)
    }

    /// Removes a file.
    ///
    /// # Errors
    /// [`FileError::NotFound`].
    pub fn remove(&self, path: &str) -> Result<(), FileError> {
        Ok(self.root.unlink_file_at(path)?)
    }
}
