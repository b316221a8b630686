//! Measures the store as the host uses it: callers that each commit run after run, three batches per run (accepted with
//! its first events, a model's answer, the end), and wait for each. Says batches per second, how long one takes, and what
//! processor time it costs.
//!
//! `cargo run --profile bench -p vivarium-store --example bench -- [callers=64] [seconds=5]`
#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a program for the terminal; what fails ends it")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use vivarium_domain::{
    ContentHash, Message, ModelName, Money, Run, RunId, RunSettings, RunStatus, SessionId, SessionMessage, TenantId,
    Timestamp, Usage,
};
use vivarium_store::{Batch, Condition, IdempotencyRecord, Made, SledStore, Store, Write};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut arguments = std::env::args().skip(1).filter_map(|argument| argument.parse::<u64>().ok());
    let (callers, seconds) = (arguments.next().unwrap_or(64), arguments.next().unwrap_or(5));
    let folder = tempfile::tempdir().unwrap();
    let opening = Instant::now();
    let store = Arc::new(SledStore::open(folder.path()).unwrap().0);
    println!("a new store is open after {:.1} ms", opening.elapsed().as_secs_f64() * 1e3);

    let (start, cpu) = (Instant::now(), cpu_time());
    let until = start + Duration::from_secs(seconds);
    let tasks: Vec<_> = (0..callers).map(|caller| tokio::spawn(call(Arc::clone(&store), caller, until))).collect();
    let mut waits = Vec::new();
    for task in tasks {
        waits.extend(task.await.unwrap());
    }
    let (wall, cpu) = (start.elapsed(), cpu_time().saturating_sub(cpu));
    report(&store, &mut waits, wall, cpu);
    for (thread, time) in cpu_by_thread() {
        println!("  {:6.1} us per commit in {thread}", time.as_secs_f64() * 1e6 / waits.len() as f64);
    }

    let closing = Instant::now();
    drop(store);
    println!("closed after {:.0} ms", closing.elapsed().as_secs_f64() * 1e3);
    let opening = Instant::now();
    let (_store, report) = SledStore::open(folder.path()).unwrap();
    println!("open again after {:.1} ms: {report}", opening.elapsed().as_secs_f64() * 1e3);
}

fn report(store: &SledStore, waits: &mut [Duration], wall: Duration, cpu: Duration) {
    waits.sort_unstable();
    let batches = waits.len();
    let at = |share: usize| {
        waits.get(batches * share / 1000).or_else(|| waits.last()).map_or(0.0, |wait| wait.as_secs_f64() * 1e3)
    };
    println!(
        "{:.0} commits/s ({:.0} runs/s), {:.1} per sync; p50 {:.3} ms, p99 {:.3} ms, p99.9 {:.3} ms; {:.1} us of processor time per commit",
        batches as f64 / wall.as_secs_f64(),
        batches as f64 / 3.0 / wall.as_secs_f64(),
        batches as f64 / store.flushes() as f64,
        at(500),
        at(990),
        at(999),
        cpu.as_secs_f64() * 1e6 / batches as f64,
    );
}

async fn call(store: Arc<SledStore>, caller: u64, until: Instant) -> Vec<Duration> {
    let tenant: TenantId = "acme".parse().unwrap();
    let mut waits = Vec::new();
    while Instant::now() < until {
        for batch in batches_of_a_run(caller) {
            let start = Instant::now();
            store.commit(&tenant, batch).await.unwrap();
            waits.push(start.elapsed());
        }
    }
    waits
}

fn batches_of_a_run(caller: u64) -> [Batch; 3] {
    let session: SessionId = format!("session-{caller}-{}", RunId::new()).parse().unwrap();
    let mut run = Run {
        id: RunId::new(),
        status: RunStatus::Queued,
        mode: "chat".to_owned(),
        plugin: ContentHash::of(b"plugin"),
        model: ModelName::new("openai", "gpt-5").unwrap(),
        session_id: session.clone(),
        stateless: false,
        parent: None,
        key: None,
        agent: None,
        input: "What does the borrow checker do, and why?".to_owned(),
        max_cycles: 3,
        settings: RunSettings::default(),
        created_at: Timestamp::now(),
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
    };
    let event = Bytes::from(vec![b'e'; 300]);
    let append = |first_seq, count| Write::AppendEvents { run: run.id, first_seq, events: vec![event.clone(); count] };
    let (first, second, third) = (append(1, 2), append(3, 1), append(4, 1));
    let record = IdempotencyRecord {
        request_hash: ContentHash::of(b"body"),
        made: Made::Run(run.id),
        created_at: run.created_at,
    };
    let key = run.id.to_string();
    let accepted = Batch {
        conditions: vec![Condition::IdempotencyKeyUnused(key.clone())],
        writes: vec![Write::PutRun(Box::new(run.clone())), Write::PutIdempotency { key, record }, first],
    };
    let answered = Batch { conditions: Vec::new(), writes: vec![second] };
    let message = |message| SessionMessage { run_id: run.id, at: run.created_at, message, attachments: Vec::new() };
    let messages = vec![message(Message::user(run.input.clone())), message(Message::assistant("It checks borrows."))];
    run.status = RunStatus::Completed;
    let writes = vec![third, Write::AppendMessages { session, messages }, Write::PutRun(Box::new(run))];
    [accepted, answered, Batch { conditions: Vec::new(), writes }]
}

/// Processor time of the whole process.
fn cpu_time() -> Duration {
    cpu_of("/proc/self/stat".as_ref())
}

/// Processor time by the threads' names, sled's many as one.
fn cpu_by_thread() -> BTreeMap<String, Duration> {
    let mut times = BTreeMap::<String, Duration>::new();
    for task in std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let name = std::fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let name = if name.starts_with("sled-io") { "sled-io" } else { name.trim() };
        *times.entry(name.to_owned()).or_default() += cpu_of(&task.path().join("stat"));
    }
    times
}

/// Fields 14 and 15 of a stat file, counted from after the name in brackets: user and system time in hundredths of a
/// second.
fn cpu_of(stat: &Path) -> Duration {
    let stat = std::fs::read_to_string(stat).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    let ticks: u64 = fields.skip(11).take(2).filter_map(|field| field.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
