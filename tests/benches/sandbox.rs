//! What the sandbox costs: one fresh call of a tool through all of it (schema check, store, limits, meters, report), beside bare wasmtime
//! doing the same call of the same component with the same engine settings. Both on one thread and on two.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that can not go on ends")]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use divan::Bencher;
use serde_json::json;
use tokio::runtime::{Builder, Runtime};
use vivarium_sandbox::{Grant, Limits, LogSink, Plugin, Sandbox, SandboxConfig, ToolCallContext, TracingLog};
use vivarium_tests::guest::component;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, InstanceAllocationStrategy, PoolingAllocationConfig, Store, UpdateDeadline};

fn main() {
    divan::main();
}

mod bare {
    //! The contract's tool as wasmtime's own bindings see it.
    #![allow(missing_docs, unreachable_pub, reason = "generated")]
    wasmtime::component::bindgen!({
        path: "../wit/0.1.0",
        inline: "package vivarium:bench; world floor { export vivarium:plugin/tool@0.1.0; }",
        world: "vivarium:bench/floor",
        exports: { default: async },
    });
}

use bare::exports::vivarium::plugin::tool;

/// What the tool is called with, and gives back.
const ARGUMENTS: &str = r#"{"text":"The quick brown fox jumps over the lazy dog, and once more."}"#;

/// The shape of a small Rust guest: 17 pages of memory, 64 KiB of data, and pages of stack, data and heap that are touched.
fn echo() -> Vec<u8> {
    let data = "a".repeat(65_536);
    let module = format!(
        r#"(module
          (memory (export "memory") 17)
          (data (i32.const 131072) "{data}")
          (global $next (mut i32) (i32.const 1024))
          (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $at i32)
            (local.set $at (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
            (global.set $next (i32.add (local.get $at) (local.get $size)))
            (local.get $at))
          (func (export "vivarium:plugin/tool@0.1.0#call")
            (param i32 i32) (param $arguments i32) (param $length i32) (param i32 i32 i32 i32 i32 i32) (result i32)
            (i32.store (i32.const 65520) (i32.const 1))
            (i32.store (i32.const 131072) (i32.const 1))
            (i32.store (i32.const 1048576) (i32.const 1))
            (i32.store8 (i32.const 8) (i32.const 0))
            (i32.store (i32.const 12) (local.get $arguments))
            (i32.store (i32.const 16) (local.get $length))
            (i32.store (i32.const 20) (i32.const 0))
            (i32.store (i32.const 24) (i32.const 0))
            (i32.const 8)))"#
    );
    let schema = json!({"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]});
    let tool =
        json!({"name": "echo", "title": "Echo", "description": "Gives its arguments back.", "inputSchema": schema});
    let manifest = json!({
        "name": "bench/echo", "version": "0.1.0", "contract": "0.1.0", "description": "A tool for measuring.", "tools": [tool],
    });
    component("tool-plugin", &module, &manifest)
}

/// One call, whatever it goes through.
trait Call: Sync {
    fn call(&self) -> impl Future<Output = usize>;
}

/// Each thread has a runtime of its own, so that nothing is measured but the call.
fn measure(bencher: Bencher<'_, '_>, way: &impl Call) {
    thread_local! {
        static RUNTIME: Runtime = Builder::new_current_thread().enable_all().build().unwrap();
    }
    bencher.bench(|| {
        let length = RUNTIME.with(|runtime| runtime.block_on(way.call()));
        assert_eq!(length, ARGUMENTS.len());
    });
}

#[divan::bench(threads = [1, 2], sample_count = 200, sample_size = 50)]
fn fresh_call_through_the_sandbox(bencher: Bencher<'_, '_>) {
    static WAY: LazyLock<Whole> = LazyLock::new(Whole::new);
    measure(bencher, &*WAY);
}

#[divan::bench(threads = [1, 2], sample_count = 200, sample_size = 50)]
fn fresh_call_through_bare_wasmtime(bencher: Bencher<'_, '_>) {
    static WAY: LazyLock<Bare> = LazyLock::new(Bare::new);
    measure(bencher, &*WAY);
}

struct Whole {
    plugin: Plugin,
    limits: Arc<Limits>,
    grant: Arc<Grant>,
    log: Arc<dyn LogSink>,
}

impl Whole {
    fn new() -> Self {
        let sandbox = Sandbox::new(SandboxConfig::default()).unwrap();
        let plugin = sandbox.load(&echo()).unwrap();
        let log = Arc::new(TracingLog { plugin: "bench/echo".into(), run: "bench".into() });
        Self { plugin, limits: Arc::new(Limits::for_tool()), grant: Arc::default(), log }
    }
}

impl Call for Whole {
    async fn call(&self) -> usize {
        let context = ToolCallContext {
            run_id: "bench".to_owned(),
            idempotency_key: "1".to_owned(),
            ..ToolCallContext::default()
        };
        let (grant, log) = (Arc::clone(&self.grant), Arc::clone(&self.log));
        let report = self.plugin.call_tool("echo", ARGUMENTS, context, grant, &self.limits, log).await;
        report.result.unwrap().content.len()
    }
}

struct Bare {
    engine: Engine,
    pre: bare::FloorPre<()>,
}

impl Bare {
    fn new() -> Self {
        let engine = Engine::new(&bare_config()).unwrap();
        let component = Component::new(&engine, echo()).unwrap();
        let mut linker = Linker::new(&engine);
        linker.define_unknown_imports_as_traps(&component).unwrap();
        let pre = bare::FloorPre::new(linker.instantiate_pre(&component).unwrap()).unwrap();
        let ticker = engine.weak();
        std::thread::spawn(move || {
            while let Some(engine) = ticker.upgrade() {
                engine.increment_epoch();
                drop(engine);
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        Self { engine, pre }
    }
}

impl Call for Bare {
    async fn call(&self) -> usize {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1);
        store.epoch_deadline_callback(|_| Ok(UpdateDeadline::Yield(1)));
        let instance = self.pre.instantiate_async(&mut store).await.unwrap();
        let context = tool::Context {
            run_id: "bench".to_owned(),
            idempotency_key: "1".to_owned(),
            deadline_ms: 60_000,
            max_output_bytes: 1 << 20,
        };
        let tool = instance.vivarium_plugin_tool();
        let output = tool.call_call(&mut store, "echo", ARGUMENTS, &context).await.unwrap();
        output.unwrap().content.len()
    }
}

/// The settings of the sandbox's own engine that decide how fast an instance is made.
fn bare_config() -> Config {
    const INSTANCES: u32 = 1_000;
    const KEPT_BYTES: usize = 128 << 10;
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(INSTANCES)
        .total_core_instances(INSTANCES * 4)
        .total_memories(INSTANCES)
        .total_tables(INSTANCES * 3)
        .total_stacks(INSTANCES)
        .max_memory_size(1 << 30)
        .max_unused_warm_slots(256)
        .linear_memory_keep_resident(KEPT_BYTES)
        .table_keep_resident(KEPT_BYTES)
        .async_stack_keep_resident(KEPT_BYTES);
    let mut config = Config::new();
    config.epoch_interruption(true).concurrency_support(false).memory_init_cow(true);
    config.allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}
