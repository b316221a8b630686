//! What happens when the host stops, in good order or not, while there is work.

use std::time::Duration;

use serde_json::{Value, json};
use vivarium_tests::{Answer, Host, ScriptedModel, SseStream, soon};

/// Starts a run whose model never answers, and waits until the model was asked.
async fn stuck_run(host: &Host, model: &ScriptedModel) -> String {
    let request = host.request(reqwest::Method::GET, "/v1/agent/stream");
    let request = request.query(&[("query", "Hello?"), ("mode", "chat")]);
    let response = host.send(request).await;
    let run = response.headers().get("x-run-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
    model.received(1).await;
    // The client leaves here; its run does not care.
    drop(response);
    run.expect("a stream names its run")
}

/// Follows a run's log until an event of this type is shown.
async fn shown(host: &Host, run: &str, event_type: &str) {
    let request = host.request(reqwest::Method::GET, &format!("/v1/runs/{run}/events"));
    let mut events = SseStream::new(host.send(request.header("accept", "text/event-stream")).await);
    while let Some(event) = soon(event_type, events.next()).await {
        if event.json()["type"] == event_type {
            return;
        }
    }
    panic!("the run ended without {event_type}");
}

#[tokio::test]
async fn after_kill_9_no_run_is_left_running_and_the_log_has_its_beginning() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Silence);
    let host = Host::builder().model(&model).start().await;
    let run = stuck_run(&host, &model).await;
    shown(&host, &run, "model.started").await;
    let data = host.kill().await;
    let host = Host::builder().model(&model).data(data).start().await;
    let kept: Value = host.get(&format!("/v1/runs/{run}")).await.json().await.unwrap();
    assert_eq!(kept["status"], "failed", "{kept:#}");
    assert_eq!(kept["failure"]["code"], "interrupted", "{kept:#}");
    let events: Value = host.get(&format!("/v1/runs/{run}/events")).await.json().await.unwrap();
    let types: Vec<_> =
        events["data"].as_array().unwrap().iter().map(|event| event["type"].as_str().unwrap()).collect();
    assert_eq!(types.first(), Some(&"run.started"), "{types:?}");
    assert_eq!(types.last(), Some(&"run.failed"), "{types:?}");
    assert!(types.contains(&"model.started"), "what a reader was shown is not lost: {types:?}");
}

#[tokio::test]
async fn an_answer_that_was_given_is_still_there_after_kill_9() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("Forty-two."));
    let host = Host::builder().model(&model).start().await;
    let mut runs = Vec::new();
    for _ in 0..5 {
        let result = host.post_ok("/v1/agent/run", &json!({"query": "What?", "mode": "chat"})).await;
        runs.push(result["runId"].as_str().unwrap().to_owned());
    }
    let data = host.kill().await;
    let host = Host::builder().model(&model).data(data).start().await;
    for run in runs {
        let kept: Value = host.get(&format!("/v1/runs/{run}")).await.json().await.unwrap();
        assert_eq!(kept["status"], "completed", "{kept:#}");
        assert_eq!(kept["outcome"]["answer"], "Forty-two.");
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_runs_under_way() {
    let model = ScriptedModel::start().await;
    let words = ["slow ", "but ", "sure"].map(str::to_owned).to_vec();
    model.then(Answer::Slowly(words, Duration::from_millis(300)));
    let host = Host::builder().model(&model).start().await;
    let path = host.url("/v1/agent/run");
    let request = host.client().post(path).bearer_auth(host.key()).json(&json!({"query": "Go", "mode": "chat"}));
    let answer = tokio::spawn(request.send());
    model.received(1).await;
    host.terminate();
    let answer = soon("the answer", answer).await.unwrap().unwrap();
    let result: Value = answer.json().await.unwrap();
    assert_eq!(result["answer"], "slow but sure");
    let (status, _) = host.stop_terminated().await;
    assert!(status.success(), "{status}");
}

#[tokio::test]
async fn a_stop_does_not_wait_for_ever() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Silence);
    let host = Host::builder().model(&model).environment("VIVARIUM_DRAIN_SECONDS", "1").start().await;
    stuck_run(&host, &model).await;
    let started = std::time::Instant::now();
    host.stop().await;
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[tokio::test]
async fn two_messages_to_one_session_at_once_wait_for_each_other() {
    let model = ScriptedModel::start().await;
    model.then(Answer::text("First."));
    let host = Host::builder().model(&model).start().await;
    let session = host.post_ok("/v1/agent/run", &json!({"query": "one", "mode": "chat"})).await["sessionId"].clone();
    model.always(Answer::text("Later."));
    let ask = async |query: &str| {
        host.post_ok("/v1/agent/run", &json!({"query": query, "mode": "chat", "sessionId": session})).await
    };
    let (a, b) = tokio::join!(ask("two"), ask("three"));
    assert_eq!((&a["sessionId"], &b["sessionId"]), (&session, &session));
    let last =
        model.requests().into_iter().max_by_key(|request| request["messages"].as_array().unwrap().len()).unwrap();
    let said = last["messages"].to_string();
    assert!(said.contains("two") && said.contains("three"), "the later one saw the earlier one's message: {said}");
}
