//! From a core module to a component with its manifest where the host looks for it.
//!
//! The SDK leaves the manifest in a custom section of the core module, which a component would bury inside itself. It is
//! lifted to the component's top level, so that installing a plugin reads it without running, or even parsing, any code.

use std::ops::Range;

use anyhow::{Context as _, Result, bail};
use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;

/// The section's name, as the host knows it.
const SECTION: &str = "vivarium:manifest";

/// # Errors
/// When the module is none, holds not exactly one manifest, or does not fit the contract that it was compiled for.
pub(crate) fn from_core_module(module: &[u8]) -> Result<Vec<u8>> {
    let (core, manifest) = split(module)?;
    let mut component = ComponentEncoder::default()
        .module(&core)
        .context("it does not name the world of vivarium:plugin that it was made for")?
        .validate(true)
        .encode()?;
    append_section(&mut component, SECTION, &manifest);
    Ok(component)
}

/// The module without its manifest, and the manifest.
fn split(module: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    let mut found: Vec<(Range<usize>, Vec<u8>)> = Vec::new();
    let mut before = 0;
    for payload in Parser::new(0).parse_all(module) {
        let payload = payload.context("it is no WASM module")?;
        match &payload {
            Payload::Version { encoding: Encoding::Component, .. } => bail!("it is a component already"),
            Payload::Version { range, .. } => before = range.end,
            Payload::CustomSection(section) if section.name() == SECTION => {
                // The reported range leaves out the section's id and length, which stand between it and the section before.
                found.push((before..section.range().end, section.data().to_vec()));
                before = section.range().end;
            }
            other => {
                if let Some((_, range)) = other.as_section() {
                    before = range.end;
                }
            }
        }
    }
    let (range, manifest) = match (found.pop(), found.is_empty()) {
        (Some(only), true) => only,
        (None, _) => bail!("it has no section {SECTION}: does it use export_mode! or export_tools! of the SDK?"),
        (Some(_), false) => bail!("it has more than one section {SECTION}: one plugin, one manifest"),
    };
    let kept = module.iter().enumerate().filter(|(at, _)| !range.contains(at)).map(|(_, byte)| *byte);
    Ok((kept.collect(), manifest))
}

/// A custom section: 0, the length of the rest, the length of the name, the name, the bytes.
fn append_section(binary: &mut Vec<u8>, name: &str, bytes: &[u8]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

    fn module(sections: &[(&str, &[u8])]) -> Vec<u8> {
        let mut module = EMPTY_MODULE.to_vec();
        for (name, bytes) in sections {
            append_section(&mut module, name, bytes);
        }
        module
    }

    #[test]
    fn the_manifest_is_lifted_out_and_the_rest_stays_byte_for_byte() {
        let long = vec![b'x'; 300];
        let with = module(&[("first", b"1"), (SECTION, &long), ("last", b"2")]);
        let (core, manifest) = split(&with).unwrap();
        assert_eq!(manifest, long);
        assert_eq!(core, module(&[("first", b"1"), ("last", b"2")]));
    }

    #[test]
    fn a_module_without_a_manifest_or_with_two_is_refused() {
        let none = split(&module(&[("other", b"1")])).unwrap_err().to_string();
        assert!(none.contains("has no section vivarium:manifest"), "{none}");
        let two = split(&module(&[(SECTION, b"{}"), (SECTION, b"{}")])).unwrap_err().to_string();
        assert!(two.contains("more than one"), "{two}");
    }

    #[test]
    fn what_is_no_module_is_refused() {
        assert!(split(b"not wasm").is_err());
        assert!(split(b"\0asm\x0d\0\x01\0").unwrap_err().to_string().contains("component already"));
    }

    #[test]
    fn the_components_manifest_stands_at_its_top_level() {
        let mut component = b"\0asm\x0d\0\x01\0".to_vec();
        append_section(&mut component, SECTION, b"{\"a\":1}");
        let sections: Vec<_> = Parser::new(0)
            .parse_all(&component)
            .filter_map(|payload| match payload.unwrap() {
                Payload::CustomSection(section) => Some((section.name().to_owned(), section.data().to_vec())),
                _ => None,
            })
            .collect();
        assert_eq!(sections, [(SECTION.to_owned(), b"{\"a\":1}".to_vec())]);
    }
}
