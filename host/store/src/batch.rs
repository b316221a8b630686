//! The caller's share of a batch: everything that does not depend on what the store holds, such as serialising, hashing
//! and checksums. What does depend on it is left to the writer, as steps ([`crate::resolve`]).

use bytes::Bytes;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use vivarium_domain::{
    Agent, AgentId, ApiKey, AuditNote, ContentHash, CorpusDocument, Delivery, DeliveryStatus, DocumentId,
    KeptAttachment, Run, RunId, Session, SessionId, SessionMessage, SessionSummary, TeamId, TenantId, Timestamp,
    UsageEntry,
};

use crate::audit::{self, Noted};
use crate::idempotency;
use crate::record::{self, Op};
use crate::table::{Key, Place, Table, last_number};
use crate::usage;
use crate::{Batch, Condition, MAX_STATE_KEY, MAX_STATE_VALUE, StoreError, Write};

/// The largest batch: far more than a run ever appends at once, and far below what a record's length field holds.
const LARGEST_BATCH: usize = 64 << 20;

/// About what a record without long texts takes, in bytes.
const SMALL: usize = 1024;

/// A batch as far as its caller could bring it.
pub(crate) struct Prepared {
    /// Whose it is, as the key of its record; none: the store's own, which is written also of a tenant that is being removed.
    pub(crate) tenant: Option<Bytes>,
    pub(crate) conditions: Vec<Check>,
    pub(crate) steps: Vec<Step>,
    pub(crate) bytes: usize,
}

/// A condition, and where to look.
pub(crate) enum Check {
    IdempotencyKeyUnused { key: Bytes, text: String },
    NextEvent { log: Bytes, run: RunId, seq: u64 },
    AgentVersion { key: Bytes, agent: AgentId, version: u64 },
    AgentNameFree { key: Bytes, name: String },
    Session { key: Bytes, session: SessionId, exists: bool },
    RunExists { key: Bytes, run: RunId },
    Tenant { key: Bytes, tenant: TenantId, exists: bool },
}

/// A write, as far as it can be done without knowing what is stored.
pub(crate) enum Step {
    /// Needs nothing of what is stored.
    Write(Op),
    /// The writes of an idempotency key, and its key for the conditions of later batches.
    Idempotency { key: Bytes, op: Op },
    /// The end of a kept answer, by its idempotency key and by the key of [`Table::AnswerExpiries`], if its time was over then.
    ForgetAnswer { key: Bytes, expiry: Bytes, now: Timestamp },
    /// These blobs are referred to, as keys of [`Table::BlobUses`]; by a session alone, so that nobody counts who does.
    Refer { blobs: Vec<Bytes> },
    /// The record of a run, and its key for later batches.
    Run { key: Bytes, op: Op },
    /// A run has ended.
    RunEnded(EndedRun),
    /// A run goes.
    RunGone(GoneRun),
    /// The log of a run that has ended goes: its places in [`Table::EndedRuns`] before and after, and what is written if it
    /// is there.
    LogGone { places: [Bytes; 2], ops: Vec<Op> },
    /// The record of a tenant, and its key for later batches.
    Tenant { key: Bytes, op: Op },
    /// Writes about an API key, by its key in [`Table::TenantApiKeys`], to be done if it is there.
    OfApiKey { key: Bytes, ops: Vec<Op> },
    /// Nothing is written any more of the tenant with this key, or it may be again.
    TenantClosed { key: Bytes, closed: bool },
    /// The writes of some events, to be done if `first` is the log's next number; and the blobs that they refer to, as keys
    /// of [`Table::BlobUses`].
    Events { log: Bytes, run: RunId, first: u64, count: u64, ops: Vec<Op>, blobs: Vec<Bytes> },
    /// The writes of a delivery, to be done if its run is there.
    Delivery { key: Bytes, run: RunId, ops: Vec<Op> },
    /// What happens to a session.
    Session { tenant: TenantId, session: SessionId, change: SessionChange },
    /// An agent's next version.
    Agent(Box<NextAgent>),
    /// The end of an agent.
    AgentGone { tenant: TenantId, agent: AgentId },
    /// A note for the audit log.
    Audit(Noted),
    /// A document's record; none: its end.
    Document { tenant: TenantId, document: DocumentId, record: Option<Box<CorpusDocument>> },
    /// More of what was used, for each record that counts it.
    Used { more: Vec<(Bytes, UsageEntry)> },
}

