//! What the runs of the crash test talk to: a model server that answers by what it is asked, so that the same question gets the same
//! answer, as from a provider that honours `Idempotency-Key`; and a service in which tools leave effects. Both write down who asked.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Uri, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures::{StreamExt as _, stream};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use super::dice::Dice;

/// A question to the model.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    /// The host's process that asked: which one of all.
    pub(super) life: usize,
    pub(super) body: Value,
}

/// A tool's request to the service.
#[derive(Debug, Clone)]
pub(super) struct Effect {
    pub(super) key: String,
}

#[derive(Default)]
struct Books {
    /// By idempotency key.
    asked: BTreeMap<String, Vec<Asked>>,
    /// By path: there is one for each call.
    effects: BTreeMap<String, Vec<Effect>>,
}

/// Both servers. They stop when this is dropped.
pub(super) struct Provider {
    address: std::net::SocketAddr,
    books: Arc<Mutex<Books>>,
    server: JoinHandle<()>,
}

impl Provider {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let books = Arc::<Mutex<Books>>::default();
        let models =
            json!({"object": "list", "data": [{"id": "crash", "object": "model", "created": 0, "owned_by": "test"}]});
        let effects = format!("{address}");
        let answer = move |State(books): State<Arc<Mutex<Books>>>, headers: HeaderMap, body: Bytes| async move {
            complete(&books, &effects, &headers, &body)
        };
        let routes = Router::new()
            .route("/v1/models", get(move || async move { axum::Json(models) }))
            .route("/v1/chat/completions", post(answer))
            .route("/effect/{*call}", get(leave_effect))
            .with_state(Arc::clone(&books));
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, books, server }
    }

    pub(super) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Where tools leave their effects.
    pub(super) fn place(&self) -> String {
        self.address.to_string()
    }

    /// All questions so far, by idempotency key.
    pub(super) fn asked(&self) -> BTreeMap<String, Vec<Asked>> {
        self.books.lock().unwrap().asked.clone()
    }

    /// All effects so far, by the call that has them.
    pub(super) fn effects(&self) -> BTreeMap<String, Vec<Effect>> {
        self.books.lock().unwrap().effects.clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The provider's key of one of the host's processes.
pub(super) fn key_of(life: usize) -> String {
    format!("sk-life-{life}")
}

async fn leave_effect(State(books): State<Arc<Mutex<Books>>>, uri: Uri, headers: HeaderMap) -> &'static str {
    let key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut dice = Dice::of(uri.path());
    books.lock().unwrap().effects.entry(uri.path().to_owned()).or_default().push(Effect { key });
    tokio::time::sleep(dice.pause(20, 250)).await;
    "done"
}

/// What a run's input asks for: `<tool> <name> <calls>`.
struct Wish<'a> {
    tool: &'a str,
    name: &'a str,
    calls: usize,
}

/// The run's input, and how many of its tool calls are answered.
fn wish(body: &Value) -> (Wish<'_>, usize) {
    let messages = body["messages"].as_array().unwrap();
    let last = messages.iter().rposition(|message| message["role"] == "user").unwrap();
    let content = &messages[last]["content"];
    let text = content.as_str().or_else(|| content[0]["text"].as_str()).unwrap();
    let mut words = text.split(' ');
    let mut word = || words.next().unwrap_or_else(|| panic!("{text:?} is no wish"));
    let wish = Wish { tool: word(), name: word(), calls: word().parse().unwrap() };
    (wish, messages[last..].iter().filter(|message| message["role"] == "tool").count())
}

fn complete(books: &Mutex<Books>, effects: &str, headers: &HeaderMap, body: &[u8]) -> Response {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let body: Value = serde_json::from_slice(body).unwrap();
    let life = text("authorization").rsplit('-').next().and_then(|life| life.parse().ok()).unwrap();
    let key = text("idempotency-key").to_owned();
    books.lock().unwrap().asked.entry(key).or_default().push(Asked { life, body: body.clone() });
    let mut hasher = DefaultHasher::new();
    body.to_string().hash(&mut hasher);
    assert_eq!(body["stream"], json!(true), "{body}");
    let pieces = pieces(&body, effects, Dice::new(hasher.finish()));
    let timed = stream::iter(pieces).then(|(pause, piece)| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, Infallible>(format!("data: {piece}\n\n"))
    });
    ([(header::CONTENT_TYPE, "text/event-stream")], Body::from_stream(timed)).into_response()
}

/// A streamed answer: some words, and a call of the tool while there are calls to make.
fn pieces(body: &Value, effects: &str, mut dice: Dice) -> Vec<(Duration, String)> {
    let (Wish { tool, name, calls }, done) = wish(body);
    let chunk = |choices: Value| json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": body["model"], "choices": choices});
    let delta = |delta: Value, reason: Option<&str>| {
        chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}]))
    };
    let mut pieces = vec![(dice.pause(10, 150), delta(json!({"role": "assistant"}), None))];
    let calling = done < calls;
    let words = if calling { dice.between(0, 4) } else { dice.between(6, 18) };
    for number in 0..words {
        let space = if number == 0 { "" } else { " " };
        let word = format!("{space}{:x}", dice.between(0, 0xffff));
        pieces.push((dice.pause(10, 45), delta(json!({"content": word}), None)));
    }
    let mut soon = |piece| pieces.push((dice.pause(0, 10), piece));
    let reason = if calling {
        let path = format!("/effect/{tool}/{name}/{done}");
        let arguments = json!({"do": "fetch once", "authority": effects, "path": path}).to_string();
        let function = json!({"name": tool, "arguments": arguments});
        let call = json!({"index": 0, "id": format!("call_{done}"), "type": "function", "function": function});
        soon(delta(json!({"tool_calls": [call]}), None));
        "tool_calls"
    } else {
        "stop"
    };
    soon(delta(json!({}), Some(reason)));
    let mut usage = chunk(json!([]));
    usage["usage"] = json!({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15});
    soon(usage);
    let done = (Duration::ZERO, "[DONE]".to_owned());
    pieces.into_iter().map(|(pause, piece)| (pause, piece.to_string())).chain(std::iter::once(done)).collect()
}
