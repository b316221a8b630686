//! Streams that survive: in every dialect, who loses one goes on behind the last event that was seen, also at the next host, and has
//! the run told whole and once. Nobody who reads, or does not, is noticed by the run.

use std::time::Duration;

use futures::future::join_all;
use reqwest::{Method, RequestBuilder, Response};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use vivarium_domain::{AuditBy, RunId, Timestamp};
use vivarium_store::{SledStore, Store as _};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Host, ScriptedModel, SseEvent, SseStream, host_of_two, soon};

/// How a dialect's stream is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Assisters,
    Hub,
    /// The hub's, where JSON is asked for, which is checked before it is shown.
    HubJson,
    Make,
    Native,
}

use Dialect::{Assisters, Hub, HubJson, Make, Native};

const ALL: [Dialect; 5] = [Assisters, Hub, HubJson, Make, Native];

/// What the model says in all of these tests, in pieces that take their time.
const WORDS: [&str; 4] = ["{\"one\": ", "1, ", "\"two\": ", "2}"];

impl Dialect {
    /// A request for the stream of a run of this agent: of a new one, or behind an event of an old one.
    fn request(self, host: &Host, agent: &str, last_id: Option<&str>) -> RequestBuilder {
        let question = "Count.";
        let (method, path, body) = match self {
            Assisters => (Method::GET, format!("/v1/agent/stream?query={question}&mode=chat"), Value::Null),
            Hub => (Method::POST, format!("/api/assistants/{agent}/execute"), json!({"userInput": question})),
            HubJson => {
                let body = json!({"userInput": question, "responseFormat": {"type": "json_object"}});
                (Method::POST, format!("/api/assistants/{agent}/user-input"), body)
            }
            Make => {
                let path = format!("/api/v2/ai-agents/v1/agents/{agent}/run/stream?teamId=1");
                (Method::POST, path, json!({"messages": [{"role": "user", "content": question}]}))
            }
            Native => (Method::POST, "/v1/runs".to_owned(), json!({"input": question, "agentId": agent})),
        };
        let mut request = host.request(method, &path).header("accept", "text/event-stream");
        if !body.is_null() {
            request = request.json(&body);
        }
        if self == Native {
            request = request.header("idempotency-key", "the-question");
        }
        match last_id {
            Some(id) => request.header("last-event-id", id),
            None => request,
        }
    }

    async fn open(self, host: &Host, agent: &str, last_id: Option<&str>) -> Response {
        host.send(self.request(host, agent, last_id)).await
    }
}

/// What a client makes of a stream, and keeps when it loses it.
#[derive(Debug, Default)]
struct Client {
    text: String,
    steps: Vec<Value>,
    /// Sources, tools: whatever else is told.
    others: usize,
    resets: usize,
    /// The last words: the answer, or none for an error.
    ends: Vec<Option<String>>,
    last_id: Option<String>,
}

impl Client {
    fn take(&mut self, event: &SseEvent) {
        if event.comment.is_some() || event.data == "[DONE]" {
            return;
        }
        let data = event.json();
        let kind = event.event.as_deref().or(data["type"].as_str()).unwrap_or_default();
        let text = |value: &Value| value.as_str().map(str::to_owned);
        match kind {
            "token" => self.text += text(&data["text"]).or(text(&data["value"])).unwrap().as_str(),
            "void" | "token.void" | "reset" => {
                self.text.clear();
                self.steps.clear();
                self.resets += 1;
            }
            "step" if event.event.is_some() && data["role"].is_string() => self.steps.push(data),
            "done" => {
                let hub = &data["message"]["content"][0]["text"]["value"];
                let answer = [hub, &data["answer"], &data["response"]].into_iter().find_map(text);
                assert!(answer.is_some(), "{data}");
                if let Some(steps) = data["executionSteps"].as_array() {
                    assert!(self.resets > 0 || *steps == self.steps, "each step was told once: {:#?}", self.steps);
                }
                self.ends.push(answer);
            }
            "run.completed" => self.ends.push(text(&data["outcome"]["answer"])),
            "error" | "run.failed" | "run.cancelled" => self.ends.push(None),
            _ => self.others += 1,
        }
    }

    /// Reads until this is so.
    async fn read(&mut self, stream: &mut SseStream, is_so: impl Fn(&Self) -> bool) {
        while !is_so(self) {
            let event = stream.next().await.unwrap_or_else(|| panic!("the stream has ended: {self:?}"));
            self.take(&event);
            self.last_id = stream.last_id().map(str::to_owned);
        }
    }

