//! A run's log is its journal: a host that dies at any moment loses nothing, and the next one takes every run up where it was.

use std::path::Path;
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_domain::RunId;
use vivarium_store::{Batch, SledStore, Store as _, Write};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Host, ScriptedModel, SseEvent, SseStream, soon};

const SPIN: &str = "(loop $for_ever (br $for_ever)) (unreachable)";

/// Starts a run in the background and gives its id.
async fn begun(host: &Host, body: Value) -> String {
    let (status, run) = host.json(Method::POST, "/v1/runs", Some(&body)).await;
    assert_eq!(status, 202, "{run}");
    run["id"].as_str().unwrap().to_owned()
}

async fn events(host: &Host, run: &str, cursor: Option<&str>) -> SseStream {
    let request = host.request(Method::GET, &format!("/v1/runs/{run}/events")).header("accept", "text/event-stream");
    let request = match cursor {
        Some(cursor) => request.header("last-event-id", cursor),
        None => request,
    };
    SseStream::new(host.send(request).await)
}

/// Reads a stream until an event of this type, which is given with those before it.
async fn until(stream: &mut SseStream, kind: &str) -> Vec<SseEvent> {
    let mut read = Vec::new();
    loop {
        let event = soon(kind, stream.next()).await.unwrap_or_else(|| panic!("no {kind} in {read:?}"));
        let found = event.event.as_deref() == Some(kind);
        read.push(event);
        if found {
            return read;
        }
    }
}

/// The run's whole log, once it has ended.
async fn ended(host: &Host, run: &str) -> Vec<Value> {
    let rest = soon("the run's end", events(host, run, None).await.rest()).await;
    let logged = rest.iter().filter(|event| event.id.is_some() && event.event.as_deref() != Some("token"));
    let log: Vec<Value> = logged.map(SseEvent::json).collect();
    assert!(log.iter().zip(1_u64..).all(|(event, seq)| event["seq"] == seq), "{log:#?}");
    log
}

fn types(log: &[Value]) -> Vec<&str> {
    let hidden = |kind: &&str| *kind != "host.answered";
    log.iter().map(|event| event["type"].as_str().unwrap()).filter(hidden).collect()
}

/// What a client has that strings tokens together, as the stream's events say.
fn strung(text: &mut String, events: &[SseEvent]) {
    for event in events {
        match event.event.as_deref() {
            Some("token") => text.push_str(event.json()["text"].as_str().unwrap()),
            Some("token.void") => text.clear(),
            _ => {}
        }
    }
}

async fn again(model: &ScriptedModel, host: Host) -> Host {
    let data = host.kill().await;
    Host::builder().model(model).data(data).start().await
}

fn chat(input: &str) -> Value {
    json!({"mode": "chat", "input": input, "background": true, "maxCycles": 5})
}

#[tokio::test]
async fn a_run_whose_host_died_while_the_model_thought_asks_it_again_and_goes_on() {
    let model = ScriptedModel::start().await;
    model.then(Answer::Silence).then(Answer::text("Here I am."));
    let host = Host::builder().model(&model).start().await;
    let run = begun(&host, chat("Hello?")).await;
    until(&mut events(&host, &run, None).await, "model.started").await;
    let host = again(&model, host).await;
    let log = ended(&host, &run).await;
    assert_eq!(types(&log), ["run.started", "model.started", "run.resumed", "model.completed", "run.completed"]);
    assert_eq!(log.last().unwrap()["outcome"]["answer"], "Here I am.");
    let keys = model.idempotency_keys();
    assert_eq!(keys, [Some(format!("{run}-m1")), Some(format!("{run}-m1"))], "both are attempts of one call");
    assert_eq!(model.requests()[0], model.requests()[1]);
}

