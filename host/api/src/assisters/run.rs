//! `POST /v1/agent/run`: one run, answered when it has ended.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use vivarium_runs::{RunRequest, Started};

use super::AssistersError;
use super::answer::{Answer, RunIds};
use super::ask::{Ask, Question};
use crate::ApiState;
use crate::attend::{self, Attended, Completed, attend};
use crate::auth::Caller;
use crate::body::json_bytes;
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::idempotency::{IdempotencyKey, Once};

/// Run an agent
///
/// Takes a question, starts its run, and answers with what the run came to. Who leaves does not stop the run; who comes back
/// with the same `Idempotency-Key` and body gets it. Needs the max tier and the scope `runs`.
#[utoipa::path(
    post, path = "/v1/agent/run", operation_id = "runAgent", tag = "Assisters",
    params(IdempotencyKey),
    request_body(content = Question, example = json!({
        "query": "Summarize the latest advances in retrieval-augmented generation.", "mode": "research", "maxCycles": 5
    })),
    responses(
        (status = 200, description = "The run has ended with an answer.", body = Answer<'_>),
        (status = 409, description = "The run was cancelled."),
        (status = 429, description = "The key's requests or tokens are used up, or the tenant's places are all taken."),
    )
)]
pub(super) async fn run(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    request: Request,
) -> Result<Response, AssistersError> {
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let start = async { start(&state, &caller, Ask::from_body(&body)?.into_request(once.of_run())).await };
    let started = once.or(start).await?;
    let run = attend(&state, &caller, started.run_id).await?;
    let ids = RunIds::from(started);
    Ok(answer(&state, &ids, run).await.map_err(|error| error.of_run(ids.run))?)
}

/// Starts a run, if the caller may.
pub(super) async fn start(state: &ApiState, caller: &Arc<Caller>, request: RunRequest) -> Result<Started, ApiError> {
    caller.limits.take_request()?;
    Ok(attend::start(state, caller, request).await?)
}

/// Reads the run's log to its end.
async fn answer(state: &ApiState, ids: &RunIds, run: Attended) -> Result<Response, ApiError> {
    let mut log = Vec::new();
    let Completed { outcome, paid, .. } = run.completed(state, |logged| log.push(logged)).await?;
    Ok(Json(Answer::whole(ids, &log, &outcome, paid)).into_response())
}
