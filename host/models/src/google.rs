//! Google's Gemini: `streamGenerateContent`.
//!
//! Turns of one role follow each other as one, the first is a user's. A tool call comes whole, mostly without an id, and
//! is answered by name and order. Newer models sign the thoughts behind a call and want the signature back with it: it goes with
//! the answer, and comes back with its call.
//!
//! Its cache is its own affair: it knows beginnings that it has read before, so what stays the same stands in front.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::display::Base64Display;
use base64::engine::general_purpose::STANDARD;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use reqwest::header::{HeaderMap, HeaderName};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;
use url::Url;
use vivarium_domain::{
    AssistantMessage, Decimal, FinishReason, GenerateRequest, GenerateResponse, GoogleOptions, Image, Message,
    ModelInfo, ModelOptions, Part, ToolDefinition, ToolMessage,
};

use crate::answer::{Answer, made_id};
use crate::catalog::{self, Facts};
use crate::config::{ConfigError, ProviderConfig, ProviderKind};
use crate::fault::{Fault, Refusal, Who};
use crate::provider::Asked;
use crate::request::{self, Arguments, Needs, Text};
use crate::wire::{EventReader, KeyHeader, Step, Terms, Wire};
use crate::{Call, ModelError, Provider, untrusted};

/// A provider that speaks Gemini's API.
pub struct Google {
    wire: Wire,
    names: request::Names,
}

impl Google {
    /// The provider so configured.
    ///
    /// # Errors
    /// When its address or key can not be used.
    pub fn new(config: &ProviderConfig) -> Result<Self, ConfigError> {
        let names = request::Names::new(config)?;
        let key = KeyHeader { name: HeaderName::from_static("x-goog-api-key"), before: "" };
        let wire = Wire::new(config, key, HeaderMap::new())?;
        Ok(Self { wire, names })
    }

    async fn ask(&self, call: Call<'_>) -> Result<GenerateResponse, ModelError> {
        let facts = facts(call.model);
        request::check(call.request, &facts, Needs::of(call.request), self.names.name(), call.model)?;
        check(call.model, call.request)?;
        let url = self.url(call.model)?;
        let signatures = signatures(&call.asked());
        let body = request::json(&Body::of(&call.asked(), &facts, &signatures), call.request)?;
        let terms = Terms::of(&call);
        let answer = Answer::new(call.on_token, self.wire.limits().tool_calls);
        self.wire.ask(&url, body, terms, answer, Reader::default).await
    }

    fn url(&self, model: &str) -> Result<Url, ModelError> {
        let model = model.strip_prefix("models/").unwrap_or(model);
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        if model.is_empty() || !model.bytes().all(plain) || model.starts_with('.') {
            let text = format!("{model:?} is no name of a Gemini model; one is written like gemini-3.8-flash");
            return Err(ModelError::InvalidRequest(text));
        }
        let mut url = self.wire.url(&format!("models/{model}:streamGenerateContent"));
        url.set_query(Some("alt=sse"));
        Ok(url)
    }
}

fn facts(model: &str) -> Facts {
    catalog::facts(ProviderKind::Google, true, model)
}

/// Models before Gemini 3: no signatures, and either tools or a schema.
fn is_old(model: &str) -> bool {
    ["gemini-1", "gemini-2", "gemma"].iter().any(|start| model.trim_start_matches("models/").starts_with(start))
}

fn check(model: &str, request: &GenerateRequest) -> Result<(), ModelError> {
    if is_old(model) && request.output_schema.is_some() && !request.tools.is_empty() {
        let text = format!("google/{model} can not call tools and answer by a JSON Schema in one request: choose one");
        return Err(ModelError::Unsupported(text));
    }
    let is_gif = |part: &Part| matches!(part, Part::Image(image) if image.media_type == "image/gif");
    let gif = |message: &Message| matches!(message, Message::User { parts } if parts.iter().any(is_gif));
    if request.messages.iter().any(gif) {
        let text = format!("google/{model} can not read image/gif: send image/png, image/jpeg or image/webp");
        return Err(ModelError::Unsupported(text));
    }
    Ok(())
}

