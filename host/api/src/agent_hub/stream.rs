//! An answer token by token. A client that only strings tokens together has the answer whole and once: what was not
//! streamed as the model wrote it is sent before the end.

use serde::Serialize;
use utoipa::ToSchema;
use vivarium_domain::{EventBody, Outcome, SessionId, Timestamp};
use vivarium_runs::Item;

use super::message::{Awaited, Message, answer_text};
use crate::ApiState;
use crate::error::ApiError;
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
    /// The answer's id and time, once the run has ended.
    placed: Option<(String, Timestamp)>,
}

impl Telling {
    pub(super) fn new(state: ApiState, awaited: Awaited, as_json: bool) -> Self {
        Self { state, awaited, as_they_come: !as_json, shown: String::new(), placed: None }
    }

    fn done(&mut self, out: &mut Vec<u8>, outcome: &Outcome) {
        let Some(placed) = self.placed.take() else { return self.error(out, &ApiError::internal()) };
        if let Some(value) = unsaid(&self.shown, &answer_text(outcome)) {
            write_json_event(out, None, None, &StreamEvent::Token { value });
        }
        let message = Box::new(self.awaited.answer(placed, outcome));
        let session_id = self.awaited.session.clone();
        write_json_event(out, None, None, &StreamEvent::Done { message, session_id });
    }

    fn token(&mut self, out: &mut Vec<u8>, text: &str) {
        self.shown.push_str(text);
        write_json_event(out, None, None, &StreamEvent::Token { value: text.to_owned() });
    }

    fn error(&self, out: &mut Vec<u8>, error: &ApiError) {
        let error_details = ErrorDetails { message: error.message().to_owned(), code: error.agent_hub_code() };
        write_json_event(out, None, None, &StreamEvent::Error { error_details });
    }
}

/// What of the answer is still to be shown. What a model said before it called a tool stands in front of it.
fn unsaid(shown: &str, answer: &str) -> Option<String> {
    if shown.ends_with(answer) {
        return None;
    }
    match answer.strip_prefix(shown) {
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
            Item::Token { text, .. } => {
                if self.as_they_come {
                    self.token(&mut out, &text);
                }
                return out;
            }
            Item::Void { .. } => {
                // The document has no word for it: what comes is a paragraph of its own.
                if self.as_they_come {
                    self.token(&mut out, "\n\n");
                }
                return out;
            }
            Item::Reset(_) | Item::Seen(_) => return out,
        };
        match &logged.event.body {
            EventBody::RunCompleted { outcome, .. } => self.done(&mut out, outcome),
            EventBody::RunFailed { failure, .. } => self.error(&mut out, &failure.into()),
            EventBody::RunCancelled { reason, .. } => self.error(&mut out, &ApiError::run_cancelled(reason)),
            _ => self.awaited.note(&logged),
        }
        out
    }

    fn cut_short(&mut self, error: ApiError) -> Vec<u8> {
        let mut out = Vec::new();
        self.error(&mut out, &error);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_shown_and_what_is_sent_at_the_end_is_the_answer_once() {
        for (shown, answer, expected) in [
            ("", "whole", Some("whole")),
            ("all of it", "all of it", None),
            ("Let me look.It is 5.", "It is 5.", None),
            ("It is", "It is 5.", Some(" 5.")),
            ("Thinking", "It is 5.", Some("\n\nIt is 5.")),
            ("anything", "", None),
            ("", "", None),
        ] {
            assert_eq!(unsaid(shown, answer).as_deref(), expected, "{shown:?} {answer:?}");
        }
    }
}
