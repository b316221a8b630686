//! Files that come with a message: fetched, checked, and turned into what a model can read. Text becomes UTF-8 text, a
//! document becomes Markdown, an image stays an image; what is none of these, or is not what its client says, is refused
//! with the file's place and what is wrong.
//!
//! Documents are foreign bytes in formats that have broken many a parser, so they are read inside the sandbox, by a plugin
//! that is given nothing but the bytes. What is fetched goes through the one guarded door. This crate knows no HTTP API
//! and no run.

mod error;

use std::sync::Arc;

use bytes::Bytes;
use vivarium_domain::{AttachmentKind, TenantId};
use vivarium_egress::{Egress, HostPort};
use vivarium_sandbox::Plugin;

pub use error::{AttachmentError, Problem};

/// The most files of one message.
pub const MAX_FILES: usize = 10;
/// The largest file, as it was before base64.
pub const MAX_FILE_BYTES: usize = 10 << 20;
/// The largest image: what providers of models take.
pub const MAX_IMAGE_BYTES: usize = 5 << 20;
/// The most text of one file that a model is given; the rest is cut, and a note says so.
pub const MAX_TEXT_BYTES: usize = 400 << 10;
/// The most that all files of one message hold when they are read: what providers of models take in one request.
pub const MAX_READ_BYTES: usize = 20 << 20;
/// The largest request that brings files: one of the largest size in base64, or some smaller ones, and the words about them.
pub const MAX_BODY_BYTES: usize = 16 << 20;
/// The longest name of a file.
pub const MAX_FILE_NAME_CHARS: usize = 255;
/// The longest media type, its parameters included.
pub const MAX_MEDIA_TYPE_CHARS: usize = 255;
/// The longest URL of a file.
pub const MAX_URL_CHARS: usize = 8192;

/// A file as a client sends it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IncomingFile {
    /// As the client names it.
    pub file_name: String,
    /// The type that the client says it is, such as `text/csv; charset=windows-1252`.
    pub media_type: String,
    /// The file itself, or where it is.
    pub content: IncomingContent,
}

/// Where a file's bytes come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncomingContent {
    /// Standard base64.
    Base64(String),
    /// An `http:` or `https:` URL.
    Url(String),
}

/// A file as a model can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadFile {
    /// As the client named it.
    pub file_name: String,
    /// The type that it came as, in lower case and without parameters.
    pub media_type: String,
    /// Whether `content` is text or an image.
    pub kind: AttachmentKind,
    /// The text as UTF-8, or the image's bytes.
    pub content: Bytes,
}

/// Reads files. Clones share everything.
#[derive(Debug, Clone)]
pub struct Attachments(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    egress: Arc<Egress>,
    exceptions: Vec<HostPort>,
    reader: Option<Arc<Plugin>>,
}

impl Attachments {
    /// Reads files with `reader`, the plugin of documents, and fetches through `egress`: from public addresses, and from
    /// `exceptions`, which the operator has named. Without a reader documents are refused.
    #[must_use]
    pub fn new(egress: Arc<Egress>, exceptions: Vec<HostPort>, reader: Option<Arc<Plugin>>) -> Self {
        Self(Arc::new(Inner { egress, exceptions, reader }))
    }

    /// Reads all files of a message, in their order. Dropping the future stops whatever is under way for them.
    ///
    /// # Errors
    /// See [`AttachmentError`]: of the first file that is not as it should be.
    pub async fn read_all(
        &self,
        tenant: &TenantId,
        files: Vec<IncomingFile>,
    ) -> Result<Vec<ReadFile>, AttachmentError> {
        let mut read = Vec::with_capacity(files.len());
        for (index, file) in files.into_iter().enumerate() {
            read.push(self.read(tenant, index, file).await?);
        }
        Ok(read)
    }

    /// Reads the file at `index` of a message.
    ///
    /// # Errors
    /// See [`AttachmentError`].
    pub async fn read(
        &self,
        _tenant: &TenantId,
        index: usize,
        _file: IncomingFile,
    ) -> Result<ReadFile, AttachmentError> {
        let Inner { egress: _, exceptions: _, reader: _ } = &*self.0;
        Err(Problem::Unavailable("files can not be read yet".to_owned()).of(index))
    }
}
