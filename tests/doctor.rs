//! `vivarium doctor`: what is in order is said to be, damage is found wherever it is, and nothing is changed.

use std::path::{Path, PathBuf};

use reqwest::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use vivarium_tests::{Answer, Cli, Host, ScriptedModel};

/// What the doctor says of a data folder: its exit code, and each check by its name.
struct Told {
    code: Option<i32>,
    document: Value,
}

impl Told {
    async fn of(data: &Path) -> Self {
        let output = Cli::on(data).run(&["doctor", "--json"]).await;
        let text = String::from_utf8_lossy(&output.stdout);
        let document = serde_json::from_str(&text)
            .unwrap_or_else(|_| panic!("{text}\n{}", String::from_utf8_lossy(&output.stderr)));
        Self { code: output.status.code(), document }
    }

    fn checks(&self) -> &[Value] {
        self.document["checks"].as_array().unwrap()
    }

    /// All that is said of one thing, with its level in front.
    fn says(&self, name: &str) -> String {
        let check = self.checks().iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{self:?}"));
        let findings: Vec<_> = check["findings"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
        format!("{}: {}; {}", check["level"].as_str().unwrap(), check["message"].as_str().unwrap(), findings.join("; "))
    }

    /// The names of what is not in order.
    fn errors(&self) -> Vec<&str> {
        let wrong = self.checks().iter().filter(|check| check["level"] == "error");
        wrong.filter_map(|check| check["name"].as_str()).collect()
    }

    fn finds(&self, name: &str, text: &str) {
        assert_eq!((self.code, self.document["ok"].as_bool()), (Some(1), Some(false)), "{self:?}");
        assert_eq!(self.errors(), [name], "{self:?}");
        assert!(self.says(name).contains(text), "{self:?}");
        let check = self.checks().iter().find(|check| check["name"] == name).unwrap();
        assert!(check["advice"].is_string(), "{self:?}");
    }
}

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} {:#}", self.code, self.document)
    }
}

/// A server that has something of everything, and the hash of a document's text.
async fn used_server(model: &ScriptedModel) -> Host {
    model.always(Answer::text("Forty-two."));
    let host = Host::builder().model(model).start().await;
    for _ in 0..3 {
        host.post_ok("/v1/agent/run", &json!({"query": "What?", "mode": "chat"})).await;
    }
    let agent = json!({"name": "guide", "mode": "chat"});
    assert_eq!(host.json(Method::POST, "/v1/agents", Some(&agent)).await.0, 201);
    let secret = json!({"value": "s3cret-value", "inject": {"host": "api.example.com", "header": "authorization"}});
    assert_eq!(host.json(Method::PUT, "/v1/secrets/token", Some(&secret)).await.0, 200);
    let document = json!({"name": "moons", "text": "Saturn has 146 moons.", "mediaType": "text/plain"});
    assert_eq!(host.json(Method::POST, "/v1/corpora/space/documents", Some(&document)).await.0, 201);
    host
}

async fn stopped_server() -> TempDir {
    let model = ScriptedModel::start().await;
    used_server(&model).await.stop().await.1
}

async fn killed_server() -> TempDir {
    let model = ScriptedModel::start().await;
    used_server(&model).await.kill().await
}

/// The blob with the document's text.
fn blob(data: &Path) -> PathBuf {
    let mut ahead = vec![data.join("store/blobs/default")];
    while let Some(path) = ahead.pop() {
        if path.is_dir() {
            ahead.extend(names(&path));
        } else if std::fs::read(&path).unwrap() == b"Saturn has 146 moons." {
            return path;
        }
    }
    panic!("the document's text is not there");
}

fn flip(file: &Path, at: usize) {
    let mut bytes = std::fs::read(file).unwrap();
    bytes[at] ^= 1;
    std::fs::write(file, bytes).unwrap();
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.sort();
    found
}

#[tokio::test]
async fn what_is_in_order_is_said_to_be_and_stays_as_it_is() {
    let data = stopped_server().await;
    let (top, texts) = (names(data.path()), std::fs::read(blob(data.path())).unwrap());
    let told = Told::of(data.path()).await;
    assert_eq!((told.code, told.document["ok"].as_bool()), (Some(0), Some(true)), "{told:?}");
    assert!(told.checks().iter().all(|check| check["level"] == "ok"), "{told:?}");
    for (name, said) in [
        ("store", "the store was closed cleanly"),
        ("runs", "3, and all are in order"),
        ("sessions", "3, and all are in order"),
        ("agents", "1, and all are in order"),
        ("documents", "1, and all are in order"),
        ("keys", "1, and all are in order"),
        // The document, and the definitions of the tools that the runs were offered.
        ("blobs", "2, and all are in order"),
        ("key of the secrets", "opens all 1 secrets"),
    ] {
        assert!(told.says(name).contains(said), "{told:?}");
    }
    assert_eq!(names(data.path()), top);
    assert_eq!(std::fs::read(blob(data.path())).unwrap(), texts);
    // As lines, too: a level, a name, a sentence.
    let lines = Cli::on(data.path()).output(&["doctor"]).await;
    assert!(lines.lines().all(|line| line.starts_with("ok\t") && line.split('\t').count() == 3), "{lines}");
}

