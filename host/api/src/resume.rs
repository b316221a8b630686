//! A stream that is taken up again. Its events' ids say which run it tells and how far who has seen them has come; a request to
//! the same route with the last one goes on there. It starts no run and is charged for none, whoever sends it: a browser
//! reconnects by itself, and would ask its question a second time.

use std::fmt;
use std::str::FromStr;

use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Response};
use utoipa::IntoParams;
use vivarium_domain::{Run, RunId};
use vivarium_runs::Cursor;

use crate::ApiState;
use crate::auth::Caller;
use crate::error::ApiError;
use crate::query;

/// The header's name.
pub(crate) const HEADER: &str = "Last-Event-ID";

/// The header and the parameter, in the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the header is read from the headers; this says what it may hold")]
pub(crate) struct LastEventId {
    /// The id of the last event that was seen: the stream of its run goes on behind it. Starts no run, and goes before `after`.
    #[param(
        rename = "Last-Event-ID",
        nullable = false,
        pattern = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9]{1,15}(\.[1-9][0-9]{0,9}\.[0-9a-f]{8})?$"
    )]
    id: Option<String>,
}

/// A place in a run's stream: an event's id. As text, `<run's id>:<cursor>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(crate) run: RunId,
    /// How far who has seen it has come.
    pub(crate) seen: Cursor,
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.run, self.seen)
    }
}

/// What is no mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be the id of an event of such a stream: a run's id, a colon and how far it was seen")]
pub(crate) struct NoMark;

impl FromStr for Mark {
    type Err = NoMark;

    fn from_str(text: &str) -> Result<Self, NoMark> {
        let (run, seen) = text.split_once(':').ok_or(NoMark)?;
        Ok(Self { run: run.parse().map_err(|_| NoMark)?, seen: seen.parse().map_err(|_| NoMark)? })
    }
}

/// Where a request wants its stream to go on: behind what the header names, or else `after`. None: it is a new one.
///
/// # Errors
/// When what it names is no id of such a stream.
pub(crate) fn asked<T: FromStr<Err: fmt::Display>>(
    headers: &HeaderMap,
    after: Option<&str>,
) -> Result<Option<T>, ApiError> {
    let read = |name: &'static str, text: &str| text.parse().map_err(|error| ApiError::invalid(name, error));
    // A browser that reconnects sends the header, and repeats the query string that it began with.
    let after = after.map(|text| read("after", text)).transpose()?;
    let last_seen = headers.get(HEADER).map(|value| read(HEADER, value.to_str().unwrap_or_default())).transpose()?;
    Ok(last_seen.or(after))
}

/// The parameter `after` of a query string that may hold others.
pub(crate) fn after(query_string: Option<&str>) -> Result<Option<String>, ApiError> {
    let mut after = None;
    for (name, value) in query::pairs(query_string.unwrap_or_default())? {
        if name == "after" {
            query::set_once(&mut after, "after", value)?;
        }
    }
    Ok(after)
}

/// The run that a stream goes on with.
///
/// # Errors
/// When the caller's tenant has no such run.
pub(crate) async fn run_of(state: &ApiState, caller: &Caller, run: RunId) -> Result<Run, ApiError> {
    state.0.runs.get(&caller.tenant, run).await?.ok_or_else(ApiError::run_not_found)
}

/// Who has come so far has seen the run's end.
pub(crate) fn is_over(run: &Run, seen: Cursor) -> bool {
    run.status.is_terminal() && seen == Cursor::after(run.last_seq)
}

/// There is nothing more. A browser that gets this does not come back.
pub(crate) fn nothing_more() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;
    use proptest::prelude::*;

    const RUN: &str = "0192f000-0000-7000-8000-000000000001";

    fn headers(id: &str) -> HeaderMap {
        HeaderMap::from_iter([("last-event-id".parse().unwrap(), HeaderValue::from_str(id).unwrap())])
    }

    #[test]
    fn a_mark_is_read_as_it_is_written() {
        for text in [format!("{RUN}:0"), format!("{RUN}:7"), format!("{RUN}:7.132.9ae3f1c2")] {
            assert_eq!(text.parse::<Mark>().unwrap().to_string(), text);
        }
        for bad in ["", "7", RUN, &format!("{RUN}:"), &format!("{RUN}:x"), "x:7", &format!("{RUN}:7:7")] {
            assert_eq!(bad.parse::<Mark>(), Err(NoMark), "{bad:?}");
        }
    }

    #[test]
    fn the_header_goes_before_the_parameter_and_what_is_no_mark_is_refused_by_name() {
        let (seven, eight) = (format!("{RUN}:7"), format!("{RUN}:8"));
        let found = asked::<Mark>(&headers(&eight), Some(&seven)).unwrap().unwrap();
        assert_eq!(found.to_string(), eight);
        let found = asked::<Mark>(&HeaderMap::new(), Some(&seven)).unwrap().unwrap();
        assert_eq!(found.to_string(), seven);
        assert_eq!(asked::<Mark>(&HeaderMap::new(), None).unwrap(), None);
        let refused = asked::<Mark>(&headers("7"), None).unwrap_err();
        assert!(refused.message().starts_with("Last-Event-ID must be the id of an event"), "{}", refused.message());
        assert!(asked::<Mark>(&headers(&seven), Some("x")).is_err());
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[0-9a-f.:-]{0,60}") {
            let _any = text.parse::<Mark>();
        }
    }
}
