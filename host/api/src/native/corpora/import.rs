//! `/v1/corpora/{corpus}/import`: many documents at once, one a line, as public collections for retrieval come
//! (`{"_id", "title", "text"}`). All of a request's documents are added, or none.

use std::collections::HashSet;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use bytes::{Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use utoipa::ToSchema;
use vivarium_attachments::MAX_DOCUMENT_TEXT_BYTES;
use vivarium_domain::{CorpusDocument, DocumentId, Scope, Timestamp};
use vivarium_store::{Batch, Write};

use super::{MAX_METADATA_BYTES, corpus_name};
use crate::ApiState;
use crate::auth::Caller;
use crate::body::ndjson_bytes;
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::native::NativeError;
use crate::segment::Segment;

/// Documents of one request.
const MAX_DOCUMENTS: usize = 2_000;
const MAX_TITLE_CHARS: usize = 1_000;
const MAX_EXTERNAL_ID_BYTES: usize = 512;
/// Texts are kept together up to so many bytes: one synced file each would cost more than all the rest of an import.
const PACK_BYTES: usize = 1 << 20;

/// One line of an import.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"_id": "d1", "title": "Harbour rules", "text": "The gates open at noon."}))]
pub(super) struct Line {
    /// The document's own id: 1 to 512 bytes. A document of the corpus with the same one is replaced. Hits tell it.
    #[serde(rename = "_id", alias = "id")]
    #[schema(max_length = 512)]
    external_id: Option<String>,
    /// What a person calls it; without it, its own id.
    #[serde(default)]
    #[schema(max_length = 1000)]
    title: String,
    /// The whole text, at most 1 MiB; where it is empty, the title is searched.
    text: String,
    /// Your own notes: they are kept with the document. At most 16 KiB as JSON.
    #[serde(default)]
    metadata: Map<String, Value>,
}

/// What an import has done.
#[derive(Debug, Serialize, ToSchema)]
struct Imported {
    /// The corpus.
    corpus: String,
    /// Documents that are new or took another's place.
    documents: u64,
    /// Those among them that took the place of one with the same id.
    replaced: u64,
}

/// Import documents
///
/// One JSON object a line: `_id`, `title`, `text`, `metadata`. At most 2000 lines; all of them are added, or none. Importing the
/// same lines again changes nothing. Needs the scope `agents:write`.
#[utoipa::path(
    post, path = "/v1/corpora/{corpus}/import", operation_id = "importDocuments", tag = "Native",
    params(("corpus" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$",
        description = "The collection's name.", example = "harbour"), IdempotencyKey),
    request_body(content = Line, content_type = "application/x-ndjson", description = "One such object a line."),
    responses((status = 201, description = "They are there.", body = Imported))
)]
pub(super) async fn import(
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
    let body = ndjson_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let documents = keep(&state, &caller, &corpus, lines(&body)?).await?;
        let mut replaced = 0;
        for document in documents.iter().filter(|document| document.external_id.is_some()) {
            replaced += u64::from(state.0.store.document(&caller.tenant, document.id).await?.is_some());
        }
        let told = Imported { corpus: corpus.clone(), documents: documents.len() as u64, replaced };
        let answer = Answer::json(StatusCode::CREATED, &told);
        let ids = documents.iter().map(|document| document.id).collect();
        let writes = documents.into_iter().map(|document| Write::PutDocument(Box::new(document))).collect();
        let batch = Batch { writes, ..Batch::default() };
        state.0.store.commit(&caller.tenant, batch.and(once.remember(&answer))).await?;
        state.0.corpora.changed(&caller.tenant, &corpus, ids);
        Ok(answer)
    };
    Ok(once.or(make).await?)
}

/// The documents of a body, each in order.
fn lines(body: &[u8]) -> Result<Vec<Line>, ApiError> {
    let wrong = |number: usize, what: String| {
        ApiError::new(Kind::InvalidParameter, format!("line {number}: {what}")).about(format!("line {number}"))
    };
    let mut found = Vec::new();
    let mut seen = HashSet::new();
    for (number, line) in (1..).zip(body.split(|byte| *byte == b'\n')) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        if found.len() == MAX_DOCUMENTS {
            return Err(wrong(
                number,
                format!("at most {MAX_DOCUMENTS} documents are taken at once; send the rest in another request"),
            ));
        }
        let line: Line = serde_json::from_slice(line).map_err(|error| wrong(number, place_within_line(&error)))?;
        line.check().map_err(|what| wrong(number, what))?;
        if let Some(id) = &line.external_id
            && !seen.insert(id.clone())
        {
            return Err(wrong(number, format!("_id: {id:?} is that of an earlier line, too")));
        }
        found.push(line);
    }
    if found.is_empty() {
        return Err(ApiError::new(Kind::InvalidRequest, "the body holds no document: send one JSON object a line"));
    }
    Ok(found)
}

/// Every text is one line, so the parser's own number of it says nothing.
fn place_within_line(error: &serde_json::Error) -> String {
    error.to_string().replace(" at line 1 column ", " at column ")
}

