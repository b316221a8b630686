//! `/v1/sessions/{session}/snapshots` and what they are for: what has changed, and the way back.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::{RunId, Scope, Snapshot, SnapshotId, SnapshotReason, WorkspaceChanges};
use vivarium_workspaces::{Bounds, FilesError, NewSnapshot, State as Files};

use super::list::{List, Parameters};
use super::session_archive::{WorkspaceSize, refuse_while_busy};
use super::session_files::{MAX_PREFIX_CHARS, quota, session_of, workspaces};
use super::{NativeError, run_id};
use crate::ApiState;
use crate::body::{json_bytes, json_of};
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::segment::Segment;

const MAX_LABEL_CHARS: usize = 200;
/// The most files and bytes of one difference.
const MAX_FILES: usize = 2_000;
const MAX_DIFF_BYTES: usize = 1 << 20;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(make, list))
        .routes(routes!(one, delete))
        .routes(routes!(restore))
        .routes(routes!(diff))
        .routes(routes!(changes))
}

/// A snapshot to be made.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"label": "before the refactoring"}))]
struct SnapshotForm {
    /// What a person calls it: 1 to 200 characters.
    #[schema(min_length = 1, max_length = 200, pattern = r"^[^\x00-\x1f\x7f-\x9f]*$")]
    label: Option<String>,
}

/// What is no id is nobody's snapshot: the same 404.
fn snapshot_id(text: &str) -> Result<SnapshotId, ApiError> {
    text.parse().map_err(|_| FilesError::NoSuchSnapshot.into())
}

/// Make a snapshot of a session's files
///
/// Equal files are kept once. A session has at most `max_snapshots` of them, and `max_snapshot_bytes` bytes. Needs the scope `runs`.
#[utoipa::path(
    post, path = "/v1/sessions/{session}/snapshots", operation_id = "makeSnapshot", tag = "Native",
    params(("session" = String, Path, description = "The session's id."), IdempotencyKey),
    request_body = SnapshotForm,
    responses(
        (status = 201, description = "The snapshot.", body = Snapshot, headers(
            ("Location" = String, description = "The snapshot's path."),
        )),
        (status = 409, description = "There are as many as are kept, or they are too large."),
    )
)]
pub(super) async fn make(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(session): Segment<String>,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::Runs)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let SnapshotForm { label } = if body.is_empty() { SnapshotForm::default() } else { json_of(&body)? };
        let fits = |label: &String| (1..=MAX_LABEL_CHARS).contains(&label.chars().count());
        if label.as_ref().is_some_and(|label| !fits(label) || label.contains(char::is_control)) {
            let must = format!("must have 1 to {MAX_LABEL_CHARS} characters, none of them a control character");
            return Err(ApiError::invalid("label", must));
        }
        let session = session_of(&state, &caller, &session).await?;
        let quota = quota(&state, &caller.tenant).await?;
        let new = NewSnapshot { label, reason: SnapshotReason::Asked, run: None };
        let made = workspaces(&state).snapshot(&caller.tenant, &session, quota, new).await?;
        let path = format!("{}/{}", head.uri.path(), made.id);
        let answer = Answer::json(StatusCode::CREATED, &made).with(header::LOCATION, &path);
        let remember = once.remember(&answer);
        if !remember.writes.is_empty() {
            state.0.store.commit(&caller.tenant, remember).await?;
        }
        Ok(answer)
    };
    Ok(once.or(make).await?)
}

/// The snapshots of a session's files
///
/// The newest first: those that clients have made, and those that the host has made before a run wrote files and at its end, for the
/// last 20 runs that did. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/snapshots", operation_id = "listSnapshots", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("cursor" = Option<SnapshotId>, Query, nullable = false, description = "The `next` of the page before."),
    ),
    responses((status = 200, description = "A page of them.", body = List<Snapshot>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(session): Segment<String>,
    uri: Uri,
) -> Result<Json<List<Snapshot>>, NativeError> {
    caller.needs(Scope::Runs)?;
    let asked = Parameters::of(&uri, &["limit", "cursor"])?;
    let (limit, before) = (asked.limit()?, asked.cursor()?);
    let session = session_of(&state, &caller, &session).await?;
    let (snapshots, next) = workspaces(&state).snapshots(&caller.tenant, &session, before, limit).await?;
    Ok(Json(List::new(snapshots, next)))
}

/// One snapshot
///
/// Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/snapshots/{snapshot}", operation_id = "getSnapshot", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("snapshot" = SnapshotId, Path, description = "The snapshot's id."),
    ),
    responses((status = 200, description = "The snapshot.", body = Snapshot))
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment((session, snapshot)): Segment<(String, String)>,
) -> Result<Json<Snapshot>, NativeError> {
    let session = session_of(&state, &caller, &session).await?;
    let id = snapshot_id(&snapshot)?;
    Ok(Json(workspaces(&state).one_snapshot(&caller.tenant, &session, id).await?))
}

