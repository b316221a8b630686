//! A tenant that has something of everything, under names and with contents that nobody else has.

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Host, ScriptedModel, SseStream, soon};

use super::requests::Operation;

/// Is in all that the tenant has written and was told, and in nothing that anybody sends later.
pub(super) const CONTENT: &str = "OKAPI";

/// Is in the names that the tenant has given, which others may send as well as anybody.
pub(super) const NAME: &str = "zebra";

/// As long as that, and nobody's.
const NOBODY: &str = "tapir";

/// The ids and names of somebody's things.
pub(super) struct Handles(BTreeMap<String, String>);

impl Handles {
    pub(super) fn get(&self, name: &str) -> &str {
        self.find(name).unwrap_or_else(|| panic!("the tenant of tests/isolation/world.rs has no {name:?}: give it one"))
    }

    pub(super) fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// Those that are long enough to be nothing else.
    pub(super) fn ids(&self) -> impl Iterator<Item = (&str, &str)> {
        let all = self
            .0
            .iter()
            .filter(|(name, id)| id.len() >= 16 && !name.starts_with("resume") && !name.starts_with("cursor"));
        all.map(|(name, id)| (name.as_str(), id.as_str()))
    }

    /// As long and of the same form, of things that nobody has.
    pub(super) fn nobodys(&self) -> Self {
        let other = |text: &str| {
            let named = text.replace(NAME, NOBODY);
            if named != text {
                return named;
            }
            match text {
                "2" => "3".to_owned(),
                // Within a UUID behind the time, also where something stands after it.
                text if text.len() >= 36 => {
                    let mut bytes = text.as_bytes().to_vec();
                    bytes[30] = if bytes[30] == b'a' { b'b' } else { b'a' };
                    String::from_utf8(bytes).unwrap()
                }
                text => text.to_owned(),
            }
        };
        Self(self.0.iter().map(|(name, value)| (name.clone(), other(value))).collect())
    }
}

pub(super) struct World {
    pub(super) key: String,
    pub(super) handles: Handles,
}

impl World {
    pub(super) async fn new(host: &Host, model: &ScriptedModel, operations: &[Operation], mcp_url: &str) -> Self {
        model.always(Answer::text(&format!("It is {CONTENT}.")));
        let tenant = format!("{NAME}-tenant");
        let made = host.json(Method::POST, "/v1/admin/tenants", Some(&json!({"id": tenant}))).await;
        assert_eq!(made.0, 201, "{}", made.1);
        let all = json!({
            "name": CONTENT, "scopes": ["runs", "agents:read", "agents:write", "plugins", "secrets", "keys"]
        });
        let (_, told) = host.json(Method::POST, &format!("/v1/admin/tenants/{tenant}/keys"), Some(&all)).await;
        let key = told["key"].as_str().unwrap().to_owned();
        let mut world = Self { key, handles: Handles(BTreeMap::new()) };
        world.keep("tenant", tenant);
        world.keep("key", text(&told, "id"));
        world.settle(host, model).await;
        for name in [format!("{NAME}-mcp"), format!("{NAME}-second")] {
            let server = json!({"name": name, "url": mcp_url});
            world.send(host, Method::POST, "/v1/mcp-servers", server).await;
            world.keep("mcpServer", name);
        }
        world.wait_for_a_person(host, model).await;
        world.keep_places(host, operations).await;
        world
    }

    fn keep(&mut self, name: &str, value: impl Into<String>) {
        self.handles.0.insert(name.to_owned(), value.into());
    }

