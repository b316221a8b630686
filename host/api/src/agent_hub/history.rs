//! `GET /api/sessions/:sessionId/messages`: what was said, the oldest first, page by page from the end.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use axum::response::{IntoResponse as _, Response};
use vivarium_domain::{Run, SessionId, SessionMessage, TenantId};

use super::AgentHubError;
use super::assistants::{PIECE, linked};
use super::message::Message;
use super::message_id;
use super::params::Params;
use super::sessions::found;
use crate::ApiState;
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::paging::MAX_PAGE_BYTES;
use crate::segment::Segment;

/// A client that knows nothing of pages has a whole conversation, unless it is a very long one.
const MAX_PAGE: u64 = 1_000;

/// The last messages before number `end`, and the number of the first of them. Read in pieces, from the end: the page ends
/// early where its texts are long.
async fn page(
    state: &ApiState,
    tenant: &TenantId,
    session: &SessionId,
    end: u64,
    limit: u64,
) -> Result<(u64, Vec<SessionMessage>), ApiError> {
    let least = end.saturating_sub(limit);
    let (mut first, mut bytes) = (end, 0);
    let mut pieces = Vec::new();
    while first > least && bytes < MAX_PAGE_BYTES {
        let from = first.saturating_sub(PIECE as u64).max(least);
        let count = usize::try_from(first - from).unwrap_or_default();
        let piece = state.0.runs.messages(tenant, session, from, count).await?;
        bytes += piece.iter().map(|stored| stored.message.text().len()).sum::<usize>();
        pieces.push(piece);
        first = from;
    }
    Ok((first, pieces.into_iter().rev().flatten().collect()))
}

/// What was said in a conversation
///
/// The last `limit` messages, the oldest of them first; with `before`, the last ones before that message. Where there are
/// older ones, the `Link` header has their page's address; a page also ends after 4 MiB of texts. Needs the scope `runs`.
#[utoipa::path(
    get,
    path = "/api/sessions/{sessionId}/messages",
    operation_id = "hubListMessages",
    tag = "Agent hub",
    params(
        ("sessionId" = String, Path, description = "the session's id"),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 1000, description = "at most so many; without it, 1000"),
        ("before" = Option<String>, Query, nullable = false, pattern = "^msg_[0-9]+_[0-9a-z]{9}$", description = "the id of a message of this session"),
    ),
    responses(
        (
            status = 200,
            description = "The messages",
            body = Vec<Message>,
            headers(("Link" = String, description = "where there are older ones: `<…>; rel=\"prev\"`")),
        ),
    )
)]
pub(super) async fn messages(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Response, AgentHubError> {
    let params = Params::read(uri.query(), &["limit", "before"])?;
    let limit = params.number("limit", 1..=MAX_PAGE, MAX_PAGE)?;
    let session = found(&state, &caller.tenant, &id).await?;
    let end = match params.text("before") {
        None => session.messages,
        Some(before) => message_id::number(&session.id, before)
            .filter(|number| *number < session.messages)
            .ok_or_else(|| ApiError::invalid("before", "must be the id of a message of this session"))?,
    };
    let (first, page) = page(&state, &caller.tenant, &session.id, end, limit).await?;
    let older = page.first().filter(|_| first > 0);
    let link = older.map(|oldest| {
        let before = message_id::of_session(&session.id, first, oldest.at);
        format!("<{}?limit={limit}&before={before}>; rel=\"prev\"", uri.path())
    });
    let mut shown = Vec::with_capacity(page.len());
    // The messages of a run stand together.
    let mut run: Option<Run> = None;
    for (number, stored) in (first..).zip(page) {
        if run.as_ref().is_none_or(|run| run.id != stored.run_id) {
            run = state.0.runs.get(&caller.tenant, stored.run_id).await?;
        }
        shown.push(Message::stored(&session.id, number, stored, run.as_ref(), session.agent_id));
    }
    Ok(linked(link, Json(shown).into_response()))
}
