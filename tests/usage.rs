//! What a tenant uses is counted with the events that it comes from: once, whatever happens to the host.

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel};

/// The scripted model counts 10 tokens of input for each call and one of output for each word or tool call.
const PRICES: &str = r#"
    [prices."openai/scripted"]
    input = "2"
    output = "10"
"#;

async fn host(model: &ScriptedModel) -> Host {
    Host::builder().model(model).config(PRICES).start().await
}

async fn install_echo(host: &Host) {
    host.install(tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", ECHO)).await;
}

async fn get(host: &Host, path: &str) -> Value {
    let (status, answer) = host.json(Method::GET, path, None).await;
    assert_eq!(status, 200, "{path}: {answer}");
    answer
}

async fn run(host: &Host, body: Value) -> Value {
    host.post_ok("/v1/runs", &body).await
}

/// The groups of a report with what is said of each.
fn groups<'a>(report: &'a Value, field: &str) -> Vec<(Option<&'a str>, u64)> {
    let data = report["data"].as_array().unwrap();
    data.iter().map(|line| (line["group"].as_str(), line[field].as_u64().unwrap())).collect()
}

#[tokio::test]
async fn what_runs_use_is_counted_by_day_agent_model_plugin_and_key_and_each_run_says_what_it_cost() {
    let model = ScriptedModel::start().await;
    let host = host(&model).await;
    install_echo(&host).await;
    let agent = host.json(Method::POST, "/v1/agents", Some(&json!({"name": "mine"}))).await.1;
    let agent_id = agent["id"].as_str().unwrap();

    model.then(Answer::tool("echo", json!({}))).then(Answer::text("It said nothing."));
    let first = run(&host, json!({"input": "Use the tool.", "mode": "chat"})).await;
    assert_eq!(first["usage"], json!({"inputTokens": 20, "outputTokens": 4}));
    assert_eq!(first["cost"], "0.00008", "20 tokens read at 2 and 4 written at 10 dollars for a million");
    model.then(Answer::text("Hello."));
    let second = run(&host, json!({"input": "Hello?", "agentId": agent_id})).await;
    assert_eq!(second["cost"], "0.00003");
    assert_eq!(second["key"], first["key"]);

    let report = get(&host, "/v1/usage").await;
    let total = &report["total"];
    assert_eq!(
        (&total["runs"], &total["modelCalls"], &total["toolCalls"]),
        (&json!(2), &json!(3), &json!(1)),
        "{report}"
    );
    assert_eq!((&total["inputTokens"], &total["outputTokens"]), (&json!(30), &json!(5)));
    assert_eq!((&total["cost"], &total["unpricedTokens"]), (&json!("0.00011"), &json!(0)));
    assert_eq!(report["data"].as_array().unwrap().len(), 1, "one day: {report}");

    let by_agent = get(&host, "/v1/usage?groupBy=agent").await;
    assert_eq!(groups(&by_agent, "inputTokens"), [(None, 20), (Some(agent_id), 10)]);
    let by_model = get(&host, "/v1/usage?groupBy=model").await;
    assert_eq!(groups(&by_model, "modelCalls"), [(None, 0), (Some("openai/scripted"), 3)]);
    let by_plugin = get(&host, "/v1/usage?groupBy=plugin").await;
    assert_eq!(groups(&by_plugin, "toolCalls"), [(None, 0), (Some("test/echo"), 1)]);
    let by_key = get(&host, "/v1/usage?groupBy=key").await;
    assert_eq!(groups(&by_key, "runs"), [(first["key"].as_str(), 2)]);
    let page = get(&host, "/v1/usage?groupBy=plugin&limit=1").await;
    assert_eq!(groups(&page, "toolCalls"), [(None, 0)]);
    let rest = get(&host, &format!("/v1/usage?groupBy=plugin&cursor={}", page["next"].as_str().unwrap())).await;
    assert_eq!(groups(&rest, "toolCalls"), [(Some("test/echo"), 1)]);
    assert_eq!(rest["next"], Value::Null);

    let none = get(&host, "/v1/usage?from=2020-01-01&to=2020-12-31").await;
    assert_eq!((&none["total"]["runs"], &none["data"]), (&json!(0), &json!([])));
    for wrong in
        ["from=2026-02-30", "to=today", "from=2026-11-02&to=2026-11-01", "from=2000-01-01", "groupBy=week", "by=day"]
    {
        let (status, answer) = host.json(Method::GET, &format!("/v1/usage?{wrong}"), None).await;
        assert_eq!(status, 400, "{wrong}: {answer}");
    }
}

