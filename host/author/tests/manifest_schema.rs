//! The manifest's published JSON Schema says what the host does: it takes every manifest that there is, and refuses what the
//! host refuses.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::fs;
use std::path::{Path, PathBuf};

use jsonschema::Validator;
use serde_json::{Value, json};
use vivarium_author::{Case, PLUGIN_TOML, Project, custom_sections};
use vivarium_domain::Manifest;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn schema() -> Validator {
    let text = fs::read_to_string(root().join("wit/manifest-0.1.0.schema.json")).unwrap();
    jsonschema::validator_for(&serde_json::from_str(&text).unwrap()).unwrap()
}

fn errors(schema: &Validator, manifest: &Value) -> Vec<String> {
    schema.iter_errors(manifest).map(|error| format!("{}: {error}", error.instance_path().as_str())).collect()
}

#[test]
fn every_plugin_that_ships_keeps_to_the_schema() {
    let schema = schema();
    let dist = root().join("plugins/dist");
    let components: Vec<PathBuf> = fs::read_dir(&dist)
        .unwrap_or_else(|error| panic!("{}: {error}: `cargo xtask guests` makes it", dist.display()))
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "wasm"))
        // A program is a command and no plugin.
        .filter(|path| !path.file_stem().is_some_and(|stem| stem.to_string_lossy().starts_with("program-")))
        .collect();
    assert!(!components.is_empty(), "no component in {}: `cargo xtask guests` makes them", dist.display());
    for path in components {
        let component = fs::read(&path).unwrap();
        let section = custom_sections(&component, Manifest::SECTION).unwrap()[0];
        let found = errors(&schema, &serde_json::from_slice(section).unwrap());
        assert!(found.is_empty(), "{}: {found:?}", path.display());
    }
}

#[test]
fn every_example_keeps_to_the_schema_and_has_readable_cases() {
    let schema = schema();
    let mut projects = 0;
    for entry in fs::read_dir(root().join("examples/plugins")).unwrap() {
        let folder = entry.unwrap().path();
        if folder.join(PLUGIN_TOML).is_file() {
            let project = Project::read(&folder).unwrap_or_else(|faults| panic!("{faults}"));
            let found = errors(&schema, &serde_json::to_value(&project.manifest).unwrap());
            assert!(found.is_empty(), "{}: {found:?}", folder.display());
            let cases = Case::read_all(&folder).unwrap_or_else(|faults| panic!("{faults}"));
            assert!(!cases.is_empty(), "{} has no test case", folder.display());
            projects += 1;
        }
    }
    assert!(projects > 0, "there is no example");
}

/// Everything that a manifest can hold.
fn whole() -> Value {
    json!({
        "name": "acme/all", "version": "1.2.3-rc.1+build", "contract": "0.1.0", "description": "Has everything.",
        "modes": [{"name": "m", "title": "M", "description": "Does m.", "defaultMaxCycles": 3}],
        "tools": [{
            "name": "t", "title": "T", "description": "Does t.", "inputSchema": {"type": "object"},
            "outputSchema": {"type": "object"}, "readOnly": true, "idempotent": true, "destructive": false, "openWorld": true
        }],
        "requests": {
            "hosts": ["example.com", {"host": "*.example.com:8443", "methods": ["GET"]}], "secrets": ["k.1"],
            "settings": ["s"], "files": "write", "corpus": true, "state": true, "model": true, "programs": true
        },
        "limits": {
            "wallMs": 1, "cpuMs": 1, "memoryBytes": 1, "tableElements": 1, "outputBytes": 1, "hostCalls": 1, "logLines": 1,
            "handles": 1, "egressRequests": 1, "egressBytes": 1, "fileBytes": 1, "files": 1, "stateBytes": 1
        },
        "instances": "warm"
    })
}

/// Each place of a JSON value, as a pointer.
fn places(value: &Value, at: &str, found: &mut Vec<String>) {
    found.push(at.to_owned());
    match value {
        Value::Object(members) => members.iter().for_each(|(key, value)| places(value, &format!("{at}/{key}"), found)),
        Value::Array(items) => {
            items.iter().enumerate().for_each(|(index, value)| places(value, &format!("{at}/{index}"), found));
        }
        _ => {}
    }
}

fn host_takes(manifest: &Value) -> bool {
    Manifest::from_json(manifest.to_string().as_bytes()).is_ok()
}

/// What is inside a tool's own schemas is none of the manifest's business.
fn is_of_a_tools_schema(place: &str) -> bool {
    place.contains("/inputSchema") || place.contains("/outputSchema")
}

#[test]
fn what_the_host_refuses_the_schema_refuses() {
    let schema = schema();
    let whole = whole();
    assert!(host_takes(&whole) && schema.is_valid(&whole), "{:?}", errors(&schema, &whole));
    let mut all = Vec::new();
    places(&whole, "", &mut all);
    let (mut refused, mut tried) = (0, 0);
    for place in all.iter().filter(|place| !is_of_a_tools_schema(place)) {
        for broken in broken_at(&whole, place) {
            tried += 1;
            let (host, schema) = (host_takes(&broken), schema.is_valid(&broken));
            assert!(host || !schema, "the host refuses this, and the schema does not, at {place}: {broken:#}");
            refused += usize::from(!host);
        }
    }
    assert!(refused > 200 && tried > refused, "{refused} of {tried} were refused");
}

/// The manifest with something else at one place, without it, or with something more in it.
fn broken_at(whole: &Value, place: &str) -> Vec<Value> {
    let others =
        [json!(null), json!(true), json!(-1), json!(7), json!(""), json!("Ä b"), json!("1.2"), json!([]), json!({})];
    let mut found: Vec<Value> = others
        .into_iter()
        .map(|other| {
            let mut broken = whole.clone();
            *broken.pointer_mut(place).unwrap() = other;
            broken
        })
        .collect();
    let mut more = whole.clone();
    if let Some(Value::Object(members)) = more.pointer_mut(place) {
        members.insert("unheardOf".to_owned(), json!(1));
        found.push(more);
    }
    if let Some((parent, key)) = place.rsplit_once('/') {
        let mut less = whole.clone();
        match less.pointer_mut(parent) {
            Some(Value::Object(members)) => drop(members.remove(key)),
            Some(Value::Array(items)) => drop(items.remove(key.parse().unwrap())),
            _ => {}
        }
        found.push(less);
    }
    found
}

#[test]
fn a_plugin_that_provides_nothing_is_refused_by_both() {
    for nothing in [json!({}), json!({"tools": []}), json!({"tools": [], "modes": []})] {
        let mut manifest = json!({"name": "a/b", "version": "1.0.0", "contract": "0.1.0", "description": "x"});
        for (key, value) in nothing.as_object().unwrap() {
            manifest[key] = value.clone();
        }
        assert!(!host_takes(&manifest) && !schema().is_valid(&manifest), "{manifest}");
    }
}
