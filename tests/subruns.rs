//! Agents as tools: a run asks another agent of its tenant, in a run of its own, and both outlive the host.

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Host, ScriptedModel, SseEvent, SseStream, soon};

struct Stage {
    host: Host,
    model: ScriptedModel,
}

impl Stage {
    async fn new(config: &str) -> Self {
        let model = ScriptedModel::start().await;
        let host = Host::builder().model(&model).config(config).start().await;
        Self { host, model }
    }

    async fn agent(&self, config: Value) -> String {
        let (status, made) = self.host.json(Method::POST, "/v1/agents", Some(&config)).await;
        assert_eq!(status, 201, "{made}");
        made["id"].as_str().unwrap().to_owned()
    }

    /// An agent that may ask another one, and that one.
    async fn boss_and_helper(&self, helper: Value) -> (String, String) {
        let mut config = json!({"name": "Helper", "prompt": "You help.", "description": "Knows numbers."});
        config.as_object_mut().unwrap().extend(helper.as_object().unwrap().clone());
        let helper = self.agent(config).await;
        let boss = self.agent(json!({"name": "boss", "agents": [helper], "tools": [], "maxCycles": 4})).await;
        (boss, helper)
    }

    async fn begun(&self, agent: &str) -> String {
        let body = json!({"agentId": agent, "input": "What is two and two?", "background": true});
        let (status, run) = self.host.json(Method::POST, "/v1/runs", Some(&body)).await;
        assert_eq!(status, 202, "{run}");
        run["id"].as_str().unwrap().to_owned()
    }

    async fn get(&self, path: &str) -> Value {
        let (status, got) = self.host.json(Method::GET, path, None).await;
        assert_eq!(status, 200, "{got}");
        got
    }

    async fn events(&self, run: &str) -> SseStream {
        let request = self.host.request(Method::GET, &format!("/v1/runs/{run}/events"));
        SseStream::new(self.host.send(request.header("accept", "text/event-stream")).await)
    }

    async fn until(&self, run: &str, kind: &str) -> Value {
        let mut events = self.events(run).await;
        loop {
            let event = soon(kind, events.next()).await.unwrap_or_else(|| panic!("{run} ended without {kind}"));
            if event.event.as_deref() == Some(kind) {
                return event.json();
            }
        }
    }

    async fn ended(&self, run: &str) -> Vec<Value> {
        let all = soon("the run's end", self.events(run).await.rest()).await;
        let logged = all.iter().filter(|event| event.id.is_some() && event.event.as_deref() != Some("token"));
        logged.map(SseEvent::json).collect()
    }

    async fn killed(self) -> Self {
        let data = self.host.kill().await;
        Self { host: Host::builder().model(&self.model).data(data).start().await, model: self.model }
    }
}

fn ask(input: &str) -> Answer {
    Answer::tool("ask_helper", json!({"input": input}))
}

fn of_type<'a>(log: &'a [Value], kind: &str) -> Vec<&'a Value> {
    log.iter().filter(|event| event["type"] == kind).collect()
}

#[tokio::test]
async fn a_run_asks_another_agent_and_gets_its_answer() {
    // One place: the run gives its own up while it waits for the one that it has started.
    let stage = Stage::new("max_running = 1\n").await;
    let (boss, helper) = stage.boss_and_helper(json!({})).await;
    stage.model.then(ask("Two and two?")).then(Answer::text("Four.")).then(Answer::text("It is four."));
    let run = stage.begun(&boss).await;
    let log = stage.ended(&run).await;
    assert_eq!(log.last().unwrap()["outcome"]["answer"], "It is four.", "{log:#?}");
    let started = of_type(&log, "subrun.started");
    let child = stage.get(&format!("/v1/runs/{}", started[0]["runId"].as_str().unwrap())).await;
    assert_eq!((&child["status"], &child["parent"]["runId"]), (&json!("completed"), &json!(run)), "{child}");
    assert_eq!((&child["agent"]["id"], &child["input"]), (&json!(helper), &json!("Two and two?")));
    assert_eq!(of_type(&log, "tool.completed")[0]["outcome"], json!({"output": "Four."}));
    let requests = stage.model.requests();
    let offered = &requests[0]["tools"][0]["function"];
    assert_eq!(offered["name"], "ask_helper");
    assert!(offered["description"].as_str().unwrap().contains("Knows numbers."), "{offered}");
    let asked = requests[1]["messages"].to_string();
    assert!(asked.contains("You help.") && !asked.contains("What is two and two?"), "{asked}");
}

