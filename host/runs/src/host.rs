//! A run, as its mode sees it: every answer is recorded in the run's log before it is given, and a run that is taken up
//! again gets what was recorded until that ends. What a mode asks for then must be what it asked for before: anything else
//! ends the run, because what comes next can not be known.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use vivarium_domain::{
    AgentRef, Approval, CheckedCitation, Citation, EventBody, GenerateRequest, GenerateResponse, HostCall, Message,
    ModelError, ModelInfo, RunFailure, RunId, SessionId, Source, TenantId, Timestamp, ToolCall, ToolDefinition,
    ToolName, UsedBy, WorkspaceChanges,
};
use vivarium_registry::{Catalog, ToolEntry};
use vivarium_sandbox::{Answers, HostStop, ModeAnswer, ModeHost, ToolResult};
use vivarium_store::StoreError;

use crate::approvals::Approvals;
use crate::asking::{Asking, Candidate, Thoughts};
use crate::citations;
use crate::fits::{self, CallIds};
use crate::journal::{Journal, RecordedCall, host_call};
use crate::ledger::Ledger;
use crate::log::RunLog;
use crate::queue::Place;
use crate::service::Shared;
use crate::spending::{Refused, Spent};
use crate::table::Payer;
use crate::tools::Toolbox;
use crate::trace::AgentTrace;
use crate::waits::Waits;

/// One run.
pub(crate) struct RunHost {
    pub(crate) run: RunId,
    pub(crate) tenant: TenantId,
    pub(crate) log: Arc<RunLog>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) session: SessionId,
    pub(crate) catalog: Arc<Catalog>,
    /// The tools that this run may use; none: all of the catalog.
    pub(crate) allowed: Option<BTreeMap<ToolName, Approval>>,
    /// The agents that it may start, by the names of their tools.
    pub(crate) agents: BTreeMap<String, AgentRef>,
    /// How many runs stand above it.
    pub(crate) depth: u32,
    /// How many runs it may still start.
    pub(crate) subruns_left: AtomicU32,
    pub(crate) payer: Option<Arc<dyn Payer>>,
    /// Its place among the runs that work. It is given up while all that the run does is wait.
    pub(crate) place: Mutex<Option<Place>>,
    /// The tools that the mode is offered.
    pub(crate) offered: Arc<[ToolDefinition]>,
    /// How models are to be asked.
    pub(crate) asking: Asking,
    /// How long a person may take to decide.
    pub(crate) approval_patience: Duration,
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) toolbox: Arc<Toolbox>,
    /// The run's model, and those that are asked instead.
    pub(crate) models: Vec<Candidate>,
    pub(crate) thoughts: Mutex<Thoughts>,
    pub(crate) started: Instant,
    /// What the mode's clock showed when the run was left, in nanoseconds.
    pub(crate) clock_base: u64,
    pub(crate) journal: Mutex<Journal>,
    pub(crate) diverged: OnceLock<String>,
    /// The budget that did not have what a question to the model may take.
    pub(crate) exhausted: OnceLock<RunFailure>,
    pub(crate) waits: Arc<Waits>,
    pub(crate) model_calls: AtomicU32,
    pub(crate) tool_calls: AtomicU32,
    pub(crate) call_ids: Mutex<CallIds>,
    pub(crate) spent: Mutex<Spent>,
    /// Who pays for it.
    pub(crate) used_by: UsedBy,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) appended: Mutex<Vec<Message>>,
    /// The session's files are kept as they were before the run wrote any.
    pub(crate) files_kept: OnceCell<()>,
    /// Up to which message of the session each message of the mode's history goes.
    pub(crate) through: Vec<u64>,
    /// What is to stand for the oldest messages of the session: up to which, and in which words.
    pub(crate) summary: Mutex<Option<(u64, String)>>,
    pub(crate) trace: AgentTrace,
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can leave the data half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn stopped(error: &StoreError) -> HostStop {
    HostStop(format!("the run's log can not be written: {error}"))
}

impl RunHost {
    /// What all model calls so far have used, those before the host was stopped included.
    pub(crate) fn spent(&self) -> Spent {
        lock(&self.spent).clone()
    }

