//! What a run costs from end to end: over HTTP, through a chat mode in a fresh instance, with its log on disk, against a model server that
//! answers at once; beside a bare axum relay to the same model server. Load generator, model, relay and host share the machine.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a bench that can not go on ends"
)]

use std::sync::{Mutex, OnceLock};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::header;
use axum::routing::{get, post};
use divan::Bencher;
use divan::counter::ItemsCount;
use futures::future::join_all;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use vivarium_tests::{Host, http_client};

fn main() {
    divan::main();
    // What is static is never dropped, and a server that nobody stops would outlive this program.
    if let Some(stage) = STAGE.get() {
        let _entered = stage.runtime.enter();
        drop(stage.host.lock().unwrap().take());
    }
}

/// What the model says, as one stream of 16 tokens.
fn stream_of_tokens() -> Bytes {
    let chunk = |delta: Value, reason: Option<&str>| {
        let choice = json!({"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason});
        let chunk = json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "bench", "choices": [choice]});
        format!("data: {chunk}\n\n")
    };
    let mut all = chunk(json!({"role": "assistant", "content": ""}), None);
    for token in 0..16 {
        all.push_str(&chunk(json!({"content": format!("tok{token} ")}), None));
    }
    all.push_str(&chunk(json!({}), Some("stop")));
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 16, "total_tokens": 26});
    let last = json!({
        "id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": "bench", "choices": [], "usage": usage,
    });
    all.push_str(&format!("data: {last}\n\ndata: [DONE]\n\n"));
    all.into()
}

/// The same in one piece.
fn whole_answer() -> Bytes {
    let text: String = (0..16).map(|token| format!("tok{token} ")).collect();
    let choice = json!({"index": 0, "message": {"role": "assistant", "content": text}, "logprobs": null, "finish_reason": "stop"});
    let usage = json!({"prompt_tokens": 10, "completion_tokens": 16, "total_tokens": 26});
    let answer = json!({"id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": "bench", "choices": [choice], "usage": usage});
    answer.to_string().into()
}

async fn serve(routes: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    address
}

/// A model server without delay and without a script.
async fn model() -> String {
    let (streamed, whole) = (stream_of_tokens(), whole_answer());
    let complete = async move |body: Bytes| {
        let request: Value = serde_json::from_slice(&body).unwrap();
        let (media_type, answer) = if request["stream"] == json!(true) {
            ("text/event-stream", streamed)
        } else {
            ("application/json", whole)
        };
        ([(header::CONTENT_TYPE, media_type)], answer)
    };
    let models =
        json!({"object": "list", "data": [{"id": "bench", "object": "model", "created": 0, "owned_by": "bench"}]});
    let listed = async move || axum::Json(models);
    serve(Router::new().route("/v1/chat/completions", post(complete)).route("/v1/models", get(listed))).await
}

/// The floor: takes the client's words, asks the model, and relays the answer unread.
async fn relay(model: &str) -> String {
    #[derive(Clone)]
    struct Relay {
        client: Client,
        model: String,
    }
    async fn run(State(relay): State<Relay>, axum::Json(request): axum::Json<Value>) -> Body {
        let messages = json!([
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": request["query"]},
        ]);
        let body = json!({"model": "bench", "messages": messages, "stream": true});
        let answer = relay.client.post(&relay.model).bearer_auth("x").json(&body).send().await.unwrap();
        Body::from(answer.bytes().await.unwrap())
    }
    let state = Relay { client: http_client(), model: format!("{model}/v1/chat/completions") };
    serve(Router::new().route("/v1/agent/run", post(run)).with_state(state)).await
}

/// All that is measured, started once, by the first bench that needs it.
struct Stage {
    runtime: Runtime,
    client: Client,
    relay: String,
    address: String,
    key: String,
    host: Mutex<Option<Host>>,
}

static STAGE: OnceLock<Stage> = OnceLock::new();

impl Stage {
    fn get() -> &'static Self {
        STAGE.get_or_init(|| {
            let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let (relay, host) = runtime.block_on(async {
                let model = model().await;
                let relay = relay(&model).await;
                let host = Host::builder()
                    .environment("OPENAI_BASE_URL", format!("{model}/v1"))
                    .environment("OPENAI_API_KEY", "sk-of-the-bench")
                    .environment("VIVARIUM_MODEL", "openai/bench");
                (relay, host.start().await)
            });
            let (address, key) = (host.address().to_owned(), host.key().to_owned());
            Self { runtime, client: http_client(), relay, address, key, host: Mutex::new(Some(host)) }
        })
    }
}

async fn one(client: &Client, url: &str, key: &str) {
    let body = json!({"query": "Say something.", "mode": "chat"});
    let response = client.post(url).bearer_auth(key).json(&body).send().await.unwrap();
    let status = response.status();
    let text = response.text().await.unwrap();
    assert!(status.is_success() && text.contains("tok15"), "{status} {text}");
}

fn measure(bencher: Bencher<'_, '_>, concurrent: usize, address: &str) {
    let url = format!("{address}/v1/agent/run");
    let stage = Stage::get();
    bencher.counter(ItemsCount::new(concurrent)).bench_local(|| {
        stage.runtime.block_on(async {
            join_all((0..concurrent).map(|_| one(&stage.client, &url, &stage.key))).await;
        });
    });
}

#[divan::bench(args = [1, 64], sample_count = 300, sample_size = 1)]
fn chat_run_through_the_host(bencher: Bencher<'_, '_>, concurrent: usize) {
    measure(bencher, concurrent, &Stage::get().address);
}

#[divan::bench(args = [1, 64], sample_count = 300, sample_size = 1)]
fn the_same_through_a_bare_relay(bencher: Bencher<'_, '_>, concurrent: usize) {
    measure(bencher, concurrent, &Stage::get().relay);
}
