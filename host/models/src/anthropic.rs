//! Anthropic's messages.
//!
//! Turns of one role follow each other as one, the first is a user's, and system texts stand apart from the conversation.
//! Thoughts are not shown. Those before a tool call are kept and go back with its answer, unchanged, as the API wants it.
//!
//! What stays the same from request to request stands in front (tools, system texts, the turns so far) and is marked for the
//! API's cache, so that only what is new is paid for in full.

use std::borrow::Cow;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use url::Url;
use vivarium_domain::{
    AnthropicTier, AssistantMessage, Decimal, FinishReason, GenerateResponse, Image, Message, ModelInfo, ModelOptions,
    Part, ReasoningEffort, ToolCall, ToolDefinition,
};

use crate::answer::Answer;
use crate::catalog::{self, Facts};
use crate::config::{ConfigError, ProviderConfig, ProviderKind};
use crate::fault::{Fault, Refusal, Who};
use crate::provider::Asked;
use crate::request::{self, Arguments, Needs, Text};
use crate::wire::{EventReader, KeyHeader, Step, Terms, Wire};
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
        let body = request::json(&Body::of(&call.asked(), &facts, schema.as_ref()), call.request)?;
        let terms = Terms::of(&call);
        let answer = Answer::new(call.on_token, self.wire.limits().tool_calls);
        self.wire.ask(&self.url, body, terms, answer, Reader::default).await
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

    fn most_output_tokens(&self, model: &str, asked: u32, options: &ModelOptions) -> u32 {
        let facts = facts(model);
        bound(&facts, asked, budget(&facts, options))
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
        schema::closed(schema).map_or_else(|| Self::Told(schema::in_words(schema)), Self::Enforced)
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
    #[serde(skip_serializing_if = "OutputConfig::is_empty")]
    output_config: OutputConfig<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<Thinks>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_k: Option<u32>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<AnthropicTier>,
}

/// How it thinks.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Thinks {
    /// As much as it finds right.
    Adaptive,
    /// Within so many tokens.
    Enabled { budget_tokens: u32 },
}

/// What stands before this is kept, for a few minutes.
#[derive(Clone, Copy, Serialize)]
struct CacheControl {
    r#type: &'static str,
}

const KEPT: CacheControl = CacheControl { r#type: "ephemeral" };

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
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    Image {
        source: ImageSource<'a>,
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
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
        #[serde(skip_serializing_if = "Option::is_none")]
        cache_control: Option<CacheControl>,
    },
    /// A block of the model's, as it came.
    #[serde(untagged)]
    AsItCame(&'a Value),
}

impl<'a> Block<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self::Text { text: text.into(), cache_control: None }
    }

    /// Marks it as the end of what is kept.
    fn keep(&mut self) {
        match self {
            Self::Text { cache_control, .. }
            | Self::Image { cache_control, .. }
            | Self::ToolResult { cache_control, .. } => *cache_control = Some(KEPT),
            // The model's own blocks end no turn of a user's.
            Self::ToolUse { .. } | Self::AsItCame(_) => {}
        }
    }
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
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_control: Option<CacheControl>,
}

#[derive(Default, Serialize)]
struct OutputConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    format: Option<JsonSchema<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    effort: Option<&'static str>,
}

impl OutputConfig<'_> {
    fn is_empty(&self) -> bool {
        self.format.is_none() && self.effort.is_none()
    }
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    r#type: &'static str,
    schema: &'a serde_json::Value,
}

/// The API takes ids of tool calls up to this length.
const MAX_ID: usize = 64;

/// This API's goes from 0 to 1.
const MOST_TEMPERATURE: Decimal = Decimal::of_thousandths(1_000);

/// How many turns of a user's are marked for the cache: the last one for the next request, and the one before as the end of what
/// the last request has left there. With tools and system texts that is as many marks as the API takes.
const KEPT_TURNS: usize = 2;

