//! What requests with an idempotency key have made, so that a repeat is given the first answer. The record is written in the
//! batch that makes the thing itself: neither is there without the other.
//!
//! The key of a run is kept as long as the run is, and goes with it. Any other answer is kept for a time; after that its key is
//! as unused, also before it is swept.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use vivarium_domain::{ContentHash, RunId, TenantId, Timestamp};

use crate::StoreError;
use crate::batch::{Prepared, Step, json};
use crate::record::{self, Op};
use crate::remove::next_tenant;
use crate::resolve::Resolver;
use crate::sled_store::{SledStore, Walk};
use crate::table::{Key, Place, Range, Table, last_hash};
use crate::view::Direction;

/// The largest answer that is kept, in bytes. Most are about as large as their requests, whose bodies have 1 MiB unless the
/// operator lets them have more.
pub const MAX_KEPT_ANSWER: usize = 4 << 20;

/// The first request that came with an idempotency key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdempotencyRecord {
    /// SHA-256 of the request.
    pub request_hash: ContentHash,
    /// What it made.
    #[serde(flatten)]
    pub made: Made,
    /// When.
    pub created_at: Timestamp,
}

/// What a request has made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Made {
    /// A run: its log is what there is to answer.
    Run(RunId),
    /// Something else: this was the answer.
    Answer(KeptAnswer),
}

/// An answer, as it was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// Its headers, by name.
    pub headers: Vec<(String, String)>,
    /// Its body: JSON.
    pub body: String,
    /// When it is forgotten.
    pub expires_at: Timestamp,
}

impl IdempotencyRecord {
    /// Its time is over: the key is as unused.
    #[must_use]
    pub fn is_over(&self, now: Timestamp) -> bool {
        match &self.made {
            Made::Run(_) => false,
            Made::Answer(answer) => answer.expires_at <= now,
        }
    }
}

/// The writes that remember a key.
pub(crate) fn prepare(
    tenant: &TenantId,
    text: &str,
    record: &IdempotencyRecord,
    steps: &mut Vec<Step>,
) -> Result<(), StoreError> {
    let (mut ops, mut index) = (Vec::new(), Vec::new());
    match &record.made {
        Made::Run(run) => {
            record::put(&mut index, Table::RunKeys, Key::of(tenant).run(*run).client_text(text).into_bytes(), b"");
        }
        Made::Answer(answer) => {
            let bytes = answer.body.len();
            if bytes > MAX_KEPT_ANSWER {
                return Err(StoreError::AnswerTooLarge { bytes });
            }
            let expiry = Key::of(tenant).time(answer.expires_at).client_text(text).into_bytes();
            record::put(&mut index, Table::AnswerExpiries, expiry, b"");
        }
    }
    let key = Key::of(tenant).client_text(text).into_bytes();
    record::put(&mut ops, Table::Idempotency, key.clone(), &json(record)?);
    steps.extend(ops.into_iter().map(|op| Step::Idempotency { key: key.clone(), op }));
    steps.extend(index.into_iter().map(Step::Write));
    Ok(())
}

impl SledStore {
    pub(crate) fn one_idempotency(
        &self,
        tenant: &TenantId,
        key: &str,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        let calm = self.removals.calm();
        let key = Key::of(tenant).client_text(key);
        let found: Option<IdempotencyRecord> = self.record(Table::Idempotency, key.as_slice())?;
        let Some(record) = found.filter(|record| !record.is_over(Timestamp::now())) else { return Ok(None) };
        match record.made {
            Made::Run(run) if !self.is_whole(tenant, run, calm)? => Ok(None),
            _ => Ok(Some(record)),
        }
    }

