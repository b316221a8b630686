//! A recorded run's mode, run again offline: every call is answered from the recording, and nothing is called for real. What it
//! asks for other than before is the first difference; what comes after that can not be known.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;
use serde_json::{Value, json};
use vivarium_domain::{EventBody, FailureCode, Outcome, RunFailure};
use vivarium_sandbox::{Limits, ModeReport, Plugin, TracingLog};

use crate::citations::settle;
use crate::execute::{answered, mode_call};
use crate::history;
use crate::journal::{Journal, RecordedCall, RecordedStart, host_call};
use crate::ledger::Ledger;
use crate::offline::Offline;
use crate::recording::Recording;
use crate::structured::{OutputSchema, Unsettled};

/// Why a recording was not replayed.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The component has not the run's mode.
    #[error("{plugin} has no mode {mode:?}; it has: {there_are}")]
    NoMode {
        /// The plugin's name.
        plugin: String,
        /// The run's mode.
        mode: String,
        /// The modes that it has.
        there_are: String,
    },
    /// A part of it is missing, or is not what the run's log says.
    #[error("the recording is not whole: {0}")]
    NotWhole(String),
}

/// What a mode asked for.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Asked {
    /// The call's name in the contract; `end` where it ended.
    pub call: &'static str,
    /// What it was called with, or what the mode ended with.
    pub with: Value,
}

/// Where a mode did something else than before.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Difference {
    /// The event of the recorded log.
    pub seq: u64,
    /// What was asked for before.
    pub before: Asked,
    /// What is asked for now.
    pub now: Asked,
}

/// What came of a replay.
#[derive(Debug, Clone)]
pub struct Replayed {
    /// How many calls were answered from the recording.
    pub calls: u64,
    /// The first difference; none: there is none.
    pub difference: Option<Difference>,
    /// The recording ends before the mode does: it was cut short, or goes on.
    pub cut_short: bool,
    /// What was asked for, by the number of the event that tells of it.
    pub(crate) asked: BTreeMap<u64, Asked>,
}

/// The name of a mode's end among what it asks for.
const END: &str = "end";

impl Asked {
    pub(crate) fn new(call: &'static str, with: Value) -> Self {
        Self { call, with }
    }

    pub(crate) fn tool(tool: &str, arguments_json: &str) -> Self {
        // What is no JSON is shown as it is.
        let arguments = serde_json::from_str(arguments_json).unwrap_or_else(|_| Value::from(arguments_json));
        Self::new("tools.call-all", json!({"tool": tool, "arguments": arguments}))
    }

    pub(crate) fn step(message: &str) -> Self {
        Self::new("steps.report", json!({"message": message}))
    }

    /// What a log tells of a call.
    pub(crate) fn recorded(call: &RecordedCall) -> Self {
        use vivarium_domain::HostCall as Call;
        match call {
            RecordedCall::Step(message) => Self::step(message),
            RecordedCall::Tool(tool) => Self::tool(&tool.tool, &tool.arguments_json),
            RecordedCall::Model(model) => Self::new("model.generate", json!({"requestHash": model.request_hash})),
            RecordedCall::Host(call) => {
                let with = match call {
                    Call::SourcesRead(hash) => json!({"textHash": hash}),
                    Call::SourcesCheck(checked) => {
                        let cited = checked.iter().map(|one| json!({"sourceId": one.source_id, "quote": one.quote}));
                        json!({"citations": cited.collect::<Value>()})
                    }
                    Call::SessionAppend(count) | Call::SessionSummarize(count) => json!({"messageCount": count}),
                    Call::Random(hex) => json!({"bytes": hex.len() / 2}),
                    Call::ModelDescribe(_)
                    | Call::ToolsList(_)
                    | Call::SourcesList(_)
                    | Call::WorkspaceChanges(_)
                    | Call::WallClock(_)
                    | Call::MonotonicClock(_) => json!({}),
                };
                Self::new(host_call(call), with)
            }
        }
    }

    fn end(ended: &Result<Outcome, RunFailure>) -> Self {
        match ended {
            Ok(outcome) => Self::new(END, json!({"outcome": outcome})),
            Err(RunFailure { code, message, .. }) if is_own_words(*code) => {
                Self::new(END, json!({"failure": {"code": code, "message": message}}))
            }
            // The words are the sandbox's, and may hold addresses and figures.
            Err(RunFailure { code, .. }) => Self::new(END, json!({"failure": {"code": code}})),
        }
    }
}

