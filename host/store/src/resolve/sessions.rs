//! What happens to a session: made, used, changed, appended to, closed. Its record is written once per batch, whatever
//! happened to it there.

use std::collections::hash_map::Entry;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use vivarium_domain::{AgentId, Session, SessionId, TenantId, Timestamp};

use super::{Facts, Resolver};
use crate::batch::{SessionChange, from_json, json};
use crate::places::{FANOUT, Head, LEVELS, gap_key, number_of, width};
use crate::record::{self, Op};
use crate::table::{Key, Table, split_tenant};
use crate::{Condition, StoreError};

/// A session's record: the session, and where it stands in the lists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct KeptSession {
    /// Its place among all sessions.
    pub(crate) place: u64,
    /// Its place among those with its agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) agent_place: Option<u64>,
    pub(crate) session: Session,
}

/// What a batch has made of a session.
#[derive(Debug)]
pub(super) struct Changed {
    before: Option<KeptSession>,
    now: Option<KeptSession>,
}

impl KeptSession {
    /// The lists that it stands in, and its place there.
    pub(crate) fn places(&self) -> impl Iterator<Item = (Option<AgentId>, u64)> {
        let with_agent = self.session.agent_id.zip(self.agent_place).map(|(agent, place)| (Some(agent), place));
        std::iter::once((None, self.place)).chain(with_agent)
    }
}

