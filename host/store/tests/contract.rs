//! What any backend of the store promises. Each promise is a function of `&dyn Store`, so that a second backend keeps the
//! same ones; at the end they are asked of [`SledStore`](vivarium_store::SledStore), once as it is written and once more
//! after it was closed and opened again where that can make a difference.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod support;

use bytes::Bytes;
use futures::future::join_all;
use support::*;
use vivarium_domain::{
    ApiKey, ContentHash, InstalledRecord, KeyId, PluginGrant, PluginName, PluginVersion, RunId, RunStatus, Scope,
    SealedSecret, SecretUse, Tenant, TenantId, Tier,
};
use vivarium_store::{Batch, Condition, RunFilter, Store, StoreError, Write};

async fn a_run_is_read_as_it_was_written(store: &dyn Store) {
    let (acme, mut run) = (tenant("acme"), run("s", RunStatus::Queued));
    store.commit(&acme, batch([put(&run)])).await.unwrap();
    assert_eq!(store.run(&acme, run.id).await.unwrap(), Some(run.clone()));
    run.status = RunStatus::Completed;
    run.last_seq = 9;
    store.commit(&acme, batch([put(&run)])).await.unwrap();
    assert_eq!(store.run(&acme, run.id).await.unwrap(), Some(run));
    assert_eq!(store.run(&acme, RunId::new()).await.unwrap(), None);
}

async fn runs_are_listed_newest_first_and_filtered(store: &dyn Store) {
    let acme = tenant("acme");
    let all: Vec<_> = (0..150_usize)
        .map(|i| {
            let status = if i % 3 == 0 { RunStatus::Running } else { RunStatus::Completed };
            run(if i % 2 == 0 { "even" } else { "odd" }, status)
        })
        .collect();
    join_all(all.iter().map(|run| store.commit(&acme, batch([put(run)])))).await.into_iter().for_each(Result::unwrap);
    let expected = |keep: &dyn Fn(usize) -> bool, limit: usize| -> Vec<RunId> {
        all.iter().enumerate().rev().filter(|(i, _)| keep(*i)).map(|(_, run)| run.id).take(limit).collect()
    };
    let listed = async |filter: RunFilter| -> Vec<RunId> {
        store.runs(&acme, filter).await.unwrap().items.into_iter().map(|run| run.id).collect()
    };
    let running = Some(RunStatus::Running);
    let even = Some(session("even"));
    assert_eq!(listed(RunFilter { limit: 1000, ..RunFilter::default() }).await, expected(&|_| true, 1000));
    assert_eq!(listed(RunFilter { limit: 7, ..RunFilter::default() }).await, expected(&|_| true, 7));
    assert_eq!(listed(RunFilter { limit: 0, ..RunFilter::default() }).await, []);
    assert_eq!(
        listed(RunFilter { limit: 1000, before: Some(all[100].id), ..RunFilter::default() }).await,
        expected(&|i| i < 100, 1000)
    );
    assert_eq!(
        listed(RunFilter { limit: 1000, status: running, ..RunFilter::default() }).await,
        expected(&|i| i % 3 == 0, 1000)
    );
    assert_eq!(
        listed(RunFilter { limit: 30, status: Some(RunStatus::Completed), ..RunFilter::default() }).await,
        expected(&|i| i % 3 != 0, 30)
    );
    assert_eq!(
        listed(RunFilter { limit: 9, session: even.clone(), ..RunFilter::default() }).await,
        expected(&|i| i % 2 == 0, 9)
    );
    assert_eq!(
        listed(RunFilter { limit: 1000, session: even, status: running, before: Some(all[90].id), agent: None }).await,
        expected(&|i| i < 90 && i % 6 == 0, 1000)
    );
}

