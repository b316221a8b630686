//! The door of this crate: accepts runs, and lets others look at them, follow them and end them.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use vivarium_domain::{Budget, KeyId, Run, RunId, SessionId, TenantId, Tier, TierWeights};
use vivarium_models::Models;
use vivarium_registry::{Catalog, Registry, RegistryError};
use vivarium_sight::metric;
use vivarium_store::{Store, StoreError};

use crate::accounts::Accounts;
use crate::asking::Candidate;
use crate::contexts::Contexts;
use crate::conversations::SessionError;
use crate::cursor::Cursor;
use crate::execute::Ending;
use crate::found::KnownDefinitions;
use crate::model_places::ModelPlaces;
use crate::queue::{FairQueue, Load, NoPlace, Place, QueueLimits};
use crate::reader::Reader;
use crate::sessions::{Closed, SessionLines};
use crate::table::{Table, Where};
use crate::tenants::Leaving;
use crate::tools::{ToolInfo, ToolTrial, Toolbox, TrialError};
use crate::weigher::Weigher;

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
    /// In which proportions tenants get places and processor time where these are short, by their tiers.
    pub weights: TierWeights,
    /// Tool calls at one time, those of runs and those of clients together.
    pub max_tool_calls: usize,
    /// How long a tool call waits for its place.
    pub tool_call_patience: Duration,
    /// The largest `max_cycles` that a client may ask for.
    pub max_cycles: u32,
    /// For how long each message keeps a session that has no time of its own, in seconds; none: for ever.
    pub session_ttl_seconds: Option<u64>,
    /// Runs that wait for a person. They hold hardly any memory.
    pub max_waiting: usize,
    /// How long a person may take to decide about a tool call, before it is refused.
    pub approval_patience: Duration,
    /// A tenant's runs that are under way or wait for their turn, by its tier, where that bounds them.
    pub concurrent_runs: BTreeMap<Tier, u32>,
    /// The most bytes that are kept of one tenant, by its tier.
    pub stored_bytes: BTreeMap<Tier, u64>,
    /// What a tenant may use in a day and in a month that has no budget of its own, by its tier.
    pub budgets: BTreeMap<Tier, Budget>,
    /// The most tokens of an answer where a budget applies and nobody says.
    pub budgeted_output_tokens: u32,
    /// Where a budget of money applies, models without a price may be asked all the same, and cost nothing.
    pub unpriced_models_are_free: bool,
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
            weights: TierWeights::default(),
            max_tool_calls: 256,
            tool_call_patience: Duration::from_secs(10),
            max_cycles: 100,
            session_ttl_seconds: None,
            max_waiting: 100_000,
            approval_patience: Duration::from_secs(7 * 24 * 3600),
            concurrent_runs: BTreeMap::new(),
            stored_bytes: BTreeMap::new(),
            budgets: BTreeMap::new(),
            budgeted_output_tokens: 8192,
            unpriced_models_are_free: false,
        }
    }
}