    /// What the mode has added to the session.
    pub(crate) fn take_appended(&self) -> Vec<Message> {
        std::mem::take(&mut lock(&self.appended))
    }

    /// What the mode has said in the place of the session's oldest messages.
    pub(crate) fn take_summary(&self) -> Option<(u64, String)> {
        lock(&self.summary).take()
    }

    /// The final check of an answer's citations; marks in the answer what is not verified.
    pub(crate) fn settle(&self, answer: &mut ModeAnswer) -> Vec<CheckedCitation> {
        citations::settle(&lock(&self.ledger), answer)
    }

    /// How the mode did not do again what its log says. None: it did.
    pub(crate) fn divergence(&self) -> Option<String> {
        if let Some(diverged) = self.diverged.get() {
            return Some(diverged.clone());
        }
        let left = lock(&self.journal).next()?;
        Some(format!("at event {} it asked for {} before, and ends now without it", left.seq, left.call.describe()))
    }

    /// A tool of this run, with the stricter of what its grant and its agent say about approval.
    pub(crate) fn tool(&self, name: &str) -> Option<ToolEntry> {
        let mut entry = self.catalog.tool(name)?.clone();
        if let Some(allowed) = &self.allowed {
            entry.approval = entry.approval.max(*allowed.get(&entry.manifest.name)?);
        }
        (entry.approval != Approval::Never).then_some(entry)
    }

    /// The names of this run's tools, for a sentence.
    pub(crate) fn tool_names(&self) -> String {
        let named = self.catalog.tools().map(|entry| entry.manifest.name.as_str());
        let names = named.filter(|name| self.tool(name).is_some()).chain(self.agents.keys().map(String::as_str));
        let names: Vec<&str> = names.collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// The next recorded call, if it is what is asked for now: `fits` gives what came of it, or the call back. None: all that
    /// was recorded has been asked for again, and this is new.
    pub(crate) fn recorded<T>(
        &self,
        asked: impl FnOnce() -> String,
        fits: impl FnOnce(RecordedCall) -> Result<T, RecordedCall>,
    ) -> Result<Option<T>, HostStop> {
        if let Some(diverged) = self.diverged.get() {
            return Err(HostStop(diverged.clone()));
        }
        let Some(recorded) = lock(&self.journal).next() else { return Ok(None) };
        fits(recorded.call).map(Some).map_err(|other| {
            let text = format!(
                "at event {} it asked for {} before, and asks for {} now",
                recorded.seq,
                other.describe(),
                asked()
            );
            HostStop(self.diverged.get_or_init(|| text).clone())
        })
    }

    /// Ends the run: a budget has not what its next question may take.
    pub(crate) fn spent_out(&self, refused: Refused) -> HostStop {
        let failure = refused.failure();
        let stop = HostStop(failure.message.clone());
        // There is no second one.
        let _first = self.exhausted.set(failure);
        stop
    }

    /// The recorded answer of a small call, or the one that `live` gives now, which is recorded.
    fn small<T>(
        &self,
        name: &str,
        fits: impl FnOnce(HostCall) -> Result<T, HostCall>,
        live: impl FnOnce() -> (T, HostCall),
    ) -> Result<T, HostStop> {
        let recorded = self.recorded(|| name.to_owned(), fits::small(fits))?;
        Ok(recorded.unwrap_or_else(|| {
            let (answer, call) = live();
            self.log.record(EventBody::HostAnswered(call));
            answer
        }))
    }

    fn since_start(&self) -> u64 {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.clock_base.saturating_add(now)
    }
}

impl ModeHost for RunHost {
    fn describe(&self) -> Result<ModelInfo, HostStop> {
        let describe = || {
            let info = self.model_info();
            let json = serde_json::to_value(&info).unwrap_or_default();
            (info, HostCall::ModelDescribe(json))
        };
        let described = self.small("model.describe", |recorded| fits::described(recorded).map(Some), describe)?;
        described.ok_or_else(|| HostStop("the run has no model".to_owned()))
    }

