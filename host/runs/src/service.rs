//! The door of this crate: accepts runs, and lets others look at them, follow them and end them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use vivarium_domain::{
    EventBody, FailureCode, Run, RunFailure, RunId, RunStatus, SessionId, TenantId, Timestamp, Usage,
};
use vivarium_models::Models;
use vivarium_registry::{Registry, RegistryError};
use vivarium_store::{Batch, Store, StoreError, Write};

use crate::approvals::{Approvals, Decision};
use crate::contexts::Contexts;
use crate::conversations::SessionError;
use crate::execute::{Control, Ending};
use crate::log::{Reader, RunLog};
use crate::queue::{FairQueue, Place, QueueLimits};
use crate::sessions::{Closed, SessionLines};
use crate::tenants::Leaving;
use crate::tools::{ToolInfo, ToolTrial, Toolbox, TrialError};

/// How long a run may take to stop after it was told to.
pub(crate) const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long an accepted run waits for its place at most.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);

/// How runs are made.
#[derive(Debug, Clone)]
pub struct RunsConfig {
    /// Runs that work at one time.
    pub max_running: usize,
    /// Runs that wait for their turn; further ones are refused.
    pub max_queued: usize,
    /// Of the running and of the waiting runs, the share that one tenant may have, in percent: the rest stays free for
    /// the others.
    pub tenant_share_percent: usize,
    /// Tool calls at one time, those of runs and those of clients together.
    pub max_tool_calls: usize,
    /// How long a tool call waits for its place.
    pub tool_call_patience: Duration,
    /// The largest `max_cycles` that a client may ask for.
    pub max_cycles: u32,
    /// For how long each message keeps a session that has no time of its own, in seconds; none: for ever.
    pub session_ttl_seconds: Option<u64>,
}

impl RunsConfig {
    /// What of `all` one tenant may have.
    pub(crate) fn share_of(&self, all: usize) -> usize {
        (all.saturating_mul(self.tenant_share_percent) / 100).max(1)
    }
}

impl Default for RunsConfig {
    fn default() -> Self {
        Self {
            max_running: 1024,
            max_queued: 4096,
            tenant_share_percent: 75,
            max_tool_calls: 256,
            tool_call_patience: Duration::from_secs(10),
            max_cycles: 100,
            session_ttl_seconds: None,
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
pub struct Runs(pub(crate) Arc<Shared>);

pub(crate) type RunKey = (TenantId, RunId);

pub(crate) struct Active {
    pub(crate) run: Run,
    pub(crate) log: Arc<RunLog>,
    pub(crate) control: Arc<Control>,
    pub(crate) approvals: Arc<Approvals>,
}

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) toolbox: Arc<Toolbox>,
    pub(crate) contexts: Arc<dyn Contexts>,
    pub(crate) models: Arc<Models>,
    pub(crate) config: RunsConfig,
    active: Mutex<HashMap<RunKey, Active>>,
    /// How many runs of each tenant are active.
    active_of: Mutex<HashMap<TenantId, usize>>,
    pub(crate) sessions: Arc<SessionLines>,
    pub(crate) leaving: Leaving,
    places: Arc<FairQueue>,
    pub(crate) accepted: AtomicUsize,
    pub(crate) closing: AtomicBool,
    ended: Notify,
    on_webhook: OnceLock<WebhookAsked>,
}

/// Told of a run whose end somebody wants to be told of.
type WebhookAsked = Box<dyn Fn(&TenantId, RunId) + Send + Sync>;

impl Shared {
    pub(crate) fn webhook_asked(&self, tenant: &TenantId, run: RunId) {
        if let Some(told) = self.on_webhook.get() {
            told(tenant, run);
        }
    }

    /// Waits for one of the places of running runs. None: in vain, which takes longer than any client waits.
    pub(crate) async fn place(&self, tenant: &TenantId) -> Option<Place> {
        self.places.place(tenant, LONGEST_WAIT).await.ok()
    }

    /// A run has ended.
    pub(crate) fn forget(&self, tenant: &TenantId, run: RunId) {
        let forgotten = self.active().remove(&(tenant.clone(), run));
        if forgotten.is_some() {
            self.accepted.fetch_sub(1, Ordering::Relaxed);
            self.leave(tenant);
            self.ended.notify_waiters();
        }
    }

    /// Counts a run of a tenant's, if it may have one more.
    pub(crate) fn enter(&self, tenant: &TenantId, most: usize) -> bool {
        let mut active_of = self.active_of.lock().unwrap_or_else(PoisonError::into_inner);
        let count = active_of.entry(tenant.clone()).or_default();
        let may = *count < most;
        *count += usize::from(may);
        may
    }

