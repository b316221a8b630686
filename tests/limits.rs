//! Every limit of the sandbox, met by a guest that goes past it. Each test holds its guest, sets one limit, reads the exact
//! error, and then shows that the host serves on.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::BoxFuture;
use vivarium_domain::{
    Abilities, Citation, GenerateRequest, GenerateResponse, Message, ModelError, ModelInfo, Source, ToolCall,
    ToolDefinition, WorkspaceChanges,
};
use vivarium_sandbox::{
    Answers, CallFailure, HostStop, Limits, LogLevel, LogSink, ModeCall, ModeHost, ModeReport, Plugin, Sandbox,
    SandboxConfig, ToolCallContext, ToolReport, ToolResult,
};
use vivarium_tests::guest::{self, ECHO};

/// Two places only: a place that is not given back is missed at once.
fn sandbox() -> Sandbox {
    Sandbox::new(SandboxConfig { max_instances: Some(2), ..SandboxConfig::default() }).unwrap()
}

#[derive(Default)]
struct Lines(Mutex<Vec<String>>);

impl LogSink for Lines {
    fn line(&self, level: LogLevel, line: &str) {
        self.0.lock().unwrap().push(format!("{level:?} {line}"));
    }
    fn progress(&self, _message: &str, _fraction: Option<f32>) {}
}

