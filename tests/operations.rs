//! What whoever runs a host relies on: it says honestly whether it can serve, stops in good order, and says all that is wrong with
//! its configuration.

use std::os::unix::net::UnixDatagram;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use vivarium_tests::guest::{saying, tool, tool_plugin_as};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, SseStream, repository_root, soon};

/// A new run in every dialect.
fn new_runs(host: &Host, agent: &str) -> [(&'static str, RequestBuilder); 4] {
    let make = format!("/api/v2/ai-agents/v1/agents/{agent}/run?teamId=1");
    [
        ("native", host.request(Method::POST, "/v1/runs").json(&json!({"input": "x", "mode": "chat"}))),
        ("assisters", host.request(Method::POST, "/v1/agent/run").json(&json!({"query": "x", "mode": "chat"}))),
        ("make", host.request(Method::POST, &make).json(&json!({"messages": [{"role": "user", "content": "x"}]}))),
        (
            "hub",
            host.request(Method::POST, &format!("/api/assistants/{agent}/execute")).json(&json!({"userInput": "x"})),
        ),
    ]
}

async fn agent(host: &Host) -> String {
    let (status, agent) = host.json(Method::POST, "/v1/agents", Some(&json!({"name": "one"}))).await;
    assert_eq!(status, 201, "{agent}");
    agent["id"].as_str().unwrap().to_owned()
}

/// Every dialect refuses a new run with 503, in its own form, and says when to come back.
async fn refuses_new_runs(host: &Host, agent: &str, why: &str) {
    for (dialect, request) in new_runs(host, agent) {
        let response = host.send(request).await;
        assert_eq!(response.status(), 503, "{dialect}");
        assert!(response.headers().contains_key("retry-after"), "{dialect}: {:?}", response.headers());
        let body = response.text().await.unwrap();
        assert!(body.contains(why), "{dialect}: {body}");
    }
}

async fn readiness(host: &Host) -> (u16, Value) {
    host.json(Method::GET, "/readyz", None).await
}

#[tokio::test]
async fn a_disk_with_too_little_room_makes_the_host_unready_and_takes_no_new_runs() {
    let host = Host::builder().start().await;
    let agent = agent(&host).await;
    let (_, data) = host.stop().await;
    let host = Host::builder().data(data).config("min_free_disk_bytes = 4611686018427387904\n").start_unready().await;
    let (status, said) = readiness(&host).await;
    let reason = said["reasons"][0].as_str().unwrap();
    assert!(status == 503 && reason.contains("min_free_disk_bytes asks for 4611686018427387904"), "{said}");
    refuses_new_runs(&host, &agent, "disk is nearly full").await;
    // What is there can be read, and what needs no run goes on.
    assert_eq!(host.json(Method::GET, &format!("/v1/agents/{agent}"), None).await.0, 200);
    assert_eq!(host.json(Method::GET, "/healthz", None).await.0, 200);
}

#[tokio::test]
async fn a_stopping_host_says_so_at_once_refuses_new_runs_and_lets_those_under_way_end() {
    for signal in ["TERM", "INT"] {
        let model = ScriptedModel::start().await;
        let host = Host::builder().model(&model).config("drain_seconds = 30\n").start().await;
        let agent = agent(&host).await;
        model.then(Answer::Slowly(vec!["word ".to_owned(); 30], Duration::from_millis(50)));
        let run = json!({"input": "Go on.", "mode": "chat"});
        let under_way = host.request(Method::POST, "/v1/runs").header("accept", "text/event-stream").json(&run);
        let stream = SseStream::new(host.send(under_way).await);
        model.received(1).await;
        let asked = Instant::now();
        host.signal(signal);
        host.says("stopping: runs under way are waited for").await;
        assert_eq!(
            readiness(&host).await,
            (503, json!({"status": "not ready", "reasons": ["the host is shutting down"]}))
        );
        refuses_new_runs(&host, &agent, "shutting down").await;
        let events = soon("the run's end", stream.rest()).await;
        assert_eq!(events.last().unwrap().event.as_deref(), Some("run.completed"), "{signal}");
        let (status, _) = host.stop_terminated().await;
        assert_eq!(status.code(), Some(0), "{signal}");
        // As soon as the run has ended, and not when the time is over.
        assert!(asked.elapsed() < Duration::from_secs(20), "{:?}", asked.elapsed());
    }
}

#[tokio::test]
async fn a_stop_takes_no_longer_than_it_was_given_and_leaves_what_is_under_way_to_the_next_start() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).config("drain_seconds = 1\n").start().await;
    model.then(Answer::Silence);
    let (status, run) =
        host.json(Method::POST, "/v1/runs", Some(&json!({"input": "x", "mode": "chat", "background": true}))).await;
    assert_eq!(status, 202, "{run}");
    model.received(1).await;
    let asked = Instant::now();
    let (status, data) = host.stop().await;
    assert_eq!(status.code(), Some(0));
    assert!(asked.elapsed() < Duration::from_secs(1 + 10), "{:?}", asked.elapsed());
    model.then(Answer::text("Done."));
    let host = Host::builder().model(&model).data(data).start().await;
    let (_, ended) = host.json(Method::GET, &format!("/v1/runs/{}?wait=30", run["id"].as_str().unwrap()), None).await;
    assert_eq!(ended["status"], "completed", "{ended}");
}

