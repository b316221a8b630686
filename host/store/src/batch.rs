//! A batch, from what the caller said to what is written. Everything that does not depend on what the store holds is done
//! by the caller's thread ([`prepare`]): serialising, hashing, checksums. The rest is done by the writer, one batch after
//! the other ([`Resolver`]): conditions, the numbers of messages, the check that a log has no gaps.

use std::collections::HashMap;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use vivarium_domain::{RunId, Session, SessionId, TenantId, Timestamp};

use crate::record::{self, Op};
use crate::table::{Key, Place, Range, Table, last_number};
use crate::view::{Direction, View};
use crate::{Batch, Condition, MAX_STATE_KEY, MAX_STATE_VALUE, StoreError, Write};

/// The largest batch: far more than a run ever appends at once, and far below what a record's length field holds.
const LARGEST_BATCH: usize = 64 << 20;
/// How many runs' last numbers are kept at hand.
const KNOWN_RUNS: usize = 1 << 16;

/// A batch as far as its caller could bring it.
pub(crate) struct Prepared {
    conditions: Vec<Check>,
    steps: Vec<Step>,
    pub(crate) bytes: usize,
}

/// A condition, and where to look.
enum Check {
    IdempotencyKeyUnused { key: Bytes, text: String },
    NextEvent { log: Bytes, run: RunId, seq: u64 },
    NotBuilt(Condition),
}

enum Step {
    /// Needs nothing of what is stored.
    Write(Op),
    /// The writes of an idempotency key, and its key for the conditions of later batches.
    Idempotency { key: Bytes, op: Op },
    /// The writes of some events, to be done if `first` is the log's next number.
    Events { log: Bytes, run: RunId, first: u64, count: u64, ops: Vec<Op> },
    /// Messages that get their numbers from the session's record.
    Messages { tenant: TenantId, session: SessionId, first_at: Timestamp, last_at: Timestamp, messages: Vec<Bytes> },
}

/// Does the caller's share of a batch.
pub(crate) fn prepare(tenant: &TenantId, batch: Batch) -> Result<Prepared, StoreError> {
    let mut prepared = Prepared { conditions: Vec::new(), steps: Vec::new(), bytes: 0 };
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
        Self { conditions: Vec::new(), steps: Vec::new(), bytes: 0 }
    }
}

impl Step {
    fn bytes(&self) -> usize {
        let of_op = |op: &Op| op.key.len() + op.value.as_ref().map_or(0, Bytes::len) + 16;
        match self {
            Self::Write(op) | Self::Idempotency { op, .. } => of_op(op),
            Self::Events { ops, .. } => ops.iter().map(of_op).sum(),
            Self::Messages { messages, .. } => messages.iter().map(|message| message.len() + 128).sum(),
        }
    }
}

fn check(tenant: &TenantId, condition: Condition) -> Check {
    match condition {
        Condition::IdempotencyKeyUnused(text) => {
            Check::IdempotencyKeyUnused { key: Key::of(tenant).client_text(&text).into_bytes(), text }
        }
        Condition::AgentVersion { .. }
        | Condition::AgentNameFree(_)
        | Condition::SessionExists(_)
        | Condition::SessionAbsent(_) => Check::NotBuilt(condition),
        Condition::NextEvent { run, seq } => Check::NextEvent { log: Key::of(tenant).run(run).into_bytes(), run, seq },
    }
}

