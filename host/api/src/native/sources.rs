//! `GET /v1/runs/{id}/sources` and `/v1/runs/{id}/sources/{source}`: what a run has read, and the stored text that its quotes are
//! checked against, so that a client can see for itself that `text[start..end]` is the quote.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;
use vivarium_domain::{RunId, Scope, Source, TenantId};
use vivarium_runs::source_number;

use super::list::{List, Parameters};
use super::{NativeError, run_id};
use crate::ApiState;
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::segment::Segment;

/// A source with its stored text, or a part of it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceText {
    #[serde(flatten)]
    source: Source,
    /// The length of the whole stored text, in Unicode characters (code points). `lengthBytes` counts bytes of UTF-8.
    length_characters: usize,
    /// Where `text` begins in it, in Unicode characters.
    start: usize,
    /// Where it ends: the first character behind it.
    end: usize,
    /// The stored text from `start` to `end`.
    text: String,
}

impl SourceText {
    fn new(source: Source, text: &str, start: usize, end: Option<usize>) -> Self {
        let length_characters = text.chars().count();
        let end = end.unwrap_or(length_characters).min(length_characters);
        let start = start.min(end);
        let text = text.chars().skip(start).take(end - start).collect();
        Self { source, length_characters, start, end, text }
    }
}

/// The run is there, and so is its log.
async fn look_at(state: &ApiState, tenant: &TenantId, run: RunId) -> Result<(), ApiError> {
    let run = state.0.runs.get(tenant, run).await?.ok_or_else(ApiError::run_not_found)?;
    run.log_removed_at.map_or(Ok(()), |at| Err(ApiError::log_removed(at)))
}

/// The sources of a run
///
/// The documents that its tools have read, by their numbers, without their texts. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/runs/{id}/sources", operation_id = "listRunSources", tag = "Native",
    params(
        ("id" = RunId, Path, description = "The run's id."),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("cursor" = Option<String>, Query, nullable = false, pattern = "^s[0-9]{1,9}$", description = "The `next` of the page before."),
    ),
    responses(
        (status = 200, description = "A page of them.", body = List<Source>),
        (status = 410, description = "The host keeps logs for a time only, and this one was removed."),
    )
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Json<List<Source>>, NativeError> {
    caller.needs(Scope::Runs)?;
    let id = run_id(&id)?;
    let asked = Parameters::of(&uri, &["limit", "cursor"])?;
    let limit = asked.limit()?;
    let after = match asked.text("cursor") {
        Some(cursor) => {
            source_number(cursor).ok_or_else(|| ApiError::invalid("cursor", "must be the next of an earlier page"))?
        }
        None => 0,
    };
    let mut sources = state.0.runs.sources(&caller.tenant, id).await?;
    // Looked at last: a log that was there when it was read may be removed by now, but not the other way around.
    look_at(&state, &caller.tenant, id).await?;
    sources.retain(|source| source_number(&source.id).is_some_and(|number| number > after));
    let more = sources.len() > limit;
    sources.truncate(limit);
    let next = sources.last().filter(|_| more).map(|source| source.id.clone());
    Ok(Json(List::new(sources, next)))
}

/// A source's stored text
///
/// The text that the run's quotes are checked against: for a citation `text[start..end]` of it is the quote, up to white space.
/// `start` and `end` count Unicode characters, as those of citations do; a range beyond the text is cut to it. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/runs/{id}/sources/{source}", operation_id = "getRunSource", tag = "Native",
    params(
        ("id" = RunId, Path, description = "The run's id."),
        ("source" = String, Path, description = "The source's id in the run, such as `s1`."),
        ("start" = Option<u32>, Query, nullable = false, minimum = 0, description = "The first character; without it, that of the text."),
        ("end" = Option<u32>, Query, nullable = false, minimum = 0, description = "The first character behind the range; without it, the text's end."),
    ),
    responses(
        (status = 200, description = "The source with its text.", body = SourceText),
        (status = 410, description = "The host keeps logs for a time only, and this one was removed."),
    )
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment((id, source)): Segment<(String, String)>,
    uri: Uri,
) -> Result<Json<SourceText>, NativeError> {
    caller.needs(Scope::Runs)?;
    let id = run_id(&id)?;
    let must = "must be an integer, 0 or more";
    let asked = Parameters::of(&uri, &["start", "end"])?;
    let (start, end) = (asked.parsed::<u32>("start", must)?.unwrap_or(0), asked.parsed::<u32>("end", must)?);
    if end.is_some_and(|end| end < start) {
        return Err(ApiError::invalid("end", "must not be before start").into());
    }
    let found = state.0.runs.source(&caller.tenant, id, &source).await?;
    look_at(&state, &caller.tenant, id).await?;
    let not_found = || ApiError::new(Kind::NotFound, "this run has no such source").about("source");
    let (source, text) = found.ok_or_else(not_found)?;
    Ok(Json(SourceText::new(source, &text, start as usize, end.map(|end| end as usize))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_counts_characters_and_is_cut_to_the_text() {
        let source = || Source {
            id: "s1".to_owned(),
            title: String::new(),
            location: String::new(),
            media_type: String::new(),
            fetched_at: vivarium_domain::Timestamp::UNIX_EPOCH,
            content_hash: vivarium_domain::ContentHash::of(b""),
            length_bytes: 0,
            tool: String::new(),
        };
        let range = |start, end| {
            let told = SourceText::new(source(), "äöü€x", start, end);
            (told.start, told.end, told.text)
        };
        assert_eq!(range(1, Some(3)), (1, 3, "öü".to_owned()));
        assert_eq!(range(0, None), (0, 5, "äöü€x".to_owned()));
        assert_eq!(range(4, Some(900)), (4, 5, "x".to_owned()));
        assert_eq!(range(900, None), (5, 5, String::new()));
    }
}
