//! `/v1/sessions/{session}/files`: the files of a session, one by one.

use std::io::SeekFrom;
use std::ops::RangeInclusive;
use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, Stream};
use http_body_util::BodyExt as _;
use tokio::io::{AsyncReadExt as _, AsyncSeekExt as _};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::{ContentHash, Scope, SessionId, TenantId, WorkspaceFile};

use vivarium_workspaces::{Expected, FilePath, FileQuota, OpenFile, Whole, Workspaces};

use super::NativeError;
use super::list::{List, Parameters};
use super::sessions::session_id;
use crate::ApiState;
use crate::auth::Caller;
use crate::download;
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::segment::Segment;

/// How much of a file is in memory while it is sent.
const PIECE: usize = 64 << 10;
/// What a path can begin with is no longer than a path.
pub(super) const MAX_PREFIX_CHARS: usize = 1024;

/// A file's path has slashes in it: in the router it is the rest of the path; in the document it is one parameter.
pub(super) fn routes() -> OpenApiRouter<ApiState> {
    let (_, documented) = OpenApiRouter::<ApiState>::new().routes(routes!(read, write, remove)).split_for_parts();
    let files = axum::Router::new().route("/v1/sessions/{session}/files/{*path}", get(read).put(write).delete(remove));
    OpenApiRouter::with_openapi(documented).merge(OpenApiRouter::from(files)).routes(routes!(list))
}

/// The files of all sessions.
pub(super) fn workspaces(state: &ApiState) -> &Arc<Workspaces> {
    state.0.registry.workspaces()
}

/// The session of a path, if it is there and the caller may work with it.
pub(super) async fn session_of(state: &ApiState, caller: &Caller, session: &str) -> Result<SessionId, ApiError> {
    caller.needs(Scope::Runs)?;
    Ok(state.0.runs.session(&caller.tenant, &session_id(session)?).await?.id)
}

/// What a session's files may be together.
pub(super) async fn quota(state: &ApiState, tenant: &TenantId) -> Result<FileQuota, ApiError> {
    Ok(state.0.registry.file_quota(tenant).await?)
}

/// The body of a request, on the disk.
pub(super) async fn received(state: &ApiState, mut body: Body, most: u64) -> Result<Whole, ApiError> {
    let patience = state.0.body_timeout * 4;
    let read = async {
        let mut incoming = workspaces(state).incoming(most).await?;
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| ApiError::new(Kind::InvalidRequest, "the body did not arrive whole"))?;
            if let Ok(piece) = frame.into_data() {
                incoming.add(piece).await?;
            }
        }
        Ok::<_, ApiError>(incoming.whole().await?)
    };
    let seconds = patience.as_secs();
    let too_slow = || ApiError::new(Kind::BodyTooSlow, format!("the body did not arrive within {seconds} s"));
    tokio::time::timeout(patience, read).await.map_err(|_| too_slow())?
}