#[tokio::test]
async fn what_was_answered_before_the_host_died_is_not_asked_for_again() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    host.install(tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", ECHO)).await;
    model.then(Answer::tool("echo", json!({"a": 1}))).then(Answer::Silence);
    let run = begun(&host, chat("Use the tool.")).await;
    model.received(2).await;
    model.then(Answer::text("The tool said so."));
    let host = again(&model, host).await;
    let log = ended(&host, &run).await;
    let count = |kind: &str| types(&log).iter().filter(|one| **one == kind).count();
    assert_eq!((count("tool.started"), count("tool.completed"), count("model.started")), (1, 1, 2), "{log:#?}");
    assert_eq!(log.last().unwrap()["outcome"]["answer"], "The tool said so.");
    let requests = model.requests();
    assert_eq!(requests.len(), 3, "the first question was not asked again");
    assert_eq!(requests[1], requests[2]);
    let record: Value = host.get(&format!("/v1/runs/{run}")).await.json().await.unwrap();
    assert_eq!(record["usage"]["inputTokens"], 20, "each answer is counted once: {record}");
}

#[tokio::test]
async fn a_tool_that_was_at_work_when_the_host_died_is_called_again_only_if_that_does_no_harm() {
    for (harmless, attempts) in [(false, 0), (true, 1)] {
        let model = ScriptedModel::start().await;
        let limits = "[tool_limits]\ncpu_ms = 2000\n";
        let host = Host::builder().model(&model).config(limits).start().await;
        let mut worker = tool("work");
        worker["idempotent"] = json!(harmless);
        host.install(tool_plugin_as(json!({"name": "test/work", "tools": [worker]}), "", "", SPIN)).await;
        model.then(Answer::tool("work", json!({}))).then(Answer::text("So be it."));
        let run = begun(&host, chat("Work.")).await;
        until(&mut events(&host, &run, None).await, "tool.started").await;
        let host = again(&model, host).await;
        let log = ended(&host, &run).await;
        let told: Vec<&Value> = log.iter().filter(|event| event["type"] == "tool.attempted").collect();
        assert_eq!(told.len(), attempts, "{log:#?}");
        let completed = log.iter().find(|event| event["type"] == "tool.completed").unwrap();
        let error = completed["outcome"]["error"].as_str().unwrap();
        assert_eq!(error.starts_with("interrupted: the host was stopped"), !harmless, "{error}");
        assert_eq!(log.last().unwrap()["type"], "run.completed", "the model was told, and answers");
    }
}

#[tokio::test]
async fn who_comes_back_after_the_host_died_has_the_answer_whole_and_once() {
    let words: Vec<String> = "one two three four five six ".split_inclusive(' ').map(str::to_owned).collect();
    for (second, same) in [(words.clone(), true), (vec!["something ".to_owned(), "else".to_owned()], false)] {
        let model = ScriptedModel::start().await;
        model.then(Answer::Slowly(words.clone(), Duration::from_millis(100)));
        let host = Host::builder().model(&model).start().await;
        let run = begun(&host, chat("Count.")).await;
        let mut stream = events(&host, &run, None).await;
        let mut seen = until(&mut stream, "token").await;
        seen.extend(until(&mut stream, "token").await);
        let mut text = String::new();
        strung(&mut text, &seen);
        assert_eq!(text, "one two ");
        let cursor = seen.last().unwrap().id.clone().unwrap();
        model.then(Answer::Slowly(second.clone(), Duration::from_millis(20)));
        let host = again(&model, host).await;
        let rest = soon("the rest", events(&host, &run, Some(&cursor)).await.rest()).await;
        assert_eq!(rest.iter().any(|event| event.event.as_deref() == Some("token.void")), !same, "{rest:?}");
        strung(&mut text, &rest);
        assert_eq!(text, second.concat());
        // And who comes after the end.
        let late = events(&host, &run, Some(&cursor)).await.rest().await;
        let mut text = "one two ".to_owned();
        strung(&mut text, &late);
        assert_eq!(text, second.concat());
    }
}

