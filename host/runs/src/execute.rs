//! From a run's turn to its last event, or to the point where it waits.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use vivarium_domain::{
    EventBody, FailureCode, Message, Outcome, Run, RunFailure, RunStatus, SessionMessage, SessionSummary, TenantId,
    Timestamp, ToolDefinition, UsageEntry, Used, UsedBy,
};
use vivarium_sandbox::{CallFailure, ModeAnswer, ModeCall, ModeError, ModeHost, ModeReport, TracingLog};
use vivarium_sight::{InSpan as _, Span, Wait, attribute, metric};
use vivarium_store::{StoreError, Write};

use crate::approvals::Approvals;
use crate::asking::Asking;
use crate::found::Found;
use crate::history::{self, Stored, Told};
use crate::host::RunHost;
use crate::journal::{Journal, RecordedStart};
use crate::ledger::Ledger;
use crate::log::RunLog;
use crate::queue;
use crate::service::{Runs, Shared};
use crate::sessions::Place;
use crate::spending::Spent;
use crate::structured::{OutputSchema, Unsettled};
use crate::subruns::MAX_SUBRUNS;
use crate::table::{self, Payer};
use crate::trace::AgentTrace;
use crate::written;

/// So often a run is taken up again that comes to nothing new: one that brings the host down must not do so for ever.
const MOST_VAIN_RESUMES: usize = 25;

/// Why a run is ended from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A client or the operator cancelled it.
    Cancelled(String),
    /// The host stops, and the next one takes the run up again; or the run never was: its record could not be written.
    Left,
}

/// What ends a run from outside.
#[derive(Debug, Default)]
pub(crate) struct Control {
    token: CancellationToken,
    ending: OnceLock<Ending>,
}

impl Control {
    /// Asks the run to end. The first reason counts.
    pub(crate) fn end(&self, ending: Ending) {
        // A second reason is no news.
        let _ = self.ending.set(ending);
        self.token.cancel();
    }

    /// It was asked to end.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending.get().is_some()
    }

    async fn ended(&self) -> Ending {
        self.token.cancelled().await;
        self.ending.get().cloned().unwrap_or(Ending::Left)
    }
}

/// What a run holds while it is under way.
pub(crate) struct Seat {
    pub(crate) log: Arc<RunLog>,
    pub(crate) control: Arc<Control>,
    pub(crate) approvals: Arc<Approvals>,
    /// Its place in its session's line.
    pub(crate) place: Place,
    pub(crate) payer: Option<Arc<dyn Payer>>,
}

/// An accepted run and all that it needs.
pub(crate) struct Execution {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tenant: TenantId,
    pub(crate) run: Run,
    pub(crate) seat: Seat,
    /// What the tenant had when the run was accepted: the run ends on the versions that it began on. None: it is still to be
    /// found, because the run is taken up again.
    pub(crate) found: Option<Found>,
    /// The session is new: there is no history to read.
    pub(crate) new_session: bool,
    /// The host was stopped while it was under way.
    pub(crate) after_a_stop: bool,
    /// This part of the run, in its trace.
    pub(crate) trace: Span,
}

/// How an attempt at a run came to its end.
enum Ended {
    Completed(Outcome, Said),
    Failed(RunFailure),
    Cancelled(String),
    /// All that it does is wait.
    Waits,
    /// The host stops.
    Left,
}

/// What a mode has said for its session.
struct Said {
    /// What it adds to it.
    appended: Vec<Message>,
    /// What is to stand for its oldest messages: up to which, and in which words.
    summary: Option<(u64, String)>,
}

impl Ended {
    fn failed(code: FailureCode, message: impl Into<String>) -> Self {
        Self::Failed(RunFailure::new(code, message))
    }
}

/// The host that a mode talks to. It outlives a broken-off attempt: what the run has cost is known to it.
type HostSlot = OnceLock<Arc<RunHost>>;

