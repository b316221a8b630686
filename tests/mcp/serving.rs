//! `/mcp`: a tenant's tools and agents for other programs' models, asked by a client of the protocol and by hand.

use std::sync::Arc;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_egress::{AllowedHost, Egress, EgressPolicy, Injection, Meter};
use vivarium_mcp::{Called, RemoteServer, Shown, ToolCall};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Host, ScriptedModel, SseStream, host_of_two, soon};

use super::names;

const PATIENCE: Duration = Duration::from_secs(30);

/// The host's `/mcp` as a client sees it: one that begins with a handshake, or one that does not.
fn client(host: &Host, key: &str, is_early: bool) -> RemoteServer {
    // It also sees to TLS for the whole process.
    let _client = vivarium_tests::http_client();
    let place: vivarium_mcp::Place = host.url("/mcp").parse().unwrap();
    let here = vec![AllowedHost::parse(&place.host_and_port(), &[]).unwrap()];
    let policy = EgressPolicy {
        requested: here.clone(),
        granted: here,
        dangerously_allow_private_addresses: vec![place.host_and_port().parse().unwrap()],
        injections: vec![Injection::new(&place.host(), "authorization", "Bearer ", key.to_owned().into()).unwrap()],
        ..EgressPolicy::default()
    };
    RemoteServer { place, egress: Arc::new(Egress::new()), policy: Arc::new(policy), is_early }
}

async fn called(remote: &RemoteServer, name: &str, arguments: Value) -> Called {
    let listing = remote.list(Meter::default(), PATIENCE).await.unwrap();
    let tool = listing.tools.iter().find(|tool| tool.name == name).unwrap_or_else(|| panic!("{name}: {listing:?}"));
    let shown = Shown { server: "v".into(), tool: name.into(), title: String::new(), is_document: false };
    let arguments = arguments.as_object().unwrap().clone();
    let call = ToolCall { name: name.into(), digest: tool.digest, arguments, idempotency_key: "k".into(), shown };
    remote.call(call, PATIENCE).await
}

/// Sends one message by hand.
async fn send(host: &Host, message: &Value, headers: &[(&str, &str)]) -> reqwest::Response {
    let mut request =
        host.request(Method::POST, "/mcp").header("accept", "application/json, text/event-stream").json(message);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    host.send(request).await
}

fn call(name: &str, arguments: Value, meta: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": name, "arguments": arguments, "_meta": meta}})
}

async fn agent(host: &Host, config: Value) -> String {
    let (status, made) = host.json(Method::POST, "/v1/agents", Some(&config)).await;
    assert_eq!(status, 201, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn tools_and_agents_are_listed_and_called_in_both_versions_of_the_protocol() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    host.install(tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", ECHO)).await;
    agent(&host, json!({"name": "Math Helper", "description": "Knows numbers.", "tools": []})).await;
    for (is_early, version) in [(false, "2026-07-28"), (true, "2025-11-25")] {
        let remote = client(&host, host.key(), is_early);
        let listing = remote.list(Meter::default(), PATIENCE).await.unwrap();
        assert_eq!(listing.protocol, version);
        let listed: Vec<&str> = listing.tools.iter().map(|tool| tool.name.as_str()).collect();
        assert!(listed.contains(&"echo") && listed.contains(&"agent_math_helper"), "{listed:?}");
        assert!(listed.is_sorted(), "{listed:?}");
        let echoed = called(&remote, "echo", json!({"a": 1})).await.result.unwrap();
        assert_eq!((echoed.content.as_str(), echoed.is_error), ("{\"a\":1}", false));
        model.then(Answer::text("Four."));
        let answered = called(&remote, "agent_math_helper", json!({"input": "Two and two?"})).await.result.unwrap();
        assert_eq!((answered.content.as_str(), answered.is_error), ("Four.", false));
    }
    let (_, runs) = host.json(Method::GET, "/v1/runs", None).await;
    assert_eq!(runs["data"].as_array().unwrap().len(), 2, "each call was a run of its own");
}

#[tokio::test]
async fn an_agents_steps_are_told_as_progress_and_its_answer_with_what_it_is() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    host.install(tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", ECHO)).await;
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false});
    agent(&host, json!({"name": "counter", "tools": [{"name": "echo"}], "maxCycles": 3, "output": {"type": "json_schema", "schema": schema}})).await;
    model.then(Answer::tool("echo", json!({}))).always(Answer::text("{\"n\":4}"));
    let message =
        call("agent_counter", json!({"input": "Count.", "sessionId": "talk-1"}), json!({"progressToken": "p"}));
    let response = send(&host, &message, &[("mcp-protocol-version", "2025-06-18")]).await;
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let all = soon("the answer", SseStream::new(response).rest()).await;
    let messages: Vec<Value> = all.iter().filter(|event| !event.data.is_empty()).map(|event| event.json()).collect();
    let told: Vec<&Value> = messages.iter().filter(|message| message["method"] == "notifications/progress").collect();
    assert!(told.iter().any(|message| message["params"]["message"] == "calls echo"), "{messages:#?}");
    assert!(told.iter().all(|message| message["params"]["progressToken"] == "p"), "{messages:#?}");
    let result = &messages.last().unwrap()["result"];
    assert_eq!(result["structuredContent"], json!({"n": 4}), "{result}");
    assert_eq!(result["_meta"]["vivarium/sessionId"], "talk-1", "{result}");
    let run = result["_meta"]["vivarium/runId"].as_str().unwrap();
    let (_, run) = host.json(Method::GET, &format!("/v1/runs/{run}"), None).await;
    assert_eq!((&run["status"], &run["input"]), (&json!("completed"), &json!("Count.")), "{run}");
}

