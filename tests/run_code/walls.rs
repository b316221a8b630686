//! One hostile program for each limit: what it is stopped by, and what is told of it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{folder, javascript, limit, place, plain, python, run, text, with_python};

#[tokio::test]
async fn a_program_that_spins_is_stopped_at_its_time_and_what_it_said_is_told() {
    let host = with_python().await.start().await;
    for (language, code) in
        [("javascript", "console.log('here'); for (;;);"), ("python", "print('here', flush=True)\nwhile True: pass")]
    {
        let told = run(&host, json!({"language": language, "code": "1"})).await;
        assert_eq!(told["ok"], true, "{told}");
        let began = Instant::now();
        let told = run(&host, json!({"language": language, "code": code, "timeoutMs": 1500})).await;
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        assert_eq!(told["exitCode"], Value::Null, "{told}");
        assert!(text(&told, "summary").contains("took longer than 1500 ms"), "{told}");
        assert_eq!(text(&told, "stdout"), "here\n", "{told}");
        assert!(text(&told, "hint").contains("timeoutMs"), "{told}");
    }
}

#[tokio::test]
async fn a_program_that_computes_too_much_is_stopped_by_the_calls_processor_time() {
    let host = plain().await.start().await;
    javascript(&host, "1").await;
    limit(&host, json!({"cpuMs": 1500})).await;
    let told = javascript(&host, "for (;;);").await;
    assert!(text(&told, "summary").contains("may use 1500 ms of processor time"), "{told}");
}

#[tokio::test]
async fn a_program_that_sleeps_is_stopped_by_the_calls_time() {
    let host = with_python().await.start().await;
    python(&host, "1").await;
    limit(&host, json!({"wallMs": 4000})).await;
    let told = python(&host, "import time; time.sleep(3600)").await;
    assert!(text(&told, "summary").contains("took longer than 3"), "{told}");
    let told = javascript(&host, "await new Promise((done) => setTimeout(done, 3600000))").await;
    assert!(text(&told, "summary").contains("took longer than 3"), "{told}");
}

#[tokio::test]
async fn a_program_and_its_caller_share_one_sum_of_memories() {
    let host = with_python().await.start().await;
    limit(&host, json!({"memoryBytes": 64 << 20})).await;
    let told = python(&host, "x = bytearray(200_000_000)").await;
    assert_eq!(told["ok"], false, "{told}");
    assert!(text(&told, "hint").contains("Out of memory"), "{told}");
    let told = javascript(&host, "const all = []; for (;;) all.push(new Uint8Array(1 << 20))").await;
    assert_eq!(told["ok"], false, "{told}");
    assert!(text(&told, "hint").contains("Out of memory"), "{told}");
    assert_eq!(text(&python(&host, "print(1)").await, "stdout"), "1\n");
}

#[tokio::test]
async fn a_flood_of_output_is_cut_in_its_middle_on_both_sides() {
    let host = with_python().await.start().await;
    let told = python(
        &host,
        "import sys\nfor n in range(100_000):\n    print(f'line {n}')\n    print(f'other {n}', file=sys.stderr)",
    )
    .await;
    assert_eq!(told["exitCode"], 0, "{told}");
    let (stdout, stderr) = (text(&told, "stdout"), text(&told, "stderr"));
    assert!(stdout.starts_with("line 0\n") && stdout.ends_with("line 99999\n") && stdout.len() < 32 << 10);
    assert!(stderr.starts_with("other 0\n") && stderr.ends_with("other 99999\n") && stderr.len() < 32 << 10);
    assert!(stdout.contains("bytes are left out here"));
    assert!(told["leftOut"]["stdout"].as_u64().unwrap() > 1_000_000, "{told}");
}

#[tokio::test]
async fn a_program_writes_no_more_than_the_workspaces_quota() {
    let host = with_python().await.start().await;
    limit(&host, json!({"fileBytes": 1 << 20, "files": 20})).await;
    let told = python(&host, "open('big', 'wb').write(b'x' * (2 << 20))").await;
    assert_eq!(told["exitCode"], 1, "{told}");
    assert!(std::fs::metadata(folder(&host).join("big")).unwrap().len() <= 1 << 20);
    let told = javascript(
        &host,
        "import fs from 'fs'; fs.rmSync('big'); for (let n = 0; n < 100; n++) fs.writeFileSync(`f${n}`, '')",
    )
    .await;
    assert_eq!(told["exitCode"], 1, "{told}");
    assert!(text(&told, "hint").contains("full"), "{told}");
    assert!(std::fs::read_dir(folder(&host)).unwrap().count() <= 20);
}