fn prepare_write(tenant: &TenantId, write: Write, steps: &mut Vec<Step>) -> Result<(), StoreError> {
    let mut ops = Vec::new();
    match write {
        Write::PutRun(run) => {
            let key = Key::of(tenant).run(run.id).into_bytes();
            record::put(&mut ops, Table::Runs, key.clone(), &json(&run)?);
            let of_session = Key::of(tenant).session(&run.session_id).run(run.id).into_bytes();
            record::put(&mut ops, Table::SessionRuns, of_session, b"");
            if run.status.is_terminal() {
                ops.push(Op::delete(Table::Unfinished, key));
            } else {
                record::put(&mut ops, Table::Unfinished, key, b"");
            }
        }
        Write::AppendEvents { run, first_seq, events } => {
            steps.extend(prepare_events(tenant, run, first_seq, &events));
        }
        Write::AppendMessages { session, messages } => {
            let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return Ok(()) };
            let (first_at, last_at) = (first.at, last.at);
            let messages =
                messages.iter().map(|message| Ok(json(message)?.into())).collect::<Result<_, StoreError>>()?;
            steps.push(Step::Messages { tenant: tenant.clone(), session, first_at, last_at, messages });
        }
        Write::PutIdempotency { key, record: value } => {
            let key = Key::of(tenant).client_text(&key).into_bytes();
            record::put(&mut ops, Table::Idempotency, key.clone(), &json(&value)?);
            steps.extend(ops.drain(..).map(|op| Step::Idempotency { key: key.clone(), op }));
        }
        Write::PutTenant(value) => {
            own(tenant, &value.id, "a tenant's record")?;
            record::put(&mut ops, Table::Tenants, Key::of(tenant).into_bytes(), &json(&value)?);
        }
        Write::PutApiKey { hash, key } => {
            own(tenant, &key.tenant, "an API key")?;
            let global = Bytes::copy_from_slice(hash.as_bytes());
            record::put(&mut ops, Table::ApiKeys, global, &json(&key)?);
            record::put(&mut ops, Table::TenantApiKeys, Key::of(tenant).hash(&hash).into_bytes(), b"");
        }
        other => prepare_plugin_write(tenant, other, &mut ops)?,
    }
    steps.extend(ops.into_iter().map(Step::Write));
    Ok(())
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
        | Write::PutApiKey { .. } => {}
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
    (!events.is_empty()).then(|| Step::Events { log: log.into_bytes(), run, first, count: events.len() as u64, ops })
}

/// A batch of one tenant writes nothing of another.
fn own(tenant: &TenantId, other: &TenantId, what: &str) -> Result<(), StoreError> {
    if tenant == other {
        return Ok(());
    }
    Err(StoreError::Refused(format!("a batch of tenant {tenant} can not write {what} of tenant {other}")))
}

fn json<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    serde_json::to_vec(value)
        .map_err(|error| StoreError::Refused(format!("a record can not be written as JSON: {error}")))
}

/// Reads a record's JSON.
pub(crate) fn from_json<T: DeserializeOwned>(table: Table, key: &[u8], payload: &[u8]) -> Result<T, StoreError> {
    serde_json::from_slice(payload)
        .map_err(|error| StoreError::Corrupt(format!("{}: the record does not read: {error}", Place(table, key))))
}

/// What the batches of a group so far have made true, though it is not readable yet.
#[derive(Default)]
struct Facts {
    idempotency: HashMap<Bytes, ()>,
    sessions: HashMap<Bytes, Session>,
    last_events: HashMap<Bytes, u64>,
}

impl Facts {
    fn absorb(&mut self, other: Self) {
        self.idempotency.extend(other.idempotency);
        self.sessions.extend(other.sessions);
        self.last_events.extend(other.last_events);
    }
}

/// Does the writer's share: one batch after the other, each seeing what those before it did.
pub(crate) struct Resolver<'a> {
    view: &'a View,
    group: Facts,
    /// The last numbers of logs that were written lately: the only fact that is asked for over and over.
    known: HashMap<Bytes, u64>,
}

impl<'a> Resolver<'a> {
    pub(crate) fn new(view: &'a View) -> Self {
        Self { view, group: Facts::default(), known: HashMap::new() }
    }

    /// The writes of a batch, or why it can not be done. In that case it leaves no trace.
    pub(crate) fn resolve(&mut self, prepared: Prepared) -> Result<Vec<Op>, StoreError> {
        let mut batch = Facts::default();
        for condition in &prepared.conditions {
            self.check(&batch, condition)?;
        }
        let mut ops = Vec::with_capacity(prepared.steps.len());
        for step in prepared.steps {
            self.step(&mut batch, step, &mut ops)?;
        }
        self.group.absorb(batch);
        Ok(ops)
    }

