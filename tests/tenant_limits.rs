//! What a tenant may do in a minute, at one time and keep: each limit is met by who goes beyond it, and told in each dialect's form.

use insta::assert_snapshot;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Host, ScriptedModel, SseStream, soon};

async fn ok(host: &Host, status: u16, method: Method, path: &str, body: Option<Value>) -> Value {
    let (found, answer) = host.json(method.clone(), path, body.as_ref()).await;
    assert_eq!(found, status, "{method} {path}: {answer}");
    answer
}

async fn host(model: &ScriptedModel) -> Host {
    model.always(Answer::text("Hello."));
    Host::builder().model(model).start().await
}

/// Gives the first tenant these limits.
async fn limit(host: &Host, limits: Value) {
    ok(host, 200, Method::PATCH, "/v1/admin/tenants/default", Some(json!({"limits": limits}))).await;
}

fn question() -> Value {
    json!({"input": "Hello?", "mode": "chat", "tools": []})
}

async fn key(host: &Host) -> String {
    let new = json!({"name": "one more", "scopes": ["runs", "agents:read", "agents:write"]});
    ok(host, 201, Method::POST, "/v1/keys", Some(new)).await["key"].as_str().unwrap().to_owned()
}

/// Status, what is left by the headers (the resets are moments, and only looked at), and the body's beginning.
async fn shown(response: Response) -> String {
    let status = response.status().as_u16();
    let mut told = Vec::new();
    for (name, value) in response.headers() {
        let (name, value) = (name.as_str(), value.to_str().unwrap());
        if name.contains("-reset") || name == "retry-after" {
            assert!(value.parse::<u64>().unwrap() > 0, "{name}: {value}");
            told.push(format!("{name}: …"));
        } else if name.starts_with("x-ratelimit") && !name.ends_with("tpm") {
            told.push(format!("{name}: {value}"));
        }
    }
    told.sort_unstable();
    let body = response.text().await.unwrap();
    let body = body.split(" try again in").next().unwrap();
    format!("{status} {}\n{}", told.join(", "), if status == 200 { "" } else { body })
}

