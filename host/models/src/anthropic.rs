//! Anthropic's messages.
//!
//! Turns of one role follow each other as one, the first is a user's, and system texts stand apart from the conversation.
//! Thoughts are neither shown nor sent back: with adaptive thinking, the API asks for neither.

use std::borrow::Cow;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use url::Url;
use vivarium_domain::{
    FinishReason, GenerateRequest, GenerateResponse, Image, Message, ModelInfo, Part, ToolCall, ToolDefinition,
};

use crate::answer::Answer;
use crate::catalog::{self, Facts};
use crate::config::{ConfigError, ProviderConfig, ProviderKind};
use crate::fault::{Fault, Refusal, Who};
use crate::request::{self, Arguments, Needs, Text};
use crate::wire::{EventReader, KeyHeader, Step, Wire};
use crate::{Call, ModelError, Provider, schema, untrusted};

/// A provider that speaks Anthropic's messages.
pub struct Anthropic {
    wire: Wire,
    url: Url,
    names: request::Names,
}

/// The version of the API that this module was written for.
const VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// The API wants a bound on each answer. This one holds long answers, and thoughts before them.
const USUAL_OUTPUT_TOKENS: u32 = 32_000;

impl Anthropic {
    /// The provider so configured.
    ///
    /// # Errors
    /// When its address or key can not be used.
    pub fn new(config: &ProviderConfig) -> Result<Self, ConfigError> {
        let names = request::Names::new(config)?;
        let key = KeyHeader { name: HeaderName::from_static("x-api-key"), before: "" };
        let version = HeaderMap::from_iter([(HeaderName::from_static("anthropic-version"), VERSION)]);
        let wire = Wire::new(config, key, version)?;
        let url = wire.url("messages");
        Ok(Self { wire, url, names })
    }

    async fn ask(&self, call: Call<'_>) -> Result<GenerateResponse, ModelError> {
        let facts = facts(call.model);
        request::check(call.request, &facts, Needs::of(call.request), self.names.name(), call.model)?;
        let schema = call.request.output_schema.as_ref().map(Format::of);
        let body = request::json(&Body::of(call.model, call.request, &facts, schema.as_ref()), call.request)?;
        let answer = Answer::new(call.on_token, self.wire.limits().tool_calls);
        self.wire.ask(&self.url, body, call.idempotency_key, answer, Reader::default).await
    }
}

fn facts(model: &str) -> Facts {
    catalog::facts(ProviderKind::Anthropic, true, model)
}

impl Provider for Anthropic {
    fn name(&self) -> &str {
        self.names.name()
    }

    fn describe(&self, model: &str) -> ModelInfo {
        self.names.describe(model, &facts(model))
    }

    fn most_output_tokens(&self, model: &str, asked: u32) -> u32 {
        catalog::output_bound(&facts(model), asked)
    }

    fn server(&self) -> Option<(&str, u16)> {
        self.wire.server()
    }

    fn generate<'a>(&'a self, call: Call<'a>) -> BoxFuture<'a, Result<GenerateResponse, ModelError>> {
        self.ask(call).boxed()
    }

    fn models(&self) -> BoxFuture<'_, Result<Vec<String>, ModelError>> {
        #[derive(Deserialize)]
        struct List {
            data: Vec<Entry>,
        }
        #[derive(Deserialize)]
        struct Entry {
            id: String,
        }
        async {
            let mut url = self.wire.url("models");
            url.set_query(Some("limit=1000"));
            let list: List = self.wire.get(url).await?;
            Ok(list.data.into_iter().map(|entry| entry.id).collect())
        }
        .boxed()
    }
}

/// How an answer by a schema is asked for.
enum Format<'a> {
    /// The API holds the model to it.
    Enforced(Cow<'a, serde_json::Value>),
    /// The API does not take this schema, so the model is told of it.
    Told(String),
}

impl<'a> Format<'a> {
    fn of(schema: &'a serde_json::Value) -> Self {
        schema::closed(schema).map_or_else(
            || {
                Self::Told(format!(
                    "Answer with one JSON document and nothing else. It must satisfy this JSON Schema:\n{schema}"
                ))
            },
            Self::Enforced,
        )
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    max_tokens: u32,
    stream: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    system: Vec<Block<'a>>,
    messages: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_config: Option<OutputConfig<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
}

#[derive(Serialize)]
struct Turn<'a> {
    role: Role,
    content: Vec<Block<'a>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'a> {
    Text {
        text: Cow<'a, str>,
    },
    Image {
        source: ImageSource<'a>,
    },
    ToolUse {
        id: Cow<'a, str>,
        name: Cow<'a, str>,
        input: Arguments<'a>,
    },
    ToolResult {
        tool_use_id: Cow<'a, str>,
        content: String,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

#[derive(Serialize)]
struct ImageSource<'a> {
    r#type: &'static str,
    media_type: &'a str,
    #[serde(serialize_with = "as_base64")]
    data: &'a Image,
}

fn as_base64<S: Serializer>(image: &Image, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Base64Display::new(&image.data, &STANDARD))
}

#[derive(Serialize)]
struct Tool<'a> {
    name: &'a str,
    description: &'a str,
    input_schema: &'a serde_json::Value,
}

