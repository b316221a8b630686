//! What the vendors' JSON-schema outputs take of JSON Schema. Each takes a subset, and refuses a request whose schema goes
//! beyond it; so a schema is looked at before it is sent. Whoever asked checks the answer against the whole schema.

use std::borrow::Cow;

use serde_json::{Map, Value};

/// No schema of a person is deeper; a deeper one is not looked into.
const MAX_DEPTH: usize = 32;

/// Keywords of OpenAI's strict mode. One that is not here makes the request fail there.
const STRICT: &[&str] = &[
    "$schema",
    "$ref",
    "$defs",
    "definitions",
    "title",
    "description",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "pattern",
    "format",
    "multipleOf",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "minItems",
    "maxItems",
];

/// Whatever satisfies it is an object.
pub(crate) fn is_of_objects(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("object")
}

/// What a model is told where its provider does not hold it to the schema.
pub(crate) fn in_words(schema: &Value) -> String {
    format!("Answer with one JSON document and nothing else. It must satisfy this JSON Schema:\n{schema}")
}

/// OpenAI's strict mode takes this schema: an object at the root, each object closed and all its properties required.
pub(crate) fn fits_strict(schema: &Value) -> bool {
    let root_is_object = is_of_objects(schema);
    root_is_object && schema.get("anyOf").is_none() && strict_part(schema, 0)
}

fn strict_part(schema: &Value, depth: usize) -> bool {
    let Value::Object(keywords) = schema else { return false };
    // OpenAI takes ten levels of nesting; each level of objects is two steps here.
    if depth > 10 || keywords.keys().any(|keyword| !STRICT.contains(&keyword.as_str())) {
        return false;
    }
    let closed = !is_object(keywords) || (is_closed(keywords) && all_required(keywords));
    closed && parts(keywords).all(|part| strict_part(part, depth + 1))
}

fn is_object(keywords: &Map<String, Value>) -> bool {
    let named = match keywords.get("type") {
        Some(Value::String(name)) => name == "object",
        Some(Value::Array(names)) => names.iter().any(|name| name == "object"),
        _ => false,
    };
    named || keywords.contains_key("properties")
}

fn is_closed(keywords: &Map<String, Value>) -> bool {
    keywords.get("additionalProperties") == Some(&Value::Bool(false))
}

fn all_required(keywords: &Map<String, Value>) -> bool {
    let required = keywords.get("required").and_then(Value::as_array);
    let is_required = |name: &String| required.is_some_and(|names| names.iter().any(|one| one == name));
    keywords.get("properties").and_then(Value::as_object).is_none_or(|properties| properties.keys().all(is_required))
}

/// The schemas within a schema.
fn parts(keywords: &Map<String, Value>) -> impl Iterator<Item = &Value> {
    let named = ["properties", "$defs", "definitions"];
    let within_named =
        named.into_iter().filter_map(|name| keywords.get(name)?.as_object()).flat_map(|map| map.values());
    let any_of = keywords.get("anyOf").and_then(Value::as_array).into_iter().flatten();
    within_named.chain(any_of).chain(keywords.get("items"))
}

/// Keywords that Anthropic's structured outputs refuse, and that an answer can be checked for afterwards.
const CHECKED_AFTERWARDS: &[&str] = &[
    "$schema",
    "$id",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "pattern",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
    "examples",
    "default",
    "title",
    "contentEncoding",
    "contentMediaType",
    "deprecated",
    "readOnly",
    "writeOnly",
    "$comment",
];

/// Keywords that Anthropic's structured outputs take.
const CLOSED: &[&str] = &[
    "$ref",
    "$defs",
    "definitions",
    "description",
    "type",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "enum",
    "const",
    "anyOf",
    "allOf",
    "format",
    "minItems",
];

/// Formats that Anthropic's structured outputs take.
const FORMATS: &[&str] = &["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// The schema as Anthropic's structured outputs take it: every object closed, and without what can only be checked
/// afterwards. None where that would change what the schema means: a map with free keys, a choice of exactly one, recursion.
pub(crate) fn closed(schema: &Value) -> Option<Cow<'_, Value>> {
    let closed = closed_part(schema, 0)?;
    Some(if closed == *schema { Cow::Borrowed(schema) } else { Cow::Owned(closed) })
}

