//! A model server that says what a test tells it to say, in the format of OpenAI's chat completions and over a real socket: streaming or not,
//! tool calls, and the ways in which such a server fails.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use futures::StreamExt as _;
use futures::stream;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::soon;

/// A tool that the model asks for.
#[derive(Debug, Clone)]
pub struct ToolRequest {
    /// The call's id.
    pub id: String,
    /// The tool's name.
    pub name: String,
    /// Its arguments.
    pub arguments: Value,
}

/// What the model server does with one request.
#[derive(Debug, Clone)]
pub enum Answer {
    /// Says these tokens.
    Tokens(Vec<String>),
    /// Says these tokens and waits so long before each.
    Slowly(Vec<String>, Duration),
    /// Asks for tools, all in one answer.
    Tools(Vec<ToolRequest>),
    /// 429 with `Retry-After` in seconds.
    TooMany {
        /// How long to wait.
        retry_after_seconds: u64,
    },
    /// This status and a vendor-shaped error.
    Refusal(StatusCode),
    /// 200 and something that is no answer.
    Garbage,
    /// These tokens, and then the connection breaks.
    Cut(Vec<String>),
    /// Takes the request and never says a word.
    Silence,
    /// This status and this body.
    Error(StatusCode, Value),
    /// Says these tokens, and that so many were read.
    Counted(Vec<String>, u64),
    /// What this makes of the request.
    By(fn(&Value) -> Answer),
}

impl Answer {
    /// One text, cut into tokens at its spaces.
    #[must_use]
    pub fn text(text: &str) -> Self {
        Self::Tokens(tokens(text))
    }

    /// One tool call.
    #[must_use]
    pub fn tool(name: &str, arguments: Value) -> Self {
        Self::Tools(vec![ToolRequest { id: "call_1".to_owned(), name: name.to_owned(), arguments }])
    }
}

fn tokens(text: &str) -> Vec<String> {
    text.split_inclusive(' ').map(str::to_owned).collect()
}

/// A request that came.
#[derive(Debug, Clone)]
struct Received {
    authorization: String,
    idempotency_key: Option<String>,
    body: Value,
}

/// From a request to what is answered.
type Rule = Box<dyn Fn(&Value) -> Answer + Send + Sync>;

struct Script {
    ahead: Mutex<VecDeque<Answer>>,
    rule: Mutex<Option<Rule>>,
    otherwise: Mutex<Option<Answer>>,
    received: watch::Sender<Vec<Received>>,
    /// Requests that were met with silence and given up.
    given_up: watch::Sender<usize>,
}

/// A request that is met with silence. Dropped when its connection is.
struct Unanswered(Arc<Script>);

impl Drop for Unanswered {
    fn drop(&mut self) {
        self.0.given_up.send_modify(|count| *count += 1);
    }
}

/// The server. It stops when it is dropped.
pub struct ScriptedModel {
    address: std::net::SocketAddr,
    script: Arc<Script>,
    server: JoinHandle<()>,
}