impl Execution {
    /// Says when the run is on disk, and drives it. Its work begins while it is still on its way there, unless it may turn
    /// out that another request has made this run already, or somebody knows its id before: what the work writes stands in line behind its record, and
    /// nobody is told of it before.
    pub(crate) async fn run_when(
        self,
        committed: BoxFuture<'static, Result<(), StoreError>>,
        accepted: oneshot::Sender<Result<(), StoreError>>,
        on_disk_first: bool,
    ) {
        if on_disk_first {
            let result = committed.await;
            let go = result.is_ok();
            if !go {
                self.shared.forget(&self.tenant, self.run.id);
            }
            // Whoever asked may have left: the run goes on all the same.
            let _ = accepted.send(result);
            if go {
                self.run_to_end().await;
            }
            return;
        }
        let control = Arc::clone(&self.seat.control);
        let acknowledge = async move {
            let result = committed.await;
            if result.is_err() {
                control.end(Ending::Left);
            }
            let _ = accepted.send(result);
        };
        tokio::join!(acknowledge, self.run_to_end());
    }

    /// Drives the run to its end, or until it waits, and writes that down, whatever happens.
    pub(crate) async fn run_to_end(mut self) {
        let control = Arc::clone(&self.seat.control);
        loop {
            let (host_slot, trace) = (HostSlot::new(), self.trace.clone());
            let attempt = AssertUnwindSafe(self.attempt(&host_slot)).catch_unwind();
            let ended = tokio::select! {
                biased;
                ending = control.ended() => match ending {
                    Ending::Cancelled(reason) => Ended::Cancelled(reason),
                    Ending::Left => Ended::Left,
                },
                attempt = attempt => match attempt {
                    Ok(Ok(ended)) => ended,
                    Ok(Err(error)) => Ended::failed(FailureCode::Internal, format!("the store failed: {error}")),
                    Err(_) => {
                        tracing::error!(run = %self.run.id, "the host's own code panicked in a run; the run fails, the host goes on");
                        Ended::failed(FailureCode::Internal, "the host made a mistake; its log has more")
                    }
                },
            };
            let spent = host_slot.get().map(|host| host.spent());
            if let Some(host) = host_slot.get() {
                host.trace.end();
            }
            match ended {
                Ended::Left => {
                    self.trace.set(attribute::RUN_ENDED, "left");
                    self.seat.log.leave();
                    return self.shared.forget(&self.tenant, self.run.id);
                }
                Ended::Waits => match self.wait(host_slot.get()).await {
                    Waited::Waiting => return trace.end(),
                    Waited::Again(again) => self = again,
                    Waited::NoRoom(execution, message) => {
                        let ended = Ended::failed(FailureCode::Internal, message);
                        return execution.finish(ended, spent).await;
                    }
                },
                ended => return self.finish(ended, spent).await,
            }
        }
    }

    async fn attempt(&mut self, host_slot: &HostSlot) -> Result<Ended, StoreError> {
        let wait = Wait::Place.begin(&self.trace);
        // A run that stands in its session's line holds no place that another session could have.
        self.seat.place.turn().await;
        let place = self.shared.place(&self.tenant).await;
        wait.end();
        let Some(place) = place else {
            return Ok(Ended::failed(FailureCode::Interrupted, "the host had no place for the run in time; try again"));
        };
        let journal = self.journal().await?;
        if journal.vain_resumes >= MOST_VAIN_RESUMES {
            let message = format!("the host was stopped {MOST_VAIN_RESUMES} times at the same point of this run");
            return Ok(Ended::failed(FailureCode::Interrupted, message));
        }
        if self.found.is_none() {
            match self.shared.found_again(&self.tenant, &self.run).await {
                Ok(found) => self.found = Some(found),
                Err(failure) => return Ok(Ended::Failed(failure)),
            }
        }
        let Some(found) = self.found.clone() else {
            return Ok(Ended::failed(FailureCode::Internal, "what the run needs was not found"));
        };
        let told = self.history().await?;
        let offered = match self.begin(&journal, &found, &told).await? {
            Ok(offered) => offered,
            Err(failure) => return Ok(Ended::Failed(failure)),
        };
        let worked = journal.worked;
        let host = Arc::new(self.host(&found, journal, offered, place, told.through).await?);
        // This is the only place that sets it.
        let _ = host_slot.set(Arc::clone(&host));
        let (history, mode, all_wait) = (told.messages, Arc::clone(&host), Arc::clone(&host.waits));
        let work = async {
            tokio::select! {
                biased;
                report = self.run_mode(&found, mode, history) => self.judge(&found, report, &host).await,
                () = all_wait.until_all_wait() => Ended::Waits,
            }
        };
        let Some(seconds) = self.run.settings.timeout_seconds else { return Ok(work.await) };
        let left = Duration::from_secs(seconds.into()).saturating_sub(worked);
        Ok(tokio::time::timeout(left, work).await.unwrap_or_else(|_| {
            let message = format!("the run took longer than the {seconds} s that it may take and was stopped");
            Ended::failed(FailureCode::DeadlineExceeded, message)
        }))
    }

