//! One call of a guest: a fresh store and instance, all limits armed, and a report of what was used.

use std::sync::Arc;
use std::time::Duration;

use vivarium_domain::{Citation, Document, Message, ToolUsage};
use wasmtime::component::Instance;
use wasmtime::{PoolConcurrencyLimitError, Store, UpdateDeadline};

use crate::bindings::exports::vivarium::plugin::{mode, tool};
use crate::capability::denial::Denial;
use crate::capability::files::Workspace;
use crate::capability::mode::ModeHost;
use crate::capability::{Grant, LogSink};
use crate::error::{CallFailure, Stop};
use crate::guest::{Guest, Role};
use crate::limits::{CpuMeter, Limits, Metered};
use crate::plugin::Plugin;

/// What a mode starts with; the fields are those of the contract's `mode.request`.
#[derive(Debug, Clone, Default)]
pub struct ModeCall {
    /// The mode's name.
    pub mode: String,
    /// What the client asks for.
    pub input: String,
    /// The agent's instructions.
    pub instructions: Option<String>,
    /// The bound on its cycles.
    pub max_cycles: u32,
    /// JSON Schema that the answer must satisfy.
    pub output_schema: Option<String>,
    /// The conversation so far.
    pub history: Vec<Message>,
}

/// How a mode ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModeAnswer {
    /// The answer.
    pub answer: String,
    /// The answer as JSON text.
    pub answer_json: Option<String>,
    /// What it rests on, unchecked.
    pub citations: Vec<Citation>,
}

/// Why a mode failed, in its own words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModeError {
    /// The input can not be worked on.
    #[error("{0}")]
    InvalidInput(String),
    /// The model did not answer.
    #[error("{0}")]
    Model(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// What came of a mode's call.
#[derive(Debug)]
pub struct ModeReport {
    /// The answer, the mode's own error, or why the sandbox stopped it.
    pub result: Result<Result<ModeAnswer, ModeError>, CallFailure>,
    /// What it used.
    pub usage: ToolUsage,
}

/// What the host tells a tool about its call; the contract's `tool.context`.
#[derive(Debug, Clone, Default)]
pub struct ToolCallContext {
    /// The run; empty outside of one.
    pub run_id: String,
    /// The same for every attempt of this call.
    pub idempotency_key: String,
    /// The files of the session that the call works in. Without a grant of files they are not shown to the tool.
    pub workspace: Option<Arc<Workspace>>,
}

/// What a tool gave back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOutput {
    /// For the model.
    pub content: String,
    /// What was read on the way.
    pub documents: Vec<Document>,
}

/// What came of a tool's call.
#[derive(Debug)]
pub struct ToolReport {
    /// The output, or what went wrong, for the model and the client.
    pub result: Result<ToolOutput, String>,
    /// What it used.
    pub usage: ToolUsage,
    /// What it wanted and was not granted.
    pub denials: Vec<Denial>,
}

impl Plugin {
    /// Runs a mode of this plugin. Dropping the future stops the guest at its next tick and frees its place.
    pub async fn run_mode(
        &self,
        call: ModeCall,
        host: Arc<dyn ModeHost>,
        limits: &Arc<Limits>,
        log: Arc<dyn LogSink>,
    ) -> ModeReport {
        let Some(exports) = &self.mode else {
            let failure = CallFailure::Trapped(format!("{} exports no mode", self.manifest().name));
            return ModeReport { result: Err(failure), usage: ToolUsage::default() };
        };
        let manifest = self.shared_manifest();
        let guest = Guest::new(Role::Mode(host), manifest, Arc::default(), None, Arc::clone(limits), log);
        let (result, usage) = self
            .enter(guest, async move |store, instance| {
                let exports = exports.load(&mut *store, &instance)?;
                exports.call_run(store, &call.into()).await
            })
            .await;
        let result = result.and_then(|answer| bounded_answer(answer, limits));
        ModeReport { result, usage }
    }

    /// Calls a tool of this plugin. The arguments are checked against the tool's schema first.
    pub async fn call_tool(
        &self,
        name: &str,
        arguments_json: &str,
        context: ToolCallContext,
        grant: Arc<Grant>,
        limits: &Arc<Limits>,
        log: Arc<dyn LogSink>,
    ) -> ToolReport {
        let refused =
            |message: String| ToolReport { result: Err(message), usage: ToolUsage::default(), denials: Vec::new() };
        let Some(exports) = &self.tool else {
            return refused(format!("{} exports no tool", self.manifest().name));
        };
        if let Err(message) = self.check_arguments(name, arguments_json) {
            return refused(message);
        }
        let workspace = context.workspace;
        let context = tool::Context {
            run_id: context.run_id,
            idempotency_key: context.idempotency_key,
            deadline_ms: u32::try_from(limits.wall.as_millis()).unwrap_or(u32::MAX),
            max_output_bytes: u32::try_from(limits.output_bytes).unwrap_or(u32::MAX),
        };
        let guest = Guest::new(Role::Tool, self.shared_manifest(), grant, workspace, Arc::clone(limits), log);
        let denials = guest.denials.clone();
        let (result, usage) = self
            .enter(guest, async move |store, instance| {
                let exports = exports.load(&mut *store, &instance)?;
                exports.call_call(store, name, arguments_json, &context).await
            })
            .await;
        let result = match result {
            Ok(Ok(output)) => bounded_output(output, limits),
            Ok(Err(error)) => Err(tool_error_text(error)),
            Err(failure) => Err(failure.to_string()),
        };
        ToolReport { result, usage, denials: denials.take() }
    }

