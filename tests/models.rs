//! Runs with a language model: the provider speaks over a real socket with a server that says what the test wants.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::{Value, json};
use vivarium_tests::{Answer, Host, ScriptedModel, SseEvent, ToolRequest, repository_root};

async fn host(model: &ScriptedModel) -> Host {
    Host::builder().model(model).corpus(&repository_root().join("tests/data/corpus")).start().await
}

fn chat(query: &str) -> Value {
    json!({"query": query, "mode": "chat"})
}

async fn streamed(host: &Host, query: &str) -> Vec<SseEvent> {
    host.stream("/v1/agent/stream", &[("query", query), ("mode", "chat")]).await.rest().await
}

/// The last event but `[DONE]`, which has to be there.
fn ending(events: &[SseEvent]) -> Value {
    assert_eq!(events.last().unwrap().data, "[DONE]");
    events[events.len() - 2].json()
}

#[tokio::test]
async fn the_models_answer_is_the_runs_answer() {
    let model = ScriptedModel::start().await;
    model.then(Answer::text("The sky is blue."));
    let host = host(&model).await;
    let result = host.post_ok("/v1/agent/run", &chat("What colour is the sky?")).await;
    assert_eq!(result["answer"], "The sky is blue.");
    let request = &model.requests()[0];
    assert_eq!(request["model"], "scripted");
    assert!(request["messages"].to_string().contains("What colour is the sky?"));
    assert_eq!(model.authorizations(), ["Bearer sk-of-the-test"]);
}

#[tokio::test]
async fn tokens_reach_the_client_while_the_model_still_speaks() {
    let model = ScriptedModel::start().await;
    let words = ["one ", "two ", "three"].map(str::to_owned).to_vec();
    model.then(Answer::Slowly(words, Duration::from_millis(100)));
    let host = host(&model).await;
    let events = streamed(&host, "count").await;
    let tokens: Vec<_> =
        events.iter().filter(|event| event.data.contains("\"token\"")).map(|event| event.json()).collect();
    assert!(tokens.len() >= 2, "{events:?}");
    assert_eq!(ending(&events)["answer"], "one two three");
}

#[tokio::test]
async fn parallel_tool_calls_are_answered_to_the_model_in_order() {
    let model = ScriptedModel::start().await;
    let call = |id: &str, query: &str| ToolRequest {
        id: id.to_owned(),
        name: "corpus_search".to_owned(),
        arguments: json!({"query": query}),
    };
    model.then(Answer::Tools(vec![call("a", "dart frogs"), call("b", "spring tides")]));
    model.then(Answer::text("Frogs and tides."));
    let host = host(&model).await;
    let result =
        host.post_ok("/v1/agent/run", &json!({"query": "Frogs? Tides?", "mode": "chat", "maxCycles": 3})).await;
    assert_eq!(result["answer"], "Frogs and tides.");
    let second = &model.requests()[1];
    let answers: Vec<_> = second["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "tool").collect();
    assert_eq!(answers.len(), 2, "{second:#}");
    assert_eq!((&answers[0]["tool_call_id"], &answers[1]["tool_call_id"]), (&json!("a"), &json!("b")));
    assert!(answers[0]["content"].to_string().contains("humidity"), "{}", answers[0]);
    assert!(answers[1]["content"].to_string().contains("line"), "{}", answers[1]);
}

#[tokio::test]
async fn a_busy_vendor_is_asked_again_when_it_said_so() {
    let model = ScriptedModel::start().await;
    model.then(Answer::TooMany { retry_after_seconds: 1 }).then(Answer::Refusal(StatusCode::BAD_GATEWAY));
    model.then(Answer::text("At last."));
    let host = host(&model).await;
    let started = std::time::Instant::now();
    let result = host.post_ok("/v1/agent/run", &chat("Hello?")).await;
    assert_eq!(result["answer"], "At last.");
    assert_eq!(model.requests().len(), 3);
    assert!(started.elapsed() >= Duration::from_secs(1), "Retry-After was not waited for");
}

#[tokio::test]
async fn a_vendor_that_goes_on_failing_ends_the_stream_with_an_error() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Refusal(StatusCode::INTERNAL_SERVER_ERROR));
    let host = host(&model).await;
    let events = streamed(&host, "Hello?").await;
    assert_eq!(ending(&events)["type"], "error", "{events:?}");
    assert!(model.requests().len() > 1, "a 500 is worth another try");
    assert_eq!(host.get("/healthz").await.status().as_u16(), 200);
}

#[tokio::test]
async fn garbage_from_a_vendor_is_an_error_and_no_answer() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Garbage);
    let host = host(&model).await;
    assert_eq!(ending(&streamed(&host, "Hello?").await)["type"], "error");
}

#[tokio::test]
async fn a_stream_cut_in_the_middle_is_no_whole_answer() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Cut(vec!["half ".to_owned(), "an ".to_owned()]));
    let host = host(&model).await;
    let ending = ending(&streamed(&host, "Hello?").await);
    assert_eq!(ending["type"], "error", "{ending}");
}

#[tokio::test]
async fn a_vendors_refusal_is_told_and_the_key_is_not() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Refusal(StatusCode::UNAUTHORIZED));
    let host = host(&model).await;
    let response = host.post("/v1/agent/run", &chat("Hello?")).await;
    assert!(response.status().is_server_error(), "{}", response.status());
    let text = response.text().await.unwrap();
    assert!(!text.contains("sk-of-the-test") && !host.log().contains("sk-of-the-test"), "{text}");
    assert_eq!(model.requests().len(), 1, "a 401 does not get better by asking again");
}

#[tokio::test]
async fn a_conversation_is_told_to_the_model_from_its_beginning() {
    let model = ScriptedModel::start().await;
    model.then(Answer::text("Nice to meet you, Ada.")).then(Answer::text("Ada."));
    let host = host(&model).await;
    let first = host.post_ok("/v1/agent/run", &chat("My name is Ada.")).await;
    let body = json!({"query": "What is my name?", "mode": "chat", "sessionId": first["sessionId"]});
    host.post_ok("/v1/agent/run", &body).await;
    let messages = model.requests()[1]["messages"].to_string();
    for said in ["My name is Ada.", "Nice to meet you, Ada.", "What is my name?"] {
        assert!(messages.contains(said), "{said:?} is missing in {messages}");
    }
}
