//! Guests that use up what they are given, over HTTP: each is ended with the exact reason, and the server is as it was.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, ScriptedModel, ToolRequest};

use super::{Arena, came_of, error};

/// Two tool calls at one time: a place that is lost is missed at once.
const FEW: &str = "max_tool_calls = 2\ntenant_share_percent = 50\ntool_call_patience_seconds = 5";

fn tight() -> Value {
    json!({"limits": {"cpuMs": 40, "wallMs": 3_000, "memoryBytes": 16 << 20, "outputBytes": 10_000, "logLines": 10,
        "handles": 40, "hostCalls": 300, "stateBytes": 10_000, "fileBytes": 100_000, "files": 10},
        "state": true, "files": "write"})
}

/// Each attack, and what the answer holds.
fn attacks() -> Vec<(Value, &'static str)> {
    vec![
        (json!({"do": "spin"}), "the plugin used more than 40 ms of processor time and was stopped"),
        (json!({"do": "sleep", "ms": 3_600_000}), "the plugin took longer than 3000 ms and was stopped"),
        (json!({"do": "recurse"}), "call stack exhausted"),
        (json!({"do": "allocate"}), "the plugin needed more than 16777216 bytes of memory and was stopped"),
        (json!({"do": "panic", "text": "\u{1b}[2J"}), "the plugin trapped"),
        (json!({"do": "output", "bytes": 20_000}), "at most 10000 are taken"),
        (json!({"do": "log", "text": "x", "times": 200}), "more lines were dropped"),
        (json!({"do": "log", "text": "x", "times": 1_000}), "called the host more than 300 times"),
        (json!({"do": "header flood", "times": 100, "bytes": 10_000}), "total size of fields exceeds limit"),
        (json!({"do": "state.flood", "key": "k", "times": 200, "bytes": 100}), "limits.stateBytes"),
        (json!({"do": "fill", "path": "x", "bytes": 1_000_000}), "limits.fileBytes"),
        (json!({"do": "many", "path": "x", "times": 50}), "limits.files"),
        (json!({"do": "progress", "text": "x", "times": 1_000}), "called the host more than 300 times"),
    ]
}

