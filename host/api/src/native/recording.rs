//! `GET /v1/runs/{id}/recording`: all that a run was told and answered, to run its mode again elsewhere. It is read and sent piece
//! by piece, so that a long one takes no more memory than a short one.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures::stream;
use vivarium_domain::{RunId, Scope};

use super::{NativeError, run_id};
use crate::ApiState;
use crate::download;
use crate::gate::CallerExt;
use crate::segment::Segment;

/// A run's recording
///
/// Its record, its log, what its mode was told before its input, the tools that it was offered, the texts that its tools have read,
/// and its component: `vivarium replay` runs the mode again with it, offline. A component that the operator shares is there for a
/// key of the scope `admin` alone; this tenant's own, and those that came with the host, always are. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/runs/{id}/recording", operation_id = "getRunRecording", tag = "Native",
    params(("id" = RunId, Path, description = "The run's id.")),
    responses(
        (status = 200, description = "The recording, as far as the run has come.", body = super::schemas::RunRecording),
        (status = 409, description = "It can not be replayed: its mode was not started, or what it was told is not there any more."),
        (status = 410, description = "The host keeps logs for a time only, and this one was removed."),
    )
)]
pub(super) async fn recording(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
) -> Result<Response, NativeError> {
    caller.needs(Scope::Runs)?;
    let recorder = state.0.runs.recorder(&caller.tenant, run_id(&id)?).await?;
    let registry = &state.0.registry;
    let component = registry.component_for(&caller.tenant, recorder.plugin(), caller.may(Scope::Admin)).await?;
    let pieces = stream::try_unfold(recorder.with_component(component), async |mut recorder| {
        let piece = recorder.piece().await.inspect_err(|error| tracing::warn!(%error, "a recording broke off"))?;
        Ok::<_, vivarium_store::StoreError>(piece.map(|piece| (piece, recorder)))
    });
    let mut response = Response::new(download::body(pieces, &caller));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(response)
}
