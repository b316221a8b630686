//! No tenant reaches another. One tenant has something of everything; then every operation of the document is asked with the keys of others
//! and with that tenant's ids wherever an id can stand. What is foreign must look like what is not there, to the byte; nothing of
//! the tenant may be in any answer or in any question to a model; and afterwards the tenant has all that it had.

mod requests;
mod world;

use std::collections::BTreeMap;

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::mcp::{OddMcpServer, early_answer, mcp_tool};
use vivarium_tests::{Answer, Host, ScriptedModel, files_with};

use requests::{Case, Operation, operations};
use world::{CONTENT, Handles, NAME, World, without_changing};

/// What came back, with all that differs between two equal answers left out.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    status: u16,
    body: String,
}

/// A tenant that has nothing, with a key for everything but administration.
async fn newcomer(host: &Host, name: &str) -> String {
    let body = json!({"id": name});
    assert_eq!(host.json(Method::POST, "/v1/admin/tenants", Some(&body)).await.0, 201);
    let scopes = json!({"name": "b", "scopes": ["runs", "agents:read", "agents:write", "plugins", "secrets", "keys"]});
    let (status, told) = host.json(Method::POST, &format!("/v1/admin/tenants/{name}/keys"), Some(&scopes)).await;
    assert_eq!(status, 201, "{told}");
    told["key"].as_str().unwrap().to_owned()
}

async fn ask(host: &Host, key: &str, case: &Case) -> (u16, String) {
    let mut request = host.client().request(case.method.clone(), host.url(&case.target)).bearer_auth(key);
    for (name, value) in &case.headers {
        request = request.header(*name, value);
    }
    if let Some((media_type, body)) = &case.body {
        request = request.header("content-type", *media_type).body(body.clone());
    }
    let response = host.send(request).await;
    let status = response.status().as_u16();
    (status, String::from_utf8_lossy(&response.bytes().await.unwrap()).into_owned())
}

/// An answer to who is somebody else: nothing of the tenant may be in it but what was sent.
fn judge(operation: &Operation, case: &Case, handles: &Handles, (status, text): &(u16, String)) -> String {
    let mut left = text.clone();
    // The longest first: a name may be part of another.
    let mut sent: Vec<&String> = case.sent.iter().collect();
    sent.sort_by_key(|value| std::cmp::Reverse(value.len()));
    for value in sent.into_iter().filter(|value| value.len() > 2) {
        left = left.replace(value.as_str(), "<sent>");
    }
    // A team's id is a number, and too short to be looked for by itself.
    for number in ["2", "3"] {
        left = left.replace(&format!("team {number}"), "team <sent>");
    }
    let what = format!("{operation} with {}: {status}", case.label);
    assert!(!left.contains(CONTENT) && !left.contains(NAME), "{what} tells of another tenant: {text}");
    for (name, id) in handles.ids() {
        assert!(!left.contains(id), "{what} names the {name} of another tenant: {text}");
    }
    left
}

