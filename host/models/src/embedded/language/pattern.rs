//! A JSON Schema as a regular expression of the JSON that satisfies it. All that matches is JSON of the shape that the schema asks for; not all
//! that satisfies the schema matches: each property is written, in the order of their names, with one space where people put one. What an
//! expression can not say (a range of large numbers, a text's own pattern, what must differ) is left to whoever checks the answer.

use std::fmt::Write as _;

use regex_syntax::escape;
use serde_json::{Map, Value};

/// Schemas within schemas, references included.
const MAX_DEPTH: usize = 8;
/// Where anything may stand, it is no deeper than this.
const ANYTHING_DEPTH: usize = 2;
/// The whole expression with all its parts, in bytes.
const MAX_BYTES: usize = 1 << 20;
/// An array has no more items than this, unless it must: a small model would go on for ever.
const MOST_ITEMS: u64 = 16;
/// A text's bound above this is not counted out.
const MOST_COUNTED: u64 = 256;
/// Numbers between two bounds are written out if there are no more.
const MOST_NUMBERS: i64 = 1000;

/// One character of a JSON string.
const CHARACTER: &str = r#"(?:[^"\\\x00-\x1f\x7f]|\\["\\/bfnrt])"#;
const INTEGER: &str = "(?:0|[1-9][0-9]{0,14})";
const FRACTION: &str = r"(?:\.[0-9]{1,8})?";
/// A member's name where the schema names none.
const NAME: &str = r#""[a-zA-Z_][a-zA-Z0-9_ -]{0,40}""#;

/// The expression, for the whole of an answer.
///
/// # Errors
/// In words, when the schema can be satisfied by nothing that an expression can say.
pub(super) fn pattern(schema: &Value) -> Result<String, String> {
    let mut work = Work { root: schema, left: MAX_BYTES };
    Ok(format!(r"(?:{})\z", value(schema, &mut work, 0)?))
}

/// The schema, and what may still be written for it. What refers to itself in several places would double at every level.
struct Work<'a> {
    root: &'a Value,
    /// In bytes, of all parts; a part that is within another counts again.
    left: usize,
}

fn value(schema: &Value, work: &mut Work<'_>, depth: usize) -> Result<String, String> {
    let too_large = || "it is too large".to_owned();
    // A part counts even where nothing comes of it.
    work.left = work.left.checked_sub(1).ok_or_else(too_large)?;
    let written = written(schema, work, depth)?;
    work.left = work.left.checked_sub(written.len()).ok_or_else(|| {
        work.left = 0;
        too_large()
    })?;
    Ok(written)
}

fn written(schema: &Value, work: &mut Work<'_>, depth: usize) -> Result<String, String> {
    if depth > MAX_DEPTH {
        return Err(format!("it is deeper than {MAX_DEPTH} levels"));
    }
    let keywords = match schema {
        Value::Bool(true) => return Ok(anything(ANYTHING_DEPTH)),
        Value::Object(keywords) => keywords,
        _ => return Err("a part of it is satisfied by nothing".to_owned()),
    };
    if let Some((one, other)) = two_at_once(keywords) {
        return Err(format!("it has `{one}` and `{other}` in one place"));
    }
    if let Some(reference) = keywords.get("$ref") {
        let to = reference.as_str().and_then(|text| text.strip_prefix('#')).and_then(|path| work.root.pointer(path));
        let to = to.ok_or_else(|| format!("{reference} leads nowhere"))?;
        return value(to, work, depth + 1);
    }
    if let Some(only) = keywords.get("const") {
        return Ok(escape(&only.to_string()));
    }
    if let Some(Value::Array(these)) = keywords.get("enum") {
        return one_of(these.iter().map(|one| Ok(escape(&one.to_string()))));
    }
    for several in ["anyOf", "oneOf"] {
        if let Some(Value::Array(these)) = keywords.get(several) {
            return one_of(these.iter().map(|one| value(one, work, depth + 1)));
        }
    }
    match keywords.get("allOf").and_then(Value::as_array).map(Vec::as_slice) {
        None | Some([]) => {}
        Some([one]) => return value(one, work, depth + 1),
        Some(_) => return Err("it has `allOf` of several schemas".to_owned()),
    }
    match keywords.get("type") {
        Some(Value::String(name)) => typed(name, keywords, work, depth),
        Some(Value::Array(names)) => {
            let names = names.iter().filter_map(Value::as_str);
            one_of(names.map(|name| typed(name, keywords, work, depth)))
        }
        _ if keywords.contains_key("properties") => object(keywords, work, depth),
        _ if keywords.contains_key("items") => array(keywords, work, depth),
        _ => Ok(anything(ANYTHING_DEPTH)),
    }
}

