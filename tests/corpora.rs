//! A tenant's own documents: they are kept as text, nobody else sees them, and the runs of agents that name them search them.

use std::time::Duration;

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

const IMPORT: &str = "/v1/corpora/harbour/import";

/// A small collection as public ones come.
fn collection(count: usize) -> String {
    let line = |n: usize| json!({"_id": format!("d{n}"), "title": format!("Gate {n}"), "text": format!("Gate number{n} of the pier opens at noon."), "metadata": {"n": n}});
    (0..count).map(|n| format!("{}\n", line(n))).collect()
}

async fn import(host: &Host, lines: String) -> (u16, Value) {
    let request = host.request(Method::POST, IMPORT).header("content-type", "application/x-ndjson").body(lines);
    let response = host.send(request).await;
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn search(host: &Host, query: &str) -> Value {
    let (status, found) = host.json(Method::GET, &format!("/v1/corpora/harbour/search?{query}"), None).await;
    assert_eq!(status, 200, "{found}");
    found
}

fn externals(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|hit| hit["externalId"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_collection_is_imported_searched_with_its_own_ids_replaced_and_outlives_kill_9() {
    let host = Host::builder().start().await;
    assert_eq!(search(&host, "q=noon").await, json!({"data": [], "next": null}), "no corpus, no hits");
    let (status, told) = import(&host, collection(300)).await;
    assert_eq!((status, told), (201, json!({"corpus": "harbour", "documents": 300, "replaced": 0})));
    let found = search(&host, "q=number7").await;
    assert_eq!(externals(&found), ["d7"]);
    let hit = &found["data"][0];
    assert_eq!((&hit["name"], &hit["passage"]), (&json!("Gate 7"), &json!("Gate number7 of the pier opens at noon.")));
    assert_eq!(hit["highlights"], json!([{"start": 5, "end": 12}]));
    assert!(hit["score"].as_f64().unwrap() > 0.0);
    let (_, document) = host.json(Method::GET, &format!("{DOCUMENTS}/{}", hit["id"].as_str().unwrap()), None).await;
    assert_eq!((&document["text"], &document["externalId"]), (&hit["passage"], &json!("d7")));

    // All pages together are each document once, in the order of one large page.
    let whole = search(&host, "q=noon&limit=1000").await;
    let (mut paged, mut cursor) = (Vec::new(), String::new());
    loop {
        let page = search(&host, &format!("q=noon&limit=120{cursor}")).await;
        paged.extend(page["data"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((paged.len(), &json!(paged)), (300, &whole["data"]));

    // The same again changes nothing; another text under the same id takes its place.
    let (_, told) = import(&host, collection(300)).await;
    assert_eq!(told["replaced"], 300);
    let newer = json!({"_id": "d7", "title": "Gate 7", "text": "It is walled up."});
    assert_eq!(import(&host, newer.to_string()).await.1["replaced"], 1);
    assert!(externals(&search(&host, "q=number7").await).is_empty());
    assert_eq!(externals(&search(&host, "q=walled").await), ["d7"]);
    assert_eq!(search(&host, "q=noon&limit=1000").await["data"].as_array().unwrap().len(), 299);

    let host = Host::builder().data(host.kill().await).start().await;
    assert_eq!(externals(&search(&host, "q=walled").await), ["d7"]);
    let id = search(&host, "q=walled").await["data"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(host.json(Method::DELETE, &format!("{DOCUMENTS}/{id}"), None).await.0, 204);
    assert!(externals(&search(&host, "q=walled").await).is_empty(), "what is deleted is not found");
    assert_eq!(host.json(Method::DELETE, DOCUMENTS, None).await, (200, json!({"deleted": 299})));
    assert!(externals(&search(&host, "q=noon").await).is_empty());
    assert_eq!(host.json(Method::GET, DOCUMENTS, None).await.1["data"], json!([]));
    assert_eq!(host.json(Method::DELETE, DOCUMENTS, None).await.0, 404);
}

#[tokio::test]
async fn an_import_is_taken_whole_or_not_at_all_and_a_wrong_line_is_named() {
    let host = Host::builder().start().await;
    let broken = format!("{}{}", collection(3), "{\"_id\": \"x\", \"text\": 1}\n");
    let (status, told) = import(&host, broken).await;
    assert_eq!(status, 400);
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.starts_with("line 4: invalid type: integer `1`, expected a string"), "{message}");
    assert_eq!(host.json(Method::GET, DOCUMENTS, None).await.1["data"], json!([]));
    let request = host.request(Method::POST, IMPORT).header("content-type", "text/csv").body("a,b");
    assert_eq!(host.send(request).await.status().as_u16(), 415);
    for (query, wrong) in [
        ("", "q is required"),
        ("q=%20", "q must hold a word to search for"),
        ("q=a&limit=0", "limit must be an integer from 1 to 1000"),
        ("q=a&limit=1001", "limit must be an integer from 1 to 1000"),
        ("q=a&cursor=x", "cursor must be the next of an earlier page"),
        ("q=a&page=2", "there is no parameter \"page\" here; there are: q, limit, cursor"),
    ] {
        add(&host, &rules()).await;
        let (status, told) = host.json(Method::GET, &format!("/v1/corpora/harbour/search?{query}"), None).await;
        assert_eq!((status, &told["error"]["message"]), (400, &json!(wrong)), "{query}");
    }
}

#[tokio::test]
async fn a_corpus_is_its_tenants_and_its_index_goes_with_it() {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    for tenant in ["a", "b"] {
        cli.output(&["tenant", "create", tenant]).await;
    }
    let a = cli.output(&["key", "create", "--tenant", "a", "--scope", "agents:read,agents:write"]).await;
    let b = cli.output(&["key", "create", "--tenant", "b", "--scope", "agents:read"]).await;
    let host = Host::builder().data(data).start().await;
    let (status, _) = host.json_as(&a, Method::POST, DOCUMENTS, Some(&rules())).await;
    assert_eq!(status, 201);
    let path = "/v1/corpora/harbour/search?q=sluice";
    assert_eq!(host.json_as(&a, Method::GET, path, None).await.1["data"].as_array().unwrap().len(), 1);
    assert_eq!(host.json_as(&b, Method::GET, path, None).await, (200, json!({"data": [], "next": null})));
    assert_eq!(host.json_as(&b, Method::DELETE, DOCUMENTS, None).await.0, 403);
    let request = json!({"text": "x"});
    assert_eq!(host.json_as(&b, Method::POST, IMPORT, Some(&request)).await.0, 403);
    let (_, data) = host.stop().await;
    let folder = data.path().join("corpora/tenants/a");
    assert!(folder.is_dir());
    Cli::on(data.path()).output(&["tenant", "delete", "a", "--yes"]).await;
    let _host = Host::builder().data(data).start().await;
    assert!(!folder.exists(), "the index of a tenant that is gone is gone");
}

#[tokio::test]
async fn no_more_than_48_indexes_are_open_and_the_others_answer_when_they_are_asked_again() {
    let host = Host::builder().start().await;
    let ask = async |n: usize| {
        let path = format!("/v1/corpora/harbour-{n}/search?q=sluice");
        host.json(Method::GET, &path, None).await.1["data"].as_array().unwrap().len()
    };
    for n in 0..52 {
        let (status, _) = host.json(Method::POST, &format!("/v1/corpora/harbour-{n}/documents"), Some(&rules())).await;
        assert_eq!((status, ask(n).await), (201, 1), "harbour-{n}");
    }
    // Each index that is open holds its lock.
    let files = std::fs::read_dir(format!("/proc/{}/fd", host.pid())).unwrap();
    let targets = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let locks =
        targets.filter(|target| target.ends_with("lock") && target.to_string_lossy().contains("corpora/tenants"));
    assert_eq!(locks.count(), 48);
    assert_eq!((ask(0).await, ask(51).await), (1, 1));
}

#[tokio::test]
async fn an_index_that_is_in_the_making_goes_with_its_tenant() {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    for tenant in ["a", "operator"] {
        cli.output(&["tenant", "create", tenant]).await;
    }
    let operator = cli.output(&["key", "create", "--tenant", "operator", "--scope", "admin"]).await;
    let key = cli.output(&["key", "create", "--tenant", "a", "--scope", "agents:read,agents:write"]).await;
    let host = Host::builder().data(data).start().await;
    let text = "The sluice of the pier opens at noon. ".repeat(40);
    let line = |n: usize| format!("{}\n", json!({"_id": format!("d{n}"), "title": "Gate", "text": text}));
    let lines: String = (0..2_000).map(line).collect();
    let import = host.client().post(host.url(IMPORT)).bearer_auth(&key).header("content-type", "application/x-ndjson");
    assert_eq!(host.send(import.body(lines)).await.status(), 201);
    // Whoever asks until the key is gone may ask while the tenant goes.
    let search = async |_: usize| {
        while host.json_as(&key, Method::GET, "/v1/corpora/harbour/search?q=sluice", None).await.0 != 401 {}
    };
    let search = futures::future::join_all((0..16).map(search));
    let folder = host.data().join("corpora/tenants/a");
    let delete = async {
        while !folder.exists() {
            tokio::task::yield_now().await;
        }
        host.json_as(&operator, Method::DELETE, "/v1/admin/tenants/a", None).await.0
    };
    let (_, deleted) = tokio::join!(search, delete);
    assert_eq!(deleted, 204);
    let gone = async {
        while folder.exists() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    // What looks for such folders regularly comes once in a minute.
    tokio::time::timeout(Duration::from_secs(20), gone).await.expect("the folder is removed when the indexing ends");
}

#[tokio::test]
async fn an_agent_searches_a_whole_corpus_with_what_is_added_to_it_later() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let agent = json!({"name": "keeper", "corpora": ["harbour"], "tools": [{"name": "corpus_search"}, {"name": "corpus_read"}]});
    let (status, made) = host.json(Method::POST, "/v1/agents", Some(&agent)).await;
    assert_eq!((status, &made["corpora"]), (201, &json!(["harbour"])), "{made}");
    let (told, _) = searching(&model, &host, "keeper", "gates pier").await;
    assert!(told.contains("hits") && !told.contains("slack water"), "{told}");
    let id = add(&host, &rules()).await;
    let (told, _) = searching(&model, &host, "keeper", "gates pier").await;
    assert!(told.contains("open at slack water") && told.contains(&format!("document:{id}")), "{told}");
    model.then(Answer::tool("corpus_read", json!({"location": format!("document:{id}")}))).then(Answer::text("Done."));
    host.post_ok("/v1/runs", &json!({"agentId": "keeper", "input": "Read it."})).await;
    assert!(model.requests().last().unwrap().to_string().contains("open at slack water"));
    for (corpora, wrong) in [
        (json!(["a b"]), "corpora must name corpora by"),
        (json!(["a", "a"]), "corpora names \"a\" twice"),
        (json!((0..17).map(|n| format!("c{n}")).collect::<Vec<_>>()), "corpora may name 16 corpora, not 17"),
    ] {
        let (status, told) = host.json(Method::PATCH, "/v1/agents/keeper", Some(&json!({"corpora": corpora}))).await;
        assert!(status == 400 && told["error"]["message"].as_str().unwrap().starts_with(wrong), "{told}");
    }
}

#[tokio::test]
async fn a_folder_is_followed_while_the_host_serves_and_its_pdf_files_are_read() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("divers.md"), "# Divers\n\nThe divers of the pier found eelgrass.").unwrap();
    std::fs::write(folder.path().join("gates.pdf"), pdf("The wicket opens at dawn.")).unwrap();
    std::fs::write(folder.path().join("lock.rs"), "fn openSluiceGate(max_depth: u32) {}").unwrap();
    let host = Host::builder().corpus(folder.path()).config("corpus_refresh_seconds = 1").start().await;
    let ask = async |query: &str| {
        let call = json!({"arguments": {"query": query}});
        let (_, told) = host.json(Method::POST, "/v1/tools/corpus_search/call", Some(&call)).await;
        told["output"].to_string()
    };
    let until = async |query: &str, there: bool, part: &str| {
        vivarium_tests::soon("the index", async {
            while ask(query).await.contains(part) != there {
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            }
        })
        .await;
    };
    until("wicket dawn", true, "gates.pdf").await;
    until("sluice gate depth", true, "lock.rs").await;
    std::fs::write(folder.path().join("half.md"), "The lightho").unwrap();
    until("lightho", true, "half.md").await;
    // What was half written when it was looked at is looked at again.
    std::fs::write(folder.path().join("half.md"), "The lighthouse is painted in ochre.").unwrap();
    until("ochre lighthouse", true, "half.md").await;
    std::fs::remove_file(folder.path().join("divers.md")).unwrap();
    until("eelgrass", false, "divers.md").await;
}

#[tokio::test]
async fn the_command_line_adds_and_searches_collections_and_folders() {
    let host = Host::builder().start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("corpus.jsonl"), collection(1_500)).unwrap();
    std::fs::create_dir(folder.path().join("docs")).unwrap();
    std::fs::write(folder.path().join("docs/tides.md"), "# Tides\n\nThey fall twice a day.").unwrap();
    std::fs::write(folder.path().join("docs/photo.raw"), [0, 1, 2]).unwrap();
    let (url, key) = (host.url(""), host.key().to_owned());
    let cli = Cli::on(folder.path());
    let run = async |arguments: &[&str]| {
        let place = ["--server", &url, "--key", &key];
        cli.output(&[arguments, &place].concat()).await
    };
    let path = folder.path().join("corpus.jsonl");
    let told = run(&["corpus", "add", "harbour", path.to_str().unwrap()]).await;
    assert_eq!(told, "1500 documents are in harbour; 0 files were left out");
    let docs = folder.path().join("docs");
    let told = run(&["corpus", "add", "harbour", docs.to_str().unwrap()]).await;
    assert_eq!(told, "1 documents are in harbour; 1 files were left out");
    let told = run(&["corpus", "search", "harbour", "number1234", "--limit", "3"]).await;
    assert!(told.ends_with("\td1234\tGate 1234") && told.lines().count() == 1, "{told}");
    assert!(run(&["corpus", "search", "harbour", "fall twice"]).await.ends_with("\ttides.md"));
    assert_eq!(run(&["corpus", "clear", "harbour"]).await, "1501 documents are deleted");
}

/// A PDF of one line.
fn pdf(line: &str) -> Vec<u8> {
    let content = format!("BT /F1 12 Tf 72 700 Td ({line}) Tj ET");
    let objects = [
        "<< /Type /Catalog /Pages 2 0 R >>".to_owned(),
        "<< /Type /Pages /Kids [3 0 R] /Count 1 >>".to_owned(),
        "<< /Type /Page /Parent 2 0 R /Contents 5 0 R /Resources << /Font << /F1 4 0 R >> >> >>".to_owned(),
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>".to_owned(),
        format!("<< /Length {} >>\nstream\n{content}\nendstream", content.len()),
    ];
    let (mut file, mut places) = (b"%PDF-1.7\n".to_vec(), Vec::new());
    for (n, object) in objects.iter().enumerate() {
        places.push(file.len());
        file.extend_from_slice(format!("{} 0 obj\n{object}\nendobj\n", n + 1).as_bytes());
    }
    let table = file.len();
    file.extend_from_slice(b"xref\n0 6\n0000000000 65535 f \n");
    for place in places {
        file.extend_from_slice(format!("{place:010} 00000 n \n").as_bytes());
    }
    file.extend_from_slice(format!("trailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n{table}\n%%EOF\n").as_bytes());
    file
}
