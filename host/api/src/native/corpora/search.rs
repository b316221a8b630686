//! `/v1/corpora/{corpus}/search`: the documents that answer a query, for people and for programs that measure how well.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;
use vivarium_domain::{DocumentId, Scope};

use super::corpus_name;
use crate::ApiState;
use crate::corpora::{CorporaError, FoundDocument};
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::native::NativeError;
use crate::native::list::{List, Parameters};
use crate::segment::Segment;

/// How many documents a page has where nobody says it.
const DEFAULT_LIMIT: usize = 10;
/// The most documents of a page.
const MAX_LIMIT: usize = 1000;
/// How far down the ranking anybody can look.
const MAX_RANK: usize = 10_000;
/// As the contract's search has it.
const MAX_QUERY_BYTES: usize = 4 << 10;

/// A stretch of a passage, in bytes of its UTF-8.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Stretch {
    /// Where it begins.
    start: usize,
    /// Where it ends: the first byte after it.
    end: usize,
}

/// A document that answers the query.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct DocumentFound {
    /// The document.
    id: DocumentId,
    /// The id that it has where it came from; left out where it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    external_id: Option<String>,
    /// Its name.
    name: String,
    /// The heading that the passage stands under; empty where there is none.
    heading: String,
    /// Its best passage, word for word.
    passage: String,
    /// Where words of the query stand in the passage.
    highlights: Vec<Stretch>,
    /// BM25: comparable within the answers to one query only.
    score: f32,
}

impl From<FoundDocument> for DocumentFound {
    fn from(found: FoundDocument) -> Self {
        let FoundDocument { id, external_id, name, heading, passage, highlights, score } = found;
        let highlights = highlights.into_iter().map(|range| Stretch { start: range.start, end: range.end }).collect();
        Self { id, external_id, name, heading, passage, highlights, score }
    }
}

impl From<CorporaError> for ApiError {
    fn from(error: CorporaError) -> Self {
        match error {
            CorporaError::InvalidQuery(_) => {
                Self::new(Kind::InvalidParameter, "q must hold a word to search for").about("q")
            }
            CorporaError::Unavailable(why) => Self::new(Kind::Overloaded, why),
        }
    }
}

/// Search a corpus
///
/// The documents that answer the query best, each once with its best passage, best first. The query is taken as words; nothing in
/// it has a special meaning. At most the first 10000 can be seen, page by page. Needs the scope `agents:read`.
#[utoipa::path(
    get, path = "/v1/corpora/{corpus}/search", operation_id = "searchCorpus", tag = "Native",
    params(
        ("corpus" = String, Path, min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]*$",
            description = "The collection's name.", example = "harbour"),
        ("q" = String, Query, min_length = 1, max_length = 4096, description = "What to search for; at most 4096 bytes.", example = "gates"),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 1000, description = "At most so many; without it, 10."),
        ("cursor" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 9999, description = "The `next` of the page before."),
    ),
    responses((status = 200, description = "A page of them; an empty one where there is no such corpus.", body = List<DocumentFound>))
)]
pub(super) async fn search(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(corpus): Segment<String>,
    uri: Uri,
) -> Result<Json<List<DocumentFound>>, NativeError> {
    caller.needs(Scope::AgentsRead)?;
    let corpus = corpus_name(corpus)?;
    let parameters = Parameters::of(&uri, &["q", "limit", "cursor"])?;
    let query = parameters.text("q").ok_or_else(|| ApiError::missing("q"))?.to_owned();
    if query.len() > MAX_QUERY_BYTES {
        return Err(ApiError::invalid("q", format!("must have at most {MAX_QUERY_BYTES} bytes")).into());
    }
    let must = format!("must be an integer from 1 to {MAX_LIMIT}");
    let limit: usize = parameters.parsed("limit", &must)?.unwrap_or(DEFAULT_LIMIT);
    if !(1..=MAX_LIMIT).contains(&limit) {
        return Err(ApiError::invalid("limit", must).into());
    }
    let skip: usize = parameters.cursor()?.unwrap_or(0);
    if skip >= MAX_RANK {
        return Err(ApiError::invalid("cursor", "must be the next of an earlier page").into());
    }
    let take = limit.min(MAX_RANK - skip);
    // One more than are shown says whether there is another page.
    let mut found =
        state.0.corpora.search(&caller.tenant, &corpus, query, skip, take + 1).await.map_err(ApiError::from)?;
    let next = (found.len() > take && skip + take < MAX_RANK).then_some(skip + take);
    found.truncate(take);
    Ok(Json(List::new(found.into_iter().map(Into::into).collect(), next)))
}
