//! The audit log: who did what with which grant. One chain of entries per tenant and one for the operator, each entry with
//! the hash of the one before it, so that one that was changed, removed, put in between or moved is found. That a chain's end
//! was cut off with its head put back can not be told from the chain alone: for that, somebody keeps a head elsewhere.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::Timestamp;
use crate::id::{ContentHash, IdError, KeyId, TenantId};
use crate::schema;

/// Who did something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum AuditActor {
    /// Whoever has this key.
    Key(KeyId),
    /// Somebody at the command line, on the data folder itself.
    Cli,
    /// The host by itself.
    Host,
}

impl fmt::Display for AuditActor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key(key) => fmt::Display::fmt(key, f),
            Self::Cli => f.write_str("cli"),
            Self::Host => f.write_str("host"),
        }
    }
}

impl From<AuditActor> for String {
    fn from(actor: AuditActor) -> Self {
        actor.to_string()
    }
}

impl TryFrom<String> for AuditActor {
    type Error = IdError;
    fn try_from(text: String) -> Result<Self, IdError> {
        match text.as_str() {
            "cli" => Ok(Self::Cli),
            "host" => Ok(Self::Host),
            key => key.parse().map(Self::Key),
        }
    }
}

impl PartialSchema for AuditActor {
    fn schema() -> RefOr<Schema> {
        let description = "who did it: a key's id, `cli` (at the command line) or `host` (by itself).";
        schema::text(description, "^(cli|host|[0-9a-f-]{36})$", 3..=36, "0192f000-0000-7000-8000-000000000001")
    }
}

impl ToSchema for AuditActor {}

/// Who did something, and with which request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditBy {
    /// Who.
    pub who: AuditActor,
    /// The request's id, as the answer's `X-Request-Id` says it; none: it was no request.
    pub request: Option<String>,
}

impl AuditBy {
    /// The host by itself.
    pub const HOST: Self = Self { who: AuditActor::Host, request: None };
    /// Somebody at the command line.
    pub const CLI: Self = Self { who: AuditActor::Cli, request: None };

    /// Something that was done, now.
    #[must_use]
    pub fn did(&self, action: AuditAction, target: impl fmt::Display) -> AuditNote {
        AuditNote {
            at: Timestamp::now(),
            by: self.clone(),
            action,
            target: target.to_string(),
            details: BTreeMap::new(),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
pub enum AuditAction {
    /// A key was made.
    #[serde(rename = "key.created")]
    KeyCreated,
    /// What a key may do, or until when, was changed.
    #[serde(rename = "key.changed")]
    KeyChanged,
    /// A key was replaced by another.
    #[serde(rename = "key.rotated")]
    KeyRotated,
    /// A key was revoked.
    #[serde(rename = "key.revoked")]
    KeyRevoked,
    /// A tenant was made.
    #[serde(rename = "tenant.created")]
    TenantCreated,
    /// A tenant's tier, limits or budgets were changed.
    #[serde(rename = "tenant.changed")]
    TenantChanged,
    /// A tenant was deleted; with number and hash of its own chain's end.
    #[serde(rename = "tenant.deleted")]
    TenantDeleted,
    /// A version of a plugin was installed.
    #[serde(rename = "plugin.installed")]
    PluginInstalled,
    /// A plugin was removed.
    #[serde(rename = "plugin.removed")]
    PluginRemoved,
    /// An earlier version of a plugin answers again.
    #[serde(rename = "plugin.rolled_back")]
    PluginRolledBack,
    /// What a plugin may do was set.
    #[serde(rename = "grant.set")]
    GrantSet,
    /// A secret was set.
    #[serde(rename = "secret.set")]
    SecretSet,
    /// A secret was removed.
    #[serde(rename = "secret.removed")]
    SecretRemoved,
    /// Secrets were sealed with another key.
    #[serde(rename = "secrets.resealed")]
    SecretsResealed,
    /// A remote server of tools was added.
    #[serde(rename = "mcp_server.added")]
    McpServerAdded,
    /// What is said of a remote server of tools was changed.
    #[serde(rename = "mcp_server.changed")]
    McpServerChanged,
    /// Tools of a remote server were accepted as they are now.
    #[serde(rename = "mcp_server.accepted")]
    McpServerAccepted,
    /// A remote server of tools was removed.
    #[serde(rename = "mcp_server.removed")]
    McpServerRemoved,
    /// A tool call was allowed.
    #[serde(rename = "approval.given")]
    ApprovalGiven,
    /// A tool call was refused.
    #[serde(rename = "approval.refused")]
    ApprovalRefused,
    /// Runs were deleted, with their logs.
    #[serde(rename = "runs.deleted")]
    RunsDeleted,
    /// The logs of runs were deleted, and the runs kept.
    #[serde(rename = "logs.deleted")]
    LogsDeleted,
    /// A session was deleted, with its runs.
    #[serde(rename = "session.deleted")]
    SessionDeleted,
    /// A backup was begun.
    #[serde(rename = "backup.made")]
    BackupMade,
}

impl AuditAction {
    /// Its name, on the wire and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KeyCreated => "key.created",
            Self::KeyChanged => "key.changed",
            Self::KeyRotated => "key.rotated",
            Self::KeyRevoked => "key.revoked",
            Self::TenantCreated => "tenant.created",
            Self::TenantChanged => "tenant.changed",
            Self::TenantDeleted => "tenant.deleted",
            Self::PluginInstalled => "plugin.installed",
            Self::PluginRemoved => "plugin.removed",
            Self::PluginRolledBack => "plugin.rolled_back",
            Self::GrantSet => "grant.set",
            Self::SecretSet => "secret.set",
            Self::SecretRemoved => "secret.removed",
            Self::SecretsResealed => "secrets.resealed",
            Self::McpServerAdded => "mcp_server.added",
            Self::McpServerChanged => "mcp_server.changed",
            Self::McpServerAccepted => "mcp_server.accepted",
            Self::McpServerRemoved => "mcp_server.removed",
            Self::ApprovalGiven => "approval.given",
            Self::ApprovalRefused => "approval.refused",
            Self::RunsDeleted => "runs.deleted",
            Self::LogsDeleted => "logs.deleted",
            Self::SessionDeleted => "session.deleted",
            Self::BackupMade => "backup.made",
        }
    }
}

/// Something that was done, before it has its place in a chain.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditNote {
    /// When.
    pub at: Timestamp,
    /// Who, and with which request.
    pub by: AuditBy,
    /// What.
    pub action: AuditAction,
    /// To what: a key's id, a plugin's name, a run.
    pub target: String,
    /// What else there is to say. Never a secret's value.
    pub details: BTreeMap<String, Value>,
}

