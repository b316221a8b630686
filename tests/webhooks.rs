//! Clients' servers are told of runs' ends: signed, through the same door as everything else, again and again until it arrives,
//! and after kill -9.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vivarium_tests::{Answer, Host, HostBuilder, ScriptedModel, host_of_two, soon};

const AGENTS: &str = "/api/v2/ai-agents/v1/agents";

/// What came in.
#[derive(Clone)]
struct Received {
    id: String,
    timestamp: String,
    signature: String,
    body: Bytes,
}

struct Script {
    /// What is answered, in order; the last one again and again.
    answers: Vec<StatusCode>,
    received: watch::Sender<Vec<Received>>,
}

/// A client's own server. It stops when it is dropped.
struct Receiver {
    address: String,
    script: Arc<Script>,
    server: JoinHandle<()>,
}

impl Receiver {
    async fn answering(answers: &[u16]) -> Self {
        Self::on("127.0.0.1:0", answers).await
    }

    async fn on(address: &str, answers: &[u16]) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let answers = answers.iter().map(|status| StatusCode::from_u16(*status).unwrap()).collect();
        let script = Arc::new(Script { answers, received: watch::Sender::new(Vec::new()) });
        let routes = Router::new().route("/done", post(receive)).with_state(Arc::clone(&script));
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, script, server }
    }

    fn url(&self) -> String {
        format!("http://{}/done", self.address)
    }

    /// Waits until so many deliveries have come.
    async fn received(&self, count: usize) -> Vec<Received> {
        let mut received = self.script.received.subscribe();
        soon("a delivery", received.wait_for(|all| all.len() >= count)).await.unwrap().clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn receive(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let header = |name: &str| headers[name].to_str().unwrap().to_owned();
    let (id, timestamp) = (header("webhook-id"), header("webhook-timestamp"));
    let received = Received { id, timestamp, signature: header("webhook-signature"), body };
    let before = script.received.borrow().len();
    script.received.send_modify(|all| all.push(received));
    *script.answers.get(before).or(script.answers.last()).unwrap()
}

/// A host that may reach these places and waits shortly between attempts.
fn reaching(places: &[&Receiver]) -> HostBuilder {
    let places: Vec<String> = places.iter().map(|place| place.address.clone()).collect();
    configured(&json!(places).to_string())
}

fn configured(places: &str) -> HostBuilder {
    Host::builder().config(&format!("webhook_first_retry_ms = 20\ndangerously_allow_private_addresses = {places}\n"))
}

async fn agent(host: &Host) -> String {
    let body = json!({
        "name": "a", "teamId": 1, "makeConnectionId": 1, "defaultModel": "scripted", "systemPrompt": "do what user says"
    });
    let (status, agent) = host.json(Method::POST, AGENTS, Some(&body)).await;
    assert_eq!(status, 201, "{agent}");
    format!("{AGENTS}/{}/run?teamId=1", agent["id"].as_str().unwrap())
}

fn ask(callback: &str) -> Value {
    json!({"messages": [{"role": "user", "content": "Hello?"}], "callbackUrl": callback})
}

/// Runs the agent with a callback. Gives the run's id and the answer.
async fn run(host: &Host, path: &str, callback: &str) -> (String, Value) {
    let response = host.post(path, &ask(callback)).await;
    let run = response.headers()["x-run-id"].to_str().unwrap().to_owned();
    (run, response.json().await.unwrap())
}

/// The record of a delivery, once it is no longer pending.
async fn settled(host: &Host, run: &str) -> Value {
    let settled = async {
        loop {
            let (status, delivery) = host.json(Method::GET, &format!("/v1/webhooks/deliveries/{run}"), None).await;
            assert_eq!(status, 200, "{delivery}");
            if delivery["status"] != "pending" {
                return delivery;
            }
            // Nothing tells of a record's change but the record.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon("the end of a delivery", settled).await
}

/// As a receiver checks it: HMAC-SHA256 of id, time and body.
fn verify(received: &Received, secret: &str) {
    let key = STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let (id, timestamp) = (received.id.as_bytes(), received.timestamp.as_bytes());
    let code = vivarium_domain::hmac_sha256(&key, &[id, b".", timestamp, b".", &received.body]);
    assert_eq!(received.signature, format!("v1,{}", STANDARD.encode(code)));
}

async fn secret(host: &Host) -> String {
    let (status, answer) = host.json(Method::GET, "/v1/webhooks/secret", None).await;
    assert_eq!(status, 200, "{answer}");
    answer["secret"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_callback_is_the_runs_answer_signed_with_the_tenants_secret() {
    let (model, receiver) = (ScriptedModel::start().await, Receiver::answering(&[204]).await);
    model.always(Answer::text("An answer."));
    let host = reaching(&[&receiver]).model(&model).start().await;
    let path = agent(&host).await;
    let (id, answer) = run(&host, &path, &receiver.url()).await;
    let received = receiver.received(1).await.remove(0);
    assert_eq!(received.id, id);
    assert_eq!(serde_json::from_slice::<Value>(&received.body).unwrap(), answer, "the same words");
    verify(&received, &secret(&host).await);
    let delivery = settled(&host, &id).await;
    assert_eq!((&delivery["status"], &delivery["form"]), (&json!("delivered"), &json!("make")), "{delivery}");
    assert_eq!(delivery["attempts"][0]["status"], 204);
    assert_eq!(delivery["attempts"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_run_of_the_native_api_is_told_as_its_record() {
    let (model, receiver) = (ScriptedModel::start().await, Receiver::answering(&[200]).await);
    model.always(Answer::text("An answer."));
    let host = reaching(&[&receiver]).model(&model).start().await;
    let body = json!({"input": "Hello?", "mode": "chat", "webhookUrl": receiver.url()});
    let id = host.post_ok("/v1/runs", &body).await["id"].as_str().unwrap().to_owned();
    let received = receiver.received(1).await.remove(0);
    assert_eq!(received.id, id);
    verify(&received, &secret(&host).await);
    let (_, record) = host.json(Method::GET, &format!("/v1/runs/{id}"), None).await;
    assert_eq!(serde_json::from_slice::<Value>(&received.body).unwrap(), record);
    assert_eq!(settled(&host, &id).await["form"], "native");
}

#[tokio::test]
async fn a_run_that_fails_is_told_as_an_error() {
    let (model, receiver) = (ScriptedModel::start().await, Receiver::answering(&[200]).await);
    model.always(Answer::Refusal(StatusCode::UNAUTHORIZED));
    let host = reaching(&[&receiver]).model(&model).start().await;
    let path = agent(&host).await;
    let (_, error) = run(&host, &path, &receiver.url()).await;
    let received = receiver.received(1).await.remove(0);
    let mut told: Value = serde_json::from_slice(&received.body).unwrap();
    assert!(told.as_object_mut().unwrap().remove("threadId").is_some(), "{told}");
    assert_eq!((&told, &told["code"]), (&error, &json!("SC424")));
}

#[tokio::test]
async fn a_callback_to_this_machine_is_refused_without_the_operators_exception() {
    let (model, receiver) = (ScriptedModel::start().await, Receiver::answering(&[200]).await);
    model.always(Answer::text("An answer."));
    let host = configured("[]").model(&model).start().await;
    let path = agent(&host).await;
    for (url, why) in [
        (receiver.url(), "is not on the public internet"),
        ("http://localhost/done".to_owned(), "is not on the public internet"),
        ("http://169.254.169.254/latest".to_owned(), "is not on the public internet"),
        ("http://[::1]:9/".to_owned(), "is not on the public internet"),
    ] {
        let (id, answer) = run(&host, &path, &url).await;
        assert_eq!(answer["response"], "An answer.", "the run itself is fine");
        let delivery = settled(&host, &id).await;
        assert_eq!(delivery["status"], "failed", "{delivery}");
        let error = delivery["attempts"][0]["error"].as_str().unwrap();
        assert!(error.contains(why), "{error}");
        assert!(delivery["attempts"][0].get("status").is_none(), "{delivery}");
    }
    assert!(receiver.script.received.borrow().is_empty());
}

#[tokio::test]
async fn a_busy_server_is_told_again_until_it_takes_it_and_one_that_refuses_is_not() {
    let (model, busy) = (ScriptedModel::start().await, Receiver::answering(&[503, 429, 200]).await);
    let (refusing, moved) = (Receiver::answering(&[404]).await, Receiver::answering(&[302]).await);
    model.always(Answer::text("An answer."));
    let host = reaching(&[&busy, &refusing, &moved]).model(&model).start().await;
    let path = agent(&host).await;
    let (id, _) = run(&host, &path, &busy.url()).await;
    let received = busy.received(3).await;
    let secret = secret(&host).await;
    for one in &received {
        assert_eq!((&one.id, &one.body), (&id, &received[0].body), "one message");
        verify(one, &secret);
    }
    let delivery = settled(&host, &id).await;
    let statuses: Vec<&Value> = delivery["attempts"].as_array().unwrap().iter().map(|one| &one["status"]).collect();
    assert_eq!((&delivery["status"], statuses), (&json!("delivered"), vec![&json!(503), &json!(429), &json!(200)]));
    for receiver in [&refusing, &moved] {
        let (id, _) = run(&host, &path, &receiver.url()).await;
        let delivery = settled(&host, &id).await;
        assert_eq!(delivery["status"], "failed", "{delivery}");
        assert_eq!(receiver.script.received.borrow().len(), 1);
    }
}

#[tokio::test]
async fn a_delivery_that_was_asked_for_is_made_after_kill_9() {
    let model = ScriptedModel::start().await;
    // Nobody is there yet.
    let address = {
        let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap();
        nobody.local_addr().unwrap().to_string()
    };
    let url = format!("http://{address}/done");
    model.then(Answer::text("An answer."));
    let builder = configured(&json!([address]).to_string());
    let host = builder.model(&model).environment("VIVARIUM_WEBHOOK_FIRST_RETRY_MS", "3000").start().await;
    let path = agent(&host).await;
    let (ended, answer) = run(&host, &path, &url).await;
    // And one whose run is under way when the host dies. The head of its stream says that it was accepted.
    model.then(Answer::Silence);
    let accepted = host.post(&path.replace("/run?", "/run/stream?"), &ask(&url)).await;
    assert_eq!(accepted.status().as_u16(), 200);
    model.received(2).await;
    let data = host.kill().await;

    // The run goes on with the next host, and its end is told then.
    model.then(Answer::text("A late answer."));
    let receiver = Receiver::on(&address, &[200]).await;
    let file = data.path().join("test.toml");
    let host = Host::builder().data(data).argument("--config").argument(file).model(&model).start().await;
    let received = receiver.received(2).await;
    let secret = secret(&host).await;
    for one in &received {
        verify(one, &secret);
    }
    let of = |id: &str| received.iter().find(|one| one.id == id);
    let first = of(&ended).unwrap_or_else(|| panic!("the run {ended} is not told of"));
    assert_eq!(serde_json::from_slice::<Value>(&first.body).unwrap(), answer, "the same words as before");
    let other = received.iter().find(|one| one.id != ended).unwrap();
    let told: Value = serde_json::from_slice(&other.body).unwrap();
    assert!(told.to_string().contains("A late answer."), "{told}");
    for one in &received {
        assert_eq!(settled(&host, &one.id).await["status"], "delivered");
    }
}

#[tokio::test]
async fn deliveries_are_listed_by_pages_and_are_nobody_elses() {
    let (model, receiver) = (ScriptedModel::start().await, Receiver::answering(&[200]).await);
    model.always(Answer::text("An answer."));
    let places = json!([receiver.address]).to_string();
    let (host, keys) = host_of_two(|builder| {
        builder.config(&format!("dangerously_allow_private_addresses = {places}\n")).model(&model)
    })
    .await;
    let path = agent(&host).await;
    let mut ids = Vec::new();
    for _ in 0..3 {
        ids.push(run(&host, &path, &receiver.url()).await.0);
    }
    ids.reverse();
    let deliveries = "/v1/webhooks/deliveries";
    let (status, page) = host.json(Method::GET, &format!("{deliveries}?limit=2"), None).await;
    assert_eq!(status, 200, "{page}");
    let next = page["next"].as_str().unwrap();
    let (_, rest) = host.json(Method::GET, &format!("{deliveries}?limit=2&cursor={next}"), None).await;
    let shown = [&page, &rest].into_iter().flat_map(|page| page["data"].as_array().unwrap());
    assert_eq!(shown.map(|one| one["runId"].as_str().unwrap()).collect::<Vec<_>>(), ids, "newest first");
    assert_eq!(rest["next"], Value::Null);

    let (_, none) = host.json_as(&keys.foreign, Method::GET, deliveries, None).await;
    assert_eq!(none["data"], json!([]));
    let foreign = host.json_as(&keys.foreign, Method::GET, &format!("{deliveries}/{}", ids[0]), None).await;
    let unknown = host.json(Method::GET, &format!("{deliveries}/01900000-0000-7000-8000-000000000000"), None).await;
    assert_eq!((foreign.0, &foreign), (404, &unknown));
    assert_eq!(host.json(Method::GET, &format!("{deliveries}/x"), None).await.0, 404);
    let (_, other) = host.json_as(&keys.foreign, Method::GET, "/v1/webhooks/secret", None).await;
    assert_ne!(other["secret"], json!(secret(&host).await));
    assert_eq!(host.json_as(&keys.unfit, Method::GET, deliveries, None).await.0, 403);
    for bad in ["limit=0", "limit=201", "limit=x", "cursor=x", "page=1"] {
        assert_eq!(host.json(Method::GET, &format!("{deliveries}?{bad}"), None).await.0, 400, "{bad}");
    }
}