    /// Reads to the end.
    async fn rest(&mut self, mut stream: SseStream) {
        while let Some(event) = stream.next().await {
            assert!(self.ends.is_empty() || event.data == "[DONE]", "nothing comes after the end: {event:?}");
            self.take(&event);
            self.last_id = stream.last_id().map(str::to_owned);
        }
    }

    /// It has the whole answer, once, in all that it was told.
    fn has(&self, dialect: Dialect, answer: &str) {
        // The hub's JSON is written anew when it is checked.
        let json = |text: &str| serde_json::from_str::<Value>(text).unwrap();
        assert_eq!(self.ends.len(), 1, "{dialect:?}: {self:?}");
        let end = self.ends[0].as_deref().unwrap_or_else(|| panic!("{dialect:?}: {self:?}"));
        match dialect {
            Make => assert_eq!((end, self.steps.last().unwrap()["content"].as_str()), (answer, Some(answer))),
            HubJson => assert_eq!((json(end), json(&self.text)), (json(answer), json(answer)), "{self:?}"),
            _ => assert_eq!((end, self.text.as_str()), (answer, answer), "{dialect:?}: {self:?}"),
        }
    }
}

fn words() -> Vec<String> {
    WORDS.map(str::to_owned).to_vec()
}

fn slowly() -> Answer {
    Answer::Slowly(words(), Duration::from_millis(100))
}

async fn agent(host: &Host) -> String {
    let (status, agent) = host.json(Method::POST, "/v1/agents", Some(&json!({"name": "counter", "tools": []}))).await;
    assert_eq!(status, 201, "{agent}");
    agent["id"].as_str().unwrap().to_owned()
}

async fn runs(host: &Host) -> usize {
    let listed: Value = host.get("/v1/runs").await.json().await.unwrap();
    listed["data"].as_array().unwrap().len()
}

async fn again(model: &ScriptedModel, host: Host) -> Host {
    let data = host.kill().await;
    Host::builder().model(model).data(data).start().await
}

/// Status and body.
async fn shown(response: Response) -> (u16, String) {
    (response.status().as_u16(), response.text().await.unwrap())
}

/// Has read something of a run of this dialect while the model was writing, and left.
async fn left_early(dialect: Dialect, model: &ScriptedModel, host: &Host, agent: &str) -> Client {
    let asked = model.requests().len();
    model.then(slowly());
    let mut client = Client::default();
    let mut stream = SseStream::new(dialect.open(host, agent, None).await);
    match dialect {
        // Nothing is told of a JSON answer before it is checked, so there is nothing to go on behind.
        HubJson => client.read(&mut stream, |client| !client.text.is_empty()).await,
        Make => client.read(&mut stream, |client| !client.steps.is_empty()).await,
        _ => client.read(&mut stream, |client| client.text.len() > WORDS[0].len()).await,
    }
    model.received(asked + 1).await;
    client
}

#[tokio::test]
async fn who_comes_back_to_the_next_host_has_the_run_whole_and_once_in_every_dialect() {
    for dialect in [Assisters, Hub, Make, Native] {
        let model = ScriptedModel::start().await;
        let host = Host::builder().model(&model).start().await;
        let agent = agent(&host).await;
        let mut client = left_early(dialect, &model, &host, &agent).await;
        model.then(slowly());
        let host = again(&model, host).await;
        let id = client.last_id.clone().unwrap();
        let response = dialect.open(&host, &agent, Some(&id)).await;
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let run = response.headers().get("x-run-id").unwrap().to_str().unwrap().to_owned();
        client.rest(SseStream::new(response)).await;
        client.has(dialect, &WORDS.concat());
        assert_eq!(client.resets, 0, "{dialect:?}: {client:?}");
        let keys = model.idempotency_keys();
        assert_eq!(
            keys,
            [Some(format!("{run}-m1")), Some(format!("{run}-m1"))],
            "{dialect:?}: one question of one run"
        );
        assert_eq!(runs(&host).await, 1, "{dialect:?}");
    }
}

