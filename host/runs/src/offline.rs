//! A run's host without a live side: it answers from a recording, and stops the mode where that ends or does not fit.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use serde_json::{Value, json};
use vivarium_domain::{
    Citation, GenerateRequest, GenerateResponse, HostCall, Message, ModelError, ModelInfo, Source, ToolCall,
    ToolDefinition, WorkspaceChanges,
};
use vivarium_sandbox::{Answers, HostStop, ModeHost, ToolResult};

use crate::calls::{MAX_ARGUMENT_BYTES, result};
use crate::fits::{self, CallIds};
use crate::host::lock;
use crate::journal::{Journal, RecordedCall, RecordedTool, host_call};
use crate::ledger::Ledger;
use crate::questions::unseen;
use crate::replay::{Asked, Difference, Replayed};

/// A recorded run.
pub(crate) struct Offline {
    pub(crate) ledger: Ledger,
    tools: Vec<ToolDefinition>,
    max_output_tokens: Option<u32>,
    /// How the recorded mode has ended. None: that was not its own doing.
    end: Option<(u64, Asked)>,
    /// What the recorded component asked for, by the numbers of the events.
    asked_before: BTreeMap<u64, Asked>,
    story: Mutex<Story>,
}

struct Story {
    journal: Journal,
    call_ids: CallIds,
    /// How many messages were added to the session.
    appended: usize,
    asked: BTreeMap<u64, Asked>,
    calls: u64,
    stopped: Option<Stopped>,
}

/// Why nothing more is answered.
enum Stopped {
    /// It asked for something else.
    Differs(Box<Difference>),
    /// Nothing more is recorded.
    CutShort,
}

/// A call that fits, and its answer.
type Fits<T> = Result<T, HostStop>;

fn stop() -> HostStop {
    HostStop("the replay ends here".to_owned())
}

impl Offline {
    pub(crate) fn new(
        journal: Journal,
        ledger: Ledger,
        tools: Vec<ToolDefinition>,
        max_output_tokens: Option<u32>,
        end: Option<(u64, Asked)>,
        asked_before: BTreeMap<u64, Asked>,
    ) -> Self {
        let call_ids = CallIds::default();
        let story = Story { journal, call_ids, appended: 0, asked: BTreeMap::new(), calls: 0, stopped: None };
        Self { ledger, tools, max_output_tokens, end, asked_before, story: story.into() }
    }

    /// What the replay came to, when the mode has ended like this. None: it was stopped.
    pub(crate) fn finish(&self, ended: Option<Asked>) -> Replayed {
        let mut story = lock(&self.story);
        if story.stopped.is_none() {
            story.stopped = match (story.journal.next(), ended) {
                (_, None) => Some(Stopped::CutShort),
                (Some(left), Some(now)) => {
                    let before = self.before(left.seq, &left.call);
                    Some(Stopped::Differs(Box::new(Difference { seq: left.seq, before, now })))
                }
                (None, Some(now)) => match &self.end {
                    Some((seq, before)) if *before != now => {
                        Some(Stopped::Differs(Box::new(Difference { seq: *seq, before: before.clone(), now })))
                    }
                    Some(_) => None,
                    None => Some(Stopped::CutShort),
                },
            };
        }
        let (difference, cut_short) = match story.stopped.take() {
            Some(Stopped::Differs(difference)) => (Some(*difference), false),
            Some(Stopped::CutShort) => (None, true),
            None => (None, false),
        };
        Replayed { calls: story.calls, difference, cut_short, asked: std::mem::take(&mut story.asked) }
    }

    /// What was asked for at this event, as fully as it is known.
    fn before(&self, seq: u64, recorded: &RecordedCall) -> Asked {
        self.asked_before.get(&seq).cloned().unwrap_or_else(|| Asked::recorded(recorded))
    }

    /// The recorded answer, if what is asked for now is what was asked for before.
    fn answer<T>(&self, now: Asked, fits: impl FnOnce(RecordedCall) -> Result<T, RecordedCall>) -> Fits<T> {
        let mut story = lock(&self.story);
        if story.stopped.is_some() {
            return Err(stop());
        }
        let Some(recorded) = story.journal.next() else {
            story.stopped = Some(match &self.end {
                Some((seq, before)) => {
                    Stopped::Differs(Box::new(Difference { seq: *seq, before: before.clone(), now }))
                }
                None => Stopped::CutShort,
            });
            return Err(stop());
        };
        let seq = recorded.seq;
        let difference = match fits(recorded.call) {
            Ok(answer) => match self.asked_before.get(&seq).filter(|before| **before != now) {
                None => {
                    story.asked.insert(seq, now);
                    story.calls += 1;
                    return Ok(answer);
                }
                // The log tells less than the whole.
                Some(before) => Difference { seq, before: before.clone(), now },
            },
            Err(other) => Difference { seq, before: self.before(seq, &other), now },
        };
        story.stopped = Some(Stopped::Differs(Box::new(difference)));
        Err(stop())
    }

    /// The answer, where it was recorded before the recording ended.
    fn recorded<T>(&self, answer: Option<T>) -> Fits<T> {
        answer.ok_or_else(|| {
            let mut story = lock(&self.story);
            story.calls = story.calls.saturating_sub(1);
            story.stopped = Some(Stopped::CutShort);
            stop()
        })
    }

    fn small<T>(&self, call: &'static str, with: Value, fits: impl FnOnce(HostCall) -> Result<T, HostCall>) -> Fits<T> {
        self.answer(Asked::new(call, with), fits::small(fits))
    }

    fn ask(&self, request: GenerateRequest) -> Fits<Result<GenerateResponse, ModelError>> {
        let answer = self.put(request)?;
        self.recorded(answer)
    }

