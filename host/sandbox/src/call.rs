//! One call of a guest: a fresh store and instance, all limits armed, and a report of what was used.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use vivarium_domain::{Citation, Document, Instances, Message, ToolUsage};
use vivarium_egress::{Meter, Redactor};
use vivarium_sight::{InSpan as _, metric};
use wasmtime::component::Instance;
use wasmtime::{PoolConcurrencyLimitError, Store, UpdateDeadline};

use crate::bindings::exports::vivarium::plugin::{mode, tool};
use crate::bindings::vivarium::plugin::types;
use crate::capability::clocks::FixedWorld;
use crate::capability::denial::Denial;
use crate::capability::files::Workspace;
use crate::capability::http::used;
use crate::capability::mode::ModeHost;
use crate::capability::{Grant, LogSink};
use crate::error::{CallFailure, Stop};
use crate::guest::{Calling, Guest, Role, Setting};
use crate::limits::{CpuMeter, Limits};
use crate::plugin::Plugin;
use crate::schedule::Payer;
use crate::warm::{Seat, WarmPool};

/// The most documents that one call of a tool gives back.
const MAX_DOCUMENTS: usize = 256;
/// How much they may hold together: so many times what the output may.
const DOCUMENTS_TO_OUTPUT: usize = 8;

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
    /// Whose processor time it takes.
    pub payer: Payer,
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
    /// Whose processor time it takes.
    pub payer: Payer,
    /// The files of the session that the call works in. Without a grant of files they are not shown to the tool.
    pub workspace: Option<Arc<Workspace>>,
    /// Where instances of this plugin wait that this tenant has used before. Without one each call gets a new instance.
    pub warm: Option<Arc<WarmPool>>,
    /// Time and dice that are the same each time, for a test; none: the machine's.
    pub fixed: Option<FixedWorld>,
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
        let setting = Setting { grant: Arc::default(), workspace: None, limits: Arc::clone(limits), sink: log };
        let seat = self.seat(Role::Mode(host), setting);
        let (exports, payer) = (exports.clone(), call.payer.clone());
        let request: mode::Request = call.into();
        let (result, usage, _) = self
            .enter(seat, payer, move |store, instance| {
                async move {
                    let exports = exports.load(&mut *store, &instance)?;
                    exports.call_run(store, &request).await
                }
                .boxed()
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
        let warm = context.warm.filter(|_| self.manifest().instances == Instances::Warm);
        let setting = Setting { grant, workspace: context.workspace, limits: Arc::clone(limits), sink: log };
        let (fixed, payer) = (context.fixed, context.payer);
        let context = tool::Context {
            run_id: context.run_id,
            idempotency_key: context.idempotency_key,
            deadline_ms: u32::try_from(limits.wall.as_millis()).unwrap_or(u32::MAX),
            max_output_bytes: u32::try_from(limits.output_bytes).unwrap_or(u32::MAX),
        };
        let role = fixed.map_or(Role::Tool, Role::Rehearsal);
        let waiting = warm.as_ref().and_then(|pool| pool.take(&self.identity, &setting));
        let redactor = Arc::clone(&setting.grant.redactor);
        let seat = waiting.unwrap_or_else(|| self.seat(role, setting));
        let denials = seat.store.data().denials.clone();
        let (exports, tool, arguments) = (exports.clone(), name.to_owned(), arguments_json.to_owned());
        let (result, usage, seat) = self
            .enter(seat, payer, move |store, instance| {
                async move {
                    let exports = exports.load(&mut *store, &instance)?;
                    exports.call_call(store, &tool, &arguments, &context).await
                }
                .boxed()
            })
            .await;
        let result = match result {
            Ok(Ok(output)) => bounded_output(output, limits).and_then(|output| {
                self.check_output(name, &output.content)?;
                Ok(output)
            }),
            Ok(Err(error)) => Err(tool_error_text(error)),
            Err(failure) => Err(failure.to_string()),
        };
        if let Some((pool, seat)) = warm.filter(|_| result.is_ok()).zip(seat) {
            pool.put(&self.identity, seat, &self.idle_room);
        }
        redacted(ToolReport { result, usage, denials: denials.take() }, &redactor)
    }

    /// A place for a call. The instance is made within its limits, by [`Self::enter`].
    fn seat(&self, role: Role, setting: Setting) -> Seat {
        let guest = Guest::new(role, self.shared_manifest(), setting);
        let mut store = Store::new(self.pre.engine(), guest);
        store.limiter(|guest| &mut guest.memory);
        Seat::new(store)
    }

    /// Lets `call` use the seat's instance, which is made if need be, within the limits and in turns with all other calls.
    /// The seat comes back where the call came to its end by itself.
    async fn enter<T: Send + 'static>(
        &self,
        mut seat: Seat,
        payer: Payer,
        call: impl FnOnce(&mut Store<Guest>, Instance) -> BoxFuture<'_, wasmtime::Result<T>> + Send + 'static,
    ) -> (Result<T, CallFailure>, ToolUsage, Option<Seat>) {
        let limits = Arc::clone(&seat.store.data().limits);
        let meters = Meters::of(seat.store.data());
        let programs = self.programs.clone();
        seat.store.data_mut().calling = Some(Calling { programs, cpu: Arc::clone(&meters.cpu), payer: payer.clone() });
        let mut counted = Counted { role: seat.store.data().role.word(), outcome: "cancelled", meters: &meters };
        let (cpu, cpu_limit) = (Arc::clone(&meters.cpu), limits.cpu);
        seat.store.epoch_deadline_callback(move |_| {
            if cpu.spent_within_poll() > cpu_limit {
                return Err(Stop(CallFailure::CpuExceeded(cpu_limit.as_millis())).into());
            }
            Ok(UpdateDeadline::Yield(1))
        });
        let pre = self.pre.clone();
        // It may be polled on another runtime, and belongs to the same run and the same span there.
        let work = async move {
            let Seat { store, instance: place, .. } = &mut seat;
            // Armed here, not above: what the host did before is not the guest's time.
            store.set_epoch_deadline(1);
            let instance = match *place {
                Some(instance) => Ok(instance),
                None => pre.instantiate_async(&mut *store).await.map(|instance| *place.insert(instance)),
            };
            let result = match instance {
                Ok(instance) => call(store, instance).await,
                Err(error) => Err(error),
            };
            let result = result.map_err(|error| failure(&error, store.data()));
            (result, seat)
        };
        let shared = self.scheduler.share(payer, Arc::clone(&meters.cpu), work.carried());
        let (result, seat) = match tokio::time::timeout(limits.wall, shared).await {
            Ok(Some((result, seat))) => (result, Some(seat)),
            Ok(None) => (Err(CallFailure::Host("its own code broke off".to_owned())), None),
            Err(_) => (Err(CallFailure::DeadlineExceeded(limits.wall.as_millis())), None),
        };
        counted.outcome = result.as_ref().map_or_else(CallFailure::word, |_| "ok");
        drop(counted);
        (result, meters.usage(), seat)
    }
}

