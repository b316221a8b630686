//! What a mode sees of its run. The sandbox knows no run: it translates between the contract's types and the house's, and
//! passes each call on to a [`ModeHost`], which journals the answer before it gives it.

use std::sync::Arc;

use futures::future::BoxFuture;
use vivarium_domain::{
    AssistantMessage, ChangeKind, Citation, FileChange, FinishReason, GenerateRequest, GenerateResponse, Image,
    Message, ModelError, ModelInfo, Part, Passage, Source, ToolCall, ToolDefinition, ToolMessage, Visibility,
    WorkspaceChanges,
};

use crate::bindings::vivarium::plugin::{model, session, sources, steps, tools, types, workspace};
use crate::error::{CallFailure, Stop};
use crate::guest::Guest;

/// The most calls of one `tools.call-all`.
const MAX_PARALLEL_CALLS: usize = 32;
/// The most questions of one `model.generate-all`.
const MAX_PARALLEL_QUESTIONS: usize = 8;
/// The longest difference that a mode is told, as the contract has it: it goes into the run's log.
const MAX_CHANGES_BYTES: usize = 32 << 10;
/// The longest message of a step.
const MAX_STEP_BYTES: usize = 500;

/// Why the host can not go on with a run: its store failed, or the mode does not do again what its journal says. Ends the guest's call. Not a `std::error::Error`, so that it
/// can turn into the trap that the guest ends with.
#[derive(Debug, Clone)]
pub struct HostStop(pub String);

impl From<HostStop> for wasmtime::Error {
    fn from(stop: HostStop) -> Self {
        Stop(CallFailure::Host(stop.0)).into()
    }
}

/// What came of one tool call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolResult {
    /// The call's id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// The output's content, or the error's text.
    pub content: String,
    /// The call failed.
    pub is_error: bool,
    /// The documents that it read.
    pub sources: Vec<Source>,
}

/// What came of several questions to the model.
pub type Answers = Vec<Result<GenerateResponse, ModelError>>;

/// A run, as its mode sees it. Each answer is in the run's journal before it is given.
pub trait ModeHost: Send + Sync + 'static {
    /// The model of this run.
    fn describe(&self) -> Result<ModelInfo, HostStop>;
    /// Asks the model.
    fn generate(
        self: Arc<Self>,
        request: GenerateRequest,
    ) -> BoxFuture<'static, Result<Result<GenerateResponse, ModelError>, HostStop>>;
    /// Asks the model several questions at once, none of them seen by the client; answers in the order of the questions.
    fn generate_all(self: Arc<Self>, requests: Vec<GenerateRequest>) -> BoxFuture<'static, Result<Answers, HostStop>>;
    /// The tools of this run.
    fn tools(&self) -> Result<Vec<ToolDefinition>, HostStop>;
    /// Calls tools in parallel; answers in the order of the calls.
    fn call_tools(self: Arc<Self>, calls: Vec<ToolCall>) -> BoxFuture<'static, Result<Vec<ToolResult>, HostStop>>;
    /// Adds to the session's history, if and when the run completes.
    fn append(&self, messages: Vec<Message>) -> Result<(), HostStop>;
    /// Keeps a summary of the oldest so many messages of the session's history, if and when the run completes.
    fn summarize(&self, messages: u32, summary: String) -> Result<(), HostStop>;
    /// The run's ledger.
    fn sources(&self) -> Result<Vec<Source>, HostStop>;
    /// A part of a source's stored text.
    fn read_source(&self, id: &str, start_bytes: usize, max_bytes: usize) -> Result<Option<String>, HostStop>;
    /// Whether each quote stands in its source.
    fn check(&self, citations: &[Citation]) -> Result<Vec<bool>, HostStop>;
    /// Shows a step to the client.
    fn step(self: Arc<Self>, message: String) -> BoxFuture<'static, Result<(), HostStop>>;
    /// What the run has changed of its session's files. None: it has written none.
    fn changes(
        self: Arc<Self>,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Option<Box<WorkspaceChanges>>, HostStop>>;
    /// Nanoseconds since 1970. WASI's clocks and dice can not fail: where the host can not go on, the next call of another
    /// kind says so, and what these three give means nothing.
    fn wall_clock(&self) -> u64;
    /// Nanoseconds since the run's start.
    fn monotonic_clock(&self) -> u64;
    /// Fills `bytes` with random ones.
    fn random(&self, bytes: &mut [u8]);
}

