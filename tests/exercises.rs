//! Exercises as they are public, solved by a scripted model in the mode `coding` with the real tools and the real sandbox: the files that are
//! given, what the model calls (the wrong tries first), what it is told, and what the answer ends with. Each is a file in `exercises`:
//!
//! ```text
//! What is to be done.
//! == file two_fer_test.py
//! …
//! == call write_file {"path": "two_fer.py"}
//! …
//! == says
//! two_fer.py written
//! == answer
//! - `two_fer.py`: added
//! ```
//!
//! The text below a call is its longest argument: the content, the code, the patch, or old and new with a line `====` between them. A hash is
//! filled in from what the model was told before. Each line below `says` stands in what the tool answers, and one that begins with `!` does not.

use std::path::Path;
use std::sync::Arc;

use futures::StreamExt as _;
use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::{Answer, Host, ScriptedModel, repository_root};

/// One exercise.
#[derive(Debug, Default)]
struct Exercise {
    name: String,
    task: String,
    files: Vec<(String, String)>,
    calls: Vec<Call>,
    /// What stands in the answer.
    answer: Vec<String>,
}

/// What the model calls, and what it must be told.
#[derive(Debug)]
struct Call {
    tool: String,
    arguments: Value,
    says: Vec<String>,
}

impl Exercise {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).unwrap();
        let (task, rest) = text.split_once("\n== ").unwrap();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let mut exercise = Self { name, task: task.to_owned(), ..Self::default() };
        for part in rest.split("\n== ") {
            let (head, body) = part.split_once('\n').unwrap_or((part, ""));
            let body = format!("{}\n", body.trim_end_matches('\n'));
            let lines = || body.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            match head.split_once(' ').unwrap_or((head, "")) {
                ("file", path) => exercise.files.push((path.to_owned(), body)),
                ("call", call) => exercise.calls.push(Call::read(call, &body)),
                ("says", _) => exercise.calls.last_mut().unwrap().says = lines(),
                ("answer", _) => exercise.answer = lines(),
                other => panic!("{}: {other:?} is no part of an exercise", exercise.name),
            }
        }
        exercise
    }

    /// What the model does next, by what it has been told so far.
    fn next(&self, question: &Value) -> Answer {
        let told = told(question);
        let Some(call) = self.calls.get(told.len()) else { return Answer::text("That is what I have done.") };
        let mut arguments = call.arguments.clone();
        if arguments["hash"] == "?" {
            arguments["hash"] = json!(hash_of(arguments["path"].as_str().unwrap(), &told));
        }
        Answer::tool(&call.tool, arguments)
    }
}

impl Call {
    fn read(head: &str, body: &str) -> Self {
        let (tool, arguments) = head.split_once(' ').unwrap_or((head, "{}"));
        let mut arguments: Value = serde_json::from_str(arguments).unwrap_or_else(|error| panic!("{head}: {error}"));
        match tool {
            "write_file" => arguments["content"] = json!(body),
            "apply_patch" => arguments["patch"] = json!(body),
            "run_code" if body != "\n" => arguments["code"] = json!(body),
            "edit_file" => {
                let (old, new) = body.split_once("====\n").unwrap();
                arguments["edits"] = json!([{"old": old, "new": new}]);
                arguments["hash"] = json!("?");
            }
            _ => {}
        }
        Self { tool: tool.to_owned(), arguments, says: Vec::new() }
    }
}

/// What the tools have answered, in order.
fn told(question: &Value) -> Vec<String> {
    let messages = question["messages"].as_array().unwrap();
    let tools = messages.iter().filter(|message| message["role"] == "tool");
    tools.map(|message| message["content"].as_str().unwrap_or_default().to_owned()).collect()
}

/// The hash that a tool has told of a file last.
fn hash_of(path: &str, told: &[String]) -> String {
    let lines = told.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with(path));
    let mut hashes = lines.filter_map(|line| line.split("hash ").nth(1));
    hashes.next_back().unwrap_or_else(|| panic!("no hash of {path} in {told:?}")).chars().take(16).collect()
}