async fn call(plugin: &Plugin, limits: &Arc<Limits>) -> ToolReport {
    call_with(plugin, limits, r#"{"a":1}"#, Arc::new(Lines::default())).await
}

async fn call_with(plugin: &Plugin, limits: &Arc<Limits>, arguments: &str, log: Arc<Lines>) -> ToolReport {
    plugin.call_tool("hostile", arguments, ToolCallContext::default(), Arc::default(), limits, log).await
}

/// Calls the guest a few times in a sandbox with two places, and a well-behaved one after each: nothing is left behind.
async fn error_of(body: &str, more: &str, limits: Limits) -> String {
    let sandbox = sandbox();
    let hostile = sandbox.load(&guest::tool_plugin("", more, body)).unwrap();
    let good = sandbox.load(&guest::tool_plugin("", "", ECHO)).unwrap();
    let limits = Arc::new(limits);
    let mut error = String::new();
    for _ in 0..4 {
        error = call(&hostile, &limits).await.result.unwrap_err();
        let answer = call(&good, &limits).await.result.unwrap();
        assert_eq!(answer.content, r#"{"a":1}"#);
    }
    error
}

const SPIN: &str = "(loop $for_ever (br $for_ever)) (unreachable)";

fn tight() -> Limits {
    Limits { wall: Duration::from_secs(20), cpu: Duration::from_millis(100), ..Limits::for_tool() }
}

#[tokio::test]
async fn a_spinning_guest_is_stopped_when_its_processor_time_is_spent() {
    assert_eq!(error_of(SPIN, "", tight()).await, "the plugin used more than 100 ms of processor time and was stopped");
}

#[tokio::test]
async fn a_spinning_guest_is_stopped_at_its_deadline() {
    let limits = Limits { wall: Duration::from_millis(100), cpu: Duration::from_secs(20), ..Limits::for_tool() };
    assert_eq!(error_of(SPIN, "", limits).await, "the plugin took longer than 100 ms and was stopped");
}

#[tokio::test]
async fn a_spinning_guest_lets_others_work_on_the_same_thread() {
    let sandbox = sandbox();
    let hostile = sandbox.load(&guest::tool_plugin("", "", SPIN)).unwrap();
    let good = sandbox.load(&guest::tool_plugin("", "", ECHO)).unwrap();
    let limits = Arc::new(Limits { cpu: Duration::from_secs(20), ..tight() });
    // One thread: without the ticks the second call would wait for 20 seconds.
    let spinning = std::pin::pin!(call(&hostile, &limits));
    let answering = std::pin::pin!(call(&good, &limits));
    let first = futures::future::select(spinning, answering).await;
    let futures::future::Either::Right((answer, _)) = first else { panic!("the spinning guest ended first") };
    assert!(answer.result.is_ok());
}

#[tokio::test]
async fn a_dropped_call_stops_its_guest_within_50_ms_and_gives_its_place_back() {
    let sandbox = Sandbox::new(SandboxConfig { max_instances: Some(1), ..SandboxConfig::default() }).unwrap();
    let hostile = Arc::new(sandbox.load(&guest::tool_plugin("", "", SPIN)).unwrap());
    let good = sandbox.load(&guest::tool_plugin("", "", ECHO)).unwrap();
    let limits = Arc::new(Limits { cpu: Duration::from_secs(60), wall: Duration::from_secs(60), ..Limits::for_tool() });
    let mut fastest = Duration::MAX;
    for _ in 0..3 {
        let (plugin, its_limits) = (Arc::clone(&hostile), Arc::clone(&limits));
        let (running, entered) = tokio::sync::oneshot::channel();
        let task = tokio::spawn(async move {
            let _ = running.send(());
            call(&plugin, &its_limits).await
        });
        entered.await.unwrap();
        tokio::time::sleep(Duration::from_millis(20)).await;
        let cancelled = Instant::now();
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        // A guest that computes for long is on a thread of its own, and is told to stop; it stops at its next tick.
        while call(&good, &limits).await.result.is_err() {
            assert!(cancelled.elapsed() < Duration::from_secs(10), "the only place is never free again");
        }
        fastest = fastest.min(cancelled.elapsed());
    }
    // Of three, because other tests keep this machine busy.
    assert!(fastest < Duration::from_millis(50), "{fastest:?}");
}

#[tokio::test]
async fn a_guest_that_allocates_without_end_is_stopped() {
    let hog = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) (unreachable)";
    let limits = Limits { memory_bytes: 8 << 20, ..tight() };
    assert_eq!(error_of(hog, "", limits).await, "the plugin needed more than 8388608 bytes of memory and was stopped");
}

#[tokio::test]
async fn a_guest_whose_first_memory_is_too_large_is_refused() {
    let limits = Limits { memory_bytes: 64 << 10, ..tight() };
    let sandbox = sandbox();
    let guest = sandbox.load(&guest::tool_plugin("", "", ECHO)).unwrap();
    let error = call(&guest, &Arc::new(limits)).await.result.unwrap_err();
    assert_eq!(error, "the plugin needed more than 65536 bytes of memory and was stopped");
}

#[tokio::test]
async fn a_guest_that_grows_its_tables_without_end_is_stopped() {
    let table = "(table $t 1 funcref)";
    let grow = "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)))) (unreachable)";
    let limits = Limits { table_elements: 5_000, ..tight() };
    let memory = limits.memory_bytes;
    assert_eq!(
        error_of(grow, table, limits).await,
        format!("the plugin needed more than {memory} bytes of memory and was stopped")
    );
}

#[tokio::test]
async fn a_guest_that_recurses_without_end_traps() {
    let recurse = "(func $deeper (param i32) (result i32) (i32.add (call $deeper (local.get 0)) (i32.const 1)))";
    let error = error_of("(call $deeper (i32.const 0))", recurse, tight()).await;
    assert!(error.starts_with("the plugin trapped: wasm trap: call stack exhausted"), "{error}");
}

#[tokio::test]
async fn a_guest_that_traps_is_an_error_and_nothing_more() {
    let error = error_of("(unreachable)", "", tight()).await;
    assert!(error.contains("unreachable"), "{error}");
}

#[tokio::test]
async fn a_guest_that_lies_about_its_answers_address_traps() {
    let error = error_of("(i32.const -16)", "", tight()).await;
    assert!(error.starts_with("the plugin trapped: "), "{error}");
}

#[tokio::test]
async fn an_output_over_its_limit_is_refused() {
    let large = r"
        (i32.store8 (i32.const 512) (i32.const 0))
        (i32.store (i32.const 516) (i32.const 4096))
        (i32.store (i32.const 520) (i32.const 100000))
        (i32.store (i32.const 524) (i32.const 0))
        (i32.store (i32.const 528) (i32.const 0))
        (i32.const 512)";
    let limits = Limits { output_bytes: 99_999, ..tight() };
    let error = error_of(large, "", limits).await;
    assert_eq!(error, "the tool's output has 100000 bytes; at most 99999 are taken");
}

const LOG: &str = r#"(import "vivarium:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

/// A tool that writes `lines` lines of 8 bytes (`\1b[2J\nERR`).
fn flooding(lines: u32) -> Vec<u8> {
    let body = format!(
        r"(local $left i32)
        (local.set $left (i32.const {lines}))
        (loop $more
            (call $log (i32.const 1) (i32.const 600) (i32.const 8))
            (local.set $left (i32.sub (local.get $left) (i32.const 1)))
            (br_if $more (local.get $left)))
        {ECHO}"
    );
    guest::tool_plugin(LOG, r#"(data (i32.const 600) "\1b[2J\nERR")"#, &body)
}

#[tokio::test]
async fn a_guest_that_floods_the_log_is_cut_off_and_can_not_forge_a_line() {
    let plugin = sandbox().load(&flooding(1000)).unwrap();
    let lines = Arc::new(Lines::default());
    let limits = Arc::new(Limits { log_lines: 3, ..tight() });
    call_with(&plugin, &limits, "{}", Arc::clone(&lines)).await.result.unwrap();
    let line = "Info \\u{1b}[2J\\nERR".to_owned();
    let dropped = "Warn 997 more lines were dropped".to_owned();
    assert_eq!(*lines.0.lock().unwrap(), [line.clone(), line.clone(), line, dropped]);
}

#[tokio::test]
async fn a_guest_that_calls_the_host_without_end_is_stopped() {
    let plugin = sandbox().load(&flooding(1_000_000)).unwrap();
    let limits = Arc::new(Limits { host_calls: 500, ..tight() });
    let error = call(&plugin, &limits).await.result.unwrap_err();
    assert_eq!(error, "the plugin was stopped: it called the host more than 500 times");
}

#[tokio::test]
async fn a_guest_that_hoards_handles_is_stopped() {
    let import = r#"(import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))"#;
    let hoarding = |handles: u32| {
        let body = format!(
            r"(local $left i32)
            (local.set $left (i32.const {handles}))
            (loop $more
                (drop (call $fields))
                (local.set $left (i32.sub (local.get $left) (i32.const 1)))
                (br_if $more (local.get $left)))
            {ECHO}"
        );
        sandbox().load(&guest::tool_plugin(import, "", &body)).unwrap()
    };
    let limits = Arc::new(Limits { handles: 20, ..tight() });
    assert!(call(&hoarding(20), &limits).await.result.is_ok());
    let error = call(&hoarding(21), &limits).await.result.unwrap_err();
    assert_eq!(error, "the plugin trapped: resource table has no free keys");
}

#[tokio::test]
async fn arguments_that_the_schema_refuses_do_not_reach_the_guest() {
    let plugin = sandbox().load(&guest::tool_plugin("", "", "(unreachable)")).unwrap();
    let limits = Arc::new(tight());
    for (arguments, expected) in
        [("[]", "invalid arguments: [] is not of type \"object\""), ("{", "invalid arguments: ")]
    {
        let report = call_with(&plugin, &limits, arguments, Arc::default()).await;
        assert!(report.result.as_ref().unwrap_err().starts_with(expected), "{:?}", report.result);
    }
}

#[tokio::test]
async fn what_a_call_used_is_measured() {
    let report = error_report(SPIN).await;
    assert!((90..2_000).contains(&report.usage.cpu_ms), "{:?}", report.usage);
    assert!(report.usage.wall_ms >= report.usage.cpu_ms, "{:?}", report.usage);
    assert_eq!(report.usage.memory_peak_bytes, 2 << 16);
}

async fn error_report(body: &str) -> ToolReport {
    let plugin = sandbox().load(&guest::tool_plugin("", "", body)).unwrap();
    call(&plugin, &Arc::new(tight())).await
}

/// A run that answers nothing: for modes that misbehave before they get anywhere.
struct DeadRun;

impl ModeHost for DeadRun {
    fn describe(&self) -> Result<ModelInfo, HostStop> {
        let (name, abilities) = ("test/none".parse().unwrap(), Abilities::default());
        Ok(ModelInfo { name, abilities, context_tokens: 0, hint: None })
    }
    fn generate(
        self: Arc<Self>,
        _request: GenerateRequest,
    ) -> BoxFuture<'static, Result<Result<GenerateResponse, ModelError>, HostStop>> {
        futures::future::pending().boxed()
    }
    fn generate_all(self: Arc<Self>, _requests: Vec<GenerateRequest>) -> BoxFuture<'static, Result<Answers, HostStop>> {
        futures::future::pending().boxed()
    }
    fn tools(&self) -> Result<Vec<ToolDefinition>, HostStop> {
        Ok(Vec::new())
    }
    fn call_tools(self: Arc<Self>, _calls: Vec<ToolCall>) -> BoxFuture<'static, Result<Vec<ToolResult>, HostStop>> {
        async { Ok(Vec::new()) }.boxed()
    }
    fn append(&self, _messages: Vec<Message>) -> Result<(), HostStop> {
        Ok(())
    }
    fn summarize(&self, _messages: u32, _summary: String) -> Result<(), HostStop> {
        Ok(())
    }
    fn sources(&self) -> Result<Vec<Source>, HostStop> {
        Ok(Vec::new())
    }
    fn read_source(&self, _id: &str, _start_bytes: usize, _max_bytes: usize) -> Result<Option<String>, HostStop> {
        Ok(None)
    }
    fn check(&self, citations: &[Citation]) -> Result<Vec<bool>, HostStop> {
        Ok(vec![false; citations.len()])
    }
    fn step(self: Arc<Self>, _message: String) -> BoxFuture<'static, Result<(), HostStop>> {
        async { Err(HostStop("the disk is full".to_owned())) }.boxed()
    }
    fn changes(
        self: Arc<Self>,
        _max_bytes: usize,
    ) -> BoxFuture<'static, Result<Option<Box<WorkspaceChanges>>, HostStop>> {
        async { Ok(None) }.boxed()
    }
    fn wall_clock(&self) -> u64 {
        0
    }
    fn monotonic_clock(&self) -> u64 {
        0
    }
    fn random(&self, bytes: &mut [u8]) {
        bytes.fill(0);
    }
}