#[tokio::test]
async fn who_comes_back_while_the_run_goes_on_or_after_it_has_it_whole_and_once_in_every_dialect() {
    for dialect in ALL {
        let model = ScriptedModel::start().await;
        let host = Host::builder().model(&model).start().await;
        let agent = agent(&host).await;
        let mut client = left_early(dialect, &model, &host, &agent).await;
        let (early, text, steps) = (client.last_id.clone().unwrap(), client.text.clone(), client.steps.clone());
        client.rest(SseStream::new(dialect.open(&host, &agent, Some(&early)).await)).await;
        client.has(dialect, &WORDS.concat());
        // After the end, from the same place.
        let mut late = Client { text, steps, ..Client::default() };
        late.rest(SseStream::new(dialect.open(&host, &agent, Some(&early)).await)).await;
        late.has(dialect, &WORDS.concat());
        // And behind the end there is nothing, which ends a browser's attempts for good.
        let end = late.last_id.unwrap();
        assert_eq!(shown(dialect.open(&host, &agent, Some(&end)).await).await, (204, String::new()), "{dialect:?}");
        assert_eq!((model.requests().len(), runs(&host).await), (1, 1), "{dialect:?}");
    }
}

#[tokio::test]
async fn a_browser_that_has_seen_nothing_yet_does_not_ask_its_question_again() {
    let model = ScriptedModel::start().await;
    model.then(Answer::Silence);
    let host = Host::builder().model(&model).start().await;
    let mut response = Assisters.open(&host, "", None).await;
    let first = soon("the first piece", response.chunk()).await.unwrap().unwrap();
    let opening = String::from_utf8(first.to_vec()).unwrap();
    let id = opening.strip_prefix("id: ").and_then(|rest| rest.strip_suffix("\n\n")).unwrap().to_owned();
    assert!(id.ends_with(":0"), "{opening:?}");
    model.received(1).await;
    drop(response);
    model.then(Answer::text("An answer."));
    let host = again(&model, host).await;
    let mut client = Client::default();
    client.rest(SseStream::new(Assisters.open(&host, "", Some(&id)).await)).await;
    client.has(Assisters, "An answer.");
    assert_eq!(runs(&host).await, 1);
    // The parameter says the same for who sets no headers, and needs no question beside it.
    let mut client = Client::default();
    client.rest(host.stream("/v1/agent/stream", &[("after", &id)]).await).await;
    client.has(Assisters, "An answer.");
}

#[tokio::test]
async fn who_comes_back_to_another_answer_is_told_that_what_was_shown_is_void() {
    for dialect in [Assisters, Hub, Native] {
        let model = ScriptedModel::start().await;
        let host = Host::builder().model(&model).start().await;
        let agent = agent(&host).await;
        let mut client = left_early(dialect, &model, &host, &agent).await;
        model.then(Answer::text("Something else."));
        let host = again(&model, host).await;
        let id = client.last_id.clone().unwrap();
        client.rest(SseStream::new(dialect.open(&host, &agent, Some(&id)).await)).await;
        client.has(dialect, "Something else.");
        assert_eq!(client.resets, 1, "{dialect:?}: {client:?}");
    }
}

#[tokio::test]
async fn who_has_a_checked_answer_and_missed_the_end_is_told_the_end_alone() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let agent = agent(&host).await;
    let client = left_early(HubJson, &model, &host, &agent).await;
    let rest = SseStream::new(HubJson.open(&host, &agent, client.last_id.as_deref()).await).rest().await;
    let types: Vec<Value> = rest.iter().map(|event| event.json()["type"].clone()).collect();
    assert_eq!(types, ["done"]);
}

