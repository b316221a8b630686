//! Agents: list, create, get, modify, delete.

use std::fmt::Write as _;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use vivarium_agents::AgentError;
use vivarium_domain::{Agent, AgentId, Scope, TeamId};
use vivarium_store::AgentFilter;

use super::MakeError;
use super::config::{CreateAgent, ModifyAgent, of_agent};
use super::connection::model_of;
use super::team::{Asked, MAX_PAGE, team_of};
use super::view::{AgentView, AgentWithPast, Views};
use crate::ApiState;
use crate::auth::Caller;
use crate::body::{json_bytes, json_of};
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::paging::{agent_texts, in_pieces};
use crate::segment::Segment;

/// How many agents, or versions of one, are read at a time.
const PIECE: usize = 50;

/// The most earlier versions that an agent is shown with.
const MAX_PAST: usize = 100;

/// The agent of this id, if it is one of the team. What is no id is nobody's agent.
pub(super) async fn find(state: &ApiState, caller: &Caller, team: TeamId, id: &str) -> Result<Agent, ApiError> {
    let id = id.parse::<AgentId>().map_err(|_| AgentError::NotFound)?;
    let agent = state.0.agents.by_id(&caller.tenant, id).await?;
    if agent.config.team == team { Ok(agent) } else { Err(AgentError::NotFound.into()) }
}

/// Retrieve a list of all agents
///
/// Agents of the team, newest first, as a bare array. Where there are more than `limit`, or than
/// 4 MiB of texts, the `Link` header has the address of the next page.
#[utoipa::path(
    get, path = "/api/v2/ai-agents/v1/agents", tag = "AI agents (make)", operation_id = "makeListAgents",
    params(
        ("teamId" = u32, Query, description = "The team.", minimum = 1),
        ("limit" = Option<u32>, Query, description = "The most agents; 1000 if left out.", minimum = 1, maximum = 1000),
        ("cursor" = Option<uuid::Uuid>, Query, description = "Where the page begins: from a `Link` header."),
    ),
    responses(
        (
            status = 200, description = "The agents.", body = [AgentView],
            headers(("Link" = String, description = "The next page, with `rel=\"next\"`; not there on the last one."))
        ),
        (status = 404, description = "There is no such team."),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<(HeaderMap, Json<Vec<AgentView>>), MakeError> {
    caller.needs(Scope::AgentsRead)?;
    let asked = Asked::new(uri.query(), &["teamId", "limit", "cursor"])?;
    let team = state.0.agents.team(&caller.tenant, asked.team()?).await?;
    let (agents, tenant) = (&state.0.agents, &caller.tenant);
    let read = |before, limit| agents.list(tenant, AgentFilter { team: Some(team.id), before, limit });
    let page = in_pieces(asked.after, asked.limit.unwrap_or(MAX_PAGE), PIECE, agent_texts, read).await?;
    let mut views = Views::new(&state, &caller.tenant);
    let mut shown = Vec::with_capacity(page.items.len());
    for agent in page.items {
        shown.push(views.agent(agent).await?);
    }
    let link = page.next.and_then(|next| next_link(uri.path(), team.id, asked.limit, next));
    Ok((link.map(|link| (header::LINK, link)).into_iter().collect(), Json(shown)))
}

/// The next page's address, relative to this one's.
fn next_link(path: &str, team: TeamId, limit: Option<usize>, next: AgentId) -> Option<HeaderValue> {
    let mut link = format!("<{path}?teamId={team}");
    if let Some(limit) = limit {
        // Writing to a text does not fail.
        let _written = write!(link, "&limit={limit}");
    }
    HeaderValue::try_from(format!("{link}&cursor={next}>; rel=\"next\"")).ok()
}

/// Create a new agent
///
/// The team stands in the query string, in the body, or, the same, in both.
#[utoipa::path(
    post, path = "/api/v2/ai-agents/v1/agents", tag = "AI agents (make)", operation_id = "makeCreateAgent",
    params(("teamId" = Option<u32>, Query, description = "The team; may stand in the body instead.", minimum = 1), IdempotencyKey),
    request_body = CreateAgent,
    responses(
        (status = 201, description = "The agent.", body = AgentView),
        (status = 404, description = "There is no such team."),
        (status = 409, description = "Another agent has the name."),
    )
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
    request: Request,
) -> Result<Answer, MakeError> {
    caller.needs(Scope::AgentsWrite)?;
    let in_query = Asked::new(uri.query(), &["teamId"])?.team;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let form: CreateAgent = json_of(&body)?;
        let team = match (in_query, form.team_id) {
            (Some(one), Some(other)) if one != other => {
                let wrong = format!("is {one} in the query string and {other} in the body; one is enough");
                return Err(ApiError::invalid("teamId", wrong));
            }
            (Some(team), _) | (None, Some(team)) => team,
            (None, None) => return Err(ApiError::missing("teamId")),
        };
        let team = state.0.agents.team(&caller.tenant, team).await?;
        let config = form.into_config(&state, &caller.tenant, team.id).await?;
        let mut views = Views::new(&state, &caller.tenant);
        views.look_up(&config).await?;
        let made = |agent: &Agent| Answer::json(StatusCode::CREATED, &views.shown(agent.clone()));
        let along = |agent: &Agent| once.remember(&made(agent));
        let agent = state.0.agents.create(&caller.tenant, Some(caller.key), config, along).await.map_err(of_agent)?;
        Ok(made(&agent))
    };
    Ok(once.or(make).await?)
}

