//! `POST /v1/runs`: a run of an agent or of a mode. What the request says goes over what the agent says. Answered when the
//! run has ended, as it happens, or at once.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use vivarium_domain::{
    AgentTool, Approval, BusyPolicy, ModelName, ModelOptions, OutputFormat, Run, RunId, Scope, SessionId, TenantId,
    ToolName, WebhookForm, WrongOption, bounds,
};
use vivarium_runs::{Cursor, Idempotency, RunRequest, Started, Webhook};

use super::NativeError;
use super::events;
use crate::ApiState;
use crate::attend::{self, attend};
use crate::auth::Caller;
use crate::body::{json_bytes, json_of};
use crate::callback::callback_url;
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::idempotency::{IdempotencyKey, Once};
use crate::resume;
use crate::sse::accepts_events;

const MAX_METADATA_BYTES: usize = 16 << 10;

/// The mode of a run that names neither an agent nor a mode.
const DEFAULT_MODE: &str = "chat";

/// A tool that the run may use: its name, or its name and whether a person is asked before a call.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = RunTool)]
enum ToolForm {
    /// It is called without asking, as far as the plugin's grant lets it.
    Name(ToolName),
    /// With its own approval mode.
    Tool(AgentTool),
}

impl From<ToolForm> for AgentTool {
    fn from(form: ToolForm) -> Self {
        match form {
            ToolForm::Name(name) => Self { name, approval: Approval::default() },
            ToolForm::Tool(tool) => tool,
        }
    }
}

/// By hand, since serde says of neither form what is wrong with it.
impl<'de> Deserialize<'de> for ToolForm {
    fn deserialize<D: Deserializer<'de>>(value: D) -> Result<Self, D::Error> {
        struct Form;
        impl<'de> Visitor<'de> for Form {
            type Value = ToolForm;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a tool's name, or an object with name and approval")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<ToolForm, E> {
                text.parse().map(ToolForm::Name).map_err(E::custom)
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ToolForm, A::Error> {
                AgentTool::deserialize(MapAccessDeserializer::new(map)).map(ToolForm::Tool)
            }
        }
        value.deserialize_any(Form)
    }
}

/// What is to be done, by whom and within which bounds. What is left out is as the agent has it, or as the mode has it.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = NewRun, example = json!({"input": "What is a tenant?", "agentId": "support", "sessionId": "order-1234"}))]
struct RunForm {
    /// The question or the task; not white space alone.
    #[schema(min_length = 1, max_length = 200000, pattern = r"\S")]
    input: String,
    /// The agent, by its id or name. Not together with `mode`.
    #[schema(min_length = 1, max_length = 128)]
    agent_id: Option<String>,
    /// The mode, where there is no agent; `chat` where there is neither.
    #[schema(min_length = 1, max_length = 64)]
    mode: Option<String>,
    /// Instructions for the model, in front of the conversation.
    #[schema(max_length = 200000)]
    instructions: Option<String>,
    /// Who answers.
    model: Option<ModelName>,
    /// Who is asked instead, in this order, when that one can not answer: it is not available, limits its rate, takes too
    /// long, or refuses for its policy. One that is named before is passed over.
    #[schema(max_items = 3)]
    fallback_models: Option<Vec<ModelName>>,
    /// How long a model may take: to its first token, between two, and for an answer in all.
    #[schema(minimum = 1, maximum = 3600)]
    model_timeout_seconds: Option<u32>,
    /// How a model is to answer; what is left out is as the agent has it.
    model_options: Option<ModelOptions>,
    /// The conversation to go on with; one that is not there begins with this run.
    session_id: Option<SessionId>,
    /// Nothing of it is kept as a session. Not together with `sessionId`.
    stateless: Option<bool>,
    /// How many earlier turns of the session it is given.
    #[schema(minimum = 0, maximum = 1000)]
    history_turns: Option<u32>,
    /// The most cycles of reasoning.
    #[schema(minimum = 1, maximum = 100)]
    max_cycles: Option<u32>,
    /// The most tokens that the model writes in one answer.
    #[schema(minimum = 1, maximum = 1000000)]
    max_output_tokens: Option<u32>,
    /// After so many seconds it is ended.
    #[schema(minimum = 1, maximum = 86400)]
    timeout_seconds: Option<u32>,
    /// The tools that it may use, each once.
    #[schema(max_items = 200)]
    tools: Option<Vec<ToolForm>>,
    /// JSON Schema that the answer must satisfy: `outcome.output` is JSON then. At most 64 KiB.
    #[schema(value_type = Option<Object>)]
    output_schema: Option<Map<String, Value>>,
    /// What becomes of it if a run of its session is under way.
    when_busy: Option<BusyPolicy>,
    /// Answer at once with 202 and let it work. Not for who asks for a stream.
    background: Option<bool>,
    /// Where its record is sent when it has ended: `https:` or `http:`.
    #[schema(min_length = 1, max_length = 2048, format = "uri")]
    webhook_url: Option<String>,
    /// Your own notes: they are kept with the run. At most 16 KiB as JSON.
    metadata: Option<Map<String, Value>>,
}

