//! The one real model: the host's own, with its real weights. What it says is not judged here, only that it is said as any model's words are.
//!
//! `cargo xtask test` fetches the weights and names them in `VIVARIUM_EMBEDDED_WEIGHTS`. In CI they must be there; elsewhere a test without them says so.

use std::env;
use std::ffi::OsString;
use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::{Value, json};
use vivarium_tests::{Answer, Host, HostBuilder, ScriptedModel, SseStream, repository_root};

const WEIGHTS: &str = "VIVARIUM_EMBEDDED_WEIGHTS";
const MODEL: &str = "embedded/smollm2-135m-instruct";

/// The file of weights.
fn weights() -> Option<OsString> {
    let file = env::var_os(WEIGHTS);
    let required = env::var_os("VIVARIUM_CLIENTS_REQUIRED").is_some();
    assert!(file.is_some() || !required, "the weights are not there: `cargo xtask test` fetches them");
    if file.is_none() {
        eprintln!("left out: {WEIGHTS} names no file");
    }
    file
}

fn builder() -> Option<HostBuilder> {
    Some(Host::builder().environment(WEIGHTS, weights()?))
}

fn chat(query: &str) -> Value {
    json!({"query": query, "mode": "chat"})
}

#[tokio::test]
async fn a_machine_without_a_key_chats_at_once() {
    let Some(builder) = builder() else { return };
    let host = builder.start().await;
    let answer = host.post_ok("/v1/agent/run", &chat("What is the capital of France? Answer with one word.")).await;
    assert!(answer["answer"].as_str().unwrap().contains("Paris"), "{answer}");
    assert!(answer["usage"]["inputTokens"].as_u64().unwrap() > 10, "{answer}");
    let (_, models) = host.json(Method::GET, "/v1/models", None).await;
    assert!(models.to_string().contains(MODEL), "{models}");
    let (_, run) = host.json(Method::GET, &format!("/v1/runs/{}", answer["runId"].as_str().unwrap()), None).await;
    assert_eq!(run["model"], MODEL, "{run}");
}

#[tokio::test]
async fn its_words_are_streamed_as_it_writes_them_and_a_cancelled_run_stops_it() {
    let Some(builder) = builder() else { return };
    let host = builder.start().await;
    let hello = chat("Say hello.");
    let began = Instant::now();
    assert_eq!(host.post("/v1/agent/run", &hello).await.status(), 200);
    let alone = began.elapsed();
    let _streams = stories(&host).await;
    let (_, runs) = host.json(Method::GET, "/v1/runs", None).await;
    for run in runs["data"].as_array().unwrap().iter().filter(|run| run["status"] == "running") {
        let path = format!("/v1/runs/{}/cancel", run["id"].as_str().unwrap());
        let (status, cancelled) = host.json(Method::POST, &path, None).await;
        assert!(status < 300, "{cancelled}");
    }
    // It is free for the next question within a moment. The stories would have taken 1,024 words each.
    let next = host.post("/v1/agent/run", &hello);
    let next = tokio::time::timeout(3 * alone + Duration::from_secs(5), next).await;
    assert_eq!(next.expect("the cancelled answers hold the model").status(), 200);
}

/// As many long stories as are written at one time, each begun.
async fn stories(host: &Host) -> Vec<SseStream> {
    let cores = std::thread::available_parallelism().unwrap().get();
    let query = [("query", "Write a long story about a dragon, a knight and a castle."), ("mode", "chat")];
    let mut streams = Vec::new();
    for _ in 0..(cores / 2).max(1) {
        let mut stream = host.stream("/v1/agent/stream", &query).await;
        let mut words = 0;
        while words < 5 {
            let event = stream.next().await.expect("the story came in fewer pieces");
            words += usize::from(event.data.contains("\"token\""));
        }
        streams.push(stream);
    }
    streams
}

#[tokio::test]
async fn a_question_that_gets_no_turn_in_time_goes_to_the_next_model() {
    let Some(builder) = builder() else { return };
    let model = ScriptedModel::start().await;
    model.always(Answer::text("Hello!"));
    let host = builder.model(&model).environment("VIVARIUM_MODEL", MODEL).start().await;
    let _streams = stories(&host).await;
    let body = json!({
        "input": "Say hello.", "mode": "chat", "tools": [], "model": MODEL,
        "fallbackModels": ["openai/second"], "modelTimeoutSeconds": 1
    });
    let run = host.post_ok("/v1/runs", &body).await;
    assert_eq!((&run["status"], &run["outcome"]["answer"]), (&json!("completed"), &json!("Hello!")), "{run}");
    let path = format!("/v1/runs/{}/events", run["id"].as_str().unwrap());
    let (_, events) = host.json(Method::GET, &path, None).await;
    let failed = events["data"].as_array().unwrap().iter().find(|event| !event["fallback"].is_null());
    let failed = failed.unwrap_or_else(|| panic!("{events}")).to_string();
    assert!(failed.contains("is asked by too many") && failed.contains("openai/second"), "{failed}");
}

#[tokio::test]
async fn an_answer_by_a_schema_is_json_that_satisfies_it() {
    let Some(builder) = builder() else { return };
    let host = builder.start().await;
    let schema = json!({
        "type": "object",
        "properties": {"city": {"type": "string", "maxLength": 30}, "large": {"type": "boolean"}},
        "required": ["city", "large"],
        "additionalProperties": false
    });
    let body = json!({
        "input": "Is Paris a large city?", "mode": "chat", "outputSchema": schema
    });
    let run = host.post_ok("/v1/runs", &body).await;
    let output = &run["outcome"]["output"];
    assert!(output["city"].is_string() && output["large"].is_boolean(), "{run}");
}

#[tokio::test]
async fn research_quotes_documents_and_invents_nothing() {
    let Some(builder) = builder() else { return };
    let host = builder.corpus(&repository_root().join("tests/data/corpus")).start().await;
    let query = json!({"query": "What does hybrid retrieval join?", "mode": "research", "maxCycles": 2});
    let answer = host.post_ok("/v1/agent/run", &query).await;
    let sources = answer["sources"].as_array().unwrap();
    assert!(!sources.is_empty(), "{answer}");
    let quotes = sources.iter().flat_map(|source| source["quotes"].as_array().unwrap());
    assert!(quotes.clone().count() > 0 && quotes.clone().all(|quote| quote["verified"] == true), "{answer}");
}

#[tokio::test]
async fn a_conversation_beyond_its_context_is_told_or_fitted_and_never_hangs() {
    let Some(builder) = builder() else { return };
    let host = builder.start().await;
    let long = "The quick brown fox jumps over the lazy dog. ".repeat(1200);
    let response = host.post("/v1/agent/run", &chat(&long)).await;
    let status = response.status().as_u16();
    let body: Value = response.json().await.unwrap();
    assert!(status >= 400, "12,000 tokens do not fit into 4,096: {body}");
    assert!(body.to_string().contains("4096"), "{body}");
}

#[tokio::test]
async fn weights_that_are_not_the_known_ones_stop_the_start_with_a_sentence() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights.gguf");
    std::fs::write(&file, b"GGUF").unwrap();
    let output = tokio::process::Command::new(vivarium_tests::vivarium_binary())
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(folder.path().join("data"))
        .env(WEIGHTS, &file)
        .output()
        .await
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("the embedded language model can not be had"), "{said}");
}
