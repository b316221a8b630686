//! The tool calls of a run: what is called is on disk before it is called; what a person must allow is asked for; what was
//! called before the host was stopped is not called a second time, unless that does no harm.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Instant;

use tokio::task::JoinSet;
use vivarium_domain::{
    AgentRef, Approval, Document, EventBody, RunId, Source, Timestamp, ToolCall, ToolOutcome, ToolUsage, UsageEntry,
    Used,
};
use vivarium_registry::ToolEntry;
use vivarium_sandbox::{HostStop, ToolCallContext, ToolReport, ToolResult, TracingLog};
use vivarium_sight::{self as sight, Content, InSpan as _, Span, Wait, attribute, metric};

use crate::approvals::Decision;
use crate::fits;
use crate::host::{RunHost, lock, stopped};
use crate::journal::{RecordedTool, tool_call};
use crate::ledger::{Added, Entry};
use crate::tools::{IntoTool, failed};
use crate::waits::WaitFor;

/// Arguments of a tool call that a model wrote; longer ones are refused before they are stored.
pub(crate) const MAX_ARGUMENT_BYTES: usize = 256 << 10;

/// The answer to a call that may have been at work when the host was stopped.
const INTERRUPTED: &str = "interrupted: the host was stopped while this call was at work. It may have done its work, all or a \
                           part of it, or nothing; it is not called again by itself";

/// A call whose intent is recorded.
pub(crate) struct IntendedCall {
    pub(crate) call: ToolCall,
    /// Its id in the log.
    pub(crate) id: String,
    target: Result<Target, String>,
    idempotency_key: String,
    /// What the log tells of it, where it was intended before the host was stopped or the run waited.
    before: Option<Box<RecordedTool>>,
}

/// What is called.
enum Target {
    /// A tool of a plugin.
    Tool(Box<ToolEntry>),
    /// An agent.
    Agent(AgentRef, Subrun),
}

/// The run of an agent that is called as a tool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Subrun {
    pub(crate) run: RunId,
    /// How many runs it may start in turn.
    pub(crate) allowance: u32,
    /// The last event of its log that was passed on.
    pub(crate) seen: u64,
}

impl RunHost {
    pub(crate) async fn call_all(self: Arc<Self>, calls: Vec<ToolCall>) -> Result<Vec<ToolResult>, HostStop> {
        let calls = self.intend_all(calls)?;
        // The intent is on disk before anything is called.
        self.log.flush(Vec::new()).await.map_err(|error| stopped(&error))?;
        let mut results: Vec<(usize, ToolResult)> = Vec::with_capacity(calls.len());
        let mut tasks = JoinSet::new();
        for (index, mut call) in calls.into_iter().enumerate() {
            if let Some((outcome, sources)) = call.before.as_mut().and_then(|before| before.completed.take()) {
                results.push((index, result(call.call, outcome, self.known(&sources)?)));
                continue;
            }
            let host = Arc::clone(&self);
            tasks.spawn(async move { (index, host.call_one(call).await) }.carried());
        }
        while !tasks.is_empty() {
            let done = tokio::select! {
                biased;
                done = tasks.join_next() => done,
                () = self.waits.changed() => {
                    self.rest(tasks.len());
                    continue;
                }
            };
            let Some(done) = done else { break };
            // A panic of the host's own code: the run fails, the process goes on.
            let (index, result) = done.map_err(|error| HostStop(format!("a tool call broke off: {error}")))?;
            results.push((index, result?));
            self.rest(tasks.len());
        }
        self.take_place().await?;
        results.sort_by_key(|(index, _)| *index);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }

    /// Looks whether all of so many calls wait: then the run gives up its place, and its instance, too, if they wait for
    /// people.
    fn rest(&self, calls: usize) {
        if calls == 0 {
            return;
        }
        if !self.waits.leave_if_all_wait_for_people(calls) && self.waits.are_all(calls) {
            drop(lock(&self.place).take());
        }
    }

    /// Waits for a place, if the run has given up its own.
    async fn take_place(&self) -> Result<(), HostStop> {
        if lock(&self.place).is_some() {
            return Ok(());
        }
        let place = self.shared.place(&self.tenant).await;
        let place = place.ok_or_else(|| HostStop("the host had no place for the run to go on in time".to_owned()))?;
        *lock(&self.place) = Some(place);
        Ok(())
    }

