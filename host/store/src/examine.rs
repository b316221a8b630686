//! Looks at everything that is kept, and says what does not fit: for a store that nobody else uses. It writes nothing.
//!
//! First each record by itself: its checksum, its parts, what it says. Then what must be true between records; what did not
//! read is passed over there, because it was told already.

mod audit;
mod blobs;
mod relations;
mod runs;
mod usage;

use std::collections::HashSet;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use vivarium_domain::{
    Agent, ApiKey, AuditEntry, CorpusDocument, Delivery, Event, InstalledRecord, McpServer, PluginGrant, Run,
    SealedSecret, SessionMessage, Team, Tenant, TenantId, UsageEntry,
};

use crate::audit::head_from;
use crate::batch::{from_json, list_of};
use crate::record;
use crate::remove::closed_tenants;
use crate::resolve::{KeptSession, agent_id};
use crate::sled_store::SledStore;
use crate::table::{Place, Range, Table, part_key, split_tenant};
use crate::view::{PIECE, View};
use crate::{IdempotencyRecord, StoreError};

/// How many findings of one kind are told in words; the others are counted.
const TOLD: usize = 20;

/// What one part of the examination found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Examined {
    /// What was looked at.
    pub name: &'static str,
    /// How many of it.
    pub count: u64,
    /// What is wrong: something is lost, or would be answered wrongly. At most 20, and then how many more there are.
    pub errors: Vec<String>,
    /// What does no harm, and should not be.
    pub warnings: Vec<String>,
    more_errors: u64,
    more_warnings: u64,
}

impl Examined {
    fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    fn error(&mut self, text: String) {
        if self.errors.len() < TOLD { self.errors.push(text) } else { self.more_errors += 1 }
    }

    fn warning(&mut self, text: String) {
        if self.warnings.len() < TOLD { self.warnings.push(text) } else { self.more_warnings += 1 }
    }

    fn expect(&mut self, holds: bool, otherwise: impl FnOnce() -> String) {
        if !holds {
            self.error(otherwise());
        }
    }

    fn done(mut self) -> Self {
        for (told, more) in [(&mut self.errors, self.more_errors), (&mut self.warnings, self.more_warnings)] {
            if more > 0 {
                told.push(format!("and {more} more of this kind"));
            }
        }
        self
    }
}

/// What the parts of the examination work with.
struct Examiner<'a> {
    store: &'a SledStore,
    view: &'a View,
    /// Tenants of which only a part is left: the next start of a host removes the rest.
    closed: HashSet<TenantId>,
}

impl SledStore {
    /// Looks at everything that is kept. Blocks for as long as reading all of it takes; nobody should write meanwhile.
    pub fn examine(&self) -> Vec<Examined> {
        let (closed, wrong) = match closed_tenants(&self.view) {
            Ok(closed) => (closed.into_iter().collect(), None),
            Err(error) => (HashSet::new(), Some(error.to_string())),
        };
        let examiner = Examiner { store: self, view: &self.view, closed };
        let mut tenants = Examined::new("tenants");
        tenants.errors.extend(wrong);
        examiner.tenants(&mut tenants);
        vec![
            tenants.done(),
            examiner.records(),
            examiner.runs(),
            examiner.sessions(),
            examiner.agents(),
            examiner.documents(),
            examiner.keys(),
            examiner.deliveries(),
            examiner.usage(),
            examiner.blobs(),
            examiner.audit(),
        ]
    }
}

