//! An honest client: it starts runs, follows their events over the deaths of the host, from where it was, and strings the tokens
//! together as the stream tells it.

use futures::StreamExt as _;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use vivarium_tests::{SseEvent, parse_events, soon};

use super::dice::Dice;
use super::house::{Door, Life};

/// A call that a person is asked about.
pub(super) struct Question {
    pub(super) run: String,
    pub(super) call: String,
}

/// What a client has of a run when its stream has ended.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) run: String,
    pub(super) session: String,
    pub(super) input: String,
    /// The events with their numbers, in the order in which they came, and the life of the host that has told of them.
    pub(super) log: Vec<(usize, Value)>,
    /// What the tokens in front of each answer of the model add up to.
    pub(super) texts: Vec<String>,
    /// How often the stream broke, and how often what was shown was void.
    pub(super) breaks: usize,
    pub(super) voids: usize,
}

#[derive(Clone)]
pub(super) struct Visitor {
    pub(super) client: Client,
    pub(super) door: Door,
    pub(super) clerk: mpsc::UnboundedSender<Question>,
}

impl Visitor {
    /// Starts a run, as often as it takes to be told that it was started. Gives its id and its session's.
    pub(super) async fn start(&self, input: &str, session: &str) -> (String, String) {
        let mut body =
            json!({"mode": "chat", "input": input, "background": true, "maxCycles": 8, "sessionId": session});
        if input.starts_with("careful ") {
            body["tools"] = json!([{"name": "careful", "approval": "ask"}]);
        }
        loop {
            let life = self.door.open().await;
            let request =
                life.request(&self.client, Method::POST, "/v1/runs").header("idempotency-key", input.replace(' ', "-"));
            match answered(request.json(&body)).await {
                Some((202, run)) => {
                    let text = |name: &str| run[name].as_str().unwrap().to_owned();
                    return (text("id"), text("sessionId"));
                }
                Some((status, told)) => panic!("{input}: {status} {told}"),
                None => self.is_dying(&life, "a run was started"),
            }
        }
    }

    fn is_dying(&self, life: &Life, meanwhile: &str) {
        assert!(!self.door.is_alive(life), "a host that nobody has killed broke a connection off while {meanwhile}");
    }

    /// Starts a run and follows it to its end.
    pub(super) async fn run(&self, input: String, session: &str) -> Followed {
        let begun = self.start(&input, session).await;
        self.follow(input, begun).await
    }

    /// Follows a run that was started to its end.
    pub(super) async fn follow(&self, input: String, (run, session): (String, String)) -> Followed {
        let (log, texts) = (Vec::new(), Vec::new());
        let mut followed = Followed { run, session, input, log, texts, breaks: 0, voids: 0 };
        let mut reading = Reading::default();
        loop {
            let life = self.door.open().await;
            let path = format!("/v1/runs/{}/events", followed.run);
            let request = life.request(&self.client, Method::GET, &path).header("accept", "text/event-stream");
            let request = match &reading.cursor {
                Some(cursor) => request.header("last-event-id", cursor),
                None => request,
            };
            if let Ok(response) = soon("an answer", request.send()).await {
                assert_eq!(response.status().as_u16(), 200, "{followed:?}");
                let mut chunks = response.bytes_stream();
                reading.pending.clear();
                while let Some(Ok(chunk)) = soon("the next event", chunks.next()).await {
                    for event in reading.events(&chunk) {
                        if self.take(&mut followed, &mut reading, life.number, event) {
                            return followed;
                        }
                    }
                }
            }
            self.is_dying(&life, &format!("{} was followed", followed.run));
            followed.breaks += 1;
        }
    }

    /// Takes an event in. True: it is the last one.
    fn take(&self, followed: &mut Followed, reading: &mut Reading, life: usize, event: SseEvent) -> bool {
        let Some(kind) = event.event.as_deref() else { return false };
        reading.cursor = event.id.clone().or(reading.cursor.take());
        let body = event.json();
        match kind {
            "token" => {
                reading.text.push_str(body["text"].as_str().unwrap());
                return false;
            }
            "token.void" => {
                reading.text.clear();
                followed.voids += 1;
                return false;
            }
            "model.completed" => followed.texts.push(std::mem::take(&mut reading.text)),
            "approval.requested" => {
                let call = body["callId"].as_str().unwrap().to_owned();
                // The clerk may have gone home.
                let _ = self.clerk.send(Question { run: followed.run.clone(), call });
            }
            "reset" | "error" => panic!("{kind} in {followed:?}: {body}"),
            _ => {}
        }
        followed.log.push((life, body));
        matches!(kind, "run.completed" | "run.failed" | "run.cancelled")
    }

    /// Approves what is asked, each after a while, until it is known to be decided.
    pub(super) async fn decide(self, question: Question, mut dice: Dice) {
        tokio::time::sleep(dice.pause(0, 600)).await;
        let body = json!({"callId": question.call, "decision": "approve"});
        let mut was_broken_off = false;
        loop {
            let life = self.door.open().await;
            let path = format!("/v1/runs/{}/approve", question.run);
            match answered(life.request(&self.client, Method::POST, &path).json(&body)).await {
                Some((200, _)) => return,
                // The answer to an earlier attempt was lost.
                Some((409, _)) if was_broken_off => return,
                Some((status, told)) => panic!("{}: {status} {told}", question.run),
                None => self.is_dying(&life, "a call was approved"),
            }
            was_broken_off = true;
        }
    }
}

/// What a client has read of a stream.
#[derive(Default)]
struct Reading {
    cursor: Option<String>,
    /// The beginning of an event whose end has not come.
    pending: String,
    text: String,
}

impl Reading {
    fn events(&mut self, chunk: &[u8]) -> Vec<SseEvent> {
        self.pending.push_str(std::str::from_utf8(chunk).unwrap());
        let Some(end) = self.pending.rfind("\n\n") else { return Vec::new() };
        let rest = self.pending.split_off(end + 2);
        parse_events(&std::mem::replace(&mut self.pending, rest))
    }
}

/// Status and JSON. None: the connection was refused, or broke.
async fn answered(request: reqwest::RequestBuilder) -> Option<(u16, Value)> {
    let response = soon("an answer", request.send()).await.ok()?;
    let status = response.status().as_u16();
    let text = response.text().await.ok()?;
    Some((status, serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {text:?}: {error}"))))
}