fn closed_part(schema: &Value, depth: usize) -> Option<Value> {
    let keywords = schema.as_object()?;
    if depth > MAX_DEPTH {
        return None;
    }
    let mut out = Map::new();
    for (keyword, value) in keywords {
        let keyword = keyword.as_str();
        if CHECKED_AFTERWARDS.contains(&keyword) {
            continue;
        }
        if !CLOSED.contains(&keyword) {
            return None;
        }
        let kept = match keyword {
            "properties" | "$defs" | "definitions" => {
                let map = value.as_object()?;
                let closed = map.iter().map(|(name, part)| Some((name.clone(), closed_part(part, depth + 1)?)));
                Value::Object(closed.collect::<Option<_>>()?)
            }
            "anyOf" | "allOf" => {
                let list = value.as_array()?;
                Value::Array(list.iter().map(|part| closed_part(part, depth + 1)).collect::<Option<_>>()?)
            }
            "items" => closed_part(value, depth + 1)?,
            "additionalProperties" if *value != Value::Bool(false) => return None,
            // A reference to the root is recursion; a reference to elsewhere is a fetch.
            "$ref" if !value.as_str()?.starts_with("#/") => return None,
            "format" if !FORMATS.contains(&value.as_str()?) => continue,
            "minItems" if value.as_u64()? > 1 => continue,
            _ => value.clone(),
        };
        out.insert(keyword.to_owned(), kept);
    }
    if is_object(&out) {
        if !out.contains_key("properties") {
            return None;
        }
        out.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if depth == 0 && refers_to_itself(&out) { None } else { Some(Value::Object(out)) }
}

/// A definition leads back to itself: no vendor's grammar ends then.
fn refers_to_itself(root: &Map<String, Value>) -> bool {
    let definitions = |name: &str| root.get(name).and_then(Value::as_object).into_iter().flatten();
    let all: Vec<(String, &Value)> = ["$defs", "definitions"]
        .into_iter()
        .flat_map(|group| definitions(group).map(move |(name, part)| (format!("#/{group}/{name}"), part)))
        .collect();
    all.iter().any(|(start, part)| {
        let mut seen: Vec<&str> = Vec::new();
        let mut open: Vec<&Value> = vec![part];
        while let Some(value) = open.pop() {
            match value {
                Value::Object(map) => {
                    if let Some(target) = map.get("$ref").and_then(Value::as_str) {
                        if target == start {
                            return true;
                        }
                        if !seen.contains(&target) {
                            seen.push(target);
                            open.extend(all.iter().filter(|(name, _)| name == target).map(|(_, part)| *part));
                        }
                    }
                    open.extend(map.values());
                }
                Value::Array(list) => open.extend(list),
                _ => {}
            }
        }
        false
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strict_takes_closed_objects_with_all_properties_required() {
        let good = json!({"type": "object", "properties": {"a": {"type": ["string", "null"]}, "b": {"type": "array",
            "items": {"$ref": "#/$defs/c"}}}, "required": ["a", "b"], "additionalProperties": false,
            "$defs": {"c": {"type": "object", "properties": {}, "additionalProperties": false}}});
        assert!(fits_strict(&good));
        for (path, value) in [
            ("/additionalProperties", json!(true)),
            ("/required", json!(["a"])),
            ("/type", json!("array")),
            ("/properties/a", json!({"type": "string", "minLength": 1})),
            ("/$defs/c", json!({"type": "object"})),
        ] {
            let mut bad = good.clone();
            *bad.pointer_mut(path).unwrap() = value;
            assert!(!fits_strict(&bad), "{path}");
        }
    }

    #[test]
    fn a_schema_is_closed_and_loses_what_is_checked_afterwards() {
        let schema = json!({"$schema": "https://json-schema.org/draft/2020-12/schema", "type": "object", "title": "T",
            "properties": {"n": {"type": "integer", "minimum": 1, "description": "d"}, "u": {"type": "string", "format": "uint8"},
            "l": {"type": "array", "minItems": 3, "items": {"type": "object", "properties": {"x": {"type": "null"}}}}},
            "required": ["n"]});
        insta::assert_snapshot!(closed(&schema).unwrap(), @r#"{"additionalProperties":false,"properties":{"l":{"items":{"additionalProperties":false,"properties":{"x":{"type":"null"}},"type":"object"},"type":"array"},"n":{"description":"d","type":"integer"},"u":{"type":"string"}},"required":["n"],"type":"object"}"#);
    }

    #[test]
    fn a_schema_that_would_mean_something_else_is_not_sent() {
        for schema in [
            json!({"type": "object", "additionalProperties": {"type": "string"}}),
            json!({"type": "object"}),
            json!({"oneOf": [{"type": "string"}]}),
            json!({"type": "array", "items": {"$ref": "https://elsewhere.example/schema"}}),
            json!({"$ref": "#/$defs/a", "$defs": {"a": {"type": "array", "items": {"anyOf": [{"$ref": "#/$defs/b"}]}},
                "b": {"$ref": "#/$defs/a"}}}),
            json!(true),
        ] {
            assert_eq!(closed(&schema), None, "{schema}");
        }
    }
}
