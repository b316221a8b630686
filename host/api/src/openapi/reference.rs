//! `GET /openapi.json`: the document, made once. `GET /docs`: a page that shows it, out of the binary alone: no other host is
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
use crate::error::{ApiError, Kind};
use crate::native::NativeError;

/// The page may load what this host serves, and nothing else. Swagger UI's style sheet holds its icons as `data:`.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What the page is made of.
const FILES: [(&str, &str, &[u8]); 4] = [
    ("docs.css", "text/css; charset=utf-8", include_bytes!("../../assets/docs.css")),
    ("docs.js", "text/javascript; charset=utf-8", include_bytes!("../../assets/docs.js")),
    ("swagger-ui.css", "text/css; charset=utf-8", include_bytes!("../../assets/swagger-ui/swagger-ui.css")),
    (
        "swagger-ui-bundle.js",
        "text/javascript; charset=utf-8",
        include_bytes!("../../assets/swagger-ui/swagger-ui-bundle.js"),
    ),
];

/// The document and the page that shows it, as they are sent.
pub(crate) struct Reference {
    document: Sent,
    page: Sent,
    files: [(&'static str, Sent); FILES.len()],
}

/// Something that stays the same as long as the host runs.
struct Sent {
    content_type: &'static str,
    body: Bytes,
    etag: HeaderValue,
}

impl Reference {
    pub(crate) fn new(document: &OpenApi) -> Self {
        let document = serde_json::to_vec(document).unwrap_or_else(|error| {
            tracing::error!(%error, "the document could not be written as JSON");
            b"{}".to_vec()
        });
        let page = Bytes::from_static(include_bytes!("../../assets/docs.html"));
        Self {
            document: Sent::new("application/json", document.into()),
            page: Sent::new("text/html; charset=utf-8", page),
            files: FILES.map(|(name, content_type, body)| (name, Sent::new(content_type, Bytes::from_static(body)))),
        }
    }
}

impl Sent {
    fn new(content_type: &'static str, body: Bytes) -> Self {
        let etag = HeaderValue::try_from(format!("\"{}\"", ContentHash::of(&body)));
        Self { content_type, body, etag: etag.unwrap_or_else(|_| HeaderValue::from_static("\"\"")) }
    }

    /// The whole of it, or that the client has it already.
    fn to(&self, headers: &HeaderMap) -> Response {
        let known = headers.get_all(header::IF_NONE_MATCH).iter().any(|value| names(value, &self.etag));
        let mut response = if known {
            StatusCode::NOT_MODIFIED.into_response()
        } else {
            ([(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type))], self.body.clone()).into_response()
        };
        let headers = response.headers_mut();
        headers.insert(header::ETAG, self.etag.clone());
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
        headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        response
    }
}

/// Whether a list of entity tags names this one; `*` names any.
fn names(list: &HeaderValue, etag: &HeaderValue) -> bool {
    let list = list.as_bytes().split(|&byte| byte == b',').map(<[u8]>::trim_ascii);
    let mut tags = list.map(|tag| tag.strip_prefix(b"W/").unwrap_or(tag));
    tags.any(|tag| tag == b"*" || tag == etag.as_bytes())
}

/// Whoever can reach the host may read what it serves.
pub(crate) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(openapi_json)).routes(routes!(docs)).routes(routes!(docs_file))
}

/// The OpenAPI document
///
/// OpenAPI 3.1 of all dialects. It stays the same as long as the host runs.
#[utoipa::path(
    get, path = "/openapi.json", operation_id = "getOpenApi", tag = "Native", security(()),
    params(("If-None-Match" = Option<String>, Header, nullable = false, description = "The `ETag` of an earlier answer.")),
    responses(
        (status = 200, description = "The document.", content_type = "application/json",
         body = serde_json::Map<String, serde_json::Value>, headers(("ETag" = String, description = "Names this document."))),
        (status = 304, description = "It is the one that `If-None-Match` names."),
    )
)]
async fn openapi_json(Extension(reference): Extension<Arc<Reference>>, headers: HeaderMap) -> Response {
    reference.document.to(&headers)
}

/// The reference page
///
/// Shows the document to a person.
#[utoipa::path(
    get, path = "/docs", operation_id = "getReferencePage", tag = "Native", security(()),
    responses((status = 200, description = "The page.", content_type = "text/html", body = String))
)]
async fn docs(Extension(reference): Extension<Arc<Reference>>, headers: HeaderMap) -> Response {
    reference.page.to(&headers)
}

/// A file of the reference page
#[utoipa::path(
    get, path = "/docs/{file}", operation_id = "getReferencePageFile", tag = "Native", security(()),
    params(("file" = String, Path, description = "Its name.", example = "docs.js")),
    responses(
        (status = 200, description = "The file.", content((String = "text/javascript"), (String = "text/css"))),
        (status = 404, description = "The page has no such file."),
    )
)]
async fn docs_file(
    Extension(reference): Extension<Arc<Reference>>,
    Path(file): Path<String>,
    headers: HeaderMap,
) -> Result<Response, NativeError> {
    let found = reference.files.iter().find(|(name, _)| *name == file);
    let (_, found) = found.ok_or_else(|| ApiError::new(Kind::NotFound, "the reference page has no such file"))?;
    Ok(found.to(&headers))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entity_tag_is_found_in_a_list_weak_or_not() {
        let etag = HeaderValue::from_static("\"abc\"");
        for known in ["\"abc\"", "W/\"abc\"", "\"x\", \"abc\"", "*"] {
            assert!(names(&HeaderValue::from_static(known), &etag), "{known}");
        }
        for other in ["", "abc", "\"abcd\"", "\"x\""] {
            assert!(!names(&HeaderValue::from_static(other), &etag), "{other}");
        }
    }
}