impl Provider for Google {
    fn name(&self) -> &str {
        self.names.name()
    }

    fn describe(&self, model: &str) -> ModelInfo {
        self.names.describe(model, &facts(model))
    }

    fn most_output_tokens(&self, model: &str, asked: u32, _: &ModelOptions) -> u32 {
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
            #[serde(default)]
            models: Vec<Entry>,
        }
        #[derive(Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Entry {
            name: String,
            #[serde(default)]
            supported_generation_methods: Vec<String>,
        }
        async {
            let mut url = self.wire.url("models");
            url.set_query(Some("pageSize=1000"));
            let list: List = self.wire.get(url).await?;
            let answers = |entry: &Entry| {
                let methods = &entry.supported_generation_methods;
                methods.is_empty() || methods.iter().any(|method| method == "generateContent")
            };
            let name = |entry: Entry| entry.name.trim_start_matches("models/").to_owned();
            Ok(list.models.into_iter().filter(answers).map(name).collect())
        }
        .boxed()
    }
}

/// What the API takes in the place of a signature that its caller does not have.
const STAND_IN: &str = "skip_thought_signature_validator";

/// What the model wants back of a call: its signature.
#[derive(Serialize, Deserialize)]
struct Signed<'a> {
    call: Cow<'a, str>,
    signature: Cow<'a, str>,
}

/// The signatures of all calls in a conversation, by the calls' ids. Calls of another model have none, and get the stand-in.
fn signatures<'a>(call: &Asked<'a>) -> HashMap<&'a str, &'a str> {
    let mut found = HashMap::new();
    if is_old(call.model) {
        return found;
    }
    for message in &call.request.messages {
        let Message::Assistant(said) = message else { continue };
        let before = found.len();
        let signed = call.thoughts_of(said).and_then(Value::as_array).into_iter().flatten();
        found.extend(signed.filter_map(|one| Some((one.get("call")?.as_str()?, one.get("signature")?.as_str()?))));
        if let Some(first) = said.tool_calls.first().filter(|_| found.len() == before) {
            found.insert(&first.id, STAND_IN);
        }
    }
    found
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    system_instruction: Option<Turn<'a>>,
    contents: Vec<Turn<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tools<'a>>,
    #[serde(skip_serializing_if = "GenerationConfig::is_empty")]
    generation_config: GenerationConfig<'a>,
}

#[derive(Serialize)]
struct Turn<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    parts: Vec<Piece<'a>>,
}

/// A part of a turn; exactly one of the first four is there.
#[derive(Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Piece<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inline_data: Option<InlineData<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_call: Option<FunctionCall<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    function_response: Option<FunctionResponse<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thought_signature: Option<&'a str>,
}

impl<'a> Piece<'a> {
    fn text(text: impl Into<Cow<'a, str>>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct InlineData<'a> {
    mime_type: &'a str,
    #[serde(serialize_with = "as_base64")]
    data: &'a Image,
}

fn as_base64<S: Serializer>(image: &Image, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&Base64Display::new(&image.data, &STANDARD))
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: Cow<'a, str>,
    args: Arguments<'a>,
}

#[derive(Serialize)]
struct FunctionResponse<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a str>,
    name: Cow<'a, str>,
    response: Outcome,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
enum Outcome {
    Output(String),
    Error(String),
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tools<'a> {
    function_declarations: Vec<Declaration<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Declaration<'a> {
    name: &'a str,
    description: &'a str,
    parameters_json_schema: &'a serde_json::Value,
}

#[derive(Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct GenerationConfig<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    response_mime_type: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response_json_schema: Option<&'a serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_output_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<Decimal>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_p: Option<Decimal>,
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    stop_sequences: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking_config: Option<ThinkingConfig>,
    /// What is Google's alone is handed on as it is.
    #[serde(flatten)]
    own: GoogleOptions,
}

