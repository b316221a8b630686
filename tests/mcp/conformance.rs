//! The protocol's own public conformance suite, run against `/mcp` and against the host as a client. Which of its scenarios apply,
//! and why others do not, stands in `tests/data/mcp-conformance.txt`.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::process::Command;
use vivarium_tests::guest::{saying, tool, tool_plugin_as};
use vivarium_tests::{Host, repository_root, soon};

/// Set where a suite that is missing is a failure: a CI must not become green by what it lacks.
const REQUIRED: &str = "VIVARIUM_CLIENTS_REQUIRED";

/// A folder in which the suite and a Node that can run it are installed. `cargo xtask test` makes one.
const FOLDER: &str = "VIVARIUM_MCP_CONFORMANCE";

struct Suite {
    folder: PathBuf,
}

impl Suite {
    fn find() -> Option<Self> {
        let Some(folder) = env::var_os(FOLDER) else {
            assert!(env::var_os(REQUIRED).is_none(), "{FOLDER} names no folder with the conformance suite");
            eprintln!("left out: {FOLDER} is not set, so the conformance suite was not run");
            return None;
        };
        Some(Self { folder: folder.into() })
    }

    fn node(&self) -> PathBuf {
        self.folder.join("node_modules/node/bin/node")
    }

    async fn run(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Output {
        let mut command = Command::new(self.node());
        command.arg("node_modules/@modelcontextprotocol/conformance/dist/index.js").args(arguments);
        command.current_dir(&self.folder).envs(environment.iter().copied()).env("NO_COLOR", "1");
        command.stdin(Stdio::null()).kill_on_drop(true);
        soon("the suite's end", command.output()).await.unwrap()
    }
}

/// The scenarios of one side with what becomes of each, in the order of their names.
fn listed(side: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(repository_root().join("tests/data/mcp-conformance.txt")).unwrap();
    let lines = text.lines().filter_map(|line| line.strip_prefix(side)?.trim_start().split_once(' '));
    let mut all: Vec<_> = lines.map(|(name, fate)| (name.to_owned(), fate.trim().to_owned())).collect();
    all.sort();
    all
}

fn applicable(side: &str) -> Vec<String> {
    listed(side).into_iter().filter(|(_, fate)| fate == "run").map(|(name, _)| name).collect()
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[derive(Clone)]
struct Front {
    to: String,
    key: String,
    client: reqwest::Client,
}

/// The suite knows no keys: this passes its requests on, with one.
async fn front(host: &Host) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let front =
        Front { to: host.address().to_owned(), key: host.key().to_owned(), client: vivarium_tests::http_client() };
    let routes = Router::new().fallback(pass_on).with_state(front);
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    // The suite wants to see this name.
    format!("http://localhost:{port}/mcp")
}

async fn pass_on(State(front): State<Front>, request: Request) -> Response {
    let (mut head, body) = request.into_parts();
    head.headers.insert(header::AUTHORIZATION, HeaderValue::from_str(&format!("Bearer {}", front.key)).unwrap());
    head.headers.remove(header::CONTENT_LENGTH);
    let url = format!("{}{}", front.to, head.uri.path());
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let sent = front.client.request(head.method, url).headers(head.headers).body(body).send().await;
    let Ok(answer) = sent else { return StatusCode::BAD_GATEWAY.into_response() };
    let mut response = Response::builder().status(answer.status());
    for (name, value) in answer.headers().iter().filter(|(name, _)| *name != header::TRANSFER_ENCODING) {
        response = response.header(name, value);
    }
    response.body(Body::from_stream(answer.bytes_stream())).unwrap()
}

/// The tools that the suite asks for, as plugins.
async fn install_fixtures(host: &Host) {
    let (data, body) = saying("This is a simple text response for testing.");
    let simple = json!({"name": "test/simple", "tools": [tool("test_simple_text")]});
    host.install(tool_plugin_as(simple, "", &data, &body)).await;
    let text = "This tool intentionally returns an error for testing";
    let fails = format!(
        r"(i32.store8 (i32.const 512) (i32.const 1))
        (i32.store8 (i32.const 516) (i32.const 5))
        (i32.store (i32.const 520) (i32.const 700))
        (i32.store (i32.const 524) (i32.const {}))
        (i32.const 512)",
        text.len()
    );
    let failing = json!({"name": "test/failing", "tools": [tool("test_error_handling")]});
    host.install(tool_plugin_as(failing, "", &format!(r#"(data (i32.const 700) "{text}")"#), &fails)).await;
    let mut schema = tool("json_schema_2020_12_tool");
    schema["inputSchema"] = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
        "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
        "additionalProperties": false,
    });
    host.install(tool_plugin_as(json!({"name": "test/schema", "tools": [schema]}), "", &data, &body)).await;
}

#[tokio::test]
async fn every_scenario_of_the_suite_is_run_or_says_why_not() {
    let Some(suite) = Suite::find() else { return };
    let told = said(&suite.run(&["list"], &[]).await);
    let (server, client) = told.split_once("Client scenarios").unwrap_or_else(|| panic!("{told}"));
    for (side, text) in [("server", server), ("client", client)] {
        let names = text.lines().filter_map(|line| line.trim().strip_prefix("- ")?.split_whitespace().next());
        let mut found: Vec<&str> = names.collect();
        found.sort_unstable();
        let listed = listed(side);
        assert_eq!(found, listed.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>(), "{side}");
    }
}

#[tokio::test]
async fn the_host_is_a_server_as_the_suite_wants_one() {
    let Some(suite) = Suite::find() else { return };
    let host = Host::builder().start().await;
    install_fixtures(&host).await;
    let url = front(&host).await;
    for scenario in applicable("server") {
        let output = suite.run(&["server", "--url", &url, "--scenario", &scenario], &[]).await;
        let told = said(&output);
        assert!(output.status.success() && told.contains("0 failed"), "{scenario}: {told}\n{}", host.log());
    }
}

#[tokio::test]
async fn the_host_is_a_client_as_the_suite_wants_one() {
    let Some(suite) = Suite::find() else { return };
    let host = Host::builder().start().await;
    let program: PathBuf = Path::new(&repository_root()).join("tests/data/mcp-conformance-client.mjs");
    let command = format!("{} {}", suite.node().display(), program.display());
    let environment = [("VIVARIUM_URL", host.address()), ("VIVARIUM_KEY", host.key())];
    for scenario in applicable("client") {
        let output = suite.run(&["client", "--command", &command, "--scenario", &scenario], &environment).await;
        let told = said(&output);
        assert!(output.status.success() && told.contains("0 failed"), "{scenario}: {told}\n{}", host.log());
    }
}
