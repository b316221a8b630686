//! `/v1/sessions`: conversations, whichever dialect they were begun in.

use std::ops::Range;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use serde::{Deserialize, Deserializer, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_agents::AgentError;
use vivarium_domain::{
    AgentId, AttachmentKind, Message, RunId, Scope, Session, SessionId, SessionMessage, TenantId, Timestamp, ToolCall,
    bounds,
};
use vivarium_runs::{NewSession, SessionError};
use vivarium_store::{SessionFilter, SessionStart};

use super::NativeError;
use super::list::{List, PIECE, Parameters};
use crate::ApiState;
use crate::body::{json_bytes, json_of};
use crate::error::ApiError;
use crate::gate::{By, CallerExt};
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::paging::MAX_PAGE_BYTES;
use crate::segment::Segment;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(create, list))
        .routes(routes!(one, rename, delete))
        .routes(routes!(messages))
        .routes(routes!(super::export::export))
}

/// What is no id is nobody's session: the same 404.
pub(super) fn session_id(text: &str) -> Result<SessionId, ApiError> {
    text.parse().map_err(|_| SessionError::NotFound.into())
}

/// A session to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"agentId": "support", "title": "Order 1234"}))]
struct SessionForm {
    /// Its id; without it, one of the host's choice.
    id: Option<SessionId>,
    /// The agent that it is with, by id or name. Messages of other agents are refused in it.
    #[schema(min_length = 1, max_length = 128)]
    agent_id: Option<String>,
    /// What a person calls it: 1 to 200 characters; without it, made from the first message.
    #[schema(
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    title: Option<String>,
    /// It is deleted when nothing was said in it for so many seconds; without it, the agent's time counts, or the host's.
    #[schema(minimum = 1, maximum = 316224000)]
    ttl_seconds: Option<u64>,
}

impl SessionForm {
    async fn checked(self, state: &ApiState, tenant: &TenantId) -> Result<NewSession, ApiError> {
        let Self { id, agent_id, title, ttl_seconds } = self;
        if ttl_seconds.is_some_and(|ttl| !(1..=bounds::SESSION_TTL_SECONDS).contains(&ttl)) {
            let must = format!("must be an integer from 1 to {}", bounds::SESSION_TTL_SECONDS);
            return Err(ApiError::invalid("ttlSeconds", must));
        }
        let agent = match agent_id {
            Some(agent) => Some(state.0.agents.get(tenant, &agent).await?),
            None => None,
        };
        let of_agent = agent.as_ref().and_then(|agent| agent.config.session_ttl_seconds);
        let ttl_seconds = ttl_seconds.or(of_agent);
        Ok(NewSession { id, agent: agent.map(|agent| agent.id), title, ttl_seconds })
    }
}

/// Make a session
///
/// Without messages. A run that names a session that is not there makes it, too. Needs the scope `runs`.
#[utoipa::path(
    post, path = "/v1/sessions", operation_id = "createSession", tag = "Native", params(IdempotencyKey),
    request_body = SessionForm,
    responses(
        (status = 201, description = "The session.", body = Session, headers(
            ("Location" = String, description = "The session's path."),
        )),
        (status = 404, description = "There is no such agent."),
        (status = 409, description = "There is a session of this id."),
    )
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::Runs)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let form: SessionForm = json_of(&body)?;
        let new = form.checked(&state, &caller.tenant).await?;
        let along = |session: &Session| once.remember(&made(session));
        Ok(made(&state.0.runs.create_session(&caller.tenant, new, along).await?))
    };
    Ok(once.or(make).await?)
}

fn made(session: &Session) -> Answer {
    let path = format!("/v1/sessions/{}", in_path(&session.id));
    Answer::json(StatusCode::CREATED, session).with(header::LOCATION, &path)
}

/// A session's id as a segment of a path: what a client chose may hold slashes and question marks.
fn in_path(id: &SessionId) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let encoded = |byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") };
    id.as_str().bytes().map(encoded).collect()
}

