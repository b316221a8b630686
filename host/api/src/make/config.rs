//! What a client configures an agent with, in this dialect's words, and what that is in the house's.
//!
//! A change keeps what it does not name, down to the keys of `llmConfig`, `historyConfig` and `invocationConfig`; a list or an
//! output format that it names is replaced as a whole. `null` takes back what has a default.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use vivarium_agents::AgentError;
use vivarium_domain::{AgentConfig, AgentTool, Approval, DocumentId, ModelName, OutputFormat, TeamId, TenantId};

use super::connection::{model_of, provider_named};
use super::mcp::{Connections, McpForm, ToolChange};
use super::scenario::{Scenarios, scenario_id};
use crate::ApiState;
use crate::body::{Object, given};
use crate::error::{ApiError, Kind};

/// The longest name of a model at its provider.
const MAX_MODEL_CHARS: usize = 180;

/// A new agent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({
    "name": "support", "teamId": 1, "makeConnectionId": 1, "defaultModel": "gpt-5", "systemPrompt": "Answer in one sentence."
}))]
pub(super) struct CreateAgent {
    /// 1 to 128 characters, unique within the tenant.
    #[schema(min_length = 1, max_length = 128, pattern = r"^(?!\s)[^\u0000-\u001f\u007f-\u009f]+(?<!\s)$")]
    pub(super) name: String,
    /// The team that it belongs to. May be left out where the query string has it.
    #[schema(value_type = u32, minimum = 1, required = false)]
    pub(super) team_id: Option<TeamId>,
    /// The model provider: 1 openai, 2 anthropic, 3 google, 4 embedded, further ones from 101.
    #[schema(minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    make_connection_id: u64,
    /// The model's name at that provider.
    #[schema(min_length = 1, max_length = 180, pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$")]
    default_model: String,
    /// Instructions for the model.
    #[schema(min_length = 1, max_length = 200_000)]
    system_prompt: String,
    /// Bounds on what the model writes.
    #[schema(value_type = Option<LlmConfig>)]
    llm_config: Option<Object<LlmConfig>>,
    /// The tools that it may use; none, if left out.
    #[schema(value_type = Option<Vec<ScenarioForm>>, max_items = 200)]
    scenarios: Option<Vec<Object<ScenarioForm>>>,
    /// How much of the thread a run is given.
    #[schema(value_type = Option<HistoryConfig>)]
    history_config: Option<Object<HistoryConfig>>,
    /// The tools of remote servers that it may use; none, if left out.
    #[schema(value_type = Option<Vec<McpForm>>, max_items = 50)]
    mcp_configs: Option<Vec<Object<McpForm>>>,
    /// Documents that its search tools find, besides the host's own.
    #[schema(value_type = Option<Vec<ContextForm>>, max_items = 200)]
    contexts: Option<Vec<Object<ContextForm>>>,
    /// What its answers must be.
    #[schema(value_type = Option<OutputParser>)]
    output_parser_format: Option<Object<OutputParser>>,
    /// Bounds on its runs.
    #[schema(value_type = Option<InvocationConfig>)]
    invocation_config: Option<Object<InvocationConfig>>,
}

/// A change of an agent: what is left out stays.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"systemPrompt": "Answer in two sentences.", "llmConfig": {"maxTokens": 500}}))]
pub(super) struct ModifyAgent {
    /// 1 to 128 characters, unique within the tenant.
    #[serde(default, deserialize_with = "given")]
    #[schema(
        value_type = String, required = false, min_length = 1, max_length = 128,
        pattern = r"^(?!\s)[^\u0000-\u001f\u007f-\u009f]+(?<!\s)$"
    )]
    name: Option<String>,
    /// The team that it belongs to from now on.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = u32, required = false, minimum = 1)]
    team_id: Option<TeamId>,
    /// The model provider.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = u64, required = false, minimum = 1, maximum = 9_007_199_254_740_991_u64)]
    make_connection_id: Option<u64>,
    /// The model's name at its provider.
    #[serde(default, deserialize_with = "given")]
    #[schema(
        value_type = String, required = false, min_length = 1, max_length = 180,
        pattern = r"^[^\u0000-\u001f\u007f-\u009f]+$"
    )]
    default_model: Option<String>,
    /// Instructions for the model.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200_000)]
    system_prompt: Option<String>,
    /// Bounds on what the model writes; null: the defaults.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<LlmConfig>)]
    llm_config: Option<Option<Object<LlmConfig>>>,
    /// The tools that it may use; null: none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<ScenarioForm>>, max_items = 200)]
    scenarios: Option<Option<Vec<Object<ScenarioForm>>>>,
    /// How much of the thread a run is given; null: as much as the host gives.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<HistoryConfig>)]
    history_config: Option<Option<Object<HistoryConfig>>>,
    /// The tools of remote servers that it may use; null: none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<McpForm>>, max_items = 50)]
    mcp_configs: Option<Option<Vec<Object<McpForm>>>>,
    /// Documents that its search tools find, besides the host's own; null: none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<ContextForm>>, max_items = 200)]
    contexts: Option<Option<Vec<Object<ContextForm>>>>,
    /// What its answers must be; null: text.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<OutputParser>)]
    output_parser_format: Option<Option<Object<OutputParser>>>,
    /// Bounds on its runs; null: the defaults.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<InvocationConfig>)]
    invocation_config: Option<Option<Object<InvocationConfig>>>,
}

