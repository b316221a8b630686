//! What is said to a model and what it answers, in the house's own form; each provider translates it to its wire.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::id::ToolName;
use crate::schema;

/// A model and who serves it, written `provider/model`: `openai/gpt-5`, `embedded/extractive`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ModelName {
    provider: String,
    model: String,
}

impl ModelName {
    /// The name of `model` at `provider`; neither may be empty, and the provider holds no `/`.
    #[must_use]
    pub fn new(provider: &str, model: &str) -> Option<Self> {
        let whole = !provider.is_empty() && !provider.contains('/') && !model.is_empty();
        whole.then(|| Self { provider: provider.to_owned(), model: model.to_owned() })
    }

    /// Who serves it: `openai`, `anthropic`, `google`, `embedded`.
    #[must_use]
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The name that the provider knows it by; may hold further slashes.
    #[must_use]
    pub fn model(&self) -> &str {
        &self.model
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.provider, self.model)
    }
}

impl FromStr for ModelName {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        text.split_once('/')
            .and_then(|(provider, model)| Self::new(provider, model))
            .ok_or_else(|| format!("a model is written provider/model, such as openai/gpt-5, not {text:?}"))
    }
}

impl PartialSchema for ModelName {
    fn schema() -> RefOr<Schema> {
        let description = "A model and who serves it, written provider/model.";
        schema::text(description, r"^[^/]+/[\s\S]+$", 3..=200, "openai/gpt-5")
    }
}

impl ToSchema for ModelName {}

impl TryFrom<String> for ModelName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<ModelName> for String {
    fn from(name: ModelName) -> Self {
        name.to_string()
    }
}

/// What a model can do. A mode asks and adapts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[allow(clippy::struct_excessive_bools, reason = "a set of independent yes-or-no facts, as in the WIT flags")]
pub struct Abilities {
    /// It writes text of its own.
    pub free_text: bool,
    /// It can ask for tools.
    pub tool_calls: bool,
    /// It can answer by a JSON Schema.
    pub json_schema: bool,
    /// It reads images.
    pub images: bool,
    /// It answers from passages with verbatim citations.
    pub passages: bool,
}

/// One model, as a mode sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ModelInfo {
    /// Its name.
    pub name: ModelName,
    /// What it can do.
    pub abilities: Abilities,
    /// How many tokens prompt and answer may take together.
    pub context_tokens: u32,
    /// For a model with few abilities: what a person can do to get a better one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    #[schema(nullable = false)]
    pub hint: Option<String>,
}

/// An image in a message.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// `image/png`, `image/jpeg`, `image/gif` or `image/webp`.
    pub media_type: String,
    /// The file's bytes.
    pub data: Vec<u8>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image({}, {} bytes)", self.media_type, self.data.len())
    }
}

/// A part of a user's message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Part {
    /// Text.
    Text(String),
    /// An image.
    Image(Image),
}

/// One call of a tool that a model (or a mode) asks for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolCall {
    /// Names the call within the conversation; the result refers to it.
    pub id: String,
    /// The tool's name, as the model wrote it.
    pub name: String,
    /// The arguments as JSON text, as the model wrote it; may be broken.
    pub arguments_json: String,
}

/// What the model said earlier.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AssistantMessage {
    /// Its text.
    pub text: String,
    /// The tools that it asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
}

/// The answer to one tool call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolMessage {
    /// The call that this answers.
    pub call_id: String,
    /// The tool's name.
    pub name: String,
    /// The output or the error, as text: untrusted.
    pub content: String,
    /// The call failed.
    #[serde(default)]
    pub is_error: bool,
}

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "role", rename_all = "camelCase")]
pub enum Message {
    /// Instructions.
    System {
        /// Their text.
        text: String,
    },
    /// The client's words.
    User {
        /// Text and images, in order.
        parts: Vec<Part>,
    },
    /// The model's words.
    Assistant(AssistantMessage),
    /// A tool's answer.
    Tool(ToolMessage),
}

impl Message {
    /// A user's message of text alone.
    #[must_use]
    pub fn user(text: impl Into<String>) -> Self {
        Self::User { parts: vec![Part::Text(text.into())] }
    }