    fn leave(&self, tenant: &TenantId) {
        let mut active_of = self.active_of.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = active_of.get_mut(tenant) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                active_of.remove(tenant);
            }
        }
    }

    pub(crate) fn active(&self) -> std::sync::MutexGuard<'_, HashMap<RunKey, Active>> {
        // Only whole entries go in and out.
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Runs {
    /// Runs over this store, with these models and plugins.
    #[must_use]
    pub fn new(
        store: Arc<dyn Store>,
        models: Arc<Models>,
        registry: Registry,
        contexts: Arc<dyn Contexts>,
        config: RunsConfig,
    ) -> Self {
        let tool_calls = QueueLimits {
            places: config.max_tool_calls,
            per_tenant: config.share_of(config.max_tool_calls),
            waiting_per_tenant: config.max_queued,
        };
        let running = QueueLimits {
            places: config.max_running,
            per_tenant: config.share_of(config.max_running),
            // How many wait is bounded where runs are accepted.
            waiting_per_tenant: usize::MAX,
        };
        let patience = config.tool_call_patience;
        let toolbox = Arc::new(Toolbox { registry, places: FairQueue::new(tool_calls), patience });
        Self(Arc::new(Shared {
            store,
            toolbox,
            models,
            contexts,
            active: Mutex::default(),
            active_of: Mutex::default(),
            sessions: Arc::default(),
            leaving: Leaving::default(),
            places: FairQueue::new(running),
            accepted: AtomicUsize::new(0),
            closing: AtomicBool::new(false),
            ended: Notify::new(),
            on_webhook: OnceLock::new(),
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

    /// Sets who is told of each run whose end somebody wants to be told of, when it is accepted. The first one counts.
    pub fn on_webhook(&self, told: impl Fn(&TenantId, RunId) + Send + Sync + 'static) {
        // A second one is a mistake of the wiring, and loses.
        let _ = self.0.on_webhook.set(Box::new(told));
    }

    /// The tools that a tenant can use, by name.
    ///
    /// # Errors
    /// When the tenant's plugins can not be read.
    pub async fn tools(&self, tenant: &TenantId) -> Result<Vec<ToolInfo>, RegistryError> {
        Ok(self.0.toolbox.registry.catalog(tenant).await?.tools().map(ToolInfo::from).collect())
    }

    /// Lets a client try a tool out, outside of any run: with the files of `session`, or with none but those of the call.
    /// Dropping the future stops it.
    ///
    /// # Errors
    /// When there is no such tool or no place; what the tool itself says is in the answer.
    pub async fn try_tool(
        &self,
        tenant: &TenantId,
        name: &str,
        arguments_json: &str,
        session: Option<SessionId>,
    ) -> Result<ToolTrial, TrialError> {
        if self.0.closing.load(Ordering::Acquire) {
            return Err(TrialError::ShuttingDown);
        }
        self.0.toolbox.try_out(tenant, name, arguments_json, session).await
    }

    /// Decides about a tool call that waits for a person. None: there is no such run in this tenant, or it has ended;
    /// false: no call of this id waits in it.
    #[must_use]
    pub fn decide(&self, tenant: &TenantId, run: RunId, call_id: &str, decision: Decision) -> Option<bool> {
        let approvals = self.0.active().get(&(tenant.clone(), run)).map(|active| Arc::clone(&active.approvals));
        approvals.map(|approvals| approvals.decide(call_id, decision))
    }

    /// For how long each message keeps a session whose own time is this.
    pub(crate) fn session_ttl_seconds(&self, own: Option<u64>) -> Option<u64> {
        own.or(self.0.config.session_ttl_seconds)
    }

    /// A session's runs, and what ends them.
    pub(crate) fn controls_of(&self, tenant: &TenantId, session: &SessionId) -> Vec<(RunId, Arc<Control>)> {
        let active = self.0.active();
        let of_session = |(key, active): (&RunKey, &Active)| {
            (key.0 == *tenant && active.run.session_id == *session).then(|| (key.1, Arc::clone(&active.control)))
        };
        active.iter().filter_map(of_session).collect()
    }

    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.0.store
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.toolbox.registry
    }

    /// Closes a session to new runs, ends those that it has, and waits until they have ended. It stays closed until the
    /// answer is dropped.
    pub(crate) async fn quieten(&self, tenant: &TenantId, session: &SessionId) -> Result<Closed, SessionError> {
        let closed = self.0.sessions.close(tenant, session).ok_or(SessionError::Busy)?;
        let end_all = || {
            for (_, control) in self.controls_of(tenant, session) {
                control.end(Ending::Cancelled("its session is being deleted".to_owned()));
            }
        };
        let quiet = tokio::time::timeout(STOP_PATIENCE, closed.quiet(end_all)).await;
        quiet.map(|()| closed).map_err(|_| SessionError::Busy)
    }

    /// One run's record. None: no such run in this tenant.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, tenant: &TenantId, run: RunId) -> Result<Option<Run>, StoreError> {
        match self.under_way_as(tenant, run) {
            Some(run) => Ok(Some(run)),
            None => self.0.store.run(tenant, run).await,
        }
    }

    /// The record of a run that is under way, as it is now.
    fn under_way_as(&self, tenant: &TenantId, run: RunId) -> Option<Run> {
        let all = self.0.active();
        // Who has seen a run's end must not be told that it goes on.
        let active = all.get(&(tenant.clone(), run)).filter(|active| !active.log.has_ended())?;
        let last_seq = active.log.last_seq();
        // Its first event is the start of its mode.
        let status = match last_seq {
            0 => RunStatus::Queued,
            _ if active.approvals.any() => RunStatus::Waiting,
            _ => RunStatus::Running,
        };
        Some(Run { status, last_seq, ..active.run.clone() })
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
        self.wait_until(HashMap::is_empty).await;
    }

    /// Waits until the active runs are as they should be: they are looked at now, and whenever one has ended.
    pub(crate) async fn wait_until(&self, are_so: impl Fn(&HashMap<RunKey, Active>) -> bool) {
        loop {
            let ended = self.0.ended.notified();
            tokio::pin!(ended);
            // From here on an end wakes us, so none is missed between the look and the wait.
            ended.as_mut().enable();
            if are_so(&self.0.active()) {
                return;
            }
            ended.await;
        }
    }
}
