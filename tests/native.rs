//! The native API over real sockets: agents and their versions, teams, models, sessions with their messages and exports, and runs that
//! are started through it.

use std::time::Duration;

use insta::assert_snapshot;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use vivarium_tests::{Answer, Host, ScriptedModel, SseStream, host_of_two};

async fn answering() -> (ScriptedModel, Host) {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let host = Host::builder().model(&model).start().await;
    (model, host)
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap_or_else(|| panic!("{name} is missing in {headers:?}")).to_str().unwrap()
}

async fn json_of(response: Response) -> Value {
    let status = response.status();
    let text = response.text().await.unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {text:?}: {error}"))
}

/// The answer's JSON; its status must be this one.
async fn expect(host: &Host, status: u16, method: Method, path: &str, body: Option<&Value>) -> Value {
    let (found, answer) = host.json(method.clone(), path, body).await;
    assert_eq!(found, status, "{method} {path}: {answer}");
    answer
}

async fn agent(host: &Host, fields: Value) -> Value {
    expect(host, 201, Method::POST, "/v1/agents", Some(&fields)).await
}

/// All items of a list, page by page.
async fn all(host: &Host, path: &str, limit: usize) -> Vec<Value> {
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let mark = if path.contains('?') { '&' } else { '?' };
        let page = expect(host, 200, Method::GET, &format!("{path}{mark}limit={limit}{cursor}"), None).await;
        let data = page["data"].as_array().unwrap();
        assert!(data.len() <= limit, "{path}: {} items", data.len());
        items.extend(data.iter().cloned());
        let Some(next) = page["next"].as_str() else { return items };
        cursor = format!("&cursor={next}");
    }
}

