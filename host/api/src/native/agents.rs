//! `/v1/agents`: agents, and the versions that their changes have left behind. An agent's id and its name stand for each other
//! wherever one of them is asked for.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_agents::AgentError;
use vivarium_domain::{
    Agent, AgentConfig, AgentId, AgentTool, Budget, BusyPolicy, DocumentId, ModelName, ModelOptions, OutputFormat,
    Scope, TeamId,
};
use vivarium_store::AgentFilter;

use super::NativeError;
use super::list::{List, PIECE, Parameters};
use crate::ApiState;
use crate::body::{json_bytes, json_of};
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::paging::{agent_texts, in_pieces};
use crate::segment::Segment;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(one, change, delete))
        .routes(routes!(versions))
        .routes(routes!(version))
        .routes(routes!(diff))
        .routes(routes!(roll_back))
}

/// The answer that shows an agent: its version is its entity tag.
fn shown(status: StatusCode, agent: &Agent) -> Answer {
    Answer::json(status, agent).with(header::ETAG, &format!("\"{}\"", agent.version))
}

fn made(agent: &Agent) -> Answer {
    shown(StatusCode::CREATED, agent).with(header::LOCATION, &format!("/v1/agents/{}", agent.id))
}

/// Make an agent
///
/// Its configuration is checked against what this tenant has, so that its runs find it in order. Needs the scope
/// `agents:write`.
#[utoipa::path(
    post, path = "/v1/agents", operation_id = "createAgent", tag = "Native", params(IdempotencyKey),
    request_body(content = AgentConfig, example = json!({
        "name": "support", "mode": "chat", "prompt": "You help people with their orders.",
        "tools": [{"name": "web_search", "approval": "auto"}], "historyTurns": 20
    })),
    responses(
        (status = 201, description = "The agent, in version 1.", body = Agent, headers(
            ("Location" = String, description = "The agent's path."),
            ("ETag" = String, description = "Its version, in quotes: for `If-Match`."),
        )),
        (status = 404, description = "There is no such team."),
        (status = 409, description = "The name is taken, or the tenant has as many agents as it may."),
    )
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::AgentsWrite)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let config: AgentConfig = json_of(&body)?;
        let along = |agent: &Agent| once.remember(&made(agent));
        Ok(made(&state.0.agents.create(&caller.tenant, Some(caller.key), config, along).await?))
    };
    Ok(once.or(make).await?)
}