impl Resolver<'_> {
    /// A session as the batches so far have left it.
    pub(super) fn session(&self, batch: &Facts, key: &[u8]) -> Result<Option<KeptSession>, StoreError> {
        if let Some(changed) = batch.sessions.get(key).or_else(|| self.group.sessions.get(key)) {
            return Ok(changed.now.clone());
        }
        let stored = self.view.get(Table::Sessions, key)?;
        stored.map(|payload| from_json(Table::Sessions, key, &payload)).transpose()
    }

    pub(super) fn change_session(
        &self,
        batch: &mut Facts,
        tenant: &TenantId,
        id: SessionId,
        change: SessionChange,
        ops: &mut Vec<Op>,
    ) -> Result<(), StoreError> {
        let key = Key::of(tenant).session(&id).into_bytes();
        let found = self.session(batch, &key)?;
        let before = found.clone();
        let now = match (change, found) {
            (SessionChange::Ensure(session), None) => Some(self.make_session(batch, tenant, *session, ops)?),
            (SessionChange::Ensure(session), Some(mut kept)) => {
                // Its time is over: what is made now is another one, and must not find the messages of this one.
                if kept.session.is_expired(session.updated_at) {
                    return Err(StoreError::ConditionFailed(Condition::SessionAbsent(id)));
                }
                kept.session.touch(session.updated_at);
                Some(kept)
            }
            (SessionChange::Append { first_at, last_at, messages }, found) => {
                let mut kept = match found {
                    Some(kept) => kept,
                    None => self.make_session(batch, tenant, Session::new(id, first_at), ops)?,
                };
                append_messages(tenant, &mut kept.session, last_at, &messages, ops);
                Some(kept)
            }
            (SessionChange::Change { title, at }, Some(mut kept)) if !kept.session.is_expired(at) => {
                if let Some(title) = title {
                    kept.session.title = title;
                }
                kept.session.touch(at);
                Some(kept)
            }
            // A session that has gone since, or is another one by now, has nothing to be summarised.
            (SessionChange::Summarize(summary), found) => found.map(|mut kept| {
                if summary.up_to <= kept.session.messages {
                    kept.session.summary = Some(*summary);
                }
                kept
            }),
            (SessionChange::Close, Some(kept)) => {
                self.close_session(batch, tenant, &key, &kept, ops)?;
                None
            }
            (SessionChange::Change { .. } | SessionChange::Close, _) => {
                return Err(StoreError::ConditionFailed(Condition::SessionExists(id)));
            }
        };
        match batch.sessions.entry(key) {
            Entry::Occupied(mut place) => place.get_mut().now = now,
            Entry::Vacant(place) => _ = place.insert(Changed { before, now }),
        }
        Ok(())
    }

    /// Writes the sessions that a batch has changed, and when they expire.
    pub(super) fn put_sessions(batch: &Facts, ops: &mut Vec<Op>) -> Result<(), StoreError> {
        for (key, Changed { before, now }) in &batch.sessions {
            if before == now {
                continue;
            }
            match now {
                Some(now) => record::put(ops, Table::Sessions, key.clone(), &json(now)?),
                None => ops.push(Op::delete(Table::Sessions, key.clone())),
            }
            let (expired, expires) = (expiry_key(key, before.as_ref()), expiry_key(key, now.as_ref()));
            if expired != expires {
                ops.extend(expired.map(|key| Op::delete(Table::SessionExpiries, key)));
                if let Some(key) = expires {
                    record::put(ops, Table::SessionExpiries, key, b"");
                }
            }
        }
        Ok(())
    }

    /// Makes a session, at the head of its lists.
    fn make_session(
        &self,
        batch: &mut Facts,
        tenant: &TenantId,
        mut session: Session,
        ops: &mut Vec<Op>,
    ) -> Result<KeptSession, StoreError> {
        let key = Key::of(tenant).session(&session.id).into_bytes();
        let is_closed = self.group.closed.contains(&key) || batch.closed.contains(&key);
        if is_closed || self.view.contains(Table::Removals, &key)? {
            // Of the one that was there before, not everything is removed yet.
            return Err(StoreError::ConditionFailed(Condition::SessionAbsent(session.id)));
        }
        session.messages = 0;
        session.touch(session.updated_at);
        let place = self.take_place(batch, tenant, None, &session.id, ops)?;
        let agent_place = match session.agent_id {
            Some(agent) => Some(self.take_place(batch, tenant, Some(agent), &session.id, ops)?),
            None => None,
        };
        Ok(KeptSession { place, agent_place, session })
    }

    /// Takes a session out of its lists, and marks it.
    fn close_session(
        &self,
        batch: &mut Facts,
        tenant: &TenantId,
        key: &Bytes,
        kept: &KeptSession,
        ops: &mut Vec<Op>,
    ) -> Result<(), StoreError> {
        for (agent, place) in kept.places() {
            self.leave_place(batch, tenant, agent, place, ops)?;
        }
        record::put(ops, Table::Removals, key.clone(), b"");
        batch.closed.insert(key.clone());
        Ok(())
    }

    fn head(&self, batch: &Facts, key: &Bytes) -> Result<Head, StoreError> {
        match batch.heads.get(key).or_else(|| self.group.heads.get(key)) {
            Some(head) => Ok(*head),
            None => Head::read(self.view, key),
        }
    }

    fn take_place(
        &self,
        batch: &mut Facts,
        tenant: &TenantId,
        agent: Option<AgentId>,
        session: &SessionId,
        ops: &mut Vec<Op>,
    ) -> Result<u64, StoreError> {
        let list = Key::of(tenant).session_list(agent);
        let key = list.clone().into_bytes();
        let Head { next: place, taken } = self.head(batch, &key)?;
        batch.heads.insert(key, Head { next: place + 1, taken: taken + 1 });
        record::put(ops, Table::SessionPlaces, list.number(place).into_bytes(), session.as_str().as_bytes());
        Ok(place)
    }

    fn leave_place(
        &self,
        batch: &mut Facts,
        tenant: &TenantId,
        agent: Option<AgentId>,
        place: u64,
        ops: &mut Vec<Op>,
    ) -> Result<(), StoreError> {
        let list = Key::of(tenant).session_list(agent);
        let key = list.clone().into_bytes();
        let Head { next, taken } = self.head(batch, &key)?;
        batch.heads.insert(key, Head { next, taken: taken.saturating_sub(1) });
        ops.push(Op::delete(Table::SessionPlaces, list.clone().number(place).into_bytes()));
        for level in LEVELS {
            let key = gap_key(&list, level, place / width(level));
            let empty = self.empty_places(batch, &key)? + 1;
            batch.gaps.insert(key, Some(empty));
            if empty == width(level) && level > 1 {
                // Nobody looks into a stretch that is empty: what is known of its parts can go.
                let first = place / width(level) * FANOUT;
                for part in first..first + FANOUT {
                    batch.gaps.insert(gap_key(&list, level - 1, part), None);
                }
            }
        }
        Ok(())
    }

    fn empty_places(&self, batch: &Facts, key: &Bytes) -> Result<u64, StoreError> {
        match batch.gaps.get(key).or_else(|| self.group.gaps.get(key)) {
            Some(empty) => Ok(empty.unwrap_or(0)),
            None => match self.view.get(Table::SessionGaps, key)? {
                Some(payload) => number_of(Table::SessionGaps, key, &payload),
                None => Ok(0),
            },
        }
    }
}

fn append_messages(tenant: &TenantId, session: &mut Session, at: Timestamp, messages: &[Bytes], ops: &mut Vec<Op>) {
    session.touch(at);
    let mut rest = messages;
    while !rest.is_empty() {
        let key = Key::of(tenant).session(&session.id).number(session.messages).into_bytes();
        let (payload, count) = record::list::pack(rest);
        record::put(ops, Table::Messages, key, &payload);
        session.messages += count as u64;
        rest = rest.get(count..).unwrap_or_default();
    }
}

/// Where the session with this key stands among those that expire.
fn expiry_key(key: &[u8], kept: Option<&KeptSession>) -> Option<Bytes> {
    let session = &kept?.session;
    let (tenant, _) = split_tenant(key)?;
    Some(Key::of(&tenant).time(session.expires_at?).session(&session.id).into_bytes())
}
