//! What one tenant's abuse costs another: the latencies of a quiet tenant's tool calls, first alone, then while another
//! tenant floods the host with calls, spins on every place that it gets, or fills its memories. Load generator and host share
//! the machine, so the abuse costs the quiet tenant a part of the machine in any case; the floor shows that part: the same
//! calls while as many threads of another program spin.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a bench that can not go on ends"
)]

mod hundred;

use std::io::{BufRead as _, BufReader, Read as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::json;
use vivarium_tests::guest::{ECHO, saying, tool, tool_plugin_as};
use vivarium_tests::{Cli, Host, http_client};

/// Calls of the quiet tenant in each round.
const CALLS: usize = 1_000;

/// Calls of the abusive tenant at one time.
const ABUSE: usize = 64;

pub(crate) const SPIN: &str = "(loop $for_ever (br $for_ever)) (unreachable)";

/// Touches a page after the other, of as much memory as it gets, and then spins.
pub(crate) const FILL: &str = "(local $at i32)
    (loop $more
        (drop (memory.grow (i32.const 1)))
        (local.set $at (i32.mul (i32.sub (memory.size) (i32.const 1)) (i32.const 65536)))
        (i32.store (local.get $at) (i32.const 1))
        (br $more))
    (unreachable)";

struct Stage {
    host: Host,
    quiet: String,
    abusive: String,
}

impl Stage {
    async fn set() -> Self {
        let data = tempfile::tempdir().unwrap();
        let cli = Cli::on(data.path());
        let mut keys = Vec::new();
        for tenant in ["quiet", "abusive"] {
            // No rate limit is in the way of the abuse: what is measured is what is behind them.
            cli.output(&["tenant", "create", tenant, "--tier", "enterprise"]).await;
            keys.push(cli.output(&["key", "create", "--tenant", tenant, "--scope", "runs,plugins"]).await);
        }
        let host = Host::builder().data(data).start().await;
        let abusive = keys.pop().unwrap();
        let stage = Self { host, quiet: keys.pop().unwrap(), abusive };
        let (data, body) = saying("hello");
        stage.install(&stage.quiet, "quiet/hello", "hello", &data, &body).await;
        for (name, body) in [("flood", ECHO), ("spin", SPIN), ("fill", FILL)] {
            stage.install(&stage.abusive, &format!("abusive/{name}"), name, "", body).await;
        }
        stage
    }

    async fn install(&self, key: &str, plugin: &str, tool_name: &str, data: &str, body: &str) {
        let component = tool_plugin_as(json!({"name": plugin, "tools": [tool(tool_name)]}), "", data, body);
        let (status, answer) = self.host.install_as(key, "/v1/plugins", component).await;
        assert_eq!(status, 201, "{answer}");
    }

    /// The latencies of the quiet tenant's calls, sorted.
    async fn quiet_calls(&self) -> Vec<Duration> {
        let client = http_client();
        let url = self.host.url("/v1/tools/hello/call");
        let mut latencies = Vec::with_capacity(CALLS);
        for _ in 0..CALLS {
            let began = Instant::now();
            let request = client.request(Method::POST, &url).bearer_auth(&self.quiet).json(&json!({"arguments": {}}));
            let answer = request.send().await.unwrap();
            assert_eq!(answer.status().as_u16(), 200);
            answer.bytes().await.unwrap();
            latencies.push(began.elapsed());
        }
        latencies.sort();
        latencies
    }

    /// The abusive tenant calls this tool again and again, many times at once.
    fn abuse(&self, tool: &str) -> Abuse {
        Abuse::of(&self.host.url(&format!("/v1/tools/{tool}/call")), &self.abusive)
    }
}

/// A process that sends the same request again and again, many times at once.
struct Abuse(Child);

impl Abuse {
    fn of(url: &str, key: &str) -> Self {
        let ourselves = std::env::current_exe().unwrap();
        let mut command = Command::new(ourselves);
        Self(command.args(["abuse", url, key]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap())
    }

    /// Ends it. Gives how many requests were answered.
    fn end(mut self) -> String {
        drop(self.0.stdin.take());
        let mut said = String::new();
        self.0.stdout.take().unwrap().read_to_string(&mut said).unwrap();
        self.0.wait().unwrap();
        said.trim().to_owned()
    }
}

/// What the process of [`Abuse`] does, until its standard input ends.
async fn abuse(url: &str, key: &str) {
    let answered = Arc::new(AtomicU64::new(0));
    for _ in 0..ABUSE {
        let (url, key, client, answered) = (url.to_owned(), key.to_owned(), http_client(), Arc::clone(&answered));
        tokio::spawn(async move {
            loop {
                let call = client.post(&url).bearer_auth(&key).json(&json!({"arguments": {}}));
                if let Ok(answer) = call.send().await {
                    let _ = answer.bytes().await;
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
    }
    tokio::task::spawn_blocking(|| std::io::stdin().read_to_string(&mut String::new())).await.unwrap().unwrap();
    println!("{}", answered.load(Ordering::Relaxed));
    std::process::exit(0);
}

/// What the process of the bare server does: it says where it is, and answers.
async fn bare() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    println!("http://{}", listener.local_addr().unwrap());
    let listener = axum::serve::ListenerExt::tap_io(listener, |stream| {
        let _ = stream.set_nodelay(true);
    });
    let answer = async |body: axum::body::Bytes| body;
    axum::serve(listener, axum::Router::new().fallback(answer)).await.unwrap();
}

struct Bare(Child, String);

impl Bare {
    fn start() -> Self {
        let mut command = Command::new(std::env::current_exe().unwrap());
        let mut child = command.arg("bare").stdout(Stdio::piped()).spawn().unwrap();
        let mut url = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut url).unwrap();
        Self(child, url.trim().to_owned())
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn at(latencies: &[Duration], per_mille: usize) -> f64 {
    latencies[(latencies.len() * per_mille / 1000).min(latencies.len() - 1)].as_secs_f64() * 1e3
}

fn show(what: &str, latencies: &[Duration], quiet: &[Duration], note: &str) {
    let (p50, p99) = (at(latencies, 500), at(latencies, 990));
    println!("{what:<44} {p50:>8.2} {p99:>8.2} {:>8.2}  {note}", p99 / at(quiet, 990));
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["abuse", url, key] => return runtime.block_on(abuse(url, key)),
        ["bare"] => return runtime.block_on(bare()),
        ["hundred", ..] => return runtime.block_on(hundred::run()),
        // `cargo bench` gives arguments of its own.
        _ => {}
    }
    runtime.block_on(async {
        let stage = Stage::set().await;
        stage.quiet_calls().await;
        println!("{:<44} {:>8} {:>8} {:>8}", "the quiet tenant's calls, in ms", "p50", "p99", "p99 / quiet");
        let quiet = stage.quiet_calls().await;
        show("alone", &quiet, &quiet, "");
        for (tool, what) in [
            ("flood", "beside 64 calls at a time of another"),
            ("spin", "beside 64 spinning guests"),
            ("fill", "beside 64 guests that fill their memory"),
        ] {
            let abuse = stage.abuse(tool);
            // Until the abuse is in full swing.
            tokio::time::sleep(Duration::from_secs(2)).await;
            let began = Instant::now();
            let latencies = stage.quiet_calls().await;
            let took = began.elapsed();
            let answered = abuse.end();
            show(
                what,
                &latencies,
                &quiet,
                &format!("{answered} calls of the other in {:.1} s", took.as_secs_f64() + 2.0),
            );
            // What was cut off ends.
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        let again = stage.quiet_calls().await;
        show("alone again", &again, &quiet, "");
        let server = Bare::start();
        let abuse = Abuse::of(&server.1, "none");
        tokio::time::sleep(Duration::from_secs(2)).await;
        let floor = stage.quiet_calls().await;
        show("floor: the same flood at a bare axum server", &floor, &quiet, &format!("{} calls", abuse.end()));
        drop(server);
        let over = Arc::new(AtomicBool::new(false));
        let threads = std::thread::available_parallelism().unwrap().get();
        let spinning: Vec<_> = (0..threads)
            .map(|_| {
                let over = Arc::clone(&over);
                std::thread::spawn(move || {
                    while !over.load(Ordering::Relaxed) {
                        std::hint::spin_loop();
                    }
                })
            })
            .collect();
        let floor = stage.quiet_calls().await;
        over.store(true, Ordering::Relaxed);
        for thread in spinning {
            thread.join().unwrap();
        }
        show("floor: another program spins on every core", &floor, &quiet, "");
        drop(stage);
        hundred::run().await;
    });
}
