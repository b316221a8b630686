//! What is kept: agents, sessions, runs and their events, tenants and keys, plugins. [`Store`] is the contract;
//! [`SledStore`] is the backend of one host. This crate knows no policy: who may do what, and for how long, is decided elsewhere.
//!
//! # How a batch gets to disk
//! ```text
//! commit() ── serialised, checksummed, in line ──▶ the writer: conditions, one journal record per group, ONE sync
//!                                                    │ then the readers see it, then the callers are answered
//!                                                    ▼
//!                          settled, on another thread: sorted and joined, into sled's trees, synced, noted
//! ```
//! sled alone was measured first, with commits of about four small records each and 64 MiB of cache (4 s each, 2 AMD EPYC
//! cores of a virtual machine, ext4 on virtio, 22 November 2026, with compilations running beside it: compare the lines):
//!
//! | groups of 32 commits | per group, p50 | processor time per commit |
//! |---|---|---|
//! | a transaction over the trees, `flush` | 1.0 ms | 36 us |
//! | one tree with prefixes, `apply_batch`, `flush` | 1.2 ms | 44 us |
//! | a transaction per commit, one `flush` | 3.0 ms | 133 us |
//! | plain inserts, `flush` (a crash could tear a group) | 1.0 ms | 38 us |
//! | plain inserts, nothing flushed | 0.7 ms | 28 us |
//! | a record at the end of a growing file, `fdatasync` | 0.3 to 4 ms | 4 to 8 us |
//! | **a record in a file that was filled with zeros before, `fdatasync`** | **0.14 ms** | **3.4 us** |
//!
//! A single commit took 0.17 to 0.21 ms and 200 to 250 us of processor time as a transaction of sled's, 0.11 ms and 60 us
//! in the journal. sled's `flush` wakes all threads of a pool and a transaction rolls its buffers twice more; and it calls
//! `sync_file_range`, which a power cut may undo. sled's `HighThroughput` mode and its background flusher made no
//! difference beyond the noise; the flusher is the only place where sled gets back space, so it stays on.
//!
//! So what a caller waits for is the journal alone, and what sled costs is paid later, on another thread, for records that
//! have mostly come to rest by then. The whole, as `examples/bench.rs` measures it, 64
//! callers with three commits per run, on the same busy machine (load 9 on 2 cores): 10,000 to 23,000 commits/s, 38 per
//! sync, p50 1.3 to 3.6 ms, 34 to 39 us of processor time per commit, of which the writer 13 and the settling 11 to 15.
//!
//! # How a list is read
//! Every list is an index of its own, kept by the writer in the batch that changes what is listed, and a page is a walk over
//! neighbouring keys. Agents, runs, documents and deliveries have ids that sort by time, so a page begins at an id. A
//! client may begin a page of sessions after so and so many of them: they stand in numbered places, and those that were
//! left empty are counted in stretches (the module `places`). Every filter of runs has an index, and several filters together
//! are what stands in all of theirs (the module `lists::runs`).
//!
//! # How sessions, runs and tenants go
//! First the door is closed, then it is emptied in pieces (the module `remove`): nobody sees half of it, nobody waits for
//! all of it, and a crash in between is made good by the next start. Blobs with a text that others may have are counted by
//! who refers to them.
mod audit;
mod backup;
mod batch;
mod blobs;
mod examine;
mod idempotency;
mod journal;
mod lists;
mod migrate;
mod open;
mod places;
mod queue;
mod record;
mod remove;
mod resolve;
mod restore;
mod settle;
mod sled_store;
mod table;
mod usage;
mod view;
mod writer;

pub use backup::{BackupPiece, BackupPieces};
pub use examine::Examined;
pub use idempotency::{IdempotencyRecord, KeptAnswer, MAX_KEPT_ANSWER, Made};
pub use open::{OpenReport, StoreOptions};
pub use restore::Restore;
pub use sled_store::SledStore;

