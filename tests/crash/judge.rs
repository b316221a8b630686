//! What must be so when all runs have ended, however often the host has died.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};
use vivarium_domain::Timestamp;

use super::client::Followed;
use super::house::House;
use super::provider::{Asked, Provider};

pub(super) async fn judge(house: &House, provider: &Provider, all: &[Followed]) {
    let (asked, effects) = (provider.asked(), provider.effects());
    let (mut answers, mut interrupted) = (0, 0);
    for followed in all {
        let log = stored_log(house, &followed.run).await;
        let story = Story { followed, log: &log };
        story.is_whole_and_ends_once();
        answers += story.each_answer_came_once_and_was_shown_whole();
        interrupted += story.each_tool_call_came_to_one_end(&effects);
        story.was_not_asked_again_what_was_known(&asked);
        story.record_fits(house).await;
    }
    the_model_was_asked_by_these_runs_alone(&asked, answers);
    sessions_are_in_order(house, all).await;
    the_list_is_of_these_runs(house, all).await;
    let requests: usize = asked.values().map(Vec::len).sum();
    let attempts: usize = effects.values().map(Vec::len).sum();
    eprintln!(
        "{answers} answers of the model for {requests} requests; {} tool calls with effects for {attempts} attempts; {interrupted} \
         calls that must not be repeated were interrupted",
        effects.len(),
    );
}

async fn get(house: &House, path: &str) -> Value {
    let response = house.host().get(path).await;
    assert_eq!(response.status().as_u16(), 200, "{path}");
    response.json().await.unwrap()
}

/// All pages of a list.
async fn pages(house: &House, path: &str, cursor: &str) -> Vec<Value> {
    let (mut all, mut next) = (Vec::new(), String::new());
    loop {
        let page = get(house, &format!("{path}?limit=200{next}")).await;
        all.extend(page["data"].as_array().unwrap().iter().cloned());
        match page["next"].as_str() {
            Some(text) => next = format!("&{cursor}={text}"),
            None => return all,
        }
    }
}

/// Nothing is queued, running or waiting, and no request has made two runs.
async fn the_list_is_of_these_runs(house: &House, all: &[Followed]) {
    let listed = pages(house, "/v1/runs", "cursor").await;
    for run in &listed {
        assert_eq!(run["status"], "completed", "{run}");
    }
    let ids = |runs: Vec<&str>| (runs.len(), runs.into_iter().map(str::to_owned).collect::<BTreeSet<_>>());
    let listed = ids(listed.iter().map(|run| run["id"].as_str().unwrap()).collect());
    assert_eq!(listed, ids(all.iter().map(|followed| followed.run.as_str()).collect()));
}

async fn stored_log(house: &House, run: &str) -> Vec<Value> {
    pages(house, &format!("/v1/runs/{run}/events"), "after").await
}

/// A run, as its client and its log tell of it.
struct Story<'a> {
    followed: &'a Followed,
    log: &'a [Value],
}

