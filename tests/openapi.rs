//! The document of all dialects: it is what was reviewed, it is OpenAPI, it has every route, and the server does what it says,
//! also when it is asked what nobody would ask.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::process::Command;
use vivarium_tests::{Answer, Host, ScriptedModel, repository_root};

/// Routes that the document does not have, because each is another spelling of one that it has.
const ALIASES: [&str; 8] = [
    // A plugin's name with its slash encoded.
    "/v1/plugins/{plugin}",
    "/v1/plugins/{plugin}/grants",
    "/v1/plugins/{plugin}/rollback",
    "/v1/plugins/{plugin}/versions",
    "/v1/sessions/{session}/files/{*path}",
    // The make dialect without its base path.
    "/ai-agents/v1/{path}",
    // The vendor's clients have the singular, too.
    "/api/assistant/{assistantId}/execute",
    "/api/assistant/{assistantId}/user-input",
];

const TAGS: [&str; 5] = ["AI agents (make)", "Agent hub", "Assisters", "Native", "MCP"];

/// How long the fuzzer may take. It takes two minutes on two cores that it has for itself.
const FUZZING: Duration = Duration::from_secs(900);

async fn document(host: &Host) -> Value {
    let response = host.client().get(host.url("/openapi.json")).send().await.unwrap();
    assert_eq!(response.status(), 200, "no key is needed");
    response.json().await.unwrap()
}

/// Path, method and operation of all operations.
fn operations(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    document["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter().filter(|(key, _)| *key != "parameters");
        methods.map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

#[tokio::test]
async fn the_document_is_what_was_reviewed() {
    let host = Host::builder().start().await;
    insta::assert_json_snapshot!("document", document(&host).await, { ".info.version" => "[version]" });
}

#[tokio::test]
async fn every_operation_has_a_name_a_place_and_an_example_of_what_it_takes_and_of_each_error() {
    let host = Host::builder().start().await;
    let document = document(&host).await;
    let mut names = BTreeSet::new();
    for (path, method, operation) in operations(&document) {
        let place = format!("{method} {path}");
        let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{place} has no name"));
        assert!(names.insert(name), "{place}: another operation is named {name}, too");
        assert!(operation["summary"].is_string(), "{place} has no summary");
        let tags: Vec<&str> = operation["tags"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        assert!(tags.len() == 1 && TAGS.contains(&tags[0]), "{place}: {tags:?}");
        let resolved = |part: &'_ Value| {
            let named = part["$ref"].as_str().and_then(|location| document.pointer(location.strip_prefix('#')?));
            named.unwrap_or(part).clone()
        };
        if let Some(taken) = operation["requestBody"]["content"].get("application/json") {
            let has_one = taken["example"].is_object() || resolved(&taken["schema"])["example"].is_object();
            assert!(has_one, "{place} has no example of what it takes");
        }
        for (status, response) in operation["responses"].as_object().unwrap() {
            let response = resolved(response);
            assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{place} {status}");
            // A 414 comes from the HTTP library, before anything of ours.
            if status.starts_with(['4', '5']) && status != "414" {
                let content = &response["content"]["application/json"];
                assert!(content["schema"]["$ref"].is_string(), "{place} {status} has no schema: {response}");
                assert!(content["example"].is_object(), "{place} {status} has no example");
            }
        }
    }
}

#[tokio::test]
async fn the_methods_of_each_path_are_those_of_the_document() {
    let host = Host::builder().start().await;
    let document = document(&host).await;
    let mut documented: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, method, _) in operations(&document) {
        documented.entry(path.to_owned()).or_default().insert(method.to_uppercase());
    }
    for (path, methods) in documented {
        let filled: Vec<&str> = path.split('/').map(|part| if part.starts_with('{') { "x" } else { part }).collect();
        let response = host.send(host.request(Method::TRACE, &filled.join("/"))).await;
        assert_eq!(response.status(), 405, "{path} is no route");
        let allowed = response.headers()["allow"].to_str().unwrap().split(',').map(|method| method.trim().to_owned());
        // HEAD goes with GET, and is in no document.
        let allowed = allowed.filter(|method| method != "HEAD").collect::<BTreeSet<_>>();
        assert_eq!(allowed, methods, "{path}");
    }
}

/// Routes come into the router by the macro that puts them into the document, too; what comes in by another way is an alias.
#[test]
fn no_route_is_outside_of_the_document() {
    let mut outside = BTreeSet::new();
    each_source(&repository_root().join("host/api/src"), &mut |source| {
        for part in source.split(".route(").skip(1) {
            let path = part.trim_start().trim_start_matches("&format!(");
            let path = path.strip_prefix('"').and_then(|rest| rest.split('"').next());
            outside
                .insert(path.unwrap_or_else(|| panic!("a route whose path is not written out: {part:.80}")).to_owned());
        }
    });
    assert_eq!(outside, ALIASES.map(str::to_owned).into());
}

fn each_source(folder: &Path, read: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let path = entry.path();
        if path.is_dir() {
            each_source(&path, read);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            read(&fs::read_to_string(&path).unwrap());
        }
    }
}

#[tokio::test]
async fn the_document_is_sent_once_to_who_keeps_it() {
    let host = Host::builder().start().await;
    let first = host.client().get(host.url("/openapi.json")).send().await.unwrap();
    let etag = first.headers()["etag"].to_str().unwrap().to_owned();
    let again = host.client().get(host.url("/openapi.json")).header("If-None-Match", &etag).send().await.unwrap();
    assert_eq!((again.status().as_u16(), again.headers()["etag"].to_str().unwrap()), (304, etag.as_str()));
    assert!(again.bytes().await.unwrap().is_empty());
}

