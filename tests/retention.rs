//! What clients and operators can rely on when things go: runs that are waited for, listed and deleted, what the host keeps and for how
//! long, and tenants that leave nothing behind.

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use vivarium_domain::{
    AuditBy, ContentHash, ModelName, Run, RunFailure, RunId, RunSettings, RunStatus, TenantId, Timestamp, Usage,
};
use vivarium_store::{Batch, SledStore, Store, Write};
use vivarium_tests::{Answer, Cli, Host, ScriptedModel, SseStream, files_with, guest, host_of_two, soon};

const DAY: Duration = Duration::from_secs(24 * 3600);

async fn get(host: &Host, path: &str) -> (u16, Value) {
    host.json(Method::GET, path, None).await
}

async fn delete(host: &Host, path: &str) -> (u16, Value) {
    host.json(Method::DELETE, path, None).await
}

fn id(run: &Value) -> &str {
    run["id"].as_str().unwrap_or_else(|| panic!("this is no run: {run}"))
}

fn ids(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap_or_else(|| panic!("this is no list: {page}")).iter().map(id).collect()
}

/// A model that goes on talking until its run is ended.
fn endless() -> Answer {
    Answer::Slowly(vec!["word ".to_owned(); 6000], Duration::from_millis(50))
}

async fn in_background(host: &Host, fields: Value) -> Value {
    let mut body = json!({"input": "go", "background": true});
    body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    let (status, run) = host.json(Method::POST, "/v1/runs", Some(&body)).await;
    assert_eq!(status, 202, "{run}");
    run
}

#[tokio::test]
async fn a_run_in_the_background_is_told_at_once_and_can_be_polled_and_waited_for() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    model.then(endless()).then(Answer::text("An answer."));
    let accepted = host.post("/v1/runs", &json!({"input": "go", "background": true})).await;
    assert_eq!(accepted.status(), StatusCode::ACCEPTED);
    let location = accepted.headers()["location"].to_str().unwrap().to_owned();
    let run: Value = accepted.json().await.unwrap();
    assert_eq!(location, format!("/v1/runs/{}", id(&run)));
    assert!(matches!(run["status"].as_str(), Some("queued" | "running")), "{run}");
    model.received(1).await;

    // It does not end: the answer comes when the second is over, and says so.
    let (status, waited) = get(&host, &format!("{location}?wait=1")).await;
    assert_eq!((status, &waited["status"]), (200, &json!("running")), "{waited}");
    // And who waits is told of the end when it comes, not when the time is over.
    let (path, cancel) = (format!("{location}?wait=60"), format!("{location}/cancel"));
    let (waited, (cancelled, _)) =
        tokio::join!(soon("the end of the run", get(&host, &path)), host.json(Method::POST, &cancel, None));
    assert_eq!((cancelled, waited.0, &waited.1["status"]), (200, 200, &json!("cancelled")), "{}", waited.1);

    let run = in_background(&host, json!({})).await;
    let (_, ended) = get(&host, &format!("/v1/runs/{}?wait=60", id(&run))).await;
    assert_eq!(ended["outcome"]["answer"], "An answer.", "{ended}");
    for wrong in ["wait=61", "wait=-1", "wait=x", "wait=1&wait=2", "until=1"] {
        let (status, told) = get(&host, &format!("{location}?{wrong}")).await;
        assert_eq!((status, &told["error"]["code"]), (400, &json!("invalid_parameter")), "{wrong}: {told}");
    }
}

