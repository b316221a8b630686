//! [`SledStore`]: the backend of one host.

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::{BoxFuture, ready};
use serde::de::DeserializeOwned;
use vivarium_domain::{
    Agent, AgentId, ApiKey, AuditBy, AuditEntry, AuditHead, ContentHash, CorpusDocument, Date, Delivery, DocumentId,
    InstalledRecord, McpServer, PluginGrant, PluginName, Run, RunId, SealedSecret, Session, SessionId, SessionMessage,
    Subject, Team, Tenant, TenantId, Timestamp, UsageEntry, Used,
};

use crate::audit::read_head;
use crate::backup::{Backup, BackupPieces, Follower, Source};
use crate::batch::{Prepared, from_json, prepare};
use crate::blobs::Blobs;
use crate::open::{self, OpenReport, Opened, SCHEMA, StoreOptions};
use crate::places::Head;
use crate::queue::{Queue, closed};
use crate::remove::{Removals, Remover, closed_tenants};
use crate::settle::{Settler, Trouble};
use crate::table::{Key, Range, Table};
use crate::view::{Direction, PIECE, View};
use crate::writer::{Counters, Writer};
use crate::{AgentFilter, Batch, EndedFilter, IdempotencyRecord, Page, RunFilter, SessionFilter, Store, StoreError};

/// The store of one host: sled's trees behind a journal. Only one may be open on a folder; a second is refused.
///
/// Dropping it finishes what is in line, brings the journal into the trees and blocks until that is on disk: up to some
/// hundred milliseconds after heavy load. Futures of `commit` may outlive it.
pub struct SledStore {
    pub(crate) queue: Arc<Queue>,
    pub(crate) view: Arc<View>,
    pub(crate) blobs: Blobs,
    /// Of sessions.
    pub(crate) removals: Arc<Removals>,
    /// Of logs.
    pub(crate) log_removals: Arc<Removals>,
    trouble: Trouble,
    follower: Follower,
    counters: Arc<Counters>,
    writer: Option<JoinHandle<()>>,
    settler: Option<JoinHandle<()>>,
    /// Dropped to tell the settler that nothing is tried again.
    closing: Option<mpsc::Sender<()>>,
}

impl fmt::Debug for SledStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SledStore").field("flushes", &self.flushes()).finish_non_exhaustive()
    }
}

impl SledStore {
    /// Opens the store in this folder, or makes one. Blocks: some 10 ms, and longer where a crash left much to recover.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where what is there does not read, [`StoreError::Unavailable`] where the folder can not be
    /// used, is open already, or was written by another version.
    pub fn open(folder: impl AsRef<Path>) -> Result<(Self, OpenReport), StoreError> {
        Self::open_with(folder, StoreOptions::default())
    }

    /// The same, laid out in another way.
    ///
    /// # Errors
    /// As [`SledStore::open`].
    pub fn open_with(folder: impl AsRef<Path>, options: StoreOptions) -> Result<(Self, OpenReport), StoreError> {
        let opened = open::open(folder.as_ref(), options)?;
        let report = opened.report.clone();
        Ok((Self::start(opened, options)?, report))
    }

    fn start(opened: Opened, options: StoreOptions) -> Result<Self, StoreError> {
        let Opened { view, disk, blobs, journal, generation, spare, last, closed, .. } = opened;
        let journal_bytes = options.journal_bytes;
        let view = Arc::new(view);
        let (queue, counters, trouble) = (Arc::new(Queue::default()), Arc::new(Counters::at(last)), Trouble::default());
        let follower = Follower::default();
        let (jobs, jobs_taken) = mpsc::channel();
        let (free, free_taken) = mpsc::channel();
        let (closing, is_closing) = mpsc::channel();
        let settler = Settler {
            view: Arc::clone(&view),
            disk,
            trouble: trouble.clone(),
            follower: follower.clone(),
            journal_bytes,
            jobs: jobs_taken,
            free,
            closing: is_closing,
        };
        let writer = Writer {
            queue: Arc::clone(&queue),
            view: Arc::clone(&view),
            blobs: blobs.clone(),
            journal,
            journal_bytes,
            generation,
            jobs,
            free: free_taken,
            trouble: trouble.clone(),
            follower: follower.clone(),
            counters: Arc::clone(&counters),
            closed: closed.iter().map(|tenant| Key::of(tenant).into_bytes()).collect(),
        };
        let settler = spawn("store-settler", move || settler.run(&spare))?;
        let writer = spawn("store-writer", move || writer.run())?;
        Ok(Self {
            queue,
            view,
            blobs,
            removals: Arc::default(),
            log_removals: Arc::default(),
            trouble,
            follower,
            counters,
            writer: Some(writer),
            settler: Some(settler),
            closing: Some(closing),
        })
    }

