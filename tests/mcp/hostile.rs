//! Servers that are slow, huge, broken or lie: each is an error of the tool that says so, and no run fails of it.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use axum::body::Bytes;
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use vivarium_tests::mcp::{OddMcpServer, early_answer, endless, events, mcp_tool, rpc};
use vivarium_tests::{Answer, Host, ScriptedModel};

use super::{add, added, begun, ended, of_type};

/// The error that a run's model is told of a server that answers its calls in this way.
async fn told_within(
    (host, model): (&Host, &ScriptedModel),
    name: &str,
    limits: Value,
    call: impl Fn(&Value) -> Response + Send + Sync + 'static,
) -> String {
    let server = OddMcpServer::start(move |method, message| match method {
        "tools/call" => call(message),
        method => early_answer(method, message, &[mcp_tool("read", true)]),
    })
    .await;
    added(host, name, &server.url(), json!({"limits": limits})).await;
    let tool = format!("{name}_read");
    model.then(Answer::tool(&tool, json!({}))).then(Answer::text("So be it."));
    let log = ended(host, &begun(host, "Read.").await).await;
    assert_eq!(log.last().unwrap()["outcome"]["answer"], "So be it.", "the run goes on: {log:#?}");
    let outcome = &of_type(&log, "tool.completed")[0]["outcome"];
    outcome["error"].as_str().unwrap_or("it is no error").to_owned()
}

async fn told(
    host: &Host,
    model: &ScriptedModel,
    name: &str,
    call: impl Fn(&Value) -> Response + Send + Sync + 'static,
) -> String {
    told_within((host, model), name, json!({"wallMs": 4000}), call).await
}

fn saying(text: String) -> impl Fn(&Value) -> Response + Send + Sync + 'static {
    move |message| rpc(message, json!({"content": [{"type": "text", "text": text}]}))
}

#[tokio::test]
async fn each_limit_of_a_server_ends_what_is_beyond_it_and_is_named() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let stage = (&host, &model);
    let mut wrong = Vec::new();
    let mut hold = |told: String, expected: &str| {
        if !told.contains(expected) {
            wrong.push(format!("{:?} does not say {expected:?}", told.chars().take(300).collect::<String>()));
        }
    };
    let bytes = json!({"wallMs": 4000, "egressBytes": 500_000});
    let told = told_within(stage, "huge", bytes.clone(), |_| endless("application/json")).await;
    hold(told, "is over its limit of 500000");
    let told = told_within(stage, "flood", bytes, |_| endless("text/event-stream")).await;
    hold(told, "is over its limit of 500000");
    let told = told_within(stage, "long", json!({"outputBytes": 1000}), saying("x".repeat(2000))).await;
    hold(told, "the tool's output has 2000 bytes; at most 1000 are taken");
    let told = told_within(stage, "slow", json!({"wallMs": 600}), |_| events(Vec::new(), true)).await;
    hold(told, "did not answer within 600 ms");

    let refused = |(status, answer): (u16, Value)| format!("{status} {}", answer["error"]["message"]);
    let few = OddMcpServer::start(|method, message| early_answer(method, message, &[])).await;
    let told = refused(add(&host, "chatty", &few.url(), json!({"limits": {"egressRequests": 3}})).await);
    hold(told, "the number of requests is over its limit of 3");
    let many: Vec<Value> = (0..201).map(|n| mcp_tool(&format!("t{n}"), true)).collect();
    let many = OddMcpServer::start(move |method, message| early_answer(method, message, &many)).await;
    hold(refused(add(&host, "many", &many.url(), json!({})).await), "has more than 200 tools");
    let pages = OddMcpServer::start(|method, message| match method {
        "tools/list" => rpc(message, json!({"tools": [], "nextCursor": "again"})),
        method => early_answer(method, message, &[]),
    })
    .await;
    hold(refused(add(&host, "pages", &pages.url(), json!({})).await), "more than 20 pages");
    let secrets: Vec<String> = (0..9).map(|n| format!("s{n}")).collect();
    let told = refused(add(&host, "few", &few.url(), json!({"secrets": secrets})).await);
    hold(told, "has 9 entries; at most 8 are taken");
    for n in 4..50 {
        added(&host, &format!("s{n}"), &few.url(), json!({})).await;
    }
    let told = refused(add(&host, "s50", &few.url(), json!({})).await);
    hold(told, "409 \"a tenant may have 50 MCP servers");
    assert_eq!(wrong, Vec::<String>::new());
}

