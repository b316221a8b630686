//! A tool's JSON Schemas: taken at install if they can be checked against in bounded time, and checked against at each call,
//! on the host's account.
//!
//! A schema is a program. `$ref` could fetch from the network, a regular expression could backtrack for ever, and a few
//! hundred bytes of `allOf` over `$ref` could visit one value 2^100 times. So only local references are taken, patterns
//! are matched by an engine that works in linear time, and before a schema is compiled we count what it comes to with its
//! references written out, and look at each recursion: one that leads to the same part of a value in two ways doubles the
//! work at every level, and is refused.

use std::collections::{HashMap, HashSet};

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;
use vivarium_domain::{Manifest, ToolManifest, bounds};

use crate::LoadError;

/// How deep its JSON nests, and how long its chains of references are.
const MAX_DEPTH: usize = 64;
/// Subschemas and the values that they list, with references written out.
const MAX_EXPANDED: u64 = 5_000;
/// Regular expressions of all schemas of a plugin.
const MAX_PATTERNS: usize = 64;
/// One compiled regular expression: linear time is its size times the text's.
const MAX_PATTERN_BYTES: usize = 128 << 10;
/// A value's texts times the schema's regular expressions.
const MAX_MATCHED_BYTES: usize = 1 << 20;
/// What an expression remembers of earlier matches, to match faster.
const MAX_PATTERN_CACHE_BYTES: usize = 1 << 20;
/// Parts of a value times subschemas: what one check may cost.
const MAX_CHECK_COST: u64 = 5_000_000;
/// The same, to also say where the problems are: each costs memory, be it told or not.
const MAX_TOLD_COST: u64 = 50_000;
/// How many problems of a value are told, and how much of each.
const MAX_PROBLEMS: usize = 5;
const MAX_PROBLEM_BYTES: usize = 300;

/// One schema, ready to check against.
struct Schema {
    validator: Validator,
    /// Subschemas and the values that they list, with references written out.
    expanded: u64,
    patterns: usize,
}

/// The schemas of one tool, ready to check against.
pub struct ToolSchemas {
    input: Schema,
    output: Option<Schema>,
}

impl std::fmt::Debug for ToolSchemas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ToolSchemas").field("output", &self.output.is_some()).finish_non_exhaustive()
    }
}

impl ToolSchemas {
    /// Makes the schemas of one tool ready, whoever provides it.
    ///
    /// # Errors
    /// [`LoadError::Schema`]: one of them can not be checked against in bounded time, or is none.
    pub fn of(tool: &ToolManifest) -> Result<Self, LoadError> {
        Self::with(tool, &mut MAX_PATTERNS.clone())
    }

    fn with(tool: &ToolManifest, patterns: &mut usize) -> Result<Self, LoadError> {
        if tool.input_schema.get("type").and_then(Value::as_str) != Some("object") {
            return Err(invalid(tool, "input", "its type must be \"object\"".to_owned()));
        }
        let input = Schema::new(&tool.input_schema, patterns);
        let output = tool.output_schema.as_ref().map(|schema| Schema::new(schema, patterns)).transpose();
        Ok(Self {
            input: input.map_err(|reason| invalid(tool, "input", reason))?,
            output: output.map_err(|reason| invalid(tool, "output", reason))?,
        })
    }

    /// Checks a call's arguments, so that a tool sees only what its schema allows.
    ///
    /// # Errors
    /// What is wrong with them, for the model.
    pub fn check_arguments(&self, arguments_json: &str) -> Result<(), String> {
        let arguments: Value = serde_json::from_str(arguments_json)
            .map_err(|error| format!("invalid arguments: they are no JSON object: {error}"))?;
        let problems = self.input.problems(&arguments);
        if problems.is_empty() { Ok(()) } else { Err(format!("invalid arguments: {problems}")) }
    }

