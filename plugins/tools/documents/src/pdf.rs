//! PDF files. A page holds instructions for a printer: strings of codes in fonts, each at a place. Lines and words are
//! made of it here by where the strings are.

mod font;
mod page;

use lopdf::{Document, LoadOptions};

use crate::Unreadable;
use crate::pdf::font::Fonts;
use crate::pdf::page::PageReader;
use crate::text::Text;

/// What one stream within a file may unpack to, pictures aside, which are not unpacked.
const MAX_STREAM_BYTES: usize = 32 << 20;

pub(crate) fn read(bytes: &[u8], text: &mut Text) -> Result<(), Unreadable> {
    let options = LoadOptions { max_decompressed_size: Some(MAX_STREAM_BYTES), ..LoadOptions::default() };
    let mut document = Document::load_mem_with_options(bytes, options).map_err(|error| match error {
        lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_) => PROTECTED.to_owned(),
        error => format!("it is no valid PDF: {error}"),
    })?;
    if document.trailer.has(b"Encrypt") && !document.was_encrypted() {
        return Err(PROTECTED.to_owned());
    }
    font::prefer_unicode(&mut document);
    let pages: Vec<_> = document.page_iter().collect();
    let mut fonts = Fonts::new(&document);
    for (n, page) in pages.iter().enumerate() {
        if text.is_full() {
            break;
        }
        let begun = text.len();
        if pages.len() > 1 {
            text.end_paragraph();
            text.push(&format!("[Page {}]\n\n", n + 1));
        }
        let marked = text.len();
        PageReader::new(&document, &mut fonts, text).read(*page);
        if text.len() == marked {
            text.take_back(begun);
        }
    }
    Ok(())
}

const PROTECTED: &str = "it is protected by a password";
