//! What durability costs and what it buys: how soon a host is back with the runs that the one before has left, how much memory a run
//! holds that waits for a person, what the journal adds to a run, and how soon a run is gone that somebody cancels. Arguments
//! choose: `cargo xtask bench -- --bench durability -- recovery`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that can not go on ends"
)]

mod cancel;
mod journal;
mod model;
mod recovery;
mod waiting;

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use vivarium_tests::{Host, HostBuilder};

use self::model::Model;

/// Nobody is slowed down for asking often.
const CONFIG: &str = "limits.enterprise = { requests_per_minute = 1000000, tokens_per_minute = 1000000000 }\n";

/// A host with the bench's model.
fn builder(model: &Model) -> HostBuilder {
    Host::builder()
        .environment("OPENAI_BASE_URL", model.base_url())
        .environment("OPENAI_API_KEY", "sk-of-the-bench")
        .environment("VIVARIUM_MODEL", "openai/bench")
}

/// Starts a run in the background and gives its id.
async fn begin(host: &Host, body: &Value) -> String {
    let (status, run) = host.json(Method::POST, "/v1/runs", Some(body)).await;
    assert_eq!(status, 202, "{run}");
    run["id"].as_str().unwrap().to_owned()
}

/// Resident memory of a process in KiB, once it has not changed much for a second.
async fn settled_memory(pid: u32) -> u64 {
    let resident = || {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
    };
    let (mut before, mut quiet) = (resident(), 0);
    while quiet < 5 {
        tokio::time::sleep(Duration::from_millis(500)).await;
        let now = resident();
        quiet = if now.abs_diff(before) < 128 { quiet + 1 } else { 0 };
        before = now;
    }
    before
}

fn milliseconds(sorted: &[Duration], per_mille: usize) -> f64 {
    sorted[(sorted.len() * per_mille / 1000).min(sorted.len() - 1)].as_secs_f64() * 1e3
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let chosen = |name: &str| arguments.is_empty() || arguments.iter().any(|argument| argument == name);
    runtime.block_on(async {
        if chosen("recovery") {
            recovery::measure().await;
        }
        if chosen("waiting") {
            waiting::measure().await;
        }
        if chosen("journal") {
            journal::measure().await;
        }
        if chosen("cancel") {
            cancel::measure().await;
        }
    });
}