/// A failure in the mode's own words.
fn is_own_words(code: FailureCode) -> bool {
    matches!(code, FailureCode::InvalidInput | FailureCode::ModelUnavailable | FailureCode::ModeFailed)
}

/// The mode's own doing, and not the host's, the client's, or that of time.
fn is_own_doing(code: FailureCode) -> bool {
    let by_limits = matches!(code, FailureCode::Trapped | FailureCode::MemoryExceeded | FailureCode::OutputExceeded);
    is_own_words(code) || by_limits
}

impl Recording {
    /// Runs the run's mode again, as this component has it: the recorded one, or another. `against` is what came of the
    /// recorded component: what a log tells in short, such as a question to a model, is told in full then, and compared in full.
    ///
    /// # Errors
    /// See [`ReplayError`].
    pub async fn replay(&self, plugin: &Plugin, against: Option<&Replayed>) -> Result<Replayed, ReplayError> {
        let manifest = plugin.manifest();
        if !manifest.modes.iter().any(|mode| mode.name.as_str() == self.run.mode) {
            let names: Vec<&str> = manifest.modes.iter().map(|mode| mode.name.as_str()).collect();
            let there_are = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            let (plugin, mode) = (manifest.name.to_string(), self.run.mode.clone());
            return Err(ReplayError::NoMode { plugin, mode, there_are });
        }
        let schema = self.run.settings.output.schema().as_ref().map(OutputSchema::new).transpose();
        let schema = schema.map_err(ReplayError::NotWhole)?;
        let host = Arc::new(self.offline(against)?);
        let call = mode_call(&self.run, schema.as_ref(), self.history.clone(), vivarium_sandbox::Payer::default());
        let limits = Arc::new(Limits::for_mode().with(&manifest.limits));
        let log = Arc::new(TracingLog { plugin: manifest.name.to_string(), run: self.run.id.to_string() });
        let report = plugin.run_mode(call, Arc::clone(&host) as _, &limits, log).await;
        let ended = self.ended(report, schema.as_ref(), &host).await;
        Ok(host.finish(ended.as_ref().map(Asked::end)))
    }

    /// How the mode has ended. None: the replay has ended before.
    async fn ended(
        &self,
        report: ModeReport,
        schema: Option<&OutputSchema>,
        host: &Offline,
    ) -> Option<Result<Outcome, RunFailure>> {
        let mut answer = match answered(report.result) {
            Ok(answer) => answer,
            Err(failure) => return Some(Err(failure)),
        };
        let output = match schema {
            None => None,
            Some(schema) => match schema.settle(&mut answer, true, async |question| host.ask_again(question)).await {
                Ok(value) => Some(value),
                Err(Unsettled::Wrong(message)) => {
                    return Some(Err(RunFailure::new(FailureCode::ModeFailed, message)));
                }
                Err(Unsettled::Stopped(_)) => return None,
            },
        };
        let citations = settle(&host.ledger, &mut answer);
        Some(Ok(Outcome { answer: answer.answer, output, citations }))
    }

    pub(crate) fn offline(&self, against: Option<&Replayed>) -> Result<Offline, ReplayError> {
        let not_whole = |what: &str| ReplayError::NotWhole(what.to_owned());
        let mut journal = Journal::of(self.events.iter().cloned());
        let Some(RecordedStart { history_hash: Some(history_hash), .. }) = journal.started else {
            return Err(not_whole("its log does not say how the mode was started"));
        };
        if history::hash(&self.history) != history_hash {
            return Err(not_whole("its history is not what the mode was told"));
        }
        let mut ledger = Ledger::default();
        for source in std::mem::take(&mut journal.sources) {
            let text = self.texts.get(&source.content_hash);
            let text = text.ok_or_else(|| not_whole(&format!("the text of the source {} is not there", source.id)))?;
            ledger.restore(source, text.as_str().into());
        }
        let asked_before = against.map(|before| before.asked.clone()).unwrap_or_default();
        let settings = &self.run.settings;
        Ok(Offline::new(
            journal,
            ledger,
            self.tools.clone(),
            settings.max_output_tokens,
            self.recorded_end(),
            asked_before,
        ))
    }

    /// How the recorded mode has ended, where that was its own doing.
    fn recorded_end(&self) -> Option<(u64, Asked)> {
        let last = self.events.last()?;
        let ended = match &last.body {
            EventBody::RunCompleted { outcome, .. } => Ok(outcome.clone()),
            EventBody::RunFailed { failure, .. } if is_own_doing(failure.code) => Err(failure.clone()),
            _ => return None,
        };
        Some((last.seq, Asked::end(&ended)))
    }
}