#[tokio::test]
async fn no_path_and_no_link_leads_a_program_out_of_its_workspace() {
    let host = with_python().await.start().await;
    place(&host, "own.txt", b"own").await;
    let inside = folder(&host);
    let outside = inside.parent().unwrap().join("outside.txt");
    std::fs::write(&outside, "secret").unwrap();
    std::os::unix::fs::symlink(&outside, inside.join("link")).unwrap();
    std::os::unix::fs::symlink("/", inside.join("root")).unwrap();
    for path in ["../outside.txt", "/../outside.txt", "link", "root/etc/passwd", "/etc/passwd", "/proc/self/environ"] {
        let told = python(&host, &format!("print(open({path:?}).read())")).await;
        assert_eq!(told["exitCode"], 1, "{path}: {told}");
        let told =
            javascript(&host, &format!("import fs from 'fs'; console.log(fs.readFileSync({path:?}, 'utf8'))")).await;
        assert_eq!(told["exitCode"], 1, "{path}: {told}");
        let told = run(&host, json!({"language": "wasm", "path": path})).await;
        assert!(told.as_str().unwrap_or_default().contains("can not be read"), "{path}: {told}");
    }
    let told = python(&host, "import os\nos.symlink('own.txt', 'made')").await;
    assert_eq!(told["exitCode"], 1, "{told}");
    assert_eq!(std::fs::read_to_string(&outside).unwrap(), "secret");
}

#[tokio::test]
async fn a_program_has_no_network() {
    let host = with_python().await.start().await;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let port = listener.local_addr().unwrap().port();
    let told =
        python(&host, &format!("import socket\ns = socket.socket()\ns.connect(('127.0.0.1', {port}))\nprint('in')"))
            .await;
    assert_eq!(told["exitCode"], 1, "{told}");
    assert!(listener.accept().is_err(), "nobody has come");
}

#[tokio::test]
async fn a_program_can_not_run_programs_and_has_nothing_of_the_contract_or_of_http() {
    let host = plain().await.start().await;
    for (interface, import) in [
        (
            "vivarium:plugin/programs@0.1.0",
            r#"(type $p (record (field "name" string) (field "description" string)))
            (export "installed-program" (type $q (eq $p)))
            (export "installed" (func (result (list $q))))"#,
        ),
        ("vivarium:plugin/settings@0.1.0", r#"(export "get" (func (param "name" string) (result (option string))))"#),
        ("wasi:http/outgoing-handler@0.2.0", r#"(export "x" (func))"#),
    ] {
        let component = format!(
            r#"(component
                (import "{interface}" (instance (;0;) {import}))
                (core module $m (func (export "run") (result i32) i32.const 0))
                (core instance $i (instantiate $m))
                (func $run (result (result)) (canon lift (core func $i "run")))
                (instance $out (export "run" (func $run)))
                (export "wasi:cli/run@0.2.0" (instance $out)))"#
        );
        place(&host, "greedy.wasm", &wat::parse_str(&component).unwrap()).await;
        let told = run(&host, json!({"language": "wasm", "path": "greedy.wasm"})).await;
        let told = told.as_str().unwrap_or_default();
        assert!(told.contains("no WASI command that can be run here") && told.contains(interface), "{told}");
    }
    // One that wants nothing does run.
    let modest = r#"(component
        (core module $m (func (export "run") (result i32) i32.const 0))
        (core instance $i (instantiate $m))
        (func $run (result (result)) (canon lift (core func $i "run")))
        (instance $out (export "run" (func $run)))
        (export "wasi:cli/run@0.2.0" (instance $out)))"#;
    place(&host, "modest.wasm", &wat::parse_str(modest).unwrap()).await;
    let told = run(&host, json!({"language": "wasm", "path": "modest.wasm"})).await;
    assert_eq!(told["exitCode"], 0, "{told}");
}