impl RunForm {
    /// The run to start. Whether this tenant has the mode and the model, starting it shows.
    async fn into_request(self, state: &ApiState, tenant: &TenantId) -> Result<RunRequest, ApiError> {
        self.check()?;
        let webhook = self.webhook_url.map(|url| callback_url("webhookUrl", &url)).transpose()?;
        let mut request = match (self.agent_id, self.mode) {
            (Some(_), Some(_)) => return Err(ApiError::invalid("mode", "must be left out where there is an agentId")),
            (Some(agent), None) => RunRequest::of_agent(&state.0.agents.get(tenant, &agent).await?, self.input),
            (None, mode) => RunRequest::new(mode.unwrap_or_else(|| DEFAULT_MODE.to_owned()), self.input),
        };
        if let Some(tools) = self.tools {
            request.tools = Some(tools_of(state, tenant, tools).await?);
        }
        if let Some(schema) = self.output_schema {
            request.output = OutputFormat::JsonSchema { schema: Value::Object(schema) };
        }
        request.webhook = webhook.map(|url| Webhook { url, form: WebhookForm::Native });
        request.session_id = self.session_id;
        request.stateless = self.stateless.unwrap_or_default();
        request.metadata = self.metadata.unwrap_or_default();
        set(&mut request.when_busy, self.when_busy);
        set_some(&mut request.instructions, self.instructions);
        set_some(&mut request.model, self.model);
        set(&mut request.fallback_models, self.fallback_models);
        set_some(&mut request.model_timeout_seconds, self.model_timeout_seconds);
        if let Some(options) = self.model_options {
            request.model_options = options.over(request.model_options);
        }
        set_some(&mut request.history_turns, self.history_turns);
        set_some(&mut request.max_cycles, self.max_cycles);
        set_some(&mut request.max_output_tokens, self.max_output_tokens);
        set_some(&mut request.timeout_seconds, self.timeout_seconds);
        Ok(request)
    }

    /// What can be said of the fields without looking anything up.
    fn check(&self) -> Result<(), ApiError> {
        if self.input.trim().is_empty() {
            return Err(ApiError::invalid("input", "must not be empty"));
        }
        at_most("input", self.input.chars().count(), bounds::INPUT_CHARS, "characters")?;
        let instructions = self.instructions.as_ref().map_or(0, |text| text.chars().count());
        at_most("instructions", instructions, bounds::INSTRUCTIONS_CHARS, "characters")?;
        at_most("tools", self.tools.as_ref().map_or(0, Vec::len), bounds::TOOLS, "tools")?;
        at_most("outputSchema", json_bytes_of(self.output_schema.as_ref()), bounds::SCHEMA_BYTES, "bytes")?;
        at_most("metadata", json_bytes_of(self.metadata.as_ref()), MAX_METADATA_BYTES, "bytes")?;
        within("historyTurns", self.history_turns, 0, bounds::HISTORY_TURNS)?;
        within("maxCycles", self.max_cycles, 1, bounds::CYCLES)?;
        within("maxOutputTokens", self.max_output_tokens, 1, bounds::OUTPUT_TOKENS)?;
        let fallbacks = self.fallback_models.as_ref().map_or(0, Vec::len);
        at_most("fallbackModels", fallbacks, bounds::FALLBACK_MODELS, "models")?;
        within("modelTimeoutSeconds", self.model_timeout_seconds, 1, bounds::MODEL_TIMEOUT_SECONDS)?;
        if let Some(WrongOption { field, message }) = self.model_options.as_ref().and_then(|given| given.check().err())
        {
            return Err(ApiError::invalid(field, message));
        }
        within("timeoutSeconds", self.timeout_seconds, 1, bounds::TIMEOUT_SECONDS)?;
        if self.stateless == Some(true) && self.session_id.is_some() {
            return Err(ApiError::invalid("stateless", "must be false or left out where there is a sessionId"));
        }
        Ok(())
    }
}

fn at_most(field: &'static str, found: usize, most: usize, unit: &str) -> Result<(), ApiError> {
    if found <= most {
        return Ok(());
    }
    Err(ApiError::invalid(field, format!("must have at most {most} {unit}, not {found}")))
}

fn within(field: &'static str, value: Option<u32>, least: u32, most: u32) -> Result<(), ApiError> {
    match value {
        Some(value) if !(least..=most).contains(&value) => {
            Err(ApiError::invalid(field, format!("must be an integer from {least} to {most}, not {value}")))
        }
        _ => Ok(()),
    }
}

