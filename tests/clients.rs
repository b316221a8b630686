//! The vendor's sample programs, as files that a person could run, run against the real server; and the vendor's own client library.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;
use vivarium_tests::{Host, repository_root, soon};

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
    let path: PathBuf = repository_root().join("examples/clients/assisters").join(sample);
    if !can_start(&interpreter, works).await {
        assert!(env::var_os(REQUIRED).is_none(), "{interpreter:?} {works:?} does not work, so {sample} can not be run");
        eprintln!("left out: {interpreter:?} {works:?} does not work here, so {sample} was not run");
        return None;
    }
    let mut command = Command::new(&interpreter);
    command.args(arguments).arg(&path).kill_on_drop(true).stdin(Stdio::null());
    command.env("VIVARIUM_URL", host.address()).env("VIVARIUM_KEY", host.key()).env("NO_PROXY", "127.0.0.1");
    let output = soon("the client's end", command.output()).await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{sample}: {}\n{}\n{}", output.status, text(&output.stderr), host.log());
    Some(text(&output.stdout))
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