impl<'a> Body<'a> {
    fn of(call: &Asked<'a>, facts: &Facts, format: Option<&'a Format<'a>>) -> Self {
        let Asked { request, .. } = *call;
        let none = ModelOptions::default();
        let options = call.options.unwrap_or(&none);
        let mut system: Vec<Block<'a>> = request.messages.iter().filter_map(system_block).collect();
        let mut output_config = OutputConfig::default();
        match format {
            Some(Format::Enforced(schema)) => {
                output_config.format = Some(JsonSchema { r#type: "json_schema", schema });
            }
            Some(Format::Told(text)) => system.push(Block::text(text.as_str())),
            None => {}
        }
        let mut messages = turns(call);
        let mut tools: Vec<Tool<'a>> = request.tools.iter().map(tool).collect();
        mark(&mut tools, &mut system, &mut messages);
        let budget = budget(facts, options).filter(|_| may_think(call));
        let effort = options.reasoning_effort.filter(|effort| facts.thinks || *effort != ReasoningEffort::None);
        output_config.effort = effort.and_then(|effort| facts.thinking.level(effort));
        let thinking = match (budget, output_config.effort) {
            (Some(budget_tokens), _) => Some(Thinks::Enabled { budget_tokens }),
            (None, Some(_)) => Some(Thinks::Adaptive),
            (None, None) => None,
        };
        // Who thinks takes neither.
        let free = facts.temperature && thinking.is_none();
        let temperature = request.temperature.map(Decimal::near).or(options.temperature);
        let asked = request.max_output_tokens.unwrap_or(USUAL_OUTPUT_TOKENS.min(facts.output_tokens));
        let usual = request.max_output_tokens.is_none() && budget.is_none();
        Self {
            model: call.model,
            max_tokens: if usual { asked } else { bound(facts, asked, budget) },
            stream: true,
            system,
            messages,
            tools,
            output_config,
            thinking,
            temperature: temperature.filter(|_| free).map(|asked| asked.min(MOST_TEMPERATURE)),
            top_p: options.top_p.filter(|_| free && temperature.is_none()),
            top_k: options.vendor.anthropic.top_k.filter(|_| free),
            stop_sequences: call.options.map_or(&[], |options| &options.stop),
            service_tier: options.vendor.anthropic.service_tier,
        }
    }
}

/// The tokens that a model may think which is told so in tokens; none: it does not, or is told otherwise.
fn budget(facts: &Facts, options: &ModelOptions) -> Option<u32> {
    let tokens = facts.thinking.budget(options.reasoning_effort?)?;
    (tokens > 0).then_some(tokens.min(facts.output_tokens / 2))
}

/// The bound for an answer of so many tokens: it counts the thoughts.
fn bound(facts: &Facts, asked: u32, budget: Option<u32>) -> u32 {
    match budget {
        Some(thoughts) => asked.saturating_add(thoughts).min(facts.output_tokens).max(thoughts.saturating_add(1)),
        None => catalog::output_bound(facts, asked),
    }
}

/// Whether every tool call since the user's last words comes with its thoughts: without them, the API refuses to go on thinking.
fn may_think(call: &Asked<'_>) -> bool {
    let since = call.request.messages.iter().rev().take_while(|message| !matches!(message, Message::User { .. }));
    let mut calling = since.filter_map(|message| match message {
        Message::Assistant(said) if !said.tool_calls.is_empty() => Some(said),
        _ => None,
    });
    calling.all(|said| call.thoughts_of(said).is_some())
}

/// Marks the ends of what stays the same for the cache. A single question without tools is not likely to come again.
fn mark(tools: &mut [Tool<'_>], system: &mut [Block<'_>], turns: &mut [Turn<'_>]) {
    if tools.is_empty() && turns.len() < 2 {
        return;
    }
    if let Some(last) = tools.last_mut() {
        last.cache_control = Some(KEPT);
    }
    if let Some(last) = system.last_mut() {
        last.keep();
    }
    let of_user = turns.iter_mut().rev().filter(|turn| turn.role == Role::User);
    for turn in of_user.take(KEPT_TURNS) {
        if let Some(last) = turn.content.last_mut() {
            last.keep();
        }
    }
}

fn system_block(message: &Message) -> Option<Block<'_>> {
    match message {
        Message::System { text } if !text.trim().is_empty() => Some(Block::text(text)),
        _ => None,
    }
}

fn tool(tool: &ToolDefinition) -> Tool<'_> {
    Tool {
        name: tool.name.as_str(),
        description: &tool.description,
        input_schema: &tool.input_schema,
        cache_control: None,
    }
}

fn turns<'a>(call: &Asked<'a>) -> Vec<Turn<'a>> {
    let request = call.request;
    let mut passages = untrusted::passages_block(&request.passages);
    let place = untrusted::passages_place(&request.messages);
    let mut turns = Vec::with_capacity(request.messages.len() + 1);
    for (index, message) in request.messages.iter().enumerate() {
        match message {
            Message::System { .. } => {}
            Message::User { parts } => {
                let before = if place == Some(index) { passages.take() } else { None };
                let before = before.map(Block::text);
                add(&mut turns, Role::User, before.into_iter().chain(parts.iter().filter_map(block)));
            }
            Message::Assistant(said) => {
                let calls = said.tool_calls.iter().map(tool_use);
                add(&mut turns, Role::Assistant, said_blocks(said, call.thoughts_of(said)).into_iter().chain(calls));
            }
            Message::Tool(result) => {
                let block = Block::ToolResult {
                    tool_use_id: request::call_id(&result.call_id, MAX_ID),
                    content: untrusted::tool_result(result),
                    is_error: result.is_error,
                    cache_control: None,
                };
                add(&mut turns, Role::User, std::iter::once(block));
            }
        }
    }
    add(&mut turns, Role::User, passages.map(Block::text));
    turns
}