/// In words for newer models, in tokens for older ones.
#[derive(PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
enum ThinkingConfig {
    ThinkingLevel(&'static str),
    ThinkingBudget(u32),
}

impl GenerationConfig<'_> {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

const USER: &str = "user";
const MODEL: &str = "model";

impl<'a> Body<'a> {
    fn of(call: &Asked<'a>, facts: &Facts, signatures: &HashMap<&'a str, &'a str>) -> Self {
        let Asked { request, options, .. } = *call;
        let asked = request.temperature.map(Decimal::near);
        let temperature = asked.or(options.and_then(|options| options.temperature));
        let effort = options.and_then(|options| options.reasoning_effort);
        let thinking = effort.and_then(|effort| {
            let level = facts.thinking.level(effort).map(ThinkingConfig::ThinkingLevel);
            level.or_else(|| facts.thinking.budget(effort).map(ThinkingConfig::ThinkingBudget))
        });
        let system = request.messages.iter().filter_map(|message| match message {
            Message::System { text } if !text.trim().is_empty() => Some(Piece::text(text)),
            _ => None,
        });
        let system: Vec<Piece<'a>> = system.collect();
        let declarations: Vec<Declaration<'a>> = request.tools.iter().map(declaration).collect();
        let tools = Some(Tools { function_declarations: declarations }).filter(|_| !request.tools.is_empty());
        Self {
            system_instruction: Some(system).filter(|parts| !parts.is_empty()).map(|parts| Turn { role: None, parts }),
            contents: turns(request, signatures),
            tools: tools.into_iter().collect(),
            generation_config: GenerationConfig {
                response_mime_type: request.output_schema.as_ref().map(|_| "application/json"),
                response_json_schema: request.output_schema.as_ref(),
                max_output_tokens: request.max_output_tokens.map(|asked| catalog::output_bound(facts, asked)),
                temperature: temperature.filter(|_| facts.temperature),
                top_p: options.and_then(|options| options.top_p),
                stop_sequences: options.map_or(&[], |options| &options.stop),
                seed: options.and_then(|options| options.seed),
                thinking_config: thinking,
                own: options.map(|options| options.vendor.google.clone()).unwrap_or_default(),
            },
        }
    }
}

fn declaration(tool: &ToolDefinition) -> Declaration<'_> {
    Declaration { name: tool.name.as_str(), description: &tool.description, parameters_json_schema: &tool.input_schema }
}

fn turns<'a>(request: &'a GenerateRequest, signatures: &HashMap<&'a str, &'a str>) -> Vec<Turn<'a>> {
    let mut passages = untrusted::passages_block(&request.passages);
    let place = untrusted::passages_place(&request.messages);
    let mut turns = Vec::with_capacity(request.messages.len() + 1);
    for (index, message) in request.messages.iter().enumerate() {
        match message {
            Message::System { .. } => {}
            Message::User { parts } => {
                let before = if place == Some(index) { passages.take() } else { None };
                let before = before.map(Piece::text);
                add(&mut turns, USER, before.into_iter().chain(parts.iter().map(piece)));
            }
            Message::Assistant(said) => add(&mut turns, MODEL, said_pieces(said, signatures)),
            Message::Tool(result) => add(&mut turns, USER, std::iter::once(response(result))),
        }
    }
    add(&mut turns, USER, passages.map(Piece::text));
    turns
}

/// Adds to the last turn if it is of this role, else begins a new one. The first is the user's.
fn add<'a>(turns: &mut Vec<Turn<'a>>, role: &'static str, parts: impl IntoIterator<Item = Piece<'a>>) {
    let mut parts = parts.into_iter().peekable();
    if parts.peek().is_none() {
        return;
    }
    if turns.is_empty() && role == MODEL {
        turns.push(Turn { role: Some(USER), parts: vec![Piece::text(request::CUT_BEGINNING)] });
    }
    match turns.last_mut().filter(|last| last.role == Some(role)) {
        Some(last) => last.parts.extend(parts),
        None => turns.push(Turn { role: Some(role), parts: parts.collect() }),
    }
}

