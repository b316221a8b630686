//! The parts of a question, worked on beside each other: also when the host dies in the middle, and when a budget does not reach for all.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::{Answer, Host, ScriptedModel, SseEvent, SseStream, soon};

use super::write_corpus;

const PARTS: [&str; 3] = ["alder", "birch", "cedar"];

/// Plans three parts and notes each part's document; the notes on all but the first are silent while `is_silent`.
fn forester(is_silent: Arc<AtomicBool>) -> impl Fn(&Value) -> Answer {
    move |request| {
        let (schema, all) = (request["response_format"].to_string(), request["messages"].to_string());
        if schema.contains("\"questions\"") {
            let part = |tree: &str| json!({"question": format!("How old is the {tree}?"), "queries": [tree]});
            return Answer::text(&json!({"questions": PARTS.map(part)}).to_string());
        }
        if schema.contains("\"gaps\"") {
            let asked = PARTS.iter().find(|tree| all.contains(&format!("How old is the {tree}?")));
            let tree = asked.unwrap_or_else(|| panic!("no part: {all}"));
            if is_silent.load(Ordering::SeqCst) && *tree != PARTS[0] {
                return Answer::Silence;
            }
            let quote = format!("The {tree} is a hundred years old.");
            let id = (1..=3)
                .map(|n| format!("s{n}"))
                .find(|id| all.contains(&format!("<passage id=\\\"{id}\\\" title=\\\"{tree}")));
            let note = json!({"sourceId": id, "claim": quote, "quote": quote});
            return Answer::text(&json!({"notes": [note], "answered": true, "gaps": []}).to_string());
        }
        if schema.contains("\"disagreements\"") {
            return Answer::text(r#"{"disagreements":[]}"#);
        }
        Answer::text("All are a hundred years old [s1][s2][s3].")
    }
}

fn forest() -> tempfile::TempDir {
    let text = |tree: &str| format!("# {tree}\n\nThe {tree} is a hundred years old.");
    let texts = PARTS.map(text);
    write_corpus(&[("alder.md", &texts[0]), ("birch.md", &texts[1]), ("cedar.md", &texts[2])])
}

fn question() -> Value {
    json!({"mode": "research", "input": "How old are the alder, the birch and the cedar?", "maxCycles": 3, "background": true})
}

async fn begun(host: &Host) -> String {
    let (status, run) = host.json(Method::POST, "/v1/runs", Some(&question())).await;
    assert_eq!(status, 202, "{run}");
    run["id"].as_str().unwrap().to_owned()
}

async fn events(host: &Host, run: &str) -> SseStream {
    let request = host.request(Method::GET, &format!("/v1/runs/{run}/events"));
    SseStream::new(host.send(request.header("accept", "text/event-stream")).await)
}

async fn ended(host: &Host, run: &str) -> Vec<Value> {
    let all = soon("the run's end", events(host, run).await.rest()).await;
    let logged = all.iter().filter(|event| event.id.is_some() && event.event.as_deref() != Some("token"));
    logged.map(SseEvent::json).collect()
}

fn numbers(log: &[Value], kind: &str) -> Vec<u64> {
    log.iter().filter(|event| event["type"] == kind).map(|event| event["call"].as_u64().unwrap()).collect()
}

#[tokio::test]
async fn parts_are_searched_read_and_asked_about_at_once() {
    let (folder, model) = (forest(), ScriptedModel::start().await);
    model.by_rule(forester(Arc::default()));
    let host = Host::builder().corpus(folder.path()).model(&model).start().await;
    let run = begun(&host).await;
    let log = ended(&host, &run).await;
    let outcome = &log.last().unwrap()["outcome"];
    assert_eq!(outcome["citations"].as_array().map(Vec::len), Some(3), "{outcome:#}");
    let kinds: Vec<&str> = log.iter().map(|event| event["type"].as_str().unwrap()).collect();
    for kind in ["tool.started", "model.started"] {
        assert!(
            kinds.windows(3).any(|window| window.iter().all(|one| *one == kind)),
            "three {kind} in one piece: {kinds:?}"
        );
    }
    let steps: Vec<&str> = log.iter().filter_map(|event| event["message"].as_str()).collect();
    for step in ["Question 2: How old is the birch?", "Answered: How old is the cedar?"] {
        assert!(steps.contains(&step), "{steps:?}");
    }
}

#[tokio::test]
async fn what_has_answered_when_the_host_dies_is_not_asked_again_and_the_others_are() {
    let (folder, model) = (forest(), ScriptedModel::start().await);
    let is_silent = Arc::new(AtomicBool::new(true));
    model.by_rule(forester(Arc::clone(&is_silent)));
    let host = Host::builder().corpus(folder.path()).model(&model).start().await;
    let run = begun(&host).await;
    let mut stream = events(&host, &run).await;
    let (mut answered, mut seen) = (0, Vec::new());
    while answered < 2 {
        let event = soon("two answers", stream.next()).await.unwrap_or_else(|| panic!("the run ended: {seen:?}"));
        answered += usize::from(event.event.as_deref() == Some("model.completed"));
        seen.push(event);
    }
    // The plan, and three questions at once, of which one has an answer.
    model.received(4).await;
    drop(stream);
    let data = host.kill().await;
    is_silent.store(false, Ordering::SeqCst);
    let host = Host::builder().corpus(folder.path()).model(&model).data(data).start().await;
    let log = ended(&host, &run).await;
    assert_eq!(log.last().unwrap()["type"], "run.completed", "{:#?}", log.last());
    assert_eq!(log.last().unwrap()["outcome"]["citations"].as_array().map(Vec::len), Some(3));
    let mut started = numbers(&log, "model.started");
    started.sort_unstable();
    let mut again = started.clone();
    again.dedup();
    assert_eq!(started, again, "no question is told of twice");
    let attempts = |call: u32| {
        let key = Some(format!("{run}-m{call}"));
        model.idempotency_keys().iter().filter(|sent| **sent == key).count()
    };
    assert_eq!(
        [1, 2, 3, 4].map(attempts),
        [1, 1, 2, 2],
        "the plan and the first part are asked once, the others twice"
    );
}

#[tokio::test]
async fn a_budget_that_does_not_reach_for_all_at_once_is_used_one_after_the_other() {
    let (folder, model) = (forest(), ScriptedModel::start().await);
    model.by_rule(forester(Arc::default()));
    let config = "budgeted_output_tokens = 1000\n";
    let host = Host::builder().corpus(folder.path()).model(&model).config(config).start().await;
    let budget = json!({"budget": {"tokensPerDay": 9_000}});
    let (status, told) = host.json(Method::PATCH, "/v1/admin/tenants/default", Some(&budget)).await;
    assert_eq!(status, 200, "{told}");
    let run = begun(&host).await;
    let log = ended(&host, &run).await;
    assert_eq!(log.last().unwrap()["type"], "run.completed", "{:#?}", log.last());
    let kinds = log.iter().map(|event| event["type"].as_str().unwrap()).filter(|kind| kind.starts_with("model."));
    let kinds: Vec<&str> = kinds.collect();
    assert_eq!(kinds.iter().filter(|kind| **kind == "model.started").count(), kinds.len() / 2);
    assert!(!kinds.windows(3).any(|window| window == ["model.started"; 3]), "not all at once: {kinds:?}");
}
