//! `/v1/corpora/{corpus}`: a tenant's own documents, which agents name as their contexts, one by one or a whole corpus. A
//! document is kept as its text, and does not change: another text is another document, unless it has an id of its own, under
//! which a newer text takes its place.

mod import;
mod search;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_attachments::{MAX_MEDIA_TYPE_CHARS, Problem, decode_base64};
use vivarium_domain::{CorpusDocument, DocumentId, MAX_CORPUS_CHARS, Scope, TenantId, Timestamp, is_corpus_name};
use vivarium_store::{Batch, Write};

use super::NativeError;
use super::list::{List, Parameters};
use crate::ApiState;
use crate::auth::Caller;
use crate::body::{json_bytes_of_files, json_of};
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::segment::Segment;

const MAX_NAME_CHARS: usize = 255;
const MAX_DESCRIPTION_CHARS: usize = 1000;
const MAX_METADATA_BYTES: usize = 16 << 10;
/// Documents whose end is one batch.
const DELETED_AT_ONCE: usize = 500;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(add, list, clear))
        .routes(routes!(one, delete))
        .routes(routes!(import::import))
        .routes(routes!(search::search))
}

/// A document to be added: its `text`, or a file's `data`.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"name": "Harbour rules", "mediaType": "text/markdown", "text": "# Gates\n\nThey open at noon."}))]
struct DocumentForm {
    /// Its file name or title: 1 to 255 characters.
    #[schema(
        min_length = 1,
        max_length = 255,
        pattern = r"^[^\x00-\x1f\x7f-\x9f]*[^\s\x00-\x1f\x7f-\x9f][^\x00-\x1f\x7f-\x9f]*$"
    )]
    name: String,
    /// For a person.
    #[schema(max_length = 1000)]
    description: Option<String>,
    /// What it is, checked against its content: text/plain (without it), text/markdown, text/csv, text/html, application/json,
    /// application/pdf, or the types of DOCX and XLSX.
    #[schema(max_length = 255)]
    media_type: Option<String>,
    /// The document as text. Either this or `data`.
    text: Option<String>,
    /// The document's bytes in standard base64, at most 10 MiB of them.
    #[schema(content_encoding = "base64")]
    data: Option<String>,
    /// Your own notes: they are kept with the document. At most 16 KiB as JSON.
    metadata: Option<Map<String, Value>>,
}

/// A document with its text.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct CorpusDocumentText {
    #[serde(flatten)]
    document: CorpusDocument,
    /// Its text, as it is searched.
    text: String,
}

impl DocumentForm {
    /// The fields that are kept as they are, in order; the content is looked at when it is read.
    fn check(&self) -> Result<(), ApiError> {
        let (name, control) = (self.name.chars().count(), self.name.chars().any(char::is_control));
        if !(1..=MAX_NAME_CHARS).contains(&name) || control || self.name.trim().is_empty() {
            let must = format!("must have 1 to {MAX_NAME_CHARS} characters, none of them a control character");
            return Err(ApiError::invalid("name", must));
        }
        if self.description.as_ref().is_some_and(|text| text.chars().count() > MAX_DESCRIPTION_CHARS) {
            return Err(ApiError::invalid(
                "description",
                format!("must have at most {MAX_DESCRIPTION_CHARS} characters"),
            ));
        }
        if self.media_type.as_ref().is_some_and(|text| text.chars().count() > MAX_MEDIA_TYPE_CHARS) {
            return Err(ApiError::invalid("mediaType", format!("must have at most {MAX_MEDIA_TYPE_CHARS} characters")));
        }
        let metadata = self.metadata.as_ref().map_or(Ok(0), |map| serde_json::to_vec(map).map(|json| json.len()));
        if metadata.is_ok_and(|bytes| bytes > MAX_METADATA_BYTES) {
            return Err(ApiError::invalid("metadata", format!("must have at most {MAX_METADATA_BYTES} bytes")));
        }
        Ok(())
    }