fn piece(part: &Part) -> Piece<'_> {
    match part {
        Part::Text(text) => Piece::text(text),
        Part::Image(image) => {
            let inline_data = InlineData { mime_type: &image.media_type, data: image };
            Piece { inline_data: Some(inline_data), ..Piece::default() }
        }
    }
}

fn said_pieces<'a>(said: &'a AssistantMessage, signatures: &HashMap<&'a str, &'a str>) -> Vec<Piece<'a>> {
    let text = Some(said.text.as_str()).filter(|text| !text.is_empty()).map(Piece::text);
    let calls = said.tool_calls.iter().map(|call| Piece {
        function_call: Some(FunctionCall {
            id: googles_own(&call.id),
            name: request::tool_name(&call.name),
            args: Arguments::as_value(&call.arguments_json),
        }),
        thought_signature: signatures.get(call.id.as_str()).copied(),
        ..Piece::default()
    });
    text.into_iter().chain(calls).collect()
}

fn response(result: &ToolMessage) -> Piece<'_> {
    let content = untrusted::tool_result(result);
    let outcome = if result.is_error { Outcome::Error(content) } else { Outcome::Output(content) };
    let response = FunctionResponse {
        id: googles_own(&result.call_id),
        name: request::tool_name(&result.name),
        response: outcome,
    };
    Piece { function_response: Some(response), ..Piece::default() }
}

/// Stands before an id that Google itself gave: only such a one goes back, in the call and in its answer.
const GIVEN: &str = "given-";

fn googles_own(id: &str) -> Option<&str> {
    id.strip_prefix(GIVEN)
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event<'a> {
    #[serde(borrow, default)]
    candidates: Option<Vec<Candidate<'a>>>,
    #[serde(borrow, default)]
    prompt_feedback: Option<PromptFeedback<'a>>,
    #[serde(default)]
    usage_metadata: Option<Tokens>,
    #[serde(borrow, default)]
    error: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Candidate<'a> {
    #[serde(borrow, default)]
    content: Option<Content<'a>>,
    #[serde(borrow, default)]
    finish_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    finish_message: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct Content<'a> {
    #[serde(borrow, default)]
    parts: Option<Vec<AnswerPart<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AnswerPart<'a> {
    #[serde(borrow, default)]
    text: Option<Text<'a>>,
    #[serde(default)]
    thought: bool,
    #[serde(borrow, default)]
    function_call: Option<AskedFunction<'a>>,
    #[serde(borrow, default)]
    thought_signature: Option<Text<'a>>,
}

#[derive(Deserialize)]
struct AskedFunction<'a> {
    #[serde(borrow, default)]
    id: Option<Text<'a>>,
    #[serde(borrow, default)]
    name: Option<Text<'a>>,
    #[serde(borrow, default)]
    args: Option<&'a RawValue>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PromptFeedback<'a> {
    #[serde(borrow, default)]
    block_reason: Option<Text<'a>>,
    #[serde(borrow, default)]
    block_reason_message: Option<Text<'a>>,
}

/// Counts of the whole answer so far.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Tokens {
    /// Cached ones included.
    #[serde(default)]
    prompt_token_count: u64,
    #[serde(default)]
    tool_use_prompt_token_count: u64,
    #[serde(default)]
    cached_content_token_count: u64,
    #[serde(default)]
    candidates_token_count: u64,
    #[serde(default)]
    thoughts_token_count: u64,
}

#[derive(Default)]
struct Reader {
    thought_tokens: u64,
}