    /// Records that calls will be made, in one piece: all of them or none are on disk.
    fn intend_all(&self, calls: Vec<ToolCall>) -> Result<Vec<IntendedCall>, HostStop> {
        let mut events = Vec::with_capacity(calls.len());
        let intended = calls.into_iter().map(|call| self.intend(call, &mut events)).collect();
        self.log.record_all(events);
        intended
    }

    fn intend(&self, mut call: ToolCall, events: &mut Vec<EventBody>) -> Result<IntendedCall, HostStop> {
        let number = self.tool_calls.fetch_add(1, Relaxed) + 1;
        let too_long = call.arguments_json.len() > MAX_ARGUMENT_BYTES;
        if too_long {
            call.arguments_json.clear();
        }
        let id = lock(&self.call_ids).own(&call.id);
        let before = self.recorded(|| tool_call(&call.name, &call.arguments_json), fits::tool(&id, &call))?;
        let idempotency_key = format!("{}-{number}", self.run);
        let target = match self.target(&call.name, before.as_deref()) {
            Ok(_) if too_long => Err(format!("the arguments have more than {MAX_ARGUMENT_BYTES} bytes")),
            target => target,
        };
        if before.is_none() {
            let plugin = match &target {
                Ok(Target::Tool(entry)) => entry.digest(),
                _ => None,
            };
            events.push(EventBody::ToolStarted {
                call_id: id.clone(),
                tool: call.name.clone(),
                arguments_json: call.arguments_json.clone(),
                plugin,
                idempotency_key: idempotency_key.clone(),
            });
            match &target {
                Ok(Target::Tool(entry)) if entry.approval == Approval::Ask => events.push(self.question(&id, &call)),
                Ok(Target::Agent(agent, subrun)) => {
                    events.push(EventBody::SubrunStarted { call_id: id.clone(), run_id: subrun.run, agent: *agent });
                }
                _ => {}
            }
        }
        Ok(IntendedCall { call, id, target, idempotency_key, before })
    }

    /// What stands behind a tool's name.
    fn target(&self, name: &str, before: Option<&RecordedTool>) -> Result<Target, String> {
        if let Some(entry) = self.tool(name) {
            return Ok(Target::Tool(Box::new(entry)));
        }
        let Some(agent) = self.agents.get(name) else {
            return Err(format!("there is no tool {name:?}; there are: {}", self.tool_names()));
        };
        // What it leaves to itself and what it gives is the same each time.
        let share = |left: u32| left.checked_sub(1).map(|rest| rest - rest / 2);
        let left = self.subruns_left.fetch_update(Relaxed, Relaxed, share);
        let left = left.map_err(|_| "this run has started as many runs as it may".to_owned())?;
        let run = before.and_then(|before| before.subrun).unwrap_or_else(RunId::new);
        let seen = before.map_or(0, |before| before.subrun_seen);
        Ok(Target::Agent(*agent, Subrun { run, allowance: (left - 1) / 2, seen }))
    }

    /// Asks a person about a call.
    fn question(&self, id: &str, call: &ToolCall) -> EventBody {
        let expires_at = Timestamp::now().checked_add(self.approval_patience).ok();
        self.approvals.ask(id, expires_at, None);
        EventBody::ApprovalRequested {
            call_id: id.to_owned(),
            tool: call.name.clone(),
            arguments_json: call.arguments_json.clone(),
            expires_at,
        }
    }

    async fn call_one(&self, intended: IntendedCall) -> Result<ToolResult, HostStop> {
        let mut used = None;
        let report = match &intended.target {
            Ok(Target::Tool(entry)) => self.call_allowed(entry, &intended, &mut used).await?,
            Ok(Target::Agent(agent, subrun)) => self.call_agent(*agent, subrun, &intended).await?,
            Err(message) => {
                let span = self.tool_span(&intended, None, None);
                span.fail("no_such_tool");
                told("other", "error", None);
                failed(message.clone())
            }
        };
        let IntendedCall { call, id, .. } = intended;
        let (outcome, documents) = match report.result {
            Ok(output) => (ToolOutcome::Output(output.content), output.documents),
            Err(message) => (ToolOutcome::Error(message), Vec::new()),
        };
        let sources = self.keep(&call.name, documents).await?;
        let completed = EventBody::ToolCompleted {
            call_id: id.clone(),
            tool: call.name.clone(),
            outcome: outcome.clone(),
            sources: sources.iter().map(|source| source.id.clone()).collect(),
            usage: report.usage,
        };
        match used {
            Some(used) => self.log.record_used(completed, used),
            None => self.log.record(completed),
        };
        self.log.flush_soon();
        self.approvals.close(&id);
        Ok(result(call, outcome, sources))
    }

