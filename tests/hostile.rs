//! Hostile guests against the house as a whole: each attack is mounted over HTTP against the real server, by a tenant that is granted
//! much, and afterwards the server is whole: its neighbour is answered, and nothing of the process has grown.
//!
//! What a guest can do to the sandbox alone stands in `limits.rs`.

mod cancel;
mod egress;
mod files;
mod install;
mod neighbours;
mod resources;
mod secrets;

use std::fs;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::Response;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use vivarium_tests::guest::{self, ECHO, tool, tool_plugin_as};
use vivarium_tests::{Cli, Host, HostBuilder};

/// What all servers of these tests are told: nobody is slowed down for asking often.
const OFTEN: &str = "limits.max = { requests_per_minute = 1000000, tokens_per_minute = 1000000 }";

/// A server with two tenants: `evil`, whose plugin is hostile, and `good`, who wants to be served.
struct Arena {
    host: Host,
    /// Of `evil`, without the scope `admin`.
    evil: String,
    /// Of `evil`, with it.
    operator: String,
    good: String,
}

impl Arena {
    /// With the hostile guest, to which nothing is granted yet.
    async fn new() -> Self {
        Self::with("", json!({})).await
    }

    /// With these keys of the configuration and these fields of the hostile guest's manifest.
    async fn with(config: &str, fields: Value) -> Self {
        let arena = Self::empty(config, |builder| builder).await;
        let (status, told) = arena.host.install_as(&arena.evil, "/v1/plugins", guest::hostile(&fields)).await;
        assert_eq!(status, 201, "{told}");
        arena
    }

    /// Without a hostile guest.
    async fn empty(config: &str, more: impl FnOnce(HostBuilder) -> HostBuilder) -> Self {
        let data = tempfile::tempdir().unwrap();
        let cli = Cli::on(data.path());
        for tenant in ["evil", "good"] {
            cli.output(&["tenant", "create", "--tier", "max", tenant]).await;
        }
        let evil = cli.output(&["key", "create", "--tenant", "evil", "--scope", "runs,plugins,secrets"]).await;
        let operator = cli.output(&["key", "create", "--tenant", "evil", "--scope", "runs,admin"]).await;
        let good = cli.output(&["key", "create", "--tenant", "good", "--scope", "runs,plugins,secrets"]).await;
        let builder = Host::builder().data(data).config(&format!("{config}\n{OFTEN}"));
        let host = more(builder).start().await;
        let echo = tool_plugin_as(json!({"name": "good/echo", "tools": [tool("echo")]}), "", "", ECHO);
        let (status, told) = host.install_as(&good, "/v1/plugins", echo).await;
        assert_eq!(status, 201, "{told}");
        let arena = Self { host, evil, operator, good };
        arena.is_whole().await;
        arena
    }

    /// Gives the hostile guest something.
    async fn grant(&self, grant: &Value) {
        let path = "/v1/plugins/test/hostile/grants";
        let (status, told) = self.host.json_as(&self.operator, Method::PUT, path, Some(grant)).await;
        assert_eq!(status, 200, "{told}");
    }

    /// A tenant's call of a tool, whatever comes of it.
    async fn call(&self, key: &str, tool: &str, arguments: &Value, session: Option<&str>) -> (u16, Value) {
        let mut body = json!({"arguments": arguments});
        if let Some(session) = session {
            body["sessionId"] = json!(session);
        }
        self.host.json_as(key, Method::POST, &format!("/v1/tools/{tool}/call"), Some(&body)).await
    }

    /// The whole answer of an attack.
    async fn attack(&self, arguments: &Value) -> Value {
        let (status, answer) = self.call(&self.evil, "hostile", arguments, None).await;
        assert_eq!(status, 200, "{answer}");
        answer
    }

    /// What came of an attack in a session: `{"ok": …}` or `{"error": …}`.
    async fn in_session(&self, session: &str, arguments: &Value) -> Value {
        let (status, answer) = self.call(&self.evil, "hostile", arguments, Some(session)).await;
        assert_eq!(status, 200, "{answer}");
        came_of(&answer)
    }

    /// The neighbour is answered.
    async fn is_whole(&self) {
        let began = Instant::now();
        let (status, answer) = self.call(&self.good, "echo", &json!({"a": 1}), None).await;
        assert_eq!((status, &answer["output"]), (200, &json!(r#"{"a":1}"#)), "{answer}\n{}", self.host.log());
        assert!(began.elapsed() < Duration::from_secs(20), "the neighbour waited for {:?}", began.elapsed());
    }

    fn process(&self) -> Process {
        Process::of(self.host.pid())
    }
}

/// What the guest says came of an attack: `{"ok": …}` or `{"error": …}`.
fn came_of(answer: &Value) -> Value {
    let text = answer["output"].as_str().unwrap_or_else(|| panic!("no output: {answer}"));
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{text:?} is no JSON: {error}"))
}

/// The host's own words about a call that it ended.
fn error(answer: &Value) -> &str {
    answer["error"].as_str().unwrap_or_else(|| panic!("no error: {answer}"))
}

/// The words of a refused request.
fn refusal(answer: &Value) -> &str {
    answer["error"]["message"].as_str().unwrap_or_else(|| panic!("no refusal: {answer}"))
}

/// What the system says of the server's process.
#[derive(Debug, Clone, Copy)]
struct Process {
    resident_kib: u64,
    files: usize,
    threads: u64,
}

impl Process {
    fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
            line.split_whitespace().next().unwrap().parse::<u64>().unwrap()
        };
        let files = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        Self { resident_kib: field("VmRSS:"), files, threads: field("Threads:") }
    }
}

/// Processor time of a process, in ticks of 10 ms.
pub(crate) fn cpu_of(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The second field is a name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(") ").unwrap();
    let fields: Vec<u64> = rest.split(' ').map(|field| field.parse().unwrap_or(0)).collect();
    Duration::from_millis((fields[11] + fields[12]) * 10)
}

/// A request as it came.
#[derive(Debug, Clone)]
struct Seen {
    path: String,
    headers: Vec<(String, String)>,
    body_bytes: usize,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// A service on this machine, on every address that it has. It stops when it is dropped.
struct Service {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    server: JoinHandle<()>,
}

type Answerer = fn(&Seen) -> Response;

impl Service {
    async fn start(answer: Answerer) -> Self {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let handler = move |State(seen): State<Arc<Mutex<Vec<Seen>>>>, request: Request| async move {
            let (head, body) = request.into_parts();
            let body = axum::body::to_bytes(body, usize::MAX).await.map_or(0, |body| body.len());
            let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = head.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect();
            let request = Seen { path: head.uri.to_string(), headers, body_bytes: body };
            seen.lock().unwrap().push(request.clone());
            answer(&request)
        };
        let any: [SocketAddr; 2] = ["[::]:0".parse().unwrap(), "0.0.0.0:0".parse().unwrap()];
        let listener = TcpListener::bind(any.as_slice()).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let routes = Router::new().fallback(handler).with_state(Arc::clone(&seen));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { port, seen, server }
    }

    fn place(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What lets a plugin reach it, although it is on this machine.
    fn grant(&self, more: Value) -> Value {
        let mut grant = json!({"hosts": [self.place()], "dangerouslyAllowPrivateAddresses": [self.place()]});
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

fn text_answer(text: impl Into<String>) -> Response {
    Response::new(axum::body::Body::from(text.into()))
}

fn fetch(authority: &str, path: &str) -> Value {
    json!({"do": "fetch", "authority": authority, "path": path})
}
