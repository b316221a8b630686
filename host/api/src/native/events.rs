//! `GET /v1/runs/{id}/events`: the log, page by page, or as a stream that replays and then follows. Works while the run
//! goes on, after it, and after a restart.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;
use vivarium_domain::{Event, Run, RunId, Scope};
use vivarium_runs::{Cursor, Item};

use super::{NativeError, run_id};
use crate::ApiState;
use crate::attend::Attended;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::segment::Segment;
use crate::sse::{Ends, View, accepts_events, follow, write_event, write_json_event};
use crate::{query, resume};

const DEFAULT_PAGE: usize = 100;
const MAX_PAGE: usize = 1000;

/// A page of a log.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the events are written as they are stored; this says what they are")]
struct EventPage {
    /// The events, in their order.
    data: Vec<Event>,
    /// What `after` of the next page is; null: this is the last one.
    next: Option<String>,
}

/// A run's log
///
/// The log after `after` or `Last-Event-ID`, while the run goes on, after it, and after a restart: a stream that replays and
/// then follows for who accepts `text/event-stream`, a page for everybody else. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/runs/{id}/events", operation_id = "listRunEvents", tag = "Native",
    params(
        ("id" = RunId, Path, description = "The run's id."),
        ("after" = Option<String>, Query, nullable = false, pattern = r"^[0-9]{1,15}(\.[1-9][0-9]{0,9}\.[0-9a-f]{8})?$", description = "The number of the last event that is known; for a stream, or the id of a token."),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 1000, description = "How many events a page holds; 100 if it does not say."),
        ("Last-Event-ID" = Option<String>, Header, nullable = false, pattern = r"^[0-9]{1,15}(\.[1-9][0-9]{0,9}\.[0-9a-f]{8})?$", description = "The same as `after`, and goes before it."),
    ),
    responses(
        (status = 200, description = "The log.", content(
            (EventPage = "application/json"),
            (String = "text/event-stream", example = "id: 1\nevent: step\ndata: {\"seq\":1,\"at\":\"2026-11-22T00:00:00Z\",\"type\":\"step\",\"message\":\"Searching\"}\n\n"),
        )),
        (status = 204, description = "For who wants a stream: the run has ended, and its last event is known. There is nothing more."),
        (status = 410, description = "The host keeps logs for a time only, and this one was removed. The run's record is still there."),
    )
)]
pub(super) async fn events(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, NativeError> {
    caller.needs(Scope::Runs)?;
    let id = run_id(&id)?;
    let asked = Asked::new(uri.query().unwrap_or_default(), &headers)?;
    if !accepts_events(&headers) {
        // One more than asked for tells whether there is a next page.
        let events = state.0.store.events(&caller.tenant, id, asked.after.after, asked.limit + 1).await?;
        // Looked at last: a log that was there when it was read may be removed by now, but not the other way around.
        let run = state.0.runs.get(&caller.tenant, id).await?.ok_or_else(ApiError::run_not_found)?;
        return match run.log_removed_at {
            Some(at) => Err(ApiError::log_removed(at).into()),
            None => Ok(page(&events, asked.limit)),
        };
    }
    let run = resume::run_of(&state, &caller, id).await?;
    Ok(stream(&state, &caller, &run, asked.after).await?)
}

/// A run's log as a stream, behind this cursor.
pub(super) async fn stream(state: &ApiState, caller: &Caller, run: &Run, seen: Cursor) -> Result<Response, ApiError> {
    if resume::is_over(run, seen) {
        return Ok(resume::nothing_more());
    }
    let reader = state.0.runs.follow(&caller.tenant, run.id, seen).await?.ok_or_else(ApiError::run_not_found)?;
    Ok(follow(Attended::new(reader, caller), Log, Ends::of(state, caller)))
}

#[derive(Debug, PartialEq, Eq)]
struct Asked {
    after: Cursor,
    limit: usize,
}

impl Asked {
    fn new(query_string: &str, headers: &HeaderMap) -> Result<Self, ApiError> {
        let (mut after, mut limit) = (None, None);
        for (name, value) in query::pairs(query_string)? {
            match name.as_str() {
                "after" => query::set_once(&mut after, "after", value)?,
                "limit" => query::set_once(&mut limit, "limit", value)?,
                _ => return Err(query::unknown(&name, &["after", "limit"])),
            }
        }
        let after = resume::asked(headers, after.as_deref())?.unwrap_or_default();
        let limit = limit.map(|text| text.parse().ok().filter(|limit| (1..=MAX_PAGE).contains(limit)));
        let limit = match limit {
            None => DEFAULT_PAGE,
            Some(Some(limit)) => limit,
            Some(None) => return Err(ApiError::invalid("limit", format!("must be an integer from 1 to {MAX_PAGE}"))),
        };
        Ok(Self { after, limit })
    }
}

/// `{"data":[…],"next":…}`, of events that are JSON already.
fn page(events: &[(u64, bytes::Bytes)], limit: usize) -> Response {
    let shown = events.get(..limit).unwrap_or(events);
    let mut body = b"{\"data\":[".to_vec();
    for (index, (_, json)) in shown.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        body.extend_from_slice(json);
    }
    let next = shown.last().filter(|_| events.len() > limit).map(|(seq, _)| seq);
    let end = next.map_or_else(|| "],\"next\":null}".to_owned(), |seq| format!("],\"next\":\"{seq}\"}}"));
    body.extend_from_slice(end.as_bytes());
    let mut response = Response::new(Body::from(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// The log as it is.
struct Log;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
enum Live<'a> {
    Token {
        text: &'a str,
    },
    #[serde(rename = "token.void")]
    Void {
        after: u64,
    },
    Reset {
        run: &'a Run,
    },
}

#[derive(Serialize)]
struct CutShort<'a> {
    message: &'a str,
    code: &'a str,
}

impl View for Log {
    fn show(&mut self, item: Item) -> Vec<u8> {
        let mut out = Vec::new();
        match item {
            Item::Event(logged) => {
                let id = Cursor::after(logged.event.seq);
                write_event(&mut out, Some(&id), Some(logged.event.body.type_name()), &logged.json);
            }
            Item::Resumed { event, cursor } => {
                write_event(&mut out, Some(&cursor), Some(event.event.body.type_name()), &event.json);
            }
            Item::Token { text, cursor } => {
                write_json_event(&mut out, Some(&cursor), Some("token"), &Live::Token { text: &text });
            }
            Item::Void { after } => {
                let id = Cursor::after(after);
                write_json_event(&mut out, Some(&id), Some("token.void"), &Live::Void { after });
            }
            Item::Reset(run) => write_json_event(&mut out, None, Some("reset"), &Live::Reset { run: &run }),
            Item::Seen(_) => {}
        }
        out
    }

    fn cut_short(&mut self, error: ApiError) -> Vec<u8> {
        let mut out = Vec::new();
        let body = CutShort { message: error.message(), code: error.code() };
        write_json_event(&mut out, None, Some("error"), &body);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use futures::FutureExt as _;

    fn asked(query_string: &str, last_event_id: Option<&'static str>) -> Result<Asked, ApiError> {
        let mut headers = HeaderMap::new();
        if let Some(id) = last_event_id {
            headers.insert("last-event-id", HeaderValue::from_static(id));
        }
        Asked::new(query_string, &headers)
    }

    #[test]
    fn where_to_go_on_is_read_from_the_header_before_the_query_string() {
        let after = |text: &str| text.parse::<Cursor>().unwrap();
        assert_eq!(asked("", None).unwrap(), Asked { after: after("0"), limit: DEFAULT_PAGE });
        assert_eq!(asked("after=3&limit=1000", None).unwrap(), Asked { after: after("3"), limit: 1000 });
        assert_eq!(asked("after=3", Some("7.2.0badf00d")).unwrap().after, after("7.2.0badf00d"));
        for bad in ["after=-1", "after=x", "after=", "limit=0", "limit=1001", "limit=x", "after=1&after=2"] {
            assert_eq!(asked(bad, None).unwrap_err().code(), "invalid_parameter", "{bad}");
        }
        assert!(asked("", Some("x")).is_err());
    }

    #[test]
    fn a_page_says_where_the_next_one_begins_only_if_there_is_one() {
        let text = |events: &[(u64, Bytes)], limit| {
            let body = page(events, limit).into_body();
            let bytes = axum::body::to_bytes(body, 1000).now_or_never().unwrap().unwrap();
            String::from_utf8(bytes.to_vec()).unwrap()
        };
        let events = [(4, Bytes::from_static(b"{\"seq\":4}")), (5, Bytes::from_static(b"{\"seq\":5}"))];
        assert_eq!(text(&events, 2), r#"{"data":[{"seq":4},{"seq":5}],"next":null}"#);
        assert_eq!(text(&events, 1), r#"{"data":[{"seq":4}],"next":"4"}"#);
        assert_eq!(text(&[], 1), r#"{"data":[],"next":null}"#);
    }
}
