//! What many callers share, and what they do not: a sync, and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod support;

use std::collections::BTreeMap;

use futures::future::join_all;
use proptest::prelude::*;
use support::*;
use vivarium_domain::{RunId, RunStatus};
use vivarium_store::{RunFilter, SledStore, Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_batches_share_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = SledStore::open(folder.path()).unwrap();
    let acme = tenant("acme");
    let calls = (0..1000).map(|_| store.commit(&acme, batch([events(RunId::new(), 1..=1)])));
    join_all(calls.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    assert_eq!(store.batches(), 1000);
    // In line at once and taken in groups: were each synced alone, these would be a thousand.
    assert!(store.flushes() < 250, "{} syncs for 1000 batches", store.flushes());
}

#[tokio::test]
async fn a_batch_alone_is_synced_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for seq in 1..=20 {
        store.commit(&tenant("acme"), batch([events(RunId::from_bytes([1; 16]), seq..=seq)])).await.unwrap();
        assert_eq!(store.flushes(), seq);
    }
}

#[tokio::test]
async fn reads_see_the_same_before_while_and_after_the_journal_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme, id) = (open(&folder), tenant("acme"), RunId::new());
    let mut unfinished = Vec::new();
    // Hundreds of turns of the small journals; every read crosses both layers and the trees.
    for seq in 1..=1500_u64 {
        let mut one = run("s", RunStatus::Running);
        store.commit(&acme, batch([events(id, seq..=seq), put(&one)])).await.unwrap();
        if seq % 3 == 0 {
            one.status = RunStatus::Completed;
            store.commit(&acme, batch([put(&one)])).await.unwrap();
        } else {
            unfinished.push(one.id);
        }
        if seq % 250 == 0 {
            let log = store.events(&acme, id, 0, usize::MAX).await.unwrap();
            assert!(log.iter().map(|(number, _)| *number).eq(1..=seq));
            let running = RunFilter { status: Some(RunStatus::Running), limit: usize::MAX, ..RunFilter::default() };
            let listed: Vec<_> =
                store.runs(&acme, running).await.unwrap().items.into_iter().map(|run| run.id).collect();
            assert!(listed.iter().eq(unfinished.iter().rev()));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Ids that are prefixes of each other, that hold separators, that look like lengths: whoever writes what, each tenant
    /// and each session reads exactly its own.
    #[test]
    fn tenants_and_sessions_read_exactly_their_own(
        writes in proptest::collection::vec(("[a1_-]{1,3}", "[a/:0!~]{1,3}", 1..4_usize), 1..30),
        reopen: bool,
    ) {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut store = open(&folder);
            let mut expected: BTreeMap<(String, String), Vec<_>> = BTreeMap::new();
            let mut runs: BTreeMap<(String, String), Vec<RunId>> = BTreeMap::new();
            for (owner, name, count) in &writes {
                let made = run(name, RunStatus::Completed);
                let said: Vec<_> = (0..*count).map(|i| message(made.id, i as i64, &format!("{owner} {name} {i}"))).collect();
                let writes = [put(&made), messages(name, said.clone()), events(made.id, 1..=*count as u64)];
                store.commit(&tenant(owner), batch(writes)).await.unwrap();
                expected.entry((owner.clone(), name.clone())).or_default().extend(said);
                runs.entry((owner.clone(), name.clone())).or_default().push(made.id);
            }
            if reopen {
                drop(store);
                store = open(&folder);
            }
            let owners: Vec<_> = writes.iter().map(|(owner, ..)| owner).collect();
            let names: Vec<_> = writes.iter().map(|(_, name, _)| name).collect();
            for owner in &owners {
                for name in &names {
                    let place = ((*owner).clone(), (*name).clone());
                    let said = store.messages(&tenant(owner), &session(name), 1000).await.unwrap();
                    prop_assert_eq!(said, expected.get(&place).cloned().unwrap_or_default());
                    let filter = RunFilter { session: Some(session(name)), limit: 1000, ..RunFilter::default() };
                    let listed: Vec<_> = store.runs(&tenant(owner), filter).await.unwrap().items;
                    let listed: Vec<_> = listed.into_iter().rev().map(|run| run.id).collect();
                    prop_assert_eq!(listed, runs.get(&place).cloned().unwrap_or_default());
                }
            }
            for ((owner, _), made) in &runs {
                for reader in &owners {
                    let log = store.events(&tenant(reader), made[0], 0, 1000).await.unwrap();
                    prop_assert_eq!(log.is_empty(), *reader != owner);
                    prop_assert_eq!(store.run(&tenant(reader), made[0]).await.unwrap().is_some(), *reader == owner);
                }
            }
            Ok(())
        })?;
    }
}
