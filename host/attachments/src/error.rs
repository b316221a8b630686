//! What is wrong with a file, and where.

use crate::MAX_FILES;
use crate::media::SUPPORTED;

/// Why a file was not read. Its text begins with the file's place, such as `attachments[1]`, and the field if it is in one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}: {problem}", self.field())]
pub struct AttachmentError {
    /// The file's place in the message, from 0.
    pub index: usize,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// It is one file too many.
    #[error("at most {MAX_FILES} files come with one message")]
    TooMany,
    /// The name is none.
    #[error("a file's name has 1 to {max} characters, none of them a control character", max = crate::MAX_FILE_NAME_CHARS)]
    Name,
    /// The type is none that is read.
    #[error("{0:?} is no type of file that is read; those are {SUPPORTED}")]
    UnknownType(String),
    /// The type is one that has no text.
    #[error("{0} has no text to search")]
    NoText(&'static str),
    /// The character set has no meaning.
    #[error("{0:?} is no character set")]
    UnknownCharset(String),
    /// The content is not of the type that it is said to be.
    #[error("the file is said to be {declared}, and {found}")]
    Lie {
        /// The type that the client says.
        declared: String,
        /// A clause about what it is.
        found: String,
    },
    /// The bytes are not there.
    #[error("this is no standard base64: {0}")]
    Base64(String),
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It is larger than what is taken.
    #[error("the {what} has more than {max} bytes")]
    TooLarge {
        /// `file` or `image`.
        what: &'static str,
        /// The bound.
        max: usize,
    },
    /// The files before it hold as much as one message may.
    #[error("with it the files of this message hold more than {max} bytes of text and images", max = crate::MAX_READ_BYTES)]
    TooMuch,
    /// The URL is none that is fetched.
    #[error("{0}")]
    Url(String),
    /// The URL did not give the file.
    #[error("the file can not be fetched: {0}")]
    Fetch(String),
    /// The document can not be read.
    #[error("the file can not be read as {media_type}: {reason}")]
    Unreadable {
        /// Its type.
        media_type: &'static str,
        /// Why.
        reason: String,
    },
    /// The host can not read it now.
    #[error("{0}")]
    Unavailable(String),
}

impl Problem {
    /// The same of the file at `index`.
    #[must_use]
    pub fn of(self, index: usize) -> AttachmentError {
        AttachmentError { index, problem: self }
    }

    /// The field of the file that it is about; none where it is about the whole.
    #[must_use]
    pub fn field(&self) -> Option<&'static str> {
        match self {
            Self::Name => Some("fileName"),
            Self::UnknownType(_) | Self::NoText(_) | Self::UnknownCharset(_) | Self::Lie { .. } => Some("mimeType"),
            Self::Base64(_) => Some("data"),
            Self::Url(_) | Self::Fetch(_) => Some("url"),
            Self::TooMany
            | Self::Empty
            | Self::TooLarge { .. }
            | Self::TooMuch
            | Self::Unreadable { .. }
            | Self::Unavailable(_) => None,
        }
    }

    /// The file may be as it should, and the host is at fault or full: the client may try again.
    #[must_use]
    pub fn is_the_hosts_fault(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl AttachmentError {
    /// The place, as a client writes it: `attachments[1]` or `attachments[1].mimeType`.
    #[must_use]
    pub fn field(&self) -> String {
        match self.problem.field() {
            Some(field) => format!("attachments[{}].{field}", self.index),
            None => format!("attachments[{}]", self.index),
        }
    }

    /// The file may be as it should, and the host is at fault or full: the client may try again.
    #[must_use]
    pub fn is_the_hosts_fault(&self) -> bool {
        self.problem.is_the_hosts_fault()
    }
}
