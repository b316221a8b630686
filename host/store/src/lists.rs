//! What readers ask for: one record, or a page of them. A page costs by what it holds and looks at, never by how much there
//! is: each list is an index of its own.

mod runs;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use vivarium_domain::{
    Agent, AgentId, ApiKey, ContentHash, CorpusDocument, Delivery, DeliveryStatus, DocumentId, Run, RunId, Session,
    SessionId, SessionMessage, Tenant, TenantId, Timestamp,
};

use crate::batch::{from_json, list_of};
use crate::places::below_the_newest;
use crate::remove::{Calm, next_tenant};
use crate::resolve::{KeptSession, agent_id};
use crate::sled_store::{SledStore, Walk};
use crate::table::{Key, Place, Range, Table, last_hash, last_id, last_number, split_tenant};
use crate::view::{Direction, PIECE};
use crate::{AgentFilter, Page, SessionFilter, SessionStart, StoreError};

impl<T, C> Page<T, C> {
    fn empty() -> Self {
        Self { items: Vec::new(), next: None }
    }
}

/// One record.
impl SledStore {
    pub(crate) fn one_run(&self, tenant: &TenantId, run: RunId) -> Result<Option<Run>, StoreError> {
        let calm = self.removals.calm();
        match self.record(Table::Runs, Key::of(tenant).run(run).as_slice())? {
            Some(run) if !self.removals.is_calm_since(calm) && self.is_removed(tenant, &run)? => Ok(None),
            found => Ok(found),
        }
    }

    /// Whether the run is gone, or its session is being removed.
    fn is_removed(&self, tenant: &TenantId, run: &Run) -> Result<bool, StoreError> {
        let mark = Key::of(tenant).session(&run.session_id);
        if !run.stateless && self.view.contains(Table::Removals, mark.as_slice())? {
            return Ok(true);
        }
        // In this order: where there is no mark any more, there is no run any more.
        Ok(!self.view.contains(Table::Runs, Key::of(tenant).run(run.id).as_slice())?)
    }

    /// Whether what was read of a run since then is whole: the run is not part of a session that was being removed.
    pub(crate) fn is_whole(&self, tenant: &TenantId, run: RunId, calm: Calm) -> Result<bool, StoreError> {
        if self.removals.is_calm_since(calm) {
            return Ok(true);
        }
        let found: Option<Run> = self.record(Table::Runs, Key::of(tenant).run(run).as_slice())?;
        found.map_or(Ok(false), |run| Ok(!self.is_removed(tenant, &run)?))
    }

    pub(crate) fn one_api_key(&self, hash: ContentHash) -> Result<Option<ApiKey>, StoreError> {
        let Some(key) = self.record::<ApiKey>(Table::ApiKeys, hash.as_bytes())? else { return Ok(None) };
        let place = Key::of(&key.tenant).hash(&hash);
        let used = self.view.get(Table::KeyUses, place.as_slice())?.and_then(|payload| last_number(&payload));
        let last_used_at = used.and_then(|used| Timestamp::from_microsecond(used.cast_signed()).ok());
        Ok(Some(ApiKey { last_used_at, ..key }))
    }

    pub(crate) fn one_session(&self, tenant: &TenantId, session: &SessionId) -> Result<Option<Session>, StoreError> {
        let kept: Option<KeptSession> = self.record(Table::Sessions, Key::of(tenant).session(session).as_slice())?;
        Ok(kept.map(|kept| kept.session))
    }

    pub(crate) fn one_delivery(&self, tenant: &TenantId, run: RunId) -> Result<Option<Delivery>, StoreError> {
        let calm = self.removals.calm();
        let found = self.record(Table::Deliveries, Key::of(tenant).run(run).as_slice())?;
        Ok(if self.is_whole(tenant, run, calm)? { found } else { None })
    }

    pub(crate) fn named_agent(&self, tenant: &TenantId, name: &str) -> Result<Option<Agent>, StoreError> {
        let key = Key::of(tenant).client_text(name);
        let Some(payload) = self.view.get(Table::AgentNames, key.as_slice())? else { return Ok(None) };
        let agent = agent_id(key.as_slice(), &payload)?;
        let found: Option<Agent> = self.record(Table::Agents, Key::of(tenant).agent(agent).as_slice())?;
        // It may have been renamed between the two looks.
        Ok(found.filter(|agent| agent.config.name == name))
    }
}

