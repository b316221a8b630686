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
    Agent, AgentId, ApiKey, ContentHash, CorpusDocument, Delivery, DocumentId, InstalledRecord, PluginGrant,
    PluginName, Run, RunId, RunStatus, SealedSecret, Session, SessionId, SessionMessage, Team, Tenant, TenantId,
    Timestamp,
};

use crate::batch::{Prepared, from_json, list_of, prepare};
use crate::blobs::Blobs;
use crate::open::{self, OpenReport, Opened, StoreOptions};
use crate::queue::{Queue, closed};
use crate::settle::{Settler, Trouble};
use crate::table::{Key, Place, Range, Table, last_run, split_tenant};
use crate::view::{Direction, PIECE, View};
use crate::writer::{Counters, Writer};
use crate::{AgentFilter, Batch, IdempotencyRecord, Page, RunFilter, SessionFilter, Store, StoreError};

/// The store of one host: sled's trees behind a journal. Only one may be open on a folder; a second is refused.
///
/// Dropping it finishes what is in line, brings the journal into the trees and blocks until that is on disk: up to some
/// hundred milliseconds after heavy load. Futures of `commit` may outlive it.
pub struct SledStore {
    queue: Arc<Queue>,
    view: Arc<View>,
    blobs: Blobs,
    trouble: Trouble,
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
        let Opened { trees, disk, blobs, journal, generation, spare, .. } = opened;
        let journal_bytes = options.journal_bytes;
        let view = Arc::new(View::new(trees));
        let (queue, counters, trouble) = (Arc::new(Queue::default()), Arc::default(), Trouble::default());
        let (jobs, jobs_taken) = mpsc::channel();
        let (free, free_taken) = mpsc::channel();
        let (closing, is_closing) = mpsc::channel();
        let settler = Settler {
            view: Arc::clone(&view),
            disk,
            trouble: trouble.clone(),
            journal_bytes,
            jobs: jobs_taken,
            free,
            closing: is_closing,
        };
        let writer = Writer {
            queue: Arc::clone(&queue),
            view: Arc::clone(&view),
            journal,
            journal_bytes,
            generation,
            jobs,
            free: free_taken,
            trouble: trouble.clone(),
            counters: Arc::clone(&counters),
        };
        let settler = spawn("store-settler", move || settler.run(&spare))?;
        let writer = spawn("store-writer", move || writer.run())?;
        Ok(Self {
            queue,
            view,
            blobs,
            trouble,
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

    fn enqueue(&self, prepared: Result<Prepared, StoreError>) -> BoxFuture<'static, Result<(), StoreError>> {
        match prepared.and_then(|prepared| self.queue.push(prepared)) {
            Ok(receipt) => async move { receipt.await.unwrap_or_else(|_| Err(closed())) }.boxed(),
            Err(error) => ready(Err(error)).boxed(),
        }
    }

    fn record<T: DeserializeOwned>(&self, table: Table, key: &[u8]) -> Result<Option<T>, StoreError> {
        let payload = self.view.get(table, key)?;
        payload.map(|payload| from_json(table, key, &payload)).transpose()
    }

    /// Calls `each` with the records of a range, until it says stop. Yields between the pieces, so that a long walk does
    /// not hold up the worker that it runs on.
    async fn walk(
        &self,
        table: Table,
        mut range: Range,
        direction: Direction,
        mut each: impl FnMut(Bytes, Bytes) -> Result<Walk, StoreError>,
    ) -> Result<(), StoreError> {
        loop {
            let piece = self.view.walk(table, &range, direction, PIECE)?;
            let Some((last, _)) = piece.last().filter(|_| piece.len() == PIECE) else {
                for (key, payload) in piece {
                    if each(key, payload)? == Walk::Stop {
                        break;
                    }
                }
                return Ok(());
            };
            range = match direction {
                Direction::Forward => range.after(last),
                Direction::Backward => range.before(last),
            };
            for (key, payload) in piece {
                if each(key, payload)? == Walk::Stop {
                    return Ok(());
                }
            }
            tokio::task::yield_now().await;
        }
    }

    async fn list_runs(&self, tenant: TenantId, filter: RunFilter) -> Result<Page<Run, RunId>, StoreError> {
        let mut found = Vec::new();
        if filter.limit == 0 {
            return Ok(Page { items: found, next: None });
        }
        // The smallest index that holds all that can match.
        let (table, prefix) = match (&filter.session, filter.status) {
            (Some(session), _) => (Table::SessionRuns, Key::of(&tenant).session(session)),
            (None, Some(status)) if !status.is_terminal() => (Table::Unfinished, Key::of(&tenant)),
            _ => (Table::Runs, Key::of(&tenant)),
        };
        let mut range = Range::prefix(prefix.as_slice());
        if let Some(before) = filter.before {
            range = range.before(prefix.run(before).as_slice());
        }
        self.walk(table, range, Direction::Backward, |key, payload| {
            let run = match table {
                Table::Runs => Some(from_json(table, &key, &payload)?),
                _ => self.indexed_run(&tenant, table, &key)?,
            };
            found.extend(run.filter(|run: &Run| filter.status.is_none_or(|status| run.status == status)));
            Ok(if found.len() < filter.limit { Walk::On } else { Walk::Stop })
        })
        .await?;
        let next = found.last().filter(|_| found.len() == filter.limit).map(|run| run.id);
        Ok(Page { items: found, next })
    }

    /// The run that an index names. None: it was written between the index's piece and now, and is no longer in it.
    fn indexed_run(&self, tenant: &TenantId, table: Table, key: &[u8]) -> Result<Option<Run>, StoreError> {
        let run =
            last_run(key).ok_or_else(|| StoreError::Corrupt(format!("{}: there is no run", Place(table, key))))?;
        self.record(Table::Runs, Key::of(tenant).run(run).as_slice())
    }

    async fn list_events(
        &self,
        tenant: TenantId,
        run: RunId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let mut found = Vec::new();
        let log = Key::of(&tenant).run(run);
        let Some(mut next) = after.checked_add(1) else { return Ok(found) };
        while found.len() < limit {
            let begun = next;
            let key = log.clone().number(next);
            let piece = self.view.walk_list(Table::Events, log.as_slice(), key.as_slice(), limit - found.len())?;
            for (key, payload) in piece {
                let (first, events) = list_of(Table::Events, &key, &payload)?;
                found.extend((first..).zip(events).skip_while(|(number, _)| *number < next).take(limit - found.len()));
                next = found.last().map_or(next, |(number, _)| number.saturating_add(1));
            }
            if next == begun {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    async fn last_messages(
        &self,
        tenant: TenantId,
        session: SessionId,
        limit: usize,
    ) -> Result<Vec<SessionMessage>, StoreError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let range = Range::prefix(Key::of(&tenant).session(&session).as_slice());
        self.walk(Table::Messages, range, Direction::Backward, |key, payload| {
            let (_, messages) = list_of(Table::Messages, &key, &payload)?;
            for message in messages.iter().rev().take(limit - found.len()) {
                found.push(from_json(Table::Messages, &key, message)?);
            }
            Ok(if found.len() < limit { Walk::On } else { Walk::Stop })
        })
        .await?;
        found.reverse();
        Ok(found)
    }

    async fn list_api_keys(&self, tenant: TenantId) -> Result<Vec<(ContentHash, ApiKey)>, StoreError> {
        let mut found = Vec::new();
        let range = Range::prefix(Key::of(&tenant).as_slice());
        self.walk(Table::TenantApiKeys, range, Direction::Forward, |key, _| {
            let no_hash = || StoreError::Corrupt(format!("{}: there is no hash", Place(Table::TenantApiKeys, &key)));
            let hash = *key.last_chunk::<32>().ok_or_else(no_hash)?;
            if let Some(record) = self.record(Table::ApiKeys, &hash)? {
                found.push((ContentHash::from(hash), record));
            }
            Ok(Walk::On)
        })
        .await?;
        Ok(found)
    }

    /// All records of a table that are this tenant's, by key.
    async fn list_all<T: DeserializeOwned>(&self, table: Table, tenant: TenantId) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        let range = Range::prefix(Key::of(&tenant).as_slice());
        self.walk(table, range, Direction::Forward, |key, payload| {
            found.push(from_json(table, &key, &payload)?);
            Ok(Walk::On)
        })
        .await?;
        Ok(found)
    }

    async fn list_state_keys(
        &self,
        space: Key,
        prefix: String,
        limit: usize,
    ) -> Result<Vec<(String, usize)>, StoreError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let start = space.as_slice().len();
        let range = Range::prefix(space.last_text(&prefix).as_slice());
        self.walk(Table::State, range, Direction::Forward, |key, payload| {
            let name = key.get(start..).and_then(|name| std::str::from_utf8(name).ok());
            let no_text = || StoreError::Corrupt(format!("{}: its name is no text", Place(Table::State, &key)));
            found.push((name.ok_or_else(no_text)?.to_owned(), payload.len()));
            Ok(if found.len() < limit { Walk::On } else { Walk::Stop })
        })
        .await?;
        Ok(found)
    }

    async fn list_tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let mut found = Vec::new();
        self.walk(Table::Tenants, Range::prefix(b""), Direction::Forward, |key, payload| {
            found.push(from_json(Table::Tenants, &key, &payload)?);
            Ok(Walk::On)
        })
        .await?;
        Ok(found)
    }