/// The agent that a filter means, by its id, which may be gone by now, or its name. None: there is none of that name.
pub(super) async fn filtered(state: &ApiState, tenant: &TenantId, agent: &str) -> Result<Option<AgentId>, ApiError> {
    if let Ok(id) = agent.parse() {
        return Ok(Some(id));
    }
    match state.0.agents.get(tenant, agent).await {
        Ok(agent) => Ok(Some(agent.id)),
        Err(AgentError::NotFound) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// The sessions
///
/// Those first that were made last. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/sessions", operation_id = "listSessions", tag = "Native",
    params(
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("cursor" = Option<u64>, Query, nullable = false, description = "The `next` of the page before."),
        ("agentId" = Option<String>, Query, nullable = false, description = "Only those with this agent, by its id or name."),
    ),
    responses((status = 200, description = "A page of them.", body = List<Session>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<List<Session>>, NativeError> {
    caller.needs(Scope::Runs)?;
    let asked = Parameters::of(&uri, &["limit", "cursor", "agentId"])?;
    let (limit, cursor) = (asked.limit()?, asked.cursor()?);
    let agent = match asked.text("agentId") {
        None => None,
        Some(agent) => match filtered(&state, &caller.tenant, agent).await? {
            Some(agent) => Some(agent),
            None => return Ok(Json(List::whole(Vec::new()))),
        },
    };
    let start = cursor.map_or(SessionStart::Newest, SessionStart::Cursor);
    let page = state.0.runs.sessions(&caller.tenant, SessionFilter { agent, start, limit }).await?;
    Ok(Json(List::new(page.items, page.next)))
}

/// One session
///
/// `messages` is how many it holds. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/sessions/{session}", operation_id = "getSession", tag = "Native",
    params(("session" = String, Path, description = "The session's id.")),
    responses((status = 200, description = "The session.", body = Session))
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(session): Segment<String>,
) -> Result<Json<Session>, NativeError> {
    caller.needs(Scope::Runs)?;
    Ok(Json(state.0.runs.session(&caller.tenant, &session_id(&session)?).await?))
}

/// A null that is there is something else than nothing.
fn nullable<'de, D: Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    Option::deserialize(value)
}

/// A session's new title.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"title": "Order 1234"}))]
struct Renaming {
    /// 1 to 200 characters; null: it has none.
    #[serde(deserialize_with = "nullable")]
    #[schema(
        required = true,
        min_length = 1,
        max_length = 200,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    title: Option<String>,
}

/// Rename a session
///
/// Needs the scope `runs`.
#[utoipa::path(
    patch, path = "/v1/sessions/{session}", operation_id = "renameSession", tag = "Native",
    params(("session" = String, Path, description = "The session's id.")),
    request_body = Renaming,
    responses((status = 200, description = "The session as it is now.", body = Session))
)]
pub(super) async fn rename(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(session): Segment<String>,
    request: Request,
) -> Result<Json<Session>, NativeError> {
    caller.needs(Scope::Runs)?;
    let (head, body) = request.into_parts();
    let Renaming { title } = json_of(&json_bytes(&state, &head.headers, body).await?)?;
    let session = session_id(&session)?;
    Ok(Json(state.0.runs.rename_session(&caller.tenant, &session, title.as_deref()).await?))
}

/// Delete a session
///
/// Its runs are ended first; then its messages with their files, its runs and their events are gone. Needs the scope `runs`.
#[utoipa::path(
    delete, path = "/v1/sessions/{session}", operation_id = "deleteSession", tag = "Native",
    params(("session" = String, Path, description = "The session's id.")),
    responses(
        (status = 204, description = "It is deleted."),
        (status = 409, description = "A run of it does not end; try again."),
    )
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(session): Segment<String>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::Runs)?;
    state.0.runs.delete_session(&caller.tenant, &session_id(&session)?, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Who speaks.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Role {
    /// Instructions.
    System,
    /// The client.
    User,
    /// The model.
    Assistant,
    /// A tool, in answer to a call.
    Tool,
}

/// The call that a tool's message answers.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answered {
    /// The call, as the model's message names it.
    pub(super) call_id: String,
    /// The tool.
    pub(super) name: String,
    /// The call failed.
    pub(super) is_error: bool,
}

/// A file that came with a message.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct FileJson {
    /// As the client named it.
    pub(super) file_name: String,
    /// The type that it came as.
    pub(super) media_type: String,
    /// What it is to a model.
    pub(super) kind: AttachmentKind,
    /// The length of what is kept: the extracted text or the image.
    pub(super) length_bytes: u64,
}