#[tokio::test]
async fn all_keys_of_a_tenant_share_its_requests_and_each_dialect_says_so_in_its_own_form() {
    let model = ScriptedModel::start().await;
    let host = host(&model).await;
    let agent = ok(&host, 201, Method::POST, "/v1/agents", Some(json!({"name": "mine"}))).await;
    let agent = agent["id"].as_str().unwrap();
    let second = key(&host).await;
    limit(&host, json!({"requestsPerMinute": 3, "tokensPerMinute": 100_000})).await;
    for key in [host.key(), &second, host.key()] {
        assert_eq!(host.json_as(key, Method::POST, "/v1/runs", Some(&question())).await.0, 200);
    }
    let as_second = async |path: &str, body: Value| {
        let request = host.client().post(host.url(path)).bearer_auth(&second).json(&body);
        shown(host.send(request).await).await
    };
    assert_snapshot!(as_second("/v1/runs", question()).await, @r#"
    429 retry-after: …, x-ratelimit-limit-rpm: 3, x-ratelimit-remaining-rpm: 0, x-ratelimit-reset-rpm: …, x-ratelimit-reset-tpm: …
    {"error":{"message":"this tenant's 3 requests a minute are used up;
    "#);
    assert_snapshot!(as_second("/v1/agent/run", json!({"query": "Hello?"})).await, @r#"
    429 retry-after: …, x-ratelimit-limit-rpm: 3, x-ratelimit-remaining-rpm: 0, x-ratelimit-reset-rpm: …, x-ratelimit-reset-tpm: …
    {"error":{"message":"this tenant's 3 requests a minute are used up;
    "#);
    assert_snapshot!(as_second(&format!("/api/assistants/{agent}/execute"), json!({"userInput": "Hello?"})).await, @r#"
    429 retry-after: …, x-ratelimit-limit: 3, x-ratelimit-remaining: 0, x-ratelimit-reset: …
    {"error":{"message":"this tenant's 3 requests a minute are used up;
    "#);
    let messages = json!({"messages": [{"role": "user", "content": "Hello?"}]});
    assert_snapshot!(as_second(&format!("/api/v2/ai-agents/v1/agents/{agent}/run?teamId=1"), messages).await, @r#"
    429 retry-after: …, x-ratelimit-limit-rpm: 3, x-ratelimit-remaining-rpm: 0, x-ratelimit-reset-rpm: …, x-ratelimit-reset-tpm: …
    {"detail":"this tenant's 3 requests a minute are used up;
    "#);
    assert_eq!(model.requests().len(), 3, "what was refused was not begun");
    // The tighter one: of 3 nothing is left, of the key's million nearly all.
    let left = ok(&host, 200, Method::GET, "/v1/rate-limit", None).await;
    assert_eq!((&left["limit"], &left["remaining"]), (&json!(3), &json!(0)));
    limit(&host, json!({"tokensPerMinute": 5})).await;
    assert_eq!(
        host.json(Method::POST, "/v1/runs", Some(&question())).await.0,
        200,
        "its tokens are charged when it ends"
    );
    let (status, refused) = host.json_as(&second, Method::POST, "/v1/runs", Some(&question())).await;
    assert_eq!((status, &refused["error"]["code"]), (429, &json!("rate_limit_exceeded")));
    assert!(refused["error"]["message"].as_str().unwrap().starts_with("this tenant's 5 tokens a minute"), "{refused}");
}

#[tokio::test]
async fn a_tenant_has_no_more_runs_under_way_than_it_may_in_whatever_dialect_they_are_asked_for() {
    let model = ScriptedModel::start().await;
    let host = host(&model).await;
    limit(&host, json!({"concurrentRuns": 2})).await;
    model.then(Answer::Silence).then(Answer::Silence);
    let mut body = question();
    body["background"] = json!(true);
    let first = ok(&host, 202, Method::POST, "/v1/runs", Some(body.clone())).await;
    ok(&host, 202, Method::POST, "/v1/runs", Some(body.clone())).await;
    model.received(2).await;
    for (path, body) in [("/v1/runs", body), ("/v1/agent/run", json!({"query": "Hello?"}))] {
        let refused = host.post(path, &body).await;
        assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].to_str().unwrap()), (429, "1"));
        let error = refused.json::<Value>().await.unwrap()["error"].clone();
        assert_eq!(error["code"], "tenant_busy");
        assert!(error["message"].as_str().unwrap().contains("has 2 runs under way"), "{error}");
    }
    ok(&host, 200, Method::POST, &format!("/v1/runs/{}/cancel", first["id"].as_str().unwrap()), Some(json!({}))).await;
    assert_eq!(host.json(Method::POST, "/v1/runs", Some(&question())).await.0, 200);
}

#[tokio::test]
async fn a_tenant_has_no_more_streams_open_than_it_may_and_nothing_is_begun_for_one_that_is_refused() {
    let model = ScriptedModel::start().await;
    let host = host(&model).await;
    limit(&host, json!({"openStreams": 1})).await;
    model.then(Answer::Silence);
    let mut body = question();
    body["background"] = json!(true);
    let run = ok(&host, 202, Method::POST, "/v1/runs", Some(body)).await;
    model.received(1).await;
    let events = format!("/v1/runs/{}/events", run["id"].as_str().unwrap());
    let as_stream = |method, path: &str| host.request(method, path).header("accept", "text/event-stream");
    let open = SseStream::new(host.send(as_stream(Method::GET, &events)).await);
    for request in [
        as_stream(Method::GET, &events),
        as_stream(Method::POST, "/v1/runs").json(&question()),
        host.request(Method::GET, "/v1/agent/stream?query=Hello"),
    ] {
        let refused = host.send(request).await;
        assert_eq!(refused.status().as_u16(), 429);
        let error = refused.json::<Value>().await.unwrap()["error"].clone();
        assert_eq!(error["code"], "tenant_busy", "{error}");
    }
    assert_eq!(model.requests().len(), 1);
    // Without a stream there is no place to take.
    assert_eq!(host.json(Method::POST, "/v1/runs", Some(&question())).await.0, 200);
    drop(open);
    let again = async {
        // The host sees that the client has gone when it writes, or when the connection is closed.
        while host.get("/v1/agent/stream?query=Hello").await.status().as_u16() == 429 {
            tokio::task::yield_now().await;
        }
    };
    soon("the place of a stream that was closed", again).await;
}

#[tokio::test]
async fn what_a_tenant_keeps_is_bounded_whatever_it_is() {
    let model = ScriptedModel::start().await;
    let mut host = host(&model).await;
    let document = |name: &str| json!({"name": name, "text": name.repeat(6000)});
    let documents = "/v1/corpora/mine/documents";
    ok(&host, 201, Method::POST, documents, Some(document("a"))).await;
    limit(&host, json!({"storedBytes": 10_000})).await;
    let full = |answer: &Value| {
        let message = answer["error"]["message"].as_str().unwrap();
        assert!(message.contains("are kept of 10000 that may be"), "{message}");
    };
    let refused = ok(&host, 409, Method::POST, documents, Some(document("b"))).await;
    assert_eq!(refused["error"]["code"], "storage_full");
    full(&refused);
    // What is kept is known after a restart, too.
    let data = host.kill().await;
    host = Host::builder().model(&model).data(data).start().await;
    full(&ok(&host, 409, Method::POST, documents, Some(document("b"))).await);
    limit(&host, json!({"storedBytes": 6_100})).await;
    let echo = tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", ECHO);
    let (status, refused) = host.install_as(host.key(), "/v1/plugins", echo).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("storage_full")), "{refused}");
    limit(&host, json!({"storedBytes": 10_000})).await;
    let agent = ok(&host, 201, Method::POST, "/v1/agents", Some(json!({"name": "mine"}))).await;
    let file = json!({"fileName": "a.txt", "mimeType": "text/plain", "data": base64(&"x".repeat(9000))});
    let message = json!({"userInput": "Read it.", "attachments": [file]});
    let path = format!("/api/assistants/{}/execute", agent["id"].as_str().unwrap());
    full(&ok(&host, 409, Method::POST, &path, Some(message)).await);
    assert!(model.requests().is_empty());
    limit(&host, json!({"storedBytes": 1_000_000})).await;
    ok(&host, 201, Method::POST, documents, Some(document("b"))).await;
}

fn base64(text: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(text)
}

#[tokio::test]
async fn a_tenant_has_no_more_plugins_than_it_may() {
    let model = ScriptedModel::start().await;
    let host = host(&model).await;
    limit(&host, json!({"plugins": 1})).await;
    let plugin = |name: &str| {
        let tools = [tool(name)];
        tool_plugin_as(json!({"name": format!("test/{name}"), "tools": tools}), "", "", ECHO)
    };
    host.install(plugin("first")).await;
    let (status, refused) = host.install_as(host.key(), "/v1/plugins", plugin("second")).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("plugin_conflict")), "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().starts_with("1 plugins are installed"), "{refused}");
    host.install(plugin("first")).await;
    limit(&host, json!({})).await;
    host.install(plugin("second")).await;
}
