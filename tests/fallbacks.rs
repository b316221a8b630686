//! A run that names several models goes on with the next one when one can not answer, and says so; how models are to be asked
//! reaches them; what they cost is told by who has answered.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, SseStream};

const PRICES: &str = r#"
    [prices."openai/second"]
    input = "2"
    output = "10"
"#;

fn quota() -> Answer {
    let error = json!({"message": "You exceeded your current quota", "code": "insufficient_quota"});
    Answer::Error(StatusCode::TOO_MANY_REQUESTS, json!({"error": error}))
}

/// The first model has no quota left, and the second answers.
fn second_answers(request: &Value) -> Answer {
    if request["model"] == "first" { quota() } else { Answer::text("Here I am.") }
}

fn asking(input: &str) -> Value {
    json!({"input": input, "mode": "chat", "tools": [], "model": "openai/first", "fallbackModels": ["openai/second"]})
}

async fn log(host: &Host, run: &Value) -> Vec<Value> {
    let path = format!("/v1/runs/{}/events?limit=1000", run["id"].as_str().unwrap());
    host.json(Method::GET, &path, None).await.1["data"].as_array().unwrap().clone()
}

fn of_type<'a>(log: &'a [Value], kind: &str) -> Vec<&'a Value> {
    log.iter().filter(|event| event["type"] == kind).collect()
}

fn asked(model: &ScriptedModel) -> Vec<String> {
    model.requests().iter().map(|request| request["model"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_next_model_answers_when_one_is_not_available_and_is_paid_for() {
    let model = ScriptedModel::start().await;
    model.always(Answer::By(second_answers));
    let host = Host::builder().model(&model).config(PRICES).start().await;
    let run = host.post_ok("/v1/runs", &asking("Hello?")).await;
    assert_eq!((&run["status"], &run["outcome"]["answer"]), (&json!("completed"), &json!("Here I am.")));
    assert_eq!(run["model"], "openai/first");
    assert_eq!(run["cost"], "0.00005", "10 tokens read and 3 written");
    let usage = json!({"inputTokens": 10, "outputTokens": 3});
    let of_second = json!([{"model": "openai/second", "calls": 1, "usage": usage, "cost": "0.00005"}]);
    assert_eq!(run["usageByModel"], of_second);
    let log = log(&host, &run).await;
    let begun: Vec<_> = of_type(&log, "model.started").iter().map(|event| event["model"].clone()).collect();
    assert_eq!(begun, ["openai/first", "openai/second"]);
    let ended = of_type(&log, "model.completed");
    assert_eq!((&ended[0]["fallback"], &ended[0]["error"]["code"]), (&json!("openai/second"), &json!("unavailable")));
    assert!(ended[1].get("fallback").is_none());
    let end = log.last().unwrap();
    assert_eq!((&end["usage"], &end["cost"]), (&usage, &json!("0.00005")));
    let report = host.json(Method::GET, "/v1/usage?groupBy=model", None).await.1;
    let tokens: Vec<_> =
        report["data"].as_array().unwrap().iter().map(|line| (&line["group"], &line["inputTokens"])).collect();
    assert!(tokens.contains(&(&json!("openai/second"), &json!(10))), "{report}");

    let agent = json!({"name": "helper", "model": "openai/first", "fallbackModels": ["openai/second"]});
    assert_eq!(host.json(Method::POST, "/v1/agents", Some(&agent)).await.0, 201);
    let made = host.post_ok("/v1/runs", &json!({"input": "Hello?", "agentId": "helper"})).await;
    assert_eq!(made["usageByModel"][0]["model"], "openai/second");
}

#[tokio::test]
async fn a_replay_takes_the_same_way_and_a_killed_host_does_not_ask_the_first_again() {
    let model = ScriptedModel::start().await;
    model.then(quota()).then(Answer::Silence);
    let host = Host::builder().model(&model).start().await;
    let mut body = asking("Hello?");
    body["background"] = json!(true);
    let run = host.json(Method::POST, "/v1/runs", Some(&body)).await.1;
    model.received(2).await;
    model.then(Answer::text("At last."));
    let data = host.kill().await;
    let host = Host::builder().model(&model).data(data).start().await;
    let path = format!("/v1/runs/{}/events", run["id"].as_str().unwrap());
    let events = host.request(Method::GET, &path).header("accept", "text/event-stream");
    let events = SseStream::new(host.send(events).await).rest().await;
    assert_eq!(events.last().unwrap().json()["outcome"]["answer"], "At last.");
    assert_eq!(asked(&model), ["first", "second", "second"]);
    let keys = model.idempotency_keys();
    assert_eq!(keys[1], keys[2], "both are attempts of one call");
    let log = log(&host, &run).await;
    assert_eq!((of_type(&log, "model.started").len(), of_type(&log, "model.completed").len()), (2, 2), "{log:#?}");
    let (server, run) = (host.url(""), run["id"].as_str().unwrap());
    let replayed = Cli::on(host.data()).run(&["replay", "--server", &server, "--key", host.key(), run]).await;
    assert!(replayed.status.success(), "{}", String::from_utf8_lossy(&replayed.stderr));
}

#[tokio::test]
async fn a_wrong_request_and_an_answer_that_was_seen_in_part_are_not_asked_of_another() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    model.then(Answer::Refusal(StatusCode::BAD_REQUEST));
    let run = host.post_ok("/v1/runs", &asking("Hello?")).await;
    assert_eq!(run["status"], "failed", "{run}");
    model.then(Answer::Cut(vec!["Half ".to_owned(), "an ".to_owned()]));
    let run = host.post_ok("/v1/runs", &asking("Hello?")).await;
    assert_eq!(run["status"], "failed", "{run}");
    assert!(run["failure"]["message"].as_str().unwrap().contains("in the middle of its answer"), "{run}");
    assert_eq!(asked(&model), ["first", "first"]);
}

#[tokio::test]
async fn a_model_that_takes_too_long_is_given_up_in_its_time() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    model.then(Answer::Silence).then(Answer::text("Quick."));
    let began = Instant::now();
    let mut body = asking("Hello?");
    body["modelTimeoutSeconds"] = json!(1);
    let run = host.post_ok("/v1/runs", &body).await;
    assert_eq!(run["outcome"]["answer"], "Quick.", "{run}");
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    // One that drips is not done in time either.
    let drops = vec!["drip ".to_owned(); 100];
    model.then(Answer::Slowly(drops, Duration::from_millis(200)));
    let run = host.post_ok("/v1/runs", &body).await;
    assert_eq!(run["status"], "failed", "{run}");
    let message = run["failure"]["message"].as_str().unwrap();
    assert!(message.contains("within"), "{message}");
}

#[tokio::test]
async fn the_operators_bound_on_a_model_counts_where_nobody_says() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Silence);
    let host = Host::builder().model(&model).config("model_first_token_seconds = 1\n").start().await;
    let run = host.post_ok("/v1/runs", &json!({"input": "Hello?", "mode": "chat", "tools": []})).await;
    assert!(run["failure"]["message"].as_str().unwrap().contains("did not begin to answer within 1 s"), "{run}");
}

