//! Whether what a mode asks for is what its journal says that it asked for before, and if so, the answer that it got then. Where
//! it is something else, the recorded call is given back.

use std::collections::HashSet;

use vivarium_domain::{
    CheckedCitation, Citation, ContentHash, GenerateRequest, HostCall, Message, ModelInfo, Source, ToolCall,
    ToolDefinition, WorkspaceChanges,
};

use crate::journal::{RecordedCall, RecordedModel, RecordedTool};
use crate::ledger::Ledger;

/// Messages that a mode adds to the session in one run.
const MAX_APPENDED_MESSAGES: usize = 500;

/// The longest summary of a session that is kept.
const MAX_SUMMARY_BYTES: usize = 8 << 10;

/// A call that has no event of its own.
pub(crate) fn small<T>(
    fits: impl FnOnce(HostCall) -> Result<T, HostCall>,
) -> impl FnOnce(RecordedCall) -> Result<T, RecordedCall> {
    |recorded| match recorded {
        RecordedCall::Host(call) => fits(call).map_err(RecordedCall::Host),
        other => Err(other),
    }
}

/// A question to the model, by its hash.
pub(crate) fn model(hash: ContentHash) -> impl FnOnce(RecordedCall) -> Result<Box<RecordedModel>, RecordedCall> {
    move |recorded| match recorded {
        RecordedCall::Model(model) if model.request_hash == hash => Ok(model),
        other => Err(other),
    }
}

/// A tool call.
pub(crate) fn tool(id: &str, call: &ToolCall) -> impl FnOnce(RecordedCall) -> Result<Box<RecordedTool>, RecordedCall> {
    move |recorded| match recorded {
        RecordedCall::Tool(tool)
            if tool.call_id == id && tool.tool == call.name && tool.arguments_json == call.arguments_json =>
        {
            Ok(tool)
        }
        other => Err(other),
    }
}

/// `steps.report`.
pub(crate) fn step(message: &str) -> impl FnOnce(RecordedCall) -> Result<(), RecordedCall> {
    move |recorded| match recorded {
        RecordedCall::Step(before) if before == message => Ok(()),
        other => Err(other),
    }
}

/// `model.describe`.
pub(crate) fn described(recorded: HostCall) -> Result<ModelInfo, HostCall> {
    match recorded {
        HostCall::ModelDescribe(json) => {
            serde_json::from_value(json.clone()).map_err(|_| HostCall::ModelDescribe(json))
        }
        other => Err(other),
    }
}

/// `tools.list`, as it is answered.
pub(crate) fn listed_tools(offered: &[ToolDefinition]) -> (Vec<ToolDefinition>, HostCall) {
    let names = offered.iter().map(|tool| tool.name.to_string()).collect();
    (offered.to_vec(), HostCall::ToolsList(names))
}

/// What is in the log by its trace alone: the answer is the one that would be given now, if it leaves the same trace.
pub(crate) fn same<T>((now, trace): (T, HostCall)) -> impl FnOnce(HostCall) -> Result<T, HostCall> {
    move |recorded| if recorded == trace { Ok(now) } else { Err(recorded) }
}

/// `session.append` where so many messages are there, as it is answered: how many are taken.
pub(crate) fn appended(messages: &[Message], there: usize) -> (usize, HostCall) {
    let taken = messages.len().min(MAX_APPENDED_MESSAGES.saturating_sub(there));
    (taken, HostCall::SessionAppend(taken as u64))
}

/// `session.summarize` of a history whose messages go up to these of the session, as it is answered: up to which message of the
/// session the summary goes, and its words as they are kept. None: it stands for nothing that is there, or says nothing.
pub(crate) fn summarized(messages: u32, summary: &str, through: &[u64]) -> (Option<(u64, String)>, HostCall) {
    let last = usize::try_from(messages).ok().and_then(|count| through.get(count.checked_sub(1)?));
    let text = summary.get(..summary.floor_char_boundary(MAX_SUMMARY_BYTES)).unwrap_or_default().trim();
    let taken = last.filter(|up_to| **up_to > 0 && !text.is_empty()).map(|up_to| (*up_to, text.to_owned()));
    let count = if taken.is_some() { messages.into() } else { 0 };
    (taken, HostCall::SessionSummarize(count))
}

/// `session.summarize` of so many messages, as it was answered. Whether there was something that it could stand for, only the
/// session of that time knew.
pub(crate) fn was_summarized(messages: u32) -> impl FnOnce(HostCall) -> Result<(), HostCall> {
    move |recorded| match recorded {
        HostCall::SessionSummarize(count) if count == 0 || count == u64::from(messages) => Ok(()),
        other => Err(other),
    }
}

/// `sources.list`. The ledger holds by now what came later, too.
pub(crate) fn listed_sources(ledger: &Ledger) -> impl FnOnce(HostCall) -> Result<Vec<Source>, HostCall> {
    move |recorded| match recorded {
        HostCall::SourcesList(ids) => ledger.known(&ids).ok_or(HostCall::SourcesList(ids)),
        other => Err(other),
    }
}

