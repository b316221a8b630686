use serde_json::{Value, json};
use vivarium_domain::{AssistantMessage, ContentHash, Outcome};

use super::*;
use crate::recording::Recording;

/// The recording of a run whose log goes on like this after its start.
fn recording(events: &[Value]) -> Recording {
    let empty = ContentHash::of(b"[]");
    let started = json!({
        "type": "run.started", "mode": "m", "plugin": empty, "model": "test/model", "sessionId": "s", "historyMessages": 0,
        "input": "Hi", "maxCycles": 1, "historyHash": empty, "tools": empty,
    });
    let numbered = |(seq, event): (usize, &Value)| {
        let mut event = event.clone();
        event["seq"] = json!(seq);
        event["at"] = json!("2026-11-22T00:00:00Z");
        event
    };
    let log: Vec<Value> = (1..).zip(std::iter::once(&started).chain(events)).map(numbered).collect();
    let run = json!({
        "id": "01a200f9-7a56-7346-9f99-820d85191ebb", "status": "completed", "mode": "m", "plugin": empty, "model": "test/model",
        "sessionId": "s", "input": "Hi", "maxCycles": 1, "createdAt": "2026-11-22T00:00:00Z", "lastSeq": log.len(),
        "usage": {"inputTokens": 0, "outputTokens": 0},
    });
    let document = json!({
        "format": 1, "run": run, "history": [], "tools": [], "events": log, "texts": {}, "component": null,
    });
    Recording::read(document.to_string().as_bytes()).unwrap()
}

fn offline(events: &[Value]) -> Arc<Offline> {
    Arc::new(recording(events).offline(None).unwrap())
}

fn step(message: &str) -> Value {
    json!({"type": "step", "message": message})
}

fn tool_started(arguments: &str) -> Value {
    json!({"type": "tool.started", "callId": "c", "tool": "t", "argumentsJson": arguments, "idempotencyKey": "k"})
}

fn tool_completed() -> Value {
    let usage = json!({"wallMs": 0, "cpuMs": 0, "memoryPeakBytes": 0, "egressBytes": 0, "egressRequests": 0});
    json!({"type": "tool.completed", "callId": "c", "tool": "t", "outcome": {"output": "out"}, "usage": usage})
}

fn completed(answer: &str) -> Value {
    json!({"type": "run.completed", "outcome": {"answer": answer}, "usage": {"inputTokens": 0, "outputTokens": 0}})
}

fn call(arguments: &str) -> ToolCall {
    ToolCall { id: "c".to_owned(), name: "t".to_owned(), arguments_json: arguments.to_owned() }
}

fn said(answer: &str) -> Option<Asked> {
    let outcome = Outcome { answer: answer.to_owned(), ..Outcome::default() };
    Some(Asked::new("end", json!({"outcome": outcome})))
}

fn report(host: &Arc<Offline>, message: &str) -> bool {
    Arc::clone(host).step(message.to_owned()).now_or_never().unwrap().is_ok()
}

fn difference(replayed: Replayed) -> (u64, Value, Value) {
    let Difference { seq, before, now } = replayed.difference.unwrap();
    (seq, json!(before), json!(now))
}

