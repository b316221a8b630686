//! Where things lie. A key begins with its tenant's id, and the id with its length: so `a` is never the beginning of
//! `ab`, and no walk over one tenant's keys can reach those of another. Numbers are big-endian and run ids are UUIDv7, so
//! that keys sort by time.

use std::fmt;
use std::ops::Bound;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use vivarium_domain::{
    AgentId, ContentHash, Date, DocumentId, McpServerName, PluginName, RunId, RunStatus, SecretName, SessionId, TeamId,
    TenantId, Timestamp,
};

/// One kind of record; a tree of sled each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// tenant, run → the run's record.
    Runs,
    /// tenant, session, run → nothing: the runs of a session.
    SessionRuns,
    /// tenant, run → nothing: the runs that have not ended.
    Unfinished,
    /// tenant, run, first number → some events that follow each other.
    Events,
    /// tenant, session → the session's record.
    Sessions,
    /// tenant, session, first number → some messages that were appended together.
    Messages,
    /// tenant, SHA-256 of the key → what it stands for.
    Idempotency,
    /// tenant → its record.
    Tenants,
    /// SHA-256 of the key → its record. The one table that is not by tenant: the key is what names the tenant.
    ApiKeys,
    /// tenant, SHA-256 of the key → nothing: the keys of a tenant.
    TenantApiKeys,
    /// table, key, part → a piece of a value that is too large for one.
    Parts,
    /// tenant, plugin → what is installed under its name.
    Plugins,
    /// tenant, plugin → what it is granted.
    Grants,
    /// tenant, name → a sealed secret.
    Secrets,
    /// tenant, plugin, key → a value of the plugin's state.
    State,
    /// tenant, agent → the agent in its current version.
    Agents,
    /// tenant, agent, version → the agent as it was in that version.
    AgentVersions,
    /// tenant, SHA-256 of a name → the id of the agent that has it.
    AgentNames,
    /// tenant, team, agent → nothing: the agents of a team.
    TeamAgents,
    /// tenant, agent, run → nothing: the runs of an agent.
    AgentRuns,
    /// tenant, team → its record.
    Teams,
    /// tenant, list, place → the id of the session that stands there. See [`crate::places`].
    SessionPlaces,
    /// tenant, list → the next place, and how many are taken.
    SessionHeads,
    /// tenant, list, level, stretch → how many places of the stretch are empty; none where all are taken.
    SessionGaps,
    /// tenant, time in microseconds, session → nothing: when sessions expire.
    SessionExpiries,
    /// tenant, session → nothing: the sessions whose removal is under way. See [`crate::remove`].
    Removals,
    /// tenant, document → its record.
    Documents,
    /// tenant, SHA-256 of a collection's name, document → nothing: the documents of a collection.
    CorpusDocuments,
    /// tenant, run → the delivery of its end.
    Deliveries,
    /// tenant, run → nothing: the deliveries that are pending.
    PendingDeliveries,
    /// tenant, run, SHA-256 of the key → nothing: the idempotency keys that stand for a run.
    RunKeys,
    /// tenant, hash, run or document → nothing: who refers to a blob.
    BlobUses,
    /// tenant, hash → nothing: blobs that lost a reference, to be removed unless there is another.
    LooseBlobs,
    /// tenant, status, run → nothing: the runs that have ended, by how.
    StatusRuns,
    /// tenant, whether its log was removed, end in microseconds, run → nothing: the runs that have ended, by when.
    EndedRuns,
    /// tenant → how many runs have ended.
    RunCounts,
    /// tenant, run → nothing: the runs whose logs are being removed. See [`crate::remove`].
    RunRemovals,
    /// tenant, session, hash → nothing: files of the session's that came with runs which are gone.
    SessionFiles,
    /// tenant → nothing: the tenants whose removal is under way. See [`crate::remove`].
    TenantRemovals,
    /// tenant, time in microseconds, SHA-256 of the key → nothing: when the answers of idempotency keys are forgotten.
    AnswerExpiries,
    /// tenant, SHA-256 of the key → when the API key was used last.
    KeyUses,
    /// tenant, day, whose → what was used on the day. See [`crate::usage`].
    Usage,
    /// tenant, number → an entry of its chain of the audit log; the operator's is a chain like the tenants'.
    Audit,
    /// tenant → number and hash of the last entry of its chain.
    AuditHeads,
    /// tenant, name → a remote server of tools.
    McpServers,
}