impl types::Host for Guest {}

impl model::Host for Guest {
    async fn describe(&mut self) -> wasmtime::Result<model::ModelInfo> {
        let info = self.mode("model.describe")?.describe()?;
        Ok(model::ModelInfo {
            name: info.name.to_string(),
            abilities: abilities(info.abilities),
            context_tokens: info.context_tokens,
            hint: info.hint,
        })
    }

    async fn generate(
        &mut self,
        request: model::GenerateRequest,
    ) -> wasmtime::Result<Result<model::GenerateResponse, model::ModelError>> {
        let host = self.mode("model.generate")?;
        let request = match GenerateRequest::try_from(request) {
            Ok(request) => request,
            Err(message) => return Ok(Err(model::ModelError::InvalidRequest(message))),
        };
        let answer = host.generate(request).await?;
        Ok(answer.map(Into::into).map_err(Into::into))
    }

    async fn generate_all(
        &mut self,
        requests: Vec<model::GenerateRequest>,
    ) -> wasmtime::Result<Vec<Result<model::GenerateResponse, model::ModelError>>> {
        let host = self.mode("model.generate-all")?;
        if requests.len() > MAX_PARALLEL_QUESTIONS {
            let message = format!(
                "it asked the model {} questions at once; at most {MAX_PARALLEL_QUESTIONS} are put",
                requests.len()
            );
            return Err(Stop(CallFailure::OutputExceeded(message)).into());
        }
        let (mut well_formed, mut places) = (Vec::with_capacity(requests.len()), Vec::with_capacity(requests.len()));
        for request in requests {
            places.push(GenerateRequest::try_from(request).map(|request| well_formed.push(request)));
        }
        let mut answers = host.generate_all(well_formed).await?.into_iter();
        let no_answer = || Err(ModelError::Unavailable("the question was not put".to_owned()));
        let in_place = places.into_iter().map(|place| match place {
            Ok(()) => answers.next().unwrap_or_else(no_answer).map(Into::into).map_err(Into::into),
            Err(message) => Err(model::ModelError::InvalidRequest(message)),
        });
        Ok(in_place.collect())
    }
}

impl tools::Host for Guest {
    async fn list(&mut self) -> wasmtime::Result<Vec<types::ToolDefinition>> {
        let definitions = self.mode("tools.list")?.tools()?;
        Ok(definitions.into_iter().map(Into::into).collect())
    }

    async fn call_all(&mut self, calls: Vec<types::ToolCall>) -> wasmtime::Result<Vec<tools::CallResult>> {
        let host = self.mode("tools.call-all")?;
        if calls.len() > MAX_PARALLEL_CALLS {
            let message =
                format!("it asked for {} tool calls at once; at most {MAX_PARALLEL_CALLS} are made", calls.len());
            return Err(Stop(CallFailure::OutputExceeded(message)).into());
        }
        let results = host.call_tools(calls.into_iter().map(Into::into).collect()).await?;
        Ok(results.into_iter().map(Into::into).collect())
    }
}

impl session::Host for Guest {
    async fn append(&mut self, messages: Vec<model::Message>) -> wasmtime::Result<()> {
        let host = self.mode("session.append")?;
        Ok(host.append(messages.into_iter().map(Into::into).collect())?)
    }

    async fn summarize(&mut self, messages: u32, summary: String) -> wasmtime::Result<()> {
        let host = self.mode("session.summarize")?;
        Ok(host.summarize(messages, summary)?)
    }
}

impl sources::Host for Guest {
    async fn list(&mut self) -> wasmtime::Result<Vec<types::Source>> {
        let sources = self.mode("sources.list")?.sources()?;
        Ok(sources.into_iter().map(Into::into).collect())
    }

    async fn read(&mut self, id: String, start_bytes: u32, max_bytes: u32) -> wasmtime::Result<Option<String>> {
        let host = self.mode("sources.read")?;
        Ok(host.read_source(&id, start_bytes as usize, max_bytes as usize)?)
    }

    async fn check(&mut self, citations: Vec<model::Citation>) -> wasmtime::Result<Vec<bool>> {
        let host = self.mode("sources.check")?;
        let citations: Vec<Citation> = citations.into_iter().map(Into::into).collect();
        Ok(host.check(&citations)?)
    }
}

