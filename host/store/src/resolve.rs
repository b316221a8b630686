//! The writer's share of a batch: what depends on what the store holds. One batch after the other, each seeing what those
//! before it did: conditions, the numbers of messages, the check that a log has no gaps, the places of sessions in lists
//! ([`sessions`]), the names of agents ([`records`]), the count of runs ([`runs`]).

mod records;
mod runs;
mod sessions;
mod usage;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use vivarium_domain::{AgentId, RunId, UsageEntry};

use crate::audit;
use crate::batch::{Check, Prepared, Step, list_of};
use crate::places::Head;
use crate::record::{self, Op};
use crate::table::{Range, Table};
use crate::view::{Direction, View};
use crate::{Condition, StoreError};

pub(crate) use records::agent_id;
pub(crate) use sessions::KeptSession;

/// How many runs' last numbers are kept at hand.
const KNOWN_RUNS: usize = 1 << 16;

/// What batches have made true, though it is not readable yet. A value of none: it is gone.
#[derive(Default)]
struct Facts {
    idempotency: HashSet<Bytes>,
    last_events: HashMap<Bytes, u64>,
    /// Runs that are there; false: that are gone.
    runs: HashMap<Bytes, bool>,
    /// Places of runs that have ended; false: they were left.
    ended: HashMap<Bytes, bool>,
    /// How many runs of a tenant have ended.
    counts: HashMap<Bytes, u64>,
    /// Tenants that are being removed; false: that have been.
    tenants: HashMap<Bytes, bool>,
    /// Tenants that are there.
    made_tenants: HashSet<Bytes>,
    /// Blobs that are referred to now, as keys of [`Table::BlobUses`].
    blobs: Vec<Bytes>,
    sessions: HashMap<Bytes, sessions::Changed>,
    /// Sessions that are being removed.
    closed: HashSet<Bytes>,
    heads: HashMap<Bytes, Head>,
    gaps: HashMap<Bytes, Option<u64>>,
    agents: HashMap<Bytes, Option<records::AgentFact>>,
    names: HashMap<Bytes, Option<AgentId>>,
    documents: HashMap<Bytes, Option<records::DocumentFact>>,
    /// What was used, as it is counted now.
    usage: HashMap<Bytes, UsageEntry>,
    /// The heads of chains of the audit log.
    audit: audit::Heads,
}

impl Facts {
    fn absorb(&mut self, other: Self) {
        self.idempotency.extend(other.idempotency);
        self.last_events.extend(other.last_events);
        self.runs.extend(other.runs);
        self.ended.extend(other.ended);
        self.counts.extend(other.counts);
        self.tenants.extend(other.tenants);
        self.made_tenants.extend(other.made_tenants);
        self.blobs.extend(other.blobs);
        self.sessions.extend(other.sessions);
        self.closed.extend(other.closed);
        self.heads.extend(other.heads);
        self.gaps.extend(other.gaps);
        self.agents.extend(other.agents);
        self.names.extend(other.names);
        self.documents.extend(other.documents);
        self.usage.extend(other.usage);
        self.audit.extend(other.audit);
    }
}

/// Does the writer's share.
pub(crate) struct Resolver<'a> {
    view: &'a View,
    group: Facts,
    /// The last numbers of logs that were written lately: the only fact that is asked for over and over.
    known: HashMap<Bytes, u64>,
    /// The tenants that are being removed.
    closed: HashSet<Bytes>,
}

impl<'a> Resolver<'a> {
    /// `closed` are the tenants whose removal was under way when the store was opened.
    pub(crate) fn new(view: &'a View, closed: HashSet<Bytes>) -> Self {
        Self { view, group: Facts::default(), known: HashMap::new(), closed }
    }

