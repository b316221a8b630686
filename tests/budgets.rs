//! Budgets hold however many calls are made at once: what would go beyond one is refused before it is made.

use futures::future::join_all;
use insta::assert_snapshot;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Host, ScriptedModel, soon};

/// What the scripted model counts for one answer: 10 tokens of input, and each word.
const WORDS: usize = 1000;
const CALL: u64 = 10 + WORDS as u64;

/// A token costs a millionth of a dollar, and an answer is bounded by as many tokens as it has.
const CONFIG: &str = r#"
    budgeted_output_tokens = 1000
    [prices."openai/scripted"]
    input = "1"
    output = "1"
"#;

async fn host(model: &ScriptedModel, config: &str) -> Host {
    model.always(Answer::text(&"word ".repeat(WORDS)));
    Host::builder().model(model).config(&format!("{config}{CONFIG}")).start().await
}

async fn ok(host: &Host, status: u16, method: Method, path: &str, body: Option<Value>) -> Value {
    let (found, answer) = host.json(method.clone(), path, body.as_ref()).await;
    assert_eq!(found, status, "{method} {path}: {answer}");
    answer
}

async fn set_budget(host: &Host, budget: Value) {
    ok(host, 200, Method::PATCH, "/v1/admin/tenants/default", Some(json!({"budget": budget}))).await;
}

fn question() -> Value {
    json!({"input": "Say many words.", "mode": "chat", "tools": []})
}

/// 64 runs at once. Gives how many completed; the others were refused, or failed, for this reason.
async fn sixty_four(host: &Host, key: &str, code: &str) -> usize {
    let runs = (0..64).map(|_| async move { host.json_as(key, Method::POST, "/v1/runs", Some(&question())).await });
    let mut completed = 0;
    for (status, answer) in soon("64 runs", join_all(runs)).await {
        match (status, answer["status"].as_str()) {
            (200, Some("completed")) => completed += 1,
            (200, Some("failed")) => assert_eq!(answer["failure"]["code"], "budget_exhausted", "{answer}"),
            _ => assert_eq!((status, answer["error"]["code"].as_str()), (429, Some(code)), "{answer}"),
        }
    }
    completed
}

#[tokio::test]
async fn sixty_four_runs_at_once_never_use_more_tokens_than_their_budget() {
    let model = ScriptedModel::start().await;
    let host = host(&model, "").await;
    let budget = 30_000;
    set_budget(&host, json!({"tokensPerDay": budget})).await;
    let (mut completed, mut rounds) = (0, 0);
    loop {
        let more = sixty_four(&host, host.key(), "tokens_exhausted").await;
        (completed, rounds) = (completed + more, rounds + 1);
        let used = CALL * completed as u64;
        assert!(used <= budget, "{used} tokens of {budget}");
        if more == 0 {
            break;
        }
    }
    assert!(rounds >= 2 && completed >= 8, "{completed} of {rounds} rounds");
    assert_eq!(model.requests().len(), completed, "what was refused was not asked");
    let used = CALL * completed as u64;
    let usage = ok(&host, 200, Method::GET, "/v1/usage", None).await;
    assert_eq!(
        usage["total"]["inputTokens"].as_u64().unwrap() + usage["total"]["outputTokens"].as_u64().unwrap(),
        used
    );
    let left = &usage["budgets"][0];
    assert_eq!(
        (&left["used"], &left["reserved"]),
        (&json!(used.to_string()), &json!("0")),
        "all is given back: {usage}"
    );
    assert!(model.requests().iter().all(|request| request["max_tokens"] == 1000), "the provider is told of the bound");
}

#[tokio::test]
async fn sixty_four_runs_at_once_never_cost_more_than_their_key_may_spend_and_another_key_goes_on() {
    let model = ScriptedModel::start().await;
    let host = host(&model, "").await;
    let key = async |budget: Value| {
        let new = json!({"name": "one", "scopes": ["runs"], "budget": budget});
        ok(&host, 201, Method::POST, "/v1/keys", Some(new)).await
    };
    let (poor, other) = (key(json!({"moneyPerMonth": "0.015"})).await, key(json!({})).await);
    let text = |key: &Value| key["key"].as_str().unwrap().to_owned();
    let completed = sixty_four(&host, &text(&poor), "insufficient_funds").await;
    assert!(completed >= 1 && model.requests().len() == completed);
    assert!(CALL * completed as u64 <= 15_000, "{completed} answers of {CALL} millionths of a dollar");
    assert_eq!(host.json_as(&text(&other), Method::POST, "/v1/runs", Some(&question())).await.1["status"], "completed");
    // More money counts at once.
    let path = format!("/v1/keys/{}", poor["id"].as_str().unwrap());
    ok(&host, 200, Method::PATCH, &path, Some(json!({"budget": {"moneyPerMonth": "100"}}))).await;
    assert_eq!(host.json_as(&text(&poor), Method::POST, "/v1/runs", Some(&question())).await.1["status"], "completed");
}