#[tokio::test]
async fn who_waits_for_a_run_is_answered_when_its_tenant_goes() {
    let model = ScriptedModel::start().await;
    let (host, keys) = host_of_two(|builder| builder.model(&model)).await;
    model.then(endless());
    let body = json!({"input": "go", "background": true});
    let (_, run) = host.json_as(&keys.foreign, Method::POST, "/v1/runs", Some(&body)).await;
    model.received(1).await;
    let path = format!("/v1/runs/{}?wait=60", id(&run));
    let gone = async {
        // The request is on its way; whichever is first, the answer is the same.
        host.json_as(host.key(), Method::DELETE, "/v1/admin/tenants/other", None).await
    };
    let (waited, gone) = tokio::join!(host.json_as(&keys.foreign, Method::GET, &path, None), gone);
    assert_eq!(gone.0, 204, "{}", gone.1);
    // Cancelled with its tenant, or refused with its key.
    assert!(waited.0 == 401 || waited.1["status"] == "cancelled" || waited.0 == 404, "{waited:?}");
}

#[tokio::test]
async fn runs_are_listed_by_all_filters_together_and_a_page_says_whether_there_is_more() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let (status, agent) = host.json(Method::POST, "/v1/agents", Some(&json!({"name": "a"}))).await;
    assert_eq!(status, 201, "{agent}");
    // Six that end well, of two sessions, every second one of the agent; then one that goes on, and one that waits behind it.
    model.always(Answer::text("ok"));
    let mut all = Vec::new();
    for i in 0..6 {
        let mut body = json!({"input": "go", "sessionId": format!("s-{}", i % 3)});
        if i % 2 == 0 {
            body["agentId"] = json!("a");
        }
        all.push(host.post_ok("/v1/runs", &body).await);
    }
    model.then(endless());
    let running = in_background(&host, json!({"sessionId": "s-busy", "agentId": "a"})).await;
    model.received(7).await;
    let queued = in_background(&host, json!({"sessionId": "s-busy"})).await;
    let created = |run: &Value| run["createdAt"].as_str().unwrap().to_owned();
    let of = |places: &[usize]| -> Vec<&str> { places.iter().map(|place| id(&all[*place])).collect() };
    let (from, before) = (created(&all[1]), created(&all[5]));
    for (query, expected) in [
        (String::new(), [vec![id(&queued), id(&running)], of(&[5, 4, 3, 2, 1, 0])].concat()),
        ("status=running".to_owned(), vec![id(&running)]),
        ("status=queued".to_owned(), vec![id(&queued)]),
        ("status=waiting".to_owned(), vec![]),
        ("status=failed".to_owned(), vec![]),
        ("status=completed".to_owned(), of(&[5, 4, 3, 2, 1, 0])),
        ("status=completed&agentId=a".to_owned(), of(&[4, 2, 0])),
        ("agentId=a".to_owned(), [vec![id(&running)], of(&[4, 2, 0])].concat()),
        ("status=completed&sessionId=s-1".to_owned(), of(&[4, 1])),
        ("status=completed&sessionId=s-1&agentId=a".to_owned(), of(&[4])),
        ("status=queued&sessionId=s-busy".to_owned(), vec![id(&queued)]),
        ("status=running&sessionId=s-busy&agentId=a".to_owned(), vec![id(&running)]),
        ("status=queued&agentId=a".to_owned(), vec![]),
        (format!("createdAfter={from}&createdBefore={before}"), of(&[4, 3, 2, 1])),
        (format!("createdAfter={from}&createdBefore={before}&agentId=a&status=completed"), of(&[4, 2])),
        (format!("createdBefore={from}"), of(&[0])),
    ] {
        let (status, page) = get(&host, &format!("/v1/runs?{query}")).await;
        assert_eq!((status, ids(&page), &page["next"]), (200, expected.clone(), &Value::Null), "{query}");
        // One by one: the last page that holds something says that it is the last.
        let (mut found, mut cursor) = (Vec::new(), String::new());
        loop {
            let (_, page) = get(&host, &format!("/v1/runs?{query}&limit=1{cursor}")).await;
            found.extend(ids(&page).into_iter().map(str::to_owned));
            let Some(next) = page["next"].as_str() else { break };
            assert!(found.len() < expected.len(), "{query}: there is no more, and {next} says that there is");
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, expected, "{query}");
    }
    for wrong in ["createdAfter=yesterday", "createdBefore=", "createdAfter=2026-11-22"] {
        let (status, told) = get(&host, &format!("/v1/runs?{wrong}")).await;
        assert_eq!((status, &told["error"]["code"]), (400, &json!("invalid_parameter")), "{wrong}: {told}");
    }
}

