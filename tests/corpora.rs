//! A tenant's own documents: they are kept as text, nobody else sees them, and the runs of agents that name them search them.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel};

const DOCUMENTS: &str = "/v1/corpora/harbour/documents";
const RULES: &str = "# Gates\n\nThe sluice gates of the northern pier open at slack water.";

fn rules() -> Value {
    json!({"name": "Harbour rules", "mediaType": "text/markdown", "text": RULES, "metadata": {"year": 2026}})
}

async fn add(host: &Host, document: &Value) -> String {
    let (status, added) = host.json(Method::POST, DOCUMENTS, Some(document)).await;
    assert_eq!(status, 201, "{added}");
    added["id"].as_str().unwrap().to_owned()
}

fn names(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|document| document["name"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_document_is_added_listed_read_and_deleted_and_outlives_kill_9() {
    let host = Host::builder().start().await;
    let id = add(&host, &rules()).await;
    let html = STANDARD.encode("<title>Log</title><p>caf\u{e9} <b>open</b>");
    let log =
        add(&host, &json!({"name": "log.html", "mediaType": "text/html", "data": html, "description": "d"})).await;
    let data = host.kill().await;

    let host = Host::builder().data(data).start().await;
    let (status, one) = host.json(Method::GET, &format!("{DOCUMENTS}/{id}"), None).await;
    assert_eq!((status, &one["text"], &one["metadata"]), (200, &json!(RULES), &json!({"year": 2026})), "{one}");
    assert_eq!((&one["corpus"], &one["lengthBytes"]), (&json!("harbour"), &json!(RULES.len())));
    let (_, read) = host.json(Method::GET, &format!("{DOCUMENTS}/{log}"), None).await;
    assert_eq!((&read["text"], &read["mediaType"]), (&json!("# Log\n\ncafé **open**"), &json!("text/html")));

    let (_, first) = host.json(Method::GET, &format!("{DOCUMENTS}?limit=1"), None).await;
    assert_eq!(names(&first), ["log.html"]);
    let cursor = first["next"].as_str().unwrap();
    let (_, second) = host.json(Method::GET, &format!("{DOCUMENTS}?limit=1&cursor={cursor}"), None).await;
    assert_eq!(names(&second), ["Harbour rules"]);
    let (_, other) = host.json(Method::GET, "/v1/corpora/another/documents", None).await;
    assert_eq!(other, json!({"data": [], "next": null}));

    let path = format!("{DOCUMENTS}/{id}");
    assert_eq!(host.json(Method::DELETE, &format!("/v1/corpora/another/documents/{id}"), None).await.0, 404);
    assert_eq!(host.json(Method::DELETE, &path, None).await, (204, Value::Null));
    for method in [Method::GET, Method::DELETE] {
        let (status, told) = host.json(method, &path, None).await;
        assert_eq!((status, &told["error"]["message"]), (404, &json!("there is no such document")));
    }
}

#[tokio::test]
async fn a_document_is_its_tenants_and_needs_the_scopes_of_agents() {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    cli.output(&["tenant", "create", "a"]).await;
    cli.output(&["tenant", "create", "b"]).await;
    let a = cli.output(&["key", "create", "--tenant", "a", "--scope", "agents:read,agents:write"]).await;
    let b = cli.output(&["key", "create", "--tenant", "b", "--scope", "agents:read"]).await;
    let host = Host::builder().data(data).start().await;
    let (status, added) = host.json_as(&a, Method::POST, DOCUMENTS, Some(&rules())).await;
    assert_eq!(status, 201, "{added}");
    let path = format!("{DOCUMENTS}/{}", added["id"].as_str().unwrap());
    let (status, foreign) = host.json_as(&b, Method::GET, &path, None).await;
    let unknown = format!("{DOCUMENTS}/0190a0a0-0000-7000-8000-000000000000");
    assert_eq!((status, &foreign["error"]), (404, &host.json_as(&b, Method::GET, &unknown, None).await.1["error"]));
    assert_eq!(host.json_as(&b, Method::GET, DOCUMENTS, None).await.1["data"], json!([]));
    assert_eq!(host.json_as(&b, Method::POST, DOCUMENTS, Some(&rules())).await.0, 403);
    assert_eq!(host.json_as(&b, Method::DELETE, &path, None).await.0, 403);
    assert_eq!(host.json_as(&a, Method::GET, &path, None).await.0, 200);
}

#[tokio::test]
async fn what_is_wrong_with_a_document_is_told_with_its_field() {
    let host = Host::builder().start().await;
    for (document, message) in [
        (json!({"text": "x"}), "name is required"),
        (json!({"name": " ", "text": "x"}), "name must have 1 to 255 characters, none of them a control character"),
        (json!({"name": "n"}), "text or data must be there, and not both"),
        (json!({"name": "n", "text": "x", "data": "eA=="}), "text or data must be there, and not both"),
        (json!({"name": "n", "data": "a*b="}), "data: this is no standard base64: invalid symbol 42, offset 1."),
        (json!({"name": "n", "text": ""}), "data: the file is empty"),
        (
            json!({"name": "n", "text": "{", "mediaType": "application/json"}),
            "mediaType: the file is said to be application/json, and it is not: EOF while parsing an object at line 1 column 1",
        ),
        (json!({"name": "n", "text": "x", "mediaType": "image/png"}), "mediaType: image/png has no text to search"),
        (
            json!({"name": "n", "text": "x", "mediaType": "application/pdf"}),
            "mediaType: the file is said to be application/pdf, and its content is not",
        ),
        (
            json!({"name": "n", "text": "x".repeat((1 << 20) + 1)}),
            "data: the document's text has more than 1048576 bytes",
        ),
    ] {
        let (status, told) = host.json(Method::POST, DOCUMENTS, Some(&document)).await;
        assert_eq!((status, &told["error"]["message"]), (400, &json!(message)));
    }
    let (status, told) = host.json(Method::POST, DOCUMENTS, Some(&json!({"name": "n", "text": "x", "tags": []}))).await;
    assert_eq!(status, 400);
    assert!(told["error"]["message"].as_str().unwrap().starts_with("there is no field tags"), "{told}");
    for (path, status) in [
        ("/v1/corpora/-x/documents", 400),
        ("/v1/corpora/harbour/documents?limit=0", 400),
        ("/v1/corpora/harbour/documents?cursor=x", 400),
        ("/v1/corpora/harbour/documents?page=1", 400),
        ("/v1/corpora/harbour/documents/x", 404),
    ] {
        assert_eq!(host.json(Method::GET, path, None).await.0, status, "{path}");
    }
}

/// A host whose model calls `corpus_search`, and then answers.
async fn searching(model: &ScriptedModel, host: &Host, agent: &str, query: &str) -> (String, Value) {
    let before = model.requests().len();
    model.then(Answer::tool("corpus_search", json!({"query": query}))).then(Answer::text("Done."));
    let run = host.post_ok("/v1/runs", &json!({"agentId": agent, "input": "When do the gates open?"})).await;
    assert_eq!(run["status"], "completed", "{run}");
    let requests = model.requests();
    (requests[before + 1]["messages"].to_string(), requests[before]["tools"].clone())
}

#[tokio::test]
async fn the_runs_of_an_agent_search_its_documents_and_no_others() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let id = add(&host, &rules()).await;
    add(&host, &json!({"name": "secret plans", "text": "The gates of the southern pier are to be sold."})).await;
    let agent = json!({"name": "keeper", "contexts": [id], "tools": [{"name": "corpus_search"}]});
    let (status, made) = host.json(Method::POST, "/v1/agents", Some(&agent)).await;
    assert_eq!(status, 201, "{made}");

    let (told, tools) = searching(&model, &host, "keeper", "gates pier").await;
    assert!(told.contains("open at slack water") && told.contains(&format!("document:{id}")), "{told}");
    assert!(!told.contains("southern"), "{told}");
    assert!(tools.to_string().contains("corpus_search"), "{tools}");

    // No documents, no tool for them: neither in a run nor in the list.
    model.then(Answer::text("Done."));
    host.post_ok("/v1/runs", &json!({"input": "Hello"})).await;
    assert!(!model.requests().last().unwrap().to_string().contains("corpus_search"));
    let (_, listed) = host.json(Method::GET, "/v1/tools", None).await;
    assert!(!listed.to_string().contains("corpus_search"), "{listed}");

    assert_eq!(host.json(Method::DELETE, &format!("{DOCUMENTS}/{id}"), None).await.0, 204);
    let (told, _) = searching(&model, &host, "keeper", "gates pier").await;
    assert!(!told.contains("slack water"), "a document that is deleted is not found: {told}");
}

#[tokio::test]
async fn the_hosts_own_corpus_is_searched_beside_an_agents_documents() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("divers.md"), "# Divers\n\nThe divers of the pier found eelgrass.").unwrap();
    let model = ScriptedModel::start().await;
    let host = Host::builder().corpus(folder.path()).model(&model).start().await;
    let id = add(&host, &rules()).await;
    let agent = json!({"name": "keeper", "contexts": [id]});
    assert_eq!(host.json(Method::POST, "/v1/agents", Some(&agent)).await.0, 201);
    let (told, _) = searching(&model, &host, "keeper", "pier").await;
    assert!(told.contains("open at slack water") && told.contains("found eelgrass"), "{told}");
}
