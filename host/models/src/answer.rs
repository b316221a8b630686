//! An answer while it comes: pieces of text, fragments of tool calls, the tokens used, and whether it has ended.

use serde_json::Value;
use vivarium_domain::{FinishReason, GenerateResponse, ToolCall, Usage};

use crate::ModelError;
use crate::fault::{Fault, Who};

/// What has come of an answer so far.
pub(crate) struct Answer<'a> {
    on_token: &'a mut (dyn FnMut(&str) + Send),
    text: String,
    /// Words in which the model declines, where a vendor keeps them apart from the text.
    refusal: String,
    /// Tool calls with the place in the answer that the vendor gives them.
    calls: Vec<(u32, ToolCall)>,
    max_calls: usize,
    /// Tokens of the answer so far.
    pub(crate) usage: Usage,
    /// Why the model stopped; none while it has not.
    pub(crate) finish: Option<FinishReason>,
    shown: bool,
    /// What the provider wants back with the answers to its tool calls.
    pub(crate) thoughts: Vec<Value>,
}

impl<'a> Answer<'a> {
    pub(crate) fn new(on_token: &'a mut (dyn FnMut(&str) + Send), max_calls: usize) -> Self {
        Self {
            on_token,
            text: String::new(),
            refusal: String::new(),
            calls: Vec::new(),
            max_calls,
            usage: Usage::default(),
            finish: None,
            shown: false,
            thoughts: Vec::new(),
        }
    }

    /// A piece of the answer was shown: another attempt would show it twice.
    pub(crate) fn shown(&self) -> bool {
        self.shown
    }

    /// Forgets a failed attempt.
    pub(crate) fn reset(&mut self) {
        self.text.clear();
        self.refusal.clear();
        self.calls.clear();
        self.usage = Usage::default();
        self.finish = None;
        self.thoughts.clear();
    }

    /// The model says this.
    pub(crate) fn say(&mut self, piece: &str) {
        if !piece.is_empty() {
            self.text.push_str(piece);
            self.shown = true;
            (self.on_token)(piece);
        }
    }

    /// The model declines in these words.
    pub(crate) fn decline(&mut self, piece: &str) {
        self.refusal.push_str(piece);
    }

    /// The tool call at this place in the answer, begun if need be.
    pub(crate) fn call(&mut self, index: u32, who: &Who) -> Result<&mut ToolCall, Fault> {
        let place = match self.calls.iter().position(|(one, _)| *one == index) {
            Some(place) => place,
            None if self.calls.len() >= self.max_calls => {
                let what = format!("asked for more than {} tools in one answer", self.max_calls);
                return Err(Fault::Final(who.unavailable(what)));
            }
            None => {
                let empty = ToolCall { id: String::new(), name: String::new(), arguments_json: String::new() };
                self.calls.push((index, empty));
                self.calls.len() - 1
            }
        };
        let call = self.calls.get_mut(place).map(|(_, call)| call);
        call.ok_or_else(|| Fault::Final(who.unavailable("asked for a tool that was lost")))
    }

    /// The place of the tool call that was begun last, and the place after it.
    pub(crate) fn last_and_next_call(&self) -> (Option<u32>, u32) {
        let last = self.calls.iter().map(|(index, _)| *index).max();
        (last, last.map_or(0, |last| last.saturating_add(1)))
    }

    /// The whole answer, at the end of the stream.
    pub(crate) fn finish(&mut self, who: &Who) -> Result<GenerateResponse, Fault> {
        let Some(mut finish_reason) = self.finish else { return Err(cut_off(who)) };
        let calls = std::mem::take(&mut self.calls);
        let tool_calls = calls.into_iter().map(|(_, call)| whole(call, who)).collect::<Result<Vec<_>, _>>()?;
        let silent = self.text.is_empty() && tool_calls.is_empty();
        let declined = finish_reason == FinishReason::ContentFilter || !self.refusal.is_empty();
        if silent && declined {
            let words = match who.scrub(&self.refusal) {
                empty if empty.is_empty() => "gives no reason".to_owned(),
                words => format!("says: {words}"),
            };
            return Err(Fault::Final(ModelError::ContentPolicy(format!("{} {words}", who.called()))));
        }
        match (finish_reason, tool_calls.is_empty()) {
            (FinishReason::Stop, false) => finish_reason = FinishReason::ToolCalls,
            (FinishReason::ToolCalls, true) => finish_reason = FinishReason::Stop,
            _ => {}
        }
        let text = std::mem::take(&mut self.text);
        let thoughts = std::mem::take(&mut self.thoughts);
        let wanted = !thoughts.is_empty() && !tool_calls.is_empty();
        Ok(GenerateResponse {
            text,
            tool_calls,
            citations: Vec::new(),
            finish_reason,
            usage: self.usage,
            thoughts: wanted.then_some(Value::Array(thoughts)),
        })
    }
}

/// The stream ended before the answer did.
pub(crate) fn cut_off(who: &Who) -> Fault {
    Fault::retry(who.unavailable("broke off in the middle of its answer"))
}

fn whole(mut call: ToolCall, who: &Who) -> Result<ToolCall, Fault> {
    if call.name.is_empty() {
        return Err(Fault::retry(who.unavailable("asked for a tool without naming it")));
    }
    if call.id.is_empty() {
        call.id = made_id();
    }
    if call.arguments_json.trim().is_empty() {
        "{}".clone_into(&mut call.arguments_json);
    }
    Ok(call)
}

/// An id for a tool call whose vendor gives none. It is kept with the conversation, so it need only be its own.
pub(crate) fn made_id() -> String {
    format!("call_{:016x}", rand::random::<u64>())
}