impl AuditNote {
    /// With one more detail; one that is no JSON is left out.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Serialize) -> Self {
        if let Ok(value) = serde_json::to_value(value) {
            self.details.insert(name.to_owned(), value);
        }
        self
    }

    /// The note as the next entry of a chain.
    #[must_use]
    pub fn follow(self, tenant: &TenantId, head: &AuditHead) -> AuditEntry {
        let Self { at, by: AuditBy { who, request }, action, target, details } = self;
        let (tenant, previous) = (tenant.clone(), head.hash);
        let mut entry = AuditEntry {
            seq: head.seq + 1,
            at,
            tenant,
            who,
            request,
            action,
            target,
            details,
            previous,
            hash: previous,
        };
        entry.hash = entry.hash_of_content();
        entry
    }
}

/// One entry of a chain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct AuditEntry {
    /// Its number in its chain, from 1.
    pub seq: u64,
    /// When it was done.
    pub at: Timestamp,
    /// Whose chain it is; `_operator`: the operator's.
    pub tenant: TenantId,
    /// Who did it.
    pub who: AuditActor,
    /// With which request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub request: Option<String>,
    /// What was done.
    pub action: AuditAction,
    /// To what.
    pub target: String,
    /// What else there is to say.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schema(required = false)]
    pub details: BTreeMap<String, Value>,
    /// The hash of the entry before it; zeros: it is the first.
    pub previous: ContentHash,
    /// SHA-256 of the entry without this field, as JSON without blanks whose fields are sorted by name.
    pub hash: ContentHash,
}

impl AuditEntry {
    /// The hash that an entry of this content has.
    #[must_use]
    pub fn hash_of_content(&self) -> ContentHash {
        let mut value = serde_json::to_value(self).unwrap_or_default();
        if let Some(fields) = value.as_object_mut() {
            fields.remove("hash");
        }
        let mut text = String::new();
        canonical(&value, &mut text);
        ContentHash::of(text.as_bytes())
    }

    /// The head of the chain that ends with it.
    #[must_use]
    pub fn head(&self) -> AuditHead {
        AuditHead { seq: self.seq, hash: self.hash }
    }
}

