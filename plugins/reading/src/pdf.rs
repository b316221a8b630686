//! PDF files. A page holds instructions for a printer: strings of codes in fonts, each at a place. Where the strings are is all
//! that tells words, lines, columns and paragraphs, so that is what they are made of here: [`page`] finds the strings, [`layout`]
//! orders them as a person reads them, and [`prose`] makes paragraphs and headings, without what repeats on every page.

mod annotations;
mod characters;
mod direction;
mod font;
mod layout;
mod mapping;
mod names;
mod page;
mod program;
mod prose;
mod widths;

use lopdf::{Dictionary, Document, LoadOptions, Object, ObjectId, decode_text_string};

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
    let document = match load(bytes) {
        Ok(document) => document,
        Err(lopdf::Error::InvalidPassword | lopdf::Error::Decryption(_)) => return Err(PROTECTED.to_owned()),
        Err(error) => load_beginning(bytes).ok_or_else(|| match has_end(bytes) {
            true => format!("it is no valid PDF: {error}"),
            false => "it is no valid PDF, or only the beginning of one: its end is missing".to_owned(),
        })?,
    };
    if document.trailer.has(b"Encrypt") && !document.was_encrypted() {
        return Err(PROTECTED.to_owned());
    }
    let mut fonts = Fonts::new(&document);
    let (mut pages, mut found_bytes) = (Vec::new(), 0);
    for page in pages_of(&document) {
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

pub(crate) fn load(bytes: &[u8]) -> lopdf::Result<Document> {
    let options =
        LoadOptions { max_decompressed_size: Some(MAX_STREAM_BYTES), filter: Some(needed), ..LoadOptions::default() };
    let document = Document::load_mem_with_options(bytes, options.clone())?;
    if document.page_iter().next().is_some() {
        return Ok(document);
    }
    // The list of pages may be found in another place, which is looked for in a whole file only.
    drop(document);
    Document::load_mem_with_options(bytes, LoadOptions { filter: None, ..options })
}

/// Leaves out what is not read, because it may be most of a file: the dots of pictures, and places that links within the file lead to.
fn needed(id: ObjectId, object: &mut Object) -> Option<(ObjectId, Object)> {
    let is_place = |listed: &[Object]| matches!(listed, [Object::Reference(_), Object::Name(how), ..] if how == b"XYZ");
    let leads_within = |entry: &Dictionary| {
        let action = entry.get(b"A").and_then(Object::as_dict);
        entry.has(b"Dest")
            || action.is_ok_and(|action| action.get(b"S").and_then(Object::as_name).is_ok_and(|kind| kind == b"GoTo"))
    };
    let is_link =
        |entry: &Dictionary| entry.get(b"Subtype").and_then(Object::as_name).is_ok_and(|kind| kind == b"Link");
    match object {
        Object::Array(listed) if is_place(listed) => None,
        Object::Dictionary(entry) if is_link(entry) && leads_within(entry) => None,
        Object::Dictionary(entry)
            if entry.has_type(b"StructElem")
                || entry.get(b"D").and_then(Object::as_array).is_ok_and(|place| is_place(place)) =>
        {
            None
        }
        Object::Stream(stream) => {
            if stream.dict.get(b"Subtype").and_then(Object::as_name).is_ok_and(|kind| kind == b"Image") {
                // One that is empty would be looked for once more.
                stream.content = vec![0];
            }
            // What stands in the file by itself is taken from where it is, and not from here.
            Some((id, Object::Null))
        }
        other => Some((id, other.clone())),
    }
}

fn has_end(bytes: &[u8]) -> bool {
    let tail = bytes.get(bytes.len().saturating_sub(1024)..).unwrap_or(bytes);
    tail.windows(5).any(|window| window == b"%%EOF")
}

/// A file whose end is missing, where it says what is in it and where: its objects are found by looking for them.
fn load_beginning(bytes: &[u8]) -> Option<Document> {
    // An encrypted file says so at its end.
    let is_encrypted = bytes.windows(8).any(|window| window == b"/Encrypt");
    if !bytes.starts_with(b"%PDF-") || is_encrypted {
        return None;
    }
    let mut whole = bytes.to_vec();
    whole.extend_from_slice(END);
    load(&whole).ok().filter(|document| !pages_of(document).is_empty())
}

/// The pages in their order; by their numbers, where the list of them is missing.
fn pages_of(document: &Document) -> Vec<ObjectId> {
    let listed: Vec<ObjectId> = document.page_iter().collect();
    if !listed.is_empty() {
        return listed;
    }
    let is_page = |object: &Object| object.as_dict().is_ok_and(|dictionary| dictionary.has_type(b"Page"));
    document.objects.iter().filter(|(_, object)| is_page(object)).map(|(id, _)| *id).collect()
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

/// An end for a file that has none: a catalog without pages.
const END: &[u8] = b"\nendstream endobj\n999998 0 obj\n<< /Type /Pages /Kids [] /Count 0 >>\nendobj\n999999 0 obj\n\
                    << /Type /Catalog /Pages 999998 0 R >>\nendobj\ntrailer\n<< /Size 1000000 /Root 999999 0 R >>\n\
                    startxref\n0\n%%EOF\n";

const PROTECTED: &str = "it is protected by a password";