#[tokio::test]
async fn who_comes_back_after_the_host_died_twice_within_one_answer_has_it_whole_and_once() {
    let words: Vec<String> = "one two three four ".split_inclusive(' ').map(str::to_owned).collect();
    let model = ScriptedModel::start().await;
    model.then(Answer::Slowly(words.clone(), Duration::from_millis(100))).then(Answer::Silence);
    let host = Host::builder().model(&model).start().await;
    let run = begun(&host, chat("Count.")).await;
    let mut text = String::new();
    let seen = until(&mut events(&host, &run, None).await, "token").await;
    strung(&mut text, &seen);
    // The second host tells that it goes on, and dies before it has come as far as the first one.
    let host = again(&model, host).await;
    let cursor = seen.last().unwrap().id.clone().unwrap();
    let seen = until(&mut events(&host, &run, Some(&cursor)).await, "run.resumed").await;
    strung(&mut text, &seen);
    model.then(Answer::Slowly(words.clone(), Duration::from_millis(10)));
    let host = again(&model, host).await;
    let cursor = seen.last().unwrap().id.clone().unwrap();
    let rest = soon("the rest", events(&host, &run, Some(&cursor)).await.rest()).await;
    strung(&mut text, &rest);
    assert_eq!(text, words.concat(), "{rest:?}");
    let resumed = rest.iter().filter(|event| event.event.as_deref() == Some("run.resumed")).count();
    assert_eq!(resumed, 1, "the first one it has seen before: {rest:?}");
}

/// A run that waits for a person's decision about a call of the tool `careful`.
async fn waiting(model: &ScriptedModel, host: &Host) -> String {
    host.install(tool_plugin_as(json!({"name": "test/careful", "tools": [tool("careful")]}), "", "", ECHO)).await;
    model.then(Answer::tool("careful", json!({"a": 1})));
    let mut body = chat("Be careful.");
    body["tools"] = json!([{"name": "careful", "approval": "ask"}]);
    let run = begun(host, body).await;
    until(&mut events(host, &run, None).await, "approval.requested").await;
    run
}

async fn decide(host: &Host, run: &str, decision: &str) -> (u16, Value) {
    let body = json!({"callId": "call_1", "decision": decision, "reason": "because"});
    host.json(Method::POST, &format!("/v1/runs/{run}/approve"), Some(&body)).await
}

#[tokio::test]
async fn a_run_that_waits_for_a_person_outlives_restarts_and_goes_on_with_the_decision() {
    for (decision, told) in [("approve", "\\\"a\\\":1"), ("reject", "a person refused this call: because")] {
        let model = ScriptedModel::start().await;
        let host = Host::builder().model(&model).start().await;
        let run = waiting(&model, &host).await;
        let host = again(&model, again(&model, host).await).await;
        let record: Value = host.get(&format!("/v1/runs/{run}")).await.json().await.unwrap();
        assert_eq!(
            (&record["status"], &record["waiting"]["approvals"][0]["callId"]),
            (&json!("waiting"), &json!("call_1"))
        );
        let listed: Value = host.get("/v1/runs?status=waiting").await.json().await.unwrap();
        assert_eq!(listed["data"][0]["id"], json!(run), "{listed}");
        // A reader that was there before the decision sees what comes of it.
        let mut reader = events(&host, &run, None).await;
        until(&mut reader, "approval.requested").await;
        model.then(Answer::text("Done."));
        assert_eq!(decide(&host, &run, decision).await.0, 200);
        let rest = soon("the end", reader.rest()).await;
        assert_eq!(rest.last().unwrap().event.as_deref(), Some("run.completed"), "{rest:?}");
        assert!(model.requests()[1].to_string().contains(told), "{}", model.requests()[1]);
        assert_eq!(model.requests().len(), 2, "the first answer was not paid for again");
        assert_eq!(decide(&host, &run, decision).await.0, 409, "it is decided once");
    }
}

#[tokio::test]
async fn a_decision_that_was_acknowledged_is_not_lost() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let run = waiting(&model, &host).await;
    model.always(Answer::text("Done."));
    assert_eq!(decide(&host, &run, "approve").await.0, 200);
    let host = again(&model, host).await;
    let log = ended(&host, &run).await;
    assert_eq!(log.iter().filter(|event| event["type"] == "approval.given").count(), 1, "{log:#?}");
    assert_eq!(log.last().unwrap()["type"], "run.completed");
}

