//! `Idempotency-Key` on every POST that makes something: the same request with the same key is answered as the first one was and makes
//! nothing again, whatever has happened meanwhile.

use std::collections::BTreeSet;

use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;
use vivarium_tests::guest::{saying, tool, tool_plugin_as};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, files_with, soon};

/// A route that makes something.
struct Route {
    /// As the document has it.
    path: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Run,
    Thing,
    Component,
    /// The key itself is in the first answer alone.
    Key,
    /// Made by an operator.
    Tenant,
}

const ROUTES: [Route; 22] = [
    Route { path: "/v1/agents", kind: Kind::Thing },
    Route { path: "/v1/agents/{agent}/rollback", kind: Kind::Thing },
    Route { path: "/v1/teams", kind: Kind::Thing },
    Route { path: "/v1/sessions", kind: Kind::Thing },
    Route { path: "/v1/sessions/{session}/snapshots", kind: Kind::Thing },
    Route { path: "/v1/corpora/{corpus}/documents", kind: Kind::Thing },
    Route { path: "/v1/corpora/{corpus}/import", kind: Kind::Thing },
    Route { path: "/v1/plugins", kind: Kind::Component },
    Route { path: "/v1/plugins/{owner}/{name}/rollback", kind: Kind::Thing },
    Route { path: "/v1/keys", kind: Kind::Key },
    Route { path: "/v1/keys/{id}/rotate", kind: Kind::Key },
    Route { path: "/v1/admin/tenants", kind: Kind::Tenant },
    Route { path: "/v1/admin/tenants/{id}/keys", kind: Kind::Tenant },
    Route { path: "/v1/runs", kind: Kind::Run },
    Route { path: "/v1/agent/run", kind: Kind::Run },
    Route { path: "/api/v2/ai-agents/v1/agents", kind: Kind::Thing },
    Route { path: "/api/v2/ai-agents/v1/agents/{agentId}/run", kind: Kind::Run },
    Route { path: "/api/v2/ai-agents/v1/agents/{agentId}/run/stream", kind: Kind::Run },
    Route { path: "/api/assistants", kind: Kind::Thing },
    Route { path: "/api/sessions", kind: Kind::Thing },
    Route { path: "/api/assistants/{assistantId}/execute", kind: Kind::Run },
    Route { path: "/api/assistants/{assistantId}/user-input", kind: Kind::Run },
];

/// What answers a POST and makes nothing.
const MAKES_NOTHING: [&str; 4] = [
    "/v1/runs/{id}/cancel",
    "/v1/runs/{id}/approve",
    "/v1/tools/{name}/call",
    "/v1/sessions/{session}/snapshots/{snapshot}/restore",
];

/// What takes a key and asks another server: `tests/mcp/remote.rs` repeats it.
const ELSEWHERE: [&str; 2] = ["/v1/mcp-servers", "/v1/mcp-servers/{name}/refresh"];

/// What another protocol has a say in, which knows no such key.
const OF_ANOTHER_PROTOCOL: [&str; 1] = ["/mcp"];

/// A tenant with an agent `base` of three versions, with versions of a plugin, and with a key to be rotated.
struct Tenant<'a> {
    host: &'a Host,
    key: String,
    agent: String,
    rotated: String,
}

/// What is compared of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Told {
    status: u16,
    headers: Vec<Option<String>>,
    body: String,
}

fn component(owner_and_name: &str, version: &str, tool_name: &str) -> Vec<u8> {
    let (data, body) = saying("said");
    tool_plugin_as(json!({"name": owner_and_name, "version": version, "tools": [tool(tool_name)]}), "", &data, &body)
}

impl<'a> Tenant<'a> {
    async fn new(host: &'a Host, key: &str) -> Self {
        let mut tenant = Self { host, key: key.to_owned(), agent: String::new(), rotated: String::new() };
        let rotated = tenant.json(Method::POST, "/v1/keys", Some(&json!({"name": "base", "scopes": ["runs"]}))).await;
        tenant.rotated = rotated["id"].as_str().unwrap().to_owned();
        let agent = tenant.json(Method::POST, "/v1/agents", Some(&json!({"name": "base", "prompt": "one"}))).await;
        tenant.agent = agent["id"].as_str().unwrap().to_owned();
        for prompt in ["two", "three"] {
            tenant.json(Method::PATCH, "/v1/agents/base", Some(&json!({"prompt": prompt}))).await;
        }
        tenant.json(Method::POST, "/v1/sessions", Some(&json!({"id": "base"}))).await;
        // As a tenant's own, so that a second tenant has one of the same name.
        for version in ["1.0.0", "1.1.0", "1.2.0", "1.3.0"] {
            let (status, told) = host.install_as(key, "/v1/plugins", component("acme/speaker", version, "speak")).await;
            assert_eq!(status, 201, "{told}");
        }
        tenant
    }

