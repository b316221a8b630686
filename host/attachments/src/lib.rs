//! Files that come with a message: fetched, checked, and turned into what a model can read. Text becomes UTF-8 text, a
//! document becomes Markdown, an image stays an image; what is none of these, or is not what its client says, is refused
//! with the file's place and what is wrong.
//!
//! Documents are foreign bytes in formats that have broken many a parser, so they are read inside the sandbox, by a plugin
//! that is given nothing but the bytes. What is fetched goes through the one guarded door. This crate knows no HTTP API
//! and no run.

mod document;
mod error;
mod fetch;
mod media;
mod text;

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use vivarium_domain::{AttachmentKind, TenantId};
use vivarium_egress::{Egress, HostPort};
use vivarium_sandbox::Plugin;

pub use error::{AttachmentError, Problem};

use document::Reader;
use fetch::Fetcher;
use media::{Declared, Media};

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
/// The most text of a document that is kept to be searched.
pub const MAX_DOCUMENT_TEXT_BYTES: usize = 1 << 20;
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

/// A document as it is searched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadDocument {
    /// The type that it came as, in lower case and without parameters.
    pub media_type: String,
    /// Its text, whole.
    pub text: String,
}

/// Reads files. Clones share everything.
#[derive(Debug, Clone)]
pub struct Attachments(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fetcher: Fetcher,
    reader: Option<Reader>,
}

impl Attachments {
    /// Reads files with `reader`, the plugin of documents, and fetches through `egress`: from public addresses, and from
    /// `exceptions`, which the operator has named. Without a reader documents are refused.
    #[must_use]
    pub fn new(egress: Arc<Egress>, exceptions: Vec<HostPort>, reader: Option<Arc<Plugin>>) -> Self {
        Self(Arc::new(Inner { fetcher: Fetcher::new(egress, exceptions), reader: reader.map(Reader::new) }))
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
        if files.len() > MAX_FILES {
            return Err(Problem::TooMany.of(MAX_FILES));
        }
        let mut left = MAX_READ_BYTES;
        let mut read = Vec::with_capacity(files.len());
        for (index, file) in files.into_iter().enumerate() {
            let file = self.read(tenant, index, file).await?;
            left = left.checked_sub(file.content.len()).ok_or_else(|| Problem::TooMuch.of(index))?;
            read.push(file);
        }
        Ok(read)
    }

    /// Reads the file at `index` of a message. Dropping the future stops whatever is under way for it.
    ///
    /// # Errors
    /// See [`AttachmentError`].
    pub async fn read(&self, tenant: &TenantId, index: usize, file: IncomingFile) -> Result<ReadFile, AttachmentError> {
        self.read_file(tenant, file).await.map_err(|problem| problem.of(index))
    }

    /// Reads a document that is kept to be searched: whole, or not at all.
    ///
    /// # Errors
    /// See [`Problem`].
    pub async fn read_document(
        &self,
        tenant: &TenantId,
        media_type: &str,
        bytes: &[u8],
    ) -> Result<ReadDocument, Problem> {
        let declared = Declared::parse(media_type)?;
        let media_type = declared.media.name();
        if declared.media.is_image() {
            return Err(Problem::NoText(media_type));
        }
        check_size(declared.media, bytes.len())?;
        media::check(declared.media, bytes)?;
        let text = self.text(tenant, &declared, bytes, MAX_DOCUMENT_TEXT_BYTES).await?;
        if text.len() > MAX_DOCUMENT_TEXT_BYTES {
            return Err(Problem::TooLarge { what: "document's text", max: MAX_DOCUMENT_TEXT_BYTES });
        }
        Ok(ReadDocument { media_type: media_type.to_owned(), text })
    }

    /// Whether PDF and office documents can be read.
    #[must_use]
    pub fn reads_documents(&self) -> bool {
        self.0.reader.is_some()
    }

    /// Reads a document of the host's own: its text, cut a little after `max_text_bytes`.
    ///
    /// # Errors
    /// See [`Problem`].
    pub async fn read_for_operator(
        &self,
        media_type: &str,
        bytes: &[u8],
        max_text_bytes: usize,
    ) -> Result<String, Problem> {
        let declared = Declared::parse(media_type)?;
        check_size(declared.media, bytes.len())?;
        media::check(declared.media, bytes)?;
        self.text(&TenantId::operator(), &declared, bytes, max_text_bytes).await
    }

    async fn read_file(&self, tenant: &TenantId, file: IncomingFile) -> Result<ReadFile, Problem> {
        let IncomingFile { file_name, media_type, content } = file;
        check_name(&file_name)?;
        let declared = Declared::parse(&media_type)?;
        let bytes = match content {
            IncomingContent::Base64(text) => decode_base64(text)?,
            IncomingContent::Url(url) => self.0.fetcher.fetch(&url).await?,
        };
        check_size(declared.media, bytes.len())?;
        media::check(declared.media, &bytes)?;
        let media_type = declared.media.name().to_owned();
        if declared.media.is_image() {
            return Ok(ReadFile { file_name, media_type, kind: AttachmentKind::Image, content: bytes });
        }
        let text = self.text(tenant, &declared, &bytes, MAX_TEXT_BYTES).await?;
        let content = Bytes::from(text::cut(text, MAX_TEXT_BYTES));
        Ok(ReadFile { file_name, media_type, kind: AttachmentKind::Text, content })
    }