#[tokio::test]
async fn a_run_is_gone_on_with_by_its_tenant_and_its_agent_alone() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let (host, keys) = host_of_two(|builder| builder.model(&model)).await;
    let counter = agent(&host).await;
    let (_, other) = host.json(Method::POST, "/v1/agents", Some(&json!({"name": "other", "tools": []}))).await;
    let (_, foreign) =
        host.json_as(&keys.foreign, Method::POST, "/v1/agents", Some(&json!({"name": "counter", "tools": []}))).await;
    for dialect in [Assisters, Hub, HubJson, Make] {
        let mut client = Client::default();
        client.rest(SseStream::new(dialect.open(&host, &counter, None).await)).await;
        let end = client.last_id.unwrap();
        let unknown = match dialect {
            Make => format!("0192f000-0000-8000-8000-{}", &end[24..]),
            _ => format!("01900000-0000-7000-8000-000000000000:{}", end.split_once(':').unwrap().1),
        };
        let asked = model.requests().len();
        let missing = shown(dialect.open(&host, &counter, Some(&unknown)).await).await;
        assert_eq!(missing.0, 404, "{dialect:?}: {}", missing.1);
        let theirs = foreign["id"].as_str().unwrap();
        let request = dialect.request(&host, theirs, Some(&end)).bearer_auth(&keys.foreign);
        let request = without_first_key(request);
        assert_eq!(shown(host.send(request).await).await, missing, "{dialect:?}: another tenant's");
        if dialect != Assisters {
            let others = dialect.open(&host, other["id"].as_str().unwrap(), Some(&end)).await;
            assert_eq!(shown(others).await, missing, "{dialect:?}: another agent's");
        }
        for bad in ["7", "x:7", ""] {
            let (status, told) = shown(dialect.open(&host, &counter, Some(bad)).await).await;
            assert!(status == 400 && told.contains("Last-Event-ID must be"), "{dialect:?} {bad:?}: {status} {told}");
        }
        assert_eq!(model.requests().len(), asked, "{dialect:?}: nothing was started");
    }
    // Natively a place in a stream does not name its run: the key of the request does, and without one nothing is started.
    let request = host.request(Method::POST, "/v1/runs").header("accept", "text/event-stream");
    let request = request.header("last-event-id", "3").json(&json!({"input": "Count."}));
    let (status, told) = shown(host.send(request).await).await;
    assert!(status == 400 && told.contains("/v1/runs/{id}/events"), "{status} {told}");
}

/// The last key that was set, and not the first one.
fn without_first_key(request: RequestBuilder) -> RequestBuilder {
    let (client, request) = request.build_split();
    let mut request = request.unwrap();
    let last = request.headers().get_all("authorization").iter().next_back().unwrap().clone();
    request.headers_mut().insert("authorization", last);
    RequestBuilder::from_parts(client, request)
}

#[tokio::test]
async fn a_place_that_the_log_has_not_reached_is_reset_and_the_run_is_told_from_the_beginning() {
    let model = ScriptedModel::start().await;
    model.always(Answer::text("An answer."));
    let host = Host::builder().model(&model).start().await;
    let agent = agent(&host).await;
    for dialect in [Assisters, Hub, Native] {
        let mut client = Client::default();
        client.rest(SseStream::new(dialect.open(&host, &agent, None).await)).await;
        let end = client.last_id.unwrap();
        let beyond = match dialect {
            Native => "900".to_owned(),
            _ => format!("{}:900", end.split_once(':').unwrap().0),
        };
        let mut client = Client { text: "what is not so".to_owned(), ..Client::default() };
        client.rest(SseStream::new(dialect.open(&host, &agent, Some(&beyond)).await)).await;
        assert_eq!((client.resets, client.ends.len()), (1, 1), "{dialect:?}: {client:?}");
        assert_eq!(client.ends[0].as_deref(), Some("An answer."));
        if dialect != Native {
            client.has(dialect, "An answer.");
        }
    }
}

#[tokio::test]
async fn of_a_run_whose_log_was_removed_each_dialect_tells_a_reset_and_the_end() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let counter = agent(&host).await;
    let mut clients = Vec::new();
    for dialect in ALL {
        clients.push((dialect, left_early(dialect, &model, &host, &counter).await));
        // It goes on without its client.
        let listed: Value = host.get("/v1/runs?limit=1").await.json().await.unwrap();
        host.get(&format!("/v1/runs/{}?wait=60", listed["data"][0]["id"].as_str().unwrap())).await;
    }
    let listed: Value = host.get("/v1/runs").await.json().await.unwrap();
    let ids =
        listed["data"].as_array().unwrap().iter().map(|run| run["id"].as_str().unwrap().parse::<RunId>().unwrap());
    let ids: Vec<RunId> = ids.collect();
    let (_, data) = host.stop().await;
    let store = SledStore::open(data.path().join("store")).unwrap().0;
    assert_eq!(
        store.delete_logs(&"default".parse().unwrap(), ids, Timestamp::now(), &AuditBy::HOST).await.unwrap(),
        ALL.len()
    );
    drop(store);
    let host = Host::builder().model(&model).data(data).start().await;
    for (dialect, mut client) in clients {
        let id = client.last_id.clone();
        client.rest(SseStream::new(dialect.open(&host, &counter, id.as_deref()).await)).await;
        assert_eq!((client.resets, client.ends.len()), (1, 1), "{dialect:?}: {client:?}");
        assert!(client.ends[0].as_deref().is_some_and(|answer| answer.contains("two")), "{dialect:?}: {client:?}");
    }
}