#[tokio::test]
async fn no_operation_reaches_what_is_another_tenants() {
    let model = ScriptedModel::start().await;
    let mcp = OddMcpServer::start(|method, message| {
        let mut tool = mcp_tool("read", true);
        tool["description"] = CONTENT.into();
        early_answer(method, message, &[tool])
    })
    .await;
    let mcp_url = mcp.url();
    let place = mcp_url.trim_start_matches("http://").trim_end_matches("/mcp");
    let config = format!("dangerously_allow_private_addresses = [\"{place}\"]\n");
    let host = Host::builder().model(&model).config(&config).start().await;
    let document: Value = host.get("/openapi.json").await.json().await.unwrap();
    let operations = operations(&document);
    let world = World::new(&host, &model, &operations, &mcp_url).await;
    let before = survey(&host, &world, &operations).await;
    let asked_before = model.requests().len();
    model.always(Answer::text("I know of nobody."));

    let nobodys = world.handles.nobodys();
    for (number, operation) in operations.iter().enumerate() {
        let (foreign, unknown) = (operation.cases(&world.handles), operation.cases(&nobodys));
        // No id holds them by chance: an x is no digit of any.
        let names = [format!("x{number}a"), format!("x{number}b")];
        let (one, other) = (newcomer(&host, &names[0]).await, newcomer(&host, &names[1]).await);
        for (foreign, unknown) in foreign.iter().zip(&unknown) {
            let found = ask(&host, &one, foreign).await;
            let shown = judge(operation, foreign, &world.handles, &found);
            let told = Told { status: found.0, body: without_changing(&shown.replace(&names[0], "<tenant>")) };
            assert_ne!(told.status, 405, "{operation}: the test does not reach the operation");
            if foreign.sent == unknown.sent {
                continue;
            }
            let expected = ask(&host, &other, unknown).await;
            let shown = judge(operation, unknown, &world.handles, &expected);
            let expected = Told { status: expected.0, body: without_changing(&shown.replace(&names[1], "<tenant>")) };
            assert_eq!(
                told, expected,
                "{operation} with {} tells what is foreign from what is not there",
                foreign.label
            );
            if operation.is_about_one_thing() {
                assert!(matches!(told.status, 403 | 404), "{operation} with {}: {told:?}", foreign.label);
            }
        }
    }

    let asked = model.requests();
    assert!(asked.len() > asked_before, "some of them started runs");
    for question in asked.iter().skip(asked_before) {
        let question = question.to_string();
        assert!(!question.contains(CONTENT), "a model was told of another tenant: {question}");
    }
    for (operation, after) in survey(&host, &world, &operations).await {
        assert_eq!(Some(&after), before.get(&operation), "{operation}: the tenant's own things have changed");
    }
    leaves_nothing(host, &world).await;
}

/// All that the tenant can read with its own key.
async fn survey(host: &Host, world: &World, operations: &[Operation]) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for operation in operations.iter().filter(|operation| operation.is_read()) {
        for case in operation.cases(&world.handles).iter().filter(|case| case.label == "ids") {
            let (status, text) = ask(host, &world.key, case).await;
            // That the owner finds it, is why others' 404 says something.
            assert!(matches!(status, 200 | 403), "{operation} as its owner: {status} {text}");
            assert!(status == 200 || case.target.starts_with("/v1/admin"), "{operation} as its owner: {text}");
            // Its deliveries go on meanwhile.
            let text = if case.target.contains("/deliveries") { without_attempts(&text) } else { text };
            found.insert(operation.to_string(), without_changing(&text));
        }
    }
    assert!(found.values().filter(|text| text.contains(CONTENT)).count() > 10, "{:?}", found.keys());
    found
}

/// Deliveries without what is tried about them.
fn without_attempts(text: &str) -> String {
    let mut told: Value = serde_json::from_str(text).unwrap();
    let page = told.get("data").is_some();
    let all = if page { told["data"].as_array_mut().unwrap().iter_mut().collect() } else { vec![&mut told] };
    for delivery in all {
        for field in ["attempts", "nextAttemptAt", "status"] {
            delivery.as_object_mut().unwrap().remove(field);
        }
    }
    told.to_string()
}

/// When the tenant is deleted, nothing is left that it had: not in any answer, not in a backup, not in a file.
async fn leaves_nothing(host: Host, world: &World) {
    let path = format!("/v1/admin/tenants/{}", world.handles.get("tenant"));
    let (status, told) = host.json(Method::DELETE, &path, None).await;
    assert_eq!(status, 204, "{told}");
    let backup = host.get("/v1/admin/backup").await.bytes().await.unwrap();
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(backup.len() > 1000 && !holds(&backup, CONTENT), "a backup holds what a deleted tenant had");
    let (_, data) = host.stop().await;
    let mut left = files_with(data.path(), CONTENT);
    // What is deleted lies around in sled's file and in the journal until it is written over.
    left.retain(|path| !path.starts_with(data.path().join("store/tree")));
    left.retain(|path| !path.starts_with(data.path().join("store/journal")));
    assert_eq!(left, Vec::<std::path::PathBuf>::new());
}