    /// Makes an instance and lets `call` use it, within the limits.
    async fn enter<T>(
        &self,
        guest: Guest,
        call: impl AsyncFnOnce(&mut Store<Guest>, Instance) -> wasmtime::Result<T>,
    ) -> (Result<T, CallFailure>, ToolUsage) {
        let limits = Arc::clone(&guest.limits);
        let cpu = CpuMeter::new();
        let mut store = Store::new(self.pre.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        let (meter, cpu_limit) = (Arc::clone(&cpu), limits.cpu);
        store.epoch_deadline_callback(move |_| {
            if meter.spent_within_poll() > cpu_limit {
                return Err(Stop(CallFailure::CpuExceeded(cpu_limit.as_millis())).into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        let work = async {
            // Armed here, not above: what the host did before is not the guest's time.
            store.set_epoch_deadline(1);
            let instance = self.pre.instantiate_async(&mut store).await?;
            call(&mut store, instance).await
        };
        let metered = Metered { inner: Box::pin(work), meter: Arc::clone(&cpu) };
        let ended = tokio::time::timeout(limits.wall, metered).await;
        let result = match ended {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => Err(failure(&error, store.data())),
            Err(_) => Err(CallFailure::DeadlineExceeded(limits.wall.as_millis())),
        };
        let usage = usage(store.data(), &cpu);
        (result, usage)
    }
}

/// What kind of failure a trap is.
fn failure(error: &wasmtime::Error, guest: &Guest) -> CallFailure {
    if let Some(Stop(failure)) = error.downcast_ref::<Stop>() {
        return failure.clone();
    }
    if guest.memory.refused {
        return CallFailure::MemoryExceeded(guest.limits.memory_bytes);
    }
    if error.is::<PoolConcurrencyLimitError>() {
        return CallFailure::NoCapacity("as many are running as the machine carries; try again later".to_owned());
    }
    CallFailure::Trapped(error.root_cause().to_string())
}

fn usage(guest: &Guest, cpu: &CpuMeter) -> ToolUsage {
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let (egress_requests, egress_bytes) = guest.hooks.used();
    ToolUsage {
        wall_ms: millis(cpu.wall()),
        cpu_ms: millis(cpu.spent()),
        memory_peak_bytes: guest.memory.memory_peak as u64,
        egress_bytes,
        egress_requests,
        host_calls: guest.host_calls(),
    }
}

fn bounded_answer(
    answer: Result<mode::Outcome, mode::ModeError>,
    limits: &Limits,
) -> Result<Result<ModeAnswer, ModeError>, CallFailure> {
    let outcome = match answer {
        Ok(outcome) => outcome,
        Err(mode::ModeError::InvalidInput(text)) => return Ok(Err(ModeError::InvalidInput(text))),
        Err(mode::ModeError::Model(text)) => return Ok(Err(ModeError::Model(text))),
        Err(mode::ModeError::Failed(text)) => return Ok(Err(ModeError::Failed(text))),
    };
    let citations = outcome.citations.iter().map(|citation| citation.quote.len()).sum::<usize>();
    let size = outcome.answer.len() + outcome.answer_json.as_ref().map_or(0, String::len) + citations;
    if size > limits.output_bytes {
        let message = format!("its answer has {size} bytes; at most {} are taken", limits.output_bytes);
        return Err(CallFailure::OutputExceeded(message));
    }
    Ok(Ok(ModeAnswer {
        answer: outcome.answer,
        answer_json: outcome.answer_json,
        citations: outcome.citations.into_iter().map(Into::into).collect(),
    }))
}

fn bounded_output(output: tool::Output, limits: &Limits) -> Result<ToolOutput, String> {
    if output.content.len() > limits.output_bytes {
        return Err(format!(
            "the tool's output has {} bytes; at most {} are taken",
            output.content.len(),
            limits.output_bytes
        ));
    }
    let documents: Vec<Document> = output.documents.into_iter().map(Into::into).collect();
    Ok(ToolOutput { content: output.content, documents })
}

fn tool_error_text(error: tool::ToolError) -> String {
    match error {
        tool::ToolError::UnknownTool(text) => format!("there is no such tool: {text}"),
        tool::ToolError::InvalidArguments(text) => format!("invalid arguments: {text}"),
        tool::ToolError::Denied(text) => format!("denied: {text}"),
        tool::ToolError::NotFound(text) => format!("not found: {text}"),
        tool::ToolError::Unavailable(text) => format!("unavailable: {text}"),
        tool::ToolError::Failed(text) => text,
    }
}

impl From<ModeCall> for mode::Request {
    fn from(call: ModeCall) -> Self {
        Self {
            mode: call.mode,
            input: call.input,
            instructions: call.instructions,
            max_cycles: call.max_cycles,
            output_schema: call.output_schema,
            history: call.history.into_iter().map(Into::into).collect(),
        }
    }
}
