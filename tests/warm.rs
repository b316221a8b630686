//! Warm instances, held by guests that would remember: one call's instance serves another of the same pool, and nothing
//! else that a guest could carry over gets through.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use vivarium_sandbox::{
    Limits, LogLevel, LogSink, Plugin, Sandbox, SandboxConfig, ToolCallContext, ToolReport, WarmPool,
};
use vivarium_tests::guest;

struct NoLog;

impl LogSink for NoLog {
    fn line(&self, _level: LogLevel, _line: &str) {}
    fn progress(&self, _message: &str, _fraction: Option<f32>) {}
}

const FIELDS: &str = r#"(import "wasi:http/types@0.2.12" "[constructor]fields" (func $fields (result i32)))"#;
const LOG: &str = r#"(import "vivarium:plugin/log@0.1.0" "write" (func $log (param i32 i32 i32)))"#;

/// Arguments that make the guest misbehave, told apart by their length; all others are well.
const TRAP: &str = "{}";
const SPIN: &str = "{ }";
const ERROR: &str = "{  }";
const LEAK: &str = "{   }";
const GROW: &str = "{    }";
const WELL: &str = r#"{"a":1}"#;

/// A tool that says how often this instance was called.
fn counting(instances: &str) -> Vec<u8> {
    let body = r"
        (global.set $calls (i32.add (global.get $calls) (i32.const 1)))
        (call $log (i32.const 1) (i32.const 700) (i32.const 1))
        (if (i32.eq (local.get $arguments_len) (i32.const 2)) (then (unreachable)))
        (if (i32.eq (local.get $arguments_len) (i32.const 3)) (then (loop $for_ever (br $for_ever))))
        (if (i32.eq (local.get $arguments_len) (i32.const 5)) (then (drop (call $fields))))
        (if (i32.eq (local.get $arguments_len) (i32.const 6)) (then (drop (memory.grow (i32.const 10000)))))
        (i32.store8 (i32.const 700) (i32.add (i32.const 48) (global.get $calls)))
        (i32.store (i32.const 516) (i32.const 700))
        (i32.store (i32.const 520) (i32.const 1))
        (i32.store (i32.const 524) (i32.const 0))
        (i32.store (i32.const 528) (i32.const 0))
        (i32.store8 (i32.const 512) (i32.const 0))
        (if (i32.eq (local.get $arguments_len) (i32.const 4)) (then
            (i32.store8 (i32.const 512) (i32.const 1))
            (i32.store8 (i32.const 516) (i32.const 5))
            (i32.store (i32.const 520) (i32.const 700))
            (i32.store (i32.const 524) (i32.const 1))))
        (i32.const 512)";
    let fields = json!({"instances": instances});
    guest::tool_plugin_as(fields, &format!("{FIELDS}{LOG}"), "(global $calls (mut i32) (i32.const 0))", body)
}

/// Eight places, of which two may be held by instances that wait.
fn sandbox() -> Sandbox {
    Sandbox::new(SandboxConfig { max_instances: Some(8), ..SandboxConfig::default() }).unwrap()
}

async fn call(plugin: &Plugin, pool: Option<&Arc<WarmPool>>, arguments: &str) -> ToolReport {
    let context = ToolCallContext { warm: pool.cloned(), ..ToolCallContext::default() };
    let limits = Limits { cpu: Duration::from_millis(50), ..Limits::for_tool() };
    plugin.call_tool("hostile", arguments, context, Arc::default(), &Arc::new(limits), Arc::new(NoLog)).await
}

async fn answer(plugin: &Plugin, pool: Option<&Arc<WarmPool>>) -> String {
    call(plugin, pool, WELL).await.result.unwrap().content
}