#[tokio::test]
async fn a_run_is_deleted_once_it_has_ended_and_what_was_said_stays_said() {
    let model = ScriptedModel::start().await;
    let (host, keys) = host_of_two(|builder| builder.model(&model)).await;
    model.then(Answer::text("An answer.")).then(endless());
    let ended = host.post_ok("/v1/runs", &json!({"input": "go", "sessionId": "s"})).await;
    let open = in_background(&host, json!({"sessionId": "s"})).await;
    model.received(2).await;
    let (ended, open) = (format!("/v1/runs/{}", id(&ended)), format!("/v1/runs/{}", id(&open)));

    let (status, told) = delete(&host, &open).await;
    let error = json!({"message": "the run is under way: cancel it first", "code": "run_under_way"});
    assert_eq!((status, &told["error"]), (409, &error));
    assert_eq!(host.json_as(&keys.foreign, Method::DELETE, &ended, None).await.0, 404);
    assert_eq!(host.json_as(&keys.unfit, Method::DELETE, &ended, None).await.0, 403);
    assert_eq!(delete(&host, &ended).await, (204, Value::Null));
    for path in [ended.clone(), format!("{ended}/events")] {
        let (status, told) = get(&host, &path).await;
        assert_eq!((status, &told["error"]["code"]), (404, &json!("not_found")), "{path}: {told}");
    }
    assert_eq!(delete(&host, &ended).await.0, 404);
    assert_eq!(get(&host, "/v1/runs?status=completed").await.1["data"], json!([]));
    let (_, said) = get(&host, "/v1/sessions/s/messages").await;
    assert_eq!(said["data"].as_array().unwrap().len(), 2, "{said}");

    host.json(Method::POST, &format!("{open}/cancel"), None).await;
    assert_eq!(get(&host, &format!("{open}?wait=60")).await.1["status"], "cancelled");
    assert_eq!(delete(&host, &open).await.0, 204);
    assert_eq!(get(&host, "/v1/runs").await.1["data"], json!([]));
}

/// A run that ended so long ago.
fn run_of(ago: Duration) -> Run {
    let ended_at = Timestamp::now().checked_sub(ago).unwrap();
    Run {
        id: RunId::new(),
        status: RunStatus::Failed,
        mode: "chat".to_owned(),
        plugin: ContentHash::of(b"a mode"),
        model: ModelName::new("embedded", "extractive").unwrap(),
        session_id: "s".parse().unwrap(),
        stateless: true,
        parent: None,
        key: None,
        agent: None,
        input: "What is a tenant?".to_owned(),
        max_cycles: 3,
        settings: RunSettings::default(),
        created_at: ended_at,
        waiting: None,
        ended_at: Some(ended_at),
        outcome: None,
        failure: Some(RunFailure::new(vivarium_domain::FailureCode::Interrupted, "stopped".to_owned())),
        usage_by_model: Vec::new(),
        usage: Usage { input_tokens: 7, ..Usage::default() },
        cost: vivarium_domain::Money::ZERO,
        last_seq: 1,
        log_removed_at: None,
        trace: None,
    }
}

/// The store of a data folder that no server has open.
fn store_of(data: &Path) -> SledStore {
    SledStore::open(data.join("store")).unwrap().0
}

async fn write(store: &SledStore, tenant: &TenantId, run: &Run) {
    let event = match &run.failure {
        Some(failure) => {
            json!({"seq": 1, "at": run.ended_at, "type": "run.failed", "failure": failure, "usage": run.usage, "cost": run.cost})
        }
        None => json!({"seq": 1, "at": run.created_at, "type": "step", "message": "Working"}),
    };
    let events = vec![serde_json::to_vec(&event).unwrap().into()];
    let writes = vec![Write::PutRun(Box::new(run.clone())), Write::AppendEvents { run: run.id, first_seq: 1, events }];
    store.commit(tenant, Batch { conditions: Vec::new(), writes }).await.unwrap();
}

