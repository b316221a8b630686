//! The vendors' sample programs, as files that a person could run, run against the real server; and a vendor's own client library.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;
use vivarium_tests::{Answer, Host, ScriptedModel, repository_root, soon};

/// Set where a client that is missing is a failure: a CI must not become green by what it lacks.
const REQUIRED: &str = "VIVARIUM_CLIENTS_REQUIRED";

/// A Python that has the clients' libraries. `cargo xtask test` makes one.
const PYTHON: &str = "VIVARIUM_CLIENTS_PYTHON";

fn python() -> OsString {
    env::var_os(PYTHON).unwrap_or_else(|| "python3".into())
}

/// Runs a sample program and gives what it prints; nothing where its interpreter is not installed.
async fn printed(
    host: &Host,
    interpreter: OsString,
    works: &[&str],
    arguments: &[&str],
    sample: &str,
) -> Option<String> {
    let (text, succeeded) =
        ran(host, host.key(), interpreter, works, arguments, &format!("assisters/{sample}")).await?;
    assert!(succeeded, "{sample}: {text}\n{}", host.log());
    Some(text)
}

/// Runs a program of `examples/clients` with this key: what it prints, and whether it succeeded.
async fn ran(
    host: &Host,
    key: &str,
    interpreter: OsString,
    works: &[&str],
    arguments: &[&str],
    sample: &str,
) -> Option<(String, bool)> {
    let path: PathBuf = repository_root().join("examples/clients").join(sample);
    if !can_start(&interpreter, works).await {
        assert!(env::var_os(REQUIRED).is_none(), "{interpreter:?} {works:?} does not work, so {sample} can not be run");
        eprintln!("left out: {interpreter:?} {works:?} does not work here, so {sample} was not run");
        return None;
    }
    let mut command = Command::new(&interpreter);
    command.arg(&path).args(arguments).kill_on_drop(true).stdin(Stdio::null());
    command.env("VIVARIUM_URL", host.address()).env("VIVARIUM_KEY", key).env("NO_PROXY", "127.0.0.1");
    command.env("CONNECTION", "1").env("MODEL", "scripted");
    let output = soon("the client's end", command.output()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Some((text(&output.stdout), true)),
        false => Some((format!("{}{}", text(&output.stdout), text(&output.stderr)), false)),
    }
}

async fn can_start(interpreter: &OsString, works: &[&str]) -> bool {
    let mut command = Command::new(interpreter);
    command.args(works).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

async fn host() -> Host {
    Host::builder().corpus(&repository_root().join("tests/data/corpus")).start().await
}

fn json_lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line:?}: {error}"))).collect()
}

#[tokio::test]
async fn the_python_sample_runs() {
    let host = host().await;
    let Some(text) = printed(&host, python(), &["-c", "import httpx"], &[], "run.py").await else { return };
    // Python prints a dict, which is no JSON; its keys are enough.
    for key in ["'answer': ", "'steps': [", "'sources': [", "'sessionId': "] {
        assert!(text.contains(key), "{key} is missing in {text}");
    }
    assert!(text.contains("retrieval"), "{text}");
}

#[tokio::test]
async fn the_javascript_sample_runs() {
    let host = host().await;
    let Some(text) = printed(&host, "node".into(), &["--version"], &[], "run.mjs").await else { return };
    for key in ["answer: ", "steps: [", "sources: ["] {
        assert!(text.contains(key), "{key} is missing in {text}");
    }
}

#[tokio::test]
async fn the_javascript_stream_sample_runs() {
    let host = host().await;
    let Some(text) = printed(&host, "node".into(), &["--version"], &[], "stream.mjs").await else { return };
    for part in ["type: 'step'", "type: 'tool'", "type: 'done'"] {
        assert!(text.contains(part), "{part} is missing in {text}");
    }
    assert!(!text.contains("type: 'error'"), "{text}");
}

#[tokio::test]
async fn the_curl_sample_runs() {
    let host = host().await;
    let Some(text) = printed(&host, "sh".into(), &["-c", "curl --version"], &[], "run.sh").await else { return };
    let result: Value = serde_json::from_str(&text).unwrap();
    assert!(result["answer"].as_str().unwrap().contains("retrieval"), "{result:#}");
    assert!(result["steps"].is_array() && result["sources"].is_array());
}

#[tokio::test]
async fn the_curl_stream_sample_runs() {
    let host = host().await;
    let Some(text) = printed(&host, "sh".into(), &["-c", "curl --version"], &[], "stream.sh").await else { return };
    let events = vivarium_tests::parse_events(&text);
    assert_eq!(events.last().unwrap().data, "[DONE]");
    assert_eq!(events[events.len() - 2].json()["type"], "done");
}