impl ScriptedModel {
    /// Starts on a free port.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let script = Arc::new(Script {
            ahead: Mutex::default(),
            rule: Mutex::default(),
            otherwise: Mutex::default(),
            received: watch::Sender::new(Vec::new()),
            given_up: watch::Sender::default(),
        });
        let models = json!({"object": "list", "data": [{"id": "scripted", "object": "model", "created": 0, "owned_by": "test"}]});
        let routes = Router::new()
            .route("/v1/models", get(move || async move { axum::Json(models) }))
            .route("/v1/chat/completions", post(complete))
            .with_state(Arc::clone(&script));
        let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
            let _ = stream.set_nodelay(true);
        });
        let server = tokio::spawn(async move {
            axum::serve(listener, routes).await.expect("a loopback server goes on");
        });
        Self { address, script, server }
    }

    /// What `OPENAI_BASE_URL` takes.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// Adds an answer to the script.
    ///
    /// # Panics
    /// When a test thread has died in the middle of this.
    pub fn then(&self, answer: Answer) -> &Self {
        self.script.ahead.lock().expect("unpoisoned").push_back(answer);
        self
    }

    /// What is answered when the script is at its end. Without it that is an error that no client repeats.
    ///
    /// # Panics
    /// When a test thread has died in the middle of this.
    pub fn always(&self, answer: Answer) -> &Self {
        *self.script.otherwise.lock().expect("unpoisoned") = Some(answer);
        self
    }

    /// Answers by a rule when the script is at its end.
    ///
    /// # Panics
    /// When a test thread has died in the middle of this.
    pub fn by_rule(&self, rule: impl Fn(&Value) -> Answer + Send + Sync + 'static) -> &Self {
        *self.script.rule.lock().expect("unpoisoned") = Some(Box::new(rule));
        self
    }

    /// The bodies of all requests so far.
    #[must_use]
    pub fn requests(&self) -> Vec<Value> {
        self.script.received.borrow().iter().map(|received| received.body.clone()).collect()
    }

    /// The credentials of all requests so far.
    #[must_use]
    pub fn authorizations(&self) -> Vec<String> {
        self.script.received.borrow().iter().map(|received| received.authorization.clone()).collect()
    }

    /// The idempotency keys of all requests so far: each attempt of one call has the same.
    #[must_use]
    pub fn idempotency_keys(&self) -> Vec<Option<String>> {
        self.script.received.borrow().iter().map(|received| received.idempotency_key.clone()).collect()
    }

    /// Waits until so many requests have come.
    ///
    /// # Panics
    /// When they do not come.
    pub async fn received(&self, count: usize) {
        let mut receiver = self.script.received.subscribe();
        soon("a request to the model", receiver.wait_for(|all| all.len() >= count)).await.expect("the script lives");
    }

    /// Waits until so many of the requests that were met with [`Answer::Silence`] were given up: their connections are closed.
    ///
    /// # Panics
    /// When they are not.
    pub async fn given_up(&self, count: usize) {
        let mut receiver = self.script.given_up.subscribe();
        soon("a request that is given up", receiver.wait_for(|all| *all >= count)).await.expect("the script lives");
    }
}