async fn events_are_numbered_without_gaps(store: &dyn Store) {
    let (acme, id) = (tenant("acme"), RunId::new());
    for numbers in [1..=1, 2..=4, 5..=5, 6..=200] {
        store.commit(&acme, batch([events(id, numbers)])).await.unwrap();
    }
    for (after, limit) in [(0, 1000), (0, 3), (2, 1), (3, 2), (4, 100), (150, 10), (199, 10), (200, 10), (u64::MAX, 1)]
    {
        let read = store.events(&acme, id, after, limit).await.unwrap();
        let expected: Vec<_> = (after.saturating_add(1)..=200).take(limit).map(|seq| (seq, event(seq))).collect();
        assert_eq!(read, expected, "after {after}, {limit}");
    }
    assert_eq!(store.events(&acme, RunId::new(), 0, 10).await.unwrap(), []);
}

async fn a_gap_or_an_overwrite_of_the_log_is_refused(store: &dyn Store) {
    let (acme, id) = (tenant("acme"), RunId::new());
    store.commit(&acme, batch([events(id, 1..=3)])).await.unwrap();
    for numbers in [1..=1, 3..=5, 5..=5, 0..=0] {
        let seq = *numbers.start();
        let refused = store.commit(&acme, batch([events(id, numbers)])).await.unwrap_err();
        let expected = Condition::NextEvent { run: id, seq };
        assert!(matches!(&refused, StoreError::ConditionFailed(condition) if *condition == expected), "{refused}");
    }
    // Within one batch, too; and then nothing of it is written.
    let gap = store.commit(&acme, batch([events(id, 4..=4), events(id, 6..=6)])).await;
    assert!(matches!(gap, Err(StoreError::ConditionFailed(_))));
    store.commit(&acme, batch([events(id, 4..=4), events(id, 5..=6)])).await.unwrap();
    assert_eq!(store.events(&acme, id, 0, 100).await.unwrap().len(), 6);
}

async fn a_large_event_comes_back_whole(store: &dyn Store) {
    let (acme, id) = (tenant("acme"), RunId::new());
    let large = Bytes::from((0..1_000_000_u32).map(|i| b' ' + (i % 90) as u8).collect::<Vec<u8>>());
    let sizes = [10, 61_000, 70_000, 1_000_000, 5, 40_000, 40_000];
    let logged: Vec<Bytes> = sizes.iter().map(|size| large.slice(..*size)).collect();
    let write = Write::AppendEvents { run: id, first_seq: 1, events: logged.clone() };
    store.commit(&acme, batch([write])).await.unwrap();
    store.commit(&acme, batch([events(id, 8..=8)])).await.unwrap();
    let read = store.events(&acme, id, 0, 100).await.unwrap();
    assert_eq!(read.len(), 8);
    for ((number, json), (index, expected)) in read.iter().zip(logged.iter().enumerate()) {
        assert_eq!(*number, index as u64 + 1);
        assert!(json == expected, "event {number} differs");
    }
    // A run and a message that are large, and become small again.
    let mut big = run("large", RunStatus::Queued);
    big.input = "x".repeat(200_000);
    let said = message(big.id, 0, &"y".repeat(150_000));
    store.commit(&acme, batch([put(&big), messages("large", vec![said.clone()])])).await.unwrap();
    assert_eq!(store.run(&acme, big.id).await.unwrap(), Some(big.clone()));
    assert_eq!(store.messages(&acme, &session("large"), 1).await.unwrap(), [said]);
    big.input = "x".to_owned();
    store.commit(&acme, batch([put(&big)])).await.unwrap();
    assert_eq!(store.run(&acme, big.id).await.unwrap(), Some(big));
}

async fn a_session_counts_its_messages_and_keeps_their_order(store: &dyn Store) {
    let (acme, s, id) = (tenant("acme"), session("talk"), RunId::new());
    assert_eq!(store.session(&acme, &s).await.unwrap(), None);
    let said: Vec<_> = (0..100).map(|i| message(id, i, &format!("word {i}"))).collect();
    store.commit(&acme, batch([messages("talk", said[..3].to_vec())])).await.unwrap();
    let twice = batch([messages("talk", said[3..5].to_vec()), messages("talk", said[5..6].to_vec())]);
    store.commit(&acme, twice).await.unwrap();
    // Not awaited one by one: these share groups, and each must see the count of the one before.
    let rest = said[6..].iter().map(|one| store.commit(&acme, batch([messages("talk", vec![one.clone()])])));
    join_all(rest).await.into_iter().for_each(Result::unwrap);
    let kept = store.session(&acme, &s).await.unwrap().unwrap();
    assert_eq!((kept.messages, kept.created_at, kept.updated_at), (100, at(0), at(99)));
    assert_eq!(store.messages(&acme, &s, 1000).await.unwrap(), said);
    assert_eq!(store.messages(&acme, &s, 2).await.unwrap(), said[98..]);
    assert_eq!(store.messages(&acme, &s, 0).await.unwrap(), []);
}

