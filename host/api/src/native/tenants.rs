//! `DELETE /v1/admin/tenants/{id}`: a tenant goes, with all that is its own.

use axum::extract::State;
use axum::http::StatusCode;
use vivarium_domain::{Scope, TenantId};

use super::NativeError;
use crate::ApiState;
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::segment::Segment;

/// Delete a tenant
///
/// With all that is its own: keys, agents, sessions, runs, plugins, secrets, documents, files. Its runs are cancelled first,
/// then its keys are refused and the streams that they opened end, and then the rest goes; the answer comes when nothing is left,
/// and who leaves does not stop it. A tenant can not be deleted with a key of its own. Needs the scope `admin`.
#[utoipa::path(
    delete, path = "/v1/admin/tenants/{id}", operation_id = "deleteTenant", tag = "Native",
    params(("id" = inline(TenantId), Path, description = "The tenant's id.")),
    responses(
        (status = 204, description = "Nothing of it is left."),
        (status = 409, description = "The key is one of this tenant's own."),
    )
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::Admin)?;
    let id: TenantId = id.parse().map_err(|_| ApiError::new(Kind::NotFound, "there is no such tenant"))?;
    if id == caller.tenant {
        let message = format!(
            "the tenant {id} can not be deleted with a key of its own: use an admin key of another tenant, or \
             `vivarium tenant delete {id}` on the data folder"
        );
        return Err(ApiError::new(Kind::Conflict, message).into());
    }
    // A task of its own: half a tenant is nothing that anybody wants.
    let deleting = tokio::spawn(async move {
        let closed = state.0.runs.close_tenant(&id).await?;
        state.0.auth.forget_tenant(&id);
        closed.delete().await?;
        // Who asked the store just before it was closed may have been remembered after it.
        state.0.auth.forget_tenant(&id);
        tracing::info!(tenant = %id, by = %caller.key, "a tenant was deleted");
        Ok::<_, ApiError>(StatusCode::NO_CONTENT)
    });
    Ok(deleting.await.map_err(|_| ApiError::internal())??)
}