/// `sources.read`, as it is answered.
pub(crate) fn read(ledger: &Ledger, id: &str, start_bytes: usize, max_bytes: usize) -> (Option<String>, HostCall) {
    let text = ledger.read(id, start_bytes, max_bytes);
    let hash = text.as_ref().map(|text| ContentHash::of(text.as_bytes()));
    (text, HostCall::SourcesRead(hash))
}

/// `sources.read`, as it was answered. A source that was not there then may be there by now.
pub(crate) fn was_read(
    now: impl FnOnce() -> (Option<String>, HostCall),
) -> impl FnOnce(HostCall) -> Result<Option<String>, HostCall> {
    |recorded| match recorded {
        HostCall::SourcesRead(None) => Ok(None),
        recorded => same(now())(recorded),
    }
}

/// `sources.check`.
pub(crate) fn checked(citations: &[Citation]) -> impl FnOnce(HostCall) -> Result<Vec<bool>, HostCall> {
    move |recorded| match recorded {
        HostCall::SourcesCheck(checked) if are_of(&checked, citations) => Ok(verdicts(&checked, citations)),
        other => Err(other),
    }
}

/// A verdict for each citation; those that were not checked hold nothing.
pub(crate) fn verdicts(checked: &[CheckedCitation], citations: &[Citation]) -> Vec<bool> {
    let mut verdicts: Vec<bool> = checked.iter().map(|citation| citation.verified).collect();
    verdicts.resize(citations.len(), false);
    verdicts
}

/// Whether these verdicts are of these citations.
fn are_of(checked: &[CheckedCitation], citations: &[Citation]) -> bool {
    let mut pairs = checked.iter().zip(citations);
    checked.len() <= citations.len()
        && pairs.all(|(checked, asked)| checked.source_id == asked.source_id && checked.quote == asked.quote)
}

/// `workspace.changes`: the files may be others by now.
pub(crate) fn changes(recorded: HostCall) -> Result<Option<Box<WorkspaceChanges>>, HostCall> {
    match recorded {
        HostCall::WorkspaceChanges(changes) => Ok(changes),
        other => Err(other),
    }
}

/// `wasi:clocks/wall-clock`.
pub(crate) fn wall_clock(recorded: HostCall) -> Result<u64, HostCall> {
    match recorded {
        HostCall::WallClock(now) => Ok(now),
        other => Err(other),
    }
}

/// `wasi:clocks/monotonic-clock`.
pub(crate) fn monotonic_clock(recorded: HostCall) -> Result<u64, HostCall> {
    match recorded {
        HostCall::MonotonicClock(now) => Ok(now),
        other => Err(other),
    }
}

/// `wasi:random`, of so many bytes.
pub(crate) fn random(length: usize) -> impl FnOnce(HostCall) -> Result<Vec<u8>, HostCall> {
    move |recorded| match recorded {
        HostCall::Random(hex) => {
            hex::decode(&hex).ok().filter(|bytes| bytes.len() == length).ok_or(HostCall::Random(hex))
        }
        other => Err(other),
    }
}

/// A request as it is hashed: with the run's bound on each answer, and as JSON, of so many bytes.
///
/// # Errors
/// When it is no JSON.
pub(crate) fn asked(
    mut request: GenerateRequest,
    max_output_tokens: Option<u32>,
) -> Result<(GenerateRequest, usize, ContentHash), serde_json::Error> {
    if let Some(most) = max_output_tokens {
        request.max_output_tokens = Some(request.max_output_tokens.map_or(most, |asked| asked.min(most)));
    }
    let json = serde_json::to_vec(&request)?;
    Ok((request, json.len(), ContentHash::of(&json)))
}

/// The ids of a run's tool calls in its log.
#[derive(Debug, Default)]
pub(crate) struct CallIds(HashSet<String>);

impl CallIds {
    /// The call's id in the log: the model's own, unless the model has used it in this run before. A decision about one call
    /// must never be one about another.
    pub(crate) fn own(&mut self, id: &str) -> String {
        let numbered = (2..).map(|number: u32| format!("{id}#{number}"));
        let mut free = std::iter::once(id.to_owned()).chain(numbered).skip_while(|id| self.0.contains(id));
        // There is always a next number.
        let own = free.next().unwrap_or_default();
        self.0.insert(own.clone());
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_stands_for_what_is_there_and_is_bounded() {
        let through = [0, 4, 5];
        let of = |messages, text: &str| summarized(messages, text, &through).0;
        assert_eq!(of(2, " So. "), Some((4, "So.".to_owned())));
        assert_eq!((of(0, "So."), of(1, "So."), of(4, "So."), of(2, " ")), (None, None, None, None));
        let (taken, trace) = summarized(3, &"é".repeat(MAX_SUMMARY_BYTES), &through);
        assert_eq!(taken.map(|(up_to, text)| (up_to, text.len())), Some((5, MAX_SUMMARY_BYTES)));
        assert_eq!(trace, HostCall::SessionSummarize(3));
    }
}
