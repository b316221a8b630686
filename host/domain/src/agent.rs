//! Agents: stored configurations of a mode. One model for all dialects; every change keeps the version before.

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::Timestamp;
use crate::budget::Budget;
use crate::grant::Approval;
use crate::id::{AgentId, DocumentId, KeyId, TeamId, ToolName};
use crate::model::ModelName;
use crate::options::ModelOptions;
use crate::schema;

/// A tool that an agent may use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentTool {
    /// The tool's name.
    pub name: ToolName,
    /// Whether a person is asked before a call. The stricter of this and the plugin's grant counts.
    #[serde(default)]
    pub approval: Approval,
}

/// What a run's answer must be.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case", from = "OutputFormatForm")]
pub enum OutputFormat {
    /// Text for a person.
    #[default]
    Text,
    /// Any JSON object.
    JsonObject,
    /// JSON that satisfies a schema.
    JsonSchema {
        /// JSON Schema, draft 2020-12 unless it says otherwise.
        schema: serde_json::Value,
    },
}

/// What an answer must be.
// serde lets a variant without braces pass with unknown fields.
#[derive(Deserialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case", deny_unknown_fields)]
enum OutputFormatForm {
    /// Text for a person.
    Text {},
    /// Any JSON object.
    JsonObject {},
    /// JSON that satisfies a schema.
    JsonSchema {
        /// JSON Schema, draft 2020-12 unless it says otherwise.
        #[schema(value_type = Object)]
        schema: serde_json::Map<String, serde_json::Value>,
    },
}

impl From<OutputFormatForm> for OutputFormat {
    fn from(form: OutputFormatForm) -> Self {
        match form {
            OutputFormatForm::Text {} => Self::Text,
            OutputFormatForm::JsonObject {} => Self::JsonObject,
            OutputFormatForm::JsonSchema { schema } => Self::JsonSchema { schema: schema.into() },
        }
    }
}

impl PartialSchema for OutputFormat {
    fn schema() -> RefOr<Schema> {
        schema::closed(OutputFormatForm::schema())
    }
}

impl ToSchema for OutputFormat {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        OutputFormatForm::schemas(schemas);
    }
}

impl OutputFormat {
    /// The schema that the answer must satisfy; none for text.
    #[must_use]
    pub fn schema(&self) -> Option<serde_json::Value> {
        match self {
            Self::Text => None,
            Self::JsonObject => Some(serde_json::json!({"type": "object"})),
            Self::JsonSchema { schema } => Some(schema.clone()),
        }
    }

    /// It is text.
    #[must_use]
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text)
    }
}

/// What becomes of a message to a session in which a run is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum BusyPolicy {
    /// It waits for its turn.
    #[default]
    Enqueue,
    /// It is refused.
    Reject,
    /// The runs before it are cancelled.
    Interrupt,
}

/// What an agent is: everything that a person can change about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AgentConfig {
    /// 1 to 128 characters, unique within the tenant; usable in place of the id.
    #[schema(
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$",
        example = "my-assistant"
    )]
    pub name: String,
    /// For a person.
    #[serde(default)]
    #[schema(max_length = 4000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
    pub description: String,
    /// The mode that its runs execute.
    #[serde(default = "chat")]
    #[schema(default = "chat", min_length = 1, max_length = 64, pattern = "^[a-zA-Z0-9_-]+$")]
    pub mode: String,
    /// Who answers; none: the host's default model.
    #[serde(default)]
    pub model: Option<ModelName>,
    /// Who is asked instead, in this order, when that one can not answer: it is not available, limits its rate, takes too
    /// long, or refuses for its policy.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 3)]
    pub fallback_models: Vec<ModelName>,
    /// How long a model may take: to its first token, between two, and for an answer in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 3600)]
    pub model_timeout_seconds: Option<u32>,
    /// How a model is to answer.
    #[serde(default, skip_serializing_if = "ModelOptions::is_empty")]
    #[schema(required = false)]
    pub model_options: ModelOptions,
    /// Instructions for the model, in front of every conversation.
    #[serde(default)]
    #[schema(max_length = 200000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
    pub prompt: String,
    /// The tools that it may use; none: all that the tenant has.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub tools: Option<Vec<AgentTool>>,
    /// How many earlier turns of a session (a client's message and all up to the next) a run is given; none: as many as
    /// the host gives.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1000)]
    pub history_turns: Option<u32>,
    /// The most tokens that the model writes in one answer.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 1000000)]
    pub max_output_tokens: Option<u32>,
    /// The most cycles of reasoning in one run; none: the mode's default.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 100)]
    pub max_cycles: Option<u32>,
    /// After so many seconds a run is ended.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 86400)]
    pub timeout_seconds: Option<u32>,
    /// What answers must be.
    #[serde(default)]
    pub output: OutputFormat,
    /// Documents that its corpus tools search, besides the host's own.
    #[serde(default)]
    #[schema(max_items = 200)]
    pub contexts: Vec<DocumentId>,
    /// Corpora of its tenant that its corpus tools search whole, with what is added to them later.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub corpora: Vec<String>,
    /// Other agents that its runs may start, each as a tool that takes an `input` and gives the answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(max_items = 16)]
    pub agents: Vec<AgentId>,
    /// What becomes of a message to a busy session.
    #[serde(default)]
    pub when_busy: BusyPolicy,
    /// Its sessions are deleted when nothing was said in them for so many seconds; none: they are kept.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 316224000)]
    pub session_ttl_seconds: Option<u64>,
    /// What its runs may use in a day and in a month, all of them together.
    #[serde(default, skip_serializing_if = "Budget::is_empty")]
    #[schema(required = false)]
    pub budget: Budget,
    /// The team that it belongs to.
    #[serde(default, rename = "teamId")]
    pub team: TeamId,
}

