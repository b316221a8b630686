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
    Agent, AgentId, AgentRef, ApiKey, AttachmentKind, AuditBy, ContentHash, CorpusDocument, Delivery, DeliveryStatus,
    DocumentId, InstalledRecord, KeptAttachment, PluginGrant, PluginName, PluginVersion, Run, RunId, RunStatus, Scope,
    SealedSecret, SecretUse, Session, SessionMessage, Team, TeamId, Tenant, TenantId, Tier, Timestamp, WebhookForm,
};
use vivarium_store::{
    AgentFilter, Batch, Condition, Made, Page, RunFilter, SessionFilter, SessionStart, Store, StoreError, Write,
};

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
        listed(RunFilter {
            limit: 1000,
            session: even,
            status: running,
            before: Some(all[90].id),
            ..RunFilter::default()
        })
        .await,
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
    assert_eq!(store.idempotency(&acme, "once").await.unwrap().unwrap().made, Made::Run(winner.id));
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
            (won, store.idempotency(&acme, &key).await.unwrap().unwrap().made)
        }))
        .await;
        let winners: Vec<_> = outcomes.iter().zip(&requests).filter(|((won, _), _)| *won).collect();
        assert_eq!(winners.len(), 1);
        assert!(outcomes.iter().all(|(_, seen)| *seen == Made::Run(winners[0].1.id)));
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
    let key = |owner: &TenantId| ApiKey { scopes: vec![Scope::Runs], ..ApiKey::new(owner.clone(), "test", at(0)) };
    let record = Tenant::new(acme.clone(), Tier::Max, at(0));
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
    assert_eq!(store.api_keys(&acme).await.unwrap(), [(hash, mine.clone())]);
    // A use is of a key that is there, and of this tenant.
    for owner in [&acme, &other] {
        store.commit(owner, batch([Write::UseApiKey { hash, at: at(6) }])).await.unwrap();
    }
    let used = ApiKey { last_used_at: Some(at(6)), ..mine.clone() };
    assert_eq!(store.api_key_by_hash(hash).await.unwrap(), Some(used.clone()));
    store.commit(&acme, batch([Write::PutApiKey { hash, key: mine }])).await.unwrap();
    assert_eq!(store.api_keys(&acme).await.unwrap(), [(hash, used)], "a change leaves it");
    for (owner, left) in [(&other, 1), (&acme, 0)] {
        store.commit(owner, batch([Write::DeleteApiKey(hash)])).await.unwrap();
        assert_eq!(store.api_keys(&acme).await.unwrap().len(), left, "{owner} deletes its own alone");
    }
    assert_eq!(store.api_key_by_hash(hash).await.unwrap(), None);
}

async fn tenants_are_listed_page_by_page(store: &dyn Store) {
    for id in ["bb", "a", "c", "aaa"] {
        let tenant = Tenant::new(tenant(id), Tier::Free, at(0));
        store.commit(&tenant.id.clone(), batch([Write::PutTenant(tenant)])).await.unwrap();
    }
    let (mut seen, mut after) = (Vec::new(), None);
    loop {
        let page = store.tenants_after(after.as_ref(), 3).await.unwrap();
        seen.push(page.items.iter().map(|tenant| tenant.id.to_string()).collect::<Vec<_>>());
        let Some(next) = page.next else { break };
        after = Some(next);
    }
    assert_eq!(seen, [vec!["a", "c", "bb"], vec!["aaa"]]);
}

async fn an_operators_batch_makes_a_tenant_once_and_keys_only_for_one_that_is_there(store: &dyn Store) {
    let (operator, acme) = (tenant("operator"), tenant("acme"));
    let record = |tier| Write::PutTenant(Tenant::new(acme.clone(), tier, at(0)));
    let given = |condition: Condition, write: Write| {
        store.commit(&operator, Batch { conditions: vec![condition], writes: vec![write] })
    };
    let (absent, there) = (Condition::TenantAbsent(acme.clone()), Condition::TenantExists(acme.clone()));
    let key = Write::PutApiKey { hash: ContentHash::of(b"first"), key: ApiKey::new(acme.clone(), "first", at(0)) };
    assert!(given(there.clone(), key.clone()).await.is_err());
    // In line behind each other, before either is readable.
    let (one, two) = (given(absent.clone(), record(Tier::Pro)), given(absent.clone(), record(Tier::Free)));
    one.await.unwrap();
    assert!(matches!(two.await, Err(StoreError::ConditionFailed(Condition::TenantAbsent(_)))));
    given(there.clone(), key).await.unwrap();
    assert_eq!(store.api_keys(&acme).await.unwrap().len(), 1);
    assert!(store.close_tenant(&acme, &AuditBy::HOST).await.unwrap());
    for condition in [absent, there] {
        assert!(given(condition, record(Tier::Max)).await.is_err(), "it is being deleted");
    }
    assert_eq!(store.tenant(&acme).await.unwrap(), None);
}