use bytes::Bytes;
use futures::future::BoxFuture;
use vivarium_domain::{
    Agent, AgentId, ApiKey, AuditBy, AuditEntry, AuditHead, AuditNote, ContentHash, CorpusDocument, Date, Delivery,
    DocumentId, InstalledRecord, McpServer, McpServerName, PluginGrant, PluginName, Run, RunId, RunStatus,
    SealedSecret, SecretName, Session, SessionId, SessionMessage, SessionSummary, Subject, Team, TeamId, Tenant,
    TenantId, Timestamp, UsageEntry, Used,
};

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A condition of a batch did not hold; nothing of the batch was written.
    #[error("the write was refused: {0:?} does not hold")]
    ConditionFailed(Condition),
    /// The batch itself can not be written, whatever the store holds: too large, or of another tenant.
    #[error("the write was refused: {0}")]
    Refused(String),
    /// An answer is too large to be kept for the repeats of its request; nothing of the batch was written.
    #[error("an answer of {bytes} bytes is not kept for repeats; the most is {MAX_KEPT_ANSWER}")]
    AnswerTooLarge {
        /// The size of its body.
        bytes: usize,
    },
    /// More would be kept of the tenant than it may have; nothing was written.
    #[error(
        "{wanted} bytes more do not fit: {used} are kept of {most} that may be; delete what is not needed any more"
    )]
    Full {
        /// The most.
        most: u64,
        /// What is kept.
        used: u64,
        /// What was to be kept.
        wanted: u64,
    },
    /// The disk refused: full, read-only, broken.
    #[error("the store can not be written or read: {0}")]
    Unavailable(String),
    /// What was read is not what was written.
    #[error("the store is damaged: {0}")]
    Corrupt(String),
}

/// What must hold when a batch is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    /// The idempotency key stands for nothing, or for an answer whose time is over.
    IdempotencyKeyUnused(String),
    /// The run's next event has this number. Holds for every [`Write::AppendEvents`] by itself: a log is appended to,
    /// without gaps, and nothing in it is written twice.
    NextEvent {
        /// The run.
        run: RunId,
        /// The number.
        seq: u64,
    },
    /// The agent is there in this version; 0: there is no such agent. Holds for every [`Write::PutAgent`] by itself, with
    /// the version before the one that is written.
    AgentVersion {
        /// The agent.
        agent: AgentId,
        /// The version.
        version: u64,
    },
    /// No other agent of the tenant has this name. Holds for every [`Write::PutAgent`] by itself.
    AgentNameFree(String),
    /// There is such a session. Holds for every [`Write::ChangeSession`] by itself.
    SessionExists(SessionId),
    /// There is no such session, and nothing of one that is being removed. Holds for every [`Write::EnsureSession`] and
    /// [`Write::AppendMessages`] by itself where they would have to make the session and it is not yet wholly removed,
    /// or where its time is over: it must be deleted first.
    SessionAbsent(SessionId),
    /// There is such a run. Holds for every [`Write::PutDelivery`] by itself.
    RunExists(RunId),
    /// There is such a tenant, and it is not being removed. Holds for its removal by itself.
    TenantExists(TenantId),
    /// There is no such tenant, and nothing of one that is being removed.
    TenantAbsent(TenantId),
}

