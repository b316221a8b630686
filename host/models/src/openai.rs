//! OpenAI's chat completions, and whatever speaks them: Ollama, vLLM, llama.cpp, gateways.
//!
//! This is the busiest wire, so its requests are written straight from the house's own types and its events are read
//! without an allocation each.

use std::borrow::Cow;
use std::fmt;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::{AUTHORIZATION, HeaderMap};
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use url::Url;
use vivarium_domain::{
    Decimal, FinishReason, GenerateRequest, GenerateResponse, Image, Message, ModelInfo, ModelOptions, OpenAiOptions,
    Part, ToolDefinition,
};

use crate::answer::Answer;
use crate::catalog::{self, Facts};
use crate::config::{ConfigError, ProviderConfig, ProviderKind};
use crate::fault::{Fault, Refusal, Who};
use crate::provider::Asked;
use crate::request::{self, Arguments, Needs, Text};
use crate::wire::{EventReader, KeyHeader, Step, Terms, Wire};
use crate::{Call, ModelError, Provider, schema, untrusted};

/// A provider that speaks OpenAI's chat completions.
pub struct OpenAi {
    wire: Wire,
    url: Url,
    names: request::Names,
    /// It is OpenAI itself.
    at_vendor: bool,
}

impl OpenAi {
    /// The provider so configured.
    ///
    /// # Errors
    /// When its address or key can not be used.
    pub fn new(config: &ProviderConfig) -> Result<Self, ConfigError> {
        let names = request::Names::new(config)?;
        let key = KeyHeader { name: AUTHORIZATION, before: "Bearer " };
        let wire = Wire::new(config, key, HeaderMap::new())?;
        let url = wire.url("chat/completions");
        let at_vendor = url.host_str().is_some_and(|host| host == "openai.com" || host.ends_with(".openai.com"));
        Ok(Self { wire, url, names, at_vendor })
    }

    fn facts(&self, model: &str) -> Facts {
        catalog::facts(ProviderKind::OpenAi, self.at_vendor, model)
    }

    async fn ask(&self, call: Call<'_>) -> Result<GenerateResponse, ModelError> {
        let facts = self.facts(call.model);
        request::check(call.request, &facts, Needs::of(call.request), self.names.name(), call.model)?;
        let body = request::json(&Body::of(&call.asked(), &facts, self.at_vendor), call.request)?;
        let terms = Terms::of(&call);
        let answer = Answer::new(call.on_token, self.wire.limits().tool_calls);
        self.wire.ask(&self.url, body, terms, answer, || Reader).await
    }
}

impl Provider for OpenAi {
    fn name(&self) -> &str {
        self.names.name()
    }

    fn describe(&self, model: &str) -> ModelInfo {
        self.names.describe(model, &self.facts(model))
    }

    fn most_output_tokens(&self, model: &str, asked: u32, _: &ModelOptions) -> u32 {
        catalog::output_bound(&self.facts(model), asked)
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
            let list: List = self.wire.get(self.wire.url("models")).await?;
            Ok(list.data.into_iter().map(|entry| entry.id).collect())
        }
        .boxed()
    }
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Turn<'a>>,
    stream: bool,
    stream_options: StreamOptions,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_format: Option<Format<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    /// The old name, which every imitation knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<Decimal>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<&'static str>,
    /// Requests with one key go to where their common beginning is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<Cow<'a, str>>,
    /// What is OpenAI's alone is handed on as it is.
    #[serde(flatten)]
    own: Own<'a>,
}

#[derive(Default, Serialize)]
struct Own<'a> {
    #[serde(flatten)]
    options: Option<&'a OpenAiOptions>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Turn<'a> {
    System {
        content: Cow<'a, str>,
    },
    User {
        content: Content<'a>,
    },
    Assistant {
        content: &'a str,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<AskedTool<'a>>,
    },
    Tool {
        tool_call_id: Cow<'a, str>,
        content: String,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<ContentPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart<'a> {
    Text { text: Cow<'a, str> },
    ImageUrl { image_url: ImageUrl<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: DataUrl<'a>,
}

/// An image as a `data:` URL, written without a copy.
struct DataUrl<'a>(&'a Image);

impl fmt::Display for DataUrl<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "data:{};base64,{}", self.0.media_type, Base64Display::new(&self.0.data, &STANDARD))
    }
}

impl Serialize for DataUrl<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[derive(Serialize)]
struct AskedTool<'a> {
    id: Cow<'a, str>,
    r#type: &'static str,
    function: AskedFunction<'a>,
}

#[derive(Serialize)]
struct AskedFunction<'a> {
    name: Cow<'a, str>,
    arguments: Arguments<'a>,
}

#[derive(Serialize)]
struct Tool<'a> {
    r#type: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: &'a str,
    description: &'a str,
    parameters: &'a serde_json::Value,
}

#[derive(Serialize)]
struct Format<'a> {
    r#type: &'static str,
    json_schema: JsonSchema<'a>,
}

