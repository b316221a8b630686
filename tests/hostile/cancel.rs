//! A guest that computes for ever ends with who wanted it: a client that leaves, a run that is cancelled, a server that stops.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::mode_plugin;
use vivarium_tests::{Answer, Host, PATIENCE, ScriptedModel, ToolRequest, soon};

use super::{Arena, cpu_of};

/// A minute of processor time: nothing but the end of the call ends it.
const PATIENT: &str = "tool_limits = { cpu_ms = 60000, wall_ms = 120000 }\n\
    mode_limits = { cpu_ms = 60000, wall_ms = 120000 }\n\
    max_limits = { max = { cpu_ms = 60000, wall_ms = 120000 } }";

/// How soon a guest is gone on a machine that does other things as well. Without the defence it takes a minute.
const SOON: Duration = Duration::from_secs(5);

const SPIN: &str = "(loop $for_ever (br $for_ever)) (unreachable)";

/// Waits until the server has computed for a while.
async fn spinning(host: &Host) {
    let before = cpu_of(host.pid());
    soon("a spinning guest", async {
        while cpu_of(host.pid()) < before + Duration::from_millis(150) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
}

/// How long the server goes on computing from now on, up to the first 100 ms of rest, two ticks of the clock allowed; and the
/// processor time that it used meanwhile.
async fn rests_after(host: &Host) -> (Duration, Duration) {
    const WINDOW: Duration = Duration::from_millis(100);
    let (began, first) = (Instant::now(), cpu_of(host.pid()));
    loop {
        let (at, before) = (began.elapsed(), cpu_of(host.pid()));
        assert!(at < PATIENCE, "it never rests");
        tokio::time::sleep(WINDOW).await;
        let now = cpu_of(host.pid());
        if now <= before + Duration::from_millis(20) {
            return (at, now.saturating_sub(first));
        }
    }
}

async fn stops(host: &Host, what: &str) {
    let (after, used) = rests_after(host).await;
    eprintln!("{what}: the guest was at rest after {after:?}, with {used:?} of processor time");
    assert!(after < SOON, "{what}: it went on for {after:?}");
}

#[tokio::test]
async fn a_client_that_leaves_takes_its_spinning_guest_with_it() {
    let arena = Arena::with(PATIENT, json!({})).await;
    for _ in 0..3 {
        let request = arena.host.client().post(arena.host.url("/v1/tools/hostile/call")).bearer_auth(&arena.evil);
        let call = tokio::spawn(request.json(&json!({"arguments": {"do": "spin"}})).send());
        spinning(&arena.host).await;
        call.abort();
        assert!(call.await.unwrap_err().is_cancelled());
        stops(&arena.host, "a client that leaves").await;
        arena.is_whole().await;
    }
}

/// Starts a run and gives its id.
async fn start(arena: &Arena, mode: &str) -> String {
    let request = arena.host.client().get(arena.host.url("/v1/agent/stream")).bearer_auth(&arena.evil);
    let response = arena.host.send(request.query(&[("query", "go"), ("mode", mode)])).await;
    assert_eq!(response.status(), 200);
    response.headers()["x-run-id"].to_str().unwrap().to_owned()
}

async fn cancel(arena: &Arena, run: &str) {
    let path = format!("/v1/runs/{run}/cancel");
    let (status, told) = arena.host.json_as(&arena.evil, Method::POST, &path, None).await;
    assert_eq!(status, 200, "{told}");
}

/// The record of a run that has ended.
async fn ended(arena: &Arena, run: &str) -> Value {
    let path = format!("/v1/runs/{run}");
    soon("the run's end", async {
        loop {
            let (_, record) = arena.host.json_as(&arena.evil, Method::GET, &path, None).await;
            if !matches!(record["status"].as_str(), Some("queued" | "running" | "waiting")) {
                return record;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
}

#[tokio::test]
async fn a_cancelled_run_stops_its_spinning_tool() {
    let model = ScriptedModel::start().await;
    let call = ToolRequest { id: "c".to_owned(), name: "hostile".to_owned(), arguments: json!({"do": "spin"}) };
    model.always(Answer::Tools(vec![call]));
    let arena = Arena::empty(PATIENT, |builder| builder.model(&model)).await;
    let guest = vivarium_tests::guest::hostile(&json!({}));
    assert_eq!(arena.host.install_as(&arena.evil, "/v1/plugins", guest).await.0, 201);
    let run = start(&arena, "chat").await;
    spinning(&arena.host).await;
    cancel(&arena, &run).await;
    stops(&arena.host, "a cancelled run's tool").await;
    assert_eq!(ended(&arena, &run).await["status"], "cancelled");
    arena.is_whole().await;
}

#[tokio::test]
async fn a_cancelled_run_stops_its_spinning_mode() {
    let arena = Arena::empty(PATIENT, |builder| builder).await;
    let mode = mode_plugin("spins", "", SPIN);
    assert_eq!(arena.host.install_as(&arena.evil, "/v1/plugins", mode).await.0, 201);
    let run = start(&arena, "spins").await;
    spinning(&arena.host).await;
    cancel(&arena, &run).await;
    stops(&arena.host, "a cancelled run's mode").await;
    assert_eq!(ended(&arena, &run).await["status"], "cancelled");
    arena.is_whole().await;
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_a_spinning_guest() {
    let config = format!("drain_seconds = 1\n{PATIENT}");
    let arena = Arena::with(&config, json!({})).await;
    let mode = mode_plugin("spins", "", SPIN);
    assert_eq!(arena.host.install_as(&arena.evil, "/v1/plugins", mode).await.0, 201);
    let request = arena.host.client().post(arena.host.url("/v1/tools/hostile/call")).bearer_auth(&arena.evil);
    let call = tokio::spawn(request.json(&json!({"arguments": {"do": "spin"}})).send());
    let run = start(&arena, "spins").await;
    spinning(&arena.host).await;
    let began = Instant::now();
    let (_, data) = arena.host.stop().await;
    eprintln!("a server that is told to stop was gone after {:?}", began.elapsed());
    assert!(began.elapsed() < Duration::from_secs(1) + 2 * SOON, "{:?}", began.elapsed());
    let _cut_or_refused = call.await.unwrap();
    // The next host has the run, and it can be ended there.
    let host = Host::builder().data(data).start().await;
    let path = format!("/v1/runs/{run}");
    let (_, record) = host.json_as(&arena.evil, Method::GET, &path, None).await;
    assert!(matches!(record["status"].as_str(), Some("queued" | "running")), "{record}");
    let (status, record) = host.json_as(&arena.evil, Method::POST, &format!("{path}/cancel"), None).await;
    assert_eq!((status, &record["status"]), (200, &json!("cancelled")), "{record}");
}