#[tokio::test]
async fn a_stop_in_good_order_is_one_error_in_every_dialect_and_the_next_host_goes_on() {
    for dialect in [Assisters, Hub, Make, Native] {
        let model = ScriptedModel::start().await;
        let host = Host::builder().model(&model).config("drain_seconds = 0\n").start().await;
        let agent = agent(&host).await;
        model.then(Answer::Slowly([words(), vec!["x".to_owned(); 2000]].concat(), Duration::from_millis(50)));
        let mut client = Client::default();
        let mut stream = SseStream::new(dialect.open(&host, &agent, None).await);
        client.read(&mut stream, |client| !client.text.is_empty() || !client.steps.is_empty()).await;
        model.received(1).await;
        host.terminate();
        client.rest(stream).await;
        assert_eq!(client.ends, [None], "{dialect:?}: one error");
        client.ends.clear();
        let (status, data) = host.stop_terminated().await;
        assert!(status.success(), "{status}");
        model.then(slowly());
        let host = Host::builder().model(&model).data(data).start().await;
        let id = client.last_id.clone().unwrap();
        client.rest(SseStream::new(dialect.open(&host, &agent, Some(&id)).await)).await;
        client.has(dialect, &WORDS.concat());
    }
}

#[tokio::test]
async fn a_stream_stays_open_over_a_persons_decision_and_a_restart_before_it() {
    for dialect in [Assisters, Hub, Make] {
        let model = ScriptedModel::start().await;
        let host = Host::builder().model(&model).start().await;
        host.install(tool_plugin_as(json!({"name": "test/careful", "tools": [tool("careful")]}), "", "", ECHO)).await;
        let fields = json!({"name": "careful", "tools": [{"name": "careful", "approval": "ask"}]});
        let (_, made) = host.json(Method::POST, "/v1/agents", Some(&fields)).await;
        let agent = made["id"].as_str().unwrap();
        if dialect == Assisters {
            // This dialect names no agent: the plugin's grant says who is asked.
            let grant = json!({"approvals": {"careful": "ask"}});
            let (status, told) = host.json(Method::PUT, "/v1/plugins/test/careful/grants", Some(&grant)).await;
            assert_eq!(status, 200, "{told}");
        }
        model.then(Answer::tool("careful", json!({"a": 1})));
        let response = match dialect {
            Assisters => host.get("/v1/agent/stream?query=Careful&mode=chat&maxCycles=5").await,
            _ => dialect.open(&host, agent, None).await,
        };
        let run = response.headers()["x-run-id"].to_str().unwrap().to_owned();
        let mut stream = SseStream::new(response);
        waits(&host, &run).await;
        let mut client = Client::default();
        if dialect == Make {
            client.read(&mut stream, |client| client.steps.len() == 2).await;
        }
        let host = again(&model, host).await;
        drop(stream);
        let id = client.last_id.clone().unwrap_or_else(|| match dialect {
            Make => unreachable!("its first steps are told at once"),
            _ => format!("{run}:0"),
        });
        let stream = SseStream::new(dialect.open(&host, agent, Some(&id)).await);
        model.then(Answer::text("Done."));
        let decision = json!({"callId": "call_1", "decision": "approve"});
        let (status, told) = host.json(Method::POST, &format!("/v1/runs/{run}/approve"), Some(&decision)).await;
        assert_eq!(status, 200, "{told}");
        client.rest(stream).await;
        assert_eq!(client.ends, [Some("Done.".to_owned())], "{dialect:?}: {client:?}");
        assert_eq!(model.requests().len(), 2, "{dialect:?}");
    }
}

/// Waits until a run waits for a person.
async fn waits(host: &Host, run: &str) {
    let request = host.request(Method::GET, &format!("/v1/runs/{run}/events")).header("accept", "text/event-stream");
    let mut log = SseStream::new(host.send(request).await);
    while log.next().await.expect("it goes on").event.as_deref() != Some("approval.requested") {}
}

