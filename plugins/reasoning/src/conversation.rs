//! The turns before this one: as many as the model can read, newest first, and without the citation marks of earlier runs,
//! whose `s1` is another document than this run's.

use vivarium_sdk::mode::{AssistantMessage, Message};

use crate::citing;

/// Of a model's context, the part that the conversation may take; the rest is for passages, tools and the answer.
const SHARE: usize = 2;
/// A cautious guess: English has four bytes to a token, code and other languages fewer.
const BYTES_PER_TOKEN: usize = 3;

/// The newest part of `history` that fits a model of `context_tokens` (0: unknown, all of it).
#[must_use]
pub fn fitting(mut history: Vec<Message>, context_tokens: u32) -> Vec<Message> {
    if history.is_empty() {
        return history;
    }
    let budget = match context_tokens as usize {
        0 => usize::MAX,
        tokens => tokens.saturating_mul(BYTES_PER_TOKEN) / SHARE,
    };
    let mut left = budget;
    let mut first = history.len();
    for (at, message) in history.iter().enumerate().rev() {
        left = left.saturating_sub(size(message));
        if left == 0 {
            break;
        }
        // Only a turn of the client may come first: a tool's answer without its question is refused by providers.
        if matches!(message, Message::User(_)) {
            first = at;
        }
    }
    history.drain(..first);
    for message in &mut history {
        if let Message::Assistant(AssistantMessage { text, .. }) = message
            && text.contains("[s")
        {
            *text = citing::without_marks(text);
        }
    }
    history
}

/// The client's latest words before this input.
#[must_use]
pub fn last_question(history: &[Message]) -> Option<String> {
    history.iter().rev().find(|message| matches!(message, Message::User(_))).map(Message::text)
}

fn size(message: &Message) -> usize {
    let calls = match message {
        Message::Assistant(message) => message.tool_calls.iter().map(|call| call.arguments_json.len() + 32).sum(),
        _ => 0,
    };
    message.text().len() + calls + 16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_turns_stay_and_the_first_of_them_is_the_clients() {
        let history: Vec<Message> = (0..50)
            .flat_map(|n| {
                [Message::user(format!("question {n} {}", "x".repeat(100))), Message::assistant("y".repeat(100))]
            })
            .collect();
        let kept = fitting(history.clone(), 1_000);
        assert!(!kept.is_empty() && kept.len() < history.len());
        assert!(matches!(kept[0], Message::User(_)));
        assert_eq!(kept.last(), history.last());
        assert_eq!(fitting(history.clone(), 0), history);
    }

    #[test]
    fn marks_of_earlier_runs_are_taken_out() {
        let history = vec![Message::user("Is it [s1]?"), Message::assistant("It is so [s1]. And [s2, s3] so.")];
        let kept = fitting(history, 0);
        assert_eq!(kept[0].text(), "Is it [s1]?");
        assert_eq!(kept[1].text(), "It is so. And so.");
    }
}
