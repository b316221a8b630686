//! The plugins of `examples/plugins`, built with other people's toolchains: installed into the real server, granted what they
//! ask for, and called. `cargo xtask examples` builds them.

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse as _;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use vivarium_tests::{Answer, Host, ScriptedModel, vivarium_binary};
use wit_component::DecodedWasm;

/// Set where an example that is not built is a failure: a CI must not become green by what it lacks.
const REQUIRED: &str = "VIVARIUM_EXAMPLES_REQUIRED";

const EXAMPLES: [&str; 5] = ["c-checksum", "js-feed", "python-stats", "rust-currency", "rust-debate"];

fn component_path(example: &str) -> PathBuf {
    let binary = vivarium_binary();
    let target = binary.ancestors().nth(2).expect("a binary stands in target/<profile>");
    target.join("examples").join(format!("{example}.wasm"))
}

/// A component with its manifest; nothing where it could not be built.
fn component(example: &str) -> Option<Vec<u8>> {
    let path = component_path(example);
    if path.is_file() {
        return Some(fs::read(&path).unwrap());
    }
    assert!(env::var_os(REQUIRED).is_none(), "{} is not there: `cargo xtask examples` makes it", path.display());
    eprintln!("left out: {} is not there (`cargo xtask examples` makes it)", path.display());
    None
}

/// A server with this plugin, to which nothing is granted yet.
async fn installed(example: &str, builder: vivarium_tests::HostBuilder) -> Option<Host> {
    let component = component(example)?;
    let host = builder.start().await;
    let request = host.request(Method::POST, "/v1/plugins").header(header::CONTENT_TYPE, "application/wasm");
    let response = host.send(request.body(component)).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert_eq!(status, StatusCode::CREATED, "{example}: {text}\nThe server said:\n{}", host.log());
    Some(host)
}

async fn put(host: &Host, path: &str, body: &Value) -> Value {
    let response = host.send(host.request(Method::PUT, path).json(body)).await;
    let (status, text) = (response.status(), response.text().await.unwrap());
    assert!(status.is_success(), "{path} {body}: {status} {text}");
    serde_json::from_str(&text).unwrap_or_default()
}

async fn call(host: &Host, tool: &str, body: Value) -> Value {
    host.post_ok(&format!("/v1/tools/{tool}/call"), &body).await
}

/// The output of a call that has to succeed, as JSON.
fn output(answer: &Value) -> Value {
    let text = answer["output"].as_str().unwrap_or_else(|| panic!("no output: {answer}"));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text:?} is no JSON: {error}"))
}

fn error(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_else(|| panic!("no error: {answer}"))
}

/// A service on this machine. It stops when it is dropped.
struct Service {
    address: std::net::SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

/// A request that came.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    path: String,
    authorization: Option<String>,
}

impl Service {
    /// That answers each path with a status and a text, and all others with 404.
    async fn start(answers: &'static [(&'static str, u16, &'static str)]) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let answer = move |State(seen): State<Arc<Mutex<Vec<Seen>>>>, request: Request| async move {
            let path = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
            let authorization = request.headers().get(header::AUTHORIZATION);
            let authorization = authorization.map(|value| value.to_str().unwrap().to_owned());
            let found = answers.iter().find(|(known, _, _)| path == *known);
            seen.lock().unwrap().push(Seen { path, authorization });
            match found {
                Some((_, status, text)) => (StatusCode::from_u16(*status).unwrap(), *text).into_response(),
                None => StatusCode::NOT_FOUND.into_response(),
            }
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = Router::new().fallback(answer).with_state(Arc::clone(&seen));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, seen, server }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What lets a plugin reach it, although it is on this machine.
    fn grant(&self, more: Value) -> Value {
        let place = self.address.to_string();
        let mut grant = json!({"hosts": [place], "dangerouslyAllowPrivateAddresses": [place]});
        grant.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        grant
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.server.abort();
    }
}

const RATES: &str = r#"{"amount":1.0,"base":"EUR","date":"2026-11-20","rates":{"USD":1.0495}}"#;
const FROM_EUR_TO_USD: &str = "/v1/latest?base=EUR&symbols=USD";

fn changed() -> Value {
    json!({"arguments": {"from": "EUR", "to": "USD", "amount": 12.5}})
}

