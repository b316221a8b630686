//! A run's log, read again: what the host has answered before, in the order in which the mode asked. A run that is taken up
//! again gets these answers until they end, and goes on from there.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use vivarium_domain::{
    ContentHash, Event, EventBody, GenerateResponse, HostCall, ModelError, ModelName, Money, RunId, Source, TenantId,
    Timestamp, ToolOutcome,
};
use vivarium_store::{Store, StoreError};

use crate::approvals::Decision;
use crate::spending::Spent;

/// How many events are read at a time.
const PAGE: usize = 512;

/// The recorded story of a run.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    /// How its mode was started; none: it never was.
    pub(crate) started: Option<RecordedStart>,
    /// What the mode asked for and has not asked for again yet, in order.
    calls: VecDeque<Recorded>,
    /// What its tools have read.
    pub(crate) sources: Vec<Source>,
    /// For how long it was at work. The time in which nobody worked on it is left out.
    pub(crate) worked: Duration,
    /// What the mode's clock has shown last, in nanoseconds since the run's start.
    pub(crate) monotonic: u64,
    /// How often it was taken up again since it last came to something new.
    pub(crate) vain_resumes: usize,
    /// What its model calls have used.
    pub(crate) spent: Spent,
    last_at: Option<Timestamp>,
    /// The last event asks a person.
    asks: bool,
}

/// How a mode was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RecordedStart {
    /// The conversation that it was given.
    pub(crate) history_hash: Option<ContentHash>,
    /// The text with the tools that it was offered.
    pub(crate) tools: Option<ContentHash>,
}

/// A call of the mode's.
#[derive(Debug)]
pub(crate) struct Recorded {
    /// The event that tells of it.
    pub(crate) seq: u64,
    pub(crate) call: RecordedCall,
}

/// What was asked for, and what came of it.
#[derive(Debug)]
pub(crate) enum RecordedCall {
    Host(HostCall),
    Step(String),
    Model(Box<RecordedModel>),
    Tool(Box<RecordedTool>),
}

/// A question to the model.
#[derive(Debug)]
pub(crate) struct RecordedModel {
    /// The number of the last call that it was made with.
    pub(crate) call: u32,
    /// The model that this went to.
    pub(crate) model: ModelName,
    pub(crate) request_hash: ContentHash,
    /// How many models could not answer, so that the next one was to be asked.
    pub(crate) failed: usize,
    /// The last call was begun, and nothing came of it.
    pub(crate) under_way: bool,
    /// None: the host was stopped before it came.
    pub(crate) answer: Option<Result<GenerateResponse, ModelError>>,
}

/// A tool call.
#[derive(Debug, Default)]
pub(crate) struct RecordedTool {
    /// The call's id in the log.
    pub(crate) call_id: String,
    pub(crate) tool: String,
    pub(crate) arguments_json: String,
    /// The number of the last attempt that is told of by itself.
    attempts: u32,
    /// It needs a person's approval. The inner one: until when it is waited for.
    pub(crate) approval: Option<Option<Timestamp>>,
    pub(crate) decision: Option<Decision>,
    /// The run that it has started.
    pub(crate) subrun: Option<RunId>,
    /// The last event of that run's log that was passed on.
    pub(crate) subrun_seen: u64,
    /// What came of it, and the ids of the sources that it added.
    pub(crate) completed: Option<(ToolOutcome, Vec<String>)>,
}

impl RecordedTool {
    /// It may have done its work, or a part of it.
    pub(crate) fn may_have_worked(&self) -> bool {
        self.attempts_made() > 0
    }

    /// How often it was attempted. The first attempt is told of by itself only where a person had to allow it.
    pub(crate) fn attempts_made(&self) -> u32 {
        self.attempts.max(u32::from(self.approval.is_none()))
    }
}

impl RecordedCall {
    /// For the sentence that says how a mode differs from itself.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Host(call) => host_call(call).to_owned(),
            Self::Step(message) => format!("steps.report({message:?})"),
            Self::Model(model) => format!("model.generate with a request of hash {}", short(model.request_hash)),
            Self::Tool(tool) => tool_call(&tool.tool, &tool.arguments_json),
        }
    }
}

/// A tool call, for a sentence.
pub(crate) fn tool_call(tool: &str, arguments_json: &str) -> String {
    const SHOWN: usize = 120;
    let shown = arguments_json.get(..arguments_json.floor_char_boundary(SHOWN)).unwrap_or_default();
    let dots = if shown.len() < arguments_json.len() { "…" } else { "" };
    format!("tools.call-all of {tool} with {shown}{dots}")
}

/// The beginning of a hash, for a sentence.
pub(crate) fn short(hash: ContentHash) -> String {
    hash.to_string().chars().take(12).collect()
}