/// Adds to the last turn if it is of this role, else begins a new one. The first is the user's.
fn add<'a>(turns: &mut Vec<Turn<'a>>, role: Role, blocks: impl IntoIterator<Item = Block<'a>>) {
    let mut blocks = blocks.into_iter().peekable();
    if blocks.peek().is_none() {
        return;
    }
    if turns.is_empty() && role == Role::Assistant {
        turns.push(Turn { role: Role::User, content: vec![Block::text(request::CUT_BEGINNING)] });
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
        Part::Text(text) => Some(Block::text(text)),
        Part::Image(image) => {
            let source = ImageSource { r#type: "base64", media_type: &image.media_type, data: image };
            Some(Block::Image { source, cache_control: None })
        }
    }
}

/// What the model said, with its thoughts where it said them.
fn said_blocks<'a>(said: &'a AssistantMessage, thoughts: Option<&'a Value>) -> Vec<Block<'a>> {
    let came = thoughts.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let texts: String = came.iter().filter_map(|block| block.get("text")?.as_str()).collect();
    if !came.is_empty() && texts == said.text {
        return came.iter().map(Block::AsItCame).collect();
    }
    let thoughts = came.iter().filter(|block| block.get("text").is_none()).map(Block::AsItCame);
    let text = Some(said.text.as_str()).filter(|text| !text.trim().is_empty()).map(Block::text);
    thoughts.chain(text).collect()
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
    #[serde(borrow, default)]
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
    /// Thoughts that nobody may read.
    #[serde(borrow, default)]
    data: Option<Text<'a>>,
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
    thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    signature: Option<Text<'a>>,
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
    /// The blocks of thoughts and texts so far, as they came.
    blocks: Vec<Came>,
    /// Why the model stopped; it counts once the message has, too.
    stop: Option<FinishReason>,
}

/// A block as it came.
enum Came {
    Text(String),
    Thinking { thinking: String, signature: String },
    Redacted(String),
}

impl Came {
    fn json(self) -> Value {
        match self {
            Self::Text(text) => json!({"type": "text", "text": text}),
            Self::Thinking { thinking, signature } => {
                json!({"type": "thinking", "thinking": thinking, "signature": signature})
            }
            Self::Redacted(data) => json!({"type": "redacted_thinking", "data": data}),
        }
    }
}

impl Reader {
    /// Keeps what a block begins with, where it may be wanted back.
    fn begin(&mut self, block: &BlockStart<'_>) {
        let owned = |text: &Option<Text<'_>>| text.as_ref().map_or("", Text::as_str).to_owned();
        self.blocks.extend(match block.kind.as_str() {
            "text" => Some(Came::Text(owned(&block.text))),
            "thinking" => Some(Came::Thinking { thinking: owned(&block.thinking), signature: owned(&block.signature) }),
            "redacted_thinking" => Some(Came::Redacted(owned(&block.data))),
            _ => None,
        });
    }

    /// Keeps what comes of the block that began last.
    fn go_on(&mut self, delta: &Delta<'_>) {
        let add = |to: &mut String, more: &Option<Text<'_>>| to.push_str(more.as_ref().map_or("", Text::as_str));
        match self.blocks.last_mut() {
            Some(Came::Text(text)) => add(text, &delta.text),
            Some(Came::Thinking { thinking, signature }) => {
                add(thinking, &delta.thinking);
                add(signature, &delta.signature);
            }
            Some(Came::Redacted(_)) | None => {}
        }
    }

    /// What is wanted back: the thoughts, and the texts between them. Nothing where it has not thought.
    fn thoughts(&mut self) -> Vec<Value> {
        let blocks = std::mem::take(&mut self.blocks);
        let has_thought = blocks.iter().any(|block| !matches!(block, Came::Text(_)));
        let said = blocks.into_iter().filter(|block| !matches!(block, Came::Text(text) if text.is_empty()));
        if has_thought { said.map(Came::json).collect() } else { Vec::new() }
    }

    fn count(&mut self, new: &Tokens, answer: &mut Answer<'_>) {
        let known = &mut self.tokens;
        known.input_tokens = new.input_tokens.or(known.input_tokens);
        known.cache_creation_input_tokens = new.cache_creation_input_tokens.or(known.cache_creation_input_tokens);
        known.cache_read_input_tokens = new.cache_read_input_tokens.or(known.cache_read_input_tokens);
        known.output_tokens = new.output_tokens.or(known.output_tokens);
        let read = [known.input_tokens, known.cache_creation_input_tokens, known.cache_read_input_tokens];
        answer.usage.input_tokens = read.into_iter().flatten().fold(0, u64::saturating_add);
        answer.usage.cache_write_tokens = known.cache_creation_input_tokens.unwrap_or(0);
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
                    self.go_on(delta);
                    read_delta(event.index, delta, answer, who)?;
                }
            }
            "content_block_start" => {
                if let Some(block) = &event.content_block {
                    self.begin(block);
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
                answer.thoughts = self.thoughts();
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
