//! Bad input, route by route: sends what is wrong and writes down what comes back, as a table for an inline snapshot. What is the same
//! for every route (no key, broken JSON, a foreign method) is sent by [`BadInput::route`]; what a field's bounds are, the test says.

use std::fmt::Write as _;

use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::host::{Cli, Host, HostBuilder};

/// The body that is one byte beyond what a host takes that was not told otherwise.
const OVERSIZE: usize = 1 << 20;

/// Keys beside the admin key of a host that has a second tenant.
pub struct Keys {
    /// Of the host's own tenant, for secrets and nothing else.
    pub unfit: String,
    /// Of the other tenant, for everything but administration.
    pub foreign: String,
    /// Of the other tenant and for everything.
    pub foreign_admin: String,
}

/// A data folder with a second tenant, and its keys. A host on it has the admin key besides.
///
/// # Panics
/// When a command fails.
pub async fn two_tenants() -> (TempDir, Keys) {
    let (_, data) = Host::builder().start().await.stop().await;
    let cli = Cli::on(data.path());
    cli.output(&["tenant", "create", "other"]).await;
    let all = "runs,agents:read,agents:write,plugins,secrets";
    let keys = Keys {
        unfit: cli.output(&["key", "create", "--scope", "secrets"]).await,
        foreign: cli.output(&["key", "create", "--tenant", "other", "--scope", all]).await,
        foreign_admin: cli.output(&["key", "create", "--tenant", "other", "--scope", "admin"]).await,
    };
    (data, keys)
}

/// A host with two tenants, as `configure` changes its builder.
///
/// # Panics
/// When it does not start.
pub async fn host_of_two(configure: impl FnOnce(HostBuilder) -> HostBuilder) -> (Host, Keys) {
    let (data, keys) = two_tenants().await;
    (configure(Host::builder().data(data)).start().await, keys)
}

/// A route, and a request to it that is right.
pub struct Route<'a> {
    /// The method.
    pub method: Method,
    /// The path, with a query string where one is needed.
    pub path: String,
    /// A body that is right; none: the route takes none.
    pub body: Option<&'a Value>,
    /// A method that the path does not take.
    pub not: Method,
    /// The answer to a field that nobody knows is no error: the dialect's document lets it through.
    pub lets_unknown_fields_through: bool,
}

impl<'a> Route<'a> {
    /// A route whose path takes no PUT, with a dialect that refuses what it does not know.
    #[must_use]
    pub fn new(method: Method, path: impl Into<String>, body: Option<&'a Value>) -> Self {
        Self { method, path: path.into(), body, not: Method::PUT, lets_unknown_fields_through: false }
    }
}

/// A table in the making: one line for each case.
pub struct BadInput<'a> {
    host: &'a Host,
    keys: &'a Keys,
    table: String,
}

impl<'a> BadInput<'a> {
    /// An empty table.
    #[must_use]
    pub fn new(host: &'a Host, keys: &'a Keys) -> Self {
        Self { host, keys, table: String::new() }
    }

    /// What came back so far, ids and times left out.
    #[must_use]
    pub fn table(&self) -> &str {
        &self.table
    }

    /// A heading between lines.
    pub fn heading(&mut self, text: &str) {
        let _ = writeln!(self.table, "# {text}");
    }

    /// Sends a request and writes down the answer.
    pub async fn send(&mut self, case: &str, request: RequestBuilder) {
        let answer = shown(self.host.send(request).await).await;
        let _ = writeln!(self.table, "{case}: {answer}");
    }

    /// Sends this body with the admin key.
    pub async fn json(&mut self, case: &str, method: Method, path: &str, body: &Value) {
        self.send(case, self.host.request(method, path).json(body)).await;
    }

    /// Sends this path, without a body and with the admin key.
    pub async fn path(&mut self, case: &str, method: Method, path: &str) {
        self.send(case, self.host.request(method, path)).await;
    }

    /// Sends the right request of a route with these fields over its own; `null` takes one out.
    ///
    /// # Panics
    /// When the route has no body, or it is no object.
    pub async fn with(&mut self, case: &str, route: &Route<'_>, fields: Value) {
        let mut body = route.body.cloned().unwrap_or_else(|| json!({}));
        let object = body.as_object_mut().expect("a body is an object");
        for (name, value) in fields.as_object().expect("fields are an object") {
            match value {
                Value::Null => object.remove(name),
                value => object.insert(name.clone(), value.clone()),
            };
        }
        self.json(case, route.method.clone(), &route.path, &body).await;
    }

    /// What no route takes: no key, a wrong key, a key for other things, another method; and, where it takes a body, broken
    /// JSON, no JSON, no object, an unknown field, too much, and the wrong type in every field.
    pub async fn route(&mut self, route: &Route<'_>) {
        self.heading(&format!("{} {}", route.method, template(&route.path)));
        let bare = |method: &Method| self.host.client().request(method.clone(), self.host.url(&route.path));
        let json = |request: RequestBuilder| match route.body {
            Some(body) => request.json(body),
            None => request,
        };
        let no_key = json(bare(&route.method));
        let wrong_key = json(bare(&route.method)).bearer_auth("ask_nobody");
        let unfit = json(bare(&route.method)).bearer_auth(&self.keys.unfit);
        let other_method = bare(&route.not).bearer_auth(self.host.key());
        self.send("no key", no_key).await;
        self.send("a wrong key", wrong_key).await;
        self.send("a key for other things", unfit).await;
        self.send(&format!("with {}", route.not), other_method).await;
        if let Some(body) = route.body {
            self.bodies(route, body).await;
        }
    }