fn json_bytes_of(object: Option<&Map<String, Value>>) -> usize {
    object.map_or(0, |object| serde_json::to_vec(object).map_or(usize::MAX, |json| json.len()))
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

fn set_some<T>(place: &mut Option<T>, value: Option<T>) {
    if value.is_some() {
        *place = value;
    }
}

/// The tools of a request: each is one that the tenant has, and is named once.
async fn tools_of(state: &ApiState, tenant: &TenantId, tools: Vec<ToolForm>) -> Result<Vec<AgentTool>, ApiError> {
    let there_are = state.0.agents.tools(tenant).await?;
    let mut chosen: Vec<AgentTool> = Vec::with_capacity(tools.len());
    for (place, tool) in tools.into_iter().map(AgentTool::from).enumerate() {
        let wrong = |wrong: String| {
            let param = format!("tools[{place}]");
            Err(ApiError::new(Kind::InvalidParameter, format!("{param} {wrong}")).about(param))
        };
        if !there_are.iter().any(|manifest| manifest.name == tool.name) {
            let names: Vec<&str> = there_are.iter().map(|manifest| manifest.name.as_str()).collect();
            return wrong(format!("names {:?}; there are: {}", tool.name.as_str(), names.join(", ")));
        }
        if chosen.iter().any(|earlier| earlier.name == tool.name) {
            return wrong(format!("names {:?} a second time", tool.name.as_str()));
        }
        chosen.push(tool);
    }
    Ok(chosen)
}

/// How the run is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    WhenItHasEnded,
    AsItHappens,
    InTheBackground,
}

impl Told {
    fn of(headers: &HeaderMap, background: Option<bool>) -> Result<Self, ApiError> {
        match (accepts_events(headers), background.unwrap_or_default()) {
            (true, true) => {
                Err(ApiError::invalid("background", "must be false or left out where a stream is accepted"))
            }
            (true, false) => Ok(Self::AsItHappens),
            (false, true) => Ok(Self::InTheBackground),
            (false, false) => Ok(Self::WhenItHasEnded),
        }
    }
}

/// Start a run
///
/// Of an agent or of a mode. Answered when it has ended, well or not: `status` says which. With
/// `Accept: text/event-stream` its events come as they happen, as from `/v1/runs/{id}/events`; with `background` the answer is
/// 202 and comes at once. Who leaves does not stop the run. Needs the scope `runs`.
#[utoipa::path(
    post, path = "/v1/runs", operation_id = "createRun", tag = "Native",
    params(
        IdempotencyKey,
        ("Last-Event-ID" = Option<String>, Header, nullable = false, pattern = r"^[0-9]{1,15}(\.[1-9][0-9]{0,9}\.[0-9a-f]{8})?$", description = "Only with the `Idempotency-Key` of the request that started the run, and for a stream: it goes on behind the event or token of this id."),
    ),
    request_body = RunForm,
    responses(
        (
            status = 200, description = "The run, which has ended; or its events, for who accepts a stream.",
            content((Run = "application/json"), (String = "text/event-stream")),
            headers(("Location" = String, description = "The run's path."), ("X-Run-ID" = String, description = "The run's id."))
        ),
        (
            status = 202, description = "The run, which works in the background.", body = Run,
            headers(("Location" = String, description = "The run's path."), ("X-Run-ID" = String, description = "The run's id."))
        ),
        (status = 204, description = "The run of this `Idempotency-Key` has ended, and its last event is known. There is nothing more."),
        (status = 404, description = "There is no such agent."),
        (status = 409, description = "The session is busy."),
        (status = 429, description = "The key's requests or tokens of this minute are used up, or the tenant has as many runs under way as it may."),
    )
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    request: Request,
) -> Result<Response, NativeError> {
    caller.needs(Scope::Runs)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let form: RunForm = json_of(&body)?;
    let told = Told::of(&head.headers, form.background)?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let seen = seen(&head.headers, told, once.of_run().is_some())?;
    let started = once.or(start(&state, &caller, form, once.of_run())).await?;
    let run = started.run_id;
    vivarium_sight::log::names_run(run);
    let answered = match told {
        Told::WhenItHasEnded => ended(&state, &caller, run).await,
        Told::InTheBackground => accepted(&state, &caller.tenant, run).await,
        // What was seen was of the run that there is; of one that begins now, nobody has seen anything.
        Told::AsItHappens => as_it_happens(&state, &caller, run, seen.filter(|_| started.replayed)).await,
    };
    // Who is told that the host stops, or loses the connection, finds the run by this.
    let mut response = answered.unwrap_or_else(|error| NativeError::from(error).into_response());
    name_run(&mut response, started.run_id);
    Ok(response)
}

