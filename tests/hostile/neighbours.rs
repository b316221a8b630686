//! What one tenant has is not there for another, by whatever name it is asked for.

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::{Answer, ScriptedModel};

use super::{Arena, came_of};

#[tokio::test]
async fn the_state_of_a_plugin_is_its_tenants_and_its_own() {
    let arena = Arena::new().await;
    arena.grant(&json!({"state": true})).await;
    let keep = json!({"do": "state.flood", "key": "k", "times": 1, "bytes": 3});
    assert_eq!(came_of(&arena.attack(&keep).await)["ok"]["kept"], 1);
    let own = json!({"do": "state.get", "key": "k0"});
    assert_eq!(came_of(&arena.attack(&own).await), json!({"ok": [7, 7, 7]}));

    let host = &arena.host;
    let again = vivarium_tests::guest::hostile(&json!({}));
    assert_eq!(host.install_as(&arena.good, "/v1/plugins", again).await.0, 201);
    let other =
        vivarium_tests::guest::hostile(&json!({"name": "test/other", "tools": [vivarium_tests::guest::tool("other")]}));
    assert_eq!(host.install_as(&arena.evil, "/v1/plugins", other).await.0, 201);
    let grant = json!({"state": true});
    for (key, plugin) in [(&arena.good, "test/hostile"), (&arena.evil, "test/other")] {
        let path = format!("/v1/plugins/{plugin}/grants");
        assert_eq!(host.json_as(key, Method::PUT, &path, Some(&grant)).await.0, 200);
    }
    for key in ["k0", "evil/k0", "../k0", "evil\u{0}k0", "test/hostile/k0", "../../evil/test/hostile/k0", ""] {
        let get = json!({"do": "state.get", "key": key});
        for (tenant, tool) in [(&arena.good, "hostile"), (&arena.evil, "other")] {
            let (_, answer) = arena.call(tenant, tool, &get, None).await;
            let outcome = came_of(&answer);
            assert!(outcome["ok"].is_null(), "{tool} {key:?}: {outcome}");
        }
    }
    for (tenant, tool) in [(&arena.good, "hostile"), (&arena.evil, "other")] {
        let (_, answer) = arena.call(tenant, tool, &json!({"do": "state.list"}), None).await;
        assert_eq!(came_of(&answer), json!({"ok": []}), "{tool}");
    }
    arena.grant(&json!({})).await;
    let denied = arena.attack(&own).await;
    assert!(came_of(&denied)["error"].is_string() && denied["denials"][0]["capability"] == "state", "{denied}");
}

#[tokio::test]
async fn the_runs_and_sessions_of_a_tenant_are_no_others() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("Noted."));
    let arena = Arena::empty("", |builder| builder.model(&model)).await;
    let host = &arena.host;
    let ask = async |key: &str, query: &str, session: Option<&str>| {
        let mut body = json!({"query": query, "mode": "chat"});
        if let Some(session) = session {
            body["sessionId"] = json!(session);
        }
        host.json_as(key, Method::POST, "/v1/agent/run", Some(&body)).await
    };
    let (status, run) = ask(&arena.good, "the password is xyzzy", Some("ours")).await;
    assert_eq!(status, 200, "{run}");
    let (id, session) = (run["runId"].as_str().unwrap(), run["sessionId"].as_str().unwrap());

    for (method, path) in [
        (Method::GET, format!("/v1/runs/{id}")),
        (Method::GET, format!("/v1/runs/{id}/events")),
        (Method::POST, format!("/v1/runs/{id}/cancel")),
        (Method::POST, format!("/v1/runs/{id}/approve")),
    ] {
        let body = json!({"callId": "x", "decision": "approve"});
        let body = (method == Method::POST).then_some(&body);
        let (status, told) = host.json_as(&arena.evil, method.clone(), &path, body).await;
        assert_eq!(status, 404, "{method} {path}: {told}");
        assert!(!told.to_string().contains("xyzzy"), "{told}");
    }
    // The same session's name is a session of one's own.
    let (_, answer) = ask(&arena.evil, "what is the password?", Some(session)).await;
    assert!(!answer.to_string().contains("xyzzy"), "{answer}");
    let last = model.requests().last().unwrap().to_string();
    assert!(last.contains("what is the password?") && !last.contains("xyzzy"), "{last}");
    // Its own tenant goes on with it.
    ask(&arena.good, "and now?", Some(session)).await;
    assert!(model.requests().last().unwrap().to_string().contains("xyzzy"));
}

#[tokio::test]
async fn a_guest_that_stays_warm_carries_nothing_from_one_tenant_to_another() {
    let arena = Arena::empty("", |builder| builder).await;
    let host = &arena.host;
    // Counts its own calls in its memory.
    let body = format!(
        "(global.set $calls (i32.add (global.get $calls) (i32.const 1))) \
         (if (i32.gt_u (global.get $calls) (i32.const 1)) (then unreachable)) {}",
        vivarium_tests::guest::ECHO
    );
    let fields = json!({"name": "x/counter", "instances": "warm", "tools": [vivarium_tests::guest::tool("counter")]});
    let counter = vivarium_tests::guest::tool_plugin_as(fields, "", "(global $calls (mut i32) (i32.const 0))", &body);
    for key in [&arena.evil, &arena.good] {
        assert_eq!(host.install_as(key, "/v1/plugins", counter.clone()).await.0, 201);
    }
    let answer = async |key: &str| -> Value { arena.call(key, "counter", &json!({}), None).await.1 };
    assert!(answer(&arena.evil).await["output"].is_string());
    assert!(answer(&arena.good).await["output"].is_string(), "the neighbour's is a new one");
    // Who wants to see that it would have been noticed: the tenant itself meets its own.
    assert!(answer(&arena.evil).await["error"].is_string(), "it is warm");
}