fn chat() -> String {
    "chat".to_owned()
}

impl AgentConfig {
    /// An agent of this name in the mode `chat`, with defaults for all else.
    #[must_use]
    pub fn named(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            description: String::new(),
            mode: chat(),
            model: None,
            fallback_models: Vec::new(),
            model_timeout_seconds: None,
            model_options: ModelOptions::default(),
            prompt: String::new(),
            tools: None,
            history_turns: None,
            max_output_tokens: None,
            max_cycles: None,
            timeout_seconds: None,
            output: OutputFormat::Text,
            contexts: Vec::new(),
            corpora: Vec::new(),
            agents: Vec::new(),
            when_busy: BusyPolicy::Enqueue,
            session_ttl_seconds: None,
            budget: Budget::default(),
            team: TeamId::default(),
        }
    }
}

/// An agent in one of its versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// Its id, the same for all versions.
    pub id: AgentId,
    /// From 1; each change makes the next one.
    pub version: u64,
    /// When the agent was made.
    pub created_at: Timestamp,
    /// When this version was made.
    pub updated_at: Timestamp,
    /// The key that made this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updated_by: Option<KeyId>,
    /// What it is.
    #[serde(flatten)]
    pub config: AgentConfig,
}

/// Which agent, in which version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AgentRef {
    /// The agent.
    pub id: AgentId,
    /// The version.
    pub version: u64,
}

impl From<&Agent> for AgentRef {
    fn from(agent: &Agent) -> Self {
        Self { id: agent.id, version: agent.version }
    }
}

/// A part of a tenant, by which agents are grouped. Every tenant has the team 1.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Team {
    /// Its number within the tenant.
    pub id: TeamId,
    /// What a person calls it.
    pub name: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// The longest name of a corpus.
pub const MAX_CORPUS_CHARS: usize = 64;

/// Whether a corpus may have this name: letters, digits, `-`, `_` and `.`, the first a letter or a digit.
#[must_use]
pub fn is_corpus_name(name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let begins = name.starts_with(|c: char| c.is_ascii_alphanumeric());
    begins && name.len() <= MAX_CORPUS_CHARS && name.chars().all(plain)
}

/// A document of a tenant's, for full-text search.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct CorpusDocument {
    /// Its id.
    pub id: DocumentId,
    /// The collection that it is kept in.
    pub corpus: String,
    /// Its file name or title.
    pub name: String,
    /// For a person.
    #[serde(default)]
    pub description: String,
    /// The type that it came as, such as `text/markdown`.
    pub media_type: String,
    /// The length of its text in bytes.
    pub length_bytes: u64,
    /// The blob that holds its text.
    pub content: crate::id::ContentHash,
    /// Where its text begins in that blob, in bytes, where the blob holds the texts of others too; none: it is the whole blob.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset_bytes: Option<u64>,
    /// The id that it has where it came from, which hits tell. Within a corpus a document of the same one takes its place.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The owner's own notes.
    #[serde(default, skip_serializing_if = "serde_json::Map::is_empty")]
    pub metadata: serde_json::Map<String, serde_json::Value>,
    /// When it was added.
    pub created_at: Timestamp,
}

impl CorpusDocument {
    /// Its text within the bytes of its blob; none where the blob is too short to hold it.
    #[must_use]
    pub fn text_in<'b>(&self, blob: &'b [u8]) -> Option<&'b [u8]> {
        let Some(start) = self.offset_bytes else { return Some(blob) };
        let end = start.checked_add(self.length_bytes)?;
        blob.get(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_output_format_takes_no_field_that_it_does_not_know() {
        let read = |json: &str| serde_json::from_str::<OutputFormat>(json);
        assert_eq!(read(r#"{"type":"text"}"#).unwrap(), OutputFormat::Text);
        assert_eq!(serde_json::to_string(&OutputFormat::JsonObject).unwrap(), r#"{"type":"json_object"}"#);
        for unknown in [r#"{"type":"text","schema":{}}"#, r#"{"type":"json_schema","schema":{},"strict":true}"#] {
            assert!(read(unknown).unwrap_err().to_string().starts_with("unknown field"), "{unknown}");
        }
    }
}
