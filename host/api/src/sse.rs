//! Server-sent events: one whole event (or several) per piece of the body, comments while nothing happens, and an end
//! that is always said, whoever brings it about.

use std::convert::Infallible;
use std::io::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream;
use serde::Serialize;
use tokio_util::sync::CancellationToken;
use vivarium_runs::{Cursor, Item};

use crate::attend::Attended;
use crate::error::ApiError;

/// Proxies and clients give a silent connection up after 30 s and more.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How a dialect shows a run's items.
pub(crate) trait View: Send + 'static {
    /// Looks up what must be known before the item is shown.
    fn prepare(&mut self, _item: &Item) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// What the client sees of an item; nothing: an empty text.
    fn show(&mut self, item: Item) -> Vec<u8>;

    /// What the client sees when the stream ends before its run does.
    fn cut_short(&mut self, error: ApiError) -> Vec<u8>;
}

/// The client takes a stream of events.
pub(crate) fn accepts_events(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|range| {
        let essence = range.split(';').next().unwrap_or_default().trim();
        essence.eq_ignore_ascii_case("text/event-stream")
    })
}

/// What ends a stream before its run.
#[derive(Clone)]
pub(crate) struct Ends {
    /// The host stops.
    pub(crate) shutdown: CancellationToken,
    /// The key that opened it is no longer valid.
    pub(crate) revoked: CancellationToken,
}

/// The answer that follows a run until its end.
pub(crate) fn follow<V: View>(run: Attended, view: V, ends: Ends) -> Response {
    let open = Open { run, view, ends };
    let pieces = stream::unfold(Some(open), async |open| {
        let (piece, open) = open?.next_piece().await?;
        Some((Ok::<_, Infallible>(piece), open))
    });
    let mut response = Response::new(Body::from_stream(pieces));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

struct Open<V> {
    run: Attended,
    view: V,
    ends: Ends,
}

enum Next {
    Item(Item),
    End,
    CutShort(ApiError),
    Silence,
}

impl<V: View> Open<V> {
    /// The next piece of the body, and what is still open after it.
    async fn next_piece(mut self) -> Option<(Bytes, Option<Self>)> {
        loop {
            match self.next().await {
                Next::Item(item) => {
                    self.view.prepare(&item).await;
                    let piece = self.view.show(item);
                    if !piece.is_empty() {
                        return Some((piece.into(), Some(self)));
                    }
                }
                Next::Silence => return Some((Bytes::from_static(b": keep-alive\n\n"), Some(self))),
                Next::CutShort(error) => return Some((self.view.cut_short(error).into(), None)),
                Next::End => return None,
            }
        }
    }

    async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            item = tokio::time::timeout(KEEP_ALIVE, self.run.next()) => match item {
                Err(_) => Next::Silence,
                Ok(Ok(Some(item))) => Next::Item(item),
                Ok(Ok(None)) => Next::End,
                Ok(Err(error)) => Next::CutShort(error.into()),
            },
            () = self.ends.revoked.cancelled() => Next::CutShort(ApiError::key_revoked()),
            () = self.ends.shutdown.cancelled() => Next::CutShort(ApiError::shutting_down()),
        }
    }
}

/// Writes one event. `json` is on one line: JSON escapes what would break it.
pub(crate) fn write_event(out: &mut Vec<u8>, id: Option<Cursor>, name: Option<&str>, json: &[u8]) {
    // Writing to a vector does not fail.
    if let Some(id) = id {
        let _written = writeln!(out, "id: {id}");
    }
    if let Some(name) = name {
        let _written = writeln!(out, "event: {name}");
    }
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(json);
    out.extend_from_slice(b"\n\n");
}

/// Writes one event whose data is `value` as JSON.
pub(crate) fn write_json_event(out: &mut Vec<u8>, id: Option<Cursor>, name: Option<&str>, value: &impl Serialize) {
    match serde_json::to_vec(value) {
        Ok(json) => write_event(out, id, name, &json),
        // The views are plain structs of texts and numbers; if one ever is not, its event is missing and this says so.
        Err(error) => tracing::error!(%error, "an event could not be written as JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_for_who_asks_for_one() {
        let accept = |value: &'static str| {
            accepts_events(&HeaderMap::from_iter([(header::ACCEPT, HeaderValue::from_static(value))]))
        };
        assert!(accept("application/json, Text/Event-Stream;q=0.9"));
        assert!(!accept("*/*"));
        assert!(!accept("text/event-streams"));
    }
}
