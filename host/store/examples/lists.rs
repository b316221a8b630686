//! Measures pages of lists: agents and sessions, of 1,000 and of 100,000, at the beginning, in the middle and at the end;
//! sessions once more after a tenth of them was removed. Each page has 50 items. The store was closed and opened again
//! before, so nothing lies in its layers.
//!
//! `cargo run --profile bench -p vivarium-store --example lists -- [most=100000]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the terminal; what fails ends it")]

use std::time::{Duration, Instant};

use futures::future::join_all;
use vivarium_domain::{Agent, AgentConfig, AgentId, AuditBy, Session, SessionId, TenantId, Timestamp};
use vivarium_store::{AgentFilter, Batch, SessionFilter, SessionStart, SledStore, Store, Write};

/// A page's items.
const LIMIT: usize = 50;
/// How often each page is read.
const TIMES: usize = 200;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let most = std::env::args().nth(1).and_then(|argument| argument.parse().ok()).unwrap_or(100_000);
    println!("| list | first page | middle | last page |");
    println!("|---|---|---|---|");
    for count in [most / 100, most] {
        let folder = tempfile::tempdir().unwrap();
        let tenant: TenantId = "acme".parse().unwrap();
        let agents: Vec<Agent> = (0..count).map(agent).collect();
        let sessions: Vec<Session> = (0..count).map(|number| session(number, &agents)).collect();
        let mut store = SledStore::open(folder.path()).unwrap().0;
        write(&store, &tenant, agents.iter().map(|agent| Write::PutAgent(Box::new(agent.clone())))).await;
        write(&store, &tenant, sessions.iter().map(|one| Write::EnsureSession(Box::new(one.clone())))).await;
        store = open_again(store, &folder);
        measure_agents(&store, &tenant, &agents).await;
        measure_sessions(&store, &tenant, count, "sessions").await;
        let begun = Instant::now();
        for id in sessions.iter().step_by(10).map(|session| &session.id) {
            store.delete_session(&tenant, id, &AuditBy::HOST).await.unwrap();
        }
        let each = begun.elapsed() / u32::try_from(count.div_ceil(10)).unwrap();
        store = open_again(store, &folder);
        let left = count - count.div_ceil(10);
        measure_sessions(&store, &tenant, left, "sessions, a tenth removed").await;
        println!("removing one took {:.2} ms", each.as_secs_f64() * 1e3);
    }
}

fn open_again(store: SledStore, folder: &tempfile::TempDir) -> SledStore {
    drop(store);
    SledStore::open(folder.path()).unwrap().0
}

fn agent(number: usize) -> Agent {
    let mut config = AgentConfig::named(format!("agent {number}"));
    config.prompt = "You are an assistant that answers questions about Rust, briefly and with sources. ".repeat(5);
    let now = Timestamp::now();
    Agent { id: AgentId::new(), version: 1, created_at: now, updated_at: now, updated_by: None, config }
}

fn session(number: usize, agents: &[Agent]) -> Session {
    let id: SessionId = format!("session-{number}").parse().unwrap();
    let agent_id = agents.get(number % 10).map(|agent| agent.id);
    let title = Some("What does the borrow checker do, and why?".to_owned());
    Session { agent_id, title, ..Session::new(id, Timestamp::now()) }
}

async fn write(store: &SledStore, tenant: &TenantId, writes: impl Iterator<Item = Write>) {
    let mut writes = writes.peekable();
    while writes.peek().is_some() {
        let commits = writes
            .by_ref()
            .take(500)
            .map(|write| store.commit(tenant, Batch { conditions: Vec::new(), writes: vec![write] }));
        join_all(commits.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    }
}

async fn measure_agents(store: &SledStore, tenant: &TenantId, agents: &[Agent]) {
    let mut columns = Vec::new();
    for from_the_newest in [0, agents.len() / 2, agents.len() - LIMIT] {
        let before = agents.iter().rev().nth(from_the_newest.wrapping_sub(1)).map(|agent| agent.id);
        let page = async || {
            let filter = AgentFilter { team: None, before, limit: LIMIT };
            assert_eq!(store.agents(tenant, filter).await.unwrap().items.len(), LIMIT);
        };
        columns.push(median(page).await);
    }
    row(&format!("{} agents, by the last one's id", agents.len()), &columns);
}

async fn measure_sessions(store: &SledStore, tenant: &TenantId, count: usize, what: &str) {
    let places = [0, count / 2, count - LIMIT];
    let mut columns = Vec::new();
    for skip in places {
        let page = async || {
            let start = SessionStart::Skip(skip as u64);
            let page = store.sessions(tenant, SessionFilter { agent: None, start, limit: LIMIT }).await.unwrap();
            assert_eq!(page.items.len(), LIMIT);
        };
        columns.push(median(page).await);
    }
    row(&format!("{count} {what}, by how many to skip"), &columns);
}

async fn median(page: impl AsyncFn()) -> Duration {
    let mut times = Vec::new();
    for _ in 0..TIMES {
        let begun = Instant::now();
        page().await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times.get(TIMES / 2).copied().unwrap_or_default()
}

fn row(what: &str, columns: &[Duration]) {
    let columns: Vec<_> = columns.iter().map(|time| format!("{:.2} ms", time.as_secs_f64() * 1e3)).collect();
    println!("| {what} | {} |", columns.join(" | "));
}