/// A call's name in the contract.
pub(crate) fn host_call(call: &HostCall) -> &'static str {
    match call {
        HostCall::ModelDescribe(_) => "model.describe",
        HostCall::ToolsList(_) => "tools.list",
        HostCall::SourcesList(_) => "sources.list",
        HostCall::SourcesRead(_) => "sources.read",
        HostCall::SourcesCheck(_) => "sources.check",
        HostCall::SessionAppend(_) => "session.append",
        HostCall::WorkspaceChanges(_) => "workspace.changes",
        HostCall::SessionSummarize(_) => "session.summarize",
        HostCall::WallClock(_) => "wasi:clocks/wall-clock",
        HostCall::MonotonicClock(_) => "wasi:clocks/monotonic-clock",
        HostCall::Random(_) => "wasi:random",
    }
}

impl Journal {
    /// Reads a run's log from the store.
    pub(crate) async fn read(store: &dyn Store, tenant: &TenantId, run: RunId) -> Result<Self, StoreError> {
        let (mut reader, mut after) = (JournalReader::default(), 0);
        loop {
            let page = store.events(tenant, run, after, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(reader.journal) };
            after = *last;
            for (seq, json) in page {
                let event: Event = serde_json::from_slice(&json)
                    .map_err(|error| StoreError::Corrupt(format!("event {seq} of run {run}: {error}")))?;
                reader.take(event);
            }
        }
    }

    /// The journal that these events are.
    pub(crate) fn of(events: impl IntoIterator<Item = Event>) -> Self {
        let mut reader = JournalReader::default();
        events.into_iter().for_each(|event| reader.take(event));
        reader.journal
    }

    /// The next call.
    pub(crate) fn next(&mut self) -> Option<Recorded> {
        self.calls.pop_front()
    }

    /// The next call is a question to the model of this hash.
    pub(crate) fn next_is_question(&self, hash: ContentHash) -> bool {
        let next = self.calls.front().map(|recorded| &recorded.call);
        matches!(next, Some(RecordedCall::Model(model)) if model.request_hash == hash)
    }

    /// The tool call with this id, as far as it is not completed.
    pub(crate) fn open_call(&self, call_id: &str) -> Option<&RecordedTool> {
        self.calls.iter().find_map(|recorded| match &recorded.call {
            RecordedCall::Tool(tool) if tool.completed.is_none() && tool.call_id == call_id => Some(&**tool),
            _ => None,
        })
    }

    /// The tool calls that wait for a decision, and those whose decision is there and that are not completed.
    pub(crate) fn open_approvals(&self) -> impl Iterator<Item = (&str, Option<Timestamp>, Option<&Decision>)> {
        self.calls.iter().filter_map(|recorded| match &recorded.call {
            RecordedCall::Tool(tool) if tool.completed.is_none() => {
                tool.approval.map(|expires_at| (tool.call_id.as_str(), expires_at, tool.decision.as_ref()))
            }
            _ => None,
        })
    }
}

/// Puts a journal together, event by event.
#[derive(Default)]
struct JournalReader {
    journal: Journal,
    /// Where the tool calls that are not completed are in the list, by their ids.
    open: BTreeMap<String, usize>,
}

impl JournalReader {
    fn take(&mut self, event: Event) {
        let Event { seq, at, body } = event;
        self.count_time(at, &body);
        let vain = match &body {
            EventBody::RunResumed {} => self.journal.vain_resumes + 1,
            _ => 0,
        };
        self.journal.vain_resumes = vain;
        match body {
            EventBody::RunStarted { history_hash, tools, .. } => {
                self.journal.started = Some(RecordedStart { history_hash, tools });
            }
            EventBody::Step { message } => self.push(seq, RecordedCall::Step(message)),
            EventBody::HostAnswered(call) => {
                if let HostCall::MonotonicClock(now) = call {
                    self.journal.monotonic = now;
                }
                self.push(seq, RecordedCall::Host(call));
            }
            EventBody::ModelStarted { call, model, request_hash } => self.asked(seq, call, model, request_hash),
            EventBody::ModelCompleted { call, response, error, fallback, cost, .. } => {
                self.answered(call, response, error, fallback.is_some(), cost);
            }
            EventBody::SourceAdded { source } => self.journal.sources.push(source),
            body => self.take_tool(seq, body),
        }
    }