impl Line {
    fn check(&self) -> Result<(), String> {
        if let Some(id) = &self.external_id
            && (!(1..=MAX_EXTERNAL_ID_BYTES).contains(&id.len()) || id.chars().any(char::is_control))
        {
            return Err(format!("_id: must have 1 to {MAX_EXTERNAL_ID_BYTES} bytes, none of them a control character"));
        }
        if self.title.chars().count() > MAX_TITLE_CHARS {
            return Err(format!("title: must have at most {MAX_TITLE_CHARS} characters"));
        }
        if self.text.len() > MAX_DOCUMENT_TEXT_BYTES {
            return Err(format!("text: must have at most {MAX_DOCUMENT_TEXT_BYTES} bytes"));
        }
        if self.text.trim().is_empty() && self.title.trim().is_empty() {
            return Err("text: must not be empty where there is no title".to_owned());
        }
        let metadata = serde_json::to_vec(&self.metadata).map_or(0, |json| json.len());
        if metadata > MAX_METADATA_BYTES {
            return Err(format!("metadata: must have at most {MAX_METADATA_BYTES} bytes"));
        }
        Ok(())
    }

    /// Its name in lists and in answers.
    fn name(&self, id: DocumentId) -> String {
        let title: String = self.title.split_whitespace().collect::<Vec<_>>().join(" ");
        let title: String = title.chars().filter(|c| !c.is_control()).collect();
        match (title.is_empty(), &self.external_id) {
            (false, _) => title,
            (true, Some(external)) => external.clone(),
            (true, None) => id.to_string(),
        }
    }
}

/// Keeps the texts, some together, and says what is to be written of each document.
async fn keep(
    state: &ApiState,
    caller: &Caller,
    corpus: &str,
    lines: Vec<Line>,
) -> Result<Vec<CorpusDocument>, ApiError> {
    let now = Timestamp::now();
    let mut documents = Vec::with_capacity(lines.len());
    let mut lines = lines.into_iter().peekable();
    while lines.peek().is_some() {
        let (mut pack, mut packed) = (BytesMut::new(), Vec::new());
        while let Some(line) = lines.next_if(|line| pack.is_empty() || pack.len() + line.text.len() <= PACK_BYTES) {
            let offset = pack.len() as u64;
            pack.extend_from_slice(line.text.as_bytes());
            packed.push((offset, line));
        }
        let content = put(state, caller, pack.freeze()).await?;
        for (offset, line) in packed {
            let id = line.external_id.as_deref().map_or_else(DocumentId::new, |external| id_of(corpus, external));
            documents.push(CorpusDocument {
                id,
                corpus: corpus.to_owned(),
                name: line.name(id),
                description: String::new(),
                media_type: "text/plain".to_owned(),
                length_bytes: line.text.len() as u64,
                content,
                offset_bytes: Some(offset),
                external_id: line.external_id,
                metadata: line.metadata,
                created_at: now,
            });
        }
    }
    Ok(documents)
}

async fn put(state: &ApiState, caller: &Caller, text: Bytes) -> Result<vivarium_domain::ContentHash, ApiError> {
    let store = &state.0.store;
    Ok(match caller.limits.of_tenant().allowed.stored_bytes {
        Some(most) => store.put_blob_within(&caller.tenant, text, most).await?,
        None => store.put_blob(&caller.tenant, text).await?,
    })
}

/// The id of the document that has this id of its own in this corpus: always the same one, so that a newer text takes the
/// older one's place. It sorts before all ids that are made of the time.
fn id_of(corpus: &str, external: &str) -> DocumentId {
    let mut hash = Sha256::new();
    for part in [corpus.as_bytes(), external.as_bytes()] {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes: [u8; 16] = hash.finalize().first_chunk().copied().unwrap_or_default();
    // A UUID of version 8, and its first byte that of no time since 1970.
    let marks = [(0, 0x00, 0x00), (6, 0x0f, 0x80), (8, 0x3f, 0x80)];
    for (at, keep, set) in marks {
        if let Some(byte) = bytes.get_mut(at) {
            *byte = (*byte & keep) | set;
        }
    }
    DocumentId::from_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(body: &str) -> String {
        lines(body.as_bytes()).unwrap_err().message().to_owned()
    }

    #[test]
    fn a_collection_is_read_line_by_line_and_what_is_wrong_is_told_with_its_line() {
        let body = "{\"_id\": \"a\", \"title\": \"T\", \"text\": \"x\", \"metadata\": {\"url\": \"u\"}}\r\n\n{\"text\": \"y\"}\n";
        let read = lines(body.as_bytes()).unwrap();
        assert_eq!(read.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["x", "y"]);
        assert_eq!(wrong(""), "the body holds no document: send one JSON object a line");
        assert!(wrong("{\"text\": \"x\"}\n{\"text\": }").starts_with("line 2: expected value at column"));
        assert!(wrong("{\"text\": \"x\", \"body\": 1}").starts_with("line 1: unknown field `body`"));
        assert_eq!(wrong("{\"text\": \" \"}"), "line 1: text: must not be empty where there is no title");
        let twice = "{\"_id\": \"a\", \"text\": \"x\"}\n{\"_id\": \"a\", \"text\": \"y\"}";
        assert_eq!(wrong(twice), "line 2: _id: \"a\" is that of an earlier line, too");
        let many = "{\"text\": \"x\"}\n".repeat(MAX_DOCUMENTS + 1);
        assert!(wrong(&many).starts_with("line 2001: at most 2000 documents are taken at once"));
        let long = format!("{{\"text\": \"{}\"}}", "x".repeat(MAX_DOCUMENT_TEXT_BYTES + 1));
        assert_eq!(wrong(&long), "line 1: text: must have at most 1048576 bytes");
    }

    #[test]
    fn an_id_of_its_own_is_always_the_same_document_and_sorts_before_ids_of_the_time() {
        assert_eq!(id_of("a", "1"), id_of("a", "1"));
        assert_ne!(id_of("a", "1"), id_of("b", "1"));
        assert_ne!(id_of("ab", "c"), id_of("a", "bc"));
        assert!(id_of("a", "1") < DocumentId::new());
    }
}
