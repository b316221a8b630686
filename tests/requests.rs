//! Who may ask, and how: every refusal comes as a status, before any stream opens, and names what is wrong.

use reqwest::StatusCode;
use serde_json::{Value, json};
use tempfile::TempDir;
use vivarium_tests::{Cli, Host};

const RUN: &str = "/v1/agent/run";
const STREAM: &str = "/v1/agent/stream";

/// Status, code and param of a refusal.
async fn refusal(response: reqwest::Response) -> (u16, String, Option<String>) {
    let status = response.status().as_u16();
    let media_type = response.headers()["content-type"].to_str().unwrap().to_owned();
    assert_eq!(media_type, "application/json", "a refusal is JSON, also where a stream was asked for");
    let body: Value = response.json().await.unwrap();
    let error = &body["error"];
    assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
    (status, error["code"].as_str().unwrap().to_owned(), error["param"].as_str().map(str::to_owned))
}

fn invalid(param: &str) -> (u16, String, Option<String>) {
    (400, "invalid_parameter".to_owned(), Some(param.to_owned()))
}

#[tokio::test]
async fn a_wrong_body_is_refused_with_the_name_of_what_is_wrong() {
    let host = Host::builder().start().await;
    let missing = (400, "missing_parameter".to_owned(), Some("query".to_owned()));
    for (body, expected) in [
        (json!({}), missing.clone()),
        (json!({"query": null}), missing),
        (json!({"query": "  "}), invalid("query")),
        (json!({"query": 7}), invalid("query")),
        (json!({"query": "x", "mode": "nonsense"}), invalid("mode")),
        (json!({"query": "x", "maxCycles": 0}), invalid("maxCycles")),
        (json!({"query": "x", "maxCycles": 9}), invalid("maxCycles")),
        (json!({"query": "x", "maxCycles": "x"}), invalid("maxCycles")),
    ] {
        assert_eq!(refusal(host.post(RUN, &body).await).await, expected, "{body}");
    }
}

