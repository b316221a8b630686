//! Taking a binary apart and putting it together again, by its outermost sections: a component is not decoded, and nothing of
//! it runs.

use std::ops::Range;

use wit_component::ComponentEncoder;

/// Why bytes are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BinaryError {
    /// They are no WebAssembly, or cut off.
    #[error("it is no WebAssembly binary: {0}")]
    NotWasm(String),
    /// A core module that a component can not be made of.
    #[error("it is a core module, not a component: {0}")]
    NotAComponent(String),
}

/// What a binary is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A core module.
    Module,
    /// A component.
    Component,
}

const MAGIC: [u8; 4] = *b"\0asm";
/// The magic word, the version and the layer.
const HEADER_BYTES: usize = 8;

/// Whether the bytes are a module or a component.
///
/// # Errors
/// When they are neither.
pub fn kind(binary: &[u8]) -> Result<Kind, BinaryError> {
    match binary.get(..HEADER_BYTES) {
        Some([a, b, c, d, 1, 0, 0, 0]) if [*a, *b, *c, *d] == MAGIC => Ok(Kind::Module),
        Some([a, b, c, d, _, _, 1, 0]) if [*a, *b, *c, *d] == MAGIC => Ok(Kind::Component),
        Some([a, b, c, d, ..]) if [*a, *b, *c, *d] == MAGIC => {
            Err(BinaryError::NotWasm("it is of an unknown version".to_owned()))
        }
        Some(_) => Err(BinaryError::NotWasm("it does not begin with \\0asm".to_owned())),
        None => Err(BinaryError::NotWasm(format!("it has only {} bytes", binary.len()))),
    }
}

/// One outermost section: where it stands, id and length included, and what a custom one is called and holds.
struct Section<'a> {
    whole: Range<usize>,
    custom: Option<(&'a str, &'a [u8])>,
}

fn sections(binary: &[u8]) -> Result<Vec<Section<'_>>, BinaryError> {
    kind(binary)?;
    let cut = || BinaryError::NotWasm("it is cut off within a section".to_owned());
    let mut found = Vec::new();
    let mut at = HEADER_BYTES;
    while let Some((&id, rest)) = binary.get(at..).and_then(<[u8]>::split_first) {
        let (length, body) = take_leb128(rest).ok_or_else(cut)?;
        let content = body.get(..length).ok_or_else(cut)?;
        let end = binary.len().saturating_sub(body.len()).saturating_add(length);
        let custom = if id == 0 { Some(named(content).ok_or_else(cut)?) } else { None };
        found.push(Section { whole: at..end, custom });
        at = end;
    }
    Ok(found)
}

fn named(content: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = take_leb128(content)?;
    let (name, bytes) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(name).ok()?, bytes))
}

/// A number, and what follows it. At most five bytes, as WebAssembly has it.
fn take_leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut number = 0_u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        number |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let number = u32::try_from(number).ok().and_then(|number| usize::try_from(number).ok())?;
            return Some((number, bytes.get(index + 1..)?));
        }
    }
    None
}

/// The bytes of the outermost custom sections of this name.
///
/// # Errors
/// When the binary is none.
pub fn custom_sections<'a>(binary: &'a [u8], name: &str) -> Result<Vec<&'a [u8]>, BinaryError> {
    let of_that_name = |section: Section<'a>| section.custom.filter(|(is, _)| *is == name).map(|(_, bytes)| bytes);
    Ok(sections(binary)?.into_iter().filter_map(of_that_name).collect())
}

/// The binary without its outermost custom sections of this name.
///
/// # Errors
/// When the binary is none.
pub fn without_section(binary: &[u8], name: &str) -> Result<Vec<u8>, BinaryError> {
    let mut kept = binary.get(..HEADER_BYTES).unwrap_or_default().to_vec();
    for section in sections(binary)? {
        if section.custom.is_none_or(|(is, _)| is != name) {
            kept.extend_from_slice(binary.get(section.whole).unwrap_or_default());
        }
    }
    Ok(kept)
}

