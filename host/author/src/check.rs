//! Whether a host would take a component, before anybody uploads it: its imports against its manifest against the contract, its
//! exports against its manifest, its schemas and its size. A host says no in the same words.

use vivarium_domain::{ContentHash, Manifest, ManifestError};

use crate::binary::{BinaryError, custom_sections};
use crate::contract::{
    CONTRACT, CONTRACT_TEXT, LINKED, MAX_COMPONENT_BYTES, MAX_MANIFEST_BYTES, MODE_EXPORT, TOOL_EXPORT,
};
use crate::schema;
use crate::surface::{Surface, surface};
use crate::words;

/// Why a host would not take a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is no component.
    #[error("this is no plugin: {0}")]
    NotAComponent(#[from] BinaryError),
    /// It is too large.
    #[error("the component has {size} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// There is no manifest, or it is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The contract version is not served.
    #[error("the plugin is built for vivarium:plugin {wanted}, and this host serves {served}")]
    Contract {
        /// What the manifest says.
        wanted: String,
        /// What this binary serves.
        served: &'static str,
    },
    /// An import goes beyond the contract or the manifest.
    #[error("the component imports {import}, {reason}")]
    Import {
        /// The import.
        import: String,
        /// Why it may not.
        reason: String,
    },
    /// The manifest promises what the component does not export.
    #[error("the manifest lists {what}, but the component does not export {interface}")]
    Export {
        /// `modes` or `tools`.
        what: &'static str,
        /// The interface that is missing.
        interface: &'static str,
    },
    /// A tool's schema is none that can be checked against.
    #[error("the {which} schema of the tool {tool} is not valid: {reason}")]
    Schema {
        /// `input` or `output`.
        which: &'static str,
        /// The tool.
        tool: String,
        /// Why.
        reason: String,
    },
}

impl Refusal {
    /// Which part of `plugin.toml` it is about.
    #[must_use]
    pub fn about(&self) -> &'static str {
        match self {
            Self::NotAComponent(_) | Self::TooLarge { .. } | Self::Manifest(_) => "name",
            Self::Contract { .. } => "contract",
            Self::Import { .. } => "requests",
            Self::Export { what, .. } => what,
            Self::Schema { .. } => "tools",
        }
    }
}

/// A component that a host takes.
#[derive(Debug, Clone)]
pub struct Checked {
    /// What it says of itself.
    pub manifest: Manifest,
    /// SHA-256 of the component.
    pub digest: ContentHash,
    /// Its size.
    pub bytes: usize,
    /// What it imports and exports.
    pub surface: Surface,
    /// What it will ask of an operator, a sentence each. Empty: nothing.
    pub asks: Vec<String>,
    /// What an author should think about, a sentence each.
    pub notes: Vec<String>,
}

/// What a component says of itself, whether or not a host takes it.
///
/// # Errors
/// When it is no component or has no valid manifest.
pub fn read_manifest(component: &[u8]) -> Result<Manifest, Refusal> {
    let sections = custom_sections(component, Manifest::SECTION)?;
    let section = match sections.as_slice() {
        [only] => *only,
        [] => {
            let message = format!(
                "the component has no custom section {}; `vivarium plugin build` puts it in",
                Manifest::SECTION
            );
            return Err(ManifestError(message).into());
        }
        _ => return Err(ManifestError("the component holds two manifests".to_owned()).into()),
    };
    if section.len() > MAX_MANIFEST_BYTES {
        let message = format!("it has {} bytes; at most {MAX_MANIFEST_BYTES} are allowed", section.len());
        return Err(ManifestError(message).into());
    }
    Ok(Manifest::from_json(section)?)
}

/// Checks a component.
///
/// # Errors
/// Every reason for which a host would not take it. Never an empty list.
pub fn check(component: &[u8]) -> Result<Checked, Vec<Refusal>> {
    let size = component.len();
    if size > MAX_COMPONENT_BYTES {
        return Err(vec![Refusal::TooLarge { size, limit: MAX_COMPONENT_BYTES }]);
    }
    let surface = surface(component).map_err(|error| vec![error.into()])?;
    let manifest = read_manifest(component).map_err(|error| vec![error])?;
    let mut refusals = Vec::new();
    if manifest.contract != CONTRACT {
        refusals.push(Refusal::Contract { wanted: manifest.contract.to_string(), served: CONTRACT_TEXT });
    }
    refusals.extend(surface.imports.iter().filter_map(|import| import_refusal(import, &manifest)));
    refusals.extend(missing_exports(&surface, &manifest));
    refusals.extend(schema_refusals(&manifest));
    if !refusals.is_empty() {
        return Err(refusals);
    }
    Ok(Checked {
        asks: words::asks(&manifest),
        notes: notes(&surface, &manifest),
        digest: ContentHash::of(component),
        bytes: size,
        surface,
        manifest,
    })
}