async fn a_batch_can_not_write_what_is_anothers(store: &dyn Store) {
    let (acme, other) = (tenant("acme"), tenant("other"));
    let record = Tenant::new(other.clone(), Tier::Free, at(0));
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
    assert!(store.runs(other, everything.clone()).await.unwrap().items.iter().all(|run| run.id != mine.id));
    let of_session = RunFilter { session: Some(mine.session_id.clone()), ..everything };
    assert_eq!(store.runs(other, of_session).await.unwrap().items, []);
    assert_eq!(store.messages_from(other, &mine.session_id, 0, 10).await.unwrap(), []);
    assert_eq!(store.delivery(other, mine.id).await.unwrap(), None);
    assert!(store.deliveries(other, None, 10).await.unwrap().items.iter().all(|one| one.run_id != mine.id));
    assert!(
        store.pending_deliveries().await.unwrap().iter().all(|(owner, one)| owner != other || one.run_id != mine.id)
    );
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

fn failed(refused: Result<(), StoreError>) -> Condition {
    match refused {
        Err(StoreError::ConditionFailed(condition)) => condition,
        other => panic!("{other:?}"),
    }
}

async fn an_agent_keeps_all_its_versions(store: &dyn Store) {
    let acme = tenant("acme");
    let mut versions = vec![agent("helper")];
    store.commit(&acme, batch([put_agent(&versions[0])])).await.unwrap();
    for prompt in ["Be brief.", "Be kind."] {
        versions.push(next(&versions[versions.len() - 1], |config| config.prompt = prompt.to_owned()));
        store.commit(&acme, batch([put_agent(&versions[versions.len() - 1])])).await.unwrap();
    }
    let id = versions[0].id;
    assert_eq!(store.agent(&acme, id).await.unwrap().as_ref(), versions.last());
    assert_eq!(store.agent_by_name(&acme, "helper").await.unwrap().as_ref(), versions.last());
    assert_eq!(store.agent_version(&acme, id, 2).await.unwrap().as_ref(), versions.get(1));
    assert_eq!(store.agent_version(&acme, id, 4).await.unwrap(), None);
    versions.reverse();
    let page = store.agent_versions(&acme, id, None, 2).await.unwrap();
    assert_eq!((page.items.as_slice(), page.next), (&versions[..2], Some(2)));
    let rest = store.agent_versions(&acme, id, page.next, 2).await.unwrap();
    assert_eq!((rest.items.as_slice(), rest.next), (&versions[2..], None));

    store.commit(&acme, batch([Write::DeleteAgent(id)])).await.unwrap();
    store.commit(&acme, batch([Write::DeleteAgent(id)])).await.unwrap();
    assert_eq!(store.agent(&acme, id).await.unwrap(), None);
    assert_eq!(store.agent_by_name(&acme, "helper").await.unwrap(), None);
    assert_eq!(store.agent_version(&acme, id, 1).await.unwrap(), None);
    assert_eq!(store.agent_versions(&acme, id, None, 10).await.unwrap().items, []);
    // The name is free again.
    store.commit(&acme, batch([put_agent(&agent("helper"))])).await.unwrap();
}

async fn an_agents_versions_follow_each_other_and_its_name_is_its_own(store: &dyn Store) {
    let acme = tenant("acme");
    let (first, other) = (agent("first"), agent("other"));
    let wrong = next(&first, |_| {});
    let expected = |agent: &Agent, version| Condition::AgentVersion { agent: agent.id, version };
    assert_eq!(failed(store.commit(&acme, batch([put_agent(&wrong)])).await), expected(&first, 1));
    store.commit(&acme, batch([put_agent(&first)])).await.unwrap();
    assert_eq!(failed(store.commit(&acme, batch([put_agent(&first)])).await), expected(&first, 0));
    let taken = Condition::AgentNameFree("first".to_owned());
    assert_eq!(failed(store.commit(&acme, batch([put_agent(&agent("first"))])).await), taken);
    // Of many that ask at once, one gets the name; nobody waits in between.
    let rivals: Vec<_> = (0..20).map(|_| agent("rival")).collect();
    let outcomes = join_all(rivals.iter().map(|rival| store.commit(&acme, batch([put_agent(rival)])))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    // Renamed: the old name goes, and another can take it at once, in the same batch.
    let renamed = next(&first, |config| config.name = "renamed".to_owned());
    let mut successor = agent("first");
    successor.id = AgentId::new();
    store.commit(&acme, batch([put_agent(&renamed), put_agent(&successor)])).await.unwrap();
    assert_eq!(store.agent_by_name(&acme, "first").await.unwrap(), Some(successor));
    assert_eq!(store.agent_by_name(&acme, "renamed").await.unwrap(), Some(renamed.clone()));
    // Of many changes at once, one is next.
    let changes: Vec<_> = (0..20).map(|i| next(&renamed, |config| config.prompt = format!("prompt {i}"))).collect();
    let outcomes = join_all(changes.iter().map(|change| store.commit(&acme, batch([put_agent(change)])))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    // As conditions of other writes.
    store.commit(&acme, batch([put_agent(&other)])).await.unwrap();
    for (condition, holds) in [
        (expected(&other, 1), true),
        (expected(&other, 2), false),
        (expected(&agent("none"), 0), true),
        (Condition::AgentNameFree("nobody".to_owned()), true),
        (Condition::AgentNameFree("other".to_owned()), false),
    ] {
        let asked = Batch { conditions: vec![condition.clone()], writes: Vec::new() };
        assert_eq!(store.commit(&acme, asked).await.is_ok(), holds, "{condition:?}");
    }
    let zero = store.commit(&acme, batch([put_agent(&Agent { version: 0, ..agent("zero") })])).await;
    assert!(matches!(zero, Err(StoreError::Refused(_))));
}

async fn agents_are_listed_newest_first_and_by_team(store: &dyn Store) {
    let (acme, two) = (tenant("acme"), TeamId::new(2).unwrap());
    let mut all: Vec<_> = (0..200).map(|i| agent(&format!("agent {i}"))).collect();
    for one in all.iter_mut().step_by(4) {
        one.config.team = two;
    }
    join_all(all.iter().map(|one| store.commit(&acme, batch([put_agent(one)]))))
        .await
        .into_iter()
        .for_each(Result::unwrap);
    // One changes its team.
    let moved = next(&all[8], |config| config.team = TeamId::default());
    store.commit(&acme, batch([put_agent(&moved)])).await.unwrap();
    all[8] = moved;
    all.reverse();
    for (team, limit) in [(None, 7), (None, 100), (None, 200), (Some(two), 7), (Some(two), 49), (Some(two), 1000)] {
        let expected = all.iter().filter(|one| team.is_none_or(|team| one.config.team == team));
        let (mut listed, mut before) = (Vec::new(), None);
        loop {
            let page = store.agents(&acme, AgentFilter { team, before, limit }).await.unwrap();
            assert!(page.items.len() <= limit && !page.items.is_empty());
            listed.extend(page.items);
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert!(listed.iter().eq(expected), "{team:?} {limit}");
    }
    let nobody = AgentFilter { team: TeamId::new(9), limit: 10, before: None };
    assert_eq!(store.agents(&acme, nobody).await.unwrap(), Page { items: Vec::new(), next: None });
    assert_eq!(store.agents(&acme, AgentFilter::default()).await.unwrap(), Page { items: Vec::new(), next: None });
}

async fn teams_are_listed_by_number(store: &dyn Store) {
    let acme = tenant("acme");
    let team = |number, name: &str| Team { id: TeamId::new(number).unwrap(), name: name.to_owned(), created_at: at(0) };
    let writes = [team(300, "c"), team(2, "b"), team(1, "a"), team(2, "B")].map(Write::PutTeam);
    store.commit(&acme, batch(writes)).await.unwrap();
    assert_eq!(store.teams(&acme).await.unwrap(), [team(1, "a"), team(2, "B"), team(300, "c")]);
}

async fn a_session_is_made_once_changed_and_used(store: &dyn Store) {
    let (acme, id) = (tenant("acme"), session("talk"));
    let first = Session { title: Some("Talk".to_owned()), ttl_seconds: Some(100), ..made("talk", 0, None) };
    let absent = Batch { conditions: vec![Condition::SessionAbsent(id.clone())], writes: vec![ensure(&first)] };
    store.commit(&acme, absent.clone()).await.unwrap();
    assert_eq!(failed(store.commit(&acme, absent).await), Condition::SessionAbsent(id.clone()));
    let kept = store.session(&acme, &id).await.unwrap().unwrap();
    assert_eq!((kept.title.as_deref(), kept.messages, kept.expires_at), (Some("Talk"), 0, Some(at(100))));
    // Made again: only its time goes on.
    store.commit(&acme, batch([ensure(&made("talk", 50, Some(AgentId::new())))])).await.unwrap();
    let used = store.session(&acme, &id).await.unwrap().unwrap();
    assert_eq!(used, Session { updated_at: at(50), expires_at: Some(at(150)), ..kept });
    let rename = |title: Option<&str>, second| Write::ChangeSession {
        session: id.clone(),
        title: Some(title.map(str::to_owned)),
        at: at(second),
    };
    store.commit(&acme, batch([rename(Some("Other"), 60)])).await.unwrap();
    assert_eq!(store.session(&acme, &id).await.unwrap().unwrap().title.as_deref(), Some("Other"));
    let untitled = Write::ChangeSession { session: id.clone(), title: None, at: at(61) };
    store.commit(&acme, batch([rename(None, 60), untitled])).await.unwrap();
    let renamed = store.session(&acme, &id).await.unwrap().unwrap();
    assert_eq!((renamed.title, renamed.updated_at), (None, at(61)));
    let nobody = Write::ChangeSession { session: session("nobody"), title: None, at: at(0) };
    assert_eq!(failed(store.commit(&acme, batch([nobody])).await), Condition::SessionExists(session("nobody")));
    let exists = Condition::SessionExists(session("nobody"));
    let asked = Batch { conditions: vec![exists.clone()], writes: Vec::new() };
    assert_eq!(failed(store.commit(&acme, asked).await), exists);
}

async fn a_session_whose_time_is_over_is_found_and_must_be_deleted_before_the_next(store: &dyn Store) {
    let (acme, other) = (tenant("acme"), tenant("other"));
    let short = |id: &str, second| Session { ttl_seconds: Some(10), ..made(id, second, None) };
    for (owner, id, second) in [(&acme, "late", 5), (&acme, "early", 0), (&other, "theirs", 1), (&acme, "later", 50)] {
        store.commit(owner, batch([ensure(&short(id, second))])).await.unwrap();
    }
    store.commit(&acme, batch([ensure(&made("forever", 0, None))])).await.unwrap();
    let expired = async |second, limit| -> Vec<String> {
        let found = store.expired_sessions(at(second), limit).await.unwrap();
        found.into_iter().map(|(owner, id)| format!("{owner} {id}")).collect()
    };
    assert_eq!(expired(9, 10).await, Vec::<String>::new());
    assert_eq!(expired(10, 10).await, ["acme early"]);
    assert_eq!(expired(20, 10).await, ["acme early", "acme late", "other theirs"]);
    assert_eq!(expired(20, 2).await, ["acme early", "acme late"]);
    // Used in time: it lives on, and stands once in the index.
    store.commit(&acme, batch([messages("late", vec![message(RunId::new(), 14, "still here")])])).await.unwrap();
    assert_eq!(expired(23, 10).await, ["acme early", "other theirs"]);
    assert_eq!(expired(24, 10).await, ["acme early", "acme late", "other theirs"]);
    // Its time is over: it can not be used as if it were the next one, or be changed.
    let again = store.commit(&acme, batch([ensure(&short("early", 11))])).await;
    assert_eq!(failed(again), Condition::SessionAbsent(session("early")));
    let rename = Write::ChangeSession { session: session("early"), title: None, at: at(11) };
    assert_eq!(failed(store.commit(&acme, batch([rename])).await), Condition::SessionExists(session("early")));
    assert!(store.delete_session(&acme, &session("early"), &AuditBy::HOST).await.unwrap());
    store.commit(&acme, batch([ensure(&short("early", 30))])).await.unwrap();
    assert_eq!(expired(24, 10).await, ["acme late", "other theirs"]);
}

async fn sessions_are_listed_newest_first_wherever_a_page_begins(store: &dyn Store) {
    let (acme, ids) = (tenant("acme"), [AgentId::new(), AgentId::new()]);
    let all: Vec<_> =
        (0..700_usize).map(|i| made(&format!("s{i}"), i as i64, (i % 3 > 0).then(|| ids[i % 3 - 1]))).collect();
    let commits = all.iter().map(|one| store.commit(&acme, batch([ensure(one)])));
    join_all(commits.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    let mut left: Vec<_> = all.into_iter().rev().collect();
    for round in 0..4 {
        for agent in [None, Some(ids[0]), Some(ids[1]), Some(AgentId::new())] {
            let expected: Vec<_> =
                left.iter().filter(|one| agent.is_none() || one.agent_id == agent).cloned().collect();
            assert_eq!(store.count_sessions(&acme, agent).await.unwrap(), expected.len() as u64);
            for skip in [0, 1, 10, 199, 255, 256, 257, expected.len().saturating_sub(1), expected.len(), 100_000] {
                let start = SessionStart::Skip(skip as u64);
                let page = store.sessions(&acme, SessionFilter { agent, start, limit: 25 }).await.unwrap();
                let here =
                    &expected[skip.min(expected.len())..(skip + 25).min(expected.len()).max(skip.min(expected.len()))];
                assert_eq!(page.items, here, "round {round}, {agent:?}, skip {skip}");
                assert_eq!(page.next.is_some(), skip + 25 < expected.len());
            }
            let (mut listed, mut start) = (Vec::new(), SessionStart::Newest);
            loop {
                let page = store.sessions(&acme, SessionFilter { agent, start, limit: 97 }).await.unwrap();
                listed.extend(page.items);
                let Some(next) = page.next else { break };
                start = SessionStart::Cursor(next);
            }
            assert_eq!(listed, expected);
        }
        // Every third goes; and one more, which is made anew and is the newest then.
        let gone: Vec<_> = left.iter().skip(round).step_by(3).map(|one| one.id.clone()).collect();
        for id in &gone {
            assert!(store.delete_session(&acme, id, &AuditBy::HOST).await.unwrap());
        }
        left.retain(|one| !gone.contains(&one.id));
        let again = made(gone[0].as_str(), 1000, Some(ids[0]));
        store.commit(&acme, batch([ensure(&again)])).await.unwrap();
        left.insert(0, again);
    }
}

async fn messages_are_read_from_a_number_on(store: &dyn Store) {
    let (acme, id) = (tenant("acme"), RunId::new());
    let said: Vec<_> = (0..300).map(|i| message(id, i, &format!("word {i}"))).collect();
    for some in said.chunks(7) {
        store.commit(&acme, batch([messages("talk", some.to_vec())])).await.unwrap();
    }
    for (first, limit) in [(0, 1000), (0, 0), (0, 1), (6, 3), (7, 7), (150, 100), (299, 10), (300, 10), (u64::MAX, 1)] {
        let from = usize::try_from(first).unwrap_or(usize::MAX).min(300);
        let read = store.messages_from(&acme, &session("talk"), first, limit).await.unwrap();
        assert_eq!(read, said[from..from.saturating_add(limit).min(300)], "from {first}, {limit}");
    }
    assert_eq!(store.messages_from(&acme, &session("other"), 0, 10).await.unwrap(), []);
}

/// A run of an agent in a session, with all that a run can leave behind.
async fn full_run(store: &dyn Store, owner: &TenantId, id: &str, of: AgentId, text: ContentHash) -> Run {
    let own = Bytes::from(format!("{owner} {id} {}", RunId::new()));
    let file = KeptAttachment {
        file_name: "a.txt".to_owned(),
        media_type: "text/plain".to_owned(),
        kind: AttachmentKind::Text,
        length_bytes: own.len() as u64,
        content: store.put_blob(owner, own).await.unwrap(),
    };
    let mut made_run = run(id, RunStatus::Completed);
    made_run.agent = Some(AgentRef { id: of, version: 1 });
    made_run.input = "x".repeat(100_000);
    made_run.settings.attachments = vec![file.clone()];
    let mut whole = first_request(&format!("{}", made_run.id), &made_run);
    let said = SessionMessage { attachments: vec![file], ..message(made_run.id, 0, &"y".repeat(70_000)) };
    whole.writes.extend([
        ensure(&made(id, 0, Some(of))),
        events(made_run.id, 1..=30),
        Write::AppendEvents { run: made_run.id, first_seq: 31, events: vec![source_event(31, text)] },
        Write::AppendEvents { run: made_run.id, first_seq: 32, events: vec![Bytes::from(vec![b'e'; 90_000])] },
        messages(id, vec![said]),
        Write::PutDelivery(Box::new(delivery(made_run.id))),
    ]);
    store.commit(owner, whole).await.unwrap();
    made_run
}

fn delivery(run: RunId) -> Delivery {
    Delivery {
        run_id: run,
        url: "https://example.com/hook".to_owned(),
        form: WebhookForm::Native,
        status: DeliveryStatus::Pending,
        attempts: Vec::new(),
        next_attempt_at: None,
        created_at: at(0),
    }
}

async fn a_removed_session_leaves_nothing_and_nothing_else_goes(store: &dyn Store) {
    let (acme, other, of) = (tenant("acme"), tenant("other"), AgentId::new());
    let (alone, both) = (Bytes::from_static(b"one page"), Bytes::from_static(b"a page that two have read"));
    let text = Bytes::from_static(b"a page that is a document, too");
    let mut hashes = Vec::new();
    for bytes in [&alone, &both, &text] {
        hashes.push(store.put_blob(&acme, bytes.clone()).await.unwrap());
    }
    store.put_blob(&acme, both.clone()).await.unwrap();
    let kept_document = document("notes", hashes[2]);
    store.commit(&acme, batch([Write::PutDocument(Box::new(kept_document))])).await.unwrap();
    let mut gone = Vec::new();
    for text in [hashes[0], hashes[1], hashes[2]] {
        gone.push(full_run(store, &acme, "gone", of, text).await);
    }
    let stays = full_run(store, &acme, "stays", of, hashes[1]).await;
    store.put_blob(&other, alone.clone()).await.unwrap();
    let theirs = full_run(store, &other, "gone", of, hashes[0]).await;
    let mut stateless = run("gone", RunStatus::Completed);
    stateless.stateless = true;
    store.commit(&acme, batch([put(&stateless)])).await.unwrap();

    assert!(store.delete_session(&acme, &session("gone"), &AuditBy::HOST).await.unwrap());
    assert!(!store.delete_session(&acme, &session("gone"), &AuditBy::HOST).await.unwrap());

    for run in &gone {
        sees_nothing(store, &acme, run, &run.id.to_string()).await;
        assert_eq!(store.blob(&acme, run.settings.attachments[0].content).await.unwrap(), None);
        // Nor does anything of it come back.
        let late = store.commit(&acme, batch([Write::PutDelivery(Box::new(delivery(run.id)))])).await;
        assert_eq!(failed(late), Condition::RunExists(run.id));
    }
    assert_eq!(store.count_sessions(&acme, None).await.unwrap(), 1);
    assert_eq!(store.count_sessions(&acme, Some(of)).await.unwrap(), 1);
    assert_eq!(store.blob(&acme, hashes[0]).await.unwrap(), None);
    assert_eq!(store.blob(&acme, hashes[1]).await.unwrap(), Some(both));
    assert_eq!(store.blob(&acme, hashes[2]).await.unwrap(), Some(text));
    assert_eq!(store.blob(&other, hashes[0]).await.unwrap(), Some(alone));
    for (owner, run) in [(&acme, &stays), (&other, &theirs)] {
        assert_eq!(store.run(owner, run.id).await.unwrap().as_ref(), Some(run));
        assert_eq!(store.events(owner, run.id, 0, 100).await.unwrap().len(), 32);
        assert_eq!(store.messages(owner, &run.session_id, 100).await.unwrap().len(), 1);
        assert!(store.delivery(owner, run.id).await.unwrap().is_some());
        assert!(store.idempotency(owner, &run.id.to_string()).await.unwrap().is_some());
        assert!(store.blob(owner, run.settings.attachments[0].content).await.unwrap().is_some());
    }
    assert_eq!(store.run(&acme, stateless.id).await.unwrap(), Some(stateless));
    // What is made under the id now is another session, and begins with nothing.
    store.commit(&acme, batch([messages("gone", vec![message(RunId::new(), 9, "new")])])).await.unwrap();
    assert_eq!(store.messages(&acme, &session("gone"), 10).await.unwrap().len(), 1);
}

async fn of_a_session_that_is_being_removed_nobody_sees_a_half(store: &dyn Store) {
    let (acme, id) = (tenant("acme"), session("large"));
    let runs: Vec<_> = (0..400).map(|_| run("large", RunStatus::Completed)).collect();
    for some in runs.chunks(50) {
        let writes = some.iter().flat_map(|run| {
            let said = (0..3).map(|i| message(run.id, i, "word")).collect();
            [put(run), events(run.id, 1..=5), messages("large", said)]
        });
        store.commit(&acme, batch(writes)).await.unwrap();
    }
    let removal = store.delete_session(&acme, &id, &AuditBy::HOST);
    let mut removal = std::pin::pin!(removal);
    let newest = RunFilter { limit: 1, ..RunFilter::default() };
    let mut is_gone = false;
    loop {
        let done = futures::poll!(&mut removal).is_ready();
        let seen = [
            store.session(&acme, &id).await.unwrap().is_some(),
            store.count_sessions(&acme, None).await.unwrap() > 0,
            !store.messages(&acme, &id, 1).await.unwrap().is_empty(),
            !store.messages_from(&acme, &id, 0, 1).await.unwrap().is_empty(),
            store.run(&acme, runs[0].id).await.unwrap().is_some(),
            store.run(&acme, runs[399].id).await.unwrap().is_some(),
            !store.runs(&acme, newest.clone()).await.unwrap().items.is_empty(),
            !store.events(&acme, runs[399].id, 0, 1).await.unwrap().is_empty(),
        ];
        // One look sees it all, or it was closed between two looks; and what is gone stays so.
        let first_gone = seen.iter().position(|seen| !seen).unwrap_or(seen.len());
        assert!(seen[first_gone..].iter().all(|seen| !seen), "{seen:?}");
        assert!(!is_gone || first_gone == 0, "{seen:?}");
        is_gone = first_gone < seen.len();
        if done {
            assert_eq!(first_gone, 0);
            break;
        }
        tokio::task::yield_now().await;
    }
    // A removal that nobody waits for is finished all the same.
    store.commit(&acme, batch([put(&runs[0]), messages("large", vec![message(runs[0].id, 0, "word")])])).await.unwrap();
    let mut removal = store.delete_session(&acme, &id, &AuditBy::HOST);
    let _ = futures::poll!(&mut removal);
    drop(removal);
    while store.run(&acme, runs[0].id).await.unwrap().is_some() {
        tokio::task::yield_now().await;
    }
    // Another removal, or the next session, may meet it under way.
    store.delete_session(&acme, &id, &AuditBy::HOST).await.unwrap();
    store.commit(&acme, batch([ensure(&made("large", 0, None))])).await.unwrap();
}

fn document(corpus: &str, content: ContentHash) -> CorpusDocument {
    CorpusDocument {
        id: DocumentId::new(),
        corpus: corpus.to_owned(),
        name: "a.md".to_owned(),
        description: String::new(),
        media_type: "text/markdown".to_owned(),
        length_bytes: 1,
        content,
        offset_bytes: None,
        external_id: None,
        metadata: serde_json::Map::new(),
        created_at: at(0),
    }
}

async fn documents_are_listed_by_their_collection(store: &dyn Store) {
    let acme = tenant("acme");
    let mut all: Vec<_> =
        (0..100).map(|i| document(if i % 2 == 0 { "notes" } else { "notes/2" }, ContentHash::of(b"text"))).collect();
    for one in &all {
        store.commit(&acme, batch([Write::PutDocument(Box::new(one.clone()))])).await.unwrap();
    }
    // One moves, one goes.
    all[10].corpus = "notes/2".to_owned();
    let gone = all.remove(20);
    let writes = [Write::PutDocument(Box::new(all[10].clone())), Write::DeleteDocument(gone.id)];
    store.commit(&acme, batch(writes)).await.unwrap();
    assert_eq!(store.document(&acme, gone.id).await.unwrap(), None);
    assert_eq!(store.document(&acme, all[10].id).await.unwrap(), Some(all[10].clone()));
    for corpus in ["notes", "notes/2"] {
        let expected: Vec<_> = all.iter().rev().filter(|one| one.corpus == corpus).cloned().collect();
        let page = store.documents(&acme, corpus, None, 30).await.unwrap();
        let rest = store.documents(&acme, corpus, page.next, 30).await.unwrap();
        assert_eq!([page.items, rest.items].concat(), expected);
        assert_eq!(rest.next, None);
    }
    assert_eq!(store.documents(&acme, "note", None, 30).await.unwrap().items, []);
}

async fn deliveries_are_listed_and_the_pending_ones_found(store: &dyn Store) {
    let (acme, other) = (tenant("acme"), tenant("other"));
    let runs: Vec<_> = (0..3).map(|_| run("s", RunStatus::Completed)).collect();
    let writes = runs.iter().flat_map(|run| [put(run), Write::PutDelivery(Box::new(delivery(run.id)))]);
    store.commit(&acme, batch(writes)).await.unwrap();
    let theirs = run("s", RunStatus::Completed);
    let writes = [put(&theirs), Write::PutDelivery(Box::new(delivery(theirs.id)))];
    store.commit(&other, batch(writes)).await.unwrap();
    let done = Delivery { status: DeliveryStatus::Delivered, ..delivery(runs[1].id) };
    store.commit(&acme, batch([Write::PutDelivery(Box::new(done.clone()))])).await.unwrap();
    let pending: Vec<_> = store.pending_deliveries().await.unwrap();
    let expected = [(&acme, &runs[0]), (&acme, &runs[2]), (&other, &theirs)];
    assert!(pending.iter().map(|(owner, one)| (owner, one.run_id)).eq(expected.map(|(owner, run)| (owner, run.id))));
    assert_eq!(store.delivery(&acme, runs[1].id).await.unwrap(), Some(done.clone()));
    let page = store.deliveries(&acme, None, 2).await.unwrap();
    assert_eq!((page.items, page.next), (vec![delivery(runs[2].id), done], Some(runs[1].id)));
    let rest = store.deliveries(&acme, Some(runs[1].id), 2).await.unwrap();
    assert_eq!((rest.items, rest.next), (vec![delivery(runs[0].id)], None));
}

async fn a_page_of_runs_costs_by_the_shortest_of_its_filters(store: &dyn Store) {
    let (acme, of) = (tenant("acme"), AgentRef { id: AgentId::new(), version: 1 });
    let all: Vec<_> = (0..6000_usize)
        .map(|i| Run { agent: Some(of), ..run("s", if i < 3 { RunStatus::Failed } else { RunStatus::Completed }) })
        .collect();
    for some in all.chunks(500) {
        store.commit(&acme, batch(some.iter().map(put))).await.unwrap();
    }
    for filter in [
        RunFilter { agent: Some(of.id), ..RunFilter::default() },
        RunFilter { session: Some(session("s")), ..RunFilter::default() },
        RunFilter { session: Some(session("s")), agent: Some(of.id), ..RunFilter::default() },
        RunFilter::default(),
    ] {
        let failed = RunFilter { status: Some(RunStatus::Failed), limit: 2, ..filter };
        let page = store.runs(&acme, failed.clone()).await.unwrap();
        assert_eq!((page.items, page.next), (vec![all[2].clone(), all[1].clone()], Some(all[1].id)));
        let rest = store.runs(&acme, RunFilter { before: page.next, ..failed }).await.unwrap();
        assert_eq!((rest.items, rest.next), (vec![all[0].clone()], None));
    }
    let nobody = RunFilter { agent: Some(AgentId::new()), limit: 10, ..RunFilter::default() };
    assert_eq!(store.runs(&acme, nobody).await.unwrap(), Page { items: Vec::new(), next: None });
}

/// The worst case: what stands in one index never stands in the other, and always lies between two of it.
async fn a_page_of_runs_looks_a_bounded_number_of_times_and_says_where_it_stopped(store: &dyn Store) {
    let (acme, of) = (tenant("acme"), AgentRef { id: AgentId::new(), version: 1 });
    let all: Vec<_> = (0..6000_usize)
        .map(|i| match i % 2 {
            0 if i > 0 => run("s", RunStatus::Failed),
            _ => Run { agent: Some(of), ..run("s", if i > 0 { RunStatus::Completed } else { RunStatus::Failed }) },
        })
        .collect();
    for some in all.chunks(500) {
        store.commit(&acme, batch(some.iter().map(put))).await.unwrap();
    }
    let filter = RunFilter { agent: Some(of.id), status: Some(RunStatus::Failed), limit: 5, ..RunFilter::default() };
    let (mut found, mut before, mut pages) = (Vec::new(), None, 0);
    loop {
        let page = store.runs(&acme, RunFilter { before, ..filter.clone() }).await.unwrap();
        found.extend(page.items);
        pages += 1;
        if page.next.is_none() {
            break;
        }
        before = page.next;
    }
    assert_eq!((found, pages), (vec![all[0].clone()], 2));
}

async fn runs_are_listed_by_when_they_were_made(store: &dyn Store) {
    let acme = tenant("acme");
    // As the host makes them: the id a moment before the time.
    let all: Vec<_> = (0..60).map(|_| Run { created_at: Timestamp::now(), ..run("s", RunStatus::Failed) }).collect();
    store.commit(&acme, batch(all.iter().map(put))).await.unwrap();
    let (from, before) = (all[10].created_at, all[40].created_at);
    let filter =
        RunFilter { created_from: Some(from), created_before: Some(before), limit: 30, ..RunFilter::default() };
    for filter in [filter.clone(), RunFilter { status: Some(RunStatus::Failed), ..filter.clone() }] {
        let page = store.runs(&acme, filter).await.unwrap();
        let expected: Vec<_> = all[10..40].iter().rev().cloned().collect();
        assert_eq!((page.items, page.next), (expected, None));
    }
    let short = store.runs(&acme, RunFilter { limit: 29, ..filter.clone() }).await.unwrap();
    assert_eq!((short.items.len(), short.next), (29, Some(all[11].id)));
    let rest = store.runs(&acme, RunFilter { before: short.next, ..filter.clone() }).await.unwrap();
    assert_eq!((rest.items, rest.next), (vec![all[10].clone()], None));
    let nothing = RunFilter { created_from: Some(at(0)), ..filter };
    assert_eq!(store.runs(&acme, nothing).await.unwrap(), Page { items: Vec::new(), next: None });
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
    tenants_are_listed_page_by_page,
    an_operators_batch_makes_a_tenant_once_and_keys_only_for_one_that_is_there,
    blobs_are_kept_under_their_hash_and_per_tenant,
    a_tenant_reads_nothing_of_another,
    an_empty_batch_and_a_writable_disk_are_fine,
    a_plugins_state_is_its_own_and_is_listed_by_prefix,
    plugins_grants_and_secrets_are_kept_per_tenant_and_removed,
    a_removed_blob_is_gone_for_its_tenant_alone,
    an_agent_keeps_all_its_versions,
    an_agents_versions_follow_each_other_and_its_name_is_its_own,
    agents_are_listed_newest_first_and_by_team,
    teams_are_listed_by_number,
    a_session_is_made_once_changed_and_used,
    a_session_whose_time_is_over_is_found_and_must_be_deleted_before_the_next,
    sessions_are_listed_newest_first_wherever_a_page_begins,
    messages_are_read_from_a_number_on,
    a_removed_session_leaves_nothing_and_nothing_else_goes,
    of_a_session_that_is_being_removed_nobody_sees_a_half,
    documents_are_listed_by_their_collection,
    deliveries_are_listed_and_the_pending_ones_found,
    a_page_of_runs_costs_by_the_shortest_of_its_filters,
    a_page_of_runs_looks_a_bounded_number_of_times_and_says_where_it_stopped,
    runs_are_listed_by_when_they_were_made,
);