/// What runs have left, and what was appended to lists.
impl SledStore {
    /// The events or messages of a list from number `first` on.
    async fn list_from(
        &self,
        table: Table,
        list: Key,
        first: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let (mut found, mut next): (Vec<(u64, Bytes)>, _) = (Vec::new(), first);
        while found.len() < limit {
            let begun = next;
            let key = list.clone().number(next);
            let piece = self.view.walk_list(table, list.as_slice(), key.as_slice(), limit - found.len())?;
            for (key, payload) in piece {
                let (first, items) = list_of(table, &key, &payload)?;
                found.extend((first..).zip(items).skip_while(|(number, _)| *number < next).take(limit - found.len()));
                next = found.last().map_or(next, |(number, _)| number.saturating_add(1));
            }
            if next == begun {
                break;
            }
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    pub(crate) async fn list_deliveries(
        &self,
        tenant: TenantId,
        before: Option<RunId>,
        limit: usize,
    ) -> Result<Page<Delivery, RunId>, StoreError> {
        let calm = self.removals.calm();
        let before = before.map(|run| Key::of(&tenant).run(run));
        self.page(Table::Deliveries, Key::of(&tenant), before, limit, |key, payload| {
            let run = run_of(Table::Deliveries, key)?;
            let whole = self.is_whole(&tenant, run, calm)?.then(|| from_json(Table::Deliveries, key, payload));
            Ok((run, whole.transpose()?))
        })
        .await
    }

    pub(crate) async fn list_pending_deliveries(&self) -> Result<Vec<(TenantId, Delivery)>, StoreError> {
        let mut found = Vec::new();
        self.walk(Table::PendingDeliveries, Range::prefix(b""), Direction::Forward, PIECE, |key, _| {
            let tenant = tenant_of(Table::PendingDeliveries, &key)?;
            let delivery = self.one_delivery(&tenant, run_of(Table::PendingDeliveries, &key)?)?;
            found.extend(delivery.filter(|one| one.status == DeliveryStatus::Pending).map(|one| (tenant, one)));
            Ok(Walk::On)
        })
        .await?;
        Ok(found)
    }
}

/// Agents and documents.
impl SledStore {
    /// A page of a list, from its end to its beginning: `item` says what stands at a key, and how the key is named to the
    /// client; none where it has gone meanwhile.
    async fn page<T, C: Copy>(
        &self,
        table: Table,
        list: Key,
        before: Option<Key>,
        limit: usize,
        mut item: impl FnMut(&[u8], &[u8]) -> Result<(C, Option<T>), StoreError>,
    ) -> Result<Page<T, C>, StoreError> {
        if limit == 0 {
            return Ok(Page::empty());
        }
        let mut range = Range::prefix(list.as_slice());
        if let Some(before) = before {
            range = range.before(before.as_slice());
        }
        let (mut items, mut last, mut next) = (Vec::new(), None, None);
        self.walk(table, range, Direction::Backward, limit.saturating_add(1), |key, payload| {
            // One more than the page holds: only so is it known that there is a next one.
            if items.len() == limit {
                next = last;
                return Ok(Walk::Stop);
            }
            let (name, found) = item(&key, &payload)?;
            last = Some(name);
            items.extend(found);
            Ok(Walk::On)
        })
        .await?;
        Ok(Page { items, next })
    }

    pub(crate) async fn list_agents(
        &self,
        tenant: TenantId,
        filter: AgentFilter,
    ) -> Result<Page<Agent, AgentId>, StoreError> {
        let id_of = |table, key: &[u8]| Ok::<_, StoreError>(AgentId::from_bytes(id_at_end(table, key)?));
        let list = filter.team.map_or(Key::of(&tenant), |team| Key::of(&tenant).team(team));
        let before = filter.before.map(|agent| list.clone().agent(agent));
        if filter.team.is_none() {
            let page = self.page(Table::Agents, list, before, filter.limit, |key, payload| {
                Ok((id_of(Table::Agents, key)?, Some(from_json(Table::Agents, key, payload)?)))
            });
            return page.await;
        }
        self.page(Table::TeamAgents, list, before, filter.limit, |key, _| {
            let id = id_of(Table::TeamAgents, key)?;
            Ok((id, self.record(Table::Agents, Key::of(&tenant).agent(id).as_slice())?))
        })
        .await
    }

    pub(crate) async fn list_agent_versions(
        &self,
        agent: Key,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<Agent, u64>, StoreError> {
        let before = before.map(|version| agent.clone().number(version));
        self.page(Table::AgentVersions, agent, before, limit, |key, payload| {
            let found: Agent = from_json(Table::AgentVersions, key, payload)?;
            Ok((found.version, Some(found)))
        })
        .await
    }

    pub(crate) async fn list_documents(
        &self,
        tenant: TenantId,
        corpus: Key,
        before: Option<DocumentId>,
        limit: usize,
    ) -> Result<Page<CorpusDocument, DocumentId>, StoreError> {
        let before = before.map(|document| corpus.clone().document(document));
        self.page(Table::CorpusDocuments, corpus, before, limit, |key, _| {
            let id = DocumentId::from_bytes(id_at_end(Table::CorpusDocuments, key)?);
            Ok((id, self.record(Table::Documents, Key::of(&tenant).document(id).as_slice())?))
        })
        .await
    }
}

/// Sessions and their messages.
impl SledStore {
    pub(crate) async fn list_sessions(
        &self,
        tenant: TenantId,
        filter: SessionFilter,
    ) -> Result<Page<Session, u64>, StoreError> {
        let list = Key::of(&tenant).session_list(filter.agent);
        let below = match filter.start {
            SessionStart::Newest => None,
            SessionStart::Skip(skip) => Some(below_the_newest(&self.view, &list, skip)?),
            SessionStart::Cursor(place) => Some(place),
        };
        let below = below.map(|place| list.clone().number(place));
        self.page(Table::SessionPlaces, list, below, filter.limit, |key, payload| {
            let no_session =
                || StoreError::Corrupt(format!("{}: there is no session", Place(Table::SessionPlaces, key)));
            let place = last_number(key).ok_or_else(no_session)?;
            let id = std::str::from_utf8(payload).ok().and_then(|id| id.parse().ok()).ok_or_else(no_session)?;
            Ok((place, self.one_session(&tenant, &id)?))
        })
        .await
    }

    /// By tenant: those of one stand in the order of their time, so what is not over is not looked at.
    pub(crate) async fn list_expired(
        &self,
        now: Timestamp,
        limit: usize,
    ) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
        let mut found = Vec::new();
        let mut tenants = Range::prefix(b"");
        while found.len() < limit {
            let first = self.view.walk(Table::SessionExpiries, &tenants, Direction::Forward, 1)?.pop();
            let Some((key, _)) = first else { break };
            let (tenant, next) = next_tenant(Table::SessionExpiries, &key)?;
            tenants.from = next;
            let range = Range::prefix(Key::of(&tenant).as_slice());
            let range = range.before(Key::of(&tenant).time(after(now)).as_slice());
            self.walk(Table::SessionExpiries, range, Direction::Forward, limit, |key, _| {
                if found.len() == limit {
                    return Ok(Walk::Stop);
                }
                let id = session_of_expiry(&key)?;
                // The key has its time in microseconds only.
                let session = self.one_session(&tenant, &id)?;
                found.extend(session.filter(|session| session.is_expired(now)).map(|_| (tenant.clone(), id)));
                Ok(Walk::On)
            })
            .await?;
        }
        Ok(found)
    }

    pub(crate) async fn list_messages_from(
        &self,
        tenant: TenantId,
        session: SessionId,
        first: u64,
        limit: usize,
    ) -> Result<Vec<SessionMessage>, StoreError> {
        let (calm, list) = (self.removals.calm(), Key::of(&tenant).session(&session));
        let found = self.list_from(Table::Messages, list.clone(), first, limit).await?;
        if !self.is_session(&list, calm)? {
            return Ok(Vec::new());
        }
        found.iter().map(|(_, message)| from_json(Table::Messages, list.as_slice(), message)).collect()
    }

    pub(crate) async fn last_messages(
        &self,
        tenant: TenantId,
        session: SessionId,
        limit: usize,
    ) -> Result<Vec<SessionMessage>, StoreError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let (calm, list) = (self.removals.calm(), Key::of(&tenant).session(&session));
        let range = Range::prefix(list.as_slice());
        self.walk(Table::Messages, range, Direction::Backward, limit, |key, payload| {
            let (_, messages) = list_of(Table::Messages, &key, &payload)?;
            for message in messages.iter().rev().take(limit - found.len()) {
                found.push(from_json(Table::Messages, &key, message)?);
            }
            Ok(if found.len() < limit { Walk::On } else { Walk::Stop })
        })
        .await?;
        found.reverse();
        Ok(if self.is_session(&list, calm)? { found } else { Vec::new() })
    }

    /// Whether what was read of a session since then is whole: it was not being removed.
    fn is_session(&self, key: &Key, calm: Calm) -> Result<bool, StoreError> {
        Ok(self.removals.is_calm_since(calm) || self.view.contains(Table::Sessions, key.as_slice())?)
    }
}

/// Tenants, their keys and their plugins.
impl SledStore {
    pub(crate) async fn list_api_keys(&self, tenant: TenantId) -> Result<Vec<(ContentHash, ApiKey)>, StoreError> {
        let mut found = Vec::new();
        let range = Range::prefix(Key::of(&tenant).as_slice());
        self.walk(Table::TenantApiKeys, range, Direction::Forward, PIECE, |key, _| {
            let no_hash = || StoreError::Corrupt(format!("{}: there is no hash", Place(Table::TenantApiKeys, &key)));
            let hash = last_hash(&key).ok_or_else(no_hash)?;
            found.extend(self.one_api_key(hash)?.map(|record| (hash, record)));
            Ok(Walk::On)
        })
        .await?;
        Ok(found)
    }