/// What one run has otherwise than its agent: what is left out is as the agent has it.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct RunConfig {
    /// Instructions for the model, in place of the agent's.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200_000)]
    system_prompt: Option<String>,
    /// Instructions for the model, after the agent's and an empty line.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = String, required = false, min_length = 1, max_length = 200_000)]
    pub(super) additional_system_prompt: Option<String>,
    /// The tools that it may use; null: none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<ScenarioForm>>, max_items = 200)]
    scenarios: Option<Option<Vec<Object<ScenarioForm>>>>,
    /// How much of the thread it is given; null: as much as the host gives.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<HistoryConfig>)]
    history_config: Option<Option<Object<HistoryConfig>>>,
    /// Bounds on what the model writes; null: the defaults.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<LlmConfig>)]
    llm_config: Option<Option<Object<LlmConfig>>>,
    /// Bounds on the run; null: the defaults.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<InvocationConfig>)]
    invocation_config: Option<Option<Object<InvocationConfig>>>,
    /// The tools of remote servers that it may use; null: none.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<Vec<McpForm>>, max_items = 50)]
    mcp_configs: Option<Option<Vec<Object<McpForm>>>>,
    /// What the answer must be; null: text.
    #[serde(default, deserialize_with = "given")]
    #[schema(value_type = Option<OutputParser>)]
    output_parser: Option<Option<Object<OutputParser>>>,
}

/// Bounds on what the model writes.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LlmConfig {
    /// The most tokens of one answer of the model; null: the model's own bound.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
    pub(super) max_tokens: Option<Option<u32>>,
}

/// How much of its thread a run is given.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct HistoryConfig {
    /// How many of the last turns: a user's message and all up to the next one. Null: as many as the host gives.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, maximum = 1000)]
    pub(super) iterations_from_history_count: Option<Option<u32>>,
}

/// Bounds on a run.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct InvocationConfig {
    /// The most cycles of reasoning; null: the mode's own bound.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
    pub(super) recursion_limit: Option<Option<u32>>,
    /// After so many seconds the run is ended; null: the host's own bound.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86_400)]
    pub(super) timeout: Option<Option<u32>>,
}

/// Whether a person is asked before a call of the tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub(super) enum ApprovalMode {
    /// Nobody is asked, unless the tool's plugin says otherwise.
    AutoRun,
    /// Each call waits for a person, who decides through the native API.
    ApprovalRequired,
}

/// A tool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct ScenarioForm {
    /// Its number: `scenarioId` in `GET /v1/tools`.
    #[schema(minimum = 0, maximum = 281_474_976_710_655_u64)]
    pub(super) make_scenario_id: u64,
    /// Whether a person is asked before a call; `auto-run` if left out.
    #[serde(default)]
    pub(super) approval_mode: Option<ApprovalMode>,
}

/// A document of the tenant's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ContextForm {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    pub(super) id: DocumentId,
}

/// The kinds of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum OutputType {
    /// For a person.
    Text,
    /// A JSON object, or what the schema says.
    Json,
}

/// What answers must be: text, any JSON object, or JSON that satisfies a schema.
#[derive(Debug, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct OutputParser {
    /// `json` where a schema is given, else `text`, if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r#type: Option<OutputType>,
    /// JSON Schema, draft 2020-12 unless it says otherwise. Not together with `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    schema: Option<Map<String, Value>>,
}