    /// Checks what a tool gives back, where it says what that looks like.
    ///
    /// # Errors
    /// How it differs from what the tool says, for the model.
    pub fn check_output(&self, content: &str) -> Result<(), String> {
        let Some(schema) = &self.output else { return Ok(()) };
        let output: Value = serde_json::from_str(content)
            .map_err(|error| format!("the tool's output is no JSON, and it says that it is: {error}"))?;
        let problems = schema.problems(&output);
        if problems.is_empty() {
            Ok(())
        } else {
            Err(format!("the tool's output is not what its schema says: {problems}"))
        }
    }
}

/// Makes the schemas of all tools of a plugin ready.
pub(crate) fn compile(manifest: &Manifest) -> Result<HashMap<String, ToolSchemas>, LoadError> {
    let mut patterns = MAX_PATTERNS;
    manifest.tools.iter().map(|tool| Ok((tool.name.to_string(), ToolSchemas::with(tool, &mut patterns)?))).collect()
}

fn invalid(tool: &ToolManifest, which: &'static str, reason: String) -> LoadError {
    LoadError::Schema { tool: tool.name.to_string(), which, reason }
}

impl Schema {
    fn new(schema: &Value, patterns: &mut usize) -> Result<Self, String> {
        let bytes = schema.to_string().len();
        if bytes > bounds::SCHEMA_BYTES {
            return Err(format!("it has {bytes} bytes; at most {} are allowed", bounds::SCHEMA_BYTES));
        }
        if depth(schema) > MAX_DEPTH {
            return Err(format!("it nests deeper than {MAX_DEPTH} levels"));
        }
        let left = *patterns;
        let expanded = Shape::of(schema, patterns)?.check()?;
        let validator = jsonschema::options()
            .offline()
            .with_pattern_options(
                PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_CACHE_BYTES),
            )
            .build(schema)
            .map_err(|error| cut(error.to_string()))?;
        Ok(Self { validator, expanded, patterns: left - *patterns })
    }

    /// What is wrong with `value`; an empty text if nothing is.
    fn problems(&self, value: &Value) -> String {
        let cost = parts(value).saturating_mul(self.expanded);
        if cost > MAX_CHECK_COST {
            return "it has too many parts to be checked against the schema".to_owned();
        }
        if text_bytes(value).saturating_mul(self.patterns) > MAX_MATCHED_BYTES {
            return "it has too much text for the schema's regular expressions".to_owned();
        }
        if self.validator.is_valid(value) {
            return String::new();
        }
        if cost > MAX_TOLD_COST {
            return "it does not match the schema, and is too large to say where".to_owned();
        }
        let problems =
            self.validator.iter_errors(value).take(MAX_PROBLEMS).map(|error| match error.instance_path().as_str() {
                "" => cut(error.to_string()),
                path => cut(format!("{path}: {error}")),
            });
        problems.collect::<Vec<_>>().join("; ")
    }
}

fn cut(mut text: String) -> String {
    if text.len() > MAX_PROBLEM_BYTES {
        text.truncate(text.floor_char_boundary(MAX_PROBLEM_BYTES));
        text.push('…');
    }
    text
}

/// Values come from serde_json, which refuses to nest deeper than 128 levels: recursing over one is safe.
fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(fields) => 1 + fields.values().map(depth).max().unwrap_or(0),
        _ => 0,
    }
}

fn parts(value: &Value) -> u64 {
    match value {
        Value::Array(items) => 1 + items.iter().map(parts).sum::<u64>(),
        Value::Object(fields) => 1 + fields.values().map(parts).sum::<u64>(),
        _ => 1,
    }
}

fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + text_bytes(value)).sum(),
        _ => 0,
    }
}

/// Which part of a value a subschema is applied to, as seen from the schema that it stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part<'a> {
    /// The same value.
    Same,
    /// The property of this name.
    Named(&'a str),
    /// The properties that its own `properties` does not name, or the elements of an array.
    Rest,
    /// Any property or element, whatever else is applied to it.
    Any,
}

#[derive(Default)]
struct Node<'a> {
    below: Vec<(Part<'a>, usize)>,
    /// Values to compare with, in `enum` and the like.
    listed: u64,
    /// It looks twice at what its neighbours have looked at.
    unevaluated: bool,
}