/// Delete a snapshot
///
/// The session's files stay as they are. Needs the scope `runs`.
#[utoipa::path(
    delete, path = "/v1/sessions/{session}/snapshots/{snapshot}", operation_id = "deleteSnapshot", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("snapshot" = SnapshotId, Path, description = "The snapshot's id."),
    ),
    responses((status = 204, description = "It is gone."))
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment((session, snapshot)): Segment<(String, String)>,
) -> Result<StatusCode, NativeError> {
    let session = session_of(&state, &caller, &session).await?;
    let (id, quota) = (snapshot_id(&snapshot)?, quota(&state, &caller.tenant).await?);
    workspaces(&state).delete_snapshot(&caller.tenant, &session, quota, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Bring a session's files back
///
/// They are what they were at the snapshot: all of them, in one step; what is not in it goes. While a run of the session is under way
/// the answer is 409. Needs the scope `runs`.
#[utoipa::path(
    post, path = "/v1/sessions/{session}/snapshots/{snapshot}/restore", operation_id = "restoreSnapshot", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("snapshot" = SnapshotId, Path, description = "The snapshot's id."),
    ),
    responses(
        (status = 200, description = "What the workspace holds now.", body = WorkspaceSize),
        (status = 409, description = "A run of the session is under way, a tool works in its files, or the session may not have so much any more."),
    )
)]
pub(super) async fn restore(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment((session, snapshot)): Segment<(String, String)>,
) -> Result<Json<WorkspaceSize>, NativeError> {
    let session = session_of(&state, &caller, &session).await?;
    let (id, quota) = (snapshot_id(&snapshot)?, quota(&state, &caller.tenant).await?);
    workspaces(&state).one_snapshot(&caller.tenant, &session, id).await?;
    refuse_while_busy(&state, &caller.tenant, &session)?;
    let holds = workspaces(&state).restore(&caller.tenant, &session, quota, id).await?;
    Ok(Json(holds.into()))
}

fn bounds(prefix: Option<&str>) -> Bounds {
    Bounds { files: MAX_FILES, bytes: MAX_DIFF_BYTES, prefix: prefix.unwrap_or_default().to_owned() }
}

/// How a session's files differ
///
/// From one snapshot to another, or to what they are now: the files, and a unified diff of those that are text. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/diff", operation_id = "diffSession", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("from" = SnapshotId, Query, description = "The snapshot to compare with."),
        ("to" = Option<String>, Query, nullable = false, pattern = "^(now|[0-9a-f-]{36})$", example = "now", description = "Another snapshot, or `now`; without it, now."),
        ("prefix" = Option<String>, Query, nullable = false, max_length = 1024, description = "Only files whose paths begin with this."),
    ),
    responses((status = 200, description = "What has changed: at most 2,000 files and 1 MiB of diff, and how much there is beyond.", body = WorkspaceChanges))
)]
pub(super) async fn diff(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(session): Segment<String>,
    uri: Uri,
) -> Result<Json<WorkspaceChanges>, NativeError> {
    caller.needs(Scope::Runs)?;
    let asked = Parameters::of(&uri, &["from", "to", "prefix"])?;
    let must = "must be the id of a snapshot";
    let from: SnapshotId = asked.parsed("from", must)?.ok_or_else(|| ApiError::missing("from"))?;
    let to = match asked.text("to") {
        None | Some("now") => Files::Now,
        Some(_) => Files::Then(asked.parsed("to", "must be the id of a snapshot, or now")?.unwrap_or(from)),
    };
    let session = session_of(&state, &caller, &session).await?;
    let bounds = bounds(asked.bounded("prefix", MAX_PREFIX_CHARS)?);
    Ok(Json(workspaces(&state).diff(&caller.tenant, &session, Files::Then(from), to, bounds).await?))
}

/// What a run has changed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct RunChanges {
    /// The files as they were before the run wrote any: restore it to undo what the run has done, and all that was done since.
    /// Null: the run has called no tool that may write files, or the snapshot is not kept any more.
    from: Option<SnapshotId>,
    /// The files as the run has left them. Null: it has not ended, and the files are compared as they are now.
    to: Option<SnapshotId>,
    #[serde(flatten)]
    changes: WorkspaceChanges,
}

/// What a run has changed
///
/// The files of its session, from before the run's first call of a tool that may write files to the run's end. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/runs/{id}/changes", operation_id = "getRunChanges", tag = "Native",
    params(("id" = RunId, Path, description = "The run's id.")),
    responses((status = 200, description = "What has changed: at most 2,000 files and 1 MiB of diff, and how much there is beyond.", body = RunChanges))
)]
pub(super) async fn changes(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
) -> Result<Json<impl Serialize>, NativeError> {
    caller.needs(Scope::Runs)?;
    let run = state.0.runs.get(&caller.tenant, run_id(&id)?).await?.ok_or_else(ApiError::run_not_found)?;
    let (tenant, session) = (&caller.tenant, &run.session_id);
    let (began, ended) = workspaces(&state).snapshots_of_run(tenant, session, run.id).await?;
    let (from, to) = (began.map(|began| began.id), ended.map(|ended| ended.id));
    let changes = match from {
        None => WorkspaceChanges::default(),
        Some(from) => {
            let to = to.map_or(Files::Now, Files::Then);
            workspaces(&state).diff(tenant, session, Files::Then(from), to, bounds(None)).await?
        }
    };
    Ok(Json(RunChanges { from, to, changes }))
}
