//! Records that do not fit are found, each by the part that looks for it.

use bytes::Bytes;
use vivarium_domain::{
    Agent, AgentConfig, AgentId, AgentRef, ApiKey, AuditAction, AuditBy, AuditEntry, ContentHash, CorpusDocument,
    Delivery, DeliveryStatus, DocumentId, Message, ModelName, Money, Run, RunId, RunSettings, RunStatus, Session,
    SessionId, SessionMessage, Tenant, TenantId, Tier, Timestamp, Usage, WebhookForm,
};

use super::*;
use crate::batch::json;
use crate::record::Op;
use crate::table::Key;
use crate::view::Direction;
use crate::{Batch, KeptAnswer, Made, Store, StoreOptions, Write};

/// A store with one of everything, and what its records are found by.
struct Kept {
    _folder: tempfile::TempDir,
    store: SledStore,
    tenant: TenantId,
    run: Run,
    session: SessionId,
    agent: AgentId,
    document: DocumentId,
    text: ContentHash,
    key: ContentHash,
}

const AT: Timestamp = Timestamp::UNIX_EPOCH;

fn run(session: &SessionId, agent: AgentId) -> Run {
    Run {
        id: RunId::new(),
        status: RunStatus::Completed,
        mode: "chat".to_owned(),
        plugin: ContentHash::of(b"plugin"),
        model: ModelName::new("embedded", "extractive").unwrap(),
        session_id: session.clone(),
        stateless: false,
        parent: None,
        key: None,
        agent: Some(AgentRef { id: agent, version: 1 }),
        input: "What?".to_owned(),
        max_cycles: 3,
        settings: RunSettings::default(),
        created_at: AT,
        waiting: None,
        ended_at: Some(AT),
        outcome: None,
        failure: None,
        usage: Usage::default(),
        cost: Money::ZERO,
        usage_by_model: Vec::new(),
        last_seq: 3,
        log_removed_at: None,
        trace: None,
    }
}