impl Table {
    /// All of them, in the order of their numbers in the journal: only ever append.
    pub(crate) const ALL: [Self; 45] = [
        Self::Runs,
        Self::SessionRuns,
        Self::Unfinished,
        Self::Events,
        Self::Sessions,
        Self::Messages,
        Self::Idempotency,
        Self::Tenants,
        Self::ApiKeys,
        Self::TenantApiKeys,
        Self::Parts,
        Self::Plugins,
        Self::Grants,
        Self::Secrets,
        Self::State,
        Self::Agents,
        Self::AgentVersions,
        Self::AgentNames,
        Self::TeamAgents,
        Self::AgentRuns,
        Self::Teams,
        Self::SessionPlaces,
        Self::SessionHeads,
        Self::SessionGaps,
        Self::SessionExpiries,
        Self::Removals,
        Self::Documents,
        Self::CorpusDocuments,
        Self::Deliveries,
        Self::PendingDeliveries,
        Self::RunKeys,
        Self::BlobUses,
        Self::LooseBlobs,
        Self::StatusRuns,
        Self::EndedRuns,
        Self::RunCounts,
        Self::RunRemovals,
        Self::SessionFiles,
        Self::TenantRemovals,
        Self::AnswerExpiries,
        Self::KeyUses,
        Self::Usage,
        Self::Audit,
        Self::AuditHeads,
        Self::McpServers,
    ];

    /// The tree's name, on disk and in errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::SessionRuns => "session_runs",
            Self::Unfinished => "unfinished",
            Self::Events => "events",
            Self::Sessions => "sessions",
            Self::Messages => "messages",
            Self::Idempotency => "idempotency",
            Self::Tenants => "tenants",
            Self::ApiKeys => "api_keys",
            Self::TenantApiKeys => "tenant_api_keys",
            Self::Parts => "parts",
            Self::Plugins => "plugins",
            Self::Grants => "grants",
            Self::Secrets => "secrets",
            Self::State => "state",
            Self::Agents => "agents",
            Self::AgentVersions => "agent_versions",
            Self::AgentNames => "agent_names",
            Self::TeamAgents => "team_agents",
            Self::AgentRuns => "agent_runs",
            Self::Teams => "teams",
            Self::SessionPlaces => "session_places",
            Self::SessionHeads => "session_heads",
            Self::SessionGaps => "session_gaps",
            Self::SessionExpiries => "session_expiries",
            Self::Removals => "removals",
            Self::Documents => "documents",
            Self::CorpusDocuments => "corpus_documents",
            Self::Deliveries => "deliveries",
            Self::PendingDeliveries => "pending_deliveries",
            Self::RunKeys => "run_keys",
            Self::BlobUses => "blob_uses",
            Self::LooseBlobs => "loose_blobs",
            Self::StatusRuns => "status_runs",
            Self::EndedRuns => "ended_runs",
            Self::RunCounts => "run_counts",
            Self::RunRemovals => "run_removals",
            Self::SessionFiles => "session_files",
            Self::TenantRemovals => "tenant_removals",
            Self::AnswerExpiries => "answer_expiries",
            Self::KeyUses => "key_uses",
            Self::Usage => "usage",
            Self::Audit => "audit",
            Self::AuditHeads => "audit_heads",
            Self::McpServers => "mcp_servers",
        }
    }

    /// Its number in the journal and in checksums.
    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    /// The table with that number.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

/// Names a record in an error, without what it holds.
pub(crate) struct Place<'a>(pub(crate) Table, pub(crate) &'a [u8]);

impl fmt::Display for Place<'_> {
    /// Runs of printable bytes as text, the rest in hex: ids stay readable, and nothing reaches a terminal raw.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}, key ", self.0.name())?;
        for part in self.1.chunk_by(|a, b| a.is_ascii_graphic() == b.is_ascii_graphic()) {
            match std::str::from_utf8(part) {
                Ok(text) if text.bytes().all(|b| b.is_ascii_graphic()) => write!(f, "'{text}'")?,
                _ => write!(f, "<{}>", hex::encode(part))?,
            }
        }
        Ok(())
    }
}

/// A stretch of keys.
#[derive(Debug, Clone)]
pub(crate) struct Range {
    pub(crate) from: Bound<Vec<u8>>,
    pub(crate) to: Bound<Vec<u8>>,
}