/// What a tool has answered as a person reads it: the parts of a JSON each on their own.
fn readable(text: &str) -> String {
    let line = |line: &str| match serde_json::from_str(line) {
        Ok(Value::Object(parts)) => {
            let shown = parts.iter().map(|(name, part)| match part {
                Value::String(text) => format!("{name}: {text}"),
                other => format!("{name}: {other}"),
            });
            shown.collect::<Vec<_>>().join("\n")
        }
        _ => line.to_owned(),
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

async fn solve(host: &Host, model: &ScriptedModel, exercise: &Exercise) -> Vec<String> {
    let id = &exercise.name;
    let (status, made) = host.json(Method::POST, "/v1/sessions", Some(&json!({"id": id}))).await;
    assert_eq!(status, 201, "{made}");
    for (path, text) in &exercise.files {
        let request = host.request(Method::PUT, &format!("/v1/sessions/{id}/files/{path}")).body(text.clone());
        assert_eq!(host.send(request).await.status(), 201, "{id}: {path}");
    }
    let input = format!("{}\nExercise: {id}.", exercise.task);
    let run = json!({"input": input, "mode": "coding", "sessionId": id, "maxCycles": 30, "background": true});
    let (_, mut run) = host.json(Method::POST, "/v1/runs", Some(&run)).await;
    // Beside other tests, what a program takes may last for minutes.
    for _ in 0..8 {
        let path = format!("/v1/runs/{}?wait=30", run["id"].as_str().unwrap_or_else(|| panic!("{run}")));
        run = host.json(Method::GET, &path, None).await.1;
        if !matches!(run["status"].as_str(), Some("queued" | "running")) {
            break;
        }
    }
    assert_eq!(run["status"], "completed", "{run}");
    let of_this = |question: &&Value| question["messages"].to_string().contains(&format!("Exercise: {id}."));
    let asked = model.requests();
    let told = told(asked.iter().rfind(of_this).unwrap());
    let answer = run["outcome"]["answer"].as_str().unwrap();
    let mut wrong = Vec::new();
    let mut expect = |what: &str, text: &str, line: &str| {
        let holds = match line.strip_prefix('!') {
            Some(line) => !text.contains(line),
            None => text.contains(line),
        };
        if !holds {
            wrong.push(format!("{id}: {what} should say {line:?}, and says:\n{text}\n"));
        }
    };
    assert_eq!(told.len(), exercise.calls.len(), "{id}: as many calls as it has are made: {told:#?}");
    for ((at, call), text) in exercise.calls.iter().enumerate().zip(&told) {
        let text = readable(text);
        let what = format!("call {} of {}", at + 1, call.tool);
        call.says.iter().for_each(|line| expect(&what, &text, line));
    }
    exercise.answer.iter().for_each(|line| expect("the answer", answer, line));
    wrong
}

async fn solve_all(folder: &str) {
    crate::run_code::compiled().await;
    let folder = repository_root().join("tests/exercises").join(folder);
    let files = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path());
    let exercises: Arc<[Exercise]> = files.map(|path| Exercise::read(&path)).collect();
    assert!(!exercises.is_empty(), "{} holds exercises", folder.display());
    let model = ScriptedModel::start().await;
    let known = Arc::clone(&exercises);
    model.by_rule(move |question| {
        let text = question["messages"].to_string();
        let exercise = known.iter().find(|exercise| text.contains(&format!("Exercise: {}.", exercise.name))).unwrap();
        if question.get("tools").is_none() { Answer::text("1. Write it. 2. Run it.") } else { exercise.next(question) }
    });
    let host =
        Host::builder().environment("VIVARIUM_PROGRAMS_DIR", crate::run_code::programs()).model(&model).start().await;
    let solved = futures::stream::iter(exercises.iter()).map(|exercise| solve(&host, &model, exercise));
    let wrong: Vec<String> = solved.buffer_unordered(3).collect::<Vec<_>>().await.concat();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn exercises_in_python_are_solved_and_their_failures_say_what_to_repair() {
    solve_all("python").await;
}

#[tokio::test]
async fn exercises_in_javascript_are_solved_and_their_failures_say_what_to_repair() {
    solve_all("javascript").await;
}

#[tokio::test]
async fn repositories_are_repaired_by_patches_and_edits_whose_refusals_say_what_to_repair() {
    solve_all("repositories").await;
}

#[tokio::test]
async fn what_the_sandbox_has_not_is_refused_plainly_and_what_to_do_instead_is_said() {
    solve_all("limits").await;
}