/// Puts a custom section at the end: 0, the length of the rest, the length of the name, the name, the bytes.
pub fn append_section(binary: &mut Vec<u8>, name: &str, bytes: &[u8]) {
    let mut body = leb128(name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(bytes);
    binary.push(0);
    binary.extend(leb128(body.len()));
    binary.extend(body);
}

fn leb128(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = u8::try_from(number & 0x7f).unwrap_or_default();
        number >>= 7;
        if number == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// A component, made of a core module that says which world it was compiled for; a component as it is.
///
/// # Errors
/// When no component can be made of it, with what would help.
pub fn to_component(binary: &[u8]) -> Result<Vec<u8>, BinaryError> {
    if kind(binary)? == Kind::Component {
        return Ok(binary.to_vec());
    }
    let names_a_world =
        |section: &Section<'_>| section.custom.is_some_and(|(name, _)| name.starts_with("component-type"));
    if !sections(binary)?.iter().any(names_a_world) {
        return Err(BinaryError::NotAComponent(
            "and it does not name the world of vivarium:plugin that it was made for. Build it for wasm32-wasip2 with \
             bindings of wit-bindgen, or make a component of it with `wasm-tools component embed` and `component new`"
                .to_owned(),
        ));
    }
    encode(binary).map_err(|reason| {
        let help = if reason.contains("wasi_snapshot_preview1") {
            ". It uses WASI preview 1: build it for wasm32-wasip2, or make a component of it with `wasm-tools component \
             new --adapt wasi_snapshot_preview1.reactor.wasm`"
        } else {
            ""
        };
        BinaryError::NotAComponent(format!("and none can be made of it: {reason}{help}"))
    })
}

fn encode(module: &[u8]) -> Result<Vec<u8>, String> {
    let encoder = ComponentEncoder::default().module(module).map_err(|error| format!("{error:#}"))?;
    encoder.validate(true).encode().map_err(|error| format!("{error:#}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const COMPONENT: [u8; 8] = *b"\0asm\x0d\0\x01\0";

    #[test]
    fn a_section_goes_in_and_comes_out_and_leaves_the_rest_as_it_was() {
        let mut binary = COMPONENT.to_vec();
        append_section(&mut binary, "before", b"1");
        let before = binary.clone();
        append_section(&mut binary, "mine", &[7; 300]);
        append_section(&mut binary, "after", b"2");
        assert_eq!(custom_sections(&binary, "mine").unwrap(), [[7; 300]]);
        let mut expected = before;
        append_section(&mut expected, "after", b"2");
        assert_eq!(without_section(&binary, "mine").unwrap(), expected);
        assert_eq!(without_section(&expected, "mine").unwrap(), expected);
    }

    #[test]
    fn what_is_no_binary_is_named() {
        for (bytes, words) in [
            (&b"hello world"[..], "does not begin with"),
            (b"\0as", "only 3 bytes"),
            (b"\0asm\x09\0\x09\0", "unknown version"),
            (b"\0asm\x01\0\0\0\x00\x05\x01", "cut off"),
            (b"\0asm\x01\0\0\0\x00\xff\xff\xff\xff\xff\xff", "cut off"),
        ] {
            let error = custom_sections(bytes, "mine").unwrap_err().to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn a_core_module_without_a_world_is_told_what_to_do() {
        let error = to_component(b"\0asm\x01\0\0\0").unwrap_err().to_string();
        assert!(error.contains("wasm32-wasip2") && error.contains("wasm-tools"), "{error}");
    }

    #[test]
    fn a_component_stays_as_it_is() {
        assert_eq!(to_component(&COMPONENT).unwrap(), COMPONENT);
    }

    proptest! {
        #[test]
        fn no_bytes_break_it(tail in proptest::collection::vec(any::<u8>(), 0..200), name in "[a-c]{0,2}") {
            let mut binary = COMPONENT.to_vec();
            binary.extend(tail);
            if let Ok(without) = without_section(&binary, &name) {
                prop_assert!(custom_sections(&without, &name).unwrap().is_empty());
            }
        }
    }
}
