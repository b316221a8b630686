//! `/api/sessions`: conversations are begun, listed, renamed and deleted.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use utoipa::ToSchema;
use vivarium_domain::{AgentId, SessionId, TenantId, Timestamp};
use vivarium_runs::NewSession;
use vivarium_store::{SessionFilter, SessionStart};

use super::AgentHubError;
use super::assistants::Deleted;
use super::message::Message;
use super::params::Params;
use crate::ApiState;
use crate::body::{json_bytes, json_of};
use crate::error::{ApiError, Kind};
use crate::gate::{By, CallerExt};
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::segment::Segment;

const DEFAULT_PAGE: u64 = 20;
const MAX_PAGE: u64 = 100;
/// Beyond it lie more sessions than a host holds.
const MAX_PAGE_NUMBER: u64 = 1_000_000;

/// A conversation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentHubSession)]
pub(super) struct Session {
    id: SessionId,
    /// The agent that it is with; null where another API began it with none.
    assistant_id: Option<AgentId>,
    /// Given, or made from the first message.
    #[schema(example = "Customer Support Chat")]
    title: Option<String>,
    /// How many messages it holds.
    message_count: u64,
    created_at: Timestamp,
    /// When something was last said in it, or it was renamed.
    updated_at: Timestamp,
}

impl From<vivarium_domain::Session> for Session {
    fn from(session: vivarium_domain::Session) -> Self {
        Self {
            id: session.id,
            assistant_id: session.agent_id,
            title: session.title,
            message_count: session.messages,
            created_at: session.created_at,
            updated_at: session.updated_at,
        }
    }
}

/// A conversation that was just begun.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentHubNewSession)]
struct Begun {
    #[serde(flatten)]
    session: Session,
    /// None yet.
    #[schema(max_items = 0)]
    messages: Vec<Message>,
}

/// A page of conversations.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentHubSessions)]
struct Sessions {
    data: Vec<Session>,
    meta: Meta,
}

/// Which page it is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AgentHubPageMeta)]
struct Meta {
    /// Its number, from 1.
    page: u64,
    /// The most that a page holds.
    limit: u64,
    /// How many there are on all pages.
    total: u64,
    /// How many pages there are.
    total_pages: u64,
}

/// What a new conversation is.
#[derive(serde::Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields, expecting = "a JSON object")]
#[schema(as = AgentHubSessionCreation)]
struct Creation {
    /// The agent's id or name.
    #[schema(min_length = 1, max_length = 128, example = "my-assistant")]
    assistant_id: String,
    /// Without it, one is made from the first message.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        example = "Customer Support Chat"
    )]
    title: Option<String>,
}

/// What becomes of a conversation.
#[derive(serde::Deserialize, ToSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
#[schema(as = AgentHubSessionChange)]
struct Change {
    /// Its title.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$",
        example = "Refund for order 7"
    )]
    title: String,
}

/// The session of a path. What is no id is nobody's session: the same 404.
pub(super) async fn found(state: &ApiState, tenant: &TenantId, id: &str) -> Result<vivarium_domain::Session, ApiError> {
    let id: SessionId = id.parse().map_err(|_| ApiError::new(Kind::NotFound, "there is no such session"))?;
    Ok(state.0.runs.session(tenant, &id).await?)
}

/// Begin a conversation
///
/// A session without messages, with an agent. Needs the scope `runs`.
#[utoipa::path(
    post,
    path = "/api/sessions",
    operation_id = "hubCreateSession",
    tag = "Agent hub",
    params(IdempotencyKey),
    request_body(content = Creation, example = json!({"assistantId": "my-assistant", "title": "Customer Support Chat"})),
    responses((status = 201, description = "The session", body = Begun), (status = 404, description = "There is no such agent"))
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    request: Request,
) -> Result<Answer, AgentHubError> {
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let Creation { assistant_id, title } = json_of(&body)?;
        let agent = state.0.agents.get(&caller.tenant, &assistant_id).await.map_err(|error| match error {
            missing @ vivarium_agents::AgentError::NotFound => ApiError::from(missing).about("assistantId"),
            other => other.into(),
        })?;
        let new = NewSession { id: None, agent: Some(agent.id), title, ttl_seconds: agent.config.session_ttl_seconds };
        let along = |session: &vivarium_domain::Session| once.remember(&begun(session));
        Ok(begun(&state.0.runs.create_session(&caller.tenant, new, along).await?))
    };
    Ok(once.or(make).await?)
}

