//! `/v1/sessions/{session}/workspace`: all files of a session as one archive, out and in.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::{IntoResponse as _, Response};
use futures::StreamExt as _;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use vivarium_workspaces::{ArchiveFormat, Existing, FileQuota};

use super::NativeError;
use super::list::Parameters;
use super::session_files::{pieces, quota, received, session_of, workspaces};
use crate::ApiState;
use crate::download;
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::segment::Segment;

/// What an archive takes besides its files' contents, for each of them: a tar's header and its padding, twice for a long name.
const ENTRY_BYTES: u64 = 4 << 10;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(get, put))
}

/// What a session's workspace holds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct WorkspaceSize {
    /// Files and folders.
    entries: u64,
    /// The lengths of all files together.
    bytes: u64,
}

impl From<FileQuota> for WorkspaceSize {
    fn from(holds: FileQuota) -> Self {
        Self { entries: holds.files, bytes: holds.bytes }
    }
}

/// The files of a session as an archive
///
/// Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/workspace", operation_id = "getSessionWorkspace", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("format" = Option<String>, Query, nullable = false, pattern = "^(tar|zip)$", example = "zip", description = "`tar` or `zip`; without it, tar."),
    ),
    responses((status = 200, description = "The archive, in the form that was asked for.", content(
        (Vec<u8> = "application/x-tar"),
        (Vec<u8> = "application/zip"),
    )))
)]
pub(super) async fn get(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(session): Segment<String>,
    uri: Uri,
) -> Result<Response, NativeError> {
    let session = session_of(&state, &caller, &session).await?;
    let (format, media_type, name) = match Parameters::of(&uri, &["format"])?.text("format") {
        None | Some("tar") => (ArchiveFormat::Tar, "application/x-tar", "attachment; filename=\"workspace.tar\""),
        Some("zip") => (ArchiveFormat::Zip, "application/zip", "attachment; filename=\"workspace.zip\""),
        Some(_) => return Err(ApiError::invalid("format", "must be tar or zip").into()),
    };
    let place = state.0.file_places.large(&caller.tenant, state.0.body_timeout).await?;
    let archive = workspaces(&state).pack(&caller.tenant, &session, format).await?;
    let length = archive.metadata().map_err(|_| ApiError::internal())?.len();
    // The place is held until the last piece is sent.
    let sent = pieces(archive, 0, length).map(move |piece| {
        let _held = &place;
        piece
    });
    let head = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        (header::CONTENT_LENGTH, length.into()),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static(name)),
    ];
    Ok((head, download::body(sent, &caller)).into_response())
}

/// Put an archive's files into a session
///
/// A tar (`application/x-tar`) or a zip (`application/zip`): all of it or nothing. Refused are names that are absolute or hold `..`, links,
/// devices, names that are there twice, and what is larger or has more files than a session may have. The files that are there go, or,
/// with `existing=keep`, stay where the archive has none of their names. While a run of the session is under way the answer is 409.
/// Needs the scope `runs`.
#[utoipa::path(
    put, path = "/v1/sessions/{session}/workspace", operation_id = "putSessionWorkspace", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("existing" = Option<String>, Query, nullable = false, pattern = "^(remove|keep)$", example = "keep", description = "What becomes of the files that are there: `remove` or `keep`; without it, remove."),
    ),
    request_body(content(
        (Vec<u8> = "application/x-tar"),
        (Vec<u8> = "application/zip"),
    ), description = "The archive."),
    responses(
        (status = 200, description = "What the workspace holds now.", body = WorkspaceSize),
        (status = 409, description = "A run of the session is under way, or a tool works in its files."),
        (status = 413, description = "The archive is larger than a session's files may be."),
        (status = 415, description = "It is neither a tar nor a zip."),
        (status = 422, description = "The archive is refused; the message names the entry."),
    )
)]
pub(super) async fn put(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(session): Segment<String>,
    request: Request,
) -> Result<Json<WorkspaceSize>, NativeError> {
    let session = session_of(&state, &caller, &session).await?;
    let (head, body) = request.into_parts();
    let existing = match Parameters::of(&head.uri, &["existing"])?.text("existing") {
        None | Some("remove") => Existing::Remove,
        Some("keep") => Existing::Keep,
        Some(_) => return Err(ApiError::invalid("existing", "must be remove or keep").into()),
    };
    let format = format_of(&head.headers)?;
    let quota = quota(&state, &caller.tenant).await?;
    let _place = state.0.file_places.large(&caller.tenant, state.0.body_timeout).await?;
    let most = quota.bytes.saturating_add(quota.files.saturating_mul(ENTRY_BYTES)).saturating_add(ENTRY_BYTES);
    let archive = received(&state, body, most).await?;
    refuse_while_busy(&state, &caller.tenant, &session)?;
    let unpacked = workspaces(&state).unpack(&caller.tenant, &session, quota, archive, format, existing).await;
    Ok(Json(unpacked?.into()))
}

/// A run would find other files than those that it has read.
pub(super) fn refuse_while_busy(
    state: &ApiState,
    tenant: &vivarium_domain::TenantId,
    session: &vivarium_domain::SessionId,
) -> Result<(), ApiError> {
    if state.0.runs.is_busy(tenant, session) {
        let message = "a run of this session is under way; try again when it has ended, or cancel it";
        return Err(ApiError::new(Kind::SessionBusy, message));
    }
    Ok(())
}

fn format_of(headers: &HeaderMap) -> Result<ArchiveFormat, ApiError> {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii().to_ascii_lowercase();
    match essence.as_slice() {
        b"application/x-tar" | b"application/tar" => Ok(ArchiveFormat::Tar),
        b"application/zip" | b"application/x-zip-compressed" => Ok(ArchiveFormat::Zip),
        _ => {
            let message =
                "the body must be a tar or a zip: send it with Content-Type: application/x-tar or application/zip";
            Err(ApiError::new(Kind::UnsupportedMediaType, message))
        }
    }
}