impl<'a> Story<'a> {
    fn of_type(&self, kind: &'static str) -> impl Iterator<Item = &'a Value> {
        self.log.iter().filter(move |event| event["type"] == kind)
    }

    fn one(&self, kind: &'static str, field: &str, value: &Value) -> &'a Value {
        let mut found = self.of_type(kind).filter(|event| event[field] == *value);
        match (found.next(), found.next()) {
            (Some(event), None) => event,
            other => panic!("{kind} with {field} {value} is not there once: {other:?} in {self}"),
        }
    }

    fn is_whole_and_ends_once(&self) {
        let numbers: Vec<u64> = self.log.iter().map(|event| event["seq"].as_u64().unwrap()).collect();
        assert!(numbers.iter().copied().eq(1..=self.log.len() as u64), "{numbers:?} has gaps: {self}");
        let ends = ["run.completed", "run.failed", "run.cancelled"];
        let is_end = |event: &&Value| ends.contains(&event["type"].as_str().unwrap());
        assert_eq!(self.log.iter().filter(is_end).count(), 1, "{self}");
        assert_eq!(self.log.last().unwrap()["type"], "run.completed", "{self}");
        let seen = self.followed.log.iter().map(|(_, event)| event);
        assert!(seen.eq(self.log), "the client has seen another log: {self}");
        let fresh = self.log.iter().zip(self.log.iter().skip(1));
        for (before, after) in fresh {
            // As texts they do not compare: a fraction of a second has no zeros at its end.
            let at = |event: &Value| event["at"].as_str().unwrap().parse::<Timestamp>().unwrap();
            assert!(at(before) <= at(after), "time goes back at {after}: {self}");
        }
    }

    /// How many answers there are.
    fn each_answer_came_once_and_was_shown_whole(&self) -> usize {
        let completed: Vec<&Value> = self.of_type("model.completed").collect();
        for (number, event) in completed.iter().enumerate() {
            assert_eq!(event["call"], json!(number + 1), "{self}");
            self.one("model.started", "call", &event["call"]);
            let text = event["response"]["text"].as_str().unwrap_or_else(|| panic!("{event} is no answer: {self}"));
            assert_eq!(self.followed.texts.get(number).map(String::as_str), Some(text), "answer {number} of {self}");
        }
        assert_eq!(self.of_type("model.started").count(), completed.len(), "{self}");
        assert_eq!(self.followed.texts.len(), completed.len(), "{self}");
        let outcome = &self.log.last().unwrap()["outcome"];
        assert_eq!(outcome["answer"].as_str(), self.followed.texts.last().map(String::as_str), "{self}");
        completed.len()
    }

    /// How many calls were interrupted and not made again.
    fn each_tool_call_came_to_one_end(&self, effects: &BTreeMap<String, Vec<super::provider::Effect>>) -> usize {
        let mut words = self.followed.input.split(' ');
        let (tool, calls) = (words.next().unwrap(), words.next_back().unwrap());
        let calls: usize = calls.parse().unwrap();
        let started: Vec<&Value> = self.of_type("tool.started").collect();
        assert_eq!((started.len(), self.of_type("tool.completed").count()), (calls, calls), "{self}");
        let mut interrupted = 0;
        for call in started {
            let id = &call["callId"];
            let completed = self.one("tool.completed", "callId", id);
            if tool == "careful" {
                self.one("approval.requested", "callId", id);
                assert_eq!(self.one("approval.given", "callId", id)["approved"], json!(true), "{self}");
            }
            let attempts = self.of_type("tool.attempted").filter(|event| event["callId"] == *id);
            let first = if tool == "careful" { 1 } else { 2 };
            let numbers = attempts.map(|event| event["attempt"].as_u64().unwrap());
            assert!(numbers.zip(first..).all(|(number, right)| number == right), "attempts are not in order: {self}");
            let arguments: Value = serde_json::from_str(call["argumentsJson"].as_str().unwrap()).unwrap();
            let left = effects.get(arguments["path"].as_str().unwrap()).map_or(&[][..], Vec::as_slice);
            for effect in left {
                assert_eq!(call["idempotencyKey"], json!(effect.key), "all attempts have the key of the call: {self}");
            }
            if tool != "often" {
                assert!(left.len() <= 1, "a call that must not be repeated had {} effects: {self}", left.len());
            }
            let outcome = &completed["outcome"];
            match outcome["error"].as_str() {
                Some(error) => {
                    assert!(tool != "often" && error.starts_with("interrupted: "), "{error}: {self}");
                    interrupted += 1;
                }
                None => {
                    assert!(outcome["output"].as_str().is_some_and(|output| output.contains("done")), "{outcome}");
                    assert!(!left.is_empty(), "an effect that nobody saw: {self}");
                }
            }
        }
        interrupted
    }

    /// Each process of the host asks once, and none asks for what a client had seen the answer to.
    fn was_not_asked_again_what_was_known(&self, asked: &BTreeMap<String, Vec<Asked>>) {
        for (life_seen, event) in self.followed.log.iter().filter(|(_, event)| event["type"] == "model.completed") {
            let key = format!("{}-m{}", self.followed.run, event["call"]);
            let requests = asked.get(&key).unwrap_or_else(|| panic!("nobody asked for {key}: {self}"));
            let lives: Vec<usize> = requests.iter().map(|asked| asked.life).collect();
            assert!(lives.is_sorted_by(|a, b| a < b), "{key} was asked in {lives:?}: {self}");
            assert!(lives.last() <= Some(life_seen), "{key} was asked in {lives:?} and known in {life_seen}: {self}");
            assert!(requests.iter().all(|asked| asked.body == requests[0].body), "{key} was another question: {self}");
        }
    }

    async fn record_fits(&self, house: &House) {
        let record = get(house, &format!("/v1/runs/{}", self.followed.run)).await;
        let end = self.log.last().unwrap();
        assert_eq!((&record["outcome"], &record["usage"]), (&end["outcome"], &end["usage"]), "{self}");
        assert_eq!(record["lastSeq"], end["seq"], "{self}");
        let answers = self.followed.texts.len();
        assert_eq!(record["usage"]["inputTokens"], json!(10 * answers), "each answer is counted once: {self}");
    }
}

impl std::fmt::Display for Story<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Followed { run, input, log, .. } = self.followed;
        writeln!(f, "run {run} ({input}), as its client has seen it:")?;
        for (life, event) in log {
            writeln!(f, "  {life}: {event}")?;
        }
        writeln!(f, "and as it is stored:")?;
        self.log.iter().try_for_each(|event| writeln!(f, "  {event}"))
    }
}

fn the_model_was_asked_by_these_runs_alone(asked: &BTreeMap<String, Vec<Asked>>, answers: usize) {
    // One key for each answer that is in a log.
    assert_eq!(asked.len(), answers, "{:?}", asked.keys());
}

/// Each run's input stands in its session once and is answered once, one run after the other.
async fn sessions_are_in_order(house: &House, all: &[Followed]) {
    let mut sessions = BTreeMap::<&str, Vec<&Followed>>::new();
    for followed in all {
        sessions.entry(&followed.session).or_default().push(followed);
    }
    for (session, runs) in sessions {
        let messages = pages(house, &format!("/v1/sessions/{session}/messages"), "after").await;
        let numbers = messages.iter().map(|message| message["number"].as_u64().unwrap());
        assert!(numbers.eq(0..messages.len() as u64), "{messages:#?}");
        let turns: Vec<&[Value]> = messages.chunk_by(|a, b| a["runId"] == b["runId"]).collect();
        assert_eq!(turns.len(), runs.len(), "{messages:#?}");
        for (turn, followed) in turns.iter().zip(runs) {
            assert_eq!(turn[0]["runId"], json!(followed.run), "{messages:#?}");
            let said: Vec<_> =
                turn.iter().map(|message| (message["role"].as_str(), message["text"].as_str())).collect();
            let answer = followed.texts.last().map(String::as_str);
            let right = [(Some("user"), Some(followed.input.as_str())), (Some("assistant"), answer)];
            assert_eq!(said, right, "{messages:#?}");
        }
    }
}
