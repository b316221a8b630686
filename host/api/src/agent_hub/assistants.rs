//! `/api/assistants`: agents are listed, made, read, changed and deleted.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;
use vivarium_agents::MAX_PAGE;
use vivarium_domain::{Agent, AgentId, Scope};
use vivarium_store::AgentFilter;

use super::AgentHubError;
use super::assistant::{Assistant, Change, Changes, Creation, wrong};
use super::params::Params;
use crate::ApiState;
use crate::auth::Caller;
use crate::body::{json_bytes, json_of};
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::paging::{agent_texts, in_pieces};
use crate::segment::Segment;

/// How many of a page are read at a time.
pub(super) const PIECE: usize = 50;

/// That something was deleted.
#[derive(Serialize, ToSchema)]
pub(super) struct Deleted {
    /// Always true.
    success: bool,
    /// What was deleted.
    message: &'static str,
}

impl Deleted {
    pub(super) fn new(message: &'static str) -> Json<Self> {
        Json(Self { success: true, message })
    }
}

/// List the agents
///
/// All of this tenant's, those first that were made last. Where there are more than `limit`, the `Link` header has the
/// address of the next page; a page also ends after 4 MiB of texts. Needs the scope `agents:read`.
#[utoipa::path(
    get,
    path = "/api/assistants",
    operation_id = "hubListAssistants",
    tag = "Agent hub",
    params(
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 1000, description = "at most so many; without it, 1000"),
        ("cursor" = Option<String>, Query, nullable = false, format = Uuid, description = "where the page begins, from the `Link` header"),
    ),
    responses(
        (
            status = 200,
            description = "The agents",
            body = Vec<Assistant>,
            headers(("Link" = String, description = "where there are more: `<…>; rel=\"next\"`")),
        ),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Response, AgentHubError> {
    caller.needs(Scope::AgentsRead)?;
    let params = Params::read(uri.query(), &["limit", "cursor"])?;
    let limit = params.number("limit", 1..=MAX_PAGE as u64, MAX_PAGE as u64)?;
    let not_a_cursor = |_| ApiError::invalid("cursor", "must be the cursor of a Link header, which is a UUID");
    let before: Option<AgentId> = params.text("cursor").map(str::parse).transpose().map_err(not_a_cursor)?;
    let limit_of_page = usize::try_from(limit).unwrap_or(MAX_PAGE);
    let read = |before, limit| state.0.agents.list(&caller.tenant, AgentFilter { team: None, before, limit });
    let page = in_pieces(before, limit_of_page, PIECE, agent_texts, read).await?;
    let default = state.0.agents.default_model();
    let shown: Vec<Assistant> = page.items.into_iter().map(|agent| Assistant::new(agent, default)).collect();
    let next = page.next.map(|cursor| format!("<{}?limit={limit}&cursor={cursor}>; rel=\"next\"", uri.path()));
    Ok(linked(next, Json(shown).into_response()))
}

/// An answer with the address of what comes after it.
pub(super) fn linked(link: Option<String>, mut response: Response) -> Response {
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// Make an agent
///
/// The provider must be configured, the mode and the tools installed. Needs the scope `agents:write`.
#[utoipa::path(
    post,
    path = "/api/assistants",
    operation_id = "hubCreateAssistant",
    tag = "Agent hub",
    params(IdempotencyKey),
    request_body(content = Creation, example = json!({"name": "my-assistant", "llmProvider": "openai", "llmModel": "gpt-5", "llmPrompt": "You are a helpful assistant..."})),
    responses((status = 201, description = "The agent", body = Assistant), (status = 409, description = "Another agent has the name"))
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    request: Request,
) -> Result<Answer, AgentHubError> {
    caller.needs(Scope::AgentsWrite)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let agents = &state.0.agents;
        let config = json_of::<Creation>(&body)?.config(agents)?;
        let made =
            |agent: &Agent| Answer::json(StatusCode::CREATED, &Assistant::new(agent.clone(), agents.default_model()));
        let along = |agent: &Agent| once.remember(&made(agent));
        Ok(made(&agents.create(&caller.tenant, Some(caller.key), config, along).await.map_err(wrong)?))
    };
    Ok(once.or(make).await?)
}

