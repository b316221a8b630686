//! `GET` and `DELETE /v1/runs/{id}`, `POST /v1/runs/{id}/cancel` and `/approve`. Another tenant's run and no run are the same 404.

use std::time::Duration;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::ToSchema;
use vivarium_domain::{Run, RunId, Scope};
use vivarium_runs::{Cancelled, Cursor, Decided, Decision};

use super::list::Parameters;
use super::{NativeError, run_id};
use crate::ApiState;
use crate::attend::Attended;
use crate::auth::Caller;
use crate::body::{json_bytes, json_of};
use crate::error::{ApiError, Kind};
use crate::gate::{By, CallerExt};
use crate::segment::Segment;

/// The longest time that an answer waits for a run's end.
const MAX_WAIT_SECONDS: u64 = 60;

/// The longest reason that is kept of a decision.
const MAX_REASON_CHARS: usize = 2_000;

async fn find(state: &ApiState, caller: &Caller, id: &str) -> Result<Run, ApiError> {
    caller.needs(Scope::Runs)?;
    state.0.runs.get(&caller.tenant, run_id(id)?).await?.ok_or_else(ApiError::run_not_found)
}

/// One run
///
/// Its record: where it is, and once it has ended, what it came to. Its story is in its events. With `wait`, the answer comes
/// when the run has ended, or as it is after so many seconds. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/runs/{id}", operation_id = "getRun", tag = "Native",
    params(
        ("id" = RunId, Path, description = "The run's id."),
        ("wait" = Option<u32>, Query, nullable = false, minimum = 0, maximum = 60, description = "For how many seconds to wait for the run's end; without it, not at all."),
    ),
    responses((status = 200, description = "The run.", body = Run))
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Json<Run>, NativeError> {
    caller.needs(Scope::Runs)?;
    let wait = wait(&uri)?;
    let run = find(&state, &caller, &id).await?;
    if wait.is_zero() || run.status.is_terminal() {
        return Ok(Json(run));
    }
    let followed = state.0.runs.follow(&caller.tenant, run.id, Cursor::after(run.last_seq)).await?;
    let mut attended = Attended::new(followed.ok_or_else(ApiError::run_not_found)?, &caller);
    let ended = async {
        while attended.next_event(&state).await?.is_some() {}
        Ok::<_, ApiError>(())
    };
    tokio::time::timeout(wait, ended).await.unwrap_or(Ok(()))?;
    Ok(Json(find(&state, &caller, &id).await?))
}

/// How long the answer may wait for the run's end.
fn wait(uri: &Uri) -> Result<Duration, ApiError> {
    let must = format!("must be an integer from 0 to {MAX_WAIT_SECONDS}");
    let seconds = Parameters::of(uri, &["wait"])?.parsed("wait", &must)?.unwrap_or(0);
    if seconds <= MAX_WAIT_SECONDS { Ok(Duration::from_secs(seconds)) } else { Err(ApiError::invalid("wait", must)) }
}

/// Delete a run
///
/// One that has ended, with its log, its delivery, and the texts of its sources that no other run has read. What was said in it stays in
/// its session. Needs the scope `runs`.
#[utoipa::path(
    delete, path = "/v1/runs/{id}", operation_id = "deleteRun", tag = "Native",
    params(("id" = RunId, Path, description = "The run's id.")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 409, description = "It has not ended: cancel it first."),
    )
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(id): Segment<String>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::Runs)?;
    state.0.runs.delete_run(&caller.tenant, run_id(&id)?, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Cancel a run
///
/// Gives its record. Needs the scope `runs`.
#[utoipa::path(
    post, path = "/v1/runs/{id}/cancel", operation_id = "cancelRun", tag = "Native",
    params(("id" = RunId, Path, description = "The run's id.")),
    responses(
        (status = 200, description = "It has ended, or does within moments: its record.", body = Run),
        (status = 409, description = "It had ended."),
    )
)]
pub(super) async fn cancel(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
) -> Result<Json<Run>, NativeError> {
    let run = find(&state, &caller, &id).await?;
    if state.0.runs.cancel(&caller.tenant, run.id, "a client asked for it").await == Cancelled::NoRun {
        let message = "the run has ended; there is nothing to cancel";
        return Err(ApiError::new(Kind::RunHasEnded, message).into());
    }
    Ok(Json(find(&state, &caller, &id).await?))
}

/// What a person has decided.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    /// The call may be made.
    Approve,
    /// It may not.
    Reject,
}

/// A decision about a tool call.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(as = Decision)]
struct Approval {
    /// The call, as the event `approval.requested` names it.
    call_id: String,
    /// What is decided.
    decision: Verdict,
    /// Why; the model is told. Of what is longer than 2,000 characters, the beginning is kept.
    reason: Option<String>,
}

/// Decide about a tool call
///
/// A call of a tool whose approval mode is `ask` waits for a person. Gives the run's record. Needs the scope `runs`.
#[utoipa::path(
    post, path = "/v1/runs/{id}/approve", operation_id = "decideToolCall", tag = "Native",
    params(("id" = RunId, Path, description = "The run's id.")),
    request_body(content = Approval, example = json!({"callId": "call_1", "decision": "approve"})),
    responses(
        (status = 200, description = "Decided: the run's record.", body = Run),
        (status = 409, description = "No such call waits in this run, or the run has ended."),
    )
)]
pub(super) async fn approve(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(id): Segment<String>,
    request: Request,
) -> Result<Json<Run>, NativeError> {
    caller.needs(Scope::Runs)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let Approval { call_id, decision, reason } = json_of(&body)?;
    let reason = reason.map(|reason| reason.chars().take(MAX_REASON_CHARS).collect());
    let run = find(&state, &caller, &id).await?;
    let decision = Decision { approved: matches!(decision, Verdict::Approve), reason };
    match state.0.runs.decide(&caller.tenant, run.id, &call_id, decision, &by).await? {
        Decided::Taken => Ok(Json(find(&state, &caller, &id).await?)),
        Decided::NotWaiting => {
            let message = "no call of this id waits for approval in this run";
            Err(ApiError::new(Kind::NotWaiting, message).about("callId").into())
        }
        Decided::NoRun => Err(ApiError::new(Kind::RunHasEnded, "the run has ended; nothing waits in it").into()),
    }
}