    /// How often the journal was synced since the store was opened.
    #[must_use]
    pub fn flushes(&self) -> u64 {
        self.counters.groups.load(Ordering::Relaxed)
    }

    /// How many batches were answered since the store was opened.
    #[must_use]
    pub fn batches(&self) -> u64 {
        self.counters.batches.load(Ordering::Relaxed)
    }

    fn remover(&self) -> Remover {
        Remover {
            queue: Arc::clone(&self.queue),
            view: Arc::clone(&self.view),
            blobs: self.blobs.clone(),
            removals: Arc::clone(&self.removals),
            log_removals: Arc::clone(&self.log_removals),
        }
    }

    pub(crate) fn enqueue(&self, prepared: Result<Prepared, StoreError>) -> BoxFuture<'static, Result<(), StoreError>> {
        match prepared.and_then(|prepared| self.queue.push(prepared)) {
            Ok(receipt) => async move { receipt.await.unwrap_or_else(|_| Err(closed())) }.boxed(),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    pub(crate) fn record<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        let payload = self.view.get(table, key)?;
        payload.map(|payload| from_json(table, key, &payload)).transpose()
    }

    /// Calls `each` with the records of a range, until it says stop; about `expected` of them. Yields between the pieces,
    /// so that a long walk does not hold up the worker that it runs on.
    pub(crate) async fn walk(
        &self,
        table: Table,
        mut range: Range,
        direction: Direction,
        expected: usize,
        mut each: impl FnMut(Bytes, Bytes) -> Result<Walk, StoreError>,
    ) -> Result<(), StoreError> {
        let mut at_once = expected.clamp(1, PIECE);
        loop {
            let piece = self.view.walk(table, &range, direction, at_once)?;
            let Some((last, _)) = piece.last() else { return Ok(()) };
            range = match direction {
                Direction::Forward => range.after(last),
                Direction::Backward => range.before(last),
            };
            let is_last = piece.len() < at_once;
            for (key, payload) in piece {
                if each(key, payload)? == Walk::Stop {
                    return Ok(());
                }
            }
            if is_last {
                return Ok(());
            }
            // What was expected was not enough: many do not match.
            at_once = PIECE;
            tokio::task::yield_now().await;
        }
    }
}

/// Whether a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Walk {
    On,
    Stop,
}