/// One write.
#[derive(Debug, Clone)]
pub enum Write {
    /// Creates or replaces a run's record.
    PutRun(Box<Run>),
    /// Appends to a run's log. Each event is its JSON, serialised once.
    AppendEvents {
        /// The run.
        run: RunId,
        /// The first event's number; the others follow.
        first_seq: u64,
        /// The events.
        events: Vec<Bytes>,
    },
    /// Makes an agent, or its next version; the versions before stay.
    PutAgent(Box<Agent>),
    /// Removes an agent and all its versions, if it is there. Its sessions and runs stay.
    DeleteAgent(AgentId),
    /// Makes the session, without messages, if there is none of its id. One that is there is left as it is, but for the
    /// time of its last use, which is the given one's; unless its own time was over by then: then the write is refused with
    /// [`Condition::SessionAbsent`], because what is made now is another session, and the old one must be deleted first.
    EnsureSession(Box<Session>),
    /// Changes a session, unless its time was over by then.
    ChangeSession {
        /// The session.
        session: SessionId,
        /// Its new title, if it gets one; none: it has none from now on.
        title: Option<Option<String>>,
        /// When.
        at: Timestamp,
    },
    /// Creates or replaces a team.
    PutTeam(Team),
    /// Creates or replaces a document's record; its text is a blob.
    PutDocument(Box<CorpusDocument>),
    /// Removes a document's record. Its text stays.
    DeleteDocument(DocumentId),
    /// Creates or replaces the record of a delivery, by its run, which must be there.
    PutDelivery(Box<Delivery>),
    /// Appends to a session's history; makes the session if there is none. What was begun in time is appended also when
    /// the session's time is over by then, and the session goes on.
    AppendMessages {
        /// The session.
        session: SessionId,
        /// The messages.
        messages: Vec<SessionMessage>,
    },
    /// Keeps what stands for the oldest messages of a session, in place of what stood for them before, if the session is there
    /// and holds as many messages.
    SummarizeSession {
        /// The session.
        session: SessionId,
        /// What stands for them.
        summary: Box<SessionSummary>,
    },
    /// Remembers an idempotency key, in place of what it stood for.
    PutIdempotency {
        /// The key, as the client sent it.
        key: String,
        /// What it stands for.
        record: IdempotencyRecord,
    },
    /// Creates or replaces the record of the batch's tenant; or that of another one whose presence or absence is a condition
    /// of the batch.
    PutTenant(Tenant),
    /// Creates or replaces an API key's record, found by the key's SHA-256; one of another tenant's than the batch's, if that
    /// tenant's presence is a condition of the batch. When it was used last is not part of what is written.
    PutApiKey {
        /// SHA-256 of the key's text.
        hash: ContentHash,
        /// Its record.
        key: ApiKey,
    },
    /// Removes an API key's record.
    DeleteApiKey(ContentHash),
    /// An API key was used, if it is there.
    UseApiKey {
        /// SHA-256 of the key's text.
        hash: ContentHash,
        /// When it was used last.
        at: Timestamp,
    },
    /// Adds an entry to a chain of the audit log: the number and the hashes are the writer's.
    Audit {
        /// Whose chain; none: that of the batch's tenant.
        chain: Option<TenantId>,
        /// What is told.
        note: Box<AuditNote>,
    },
    /// Creates or replaces what is installed under a plugin's name.
    PutPlugin(Box<InstalledRecord>),
    /// Removes a plugin's record. Its grant and its state stay; components are blobs.
    DeletePlugin(PluginName),
    /// Creates or replaces a plugin's grant.
    PutGrant {
        /// The plugin.
        plugin: PluginName,
        /// What it may do.
        grant: Box<PluginGrant>,
    },
    /// Removes a plugin's grant.
    DeleteGrant(PluginName),
    /// Creates or replaces a secret.
    PutSecret(SealedSecret),
    /// Removes a secret.
    DeleteSecret(SecretName),
    /// Creates or replaces a remote server of tools.
    PutMcpServer(Box<McpServer>),
    /// Removes a remote server of tools.
    DeleteMcpServer(McpServerName),
    /// Sets a value of a plugin's state. At most [`MAX_STATE_VALUE`] bytes.
    PutState {
        /// The plugin.
        plugin: PluginName,
        /// The key, at most [`MAX_STATE_KEY`] bytes.
        key: String,
        /// The value.
        value: Bytes,
    },
    /// Removes a value of a plugin's state.
    DeleteState {
        /// The plugin.
        plugin: PluginName,
        /// The key.
        key: String,
    },
    /// Adds to what was used on a day.
    CountUsage {
        /// The day, in UTC.
        day: Date,
        /// How much more, by whom and for what.
        more: Box<UsageEntry>,
    },
}

