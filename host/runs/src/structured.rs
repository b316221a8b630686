//! An answer as JSON, where a schema asks for it: it is checked here, whatever the mode says of it, and a model that missed
//! the schema gets one more try.

use std::sync::Arc;

use jsonschema::Validator;
use serde::de::IgnoredAny;
use serde_json::Value;
use vivarium_domain::{GenerateRequest, GenerateResponse, Message, ModelError};
use vivarium_sandbox::{HostStop, ModeAnswer};

/// Of a wrong answer, what the model is shown again.
const SHOWN_BYTES: usize = 64 << 10;

/// What an answer must satisfy.
#[derive(Clone)]
pub(crate) struct OutputSchema {
    /// The schema's JSON.
    pub(crate) text: String,
    validator: Arc<Validator>,
}

impl OutputSchema {
    /// # Errors
    /// What is wrong with the schema.
    pub(crate) fn new(schema: &Value) -> Result<Self, String> {
        let validator = jsonschema::validator_for(schema).map_err(|error| error.to_string())?;
        Ok(Self { text: schema.to_string(), validator: Arc::new(validator) })
    }

    /// The answer's value, or what is wrong with it, in a sentence.
    pub(crate) fn check(&self, json: &str) -> Result<Value, String> {
        let value = serde_json::from_str(json).map_err(|error| format!("it is no JSON: {error}"))?;
        match self.validator.validate(&value) {
            Ok(()) => Ok(value),
            Err(error) => Err(format!("it does not satisfy the schema at {}: {error}", place(&error))),
        }
    }

    /// The answer as JSON that satisfies the schema, at the latest when the model was asked once more. A model that can not
    /// answer `by_schema` is told of it in words alone.
    ///
    /// # Errors
    /// See [`Unsettled`].
    pub(crate) async fn settle(
        &self,
        answer: &mut ModeAnswer,
        by_schema: bool,
        ask: impl AsyncFnOnce(GenerateRequest) -> Result<Result<GenerateResponse, ModelError>, HostStop>,
    ) -> Result<Value, Unsettled> {
        let json = within(answer.answer_json.as_deref().unwrap_or(&answer.answer));
        let wrong = match self.check(json) {
            Ok(value) => return Ok(value),
            Err(wrong) => wrong,
        };
        let asked = ask(self.question(json, &wrong, by_schema)).await.map_err(Unsettled::Stopped)?;
        let text = match asked {
            Ok(response) => response.text,
            Err(error) => {
                return Err(Unsettled::wrong(format!("{wrong}; asked again, the model did not answer: {error}")));
            }
        };
        let json = within(&text).to_owned();
        let value = self.check(&json).map_err(|again| {
            Unsettled::wrong(format!("{wrong}; asked again, the model gave another wrong one: {again}"))
        })?;
        // Where the JSON is all that the mode said, the repaired one takes its place.
        if answer.answer_json.as_deref().is_none_or(|json| json == answer.answer) {
            answer.answer = json;
        }
        Ok(value)
    }

    fn question(&self, answer: &str, wrong: &str, by_schema: bool) -> GenerateRequest {
        let system = format!(
            "You correct an answer that has to be JSON. Give the JSON alone, without any other text. It must satisfy \
             this JSON Schema:\n{}",
            self.text
        );
        let shown = answer.get(..answer.floor_char_boundary(SHOWN_BYTES)).unwrap_or_default();
        let user = format!("The answer was:\n{shown}\n\nIt is wrong: {wrong}\n\nGive the corrected JSON.");
        GenerateRequest {
            messages: vec![Message::System { text: system }, Message::user(user)],
            output_schema: by_schema.then(|| serde_json::from_str(&self.text).ok()).flatten(),
            ..GenerateRequest::default()
        }
    }
}

/// Why there is no JSON.
pub(crate) enum Unsettled {
    /// It is not what was asked for, in a sentence.
    Wrong(String),
    /// The host can not go on.
    Stopped(HostStop),
}

impl Unsettled {
    fn wrong(wrong: String) -> Self {
        Self::Wrong(format!("the answer is not the JSON that was asked for: {wrong}"))
    }
}

/// Where in the answer: a JSON pointer, or `the top`.
fn place(error: &jsonschema::ValidationError<'_>) -> String {
    let pointer = error.instance_path().to_string();
    if pointer.is_empty() { "the top".to_owned() } else { pointer }
}

/// At how many places in a model's words JSON is looked for.
const MOST_BEGINNINGS: usize = 64;

/// The JSON within a model's words: models like to put it into a fence, or a sentence before or behind it. Of several documents the
/// longest; the words themselves where there is none.
fn within(text: &str) -> &str {
    let text = text.trim();
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return text;
    }
    let (mut longest, mut from) = ("", 0);
    for _ in 0..MOST_BEGINNINGS {
        let Some(rest) = text.get(from..) else { break };
        let Some(begin) = rest.find(['{', '[']) else { break };
        let rest = rest.get(begin..).unwrap_or_default();
        let mut documents = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        let length = match documents.next() {
            Some(Ok(_)) => documents.byte_offset(),
            _ => 0,
        };
        if length > longest.len() {
            longest = rest.get(..length).unwrap_or_default();
        }
        from += begin + length.max(1);
    }
    if longest.is_empty() { text } else { longest }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn json_is_found_whatever_stands_around_it() {
        for (words, found) in [
            (" {\"a\": [1]} ", "{\"a\": [1]}"),
            ("Here it is:\n```json\n{\"a\": 1}\n```\nAnything else {of this kind}?", "{\"a\": 1}"),
            ("Of [1] and {\"a\": {\"b\": \"}\"}}.", "{\"a\": {\"b\": \"}\"}}"),
            ("```\n[1, 2]\n```", "[1, 2]"),
            ("42", "42"),
            ("\"yes\"", "\"yes\""),
            ("I can not.", "I can not."),
            ("{\"a\": ", "{\"a\":"),
        ] {
            assert_eq!(within(words), found);
        }
    }

    #[test]
    fn json_is_looked_for_at_so_many_places_and_no_more() {
        let found = |before: usize| within(&format!("{}{{\"a\": 1}}", "[x ".repeat(before))).starts_with('{');
        assert!(found(MOST_BEGINNINGS - 1));
        assert!(!found(MOST_BEGINNINGS));
    }

    #[test]
    fn what_a_schema_says_is_what_an_answer_must_be() {
        let tree = json!({"$defs": {"node": {"type": "object", "properties": {
            "kind": {"enum": ["leaf", "branch"]}, "of": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["kind"], "additionalProperties": false}}, "$ref": "#/$defs/node"});
        let union = json!({"oneOf": [{"const": null}, {"type": "integer", "minimum": 1}]});
        for (schema, right, wrong) in [
            (
                &tree,
                r#"{"kind": "branch", "of": [{"kind": "leaf"}]}"#,
                r#"{"kind": "branch", "of": [{"kind": "twig"}]}"#,
            ),
            (&union, "null", "0"),
        ] {
            let schema = OutputSchema::new(schema).unwrap();
            assert!(schema.check(right).is_ok());
            assert!(schema.check(wrong).unwrap_err().starts_with("it does not satisfy the schema at "));
        }
        assert!(OutputSchema::new(&json!({"$ref": "https://elsewhere.example/schema"})).is_err(), "nothing is fetched");
        assert!(OutputSchema::new(&json!({"type": "nothing"})).is_err());
    }

    proptest! {
        #[test]
        fn no_words_panic_and_what_is_found_is_a_part_of_them(words in "[\\[{}\\]\": a1,é]{0,60}") {
            prop_assert!(words.contains(within(&words)));
        }
    }
}
