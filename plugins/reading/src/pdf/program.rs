//! What a font's program, which files carry along to draw with, says of its characters: it is asked where the file itself is silent.

use std::collections::HashMap;

use lopdf::{Dictionary, Document, Object};
use ttf_parser::cmap::{Format, Subtable};
use ttf_parser::{Face, GlyphId, Tag, cff};

use crate::pdf::names;

/// What a font's program may unpack to. Those with the characters of East Asia have some MiB.
const MAX_PROGRAM_BYTES: usize = 16 << 20;
/// Tables of characters of one font that are asked. A real one has two or three.
const MAX_TABLES: usize = 8;
/// Behind these characters there are none that texts are made of.
const END_OF_CHARACTERS: u32 = 0x4_0000;
/// A packed font's names are looked up each from the beginning of its list; those that have more glyphs number them.
const MAX_NAMED_GLYPHS: u16 = 1 << 14;
/// Names of glyphs that everybody knows, before those that a TrueType font lists itself.
const KNOWN_NAMES: u16 = 258;
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
                let (characters, glyph_names) = (characters(&face), GlyphNames::of(&face));
                named(&|code| {
                    let glyph = glyph(&face, code)?;
                    glyph_names
                        .get(glyph)
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
                named(table.number_of_glyphs().min(MAX_NAMED_GLYPHS), &|glyph| {
                    table.glyph_name(glyph).and_then(names::text)
                })
            }
            Self::TrueType(program) => {
                let Ok(face) = Face::parse(program, 0) else { return HashMap::new() };
                let (characters, glyph_names) = (characters(&face), GlyphNames::of(&face));
                named(face.number_of_glyphs(), &|glyph| {
                    let character = characters.get(&glyph.0).map(char::to_string);
                    character.or_else(|| glyph_names.get(glyph).and_then(names::text))
                })
            }
        }
    }
}

/// The names of a TrueType font's glyphs. The library looks for each from the beginning of their list, so that is kept here.
struct GlyphNames<'a> {
    face: &'a Face<'a>,
    /// For each glyph the number of its name, in two bytes.
    numbers: &'a [u8],
    listed: Vec<&'a str>,
}

impl<'a> GlyphNames<'a> {
    fn of(face: &'a Face<'a>) -> Self {
        let table = face.raw_face().table(Tag::from_bytes(b"post")).unwrap_or_default();
        // Only this version of the table has a list. It begins with how many glyphs it names.
        let numbers = table.strip_prefix(b"\0\x02\0\0").and_then(|rest| rest.get(28..)?.split_first_chunk::<2>());
        let numbers = numbers.and_then(|(count, rest)| rest.get(..2 * usize::from(u16::from_be_bytes(*count))));
        let listed = face.tables().post.filter(|_| numbers.is_some()).map(|table| table.names().collect());
        Self { face, numbers: numbers.unwrap_or_default(), listed: listed.unwrap_or_default() }
    }

    fn get(&self, glyph: GlyphId) -> Option<&'a str> {
        let at = 2 * usize::from(glyph.0);
        let number = self.numbers.get(at..at + 2).and_then(|pair| pair.try_into().ok()).map(u16::from_be_bytes);
        if let Some(n) = number.and_then(|number| number.checked_sub(KNOWN_NAMES))
            && let Some(name) = self.listed.get(usize::from(n)).copied()
        {
            return Some(name);
        }
        // What is not listed is found at once, or in the packed font within this one.
        match number {
            Some(number) if number < KNOWN_NAMES => self.face.glyph_name(glyph),
            _ if glyph.0 < MAX_NAMED_GLYPHS => self.face.tables().cff.as_ref()?.glyph_name(glyph),
            _ => None,
        }
    }
}

/// The tables between codes and glyphs, for characters or for codes of the font's own. One that gives many characters the same glyph
/// tells them not apart, and is slow to ask.
fn tables<'a>(face: &Face<'a>, for_characters: bool) -> impl Iterator<Item = Subtable<'a>> {
    let tables = face.tables().cmap.map(|cmap| cmap.subtables).into_iter().flatten();
    let tables = tables.filter(move |table| table.is_unicode() == for_characters);
    tables.filter(|table| !matches!(table.format, Format::ManyToOneRangeMappings(_))).take(MAX_TABLES)
}

/// The glyph of a code in the tables that stand for codes and not for characters.
fn glyph(face: &Face<'_>, code: u8) -> Option<GlyphId> {
    let found = |code: u32| tables(face, false).find_map(|table| table.glyph_index(code));
    let code = u32::from(code);
    found(code).filter(|glyph| glyph.0 != 0).or_else(|| found(SYMBOLS + code)).filter(|glyph| glyph.0 != 0)
}

/// The glyphs' characters, the first where a glyph has several. The characters are asked for: what a table says it has may be without end.
fn characters(face: &Face<'_>) -> HashMap<u16, char> {
    let mut characters = HashMap::new();
    for table in tables(face, true) {
        for code in 0..END_OF_CHARACTERS {
            let Some(character) = char::from_u32(code).and_then(names::meant) else { continue };
            // The first glyph is that of what a font does not have.
            if let Some(glyph) = table.glyph_index(code).filter(|glyph| glyph.0 != 0) {
                characters.entry(glyph.0).or_insert(character);
            }
        }
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