#[tokio::test]
async fn the_vendors_own_client_runs() {
    let host = host().await;
    let Some(text) = printed(&host, python(), &["-c", "import assisters"], &[], "vendor_sdk.py").await else { return };
    let lines = json_lines(&text);
    let only = |key: &str| lines.iter().find_map(|line| line.get(key)).unwrap_or_else(|| panic!("no {key} in {text}"));
    assert!(only("run")["answer"].as_str().unwrap().contains("retrieval"));
    assert_eq!(only("followUp")["sessionId"], only("run")["sessionId"]);
    assert_eq!(lines.iter().filter_map(|line| line.get("event")).next_back().unwrap()["type"], "done");
    assert!(only("rateLimit")["limit"].is_u64() && only("rateLimit")["reset"].is_string());
    assert_eq!(*only("refused"), 401);
}

/// A program of the other dialects.
struct Sample {
    path: &'static str,
    arguments: Vec<String>,
    /// What it prints when all goes well, in this order.
    prints: Vec<&'static str>,
}

fn sample(path: &'static str, prints: &[&'static str]) -> Sample {
    Sample { path, arguments: Vec::new(), prints: prints.to_vec() }
}

/// What every model answer is: text for who asks for text, and JSON for who asks for that.
const SAID: &str = r#"{"name": "Ada", "said": "forty-two"}"#;

/// Runs each sample twice: with the key, when it must print what it should, and with a wrong one, when it must fail and say why.
async fn check(samples: Vec<Sample>) {
    let model = ScriptedModel::start().await;
    model.always(Answer::text(SAID));
    let host = Host::builder().model(&model).start().await;
    let agent = json!({"name": "my-assistant", "llmProvider": "openai", "llmModel": "scripted"});
    assert_eq!(host.json(Method::POST, "/api/assistants", Some(&agent)).await.0, 201);
    for Sample { path, arguments, prints } in samples {
        let (interpreter, works): (OsString, &[&str]) = match path.rsplit_once('.').unwrap().1 {
            "sh" => ("sh".into(), &["-c", "curl --version"]),
            "mjs" => ("node".into(), &["--version"]),
            _ => (python(), &["-c", "import httpx"]),
        };
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let run = async |key| ran(&host, key, interpreter.clone(), works, &arguments, path).await;
        let Some((text, succeeded)) = run(host.key()).await else { continue };
        assert!(succeeded, "{path}: {text}\n{}", host.log());
        let mut rest = text.as_str();
        for part in prints {
            let (_, after) =
                rest.split_once(part).unwrap_or_else(|| panic!("{path}: no {part:?} (any more) in {text}"));
            rest = after;
        }
        let (text, succeeded) = run("ask_wrong").await.unwrap();
        assert!(!succeeded && text.contains("401"), "{path} with a wrong key: {text}");
    }
}

#[tokio::test]
async fn the_agent_hub_samples_run() {
    let document = repository_root().join("README.md").to_string_lossy().into_owned();
    check(vec![
        sample("agent-hub/execute.sh", &["\"id\":\"msg_", "\"role\":\"assistant\"", "forty-two"]),
        sample("agent-hub/stream.sh", &["data: {\"type\":\"token\"", "data: {\"type\":\"done\""]),
        sample("agent-hub/stream.mjs", &["forty-two"]),
        Sample { arguments: vec![document], ..sample("agent-hub/attachment.py", &["forty-two"]) },
        sample("agent-hub/json_output.py", &["forty-two"]),
        sample(
            "agent-hub/session.sh",
            &["Customer Support Chat", "forty-two", "\"role\":\"user\"", "\"success\":true"],
        ),
        sample("agent-hub/assistants.sh", &["[{", "my-assistant", "You are a helpful assistant..."]),
    ])
    .await;
}

#[tokio::test]
async fn the_make_samples_run() {
    check(vec![
        sample("make/agents.sh", &["\"agentId\":", "[{", "do what user says, briefly", "\"pastConfigurations\":[{"]),
        sample("make/run.py", &["forty-two", "forty-two", "tokens in"]),
        sample("make/stream.mjs", &["step system do what user says", "step assistant", "done", "forty-two"]),
    ])
    .await;
}

#[tokio::test]
async fn the_native_samples_run() {
    check(vec![
        sample("native/run.sh", &["forty-two"]),
        sample("native/stream.mjs", &["run.started", "run.completed", "forty-two"]),
        sample("native/background.py", &["run.started", "run.completed", "forty-two"]),
    ])
    .await;
}