/// The agents
///
/// Newest first. Needs the scope `agents:read`.
#[utoipa::path(
    get, path = "/v1/agents", operation_id = "listAgents", tag = "Native",
    params(
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("cursor" = Option<AgentId>, Query, nullable = false, description = "The `next` of the page before."),
        ("teamId" = Option<TeamId>, Query, nullable = false, description = "Only those of this team."),
        ("name" = Option<String>, Query, nullable = false, description = "Only the one of exactly this name."),
    ),
    responses((status = 200, description = "A page of them.", body = List<Agent>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<List<Agent>>, NativeError> {
    caller.needs(Scope::AgentsRead)?;
    let asked = Parameters::of(&uri, &["limit", "cursor", "teamId", "name"])?;
    let number: Option<u32> = asked.parsed("teamId", "must be an integer from 1")?;
    let team = number
        .map(|number| TeamId::new(number).ok_or_else(|| ApiError::invalid("teamId", "must be an integer from 1")));
    let (limit, before, team) = (asked.limit()?, asked.cursor()?, team.transpose()?);
    if let Some(name) = asked.text("name") {
        let agent = named(&state, &caller.tenant, name).await?;
        let fits = |agent: &Agent| {
            team.is_none_or(|team| agent.config.team == team) && before.is_none_or(|before| agent.id < before)
        };
        return Ok(Json(List::whole(agent.filter(fits).into_iter().collect())));
    }
    let read = |before, limit| state.0.agents.list(&caller.tenant, AgentFilter { team, before, limit });
    let page = in_pieces(before, limit, PIECE, agent_texts, read).await?;
    Ok(Json(List::new(page.items, page.next)))
}

/// The agent of this name, which is no id.
async fn named(state: &ApiState, tenant: &vivarium_domain::TenantId, name: &str) -> Result<Option<Agent>, ApiError> {
    if name.parse::<AgentId>().is_ok() {
        return Ok(None);
    }
    match state.0.agents.get(tenant, name).await {
        Ok(agent) => Ok(Some(agent)),
        Err(AgentError::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One agent
///
/// In its current version. Needs the scope `agents:read`.
#[utoipa::path(
    get, path = "/v1/agents/{agent}", operation_id = "getAgent", tag = "Native",
    params(("agent" = String, Path, description = "The agent's id or its name.")),
    responses((status = 200, description = "The agent.", body = Agent, headers(
        ("ETag" = String, description = "Its version, in quotes: for `If-Match`."),
    )))
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(agent): Segment<String>,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::AgentsRead)?;
    Ok(shown(StatusCode::OK, &state.0.agents.get(&caller.tenant, &agent).await?))
}

/// A value that is given may not be null.
fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<T>, D::Error> {
    T::deserialize(value).map(Some)
}

/// A value that is given may be null.
fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(value: D) -> Result<Option<Option<T>>, D::Error> {
    Option::<T>::deserialize(value).map(Some)
}

/// What is to be different: the fields that are given. Null sets a field back to what it is where nobody says anything.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"prompt": "You help people with their orders, in one sentence.", "model": null, "version": 3}))]
struct AgentChange {
    /// Change the agent only if this is its current version; as `If-Match`.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false, minimum = 1)]
    version: Option<u64>,
    /// 1 to 128 characters, unique within the tenant.
    #[serde(default, deserialize_with = "given")]
    #[schema(
        nullable = false,
        min_length = 1,
        max_length = 128,
        pattern = r"^[^\s\x00-\x1f\x7f-\x9f]([^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f])?$"
    )]
    name: Option<String>,
    /// For a person.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 4000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
    description: Option<Option<String>>,
    /// The mode that its runs execute; null: `chat`.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 64, pattern = "^[a-zA-Z0-9_-]+$")]
    mode: Option<Option<String>>,
    /// Who answers; null: the host's default model.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<ModelName>)]
    model: Option<Option<ModelName>>,
    /// Who is asked instead, in this order, when that one can not answer; null: nobody.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<ModelName>>, max_items = 3)]
    fallback_models: Option<Option<Vec<ModelName>>>,
    /// How long a model may take: to its first token, between two, and for an answer in all; null: as the host has it.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 3600)]
    model_timeout_seconds: Option<Option<u32>>,
    /// How a model is to answer: the whole of it, in place of what was there; null: nothing is said.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<ModelOptions>)]
    model_options: Option<Option<ModelOptions>>,
    /// Instructions for the model.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<String>, max_length = 200000, pattern = r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]*$")]
    prompt: Option<Option<String>>,
    /// The tools that it may use; null: all that the tenant has.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<AgentTool>>, max_items = 200)]
    tools: Option<Option<Vec<AgentTool>>>,
    /// How many earlier turns of a session a run is given; null: as many as the host gives.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>, minimum = 0, maximum = 1000)]
    history_turns: Option<Option<u32>>,
    /// The most tokens that the model writes in one answer.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 1000000)]
    max_output_tokens: Option<Option<u32>>,
    /// The most cycles of reasoning in one run; null: the mode's default.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 100)]
    max_cycles: Option<Option<u32>>,
    /// After so many seconds a run is ended.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 86400)]
    timeout_seconds: Option<Option<u32>>,
    /// What answers must be; null: text.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<OutputFormat>)]
    output: Option<Option<OutputFormat>>,
    /// Documents that its corpus tools search, besides the host's own.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<DocumentId>>, max_items = 200)]
    contexts: Option<Option<Vec<DocumentId>>>,
    /// Corpora that its corpus tools search whole, with what is added to them later.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<String>>, max_items = 16)]
    corpora: Option<Option<Vec<String>>>,
    /// Other agents that its runs may start, each as a tool.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Vec<AgentId>>, max_items = 16)]
    agents: Option<Option<Vec<AgentId>>>,
    /// What becomes of a message to a busy session; null: it waits.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<BusyPolicy>)]
    when_busy: Option<Option<BusyPolicy>>,
    /// Its sessions are deleted when nothing was said in them for so many seconds; null: they are kept.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<u64>, minimum = 1, maximum = 316224000)]
    session_ttl_seconds: Option<Option<u64>>,
    /// What its runs may use in a day and in a month: the whole of it, in place of what was there; null: nothing is bounded.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<Budget>)]
    budget: Option<Option<Budget>>,
    /// The team that it belongs to; null: the first.
    #[serde(default, deserialize_with = "nullable")]
    #[schema(value_type = Option<TeamId>)]
    team_id: Option<Option<TeamId>>,
}

impl AgentChange {
    fn apply(&self, config: &mut AgentConfig) {
        let AgentConfig { mode, .. } = AgentConfig::named(String::new());
        set(&mut config.name, self.name.clone());
        set(&mut config.description, self.description.clone().map(Option::unwrap_or_default));
        set(&mut config.mode, self.mode.clone().map(|given| given.unwrap_or(mode)));
        set(&mut config.model, self.model.clone());
        set(&mut config.fallback_models, self.fallback_models.clone().map(Option::unwrap_or_default));
        set(&mut config.model_timeout_seconds, self.model_timeout_seconds);
        set(&mut config.model_options, self.model_options.clone().map(Option::unwrap_or_default));
        set(&mut config.prompt, self.prompt.clone().map(Option::unwrap_or_default));
        set(&mut config.tools, self.tools.clone());
        set(&mut config.history_turns, self.history_turns);
        set(&mut config.max_output_tokens, self.max_output_tokens);
        set(&mut config.max_cycles, self.max_cycles);
        set(&mut config.timeout_seconds, self.timeout_seconds);
        set(&mut config.output, self.output.clone().map(Option::unwrap_or_default));
        set(&mut config.contexts, self.contexts.clone().map(Option::unwrap_or_default));
        set(&mut config.corpora, self.corpora.clone().map(Option::unwrap_or_default));
        set(&mut config.agents, self.agents.clone().map(Option::unwrap_or_default));
        set(&mut config.when_busy, self.when_busy.map(Option::unwrap_or_default));
        set(&mut config.session_ttl_seconds, self.session_ttl_seconds);
        set(&mut config.budget, self.budget.map(Option::unwrap_or_default));
        set(&mut config.team, self.team_id.map(Option::unwrap_or_default));
    }
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// The version that a change is meant for, from `If-Match` and the body.
fn expected(headers: &HeaderMap, in_body: Option<u64>) -> Result<Option<u64>, ApiError> {
    let mut values = headers.get_all(header::IF_MATCH).iter();
    let in_header = match (values.next(), values.next()) {
        (None, _) => None,
        (Some(any), None) if any == "*" => None,
        (Some(one), None) => Some(version_of(one).ok_or_else(wrong_tag)?),
        (Some(_), Some(_)) => return Err(wrong_tag()),
    };
    match (in_header, in_body) {
        (Some(header), Some(body)) if header != body => {
            Err(ApiError::invalid("version", "must be the one that If-Match names, or be left out"))
        }
        (header, body) => Ok(header.or(body)),
    }
}

fn version_of(tag: &HeaderValue) -> Option<u64> {
    tag.to_str().ok()?.strip_prefix('"')?.strip_suffix('"')?.parse().ok()
}

fn wrong_tag() -> ApiError {
    ApiError::invalid("If-Match", "must be one version in quotes, as the ETag of an agent has it, or *")
}

/// Change an agent
///
/// What is given is changed, all else stays, and the version before is kept. A change that changes nothing makes no version.
/// Needs the scope `agents:write`.
#[utoipa::path(
    patch, path = "/v1/agents/{agent}", operation_id = "changeAgent", tag = "Native",
    params(
        ("agent" = String, Path, description = "The agent's id or its name."),
        ("If-Match" = Option<String>, Header, nullable = false, pattern = r#"^("[1-9][0-9]{0,17}"|\*)$"#, example = "\"3\"",
            description = "The agent's `ETag`: change it only if it is still in that version."),
    ),
    request_body = AgentChange,
    responses(
        (status = 200, description = "The agent as it is now.", body = Agent, headers(
            ("ETag" = String, description = "Its version, in quotes: for `If-Match`."),
        )),
        (status = 409, description = "It is in another version by now, or the name is taken."),
    )
)]
pub(super) async fn change(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(agent): Segment<String>,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::AgentsWrite)?;
    let (head, body) = request.into_parts();
    let change: AgentChange = json_of(&json_bytes(&state, &head.headers, body).await?)?;
    let expected = expected(&head.headers, change.version)?;
    let agents = &state.0.agents;
    let id = agents.get(&caller.tenant, &agent).await?.id;
    let apply = |config: &mut AgentConfig| {
        change.apply(config);
        Ok(())
    };
    let agent = agents.change(&caller.tenant, Some(caller.key), id, expected, apply).await?;
    Ok(shown(StatusCode::OK, &agent))
}