    /// The writes of a batch, or why it can not be done. In that case it leaves no trace.
    pub(crate) fn resolve(&mut self, prepared: Prepared) -> Result<Vec<Op>, StoreError> {
        self.refuse_closed(prepared.tenant.as_ref())?;
        let mut batch = Facts::default();
        for condition in &prepared.conditions {
            self.check(&batch, condition)?;
        }
        let mut ops = Vec::with_capacity(prepared.steps.len());
        for step in prepared.steps {
            self.step(&mut batch, step, &mut ops)?;
        }
        Self::put_sessions(&batch, &mut ops)?;
        self.group.absorb(batch);
        Ok(ops)
    }

    /// The writes that all batches of the group share: each counts in the same few records, which are written once.
    pub(crate) fn shared(&self) -> Vec<Op> {
        let mut ops = self.usage_writes();
        for (key, head) in &self.group.heads {
            record::put(&mut ops, Table::SessionHeads, key.clone(), &head.to_bytes());
        }
        for (key, empty) in &self.group.gaps {
            match empty {
                Some(empty) => record::put(&mut ops, Table::SessionGaps, key.clone(), &empty.to_be_bytes()),
                None => ops.push(Op::delete(Table::SessionGaps, key.clone())),
            }
        }
        for (chain, head) in &self.group.audit {
            audit::put_head(&mut ops, chain, *head);
        }
        for (tenant, count) in &self.group.counts {
            match count {
                0 => ops.push(Op::delete(Table::RunCounts, tenant.clone())),
                count => record::put(&mut ops, Table::RunCounts, tenant.clone(), &count.to_be_bytes()),
            }
        }
        ops
    }