    async fn read(self, state: &ApiState, caller: &Caller, corpus: String) -> Result<CorpusDocument, ApiError> {
        let tenant = &caller.tenant;
        self.check()?;
        let bytes = match (self.text, self.data) {
            (Some(text), None) => Bytes::from(text),
            (None, Some(data)) => decode_base64(data).map_err(wrong)?,
            _ => return Err(ApiError::invalid("text", "or data must be there, and not both")),
        };
        let media_type = self.media_type.as_deref().unwrap_or("text/plain");
        let read = state.0.attachments.read_document(tenant, media_type, &bytes).await.map_err(wrong)?;
        let length_bytes = read.text.len() as u64;
        let text = Bytes::from(read.text);
        let content = match caller.limits.of_tenant().allowed.stored_bytes {
            Some(most) => state.0.store.put_blob_within(tenant, text, most).await?,
            None => state.0.store.put_blob(tenant, text).await?,
        };
        Ok(CorpusDocument {
            id: DocumentId::new(),
            corpus,
            name: self.name,
            description: self.description.unwrap_or_default(),
            media_type: read.media_type,
            length_bytes,
            content,
            offset_bytes: None,
            external_id: None,
            metadata: self.metadata.unwrap_or_default(),
            created_at: Timestamp::now(),
        })
    }
}

/// What is wrong with a document's content, in this dialect's words for the fields.
fn wrong(problem: Problem) -> ApiError {
    if problem.is_the_hosts_fault() {
        return ApiError::new(Kind::Overloaded, problem.to_string());
    }
    let field = if problem.field() == Some("mimeType") { "mediaType" } else { "data" };
    ApiError::new(Kind::InvalidParameter, format!("{field}: {problem}")).about(field)
}

/// The name of a corpus, as it stands in the path.
fn corpus_name(name: String) -> Result<String, ApiError> {
    if is_corpus_name(&name) {
        return Ok(name);
    }
    let must = format!(
        "must have 1 to {MAX_CORPUS_CHARS} characters: letters, digits, '-', '_' and '.', the first a letter or a digit"
    );
    Err(ApiError::invalid("corpus", must))
}

fn not_found() -> ApiError {
    ApiError::new(Kind::NotFound, "there is no such document")
}

/// Add a document
///
/// Its text is taken out of it and kept. Agents that name it in their `contexts` search it with the corpus tools. A corpus is
/// there when it has a document. Needs the scope `agents:write`.
#[utoipa::path(
    post, path = "/v1/corpora/{corpus}/documents", operation_id = "addDocument", tag = "Native",
    params(("corpus" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description = "The collection's name.", example = "harbour"), IdempotencyKey),
    request_body = DocumentForm,
    responses(
        (status = 201, description = "The document.", body = CorpusDocument, headers(
            ("Location" = String, description = "The document's path."),
        )),
    )
)]
pub(super) async fn add(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(corpus): Segment<String>,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::AgentsWrite)?;
    let corpus = corpus_name(corpus)?;
    let (head, body) = request.into_parts();
    let (ordinary, patience) = (state.0.max_body_bytes, state.0.body_timeout);
    let _place = state.0.file_places.place(&caller.tenant, &head.headers, ordinary, patience).await?;
    let body = json_bytes_of_files(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let form: DocumentForm = json_of(&body)?;
        let document = form.read(&state, &caller, corpus).await?;
        let path = format!("/v1/corpora/{}/documents/{}", document.corpus, document.id);
        let answer = Answer::json(StatusCode::CREATED, &document).with(header::LOCATION, &path);
        let (corpus, id) = (document.corpus.clone(), document.id);
        let write = Batch::from(Write::PutDocument(Box::new(document)));
        state.0.store.commit(&caller.tenant, write.and(once.remember(&answer))).await?;
        state.0.corpora.changed(&caller.tenant, &corpus, vec![id]);
        Ok(answer)
    };
    Ok(once.or(make).await?)
}

