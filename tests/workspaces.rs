//! The files of a session over the API: put, read and removed one by one and as archives, kept, compared and brought back; and what
//! each run has changed.

use reqwest::header::{CONTENT_RANGE, CONTENT_TYPE, ETAG};
use reqwest::{Method, Response};
use serde_json::{Value, json};
use vivarium_tests::{Answer, Host, ScriptedModel};

/// A session to put files into.
async fn session(host: &Host, id: &str) -> String {
    let (status, told) = host.json(Method::POST, "/v1/sessions", Some(&json!({"id": id}))).await;
    assert_eq!(status, 201, "{told}");
    format!("/v1/sessions/{id}")
}

async fn put(host: &Host, path: &str, content: impl Into<reqwest::Body>) -> Response {
    host.send(host.request(Method::PUT, path).body(content)).await
}

async fn put_ok(host: &Host, path: &str, content: &str) -> Value {
    let response = put(host, path, content.to_owned()).await;
    assert!(response.status().is_success(), "{path}: {}", response.text().await.unwrap());
    response.json().await.unwrap()
}

async fn text(host: &Host, path: &str) -> String {
    let response = host.get(path).await;
    assert_eq!(response.status(), 200, "{path}");
    response.text().await.unwrap()
}

async fn get(host: &Host, path: &str) -> Value {
    let (status, told) = host.json(Method::GET, path, None).await;
    assert_eq!(status, 200, "{path}: {told}");
    told
}

fn names(list: &Value) -> Vec<&str> {
    list["data"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap()).collect()
}

