//! The agent-hub dialect over real sockets: the document's samples, everything that is ours beside them, what is refused and
//! how, and that agents and conversations are the same ones in every dialect.

use std::collections::HashMap;
use std::time::Duration;

use insta::assert_snapshot;
use reqwest::header::HeaderMap;
use reqwest::{Method, Response};
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, saying, tool, tool_plugin_as};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, SseEvent, SseStream, repository_root, soon, without_tools};

async fn host(model: &ScriptedModel) -> Host {
    Host::builder().model(model).start().await
}

async fn answering() -> (ScriptedModel, Host) {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("Here are the key points..."));
    let host = host(&model).await;
    (model, host)
}

/// An agent by this name with the scripted model.
fn named(name: &str) -> Value {
    json!({"name": name, "llmProvider": "openai", "llmModel": "scripted"})
}

/// Makes it.
async fn agent(host: &Host, body: &Value) -> Value {
    let (status, agent) = host.json(Method::POST, "/api/assistants", Some(body)).await;
    assert_eq!(status, 201, "{agent}");
    agent
}

async fn my_assistant(host: &Host) -> String {
    text(&agent(host, &named("my-assistant")).await["id"])
}

async fn ok(host: &Host, method: Method, path: &str, body: Option<&Value>) -> Value {
    let (status, answer) = host.json(method.clone(), path, body).await;
    assert_eq!(status, 200, "{method} {path}: {answer}");
    answer
}

async fn execute(host: &Host, body: &Value) -> Value {
    ok(host, Method::POST, "/api/assistants/my-assistant/execute", Some(body)).await
}

async fn say(host: &Host, session: Option<&str>, words: &str) -> Value {
    let mut body = json!({"userInput": words});
    if let Some(session) = session {
        body["sessionId"] = json!(session);
    }
    ok(host, Method::POST, "/api/assistants/my-assistant/user-input", Some(&body)).await
}

async fn stream(host: &Host, path: &str, body: &Value) -> Vec<SseEvent> {
    let request = host.request(Method::POST, path).header("accept", "text/event-stream").json(body);
    SseStream::new(host.send(request).await).rest().await
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text")).to_owned()
}

fn value(message: &Value) -> &str {
    message["content"][0]["text"]["value"].as_str().unwrap_or_else(|| panic!("{message} has no text"))
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).unwrap_or_else(|| panic!("{name} is missing in {headers:?}")).to_str().unwrap()
}

fn number(headers: &HeaderMap, name: &str) -> i64 {
    header(headers, name).parse().unwrap()
}

/// Status and body.
async fn shown(response: Response) -> String {
    let status = response.status().as_u16();
    format!("{status} {}", response.text().await.unwrap())
}

/// The same JSON with what differs each time replaced by what it is.
fn plain(value: &Value) -> String {
    fn mask(key: &str, value: &mut Value) {
        match value {
            Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| mask(key, value)),
            Value::Array(items) => items.iter_mut().for_each(|item| mask(key, item)),
            Value::String(text) if text.len() == 36 && text.matches('-').count() == 4 => *text = "<uuid>".to_owned(),
            Value::String(text) if is_message_id(text) => *text = "<message id>".to_owned(),
            Value::String(text) if key.ends_with("At") && text.ends_with('Z') => *text = "<time>".to_owned(),
            Value::Number(number) if key == "created_at" && number.as_i64() > Some(1_700_000_000) => {
                *value = json!("<unix seconds>");
            }
            _ => {}
        }
    }
    let mut value = value.clone();
    mask("", &mut value);
    serde_json::to_string_pretty(&value).unwrap()
}

fn is_message_id(text: &str) -> bool {
    let parts: Vec<&str> = text.split('_').collect();
    let [mark, milliseconds, digits] = parts[..] else { return false };
    let base36 = |c: char| c.is_ascii_digit() || c.is_ascii_lowercase();
    mark == "msg" && milliseconds.parse::<u64>().is_ok() && digits.len() == 9 && digits.chars().all(base36)
}

/// The messages of the last request to the model, as roles and texts.
fn told(model: &ScriptedModel) -> Vec<(String, String)> {
    let requests = model.requests();
    let messages = requests.last().unwrap()["messages"].as_array().unwrap();
    messages.iter().map(|message| (text(&message["role"]), message["content"].to_string())).collect()
}

/// A data folder with the tenants `a` and `b`, and a key of each with these scopes.
async fn two_tenants(scopes: &str) -> (tempfile::TempDir, String, String) {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    let mut keys = Vec::new();
    for tenant in ["a", "b"] {
        cli.output(&["tenant", "create", tenant]).await;
        keys.push(cli.output(&["key", "create", "--tenant", tenant, "--scope", scopes]).await);
    }
    let b = keys.pop().unwrap();
    (data, keys.pop().unwrap(), b)
}

