//! Sessions and the places in their lists, agents with their versions and names, documents, keys.

use std::collections::BTreeMap;

use bytes::Bytes;
use vivarium_domain::{Agent, AgentId, ApiKey, CorpusDocument, DocumentId, SessionId, TenantId};

use super::{Examined, Examiner};
use crate::batch::{from_json, list_of};
use crate::places::{Head, LEVELS};
use crate::resolve::{KeptSession, agent_id};
use crate::table::{Key, Range, Table, last_hash, last_id, last_number};
use crate::view::{Direction, PIECE};

impl Examiner<'_> {
    /// Sessions: their messages are as many as they say, and they stand in their places.
    pub(super) fn sessions(&self) -> Examined {
        let mut found = Examined::new("sessions");
        self.each::<KeptSession>(Table::Sessions, |tenant, key, kept| {
            found.count += 1;
            let session = &kept.session;
            let name = format!("session {} of tenant {tenant}", session.id);
            match self.count_messages(key) {
                Ok(count) => found.expect(count == session.messages, || {
                    format!("{name} should have {} messages and has {count}", session.messages)
                }),
                Err(wrong) => found.error(format!("{name}: {wrong}")),
            }
            for (agent, place) in kept.places() {
                let place = Key::of(tenant).session_list(agent).number(place);
                let stands = self.view.get(Table::SessionPlaces, place.as_slice());
                found.expect(stands.map_or(true, |id| id.as_deref() == Some(session.id.as_str().as_bytes())), || {
                    format!("{name} does not stand in its place of a list")
                });
            }
            let expiry = session.expires_at.map(|at| Key::of(tenant).time(at).session(&session.id));
            found.expect(expiry.is_none_or(|key| self.has(Table::SessionExpiries, key.as_slice())), || {
                format!("{name} expires, and is not in the list of those that do")
            });
        });
        self.places(&mut found);
        found.done()
    }

    fn count_messages(&self, session: &[u8]) -> Result<u64, String> {
        let (mut next, mut range) = (0, Range::prefix(session));
        loop {
            let piece =
                self.view.walk(Table::Messages, &range, Direction::Forward, 16).map_err(|error| error.to_string())?;
            let Some((last, _)) = piece.last() else { return Ok(next) };
            range = range.after(last);
            for (key, payload) in &piece {
                let (first, messages) = list_of(Table::Messages, key, payload).map_err(|error| error.to_string())?;
                if first != next {
                    return Err(format!("message {first} follows on {next} messages"));
                }
                next += messages.len() as u64;
            }
        }
    }

    /// Lists: whoever stands in a place has that place, and the heads count right.
    fn places(&self, found: &mut Examined) {
        let mut taken: BTreeMap<Bytes, u64> = BTreeMap::new();
        self.each_key(Table::SessionPlaces, |tenant, key, payload| {
            let Some((list, place)) = key.split_last_chunk::<8>() else { return };
            *taken.entry(Bytes::copy_from_slice(list)).or_default() += 1;
            let stands = self.stands(tenant, list, u64::from_be_bytes(*place), payload);
            found.expect(stands, || format!("a list of tenant {tenant} names a session that does not stand there"));
        });
        self.each_key(Table::SessionHeads, |tenant, list, _| {
            let Ok(head) = Head::read(self.view, list) else { return };
            let count = taken.remove(list).unwrap_or(0);
            found.expect(head.taken == count, || {
                format!("a list of sessions of tenant {tenant} counts {}, and {count} stand in it", head.taken)
            });
            let empty = self.empty_places(list);
            found.expect(head.next.checked_sub(head.taken) == Some(empty), || {
                format!(
                    "a list of sessions of tenant {tenant} has {} places of which {} are taken, and counts {empty} empty ones",
                    head.next, head.taken
                )
            });
        });
        for (_, count) in taken {
            found.error(format!("a list of {count} sessions has no head"));
        }
    }

    fn stands(&self, tenant: &TenantId, list: &[u8], place: u64, id: &[u8]) -> bool {
        let id: Option<SessionId> = std::str::from_utf8(id).ok().and_then(|id| id.parse().ok());
        let Some(id) = id else { return false };
        match self.store.record::<KeptSession>(Table::Sessions, Key::of(tenant).session(&id).as_slice()) {
            Ok(Some(kept)) => {
                kept.places().any(|(agent, own)| own == place && Key::of(tenant).session_list(agent).as_slice() == list)
            }
            Ok(None) => false,
            Err(_) => true,
        }
    }

    /// How many places of a list are counted as empty, in its longest stretches.
    fn empty_places(&self, list: &[u8]) -> u64 {
        let [longest, ..] = LEVELS;
        let (mut empty, mut range) = (0_u64, Range::prefix(Key::within(list).byte(longest).as_slice()));
        while let Ok(piece) = self.view.walk(Table::SessionGaps, &range, Direction::Forward, 64) {
            let Some((last, _)) = piece.last() else { break };
            range = range.after(last);
            empty += piece.iter().filter_map(|(_, payload)| last_number(payload)).sum::<u64>();
        }
        empty
    }

    /// Agents: all versions are there, and names and teams lead to them.
    pub(super) fn agents(&self) -> Examined {
        let mut found = Examined::new("agents");
        self.each::<Agent>(Table::Agents, |tenant, key, agent| {
            found.count += 1;
            let name = format!("agent {} of tenant {tenant}", agent.id);
            for version in 1..=agent.version {
                let there = self.has(Table::AgentVersions, Key::within(key).number(version).as_slice());
                found.expect(there, || format!("{name} has no version {version} of {}", agent.version));
            }
            let of_name = self.view.get(Table::AgentNames, Key::of(tenant).client_text(&agent.config.name).as_slice());
            found.expect(of_name.map_or(true, |id| id.as_deref() == Some(agent.id.as_bytes().as_slice())), || {
                format!("{name} is not found by its name")
            });
            let of_team = Key::of(tenant).team(agent.config.team).agent(agent.id);
            found.expect(self.has(Table::TeamAgents, of_team.as_slice()), || {
                format!("{name} is not in the list of its team")
            });
        });
        self.each_key(Table::AgentNames, |tenant, key, payload| {
            let there = agent_id(key, payload).is_ok_and(|agent| self.has_agent(tenant, agent));
            found.expect(there, || format!("a name of tenant {tenant} leads to an agent that is not there"));
        });
        self.each_key(Table::TeamAgents, |tenant, key, _| {
            let there = last_id(key).is_some_and(|id| self.has_agent(tenant, AgentId::from_bytes(id)));
            found.expect(there, || format!("a team of tenant {tenant} names an agent that is not there"));
        });
        self.each_key(Table::AgentVersions, |tenant, key, _| {
            let agent = key.split_last_chunk::<8>().map(|(agent, _)| agent);
            if !agent.is_some_and(|agent| self.has(Table::Agents, agent)) {
                found.warning(format!("tenant {tenant} has a version of an agent that is not there"));
            }
        });
        found.done()
    }

    fn has_agent(&self, tenant: &TenantId, agent: AgentId) -> bool {
        self.has(Table::Agents, Key::of(tenant).agent(agent).as_slice())
    }

    /// Documents: they stand in their collections.
    pub(super) fn documents(&self) -> Examined {
        let mut found = Examined::new("documents");
        self.each::<CorpusDocument>(Table::Documents, |tenant, _, document| {
            found.count += 1;
            let listed = Key::of(tenant).client_text(&document.corpus).document(document.id);
            found.expect(self.has(Table::CorpusDocuments, listed.as_slice()), || {
                format!("document {} of tenant {tenant} is not in its collection", document.id)
            });
            let used = Key::of(tenant).hash(&document.content).document(document.id);
            found.expect(self.has(Table::BlobUses, used.as_slice()), || {
                format!("the text of document {} of tenant {tenant} does not know that it is used", document.id)
            });
        });
        self.each_key(Table::CorpusDocuments, |tenant, key, _| {
            let id = last_id(key).map(DocumentId::from_bytes);
            let there = id.is_some_and(|id| self.has(Table::Documents, Key::of(tenant).document(id).as_slice()));
            found.expect(there, || format!("a collection of tenant {tenant} names a document that is not there"));
        });
        found.done()
    }

    /// Keys: each belongs to a tenant, and the tenant knows it.
    pub(super) fn keys(&self) -> Examined {
        let mut found = Examined::new("keys");
        let mut range = Range::prefix(b"");
        while let Ok(piece) = self.view.walk_damaged(Table::ApiKeys, &range, PIECE) {
            let Some((last, _)) = piece.last() else { break };
            range = range.after(last);
            for (hash, payload) in &piece {
                let key = payload.as_ref().ok().and_then(|json| from_json::<ApiKey>(Table::ApiKeys, hash, json).ok());
                let Some(key) = key.filter(|key| !self.closed.contains(&key.tenant)) else { continue };
                found.count += 1;
                found.expect(self.has(Table::Tenants, Key::of(&key.tenant).as_slice()), || {
                    format!("the key {} is of tenant {}, which is not there", key.id, key.tenant)
                });
                let listed = last_hash(hash).map(|hash| Key::of(&key.tenant).hash(&hash));
                found.expect(listed.is_some_and(|listed| self.has(Table::TenantApiKeys, listed.as_slice())), || {
                    format!("the key {} is not in the list of its tenant {}", key.id, key.tenant)
                });
            }
        }
        self.each_key(Table::TenantApiKeys, |tenant, key, _| {
            let there = last_hash(key).is_some_and(|hash| self.has(Table::ApiKeys, hash.as_bytes()));
            found.expect(there, || format!("tenant {tenant} lists a key that is not there"));
        });
        self.each_key(Table::KeyUses, |tenant, key, _| {
            let there = last_hash(key)
                .is_some_and(|hash| self.has(Table::TenantApiKeys, Key::of(tenant).hash(&hash).as_slice()));
            found.expect(there, || format!("a key of tenant {tenant} was used that is not there"));
        });
        found.done()
    }
}
