//! What is wrong with a file, and where.

/// Why a file was not read. Its text begins with the file's place, `attachments[1]`, and the field if it is in one.
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
    /// There are more files than one message may bring.
    #[error("at most {0} files come with one message")]
    TooMany(usize),
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

    /// The field of the file that it is about.
    fn field(&self) -> Option<&'static str> {
        match self {
            Self::TooMany(_) | Self::Unavailable(_) => None,
        }
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

    /// The file is as it should be, and the host is at fault or full: the client may try again.
    #[must_use]
    pub fn is_the_hosts_fault(&self) -> bool {
        matches!(self.problem, Problem::Unavailable(_))
    }
}