impl Examiner<'_> {
    /// Every record of every table by itself.
    fn records(&self) -> Examined {
        let mut found = Examined::new("records");
        for table in Table::ALL {
            let mut range = Range::prefix(b"");
            loop {
                let piece = match self.view.walk_damaged(table, &range, PIECE) {
                    Ok(piece) => piece,
                    Err(error) => {
                        found.error(format!("the rest of the table {} can not be read: {error}", table.name()));
                        break;
                    }
                };
                let Some((last, _)) = piece.last() else { break };
                range = range.after(last);
                for (key, payload) in &piece {
                    found.count += 1;
                    if let Err(error) = payload
                        .as_ref()
                        .map_err(ToString::to_string)
                        .and_then(|payload| reads(table, key, payload).map_err(|error| error.to_string()))
                    {
                        found.error(error);
                    } else if table == Table::Parts && !self.has_whole(key) {
                        found.warning(format!("{}: a part of nothing", Place(table, key)));
                    }
                }
            }
        }
        found.done()
    }

    /// Those that are there, and those that are being removed.
    fn tenants(&self, found: &mut Examined) {
        self.each::<Tenant>(Table::Tenants, |tenant, _, record| {
            found.count += 1;
            found.expect(*tenant == record.id, || format!("tenant {tenant} is kept as {}", record.id));
        });
        for tenant in &self.closed {
            found.warning(format!("tenant {tenant} is being removed; the next start of a host removes the rest of it"));
        }
    }

    /// Whether a part belongs to a record that has so many.
    fn has_whole(&self, key: &[u8]) -> bool {
        let whole = key.split_last_chunk::<4>().and_then(|(whole, part)| Some((whole.split_first()?, *part)));
        let Some(((table, whole), part)) = whole else { return false };
        let Some(table) = Table::from_number(*table) else { return false };
        let (part, stored) = (u32::from_be_bytes(part), self.view.stored_value(table, whole));
        let parts = stored.ok().flatten().map_or(0, |value| record::parts_of(table, whole, &value));
        part < parts && part_key(table, whole, part) == key
    }

    /// Calls `one` with each record of a table that reads.
    fn each<T: DeserializeOwned>(&self, table: Table, mut one: impl FnMut(&TenantId, &Bytes, T)) {
        self.each_key(table, |tenant, key, payload| {
            if let Ok(record) = from_json(table, key, payload) {
                one(tenant, key, record);
            }
        });
    }

    /// Calls `one` with each key of a table and the payload that reads.
    fn each_key(&self, table: Table, mut one: impl FnMut(&TenantId, &Bytes, &Bytes)) {
        let mut range = Range::prefix(b"");
        while let Ok(piece) = self.view.walk_damaged(table, &range, PIECE) {
            let Some((last, _)) = piece.last() else { return };
            range = range.after(last);
            for (key, payload) in &piece {
                if let (Some((tenant, _)), Ok(payload)) = (split_tenant(key), payload)
                    && !self.closed.contains(&tenant)
                {
                    one(&tenant, key, payload);
                }
            }
        }
    }

    /// Whether there is such a record; also where that can not be told, because it was told already.
    fn has(&self, table: Table, key: &[u8]) -> bool {
        self.view.contains(table, key).unwrap_or(true)
    }
}

/// Whether a record says what the records of its table say.
fn reads(table: Table, key: &Bytes, payload: &Bytes) -> Result<(), StoreError> {
    fn json<T: DeserializeOwned>(table: Table, key: &[u8], payload: &[u8]) -> Result<(), StoreError> {
        from_json::<T>(table, key, payload).map(|_| ())
    }
    let wrong = |what: &str| Err(StoreError::Corrupt(format!("{}: {what}", Place(table, key))));
    let has_tenant = !matches!(table, Table::ApiKeys | Table::Parts);
    if has_tenant && split_tenant(key).is_none() {
        return wrong("there is no tenant");
    }
    match table {
        Table::Runs => json::<Run>(table, key, payload),
        Table::Events => list_of(table, key, payload)?.1.iter().try_for_each(|event| json::<Event>(table, key, event)),
        Table::Messages => {
            list_of(table, key, payload)?.1.iter().try_for_each(|message| json::<SessionMessage>(table, key, message))
        }
        Table::Sessions => json::<KeptSession>(table, key, payload),
        Table::Idempotency => json::<IdempotencyRecord>(table, key, payload),
        Table::Tenants => json::<Tenant>(table, key, payload),
        Table::ApiKeys => json::<ApiKey>(table, key, payload),
        Table::Plugins => json::<InstalledRecord>(table, key, payload),
        Table::Grants => json::<PluginGrant>(table, key, payload),
        Table::Secrets => json::<SealedSecret>(table, key, payload),
        Table::McpServers => json::<McpServer>(table, key, payload),
        Table::Agents | Table::AgentVersions => json::<Agent>(table, key, payload),
        Table::AgentNames => agent_id(key, payload).map(|_| ()),
        Table::Teams => json::<Team>(table, key, payload),
        Table::Documents => json::<CorpusDocument>(table, key, payload),
        Table::Deliveries => json::<Delivery>(table, key, payload),
        Table::Usage => json::<UsageEntry>(table, key, payload),
        Table::Audit => json::<AuditEntry>(table, key, payload),
        Table::AuditHeads => head_from(key, payload).map(|_| ()),
        Table::SessionPlaces if std::str::from_utf8(payload).is_err() => wrong("there is no session"),
        Table::SessionHeads if payload.len() != 16 => wrong("there are no two numbers"),
        Table::SessionGaps | Table::RunCounts | Table::KeyUses if payload.len() != 8 => wrong("there is no number"),
        Table::SessionPlaces
        | Table::SessionHeads
        | Table::SessionGaps
        | Table::RunCounts
        | Table::Parts
        | Table::State
        | Table::SessionRuns
        | Table::Unfinished
        | Table::TenantApiKeys
        | Table::TeamAgents
        | Table::AgentRuns
        | Table::SessionExpiries
        | Table::Removals
        | Table::CorpusDocuments
        | Table::PendingDeliveries
        | Table::RunKeys
        | Table::BlobUses
        | Table::LooseBlobs
        | Table::StatusRuns
        | Table::EndedRuns
        | Table::RunRemovals
        | Table::SessionFiles
        | Table::TenantRemovals
        | Table::AnswerExpiries
        | Table::KeyUses => Ok(()),
    }
}

#[cfg(test)]
mod tests;
