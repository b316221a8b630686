//! The turns before this one.

use vivarium_sdk::mode::Message;

/// The client's latest words before this input.
#[must_use]
pub fn last_question(history: &[Message]) -> Option<String> {
    history.iter().rev().find(|message| matches!(message, Message::User(_))).map(Message::text)
}