#[tokio::test]
async fn a_folder_that_is_in_use_or_holds_no_store_is_left_alone() {
    let model = ScriptedModel::start().await;
    let host = used_server(&model).await;
    Told::of(host.data()).await.finds("store", "is open in another process");
    host.post_ok("/v1/agent/run", &json!({"query": "What?", "mode": "chat"})).await;
    let empty = tempfile::tempdir().unwrap();
    Told::of(empty.path()).await.finds("store", "holds no store");
    assert!(names(empty.path()).is_empty());
}

#[tokio::test]
async fn what_opening_the_store_has_mended_is_told() {
    let model = ScriptedModel::start().await;
    let host = used_server(&model).await;
    // A run that nobody has ended is no damage: the next start takes care of it.
    model.always(Answer::Silence);
    let request = json!({"input": "What?", "mode": "chat", "background": true});
    assert_eq!(host.json(Method::POST, "/v1/runs", Some(&request)).await.0, 202);
    model.received(4).await;
    let data = host.kill().await;
    let told = Told::of(data.path()).await;
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.says("runs").contains("4, and all are in order"), "{told:?}");
    let store = told.says("store");
    assert!(
        store.starts_with("warning: the store was not closed cleanly: ") && store.contains("recovered"),
        "{told:?}"
    );
    assert!(Told::of(data.path()).await.says("store").contains("closed cleanly"));
}

#[tokio::test]
async fn a_blob_that_is_gone_or_changed_is_found() {
    let data = stopped_server().await;
    let blob = blob(data.path());
    flip(&blob, 3);
    Told::of(data.path()).await.finds("blobs", "its bytes have another hash");
    std::fs::remove_file(&blob).unwrap();
    let hash = blob.file_name().unwrap().to_str().unwrap();
    let told = Told::of(data.path()).await;
    told.finds("blobs", &format!("blob {hash} of tenant default is not there; document "));
}

/// The journal file that holds what was not brought into the trees yet.
fn journal(data: &Path) -> PathBuf {
    let files = ["0", "1"].map(|name| data.join("store/journal").join(name));
    let used = |file: &PathBuf| std::fs::read(file).unwrap().iter().filter(|byte| **byte != 0).count();
    files.into_iter().max_by_key(used).unwrap()
}

#[tokio::test]
async fn a_journal_that_was_cut_or_changed_is_found() {
    let data = killed_server().await;
    let journal = journal(data.path());
    let whole = std::fs::read(&journal).unwrap();
    for length in [whole.len() - 1, 8192, 100] {
        std::fs::write(&journal, &whole[..length]).unwrap();
        let told = Told::of(data.path()).await;
        if length > 100 {
            told.finds("store", "it was cut");
        } else {
            assert_eq!(told.errors(), ["store"], "{told:?}");
        }
    }
    std::fs::write(&journal, &whole).unwrap();
    // Behind the header's block stand the records; some more follow on the first.
    flip(&journal, 4096 + 60);
    Told::of(data.path()).await.finds("store", "does not read, but there is a later one");
    flip(&journal, 4096 + 60);
    flip(&journal, 9);
    Told::of(data.path()).await.finds("store", "its header does not read");
}

#[tokio::test]
async fn a_changed_tree_is_found() {
    let data = stopped_server().await;
    // After this the journal does not hold any more what the trees have: it could make the damage good.
    assert_eq!(Told::of(data.path()).await.code, Some(0));
    let file = data.path().join("store/tree/db");
    let whole = std::fs::read(&file).unwrap();
    // In what is kept for good: the agent's name, as its record has it.
    let places: Vec<_> = whole.windows(14).enumerate().filter(|(_, text)| *text == b"\"name\":\"guide\"").collect();
    assert!(!places.is_empty());
    let mut changed = whole.clone();
    for (at, _) in places {
        changed[at + 9] ^= 1;
    }
    std::fs::write(&file, &changed).unwrap();
    let told = Told::of(data.path()).await;
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.errors().iter().any(|name| matches!(*name, "store" | "records")), "{told:?}");
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    std::fs::write(&file, &whole[..used / 2]).unwrap();
    let told = Told::of(data.path()).await;
    assert_eq!(told.code, Some(1), "{told:?}");
}

#[tokio::test]
async fn a_lost_key_of_the_secrets_is_found_and_not_made_anew() {
    let data = stopped_server().await;
    let key = data.path().join("secrets.key");
    let text = std::fs::read_to_string(&key).unwrap();
    std::fs::remove_file(&key).unwrap();
    Told::of(data.path()).await.finds("key of the secrets", "is not there, and 1 secrets are sealed with it");
    assert!(!key.exists());
    Cli::on(data.path()).run(&["secret", "reseal"]).await;
    assert_ne!(std::fs::read_to_string(&key).unwrap(), text);
    Told::of(data.path()).await.finds("key of the secrets", "does not open 1 of 1 secrets");
}

#[tokio::test]
async fn a_wrong_configuration_and_an_open_folder_of_compiled_code_are_found() {
    use std::os::unix::fs::PermissionsExt as _;
    let data = stopped_server().await;
    std::fs::write(data.path().join("vivarium.toml"), "max_runnin = 3").unwrap();
    Told::of(data.path()).await.finds("configuration", "max_runnin");
    std::fs::remove_file(data.path().join("vivarium.toml")).unwrap();
    let compiled = data.path().join("compiled");
    std::fs::set_permissions(&compiled, std::fs::Permissions::from_mode(0o777)).unwrap();
    Told::of(data.path()).await.finds("compiled plugins", "others can write to");
}
