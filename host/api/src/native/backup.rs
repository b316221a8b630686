//! `GET /v1/admin/backup`: everything that all tenants have, as one file, while the host goes on.

use axum::extract::State;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use vivarium_domain::Scope;
use vivarium_store::StoreError;

use super::NativeError;
use crate::ApiState;
use crate::download;
use crate::error::{ApiError, Kind};
use crate::gate::{By, CallerExt};

/// Make a backup
///
/// A tar of everything that all tenants have, as it is at one moment while it is sent: records, texts and files, sessions' files.
/// It ends with a manifest and its sum; a download without them is none. The key of the secrets is not in it. One is made at
/// a time. Needs the scope `admin`. `vivarium backup` asks for it, checks it and keeps it; `vivarium restore` puts it back.
#[utoipa::path(
    get, path = "/v1/admin/backup", operation_id = "makeBackup", tag = "Native",
    responses(
        (status = 200, description = "The backup.", content((super::schemas::Tar = "application/x-tar")),
         headers(("Content-Disposition" = String, description = "It is a file to be kept."))),
        (status = 409, description = "Another one is being made."),
    )
)]
pub(super) async fn make(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
) -> Result<Response, NativeError> {
    caller.needs(Scope::Admin)?;
    let backup = (state.0.backups)(by).await.map_err(|error| match error {
        StoreError::Refused(reason) => ApiError::new(Kind::Conflict, reason),
        error => error.into(),
    })?;
    let mut response = Response::new(download::body(backup, &caller));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-tar"));
    let name = HeaderValue::from_static("attachment; filename=\"vivarium-backup.tar\"");
    response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    Ok(response)
}