#[derive(Serialize)]
struct JsonSchema<'a> {
    name: &'static str,
    schema: &'a serde_json::Value,
    strict: bool,
}

/// OpenAI takes ids of tool calls up to this length.
const MAX_ID: usize = 40;

/// And keys of its cache up to this one.
const MAX_CACHE_KEY: usize = 64;

impl<'a> Body<'a> {
    fn of(call: &Asked<'a>, facts: &Facts, at_vendor: bool) -> Self {
        let Asked { request, options, .. } = *call;
        let bound = request.max_output_tokens.map(|asked| catalog::output_bound(facts, asked));
        let thinking_off = facts.tools_need_no_thinking && !request.tools.is_empty();
        let effort = options.and_then(|options| facts.thinking.level(options.reasoning_effort?));
        let asked = request.temperature.map(Decimal::near);
        let temperature = asked.or(options.and_then(|options| options.temperature));
        // OpenAI's own schemas are of objects.
        let (by_format, in_words) = match &request.output_schema {
            Some(schema) if at_vendor && !schema::is_of_objects(schema) => (None, Some(schema)),
            schema => (schema.as_ref(), None),
        };
        let mut messages = turns(request);
        if let Some(schema) = in_words {
            messages.insert(0, Turn::System { content: schema::in_words(schema).into() });
        }
        let own = options.map(|options| &options.vendor.openai).filter(|own| **own != OpenAiOptions::default());
        Self {
            model: call.model,
            messages,
            stream: true,
            stream_options: StreamOptions { include_usage: true },
            tools: request.tools.iter().map(tool).collect(),
            response_format: by_format.map(|schema| Format {
                r#type: "json_schema",
                json_schema: JsonSchema { name: "answer", schema, strict: schema::fits_strict(schema) },
            }),
            max_completion_tokens: bound.filter(|_| at_vendor),
            max_tokens: bound.filter(|_| !at_vendor),
            temperature: temperature.filter(|_| facts.temperature),
            top_p: options.and_then(|options| options.top_p).filter(|_| facts.temperature),
            // Models that think take none at OpenAI.
            stop: options.filter(|_| !(at_vendor && facts.thinks)).map_or(&[], |options| &options.stop),
            seed: options.and_then(|options| options.seed),
            reasoning_effort: if thinking_off { Some("none") } else { effort },
            prompt_cache_key: call.cache_key.filter(|_| at_vendor).map(|key| request::call_id(key, MAX_CACHE_KEY)),
            own: Own { options: own },
        }
    }
}

fn tool(tool: &ToolDefinition) -> Tool<'_> {
    let function =
        Function { name: tool.name.as_str(), description: &tool.description, parameters: &tool.input_schema };
    Tool { r#type: "function", function }
}

fn turns(request: &GenerateRequest) -> Vec<Turn<'_>> {
    let mut passages = untrusted::passages_block(&request.passages);
    let place = untrusted::passages_place(&request.messages);
    let mut turns = Vec::with_capacity(request.messages.len() + 1);
    for (index, message) in request.messages.iter().enumerate() {
        turns.push(match message {
            Message::System { text } => Turn::System { content: text.into() },
            Message::User { parts } => {
                let before = if place == Some(index) { passages.take() } else { None };
                Turn::User { content: content(parts, before) }
            }
            Message::Assistant(said) => {
                let tool_calls = said.tool_calls.iter().map(asked_tool).collect();
                Turn::Assistant { content: &said.text, tool_calls }
            }
            Message::Tool(result) => Turn::Tool {
                tool_call_id: request::call_id(&result.call_id, MAX_ID),
                content: untrusted::tool_result(result),
            },
        });
    }
    turns.extend(passages.map(|block| Turn::User { content: Content::Text(block.into()) }));
    turns
}

fn asked_tool(call: &vivarium_domain::ToolCall) -> AskedTool<'_> {
    let function =
        AskedFunction { name: request::tool_name(&call.name), arguments: Arguments::as_text(&call.arguments_json) };
    AskedTool { id: request::call_id(&call.id, MAX_ID), r#type: "function", function }
}

/// Text alone is sent as text, since not every imitation takes parts.
fn content(parts: &[Part], before: Option<String>) -> Content<'_> {
    match (parts, before) {
        ([Part::Text(text)], None) => Content::Text(Cow::Borrowed(text)),
        ([Part::Text(text)], Some(before)) => Content::Text(format!("{before}\n\n{text}").into()),
        (parts, before) => {
            let before = before.map(|text| ContentPart::Text { text: text.into() });
            let parts = parts.iter().map(|part| match part {
                Part::Text(text) => ContentPart::Text { text: Cow::Borrowed(text) },
                Part::Image(image) => ContentPart::ImageUrl { image_url: ImageUrl { url: DataUrl(image) } },
            });
            Content::Parts(before.into_iter().chain(parts).collect())
        }
    }
}