    fn generate(
        self: Arc<Self>,
        request: GenerateRequest,
    ) -> BoxFuture<'static, Result<Result<GenerateResponse, ModelError>, HostStop>> {
        async move { self.ask(request).await }.boxed()
    }

    fn generate_all(self: Arc<Self>, requests: Vec<GenerateRequest>) -> BoxFuture<'static, Result<Answers, HostStop>> {
        async move { self.ask_all(requests).await }.boxed()
    }

    fn tools(&self) -> Result<Vec<ToolDefinition>, HostStop> {
        let list = || fits::listed_tools(&self.offered);
        self.small("tools.list", |recorded| fits::same(list())(recorded), list)
    }

    fn call_tools(self: Arc<Self>, calls: Vec<ToolCall>) -> BoxFuture<'static, Result<Vec<ToolResult>, HostStop>> {
        self.call_all(calls).boxed()
    }

    fn append(&self, messages: Vec<Message>) -> Result<(), HostStop> {
        let mut appended = lock(&self.appended);
        let take = || fits::appended(&messages, appended.len());
        let taken = self.small("session.append", |recorded| fits::same(take())(recorded), take)?;
        appended.extend(messages.into_iter().take(taken));
        Ok(())
    }

    fn summarize(&self, messages: u32, summary: String) -> Result<(), HostStop> {
        let take = || fits::summarized(messages, &summary, &self.through);
        let taken = self.small("session.summarize", |recorded| fits::same(take())(recorded), take)?;
        if taken.is_some() {
            *lock(&self.summary) = taken;
        }
        Ok(())
    }

    fn sources(&self) -> Result<Vec<Source>, HostStop> {
        let live = || {
            let sources = lock(&self.ledger).sources();
            let ids = sources.iter().map(|source| source.id.clone()).collect();
            (sources, HostCall::SourcesList(ids))
        };
        self.small("sources.list", |recorded| fits::listed_sources(&lock(&self.ledger))(recorded), live)
    }

    fn read_source(&self, id: &str, start_bytes: usize, max_bytes: usize) -> Result<Option<String>, HostStop> {
        let read = || fits::read(&lock(&self.ledger), id, start_bytes, max_bytes);
        self.small("sources.read", fits::was_read(read), read)
    }

    fn check(&self, citations: &[Citation]) -> Result<Vec<bool>, HostStop> {
        let live = || {
            let checked = lock(&self.ledger).check(citations);
            (fits::verdicts(&checked, citations), HostCall::SourcesCheck(checked))
        };
        self.small("sources.check", fits::checked(citations), live)
    }

    fn step(self: Arc<Self>, message: String) -> BoxFuture<'static, Result<(), HostStop>> {
        async move {
            if self.recorded(|| format!("steps.report({message:?})"), fits::step(&message))?.is_some() {
                self.trace.step(None);
                return Ok(());
            }
            self.trace.step(Some(&message));
            self.log.record(EventBody::Step { message });
            self.log.flush_soon();
            Ok(())
        }
        .boxed()
    }

    fn changes(
        self: Arc<Self>,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Option<Box<WorkspaceChanges>>, HostStop>> {
        async move { self.changed(max_bytes).await }.boxed()
    }

    fn wall_clock(&self) -> u64 {
        let live = || {
            let now = u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(0);
            (now, HostCall::WallClock(now))
        };
        self.small(host_call(&HostCall::WallClock(0)), fits::wall_clock, live).unwrap_or_default()
    }

    fn monotonic_clock(&self) -> u64 {
        let live = || {
            let now = self.since_start();
            (now, HostCall::MonotonicClock(now))
        };
        self.small(host_call(&HostCall::MonotonicClock(0)), fits::monotonic_clock, live).unwrap_or_default()
    }

    fn random(&self, bytes: &mut [u8]) {
        let length = bytes.len();
        let live = || {
            let mut dice = vec![0; length];
            rand::fill(&mut dice[..]);
            let call = HostCall::Random(hex::encode(&dice));
            (dice, call)
        };
        if let Ok(dice) = self.small(host_call(&HostCall::Random(String::new())), fits::random(length), live) {
            bytes.copy_from_slice(&dice);
        }
    }
}

pub(crate) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
