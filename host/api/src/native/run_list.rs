//! `GET /v1/runs`: the runs of a tenant, in brief. A list must stay small however long the questions and answers are, so what
//! can be long is cut or left out; each run's own page has it whole.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Deserialize as _;
use serde::Serialize;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error, StrDeserializer};
use utoipa::ToSchema;
use vivarium_domain::{
    AgentRef, ModelName, Money, Run, RunFailure, RunId, RunStatus, Scope, SessionId, Timestamp, Usage,
};
use vivarium_store::{Page, RunFilter};

use super::NativeError;
use super::list::{List, PIECE, Parameters};
use super::sessions::filtered;
use crate::ApiState;
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::paging::in_pieces;

/// Of an input, what a list shows.
const SHOWN_INPUT_CHARS: usize = 200;

/// A run, as a list shows it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct RunInBrief {
    /// Its id.
    id: RunId,
    /// Where it is.
    status: RunStatus,
    /// The mode's name.
    mode: String,
    /// The model that answers.
    model: ModelName,
    /// The conversation that it belongs to.
    session_id: SessionId,
    /// It leaves nothing in any session.
    stateless: bool,
    /// The agent that it is a run of, and in which version.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    agent: Option<AgentRef>,
    /// What the client asked for: of a long text the first 200 characters and `…`.
    input: String,
    /// When it was accepted.
    created_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    ended_at: Option<Timestamp>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    failure: Option<RunFailure>,
    /// Tokens of all its model calls.
    usage: Usage,
    /// What these tokens cost, in US dollars; nothing for models without a price.
    cost: Money,
    /// The number of its last event.
    last_seq: u64,
}

impl From<Run> for RunInBrief {
    fn from(run: Run) -> Self {
        Self {
            id: run.id,
            status: run.status,
            mode: run.mode,
            model: run.model,
            session_id: run.session_id,
            stateless: run.stateless,
            agent: run.agent,
            input: beginning(&run.input),
            created_at: run.created_at,
            ended_at: run.ended_at,
            failure: run.failure,
            usage: run.usage,
            cost: run.cost,
            last_seq: run.last_seq,
        }
    }
}

fn beginning(text: &str) -> String {
    match text.char_indices().nth(SHOWN_INPUT_CHARS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

fn status(text: &str) -> Result<RunStatus, ApiError> {
    let name: StrDeserializer<'_, Error> = text.into_deserializer();
    RunStatus::deserialize(name).map_err(|_| {
        ApiError::invalid("status", "must be one of queued, running, waiting, completed, failed, cancelled")
    })
}

fn time(asked: &Parameters, name: &'static str) -> Result<Option<Timestamp>, ApiError> {
    asked.parsed(name, "must be a time in ISO 8601, such as 2026-11-22T00:00:00Z")
}

/// The runs
///
/// Newest first and in brief: without their settings and outcomes. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/runs", operation_id = "listRuns", tag = "Native",
    params(
        ("status" = Option<RunStatus>, Query, nullable = false, description = "Only those that are there."),
        ("sessionId" = Option<SessionId>, Query, nullable = false, description = "Only those of this session."),
        ("agentId" = Option<String>, Query, nullable = false, description = "Only those of this agent, by its id or name."),
        ("createdAfter" = Option<Timestamp>, Query, nullable = false, description = "Only those accepted at this time or later."),
        ("createdBefore" = Option<Timestamp>, Query, nullable = false, description = "Only those accepted before this time."),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("cursor" = Option<RunId>, Query, nullable = false, description = "The `next` of the page before."),
    ),
    responses((status = 200, description = "A page of them.", body = List<RunInBrief>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<List<RunInBrief>>, NativeError> {
    caller.needs(Scope::Runs)?;
    let known = ["status", "sessionId", "agentId", "createdAfter", "createdBefore", "limit", "cursor"];
    let asked = Parameters::of(&uri, &known)?;
    let (limit, before) = (asked.limit()?, asked.cursor()?);
    let status = asked.text("status").map(status).transpose()?;
    let session = asked.parsed("sessionId", "must be 1 to 128 visible ASCII characters")?;
    let (created_from, created_before) = (time(&asked, "createdAfter")?, time(&asked, "createdBefore")?);
    let agent = match asked.text("agentId") {
        None => None,
        Some(agent) => match filtered(&state, &caller.tenant, agent).await? {
            Some(agent) => Some(agent),
            None => return Ok(Json(List::whole(Vec::new()))),
        },
    };
    let read = async |before, limit| {
        let filter = RunFilter { status, session: session.clone(), agent, created_from, created_before, before, limit };
        let page = state.0.runs.list(&caller.tenant, filter).await?;
        // What a list does not show is let go piece by piece.
        Ok::<_, ApiError>(Page { items: page.items.into_iter().map(RunInBrief::from).collect(), next: page.next })
    };
    let page = in_pieces(before, limit, PIECE, |_: &RunInBrief| 0, read).await?;
    Ok(Json(List::new(page.items, page.next)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_input_is_cut_between_characters() {
        assert_eq!(beginning("short"), "short");
        assert_eq!(beginning(&"ü".repeat(300)), format!("{}…", "ü".repeat(SHOWN_INPUT_CHARS)));
        assert_eq!(status("waiting").unwrap(), RunStatus::Waiting);
        assert!(status("Waiting").is_err());
    }
}
