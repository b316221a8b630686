use vivarium_sdk::mode::{CallResult, ChangeKind, Difference, FileChange, ToolCall, Visibility};
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
    assert!(outcome.answer.contains("1. [s1] lock.rs: `src/lock.rs`"), "{}", outcome.answer);
}

#[test]
fn without_documents_the_embedded_answerer_says_what_it_is() {
    let mut host = ScriptedHost::new(Abilities::PASSAGES);
    let outcome = run(&mut host, request("What guards the table?")).unwrap();
    assert!(outcome.answer.contains("is not a language model"));
}

/// A host with files to change and programs to run: each run gives the next of these exit codes.
fn with_runs(host: ScriptedHost, exit_codes: &'static [i64]) -> ScriptedHost {
    let mut codes = exit_codes.iter().copied();
    let mut host = host
        .with_tool("edit_file", |_| Ok(("src/sum.py: 2 lines, 20 bytes, hash 0123456789abcdef".to_owned(), vec![])))
        .with_tool("run_code", move |_| {
            let code = codes.next().unwrap_or(0);
            // How long it took is another number each time.
            let took = codes.len();
            let told = serde_json::json!({"summary": format!("… after {took} ms."), "exitCode": code, "durationMs": took,
                "stdout": format!("{} 2 failed in {took}.1s (0:00:0{took}) ===", "=".repeat(9 - took)), "stderr": "AssertionError"});
            Ok((told.to_string(), vec![]))
        });
    let file = FileChange {
        path: "src/sum.py".to_owned(),
        kind: ChangeKind::Changed,
        is_text: true,
        added_lines: 1,
        removed_lines: 1,
    };
    let diff = "--- a/src/sum.py\n+++ b/src/sum.py\n@@ -1 +1 @@\n-a - b\n+a + b\n".to_owned();
    host.changes = Some(Difference { files: vec![file], more_files: 0, diff, more_lines: 3 });
    host.with_tools_that_write()
}

