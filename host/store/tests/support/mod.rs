//! What the store's tests share: records to write, and a store in a folder that goes away.
#![allow(dead_code, reason = "each test file uses its part")]

pub(crate) mod steps;

use bytes::Bytes;
use vivarium_domain::{
    Agent, AgentConfig, AgentId, ContentHash, Message, ModelName, Money, Run, RunId, RunSettings, RunStatus, Session,
    SessionId, SessionMessage, TenantId, Timestamp, Usage,
};
use vivarium_store::{Batch, Condition, IdempotencyRecord, Made, SledStore, StoreOptions, Write};

/// Small journals: they take turns every few commits, and the tests see the layers change under them.
pub(crate) const SMALL: StoreOptions = StoreOptions { journal_bytes: 64 * 1024, reserve_bytes: 0 };

pub(crate) fn open(folder: &tempfile::TempDir) -> SledStore {
    SledStore::open_with(folder.path(), SMALL).unwrap().0
}

pub(crate) fn tenant(id: &str) -> TenantId {
    id.parse().unwrap()
}

pub(crate) fn session(id: &str) -> SessionId {
    id.parse().unwrap()
}

pub(crate) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + second).unwrap()
}

pub(crate) fn run(session_id: &str, status: RunStatus) -> Run {
    Run {
        id: RunId::new(),
        status,
        mode: "chat".to_owned(),
        plugin: ContentHash::of(b"plugin"),
        model: ModelName::new("embedded", "extractive").unwrap(),
        session_id: session(session_id),
        stateless: false,
        parent: None,
        key: None,
        agent: None,
        input: "What is a tenant?".to_owned(),
        max_cycles: 3,
        settings: RunSettings::default(),
        created_at: at(0),
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

pub(crate) fn message(run_id: RunId, second: i64, text: &str) -> SessionMessage {
    SessionMessage { run_id, at: at(second), message: Message::user(text), attachments: Vec::new() }
}

pub(crate) fn event(seq: u64) -> Bytes {
    Bytes::from(format!("{{\"seq\":{seq},\"at\":\"{}\",\"type\":\"step\",\"message\":\"number {seq}\"}}", at(0)))
}

pub(crate) fn events(run: RunId, numbers: std::ops::RangeInclusive<u64>) -> Write {
    Write::AppendEvents { run, first_seq: *numbers.start(), events: numbers.map(event).collect() }
}

pub(crate) fn messages(session_id: &str, messages: Vec<SessionMessage>) -> Write {
    Write::AppendMessages { session: session(session_id), messages }
}

pub(crate) fn put(run: &Run) -> Write {
    Write::PutRun(Box::new(run.clone()))
}

pub(crate) fn batch(writes: impl IntoIterator<Item = Write>) -> Batch {
    Batch { conditions: Vec::new(), writes: writes.into_iter().collect() }
}

/// What the first request with an idempotency key commits.
pub(crate) fn first_request(key: &str, run: &Run) -> Batch {
    let record =
        IdempotencyRecord { request_hash: ContentHash::of(b"body"), made: Made::Run(run.id), created_at: at(0) };
    Batch {
        conditions: vec![Condition::IdempotencyKeyUnused(key.to_owned())],
        writes: vec![put(run), Write::PutIdempotency { key: key.to_owned(), record }],
    }
}

pub(crate) fn agent(name: &str) -> Agent {
    Agent {
        id: AgentId::new(),
        version: 1,
        created_at: at(0),
        updated_at: at(0),
        updated_by: None,
        config: AgentConfig::named(name),
    }
}

/// The agent's next version.
pub(crate) fn next(agent: &Agent, change: impl FnOnce(&mut AgentConfig)) -> Agent {
    let mut next = Agent { version: agent.version + 1, ..agent.clone() };
    change(&mut next.config);
    next
}

pub(crate) fn put_agent(agent: &Agent) -> Write {
    Write::PutAgent(Box::new(agent.clone()))
}

pub(crate) fn ensure(session: &Session) -> Write {
    Write::EnsureSession(Box::new(session.clone()))
}

/// A session that was made `second` seconds after the first.
pub(crate) fn made(id: &str, second: i64, agent: Option<AgentId>) -> Session {
    Session { agent_id: agent, ..Session::new(session(id), at(second)) }
}

/// The event by which a source's text comes into a run.
pub(crate) fn source_event(seq: u64, content: ContentHash) -> Bytes {
    let source = serde_json::json!({
        "id": "s1", "title": "t", "location": "l", "mediaType": "text/plain", "fetchedAt": at(0),
        "contentHash": content, "lengthBytes": 1, "tool": "web",
    });
    let event = format!(r#"{{"seq":{seq},"at":"{}","type":"source.added","source":{source}}}"#, at(0));
    let read: vivarium_domain::Event = serde_json::from_str(&event).unwrap();
    // As the runs write it: what the store looks for must be what they write.
    serde_json::to_vec(&read).unwrap().into()
}
