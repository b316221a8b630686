//! What a font's program, which files carry along to draw with, says of its characters: it is asked where the file itself is silent.

use std::collections::HashMap;

use lopdf::{Dictionary, Document, Object};
use ttf_parser::{Face, GlyphId, cff};

use crate::pdf::names;

/// What a font's program may unpack to. Those with the characters of East Asia have some MiB.
const MAX_PROGRAM_BYTES: usize = 16 << 20;
/// Where symbols stand in a TrueType font that is made of them.
const SYMBOLS: u32 = 0xf000;

/// A font's program.
pub(crate) enum Program {
    /// PostScript, with names.
    Type1(Vec<u8>),
    /// The same, packed.
    Compact(Vec<u8>),
    /// TrueType, or what is wrapped like it.
    TrueType(Vec<u8>),
}

impl Program {
    /// The program that a font's descriptor carries.
    pub(crate) fn of(document: &Document, font: &Dictionary) -> Option<Self> {
        let descriptor = font.get_deref(b"FontDescriptor", document).and_then(Object::as_dict).ok()?;
        let file = |key: &[u8]| {
            let stream = descriptor.get_deref(key, document).and_then(Object::as_stream).ok()?;
            stream.get_plain_content_with_limit(MAX_PROGRAM_BYTES).ok()
        };
        if let Some(bytes) = file(b"FontFile") {
            return Some(Self::Type1(bytes));
        }
        if let Some(bytes) = file(b"FontFile2") {
            return Some(Self::TrueType(bytes));
        }
        let bytes = file(b"FontFile3")?;
        Some(if bytes.starts_with(b"OTTO") || bytes.starts_with(b"\0\x01\0\0") {
            Self::TrueType(bytes)
        } else {
            Self::Compact(bytes)
        })
    }

    /// What each code of one byte stands for, as far as the program knows; empty where it does not.
    pub(crate) fn codes(&self) -> HashMap<u8, String> {
        let named =
            |name: &dyn Fn(u8) -> Option<String>| (0..=u8::MAX).filter_map(|code| Some((code, name(code)?))).collect();
        match self {
            Self::Type1(program) => type1_codes(program),
            Self::Compact(program) => {
                let Some(table) = cff::Table::parse(program) else { return HashMap::new() };
                named(&|code| names::text(table.glyph_name(table.glyph_index(code)?)?))
            }
            Self::TrueType(program) => {
                let Ok(face) = Face::parse(program, 0) else { return HashMap::new() };
                let characters = characters(&face);
                named(&|code| {
                    let glyph = glyph(&face, code)?;
                    face.glyph_name(glyph)
                        .and_then(names::text)
                        .or_else(|| characters.get(&glyph.0).map(char::to_string))
                })
            }
        }
    }

    /// What each glyph stands for, by its number.
    pub(crate) fn glyphs(&self) -> HashMap<u16, String> {
        let named = |count: u16, name: &dyn Fn(GlyphId) -> Option<String>| {
            (0..count).filter_map(|glyph| Some((glyph, name(GlyphId(glyph))?))).collect()
        };
        match self {
            Self::Type1(_) => HashMap::new(),
            Self::Compact(program) => {
                let Some(table) = cff::Table::parse(program) else { return HashMap::new() };
                named(table.number_of_glyphs(), &|glyph| table.glyph_name(glyph).and_then(names::text))
            }
            Self::TrueType(program) => {
                let Ok(face) = Face::parse(program, 0) else { return HashMap::new() };
                let characters = characters(&face);
                named(face.number_of_glyphs(), &|glyph| {
                    let character = characters.get(&glyph.0).map(char::to_string);
                    character.or_else(|| face.glyph_name(glyph).and_then(names::text))
                })
            }
        }
    }
}

/// The glyph of a code in the tables that stand for codes and not for characters.
fn glyph(face: &Face<'_>, code: u8) -> Option<GlyphId> {
    let tables = face.tables().cmap?.subtables;
    let found =
        |code: u32| tables.into_iter().filter(|table| !table.is_unicode()).find_map(|table| table.glyph_index(code));
    let code = u32::from(code);
    found(code).filter(|glyph| glyph.0 != 0).or_else(|| found(SYMBOLS + code)).filter(|glyph| glyph.0 != 0)
}

/// The glyphs' characters, the first where a glyph has several.
fn characters(face: &Face<'_>) -> HashMap<u16, char> {
    let mut characters = HashMap::new();
    let tables = face.tables().cmap.map(|cmap| cmap.subtables);
    for table in tables.into_iter().flatten().filter(|table| table.is_unicode()) {
        table.codepoints(|code| {
            let character = char::from_u32(code).and_then(names::meant);
            if let (Some(character), Some(glyph)) = (character, table.glyph_index(code)) {
                characters.entry(glyph.0).or_insert(character);
            }
        });
    }
    characters
}

/// The lines `dup 12 /fi put` in the part of the program that is not enciphered.
fn type1_codes(program: &[u8]) -> HashMap<u8, String> {
    let end = program.windows(5).position(|window| window == b"eexec").unwrap_or(program.len());
    let open = String::from_utf8_lossy(program.get(..end).unwrap_or(program));
    let Some((_, rest)) = open.split_once("/Encoding") else { return HashMap::new() };
    // Some have no space before the name.
    let rest = rest.replace('/', " /");
    let words: Vec<&str> = rest.split_ascii_whitespace().take(256 * 8).collect();
    let listed = words.windows(3).filter_map(|window| match window {
        ["dup", code, name] => Some((code.parse().ok()?, names::text(name.strip_prefix('/')?)?)),
        _ => None,
    });
    listed.collect()
}