/// JSON without blanks, with the fields of each object sorted by name.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let sorted: BTreeMap<&String, &Value> = fields.iter().collect();
            text.push('{');
            for (number, (name, value)) in sorted.into_iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                text.push_str(&Value::String(name.clone()).to_string());
                text.push(':');
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (number, item) in items.iter().enumerate() {
                if number > 0 {
                    text.push(',');
                }
                canonical(item, text);
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

/// A chain's end: what has to be kept elsewhere to tell later that nothing was cut off. As text, `seq:hash`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditHead {
    /// The last entry's number; 0: there is none.
    pub seq: u64,
    /// The last entry's hash; zeros: there is none.
    pub hash: ContentHash,
}

impl Default for AuditHead {
    fn default() -> Self {
        Self { seq: 0, hash: [0; 32].into() }
    }
}

impl fmt::Display for AuditHead {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl FromStr for AuditHead {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(':').and_then(|(seq, hash)| Some((seq.parse().ok()?, hash.parse().ok()?)));
        let (seq, hash) = parts.ok_or_else(|| {
            "a head is N:HASH, the last entry's number and its 64 hexadecimal digits, as `vivarium audit verify` prints it"
                .to_owned()
        })?;
        Ok(Self { seq, hash })
    }
}

/// What is wrong with a chain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuditFault {
    /// An entry does not have its hash.
    #[error("entry {0} was changed: its hash is not that of its content")]
    Changed(u64),
    /// Entries are not there, or out of order.
    #[error("entry {expected} is missing: entry {found} stands in its place")]
    Missing {
        /// The number that comes next.
        expected: u64,
        /// The number that is there.
        found: u64,
    },
    /// An entry does not follow on the one before it.
    #[error("entry {0} does not follow on the one before it: one of them was replaced")]
    Unlinked(u64),
    /// An entry is of another chain.
    #[error("entry {seq} is of the chain of {of}")]
    Foreign {
        /// Its number.
        seq: u64,
        /// Whose chain it says that it is of.
        of: TenantId,
    },
    /// The end is not the one that the store has noted.
    #[error("the chain ends with {found}, and its head is noted as {noted}: its end was cut off or replaced")]
    End {
        /// What the chain ends with.
        found: AuditHead,
        /// What is noted.
        noted: AuditHead,
    },
    /// A head that was kept elsewhere is not in the chain.
    #[error("the head {0} is not in the chain: the chain was cut off before it, or replaced")]
    NotInChain(AuditHead),
}

/// Checks a chain, entry by entry.
#[derive(Debug)]
pub struct AuditCheck<'a> {
    tenant: &'a TenantId,
    kept: Option<AuditHead>,
    last: AuditHead,
    found_kept: bool,
    faults: Vec<AuditFault>,
}

/// The most faults that a check tells; where the chain is another one altogether, each entry would be one.
const MAX_FAULTS: usize = 20;

impl<'a> AuditCheck<'a> {
    /// Of a tenant's chain, which must hold a head that was kept elsewhere, if one was.
    #[must_use]
    pub fn new(tenant: &'a TenantId, kept: Option<AuditHead>) -> Self {
        let found_kept = kept.is_none_or(|kept| kept == AuditHead::default());
        Self { tenant, kept, last: AuditHead::default(), found_kept, faults: Vec::new() }
    }

    fn fault(&mut self, fault: AuditFault) {
        if self.faults.len() < MAX_FAULTS {
            self.faults.push(fault);
        }
    }

    /// The next entry, as it is stored. What is wrong with it is told once, and what follows is compared with it.
    pub fn next(&mut self, entry: &AuditEntry) {
        let seq = entry.seq;
        if entry.hash_of_content() != entry.hash {
            self.fault(AuditFault::Changed(seq));
        }
        if entry.tenant != *self.tenant {
            self.fault(AuditFault::Foreign { seq, of: entry.tenant.clone() });
        }
        if seq != self.last.seq + 1 {
            self.fault(AuditFault::Missing { expected: self.last.seq + 1, found: seq });
        } else if entry.previous != self.last.hash {
            self.fault(AuditFault::Unlinked(seq));
        }
        self.last = entry.head();
        self.found_kept |= self.kept == Some(self.last);
    }

