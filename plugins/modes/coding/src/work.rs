//! The loop: ask the model, call what it asks for, show it what came of it, until it answers or its cycles are used up.

use std::collections::BTreeMap;

use vivarium_reasoning::context::Context;
use vivarium_sdk::mode::{
    AssistantMessage, CallResult, GenerateRequest, GenerateResponse, Host, Message, ModeError, ToolCall, Visibility,
};

use crate::report::Runs;
use crate::{calls, prompts};

/// The longest result of a tool that the model is shown whole.
const MAX_RESULT_BYTES: usize = 24 << 10;

/// How the work ended.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) response: GenerateResponse,
    /// The whole conversation, the answer not included.
    pub(crate) messages: Vec<Message>,
    pub(crate) has_sources: bool,
    pub(crate) runs: Runs,
    /// A tool was called that changes files.
    pub(crate) meant_to_change: bool,
}

/// Works on `request`, whose tools the model may use in `max_cycles` rounds.
pub(crate) fn work(
    host: &mut impl Host,
    context: &mut Context,
    mut request: GenerateRequest,
    max_cycles: u32,
) -> Result<Done, ModeError> {
    let mut failures = Failures::default();
    let (mut runs, mut has_sources, mut rounds, mut is_told) = (Runs::default(), false, 0, false);
    let mut meant_to_change = false;
    loop {
        let failed = runs.ran.last().filter(|ran| !ran.is_ok());
        // An answer after a failure may not be the last word, and then nobody should take it for one.
        let may_go_on = failed.is_some() && !is_told && !request.tools.is_empty();
        request.visibility = if may_go_on { Visibility::Hidden } else { Visibility::Answer };
        let mut response = context.generate(host, &mut request)?;
        if response.tool_calls.is_empty() || request.tools.is_empty() {
            if response.text.trim().is_empty() {
                return Err(ModeError::Model("the model gave an empty answer".to_owned()));
            }
            match failed.filter(|_| may_go_on) {
                Some(failed) => {
                    let what = format!("{}, {}", failed.what, failed.result());
                    request.messages.push(Message::assistant(response.text));
                    request.messages.push(Message::user(prompts::after_a_failure(&what)));
                    is_told = true;
                    continue;
                }
                None => return Ok(Done { response, messages: request.messages, has_sources, runs, meant_to_change }),
            }
        }
        rounds += 1;
        let calls = std::mem::take(&mut response.tool_calls);
        meant_to_change |= calls.iter().any(|call| calls::changes_files(&call.name));
        for step in calls.iter().filter_map(calls::before) {
            host.step(&step);
        }
        let results = host.call_all(&calls);
        has_sources |= results.iter().any(|result| !result.sources.is_empty());
        let mut told = Vec::with_capacity(results.len());
        for (call, result) in calls.iter().zip(results) {
            if let Some(step) = calls::after(call, &result) {
                host.step(&step);
            }
            if let Some(ran) = calls::ran(call, &result) {
                runs.ran.push(ran);
                runs.are_behind = false;
            }
            runs.are_behind |= !result.is_error && !runs.ran.is_empty() && calls::changes_files(&call.name);
            let note = failures.note(call, &result);
            told.push(shown(result, note));
        }
        request.messages.push(Message::Assistant(AssistantMessage { text: response.text, tool_calls: calls }));
        request.messages.extend(told);
        if rounds >= max_cycles {
            request.tools = Vec::new();
            request.messages.push(Message::user(prompts::LAST));
        }
    }
}

/// Failures that came before, and how often.
#[derive(Default)]
struct Failures(BTreeMap<(String, String, String), usize>);

impl Failures {
    /// What the model is told of a failure that is the same as one before.
    fn note(&mut self, call: &ToolCall, result: &CallResult) -> Option<String> {
        if !calls::has_failed(call, result) {
            return None;
        }
        let key = (call.name.clone(), call.arguments_json.clone(), calls::essence(call, result));
        let times = self.0.entry(key).or_insert(0);
        *times += 1;
        (*times > 1).then(|| prompts::same_again(*times))
    }
}

/// A result as the model sees it: its middle left out where it is long.
fn shown(mut result: CallResult, note: Option<String>) -> Message {
    result.content = cut(result.content);
    if let Some(note) = note {
        result.content.push_str("\n\n");
        result.content.push_str(&note);
    }
    Message::from(result)
}

/// The beginning and the end: the one says what it is, the other what came of it.
fn cut(content: String) -> String {
    if content.len() <= MAX_RESULT_BYTES {
        return content;
    }
    let head = content.floor_char_boundary(MAX_RESULT_BYTES * 2 / 3);
    let tail = content.ceil_char_boundary(content.len() - MAX_RESULT_BYTES / 3);
    let (head, tail, left) =
        (content.get(..head).unwrap_or_default(), content.get(tail..).unwrap_or_default(), tail - head);
    format!("{head}{}{tail}", prompts::left_out(left))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_result_keeps_its_beginning_and_its_end_and_says_how_to_see_the_rest() {
        let long = format!("begin{}end", "ü".repeat(40_000));
        let shown = cut(long.clone());
        assert!(shown.len() < MAX_RESULT_BYTES + 300);
        assert!(shown.starts_with("begin") && shown.ends_with("end"));
        assert!(shown.contains("bytes are left out here. To see them: read the file from a line on"));
        assert_eq!(cut("short".to_owned()), "short");
    }
}
