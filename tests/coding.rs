//! The mode `coding` with the tools over files, driven by a scripted model through small exercises: what comes out is what the files are,
//! and what the answer ends with is what the host has seen.

use reqwest::Method;
use serde_json::{Value, json};
use vivarium_tests::{Answer, Host, ScriptedModel};

struct Exercise {
    host: Host,
    model: ScriptedModel,
}

const SUM: &str = "def add(a, b):\n    return a - b\n\n\ndef mul(a, b):\n    return a * b\n";

impl Exercise {
    async fn with(files: &[(&str, &str)]) -> Self {
        let model = ScriptedModel::start().await;
        let host = Host::builder().model(&model).start().await;
        let (status, told) = host.json(Method::POST, "/v1/sessions", Some(&json!({"id": "s1"}))).await;
        assert_eq!(status, 201, "{told}");
        for (path, text) in files {
            let request = host.request(Method::PUT, &format!("/v1/sessions/s1/files/{path}")).body((*text).to_owned());
            assert_eq!(host.send(request).await.status(), 201, "{path}");
        }
        model.then(Answer::text("1. Read. 2. Change."));
        Self { host, model }
    }

    fn then(&self, tool: &str, arguments: Value) -> &Self {
        self.model.then(Answer::tool(tool, arguments));
        self
    }

    async fn solve(&self, task: &str) -> Value {
        let run = json!({"input": task, "mode": "coding", "sessionId": "s1"});
        let run = self.host.post_ok("/v1/runs", &run).await;
        assert_eq!(run["status"], "completed", "{run}\n{}", self.host.log());
        run
    }

    async fn file(&self, path: &str) -> String {
        self.host.get(&format!("/v1/sessions/s1/files/{path}")).await.text().await.unwrap()
    }

    async fn hash(&self, path: &str) -> String {
        let list = self.host.json(Method::GET, &format!("/v1/sessions/s1/files?prefix={path}"), None).await.1;
        list["data"][0]["hash"].as_str().unwrap().to_owned()
    }

    async fn steps(&self, run: &Value) -> Vec<String> {
        let path = format!("/v1/runs/{}/events?limit=200", run["id"].as_str().unwrap());
        let events = self.host.json(Method::GET, &path, None).await.1;
        let steps = events["data"].as_array().unwrap().iter().filter(|event| event["type"] == "step");
        steps.map(|event| event["message"].as_str().unwrap().to_owned()).collect()
    }