/// Tells of a call's use when it is over, also where it was cancelled.
struct Counted<'a> {
    role: &'static str,
    outcome: &'static str,
    meters: &'a Meters,
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        let Self { role, outcome, meters } = *self;
        metric::GUEST_CALLS.add(1, &[("role", role), ("outcome", outcome)]);
        metric::GUEST_CPU.took(meters.cpu.spent(), &[("role", role)]);
        #[expect(clippy::cast_precision_loss, reason = "a guest's memory has less than 2^52 bytes")]
        metric::GUEST_MEMORY.record(meters.memory_peak.load(Ordering::Relaxed) as f64, &[("role", role)]);
        metric::GUEST_HOST_CALLS.add(meters.host_calls.load(Ordering::Relaxed), &[("role", role)]);
    }
}

/// What counts a call's use. It is there even when the call's store is gone.
struct Meters {
    cpu: Arc<CpuMeter>,
    memory_peak: Arc<AtomicUsize>,
    host_calls: Arc<AtomicU64>,
    traffic: Meter,
}

impl Meters {
    fn of(guest: &Guest) -> Self {
        Self {
            cpu: CpuMeter::new(),
            memory_peak: guest.memory.peak(),
            host_calls: guest.host_calls(),
            traffic: guest.hooks.meter(),
        }
    }

    fn usage(&self) -> ToolUsage {
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let (egress_requests, egress_bytes) = used(&self.traffic);
        ToolUsage {
            wall_ms: millis(self.cpu.wall()),
            cpu_ms: millis(self.cpu.spent()),
            memory_peak_bytes: self.memory_peak.load(Ordering::Relaxed) as u64,
            egress_bytes,
            egress_requests,
            host_calls: self.host_calls.load(Ordering::Relaxed),
        }
    }
}