    /// All records of a table that are this tenant's, by key.
    pub(crate) async fn list_all<T: DeserializeOwned>(
        &self,
        table: Table,
        tenant: TenantId,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        let range = Range::prefix(Key::of(&tenant).as_slice());
        self.walk(table, range, Direction::Forward, PIECE, |key, payload| {
            found.push(from_json(table, &key, &payload)?);
            Ok(Walk::On)
        })
        .await?;
        Ok(found)
    }

    pub(crate) async fn list_state_keys(
        &self,
        space: Key,
        prefix: String,
        limit: usize,
    ) -> Result<Vec<(String, usize)>, StoreError> {
        let mut found = Vec::new();
        if limit == 0 {
            return Ok(found);
        }
        let start = space.as_slice().len();
        let range = Range::prefix(space.last_text(&prefix).as_slice());
        self.walk(Table::State, range, Direction::Forward, limit, |key, payload| {
            let name = key.get(start..).and_then(|name| std::str::from_utf8(name).ok());
            let no_text = || StoreError::Corrupt(format!("{}: its name is no text", Place(Table::State, &key)));
            found.push((name.ok_or_else(no_text)?.to_owned(), payload.len()));
            Ok(if found.len() < limit { Walk::On } else { Walk::Stop })
        })
        .await?;
        Ok(found)
    }

