use bytes::Bytes;
use vivarium_domain::{
    AgentId, AgentRef, AuditAction, AuditBy, ContentHash, Message, ModelName, Money, RunSettings, RunStatus, Session,
    SessionMessage, Timestamp, Usage, WebhookForm,
};

use super::*;
use crate::{Batch, IdempotencyRecord, Made, SledStore, Store, StoreOptions, Write};

const OPTIONS: StoreOptions = StoreOptions { journal_bytes: 64 * 1024, reserve_bytes: 0 };

/// All keys of all tables, but for the few numbers that a list keeps of its past, and the audit log, which forgets nothing.
fn everything(view: &View) -> Vec<String> {
    let mut found = Vec::new();
    let kept = [Table::SessionHeads, Table::SessionGaps, Table::Audit, Table::AuditHeads];
    for table in Table::ALL.into_iter().filter(|table| !kept.contains(table)) {
        let mut range = Range::prefix(b"");
        loop {
            let piece = view.walk(table, &range, Direction::Forward, PIECE).unwrap();
            let Some((last, _)) = piece.last() else { break };
            range = range.after(last);
            found.extend(piece.iter().map(|(key, _)| Place(table, key).to_string()));
        }
    }
    found
}

fn run(session: &SessionId, text: &str) -> Run {
    Run {
        id: RunId::new(),
        status: RunStatus::Running,
        mode: "chat".to_owned(),
        plugin: ContentHash::of(b"plugin"),
        model: ModelName::new("embedded", "extractive").unwrap(),
        session_id: session.clone(),
        stateless: false,
        parent: None,
        key: None,
        agent: Some(AgentRef { id: AgentId::from_bytes([1; 16]), version: 1 }),
        input: text.to_owned(),
        max_cycles: 3,
        settings: RunSettings::default(),
        created_at: Timestamp::UNIX_EPOCH,
        waiting: None,
        ended_at: None,
        outcome: None,
        failure: None,
        usage: Usage::default(),
        cost: Money::ZERO,
        usage_by_model: Vec::new(),
        last_seq: 0,
        log_removed_at: None,
        trace: None,
    }
}