/// All runs of the host. Cheap to clone.
#[derive(Clone)]
pub struct Runs(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) toolbox: Arc<Toolbox>,
    pub(crate) contexts: Arc<dyn Contexts>,
    pub(crate) models: Arc<Models>,
    pub(crate) config: RunsConfig,
    table: Mutex<Table>,
    pub(crate) accounts: Arc<Accounts>,
    /// A run has ended, or waits.
    pub(crate) changed: Notify,
    /// A run has begun to wait. For who refuses what nobody decides about.
    pub(crate) waiting_changed: Notify,
    pub(crate) sessions: Arc<SessionLines>,
    pub(crate) leaving: Leaving,
    pub(crate) known_definitions: KnownDefinitions,
    places: Arc<FairQueue>,
    /// Those of the models that have only so many.
    model_places: ModelPlaces,
    closing: AtomicBool,
    disk_full: AtomicBool,
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

    /// How many bytes are kept of a tenant at most, and how many runs it may have at one time; none: it has no bound of its own.
    pub(crate) async fn own_bounds(&self, tenant: &TenantId) -> Result<(Option<u64>, Option<u32>), StoreError> {
        let Some(record) = self.store.tenant(tenant).await? else { return Ok((None, None)) };
        let (own, tier) = (record.limits, record.tier);
        let stored = own.stored_bytes.or_else(|| self.config.stored_bytes.get(&tier).copied());
        let runs = own.concurrent_runs.or_else(|| self.config.concurrent_runs.get(&tier).copied());
        Ok((stored, runs))
    }

    /// Waits for one of the places of running runs. None: in vain, which takes longer than any client waits.
    pub(crate) async fn place(&self, tenant: &TenantId) -> Option<Place> {
        let weight = self.toolbox.weigher.of(tenant).await;
        let began = Instant::now();
        let place = self.places.place(tenant, weight, LONGEST_WAIT).await.ok();
        metric::QUEUE_WAIT.took(began.elapsed(), &[("queue", "runs")]);
        place
    }

    /// Waits for one of the places of a model that has only so many, at most as long as an answer may take. None: it has as many as are
    /// asked for.
    pub(crate) async fn model_place(
        &self,
        tenant: &TenantId,
        candidate: &Candidate,
        timeout: Option<Duration>,
    ) -> Result<Option<Place>, NoPlace> {
        let Some((queue, patience)) = self.model_places.of(candidate) else { return Ok(None) };
        let weight = self.toolbox.weigher.of(tenant).await;
        let began = Instant::now();
        let place = queue.place(tenant, weight, timeout.unwrap_or(patience)).await;
        metric::QUEUE_WAIT.took(began.elapsed(), &[("queue", "model_calls")]);
        place.map(Some)
    }

    /// Nobody drives a run any more.
    pub(crate) fn forget(&self, tenant: &TenantId, run: RunId) {
        if self.table().forget(&(tenant.clone(), run)) {
            self.changed.notify_waiters();
        }
    }

    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        // Nothing that is done under it panics; each step leaves a table that can be used.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// There is too little room on the disk for new runs.
    pub(crate) fn is_disk_full(&self) -> bool {
        self.disk_full.load(Ordering::Relaxed)
    }

    /// Takes no new runs any more.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    /// Until this is so.
    pub(crate) async fn until(&self, is_so: impl Fn(&Table) -> bool) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a change wakes us, so none is missed between the look and the wait.
            changed.as_mut().enable();
            if is_so(&self.table()) {
                return;
            }
            changed.await;
        }
    }

    /// One run's record as it is now.
    pub(crate) async fn run_now(&self, tenant: &TenantId, run: RunId) -> Result<Option<Run>, StoreError> {
        let Some(stored) = self.store.run(tenant, run).await? else { return Ok(None) };
        if let Some(now) = self.as_it_is(tenant, stored) {
            return Ok(Some(now));
        }
        // It has ended meanwhile, and its end is on disk.
        self.store.run(tenant, run).await
    }

    /// A record that was read from the store, as the run is now. None: it is to be read again.
    fn as_it_is(&self, tenant: &TenantId, stored: Run) -> Option<Run> {
        if stored.status.is_terminal() {
            return Some(stored);
        }
        let (key, table) = ((tenant.clone(), stored.id), self.table());
        match table.active(&key) {
            // Who has seen a run's end must not be told that it goes on.
            Some(active) => (!active.log.has_ended()).then(|| active.now(stored)),
            None => table.waiting(&key).is_some().then_some(stored),
        }
    }

    /// The catalog with documents to search.
    pub(crate) fn with_contexts(
        &self,
        tenant: &TenantId,
        contexts: &[vivarium_domain::DocumentId],
        corpora: &[String],
        catalog: Arc<Catalog>,
    ) -> Arc<Catalog> {
        if contexts.is_empty() && corpora.is_empty() {
            return catalog;
        }
        Arc::new(catalog.searching(&self.contexts.view(tenant, contexts, corpora)))
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
        let weigher = Weigher { store: Arc::clone(&store), weights: config.weights };
        let toolbox = Arc::new(Toolbox { registry, places: FairQueue::new(tool_calls), weigher, patience });
        let accounts = Accounts::new(Arc::clone(&store), config.budgets.clone());
        Self(Arc::new(Shared {
            store,
            accounts,
            toolbox,
            models,
            contexts,
            table: Mutex::default(),
            changed: Notify::new(),
            waiting_changed: Notify::new(),
            sessions: Arc::default(),
            leaving: Leaving::default(),
            known_definitions: KnownDefinitions::default(),
            places: FairQueue::new(running),
            model_places: ModelPlaces::default(),
            closing: AtomicBool::new(false),
            disk_full: AtomicBool::new(false),
            on_webhook: OnceLock::new(),
            config,
        }))
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
        key: KeyId,
    ) -> Result<ToolTrial, TrialError> {
        if self.0.is_closing() {
            return Err(TrialError::ShuttingDown);
        }
        self.0.try_out(tenant, name, arguments_json, session, key).await
    }

    /// For how long each message keeps a session whose own time is this.
    pub(crate) fn session_ttl_seconds(&self, own: Option<u64>) -> Option<u64> {
        own.or(self.0.config.session_ttl_seconds)
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
        let end_all = || self.end_session(tenant, session, |_| true, "its session is being deleted");
        let quiet = tokio::time::timeout(STOP_PATIENCE, closed.quiet(end_all)).await;
        quiet.map(|()| closed).map_err(|_| SessionError::Busy)
    }

    /// One run's record. None: no such run in this tenant.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, tenant: &TenantId, run: RunId) -> Result<Option<Run>, StoreError> {
        self.0.run_now(tenant, run).await
    }

    /// Tells the runs of a session to end that are chosen.
    pub(crate) fn end_session(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        chosen: impl Fn(RunId) -> bool,
        reason: &str,
    ) {
        let runs = self.0.table().of_session(tenant, session);
        for run in runs.into_iter().filter(|run| chosen(*run)) {
            self.tell_to_end(&(tenant.clone(), run), reason);
        }
    }

    /// A run of this session has not ended.
    #[must_use]
    pub fn is_busy(&self, tenant: &TenantId, session: &SessionId) -> bool {
        !self.0.table().of_session(tenant, session).is_empty()
    }

    /// Follows a run from behind this cursor. None: no such run in this tenant.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn follow(&self, tenant: &TenantId, run: RunId, cursor: Cursor) -> Result<Option<Reader>, StoreError> {
        let place = self.0.table().whereabouts(tenant, run);
        if matches!(place, Where::Nowhere) && self.0.store.run(tenant, run).await?.is_none() {
            return Ok(None);
        }
        Ok(Some(Reader::new(Arc::clone(&self.0), tenant.clone(), run, cursor)))
    }

    /// The same from the first event, for who has to know the whole to tell the rest: what is in front of the cursor comes as
    /// [`Item::Seen`](crate::Item::Seen).
    ///
    /// # Errors
    /// When the store fails.
    pub async fn follow_whole(
        &self,
        tenant: &TenantId,
        run: RunId,
        cursor: Cursor,
    ) -> Result<Option<Reader>, StoreError> {
        Ok(self.follow(tenant, run, cursor).await?.map(Reader::giving_seen))
    }

    /// How many runs are under way or wait for their turn.
    #[must_use]
    pub fn under_way(&self) -> usize {
        self.0.table().under_way()
    }

    /// Tells the metrics how many runs there are and who waits for what. For who is about to read them.
    pub fn tell_load(&self) {
        let (under_way, waiting) = {
            let table = self.0.table();
            (table.under_way(), table.waiting_count())
        };
        let queues = [
            ("runs", self.0.places.load()),
            ("tool_calls", self.0.toolbox.places.load()),
            ("model_calls", self.0.model_places.load()),
        ];
        let running = queues.first().map_or(0, |(_, load)| load.taken).min(under_way);
        for (state, count) in [("queued", under_way - running), ("running", running), ("waiting", waiting)] {
            metric::RUNS.set(count, &[("state", state)]);
        }
        for (queue, Load { places, taken, waiting }) in queues {
            metric::QUEUE_PLACES.set(places, &[("queue", queue)]);
            metric::QUEUE_TAKEN.set(taken, &[("queue", queue)]);
            metric::QUEUE_LENGTH.set(waiting, &[("queue", queue)]);
        }
    }

    /// How many runs wait for a person.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.0.table().waiting_count()
    }

    /// Says whether the disk has too little room for new runs. Those under way go on.
    pub fn set_disk_full(&self, is_full: bool) {
        self.0.disk_full.store(is_full, Ordering::Relaxed);
    }

    /// Takes no new runs, waits up to `grace` for those under way, and leaves the rest to the next start, which takes them up
    /// where they are.
    pub async fn drain(&self, grace: Duration) {
        self.0.closing.store(true, Ordering::Release);
        if tokio::time::timeout(grace, self.all_ended()).await.is_ok() {
            return;
        }
        self.0.table().end_all(&Ending::Left);
        if tokio::time::timeout(STOP_PATIENCE, self.all_ended()).await.is_err() {
            tracing::warn!(
                under_way = self.under_way(),
                "some runs did not stop in time; the next start takes them up"
            );
        }
    }

    async fn all_ended(&self) {
        self.0.until(|table| table.under_way() == 0).await;
    }
}