    /// The chain's end, and what is wrong with the chain whose head the store has noted as this.
    #[must_use]
    pub fn end(mut self, noted: AuditHead) -> (AuditHead, Vec<AuditFault>) {
        if noted != self.last {
            self.fault(AuditFault::End { found: self.last, noted });
        }
        if let Some(kept) = self.kept.filter(|_| !self.found_kept) {
            self.fault(AuditFault::NotInChain(kept));
        }
        (self.last, self.faults)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tenant() -> TenantId {
        "acme".parse().unwrap()
    }

    fn chain(length: u64) -> Vec<AuditEntry> {
        let mut head = AuditHead::default();
        let entry = |number| {
            let note = AuditBy::CLI.did(AuditAction::SecretSet, format!("secret-{number}")).with("host", "example.com");
            let entry = note.follow(&tenant(), &head);
            head = entry.head();
            entry
        };
        (1..=length).map(entry).collect()
    }

    fn faults(chain: &[AuditEntry], kept: Option<AuditHead>, noted: AuditHead) -> Vec<AuditFault> {
        let tenant = tenant();
        let mut check = AuditCheck::new(&tenant, kept);
        chain.iter().for_each(|entry| check.next(entry));
        check.end(noted).1
    }

    #[test]
    fn a_whole_chain_is_found_whole_and_reads_as_it_was_written() {
        let chain = chain(5);
        let head = chain[4].head();
        let stored: Vec<AuditEntry> =
            serde_json::from_slice(&serde_json::to_vec(&chain).unwrap()).expect("it reads as it was written");
        assert_eq!(faults(&stored, Some(chain[2].head()), head), []);
        assert_eq!(head.to_string().parse(), Ok(head));
    }

    #[test]
    fn an_entry_that_was_changed_removed_put_in_between_or_moved_is_found() {
        let whole = chain(5);
        let head = whole[4].head();

        let mut changed = whole.clone();
        changed[2].target = "another".to_owned();
        assert_eq!(faults(&changed, None, head), [AuditFault::Changed(3)]);
        // Whoever changes the hash with it has to change all that follow, too.
        changed[2].hash = changed[2].hash_of_content();
        assert_eq!(faults(&changed, None, head), [AuditFault::Unlinked(4)]);

        let mut removed = whole.clone();
        removed.remove(2);
        assert_eq!(faults(&removed, None, head), [AuditFault::Missing { expected: 3, found: 4 }]);

        let mut between = whole.clone();
        between.insert(2, AuditBy::CLI.did(AuditAction::SecretSet, "x").follow(&tenant(), &whole[1].head()));
        assert_eq!(faults(&between, None, head), [AuditFault::Missing { expected: 4, found: 3 }]);

        let mut moved = whole.clone();
        moved.swap(2, 3);
        assert_eq!(faults(&moved, None, head).len(), 3);

        let of_another =
            AuditBy::CLI.did(AuditAction::SecretSet, "x").follow(&"other".parse().unwrap(), &whole[4].head());
        let found = faults(&[whole.clone(), vec![of_another.clone()]].concat(), None, of_another.head());
        assert_eq!(found, [AuditFault::Foreign { seq: 6, of: "other".parse().unwrap() }]);
    }

    #[test]
    fn an_end_that_was_cut_off_is_found_by_the_noted_head_and_where_that_was_put_back_by_one_kept_elsewhere() {
        let whole = chain(5);
        let (head, cut) = (whole[4].head(), &whole[..3]);
        assert_eq!(faults(cut, None, head), [AuditFault::End { found: cut[2].head(), noted: head }]);
        assert_eq!(faults(cut, None, cut[2].head()), [], "the chain alone does not tell");
        assert_eq!(faults(cut, Some(head), cut[2].head()), [AuditFault::NotInChain(head)]);
        assert_eq!(faults(&[], Some(head), AuditHead::default()), [AuditFault::NotInChain(head)]);
    }

    #[test]
    fn the_hash_is_of_the_fields_sorted_by_name_so_that_others_can_work_it_out() {
        let at = Timestamp::UNIX_EPOCH;
        let note = AuditNote { at, ..AuditBy::HOST.did(AuditAction::GrantSet, "a/b") };
        let entry =
            note.with("grant", serde_json::json!({"z": 1, "a": ["ü", null]})).follow(&tenant(), &AuditHead::default());
        let zeros = "0".repeat(64);
        let text = format!(
            r#"{{"action":"grant.set","at":"1970-01-01T00:00:00Z","details":{{"grant":{{"a":["ü",null],"z":1}}}},"previous":"{zeros}","seq":1,"target":"a/b","tenant":"acme","who":"host"}}"#
        );
        assert_eq!(entry.hash, ContentHash::of(text.as_bytes()));
    }

    #[test]
    fn every_action_is_called_on_the_wire_what_it_is_called_everywhere() {
        for action in [AuditAction::KeyCreated, AuditAction::PluginRolledBack, AuditAction::BackupMade] {
            assert_eq!(serde_json::to_value(action).unwrap(), action.name());
        }
    }
}
