//! `vivarium replay`: a recorded run's mode runs again, offline, and the first thing that it does otherwise is shown.

use std::path::Path;
use std::process::Output;

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::guest::{ECHO, mode_plugin, tool, tool_plugin_as};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, host_of_two, repository_root};

const REPORT: &str = r#"(import "vivarium:plugin/steps@0.1.0" "report" (func $step (param i32 i32)))"#;

/// A mode `plain` that shows these steps and answers with this text.
fn plain(steps: &[&str], answer: &str) -> Vec<u8> {
    let (mut fields, mut body, mut at) = (REPORT.to_owned(), String::new(), 600);
    for step in steps {
        fields.push_str(&format!("(data (i32.const {at}) \"{step}\")"));
        body.push_str(&format!("(call $step (i32.const {at}) (i32.const {}))", step.len()));
        at += step.len();
    }
    fields.push_str(&format!("(data (i32.const {at}) \"{answer}\")"));
    let outcome = format!(
        "(i32.store (i32.const 516) (i32.const {at})) (i32.store (i32.const 520) (i32.const {})) (i32.const 512)",
        answer.len()
    );
    mode_plugin("plain", &fields, &format!("{body} {outcome}"))
}

/// The component of the mode `chat`, with other words for the model.
fn other_chat() -> Vec<u8> {
    let (kind, other) = (b"helpful assistant", b"cheerful aardvark");
    let mut component = std::fs::read(repository_root().join("plugins/dist/mode-chat.wasm")).unwrap();
    let found: Vec<usize> =
        component.windows(kind.len()).enumerate().filter(|(_, at)| at == kind).map(|(at, _)| at).collect();
    assert!(!found.is_empty(), "chat says something else to its model by now");
    for at in found {
        component[at..at + kind.len()].copy_from_slice(other);
    }
    component
}

/// Runs `vivarium replay` against this host, and gives what came of it.
async fn replay(host: &Host, key: &str, arguments: &[&str]) -> Output {
    let server = host.url("");
    let mut all = vec!["replay", "--server", &server, "--key", key];
    all.extend(arguments);
    Cli::on(host.data()).run(&all).await
}