impl Range {
    /// Every key that begins with `prefix`.
    pub(crate) fn prefix(prefix: &[u8]) -> Self {
        let mut end = prefix.to_vec();
        while end.pop_if(|last| *last == u8::MAX).is_some() {}
        let to = match end.last_mut() {
            Some(last) => {
                *last += 1;
                Bound::Excluded(end)
            }
            None => Bound::Unbounded,
        };
        Self { from: Bound::Included(prefix.to_vec()), to }
    }

    /// The same from `key` on.
    pub(crate) fn starting_at(mut self, key: &[u8]) -> Self {
        self.from = Bound::Included(key.to_vec());
        self
    }

    /// The same after `key`.
    pub(crate) fn after(mut self, key: &[u8]) -> Self {
        self.from = Bound::Excluded(key.to_vec());
        self
    }

    /// The same up to `key`, without it.
    pub(crate) fn before(mut self, key: &[u8]) -> Self {
        self.to = Bound::Excluded(key.to_vec());
        self
    }

    /// The same up to `key`, with it.
    pub(crate) fn ending_at(mut self, key: &[u8]) -> Self {
        self.to = Bound::Included(key.to_vec());
        self
    }

    /// Nothing lies in it: a map's `range` would panic on such bounds.
    pub(crate) fn is_empty(&self) -> bool {
        match (&self.from, &self.to) {
            (Bound::Included(from), Bound::Included(to)) => from > to,
            (Bound::Included(from) | Bound::Excluded(from), Bound::Included(to) | Bound::Excluded(to)) => from >= to,
            _ => false,
        }
    }

    /// As slices, the form in which maps take them.
    pub(crate) fn bounds(&self) -> (Bound<&[u8]>, Bound<&[u8]>) {
        (self.from.as_ref().map(Vec::as_slice), self.to.as_ref().map(Vec::as_slice))
    }
}

/// Builds a key.
#[derive(Debug, Clone)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    /// A key of this tenant. A tenant id has at most 64 bytes, so its length fits one byte.
    pub(crate) fn of(tenant: &TenantId) -> Self {
        let mut key = Vec::with_capacity(96);
        push_text(&mut key, tenant.as_str());
        Self(key)
    }

    /// A key that begins with these bytes.
    pub(crate) fn within(prefix: &[u8]) -> Self {
        Self(prefix.to_vec())
    }

    pub(crate) fn run(mut self, run: RunId) -> Self {
        self.0.extend_from_slice(run.as_bytes());
        self
    }

    pub(crate) fn agent(mut self, agent: AgentId) -> Self {
        self.0.extend_from_slice(agent.as_bytes());
        self
    }

    /// The 16 bytes of an id.
    pub(crate) fn id(mut self, id: &[u8; 16]) -> Self {
        self.0.extend_from_slice(id);
        self
    }

    pub(crate) fn document(mut self, document: DocumentId) -> Self {
        self.0.extend_from_slice(document.as_bytes());
        self
    }

    pub(crate) fn team(mut self, team: TeamId) -> Self {
        self.0.extend_from_slice(&team.get().to_be_bytes());
        self
    }

    /// All sessions, or those with an agent.
    pub(crate) fn session_list(mut self, agent: Option<AgentId>) -> Self {
        self.0.push(u8::from(agent.is_some()));
        match agent {
            Some(agent) => self.agent(agent),
            None => self,
        }
    }

    /// A moment in microseconds, so that keys sort by time; also those before 1970.
    pub(crate) fn time(mut self, at: Timestamp) -> Self {
        let since_the_beginning = (at.as_microsecond() as u64) ^ (1 << 63);
        self.0.extend_from_slice(&since_the_beginning.to_be_bytes());
        self
    }

    /// A day of the calendar, so that keys sort by it; days before the year 0 are as that.
    pub(crate) fn day(mut self, day: Date) -> Self {
        let year = u16::try_from(day.year()).unwrap_or(0);
        self.0.extend_from_slice(&year.to_be_bytes());
        self.0.extend([day.month(), day.day()].map(|part| part.unsigned_abs()));
        self
    }

    /// The runs that have ended, those with a log or those whose log was removed.
    pub(crate) fn ended_list(self, log_removed: bool) -> Self {
        self.byte(u8::from(log_removed))
    }

    /// Runs of a status: a number that stays what it is, whatever the order of the statuses in the code.
    pub(crate) fn status(self, status: RunStatus) -> Self {
        self.byte(match status {
            RunStatus::Queued => 0,
            RunStatus::Running => 1,
            RunStatus::Waiting => 2,
            RunStatus::Completed => 3,
            RunStatus::Failed => 4,
            RunStatus::Cancelled => 5,
        })
    }

    pub(crate) fn byte(mut self, byte: u8) -> Self {
        self.0.push(byte);
        self
    }

    /// A session id has at most 128 bytes.
    pub(crate) fn session(mut self, session: &SessionId) -> Self {
        push_text(&mut self.0, session.as_str());
        self
    }

    /// A plugin's name has at most 129 bytes.
    pub(crate) fn plugin(mut self, plugin: &PluginName) -> Self {
        push_text(&mut self.0, plugin.as_str());
        self
    }

    /// A remote server's name has at most 32 bytes.
    pub(crate) fn mcp_server(mut self, name: &McpServerName) -> Self {
        push_text(&mut self.0, name.as_str());
        self
    }

    /// A secret's name has at most 64 bytes.
    pub(crate) fn secret(mut self, name: &SecretName) -> Self {
        push_text(&mut self.0, name.as_str());
        self
    }

    /// A text that ends the key, so that keys sort by it and its beginnings are prefixes.
    pub(crate) fn last_text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    pub(crate) fn number(mut self, number: u64) -> Self {
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    pub(crate) fn hash(mut self, hash: &ContentHash) -> Self {
        self.0.extend_from_slice(hash.as_bytes());
        self
    }

    /// A client's own text as a key: hashed, so that its length is bounded whatever the client sends.
    pub(crate) fn client_text(mut self, text: &str) -> Self {
        self.0.extend_from_slice(&Sha256::digest(text.as_bytes()));
        self
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        self.0.into()
    }
}