fn code(told: &Value) -> &str {
    told["error"]["code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn files_are_put_read_listed_and_removed_by_who_knows_what_they_are() {
    let host = Host::builder().start().await;
    let base = session(&host, "s1").await;
    assert_eq!(get(&host, &format!("{base}/files")).await, json!({"data": [], "next": null}));
    let response = put(&host, &format!("{base}/files/src/main.py"), "print(1)\n").await;
    assert_eq!(response.status(), 201);
    let tag = response.headers()[ETAG].to_str().unwrap().to_owned();
    let file: Value = response.json().await.unwrap();
    assert_eq!((file["path"].as_str(), file["bytes"].as_u64()), (Some("src/main.py"), Some(9)));
    assert_eq!(tag, format!("\"{}\"", file["hash"].as_str().unwrap()));

    let response = host.get(&format!("{base}/files/src%2Fmain.py")).await;
    assert_eq!(response.headers()[ETAG].to_str().unwrap(), tag);
    assert_eq!(response.headers()[CONTENT_TYPE], "text/plain; charset=utf-8");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    assert_eq!(response.text().await.unwrap(), "print(1)\n");
    let part =
        host.send(host.request(Method::GET, &format!("{base}/files/src/main.py")).header("range", "bytes=0-4")).await;
    assert_eq!((part.status().as_u16(), part.headers()[CONTENT_RANGE].to_str().unwrap()), (206, "bytes 0-4/9"));
    assert_eq!(part.text().await.unwrap(), "print");
    let beyond = host.request(Method::GET, &format!("{base}/files/src/main.py")).header("range", "bytes=9-");
    assert_eq!(host.send(beyond).await.status(), 416);
    let known = host.request(Method::GET, &format!("{base}/files/src/main.py")).header("if-none-match", &tag);
    assert_eq!(host.send(known).await.status(), 304);

    let path = format!("{base}/files/src/main.py");
    let changed = host.send(host.request(Method::PUT, &path).header("if-match", &tag).body("print(2)\n")).await;
    assert_eq!(changed.status(), 200);
    let stale = host.send(host.request(Method::PUT, &path).header("if-match", &tag).body("print(3)\n")).await;
    assert_eq!(stale.status(), 412);
    let told: Value = stale.json().await.unwrap();
    assert_eq!(code(&told), "file_changed", "{told}");
    let stale = host.send(host.request(Method::DELETE, &path).header("if-match", &tag)).await;
    assert_eq!(stale.status(), 412);
    let only_new = host.send(host.request(Method::PUT, &path).header("if-none-match", "*").body("x")).await;
    assert_eq!(only_new.status(), 412);
    assert_eq!(text(&host, &path).await, "print(2)\n");

    for name in ["a.txt", "b/c.txt", "b/d.txt"] {
        put_ok(&host, &format!("{base}/files/{name}"), name).await;
    }
    let first = get(&host, &format!("{base}/files?limit=2")).await;
    assert_eq!(names(&first), ["a.txt", "b/c.txt"]);
    let rest = get(&host, &format!("{base}/files?limit=2&cursor={}", first["next"].as_str().unwrap())).await;
    assert_eq!((names(&rest), &rest["next"]), (vec!["b/d.txt", "src/main.py"], &Value::Null));
    assert_eq!(names(&get(&host, &format!("{base}/files?prefix=b/")).await), ["b/c.txt", "b/d.txt"]);

    assert_eq!(host.send(host.request(Method::DELETE, &path)).await.status(), 204);
    assert_eq!(host.send(host.request(Method::DELETE, &path)).await.status(), 404);
    assert_eq!(host.get(&path).await.status(), 404);
    for (bad, expected) in [
        ("..%2Fx", "must not hold . or .."),
        ("a//b", "an empty name"),
        ("%2Fetc%2Fpasswd", "without a leading slash"),
        ("a%0Ab", "a control character"),
    ] {
        let response = put(&host, &format!("{base}/files/{bad}"), "x").await;
        assert_eq!(response.status(), 400, "{bad}");
        let told = response.text().await.unwrap();
        assert!(told.contains(expected), "{bad}: {told}");
    }
    let (status, told) = host.json(Method::GET, "/v1/sessions/nobodys/files", None).await;
    assert_eq!((status, code(&told)), (404, "not_found"));
}

#[tokio::test]
async fn a_session_holds_what_its_tenant_may_and_no_byte_more() {
    let limits = "[tool_limits]\nfile_bytes = 1000\nfiles = 3\n";
    let host = Host::builder().config(limits).start().await;
    let base = session(&host, "s1").await;
    put_ok(&host, &format!("{base}/files/a"), &"x".repeat(900)).await;
    let full = put(&host, &format!("{base}/files/b"), "x".repeat(101)).await;
    assert_eq!(full.status(), 409);
    assert_eq!(code(&full.json().await.unwrap()), "storage_full");
    let large = put(&host, &format!("{base}/files/b"), "x".repeat(1_001)).await;
    assert_eq!(large.status(), 413);
    put_ok(&host, &format!("{base}/files/b"), &"x".repeat(100)).await;
    put_ok(&host, &format!("{base}/files/c"), "").await;
    assert_eq!(put(&host, &format!("{base}/files/d"), "").await.status(), 409, "one file more than there may be");
    assert_eq!(names(&get(&host, &format!("{base}/files")).await), ["a", "b", "c"]);
}

#[tokio::test]
async fn all_files_come_out_as_an_archive_and_go_in_from_one() {
    let host = Host::builder().start().await;
    let (from, to) = (session(&host, "from").await, session(&host, "to").await);
    for name in ["readme.md", "src/a b.py", "src/deep/er/c.txt"] {
        put_ok(&host, &format!("{from}/files/{}", name.replace(' ', "%20")), name).await;
    }
    put_ok(&host, &format!("{to}/files/own.txt"), "own").await;
    for (format, media_type) in [("tar", "application/x-tar"), ("zip", "application/zip")] {
        let packed = host.get(&format!("{from}/workspace?format={format}")).await;
        assert_eq!(packed.headers()[CONTENT_TYPE], media_type);
        let bytes = packed.bytes().await.unwrap();
        let send = |query: &str| {
            let request = host.request(Method::PUT, &format!("{to}/workspace{query}"));
            host.send(request.header(CONTENT_TYPE, media_type).body(bytes.clone()))
        };
        let kept = send("?existing=keep").await;
        assert_eq!(kept.status(), 200, "{}", kept.text().await.unwrap());
        let list = get(&host, &format!("{to}/files")).await;
        assert_eq!(names(&list), ["own.txt", "readme.md", "src/a b.py", "src/deep/er/c.txt"]);
        let told: Value = send("").await.json().await.unwrap();
        assert_eq!(told, json!({"entries": 6, "bytes": 9 + 10 + 17}));
        assert_eq!(names(&get(&host, &format!("{to}/files")).await).len(), 3);
        assert_eq!(text(&host, &format!("{to}/files/src/a%20b.py")).await, "src/a b.py");
        put_ok(&host, &format!("{to}/files/own.txt"), "own").await;
    }
    let refused = |media_type: &'static str, bytes: Vec<u8>| {
        host.send(host.request(Method::PUT, &format!("{to}/workspace")).header(CONTENT_TYPE, media_type).body(bytes))
    };
    let broken = refused("application/zip", b"PK no".to_vec()).await;
    assert_eq!(broken.status(), 422);
    assert_eq!(code(&broken.json().await.unwrap()), "invalid_archive");
    assert_eq!(refused("application/gzip", Vec::new()).await.status(), 415);
    assert_eq!(names(&get(&host, &format!("{to}/files")).await).len(), 4, "what is refused has changed nothing");
}

