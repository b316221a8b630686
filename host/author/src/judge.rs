//! Whether what came of a case is what it expects. Every difference is told, not only the first.

use std::collections::BTreeMap;

use serde_json::Value as Json;
use vivarium_domain::Document;

/// A document that a tool must have read.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExpectedDocument {
    /// Its location.
    pub location: Option<String>,
    /// Its title.
    pub title: Option<String>,
    /// Parts of its text.
    pub text_contains: Vec<String>,
}

/// What must come of a case. What is not named may be anything.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Expectation {
    /// The whole output, or the answer of a mode.
    pub output: Option<String>,
    /// The output as JSON.
    pub output_json: Option<Json>,
    /// Parts of the output.
    pub output_contains: Vec<String>,
    /// Parts of the error.
    pub error_contains: Vec<String>,
    /// The documents that were read, in this order.
    pub documents: Option<Vec<ExpectedDocument>>,
    /// Files of the workspace afterwards.
    pub files: BTreeMap<String, String>,
    /// Files that are not there afterwards.
    pub no_files: Vec<String>,
    /// Kept data afterwards.
    pub state: BTreeMap<String, String>,
    /// Keys that are not kept afterwards.
    pub no_state: Vec<String>,
    /// Parts of the log.
    pub log_contains: Vec<String>,
    /// Parts of the steps that a mode shows.
    pub steps_contain: Vec<String>,
}

/// What came of a case.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Observed {
    /// The output, or the error.
    pub result: Option<Result<String, String>>,
    /// The documents that were read.
    pub documents: Vec<Document>,
    /// The workspace's files afterwards, by their paths.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Kept data afterwards.
    pub state: BTreeMap<String, Vec<u8>>,
    /// Lines of the log.
    pub log: Vec<String>,
    /// Steps that were shown.
    pub steps: Vec<String>,
    /// What the recorded network and the scripted model have to complain about.
    pub problems: Vec<String>,
}

/// One thing that is other than expected: a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference(pub String);

impl std::fmt::Display for Difference {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl Expectation {
    pub(crate) fn expects_output(&self) -> bool {
        self.output.is_some() || self.output_json.is_some() || !self.output_contains.is_empty()
    }

    /// All differences between this and what came; none: the case is passed. `output_schema` is the tool's own.
    #[must_use]
    pub fn judge(&self, observed: &Observed, output_schema: Option<&Json>) -> Vec<Difference> {
        let mut found: Vec<String> = observed.problems.clone();
        match &observed.result {
            Some(Ok(output)) => self.judge_output(output, output_schema, &mut found),
            Some(Err(error)) => self.judge_error(error, &mut found),
            None => found.push("it came to no end".to_owned()),
        }
        if let Some(expected) = &self.documents {
            judge_documents(expected, &observed.documents, &mut found);
        }
        judge_entries("file", &self.files, &self.no_files, &observed.files, &mut found);
        judge_entries("kept key", &self.state, &self.no_state, &observed.state, &mut found);
        judge_lines("log", &self.log_contains, &observed.log, &mut found);
        judge_lines("steps", &self.steps_contain, &observed.steps, &mut found);
        found.into_iter().map(Difference).collect()
    }

    fn judge_output(&self, output: &str, schema: Option<&Json>, found: &mut Vec<String>) {
        if !self.error_contains.is_empty() {
            found.push(format!("it should have failed, and its output is {}", shown(output)));
            return;
        }
        if let Some(expected) = self.output.as_ref().filter(|expected| *expected != output) {
            found.push(format!("its output is {}, not {}", shown(output), shown(expected)));
        }
        let missing = self.output_contains.iter().filter(|part| !output.contains(part.as_str()));
        found.extend(missing.map(|part| format!("its output {} does not contain {part:?}", shown(output))));
        if self.output_json.is_none() && schema.is_none() {
            return;
        }
        let json = match serde_json::from_str::<Json>(output) {
            Ok(json) => json,
            Err(error) => {
                found.push(format!("its output {} is no JSON: {error}", shown(output)));
                return;
            }
        };
        if let Some(expected) = self.output_json.as_ref().filter(|expected| !same_json(expected, &json)) {
            found.push(format!("its output is {json}, not {expected}"));
        }
        if let Some(Ok(validator)) = schema.map(jsonschema::validator_for) {
            let errors = validator.iter_errors(&json).take(5);
            found.extend(errors.map(|error| format!("its output does not fit its own schema: {error}")));
        }
    }