    async fn bodies(&mut self, route: &Route<'_>, body: &Value) {
        let text = body.to_string();
        for (case, sent) in [("no body", ""), ("broken JSON", "{\"a\":"), ("an array", "[]"), ("a number", "7")] {
            self.text(case, route, "application/json", sent.to_owned()).await;
        }
        self.text("a form", route, "application/x-www-form-urlencoded", "a=b".to_owned()).await;
        self.text("two bodies", route, "application/json", format!("{text}{text}")).await;
        let padding = " ".repeat(OVERSIZE);
        self.text("too much", route, "application/json", format!("{text}{padding}")).await;
        if !route.lets_unknown_fields_through {
            self.with("an unknown field", route, json!({"unheardOf": 1})).await;
        }
        self.wrong_types(route, body).await;
    }

    async fn text(&mut self, case: &str, route: &Route<'_>, media_type: &str, body: String) {
        let request = self.host.request(route.method.clone(), &route.path).header("content-type", media_type);
        self.send(case, request.body(body)).await;
    }

    /// Every field of the right body, the nested ones too, with a value of each type that it does not have. The first answer
    /// to each field is written down; the others must be of the same status.
    ///
    /// # Panics
    /// When a field takes a value of a type that its own value does not have. A field that takes several types is for the test
    /// to leave out of the body.
    async fn wrong_types(&mut self, route: &Route<'_>, body: &Value) {
        for pointer in pointers(body) {
            let right = body.pointer(&pointer).cloned().unwrap_or_default();
            let mut first = None;
            for wrong in others(&right) {
                let mut changed = body.clone();
                *changed.pointer_mut(&pointer).expect("it is a field of the body") = wrong.clone();
                let request = self.host.request(route.method.clone(), &route.path).json(&changed);
                let response = self.host.send(request).await;
                let status = response.status();
                let answer = shown(response).await;
                match &first {
                    None => {
                        let _ = writeln!(self.table, "{pointer} = {wrong}: {answer}");
                        first = Some(status);
                    }
                    Some(first) => assert_eq!(*first, status, "{} {pointer} = {wrong}: {answer}", route.path),
                }
                assert!(status.is_client_error(), "{} {pointer} = {wrong}: {answer}", route.path);
            }
        }
    }
}

/// Status and body, ids and times left out.
async fn shown(response: Response) -> String {
    let status = response.status().as_u16();
    let text = response.text().await.unwrap_or_else(|error| format!("(the body breaks off: {error})"));
    format!("{status} {}", without_tools(&without_ids(&text)))
}

/// The path without ids and query.
fn template(path: &str) -> String {
    without_ids(path)
}

/// The list of the tools that ship as `<tools>`: which there are, is no matter of these tests.
#[must_use]
pub fn without_tools(text: &str) -> String {
    const BEFORE: &str = "there are: ";
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, list)) = rest.split_once(BEFORE) {
        let end = list.find(['"', '\n', '\\']).unwrap_or(list.len());
        let (list, after) = list.split_at(end);
        out.push_str(before);
        out.push_str(BEFORE);
        out.push_str(if list.contains("web_fetch") { "<tools>" } else { list });
        rest = after;
    }
    out + rest
}

/// Every UUID as `<id>`.
fn without_ids(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        match rest.get(..36).filter(|start| is_uuid(start)) {
            Some(_) => {
                out.push_str("<id>");
                rest = &rest[36..];
            }
            None => {
                out.push(first);
                rest = &rest[first.len_utf8()..];
            }
        }
    }
    out
}

fn is_uuid(text: &str) -> bool {
    let dash = |at: usize| matches!(at, 8 | 13 | 18 | 23);
    text.bytes().enumerate().all(|(at, byte)| if dash(at) { byte == b'-' } else { byte.is_ascii_hexdigit() })
}

/// JSON Pointers of all fields of an object and of the objects and the first items within it.
fn pointers(value: &Value) -> Vec<String> {
    let within = |name: &str, inner: &Value| {
        let place = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let nested: Vec<String> = pointers(inner).iter().map(|pointer| format!("{place}{pointer}")).collect();
        std::iter::once(place).chain(nested).collect::<Vec<_>>()
    };
    match value {
        Value::Object(fields) => fields.iter().flat_map(|(name, inner)| within(name, inner)).collect(),
        Value::Array(items) => items.first().map(|inner| within("0", inner)).unwrap_or_default(),
        _ => Vec::new(),
    }
}

/// A value of each type that is not this one's. A fraction and a negative number are no integers; null is left out, since for many
/// fields it is a value.
fn others(right: &Value) -> Vec<Value> {
    let all = [json!(true), json!("x y"), json!(-1.5), json!([[]]), json!({"x": {}})];
    all.into_iter().filter(|other| std::mem::discriminant(other) != std::mem::discriminant(right)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_is_visited_and_every_id_is_left_out() {
        let body = json!({"a": 1, "b": {"c/d": "x"}, "e": [{"f": true}, {"g": 1}], "h": []});
        assert_eq!(pointers(&body), ["/a", "/b", "/b/c~1d", "/e", "/e/0", "/e/0/f", "/h"]);
        assert_eq!(without_ids("ü 0192f000-0000-7000-8000-000000000001/x"), "ü <id>/x");
    }
}
