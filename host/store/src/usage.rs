//! What was used, counted by the writer in the batch that writes the event that it comes from: a crash neither loses nor
//! doubles it.
//!
//! A day has a record of the tenant as a whole, one of each key and one of each agent that has used something on it, and one
//! of each combination of all that is told apart. So a budget is checked with a few looks, a month's with one for each day of
//! it, and whoever wants to know what it was used for reads the days that they ask for.

use bytes::Bytes;
use futures::future::BoxFuture;
use vivarium_domain::{Date, Subject, TenantId, UsageEntry, Used, UsedBy};

use crate::StoreError;
use crate::batch::{Prepared, Step, from_json, json};
use crate::record::Op;
use crate::remove::next_tenant;
use crate::sled_store::{SledStore, Walk};
use crate::table::{Key, Place, Range, Table};
use crate::view::Direction;

/// The kinds of a day's records, as their keys have them.
pub(crate) const OF_TENANT: u8 = 0;
const OF_KEY: u8 = 1;
const OF_AGENT: u8 = 2;
pub(crate) const OF_EACH: u8 = 3;

/// How many bytes of a key are a day.
const DAY_BYTES: usize = 4;

/// The records that count this, each with what it counts.
pub(crate) fn counted_by(
    tenant: &TenantId,
    day: Date,
    more: UsageEntry,
) -> Result<Vec<(Bytes, UsageEntry)>, StoreError> {
    let UsageEntry { by, used } = more;
    let of_each = Key::of(tenant).day(day).byte(OF_EACH).client_text(&String::from_utf8_lossy(&json(&by)?));
    let key = by.key.map(|key| (Subject::Key(key), UsedBy { key: Some(key), ..UsedBy::default() }));
    let agent = by.agent.map(|agent| (Subject::Agent(agent), UsedBy { agent: Some(agent), ..UsedBy::default() }));
    let of_subjects = [Some((Subject::Tenant, UsedBy::default())), key, agent].into_iter().flatten();
    let mut counted: Vec<_> =
        of_subjects.map(|(subject, by)| (place(tenant, day, subject), UsageEntry { by, used })).collect();
    counted.push((of_each.into_bytes(), UsageEntry { by, used }));
    Ok(counted)
}

/// The key of what a subject has used on a day.
fn place(tenant: &TenantId, day: Date, subject: Subject) -> Bytes {
    let key = Key::of(tenant).day(day);
    let key = match subject {
        Subject::Tenant => key.byte(OF_TENANT),
        Subject::Key(id) => key.byte(OF_KEY).id(id.as_bytes()),
        Subject::Agent(id) => key.byte(OF_AGENT).agent(id),
    };
    key.into_bytes()
}

/// The day and the kind of a record, by its key.
pub(crate) fn day_of(tenant: &TenantId, key: &[u8]) -> Result<(Date, u8), StoreError> {
    let parts = key.get(Key::of(tenant).as_slice().len()..).and_then(|rest| rest.split_first_chunk::<DAY_BYTES>());
    let day = parts.and_then(|([year_high, year_low, month, day], rest)| {
        let year = i16::try_from(u16::from_be_bytes([*year_high, *year_low])).ok()?;
        let date = Date::new(year, i8::try_from(*month).ok()?, i8::try_from(*day).ok()?).ok()?;
        Some((date, *rest.first()?))
    });
    day.ok_or_else(|| StoreError::Corrupt(format!("{}: there is no day", Place(Table::Usage, key))))
}

impl SledStore {
    pub(crate) async fn list_usage(
        &self,
        tenant: TenantId,
        from: Date,
        to: Date,
    ) -> Result<Vec<(Date, UsageEntry)>, StoreError> {
        let mut found = Vec::new();
        let last = Range::prefix(Key::of(&tenant).day(to).as_slice());
        let range = Range { to: last.to, ..Range::prefix(Key::of(&tenant).as_slice()) };
        let range = range.starting_at(Key::of(&tenant).day(from).as_slice());
        if range.is_empty() {
            return Ok(found);
        }
        self.walk(Table::Usage, range, Direction::Forward, usize::MAX, |key, payload| {
            let (day, kind) = day_of(&tenant, &key)?;
            if kind == OF_EACH {
                found.push((day, from_json(Table::Usage, &key, &payload)?));
            }
            Ok(Walk::On)
        })
        .await?;
        Ok(found)
    }

    pub(crate) fn used_by(
        &self,
        tenant: &TenantId,
        subject: Subject,
        from: Date,
        to: Date,
    ) -> Result<Vec<(Date, Used)>, StoreError> {
        let mut used = Vec::new();
        let days = std::iter::successors(Some(from), |day| day.tomorrow().ok()).take_while(|day| *day <= to);
        for day in days {
            let entry: Option<UsageEntry> = self.record(Table::Usage, &place(tenant, day, subject))?;
            used.extend(entry.map(|entry| (day, entry.used)));
        }
        Ok(used)
    }