    pub(crate) async fn page_of_tenants(
        &self,
        after: Option<TenantId>,
        limit: usize,
    ) -> Result<Page<Tenant, TenantId>, StoreError> {
        let mut found: Vec<Tenant> = Vec::new();
        let range = Range::prefix(b"");
        let range = after.map_or_else(|| range.clone(), |after| range.clone().after(Key::of(&after).as_slice()));
        // One more than asked for tells whether there is a next page.
        self.walk(Table::Tenants, range, Direction::Forward, limit + 1, |key, payload| {
            found.push(from_json(Table::Tenants, &key, &payload)?);
            Ok(if found.len() > limit { Walk::Stop } else { Walk::On })
        })
        .await?;
        let is_more = found.len() > limit;
        found.truncate(limit);
        let next = found.last().filter(|_| is_more).map(|last| last.id.clone());
        Ok(Page { items: found, next })
    }

    pub(crate) async fn list_tenants(&self) -> Result<Vec<Tenant>, StoreError> {
        let mut found = Vec::new();
        self.walk(Table::Tenants, Range::prefix(b""), Direction::Forward, PIECE, |key, payload| {
            found.push(from_json(Table::Tenants, &key, &payload)?);
            Ok(Walk::On)
        })
        .await?;
        Ok(found)
    }
}

fn id_at_end(table: Table, key: &[u8]) -> Result<[u8; 16], StoreError> {
    last_id(key).ok_or_else(|| StoreError::Corrupt(format!("{}: there is no id", Place(table, key))))
}

fn run_of(table: Table, key: &[u8]) -> Result<RunId, StoreError> {
    id_at_end(table, key).map(RunId::from_bytes)
}

/// The first moment that the index tells from `now`.
fn after(now: Timestamp) -> Timestamp {
    now.checked_add(std::time::Duration::from_micros(1)).unwrap_or(Timestamp::MAX)
}

/// The session that a key of the index of times ends with: after the tenant, the time and the id's length.
fn session_of_expiry(key: &[u8]) -> Result<SessionId, StoreError> {
    let id = split_tenant(key).and_then(|(_, rest)| std::str::from_utf8(rest.get(9..)?).ok()?.parse().ok());
    id.ok_or_else(|| StoreError::Corrupt(format!("{}: there is no session", Place(Table::SessionExpiries, key))))
}

fn tenant_of(table: Table, key: &[u8]) -> Result<TenantId, StoreError> {
    let no_tenant = || StoreError::Corrupt(format!("{}: there is no tenant", Place(table, key)));
    split_tenant(key).map(|(tenant, _)| tenant).ok_or_else(no_tenant)
}