/// A module of so many functions that each take a while to compile.
fn slow_module(functions: usize) -> Vec<u8> {
    let mut body = String::from("local.get 0");
    for number in 0..1500 {
        body.push_str(&format!(" i32.const {number} i32.add i32.const 3 i32.rotl local.tee 0"));
    }
    let functions: String = (0..functions).map(|n| format!("(func $f{n} (param i32) (result i32) {body})")).collect();
    wat::parse_str(format!(r#"(module (memory (export "memory") 1) (func (export "_start")) {functions})"#)).unwrap()
}

#[tokio::test]
async fn a_program_that_is_huge_or_takes_long_to_compile_is_refused_with_a_sentence() {
    let host = plain().await.start().await;
    javascript(&host, "1").await;
    let data = host.kill().await;
    // All that the host itself needs is compiled by now.
    let host = plain().await.data(data).environment("VIVARIUM_COMPILE_SECONDS", "1").start().await;
    place(&host, "huge.wasm", &vec![0; 17 << 20]).await;
    let told = run(&host, json!({"language": "wasm", "path": "huge.wasm"})).await;
    assert!(told.as_str().unwrap_or_default().contains("more than 16777216 bytes"), "{told}");
    place(&host, "slow.wasm", &slow_module(600)).await;
    let told = run(&host, json!({"language": "wasm", "path": "slow.wasm"})).await;
    assert!(told.as_str().unwrap_or_default().contains("s of processor time to compile"), "{told}");
    place(&host, "no.wasm", b"not wasm at all").await;
    let told = run(&host, json!({"language": "wasm", "path": "no.wasm"})).await;
    assert!(told.as_str().unwrap_or_default().contains("no WASI command"), "{told}");
    assert_eq!(text(&javascript(&host, "console.log(1)").await, "stdout"), "1\n");
}

#[tokio::test]
async fn a_program_that_traps_or_recurses_without_end_is_a_result() {
    let host = plain().await.start().await;
    let trap = r#"(module (memory (export "memory") 1) (func (export "_start") unreachable))"#;
    let deep = r#"(module (memory (export "memory") 1) (func $f (export "_start") (call $f)))"#;
    for (code, said) in [(trap, "unreachable"), (deep, "stack")] {
        place(&host, "bad.wasm", &wat::parse_str(code).unwrap()).await;
        let told = run(&host, json!({"language": "wasm", "path": "bad.wasm"})).await;
        assert_eq!(told["exitCode"], Value::Null, "{told}");
        assert!(text(&told, "summary").contains(said), "{told}");
    }
}

#[tokio::test]
async fn host_calls_of_a_program_are_counted_with_its_callers() {
    let host = plain().await.start().await;
    javascript(&host, "1").await;
    limit(&host, json!({"hostCalls": 100})).await;
    let told = javascript(&host, "import fs from 'fs'; for (;;) fs.existsSync('x')").await;
    assert!(text(&told, "summary").contains("it called the host more than 100 times"), "{told}");
}

#[tokio::test]
async fn a_program_opens_no_more_files_at_one_time_than_the_call_may_have_handles() {
    let host = with_python().await.start().await;
    let code = "open('x', 'w').close()\nheld = []\nfor n in range(1000):\n    held.append(open('x'))\n    print(n, flush=True)";
    let mut counts = Vec::new();
    for handles in [64, 128] {
        limit(&host, json!({"handles": handles})).await;
        let told = python(&host, code).await;
        assert_eq!(told["ok"], false, "{told}");
        counts.push(text(&told, "stdout").lines().count());
    }
    assert!(counts[0] < 64 && counts[0] < counts[1] && counts[1] < 128, "{counts:?}");
}

#[tokio::test]
async fn the_tables_of_a_program_count_with_its_callers() {
    let host = plain().await.start().await;
    // Less than what the pool has for one table.
    limit(&host, json!({"tableElements": 5_000})).await;
    for (more, code) in [(1_000, 0), (10_000, 7)] {
        let grow = format!(
            r#"(module
                (import "wasi_snapshot_preview1" "proc_exit" (func $exit (param i32)))
                (memory (export "memory") 1)
                (table $t 1 funcref)
                (func (export "_start")
                    (if (i32.lt_s (table.grow $t (ref.null func) (i32.const {more})) (i32.const 0)) (then (call $exit (i32.const 7))))))"#
        );
        place(&host, "grow.wasm", &wat::parse_str(&grow).unwrap()).await;
        let told = run(&host, json!({"language": "wasm", "path": "grow.wasm"})).await;
        assert_eq!(told["exitCode"], code, "{more}: {told}");
    }
}

#[tokio::test]
async fn a_recursion_through_the_library_of_python_ends_as_an_error_that_it_can_catch() {
    let host = with_python().await.start().await;
    let deep = "import functools, sys\nsys.setrecursionlimit(100_000)\n\
        @functools.cache\ndef f(n): return 0 if n == 0 else 1 + f(n - 1)\n\
        def g(n): return 0 if n == 0 else 1 + sum(g(n - 1) for _ in [0])\n\
        print(f(500), g(500))\n\
        for deep in f, g:\n    try: deep(50_000)\n    except RecursionError: print('caught')\n";
    let told = python(&host, deep).await;
    assert_eq!(text(&told, "stdout"), "500 500\ncaught\ncaught\n", "{told}");
}

#[tokio::test]
async fn a_file_that_is_gone_again_is_no_change() {
    let host = with_python().await.start().await;
    let told = python(
        &host,
        "import os, shutil\nopen('old', 'w').write('1')\nopen('brief', 'w').close()\nos.remove('brief')\nos.mkdir('folder')\nos.rmdir('folder')\n\
         os.mkdir('a')\nopen('a/file', 'w').close()\nos.rename('a', 'b')\nshutil.rmtree('b')\n\
         open('first', 'w').close()\nos.rename('first', 'second')\n\
         try: open('nowhere/x', 'w')\nexcept OSError: pass",
    )
    .await;
    assert_eq!(told["changedFiles"], json!(["old", "second"]), "{told}");
    let told = python(&host, "import os\nos.remove('old')").await;
    assert_eq!(told["changedFiles"], json!(["old"]), "{told}");
}

#[tokio::test]
async fn of_the_files_that_a_program_has_changed_a_hundred_are_told() {
    let host = with_python().await.start().await;
    let told = python(&host, "for n in range(150): open(f'f{n}', 'w').close()").await;
    assert_eq!(told["exitCode"], 0, "{told}");
    assert_eq!(told["changedFiles"].as_array().map(Vec::len), Some(100), "{told}");
}
