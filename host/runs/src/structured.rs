//! An answer as JSON, where a schema asks for it: it is checked here, whatever the mode says of it, and a model that missed
//! the schema gets one more try.

use std::sync::Arc;

use jsonschema::Validator;
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
        let json = answer.answer_json.as_deref().unwrap_or(&answer.answer);
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

/// The JSON within a model's words: models like to put it into a fence, or a sentence before it.
fn within(text: &str) -> &str {
    let text = text.trim();
    if serde_json::from_str::<Value>(text).is_ok() {
        return text;
    }
    let bounds = text.find(['{', '[']).zip(text.rfind(['}', ']']));
    bounds.and_then(|(start, end)| text.get(start..=end)).unwrap_or(text)
}