/// What an interface needs of the manifest: the field of `requests`, and whether it is set.
fn asked(interface: &str, manifest: &Manifest) -> Option<(&'static str, bool)> {
    let requests = &manifest.requests;
    match interface {
        "vivarium:plugin/model" => Some(("model", requests.model)),
        "vivarium:plugin/corpus" => Some(("corpus", requests.corpus)),
        "vivarium:plugin/state" => Some(("state", requests.state)),
        "vivarium:plugin/programs" => Some(("programs", requests.programs)),
        "vivarium:plugin/secrets" => Some(("secrets", !requests.secrets.is_empty())),
        "vivarium:plugin/settings" => Some(("settings", !requests.settings.is_empty())),
        "wasi:http/outgoing-handler" => Some(("hosts", !requests.hosts.is_empty())),
        _ => None,
    }
}

/// An import must be of the contract, and the manifest must ask for what it gives.
fn import_refusal(import: &str, manifest: &Manifest) -> Option<Refusal> {
    let refused = |reason: String| Some(Refusal::Import { import: import.to_owned(), reason });
    let (interface, version) = import.split_once('@').unwrap_or((import, ""));
    let served = match interface.split_once(':') {
        Some(("vivarium", _)) => version == CONTRACT_TEXT,
        Some(("wasi", _)) => version.starts_with("0.2."),
        _ => false,
    };
    if !served || !LINKED.contains(&interface) {
        return refused(format!(
            "which this host does not have: it links vivarium:plugin {CONTRACT_TEXT} and WASI 0.2"
        ));
    }
    match asked(interface, manifest) {
        Some((field, false)) => refused(format!("and its manifest does not ask for it: set `requests.{field}`")),
        _ => None,
    }
}

fn missing_exports(surface: &Surface, manifest: &Manifest) -> Vec<Refusal> {
    let lists = [("modes", manifest.modes.is_empty(), MODE_EXPORT), ("tools", manifest.tools.is_empty(), TOOL_EXPORT)];
    let lists = lists.into_iter().filter(|(_, empty, interface)| !empty && !exports(surface, interface));
    lists.map(|(what, _, interface)| Refusal::Export { what, interface }).collect()
}

fn exports(surface: &Surface, interface: &str) -> bool {
    surface.exports.iter().any(|export| export == interface)
}

fn schema_refusals(manifest: &Manifest) -> Vec<Refusal> {
    let mut refusals = Vec::new();
    for tool in &manifest.tools {
        let mut refuse = |which, reason| refusals.push(Refusal::Schema { which, tool: tool.name.to_string(), reason });
        if tool.input_schema.get("type").and_then(serde_json::Value::as_str) != Some("object") {
            refuse("input", "its type must be \"object\"".to_owned());
        } else if let Err(reason) = schema::check(&tool.input_schema) {
            refuse("input", reason);
        }
        if let Some(Err(reason)) = tool.output_schema.as_ref().map(schema::check) {
            refuse("output", reason);
        }
    }
    refusals
}

