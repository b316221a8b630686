//! What an agent is configured with takes effect in its runs: each field is seen where it acts, at the model's server or in the
//! run's record.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Host, ScriptedModel, SseStream};

struct Stage {
    host: Host,
    model: ScriptedModel,
}

impl Stage {
    async fn new() -> Self {
        let model = ScriptedModel::start().await;
        let host = Host::builder().model(&model).start().await;
        Self { host, model }
    }

    /// Makes an agent and gives its id.
    async fn agent(&self, config: Value) -> String {
        let (status, made) = self.host.json(Method::POST, "/v1/agents", Some(&config)).await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    /// A run of the agent, whatever comes of it.
    async fn run(&self, agent: &str, input: &str, more: Value) -> Value {
        let mut body = json!({"agentId": agent, "input": input});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.host.post_ok("/v1/runs", &body).await
    }

    /// The model's requests, each as one text.
    fn asked(&self) -> Vec<String> {
        self.model.requests().iter().map(|request| request["messages"].to_string()).collect()
    }

    async fn messages(&self, session: &str) -> Vec<Value> {
        let (status, page) = self.host.json(Method::GET, &format!("/v1/sessions/{session}/messages"), None).await;
        assert_eq!(status, 200, "{page}");
        page["data"].as_array().unwrap().clone()
    }
}

fn session_of(run: &Value) -> &str {
    run["sessionId"].as_str().unwrap_or_else(|| panic!("no session: {run}"))
}

#[tokio::test]
async fn the_prompt_the_model_and_the_bound_on_its_answer_reach_the_vendor() {
    let stage = Stage::new().await;
    stage.model.always(Answer::text("Arr."));
    let agent = stage
        .agent(json!({"name": "pirate", "prompt": "Speak like a pirate.", "model": "openai/another", "maxOutputTokens": 77}))
        .await;
    let run = stage.run("pirate", "Hello", json!({})).await;
    assert_eq!((&run["status"], &run["agent"]), (&json!("completed"), &json!({"id": agent, "version": 1})), "{run}");
    let request = &stage.model.requests()[0];
    assert_eq!(request["model"], "another");
    assert!(request["messages"][0].to_string().contains("Speak like a pirate."), "{request}");
    let bound = request.get("max_completion_tokens").or_else(|| request.get("max_tokens"));
    assert_eq!(bound, Some(&json!(77)), "{request}");
}

#[tokio::test]
async fn a_run_names_the_version_that_it_used_and_later_changes_leave_it_alone() {
    let stage = Stage::new().await;
    stage.model.always(Answer::text("ok"));
    let agent = stage.agent(json!({"name": "changing", "prompt": "first"})).await;
    let first = stage.run(&agent, "a", json!({})).await;
    let path = format!("/v1/agents/{agent}");
    let (status, changed) = stage.host.json(Method::PATCH, &path, Some(&json!({"prompt": "second"}))).await;
    assert_eq!((status, &changed["version"]), (200, &json!(2)), "{changed}");
    let second = stage.run(&agent, "b", json!({})).await;
    assert_eq!((&first["agent"]["version"], &second["agent"]["version"]), (&json!(1), &json!(2)));
    let asked = stage.asked();
    assert!(asked[0].contains("first") && asked[1].contains("second"), "{asked:?}");
}

#[tokio::test]
async fn only_the_agents_tools_are_offered_and_called() {
    let stage = Stage::new().await;
    let tools: Vec<Value> = ["listed", "other"].map(tool).into();
    stage.host.install(tool_plugin_as(json!({"name": "test/two", "tools": tools}), "", "", ECHO)).await;
    let config = json!({"name": "one-tool", "tools": [{"name": "listed"}], "maxCycles": 3});
    let agent = stage.agent(config).await;
    stage.model.then(Answer::tool("other", json!({}))).then(Answer::text("It is not there."));
    let run = stage.run(&agent, "use the other one", json!({})).await;
    assert_eq!(run["outcome"]["answer"], "It is not there.", "{run}");
    let requests = stage.model.requests();
    let offered: Vec<&Value> =
        requests[0]["tools"].as_array().unwrap().iter().map(|t| &t["function"]["name"]).collect();
    assert_eq!(offered, ["listed"]);
    assert!(requests[1]["messages"].to_string().contains("there is no tool"), "{}", requests[1]);
}

#[tokio::test]
async fn an_agents_ask_holds_a_call_that_the_grant_would_let_through() {
    let stage = Stage::new().await;
    stage.host.install(tool_plugin_as(json!({"name": "test/one", "tools": [tool("careful")]}), "", "", ECHO)).await;
    let config = json!({"name": "asks", "tools": [{"name": "careful", "approval": "ask"}], "maxCycles": 3});
    let agent = stage.agent(config).await;
    stage.model.then(Answer::tool("careful", json!({"a": 1}))).then(Answer::text("done"));
    let begun = json!({"agentId": agent, "input": "go", "background": true});
    let (status, run) = stage.host.json(Method::POST, "/v1/runs", Some(&begun)).await;
    assert_eq!(status, 202, "{run}");
    let id = run["id"].as_str().unwrap().to_owned();
    let follow = stage.host.request(Method::GET, &format!("/v1/runs/{id}/events"));
    let mut events = SseStream::new(stage.host.send(follow.header("accept", "text/event-stream")).await);
    let asked = loop {
        let event = events.next().await.unwrap();
        if event.event.as_deref() == Some("approval.requested") {
            break event.json();
        }
    };
    let decision = json!({"callId": asked["callId"], "decision": "approve"});
    let (status, told) = stage.host.json(Method::POST, &format!("/v1/runs/{id}/approve"), Some(&decision)).await;
    assert_eq!(status, 200, "{told}");
    let rest = events.rest().await;
    assert!(rest.iter().any(|event| event.event.as_deref() == Some("run.completed")), "{rest:?}");
}

#[tokio::test]
async fn the_history_window_counts_turns() {
    let stage = Stage::new().await;
    for answer in ["one", "two", "three", "four"] {
        stage.model.then(Answer::text(answer));
    }
    let agent = stage.agent(json!({"name": "forgetful", "historyTurns": 1})).await;
    let first = stage.run(&agent, "first question", json!({})).await;
    let session = json!({"sessionId": session_of(&first)});
    stage.run(&agent, "second question", session.clone()).await;
    stage.run(&agent, "third question", session.clone()).await;
    let third = &stage.asked()[2];
    assert!(third.contains("second question") && !third.contains("first question"), "{third}");
    let mut none = session;
    none["historyTurns"] = json!(0);
    stage.run(&agent, "fourth question", none).await;
    let fourth = &stage.asked()[3];
    assert!(!fourth.contains("third question"), "{fourth}");
}

#[tokio::test]
async fn a_run_that_takes_longer_than_its_agent_may_is_ended_with_the_reason() {
    let stage = Stage::new().await;
    stage.model.always(Answer::Slowly(vec!["slow".to_owned(); 600], Duration::from_millis(100)));
    let agent = stage.agent(json!({"name": "hasty", "timeoutSeconds": 1})).await;
    let run = stage.run(&agent, "take your time", json!({})).await;
    assert_eq!(run["status"], "failed", "{run}");
    assert_eq!(run["failure"]["code"], "deadline_exceeded");
    assert_eq!(run["failure"]["message"], "the run took longer than the 1 s that it may take and was stopped");
}

#[tokio::test]
async fn an_answer_by_a_schema_is_checked_and_corrected_once() {
    let stage = Stage::new().await;
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"], "additionalProperties": false});
    let agent =
        stage.agent(json!({"name": "exact", "tools": [], "output": {"type": "json_schema", "schema": schema}})).await;
    stage.model.then(Answer::text(r#"{"n": "seven"}"#)).then(Answer::text(r#"{"n": 7}"#));
    let run = stage.run(&agent, "How many?", json!({})).await;
    assert_eq!((&run["status"], &run["outcome"]["output"]), (&json!("completed"), &json!({"n": 7})), "{run}");
    assert_eq!(run["outcome"]["answer"], r#"{"n": 7}"#);
    let asked = stage.asked();
    assert_eq!(asked.len(), 2);
    assert!(asked[1].contains("does not satisfy the schema at /n"), "{}", asked[1]);
    // Words in place of JSON are corrected too.
    stage.model.then(Answer::text("Seven, I think.")).then(Answer::text("```json\n{\"n\": 7}\n```"));
    let run = stage.run(&agent, "How many?", json!({})).await;
    assert_eq!(run["outcome"]["output"], json!({"n": 7}), "{run}");
}

#[tokio::test]
async fn an_answer_that_stays_wrong_fails_the_run_with_both_reasons() {
    let stage = Stage::new().await;
    let schema = json!({"type": "object", "required": ["n"]});
    let agent =
        stage.agent(json!({"name": "wrong", "tools": [], "output": {"type": "json_schema", "schema": schema}})).await;
    stage.model.always(Answer::text("{}"));
    let run = stage.run(&agent, "How many?", json!({})).await;
    assert_eq!((&run["status"], &run["failure"]["code"]), (&json!("failed"), &json!("mode_failed")), "{run}");
    let why = run["failure"]["message"].as_str().unwrap();
    assert!(why.contains("asked again") && why.matches("does not satisfy the schema").count() == 2, "{why}");
    assert_eq!(stage.model.requests().len(), 2, "it is asked once more, not over and over");
    assert_eq!(stage.messages(session_of(&run)).await.len(), 0, "a failed run leaves no half turn");
}

#[tokio::test]
async fn a_busy_session_waits_refuses_or_lets_the_newer_message_in() {
    let stage = Stage::new().await;
    stage.model.then(Answer::Slowly(vec!["w".to_owned(); 600], Duration::from_millis(100)));
    let agent = stage.agent(json!({"name": "talker"})).await;
    let body = |input: &str, policy: &str| json!({"agentId": agent, "input": input, "sessionId": "s-1", "whenBusy": policy, "background": true});
    let (status, first) = stage.host.json(Method::POST, "/v1/runs", Some(&body("a", "enqueue"))).await;
    assert_eq!(status, 202, "{first}");
    stage.model.received(1).await;

    let (status, refused) = stage.host.json(Method::POST, "/v1/runs", Some(&body("b", "reject"))).await;
    assert_eq!((status, &refused["error"]["code"]), (409, &json!("session_busy")), "{refused}");

    let (status, waiting) = stage.host.json(Method::POST, "/v1/runs", Some(&body("c", "enqueue"))).await;
    assert_eq!((status, &waiting["status"]), (202, &json!("queued")), "{waiting}");

    stage.model.then(Answer::text("at last"));
    let newer = json!({"agentId": agent, "input": "d", "sessionId": "s-1", "whenBusy": "interrupt"});
    let newer = stage.host.post_ok("/v1/runs", &newer).await;
    assert_eq!(newer["outcome"]["answer"], "at last", "{newer}");
    for cancelled in [&first, &waiting] {
        let path = format!("/v1/runs/{}", cancelled["id"].as_str().unwrap());
        let (_, run) = stage.host.json(Method::GET, &path, None).await;
        assert_eq!(run["status"], "cancelled", "{run}");
    }
    let said: Vec<Value> = stage.messages("s-1").await.into_iter().map(|message| message["text"].clone()).collect();
    assert_eq!(said, ["d", "at last"], "what was cut short left nothing");
}

#[tokio::test]
async fn deleting_a_session_ends_its_run_and_leaves_nothing_of_it() {
    let stage = Stage::new().await;
    stage
        .model
        .then(Answer::text("remember"))
        .then(Answer::Slowly(vec!["w".to_owned(); 600], Duration::from_millis(100)));
    let agent = stage.agent(json!({"name": "short-lived"})).await;
    let done = stage.run(&agent, "keep this", json!({"sessionId": "s-1"})).await;
    let begun = json!({"agentId": agent, "input": "go on", "sessionId": "s-1", "background": true});
    let (_, open) = stage.host.json(Method::POST, "/v1/runs", Some(&begun)).await;
    stage.model.received(2).await;

    let (status, _) = stage.host.json(Method::DELETE, "/v1/sessions/s-1", None).await;
    assert_eq!(status, 204);
    for path in [
        "/v1/sessions/s-1".to_owned(),
        "/v1/sessions/s-1/messages".to_owned(),
        format!("/v1/runs/{}", done["id"].as_str().unwrap()),
        format!("/v1/runs/{}", open["id"].as_str().unwrap()),
        format!("/v1/runs/{}/events", done["id"].as_str().unwrap()),
    ] {
        let (status, told) = stage.host.json(Method::GET, &path, None).await;
        assert_eq!(status, 404, "{path}: {told}");
    }
    let (_, runs) = stage.host.json(Method::GET, "/v1/runs?sessionId=s-1", None).await;
    assert_eq!(runs["data"], json!([]));
    let (_, sessions) = stage.host.json(Method::GET, "/v1/sessions", None).await;
    assert_eq!(sessions["data"], json!([]));
}

#[tokio::test]
async fn a_title_is_given_or_made_of_the_first_message() {
    let stage = Stage::new().await;
    stage.model.always(Answer::text("ok"));
    let agent = stage.agent(json!({"name": "titled"})).await;
    let run = stage.run(&agent, "What is a tenant?\nTell me all.", json!({})).await;
    let (_, made) = stage.host.json(Method::GET, &format!("/v1/sessions/{}", session_of(&run)), None).await;
    assert_eq!((&made["title"], &made["agentId"]), (&json!("What is a tenant?"), &json!(agent)), "{made}");

    let (_, untitled) =
        stage.host.json(Method::POST, "/v1/sessions", Some(&json!({"id": "s-2", "agentId": agent}))).await;
    assert_eq!(untitled["title"], Value::Null);
    stage.run(&agent, "And a team?", json!({"sessionId": "s-2"})).await;
    let (_, titled) = stage.host.json(Method::GET, "/v1/sessions/s-2", None).await;
    assert_eq!(titled["title"], "And a team?");
}