    async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> Value {
        let (status, told) = self.host.json_as(&self.key, method.clone(), path, body).await;
        assert!((200..300).contains(&status), "{method} {path}: {status} {told}\n{}", self.host.log());
        told
    }

    fn path(&self, route: &Route) -> String {
        let path = route.path.replace("{agent}", "base").replace("{corpus}", "harbour").replace("{session}", "base");
        let path = path.replace("{owner}/{name}", "acme/speaker").replace("{assistantId}", "base");
        let path = path.replace("{agentId}", &self.agent).replace("tenants/{id}", "tenants/default");
        let path = path.replace("{id}", &self.rotated);
        if path.starts_with("/api/v2") { format!("{path}?teamId=1") } else { path }
    }

    /// Sends a request to a route; requests with the same tag are the same.
    async fn send(&self, route: &Route, key: Option<&str>, tag: &str) -> Told {
        let mut request = self.host.client().post(self.host.url(&self.path(route))).bearer_auth(&self.key);
        if let Some(key) = key {
            request = request.header("idempotency-key", key);
        }
        let request = match route.kind {
            Kind::Component => {
                let name = tag.to_lowercase();
                let component = component(&format!("acme/{name}"), "1.0.0", &format!("say_{}", name.replace('-', "_")));
                request.header("content-type", "application/wasm").body(component)
            }
            _ => request.json(&body(route.path, tag)),
        };
        let response = self.host.send(request).await;
        let header = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let headers = ["content-type", "location", "etag", "x-run-id"].map(header).to_vec();
        let status = response.status().as_u16();
        let mut body = response.text().await.unwrap();
        if route.path.ends_with("keys") || route.kind == Kind::Key {
            let mut record: Value = serde_json::from_str(&body).unwrap();
            record.as_object_mut().unwrap().remove("key");
            body = record.to_string();
        }
        Told { status, headers, body }
    }

    /// What this tenant's key may make.
    fn routes(&self) -> impl Iterator<Item = (usize, &'static Route)> {
        let is_operator = self.key == self.host.key();
        ROUTES.iter().enumerate().filter(move |(_, route)| is_operator || route.kind != Kind::Tenant)
    }

    /// The same, which has to succeed.
    async fn made(&self, route: &Route, key: &str, tag: &str) -> Told {
        let told = self.send(route, Some(key), tag).await;
        assert!(matches!(told.status, 200 | 201), "{}: {told:?}\n{}", route.path, self.host.log());
        told
    }

    /// How much there is of everything that a route makes.
    async fn inventory(&self) -> Vec<(&'static str, Value)> {
        let mut found = Vec::new();
        let mut paths = vec![
            "/v1/agents",
            "/v1/agents/base/versions",
            "/v1/teams",
            "/v1/sessions",
            "/v1/sessions/base/snapshots",
            "/v1/plugins",
            "/v1/runs",
            "/v1/keys",
        ];
        if self.key == self.host.key() {
            paths.push("/v1/admin/tenants");
        }
        for path in paths {
            let query = if path == "/v1/teams" || path == "/v1/plugins" { "" } else { "?limit=200" };
            let list = self.json(Method::GET, &format!("{path}{query}"), None).await;
            found.push((path, json!(list["data"].as_array().unwrap().len())));
        }
        let documents = self.json(Method::GET, "/v1/corpora/harbour/documents?limit=200", None).await;
        found.push(("documents", json!(documents["data"].as_array().unwrap().len())));
        let plugin = self.json(Method::GET, "/v1/plugins/acme/speaker", None).await;
        found.push(("the version that answers", plugin["version"].clone()));
        found
    }
}