#[tokio::test]
async fn fifty_rounds_of_attacks_leave_the_server_as_it_was() {
    let arena = Arena::with(FEW, json!({})).await;
    arena.grant(&tight()).await;
    let mut before = None;
    for round in 0..50 {
        for (attack, expected) in attacks() {
            // An hour's sleep costs three seconds: once is enough.
            if round > 0 && attack["do"] == "sleep" {
                continue;
            }
            let answer = arena.attack(&attack).await;
            assert!(answer.to_string().contains(expected), "{attack}: {answer}");
        }
        arena.is_whole().await;
        // What is made once, such as threads and room in tables, is there after some rounds.
        if round == 9 {
            before = Some(arena.process());
        }
    }
    let before = before.unwrap();
    // tokio keeps a thread of its blocking pool for ten idle seconds: what is still there after that is lost.
    let rest = Instant::now();
    while arena.process().threads > before.threads + 4 && rest.elapsed() < Duration::from_secs(30) {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let after = arena.process();
    eprintln!("after 10 rounds {before:?}\nafter 50 rounds {after:?}");
    assert!(after.files <= before.files + 6, "{before:?} {after:?}");
    assert!(after.threads <= before.threads + 4, "{before:?} {after:?}");
    assert!(after.resident_kib <= before.resident_kib + (24 << 10), "{before:?} {after:?}");
}

#[tokio::test]
async fn a_grant_goes_no_further_than_the_tenants_maximum() {
    // On a busy machine a guest has its processor time late: it must be used up before the time on the wall is.
    let config = "max_limits = { max = { cpu_ms = 80, wall_ms = 8000, memory_bytes = 8388608 } }";
    let arena = Arena::with(config, json!({"limits": {"cpuMs": 600_000}})).await;
    arena.grant(&json!({"limits": {"cpuMs": 600_000, "wallMs": 600_000, "memoryBytes": 1_u64 << 32}})).await;
    let spun = arena.attack(&json!({"do": "spin"})).await;
    assert_eq!(error(&spun), "the plugin used more than 80 ms of processor time and was stopped");
    let slept = arena.attack(&json!({"do": "sleep", "ms": 60_000})).await;
    assert_eq!(error(&slept), "the plugin took longer than 8000 ms and was stopped");
    let hogged = arena.attack(&json!({"do": "allocate"})).await;
    assert_eq!(error(&hogged), "the plugin needed more than 8388608 bytes of memory and was stopped");
}

#[tokio::test]
async fn a_tenant_that_spins_in_all_its_places_leaves_its_neighbours_theirs() {
    let arena = Arena::with(FEW, json!({})).await;
    arena.grant(&json!({"limits": {"cpuMs": 2_000, "wallMs": 8_000}})).await;
    let spins = futures::future::join_all((0..6).map(|_| async {
        let (status, answer) = arena.call(&arena.evil, "hostile", &json!({"do": "spin"}), None).await;
        // One place at a time, and five seconds of patience for it: the later ones are told to come again.
        assert!(matches!(status, 200 | 429 | 503), "{status} {answer}");
        status
    }));
    let neighbour = async {
        let mut longest = Duration::ZERO;
        for _ in 0..30 {
            let began = Instant::now();
            arena.is_whole().await;
            longest = longest.max(began.elapsed());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        longest
    };
    let (statuses, longest) = tokio::join!(spins, neighbour);
    eprintln!("{statuses:?}; the neighbour waited for at most {longest:?}");
    assert!(statuses.contains(&200) && statuses.iter().any(|status| *status != 200), "{statuses:?}");
    assert!(longest < Duration::from_secs(2), "{longest:?}");
}

#[tokio::test]
async fn what_a_guest_prints_goes_nowhere_and_its_world_is_empty() {
    let arena = Arena::empty("", |builder| builder.environment("OPENAI_API_KEY", "sk-of-the-host-and-no-guest")).await;
    let guest = vivarium_tests::guest::hostile(&json!({}));
    assert_eq!(arena.host.install_as(&arena.evil, "/v1/plugins", guest).await.0, 201);
    arena.grant(&json!({"limits": {"hostCalls": 1_000_000}})).await;
    let answer = arena.attack(&json!({"do": "print", "text": "printed-by-a-guest", "times": 20_000})).await;
    assert!(!answer.to_string().contains("printed-by-a-guest"), "{answer}");
    let world = came_of(&arena.attack(&json!({"do": "environment"})).await);
    assert_eq!(world, json!({"ok": {"arguments": [], "variables": [], "input": 0}}));
    assert!(!arena.host.log().contains("printed-by-a-guest"));
    arena.is_whole().await;
}

#[tokio::test]
async fn a_guest_writes_no_line_of_the_servers_log_but_its_own() {
    let forged = "x\u{1b}[2J\r\n2026-01-01T00:00:00Z ERROR vivarium: forged\u{2028}\u{202e}\u{9b}2J\u{0}\u{85}";
    let ways = ["progress", "fail", "panic", "say", "print", "write", "log"];
    let model = ScriptedModel::start().await;
    let call = |way: &str| {
        let arguments = json!({"do": way, "text": forged, "path": forged});
        ToolRequest { id: way.to_owned(), name: "hostile".to_owned(), arguments }
    };
    model.then(Answer::Tools(ways.map(call).into()));
    model.always(Answer::text("done"));
    // The log says all that it can say.
    let arena = Arena::empty("", |builder| builder.model(&model).environment("VIVARIUM_LOG", "debug,hyper=info")).await;
    let guest = vivarium_tests::guest::hostile(&json!({}));
    assert_eq!(arena.host.install_as(&arena.evil, "/v1/plugins", guest).await.0, 201);
    arena.grant(&json!({"files": "write", "state": true})).await;
    let ask = json!({"query": "go", "mode": "chat"});
    let (status, run) = arena.host.json_as(&arena.evil, Method::POST, "/v1/agent/run", Some(&ask)).await;
    assert_eq!(status, 200, "{run}");
    // What a guest or its tenant names, the host may repeat.
    arena.attack(&super::fetch("x.example", &format!("/{forged}"))).await;
    arena.attack(&super::fetch(forged, "/")).await;
    arena.attack(&json!({"do": "state.flood", "key": forged, "times": 1, "bytes": 1})).await;
    arena.call(&arena.evil, "%1b%5b2J%0aforged", &json!({}), None).await;
    let tried = arena.attack(&json!({"do": "log", "text": forged})).await;
    let line = tried["log"][0]["line"].as_str().unwrap();
    assert!(line.starts_with("x\\u{1b}[2J\\u{d}\\n2026-") && line.chars().all(|c| !c.is_control()), "{line:?}");
    assert!(!line.contains(['\u{2028}', '\u{202e}', '\u{9b}']), "{line:?}");
    arena.host.says("x\\u{1b}[2J").await;
    let log = arena.host.log();
    for letter in ['\u{1b}', '\u{9b}', '\u{2028}', '\u{202e}', '\0', '\r', '\u{85}'] {
        let line = log.lines().find(|line| line.contains(letter));
        assert!(line.is_none(), "{letter:?} in {line:?}");
    }
    assert!(log.lines().all(|line| !line.starts_with("2026-01-01T00:00:00Z")), "{log}");
}

/// A tool that spins where the host calls it back: for room for its arguments, or to clean up after its answer.
fn spins_when_called_back(name: &str, in_realloc: bool) -> Vec<u8> {
    const SPIN: &str = "(loop $for_ever (br $for_ever))";
    let (realloc, after) = if in_realloc { (SPIN, "") } else { ("", SPIN) };
    let wat = format!(
        r#"(module
            (memory (export "memory") 2)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) {realloc} (i32.const 4096))
            (func (export "cabi_post_vivarium:plugin/tool@0.1.0#call") (param i32) {after})
            (func (export "vivarium:plugin/tool@0.1.0#call")
                (param i32 i32) (param $arguments i32) (param $arguments_len i32) (param i32 i32 i32 i32 i32 i32)
                (result i32) {ECHO}))"#
    );
    let manifest = json!({"name": format!("evil/{name}"), "version": "1.0.0", "contract": "0.1.0", "description": "d",
        "tools": [tool(name)], "limits": {"cpuMs": 60}});
    vivarium_tests::guest::component("tool-plugin", &wat, &manifest)
}