/// A run that has ended: its tenant's key, and its place in [`Table::EndedRuns`].
pub(crate) struct EndedRun {
    pub(crate) tenant: Bytes,
    pub(crate) place: Bytes,
}

/// A run that goes, as far as the writer must know it.
pub(crate) struct GoneRun {
    /// Its tenant's key.
    pub(crate) tenant: Bytes,
    /// Its own.
    pub(crate) key: Bytes,
    /// Where it may stand in [`Table::EndedRuns`].
    pub(crate) places: [Bytes; 2],
    /// The session that its files go with, if it is there.
    pub(crate) session: Option<Bytes>,
    /// The files that came with it.
    pub(crate) files: Vec<ContentHash>,
}

/// What happens to a session.
pub(crate) enum SessionChange {
    /// It is made, or used.
    Ensure(Box<Session>),
    /// It is changed.
    Change { title: Option<Option<String>>, at: Timestamp },
    /// Messages, which get their numbers from the session's record.
    Append { first_at: Timestamp, last_at: Timestamp, messages: Vec<Bytes> },
    /// Something stands for its oldest messages.
    Summarize(Box<SessionSummary>),
    /// It goes out of all lists, and what it holds is about to be removed.
    Close,
}

/// An agent's next version, and what the store must know of it.
pub(crate) struct NextAgent {
    pub(crate) tenant: TenantId,
    pub(crate) agent: AgentId,
    pub(crate) version: u64,
    pub(crate) name: String,
    pub(crate) team: TeamId,
    pub(crate) ops: Vec<Op>,
}

/// Does the caller's share of a batch.
pub(crate) fn prepare(tenant: &TenantId, batch: Batch) -> Result<Prepared, StoreError> {
    let key = Some(Key::of(tenant).into_bytes());
    let mut prepared = Prepared { tenant: key, conditions: Vec::new(), steps: Vec::new(), bytes: 0 };
    for write in &batch.writes {
        own(tenant, write, &batch.conditions)?;
    }
    for condition in batch.conditions {
        prepared.conditions.push(check(tenant, condition));
    }
    for write in batch.writes {
        prepare_write(tenant, write, &mut prepared.steps)?;
    }
    prepared.bytes = prepared.steps.iter().map(Step::bytes).sum();
    if prepared.bytes > LARGEST_BATCH {
        let bytes = prepared.bytes;
        return Err(StoreError::Refused(format!("a batch may have {LARGEST_BATCH} bytes, this one has {bytes}")));
    }
    Ok(prepared)
}

impl Prepared {
    /// A batch without writes: goes to disk like any other.
    pub(crate) fn probe() -> Self {
        Self::of_steps(Vec::new())
    }

    /// Takes a session out of all lists, and marks it as one that is being removed.
    pub(crate) fn closing(tenant: &TenantId, session: &SessionId, note: AuditNote) -> Self {
        let change = SessionChange::Close;
        let close = Step::Session { tenant: tenant.clone(), session: session.clone(), change };
        Self::of_steps(vec![close, audit::noted(tenant, note)])
    }

    /// Takes a tenant out of all tenants, and marks it as one that is being removed.
    pub(crate) fn closing_tenant(tenant: &TenantId, note: AuditNote) -> Self {
        let key = Key::of(tenant).into_bytes();
        let mut ops = vec![Op::delete(Table::Tenants, key.clone())];
        record::put(&mut ops, Table::TenantRemovals, key.clone(), b"");
        let mut steps: Vec<_> = ops.into_iter().map(Step::Write).collect();
        steps.push(Step::TenantClosed { key: key.clone(), closed: true });
        steps.push(audit::tenant_gone(tenant, note));
        let conditions = vec![Check::Tenant { key, tenant: tenant.clone(), exists: true }];
        Self { conditions, ..Self::of_steps(steps) }
    }

    /// Takes the mark away that a tenant is being removed.
    pub(crate) fn opening_tenant(tenant: &TenantId) -> Self {
        let key = Key::of(tenant).into_bytes();
        let gone = Step::Write(Op::delete(Table::TenantRemovals, key.clone()));
        Self::of_steps(vec![gone, Step::TenantClosed { key, closed: false }])
    }

    /// Writes that need nothing of what is stored.
    pub(crate) fn of_ops(ops: Vec<Op>) -> Self {
        Self::of_steps(ops.into_iter().map(Step::Write).collect())
    }