#[tokio::test]
async fn logs_and_runs_are_kept_for_as_many_days_as_the_operator_says() {
    let (_, data) = Host::builder().start().await.stop().await;
    let (store, default) = (store_of(data.path()), "default".parse().unwrap());
    let [new, old, older] = [1, 8, 31].map(|days| run_of(DAY * days));
    let under_way = Run { status: RunStatus::Running, ended_at: None, failure: None, ..run_of(DAY * 100) };
    for run in [&new, &old, &older, &under_way] {
        write(&store, &default, run).await;
    }
    drop(store);
    let host = Host::builder().data(data).config("run_log_days = 7\nrun_days = 30").start().await;
    host.says("old runs, and logs of runs, were removed").await;

    assert_eq!(get(&host, &format!("/v1/runs/{}", older.id)).await.0, 404);
    assert_eq!(get(&host, &format!("/v1/runs/{}/events", older.id)).await.0, 404);
    let (status, left) = get(&host, &format!("/v1/runs/{}", old.id)).await;
    assert_eq!(
        (status, &left["usage"]["inputTokens"], left["logRemovedAt"].is_string()),
        (200, &json!(7), true),
        "{left}"
    );
    let (status, told) = get(&host, &format!("/v1/runs/{}/events", old.id)).await;
    assert_eq!((status, &told["error"]["code"]), (410, &json!("log_removed")), "{told}");
    // A stream tells what is left, wherever it begins but behind the end.
    for after in [0, 7] {
        let path = format!("/v1/runs/{}/events?after={after}", old.id);
        let request = host.request(Method::GET, &path).header("accept", "text/event-stream");
        let told = soon("the end of the stream", SseStream::new(host.send(request).await).rest()).await;
        let names: Vec<_> = told.iter().filter_map(|event| event.event.as_deref()).collect();
        assert_eq!(names, ["reset", "run.failed"], "{told:?}");
        assert_eq!(told[0].json()["run"]["logRemovedAt"], left["logRemovedAt"], "{told:?}");
    }
    let (status, whole) = get(&host, &format!("/v1/runs/{}", new.id)).await;
    assert_eq!((status, &whole["logRemovedAt"]), (200, &Value::Null));
    let (status, log) = get(&host, &format!("/v1/runs/{}/events", new.id)).await;
    assert_eq!((status, log["data"].as_array().unwrap().len()), (200, 1), "{log}");
    // One that had not ended was taken up by the start, and could not go on: its mode is not there. That is just now.
    let (_, interrupted) = get(&host, &format!("/v1/runs/{}?wait=60", under_way.id)).await;
    assert_eq!(interrupted["failure"]["code"], "interrupted", "{interrupted}");
    assert_eq!(ids(&get(&host, "/v1/runs").await.1).len(), 3);
}

#[tokio::test]
async fn a_repeated_request_is_answered_from_the_record_when_the_log_is_gone() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let host = Host::builder().model(&model).start().await;
    let send = async |host: &Host, path: &str, body: Value| -> Value {
        let request = host.request(Method::POST, path).header("idempotency-key", path).json(&body);
        let response = host.send(request).await;
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.json().await.unwrap()
    };
    let both = async |host: &Host| {
        let native = send(host, "/v1/runs", json!({"input": "go"})).await;
        (native, send(host, "/v1/agent/run", json!({"query": "go", "mode": "chat"})).await)
    };
    let (native, assisters) = both(&host).await;
    let runs: Vec<RunId> = ids(&get(&host, "/v1/runs").await.1).iter().map(|id| id.parse().unwrap()).collect();
    let (_, data) = host.stop().await;
    let store = store_of(data.path());
    assert_eq!(
        store.delete_logs(&"default".parse().unwrap(), runs, Timestamp::now(), &AuditBy::HOST).await.unwrap(),
        2
    );
    drop(store);

    let host = Host::builder().model(&model).data(data).start().await;
    let (native_again, assisters_again) = both(&host).await;
    assert_eq!((&native_again["id"], &native_again["outcome"]), (&native["id"], &native["outcome"]));
    assert_eq!(assisters_again, assisters);
    assert_eq!(model.requests().len(), 2, "the model was not asked again");
}

