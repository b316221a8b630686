//! From a run's turn to its last event.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use vivarium_domain::{
    EventBody, FailureCode, Message, Outcome, Run, RunFailure, RunStatus, SessionMessage, TenantId, Timestamp, Usage,
};
use vivarium_models::Provider;
use vivarium_registry::{Catalog, ModeEntry};
use vivarium_sandbox::{ModeAnswer, ModeCall, ModeError, ModeHost, ModeReport, TracingLog};
use vivarium_store::{StoreError, Write};

use crate::approvals::Approvals;
use crate::history;
use crate::host::RunHost;
use crate::log::RunLog;
use crate::service::Shared;
use crate::sessions::Place;
use crate::structured::OutputSchema;

/// Why a run is ended from outside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ending {
    /// A client or the operator cancelled it.
    Cancelled(String),
    /// The host stops.
    Interrupted,
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

    async fn ended(&self) -> Ending {
        self.token.cancelled().await;
        self.ending.get().cloned().unwrap_or(Ending::Interrupted)
    }
}

/// An accepted run and all that it needs.
pub(crate) struct Execution {
    pub(crate) shared: Arc<Shared>,
    pub(crate) tenant: TenantId,
    pub(crate) run: Run,
    pub(crate) log: Arc<RunLog>,
    pub(crate) control: Arc<Control>,
    pub(crate) approvals: Arc<Approvals>,
    /// What the tenant had when the run was accepted: the run ends on the versions that it began on.
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) mode: ModeEntry,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) output_schema: Option<OutputSchema>,
    pub(crate) place: Place,
    /// The session is new: there is no history to read.
    pub(crate) new_session: bool,
}

/// How a run ended.
enum Ended {
    Completed(Outcome, Vec<Message>),
    Failed(RunFailure),
    Cancelled(String),
}

impl Ended {
    fn failed(code: FailureCode, message: impl Into<String>) -> Self {
        Self::Failed(RunFailure { code, message: message.into() })
    }
}