    pub(crate) fn of_steps(steps: Vec<Step>) -> Self {
        let bytes = steps.iter().map(Step::bytes).sum();
        Self { tenant: None, conditions: Vec::new(), steps, bytes }
    }
}

impl Step {
    fn bytes(&self) -> usize {
        let of_op = |op: &Op| op.key.len() + op.value.as_ref().map_or(0, Bytes::len) + 16;
        match self {
            Self::Write(op) | Self::Idempotency { op, .. } | Self::Run { op, .. } | Self::Tenant { op, .. } => {
                of_op(op)
            }
            Self::Events { ops, .. } | Self::LogGone { ops, .. } | Self::OfApiKey { ops, .. } => {
                ops.iter().map(of_op).sum()
            }
            Self::Agent(next) => next.ops.iter().map(of_op).sum(),
            Self::Delivery { ops, .. } => ops.iter().map(of_op).sum(),
            Self::Session { change: SessionChange::Append { messages, .. }, .. } => {
                messages.iter().map(|message| message.len() + 128).sum()
            }
            Self::Document { record: Some(record), .. } => SMALL + record.metadata.len() * SMALL,
            Self::Used { more } => more.len() * SMALL,
            Self::Refer { .. } | Self::RunEnded(_) | Self::TenantClosed { .. } => 0,
            Self::RunGone(gone) => (gone.files.len() + 1) * SMALL,
            Self::Audit(_)
            | Self::Session { .. }
            | Self::AgentGone { .. }
            | Self::Document { .. }
            | Self::ForgetAnswer { .. } => SMALL,
        }
    }
}

fn check(tenant: &TenantId, condition: Condition) -> Check {
    let key = Key::of(tenant);
    let session_is = |session: SessionId, exists| {
        let key = Key::of(tenant).session(&session).into_bytes();
        Check::Session { key, session, exists }
    };
    match condition {
        Condition::IdempotencyKeyUnused(text) => {
            Check::IdempotencyKeyUnused { key: key.client_text(&text).into_bytes(), text }
        }
        Condition::NextEvent { run, seq } => Check::NextEvent { log: key.run(run).into_bytes(), run, seq },
        Condition::AgentVersion { agent, version } => {
            Check::AgentVersion { key: key.agent(agent).into_bytes(), agent, version }
        }
        Condition::AgentNameFree(name) => Check::AgentNameFree { key: key.client_text(&name).into_bytes(), name },
        Condition::SessionExists(session) => session_is(session, true),
        Condition::SessionAbsent(session) => session_is(session, false),
        Condition::RunExists(run) => Check::RunExists { key: key.run(run).into_bytes(), run },
        Condition::TenantExists(tenant) => Check::Tenant { key: Key::of(&tenant).into_bytes(), tenant, exists: true },
        Condition::TenantAbsent(tenant) => Check::Tenant { key: Key::of(&tenant).into_bytes(), tenant, exists: false },
    }
}