    async fn list_unfinished(&self) -> Result<Vec<(TenantId, Run)>, StoreError> {
        let mut found = Vec::new();
        self.walk(Table::Unfinished, Range::prefix(b""), Direction::Forward, |key, _| {
            let no_tenant = || StoreError::Corrupt(format!("{}: there is no tenant", Place(Table::Unfinished, &key)));
            let (tenant, _) = split_tenant(&key).ok_or_else(no_tenant)?;
            let run = self.indexed_run(&tenant, Table::Unfinished, &key)?;
            found.extend(run.filter(|run| !RunStatus::is_terminal(run.status)).map(|run| (tenant, run)));
            Ok(Walk::On)
        })
        .await?;
        Ok(found)
    }
}

/// Whether a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Walk {
    On,
    Stop,
}

impl Store for SledStore {
    fn commit(&self, tenant: &TenantId, batch: Batch) -> BoxFuture<'static, Result<(), StoreError>> {
        self.enqueue(prepare(tenant, batch))
    }

    fn run(&self, tenant: &TenantId, run: RunId) -> BoxFuture<'_, Result<Option<Run>, StoreError>> {
        ready(self.record(Table::Runs, Key::of(tenant).run(run).as_slice())).boxed()
    }

    fn runs(&self, tenant: &TenantId, filter: RunFilter) -> BoxFuture<'_, Result<Page<Run, RunId>, StoreError>> {
        self.list_runs(tenant.clone(), filter).boxed()
    }

    fn agent(&self, _tenant: &TenantId, _agent: AgentId) -> BoxFuture<'_, Result<Option<Agent>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn agent_by_name(&self, _tenant: &TenantId, _name: &str) -> BoxFuture<'_, Result<Option<Agent>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn agents(
        &self,
        _tenant: &TenantId,
        _filter: AgentFilter,
    ) -> BoxFuture<'_, Result<Page<Agent, AgentId>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn agent_version(
        &self,
        _tenant: &TenantId,
        _agent: AgentId,
        _version: u64,
    ) -> BoxFuture<'_, Result<Option<Agent>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn agent_versions(
        &self,
        _tenant: &TenantId,
        _agent: AgentId,
        _before: Option<u64>,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Page<Agent, u64>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn sessions(
        &self,
        _tenant: &TenantId,
        _filter: SessionFilter,
    ) -> BoxFuture<'_, Result<Page<Session, u64>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn count_sessions(&self, _tenant: &TenantId, _agent: Option<AgentId>) -> BoxFuture<'_, Result<u64, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn messages_from(
        &self,
        _tenant: &TenantId,
        _session: &SessionId,
        _first: u64,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionMessage>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn delete_session(&self, _tenant: &TenantId, _session: &SessionId) -> BoxFuture<'_, Result<bool, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn expired_sessions(
        &self,
        _now: Timestamp,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(TenantId, SessionId)>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn teams(&self, _tenant: &TenantId) -> BoxFuture<'_, Result<Vec<Team>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn document(
        &self,
        _tenant: &TenantId,
        _document: DocumentId,
    ) -> BoxFuture<'_, Result<Option<CorpusDocument>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn documents(
        &self,
        _tenant: &TenantId,
        _corpus: &str,
        _before: Option<DocumentId>,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Page<CorpusDocument, DocumentId>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn delivery(&self, _tenant: &TenantId, _run: RunId) -> BoxFuture<'_, Result<Option<Delivery>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn deliveries(
        &self,
        _tenant: &TenantId,
        _before: Option<RunId>,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Page<Delivery, RunId>, StoreError>> {
        ready(Err(not_built())).boxed()
    }

    fn pending_deliveries(&self) -> BoxFuture<'_, Result<Vec<(TenantId, Delivery)>, StoreError>> {
        ready(Err(not_built())).boxed()
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

    fn session(&self, tenant: &TenantId, session: &SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>> {
        ready(self.record(Table::Sessions, Key::of(tenant).session(session).as_slice())).boxed()
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
        ready(self.record(Table::Idempotency, Key::of(tenant).client_text(key).as_slice())).boxed()
    }

    fn tenant(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Option<Tenant>, StoreError>> {
        ready(self.record(Table::Tenants, Key::of(tenant).as_slice())).boxed()
    }

    fn api_keys(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Vec<(ContentHash, ApiKey)>, StoreError>> {
        self.list_api_keys(tenant.clone()).boxed()
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
        aside(move || blobs.put(&tenant, &bytes)).boxed()
    }

    fn blob(&self, tenant: &TenantId, hash: ContentHash) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>> {
        let (blobs, tenant) = (self.blobs.clone(), tenant.clone());
        aside(move || blobs.get(&tenant, hash)).boxed()
    }

    fn api_key_by_hash(&self, hash: ContentHash) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>> {
        ready(self.record(Table::ApiKeys, hash.as_bytes())).boxed()
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

fn not_built() -> StoreError {
    StoreError::Unavailable("not built yet".to_owned())
}

/// Runs what reads or writes whole files on a thread that may block.
async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(StoreError::Unavailable(format!("the work was given up: {error}"))),
    }
}