impl EventReader for Reader {
    fn event(&mut self, data: &str, answer: &mut Answer<'_>, who: &Who) -> Result<Step, Fault> {
        let event: Event<'_> = serde_json::from_str(data).map_err(|error| request::garbage(&error, who))?;
        if let Some(error) = event.error.filter(|error| error.get() != "null") {
            return Err(Refusal::of_text(error.get()).fault(who));
        }
        if let Some(tokens) = event.usage_metadata {
            self.count(&tokens, answer);
        }
        if let Some(feedback) = event.prompt_feedback.filter(|feedback| feedback.block_reason.is_some()) {
            let reason = feedback.block_reason_message.or(feedback.block_reason);
            answer.decline(reason.as_ref().map_or("", Text::as_str));
            answer.finish = Some(FinishReason::ContentFilter);
        }
        if let Some(candidate) = event.candidates.as_ref().and_then(|candidates| candidates.first()) {
            self.read_candidate(candidate, answer, who)?;
        }
        // No event is the last by its form: the stream's end tells.
        Ok(Step::More)
    }
}

impl Reader {
    fn count(&mut self, tokens: &Tokens, answer: &mut Answer<'_>) {
        // Some events leave the thoughts out that earlier ones have counted.
        self.thought_tokens = self.thought_tokens.max(tokens.thoughts_token_count);
        answer.usage.input_tokens = tokens.prompt_token_count.saturating_add(tokens.tool_use_prompt_token_count);
        answer.usage.cached_input_tokens = tokens.cached_content_token_count;
        answer.usage.reasoning_tokens = self.thought_tokens;
        answer.usage.output_tokens = tokens.candidates_token_count.saturating_add(self.thought_tokens);
    }

    fn read_candidate(&self, candidate: &Candidate<'_>, answer: &mut Answer<'_>, who: &Who) -> Result<(), Fault> {
        let parts = candidate.content.as_ref().and_then(|content| content.parts.as_ref());
        for part in parts.into_iter().flatten() {
            if let Some(asked) = &part.function_call {
                self.read_call(asked, part.thought_signature.as_ref(), answer, who)?;
            } else if let Some(text) = part.text.as_ref().filter(|_| !part.thought) {
                answer.say(text.as_str());
            }
        }
        let Some(reason) = &candidate.finish_reason else { return Ok(()) };
        answer.finish = Some(match reason.as_str() {
            "STOP" | "FINISH_REASON_UNSPECIFIED" => FinishReason::Stop,
            "MAX_TOKENS" => FinishReason::Length,
            "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "LANGUAGE" => {
                answer.decline(candidate.finish_message.as_ref().unwrap_or(reason).as_str());
                FinishReason::ContentFilter
            }
            other => {
                let words = who.scrub(candidate.finish_message.as_ref().map_or(other, Text::as_str));
                return Err(Fault::retry(
                    who.unavailable(format!("gave up its answer ({}): {words}", who.scrub(other))),
                ));
            }
        });
        Ok(())
    }

    fn read_call(
        &self,
        asked: &AskedFunction<'_>,
        signature: Option<&Text<'_>>,
        answer: &mut Answer<'_>,
        who: &Who,
    ) -> Result<(), Fault> {
        let (_, next) = answer.last_and_next_call();
        let call = answer.call(next, who)?;
        let given = asked.id.as_ref().map(Text::as_str).filter(|id| !id.is_empty());
        call.id = given.map_or_else(made_id, |id| format!("{GIVEN}{id}"));
        asked.name.as_ref().map_or("", Text::as_str).clone_into(&mut call.name);
        asked.args.map_or("", RawValue::get).clone_into(&mut call.arguments_json);
        if let Some(signature) = signature {
            let signed = Signed { call: call.id.as_str().into(), signature: signature.as_str().into() };
            let signed = serde_json::to_value(signed).unwrap_or_default();
            answer.thoughts.push(signed);
        }
        Ok(())
    }
}