#[tokio::test]
async fn a_client_cancels_its_run_and_nobody_elses() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    agent(&host, json!({"name": "slow", "tools": []})).await;
    model.then(Answer::Silence);
    let message = call("agent_slow", json!({"input": "Wait."}), json!({}));
    let session = [("mcp-session-id", "me"), ("mcp-protocol-version", "2025-06-18")];
    let cancel = |request: Value| json!({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": request}});
    let cancelling = async {
        model.received(1).await;
        for (request, other) in [(json!(7), "somebody"), (json!("7"), "me"), (json!(8), "me")] {
            let response = send(&host, &cancel(request), &[("mcp-session-id", other)]).await;
            assert_eq!(response.status(), 202);
        }
        let (_, runs) = host.json(Method::GET, "/v1/runs", None).await;
        assert_eq!(runs["data"][0]["status"], "running", "{runs}");
        send(&host, &cancel(json!(7)), &session).await;
    };
    let (response, ()) = tokio::join!(send(&host, &message, &session), cancelling);
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    model.given_up(1).await;
    let (_, runs) = host.json(Method::GET, "/v1/runs", None).await;
    assert_eq!(runs["data"][0]["status"], "cancelled", "{runs}");
}

#[tokio::test]
async fn in_the_newest_version_who_leaves_has_cancelled_its_run() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    agent(&host, json!({"name": "slow", "tools": []})).await;
    model.then(Answer::Silence);
    let remote = client(&host, host.key(), false);
    let calling = tokio::spawn(async move { called(&remote, "agent_slow", json!({"input": "Wait."})).await });
    model.received(1).await;
    calling.abort();
    model.given_up(1).await;
}

#[tokio::test]
async fn a_tool_that_a_person_is_asked_about_says_so_and_one_that_is_never_called_is_not_there() {
    let host = Host::builder().start().await;
    let tools = json!([tool("echo"), tool("gone")]);
    host.install(tool_plugin_as(json!({"name": "test/echo", "tools": tools}), "", "", ECHO)).await;
    let grant = json!({"approvals": {"echo": "ask", "gone": "never"}});
    let (status, _) = host.json(Method::PUT, "/v1/plugins/test/echo/grants", Some(&grant)).await;
    assert_eq!(status, 200);
    let list: Value =
        send(&host, &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}), &[]).await.json().await.unwrap();
    let listed = &list["result"]["tools"];
    assert!(names(listed).contains(&"echo") && !names(listed).contains(&"gone"), "{list}");
    let echo = listed.as_array().unwrap().iter().find(|tool| tool["name"] == "echo").unwrap();
    assert!(echo["description"].as_str().unwrap().contains("Needs a person's approval"), "{echo}");
    let answer: Value = send(&host, &call("echo", json!({}), json!({})), &[]).await.json().await.unwrap();
    assert_eq!(answer["result"]["isError"], true, "{answer}");
    assert!(answer["result"]["content"][0]["text"].as_str().unwrap().contains("nobody can be asked"), "{answer}");
}

