//! What a client asks an assistant, checked field by field.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{AdditionalProperties, Schema};
use utoipa::{PartialSchema, ToSchema};
use vivarium_attachments::{IncomingContent, IncomingFile, MAX_FILES};
use vivarium_domain::{Agent, OutputFormat, SessionId, bounds};
use vivarium_runs::RunRequest;

use crate::error::{ApiError, Kind};

const MAX_SCHEMA_NAME_CHARS: usize = 64;
/// Where a client writes the schema.
pub(super) const SCHEMA_FIELD: &str = "responseFormat.json_schema.schema";

/// A question of which nothing is kept.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
#[schema(as = AgentHubExecute)]
pub(super) struct Execute {
    /// What is asked; not only white space.
    #[schema(
        min_length = 1,
        max_length = 200000,
        pattern = r"\S",
        example = "Summarize the key points from this document"
    )]
    user_input: String,
    /// Files that come with it.
    #[schema(value_type = Option<Vec<AttachmentForm>>, max_items = 10)]
    attachments: Option<Vec<Attachment>>,
    /// What the answer must be; without it, what the agent is set to.
    #[schema(value_type = Option<ResponseFormatForm>)]
    response_format: Option<ResponseFormat>,
    /// Takes the place of the agent's prompt in this run.
    #[schema(max_length = 200000)]
    prompt_override: Option<String>,
    /// The answer's `data` has the calls of tools and their results.
    include_tool_calls: Option<bool>,
}

/// A message of a conversation.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
#[schema(as = AgentHubUserInput)]
pub(super) struct UserInput {
    /// The conversation; without it, a new one.
    session_id: Option<SessionId>,
    /// What is said; not only white space.
    #[schema(min_length = 1, max_length = 200000, pattern = r"\S", example = "Tell me more about that last point")]
    user_input: String,
    /// Files that come with it.
    #[schema(value_type = Option<Vec<AttachmentForm>>, max_items = 10)]
    attachments: Option<Vec<Attachment>>,
    /// What the answer must be; without it, what the agent is set to.
    #[schema(value_type = Option<ResponseFormatForm>)]
    response_format: Option<ResponseFormat>,
}

/// A file: its bytes in base64, or where it is.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "an object")]
struct Attachment {
    file_name: String,
    mime_type: String,
    data: Option<String>,
    url: Option<String>,
}

/// A file: its bytes in base64, or where it is.
#[derive(ToSchema)]
#[serde(untagged)]
#[schema(as = AgentHubAttachment)]
#[expect(dead_code, reason = "it says what an Attachment may be")]
enum AttachmentForm {
    Data(DataForm),
    Url(UrlForm),
}

/// A file in base64.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AgentHubAttachmentData)]
#[expect(dead_code, reason = "it says what an Attachment may be")]
struct DataForm {
    #[schema(min_length = 1, max_length = 255, example = "report.txt")]
    file_name: String,
    /// What the file is; checked against its bytes.
    #[schema(min_length = 3, max_length = 255, example = "text/plain")]
    mime_type: String,
    /// Standard base64.
    #[schema(content_encoding = "base64", example = "SGVsbG8sIHdvcmxkIQ==")]
    data: String,
}

/// A file that the host fetches.
#[derive(ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = AgentHubAttachmentUrl)]
#[expect(dead_code, reason = "it says what an Attachment may be")]
struct UrlForm {
    #[schema(min_length = 1, max_length = 255, example = "report.pdf")]
    file_name: String,
    /// What the file is; checked against its bytes.
    #[schema(min_length = 3, max_length = 255, example = "application/pdf")]
    mime_type: String,
    /// A public address.
    #[schema(pattern = "^[hH][tT][tT][pP][sS]?://", max_length = 8192, example = "https://example.com/report.pdf")]
    url: String,
}

impl Attachment {
    fn checked(self, index: usize) -> Result<IncomingFile, ApiError> {
        let content = match (self.data, self.url) {
            (Some(data), None) => IncomingContent::Base64(data),
            (None, Some(url)) => IncomingContent::Url(url),
            _ => {
                let place = format!("attachments[{index}]");
                let message = format!("{place} must have either data (base64) or a url");
                return Err(ApiError::new(Kind::InvalidParameter, message).about(place));
            }
        };
        Ok(IncomingFile { file_name: self.file_name, media_type: self.mime_type, content })
    }
}

/// What an answer must be.
#[derive(Deserialize, ToSchema)]
#[serde(
    tag = "type",
    rename_all = "snake_case",
    deny_unknown_fields,
    expecting = "an object with a type: text, json_object or json_schema"
)]
// serde lets a variant without braces pass with unknown fields.
enum ResponseFormat {
    /// Text for a person.
    Text {},
    /// Any JSON object.
    JsonObject {},
    /// JSON that satisfies a schema.
    JsonSchema {
        /// The schema and its name.
        json_schema: JsonSchema,
    },
}

/// [`ResponseFormat`] as the document has it: with no fields beside those that are named.
struct ResponseFormatForm;

impl PartialSchema for ResponseFormatForm {
    fn schema() -> RefOr<Schema> {
        let mut schema = ResponseFormat::schema();
        if let RefOr::T(Schema::OneOf(one_of)) = &mut schema {
            for item in &mut one_of.items {
                if let RefOr::T(Schema::Object(object)) = item {
                    object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
                }
            }
        }
        schema
    }
}

impl ToSchema for ResponseFormatForm {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("AgentHubResponseFormat")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        ResponseFormat::schemas(schemas);
    }
}

