//! What goes because its time is over, because there is too much of it, or because somebody wants it gone: runs, their logs,
//! tenants.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod support;

use bytes::Bytes;
use futures::future::join_all;
use proptest::prelude::*;
use support::*;
use vivarium_domain::{
    Agent, AgentRef, ApiKey, AttachmentKind, AuditBy, ContentHash, CorpusDocument, Delivery, DeliveryStatus,
    DocumentId, Event, EventBody, FailureCode, KeptAttachment, Outcome, Run, RunFailure, RunId, RunStatus, Scope,
    SessionMessage, Tenant, TenantId, Tier, WebhookForm,
};
use vivarium_store::{
    AgentFilter, Condition, EndedFilter, RunFilter, SessionFilter, SledStore, Store, StoreError, Write,
};

fn ended(session_id: &str, second: i64) -> Run {
    Run { ended_at: Some(at(second)), ..run(session_id, RunStatus::Completed) }
}

fn delivery(run_id: RunId) -> Write {
    Write::PutDelivery(Box::new(Delivery {
        run_id,
        url: "https://a.example".to_owned(),
        form: WebhookForm::Native,
        status: DeliveryStatus::Pending,
        attempts: Vec::new(),
        next_attempt_at: None,
        created_at: at(0),
    }))
}

/// A run of an agent that has ended, with a text that it has read, and all else that a run can leave behind.
async fn full_run(store: &SledStore, owner: &TenantId, of: &Agent, text: &Bytes) -> Run {
    let (text, file) = (store.put_blob(owner, text.clone()), Bytes::from(format!("a file {}", RunId::new())));
    let file = KeptAttachment {
        file_name: "a.txt".to_owned(),
        media_type: "text/plain".to_owned(),
        kind: AttachmentKind::Text,
        length_bytes: file.len() as u64,
        content: store.put_blob(owner, file).await.unwrap(),
    };
    let mut whole = ended("s", 7);
    whole.agent = Some(AgentRef { id: of.id, version: 1 });
    whole.settings.attachments = vec![file.clone()];
    let mut first = first_request(&whole.id.to_string(), &whole);
    first.writes.push(ensure(&made("s", 0, None)));
    first.writes.push(delivery(whole.id));
    store.commit(owner, first).await.unwrap();
    let said = SessionMessage { attachments: vec![file], ..message(whole.id, 1, "word") };
    store.commit(owner, batch([events(whole.id, 1..=50)])).await.unwrap();
    let source =
        Write::AppendEvents { run: whole.id, first_seq: 51, events: vec![source_event(51, text.await.unwrap())] };
    store.commit(owner, batch([source, events(whole.id, 52..=60), messages("s", vec![said])])).await.unwrap();
    whole
}

