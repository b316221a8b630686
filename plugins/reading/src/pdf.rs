//! PDF files. A page holds instructions for a printer: strings of codes in fonts, each at a place. Where the strings are is all
//! that tells words, lines, columns and paragraphs, so that is what they are made of here: [`page`] finds the strings, [`layout`]
//! orders them as a person reads them, and [`prose`] makes paragraphs and headings, without what repeats on every page.

mod characters;
mod direction;
mod font;
mod layout;
mod names;
mod page;
mod program;
mod prose;
mod widths;

use lopdf::{Document, LoadOptions, Object, decode_text_string};

use crate::Unreadable;
use crate::pdf::font::Fonts;
use crate::pdf::page::PageReader;
use crate::pdf::prose::Page;
use crate::text::Text;

/// What one stream within a file may unpack to, pictures aside, which are not unpacked.
const MAX_STREAM_BYTES: usize = 32 << 20;
/// Beyond the bound of the text, so much is looked at for what repeats on every page.
const LOOK_AHEAD_BYTES: usize = 64 << 10;

/// Writes a file's text; gives its title, where it has one.
pub(crate) fn read(bytes: &[u8], text: &mut Text) -> Result<Option<String>, Unreadable> {
    let options = LoadOptions { max_decompressed_size: Some(MAX_STREAM_BYTES), ..LoadOptions::default() };
    let document = Document::load_mem_with_options(bytes, options).map_err(|error| match error {
        lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_) => PROTECTED.to_owned(),
        error => format!("it is no valid PDF: {error}"),
    })?;
    if document.trailer.has(b"Encrypt") && !document.was_encrypted() {
        return Err(PROTECTED.to_owned());
    }
    let mut fonts = Fonts::new(&document);
    let (mut pages, mut found_bytes) = (Vec::new(), 0);
    for page in document.page_iter() {
        if found_bytes > text.room() + LOOK_AHEAD_BYTES {
            break;
        }
        let found = PageReader::new(&document, &mut fonts).read(page);
        let lines = layout::lines(found.runs);
        found_bytes += lines.iter().map(|line| line.text.len() + 1).sum::<usize>();
        pages.push(Page { lines, has_picture: found.has_picture });
    }
    prose::write(pages, text);
    Ok(title(&document))
}

/// What the file calls itself, unless that is what a program has made up.
fn title(document: &Document) -> Option<String> {
    let info = document.trailer.get(b"Info").ok()?;
    let (_, info) = document.dereference(info).ok()?;
    let title = info.as_dict().ok()?.get(b"Title").ok()?;
    let (_, title) = document.dereference(title).ok()?;
    let title = matches!(title, Object::String(..)).then(|| decode_text_string(title).ok()).flatten()?;
    let title: String = title.chars().filter(|c| !c.is_control()).collect::<String>();
    let title = title.split_whitespace().collect::<Vec<_>>().join(" ");
    let made_up =
        ["untitled", "microsoft word - ", "(anonymous)"].iter().any(|name| title.to_lowercase().starts_with(name));
    (!title.is_empty() && !made_up).then_some(title)
}

const PROTECTED: &str = "it is protected by a password";