    /// Of a tenant that is being removed nothing is written.
    fn refuse_closed(&self, tenant: Option<&Bytes>) -> Result<(), StoreError> {
        match tenant {
            Some(tenant) if self.is_closed(tenant) => {
                Err(StoreError::Refused("its tenant is being removed".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn is_closed(&self, tenant: &Bytes) -> bool {
        self.group.tenants.get(tenant).copied().unwrap_or_else(|| self.closed.contains(tenant))
    }

    /// The group is readable now. Gives the blobs that it refers to, as keys of [`Table::BlobUses`].
    pub(crate) fn published(&mut self) -> Vec<Bytes> {
        let Facts { last_events, blobs, tenants, .. } = std::mem::take(&mut self.group);
        for (tenant, is_closed) in tenants {
            if is_closed {
                self.closed.insert(tenant)
            } else {
                self.closed.remove(&tenant)
            };
        }
        if self.known.len() > KNOWN_RUNS {
            self.known.clear();
        }
        self.known.extend(last_events);
        blobs
    }

    /// The group was not written.
    pub(crate) fn forget(&mut self) {
        self.group = Facts::default();
    }

    fn check(&self, batch: &Facts, condition: &Check) -> Result<(), StoreError> {
        let (holds, condition) = match condition {
            Check::IdempotencyKeyUnused { key, text } => {
                (!self.is_key_used(key)?, Condition::IdempotencyKeyUnused(text.clone()))
            }
            Check::NextEvent { log, run, seq } => {
                (self.is_next_event(batch, log, *seq)?, Condition::NextEvent { run: *run, seq: *seq })
            }
            Check::AgentVersion { key, agent, version } => {
                let found = self.agent(batch, key)?.map_or(0, |agent| agent.version);
                (found == *version, Condition::AgentVersion { agent: *agent, version: *version })
            }
            Check::AgentNameFree { key, name } => {
                (self.owner(batch, key)?.is_none(), Condition::AgentNameFree(name.clone()))
            }
            Check::Session { key, session, exists } => {
                let condition = if *exists { Condition::SessionExists } else { Condition::SessionAbsent };
                (self.session(batch, key)?.is_some() == *exists, condition(session.clone()))
            }
            Check::RunExists { key, run } => (self.is_run(batch, key)?, Condition::RunExists(*run)),
            Check::Tenant { key, tenant, exists: true } => {
                (self.is_tenant(key)? && !self.is_closed(key), Condition::TenantExists(tenant.clone()))
            }
            Check::Tenant { key, tenant, exists: false } => {
                (!self.is_tenant(key)? && !self.is_closed(key), Condition::TenantAbsent(tenant.clone()))
            }
        };
        if holds { Ok(()) } else { Err(StoreError::ConditionFailed(condition)) }
    }

    fn step(&self, batch: &mut Facts, step: Step, ops: &mut Vec<Op>) -> Result<(), StoreError> {
        match step {
            Step::Write(op) => ops.push(op),
            Step::Idempotency { key, op } => {
                batch.idempotency.insert(key);
                ops.push(op);
            }
            Step::ForgetAnswer { key, expiry, now } => self.forget_answer(key, expiry, now, ops)?,
            Step::Refer { blobs } => batch.blobs.extend(blobs),
            Step::Run { key, op } => {
                batch.runs.insert(key, true);
                ops.push(op);
            }
            Step::RunEnded(ended) => self.count_run(batch, ended)?,
            Step::RunGone(gone) => self.remove_run(batch, gone, ops)?,
            Step::LogGone { places, ops: writes } => self.close_log(batch, places, writes, ops)?,
            Step::Tenant { key, op } => {
                batch.made_tenants.insert(key);
                ops.push(op);
            }
            Step::OfApiKey { key, ops: writes } if self.view.contains(Table::TenantApiKeys, &key)? => {
                ops.extend(writes)
            }
            Step::OfApiKey { .. } => {}
            Step::TenantClosed { key, closed } => _ = batch.tenants.insert(key, closed),
            Step::Events { log, run, first, count, ops: events, blobs } => {
                self.append_events(batch, log, run, first, count)?;
                batch.blobs.extend(blobs);
                ops.extend(events);
            }
            Step::Delivery { key, run, ops: delivery } => {
                // One that is under way must not come back when its run was removed meanwhile.
                self.check(batch, &Check::RunExists { key, run })?;
                ops.extend(delivery);
            }
            Step::Session { tenant, session, change } => self.change_session(batch, &tenant, session, change, ops)?,
            Step::Agent(next) => self.put_agent(batch, *next, ops)?,
            Step::AgentGone { tenant, agent } => self.delete_agent(batch, &tenant, agent, ops)?,
            // A chain that goes with its tenant has had its end told.
            Step::Audit(noted) if self.is_closed(&noted.key()) => (),
            Step::Audit(noted) => audit::put(self.view, &self.group.audit, &mut batch.audit, noted, ops)?,
            Step::Document { tenant, document, record } => {
                self.put_document(batch, &tenant, document, record.as_deref(), ops)?;
            }
            Step::Used { more } => self.count_usage(batch, more)?,
        }
        Ok(())
    }

    /// Whether a batch of this group has put the idempotency key.
    pub(crate) fn group_has_key(&self, key: &Bytes) -> bool {
        self.group.idempotency.contains(key)
    }

    /// What the store holds, without what this group has written.
    pub(crate) fn stored(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.view.get(table, key)
    }

    fn is_run(&self, batch: &Facts, key: &Bytes) -> Result<bool, StoreError> {
        match batch.runs.get(key).or_else(|| self.group.runs.get(key)) {
            Some(is_there) => Ok(*is_there),
            None => self.view.contains(Table::Runs, key),
        }
    }

    fn is_tenant(&self, key: &Bytes) -> Result<bool, StoreError> {
        Ok(self.group.made_tenants.contains(key) || self.view.contains(Table::Tenants, key)?)
    }

    fn append_events(
        &self,
        batch: &mut Facts,
        log: Bytes,
        run: RunId,
        first: u64,
        count: u64,
    ) -> Result<(), StoreError> {
        if !self.is_next_event(batch, &log, first)? {
            return Err(StoreError::ConditionFailed(Condition::NextEvent { run, seq: first }));
        }
        batch.last_events.insert(log, first.saturating_add(count - 1));
        Ok(())
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