/// A body that is right and that no other tag has.
fn body(path: &str, tag: &str) -> Value {
    match path {
        "/v1/agents" => json!({"name": format!("native-{tag}")}),
        // One version further back for each other tag, so that each makes a version.
        "/v1/agents/{agent}/rollback" => json!({"version": if tag.ends_with("other") { 2 } else { 1 }}),
        "/v1/teams" => json!({"name": tag}),
        "/v1/sessions" => json!({"title": tag}),
        "/v1/sessions/{session}/snapshots" => json!({"label": tag}),
        "/v1/corpora/{corpus}/documents" => json!({"name": tag, "text": "The gates open at noon."}),
        "/v1/corpora/{corpus}/import" => json!({"title": tag, "text": "The gates open at noon."}),
        "/v1/plugins/{owner}/{name}/rollback" if tag.ends_with("other") => json!({"version": "1.0.0"}),
        "/v1/plugins/{owner}/{name}/rollback" => json!({}),
        "/v1/keys" | "/v1/admin/tenants/{id}/keys" => json!({"name": tag, "scopes": ["runs"]}),
        "/v1/keys/{id}/rotate" => json!({"overlapSeconds": if tag.ends_with("other") { 10 } else { 20 }}),
        "/v1/admin/tenants" => json!({"id": tag.to_lowercase()}),
        "/v1/runs" => json!({"input": tag, "agentId": "base"}),
        "/v1/agent/run" => json!({"query": tag, "mode": "chat"}),
        "/api/v2/ai-agents/v1/agents" => json!({
            "name": format!("make-{tag}"), "makeConnectionId": 1, "defaultModel": "scripted", "systemPrompt": "Help."
        }),
        "/api/v2/ai-agents/v1/agents/{agentId}/run" | "/api/v2/ai-agents/v1/agents/{agentId}/run/stream" => {
            json!({"messages": [{"role": "user", "content": tag}]})
        }
        "/api/assistants" => {
            json!({"name": format!("hub-{tag}"), "llmProvider": "openai", "llmModel": "scripted", "llmPrompt": "Help."})
        }
        "/api/sessions" => json!({"assistantId": "base", "title": tag}),
        _ => json!({"userInput": tag}),
    }
}

/// A data folder with the tenant `second`, and a key of it for everything but administration.
async fn with_second_tenant() -> (TempDir, String) {
    let (_, data) = Host::builder().start().await.stop().await;
    let cli = Cli::on(data.path());
    cli.output(&["tenant", "create", "second", "--tier", "max"]).await;
    let scopes = "runs,agents:read,agents:write,plugins,keys";
    let key = cli.output(&["key", "create", "--tenant", "second", "--scope", scopes]).await;
    (data, key)
}

async fn answering() -> ScriptedModel {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    model
}

#[tokio::test]
async fn every_post_that_makes_something_takes_a_key_and_the_table_has_them_all() {
    let host = Host::builder().start().await;
    let document: Value = host.get("/openapi.json").await.json().await.unwrap();
    let (mut with, mut without) = (BTreeSet::new(), BTreeSet::new());
    for (path, item) in document["paths"].as_object().unwrap() {
        let Some(post) = item.get("post") else { continue };
        let is_key = |parameter: &Value| parameter["name"] == "Idempotency-Key" && parameter["in"] == "header";
        if post["parameters"].as_array().is_some_and(|parameters| parameters.iter().any(is_key)) {
            let conflict = post["responses"]["409"]["description"].as_str().unwrap_or_default();
            assert!(conflict.contains("`Idempotency-Key`"), "{path}: {conflict:?}");
            with.insert(path.as_str());
        } else {
            without.insert(path.as_str());
        }
    }
    assert_eq!(with, ROUTES.iter().map(|route| route.path).chain(ELSEWHERE).collect());
    assert_eq!(without, MAKES_NOTHING.into_iter().chain(OF_ANOTHER_PROTOCOL).collect());
}