    /// Forgets what was used before a day, at most so many records. Gives how many.
    pub(crate) fn forget_usage_before(&self, before: Date, limit: usize) -> BoxFuture<'_, Result<usize, StoreError>> {
        Box::pin(async move {
            let mut steps = Vec::new();
            let mut tenants = Range::prefix(b"");
            while steps.len() < limit {
                let first = self.view.walk(Table::Usage, &tenants, Direction::Forward, 1)?.pop();
                let Some((key, _)) = first else { break };
                let (tenant, next) = next_tenant(Table::Usage, &key)?;
                tenants.from = next;
                let range = Range::prefix(Key::of(&tenant).as_slice());
                let range = range.before(Key::of(&tenant).day(before).as_slice());
                self.walk(Table::Usage, range, Direction::Forward, limit, |key, _| {
                    if steps.len() == limit {
                        return Ok(Walk::Stop);
                    }
                    steps.push(Step::Write(Op::delete(Table::Usage, key)));
                    Ok(Walk::On)
                })
                .await?;
            }
            let forgotten = steps.len();
            if forgotten > 0 {
                self.enqueue(Ok(Prepared::of_steps(steps))).await?;
            }
            Ok(forgotten)
        })
    }
}

#[cfg(test)]
mod tests {
    use vivarium_domain::{AgentId, KeyId, Money};

    use super::*;
    use crate::{Batch, Store, StoreOptions, Write};

    const OPTIONS: StoreOptions = StoreOptions { journal_bytes: 64 * 1024, reserve_bytes: 0 };

    fn day(text: &str) -> Date {
        text.parse().unwrap()
    }

    fn tokens(count: u64) -> Used {
        Used { model_calls: 1, input_tokens: count, cost: Money::from_nanos(count), ..Used::default() }
    }

    fn count(on: &str, by: UsedBy, used: Used) -> Batch {
        Write::CountUsage { day: day(on), more: Box::new(UsageEntry { by, used }) }.into()
    }

    #[tokio::test]
    async fn what_is_counted_at_once_by_many_adds_up_for_everybody_and_survives_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let (acme, other): (TenantId, TenantId) = ("acme".parse().unwrap(), "other".parse().unwrap());
        let (key, agent) = (KeyId::new(), AgentId::new());
        let by = |model: &str, agent| UsedBy { key: Some(key), agent, model: Some(model.to_owned()), plugin: None };
        let mut store = SledStore::open_with(folder.path(), OPTIONS).unwrap().0;
        for round in 0..2 {
            let writes = (0..100_u64).flat_map(|number| {
                let agent = number.is_multiple_of(2).then_some(agent);
                let model = if number < 50 { "a/x" } else { "b/y" };
                [("2026-11-22", 1), ("2026-11-23", 10)]
                    .map(|(on, tokens_each)| store.commit(&acme, count(on, by(model, agent), tokens(tokens_each))))
            });
            for written in writes.collect::<Vec<_>>() {
                written.await.unwrap();
            }
            store.commit(&other, count("2026-11-22", by("a/x", None), tokens(7))).await.unwrap();
            let times = round + 1;
            let sums = |subject| {
                let used = store.used_by(&acme, subject, day("2026-11-01"), day("2026-11-30")).unwrap();
                used.into_iter().map(|(day, used)| (day.day(), used.input_tokens)).collect::<Vec<_>>()
            };
            assert_eq!(sums(Subject::Tenant), [(22, 100 * times), (23, 1000 * times)]);
            assert_eq!(sums(Subject::Key(key)), sums(Subject::Tenant));
            assert_eq!(sums(Subject::Agent(agent)), [(22, 50 * times), (23, 500 * times)]);
            assert_eq!(sums(Subject::Agent(AgentId::new())), []);
            let listed = store.usage(&acme, day("2026-11-22"), day("2026-11-22")).await.unwrap();
            assert_eq!(listed.len(), 4, "two models, with the agent and without: {listed:?}");
            assert!(listed.iter().all(|(_, entry)| entry.used.cost.nanos() == 25 * times));
            assert!(store.usage(&acme, day("2026-11-24"), day("2026-11-23")).await.unwrap().is_empty());
            drop(store);
            store = SledStore::open_with(folder.path(), OPTIONS).unwrap().0;
        }
        let examined = store.examine();
        assert!(examined.iter().all(|part| part.errors.is_empty()), "{examined:?}");
    }

    #[tokio::test]
    async fn days_that_are_over_for_long_are_forgotten_a_bounded_number_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let store = SledStore::open_with(folder.path(), OPTIONS).unwrap().0;
        let by = UsedBy { key: Some(KeyId::new()), ..UsedBy::default() };
        for tenant in ["a", "b"] {
            for on in ["2025-10-01", "2025-10-02", "2026-11-22"] {
                store.commit(&tenant.parse().unwrap(), count(on, by.clone(), tokens(1))).await.unwrap();
            }
        }
        // Of each day three records: of the tenant, of the key, and of all that is told apart.
        assert_eq!(store.forget_usage(day("2025-10-01"), 100).await.unwrap(), 0);
        assert_eq!(store.forget_usage(day("2026-11-22"), 5).await.unwrap(), 5);
        assert_eq!(store.forget_usage(day("2026-11-22"), 100).await.unwrap(), 7);
        assert_eq!(store.forget_usage(day("2026-11-22"), 100).await.unwrap(), 0);
        for tenant in ["a", "b"] {
            let left = store.usage(&tenant.parse().unwrap(), day("2025-01-01"), day("2026-12-31")).await.unwrap();
            assert_eq!(left.len(), 1);
        }
    }
}