    /// Puts a question. None: it was asked, and the recording has no answer.
    fn put(&self, request: GenerateRequest) -> Fits<Option<Result<GenerateResponse, ModelError>>> {
        let (request, _, hash) =
            fits::asked(request, self.max_output_tokens).map_err(|error| HostStop(error.to_string()))?;
        let recorded = self.answer(Asked::new("model.generate", json!({"request": request})), fits::model(hash))?;
        Ok(recorded.answer)
    }

    fn ask_all(&self, requests: Vec<GenerateRequest>) -> Fits<Answers> {
        let put: Vec<_> = requests.into_iter().map(|request| self.put(unseen(request))).collect::<Result<_, _>>()?;
        put.into_iter().map(|answer| self.recorded(answer)).collect()
    }

    /// Answers the host's own question for an answer that satisfies the schema. Whether the model was told of the schema
    /// apart from the words depended on the model.
    pub(crate) fn ask_again(&self, request: GenerateRequest) -> Fits<Result<GenerateResponse, ModelError>> {
        let in_words = GenerateRequest { output_schema: None, ..request.clone() };
        let hash = fits::asked(in_words.clone(), self.max_output_tokens).map(|(.., hash)| hash);
        let was_in_words = hash.is_ok_and(|hash| lock(&self.story).journal.next_is_question(hash));
        self.ask(if was_in_words { in_words } else { request })
    }

    fn call(&self, mut call: ToolCall) -> Fits<(ToolCall, Box<RecordedTool>)> {
        let asked = Asked::tool(&call.name, &call.arguments_json);
        if call.arguments_json.len() > MAX_ARGUMENT_BYTES {
            call.arguments_json.clear();
        }
        let id = lock(&self.story).call_ids.own(&call.id);
        let tool = self.answer(asked, fits::tool(&id, &call))?;
        Ok((call, tool))
    }

    fn call_all(&self, calls: Vec<ToolCall>) -> Fits<Vec<ToolResult>> {
        let fitting: Vec<_> = calls.into_iter().map(|call| self.call(call)).collect::<Result<_, _>>()?;
        let results: Vec<Fits<ToolResult>> = fitting
            .into_iter()
            .map(|(call, mut tool)| {
                let (outcome, sources) = self.recorded(tool.completed.take())?;
                let sources = self.recorded(self.ledger.known(&sources))?;
                Ok(result(call, outcome, sources))
            })
            .collect();
        results.into_iter().collect()
    }
}

impl ModeHost for Offline {
    fn describe(&self) -> Fits<ModelInfo> {
        self.small("model.describe", json!({}), fits::described)
    }

    fn generate(
        self: Arc<Self>,
        request: GenerateRequest,
    ) -> BoxFuture<'static, Fits<Result<GenerateResponse, ModelError>>> {
        ready(self.ask(request)).boxed()
    }

    fn generate_all(self: Arc<Self>, requests: Vec<GenerateRequest>) -> BoxFuture<'static, Fits<Answers>> {
        ready(self.ask_all(requests)).boxed()
    }

    fn tools(&self) -> Fits<Vec<ToolDefinition>> {
        self.small("tools.list", json!({}), fits::same(fits::listed_tools(&self.tools)))
    }

    fn call_tools(self: Arc<Self>, calls: Vec<ToolCall>) -> BoxFuture<'static, Fits<Vec<ToolResult>>> {
        ready(self.call_all(calls)).boxed()
    }

    fn append(&self, messages: Vec<Message>) -> Fits<()> {
        let there = lock(&self.story).appended;
        let fits = fits::same(fits::appended(&messages, there));
        let taken = self.small("session.append", json!({"messages": messages}), fits)?;
        lock(&self.story).appended = there.saturating_add(taken);
        Ok(())
    }

    fn summarize(&self, messages: u32, summary: String) -> Fits<()> {
        let with = json!({"messages": messages, "summary": summary});
        self.small("session.summarize", with, fits::was_summarized(messages))
    }

    fn sources(&self) -> Fits<Vec<Source>> {
        self.small("sources.list", json!({}), fits::listed_sources(&self.ledger))
    }

    fn read_source(&self, id: &str, start_bytes: usize, max_bytes: usize) -> Fits<Option<String>> {
        let with = json!({"sourceId": id, "startBytes": start_bytes, "maxBytes": max_bytes});
        let read = || fits::read(&self.ledger, id, start_bytes, max_bytes);
        self.small("sources.read", with, fits::was_read(read))
    }

    fn check(&self, citations: &[Citation]) -> Fits<Vec<bool>> {
        self.small("sources.check", json!({"citations": citations}), fits::checked(citations))
    }

    fn step(self: Arc<Self>, message: String) -> BoxFuture<'static, Fits<()>> {
        ready(self.answer(Asked::step(&message), fits::step(&message))).boxed()
    }

    fn changes(self: Arc<Self>, max_bytes: usize) -> BoxFuture<'static, Fits<Option<Box<WorkspaceChanges>>>> {
        ready(self.small("workspace.changes", json!({"maxBytes": max_bytes}), fits::changes)).boxed()
    }

    fn wall_clock(&self) -> u64 {
        self.small(host_call(&HostCall::WallClock(0)), json!({}), fits::wall_clock).unwrap_or_default()
    }

    fn monotonic_clock(&self) -> u64 {
        self.small(host_call(&HostCall::MonotonicClock(0)), json!({}), fits::monotonic_clock).unwrap_or_default()
    }

    fn random(&self, bytes: &mut [u8]) {
        let name = host_call(&HostCall::Random(String::new()));
        if let Ok(dice) = self.small(name, json!({"bytes": bytes.len()}), fits::random(bytes.len())) {
            bytes.copy_from_slice(&dice);
        }
    }
}

#[cfg(test)]
mod tests;