async fn a_batch_is_written_whole_or_not_at_all(store: &dyn Store) {
    let (acme, winner, loser) = (tenant("acme"), run("s", RunStatus::Queued), run("s", RunStatus::Queued));
    store.commit(&acme, first_request("once", &winner)).await.unwrap();
    let mut late = first_request("once", &loser);
    late.writes.push(events(loser.id, 1..=2));
    late.writes.push(messages("late", vec![message(loser.id, 0, "hello")]));
    let refused = store.commit(&acme, late).await.unwrap_err();
    let expected = Condition::IdempotencyKeyUnused("once".to_owned());
    assert!(matches!(&refused, StoreError::ConditionFailed(condition) if *condition == expected), "{refused}");
    assert_eq!(store.run(&acme, loser.id).await.unwrap(), None);
    assert_eq!(store.events(&acme, loser.id, 0, 10).await.unwrap(), []);
    assert_eq!(store.session(&acme, &session("late")).await.unwrap(), None);
    assert_eq!(store.idempotency(&acme, "once").await.unwrap().unwrap().run, winner.id);
    assert_eq!(store.idempotency(&acme, "never").await.unwrap(), None);
}

async fn a_failed_condition_fails_alone(store: &dyn Store) {
    let (acme, id, taken) = (tenant("acme"), RunId::new(), run("s", RunStatus::Queued));
    store.commit(&acme, first_request("taken", &taken)).await.unwrap();
    let many = (1..=100).flat_map(|seq| {
        let good = store.commit(&acme, batch([events(id, seq..=seq)]));
        let bad = store.commit(&acme, first_request("taken", &run("s", RunStatus::Queued)));
        [good, bad]
    });
    for (index, outcome) in join_all(many).await.into_iter().enumerate() {
        assert_eq!(outcome.is_ok(), index % 2 == 0, "{index}: {outcome:?}");
    }
    assert_eq!(store.events(&acme, id, 0, 1000).await.unwrap().len(), 100);
}

async fn one_of_many_first_requests_wins_and_all_see_it(store: &dyn Store) {
    let acme = tenant("acme");
    for round in 0..10 {
        let key = format!("round {round}");
        let requests: Vec<_> = (0..64).map(|_| run("s", RunStatus::Queued)).collect();
        let outcomes = join_all(requests.iter().map(async |request| {
            let won = match store.commit(&acme, first_request(&key, request)).await {
                Ok(()) => true,
                Err(StoreError::ConditionFailed(_)) => false,
                Err(other) => panic!("{other}"),
            };
            // Whoever lost finds the winner at once.
            (won, store.idempotency(&acme, &key).await.unwrap().unwrap().run)
        }))
        .await;
        let winners: Vec<_> = outcomes.iter().zip(&requests).filter(|((won, _), _)| *won).collect();
        assert_eq!(winners.len(), 1);
        assert!(outcomes.iter().all(|(_, seen)| *seen == winners[0].1.id));
    }
}

async fn batches_are_written_in_the_order_of_the_calls(store: &dyn Store) {
    let (acme, id) = (tenant("acme"), RunId::new());
    // Polled from the last to the first: were the order that of polling, the log would have gaps.
    let mut calls: Vec<_> = (1..=300).map(|seq| store.commit(&acme, batch([events(id, seq..=seq)]))).collect();
    while let Some(call) = calls.pop() {
        call.await.unwrap();
    }
    // One that nobody waits for is written all the same, before whatever is called later.
    drop(store.commit(&acme, batch([events(id, 301..=301)])));
    store.commit(&acme, batch([events(id, 302..=302)])).await.unwrap();
}

