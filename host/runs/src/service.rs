//! The door of this crate: accepts runs, and lets others look at them, follow them and end them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use jsonschema::Validator;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};
use vivarium_domain::{
    EventBody, FailureCode, ModelName, Run, RunFailure, RunId, RunStatus, SessionId, TenantId, Timestamp,
    ToolDefinition, Usage,
};
use vivarium_models::Models;
use vivarium_sandbox::{Limits, Registry};
use vivarium_store::{Batch, Condition, IdempotencyRecord, Store, StoreError, Write};

use crate::execute::{Control, Ending, Execution};
use crate::host::Toolbox;
use crate::log::{Reader, RunLog};
use crate::request::{ModeInfo, RunRequest, StartError, Started};
use crate::sessions::SessionLines;

/// How long a run may take to stop after it was told to.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How runs are made.
#[derive(Debug, Clone)]
pub struct RunsConfig {
    /// What a mode may use.
    pub mode_limits: Limits,
    /// What a tool may use.
    pub tool_limits: Limits,
    /// Runs that work at one time.
    pub max_running: usize,
    /// Runs that wait for their turn; further ones are refused.
    pub max_queued: usize,
    /// The largest `max_cycles` that a client may ask for.
    pub max_cycles: u32,
}

impl Default for RunsConfig {
    fn default() -> Self {
        Self {
            mode_limits: Limits::for_mode(),
            tool_limits: Limits::for_tool(),
            max_running: 1024,
            max_queued: 4096,
            max_cycles: 8,
        }
    }
}

/// What start-up did with the runs of the process before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RecoveryReport {
    /// Runs that had not ended and were ended as interrupted.
    pub interrupted: usize,
}

/// All runs of the host. Cheap to clone.
#[derive(Clone)]
pub struct Runs(Arc<Shared>);

type RunKey = (TenantId, RunId);

struct Active {
    run: Run,
    log: Arc<RunLog>,
    control: Arc<Control>,
}

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) toolbox: Arc<Toolbox>,
    pub(crate) mode_limits: Arc<Limits>,
    modes: Vec<ModeInfo>,
    models: Arc<Models>,
    config: RunsConfig,
    active: Mutex<HashMap<RunKey, Active>>,
    sessions: Arc<SessionLines>,
    slots: Semaphore,
    accepted: AtomicUsize,
    closing: AtomicBool,
    ended: Notify,
}

