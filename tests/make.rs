//! The make dialect over real sockets: agents of teams, their runs, whole and step by step, and what is refused.

use insta::assert_snapshot;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use vivarium_tests::{Answer, BadInput, Cli, Host, Route, ScriptedModel, SseStream, host_of_two};

const AGENTS: &str = "/api/v2/ai-agents/v1/agents";

async fn host(model: &ScriptedModel) -> Host {
    Host::builder().model(model).start().await
}

async fn answering() -> (ScriptedModel, Host) {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let host = host(&model).await;
    (model, host)
}

fn agent(name: &str) -> Value {
    json!({
        "name": name, "teamId": 1, "makeConnectionId": 1, "defaultModel": "scripted", "systemPrompt": "do what user says"
    })
}

async fn created(host: &Host, body: &Value) -> Value {
    let (status, agent) = host.json(Method::POST, AGENTS, Some(body)).await;
    assert_eq!(status, 201, "{agent}\n{}", host.log());
    agent
}

fn id(agent: &Value) -> &str {
    agent["id"].as_str().unwrap_or_else(|| panic!("{agent} has no id"))
}

fn path(agent: &Value, rest: &str) -> String {
    format!("{AGENTS}/{}{rest}?teamId=1", id(agent))
}

fn ask(content: &str) -> Value {
    json!({"messages": [{"role": "user", "content": content}]})
}

/// The number by which this dialect knows a tool.
async fn scenario(host: &Host, tool: &str) -> u64 {
    let (_, tools) = host.json(Method::GET, "/v1/tools", None).await;
    let found = tools["data"].as_array().unwrap().iter().find(|info| info["name"] == tool);
    found.unwrap_or_else(|| panic!("no {tool} in {tools}"))["scenarioId"].as_u64().unwrap()
}

/// As JSON with its fields in order, ids and times as what they are.
fn told(value: &Value) -> String {
    serde_json::to_string_pretty(&without_ids(value.clone())).unwrap()
}

fn without_ids(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| match (name.as_str(), &value) {
                (name, Value::Number(_)) if name == "executionTimeMs" => (name.to_owned(), json!("<ms>")),
                _ => (name, without_ids(value)),
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(without_ids).collect(),
        Value::String(text) => Value::String(without_time(&text)),
        other => other,
    }
}

fn without_time(text: &str) -> String {
    let is_uuid = text.len() == 36 && text.bytes().filter(|byte| *byte == b'-').count() == 4;
    let is_time = text.len() > 19 && text.as_bytes()[10] == b'T' && text.ends_with('Z');
    match text.split_once("Current time (ISO): ") {
        _ if is_uuid => "<id>".to_owned(),
        _ if is_time => "<time>".to_owned(),
        Some((before, time)) => {
            // 2025-06-26T01:42:30.080-06:00
            let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            format!("{before}Current time (ISO): {}", shape.replace('-', "+").replacen("+", "-", 2))
        }
        None => text.to_owned(),
    }
}

async fn shown(response: Response) -> String {
    let status = response.status().as_u16();
    format!("{status} {}", response.text().await.unwrap())
}

#[tokio::test]
async fn an_agent_is_made_listed_changed_and_deleted() {
    let (_model, host) = answering().await;
    let made = created(&host, &agent("support")).await;
    assert_eq!(made["id"], made["agentId"]);
    assert_snapshot!(told(&made), @r#"
    {
      "agentId": "<id>",
      "contexts": [],
      "createdAt": "<time>",
      "defaultModel": "scripted",
      "historyConfig": null,
      "id": "<id>",
      "invocationConfig": {},
      "llmConfig": {},
      "llmProviderId": "openai",
      "makeConnectionId": 1,
      "makeConnectionType": "openai",
      "mcpConfigs": [],
      "name": "support",
      "outputParser": {
        "type": "text"
      },
      "scenarios": [],
      "systemPrompt": "do what user says",
      "teamId": 1
    }
    "#);

    let (status, listed) = host.json(Method::GET, &format!("{AGENTS}?teamId=1"), None).await;
    assert_eq!((status, &listed), (200, &json!([made])), "a bare array");

    let fetch = scenario(&host, "web_fetch").await;
    let change = json!({
        "name": "Support", "systemPrompt": "Be brief.", "llmConfig": {"maxTokens": 500},
        "scenarios": [{"makeScenarioId": fetch, "approvalMode": "approval-required"}],
        "historyConfig": {"iterationsFromHistoryCount": 3}, "mcpConfigs": [], "contexts": [],
        "outputParserFormat": {"type": "json", "schema": {"type": "object"}},
        "invocationConfig": {"recursionLimit": 9, "timeout": 60}
    });
    let changed = host.send(host.request(Method::PATCH, &path(&made, "")).json(&change)).await;
    assert_eq!(shown(changed).await, "204 ");
    let smaller = json!({"invocationConfig": {"timeout": null}, "historyConfig": null});
    assert_eq!(host.json(Method::PATCH, &path(&made, ""), Some(&smaller)).await, (204, Value::Null));

    let (status, one) = host.json(Method::GET, &path(&made, ""), None).await;
    assert_eq!(status, 200);
    let past: Vec<&Value> = one["pastConfigurations"].as_array().unwrap().iter().map(|past| &past["version"]).collect();
    assert_eq!(past, [2, 1]);
    assert_eq!(one["createdAt"], made["createdAt"]);
    assert_snapshot!(told(&one), @r#"
    {
      "agentId": "<id>",
      "contexts": [],
      "createdAt": "<time>",
      "defaultModel": "scripted",
      "historyConfig": null,
      "id": "<id>",
      "invocationConfig": {
        "recursionLimit": 9
      },
      "llmConfig": {
        "maxTokens": 500
      },
      "llmProviderId": "openai",
      "makeConnectionId": 1,
      "makeConnectionType": "openai",
      "mcpConfigs": [],
      "name": "Support",
      "outputParser": {
        "schema": {
          "type": "object"
        },
        "type": "json"
      },
      "pastConfigurations": [
        {
          "contexts": [],
          "defaultModel": "scripted",
          "historyConfig": {
            "iterationsFromHistoryCount": 3
          },
          "invocationConfig": {
            "recursionLimit": 9,
            "timeout": 60
          },
          "llmConfig": {
            "maxTokens": 500
          },
          "makeConnectionId": 1,
          "mcpConfigs": [],
          "name": "Support",
          "outputParserFormat": {
            "schema": {
              "type": "object"
            },
            "type": "json"
          },
          "scenarios": [
            {
              "approvalMode": "approval-required",
              "makeScenarioId": 69434868527875
            }
          ],
          "systemPrompt": "Be brief.",
          "teamId": 1,
          "updatedAt": "<time>",
          "version": 2
        },
        {
          "contexts": [],
          "defaultModel": "scripted",
          "historyConfig": null,
          "invocationConfig": {},
          "llmConfig": {},
          "makeConnectionId": 1,
          "mcpConfigs": [],
          "name": "support",
          "outputParserFormat": {
            "type": "text"
          },
          "scenarios": [],
          "systemPrompt": "do what user says",
          "teamId": 1,
          "updatedAt": "<time>",
          "version": 1
        }
      ],
      "scenarios": [
        {
          "approvalMode": "approval-required",
          "makeScenarioId": 69434868527875
        }
      ],
      "systemPrompt": "Be brief.",
      "teamId": 1
    }
    "#);

    let deleted = host.send(host.request(Method::DELETE, &path(&made, ""))).await;
    assert_eq!(shown(deleted).await, "204 ");
    assert_eq!(host.json(Method::GET, &path(&made, ""), None).await.0, 404);
    assert_eq!(host.json(Method::DELETE, &path(&made, ""), None).await.0, 404);
    assert_eq!(host.json(Method::GET, &format!("{AGENTS}?teamId=1"), None).await, (200, json!([])));
}

#[tokio::test]
async fn the_documents_scheme_and_the_short_paths_work_too() {
    let (_model, host) = answering().await;
    let token = format!("Token {}", host.key());
    let send = async |method: Method, path: &str, body: Option<&Value>| {
        let mut request = host.client().request(method, host.url(path)).header("authorization", &token);
        if let Some(body) = body {
            request = request.json(body);
        }
        host.send(request).await
    };
    let made: Value = send(Method::POST, "/ai-agents/v1/agents", Some(&agent("a"))).await.json().await.unwrap();
    let short = format!("/ai-agents/v1/agents/{}", id(&made));
    assert_eq!(send(Method::GET, &format!("{short}?teamId=1"), None).await.status().as_u16(), 200);
    let answer = send(Method::POST, &format!("{short}/run?teamId=1"), Some(&ask("Hello?"))).await;
    assert_eq!(answer.json::<Value>().await.unwrap()["response"], "An answer.");
    let stream = send(Method::POST, &format!("{short}/run/stream?teamId=1"), Some(&ask("Hello?"))).await;
    assert_eq!(SseStream::new(stream).rest().await.last().unwrap().event.as_deref(), Some("done"));
}

#[tokio::test]
async fn a_list_has_pages_for_who_asks_for_them() {
    let (_model, host) = answering().await;
    for name in ["a", "b", "c"] {
        created(&host, &agent(name)).await;
    }
    let page = host.get(&format!("{AGENTS}?teamId=1&limit=2")).await;
    let link = page.headers()["link"].to_str().unwrap().to_owned();
    let names =
        |agents: Value| agents.as_array().unwrap().iter().map(|agent| agent["name"].clone()).collect::<Vec<_>>();
    assert_eq!(names(page.json().await.unwrap()), ["c", "b"]);
    let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\"")).unwrap();
    let last = host.get(next).await;
    assert!(!last.headers().contains_key("link"));
    assert_eq!(names(last.json().await.unwrap()), ["a"]);
}

