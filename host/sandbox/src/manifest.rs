//! Reads what a component says of itself, without running or compiling it: one pass over its outermost sections.

use vivarium_domain::{Manifest, ManifestError};
use wasmparser::{Encoding, Parser, Payload};

use crate::LoadError;

/// The contract version that this host serves.
pub const CONTRACT: semver::Version = semver::Version::new(0, 1, 0);
const CONTRACT_TEXT: &str = "0.1.0";

/// A manifest is read at install, on the host's account.
const MAX_MANIFEST_BYTES: usize = 256 << 10;

/// Reads the manifest from a component's custom section.
///
/// # Errors
/// When the bytes are no component, or the section is missing, doubled, too large, not valid, or for a contract that this
/// host does not serve.
pub fn read_manifest(component: &[u8]) -> Result<Manifest, LoadError> {
    let section = manifest_section(component)?;
    if section.len() > MAX_MANIFEST_BYTES {
        let message = format!("it has {} bytes; at most {MAX_MANIFEST_BYTES} are allowed", section.len());
        return Err(ManifestError(message).into());
    }
    let manifest = Manifest::from_json(section)?;
    if manifest.contract != CONTRACT {
        return Err(LoadError::Contract { wanted: manifest.contract.to_string(), served: CONTRACT_TEXT });
    }
    Ok(manifest)
}

fn manifest_section(component: &[u8]) -> Result<&[u8], LoadError> {
    let mut found = None;
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(|error| LoadError::NotAComponent(error.to_string()))? {
            Payload::Version { encoding, .. } if depth == 0 && encoding != Encoding::Component => {
                return Err(LoadError::NotAComponent(
                    "it is a core module; make a component of it with wit-component or wasm-tools".to_owned(),
                ));
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth = depth.saturating_add(1),
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(custom)
                if depth == 0 && custom.name() == Manifest::SECTION && found.replace(custom.data()).is_some() =>
            {
                return Err(ManifestError("the component holds two manifests".to_owned()).into());
            }
            _ => {}
        }
    }
    found.ok_or_else(|| {
        ManifestError(format!("the component has no custom section {}; build it with the SDK", Manifest::SECTION))
            .into()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_module_is_refused_with_what_to_do() {
        let error = read_manifest(b"\0asm\x01\0\0\0").unwrap_err();
        assert!(error.to_string().contains("make a component of it"), "{error}");
    }

    #[test]
    fn garbage_is_refused() {
        for garbage in [&b""[..], b"hello", b"\0asm", b"\0asm\x0d\0\x01\0\xff\xff\xff"] {
            assert!(read_manifest(garbage).is_err(), "{garbage:?}");
        }
    }

    #[test]
    fn a_component_without_a_manifest_is_refused() {
        let error = read_manifest(b"\0asm\x0d\0\x01\0").unwrap_err();
        assert!(error.to_string().contains("vivarium:manifest"), "{error}");
    }
}