fn push_text(key: &mut Vec<u8>, text: &str) {
    // Ids are at most 128 bytes; were one ever longer, 255 and its whole text would still not be another's prefix.
    key.push(u8::try_from(text.len()).unwrap_or(u8::MAX));
    key.extend_from_slice(text.as_bytes());
}

/// The key of a piece of a large value.
pub(crate) fn part_key(table: Table, key: &[u8], part: u32) -> Bytes {
    let mut whole = Vec::with_capacity(key.len() + 5);
    whole.push(table.number());
    whole.extend_from_slice(key);
    whole.extend_from_slice(&part.to_be_bytes());
    whole.into()
}

/// The tenant that a key begins with, and the rest.
pub(crate) fn split_tenant(key: &[u8]) -> Option<(TenantId, &[u8])> {
    let (length, rest) = key.split_first()?;
    let (tenant, rest) = rest.split_at_checked(usize::from(*length))?;
    Some((std::str::from_utf8(tenant).ok()?.parse().ok()?, rest))
}

/// The 16 bytes of the run, agent or document that a key ends with.
pub(crate) fn last_id(key: &[u8]) -> Option<[u8; 16]> {
    key.last_chunk::<16>().copied()
}

/// The hash that a key ends with.
pub(crate) fn last_hash(key: &[u8]) -> Option<ContentHash> {
    key.last_chunk::<32>().map(|bytes| ContentHash::from(*bytes))
}

/// The number that a key ends with.
pub(crate) fn last_number(key: &[u8]) -> Option<u64> {
    key.last_chunk::<8>().map(|bytes| u64::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_table_is_found_by_its_number() {
        for table in Table::ALL {
            assert_eq!(Table::from_number(table.number()), Some(table));
        }
        assert_eq!(Table::from_number(200), None);
    }

    #[test]
    fn a_place_is_readable_and_prints_nothing_raw() {
        let tenant = "acme".parse().unwrap();
        let key = Key::of(&tenant).number(7);
        assert_eq!(Place(Table::Events, key.as_slice()).to_string(), "table events, key <04>'acme'<0000000000000007>");
    }

    proptest! {
        #[test]
        fn no_tenants_keys_lie_within_anothers(a in "[a-z0-9_-]{1,64}", b in "[a-z0-9_-]{1,64}") {
            prop_assume!(a != b);
            let (a, b): (TenantId, TenantId) = (a.parse().unwrap(), b.parse().unwrap());
            prop_assert!(!Key::of(&b).as_slice().starts_with(Key::of(&a).as_slice()));
        }

        #[test]
        fn a_prefix_holds_exactly_the_keys_that_begin_with_it(
            prefix in proptest::collection::vec(any::<u8>(), 0..4),
            key in proptest::collection::vec(any::<u8>(), 0..6),
        ) {
            let range = Range::prefix(&prefix);
            let is_in = std::ops::RangeBounds::<[u8]>::contains(&range.bounds(), key.as_slice());
            prop_assert_eq!(is_in, key.starts_with(&prefix));
        }
    }
}