    fn judge_error(&self, error: &str, found: &mut Vec<String>) {
        if self.error_contains.is_empty() {
            found.push(format!("it failed: {}", shown(error)));
            return;
        }
        let missing = self.error_contains.iter().filter(|part| !error.contains(part.as_str()));
        found.extend(missing.map(|part| format!("its error {} does not contain {part:?}", shown(error))));
    }
}

fn judge_documents(expected: &[ExpectedDocument], read: &[Document], found: &mut Vec<String>) {
    if expected.len() != read.len() {
        let names: Vec<&str> = read.iter().map(|document| document.location.as_str()).collect();
        found.push(format!("it read {} documents, not {}: {}", read.len(), expected.len(), names.join(", ")));
        return;
    }
    for (expected, document) in expected.iter().zip(read) {
        let location = &document.location;
        if expected.location.as_ref().is_some_and(|expected| expected != location) {
            found.push(format!("it read {location:?}, not {:?}", expected.location.as_deref().unwrap_or_default()));
        }
        if expected.title.as_ref().is_some_and(|expected| *expected != document.title) {
            let title = expected.title.as_deref().unwrap_or_default();
            found.push(format!("the title of {location} is {:?}, not {title:?}", document.title));
        }
        let missing = expected.text_contains.iter().filter(|part| !document.text.contains(part.as_str()));
        found.extend(missing.map(|part| format!("the text of {location} does not contain {part:?}")));
    }
}

fn judge_entries(
    what: &str,
    expected: &BTreeMap<String, String>,
    absent: &[String],
    there: &BTreeMap<String, Vec<u8>>,
    found: &mut Vec<String>,
) {
    for (name, text) in expected {
        match there.get(name) {
            Some(bytes) if bytes == text.as_bytes() => {}
            Some(bytes) => {
                let bytes = String::from_utf8_lossy(bytes);
                found.push(format!("the {what} {name} holds {}, not {}", shown(&bytes), shown(text)));
            }
            None => found.push(format!("there is no {what} {name}")),
        }
    }
    found
        .extend(absent.iter().filter(|name| there.contains_key(*name)).map(|name| format!("there is a {what} {name}")));
}

fn judge_lines(what: &str, parts: &[String], lines: &[String], found: &mut Vec<String>) {
    let missing = parts.iter().filter(|part| !lines.iter().any(|line| line.contains(part.as_str())));
    found.extend(missing.map(|part| format!("no line of the {what} contains {part:?}: {}", shown(&lines.join("\n")))));
}

/// Equal but for the way in which numbers are written.
pub(crate) fn same_json(a: &Json, b: &Json) -> bool {
    match (a, b) {
        (Json::Number(a), Json::Number(b)) => a == b || (a.as_f64() == b.as_f64() && (a.is_f64() || b.is_f64())),
        (Json::Array(a), Json::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b)),
        (Json::Object(a), Json::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_json(a, b)))
        }
        _ => a == b,
    }
}

/// A text in quotes, cut where nobody would read on.
fn shown(text: &str) -> String {
    const MOST: usize = 500;
    let cut = text.char_indices().nth(MOST).map_or(text.len(), |(at, _)| at);
    let rest = if cut < text.len() { "…" } else { "" };
    format!("{:?}{rest}", text.get(..cut).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(expect: &Expectation, observed: &Observed) -> Vec<String> {
        expect.judge(observed, None).into_iter().map(|difference| difference.0).collect()
    }

    fn output(text: &str) -> Observed {
        Observed { result: Some(Ok(text.to_owned())), ..Observed::default() }
    }

    fn texts(parts: &[&str]) -> Vec<String> {
        parts.iter().map(|part| (*part).to_owned()).collect()
    }

    #[test]
    fn what_is_as_expected_makes_no_difference() {
        let expect = Expectation {
            output: Some("{\"n\":1.0}".to_owned()),
            output_json: Some(json!({"n": 1})),
            output_contains: texts(&["1.0"]),
            ..Expectation::default()
        };
        assert_eq!(differences(&expect, &output("{\"n\":1.0}")), [""; 0]);
    }

    #[test]
    fn every_difference_is_told() {
        let document = Document {
            title: "A".to_owned(),
            location: "https://a.com/".to_owned(),
            media_type: "text/plain".to_owned(),
            text: "words".to_owned(),
        };
        let expect = Expectation {
            output: Some("yes".to_owned()),
            output_json: Some(json!({})),
            output_contains: texts(&["e"]),
            documents: Some(vec![ExpectedDocument {
                location: Some("https://b.com/".to_owned()),
                title: Some("B".to_owned()),
                text_contains: texts(&["more"]),
            }]),
            files: [("a".to_owned(), "1".to_owned()), ("c".to_owned(), "1".to_owned())].into(),
            no_files: texts(&["a", "z"]),
            state: [("k".to_owned(), "v".to_owned())].into(),
            log_contains: texts(&["hello"]),
            ..Expectation::default()
        };
        let observed = Observed {
            documents: vec![document],
            files: [("a".to_owned(), b"2".to_vec())].into(),
            problems: texts(&["it sent GET https://x.com/, which is not recorded"]),
            ..output("no")
        };
        insta::assert_snapshot!(differences(&expect, &observed).join("\n"), @r#"
        it sent GET https://x.com/, which is not recorded
        its output is "no", not "yes"
        its output "no" does not contain "e"
        its output "no" is no JSON: expected ident at line 1 column 2
        it read "https://a.com/", not "https://b.com/"
        the title of https://a.com/ is "A", not "B"
        the text of https://a.com/ does not contain "more"
        the file a holds "2", not "1"
        there is no file c
        there is a file a
        there is no kept key k
        no line of the log contains "hello": ""
        "#);
    }

    #[test]
    fn an_error_where_an_output_is_expected_is_a_difference_and_the_other_way_round() {
        let failed = Observed { result: Some(Err("no such city".to_owned())), ..Observed::default() };
        let expects_error = Expectation { error_contains: texts(&["city"]), ..Expectation::default() };
        assert_eq!(differences(&expects_error, &failed), [""; 0]);
        assert_eq!(differences(&expects_error, &output("x")), ["it should have failed, and its output is \"x\""]);
        let expects_output = Expectation { output_contains: texts(&["city"]), ..Expectation::default() };
        assert_eq!(differences(&expects_output, &failed), ["it failed: \"no such city\""]);
    }

    #[test]
    fn an_output_is_held_to_the_tools_own_schema() {
        let expect = Expectation { output_contains: texts(&["n"]), ..Expectation::default() };
        let schema = json!({"type": "object", "required": ["m"]});
        let found = expect.judge(&output("{\"n\":1}"), Some(&schema));
        assert_eq!(found[0].0, "its output does not fit its own schema: \"m\" is a required property");
    }
}
