//! Records with indexes that must follow them: agents (their versions, names and teams) and documents.

use bytes::Bytes;
use vivarium_domain::{Agent, AgentId, ContentHash, CorpusDocument, DocumentId, TeamId, TenantId};

use super::{Facts, Resolver};
use crate::batch::{NextAgent, from_json, json};
use crate::record::{self, Op};
use crate::table::{Key, Place, Table};
use crate::{Condition, StoreError};

/// What must be known of an agent to write its next version.
#[derive(Debug, Clone)]
pub(super) struct AgentFact {
    pub(super) version: u64,
    name: Bytes,
    team: TeamId,
}

/// What must be known of a document to replace it.
#[derive(Debug, Clone)]
pub(super) struct DocumentFact {
    corpus: Bytes,
    content: ContentHash,
}

impl Resolver<'_> {
    pub(super) fn agent(&self, batch: &Facts, key: &[u8]) -> Result<Option<AgentFact>, StoreError> {
        if let Some(agent) = batch.agents.get(key).or_else(|| self.group.agents.get(key)) {
            return Ok(agent.clone());
        }
        let Some(payload) = self.view.get(Table::Agents, key)? else { return Ok(None) };
        let agent: Agent = from_json(Table::Agents, key, &payload)?;
        let name = name_key(key, agent.id, &agent.config.name);
        Ok(Some(AgentFact { version: agent.version, name, team: agent.config.team }))
    }

    /// Whose name it is.
    pub(super) fn owner(&self, batch: &Facts, key: &[u8]) -> Result<Option<AgentId>, StoreError> {
        if let Some(owner) = batch.names.get(key).or_else(|| self.group.names.get(key)) {
            return Ok(*owner);
        }
        let stored = self.view.get(Table::AgentNames, key)?;
        stored.map(|payload| agent_id(key, &payload)).transpose()
    }

    pub(super) fn put_agent(&self, batch: &mut Facts, next: NextAgent, ops: &mut Vec<Op>) -> Result<(), StoreError> {
        let NextAgent { tenant, agent, version, name: text, team, ops: records } = next;
        let key = Key::of(&tenant).agent(agent).into_bytes();
        let before = self.agent(batch, &key)?;
        let expected = version.saturating_sub(1);
        if before.as_ref().map_or(0, |before| before.version) != expected {
            return Err(StoreError::ConditionFailed(Condition::AgentVersion { agent, version: expected }));
        }
        let name = name_key(&key, agent, &text);
        if self.owner(batch, &name)?.is_some_and(|owner| owner != agent) {
            return Err(StoreError::ConditionFailed(Condition::AgentNameFree(text)));
        }
        ops.extend(records);
        if let Some(before) = before {
            if before.name != name {
                ops.push(Op::delete(Table::AgentNames, before.name.clone()));
                batch.names.insert(before.name, None);
            }
            if before.team != team {
                ops.push(Op::delete(Table::TeamAgents, Key::of(&tenant).team(before.team).agent(agent).into_bytes()));
            }
        }
        record::put(ops, Table::AgentNames, name.clone(), agent.as_bytes());
        record::put(ops, Table::TeamAgents, Key::of(&tenant).team(team).agent(agent).into_bytes(), b"");
        batch.names.insert(name.clone(), Some(agent));
        batch.agents.insert(key, Some(AgentFact { version, name, team }));
        Ok(())
    }

    pub(super) fn delete_agent(
        &self,
        batch: &mut Facts,
        tenant: &TenantId,
        agent: AgentId,
        ops: &mut Vec<Op>,
    ) -> Result<(), StoreError> {
        let key = Key::of(tenant).agent(agent);
        let Some(before) = self.agent(batch, key.as_slice())? else { return Ok(()) };
        for version in 1..=before.version {
            ops.push(Op::delete(Table::AgentVersions, key.clone().number(version).into_bytes()));
        }
        ops.push(Op::delete(Table::TeamAgents, Key::of(tenant).team(before.team).agent(agent).into_bytes()));
        ops.push(Op::delete(Table::AgentNames, before.name.clone()));
        batch.names.insert(before.name, None);
        let key = key.into_bytes();
        ops.push(Op::delete(Table::Agents, key.clone()));
        batch.agents.insert(key, None);
        Ok(())
    }

    fn document(&self, batch: &Facts, tenant: &TenantId, key: &[u8]) -> Result<Option<DocumentFact>, StoreError> {
        if let Some(document) = batch.documents.get(key).or_else(|| self.group.documents.get(key)) {
            return Ok(document.clone());
        }
        let Some(payload) = self.view.get(Table::Documents, key)? else { return Ok(None) };
        Ok(Some(DocumentFact::of(tenant, &from_json(Table::Documents, key, &payload)?)))
    }

    /// Writes a document's record; none: removes it.
    pub(super) fn put_document(
        &self,
        batch: &mut Facts,
        tenant: &TenantId,
        document: DocumentId,
        record: Option<&CorpusDocument>,
        ops: &mut Vec<Op>,
    ) -> Result<(), StoreError> {
        let key = Key::of(tenant).document(document).into_bytes();
        let use_of = |fact: &DocumentFact| Key::of(tenant).hash(&fact.content).document(document).into_bytes();
        if let Some(before) = self.document(batch, tenant, &key)? {
            ops.push(Op::delete(Table::BlobUses, use_of(&before)));
            ops.push(Op::delete(Table::CorpusDocuments, before.corpus));
        }
        let fact = record.map(|record| DocumentFact::of(tenant, record));
        match (&fact, record) {
            (Some(fact), Some(record)) => {
                record::put(ops, Table::Documents, key.clone(), &json(record)?);
                record::put(ops, Table::CorpusDocuments, fact.corpus.clone(), b"");
                record::put(ops, Table::BlobUses, use_of(fact), b"");
                batch.blobs.push(use_of(fact));
            }
            _ => ops.push(Op::delete(Table::Documents, key.clone())),
        }
        batch.documents.insert(key, fact);
        Ok(())
    }
}

impl DocumentFact {
    fn of(tenant: &TenantId, record: &CorpusDocument) -> Self {
        let corpus = Key::of(tenant).client_text(&record.corpus).document(record.id).into_bytes();
        Self { corpus, content: record.content }
    }
}

/// The key of an agent's name: that of its record begins with the same tenant.
fn name_key(agent_key: &[u8], agent: AgentId, name: &str) -> Bytes {
    let tenant = agent_key.strip_suffix(agent.as_bytes().as_slice()).unwrap_or(agent_key);
    Key::within(tenant).client_text(name).into_bytes()
}

/// The agent that a name's record names.
pub(crate) fn agent_id(key: &[u8], payload: &[u8]) -> Result<AgentId, StoreError> {
    let bytes = payload.first_chunk::<16>().filter(|_| payload.len() == 16);
    let no_agent = || StoreError::Corrupt(format!("{}: there is no agent's id", Place(Table::AgentNames, key)));
    bytes.map(|bytes| AgentId::from_bytes(*bytes)).ok_or_else(no_agent)
}
