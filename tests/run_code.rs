//! `run_code` with the real components: JavaScript, Python and commands of WASI in the sandbox, what they can do, and each of the
//! walls that they run into.

mod walls;

use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::OnceCell;
use vivarium_tests::{Answer, Cli, Host, HostBuilder, ScriptedModel, SseStream, soon, vivarium_binary};

/// Where `cargo xtask programs` puts them.
pub(crate) fn programs() -> PathBuf {
    let folder = vivarium_binary().ancestors().nth(2).unwrap().join("programs");
    assert!(
        folder.join("python/python.wasm").is_file(),
        "`cargo xtask programs` fetches Python into {}",
        folder.display()
    );
    folder
}

/// Once for all tests here, whoever comes first: the programs' compiled forms are there, so that no call waits for the compiler.
pub(crate) async fn compiled() {
    static COMPILED: OnceCell<()> = OnceCell::const_new();
    let compile = || async {
        let host = Host::builder().environment("VIVARIUM_PROGRAMS_DIR", programs()).start().await;
        limit(&host, json!({"wallMs": 20_000})).await;
        for language in ["javascript", "python"] {
            let mut told = Value::Null;
            for _ in 0..15 {
                told = run(&host, json!({"language": language, "code": "1"})).await;
                if told["ok"] == true {
                    break;
                }
            }
            assert_eq!(told["ok"], true, "{told}");
        }
    };
    COMPILED.get_or_init(compile).await;
}

/// A server with the programs that came with the binary.
async fn plain() -> HostBuilder {
    compiled().await;
    Host::builder()
}

/// A server with Python.
async fn with_python() -> HostBuilder {
    plain().await.environment("VIVARIUM_PROGRAMS_DIR", programs())
}

/// What a call says: the tool's own JSON, or its error as a text.
async fn run_as(host: &Host, key: &str, arguments: Value, session: Option<&str>) -> Value {
    let mut body = json!({"arguments": arguments});
    if let Some(session) = session {
        body["sessionId"] = json!(session);
    }
    let (status, answer) = host.json_as(key, Method::POST, "/v1/tools/run_code/call", Some(&body)).await;
    assert_eq!(status, 200, "{answer}\n{}", host.log());
    match answer["output"].as_str() {
        Some(output) => serde_json::from_str(output).unwrap(),
        None => answer["error"].clone(),
    }
}

async fn run(host: &Host, arguments: Value) -> Value {
    run_as(host, host.key(), arguments, Some("one")).await
}

async fn javascript(host: &Host, code: &str) -> Value {
    run(host, json!({"language": "javascript", "code": code})).await
}

async fn python(host: &Host, code: &str) -> Value {
    run(host, json!({"language": "python", "code": code})).await
}

fn text<'a>(told: &'a Value, field: &str) -> &'a str {
    told[field].as_str().unwrap_or_else(|| panic!("no {field} in {told}"))
}

/// Gives `run_code` other limits.
async fn limit(host: &Host, limits: Value) {
    let grant = json!({"files": "write", "programs": true, "limits": limits});
    let (status, told) = host.json(Method::PUT, "/v1/plugins/vivarium/run-code/grants", Some(&grant)).await;
    assert_eq!(status, 200, "{told}");
}

/// The folder of the session `one`, which is the only one.
fn folder(host: &Host) -> PathBuf {
    let only = |folder: &Path| {
        let mut entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let first = entries.next().unwrap();
        assert!(entries.next().is_none(), "{} holds more than one", folder.display());
        first
    };
    only(&only(&host.data().join("workspaces")))
}