    /// The group is readable now.
    pub(crate) fn published(&mut self) {
        let Facts { last_events, .. } = std::mem::take(&mut self.group);
        if self.known.len() > KNOWN_RUNS {
            self.known.clear();
        }
        self.known.extend(last_events);
    }

    /// The group was not written.
    pub(crate) fn forget(&mut self) {
        self.group = Facts::default();
    }

    fn check(&self, batch: &Facts, condition: &Check) -> Result<(), StoreError> {
        let (holds, condition) = match condition {
            Check::IdempotencyKeyUnused { key, text } => {
                let used = self.group.idempotency.contains_key(key) || self.view.contains(Table::Idempotency, key)?;
                (!used, Condition::IdempotencyKeyUnused(text.clone()))
            }
            Check::NextEvent { log, run, seq } => {
                (self.is_next_event(batch, log, *seq)?, Condition::NextEvent { run: *run, seq: *seq })
            }
            Check::NotBuilt(condition) => (false, condition.clone()),
        };
        if holds { Ok(()) } else { Err(StoreError::ConditionFailed(condition)) }
    }

    fn step(&self, batch: &mut Facts, step: Step, ops: &mut Vec<Op>) -> Result<(), StoreError> {
        match step {
            Step::Write(op) => ops.push(op),
            Step::Idempotency { key, op } => {
                batch.idempotency.insert(key, ());
                ops.push(op);
            }
            Step::Events { log, run, first, count, ops: events } => {
                self.check(batch, &Check::NextEvent { log: log.clone(), run, seq: first })?;
                batch.last_events.insert(log, first.saturating_add(count - 1));
                ops.extend(events);
            }
            Step::Messages { tenant, session, first_at, last_at, messages } => {
                let key = Key::of(&tenant).session(&session);
                let fresh = Session::new(session, first_at);
                let mut session = self.session(batch, key.as_slice())?.unwrap_or(fresh);
                session.touch(last_at);
                let mut rest = messages.as_slice();
                while !rest.is_empty() {
                    let at = key.clone().number(session.messages).into_bytes();
                    let (payload, count) = record::list::pack(rest);
                    record::put(ops, Table::Messages, at, &payload);
                    session.messages += count as u64;
                    rest = rest.get(count..).unwrap_or_default();
                }
                let key = key.into_bytes();
                record::put(ops, Table::Sessions, key.clone(), &json(&session)?);
                batch.sessions.insert(key, session);
            }
        }
        Ok(())
    }

    fn session(&self, batch: &Facts, key: &[u8]) -> Result<Option<Session>, StoreError> {
        if let Some(session) = batch.sessions.get(key).or_else(|| self.group.sessions.get(key)) {
            return Ok(Some(session.clone()));
        }
        let stored = self.view.get(Table::Sessions, key)?;
        stored.map(|payload| from_json(Table::Sessions, key, &payload)).transpose()
    }

    fn is_next_event(&self, batch: &Facts, log: &Bytes, seq: u64) -> Result<bool, StoreError> {
        let known = [&batch.last_events, &self.group.last_events, &self.known];
        if let Some(last) = known.iter().find_map(|facts| facts.get(log)) {
            return Ok(last.checked_add(1) == Some(seq));
        }
        // Most logs that are not known begin here, and a look for one key is cheaper than one for the last of many.
        if seq == 1 {
            let first = [log, 1_u64.to_be_bytes().as_slice()].concat();
            return Ok(!self.view.contains(Table::Events, &first)?);
        }
        let stored = self.view.walk(Table::Events, &Range::prefix(log), Direction::Backward, 1)?.pop();
        let Some((key, payload)) = stored else { return Ok(false) };
        let (first, events) = list_of(Table::Events, &key, &payload)?;
        Ok(first.checked_add(events.len() as u64) == Some(seq))
    }
}

/// The events or messages of one record, and the first one's number.
pub(crate) fn list_of(table: Table, key: &[u8], payload: &Bytes) -> Result<(u64, Vec<Bytes>), StoreError> {
    last_number(key)
        .zip(record::list::unpack(payload))
        .ok_or_else(|| StoreError::Corrupt(format!("{}: the list does not come apart", Place(table, key))))
}
