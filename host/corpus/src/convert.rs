//! Formats that were made for printers and office programs. Their parsers have been broken before, so this crate has none: it
//! is given a reader that keeps them away from the host.

use std::fmt;

/// A format that somebody else reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Portable Document Format.
    Pdf,
    /// Word, Office Open XML.
    Docx,
    /// Excel, Office Open XML.
    Xlsx,
}

/// Why a file was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConvertError {
    /// It is broken, protected, or holds no text: the same file will not be read later either.
    Unreadable,
    /// The reader is busy or gone; later it may be read.
    NotNow,
}

/// Reads such files.
pub trait Converter: fmt::Debug + Send + Sync {
    /// The file's text as Markdown. Blocks.
    ///
    /// # Errors
    /// See [`ConvertError`].
    fn convert(&self, format: Format, bytes: &[u8], max_text_bytes: usize) -> Result<String, ConvertError>;
}