    /// The text of a file that is no image. A document's text may be cut a little after `max_text_bytes`.
    async fn text(
        &self,
        tenant: &TenantId,
        declared: &Declared,
        bytes: &[u8],
        max_text_bytes: usize,
    ) -> Result<String, Problem> {
        match declared.media {
            Media::Plain | Media::Markdown | Media::Csv | Media::Json => text::decode(bytes, declared),
            _ => {
                declared.charset.as_deref().map(text::charset).transpose()?;
                let reader = self.0.reader.as_ref().ok_or_else(|| {
                    let name = declared.media.name();
                    Problem::Unavailable(format!("this build of the host has no reader of {name}"))
                })?;
                reader.read(tenant, declared, bytes, max_text_bytes).await
            }
        }
    }
}

fn check_name(name: &str) -> Result<(), Problem> {
    let fits = !name.trim().is_empty() && name.chars().count() <= MAX_FILE_NAME_CHARS;
    if fits && !name.chars().any(char::is_control) { Ok(()) } else { Err(Problem::Name) }
}

fn check_size(media: Media, bytes: usize) -> Result<(), Problem> {
    let (what, max) = if media.is_image() { ("image", MAX_IMAGE_BYTES) } else { ("file", MAX_FILE_BYTES) };
    match bytes {
        0 => Err(Problem::Empty),
        bytes if bytes > max => Err(Problem::TooLarge { what, max }),
        _ => Ok(()),
    }
}

/// The bytes of a file in standard base64. Line ends are left out: programs that write base64 break its lines.
///
/// # Errors
/// [`Problem::Base64`], or [`Problem::TooLarge`] where it is far beyond what is read.
pub fn decode_base64(mut text: String) -> Result<Bytes, Problem> {
    // Four characters for three bytes. What is certainly too large need not be decoded to know it.
    if text.len() / 4 * 3 > MAX_FILE_BYTES * 2 {
        return Err(Problem::TooLarge { what: "file", max: MAX_FILE_BYTES });
    }
    text.retain(|character| !matches!(character, '\r' | '\n'));
    if text.starts_with("data:") {
        return Err(Problem::Base64("send what stands after the comma of a data URL".to_owned()));
    }
    STANDARD.decode(&text).map(Bytes::from).map_err(|error| Problem::Base64(error.to_string().to_lowercase()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn problem(text: &str) -> String {
        decode_base64(text.to_owned()).unwrap_err().to_string()
    }

    #[test]
    fn base64_is_read_with_its_line_ends_and_nothing_else() {
        assert_eq!(decode_base64("aGVs\r\nbG8=\n".to_owned()).unwrap(), "hello");
        assert!(problem("aGVsbG8").starts_with("this is no standard base64: "), "{}", problem("aGVsbG8"));
        for broken in ["a", "aGV$", "aGVs bG8=", "_-__", "aGVsbG8==", "data:text/plain;base64,aGVsbG8="] {
            assert!(problem(broken).starts_with("this is no standard base64: "), "{broken}");
        }
        let large = "A".repeat(MAX_FILE_BYTES / 3 * 8 + 12);
        assert_eq!(problem(&large), "the file has more than 10485760 bytes");
    }

    #[test]
    fn a_name_is_one_line_of_some_length() {
        assert_eq!(check_name("Bericht – März.pdf"), Ok(()));
        for bad in ["", " ", "a\nb", "a\0", &"a".repeat(MAX_FILE_NAME_CHARS + 1)] {
            assert_eq!(check_name(bad), Err(Problem::Name), "{bad:?}");
        }
        assert_eq!(check_name(&"é".repeat(MAX_FILE_NAME_CHARS)), Ok(()));
    }

    #[test]
    fn an_error_names_the_file_and_its_field() {
        assert_eq!(
            Problem::Base64("invalid padding".to_owned()).of(1).to_string(),
            "attachments[1].data: this is no standard base64: invalid padding"
        );
        assert_eq!(Problem::Empty.of(0).to_string(), "attachments[0]: the file is empty");
    }

    proptest! {
        #[test]
        fn what_was_encoded_comes_back(bytes in proptest::collection::vec(any::<u8>(), 0..300), line in 1_usize..80) {
            let encoded = STANDARD.encode(&bytes);
            let lines: Vec<&str> = encoded.as_bytes().chunks(line).map(|line| std::str::from_utf8(line).unwrap()).collect();
            prop_assert_eq!(decode_base64(lines.join("\n")).unwrap(), Bytes::from(bytes));
        }

        #[test]
        fn no_text_breaks_the_decoding(text in "\\PC{0,80}") {
            let _either_way = decode_base64(text);
        }
    }
}