#[tokio::test]
async fn a_repeat_is_answered_as_the_first_was_and_makes_nothing_also_after_kill_9() {
    let model = answering().await;
    let host = Host::builder().model(&model).start().await;
    let tenant = Tenant::new(&host, host.key()).await;
    let mut firsts = Vec::new();
    for (number, route) in ROUTES.iter().enumerate() {
        let before = tenant.inventory().await;
        let key = format!("key-{number}");
        let first = tenant.made(route, &key, "once").await;
        let after = tenant.inventory().await;
        assert_ne!(after, before, "{} makes something", route.path);
        assert_eq!(tenant.made(route, &key, "once").await, first, "{}", route.path);
        let other = tenant.send(route, Some(&key), "other").await;
        assert!(
            other.status == 409 && other.body.contains("this Idempotency-Key was used"),
            "{}: {other:?}",
            route.path
        );
        assert_eq!(tenant.inventory().await, after, "{}", route.path);
        firsts.push(first);
    }
    // At another path, and with another query string, a key is somebody else's.
    let elsewhere = host.request(Method::POST, "/v1/teams").header("idempotency-key", "key-0");
    assert_eq!(host.send(elsewhere.json(&body("/v1/agents", "once"))).await.status(), 409);
    let (agent, rotated, before) = (tenant.agent.clone(), tenant.rotated.clone(), tenant.inventory().await);
    let data = host.kill().await;
    let host = Host::builder().model(&model).data(data).start().await;
    let tenant = Tenant { host: &host, key: host.key().to_owned(), agent, rotated };
    for (number, (route, first)) in ROUTES.iter().zip(&firsts).enumerate() {
        assert_eq!(tenant.made(route, &format!("key-{number}"), "once").await, *first, "{}", route.path);
    }
    assert_eq!(tenant.inventory().await, before);
    // What the requests name may be gone by now.
    assert_eq!(host.send(host.request(Method::DELETE, "/v1/agents/base")).await.status(), 204);
    for (number, (route, first)) in ROUTES.iter().zip(&firsts).enumerate() {
        assert_eq!(tenant.made(route, &format!("key-{number}"), "once").await, *first, "{}", route.path);
    }
}

#[tokio::test]
async fn a_keys_text_is_in_the_first_answer_and_kept_nowhere() {
    let host = Host::builder().start().await;
    let tenant = Tenant::new(&host, host.key()).await;
    let mut texts = Vec::new();
    for route in ROUTES.iter().filter(|route| route.path.contains("keys")) {
        let make = async || {
            let request = host.request(Method::POST, &tenant.path(route)).header("idempotency-key", route.path);
            host.send(request.json(&body(route.path, "once"))).await.json::<Value>().await.unwrap()
        };
        let mut first = make().await;
        let text = first.as_object_mut().unwrap().remove("key").unwrap().as_str().unwrap().to_owned();
        assert!(text.starts_with("ask_") && text.len() == 47, "{text}");
        assert_eq!(make().await, first, "the same record, without the key itself");
        texts.push(text);
    }
    let (_, data) = host.stop().await;
    for text in &texts {
        assert_eq!(files_with(data.path(), text), Vec::<std::path::PathBuf>::new());
    }
}

#[tokio::test]
async fn a_repeated_install_leaves_the_version_that_answers_by_now() {
    let host = Host::builder().start().await;
    let install = async |path: &str, version: &str| {
        let request = host.request(Method::POST, path).header("idempotency-key", version);
        let request = request.header("content-type", "application/wasm");
        let response = host.send(request.body(component("acme/speaker", version, "speak"))).await;
        (response.status().as_u16(), response.json::<Value>().await.unwrap())
    };
    // The operator's keys are not the tenant's.
    for path in ["/v1/plugins?shared=true", "/v1/plugins"] {
        let first = install(path, "1.0.0").await;
        assert_eq!(first.0, 201, "{}", first.1);
        assert_eq!(install(path, "1.1.0").await.0, 201);
        assert_eq!(install(path, "1.0.0").await, first);
        let (_, plugin) = host.json(Method::GET, "/v1/plugins/acme/speaker", None).await;
        assert_eq!(plugin["version"], "1.1.0");
        if path.ends_with("shared=true") {
            assert_eq!(
                host.send(host.request(Method::DELETE, "/v1/plugins/acme/speaker?shared=true")).await.status(),
                204
            );
        }
    }
}