/// What kind of failure a trap is.
pub(crate) fn failure(error: &wasmtime::Error, guest: &Guest) -> CallFailure {
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
    let size = |document: &types::Document| {
        [&document.title, &document.location, &document.media_type, &document.text].iter().map(|text| text.len()).sum()
    };
    let read: usize = output.documents.iter().map(size).fold(0, usize::saturating_add);
    let most = limits.output_bytes.saturating_mul(DOCUMENTS_TO_OUTPUT);
    if read > most || output.documents.len() > MAX_DOCUMENTS {
        return Err(format!(
            "the tool read {} documents of {read} bytes together; at most {MAX_DOCUMENTS} of {most} bytes are taken",
            output.documents.len()
        ));
    }
    let documents: Vec<Document> = output.documents.into_iter().map(Into::into).collect();
    Ok(ToolOutput { content: output.content, documents })
}

/// Nothing leaves a call with a secret of the tenant in it, whatever way the guest came by it.
fn redacted(mut report: ToolReport, redactor: &Redactor) -> ToolReport {
    if redactor.is_empty() {
        return report;
    }
    let clean = |text: &mut String| {
        if let Cow::Owned(masked) = redactor.redact(text) {
            *text = masked;
        }
    };
    match &mut report.result {
        Ok(output) => {
            clean(&mut output.content);
            for document in &mut output.documents {
                [&mut document.title, &mut document.location, &mut document.media_type, &mut document.text]
                    .into_iter()
                    .for_each(clean);
            }
        }
        Err(message) => clean(message),
    }
    report.denials.iter_mut().for_each(|denial| clean(&mut denial.message));
    report
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::{Grant, LogLevel};

    const SECRET: &str = "s3cret-value";

    fn redactor() -> Arc<Redactor> {
        Arc::new(Redactor::new([secrecy::SecretString::from(SECRET)]))
    }

    #[test]
    fn no_secret_leaves_a_call_in_whatever_it_gives_back() {
        let text = || format!("a {SECRET} b");
        let document = Document { title: text(), location: text(), media_type: text(), text: text() };
        let denials = vec![Denial { capability: "hosts", message: text() }];
        for result in [Ok(ToolOutput { content: text(), documents: vec![document] }), Err(text())] {
            let report = ToolReport { result, usage: ToolUsage::default(), denials: denials.clone() };
            let shown = format!("{:?}", redacted(report, &redactor()));
            assert!(!shown.contains(SECRET) && shown.contains("a "), "{shown}");
        }
    }

    #[test]
    fn no_secret_gets_into_the_log_or_the_progress() {
        struct Lines(std::sync::Mutex<Vec<String>>);
        impl LogSink for Lines {
            fn line(&self, _level: LogLevel, line: &str) {
                self.0.lock().unwrap().push(line.to_owned());
            }
            fn progress(&self, message: &str, _fraction: Option<f32>) {
                self.0.lock().unwrap().push(message.to_owned());
            }
        }
        let lines = Arc::new(Lines(std::sync::Mutex::default()));
        let manifest = br#"{"name":"a/b","version":"1.0.0","contract":"0.1.0","description":"d",
            "modes":[{"name":"m","title":"t","description":"d","defaultMaxCycles":1}]}"#;
        let manifest = Arc::new(vivarium_domain::Manifest::from_json(manifest).unwrap());
        let grant = Arc::new(Grant { redactor: redactor(), ..Grant::default() });
        let sink: Arc<dyn LogSink> = Arc::<Lines>::clone(&lines);
        let mut guest = Guest::new(
            Role::Tool,
            manifest,
            Setting { grant, workspace: None, limits: Arc::new(Limits::for_tool()), sink },
        );
        guest.log.line(LogLevel::Info, &format!("a {SECRET} b"));
        guest.log.progress(&format!("a {SECRET} b"), None);
        let lines = lines.0.lock().unwrap();
        assert!(
            lines.len() == 2 && lines.iter().all(|line| !line.contains(SECRET) && line.starts_with("a ")),
            "{lines:?}"
        );
    }

    #[test]
    fn documents_are_bounded_in_number_and_size() {
        let document = |bytes| types::Document {
            title: String::new(),
            location: String::new(),
            media_type: String::new(),
            text: "x".repeat(bytes),
        };
        let limits = Limits { output_bytes: 100, ..Limits::for_tool() };
        let output = |documents| tool::Output { content: String::new(), documents };
        assert!(bounded_output(output(vec![document(400), document(400)]), &limits).is_ok());
        let error = bounded_output(output(vec![document(400), document(401)]), &limits).unwrap_err();
        assert_eq!(error, "the tool read 2 documents of 801 bytes together; at most 256 of 800 bytes are taken");
        assert!(bounded_output(output((0..257).map(|_| document(0)).collect()), &limits).is_err());
    }
}