const EDIT: (&str, &str) = ("edit_file", r#"{"path":"src/sum.py","hash":"0123456789abcdef","edits":[]}"#);
const RUN: (&str, &str) = ("run_code", r#"{"language":"python","path":"tests.py"}"#);

#[test]
fn a_failing_run_is_repaired_and_the_answer_ends_with_what_the_host_has_seen() {
    let host = with_runs(ScriptedHost::new(all()), &[1, 0]).saying("1. Run. 2. Repair.");
    let host = host.asking_for(&[RUN]).asking_for(&[EDIT]).asking_for(&[RUN]);
    let mut host = host.saying("The sum is right now.");
    let outcome = run(&mut host, Request { max_cycles: 9, ..request("Repair the sum") }).unwrap();
    assert_eq!(
        host.steps,
        [
            "Planning the work",
            "Plan: 1. Run. 2. Repair.",
            "Running tests.py: exit code 1 (`AssertionError`)",
            "Editing src/sum.py",
            "Running tests.py: exit code 0",
        ]
    );
    let expected = "The sum is right now.\n\n## Changes\n\n- `src/sum.py`: changed, +1 −1\n\n```diff\n--- a/src/sum.py\n+++ b/src/sum.py\n\
                    @@ -1 +1 @@\n-a - b\n+a + b\n```\n\nThe diff has 3 more lines.\n\n## Runs\n\n\
                    - `tests.py`: exit code 1 (`AssertionError`)\n- `tests.py`: exit code 0";
    assert_eq!(outcome.answer, expected);
}

#[test]
fn who_wants_to_end_on_a_failure_is_asked_once_to_go_on_and_its_words_are_not_the_answer() {
    let host = with_runs(ScriptedHost::new(all()), &[1, 0]).saying("Run it.").asking_for(&[RUN]);
    let mut host = host.saying("It fails.").asking_for(&[RUN]).saying("It works.");
    let outcome = run(&mut host, Request { max_cycles: 9, ..request("Repair the sum") }).unwrap();
    assert!(outcome.answer.starts_with("It works.\n"), "{}", outcome.answer);
    let hidden = host.asked.iter().filter(|asked| asked.visibility == Visibility::Hidden).count();
    assert_eq!(hidden, 2, "the plan, and the question whose answer may not be the last word");
    let told = host.asked.last().unwrap().messages.iter().map(Message::text).collect::<Vec<_>>().join("\n");
    assert!(told.contains("The last run failed: tests.py, exit code 1 (`AssertionError`)."), "{told}");
}

#[test]
fn a_failure_that_is_the_same_as_before_is_told_to_the_model() {
    let mut host = with_runs(ScriptedHost::new(all()), &[1, 1, 1]).saying("Run it.");
    for _ in 0..3 {
        host = host.asking_for(&[RUN]);
    }
    let mut host = host.saying("It can not be repaired.");
    let outcome = run(&mut host, Request { max_cycles: 3, ..request("Repair the sum") }).unwrap();
    let told: Vec<String> = host.asked.last().unwrap().messages.iter().map(Message::text).collect();
    assert!(
        told.iter().any(|text| text.contains("in the same way 2 times"))
            && told.iter().any(|text| text.contains("in the same way 3 times"))
    );
    assert!(told.last().unwrap().starts_with("There are no more cycles"), "at the last cycle it has to answer");
    assert!(outcome.answer.starts_with("It can not be repaired.\n"), "{}", outcome.answer);
    assert!(
        outcome.answer.ends_with("- `tests.py`: exit code 1 (`AssertionError`)\n\nThe last run failed."),
        "{}",
        outcome.answer
    );
}

#[test]
fn a_model_that_says_that_it_has_run_something_adds_no_run() {
    let host = with_runs(ScriptedHost::new(all()), &[]).saying("Do it.").asking_for(&[EDIT]);
    let mut host = host.saying("I ran all tests: exit code 0.");
    let outcome = run(&mut host, request("Repair the sum")).unwrap();
    assert!(outcome.answer.contains("## Changes"));
    assert!(outcome.answer.ends_with("## Runs\n\nNothing was run."), "{}", outcome.answer);
}

#[test]
fn the_embedded_answerer_says_that_it_has_done_no_work() {
    let mut host = with_runs(with_corpus(ScriptedHost::new(Abilities::PASSAGES)).with_model(extractive), &[]);
    let outcome = run(&mut host, request("What guards the table?")).unwrap();
    assert!(outcome.answer.contains("No file was changed and no code was run"), "{}", outcome.answer);
}

#[test]
fn a_change_behind_the_last_run_is_said_to_be_one() {
    let host = with_runs(ScriptedHost::new(all()), &[0]).saying("Do it.").asking_for(&[RUN]).asking_for(&[EDIT]);
    let mut host = host.saying("Done.");
    let outcome = run(&mut host, request("Repair the sum")).unwrap();
    assert!(
        outcome.answer.ends_with("- `tests.py`: exit code 0\n\nFiles were changed after the last run."),
        "{}",
        outcome.answer
    );
}

#[test]
fn what_a_program_says_last_is_shown_as_text_and_nothing_else() {
    let call = ToolCall {
        id: "1".into(),
        name: "run_code".into(),
        arguments_json: r#"{"language":"python","module":"pytest","args":["a_test.py"]}"#.into(),
    };
    let told = |code: i64, stdout: &str, stderr: &str| {
        let content = serde_json::json!({"exitCode": code, "stdout": stdout, "stderr": stderr}).to_string();
        let result = CallResult { id: "1".into(), name: "run_code".into(), content, is_error: false, sources: vec![] };
        let ran = calls::ran(&call, &result).unwrap();
        format!("{}: {}", ran.what, ran.result())
    };
    assert_eq!(told(0, "..\n=== 2 passed in 0.02s ===\n", ""), "pytest a_test.py: exit code 0 (`2 passed in 0.02s`)");
    assert_eq!(
        told(1, "x", "Traceback\nValueError: `![a](http://x)`\n"),
        "pytest a_test.py: exit code 1 (`ValueError: '![a](http://x)'`)"
    );
    assert_eq!(told(4, "", ""), "pytest a_test.py: exit code 4");
}