fn begun(session: &vivarium_domain::Session) -> Answer {
    let begun = Begun { session: session.clone().into(), messages: Vec::new() };
    Answer::json(StatusCode::CREATED, &begun)
}

/// List the conversations
///
/// Those first that were begun last, without their messages. Needs the scope `runs`.
#[utoipa::path(
    get,
    path = "/api/sessions",
    operation_id = "hubListSessions",
    tag = "Agent hub",
    params(
        ("page" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 1000000, description = "from 1"),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 100, description = "sessions on a page; without it, 20"),
        ("assistantId" = Option<String>, Query, nullable = false, description = "only those with this agent, by its id or name"),
    ),
    responses((status = 200, description = "A page of sessions", body = Sessions))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Response, AgentHubError> {
    let params = Params::read(uri.query(), &["page", "limit", "assistantId"])?;
    let page = params.number("page", 1..=MAX_PAGE_NUMBER, 1)?;
    let limit = params.number("limit", 1..=MAX_PAGE, DEFAULT_PAGE)?;
    let none = Sessions { data: Vec::new(), meta: Meta { page, limit, total: 0, total_pages: 0 } };
    let agent = match params.text("assistantId") {
        None => None,
        Some(assistant) => match agent_id(&state, &caller.tenant, assistant).await? {
            Some(id) => Some(id),
            None => return Ok(Json(none).into_response()),
        },
    };
    let total = state.0.runs.count_sessions(&caller.tenant, agent).await?;
    let start = SessionStart::Skip((page - 1).saturating_mul(limit));
    let filter = SessionFilter { agent, start, limit: usize::try_from(limit).unwrap_or_default() };
    let found = state.0.runs.sessions(&caller.tenant, filter).await?;
    let data = found.items.into_iter().map(Session::from).collect();
    let meta = Meta { page, limit, total, total_pages: total.div_ceil(limit) };
    Ok(Json(Sessions { data, meta }).into_response())
}

/// An id as it is: the sessions of an agent outlive it. A name is looked up.
async fn agent_id(state: &ApiState, tenant: &TenantId, assistant: &str) -> Result<Option<AgentId>, ApiError> {
    if let Ok(id) = assistant.parse() {
        return Ok(Some(id));
    }
    match state.0.agents.get(tenant, assistant).await {
        Ok(agent) => Ok(Some(agent.id)),
        Err(vivarium_agents::AgentError::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// One conversation
///
/// Without its messages: `/messages` has them. Needs the scope `runs`.
#[utoipa::path(
    get,
    path = "/api/sessions/{sessionId}",
    operation_id = "hubGetSession",
    tag = "Agent hub",
    params(("sessionId" = String, Path, description = "the session's id")),
    responses((status = 200, description = "The session", body = Session))
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
) -> Result<Json<Session>, AgentHubError> {
    Ok(Json(found(&state, &caller.tenant, &id).await?.into()))
}

/// Rename a conversation
///
/// Needs the scope `runs`.
#[utoipa::path(
    patch,
    path = "/api/sessions/{sessionId}",
    operation_id = "hubRenameSession",
    tag = "Agent hub",
    params(("sessionId" = String, Path, description = "the session's id")),
    request_body(content = Change, example = json!({"title": "Customer Support Chat"})),
    responses((status = 200, description = "The session as it is now", body = Session))
)]
pub(super) async fn rename(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    request: Request,
) -> Result<Json<Session>, AgentHubError> {
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let Change { title } = json_of(&body)?;
    let id = found(&state, &caller.tenant, &id).await?.id;
    let session = state.0.runs.rename_session(&caller.tenant, &id, Some(&title)).await?;
    Ok(Json(session.into()))
}

/// Delete a conversation
///
/// With its messages, their files, its runs and their logs. What is under way in it is ended first. Needs the scope `runs`.
#[utoipa::path(
    delete,
    path = "/api/sessions/{sessionId}",
    operation_id = "hubDeleteSession",
    tag = "Agent hub",
    params(("sessionId" = String, Path, description = "the session's id")),
    responses((status = 200, description = "It is deleted", body = Deleted), (status = 409, description = "A run of the session does not end"))
)]
pub(super) async fn remove(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(id): Segment<String>,
) -> Result<Json<Deleted>, AgentHubError> {
    let id = found(&state, &caller.tenant, &id).await?.id;
    state.0.runs.delete_session(&caller.tenant, &id, &by).await?;
    Ok(Deleted::new("the session was deleted, with its messages, files and runs"))
}
