//! A reader of `text/event-stream` that takes nothing for granted: a line that the format does not know ends the test.

use std::collections::VecDeque;

use futures::StreamExt as _;
use futures::stream::BoxStream;

use crate::soon;

/// One event, or one comment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SseEvent {
    /// `id:`.
    pub id: Option<String>,
    /// `event:`; none for an unnamed event.
    pub event: Option<String>,
    /// The `data:` lines, joined by newlines.
    pub data: String,
    /// The text after a leading `:`, for a block that is only a comment.
    pub comment: Option<String>,
}

impl SseEvent {
    /// The data as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.data).unwrap_or_else(|error| panic!("{:?} is no JSON: {error}", self.data))
    }
}

/// The events of an open response.
pub struct SseStream {
    chunks: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    pending: String,
    ready: VecDeque<SseEvent>,
    last_id: Option<String>,
}

impl SseStream {
    /// Reads a response.
    ///
    /// # Panics
    /// When it is no event stream.
    #[must_use]
    pub fn new(response: reqwest::Response) -> Self {
        let media_type =
            response.headers().get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert!(media_type.starts_with("text/event-stream"), "{} {media_type:?} is no stream", response.status());
        Self { chunks: response.bytes_stream().boxed(), pending: String::new(), ready: VecDeque::new(), last_id: None }
    }

    /// What a client sends as `Last-Event-ID` that comes back now.
    #[must_use]
    pub fn last_id(&self) -> Option<&str> {
        self.last_id.as_deref()
    }

    /// The next event; none at the end of the stream. An id without data is no event, and remembered all the same, as browsers
    /// have it.
    ///
    /// # Panics
    /// When the stream breaks, stands still, or ends within an event.
    pub async fn next(&mut self) -> Option<SseEvent> {
        loop {
            while let Some(event) = self.ready.pop_front() {
                if event.id.is_some() {
                    self.last_id.clone_from(&event.id);
                }
                if event.comment.is_some() || !event.data.is_empty() {
                    return Some(event);
                }
            }
            let Some(chunk) = soon("the next piece of the stream", self.chunks.next()).await else {
                assert!(self.pending.is_empty(), "the stream ends within an event: {:?}", self.pending);
                return None;
            };
            let chunk = chunk.expect("the stream does not break");
            self.pending
                .push_str(std::str::from_utf8(&chunk).expect("an event is flushed whole, so no character is cut"));
            if let Some(end) = self.pending.rfind("\n\n") {
                let rest = self.pending.split_off(end + 2);
                let whole = std::mem::replace(&mut self.pending, rest);
                self.ready.extend(parse_events(&whole));
            }
        }
    }

    /// All events that are left.
    pub async fn rest(mut self) -> Vec<SseEvent> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }
}

/// The events of a whole stream.
///
/// # Panics
/// At the first line that the format does not know, and when the last event has no empty line after it.
#[must_use]
pub fn parse_events(text: &str) -> Vec<SseEvent> {
    assert!(text.is_empty() || text.ends_with("\n\n"), "the last event is not ended by an empty line: {text:?}");
    text.split("\n\n").filter(|block| !block.is_empty()).map(parse_event).collect()
}

fn parse_event(block: &str) -> SseEvent {
    let mut event = SseEvent::default();
    let mut data: Vec<&str> = Vec::new();
    for line in block.lines() {
        match line.split_once(':') {
            Some(("", comment)) => event.comment = Some(comment.trim().to_owned()),
            Some(("data", value)) => data.push(value.strip_prefix(' ').expect("`data: ` has its space")),
            Some(("id", value)) => event.id = Some(value.trim_start().to_owned()),
            Some(("event", value)) => event.event = Some(value.trim_start().to_owned()),
            Some(("retry", value)) => {
                assert!(value.trim().parse::<u64>().is_ok(), "retry takes milliseconds: {value:?}")
            }
            _ => panic!("{line:?} is no line of an event stream"),
        }
    }
    event.data = data.join("\n");
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_comments_and_names_are_told_apart() {
        let events = parse_events(": hi\n\nid: 3\nevent: step\ndata: {\"a\":1}\n\ndata: [DONE]\n\n");
        assert_eq!(events.len(), 3);
        assert_eq!(events[0].comment.as_deref(), Some("hi"));
        assert_eq!((events[1].id.as_deref(), events[1].event.as_deref()), (Some("3"), Some("step")));
        assert_eq!(events[1].json()["a"], 1);
        assert_eq!(events[2].data, "[DONE]");
    }

    #[test]
    #[should_panic(expected = "is not ended")]
    fn a_cut_event_is_noticed() {
        let _ = parse_events("data: {\"a\"");
    }

    #[test]
    #[should_panic(expected = "is no line")]
    fn a_line_that_the_format_does_not_know_is_noticed() {
        let _ = parse_events("{\"a\":1}\n\n");
    }
}