fn prepare_write(tenant: &TenantId, write: Write, steps: &mut Vec<Step>) -> Result<(), StoreError> {
    let mut ops = Vec::new();
    let of_session =
        |session: SessionId, change: SessionChange| Step::Session { tenant: tenant.clone(), session, change };
    match write {
        Write::PutRun(run) => prepare_run(tenant, &run, steps)?,
        Write::AppendEvents { run, first_seq, events } => {
            steps.extend(prepare_events(tenant, run, first_seq, &events));
        }
        Write::EnsureSession(session) => steps.push(of_session(session.id.clone(), SessionChange::Ensure(session))),
        Write::ChangeSession { session, title, at } => {
            steps.push(of_session(session, SessionChange::Change { title, at }));
        }
        Write::AppendMessages { session, messages } => {
            steps.extend(messages.iter().filter_map(|one| prepare_attachments(tenant, one.run_id, &one.attachments)));
            steps.extend(prepare_messages(&messages)?.map(|change| of_session(session, change)));
        }
        Write::SummarizeSession { session, summary } => {
            steps.push(of_session(session, SessionChange::Summarize(summary)));
        }
        Write::PutIdempotency { key, record } => idempotency::prepare(tenant, &key, &record, steps)?,
        Write::PutTenant(value) => {
            let key = Key::of(&value.id).into_bytes();
            record::put(&mut ops, Table::Tenants, key.clone(), &json(&value)?);
            steps.extend(ops.drain(..).map(|op| Step::Tenant { key: key.clone(), op }));
        }
        Write::PutApiKey { hash, key } => {
            let (global, key) = (Bytes::copy_from_slice(hash.as_bytes()), ApiKey { last_used_at: None, ..key });
            record::put(&mut ops, Table::ApiKeys, global, &json(&key)?);
            record::put(&mut ops, Table::TenantApiKeys, Key::of(&key.tenant).hash(&hash).into_bytes(), b"");
        }
        Write::DeleteApiKey(hash) => {
            let (key, global) = (Key::of(tenant).hash(&hash).into_bytes(), Bytes::copy_from_slice(hash.as_bytes()));
            let lists = [Table::TenantApiKeys, Table::KeyUses].map(|table| Op::delete(table, key.clone()));
            let ops = lists.into_iter().chain([Op::delete(Table::ApiKeys, global)]).collect();
            steps.push(Step::OfApiKey { key, ops });
        }
        Write::UseApiKey { hash, at } => {
            let key = Key::of(tenant).hash(&hash).into_bytes();
            record::put(&mut ops, Table::KeyUses, key.clone(), &at.as_microsecond().to_be_bytes());
            steps.push(Step::OfApiKey { key, ops: std::mem::take(&mut ops) });
        }
        Write::PutAgent(agent) => steps.push(Step::Agent(Box::new(prepare_agent(tenant, &agent)?))),
        Write::DeleteAgent(agent) => steps.push(Step::AgentGone { tenant: tenant.clone(), agent }),
        Write::PutTeam(team) => {
            record::put(&mut ops, Table::Teams, Key::of(tenant).team(team.id).into_bytes(), &json(&team)?);
        }
        Write::PutDocument(record) => {
            steps.push(Step::Document { tenant: tenant.clone(), document: record.id, record: Some(record) });
        }
        Write::DeleteDocument(document) => {
            steps.push(Step::Document { tenant: tenant.clone(), document, record: None });
        }
        Write::Audit { chain, note } => steps.push(audit::noted(chain.as_ref().unwrap_or(tenant), *note)),
        Write::PutDelivery(delivery) => steps.push(prepare_delivery(tenant, &delivery)?),
        Write::CountUsage { day, more } => steps.push(Step::Used { more: usage::counted_by(tenant, day, *more)? }),
        other => prepare_plugin_write(tenant, other, &mut ops)?,
    }
    steps.extend(ops.into_iter().map(Step::Write));
    Ok(())
}

fn prepare_run(tenant: &TenantId, run: &Run, steps: &mut Vec<Step>) -> Result<(), StoreError> {
    let (mut ops, key) = (Vec::with_capacity(4), Key::of(tenant).run(run.id).into_bytes());
    record::put(&mut ops, Table::Runs, key.clone(), &json(run)?);
    steps.extend(ops.drain(..).map(|op| Step::Run { key: key.clone(), op }));
    steps.extend(prepare_attachments(tenant, run.id, &run.settings.attachments));
    // A run that leaves nothing in any session is found by itself alone, and no session's removal takes it away.
    if !run.stateless {
        let of_session = Key::of(tenant).session(&run.session_id).run(run.id).into_bytes();
        record::put(&mut ops, Table::SessionRuns, of_session, b"");
    }
    if let Some(agent) = &run.agent {
        record::put(&mut ops, Table::AgentRuns, Key::of(tenant).agent(agent.id).run(run.id).into_bytes(), b"");
    }
    if run.status.is_terminal() {
        ops.push(Op::delete(Table::Unfinished, key));
        let place = ended_place(tenant, run, run.log_removed_at.is_some());
        record::put(&mut ops, Table::EndedRuns, place.clone(), b"");
        record::put(&mut ops, Table::StatusRuns, Key::of(tenant).status(run.status).run(run.id).into_bytes(), b"");
        steps.push(Step::RunEnded(EndedRun { tenant: Key::of(tenant).into_bytes(), place }));
    } else {
        record::put(&mut ops, Table::Unfinished, key, b"");
    }
    steps.extend(ops.into_iter().map(Step::Write));
    Ok(())
}

