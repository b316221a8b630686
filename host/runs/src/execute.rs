//! From a run's turn to its last event.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use jsonschema::Validator;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use vivarium_domain::{
    EventBody, FailureCode, Message, Outcome, Run, RunFailure, RunStatus, SessionMessage, TenantId, Timestamp, Usage,
};
use vivarium_models::Provider;
use vivarium_registry::{Catalog, ModeEntry};
use vivarium_sandbox::{ModeCall, ModeError, ModeHost, ModeReport, TracingLog};
use vivarium_store::{StoreError, Write};

use crate::approvals::Approvals;
use crate::host::RunHost;
use crate::log::RunLog;
use crate::service::Shared;
use crate::sessions::Place;

/// Messages of the session that a mode is given.
const HISTORY_MESSAGES: usize = 60;

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
    pub(crate) output_schema: Option<(String, Arc<Validator>)>,
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
        let report = self.run_mode(Arc::clone(&host), history).await;
        Ok(self.judge(report, &host))
    }

    /// The end of the conversation so far, beginning with a message of the user.
    async fn history(&self) -> Result<Vec<Message>, StoreError> {
        if self.new_session {
            return Ok(Vec::new());
        }
        let stored = self.shared.store.messages(&self.tenant, &self.run.session_id, HISTORY_MESSAGES).await?;
        Ok(stored
            .into_iter()
            .map(|stored| stored.message)
            .skip_while(|message| !matches!(message, Message::User { .. }))
            .collect())
    }

    fn host(&self) -> RunHost {
        RunHost {
            run: self.run.id,
            tenant: self.tenant.clone(),
            log: Arc::clone(&self.log),
            store: Arc::clone(&self.shared.store),
            session: self.run.session_id.clone(),
            catalog: Arc::clone(&self.catalog),
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
            instructions: None,
            max_cycles: self.run.max_cycles,
            output_schema: self.output_schema.as_ref().map(|(text, _)| text.clone()),
            history,
            payer: self.tenant.as_str().into(),
        };
        let sink = Arc::new(TracingLog { plugin: plugin.manifest().name.to_string(), run: self.run.id.to_string() });
        let host: Arc<dyn ModeHost> = host;
        plugin.run_mode(call, host, &self.mode.plugin.mode_limits, sink).await
    }

    /// What the mode's answer means for the run.
    fn judge(&self, report: ModeReport, host: &RunHost) -> Ended {
        let answer = match report.result {
            Ok(Ok(answer)) => answer,
            Ok(Err(ModeError::InvalidInput(text))) => return Ended::failed(FailureCode::InvalidInput, text),
            Ok(Err(ModeError::Model(text))) => return Ended::failed(FailureCode::ModelUnavailable, text),
            Ok(Err(ModeError::Failed(text))) => return Ended::failed(FailureCode::ModeFailed, text),
            Err(failure) => return Ended::failed(failure.code(), failure.to_string()),
        };
        let output = match self.structured(answer.answer_json.as_deref()) {
            Ok(output) => output,
            Err(message) => return Ended::failed(FailureCode::ModeFailed, message),
        };
        let citations = host.checked(&answer.citations);
        let outcome = Outcome { answer: answer.answer, output, citations };
        Ended::Completed(outcome, host.take_appended())
    }

    /// The answer as JSON, where a schema was given: it must be there and satisfy it.
    fn structured(&self, answer_json: Option<&str>) -> Result<Option<serde_json::Value>, String> {
        let Some((_, validator)) = &self.output_schema else { return Ok(None) };
        let json = answer_json.ok_or("the mode gave no structured answer, though a schema asks for one")?;
        let value = serde_json::from_str(json).map_err(|error| format!("the structured answer is no JSON: {error}"))?;
        validator
            .validate(&value)
            .map_err(|error| format!("the structured answer does not satisfy the schema: {error}"))?;
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
                writes.push(self.session_write(&outcome, appended, now));
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
        self.shared.forget(&self.tenant, self.run.id);
    }

    fn session_write(&self, outcome: &Outcome, appended: Vec<Message>, at: Timestamp) -> Write {
        let messages = std::iter::once(Message::user(self.run.input.clone()))
            .chain(appended)
            .chain(std::iter::once(Message::assistant(outcome.answer.clone())))
            .map(|message| SessionMessage { run_id: self.run.id, at, message, attachments: Vec::new() })
            .collect();
        Write::AppendMessages { session: self.run.session_id.clone(), messages }
    }
}
