//! An answer token by token. A client that only strings tokens together has the answer whole and once: what was not
//! streamed as the model wrote it is sent before the end, and who comes back behind a token is sent what comes after it.

use std::fmt::Display;

use serde::Serialize;
use utoipa::ToSchema;
use vivarium_domain::{EventBody, Outcome, SessionId, Timestamp};
use vivarium_runs::{Cursor, Item};

use super::message::{Awaited, Message, answer_text};
use crate::ApiState;
use crate::error::ApiError;
use crate::resume::Mark;
use crate::sse::{View, write_json_event};

/// An event of the stream: the data of one line that begins with `data: `.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
#[schema(as = AgentHubStreamEvent)]
pub(super) enum StreamEvent {
    /// A piece of the answer.
    Token {
        /// Its text.
        value: String,
    },
    /// The answer is whole.
    Done {
        /// The answer, as it would have come in one piece.
        message: Box<Message>,
        /// The session, where it is in one.
        #[serde(rename = "session_id", skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        session_id: Option<SessionId>,
    },
    /// What was streamed before is void: the answer is streamed from its beginning. Only for who has come back.
    Reset,
    /// There will be no answer.
    Error {
        /// Why.
        #[serde(rename = "errorDetails")]
        error_details: ErrorDetails,
    },
}

/// Why a stream has no answer.
#[derive(Serialize, ToSchema)]
#[schema(as = AgentHubStreamError)]
pub(super) struct ErrorDetails {
    /// For a person.
    message: String,
    /// As in an error's answer.
    #[schema(example = "PROVIDER_ERROR")]
    code: &'static str,
}

/// A run as this dialect tells it.
pub(super) struct Telling {
    state: ApiState,
    awaited: Awaited,
    /// Tokens are shown as they come: not those of JSON, which may still be repaired.
    as_they_come: bool,
    /// The tokens that were shown.
    shown: String,
    /// Where in them the words of the model's last answer begin.
    last: usize,
    /// Where the stream begins.
    seen: Cursor,
    /// The answer's id and time, once the run has ended.
    placed: Option<(String, Timestamp)>,
}

impl Telling {
    pub(super) fn new(state: ApiState, awaited: Awaited, as_json: bool, seen: Cursor) -> Self {
        Self { state, awaited, as_they_come: !as_json, shown: String::new(), last: 0, seen, placed: None }
    }

    fn write(&self, out: &mut Vec<u8>, seen: Cursor, event: &StreamEvent) {
        write_json_event(out, Some(&Mark { run: self.awaited.run, seen }), None, event);
    }

    /// `seq` is the number of the run's last event.
    fn done(&mut self, out: &mut Vec<u8>, seq: u64, outcome: &Outcome) {
        let end = Cursor::after(seq);
        let Some(placed) = self.placed.take() else { return self.error(out, Some(end), &ApiError::internal()) };
        if let Some(value) = unsaid(&self.shown, self.last, &answer_text(outcome)) {
            let behind = Cursor::behind(seq.saturating_sub(1), &value);
            // Who has seen this and not the end has it.
            if behind != self.seen {
                self.write(out, behind, &StreamEvent::Token { value });
            }
        }
        let message = Box::new(self.awaited.answer(placed, outcome));
        let session_id = self.awaited.session.clone();
        self.write(out, end, &StreamEvent::Done { message, session_id });
    }

    /// What was streamed counts no more. The document has no word for it: for who knows only that, what comes is a paragraph of
    /// its own.
    fn reset(&mut self, out: &mut Vec<u8>, seen: Cursor) {
        self.shown.clear();
        self.last = 0;
        write_json_event(out, None, None, &StreamEvent::Token { value: "\n\n".to_owned() });
        self.write(out, seen, &StreamEvent::Reset);
    }

    /// `seen`: where it stands in the run's log; none: it is not the run's.
    fn error(&self, out: &mut Vec<u8>, seen: Option<Cursor>, error: &ApiError) {
        let error_details = ErrorDetails { message: error.message().to_owned(), code: error.agent_hub_code() };
        let mark = seen.map(|seen| Mark { run: self.awaited.run, seen });
        let id = mark.as_ref().map(|mark| mark as &dyn Display);
        write_json_event(out, id, None, &StreamEvent::Error { error_details });
    }
}

/// What of the answer is still to be shown, where the model's last words begin at `last`. What a model said before it called a tool
/// stands in front of these, and a mode may have added something to them.
fn unsaid(shown: &str, last: usize, answer: &str) -> Option<String> {
    if shown.ends_with(answer) {
        return None;
    }
    let words = shown.get(last..).filter(|words| !words.is_empty()).unwrap_or(shown);
    match answer.strip_prefix(words).or_else(|| answer.strip_prefix(shown)) {
        Some(rest) => Some(rest.to_owned()),
        // What was shown is not how the answer begins: a paragraph of its own.
        None => Some(format!("\n\n{answer}")),
    }
}

impl View for Telling {
    async fn prepare(&mut self, item: &Item) {
        if let Item::Event(logged) = item
            && matches!(logged.event.body, EventBody::RunCompleted { .. })
        {
            self.placed = Some(self.awaited.placed(&self.state, logged.event.at).await);
        }
    }

    fn show(&mut self, item: Item) -> Vec<u8> {
        let mut out = Vec::new();
        let logged = match item {
            Item::Event(logged) => logged,
            Item::Token { text, cursor } => {
                if self.as_they_come {
                    self.shown.push_str(&text);
                    self.write(&mut out, cursor, &StreamEvent::Token { value: text.as_ref().to_owned() });
                }
                return out;
            }
            Item::Void { after } => {
                if self.as_they_come {
                    self.reset(&mut out, Cursor::after(after));
                }
                return out;
            }
            Item::Reset(_) => {
                self.reset(&mut out, Cursor::default());
                return out;
            }
            Item::Resumed { .. } | Item::Seen(_) => return out,
        };
        let seq = logged.event.seq;
        let end = Some(Cursor::after(seq));
        match &logged.event.body {
            EventBody::RunCompleted { outcome, .. } => self.done(&mut out, seq, outcome),
            EventBody::RunFailed { failure, .. } => self.error(&mut out, end, &failure.into()),
            EventBody::RunCancelled { reason, .. } => self.error(&mut out, end, &ApiError::run_cancelled(reason)),
            body => {
                if matches!(body, EventBody::ModelStarted { .. }) {
                    self.last = self.shown.len();
                }
                self.awaited.note(&logged);
            }
        }
        out
    }

    fn cut_short(&mut self, error: ApiError) -> Vec<u8> {
        let mut out = Vec::new();
        self.error(&mut out, None, &error);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_and_what_is_sent_at_the_end_is_the_answer_once() {
        for (shown, last, answer, expected) in [
            ("", 0, "whole", Some("whole")),
            ("all of it", 0, "all of it", None),
            ("Let me look.It is 5.", 12, "It is 5.", None),
            ("Let me look.It is 5.", 12, "It is 5.\n\n## Runs", Some("\n\n## Runs")),
            ("It is", 0, "It is 5.", Some(" 5.")),
            ("Thinking", 0, "It is 5.", Some("\n\nIt is 5.")),
            ("Thinking", 8, "It is 5.", Some("\n\nIt is 5.")),
            ("anything", 0, "", None),
            ("", 0, "", None),
        ] {
            assert_eq!(unsaid(shown, last, answer).as_deref(), expected, "{shown:?} {answer:?}");
        }
    }
}