#[tokio::test]
async fn a_run_is_told_step_by_step_with_what_the_model_was_given_first() {
    let (model, host) = answering().await;
    let made = created(&host, &agent("a")).await;
    let response = host.post(&path(&made, "/run/stream"), &ask("Hello?")).await;
    assert_eq!(response.headers()["cache-control"], "no-cache");
    let run = response.headers()["x-run-id"].to_str().unwrap().to_owned();
    let events = SseStream::new(response).rest().await;
    let names: Vec<&str> = events.iter().map(|event| event.event.as_deref().unwrap()).collect();
    assert_eq!(names, ["step", "step", "step", "done"]);
    let first = events[0].json();
    assert_eq!(first["role"], "system");
    assert_eq!(events[0].id.as_deref(), first["id"].as_str());
    let instructions = first["content"].as_str().unwrap();
    assert!(instructions.starts_with("do what user says\nCurrent time (ISO): "), "{instructions}");
    let given = model.requests()[0]["messages"].to_string();
    assert!(given.contains(&instructions.replace('\n', "\\n")), "the model is given what is shown: {given}");
    for event in &events[..3] {
        assert!(event.id.is_some() && !event.json()["agentIterationId"].is_null(), "{event:?}");
    }
    assert_snapshot!(told(&first), @r#"
    {
      "agentIterationId": "<id>",
      "content": "do what user says\nCurrent time (ISO): 0000-00-00T00:00:00.000+00:00",
      "id": "<id>",
      "index": 0,
      "role": "system"
    }
    "#);
    let done = events[3].json();
    assert_eq!(done["executionSteps"], json!([first, events[1].json(), events[2].json()]), "the same steps");
    assert_snapshot!(told(&done), @r#"
    {
      "executionSteps": [
        {
          "agentIterationId": "<id>",
          "content": "do what user says\nCurrent time (ISO): 0000-00-00T00:00:00.000+00:00",
          "id": "<id>",
          "index": 0,
          "role": "system"
        },
        {
          "agentIterationId": "<id>",
          "content": "Hello?",
          "id": "<id>",
          "index": 1,
          "role": "user"
        },
        {
          "agentIterationId": "<id>",
          "content": "An answer.",
          "executionTimeMs": "<ms>",
          "id": "<id>",
          "index": 2,
          "role": "assistant",
          "tokenUsage": {
            "completionTokens": 2,
            "promptTokens": 10,
            "totalTokens": 12
          }
        }
      ],
      "executionTimeMs": "<ms>",
      "jsonResponse": null,
      "lastAgentIterationId": "<id>",
      "response": "An answer.",
      "threadId": "<id>",
      "tokenUsageSummary": {
        "completionTokens": 2,
        "promptTokens": 10,
        "totalTokens": 12
      }
    }
    "#);
    assert_eq!(host.get(&format!("/v1/runs/{run}")).await.status().as_u16(), 200);
}

#[tokio::test]
async fn a_tool_that_the_model_asks_for_is_two_steps() {
    let model = ScriptedModel::start().await;
    model.then(Answer::tool("corpus_search", json!({"query": "vec"}))).then(Answer::text("Found."));
    let corpus = tempfile::tempdir().unwrap();
    std::fs::write(corpus.path().join("vec.md"), "# Vec\nA vec is a growable array.").unwrap();
    let host = Host::builder().model(&model).corpus(corpus.path()).start().await;
    let mut body = agent("a");
    body["scenarios"] = json!([{"makeScenarioId": scenario(&host, "corpus_search").await}]);
    let made = created(&host, &body).await;
    let answer = host.post_ok(&path(&made, "/run"), &ask("What is a vec?")).await;
    let steps = answer["executionSteps"].as_array().unwrap();
    let roles: Vec<&Value> = steps.iter().map(|step| &step["role"]).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "assistant"], "{answer:#}");
    assert!(steps.iter().enumerate().all(|(index, step)| step["index"] == index), "{answer:#}");
    assert_eq!(
        steps[2]["toolCalls"],
        json!([{"id": "call_1", "name": "corpus_search", "arguments": {"query": "vec"}}])
    );
    assert_eq!(steps[2]["agentIterationId"], steps[3]["agentIterationId"]);
    assert_ne!(steps[3]["agentIterationId"], steps[4]["agentIterationId"]);
    assert_eq!(answer["lastAgentIterationId"], steps[4]["agentIterationId"]);
    let response = &steps[3]["toolResponse"];
    assert_eq!((&response["toolCallId"], &response["toolName"]), (&json!("call_1"), &json!("corpus_search")));
    assert!(steps[3]["content"].as_str().unwrap().contains("growable"), "{answer:#}");
    let offered = &model.requests()[0]["tools"];
    assert_eq!(offered.as_array().unwrap().len(), 1, "the agent has this tool and no other: {offered}");
}

#[tokio::test]
async fn a_thread_goes_on_where_it_was_and_only_with_its_agent() {
    let (model, host) = answering().await;
    let (first, other) = (created(&host, &agent("a")).await, created(&host, &agent("b")).await);
    let answer = host.post_ok(&path(&first, "/run"), &ask("My name is Ada.")).await;
    let thread = answer["threadId"].as_str().unwrap();
    let mut next = ask("What is my name?");
    next["threadId"] = json!(thread);
    assert_eq!(host.post_ok(&path(&first, "/run"), &next).await["threadId"], thread);
    assert!(model.requests()[1]["messages"].to_string().contains("My name is Ada."));

    let refused = shown(host.post(&path(&other, "/run"), &next).await).await;
    next["threadId"] = json!("nowhere");
    assert_eq!(shown(host.post(&path(&first, "/run"), &next).await).await, refused);
    assert_snapshot!(refused, @r#"404 {"detail":"the agent has no such thread; leave threadId out to begin one","message":"Not Found","code":"SC404","suberrors":[{"message":"the agent has no such thread; leave threadId out to begin one"}]}"#);
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test]
async fn a_runs_own_config_takes_effect_and_does_not_stay() {
    let model = ScriptedModel::start().await;
    model.then(Answer::text("{\"n\": 1}")).then(Answer::text("Plain."));
    let host = host(&model).await;
    let made = created(&host, &agent("a")).await;
    let body = json!({
        "messages": [
            {"role": "user", "content": "One?"}, {"role": "assistant", "content": "Two."}, {"role": "user", "content": "Three?"}
        ],
        "config": {
            "systemPrompt": "Answer with a number.", "additionalSystemPrompt": "Always.", "scenarios": [],
            "historyConfig": {"iterationsFromHistoryCount": 1}, "llmConfig": {"maxTokens": 77},
            "invocationConfig": {"recursionLimit": 2, "timeout": 30}, "mcpConfigs": [],
            "outputParser": {"type": "json", "schema": {"type": "object", "required": ["n"]}}
        }
    });
    let answer = host.post_ok(&path(&made, "/run"), &body).await;
    assert_eq!(answer["jsonResponse"], json!({"n": 1}), "{answer:#}");
    let steps = answer["executionSteps"].as_array().unwrap();
    let system = steps[0]["content"].as_str().unwrap();
    assert!(system.starts_with("Answer with a number.\n\nAlways.\nCurrent time (ISO): "), "{system}");
    assert_eq!((&steps[1]["content"], &steps[2]["content"]), (&json!("One?"), &json!("Three?")));
    let given = model.requests()[0].clone();
    for said in ["One?", "Two.", "Three?"] {
        assert!(given["messages"].to_string().contains(said), "{given:#}");
    }
    assert!(given.to_string().contains("77"), "the bound on its answer: {given:#}");

    let (_, same) = host.json(Method::GET, &path(&made, ""), None).await;
    assert_eq!((&same["systemPrompt"], &same["pastConfigurations"]), (&json!("do what user says"), &json!([])));
    let plain = host.post_ok(&path(&made, "/run"), &ask("And?")).await;
    assert_eq!((&plain["response"], &plain["jsonResponse"]), (&json!("Plain."), &Value::Null));
}

#[tokio::test]
async fn a_run_that_fails_is_an_error_whole_and_streamed() {
    let model = ScriptedModel::start().await;
    model.always(Answer::Refusal(axum::http::StatusCode::UNAUTHORIZED));
    let host = host(&model).await;
    let made = created(&host, &agent("a")).await;
    let failed = host.post(&path(&made, "/run"), &ask("Hello?")).await;
    assert!(failed.headers().contains_key("x-run-id"));
    assert_eq!(failed.status().as_u16(), 424);
    let error: Value = failed.json().await.unwrap();
    assert_eq!((&error["code"], &error["message"]), (&json!("SC424"), &json!("Failed Dependency")), "{error}");
    let events = SseStream::new(host.post(&path(&made, "/run/stream"), &ask("Hello?")).await).rest().await;
    let last = events.last().unwrap();
    assert_eq!(last.event.as_deref(), Some("error"));
    assert_eq!(last.json(), error, "the same error");
}

#[tokio::test]
async fn agents_of_other_teams_and_tenants_are_not_there() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let (host, keys) = host_of_two(|builder| builder.model(&model)).await;
    let (status, team) = host.json(Method::POST, "/v1/teams", Some(&json!({"name": "second"}))).await;
    assert_eq!((status, &team["id"]), (201, &json!(2)), "{team}");
    let made = created(&host, &agent("a")).await;
    let (status, elsewhere) = host
        .json(
            Method::POST,
            &format!("{AGENTS}?teamId=2"),
            Some(&{
                let mut body = agent("b");
                body.as_object_mut().unwrap().remove("teamId");
                body
            }),
        )
        .await;
    assert_eq!((status, &elsewhere["teamId"]), (201, &json!(2)), "{elsewhere}");
    assert_eq!(host.json(Method::GET, &format!("{AGENTS}?teamId=2"), None).await.1, json!([elsewhere]));

    let unknown = path(&json!({"id": "01900000-0000-7000-8000-000000000000"}), "");
    let missing = host.json(Method::GET, &unknown, None).await;
    assert_eq!(missing.0, 404);
    let (one, run, other_team) =
        (path(&made, ""), path(&made, "/run"), path(&made, "").replace("teamId=1", "teamId=2"));
    assert_eq!(host.json(Method::GET, &other_team, None).await, missing);
    for (method, path, body) in [
        (Method::GET, &one, None),
        (Method::PATCH, &one, Some(json!({"name": "mine"}))),
        (Method::DELETE, &one, None),
        (Method::POST, &run, Some(ask("Hello?"))),
        (Method::POST, &path(&made, "/run/stream"), Some(ask("Hello?"))),
    ] {
        assert_eq!(host.json_as(&keys.foreign, method.clone(), path, body.as_ref()).await, missing, "{method} {path}");
    }
    assert_eq!(host.json_as(&keys.foreign, Method::GET, &format!("{AGENTS}?teamId=1"), None).await, (200, json!([])));
    assert_eq!(host.json_as(&keys.foreign, Method::GET, &format!("{AGENTS}?teamId=2"), None).await.0, 404);
    // Names are unique within a tenant, not among them.
    assert_eq!(host.json_as(&keys.foreign, Method::POST, AGENTS, Some(&agent("a"))).await.0, 201);
    let moved = host.json(Method::PATCH, &one, Some(&json!({"teamId": 2}))).await;
    assert_eq!(moved, (204, Value::Null));
    assert_eq!(host.json(Method::GET, &one, None).await, missing, "it is of another team by now");
    assert_eq!(host.json(Method::GET, &other_team, None).await.0, 200);
    assert!(model.requests().is_empty());
}

#[tokio::test]
async fn agents_threads_and_steps_are_there_after_kill_9() {
    let (model, host) = answering().await;
    let made = created(&host, &agent("a")).await;
    assert_eq!(host.json(Method::PATCH, &path(&made, ""), Some(&json!({"systemPrompt": "New."}))).await.0, 204);
    let answer = host.post_ok(&path(&made, "/run"), &ask("My name is Ada.")).await;
    let (_, before) = host.json(Method::GET, &path(&made, ""), None).await;
    let host = Host::builder().model(&model).data(host.kill().await).start().await;
    assert_eq!(host.json(Method::GET, &path(&made, ""), None).await, (200, before));
    let mut next = ask("And?");
    next["threadId"] = answer["threadId"].clone();
    host.post_ok(&path(&made, "/run"), &next).await;
    assert!(model.requests().last().unwrap()["messages"].to_string().contains("My name is Ada."));
}

#[tokio::test]
async fn an_agent_of_another_dialect_is_shown_and_run() {
    let (_model, host) = answering().await;
    let (status, made) = host.json(Method::POST, "/v1/agents", Some(&json!({"name": "plain"}))).await;
    assert_eq!(status, 201, "{made}");
    let (_, shown) = host.json(Method::GET, &path(&made, ""), None).await;
    assert_eq!((&shown["defaultModel"], &shown["llmProviderId"]), (&json!("scripted"), &json!("openai")), "the host's");
    let (_, tools) = host.json(Method::GET, "/v1/tools", None).await;
    assert_eq!(shown["scenarios"].as_array().unwrap().len(), tools["data"].as_array().unwrap().len(), "all of them");
    let answer = host.post_ok(&path(&made, "/run"), &ask("Hello?")).await;
    let system = answer["executionSteps"][0]["content"].as_str().unwrap();
    assert!(system.starts_with("Current time (ISO): "), "{system}");
    let mine = created(&host, &agent("a")).await;
    let (status, one) = host.json(Method::GET, &format!("/v1/agents/{}", id(&mine)), None).await;
    assert_eq!((status, &one["prompt"]), (200, &json!("do what user says")), "{one}");
}