    /// Who pays for the run.
    fn used_by(&self) -> UsedBy {
        UsedBy { key: self.run.key, agent: self.run.agent.map(|agent| agent.id), ..UsedBy::default() }
    }

    /// What is recorded of the run.
    async fn journal(&self) -> Result<Journal, StoreError> {
        match self.seat.log.last_seq() {
            0 => Ok(Journal::default()),
            _ => Journal::read(&*self.shared.store, &self.tenant, self.run.id).await,
        }
    }

    /// Records the start, or finds that it is as it was recorded. Gives the tools that the mode is offered.
    async fn begin(
        &mut self,
        journal: &Journal,
        found: &Found,
        told: &Told,
    ) -> Result<Result<Arc<[ToolDefinition]>, RunFailure>, StoreError> {
        let history_hash = Some(history::hash(&told.messages));
        let Some(before) = journal.started else {
            let mut offered = found.offered(&self.run.settings);
            let agents = self.shared.agent_definitions(&self.tenant, &self.run.settings.agents).await?;
            if !agents.is_empty() {
                offered = offered.iter().cloned().chain(agents).collect();
            }
            let tools = Some(self.shared.keep_definitions(&self.tenant, &offered).await?);
            let began = Used { runs: 1, ..Used::default() };
            let used = UsageEntry { by: self.used_by().model(&self.run.model), used: began };
            let started = EventBody::RunStarted {
                mode: self.run.mode.clone(),
                plugin: self.run.plugin,
                model: self.run.model.clone(),
                session_id: self.run.session_id.clone(),
                history_messages: told.messages.len() as u64,
                input: self.run.input.clone(),
                max_cycles: self.run.max_cycles,
                history_hash,
                tools,
                summary: told.summary.clone(),
            };
            self.seat.log.record_used(started, used);
            return Ok(Ok(offered));
        };
        if std::mem::take(&mut self.after_a_stop) {
            self.seat.log.record(EventBody::RunResumed {});
        }
        let lost = |what: &str| {
            let message = format!("the run can not be taken up again: {what}");
            RunFailure::new(FailureCode::Interrupted, message)
        };
        let RecordedStart { history_hash: Some(history_before), tools: Some(tools) } = before else {
            return Ok(Err(lost("it was begun by an earlier version of the host, whose logs do not tell enough")));
        };
        if Some(history_before) != history_hash {
            return Ok(Err(lost("its session is not what it was when the run began")));
        }
        let definitions = self.shared.definitions(&self.tenant, tools).await?;
        Ok(definitions.ok_or_else(|| lost("the definitions of its tools are gone")))
    }

    /// What the mode is told before its input.
    async fn history(&self) -> Result<Told, StoreError> {
        let store = &*self.shared.store;
        let stored = match self.new_session {
            true => Stored::default(),
            false => history::latest(store, &self.tenant, &self.run).await?,
        };
        history::told(store, &self.tenant, &self.run, stored).await
    }