fn log(text: ContentHash) -> Vec<Bytes> {
    let source = serde_json::json!({
        "id": "s1", "title": "t", "location": "l", "mediaType": "text/plain", "fetchedAt": AT,
        "contentHash": text, "lengthBytes": 6, "tool": "web",
    });
    let usage = serde_json::to_value(Usage::default()).unwrap();
    let events = [
        format!(r#"{{"seq":1,"at":"{AT}","type":"step","message":"thinks"}}"#),
        format!(r#"{{"seq":2,"at":"{AT}","type":"source.added","source":{source}}}"#),
        format!(r#"{{"seq":3,"at":"{AT}","type":"run.completed","outcome":{{"answer":"42"}},"usage":{usage}}}"#),
    ];
    events.into_iter().map(Bytes::from).collect()
}

async fn kept() -> Kept {
    let folder = tempfile::tempdir().unwrap();
    let options = StoreOptions { journal_bytes: 64 * 1024, reserve_bytes: 0 };
    let (store, _) = SledStore::open_with(folder.path(), options).unwrap();
    let (tenant, session): (TenantId, SessionId) = ("acme".parse().unwrap(), "s".parse().unwrap());
    let text = store.put_blob(&tenant, Bytes::from_static(b"a page")).await.unwrap();
    let agent = Agent {
        id: AgentId::new(),
        version: 1,
        created_at: AT,
        updated_at: AT,
        updated_by: None,
        config: AgentConfig::named("guide"),
    };
    let document = CorpusDocument {
        id: DocumentId::new(),
        corpus: "space".to_owned(),
        name: "moons".to_owned(),
        description: String::new(),
        media_type: "text/plain".to_owned(),
        length_bytes: 6,
        content: text,
        offset_bytes: None,
        external_id: None,
        metadata: serde_json::Map::new(),
        created_at: AT,
    };
    let (run, key) = (run(&session, agent.id), ContentHash::of(b"key"));
    let said =
        |text: &str| SessionMessage { run_id: run.id, at: AT, message: Message::user(text), attachments: Vec::new() };
    let delivery = Delivery {
        run_id: run.id,
        url: "https://example.com".to_owned(),
        form: WebhookForm::Native,
        status: DeliveryStatus::Pending,
        attempts: Vec::new(),
        next_attempt_at: None,
        created_at: AT,
    };
    let key_of = |made| IdempotencyRecord { request_hash: text, made, created_at: AT };
    let answer = KeptAnswer { status: 201, headers: Vec::new(), body: "{}".to_owned(), expires_at: Timestamp::MAX };
    let api_key = ApiKey::new(tenant.clone(), "", AT);
    let writes = vec![
        Write::PutTenant(Tenant::new(tenant.clone(), Tier::Max, AT)),
        Write::PutApiKey { hash: key, key: api_key },
        Write::PutRun(Box::new(run.clone())),
        Write::AppendEvents { run: run.id, first_seq: 1, events: log(text) },
        Write::EnsureSession(Box::new(Session {
            agent_id: Some(agent.id),
            ttl_seconds: Some(60),
            ..Session::new(session.clone(), AT)
        })),
        Write::AppendMessages { session: session.clone(), messages: vec![said("What?"), said("42")] },
        Write::PutAgent(Box::new(agent.clone())),
        Write::PutDocument(Box::new(document.clone())),
        Write::PutDelivery(Box::new(delivery)),
        Write::PutIdempotency { key: "once".to_owned(), record: key_of(Made::Run(run.id)) },
        AuditBy::HOST.did(AuditAction::KeyCreated, "one").into(),
        AuditBy::HOST.did(AuditAction::KeyCreated, "two").into(),
        Write::PutIdempotency { key: "twice".to_owned(), record: key_of(Made::Answer(answer)) },
    ];
    store.commit(&tenant, Batch { conditions: Vec::new(), writes }).await.unwrap();
    Kept { _folder: folder, store, tenant, run, session, agent: agent.id, document: document.id, text, key }
}

impl Kept {
    fn at(&self) -> Key {
        Key::of(&self.tenant)
    }

    /// What is found after these writes, which no batch would do.
    fn found_after(&self, ops: Vec<Op>) -> Vec<(&'static str, String)> {
        self.store.view.publish(ops.into_iter());
        let parts = self.store.examine().into_iter();
        parts.flat_map(|part| part.errors.into_iter().map(move |error| (part.name, error))).collect()
    }
}

fn gone(table: Table, key: Key) -> Vec<Op> {
    vec![Op::delete(table, key.into_bytes())]
}

fn there(table: Table, key: Key, payload: &[u8]) -> Vec<Op> {
    let mut ops = Vec::new();
    record::put(&mut ops, table, key.into_bytes(), payload);
    ops
}

#[tokio::test]
async fn what_fits_together_is_found_to() {
    let kept = kept().await;
    for part in kept.store.examine() {
        assert!(part.errors.is_empty() && part.warnings.is_empty(), "{part:?}");
    }
}

type Damage = (&'static str, &'static str, fn(&Kept) -> Vec<Op>);

const DAMAGES: [Damage; 32] = [
    ("records", "the record does not read", |k| there(Table::Agents, k.at().agent(k.agent), b"{")),
    ("records", "does not match its checksum", |k| {
        let [op] = <[Op; 1]>::try_from(there(Table::Teams, k.at().number(1), b"x")).unwrap();
        vec![Op { key: k.at().number(2).into_bytes(), ..op }]
    }),
    ("runs", "its log of 0 events does not say so", |k| gone(Table::Events, k.at().run(k.run.id).number(1))),
    ("runs", "goes on with event 5 after 3", |k| there(Table::Events, k.at().run(k.run.id).number(5), b"")),
    ("runs", "goes on after its end, which is event 3", |k| {
        let event = Bytes::from(format!(r#"{{"seq":4,"at":"{AT}","type":"step","message":"m"}}"#));
        there(Table::Events, k.at().run(k.run.id).number(4), &record::list::pack(&[event]).0)
    }),
    ("runs", "its record ends with event 2, its log with 3", |k| {
        there(Table::Runs, k.at().run(k.run.id), &json(&Run { last_seq: 2, ..k.run.clone() }).unwrap())
    }),
    ("runs", "has not ended, and its log says that it has", |k| {
        there(Table::Runs, k.at().run(k.run.id), &json(&Run { status: RunStatus::Running, ..k.run.clone() }).unwrap())
    }),
    ("runs", "the list of unfinished runs says otherwise", |k| there(Table::Unfinished, k.at().run(k.run.id), b"")),
    ("runs", "is not in the list of its session's", |k| {
        gone(Table::SessionRuns, k.at().session(&k.session).run(k.run.id))
    }),
    ("runs", "is not in the list of its agent's", |k| gone(Table::AgentRuns, k.at().agent(k.agent).run(k.run.id))),
    ("runs", "names a run that is not there", |k| {
        there(Table::AgentRuns, k.at().agent(k.agent).run(RunId::new()), b"")
    }),
    ("runs", "is not in the lists of those that have ended", |k| {
        gone(Table::StatusRuns, k.at().status(k.run.status).run(k.run.id))
    }),
    ("runs", "counts 2 runs that have ended, and 1 are in the list", |k| {
        there(Table::RunCounts, k.at(), &2_u64.to_be_bytes())
    }),
    ("runs", "its log was removed, and 3 events are there", |k| {
        let run = Run { log_removed_at: Some(AT), ..k.run.clone() };
        there(Table::Runs, k.at().run(k.run.id), &json(&run).unwrap())
    }),
    ("runs", "does not know a key that stands for it", |k| {
        gone(Table::RunKeys, k.at().run(k.run.id).client_text("once"))
    }),
    ("runs", "keeps an answer that is never forgotten", |k| {
        gone(Table::AnswerExpiries, k.at().time(Timestamp::MAX).client_text("twice"))
    }),
    ("sessions", "should have 2 messages and has 0", |k| gone(Table::Messages, k.at().session(&k.session).number(0))),
    ("sessions", "does not stand in its place of a list", |k| {
        gone(Table::SessionPlaces, k.at().session_list(None).number(0))
    }),
    ("sessions", "counts 3, and 1 stand in it", |k| {
        there(Table::SessionHeads, k.at().session_list(None), &crate::places::Head { next: 3, taken: 3 }.to_bytes())
    }),
    ("sessions", "has 2 places of which 1 are taken, and counts 0 empty ones", |k| {
        there(Table::SessionHeads, k.at().session_list(None), &crate::places::Head { next: 2, taken: 1 }.to_bytes())
    }),
    ("agents", "has no version 1 of 1", |k| gone(Table::AgentVersions, k.at().agent(k.agent).number(1))),
    ("agents", "is not found by its name", |k| gone(Table::AgentNames, k.at().client_text("guide"))),
    ("documents", "is not in its collection", |k| {
        gone(Table::CorpusDocuments, k.at().client_text("space").document(k.document))
    }),
    ("keys", "is not in the list of its tenant", |k| gone(Table::TenantApiKeys, k.at().hash(&k.key))),
    ("keys", "was used that is not there", |k| there(Table::KeyUses, k.at().hash(&k.text), &[0; 8])),
    ("keys", "is of tenant acme, which is not there", |k| gone(Table::Tenants, k.at())),
    ("deliveries", "the list of pending ones says otherwise", |k| gone(Table::PendingDeliveries, k.at().run(k.run.id))),
    ("audit log", "entry 1 was changed", |k| {
        let (_, payload) =
            k.store.view.walk(Table::Audit, &Range::prefix(b""), Direction::Forward, 1).unwrap().remove(0);
        let entry: AuditEntry = serde_json::from_slice(&payload).unwrap();
        let another = AuditEntry { target: "another".to_owned(), ..entry };
        there(Table::Audit, k.at().number(1), &json(&another).unwrap())
    }),
    ("audit log", "entry 1 is missing", |k| gone(Table::Audit, k.at().number(1))),
    ("audit log", "its end was cut off", |k| gone(Table::Audit, k.at().number(2))),
    ("audit log", "its end was cut off", |k| gone(Table::AuditHeads, k.at())),
    ("blobs", "does not know that run", |k| gone(Table::BlobUses, k.at().hash(&k.text).run(k.run.id))),
];

#[tokio::test]
async fn what_does_not_fit_is_found_by_whoever_looks_for_it() {
    for (part, text, damage) in DAMAGES {
        let kept = kept().await;
        let found = kept.found_after(damage(&kept));
        assert!(found.iter().any(|(name, error)| *name == part && error.contains(text)), "{part}, {text}: {found:?}");
    }
}

#[tokio::test]
async fn a_run_that_is_gone_leaves_nothing_unsaid() {
    let kept = kept().await;
    let found = kept.found_after(gone(Table::Runs, kept.at().run(kept.run.id)));
    for text in ["session_runs of tenant acme names", "agent_runs of tenant acme names", "the delivery of run"] {
        assert!(found.iter().any(|(_, error)| error.contains(text)), "{text}: {found:?}");
    }
    let runs = kept.store.examine().into_iter().find(|part| part.name == "runs").unwrap();
    assert!(runs.warnings.iter().any(|text| text.contains("and no such run")), "{runs:?}");
}

#[test]
fn many_findings_are_counted_and_not_all_told() {
    let mut found = Examined::new("runs");
    (0..1000).for_each(|number| found.error(number.to_string()));
    let found = found.done();
    assert_eq!((found.errors.len(), found.errors.last().unwrap().as_str()), (21, "and 980 more of this kind"));
}