    async fn send(&self, host: &Host, method: Method, path: &str, body: Value) -> Value {
        let (status, told) = host.json_as(&self.key, method, path, Some(&body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {told}");
        told
    }

    async fn settle(&mut self, host: &Host, model: &ScriptedModel) {
        self.send(host, Method::POST, "/v1/teams", json!({"name": CONTENT})).await;
        self.keep("team", "2");
        let name = format!("{NAME}-agent");
        let agent =
            json!({"name": name, "prompt": format!("You are {CONTENT}."), "description": CONTENT, "mode": "chat"});
        let request = host.client().post(host.url("/v1/agents")).bearer_auth(&self.key).json(&agent);
        let made: Value = host
            .send(request.header("idempotency-key", format!("{NAME}-once-createAgent-ids")))
            .await
            .json()
            .await
            .unwrap();
        self.keep("idempotency", format!("{NAME}-once"));
        self.keep("agent", text(&made, "id"));
        self.keep("agentName", name.clone());
        self.keep("agentTool", format!("agent_{NAME}_agent"));
        self.send(host, Method::PATCH, &format!("/v1/agents/{name}"), json!({"prompt": format!("{CONTENT}, again")}))
            .await;
        self.send(host, Method::POST, "/v1/agents", json!({"name": format!("{NAME}-second")})).await;

        let corpus = format!("{NAME}-corpus");
        let path = format!("/v1/corpora/{corpus}/documents");
        for _ in 0..2 {
            let document = json!({"name": CONTENT, "text": format!("The text of {CONTENT}.")});
            let made = self.send(host, Method::POST, &path, document).await;
            self.keep("document", text(&made, "id"));
        }
        self.keep("corpus", corpus);
        let contexts = json!({"contexts": [self.handles.get("document")]});
        self.send(host, Method::PATCH, &format!("/v1/agents/{name}"), contexts).await;
        let secret = format!("{NAME}-secret");
        let inject = json!({"host": "api.example.com", "header": format!("x-{CONTENT}")});
        let value = json!({"value": format!("{CONTENT}-0123456789"), "inject": inject});
        self.send(host, Method::PUT, &format!("/v1/secrets/{secret}"), value).await;
        self.keep("secret", secret);

        let (owner, plugin, tool_name) = (format!("{NAME}-owner"), format!("{NAME}-plugin"), format!("{NAME}_tool"));
        let fields = json!({"name": format!("{owner}/{plugin}"), "description": CONTENT, "tools": [tool(&tool_name)]});
        let (status, told) = host.install_as(&self.key, "/v1/plugins", tool_plugin_as(fields, "", "", ECHO)).await;
        assert_eq!(status, 201, "{told}");
        for (name, value) in [("owner", owner), ("plugin", plugin), ("tool", tool_name)] {
            self.keep(name, value);
        }

        let session = format!("{NAME}-session");
        self.send(host, Method::POST, "/v1/sessions", json!({"id": session, "title": CONTENT, "agentId": name})).await;
        for _ in 0..2 {
            let run = json!({
                "input": format!("What is {CONTENT}?"), "sessionId": session, "agentId": name, "metadata": {"note": CONTENT},
                "webhookUrl": format!("https://example.com/{CONTENT}"),
            });
            let location = format!("document:{}", self.handles.get("document"));
            model.then(Answer::tool("corpus_read", json!({"location": location})));
            let run = self.send(host, Method::POST, "/v1/runs", run).await;
            self.keep("run", text(&run, "id"));
        }
        for file in ["a", "b"] {
            let path = format!("/v1/sessions/{session}/files/{NAME}-{file}.txt");
            let request = host.client().put(host.url(&path)).bearer_auth(&self.key).body(CONTENT);
            assert_eq!(host.send(request).await.status(), 201);
            let label = json!({"label": CONTENT});
            let made = self.send(host, Method::POST, &format!("/v1/sessions/{session}/snapshots"), label).await;
            self.keep("snapshot", text(&made, "id"));
        }
        self.keep("file", format!("{NAME}-a.txt"));
        self.keep("session", session);
    }

    /// A run that waits for a decision.
    async fn wait_for_a_person(&mut self, host: &Host, model: &ScriptedModel) {
        model.then(Answer::tool(self.handles.get("tool"), json!({"a": CONTENT})));
        let tools = json!([{"name": self.handles.get("tool"), "approval": "ask"}]);
        let run = json!({"input": CONTENT, "mode": "chat", "tools": tools, "background": true});
        let run = text(&self.send(host, Method::POST, "/v1/runs", run).await, "id");
        let events = host.client().get(host.url(&format!("/v1/runs/{run}/events"))).bearer_auth(&self.key);
        let mut events = SseStream::new(host.send(events.header("accept", "text/event-stream")).await);
        while soon("a question", events.next()).await.unwrap().event.as_deref() != Some("approval.requested") {}
        self.keep("waiting", run);
    }

    /// Where the tenant's own streams can be taken up, and where its own lists go on.
    async fn keep_places(&mut self, host: &Host, operations: &[Operation]) {
        for operation in operations {
            if let Some(case) = operation.cases(&self.handles).iter().find(|case| case.label == "ids, as a stream")
                && operation.is_taken_up()
            {
                let (_, told) = super::ask(host, &self.key, case).await;
                let id = told.lines().rev().find_map(|line| line.strip_prefix("id: "));
                let id = id.unwrap_or_else(|| panic!("{operation} gives its owner no place: {told}")).to_owned();
                self.keep(&format!("resume {}", operation.id), id);
            }
            if let Some(list) = operation.first_page(&self.handles) {
                let (_, told) = host.json_as(&self.key, Method::GET, &list, None).await;
                let next =
                    told["next"].as_str().or_else(|| told.pointer("/pagination/nextCursor").and_then(Value::as_str));
                if let Some(next) = next {
                    self.keep(&format!("cursor {}", operation.id), next);
                }
            }
        }
        let of = |what: &str| self.handles.0.keys().filter(|name| name.starts_with(what)).count();
        assert!(of("resume") >= 5 && of("cursor") >= 5, "{:?}", self.handles.0.keys());
    }
}

fn text(value: &Value, field: &str) -> String {
    value[field].as_str().unwrap_or_else(|| panic!("{value} has no {field}")).to_owned()
}

/// A text without what differs between two equal answers: ids that are made, times, hashes, keys, and how long things took.
pub(super) fn without_changing(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest.find(|c: char| !is_of_word(c)).unwrap_or(rest.len());
        if word == 0 {
            let first = rest.chars().next().map_or(1, char::len_utf8);
            out.push_str(&rest[..first]);
            rest = &rest[first..];
            continue;
        }
        out.push_str(if changes(&rest[..word]) { "*" } else { &rest[..word] });
        rest = &rest[word..];
    }
    out
}

fn is_of_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ':' | '.' | '\u{2026}')
}

/// An id, a time, a hash, a key or its hint.
fn changes(word: &str) -> bool {
    let digits = word.bytes().filter(u8::is_ascii_digit).count();
    let is_time = word.len() >= 17 && digits >= 12 && word.contains(':');
    let is_id = word.len() >= 32 && digits >= 4;
    is_time || is_id || word.contains('\u{2026}') || word.starts_with("ask_") || word.starts_with("whsec_")
}