/// The longest key of a plugin's state, in bytes.
pub const MAX_STATE_KEY: usize = 256;

/// The largest value of a plugin's state, in bytes: one that a tree keeps in one piece.
pub const MAX_STATE_VALUE: usize = 56 << 10;

/// Writes that are done together or not at all.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// What must hold.
    pub conditions: Vec<Condition>,
    /// What is written.
    pub writes: Vec<Write>,
}

impl Batch {
    /// Both, as one.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.conditions.extend(other.conditions);
        self.writes.extend(other.writes);
        self
    }
}

impl From<Write> for Batch {
    fn from(write: Write) -> Self {
        Self { conditions: Vec::new(), writes: vec![write] }
    }
}

/// Which runs to list.
#[derive(Debug, Clone, Default)]
pub struct RunFilter {
    /// Only those with this status. One that is not terminal means all runs that have not ended: where these are is known to
    /// whoever runs them, and not to the store.
    pub status: Option<RunStatus>,
    /// Only those of this session.
    pub session: Option<SessionId>,
    /// Only those of this agent.
    pub agent: Option<AgentId>,
    /// Only those made at this time or later.
    pub created_from: Option<Timestamp>,
    /// Only those made before this time.
    pub created_before: Option<Timestamp>,
    /// Only those made before this one.
    pub before: Option<RunId>,
    /// At most so many.
    pub limit: usize,
}

/// Which runs that have ended to find, those first that ended first.
#[derive(Debug, Clone, Default)]
pub struct EndedFilter {
    /// Only those of this tenant; none: of all, tenant by tenant.
    pub tenant: Option<TenantId>,
    /// Only those that ended before this time.
    pub before: Option<Timestamp>,
    /// Only those whose log was not removed.
    pub with_log: bool,
    /// At most so many.
    pub limit: usize,
}

/// Some of a list, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Page<T, C> {
    /// The items.
    pub items: Vec<T>,
    /// Where the next page begins; none: this is the last one. There may be a next page even where this one is short: a
    /// page looks a bounded number of times, and whoever lists may leave items out.
    pub next: Option<C>,
}

/// Which agents to list.
#[derive(Debug, Clone, Default)]
pub struct AgentFilter {
    /// Only those of this team.
    pub team: Option<TeamId>,
    /// Only those made before this one.
    pub before: Option<AgentId>,
    /// At most so many.
    pub limit: usize,
}

/// Where a page of sessions begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionStart {
    /// With the newest.
    #[default]
    Newest,
    /// After so many of the newest.
    Skip(u64),
    /// Where a page before it said that the next one begins.
    Cursor(u64),
}

/// Which sessions to list.
#[derive(Debug, Clone, Default)]
pub struct SessionFilter {
    /// Only those with this agent.
    pub agent: Option<AgentId>,
    /// Where the page begins.
    pub start: SessionStart,
    /// At most so many.
    pub limit: usize,
}