impl Shared {
    /// Waits for one of the places of running runs.
    pub(crate) async fn slot(&self) -> Option<SemaphorePermit<'_>> {
        // The semaphore is never closed.
        self.slots.acquire().await.ok()
    }

    /// A run has ended.
    pub(crate) fn forget(&self, tenant: &TenantId, run: RunId) {
        let forgotten = self.active().remove(&(tenant.clone(), run));
        if forgotten.is_some() {
            self.accepted.fetch_sub(1, Ordering::Relaxed);
            self.ended.notify_waiters();
        }
    }

    fn active(&self) -> std::sync::MutexGuard<'_, HashMap<RunKey, Active>> {
        // Only whole entries go in and out.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs {
    /// Runs over this store, with these models and plugins.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, models: Arc<Models>, registry: Arc<Registry>, config: RunsConfig) -> Self {
        let definitions = registry.tools().map(|entry| definition(&entry.manifest)).collect();
        let modes = registry.modes().map(mode_info).collect();
        let toolbox = Arc::new(Toolbox { registry, definitions, limits: Arc::new(config.tool_limits.clone()) });
        Self(Arc::new(Shared {
            store,
            toolbox,
            mode_limits: Arc::new(config.mode_limits.clone()),
            modes,
            models,
            active: Mutex::default(),
            sessions: Arc::default(),
            slots: Semaphore::new(config.max_running),
            accepted: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            ended: Notify::new(),
            config,
        }))
    }

    /// Takes care of the runs that a process before this one left unfinished: none stays `running` for ever.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recover(&self) -> Result<RecoveryReport, StoreError> {
        let unfinished = self.0.store.unfinished_runs().await?;
        let report = RecoveryReport { interrupted: unfinished.len() };
        for (tenant, run) in unfinished {
            self.end_interrupted(&tenant, run).await?;
        }
        Ok(report)
    }

    async fn end_interrupted(&self, tenant: &TenantId, mut run: Run) -> Result<(), StoreError> {
        let mut last_seq = 0;
        loop {
            let page = self.0.store.events(tenant, run.id, last_seq, 1000).await?;
            let Some((seq, _)) = page.last() else { break };
            last_seq = *seq;
        }
        let failure = RunFailure {
            code: FailureCode::Interrupted,
            message: "the host was stopped while the run was under way; send the request again".to_owned(),
        };
        let body = EventBody::RunFailed { failure: failure.clone(), usage: Usage::default() };
        let event = vivarium_domain::Event { seq: last_seq + 1, at: Timestamp::now(), body };
        run.status = RunStatus::Failed;
        run.failure = Some(failure);
        run.ended_at = Some(event.at);
        run.last_seq = event.seq;
        let json = serde_json::to_vec(&event).map_err(|error| StoreError::Corrupt(error.to_string()))?;
        let append = Write::AppendEvents { run: run.id, first_seq: event.seq, events: vec![json.into()] };
        let batch = Batch { conditions: Vec::new(), writes: vec![append, Write::PutRun(Box::new(run))] };
        self.0.store.commit(tenant, batch).await
    }

    /// The modes that can be asked for.
    #[must_use]
    pub fn modes(&self, _tenant: &TenantId) -> &[ModeInfo] {
        &self.0.modes
    }

    /// Accepts a run: it is on disk when this returns, and goes on by itself, whoever listens.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn start(&self, tenant: &TenantId, request: RunRequest) -> Result<Started, StartError> {
        let shared = &self.0;
        if let Some(idempotency) = &request.idempotency
            && let Some(record) = shared.store.idempotency(tenant, &idempotency.key).await?
        {
            return self.replayed(tenant, &record, idempotency.request_hash).await;
        }
        let prepared = self.prepare(tenant, &request)?;
        let started = Started { run_id: prepared.run.id, session_id: prepared.run.session_id.clone(), replayed: false };
        let committed = shared.store.commit(tenant, first_batch(&prepared.run, &request));
        // On a task of its own: a client that leaves now does not leave a run that nobody drives.
        let (accepted, acknowledged) = tokio::sync::oneshot::channel();
        tokio::spawn(prepared.run_when(committed, accepted, request.idempotency.is_some()));
        let result =
            acknowledged.await.map_err(|_| StoreError::Unavailable("the run broke off at its start".to_owned()))?;
        match (result, &request.idempotency) {
            (Ok(()), _) => Ok(started),
            (Err(StoreError::ConditionFailed(Condition::IdempotencyKeyUnused(key))), Some(idempotency)) => {
                // Another request with this key was faster.
                let record = shared.store.idempotency(tenant, &key).await?.ok_or_else(|| {
                    StoreError::Corrupt("an idempotency key is taken, but stands for nothing".to_owned())
                })?;
                self.replayed(tenant, &record, idempotency.request_hash).await
            }
            (Err(error), _) => Err(error.into()),
        }
    }

    /// Checks a request and gives the run its places.
    fn prepare(&self, tenant: &TenantId, request: &RunRequest) -> Result<Execution, StartError> {
        let shared = &self.0;
        let mode = shared.toolbox.registry.mode(&request.mode).cloned().ok_or_else(|| self.unknown_mode(request))?;
        let max = shared.config.max_cycles;
        let max_cycles = request.max_cycles.unwrap_or_else(|| mode.manifest.default_max_cycles.clamp(1, max));
        if !(1..=max).contains(&max_cycles) {
            return Err(StartError::MaxCycles { max });
        }
        let (provider, model) = shared
            .models
            .resolve(request.model.as_ref())
            .map_err(|error| StartError::UnknownModel(error.to_string()))?;
        let output_schema = request.output_schema.as_ref().map(compile_schema).transpose()?;
        let new_session = request.session_id.is_none();
        let session_id = request.session_id.clone().map_or_else(new_session_id, Ok)?;
        let run = self.new_run(request, &mode, model, session_id, max_cycles);
        let place = shared.sessions.join(tenant, &run.session_id).ok_or_else(|| {
            StartError::Overloaded("too many messages wait in this session; try again later".to_owned())
        })?;
        let (log, control) = self.admit(tenant, &run)?;
        Ok(Execution {
            shared: Arc::clone(shared),
            tenant: tenant.clone(),
            run,
            log,
            control,
            mode,
            provider,
            output_schema,
            place,
            new_session,
        })
    }

    fn new_run(
        &self,
        request: &RunRequest,
        mode: &vivarium_sandbox::ModeEntry,
        model: ModelName,
        session_id: SessionId,
        max_cycles: u32,
    ) -> Run {
        Run {
            id: RunId::new(),
            status: RunStatus::Queued,
            mode: request.mode.clone(),
            plugin: mode.installed.plugin.digest(),
            model,
            session_id,
            input: request.input.clone(),
            max_cycles,
            created_at: Timestamp::now(),
            ended_at: None,
            outcome: None,
            failure: None,
            usage: Usage::default(),
            last_seq: 0,
        }
    }

    /// Takes the run among the active ones, if there is room.
    fn admit(&self, tenant: &TenantId, run: &Run) -> Result<(Arc<RunLog>, Arc<Control>), StartError> {
        let shared = &self.0;
        let room = shared.config.max_running + shared.config.max_queued;
        let log = Arc::new(RunLog::new(tenant.clone(), run.id, Arc::clone(&shared.store)));
        let control = Arc::new(Control::default());
        let active = Active { run: run.clone(), log: Arc::clone(&log), control: Arc::clone(&control) };
        let mut all = shared.active();
        // Looked at under the lock: `drain` sets it and then looks at what is active.
        if shared.closing.load(Ordering::Acquire) {
            return Err(StartError::ShuttingDown);
        }
        if shared.accepted.load(Ordering::Relaxed) >= room {
            return Err(StartError::Overloaded(format!("{room} runs are under way; try again later")));
        }
        shared.accepted.fetch_add(1, Ordering::Relaxed);
        all.insert((tenant.clone(), run.id), active);
        Ok((log, control))
    }

    async fn replayed(
        &self,
        tenant: &TenantId,
        record: &IdempotencyRecord,
        request_hash: vivarium_domain::ContentHash,
    ) -> Result<Started, StartError> {
        if record.request_hash != request_hash {
            return Err(StartError::IdempotencyConflict);
        }
        let run = self
            .get(tenant, record.run)
            .await?
            .ok_or_else(|| StoreError::Corrupt(format!("the run {} of an idempotency key is not there", record.run)))?;
        Ok(Started { run_id: run.id, session_id: run.session_id, replayed: true })
    }

    fn unknown_mode(&self, request: &RunRequest) -> StartError {
        let modes: Vec<&str> = self.0.toolbox.registry.modes().map(|entry| entry.manifest.name.as_str()).collect();
        let available = if modes.is_empty() { "none".to_owned() } else { modes.join(", ") };
        StartError::UnknownMode { name: request.mode.chars().take(80).collect(), available }
    }

    /// One run's record. None: no such run in this tenant.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, tenant: &TenantId, run: RunId) -> Result<Option<Run>, StoreError> {
        let active = self.0.active().get(&(tenant.clone(), run)).map(|active| {
            let last_seq = active.log.last_seq();
            // Its first event is the start of its mode.
            let status = if last_seq == 0 { RunStatus::Queued } else { RunStatus::Running };
            Run { status, last_seq, ..active.run.clone() }
        });
        match active {
            Some(run) => Ok(Some(run)),
            None => self.0.store.run(tenant, run).await,
        }
    }

    /// Follows a run's events with numbers above `after`. None: no such run in this tenant.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn follow(&self, tenant: &TenantId, run: RunId, after: u64) -> Result<Option<Reader>, StoreError> {
        let live = self.0.active().get(&(tenant.clone(), run)).map(|active| Arc::clone(&active.log));
        if let Some(log) = live {
            return Ok(Some(Reader::live(log, after)));
        }
        let stored = self.0.store.run(tenant, run).await?;
        Ok(stored.map(|_| Reader::stored(Arc::clone(&self.0.store), tenant.clone(), run, after)))
    }

    /// Ends a run. False: there is no such run in this tenant, or it has ended.
    #[must_use]
    pub fn cancel(&self, tenant: &TenantId, run: RunId, reason: &str) -> bool {
        let control = self.0.active().get(&(tenant.clone(), run)).map(|active| Arc::clone(&active.control));
        match control {
            Some(control) => {
                control.end(Ending::Cancelled(reason.to_owned()));
                true
            }
            None => false,
        }
    }

    /// How many runs are accepted and have not ended.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.0.accepted.load(Ordering::Relaxed)
    }

    /// Takes no new runs, waits up to `grace` for those under way, then ends the rest as interrupted.
    pub async fn drain(&self, grace: Duration) {
        self.0.closing.store(true, Ordering::Release);
        if tokio::time::timeout(grace, self.all_ended()).await.is_ok() {
            return;
        }
        for active in self.0.active().values() {
            active.control.end(Ending::Interrupted);
        }
        if tokio::time::timeout(STOP_PATIENCE, self.all_ended()).await.is_err() {
            tracing::warn!(
                under_way = self.under_way(),
                "some runs did not stop in time; the next start takes care of them"
            );
        }
    }

    async fn all_ended(&self) {
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if self.0.active().is_empty() {
                return;
            }
            ended.await;
        }
    }
}