#[tokio::test]
async fn a_rust_tool_looks_a_rate_up_with_a_key_that_it_never_sees() {
    let service = Service::start(&[(FROM_EUR_TO_USD, 200, RATES)]).await;
    let Some(host) = installed("rust-currency", Host::builder()).await else { return };
    let key = "key-of-the-test-0123456789";
    let inject = json!({"host": "127.0.0.1", "header": "authorization", "prefix": "Bearer "});
    put(&host, "/v1/secrets/currency-key", &json!({"value": key, "inject": inject})).await;
    let more = json!({"secrets": ["currency-key"], "settings": {"base_url": service.url("/v1")}});
    put(&host, "/v1/plugins/example/currency/grants", &service.grant(more)).await;

    let answer = call(&host, "currency", changed()).await;
    assert_eq!(
        output(&answer),
        json!({"from": "EUR", "to": "USD", "date": "2026-11-20", "rate": 1.0495, "amount": 12.5, "result": 13.12})
    );
    assert_eq!(answer["documents"][0]["location"], service.url(FROM_EUR_TO_USD));
    assert_eq!(answer["documents"][0]["text"], RATES);
    assert_eq!(answer["usage"]["egressRequests"], 1);
    let expected = Seen { path: FROM_EUR_TO_USD.to_owned(), authorization: Some(format!("Bearer {key}")) };
    assert_eq!(service.seen(), [expected]);
    assert!(!answer.to_string().contains(key) && !host.log().contains(key));
}

#[tokio::test]
async fn a_rust_tool_hears_which_grant_is_missing() {
    let service = Service::start(&[(FROM_EUR_TO_USD, 401, "who are you?")]).await;
    let Some(host) = installed("rust-currency", Host::builder()).await else { return };
    let answer = call(&host, "currency", changed()).await;
    assert!(error(&answer).contains("a grant of the host \"api.frankfurter.dev\" would allow it"), "{answer}");
    assert_eq!(answer["denials"][0]["capability"], "hosts", "{answer}");

    // Now the host, but not the key that the service wants.
    let more = json!({"settings": {"base_url": service.url("/v1")}});
    put(&host, "/v1/plugins/example/currency/grants", &service.grant(more)).await;
    let answer = call(&host, "currency", changed()).await;
    assert!(error(&answer).contains("keep it as the secret currency-key"), "{answer}");
    assert_eq!(answer["denials"][0]["capability"], "secrets", "{answer}");
    assert_eq!(service.seen()[0].authorization, None);
}

const FEED: &str = r#"{"version": "https://jsonfeed.org/version/1.1", "title": "News", "items": [
    {"id": "1", "title": "Older", "url": "https://news.example/1", "date_published": "2026-11-01T08:00:00Z"},
    {"id": "2", "title": "Newer", "url": "https://news.example/2", "date_published": "2026-11-20T08:00:00Z"}]}"#;

#[tokio::test]
async fn a_javascript_tool_fetches_a_feed() {
    let service = Service::start(&[("/feed.json", 200, FEED), ("/broken.json", 200, "<html>")]).await;
    let Some(host) = installed("js-feed", Host::builder()).await else { return };
    let grant = service.grant(json!({"settings": {"base_url": service.url("")}}));
    put(&host, "/v1/plugins/example/feed/grants", &grant).await;

    let answer = call(&host, "feed", json!({"arguments": {}})).await;
    let lines: Vec<_> = answer["output"].as_str().unwrap_or_else(|| panic!("{answer}")).lines().collect();
    assert_eq!(
        lines,
        [
            "News (2 newest first)",
            "- 2026-11-20: Newer <https://news.example/2>",
            "- 2026-11-01: Older <https://news.example/1>",
        ]
    );
    assert_eq!(answer["documents"][0]["text"], FEED);
    let found = call(&host, "feed", json!({"arguments": {"contains": "OLD", "limit": 1}})).await;
    assert!(found["output"].as_str().unwrap().ends_with("Older <https://news.example/1>"), "{found}");

    for (path, words) in
        [("gone.json", "does not exist"), ("broken.json", "is no JSON"), ("//127.0.0.1:1/feed.json", "leads away from")]
    {
        let answer = call(&host, "feed", json!({"arguments": {"path": path}})).await;
        assert!(error(&answer).contains(words), "{path}: {answer}");
    }
}

