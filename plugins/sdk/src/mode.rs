//! Modes: what a reasoning loop sees of the host, and the words that it speaks.

mod words;

use schemars::JsonSchema;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::bindings::mode as bindings;
use bindings::vivarium::plugin as imports;

pub use bindings::exports::vivarium::plugin::mode::{Guest, ModeError, Outcome, Request};
pub use imports::model::{
    Abilities, AssistantMessage, Citation, FinishReason, GenerateRequest, GenerateResponse, Image, Message, ModelError,
    ModelInfo, Part, Passage, ToolMessage, Visibility,
};
pub use imports::tools::CallResult;
pub use imports::types::{Source, ToolCall, ToolDefinition};
pub use imports::workspace::{ChangeKind, Difference, FileChange};
pub use words::JsonError;

/// All that a mode can learn or do. [`Live`] is the real host; [`ScriptedHost`](crate::testing::ScriptedHost) plays one in tests.
pub trait Host {
    /// The model of this run.
    fn describe(&mut self) -> ModelInfo;
    /// Asks the model.
    ///
    /// # Errors
    /// When there is no answer; retries are done by then.
    fn generate(&mut self, request: &GenerateRequest) -> Result<GenerateResponse, ModelError>;
    /// Asks the model several questions at once, none of them seen by the client; answers in the order of `requests`.
    fn generate_all(&mut self, requests: &[GenerateRequest]) -> Vec<Result<GenerateResponse, ModelError>>;
    /// The tools that the agent has and this mode may use.
    fn tools(&mut self) -> Vec<ToolDefinition>;
    /// Calls tools in parallel; answers in the order of `calls`. A failed call is a result with `is_error`.
    fn call_all(&mut self, calls: &[ToolCall]) -> Vec<CallResult>;
    /// The stored text of a source, cut on characters' borders.
    fn read_source(&mut self, id: &str, start_bytes: u32, max_bytes: u32) -> Option<String>;
    /// For each citation whether the quote stands in the source's stored text.
    fn check(&mut self, citations: &[Citation]) -> Vec<bool>;
    /// Shows the client one step: a short sentence in the present tense.
    fn step(&mut self, message: &str);
    /// What this run has changed of its session's files, as the host finds it; none: it has called no tool that may.
    fn changes(&mut self, max_bytes: u32) -> Option<Difference>;
    /// Adds messages to the session's history, between the client's input and the answer.
    fn append(&mut self, messages: &[Message]);
    /// Keeps a summary for the oldest so many messages of the request's history: the session's next run begins with it.
    fn summarize(&mut self, messages: u32, summary: &str);
}

/// The host that this component runs in.
#[derive(Debug, Clone, Copy)]
pub struct Live;

impl Host for Live {
    fn describe(&mut self) -> ModelInfo {
        imports::model::describe()
    }
    fn generate(&mut self, request: &GenerateRequest) -> Result<GenerateResponse, ModelError> {
        imports::model::generate(request)
    }
    fn generate_all(&mut self, requests: &[GenerateRequest]) -> Vec<Result<GenerateResponse, ModelError>> {
        // The host takes at most 8 questions in one go.
        requests.chunks(8).flat_map(imports::model::generate_all).collect()
    }
    fn tools(&mut self) -> Vec<ToolDefinition> {
        imports::tools::list()
    }
    fn call_all(&mut self, calls: &[ToolCall]) -> Vec<CallResult> {
        // The host takes at most 32 calls in one go.
        calls.chunks(32).flat_map(imports::tools::call_all).collect()
    }
    fn read_source(&mut self, id: &str, start_bytes: u32, max_bytes: u32) -> Option<String> {
        imports::sources::read(id, start_bytes, max_bytes)
    }
    fn check(&mut self, citations: &[Citation]) -> Vec<bool> {
        imports::sources::check(citations)
    }
    fn step(&mut self, message: &str) {
        imports::steps::report(message);
    }
    fn changes(&mut self, max_bytes: u32) -> Option<Difference> {
        imports::workspace::changes(max_bytes)
    }
    fn append(&mut self, messages: &[Message]) {
        imports::session::append(messages);
    }
    fn summarize(&mut self, messages: u32, summary: &str) {
        imports::session::summarize(messages, summary);
    }
}

/// Asks the model for a `T`. A model with the ability `json-schema` gets the schema of `T`; another one gets it in words.
///
/// # Errors
/// When the model does not answer, or its answer is no `T`.
pub fn generate_json<T: JsonSchema + DeserializeOwned>(
    host: &mut impl Host,
    abilities: Abilities,
    request: GenerateRequest,
) -> Result<T, JsonError> {
    let schema = schemars::schema_for!(T).to_value().to_string();
    let text = generate_by_schema(host, abilities, request, schema)?;
    serde_json::from_str(&text).map_err(|error| JsonError::Malformed(error.to_string()))
}

