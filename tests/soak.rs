//! Hostile and friendly tenants together, for a while: nothing crashes, nothing leaks, nothing of one is seen by another, and
//! the friendly ones are answered throughout. A few seconds here; `VIVARIUM_SOAK_SECONDS=600` makes it the long one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use vivarium_tests::guest::{ECHO, saying, tool, tool_plugin_as};
use vivarium_tests::{Cli, Host};

const SPIN: &str = "(loop $for_ever (br $for_ever)) (unreachable)";
const TRAP: &str = "(unreachable)";
const FILL: &str = "(local $at i32)
    (loop $more
        (drop (memory.grow (i32.const 1)))
        (local.set $at (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)))
        (i32.store (local.get $at) (i32.const 1))
        (br $more))
    (unreachable)";
const RECURSE: &str = "(call $deeper) (unreachable)";

fn seconds() -> u64 {
    std::env::var("VIVARIUM_SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(6)
}

/// What the server's process holds: resident memory in KiB, file descriptors, threads.
#[derive(Debug, Clone, Copy)]
struct Holds {
    memory_kib: u64,
    descriptors: usize,
    threads: usize,
}

impl Holds {
    fn of(pid: u32) -> Self {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let number = |name: &str| {
            let line = status.lines().find(|line| line.starts_with(name)).unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        Self { memory_kib: number("VmRSS:"), descriptors, threads: usize::try_from(number("Threads:")).unwrap() }
    }
}

fn plugin(name: &str, tool_name: &str, more: &str, body: &str) -> Vec<u8> {
    // Short, so that many hostile calls come and go.
    let fields = json!({"name": name, "tools": [tool(tool_name)], "limits": {"cpuMs": 50, "wallMs": 2_000, "memoryBytes": 32 << 20}});
    tool_plugin_as(fields, "", more, body)
}

struct Party {
    host: Arc<Host>,
    over: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
}

impl Party {
    /// Does something again and again until it is over.
    fn join<F>(&self, act: impl Fn(Arc<Host>) -> F + Send + 'static) -> JoinHandle<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let (host, over, calls) = (Arc::clone(&self.host), Arc::clone(&self.over), Arc::clone(&self.calls));
        tokio::spawn(async move {
            while !over.load(Ordering::Relaxed) {
                act(Arc::clone(&host)).await;
                calls.fetch_add(1, Ordering::Relaxed);
            }
        })
    }
}

async fn call(host: &Host, key: &str, tool: &str) -> (u16, Value) {
    let path = format!("/v1/tools/{tool}/call");
    host.json_as(key, Method::POST, &path, Some(&json!({"arguments": {"from": key.len()}}))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_and_friendly_tenants_together_leave_the_host_whole() {
    let data = tempfile::tempdir().unwrap();
    let cli = Cli::on(data.path());
    let mut keys = Vec::new();
    for tenant in ["friendly", "hostile"] {
        cli.output(&["tenant", "create", tenant, "--tier", "enterprise"]).await;
        keys.push(cli.output(&["key", "create", "--tenant", tenant, "--scope", "runs,plugins,secrets"]).await);
    }
    let (hostile, friendly) = (keys.pop().unwrap(), keys.pop().unwrap());
    let host = Arc::new(Host::builder().data(data).start().await);
    let (more, body) = saying("hello");
    assert_eq!(host.install_as(&friendly, "/v1/plugins", plugin("friendly/hello", "hello", &more, &body)).await.0, 201);
    for (name, more, body) in [
        ("spin", "", SPIN),
        ("trap", "", TRAP),
        ("fill", "", FILL),
        ("recurse", "(func $deeper (call $deeper))", RECURSE),
        ("echo", "", ECHO),
    ] {
        let component = plugin(&format!("hostile/{name}"), name, more, body);
        let (status, answer) = host.install_as(&hostile, "/v1/plugins", component).await;
        assert_eq!(status, 201, "{answer}");
    }

    let party = Party { host: Arc::clone(&host), over: Arc::default(), calls: Arc::default() };
    let mut tasks = Vec::new();
    for tool in ["spin", "trap", "fill", "recurse", "echo", "spin", "hello"] {
        let key = hostile.clone();
        tasks.push(party.join(move |host| {
            let key = key.clone();
            async move {
                let (status, answer) = call(&host, &key, tool).await;
                match tool {
                    "hello" => assert_eq!(status, 404, "another tenant's tool: {answer}"),
                    "echo" => assert_eq!(status, 200, "{answer}"),
                    _ => assert!(status == 200 && answer["error"].is_string(), "{tool}: {status} {answer}"),
                }
            }
        }));
    }
    // Leaves in the middle of a call.
    let key = hostile.clone();
    tasks.push(party.join(move |host| {
        let request = host.client().post(host.url("/v1/tools/spin/call")).bearer_auth(&key);
        let request = request.json(&json!({"arguments": {}})).timeout(Duration::from_millis(15));
        async move { drop(request.send().await) }
    }));
    // Installs and removes.
    let key = hostile.clone();
    tasks.push(party.join(move |host| {
        let key = key.clone();
        async move {
            let component = plugin("hostile/fleeting", "fleeting", "", ECHO);
            let (status, answer) = host.install_as(&key, "/v1/plugins", component).await;
            assert_eq!(status, 201, "{answer}");
            assert_eq!(host.json_as(&key, Method::DELETE, "/v1/plugins/hostile/fleeting", None).await.0, 204);
        }
    }));
    for _ in 0..2 {
        let key = friendly.clone();
        tasks.push(party.join(move |host| {
            let key = key.clone();
            async move {
                let (status, answer) = call(&host, &key, "hello").await;
                assert_eq!((status, &answer["output"]), (200, &json!("hello")), "{answer}");
            }
        }));
    }

    // What is made once is made by then.
    tokio::time::sleep(Duration::from_secs(seconds() / 3 + 1)).await;
    let early = Holds::of(host.pid());
    let (began, calls_early) = (Instant::now(), party.calls.load(Ordering::Relaxed));
    tokio::time::sleep(Duration::from_secs(seconds())).await;
    let late = Holds::of(host.pid());
    party.over.store(true, Ordering::Relaxed);
    for task in tasks {
        task.await.unwrap();
    }
    let calls = party.calls.load(Ordering::Relaxed) - calls_early;
    eprintln!("{calls} calls in {:?}: {early:?}, {late:?}", began.elapsed());

    assert!(late.memory_kib < early.memory_kib + early.memory_kib / 4 + 32 * 1024, "{early:?}, {late:?}");
    assert!(late.descriptors <= early.descriptors + 16, "{early:?}, {late:?}");
    assert!(late.threads <= early.threads + 16, "{early:?}, {late:?}");
    let (status, answer) = call(&host, &friendly, "hello").await;
    assert_eq!((status, &answer["output"]), (200, &json!("hello")));
    assert!(!host.log().contains("panicked"), "{}", host.log());
}