#[tokio::test]
async fn a_tenants_usage_is_its_own_and_the_operators_to_see() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("Hello."));
    let (host, keys) = two_tenants(&model).await;
    for (key, runs) in [(&keys[0], 1), (&keys[1], 2)] {
        for _ in 0..runs {
            let (status, answer) = host.json_as(key, Method::POST, "/v1/runs", Some(&json!({"input": "Hello?"}))).await;
            assert_eq!(status, 200, "{answer}");
        }
        let (_, report) = host.json_as(key, Method::GET, "/v1/usage", None).await;
        assert_eq!(report["total"]["runs"], runs, "{report}");
        let (status, _) = host.json_as(key, Method::GET, "/v1/admin/tenants/beta/usage", None).await;
        assert_eq!(status, 403);
    }
    assert_eq!(get(&host, "/v1/admin/tenants/beta/usage").await["total"]["runs"], 2);
    assert_eq!(get(&host, "/v1/usage").await["total"]["runs"], 0);
    for unknown in ["nobody", "not%20an%20id"] {
        let (status, _) = host.json(Method::GET, &format!("/v1/admin/tenants/{unknown}/usage"), None).await;
        assert_eq!(status, 404);
    }
}

/// A host with the tenants `alpha` and `beta`, and a key of each with the scope `runs`.
async fn two_tenants(model: &ScriptedModel) -> (Host, Vec<String>) {
    let (_, data) = Host::builder().start().await.stop().await;
    let cli = Cli::on(data.path());
    let mut keys = Vec::new();
    for tenant in ["alpha", "beta"] {
        cli.output(&["tenant", "create", tenant, "--tier", "max"]).await;
        keys.push(cli.output(&["key", "create", "--tenant", tenant, "--scope", "runs"]).await);
    }
    (Host::builder().model(model).data(data).config(PRICES).start().await, keys)
}

#[tokio::test]
async fn a_host_that_is_killed_again_and_again_loses_nothing_of_what_was_used_and_counts_nothing_twice() {
    let model = ScriptedModel::start().await;
    let mut host = host(&model).await;
    install_echo(&host).await;
    let body = json!({"mode": "chat", "input": "Use the tool.", "background": true, "maxCycles": 10});
    model.then(Answer::tool("echo", json!({}))).then(Answer::Silence);
    let (_, begun) = host.json(Method::POST, "/v1/runs", Some(&body)).await;
    let path = format!("/v1/runs/{}", begun["id"].as_str().unwrap());
    for round in 1..=3_u64 {
        model.received(2 * usize::try_from(round).unwrap()).await;
        let usage = get(&host, "/v1/usage").await["total"].clone();
        assert_eq!((&usage["runs"], &usage["modelCalls"]), (&json!(1), &json!(round)), "{usage}");
        assert_eq!((&usage["toolCalls"], &usage["inputTokens"]), (&json!(round), &json!(10 * round)), "{usage}");
        if round < 3 {
            model.then(Answer::tool("echo", json!({"again": round}))).then(Answer::Silence);
        } else {
            model.then(Answer::text("Done."));
        }
        let data = host.kill().await;
        host = Host::builder().model(&model).data(data).config(PRICES).start().await;
    }
    let ended = get(&host, &format!("{path}?wait=60")).await;
    assert_eq!((&ended["status"], &ended["usage"]["inputTokens"]), (&json!("completed"), &json!(40)), "{ended}");
    assert_eq!((&ended["cost"], &ended["key"].is_string()), (&json!("0.00012"), &true));
    let usage = get(&host, "/v1/usage").await["total"].clone();
    assert_eq!(
        (&usage["runs"], &usage["modelCalls"], &usage["toolCalls"]),
        (&json!(1), &json!(4), &json!(3)),
        "{usage}"
    );
    assert_eq!((&usage["inputTokens"], &usage["cost"]), (&json!(40), &ended["cost"]));
    let (_, data) = host.stop().await;
    let told = Cli::on(data.path()).output(&["doctor"]).await;
    assert!(told.contains("usage"), "{told}");
}