#[tokio::test]
async fn a_run_that_waits_can_be_cancelled_and_its_session_deleted() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let run = waiting(&model, &host).await;
    let (status, record) = host.json(Method::POST, &format!("/v1/runs/{run}/cancel"), None).await;
    assert_eq!((status, &record["status"]), (200, &json!("cancelled")), "{record}");
    assert!(record["usage"]["inputTokens"].as_u64() > Some(0), "what it has used before is known: {record}");
    let host = again(&model, host).await;
    model.then(Answer::tool("careful", json!({"a": 2})));
    let mut body = chat("Once more.");
    (body["tools"], body["sessionId"]) = (json!([{"name": "careful", "approval": "ask"}]), record["sessionId"].clone());
    let second = begun(&host, body).await;
    until(&mut events(&host, &second, None).await, "approval.requested").await;
    let session = record["sessionId"].as_str().unwrap();
    let (status, told) = host.json(Method::DELETE, &format!("/v1/sessions/{session}"), None).await;
    assert_eq!(status, 204, "{told}");
    assert_eq!(host.get(&format!("/v1/runs/{second}")).await.status().as_u16(), 404);
}

#[tokio::test]
async fn nobodys_decision_is_a_refusal_in_the_end() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).config("approval_patience_seconds = 1\n").start().await;
    let run = waiting(&model, &host).await;
    model.then(Answer::text("Then not."));
    let log = ended(&host, &run).await;
    let given = log.iter().find(|event| event["type"] == "approval.given").unwrap();
    assert_eq!((&given["approved"], &given["reason"]), (&json!(false), &json!("nobody has decided in time")));
    assert_eq!(log.last().unwrap()["outcome"]["answer"], "Then not.");
}

#[tokio::test]
async fn a_decision_is_about_one_call_even_where_the_model_repeats_an_id() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let run = waiting(&model, &host).await;
    model.then(Answer::tool("careful", json!({"a": "worse"})));
    assert_eq!(decide(&host, &run, "approve").await.0, 200);
    let mut reader = events(&host, &run, None).await;
    until(&mut reader, "approval.requested").await;
    let second = until(&mut reader, "approval.requested").await.pop().unwrap().json();
    assert_eq!(second["callId"], "call_1#2");
    let (status, told) = decide(&host, &run, "approve").await;
    assert_eq!(status, 409, "a click that comes twice does not allow what nobody has seen: {told}");
}

/// The store of a data folder that no server has open.
fn store_of(data: &Path) -> SledStore {
    SledStore::open(data.join("store")).unwrap().0
}

#[tokio::test]
async fn a_mode_that_does_not_do_again_what_its_log_says_ends_with_the_event_that_it_differs_at() {
    let model = ScriptedModel::start().await;
    model.then(Answer::Silence);
    let host = Host::builder().model(&model).start().await;
    let run = begun(&host, chat("Hello?")).await;
    until(&mut events(&host, &run, None).await, "model.started").await;
    let data = host.kill().await;
    // The same run once more, with a log in which its mode has asked for something else.
    let other = {
        let (store, tenant) = (store_of(data.path()), "default".parse().unwrap());
        let run: RunId = run.parse().unwrap();
        let mut record = store.run(&tenant, run).await.unwrap().unwrap();
        (record.id, record.session_id) = (RunId::new(), "another".parse().unwrap());
        let log = store.events(&tenant, run, 0, 100).await.unwrap();
        let changed = log.iter().map(|(_, json)| {
            String::from_utf8(json.to_vec()).unwrap().replace("\"toolsList\"", "\"sourcesList\"").into_bytes().into()
        });
        let append = Write::AppendEvents { run: record.id, first_seq: 1, events: changed.collect() };
        let other = record.id.to_string();
        let writes = vec![Write::PutRun(Box::new(record)), append];
        store.commit(&tenant, Batch { conditions: Vec::new(), writes }).await.unwrap();
        other
    };
    model.always(Answer::text("Here I am."));
    let host = Host::builder().model(&model).data(data).start().await;
    assert_eq!(ended(&host, &run).await.last().unwrap()["outcome"]["answer"], "Here I am.");
    let log = ended(&host, &other).await;
    let failure = &log.last().unwrap()["failure"];
    assert_eq!(failure["code"], "nondeterminism", "{log:#?}");
    let at = log.iter().find(|event| event["call"] == "sourcesList").unwrap()["seq"].as_u64().unwrap();
    let message = failure["message"].as_str().unwrap();
    assert!(
        message.ends_with(&format!("at event {at} it asked for sources.list before, and asks for tools.list now")),
        "{message}"
    );
}