/// The files of a session
///
/// Those of its workspace, by path: what its tools have written and what clients have put there. A session without files has an
/// empty list. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/files", operation_id = "listSessionFiles", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("prefix" = Option<String>, Query, nullable = false, max_length = 1024, description = "Only files whose paths begin with this."),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("cursor" = Option<String>, Query, nullable = false, description = "The `next` of the page before."),
    ),
    responses((status = 200, description = "A page of them.", body = List<WorkspaceFile>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(session): Segment<String>,
    uri: Uri,
) -> Result<Json<List<WorkspaceFile>>, NativeError> {
    caller.needs(Scope::Runs)?;
    let asked = Parameters::of(&uri, &["prefix", "limit", "cursor"])?;
    let (limit, after) = (asked.limit()?, asked.cursor::<String>()?);
    let prefix = asked.bounded("prefix", MAX_PREFIX_CHARS)?.unwrap_or_default().to_owned();
    let session = session_of(&state, &caller, &session).await?;
    let (files, next) = workspaces(&state).list(&caller.tenant, &session, prefix, after, limit).await?;
    Ok(Json(List::new(files, next)))
}

/// A file of a session
///
/// Its bytes, whole or a range of them; its hash is the `ETag`. The path may have slashes, as they are or encoded. What may run in
/// a browser is sent as a download. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/sessions/{session}/files/{path}", operation_id = "getSessionFile", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("path" = String, Path, description = "The file's path in the workspace.", example = "src/main.py"),
        ("Range" = Option<String>, Header, nullable = false, example = "bytes=0-1023", description = "One range of bytes. What is no such range is not understood, and the file is given whole."),
        ("If-None-Match" = Option<String>, Header, nullable = false, description = "The `ETag` of what the client has: then the answer is 304 without a body."),
    ),
    responses(
        (status = 200, description = "The file.", body = Vec<u8>, content_type = "*/*", headers(
            ("ETag" = String, description = "SHA-256 of its content, in quotes: for `If-Match`."),
        )),
        (status = 206, description = "The range of it.", body = Vec<u8>, content_type = "*/*"),
        (status = 304, description = "It is what the client has."),
        (status = 416, description = "It has no such range."),
    )
)]
pub(super) async fn read(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment((session, path)): Segment<(String, String)>,
    headers: HeaderMap,
) -> Result<Response, NativeError> {
    let session = session_of(&state, &caller, &session).await?;
    let path: FilePath = path.parse()?;
    let OpenFile { file, content } = workspaces(&state).read(&caller.tenant, &session, path).await?;
    let tag = tag(file.hash);
    let mut head = HeaderMap::new();
    head.insert(header::ETAG, tag.clone());
    head.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    let known = headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known == "*" || *known == tag) {
        return Ok((StatusCode::NOT_MODIFIED, head).into_response());
    }
    let (status, range) = match range(&headers, file.bytes) {
        Asked::Whole => (StatusCode::OK, 0..=file.bytes.saturating_sub(1)),
        Asked::Part(range) => (StatusCode::PARTIAL_CONTENT, range),
        Asked::Nothing => return Ok(no_such_range(file.bytes)),
    };
    let length = if file.bytes == 0 { 0 } else { range.end() - range.start() + 1 };
    if status == StatusCode::PARTIAL_CONTENT {
        let told = format!("bytes {}-{}/{}", range.start(), range.end(), file.bytes);
        head.extend(HeaderValue::try_from(told).ok().map(|told| (header::CONTENT_RANGE, told)));
    }
    head.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type(&file.path)));
    head.insert(header::CONTENT_LENGTH, length.into());
    head.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    head.insert(header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment"));
    let body = download::body(pieces(content, *range.start(), length), &caller);
    Ok((status, head, body).into_response())
}

/// Put a file into a session
///
/// The body is its content, of any type; folders are made as they are needed, and what stands there is replaced in one step. Needs
/// the scope `runs`.
#[utoipa::path(
    put, path = "/v1/sessions/{session}/files/{path}", operation_id = "putSessionFile", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("path" = String, Path, description = "The file's path in the workspace.", example = "src/main.py"),
        ("If-Match" = Option<String>, Header, nullable = false, pattern = r#"^("[0-9a-f]{64}"|\*)$"#, description = "Only if it is there with this `ETag`; `*`: only if it is there."),
        ("If-None-Match" = Option<String>, Header, nullable = false, pattern = r"^\*$", description = "`*`: only if it is not there."),
    ),
    request_body(content = Vec<u8>, content_type = "application/octet-stream", description = "The file's content."),
    responses(
        (status = 200, description = "The file that was there has this content now.", body = WorkspaceFile, headers(
            ("ETag" = String, description = "SHA-256 of its content, in quotes."),
        )),
        (status = 201, description = "The file is new.", body = WorkspaceFile),
        (status = 409, description = "A folder stands there, or the session may not have so much."),
        (status = 412, description = "It is not what the request says that it is."),
    )
)]
pub(super) async fn write(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment((session, path)): Segment<(String, String)>,
    request: Request,
) -> Result<Response, NativeError> {
    let session = session_of(&state, &caller, &session).await?;
    let path: FilePath = path.parse()?;
    let (head, body) = request.into_parts();
    let expected = expected(&head.headers)?;
    let quota = quota(&state, &caller.tenant).await?;
    let (ordinary, patience) = (state.0.max_body_bytes, state.0.body_timeout);
    let _place = state.0.file_places.place(&caller.tenant, &head.headers, ordinary, patience).await?;
    let body = received(&state, body, quota.bytes).await?;
    let written = workspaces(&state).write(&caller.tenant, &session, quota, path, body, expected).await;
    let (file, is_new) = written?;
    let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, [(header::ETAG, tag(file.hash))], Json(file)).into_response())
}

