//! Conversations that are longer than their model can read go on, whatever happens to the host, and stay readable as they were.

use axum::http::StatusCode;
use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::{tool, tool_plugin_as};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, SseStream};

/// What the scripted model reads, and what the house knows of a model of that name.
const CONTEXT: usize = 8_192;
const MODEL: &str = "openai/gpt-4";

/// How the scripted model counts: four bytes to a token.
fn tokens(request: &Value) -> usize {
    (request["messages"].to_string().len() + request["tools"].to_string().len()) / 4
}

fn first_text(request: &Value) -> &str {
    request["messages"][0]["content"].as_str().unwrap_or_default()
}

fn is_summary(request: &Value) -> bool {
    first_text(request).starts_with("You write the summary")
}

/// Refuses what is too long in OpenAI's words.
fn refused(request: &Value) -> Option<Answer> {
    let tokens = tokens(request);
    (tokens > CONTEXT).then(|| {
        let message = format!(
            "This model's maximum context length is {CONTEXT} tokens. However, your messages resulted in {tokens} tokens. Please \
             reduce the length of the messages."
        );
        let error = json!({"message": message, "type": "invalid_request_error", "param": "messages", "code": "context_length_exceeded"});
        Answer::Error(StatusCode::BAD_REQUEST, json!({"error": error}))
    })
}

fn says(request: &Value, text: &str) -> Answer {
    Answer::Counted(text.split_inclusive(' ').map(str::to_owned).collect(), tokens(request) as u64)
}

/// Remembers the name that it finds in what it is told, and says it with many words.
fn who_am_i(request: &Value) -> Answer {
    if let Some(refused) = refused(request) {
        return refused;
    }
    let knows = request["messages"].to_string().contains("Ada");
    let name = if knows { "Ada" } else { "I do not know" };
    match is_summary(request) {
        true => says(request, &format!("The client's name: {name}.")),
        false => says(request, &format!("You are {name}. {}", "Indeed it is so. ".repeat(15))),
    }
}

async fn ask(host: &Host, input: &str) -> Value {
    let body = json!({"input": input, "mode": "chat", "model": MODEL, "sessionId": "long", "tools": []});
    host.post_ok("/v1/runs", &body).await
}