/// Keywords that each ask for something of its own, and of which an expression can say one only.
fn two_at_once(keywords: &Map<String, Value>) -> Option<(&str, &str)> {
    const OTHERS: [&str; 4] = ["$ref", "allOf", "anyOf", "oneOf"];
    const OWN: [&str; 5] = ["properties", "required", "items", "enum", "const"];
    let mut here = OTHERS.into_iter().filter(|keyword| keywords.contains_key(*keyword));
    let first = here.next()?;
    let second = here.chain(OWN.into_iter().filter(|keyword| keywords.contains_key(*keyword))).next()?;
    Some((first, second))
}

fn typed(name: &str, keywords: &Map<String, Value>, work: &mut Work<'_>, depth: usize) -> Result<String, String> {
    match name {
        "object" => object(keywords, work, depth),
        "array" => array(keywords, work, depth),
        "string" => Ok(string(keywords)),
        "integer" => Ok(integer(keywords)),
        "number" => Ok(format!("{}{INTEGER}{FRACTION}", sign(keywords))),
        "boolean" => Ok("(?:true|false)".to_owned()),
        "null" => Ok("null".to_owned()),
        other => Err(format!("it has the type {other:?}")),
    }
}

/// Those that can be had of several, and at least one.
fn one_of(each: impl Iterator<Item = Result<String, String>>) -> Result<String, String> {
    let (mut had, mut why) = (Vec::new(), "it leaves nothing to choose".to_owned());
    for one in each {
        match one {
            Ok(one) => had.push(one),
            Err(error) => why = error,
        }
    }
    if had.is_empty() { Err(why) } else { Ok(format!("(?:{})", had.join("|"))) }
}

/// All properties, those that may be left out as well; but none that can not be had and need not be.
fn object(keywords: &Map<String, Value>, work: &mut Work<'_>, depth: usize) -> Result<String, String> {
    let none = Map::new();
    let properties = keywords.get("properties").and_then(Value::as_object).unwrap_or(&none);
    let required: Vec<&str> = match keywords.get("required") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    };
    let mut members = Vec::new();
    for (name, schema) in properties {
        match value(schema, work, depth + 1) {
            Ok(value) => members.push(member(name, &value)),
            Err(error) if required.contains(&name.as_str()) => return Err(error),
            Err(_) => {}
        }
    }
    for name in required.iter().filter(|name| !properties.contains_key(**name)) {
        members.push(member(name, &anything(ANYTHING_DEPTH)));
    }
    if !members.is_empty() {
        return Ok(format!(r"\{{{}\}}", members.join(", ")));
    }
    let others = match keywords.get("additionalProperties") {
        Some(Value::Bool(false)) => None,
        Some(schema) => value(schema, work, depth + 1).ok(),
        None => Some(anything(ANYTHING_DEPTH)),
    };
    Ok(others.map_or_else(|| r"\{\}".to_owned(), |value| members_of(&value)))
}

fn member(name: &str, value: &str) -> String {
    format!("{}: {value}", escape(&Value::from(name).to_string()))
}

fn members_of(value: &str) -> String {
    format!(r"\{{(?:{NAME}: {value}(?:, {NAME}: {value}){{0,{MOST_ITEMS}}})?\}}")
}