#[test]
fn what_is_done_as_before_is_no_difference() {
    let host = offline(&[step("One"), tool_started(r#"{"a":1}"#), tool_completed(), completed("Done.")]);
    assert!(report(&host, "One"));
    let results = host.call_all(vec![call(r#"{"a":1}"#)]).unwrap();
    assert_eq!(results[0].content, "out");
    let replayed = host.finish(said("Done."));
    assert_eq!((replayed.calls, replayed.difference, replayed.cut_short), (2, None, false));
}

#[test]
fn the_first_difference_is_told_with_its_event_and_nothing_is_answered_after_it() {
    let host = offline(&[step("One"), tool_started(r#"{"a":1}"#), tool_completed(), step("Two"), completed("Done.")]);
    assert!(report(&host, "One"));
    assert!(host.call_all(vec![call(r#"{"a":2}"#)]).is_err());
    assert!(!report(&host, "Two"), "it can not be known what would have come of it");
    let replayed = host.finish(None);
    assert_eq!(replayed.calls, 1);
    let asked = |a: u32| json!({"call": "tools.call-all", "with": {"tool": "t", "arguments": {"a": a}}});
    assert_eq!(difference(replayed), (3, asked(1), asked(2)));
}

#[test]
fn a_clock_that_was_not_asked_before_is_a_difference_although_it_can_not_refuse() {
    let host = offline(&[step("One"), completed("Done.")]);
    assert_eq!(host.wall_clock(), 0);
    let (seq, _, now) = difference(host.finish(said("Done.")));
    assert_eq!((seq, &now["call"]), (2, &json!("wasi:clocks/wall-clock")));
}

#[test]
fn an_end_that_comes_sooner_later_or_otherwise_is_a_difference() {
    let log = [step("One"), completed("Done.")];
    let sooner = offline(&log);
    assert_eq!(difference(sooner.finish(said("Done."))).0, 2);
    let later = offline(&log);
    assert!(report(&later, "One") && !report(&later, "Two"));
    let (seq, before, now) = difference(later.finish(None));
    assert_eq!((seq, &before["call"], &now["call"]), (3, &json!("end"), &json!("steps.report")));
    let otherwise = offline(&log);
    assert!(report(&otherwise, "One"));
    let (seq, before, now) = difference(otherwise.finish(said("Not quite.")));
    assert_eq!(seq, 3);
    assert_eq!(
        (&before["with"]["outcome"]["answer"], &now["with"]["outcome"]["answer"]),
        (&json!("Done."), &json!("Not quite."))
    );
}

#[test]
fn a_recording_that_ends_before_its_mode_does_is_told_from_a_difference() {
    let usage = json!({"inputTokens": 0, "outputTokens": 0});
    let cancelled = json!({"type": "run.cancelled", "reason": "a client asked for it", "usage": usage});
    let in_a_tool = offline(&[step("One"), tool_started("{}"), cancelled.clone()]);
    assert!(report(&in_a_tool, "One") && in_a_tool.call_all(vec![call("{}")]).is_err());
    let replayed = in_a_tool.finish(None);
    assert_eq!((replayed.calls, replayed.difference, replayed.cut_short), (1, None, true));
    let between = offline(&[step("One"), cancelled]);
    assert!(report(&between, "One") && !report(&between, "Two"));
    assert!(between.finish(None).cut_short);
}

#[test]
fn what_the_log_tells_in_short_is_compared_in_full_with_what_the_recorded_component_said() {
    let appended = json!({"type": "host.answered", "call": "sessionAppend", "answer": 1});
    let recording = recording(&[appended, completed("Done.")]);
    let messages =
        |text: &str| vec![Message::Assistant(AssistantMessage { text: text.to_owned(), tool_calls: Vec::new() })];
    let before = recording.offline(None).unwrap();
    before.append(messages("Kind words.")).unwrap();
    let before = before.finish(said("Done."));
    assert_eq!(before.difference, None);
    let alone = recording.offline(None).unwrap();
    alone.append(messages("Other words.")).unwrap();
    assert_eq!(alone.finish(said("Done.")).difference, None, "the log has their number alone");
    let now = recording.offline(Some(&before)).unwrap();
    assert!(now.append(messages("Other words.")).is_err());
    let (seq, before, now) = difference(now.finish(None));
    assert_eq!(seq, 2);
    assert!(before.to_string().contains("Kind words.") && now.to_string().contains("Other words."));
}

#[test]
fn a_recording_of_another_form_is_refused() {
    let error = Recording::read(br#"{"format": 2}"#).unwrap_err();
    assert_eq!(error, "the recording has format 2, and this version reads format 1");
    assert!(Recording::read(b"<html>").unwrap_err().starts_with("this is no recording of a run"));
}