/// How often the run is found, by whatever leads to it.
async fn traces(store: &SledStore, owner: &TenantId, run: &Run) -> usize {
    let lists = [
        RunFilter { limit: 1000, ..RunFilter::default() },
        RunFilter { limit: 1000, status: Some(run.status), ..RunFilter::default() },
        RunFilter { limit: 1000, session: Some(run.session_id.clone()), ..RunFilter::default() },
        RunFilter { limit: 1000, agent: run.agent.map(|of| of.id), ..RunFilter::default() },
    ];
    let mut found = 0;
    for list in lists {
        found += store.runs(owner, list).await.unwrap().items.iter().filter(|one| one.id == run.id).count();
    }
    let pending = store.pending_deliveries().await.unwrap();
    let of_end = store.ended_runs(EndedFilter { limit: 1000, ..EndedFilter::default() }).await.unwrap();
    found
        + usize::from(store.run(owner, run.id).await.unwrap().is_some())
        + usize::from(store.delivery(owner, run.id).await.unwrap().is_some())
        + usize::from(store.idempotency(owner, &run.id.to_string()).await.unwrap().is_some())
        + pending.iter().filter(|(_, one)| one.run_id == run.id).count()
        + of_end.iter().filter(|(_, one)| *one == run.id).count()
        + store.events(owner, run.id, 0, 1000).await.unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_goes_whole_and_its_messages_and_all_others_stay() {
    let folder = tempfile::tempdir().unwrap();
    let (acme, of) = (tenant("acme"), agent("a"));
    let (shared, own) = (Bytes::from_static(b"two runs have read this"), Bytes::from_static(b"one has"));
    let mut store = open(&folder);
    let gone = full_run(&store, &acme, &of, &shared).await;
    let also_gone = full_run(&store, &acme, &of, &own).await;
    let stays = full_run(&store, &acme, &of, &shared).await;
    // Four lists, five places, and sixty events.
    assert_eq!((traces(&store, &acme, &gone).await, traces(&store, &acme, &stays).await), (69, 69));
    assert_eq!(store.count_ended_runs(&acme).await.unwrap(), 3);

    let both = vec![gone.id, also_gone.id];
    assert_eq!(store.delete_runs(&acme, both.clone(), &AuditBy::HOST).await.unwrap(), 2);
    assert_eq!(store.delete_runs(&acme, both, &AuditBy::HOST).await.unwrap(), 0);
    for reopened in [false, true] {
        if reopened {
            drop(store);
            store = open(&folder);
        }
        assert_eq!(traces(&store, &acme, &gone).await, 0);
        assert_eq!(traces(&store, &acme, &also_gone).await, 0);
        assert_eq!(traces(&store, &acme, &stays).await, 69);
        assert_eq!(store.count_ended_runs(&acme).await.unwrap(), 1);
        assert_eq!(store.blob(&acme, ContentHash::of(&own)).await.unwrap(), None);
        assert_eq!(store.blob(&acme, ContentHash::of(&shared)).await.unwrap(), Some(shared.clone()));
        // What was said stays said, with the files that came with it.
        assert_eq!(store.messages(&acme, &session("s"), 10).await.unwrap().len(), 3);
        assert!(store.blob(&acme, gone.settings.attachments[0].content).await.unwrap().is_some());
    }
    // The files of runs that are gone go with their session, also of a run of which nothing was said.
    let silent = full_run(&store, &acme, &of, &own).await;
    store.delete_runs(&acme, vec![silent.id, stays.id], &AuditBy::HOST).await.unwrap();
    assert!(store.delete_session(&acme, &session("s"), &AuditBy::HOST).await.unwrap());
    for run in [gone, also_gone, stays, silent] {
        assert_eq!(store.blob(&acme, run.settings.attachments[0].content).await.unwrap(), None);
    }
    assert_eq!(store.count_ended_runs(&acme).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_goes_and_the_record_of_its_run_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let (acme, of, text) = (tenant("acme"), agent("a"), Bytes::from_static(b"what it has read"));
    let mut store = open(&folder);
    let whole = full_run(&store, &acme, &of, &text).await;
    assert_eq!(store.delete_logs(&acme, vec![whole.id], at(99), &AuditBy::HOST).await.unwrap(), 1);
    assert_eq!(
        store.delete_logs(&acme, vec![whole.id], at(100), &AuditBy::HOST).await.unwrap(),
        0,
        "it has none any more"
    );
    for reopened in [false, true] {
        if reopened {
            drop(store);
            store = open(&folder);
        }
        let left = store.run(&acme, whole.id).await.unwrap().unwrap();
        assert_eq!(left, Run { log_removed_at: Some(at(99)), ..whole.clone() });
        assert_eq!(store.events(&acme, whole.id, 0, 100).await.unwrap(), []);
        assert_eq!(store.blob(&acme, ContentHash::of(&text)).await.unwrap(), None);
        assert_eq!(traces(&store, &acme, &whole).await, 9);
        let with_log = EndedFilter { with_log: true, limit: 10, ..EndedFilter::default() };
        assert_eq!(store.ended_runs(with_log).await.unwrap(), []);
        assert_eq!(store.count_ended_runs(&acme).await.unwrap(), 1);
    }
    assert_eq!(store.delete_runs(&acme, vec![whole.id], &AuditBy::HOST).await.unwrap(), 1);
    assert_eq!((traces(&store, &acme, &whole).await, store.count_ended_runs(&acme).await.unwrap()), (0, 0));
}

#[tokio::test]
async fn a_run_that_has_not_ended_stays_whoever_asks() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    let runs = [RunStatus::Queued, RunStatus::Running, RunStatus::Waiting].map(|status| run("s", status));
    for run in &runs {
        store.commit(&acme, batch([put(run), events(run.id, 1..=3)])).await.unwrap();
    }
    let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
    assert_eq!(store.delete_runs(&acme, ids.clone(), &AuditBy::HOST).await.unwrap(), 0);
    assert_eq!(store.delete_logs(&acme, ids, at(1), &AuditBy::HOST).await.unwrap(), 0);
    assert_eq!(store.ended_runs(EndedFilter { limit: 10, ..EndedFilter::default() }).await.unwrap(), []);
    for run in &runs {
        assert_eq!(store.run(&acme, run.id).await.unwrap().as_ref(), Some(run));
        assert_eq!(store.events(&acme, run.id, 0, 10).await.unwrap().len(), 3);
    }
}

#[tokio::test]
async fn runs_that_have_ended_are_found_by_when_they_did_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    let (acme, nadir) = (tenant("acme"), tenant("nadir"));
    // They end in another order than they begin, and one writes its end twice.
    let runs: Vec<_> = (0..100).map(|i| ended("s", i * 37 % 100)).collect();
    for run in &runs {
        store.commit(&acme, batch([put(run)])).await.unwrap();
    }
    let other = ended("s", 50);
    store.commit(&nadir, batch([put(&other), put(&other), put(&run("s", RunStatus::Running))])).await.unwrap();
    store.commit(&nadir, batch([put(&other)])).await.unwrap();
    let mut by_end: Vec<_> = runs.iter().map(|run| (run.ended_at, run.id)).collect();
    by_end.sort_unstable();
    let of_acme: Vec<_> = by_end.iter().map(|(_, run)| (acme.clone(), *run)).collect();
    let of_both: Vec<_> = of_acme.iter().cloned().chain([(nadir.clone(), other.id)]).collect();
    let found = async |store: &SledStore, filter: EndedFilter| store.ended_runs(filter).await.unwrap();
    for reopened in [false, true] {
        if reopened {
            drop(store);
            store = open(&folder);
        }
        let all = EndedFilter { limit: 1000, ..EndedFilter::default() };
        assert_eq!(found(&store, all.clone()).await, of_both);
        assert_eq!(found(&store, EndedFilter { limit: 7, ..all.clone() }).await, of_acme[..7]);
        assert_eq!(found(&store, EndedFilter { before: Some(at(30)), ..all.clone() }).await, of_acme[..30]);
        let nadirs = EndedFilter { tenant: Some(nadir.clone()), ..all };
        assert_eq!(found(&store, nadirs.clone()).await, of_both[100..]);
        assert_eq!(found(&store, EndedFilter { before: Some(at(50)), ..nadirs }).await, []);
        assert_eq!(store.count_ended_runs(&acme).await.unwrap(), 100);
        assert_eq!(store.count_ended_runs(&nadir).await.unwrap(), 1);
    }
    // Those without a log and those with one are one list.
    let without: Vec<_> = by_end.iter().step_by(3).map(|(_, run)| *run).collect();
    assert_eq!(store.delete_logs(&acme, without.clone(), at(0), &AuditBy::HOST).await.unwrap(), without.len());
    assert_eq!(found(&store, EndedFilter { limit: 1000, ..EndedFilter::default() }).await, of_both);
    let with_log = found(&store, EndedFilter { with_log: true, limit: 1000, ..EndedFilter::default() }).await;
    let expected: Vec<_> = of_both.iter().filter(|(_, run)| !without.contains(run)).cloned().collect();
    assert_eq!(with_log, expected);
    store.delete_runs(&acme, by_end.iter().map(|(_, run)| *run).take(99).collect(), &AuditBy::HOST).await.unwrap();
    assert_eq!(store.count_ended_runs(&acme).await.unwrap(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn removals_of_the_same_runs_at_once_count_each_once() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    let runs: Vec<_> = (0..200).map(|i| ended(if i % 2 == 0 { "even" } else { "odd" }, i)).collect();
    for run in &runs {
        let writes = [put(run), ensure(&made(run.session_id.as_str(), 0, None)), events(run.id, 1..=2)];
        store.commit(&acme, batch(writes)).await.unwrap();
    }
    let ids: Vec<_> = runs.iter().map(|run| run.id).collect();
    let (some, most) = (ids[20..120].to_vec(), ids[..150].to_vec());
    let (logs, one, other, session) = futures::join!(
        store.delete_logs(&acme, ids.clone(), at(500), &AuditBy::HOST),
        store.delete_runs(&acme, some, &AuditBy::HOST),
        store.delete_runs(&acme, most, &AuditBy::HOST),
        store.delete_session(&acme, &session("odd"), &AuditBy::HOST),
    );
    logs.unwrap();
    one.unwrap();
    other.unwrap();
    assert!(session.unwrap());
    let left = store.runs(&acme, RunFilter { limit: 1000, ..RunFilter::default() }).await.unwrap().items;
    assert!(left.iter().map(|run| run.id).rev().eq(ids[150..].iter().copied().step_by(2)));
    assert_eq!(store.count_ended_runs(&acme).await.unwrap(), 25);
    let found = store.ended_runs(EndedFilter { limit: 1000, ..EndedFilter::default() }).await.unwrap();
    assert!(found.into_iter().map(|(_, run)| run).eq(left.iter().map(|run| run.id).rev()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_log_that_is_being_removed_nobody_sees_a_half() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    for whole in [false, true] {
        let one = ended("s", 0);
        store.commit(&acme, batch([put(&one)])).await.unwrap();
        for first in (1..4000_u64).step_by(10) {
            store.commit(&acme, batch([events(one.id, first..=first + 9)])).await.unwrap();
        }
        let mut removal = match whole {
            true => store.delete_runs(&acme, vec![one.id], &AuditBy::HOST),
            false => store.delete_logs(&acme, vec![one.id], at(1), &AuditBy::HOST),
        };
        let mut is_gone = false;
        loop {
            let done = futures::poll!(&mut removal).is_ready();
            let seen = store.events(&acme, one.id, 0, 10_000).await.unwrap().len();
            assert!(seen == 0 || seen == 4000 && !is_gone, "{seen} of 4000 events");
            is_gone = seen == 0;
            if done {
                assert!(is_gone);
                break;
            }
        }
        assert_eq!(store.run(&acme, one.id).await.unwrap().is_some(), !whole);
    }
}

fn made_tenant(id: &TenantId) -> Write {
    Write::PutTenant(Tenant::new(id.clone(), Tier::Pro, at(0)))
}

fn key_of(owner: &TenantId) -> (ContentHash, Write) {
    let hash = ContentHash::of(format!("the key of {owner}").as_bytes());
    let key = ApiKey { scopes: vec![Scope::Runs], ..ApiKey::new(owner.clone(), "key", at(0)) };
    (hash, Write::PutApiKey { hash, key })
}

/// Something of the tenant in many places, a text in more than one piece among them.
async fn settle_in(store: &SledStore, owner: &TenantId) -> Run {
    let (of, text) = (agent("a"), Bytes::from_static(b"a text"));
    store.commit(owner, batch([made_tenant(owner), key_of(owner).1, put_agent(&of)])).await.unwrap();
    let document = CorpusDocument {
        id: DocumentId::new(),
        corpus: "c".to_owned(),
        name: "d".to_owned(),
        description: String::new(),
        media_type: "text/plain".to_owned(),
        length_bytes: 6,
        content: store.put_blob(owner, text.clone()).await.unwrap(),
        offset_bytes: None,
        external_id: None,
        metadata: serde_json::Map::new(),
        created_at: at(0),
    };
    let large = Run { input: "x".repeat(200_000), ..ended("large", 1) };
    store.commit(owner, batch([Write::PutDocument(Box::new(document)), put(&large)])).await.unwrap();
    let state = |i: u32| Write::PutState { plugin: "a/b".parse().unwrap(), key: i.to_string(), value: text.clone() };
    store.commit(owner, batch((0..3000).map(state))).await.unwrap();
    full_run(store, owner, &of, &text).await
}

/// How much of a tenant is found by whatever leads to it.
async fn all_of(store: &SledStore, owner: &TenantId, run: &Run) -> Vec<usize> {
    let sessions = SessionFilter { limit: 10, ..SessionFilter::default() };
    vec![
        traces(store, owner, run).await,
        usize::from(store.tenant(owner).await.unwrap().is_some()),
        store.tenants().await.unwrap().iter().filter(|tenant| tenant.id == *owner).count(),
        store.api_keys(owner).await.unwrap().len(),
        usize::from(store.api_key_by_hash(key_of(owner).0).await.unwrap().is_some()),
        store.agents(owner, AgentFilter { limit: 10, ..AgentFilter::default() }).await.unwrap().items.len(),
        store.sessions(owner, sessions).await.unwrap().items.len(),
        store.messages(owner, &session("s"), 10).await.unwrap().len(),
        store.documents(owner, "c", None, 10).await.unwrap().items.len(),
        store.state_keys(owner, &"a/b".parse().unwrap(), "", 5000).await.unwrap().len(),
        usize::from(store.blob(owner, ContentHash::of(b"a text")).await.unwrap().is_some()),
        usize::try_from(store.count_ended_runs(owner).await.unwrap()).unwrap(),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_goes_whole_and_its_neighbours_stay() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    // The neighbour's id begins with the one's.
    let (acme, neighbour) = (tenant("acme"), tenant("acme2"));
    let (run, neighbours_run) = (settle_in(&store, &acme).await, settle_in(&store, &neighbour).await);
    let whole = vec![69, 1, 1, 1, 1, 1, 1, 1, 1, 3000, 1, 2];
    assert_eq!(all_of(&store, &acme, &run).await, whole);
    assert!(!store.close_tenant(&tenant("nobody"), &AuditBy::HOST).await.unwrap());
    assert!(store.delete_closed_tenant(&acme).await.is_err(), "it is not closed");
    assert_eq!(all_of(&store, &acme, &run).await, whole);

    assert!(store.close_tenant(&acme, &AuditBy::HOST).await.unwrap());
    assert_eq!(store.closed_tenants().await.unwrap(), vec![acme.clone()]);
    store.delete_closed_tenant(&acme).await.unwrap();
    assert_eq!(store.closed_tenants().await.unwrap(), []);
    for reopened in [false, true] {
        if reopened {
            drop(store);
            store = open(&folder);
        }
        assert_eq!(all_of(&store, &acme, &run).await, [0; 12]);
        assert_eq!(all_of(&store, &neighbour, &neighbours_run).await, whole);
        assert!(!folder.path().join("blobs/acme").exists());
    }
    // Another one of the same id begins with nothing, and is a tenant like any other.
    let run = settle_in(&store, &acme).await;
    assert_eq!(all_of(&store, &acme, &run).await, whole);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_a_tenant_that_is_being_removed_nothing_is_written_or_kept_also_after_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open(&folder);
    let (acme, other) = (tenant("acme"), tenant("other"));
    settle_in(&store, &acme).await;
    // What stands in line before the removal is written and goes with it; what comes later is refused, at once.
    let before: Vec<_> = (0..50).map(|_| store.commit(&acme, batch([put(&run("s", RunStatus::Queued))]))).collect();
    let closing = store.close_tenant(&acme, &AuditBy::HOST);
    join_all(before).await.into_iter().for_each(Result::unwrap);
    assert!(closing.await.unwrap());
    for reopened in [false, true] {
        if reopened {
            drop(store);
            store = open(&folder);
        }
        assert_eq!(store.closed_tenants().await.unwrap(), vec![acme.clone()]);
        assert!(store.close_tenant(&acme, &AuditBy::HOST).await.unwrap(), "it is under way");
        assert_eq!(store.tenant(&acme).await.unwrap(), None);
        assert!(store.tenants().await.unwrap().is_empty());
        for write in [made_tenant(&acme), key_of(&acme).1, events(RunId::new(), 1..=1)] {
            let refused = store.commit(&acme, batch([write])).await.unwrap_err();
            assert!(matches!(&refused, StoreError::Refused(why) if why.contains("being removed")), "{refused}");
        }
        let refused = store.put_blob(&acme, Bytes::from_static(b"late")).await.unwrap_err();
        assert!(matches!(&refused, StoreError::Refused(why) if why.contains("being removed")), "{refused}");
        store.commit(&other, batch([events(RunId::new(), 1..=1)])).await.unwrap();
    }
    store.delete_closed_tenant(&acme).await.unwrap();
    assert_eq!(store.closed_tenants().await.unwrap(), []);
    store.commit(&acme, batch([made_tenant(&acme)])).await.unwrap();
    store.put_blob(&acme, Bytes::from_static(b"late")).await.unwrap();
    let nobody = store.commit(&acme, batch([delivery(RunId::new())])).await;
    assert!(matches!(nobody, Err(StoreError::ConditionFailed(Condition::RunExists(_)))));
}

/// What a test does to some runs, by their places.
#[derive(Debug, Clone)]
enum Act {
    Make { session: u8, agent: bool },
    End { run: prop::sample::Index, status: RunStatus },
    DeleteLogs(Vec<prop::sample::Index>),
    DeleteRuns(Vec<prop::sample::Index>),
    DeleteSession(u8),
    Reopen,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let status = prop::sample::select(vec![RunStatus::Completed, RunStatus::Failed, RunStatus::Cancelled]);
    let some = || proptest::collection::vec(any::<prop::sample::Index>(), 1..6);
    let act = prop_oneof![
        6 => (0..3_u8, any::<bool>()).prop_map(|(session, agent)| Act::Make { session, agent }),
        6 => (any::<prop::sample::Index>(), status).prop_map(|(run, status)| Act::End { run, status }),
        2 => some().prop_map(Act::DeleteLogs),
        2 => some().prop_map(Act::DeleteRuns),
        1 => (0..3_u8).prop_map(Act::DeleteSession),
        1 => Just(Act::Reopen),
    ];
    proptest::collection::vec(act, 1..60)
}

/// Events as runs write them: three steps, and the end.
fn steps(run: RunId) -> Write {
    let step = |seq| told(seq, EventBody::Step { message: "Searching".to_owned() });
    Write::AppendEvents { run, first_seq: 1, events: (1..=3).map(step).collect() }
}

fn end(run: &Run) -> Write {
    let (usage, cost) = (run.usage, run.cost);
    let body = match run.status {
        RunStatus::Completed => EventBody::RunCompleted { outcome: Outcome::default(), usage, cost },
        RunStatus::Cancelled => EventBody::RunCancelled { reason: "a client asked for it".to_owned(), usage, cost },
        _ => {
            let failure = RunFailure::new(FailureCode::ModeFailed, "it failed".to_owned());
            EventBody::RunFailed { failure, usage, cost }
        }
    };
    Write::AppendEvents { run: run.id, first_seq: 4, events: vec![told(4, body)] }
}

fn told(seq: u64, body: EventBody) -> Bytes {
    serde_json::to_vec(&Event { seq, at: at(0), body }).unwrap().into()
}

/// Does it to the store and to the list of runs that there should be.
async fn act(store: &SledStore, runs: &mut Vec<Run>, of: &Agent, act: Act) {
    let acme = tenant("acme");
    let chosen = |runs: &[Run], places: Vec<prop::sample::Index>| -> Vec<RunId> {
        if runs.is_empty() { Vec::new() } else { places.iter().map(|place| runs[place.index(runs.len())].id).collect() }
    };
    match act {
        Act::Make { session, agent } => {
            let agent = agent.then_some(AgentRef { id: of.id, version: 1 });
            let one = Run { agent, ..run(&session.to_string(), RunStatus::Queued) };
            let writes = [put(&one), ensure(&made(&session.to_string(), 0, None)), steps(one.id)];
            store.commit(&acme, batch(writes)).await.unwrap();
            runs.push(one);
        }
        Act::End { run, status } if !runs.is_empty() => {
            let (place, second) = (run.index(runs.len()), i64::try_from(runs.len()).unwrap());
            let one = &mut runs[place];
            if !one.status.is_terminal() {
                (one.status, one.ended_at, one.last_seq) = (status, Some(at(second)), 4);
                store.commit(&acme, batch([put(one), end(one)])).await.unwrap();
            }
        }
        Act::DeleteLogs(places) => {
            let ids = chosen(runs, places);
            store.delete_logs(&acme, ids.clone(), at(9), &AuditBy::HOST).await.unwrap();
            let ended = runs.iter_mut().filter(|run| ids.contains(&run.id) && run.status.is_terminal());
            ended.for_each(|run| run.log_removed_at = Some(at(9)));
        }
        Act::DeleteRuns(places) => {
            let ids = chosen(runs, places);
            store.delete_runs(&acme, ids.clone(), &AuditBy::HOST).await.unwrap();
            runs.retain(|run| !ids.contains(&run.id) || !run.status.is_terminal());
        }
        Act::DeleteSession(id) => {
            store.delete_session(&acme, &session(&id.to_string()), &AuditBy::HOST).await.unwrap();
            runs.retain(|run| run.session_id != session(&id.to_string()));
        }
        Act::End { .. } | Act::Reopen => {}
    }
}

/// Every list, by every filter, page by page; the count; each log.
async fn is_as(store: &SledStore, runs: &[Run], of: &Agent) {
    let acme = tenant("acme");
    let statuses = [None, Some(RunStatus::Running), Some(RunStatus::Completed), Some(RunStatus::Failed)];
    for (status, session_of, agent_of) in statuses.into_iter().flat_map(|status| {
        [(None, None), (Some("1"), None), (None, Some(of.id)), (Some("2"), Some(of.id))].map(|(s, a)| (status, s, a))
    }) {
        let filter =
            RunFilter { status, session: session_of.map(session), agent: agent_of, limit: 3, ..RunFilter::default() };
        let status_is = |run: &Run| match status {
            Some(status) if status.is_terminal() => run.status == status,
            Some(_) => !run.status.is_terminal(),
            None => true,
        };
        let is_expected = |run: &&Run| {
            status_is(run)
                && session_of.is_none_or(|id| run.session_id == session(id))
                && agent_of.is_none_or(|id| run.agent.is_some_and(|of| of.id == id))
        };
        let expected: Vec<Run> = runs.iter().rev().filter(is_expected).cloned().collect();
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = store.runs(&acme, RunFilter { before, ..filter.clone() }).await.unwrap();
            assert!(page.items.len() == 3 || page.next.is_none());
            found.extend(page.items);
            before = page.next;
            if before.is_none() {
                break;
            }
            assert!(found.len() < expected.len(), "there is no more");
        }
        assert_eq!(found, expected);
    }
    let ended: Vec<_> = runs.iter().filter(|run| run.status.is_terminal()).collect();
    assert_eq!(store.count_ended_runs(&acme).await.unwrap(), ended.len() as u64);
    let all = store.ended_runs(EndedFilter { limit: 100, ..EndedFilter::default() }).await.unwrap();
    let mut by_end: Vec<_> = ended.iter().map(|run| (run.ended_at, run.id)).collect();
    by_end.sort_unstable();
    assert!(all.into_iter().map(|(_, run)| run).eq(by_end.into_iter().map(|(_, run)| run)));
    for run in runs {
        let log = store.events(&acme, run.id, 0, 10).await.unwrap().len();
        let expected = if run.log_removed_at.is_some() { 0 } else { 3 + usize::from(run.status.is_terminal()) };
        assert_eq!(log, expected);
    }
    for part in store.examine() {
        assert!(part.errors.is_empty() && part.warnings.is_empty(), "{part:#?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_made_ended_and_removed_every_list_has_what_is_left(acts in acts()) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let (folder, of) = (tempfile::tempdir().unwrap(), agent("a"));
            let (mut store, mut runs) = (open(&folder), Vec::new());
            for one in acts {
                if matches!(one, Act::Reopen) {
                    drop(store);
                    store = open(&folder);
                }
                act(&store, &mut runs, &of, one).await;
            }
            is_as(&store, &runs, &of).await;
            drop(store);
            is_as(&open(&folder), &runs, &of).await;
        });
    }
}