/// Where a run stands in [`Table::EndedRuns`] once it has ended, with its log or without.
pub(crate) fn ended_place(tenant: &TenantId, run: &Run, log_removed: bool) -> Bytes {
    let list = Key::of(tenant).ended_list(log_removed);
    list.time(run.ended_at.unwrap_or(run.created_at)).run(run.id).into_bytes()
}

fn prepare_attachments(tenant: &TenantId, run: RunId, attachments: &[KeptAttachment]) -> Option<Step> {
    let blobs: Vec<_> =
        attachments.iter().map(|kept| Key::of(tenant).hash(&kept.content).run(run).into_bytes()).collect();
    (!blobs.is_empty()).then_some(Step::Refer { blobs })
}

fn prepare_messages(messages: &[SessionMessage]) -> Result<Option<SessionChange>, StoreError> {
    let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return Ok(None) };
    let (first_at, last_at) = (first.at, last.at);
    let messages = messages.iter().map(|message| Ok(json(message)?.into())).collect::<Result<_, StoreError>>()?;
    Ok(Some(SessionChange::Append { first_at, last_at, messages }))
}

fn prepare_agent(tenant: &TenantId, agent: &Agent) -> Result<NextAgent, StoreError> {
    if agent.version == 0 {
        return Err(StoreError::Refused("an agent's versions begin with 1, this one has version 0".to_owned()));
    }
    let (mut ops, key, value) = (Vec::new(), Key::of(tenant).agent(agent.id), json(agent)?);
    record::put(&mut ops, Table::AgentVersions, key.clone().number(agent.version).into_bytes(), &value);
    record::put(&mut ops, Table::Agents, key.into_bytes(), &value);
    let (name, team) = (agent.config.name.clone(), agent.config.team);
    Ok(NextAgent { tenant: tenant.clone(), agent: agent.id, version: agent.version, name, team, ops })
}

fn prepare_delivery(tenant: &TenantId, delivery: &Delivery) -> Result<Step, StoreError> {
    let (mut ops, key) = (Vec::new(), Key::of(tenant).run(delivery.run_id).into_bytes());
    record::put(&mut ops, Table::Deliveries, key.clone(), &json(delivery)?);
    if delivery.status == DeliveryStatus::Pending {
        record::put(&mut ops, Table::PendingDeliveries, key.clone(), b"");
    } else {
        ops.push(Op::delete(Table::PendingDeliveries, key.clone()));
    }
    Ok(Step::Delivery { key, run: delivery.run_id, ops })
}

/// The writes that plugins are made of.
fn prepare_plugin_write(tenant: &TenantId, write: Write, ops: &mut Vec<Op>) -> Result<(), StoreError> {
    let key = Key::of(tenant);
    match write {
        Write::PutPlugin(record) => {
            record::put(ops, Table::Plugins, key.plugin(&record.name).into_bytes(), &json(&record)?);
        }
        Write::DeletePlugin(name) => ops.push(Op::delete(Table::Plugins, key.plugin(&name).into_bytes())),
        Write::PutGrant { plugin, grant } => {
            record::put(ops, Table::Grants, key.plugin(&plugin).into_bytes(), &json(&grant)?);
        }
        Write::DeleteGrant(name) => ops.push(Op::delete(Table::Grants, key.plugin(&name).into_bytes())),
        Write::PutSecret(secret) => {
            record::put(ops, Table::Secrets, key.secret(&secret.name).into_bytes(), &json(&secret)?);
        }
        Write::DeleteSecret(name) => ops.push(Op::delete(Table::Secrets, key.secret(&name).into_bytes())),
        Write::PutMcpServer(server) => {
            record::put(ops, Table::McpServers, key.mcp_server(&server.name).into_bytes(), &json(&server)?);
        }
        Write::DeleteMcpServer(name) => ops.push(Op::delete(Table::McpServers, key.mcp_server(&name).into_bytes())),
        Write::PutState { plugin, key: name, value } => {
            if name.len() > MAX_STATE_KEY || value.len() > MAX_STATE_VALUE {
                return Err(StoreError::Refused(format!(
                    "a state's key may have {MAX_STATE_KEY} bytes and its value {MAX_STATE_VALUE}, these have {} and {}",
                    name.len(),
                    value.len()
                )));
            }
            record::put(ops, Table::State, key.plugin(&plugin).last_text(&name).into_bytes(), &value);
        }
        Write::DeleteState { plugin, key: name } => {
            ops.push(Op::delete(Table::State, key.plugin(&plugin).last_text(&name).into_bytes()));
        }
        Write::PutRun(_)
        | Write::AppendEvents { .. }
        | Write::AppendMessages { .. }
        | Write::SummarizeSession { .. }
        | Write::PutIdempotency { .. }
        | Write::PutTenant(_)
        | Write::PutAgent(_)
        | Write::DeleteAgent(_)
        | Write::EnsureSession(_)
        | Write::ChangeSession { .. }
        | Write::PutTeam(_)
        | Write::PutDocument(_)
        | Write::DeleteDocument(_)
        | Write::PutDelivery(_)
        | Write::Audit { .. }
        | Write::CountUsage { .. }
        | Write::PutApiKey { .. }
        | Write::DeleteApiKey(_)
        | Write::UseApiKey { .. } => {}
    }
    Ok(())
}

