//! The main job: a question, a folder of documents, an answer whose every quote stands in the document that it cites. Without a language
//! model and without a network.

mod checked;
mod parallel;
mod recall;
mod web;

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use vivarium_tests::{Host, SseEvent, repository_root};

const QUESTION: &str = "Summarize the latest advances in retrieval-augmented generation.";

fn corpus() -> PathBuf {
    repository_root().join("tests/data/corpus")
}

async fn host() -> Host {
    Host::builder().corpus(&corpus()).start().await
}

/// The words of a text, one space between them: quotes are compared so.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A folder with these files.
fn write_corpus(files: &[(&str, &str)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

/// A corpus file's own words, markup aside.
fn file_text(location: &str) -> String {
    let path = corpus().join(location);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    if path.extension().is_some_and(|extension| extension == "html") {
        words(&without_tags(&text))
    } else {
        words(&text)
    }
}

fn without_tags(html: &str) -> String {
    let mut text = String::new();
    for piece in html.split('<') {
        text.push_str(piece.split_once('>').map_or(piece, |(_, after)| after));
    }
    text.replace("&#8217;", "’")
}

/// Asserts that the answer's quotes stand where they are said to stand. Gives how many there are.
fn assert_quotes_stand(result: &Value) -> usize {
    let mut count = 0;
    for source in result["sources"].as_array().unwrap() {
        let location = source["url"].as_str().unwrap();
        for quote in source["quotes"].as_array().unwrap() {
            assert_eq!(quote["verified"], true, "{quote} of {location}");
            let text = words(quote["text"].as_str().unwrap());
            assert!(!text.is_empty());
            assert!(file_text(location).contains(&text), "{text:?} does not stand in {location}");
            count += 1;
        }
    }
    count
}

#[tokio::test]
async fn an_answer_rests_on_quotes_that_stand_in_the_cited_files() {
    let host = host().await;
    let result = host.post_ok("/v1/agent/run", &json!({"query": QUESTION, "mode": "research", "maxCycles": 5})).await;
    assert!(assert_quotes_stand(&result) >= 2, "{result:#}");
    let answer = result["answer"].as_str().unwrap();
    assert!(answer.contains("retrieval") && answer.contains("[s1]"), "{answer}");
    assert!(!result["steps"].as_array().unwrap().is_empty());
    let first = &result["sources"][0];
    for field in ["id", "title", "url", "fetchedAt", "contentHash"] {
        assert!(first[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {first}");
    }
    for field in ["runId", "sessionId"] {
        assert!(result[field].as_str().is_some_and(|text| !text.is_empty()), "{field}");
    }
}

#[tokio::test]
async fn the_answer_comes_from_the_documents_that_speak_of_it() {
    let host = host().await;
    let question = "How humid must it be for dart frogs?";
    let result = host.post_ok("/v1/agent/run", &json!({"query": question, "maxCycles": 2})).await;
    assert!(assert_quotes_stand(&result) >= 1);
    let answer = words(result["answer"].as_str().unwrap());
    assert!(answer.contains("80 to 100 percent"), "{answer}");
    let locations: Vec<_> = result["sources"].as_array().unwrap().iter().map(|source| &source["url"]).collect();
    assert!(locations.iter().any(|location| **location == "guides/terrarium.txt"), "{locations:?}");
}

#[tokio::test]
async fn one_cycle_is_enough_for_an_answer() {
    let host = host().await;
    let result = host.post_ok("/v1/agent/run", &json!({"query": QUESTION, "maxCycles": 1})).await;
    assert!(assert_quotes_stand(&result) >= 1, "{result:#}");
}

#[tokio::test]
async fn a_question_that_no_document_answers_is_said_to_be_one() {
    let host = host().await;
    let result =
        host.post_ok("/v1/agent/run", &json!({"query": "Who won the 1954 chess tournament at Xyzzyplugh?"})).await;
    assert_quotes_stand(&result);
    assert!(!result["answer"].as_str().unwrap().trim().is_empty());
}

/// The types of a stream's JSON events, in order.
fn types(events: &[SseEvent]) -> Vec<String> {
    events
        .iter()
        .filter(|event| event.comment.is_none() && event.data != "[DONE]")
        .map(|event| event.json()["type"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_stream_tells_the_steps_and_ends_with_the_answer() {
    let host = host().await;
    let stream = host.stream("/v1/agent/stream", &[("query", QUESTION), ("mode", "research")]).await;
    let events = stream.rest().await;
    assert!(events.iter().all(|event| event.event.is_none()), "the dialect's events have no names");
    assert_eq!(events.last().unwrap().data, "[DONE]");
    let types = types(&events);
    assert_eq!(types.last().unwrap(), "done");
    assert_eq!(types.iter().filter(|kind| matches!(kind.as_str(), "done" | "error")).count(), 1, "{types:?}");
    assert!(types.contains(&"step".to_owned()) && types.contains(&"tool".to_owned()), "{types:?}");
    let done = events[events.len() - 2].json();
    assert!(done["answer"].as_str().unwrap().contains("retrieval"), "{done}");
    assert_tools_are_told_whole(&events);
}

/// Every tool that was started has ended, one way or the other.
fn assert_tools_are_told_whole(events: &[SseEvent]) {
    let count = |status: &str| {
        let is =
            |event: &&SseEvent| event.comment.is_none() && event.data != "[DONE]" && event.json()["status"] == status;
        events.iter().filter(is).count()
    };
    assert!(count("started") > 0);
    assert_eq!(count("started"), count("completed") + count("failed"));
}

#[tokio::test]
async fn a_sample_client_that_cuts_each_chunk_at_its_newlines_loses_nothing() {
    let host = host().await;
    let path = "/v1/agent/stream?query=Summarize%20RAG%20advances&mode=research";
    let mut response = host.get(path).await;
    let mut payloads = Vec::new();
    while let Some(chunk) = response.chunk().await.unwrap() {
        let text = std::str::from_utf8(&chunk).expect("no character is cut by a flush");
        payloads.extend(text.split('\n').filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned));
    }
    assert_eq!(payloads.pop().unwrap(), "[DONE]");
    for payload in &payloads {
        let event: Value = serde_json::from_str(payload).unwrap_or_else(|error| panic!("{payload:?}: {error}"));
        assert!(event["type"].is_string());
    }
    assert!(payloads.len() > 2, "{payloads:?}");
}

#[tokio::test]
async fn a_session_goes_on_where_it_was() {
    let host = host().await;
    let first = host.post_ok("/v1/agent/run", &json!({"query": "What do dart frogs eat?", "mode": "chat"})).await;
    let session = first["sessionId"].as_str().unwrap();
    let body = json!({"query": "And what about chunk overlap?", "mode": "chat", "sessionId": session});
    let second = host.post_ok("/v1/agent/run", &body).await;
    assert_eq!(second["sessionId"], session);
    assert_ne!(second["runId"], first["runId"]);
}

#[tokio::test]
async fn an_answer_survives_a_restart() {
    let host = host().await;
    let result = host.post_ok("/v1/agent/run", &json!({"query": QUESTION, "maxCycles": 2})).await;
    let run = format!("/v1/runs/{}", result["runId"].as_str().unwrap());
    let (status, data) = host.stop().await;
    assert!(status.success(), "{status}");
    let again = Host::builder().data(data).corpus(&corpus()).start().await;
    let kept: Value = again.get(&run).await.json().await.unwrap();
    assert_eq!(kept["status"], "completed", "{kept:#}");
    assert_eq!(kept["outcome"]["answer"], result["answer"]);
}

#[tokio::test]
async fn the_command_line_answers_without_a_server() {
    let data = tempfile::tempdir().unwrap();
    let folder = corpus();
    let arguments = ["run", QUESTION, "--corpus", folder.to_str().unwrap(), "--json"];
    let text = vivarium_tests::Cli::on(data.path()).output(&arguments).await;
    let result: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text:?} is no JSON: {error}"));
    assert!(assert_quotes_stand(&result) >= 2, "{result:#}");
}

#[test]
fn the_corpus_of_these_tests_has_what_they_ask_for() {
    assert!(file_text("chunking.html").contains("document’s own headings"));
    assert!(Path::new(&corpus().join("guides/tides.md")).is_file());
}
