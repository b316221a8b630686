//! Lists of runs, and their logs. Every filter has an index in which runs stand in the order of their ids. A page with several
//! filters is what stands in all of their indexes: each is asked where it goes on at the earliest, and the next one goes on
//! there. So a page costs by what the shortest index holds, and looks [`MOST_LOOKED_AT`] times at most.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use vivarium_domain::{Run, RunId, RunStatus, TenantId, Timestamp};

use super::{id_at_end, run_of, tenant_of};
use crate::batch::list_of;
use crate::places::number_of;
use crate::remove::next_tenant;
use crate::sled_store::{SledStore, Walk};
use crate::table::{Key, Place, Range, Table, split_tenant};
use crate::view::{Direction, PIECE, View};
use crate::{EndedFilter, Page, RunFilter, StoreError};

/// How often a page of runs looks at most: some ten milliseconds.
const MOST_LOOKED_AT: usize = 2000;

/// How many keys of one index of several are read at a time: mostly it goes on elsewhere.
const AHEAD: usize = 8;

/// An id has the time at which it was made, and that is close to the time that the run has: the same call makes both. Only
/// a clock that is set in between, or a process that is stopped there, could part them.
const SLACK: Duration = Duration::from_secs(60);

/// One index of runs, from its end to its beginning. Ids are numbers here: the next one below is one less.
struct Index<'a> {
    view: &'a View,
    table: Table,
    list: Key,
    at_once: usize,
    /// Read and not yet asked for.
    read: VecDeque<u128>,
}

impl Index<'_> {
    /// The newest run below `below`.
    fn seek(&mut self, below: u128) -> Result<Option<u128>, StoreError> {
        while self.read.pop_front_if(|run| *run >= below).is_some() {}
        if self.read.is_empty() {
            let range = Range::prefix(self.list.as_slice()).before(self.list.clone().run(id(below)).as_slice());
            for key in self.view.keys(self.table, &range, Direction::Backward, self.at_once)? {
                self.read.push_back(number(run_of(self.table, &key)?));
            }
        }
        Ok(self.read.front().copied())
    }
}