#[tokio::test]
async fn a_javascript_tool_gets_nowhere_without_a_grant() {
    let service = Service::start(&[("/feed.json", 200, FEED)]).await;
    let Some(host) = installed("js-feed", Host::builder()).await else { return };
    let grant = json!({"settings": {"base_url": service.url("")}});
    put(&host, "/v1/plugins/example/feed/grants", &grant).await;
    let answer = call(&host, "feed", json!({"arguments": {}})).await;
    assert!(error(&answer).contains("no host that is granted to this plugin"), "{answer}");
    assert_eq!(answer["denials"][0]["capability"], "hosts", "{answer}");
    assert_eq!(service.seen(), []);
}

#[tokio::test]
async fn a_python_tool_keeps_files_within_its_session() {
    let Some(host) = installed("python-stats", Host::builder()).await else { return };
    put(&host, "/v1/plugins/example/stats/grants", &json!({"files": "write"})).await;
    let rows = json!([["city", "people"], ["Berlin", 3_700_000], ["Paris", 2_100_000]]);
    let added = call(&host, "csv_append", json!({"arguments": {"rows": rows}, "sessionId": "one"})).await;
    assert_eq!(output(&added), json!({"path": "data.csv", "added": 3}));
    call(&host, "csv_append", json!({"arguments": {"rows": [["Rome", 2_800_000]]}, "sessionId": "one"})).await;

    let answer = call(&host, "csv_statistics", json!({"arguments": {}, "sessionId": "one"})).await;
    let summary = output(&answer);
    assert_eq!(summary["rows"], 3);
    assert_eq!(summary["columns"][0], json!({"name": "city", "values": 3, "distinct": 3}));
    assert_eq!(summary["columns"][1]["median"], 2_800_000.0);
    let table = answer["documents"][0]["text"].as_str().unwrap();
    assert!(table.contains("| people | 3 | 3 | 2866666.667 | 2800000 | 2100000 | 3700000 |"), "{table}");

    // The report lies beside the data: a file of this session, and of no other.
    let report = json!({"path": "report.md", "report": "again.md"});
    let again = call(&host, "csv_statistics", json!({"arguments": report, "sessionId": "one"})).await;
    assert_eq!(output(&again)["columns"][0]["name"], "# Statistics of data.csv");
    let other = call(&host, "csv_statistics", json!({"arguments": {}, "sessionId": "two"})).await;
    assert!(error(&other).contains("the workspace has no data.csv"), "{other}");
    let outside =
        call(&host, "csv_statistics", json!({"arguments": {"path": "../one/data.csv"}, "sessionId": "two"})).await;
    assert!(error(&outside).contains("is no path within the workspace"), "{outside}");
}

#[tokio::test]
async fn a_python_tool_has_no_files_without_a_grant_and_writes_none_with_half_of_one() {
    let Some(host) = installed("python-stats", Host::builder()).await else { return };
    let rows = json!({"arguments": {"rows": [["a"]]}, "sessionId": "one"});
    let answer = call(&host, "csv_append", rows.clone()).await;
    assert!(error(&answer).contains("there is no workspace"), "{answer}");
    put(&host, "/v1/plugins/example/stats/grants", &json!({"files": "read"})).await;
    let answer = call(&host, "csv_append", rows).await;
    assert!(error(&answer).contains("data.csv cannot be opened"), "{answer}");
}

#[tokio::test]
async fn a_c_tool_computes() {
    let Some(host) = installed("c-checksum", Host::builder()).await else { return };
    let text = "\"Grüße\" \u{1f600}\n123456789\n";
    let answer = call(&host, "checksum", json!({"arguments": {"text": text}})).await;
    // What `crc32` of any other language says of these bytes.
    assert_eq!(output(&answer), json!({"bytes": 25, "characters": 20, "words": 3, "lines": 2, "crc32": "b1291eca"}));
    let check = call(&host, "checksum", json!({"arguments": {"text": "123456789"}})).await;
    assert_eq!(output(&check)["crc32"], "cbf43926", "the check value that the definition of CRC-32 names");
    let wrong = call(&host, "checksum", json!({"arguments": {"text": 1}})).await;
    assert!(error(&wrong).contains("/text"), "the host checks the schema: {wrong}");
}