#[tokio::test]
async fn a_guest_that_spins_while_the_host_calls_it_back_is_stopped() {
    let arena = Arena::empty(FEW, |builder| builder).await;
    for (name, in_realloc) in [("room", true), ("after", false)] {
        let (status, told) =
            arena.host.install_as(&arena.evil, "/v1/plugins", spins_when_called_back(name, in_realloc)).await;
        assert_eq!(status, 201, "{told}");
        for _ in 0..4 {
            let began = Instant::now();
            let (status, answer) = arena.call(&arena.evil, name, &json!({}), None).await;
            assert_eq!(status, 200, "{answer}");
            assert_eq!(error(&answer), "the plugin used more than 60 ms of processor time and was stopped", "{name}");
            assert!(began.elapsed() < Duration::from_secs(10), "{name}: {:?}", began.elapsed());
            arena.is_whole().await;
        }
    }
}

#[tokio::test]
async fn a_long_line_of_a_guest_is_cut() {
    let arena = Arena::new().await;
    let answer = arena.attack(&json!({"do": "log", "text": "x".repeat(100_000)})).await;
    let line = answer["log"][0]["line"].as_str().unwrap();
    assert!(line.len() < 5_000, "{} bytes", line.len());
    assert!(arena.host.log().lines().all(|line| line.len() < 10_000));
}

#[tokio::test]
async fn a_tool_can_not_call_itself_through_the_tools_of_a_run() {
    let arena = Arena::empty("", |builder| builder).await;
    let wit = vivarium_tests::repository_root().join("wit/0.1.0/mode.wit");
    assert!(std::fs::read_to_string(wit).unwrap().contains("interface tools"), "there is such an interface, for modes");
    let both = tool_that_calls_tools();
    let (status, told) = arena.host.install_as(&arena.evil, "/v1/plugins", both).await;
    if status == 201 {
        let (_, answer) = arena.call(&arena.evil, "hostile", &json!({}), None).await;
        assert!(error(&answer).contains("answers modes only"), "{answer}");
    } else {
        assert_eq!(status, 422, "{told}");
    }
    arena.is_whole().await;
}

/// A component that is a tool and a mode, whose tool asks for the tools of the run.
fn tool_that_calls_tools() -> Vec<u8> {
    vivarium_tests::guest::tool_and_mode_plugin(
        r#"(import "vivarium:plugin/tools@0.1.0" "list" (func $list (param i32)))"#,
        &format!("(call $list (i32.const 2048)) {ECHO}"),
    )
}

#[tokio::test]
async fn a_state_flood_ends_at_its_quota_and_goes_with_no_restart() {
    let arena = Arena::new().await;
    arena.grant(&json!({"state": true, "limits": {"stateBytes": 50_000}})).await;
    let flood = |key: &str| json!({"do": "state.flood", "key": key, "times": 10_000, "bytes": 1_000});
    let first = came_of(&arena.attack(&flood("a")).await);
    let kept = first["ok"]["kept"].as_u64().unwrap();
    assert!(kept < 50 && first["ok"]["error"].as_str().unwrap().contains("TooLarge"), "{first}");
    // Over calls, too.
    let second = came_of(&arena.attack(&flood("b")).await);
    assert_eq!(second["ok"]["kept"], 0, "{second}");
    let long =
        came_of(&arena.attack(&json!({"do": "state.flood", "key": "k".repeat(300), "times": 1, "bytes": 1})).await);
    assert_eq!(long["ok"]["kept"], 0, "{long}");
    arena.is_whole().await;
}

#[tokio::test]
async fn arguments_without_end_do_not_reach_a_guest() {
    let arena = Arena::empty("", |builder| builder).await;
    let echo = tool_plugin_as(json!({"name": "evil/echo", "tools": [tool("echo2")]}), "", "", ECHO);
    assert_eq!(arena.host.install_as(&arena.evil, "/v1/plugins", echo).await.0, 201);
    let (status, told) = arena.call(&arena.evil, "echo2", &json!({"a": "x".repeat(2 << 20)}), None).await;
    assert_eq!(status, 413, "{told}");
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(r#"{{"arguments":{{"a":{deep}}}}}"#);
    let request = arena.host.client().post(arena.host.url("/v1/tools/echo2/call")).bearer_auth(&arena.evil);
    let answer = arena.host.send(request.header("content-type", "application/json").body(body)).await;
    assert_eq!(answer.status(), 400);
    arena.is_whole().await;
}