impl Store for SledStore {
    fn commit(&self, tenant: &TenantId, batch: Batch) -> BoxFuture<'static, Result<(), StoreError>> {
        self.enqueue(prepare(tenant, batch))
    }

    fn run(&self, tenant: &TenantId, run: RunId) -> BoxFuture<'_, Result<Option<Run>, StoreError>> {
        ready(self.one_run(tenant, run)).boxed()
    }

    fn runs(&self, tenant: &TenantId, filter: RunFilter) -> BoxFuture<'_, Result<Page<Run, RunId>, StoreError>> {
        self.list_runs(tenant.clone(), filter).boxed()
    }

    fn agent(&self, tenant: &TenantId, agent: AgentId) -> BoxFuture<'_, Result<Option<Agent>, StoreError>> {
        ready(self.record(Table::Agents, Key::of(tenant).agent(agent).as_slice())).boxed()
    }

    fn agent_by_name(&self, tenant: &TenantId, name: &str) -> BoxFuture<'_, Result<Option<Agent>, StoreError>> {
        ready(self.named_agent(tenant, name)).boxed()
    }

    fn agents(
        &self,
        tenant: &TenantId,
        filter: AgentFilter,
    ) -> BoxFuture<'_, Result<Page<Agent, AgentId>, StoreError>> {
        self.list_agents(tenant.clone(), filter).boxed()
    }

    fn agent_version(
        &self,
        tenant: &TenantId,
        agent: AgentId,
        version: u64,
    ) -> BoxFuture<'_, Result<Option<Agent>, StoreError>> {
        ready(self.record(Table::AgentVersions, Key::of(tenant).agent(agent).number(version).as_slice())).boxed()
    }

    fn agent_versions(
        &self,
        tenant: &TenantId,
        agent: AgentId,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<Agent, u64>, StoreError>> {
        self.list_agent_versions(Key::of(tenant).agent(agent), before, limit).boxed()
    }

    fn sessions(
        &self,
        tenant: &TenantId,
        filter: SessionFilter,
    ) -> BoxFuture<'_, Result<Page<Session, u64>, StoreError>> {
        self.list_sessions(tenant.clone(), filter).boxed()
    }

    fn count_sessions(&self, tenant: &TenantId, agent: Option<AgentId>) -> BoxFuture<'_, Result<u64, StoreError>> {
        let head = Head::read(&self.view, Key::of(tenant).session_list(agent).as_slice());
        ready(head.map(|head| head.taken)).boxed()
    }

    fn messages_from(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        first: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionMessage>, StoreError>> {
        self.list_messages_from(tenant.clone(), session.clone(), first, limit).boxed()
    }

    fn delete_session(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        by: &AuditBy,
    ) -> BoxFuture<'_, Result<bool, StoreError>> {
        finished(self.remover().remove(tenant.clone(), session.clone(), by.clone())).boxed()
    }

    fn delete_runs(
        &self,
        tenant: &TenantId,
        runs: Vec<RunId>,
        by: &AuditBy,
    ) -> BoxFuture<'_, Result<usize, StoreError>> {
        finished(self.remover().remove_runs(tenant.clone(), runs, by.clone())).boxed()
    }

    fn delete_logs(
        &self,
        tenant: &TenantId,
        runs: Vec<RunId>,
        at: Timestamp,
        by: &AuditBy,
    ) -> BoxFuture<'_, Result<usize, StoreError>> {
        finished(self.remover().remove_logs(tenant.clone(), runs, at, by.clone())).boxed()
    }

    fn ended_runs(&self, filter: EndedFilter) -> BoxFuture<'_, Result<Vec<(TenantId, RunId)>, StoreError>> {
        self.list_ended(filter).boxed()
    }

    fn count_ended_runs(&self, tenant: &TenantId) -> BoxFuture<'_, Result<u64, StoreError>> {
        ready(self.count_ended(tenant)).boxed()
    }

    fn close_tenant(&self, tenant: &TenantId, by: &AuditBy) -> BoxFuture<'_, Result<bool, StoreError>> {
        finished(self.remover().close_tenant(tenant.clone(), by.clone())).boxed()
    }

    fn delete_closed_tenant(&self, tenant: &TenantId) -> BoxFuture<'_, Result<(), StoreError>> {
        finished(self.remover().remove_tenant(tenant.clone())).boxed()
    }

    fn closed_tenants(&self) -> BoxFuture<'_, Result<Vec<TenantId>, StoreError>> {
        ready(closed_tenants(&self.view)).boxed()
    }

    fn expired_sessions(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(TenantId, SessionId)>, StoreError>> {
        self.list_expired(now, limit).boxed()
    }

    fn teams(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Vec<Team>, StoreError>> {
        self.list_all(Table::Teams, tenant.clone()).boxed()
    }

    fn document(
        &self,
        tenant: &TenantId,
        document: DocumentId,
    ) -> BoxFuture<'_, Result<Option<CorpusDocument>, StoreError>> {
        ready(self.record(Table::Documents, Key::of(tenant).document(document).as_slice())).boxed()
    }

    fn documents(
        &self,
        tenant: &TenantId,
        corpus: &str,
        before: Option<DocumentId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<CorpusDocument, DocumentId>, StoreError>> {
        self.list_documents(tenant.clone(), Key::of(tenant).client_text(corpus), before, limit).boxed()
    }

    fn delivery(&self, tenant: &TenantId, run: RunId) -> BoxFuture<'_, Result<Option<Delivery>, StoreError>> {
        ready(self.one_delivery(tenant, run)).boxed()
    }

    fn deliveries(
        &self,
        tenant: &TenantId,
        before: Option<RunId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<Delivery, RunId>, StoreError>> {
        self.list_deliveries(tenant.clone(), before, limit).boxed()
    }

    fn pending_deliveries(&self) -> BoxFuture<'_, Result<Vec<(TenantId, Delivery)>, StoreError>> {
        self.list_pending_deliveries().boxed()
    }

    fn events(
        &self,
        tenant: &TenantId,
        run: RunId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(u64, Bytes)>, StoreError>> {
        self.list_events(tenant.clone(), run, after, limit).boxed()
    }

    fn last_event(&self, tenant: &TenantId, run: RunId) -> BoxFuture<'_, Result<u64, StoreError>> {
        ready(self.last_of_log(tenant, run)).boxed()
    }

    fn session(&self, tenant: &TenantId, session: &SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        ready(self.one_session(tenant, session)).boxed()
    }

    fn messages(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionMessage>, StoreError>> {
        self.last_messages(tenant.clone(), session.clone(), limit).boxed()
    }

    fn idempotency(
        &self,
        tenant: &TenantId,
        key: &str,
    ) -> BoxFuture<'_, Result<Option<IdempotencyRecord>, StoreError>> {
        ready(self.one_idempotency(tenant, key)).boxed()
    }

    fn forget_answers(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.forget_answers_until(now, limit).boxed()
    }

    fn usage(
        &self,
        tenant: &TenantId,
        from: Date,
        to: Date,
    ) -> BoxFuture<'_, Result<Vec<(Date, UsageEntry)>, StoreError>> {
        self.list_usage(tenant.clone(), from, to).boxed()
    }

    fn used(
        &self,
        tenant: &TenantId,
        subject: Subject,
        from: Date,
        to: Date,
    ) -> BoxFuture<'_, Result<Vec<(Date, Used)>, StoreError>> {
        ready(self.used_by(tenant, subject, from, to)).boxed()
    }

    fn forget_usage(&self, before: Date, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        self.forget_usage_before(before, limit).boxed()
    }

    fn tenant(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Option<Tenant>, StoreError>> {
        ready(self.record(Table::Tenants, Key::of(tenant).as_slice())).boxed()
    }

    fn api_keys(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Vec<(ContentHash, ApiKey)>, StoreError>> {
        self.list_api_keys(tenant.clone()).boxed()
    }

    fn audit(
        &self,
        tenant: &TenantId,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<AuditEntry, u64>, StoreError>> {
        self.list_audit(tenant.clone(), before, limit).boxed()
    }

    fn audit_from(
        &self,
        tenant: &TenantId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<AuditEntry, u64>, StoreError>> {
        self.audit_after(tenant.clone(), after, limit).boxed()
    }

    fn audit_head(&self, tenant: &TenantId) -> BoxFuture<'_, Result<AuditHead, StoreError>> {
        ready(read_head(&self.view, Key::of(tenant).as_slice())).boxed()
    }

    fn plugin(
        &self,
        tenant: &TenantId,
        plugin: &PluginName,
    ) -> BoxFuture<'_, Result<Option<InstalledRecord>, StoreError>> {
        ready(self.record(Table::Plugins, Key::of(tenant).plugin(plugin).as_slice())).boxed()
    }

    fn plugins(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Vec<InstalledRecord>, StoreError>> {
        self.list_all(Table::Plugins, tenant.clone()).boxed()
    }

    fn grant(&self, tenant: &TenantId, plugin: &PluginName) -> BoxFuture<'_, Result<Option<PluginGrant>, StoreError>> {
        ready(self.record(Table::Grants, Key::of(tenant).plugin(plugin).as_slice())).boxed()
    }

    fn secrets(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Vec<SealedSecret>, StoreError>> {
        self.list_all(Table::Secrets, tenant.clone()).boxed()
    }

    fn mcp_servers(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Vec<McpServer>, StoreError>> {
        self.list_all(Table::McpServers, tenant.clone()).boxed()
    }

    fn state(
        &self,
        tenant: &TenantId,
        plugin: &PluginName,
        key: &str,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        ready(self.view.get(Table::State, Key::of(tenant).plugin(plugin).last_text(key).as_slice())).boxed()
    }

    fn state_keys(
        &self,
        tenant: &TenantId,
        plugin: &PluginName,
        prefix: &str,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, usize)>, StoreError>> {
        self.list_state_keys(Key::of(tenant).plugin(plugin), prefix.to_owned(), limit).boxed()
    }

    fn delete_blob(&self, tenant: &TenantId, hash: ContentHash) -> BoxFuture<'_, Result<(), StoreError>> {
        let (blobs, tenant) = (self.blobs.clone(), tenant.clone());
        aside(move || blobs.delete(&tenant, hash)).boxed()
    }

    fn put_blob(&self, tenant: &TenantId, bytes: Bytes) -> BoxFuture<'_, Result<ContentHash, StoreError>> {
        let (blobs, tenant) = (self.blobs.clone(), tenant.clone());
        aside(move || blobs.put(&tenant, &bytes, None)).boxed()
    }

    fn put_blob_within(
        &self,
        tenant: &TenantId,
        bytes: Bytes,
        most: u64,
    ) -> BoxFuture<'_, Result<ContentHash, StoreError>> {
        let (blobs, tenant) = (self.blobs.clone(), tenant.clone());
        aside(move || blobs.put(&tenant, &bytes, Some(most))).boxed()
    }

    fn stored_bytes(&self, tenant: &TenantId) -> BoxFuture<'_, Result<u64, StoreError>> {
        let (blobs, tenant) = (self.blobs.clone(), tenant.clone());
        aside(move || blobs.stored(&tenant)).boxed()
    }

    fn blob(&self, tenant: &TenantId, hash: ContentHash) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let (blobs, tenant) = (self.blobs.clone(), tenant.clone());
        aside(move || blobs.get(&tenant, hash)).boxed()
    }

    fn api_key_by_hash(&self, hash: ContentHash) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>> {
        ready(self.one_api_key(hash)).boxed()
    }

    fn tenants_after(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<Tenant, TenantId>, StoreError>> {
        self.page_of_tenants(after.cloned(), limit).boxed()
    }

    fn tenants(&self) -> BoxFuture<'_, Result<Vec<Tenant>, StoreError>> {
        self.list_tenants().boxed()
    }

    fn unfinished_runs(&self) -> BoxFuture<'_, Result<Vec<(TenantId, Run)>, StoreError>> {
        self.list_unfinished().boxed()
    }

    fn check_writable(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        let probe = self.enqueue(Ok(Prepared::probe()));
        async move {
            probe.await?;
            // The journal takes writes; but if they can not leave it, it soon will not.
            self.trouble.get().map_or(Ok(()), |reason| Err(StoreError::Unavailable(reason)))
        }
        .boxed()
    }

    fn schema(&self) -> u32 {
        SCHEMA
    }

    fn backup(&self) -> BoxFuture<'_, Result<BackupPieces, StoreError>> {
        let source = Source {
            view: Arc::clone(&self.view),
            queue: Arc::clone(&self.queue),
            blobs: self.blobs.clone(),
            counters: Arc::clone(&self.counters),
            trouble: self.trouble.clone(),
            follower: self.follower.clone(),
        };
        aside(move || Ok(Box::new(Backup::begin(source)?) as BackupPieces)).boxed()
    }
}

impl Drop for SledStore {
    fn drop(&mut self) {
        self.queue.close();
        if let Some(writer) = self.writer.take() {
            let _ = writer.join();
        }
        // The writer is gone, so the settler ends after its last job; one that can not be done stays in the journal.
        drop(self.closing.take());
        if let Some(settler) = self.settler.take() {
            let _ = settler.join();
        }
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(work)
        .map_err(|error| StoreError::Unavailable(format!("the thread {name} can not be started: {error}")))
}

/// Does it on a task of its own: whoever asks for it may leave, and what is begun is finished.
async fn finished<T: Send + 'static>(
    removal: impl Future<Output = Result<T, StoreError>> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::spawn(removal).await {
        Ok(removed) => removed,
        Err(error) => Err(StoreError::Unavailable(format!("the removal was given up: {error}"))),
    }
}

/// Runs what reads or writes whole files on a thread that may block.
pub(crate) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(StoreError::Unavailable(format!("the work was given up: {error}"))),
    }
}