#[tokio::test]
async fn a_wrong_query_string_is_refused_before_the_stream_opens() {
    let host = Host::builder().start().await;
    let missing = (400, "missing_parameter".to_owned(), Some("query".to_owned()));
    for (query, expected) in [
        ("", missing),
        ("?query=", invalid("query")),
        ("?query=x&mode=nonsense", invalid("mode")),
        ("?query=x&maxCycles=0", invalid("maxCycles")),
        ("?query=x&maxCycles=9", invalid("maxCycles")),
        ("?query=x&maxCycles=x", invalid("maxCycles")),
    ] {
        let response = host.get(&format!("{STREAM}{query}")).await;
        assert_eq!(refusal(response).await, expected, "{query}");
    }
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let host = Host::builder().start().await;
    let request =
        host.request(reqwest::Method::POST, RUN).header("content-type", "application/json").body("{\"query\": ");
    let (status, code, _) = refusal(host.send(request).await).await;
    assert_eq!((status, code.as_str()), (400, "invalid_request"));
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused() {
    let host = Host::builder().start().await;
    let (status, code, _) = refusal(host.post(RUN, &json!({"query": "x".repeat(2 << 20)})).await).await;
    assert_eq!((status, code.as_str()), (413, "request_too_large"));
    assert_eq!(host.get("/healthz").await.status(), StatusCode::OK);
}

#[tokio::test]
async fn without_a_good_key_nobody_learns_anything_else() {
    let host = Host::builder().start().await;
    let wrong_as_well = json!({"maxCycles": 9});
    for authorization in [None, Some("Bearer ask_wrong"), Some("Basic YTpi"), Some("Bearer ")] {
        let mut request = host.client().post(host.url(RUN)).json(&wrong_as_well);
        if let Some(value) = authorization {
            request = request.header("authorization", value);
        }
        let (status, code, _) = refusal(host.send(request).await).await;
        assert_eq!((status, code.as_str()), (401, "invalid_api_key"), "{authorization:?}");
    }
}

/// A data folder that a server has used, with a tenant of a tier, and its key.
async fn with_tenant(tier: &str) -> (TempDir, String) {
    let (status, data) = Host::builder().start().await.stop().await;
    assert!(status.success(), "{status}");
    let cli = Cli::on(data.path());
    cli.output(&["tenant", "create", "other", "--tier", tier]).await;
    let key = cli.output(&["key", "create", "--tenant", "other", "--name", "test"]).await;
    assert!(key.starts_with("ask_"), "{key:?}");
    (data, key)
}

#[tokio::test]
async fn a_lower_tier_is_refused_before_its_request_is_looked_at() {
    let (data, key) = with_tenant("pro").await;
    let host = Host::builder().data(data).start().await;
    let request = host.client().post(host.url(RUN)).bearer_auth(&key).json(&json!({"maxCycles": 9}));
    let (status, code, _) = refusal(host.send(request).await).await;
    assert_eq!((status, code.as_str()), (403, "tier_too_low"));
    let stream = host.client().get(host.url(STREAM)).bearer_auth(&key);
    assert_eq!(refusal(host.send(stream).await).await.0, 403);
    let limit = host.send(host.client().get(host.url("/v1/rate-limit")).bearer_auth(&key)).await;
    assert_eq!(limit.status(), StatusCode::OK, "the rate limit is anybody's to see");
}

#[tokio::test]
async fn a_revoked_key_is_told_that_it_is_one() {
    let (data, key) = with_tenant("max").await;
    let cli = Cli::on(data.path());
    let listed = cli.output(&["key", "list", "--tenant", "other"]).await;
    let id = listed.split_whitespace().next().unwrap();
    cli.run(&["key", "revoke", id, "--tenant", "other"]).await;
    let host = Host::builder().data(data).start().await;
    let request = host.client().post(host.url(RUN)).bearer_auth(&key).json(&json!({"query": "x"}));
    let (status, code, _) = refusal(host.send(request).await).await;
    assert_eq!((status, code.as_str()), (401, "api_key_revoked"));
}

#[tokio::test]
async fn another_tenants_run_and_no_run_are_the_same_404() {
    let (data, key) = with_tenant("max").await;
    let host = Host::builder().data(data).start().await;
    let mine = host.post_ok(RUN, &json!({"query": "Hello?", "mode": "chat"})).await;
    let path = format!("/v1/runs/{}", mine["runId"].as_str().unwrap());
    assert_eq!(host.get(&path).await.status(), StatusCode::OK);
    let mut answers = Vec::new();
    for path in [path.as_str(), "/v1/runs/01930000-0000-7000-8000-000000000000", "/v1/runs/nonsense"] {
        for suffix in ["", "/events"] {
            let request = host.client().get(host.url(&format!("{path}{suffix}"))).bearer_auth(&key);
            let response = host.send(request).await;
            answers.push((response.status().as_u16(), response.text().await.unwrap()));
        }
    }
    assert!(answers.iter().all(|answer| answer.0 == 404 && *answer == answers[0]), "{answers:?}");
}

#[tokio::test]
async fn every_answer_says_what_is_left_and_which_request_it_was() {
    let host = Host::builder().start().await;
    let answers = [
        host.post(RUN, &json!({"query": "Hello?", "mode": "chat"})).await,
        host.post(RUN, &json!({})).await,
        host.get(&format!("{STREAM}?query=Hello&mode=chat")).await,
        host.send(host.client().post(host.url(RUN))).await,
    ];
    for answer in &answers {
        let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        for name in ["x-request-id", "x-processing-time-ms"] {
            assert!(!header(name).is_empty(), "{name} is missing on {}", answer.status());
        }
        for what in ["limit", "remaining", "reset"] {
            for unit in ["rpm", "tpm"] {
                let name = format!("x-ratelimit-{what}-{unit}");
                assert!(header(&name).parse::<u64>().is_ok(), "{name} is {:?} on {}", header(&name), answer.status());
            }
        }
    }
}

#[tokio::test]
async fn the_same_request_twice_is_one_run() {
    let host = Host::builder().start().await;
    let send = async |query: &str| {
        let request = host.request(reqwest::Method::POST, RUN).header("idempotency-key", "once");
        host.send(request.json(&json!({"query": query, "mode": "chat"}))).await
    };
    let first: Value = send("Hello?").await.json().await.unwrap();
    let second: Value = send("Hello?").await.json().await.unwrap();
    assert_eq!((&first["runId"], &first["answer"]), (&second["runId"], &second["answer"]));
    assert_eq!(refusal(send("Something else").await).await.0, 409);
}