fn text(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// Runs `chat` with a tool that it calls once; the run's id.
async fn run_with_tool(host: &Host, model: &ScriptedModel, session: Option<&str>) -> String {
    model.then(Answer::tool("echo", json!({"a": 1}))).then(Answer::text("The tool said so."));
    let mut body = json!({"mode": "chat", "input": "Use the tool.", "maxCycles": 3});
    if let Some(session) = session {
        body["sessionId"] = json!(session);
    }
    let run = host.post_ok("/v1/runs", &body).await;
    assert_eq!(run["status"], "completed", "{run}");
    run["id"].as_str().unwrap().to_owned()
}

async fn host_with_tool(model: &ScriptedModel) -> Host {
    let host = Host::builder().model(model).start().await;
    host.install(tool_plugin_as(json!({"name": "test/echo", "tools": [tool("echo")]}), "", "", ECHO)).await;
    host
}

#[tokio::test]
async fn a_run_does_the_same_again_and_nothing_is_asked_for_real() {
    let model = ScriptedModel::start().await;
    let host = host_with_tool(&model).await;
    let run = run_with_tool(&host, &model, None).await;
    let log: Value = host.get(&format!("/v1/runs/{run}/events?limit=1000")).await.json().await.unwrap();
    let (code, out, err) = text(&replay(&host, host.key(), &[&run]).await);
    assert_eq!(code, Some(0), "{out}{err}");
    assert!(out.starts_with("no difference: ") && out.trim_end().ends_with(" calls"), "{out}");
    let (_, out, _) = text(&replay(&host, host.key(), &[&run, "--json"]).await);
    let told: Value = serde_json::from_str(&out).unwrap();
    let calls = ["host.answered", "model.started", "tool.started", "step"];
    let logged =
        log["data"].as_array().unwrap().iter().filter(|event| calls.contains(&event["type"].as_str().unwrap()));
    let expected = json!({"calls": logged.count(), "cutShort": false, "deterministic": true, "difference": null});
    assert_eq!(told, expected);
    assert_eq!(model.requests().len(), 2, "the run's own requests, and none since");
    let after: Value = host.get(&format!("/v1/runs/{run}/events?limit=1000")).await.json().await.unwrap();
    assert_eq!(after, log);
    // And without the server.
    let (_, data) = host.stop().await;
    let folder = data.path().to_str().unwrap();
    let (code, out, err) = text(&Cli::on(data.path()).run(&["replay", &run, "--data", folder]).await);
    assert_eq!((code, out.starts_with("no difference: ")), (Some(0), true), "{out}{err}");
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test]
async fn each_run_of_a_conversation_is_replayed_with_what_was_said_before_it() {
    let model = ScriptedModel::start().await;
    let host = host_with_tool(&model).await;
    let first = run_with_tool(&host, &model, None).await;
    let record: Value = host.get(&format!("/v1/runs/{first}")).await.json().await.unwrap();
    let second = run_with_tool(&host, &model, record["sessionId"].as_str()).await;
    let third = run_with_tool(&host, &model, record["sessionId"].as_str()).await;
    for run in [first, second, third] {
        let (code, out, err) = text(&replay(&host, host.key(), &[&run]).await);
        assert_eq!((code, out.starts_with("no difference: ")), (Some(0), true), "{out}{err}");
    }
}

#[tokio::test]
async fn the_texts_that_a_run_has_read_come_from_its_recording() {
    let host = Host::builder().corpus(&repository_root().join("tests/data/corpus")).start().await;
    let body = json!({"mode": "research", "input": "What is retrieval-augmented generation?", "maxCycles": 1});
    let run = host.post_ok("/v1/runs", &body).await;
    let run = run["id"].as_str().unwrap();
    let recording: Value = host.get(&format!("/v1/runs/{run}/recording")).await.json().await.unwrap();
    assert!(!recording["texts"].as_object().unwrap().is_empty(), "the run has read something");
    let (code, out, err) = text(&replay(&host, host.key(), &[run]).await);
    assert_eq!((code, out.starts_with("no difference: ")), (Some(0), true), "{out}{err}");
}

#[tokio::test]
async fn an_answer_that_the_host_let_the_model_correct_is_corrected_again() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    host.install(plain(&["Looking"], "No number.")).await;
    model.then(Answer::text("{\"n\": 1}"));
    let schema = json!({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]});
    let body = json!({"mode": "plain", "input": "Count.", "outputSchema": schema});
    let run = host.post_ok("/v1/runs", &body).await;
    assert_eq!((&run["outcome"]["output"], model.requests().len()), (&json!({"n": 1}), 1), "{run}");
    let run = run["id"].as_str().unwrap();
    let (code, out, err) = text(&replay(&host, host.key(), &[run]).await);
    assert_eq!((code, out.as_str()), (Some(0), "no difference: 2 calls\n"), "{err}");
    let file = host.data().join("other.wasm");
    std::fs::write(&file, plain(&["Looking"], "{}")).unwrap();
    let (code, out, err) = text(&replay(&host, host.key(), &[run, "--plugin", file.to_str().unwrap()]).await);
    assert_eq!(code, Some(1), "{err}");
    assert!(out.lines().any(|line| line.starts_with('-') && line.contains("No number.")), "{out}");
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test]
async fn another_version_of_a_mode_shows_the_first_thing_that_it_does_otherwise() {
    let host = Host::builder().start().await;
    host.install(plain(&["Looking", "Reading"], "Done.")).await;
    let run = host.post_ok("/v1/runs", &json!({"mode": "plain", "input": "Go."})).await;
    assert_eq!(run["outcome"]["answer"], "Done.", "{run}");
    let run = run["id"].as_str().unwrap();
    let file = host.data().join("other.wasm");
    for (component, event, lines) in [
        (plain(&["Looking", "Thinking"], "Done."), 3, ["-  message: \"Reading\"", "+  message: \"Thinking\""]),
        (plain(&["Looking", "Reading", "Again"], "Done."), 4, ["-end:", "+steps.report:"]),
        (plain(&["Looking"], "Done."), 3, ["-steps.report:", "+end:"]),
        (plain(&["Looking", "Reading"], "Well."), 4, ["-    answer: \"Done.\"", "+    answer: \"Well.\""]),
    ] {
        std::fs::write(&file, component).unwrap();
        let (code, out, err) = text(&replay(&host, host.key(), &[run, "--plugin", file.to_str().unwrap()]).await);
        assert_eq!(code, Some(1), "{out}{err}");
        assert!(out.contains(&format!("a difference at event {event}\n")), "{event}: {out}");
        assert!(err.contains(&format!("the first difference is at event {event}\n")), "{event}: {err}");
        for line in lines {
            assert!(out.lines().any(|shown| shown == line), "{line:?} in {out}");
        }
    }
    // Another build that does the same.
    let mut same = plain(&["Looking", "Reading"], "Done.");
    vivarium_tests::guest::append_section(&mut same, "note", b"another build");
    std::fs::write(&file, same).unwrap();
    let (code, out, err) = text(&replay(&host, host.key(), &[run, "--plugin", file.to_str().unwrap()]).await);
    assert_eq!((code, out.as_str()), (Some(0), "no difference: 2 calls\n"), "{err}");
    // A component that has no such mode.
    std::fs::write(&file, other_chat()).unwrap();
    let (code, out, err) = text(&replay(&host, host.key(), &[run, "--plugin", file.to_str().unwrap()]).await);
    assert_eq!((code, out.as_str()), (Some(1), ""));
    assert!(err.contains("vivarium/chat has no mode \"plain\"; it has: chat"), "{err}");
}