async fn all_teams(host: &Host) -> Vec<Value> {
    expect(host, 200, Method::GET, "/v1/teams", None).await["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn an_agent_is_made_listed_changed_and_deleted_and_every_change_keeps_the_version_before() {
    let host = Host::builder().start().await;
    let made = host.post("/v1/agents", &json!({"name": "support", "prompt": "Help.", "maxCycles": 3})).await;
    assert_eq!(made.status(), StatusCode::CREATED);
    assert_eq!(header(made.headers(), "etag"), "\"1\"");
    let location = header(made.headers(), "location").to_owned();
    let made = json_of(made).await;
    assert_eq!(location, format!("/v1/agents/{}", made["id"].as_str().unwrap()));
    assert_eq!((&made["version"], &made["mode"], &made["teamId"]), (&json!(1), &json!("chat"), &json!(1)));

    let by_name = host.get("/v1/agents/support").await;
    assert_eq!(header(by_name.headers(), "etag"), "\"1\"");
    assert_eq!(json_of(by_name).await, made);
    assert_eq!(expect(&host, 200, Method::GET, &location, None).await, made);

    let change = json!({"prompt": "Help in one sentence.", "maxCycles": null});
    let changed = expect(&host, 200, Method::PATCH, "/v1/agents/support", Some(&change)).await;
    assert_eq!((&changed["version"], &changed["maxCycles"]), (&json!(2), &Value::Null));
    let unchanged =
        expect(&host, 200, Method::PATCH, &location, Some(&json!({"prompt": "Help in one sentence."}))).await;
    assert_eq!(unchanged["version"], 2, "a change that changes nothing makes no version");

    let versions = all(&host, "/v1/agents/support/versions", 1).await;
    assert_eq!(versions.iter().map(|version| &version["version"]).collect::<Vec<_>>(), [2, 1]);
    assert_eq!(versions[1], made);
    assert!(versions[0]["updatedBy"].is_string(), "{}", versions[0]);
    let diff = expect(&host, 200, Method::GET, "/v1/agents/support/versions/1/diff?with=2", None).await;
    assert_eq!(
        diff["differences"],
        json!([
            {"field": "maxCycles", "value": 3, "other": null},
            {"field": "prompt", "value": "Help.", "other": "Help in one sentence."},
        ])
    );
    let back = expect(&host, 200, Method::POST, "/v1/agents/support/rollback", Some(&json!({"version": 1}))).await;
    assert_eq!((&back["version"], &back["prompt"], &back["maxCycles"]), (&json!(3), &json!("Help."), &json!(3)));

    assert_eq!(host.send(host.request(Method::DELETE, &location)).await.status(), StatusCode::NO_CONTENT);
    expect(&host, 404, Method::GET, "/v1/agents/support", None).await;
    expect(&host, 404, Method::GET, "/v1/agents/support/versions", None).await;
    expect(&host, 404, Method::DELETE, &location, None).await;
    // The name is free again.
    agent(&host, json!({"name": "support"})).await;
}

#[tokio::test]
async fn a_change_that_was_meant_for_another_version_is_refused_and_changes_nothing() {
    let host = Host::builder().start().await;
    agent(&host, json!({"name": "a"})).await;
    let patch = |tag: &'static str, body: Value| {
        let request = host.request(Method::PATCH, "/v1/agents/a").header("if-match", tag).json(&body);
        let host = &host;
        async move {
            let response = host.send(request).await;
            (response.status().as_u16(), json_of(response).await)
        }
    };
    assert_eq!(patch("\"1\"", json!({"prompt": "one"})).await.0, 200);
    let (status, refused) = patch("\"1\"", json!({"prompt": "two"})).await;
    assert_eq!(status, 409, "{refused}");
    assert_snapshot!(refused, @r#"{"error":{"code":"conflict","details":{"param":"version"},"message":"the agent is in version 2 by now, not in version 1; read it again and repeat the change"}}"#);
    expect(&host, 409, Method::PATCH, "/v1/agents/a", Some(&json!({"prompt": "two", "version": 1}))).await;
    assert_eq!(patch("*", json!({"prompt": "three"})).await.0, 200);
    assert_eq!(patch("\"3\"", json!({"prompt": "four", "version": 2})).await.0, 400);
    let agent = expect(&host, 200, Method::GET, "/v1/agents/a", None).await;
    assert_eq!((&agent["version"], &agent["prompt"]), (&json!(3), &json!("three")));
}

#[tokio::test]
async fn names_are_unique_and_lists_are_paged_and_filtered() {
    let host = Host::builder().start().await;
    let team = expect(&host, 201, Method::POST, "/v1/teams", Some(&json!({"name": "Sales"}))).await;
    assert_eq!(team["id"], 2);
    for name in ["a", "b", "c", "d", "e"] {
        let team = if name < "c" { 1 } else { 2 };
        agent(&host, json!({"name": name, "teamId": team})).await;
    }
    let refused = expect(&host, 409, Method::POST, "/v1/agents", Some(&json!({"name": "a"}))).await;
    assert_eq!(refused["error"]["details"]["param"], "name");
    expect(&host, 409, Method::PATCH, "/v1/agents/b", Some(&json!({"name": "a"}))).await;

    let names = |items: Vec<Value>| -> Vec<String> {
        items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(all(&host, "/v1/agents", 2).await), ["e", "d", "c", "b", "a"]);
    assert_eq!(names(all(&host, "/v1/agents?teamId=2", 2).await), ["e", "d", "c"]);
    assert_eq!(names(all(&host, "/v1/agents?name=b", 2).await), ["b"]);
    assert!(all(&host, "/v1/agents?name=b&teamId=2", 2).await.is_empty());
    assert!(all(&host, "/v1/agents?name=nobody", 2).await.is_empty());
    let teams = all_teams(&host).await;
    assert_eq!(names(teams), ["default", "Sales"]);
}

#[tokio::test]
async fn a_second_tenant_sees_nothing_and_is_told_what_a_stranger_is_told() {
    let (model, (host, keys)) = {
        let model = ScriptedModel::start().await;
        model.always(Answer::text("An answer."));
        let host = host_of_two(|builder| builder.model(&model)).await;
        (model, host)
    };
    let made = agent(&host, json!({"name": "mine"})).await;
    let run = json!({"input": "Hello?", "agentId": "mine", "sessionId": "talk"});
    let run = expect(&host, 200, Method::POST, "/v1/runs", Some(&run)).await;
    let (id, run) = (made["id"].as_str().unwrap(), run["id"].as_str().unwrap());
    let unknown = "0192f000-0000-7000-8000-000000000001";
    let routes = [
        (Method::GET, "/v1/agents/{agent}", None),
        (Method::PATCH, "/v1/agents/{agent}", Some(json!({"prompt": "p"}))),
        (Method::DELETE, "/v1/agents/{agent}", None),
        (Method::GET, "/v1/agents/{agent}/versions", None),
        (Method::GET, "/v1/agents/{agent}/versions/1", None),
        (Method::GET, "/v1/agents/{agent}/versions/1/diff?with=1", None),
        (Method::POST, "/v1/agents/{agent}/rollback", Some(json!({"version": 1}))),
        (Method::GET, "/v1/sessions/{session}", None),
        (Method::PATCH, "/v1/sessions/{session}", Some(json!({"title": "t"}))),
        (Method::DELETE, "/v1/sessions/{session}", None),
        (Method::GET, "/v1/sessions/{session}/messages", None),
        (Method::GET, "/v1/sessions/{session}/export", None),
        (Method::GET, "/v1/runs/{run}", None),
        (Method::GET, "/v1/runs/{run}/events", None),
        (Method::POST, "/v1/runs/{run}/cancel", None),
    ];
    for (method, path, body) in routes {
        let at = |agent: &str, session: &str, run: &str| {
            path.replace("{agent}", agent).replace("{session}", session).replace("{run}", run)
        };
        let foreign = host.json_as(&keys.foreign, method.clone(), &at(id, "talk", run), body.as_ref()).await;
        let nothing = host.json_as(&keys.foreign, method.clone(), &at(unknown, "other", unknown), body.as_ref()).await;
        assert_eq!(foreign.0, 404, "{method} {path}: {}", foreign.1);
        assert_eq!(foreign, nothing, "{method} {path}");
        let name = host.json_as(&keys.foreign, method.clone(), &at("mine", "talk", run), body.as_ref()).await;
        assert_eq!(name, nothing, "{method} {path}");
    }
    for path in ["/v1/agents", "/v1/agents?name=mine", "/v1/sessions", "/v1/runs", "/v1/runs?sessionId=talk"] {
        let (status, page) = host.json_as(&keys.foreign, Method::GET, path, None).await;
        assert_eq!((status, page), (200, json!({"data": [], "next": null})), "{path}");
    }
    // The same names and ids are free in the other tenant.
    let (status, _) = host.json_as(&keys.foreign, Method::POST, "/v1/agents", Some(&json!({"name": "mine"}))).await;
    assert_eq!(status, 201);
    let (status, _) = host.json_as(&keys.foreign, Method::POST, "/v1/sessions", Some(&json!({"id": "talk"}))).await;
    assert_eq!(status, 201);
    drop(model);
}

#[tokio::test]
async fn the_providers_are_listed_with_their_numbers_and_what_their_models_can_do() {
    let (_model, host) = answering().await;
    let models = expect(&host, 200, Method::GET, "/v1/models", None).await;
    let shown: Vec<Value> = models["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| json!([one["provider"], one["connectionId"], one["isDefault"], one["defaultModel"]["name"]]))
        .collect();
    assert_eq!(
        shown,
        [json!(["openai", 1, true, "openai/scripted"]), json!(["embedded", 4, false, "embedded/extractive"])]
    );
    assert_eq!(models["data"][0]["defaultModel"]["abilities"]["toolCalls"], true);
    assert_eq!(models["data"][1]["defaultModel"]["abilities"]["freeText"], false);
}

#[tokio::test]
async fn a_run_of_an_agent_does_as_the_agent_says_and_what_the_request_says_goes_over_it() {
    let (model, host) = answering().await;
    let made = agent(&host, json!({"name": "poet", "prompt": "Rhyme.", "maxOutputTokens": 50, "tools": []})).await;
    let started = host.post("/v1/runs", &json!({"input": "Hello?", "agentId": "poet"})).await;
    assert_eq!(started.status(), StatusCode::OK);
    let location = header(started.headers(), "location").to_owned();
    let run = json_of(started).await;
    assert_eq!(location, format!("/v1/runs/{}", run["id"].as_str().unwrap()));
    assert_eq!((&run["status"], &run["outcome"]["answer"]), (&json!("completed"), &json!("An answer.")));
    assert_eq!(run["agent"], json!({"id": made["id"], "version": 1}));
    assert!(run["usage"]["inputTokens"].as_u64().unwrap() > 0, "{run}");
    assert_eq!(expect(&host, 200, Method::GET, &location, None).await, run);
    let sent = model.requests()[0].clone();
    assert!(sent["messages"][0].to_string().contains("Rhyme."), "{sent:#}");
    assert_eq!((&sent["max_tokens"], sent["max_completion_tokens"].is_null()), (&json!(50), true));

    let over = json!({
        "input": "And?", "agentId": made["id"], "sessionId": run["sessionId"], "instructions": "No rhymes.", "maxOutputTokens": 60,
        "maxCycles": 2, "metadata": {"ticket": 7}
    });
    let run = expect(&host, 200, Method::POST, "/v1/runs", Some(&over)).await;
    let sent = model.requests()[1].clone();
    assert!(!sent["messages"][0].to_string().contains("Rhyme."), "{sent:#}");
    assert!(sent["messages"][0].to_string().contains("No rhymes."), "{sent:#}");
    assert_eq!(sent["max_tokens"], 60);
    assert!(sent["messages"].to_string().contains("Hello?"), "it goes on with the session: {sent:#}");
    assert_eq!((&run["maxCycles"], &run["settings"]["metadata"]), (&json!(2), &json!({"ticket": 7})));
}

#[tokio::test]
async fn a_run_names_an_agent_or_a_mode_or_neither_but_not_both() {
    let (_model, host) = answering().await;
    agent(&host, json!({"name": "a"})).await;
    let run = expect(&host, 200, Method::POST, "/v1/runs", Some(&json!({"input": "q"}))).await;
    assert_eq!(run["mode"], "chat");
    let run = expect(&host, 200, Method::POST, "/v1/runs", Some(&json!({"input": "q", "mode": "coding"}))).await;
    assert_eq!(run["mode"], "coding");
    let both = json!({"input": "q", "mode": "chat", "agentId": "a"});
    let refused = expect(&host, 400, Method::POST, "/v1/runs", Some(&both)).await;
    assert_snapshot!(refused["error"]["message"].as_str().unwrap(), @"mode must be left out where there is an agentId");
    expect(&host, 404, Method::POST, "/v1/runs", Some(&json!({"input": "q", "agentId": "nobody"}))).await;
}

#[tokio::test]
async fn a_session_stays_with_its_agent_and_a_new_id_makes_a_session() {
    let (_model, host) = answering().await;
    for name in ["a", "b"] {
        agent(&host, json!({"name": name})).await;
    }
    let run = json!({"input": "What is a tenant?", "agentId": "a", "sessionId": "of-mine"});
    expect(&host, 200, Method::POST, "/v1/runs", Some(&run)).await;
    let session = expect(&host, 200, Method::GET, "/v1/sessions/of-mine", None).await;
    assert_eq!((&session["title"], &session["messages"]), (&json!("What is a tenant?"), &json!(2)));
    let refused = json!({"input": "q", "agentId": "b", "sessionId": "of-mine"});
    let refused = expect(&host, 400, Method::POST, "/v1/runs", Some(&refused)).await;
    assert_snapshot!(refused, @r#"{"error":{"code":"invalid_parameter","details":{"param":"sessionId"},"message":"the session of-mine is with another agent"}}"#);
}

#[tokio::test]
async fn a_failed_run_is_an_answer_with_its_record() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Refusal(StatusCode::UNAUTHORIZED));
    let host = Host::builder().model(&model).start().await;
    let run = expect(&host, 200, Method::POST, "/v1/runs", Some(&json!({"input": "q"}))).await;
    assert_eq!((&run["status"], &run["failure"]["code"]), (&json!("failed"), &json!("model_unavailable")));
}

#[tokio::test]
async fn a_stream_shows_the_run_from_its_first_event_with_its_tokens() {
    let (_model, host) = answering().await;
    let request = host.request(Method::POST, "/v1/runs").header("accept", "text/event-stream");
    let response = host.send(request.json(&json!({"input": "Hello?"}))).await;
    assert_eq!(response.status(), StatusCode::OK);
    let run = header(response.headers(), "x-run-id").to_owned();
    let events = SseStream::new(response).rest().await;
    let names: Vec<&str> = events.iter().filter_map(|event| event.event.as_deref()).collect();
    assert_eq!(names.first(), Some(&"run.started"));
    assert_eq!(names.last(), Some(&"run.completed"));
    let tokens: String = events
        .iter()
        .filter(|event| event.event.as_deref() == Some("token"))
        .map(|event| event.json()["text"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(tokens, "An answer.");
    let record = expect(&host, 200, Method::GET, &format!("/v1/runs/{run}"), None).await;
    assert_eq!(record["status"], "completed");
}

#[tokio::test]
async fn a_run_in_the_background_is_answered_at_once_and_goes_on() {
    let model = ScriptedModel::start().await;
    model.then(Answer::Slowly(
        vec!["slow ".to_owned(), "but ".to_owned(), "sure".to_owned()],
        Duration::from_millis(500),
    ));
    let host = Host::builder().model(&model).start().await;
    let started = host.post("/v1/runs", &json!({"input": "q", "background": true})).await;
    assert_eq!(started.status(), StatusCode::ACCEPTED);
    let location = header(started.headers(), "location").to_owned();
    let run = json_of(started).await;
    assert!(["queued", "running"].contains(&run["status"].as_str().unwrap()), "{run}");
    // The list tells of it what its own page does.
    model.received(1).await;
    let listed = |status: &'static str| {
        let (host, path) = (&host, format!("/v1/runs?status={status}"));
        async move { all(host, &path, 10).await.len() }
    };
    assert_eq!((listed("running").await, listed("queued").await, listed("completed").await), (1, 0, 0));
    let events = host.request(Method::GET, &format!("{location}/events")).header("accept", "text/event-stream");
    SseStream::new(host.send(events).await).rest().await;
    let run = expect(&host, 200, Method::GET, &location, None).await;
    assert_eq!(run["outcome"]["answer"], "slow but sure");
    assert_eq!((listed("running").await, listed("queued").await, listed("completed").await), (0, 0, 1));
    let request = host.request(Method::POST, "/v1/runs").header("accept", "text/event-stream");
    let refused = host.send(request.json(&json!({"input": "q", "background": true}))).await;
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn an_idempotency_key_finds_its_run_and_refuses_another_body_or_path() {
    let (model, host) = answering().await;
    let post = |path: &'static str, body: Value| {
        let request = host.request(Method::POST, path).header("idempotency-key", "once").json(&body);
        let host = &host;
        async move {
            let response = host.send(request).await;
            (response.status().as_u16(), json_of(response).await)
        }
    };
    agent(&host, json!({"name": "a"})).await;
    let body = json!({"input": "q", "agentId": "a"});
    let (status, first) = post("/v1/runs", body.clone()).await;
    assert_eq!(status, 200);
    assert_eq!(post("/v1/runs", body.clone()).await, (200, first.clone()));
    // What the request names may be gone by now; the run is there.
    host.send(host.request(Method::DELETE, "/v1/agents/a")).await;
    assert_eq!(post("/v1/runs", body).await, (200, first));
    let (status, refused) = post("/v1/runs", json!({"input": "r"})).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("idempotency_conflict")));
    let (status, _) = post("/v1/agent/run", json!({"query": "q", "mode": "chat"})).await;
    assert_eq!(status, 409);
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test]
async fn runs_are_listed_newest_first_in_brief_and_by_what_is_asked_for() {
    let (_model, host) = answering().await;
    let made = agent(&host, json!({"name": "a"})).await;
    let mut ids = Vec::new();
    for (place, input) in ["one", "two", "three"].into_iter().enumerate() {
        let body = match place {
            0 => json!({"input": input, "agentId": "a", "sessionId": "s"}),
            1 => json!({"input": input, "sessionId": "s"}),
            _ => json!({"input": "x".repeat(1000), "agentId": "a"}),
        };
        ids.push(expect(&host, 200, Method::POST, "/v1/runs", Some(&body)).await["id"].clone());
    }
    let listed = |items: Vec<Value>| -> Vec<Value> { items.iter().map(|item| item["id"].clone()).collect() };
    assert_eq!(listed(all(&host, "/v1/runs", 2).await), [ids[2].clone(), ids[1].clone(), ids[0].clone()]);
    assert_eq!(listed(all(&host, "/v1/runs?agentId=a", 1).await), [ids[2].clone(), ids[0].clone()]);
    let by_id = format!("/v1/runs?agentId={}", made["id"].as_str().unwrap());
    assert_eq!(listed(all(&host, &by_id, 200).await), [ids[2].clone(), ids[0].clone()]);
    assert_eq!(listed(all(&host, "/v1/runs?sessionId=s", 1).await), [ids[1].clone(), ids[0].clone()]);
    assert_eq!(listed(all(&host, "/v1/runs?status=completed", 2).await).len(), 3);
    assert!(all(&host, "/v1/runs?status=failed", 2).await.is_empty());
    let newest = &all(&host, "/v1/runs", 1).await[0];
    assert_eq!(newest["input"].as_str().unwrap().chars().count(), 201);
    assert!(newest["outcome"].is_null() && newest["settings"].is_null(), "{newest}");
}