/// Writes that leave something in every table that a session can have something in; `text` is large or small.
fn writes(session: &SessionId, run: &Run, first_seq: u64, text: &str) -> Vec<Write> {
    let at = Timestamp::UNIX_EPOCH;
    let made = Session {
        agent_id: run.agent.map(|agent| agent.id),
        ttl_seconds: Some(60),
        ..Session::new(session.clone(), at)
    };
    let event =
        format!(r#"{{"seq":1,"at":"","type":"source.added","source":{{"contentHash":"{}"}}}}"#, ContentHash::of(b"x"));
    let key = IdempotencyRecord { request_hash: ContentHash::of(b"x"), made: Made::Run(run.id), created_at: at };
    let said = SessionMessage { run_id: run.id, at, message: Message::user(text), attachments: Vec::new() };
    vec![
        Write::PutRun(Box::new(Run { input: text.to_owned(), ..run.clone() })),
        Write::EnsureSession(Box::new(made)),
        Write::ChangeSession { session: session.clone(), title: Some(Some(text.to_owned())), at },
        Write::AppendMessages { session: session.clone(), messages: vec![said] },
        Write::AppendEvents { run: run.id, first_seq, events: vec![event.into(), Bytes::from(text.to_owned())] },
        Write::PutIdempotency { key: text.chars().take(10).collect(), record: key },
        Write::PutDelivery(Box::new(vivarium_domain::Delivery {
            run_id: run.id,
            url: text.to_owned(),
            form: WebhookForm::Native,
            status: vivarium_domain::DeliveryStatus::Pending,
            attempts: Vec::new(),
            next_attempt_at: None,
            created_at: at,
        })),
    ]
}

/// The large ones are cut, and some of them shrink: in the layer that they were written to, over the layer before, and
/// in the trees.
#[tokio::test]
async fn a_removed_session_leaves_no_record_in_any_table() {
    let folder = tempfile::tempdir().unwrap();
    let (tenant, session): (TenantId, SessionId) = ("acme".parse().unwrap(), "s".parse().unwrap());
    let (large, small) = ("large".repeat(50_000), "small");
    let run = run(&session, small);
    let (mut store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    let mut seq = 1;
    for (index, text) in [&large, small, &large, &large, small, &large].into_iter().enumerate() {
        let batch = Batch { conditions: Vec::new(), writes: writes(&session, &run, seq, text) };
        store.commit(&tenant, batch).await.unwrap();
        seq += 2;
        if index % 2 == 1 {
            drop(store);
            store = SledStore::open_with(folder.path(), OPTIONS).unwrap().0;
        }
    }
    assert!(everything(&store.view).len() > 30);
    assert!(store.delete_session(&tenant, &session, &AuditBy::HOST).await.unwrap());
    // Parts that lie in the trees go with the next settling, and nobody finds them until then.
    let mut left = everything(&store.view);
    left.retain(|place| !place.starts_with("table parts"));
    assert_eq!(left, Vec::<String>::new());
    drop(store);
    let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    assert_eq!(everything(&store.view), Vec::<String>::new());
}

#[tokio::test]
async fn what_shrinks_leaves_no_parts_behind() {
    let folder = tempfile::tempdir().unwrap();
    let (tenant, session): (TenantId, SessionId) = ("acme".parse().unwrap(), "s".parse().unwrap());
    let run = run(&session, "");
    // The second pair lies in the trees before it shrinks.
    for reopen in [false, true] {
        let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
        let put = |store: &SledStore, kilobytes: usize| {
            let run = Run { input: "x".repeat(kilobytes << 10), ..run.clone() };
            store.commit(&tenant, Batch { conditions: Vec::new(), writes: vec![Write::PutRun(Box::new(run))] })
        };
        let parts =
            |store: &SledStore| everything(&store.view).iter().filter(|place| place.starts_with("table parts")).count();
        put(&store, 500).await.unwrap();
        assert_eq!(parts(&store), 9);
        let store = if reopen {
            drop(store);
            SledStore::open_with(folder.path(), OPTIONS).unwrap().0
        } else {
            store
        };
        put(&store, 200).await.unwrap();
        drop(store);
        let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
        assert_eq!(parts(&store), 4);
        put(&store, 1).await.unwrap();
        drop(store);
        let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
        assert_eq!(parts(&store), 0);
    }
}

#[tokio::test]
async fn a_removal_that_was_interrupted_is_finished_when_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (tenant, session): (TenantId, SessionId) = ("acme".parse().unwrap(), "s".parse().unwrap());
    let run = run(&session, "small");
    let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    let text = store.put_blob(&tenant, Bytes::from_static(b"x")).await.unwrap();
    let batch = Batch { conditions: Vec::new(), writes: writes(&session, &run, 1, "small") };
    store.commit(&tenant, batch).await.unwrap();
    store
        .queue
        .push(Prepared::closing(&tenant, &session, AuditBy::HOST.did(AuditAction::SessionDeleted, &session)))
        .unwrap()
        .await
        .unwrap()
        .unwrap();
    drop(store);
    let (store, report) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    assert_eq!(
        report.to_string(),
        "the store was not closed cleanly: 0 groups of writes recovered, 1 half-removed sessions removed"
    );
    assert_eq!(everything(&store.view), Vec::<String>::new());
    assert_eq!(store.blob(&tenant, text).await.unwrap(), None);
}

#[tokio::test]
async fn a_text_that_is_about_to_be_referred_to_is_not_removed() {
    let folder = tempfile::tempdir().unwrap();
    let (tenant, session): (TenantId, SessionId) = ("acme".parse().unwrap(), "s".parse().unwrap());
    let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    let batch = Batch { conditions: Vec::new(), writes: writes(&session, &run(&session, ""), 1, "small") };
    let text = store.put_blob(&tenant, Bytes::from_static(b"x")).await.unwrap();
    store.commit(&tenant, batch).await.unwrap();
    // Another run has put the same and not written its event yet.
    store.put_blob(&tenant, Bytes::from_static(b"x")).await.unwrap();
    assert!(store.delete_session(&tenant, &session, &AuditBy::HOST).await.unwrap());
    assert!(store.blob(&tenant, text).await.unwrap().is_some());
    // It never does, and after a start nobody is about to: then the text goes.
    drop(store);
    let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    assert_eq!(store.blob(&tenant, text).await.unwrap(), None);
    assert_eq!(everything(&store.view), Vec::<String>::new());
}

/// The batch that closes runs, as a removal commits it; then the crash.
#[tokio::test]
async fn a_removal_of_runs_that_was_interrupted_is_finished_when_the_store_is_opened() {
    let folder = tempfile::tempdir().unwrap();
    let (tenant, session): (TenantId, SessionId) = ("acme".parse().unwrap(), "s".parse().unwrap());
    let run = Run { status: RunStatus::Failed, ..run(&session, "small") };
    let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    let text = store.put_blob(&tenant, Bytes::from_static(b"x")).await.unwrap();
    let mut writes = writes(&session, &run, 1, "small");
    let (mut of_run, mut of_session) = (Vec::new(), Vec::new());
    for write in writes.drain(..) {
        let is_of_session =
            matches!(write, Write::EnsureSession(_) | Write::ChangeSession { .. } | Write::AppendMessages { .. });
        if is_of_session {
            of_session.push(write)
        } else {
            of_run.push(write)
        };
    }
    store.commit(&tenant, Batch { conditions: Vec::new(), writes: of_session }).await.unwrap();
    drop(store);
    let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    let without = everything(&store.view);
    store.commit(&tenant, Batch { conditions: Vec::new(), writes: of_run }).await.unwrap();
    let mut steps = Vec::new();
    emptying::remove_run(&store.view, &tenant, run.id, &mut steps).unwrap();
    let mut mark = Vec::new();
    record::put(&mut mark, Table::RunRemovals, Key::of(&tenant).run(run.id).into_bytes(), b"");
    steps.extend(mark.into_iter().map(Step::Write));
    store.queue.push(Prepared::of_steps(steps)).unwrap().await.unwrap().unwrap();
    // The log is still there, and nobody sees it.
    assert_ne!(everything(&store.view), without);
    drop(store);
    let (store, report) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    assert_eq!(
        report.to_string(),
        "the store was not closed cleanly: 0 groups of writes recovered, 1 half-removed logs removed"
    );
    assert_eq!(everything(&store.view), without);
    assert_eq!(store.blob(&tenant, text).await.unwrap(), None);
}

/// Also of one that is removed while a crash had left half of a session.
#[tokio::test]
async fn a_removed_tenant_leaves_no_record_in_any_table() {
    let folder = tempfile::tempdir().unwrap();
    let (tenant, session): (TenantId, SessionId) = ("acme".parse().unwrap(), "s".parse().unwrap());
    let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    let record = vivarium_domain::Tenant::new(tenant.clone(), vivarium_domain::Tier::Pro, Timestamp::UNIX_EPOCH);
    let mut all = writes(&session, &Run { status: RunStatus::Failed, ..run(&session, "") }, 1, &"large".repeat(50_000));
    all.push(Write::PutTenant(record));
    store.commit(&tenant, Batch { conditions: Vec::new(), writes: all }).await.unwrap();
    store
        .queue
        .push(Prepared::closing(&tenant, &session, AuditBy::HOST.did(AuditAction::SessionDeleted, &session)))
        .unwrap()
        .await
        .unwrap()
        .unwrap();
    assert!(store.close_tenant(&tenant, &AuditBy::HOST).await.unwrap());
    store.delete_closed_tenant(&tenant).await.unwrap();
    drop(store);
    let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    let mut left = everything(&store.view);
    left.extend(
        store
            .view
            .keys(Table::SessionHeads, &Range::prefix(b""), Direction::Forward, 1)
            .unwrap()
            .iter()
            .map(|key| Place(Table::SessionHeads, key).to_string()),
    );
    assert_eq!(left, Vec::<String>::new());
}

#[tokio::test]
async fn a_tenant_that_is_half_removed_is_removed_by_who_opens_the_store_and_asks_again() {
    let folder = tempfile::tempdir().unwrap();
    let tenant: TenantId = "acme".parse().unwrap();
    let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    let record = vivarium_domain::Tenant::new(tenant.clone(), vivarium_domain::Tier::Pro, Timestamp::UNIX_EPOCH);
    let state = |i: u32| Write::PutState {
        plugin: "a/b".parse().unwrap(),
        key: i.to_string(),
        value: Bytes::from_static(b"x"),
    };
    let writes = std::iter::once(Write::PutTenant(record)).chain((0..2500).map(state)).collect();
    store.commit(&tenant, Batch { conditions: Vec::new(), writes }).await.unwrap();
    store.put_blob(&tenant, Bytes::from_static(b"x")).await.unwrap();
    assert!(store.close_tenant(&tenant, &AuditBy::HOST).await.unwrap());
    // The first piece; then the crash.
    let piece = OfTenant::new(tenant.clone()).next(&store.view).unwrap().unwrap();
    store.queue.push(Prepared::of_steps(piece)).unwrap().await.unwrap().unwrap();
    drop(store);
    let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
    assert!((1000..2500).contains(&everything(&store.view).len()));
    assert_eq!(store.closed_tenants().await.unwrap(), vec![tenant.clone()]);
    store.delete_closed_tenant(&tenant).await.unwrap();
    assert_eq!(everything(&store.view), Vec::<String>::new());
    assert!(!folder.path().join("blobs/acme").exists());
}
