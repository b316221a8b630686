//! How soon a run is gone that somebody cancels, whatever it is doing: until the client has the answer, which comes when the end is
//! on disk, and until the model's server sees that nobody waits for it any more.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::Host;
use vivarium_tests::guest::{ECHO, mode_plugin, tool, tool_plugin_as};

use crate::model::Model;
use crate::{CONFIG, begin, builder, milliseconds};

const ROUNDS: usize = 60;

const SPIN: &str = "(loop $for_ever (br $for_ever)) (unreachable)";

/// A minute of processor time: nothing but the cancellation ends a guest.
const PATIENT: &str = "tool_limits = { cpu_ms = 60000, wall_ms = 120000 }\n\
    mode_limits = { cpu_ms = 60000, wall_ms = 120000 }\n\
    max_limits = { enterprise = { cpu_ms = 60000, wall_ms = 120000 } }\n";

/// Cancels a run and waits for its end.
async fn cancel(host: &Host, run: &str) -> Duration {
    let began = Instant::now();
    let (status, record) = host.json(Method::POST, &format!("/v1/runs/{run}/cancel"), None).await;
    assert_eq!((status, &record["status"]), (200, &json!("cancelled")), "{record}");
    began.elapsed()
}

async fn until_status(host: &Host, run: &str, status: &str) {
    loop {
        let record: Value = host.get(&format!("/v1/runs/{run}")).await.json().await.unwrap();
        if record["status"] == status {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_event(host: &Host, run: &str, kind: &str) {
    loop {
        let page: Value = host.get(&format!("/v1/runs/{run}/events?limit=1000")).await.json().await.unwrap();
        if page["data"].as_array().unwrap().iter().any(|event| event["type"] == kind) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn show(what: &str, took: &mut [Duration]) {
    took.sort();
    let (p50, p99, worst) = (milliseconds(took, 500), milliseconds(took, 990), milliseconds(took, 1000));
    println!("{what:<52} {p50:>8.2} {p99:>8.2} {worst:>8.2}");
}

pub(crate) async fn measure() {
    let model = Model::start().await;
    let host = builder(&model).config(&format!("{PATIENT}{CONFIG}")).start().await;
    for (name, body) in [("careful", ECHO), ("spin", SPIN)] {
        let plugin = tool_plugin_as(json!({"name": format!("test/{name}"), "tools": [tool(name)]}), "", "", body);
        host.install(plugin).await;
    }
    host.install(mode_plugin("spins", "", SPIN)).await;
    let chat = |input: &str| json!({"mode": "chat", "input": input, "background": true, "maxCycles": 5});
    println!("{:<52} {:>8} {:>8} {:>8}", "a run is cancelled, in ms, until", "p50", "p99", "most");

    let (mut told, mut closed, mut queued) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let before = model.silent();
        let first = begin(&host, &chat("none 0 silence")).await;
        model.until(|silent| silent.came > before.came).await;
        let record: Value = host.get(&format!("/v1/runs/{first}")).await.json().await.unwrap();
        let mut second = chat("none 0 silence");
        second["sessionId"] = record["sessionId"].clone();
        let second = begin(&host, &second).await;
        until_status(&host, &second, "queued").await;
        queued.push(cancel(&host, &second).await);
        let began = Instant::now();
        let (took, ()) = tokio::join!(cancel(&host, &first), async {
            model.until(|silent| silent.left > before.left).await;
            closed.push(began.elapsed());
        });
        told.push(took);
    }
    show("queued: its end is known", &mut queued);
    show("the model thinks: its end is known", &mut told);
    show("the model thinks: the model's connection is closed", &mut closed);

    let mut waiting = Vec::new();
    for _ in 0..ROUNDS {
        let mut body = chat("careful 1 answer");
        body["tools"] = json!([{"name": "careful", "approval": "ask"}]);
        let run = begin(&host, &body).await;
        until_status(&host, &run, "waiting").await;
        waiting.push(cancel(&host, &run).await);
    }
    show("waiting for a person: its end is known", &mut waiting);

    let (mut tool, mut mode) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        let run = begin(&host, &chat("spin 1 answer")).await;
        until_event(&host, &run, "tool.started").await;
        // Until it is counted among the heavy ones.
        tokio::time::sleep(Duration::from_millis(100)).await;
        tool.push(cancel(&host, &run).await);
        let run = begin(&host, &json!({"mode": "spins", "input": "go", "background": true})).await;
        until_status(&host, &run, "running").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        mode.push(cancel(&host, &run).await);
    }
    show("a tool spins: its end is known", &mut tool);
    show("a mode spins: its end is known", &mut mode);
}