/// Remove a file of a session
///
/// Folders that are empty then go with it. Needs the scope `runs`.
#[utoipa::path(
    delete, path = "/v1/sessions/{session}/files/{path}", operation_id = "removeSessionFile", tag = "Native",
    params(
        ("session" = String, Path, description = "The session's id."),
        ("path" = String, Path, description = "The file's path in the workspace.", example = "src/main.py"),
        ("If-Match" = Option<String>, Header, nullable = false, pattern = r#"^("[0-9a-f]{64}"|\*)$"#, description = "Only if it has this `ETag`."),
    ),
    responses(
        (status = 204, description = "It is gone."),
        (status = 412, description = "It is not what the request says that it is."),
    )
)]
pub(super) async fn remove(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment((session, path)): Segment<(String, String)>,
    headers: HeaderMap,
) -> Result<StatusCode, NativeError> {
    let session = session_of(&state, &caller, &session).await?;
    let path: FilePath = path.parse()?;
    let expected = expected(&headers)?;
    let quota = quota(&state, &caller.tenant).await?;
    workspaces(&state).remove(&caller.tenant, &session, quota, path, expected).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn tag(hash: ContentHash) -> HeaderValue {
    // A quoted row of hexadecimal digits is always a header's value.
    HeaderValue::try_from(format!("\"{hash}\"")).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// What a client says that a file is, by its conditions.
fn expected(headers: &HeaderMap) -> Result<Expected, ApiError> {
    let one = |name: header::HeaderName| {
        let mut values = headers.get_all(&name).iter();
        (values.next(), values.next().is_some())
    };
    let hash = |value: &HeaderValue| {
        let text = value.to_str().ok()?.strip_prefix('"')?.strip_suffix('"')?;
        text.parse::<ContentHash>().ok()
    };
    let wrong = || ApiError::invalid("If-Match", "must be one hash in quotes, as the ETag of a file has it, or *");
    match (one(header::IF_MATCH), one(header::IF_NONE_MATCH)) {
        ((None, _), (None, _)) => Ok(Expected::Anything),
        ((Some(any), false), (None, _)) if any == "*" => Ok(Expected::Present),
        ((Some(one), false), (None, _)) => hash(one).map(Expected::Content).ok_or_else(wrong),
        ((None, _), (Some(any), false)) if any == "*" => Ok(Expected::Absent),
        ((None, _), _) => Err(ApiError::invalid("If-None-Match", "must be * here")),
        _ => Err(wrong()),
    }
}

/// What a request wants of a file.
enum Asked {
    Whole,
    Part(RangeInclusive<u64>),
    /// A range that the file has not.
    Nothing,
}

/// The range of a request. What is no single range of bytes is not understood, and the file is given whole, as HTTP has it.
fn range(headers: &HeaderMap, bytes: u64) -> Asked {
    let text = headers.get(header::RANGE).and_then(|value| value.to_str().ok());
    let Some((first, last)) = text.and_then(|text| text.strip_prefix("bytes=")).and_then(|text| text.split_once('-'))
    else {
        return Asked::Whole;
    };
    let range = match (first.parse::<u64>(), last.parse::<u64>()) {
        (Ok(first), Ok(last)) if first <= last => first..=last.min(bytes.saturating_sub(1)),
        (Ok(first), Err(_)) if last.is_empty() => first..=bytes.saturating_sub(1),
        (Err(_), Ok(last)) if first.is_empty() && last > 0 => bytes.saturating_sub(last)..=bytes.saturating_sub(1),
        (Err(_), Ok(0)) if first.is_empty() => return Asked::Nothing,
        _ => return Asked::Whole,
    };
    if *range.start() < bytes { Asked::Part(range) } else { Asked::Nothing }
}

fn no_such_range(bytes: u64) -> Response {
    let message = format!("the file has {bytes} bytes, and not this range of them");
    let mut response = NativeError::from(ApiError::new(Kind::RangeNotSatisfiable, message)).into_response();
    let told = HeaderValue::try_from(format!("bytes */{bytes}"));
    response.headers_mut().extend(told.ok().map(|told| (header::CONTENT_RANGE, told)));
    response
}

/// So many bytes of a file, piece by piece.
pub(super) fn pieces(
    file: std::fs::File,
    start: u64,
    length: u64,
) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let begin = (tokio::fs::File::from_std(file), Some(start), length);
    stream::try_unfold(begin, async |(mut file, start, left)| {
        if let Some(start) = start {
            file.seek(SeekFrom::Start(start)).await?;
        }
        let wanted = usize::try_from(left).unwrap_or(PIECE).min(PIECE);
        if wanted == 0 {
            return Ok(None);
        }
        let mut piece = BytesMut::zeroed(wanted);
        let read = file.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::Error::other("the file became shorter while it was sent"));
        }
        piece.truncate(read);
        Ok(Some((piece.freeze(), (file, None, left.saturating_sub(read as u64)))))
    })
}