#[tokio::test]
async fn an_agents_budget_is_spent_by_its_own_runs_alone_and_outlives_the_host() {
    let model = ScriptedModel::start().await;
    let host = host(&model, "").await;
    let agent = async |name: &str| {
        let config = json!({"name": name, "tools": [], "budget": {"tokensPerDay": 1000}});
        ok(&host, 201, Method::POST, "/v1/agents", Some(config)).await["id"].as_str().unwrap().to_owned()
    };
    let (first, second) = (agent("first").await, agent("second").await);
    // Not even one question fits: a short one and an answer of 1000 tokens.
    let failed = host.post_ok("/v1/runs", &json!({"agentId": first, "input": "Hello?"})).await;
    let spent = &failed["failure"]["budget"];
    assert_eq!(
        (&failed["failure"]["code"], &spent["owner"]),
        (&json!("budget_exhausted"), &json!("agent")),
        "{failed}"
    );
    assert_eq!((&spent["limit"], &spent["left"], &spent["used"]), (&json!("1000"), &json!("1000"), &json!("0")));
    assert!(spent["wanted"].as_str().unwrap().parse::<u64>().unwrap() > 1000);
    assert!(model.requests().is_empty());
    for agent in [&first, &second] {
        let path = format!("/v1/agents/{agent}");
        ok(&host, 200, Method::PATCH, &path, Some(json!({"budget": {"tokensPerDay": CALL + 6000}}))).await;
    }
    let run = json!({"agentId": first, "input": "Hello?"});
    while host.post_ok("/v1/runs", &run).await["status"] == "completed" {}
    let asked = model.requests().len();
    assert!((1..8).contains(&asked), "{asked}");
    let data = host.kill().await;
    let host = Host::builder().model(&model).data(data).config(CONFIG).start().await;
    assert_eq!(host.post_ok("/v1/runs", &run).await["failure"]["code"], "budget_exhausted");
    assert_eq!(model.requests().len(), asked, "what was used before the host was killed is known");
    assert_eq!(host.post_ok("/v1/runs", &json!({"agentId": second, "input": "Hello?"})).await["status"], "completed");
}

#[tokio::test]
async fn a_tool_call_for_which_no_time_is_left_is_answered_in_words_and_the_run_goes_on() {
    let model = ScriptedModel::start().await;
    let host = host(&model, "").await;
    host.install(tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", ECHO)).await;
    set_budget(&host, json!({"toolSecondsPerDay": 59})).await;
    model.then(Answer::tool("echo", json!({}))).then(Answer::text("It could not be called."));
    let run = host.post_ok("/v1/runs", &json!({"input": "Use the tool.", "mode": "chat"})).await;
    assert_eq!(run["outcome"]["answer"], "It could not be called.");
    let told = model.requests()[1]["messages"].to_string();
    assert!(told.contains("budget of 59 seconds of tool calls a day is spent") && told.contains("up to 60"), "{told}");
    let refused = host.post("/v1/tools/echo/call", &json!({"arguments": {}})).await;
    assert_eq!(refused.status().as_u16(), 429);
    assert_eq!(refused.json::<Value>().await.unwrap()["error"]["code"], "tool_seconds_exhausted");
    set_budget(&host, json!({"toolSecondsPerDay": 61})).await;
    host.call_tool("echo", json!({})).await;
    let usage = ok(&host, 200, Method::GET, "/v1/usage", None).await;
    assert_eq!(usage["total"]["toolCalls"], 1, "what was refused was not called: {usage}");
}

#[tokio::test]
async fn a_question_that_is_broken_off_is_counted_as_all_that_it_might_have_taken() {
    let model = ScriptedModel::start().await;
    let host = host(&model, "").await;
    set_budget(&host, json!({"tokensPerDay": 1_000_000})).await;
    model.then(Answer::Silence);
    let mut body = question();
    body["background"] = json!(true);
    let run = ok(&host, 202, Method::POST, "/v1/runs", Some(body)).await;
    model.received(1).await;
    let reserved = async || ok(&host, 200, Method::GET, "/v1/usage", None).await["budgets"][0].clone();
    let before = reserved().await;
    assert_eq!(before["used"], "0");
    ok(&host, 200, Method::POST, &format!("/v1/runs/{}/cancel", run["id"].as_str().unwrap()), Some(json!({}))).await;
    model.given_up(1).await;
    let after = reserved().await;
    assert_eq!((&after["used"], &after["reserved"]), (&before["reserved"], &json!("0")), "{before} {after}");
    let total = ok(&host, 200, Method::GET, "/v1/usage", None).await["total"].clone();
    assert_eq!((&total["modelCalls"], &total["outputTokens"]), (&json!(1), &json!(1000)), "{total}");
}

#[tokio::test]
async fn a_model_without_a_price_is_not_asked_where_money_is_bounded_unless_the_operator_lets_it() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("Hello."));
    for (setting, status) in [("", 400), ("unpriced_models = 'free'", 200)] {
        let host = Host::builder().model(&model).config(setting).start().await;
        set_budget(&host, json!({"moneyPerDay": "0.01"})).await;
        let (found, answer) = host.json(Method::POST, "/v1/runs", Some(&question())).await;
        assert_eq!(found, status, "{answer}");
        assert_eq!(model.requests().len(), usize::from(status == 200));
        if status == 400 {
            assert!(answer["error"]["message"].as_str().unwrap().contains("has no price"), "{answer}");
        } else {
            let usage = ok(&host, 200, Method::GET, "/v1/usage", None).await;
            assert_eq!((&usage["total"]["unpricedTokens"], &usage["total"]["cost"]), (&json!(11), &json!("0")));
        }
    }
}