    fn take_tool(&mut self, seq: u64, body: EventBody) {
        match body {
            EventBody::ToolStarted { call_id, tool, arguments_json, .. } => {
                self.open.insert(call_id.clone(), self.journal.calls.len());
                let tool = RecordedTool { call_id, tool, arguments_json, ..RecordedTool::default() };
                self.push(seq, RecordedCall::Tool(Box::new(tool)));
            }
            EventBody::ToolAttempted { call_id, attempt } => {
                self.tool(&call_id, |tool| tool.attempts = attempt);
            }
            EventBody::ApprovalRequested { call_id, expires_at, .. } => {
                self.tool(&call_id, |tool| tool.approval = Some(expires_at));
            }
            EventBody::ApprovalGiven { call_id, approved, reason } => {
                self.tool(&call_id, |tool| tool.decision = Some(Decision { approved, reason }));
            }
            EventBody::SubrunStarted { call_id, run_id, .. } => {
                self.tool(&call_id, |tool| tool.subrun = Some(run_id));
            }
            EventBody::SubrunStep { call_id, source_seq, .. }
            | EventBody::SubrunApprovalRequested { call_id, source_seq, .. } => {
                self.tool(&call_id, |tool| tool.subrun_seen = source_seq);
            }
            EventBody::ToolCompleted { call_id, outcome, sources, .. } => {
                self.tool(&call_id, |tool| tool.completed = Some((outcome, sources)));
                self.open.remove(&call_id);
            }
            // What else is in a log, no mode has asked for.
            _ => {}
        }
    }

    fn push(&mut self, seq: u64, call: RecordedCall) {
        self.journal.calls.push_back(Recorded { seq, call });
    }

    fn tool(&mut self, call_id: &str, change: impl FnOnce(&mut RecordedTool)) {
        let at = self.open.get(call_id).copied();
        if let Some(Recorded { call: RecordedCall::Tool(tool), .. }) = at.and_then(|at| self.journal.calls.get_mut(at))
        {
            change(tool);
        }
    }

    /// A model is asked: something new, or what the one before could not answer.
    fn asked(&mut self, seq: u64, call: u32, model: ModelName, request_hash: ContentHash) {
        for recorded in self.journal.calls.iter_mut().rev() {
            if let RecordedCall::Model(open) = &mut recorded.call
                && open.request_hash == request_hash
                && open.failed > 0
                && open.answer.is_none()
                && !open.under_way
            {
                (open.call, open.model, open.under_way) = (call, model, true);
                return;
            }
        }
        let model = RecordedModel { call, model, request_hash, failed: 0, under_way: true, answer: None };
        self.push(seq, RecordedCall::Model(Box::new(model)));
    }

    fn answered(
        &mut self,
        call: u32,
        response: Option<GenerateResponse>,
        error: Option<serde_json::Value>,
        by_another: bool,
        cost: Option<Money>,
    ) {
        let usage = response.as_ref().map(|response| response.usage);
        let answer = match (response, error) {
            (Some(response), _) => Ok(response),
            (None, error) => Err(model_error(error)),
        };
        // The mode asks for one thing after the other, so it is among the last ones.
        for recorded in self.journal.calls.iter_mut().rev() {
            if let RecordedCall::Model(model) = &mut recorded.call
                && model.call == call
            {
                if let Some(usage) = usage {
                    self.journal.spent += Spent::of(&model.model, usage, cost);
                }
                model.under_way = false;
                if by_another {
                    model.failed += 1;
                } else {
                    model.answer = Some(answer);
                }
                return;
            }
        }
    }

    /// Adds the time since the event before, unless nobody worked on the run in it.
    fn count_time(&mut self, at: Timestamp, body: &EventBody) {
        let idle = self.journal.asks || matches!(body, EventBody::RunResumed {} | EventBody::ApprovalGiven { .. });
        self.journal.asks =
            matches!(body, EventBody::ApprovalRequested { .. } | EventBody::SubrunApprovalRequested { .. });
        if let Some(before) = self.journal.last_at.filter(|_| !idle) {
            self.journal.worked += Duration::try_from(at.duration_since(before)).unwrap_or_default();
        }
        self.journal.last_at = Some(at);
    }
}