#[tokio::test]
async fn an_agents_contexts_are_shown_with_what_the_documents_are_until_they_are_gone() {
    let (_model, host) = answering().await;
    let document = json!({
        "name": "handbook.md", "description": "How we work.", "mediaType": "text/markdown", "text": "# Work\nSlowly.",
        "metadata": {"owner": "ops"}
    });
    let (status, kept) = host.json(Method::POST, "/v1/corpora/books/documents", Some(&document)).await;
    assert_eq!(status, 201, "{kept}");
    let mut body = agent("a");
    body["contexts"] = json!([{"id": kept["id"]}]);
    let made = created(&host, &body).await;
    assert_snapshot!(told(&made["contexts"]), @r#"
    [
      {
        "agentId": "<id>",
        "createdAt": "<time>",
        "description": "How we work.",
        "documentName": "handbook.md",
        "id": "<id>",
        "isTemporary": false,
        "metadata": {
          "owner": "ops"
        }
      }
    ]
    "#);
    let (_, listed) = host.json(Method::GET, &format!("{AGENTS}?teamId=1"), None).await;
    assert_eq!(listed[0]["contexts"], made["contexts"]);
    // What a change does not name stays.
    assert_eq!(host.json(Method::PATCH, &path(&made, ""), Some(&json!({"name": "b"}))).await.0, 204);
    let removed = format!("/v1/corpora/books/documents/{}", kept["id"].as_str().unwrap());
    assert_eq!(host.json(Method::DELETE, &removed, None).await.0, 204);
    let (_, one) = host.json(Method::GET, &path(&made, ""), None).await;
    assert_eq!(one["contexts"][0]["id"], kept["id"]);
    assert_eq!(one["contexts"][0]["documentName"], Value::Null, "{one:#}");
    assert_eq!(one["pastConfigurations"][0]["contexts"], json!([{"id": kept["id"]}]));
}

#[tokio::test]
async fn a_key_may_do_what_its_scopes_say() {
    let (_, data) = Host::builder().start().await.stop().await;
    let cli = Cli::on(data.path());
    let reads = cli.output(&["key", "create", "--scope", "ai-agents:read"]).await;
    let writes = cli.output(&["key", "create", "--scope", "ai-agents:write"]).await;
    let host = Host::builder().data(data).start().await;
    let list = format!("{AGENTS}?teamId=1");
    assert_eq!(host.json_as(&reads, Method::GET, &list, None).await.0, 200);
    let (status, refused) = host.json_as(&reads, Method::POST, AGENTS, Some(&agent("a"))).await;
    assert_eq!(status, 403);
    assert_snapshot!(refused.to_string(), @r#"{"code":"IM002","detail":"this needs a key with the scope agents:write","message":"Access denied."}"#);
    assert_eq!(host.json_as(&writes, Method::GET, &list, None).await.0, 403);
    let (status, told) = host.json_as(&writes, Method::POST, AGENTS, Some(&agent("a"))).await;
    assert_eq!(status, 400, "the key may, the model is not there: {told}");
    assert_snapshot!(told.to_string(), @r#"{"code":"SC400","detail":"makeConnectionId must be one of 4 (embedded)","message":"Bad Request","suberrors":[{"message":"makeConnectionId must be one of 4 (embedded)"}]}"#);
}

#[tokio::test]
async fn methods_that_the_document_does_not_have_are_refused() {
    let (_model, host) = answering().await;
    let made = created(&host, &agent("a")).await;
    let list = format!("{AGENTS}?teamId=1");
    for (method, path, allowed) in [
        (Method::HEAD, &list, "GET, POST"),
        (Method::OPTIONS, &list, "GET, POST"),
        (Method::DELETE, &list, "GET, POST"),
        (Method::HEAD, &path(&made, ""), "GET, PATCH, DELETE"),
        (Method::PUT, &path(&made, ""), "GET, PATCH, DELETE"),
        (Method::GET, &path(&made, "/run"), "POST"),
        (Method::HEAD, &path(&made, "/run/stream"), "POST"),
    ] {
        let response = host.send(host.request(method.clone(), path)).await;
        assert_eq!(response.status().as_u16(), 405, "{method} {path}");
        assert_eq!(response.headers()["allow"], allowed, "{method} {path}");
    }
    let put = host.send(host.request(Method::PUT, &list)).await;
    assert_snapshot!(shown(put).await, @r#"405 {"detail":"this path does not take PUT; it takes GET, POST","message":"Method Not Allowed","code":"SC405"}"#);
    let nowhere = host.get("/api/v2/ai-agents/v1/nowhere").await;
    assert_snapshot!(shown(nowhere).await, @r#"404 {"detail":"there is no GET /api/v2/ai-agents/v1/nowhere","message":"Not Found","code":"SC404"}"#);
}

#[tokio::test]
async fn what_is_wrong_with_an_agent_is_told_with_its_field() {
    let model = ScriptedModel::start().await;
    let (host, keys) = host_of_two(|builder| builder.model(&model)).await;
    created(&host, &agent("taken")).await;
    let fetch = scenario(&host, "web_fetch").await;
    let body = json!({
        "name": "a", "teamId": 1, "makeConnectionId": 1, "defaultModel": "scripted", "systemPrompt": "p",
        "llmConfig": {"maxTokens": 5}, "scenarios": [{"makeScenarioId": fetch, "approvalMode": "auto-run"}],
        "historyConfig": {"iterationsFromHistoryCount": 2}, "mcpConfigs": [], "contexts": [],
        "outputParserFormat": {"type": "json", "schema": {}}, "invocationConfig": {"recursionLimit": 2, "timeout": 3}
    });
    let mut bad = BadInput::new(&host, &keys);
    bad.route(&Route::new(Method::POST, AGENTS, Some(&body))).await;
    let create = Route::new(Method::POST, AGENTS, Some(&body));
    wrong_fields(&mut bad, &create).await;
    for (case, fields) in [
        ("no name", json!({"name": null})),
        ("no team", json!({"teamId": null})),
        ("no connection", json!({"makeConnectionId": null})),
        ("no model", json!({"defaultModel": null})),
        ("no prompt", json!({"systemPrompt": null})),
    ] {
        bad.with(case, &create, fields).await;
    }
    bad.json("two teams", Method::POST, &format!("{AGENTS}?teamId=2"), &body).await;
    bad.json("an unknown parameter", Method::POST, &format!("{AGENTS}?teamid=1"), &body).await;
    assert_snapshot!(bad.table(), @r#"
    # POST /api/v2/ai-agents/v1/agents
    no key: 401 {"message":"Access denied.","code":"IM001"}
    a wrong key: 401 {"message":"Access denied.","code":"IM001"}
    a key for other things: 403 {"detail":"this needs a key with the scope agents:write","message":"Access denied.","code":"IM002"}
    with PUT: 405 {"detail":"this path does not take PUT; it takes GET, POST","message":"Method Not Allowed","code":"SC405"}
    no body: 400 {"detail":"the body is not JSON: EOF while parsing a value at line 1 column 0","message":"Bad Request","code":"SC400"}
    broken JSON: 400 {"detail":"there is no field a, expected one of `name`, `teamId`, `makeConnectionId`, `defaultModel`, `systemPrompt`, `llmConfig`, `scenarios`, `historyConfig`, `mcpConfigs`, `contexts`, `outputParserFormat`, `invocationConfig`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field a, expected one of `name`, `teamId`, `makeConnectionId`, `defaultModel`, `systemPrompt`, `llmConfig`, `scenarios`, `historyConfig`, `mcpConfigs`, `contexts`, `outputParserFormat`, `invocationConfig`"}]}
    an array: 400 {"detail":"the body must be a JSON object, not an array","message":"Bad Request","code":"SC400"}
    a number: 400 {"detail":"the body is not as documented: invalid type: integer `7`, expected an object","message":"Bad Request","code":"SC400"}
    a form: 415 {"detail":"the body must be JSON: send it with Content-Type: application/json","message":"Unsupported Media Type","code":"SC415"}
    two bodies: 400 {"detail":"the body is not JSON: trailing characters at line 1 column 372","message":"Bad Request","code":"SC400"}
    too much: 413 {"detail":"the body is larger than 1048576 bytes","message":"Payload Too Large","code":"SC413"}
    an unknown field: 400 {"detail":"there is no field unheardOf, expected one of `name`, `teamId`, `makeConnectionId`, `defaultModel`, `systemPrompt`, `llmConfig`, `scenarios`, `historyConfig`, `mcpConfigs`, `contexts`, `outputParserFormat`, `invocationConfig`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field unheardOf, expected one of `name`, `teamId`, `makeConnectionId`, `defaultModel`, `systemPrompt`, `llmConfig`, `scenarios`, `historyConfig`, `mcpConfigs`, `contexts`, `outputParserFormat`, `invocationConfig`"}]}
    /contexts = true: 400 {"detail":"contexts: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"contexts: invalid type: boolean `true`, expected an array"}]}
    /defaultModel = true: 400 {"detail":"defaultModel: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"defaultModel: invalid type: boolean `true`, expected a string"}]}
    /historyConfig = true: 400 {"detail":"historyConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"historyConfig: invalid type: boolean `true`, expected an object"}]}
    /historyConfig/iterationsFromHistoryCount = true: 400 {"detail":"historyConfig.iterationsFromHistoryCount: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"historyConfig.iterationsFromHistoryCount: invalid type: boolean `true`, expected an integer from 0"}]}
    /invocationConfig = true: 400 {"detail":"invocationConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig: invalid type: boolean `true`, expected an object"}]}
    /invocationConfig/recursionLimit = true: 400 {"detail":"invocationConfig.recursionLimit: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.recursionLimit: invalid type: boolean `true`, expected an integer from 0"}]}
    /invocationConfig/timeout = true: 400 {"detail":"invocationConfig.timeout: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.timeout: invalid type: boolean `true`, expected an integer from 0"}]}
    /llmConfig = true: 400 {"detail":"llmConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"llmConfig: invalid type: boolean `true`, expected an object"}]}
    /llmConfig/maxTokens = true: 400 {"detail":"llmConfig.maxTokens: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"llmConfig.maxTokens: invalid type: boolean `true`, expected an integer from 0"}]}
    /makeConnectionId = true: 400 {"detail":"makeConnectionId: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"makeConnectionId: invalid type: boolean `true`, expected an integer from 0"}]}
    /mcpConfigs = true: 400 {"detail":"mcpConfigs: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"mcpConfigs: invalid type: boolean `true`, expected an array"}]}
    /name = true: 400 {"detail":"name: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"name: invalid type: boolean `true`, expected a string"}]}
    /outputParserFormat = true: 400 {"detail":"outputParserFormat: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat: invalid type: boolean `true`, expected an object"}]}
    /outputParserFormat/schema = true: 400 {"detail":"outputParserFormat.schema: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat.schema: invalid type: boolean `true`, expected an object"}]}
    /outputParserFormat/type = true: 400 {"detail":"outputParserFormat.type: invalid type, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat.type: invalid type, expected a string"}]}
    /scenarios = true: 400 {"detail":"scenarios: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios: invalid type: boolean `true`, expected an array"}]}
    /scenarios/0 = true: 400 {"detail":"scenarios[0]: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0]: invalid type: boolean `true`, expected an object"}]}
    /scenarios/0/approvalMode = true: 400 {"detail":"scenarios[0].approvalMode: invalid type, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0].approvalMode: invalid type, expected a string"}]}
    /scenarios/0/makeScenarioId = true: 400 {"detail":"scenarios[0].makeScenarioId: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0].makeScenarioId: invalid type: boolean `true`, expected an integer from 0"}]}
    /systemPrompt = true: 400 {"detail":"systemPrompt: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"systemPrompt: invalid type: boolean `true`, expected a string"}]}
    /teamId = true: 400 {"detail":"teamId: invalid type: boolean `true`, expected an integer from 1","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId: invalid type: boolean `true`, expected an integer from 1"}]}
    an empty name: 400 {"detail":"name must have 1 to 128 characters, not 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"name must have 1 to 128 characters, not 0"}]}
    a name of spaces: 400 {"detail":"name must not begin or end with a space, nor hold a line break or a tab","message":"Bad Request","code":"SC400","suberrors":[{"message":"name must not begin or end with a space, nor hold a line break or a tab"}]}
    a name that is an id: 400 {"detail":"name must not be a UUID: those are ids","message":"Bad Request","code":"SC400","suberrors":[{"message":"name must not be a UUID: those are ids"}]}
    a long name: 400 {"detail":"name must have 1 to 128 characters, not 129","message":"Bad Request","code":"SC400","suberrors":[{"message":"name must have 1 to 128 characters, not 129"}]}
    a name that is taken: 409 {"detail":"another agent has the name \"taken\"; names are unique within a tenant","message":"Conflict","code":"SC409","suberrors":[{"message":"another agent has the name \"taken\"; names are unique within a tenant"}]}
    a control character: 400 {"detail":"systemPrompt must not hold the control character U+0000","message":"Bad Request","code":"SC400","suberrors":[{"message":"systemPrompt must not hold the control character U+0000"}]}
    an empty prompt: 400 {"detail":"systemPrompt must have at least 1 character","message":"Bad Request","code":"SC400","suberrors":[{"message":"systemPrompt must have at least 1 character"}]}
    a long prompt: 400 {"detail":"systemPrompt must have at most 200000 characters, not 200001","message":"Bad Request","code":"SC400","suberrors":[{"message":"systemPrompt must have at most 200000 characters, not 200001"}]}
    team 0: 400 {"detail":"teamId: invalid value: integer `0`, expected an integer from 1","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId: invalid value: integer `0`, expected an integer from 1"}]}
    an unknown team: 404 {"detail":"there is no team 7","message":"Not Found","code":"SC404"}
    connection 0: 400 {"detail":"makeConnectionId must be one of 1 (openai), 4 (embedded)","message":"Bad Request","code":"SC400","suberrors":[{"message":"makeConnectionId must be one of 1 (openai), 4 (embedded)"}]}
    an unknown connection: 400 {"detail":"makeConnectionId must be one of 1 (openai), 4 (embedded)","message":"Bad Request","code":"SC400","suberrors":[{"message":"makeConnectionId must be one of 1 (openai), 4 (embedded)"}]}
    an empty model: 400 {"detail":"defaultModel must have 1 to 180 characters and no control characters","message":"Bad Request","code":"SC400","suberrors":[{"message":"defaultModel must have 1 to 180 characters and no control characters"}]}
    a long model: 400 {"detail":"defaultModel must have 1 to 180 characters and no control characters","message":"Bad Request","code":"SC400","suberrors":[{"message":"defaultModel must have 1 to 180 characters and no control characters"}]}
    no tokens: 400 {"detail":"llmConfig.maxTokens must be an integer from 1 to 1000000, not 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"llmConfig.maxTokens must be an integer from 1 to 1000000, not 0"}]}
    too many tokens: 400 {"detail":"llmConfig.maxTokens must be an integer from 1 to 1000000, not 1000001","message":"Bad Request","code":"SC400","suberrors":[{"message":"llmConfig.maxTokens must be an integer from 1 to 1000000, not 1000001"}]}
    an unknown scenario: 400 {"detail":"scenarios[0].makeScenarioId must be the number of a tool; there are: <tools>","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0].makeScenarioId must be the number of a tool; there are: <tools>"}]}
    a scenario without a number: 400 {"detail":"scenarios[0].makeScenarioId is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0].makeScenarioId is required"}]}
    an unknown approval mode: 400 {"detail":"scenarios[0].approvalMode: unknown variant `never`, expected `auto-run` or `approval-required`","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0].approvalMode: unknown variant `never`, expected `auto-run` or `approval-required`"}]}
    too long a history: 400 {"detail":"historyConfig.iterationsFromHistoryCount must be an integer from 0 to 1000, not 1001","message":"Bad Request","code":"SC400","suberrors":[{"message":"historyConfig.iterationsFromHistoryCount must be an integer from 0 to 1000, not 1001"}]}
    an MCP connection: 400 {"detail":"mcpConfigs[0].mcpConnectionId must be the number of an MCP server; there are: none","message":"Bad Request","code":"SC400","suberrors":[{"message":"mcpConfigs[0].mcpConnectionId must be the number of an MCP server; there are: none"}]}
    a context that is no id: 400 {"detail":"contexts[0].id: UUID parsing failed: invalid character: found `x` at 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"contexts[0].id: UUID parsing failed: invalid character: found `x` at 0"}]}
    an unknown context: 400 {"detail":"contexts names the document <id>, and there is none of this id","message":"Bad Request","code":"SC400","suberrors":[{"message":"contexts names the document <id>, and there is none of this id"}]}
    a context without an id: 400 {"detail":"contexts[0].id is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"contexts[0].id is required"}]}
    an unknown type: 400 {"detail":"outputParserFormat.type: unknown variant `xml`, expected `text` or `json`","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat.type: unknown variant `xml`, expected `text` or `json`"}]}
    text by a schema: 400 {"detail":"outputParserFormat must not have a schema where its type is text; leave the schema out, or say json","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat must not have a schema where its type is text; leave the schema out, or say json"}]}
    a schema that is none: 400 {"detail":"outputParserFormat holds no valid JSON Schema: \"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat holds no valid JSON Schema: \"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword"}]}
    no cycles: 400 {"detail":"invocationConfig.recursionLimit must be an integer from 1 to 100, not 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.recursionLimit must be an integer from 1 to 100, not 0"}]}
    too many cycles: 400 {"detail":"invocationConfig.recursionLimit must be an integer from 1 to 100, not 101","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.recursionLimit must be an integer from 1 to 100, not 101"}]}
    no time: 400 {"detail":"invocationConfig.timeout must be an integer from 1 to 86400, not 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.timeout must be an integer from 1 to 86400, not 0"}]}
    too much time: 400 {"detail":"invocationConfig.timeout must be an integer from 1 to 86400, not 86401","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.timeout must be an integer from 1 to 86400, not 86401"}]}
    an unknown key: 400 {"detail":"there is no field invocationConfig.limit, expected `recursionLimit` or `timeout`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field invocationConfig.limit, expected `recursionLimit` or `timeout`"}]}
    an array for an object: 400 {"detail":"llmConfig: invalid type: an array, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"llmConfig: invalid type: an array, expected an object"}]}
    no name: 400 {"detail":"name is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"name is required"}]}
    no team: 400 {"detail":"teamId is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId is required"}]}
    no connection: 400 {"detail":"makeConnectionId is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"makeConnectionId is required"}]}
    no model: 400 {"detail":"defaultModel is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"defaultModel is required"}]}
    no prompt: 400 {"detail":"systemPrompt is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"systemPrompt is required"}]}
    two teams: 400 {"detail":"teamId is 2 in the query string and 1 in the body; one is enough","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId is 2 in the query string and 1 in the body; one is enough"}]}
    an unknown parameter: 400 {"detail":"there is no parameter \"teamid\"; there are: teamId","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no parameter \"teamid\"; there are: teamId"}]}
    "#);
}