impl steps::Host for Guest {
    async fn report(&mut self, mut message: String) -> wasmtime::Result<()> {
        let host = self.mode("steps.report")?;
        if message.len() > MAX_STEP_BYTES {
            message.truncate(message.floor_char_boundary(MAX_STEP_BYTES));
            message.push('…');
        }
        Ok(host.step(message).await?)
    }
}

impl workspace::Host for Guest {
    async fn changes(&mut self, max_bytes: u32) -> wasmtime::Result<Option<workspace::Difference>> {
        let host = self.mode("workspace.changes")?;
        let most = (max_bytes as usize).min(MAX_CHANGES_BYTES);
        Ok(host.changes(most).await?.map(|changes| (*changes).into()))
    }
}

fn abilities(abilities: vivarium_domain::Abilities) -> model::Abilities {
    let vivarium_domain::Abilities { free_text, tool_calls, json_schema, images, passages } = abilities;
    [
        (free_text, model::Abilities::FREE_TEXT),
        (tool_calls, model::Abilities::TOOL_CALLS),
        (json_schema, model::Abilities::JSON_SCHEMA),
        (images, model::Abilities::IMAGES),
        (passages, model::Abilities::PASSAGES),
    ]
    .into_iter()
    .filter(|(has, _)| *has)
    .fold(model::Abilities::default(), |flags, (_, flag)| flags | flag)
}

impl TryFrom<model::GenerateRequest> for GenerateRequest {
    type Error = String;

    fn try_from(request: model::GenerateRequest) -> Result<Self, String> {
        let output_schema = request
            .output_schema
            .map(|schema| serde_json::from_str(&schema).map_err(|error| format!("output-schema is no JSON: {error}")))
            .transpose()?;
        Ok(Self {
            messages: request.messages.into_iter().map(Into::into).collect(),
            tools: request.tools.into_iter().map(TryInto::try_into).collect::<Result<_, String>>()?,
            passages: request.passages.into_iter().map(Into::into).collect(),
            output_schema,
            max_output_tokens: request.max_output_tokens,
            temperature: request.temperature,
            visibility: match request.visibility {
                model::Visibility::Hidden => Visibility::Hidden,
                model::Visibility::Answer => Visibility::Answer,
            },
        })
    }
}

impl TryFrom<types::ToolDefinition> for ToolDefinition {
    type Error = String;

    fn try_from(tool: types::ToolDefinition) -> Result<Self, String> {
        let input_schema = serde_json::from_str(&tool.input_schema)
            .map_err(|error| format!("the input schema of {} is no JSON: {error}", tool.name))?;
        let name = tool.name.parse().map_err(|error: vivarium_domain::IdError| error.to_string())?;
        Ok(Self { name, description: tool.description, input_schema, read_only: tool.read_only })
    }
}

impl From<ToolDefinition> for types::ToolDefinition {
    fn from(tool: ToolDefinition) -> Self {
        Self {
            name: tool.name.into(),
            description: tool.description,
            input_schema: tool.input_schema.to_string(),
            read_only: tool.read_only,
        }
    }
}

impl From<model::Message> for Message {
    fn from(message: model::Message) -> Self {
        match message {
            model::Message::System(text) => Self::System { text },
            model::Message::User(parts) => Self::User { parts: parts.into_iter().map(Into::into).collect() },
            model::Message::Assistant(message) => Self::Assistant(AssistantMessage {
                text: message.text,
                tool_calls: message.tool_calls.into_iter().map(Into::into).collect(),
            }),
            model::Message::Tool(message) => Self::Tool(ToolMessage {
                call_id: message.call_id,
                name: message.name,
                content: message.content,
                is_error: message.is_error,
            }),
        }
    }
}

impl From<Message> for model::Message {
    fn from(message: Message) -> Self {
        match message {
            Message::System { text } => Self::System(text),
            Message::User { parts } => Self::User(parts.into_iter().map(Into::into).collect()),
            Message::Assistant(message) => Self::Assistant(model::AssistantMessage {
                text: message.text,
                tool_calls: message.tool_calls.into_iter().map(Into::into).collect(),
            }),
            Message::Tool(message) => Self::Tool(model::ToolMessage {
                call_id: message.call_id,
                name: message.name,
                content: message.content,
                is_error: message.is_error,
            }),
        }
    }
}

