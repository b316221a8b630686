use vivarium_sdk::mode::Visibility;
use vivarium_sdk::testing::{ScriptedHost, extractive};

use super::*;

fn all() -> Abilities {
    Abilities::FREE_TEXT | Abilities::TOOL_CALLS | Abilities::JSON_SCHEMA
}

fn request(input: &str) -> Request {
    Request {
        mode: "coding".to_owned(),
        input: input.to_owned(),
        instructions: None,
        max_cycles: 2,
        output_schema: None,
        history: Vec::new(),
    }
}

fn with_corpus(host: ScriptedHost) -> ScriptedHost {
    host.with_tool("corpus_search", |_| {
        let hit =
            serde_json::json!({"location": "src/lock.rs", "title": "lock.rs", "passage": "A mutex guards the table."});
        Ok((serde_json::json!({ "hits": [hit] }).to_string(), vec![]))
    })
    .with_tool("corpus_read", |_| {
        let text = "A mutex guards the table. Nothing guards the chairs.".to_owned();
        Ok((text.clone(), vec![("lock.rs".into(), "src/lock.rs".into(), text)]))
    })
}

#[test]
fn the_plan_and_each_tool_are_shown_as_steps() {
    let mut host = with_corpus(ScriptedHost::new(all()))
        .saying("1. Find the lock.\n\n2. Read it.")
        .asking_for(&[("corpus_read", r#"{"location":"src/lock.rs"}"#)])
        .saying("The table is guarded by a mutex [s1].");
    let outcome = run(&mut host, request("What guards the table?")).unwrap();
    assert_eq!(host.steps, ["Planning the work", "Plan: 1. Find the lock.", "Plan: 2. Read it.", "Using corpus_read"]);
    assert_eq!(outcome.citations[0].quote, "A mutex guards the table.");
    assert_eq!(host.asked[0].visibility, Visibility::Hidden, "nobody takes the plan for the answer");
}

#[test]
fn a_spent_budget_still_answers() {
    let mut host = with_corpus(ScriptedHost::new(all())).saying("Look.");
    for _ in 0..2 {
        host = host.asking_for(&[("corpus_search", r#"{"query":"x"}"#)]);
    }
    let mut host = host.saying("Nothing was found.");
    let outcome = run(&mut host, request("Fix it")).unwrap();
    assert_eq!(outcome.answer, "Nothing was found.");
    assert!(host.asked.last().unwrap().tools.is_empty());
}

#[test]
fn without_tools_there_is_no_plan() {
    let mut host = ScriptedHost::new(all()).saying("Use a loop.");
    run(&mut host, request("How do I repeat?")).unwrap();
    assert_eq!(host.asked.len(), 1);
    assert!(host.system_texts().contains("You have no tools here"));
}

#[test]
fn an_answer_by_a_schema_is_made_of_the_answer() {
    let mut host = ScriptedHost::new(all()).saying("Two.").saying(r#"{"n":2}"#);
    let outcome =
        run(&mut host, Request { output_schema: Some(r#"{"type":"object"}"#.into()), ..request("How many?") }).unwrap();
    assert_eq!(outcome.answer, "Two.");
    assert_eq!(outcome.answer_json.as_deref(), Some(r#"{"n":2}"#));
}

#[test]
fn the_embedded_answerer_says_where_things_stand() {
    let mut host = with_corpus(ScriptedHost::new(Abilities::PASSAGES)).with_model(extractive);
    let outcome = run(&mut host, request("What guards the table?")).unwrap();
    assert!(outcome.answer.starts_with("A mutex guards the table. [s1]"), "{}", outcome.answer);
    assert!(outcome.answer.contains("- [s1] lock.rs: `src/lock.rs`"), "{}", outcome.answer);
}

#[test]
fn without_documents_the_embedded_answerer_says_what_it_is() {
    let mut host = ScriptedHost::new(Abilities::PASSAGES);
    let outcome = run(&mut host, request("What guards the table?")).unwrap();
    assert!(outcome.answer.contains("is not a language model"));
}