#[tokio::test]
async fn a_question_to_the_model_is_shown_as_it_was_and_as_it_is() {
    let model = ScriptedModel::start().await;
    let host = host_with_tool(&model).await;
    let run = run_with_tool(&host, &model, None).await;
    let file = host.data().join("chat.wasm");
    std::fs::write(&file, other_chat()).unwrap();
    let arguments = [run.as_str(), "--plugin", file.to_str().unwrap()];
    let (code, out, err) = text(&replay(&host, host.key(), &arguments).await);
    assert_eq!(code, Some(1), "{out}{err}");
    let changed = |sign: &str, words: &str| out.lines().any(|line| line.starts_with(sign) && line.contains(words));
    assert!(changed("-", "You are a helpful assistant."), "{out}");
    assert!(changed("+", "You are a cheerful aardvark."), "{out}");
    assert_eq!(out.lines().filter(|line| line.starts_with('-')).count(), 2, "nothing else differs: {out}");
    let (_, out, _) = text(&replay(&host, host.key(), &[&arguments[..], &["--json"]].concat()).await);
    let told: Value = serde_json::from_str(&out).unwrap();
    let log: Value = host.get(&format!("/v1/runs/{run}/events?limit=1000")).await.json().await.unwrap();
    let asked = log["data"].as_array().unwrap().iter().find(|event| event["type"] == "model.started").unwrap();
    assert_eq!(told["difference"]["seq"], asked["seq"]);
    let request = &told["difference"]["before"]["with"]["request"];
    assert!(request["messages"][0].to_string().contains("helpful assistant"), "{told}");
    assert_eq!(model.requests().len(), 2);
}