async fn unfinished_runs_are_found_across_tenants(store: &dyn Store) {
    let runs: Vec<_> = (0..3).map(|i| (tenant(&format!("unfinished-{i}")), run("s", RunStatus::Waiting))).collect();
    for (owner, run) in &runs {
        let mut done = run.clone();
        done.id = RunId::new();
        done.status = RunStatus::Completed;
        store.commit(owner, batch([put(run), put(&done)])).await.unwrap();
    }
    let mut ended = runs[1].1.clone();
    ended.status = RunStatus::Failed;
    store.commit(&runs[1].0, batch([put(&ended)])).await.unwrap();
    let found = store.unfinished_runs().await.unwrap();
    let found: Vec<_> = found.into_iter().filter(|(owner, _)| owner.as_str().starts_with("unfinished-")).collect();
    assert_eq!(found, [runs[0].clone(), runs[2].clone()]);
}

async fn keys_are_found_by_their_hash_and_by_their_tenant(store: &dyn Store) {
    let (acme, other) = (tenant("acme"), tenant("other"));
    let key = |owner: &TenantId| ApiKey {
        id: KeyId::new(),
        tenant: owner.clone(),
        name: "test".to_owned(),
        scopes: vec![Scope::Runs],
        created_at: at(0),
        revoked_at: None,
    };
    let record = Tenant { id: acme.clone(), tier: Tier::Max, created_at: at(0) };
    let (hash, mut mine) = (ContentHash::of(b"secret"), key(&acme));
    let writes = [Write::PutTenant(record.clone()), Write::PutApiKey { hash, key: mine.clone() }];
    store.commit(&acme, batch(writes)).await.unwrap();
    let theirs = Write::PutApiKey { hash: ContentHash::of(b"theirs"), key: key(&other) };
    store.commit(&other, batch([theirs])).await.unwrap();
    assert_eq!(store.tenant(&acme).await.unwrap(), Some(record.clone()));
    assert_eq!(store.tenants().await.unwrap(), [record]);
    mine.revoked_at = Some(at(5));
    store.commit(&acme, batch([Write::PutApiKey { hash, key: mine.clone() }])).await.unwrap();
    assert_eq!(store.api_key_by_hash(hash).await.unwrap(), Some(mine.clone()));
    assert_eq!(store.api_key_by_hash(ContentHash::of(b"guess")).await.unwrap(), None);
    assert_eq!(store.api_keys(&acme).await.unwrap(), [(hash, mine)]);
}

async fn a_batch_can_not_write_what_is_anothers(store: &dyn Store) {
    let (acme, other) = (tenant("acme"), tenant("other"));
    let record = Tenant { id: other.clone(), tier: Tier::Free, created_at: at(0) };
    let refused = store.commit(&acme, batch([Write::PutTenant(record)])).await.unwrap_err();
    let text = "the write was refused: a batch of tenant acme can not write a tenant's record of tenant other";
    assert_eq!(refused.to_string(), text);
    assert_eq!(store.tenant(&other).await.unwrap(), None);
}

async fn blobs_are_kept_under_their_hash_and_per_tenant(store: &dyn Store) {
    let (acme, other, bytes) = (tenant("acme"), tenant("other"), Bytes::from("a page".repeat(10_000)));
    let hash = store.put_blob(&acme, bytes.clone()).await.unwrap();
    assert_eq!(hash, ContentHash::of(&bytes));
    assert_eq!(store.put_blob(&acme, bytes.clone()).await.unwrap(), hash);
    assert_eq!(store.blob(&acme, hash).await.unwrap(), Some(bytes));
    assert_eq!(store.blob(&other, hash).await.unwrap(), None);
    assert_eq!(store.blob(&acme, ContentHash::of(b"nothing")).await.unwrap(), None);
}

async fn a_tenant_reads_nothing_of_another(store: &dyn Store) {
    let (acme, other) = (tenant("acme"), tenant("acme2"));
    let mine = run("s", RunStatus::Queued);
    let mut batch = first_request("key", &mine);
    batch.writes.extend([events(mine.id, 1..=2), messages("s", vec![message(mine.id, 0, "hello")])]);
    store.commit(&acme, batch).await.unwrap();
    sees_nothing(store, &other, &mine, "key").await;
}