/// Where the stream goes on. Only who names the request that has started the run can mean that one; without its key, this
/// would be a second run.
fn seen(headers: &HeaderMap, told: Told, has_key: bool) -> Result<Option<Cursor>, ApiError> {
    let seen = resume::asked(headers, None)?;
    if seen.is_some() && !(has_key && told == Told::AsItHappens) {
        let wrong = "must come with Accept: text/event-stream and the Idempotency-Key of the request that started the run; \
                     without a key, go on at /v1/runs/{id}/events";
        return Err(ApiError::invalid(resume::HEADER, wrong));
    }
    Ok(seen)
}

async fn start(
    state: &ApiState,
    caller: &Arc<Caller>,
    form: RunForm,
    idempotency: Option<Idempotency>,
) -> Result<Started, ApiError> {
    let request = RunRequest { idempotency, ..form.into_request(state, &caller.tenant).await? };
    caller.limits.take_request()?;
    Ok(attend::start(state, caller, request).await?)
}

fn name_run(response: &mut Response, run: RunId) {
    let values = (HeaderValue::from_str(&format!("/v1/runs/{run}")), HeaderValue::from_str(&run.to_string()));
    if let (Ok(location), Ok(id)) = values {
        response.headers_mut().insert(header::LOCATION, location);
        response.headers_mut().insert("x-run-id", id);
    }
}

/// Waits for the run's end and gives its record, whatever came of it.
async fn ended(state: &ApiState, caller: &Caller, run: RunId) -> Result<Response, ApiError> {
    let mut attended = attend(state, caller, run).await?;
    while attended.next_event(state).await?.is_some() {}
    // The record is written with the last event; among the active runs it may still stand as it was.
    let record = state.0.store.run(&caller.tenant, run).await?.ok_or_else(ApiError::internal)?;
    Ok(Json(record).into_response())
}

async fn as_it_happens(
    state: &ApiState,
    caller: &Caller,
    run: RunId,
    seen: Option<Cursor>,
) -> Result<Response, ApiError> {
    let run = resume::run_of(state, caller, run).await?;
    events::stream(state, caller, &run, seen.unwrap_or_default()).await
}

async fn accepted(state: &ApiState, tenant: &TenantId, run: RunId) -> Result<Response, ApiError> {
    let record: Option<Run> = state.0.runs.get(tenant, run).await?;
    Ok((StatusCode::ACCEPTED, Json(record.ok_or_else(ApiError::internal)?)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn form(body: &str) -> Result<RunForm, ApiError> {
        let form: RunForm = json_of(body.as_bytes())?;
        form.check().map(|()| form)
    }

    #[test]
    fn a_tool_is_a_name_or_a_name_with_an_approval() {
        let body = r#"{"input":"q","tools":["web_search",{"name":"web_fetch","approval":"ask"},{"name":"x"}]}"#;
        let tools: Vec<AgentTool> = form(body).unwrap().tools.unwrap().into_iter().map(AgentTool::from).collect();
        let shown: Vec<_> = tools.iter().map(|tool| (tool.name.as_str(), tool.approval)).collect();
        assert_eq!(shown, [("web_search", Approval::Auto), ("web_fetch", Approval::Ask), ("x", Approval::Auto)]);
        let wrong =
            |tool: &str| form(&format!(r#"{{"input":"q","tools":[{tool}]}}"#)).unwrap_err().message().to_owned();
        assert!(
            wrong("7").starts_with("tools[0]: invalid type: integer `7`, expected a tool's name"),
            "{}",
            wrong("7")
        );
        assert!(wrong("\"a b\"").starts_with("tools[0]: a tool's name must be"), "{}", wrong("\"a b\""));
        assert_eq!(wrong("{}"), "tools[0].name is required");
        assert!(wrong(r#"{"name":"a","mode":1}"#).starts_with("there is no field tools[0].mode"));
    }

    #[test]
    fn a_bound_that_is_passed_is_named_with_its_field() {
        let wrong = |fields: &str| form(&format!("{{\"input\":\"q\",{fields}}}")).unwrap_err().message().to_owned();
        assert_eq!(wrong("\"maxCycles\":0"), "maxCycles must be an integer from 1 to 100, not 0");
        assert_eq!(wrong("\"historyTurns\":1001"), "historyTurns must be an integer from 0 to 1000, not 1001");
        assert_eq!(
            wrong(&format!("\"metadata\":{{\"a\":{:?}}}", "x".repeat(MAX_METADATA_BYTES))),
            "metadata must have at most 16384 bytes, not 16392"
        );
        assert_eq!(form("{\"input\":\" \"}").unwrap_err().message(), "input must not be empty");
        assert!(wrong("\"stateless\":true,\"sessionId\":\"s\"").starts_with("stateless must be false"));
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _any = json_of::<RunForm>(&bytes);
        }
    }
}