impl From<&OutputFormat> for OutputParser {
    fn from(format: &OutputFormat) -> Self {
        let (kind, schema) = match format {
            OutputFormat::Text => (OutputType::Text, None),
            OutputFormat::JsonObject => (OutputType::Json, None),
            OutputFormat::JsonSchema { schema } => (OutputType::Json, schema.as_object().cloned()),
        };
        Self { r#type: Some(kind), schema }
    }
}

impl From<&AgentTool> for ScenarioForm {
    fn from(tool: &AgentTool) -> Self {
        let approval =
            if tool.approval == Approval::Ask { ApprovalMode::ApprovalRequired } else { ApprovalMode::AutoRun };
        Self { make_scenario_id: scenario_id(tool.name.as_str()), approval_mode: Some(approval) }
    }
}

/// A change in the house's words, checked as far as that needs no other record: what it does not name is none.
#[derive(Debug, Default)]
pub(super) struct Change {
    name: Option<String>,
    team: Option<TeamId>,
    provider: Option<String>,
    model: Option<String>,
    prompt: Option<String>,
    tools: ToolChange,
    history_turns: Option<Option<u32>>,
    max_output_tokens: Option<Option<u32>>,
    max_cycles: Option<Option<u32>>,
    timeout_seconds: Option<Option<u32>>,
    output: Option<OutputFormat>,
    contexts: Option<Vec<DocumentId>>,
}

impl Change {
    /// Changes a configuration. `default_model` is the host's.
    pub(super) fn apply(&self, config: &mut AgentConfig, default_model: &ModelName) -> Result<(), AgentError> {
        set(&mut config.name, self.name.as_ref());
        set(&mut config.team, self.team.as_ref());
        set(&mut config.prompt, self.prompt.as_ref());
        set(&mut config.history_turns, self.history_turns.as_ref());
        set(&mut config.max_output_tokens, self.max_output_tokens.as_ref());
        set(&mut config.max_cycles, self.max_cycles.as_ref());
        set(&mut config.timeout_seconds, self.timeout_seconds.as_ref());
        set(&mut config.output, self.output.as_ref());
        set(&mut config.contexts, self.contexts.as_ref());
        self.tools.apply(&mut config.tools);
        if self.provider.is_some() || self.model.is_some() {
            let before = config.model.as_ref().unwrap_or(default_model);
            let provider = self.provider.as_deref().unwrap_or(before.provider());
            let model = self.model.as_deref().unwrap_or(before.model());
            let model = ModelName::new(provider, model);
            config.model = Some(model.ok_or_else(|| AgentError::invalid("model", "must name a model"))?);
        }
        Ok(())
    }
}

fn set<T: Clone>(slot: &mut T, value: Option<&T>) {
    if let Some(value) = value {
        slot.clone_from(value);
    }
}

impl CreateAgent {
    /// The configuration of the new agent, which belongs to `team`.
    pub(super) async fn into_config(
        self,
        state: &ApiState,
        tenant: &TenantId,
        team: TeamId,
    ) -> Result<AgentConfig, ApiError> {
        let mut config = AgentConfig::named(self.name.clone());
        config.tools = Some(Vec::new());
        let all = ModifyAgent {
            name: Some(self.name),
            team_id: Some(team),
            make_connection_id: Some(self.make_connection_id),
            default_model: Some(self.default_model),
            system_prompt: Some(self.system_prompt),
            llm_config: Some(self.llm_config),
            scenarios: Some(self.scenarios),
            history_config: Some(self.history_config),
            mcp_configs: Some(self.mcp_configs),
            contexts: Some(self.contexts),
            output_parser_format: Some(self.output_parser_format),
            invocation_config: Some(self.invocation_config),
        };
        let default_model = model_of(&state.0.agents, None);
        all.into_change(state, tenant).await?.apply(&mut config, default_model).map_err(of_agent)?;
        Ok(config)
    }
}

impl ModifyAgent {
    /// The team that the agent is to belong to.
    pub(super) fn team(&self) -> Option<TeamId> {
        self.team_id
    }