#[tokio::test]
async fn a_second_signal_ends_the_host_at_once() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).config("drain_seconds = 600\n").start().await;
    model.then(Answer::Silence);
    host.json(Method::POST, "/v1/runs", Some(&json!({"input": "x", "mode": "chat", "background": true}))).await;
    model.received(1).await;
    host.terminate();
    host.says("stopping: runs under way are waited for").await;
    host.terminate();
    let (status, _) = host.stop_terminated().await;
    assert_eq!(status.code(), Some(1));
}

#[tokio::test]
async fn the_service_manager_is_told_when_the_host_serves_and_when_it_stops() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let heard = move || {
        let mut text = [0; 64];
        let length = socket.recv(&mut text).unwrap();
        String::from_utf8_lossy(&text[..length]).into_owned()
    };
    let host = Host::builder().environment("NOTIFY_SOCKET", path).start().await;
    assert_eq!(heard(), "READY=1");
    host.terminate();
    assert_eq!(heard(), "STOPPING=1");
    assert!(host.stop_terminated().await.0.success());
}

#[tokio::test]
async fn a_configuration_is_checked_whole_without_a_start() {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    let checked = async |toml: &str| {
        let file = data.path().join("vivarium.toml");
        std::fs::write(&file, toml).unwrap();
        let output = cli.run(&["serve", "--check-config", "--config", file.to_str().unwrap()]).await;
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(checked("listen = \"127.0.0.1:1\"\n").await.0, Some(0));
    let wrong = "lisen = \"127.0.0.1:1\"\nmax_running = 0\ndrain_seconds = \"soon\"\n\
                 dangerously_allow_private_addresses = [\"x\"]\ntls_certificate_file = \"/nowhere.pem\"\n\
                 [limits.free]\nrequests_per_minute = 0\ntokens_per_minute = 1\n[weights]\nfree = 0\n";
    let (code, told) = checked(wrong).await;
    assert_eq!(code, Some(2), "{told}");
    for part in [
        "vivarium.toml line 1 is no key of the configuration; listen may be meant",
        "vivarium.toml line 2 must be larger than 0",
        "vivarium.toml line 3",
        "dangerously_allow_private_addresses",
        "tls_certificate_file needs tls_key_file",
        "vivarium.toml line 7",
        "vivarium.toml line 10",
    ] {
        assert!(told.contains(part), "{part:?} is not in: {told}");
    }
    assert!(!data.path().join("store").exists(), "nothing was started");
}

#[tokio::test]
async fn the_configuration_for_production_that_is_shipped_is_in_order() {
    let data = tempfile::tempdir().unwrap();
    let shipped = std::fs::read_to_string(repository_root().join("examples/operate/vivarium.toml")).unwrap();
    // The certificate is the reader's own.
    let without: String =
        shipped.lines().filter(|line| !line.starts_with("tls_")).fold(String::new(), |all, line| all + line + "\n");
    std::fs::write(data.path().join("vivarium.toml"), without).unwrap();
    Cli::on(data.path()).output(&["serve", "--check-config", "--config", "vivarium.toml"]).await;
}

/// Computes for some milliseconds.
const WORK: &str = "(local $at i32)
    (loop $on
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $on (i32.lt_u (local.get $at) (i32.const 4000000))))";

#[tokio::test]
async fn places_go_to_tenants_by_the_weights_that_are_configured_for_their_tiers() {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    let mut keys = Vec::new();
    for (tenant, tier) in [("light", "max"), ("heavy", "enterprise")] {
        cli.output(&["tenant", "create", tenant, "--tier", tier]).await;
        keys.push(cli.output(&["key", "create", "--tenant", tenant, "--scope", "runs,plugins"]).await);
    }
    let toml = "max_tool_calls = 1\ntenant_share_percent = 100\n[weights]\nmax = 1\nenterprise = 10\n\
                [limits.max]\nrequests_per_minute = 1000000\ntokens_per_minute = 1000000\n";
    let host = Arc::new(Host::builder().data(data).config(toml).start().await);
    let (words, answer) = saying("done");
    let component =
        tool_plugin_as(json!({"name": "test/work", "tools": [tool("work")]}), "", &words, &format!("{WORK}\n{answer}"));
    for key in &keys {
        assert_eq!(host.install_as(key, "/v1/plugins", component.clone()).await.0, 201);
    }
    let until = Instant::now() + Duration::from_secs(5);
    let counted = keys.into_iter().map(|key| {
        let callers = (0..24).map(|_| {
            let (host, key) = (Arc::clone(&host), key.clone());
            tokio::spawn(async move {
                let mut answered = 0_u32;
                while Instant::now() < until {
                    let call = json!({"arguments": {}});
                    let (status, answer) = host.json_as(&key, Method::POST, "/v1/tools/work/call", Some(&call)).await;
                    assert_eq!(status, 200, "{answer}");
                    answered += 1;
                }
                answered
            })
        });
        callers.collect::<Vec<_>>()
    });
    let counted: Vec<Vec<_>> = counted.collect();
    let mut answered = Vec::new();
    for callers in counted {
        let mut sum = 0;
        for caller in callers {
            sum += caller.await.unwrap();
        }
        answered.push(sum);
    }
    // Not ten to one: a caller whose answer is on its way is not in line.
    assert!(answered[1] > answered[0] * 2 && answered[0] > 4, "light and heavy: {answered:?}");
}
