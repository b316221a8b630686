//! Every operation of the document as requests, with somebody's ids wherever an id can stand. What is not known here how to fill ends
//! the test, so that a new route is covered, or seen not to be.

use std::fmt;

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};

use super::world::Handles;

/// Parameters that are no ids: left out, or with a value of their own.
const PLAIN: [(&str, Option<&str>); 28] = [
    ("limit", None),
    ("order", None),
    ("format", None),
    ("prefix", None),
    ("existing", None),
    ("Range", None),
    ("wait", None),
    ("page", None),
    ("before", None),
    ("from", None),
    ("to", None),
    ("groupBy", None),
    ("mode", Some("chat")),
    ("maxCycles", None),
    ("shared", None),
    ("status", None),
    ("createdAfter", None),
    ("createdBefore", None),
    ("If-Match", None),
    ("If-None-Match", None),
    // It stands for nothing but its client.
    ("Mcp-Session-Id", None),
    ("query", Some("What is there?")),
    ("q", Some("text")),
    ("with", Some("1")),
    ("version", Some("1")),
    ("source", Some("s1")),
    ("start", None),
    ("end", None),
];

/// Parameters that are ids, by the handle that they take.
const IDS: [(&str, &str); 16] = [
    ("agent", "agent"),
    ("agentId", "agent"),
    ("assistantId", "agent"),
    ("session", "session"),
    ("sessionId", "session"),
    ("runId", "run"),
    ("path", "file"),
    ("snapshot", "snapshot"),
    ("key", "key"),
    ("corpus", "corpus"),
    ("owner", "owner"),
    ("Idempotency-Key", "idempotency"),
    ("/v1/keys/{id}", "key"),
    ("/v1/runs/{id}", "run"),
    ("/v1/admin/tenants/{id}", "tenant"),
    ("/v1/corpora/{corpus}/documents/{id}", "document"),
];

/// The same for names that mean something else in each path.
const NAMES: [(&str, &str); 5] = [
    ("/v1/agents", "agentName"),
    ("/v1/plugins/", "plugin"),
    ("/v1/secrets/", "secret"),
    ("/v1/tools/", "tool"),
    ("/v1/mcp-servers/", "mcpServer"),
];

/// An operation of the document.
pub(super) struct Operation {
    pub(super) id: String,
    method: Method,
    path: String,
    /// Where and name.
    parameters: Vec<(String, String)>,
    takes_body: bool,
    streams: bool,
}

/// A request.
pub(super) struct Case {
    pub(super) label: &'static str,
    pub(super) method: Method,
    pub(super) target: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
    /// All ids that are in it.
    pub(super) sent: Vec<String>,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.path)
    }
}

/// All operations that need a key.
pub(super) fn operations(document: &Value) -> Vec<Operation> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap().iter().filter(|(name, _)| *name != "parameters") {
            if operation["security"] == json!([{}]) {
                continue;
            }
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let contents = operation["responses"].as_object().unwrap().values();
            found.push(Operation {
                id: text(&operation["operationId"]),
                method: method.to_uppercase().parse().unwrap(),
                path: path.clone(),
                parameters: parameters.map(|one| (text(&one["in"]), text(&one["name"]))).collect(),
                takes_body: operation.get("requestBody").is_some(),
                streams: contents.into_iter().any(|told| told["content"].get("text/event-stream").is_some()),
            });
        }
    }
    assert!(found.len() > 80, "the document has {} operations that need a key", found.len());
    found
}

impl Operation {
    /// It reads what a tenant has, and starts nothing.
    pub(super) fn is_read(&self) -> bool {
        let is_another =
            ["streamAgent", "getRateLimit", "makeBackup"].contains(&self.id.as_str()) || self.path == "/metrics";
        self.method == Method::GET && !is_another
    }

    /// Its path names one thing that has to be there.
    pub(super) fn is_about_one_thing(&self) -> bool {
        let makes_what_it_names = ["setSecret", "addDocument", "importDocuments", "listDocuments", "searchCorpus"]
            .contains(&self.id.as_str());
        self.path.contains('{') && !makes_what_it_names
    }