#[tokio::test]
async fn a_list_that_is_long_comes_in_pages_in_one_order() {
    let host = Host::builder().start().await;
    // More than are tools: those that were made last are.
    for n in 0..205 {
        agent(&host, json!({"name": format!("a{n:03}")})).await;
    }
    let (mut all, mut cursor, mut pages) = (Vec::new(), None::<String>, 0);
    loop {
        let params = cursor.as_ref().map_or_else(|| json!({}), |cursor| json!({"cursor": cursor}));
        let page: Value =
            send(&host, &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": params}), &[])
                .await
                .json()
                .await
                .unwrap();
        all.extend(names(&page["result"]["tools"]).into_iter().map(str::to_owned));
        pages += 1;
        match page["result"]["nextCursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert!(
        pages >= 4 && all.is_sorted() && all.iter().filter(|name| name.starts_with("agent_a")).count() == 200,
        "{all:?}"
    );
    let wrong: Value = send(
        &host,
        &json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"cursor": "no cursor"}}),
        &[],
    )
    .await
    .json()
    .await
    .unwrap();
    assert_eq!(wrong["error"]["code"], -32602, "{wrong}");
}

#[tokio::test]
async fn what_is_no_message_or_no_request_of_ours_is_refused_as_the_protocol_says() {
    let host = Host::builder().start().await;
    let ping = json!({"jsonrpc": "2.0", "id": 1, "method": "ping"});
    for (message, headers, status, code) in [
        (json!([ping]), vec![], 400, -32600),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "no/such"}), vec![], 200, -32601),
        (json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": 7}}), vec![], 200, -32602),
        (call("no_such_tool", json!({}), json!({})), vec![], 200, -32602),
        (ping.clone(), vec![("mcp-protocol-version", "1999-01-01")], 400, -32600),
    ] {
        let response = send(&host, &message, &headers).await;
        let found = response.status().as_u16();
        let answer: Value = response.json().await.unwrap();
        assert_eq!((found, &answer["error"]["code"]), (status, &json!(code)), "{message}: {answer}");
    }
    let broken = host.request(Method::POST, "/mcp").header("content-type", "application/json").body("{");
    let answer: Value = host.send(broken).await.json().await.unwrap();
    assert_eq!(answer["error"]["code"], -32700, "{answer}");
    let pong: Value = send(&host, &ping, &[("mcp-protocol-version", "2025-06-18")]).await.json().await.unwrap();
    assert_eq!(pong["result"], json!({}), "{pong}");
    for (origin, status) in [("http://localhost:5173", 200), ("https://evil.example", 403), ("null", 403)] {
        assert_eq!(send(&host, &ping, &[("origin", origin)]).await.status(), status, "{origin}");
    }
    assert_eq!(host.get("/mcp").await.status(), 405, "nothing is said unasked");
    let nobody = host.client().post(host.url("/mcp")).json(&ping);
    let nobody = host.send(nobody).await;
    assert_eq!((nobody.status().as_u16(), nobody.headers().contains_key("www-authenticate")), (401, true));
    let hello = json!({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": {
        "protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "t", "version": "1"}}});
    let response = send(&host, &hello, &[]).await;
    let session = response.headers()["mcp-session-id"].to_str().unwrap().to_owned();
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["result"]["protocolVersion"], "2025-06-18", "{answer}");
    let ended = host.send(host.request(Method::DELETE, "/mcp").header("mcp-session-id", session)).await;
    assert_eq!(ended.status(), 204);
}

#[tokio::test]
async fn a_key_sees_its_own_tenants_tools_and_calls_what_its_scopes_allow() {
    let (host, keys) = host_of_two(|builder| builder).await;
    host.install(tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", ECHO)).await;
    agent(&host, json!({"name": "mine"})).await;
    let ask = async |key: &str, message: Value| {
        let request = host.client().post(host.url("/mcp")).bearer_auth(key).json(&message);
        let response = host.send(request).await;
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    let (_, list) = ask(&keys.foreign, json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"})).await;
    let listed = names(&list["result"]["tools"]);
    assert!(!listed.contains(&"echo") && !listed.contains(&"agent_mine"), "{listed:?}");
    for name in ["echo", "agent_mine"] {
        let (_, foreign) = ask(&keys.foreign, call(name, json!({"input": "x"}), json!({}))).await;
        assert_eq!(foreign["error"]["code"], -32602, "{foreign}");
    }
    let (status, refused) = ask(&keys.unfit, call("echo", json!({}), json!({}))).await;
    assert_eq!((status, &refused["error"]["code"]), (403, &json!("scope_missing")), "{refused}");
}