/// One message of a conversation.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = ConversationMessage)]
pub(super) struct MessageJson {
    /// Its number: from 0, without gaps.
    pub(super) number: u64,
    /// Who speaks.
    pub(super) role: Role,
    /// The text; of a tool's message, its output or its error.
    pub(super) text: String,
    /// The tools that the model asks for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) tool_calls: Vec<ToolCall>,
    /// The call that a tool's message answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(super) answers: Option<Answered>,
    /// The files that came with it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) attachments: Vec<FileJson>,
    /// The run that added it.
    pub(super) run_id: RunId,
    /// When.
    pub(super) at: Timestamp,
}

impl MessageJson {
    pub(super) fn new(number: u64, kept: SessionMessage) -> Self {
        let text = kept.message.text();
        let (role, tool_calls, answers) = match kept.message {
            Message::System { .. } => (Role::System, Vec::new(), None),
            Message::User { .. } => (Role::User, Vec::new(), None),
            Message::Assistant(message) => (Role::Assistant, message.tool_calls, None),
            Message::Tool(message) => {
                let answered = Answered { call_id: message.call_id, name: message.name, is_error: message.is_error };
                (Role::Tool, Vec::new(), Some(answered))
            }
        };
        let attachments = kept.attachments.into_iter().map(|file| FileJson {
            file_name: file.file_name,
            media_type: file.media_type,
            kind: file.kind,
            length_bytes: file.length_bytes,
        });
        let attachments = attachments.collect();
        Self { number, role, text, tool_calls, answers, attachments, run_id: kept.run_id, at: kept.at }
    }
}

/// Which messages a page may hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: u64,
    end: u64,
    /// Where the messages end that were asked for.
    stop: u64,
    forwards: bool,
}

impl Span {
    /// Of `total` messages: forwards from `after`, or, with `before` alone, backwards from there.
    fn new(total: u64, after: Option<u64>, before: Option<u64>, limit: usize) -> Self {
        let stop = before.unwrap_or(total).min(total);
        let most = u64::try_from(limit).unwrap_or(u64::MAX);
        let forwards = after.is_some() || before.is_none();
        let first = match after {
            Some(after) => after.saturating_add(1).min(stop),
            None if forwards => 0,
            None => stop.saturating_sub(most),
        };
        Self { first, end: stop.min(first.saturating_add(most)), stop, forwards }
    }

    /// The part of it that is to be read after these messages: those next to them.
    fn piece(self, shown: &Range<u64>) -> Range<u64> {
        match self.forwards {
            true => shown.end..self.end.min(shown.end.saturating_add(PIECE as u64)),
            false => self.first.max(shown.start.saturating_sub(PIECE as u64))..shown.start,
        }
    }

    /// Nothing, where the page begins to be read.
    fn nothing(self) -> Range<u64> {
        let at = if self.forwards { self.first } else { self.end };
        at..at
    }

    /// Where the page after these messages begins.
    fn next(self, shown: &Range<u64>) -> Option<u64> {
        match self.forwards {
            true => (!shown.is_empty() && shown.end < self.stop).then(|| shown.end - 1),
            false => (shown.start > 0).then_some(shown.start),
        }
    }
}

/// The messages of a span and their numbers: fewer where their texts are long.
async fn read_span(
    state: &ApiState,
    tenant: &TenantId,
    session: &SessionId,
    span: Span,
) -> Result<(Range<u64>, Vec<SessionMessage>), SessionError> {
    let (mut shown, mut messages, mut bytes) = (span.nothing(), Vec::new(), 0);
    while bytes < MAX_PAGE_BYTES {
        let piece = span.piece(&shown);
        let count = usize::try_from(piece.end.saturating_sub(piece.start)).unwrap_or_default();
        if count == 0 {
            break;
        }
        let mut read = state.0.runs.messages(tenant, session, piece.start, count).await?;
        bytes += read.iter().map(|kept| kept.message.text().len()).sum::<usize>();
        if span.forwards {
            messages.append(&mut read);
        } else {
            read.append(&mut messages);
            messages = read;
        }
        shown = shown.start.min(piece.start)..shown.end.max(piece.end);
    }
    Ok((shown, messages))
}

