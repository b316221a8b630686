//! Runs that have ended: indexed by how and when, and counted. A batch that was resolved before may have added or removed
//! what the trees do not show yet.

use bytes::Bytes;

use super::{Facts, Resolver};
use crate::StoreError;
use crate::batch::{EndedRun, GoneRun};
use crate::places::number_of;
use crate::record::{self, Op};
use crate::table::{Key, Table};

impl Resolver<'_> {
    /// Counts a run that has ended, once.
    pub(super) fn count_run(&self, batch: &mut Facts, ended: EndedRun) -> Result<(), StoreError> {
        let EndedRun { tenant, place } = ended;
        if self.has_ended(batch, &place)? {
            return Ok(());
        }
        batch.ended.insert(place, true);
        self.change_count(batch, tenant, 1)
    }

    /// Moves a run to those whose log was removed, with the `ops` that remove it. Not if another batch was faster, which
    /// may have removed the run.
    pub(super) fn close_log(
        &self,
        batch: &mut Facts,
        [before, after]: [Bytes; 2],
        writes: Vec<Op>,
        ops: &mut Vec<Op>,
    ) -> Result<(), StoreError> {
        if self.has_ended(batch, &before)? {
            ops.push(Op::delete(Table::EndedRuns, before.clone()));
            ops.extend(writes);
            batch.ended.insert(before, false);
            batch.ended.insert(after, true);
        }
        Ok(())
    }

    /// Takes a run out of the count and, if it had ended, out of the index by time. Its files go with its session; where
    /// there is none, now.
    pub(super) fn remove_run(&self, batch: &mut Facts, gone: GoneRun, ops: &mut Vec<Op>) -> Result<(), StoreError> {
        let GoneRun { tenant, key, places, session, files } = gone;
        for place in places {
            if self.has_ended(batch, &place)? {
                ops.push(Op::delete(Table::EndedRuns, place.clone()));
                batch.ended.insert(place, false);
                self.change_count(batch, tenant.clone(), -1)?;
            }
        }
        batch.runs.insert(key, false);
        if files.is_empty() {
            return Ok(());
        }
        let session = match session {
            Some(session) if self.session(batch, &session)?.is_some() => Some(session),
            _ => None,
        };
        for file in files {
            let (table, list) = match &session {
                Some(session) => (Table::SessionFiles, session),
                None => (Table::LooseBlobs, &tenant),
            };
            record::put(ops, table, Key::within(list).hash(&file).into_bytes(), b"");
        }
        Ok(())
    }

    fn has_ended(&self, batch: &Facts, place: &Bytes) -> Result<bool, StoreError> {
        match batch.ended.get(place).or_else(|| self.group.ended.get(place)) {
            Some(is_there) => Ok(*is_there),
            None => self.view.contains(Table::EndedRuns, place),
        }
    }

    fn change_count(&self, batch: &mut Facts, tenant: Bytes, by: i64) -> Result<(), StoreError> {
        let count = match batch.counts.get(&tenant).or_else(|| self.group.counts.get(&tenant)) {
            Some(count) => *count,
            None => match self.view.get(Table::RunCounts, &tenant)? {
                Some(payload) => number_of(Table::RunCounts, &tenant, &payload)?,
                None => 0,
            },
        };
        batch.counts.insert(tenant, count.saturating_add_signed(by));
        Ok(())
    }
}