async fn sees_nothing(store: &dyn Store, other: &TenantId, mine: &vivarium_domain::Run, key: &str) {
    assert_eq!(store.run(other, mine.id).await.unwrap(), None);
    assert_eq!(store.events(other, mine.id, 0, 10).await.unwrap(), []);
    assert_eq!(store.session(other, &mine.session_id).await.unwrap(), None);
    assert_eq!(store.messages(other, &mine.session_id, 10).await.unwrap(), []);
    assert_eq!(store.idempotency(other, key).await.unwrap(), None);
    let everything = RunFilter { limit: 10, ..RunFilter::default() };
    assert_eq!(store.runs(other, everything.clone()).await.unwrap().items, []);
    let of_session = RunFilter { session: Some(mine.session_id.clone()), ..everything };
    assert_eq!(store.runs(other, of_session).await.unwrap().items, []);
}

async fn an_empty_batch_and_a_writable_disk_are_fine(store: &dyn Store) {
    store.commit(&tenant("acme"), Batch::default()).await.unwrap();
    store.check_writable().await.unwrap();
}

fn plugin(name: &str) -> PluginName {
    name.parse().unwrap()
}

async fn a_plugins_state_is_its_own_and_is_listed_by_prefix(store: &dyn Store) {
    let (acme, other) = (tenant("acme"), tenant("acme2"));
    let (mine, longer) = (plugin("a/b"), plugin("a/bc"));
    let set = |plugin: &PluginName, key: &str, value: &[u8]| Write::PutState {
        plugin: plugin.clone(),
        key: key.to_owned(),
        value: Bytes::copy_from_slice(value),
    };
    let mut writes: Vec<Write> = (0..150).map(|i| set(&mine, &format!("k/{i:03}"), &[7; 3])).collect();
    writes.extend([set(&mine, "", b"empty key"), set(&mine, "l", b"x"), set(&longer, "k/001", b"of another")]);
    store.commit(&acme, batch(writes)).await.unwrap();
    assert_eq!(store.state(&acme, &mine, "k/001").await.unwrap().as_deref(), Some(&[7, 7, 7][..]));
    assert_eq!(store.state(&acme, &longer, "k/001").await.unwrap().as_deref(), Some(&b"of another"[..]));
    assert_eq!(store.state(&other, &mine, "k/001").await.unwrap(), None);
    assert_eq!(store.state_keys(&other, &mine, "", 10).await.unwrap(), []);
    let keys = store.state_keys(&acme, &mine, "k/", 1000).await.unwrap();
    assert_eq!(keys.len(), 150);
    assert_eq!(keys[149], ("k/149".to_owned(), 3));
    assert_eq!(store.state_keys(&acme, &mine, "", 2).await.unwrap()[0], (String::new(), 9));
    let delete = Write::DeleteState { plugin: mine.clone(), key: "k/001".to_owned() };
    store.commit(&acme, batch([delete])).await.unwrap();
    assert_eq!(store.state(&acme, &mine, "k/001").await.unwrap(), None);
    assert_eq!(store.state_keys(&acme, &mine, "k/", 1000).await.unwrap().len(), 149);
    let too_large = set(&mine, "k", &vec![0; vivarium_store::MAX_STATE_VALUE + 1]);
    assert!(matches!(store.commit(&acme, batch([too_large])).await, Err(StoreError::Refused(_))));
}