/// The same for several questions at once; answers in the order of `requests`.
pub fn generate_all_json<T: JsonSchema + DeserializeOwned>(
    host: &mut impl Host,
    abilities: Abilities,
    requests: Vec<GenerateRequest>,
) -> Vec<Result<T, JsonError>> {
    let schema = schemars::schema_for!(T).to_value().to_string();
    let requests: Vec<GenerateRequest> =
        requests.into_iter().map(|request| by_schema(abilities, request, schema.clone())).collect();
    let read = |answer: Result<GenerateResponse, ModelError>| {
        let text = answer?.text;
        let json = json_in(&text).unwrap_or(&text);
        serde_json::from_str(json).map_err(|error| JsonError::Malformed(error.to_string()))
    };
    host.generate_all(&requests).into_iter().map(read).collect()
}

/// Asks the model for JSON that satisfies `schema`, and gives the JSON's text, or all its words where there is no JSON in
/// them: hand it on as `answer-json`. The host checks it, and has the model correct what is wrong.
///
/// # Errors
/// When the model does not answer.
pub fn generate_by_schema(
    host: &mut impl Host,
    abilities: Abilities,
    request: GenerateRequest,
    schema: String,
) -> Result<String, JsonError> {
    let text = host.generate(&by_schema(abilities, request, schema))?.text;
    Ok(json_in(&text).unwrap_or(&text).to_owned())
}

/// The request for an answer by `schema`: apart from the words where the model takes it so, else in them.
fn by_schema(abilities: Abilities, mut request: GenerateRequest, schema: String) -> GenerateRequest {
    if abilities.contains(Abilities::JSON_SCHEMA) {
        request.output_schema = Some(schema);
    } else {
        let words =
            format!("Answer with JSON alone, without any other text, that satisfies this JSON Schema:\n{schema}");
        request.messages.insert(0, Message::system(words));
    }
    request
}

/// At how many places in a model's words JSON is looked for.
const MOST_BEGINNINGS: usize = 64;

/// The JSON within a model's words: models like to put it into a code fence, or a sentence before or behind it. Of several documents
/// the longest.
fn json_in(text: &str) -> Option<&str> {
    let text = text.trim();
    if serde_json::from_str::<IgnoredAny>(text).is_ok() {
        return Some(text);
    }
    let (mut longest, mut from) = ("", 0);
    for _ in 0..MOST_BEGINNINGS {
        let Some(begin) = text.get(from..)?.find(['{', '[']) else { break };
        let rest = text.get(from + begin..)?;
        let mut documents = serde_json::Deserializer::from_str(rest).into_iter::<IgnoredAny>();
        let length = match documents.next() {
            Some(Ok(_)) => documents.byte_offset(),
            _ => 0,
        };
        if length > longest.len() {
            longest = rest.get(..length)?;
        }
        from += begin + length.max(1);
    }
    Some(longest).filter(|longest| !longest.is_empty())
}

/// Exports a mode. Takes the function `fn run(host: &mut impl Host, request: Request) -> Result<Outcome, ModeError>`.
#[macro_export]
macro_rules! export_mode {
    ($run:path) => {
        const _: () = {
            struct Component;
            impl $crate::mode::Guest for Component {
                fn run(request: $crate::mode::Request) -> Result<$crate::mode::Outcome, $crate::mode::ModeError> {
                    $crate::log::report_panics();
                    $run(&mut $crate::mode::Live, request)
                }
            }
            // Natively, where the tests run, nothing is exported: the names of the canonical ABI are none to a native linker.
            const _: usize = {
                let _ = <Component as $crate::mode::Guest>::run;
                0
            };
            #[cfg(target_arch = "wasm32")]
    $crate::bindings::mode::export_mode_world!(Component with_types_in $crate::bindings::mode);
            $crate::manifest_section!();
        };
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_found_in_a_models_words() {
        assert_eq!(json_in(r#" {"a":[1]} "#), Some(r#"{"a":[1]}"#));
        assert_eq!(json_in("Here it is:\n```json\n{\"a\":1}\n```\n"), Some("{\"a\":1}"));
        assert_eq!(json_in("Of [1] and {\"a\":{\"b\":1}}, {so} it is."), Some("{\"a\":{\"b\":1}}"));
        assert_eq!(json_in("42"), Some("42"));
        assert_eq!(json_in("I can not."), None);
        assert_eq!(json_in("} {"), None);
    }
}