    /// A model's message of text alone.
    #[must_use]
    pub fn assistant(text: impl Into<String>) -> Self {
        Self::Assistant(AssistantMessage { text: text.into(), tool_calls: Vec::new() })
    }

    /// The length of all that it holds, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::System { text } => text.len(),
            Self::User { parts } => {
                let part = |part: &Part| match part {
                    Part::Text(text) => text.len(),
                    Part::Image(image) => image.data.len(),
                };
                parts.iter().map(part).sum()
            }
            Self::Assistant(said) => {
                let call = |call: &ToolCall| call.id.len() + call.name.len() + call.arguments_json.len();
                said.text.len() + said.tool_calls.iter().map(call).sum::<usize>()
            }
            Self::Tool(answer) => answer.call_id.len() + answer.name.len() + answer.content.len(),
        }
    }

    /// The message's text, images left out.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::System { text } => text.clone(),
            Self::User { parts } => {
                let texts: Vec<&str> = parts
                    .iter()
                    .filter_map(|part| match part {
                        Part::Text(text) => Some(text.as_str()),
                        Part::Image(_) => None,
                    })
                    .collect();
                texts.join("\n")
            }
            Self::Assistant(message) => message.text.clone(),
            Self::Tool(message) => message.content.clone(),
        }
    }
}

/// A tool, as a model is told of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ToolDefinition {
    /// The name that the model uses.
    pub name: ToolName,
    /// What it does and when to use it.
    pub description: String,
    /// JSON Schema of the arguments: an object.
    pub input_schema: serde_json::Value,
    /// It changes nothing.
    #[serde(default)]
    pub read_only: bool,
}

/// A piece of a source that the answer may rest on: untrusted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Passage {
    /// The source's id in the run's ledger.
    pub source_id: String,
    /// The source's title.
    pub title: String,
    /// Its words.
    pub text: String,
}

/// A quote that backs an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Citation {
    /// The source's id in the run's ledger.
    pub source_id: String,
    /// Words of the source.
    pub quote: String,
}

/// Who sees the tokens while the model writes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Visibility {
    /// Nobody.
    #[default]
    Hidden,
    /// The client, as they come.
    Answer,
}

/// One question to a model.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GenerateRequest {
    /// The conversation.
    pub messages: Vec<Message>,
    /// The tools that the model may ask for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolDefinition>,
    /// What the answer may rest on, besides the conversation.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub passages: Vec<Passage>,
    /// JSON Schema that the answer must satisfy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<serde_json::Value>,
    /// A bound on the answer's length.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// From 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Who sees the tokens.
    #[serde(default)]
    pub visibility: Visibility,
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum FinishReason {
    /// It was done.
    #[default]
    Stop,
    /// It asks for tools.
    ToolCalls,
    /// It reached the bound on its length.
    Length,
    /// The provider's policy stopped it.
    ContentFilter,
}

/// Tokens of one or more model calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Of these, those that the provider had in its cache; left out where there are none.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub cached_input_tokens: u64,
    /// Of the tokens read, those that the provider has put into its cache; left out where there are none, or it does not say.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub cache_write_tokens: u64,
    /// Tokens written, thoughts included.
    pub output_tokens: u64,
    /// Of these, those of thoughts; left out where there are none, or the provider does not tell them apart.
    #[serde(default, skip_serializing_if = "is_zero")]
    #[schema(required = false)]
    pub reasoning_tokens: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.cached_input_tokens = self.cached_input_tokens.saturating_add(other.cached_input_tokens);
        self.cache_write_tokens = self.cache_write_tokens.saturating_add(other.cache_write_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.reasoning_tokens = self.reasoning_tokens.saturating_add(other.reasoning_tokens);
    }
}

/// A model's answer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct GenerateResponse {
    /// Its text.
    pub text: String,
    /// The tools that it asks for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<ToolCall>,
    /// Verbatim citations, from a model with the ability `passages`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub citations: Vec<Citation>,
    /// Why it stopped.
    pub finish_reason: FinishReason,
    /// Tokens read and written.
    pub usage: Usage,
    /// What the provider wants back, unchanged, with the answers to its tool calls: thoughts, or their signatures, in its own
    /// form. Nobody else can read anything from it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>, nullable = false)]
    pub thoughts: Option<serde_json::Value>,
}