fn prepare_events(tenant: &TenantId, run: RunId, first: u64, events: &[Bytes]) -> Option<Step> {
    let log = Key::of(tenant).run(run);
    let mut ops = Vec::new();
    let (mut number, mut rest) = (first, events);
    while !rest.is_empty() {
        let (payload, count) = record::list::pack(rest);
        record::put(&mut ops, Table::Events, log.clone().number(number).into_bytes(), &payload);
        number = number.saturating_add(count as u64);
        rest = rest.get(count..).unwrap_or_default();
    }
    let uses = events.iter().filter_map(|event| blob_of(event)).map(|blob| Key::of(tenant).hash(&blob).run(run));
    let blobs: Vec<_> = uses.map(Key::into_bytes).collect();
    for blob in &blobs {
        record::put(&mut ops, Table::BlobUses, blob.clone(), b"");
    }
    (!events.is_empty()).then(|| Step::Events {
        log: log.into_bytes(),
        run,
        first,
        count: events.len() as u64,
        ops,
        blobs,
    })
}

/// The blob that an event refers to: the text of a source. The type is the third field of an event, and no client has a
/// say in those before it: looking there spares reading every event as JSON.
pub(crate) fn blob_of(event: &[u8]) -> Option<ContentHash> {
    const TYPE: &[u8] = b"\"type\":\"source.added\"";
    let beginning = event.get(..event.len().min(128))?;
    if !beginning.windows(TYPE.len()).any(|window| window == TYPE) {
        return None;
    }
    #[derive(Deserialize)]
    struct Added {
        source: Text,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Text {
        content_hash: ContentHash,
    }
    serde_json::from_slice::<Added>(event).ok().map(|added| added.source.content_hash)
}

/// A batch of one tenant writes nothing of another, but for what an operator makes: tenants and their keys, where the batch
/// says whether it takes the tenant to be there.
fn own(tenant: &TenantId, write: &Write, conditions: &[Condition]) -> Result<(), StoreError> {
    let (other, what, is_said) = match write {
        Write::PutTenant(value) => (&value.id, "a tenant's record", said_of(&value.id, conditions)),
        Write::PutApiKey { key, .. } => {
            (&key.tenant, "an API key", conditions.contains(&Condition::TenantExists(key.tenant.clone())))
        }
        _ => return Ok(()),
    };
    if tenant == other || is_said {
        return Ok(());
    }
    Err(StoreError::Refused(format!("a batch of tenant {tenant} can not write {what} of tenant {other}")))
}

fn said_of(tenant: &TenantId, conditions: &[Condition]) -> bool {
    conditions.iter().any(|condition| match condition {
        Condition::TenantExists(said) | Condition::TenantAbsent(said) => said == tenant,
        _ => false,
    })
}

pub(crate) fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value)
        .map_err(|error| StoreError::Refused(format!("a record can not be written as JSON: {error}")))
}

/// Reads a record's JSON.
pub(crate) fn from_json<T: DeserializeOwned>(table: Table, key: &[u8], payload: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(payload)
        .map_err(|error| StoreError::Corrupt(format!("{}: the record does not read: {error}", Place(table, key))))
}

/// The events or messages of one record, and the first one's number.
pub(crate) fn list_of(table: Table, key: &[u8], payload: &Bytes) -> Result<(u64, Vec<Bytes>), StoreError> {
    last_number(key)
        .zip(record::list::unpack(payload))
        .ok_or_else(|| StoreError::Corrupt(format!("{}: the list does not come apart", Place(table, key))))
}