fn model_error(error: Option<serde_json::Value>) -> ModelError {
    error
        .and_then(|error| serde_json::from_value(error).ok())
        .unwrap_or_else(|| ModelError::Unavailable("the model did not answer".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(seq: u64, second: i64, body: EventBody) -> Event {
        Event { seq, at: Timestamp::new(second, 0).unwrap(), body }
    }

    fn tool_started(call_id: &str) -> EventBody {
        EventBody::ToolStarted {
            call_id: call_id.to_owned(),
            tool: "write".to_owned(),
            arguments_json: "{}".to_owned(),
            plugin: None,
            idempotency_key: "k".to_owned(),
        }
    }

    fn asked(call_id: &str) -> EventBody {
        EventBody::ApprovalRequested {
            call_id: call_id.to_owned(),
            tool: "write".to_owned(),
            arguments_json: "{}".to_owned(),
            expires_at: None,
        }
    }

    fn decided(call_id: &str) -> EventBody {
        EventBody::ApprovalGiven { call_id: call_id.to_owned(), approved: true, reason: None }
    }

    fn tool(recorded: Option<Recorded>) -> RecordedTool {
        match recorded.map(|recorded| recorded.call) {
            Some(RecordedCall::Tool(tool)) => *tool,
            other => panic!("expected a tool call, got {other:?}"),
        }
    }

    #[test]
    fn a_call_that_waited_for_approval_has_worked_only_once_it_was_attempted() {
        let mut story = vec![event(1, 0, tool_started("a")), event(2, 0, asked("a")), event(3, 90, decided("a"))];
        let waited = tool(Journal::of(story.clone()).next());
        assert!(waited.decision.as_ref().is_some_and(|decision| decision.approved) && !waited.may_have_worked());
        story.push(event(4, 91, EventBody::ToolAttempted { call_id: "a".to_owned(), attempt: 1 }));
        assert!(tool(Journal::of(story).next()).may_have_worked());
        assert!(tool(Journal::of([event(1, 0, tool_started("b"))]).next()).may_have_worked());
    }

    #[test]
    fn a_question_that_went_to_several_models_is_one_question() {
        let model = |name: &str| ModelName::new("test", name).unwrap();
        let hash = ContentHash::of(b"request");
        let asked =
            |seq, call, name| event(seq, 0, EventBody::ModelStarted { call, model: model(name), request_hash: hash });
        let failed = |seq, call, fallback: Option<&str>| {
            let error = serde_json::to_value(ModelError::Unavailable("away".to_owned())).ok();
            let fallback = fallback.map(model);
            let (response, cost) = (None, None);
            let body =
                EventBody::ModelCompleted { call, response, error, fallback, duration_ms: 1, cost, visible: false };
            event(seq, 0, body)
        };
        let story = [asked(1, 1, "a"), failed(2, 1, Some("b")), asked(3, 2, "b"), failed(4, 2, None), asked(5, 3, "a")];
        let read = |events: usize| {
            let mut journal = Journal::of(story[..events].to_vec());
            std::iter::from_fn(move || journal.next())
                .map(|recorded| match recorded.call {
                    RecordedCall::Model(model) => (
                        model.call,
                        model.model.model().to_owned(),
                        model.failed,
                        model.under_way,
                        model.answer.is_some(),
                    ),
                    other => panic!("{other:?}"),
                })
                .collect::<Vec<_>>()
        };
        let told = |call, name: &str, failed, under_way, answered| (call, name.to_owned(), failed, under_way, answered);
        assert_eq!(read(1), [told(1, "a", 0, true, false)]);
        assert_eq!(read(2), [told(1, "a", 1, false, false)], "the next one is to be asked");
        assert_eq!(read(3), [told(2, "b", 1, true, false)]);
        assert_eq!(read(5), [told(2, "b", 1, false, true), told(3, "a", 0, true, false)]);
    }

    #[test]
    fn attempts_are_counted_as_they_are_told() {
        let again = |attempt| EventBody::ToolAttempted { call_id: "a".to_owned(), attempt };
        let story = [event(1, 0, tool_started("a")), event(2, 0, again(2)), event(3, 0, again(3))];
        let made = |events: &[Event]| tool(Journal::of(events.to_vec()).next()).attempts_made();
        assert_eq!((made(&story[..1]), made(&story[..2]), made(&story)), (1, 2, 3));
    }

    #[test]
    fn the_time_in_which_a_run_waited_or_the_host_was_down_is_not_its_work() {
        let story = [
            event(1, 0, tool_started("a")),
            event(2, 2, asked("a")),
            event(3, 1000, decided("a")),
            event(4, 1001, EventBody::Step { message: "on".to_owned() }),
            event(5, 5000, EventBody::RunResumed {}),
            event(6, 5003, EventBody::Step { message: "on".to_owned() }),
            event(7, 5003, asked("b")),
            event(8, 9000, EventBody::ToolAttempted { call_id: "b".to_owned(), attempt: 1 }),
        ];
        assert_eq!(Journal::of(story).worked, Duration::from_secs(2 + 1 + 3));
    }

    #[test]
    fn what_came_to_nothing_new_is_counted() {
        let resumed = |seq| event(seq, 0, EventBody::RunResumed {});
        let step = |seq| event(seq, 0, EventBody::Step { message: String::new() });
        assert_eq!(Journal::of([resumed(1), resumed(2)]).vain_resumes, 2);
        assert_eq!(Journal::of([resumed(1), resumed(2), step(3)]).vain_resumes, 0);
        assert_eq!(Journal::of([resumed(1), step(2), resumed(3)]).vain_resumes, 1);
    }
}
