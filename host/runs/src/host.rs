//! A run, as its mode sees it: every answer is recorded in the run's log before it is given.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::task::JoinSet;
use vivarium_domain::{
    Abilities, Approval, Citation, ContentHash, EventBody, GenerateRequest, GenerateResponse, HostCall, Message,
    ModelError, ModelInfo, ModelName, RunId, SessionId, Source, TenantId, Timestamp, ToolCall, ToolDefinition,
    ToolName, ToolOutcome, Usage, Visibility,
};
use vivarium_models::{Call, Provider};
use vivarium_registry::{Catalog, ToolEntry};
use vivarium_sandbox::{HostStop, ModeHost, ToolCallContext, ToolReport, ToolResult, TracingLog};
use vivarium_store::{Store, StoreError};

use crate::approvals::{Approvals, Decision};
use crate::ledger::{Added, Entry, Ledger};
use crate::log::RunLog;
use crate::tools::{IntoTool, Toolbox, failed};

/// Arguments of a tool call that a model wrote; longer ones are refused before they are stored.
const MAX_ARGUMENT_BYTES: usize = 256 << 10;
/// Messages that a mode adds to the session in one run.
const MAX_APPENDED_MESSAGES: usize = 500;

/// One run.
pub(crate) struct RunHost {
    pub(crate) run: RunId,
    pub(crate) tenant: TenantId,
    pub(crate) log: Arc<RunLog>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) session: SessionId,
    pub(crate) catalog: Arc<Catalog>,
    /// The tools that this run may use; none: all of the catalog.
    pub(crate) allowed: Option<BTreeMap<ToolName, Approval>>,
    /// A bound on each answer of the model.
    pub(crate) max_output_tokens: Option<u32>,
    pub(crate) approvals: Arc<Approvals>,
    pub(crate) toolbox: Arc<Toolbox>,
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) model: ModelName,
    pub(crate) started: Instant,
    pub(crate) model_calls: AtomicU32,
    pub(crate) tool_calls: AtomicU32,
    pub(crate) usage: Mutex<Usage>,
    pub(crate) ledger: Mutex<Ledger>,
    pub(crate) appended: Mutex<Vec<Message>>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is done under these locks can leave the data half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn stopped(error: &StoreError) -> HostStop {
    HostStop(format!("the run's log can not be written: {error}"))
}

impl RunHost {
    /// Tokens of all model calls so far.
    pub(crate) fn usage(&self) -> Usage {
        *lock(&self.usage)
    }

    /// What the mode has added to the session.
    pub(crate) fn take_appended(&self) -> Vec<Message> {
        std::mem::take(&mut lock(&self.appended))
    }

    /// The final check of an answer's citations.
    pub(crate) fn checked(&self, citations: &[Citation]) -> Vec<vivarium_domain::CheckedCitation> {
        lock(&self.ledger).check(citations)
    }

    /// What the run's model can do.
    pub(crate) fn model_abilities(&self) -> Abilities {
        self.provider.describe(self.model.model()).abilities
    }

    /// A tool of this run, with the stricter of what its grant and its agent say about approval.
    fn tool(&self, name: &str) -> Option<ToolEntry> {
        let mut entry = self.catalog.tool(name)?.clone();
        if let Some(allowed) = &self.allowed {
            entry.approval = entry.approval.max(*allowed.get(&entry.manifest.name)?);
        }
        (entry.approval != Approval::Never).then_some(entry)
    }