#[tokio::test]
async fn of_each_tenant_only_so_many_ended_runs_are_kept() {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    cli.output(&["tenant", "create", "many"]).await;
    cli.output(&["tenant", "create", "few"]).await;
    let many_key = cli.output(&["key", "create", "--tenant", "many"]).await;
    let few_key = cli.output(&["key", "create", "--tenant", "few"]).await;
    let (store, many, few) = (store_of(data.path()), "many".parse().unwrap(), "few".parse().unwrap());
    let runs: Vec<_> = (0..40).rev().map(|minutes| run_of(Duration::from_secs(60 * (minutes + 1)))).collect();
    for run in &runs {
        write(&store, &many, run).await;
    }
    for run in &runs[..3] {
        write(&store, &few, run).await;
    }
    drop(store);
    let host = Host::builder().data(data).config("max_runs_per_tenant = 5").start().await;
    host.says("old runs, and logs of runs, were removed").await;
    let (_, left) = host.json_as(&many_key, Method::GET, "/v1/runs", None).await;
    let newest: Vec<String> = runs.iter().rev().take(5).map(|run| run.id.to_string()).collect();
    assert_eq!(ids(&left), newest);
    let (_, left) = host.json_as(&few_key, Method::GET, "/v1/runs", None).await;
    assert_eq!(ids(&left).len(), 3);
}

/// In every place where a tenant can leave a text.
const MARK: &str = "mark-of-one-tenant";

/// A tenant that has used the host: agents, documents, secrets, plugins with state and files, sessions and runs. Gives the
/// digest of its plugin.
async fn settle_in(host: &Host, key: &str) -> String {
    let send = async |method: Method, path: &str, body: Value| {
        let (status, told) = host.json_as(key, method, path, Some(&body)).await;
        assert!((200..300).contains(&status), "{path}: {status} {told}");
        told
    };
    send(Method::POST, "/v1/agents", json!({"name": MARK, "prompt": format!("You are {MARK}.")})).await;
    let document = json!({"name": MARK, "text": format!("The text of {MARK}.")});
    send(Method::POST, &format!("/v1/corpora/{MARK}/documents"), document).await;
    let inject = json!({"host": "api.example.com", "header": "x-api-key"});
    let secret = json!({"value": "not-a-real-key-0123456789", "inject": inject});
    send(Method::PUT, &format!("/v1/secrets/{MARK}"), secret).await;
    let component = guest::hostile(&json!({"version": "1.2.3", "description": MARK}));
    let (status, installed) = host.install_as(key, "/v1/plugins", component).await;
    assert_eq!(status, 201, "{installed}");
    send(Method::PUT, "/v1/plugins/test/hostile/grants", json!({"files": "write", "state": true})).await;
    let file = json!({"do": "write", "path": format!("{MARK}.txt"), "text": MARK});
    let call = json!({"arguments": file, "sessionId": MARK});
    send(Method::POST, "/v1/tools/hostile/call", call).await;
    for _ in 0..3 {
        send(
            Method::POST,
            "/v1/runs",
            json!({"input": format!("What is {MARK}?"), "sessionId": MARK, "agentId": MARK}),
        )
        .await;
    }
    installed["digest"].as_str().unwrap().to_owned()
}

/// The files of a data folder whose names or bytes hold this text, but for sled's file and the journal: what is deleted there
/// lies around until it is written over.
fn files_left(folder: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = files_with(folder, text);
    found
        .retain(|path| !path.starts_with(folder.join("store/tree")) && !path.starts_with(folder.join("store/journal")));
    found
}

