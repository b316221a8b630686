//! Why something was not done with a session's files. Each text says what is wrong, where, and what would be right.

use std::io;
use std::path::Path;

use vivarium_domain::ContentHash;
use vivarium_sandbox::GrowError;

/// Why something was not done with a session's files.
#[derive(Debug, thiserror::Error)]
pub enum FilesError {
    /// A path that no file of a workspace can have.
    #[error("{path:?} is no path of a file here: {reason}")]
    Path {
        /// The path, or its beginning.
        path: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// There is no such file.
    #[error("there is no file {0:?} in this session")]
    NoSuchFile(String),
    /// A folder stands where a file is meant, or the other way round.
    #[error("{0}")]
    WrongKind(String),
    /// There is no such snapshot.
    #[error("there is no such snapshot in this session")]
    NoSuchSnapshot,
    /// The file is not what the client takes it for.
    #[error("{path:?} is not what the request says that it is: {}", now_is(.now.as_ref()))]
    Changed {
        /// The path.
        path: String,
        /// SHA-256 of what is there now; none: nothing is.
        now: Option<ContentHash>,
    },
    /// Somebody works in the folder that is to be replaced.
    #[error("a tool is at work in the files of this session; try again when it has ended")]
    InUse,
    /// There is no room for it.
    #[error("{0}")]
    Full(String),
    /// The body has more bytes than are taken.
    #[error("the body has more than the {0} bytes that are taken here")]
    TooLarge(u64),
    /// An archive that is not unpacked; nothing of it was.
    #[error("the archive is refused, and nothing was changed: {reason}")]
    Archive {
        /// What is wrong, with the entry's name where it is about one.
        reason: String,
    },
    /// What was kept is not what it was.
    #[error("the snapshot is damaged: {0}")]
    Damaged(String),
    /// The disk refused.
    #[error("the files can not be read or written: {0}")]
    Disk(String),
}

fn now_is(hash: Option<&ContentHash>) -> String {
    match hash {
        Some(hash) => format!("its content has the hash {hash} now; read it again"),
        None => "there is no such file now".to_owned(),
    }
}

impl FilesError {
    pub(crate) fn archive(reason: impl Into<String>) -> Self {
        Self::Archive { reason: reason.into() }
    }

    /// An entry of an archive that is not taken.
    pub(crate) fn entry(name: &str, reason: impl std::fmt::Display) -> Self {
        let name: String = name.chars().take(200).collect();
        Self::Archive { reason: format!("the entry {name:?} {reason}") }
    }

    /// What the disk says about a path.
    pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> Self + '_ {
        move |error| match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Self::Full("the host's disk has no room for this".to_owned())
            }
            _ => Self::Disk(format!("{}: {error}", path.display())),
        }
    }
}

impl From<GrowError> for FilesError {
    fn from(error: GrowError) -> Self {
        match error {
            GrowError::Bytes(_) | GrowError::Files(_) => Self::Full(error.to_string()),
            GrowError::Io(error) => Self::Disk(error.to_string()),
        }
    }
}