/// The first thing that is written of a run.
fn first_batch(run: &Run, request: &RunRequest) -> Batch {
    let mut batch = Batch { conditions: Vec::new(), writes: vec![Write::PutRun(Box::new(run.clone()))] };
    if let Some(idempotency) = &request.idempotency {
        let record =
            IdempotencyRecord { request_hash: idempotency.request_hash, run: run.id, created_at: run.created_at };
        batch.conditions.push(Condition::IdempotencyKeyUnused(idempotency.key.clone()));
        batch.writes.push(Write::PutIdempotency { key: idempotency.key.clone(), record });
    }
    batch
}

fn compile_schema(schema: &serde_json::Value) -> Result<(String, Arc<Validator>), StartError> {
    let validator = jsonschema::validator_for(schema).map_err(|error| StartError::OutputSchema(error.to_string()))?;
    Ok((schema.to_string(), Arc::new(validator)))
}

fn new_session_id() -> Result<SessionId, StartError> {
    let id = uuid::Uuid::now_v7().to_string();
    // A UUID is always a session id.
    id.parse().map_err(|error: vivarium_domain::IdError| StoreError::Corrupt(error.to_string()).into())
}

fn mode_info(entry: &vivarium_sandbox::ModeEntry) -> ModeInfo {
    ModeInfo {
        name: entry.manifest.name.to_string(),
        title: entry.manifest.title.clone(),
        description: entry.manifest.description.clone(),
        default_max_cycles: entry.manifest.default_max_cycles,
    }
}

fn definition(manifest: &vivarium_domain::ToolManifest) -> ToolDefinition {
    ToolDefinition {
        name: manifest.name.clone(),
        description: manifest.description.clone(),
        input_schema: manifest.input_schema.clone(),
        read_only: manifest.read_only,
    }
}
