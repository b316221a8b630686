//! XML as a row of events, read from a stream: elements by their local names, text with its references resolved.

use std::borrow::Cow;
use std::io::BufRead;

use quick_xml::Reader;
use quick_xml::escape::resolve_predefined_entity;
use quick_xml::events::{BytesRef, BytesStart, Event as Raw};

/// Whether to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walk {
    On,
    /// What is still to come is not needed.
    Enough,
}

/// What a walk comes upon.
pub(crate) enum Event<'a> {
    Open(Element<'a>),
    /// The local name of an element that ends.
    Close(&'a [u8]),
    Text(Cow<'a, str>),
}

/// The beginning of an element.
pub(crate) struct Element<'a>(&'a BytesStart<'a>);

impl Element<'_> {
    /// Its name without the prefix.
    pub(crate) fn name(&self) -> &[u8] {
        self.0.local_name().into_inner()
    }

    pub(crate) fn is(&self, name: &[u8]) -> bool {
        self.name() == name
    }

    /// The attribute of this name, whatever its prefix.
    pub(crate) fn attribute(&self, name: &[u8]) -> Option<String> {
        let mut attributes = self.0.attributes();
        let mut attributes = attributes.with_checks(false).flatten();
        let attribute = attributes.find(|attribute| attribute.key.local_name().into_inner() == name)?;
        let raw = String::from_utf8_lossy(&attribute.value);
        Some(quick_xml::escape::unescape(&raw).map_or_else(|_| raw.to_string(), Cow::into_owned))
    }

    /// The attribute of this name as a number.
    pub(crate) fn number(&self, name: &[u8]) -> Option<usize> {
        self.attribute(name)?.trim().parse().ok()
    }
}

/// Shows `visit` one event after the other, until it has enough.
pub(crate) fn walk(source: impl BufRead, mut visit: impl FnMut(Event<'_>) -> Walk) -> Result<(), quick_xml::Error> {
    let mut reader = Reader::from_reader(source);
    let config = reader.config_mut();
    config.expand_empty_elements = true;
    config.allow_dangling_amp = true;
    let mut buffer = Vec::new();
    loop {
        let walk = match reader.read_event_into(&mut buffer)? {
            Raw::Start(start) => visit(Event::Open(Element(&start))),
            Raw::End(end) => visit(Event::Close(end.local_name().into_inner())),
            Raw::Text(text) => visit(Event::Text(String::from_utf8_lossy(&text))),
            Raw::CData(text) => visit(Event::Text(String::from_utf8_lossy(&text))),
            Raw::GeneralRef(reference) => visit(Event::Text(resolved(&reference))),
            Raw::Eof => return Ok(()),
            _ => Walk::On,
        };
        if walk == Walk::Enough {
            return Ok(());
        }
        buffer.clear();
    }
}

/// What a reference stands for: a character, or one of the five names that need no declaration. There is no other entity:
/// nothing of a document can grow by naming itself.
fn resolved<'a>(reference: &BytesRef<'_>) -> Cow<'a, str> {
    if let Ok(Some(character)) = reference.resolve_char_ref() {
        return Cow::Owned(character.to_string());
    }
    let name = String::from_utf8_lossy(reference);
    resolve_predefined_entity(&name).map_or(Cow::Borrowed(""), Cow::Borrowed)
}