#[tokio::test]
async fn a_recording_is_a_file_that_is_replayed_anywhere() {
    let model = ScriptedModel::start().await;
    let host = host_with_tool(&model).await;
    let run = run_with_tool(&host, &model, None).await;
    let elsewhere = tempfile::tempdir().unwrap();
    let file = elsewhere.path().join("run.json");
    let saved = file.to_str().unwrap();
    let (code, out, err) = text(&replay(&host, host.key(), &[&run, "--save", saved]).await);
    assert_eq!(code, Some(0), "{out}{err}");
    drop(host.stop().await);
    let cli = Cli::on(elsewhere.path());
    let (code, again, err) = text(&cli.run(&["replay", "--file", saved]).await);
    assert_eq!((code, again), (Some(0), out), "{err}");
    // A log that its own component does not do again.
    let mut recording: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let started = recording["events"].as_array_mut().unwrap().iter_mut().find(|event| event["type"] == "tool.started");
    let started = started.unwrap();
    started["argumentsJson"] = json!("{\"a\":2}");
    let seq = started["seq"].clone();
    std::fs::write(&file, recording.to_string()).unwrap();
    let (code, out, err) = text(&cli.run(&["replay", "--file", saved]).await);
    assert_eq!(code, Some(1), "{out}");
    assert!(
        err.contains(&format!("does not do what its log says, from event {seq} on: it is not deterministic")),
        "{err}"
    );
    assert!(out.contains("-    a: 2\n+    a: 1"), "{out}");
    assert_eq!(model.requests().len(), 2);
    wrong_uses(&cli, saved).await;
}

/// What is asked wrongly is said so, with exit code 2.
async fn wrong_uses(cli: &Cli, file: &str) {
    let nobody = "01a200f9-7a56-7346-9f99-820d85191ebb";
    for arguments in [&["replay"][..], &["replay", "no-id"], &["replay", nobody, "--file", file], &["replay", nobody]] {
        assert_eq!(text(&cli.run(arguments).await).0, Some(2), "{arguments:?}");
    }
    let missing = Path::new(file).with_extension("missing");
    let (code, _, err) = text(&cli.run(&["replay", "--file", missing.to_str().unwrap()]).await);
    assert_eq!((code, err.contains("can not be read")), (Some(1), true), "{err}");
    let (code, _, err) = text(&cli.run(&["replay", nobody, "--data", missing.to_str().unwrap()]).await);
    assert_eq!((code, err.contains("there is no store in it")), (Some(1), true), "{err}");
    assert!(!missing.exists(), "looking for a store makes none");
}

#[tokio::test]
async fn a_recording_is_its_tenants_and_a_component_that_the_operator_shares_is_the_operators() {
    let (host, keys) = host_of_two(|builder| builder).await;
    let shared = host.install_as(host.key(), "/v1/plugins?shared=true", plain(&["Looking"], "Done.")).await;
    assert_eq!(shared.0, 201, "{}", shared.1);
    let body = json!({"mode": "plain", "input": "Go."});
    let run = host.post_ok("/v1/runs", &body).await["id"].as_str().unwrap().to_owned();
    let path = format!("/v1/runs/{run}/recording");
    for (key, status) in [(&keys.foreign, 404), (&keys.foreign_admin, 404), (&keys.unfit, 403)] {
        assert_eq!(host.json_as(key, Method::GET, &path, None).await.0, status);
    }
    let (code, out, err) = text(&replay(&host, &keys.foreign, &[&run]).await);
    assert_eq!((code, out.as_str(), err.contains("(HTTP 404)")), (Some(1), "", true), "{err}");
    let (_, of_operator) = host.json(Method::GET, &path, None).await;
    assert!(of_operator["component"].is_string());
    let (_, foreign_run) = host.json_as(&keys.foreign, Method::POST, "/v1/runs", Some(&body)).await;
    let foreign = foreign_run["id"].as_str().unwrap();
    let (status, of_tenant) =
        host.json_as(&keys.foreign, Method::GET, &format!("/v1/runs/{foreign}/recording"), None).await;
    assert_eq!((status, &of_tenant["component"]), (200, &Value::Null));
    let (code, _, err) = text(&replay(&host, &keys.foreign, &[foreign]).await);
    assert_eq!(code, Some(1));
    assert!(err.contains("is not in the recording"), "{err}");
    // Who has it can give it.
    let file = host.data().join("given.wasm");
    std::fs::write(&file, plain(&["Looking"], "Done.")).unwrap();
    let (code, out, _) = text(&replay(&host, &keys.foreign, &[foreign, "--plugin", file.to_str().unwrap()]).await);
    assert_eq!((code, out.as_str()), (Some(0), "no difference: 1 call\n"));
}