#[tokio::test]
async fn a_mode_of_somebody_else_answers_runs() {
    let model = ScriptedModel::start().await;
    model.then(Answer::text("It is fast.")).then(Answer::text("It takes time.")).then(Answer::text("Do it."));
    let Some(host) = installed("rust-debate", Host::builder().model(&model)).await else { return };
    let question = json!({"query": "Should we rewrite it?", "mode": "debate"});
    let result = host.post_ok("/v1/agent/run", &question).await;
    assert_eq!(result["answer"], "Do it.");
    let steps = result["steps"].to_string();
    for step in ["Arguing for it", "Arguing against it", "Weighing both sides"] {
        assert!(steps.contains(step), "{step}: {steps}");
    }
    let requests = model.requests();
    assert_eq!(requests.len(), 3);
    let last = requests[2]["messages"].to_string();
    for words in ["Should we rewrite it?", "## For", "It is fast.", "## Against", "It takes time."] {
        assert!(last.contains(words), "{words}: {last}");
    }

    model.then(Answer::text("All in one."));
    let hurried = json!({"query": "Should we rewrite it?", "mode": "debate", "maxCycles": 1});
    assert_eq!(host.post_ok("/v1/agent/run", &hurried).await["answer"], "All in one.");
    assert_eq!(model.requests().len(), 4);
}

#[tokio::test]
async fn a_run_goes_on_with_the_component_that_it_began_with_whatever_becomes_of_its_plugin() {
    let model = ScriptedModel::start().await;
    model.then(Answer::text("It is fast.")).then(Answer::Silence);
    let Some(host) = installed("rust-debate", Host::builder().model(&model)).await else { return };
    let question = json!({"input": "Should we rewrite it?", "mode": "debate", "background": true});
    let (status, run) = host.json(Method::POST, "/v1/runs", Some(&question)).await;
    assert_eq!(status, 202, "{run}");
    model.received(2).await;
    let listed: Value = host.get("/v1/plugins").await.json().await.unwrap();
    let names = listed["data"].as_array().unwrap().iter().map(|plugin| plugin["name"].as_str().unwrap());
    let name = names.into_iter().find(|name| name.ends_with("/debate")).unwrap().to_owned();
    assert_eq!(host.json(Method::DELETE, &format!("/v1/plugins/{name}"), None).await.0, 204);
    model.then(Answer::text("It takes time.")).then(Answer::text("Do it."));
    let data = host.kill().await;
    let host = Host::builder().model(&model).data(data).start().await;
    let path = format!("/v1/runs/{}?wait=60", run["id"].as_str().unwrap());
    let ended: Value = host.get(&path).await.json().await.unwrap();
    assert_eq!(ended["outcome"]["answer"], "Do it.", "{ended}");
    assert_eq!(host.json(Method::POST, "/v1/runs", Some(&question)).await.0, 400, "a new run finds no such mode");
}

/// The interfaces that a component imports, without their versions.
fn imports(component: &[u8]) -> BTreeSet<String> {
    let DecodedWasm::Component(resolve, world) = wit_component::decode(component).unwrap() else {
        panic!("this is no component")
    };
    let names = resolve.worlds[world].imports.keys().map(|key| resolve.name_world_key(key));
    names.map(|name| name.split('@').next().unwrap_or_default().to_owned()).collect()
}

#[test]
fn each_example_imports_of_the_contract_what_it_says_and_of_the_network_what_it_asks_for() {
    for example in EXAMPLES {
        let Some(component) = component(example) else { continue };
        let imports = imports(&component);
        let ours: Vec<_> = imports.iter().filter_map(|name| name.strip_prefix("vivarium:plugin/")).collect();
        let (expected, http): (&[&str], bool) = match example {
            "js-feed" => (&["settings", "types"], true),
            "rust-currency" => (&["secrets", "settings", "types"], true),
            "rust-debate" => (&["model", "steps", "types"], false),
            _ => (&["types"], false),
        };
        assert_eq!(ours, expected, "{example}");
        assert_eq!(imports.contains("wasi:http/outgoing-handler"), http, "{example}: {imports:?}");
        if example == "c-checksum" {
            assert_eq!(imports.len(), 1, "its only import is of types: {imports:?}");
        }
    }
}

#[test]
fn every_example_is_tested_here() {
    let folder = vivarium_tests::repository_root().join("examples/plugins");
    let folders = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let found: BTreeSet<_> = folders
        .filter(|path| path.join("plugin.toml").is_file())
        .map(|path| path.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert_eq!(found.iter().map(String::as_str).collect::<Vec<_>>(), EXAMPLES);
}
