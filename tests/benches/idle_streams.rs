//! Ten thousand idle event streams at one process: what they hold of its memory, what they cost of its processor, and whether the
//! host answers beside them. The streams follow the log of a run that waits for a person, over loopback, from several addresses of the
//! client, because one has not enough ports.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that can not go on ends"
)]

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use vivarium_tests::guest::{ECHO, tool, tool_plugin_as};
use vivarium_tests::{Answer, Host, ScriptedModel};

/// How many streams.
const STREAMS: usize = 10_000;

/// For how long they are idle: several heartbeats.
const IDLE: Duration = Duration::from_secs(60);

/// A field of `/proc/<pid>/status`, in MiB.
fn mebibytes(pid: u32, field: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<f64>().unwrap() / 1024.0
}

/// Processor time of a process so far, in seconds.
fn processor(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / 100.0
}

/// A stream, its head read.
async fn open(number: usize, server: SocketAddr, request: &str) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    let from = Ipv4Addr::new(127, 0, 0, 2 + u8::try_from(number / 5000).unwrap());
    socket.bind(SocketAddr::from((from, 0))).unwrap();
    let mut stream = socket.connect(server).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = [0; 512];
    let length = stream.read(&mut head).await.unwrap();
    assert!(head[..length].starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&head[..length]));
    stream
}

/// A run that waits for a person.
async fn waiting(model: &ScriptedModel, host: &Host) -> String {
    host.install(tool_plugin_as(json!({"name": "test/careful", "tools": [tool("careful")]}), "", "", ECHO)).await;
    model.then(Answer::tool("careful", json!({"a": 1})));
    let body =
        json!({"input": "x", "mode": "chat", "background": true, "tools": [{"name": "careful", "approval": "ask"}]});
    let (status, run) = host.json(Method::POST, "/v1/runs", Some(&body)).await;
    assert_eq!(status, 202, "{run}");
    let id = run["id"].as_str().unwrap().to_owned();
    loop {
        let run: Value = host.get(&format!("/v1/runs/{id}")).await.json().await.unwrap();
        if run["status"] == "waiting" {
            return id;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn main() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now }).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let model = ScriptedModel::start().await;
        let host = Host::builder().model(&model).start().await;
        let run = waiting(&model, &host).await;
        let pid = host.pid();
        let server: SocketAddr = host.address().strip_prefix("http://").unwrap().parse().unwrap();
        let request = format!(
            "GET /v1/runs/{run}/events HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\naccept: text/event-stream\r\n\r\n",
            host.key()
        );
        println!("{:<34} {:>10} {:>12} {:>14}", "", "VmRSS, MiB", "opened in, s", "processor, s");
        println!("{:<34} {:>10.1}", "no stream", mebibytes(pid, "VmRSS"));
        let (began, used) = (Instant::now(), processor(pid));
        let mut streams = Vec::with_capacity(STREAMS);
        for number in 0..STREAMS {
            streams.push(open(number, server, &request).await);
        }
        let (took, used) = (began.elapsed().as_secs_f64(), processor(pid) - used);
        println!("{:<34} {:>10.1} {took:>12.1} {used:>14.2}", format!("{STREAMS} streams"), mebibytes(pid, "VmRSS"));
        let before = processor(pid);
        tokio::time::sleep(IDLE).await;
        let used = processor(pid) - before;
        let idle = format!("after {} s without an event", IDLE.as_secs());
        println!("{idle:<34} {:>10.1} {:>12} {used:>14.2}", mebibytes(pid, "VmRSS"), "");
        let mut latencies = Vec::new();
        for _ in 0..200 {
            let began = Instant::now();
            assert_eq!(host.get("/readyz").await.status().as_u16(), 200);
            latencies.push(began.elapsed());
        }
        latencies.sort();
        println!("/readyz beside them: p50 {:.2} ms, p99 {:.2} ms", latencies[100].as_secs_f64() * 1e3, latencies[198].as_secs_f64() * 1e3);
        // All of them are told of what happens.
        let (began, decision) = (Instant::now(), json!({"callId": "call_1", "decision": "reject"}));
        model.always(Answer::text("Done."));
        assert_eq!(host.json(Method::POST, &format!("/v1/runs/{run}/approve"), Some(&decision)).await.0, 200);
        for stream in &mut streams {
            let (mut said, mut some) = (Vec::new(), [0; 4096]);
            while !said.windows(13).any(|window| window == b"run.completed") {
                let length = stream.read(&mut some).await.unwrap();
                assert!(length > 0, "a stream ended without the run's end: {}", String::from_utf8_lossy(&said));
                said.extend_from_slice(&some[..length]);
            }
        }
        println!("the run's end was at all of them after {:.2} s; at most {:.1} MiB", began.elapsed().as_secs_f64(), mebibytes(pid, "VmHWM"));
    });
}