impl Execution {
    /// Says when the run is on disk, and drives it. Its work begins while it is still on its way there, unless it may turn
    /// out that another request has made this run already: what the work writes stands in line behind its record, and
    /// nobody is told of it before.
    pub(crate) async fn run_when(
        self,
        committed: BoxFuture<'static, Result<(), StoreError>>,
        accepted: oneshot::Sender<Result<(), StoreError>>,
        may_be_another: bool,
    ) {
        if may_be_another {
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
        let control = Arc::clone(&self.control);
        let acknowledge = async move {
            let result = committed.await;
            if result.is_err() {
                control.end(Ending::Interrupted);
            }
            let _ = accepted.send(result);
        };
        tokio::join!(acknowledge, self.run_to_end());
    }

    /// Drives the run to its end and writes it down, whatever happens.
    async fn run_to_end(mut self) {
        let control = Arc::clone(&self.control);
        // The host that the mode talked to outlives a broken-off attempt: what the run has cost is known to it.
        let host_slot = Arc::new(OnceLock::<Arc<RunHost>>::new());
        let attempt = AssertUnwindSafe(self.attempt(&host_slot)).catch_unwind();
        let ended = tokio::select! {
            biased;
            ending = control.ended() => match ending {
                Ending::Cancelled(reason) => Ended::Cancelled(reason),
                Ending::Interrupted => Ended::failed(FailureCode::Interrupted, "the host was stopped while the run was under way"),
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
        let usage = host_slot.get().map(|host| host.usage()).unwrap_or_default();
        self.finish(ended, usage).await;
    }

    async fn attempt(&mut self, host_slot: &OnceLock<Arc<RunHost>>) -> Result<Ended, StoreError> {
        let Some(_place) = self.shared.place(&self.tenant).await else {
            return Ok(Ended::failed(FailureCode::Interrupted, "the host had no place for the run in time; try again"));
        };
        self.place.turn().await;
        let history = self.history().await?;
        self.log.record(EventBody::RunStarted {
            mode: self.run.mode.clone(),
            plugin: self.run.plugin,
            model: self.run.model.clone(),
            session_id: self.run.session_id.clone(),
            history_messages: history.len() as u64,
            input: self.run.input.clone(),
            max_cycles: self.run.max_cycles,
        });
        let host = Arc::new(self.host());
        // This is the only place that sets it.
        let _ = host_slot.set(Arc::clone(&host));
        let worked = async {
            let report = self.run_mode(Arc::clone(&host), history).await;
            self.judge(report, &host).await
        };
        let Some(seconds) = self.run.settings.timeout_seconds else { return Ok(worked.await) };
        let ended = tokio::time::timeout(Duration::from_secs(seconds.into()), worked).await;
        Ok(ended.unwrap_or_else(|_| {
            let message = format!("the run took longer than the {seconds} s that it may take and was stopped");
            Ended::failed(FailureCode::DeadlineExceeded, message)
        }))
    }

    /// The conversation so far, what the client put in front of its input, and the files that came with it.
    async fn history(&self) -> Result<Vec<Message>, StoreError> {
        let (store, session, settings) = (&*self.shared.store, &self.run.session_id, &self.run.settings);
        let mut history = match self.new_session {
            true => Vec::new(),
            false => history::of_session(store, &self.tenant, session, settings.history_turns).await?,
        };
        history.extend(settings.earlier.iter().cloned());
        let parts = history::parts_of(store, &self.tenant, session, &settings.attachments).await?;
        if !parts.is_empty() {
            history.push(Message::User { parts });
        }
        Ok(history)
    }

    fn host(&self) -> RunHost {
        RunHost {
            run: self.run.id,
            tenant: self.tenant.clone(),
            log: Arc::clone(&self.log),
            store: Arc::clone(&self.shared.store),
            session: self.run.session_id.clone(),
            catalog: Arc::clone(&self.catalog),
            allowed: self
                .run
                .settings
                .tools
                .as_ref()
                .map(|tools| tools.iter().map(|tool| (tool.name.clone(), tool.approval)).collect()),
            max_output_tokens: self.run.settings.max_output_tokens,
            approvals: Arc::clone(&self.approvals),
            toolbox: Arc::clone(&self.shared.toolbox),
            provider: Arc::clone(&self.provider),
            model: self.run.model.clone(),
            started: Instant::now(),
            model_calls: Default::default(),
            tool_calls: Default::default(),
            usage: Default::default(),
            ledger: Default::default(),
            appended: Default::default(),
        }
    }

    async fn run_mode(&self, host: Arc<RunHost>, history: Vec<Message>) -> ModeReport {
        let plugin = &self.mode.plugin.plugin;
        let call = ModeCall {
            mode: self.run.mode.clone(),
            input: self.run.input.clone(),
            instructions: self.run.settings.instructions.clone(),
            max_cycles: self.run.max_cycles,
            output_schema: self.output_schema.as_ref().map(|schema| schema.text.clone()),
            history,
            payer: self.tenant.as_str().into(),
        };
        let sink = Arc::new(TracingLog { plugin: plugin.manifest().name.to_string(), run: self.run.id.to_string() });
        let host: Arc<dyn ModeHost> = host;
        plugin.run_mode(call, host, &self.mode.plugin.mode_limits, sink).await
    }

    /// What the mode's answer means for the run.
    async fn judge(&self, report: ModeReport, host: &RunHost) -> Ended {
        let mut answer = match report.result {
            Ok(Ok(answer)) => answer,
            Ok(Err(ModeError::InvalidInput(text))) => return Ended::failed(FailureCode::InvalidInput, text),
            Ok(Err(ModeError::Model(text))) => return Ended::failed(FailureCode::ModelUnavailable, text),
            Ok(Err(ModeError::Failed(text))) => return Ended::failed(FailureCode::ModeFailed, text),
            Err(failure) => return Ended::failed(failure.code(), failure.to_string()),
        };
        let output = match self.structured(&mut answer, host).await {
            Ok(output) => output,
            Err(ended) => return ended,
        };
        let citations = host.checked(&answer.citations);
        let outcome = Outcome { answer: answer.answer, output, citations };
        Ended::Completed(outcome, host.take_appended())
    }

    /// The answer as JSON, where a schema was given: it satisfies it, at the latest when the model was asked once more.
    async fn structured(&self, answer: &mut ModeAnswer, host: &RunHost) -> Result<Option<serde_json::Value>, Ended> {
        let Some(schema) = &self.output_schema else { return Ok(None) };
        let json = answer.answer_json.as_deref().unwrap_or(&answer.answer);
        let wrong = match schema.check(json) {
            Ok(value) => return Ok(Some(value)),
            Err(wrong) => wrong,
        };
        let repaired = schema.repair(host, json, &wrong).await;
        let (json, value) = match repaired {
            Ok(Ok(repaired)) => repaired,
            Ok(Err(wrong)) => {
                let message = format!("the answer is not the JSON that was asked for: {wrong}");
                return Err(Ended::failed(FailureCode::ModeFailed, message));
            }
            Err(stop) => return Err(Ended::failed(FailureCode::Internal, stop.0)),
        };
        // Where the JSON is all that the mode said, the repaired one takes its place.
        if answer.answer_json.as_deref().is_none_or(|json| json == answer.answer) {
            answer.answer.clone_from(&json);
        }
        Ok(Some(value))
    }

    /// Writes the end: the last event, the run's record and the session's new messages, together.
    async fn finish(mut self, ended: Ended, usage: Usage) {
        let now = Timestamp::now();
        self.run.ended_at = Some(now);
        self.run.usage = usage;
        let mut writes = Vec::with_capacity(2);
        let event = match ended {
            Ended::Completed(outcome, appended) => {
                self.run.status = RunStatus::Completed;
                self.run.outcome = Some(outcome.clone());
                if !self.run.stateless {
                    writes.push(self.session_write(&outcome, appended, now));
                }
                EventBody::RunCompleted { outcome, usage }
            }
            Ended::Failed(failure) => {
                tracing::info!(run = %self.run.id, mode = self.run.mode, code = ?failure.code, message = failure.message, "a run failed");
                self.run.status = RunStatus::Failed;
                self.run.failure = Some(failure.clone());
                EventBody::RunFailed { failure, usage }
            }
            Ended::Cancelled(reason) => {
                self.run.status = RunStatus::Cancelled;
                EventBody::RunCancelled { reason, usage }
            }
        };
        self.run.last_seq = self.log.record(event);
        writes.push(Write::PutRun(Box::new(self.run.clone())));
        if let Err(error) = self.log.flush(writes).await {
            tracing::error!(run = %self.run.id, %error, "a run's end could not be written");
        }
        if self.run.stateless {
            self.clear_away().await;
        }
        self.shared.forget(&self.tenant, self.run.id);
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