fn folders_of(data: &Path, tenant: &str) -> [bool; 2] {
    [data.join("store/blobs").join(tenant), data.join("workspaces").join(tenant)].map(|folder| folder.exists())
}

/// Everything that can be asked with a key of a tenant that has left nothing.
async fn has_nothing(host: &Host, key: &str) {
    for list in ["agents", "runs", "sessions", "secrets", "webhooks/deliveries", &format!("corpora/{MARK}/documents")] {
        let (status, page) = host.json_as(key, Method::GET, &format!("/v1/{list}"), None).await;
        assert_eq!((status, &page["data"]), (200, &json!([])), "{list}: {page}");
    }
    let (_, plugins) = host.json_as(key, Method::GET, "/v1/plugins", None).await;
    assert!(plugins["data"].as_array().unwrap().iter().all(|plugin| plugin["shared"] == true), "{plugins}");
    for one in [format!("agents/{MARK}"), format!("sessions/{MARK}")] {
        assert_eq!(host.json_as(key, Method::GET, &format!("/v1/{one}"), None).await.0, 404, "{one}");
    }
}

#[tokio::test]
async fn a_tenant_goes_whole_while_the_host_runs_and_its_neighbour_stays() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text(&format!("It is {MARK}.")));
    let (host, keys) = host_of_two(|builder| builder.model(&model)).await;
    let digest = settle_in(&host, &keys.foreign).await;
    assert_eq!(folders_of(host.data(), "other"), [true, true]);
    assert!(files_left(host.data(), MARK).len() >= 3, "{:?}", files_left(host.data(), MARK));
    // The component, and its compiled form with its checksum.
    assert_eq!(files_left(host.data(), &digest).len(), 3);
    let stays = host.post_ok("/v1/runs", &json!({"input": "go", "sessionId": MARK})).await;
    // A run that goes on, and somebody who follows it.
    model.then(endless());
    let body = json!({"input": "go", "background": true});
    let (_, open) = host.json_as(&keys.foreign, Method::POST, "/v1/runs", Some(&body)).await;
    model.received(5).await;
    let path = format!("/v1/runs/{}/events", id(&open));
    let request = host.client().get(host.url(&path)).bearer_auth(&keys.foreign).header("accept", "text/event-stream");
    let stream = SseStream::new(host.send(request).await);

    for (key, tenant, status) in [
        (keys.foreign.as_str(), "other", 403),
        (keys.unfit.as_str(), "other", 403),
        (keys.foreign_admin.as_str(), "other", 409),
        (host.key(), "default", 409),
        (host.key(), "nobody", 404),
        (host.key(), "_operator", 404),
        (host.key(), "No%20tenant", 404),
    ] {
        let (found, told) = host.json_as(key, Method::DELETE, &format!("/v1/admin/tenants/{tenant}"), None).await;
        assert_eq!(found, status, "{tenant}: {told}");
    }
    assert_eq!(delete(&host, "/v1/admin/tenants/other").await, (204, Value::Null));
    let last = soon("the end of the stream", stream.rest()).await.pop().unwrap();
    assert!(matches!(last.event.as_deref(), Some("run.cancelled" | "error")), "{last:?}");
    for key in [&keys.foreign, &keys.foreign_admin] {
        let (status, told) = host.json_as(key, Method::GET, "/v1/agents", None).await;
        assert_eq!((status, &told["error"]["code"]), (401, &json!("invalid_api_key")), "{told}");
    }
    assert_eq!(folders_of(host.data(), "other"), [false, false]);
    assert_eq!(delete(&host, "/v1/admin/tenants/other").await.0, 404);
    assert_eq!(get(&host, &format!("/v1/runs/{}", id(&stays))).await.0, 200);
    assert_eq!(get(&host, &format!("/v1/sessions/{MARK}/messages")).await.1["data"].as_array().unwrap().len(), 2);

    // Of the neighbour's session of the same name nothing outside the store holds the name.
    let (_, data) = host.stop().await;
    assert_eq!(files_left(data.path(), MARK), [] as [PathBuf; 0]);
    assert_eq!(files_left(data.path(), &digest), [] as [PathBuf; 0]);
    // Another tenant of the same id finds nothing.
    let cli = Cli::on(data.path());
    assert!(!cli.output(&["tenant", "list"]).await.contains("other"));
    cli.output(&["tenant", "create", "other"]).await;
    let key = cli.output(&["key", "create", "--tenant", "other", "--scope", "admin"]).await;
    let host = Host::builder().data(data).start().await;
    has_nothing(&host, &key).await;
}