#[tokio::test]
async fn an_instance_serves_later_calls_of_its_own_pool_and_of_no_other() {
    let sandbox = sandbox();
    let warm = sandbox.load(&counting("warm")).unwrap();
    let (of_one_tenant, of_another) = (Arc::new(WarmPool::default()), Arc::new(WarmPool::default()));
    for expected in ["1", "2", "3"] {
        assert_eq!(answer(&warm, Some(&of_one_tenant)).await, expected);
    }
    assert_eq!(answer(&warm, Some(&of_another)).await, "1");
    assert_eq!(answer(&warm, None).await, "1");
    assert_eq!(answer(&warm, Some(&of_one_tenant)).await, "4");
    of_one_tenant.clear();
    assert_eq!(answer(&warm, Some(&of_one_tenant)).await, "1");

    let same_again = sandbox.load(&counting("warm")).unwrap();
    assert_eq!(answer(&same_again, Some(&of_one_tenant)).await, "1", "another loaded plugin has instances of its own");
    let fresh = sandbox.load(&counting("fresh")).unwrap();
    for _ in 0..2 {
        assert_eq!(answer(&fresh, Some(&of_one_tenant)).await, "1", "nobody is warm who has not asked for it");
    }
}

#[tokio::test]
async fn an_instance_that_failed_or_holds_on_to_something_serves_no_more() {
    let plugin = sandbox().load(&counting("warm")).unwrap();
    let pool = Arc::new(WarmPool::default());
    for (arguments, fails) in [(TRAP, true), (SPIN, true), (ERROR, true), (LEAK, false), (GROW, false)] {
        assert_eq!(answer(&plugin, Some(&pool)).await, "1", "before {arguments:?}");
        assert_eq!(answer(&plugin, Some(&pool)).await, "2", "before {arguments:?}");
        assert_eq!(call(&plugin, Some(&pool), arguments).await.result.is_err(), fails, "{arguments:?}");
        assert_eq!(pool.idle(), 0, "after {arguments:?}");
    }
    let cancelled = {
        answer(&plugin, Some(&pool)).await;
        let limits = Arc::new(Limits::for_tool());
        let context = ToolCallContext { warm: Some(Arc::clone(&pool)), ..ToolCallContext::default() };
        let spinning = plugin.call_tool("hostile", SPIN, context, Arc::default(), &limits, Arc::new(NoLog));
        tokio::time::timeout(Duration::from_millis(30), spinning).await
    };
    assert!(cancelled.is_err());
    assert_eq!(answer(&plugin, Some(&pool)).await, "1", "a cancelled call's instance is gone");
}

#[tokio::test]
async fn every_call_of_a_warm_instance_has_meters_of_its_own() {
    let plugin = sandbox().load(&counting("warm")).unwrap();
    let pool = Arc::new(WarmPool::default());
    for _ in 0..5 {
        let report = call(&plugin, Some(&pool), WELL).await;
        assert_eq!(report.usage.host_calls, 1);
        assert!(report.usage.memory_peak_bytes >= 128 << 10, "{:?}", report.usage);
    }
    let context = ToolCallContext { warm: Some(Arc::clone(&pool)), ..ToolCallContext::default() };
    let tight = Limits { memory_bytes: 64 << 10, ..Limits::for_tool() };
    let report = plugin.call_tool("hostile", WELL, context, Arc::default(), &Arc::new(tight), Arc::new(NoLog)).await;
    assert!(
        report.result.unwrap_err().contains("more than 65536 bytes"),
        "a waiting instance is not exempt from a limit"
    );
}

#[tokio::test]
async fn instances_that_wait_leave_most_places_to_those_that_run() {
    let sandbox = sandbox();
    let plugin = sandbox.load(&counting("warm")).unwrap();
    let pools: Vec<Arc<WarmPool>> = (0..6).map(|_| Arc::default()).collect();
    for pool in &pools {
        answer(&plugin, Some(pool)).await;
    }
    assert_eq!(pools.iter().map(|pool| pool.idle()).sum::<usize>(), 2);
    let running = (0..6).map(|_| answer(&plugin, None));
    assert_eq!(futures::future::join_all(running).await, ["1"; 6]);
    drop(pools);
    let pool = Arc::new(WarmPool::default());
    answer(&plugin, Some(&pool)).await;
    assert_eq!(pool.idle(), 1, "a dropped pool gives its places back");
}