    /// The sources of a call that was completed before.
    fn known(&self, ids: &[String]) -> Result<Vec<Source>, HostStop> {
        let known = lock(&self.ledger).known(ids);
        known.ok_or_else(|| HostStop("the run's log names a source that it has not".to_owned()))
    }

    /// Calls a tool, once a person has allowed it where one must, and unless it may have done its work before. `used` is what
    /// that has used, if it comes to the call.
    async fn call_allowed(
        &self,
        entry: &ToolEntry,
        intended: &IntendedCall,
        used: &mut Option<UsageEntry>,
    ) -> Result<ToolReport, HostStop> {
        let IntendedCall { id, before, .. } = intended;
        let recorded = before.as_deref();
        let asked = match recorded {
            // Whether it was asked about was decided when it was intended.
            Some(before) => before.approval.map(|expires_at| (expires_at, before.decision.clone())),
            None => (entry.approval == Approval::Ask).then_some((None, None)),
        };
        if let Some((expires_at, decision)) = &asked {
            self.approvals.ask(id, *expires_at, decision.clone());
            let (waiting, span) = (self.waits.begin(WaitFor::Person), Wait::Approval.begin(&self.trace.now()));
            let Decision { approved, reason } = self.approvals.decision(id).await;
            waiting.go_on().await;
            span.end();
            if !approved {
                told(label(entry), "denied", None);
                let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
                return Ok(failed(format!("denied: a person refused this call{reason}")));
            }
        }
        let attempts = recorded.map_or(0, RecordedTool::attempts_made);
        if recorded.is_some_and(RecordedTool::may_have_worked)
            && !(entry.manifest.read_only || entry.manifest.idempotent)
        {
            told(label(entry), "interrupted", None);
            return Ok(failed(INTERRUPTED.to_owned()));
        }
        if asked.is_some() || attempts > 0 {
            self.log.record(EventBody::ToolAttempted { call_id: id.clone(), attempt: attempts + 1 });
            self.log.flush(Vec::new()).await.map_err(|error| stopped(&error))?;
        }
        Ok(self.run_tool(entry, intended, used).await)
    }

    async fn run_tool(&self, entry: &ToolEntry, intended: &IntendedCall, used: &mut Option<UsageEntry>) -> ToolReport {
        let plugin = entry.provider_name();
        let run = self.run.to_string();
        let log = Arc::new(TracingLog { plugin: plugin.to_string(), run: run.clone() });
        let idempotency_key = intended.idempotency_key.clone();
        let into = IntoTool {
            tenant: &self.tenant,
            entry,
            arguments_json: &intended.call.arguments_json,
            context: ToolCallContext { run_id: run, idempotency_key, ..ToolCallContext::default() },
            session: &self.session,
            log,
        };
        let call = match self.shared.reserve_tool(&self.tenant, &self.used_by, entry).await {
            Ok(Ok(call)) => call,
            Ok(Err(spent)) => {
                let span = self.tool_span(intended, Some(entry.manifest.name.as_str()), Some(plugin.as_str()));
                span.fail("budget_exhausted");
                told(label(entry), "budget_exhausted", None);
                return failed(format!("unavailable: {spent}"));
            }
            Err(error) => return failed(format!("unavailable: its budget can not be looked at: {error}")),
        };
        let span = self.tool_span(intended, Some(entry.manifest.name.as_str()), Some(plugin.as_str()));
        self.before_writing(entry).await;
        let began = Instant::now();
        let (report, outcome) = match self.toolbox.call(into).within(&span).await {
            Ok(report) if report.result.is_ok() => (report, "ok"),
            Ok(report) => (report, "error"),
            Err(no_place) => (failed(format!("unavailable: {no_place}")), "unavailable"),
        };
        if outcome == "unavailable" {
            call.came_to_nothing();
        } else {
            *used = Some(call.ended(Used::tool_call(report.usage.wall_ms)));
        }
        told(label(entry), outcome, Some(began));
        end_tool_span(&span, &report, outcome);
        for denial in &report.denials {
            self.log.record(EventBody::GrantDenied {
                call_id: intended.id.clone(),
                plugin: plugin.clone(),
                capability: denial.capability.to_owned(),
                message: denial.message.clone(),
            });
        }
        report
    }