/// Status, `Retry-After` in full hours, and body.
async fn shown(response: Response) -> String {
    let status = response.status().as_u16();
    let retry: u64 = response.headers()["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=24 * 3600).contains(&retry), "{retry}");
    let body = response.text().await.unwrap();
    let (start, end) = body.split_once("there again at ").unwrap();
    format!("{status} {start}there again at …{}", &end["2026-11-23T00:00:00Z".len()..])
}

#[tokio::test]
async fn each_dialect_refuses_a_run_for_which_nothing_is_left_in_its_own_form() {
    let model = ScriptedModel::start().await;
    let host = host(&model, "").await;
    let agent = ok(&host, 201, Method::POST, "/v1/agents", Some(json!({"name": "mine"}))).await;
    let agent = agent["id"].as_str().unwrap();
    set_budget(&host, json!({"tokensPerDay": 0})).await;
    let native = shown(host.post("/v1/runs", &question()).await).await;
    assert_snapshot!(native, @r#"429 {"error":{"message":"this tenant's budget of 0 tokens a day is spent: 0 are used, 0 are left; the whole of it is there again at …","code":"tokens_exhausted"}}"#);
    let assisters = shown(host.post("/v1/agent/run", &json!({"query": "Hello?"})).await).await;
    assert_snapshot!(assisters, @r#"429 {"error":{"message":"this tenant's budget of 0 tokens a day is spent: 0 are used, 0 are left; the whole of it is there again at …","type":"tokens_exhausted_error","code":"tokens_exhausted","param":null}}"#);
    let hub =
        shown(host.post(&format!("/api/assistants/{agent}/execute"), &json!({"userInput": "Hello?"})).await).await;
    assert_snapshot!(hub, @r#"429 {"error":{"message":"this tenant's budget of 0 tokens a day is spent: 0 are used, 0 are left; the whole of it is there again at …","code":"RATE_LIMITED"}}"#);
    let messages = json!({"messages": [{"role": "user", "content": "Hello?"}]});
    let make = format!("/api/v2/ai-agents/v1/agents/{agent}/run?teamId=1");
    assert_snapshot!(shown(host.post(&make, &messages).await).await, @r#"429 {"detail":"this tenant's budget of 0 tokens a day is spent: 0 are used, 0 are left; the whole of it is there again at …","message":"Too Many Requests","code":"SC429"}"#);
    let streamed = host.get("/v1/agent/stream?query=Hello").await;
    assert_eq!(streamed.status().as_u16(), 429, "before the stream opens");
    set_budget(&host, json!({"moneyPerDay": "0"})).await;
    let assisters = shown(host.post("/v1/agent/run", &json!({"query": "Hello?"})).await).await;
    assert_snapshot!(assisters, @r#"429 {"error":{"message":"this tenant's budget of 0 US dollars a day is spent: 0 are used, 0 are left; the whole of it is there again at …","type":"insufficient_funds_error","code":"insufficient_funds","param":null}}"#);
    assert!(model.requests().is_empty());
}
