//! `GET /openapi.json`: the document, made once. `GET /docs`: a page that shows it, from the binary alone: no other host is
//! asked for anything, and the page's own policy forbids it.

use std::sync::Arc;

use axum::extract::{Extension, Path};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use utoipa::openapi::OpenApi;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::ContentHash;

use crate::ApiState;
use crate::error::{ApiError, Dialect, Kind};
use crate::native::NativeError;

/// The document as it is sent.
pub(crate) struct Reference {
    json: Bytes,
    etag: HeaderValue,
}

impl Reference {
    pub(crate) fn new(document: &OpenApi) -> Self {
        let json = Bytes::from(serde_json::to_vec(document).unwrap_or_else(|error| {
            tracing::error!(%error, "the document could not be written as JSON");
            b"{}".to_vec()
        }));
        let etag = format!("\"{}\"", ContentHash::of(&json));
        Self { json, etag: HeaderValue::try_from(etag).unwrap_or_else(|_| HeaderValue::from_static("\"\"")) }
    }
}

/// Whoever can reach the host may read what it serves.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(openapi_json))
}

/// The OpenAPI document
///
/// OpenAPI 3.1 of all dialects. It stays the same as long as the host runs.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getOpenApi", tag = "Native", security(()),
    params(("If-None-Match" = Option<String>, Header, description = "The `ETag` of an earlier answer.")),
    responses(
        (status = 200, description = "The document.", content_type = "application/json", body = serde_json::Value,
         headers(("ETag" = String, description = "Names this document."))),
        (status = 304, description = "It is the one that `If-None-Match` names."),
    )
)]
pub(crate) async fn openapi_json(Extension(reference): Extension<Arc<Reference>>, headers: HeaderMap) -> Response {
    let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| names(value, &reference.etag));
    let mut response = if known {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        let json = HeaderValue::from_static("application/json");
        ([(header::CONTENT_TYPE, json)], reference.json.clone()).into_response()
    };
    response.headers_mut().insert(header::ETAG, reference.etag.clone());
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// Whether a list of entity tags names this one; `*` names any.
fn names(list: &HeaderValue, etag: &HeaderValue) -> bool {
    let list = list.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let mut tags = list.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag));
    tags.any(|tag| tag == b"*" || tag == etag.as_bytes())
}
