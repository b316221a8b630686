//! Backups: of a server that goes on meanwhile, whole or not at all, and back again.

use std::path::{Path, PathBuf};
use std::process::Output;

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, SseStream, soon};

/// Asks a server for a backup, as an operator does.
async fn back_up(host: &Host, file: &Path) -> Output {
    let cli = Cli::on(file.parent().unwrap());
    cli.run(&["backup", file.to_str().unwrap(), "--server", host.address(), "--key", host.key()]).await
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn done(output: &Output) {
    assert!(output.status.success(), "{}: {}", output.status, said(output));
}

async fn ask(host: &Host, session: Option<&str>) -> Value {
    let mut body = json!({"query": "What?", "mode": "chat"});
    if let Some(session) = session {
        body["sessionId"] = session.into();
    }
    host.post_ok("/v1/agent/run", &body).await
}

/// A server with something in every part of a backup.
async fn used_server(model: &ScriptedModel) -> (Host, Vec<Value>) {
    model.always(Answer::text("Forty-two."));
    let host = Host::builder().model(model).start().await;
    let first = ask(&host, None).await;
    let session = first["sessionId"].as_str().unwrap().to_owned();
    let runs = vec![first, ask(&host, Some(&session)).await];
    let secret = json!({"value": "s3cret-value", "inject": {"host": "api.example.com", "header": "authorization"}});
    assert_eq!(host.json(Method::PUT, "/v1/secrets/token", Some(&secret)).await.0, 200);
    let document = json!({"name": "moons", "text": "Saturn has 146 moons.", "mediaType": "text/plain"});
    let (status, made) = host.json(Method::POST, "/v1/corpora/space/documents", Some(&document)).await;
    assert_eq!(status, 201, "{made}");
    // What a tool that was granted files would have written.
    let workspace = host.data().join("workspaces/default").join("ab".repeat(32));
    std::fs::create_dir_all(workspace.join("an/empty folder")).unwrap();
    std::fs::write(workspace.join("notes.txt"), "Remember the milk.").unwrap();
    (host, runs)
}

async fn restored(file: &Path) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    done(&Cli::on(folder.path()).run(&["restore", file.to_str().unwrap()]).await);
    folder
}

#[tokio::test]
async fn a_backup_of_a_running_server_brings_back_all_that_it_had() {
    let model = ScriptedModel::start().await;
    let (host, runs) = used_server(&model).await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("backup.tar");
    // It goes on meanwhile.
    let others = async {
        for _ in 0..20 {
            ask(&host, None).await;
        }
    };
    let (output, ()) = tokio::join!(back_up(&host, &file), others);
    done(&output);
    let key = host.data().join("secrets.key");
    assert!(said(&output).contains(&format!("keep a copy of {} elsewhere", key.display())), "{}", said(&output));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "something is left beside the backup");
    let key_text = std::fs::read_to_string(&key).unwrap();
    let bytes = std::fs::read(&file).unwrap();
    assert!(!bytes.windows(16).any(|window| window == &key_text.as_bytes()[..16]), "the key is in the backup");
    assert!(!bytes.windows(12).any(|window| window == b"s3cret-value"), "a secret is in the backup");
    let shown = async |host: &Host, path: &str| host.get(path).await.json::<Value>().await.unwrap();
    let paths: Vec<String> = runs
        .iter()
        .flat_map(|run| {
            let id = run["runId"].as_str().unwrap();
            [format!("/v1/runs/{id}"), format!("/v1/runs/{id}/events")]
        })
        .chain(["/v1/secrets", "/v1/corpora/space/documents"].map(str::to_owned))
        .chain([format!("/v1/sessions/{}/messages", runs[0]["sessionId"].as_str().unwrap())])
        .collect();
    let mut before = Vec::new();
    for path in &paths {
        before.push(shown(&host, path).await);
    }

    let folder = restored(&file).await;
    std::fs::copy(&key, folder.path().join("secrets.key")).unwrap();
    let told = Cli::on(folder.path()).run(&["doctor"]).await;
    done(&told);
    let workspace = folder.path().join("workspaces/default").join("ab".repeat(32));
    assert_eq!(std::fs::read_to_string(workspace.join("notes.txt")).unwrap(), "Remember the milk.");
    assert!(workspace.join("an/empty folder").is_dir());
    let back = Host::builder().model(&model).data(folder).start().await;
    for (path, before) in paths.iter().zip(before) {
        assert_eq!(shown(&back, path).await, before, "{path}");
    }
    // The conversation goes on.
    ask(&back, runs[0]["sessionId"].as_str()).await;
}