    /// A tool call, in the run's trace. Without a name there is no such tool; without a plugin it is an agent.
    pub(crate) fn tool_span(&self, intended: &IntendedCall, name: Option<&str>, plugin: Option<&str>) -> Span {
        let span = sight::ToolCall { name, call: &intended.id, plugin }.begin(&self.trace.now());
        Content::set(&span, attribute::TOOL_ARGUMENTS, || intended.call.arguments_json.clone());
        span
    }

    /// Puts documents into the ledger and their texts into the store.
    async fn keep(&self, tool: &str, documents: Vec<Document>) -> Result<Vec<Source>, HostStop> {
        let mut sources = Vec::with_capacity(documents.len());
        let (most, _) = match documents.is_empty() {
            true => (None, None),
            false => self.shared.own_bounds(&self.tenant).await.map_err(|error| stopped(&error))?,
        };
        for document in documents {
            if let Some(most) = most {
                let used = self.shared.store.stored_bytes(&self.tenant).await.map_err(|error| stopped(&error))?;
                if used.saturating_add(document.text.len() as u64) > most {
                    tracing::warn!(run = %self.run, tool, used, most, "the tenant keeps as much as it may; a document was dropped");
                    break;
                }
            }
            let added = lock(&self.ledger).add(tool, document);
            match added {
                Added::Known(entry) => sources.push(entry.source.clone()),
                Added::New(entry) => sources.push(self.keep_text(&entry).await?),
                Added::Full => {
                    tracing::warn!(run = %self.run, tool, "the run's ledger is full; a document was dropped");
                    break;
                }
            }
        }
        Ok(sources)
    }

    async fn keep_text(&self, entry: &Entry) -> Result<Source, HostStop> {
        let text = bytes::Bytes::copy_from_slice(entry.text.as_bytes());
        self.shared.store.put_blob(&self.tenant, text).await.map_err(|error| stopped(&error))?;
        self.log.record(EventBody::SourceAdded { source: entry.source.clone() });
        Ok(entry.source.clone())
    }
}

/// What a tool is called in the metrics: those that ship by their names, of which there are few.
fn label(entry: &ToolEntry) -> &str {
    let ships = entry.provider_name().is_ours();
    if ships { entry.manifest.name.as_str() } else { "other" }
}

/// Counts a call, and measures it if it was made.
pub(crate) fn told(tool: &str, outcome: &'static str, began: Option<Instant>) {
    metric::TOOL_CALLS.add(1, &[("tool", tool.to_owned()), ("outcome", outcome.to_owned())]);
    if let Some(began) = began {
        metric::TOOL_DURATION.took(began.elapsed(), &[("tool", tool.to_owned())]);
    }
}

/// Says in the trace what came of a call.
pub(crate) fn end_tool_span(span: &Span, report: &ToolReport, outcome: &'static str) {
    let ToolUsage { cpu_ms, memory_peak_bytes, host_calls, .. } = report.usage;
    sight::ToolCall::used(span, cpu_ms, memory_peak_bytes, host_calls);
    match &report.result {
        Ok(output) => Content::set(span, attribute::TOOL_RESULT, || output.content.clone()),
        Err(message) => {
            span.fail(outcome);
            Content::set(span, attribute::TOOL_RESULT, || message.clone());
        }
    }
    span.end();
}

/// What a mode is told of a call.
pub(crate) fn result(call: ToolCall, outcome: ToolOutcome, sources: Vec<Source>) -> ToolResult {
    let (content, is_error) = match outcome {
        ToolOutcome::Output(content) => (content, false),
        ToolOutcome::Error(message) => (message, true),
    };
    ToolResult { id: call.id, name: call.name, content, is_error, sources }
}