#[tokio::test]
async fn a_tenant_of_a_closed_folder_is_deleted_if_it_is_meant() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text(&format!("It is {MARK}.")));
    let (host, keys) = host_of_two(|builder| builder.model(&model)).await;
    let digest = settle_in(&host, &keys.foreign).await;
    let (_, data) = host.stop().await;
    let cli = Cli::on(data.path());
    for (arguments, code, says) in [
        (&["tenant", "delete", "other"][..], 2, "add --yes if that is meant"),
        (&["tenant", "delete", "default"], 2, "add --yes if that is meant"),
        (&["tenant", "delete", "_operator", "--yes"], 2, "_operator is no tenant"),
        (&["tenant", "delete", "nobody", "--yes"], 1, "there is no tenant nobody"),
    ] {
        let output = cli.run(arguments).await;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(code) && told.contains(says), "{arguments:?}: {}, {told}", output.status);
    }
    assert_eq!(folders_of(data.path(), "other"), [true, true]);
    cli.output(&["tenant", "delete", "other", "--yes"]).await;
    assert_eq!(folders_of(data.path(), "other"), [false, false]);
    assert_eq!(files_left(data.path(), MARK), [] as [PathBuf; 0]);
    assert_eq!(files_left(data.path(), &digest), [] as [PathBuf; 0]);
    assert!(!cli.output(&["tenant", "list"]).await.contains("other"));
    cli.output(&["doctor"]).await;
    // What lingers in the store's files is in no backup, and so not in a folder that one is restored into.
    let (place, anew) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let backup = place.path().join("backup.tar");
    let backup = backup.to_str().unwrap();
    cli.output(&["backup", backup, "--data", data.path().to_str().unwrap()]).await;
    Cli::on(anew.path()).output(&["restore", backup]).await;
    for folder in [place.path(), anew.path()] {
        assert_eq!(files_with(folder, MARK), [] as [PathBuf; 0]);
    }
    // The last one, too; then the folder begins anew.
    cli.output(&["tenant", "delete", "default", "--yes"]).await;
    assert_eq!(cli.output(&["tenant", "list"]).await, "");
    let host = Host::builder().data(data).start().await;
    assert_eq!(get(&host, "/v1/agents").await, (200, json!({"data": [], "next": null})));
}

#[tokio::test]
async fn a_deletion_that_a_crash_has_interrupted_is_finished_by_the_next_start() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text(&format!("It is {MARK}.")));
    let (host, keys) = host_of_two(|builder| builder.model(&model)).await;
    let digest = settle_in(&host, &keys.foreign).await;
    let (_, data) = host.stop().await;
    // What a deletion does first; then the power goes.
    assert!(store_of(data.path()).close_tenant(&"other".parse().unwrap(), &AuditBy::HOST).await.unwrap());
    assert_eq!(folders_of(data.path(), "other"), [true, true]);
    let host = Host::builder().data(data).start().await;
    host.says("whose deletion the last process had not finished").await;
    assert_eq!(folders_of(host.data(), "other"), [false, false]);
    assert_eq!(host.json_as(&keys.foreign, Method::GET, "/v1/agents", None).await.0, 401);
    let (_, data) = host.stop().await;
    assert_eq!(files_left(data.path(), MARK), [] as [PathBuf; 0]);
    assert_eq!(files_left(data.path(), &digest), [] as [PathBuf; 0]);
    assert!(store_of(data.path()).closed_tenants().await.unwrap().is_empty());
}