impl From<model::Part> for Part {
    fn from(part: model::Part) -> Self {
        match part {
            model::Part::Text(text) => Self::Text(text),
            model::Part::Image(image) => Self::Image(Image { media_type: image.media_type, data: image.data }),
        }
    }
}

impl From<Part> for model::Part {
    fn from(part: Part) -> Self {
        match part {
            Part::Text(text) => Self::Text(text),
            Part::Image(image) => Self::Image(model::Image { media_type: image.media_type, data: image.data }),
        }
    }
}

impl From<types::ToolCall> for ToolCall {
    fn from(call: types::ToolCall) -> Self {
        Self { id: call.id, name: call.name, arguments_json: call.arguments_json }
    }
}

impl From<ToolCall> for types::ToolCall {
    fn from(call: ToolCall) -> Self {
        Self { id: call.id, name: call.name, arguments_json: call.arguments_json }
    }
}

impl From<model::Passage> for Passage {
    fn from(passage: model::Passage) -> Self {
        Self { source_id: passage.source_id, title: passage.title, text: passage.text }
    }
}

impl From<model::Citation> for Citation {
    fn from(citation: model::Citation) -> Self {
        Self { source_id: citation.source_id, quote: citation.quote }
    }
}

impl From<Citation> for model::Citation {
    fn from(citation: Citation) -> Self {
        Self { source_id: citation.source_id, quote: citation.quote }
    }
}

impl From<ToolResult> for tools::CallResult {
    fn from(result: ToolResult) -> Self {
        Self {
            id: result.id,
            name: result.name,
            content: result.content,
            is_error: result.is_error,
            sources: result.sources.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<Source> for types::Source {
    fn from(source: Source) -> Self {
        Self {
            id: source.id,
            title: source.title,
            location: source.location,
            media_type: source.media_type,
            fetched_at: source.fetched_at.to_string(),
            content_hash: source.content_hash.to_string(),
            length_bytes: source.length_bytes,
        }
    }
}

impl From<GenerateResponse> for model::GenerateResponse {
    fn from(response: GenerateResponse) -> Self {
        let tokens = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            text: response.text,
            tool_calls: response.tool_calls.into_iter().map(Into::into).collect(),
            citations: response.citations.into_iter().map(Into::into).collect(),
            finish_reason: match response.finish_reason {
                FinishReason::Stop => model::FinishReason::Stop,
                FinishReason::ToolCalls => model::FinishReason::ToolCalls,
                FinishReason::Length => model::FinishReason::Length,
                FinishReason::ContentFilter => model::FinishReason::ContentFilter,
            },
            input_tokens: tokens(response.usage.input_tokens),
            output_tokens: tokens(response.usage.output_tokens),
        }
    }
}

impl From<WorkspaceChanges> for workspace::Difference {
    fn from(changes: WorkspaceChanges) -> Self {
        let count = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        let file = |file: FileChange| workspace::FileChange {
            path: file.path,
            kind: match file.change {
                ChangeKind::Added => workspace::ChangeKind::Added,
                ChangeKind::Changed => workspace::ChangeKind::Changed,
                ChangeKind::Removed => workspace::ChangeKind::Removed,
            },
            is_text: !file.binary && !file.too_long,
            added_lines: count(file.added_lines),
            removed_lines: count(file.removed_lines),
        };
        Self {
            files: changes.files.into_iter().map(file).collect(),
            more_files: count(changes.more_files),
            diff: changes.diff,
            more_lines: count(changes.more_lines),
        }
    }
}

impl From<ModelError> for model::ModelError {
    fn from(error: ModelError) -> Self {
        match error {
            ModelError::Unsupported(text) => Self::Unsupported(text),
            ModelError::InvalidRequest(text) => Self::InvalidRequest(text),
            ModelError::ContextLengthExceeded(text) => Self::ContextLengthExceeded(text),
            ModelError::ContentPolicy(text) => Self::ContentPolicy(text),
            ModelError::Unavailable(text) => Self::Unavailable(text),
            ModelError::BudgetExhausted(text) => Self::BudgetExhausted(text),
        }
    }
}