/// A schema as a graph: a node for each subschema that can be reached, an edge for each application, references resolved.
struct Shape<'a> {
    root: &'a Value,
    nodes: Vec<Node<'a>>,
    /// By address: a subschema that is reached in many ways is one node.
    known: HashMap<*const Value, usize>,
    ahead: Vec<(usize, &'a Value)>,
}

impl<'a> Shape<'a> {
    fn of(root: &'a Value, patterns: &mut usize) -> Result<Self, String> {
        let mut shape = Self { root, nodes: Vec::new(), known: HashMap::new(), ahead: Vec::new() };
        shape.node(root);
        while let Some((node, schema)) = shape.ahead.pop() {
            let Value::Object(keywords) = schema else { continue };
            for (keyword, value) in keywords {
                shape.keyword(node, keyword, value, patterns)?;
            }
        }
        Ok(shape)
    }

    fn node(&mut self, schema: &'a Value) -> usize {
        let next = self.nodes.len();
        let node = *self.known.entry(std::ptr::from_ref(schema)).or_insert(next);
        if node == next {
            self.nodes.push(Node::default());
            self.ahead.push((node, schema));
        }
        node
    }

    fn edge(&mut self, from: usize, part: Part<'a>, schema: &'a Value) {
        let to = self.node(schema);
        if let Some(node) = self.nodes.get_mut(from) {
            node.below.push((part, to));
        }
    }

    fn keyword(&mut self, node: usize, keyword: &str, value: &'a Value, patterns: &mut usize) -> Result<(), String> {
        match keyword {
            "$ref" => {
                if let Value::String(reference) = value {
                    let target = self.resolve(reference)?;
                    self.edge(node, Part::Same, target);
                }
            }
            "$dynamicRef" | "$recursiveRef" => return Err(format!("{keyword} is not taken; use a local $ref")),
            "$id" | "id" if node != 0 && value.is_string() => {
                return Err(format!("a subschema with {keyword} is not taken: references are local ones"));
            }
            "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" => self.edges(node, Part::Same, value),
            "dependentSchemas" | "dependencies" => self.map(node, value, |_| Part::Same),
            "properties" => self.map(node, value, Part::Named),
            "patternProperties" => {
                for _ in value.as_object().into_iter().flatten() {
                    count_pattern(patterns)?;
                }
                self.map(node, value, |_| Part::Any);
            }
            "additionalProperties" | "items" | "prefixItems" | "additionalItems" => self.edges(node, Part::Rest, value),
            "contains" | "propertyNames" => self.edges(node, Part::Any, value),
            "unevaluatedProperties" | "unevaluatedItems" => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.unevaluated = true;
                }
                self.edges(node, Part::Any, value);
            }
            "pattern" => count_pattern(patterns)?,
            "enum" | "const" | "required" | "dependentRequired" => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.listed = node.listed.saturating_add(parts(value));
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn edges(&mut self, node: usize, part: Part<'a>, value: &'a Value) {
        match value {
            Value::Array(schemas) => schemas.iter().for_each(|schema| self.edge(node, part, schema)),
            schema => self.edge(node, part, schema),
        }
    }