/// The documents of a corpus
///
/// Without their texts, those first that were added last. Needs the scope `agents:read`.
#[utoipa::path(
    get, path = "/v1/corpora/{corpus}/documents", operation_id = "listDocuments", tag = "Native",
    params(
        ("corpus" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$",
            description = "The collection's name.", example = "harbour"),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("cursor" = Option<DocumentId>, Query, nullable = false, description = "The `next` of the page before."),
    ),
    responses((status = 200, description = "A page of them; an empty one where there is no such corpus.", body = List<CorpusDocument>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(corpus): Segment<String>,
    uri: Uri,
) -> Result<Json<List<CorpusDocument>>, NativeError> {
    caller.needs(Scope::AgentsRead)?;
    let corpus = corpus_name(corpus)?;
    let parameters = Parameters::of(&uri, &["limit", "cursor"])?;
    let (limit, before) = (parameters.limit()?, parameters.cursor()?);
    let page = state.0.store.documents(&caller.tenant, &corpus, before, limit).await?;
    Ok(Json(List::new(page.items, page.next)))
}

/// The document of a path; what is no id is nobody's document.
async fn found(state: &ApiState, tenant: &TenantId, corpus: &str, id: &str) -> Result<CorpusDocument, ApiError> {
    let id: DocumentId = id.parse().map_err(|_| not_found())?;
    let document = state.0.store.document(tenant, id).await?;
    document.filter(|document| document.corpus == corpus).ok_or_else(not_found)
}

/// A document
///
/// With its text. Needs the scope `agents:read`.
#[utoipa::path(
    get, path = "/v1/corpora/{corpus}/documents/{id}", operation_id = "getDocument", tag = "Native",
    params(
        ("corpus" = String, Path, description = "The collection's name.", example = "harbour"),
        ("id" = DocumentId, Path, description = "The document's id."),
    ),
    responses((status = 200, description = "The document.", body = CorpusDocumentText))
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment((corpus, id)): Segment<(String, String)>,
) -> Result<Json<CorpusDocumentText>, NativeError> {
    caller.needs(Scope::AgentsRead)?;
    let document = found(&state, &caller.tenant, &corpus, &id).await?;
    let blob = state.0.store.blob(&caller.tenant, document.content).await?.ok_or_else(not_found)?;
    let text = String::from_utf8_lossy(document.text_in(&blob).unwrap_or_default()).into_owned();
    Ok(Json(CorpusDocumentText { document, text }))
}

/// Delete a document
///
/// Runs that begin later do not find it, though an agent may still name it. Needs the scope `agents:write`.
#[utoipa::path(
    delete, path = "/v1/corpora/{corpus}/documents/{id}", operation_id = "deleteDocument", tag = "Native",
    params(
        ("corpus" = String, Path, description = "The collection's name.", example = "harbour"),
        ("id" = DocumentId, Path, description = "The document's id."),
    ),
    responses((status = 204, description = "It is gone."))
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment((corpus, id)): Segment<(String, String)>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::AgentsWrite)?;
    let document = found(&state, &caller.tenant, &corpus, &id).await?;
    state.0.store.commit(&caller.tenant, Write::DeleteDocument(document.id).into()).await?;
    state.0.corpora.changed(&caller.tenant, &corpus, vec![document.id]);
    Ok(StatusCode::NO_CONTENT)
}

/// How many documents were deleted.
#[derive(Debug, Serialize, ToSchema)]
struct Cleared {
    /// So many.
    deleted: u64,
}

/// Delete all documents of a corpus
///
/// Runs that begin later find none of them. One that is added meanwhile may stay. Needs the scope `agents:write`.
#[utoipa::path(
    delete, path = "/v1/corpora/{corpus}/documents", operation_id = "clearCorpus", tag = "Native",
    params(("corpus" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description = "The collection's name.", example = "harbour")),
    responses(
        (status = 200, description = "They are gone.", body = Cleared),
        (status = 400, description = "This can not be a collection's name."),
    )
)]
async fn clear(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(corpus): Segment<String>,
) -> Result<Json<Cleared>, NativeError> {
    caller.needs(Scope::AgentsWrite)?;
    let corpus = corpus_name(corpus)?;
    let mut deleted = 0;
    loop {
        let page = state.0.store.documents(&caller.tenant, &corpus, None, DELETED_AT_ONCE).await?;
        if page.items.is_empty() {
            // A corpus is there when it has a document.
            let none = || ApiError::new(Kind::NotFound, "there is no such corpus");
            return if deleted > 0 { Ok(Json(Cleared { deleted })) } else { Err(none().into()) };
        }
        let ids: Vec<DocumentId> = page.items.iter().map(|document| document.id).collect();
        let writes = ids.iter().map(|id| Write::DeleteDocument(*id)).collect();
        state.0.store.commit(&caller.tenant, Batch { writes, ..Batch::default() }).await?;
        deleted += ids.len() as u64;
        state.0.corpora.changed(&caller.tenant, &corpus, ids);
    }
}