#[tokio::test]
async fn a_run_that_was_under_way_goes_on_where_the_backup_is_restored() {
    let model = ScriptedModel::start().await;
    model.then(Answer::Silence);
    let host = Host::builder().model(&model).start().await;
    let request = json!({"input": "What?", "mode": "chat", "background": true});
    let (status, run) = host.json(Method::POST, "/v1/runs", Some(&request)).await;
    assert_eq!(status, 202, "{run}");
    model.received(1).await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("backup.tar");
    done(&back_up(&host, &file).await);
    drop(host);

    model.always(Answer::text("Forty-two."));
    let host = Host::builder().model(&model).data(restored(&file).await).start().await;
    let path = format!("/v1/runs/{}", run["id"].as_str().unwrap());
    let mut events = SseStream::new(
        host.send(host.request(Method::GET, &format!("{path}/events")).header("accept", "text/event-stream")).await,
    );
    while soon("the run's end", events.next()).await.is_some() {}
    let ended: Value = host.get(&path).await.json().await.unwrap();
    assert_eq!(
        (&ended["status"], &ended["outcome"]["answer"]),
        (&json!("completed"), &json!("Forty-two.")),
        "{ended:#}"
    );
}

#[tokio::test]
async fn only_an_operators_key_makes_a_backup() {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    cli.output(&["tenant", "create", "acme"]).await;
    let all = "runs,agents:read,agents:write,plugins,secrets";
    let key = cli.output(&["key", "create", "--tenant", "acme", "--scope", all]).await;
    let host = Host::builder().data(data).start().await;
    let (status, answer) = host.json_as(&key, Method::GET, "/v1/admin/backup", None).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (403, Some("scope_missing")), "{answer}");
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("backup.tar");
    let arguments = ["backup", file.to_str().unwrap(), "--server", host.address(), "--key", &key];
    let refused = Cli::on(place.path()).run(&arguments).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("this needs a key with the scope admin"), "{}", said(&refused));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn one_backup_is_made_at_a_time_and_one_that_nobody_takes_is_given_up() {
    let host = Host::builder().start().await;
    // More than lies between the server and a client that does not read.
    for number in 0..12 {
        let agent = json!({"name": format!("large {number}"), "mode": "chat", "prompt": "𝄞".repeat(199_999)});
        assert_eq!(host.json(Method::POST, "/v1/agents", Some(&agent)).await.0, 201);
    }
    let first = host.send(host.request(Method::GET, "/v1/admin/backup")).await;
    assert_eq!(first.status(), 200);
    let (status, answer) = host.json(Method::GET, "/v1/admin/backup", None).await;
    assert_eq!((status, answer["error"]["code"].as_str()), (409, Some("conflict")), "{answer}");
    drop(first);
    host.says("a backup broke off").await;
    let place = tempfile::tempdir().unwrap();
    done(&back_up(&host, &place.path().join("backup.tar")).await);
}

#[tokio::test]
async fn a_backup_replaces_nothing_and_one_of_a_folder_needs_no_server() {
    let model = ScriptedModel::start().await;
    let (host, runs) = used_server(&model).await;
    let place = tempfile::tempdir().unwrap();
    let file = place.path().join("backup.tar");
    let (data, to) = (host.data().to_str().unwrap().to_owned(), file.to_str().unwrap().to_owned());
    let cli = Cli::on(place.path());
    let refused = cli.run(&["backup", &to, "--data", &data]).await;
    assert!(said(&refused).contains("is open in another process"), "{}", said(&refused));
    assert!(!file.exists());

    let (_, folder) = host.stop().await;
    done(&cli.run(&["backup", &to, "--data", &data]).await);
    let first = std::fs::read(&file).unwrap();
    let refused = cli.run(&["backup", &to, "--data", &data]).await;
    assert!(said(&refused).contains("it is there already"), "{}", said(&refused));
    assert_eq!(std::fs::read(&file).unwrap(), first);
    drop(folder);
    let host = Host::builder().model(&model).data(restored(&file).await).start().await;
    let run = runs[1]["runId"].as_str().unwrap();
    assert_eq!(host.get(&format!("/v1/runs/{run}")).await.status(), 200);
}