impl Drop for ScriptedModel {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn complete(State(script): State<Arc<Script>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(body) = serde_json::from_slice::<Value>(&body) else {
        return refusal(StatusCode::BAD_REQUEST, "the request is no JSON");
    };
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let idempotency_key = headers.get("idempotency-key").and_then(|value| value.to_str().ok()).map(str::to_owned);
    let received = Received { authorization: authorization.to_owned(), idempotency_key, body: body.clone() };
    let answer = script.ahead.lock().expect("unpoisoned").pop_front();
    let answer = answer.or_else(|| script.rule.lock().expect("unpoisoned").as_ref().map(|rule| rule(&body)));
    let answer = answer.or_else(|| script.otherwise.lock().expect("unpoisoned").clone());
    script.received.send_modify(|all| all.push(received));
    let answer = match answer {
        Some(Answer::By(make)) => Some(make(&body)),
        answer => answer,
    };
    match answer {
        None => refusal(StatusCode::BAD_REQUEST, "the test's script is at its end"),
        Some(Answer::TooMany { retry_after_seconds }) => {
            let mut response = refusal(StatusCode::TOO_MANY_REQUESTS, "slow down");
            response.headers_mut().insert(header::RETRY_AFTER, retry_after_seconds.into());
            response
        }
        Some(Answer::Refusal(status)) => refusal(status, "as the script says"),
        Some(Answer::Error(status, body)) => (status, axum::Json(body)).into_response(),
        Some(Answer::Garbage) => "<html>it works!</html>".into_response(),
        Some(Answer::Silence) => {
            let _unanswered = Unanswered(script);
            std::future::pending().await
        }
        Some(answer) if body["stream"] == json!(true) => streamed(&body, answer),
        Some(answer) => whole(&body, answer),
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    let error = json!({"error": {"message": message, "type": "scripted", "code": null, "param": null}});
    (status, axum::Json(error)).into_response()
}

/// What a request is taken to hold, unless the script says otherwise.
const PROMPT_TOKENS: u64 = 10;

fn usage(prompt: u64, completion: usize) -> Value {
    json!({"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion as u64})
}

fn prompt_tokens(answer: &Answer) -> u64 {
    match answer {
        Answer::Counted(_, tokens) => *tokens,
        _ => PROMPT_TOKENS,
    }
}

/// An answer in one piece.
fn whole(request: &Value, answer: Answer) -> Response {
    let prompt = prompt_tokens(&answer);
    let (message, reason, count) = match answer {
        Answer::Tools(calls) => {
            let calls: Vec<_> = calls
                .iter()
                .map(|call| {
                    let function = json!({"name": call.name, "arguments": call.arguments.to_string()});
                    json!({"id": call.id, "type": "function", "function": function})
                })
                .collect();
            (json!({"role": "assistant", "content": null, "tool_calls": calls}), "tool_calls", calls.len())
        }
        Answer::Cut(_) => {
            let headers = [(header::CONTENT_TYPE, "application/json")];
            return (headers, broken(vec!["{\"id\":\"chatcmpl-1\",\"choi".to_owned()])).into_response();
        }
        Answer::Tokens(tokens) | Answer::Slowly(tokens, _) | Answer::Counted(tokens, _) => {
            (json!({"role": "assistant", "content": tokens.concat()}), "stop", tokens.len())
        }
        other => unreachable!("{other:?} has been answered before"),
    };
    let choice = json!({"index": 0, "message": message, "logprobs": null, "finish_reason": reason});
    axum::Json(json!({
        "id": "chatcmpl-1", "object": "chat.completion", "created": 0, "model": request["model"],
        "choices": [choice], "usage": usage(prompt, count),
    }))
    .into_response()
}

/// An answer in the pieces that OpenAI sends.
fn streamed(request: &Value, answer: Answer) -> Response {
    let chunk = |choices: Value| json!({"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 0, "model": request["model"], "choices": choices});
    let delta = |delta: Value, reason: Option<&str>| {
        format!("data: {}\n\n", chunk(json!([{"index": 0, "delta": delta, "logprobs": null, "finish_reason": reason}])))
    };
    let mut pieces = vec![delta(json!({"role": "assistant", "content": ""}), None)];
    let say = |tokens: &[String]| tokens.iter().map(|token| delta(json!({"content": token}), None)).collect::<Vec<_>>();
    let mut pause = Duration::ZERO;
    let (reason, count) = match &answer {
        Answer::Tools(calls) => {
            for (index, call) in calls.iter().enumerate() {
                pieces.extend(
                    tool_pieces(index, call).into_iter().map(|calls| delta(json!({"tool_calls": [calls]}), None)),
                );
            }
            ("tool_calls", calls.len())
        }
        Answer::Cut(tokens) => {
            pieces.extend(say(tokens));
            return ([(header::CONTENT_TYPE, "text/event-stream")], broken(pieces)).into_response();
        }
        Answer::Slowly(tokens, each) => {
            pause = *each;
            pieces.extend(say(tokens));
            ("stop", tokens.len())
        }
        Answer::Tokens(tokens) | Answer::Counted(tokens, _) => {
            pieces.extend(say(tokens));
            ("stop", tokens.len())
        }
        other => unreachable!("{other:?} has been answered before"),
    };
    pieces.push(delta(json!({}), Some(reason)));
    if request["stream_options"]["include_usage"] == json!(true) {
        let mut last = chunk(json!([]));
        last["usage"] = usage(prompt_tokens(&answer), count);
        pieces.push(format!("data: {last}\n\n"));
    }
    pieces.push("data: [DONE]\n\n".to_owned());
    ([(header::CONTENT_TYPE, "text/event-stream")], paced(pieces, pause)).into_response()
}

/// A call as it is streamed: its name first, and its arguments in two pieces.
fn tool_pieces(index: usize, call: &ToolRequest) -> [Value; 3] {
    let arguments = call.arguments.to_string();
    let half = (0..=arguments.len() / 2).rev().find(|at| arguments.is_char_boundary(*at)).unwrap_or_default();
    let (first, second) = arguments.split_at(half);
    let name = json!({"name": call.name, "arguments": ""});
    [
        json!({"index": index, "id": call.id, "type": "function", "function": name}),
        json!({"index": index, "function": {"arguments": first}}),
        json!({"index": index, "function": {"arguments": second}}),
    ]
}

/// All pieces, each a write of its own where there is a pause.
fn paced(pieces: Vec<String>, pause: Duration) -> Body {
    if pause.is_zero() {
        return Body::from(pieces.concat());
    }
    let timed = stream::iter(pieces).then(move |piece| async move {
        tokio::time::sleep(pause).await;
        Ok::<_, Infallible>(piece)
    });
    Body::from_stream(timed)
}

/// These pieces, and then no proper end: the connection is closed in the middle of the body.
fn broken(pieces: Vec<String>) -> Body {
    let cut = stream::once(async {
        // What was said before is on its way by then, and is not cut, too.
        tokio::time::sleep(Duration::from_millis(100)).await;
        Err(io::Error::other("cut by the script"))
    });
    Body::from_stream(stream::iter(pieces.into_iter().map(Ok)).chain(cut))
}