async fn run_mode(component: &[u8], limits: Limits) -> ModeReport {
    let plugin = sandbox().load(component).unwrap();
    let call = ModeCall { mode: "hostile".to_owned(), input: "x".to_owned(), max_cycles: 1, ..ModeCall::default() };
    plugin.run_mode(call, Arc::new(DeadRun), &Arc::new(limits), Arc::new(Lines::default())).await
}

#[tokio::test]
async fn a_spinning_mode_is_stopped() {
    let report = run_mode(&guest::mode_plugin("hostile", "", SPIN), tight()).await;
    assert_eq!(report.result.unwrap_err(), CallFailure::CpuExceeded(100));
}

#[tokio::test]
async fn a_mode_meets_a_failing_host_as_its_end() {
    let import = r#"(import "vivarium:plugin/steps@0.1.0" "report" (func $step (param i32 i32)))"#;
    let body = "(call $step (local.get $input) (local.get $input_len)) (unreachable)";
    let report = run_mode(&guest::mode_plugin("hostile", import, body), tight()).await;
    assert_eq!(report.result.unwrap_err(), CallFailure::Host("the disk is full".to_owned()));
}

#[tokio::test]
async fn a_mode_that_asks_a_model_too_much_at_once_is_stopped() {
    // A question of zeros is one without messages, tools and passages.
    let wat = r#"(module
        (import "vivarium:plugin/model@0.1.0" "generate-all" (func $ask (param i32 i32 i32)))
        (memory (export "memory") 1)
        (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
        (func (export "vivarium:plugin/mode@0.1.0#run")
            (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
            (call $ask (i32.const 8192) (i32.const 9) (i32.const 4096)) (unreachable)))"#;
    let manifest = serde_json::json!({
        "name": "test/hostile", "version": "1.0.0", "contract": "0.1.0", "description": "Asks.", "requests": {"model": true},
        "modes": [{"name": "hostile", "title": "t", "description": "d", "defaultMaxCycles": 1}],
    });
    let report = run_mode(&guest::component("mode-plugin", wat, &manifest), tight()).await;
    let told = "it asked the model 9 questions at once; at most 8 are put".to_owned();
    assert_eq!(report.result.unwrap_err(), CallFailure::OutputExceeded(told));
}

#[tokio::test]
async fn a_tool_that_asks_for_what_only_modes_have_is_stopped() {
    let import = r#"(import "vivarium:plugin/steps@0.1.0" "report" (func $step (param i32 i32)))"#;
    let wat = format!(
        r#"(module {import}
            (memory (export "memory") 1)
            (func (export "cabi_realloc") (param i32 i32 i32 i32) (result i32) (i32.const 1024))
            (func (export "vivarium:plugin/mode@0.1.0#run")
                (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32) (unreachable)))"#
    );
    // A mode's component whose manifest says that it provides a tool.
    let manifest = serde_json::json!({
        "name": "test/liar", "version": "1.0.0", "contract": "0.1.0", "description": "Lies.",
        "tools": [{"name": "hostile", "title": "t", "description": "d", "inputSchema": {"type": "object"}}],
    });
    let error = sandbox().load(&guest::component("mode-plugin", &wat, &manifest)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the manifest lists tools, but the component does not export vivarium:plugin/tool@0.1.0"
    );
}