#[tokio::test]
async fn a_host_that_is_killed_at_work_neither_makes_a_thing_twice_nor_forgets_that_it_made_it() {
    let post = |host: &Host, number: usize| {
        let request = host.request(Method::POST, "/v1/teams").header("idempotency-key", format!("k{number}"));
        request.json(&json!({"name": format!("t{number}")}))
    };
    let host = Host::builder().start().await;
    let (answered, mut answers) = mpsc::unbounded_channel();
    for number in 0..64 {
        let (request, answered) = (post(&host, number), answered.clone());
        tokio::spawn(async move {
            // No answer: the host was killed before.
            let Ok(response) = request.send().await else { return };
            let Ok(team) = response.json::<Value>().await else { return };
            let _ = answered.send((number, team));
        });
    }
    drop(answered);
    let mut told = vec![soon("the first answer", answers.recv()).await.unwrap()];
    let data = host.kill().await;
    while let Some(answer) = answers.recv().await {
        told.push(answer);
    }
    let host = Host::builder().data(data).start().await;
    for number in 0..64 {
        let team = host.send(post(&host, number)).await.json::<Value>().await.unwrap();
        let before = told.iter().find(|(of, _)| *of == number);
        assert!(before.is_none_or(|(_, before)| *before == team), "{before:?}, and then {team}");
    }
    let teams = host.get("/v1/teams").await.json::<Value>().await.unwrap();
    let names: Vec<&str> =
        teams["data"].as_array().unwrap().iter().map(|team| team["name"].as_str().unwrap()).collect();
    let different: BTreeSet<&str> = names.iter().copied().collect();
    assert_eq!((names.len(), different.len()), (65, 65), "each once, beside the first one: {names:?}");
}

#[tokio::test]
async fn of_sixteen_at_once_one_makes_it_and_all_get_its_answer() {
    let model = answering().await;
    let host = Host::builder().model(&model).start().await;
    let tenant = Tenant::new(&host, host.key()).await;
    for (number, route) in ROUTES.iter().enumerate() {
        let key = format!("key-{number}");
        let all = join_all((0..16).map(|_| tenant.made(route, &key, "once"))).await;
        assert!(all.iter().all(|told| *told == all[0]), "{}: {all:?}", route.path);
    }
    // As much as one of each makes.
    let many = tenant.inventory().await;
    let alone = Host::builder().model(&model).start().await;
    let tenant = Tenant::new(&alone, alone.key()).await;
    for (number, route) in ROUTES.iter().enumerate() {
        tenant.made(route, &format!("key-{number}"), "once").await;
    }
    assert_eq!(many, tenant.inventory().await);
}

#[tokio::test]
async fn a_second_tenant_with_the_same_keys_makes_its_own() {
    let model = answering().await;
    let (data, second) = with_second_tenant().await;
    let host = Host::builder().model(&model).data(data).start().await;
    let (first, second) = (Tenant::new(&host, host.key()).await, Tenant::new(&host, &second).await);
    for (number, route) in second.routes() {
        let key = format!("key-{number}");
        first.made(route, &key, "once").await;
        let before = (first.inventory().await, second.inventory().await);
        second.made(route, &key, "once").await;
        assert_eq!(first.inventory().await, before.0, "{}", route.path);
        assert_ne!(second.inventory().await, before.1, "{}", route.path);
    }
}

#[tokio::test]
async fn a_repeat_costs_nothing_and_is_answered_when_the_allowance_is_used_up() {
    let model = answering().await;
    let (data, key) = with_second_tenant().await;
    let limits =
        "agent_hub_requests_per_minute = 8\n[limits.max]\nrequests_per_minute = 8\ntokens_per_minute = 1000000";
    let host = Host::builder().model(&model).data(data).config(limits).start().await;
    let tenant = Tenant::new(&host, &key).await;
    let mut firsts = Vec::new();
    for (number, route) in tenant.routes() {
        firsts.push(tenant.made(route, &format!("key-{number}"), "once").await);
    }
    use_up(&tenant).await;
    for _ in 0..2 {
        for ((number, route), first) in tenant.routes().zip(&firsts) {
            assert_eq!(tenant.made(route, &format!("key-{number}"), "once").await, *first, "{}", route.path);
        }
    }
    // What comes back meanwhile is soon spent: a new request is charged.
    for route in ROUTES.iter().filter(|route| route.kind == Kind::Run) {
        let mut number = 0;
        while tenant.send(route, Some(&format!("new-{number}")), "new").await.status != 429 {
            number += 1;
            assert!(number < 20, "{}: a new request is not charged", route.path);
        }
    }
}

