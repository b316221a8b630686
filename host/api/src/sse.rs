//! Server-sent events: one whole event (or several) per piece of the body, comments while nothing happens, and an end
//! that is always said, whoever brings it about.

use std::convert::Infallible;
use std::fmt::Display;
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt as _};
use serde::Serialize;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use vivarium_runs::{FollowError, Item};
use vivarium_sight::metric::{self, NO_LABELS, OneMore};

use crate::ApiState;
use crate::attend::Attended;
use crate::auth::{Caller, Life};
use crate::error::ApiError;

/// Proxies and clients give a silent connection up after 30 s and more.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// How a dialect shows a run's items.
pub(crate) trait View: Send + 'static {
    /// What the client is told before anything has happened.
    fn open(&self) -> Vec<u8> {
        Vec::new()
    }

    /// Looks up what must be known before the item is shown.
    fn prepare(&mut self, _item: &Item) -> impl Future<Output = ()> + Send {
        async {}
    }

    /// What the client sees of an item; nothing: an empty text. Of what the client has seen before it came back, the view is
    /// told as of all else, and what it makes of that is not sent; no item is an [`Item::Seen`].
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
    /// The life of the key that opened it.
    pub(crate) key: Arc<Life>,
}

impl Ends {
    /// Of a caller's stream.
    pub(crate) fn of(state: &ApiState, caller: &Caller) -> Self {
        Self { shutdown: state.0.shutdown.clone(), key: Arc::clone(&caller.life) }
    }
}

/// The answer that follows a run until its end.
pub(crate) fn follow<V: View>(run: Attended, view: V, ends: Ends) -> Response {
    let mut response = Response::new(Body::from_stream(pieces(run.items(), view, ends).map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// The body's pieces. None is made before the one before it was taken: a client that does not read holds up its own stream
/// and nothing else.
fn pieces<V: View>(items: Items, view: V, ends: Ends) -> impl futures::Stream<Item = Bytes> + Send {
    let opening = Some(Bytes::from(view.open())).filter(|opening| !opening.is_empty());
    let counted = metric::HTTP_STREAMS.one_more(NO_LABELS);
    let open = Open { items, view, ends, said_at: Instant::now(), _counted: counted };
    let rest = stream::unfold(Some(open), async |open| open?.next_piece().await);
    stream::iter(opening).chain(rest)
}

/// A run's items, as its reader gives them.
pub(crate) type Items = BoxStream<'static, Result<Item, FollowError>>;

struct Open<V> {
    items: Items,
    view: V,
    ends: Ends,
    /// When the client was last told something. Much may happen of which a dialect has nothing to tell.
    said_at: Instant,
    _counted: OneMore,
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
                Next::Item(Item::Seen(item)) => {
                    let _seen = self.show(*item).await;
                }
                Next::Item(item) => {
                    let piece = self.show(item).await;
                    if !piece.is_empty() {
                        return Some(self.said(piece.into()));
                    }
                }
                Next::Silence => return Some(self.said(Bytes::from_static(b": keep-alive\n\n"))),
                Next::CutShort(error) => return Some((self.view.cut_short(error).into(), None)),
                Next::End => return None,
            }
        }
    }

    async fn show(&mut self, item: Item) -> Vec<u8> {
        self.view.prepare(&item).await;
        self.view.show(item)
    }

    fn said(mut self, piece: Bytes) -> (Bytes, Option<Self>) {
        self.said_at = Instant::now();
        (piece, Some(self))
    }

    async fn next(&mut self) -> Next {
        tokio::select! {
            biased;
            item = timeout_at(self.said_at + KEEP_ALIVE, self.items.next()) => match item {
                Err(_) => Next::Silence,
                Ok(Some(Ok(item))) => Next::Item(item),
                Ok(None) => Next::End,
                Ok(Some(Err(error))) => Next::CutShort(error.into()),
            },
            ended = self.ends.key.end() => Next::CutShort(ended),
            () = self.ends.shutdown.cancelled() => Next::CutShort(ApiError::shutting_down()),
        }
    }
}

/// Writes one event. `json` is on one line: JSON escapes what would break it.
pub(crate) fn write_event(out: &mut Vec<u8>, id: Option<&dyn Display>, name: Option<&str>, json: &[u8]) {
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
pub(crate) fn write_json_event(
    out: &mut Vec<u8>,
    id: Option<&dyn Display>,
    name: Option<&str>,
    value: &impl Serialize,
) {
    match serde_json::to_vec(value) {
        Ok(json) => write_event(out, id, name, &json),
        // The views are plain structs of texts and numbers; if one ever is not, its event is missing and this says so.
        Err(error) => tracing::error!(%error, "an event could not be written as JSON"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vivarium_domain::KeyEnd;
    use vivarium_runs::Cursor;

    /// Shows tokens that are not empty, and counts all items.
    #[derive(Default)]
    struct Tokens(usize);

    impl View for Tokens {
        fn show(&mut self, item: Item) -> Vec<u8> {
            self.0 += 1;
            match item {
                Item::Token { text, .. } if !text.is_empty() => format!("{} {text}", self.0).into_bytes(),
                _ => Vec::new(),
            }
        }

        fn cut_short(&mut self, error: ApiError) -> Vec<u8> {
            error.code().as_bytes().to_vec()
        }
    }

    fn token(text: &str) -> Item {
        Item::Token { text: text.into(), cursor: Cursor::default() }
    }

    fn ends() -> Ends {
        Ends { shutdown: CancellationToken::new(), key: Arc::default() }
    }

    /// These items, a second before each, and then nothing more for ever.
    fn every_second(items: Vec<Item>) -> Items {
        let timed = stream::iter(items).then(async |item| {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(item)
        });
        timed.chain(stream::pending()).boxed()
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_hears_something_every_15_seconds_also_while_much_happens_of_which_it_is_told_nothing() {
        let mut items = vec![token("a")];
        items.extend(vec![token(""); 20]);
        let begun = Instant::now();
        let pieces = pieces(every_second(items), Tokens::default(), ends());
        let timed = pieces.take(3).map(|piece| (piece, begun.elapsed().as_secs()));
        let told: Vec<(Bytes, u64)> = timed.collect().await;
        let silence = || Bytes::from_static(b": keep-alive\n\n");
        assert_eq!(told, [("1 a".into(), 1), (silence(), 16), (silence(), 31)]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_seen_is_known_to_the_view_and_not_sent() {
        let seen = Item::Seen(Box::new(token("seen")));
        let told: Vec<Bytes> =
            pieces(every_second(vec![seen, token("new")]), Tokens::default(), ends()).take(1).collect().await;
        assert_eq!(told, ["2 new"]);
    }

    #[tokio::test(start_paused = true)]
    async fn whatever_cuts_a_stream_short_is_its_one_last_word() {
        let told = async |items: Items, ends| pieces(items, Tokens::default(), ends).collect::<Vec<Bytes>>().await;
        let stopped = ends();
        stopped.shutdown.cancel();
        assert_eq!(told(stream::pending().boxed(), stopped).await, ["shutting_down"]);
        for (how, code) in [(KeyEnd::Revoked, "api_key_revoked"), (KeyEnd::Expired, "api_key_expired")] {
            let ended = ends();
            ended.key.finish(how);
            assert_eq!(told(stream::pending().boxed(), ended).await, [code]);
        }
        for (error, code) in [(FollowError::Stopping, "shutting_down"), (FollowError::Deleted, "not_found")] {
            let items = stream::iter([Ok(token("a")), Err(error)]).chain(stream::pending()).boxed();
            assert_eq!(told(items, ends()).await, ["1 a", code]);
        }
    }

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