    async fn host(
        &self,
        found: &Found,
        mut journal: Journal,
        offered: Arc<[ToolDefinition]>,
        place: queue::Place,
        through: Vec<u64>,
    ) -> Result<RunHost, StoreError> {
        let mut ledger = Ledger::default();
        let journal_spent = std::mem::take(&mut journal.spent);
        for source in std::mem::take(&mut journal.sources) {
            let blob = self.shared.store.blob(&self.tenant, source.content_hash).await?;
            let gone = || StoreError::Corrupt(format!("the text of the source {} is not there", source.id));
            let text = String::from_utf8_lossy(&blob.ok_or_else(gone)?).into_owned();
            ledger.restore(source, text.into());
        }
        let settings = &self.run.settings;
        let tools = settings.tools.as_ref();
        Ok(RunHost {
            run: self.run.id,
            tenant: self.tenant.clone(),
            log: Arc::clone(&self.seat.log),
            shared: Arc::clone(&self.shared),
            session: self.run.session_id.clone(),
            catalog: Arc::clone(&found.catalog),
            allowed: tools.map(|tools| tools.iter().map(|tool| (tool.name.clone(), tool.approval)).collect()),
            agents: settings.agents.iter().map(|one| (one.tool.to_string(), one.agent)).collect(),
            depth: self.run.parent.map_or(0, |parent| parent.depth),
            subruns_left: self.run.parent.map_or(MAX_SUBRUNS, |parent| parent.subruns).into(),
            payer: self.seat.payer.clone(),
            place: Some(place).into(),
            offered,
            asking: Asking::of(settings),
            approval_patience: self.shared.config.approval_patience,
            approvals: Arc::clone(&self.seat.approvals),
            toolbox: Arc::clone(&self.shared.toolbox),
            models: found.models.clone(),
            thoughts: Default::default(),
            started: Instant::now(),
            clock_base: journal.monotonic,
            journal: journal.into(),
            diverged: OnceLock::new(),
            exhausted: OnceLock::new(),
            waits: Arc::default(),
            model_calls: Default::default(),
            tool_calls: Default::default(),
            call_ids: Default::default(),
            spent: journal_spent.into(),
            used_by: self.used_by(),
            ledger: ledger.into(),
            appended: Default::default(),
            files_kept: Default::default(),
            through,
            summary: Default::default(),
            trace: AgentTrace::begin(&self.run),
        })
    }

    async fn run_mode(&self, found: &Found, host: Arc<RunHost>, history: Vec<Message>) -> ModeReport {
        let plugin = &found.mode.plugin.plugin;
        let payer = self.shared.toolbox.weigher.payer(&self.tenant).await;
        let call = mode_call(&self.run, found.output_schema.as_ref(), history, payer);
        let sink = Arc::new(TracingLog { plugin: plugin.manifest().name.to_string(), run: self.run.id.to_string() });
        let agent = host.trace.agent().clone();
        let host: Arc<dyn ModeHost> = host;
        plugin.run_mode(call, host, &found.mode.plugin.mode_limits, sink).within(&agent).await
    }

    /// What the mode's answer means for the run.
    async fn judge(&self, found: &Found, report: ModeReport, host: &RunHost) -> Ended {
        let ended = self.judge_answer(found, report, host).await;
        if let Some(failure) = host.exhausted.get() {
            return Ended::Failed(failure.clone());
        }
        // What a mode says that did not do again what its log tells is worth nothing.
        match host.divergence() {
            Some(difference) => {
                let message = format!("taken up again, the mode did not do what it had done before: {difference}");
                Ended::failed(FailureCode::Nondeterminism, message)
            }
            None => ended,
        }
    }

    async fn judge_answer(&self, found: &Found, report: ModeReport, host: &RunHost) -> Ended {
        let mut answer = match answered(report.result) {
            Ok(answer) => answer,
            Err(failure) => return Ended::Failed(failure),
        };
        let output = match &found.output_schema {
            None => None,
            Some(schema) => {
                let by_schema = host.model_info().is_some_and(|info| info.abilities.json_schema);
                match schema.settle(&mut answer, by_schema, async |question| host.ask(question).await).await {
                    Ok(value) => Some(value),
                    Err(Unsettled::Wrong(message)) => return Ended::failed(FailureCode::ModeFailed, message),
                    Err(Unsettled::Stopped(stop)) => return Ended::failed(FailureCode::Internal, stop.0),
                }
            }
        };
        let citations = host.settle(&mut answer);
        let outcome = Outcome { answer: answer.answer, output, citations };
        Ended::Completed(outcome, Said { appended: host.take_appended(), summary: host.take_summary() })
    }
}

/// How a run calls its mode.
pub(crate) fn mode_call(
    run: &Run,
    schema: Option<&OutputSchema>,
    history: Vec<Message>,
    payer: vivarium_sandbox::Payer,
) -> ModeCall {
    ModeCall {
        mode: run.mode.clone(),
        input: run.input.clone(),
        instructions: run.settings.instructions.clone(),
        max_cycles: run.max_cycles,
        output_schema: schema.map(|schema| schema.text.clone()),
        history,
        payer,
    }
}