    /// What the tools have answered the model, in order.
    fn told(&self) -> Vec<String> {
        let last = self.model.requests().pop().unwrap();
        let messages = last["messages"].as_array().unwrap().clone();
        let tools = messages.into_iter().filter(|message| message["role"] == "tool");
        tools.map(|message| message["content"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

fn answer(run: &Value) -> &str {
    run["outcome"]["answer"].as_str().unwrap()
}

#[tokio::test]
async fn a_bug_is_found_and_repaired_and_the_answer_ends_with_the_difference() {
    let exercise = Exercise::with(&[("src/sum.py", SUM)]).await;
    let hash = exercise.hash("src/sum.py").await;
    exercise
        .then("search_files", json!({"pattern": "return a - b"}))
        .then("read_file", json!({"path": "src/sum.py"}))
        .then("edit_file", json!({"path": "src/sum.py", "hash": hash, "edits": [{"old": "a - b", "new": "a + b"}]}));
    exercise.model.then(Answer::text("add subtracted; it adds now."));
    let run = exercise.solve("add(1, 2) gives -1. Repair it.").await;
    assert_eq!(exercise.file("src/sum.py").await, SUM.replace("a - b", "a + b"));
    let expected = "add subtracted; it adds now.\n\n## Changes\n\n- `src/sum.py`: changed, +1 −1\n\n```diff\n--- a/src/sum.py\n\
                    +++ b/src/sum.py\n@@ -1,5 +1,5 @@\n def add(a, b):\n-    return a - b\n+    return a + b\n \n \n def mul(a, b):\n```\n\n## Runs\n\nNothing was run.";
    assert_eq!(answer(&run), expected);
    let steps = exercise.steps(&run).await;
    let expected = [
        "Planning the work",
        "Plan: 1. Read. 2. Change.",
        "Searching the workspace for return a - b",
        "Reading src/sum.py",
        "Editing src/sum.py",
    ];
    assert_eq!(steps, expected);
    assert!(exercise.told()[1].contains("     2\t    return a - b"), "{:?}", exercise.told());
}

#[tokio::test]
async fn a_stale_hash_and_an_ambiguous_edit_are_refused_with_what_to_do() {
    let exercise = Exercise::with(&[("src/sum.py", SUM)]).await;
    let hash = exercise.hash("src/sum.py").await;
    let edit = |hash: &str, old: &str, new: &str| json!({"path": "src/sum.py", "hash": hash, "edits": [{"old": old, "new": new}]});
    exercise
        .then("edit_file", edit("0123456789abcdef", "a - b", "a + b"))
        .then("edit_file", edit(&hash, "(a, b)", "(x, y)"))
        .then("edit_file", edit(&hash, "def subtract(a, b):\n    return a - b", "pass"))
        .then("edit_file", edit(&hash, "return a - b", "return a + b"));
    exercise.model.then(Answer::text("Repaired."));
    let run = exercise.solve("Repair add.").await;
    let told = exercise.told();
    assert!(told[0].contains(&format!("its hash is {} now", &hash[..16])), "{}", told[0]);
    assert!(told[1].contains("old stands in 2 places, at the lines 1, 5"), "{}", told[1]);
    assert!(told[2].contains("The nearest lines are:") && told[2].contains("     2\t    return a - b"), "{}", told[2]);
    assert!(told[3].contains("     2\t    return a + b"), "{}", told[3]);
    let steps = exercise.steps(&run).await;
    assert_eq!(steps.iter().filter(|step| step.starts_with("Refused: ")).count(), 3, "{steps:?}");
    assert_eq!(exercise.file("src/sum.py").await, SUM.replace("a - b", "a + b"));
}

#[tokio::test]
async fn a_refactoring_over_several_files_is_one_patch_or_none() {
    let main = "from sum import add\n\nprint(add(1, 2))\n";
    let exercise = Exercise::with(&[("sum.py", SUM), ("main.py", main), ("old.py", "gone = True\n")]).await;
    let good = "--- a/sum.py\n+++ b/sum.py\n@@ -1,2 +1,2 @@\n-def add(a, b):\n-    return a - b\n+def plus(a, b):\n+    return a + b\n\
                --- a/main.py\n+++ b/main.py\n@@ -1,3 +1,3 @@\n-from sum import add\n+from sum import plus\n \n-print(add(1, 2))\n+print(plus(1, 2))\n\
                --- a/old.py\n+++ /dev/null\n@@ -1 +0,0 @@\n-gone = True\n";
    let bad = good.replace("-print(add(1, 2))", "-print(add(3, 4))");
    exercise.then("apply_patch", json!({"patch": bad})).then("apply_patch", json!({"patch": good}));
    exercise.model.then(Answer::text("add is called plus now."));
    let run = exercise.solve("Call it plus, and let it add.").await;
    let told = exercise.told();
    assert!(
        told[0].contains("nothing was changed") && told[0].contains("main.py: hunk 1 of 1 does not fit"),
        "{}",
        told[0]
    );
    assert!(told[0].contains("     3\tprint(add(1, 2))"), "{}", told[0]);
    assert_eq!(exercise.file("main.py").await, "from sum import plus\n\nprint(plus(1, 2))\n");
    assert!(
        answer(&run).contains("- `main.py`: changed, +2 −2\n- `old.py`: removed, +0 −1\n- `sum.py`: changed, +2 −2"),
        "{}",
        answer(&run)
    );
    let changes =
        exercise.host.json(Method::GET, &format!("/v1/runs/{}/changes", run["id"].as_str().unwrap()), None).await.1;
    assert_eq!(changes["files"].as_array().unwrap().len(), 3);
}

#[tokio::test]
async fn at_the_last_cycle_the_model_has_to_answer_and_what_is_done_is_shown() {
    let exercise = Exercise::with(&[]).await;
    exercise
        .then(
            "todo",
            json!({"items": [{"text": "write it", "status": "doing"}, {"text": "test it", "status": "open"}]}),
        )
        .then("write_file", json!({"path": "fizz.py", "content": "print('fizz')\n"}));
    exercise.model.then(Answer::text("Half of it is done."));
    let run = json!({"input": "Write fizz.", "mode": "coding", "sessionId": "s1", "maxCycles": 2});
    let run = exercise.host.post_ok("/v1/runs", &run).await;
    assert!(answer(&run).starts_with("Half of it is done.\n\n## Changes\n"), "{}", answer(&run));
    assert!(answer(&run).contains("- `.todo.md`: added, +2 −0\n- `fizz.py`: added, +1 −0"), "{}", answer(&run));
    let steps = exercise.steps(&run).await;
    assert!(steps.contains(&"To do: 0 of 2 done; now: write it".to_owned()), "{steps:?}");
    let last = exercise.model.requests().pop().unwrap();
    assert!(last.get("tools").is_none_or(|tools| tools.as_array().is_none_or(Vec::is_empty)), "no tools at the end");
    assert_eq!(exercise.file(".todo.md").await, "- [~] write it\n- [ ] test it\n");
}

#[tokio::test]
async fn a_run_that_is_replayed_is_told_the_same_changes_though_the_files_are_others_by_then() {
    let exercise = Exercise::with(&[("a.txt", "one\n")]).await;
    exercise.then("write_file", json!({"path": "b.txt", "content": "two\n"}));
    exercise.model.then(Answer::text("Written."));
    let run = exercise.solve("Write b.").await;
    let id = run["id"].as_str().unwrap();
    let removed = exercise.host.request(Method::DELETE, "/v1/sessions/s1/files/b.txt");
    assert_eq!(exercise.host.send(removed).await.status(), 204);
    let (_, data) = exercise.host.stop().await;
    let folder = data.path().to_str().unwrap();
    let output = vivarium_tests::Cli::on(data.path()).run(&["replay", id, "--data", folder]).await;
    let told = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
}
