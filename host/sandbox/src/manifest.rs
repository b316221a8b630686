//! Reads what a component says of itself, without running or compiling it: one pass over its outermost sections.

use vivarium_domain::{Manifest, ManifestError};
use vivarium_egress::AllowedHost;
use wasmparser::{Encoding, Parser, Payload};

use crate::LoadError;

/// The contract version that this host serves.
pub const CONTRACT: semver::Version = semver::Version::new(0, 1, 0);
const CONTRACT_TEXT: &str = "0.1.0";

/// A manifest is read at install, on the host's account.
const MAX_MANIFEST_BYTES: usize = 256 << 10;
/// Components within components: each level costs the reader memory.
const MAX_NESTING: u32 = 64;
const MAX_TOOLS: usize = 64;
const MAX_MODES: usize = 16;
/// Hosts, secrets and settings, each.
const MAX_NAMES: usize = 64;
const MAX_TITLE_BYTES: usize = 200;
/// A model reads it with every request.
const MAX_DESCRIPTION_BYTES: usize = 8 << 10;
const MAX_SETTING_BYTES: usize = 128;

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
    check(&manifest)?;
    Ok(manifest)
}

/// What models, operators and logs are shown of a plugin is bounded, and what it asks for can be granted.
fn check(manifest: &Manifest) -> Result<(), ManifestError> {
    let requests = &manifest.requests;
    let numbers = [
        ("tools", manifest.tools.len(), MAX_TOOLS),
        ("modes", manifest.modes.len(), MAX_MODES),
        ("requests.hosts", requests.hosts.len(), MAX_NAMES),
        ("requests.secrets", requests.secrets.len(), MAX_NAMES),
        ("requests.settings", requests.settings.len(), MAX_NAMES),
    ];
    if let Some((what, number, most)) = numbers.into_iter().find(|(_, number, most)| number > most) {
        return Err(ManifestError(format!("{what} has {number} entries; at most {most} are allowed")));
    }
    let own = [("the plugin".to_owned(), "", manifest.description.as_str())];
    let tools = manifest.tools.iter().map(|it| (format!("the tool {}", it.name), &*it.title, &*it.description));
    let modes = manifest.modes.iter().map(|it| (format!("the mode {}", it.name), &*it.title, &*it.description));
    for (whose, title, description) in own.into_iter().chain(tools).chain(modes) {
        for (what, text, most) in
            [("title", title, MAX_TITLE_BYTES), ("description", description, MAX_DESCRIPTION_BYTES)]
        {
            if text.len() > most {
                let message = format!("the {what} of {whose} has {} bytes; at most {most} are allowed", text.len());
                return Err(ManifestError(message));
            }
        }
    }
    if let Some(setting) = requests.settings.iter().find(|name| !matches!(name.len(), 1..=MAX_SETTING_BYTES)) {
        let shown: String = setting.chars().take(MAX_SETTING_BYTES).collect();
        return Err(ManifestError(format!("a setting's name has 1 to {MAX_SETTING_BYTES} bytes, not {shown:?}")));
    }
    for asked in &requests.hosts {
        AllowedHost::parse(&asked.host, &asked.methods)
            .map_err(|error| ManifestError(format!("requests.hosts: {error}")))?;
    }
    Ok(())
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
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } if depth == MAX_NESTING => {
                return Err(LoadError::NotAComponent(format!("it nests deeper than {MAX_NESTING} components")));
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

    const PREAMBLE: &[u8] = b"\0asm\x0d\0\x01\0";

    fn leb128(mut value: usize) -> Vec<u8> {
        let mut bytes = Vec::new();
        while value >= 0x80 {
            bytes.push((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        bytes.push(value as u8);
        bytes
    }

    fn section(id: u8, content: &[u8]) -> Vec<u8> {
        [&[id][..], &leb128(content.len()), content].concat()
    }

    fn custom(name: &str, data: &[u8]) -> Vec<u8> {
        section(0, &[&leb128(name.len())[..], name.as_bytes(), data].concat())
    }

    fn component(sections: &[Vec<u8>]) -> Vec<u8> {
        [PREAMBLE.to_vec(), sections.concat()].concat()
    }

    fn manifest_with(change: impl FnOnce(&mut serde_json::Value)) -> Vec<u8> {
        let mut manifest = serde_json::json!({
            "name": "a/b", "version": "1.0.0", "contract": "0.1.0", "description": "d",
            "tools": [{"name": "t", "title": "T", "description": "d", "inputSchema": {"type": "object"}}],
            "requests": {"settings": ["s"]},
        });
        change(&mut manifest);
        manifest.to_string().into_bytes()
    }

    fn refusal(bytes: &[u8]) -> String {
        read_manifest(bytes).unwrap_err().to_string()
    }

    fn refusal_of(change: impl FnOnce(&mut serde_json::Value)) -> String {
        refusal(&component(&[custom(Manifest::SECTION, &manifest_with(change))]))
    }

    #[test]
    fn the_manifest_is_found_wherever_it_stands_among_the_outermost_sections() {
        let manifest = custom(Manifest::SECTION, &manifest_with(|_| {}));
        let inner = section(4, &component(&[custom(Manifest::SECTION, b"not this one")]));
        let many: Vec<Vec<u8>> = (0..100_000).map(|number| custom(&format!("{number}"), b"")).collect();
        let read = read_manifest(&component(&[inner, many.concat(), manifest])).unwrap();
        assert_eq!(read.name.as_str(), "a/b");
    }

    #[test]
    fn a_manifest_that_is_nested_doubled_or_too_large_is_refused() {
        let manifest = custom(Manifest::SECTION, &manifest_with(|_| {}));
        let nested = component(&[section(4, &component(std::slice::from_ref(&manifest)))]);
        assert!(refusal(&nested).contains("has no custom section vivarium:manifest"));
        assert!(refusal(&component(&[manifest.clone(), manifest])).contains("two manifests"));
        let large = custom(Manifest::SECTION, &vec![b' '; 300 << 10]);
        assert!(refusal(&component(&[large])).contains("it has 307200 bytes; at most 262144 are allowed"));
    }

    #[test]
    fn components_within_components_without_end_are_refused() {
        let mut nested = PREAMBLE.to_vec();
        for _ in 0..1_000 {
            nested = component(&[section(4, &nested)]);
        }
        assert_eq!(
            refusal(&nested),
            "this is not a WebAssembly component that can be loaded: it nests deeper than 64 components"
        );
    }

    #[test]
    fn what_a_plugin_says_of_itself_is_bounded() {
        let tool = |number: usize| serde_json::json!({"name": format!("t{number}"), "title": "", "description": "", "inputSchema": {"type": "object"}});
        let too_many = refusal_of(|it| it["tools"] = (0..65).map(tool).collect());
        assert_eq!(too_many, "the plugin's manifest is not valid: tools has 65 entries; at most 64 are allowed");
        let long = refusal_of(|it| it["tools"][0]["title"] = "x".repeat(201).into());
        assert_eq!(
            long,
            "the plugin's manifest is not valid: the title of the tool t has 201 bytes; at most 200 are allowed"
        );
        assert!(
            refusal_of(|it| it["description"] = "x".repeat(9_000).into()).contains("the description of the plugin")
        );
        assert!(
            refusal_of(|it| it["requests"]["settings"][0] = "".into()).contains("a setting's name has 1 to 128 bytes")
        );
        let deep = format!("{{\"tools\":[{{\"inputSchema\":{}", "[".repeat(200_000));
        assert!(refusal(&component(&[custom(Manifest::SECTION, deep.as_bytes())])).contains("recursion limit"));
    }

    #[test]
    fn a_host_that_no_grant_could_name_is_refused() {
        for bad in ["http://example.com", "", "*.*", "example.com:99999"] {
            let error = refusal_of(|it| it["requests"]["hosts"] = serde_json::json!([bad]));
            assert!(error.contains("requests.hosts: ") && error.contains("is no host rule"), "{error}");
        }
        for bad in ["get", "CONNECT", "G T"] {
            let asked = serde_json::json!([{"host": "example.com", "methods": [bad]}]);
            let error = refusal_of(|it| it["requests"]["hosts"] = asked);
            assert!(error.contains("is no method for a host"), "{error}");
        }
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