/// A schema for an answer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "an object")]
#[schema(as = AgentHubJsonSchema)]
struct JsonSchema {
    /// What the schema describes: its title, unless it has one.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-zA-Z0-9_-]+$", example = "contact")]
    name: String,
    /// JSON Schema, draft 2020-12 unless it says otherwise.
    #[schema(value_type = Object)]
    schema: serde_json::Map<String, Value>,
    /// Every answer is held to its schema, strict or not.
    #[expect(dead_code, reason = "it changes nothing, and must be a truth value all the same")]
    strict: Option<bool>,
}

impl ResponseFormat {
    fn checked(self) -> Result<OutputFormat, ApiError> {
        match self {
            Self::Text {} => Ok(OutputFormat::Text),
            Self::JsonObject {} => Ok(OutputFormat::JsonObject),
            Self::JsonSchema { json_schema } => json_schema.checked(),
        }
    }
}

impl JsonSchema {
    /// The schema, with its name as its title. Whether it is a JSON Schema, starting the run shows.
    fn checked(self) -> Result<OutputFormat, ApiError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        if !(1..=MAX_SCHEMA_NAME_CHARS).contains(&self.name.len()) || !self.name.bytes().all(plain) {
            let wrong = format!("must be 1 to {MAX_SCHEMA_NAME_CHARS} of a-z, A-Z, 0-9, '-' and '_'");
            return Err(ApiError::invalid("responseFormat.json_schema.name", wrong));
        }
        let mut schema = self.schema;
        schema.entry("title").or_insert(Value::String(self.name));
        let schema = Value::Object(schema);
        let bytes = schema.to_string().len();
        if bytes > bounds::SCHEMA_BYTES {
            let wrong = format!("may have {} bytes, not {bytes}", bounds::SCHEMA_BYTES);
            return Err(ApiError::invalid(SCHEMA_FIELD, wrong));
        }
        Ok(OutputFormat::JsonSchema { schema })
    }
}

/// A checked question.
pub(super) struct Ask {
    pub(super) input: String,
    pub(super) files: Vec<IncomingFile>,
    format: Option<OutputFormat>,
    prompt: Option<String>,
    pub(super) session: Option<SessionId>,
    pub(super) stateless: bool,
    pub(super) with_tools: bool,
}

impl TryFrom<Execute> for Ask {
    type Error = ApiError;

    fn try_from(body: Execute) -> Result<Self, ApiError> {
        if let Some(prompt) = &body.prompt_override {
            at_most("promptOverride", prompt, bounds::INSTRUCTIONS_CHARS)?;
        }
        Ok(Self {
            input: input(body.user_input)?,
            files: files(body.attachments)?,
            format: body.response_format.map(ResponseFormat::checked).transpose()?,
            prompt: body.prompt_override,
            session: None,
            stateless: true,
            with_tools: body.include_tool_calls.unwrap_or_default(),
        })
    }
}

impl TryFrom<UserInput> for Ask {
    type Error = ApiError;

    fn try_from(body: UserInput) -> Result<Self, ApiError> {
        Ok(Self {
            input: input(body.user_input)?,
            files: files(body.attachments)?,
            format: body.response_format.map(ResponseFormat::checked).transpose()?,
            prompt: None,
            session: body.session_id,
            stateless: false,
            with_tools: false,
        })
    }
}

impl Ask {
    /// The run to start, without its files.
    pub(super) fn request(self, agent: &Agent) -> RunRequest {
        let of_agent = RunRequest::of_agent(agent, self.input);
        let instructions = match self.prompt {
            Some(prompt) => Some(prompt).filter(|prompt| !prompt.is_empty()),
            None => of_agent.instructions,
        };
        RunRequest {
            instructions,
            output: self.format.unwrap_or(of_agent.output),
            session_id: self.session,
            stateless: self.stateless,
            ..of_agent
        }
    }
}

fn at_most(field: &'static str, text: &str, most: usize) -> Result<(), ApiError> {
    let chars = text.chars().count();
    if chars > most {
        return Err(ApiError::invalid(field, format!("must have at most {most} characters, not {chars}")));
    }
    Ok(())
}

fn input(input: String) -> Result<String, ApiError> {
    if input.trim().is_empty() {
        return Err(ApiError::invalid("userInput", "must not be empty"));
    }
    at_most("userInput", &input, bounds::INPUT_CHARS)?;
    Ok(input)
}

fn files(attachments: Option<Vec<Attachment>>) -> Result<Vec<IncomingFile>, ApiError> {
    let attachments = attachments.unwrap_or_default();
    if attachments.len() > MAX_FILES {
        let sent = attachments.len();
        return Err(ApiError::invalid("attachments", format!("may hold {MAX_FILES} files, not {sent}")));
    }
    attachments.into_iter().enumerate().map(|(index, attachment)| attachment.checked(index)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_closes_each_response_format() {
        let schema = serde_json::to_value(ResponseFormatForm::schema()).unwrap();
        let forms = schema["oneOf"].as_array().unwrap();
        assert_eq!(forms.len(), 3, "{schema}");
        assert!(forms.iter().all(|form| form["additionalProperties"] == false), "{schema}");
        let types: Vec<&Value> = forms.iter().map(|form| &form["properties"]["type"]["enum"][0]).collect();
        assert_eq!(types, ["text", "json_object", "json_schema"]);
    }

    #[test]
    fn a_schema_gets_its_name_as_its_title_unless_it_has_one() {
        let ask = |schema: Value| {
            let format =
                serde_json::json!({"type": "json_schema", "json_schema": {"name": "person", "schema": schema}});
            let body: Execute =
                serde_json::from_value(serde_json::json!({"userInput": "q", "responseFormat": format})).unwrap();
            match Ask::try_from(body).unwrap().format {
                Some(OutputFormat::JsonSchema { schema }) => schema["title"].clone(),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(ask(serde_json::json!({})), "person");
        assert_eq!(ask(serde_json::json!({"title": "A person"})), "A person");
    }
}
