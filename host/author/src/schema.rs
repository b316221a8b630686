//! JSON Schemas of tools: checked where they are written, as a host checks them before it takes a plugin.

use jsonschema::PatternOptions;
use serde_json::Value as Json;
use vivarium_domain::bounds;

/// Whether a host could check against the schema, as far as that is seen without a host: it also bounds what a check costs.
///
/// # Errors
/// Why not.
pub(crate) fn check(schema: &Json) -> Result<(), String> {
    let bytes = schema.to_string().len();
    if bytes > bounds::SCHEMA_BYTES {
        return Err(format!("it has {bytes} bytes; at most {} are allowed", bounds::SCHEMA_BYTES));
    }
    if let Some(reference) = foreign_reference(schema) {
        return Err(format!(
            "$ref {reference:?} is not local: a schema refers to its own parts only, as in \"#/$defs/name\""
        ));
    }
    // A host matches patterns in linear time: no look-around, no back-references.
    let options = jsonschema::options().offline().with_pattern_options(PatternOptions::regex());
    options.build(schema).map(|_| ()).map_err(|error| match error.instance_path().as_str() {
        "" => error.to_string(),
        path => format!("{path}: {error}"),
    })
}

/// What holds values, and no schemas.
const VALUES: [&str; 4] = ["const", "default", "enum", "examples"];

/// A reference that would have to be fetched.
fn foreign_reference(schema: &Json) -> Option<&str> {
    match schema {
        Json::Object(members) => members.iter().find_map(|(key, value)| match (key.as_str(), value.as_str()) {
            ("$ref", Some(target)) if !target.starts_with('#') => Some(target),
            (key, _) if VALUES.contains(&key) => None,
            _ => foreign_reference(value),
        }),
        Json::Array(items) => items.iter().find_map(foreign_reference),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_schemas_that_a_host_can_check_against_are_taken() {
        check(
            &json!({"type": "object", "properties": {"a": {"$ref": "#/$defs/a"}}, "$defs": {"a": {"pattern": "^a+$"}}}),
        )
        .unwrap();
        check(&json!({"const": {"$ref": "https://example.com/a"}})).unwrap();
        for (schema, words) in [
            (json!({"properties": {"a": {"$ref": "https://example.com/a"}}}), "is not local"),
            (json!({"properties": {"a": {"pattern": "(?=a)b"}}}), "pattern"),
            (json!({"type": "strin"}), "strin"),
            (json!({"description": "x".repeat(bounds::SCHEMA_BYTES)}), "at most 65536 are allowed"),
        ] {
            let error = check(&schema).unwrap_err();
            assert!(error.contains(words), "{error}");
        }
    }
}