/// Delete an agent
///
/// With all its versions. Its sessions and runs stay. Needs the scope `agents:write`.
#[utoipa::path(
    delete, path = "/v1/agents/{agent}", operation_id = "deleteAgent", tag = "Native",
    params(("agent" = String, Path, description = "The agent's id or its name.")),
    responses((status = 204, description = "It is deleted."))
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(agent): Segment<String>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::AgentsWrite)?;
    let id = state.0.agents.get(&caller.tenant, &agent).await?.id;
    state.0.agents.delete(&caller.tenant, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An agent's versions
///
/// The newest first, the current one included: each the whole agent, with who made that version and when. Needs the scope
/// `agents:read`.
#[utoipa::path(
    get, path = "/v1/agents/{agent}/versions", operation_id = "listAgentVersions", tag = "Native",
    params(
        ("agent" = String, Path, description = "The agent's id or its name."),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("cursor" = Option<u64>, Query, nullable = false, description = "The `next` of the page before."),
    ),
    responses((status = 200, description = "A page of them.", body = List<Agent>))
)]
pub(super) async fn versions(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(agent): Segment<String>,
    uri: Uri,
) -> Result<Json<List<Agent>>, NativeError> {
    caller.needs(Scope::AgentsRead)?;
    let asked = Parameters::of(&uri, &["limit", "cursor"])?;
    let (limit, before) = (asked.limit()?, asked.cursor()?);
    let id = state.0.agents.get(&caller.tenant, &agent).await?.id;
    let read = |before, limit| state.0.agents.versions(&caller.tenant, id, before, limit);
    let page = in_pieces(before, limit, PIECE, agent_texts, read).await?;
    Ok(Json(List::new(page.items, page.next)))
}