#[tokio::test]
async fn a_stop_in_good_order_leaves_what_does_not_end_in_time_to_the_next_start() {
    let model = ScriptedModel::start().await;
    model.then(Answer::Silence).then(Answer::text("After the stop."));
    let host = Host::builder().model(&model).config("drain_seconds = 0\n").start().await;
    let run = begun(&host, chat("Hello?")).await;
    until(&mut events(&host, &run, None).await, "model.started").await;
    let (status, data) = host.stop().await;
    assert!(status.success(), "{status}");
    let host = Host::builder().model(&model).data(data).start().await;
    assert_eq!(ended(&host, &run).await.last().unwrap()["outcome"]["answer"], "After the stop.");
}

/// Cancels a run, which must be over soon, and gives its log.
async fn cancelled(host: &Host, run: &str) -> Vec<Value> {
    let began = Instant::now();
    let (status, record) = host.json(Method::POST, &format!("/v1/runs/{run}/cancel"), None).await;
    assert_eq!((status, &record["status"]), (200, &json!("cancelled")), "{record}");
    // `benches/durability` says how soon it is on a machine that does nothing else.
    assert!(began.elapsed() < Duration::from_secs(3), "it took {:?}", began.elapsed());
    let log = ended(host, run).await;
    assert_eq!(types(&log).last(), Some(&"run.cancelled"), "{log:#?}");
    log
}

#[tokio::test]
async fn a_run_that_is_cancelled_at_its_work_is_over_at_once_and_leaves_no_half_turn() {
    let model = ScriptedModel::start().await;
    let patient = "tool_limits = { cpu_ms = 60000, wall_ms = 120000 }\n";
    let host = Host::builder().model(&model).config(patient).start().await;
    host.install(tool_plugin_as(json!({"name": "test/spin", "tools": [tool("spin")]}), "", "", SPIN)).await;
    let in_session = |input: &str| {
        let mut body = chat(input);
        body["sessionId"] = json!("s");
        body
    };
    // In the middle of an answer, with another one in line behind it.
    model.then(Answer::Silence);
    let first = begun(&host, in_session("First.")).await;
    until(&mut events(&host, &first, None).await, "model.started").await;
    let second = begun(&host, in_session("Second.")).await;
    assert_eq!(types(&cancelled(&host, &second).await), ["run.cancelled"]);
    assert_eq!(types(&cancelled(&host, &first).await), ["run.started", "model.started", "run.cancelled"]);
    model.given_up(1).await;
    // In a tool that never ends.
    model.then(Answer::tool("spin", json!({})));
    let third = begun(&host, in_session("Third.")).await;
    until(&mut events(&host, &third, None).await, "tool.started").await;
    let log = cancelled(&host, &third).await;
    assert_eq!(types(&log), ["run.started", "model.started", "model.completed", "tool.started", "run.cancelled"]);
    // What comes next is given what was said and answered: nothing.
    model.then(Answer::text("Here."));
    let fourth = begun(&host, in_session("Fourth.")).await;
    assert_eq!(ended(&host, &fourth).await.last().unwrap()["outcome"]["answer"], "Here.");
    let asked = model.requests().pop().unwrap();
    let said: Vec<&Value> =
        asked["messages"].as_array().unwrap().iter().filter(|said| said["role"] != "system").collect();
    assert_eq!(said.len(), 1, "{asked}");
    assert!(said[0].to_string().contains("Fourth."), "{asked}");
    let messages: Value = host.get("/v1/sessions/s/messages").await.json().await.unwrap();
    assert_eq!(messages["data"].as_array().unwrap().len(), 2, "{messages}");
}
