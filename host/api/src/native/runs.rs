//! `GET /v1/runs/{id}`, `POST /v1/runs/{id}/cancel` and `/approve`. Another tenant's run and no run are the same 404.

use axum::Json;
use axum::extract::{Path, Request, State};
use serde::Deserialize;
use vivarium_domain::{Run, Scope};
use vivarium_runs::Decision;

use super::{NativeError, run_id};
use crate::ApiState;
use crate::auth::Caller;
use crate::body::{json_bytes, json_of};
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;

/// The longest reason that is kept of a decision.
const MAX_REASON_CHARS: usize = 2_000;

async fn find(state: &ApiState, caller: &Caller, id: &str) -> Result<Run, ApiError> {
    caller.needs(Scope::Runs)?;
    state.0.runs.get(&caller.tenant, run_id(id)?).await?.ok_or_else(ApiError::run_not_found)
}

/// One run's record.
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(id): Path<String>,
) -> Result<Json<Run>, NativeError> {
    Ok(Json(find(&state, &caller, &id).await?))
}

/// Ends a run and gives its record. 409 if it had ended.
pub(super) async fn cancel(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(id): Path<String>,
) -> Result<Json<Run>, NativeError> {
    let run = find(&state, &caller, &id).await?;
    if !state.0.runs.cancel(&caller.tenant, run.id, "a client asked for it") {
        let message = "the run has ended; there is nothing to cancel";
        return Err(ApiError::new(Kind::RunHasEnded, message).into());
    }
    Ok(Json(find(&state, &caller, &id).await?))
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Approve,
    Reject,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Approval {
    call_id: String,
    decision: Verdict,
    reason: Option<String>,
}

/// Decides about a tool call that waits for a person, and gives the run's record. 409 if no such call waits.
pub(super) async fn approve(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(id): Path<String>,
    request: Request,
) -> Result<Json<Run>, NativeError> {
    caller.needs(Scope::Runs)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let Approval { call_id, decision, reason } = json_of(&body)?;
    let reason = reason.map(|reason| reason.chars().take(MAX_REASON_CHARS).collect());
    let run = find(&state, &caller, &id).await?;
    let decision = Decision { approved: matches!(decision, Verdict::Approve), reason };
    match state.0.runs.decide(&caller.tenant, run.id, &call_id, decision) {
        Some(true) => Ok(Json(find(&state, &caller, &id).await?)),
        Some(false) => {
            let message = "no call of this id waits for approval in this run";
            Err(ApiError::new(Kind::NotWaiting, message).about("callId").into())
        }
        None => Err(ApiError::new(Kind::RunHasEnded, "the run has ended; nothing waits in it").into()),
    }
}