    /// Forgets answers whose time was over at `now`, at most `limit`. Gives how many.
    pub(crate) async fn forget_answers_until(&self, now: Timestamp, limit: usize) -> Result<usize, StoreError> {
        let mut steps = Vec::new();
        let mut tenants = Range::prefix(b"");
        while steps.len() < limit {
            let first = self.view.walk(Table::AnswerExpiries, &tenants, Direction::Forward, 1)?.pop();
            let Some((key, _)) = first else { break };
            let (tenant, next) = next_tenant(Table::AnswerExpiries, &key)?;
            tenants.from = next;
            let range = Range::prefix(Key::of(&tenant).as_slice());
            let range = range.before(Key::of(&tenant).time(now).as_slice());
            self.walk(Table::AnswerExpiries, range, Direction::Forward, limit, |expiry, _| {
                if steps.len() == limit {
                    return Ok(Walk::Stop);
                }
                let no_key =
                    || StoreError::Corrupt(format!("{}: there is no key", Place(Table::AnswerExpiries, &expiry)));
                let hash = last_hash(&expiry).ok_or_else(no_key)?;
                steps.push(Step::ForgetAnswer { key: Key::of(&tenant).hash(&hash).into_bytes(), expiry, now });
                Ok(Walk::On)
            })
            .await?;
        }
        let forgotten = steps.len();
        if forgotten > 0 {
            self.enqueue(Ok(Prepared::of_steps(steps))).await?;
        }
        Ok(forgotten)
    }
}