#[tokio::test]
async fn both_runs_outlive_the_host_and_neither_is_begun_twice() {
    let stage = Stage::new("").await;
    let (boss, _) = stage.boss_and_helper(json!({})).await;
    stage.model.then(ask("Two and two?")).then(Answer::Silence);
    let run = stage.begun(&boss).await;
    stage.model.received(2).await;
    stage.model.then(Answer::text("Four.")).then(Answer::text("It is four."));
    let stage = stage.killed().await;
    let log = stage.ended(&run).await;
    assert_eq!(log.last().unwrap()["outcome"]["answer"], "It is four.", "{log:#?}");
    assert_eq!(stage.get("/v1/runs").await["data"].as_array().unwrap().len(), 2);
    let keys = stage.model.idempotency_keys();
    assert_eq!((keys.len(), keys[1] == keys[2]), (4, true), "{keys:?}");
}

#[tokio::test]
async fn a_decision_about_a_call_below_is_asked_for_above_and_both_wait_for_it_over_a_restart() {
    let stage = Stage::new("").await;
    stage.host.install(tool_plugin_as(json!({"name": "test/careful", "tools": [tool("careful")]}), "", "", ECHO)).await;
    let (boss, _) =
        stage.boss_and_helper(json!({"tools": [{"name": "careful", "approval": "ask"}], "maxCycles": 3})).await;
    stage.model.then(ask("Be careful.")).then(Answer::tool("careful", json!({"a": 1})));
    let run = stage.begun(&boss).await;
    let asked = stage.until(&run, "subrun.approval_requested").await;
    let child = asked["runId"].as_str().unwrap();
    for run in [&run, child] {
        soon("both wait", async {
            while stage.get(&format!("/v1/runs/{run}")).await["status"] != "waiting" {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
    let stage = stage.killed().await;
    for run in [&run, child] {
        assert_eq!(stage.get(&format!("/v1/runs/{run}")).await["status"], "waiting");
    }
    stage.model.then(Answer::text("Done with care.")).then(Answer::text("It is done."));
    let decision = json!({"callId": asked["approval"]["callId"], "decision": "approve"});
    let (status, told) = stage.host.json(Method::POST, &format!("/v1/runs/{child}/approve"), Some(&decision)).await;
    assert_eq!(status, 200, "{told}");
    let log = stage.ended(&run).await;
    assert_eq!(log.last().unwrap()["outcome"]["answer"], "It is done.", "{log:#?}");
    assert_eq!(of_type(&log, "subrun.approval_requested").len(), 1, "what was shown above is not shown again");
    assert_eq!(stage.model.requests().len(), 4);
}

#[tokio::test]
async fn who_ends_a_run_ends_those_that_it_has_started() {
    let stage = Stage::new("").await;
    let (boss, _) = stage.boss_and_helper(json!({})).await;
    stage.model.then(ask("Think.")).then(Answer::Silence);
    let run = stage.begun(&boss).await;
    let child = stage.until(&run, "subrun.started").await["runId"].as_str().unwrap().to_owned();
    stage.model.received(2).await;
    let (status, told) = stage.host.json(Method::POST, &format!("/v1/runs/{run}/cancel"), None).await;
    assert_eq!((status, &told["status"]), (200, &json!("cancelled")), "{told}");
    let log = stage.ended(&child).await;
    assert_eq!(log.last().unwrap()["reason"], "the run that started it has ended", "{log:#?}");
    // A run below that is ended alone is told of to the one above.
    stage.model.then(ask("Think.")).then(Answer::Silence);
    let run = stage.begun(&boss).await;
    let child = stage.until(&run, "subrun.started").await["runId"].as_str().unwrap().to_owned();
    stage.model.received(4).await;
    stage.model.then(Answer::text("Nobody knows."));
    stage.host.post_ok(&format!("/v1/runs/{child}/cancel"), &json!({})).await;
    let log = stage.ended(&run).await;
    assert!(of_type(&log, "tool.completed")[0].to_string().contains("was cancelled"), "{log:#?}");
    assert_eq!(log.last().unwrap()["outcome"]["answer"], "Nobody knows.");
}

#[tokio::test]
async fn a_tree_of_runs_has_a_bounded_depth_and_number() {
    let stage = Stage::new("").await;
    let (_, helper) = stage.boss_and_helper(json!({"tools": [], "maxCycles": 40})).await;
    let itself = json!({"agents": [helper]});
    let (status, told) = stage.host.json(Method::PATCH, &format!("/v1/agents/{helper}"), Some(&itself)).await;
    assert_eq!(status, 200, "{told}");
    for _ in 0..5 {
        stage.model.then(ask("Go deeper."));
    }
    stage.model.always(Answer::text("Enough."));
    let run = stage.begun(&helper).await;
    let log = stage.ended(&run).await;
    assert_eq!(log.last().unwrap()["outcome"]["answer"], "Enough.", "{log:#?}");
    assert_eq!(stage.get("/v1/runs").await["data"].as_array().unwrap().len(), 5, "four below the first");
    let offers = stage.model.requests().iter().take(5).map(|one| one.get("tools").is_some()).collect::<Vec<_>>();
    assert_eq!(offers, [true, true, true, true, false], "the last one is offered nobody to ask");

    // In breadth: each run below gets a share of what the first may start.
    let stage = Stage::new("").await;
    let (boss, _) = stage.boss_and_helper(json!({})).await;
    let many = (0..32).map(|number| vivarium_tests::ToolRequest {
        id: format!("c{number}"),
        name: "ask_helper".to_owned(),
        arguments: json!({"input": "Count."}),
    });
    stage.model.then(Answer::Tools(many.collect())).always(Answer::text("One."));
    let run = stage.begun(&boss).await;
    let log = stage.ended(&run).await;
    let told = of_type(&log, "tool.completed");
    let refused = told.iter().filter(|event| event.to_string().contains("as many runs as it may")).count();
    assert_eq!(told.len(), 32);
    assert_eq!(of_type(&log, "subrun.started").len() + refused, 32);
    assert!(refused > 0 && refused < 32, "{refused}");
}

#[tokio::test]
async fn an_agent_that_is_named_must_be_there() {
    let stage = Stage::new("").await;
    let id = "0192f000-0000-7000-8000-000000000001";
    let config = json!({"name": "boss", "agents": [id]});
    let (status, told) = stage.host.json(Method::POST, "/v1/agents", Some(&config)).await;
    assert_eq!((status, &told["error"]["details"]["param"]), (400, &json!("agents")), "{told}");
    // One that is deleted later is no tool any more.
    let (boss, helper) = stage.boss_and_helper(json!({})).await;
    assert_eq!(stage.host.json(Method::DELETE, &format!("/v1/agents/{helper}"), None).await.0, 204);
    stage.model.always(Answer::text("Alone."));
    let run = stage.begun(&boss).await;
    assert_eq!(stage.ended(&run).await.last().unwrap()["outcome"]["answer"], "Alone.");
    assert!(stage.model.requests()[0].get("tools").is_none(), "{}", stage.model.requests()[0]);
}