#[tokio::test]
async fn how_a_model_is_to_answer_reaches_it_from_the_agent_and_the_run() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("So."));
    let host = Host::builder().model(&model).start().await;
    let agent = json!({"name": "cool", "tools": [], "modelOptions": {
        "temperature": 0.2, "topP": 0.5, "stop": ["END"], "seed": 7, "reasoningEffort": "low",
        "vendor": {"openai": {"verbosity": "low"}, "anthropic": {"top_k": 3}},
    }});
    let (status, made) = host.json(Method::POST, "/v1/agents", Some(&agent)).await;
    assert_eq!((status, &made["modelOptions"]), (201, &agent["modelOptions"]));
    let run = json!({"input": "Hello?", "agentId": "cool", "modelOptions": {"temperature": 1.5}});
    host.post_ok("/v1/runs", &run).await;
    let told = model.requests().last().unwrap().clone();
    assert_eq!((&told["temperature"], &told["top_p"], &told["stop"]), (&json!(1.5), &json!(0.5), &json!(["END"])));
    assert_eq!((&told["seed"], &told["reasoning_effort"]), (&json!(7), &json!("low")));
    assert_eq!((&told["verbosity"], told.get("top_k")), (&json!("low"), None));

    for (wrong, field) in [
        (json!({"modelOptions": {"temperature": 3}}), "modelOptions.temperature"),
        (json!({"modelOptions": {"vendor": {"openai": {"logit_bias": {}}}}}), "modelOptions.vendor.openai.logit_bias"),
        (json!({"modelTimeoutSeconds": 0}), "modelTimeoutSeconds"),
        (json!({"fallbackModels": ["openai/a", "openai/b", "openai/c", "openai/d"]}), "fallbackModels"),
    ] {
        for path in ["/v1/runs", "/v1/agents"] {
            let mut body = if path == "/v1/runs" { json!({"input": "Hello?"}) } else { json!({"name": "wrong"}) };
            body.as_object_mut().unwrap().extend(wrong.as_object().unwrap().clone());
            let (status, answer) = host.json(Method::POST, path, Some(&body)).await;
            assert_eq!(
                (status, &answer["error"]["details"]["param"]),
                (400, &json!(field)),
                "{path} {wrong}: {answer}"
            );
        }
    }
    let unknown = json!({"input": "Hello?", "fallbackModels": ["nobody/x"]});
    let (status, answer) = host.json(Method::POST, "/v1/runs", Some(&unknown)).await;
    assert_eq!(status, 400, "{answer}");
    assert!(answer["error"]["message"].as_str().unwrap().contains("nobody"), "{answer}");
}

#[tokio::test]
async fn what_an_answer_has_used_and_cost_is_told_with_it() {
    let model = ScriptedModel::start().await;
    model.then(Answer::tool("echo", json!({"a": 1}))).then(Answer::text("The tool said so."));
    let config = "[prices.\"openai/scripted\"]\ninput = \"2\"\noutput = \"10\"\n";
    let host = Host::builder().model(&model).config(config).start().await;
    host.install(tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", ECHO)).await;
    let events =
        host.stream("/v1/agent/stream", &[("query", "Use the tool."), ("mode", "chat"), ("maxCycles", "3")]).await;
    let events = events.rest().await;
    let done = events[events.len() - 2].json();
    assert_eq!(done["usage"], json!({"inputTokens": 20, "outputTokens": 5, "totalTokens": 25, "cost": "0.00009"}));
}

#[tokio::test]
async fn the_command_line_tells_what_a_run_has_used() {
    let folder = tempfile::tempdir().unwrap();
    let output = Cli::on(folder.path()).run(&["run", "Hello?", "--mode", "chat"]).await;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{told}");
    assert!(told.contains(" tokens read, ") && told.contains(" written"), "{told}");
}