impl Resolver<'_> {
    pub(crate) fn is_key_used(&self, key: &Bytes) -> Result<bool, StoreError> {
        Ok(self.group_has_key(key) || self.stored_key(key)?.is_some_and(|record| !record.is_over(Timestamp::now())))
    }

    /// The end of an answer's time. Its key may stand for something newer by now, which stays.
    pub(crate) fn forget_answer(
        &self,
        key: Bytes,
        expiry: Bytes,
        now: Timestamp,
        ops: &mut Vec<Op>,
    ) -> Result<(), StoreError> {
        if !self.group_has_key(&key) && self.stored_key(&key)?.is_some_and(|record| record.is_over(now)) {
            ops.push(Op::delete(Table::Idempotency, key));
        }
        ops.push(Op::delete(Table::AnswerExpiries, expiry));
        Ok(())
    }

    fn stored_key(&self, key: &Bytes) -> Result<Option<IdempotencyRecord>, StoreError> {
        let payload = self.stored(Table::Idempotency, key)?;
        payload.map(|payload| crate::batch::from_json(Table::Idempotency, key, &payload)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{Batch, Condition, Store, StoreOptions, Write};

    fn open(folder: &std::path::Path) -> SledStore {
        SledStore::open_with(folder, StoreOptions { journal_bytes: 64 * 1024, reserve_bytes: 0 }).unwrap().0
    }

    fn answer(body: &str, expires_at: Timestamp) -> IdempotencyRecord {
        let headers = vec![("location".to_owned(), "/v1/things/1".to_owned())];
        let kept = KeptAnswer { status: 201, headers, body: body.to_owned(), expires_at };
        let request_hash = ContentHash::of(body.as_bytes());
        IdempotencyRecord { request_hash, made: Made::Answer(kept), created_at: Timestamp::UNIX_EPOCH }
    }

    /// What the first request with this key commits.
    fn first(key: &str, record: &IdempotencyRecord) -> Batch {
        let write = Write::PutIdempotency { key: key.to_owned(), record: record.clone() };
        Batch { conditions: vec![Condition::IdempotencyKeyUnused(key.to_owned())], writes: vec![write] }
    }

    fn count(store: &SledStore, table: Table) -> usize {
        store.view.walk(table, &Range::prefix(b""), Direction::Forward, 1000).unwrap().len()
    }

    fn in_an_hour() -> Timestamp {
        Timestamp::now() + Duration::from_secs(3600)
    }

    #[tokio::test]
    async fn an_answer_is_found_until_its_time_is_over_and_then_its_key_is_as_unused() {
        let folder = tempfile::tempdir().unwrap();
        let (store, acme, other) = (open(folder.path()), "acme".parse().unwrap(), "other".parse().unwrap());
        let (kept, over) = (answer("kept", in_an_hour()), answer("over", Timestamp::now()));
        store.commit(&acme, first("kept", &kept)).await.unwrap();
        store.commit(&acme, first("over", &over)).await.unwrap();
        assert_eq!(store.idempotency(&acme, "kept").await.unwrap(), Some(kept.clone()));
        assert_eq!(store.idempotency(&acme, "over").await.unwrap(), None);
        assert_eq!(store.idempotency(&other, "kept").await.unwrap(), None);
        let refused = store.commit(&acme, first("kept", &over)).await.unwrap_err();
        assert!(matches!(refused, StoreError::ConditionFailed(Condition::IdempotencyKeyUnused(_))), "{refused}");
        // The key is free again, and what it stands for now is not swept with what it stood for before.
        let again = answer("again", in_an_hour());
        store.commit(&acme, first("over", &again)).await.unwrap();
        assert_eq!(store.forget_answers(Timestamp::now(), 10).await.unwrap(), 1);
        assert_eq!(store.idempotency(&acme, "over").await.unwrap(), Some(again));
        assert_eq!(store.idempotency(&acme, "kept").await.unwrap(), Some(kept));
        assert_eq!((count(&store, Table::Idempotency), count(&store, Table::AnswerExpiries)), (2, 2));
    }

    #[tokio::test]
    async fn answers_whose_time_is_over_are_forgotten_whole_and_a_bounded_number_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (store, now) = (open(folder.path()), Timestamp::now());
        let long = "x".repeat(200_000);
        for tenant in ["a", "b"] {
            let tenant: TenantId = tenant.parse().unwrap();
            for number in 0..5 {
                let record = answer(&long, now + Duration::from_secs(number));
                store.commit(&tenant, first(&format!("k{number}"), &record)).await.unwrap();
            }
        }
        assert!(count(&store, Table::Parts) >= 30);
        assert_eq!(store.forget_answers(now, 10).await.unwrap(), 0, "a moment too early");
        let later = now + Duration::from_secs(60);
        assert_eq!(store.forget_answers(later, 3).await.unwrap(), 3);
        assert_eq!(store.forget_answers(later, 1000).await.unwrap(), 7);
        assert_eq!(store.forget_answers(later, 1000).await.unwrap(), 0);
        // The pieces of a large one go when the journal is brought into the trees.
        drop(store);
        let store = open(folder.path());
        for table in [Table::Idempotency, Table::AnswerExpiries, Table::Parts] {
            assert_eq!(count(&store, table), 0, "{}", table.name());
        }
    }

    #[tokio::test]
    async fn an_answer_that_is_too_large_is_refused_with_all_of_its_batch() {
        let folder = tempfile::tempdir().unwrap();
        let (store, acme) = (open(folder.path()), "acme".parse().unwrap());
        let team = vivarium_domain::Team {
            id: vivarium_domain::TeamId::default(),
            name: "t".to_owned(),
            created_at: Timestamp::UNIX_EPOCH,
        };
        let large = answer(&"x".repeat(MAX_KEPT_ANSWER + 1), in_an_hour());
        let refused = store.commit(&acme, first("k", &large).and(Write::PutTeam(team).into())).await.unwrap_err();
        assert!(matches!(refused, StoreError::AnswerTooLarge { bytes } if bytes == MAX_KEPT_ANSWER + 1), "{refused}");
        assert!(store.teams(&acme).await.unwrap().is_empty());
        let largest = answer(&"x".repeat(MAX_KEPT_ANSWER), in_an_hour());
        store.commit(&acme, first("k", &largest)).await.unwrap();
        assert_eq!(store.idempotency(&acme, "k").await.unwrap(), Some(largest));
    }

    #[test]
    fn a_record_of_the_first_form_is_that_of_a_run() {
        let (run, hash) = (RunId::new(), ContentHash::of(b"x"));
        let first = serde_json::json!({"request_hash": hash, "run": run, "created_at": Timestamp::UNIX_EPOCH});
        let record = IdempotencyRecord { request_hash: hash, made: Made::Run(run), created_at: Timestamp::UNIX_EPOCH };
        assert_eq!(serde_json::from_value::<IdempotencyRecord>(first.clone()).unwrap(), record);
        assert_eq!(serde_json::to_value(&record).unwrap(), first);
    }
}