    pub(super) async fn into_change(self, state: &ApiState, tenant: &TenantId) -> Result<Change, ApiError> {
        let providers = state.0.agents.providers();
        let provider = self.make_connection_id.map(|number| provider_named(&providers, number).map(str::to_owned));
        let (max_cycles, timeout_seconds) = invocation(self.invocation_config);
        Ok(Change {
            name: self.name,
            team: self.team_id,
            provider: provider.transpose()?,
            model: self.default_model.map(check_model).transpose()?,
            prompt: self.system_prompt.map(|prompt| check_prompt("systemPrompt", prompt)).transpose()?,
            tools: tools(state, tenant, ["scenarios", "mcpConfigs"], self.scenarios, self.mcp_configs).await?,
            history_turns: history(self.history_config),
            max_output_tokens: llm(self.llm_config),
            max_cycles,
            timeout_seconds,
            output: self.output_parser_format.map(|format| output("outputParserFormat", format)).transpose()?,
            contexts: self.contexts.map(|forms| forms.unwrap_or_default().iter().map(|form| form.0.id).collect()),
        })
    }
}

impl RunConfig {
    pub(super) async fn into_change(self, state: &ApiState, tenant: &TenantId) -> Result<Change, ApiError> {
        let (max_cycles, timeout_seconds) = invocation(self.invocation_config);
        Ok(Change {
            prompt: self.system_prompt.map(|prompt| check_prompt("config.systemPrompt", prompt)).transpose()?,
            tools: tools(state, tenant, ["config.scenarios", "config.mcpConfigs"], self.scenarios, self.mcp_configs)
                .await?,
            history_turns: history(self.history_config),
            max_output_tokens: llm(self.llm_config),
            max_cycles,
            timeout_seconds,
            output: self.output_parser.map(|format| output("config.outputParser", format)).transpose()?,
            ..Change::default()
        })
    }
}

/// Of a config that may be `null` as a whole, or in a key, or lack the key.
fn key<C>(config: Option<Option<Object<C>>>, key: impl Fn(C) -> Option<Option<u32>>) -> Option<Option<u32>> {
    config.and_then(|config| config.map_or(Some(None), |config| key(config.0)))
}

fn llm(config: Option<Option<Object<LlmConfig>>>) -> Option<Option<u32>> {
    key(config, |config| config.max_tokens)
}

fn history(config: Option<Option<Object<HistoryConfig>>>) -> Option<Option<u32>> {
    key(config, |config| config.iterations_from_history_count)
}

fn invocation(config: Option<Option<Object<InvocationConfig>>>) -> (Option<Option<u32>>, Option<Option<u32>>) {
    match config {
        None => (None, None),
        Some(None) => (Some(None), Some(None)),
        Some(Some(Object(config))) => (config.recursion_limit, config.timeout),
    }
}

/// `fields` says where the two lists stand.
async fn tools(
    state: &ApiState,
    tenant: &TenantId,
    fields: [&'static str; 2],
    scenarios: Option<Option<Vec<Object<ScenarioForm>>>>,
    mcp: Option<Option<Vec<Object<McpForm>>>>,
) -> Result<ToolChange, ApiError> {
    if scenarios.is_none() && mcp.is_none() {
        return Ok(ToolChange::default());
    }
    let (known, connections) = (Scenarios::of(state, tenant).await?, Connections::of(state, tenant).await?);
    let [scenarios_field, mcp_field] = fields;
    let scenarios = scenarios.map(|forms| known.tools(scenarios_field, &forms.unwrap_or_default())).transpose()?;
    let mcp = mcp.map(|forms| connections.tools(mcp_field, &forms.unwrap_or_default())).transpose()?;
    Ok(ToolChange::new(scenarios, mcp, &connections, known.all()))
}

fn check_model(model: String) -> Result<String, ApiError> {
    if (1..=MAX_MODEL_CHARS).contains(&model.chars().count()) && !model.contains(char::is_control) {
        return Ok(model);
    }
    let wrong = format!("must have 1 to {MAX_MODEL_CHARS} characters and no control characters");
    Err(ApiError::invalid("defaultModel", wrong))
}

/// How long it may be, the agents' own check says.
fn check_prompt(field: &'static str, prompt: String) -> Result<String, ApiError> {
    if prompt.is_empty() { Err(ApiError::invalid(field, "must have at least 1 character")) } else { Ok(prompt) }
}

fn output(field: &'static str, format: Option<Object<OutputParser>>) -> Result<OutputFormat, ApiError> {
    let Some(Object(OutputParser { r#type: kind, schema })) = format else { return Ok(OutputFormat::Text) };
    match (kind, schema) {
        (Some(OutputType::Text), Some(_)) => Err(ApiError::invalid(
            field,
            "must not have a schema where its type is text; leave the schema out, or say json",
        )),
        (_, Some(schema)) => Ok(OutputFormat::JsonSchema { schema: Value::Object(schema) }),
        (Some(OutputType::Json), None) => Ok(OutputFormat::JsonObject),
        (None | Some(OutputType::Text), None) => Ok(OutputFormat::Text),
    }
}

/// An agent's error with this dialect's names for the fields.
pub(super) fn of_agent(error: AgentError) -> ApiError {
    told(error, &field)
}

/// The same for a run that has something otherwise than its agent.
pub(super) fn of_run_config(error: AgentError) -> ApiError {
    told(error, &|name| match name {
        "output" => "config.outputParser".to_owned(),
        name => format!("config.{}", field(name)),
    })
}

fn told(error: AgentError, field: &dyn Fn(&str) -> String) -> ApiError {
    match error {
        AgentError::Invalid { field: name, wrong } => {
            let field = field(name);
            ApiError::new(Kind::InvalidParameter, format!("{field} {wrong}")).about(field)
        }
        other => other.into(),
    }
}

/// This dialect's name for a field of the configuration.
fn field(name: &str) -> String {
    let field = match name {
        "prompt" => "systemPrompt",
        "model" => "defaultModel",
        "tools" => "scenarios",
        "historyTurns" => "historyConfig.iterationsFromHistoryCount",
        "maxOutputTokens" => "llmConfig.maxTokens",
        "maxCycles" => "invocationConfig.recursionLimit",
        "timeoutSeconds" => "invocationConfig.timeout",
        "output" => "outputParserFormat",
        "team" => "teamId",
        other => other,
    };
    field.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn modify(body: Value) -> Result<ModifyAgent, ApiError> {
        crate::body::json_of(body.to_string().as_bytes())
    }

    #[test]
    fn what_is_left_out_stays_and_null_takes_back_what_has_a_default() {
        let kept = modify(json!({"llmConfig": {}, "invocationConfig": {"timeout": null}})).unwrap();
        assert_eq!(llm(kept.llm_config), None);
        assert_eq!(invocation(kept.invocation_config), (None, Some(None)));
        let taken_back = modify(json!({"llmConfig": null, "invocationConfig": null, "historyConfig": null})).unwrap();
        assert_eq!(llm(taken_back.llm_config), Some(None));
        assert_eq!(invocation(taken_back.invocation_config), (Some(None), Some(None)));
        assert_eq!(history(taken_back.history_config), Some(None));
        let set = modify(json!({"llmConfig": {"maxTokens": 7}})).unwrap();
        assert_eq!(llm(set.llm_config), Some(Some(7)));
    }

    #[test]
    fn what_has_no_default_can_not_be_taken_back() {
        for field in ["name", "teamId", "makeConnectionId", "defaultModel", "systemPrompt"] {
            let error = modify(json!({ field: null })).unwrap_err();
            assert!(error.message().starts_with(field), "{}", error.message());
        }
    }

    #[test]
    fn an_output_format_is_read_as_it_is_shown() {
        for form in
            [json!({"type": "text"}), json!({"type": "json"}), json!({"type": "json", "schema": {"type": "array"}})]
        {
            let format = output("f", serde_json::from_value(form.clone()).unwrap()).unwrap();
            assert_eq!(serde_json::to_value(OutputParser::from(&format)).unwrap(), form);
        }
        let bare: Object<OutputParser> = serde_json::from_value(json!({"schema": {"type": "object"}})).unwrap();
        assert!(matches!(output("f", Some(bare)), Ok(OutputFormat::JsonSchema { .. })));
        let both: Object<OutputParser> = serde_json::from_value(json!({"type": "text", "schema": {}})).unwrap();
        assert!(output("f", Some(both)).is_err());
    }

    #[test]
    fn every_field_that_an_agents_check_names_has_a_name_here() {
        for (ours, theirs) in [("prompt", "config.systemPrompt"), ("output", "config.outputParser")] {
            assert_eq!(of_run_config(AgentError::invalid(ours, "is wrong")).message(), format!("{theirs} is wrong"));
        }
        assert_eq!(of_agent(AgentError::invalid("name", "is wrong")).message(), "name is wrong");
    }
}
