//! A run, as its mode sees it: every answer is recorded in the run's log before it is given, and a run that is taken up
//! again gets what was recorded until that ends. What a mode asks for then must be what it asked for before: anything else
//! ends the run, because what comes next can not be known.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use vivarium_domain::{
    Abilities, AgentRef, Approval, CheckedCitation, Citation, EventBody, GenerateRequest, GenerateResponse, HostCall,
    Message, ModelError, ModelInfo, ModelName, RunFailure, RunId, SessionId, Source, TenantId, Timestamp, ToolCall,
    ToolDefinition, ToolName, Used, UsedBy, Visibility, WorkspaceChanges, utc_day,
};
use vivarium_models::{Call, Price, Provider};
use vivarium_registry::{Catalog, ToolEntry};
use vivarium_sandbox::{Answers, HostStop, ModeAnswer, ModeHost, ToolResult};
use vivarium_sight::{Content, ModelCall, Span, attribute};
use vivarium_store::StoreError;

use crate::approvals::Approvals;
use crate::citations;
use crate::fits::{self, CallIds};
use crate::journal::{Journal, RecordedCall, host_call, short};
use crate::ledger::Ledger;
use crate::log::RunLog;
use crate::queue::Place;
use crate::service::Shared;
use crate::spending::{Call as UnderWay, Refused, Spent};
use crate::table::Payer;
use crate::tools::Toolbox;
use crate::trace::{AgentTrace, end_model_span, input_messages};
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
    /// A bound on each answer of the model.
    pub(crate) max_output_tokens: Option<u32>,
    /// How long a person may take to decide.
    pub(crate) approval_patience: Duration,
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) toolbox: Arc<Toolbox>,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) model: ModelName,
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
        *lock(&self.spent)
    }

    /// What the mode has added to the session.
    pub(crate) fn take_appended(&self) -> Vec<Message> {
        std::mem::take(&mut lock(&self.appended))
    }

    /// The final check of an answer's citations; marks in the answer what is not verified.
    pub(crate) fn settle(&self, answer: &mut ModeAnswer) -> Vec<CheckedCitation> {
        citations::settle(&lock(&self.ledger), answer)
    }

    /// What the run's model can do.
    pub(crate) fn model_abilities(&self) -> Abilities {
        self.provider.describe(self.model.model()).abilities
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

    pub(crate) async fn ask(&self, request: GenerateRequest) -> Result<Result<GenerateResponse, ModelError>, HostStop> {
        let (mut request, bytes, request_hash) =
            fits::asked(request, self.max_output_tokens).map_err(|error| HostStop(error.to_string()))?;
        let call = self.model_calls.fetch_add(1, Relaxed) + 1;
        let asked = || format!("model.generate with a request of hash {}", short(request_hash));
        let recorded = self.recorded(asked, fits::model(request_hash))?;
        // It may have been asked before, and the answer lost with the host that waited for it.
        let is_new = recorded.is_none();
        if let Some(Some(answer)) = recorded {
            return Ok(answer);
        }
        let reserved = match self.reserve_model(&mut request, bytes).await? {
            Ok(reserved) => reserved,
            Err(refused) => return Err(self.spent_out(refused)),
        };
        if is_new {
            self.log.record(EventBody::ModelStarted { call, model: self.model.clone(), request_hash });
        }
        self.ask_provider(call, &request, reserved).await
    }

    /// Ends the run: a budget has not what its next question may take.
    pub(crate) fn spent_out(&self, refused: Refused) -> HostStop {
        let failure = refused.failure();
        let stop = HostStop(failure.message.clone());
        // There is no second one.
        let _first = self.exhausted.set(failure);
        stop
    }

    pub(crate) async fn ask_provider(
        &self,
        call: u32,
        request: &GenerateRequest,
        reserved: UnderWay,
    ) -> Result<Result<GenerateResponse, ModelError>, HostStop> {
        self.log.flush_answers().await.map_err(|error| stopped(&error))?;
        let (started, span) = (Instant::now(), self.model_span(call, request));
        let visible = request.visibility == Visibility::Answer;
        let mut on_token = |piece: &str| {
            if visible {
                self.log.token(piece);
            }
        };
        let idempotency_key = format!("{}-m{call}", self.run);
        let asked = self.provider.generate(Call {
            model: self.model.model(),
            request,
            on_token: &mut on_token,
            idempotency_key: Some(&idempotency_key),
        });
        let answer = tokio::select! {
            biased;
            answer = asked => answer,
            () = self.log.flush_for_tokens() => return Err(HostStop("the log ended".to_owned())),
        };
        end_model_span(&span, &answer);
        let duration_ms = millis(started);
        match &answer {
            Ok(response) => self.answered(call, response, duration_ms, visible, reserved),
            Err(error) => {
                reserved.came_to_nothing();
                let error = serde_json::to_value(error).ok();
                let body = EventBody::ModelCompleted { call, response: None, error, duration_ms, cost: None, visible };
                self.log.record(body);
            }
        }
        self.log.flush_soon();
        Ok(answer)
    }

    /// Records an answer, and what it has used.
    fn answered(&self, call: u32, response: &GenerateResponse, duration_ms: u64, visible: bool, reserved: UnderWay) {
        let cost = self.price().map(|price| price.of(response.usage));
        *lock(&self.spent) += Spent::of(Some(response), cost);
        // A provider that does not say what it has used is taken to have used all that it may.
        let used = match response.usage.total() {
            0 => reserved.at_most(),
            _ => Used::model_call(response.usage, cost),
        };
        let (used, response) = (reserved.ended(used), Some(response.clone()));
        let body = EventBody::ModelCompleted { call, response, error: None, duration_ms, cost, visible };
        self.log.record_used(body, used);
    }

    /// What the run's model costs today.
    pub(crate) fn price(&self) -> Option<Price> {
        self.shared.models.price(&self.model, utc_day(Timestamp::now()))
    }

    /// A question to the model, in the run's trace.
    fn model_span(&self, number: u32, request: &GenerateRequest) -> Span {
        let call = ModelCall {
            provider: self.model.provider(),
            server: self.provider.server(),
            model: self.model.model(),
            session: self.session.as_str(),
            number,
            max_tokens: request.max_output_tokens,
            temperature: request.temperature,
            json: request.output_schema.is_some(),
        };
        let span = call.begin(&self.trace.now());
        Content::set(&span, attribute::INPUT_MESSAGES, || input_messages(&request.messages));
        span
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
            let info = self.provider.describe(self.model.model());
            let json = serde_json::to_value(&info).unwrap_or_default();
            (info, HostCall::ModelDescribe(json))
        };
        self.small("model.describe", fits::described, describe)
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