#[tokio::test]
async fn a_server_that_misbehaves_is_an_error_of_the_tool_that_says_how() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let error =
        told(&host, &model, "broken", |_| ([("content-type", "application/json")], "{\"jsonrpc\":").into_response())
            .await;
    assert!(error.contains("does not speak the protocol as it should"), "{error}");
    let error =
        told(&host, &model, "page", |_| ([("content-type", "text/html")], "<h1>Hello</h1>").into_response()).await;
    assert!(error.contains("of the type \"text/html\""), "{error}");
    let error = told(&host, &model, "down", |_| StatusCode::SERVICE_UNAVAILABLE.into_response()).await;
    assert!(error.contains("answered with the HTTP status 503"), "{error}");
    let error = told(&host, &model, "closed", |_| StatusCode::UNAUTHORIZED.into_response()).await;
    assert!(error.contains("answered 401: it wants a credential"), "{error}");
    let error = told(&host, &model, "moved", |_| {
        (StatusCode::TEMPORARY_REDIRECT, [("location", "http://127.0.0.1:1/")]).into_response()
    })
    .await;
    assert!(error.contains("answered 307, a redirect, which is not followed"), "{error}");
    let error = told(&host, &model, "refuses", |message| {
        let error = json!({"code": -32000, "message": "not\u{1b}[2J today\nrun.completed"});
        axum::Json(json!({"jsonrpc": "2.0", "id": message["id"], "error": error})).into_response()
    })
    .await;
    assert_eq!(error, "the MCP server refuses refused with the error -32000: not [2J today run.completed");
    let error =
        told(&host, &model, "half", |_| events(vec![Bytes::from("data: {\"jsonrpc\":\"2.0\",\"id\"")], false)).await;
    assert!(error.contains("the MCP server half"), "{error}");
    let error = told(&host, &model, "other", |_| {
        axum::Json(json!({"jsonrpc": "2.0", "id": 9999, "result": {"content": []}})).into_response()
    })
    .await;
    assert!(error.contains("the MCP server other"), "{error}");
}

#[tokio::test]
async fn a_session_that_is_gone_is_begun_anew_once() {
    static GONE: AtomicUsize = AtomicUsize::new(0);
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let server = OddMcpServer::start(|method, message| match method {
        "initialize" => {
            let mut response = early_answer(method, message, &[]);
            response.headers_mut().insert("mcp-session-id", "one".parse().unwrap());
            response
        }
        "tools/call" if GONE.fetch_add(1, Relaxed) == 0 => StatusCode::NOT_FOUND.into_response(),
        "tools/call" => rpc(message, json!({"content": [{"type": "text", "text": "here again"}]})),
        method => early_answer(method, message, &[mcp_tool("read", true)]),
    })
    .await;
    added(&host, "docs", &server.url(), json!({})).await;
    assert_eq!(host.call_tool("docs_read", json!({})).await["output"], "here again");
    let methods = server.methods();
    let count = |wanted: &str| methods.iter().filter(|method| *method == wanted).count();
    assert_eq!((count("tools/call"), count("initialize")), (2, 3), "{methods:?}");
}

#[tokio::test]
async fn what_can_not_be_added_is_refused_with_why_and_nothing_is_there() {
    let host = Host::builder().start().await;
    let nobody = OddMcpServer::start(|_, _| StatusCode::NOT_FOUND.into_response()).await;
    let (status, refused) = add(&host, "nobody", &nobody.url(), json!({})).await;
    assert_eq!(status, 502, "{refused}");
    let lists = OddMcpServer::start(|method, message| {
        let mut deep = json!({"type": "object"});
        deep["properties"] = json!({"a": {"$ref": "https://evil.example/schema"}});
        let bad = json!({"name": "bad", "inputSchema": deep});
        let clash = json!({"name": "list", "inputSchema": {"type": "object"}});
        early_answer(method, message, &[bad, clash, mcp_tool("good", true)])
    })
    .await;
    let server = added(&host, "corpus", &lists.url(), json!({})).await;
    let left: Vec<&Value> = server["leftOut"].as_array().unwrap().iter().map(|left| &left["remoteName"]).collect();
    assert!(left.contains(&&json!("bad")), "{server}");
    for (body, expected) in [
        (json!({"name": "x", "url": "stdio:server"}), "must begin with https:// or http://"),
        (json!({"name": "x", "url": "https://user:pass@example.com/"}), "must hold no user name and no password"),
        (json!({"name": "X Y", "url": "https://example.com/"}), "the name of an MCP server must be"),
        (json!({"url": "https://example.com/"}), "name is required"),
        (json!({"name": "x"}), "url is required"),
        (json!({"name": "x", "url": "https://example.com/", "command": "sh"}), "there is no field command"),
        (
            json!({"name": "x", "url": lists.url(), "dangerouslyAllowPrivateAddresses": true, "limits": {"wallMs": 0}}),
            "must be at least 1",
        ),
        (
            json!({"name": "x", "url": lists.url(), "dangerouslyAllowPrivateAddresses": true, "approvals": {"good": "auto"}}),
            "names the tool good",
        ),
    ] {
        let (status, refused) = host.json(reqwest::Method::POST, "/v1/mcp-servers", Some(&body)).await;
        let message = refused["error"]["message"].as_str().unwrap();
        assert!(status == 400 && message.contains(expected), "{body}: {refused}");
    }
    let (_, list) = host.json(reqwest::Method::GET, "/v1/mcp-servers", None).await;
    assert_eq!(super::names(&list["data"]), ["corpus"]);
}