/// An agent as it was in one version; what is no number is no version of any agent's.
async fn in_version(
    state: &ApiState,
    tenant: &vivarium_domain::TenantId,
    agent: &str,
    version: &str,
) -> Result<Agent, ApiError> {
    let id = state.0.agents.get(tenant, agent).await?.id;
    let no_such = || ApiError::new(Kind::NotFound, "the agent has no such version");
    let version = version.parse().map_err(|_| no_such())?;
    Ok(state.0.agents.version(tenant, id, version).await?)
}

/// One version of an agent
///
/// Needs the scope `agents:read`.
#[utoipa::path(
    get, path = "/v1/agents/{agent}/versions/{version}", operation_id = "getAgentVersion", tag = "Native",
    params(
        ("agent" = String, Path, description = "The agent's id or its name."),
        ("version" = u64, Path, minimum = 1, description = "The version's number."),
    ),
    responses((status = 200, description = "The agent as it was.", body = Agent, headers(
        ("ETag" = String, description = "This version, in quotes."),
    )))
)]
pub(super) async fn version(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment((agent, version)): Segment<(String, String)>,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::AgentsRead)?;
    Ok(shown(StatusCode::OK, &in_version(&state, &caller.tenant, &agent, &version).await?))
}

/// A field in which two versions differ.
#[derive(Debug, Serialize, ToSchema)]
struct Difference {
    /// The field.
    #[schema(example = "prompt")]
    field: String,
    /// What it is in the version of the path.
    value: Value,
    /// What it is in the version that it is compared with.
    other: Value,
}

/// In what two versions of an agent differ.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Differences {
    /// The agent.
    agent_id: AgentId,
    /// The version of the path.
    version: u64,
    /// The version that it is compared with.
    with: u64,
    /// The fields, by name.
    differences: Vec<Difference>,
}

impl Differences {
    fn between(one: &Agent, other: &Agent) -> Self {
        let fields = |config: &AgentConfig| match serde_json::to_value(config) {
            Ok(Value::Object(fields)) => fields,
            // A configuration is an object of texts, numbers and lists.
            _ => serde_json::Map::new(),
        };
        let (mut left, right) = (fields(&one.config), fields(&other.config));
        let difference = |(field, other): (String, Value)| {
            let value = left.remove(&field).unwrap_or_default();
            (value != other).then_some(Difference { field, value, other })
        };
        let mut differences: Vec<Difference> = right.into_iter().filter_map(difference).collect();
        differences.sort_by(|a, b| a.field.cmp(&b.field));
        Self { agent_id: one.id, version: one.version, with: other.version, differences }
    }
}

