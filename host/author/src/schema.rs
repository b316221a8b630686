//! JSON Schemas of tools: checked where they are written, as a host checks them before it takes a plugin.

use serde_json::Value as Json;

/// Whether a host could check against the schema.
///
/// # Errors
/// Why not.
pub(crate) fn check(schema: &Json) -> Result<(), String> {
    if let Some(reference) = foreign_reference(schema) {
        return Err(format!(
            "it refers to {reference:?}; only references within the schema, such as \"#/$defs/x\", are followed"
        ));
    }
    jsonschema::validator_for(schema).map(|_| ()).map_err(|error| match error.instance_path().as_str() {
        "" => error.to_string(),
        path => format!("{path}: {error}"),
    })
}

/// A reference that would have to be fetched.
fn foreign_reference(schema: &Json) -> Option<&str> {
    match schema {
        Json::Object(members) => members.iter().find_map(|(key, value)| match (key.as_str(), value.as_str()) {
            ("$ref" | "$dynamicRef", Some(target)) if !target.starts_with('#') => Some(target),
            _ => foreign_reference(value),
        }),
        Json::Array(items) => items.iter().find_map(foreign_reference),
        _ => None,
    }
}
