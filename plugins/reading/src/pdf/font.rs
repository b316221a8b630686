//! Fonts: which characters the codes of a string stand for, and how far they reach.

use std::collections::HashMap;
use std::rc::Rc;

use lopdf::{Dictionary, Document, Object};

use crate::pdf::characters::Characters;
use crate::pdf::widths;

/// In thousandths of the font's size, where the font does not say: about a letter's width.
const LIKELY_WIDTH: f32 = 500.0;
/// More widths than a font can have characters are not read.
const MAX_WIDTHS: usize = 65_536;

fn is_composite(font: &Dictionary) -> bool {
    font.get(b"Subtype").and_then(Object::as_name).is_ok_and(|subtype| subtype == b"Type0")
}

/// A font that can be read.
pub(crate) struct Font {
    characters: Characters,
    widths: Widths,
}

enum Widths {
    /// The font does not say.
    Unknown,
    /// That of a font which every reader has.
    Standard(fn(u8) -> f32),
    /// By one byte each.
    Simple { first: usize, widths: Vec<f32> },
    /// By two bytes each.
    Composite { default: f32, widths: HashMap<u16, f32> },
}

impl Font {
    fn read(document: &Document, font: &Dictionary) -> Option<Self> {
        let (characters, widths) = if is_composite(font) {
            (Characters::composite(document, font)?, composite(document, font))
        } else {
            (Characters::simple(document, font), simple(document, font))
        };
        Some(Self { characters, widths: widths.unwrap_or(Widths::Unknown) })
    }

    /// How many codes a string has.
    pub(crate) fn count(&self, codes: &[u8]) -> usize {
        self.characters.count(codes)
    }

    /// Whether the space between words is drawn as a code of its own, which the page may widen.
    pub(crate) fn has_spaces(&self) -> bool {
        matches!(self.characters, Characters::Simple(_))
    }

    /// The text of a string.
    pub(crate) fn text(&self, codes: &[u8]) -> String {
        self.characters.text(codes)
    }

    /// How far a string reaches, in parts of the font's size, and whether that is known or guessed.
    pub(crate) fn reach(&self, codes: &[u8]) -> (f32, bool) {
        let (sum, known): (f32, bool) = match &self.widths {
            #[expect(clippy::cast_precision_loss, reason = "a guess: close is good enough")]
            Widths::Unknown => (codes.len() as f32 * LIKELY_WIDTH, false),
            Widths::Standard(width) => (codes.iter().map(|code| width(*code)).sum(), true),
            Widths::Simple { first, widths } => {
                let width = |code: &u8| usize::from(*code).checked_sub(*first).and_then(|n| widths.get(n)).copied();
                (codes.iter().map(|code| width(code).unwrap_or(LIKELY_WIDTH)).sum(), true)
            }
            Widths::Composite { default, widths } => {
                let codes = codes.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(u16::from_be_bytes);
                (codes.map(|code| widths.get(&code).copied().unwrap_or(*default)).sum(), true)
            }
        };
        (sum / 1000.0, known)
    }
}

fn simple(document: &Document, font: &Dictionary) -> Option<Widths> {
    // A font of drawings has a measure of its own.
    if font.get(b"Subtype").and_then(Object::as_name).is_ok_and(|subtype| subtype == b"Type3") {
        return None;
    }
    if !font.has(b"Widths") {
        let name = font.get_deref(b"BaseFont", document).and_then(Object::as_name).ok()?;
        return widths::of(name).map(Widths::Standard);
    }
    let first = font.get_deref(b"FirstChar", document).and_then(Object::as_i64).ok()?;
    let widths = font.get_deref(b"Widths", document).and_then(Object::as_array).ok()?;
    let widths = widths.iter().take(MAX_WIDTHS).map(|width| number(document, width)).collect::<Option<_>>()?;
    Some(Widths::Simple { first: usize::try_from(first).ok()?, widths })
}

fn composite(document: &Document, font: &Dictionary) -> Option<Widths> {
    let encoding = font.get_deref(b"Encoding", document).and_then(Object::as_name).ok()?;
    if !encoding.starts_with(b"Identity") {
        return None;
    }
    let descendants = font.get_deref(b"DescendantFonts", document).and_then(Object::as_array).ok()?;
    let (_, descendant) = document.dereference(descendants.first()?).ok()?;
    let descendant = descendant.as_dict().ok()?;
    let default = descendant.get(b"DW").ok().and_then(|width| number(document, width)).unwrap_or(1000.0);
    let mut widths = HashMap::new();
    let listed = descendant.get_deref(b"W", document).and_then(Object::as_array);
    let mut rest = listed.map(Vec::as_slice).unwrap_or_default();
    // `first [width width …]`, or `first last width`.
    while let [first, second, tail @ ..] = rest {
        let Some(first) = code(first) else { break };
        let second = document.dereference(second).map_or(second, |(_, object)| object);
        if let Object::Array(listed) = second {
            let listed = listed.iter().filter_map(|width| number(document, width));
            widths.extend((first..=u16::MAX).zip(listed));
            rest = tail;
        } else if let ([third, tail @ ..], Some(last)) = (tail, code(second)) {
            let width = number(document, third).unwrap_or(default);
            widths.extend((first..=last).map(|code| (code, width)));
            rest = tail;
        } else {
            break;
        }
    }
    Some(Widths::Composite { default, widths })
}

fn code(object: &Object) -> Option<u16> {
    object.as_i64().ok().and_then(|code| u16::try_from(code).ok())
}

fn number(document: &Document, object: &Object) -> Option<f32> {
    document.dereference(object).ok().and_then(|(_, object)| object.as_float().ok())
}

/// The fonts of a file, each read once, however many pages use it.
pub(crate) struct Fonts<'d> {
    document: &'d Document,
    /// By where the font lies in memory: one that stands in the resources themselves has no number.
    read: HashMap<*const Object, Option<Rc<Font>>>,
}

impl<'d> Fonts<'d> {
    pub(crate) fn new(document: &'d Document) -> Self {
        Self { document, read: HashMap::new() }
    }

    /// The font that `resources` have under `name`; none where there is none that can be read.
    pub(crate) fn get(&mut self, resources: &'d Dictionary, name: &[u8]) -> Option<Rc<Font>> {
        let document = self.document;
        let fonts = resources.get_deref(b"Font", document).and_then(Object::as_dict).ok()?;
        let font: &'d Object = fonts.get_deref(name, document).ok()?;
        let read = || font.as_dict().ok().and_then(|font| Font::read(document, font)).map(Rc::new);
        self.read.entry(std::ptr::from_ref(font)).or_insert_with(read).clone()
    }
}