/// Compare two versions of an agent
///
/// Needs the scope `agents:read`.
#[utoipa::path(
    get, path = "/v1/agents/{agent}/versions/{version}/diff", operation_id = "compareAgentVersions", tag = "Native",
    params(
        ("agent" = String, Path, description = "The agent's id or its name."),
        ("version" = u64, Path, minimum = 1, description = "A version's number."),
        ("with" = u64, Query, minimum = 1, description = "The number of the version to compare it with."),
    ),
    responses((status = 200, description = "The fields that differ, with both values.", body = Differences))
)]
pub(super) async fn diff(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment((agent, version)): Segment<(String, String)>,
    uri: Uri,
) -> Result<Json<Differences>, NativeError> {
    caller.needs(Scope::AgentsRead)?;
    let asked = Parameters::of(&uri, &["with"])?;
    let with: Option<u64> = asked.parsed("with", "must be the number of a version")?;
    let with = with.ok_or_else(|| ApiError::missing("with"))?;
    let one = in_version(&state, &caller.tenant, &agent, &version).await?;
    let other = state.0.agents.version(&caller.tenant, one.id, with).await?;
    Ok(Json(Differences::between(&one, &other)))
}

/// Which version to go back to.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Earlier {
    /// The version's number.
    #[schema(minimum = 1, example = 2)]
    version: u64,
}

/// Go back to an earlier version
///
/// The agent becomes again what it was: as a new version. What the old one names may be gone by now; then it is refused.
/// Needs the scope `agents:write`.
#[utoipa::path(
    post, path = "/v1/agents/{agent}/rollback", operation_id = "rollBackAgent", tag = "Native",
    params(("agent" = String, Path, description = "The agent's id or its name."), IdempotencyKey),
    request_body(content = Earlier, example = json!({"version": 1})),
    responses(
        (status = 200, description = "The agent as it is now.", body = Agent, headers(
            ("ETag" = String, description = "Its version, in quotes: for `If-Match`."),
        )),
        (status = 409, description = "Another agent has the name that this one had."),
    )
)]
pub(super) async fn roll_back(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(agent): Segment<String>,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::AgentsWrite)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let Earlier { version } = json_of(&body)?;
        let agents = &state.0.agents;
        let id = agents.get(&caller.tenant, &agent).await?.id;
        let along = |agent: &Agent| once.remember(&shown(StatusCode::OK, agent));
        let agent = agents.roll_back(&caller.tenant, Some(caller.key), id, version, along).await?;
        Ok(shown(StatusCode::OK, &agent))
    };
    Ok(once.or(make).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tag(value: &'static str, in_body: Option<u64>) -> Result<Option<u64>, ApiError> {
        expected(&HeaderMap::from_iter([(header::IF_MATCH, HeaderValue::from_static(value))]), in_body)
    }

    #[test]
    fn the_expected_version_comes_from_the_header_or_the_body_and_both_must_agree() {
        assert_eq!(tag("\"3\"", None).unwrap(), Some(3));
        assert_eq!(tag("\"3\"", Some(3)).unwrap(), Some(3));
        assert_eq!(tag("*", Some(2)).unwrap(), Some(2));
        assert_eq!(expected(&HeaderMap::new(), Some(2)).unwrap(), Some(2));
        assert_eq!(tag("\"3\"", Some(4)).unwrap_err().code(), "invalid_parameter");
        for bad in ["3", "W/\"3\"", "\"x\"", "\"3\", \"4\"", "\"", ""] {
            assert!(tag(bad, None).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_sets_what_is_given_and_null_sets_it_back() {
        let mut config = AgentConfig::named("a");
        config.max_cycles = Some(7);
        config.mode = "research".to_owned();
        config.description = "d".to_owned();
        let change: AgentChange =
            json_of(br#"{"maxCycles":null,"mode":null,"prompt":"p","teamId":2,"tools":[]}"#).unwrap();
        change.apply(&mut config);
        let expected = AgentConfig {
            description: "d".to_owned(),
            prompt: "p".to_owned(),
            team: TeamId::new(2).unwrap(),
            tools: Some(Vec::new()),
            ..AgentConfig::named("a")
        };
        assert_eq!(config, expected);
        assert!(json_of::<AgentChange>(br#"{"name":null}"#).is_err());
        assert!(json_of::<AgentChange>(br#"{"version":null}"#).is_err());
    }

    #[test]
    fn two_versions_differ_in_the_fields_that_were_changed() {
        let id = AgentId::new();
        let at = "2026-11-22T00:00:00Z".parse().unwrap();
        let agent = |version, config| Agent { id, version, created_at: at, updated_at: at, updated_by: None, config };
        let mut changed = AgentConfig::named("b");
        changed.max_cycles = Some(3);
        let differences = Differences::between(&agent(1, AgentConfig::named("a")), &agent(2, changed));
        let shown: Vec<String> =
            differences.differences.iter().map(|d| format!("{}: {} {}", d.field, d.value, d.other)).collect();
        assert_eq!(shown, ["maxCycles: null 3", "name: \"a\" \"b\""]);
    }
}