/// One event. Unknown fields are skipped, and what imitations leave out or set to null is allowed for.
#[derive(Deserialize)]
struct Chunk<'a> {
    #[serde(borrow, default, deserialize_with = "first_choice")]
    choices: Option<Choice<'a>>,
    #[serde(default)]
    usage: Option<Tokens>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Choice<'a> {
    #[serde(default)]
    index: u32,
    #[serde(borrow, default)]
    delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Delta<'a> {
    #[serde(borrow, default)]
    content: Option<Text<'a>>,
    #[serde(borrow, default)]
    refusal: Option<Text<'a>>,
    #[serde(borrow, default)]
    tool_calls: Option<Vec<Fragment<'a>>>,
}

/// A piece of a tool call.
#[derive(Deserialize)]
struct Fragment<'a> {
    #[serde(default)]
    index: Option<u32>,
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    function: Option<FunctionFragment<'a>>,
}

#[derive(Deserialize)]
struct FunctionFragment<'a> {
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    arguments: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Tokens {
    /// Cached ones included.
    #[serde(default)]
    prompt_tokens: u64,
    #[serde(default)]
    completion_tokens: u64,
    #[serde(default)]
    prompt_tokens_details: Option<PromptTokens>,
    #[serde(default)]
    completion_tokens_details: Option<CompletionTokens>,
}

#[derive(Deserialize)]
struct CompletionTokens {
    #[serde(default)]
    reasoning_tokens: Option<u64>,
}

#[derive(Deserialize)]
struct PromptTokens {
    #[serde(default)]
    cached_tokens: Option<u64>,
}

/// The first choice, without a list for it: one was asked for.
fn first_choice<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Choice<'de>>, D::Error> {
    struct First;
    impl<'de> Visitor<'de> for First {
        type Value = Option<Choice<'de>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of choices")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
            let first: Option<Choice<'de>> = list.next_element()?;
            while list.next_element::<IgnoredAny>()?.is_some() {}
            Ok(first.filter(|choice| choice.index == 0))
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            Ok(None)
        }
    }
    deserializer.deserialize_any(First)
}

struct Reader;

impl EventReader for Reader {
    fn event(&mut self, data: &str, answer: &mut Answer<'_>, who: &Who) -> Result<Step, Fault> {
        if data.trim() == "[DONE]" {
            return Ok(Step::Done);
        }
        let chunk: Chunk<'_> = serde_json::from_str(data).map_err(|error| request::garbage(&error, who))?;
        if let Some(error) = chunk.error.filter(|error| error.get() != "null") {
            return Err(Refusal::of_text(error.get()).fault(who));
        }
        if let Some(tokens) = chunk.usage {
            answer.usage.input_tokens = tokens.prompt_tokens;
            answer.usage.cached_input_tokens =
                tokens.prompt_tokens_details.and_then(|details| details.cached_tokens).unwrap_or(0);
            answer.usage.output_tokens = tokens.completion_tokens;
            let thoughts = tokens.completion_tokens_details.and_then(|details| details.reasoning_tokens);
            answer.usage.reasoning_tokens = thoughts.unwrap_or(0);
        }
        let Some(choice) = chunk.choices else { return Ok(Step::More) };
        if let Some(delta) = choice.delta {
            read_delta(&delta, answer, who)?;
        }
        if let Some(reason) = choice.finish_reason {
            answer.finish = Some(match reason.as_str() {
                "length" => FinishReason::Length,
                "tool_calls" | "function_call" => FinishReason::ToolCalls,
                "content_filter" => FinishReason::ContentFilter,
                _ => FinishReason::Stop,
            });
        }
        Ok(Step::More)
    }
}

fn read_delta(delta: &Delta<'_>, answer: &mut Answer<'_>, who: &Who) -> Result<(), Fault> {
    if let Some(piece) = &delta.content {
        answer.say(piece.as_str());
    }
    if let Some(piece) = &delta.refusal {
        answer.decline(piece.as_str());
    }
    for fragment in delta.tool_calls.iter().flatten() {
        let begins = fragment.id.as_ref().is_some_and(|id| !id.as_str().is_empty());
        // Some imitations leave the index out and send each call in one piece.
        let index = fragment.index.unwrap_or_else(|| {
            let (last, next) = answer.last_and_next_call();
            last.filter(|_| !begins).unwrap_or(next)
        });
        let call = answer.call(index, who)?;
        if let Some(id) = fragment.id.as_ref().filter(|_| call.id.is_empty()) {
            id.as_str().clone_into(&mut call.id);
        }
        let Some(function) = &fragment.function else { continue };
        if let Some(name) = function.name.as_ref().filter(|_| call.name.is_empty()) {
            name.as_str().clone_into(&mut call.name);
        }
        if let Some(arguments) = &function.arguments {
            call.arguments_json.push_str(arguments.as_str());
        }
    }
    Ok(())
}
