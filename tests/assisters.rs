//! The Assisters dialect over real sockets: what is refused and how, what every answer carries, what a stream looks like, and what becomes
//! of runs whose client or host goes away.

use std::time::Duration;

use insta::assert_snapshot;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use tempfile::TempDir;
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, SseEvent, soon};

async fn host(model: &ScriptedModel) -> Host {
    Host::builder().model(model).start().await
}

async fn answering() -> (ScriptedModel, Host) {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let host = host(&model).await;
    (model, host)
}

fn chat() -> Value {
    json!({"query": "Hello?", "mode": "chat"})
}

/// Status and body.
async fn shown(response: Response) -> String {
    let status = response.status().as_u16();
    format!("{status} {}", response.text().await.unwrap())
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap_or_else(|| panic!("{name} is missing in {headers:?}")).to_str().unwrap()
}

fn number(headers: &HeaderMap, name: &str) -> u64 {
    header(headers, name).parse().unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A data folder with the first key, and what these commands made in it; each prints what a test needs, such as a key.
async fn prepared(commands: &[&[&str]]) -> (TempDir, Vec<String>) {
    let (_, data) = Host::builder().start().await.stop().await;
    let cli = Cli::on(data.path());
    let mut printed = Vec::new();
    for command in commands {
        printed.push(cli.output(command).await);
    }
    (data, printed)
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_told_before_anything_runs() {
    let (model, host) = answering().await;
    let post = |body: &'static str| {
        let request = host.request(Method::POST, "/v1/agent/run").header("content-type", "application/json").body(body);
        async { shown(host.send(request).await).await }
    };
    let get = |query: &'static str| {
        let path = format!("/v1/agent/stream?{query}");
        let host = &host;
        async move { shown(host.get(&path).await).await }
    };

    assert_snapshot!(post("{}").await, @r#"400 {"error":{"message":"query is required","type":"invalid_request_error","code":"missing_parameter","param":"query"}}"#);
    assert_snapshot!(post(r#"{"query":""}"#).await, @r#"400 {"error":{"message":"query must not be empty","type":"invalid_request_error","code":"invalid_parameter","param":"query"}}"#);
    assert_snapshot!(post(r#"{"query":"q","mode":"poet"}"#).await, @r#"400 {"error":{"message":"there is no mode \"poet\"; there are: chat, coding, research","type":"invalid_request_error","code":"invalid_parameter","param":"mode"}}"#);
    assert_snapshot!(post(r#"{"query":"q","maxCycles":"x"}"#).await, @r#"400 {"error":{"message":"maxCycles must be an integer from 1 to 8","type":"invalid_request_error","code":"invalid_parameter","param":"maxCycles"}}"#);
    assert_snapshot!(post(r#"{"query":"q","sessionId":""}"#).await, @r#"400 {"error":{"message":"sessionId must be 1 to 128 visible ASCII characters","type":"invalid_request_error","code":"invalid_parameter","param":"sessionId"}}"#);
    assert_snapshot!(post("{").await, @r#"400 {"error":{"message":"the body is not a JSON object as documented: EOF while parsing an object at line 1 column 1","type":"invalid_request_error","code":"invalid_request","param":null}}"#);
    assert_snapshot!(get("").await, @r#"400 {"error":{"message":"query is required","type":"invalid_request_error","code":"missing_parameter","param":"query"}}"#);
    assert_snapshot!(get("query=q&maxCycles=9").await, @r#"400 {"error":{"message":"maxCycles must be an integer from 1 to 8","type":"invalid_request_error","code":"invalid_parameter","param":"maxCycles"}}"#);
    assert_snapshot!(get("query=q&query=r").await, @r#"400 {"error":{"message":"query is given more than once","type":"invalid_request_error","code":"invalid_parameter","param":"query"}}"#);
    assert_snapshot!(get("query=%FF").await, @r#"400 {"error":{"message":"the query string must be percent-encoded UTF-8","type":"invalid_request_error","code":"invalid_request","param":null}}"#);
    assert!(model.requests().is_empty());
}

#[tokio::test]
async fn other_methods_paths_types_and_sizes_are_refused_in_the_same_form() {
    let host = Host::builder().environment("VIVARIUM_MAX_BODY_BYTES", "1000").start().await;
    let send = |method: Method, path: &'static str| async { host.send(host.request(method, path)).await };
    let wrong_method = send(Method::GET, "/v1/agent/run").await;
    assert_eq!(header(wrong_method.headers(), "allow"), "POST");
    assert_snapshot!(shown(wrong_method).await, @r#"405 {"error":{"message":"this path does not take GET; the Allow header says what it takes","type":"invalid_request_error","code":"method_not_allowed","param":null}}"#);
    assert_eq!(send(Method::HEAD, "/v1/agent/stream?query=q").await.status().as_u16(), 405);
    assert_snapshot!(shown(send(Method::POST, "/v1/agent/walk").await).await, @r#"404 {"error":{"message":"there is no POST /v1/agent/walk","type":"invalid_request_error","code":"not_found","param":null}}"#);
    assert_snapshot!(shown(send(Method::GET, "/nowhere").await).await, @r#"404 {"error":{"message":"there is no GET /nowhere","code":"not_found"}}"#);

    let form = host
        .request(Method::POST, "/v1/agent/run")
        .header("content-type", "application/x-www-form-urlencoded")
        .body("query=q");
    assert_snapshot!(shown(host.send(form).await).await, @r#"415 {"error":{"message":"the body must be JSON: send it with Content-Type: application/json","type":"invalid_request_error","code":"unsupported_media_type","param":null}}"#);
    let large = host.post("/v1/agent/run", &json!({"query": "x".repeat(2000)})).await;
    assert_snapshot!(shown(large).await, @r#"413 {"error":{"message":"the body is larger than 1000 bytes","type":"invalid_request_error","code":"request_too_large","param":null}}"#);
}

/// A host whose keys may start so many runs in a minute.
async fn limited(model: &ScriptedModel, requests_per_minute: u32) -> (TempDir, Host) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("limits.toml");
    let limits = format!("requests_per_minute = {requests_per_minute}\ntokens_per_minute = 1000\n");
    std::fs::write(&file, format!("[limits.enterprise]\n{limits}")).unwrap();
    let host = Host::builder().model(model).argument("--config").argument(&file).start().await;
    (folder, host)
}

#[tokio::test]
async fn every_answer_says_what_is_left_and_a_question_costs_one_request_and_its_tokens() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let (_file, host) = limited(&model, 10).await;
    let before = host.get("/v1/rate-limit").await;
    assert_eq!(number(before.headers(), "x-ratelimit-remaining-rpm"), 10);
    assert_eq!(number(before.headers(), "x-ratelimit-remaining-tpm"), 1000);
    let body: Value = before.json().await.unwrap();
    assert_eq!((&body["limit"], &body["remaining"]), (&json!(10), &json!(10)));
    assert!(body["reset"].as_str().unwrap().ends_with('Z'), "{body}");

    let request = host.request(Method::POST, "/v1/agent/run").header("x-request-id", "mine-1").json(&chat());
    let answered = host.send(request).await;
    assert_eq!(answered.status().as_u16(), 200);
    let headers = answered.headers();
    assert_eq!(header(headers, "x-request-id"), "mine-1");
    assert_eq!(number(headers, "x-ratelimit-limit-rpm"), 10);
    assert_eq!(number(headers, "x-ratelimit-remaining-rpm"), 9);
    assert!(number(headers, "x-ratelimit-reset-rpm") > 1_700_000_000);
    assert_eq!(number(headers, "x-ratelimit-limit-tpm"), 1000);
    assert!(number(headers, "x-ratelimit-remaining-tpm") < 1000, "{headers:?}");
    number(headers, "x-processing-time-ms");
}

#[tokio::test]
async fn who_asks_too_often_is_told_when_to_come_back() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let (_file, host) = limited(&model, 2).await;
    for _ in 0..2 {
        host.post_ok("/v1/agent/run", &chat()).await;
    }
    let refused = host.post("/v1/agent/run", &chat()).await;
    assert_eq!(refused.status().as_u16(), 429);
    assert!((1..=30).contains(&number(refused.headers(), "retry-after")));
    let error = refused.json::<Value>().await.unwrap()["error"].clone();
    assert_eq!((&error["type"], &error["code"]), (&json!("rate_limit_error"), &json!("rate_limit_exceeded")));
    assert_eq!(host.get("/v1/agent/stream?query=q").await.status().as_u16(), 429);
    assert_eq!(host.post("/v1/agent/run", &json!({})).await.status().as_u16(), 400, "a bad request costs nothing");
    assert_eq!(host.get("/v1/rate-limit").await.status().as_u16(), 200, "asking what is left costs nothing");
}

#[tokio::test]
async fn a_stream_numbers_its_events_and_ends_with_one_done_and_the_mark() {
    let (_model, host) = answering().await;
    let response = host.get("/v1/agent/stream?query=Hello&mode=chat").await;
    let headers = response.headers();
    assert_eq!(header(headers, "content-type"), "text/event-stream");
    assert_eq!(header(headers, "cache-control"), "no-cache");
    assert_eq!(header(headers, "x-accel-buffering"), "no");
    let events = vivarium_tests::SseStream::new(response).rest().await;
    let types: Vec<String> = events.iter().filter(|event| event.data.starts_with('{')).map(kind).collect();
    assert_eq!(types.iter().filter(|kind| *kind == "done" || *kind == "error").collect::<Vec<_>>(), ["done"]);
    assert_eq!(types.last().unwrap(), "done");
    assert_eq!(events.last().unwrap().data, "[DONE]");
    assert!(events.iter().all(|event| event.event.is_none()), "the document's events have no names: {events:?}");
    let number = |part: &str| part.parse::<u64>().unwrap();
    let ids = events.iter().filter_map(|event| event.id.as_ref());
    // Behind the run's id: of a token's, the number of the event before it and how much of the answer was seen.
    let place = |id: &String| id.split_once(':').unwrap().1.split('.').take(2).map(number).collect();
    let ids: Vec<Vec<u64>> = ids.map(place).collect();
    assert!(ids.is_sorted_by(|a, b| a < b) && !ids.is_empty(), "{ids:?}");
    let done = events[events.len() - 2].json();
    assert_eq!(done["answer"], "An answer.");
    for key in ["runId", "sessionId", "sources", "usage"] {
        assert!(!done[key].is_null(), "{key} is missing in {done}");
    }
}

fn kind(event: &SseEvent) -> String {
    event.json()["type"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_its_run() {
    let model = ScriptedModel::start().await;
    model.then(Answer::Slowly(
        vec!["slow ".to_owned(), "but ".to_owned(), "sure".to_owned()],
        Duration::from_millis(200),
    ));
    let host = host(&model).await;
    let mut stream = host.stream("/v1/agent/stream", &[("query", "q"), ("mode", "chat"), ("sessionId", "left")]).await;
    model.received(1).await;
    stream.next().await.unwrap();
    drop(stream);
    // The next message of the same session waits for the one before it, and sees what it said.
    model.then(Answer::text("Yes."));
    host.post_ok("/v1/agent/run", &json!({"query": "And?", "mode": "chat", "sessionId": "left"})).await;
    assert!(model.requests()[1]["messages"].to_string().contains("slow but sure"), "{:#}", model.requests()[1]);
}

#[tokio::test]
async fn a_failed_run_is_an_error_of_the_model_and_its_log_is_kept() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Refusal(axum::http::StatusCode::UNAUTHORIZED));
    let host = host(&model).await;
    let response = host.post("/v1/agent/run", &chat()).await;
    assert!(response.status().is_server_error(), "{}", response.status());
    let error = response.json::<Value>().await.unwrap()["error"].clone();
    assert_eq!(error["type"], "server_error", "{error}");
    let run: Value = host.get(&format!("/v1/runs/{}", error["runId"].as_str().unwrap())).await.json().await.unwrap();
    assert_eq!(run["status"], "failed", "{run}");
}

#[tokio::test]
async fn a_runs_log_is_read_by_pages_followed_from_any_event_and_nobody_elses() {
    let (data, printed) = prepared(&[&["tenant", "create", "other"], &["key", "create", "--tenant", "other"]]).await;
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let host = Host::builder().model(&model).data(data).start().await;
    let id = host.post_ok("/v1/agent/run", &chat()).await["runId"].as_str().unwrap().to_owned();
    let path = format!("/v1/runs/{id}/events");

    let page: Value = host.get(&format!("{path}?limit=2")).await.json().await.unwrap();
    assert_eq!((page["data"].as_array().unwrap().len(), &page["next"]), (2, &json!("2")), "{page}");
    let all: Value = host.get(&path).await.json().await.unwrap();
    let all = all["data"].as_array().unwrap();
    assert_eq!(all.last().unwrap()["type"], "run.completed");
    assert!(all.iter().zip(1_u64..).all(|(event, seq)| event["seq"] == seq), "{all:?}");

    let request = host.request(Method::GET, &path).header("accept", "text/event-stream").header("last-event-id", "1");
    let events = vivarium_tests::SseStream::new(host.send(request).await).rest().await;
    assert_eq!(events[0].id.as_deref(), Some("2"));
    let is_logged = |event: &&SseEvent| event.event.as_deref() != Some("token");
    assert_eq!(events.iter().filter(is_logged).map(SseEvent::json).collect::<Vec<_>>(), all[1..]);

    for path in [path.clone(), format!("/v1/runs/{id}")] {
        let foreign = shown(host.send(host.client().get(host.url(&path)).bearer_auth(&printed[1])).await).await;
        let unknown = host.get(&path.replace(&id, "01900000-0000-7000-8000-000000000000")).await;
        assert_eq!(foreign, shown(unknown).await);
        assert!(foreign.starts_with("404 "), "{foreign}");
    }
    assert_eq!(host.post(&format!("/v1/runs/{id}/cancel"), &json!({})).await.status().as_u16(), 409);
}

#[tokio::test]
async fn a_cancelled_run_ends_its_stream_with_an_error() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Silence);
    let host = host(&model).await;
    let request = host.request(Method::GET, "/v1/agent/stream?query=q&mode=chat&sessionId=s");
    let waiting = tokio::spawn(request.send());
    model.received(1).await;
    let response = soon("the stream's head", waiting).await.unwrap().unwrap();
    let id = header(response.headers(), "x-run-id").to_owned();
    assert_eq!(host.post(&format!("/v1/runs/{id}/cancel"), &json!({})).await.status().as_u16(), 200);
    let events = vivarium_tests::SseStream::new(response).rest().await;
    assert_eq!(events.last().unwrap().data, "[DONE]");
    assert_eq!(events[events.len() - 2].json()["code"], "run_cancelled");
}

#[tokio::test]
async fn a_stop_ends_open_streams_with_an_error_and_the_mark() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Silence);
    let host = Host::builder().model(&model).environment("VIVARIUM_DRAIN_SECONDS", "0").start().await;
    let stream = host.stream("/v1/agent/stream", &[("query", "q"), ("mode", "chat")]).await;
    model.received(1).await;
    host.terminate();
    let events = stream.rest().await;
    assert_eq!(events.last().unwrap().data, "[DONE]");
    assert_eq!(kind(&events[events.len() - 2]), "error");
    host.says("stopped").await;
}

#[tokio::test]
async fn revoking_a_key_ends_its_open_streams_and_refuses_it_from_then_on() {
    let (data, printed) = prepared(&[&["key", "create", "--name", "leaked"], &["key", "list"]]).await;
    let leaked = printed[0].clone();
    let id = printed[1].lines().find(|line| line.ends_with("leaked")).unwrap().split('\t').next().unwrap();
    let model = ScriptedModel::start().await;
    model.always(Answer::Silence);
    let host = Host::builder().model(&model).data(data).start().await;
    let open = host.client().get(host.url("/v1/agent/stream?query=q&mode=chat")).bearer_auth(&leaked);
    let stream = vivarium_tests::SseStream::new(host.send(open).await);
    model.received(1).await;

    let path = format!("/v1/keys/{id}");
    let by_itself = host.client().delete(host.url(&path)).bearer_auth(&leaked);
    assert_snapshot!(shown(host.send(by_itself).await).await, @r#"403 {"error":{"message":"this needs a key with the scope keys","code":"scope_missing"}}"#);
    assert_eq!(host.send(host.request(Method::DELETE, &path)).await.status().as_u16(), 204);

    let events = stream.rest().await;
    assert_eq!(events.last().unwrap().data, "[DONE]");
    assert_eq!(events[events.len() - 2].json()["code"], "api_key_revoked");
    let again = host.client().get(host.url("/v1/rate-limit")).bearer_auth(&leaked);
    assert_snapshot!(shown(host.send(again).await).await, @r#"401 {"error":{"message":"this API key has been revoked","type":"authentication_error","code":"api_key_revoked","param":null}}"#);
    assert_eq!(host.send(host.request(Method::DELETE, &path)).await.status().as_u16(), 404, "it is revoked already");
}
