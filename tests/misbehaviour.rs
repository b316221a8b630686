//! Modes that trap, spin or outgrow their memory, in the real server: the client gets an honest end, the run says why it failed, and
//! the server serves on.

use serde_json::{Value, json};
use tempfile::TempDir;
use vivarium_tests::{Host, guest};

const SPIN: &str = "(loop $for_ever (br $for_ever)) (unreachable)";
const HOG: &str = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 64)) (i32.const -1)))) (unreachable)";

/// A server with three hostile modes besides its own.
async fn host() -> (Host, TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for (name, body) in [("traps", "(unreachable)"), ("spins", SPIN), ("hogs", HOG)] {
        std::fs::write(folder.path().join(format!("{name}.wasm")), guest::mode_plugin(name, "", body)).unwrap();
    }
    let host = Host::builder().environment("VIVARIUM_PLUGINS_DIR", folder.path()).start().await;
    (host, folder)
}

async fn failure(host: &Host, mode: &str) -> Value {
    let events = host.stream("/v1/agent/stream", &[("query", "go"), ("mode", mode)]).await.rest().await;
    let datas: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
    assert_eq!(datas.last(), Some(&"[DONE]"), "{datas:?}");
    let ends = events.iter().filter(|event| event.data.contains(r#""type":"error""#)).count();
    assert_eq!(ends, 1, "{datas:?}");
    let last = events[events.len() - 2].json();
    assert_eq!(last["type"], "error", "{last}");
    last
}

async fn still_serves(host: &Host) {
    let answer = host.post_ok("/v1/agent/run", &json!({"query": "hello", "mode": "chat"})).await;
    assert!(!answer["answer"].as_str().unwrap().is_empty());
}

#[tokio::test]
async fn a_mode_that_traps_ends_its_stream_with_an_error_and_the_server_serves_on() {
    let (host, _folder) = host().await;
    let error = failure(&host, "traps").await;
    assert!(error["message"].as_str().unwrap().contains("trapped"), "{error}");
    still_serves(&host).await;
}

#[tokio::test]
async fn a_mode_that_outgrows_its_memory_ends_its_stream_with_an_error_and_the_server_serves_on() {
    let (host, _folder) = host().await;
    let error = failure(&host, "hogs").await;
    assert!(error["message"].as_str().unwrap().contains("memory"), "{error}");
    still_serves(&host).await;
}

#[tokio::test]
async fn a_mode_that_spins_is_stopped_and_others_are_served_meanwhile() {
    let (host, _folder) = host().await;
    let (error, ()) = tokio::join!(failure(&host, "spins"), still_serves(&host));
    assert!(error["message"].as_str().unwrap().contains("processor time"), "{error}");
}

#[tokio::test]
async fn a_failed_run_says_why_in_its_record_and_in_its_log() {
    let (host, _folder) = host().await;
    let response = host.post("/v1/agent/run", &json!({"query": "go", "mode": "traps"})).await;
    assert_eq!(response.status().as_u16(), 500);
    let error: Value = response.json().await.unwrap();
    assert_eq!(error["error"]["type"], "server_error", "{error}");

    let last = failure(&host, "traps").await;
    let run = last["runId"].as_str().expect("the error names its run").to_owned();
    let record: Value = host.get(&format!("/v1/runs/{run}")).await.json().await.unwrap();
    assert_eq!((&record["status"], &record["failure"]["code"]), (&json!("failed"), &json!("trapped")), "{record}");
    let log: Value = host.get(&format!("/v1/runs/{run}/events")).await.json().await.unwrap();
    let events = log["data"].as_array().unwrap();
    let numbers: Vec<u64> = events.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (1..=events.len() as u64).collect::<Vec<_>>(), "{log}");
    assert_eq!(events.last().unwrap()["type"], "run.failed");
}