/// What a host takes, but an author may not have meant.
fn notes(surface: &Surface, manifest: &Manifest) -> Vec<String> {
    let imports = |interface: &str| surface.imports.iter().any(|import| import.split('@').next() == Some(interface));
    let mut notes = Vec::new();
    for interface in LINKED {
        if let Some((field, true)) = asked(interface, manifest)
            && !imports(interface)
        {
            notes.push(format!("It asks for `requests.{field}`, but does not import {interface}: ask for less."));
        }
    }
    if manifest.requests.files.is_some() && !imports("wasi:filesystem/types") {
        notes.push("It asks for `requests.files`, but does not import wasi:filesystem/types: ask for less.".to_owned());
    }
    for (what, empty, interface) in
        [("modes", manifest.modes.is_empty(), MODE_EXPORT), ("tools", manifest.tools.is_empty(), TOOL_EXPORT)]
    {
        if empty && exports(surface, interface) {
            notes.push(format!("It exports {interface}, but its manifest lists no {what}: nobody can call them."));
        }
    }
    for tool in &manifest.tools {
        if !tool.open_world && !manifest.requests.hosts.is_empty() {
            notes.push(format!("The tool {} can reach hosts, but is not marked `open_world`.", tool.name));
        }
    }
    notes
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::binary::append_section;

    fn manifest(more: Value) -> Value {
        let tool = json!({
            "name": "t", "title": "T", "description": "Does t.", "inputSchema": {"type": "object"}
        });
        let mut manifest = json!({
            "name": "a/b", "version": "1.2.3", "contract": "0.1.0", "description": "It does.", "tools": [tool]
        });
        for (key, value) in more.as_object().unwrap() {
            manifest[key] = value.clone();
        }
        manifest
    }

    fn component(wat: &str, manifest: &Value) -> Vec<u8> {
        let mut bytes = wat::parse_str(format!("(component {wat})")).unwrap();
        append_section(&mut bytes, Manifest::SECTION, manifest.to_string().as_bytes());
        bytes
    }

    const TOOL: &str = r#"(instance $i) (export "vivarium:plugin/tool@0.1.0" (instance $i))"#;

    fn import(name: &str) -> String {
        format!(r#"(import "{name}" (instance)) {TOOL}"#)
    }

    fn refusals(wat: &str, more: Value) -> Vec<String> {
        match check(&component(wat, &manifest(more))) {
            Ok(_) => Vec::new(),
            Err(refusals) => refusals.iter().map(ToString::to_string).collect(),
        }
    }

    #[test]
    fn a_component_that_keeps_to_its_manifest_is_taken() {
        let bytes = component(TOOL, &manifest(json!({})));
        let checked = check(&bytes).unwrap();
        assert_eq!(checked.manifest.name.as_str(), "a/b");
        assert_eq!(checked.digest, ContentHash::of(&bytes));
        assert!(checked.asks.is_empty() && checked.notes.is_empty(), "{checked:?}");
    }

    #[test]
    fn an_import_that_the_manifest_does_not_ask_for_is_refused_by_both_names() {
        for (interface, field, asking) in [
            ("vivarium:plugin/model@0.1.0", "model", json!({"model": true})),
            ("vivarium:plugin/corpus@0.1.0", "corpus", json!({"corpus": true})),
            ("vivarium:plugin/state@0.1.0", "state", json!({"state": true})),
            ("vivarium:plugin/secrets@0.1.0", "secrets", json!({"secrets": ["k"]})),
            ("vivarium:plugin/settings@0.1.0", "settings", json!({"settings": ["k"]})),
            ("wasi:http/outgoing-handler@0.2.4", "hosts", json!({"hosts": ["example.com"]})),
        ] {
            let expected = format!(
                "the component imports {interface}, and its manifest does not ask for it: set `requests.{field}`"
            );
            assert_eq!(refusals(&import(interface), json!({})), [expected]);
            assert_eq!(refusals(&import(interface), json!({"requests": asking})), [""; 0]);
        }
    }

    #[test]
    fn an_import_that_no_host_has_is_refused() {
        for import_name in
            ["wasi:keyvalue/store@0.2.0", "wasi:http/outgoing-handler@0.3.0", "vivarium:plugin/log@0.2.0", "acme:x/y"]
        {
            let found = refusals(&import(import_name), json!({"requests": {"hosts": ["*"]}}));
            assert!(found.len() == 1 && found[0].contains("does not have"), "{import_name}: {found:?}");
        }
    }

    #[test]
    fn all_reasons_are_told_at_once() {
        let more = json!({
            "contract": "9.0.0",
            "modes": [{"name": "m", "title": "M", "description": "Does m.", "defaultMaxCycles": 1}],
            "tools": [{"name": "t", "title": "T", "description": "Does t.", "inputSchema": {"type": "strin"},
                       "outputSchema": {"$ref": "https://example.com/schema"}}],
        });
        insta::assert_snapshot!(refusals(r#"(import "acme:x/y" (instance))"#, more).join("\n"), @r##"
        the plugin is built for vivarium:plugin 9.0.0, and this host serves 0.1.0
        the component imports acme:x/y, which this host does not have: it links vivarium:plugin 0.1.0 and WASI 0.2
        the manifest lists modes, but the component does not export vivarium:plugin/mode@0.1.0
        the manifest lists tools, but the component does not export vivarium:plugin/tool@0.1.0
        the input schema of the tool t is not valid: its type must be "object"
        the output schema of the tool t is not valid: $ref "https://example.com/schema" is not local: a schema refers to its own parts only, as in "#/$defs/name"
        "##);
    }

    #[test]
    fn what_is_no_plugin_is_told_what_it_is() {
        let words = |bytes: &[u8]| check(bytes).unwrap_err()[0].to_string();
        assert!(words(b"\0asm\x01\0\0\0").contains("core module"), "{}", words(b"\0asm\x01\0\0\0"));
        assert!(words(b"hello world!").starts_with("this is no plugin: it is no WebAssembly"));
        let bare = wat::parse_str("(component)").unwrap();
        assert!(words(&bare).contains("no custom section vivarium:manifest; `vivarium plugin build`"));
        let mut two = component(TOOL, &manifest(json!({})));
        append_section(&mut two, Manifest::SECTION, b"{}");
        assert!(words(&two).contains("two manifests"));
        assert!(words(&vec![0; MAX_COMPONENT_BYTES + 1]).contains("at most 67108864 are allowed"));
    }

    #[test]
    fn what_is_asked_for_and_not_used_is_noted() {
        let more = json!({"requests": {"hosts": ["example.com"], "files": "read"}});
        let checked = check(&component(TOOL, &manifest(more))).unwrap();
        assert_eq!(
            checked.notes,
            [
                "It asks for `requests.hosts`, but does not import wasi:http/outgoing-handler: ask for less.",
                "It asks for `requests.files`, but does not import wasi:filesystem/types: ask for less.",
                "The tool t can reach hosts, but is not marked `open_world`.",
            ]
        );
    }
}