#[tokio::test]
async fn a_session_is_made_listed_renamed_read_and_deleted() {
    let (_model, host) = answering().await;
    let made = agent(&host, json!({"name": "a"})).await;
    let odd = "a/b?c";
    let body = json!({"id": odd, "agentId": "a", "title": "Mine", "ttlSeconds": 3600});
    let created = host.post("/v1/sessions", &body).await;
    assert_eq!(created.status(), StatusCode::CREATED);
    let location = header(created.headers(), "location").to_owned();
    assert_eq!(location, "/v1/sessions/a%2Fb%3Fc");
    let session = json_of(created).await;
    assert_eq!((&session["agentId"], &session["messages"]), (&made["id"], &json!(0)));
    assert!(session["expiresAt"].is_string(), "{session}");
    expect(&host, 409, Method::POST, "/v1/sessions", Some(&json!({"id": odd}))).await;
    assert_eq!(expect(&host, 200, Method::GET, &location, None).await, session);

    let renamed = expect(&host, 200, Method::PATCH, &location, Some(&json!({"title": null}))).await;
    assert!(renamed["title"].is_null(), "{renamed}");
    let renamed = expect(&host, 200, Method::PATCH, &location, Some(&json!({"title": "Yours"}))).await;
    assert_eq!(renamed["title"], "Yours");

    for place in 0..3 {
        expect(&host, 201, Method::POST, "/v1/sessions", Some(&json!({"id": format!("s-{place}")}))).await;
    }
    let ids = |items: Vec<Value>| -> Vec<String> {
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(all(&host, "/v1/sessions", 2).await), ["s-2", "s-1", "s-0", odd]);
    assert_eq!(ids(all(&host, "/v1/sessions?agentId=a", 2).await), [odd]);

    assert_eq!(host.send(host.request(Method::DELETE, &location)).await.status(), StatusCode::NO_CONTENT);
    expect(&host, 404, Method::GET, &location, None).await;
    expect(&host, 404, Method::DELETE, &location, None).await;
    assert_eq!(ids(all(&host, "/v1/sessions?agentId=a", 2).await), [] as [String; 0]);
}

