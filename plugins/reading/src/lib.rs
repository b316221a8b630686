//! Turns files of formats that were made for printers, office programs and browsers into Markdown. Foreign bytes, in formats whose
//! parsers have been broken before: what reads them runs in a guest, where the worst that a file can do is to waste its own call's
//! time and memory.
//!
//! Text is written until a bound is reached, and parsing ends there; whoever asked sees by the length that there is more.

#[cfg(target_arch = "wasm32")]
mod dice;
pub mod html;
mod office;
mod pdf;
mod text;

use crate::text::Text;

/// Why a file can not be read: a clause that goes on after "it can not be read: ".
pub type Unreadable = String;

/// A format that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Portable Document Format.
    Pdf,
    /// Word, Office Open XML.
    Docx,
    /// Excel, Office Open XML.
    Xlsx,
    /// A web page, whole.
    Html,
}

/// What a file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// What the file calls itself.
    pub title: Option<String>,
    /// Its text as Markdown.
    pub markdown: String,
}

/// The text of a file, at most `max_bytes` of it. `charset` is the character set of a web page, where its sender has named one.
///
/// # Errors
/// When the file is broken, protected, of another format, or holds no text.
pub fn read(format: Format, bytes: &[u8], charset: Option<&str>, max_bytes: usize) -> Result<Content, Unreadable> {
    let mut text = Text::new(max_bytes);
    let title = match format {
        Format::Pdf => pdf::read(bytes, &mut text)?,
        Format::Docx => office::word::read(bytes, &mut text).map(|()| None)?,
        Format::Xlsx => office::sheets::read(bytes, &mut text).map(|()| None)?,
        Format::Html => {
            html::read(bytes, charset, &mut text);
            None
        }
    };
    let markdown = text.finish().ok_or_else(|| match format {
        Format::Pdf => "it holds no text; if its pages are pictures, send them as images".to_owned(),
        _ => "it holds no text".to_owned(),
    })?;
    Ok(Content { title, markdown })
}

#[cfg(test)]
mod tests;