/// What keeps the host's data. Every method takes a tenant, and reaches nothing of another, but for these: a key is found by
/// its hash before its tenant is known, start-up looks through the tenants, their unfinished runs and their pending
/// deliveries, and whoever tidies up asks for all sessions whose time is over and all runs that have ended.
pub trait Store: Send + Sync + 'static {
    /// Writes a batch: atomically, and on disk when the future is done. The batch takes its place in line when this is
    /// *called*, not when the future is polled: batches become visible and durable in the order of the calls. Concurrent
    /// batches share a flush.
    fn commit(&self, tenant: &TenantId, batch: Batch) -> BoxFuture<'static, Result<(), StoreError>>;

    /// One run.
    fn run(&self, tenant: &TenantId, run: RunId) -> BoxFuture<'_, Result<Option<Run>, StoreError>>;

    /// Runs, newest first.
    fn runs(&self, tenant: &TenantId, filter: RunFilter) -> BoxFuture<'_, Result<Page<Run, RunId>, StoreError>>;

    /// One agent, in its current version.
    fn agent(&self, tenant: &TenantId, agent: AgentId) -> BoxFuture<'_, Result<Option<Agent>, StoreError>>;

    /// The agent of this name.
    fn agent_by_name(&self, tenant: &TenantId, name: &str) -> BoxFuture<'_, Result<Option<Agent>, StoreError>>;

    /// Agents in their current versions, newest first.
    fn agents(&self, tenant: &TenantId, filter: AgentFilter)
    -> BoxFuture<'_, Result<Page<Agent, AgentId>, StoreError>>;

    /// An agent as it was in one version.
    fn agent_version(
        &self,
        tenant: &TenantId,
        agent: AgentId,
        version: u64,
    ) -> BoxFuture<'_, Result<Option<Agent>, StoreError>>;

    /// An agent's versions below `before` (none: all), newest first, the current one included.
    fn agent_versions(
        &self,
        tenant: &TenantId,
        agent: AgentId,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<Agent, u64>, StoreError>>;

    /// Sessions, those first that were made last. One whose time is over is listed until it is deleted.
    fn sessions(
        &self,
        tenant: &TenantId,
        filter: SessionFilter,
    ) -> BoxFuture<'_, Result<Page<Session, u64>, StoreError>>;

    /// How many sessions there are: all, or those with an agent.
    fn count_sessions(&self, tenant: &TenantId, agent: Option<AgentId>) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Messages of a session from number `first` on, oldest first, at most `limit`.
    fn messages_from(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        first: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionMessage>, StoreError>>;

    /// Removes a session, its messages with their attachments, its runs with their events, deliveries, idempotency keys
    /// and the texts of their sources that no other run and no document refers to. On disk when the future is done; from
    /// when it is begun on nothing of it is found, and it is finished also when nobody waits for it, or after a crash.
    /// False: there is no such session. Whoever deletes sees to it that no run of the session goes on writing.
    /// The audit log is told of it on behalf of `by`, in the batch that begins it.
    fn delete_session(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        by: &AuditBy,
    ) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Removes runs that have ended, with their events, deliveries, idempotency keys and the texts of their sources that
    /// nobody else refers to. Their messages stay in their sessions, and the files that came with them go with these. On
    /// disk when the future is done, and finished also when nobody waits for it. Gives how many there were; others, and
    /// those that have not ended, are left. The audit log is told of it on behalf of `by`, in the batches that do it.
    fn delete_runs(
        &self,
        tenant: &TenantId,
        runs: Vec<RunId>,
        by: &AuditBy,
    ) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// Removes the events of runs that have ended, and the texts of their sources that nobody else refers to; their records
    /// say from then on that this was done at `at`. Otherwise as [`Store::delete_runs`].
    fn delete_logs(
        &self,
        tenant: &TenantId,
        runs: Vec<RunId>,
        at: Timestamp,
        by: &AuditBy,
    ) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// Runs that have ended.
    fn ended_runs(&self, filter: EndedFilter) -> BoxFuture<'_, Result<Vec<(TenantId, RunId)>, StoreError>>;

    /// How many runs of the tenant have ended.
    fn count_ended_runs(&self, tenant: &TenantId) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// Begins to remove a tenant: it is not found among the tenants any more, and nothing is written or kept for it. On disk
    /// when the future is done, with an entry in the operator's chain of the audit log that says how the tenant's own ended.
    /// False: there is no such tenant.
    fn close_tenant(&self, tenant: &TenantId, by: &AuditBy) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Removes all that is left of a tenant that was closed, whoever still refers to it: a tenant of the same id can be made
    /// after it. What a crash interrupts must be asked for again.
    fn delete_closed_tenant(&self, tenant: &TenantId) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The tenants that were closed and are not removed yet.
    fn closed_tenants(&self) -> BoxFuture<'_, Result<Vec<TenantId>, StoreError>>;

    /// Sessions whose time was over at `now`, at most `limit`; of each tenant the oldest first.
    fn expired_sessions(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(TenantId, SessionId)>, StoreError>>;

    /// The tenant's teams, by number; without the team that every tenant has, unless it was written.
    fn teams(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Vec<Team>, StoreError>>;

    /// One document's record.
    fn document(
        &self,
        tenant: &TenantId,
        document: DocumentId,
    ) -> BoxFuture<'_, Result<Option<CorpusDocument>, StoreError>>;

    /// The records of a collection's documents made before `before`, newest first.
    fn documents(
        &self,
        tenant: &TenantId,
        corpus: &str,
        before: Option<DocumentId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<CorpusDocument, DocumentId>, StoreError>>;

    /// The delivery of a run's end.
    fn delivery(&self, tenant: &TenantId, run: RunId) -> BoxFuture<'_, Result<Option<Delivery>, StoreError>>;

    /// Deliveries of runs made before `before`, newest first.
    fn deliveries(
        &self,
        tenant: &TenantId,
        before: Option<RunId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<Delivery, RunId>, StoreError>>;

    /// All deliveries that are pending: what start-up must go on with.
    fn pending_deliveries(&self) -> BoxFuture<'_, Result<Vec<(TenantId, Delivery)>, StoreError>>;

    /// A run's events with numbers above `after`, in order, at most `limit`: number and JSON.
    fn events(
        &self,
        tenant: &TenantId,
        run: RunId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(u64, Bytes)>, StoreError>>;

    /// The number of a run's last event; 0: it has none.
    fn last_event(&self, tenant: &TenantId, run: RunId) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// One session.
    fn session(&self, tenant: &TenantId, session: &SessionId) -> BoxFuture<'_, Result<Option<Session>, StoreError>>;

    /// The last `limit` messages of a session, oldest first.
    fn messages(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<SessionMessage>, StoreError>>;

    /// What an idempotency key stands for; nothing where its time is over.
    fn idempotency(&self, tenant: &TenantId, key: &str)
    -> BoxFuture<'_, Result<Option<IdempotencyRecord>, StoreError>>;

    /// Forgets kept answers whose time was over at `now`, at most `limit`; of each tenant the oldest first. Gives how many.
    fn forget_answers(&self, now: Timestamp, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// What was used from one day to another, both included: an entry for each day, user and purpose, by day.
    fn usage(
        &self,
        tenant: &TenantId,
        from: Date,
        to: Date,
    ) -> BoxFuture<'_, Result<Vec<(Date, UsageEntry)>, StoreError>>;

    /// What the tenant, one of its keys or one of its agents has used on each day from one to another, both included; days on
    /// which it has used nothing are left out.
    fn used(
        &self,
        tenant: &TenantId,
        subject: Subject,
        from: Date,
        to: Date,
    ) -> BoxFuture<'_, Result<Vec<(Date, Used)>, StoreError>>;

    /// Forgets what was used before a day, in at most `limit` records. Gives how many they were.
    fn forget_usage(&self, before: Date, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>>;

    /// The tenant's own record.
    fn tenant(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Option<Tenant>, StoreError>>;

    /// The tenant's keys, by their hashes.
    fn api_keys(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Vec<(ContentHash, ApiKey)>, StoreError>>;

    /// Entries of a tenant's chain of the audit log with numbers below `before` (none: all), newest first. The operator's chain
    /// is that of [`TenantId::operator`].
    fn audit(
        &self,
        tenant: &TenantId,
        before: Option<u64>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<AuditEntry, u64>, StoreError>>;

    /// Entries of the same chain with numbers above `after`, oldest first, at most `limit`.
    fn audit_from(
        &self,
        tenant: &TenantId,
        after: u64,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<AuditEntry, u64>, StoreError>>;

    /// What is noted as the end of the same chain.
    fn audit_head(&self, tenant: &TenantId) -> BoxFuture<'_, Result<AuditHead, StoreError>>;

    /// What is installed under a plugin's name.
    fn plugin(
        &self,
        tenant: &TenantId,
        plugin: &PluginName,
    ) -> BoxFuture<'_, Result<Option<InstalledRecord>, StoreError>>;

    /// All that the tenant has installed, by name.
    fn plugins(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Vec<InstalledRecord>, StoreError>>;

    /// What a plugin is granted.
    fn grant(&self, tenant: &TenantId, plugin: &PluginName) -> BoxFuture<'_, Result<Option<PluginGrant>, StoreError>>;

    /// The tenant's secrets, by name.
    fn secrets(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Vec<SealedSecret>, StoreError>>;

    /// The tenant's remote servers of tools, by name.
    fn mcp_servers(&self, tenant: &TenantId) -> BoxFuture<'_, Result<Vec<McpServer>, StoreError>>;

    /// A value of a plugin's state.
    fn state(
        &self,
        tenant: &TenantId,
        plugin: &PluginName,
        key: &str,
    ) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>>;

    /// The keys of a plugin's state that begin with `prefix`, in order, at most `limit`, each with its value's size in
    /// bytes.
    fn state_keys(
        &self,
        tenant: &TenantId,
        plugin: &PluginName,
        prefix: &str,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(String, usize)>, StoreError>>;

    /// Keeps a text or a file under its hash, outside the tree store. On disk when the future is done.
    fn put_blob(&self, tenant: &TenantId, bytes: Bytes) -> BoxFuture<'_, Result<ContentHash, StoreError>>;

    /// The same, unless all that is kept of the tenant in this way would have more than `most` bytes together then:
    /// [`StoreError::Full`].
    fn put_blob_within(
        &self,
        tenant: &TenantId,
        bytes: Bytes,
        most: u64,
    ) -> BoxFuture<'_, Result<ContentHash, StoreError>>;

    /// How many bytes all blobs of a tenant have together. The first look since the store was opened goes through its folder.
    fn stored_bytes(&self, tenant: &TenantId) -> BoxFuture<'_, Result<u64, StoreError>>;

    /// What was kept under a hash, checked against it.
    fn blob(&self, tenant: &TenantId, hash: ContentHash) -> BoxFuture<'_, Result<Option<Bytes>, StoreError>>;

    /// Removes what was kept under a hash. What is not there is removed already.
    fn delete_blob(&self, tenant: &TenantId, hash: ContentHash) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The key whose text has this SHA-256, and through it the tenant.
    fn api_key_by_hash(&self, hash: ContentHash) -> BoxFuture<'_, Result<Option<ApiKey>, StoreError>>;

    /// Tenants in the order of their ids' lengths and then of their ids, those behind `after`, at most `limit`.
    fn tenants_after(
        &self,
        after: Option<&TenantId>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Page<Tenant, TenantId>, StoreError>>;

    /// All tenants.
    fn tenants(&self) -> BoxFuture<'_, Result<Vec<Tenant>, StoreError>>;

    /// All runs that have not ended: what start-up must take care of.
    fn unfinished_runs(&self) -> BoxFuture<'_, Result<Vec<(TenantId, Run)>, StoreError>>;

    /// Whether a small write reaches the disk now.
    fn check_writable(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    /// The form of what is kept, as a backup of it must say.
    fn schema(&self) -> u32;

    /// Begins a backup of everything that all tenants have, while batches go on: as it is at one moment while the records are
    /// taken, and no earlier than now. Only one can be under way; another is [`StoreError::Refused`].
    fn backup(&self) -> BoxFuture<'_, Result<BackupPieces, StoreError>>;
}