fn array(keywords: &Map<String, Value>, work: &mut Work<'_>, depth: usize) -> Result<String, String> {
    let bound = |name: &str| keywords.get(name).and_then(Value::as_u64);
    let least = bound("minItems").unwrap_or(0);
    let most = bound("maxItems").unwrap_or(u64::MAX).min(MOST_ITEMS.max(least));
    if least > most || least > MOST_COUNTED {
        return Err("an array of it has bounds that can not be kept".to_owned());
    }
    if let Some(Value::Array(first)) = keywords.get("prefixItems") {
        let items: Result<Vec<_>, _> = first.iter().map(|item| value(item, work, depth + 1)).collect();
        return Ok(format!(r"\[{}\]", items?.join(", ")));
    }
    let item = match keywords.get("items") {
        Some(schema) => value(schema, work, depth + 1),
        None => Ok(anything(1)),
    };
    match item {
        _ if most == 0 => Ok(r"\[\]".to_owned()),
        Err(_) if least == 0 => Ok(r"\[\]".to_owned()),
        item => Ok(items_of(&item?, least, most)),
    }
}

fn items_of(item: &str, least: u64, most: u64) -> String {
    let more = format!("{{{},{}}}", least.saturating_sub(1), most.saturating_sub(1));
    let some = format!(r"{item}(?:, {item}){more}");
    if least == 0 { format!(r"\[(?:{some})?\]") } else { format!(r"\[{some}\]") }
}

