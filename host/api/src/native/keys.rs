//! `DELETE /v1/keys/{id}`: revokes a key of this tenant, and ends the streams that it opened.

use axum::extract::State;
use axum::http::StatusCode;
use vivarium_domain::{KeyId, Scope};

use super::NativeError;
use crate::ApiState;
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::segment::Segment;

/// Revoke a key
///
/// From then on it is refused, and the streams that it opened end. 404 if this tenant has no such key, or it was revoked
/// before. Needs the scope `admin`.
#[utoipa::path(
    delete, path = "/v1/keys/{id}", operation_id = "revokeKey", tag = "Native",
    params(("id" = KeyId, Path, description = "The key's public id.")),
    responses((status = 204, description = "It is revoked."))
)]
pub(super) async fn revoke(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::Admin)?;
    let not_found = || ApiError::new(Kind::NotFound, "there is no such key");
    let id: KeyId = id.parse().map_err(|_| not_found())?;
    match state.0.auth.revoke(&caller.tenant, id).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(not_found().into()),
    }
}