/// A session's messages
///
/// Oldest first. `next` is the `after` of the page that follows; of a page that was asked for with `before` alone, the
/// `before` of the page that stands in front of it. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/messages", operation_id = "listMessages", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("after" = Option<u64>, Query, nullable = false, description = "Only messages with larger numbers."),
        ("before" = Option<u64>, Query, nullable = false, description = "Only messages with smaller numbers; without `after`, the last of them."),
    ),
    responses((status = 200, description = "A page of them.", body = List<MessageJson>))
)]
pub(super) async fn messages(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(session): Segment<String>,
    uri: Uri,
) -> Result<Json<List<MessageJson>>, NativeError> {
    const MUST: &str = "must be the number of a message, from 0 on";
    caller.needs(Scope::Runs)?;
    let asked = Parameters::of(&uri, &["limit", "after", "before"])?;
    let (limit, after, before) = (asked.limit()?, asked.parsed("after", MUST)?, asked.parsed("before", MUST)?);
    let id = session_id(&session)?;
    let session = state.0.runs.session(&caller.tenant, &id).await?;
    let span = Span::new(session.messages, after, before, limit);
    let (shown, messages) = read_span(&state, &caller.tenant, &id, span).await?;
    let next = span.next(&shown);
    let messages = shown.zip(messages).map(|(number, message)| MessageJson::new(number, message)).collect();
    Ok(Json(List::new(messages, next)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What a page shows, and the next of it: in one piece, as long as nothing is long.
    fn page(total: u64, after: Option<u64>, before: Option<u64>, limit: usize) -> (Range<u64>, Option<u64>) {
        let span = Span::new(total, after, before, limit);
        let mut shown = span.nothing();
        loop {
            let piece = span.piece(&shown);
            if piece.is_empty() {
                return (shown.clone(), span.next(&shown));
            }
            shown = shown.start.min(piece.start)..shown.end.max(piece.end);
        }
    }

    #[test]
    fn a_page_of_messages_goes_on_where_the_one_before_ended() {
        assert_eq!(page(10, None, None, 4), (0..4, Some(3)));
        assert_eq!(page(10, Some(3), None, 4), (4..8, Some(7)));
        assert_eq!(page(10, Some(7), None, 4), (8..10, None));
        assert_eq!(page(10, None, Some(10), 4), (6..10, Some(6)));
        assert_eq!(page(10, None, Some(2), 4), (0..2, None));
        assert_eq!(page(10, Some(2), Some(5), 4), (3..5, None));
        assert_eq!(page(100, None, Some(90), 80), (10..90, Some(10)));
        assert!(page(10, Some(u64::MAX), None, 4).0.is_empty());
        assert!(page(10, Some(7), Some(3), 4).0.is_empty());
        assert!(page(10, None, Some(0), 4).0.is_empty());
        // A page that ends early says so.
        let forwards = Span::new(10, None, None, 8);
        assert_eq!(forwards.next(&(0..3)), Some(2));
        assert_eq!(Span::new(10, None, Some(9), 8).next(&(4..9)), Some(4));
    }

    #[test]
    fn an_id_that_a_client_chose_can_stand_in_a_path() {
        assert_eq!(in_path(&"a/b?c%~1".parse().unwrap()), "a%2Fb%3Fc%25~1");
    }

    proptest! {
        #[test]
        fn paging_forwards_or_backwards_shows_every_message_once(total in 0_u64..120, limit in 1_usize..70) {
            let (mut seen, mut after) = (Vec::new(), None);
            loop {
                let (shown, next) = page(total, after, None, limit);
                seen.extend(shown);
                let Some(next) = next else { break };
                after = Some(next);
            }
            prop_assert_eq!(&seen, &(0..total).collect::<Vec<_>>());
            let (mut pages, mut before) = (Vec::new(), Some(total));
            loop {
                let (shown, next) = page(total, None, before, limit);
                pages.push(shown.collect::<Vec<_>>());
                let Some(next) = next else { break };
                before = Some(next);
            }
            pages.reverse();
            prop_assert_eq!(pages.concat(), seen);
        }
    }
}