/// One agent
///
/// By its id or its name. Needs the scope `agents:read`.
#[utoipa::path(
    get,
    path = "/api/assistants/{assistantId}",
    operation_id = "hubGetAssistant",
    tag = "Agent hub",
    params(("assistantId" = String, Path, description = "the agent's id or name")),
    responses((status = 200, description = "The agent", body = Assistant))
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(assistant): Segment<String>,
) -> Result<Json<Assistant>, AgentHubError> {
    caller.needs(Scope::AgentsRead)?;
    let agent = state.0.agents.get(&caller.tenant, &assistant).await?;
    Ok(Json(Assistant::new(agent, state.0.agents.default_model())))
}

/// Change an agent
///
/// What is named takes the place of what was; what is not, stays. Needs the scope `agents:write`.
#[utoipa::path(
    patch,
    path = "/api/assistants/{assistantId}",
    operation_id = "hubChangeAssistant",
    tag = "Agent hub",
    params(("assistantId" = String, Path, description = "the agent's id or name")),
    request_body(content = Change, example = json!({"llmPrompt": "You are a helpful assistant..."})),
    responses((status = 200, description = "The agent as it is now", body = Assistant), (status = 409, description = "Another agent has the name"))
)]
pub(super) async fn change(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(assistant): Segment<String>,
    request: Request,
) -> Result<Json<Assistant>, AgentHubError> {
    changed(&state, &caller, &assistant, request).await
}

/// Change an agent
///
/// The same as PATCH: what is named takes the place of what was; what is not, stays. Needs the scope `agents:write`.
#[utoipa::path(
    put,
    path = "/api/assistants/{assistantId}",
    operation_id = "hubReplaceAssistant",
    tag = "Agent hub",
    params(("assistantId" = String, Path, description = "the agent's id or name")),
    request_body(content = Change, example = json!({"llmPrompt": "You are a helpful assistant..."})),
    responses((status = 200, description = "The agent as it is now", body = Assistant), (status = 409, description = "Another agent has the name"))
)]
pub(super) async fn replace(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(assistant): Segment<String>,
    request: Request,
) -> Result<Json<Assistant>, AgentHubError> {
    changed(&state, &caller, &assistant, request).await
}

async fn changed(
    state: &ApiState,
    caller: &Caller,
    assistant: &str,
    request: Request,
) -> Result<Json<Assistant>, AgentHubError> {
    caller.needs(Scope::AgentsWrite)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(state, &head.headers, body).await?;
    let changes = Changes::from(json_of::<Change>(&body)?);
    let agents = &state.0.agents;
    let id = agents.get(&caller.tenant, assistant).await?.id;
    let make = |config: &mut _| changes.apply(agents, config);
    let agent = agents.change(&caller.tenant, Some(caller.key), id, None, make).await.map_err(wrong)?;
    Ok(Json(Assistant::new(agent, agents.default_model())))
}

/// Delete an agent
///
/// With all its versions; its sessions stay. Needs the scope `agents:write`.
#[utoipa::path(
    delete,
    path = "/api/assistants/{assistantId}",
    operation_id = "hubDeleteAssistant",
    tag = "Agent hub",
    params(("assistantId" = String, Path, description = "the agent's id or name")),
    responses((status = 200, description = "It is deleted", body = Deleted))
)]
pub(super) async fn remove(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(assistant): Segment<String>,
) -> Result<Json<Deleted>, AgentHubError> {
    caller.needs(Scope::AgentsWrite)?;
    let agents = &state.0.agents;
    let id = agents.get(&caller.tenant, &assistant).await?.id;
    agents.delete(&caller.tenant, id).await?;
    Ok(Deleted::new("the agent was deleted; its sessions stay"))
}