/// Retrieve an agent by its ID
#[utoipa::path(
    get, path = "/api/v2/ai-agents/v1/agents/{agentId}", tag = "AI agents (make)", operation_id = "makeGetAgent",
    params(
        ("agentId" = uuid::Uuid, Path, description = "The agent."),
        ("teamId" = u32, Query, description = "The team that it belongs to.", minimum = 1),
    ),
    responses(
        (status = 200, description = "The agent, with its earlier versions.", body = AgentWithPast),
        (status = 404, description = "The team has no such agent, or is not there."),
    )
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Json<AgentWithPast>, MakeError> {
    caller.needs(Scope::AgentsRead)?;
    let team = team_of(&state, &caller, uri.query()).await?;
    let agent = find(&state, &caller, team.id, &id).await?;
    let (agents, tenant) = (&state.0.agents, &caller.tenant);
    let read = |before, limit| agents.versions(tenant, agent.id, before, limit);
    let past = in_pieces(Some(agent.version), MAX_PAST, PIECE, agent_texts, read).await?;
    Ok(Json(Views::new(&state, &caller.tenant).with_past(agent, past.items).await?))
}

/// Modify an existing agent by its ID
///
/// What the body leaves out stays. Each change makes a version; the one before is kept.
#[utoipa::path(
    patch, path = "/api/v2/ai-agents/v1/agents/{agentId}", tag = "AI agents (make)", operation_id = "makeModifyAgent",
    params(
        ("agentId" = uuid::Uuid, Path, description = "The agent."),
        ("teamId" = u32, Query, description = "The team that it belongs to.", minimum = 1),
    ),
    request_body = ModifyAgent,
    responses(
        (status = 204, description = "It is changed."),
        (status = 404, description = "The team has no such agent, or is not there."),
        (status = 409, description = "Another agent has the name."),
    )
)]
pub(super) async fn modify(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    uri: Uri,
    request: Request,
) -> Result<StatusCode, MakeError> {
    caller.needs(Scope::AgentsWrite)?;
    let team = team_of(&state, &caller, uri.query()).await?;
    let agent = find(&state, &caller, team.id, &id).await?;
    let (head, body) = request.into_parts();
    let form: ModifyAgent = json_of(&json_bytes(&state, &head.headers, body).await?)?;
    if let Some(team) = form.team() {
        state.0.agents.team(&caller.tenant, team).await?;
    }
    let change = form.into_change(&state, &caller.tenant).await?;
    let default_model = model_of(&state.0.agents, None);
    let apply = |config: &mut _| change.apply(config, default_model);
    let changed = state.0.agents.change(&caller.tenant, Some(caller.key), agent.id, None, apply).await;
    changed.map_err(of_agent)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Delete an agent by its ID
///
/// Its versions go with it; its threads and runs stay.
#[utoipa::path(
    delete, path = "/api/v2/ai-agents/v1/agents/{agentId}", tag = "AI agents (make)", operation_id = "makeDeleteAgent",
    params(
        ("agentId" = uuid::Uuid, Path, description = "The agent."),
        ("teamId" = u32, Query, description = "The team that it belongs to.", minimum = 1),
    ),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 404, description = "The team has no such agent, or is not there."),
    )
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<StatusCode, MakeError> {
    caller.needs(Scope::AgentsWrite)?;
    let team = team_of(&state, &caller, uri.query()).await?;
    let agent = find(&state, &caller, team.id, &id).await?;
    state.0.agents.delete(&caller.tenant, agent.id).await?;
    Ok(StatusCode::NO_CONTENT)
}