    /// The names of this run's tools, for a sentence.
    fn tool_names(&self) -> String {
        if self.allowed.is_none() {
            return self.catalog.tool_names();
        }
        let named = self.catalog.tools().map(|entry| entry.manifest.name.as_str());
        let names: Vec<&str> = named.filter(|name| self.tool(name).is_some()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    pub(crate) async fn ask(
        &self,
        mut request: GenerateRequest,
    ) -> Result<Result<GenerateResponse, ModelError>, HostStop> {
        if let Some(most) = self.max_output_tokens {
            request.max_output_tokens = Some(request.max_output_tokens.map_or(most, |asked| asked.min(most)));
        }
        let call = self.model_calls.fetch_add(1, Relaxed) + 1;
        let request_json = serde_json::to_vec(&request).map_err(|error| HostStop(error.to_string()))?;
        let request_hash = ContentHash::of(&request_json);
        self.log.record(EventBody::ModelStarted { call, model: self.model.clone(), request_hash });
        let started = Instant::now();
        let visible = request.visibility == Visibility::Answer;
        let mut on_token = |piece: &str| {
            if visible {
                self.log.token(piece);
            }
        };
        let asked =
            self.provider.generate(Call { model: self.model.model(), request: &request, on_token: &mut on_token });
        let answer = tokio::select! {
            biased;
            answer = asked => answer,
            () = self.log.flush_for_tokens() => return Err(HostStop("the log ended".to_owned())),
        };
        if let Ok(response) = &answer {
            *lock(&self.usage) += response.usage;
        }
        let (response, error) = match &answer {
            Ok(response) => (Some(response.clone()), None),
            Err(error) => (None, serde_json::to_value(error).ok()),
        };
        self.log.record(EventBody::ModelCompleted { call, response, error, duration_ms: millis(started) });
        self.log.flush(Vec::new()).await.map_err(|error| stopped(&error))?;
        Ok(answer)
    }

    async fn call_all(self: Arc<Self>, calls: Vec<ToolCall>) -> Result<Vec<ToolResult>, HostStop> {
        let calls: Vec<IntendedCall> = calls.into_iter().map(|call| self.intend(call)).collect();
        // The intent is on disk before anything is called.
        self.log.flush(Vec::new()).await.map_err(|error| stopped(&error))?;
        let mut tasks = JoinSet::new();
        for (index, call) in calls.into_iter().enumerate() {
            let host = Arc::clone(&self);
            tasks.spawn(async move { (index, host.call_one(call).await) });
        }
        let mut results: Vec<(usize, ToolResult)> = Vec::with_capacity(tasks.len());
        while let Some(done) = tasks.join_next().await {
            // A panic of the host's own code: the run fails, the process goes on.
            let (index, result) = done.map_err(|error| HostStop(format!("a tool call broke off: {error}")))?;
            results.push((index, result?));
        }
        results.sort_by_key(|(index, _)| *index);
        Ok(results.into_iter().map(|(_, result)| result).collect())
    }

    /// Records that a call will be made.
    fn intend(&self, mut call: ToolCall) -> IntendedCall {
        let number = self.tool_calls.fetch_add(1, Relaxed) + 1;
        let entry = self.tool(&call.name);
        let too_long = call.arguments_json.len() > MAX_ARGUMENT_BYTES;
        if too_long {
            call.arguments_json.clear();
        }
        let idempotency_key = format!("{}-{number}", self.run);
        self.log.record(EventBody::ToolStarted {
            call_id: call.id.clone(),
            tool: call.name.clone(),
            arguments_json: call.arguments_json.clone(),
            plugin: entry.as_ref().map(|entry| entry.plugin.plugin.digest()),
            idempotency_key: idempotency_key.clone(),
        });
        let entry = match entry {
            Some(_) if too_long => Err(format!("the arguments have more than {MAX_ARGUMENT_BYTES} bytes")),
            Some(entry) => Ok(entry),
            None => Err(format!("there is no tool {:?}; there are: {}", call.name, self.tool_names())),
        };
        IntendedCall { call, entry, idempotency_key }
    }

    async fn call_one(&self, intended: IntendedCall) -> Result<ToolResult, HostStop> {
        let IntendedCall { call, entry, idempotency_key } = intended;
        let report = match entry {
            Ok(entry) => match self.approved(&entry, &call).await? {
                Ok(()) => self.run_tool(&entry, &call, idempotency_key).await,
                Err(message) => failed(message),
            },
            Err(message) => failed(message),
        };
        let (outcome, documents) = match report.result {
            Ok(output) => (ToolOutcome::Output(output.content), output.documents),
            Err(message) => (ToolOutcome::Error(message), Vec::new()),
        };
        let sources = self.keep(&call.name, documents).await?;
        self.log.record(EventBody::ToolCompleted {
            call_id: call.id.clone(),
            tool: call.name.clone(),
            outcome: outcome.clone(),
            sources: sources.iter().map(|source| source.id.clone()).collect(),
            usage: report.usage,
        });
        self.log.flush(Vec::new()).await.map_err(|error| stopped(&error))?;
        let (content, is_error) = match outcome {
            ToolOutcome::Output(content) => (content, false),
            ToolOutcome::Error(message) => (message, true),
        };
        Ok(ToolResult { id: call.id, name: call.name, content, is_error, sources })
    }

    async fn run_tool(&self, entry: &ToolEntry, call: &ToolCall, idempotency_key: String) -> ToolReport {
        let plugin = entry.plugin.name();
        let run = self.run.to_string();
        let log = Arc::new(TracingLog { plugin: plugin.to_string(), run: run.clone() });
        let into = IntoTool {
            tenant: &self.tenant,
            entry,
            arguments_json: &call.arguments_json,
            context: ToolCallContext { run_id: run, idempotency_key, ..ToolCallContext::default() },
            session: &self.session,
            log,
        };
        let report = match self.toolbox.call(into).await {
            Ok(report) => report,
            Err(no_place) => failed(format!("unavailable: {no_place}")),
        };
        for denial in &report.denials {
            self.log.record(EventBody::GrantDenied {
                call_id: call.id.clone(),
                plugin: plugin.clone(),
                capability: denial.capability.to_owned(),
                message: denial.message.clone(),
            });
        }
        report
    }

    /// Waits for a person, where the tool needs one's approval. The inner error is for the model.
    async fn approved(&self, entry: &ToolEntry, call: &ToolCall) -> Result<Result<(), String>, HostStop> {
        if entry.approval != Approval::Ask {
            return Ok(Ok(()));
        }
        let Some(decided) = self.approvals.ask(&call.id) else {
            return Ok(Err(format!("another call with the id {} waits for approval", call.id)));
        };
        let (call_id, tool) = (call.id.clone(), call.name.clone());
        let arguments_json = call.arguments_json.clone();
        self.log.record(EventBody::ApprovalRequested { call_id: call_id.clone(), tool, arguments_json });
        self.log.flush(Vec::new()).await.map_err(|error| stopped(&error))?;
        // The sender goes only with the run.
        let Ok(Decision { approved, reason }) = decided.await else { return Err(HostStop("the run ended".to_owned())) };
        self.log.record(EventBody::ApprovalGiven { call_id, approved, reason: reason.clone() });
        self.log.flush(Vec::new()).await.map_err(|error| stopped(&error))?;
        if approved {
            return Ok(Ok(()));
        }
        let reason = reason.map(|reason| format!(": {reason}")).unwrap_or_default();
        Ok(Err(format!("denied: a person refused this call{reason}")))
    }

    /// Puts documents into the ledger and their texts into the store.
    async fn keep(&self, tool: &str, documents: Vec<vivarium_domain::Document>) -> Result<Vec<Source>, HostStop> {
        let mut sources = Vec::with_capacity(documents.len());
        for document in documents {
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
        self.store.put_blob(&self.tenant, text).await.map_err(|error| stopped(&error))?;
        self.log.record(EventBody::SourceAdded { source: entry.source.clone() });
        Ok(entry.source.clone())
    }

    fn answered(&self, call: HostCall) {
        self.log.record(EventBody::HostAnswered(call));
    }
}

struct IntendedCall {
    call: ToolCall,
    entry: Result<ToolEntry, String>,
    idempotency_key: String,
}

impl ModeHost for RunHost {
    fn describe(&self) -> ModelInfo {
        let info = self.provider.describe(self.model.model());
        self.answered(HostCall::ModelDescribe(serde_json::to_value(&info).unwrap_or_default()));
        info
    }

    fn generate(
        self: Arc<Self>,
        request: GenerateRequest,
    ) -> BoxFuture<'static, Result<Result<GenerateResponse, ModelError>, HostStop>> {
        async move { self.ask(request).await }.boxed()
    }

    fn tools(&self) -> Vec<ToolDefinition> {
        let mut tools = self.catalog.definitions().to_vec();
        if self.allowed.is_some() {
            tools.retain(|tool| self.tool(tool.name.as_str()).is_some());
        }
        self.answered(HostCall::ToolsList(tools.iter().map(|tool| tool.name.to_string()).collect()));
        tools
    }

    fn call_tools(self: Arc<Self>, calls: Vec<ToolCall>) -> BoxFuture<'static, Result<Vec<ToolResult>, HostStop>> {
        self.call_all(calls).boxed()
    }

    fn append(&self, messages: Vec<Message>) {
        let mut appended = lock(&self.appended);
        let room = MAX_APPENDED_MESSAGES.saturating_sub(appended.len());
        self.answered(HostCall::SessionAppend(messages.len().min(room) as u64));
        appended.extend(messages.into_iter().take(room));
    }

    fn sources(&self) -> Vec<Source> {
        let sources = lock(&self.ledger).sources();
        self.answered(HostCall::SourcesList(sources.iter().map(|source| source.id.clone()).collect()));
        sources
    }

    fn read_source(&self, id: &str, start_bytes: usize, max_bytes: usize) -> Option<String> {
        let text = lock(&self.ledger).read(id, start_bytes, max_bytes);
        self.answered(HostCall::SourcesRead(text.as_ref().map(|text| ContentHash::of(text.as_bytes()))));
        text
    }

    fn check(&self, citations: &[Citation]) -> Vec<bool> {
        let checked = self.checked(citations);
        let mut verdicts: Vec<bool> = checked.iter().map(|citation| citation.verified).collect();
        verdicts.resize(citations.len(), false);
        self.answered(HostCall::SourcesCheck(checked));
        verdicts
    }

    fn step(self: Arc<Self>, message: String) -> BoxFuture<'static, Result<(), HostStop>> {
        async move {
            self.log.record(EventBody::Step { message });
            self.log.flush(Vec::new()).await.map_err(|error| stopped(&error))
        }
        .boxed()
    }

    fn wall_clock(&self) -> u64 {
        let now = u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(0);
        self.answered(HostCall::WallClock(now));
        now
    }

    fn monotonic_clock(&self) -> u64 {
        let now = u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.answered(HostCall::MonotonicClock(now));
        now
    }

    fn random(&self, bytes: &mut [u8]) {
        rand::fill(bytes);
        self.answered(HostCall::Random(hex::encode(&*bytes)));
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