#[tokio::test]
async fn snapshots_are_made_compared_brought_back_and_outlive_a_kill() {
    let limits = "max_snapshots = 2\nmax_snapshot_bytes = 10000\n";
    let host = Host::builder().config(limits).start().await;
    let base = session(&host, "s1").await;
    put_ok(&host, &format!("{base}/files/a.txt"), "one\n").await;
    let (status, first) = host.json(Method::POST, &format!("{base}/snapshots"), Some(&json!({"label": "first"}))).await;
    assert_eq!((status, first["files"].as_u64(), first["label"].as_str()), (201, Some(1), Some("first")), "{first}");
    let id = first["id"].as_str().unwrap();
    put_ok(&host, &format!("{base}/files/a.txt"), "two\n").await;
    put_ok(&host, &format!("{base}/files/b.txt"), "new\n").await;
    let told = get(&host, &format!("{base}/diff?from={id}")).await;
    assert_eq!(
        told["diff"],
        "--- a/a.txt\n+++ b/a.txt\n@@ -1 +1 @@\n-one\n+two\n--- /dev/null\n+++ b/b.txt\n@@ -0,0 +1 @@\n+new\n"
    );
    assert_eq!(
        (told["files"][0]["change"].as_str(), told["files"][1]["change"].as_str()),
        (Some("changed"), Some("added"))
    );

    let (_, second) = host.json(Method::POST, &format!("{base}/snapshots"), Some(&json!({}))).await;
    let (status, full) = host.json(Method::POST, &format!("{base}/snapshots"), Some(&json!({}))).await;
    assert_eq!((status, code(&full)), (409, "storage_full"), "{full}");
    let between = get(&host, &format!("{base}/diff?from={id}&to={}", second["id"].as_str().unwrap())).await;
    assert_eq!(between["diff"], told["diff"]);
    host.json(Method::DELETE, &format!("{base}/snapshots/{}", second["id"].as_str().unwrap()), None).await;
    put_ok(&host, &format!("{base}/files/large"), &"x".repeat(10_001)).await;
    let (status, full) = host.json(Method::POST, &format!("{base}/snapshots"), Some(&json!({}))).await;
    assert_eq!((status, code(&full)), (409, "storage_full"), "{full}");

    let data = host.kill().await;
    let host = Host::builder().data(data).config(limits).start().await;
    let (status, restored) = host.json(Method::POST, &format!("{base}/snapshots/{id}/restore"), None).await;
    assert_eq!((status, restored), (200, json!({"entries": 1, "bytes": 4})));
    assert_eq!(names(&get(&host, &format!("{base}/files")).await), ["a.txt"]);
    assert_eq!(text(&host, &format!("{base}/files/a.txt")).await, "one\n");
    assert_eq!(get(&host, &format!("{base}/diff?from={id}")).await["files"], json!([]));
    let path = format!("{base}/snapshots/0192f000-0000-7000-8000-000000000001");
    assert_eq!(host.json(Method::GET, &path, None).await.0, 404);
    let (status, _) = host.json(Method::DELETE, &base, None).await;
    assert_eq!(status, 204);
    session(&host, "s1").await;
    assert_eq!(
        names(&get(&host, &format!("{base}/files")).await),
        [""; 0],
        "a new session of the same id has no files"
    );
    assert_eq!(get(&host, &format!("{base}/snapshots")).await["data"], json!([]));
}