#[tokio::test]
async fn a_hundred_readers_of_a_run_see_the_same() {
    let model = ScriptedModel::start().await;
    let host = Host::builder().model(&model).start().await;
    let body = json!({"mode": "chat", "input": "Count.", "background": true});
    model.then(Answer::Slowly(vec![words(); 10].concat(), Duration::from_millis(20)));
    let (_, run) = host.json(Method::POST, "/v1/runs", Some(&body)).await;
    let path = format!("/v1/runs/{}/events", run["id"].as_str().unwrap());
    let reader = async |_: usize| {
        let request = host.request(Method::GET, &path).header("accept", "text/event-stream");
        let events = SseStream::new(host.send(request).await).rest().await;
        let mut client = Client::default();
        events.iter().for_each(|event| client.take(event));
        let logged = events.into_iter().filter(|event| event.event.as_deref() != Some("token"));
        (logged.collect::<Vec<_>>(), client.text)
    };
    let all = join_all((0..100).map(reader)).await;
    assert_eq!(all[0].1, WORDS.concat().repeat(10));
    assert!(all.iter().all(|one| *one == all[0]), "somebody saw something else");
}

/// The server's resident memory.
fn resident_bytes(host: &Host) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", host.pid())).expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has one");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

/// A reader of a run's events that reads the head of the answer and then no more.
async fn sleeper(host: &Host, path: &str) -> TcpStream {
    let address = host.address().trim_start_matches("http://");
    // With a small window, so that what it does not read stays with the server.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(8 << 10).unwrap();
    let mut socket = socket.connect(address.parse().unwrap()).await.unwrap();
    let key = host.key();
    let head = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {key}\r\nAccept: text/event-stream\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut status = [0; 12];
    soon("the answer's head", socket.read_exact(&mut status)).await.unwrap();
    assert_eq!(&status, b"HTTP/1.1 200");
    socket
}

#[tokio::test]
async fn who_does_not_read_neither_slows_the_run_nor_fills_the_hosts_memory() {
    const MEBI: usize = 1 << 20;
    const SLEEPERS: usize = 40;
    const ANSWER: usize = 12 * 350 * 1000;
    let model = ScriptedModel::start().await;
    let limits = "[mode_limits]\noutput_bytes = 10000000\n";
    let host = Host::builder().model(&model).config(limits).start().await;
    // The same without anybody who sleeps, to know what the run itself takes.
    let talk = || Answer::Slowly(vec!["lorem ipsum ".repeat(350); 1000], Duration::from_millis(1));
    let mut grown = Vec::new();
    let mut took = Vec::new();
    let mut sleepers = Vec::new();
    for sleeping in [0, SLEEPERS] {
        let before = resident_bytes(&host);
        let begun = std::time::Instant::now();
        model.then(talk());
        let body = json!({"mode": "chat", "input": "Talk.", "background": true, "timeoutSeconds": 60});
        let (_, run) = host.json(Method::POST, "/v1/runs", Some(&body)).await;
        let id = run["id"].as_str().unwrap();
        let path = format!("/v1/runs/{id}/events");
        for _ in 0..sleeping {
            sleepers.push(sleeper(&host, &path).await);
        }
        // Who reads is not held up by who does not.
        let request = host.request(Method::GET, &path).header("accept", "text/event-stream");
        let mut client = Client::default();
        client.rest(SseStream::new(host.send(request).await)).await;
        let end = client.ends.pop().flatten();
        assert_eq!((client.text.len(), end.map(|answer| answer.len())), (ANSWER, Some(ANSWER)));
        took.push(begun.elapsed());
        grown.push(resident_bytes(&host).saturating_sub(before));
    }
    eprintln!(
        "alone: {} MiB in {:?}; with {SLEEPERS} who sleep: {} MiB in {:?}",
        grown[0] / MEBI,
        took[0],
        grown[1] / MEBI,
        took[1]
    );
    // If what they do not read were kept for each of them, it would be 12 MiB for each.
    assert!(grown[1] < grown[0] + SLEEPERS * MEBI, "{} MiB alone, {} MiB with them", grown[0] / MEBI, grown[1] / MEBI);
    // Who wakes up has missed nothing.
    let mut woken = sleepers.pop().unwrap();
    let (mut read, mut piece) = (Vec::new(), vec![0; 64 << 10]);
    while !read.ends_with(b"\r\n0\r\n\r\n") {
        let bytes = soon("the next piece", woken.read(&mut piece)).await.unwrap();
        assert!(bytes > 0, "the stream breaks off");
        read.extend_from_slice(&piece[..bytes]);
    }
    let told = String::from_utf8(read).unwrap();
    let count = |what: &str| told.matches(what).count();
    assert_eq!((count("event: token"), count("event: run.completed")), (1000, 1), "{} bytes", told.len());
    // And those who sleep on hold up no stop.
    let (status, _data) = host.stop().await;
    assert!(status.success(), "{status}");
    assert_eq!(sleepers.len(), SLEEPERS - 1);
}