#[tokio::test]
async fn an_agent_is_made_listed_read_changed_and_deleted() {
    let host = host(&ScriptedModel::start().await).await;
    let body = json!({
        "name": "my-assistant", "llmProvider": "openai", "llmModel": "scripted", "llmPrompt": "Be brief.",
        "description": "For tests", "maxTokens": 300, "tools": ["web_fetch"], "mode": "chat"
    });
    let made = agent(&host, &body).await;
    assert_snapshot!(plain(&made), @r#"
        {
          "createdAt": "<time>",
          "description": "For tests",
          "id": "<uuid>",
          "llmModel": "scripted",
          "llmPrompt": "Be brief.",
          "llmProvider": "openai",
          "maxTokens": 300,
          "mode": "chat",
          "name": "my-assistant",
          "tools": [
            {
              "approval": "auto",
              "name": "web_fetch"
            }
          ],
          "updatedAt": "<time>",
          "version": 1
        }
    "#);
    let id = text(&made["id"]);
    assert_eq!(ok(&host, Method::GET, "/api/assistants", None).await, json!([made]));
    for by in [id.as_str(), "my-assistant", "my%2Dassistant"] {
        assert_eq!(ok(&host, Method::GET, &format!("/api/assistants/{by}"), None).await, made, "{by}");
    }

    // The document's sample.
    let prompt = json!({"llmPrompt": "You are a helpful assistant..."});
    let changed = ok(&host, Method::PATCH, "/api/assistants/my-assistant", Some(&prompt)).await;
    assert_eq!(changed["llmPrompt"], "You are a helpful assistant...");
    assert_eq!(changed["version"], 2);
    for field in ["id", "name", "llmProvider", "llmModel", "description", "maxTokens", "tools", "mode", "createdAt"] {
        assert_eq!(changed[field], made[field], "{field} stays");
    }
    let more = json!({"name": "Köln/7", "tools": null, "maxTokens": null, "description": null, "llmPrompt": null, "mode": null});
    let changed = ok(&host, Method::PUT, "/api/assistants/my-assistant", Some(&more)).await;
    assert_snapshot!(plain(&changed), @r#"
        {
          "createdAt": "<time>",
          "description": "",
          "id": "<uuid>",
          "llmModel": "scripted",
          "llmPrompt": "",
          "llmProvider": "openai",
          "maxTokens": null,
          "mode": "chat",
          "name": "Köln/7",
          "tools": null,
          "updatedAt": "<time>",
          "version": 3
        }
    "#);
    assert_eq!(ok(&host, Method::GET, "/api/assistants/K%C3%B6ln%2F7", None).await, changed);
    assert_eq!(ok(&host, Method::PATCH, &format!("/api/assistants/{id}"), Some(&json!({}))).await, changed, "no news");
    let (status, taken) = host.json(Method::POST, "/api/assistants", Some(&named("Köln/7"))).await;
    assert_eq!((status, &taken["error"]["code"]), (409, &json!("CONFLICT")), "{taken}");

    let deleted = ok(&host, Method::DELETE, &format!("/api/assistants/{id}"), None).await;
    assert_snapshot!(plain(&deleted), @r#"
        {
          "message": "the agent was deleted; its sessions stay",
          "success": true
        }
    "#);
    assert_snapshot!(shown(host.get(&format!("/api/assistants/{id}")).await).await, @r#"404 {"error":{"message":"there is no such agent","code":"NOT_FOUND"}}"#);
    assert_eq!(ok(&host, Method::GET, "/api/assistants", None).await, json!([]));
}

#[tokio::test]
async fn a_model_and_its_provider_are_checked_together_when_an_agent_is_written() {
    let host = host(&ScriptedModel::start().await).await;
    my_assistant(&host).await;
    let path = "/api/assistants/my-assistant";
    let anthropic = json!({"llmProvider": "anthropic"});
    let (status, answer) = host.json(Method::PATCH, path, Some(&anthropic)).await;
    assert_snapshot!(format!("{status} {answer}"), @r#"400 {"error":{"code":"VALIDATION_ERROR","details":[{"field":"llmProvider","message":"llmProvider must be a provider that is configured here (openai, embedded), not \"anthropic\""}],"message":"llmProvider must be a provider that is configured here (openai, embedded), not \"anthropic\""}}"#);
    let nobody = json!({"name": "other", "llmProvider": "acme", "llmModel": "m"});
    let (status, answer) = host.json(Method::POST, "/api/assistants", Some(&nobody)).await;
    assert_snapshot!(format!("{status} {answer}"), @r#"400 {"error":{"code":"VALIDATION_ERROR","details":[{"field":"llmProvider","message":"llmProvider must be a provider that is configured here (openai, embedded), not \"acme\""}],"message":"llmProvider must be a provider that is configured here (openai, embedded), not \"acme\""}}"#);

    let changed = ok(&host, Method::PATCH, path, Some(&json!({"llmModel": "gpt-5"}))).await;
    assert_eq!((&changed["llmProvider"], &changed["llmModel"]), (&json!("openai"), &json!("gpt-5")));
    let changed =
        ok(&host, Method::PATCH, path, Some(&json!({"llmProvider": "embedded", "llmModel": "extractive"}))).await;
    assert_eq!((&changed["llmProvider"], &changed["llmModel"]), (&json!("embedded"), &json!("extractive")));
}

#[tokio::test]
async fn agents_are_listed_page_by_page_where_a_client_asks_for_pages() {
    let host = host(&ScriptedModel::start().await).await;
    for name in ["one", "two", "three"] {
        agent(&host, &named(name)).await;
    }
    let mut names = Vec::new();
    let mut path = "/api/assistants?limit=2".to_owned();
    loop {
        let page = host.get(&path).await;
        let link = page.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Vec<Value> = page.json().await.unwrap();
        names.push(page.iter().map(|agent| text(&agent["name"])).collect::<Vec<_>>());
        let Some(link) = link else { break };
        path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    assert_eq!(names, [vec!["three", "two"], vec!["one"]]);
    assert_eq!(ok(&host, Method::GET, "/api/assistants", None).await.as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn a_page_of_long_prompts_ends_early_and_says_where_the_next_one_begins() {
    let host = host(&ScriptedModel::start().await).await;
    for number in 0..120 {
        let mut body = named(&format!("agent-{number}"));
        // Of one byte each, 200,000 of them.
        body["llmPrompt"] = json!("x".repeat(200_000));
        agent(&host, &body).await;
    }
    let (mut path, mut names, mut pages) = ("/api/assistants".to_owned(), Vec::new(), 0);
    loop {
        let page = host.get(&path).await;
        let link = page.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        let page: Vec<Value> = page.json().await.unwrap();
        assert!(page.len() <= 50, "{}", page.len());
        names.extend(page.iter().map(|agent| text(&agent["name"])));
        pages += 1;
        let Some(link) = link else { break };
        path = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"next\"").unwrap().to_owned();
    }
    let expected: Vec<String> = (0..120).rev().map(|number| format!("agent-{number}")).collect();
    assert_eq!((names, pages), (expected, 3));
}

#[tokio::test]
async fn the_documents_stateless_sample_is_answered_as_documented_and_nothing_is_kept() {
    let (model, host) = answering().await;
    let id = my_assistant(&host).await;
    let body = json!({"userInput": "Summarize the key points from this document"});
    let answer = execute(&host, &body).await;
    assert_snapshot!(plain(&answer), @r#"
        {
          "assistant_id": "<uuid>",
          "content": [
            {
              "text": {
                "value": "Here are the key points..."
              },
              "type": "text"
            }
          ],
          "created_at": "<unix seconds>",
          "id": "<message id>",
          "role": "assistant"
        }
    "#);
    assert_eq!(answer["assistant_id"], id);
    let milliseconds: i64 = answer["id"].as_str().unwrap().split('_').nth(1).unwrap().parse().unwrap();
    assert_eq!(answer["created_at"], milliseconds / 1000);

    for path in [format!("/api/assistants/{id}/execute"), "/api/assistant/my-assistant/execute".to_owned()] {
        assert_eq!(value(&ok(&host, Method::POST, &path, Some(&body)).await), "Here are the key points...", "{path}");
    }
    let heard: Vec<String> = told(&model).into_iter().map(|(role, _)| role).collect();
    assert_eq!(heard, ["system", "user"], "no run knows of those before it: {:?}", told(&model));
    assert_eq!(ok(&host, Method::GET, "/api/sessions", None).await["meta"]["total"], 0);
}

#[tokio::test]
async fn a_prompt_is_the_agents_unless_the_request_brings_another() {
    let (model, host) = answering().await;
    my_assistant(&host).await;
    let prompt = json!({"llmPrompt": "Speak like a pirate."});
    ok(&host, Method::PATCH, "/api/assistants/my-assistant", Some(&prompt)).await;
    execute(&host, &json!({"userInput": "Hello"})).await;
    assert!(told(&model)[0].1.contains("Speak like a pirate."), "{:?}", told(&model));
    execute(&host, &json!({"userInput": "Hello", "promptOverride": "Speak like a poet."})).await;
    let system = told(&model)[0].1.clone();
    assert!(system.contains("Speak like a poet.") && !system.contains("pirate"), "{system}");
    execute(&host, &json!({"userInput": "Hello", "promptOverride": ""})).await;
    assert!(told(&model).iter().all(|(_, text)| !text.contains("Speak like")), "{:?}", told(&model));
}

#[tokio::test]
async fn a_conversation_is_kept_continued_and_retrieved() {
    let (model, host) = answering().await;
    let id = my_assistant(&host).await;
    let begun = say(&host, None, "What is in the report?").await;
    let session = text(&begun["session_id"]);
    model.always(Answer::text("That point was about cost."));
    let answer = say(&host, Some(&session), "Tell me more about that last point").await;
    assert_eq!(answer["session_id"], session.as_str());
    let told = told(&model);
    let heard: Vec<&str> = told.iter().map(|(role, _)| role.as_str()).filter(|role| *role != "system").collect();
    assert_eq!(heard, ["user", "assistant", "user"], "{told:?}");

    let messages = ok(&host, Method::GET, &format!("/api/sessions/{session}/messages"), None).await;
    assert_snapshot!(plain(&messages), @r#"
        [
          {
            "assistant_id": "<uuid>",
            "content": [
              {
                "text": {
                  "value": "What is in the report?"
                },
                "type": "text"
              }
            ],
            "created_at": "<unix seconds>",
            "id": "<message id>",
            "role": "user",
            "session_id": "<uuid>"
          },
          {
            "assistant_id": "<uuid>",
            "content": [
              {
                "text": {
                  "value": "Here are the key points..."
                },
                "type": "text"
              }
            ],
            "created_at": "<unix seconds>",
            "id": "<message id>",
            "role": "assistant",
            "session_id": "<uuid>"
          },
          {
            "assistant_id": "<uuid>",
            "content": [
              {
                "text": {
                  "value": "Tell me more about that last point"
                },
                "type": "text"
              }
            ],
            "created_at": "<unix seconds>",
            "id": "<message id>",
            "role": "user",
            "session_id": "<uuid>"
          },
          {
            "assistant_id": "<uuid>",
            "content": [
              {
                "text": {
                  "value": "That point was about cost."
                },
                "type": "text"
              }
            ],
            "created_at": "<unix seconds>",
            "id": "<message id>",
            "role": "assistant",
            "session_id": "<uuid>"
          }
        ]
    "#);
    assert_eq!(messages[1], begun, "the answer and the kept message are the same");
    assert_eq!(messages[3], answer);
    let kept = ok(&host, Method::GET, &format!("/api/sessions/{session}"), None).await;
    assert_snapshot!(plain(&kept), @r#"
        {
          "assistantId": "<uuid>",
          "createdAt": "<time>",
          "id": "<uuid>",
          "messageCount": 4,
          "title": "What is in the report?",
          "updatedAt": "<time>"
        }
    "#);
    assert_eq!(kept["assistantId"], id);
    let alias = json!({"userInput": "And?", "sessionId": session});
    ok(&host, Method::POST, "/api/assistant/my-assistant/user-input", Some(&alias)).await;
    assert_eq!(ok(&host, Method::GET, &format!("/api/sessions/{session}"), None).await["messageCount"], 6);
}

#[tokio::test]
async fn sessions_are_begun_listed_by_pages_renamed_and_deleted() {
    let (_model, host) = answering().await;
    let id = my_assistant(&host).await;
    agent(&host, &named("other")).await;
    let mut sessions = Vec::new();
    for (assistant, title) in [("my-assistant", Some("Customer Support Chat")), (id.as_str(), None), ("other", None)] {
        let mut body = json!({"assistantId": assistant});
        if let Some(title) = title {
            body["title"] = json!(title);
        }
        let (status, session) = host.json(Method::POST, "/api/sessions", Some(&body)).await;
        assert_eq!(status, 201, "{session}");
        sessions.push(session);
    }
    assert_snapshot!(plain(&sessions[0]), @r#"
        {
          "assistantId": "<uuid>",
          "createdAt": "<time>",
          "id": "<uuid>",
          "messageCount": 0,
          "messages": [],
          "title": "Customer Support Chat",
          "updatedAt": "<time>"
        }
    "#);
    let host_ref = &host;
    let listed =
        |query: &'static str| async move { ok(host_ref, Method::GET, &format!("/api/sessions{query}"), None).await };
    assert_snapshot!(plain(&listed("?page=2&limit=2").await), @r#"
        {
          "data": [
            {
              "assistantId": "<uuid>",
              "createdAt": "<time>",
              "id": "<uuid>",
              "messageCount": 0,
              "title": "Customer Support Chat",
              "updatedAt": "<time>"
            }
          ],
          "meta": {
            "limit": 2,
            "page": 2,
            "total": 3,
            "totalPages": 2
          }
        }
    "#);
    let ids = |page: &Value| page["data"].as_array().unwrap().iter().map(|s| text(&s["id"])).collect::<Vec<_>>();
    let made: Vec<String> = sessions.iter().map(|session| text(&session["id"])).collect();
    assert_eq!(ids(&listed("").await), [&*made[2], &*made[1], &*made[0]], "the newest first");
    assert_eq!(ids(&listed("?assistantId=my-assistant").await), [&*made[1], &*made[0]]);
    let by_id = ok(&host, Method::GET, &format!("/api/sessions?assistantId={id}&limit=1"), None).await;
    assert_eq!(
        (ids(&by_id), &by_id["meta"]["total"], &by_id["meta"]["totalPages"]),
        (vec![made[1].clone()], &json!(2), &json!(2))
    );
    assert_snapshot!(listed("?assistantId=nobody").await.to_string(), @r#"{"data":[],"meta":{"limit":20,"page":1,"total":0,"totalPages":0}}"#);
    assert_eq!(ids(&listed("?page=1000000&limit=100").await), Vec::<String>::new());

    let path = format!("/api/sessions/{}", made[0]);
    let renamed = ok(&host, Method::PATCH, &path, Some(&json!({"title": "Refund"}))).await;
    assert_eq!((&renamed["title"], &renamed["id"]), (&json!("Refund"), &sessions[0]["id"]));
    say(&host, Some(&made[0]), "Hello").await;
    assert_snapshot!(plain(&ok(&host, Method::DELETE, &path, None).await), @r#"
        {
          "message": "the session was deleted, with its messages, files and runs",
          "success": true
        }
    "#);
    let gone = r#"404 {"error":{"message":"there is no such session","code":"NOT_FOUND"}}"#;
    for path in [path.clone(), format!("{path}/messages")] {
        assert_eq!(shown(host.get(&path).await).await, gone);
    }
    assert_eq!(listed("").await["meta"]["total"], 2);
    // An agent's sessions outlive it.
    ok(&host, Method::DELETE, "/api/assistants/my-assistant", None).await;
    let orphans = ok(&host, Method::GET, &format!("/api/sessions?assistantId={id}"), None).await;
    assert_eq!((ids(&orphans), &orphans["data"][0]["assistantId"]), (vec![made[1].clone()], &json!(id)));
}

#[tokio::test]
async fn a_long_conversation_is_read_backwards_from_any_message() {
    let (_model, host) = answering().await;
    my_assistant(&host).await;
    let session = text(&say(&host, None, "0").await["session_id"]);
    for turn in 1..5 {
        say(&host, Some(&session), &turn.to_string()).await;
    }
    let path = format!("/api/sessions/{session}/messages");
    let whole = ok(&host, Method::GET, &path, None).await.as_array().unwrap().clone();
    assert_eq!(whole.len(), 10);
    let mut pages = Vec::new();
    let mut next = format!("{path}?limit=4");
    loop {
        let page = host.get(&next).await;
        let link = page.headers().get("link").map(|link| link.to_str().unwrap().to_owned());
        pages.insert(0, page.json::<Vec<Value>>().await.unwrap());
        let Some(link) = link else { break };
        next = link.strip_prefix('<').unwrap().strip_suffix(">; rel=\"prev\"").unwrap().to_owned();
    }
    assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [2, 4, 4]);
    assert_eq!(pages.concat(), whole);
    let before = format!("{path}?limit=2&before={}", text(&whole[5]["id"]));
    assert_eq!(ok(&host, Method::GET, &before, None).await, json!([whole[3], whole[4]]));

    let other = text(&say(&host, None, "x").await["id"]);
    let refused = r#"400 {"error":{"message":"before must be the id of a message of this session","code":"VALIDATION_ERROR","details":[{"field":"before","message":"before must be the id of a message of this session"}]}}"#;
    for bad in [other.as_str(), "msg_1_000000000", "msg_1", "7", ""] {
        assert_eq!(shown(host.get(&format!("{path}?before={bad}")).await).await, refused, "{bad:?}");
    }
}

#[tokio::test]
async fn a_stream_has_the_documents_events_and_the_answer_once() {
    let (_model, host) = answering().await;
    my_assistant(&host).await;
    let body = json!({"userInput": "Write a detailed analysis"});
    let events = stream(&host, "/api/assistants/my-assistant/execute", &body).await;
    let data: Vec<&str> = events.iter().map(|event| event.data.as_str()).collect();
    assert_snapshot!(data[..data.len() - 1].join("\n"), @r#"
        {"type":"token","value":"Here "}
        {"type":"token","value":"are "}
        {"type":"token","value":"the "}
        {"type":"token","value":"key "}
        {"type":"token","value":"points..."}
    "#);
    assert!(events.iter().all(|event| event.id.is_some() && event.event.is_none()), "{events:?}");
    assert_snapshot!(plain(&events.last().unwrap().json()), @r#"
        {
          "message": {
            "assistant_id": "<uuid>",
            "content": [
              {
                "text": {
                  "value": "Here are the key points..."
                },
                "type": "text"
              }
            ],
            "created_at": "<unix seconds>",
            "id": "<message id>",
            "role": "assistant"
          },
          "type": "done"
        }
    "#);

    let events = stream(&host, "/api/assistants/my-assistant/user-input", &body).await;
    let done = events.last().unwrap().json();
    let session = text(&done["session_id"]);
    let messages = ok(&host, Method::GET, &format!("/api/sessions/{session}/messages"), None).await;
    assert_eq!(messages[1], done["message"]);
    assert_eq!(strung(&events), "Here are the key points...");
}

/// What a client has that strings tokens together.
fn strung(events: &[SseEvent]) -> String {
    let tokens = events.iter().map(SseEvent::json).filter(|event| event["type"] == "token");
    tokens.map(|event| text(&event["value"])).collect()
}

#[tokio::test]
async fn an_answer_that_no_model_wrote_token_by_token_is_streamed_all_the_same() {
    let host = Host::builder().start().await;
    agent(&host, &json!({"name": "my-assistant", "llmProvider": "embedded", "llmModel": "extractive"})).await;
    let events =
        stream(&host, "/api/assistants/my-assistant/execute", &json!({"userInput": "What is a tenant?"})).await;
    let done = events.last().unwrap().json();
    assert_eq!(done["type"], "done", "{done}");
    assert_eq!(strung(&events), value(&done["message"]));
}

#[tokio::test]
async fn what_can_be_refused_is_refused_before_a_stream_opens_and_what_fails_later_is_its_last_event() {
    let model = ScriptedModel::start().await;
    let host = host(&model).await;
    my_assistant(&host).await;
    let path = "/api/assistants/my-assistant/execute";
    let events_of = |body: &'static str| {
        host.request(Method::POST, path)
            .header("accept", "text/event-stream")
            .header("content-type", "application/json")
            .body(body)
    };
    assert_snapshot!(shown(host.send(events_of(r#"{"userInput":""}"#)).await).await, @r#"400 {"error":{"message":"userInput must not be empty","code":"VALIDATION_ERROR","details":[{"field":"userInput","message":"userInput must not be empty"}]}}"#);

    model.always(Answer::Cut(vec!["Half ".to_owned()]));
    let events = stream(&host, path, &json!({"userInput": "q"})).await;
    let last = events.last().unwrap().json();
    assert_eq!((&last["type"], &last["errorDetails"]["code"]), (&json!("error"), &json!("PROVIDER_ERROR")), "{last}");
    assert_eq!(last.as_object().unwrap().len(), 2, "{last}");
    assert!(!last["errorDetails"]["message"].as_str().unwrap().is_empty());

    model.always(Answer::Refusal(axum::http::StatusCode::UNAUTHORIZED));
    let refused = host.post(path, &json!({"userInput": "q"})).await;
    assert_eq!(refused.status().as_u16(), 503);
    let run = header(refused.headers(), "x-run-id").to_owned();
    let error: Value = refused.json().await.unwrap();
    assert_eq!(error["error"]["code"], "PROVIDER_ERROR", "{error}");
    let log = ok(&host, Method::GET, &format!("/v1/runs/{run}"), None).await;
    assert_eq!(log["status"], "failed", "what went wrong can be looked up: {log}");
}

#[tokio::test]
async fn a_client_that_leaves_does_not_stop_its_run() {
    let model = ScriptedModel::start().await;
    model.then(Answer::Slowly(
        vec!["slow ".to_owned(), "but ".to_owned(), "sure".to_owned()],
        Duration::from_millis(200),
    ));
    let host = host(&model).await;
    my_assistant(&host).await;
    let (_, session) = host.json(Method::POST, "/api/sessions", Some(&json!({"assistantId": "my-assistant"}))).await;
    let body = json!({"userInput": "q", "sessionId": session["id"]});
    let path = "/api/assistants/my-assistant/user-input";
    let request = host.request(Method::POST, path).header("accept", "text/event-stream").json(&body);
    let mut stream = SseStream::new(host.send(request).await);
    stream.next().await.unwrap();
    drop(stream);
    // The next message of the same session waits for the one before it, and sees what it said.
    model.then(Answer::text("Yes."));
    say(&host, session["id"].as_str(), "And?").await;
    assert!(model.requests()[1]["messages"].to_string().contains("slow but sure"), "{:#}", model.requests()[1]);
}

#[tokio::test]
async fn json_is_what_was_asked_for_or_is_repaired_once_or_is_an_error() {
    let model = ScriptedModel::start().await;
    let host = host(&model).await;
    // With tools the model would first answer in words.
    let mut body = named("my-assistant");
    body["tools"] = json!([]);
    agent(&host, &body).await;
    model.then(Answer::text(r#"{"name": "Ada", "phone": null}"#));
    // The document's sample.
    let body = json!({"userInput": "Extract the contact information", "responseFormat": {"type": "json_object"}});
    let answer = execute(&host, &body).await;
    assert_snapshot!(plain(&answer), @r#"
        {
          "assistant_id": "<uuid>",
          "content": [
            {
              "text": {
                "value": "{\"name\":\"Ada\",\"phone\":null}"
              },
              "type": "text"
            }
          ],
          "created_at": "<unix seconds>",
          "data": {
            "json": {
              "name": "Ada",
              "phone": null
            }
          },
          "id": "<message id>",
          "message_type": "json",
          "role": "assistant"
        }
    "#);
    assert_eq!(serde_json::from_str::<Value>(value(&answer)).unwrap(), answer["data"]["json"]);

    let schema = json!({"type": "object", "properties": {"age": {"type": "integer"}}, "required": ["age"]});
    let format = json!({"type": "json_schema", "json_schema": {"name": "person", "schema": schema, "strict": true}});
    let body = json!({"userInput": "How old?", "responseFormat": format});
    model.then(Answer::text(r#"{"age": "old"}"#)).then(Answer::text(r#"{"age": 36}"#));
    let path = "/api/assistants/my-assistant/user-input";
    let repaired = ok(&host, Method::POST, path, Some(&body)).await;
    assert_eq!((value(&repaired), &repaired["data"]["json"]), (r#"{"age":36}"#, &json!({"age": 36})));
    let messages = format!("/api/sessions/{}/messages", text(&repaired["session_id"]));
    assert_eq!(ok(&host, Method::GET, &messages, None).await[1], repaired, "the history has it as it was answered");

    model.then(Answer::text(r#"{"age": "old"}"#)).then(Answer::text(r#"{"age":36}"#));
    let events = stream(&host, "/api/assistants/my-assistant/execute", &body).await;
    assert_eq!(strung(&events), r#"{"age":36}"#, "what was wrong was not streamed");

    model.then(Answer::text("never")).then(Answer::text("mind"));
    let (status, answer) = host.json(Method::POST, "/api/assistants/my-assistant/execute", Some(&body)).await;
    assert_eq!((status, &answer["error"]["code"]), (500, &json!("INTERNAL_ERROR")), "{answer}");
    // An agent's own format is its answers' format, unless a request asks for another.
    model.then(Answer::text("plain"));
    let plainly = json!({"userInput": "q", "responseFormat": {"type": "text"}});
    assert_eq!(value(&execute(&host, &plainly).await), "plain");
}

#[tokio::test]
async fn calls_of_tools_and_their_results_are_told_to_who_asks() {
    let model = ScriptedModel::start().await;
    let host = host(&model).await;
    let (data, body) = saying("21 degrees");
    let fields = json!({"name": "acme/weather", "version": "1.0.0", "tools": [tool("weather")]});
    host.install(tool_plugin_as(fields, "", &data, &body)).await;
    let echo = json!({"name": "acme/echo", "version": "1.0.0", "tools": [tool("echo")]});
    host.install(tool_plugin_as(echo, "", "", ECHO)).await;
    let body = json!({
        "name": "my-assistant", "llmProvider": "openai", "llmModel": "scripted", "mode": "chat",
        "tools": ["weather", {"name": "echo", "approval": "never"}]
    });
    let made = agent(&host, &body).await;
    assert_eq!(made["tools"], json!([{"name": "weather", "approval": "auto"}, {"name": "echo", "approval": "never"}]));
    model.always(Answer::text("It is warm."));
    model.then(Answer::tool("weather", json!({"city": "Köln"})));
    let answer = execute(&host, &json!({"userInput": "How is the weather?", "includeToolCalls": true})).await;
    assert_snapshot!(plain(&answer["data"]), @r#"
        {
          "toolCalls": [
            {
              "arguments": {
                "city": "Köln"
              },
              "id": "call_1",
              "name": "weather"
            }
          ],
          "toolResults": [
            {
              "id": "call_1",
              "isError": false,
              "name": "weather",
              "result": "21 degrees"
            }
          ]
        }
    "#);
    let offered: Vec<String> =
        model.requests()[0]["tools"].as_array().unwrap().iter().map(|tool| text(&tool["function"]["name"])).collect();
    assert!(offered.contains(&"weather".to_owned()) && !offered.contains(&"echo".to_owned()), "{offered:?}");

    model.then(Answer::tool("weather", json!({})));
    let body = json!({"userInput": "q", "includeToolCalls": true});
    let events = stream(&host, "/api/assistants/my-assistant/execute", &body).await;
    let done = events.last().unwrap().json();
    assert_eq!(done["message"]["data"]["toolResults"][0]["result"], "21 degrees", "{done}");
    assert!(strung(&events).ends_with(value(&done["message"])), "{events:?}");
    model.then(Answer::tool("weather", json!({})));
    assert_eq!(execute(&host, &json!({"userInput": "q"})).await["data"], Value::Null);
}

#[tokio::test]
async fn files_reach_the_model_and_stand_in_the_history_and_what_is_wrong_with_one_names_it() {
    let (model, host) = answering().await;
    my_assistant(&host).await;
    let notes = json!({"fileName": "notes.md", "mimeType": "text/markdown", "data": "IyBUaGUgcGxhbgoKQnV5IHRocmVlIGFwcGxlcy4K"});
    let body = json!({"userInput": "Analyze this document", "attachments": [notes]});
    execute(&host, &body).await;
    let heard = model.requests().pop().unwrap()["messages"].to_string();
    assert!(heard.contains("Buy three apples.") && heard.contains("notes.md"), "{heard}");

    let page = json!({"fileName": "p.html", "mimeType": "text/html", "data": "PGgxPlBsYW48L2gxPjxwPkJ1eSB0d28gcGVhcnMuPC9wPg=="});
    execute(&host, &json!({"userInput": "And this one?", "attachments": [page]})).await;
    let heard = model.requests().pop().unwrap()["messages"].to_string();
    assert!(heard.contains("# Plan") && heard.contains("Buy two pears."), "{heard}");

    let path = "/api/assistants/my-assistant/user-input";
    let said = ok(&host, Method::POST, path, Some(&body)).await;
    let session = text(&said["session_id"]);
    let messages = ok(&host, Method::GET, &format!("/api/sessions/{session}/messages"), None).await;
    assert_eq!(messages[0]["attachments"], json!([{"fileName": "notes.md", "mimeType": "text/markdown"}]));
    assert_eq!(value(&messages[0]), "Analyze this document");
    say(&host, Some(&session), "And how many apples?").await;
    let heard = model.requests().pop().unwrap()["messages"].to_string();
    assert!(heard.contains("Buy three apples."), "a file stays with its message: {heard}");

    let mut told = String::new();
    let text_file = |data: &str| json!({"fileName": "a.txt", "mimeType": "text/plain", "data": data});
    let asked = model.requests().len();
    for file in [
        text_file("not base64!"),
        text_file(""),
        json!({"fileName": "", "mimeType": "text/plain", "data": "YQ=="}),
        json!({"fileName": "a.exe", "mimeType": "application/x-msdownload", "data": "TVo="}),
        json!({"fileName": "a.png", "mimeType": "image/png", "data": "YQ=="}),
        json!({"fileName": "a.txt", "mimeType": "text/plain", "url": "ftp://example.com/a.txt"}),
        json!({"fileName": "a.txt", "mimeType": "text/plain", "url": "http://127.0.0.1:1/a.txt"}),
    ] {
        let body = json!({"userInput": "q", "attachments": [text_file("YQ=="), file]});
        let (status, answer) = host.json(Method::POST, path, Some(&body)).await;
        assert_eq!((status, &answer["error"]["code"]), (400, &json!("VALIDATION_ERROR")), "{file}: {answer}");
        let field = text(&answer["error"]["details"][0]["field"]);
        told.push_str(&format!("{field} | {}\n", text(&answer["error"]["message"])));
    }
    assert_snapshot!(told, @r#"
        attachments[1].data | attachments[1].data: this is no standard base64: invalid symbol 32, offset 3.
        attachments[1] | attachments[1]: the file is empty
        attachments[1].fileName | attachments[1].fileName: a file's name has 1 to 255 characters, none of them a control character
        attachments[1].mimeType | attachments[1].mimeType: "application/x-msdownload" is no type of file that is read; those are text/plain, text/markdown, text/csv, text/html, application/json, application/pdf, DOCX (application/vnd.openxmlformats-officedocument.wordprocessingml.document), XLSX (application/vnd.openxmlformats-officedocument.spreadsheetml.sheet), image/png, image/jpeg, image/gif and image/webp
        attachments[1].mimeType | attachments[1].mimeType: the file is said to be image/png, and its content is not
        attachments[1].url | attachments[1].url: a file is fetched over http or https, and not over "ftp"
        attachments[1].url | attachments[1].url: the file can not be fetched: 127.0.0.1:1 is not at the port of its scheme, 80 or 443
    "#);
    assert_eq!(model.requests().len(), asked, "nothing of it ran");
}

#[tokio::test]
async fn agents_and_conversations_outlive_a_crash_and_are_the_same_in_every_dialect() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let first = host(&model).await;
    let id = my_assistant(&first).await;
    let session = text(&say(&first, None, "Remember the number 7.").await["session_id"]);
    let messages = ok(&first, Method::GET, &format!("/api/sessions/{session}/messages"), None).await;
    let data = first.kill().await;

    let host = Host::builder().model(&model).data(data).start().await;
    assert_eq!(ok(&host, Method::GET, "/api/assistants/my-assistant", None).await["id"], id);
    let path = format!("/api/sessions/{session}/messages");
    assert_eq!(ok(&host, Method::GET, &path, None).await, messages, "ids and all");
    say(&host, Some(&session), "Which number?").await;
    assert!(told(&model).iter().any(|(_, text)| text.contains("number 7")), "{:?}", told(&model));

    // Another dialect goes on with it.
    host.post_ok("/v1/agent/run", &json!({"query": "Again?", "mode": "chat", "sessionId": session})).await;
    assert!(told(&model).iter().any(|(_, text)| text.contains("number 7")), "{:?}", told(&model));
    let whole = ok(&host, Method::GET, &path, None).await;
    let said: Vec<&str> = whole.as_array().unwrap().iter().map(value).collect();
    assert_eq!(said, ["Remember the number 7.", "An answer.", "Which number?", "An answer.", "Again?", "An answer."]);

    // And what another dialect began is gone on with here.
    host.post_ok("/v1/agent/run", &json!({"query": "Hello", "mode": "chat", "sessionId": "s-1"})).await;
    let theirs = ok(&host, Method::GET, "/api/sessions/s-1", None).await;
    assert_eq!((&theirs["assistantId"], &theirs["title"]), (&Value::Null, &json!("Hello")), "{theirs}");
    say(&host, Some("s-1"), "Go on").await;
    assert_eq!(ok(&host, Method::GET, "/api/sessions/s-1", None).await["messageCount"], 4);
    assert_eq!(ok(&host, Method::GET, "/api/sessions", None).await["meta"]["total"], 2);
}

#[tokio::test]
async fn an_agent_of_the_native_api_is_this_dialects_with_all_that_it_is_set_to() {
    let model = ScriptedModel::start().await;
    let host = host(&model).await;
    let mine = my_assistant(&host).await;
    let theirs = ok(&host, Method::GET, "/v1/agents/my-assistant", None).await;
    assert_eq!((&theirs["id"], &theirs["model"]), (&json!(mine), &json!("openai/scripted")), "{theirs}");

    let body = json!({"name": "strict", "output": {"type": "json_object"}, "whenBusy": "reject", "tools": []});
    let (status, made) = host.json(Method::POST, "/v1/agents", Some(&body)).await;
    assert_eq!(status, 201, "{made}");
    let shown = ok(&host, Method::GET, "/api/assistants/strict", None).await;
    assert_eq!(
        (&shown["id"], &shown["llmProvider"], &shown["llmModel"]),
        (&made["id"], &json!("openai"), &json!("scripted"))
    );
    let named: Vec<String> = ok(&host, Method::GET, "/api/assistants", None)
        .await
        .as_array()
        .unwrap()
        .iter()
        .map(|agent| text(&agent["name"]))
        .collect();
    assert_eq!(named, ["strict", "my-assistant"]);

    model.then(Answer::text(r#"{"a": 1}"#));
    let answer = ok(&host, Method::POST, "/api/assistants/strict/user-input", Some(&json!({"userInput": "q"}))).await;
    assert_eq!((&answer["message_type"], &answer["data"]["json"]), (&json!("json"), &json!({"a": 1})));

    // A session that is busy refuses, and the refusal comes before any stream.
    model.then(Answer::Silence);
    let again = json!({"userInput": "and?", "sessionId": answer["session_id"]});
    let request = host.request(Method::POST, "/api/assistants/strict/user-input").json(&again);
    let waiting = tokio::spawn(request.send());
    model.received(2).await;
    let busy = host
        .request(Method::POST, "/api/assistants/strict/user-input")
        .header("accept", "text/event-stream")
        .json(&again);
    assert_snapshot!(self::shown(host.send(busy).await).await, @r#"409 {"error":{"message":"a run of this session is under way, or the session is being deleted; try again when that has ended","code":"CONFLICT"}}"#);
    // To delete the session ends what is under way in it.
    let session = text(&answer["session_id"]);
    ok(&host, Method::DELETE, &format!("/api/sessions/{session}"), None).await;
    let ended = soon("the run's end", waiting).await.unwrap().unwrap();
    assert_eq!(ended.status().as_u16(), 409);
    assert_eq!(ended.json::<Value>().await.unwrap()["error"]["code"], "CONFLICT");
}

#[tokio::test]
async fn a_foreign_id_and_an_unknown_one_are_the_same_404_on_every_route() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let (data, a, b) = two_tenants("runs,agents:read,agents:write").await;
    let host = Host::builder().model(&model).data(data).start().await;
    let (status, mine) = host.json_as(&a, Method::POST, "/api/assistants", Some(&named("mine"))).await;
    assert_eq!(status, 201, "{mine}");
    // A name is unique within a tenant, and no more.
    let (status, theirs) = host.json_as(&b, Method::POST, "/api/assistants", Some(&named("theirs"))).await;
    assert_eq!(status, 201, "{theirs}");
    let say = json!({"userInput": "Hello"});
    let (_, said) = host.json_as(&a, Method::POST, "/api/assistants/mine/user-input", Some(&say)).await;
    let (id, session) = (text(&mine["id"]), text(&said["session_id"]));
    let unknown = "01900000-0000-7000-8000-000000000000";

    let routes = |id: &str, name: &str, session: &str| {
        let title = json!({"title": "t"});
        vec![
            (Method::GET, format!("/api/assistants/{id}"), None),
            (Method::GET, format!("/api/assistants/{name}"), None),
            (Method::PATCH, format!("/api/assistants/{id}"), Some(json!({"llmPrompt": "x"}))),
            (Method::PUT, format!("/api/assistants/{name}"), Some(json!({"llmPrompt": "x"}))),
            (Method::DELETE, format!("/api/assistants/{id}"), None),
            (Method::POST, format!("/api/assistants/{id}/execute"), Some(say.clone())),
            (Method::POST, format!("/api/assistants/{name}/user-input"), Some(say.clone())),
            (
                Method::POST,
                "/api/assistants/theirs/user-input".to_owned(),
                Some(json!({"userInput": "x", "sessionId": session})),
            ),
            (Method::POST, "/api/sessions".to_owned(), Some(json!({"assistantId": id}))),
            (Method::GET, format!("/api/sessions/{session}"), None),
            (Method::PATCH, format!("/api/sessions/{session}"), Some(title)),
            (Method::DELETE, format!("/api/sessions/{session}"), None),
            (Method::GET, format!("/api/sessions/{session}/messages"), None),
        ]
    };
    let foreign = routes(&id, "mine", &session);
    let missing = routes(unknown, "nobody", unknown);
    for ((method, foreign, body), (_, missing, unknown_body)) in foreign.into_iter().zip(missing) {
        let of_other = host.json_as(&b, method.clone(), &foreign, body.as_ref()).await;
        let of_nobody = host.json_as(&b, method.clone(), &missing, unknown_body.as_ref()).await;
        assert_eq!(of_other, of_nobody, "{method} {foreign}");
        assert_eq!((of_other.0, &of_other.1["error"]["code"]), (404, &json!("NOT_FOUND")), "{method} {foreign}");
    }
    let (_, seen) = host.json_as(&b, Method::GET, "/api/assistants", None).await;
    assert_eq!(seen, json!([theirs]));
    let (_, seen) = host.json_as(&b, Method::GET, &format!("/api/sessions?assistantId={id}"), None).await;
    assert_eq!(seen["meta"]["total"], 0);
    let cursor = format!("/api/assistants?cursor={id}");
    assert_eq!(host.json_as(&b, Method::GET, &cursor, None).await.0, 200, "a cursor names a place, not an agent");
    assert_eq!(
        host.json_as(&a, Method::GET, &format!("/api/sessions/{session}"), None).await.0,
        200,
        "nothing was touched"
    );
}

#[tokio::test]
async fn a_session_is_gone_on_with_by_its_own_agent() {
    let (_model, host) = answering().await;
    my_assistant(&host).await;
    agent(&host, &named("other")).await;
    let session = text(&say(&host, None, "Hello").await["session_id"]);
    let body = json!({"userInput": "Hello", "sessionId": session});
    let (status, answer) = host.json(Method::POST, "/api/assistants/other/user-input", Some(&body)).await;
    assert_snapshot!(format!("{status} {answer}"), @r#"404 {"error":{"code":"NOT_FOUND","message":"there is no such session"}}"#);
}

#[tokio::test]
async fn each_route_asks_for_its_scope() {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    cli.output(&["tenant", "create", "t"]).await;
    let mut keys = HashMap::new();
    for scope in ["runs", "agents:read", "agents:write", "plugins"] {
        keys.insert(scope, cli.output(&["key", "create", "--tenant", "t", "--scope", scope]).await);
    }
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let host = Host::builder().model(&model).data(data).start().await;
    host.json_as(&keys["agents:write"], Method::POST, "/api/assistants", Some(&named("my-assistant"))).await;
    let say = json!({"userInput": "Hello"});
    let table = [
        ("agents:read", 200, Method::GET, "/api/assistants", None),
        ("agents:read", 200, Method::GET, "/api/assistants/my-assistant", None),
        ("agents:write", 201, Method::POST, "/api/assistants", Some(named("another"))),
        ("agents:write", 200, Method::PATCH, "/api/assistants/my-assistant", Some(json!({"llmPrompt": "p"}))),
        ("agents:write", 200, Method::PUT, "/api/assistants/my-assistant", Some(json!({"llmPrompt": "q"}))),
        ("runs", 200, Method::POST, "/api/assistants/my-assistant/execute", Some(say.clone())),
        ("runs", 200, Method::POST, "/api/assistants/my-assistant/user-input", Some(say.clone())),
        ("runs", 200, Method::POST, "/api/assistant/my-assistant/execute", Some(say)),
        ("runs", 201, Method::POST, "/api/sessions", Some(json!({"assistantId": "my-assistant"}))),
        ("runs", 200, Method::GET, "/api/sessions", None),
        ("runs", 404, Method::GET, "/api/sessions/none", None),
        ("runs", 404, Method::GET, "/api/sessions/none/messages", None),
        ("runs", 404, Method::PATCH, "/api/sessions/none", Some(json!({"title": "t"}))),
        ("runs", 404, Method::DELETE, "/api/sessions/none", None),
        ("agents:write", 200, Method::DELETE, "/api/assistants/my-assistant", None),
    ];
    for (scope, expected, method, path, body) in table {
        for other in keys.keys().filter(|other| **other != scope) {
            let (status, answer) = host.json_as(&keys[other], method.clone(), path, body.as_ref()).await;
            assert_eq!((status, &answer["error"]["code"]), (403, &json!("FORBIDDEN")), "{method} {path} with {other}");
            assert_eq!(answer["error"]["message"], format!("this needs a key with the scope {scope}"));
        }
        let (status, answer) = host.json_as(&keys[scope], method.clone(), path, body.as_ref()).await;
        assert_eq!(status, expected, "{method} {path}: {answer}");
    }
}

/// Field by field: what is sent, and what is said of it. Nothing of it runs.
#[tokio::test]
async fn what_is_wrong_with_a_body_is_told_with_the_fields_name() {
    let (model, host) = answering().await;
    my_assistant(&host).await;
    let long = |chars: usize| "x".repeat(chars);
    let mut told = String::new();
    let mut refuse = async |method: Method, path: &str, body: Value| {
        let (status, answer) = host.json(method.clone(), path, Some(&body)).await;
        let error = &answer["error"];
        assert_eq!((status, &error["code"]), (400, &json!("VALIDATION_ERROR")), "{method} {path} {body}: {answer}");
        let field = error["details"][0]["field"].as_str().unwrap_or("-");
        let shown: String = error["message"].as_str().unwrap().chars().take(160).collect();
        told.push_str(&format!("{field} | {shown}\n"));
    };

    let execute = "/api/assistants/my-assistant/execute";
    for body in [
        json!({}),
        json!([]),
        json!(["q", null, null, null, null]),
        json!({"userInput": 7}),
        json!({"userInput": " \n"}),
        json!({"userInput": long(200_001)}),
        json!({"userInput": "q", "sessionId": "s"}),
        json!({"userInput": "q", "attachments": {}}),
        json!({"userInput": "q", "attachments": [{}]}),
        json!({"userInput": "q", "attachments": [{"fileName": "a.txt", "mimeType": "text/plain"}]}),
        json!({"userInput": "q", "attachments": [{"fileName": "a.txt", "mimeType": "text/plain", "data": "", "url": "https://a.example"}]}),
        json!({"userInput": "q", "attachments": [{"fileName": "a.txt", "mimeType": "text/plain", "data": "", "size": 1}]}),
        json!({"userInput": "q", "attachments": vec![json!({"fileName": "a", "mimeType": "text/plain", "data": ""}); 11]}),
        json!({"userInput": "q", "responseFormat": "json"}),
        json!({"userInput": "q", "responseFormat": {}}),
        json!({"userInput": "q", "responseFormat": {"type": "xml"}}),
        json!({"userInput": "q", "responseFormat": {"type": "text", "x": 1}}),
        json!({"userInput": "q", "responseFormat": {"type": "json_schema"}}),
        json!({"userInput": "q", "responseFormat": {"type": "json_schema", "json_schema": {"name": "a b", "schema": {}}}}),
        json!({"userInput": "q", "responseFormat": {"type": "json_schema", "json_schema": {"name": long(65), "schema": {}}}}),
        json!({"userInput": "q", "responseFormat": {"type": "json_schema", "json_schema": {"name": "a", "schema": []}}}),
        json!({"userInput": "q", "responseFormat": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": 7}}}}),
        json!({"userInput": "q", "responseFormat": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"description": long(70_000)}}}}),
        json!({"userInput": "q", "responseFormat": {"type": "json_schema", "json_schema": {"name": "a", "schema": {}, "strict": "yes"}}}),
        json!({"userInput": "q", "promptOverride": 7}),
        json!({"userInput": "q", "promptOverride": long(200_001)}),
        json!({"userInput": "q", "includeToolCalls": "yes"}),
        json!({"userInput": "q", "stream": true}),
    ] {
        refuse(Method::POST, execute, body).await;
    }
    let user_input = "/api/assistants/my-assistant/user-input";
    for body in [
        json!({}),
        json!({"userInput": "q", "sessionId": ""}),
        json!({"userInput": "q", "sessionId": "a b"}),
        json!({"userInput": "q", "sessionId": 7}),
        json!({"userInput": "q", "promptOverride": "p"}),
    ] {
        refuse(Method::POST, user_input, body).await;
    }
    for body in [
        json!({}),
        json!({"assistantId": 7}),
        json!({"assistantId": "my-assistant", "title": ""}),
        json!({"assistantId": "my-assistant", "title": "a\nb"}),
        json!({"assistantId": "my-assistant", "title": long(201)}),
        json!({"assistantId": "my-assistant", "messages": []}),
    ] {
        refuse(Method::POST, "/api/sessions", body).await;
    }
    let (_, session) = host.json(Method::POST, "/api/sessions", Some(&json!({"assistantId": "my-assistant"}))).await;
    let path = format!("/api/sessions/{}", text(&session["id"]));
    for body in [
        json!({}),
        json!({"title": null}),
        json!({"title": 7}),
        json!({"title": long(201)}),
        json!({"title": "t", "id": "x"}),
    ] {
        refuse(Method::PATCH, &path, body).await;
    }
    let with = |field: &str, value: Value| {
        let mut body = named("new");
        body[field] = value;
        body
    };
    for body in [
        json!({}),
        json!({"name": "new", "llmProvider": "openai"}),
        with("name", json!("")),
        with("name", json!(" a")),
        with("name", json!(long(129))),
        with("name", json!("01900000-0000-7000-8000-000000000000")),
        with("llmProvider", json!("")),
        with("llmModel", json!("")),
        with("llmModel", json!(long(129))),
        with("llmPrompt", json!(long(200_001))),
        with("llmPrompt", json!("\u{0}")),
        with("description", json!(long(4_001))),
        with("maxTokens", json!(0)),
        with("maxTokens", json!(-1)),
        with("maxTokens", json!(1_000_001)),
        with("maxTokens", json!(1.5)),
        with("tools", json!("web_fetch")),
        with("tools", json!([7])),
        with("tools", json!(["no such tool"])),
        with("tools", json!(["nothing"])),
        with("tools", json!(["web_fetch", "web_fetch"])),
        with("tools", json!([{"name": "web_fetch", "approval": "maybe"}])),
        with("mode", json!("poet")),
        with("temperature", json!(1)),
    ] {
        refuse(Method::POST, "/api/assistants", body).await;
    }
    for body in [
        json!({"name": null}),
        json!({"llmProvider": null}),
        json!({"llmModel": 7}),
        json!({"maxTokens": "many"}),
        json!({"llmProvider": "acme"}),
        json!({"id": "x"}),
    ] {
        refuse(Method::PATCH, "/api/assistants/my-assistant", body).await;
    }
    let told = without_tools(&told);
    assert_snapshot!(told, @r#"
    userInput | userInput is required
    - | the body must be a JSON object, not an array
    - | the body must be a JSON object, not an array
    userInput | userInput: invalid type: integer `7`, expected a string
    userInput | userInput must not be empty
    userInput | userInput must have at most 200000 characters, not 200001
    sessionId | there is no field sessionId, expected one of `userInput`, `attachments`, `responseFormat`, `promptOverride`, `includeToolCalls`
    attachments | attachments: invalid type: an object, expected an array
    attachments[0].fileName | attachments[0].fileName is required
    attachments[0] | attachments[0] must have either data (base64) or a url
    attachments[0] | attachments[0] must have either data (base64) or a url
    attachments[0].size | there is no field attachments[0].size, expected one of `fileName`, `mimeType`, `data`, `url`
    attachments | attachments may hold 10 files, not 11
    responseFormat | responseFormat: invalid type: string "json", expected an object with a type: text, json_object or json_schema
    responseFormat.type | responseFormat.type is required
    responseFormat.type | responseFormat.type: unknown variant `xml`, expected one of `text`, `json_object`, `json_schema`
    responseFormat.x | there is no field responseFormat.x, there are no fields
    responseFormat.json_schema | responseFormat.json_schema is required
    responseFormat.json_schema.name | responseFormat.json_schema.name must be 1 to 64 of a-z, A-Z, 0-9, '-' and '_'
    responseFormat.json_schema.name | responseFormat.json_schema.name must be 1 to 64 of a-z, A-Z, 0-9, '-' and '_'
    responseFormat | responseFormat: invalid type: an array, expected an object
    responseFormat.json_schema.schema | responseFormat.json_schema.schema must be a valid JSON Schema: 7 is not valid under any of the schemas listed in the 'anyOf' keyword
    responseFormat.json_schema.schema | responseFormat.json_schema.schema may have 65536 bytes, not 70030
    responseFormat | responseFormat: invalid type: string "yes", expected a boolean
    promptOverride | promptOverride: invalid type: integer `7`, expected a string
    promptOverride | promptOverride must have at most 200000 characters, not 200001
    includeToolCalls | includeToolCalls: invalid type: string "yes", expected a boolean
    stream | there is no field stream, expected one of `userInput`, `attachments`, `responseFormat`, `promptOverride`, `includeToolCalls`
    userInput | userInput is required
    sessionId | sessionId: a session id must be 1 to 128 visible ASCII characters, not ""
    sessionId | sessionId: a session id must be 1 to 128 visible ASCII characters, not "a b"
    sessionId | sessionId: invalid type: integer `7`, expected a string
    promptOverride | there is no field promptOverride, expected one of `sessionId`, `userInput`, `attachments`, `responseFormat`
    assistantId | assistantId is required
    assistantId | assistantId: invalid type: integer `7`, expected a string
    title | title must have 1 to 200 characters and no control characters
    title | title must have 1 to 200 characters and no control characters
    title | title must have 1 to 200 characters and no control characters
    messages | there is no field messages, expected `assistantId` or `title`
    title | title is required
    title | title: invalid type: null, expected a string
    title | title: invalid type: integer `7`, expected a string
    title | title must have 1 to 200 characters and no control characters
    id | there is no field id, expected `title`
    name | name is required
    llmModel | llmModel is required
    name | name must have 1 to 128 characters, not 0
    name | name must not begin or end with a space, nor hold a line break or a tab
    name | name must have 1 to 128 characters, not 129
    name | name must not be a UUID: those are ids
    llmProvider | llmProvider must be a provider that is configured here (openai, embedded), not ""
    llmModel | llmModel must have 1 to 128 characters and no control characters
    llmModel | llmModel must have 1 to 128 characters and no control characters
    llmPrompt | llmPrompt must have at most 200000 characters, not 200001
    llmPrompt | llmPrompt must not hold the control character U+0000
    description | description must have at most 4000 characters, not 4001
    maxTokens | maxTokens must be an integer from 1 to 1000000, not 0
    maxTokens | maxTokens: invalid value: integer `-1`, expected an integer from 0
    maxTokens | maxTokens must be an integer from 1 to 1000000, not 1000001
    maxTokens | maxTokens: invalid type: floating point `1.5`, expected an integer from 0
    tools | tools: invalid type: string "web_fetch", expected an array
    tools[0] | tools[0]: must be a tool's name, or an object of a name and an approval (auto, ask or never)
    tools[0] | tools[0]: must be a tool's name, or an object of a name and an approval (auto, ask or never)
    tools | tools names "nothing"; there are: <tools>
    tools | tools names "web_fetch" twice
    tools[0] | tools[0]: must be a tool's name, or an object of a name and an approval (auto, ask or never)
    mode | mode must be one of: chat, coding, research
    temperature | there is no field temperature, expected one of `name`, `llmProvider`, `llmModel`, `llmPrompt`, `description`, `maxTokens`, `tools`, `mode`
    name | name: invalid type: null, expected a string
    llmProvider | llmProvider: invalid type: null, expected a string
    llmModel | llmModel: invalid type: integer `7`, expected a string
    maxTokens | maxTokens: invalid type: string "many", expected an integer from 0
    llmProvider | llmProvider must be a provider that is configured here (openai, embedded), not "acme"
    id | there is no field id, expected one of `name`, `llmProvider`, `llmModel`, `llmPrompt`, `description`, `maxTokens`, `tools`, `mode`
    "#);
    assert!(model.requests().is_empty());
    let (status, answer) = host.json(Method::POST, "/api/assistants", Some(&named("my-assistant"))).await;
    assert_snapshot!(format!("{status} {answer}"), @r#"409 {"error":{"code":"CONFLICT","details":[{"field":"name","message":"another agent has the name \"my-assistant\"; names are unique within a tenant"}],"message":"another agent has the name \"my-assistant\"; names are unique within a tenant"}}"#);
}

#[tokio::test]
async fn what_is_wrong_with_a_query_string_is_told_with_the_parameters_name() {
    let (_model, host) = answering().await;
    my_assistant(&host).await;
    let session = text(&say(&host, None, "Hello").await["session_id"]);
    let mut told = String::new();
    for (path, queries) in [
        (
            "/api/assistants".to_owned(),
            vec!["limit=0", "limit=1001", "limit=x", "cursor=x", "page=1", "limit=1&limit=1"],
        ),
        ("/api/sessions".to_owned(), vec!["page=0", "page=1000001", "limit=101", "limit=-1", "sort=title", "page=%FF"]),
        (format!("/api/sessions/{session}/messages"), vec!["limit=0", "limit=1001", "after=x"]),
    ] {
        for query in queries {
            let (status, answer) = host.json(Method::GET, &format!("{path}?{query}"), None).await;
            assert_eq!((status, &answer["error"]["code"]), (400, &json!("VALIDATION_ERROR")), "{path}?{query}");
            let field = answer["error"]["details"][0]["field"].as_str().unwrap_or("-");
            told.push_str(&format!("{query} | {field} | {}\n", text(&answer["error"]["message"])));
        }
    }
    assert_snapshot!(told, @r#"
        limit=0 | limit | limit must be an integer from 1 to 1000
        limit=1001 | limit | limit must be an integer from 1 to 1000
        limit=x | limit | limit must be an integer from 1 to 1000
        cursor=x | cursor | cursor must be the cursor of a Link header, which is a UUID
        page=1 | page | there is no parameter "page"; there are: limit, cursor
        limit=1&limit=1 | limit | limit is given more than once
        page=0 | page | page must be an integer from 1 to 1000000
        page=1000001 | page | page must be an integer from 1 to 1000000
        limit=101 | limit | limit must be an integer from 1 to 100
        limit=-1 | limit | limit must be an integer from 1 to 100
        sort=title | sort | there is no parameter "sort"; there are: page, limit, assistantId
        page=%FF | - | the query string must be percent-encoded UTF-8
        limit=0 | limit | limit must be an integer from 1 to 1000
        limit=1001 | limit | limit must be an integer from 1 to 1000
        after=x | after | there is no parameter "after"; there are: limit, before
    "#);
}

#[tokio::test]
async fn other_methods_paths_types_and_sizes_are_refused_in_the_same_form() {
    let host = Host::builder().environment("VIVARIUM_MAX_BODY_BYTES", "1000").start().await;
    agent(&host, &json!({"name": "my-assistant", "llmProvider": "embedded", "llmModel": "extractive"})).await;
    let send = |method: Method, path: &'static str| async { host.send(host.request(method, path)).await };
    let wrong_method = send(Method::GET, "/api/assistants/my-assistant/execute").await;
    assert_eq!(header(wrong_method.headers(), "allow"), "POST");
    assert_snapshot!(shown(wrong_method).await, @r#"405 {"error":{"message":"this path does not take GET; the Allow header says what it takes","code":"VALIDATION_ERROR"}}"#);
    for path in [
        "/api/assistants",
        "/api/sessions",
        "/api/sessions/s",
        "/api/assistants/my-assistant",
        "/api/assistant/a/user-input",
    ] {
        let response = host.send(host.request(Method::from_bytes(b"PURGE").unwrap(), path)).await;
        assert_eq!(response.status().as_u16(), 405, "{path}");
        number(response.headers(), "x-ratelimit-limit");
    }
    assert_snapshot!(shown(send(Method::GET, "/api/agents").await).await, @r#"404 {"error":{"message":"there is no GET /api/agents","code":"NOT_FOUND"}}"#);
    assert_snapshot!(shown(send(Method::GET, "/api/assistants/%FF").await).await, @r#"404 {"error":{"message":"there is nothing at a path that is not UTF-8","code":"NOT_FOUND"}}"#);
    assert_snapshot!(shown(send(Method::GET, "/api/sessions/%FF").await).await, @r#"404 {"error":{"message":"there is nothing at a path that is not UTF-8","code":"NOT_FOUND"}}"#);
    let post = |path: &'static str, kind: &'static str, body: String| {
        let request = host.request(Method::POST, path).header("content-type", kind).body(body);
        async { shown(host.send(request).await).await }
    };
    let execute = "/api/assistants/my-assistant/execute";
    assert_snapshot!(post(execute, "text/plain", "hello".to_owned()).await, @r#"415 {"error":{"message":"the body must be JSON: send it with Content-Type: application/json","code":"VALIDATION_ERROR"}}"#);
    assert_snapshot!(post(execute, "application/json", "{".to_owned()).await, @r#"400 {"error":{"message":"the body is not JSON: EOF while parsing an object at line 1 column 1","code":"VALIDATION_ERROR"}}"#);
    let large = json!({"assistantId": "x".repeat(2000)}).to_string();
    assert_snapshot!(post("/api/sessions", "application/json", large).await, @r#"413 {"error":{"message":"the body is larger than 1000 bytes","code":"VALIDATION_ERROR"}}"#);
    // Files may come with a question, so its bound is another one.
    let words = json!({"userInput": "x".repeat(2000)}).to_string();
    assert!(post(execute, "application/json", words).await.starts_with("200 "));
    let too_large = format!(r#"{{"userInput":"{}"}}"#, "x".repeat(17 << 20));
    assert_snapshot!(post(execute, "application/json", too_large).await, @r#"413 {"error":{"message":"the body is larger than 16777216 bytes","code":"VALIDATION_ERROR"}}"#);
}

#[tokio::test]
async fn every_answer_says_how_many_requests_are_left_and_too_many_are_told_when_to_come_back() {
    let host = Host::builder().environment("VIVARIUM_AGENT_HUB_REQUESTS_PER_MINUTE", "5").start().await;
    let nobody = host.send(host.client().get(host.url("/api/assistants"))).await;
    assert_eq!(header(nobody.headers(), "www-authenticate"), "Bearer");
    assert_eq!(
        (number(nobody.headers(), "x-ratelimit-limit"), number(nobody.headers(), "x-ratelimit-remaining")),
        (0, 0)
    );
    assert!(number(nobody.headers(), "x-ratelimit-reset") > 1_700_000_000);
    assert_snapshot!(shown(nobody).await, @r#"401 {"error":{"message":"an API key is needed: send it in one header, Authorization: Bearer <key>","code":"UNAUTHORIZED"}}"#);
    let wrong = host.send(host.client().get(host.url("/api/sessions")).bearer_auth("sk_live_nonsense")).await;
    assert_snapshot!(shown(wrong).await, @r#"401 {"error":{"message":"this API key is not valid","code":"UNAUTHORIZED"}}"#);

    for (path, left) in
        [("/api/assistants", 4), ("/api/sessions", 3), ("/api/sessions/none", 2), ("/api/sessions?x=1", 1)]
    {
        let response = host.get(path).await;
        let headers = response.headers();
        assert_eq!(
            (number(headers, "x-ratelimit-limit"), number(headers, "x-ratelimit-remaining")),
            (5, left),
            "{path}"
        );
        assert!(number(headers, "x-ratelimit-reset") > 1_700_000_000);
        assert!(headers.get("x-ratelimit-limit-rpm").is_none(), "{headers:?}");
    }
    host.get("/api/sessions").await;
    let refused = host.get("/api/sessions").await;
    assert_eq!(refused.status().as_u16(), 429);
    assert!((1..=12).contains(&number(refused.headers(), "retry-after")));
    assert_eq!(number(refused.headers(), "x-ratelimit-remaining"), 0);
    let error = refused.json::<Value>().await.unwrap()["error"].clone();
    assert_eq!(error["code"], "RATE_LIMITED", "{error}");
    let elsewhere = host.get("/v1/rate-limit").await;
    assert_eq!(elsewhere.status().as_u16(), 200, "other dialects have allowances of their own");
    assert!(elsewhere.headers().get("x-ratelimit-limit").is_none());
}

#[tokio::test]
async fn a_run_takes_from_the_tiers_allowance_too() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let limits = "[limits.enterprise]\nrequests_per_minute = 2\ntokens_per_minute = 100000\n";
    let host = Host::builder().model(&model).config(limits).start().await;
    let made = host.request(Method::POST, "/api/assistants").json(&named("my-assistant"));
    let made = host.send(made).await;
    assert_eq!(number(made.headers(), "x-ratelimit-limit"), 100, "every key may make a hundred requests");
    for _ in 0..2 {
        execute(&host, &json!({"userInput": "q"})).await;
    }
    let refused = host.post("/api/assistants/my-assistant/execute", &json!({"userInput": "q"})).await;
    assert_eq!(refused.status().as_u16(), 429);
    assert!(number(refused.headers(), "retry-after") >= 1);
    assert!(number(refused.headers(), "x-ratelimit-remaining") > 90, "what is not left is the runs' allowance");
    assert_eq!(host.get("/api/assistants").await.status().as_u16(), 200);
}

/// The commands of the document, in order and in one shell.
#[tokio::test]
async fn every_command_of_the_document_works() {
    let document = std::fs::read_to_string(repository_root().join("docs/api-agent-hub.md")).unwrap();
    let blocks = document.split("```sh\n").skip(1).map(|block| block.split("```").next().unwrap());
    let script: String = std::iter::once("set -eu\n").chain(blocks).collect();
    let host = Host::builder().start().await;
    let mut command = tokio::process::Command::new("sh");
    command
        .args(["-c", &script])
        .env("VIVARIUM_URL", host.address())
        .env("VIVARIUM_KEY", host.key())
        .env("no_proxy", "*");
    let output = soon("the script's end", command.output()).await.unwrap();
    let (printed, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{printed}\n{wrong}", output.status);
    assert!(printed.contains(r#""title":"Refund""#) && printed.contains(r#"data: {"type":"done""#), "{printed}");
}

#[tokio::test]
async fn every_route_refuses_in_one_form_what_none_takes() {
    let (_model, host) = answering().await;
    my_assistant(&host).await;
    let session = text(&say(&host, None, "Hello").await["session_id"]);
    let session = format!("/api/sessions/{session}");
    let words = json!({"userInput": "q"});
    let routes = [
        (Method::GET, "/api/assistants".to_owned(), None),
        (Method::POST, "/api/assistants".to_owned(), Some(named("new"))),
        (Method::GET, "/api/assistants/my-assistant".to_owned(), None),
        (Method::PATCH, "/api/assistants/my-assistant".to_owned(), Some(json!({"llmPrompt": "p"}))),
        (Method::PUT, "/api/assistants/my-assistant".to_owned(), Some(json!({"llmPrompt": "p"}))),
        (Method::DELETE, "/api/assistants/my-assistant".to_owned(), None),
        (Method::POST, "/api/assistants/my-assistant/execute".to_owned(), Some(words.clone())),
        (Method::POST, "/api/assistants/my-assistant/user-input".to_owned(), Some(words.clone())),
        (Method::POST, "/api/assistant/my-assistant/execute".to_owned(), Some(words.clone())),
        (Method::POST, "/api/assistant/my-assistant/user-input".to_owned(), Some(words)),
        (Method::POST, "/api/sessions".to_owned(), Some(json!({"assistantId": "my-assistant"}))),
        (Method::GET, "/api/sessions".to_owned(), None),
        (Method::GET, session.clone(), None),
        (Method::PATCH, session.clone(), Some(json!({"title": "t"}))),
        (Method::DELETE, session.clone(), None),
        (Method::GET, format!("{session}/messages"), None),
    ];
    for (method, path, body) in routes {
        let with = |key: Option<&str>| {
            let request = host.client().request(method.clone(), host.url(&path));
            match key {
                Some(key) => request.bearer_auth(key),
                None => request,
            }
        };
        let mut cases = vec![("no key", 401, with(None)), ("a wrong key", 401, with(Some("ask_nobody")))];
        let purge = host.request(Method::from_bytes(b"PURGE").unwrap(), &path);
        cases.push(("another method", 405, purge));
        if let Some(body) = body {
            let sent = |kind: &str, text: String| with(Some(host.key())).header("content-type", kind).body(text);
            cases.push(("no body", 400, sent("application/json", String::new())));
            cases.push(("broken JSON", 400, sent("application/json", "{\"a\":".to_owned())));
            cases.push(("two bodies", 400, sent("application/json", format!("{body}{body}"))));
            cases.push(("an array", 400, sent("application/json", "[]".to_owned())));
            cases.push(("a number", 400, sent("application/json", "7".to_owned())));
            cases.push(("no UTF-8", 400, with(Some(host.key())).body(b"{\"title\":\"\xff\"}".to_vec())));
            cases.push(("a form", 415, sent("application/x-www-form-urlencoded", "a=b".to_owned())));
            let mut unknown = body.clone();
            unknown["unheardOf"] = json!(1);
            cases.push(("an unknown field", 400, sent("application/json", unknown.to_string())));
            let most = if path.ends_with("execute") || path.ends_with("user-input") { 16 << 20 } else { 1 << 20 };
            cases.push(("too much", 413, sent("application/json", format!("{body}{}", " ".repeat(most)))));
        }
        for (case, expected, request) in cases {
            let response = host.send(request).await;
            assert_eq!(response.status().as_u16(), expected, "{method} {path}: {case}");
            number(response.headers(), "x-ratelimit-limit");
            let code = match expected {
                401 => "UNAUTHORIZED",
                _ => "VALIDATION_ERROR",
            };
            let answer: Value = response.json().await.unwrap();
            assert_eq!(answer["error"]["code"], code, "{method} {path}: {case}: {answer}");
            assert!(!answer["error"]["message"].as_str().unwrap().is_empty(), "{method} {path}: {case}");
        }
    }
}