async fn plugins_grants_and_secrets_are_kept_per_tenant_and_removed(store: &dyn Store) {
    let (acme, other) = (tenant("acme"), tenant("acme2"));
    let digest = ContentHash::of(b"component");
    let manifest = vivarium_domain::Manifest::from_json(
        br#"{"name":"a/b","version":"1.0.0","contract":"0.1.0","description":"d",
             "tools":[{"name":"t","title":"T","description":"d","inputSchema":{"type":"object"}}]}"#,
    )
    .unwrap();
    let version = PluginVersion { digest, bytes: 9, manifest, installed_at: at(0), installed_by: None };
    let record = InstalledRecord { name: plugin("a/b"), versions: vec![version], active: digest, before: Vec::new() };
    let grant = PluginGrant { state: true, ..PluginGrant::default() };
    let secret = SealedSecret {
        name: "token".parse().unwrap(),
        inject: SecretUse { host: "example.com".into(), header: "authorization".into(), prefix: "Bearer ".into() },
        key_id: "k".into(),
        sealed: "c2VhbGVk".into(),
        set_at: at(0),
    };
    let writes = [
        Write::PutPlugin(Box::new(record.clone())),
        Write::PutGrant { plugin: plugin("a/b"), grant: Box::new(grant.clone()) },
        Write::PutSecret(secret.clone()),
    ];
    store.commit(&acme, batch(writes)).await.unwrap();
    assert_eq!(store.plugins(&acme).await.unwrap(), std::slice::from_ref(&record));
    assert_eq!(store.plugin(&acme, &plugin("a/b")).await.unwrap(), Some(record));
    assert_eq!(store.grant(&acme, &plugin("a/b")).await.unwrap(), Some(grant));
    assert_eq!(store.secrets(&acme).await.unwrap(), std::slice::from_ref(&secret));
    assert_eq!(store.plugins(&other).await.unwrap(), []);
    assert_eq!(store.grant(&other, &plugin("a/b")).await.unwrap(), None);
    assert_eq!(store.secrets(&other).await.unwrap(), []);
    let writes = [
        Write::DeletePlugin(plugin("a/b")),
        Write::DeleteGrant(plugin("a/b")),
        Write::DeleteSecret(secret.name.clone()),
    ];
    store.commit(&acme, batch(writes)).await.unwrap();
    assert_eq!(store.plugins(&acme).await.unwrap(), []);
    assert_eq!(store.grant(&acme, &plugin("a/b")).await.unwrap(), None);
    assert_eq!(store.secrets(&acme).await.unwrap(), []);
}

async fn a_removed_blob_is_gone_for_its_tenant_alone(store: &dyn Store) {
    let (acme, other) = (tenant("acme"), tenant("acme2"));
    let bytes = Bytes::from_static(b"component");
    let hash = store.put_blob(&acme, bytes.clone()).await.unwrap();
    store.put_blob(&other, bytes.clone()).await.unwrap();
    store.delete_blob(&acme, hash).await.unwrap();
    store.delete_blob(&acme, hash).await.unwrap();
    assert_eq!(store.blob(&acme, hash).await.unwrap(), None);
    assert_eq!(store.blob(&other, hash).await.unwrap(), Some(bytes));
}

/// Asks each promise of a store of its own.
macro_rules! of_sled {
    ($($promise:ident),* $(,)?) => {
        mod sled {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $promise() {
                    let folder = tempfile::tempdir().unwrap();
                    super::$promise(&super::support::open(&folder)).await;
                }
            )*
        }
    };
}

of_sled!(
    a_run_is_read_as_it_was_written,
    runs_are_listed_newest_first_and_filtered,
    events_are_numbered_without_gaps,
    a_gap_or_an_overwrite_of_the_log_is_refused,
    a_large_event_comes_back_whole,
    a_session_counts_its_messages_and_keeps_their_order,
    a_batch_is_written_whole_or_not_at_all,
    a_failed_condition_fails_alone,
    one_of_many_first_requests_wins_and_all_see_it,
    batches_are_written_in_the_order_of_the_calls,
    unfinished_runs_are_found_across_tenants,
    keys_are_found_by_their_hash_and_by_their_tenant,
    a_batch_can_not_write_what_is_anothers,
    blobs_are_kept_under_their_hash_and_per_tenant,
    a_tenant_reads_nothing_of_another,
    an_empty_batch_and_a_writable_disk_are_fine,
    a_plugins_state_is_its_own_and_is_listed_by_prefix,
    plugins_grants_and_secrets_are_kept_per_tenant_and_removed,
    a_removed_blob_is_gone_for_its_tenant_alone,
);