/// A command of WASI 0.1 that says a word, and exits with 7 where it has an argument.
const COMMAND: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "args_sizes_get" (func $sizes (param i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
    (memory (export "memory") 1)
    (data (i32.const 16) "hello from wasm\n")
    (func (export "_start")
        (i32.store (i32.const 0) (i32.const 16))
        (i32.store (i32.const 4) (i32.const 16))
        (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
        (drop (call $sizes (i32.const 64) (i32.const 68)))
        (if (i32.gt_u (i32.load (i32.const 64)) (i32.const 1)) (then (call $exit (i32.const 7))))))"#;

/// Puts a file into the workspace of the session `one`, past the host.
async fn place(host: &Host, name: &str, bytes: &[u8]) {
    javascript(host, "import fs from 'fs'; fs.writeFileSync('here', '')").await;
    std::fs::write(folder(host).join(name), bytes).unwrap();
}

#[tokio::test]
async fn javascript_runs_modules_promises_and_files_of_the_workspace() {
    let host = with_python().await.start().await;
    let told = javascript(
        &host,
        r#"import fs, { readFileSync } from "node:fs";
        fs.mkdirSync("lib/deep", { recursive: true });
        fs.writeFileSync("lib/deep/add.js", "export const add = (a, b) => a + b;");
        fs.writeFileSync("data.json", JSON.stringify({ list: [1, 2, 3] }));
        fs.writeFileSync("old.cjs", "module.exports = { twice: (n) => 2 * n };");
        const { add } = await import("./lib/deep/add.js");
        const data = (await import("./data.json")).default;
        await new Promise((done) => setTimeout(done, 5));
        console.log(add(1, 2), data, require("./old.cjs").twice(4), [..."äö"].length);
        console.error("to the other side");
        console.log(readFileSync("data.json", "utf8"), fs.existsSync("nowhere"), fs.readdirSync("lib"));
        Promise.resolve().then(() => console.log("at last"));"#,
    )
    .await;
    assert_eq!(told["exitCode"], 0, "{told}");
    assert_eq!(text(&told, "stdout"), "3 { list: [ 1, 2, 3 ] } 8 2\n{\"list\":[1,2,3]} false [ 'deep' ]\nat last\n");
    assert_eq!(text(&told, "stderr"), "to the other side\n");
    let changed = told["changedFiles"].as_array().unwrap();
    for path in ["lib", "lib/deep", "lib/deep/add.js", "data.json", "old.cjs"] {
        assert!(changed.contains(&json!(path)), "{path}: {told}");
    }
    // From a file, with arguments, standard input and an exit code.
    let code = "import fs from 'fs'; console.log(process.argv.slice(2), fs.readFileSync(0, 'utf8')); process.exit(3)";
    javascript(&host, &format!("import fs from 'fs'; fs.writeFileSync('main.mjs', {})", json!(code))).await;
    let arguments = json!({"language": "javascript", "path": "main.mjs", "args": ["a", "b c"], "stdin": "in"});
    let told = run(&host, arguments).await;
    assert_eq!(
        (text(&told, "stdout"), &told["exitCode"], &told["ok"]),
        ("[ 'a', 'b c' ] in\n", &json!(3), &json!(false))
    );
}

#[tokio::test]
async fn an_error_in_javascript_is_told_with_its_place_and_a_hint() {
    let host = with_python().await.start().await;
    let told = javascript(&host, "function inner() {\n  throw new TypeError('no such luck');\n}\ninner();").await;
    assert_eq!(told["exitCode"], 1, "{told}");
    let stderr = text(&told, "stderr");
    assert!(stderr.starts_with("Uncaught TypeError: no such luck") && stderr.contains("inner"), "{stderr}");
    for (code, said, hint) in [
        ("let = ;", "SyntaxError", "parse"),
        ("import x from 'express';", "Cannot find package 'express'", "Nothing can be"),
        ("import x from './nowhere.js';", "Cannot find module './nowhere.js'", "not in the workspace"),
        ("import fs from 'fs'; fs.readFileSync('nowhere')", "ENOENT", "workspace's root"),
        ("await fetch('https://example.com')", "there is no network", "no network"),
        ("Promise.reject(new Error('nobody cares'))", "nobody cares", ""),
        ("const f = () => f() + 1; f()", "", ""),
    ] {
        let told = javascript(&host, code).await;
        assert_eq!(told["ok"], false, "{code}: {told}");
        assert!(text(&told, "stderr").contains(said), "{code}: {told}");
        assert!(hint.is_empty() || text(&told, "hint").contains(hint), "{code}: {told}");
    }
}

#[tokio::test]
async fn python_is_cpython_with_its_library_and_the_workspace() {
    let host = with_python().await.start().await;
    let told = python(
        &host,
        "import sys, json, re, csv, sqlite3, decimal, datetime, pathlib, statistics, collections\n\
         pathlib.Path('lib.py').write_text('def twice(n):\\n    return 2 * n\\n')\n\
         import lib\n\
         db = sqlite3.connect(':memory:'); db.execute('create table t (a)'); db.execute('insert into t values (5)')\n\
         print(lib.twice(21), json.dumps({'ä': 1}, ensure_ascii=False), db.execute('select a from t').fetchone())\n\
         print(sys.version_info[:2], sys.argv, decimal.Decimal('0.1') * 3, statistics.mean([1, 2]))\n\
         print('err', file=sys.stderr)",
    )
    .await;
    assert_eq!(told["exitCode"], 0, "{told}");
    assert_eq!(text(&told, "stdout"), "42 {\"ä\": 1} (5,)\n(3, 12) ['main.py'] 0.3 1.5\n");
    assert_eq!(text(&told, "stderr"), "err\n");
    assert_eq!(told["changedFiles"], json!(["lib.py"]), "{told}");
    let told = python(&host, "def inner():\n    return 1 / 0\ninner()").await;
    assert_eq!(told["exitCode"], 1);
    let stderr = text(&told, "stderr");
    assert!(stderr.contains("File \"main.py\", line 2, in inner") && stderr.contains("return 1 / 0"), "{stderr}");
    assert!(!stderr.contains("<string>"), "what starts it is not shown: {stderr}");
    for (code, code_of_exit, hint) in [
        ("import sys; sys.exit(5)", 5, ""),
        ("import numpy", 1, "Nothing can be installed"),
        ("print('a", 1, "does not parse"),
        ("import urllib.request; urllib.request.urlopen('http://example.com')", 1, "no network"),
        ("import subprocess; subprocess.run(['ls'])", 1, "no other processes"),
        ("import threading; threading.Thread(target=print).start()", 1, "no threads"),
        ("import asyncio; asyncio.run(asyncio.Event().wait())", 1, "asyncio has timers"),
        ("open('nowhere')", 1, "workspace's root"),
    ] {
        let told = python(&host, code).await;
        assert_eq!(told["exitCode"], code_of_exit, "{code}: {told}");
        assert!(hint.is_empty() || text(&told, "hint").contains(hint), "{code}: {told}");
    }
    let told = run(&host, json!({"language": "python", "path": "lib.py", "args": ["x"], "stdin": "y"})).await;
    assert_eq!(told["ok"], true, "{told}");
}

#[tokio::test]
async fn a_command_of_the_workspace_runs_be_it_a_module_or_a_component() {
    let host = with_python().await.start().await;
    place(&host, "hello.wasm", &wat::parse_str(COMMAND).unwrap()).await;
    let told = run(&host, json!({"language": "wasm", "path": "hello.wasm"})).await;
    assert_eq!((text(&told, "stdout"), &told["exitCode"]), ("hello from wasm\n", &json!(0)), "{told}");
    let told = run(&host, json!({"language": "wasm", "path": "/workspace/hello.wasm", "args": ["x"]})).await;
    assert_eq!(told["exitCode"], 7, "{told}");
    // The engine for JavaScript is a component, and a command.
    let component = vivarium_tests::repository_root().join("plugins/dist/program-javascript.wasm");
    place(&host, "js.wasm", &std::fs::read(component).unwrap()).await;
    let arguments = json!({"language": "wasm", "path": "js.wasm", "args": ["-e", "console.log(6 * 7)"]});
    let told = run(&host, arguments).await;
    assert_eq!(text(&told, "stdout"), "42\n", "{told}");
}

#[tokio::test]
async fn what_one_call_writes_the_next_of_its_session_reads_and_nobody_else() {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    let mut keys = Vec::new();
    for tenant in ["own", "other"] {
        cli.output(&["tenant", "create", "--tier", "max", tenant]).await;
        keys.push(cli.output(&["key", "create", "--tenant", tenant, "--scope", "runs"]).await);
    }
    let (own, other) = (keys[0].as_str(), keys[1].as_str());
    let host = with_python().await.data(data).start().await;
    let write = "import fs from 'fs'; fs.writeFileSync('note.txt', 'from javascript')";
    run_as(&host, own, json!({"language": "javascript", "code": write}), Some("one")).await;
    let read = json!({"language": "python", "code": "print(open('note.txt').read())"});
    let told = run_as(&host, own, read.clone(), Some("one")).await;
    assert_eq!(text(&told, "stdout"), "from javascript\n");
    for (key, session) in [(own, Some("two")), (own, None), (other, Some("one"))] {
        let told = run_as(&host, key, read.clone(), session).await;
        assert!(text(&told, "stderr").contains("FileNotFoundError"), "{session:?}: {told}");
    }
}

#[tokio::test]
async fn python_that_is_not_installed_is_said_to_be_missing_and_javascript_goes_on() {
    let host = plain().await.start().await;
    let told = python(&host, "print(1)").await;
    assert!(
        told.as_str().unwrap().contains("python is not installed on this host; installed are: javascript"),
        "{told}"
    );
    assert_eq!(text(&javascript(&host, "console.log(1)").await, "stdout"), "1\n");
}

#[tokio::test]
async fn without_the_grant_nothing_runs_and_the_refusal_names_the_grant() {
    let host = plain().await.start().await;
    let (status, told) =
        host.json(Method::PUT, "/v1/plugins/vivarium/run-code/grants", Some(&json!({"files": "write"}))).await;
    assert_eq!(status, 200, "{told}");
    let told = javascript(&host, "console.log(1)").await;
    assert!(told.as_str().unwrap().contains("a grant of `programs: true` would allow it"), "{told}");
}

#[tokio::test]
async fn what_can_not_be_run_is_refused_before_it_is_run() {
    let host = plain().await.start().await;
    for (arguments, said) in [
        (json!({"language": "javascript"}), "give the code"),
        (json!({"language": "javascript", "code": "1", "path": "a.js"}), "not two of them"),
        (json!({"language": "wasm", "code": "(module)"}), "`path`"),
        (json!({"language": "wasm", "path": "nowhere.wasm"}), "nowhere.wasm can not be read"),
        (json!({"language": "ruby", "code": "puts 1"}), "ruby"),
        (json!({"language": "javascript", "code": ""}), "code"),
    ] {
        let told = run(&host, arguments.clone()).await;
        assert!(told.as_str().unwrap_or_default().contains(said), "{arguments}: {told}");
    }
}

/// A run whose model has one program run, and its id.
async fn run_of(host: &Host, model: &ScriptedModel, code: &str) -> String {
    model.then(Answer::tool("run_code", json!({"language": "python", "code": code}))).then(Answer::text("Done."));
    let body = json!({"mode": "chat", "input": "go", "background": true, "tools": ["run_code"], "sessionId": "one"});
    let (status, run) = host.json(Method::POST, "/v1/runs", Some(&body)).await;
    assert_eq!(status, 202, "{run}");
    run["id"].as_str().unwrap().to_owned()
}

/// Waits until the program has left its mark.
async fn began(host: &Host) {
    let mark = || {
        let sessions = std::fs::read_dir(host.data().join("workspaces")).into_iter().flatten().flatten();
        let files = sessions.flat_map(|tenant| std::fs::read_dir(tenant.path()).into_iter().flatten().flatten());
        files.into_iter().any(|session| session.path().join("began").metadata().is_ok_and(|file| file.len() > 0))
    };
    soon("the program's beginning", async {
        while !mark() {
            // A file of a guest's: nothing tells of it.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await;
}

const BEGIN_AND_SPIN: &str = "open('began', 'a').write('x')\nwhile True: pass";

async fn log_of(host: &Host, run: &str) -> String {
    let request = host.request(Method::GET, &format!("/v1/runs/{run}/events")).header("accept", "text/event-stream");
    let events = soon("the run's end", SseStream::new(host.send(request).await).rest()).await;
    format!("{events:?}")
}

#[tokio::test]
async fn a_run_that_is_cancelled_takes_its_program_with_it() {
    let model = ScriptedModel::start().await;
    let host = with_python().await.model(&model).start().await;
    python(&host, "1").await;
    let run = run_of(&host, &model, BEGIN_AND_SPIN).await;
    began(&host).await;
    let (status, told) = host.json(Method::POST, &format!("/v1/runs/{run}/cancel"), None).await;
    assert_eq!(status, 200, "{told}");
    assert!(log_of(&host, &run).await.contains("run.cancelled"));
    let cpu = || crate::hostile::cpu_of(host.pid());
    soon("a rest of the processor", async {
        loop {
            let before = cpu();
            tokio::time::sleep(Duration::from_millis(200)).await;
            if cpu() < before + Duration::from_millis(60) {
                return;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_program_that_a_crash_cut_short_is_told_as_interrupted_and_not_run_again() {
    let model = ScriptedModel::start().await;
    let host = with_python().await.model(&model).start().await;
    python(&host, "1").await;
    let run = run_of(&host, &model, BEGIN_AND_SPIN).await;
    began(&host).await;
    let data = host.kill().await;
    let host = with_python().await.model(&model).data(data).start().await;
    let log = log_of(&host, &run).await;
    assert!(log.contains("interrupted: the host was stopped") && log.contains("run.completed"), "{log}");
    let told = python(&host, "import glob; print(open('began').read())").await;
    assert_eq!(text(&told, "stdout"), "x\n", "it ran once");
}