fn string(keywords: &Map<String, Value>) -> String {
    let day = "[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])";
    let time = "(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]";
    match keywords.get("format").and_then(Value::as_str) {
        Some("date") => return format!(r#""{day}""#),
        Some("time") => return format!(r#""{time}Z""#),
        Some("date-time") => return format!(r#""{day}T{time}Z""#),
        Some("uuid") => return r#""[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}""#.to_owned(),
        _ => {}
    }
    let bound = |name: &str| keywords.get(name).and_then(Value::as_u64);
    let least = bound("minLength").unwrap_or(0).min(MOST_COUNTED);
    let count = match bound("maxLength") {
        Some(most) if most <= MOST_COUNTED => format!("{{{},{}}}", least.min(most), most),
        _ => format!("{{{least},}}"),
    };
    format!(r#""{CHARACTER}{count}""#)
}

fn integer(keywords: &Map<String, Value>) -> String {
    let bound = |name: &str| keywords.get(name).and_then(Value::as_i64);
    let least = bound("minimum").or(bound("exclusiveMinimum").map(|below| below.saturating_add(1)));
    let most = bound("maximum").or(bound("exclusiveMaximum").map(|above| above.saturating_sub(1)));
    if let (Some(least), Some(most)) = (least, most)
        && (0..MOST_NUMBERS).contains(&most.saturating_sub(least))
    {
        let numbers = (least..=most).fold(String::new(), |mut all, number| {
            // Writing to a String does not fail.
            let _ = write!(all, "{}{number}", if all.is_empty() { "" } else { "|" });
            all
        });
        return format!("(?:{numbers})");
    }
    format!("{}{INTEGER}", sign(keywords))
}

fn sign(keywords: &Map<String, Value>) -> &'static str {
    let least = ["minimum", "exclusiveMinimum"].into_iter().find_map(|name| keywords.get(name).and_then(Value::as_f64));
    if least.is_some_and(|least| least >= 0.0) { "" } else { "-?" }
}

/// Any JSON, so and so deep.
fn anything(depth: usize) -> String {
    let plain = format!(r#""{CHARACTER}*"|-?{INTEGER}{FRACTION}|true|false|null"#);
    if depth == 0 {
        return format!("(?:{plain})");
    }
    let within = anything(depth - 1);
    // Without a bound on how many, which would be written out once more for each.
    format!(r"(?:{plain}|\[(?:{within}(?:, {within})*)?\]|\{{(?:{NAME}: {within}(?:, {NAME}: {within})*)?\}})")
}

#[cfg(test)]
mod tests {
    use regex_automata::meta::Regex;
    use serde_json::json;

    use super::*;

    fn matches(schema: &Value, text: &str) -> bool {
        let regex = Regex::new(&format!(r"\A{}", pattern(schema).unwrap())).unwrap();
        regex.is_match(text)
    }

    #[test]
    fn an_object_has_all_its_properties() {
        let schema = json!({
            "type": "object",
            "properties": {"a": {"type": "integer", "minimum": 1, "maximum": 12}, "b": {"type": ["string", "null"], "maxLength": 3}},
            "required": ["a"]
        });
        for right in [r#"{"a": 12, "b": "x\"é"}"#, r#"{"a": 1, "b": null}"#] {
            assert!(matches(&schema, right), "{right}");
        }
        for wrong in [r#"{"a": 13, "b": null}"#, r#"{"a": 1}"#, r#"{"a": 1, "b": "four"}"#, r#"{"a": 1, "b": null} "#] {
            assert!(!matches(&schema, wrong), "{wrong}");
        }
    }

    #[test]
    fn what_matches_is_json() {
        for schema in [json!({}), json!(true), json!({"type": "object"}), json!({"type": "array"})] {
            for text in
                [r#"{"a": [1, "b", {"c": null}]}"#, "[]", "{}", "[1, 2.5, true]", r#"{"a": "\u12"}"#, "{\"a\": \"\n\"}"]
            {
                if matches(&schema, text) {
                    assert!(serde_json::from_str::<Value>(text).is_ok(), "{text}");
                }
            }
            assert!(matches(&schema, "{}") || matches(&schema, "[]"), "{schema}");
        }
    }

    #[test]
    fn references_choices_and_formats_are_followed() {
        let schema = json!({
            "$defs": {"kind": {"enum": ["(a)", "b"]}},
            "type": "object",
            "properties": {
                "kinds": {"type": "array", "items": {"$ref": "#/$defs/kind"}, "minItems": 1, "maxItems": 2},
                "on": {"type": "string", "format": "date"},
                "or": {"anyOf": [{"const": 7}, {"type": "boolean"}]}
            }
        });
        assert!(matches(&schema, r#"{"kinds": ["(a)", "b"], "on": "2026-11-22", "or": 7}"#));
        assert!(!matches(&schema, r#"{"kinds": [], "on": "2026-11-22", "or": 7}"#));
        assert!(!matches(&schema, r#"{"kinds": ["b"], "on": "2026-13-22", "or": true}"#));
    }

    #[test]
    fn what_two_keywords_ask_for_at_once_is_refused_and_never_left_out() {
        let base = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]});
        let with = |more: Value| {
            let mut schema = json!({"$defs": {"Base": base}, "type": "object"});
            schema.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            schema
        };
        let parent = json!([{"$ref": "#/$defs/Base"}]);
        for wrong in [
            json!({"allOf": parent, "properties": {"b": true}, "required": ["b"]}),
            json!({"$ref": "#/$defs/Base", "properties": {"b": true}}),
            json!({"properties": {"a": true, "b": true}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]}),
            json!({"allOf": parent, "oneOf": [true]}),
        ] {
            let error = pattern(&with(wrong)).unwrap_err();
            assert!(error.ends_with("in one place"), "{error}");
        }
        let titled = with(json!({"allOf": parent, "title": "One", "default": {"a": 1}}));
        assert!(matches(&titled, r#"{"a": 7}"#) && !matches(&titled, "{}"));
    }

    #[test]
    fn a_schema_that_doubles_at_every_level_is_refused_at_once() {
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        let node = |required: &[&str]| {
            let properties: Map<String, Value> =
                names.iter().map(|name| ((*name).to_owned(), json!({"$ref": "#"}))).collect();
            json!({"type": "object", "properties": properties, "required": required})
        };
        let items = json!({"type": "array", "items": {"anyOf": vec![json!({"$ref": "#"}); 20]}});
        let begun = std::time::Instant::now();
        for schema in [node(&[]), node(&names), items] {
            let written = pattern(&schema);
            assert!(written.is_err() || written.is_ok_and(|written| written.len() <= MAX_BYTES), "{schema}");
        }
        // It would take hours to write it out.
        assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
    }

    #[test]
    fn a_schema_that_goes_on_for_ever_ends_where_it_may() {
        let tree = json!({
            "type": "object",
            "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#"}}},
            "required": ["name", "children"]
        });
        assert!(matches(&tree, r#"{"children": [{"children": [], "name": "b"}], "name": "a"}"#));
        let endless = json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]});
        assert!(pattern(&endless).is_err());
        assert!(pattern(&json!({"$ref": "https://example.com/"})).is_err());
        assert!(pattern(&json!(false)).is_err());
    }
}