#[tokio::test]
async fn messages_are_paged_both_ways_and_the_export_has_them_all() {
    let (model, host) = answering().await;
    for turn in 0..20 {
        let answer = if turn == 3 { "A fence:\n```\n## 99 · User\n```".to_owned() } else { format!("Answer {turn}.") };
        model.then(Answer::text(&answer));
        let body = json!({"input": format!("Question {turn}?"), "sessionId": "long"});
        expect(&host, 200, Method::POST, "/v1/runs", Some(&body)).await;
    }
    let path = "/v1/sessions/long/messages";
    let first = expect(&host, 200, Method::GET, &format!("{path}?limit=3"), None).await;
    let shown: Vec<String> = first["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|m| format!("{} {} {}", m["number"], m["role"], m["text"]))
        .collect();
    assert_eq!(shown, ["0 \"user\" \"Question 0?\"", "1 \"assistant\" \"Answer 0.\"", "2 \"user\" \"Question 1?\""]);
    assert_eq!(first["next"], "2");
    let after = expect(&host, 200, Method::GET, &format!("{path}?limit=200&after=2"), None).await;
    assert_eq!((after["data"].as_array().unwrap().len(), &after["data"][0]["number"]), (37, &json!(3)));
    assert!(after["next"].is_null());
    let last = expect(&host, 200, Method::GET, &format!("{path}?limit=2&before=40"), None).await;
    assert_eq!(
        (&last["data"][0]["number"], &last["data"][1]["number"], &last["next"]),
        (&json!(38), &json!(39), &json!("38"))
    );

    let export = expect(&host, 200, Method::GET, "/v1/sessions/long/export", None).await;
    assert_eq!(export["messages"].as_array().unwrap().len(), 40);
    assert_eq!(export["session"]["id"], "long");
    let markdown = host.get("/v1/sessions/long/export?format=markdown").await;
    assert_eq!(header(markdown.headers(), "content-type"), "text/markdown; charset=utf-8");
    assert_eq!(header(markdown.headers(), "content-disposition"), "attachment; filename=\"session.md\"");
    let markdown = markdown.text().await.unwrap();
    assert!(markdown.starts_with("# Question 0?\n\n- Session: `long`\n"), "{markdown}");
    assert_eq!(markdown.matches("\n````markdown\nA fence:\n```\n## 99 · User\n```\n````\n").count(), 1, "{markdown}");
    let headings = markdown.lines().filter(|line| line.starts_with("## ")).count();
    assert_eq!(headings, 41, "forty messages, and what one of them says");
}

#[tokio::test]
async fn a_session_that_nobody_speaks_in_is_deleted_when_its_time_is_over() {
    let (_model, host) = answering().await;
    expect(&host, 201, Method::POST, "/v1/sessions", Some(&json!({"id": "short", "ttlSeconds": 1}))).await;
    expect(&host, 201, Method::POST, "/v1/sessions", Some(&json!({"id": "kept"}))).await;
    let gone = async {
        while host.get("/v1/sessions/short").await.status() != StatusCode::NOT_FOUND {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    vivarium_tests::soon("the session's end", gone).await;
    expect(&host, 200, Method::GET, "/v1/sessions/kept", None).await;
    // What is over by the next start is swept then, and its id is free.
    let (_, data) = host.stop().await;
    let host = Host::builder().data(data).start().await;
    host.says("sessions were deleted: their time was over").await;
    expect(&host, 201, Method::POST, "/v1/sessions", Some(&json!({"id": "short"}))).await;
}

#[tokio::test]
async fn what_was_acknowledged_is_there_after_the_host_was_killed() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let host = Host::builder().model(&model).start().await;
    agent(&host, json!({"name": "a", "prompt": "one"})).await;
    expect(&host, 200, Method::PATCH, "/v1/agents/a", Some(&json!({"prompt": "two"}))).await;
    let run = json!({"input": "q", "agentId": "a", "sessionId": "s"});
    let run = expect(&host, 200, Method::POST, "/v1/runs", Some(&run)).await;
    expect(&host, 200, Method::PATCH, "/v1/sessions/s", Some(&json!({"title": "T"}))).await;
    expect(&host, 201, Method::POST, "/v1/teams", Some(&json!({"name": "Sales"}))).await;
    let host = Host::builder().model(&model).data(host.kill().await).start().await;
    let agent = expect(&host, 200, Method::GET, "/v1/agents/a", None).await;
    assert_eq!((&agent["version"], &agent["prompt"]), (&json!(2), &json!("two")));
    assert_eq!(all(&host, "/v1/agents/a/versions", 1).await.len(), 2);
    assert_eq!(expect(&host, 200, Method::GET, "/v1/sessions/s", None).await["title"], "T");
    assert_eq!(all(&host, "/v1/sessions?agentId=a", 5).await.len(), 1);
    let messages = expect(&host, 200, Method::GET, "/v1/sessions/s/messages", None).await;
    assert_eq!(messages["data"].as_array().unwrap().len(), 2);
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    assert_eq!(expect(&host, 200, Method::GET, &path, None).await, run);
    assert_eq!(all_teams(&host).await.len(), 2);
}