/// Fields of an agent that are wrong in their values.
async fn wrong_fields(bad: &mut BadInput<'_>, route: &Route<'_>) {
    for (case, fields) in [
        ("an empty name", json!({"name": ""})),
        ("a name of spaces", json!({"name": " a "})),
        ("a name that is an id", json!({"name": "01900000-0000-7000-8000-000000000000"})),
        ("a long name", json!({"name": "x".repeat(129)})),
        ("a name that is taken", json!({"name": "taken"})),
        ("a control character", json!({"systemPrompt": "a\u{0}b"})),
        ("an empty prompt", json!({"systemPrompt": ""})),
        ("a long prompt", json!({"systemPrompt": "x".repeat(200_001)})),
        ("team 0", json!({"teamId": 0})),
        ("an unknown team", json!({"teamId": 7})),
        ("connection 0", json!({"makeConnectionId": 0})),
        ("an unknown connection", json!({"makeConnectionId": 2})),
        ("an empty model", json!({"defaultModel": ""})),
        ("a long model", json!({"defaultModel": "x".repeat(181)})),
        ("no tokens", json!({"llmConfig": {"maxTokens": 0}})),
        ("too many tokens", json!({"llmConfig": {"maxTokens": 1_000_001}})),
        ("an unknown scenario", json!({"scenarios": [{"makeScenarioId": 1}]})),
        ("a scenario without a number", json!({"scenarios": [{}]})),
        ("an unknown approval mode", json!({"scenarios": [{"makeScenarioId": 1, "approvalMode": "never"}]})),
        ("too long a history", json!({"historyConfig": {"iterationsFromHistoryCount": 1001}})),
        ("an MCP connection", json!({"mcpConfigs": [{"mcpConnectionId": 1, "toolIds": []}]})),
        ("a context that is no id", json!({"contexts": [{"id": "x"}]})),
        ("an unknown context", json!({"contexts": [{"id": "01900000-0000-7000-8000-000000000000"}]})),
        ("a context without an id", json!({"contexts": [{}]})),
        ("an unknown type", json!({"outputParserFormat": {"type": "xml"}})),
        ("text by a schema", json!({"outputParserFormat": {"type": "text", "schema": {}}})),
        ("a schema that is none", json!({"outputParserFormat": {"schema": {"type": "nonsense"}}})),
        ("no cycles", json!({"invocationConfig": {"recursionLimit": 0}})),
        ("too many cycles", json!({"invocationConfig": {"recursionLimit": 101}})),
        ("no time", json!({"invocationConfig": {"timeout": 0}})),
        ("too much time", json!({"invocationConfig": {"timeout": 86_401}})),
        ("an unknown key", json!({"invocationConfig": {"limit": 1}})),
        ("an array for an object", json!({"llmConfig": []})),
    ] {
        bad.with(case, route, fields).await;
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_change_or_a_look_is_told_with_its_field() {
    let model = ScriptedModel::start().await;
    let (host, keys) = host_of_two(|builder| builder.model(&model)).await;
    created(&host, &agent("taken")).await;
    let made = created(&host, &agent("a")).await;
    let fetch = scenario(&host, "web_fetch").await;
    let body = json!({
        "name": "a", "teamId": 1, "makeConnectionId": 1, "defaultModel": "scripted", "systemPrompt": "p",
        "llmConfig": {"maxTokens": 5}, "scenarios": [{"makeScenarioId": fetch, "approvalMode": "auto-run"}],
        "historyConfig": {"iterationsFromHistoryCount": 2}, "mcpConfigs": [], "contexts": [],
        "outputParserFormat": {"type": "json", "schema": {}}, "invocationConfig": {"recursionLimit": 2, "timeout": 3}
    });
    let mut bad = BadInput::new(&host, &keys);
    let one = path(&made, "");
    let modify = Route::new(Method::PATCH, &one, Some(&body));
    bad.route(&modify).await;
    wrong_fields(&mut bad, &modify).await;
    for field in ["name", "teamId", "makeConnectionId", "defaultModel", "systemPrompt"] {
        bad.json(&format!("{field} = null"), Method::PATCH, &one, &json!({ field: null })).await;
    }
    assert_snapshot!(bad.table(), @r#"
    # PATCH /api/v2/ai-agents/v1/agents/<id>?teamId=1
    no key: 401 {"message":"Access denied.","code":"IM001"}
    a wrong key: 401 {"message":"Access denied.","code":"IM001"}
    a key for other things: 403 {"detail":"this needs a key with the scope agents:write","message":"Access denied.","code":"IM002"}
    with PUT: 405 {"detail":"this path does not take PUT; it takes GET, PATCH, DELETE","message":"Method Not Allowed","code":"SC405"}
    no body: 400 {"detail":"the body is not JSON: EOF while parsing a value at line 1 column 0","message":"Bad Request","code":"SC400"}
    broken JSON: 400 {"detail":"there is no field a, expected one of `name`, `teamId`, `makeConnectionId`, `defaultModel`, `systemPrompt`, `llmConfig`, `scenarios`, `historyConfig`, `mcpConfigs`, `contexts`, `outputParserFormat`, `invocationConfig`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field a, expected one of `name`, `teamId`, `makeConnectionId`, `defaultModel`, `systemPrompt`, `llmConfig`, `scenarios`, `historyConfig`, `mcpConfigs`, `contexts`, `outputParserFormat`, `invocationConfig`"}]}
    an array: 400 {"detail":"the body must be a JSON object, not an array","message":"Bad Request","code":"SC400"}
    a number: 400 {"detail":"the body is not as documented: invalid type: integer `7`, expected an object","message":"Bad Request","code":"SC400"}
    a form: 415 {"detail":"the body must be JSON: send it with Content-Type: application/json","message":"Unsupported Media Type","code":"SC415"}
    two bodies: 400 {"detail":"the body is not JSON: trailing characters at line 1 column 372","message":"Bad Request","code":"SC400"}
    too much: 413 {"detail":"the body is larger than 1048576 bytes","message":"Payload Too Large","code":"SC413"}
    an unknown field: 400 {"detail":"there is no field unheardOf, expected one of `name`, `teamId`, `makeConnectionId`, `defaultModel`, `systemPrompt`, `llmConfig`, `scenarios`, `historyConfig`, `mcpConfigs`, `contexts`, `outputParserFormat`, `invocationConfig`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field unheardOf, expected one of `name`, `teamId`, `makeConnectionId`, `defaultModel`, `systemPrompt`, `llmConfig`, `scenarios`, `historyConfig`, `mcpConfigs`, `contexts`, `outputParserFormat`, `invocationConfig`"}]}
    /contexts = true: 400 {"detail":"contexts: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"contexts: invalid type: boolean `true`, expected an array"}]}
    /defaultModel = true: 400 {"detail":"defaultModel: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"defaultModel: invalid type: boolean `true`, expected a string"}]}
    /historyConfig = true: 400 {"detail":"historyConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"historyConfig: invalid type: boolean `true`, expected an object"}]}
    /historyConfig/iterationsFromHistoryCount = true: 400 {"detail":"historyConfig.iterationsFromHistoryCount: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"historyConfig.iterationsFromHistoryCount: invalid type: boolean `true`, expected an integer from 0"}]}
    /invocationConfig = true: 400 {"detail":"invocationConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig: invalid type: boolean `true`, expected an object"}]}
    /invocationConfig/recursionLimit = true: 400 {"detail":"invocationConfig.recursionLimit: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.recursionLimit: invalid type: boolean `true`, expected an integer from 0"}]}
    /invocationConfig/timeout = true: 400 {"detail":"invocationConfig.timeout: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.timeout: invalid type: boolean `true`, expected an integer from 0"}]}
    /llmConfig = true: 400 {"detail":"llmConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"llmConfig: invalid type: boolean `true`, expected an object"}]}
    /llmConfig/maxTokens = true: 400 {"detail":"llmConfig.maxTokens: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"llmConfig.maxTokens: invalid type: boolean `true`, expected an integer from 0"}]}
    /makeConnectionId = true: 400 {"detail":"makeConnectionId: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"makeConnectionId: invalid type: boolean `true`, expected an integer from 0"}]}
    /mcpConfigs = true: 400 {"detail":"mcpConfigs: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"mcpConfigs: invalid type: boolean `true`, expected an array"}]}
    /name = true: 400 {"detail":"name: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"name: invalid type: boolean `true`, expected a string"}]}
    /outputParserFormat = true: 400 {"detail":"outputParserFormat: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat: invalid type: boolean `true`, expected an object"}]}
    /outputParserFormat/schema = true: 400 {"detail":"outputParserFormat.schema: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat.schema: invalid type: boolean `true`, expected an object"}]}
    /outputParserFormat/type = true: 400 {"detail":"outputParserFormat.type: invalid type, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat.type: invalid type, expected a string"}]}
    /scenarios = true: 400 {"detail":"scenarios: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios: invalid type: boolean `true`, expected an array"}]}
    /scenarios/0 = true: 400 {"detail":"scenarios[0]: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0]: invalid type: boolean `true`, expected an object"}]}
    /scenarios/0/approvalMode = true: 400 {"detail":"scenarios[0].approvalMode: invalid type, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0].approvalMode: invalid type, expected a string"}]}
    /scenarios/0/makeScenarioId = true: 400 {"detail":"scenarios[0].makeScenarioId: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0].makeScenarioId: invalid type: boolean `true`, expected an integer from 0"}]}
    /systemPrompt = true: 400 {"detail":"systemPrompt: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"systemPrompt: invalid type: boolean `true`, expected a string"}]}
    /teamId = true: 400 {"detail":"teamId: invalid type: boolean `true`, expected an integer from 1","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId: invalid type: boolean `true`, expected an integer from 1"}]}
    an empty name: 400 {"detail":"name must have 1 to 128 characters, not 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"name must have 1 to 128 characters, not 0"}]}
    a name of spaces: 400 {"detail":"name must not begin or end with a space, nor hold a line break or a tab","message":"Bad Request","code":"SC400","suberrors":[{"message":"name must not begin or end with a space, nor hold a line break or a tab"}]}
    a name that is an id: 400 {"detail":"name must not be a UUID: those are ids","message":"Bad Request","code":"SC400","suberrors":[{"message":"name must not be a UUID: those are ids"}]}
    a long name: 400 {"detail":"name must have 1 to 128 characters, not 129","message":"Bad Request","code":"SC400","suberrors":[{"message":"name must have 1 to 128 characters, not 129"}]}
    a name that is taken: 409 {"detail":"another agent has the name \"taken\"; names are unique within a tenant","message":"Conflict","code":"SC409","suberrors":[{"message":"another agent has the name \"taken\"; names are unique within a tenant"}]}
    a control character: 400 {"detail":"systemPrompt must not hold the control character U+0000","message":"Bad Request","code":"SC400","suberrors":[{"message":"systemPrompt must not hold the control character U+0000"}]}
    an empty prompt: 400 {"detail":"systemPrompt must have at least 1 character","message":"Bad Request","code":"SC400","suberrors":[{"message":"systemPrompt must have at least 1 character"}]}
    a long prompt: 400 {"detail":"systemPrompt must have at most 200000 characters, not 200001","message":"Bad Request","code":"SC400","suberrors":[{"message":"systemPrompt must have at most 200000 characters, not 200001"}]}
    team 0: 400 {"detail":"teamId: invalid value: integer `0`, expected an integer from 1","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId: invalid value: integer `0`, expected an integer from 1"}]}
    an unknown team: 404 {"detail":"there is no team 7","message":"Not Found","code":"SC404"}
    connection 0: 400 {"detail":"makeConnectionId must be one of 1 (openai), 4 (embedded)","message":"Bad Request","code":"SC400","suberrors":[{"message":"makeConnectionId must be one of 1 (openai), 4 (embedded)"}]}
    an unknown connection: 400 {"detail":"makeConnectionId must be one of 1 (openai), 4 (embedded)","message":"Bad Request","code":"SC400","suberrors":[{"message":"makeConnectionId must be one of 1 (openai), 4 (embedded)"}]}
    an empty model: 400 {"detail":"defaultModel must have 1 to 180 characters and no control characters","message":"Bad Request","code":"SC400","suberrors":[{"message":"defaultModel must have 1 to 180 characters and no control characters"}]}
    a long model: 400 {"detail":"defaultModel must have 1 to 180 characters and no control characters","message":"Bad Request","code":"SC400","suberrors":[{"message":"defaultModel must have 1 to 180 characters and no control characters"}]}
    no tokens: 400 {"detail":"llmConfig.maxTokens must be an integer from 1 to 1000000, not 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"llmConfig.maxTokens must be an integer from 1 to 1000000, not 0"}]}
    too many tokens: 400 {"detail":"llmConfig.maxTokens must be an integer from 1 to 1000000, not 1000001","message":"Bad Request","code":"SC400","suberrors":[{"message":"llmConfig.maxTokens must be an integer from 1 to 1000000, not 1000001"}]}
    an unknown scenario: 400 {"detail":"scenarios[0].makeScenarioId must be the number of a tool; there are: <tools>","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0].makeScenarioId must be the number of a tool; there are: <tools>"}]}
    a scenario without a number: 400 {"detail":"scenarios[0].makeScenarioId is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0].makeScenarioId is required"}]}
    an unknown approval mode: 400 {"detail":"scenarios[0].approvalMode: unknown variant `never`, expected `auto-run` or `approval-required`","message":"Bad Request","code":"SC400","suberrors":[{"message":"scenarios[0].approvalMode: unknown variant `never`, expected `auto-run` or `approval-required`"}]}
    too long a history: 400 {"detail":"historyConfig.iterationsFromHistoryCount must be an integer from 0 to 1000, not 1001","message":"Bad Request","code":"SC400","suberrors":[{"message":"historyConfig.iterationsFromHistoryCount must be an integer from 0 to 1000, not 1001"}]}
    an MCP connection: 400 {"detail":"mcpConfigs[0].mcpConnectionId must be the number of an MCP server; there are: none","message":"Bad Request","code":"SC400","suberrors":[{"message":"mcpConfigs[0].mcpConnectionId must be the number of an MCP server; there are: none"}]}
    a context that is no id: 400 {"detail":"contexts[0].id: UUID parsing failed: invalid character: found `x` at 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"contexts[0].id: UUID parsing failed: invalid character: found `x` at 0"}]}
    an unknown context: 400 {"detail":"contexts names the document <id>, and there is none of this id","message":"Bad Request","code":"SC400","suberrors":[{"message":"contexts names the document <id>, and there is none of this id"}]}
    a context without an id: 400 {"detail":"contexts[0].id is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"contexts[0].id is required"}]}
    an unknown type: 400 {"detail":"outputParserFormat.type: unknown variant `xml`, expected `text` or `json`","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat.type: unknown variant `xml`, expected `text` or `json`"}]}
    text by a schema: 400 {"detail":"outputParserFormat must not have a schema where its type is text; leave the schema out, or say json","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat must not have a schema where its type is text; leave the schema out, or say json"}]}
    a schema that is none: 400 {"detail":"outputParserFormat holds no valid JSON Schema: \"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword","message":"Bad Request","code":"SC400","suberrors":[{"message":"outputParserFormat holds no valid JSON Schema: \"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword"}]}
    no cycles: 400 {"detail":"invocationConfig.recursionLimit must be an integer from 1 to 100, not 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.recursionLimit must be an integer from 1 to 100, not 0"}]}
    too many cycles: 400 {"detail":"invocationConfig.recursionLimit must be an integer from 1 to 100, not 101","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.recursionLimit must be an integer from 1 to 100, not 101"}]}
    no time: 400 {"detail":"invocationConfig.timeout must be an integer from 1 to 86400, not 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.timeout must be an integer from 1 to 86400, not 0"}]}
    too much time: 400 {"detail":"invocationConfig.timeout must be an integer from 1 to 86400, not 86401","message":"Bad Request","code":"SC400","suberrors":[{"message":"invocationConfig.timeout must be an integer from 1 to 86400, not 86401"}]}
    an unknown key: 400 {"detail":"there is no field invocationConfig.limit, expected `recursionLimit` or `timeout`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field invocationConfig.limit, expected `recursionLimit` or `timeout`"}]}
    an array for an object: 400 {"detail":"llmConfig: invalid type: an array, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"llmConfig: invalid type: an array, expected an object"}]}
    name = null: 400 {"detail":"name: invalid type: null, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"name: invalid type: null, expected a string"}]}
    teamId = null: 400 {"detail":"teamId: invalid type: null, expected an integer from 1","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId: invalid type: null, expected an integer from 1"}]}
    makeConnectionId = null: 400 {"detail":"makeConnectionId: invalid type: null, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"makeConnectionId: invalid type: null, expected an integer from 0"}]}
    defaultModel = null: 400 {"detail":"defaultModel: invalid type: null, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"defaultModel: invalid type: null, expected a string"}]}
    systemPrompt = null: 400 {"detail":"systemPrompt: invalid type: null, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"systemPrompt: invalid type: null, expected a string"}]}
    "#);

    let mut bad = BadInput::new(&host, &keys);
    bad.route(&Route::new(Method::GET, format!("{AGENTS}?teamId=1"), None)).await;
    bad.route(&Route::new(Method::GET, &one, None)).await;
    bad.route(&Route::new(Method::DELETE, &one, None)).await;
    let bare = format!("{AGENTS}/{}", id(&made));
    let nobody = format!("{AGENTS}/01900000-0000-7000-8000-000000000000?teamId=1");
    let no_id = format!("{AGENTS}/a?teamId=1");
    for method in [Method::GET, Method::DELETE] {
        for (case, path) in [
            ("no team", bare.clone()),
            ("an empty team", format!("{bare}?teamId=")),
            ("team 0", format!("{bare}?teamId=0")),
            ("a team that is no number", format!("{bare}?teamId=x")),
            ("two teams", format!("{bare}?teamId=1&teamId=1")),
            ("an unknown team", format!("{bare}?teamId=7")),
            ("an unknown parameter", format!("{bare}?teamId=1&limit=1")),
            ("nobody's id", nobody.clone()),
            ("no id", no_id.clone()),
            ("a path that is no text", format!("{AGENTS}/%FF?teamId=1")),
        ] {
            bad.path(&format!("{method}, {case}"), method.clone(), &path).await;
        }
    }
    for query in
        ["", "?teamId=1&limit=0", "?teamId=1&limit=1001", "?teamId=1&cursor=x", "?teamId=1&page=2", "?teamId=%FF"]
    {
        bad.path(&format!("list{query}"), Method::GET, &format!("{AGENTS}{query}")).await;
    }
    assert_snapshot!(bad.table(), @r#"
    # GET /api/v2/ai-agents/v1/agents?teamId=1
    no key: 401 {"message":"Access denied.","code":"IM001"}
    a wrong key: 401 {"message":"Access denied.","code":"IM001"}
    a key for other things: 403 {"detail":"this needs a key with the scope agents:read","message":"Access denied.","code":"IM002"}
    with PUT: 405 {"detail":"this path does not take PUT; it takes GET, POST","message":"Method Not Allowed","code":"SC405"}
    # GET /api/v2/ai-agents/v1/agents/<id>?teamId=1
    no key: 401 {"message":"Access denied.","code":"IM001"}
    a wrong key: 401 {"message":"Access denied.","code":"IM001"}
    a key for other things: 403 {"detail":"this needs a key with the scope agents:read","message":"Access denied.","code":"IM002"}
    with PUT: 405 {"detail":"this path does not take PUT; it takes GET, PATCH, DELETE","message":"Method Not Allowed","code":"SC405"}
    # DELETE /api/v2/ai-agents/v1/agents/<id>?teamId=1
    no key: 401 {"message":"Access denied.","code":"IM001"}
    a wrong key: 401 {"message":"Access denied.","code":"IM001"}
    a key for other things: 403 {"detail":"this needs a key with the scope agents:write","message":"Access denied.","code":"IM002"}
    with PUT: 405 {"detail":"this path does not take PUT; it takes GET, PATCH, DELETE","message":"Method Not Allowed","code":"SC405"}
    GET, no team: 400 {"detail":"teamId is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId is required"}]}
    GET, an empty team: 400 {"detail":"teamId must be an integer from 1 to 4294967295","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId must be an integer from 1 to 4294967295"}]}
    GET, team 0: 400 {"detail":"teamId must be an integer from 1 to 4294967295","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId must be an integer from 1 to 4294967295"}]}
    GET, a team that is no number: 400 {"detail":"teamId must be an integer from 1 to 4294967295","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId must be an integer from 1 to 4294967295"}]}
    GET, two teams: 400 {"detail":"teamId is given more than once","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId is given more than once"}]}
    GET, an unknown team: 404 {"detail":"there is no team 7","message":"Not Found","code":"SC404"}
    GET, an unknown parameter: 400 {"detail":"there is no parameter \"limit\"; there are: teamId","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no parameter \"limit\"; there are: teamId"}]}
    GET, nobody's id: 404 {"detail":"there is no such agent","message":"Not Found","code":"SC404"}
    GET, no id: 404 {"detail":"there is no such agent","message":"Not Found","code":"SC404"}
    GET, a path that is no text: 404 {"detail":"there is nothing at a path that is not UTF-8","message":"Not Found","code":"SC404"}
    DELETE, no team: 400 {"detail":"teamId is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId is required"}]}
    DELETE, an empty team: 400 {"detail":"teamId must be an integer from 1 to 4294967295","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId must be an integer from 1 to 4294967295"}]}
    DELETE, team 0: 400 {"detail":"teamId must be an integer from 1 to 4294967295","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId must be an integer from 1 to 4294967295"}]}
    DELETE, a team that is no number: 400 {"detail":"teamId must be an integer from 1 to 4294967295","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId must be an integer from 1 to 4294967295"}]}
    DELETE, two teams: 400 {"detail":"teamId is given more than once","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId is given more than once"}]}
    DELETE, an unknown team: 404 {"detail":"there is no team 7","message":"Not Found","code":"SC404"}
    DELETE, an unknown parameter: 400 {"detail":"there is no parameter \"limit\"; there are: teamId","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no parameter \"limit\"; there are: teamId"}]}
    DELETE, nobody's id: 404 {"detail":"there is no such agent","message":"Not Found","code":"SC404"}
    DELETE, no id: 404 {"detail":"there is no such agent","message":"Not Found","code":"SC404"}
    DELETE, a path that is no text: 404 {"detail":"there is nothing at a path that is not UTF-8","message":"Not Found","code":"SC404"}
    list: 400 {"detail":"teamId is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId is required"}]}
    list?teamId=1&limit=0: 400 {"detail":"limit must be an integer from 1 to 1000","message":"Bad Request","code":"SC400","suberrors":[{"message":"limit must be an integer from 1 to 1000"}]}
    list?teamId=1&limit=1001: 400 {"detail":"limit must be an integer from 1 to 1000","message":"Bad Request","code":"SC400","suberrors":[{"message":"limit must be an integer from 1 to 1000"}]}
    list?teamId=1&cursor=x: 400 {"detail":"cursor must be one that the Link header of a page before this gave","message":"Bad Request","code":"SC400","suberrors":[{"message":"cursor must be one that the Link header of a page before this gave"}]}
    list?teamId=1&page=2: 400 {"detail":"there is no parameter \"page\"; there are: teamId, limit, cursor","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no parameter \"page\"; there are: teamId, limit, cursor"}]}
    list?teamId=%FF: 400 {"detail":"the query string must be percent-encoded UTF-8","message":"Bad Request","code":"SC400"}
    "#);
    let (_, same) = host.json(Method::GET, &one, None).await;
    assert_eq!(same["pastConfigurations"], json!([]), "nothing of all that has changed it");
}

