//! From a core module to a component with its manifest where the host looks for it.
//!
//! The SDK leaves the manifest in a custom section of the core module, which a component would bury inside itself. It is
//! lifted to the component's top level, so that installing a plugin reads it without running, or even parsing, any code.

use anyhow::{Result, bail};
use vivarium_author::{Kind, append_section, custom_sections, to_component, without_section};

/// The section's name, as the host knows it.
const SECTION: &str = "vivarium:manifest";

/// # Errors
/// When the module is none, holds not exactly one manifest, or does not fit the contract that it was compiled for.
pub(crate) fn from_core_module(module: &[u8]) -> Result<Vec<u8>> {
    let (core, manifest) = split(module)?;
    let mut component = to_component(&core)?;
    append_section(&mut component, SECTION, &manifest);
    Ok(component)
}

/// The module without its manifest, and the manifest.
fn split(module: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
    if vivarium_author::kind(module)? == Kind::Component {
        bail!("it is a component already");
    }
    match custom_sections(module, SECTION)?.as_slice() {
        [only] => Ok((without_section(module, SECTION)?, only.to_vec())),
        [] => bail!("it has no section {SECTION}: does it use export_mode! or export_tools! of the SDK?"),
        _ => bail!("it has more than one section {SECTION}: one plugin, one manifest"),
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
}