#[test]
fn a_component_whose_imports_go_beyond_its_manifest_is_refused() {
    let import = r#"(import "vivarium:plugin/settings@0.1.0" "get" (func $get (param i32 i32 i32)))"#;
    let body = format!("(call $get (i32.const 0) (i32.const 1) (i32.const 700)) {ECHO}");
    let error = sandbox().load(&guest::tool_plugin(import, "", &body)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the component imports vivarium:plugin/settings@0.1.0, and its manifest does not ask for it: set `requests.settings`"
    );
}

#[test]
fn a_mode_that_asks_a_model_says_so_in_its_manifest() {
    let import = r#"(import "vivarium:plugin/model@0.1.0" "describe" (func $describe (param i32)))"#;
    let error = sandbox().load(&guest::mode_plugin("hostile", import, SPIN)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the component imports vivarium:plugin/model@0.1.0, and its manifest does not ask for it: set `requests.model`"
    );
}

#[test]
fn a_compiled_component_is_kept_and_a_damaged_one_is_compiled_anew() {
    let folder = tempfile::tempdir().unwrap();
    let config =
        || SandboxConfig { cache: Some(folder.path().to_owned()), max_instances: Some(2), ..SandboxConfig::default() };
    let bytes = guest::tool_plugin("", "", ECHO);
    Sandbox::new(config()).unwrap().load(&bytes).unwrap();
    let compiled = std::fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.extension().is_some_and(|extension| extension == "cwasm"))
        .expect("the compiled form is kept");
    let good = std::fs::read(&compiled).unwrap();
    let written = std::fs::metadata(&compiled).unwrap().modified().unwrap();
    Sandbox::new(config()).unwrap().load(&bytes).unwrap();
    assert_eq!(std::fs::metadata(&compiled).unwrap().modified().unwrap(), written, "what fits is not made again");

    for damaged in [&good[..good.len() / 2], b"garbage", &[]] {
        std::fs::write(&compiled, damaged).unwrap();
        Sandbox::new(config()).unwrap().load(&bytes).unwrap();
        assert_eq!(std::fs::read(&compiled).unwrap(), good, "it is compiled anew");
    }
}
