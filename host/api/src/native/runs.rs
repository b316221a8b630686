//! `GET /v1/runs/{id}` and `POST /v1/runs/{id}/cancel`. Another tenant's run and no run are the same 404.

use axum::Json;
use axum::extract::{Path, State};
use vivarium_domain::Run;

use super::{NativeError, run_id};
use crate::ApiState;
use crate::auth::Caller;
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;

async fn find(state: &ApiState, caller: &Caller, id: &str) -> Result<Run, ApiError> {
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