#[tokio::test]
async fn the_reference_page_asks_no_other_host() {
    let host = Host::builder().start().await;
    let get = async |path: &str| host.client().get(host.url(path)).send().await.unwrap();
    let page = get("/docs").await;
    assert_eq!(page.status(), 200);
    let policy = page.headers()["content-security-policy"].to_str().unwrap().to_owned();
    assert!(
        policy.starts_with("default-src 'none';") && !policy.contains("http") && !policy.contains("unsafe"),
        "{policy}"
    );
    let html = page.text().await.unwrap();
    let named = |attribute: &str| -> Vec<String> {
        let opening = format!("{attribute}=\"");
        let values = html.split(&opening).skip(1).filter_map(|rest| rest.split('"').next());
        values.map(str::to_owned).collect()
    };
    let files: Vec<String> =
        [named("href"), named("src")].concat().into_iter().filter(|name| name != "data:,").collect();
    assert!(files.len() >= 5, "{files:?}");
    for file in files {
        assert!(file.starts_with('/') && !file.starts_with("//"), "{file} is on another host");
        let response = get(&file).await;
        assert_eq!(response.status(), 200, "{file}");
        assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{file}");
        assert!(!response.bytes().await.unwrap().is_empty(), "{file}");
    }
    assert_eq!(get("/docs/../openapi.json").await.status(), 200);
    assert_eq!(get("/docs/swagger-ui.js").await.status(), 404);
}

/// A Python with the validator and the fuzzer. `cargo xtask test` makes one. Nothing where there is none.
async fn python(module: &str) -> Option<OsString> {
    let python = env::var_os("VIVARIUM_CLIENTS_PYTHON").unwrap_or_else(|| "python3".into());
    let mut import = Command::new(&python);
    import.args(["-c", &format!("import {module}")]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    if import.status().await.is_ok_and(|status| status.success()) {
        return Some(python);
    }
    assert!(env::var_os("VIVARIUM_CLIENTS_REQUIRED").is_none(), "{python:?} has no {module}");
    eprintln!("left out: {python:?} has no {module}");
    None
}

#[tokio::test]
async fn the_document_is_openapi() {
    let Some(python) = python("openapi_spec_validator").await else { return };
    let host = Host::builder().start().await;
    let document = document(&host).await;
    assert_eq!(document["openapi"], "3.1.0");
    let file = host.data().join("openapi.json");
    fs::write(&file, document.to_string()).unwrap();
    let mut validator = Command::new(python);
    validator.args(["-m", "openapi_spec_validator"]).arg(&file).stdin(Stdio::null());
    let output = validator.output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
}

/// Schemathesis makes requests out of the document, valid and invalid ones, and holds each answer to what the document says.
/// `tests/data/schemathesis.toml` says what it is not to look at, and why.
#[tokio::test]
async fn fuzzing_against_the_document_finds_no_fault() {
    let Some(python) = python("schemathesis").await else { return };
    let model = ScriptedModel::start().await;
    model.always(Answer::text(r#"{"answer": "forty-two"}"#));
    let host = Host::builder().model(&model).start().await;
    let ids = ids(&host).await;
    let mut fuzzer = Command::new(python);
    fuzzer
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(repository_root().join("tests/data/schemathesis.toml"));
    fuzzer.arg("run").arg(host.url("/openapi.json")).current_dir(host.data()).kill_on_drop(true).stdin(Stdio::null());
    fuzzer.env("KEY", host.key()).env("NO_PROXY", "127.0.0.1").env("NO_COLOR", "1").envs(ids);
    // Where the hooks are; a test leaves nothing there.
    fuzzer.env("PYTHONPATH", repository_root().join("tests/data")).env("PYTHONDONTWRITEBYTECODE", "1");
    let output = tokio::time::timeout(FUZZING, fuzzer.output()).await.expect("the fuzzer ends").unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{}{}", text(&output.stdout), text(&output.stderr));
    assert_eq!(host.get("/healthz").await.status(), 200);
}

/// Things that are there, so that not every request ends with a 404.
async fn ids(host: &Host) -> Vec<(&'static str, String)> {
    let post = async |path: &str, body: Value| {
        let (status, answer) = host.json(Method::POST, path, Some(&body)).await;
        assert!(matches!(status, 200 | 201), "{path}: {status} {answer}");
        answer
    };
    let assistant =
        |name| json!({"name": name, "llmProvider": "openai", "llmModel": "scripted", "llmPrompt": "Be brief."});
    let agent = post("/api/assistants", assistant("fuzzed")).await;
    let doomed = post("/api/assistants", assistant("doomed")).await;
    let session = post("/api/sessions", json!({"assistantId": "fuzzed", "title": "Fuzzed"})).await;
    post("/v1/sessions", json!({"id": "doomed"})).await;
    let document = post("/v1/corpora/fuzzed/documents", json!({"name": "Gates", "text": "They open at noon."})).await;
    let run = post("/v1/agent/run", json!({"query": "What is there?", "mode": "chat"})).await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    vec![
        ("AGENT", text(&agent["id"])),
        ("DOOMED", text(&doomed["id"])),
        ("DOCUMENT", text(&document["id"])),
        ("SESSION", text(&session["id"])),
        ("RUN", text(&run["runId"])),
    ]
}