/// What a mode has answered, or why the run fails that it has not.
pub(crate) fn answered(result: Result<Result<ModeAnswer, ModeError>, CallFailure>) -> Result<ModeAnswer, RunFailure> {
    let (code, message) = match result {
        Ok(Ok(answer)) => return Ok(answer),
        Ok(Err(ModeError::InvalidInput(text))) => (FailureCode::InvalidInput, text),
        Ok(Err(ModeError::Model(text))) => (FailureCode::ModelUnavailable, text),
        Ok(Err(ModeError::Failed(text))) => (FailureCode::ModeFailed, text),
        Err(failure) => (failure.code(), failure.to_string()),
    };
    Err(RunFailure::new(code, message))
}

/// What became of a run that was to wait.
enum Waited {
    /// It waits, and nobody drives it.
    Waiting,
    /// It goes on at once: what it waited for is there.
    Again(Execution),
    /// Too many runs wait.
    NoRoom(Execution, String),
}

impl Execution {
    /// Lets the run wait: its record says so, and nothing of it stays in memory but what wakes it.
    async fn wait(mut self, host: Option<&Arc<RunHost>>) -> Waited {
        let Spent { usage, cost, by_model } = host.map(|host| host.spent()).unwrap_or_default();
        let subruns = host.map(|host| host.waits.waiting_runs()).unwrap_or_default();
        let pending = self.seat.approvals.pending();
        let waits =
            vivarium_domain::Waiting { since: Timestamp::now(), approvals: pending.clone(), subruns: subruns.clone() };
        let last_seq = self.seat.log.last_seq();
        let record = Run {
            status: RunStatus::Waiting,
            waiting: Some(waits),
            usage,
            cost,
            usage_by_model: by_model,
            last_seq,
            ..self.run.clone()
        };
        if let Err(error) = self.seat.log.flush(vec![Write::PutRun(Box::new(record))]).await {
            tracing::warn!(run = %self.run.id, %error, "that a run waits could not be written; it is found out again if need be");
        }
        let shared = Arc::clone(&self.shared);
        let key = (self.tenant.clone(), self.run.id);
        let mut table = shared.table();
        // Decisions and cancellations are taken under this lock.
        let all_wait = subruns.iter().all(|run| table.waiting(&(key.0.clone(), *run)).is_some());
        if !all_wait || self.seat.approvals.any_decided() || self.seat.control.is_ending() {
            drop(table);
            return Waited::Again(self);
        }
        let Seat { log, control, approvals, place, payer } = self.seat;
        let (session, trace) = (self.run.session_id.clone(), self.trace.clone());
        let waiting = Box::new(table::Waiting {
            session,
            place,
            parent: self.run.parent.map(|parent| parent.run_id),
            pending,
            subruns,
            last_seq,
            payer,
            woken: Arc::default(),
        });
        let (room, share) = (shared.config.max_waiting, shared.config.share_of(shared.config.max_waiting));
        match table.wait(&key, waiting, room, share) {
            Ok(()) => {
                drop(table);
                log.leave();
                trace.set(attribute::RUN_ENDED, "waiting");
                shared.changed.notify_waiters();
                shared.waiting_changed.notify_one();
                Waited::Waiting
            }
            Err(waiting) => {
                drop(table);
                let table::Waiting { place, payer, .. } = *waiting;
                self.seat = Seat { log, control, approvals, place, payer };
                Waited::NoRoom(
                    self,
                    format!("more than {share} runs of this tenant, or {room} of all, wait for approval"),
                )
            }
        }
    }