/// A small backup, made once.
async fn small_backup(place: &Path) -> PathBuf {
    let data = tempfile::tempdir().unwrap();
    Cli::on(data.path()).output(&["tenant", "create", "acme"]).await;
    std::fs::create_dir_all(data.path().join("workspaces/acme/x")).unwrap();
    std::fs::write(data.path().join("workspaces/acme/x/a file"), "some text").unwrap();
    let file = place.join("backup.tar");
    let (to, data) = (file.to_str().unwrap(), data.path().to_str().unwrap());
    done(&Cli::on(place).run(&["backup", to, "--data", data]).await);
    file
}

#[tokio::test]
async fn a_cut_or_changed_backup_is_refused_and_leaves_nothing_behind() {
    let place = tempfile::tempdir().unwrap();
    let file = small_backup(place.path()).await;
    let whole = std::fs::read(&file).unwrap();
    let (damaged, data) = (place.path().join("damaged.tar"), place.path().join("data"));
    let refused = async |bytes: &[u8], what: &str| {
        std::fs::write(&damaged, bytes).unwrap();
        let arguments = ["restore", damaged.to_str().unwrap(), "--data", data.to_str().unwrap()];
        let refused = Cli::on(place.path()).run(&arguments).await;
        assert_eq!(refused.status.code(), Some(1), "{what}: {}", said(&refused));
        assert!(!data.exists(), "{what}: something is left");
        said(&refused)
    };
    // The last entry is a kilobyte before the end, behind it stand zeros.
    for length in [0, 100, 512, whole.len() / 3, whole.len() / 2, whole.len() - 2048, whole.len() - 1537] {
        let told = refused(&whole[..length], &format!("cut to {length}")).await;
        assert!(told.contains("it is no whole backup"), "{told}");
    }
    // Every kilobyte one bit, but not in the zeros that fill up a block and mean nothing.
    let meant = |at: &usize| whole[*at] != 0;
    for at in (0..whole.len()).step_by(whole.len() / 25).filter_map(|from| (from..whole.len()).find(meant)) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        refused(&changed, &format!("changed at {at}")).await;
    }
    refused(b"no backup at all", "a text").await;
    std::fs::write(&damaged, &whole).unwrap();
    done(&Cli::on(place.path()).run(&["restore", damaged.to_str().unwrap(), "--data", data.to_str().unwrap()]).await);
    assert_eq!(std::fs::read_to_string(data.join("workspaces/acme/x/a file")).unwrap(), "some text");
}

#[tokio::test]
async fn a_restore_goes_into_a_folder_without_a_store_only() {
    let place = tempfile::tempdir().unwrap();
    let file = small_backup(place.path()).await;
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    // What was put there for the restored server stays; so does not what a restore that was killed has left.
    std::fs::write(data.path().join("secrets.key"), "kept").unwrap();
    std::fs::create_dir_all(data.path().join("restoring/store/tree")).unwrap();
    done(&cli.run(&["restore", file.to_str().unwrap()]).await);
    assert_eq!(std::fs::read_to_string(data.path().join("secrets.key")).unwrap(), "kept");
    assert!(!data.path().join("restoring").exists());
    let tenants = cli.output(&["tenant", "list"]).await;
    assert!(tenants.starts_with("acme\t"), "{tenants}");
    let refused = cli.run(&["restore", file.to_str().unwrap()]).await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(said(&refused).contains("store is there already"), "{}", said(&refused));
}

#[tokio::test]
async fn what_breaks_off_on_the_way_is_no_backup() {
    let place = tempfile::tempdir().unwrap();
    let whole = std::fs::read(small_backup(place.path()).await).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut client, _) = listener.accept().await.unwrap();
        client.read_buf(&mut Vec::with_capacity(4096)).await.unwrap();
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", whole.len());
        client.write_all(&[head.as_bytes(), &whole[..6000]].concat()).await.unwrap();
    });
    let file = place.path().join("half.tar");
    let arguments = ["backup", file.to_str().unwrap(), "--server", &address, "--key", "a key"];
    let output = soon("an end", Cli::on(place.path()).run(&arguments)).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("the server broke off"), "{}", said(&output));
    assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "something is left beside the whole backup");
}