    /// Its stream can be taken up behind an event by the event's id alone.
    pub(super) fn is_taken_up(&self) -> bool {
        self.has("header", "Last-Event-ID")
    }

    /// The first page of a list that has cursors, of one item.
    pub(super) fn first_page(&self, handles: &Handles) -> Option<String> {
        let has_pages = self.method == Method::GET && self.has("query", "cursor") && self.has("query", "limit");
        has_pages.then(|| with_query(&self.case("ids", handles, None).target, "limit", "1"))
    }

    fn has(&self, place: &str, name: &str) -> bool {
        self.parameters.iter().any(|(found, named)| found == place && named == name)
    }

    /// The handle that a parameter takes; none: it is no id.
    fn handle(&self, name: &str) -> Option<&'static str> {
        let waits = self.path.ends_with("/approve") || self.path.ends_with("/cancel");
        if waits && name == "id" {
            return Some("waiting");
        }
        if name == "name" {
            let known = NAMES.iter().find(|(path, _)| self.path.starts_with(path));
            return Some(known.unwrap_or_else(|| self.unknown("the parameter", name)).1);
        }
        if name == "from" && self.id == "diffSession" {
            return Some("snapshot");
        }
        if PLAIN.iter().any(|(plain, _)| *plain == name) {
            return None;
        }
        let of_path = |known: &str| name == "id" && self.path.starts_with(known);
        let known = IDS.iter().filter(|(known, _)| *known == name || of_path(known));
        // The longest path says most.
        let known = known.max_by_key(|(known, _)| known.len());
        Some(known.unwrap_or_else(|| self.unknown("the parameter", name)).1)
    }

    fn unknown(&self, what: &str, name: &str) -> ! {
        panic!(
            "{self}: this test does not know how to fill {what} {name:?}. Say in tests/isolation/requests.rs whether it is an id \
             (IDS, NAMES, and in world.rs what a tenant has of it) or not (PLAIN), and which bodies name somebody's things (bodies)"
        )
    }

    /// Requests with these ids.
    pub(super) fn cases(&self, handles: &Handles) -> Vec<Case> {
        let bodies = if self.takes_body { self.bodies(handles) } else { vec![None] };
        let mut cases: Vec<Case> = bodies.into_iter().map(|body| self.case("ids", handles, body)).collect();
        for (number, case) in cases.iter_mut().enumerate().skip(1) {
            for (_, value) in case.headers.iter_mut().filter(|(name, _)| *name == "idempotency-key") {
                *value = format!("{value}-{number}");
            }
        }
        let body = || if self.takes_body { self.bodies(handles).into_iter().next().flatten() } else { None };
        if self.has("query", "teamId") {
            let mut case = self.case("a team", handles, body());
            case.target = case.target.replace("teamId=1", &format!("teamId={}", handles.get("team")));
            case.sent.push(handles.get("team").to_owned());
            cases.push(case);
        }
        if self.streams {
            let mut case = self.case("ids, as a stream", handles, body());
            case.headers.push(("accept", "text/event-stream".to_owned()));
            cases.push(case);
        }
        if let Some(id) = handles.find(&format!("resume {}", self.id)) {
            let mut case = self.case("a foreign place of a stream", handles, body());
            case.headers.push(("accept", "text/event-stream".to_owned()));
            case.headers.push(("last-event-id", id.to_owned()));
            case.sent.push(id.to_owned());
            cases.push(case);
            if self.has("query", "after") {
                let mut case = self.case("a foreign place of a stream in the query", handles, body());
                case.headers.push(("accept", "text/event-stream".to_owned()));
                case.target = with_query(&case.target, "after", id);
                case.sent.push(id.to_owned());
                cases.push(case);
            }
        }
        if let Some(cursor) = handles.find(&format!("cursor {}", self.id)) {
            let mut case = self.case("a foreign cursor", handles, body());
            case.target = with_query(&case.target, "cursor", cursor);
            case.sent.push(cursor.to_owned());
            cases.push(case);
        }
        cases
    }

    fn case(&self, label: &'static str, handles: &Handles, body: Option<Body>) -> Case {
        let (mut target, mut sent, mut headers) = (self.path.clone(), Vec::new(), Vec::new());
        for (place, name) in &self.parameters {
            // What the cases of their own are about.
            if matches!(name.as_str(), "cursor" | "after" | "Last-Event-ID") {
                continue;
            }
            let value = if name == "teamId" {
                Some("1".to_owned())
            } else if let Some(handle) = self.handle(name) {
                sent.push(handles.get(handle).to_owned());
                Some(handles.get(handle).to_owned())
            } else {
                PLAIN.iter().find(|(plain, _)| plain == name).and_then(|(_, value)| value.map(str::to_owned))
            };
            let Some(value) = value else { continue };
            match place.as_str() {
                "path" => target = target.replace(&format!("{{{name}}}"), &value),
                "query" => target = with_query(&target, name, &value),
                // One for each request: the same again would be the first one's answer.
                _ if name == "Idempotency-Key" => {
                    headers.push(("idempotency-key", format!("{value}-{}-{label}", self.id).replace(' ', "-")));
                }
                _ => self.unknown("the header", name),
            }
        }
        assert!(!target.contains('{'), "{self}: {target}");
        if let Some(Body { ids, .. }) = &body {
            sent.extend(ids.iter().map(|handle| handles.get(handle).to_owned()));
        }
        let body = body.map(|body| (body.media_type, body.bytes));
        Case { label, method: self.method.clone(), target, headers, body, sent }
    }

    /// Bodies that name somebody's things.
    fn bodies(&self, handles: &Handles) -> Vec<Option<Body>> {
        let of = |handle: &str| handles.get(handle).to_owned();
        let messages = json!([{"role": "user", "content": "What is there?"}]);
        let agent = |name: String| json!({"name": name, "makeConnectionId": 1, "defaultModel": "scripted", "systemPrompt": "x"});
        let hub =
            |name: String| json!({"name": name, "llmProvider": "openai", "llmModel": "scripted", "llmPrompt": "x"});
        let key = json!({"name": "b", "scopes": ["runs"]});
        let bodies: Vec<(Value, &[&'static str])> = match self.id.as_str() {
            "hubCreateAssistant" => vec![(hub(of("agentName")), &["agentName"])],
            "hubChangeAssistant" => vec![(json!({"llmPrompt": "taken over"}), &[])],
            "hubReplaceAssistant" => vec![(hub("taken-over".to_owned()), &[])],
            "hubExecute" => vec![(json!({"userInput": "q"}), &[])],
            "hubUserInput" => vec![(json!({"userInput": "q", "sessionId": of("session")}), &["session"])],
            "hubCreateSession" => vec![(json!({"assistantId": of("agent")}), &["agent"])],
            "hubRenameSession" | "renameSession" => vec![(json!({"title": "taken over"}), &[])],
            "makeCreateAgent" => vec![(agent(of("agentName")), &["agentName"])],
            "makeModifyAgent" => vec![(json!({"systemPrompt": "taken over"}), &[])],
            "makeRunAgent" | "makeStreamAgent" => vec![
                (json!({"messages": messages}), &[]),
                (json!({"messages": messages, "threadId": of("session")}), &["session"]),
            ],
            "createTenant" => vec![(json!({"id": of("tenant")}), &["tenant"])],
            "changeTenant" => vec![(json!({"tier": "free"}), &[])],
            "createTenantKey" | "createKey" => vec![(key, &[])],
            "changeKey" => vec![(json!({"name": "taken over"}), &[])],
            "rotateKey" => vec![(json!({}), &[])],
            "runAgent" => vec![(json!({"query": "q", "mode": "chat", "sessionId": of("session")}), &["session"])],
            "createAgent" => vec![
                (json!({"name": of("agentName")}), &["agentName"]),
                (json!({"name": "b2", "tools": [of("tool")]}), &["tool"]),
                (
                    json!({"name": "b3", "agents": [{"agent": of("agent"), "name": "helper", "description": "d"}]}),
                    &["agent"],
                ),
                (json!({"name": "b4", "teamId": of("team").parse::<u64>().unwrap()}), &[]),
            ],
            "changeAgent" => vec![(json!({"prompt": "taken over"}), &[])],
            "rollBackAgent" => vec![(json!({"version": 1}), &[])],
            "importDocuments" => vec![(json!({"_id": "b", "text": "Of b."}), &[])],
            "addDocument" => vec![(json!({"name": "b", "text": "Of b."}), &[])],
            "installPlugin" | "putSessionFile" | "putSessionWorkspace" => vec![],
            "makeSnapshot" => vec![(json!({"label": "taken over"}), &[])],
            "setPluginGrants" => vec![(json!({"files": "write"}), &[])],
            "rollBackPlugin" => vec![(json!({}), &[])],
            "createRun" => vec![
                (json!({"input": "q", "agentId": of("agent"), "sessionId": of("session")}), &["agent", "session"]),
                (json!({"input": "q", "agentId": of("agentName")}), &["agentName"]),
                (json!({"input": "q", "mode": "chat", "sessionId": of("session"), "historyTurns": 50}), &["session"]),
                (json!({"input": "q", "mode": "chat", "tools": [of("tool")]}), &["tool"]),
            ],
            "decideToolCall" => vec![(json!({"callId": "call_1", "decision": "approve"}), &[])],
            "setSecret" => {
                vec![(json!({"value": "0123456789", "inject": {"host": "api.example.com", "header": "x-key"}}), &[])]
            }
            "createSession" => {
                vec![(json!({"id": of("session")}), &["session"]), (json!({"agentId": of("agent")}), &["agent"])]
            }
            "addMcpServer" => {
                vec![(json!({"name": of("mcpServer"), "url": "http://127.0.0.1:1/"}), &["mcpServer"])]
            }
            "changeMcpServer" => vec![(json!({"limits": {"wallMs": 1}}), &[])],
            "refreshMcpServer" => vec![(json!({"acceptAll": true}), &[])],
            "mcp" => vec![
                (json!({"jsonrpc": "2.0", "id": 1, "method": "tools/list"}), &[]),
                (calling(&of("tool"), json!({})), &["tool"]),
                (
                    calling(&of("agentTool"), json!({"input": "q", "sessionId": of("session")})),
                    &["agentTool", "session"],
                ),
            ],
            "createTeam" => vec![(json!({"name": "b"}), &[])],
            "callTool" => vec![(json!({"arguments": {}, "sessionId": of("session")}), &["session"])],
            other => self.unknown("the body of", other),
        };
        if self.id == "installPlugin" {
            let name = format!("{}/{}", handles.get("owner"), handles.get("plugin"));
            let bytes = tool_plugin_as(json!({"name": name, "tools": [tool("of_b")]}), "", "", ECHO);
            return vec![Some(Body { media_type: "application/wasm", bytes, ids: vec!["owner", "plugin"] })];
        }
        if self.id == "putSessionFile" || self.id == "putSessionWorkspace" {
            let media_type = if self.id == "putSessionFile" { "application/octet-stream" } else { "application/x-tar" };
            // Also an empty tar.
            return vec![Some(Body { media_type, bytes: vec![0; 1024], ids: Vec::new() })];
        }
        let json = |(body, ids): (Value, &[&'static str])| Body {
            media_type: "application/json",
            bytes: body.to_string().into_bytes(),
            ids: ids.to_vec(),
        };
        bodies.into_iter().map(|body| Some(json(body))).collect()
    }
}

/// A call of a tool over the Model Context Protocol.
fn calling(tool: &str, arguments: Value) -> Value {
    json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {"name": tool, "arguments": arguments}})
}

struct Body {
    media_type: &'static str,
    bytes: Vec<u8>,
    /// The handles that are in it.
    ids: Vec<&'static str>,
}

fn with_query(target: &str, name: &str, value: &str) -> String {
    let separator = if target.contains('?') { '&' } else { '?' };
    format!("{target}{separator}{name}={value}")
}
