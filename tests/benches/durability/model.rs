//! A model server that does what a run's input says: `<tool> <calls> <end>` makes so many calls of a tool, one after the other and
//! at once, and then answers or is silent.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Requests that are not answered: how many came, and how many of them were given up.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Silent {
    pub(crate) came: usize,
    pub(crate) left: usize,
}

pub(crate) struct Model {
    address: std::net::SocketAddr,
    silent: Arc<watch::Sender<Silent>>,
    server: JoinHandle<()>,
}

impl Drop for Model {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// A request that is not answered. Dropped when its connection is.
struct Kept(Arc<watch::Sender<Silent>>);

impl Drop for Kept {
    fn drop(&mut self) {
        self.0.send_modify(|silent| silent.left += 1);
    }
}

impl Model {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let silent = Arc::new(watch::Sender::new(Silent::default()));
        let models =
            json!({"object": "list", "data": [{"id": "bench", "object": "model", "created": 0, "owned_by": "bench"}]});
        let routes = Router::new()
            .route("/v1/models", get(move || async move { axum::Json(models) }))
            .route("/v1/chat/completions", post(complete))
            .with_state(Arc::clone(&silent));
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        let server = tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
        Self { address, silent, server }
    }

    pub(crate) fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn silent(&self) -> Silent {
        *self.silent.borrow()
    }

    /// Waits until this is so.
    pub(crate) async fn until(&self, is_so: impl FnMut(&Silent) -> bool) {
        self.silent.subscribe().wait_for(is_so).await.unwrap();
    }
}

async fn complete(State(silent): State<Arc<watch::Sender<Silent>>>, axum::Json(body): axum::Json<Value>) -> Response {
    let messages = body["messages"].as_array().unwrap();
    let last = messages.iter().rposition(|message| message["role"] == "user").unwrap();
    let content = &messages[last]["content"];
    let wish: Vec<&str> = content.as_str().or_else(|| content[0]["text"].as_str()).unwrap().split(' ').collect();
    let done = messages[last..].iter().filter(|message| message["role"] == "tool").count();
    let chunk = |choices: Value| json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": body["model"], "choices": choices});
    let delta = |delta: Value, reason: Option<&str>| {
        format!("data: {}\n\n", chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}])))
    };
    let mut all = delta(json!({"role": "assistant", "content": ""}), None);
    if done < wish[1].parse().unwrap() {
        let function = json!({"name": wish[0], "arguments": json!({"number": done}).to_string()});
        let call = json!({"index": 0, "id": format!("call_{done}"), "type": "function", "function": function});
        all.push_str(&delta(json!({"tool_calls": [call]}), None));
        all.push_str(&delta(json!({}), Some("tool_calls")));
    } else if wish[2] == "silence" {
        let _kept = Kept(Arc::clone(&silent));
        silent.send_modify(|silent| silent.came += 1);
        return std::future::pending().await;
    } else {
        for token in 0..16 {
            all.push_str(&delta(json!({"content": format!("tok{token} ")}), None));
        }
        all.push_str(&delta(json!({}), Some("stop")));
    }
    let mut usage = chunk(json!([]));
    usage["usage"] = json!({"prompt_tokens": 10, "completion_tokens": 16, "total_tokens": 26});
    all.push_str(&format!("data: {usage}\n\ndata: [DONE]\n\n"));
    ([("content-type", "text/event-stream")], all).into_response()
}