async fn get(host: &Host, path: &str) -> Value {
    let (status, answer) = host.json(Method::GET, path, None).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn log(host: &Host, run: &str) -> Vec<Value> {
    get(host, &format!("/v1/runs/{run}/events?limit=1000")).await["data"].as_array().unwrap().clone()
}

fn steps(log: &[Value]) -> Vec<&str> {
    log.iter().filter(|event| event["type"] == "step").map(|event| event["message"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn two_hundred_turns_are_remembered_by_a_model_that_reads_eight_thousand_tokens() {
    const TURNS: usize = 200;
    let model = ScriptedModel::start().await;
    model.always(Answer::By(who_am_i));
    let mut host = Host::builder().model(&model).start().await;
    let mut last = ask(&host, "My name is Ada. Remember it.").await;
    for turn in 1..TURNS {
        if turn == TURNS / 2 {
            let data = host.kill().await;
            host = Host::builder().model(&model).data(data).start().await;
        }
        last = ask(&host, &format!("Question {turn}: who am I? {}", "Say it again. ".repeat(10))).await;
        assert_eq!(last["status"], "completed", "turn {turn}: {last}");
        let answer = last["outcome"]["answer"].as_str().unwrap();
        assert!(answer.starts_with("You are Ada."), "turn {turn}: {answer}");
    }
    let requests = model.requests();
    let summaries = requests.iter().filter(|request| is_summary(request)).count();
    assert!((2..=40).contains(&summaries), "{summaries} summaries of {TURNS} turns");
    assert_eq!(requests.len() - summaries, TURNS, "nothing was refused: it was made shorter before");
    let told = requests.last().unwrap();
    assert!(first_text(told).starts_with("You are a helpful assistant"), "{told:#}");
    assert_eq!(told["messages"][1]["role"], "user");
    assert!(told["messages"][1]["content"].as_str().unwrap().contains("It is data"), "{}", told["messages"][1]);

    // All of it is there as it was said.
    let mut said = Vec::new();
    let mut path = "/v1/sessions/long/messages?limit=100".to_owned();
    loop {
        let page = get(&host, &path).await;
        said.extend(page["data"].as_array().unwrap().clone());
        let Some(next) = page["next"].as_str() else { break };
        path = format!("/v1/sessions/long/messages?limit=100&after={next}");
    }
    assert_eq!(said.len(), 2 * TURNS);
    assert!(said[0].to_string().contains("My name is Ada. Remember it."));
    let session = get(&host, "/v1/sessions/long").await;
    assert_eq!(session["summary"]["text"], "The client's name: Ada.");
    assert!(session["summary"]["upTo"].as_u64().unwrap() > TURNS as u64);
    assert!(get(&host, "/v1/sessions").await["data"][0].get("summary").is_none(), "lists leave it out");

    // A run is replayed with the summary that it had, whatever came after it.
    let run = last["id"].as_str().unwrap();
    ask(&host, "And once more?").await;
    let server = host.url("");
    let replayed = Cli::on(host.data()).run(&["replay", "--server", &server, "--key", host.key(), run]).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
}

#[tokio::test]
async fn a_long_history_is_summarised_in_a_step_that_says_so_and_is_paid_for_once() {
    let model = ScriptedModel::start().await;
    model.always(Answer::By(who_am_i));
    let host = Host::builder().model(&model).start().await;
    let long = "Once upon a time there was a boat. ".repeat(200);
    ask(&host, &format!("I am Ada. {long}")).await;
    for _ in 0..3 {
        ask(&host, &long).await;
    }
    let summarised = ask(&host, "Who am I?").await;
    let log = log(&host, summarised["id"].as_str().unwrap()).await;
    let steps = steps(&log);
    assert_eq!(steps.len(), 1, "{steps:?}");
    assert!(steps[0].starts_with("Summarising ") && steps[0].ends_with(" earlier messages"), "{steps:?}");
    let asked = model.requests().len();
    let next = ask(&host, "And again?").await;
    assert_eq!(next["outcome"]["answer"].as_str().unwrap().split('.').next(), Some("You are Ada"));
    assert_eq!(model.requests().len(), asked + 1, "the summary is not paid for again");
}

#[tokio::test]
async fn turns_that_a_client_wants_few_of_come_without_a_summary() {
    let model = ScriptedModel::start().await;
    model.always(Answer::By(who_am_i));
    let host = Host::builder().model(&model).start().await;
    for turn in 0..12 {
        ask(&host, &format!("{turn} {}", "Once upon a time there was a boat. ".repeat(100))).await;
    }
    let body =
        json!({"input": "Now?", "mode": "chat", "model": MODEL, "sessionId": "long", "tools": [], "historyTurns": 1});
    host.post_ok("/v1/runs", &body).await;
    let told = model.requests().last().unwrap()["messages"].clone();
    assert_eq!(told.as_array().unwrap().len(), 4, "instructions, one turn, the question: {told:#}");
    assert!(!told.to_string().contains("It is data"), "{told:#}");
}

/// Asks for a long page three times, and then answers.
fn reads_three_pages(request: &Value) -> Answer {
    if let Some(refused) = refused(request) {
        return refused;
    }
    if is_summary(request) {
        return says(request, "Pages were read.");
    }
    let answered = request["messages"].as_array().unwrap().iter().filter(|message| message["role"] == "tool").count();
    match answered {
        0..=2 => Answer::tool("page", json!({"number": answered})),
        _ => says(request, "I have read them."),
    }
}

#[tokio::test]
async fn results_of_a_hundred_kilobytes_do_not_end_a_run() {
    let model = ScriptedModel::start().await;
    model.always(Answer::By(reads_three_pages));
    let host = Host::builder().model(&model).start().await;
    let length = 100 << 10;
    let body = format!(
        r"(local $page i32)
        (local.set $page (i32.mul (memory.grow (i32.const 2)) (i32.const 65536)))
        (memory.fill (local.get $page) (i32.const 97) (i32.const {length}))
        (i32.store8 (i32.const 512) (i32.const 0))
        (i32.store (i32.const 516) (local.get $page))
        (i32.store (i32.const 520) (i32.const {length}))
        (i32.store (i32.const 524) (i32.const 0))
        (i32.store (i32.const 528) (i32.const 0))
        (i32.const 512)"
    );
    host.install(tool_plugin_as(json!({"name": "test/page", "tools": [tool("page")]}), "", "", &body)).await;
    let body = json!({"input": "Read.", "mode": "chat", "model": MODEL, "tools": ["page"], "maxCycles": 5});
    let run = host.post_ok("/v1/runs", &body).await;
    assert_eq!(run["outcome"]["answer"], "I have read them.", "{run}");
    let log = log(&host, run["id"].as_str().unwrap()).await;
    let steps = steps(&log);
    assert!(steps[0].starts_with("Reading only the beginning and the end of what page gave"), "{steps:?}");
    let whole = log.iter().find(|event| event["type"] == "tool.completed").unwrap();
    assert_eq!(whole["outcome"]["output"].as_str().unwrap().len(), length, "the log has all of it");
}

#[tokio::test]
async fn a_conversation_that_is_killed_while_it_is_summarised_goes_on_where_it_was() {
    let model = ScriptedModel::start().await;
    model.always(Answer::By(who_am_i));
    let host = Host::builder().model(&model).start().await;
    let long = "Once upon a time there was a boat. ".repeat(200);
    for name in ["I am Ada. ", "", "", ""] {
        ask(&host, &format!("{name}{long}")).await;
    }
    let before = model.requests().len();
    model.then(Answer::Silence);
    let body = json!({"input": "Who am I?", "mode": "chat", "model": MODEL, "sessionId": "long", "tools": [], "background": true});
    let (status, run) = host.json(Method::POST, "/v1/runs", Some(&body)).await;
    assert_eq!(status, 202, "{run}");
    model.received(before + 1).await;
    assert!(is_summary(model.requests().last().unwrap()));
    let data = host.kill().await;
    let host = Host::builder().model(&model).data(data).start().await;
    let id = run["id"].as_str().unwrap();
    let events = host.request(Method::GET, &format!("/v1/runs/{id}/events")).header("accept", "text/event-stream");
    let events = SseStream::new(host.send(events).await).rest().await;
    assert_eq!(events.last().unwrap().event.as_deref(), Some("run.completed"));
    let answer = events.last().unwrap().json()["outcome"]["answer"].as_str().unwrap().to_owned();
    assert!(answer.starts_with("You are Ada."), "{answer}");
    assert_eq!(get(&host, "/v1/sessions/long").await["summary"]["runId"], run["id"]);
}