/// Spends what is left of both allowances.
async fn use_up(tenant: &Tenant<'_>) {
    let ask = Route { path: "/v1/runs", kind: Kind::Run };
    while tenant.send(&ask, None, "spent").await.status != 429 {}
    while tenant.host.json_as(&tenant.key, Method::GET, "/api/assistants", None).await.0 != 429 {}
}

#[tokio::test]
async fn a_repeat_is_answered_when_the_tenants_places_are_all_taken() {
    let model = ScriptedModel::start().await;
    model.then(Answer::text("An answer."));
    model.always(Answer::Silence);
    let places = "max_running = 1\nmax_queued = 1\ntenant_share_percent = 50\ndrain_seconds = 1";
    let host = Host::builder().model(&model).config(places).start().await;
    let post = |key: &'static str, body: Value| {
        let request = host.request(Method::POST, "/v1/runs").header("idempotency-key", key).json(&body);
        host.send(request)
    };
    let first = post("k", json!({"input": "q"})).await;
    assert_eq!(first.status(), 200);
    let first = first.text().await.unwrap();
    let stuck = post("stuck", json!({"input": "q", "background": true})).await;
    assert_eq!(stuck.status(), 202);
    assert_eq!(post("new", json!({"input": "q"})).await.status(), 429);
    let again = post("k", json!({"input": "q"})).await;
    assert_eq!((again.status().as_u16(), again.text().await.unwrap()), (200, first));
    let stuck_again = post("stuck", json!({"input": "q", "background": true})).await;
    assert_eq!(stuck_again.headers()["x-run-id"], stuck.headers()["x-run-id"]);
}

#[tokio::test]
async fn what_was_refused_is_not_remembered_and_what_was_made_is_also_when_it_is_gone() {
    let host = Host::builder().start().await;
    let post = |path: &'static str, key: &'static str, body: Value| {
        let request = host.request(Method::POST, path).header("idempotency-key", key).json(&body);
        let host = &host;
        async move {
            let response = host.send(request).await;
            (response.status().as_u16(), response.json::<Value>().await.unwrap())
        }
    };
    let named = json!({"name": "a"});
    assert_eq!(post("/v1/agents", "k", json!({"name": ""})).await.0, 400);
    let (status, first) = post("/v1/agents", "k", named.clone()).await;
    assert_eq!(status, 201);
    // The name is taken, and then it is not: the same request may succeed.
    assert_eq!(post("/v1/agents", "later", named.clone()).await.0, 409);
    assert_eq!(host.json(Method::DELETE, "/v1/agents/a", None).await.0, 204);
    assert_eq!(post("/v1/agents", "k", named.clone()).await, (201, first.clone()), "it was made, and is gone");
    assert_eq!(host.json(Method::GET, "/v1/agents/a", None).await.0, 404);
    let (status, second) = post("/v1/agents", "later", named).await;
    assert_eq!(status, 201);
    assert_ne!(second["id"], first["id"]);
}

#[tokio::test]
async fn an_answer_is_forgotten_when_its_time_is_over() {
    let host = Host::builder().environment("VIVARIUM_IDEMPOTENCY_TTL_SECONDS", "1").start().await;
    let make = || async {
        let request = host.request(Method::POST, "/v1/teams").header("idempotency-key", "k");
        host.send(request.json(&json!({"name": "t"}))).await.json::<Value>().await.unwrap()
    };
    let (begun, first) = (std::time::Instant::now(), make().await);
    let other = loop {
        let other = make().await;
        if other != first {
            break other;
        }
    };
    assert!(begun.elapsed() >= std::time::Duration::from_secs(1), "{:?}", begun.elapsed());
    assert_eq!((&first["id"], &other["id"]), (&json!(2), &json!(3)));
}

#[tokio::test]
async fn teams_that_are_made_at_once_get_numbers_of_their_own() {
    let host = Host::builder().start().await;
    let make = async |number: usize| {
        let (status, team) = host.json(Method::POST, "/v1/teams", Some(&json!({"name": format!("t{number}")}))).await;
        assert_eq!(status, 201, "{team}");
        team["id"].as_u64().unwrap()
    };
    let numbers: BTreeSet<u64> = join_all((0..16).map(make)).await.into_iter().collect();
    assert_eq!(numbers, (2..=17).collect());
}
