//! The Model Context Protocol, both ways: the tools of remote servers in runs, and the tools and agents of a tenant for other
//! programs' models. Both sides speak over real sockets, in the newest version of the protocol and in the one of June 2025.

mod conformance;
mod hostile;
mod remote;
mod serving;

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::{Host, SseEvent, SseStream, soon};

/// Adds a server on this machine, which only an operator may.
async fn add(host: &Host, name: &str, url: &str, more: Value) -> (u16, Value) {
    let mut body = json!({"name": name, "url": url, "dangerouslyAllowPrivateAddresses": true});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    host.json(Method::POST, "/v1/mcp-servers", Some(&body)).await
}

/// The same, which has to succeed.
async fn added(host: &Host, name: &str, url: &str, more: Value) -> Value {
    let (status, server) = add(host, name, url, more).await;
    assert_eq!(status, 201, "{server}\nThe server said:\n{}", host.log());
    server
}

/// Starts a chat in the background, and gives its id.
async fn begun(host: &Host, input: &str) -> String {
    let body = json!({"mode": "chat", "input": input, "background": true, "maxCycles": 4});
    let (status, run) = host.json(Method::POST, "/v1/runs", Some(&body)).await;
    assert_eq!(status, 202, "{run}");
    run["id"].as_str().unwrap().to_owned()
}

async fn events(host: &Host, run: &str) -> SseStream {
    let request = host.request(Method::GET, &format!("/v1/runs/{run}/events")).header("accept", "text/event-stream");
    SseStream::new(host.send(request).await)
}

/// Waits for an event of this type.
async fn until(host: &Host, run: &str, kind: &str) -> Value {
    let mut events = events(host, run).await;
    loop {
        let event = soon(kind, events.next()).await.unwrap_or_else(|| panic!("{run} ended without {kind}"));
        if event.event.as_deref() == Some(kind) {
            return event.json();
        }
    }
}

/// The run's whole log, once it has ended.
async fn ended(host: &Host, run: &str) -> Vec<Value> {
    let all = soon("the run's end", events(host, run).await.rest()).await;
    let logged = all.iter().filter(|event| event.id.is_some() && event.event.as_deref() != Some("token"));
    logged.map(SseEvent::json).collect()
}

fn of_type<'a>(log: &'a [Value], kind: &str) -> Vec<&'a Value> {
    log.iter().filter(|event| event["type"] == kind).collect()
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}
