//! A host is killed with 1,000 unfinished runs: how soon the next one serves, and how soon all of them are where they were.

use std::time::Instant;

use serde_json::{Value, json};
use vivarium_tests::Host;
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};

use crate::model::Model;
use crate::{CONFIG, begin, builder};

const RUNS: usize = 1_000;

/// A quarter waits for a person.
const WAITING: usize = RUNS / 4;

const ROUNDS: usize = 5;

/// Of those that ask a model, two in three have called tools before, two to eleven times.
fn body(number: usize) -> Value {
    let chat = |input: String| json!({"mode": "chat", "input": input, "background": true, "maxCycles": 20});
    if number < WAITING {
        let mut body = chat("careful 1 silence".to_owned());
        body["tools"] = json!([{"name": "careful", "approval": "ask"}]);
        return body;
    }
    let calls = if number.is_multiple_of(3) { 0 } else { 2 + number % 10 };
    chat(format!("echo {calls} silence"))
}

async fn count(host: &Host, status: &str) -> usize {
    let (mut count, mut cursor) = (0, String::new());
    loop {
        let page: Value = host.get(&format!("/v1/runs?limit=200&status={status}{cursor}")).await.json().await.unwrap();
        count += page["data"].as_array().unwrap().len();
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return count,
        }
    }
}

pub(crate) async fn measure() {
    let model = Model::start().await;
    let mut host = builder(&model).config(CONFIG).start().await;
    for name in ["echo", "careful"] {
        let plugin = tool_plugin_as(json!({"name": format!("test/{name}"), "tools": [tool(name)]}), "", "", ECHO);
        host.install(plugin).await;
    }
    for number in 0..RUNS {
        begin(&host, &body(number)).await;
    }
    model.until(|silent| silent.came == RUNS - WAITING).await;
    while count(&host, "waiting").await < WAITING {
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    println!("recovery of {RUNS} unfinished runs, {WAITING} of them waiting, in s from the start of the process");
    println!("{:<10} {:>10} {:>24}", "", "ready", "all ask their models");
    for round in 1..=ROUNDS {
        let data = host.kill().await;
        model.until(|silent| silent.left == silent.came).await;
        let before = model.silent().came;
        let began = Instant::now();
        host = builder(&model).data(data).config(CONFIG).start().await;
        let ready = began.elapsed();
        model.until(|silent| silent.came == before + RUNS - WAITING).await;
        let all = began.elapsed();
        assert_eq!(count(&host, "waiting").await, WAITING);
        println!("{round:<10} {:>10.2} {:>24.2}", ready.as_secs_f64(), all.as_secs_f64());
    }
}