#[tokio::test]
async fn a_restore_that_is_killed_leaves_the_old_files_or_the_new_ones() {
    let mut host = Host::builder().start().await;
    let base = session(&host, "s1").await;
    for n in 0..200 {
        put_ok(&host, &format!("{base}/files/f{n:03}"), "old").await;
    }
    let (_, snapshot) = host.json(Method::POST, &format!("{base}/snapshots"), Some(&json!({}))).await;
    for n in 0..200 {
        put_ok(&host, &format!("{base}/files/f{n:03}"), "new").await;
    }
    let path = format!("{base}/snapshots/{}/restore", snapshot["id"].as_str().unwrap());
    let archive = host.get(&format!("{base}/workspace")).await.bytes().await.unwrap();
    for round in 0..6_u64 {
        let request = host.request(Method::POST, &path);
        // The kill comes at another point each time.
        let _cut = tokio::time::timeout(std::time::Duration::from_millis(3 * round), request.send()).await;
        let data = host.kill().await;
        host = Host::builder().data(data).start().await;
        let packed = host.get(&format!("{base}/workspace")).await.bytes().await.unwrap();
        let count = |text: &[u8]| packed.windows(3).filter(|window| *window == text).count();
        assert!(
            matches!((count(b"old"), count(b"new")), (200, 0) | (0, 200)),
            "round {round}: {} old, {} new",
            count(b"old"),
            count(b"new")
        );
        let upload = host.request(Method::PUT, &format!("{base}/workspace"));
        let put = host.send(upload.header(CONTENT_TYPE, "application/x-tar").body(archive.clone())).await;
        assert_eq!(put.status(), 200);
    }
}

#[tokio::test]
async fn a_run_tells_what_it_has_changed_and_it_can_be_undone() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let base = session(&host, "s1").await;
    put_ok(&host, &format!("{base}/files/a.txt"), "mine\n").await;
    model
        .then(Answer::tool("write_file", json!({"path": "b.txt", "content": "the run's\n"})))
        .then(Answer::text("Done."));
    let run = host.post_ok("/v1/runs", &json!({"input": "Write b.", "mode": "chat", "sessionId": "s1"})).await;
    put_ok(&host, &format!("{base}/files/c.txt"), "later\n").await;
    let changes = get(&host, &format!("/v1/runs/{}/changes", run["id"].as_str().unwrap())).await;
    assert_eq!(changes["diff"], "--- /dev/null\n+++ b/b.txt\n@@ -0,0 +1 @@\n+the run's\n", "{changes}");
    assert!(changes["to"].is_string());
    let list = get(&host, &format!("{base}/snapshots")).await;
    let reasons: Vec<_> = list["data"].as_array().unwrap().iter().map(|one| one["reason"].as_str().unwrap()).collect();
    assert_eq!(reasons, ["runEnded", "runBegan"]);
    let undo = format!("{base}/snapshots/{}/restore", changes["from"].as_str().unwrap());
    assert_eq!(host.json(Method::POST, &undo, None).await.0, 200);
    assert_eq!(names(&get(&host, &format!("{base}/files")).await), ["a.txt"]);

    model.then(Answer::text("Nothing to do."));
    let run = host.post_ok("/v1/runs", &json!({"input": "Do nothing.", "mode": "chat", "sessionId": "s1"})).await;
    let none = get(&host, &format!("/v1/runs/{}/changes", run["id"].as_str().unwrap())).await;
    assert_eq!(none, json!({"from": null, "to": null, "files": [], "moreFiles": 0, "diff": "", "moreLines": 0}));
    let path = "/v1/runs/0192f000-0000-7000-8000-000000000001/changes";
    assert_eq!(host.json(Method::GET, path, None).await.0, 404);
}

#[tokio::test]
async fn while_a_run_is_under_way_its_files_are_not_replaced() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let base = session(&host, "s1").await;
    put_ok(&host, &format!("{base}/files/a.txt"), "mine\n").await;
    let (_, snapshot) = host.json(Method::POST, &format!("{base}/snapshots"), Some(&json!({}))).await;
    model.then(Answer::Silence);
    let run = json!({"input": "Wait.", "mode": "chat", "sessionId": "s1", "background": true});
    let run: Value = host.post("/v1/runs", &run).await.json().await.unwrap();
    model.received(1).await;
    let restore = format!("{base}/snapshots/{}/restore", snapshot["id"].as_str().unwrap());
    let (status, told) = host.json(Method::POST, &restore, None).await;
    assert_eq!((status, code(&told)), (409, "session_busy"));
    let upload = host.request(Method::PUT, &format!("{base}/workspace")).header(CONTENT_TYPE, "application/x-tar");
    assert_eq!(host.send(upload.body(vec![0; 1024])).await.status(), 409);
    host.json(Method::POST, &format!("/v1/runs/{}/cancel", run["id"].as_str().unwrap()), None).await;
    get(&host, &format!("/v1/runs/{}?wait=10", run["id"].as_str().unwrap())).await;
    assert_eq!(host.json(Method::POST, &restore, None).await.0, 200);
}