/// Goes on below `below`: the oldest of what the indexes have there, and whether it stands in all of them. None: one of them
/// has nothing more.
fn look(indexes: &mut [Index<'_>], below: u128) -> Result<Option<(u128, bool)>, StoreError> {
    let (mut oldest, mut stands_in_all) = (None, true);
    for index in indexes {
        let found = index.seek(oldest.map_or(below, |run: u128| run.saturating_add(1)))?;
        let Some(run) = found else { return Ok(None) };
        stands_in_all &= oldest.is_none_or(|oldest| oldest == run);
        oldest = Some(run);
    }
    Ok(oldest.map(|run| (run, stands_in_all)))
}

impl SledStore {
    pub(crate) async fn list_runs(&self, tenant: TenantId, filter: RunFilter) -> Result<Page<Run, RunId>, StoreError> {
        let (mut items, mut last) = (Vec::new(), None);
        if filter.limit == 0 {
            return Ok(Page::empty());
        }
        let mut indexes = self.indexes(&tenant, &filter);
        let mut below = filter.before.map_or(u128::MAX, number);
        below = below.min(
            filter.created_before.map_or(u128::MAX, |at| first_of(at.checked_add(SLACK).unwrap_or(Timestamp::MAX))),
        );
        let oldest = filter.created_from.map_or(0, |at| first_of(at.checked_sub(SLACK).unwrap_or(Timestamp::MIN)));
        for looked in 1.. {
            let found = look(&mut indexes, below)?.filter(|(run, _)| *run >= oldest);
            let Some((at, stands_in_all)) = found else { break };
            below = if stands_in_all { at } else { at.saturating_add(1) };
            let run = if stands_in_all { self.one_run(&tenant, id(at))? } else { None };
            if let Some(run) = run.filter(|run| matches(&filter, run)) {
                // One more than the page holds: only so is it known that there is a next one.
                if items.len() == filter.limit {
                    return Ok(Page { items, next: last });
                }
                last = Some(run.id);
                items.push(run);
            }
            if looked == MOST_LOOKED_AT {
                return Ok(Page { items, next: Some(id(below)) });
            }
            if looked % PIECE == 0 {
                tokio::task::yield_now().await;
            }
        }
        Ok(Page { items, next: None })
    }

    /// An index for each filter; that of all runs where there is none.
    fn indexes(&self, tenant: &TenantId, filter: &RunFilter) -> Vec<Index<'_>> {
        let of_status = |status: RunStatus| match status.is_terminal() {
            true => (Table::StatusRuns, Key::of(tenant).status(status)),
            false => (Table::Unfinished, Key::of(tenant)),
        };
        let mut lists: Vec<_> = filter.status.map(of_status).into_iter().collect();
        lists.extend(filter.session.as_ref().map(|session| (Table::SessionRuns, Key::of(tenant).session(session))));
        lists.extend(filter.agent.map(|agent| (Table::AgentRuns, Key::of(tenant).agent(agent))));
        if lists.is_empty() {
            lists.push((Table::Runs, Key::of(tenant)));
        }
        let at_once = if lists.len() == 1 { filter.limit.saturating_add(1).min(PIECE) } else { AHEAD };
        let index = |(table, list)| Index { view: &self.view, table, list, at_once, read: VecDeque::new() };
        lists.into_iter().map(index).collect()
    }

    pub(crate) async fn list_unfinished(&self) -> Result<Vec<(TenantId, Run)>, StoreError> {
        let mut found = Vec::new();
        self.walk(Table::Unfinished, Range::prefix(b""), Direction::Forward, PIECE, |key, _| {
            let tenant = tenant_of(Table::Unfinished, &key)?;
            let run = self.one_run(&tenant, run_of(Table::Unfinished, &key)?)?;
            // It may have ended between the index's piece and now.
            found.extend(run.filter(|run| !run.status.is_terminal()).map(|run| (tenant, run)));
            Ok(Walk::On)
        })
        .await?;
        Ok(found)
    }

    /// Tenant by tenant: those of one stand in the order of their ends, so what is not wanted is not looked at.
    pub(crate) async fn list_ended(&self, filter: EndedFilter) -> Result<Vec<(TenantId, RunId)>, StoreError> {
        let mut found = Vec::new();
        let mut tenants = Range::prefix(filter.tenant.as_ref().map_or(Key::within(b""), Key::of).as_slice());
        while found.len() < filter.limit {
            let Some(key) = self.view.keys(Table::EndedRuns, &tenants, Direction::Forward, 1)?.pop() else { break };
            let (tenant, next) = next_tenant(Table::EndedRuns, &key)?;
            tenants.from = next;
            let mut ended = Vec::new();
            for log_removed in [true, false] {
                if !log_removed || !filter.with_log {
                    let list = Key::of(&tenant).ended_list(log_removed);
                    self.ended_before(&list, filter.before, filter.limit - found.len(), &mut ended).await?;
                }
            }
            ended.sort_unstable();
            let runs = ended.into_iter().map(|(_, run)| (tenant.clone(), RunId::from_bytes(run)));
            found.extend(runs.take(filter.limit - found.len()));
            tokio::task::yield_now().await;
        }
        Ok(found)
    }

    /// Of one list the first that ended before a moment, each with the key's time.
    async fn ended_before(
        &self,
        list: &Key,
        before: Option<Timestamp>,
        limit: usize,
        found: &mut Vec<([u8; 8], [u8; 16])>,
    ) -> Result<(), StoreError> {
        let mut range = Range::prefix(list.as_slice());
        if let Some(before) = before {
            range = range.before(list.clone().time(before).as_slice());
        }
        let most = found.len().saturating_add(limit);
        self.walk(Table::EndedRuns, range, Direction::Forward, limit, |key, _| {
            if found.len() == most {
                return Ok(Walk::Stop);
            }
            let no_time = || StoreError::Corrupt(format!("{}: there is no time", Place(Table::EndedRuns, &key)));
            let time = split_tenant(&key).and_then(|(_, rest)| rest.get(1..)?.first_chunk::<8>().copied());
            found.push((time.ok_or_else(no_time)?, id_at_end(Table::EndedRuns, &key)?));
            Ok(Walk::On)
        })
        .await
    }

    pub(crate) fn count_ended(&self, tenant: &TenantId) -> Result<u64, StoreError> {
        let key = Key::of(tenant);
        let count = self.view.get(Table::RunCounts, key.as_slice())?;
        count.map_or(Ok(0), |count| number_of(Table::RunCounts, key.as_slice(), &count))
    }

    pub(crate) async fn list_events(
        &self,
        tenant: TenantId,
        run: RunId,
        after: u64,
        limit: usize,
    ) -> Result<Vec<(u64, Bytes)>, StoreError> {
        let Some(first) = after.checked_add(1) else { return Ok(Vec::new()) };
        let (calm, logs_calm, log) = (self.removals.calm(), self.log_removals.calm(), Key::of(&tenant).run(run));
        let found = self.list_from(Table::Events, log.clone(), first, limit).await?;
        let is_calm = self.removals.is_calm_since(calm) && self.log_removals.is_calm_since(logs_calm);
        let is_whole = is_calm || self.has_whole_log(&tenant, run)? || self.is_nobodys(&log)?;
        Ok(if is_whole { found } else { Vec::new() })
    }

    /// Whether the run is there, and neither it nor its log is being removed.
    fn has_whole_log(&self, tenant: &TenantId, run: RunId) -> Result<bool, StoreError> {
        let run: Option<Run> = self.record(Table::Runs, Key::of(tenant).run(run).as_slice())?;
        run.map_or(Ok(false), |run| Ok(run.log_removed_at.is_none() && !self.is_removed(tenant, &run)?))
    }

    /// The number of a log's last event.
    pub(crate) fn last_of_log(&self, tenant: &TenantId, run: RunId) -> Result<u64, StoreError> {
        let log = Key::of(tenant).run(run);
        let stored = self.view.walk(Table::Events, &Range::prefix(log.as_slice()), Direction::Backward, 1)?.pop();
        let Some((key, payload)) = stored else { return Ok(0) };
        let (first, events) = list_of(Table::Events, &key, &payload)?;
        Ok(first.saturating_add(events.len() as u64).saturating_sub(1))
    }

    /// Whether it is a log without a run: no session's removal takes it away. Where it has gone together with its run, or is
    /// about to, there is neither.
    fn is_nobodys(&self, log: &Key) -> Result<bool, StoreError> {
        // In this order: where there is no mark any more, there is no event any more.
        Ok(!self.view.contains(Table::Runs, log.as_slice())?
            && !self.view.contains(Table::RunRemovals, log.as_slice())?
            && !self.view.keys(Table::Events, &Range::prefix(log.as_slice()), Direction::Forward, 1)?.is_empty())
    }
}

fn number(run: RunId) -> u128 {
    u128::from_be_bytes(*run.as_bytes())
}

fn id(number: u128) -> RunId {
    RunId::from_bytes(number.to_be_bytes())
}

/// The first id that can be made at this time: an id begins with its milliseconds, in 48 bits.
fn first_of(at: Timestamp) -> u128 {
    let milliseconds = u128::try_from(at.as_millisecond()).unwrap_or(0);
    milliseconds.min((1 << 48) - 1) << 80
}

fn matches(filter: &RunFilter, run: &Run) -> bool {
    filter.status.is_none_or(|status| status_is(status, run.status))
        && filter.session.as_ref().is_none_or(|session| !run.stateless && run.session_id == *session)
        && filter.agent.is_none_or(|agent| run.agent.is_some_and(|of| of.id == agent))
        && filter.created_from.is_none_or(|from| run.created_at >= from)
        && filter.created_before.is_none_or(|before| run.created_at < before)
}

/// Of a run that has not ended the record does not say where it is now.
fn status_is(asked: RunStatus, stored: RunStatus) -> bool {
    asked == stored || !asked.is_terminal() && !stored.is_terminal()
}