    fn map(&mut self, node: usize, value: &'a Value, part: fn(&'a str) -> Part<'a>) {
        for (name, schema) in value.as_object().into_iter().flatten() {
            self.edge(node, part(name), schema);
        }
    }

    fn resolve(&self, reference: &str) -> Result<&'a Value, String> {
        let shown: String = reference.chars().take(100).collect();
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(format!(
                "$ref {shown:?} is not local: a schema refers to its own parts only, as in \"#/$defs/name\""
            ));
        };
        if pointer.contains('%') || !(pointer.is_empty() || pointer.starts_with('/')) {
            return Err(format!("$ref {shown:?} is not taken: write a plain path, as in \"#/$defs/name\""));
        }
        self.root.pointer(pointer).ok_or_else(|| format!("$ref {shown:?} leads to nothing"))
    }

    /// Refuses what could take more than bounded time; gives the number of subschemas, references written out.
    fn check(&self) -> Result<u64, String> {
        let mut sizes = vec![None; self.nodes.len()];
        let expanded = self.expanded(0, 0, &mut sizes)?;
        if expanded > MAX_EXPANDED {
            return Err(format!(
                "with its references written out it has more than {MAX_EXPANDED} subschemas and listed values; nest fewer references"
            ));
        }
        for node in 0..self.nodes.len() {
            self.check_recursion(node)?;
        }
        Ok(expanded)
    }

    fn below(&self, node: usize) -> &[(Part<'a>, usize)] {
        self.nodes.get(node).map_or(&[], |node| &node.below)
    }

    fn expanded(&self, node: usize, level: usize, sizes: &mut [Option<u64>]) -> Result<u64, String> {
        if let Some(size) = sizes.get(node).copied().flatten() {
            return Ok(size);
        }
        // One chain step may be a keyword within the other's nesting, hence twice.
        if level > 2 * MAX_DEPTH {
            return Err(format!("its chains of references are longer than {MAX_DEPTH} steps"));
        }
        // What leads back to here is a recursion, and is looked at on its own.
        set(sizes, node, 1);
        let mut size = 1 + self.nodes.get(node).map_or(0, |node| node.listed);
        for (_, below) in self.below(node) {
            size = size.saturating_add(self.expanded(*below, level + 1, sizes)?);
        }
        if self.nodes.get(node).is_some_and(|node| node.unevaluated) {
            size = size.saturating_mul(2);
        }
        set(sizes, node, size);
        Ok(size)
    }

    /// A recursion is taken if it leads from one value to each part of it in one way at most.
    fn check_recursion(&self, start: usize) -> Result<(), String> {
        let recursive = self.reaching(start);
        if recursive.is_empty() {
            return Ok(());
        }
        let mut named: HashMap<&str, (u64, u64)> = HashMap::new();
        let (mut rest, mut any) = (0_u64, 0_u64);
        for node in self.applied_to_the_same(start)? {
            let back = |part: &(Part<'a>, usize)| recursive.contains(&part.1);
            let edges: Vec<Part<'a>> = self.below(node).iter().filter(|edge| back(edge)).map(|edge| edge.0).collect();
            let own_rest = u64::from(edges.contains(&Part::Rest));
            rest += own_rest;
            any += edges.iter().filter(|part| **part == Part::Any).count() as u64;
            for part in edges {
                if let Part::Named(name) = part {
                    let (count, rest_of_these) = named.entry(name).or_default();
                    *count += 1;
                    *rest_of_these += own_rest;
                }
            }
        }
        let of_names = named.values().map(|(count, rest_of_these)| count + rest - rest_of_these.min(&rest)).max();
        if any + of_names.unwrap_or(0).max(rest) > 1 {
            return Err("it is recursive in a way that applies it to the same part of a value more than once; \
                 let each property or element lead back in one way only"
                .to_owned());
        }
        Ok(())
    }

    /// The nodes from which `goal` can be reached, among those that it can reach: what is recursive with it.
    fn reaching(&self, goal: usize) -> HashSet<usize> {
        let forward = self.reachable(goal, |node| self.below(node).iter().map(|edge| edge.1).collect());
        if !forward.contains(&goal) {
            return HashSet::new();
        }
        let mut above: HashMap<usize, Vec<usize>> = HashMap::new();
        for &node in &forward {
            for (_, below) in self.below(node) {
                above.entry(*below).or_default().push(node);
            }
        }
        self.reachable(goal, |node| above.get(&node).cloned().unwrap_or_default())
    }

    /// Without `start`, unless a way leads back to it.
    fn reachable(&self, start: usize, next: impl Fn(usize) -> Vec<usize>) -> HashSet<usize> {
        let (mut found, mut ahead) = (HashSet::new(), next(start));
        while let Some(node) = ahead.pop() {
            if found.insert(node) {
                ahead.extend(next(node));
            }
        }
        found
    }

    /// All that is applied to the value that `start` is applied to, as often as it is.
    fn applied_to_the_same(&self, start: usize) -> Result<Vec<usize>, String> {
        let (mut applied, mut ahead) = (Vec::new(), vec![start]);
        while let Some(node) = ahead.pop() {
            applied.push(node);
            if applied.len() as u64 > MAX_EXPANDED {
                return Err("it refers to itself without end".to_owned());
            }
            ahead.extend(self.below(node).iter().filter(|edge| edge.0 == Part::Same).map(|edge| edge.1));
        }
        Ok(applied)
    }
}

fn set(sizes: &mut [Option<u64>], node: usize, size: u64) {
    if let Some(place) = sizes.get_mut(node) {
        *place = Some(size);
    }
}

fn count_pattern(left: &mut usize) -> Result<(), String> {
    *left = left
        .checked_sub(1)
        .ok_or_else(|| format!("the plugin's schemas hold more than {MAX_PATTERNS} regular expressions"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use serde_json::json;

    use super::*;

    fn schema(schema: Value) -> Result<Schema, String> {
        Schema::new(&schema, &mut MAX_PATTERNS.clone())
    }

    fn refusal(text: Value) -> String {
        schema(text).map(drop).unwrap_err()
    }

    #[test]
    fn schemas_as_people_write_them_are_taken() {
        let tree = json!({"type": "object", "properties": {
            "name": {"type": "string", "pattern": "^[\\w.-]{1,64}$"},
            "left": {"$ref": "#"}, "right": {"$ref": "#"}, "more": {"type": "array", "items": {"$ref": "#"}}
        }, "additionalProperties": {"$ref": "#"}});
        let filter = json!({"type": "object", "properties": {"filter": {"$ref": "#/$defs/filter"}}, "$defs": {"filter": {
            "anyOf": [
                {"type": "object", "properties": {"and": {"type": "array", "items": {"$ref": "#/$defs/filter"}}}},
                {"type": "object", "properties": {"or": {"type": "array", "items": {"$ref": "#/$defs/filter"}}}},
                {"type": "object", "properties": {"not": {"$ref": "#/$defs/filter"}}},
                {"type": "string"}
            ]
        }}});
        let draft_7 = json!({"$schema": "http://json-schema.org/draft-07/schema#", "$id": "https://example.com/a",
            "type": "object", "definitions": {"a": {"type": "integer"}}, "properties": {"a": {"$ref": "#/definitions/a"},
            "$ref": {"type": "string"}, "$id": {"type": "string"}}});
        for good in [tree, filter, draft_7] {
            let shown = good.to_string();
            let compiled = schema(good).unwrap_or_else(|error| panic!("{shown}: {error}"));
            assert_eq!(compiled.problems(&json!({})), "", "{shown}");
        }
    }

    #[test]
    fn only_local_references_are_taken() {
        let with = |reference: &str| json!({"type": "object", "properties": {"a": {"$ref": reference}}});
        assert_eq!(
            refusal(with("https://example.com/schema.json")),
            "$ref \"https://example.com/schema.json\" is not local: a schema refers to its own parts only, as in \"#/$defs/name\""
        );
        for bad in ["file:///etc/passwd", "other.json#/a", "#/$defs/nothing", "#name", "#/a%20b", "//host/x"] {
            refusal(with(bad));
        }
        refusal(json!({"type": "object", "properties": {"a": {"$id": "https://example.com/", "$ref": "#"}}}));
        refusal(json!({"type": "object", "$dynamicRef": "#a"}));
    }

    #[test]
    fn a_schema_that_would_visit_a_value_without_end_is_refused() {
        let mut laughs = json!({"type": "object", "$defs": {"0": {"type": "string"}}});
        for level in 1..60 {
            let below = json!({"$ref": format!("#/$defs/{}", level - 1)});
            laughs["$defs"][level.to_string()] = json!({"allOf": [below, below]});
        }
        laughs["properties"] = json!({"a": {"$ref": "#/$defs/59"}});
        assert!(refusal(laughs).contains("with its references written out"));
        assert_eq!(refusal(json!({"type": "object", "$ref": "#"})), "it refers to itself without end");
        let back = json!({"$ref": "#"});
        for doubled in [
            json!({"allOf": [{"properties": {"a": back}}, {"properties": {"a": back}}]}),
            json!({"properties": {"a": back}, "patternProperties": {"^a": back}}),
            json!({"properties": {"a": back}, "anyOf": [{"additionalProperties": back}]}),
            json!({"items": back, "contains": back}),
            json!({"properties": {"a": {"anyOf": [back, {"not": back}]}}}),
            json!({"if": {"items": back}, "else": {"items": back}}),
        ] {
            let mut doubled = doubled;
            doubled["type"] = json!("object");
            let shown = doubled.to_string();
            assert!(refusal(doubled).contains("more than once"), "{shown}");
        }
    }

    #[test]
    fn a_large_or_deep_schema_is_refused() {
        let large = json!({"type": "object", "description": "x".repeat(bounds::SCHEMA_BYTES)});
        assert!(refusal(large).contains("at most 65536 are allowed"));
        let mut deep = json!({"type": "string"});
        for _ in 0..60 {
            deep = json!({"type": "object", "properties": {"a": deep}});
        }
        assert_eq!(refusal(deep), "it nests deeper than 64 levels");
        let mut chain = json!({"type": "object", "$defs": {"0": {}}, "properties": {"a": {"$ref": "#/$defs/500"}}});
        for step in 1..=500 {
            chain["$defs"][step.to_string()] = json!({"$ref": format!("#/$defs/{}", step - 1)});
        }
        assert_eq!(refusal(chain), "its chains of references are longer than 64 steps");
        let wide: Vec<Value> = (0..6_000).map(|_| json!({})).collect();
        assert!(refusal(json!({"type": "object", "allOf": wide})).contains("more than 5000 subschemas"));
        let list: Vec<u32> = (0..6_000).collect();
        assert!(refusal(json!({"type": "object", "additionalProperties": {"enum": list}})).contains("listed values"));
    }

    #[test]
    fn a_pattern_is_matched_in_linear_time_or_refused() {
        let compiled = schema(json!({"type": "object", "properties": {"a": {"pattern": "^(a+)+$"}}})).unwrap();
        let began = Instant::now();
        let problems = compiled.problems(&json!({"a": format!("{}!", "a".repeat(500_000))}));
        assert!(problems.starts_with("/a: ") && problems.len() < 320, "{problems}");
        assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
        let with = |pattern: &str| json!({"type": "object", "properties": {"a": {"pattern": pattern}}});
        refusal(with("(?=a)b"));
        refusal(with("(\\w{500}){500}"));
        let many: Vec<Value> = (0..=MAX_PATTERNS).map(|_| json!({"pattern": "a"})).collect();
        assert!(refusal(json!({"type": "object", "allOf": many})).contains("more than 64 regular expressions"));
    }

    #[test]
    fn a_value_that_would_take_too_long_to_check_is_refused() {
        let many: Vec<Value> = (0..1_000).map(|_| json!({"type": "integer"})).collect();
        let compiled = schema(json!({"type": "object", "additionalProperties": {"items": {"allOf": many}}})).unwrap();
        let value = json!({"a": vec![1; 10_000]});
        assert_eq!(compiled.problems(&value), "it has too many parts to be checked against the schema");
        assert_eq!(compiled.problems(&json!({"a": [1, 2, 3]})), "");
        assert!(compiled.problems(&json!({"a": [1, "2", 3]})).starts_with("/a/1: "));
        let no_integers = json!({"a": vec!["x"; 1_000]});
        assert_eq!(compiled.problems(&no_integers), "it does not match the schema, and is too large to say where");
        let patterns = json!({"type": "object", "patternProperties": {"^a": {"pattern": "x"}, "^b": {"pattern": "y"}}});
        let compiled = schema(patterns).unwrap();
        let long = json!({"c": "x".repeat(300_000)});
        assert_eq!(compiled.problems(&long), "it has too much text for the schema's regular expressions");
    }
}
