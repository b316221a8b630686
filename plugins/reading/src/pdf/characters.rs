//! Which characters the codes of a font's strings stand for. A file may say so in several ways, and real ones say half of it in each:
//! in a table of characters, which may name a few codes only; in an encoding by the names of glyphs; or not at all, where the font's
//! program knows.

use std::collections::HashMap;

use encoding_rs::{BIG5, EUC_JP, EUC_KR, GB18030, SHIFT_JIS, UTF_8, UTF_16BE};
use lopdf::{Dictionary, Document, Encoding, Object, dictionary};

use crate::pdf::mapping;
use crate::pdf::names::{self, meant};
use crate::pdf::program::Program;

/// What the table between codes and glyphs may unpack to.
const MAX_TABLE_BYTES: usize = 1 << 20;

/// The encodings that the standard of PDF lists; the last is for texts beside the pages, and some take it for a font.
const STANDARDS: [&[u8]; 5] =
    [b"StandardEncoding", b"WinAnsiEncoding", b"MacRomanEncoding", b"MacExpertEncoding", b"PDFDocEncoding"];

/// The characters of a font's codes.
pub(crate) enum Characters {
    /// By one byte each.
    Simple(Vec<String>),
    /// By two bytes each, which number the font's glyphs: what the file says of them, else what the font's program knows.
    Glyphs { table: Option<Encoding<'static>>, known: HashMap<u16, String> },
    /// By the file's own table alone.
    Table(Encoding<'static>),
    /// In one of the encodings that texts had before they came into the file.
    Encoded(&'static encoding_rs::Encoding),
}

impl Characters {
    /// Those of a font of one byte for each character.
    pub(crate) fn simple(document: &Document, font: &Dictionary) -> Self {
        let encoding = font.get_deref(b"Encoding", document).ok();
        let mut codes = base(document, font, encoding);
        let differences = encoding.and_then(|encoding| encoding.as_dict().ok());
        let differences = differences.and_then(|encoding| encoding.get_deref(b"Differences", document).ok());
        let mut code = 0_usize;
        for object in differences.and_then(|listed| listed.as_array().ok()).into_iter().flatten() {
            match object {
                Object::Name(name) => {
                    // What has a made-up name is most often what it would be without it.
                    if let Some(text) = std::str::from_utf8(name).ok().and_then(names::text)
                        && let Some(slot) = codes.get_mut(code)
                    {
                        *slot = text;
                    }
                    code += 1;
                }
                other => code = other.as_i64().ok().and_then(|code| usize::try_from(code).ok()).unwrap_or(code),
            }
        }
        if let Some(table) = mapping::read(document, font) {
            for (code, slot) in (0..=u8::MAX).zip(&mut codes) {
                // Some write codes of two bytes where the font has one.
                let found = [&[code][..], &[0, code]].into_iter().find_map(|code| looked_up(&table, code));
                if let Some(text) = found {
                    *slot = text;
                }
            }
        }
        Self::Simple(codes)
    }

    /// Those of a font of several bytes for each character; none where nobody but the font knows what they are.
    pub(crate) fn composite(document: &Document, font: &Dictionary) -> Option<Self> {
        let table = mapping::read(document, font);
        let encoding = font.get_deref(b"Encoding", document).and_then(Object::as_name).unwrap_or_default();
        if encoding.starts_with(b"Identity") {
            let known = if table.is_some() { HashMap::new() } else { glyphs(document, font).unwrap_or_default() };
            return (table.is_some() || !known.is_empty()).then_some(Self::Glyphs { table, known });
        }
        table.map(Self::Table).or_else(|| predefined(encoding).map(Self::Encoded))
    }

    /// The text of a string.
    pub(crate) fn text(&self, codes: &[u8]) -> String {
        let mut text = String::new();
        match self {
            Self::Simple(table) => {
                codes.iter().filter_map(|code| table.get(usize::from(*code))).for_each(|part| text.push_str(part));
            }
            Self::Glyphs { table, known } => {
                for pair in codes.chunks(2) {
                    let glyph = pair.try_into().ok().map(u16::from_be_bytes);
                    let said = table.as_ref().and_then(|table| looked_up(table, pair));
                    text.push_str(
                        said.as_deref().or(glyph.and_then(|glyph| Some(known.get(&glyph)?.as_str()))).unwrap_or(""),
                    );
                }
            }
            Self::Table(table) => text = table.bytes_to_string(codes).unwrap_or_default(),
            Self::Encoded(encoding) => text = encoding.decode_without_bom_handling(codes).0.into_owned(),
        }
        // What has no meaning is not shown: it would look like text.
        text.chars().filter_map(meant).collect()
    }

    /// How many characters a string has.
    pub(crate) fn count(&self, codes: &[u8]) -> usize {
        if matches!(self, Self::Simple(_)) { codes.len() } else { codes.len() / 2 }
    }
}

fn looked_up(table: &Encoding<'_>, code: &[u8]) -> Option<String> {
    let text: String = table.bytes_to_string(code).ok()?.chars().map(meant).collect::<Option<_>>()?;
    (!text.is_empty()).then_some(text)
}

/// What the codes are before any are named otherwise.
fn base(document: &Document, font: &Dictionary, encoding: Option<&Object>) -> Vec<String> {
    let is = |key: &[u8], name: &[u8]| {
        font.get_deref(key, document).and_then(Object::as_name).is_ok_and(|it| it.ends_with(name))
    };
    let named = encoding.and_then(|encoding| match encoding {
        Object::Name(name) => Some(name.as_slice()),
        Object::Dictionary(encoding) => encoding.get_deref(b"BaseEncoding", document).and_then(Object::as_name).ok(),
        _ => None,
    });
    // A name that nobody knows says nothing of the font.
    if let Some(named) = named.filter(|named| STANDARDS.contains(named)) {
        return standard(named);
    }
    let known = Program::of(document, font).map(|program| program.codes()).unwrap_or_default();
    if !known.is_empty() {
        return (0..=u8::MAX).map(|code| known.get(&code).cloned().unwrap_or_default()).collect();
    }
    match () {
        () if is(b"BaseFont", b"Symbol") => symbols(),
        () if is(b"BaseFont", b"ZapfDingbats") => (0..=u8::MAX).map(dingbat).map(str::to_owned).collect(),
        () if is(b"Subtype", b"Type3") => drawn(),
        () if is(b"Subtype", b"TrueType") => standard(b"WinAnsiEncoding"),
        () => standard(b"StandardEncoding"),
    }
}

/// One of the encodings that the standard of PDF lists.
fn standard(name: &[u8]) -> Vec<String> {
    let font = dictionary! { "Type" => "Font", "Encoding" => Object::Name(name.to_vec()) };
    let nothing = Document::new();
    let encoding = font.get_font_encoding(&nothing).ok();
    let text = |code: u8| encoding.as_ref().and_then(|encoding| encoding.bytes_to_string(&[code]).ok());
    (0..=u8::MAX).map(|code| text(code).unwrap_or_default()).collect()
}

/// A font whose glyphs are drawn in the file, under names that are made up: as most of them are, one of TeX.
fn drawn() -> Vec<String> {
    let mut codes = standard(b"WinAnsiEncoding");
    let ligatures = ["ff", "fi", "fl", "ffi", "ffl"];
    let others =
        [(0x10, "“"), (0x11, "”"), (0x15, "–"), (0x16, "—"), (0x27, "’"), (0x60, "‘"), (0x7f, "-"), (0xff, "ß")];
    let listed = (0x0b..).zip(ligatures).chain((0x1b..).zip(ligatures)).chain(others);
    for (code, text) in listed {
        if let Some(slot) = codes.get_mut(code) {
            text.clone_into(slot);
        }
    }
    codes
}

/// The font `Symbol`, which every reader has: Greek where others have Latin letters.
fn symbols() -> Vec<String> {
    let mut codes = standard(b"StandardEncoding");
    let letters = (b'A', "ΑΒΧΔΕΦΓΗΙϑΚΛΜΝΟΠΘΡΣΤΥςΩΞΨΖ");
    for (first, letters) in [letters, (b'a', "αβχδεφγηιϕκλμνοπθρστυϖωξψζ"), (0xa3, "≤⁄∞"), (0xb0, "°±″≥×∝∂•÷≠≡≈")]
    {
        for (slot, letter) in codes.iter_mut().skip(usize::from(first)).zip(letters.chars()) {
            *slot = letter.to_string();
        }
    }
    codes
}

/// The font `ZapfDingbats`, which every reader has: of it, ticks are made, and marks of a list's items.
fn dingbat(code: u8) -> &'static str {
    match code {
        0..=b' ' => "",
        b'3' | b'4' => "✓",
        b'5'..=b'8' => "✗",
        _ => "•",
    }
}

/// The encoding behind the name of a table of East Asian characters that every reader has.
fn predefined(name: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let name = std::str::from_utf8(name).ok()?;
    let has = |part: &str| name.contains(part);
    Some(match () {
        () if has("UCS2") || has("UTF16") => UTF_16BE,
        () if has("UTF8") => UTF_8,
        () if has("RKSJ") => SHIFT_JIS,
        () if has("GBK") || has("GBpc") || name.starts_with("GB-EUC") => GB18030,
        () if name.starts_with("ETen-B5") || name.starts_with("B5pc") || has("HKscs") => BIG5,
        () if name.starts_with("KSC") => EUC_KR,
        () if name.starts_with("EUC") => EUC_JP,
        () => return None,
    })
}

/// What the program of a font of numbered glyphs knows of them.
fn glyphs(document: &Document, font: &Dictionary) -> Option<HashMap<u16, String>> {
    let descendants = font.get_deref(b"DescendantFonts", document).and_then(Object::as_array).ok()?;
    let (_, descendant) = document.dereference(descendants.first()?).ok()?;
    let descendant = descendant.as_dict().ok()?;
    let known = Program::of(document, descendant)?.glyphs();
    // A table may stand between the codes and the glyphs.
    let Ok(numbers) = descendant.get_deref(b"CIDToGIDMap", document).and_then(Object::as_stream) else {
        return Some(known);
    };
    let numbers = numbers.get_plain_content_with_limit(MAX_TABLE_BYTES).ok()?;
    let glyphs = numbers.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(u16::from_be_bytes);
    Some((0..=u16::MAX).zip(glyphs).filter_map(|(code, glyph)| Some((code, known.get(&glyph)?.clone()))).collect())
}