#[derive(Serialize)]
struct OutputConfig<'a> {
    format: JsonSchema<'a>,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    r#type: &'static str,
    schema: &'a serde_json::Value,
}

/// The API takes ids of tool calls up to this length.
const MAX_ID: usize = 64;

impl<'a> Body<'a> {
    fn of(model: &'a str, request: &'a GenerateRequest, facts: &Facts, format: Option<&'a Format<'a>>) -> Self {
        let asked = request.max_output_tokens.map(|asked| catalog::output_bound(facts, asked));
        let mut system: Vec<Block<'a>> = request.messages.iter().filter_map(system_block).collect();
        let mut output_config = None;
        match format {
            Some(Format::Enforced(schema)) => {
                output_config = Some(OutputConfig { format: JsonSchema { r#type: "json_schema", schema } });
            }
            Some(Format::Told(text)) => system.push(Block::Text { text: text.as_str().into() }),
            None => {}
        }
        Self {
            model,
            max_tokens: asked.unwrap_or(USUAL_OUTPUT_TOKENS.min(facts.output_tokens)),
            stream: true,
            system,
            messages: turns(request),
            tools: request.tools.iter().map(tool).collect(),
            output_config,
            // This API's goes from 0 to 1.
            temperature: request.temperature.filter(|_| facts.temperature).map(|asked| asked.clamp(0.0, 1.0)),
        }
    }
}

fn system_block(message: &Message) -> Option<Block<'_>> {
    match message {
        Message::System { text } if !text.trim().is_empty() => Some(Block::Text { text: text.into() }),
        _ => None,
    }
}

fn tool(tool: &ToolDefinition) -> Tool<'_> {
    Tool { name: tool.name.as_str(), description: &tool.description, input_schema: &tool.input_schema }
}

fn turns(request: &GenerateRequest) -> Vec<Turn<'_>> {
    let mut passages = untrusted::passages_block(&request.passages);
    let place = untrusted::passages_place(&request.messages);
    let mut turns = Vec::with_capacity(request.messages.len() + 1);
    for (index, message) in request.messages.iter().enumerate() {
        match message {
            Message::System { .. } => {}
            Message::User { parts } => {
                let before = if place == Some(index) { passages.take() } else { None };
                let before = before.map(|text| Block::Text { text: text.into() });
                add(&mut turns, Role::User, before.into_iter().chain(parts.iter().filter_map(block)));
            }
            Message::Assistant(said) => {
                let text = Some(said.text.as_str()).filter(|text| !text.trim().is_empty());
                let text = text.map(|text| Block::Text { text: text.into() });
                add(&mut turns, Role::Assistant, text.into_iter().chain(said.tool_calls.iter().map(tool_use)));
            }
            Message::Tool(result) => {
                let block = Block::ToolResult {
                    tool_use_id: request::call_id(&result.call_id, MAX_ID),
                    content: untrusted::tool_result(result),
                    is_error: result.is_error,
                };
                add(&mut turns, Role::User, std::iter::once(block));
            }
        }
    }
    add(&mut turns, Role::User, passages.map(|block| Block::Text { text: block.into() }));
    turns
}

/// Adds to the last turn if it is of this role, else begins a new one. The first is the user's.
fn add<'a>(turns: &mut Vec<Turn<'a>>, role: Role, blocks: impl IntoIterator<Item = Block<'a>>) {
    let mut blocks = blocks.into_iter().peekable();
    if blocks.peek().is_none() {
        return;
    }
    if turns.is_empty() && role == Role::Assistant {
        let text = request::CUT_BEGINNING.into();
        turns.push(Turn { role: Role::User, content: vec![Block::Text { text }] });
    }
    match turns.last_mut().filter(|last| last.role == role) {
        Some(last) => last.content.extend(blocks),
        None => turns.push(Turn { role, content: blocks.collect() }),
    }
}

/// The API refuses empty texts.
fn block(part: &Part) -> Option<Block<'_>> {
    match part {
        Part::Text(text) if text.trim().is_empty() => None,
        Part::Text(text) => Some(Block::Text { text: text.into() }),
        Part::Image(image) => {
            let source = ImageSource { r#type: "base64", media_type: &image.media_type, data: image };
            Some(Block::Image { source })
        }
    }
}

fn tool_use(call: &ToolCall) -> Block<'_> {
    Block::ToolUse {
        id: request::call_id(&call.id, MAX_ID),
        name: request::tool_name(&call.name),
        input: Arguments::as_value(&call.arguments_json),
    }
}

/// One event. All kinds have their fields in one flat form, so that texts can be borrowed.
#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(default)]
    index: u32,
    #[serde(default)]
    message: Option<Start>,
    #[serde(borrow, default)]
    content_block: Option<BlockStart<'a>>,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct Start {
    #[serde(default)]
    usage: Option<Tokens>,
}