#[tokio::test]
async fn what_is_wrong_with_a_run_is_told_with_its_field_before_anything_runs() {
    let model = ScriptedModel::start().await;
    let (host, keys) = host_of_two(|builder| builder.model(&model)).await;
    let made = created(&host, &agent("a")).await;
    let fetch = scenario(&host, "web_fetch").await;
    let body = json!({
        "messages": [{"role": "user", "content": "q"}],
        "callbackUrl": "https://example.com/done",
        "config": {
            "systemPrompt": "p", "additionalSystemPrompt": "q", "llmConfig": {"maxTokens": 5},
            "scenarios": [{"makeScenarioId": fetch, "approvalMode": "auto-run"}],
            "historyConfig": {"iterationsFromHistoryCount": 2}, "mcpConfigs": [],
            "outputParser": {"type": "json", "schema": {}}, "invocationConfig": {"recursionLimit": 2, "timeout": 3}
        }
    });
    let config = |config: Value| json!({ "config": config });
    for rest in ["/run", "/run/stream"] {
        let mut bad = BadInput::new(&host, &keys);
        let path = path(&made, rest);
        let route = Route::new(Method::POST, &path, Some(&body));
        bad.route(&route).await;
        for (case, fields) in [
            ("no messages", json!({"messages": null})),
            ("empty messages", json!({"messages": []})),
            ("an unknown role", json!({"messages": [{"role": "system", "content": "q"}]})),
            ("no content", json!({"messages": [{"role": "user"}]})),
            ("white space", json!({"messages": [{"role": "user", "content": " \n"}]})),
            ("a long message", json!({"messages": [{"role": "user", "content": "x".repeat(200_001)}]})),
            ("the agent last", json!({"messages": [{"role": "assistant", "content": "q"}]})),
            ("many messages", json!({"messages": vec![json!({"role": "user", "content": "q"}); 1001]})),
            ("a field of a message", json!({"messages": [{"role": "user", "content": "q", "name": "x"}]})),
            ("a thread with a space", json!({"threadId": "a b"})),
            ("a long thread", json!({"threadId": "x".repeat(129)})),
            ("an unknown thread", json!({"threadId": "nowhere"})),
            ("a relative callback", json!({"callbackUrl": "/done"})),
            ("a callback by another scheme", json!({"callbackUrl": "ftp://example.com/"})),
            ("a callback with a password", json!({"callbackUrl": "https://a:b@example.com/"})),
            ("an empty prompt", config(json!({"systemPrompt": ""}))),
            ("a long prompt", config(json!({"systemPrompt": "x".repeat(200_001)}))),
            ("an empty additional prompt", config(json!({"additionalSystemPrompt": ""}))),
            ("a long additional prompt", config(json!({"additionalSystemPrompt": "x".repeat(200_001)}))),
            ("no tokens", config(json!({"llmConfig": {"maxTokens": 0}}))),
            ("an unknown scenario", config(json!({"scenarios": [{"makeScenarioId": 1}]}))),
            ("too long a history", config(json!({"historyConfig": {"iterationsFromHistoryCount": 1001}}))),
            ("an MCP connection", config(json!({"mcpConfigs": [{}]}))),
            ("a schema that is none", config(json!({"outputParser": {"schema": {"type": "nonsense"}}}))),
            ("text by a schema", config(json!({"outputParser": {"type": "text", "schema": {}}}))),
            ("too many cycles", config(json!({"invocationConfig": {"recursionLimit": 101}}))),
            ("too much time", config(json!({"invocationConfig": {"timeout": 86_401}}))),
            ("an unknown key", config(json!({"defaultModel": "gpt"}))),
            ("an array for an object", json!({"config": []})),
        ] {
            bad.with(case, &route, fields).await;
        }
        let bare = path.split('?').next().unwrap();
        for query in ["", "?teamId=0", "?teamId=7", "?teamId=1&x=1"] {
            bad.json(&format!("with {query:?}"), Method::POST, &format!("{bare}{query}"), &body).await;
        }
        match rest {
            "/run" => assert_snapshot!(bad.table(), @r#"
            # POST /api/v2/ai-agents/v1/agents/<id>/run?teamId=1
            no key: 401 {"message":"Access denied.","code":"IM001"}
            a wrong key: 401 {"message":"Access denied.","code":"IM001"}
            a key for other things: 403 {"detail":"this needs a key with the scope agents:write","message":"Access denied.","code":"IM002"}
            with PUT: 405 {"detail":"this path does not take PUT; it takes POST","message":"Method Not Allowed","code":"SC405"}
            no body: 400 {"detail":"the body is not JSON: EOF while parsing a value at line 1 column 0","message":"Bad Request","code":"SC400"}
            broken JSON: 400 {"detail":"there is no field a, expected one of `messages`, `threadId`, `callbackUrl`, `config`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field a, expected one of `messages`, `threadId`, `callbackUrl`, `config`"}]}
            an array: 400 {"detail":"the body must be a JSON object, not an array","message":"Bad Request","code":"SC400"}
            a number: 400 {"detail":"the body is not as documented: invalid type: integer `7`, expected an object","message":"Bad Request","code":"SC400"}
            a form: 415 {"detail":"the body must be JSON: send it with Content-Type: application/json","message":"Unsupported Media Type","code":"SC415"}
            two bodies: 400 {"detail":"the body is not JSON: trailing characters at line 1 column 407","message":"Bad Request","code":"SC400"}
            too much: 413 {"detail":"the body is larger than 1048576 bytes","message":"Payload Too Large","code":"SC413"}
            an unknown field: 400 {"detail":"there is no field unheardOf, expected one of `messages`, `threadId`, `callbackUrl`, `config`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field unheardOf, expected one of `messages`, `threadId`, `callbackUrl`, `config`"}]}
            /callbackUrl = true: 400 {"detail":"callbackUrl: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"callbackUrl: invalid type: boolean `true`, expected a string"}]}
            /config = true: 400 {"detail":"config: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config: invalid type: boolean `true`, expected an object"}]}
            /config/additionalSystemPrompt = true: 400 {"detail":"config.additionalSystemPrompt: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.additionalSystemPrompt: invalid type: boolean `true`, expected a string"}]}
            /config/historyConfig = true: 400 {"detail":"config.historyConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.historyConfig: invalid type: boolean `true`, expected an object"}]}
            /config/historyConfig/iterationsFromHistoryCount = true: 400 {"detail":"config.historyConfig.iterationsFromHistoryCount: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.historyConfig.iterationsFromHistoryCount: invalid type: boolean `true`, expected an integer from 0"}]}
            /config/invocationConfig = true: 400 {"detail":"config.invocationConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.invocationConfig: invalid type: boolean `true`, expected an object"}]}
            /config/invocationConfig/recursionLimit = true: 400 {"detail":"config.invocationConfig.recursionLimit: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.invocationConfig.recursionLimit: invalid type: boolean `true`, expected an integer from 0"}]}
            /config/invocationConfig/timeout = true: 400 {"detail":"config.invocationConfig.timeout: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.invocationConfig.timeout: invalid type: boolean `true`, expected an integer from 0"}]}
            /config/llmConfig = true: 400 {"detail":"config.llmConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.llmConfig: invalid type: boolean `true`, expected an object"}]}
            /config/llmConfig/maxTokens = true: 400 {"detail":"config.llmConfig.maxTokens: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.llmConfig.maxTokens: invalid type: boolean `true`, expected an integer from 0"}]}
            /config/mcpConfigs = true: 400 {"detail":"config.mcpConfigs: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.mcpConfigs: invalid type: boolean `true`, expected an array"}]}
            /config/outputParser = true: 400 {"detail":"config.outputParser: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.outputParser: invalid type: boolean `true`, expected an object"}]}
            /config/outputParser/schema = true: 400 {"detail":"config.outputParser.schema: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.outputParser.schema: invalid type: boolean `true`, expected an object"}]}
            /config/outputParser/type = true: 400 {"detail":"config.outputParser.type: invalid type, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.outputParser.type: invalid type, expected a string"}]}
            /config/scenarios = true: 400 {"detail":"config.scenarios: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.scenarios: invalid type: boolean `true`, expected an array"}]}
            /config/scenarios/0 = true: 400 {"detail":"config.scenarios[0]: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.scenarios[0]: invalid type: boolean `true`, expected an object"}]}
            /config/scenarios/0/approvalMode = true: 400 {"detail":"config.scenarios[0].approvalMode: invalid type, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.scenarios[0].approvalMode: invalid type, expected a string"}]}
            /config/scenarios/0/makeScenarioId = true: 400 {"detail":"config.scenarios[0].makeScenarioId: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.scenarios[0].makeScenarioId: invalid type: boolean `true`, expected an integer from 0"}]}
            /config/systemPrompt = true: 400 {"detail":"config.systemPrompt: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.systemPrompt: invalid type: boolean `true`, expected a string"}]}
            /messages = true: 400 {"detail":"messages: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages: invalid type: boolean `true`, expected an array"}]}
            /messages/0 = true: 400 {"detail":"messages[0]: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0]: invalid type: boolean `true`, expected an object"}]}
            /messages/0/content = true: 400 {"detail":"messages[0].content: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].content: invalid type: boolean `true`, expected a string"}]}
            /messages/0/role = true: 400 {"detail":"messages[0].role: invalid type, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].role: invalid type, expected a string"}]}
            no messages: 400 {"detail":"messages is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages is required"}]}
            empty messages: 400 {"detail":"messages must not be empty, and must end with one of the role user","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages must not be empty, and must end with one of the role user"}]}
            an unknown role: 400 {"detail":"messages[0].role: unknown variant `system`, expected `user` or `assistant`","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].role: unknown variant `system`, expected `user` or `assistant`"}]}
            no content: 400 {"detail":"messages[0].content is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].content is required"}]}
            white space: 400 {"detail":"messages[0].content must have 1 to 200000 characters, and one that is no white space","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].content must have 1 to 200000 characters, and one that is no white space"}]}
            a long message: 400 {"detail":"messages[0].content must have 1 to 200000 characters, and one that is no white space","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].content must have 1 to 200000 characters, and one that is no white space"}]}
            the agent last: 400 {"detail":"messages must not be empty, and must end with one of the role user","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages must not be empty, and must end with one of the role user"}]}
            many messages: 400 {"detail":"messages may be 1000, not 1001","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages may be 1000, not 1001"}]}
            a field of a message: 400 {"detail":"there is no field messages[0].name, expected `role` or `content`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field messages[0].name, expected `role` or `content`"}]}
            a thread with a space: 400 {"detail":"threadId: a session id must be 1 to 128 visible ASCII characters, not \"a b\"","message":"Bad Request","code":"SC400","suberrors":[{"message":"threadId: a session id must be 1 to 128 visible ASCII characters, not \"a b\""}]}
            a long thread: 400 {"detail":"threadId: a session id must be 1 to 128 visible ASCII characters, not \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"","message":"Bad Request","code":"SC400","suberrors":[{"message":"threadId: a session id must be 1 to 128 visible ASCII characters, not \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\""}]}
            an unknown thread: 404 {"detail":"the agent has no such thread; leave threadId out to begin one","message":"Not Found","code":"SC404","suberrors":[{"message":"the agent has no such thread; leave threadId out to begin one"}]}
            a relative callback: 400 {"detail":"callbackUrl must be an absolute URL, such as https://example.com/done","message":"Bad Request","code":"SC400","suberrors":[{"message":"callbackUrl must be an absolute URL, such as https://example.com/done"}]}
            a callback by another scheme: 400 {"detail":"callbackUrl must begin with https:// or http://","message":"Bad Request","code":"SC400","suberrors":[{"message":"callbackUrl must begin with https:// or http://"}]}
            a callback with a password: 400 {"detail":"callbackUrl must not hold a user name or a password: deliveries are signed instead","message":"Bad Request","code":"SC400","suberrors":[{"message":"callbackUrl must not hold a user name or a password: deliveries are signed instead"}]}
            an empty prompt: 400 {"detail":"config.systemPrompt must have at least 1 character","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.systemPrompt must have at least 1 character"}]}
            a long prompt: 400 {"detail":"config.systemPrompt must have at most 200000 characters, not 200001","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.systemPrompt must have at most 200000 characters, not 200001"}]}
            an empty additional prompt: 400 {"detail":"config.additionalSystemPrompt must have 1 to 200000 characters","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.additionalSystemPrompt must have 1 to 200000 characters"}]}
            a long additional prompt: 400 {"detail":"config.additionalSystemPrompt must have 1 to 200000 characters","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.additionalSystemPrompt must have 1 to 200000 characters"}]}
            no tokens: 400 {"detail":"config.llmConfig.maxTokens must be an integer from 1 to 1000000, not 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.llmConfig.maxTokens must be an integer from 1 to 1000000, not 0"}]}
            an unknown scenario: 400 {"detail":"config.scenarios[0].makeScenarioId must be the number of a tool; there are: <tools>","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.scenarios[0].makeScenarioId must be the number of a tool; there are: <tools>"}]}
            too long a history: 400 {"detail":"config.historyConfig.iterationsFromHistoryCount must be an integer from 0 to 1000, not 1001","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.historyConfig.iterationsFromHistoryCount must be an integer from 0 to 1000, not 1001"}]}
            an MCP connection: 400 {"detail":"config.mcpConfigs[0].mcpConnectionId is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.mcpConfigs[0].mcpConnectionId is required"}]}
            a schema that is none: 400 {"detail":"config.outputParser holds no valid JSON Schema: \"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.outputParser holds no valid JSON Schema: \"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword"}]}
            text by a schema: 400 {"detail":"config.outputParser must not have a schema where its type is text; leave the schema out, or say json","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.outputParser must not have a schema where its type is text; leave the schema out, or say json"}]}
            too many cycles: 400 {"detail":"config.invocationConfig.recursionLimit must be an integer from 1 to 100, not 101","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.invocationConfig.recursionLimit must be an integer from 1 to 100, not 101"}]}
            too much time: 400 {"detail":"config.invocationConfig.timeout must be an integer from 1 to 86400, not 86401","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.invocationConfig.timeout must be an integer from 1 to 86400, not 86401"}]}
            an unknown key: 400 {"detail":"there is no field config.defaultModel, expected one of `systemPrompt`, `additionalSystemPrompt`, `scenarios`, `historyConfig`, `llmConfig`, `invocationConfig`, `mcpConfigs`, `outputParser`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field config.defaultModel, expected one of `systemPrompt`, `additionalSystemPrompt`, `scenarios`, `historyConfig`, `llmConfig`, `invocationConfig`, `mcpConfigs`, `outputParser`"}]}
            an array for an object: 400 {"detail":"config: invalid type: an array, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config: invalid type: an array, expected an object"}]}
            with "": 400 {"detail":"teamId is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId is required"}]}
            with "?teamId=0": 400 {"detail":"teamId must be an integer from 1 to 4294967295","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId must be an integer from 1 to 4294967295"}]}
            with "?teamId=7": 404 {"detail":"there is no team 7","message":"Not Found","code":"SC404"}
            with "?teamId=1&x=1": 400 {"detail":"there is no parameter \"x\"; there are: teamId","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no parameter \"x\"; there are: teamId"}]}
            "#),
            _ => assert_snapshot!(bad.table(), @r#"
            # POST /api/v2/ai-agents/v1/agents/<id>/run/stream?teamId=1
            no key: 401 {"message":"Access denied.","code":"IM001"}
            a wrong key: 401 {"message":"Access denied.","code":"IM001"}
            a key for other things: 403 {"detail":"this needs a key with the scope agents:write","message":"Access denied.","code":"IM002"}
            with PUT: 405 {"detail":"this path does not take PUT; it takes POST","message":"Method Not Allowed","code":"SC405"}
            no body: 400 {"detail":"the body is not JSON: EOF while parsing a value at line 1 column 0","message":"Bad Request","code":"SC400"}
            broken JSON: 400 {"detail":"there is no field a, expected one of `messages`, `threadId`, `callbackUrl`, `config`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field a, expected one of `messages`, `threadId`, `callbackUrl`, `config`"}]}
            an array: 400 {"detail":"the body must be a JSON object, not an array","message":"Bad Request","code":"SC400"}
            a number: 400 {"detail":"the body is not as documented: invalid type: integer `7`, expected an object","message":"Bad Request","code":"SC400"}
            a form: 415 {"detail":"the body must be JSON: send it with Content-Type: application/json","message":"Unsupported Media Type","code":"SC415"}
            two bodies: 400 {"detail":"the body is not JSON: trailing characters at line 1 column 407","message":"Bad Request","code":"SC400"}
            too much: 413 {"detail":"the body is larger than 1048576 bytes","message":"Payload Too Large","code":"SC413"}
            an unknown field: 400 {"detail":"there is no field unheardOf, expected one of `messages`, `threadId`, `callbackUrl`, `config`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field unheardOf, expected one of `messages`, `threadId`, `callbackUrl`, `config`"}]}
            /callbackUrl = true: 400 {"detail":"callbackUrl: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"callbackUrl: invalid type: boolean `true`, expected a string"}]}
            /config = true: 400 {"detail":"config: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config: invalid type: boolean `true`, expected an object"}]}
            /config/additionalSystemPrompt = true: 400 {"detail":"config.additionalSystemPrompt: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.additionalSystemPrompt: invalid type: boolean `true`, expected a string"}]}
            /config/historyConfig = true: 400 {"detail":"config.historyConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.historyConfig: invalid type: boolean `true`, expected an object"}]}
            /config/historyConfig/iterationsFromHistoryCount = true: 400 {"detail":"config.historyConfig.iterationsFromHistoryCount: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.historyConfig.iterationsFromHistoryCount: invalid type: boolean `true`, expected an integer from 0"}]}
            /config/invocationConfig = true: 400 {"detail":"config.invocationConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.invocationConfig: invalid type: boolean `true`, expected an object"}]}
            /config/invocationConfig/recursionLimit = true: 400 {"detail":"config.invocationConfig.recursionLimit: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.invocationConfig.recursionLimit: invalid type: boolean `true`, expected an integer from 0"}]}
            /config/invocationConfig/timeout = true: 400 {"detail":"config.invocationConfig.timeout: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.invocationConfig.timeout: invalid type: boolean `true`, expected an integer from 0"}]}
            /config/llmConfig = true: 400 {"detail":"config.llmConfig: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.llmConfig: invalid type: boolean `true`, expected an object"}]}
            /config/llmConfig/maxTokens = true: 400 {"detail":"config.llmConfig.maxTokens: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.llmConfig.maxTokens: invalid type: boolean `true`, expected an integer from 0"}]}
            /config/mcpConfigs = true: 400 {"detail":"config.mcpConfigs: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.mcpConfigs: invalid type: boolean `true`, expected an array"}]}
            /config/outputParser = true: 400 {"detail":"config.outputParser: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.outputParser: invalid type: boolean `true`, expected an object"}]}
            /config/outputParser/schema = true: 400 {"detail":"config.outputParser.schema: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.outputParser.schema: invalid type: boolean `true`, expected an object"}]}
            /config/outputParser/type = true: 400 {"detail":"config.outputParser.type: invalid type, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.outputParser.type: invalid type, expected a string"}]}
            /config/scenarios = true: 400 {"detail":"config.scenarios: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.scenarios: invalid type: boolean `true`, expected an array"}]}
            /config/scenarios/0 = true: 400 {"detail":"config.scenarios[0]: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.scenarios[0]: invalid type: boolean `true`, expected an object"}]}
            /config/scenarios/0/approvalMode = true: 400 {"detail":"config.scenarios[0].approvalMode: invalid type, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.scenarios[0].approvalMode: invalid type, expected a string"}]}
            /config/scenarios/0/makeScenarioId = true: 400 {"detail":"config.scenarios[0].makeScenarioId: invalid type: boolean `true`, expected an integer from 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.scenarios[0].makeScenarioId: invalid type: boolean `true`, expected an integer from 0"}]}
            /config/systemPrompt = true: 400 {"detail":"config.systemPrompt: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.systemPrompt: invalid type: boolean `true`, expected a string"}]}
            /messages = true: 400 {"detail":"messages: invalid type: boolean `true`, expected an array","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages: invalid type: boolean `true`, expected an array"}]}
            /messages/0 = true: 400 {"detail":"messages[0]: invalid type: boolean `true`, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0]: invalid type: boolean `true`, expected an object"}]}
            /messages/0/content = true: 400 {"detail":"messages[0].content: invalid type: boolean `true`, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].content: invalid type: boolean `true`, expected a string"}]}
            /messages/0/role = true: 400 {"detail":"messages[0].role: invalid type, expected a string","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].role: invalid type, expected a string"}]}
            no messages: 400 {"detail":"messages is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages is required"}]}
            empty messages: 400 {"detail":"messages must not be empty, and must end with one of the role user","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages must not be empty, and must end with one of the role user"}]}
            an unknown role: 400 {"detail":"messages[0].role: unknown variant `system`, expected `user` or `assistant`","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].role: unknown variant `system`, expected `user` or `assistant`"}]}
            no content: 400 {"detail":"messages[0].content is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].content is required"}]}
            white space: 400 {"detail":"messages[0].content must have 1 to 200000 characters, and one that is no white space","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].content must have 1 to 200000 characters, and one that is no white space"}]}
            a long message: 400 {"detail":"messages[0].content must have 1 to 200000 characters, and one that is no white space","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages[0].content must have 1 to 200000 characters, and one that is no white space"}]}
            the agent last: 400 {"detail":"messages must not be empty, and must end with one of the role user","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages must not be empty, and must end with one of the role user"}]}
            many messages: 400 {"detail":"messages may be 1000, not 1001","message":"Bad Request","code":"SC400","suberrors":[{"message":"messages may be 1000, not 1001"}]}
            a field of a message: 400 {"detail":"there is no field messages[0].name, expected `role` or `content`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field messages[0].name, expected `role` or `content`"}]}
            a thread with a space: 400 {"detail":"threadId: a session id must be 1 to 128 visible ASCII characters, not \"a b\"","message":"Bad Request","code":"SC400","suberrors":[{"message":"threadId: a session id must be 1 to 128 visible ASCII characters, not \"a b\""}]}
            a long thread: 400 {"detail":"threadId: a session id must be 1 to 128 visible ASCII characters, not \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\"","message":"Bad Request","code":"SC400","suberrors":[{"message":"threadId: a session id must be 1 to 128 visible ASCII characters, not \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\""}]}
            an unknown thread: 404 {"detail":"the agent has no such thread; leave threadId out to begin one","message":"Not Found","code":"SC404","suberrors":[{"message":"the agent has no such thread; leave threadId out to begin one"}]}
            a relative callback: 400 {"detail":"callbackUrl must be an absolute URL, such as https://example.com/done","message":"Bad Request","code":"SC400","suberrors":[{"message":"callbackUrl must be an absolute URL, such as https://example.com/done"}]}
            a callback by another scheme: 400 {"detail":"callbackUrl must begin with https:// or http://","message":"Bad Request","code":"SC400","suberrors":[{"message":"callbackUrl must begin with https:// or http://"}]}
            a callback with a password: 400 {"detail":"callbackUrl must not hold a user name or a password: deliveries are signed instead","message":"Bad Request","code":"SC400","suberrors":[{"message":"callbackUrl must not hold a user name or a password: deliveries are signed instead"}]}
            an empty prompt: 400 {"detail":"config.systemPrompt must have at least 1 character","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.systemPrompt must have at least 1 character"}]}
            a long prompt: 400 {"detail":"config.systemPrompt must have at most 200000 characters, not 200001","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.systemPrompt must have at most 200000 characters, not 200001"}]}
            an empty additional prompt: 400 {"detail":"config.additionalSystemPrompt must have 1 to 200000 characters","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.additionalSystemPrompt must have 1 to 200000 characters"}]}
            a long additional prompt: 400 {"detail":"config.additionalSystemPrompt must have 1 to 200000 characters","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.additionalSystemPrompt must have 1 to 200000 characters"}]}
            no tokens: 400 {"detail":"config.llmConfig.maxTokens must be an integer from 1 to 1000000, not 0","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.llmConfig.maxTokens must be an integer from 1 to 1000000, not 0"}]}
            an unknown scenario: 400 {"detail":"config.scenarios[0].makeScenarioId must be the number of a tool; there are: <tools>","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.scenarios[0].makeScenarioId must be the number of a tool; there are: <tools>"}]}
            too long a history: 400 {"detail":"config.historyConfig.iterationsFromHistoryCount must be an integer from 0 to 1000, not 1001","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.historyConfig.iterationsFromHistoryCount must be an integer from 0 to 1000, not 1001"}]}
            an MCP connection: 400 {"detail":"config.mcpConfigs[0].mcpConnectionId is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.mcpConfigs[0].mcpConnectionId is required"}]}
            a schema that is none: 400 {"detail":"config.outputParser holds no valid JSON Schema: \"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.outputParser holds no valid JSON Schema: \"nonsense\" is not valid under any of the schemas listed in the 'anyOf' keyword"}]}
            text by a schema: 400 {"detail":"config.outputParser must not have a schema where its type is text; leave the schema out, or say json","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.outputParser must not have a schema where its type is text; leave the schema out, or say json"}]}
            too many cycles: 400 {"detail":"config.invocationConfig.recursionLimit must be an integer from 1 to 100, not 101","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.invocationConfig.recursionLimit must be an integer from 1 to 100, not 101"}]}
            too much time: 400 {"detail":"config.invocationConfig.timeout must be an integer from 1 to 86400, not 86401","message":"Bad Request","code":"SC400","suberrors":[{"message":"config.invocationConfig.timeout must be an integer from 1 to 86400, not 86401"}]}
            an unknown key: 400 {"detail":"there is no field config.defaultModel, expected one of `systemPrompt`, `additionalSystemPrompt`, `scenarios`, `historyConfig`, `llmConfig`, `invocationConfig`, `mcpConfigs`, `outputParser`","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no field config.defaultModel, expected one of `systemPrompt`, `additionalSystemPrompt`, `scenarios`, `historyConfig`, `llmConfig`, `invocationConfig`, `mcpConfigs`, `outputParser`"}]}
            an array for an object: 400 {"detail":"config: invalid type: an array, expected an object","message":"Bad Request","code":"SC400","suberrors":[{"message":"config: invalid type: an array, expected an object"}]}
            with "": 400 {"detail":"teamId is required","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId is required"}]}
            with "?teamId=0": 400 {"detail":"teamId must be an integer from 1 to 4294967295","message":"Bad Request","code":"SC400","suberrors":[{"message":"teamId must be an integer from 1 to 4294967295"}]}
            with "?teamId=7": 404 {"detail":"there is no team 7","message":"Not Found","code":"SC404"}
            with "?teamId=1&x=1": 400 {"detail":"there is no parameter \"x\"; there are: teamId","message":"Bad Request","code":"SC400","suberrors":[{"message":"there is no parameter \"x\"; there are: teamId"}]}
            "#),
        }
    }
    assert!(model.requests().is_empty());
}