/// What a file is, by its name: enough for a client to show it.
fn media_type(path: &str) -> &'static str {
    let name = path.rsplit('/').next().unwrap_or(path);
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match extension.as_str() {
        "md" | "markdown" => "text/markdown; charset=utf-8",
        "html" | "htm" => "text/html; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "csv" => "text/csv; charset=utf-8",
        "js" | "mjs" | "cjs" => "text/javascript; charset=utf-8",
        "json" => "application/json",
        "xml" => "application/xml",
        "pdf" => "application/pdf",
        "wasm" => "application/wasm",
        "zip" => "application/zip",
        "tar" => "application/x-tar",
        "gz" | "tgz" => "application/gzip",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "svg" => "image/svg+xml",
        "txt" | "log" | "py" | "rs" | "go" | "c" | "h" | "cc" | "cpp" | "hpp" | "java" | "kt" | "rb" | "php" | "sh"
        | "ts" | "tsx" | "jsx" | "toml" | "yaml" | "yml" | "ini" | "cfg" | "sql" | "diff" | "patch" | "lock" => {
            "text/plain; charset=utf-8"
        }
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(value: &'static str, bytes: u64) -> Option<RangeInclusive<u64>> {
        let headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(value))]);
        match range(&headers, bytes) {
            Asked::Whole => Some(0..=u64::MAX),
            Asked::Part(range) => Some(range),
            Asked::Nothing => None,
        }
    }

    #[test]
    fn a_range_is_what_http_says_that_it_is() {
        let whole = Some(0..=u64::MAX);
        for (value, expected) in [
            ("bytes=0-0", Some(0..=0)),
            ("bytes=2-", Some(2..=9)),
            ("bytes=-3", Some(7..=9)),
            ("bytes=-30", Some(0..=9)),
            ("bytes=5-100", Some(5..=9)),
            ("bytes=10-", None),
            ("bytes=-0", None),
            ("bytes=5-2", whole.clone()),
            ("bytes=0-1,3-4", whole.clone()),
            ("lines=1-2", whole.clone()),
            ("bytes=a-b", whole.clone()),
        ] {
            assert_eq!(part(value, 10), expected, "{value}");
        }
        assert_eq!(part("bytes=0-", 0), None, "an empty file has no range");
    }

    #[test]
    fn a_change_is_meant_for_what_its_conditions_say() {
        let hash = ContentHash::of(b"a");
        let told = |pairs: &[(header::HeaderName, String)]| {
            let pairs = pairs.iter().map(|(name, value)| (name.clone(), HeaderValue::try_from(value).unwrap()));
            expected(&HeaderMap::from_iter(pairs))
        };
        assert_eq!(told(&[]).unwrap(), Expected::Anything);
        assert_eq!(told(&[(header::IF_MATCH, format!("\"{hash}\""))]).unwrap(), Expected::Content(hash));
        assert_eq!(told(&[(header::IF_MATCH, "*".into())]).unwrap(), Expected::Present);
        assert_eq!(told(&[(header::IF_NONE_MATCH, "*".into())]).unwrap(), Expected::Absent);
        for bad in ["\"abc\"", "abc", "W/\"abc\"", ""] {
            assert!(told(&[(header::IF_MATCH, bad.into())]).is_err(), "{bad}");
            assert!(told(&[(header::IF_NONE_MATCH, bad.into())]).is_err(), "{bad}");
        }
    }
}