#[derive(Deserialize)]
struct BlockStart<'a> {
    #[serde(borrow, rename = "type")]
    kind: Text<'a>,
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    /// Mostly `{}`, with the real input in fragments to come.
    #[serde(borrow, default)]
    input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(borrow, default)]
    partial_json: Option<Text<'a>>,
    #[serde(borrow, default)]
    stop_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    stop_details: Option<StopDetails<'a>>,
}

#[derive(Deserialize)]
struct StopDetails<'a> {
    #[serde(borrow, default)]
    explanation: Option<Text<'a>>,
}

/// Counts of the whole answer so far; a later event repeats those that it knows better.
#[derive(Default, Deserialize)]
struct Tokens {
    #[serde(default)]
    input_tokens: Option<u64>,
    #[serde(default)]
    cache_creation_input_tokens: Option<u64>,
    #[serde(default)]
    cache_read_input_tokens: Option<u64>,
    #[serde(default)]
    output_tokens: Option<u64>,
}

#[derive(Default)]
struct Reader {
    tokens: Tokens,
    /// Why the model stopped; it counts once the message has, too.
    stop: Option<FinishReason>,
}

impl Reader {
    fn count(&mut self, new: &Tokens, answer: &mut Answer<'_>) {
        let known = &mut self.tokens;
        known.input_tokens = new.input_tokens.or(known.input_tokens);
        known.cache_creation_input_tokens = new.cache_creation_input_tokens.or(known.cache_creation_input_tokens);
        known.cache_read_input_tokens = new.cache_read_input_tokens.or(known.cache_read_input_tokens);
        known.output_tokens = new.output_tokens.or(known.output_tokens);
        let read = [known.input_tokens, known.cache_creation_input_tokens, known.cache_read_input_tokens];
        answer.usage.input_tokens = read.into_iter().flatten().fold(0, u64::saturating_add);
        answer.usage.cached_input_tokens = known.cache_read_input_tokens.unwrap_or(0);
        answer.usage.output_tokens = known.output_tokens.unwrap_or(0);
    }
}

impl EventReader for Reader {
    fn event(&mut self, data: &str, answer: &mut Answer<'_>, who: &Who) -> Result<Step, Fault> {
        let event: Event<'_> = serde_json::from_str(data).map_err(|error| request::garbage(&error, who))?;
        match event.kind.as_str() {
            "content_block_delta" => {
                if let Some(delta) = &event.delta {
                    read_delta(event.index, delta, answer, who)?;
                }
            }
            "content_block_start" => {
                if let Some(block) = &event.content_block {
                    begin_block(event.index, block, answer, who)?;
                }
            }
            "message_start" => {
                if let Some(tokens) = event.message.and_then(|message| message.usage) {
                    self.count(&tokens, answer);
                }
            }
            "message_delta" => {
                if let Some(tokens) = &event.usage {
                    self.count(tokens, answer);
                }
                self.stop = read_stop(event.delta.as_ref(), answer).or(self.stop);
            }
            "message_stop" => {
                answer.finish = Some(self.stop.unwrap_or_default());
                return Ok(Step::Done);
            }
            "error" => return Err(Refusal::of_text(data).fault(who)),
            // `ping`, `content_block_stop`, and what is yet to be invented.
            _ => {}
        }
        Ok(Step::More)
    }
}

fn begin_block(index: u32, block: &BlockStart<'_>, answer: &mut Answer<'_>, who: &Who) -> Result<(), Fault> {
    match block.kind.as_str() {
        "text" => answer.say(block.text.as_ref().map_or("", Text::as_str)),
        "tool_use" => {
            let call = answer.call(index, who)?;
            block.id.as_ref().map_or("", Text::as_str).clone_into(&mut call.id);
            block.name.as_ref().map_or("", Text::as_str).clone_into(&mut call.name);
            if let Some(input) = block.input.filter(|input| input.get() != "{}") {
                input.get().clone_into(&mut call.arguments_json);
            }
        }
        _ => {}
    }
    Ok(())
}

fn read_delta(index: u32, delta: &Delta<'_>, answer: &mut Answer<'_>, who: &Who) -> Result<(), Fault> {
    if let Some(piece) = &delta.text {
        answer.say(piece.as_str());
    }
    if let Some(piece) = &delta.partial_json {
        answer.call(index, who)?.arguments_json.push_str(piece.as_str());
    }
    Ok(())
}

fn read_stop(delta: Option<&Delta<'_>>, answer: &mut Answer<'_>) -> Option<FinishReason> {
    let delta = delta?;
    if let Some(words) = delta.stop_details.as_ref().and_then(|details| details.explanation.as_ref()) {
        answer.decline(words.as_str());
    }
    Some(match delta.stop_reason.as_ref()?.as_str() {
        "max_tokens" | "model_context_window_exceeded" => FinishReason::Length,
        "tool_use" => FinishReason::ToolCalls,
        "refusal" => FinishReason::ContentFilter,
        _ => FinishReason::Stop,
    })
}