    /// Writes the end: the last event, the run's record and the session's new messages, together.
    async fn finish(mut self, ended: Ended, spent: Option<Spent>) {
        if !self.run.stateless && !matches!(ended, Ended::Waits | Ended::Left) {
            let registry = &self.shared.toolbox.registry;
            written::at_the_end(registry, &self.tenant, &self.run.session_id, self.run.id).await;
        }
        let now = Timestamp::now();
        let Spent { usage, cost, by_model } = match spent {
            Some(spent) => spent,
            // Nothing was done in this attempt; what was done before is in the log.
            None => self.journal().await.map(|journal| journal.spent).unwrap_or_default(),
        };
        self.run.ended_at = Some(now);
        self.run.usage = usage;
        self.run.cost = cost;
        self.run.usage_by_model = by_model;
        self.run.waiting = None;
        let mut writes = Vec::with_capacity(2);
        let event = match ended {
            Ended::Completed(outcome, said) => {
                self.run.status = RunStatus::Completed;
                self.run.outcome = Some(outcome.clone());
                if !self.run.stateless {
                    writes.push(self.session_write(&outcome, said.appended, now));
                    writes.extend(said.summary.map(|summary| self.summary_write(summary, now)));
                }
                EventBody::RunCompleted { outcome, usage, cost }
            }
            Ended::Failed(failure) => {
                // Its words are in its record: they may quote what people said.
                tracing::info!(run = %self.run.id, mode = self.run.mode, code = failure.code.word(), "a run failed");
                self.run.status = RunStatus::Failed;
                self.run.failure = Some(failure.clone());
                EventBody::RunFailed { failure, usage, cost }
            }
            Ended::Cancelled(reason) => {
                self.run.status = RunStatus::Cancelled;
                EventBody::RunCancelled { reason, usage, cost }
            }
            // Neither of them is an end.
            Ended::Waits | Ended::Left => return,
        };
        self.tell_end(now);
        self.run.last_seq = self.seat.log.record(event);
        writes.push(Write::PutRun(Box::new(self.run.clone())));
        let wait = Wait::Disk.begin(&self.trace);
        let written = self.seat.log.flush(writes).await;
        wait.end();
        if let Err(error) = written {
            tracing::error!(run = %self.run.id, %error, "a run's end could not be written; the next start takes the run up again");
        }
        if let Some(payer) = &self.seat.payer {
            payer.pay(usage);
        }
        if self.run.stateless {
            self.clear_away().await;
        }
        self.trace.end();
        self.shared.forget(&self.tenant, self.run.id);
        Runs(self.shared).ended(&self.tenant, &self.run);
    }

    /// Tells the operator of the end.
    fn tell_end(&self, now: Timestamp) {
        let outcome = match self.run.status {
            RunStatus::Completed => "completed",
            RunStatus::Cancelled => "cancelled",
            _ => "failed",
        };
        let code = self.run.failure.as_ref().map_or("", |failure| failure.code.word());
        metric::RUNS_ENDED.add(1, &[("outcome", outcome), ("code", code)]);
        let took = Duration::try_from(now.duration_since(self.run.created_at)).unwrap_or_default();
        metric::RUN_DURATION.took(took, &[("outcome", outcome)]);
        self.trace.set(attribute::RUN_ENDED, outcome);
        if !code.is_empty() {
            self.trace.fail(code);
        }
    }

    /// What a stateless run leaves behind: nothing but its record and its log.
    async fn clear_away(&self) {
        for kept in &self.run.settings.attachments {
            if let Err(error) = self.shared.store.delete_blob(&self.tenant, kept.content).await {
                tracing::warn!(run = %self.run.id, %error, "a stateless run's file could not be removed");
            }
        }
        drop(self.shared.toolbox.registry.scratch(&self.tenant, &self.run.session_id));
    }

    fn summary_write(&self, (up_to, text): (u64, String), at: Timestamp) -> Write {
        let summary = Box::new(SessionSummary { up_to, text, run_id: self.run.id, at });
        Write::SummarizeSession { session: self.run.session_id.clone(), summary }
    }

    fn session_write(&self, outcome: &Outcome, appended: Vec<Message>, at: Timestamp) -> Write {
        let of_run = |message| SessionMessage { run_id: self.run.id, at, message, attachments: Vec::new() };
        let settings = &self.run.settings;
        let attachments = settings.attachments.clone();
        let input = SessionMessage { attachments, ..of_run(Message::user(self.run.input.clone())) };
        let messages = settings.earlier.iter().cloned().map(of_run).chain(std::iter::once(input));
        let answer = Message::assistant(outcome.answer.clone());
        let messages = messages.chain(appended.into_iter().chain(std::iter::once(answer)).map(of_run)).collect();
        Write::AppendMessages { session: self.run.session_id.clone(), messages }
    }
}
