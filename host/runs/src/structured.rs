//! An answer as JSON, where a schema asks for it: it is checked here, whatever the mode says of it, and a model that missed
//! the schema gets one more try.

use std::sync::Arc;

use jsonschema::Validator;
use serde_json::Value;
use vivarium_domain::{GenerateRequest, Message};
use vivarium_sandbox::HostStop;

use crate::host::RunHost;

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

    /// Asks the model once for what it missed.
    ///
    /// # Errors
    /// The run's log can not be written.
    pub(crate) async fn repair(
        &self,
        host: &RunHost,
        answer: &str,
        wrong: &str,
    ) -> Result<Result<(String, Value), String>, HostStop> {
        // A model that can not answer by a schema is told of it in words alone.
        let by_schema = host.model_abilities().json_schema;
        let asked = host.ask(self.question(answer, wrong, by_schema)).await?;
        let text = match asked {
            Ok(response) => response.text,
            Err(error) => return Ok(Err(format!("{wrong}; asked again, the model did not answer: {error}"))),
        };
        let json = within(&text).to_owned();
        Ok(match self.check(&json) {
            Ok(value) => Ok((json, value)),
            Err(again) => Err(format!("{wrong}; asked again, the model gave another wrong one: {again}")),
        })
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

/// Where in the answer: a JSON pointer, or `the top`.
fn place(error: &jsonschema::ValidationError<'_>) -> String {
    let pointer = error.instance_path().to_string();
    if pointer.is_empty() { "the top".to_owned() } else { pointer }
}

/// The JSON within a model's words: models like to put it into a fence, or a sentence before it.
fn within(text: &str) -> &str {
    let text = text.trim();
    if serde_json::from_str::<Value>(text).is_ok() {
        return text;
    }
    let bounds = text.find(['{', '[']).zip(text.rfind(['}', ']']));
    bounds.and_then(|(start, end)| text.get(start..=end)).unwrap_or(text)
}
