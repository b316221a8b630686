//! How much memory a run holds that waits for a person: what the process' resident memory grows by, as they come and over a restart;
//! beside runs that have ended, of which nothing is kept but what the store keeps of all (its caches and indexes).

use std::time::Duration;

use serde_json::{Value, json};
use vivarium_tests::Host;
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};

use crate::model::Model;
use crate::{CONFIG, begin, builder, settled_memory};

const STEP: usize = 2_000;

const STEPS: usize = 3;

async fn begin_all(host: &Host, approval: &str) {
    let tools = json!([{"name": "careful", "approval": approval}]);
    let body = json!({"mode": "chat", "input": "careful 1 answer", "background": true, "maxCycles": 5, "tools": tools});
    for _ in 0..STEP {
        begin(host, &body).await;
    }
    for status in ["queued", "running"] {
        loop {
            let page: Value = host.get(&format!("/v1/runs?status={status}")).await.json().await.unwrap();
            if page["data"].as_array().unwrap().is_empty() {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}

pub(crate) async fn measure() {
    let model = Model::start().await;
    println!("resident memory of a host, in KiB");
    println!("{:<22} {:>12} {:>14} {:>18} {:>14}", "", "as they come", "KiB per run", "after a restart", "KiB per run");
    for (what, approval) in [("have ended", "auto"), ("wait", "ask")] {
        let mut host = builder(&model).config(CONFIG).start().await;
        host.install(tool_plugin_as(json!({"name": "test/careful", "tools": [tool("careful")]}), "", "", ECHO)).await;
        let mut before = None;
        for step in 1..=STEPS {
            begin_all(&host, approval).await;
            let now = settled_memory(host.pid()).await;
            host = builder(&model).data(host.kill().await).config(CONFIG).start().await;
            let restarted = settled_memory(host.pid()).await;
            let each = |before: Option<u64>, now: u64| {
                before.map_or("-".to_owned(), |before| format!("{:.2}", (now as f64 - before as f64) / STEP as f64))
            };
            let (come, over) = before.unzip();
            println!(
                "{:<22} {now:>12} {:>14} {restarted:>18} {:>14}",
                format!("{} runs {what}", step * STEP),
                each(come, now),
                each(over, restarted),
            );
            before = Some((now, restarted));
        }
    }
}
