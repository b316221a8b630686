//! The real server, as a child process on a free port with a data folder of its own, and with no key of the person who runs the tests.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::sync::Arc;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use crate::model::ScriptedModel;
use crate::sse::SseStream;
use crate::{PATIENCE, http_client, soon};

/// The first admin key of every server that is started here.
const KEY: &str = "ask_0000000000000000000000000000000000000000000000000000000000000001";

/// The binary under test: built beside this test's own executable.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn vivarium_binary() -> PathBuf {
    let test = std::env::current_exe().expect("a test knows its own path");
    let folder = test.ancestors().nth(2).expect("a test stands in target/<profile>/deps");
    let binary = folder.join("vivarium");
    assert!(
        binary.is_file(),
        "{} is not there: `cargo build -p vivarium` makes it (`cargo xtask test` does that by itself)",
        binary.display()
    );
    binary
}

/// A command that sees nothing of the environment but what it needs to run.
fn clean_command(home: &Path) -> Command {
    let mut command = Command::new(vivarium_binary());
    command.env_clear().env("HOME", home).env("RUST_BACKTRACE", "1").current_dir(home);
    for kept in ["PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(kept) {
            command.env(kept, value);
        }
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    command
}

/// What the hosts of all tests have compiled. Compiling the plugins takes seconds, and each test has a new data folder.
fn compiled_forms() -> PathBuf {
    vivarium_binary().with_file_name("vivarium-tests-compiled")
}

/// Gives `to` the files of `from` that it lacks.
fn share(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).into_iter().flatten().flatten() {
        let (source, target) = (entry.path(), to.join(entry.file_name()));
        if source.extension().is_some_and(|extension| extension == "tmp") || target.exists() {
            continue;
        }
        // Another test may be faster, and a file that is being written may be gone by now; either way nothing is lost but time.
        if std::fs::hard_link(&source, &target).is_err() {
            let partial = target.with_extension(format!("{}.tmp", std::process::id()));
            let _ = std::fs::copy(&source, &partial).and_then(|_| std::fs::rename(&partial, &target));
        }
    }
}

/// The command line, on a data folder that no server has open.
pub struct Cli {
    data: PathBuf,
}

impl Cli {
    /// On this data folder.
    #[must_use]
    pub fn on(data: &Path) -> Self {
        Self { data: data.to_owned() }
    }

    /// Runs `vivarium …`, whatever comes of it.
    ///
    /// # Panics
    /// When the program can not be started or does not end.
    pub async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = clean_command(&self.data);
        command.args(arguments).env("VIVARIUM_DATA", &self.data);
        soon("the command's end", command.output()).await.expect("vivarium can be started")
    }

    /// What `vivarium …` prints on standard output.
    ///
    /// # Panics
    /// When it fails.
    pub async fn output(&self, arguments: &[&str]) -> String {
        let output = self.run(arguments).await;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        assert!(output.status.success(), "vivarium {arguments:?}: {}\n{}", output.status, text(&output.stderr));
        text(&output.stdout).trim().to_owned()
    }
}

/// How a server is started.
pub struct HostBuilder {
    client: Option<Client>,
    listen: String,
    data: Option<TempDir>,
    arguments: Vec<OsString>,
    environment: Vec<(String, OsString)>,
}

impl HostBuilder {
    /// At this address, in place of a free port that only this machine reaches.
    #[must_use]
    pub fn listen(mut self, address: &str) -> Self {
        address.clone_into(&mut self.listen);
        self
    }

    /// With an argument of `vivarium serve` more.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<OsString>) -> Self {
        self.arguments.push(argument.into());
        self
    }

    /// With a variable more.
    #[must_use]
    pub fn environment(mut self, name: &str, value: impl Into<OsString>) -> Self {
        self.environment.push((name.to_owned(), value.into()));
        self
    }

    /// With this folder of documents.
    #[must_use]
    pub fn corpus(self, folder: &Path) -> Self {
        self.argument("--corpus").argument(folder)
    }

    /// With this model.
    #[must_use]
    pub fn model(self, model: &ScriptedModel) -> Self {
        self.environment("OPENAI_BASE_URL", model.base_url())
            .environment("OPENAI_API_KEY", "sk-of-the-test")
            .environment("VIVARIUM_MODEL", "openai/scripted")
    }

    /// On a data folder that another server has left behind.
    #[must_use]
    pub fn data(mut self, data: TempDir) -> Self {
        self.data = Some(data);
        self
    }

    /// With this configuration file.
    ///
    /// # Panics
    /// When it can not be written.
    #[must_use]
    pub fn config(mut self, toml: &str) -> Self {
        let data = self.data.take().unwrap_or_else(|| tempfile::tempdir().expect("a temporary folder can be made"));
        let path = data.path().join("test.toml");
        std::fs::write(&path, toml).expect("a file can be written");
        self.data = Some(data);
        self.argument("--config").argument(path)
    }

    /// Asked by this client, which trusts its certificate.
    #[must_use]
    pub fn client(mut self, client: Client) -> Self {
        self.client = Some(client);
        self
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// With all that the server has said, when it does not come up.
    pub async fn start(self) -> Host {
        let host = self.start_unready().await;
        host.ready().await;
        share(&host.data().join("compiled"), &compiled_forms());
        host
    }

    /// Starts it and waits until it listens, whether it can serve or not.
    ///
    /// # Panics
    /// With all that the server has said, when it does not come up.
    pub async fn start_unready(self) -> Host {
        let data = self.data.unwrap_or_else(|| tempfile::tempdir().expect("a temporary folder can be made"));
        let compiled = data.path().join("compiled");
        share(&compiled_forms(), &compiled);
        let mut command = clean_command(data.path());
        command.args(["serve", "--listen", &self.listen, "--data"]).arg(data.path()).args(&self.arguments);
        command.env("VIVARIUM_ADMIN_KEY", KEY).envs(self.environment);
        let mut child = command.spawn().expect("vivarium can be started");
        let said = Arc::new(watch::Sender::new(String::new()));
        follow(child.stdout.take().expect("it is piped"), Arc::clone(&said));
        follow(child.stderr.take().expect("it is piped"), Arc::clone(&said));
        let address = address(&mut child, &said).await;
        let client = self.client.unwrap_or_else(http_client);
        Host { child, address, said, _compiled: Compiled(compiled), data, client, key: KEY.to_owned() }
    }
}

async fn status_and_json(response: Response) -> (u16, Value) {
    let status = response.status().as_u16();
    let text = response.text().await.expect("the answer has a body");
    if text.is_empty() {
        return (status, Value::Null);
    }
    let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{status} {text:?} is no JSON: {error}"));
    (status, json)
}

/// Collects what a child says, line by line.
fn follow(pipe: impl AsyncRead + Unpin + Send + 'static, said: Arc<watch::Sender<String>>) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(pipe).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            said.send_modify(|all| {
                let _ = writeln!(all, "{line}");
            });
        }
    });
}

/// The address that the server says it listens on.
async fn address(child: &mut Child, said: &watch::Sender<String>) -> String {
    let mut receiver = said.subscribe();
    let seen = tokio::select! {
        seen = receiver.wait_for(|all| find_address(all).is_some()) => seen.ok().and_then(|all| find_address(&all)),
        _ = child.wait() => None,
        () = tokio::time::sleep(PATIENCE) => None,
    };
    seen.unwrap_or_else(|| panic!("the server does not come up. It said:\n{}", *said.borrow()))
}

/// `http://127.0.0.1:<port>`, or the same with https, once the whole line is there.
fn find_address(text: &str) -> Option<String> {
    // Whoever listens on all addresses listens on this one, too.
    let text = text.replace("http://0.0.0.0:", "http://127.0.0.1:");
    let start = ["http://127.0.0.1:", "https://127.0.0.1:"].iter().find_map(|scheme| text.find(scheme))?;
    let (line, _) = text.get(start..)?.split_once('\n')?;
    let end = line.char_indices().skip("https://".len()).find(|(_, c)| !c.is_ascii_digit() && !".:".contains(*c));
    let address = end.map_or(line, |(at, _)| &line[..at]);
    Some(address.trim_end_matches(['.', ':']).to_owned())
}

/// What a host has compiled by its end is there for the next ones: programs are compiled while it serves.
struct Compiled(PathBuf);

impl Drop for Compiled {
    fn drop(&mut self) {
        share(&self.0, &compiled_forms());
    }
}

/// A running server. It is killed when it is dropped.
pub struct Host {
    child: Child,
    address: String,
    said: Arc<watch::Sender<String>>,
    _compiled: Compiled,
    data: TempDir,
    client: Client,
    key: String,
}

impl Host {
    /// A server to be started.
    #[must_use]
    pub fn builder() -> HostBuilder {
        HostBuilder {
            client: None,
            listen: "127.0.0.1:0".to_owned(),
            data: None,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Waits until the server says that it is able to serve.
    async fn ready(&self) {
        let ready = async {
            loop {
                let answer = self.client.get(self.url("/readyz")).send().await;
                if answer.is_ok_and(|response| response.status().is_success()) {
                    return;
                }
                // The server is up and gets ready; there is nothing to wait on but its answer.
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, ready).await.is_err() {
            panic!("the server does not get ready. It said:\n{}", self.log());
        }
    }

    /// `http://127.0.0.1:<port>`.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The address of a path.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    /// Its data folder.
    #[must_use]
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The admin key.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// A client without any credentials.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// A request with the admin key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, self.url(path)).bearer_auth(&self.key)
    }

    /// GET with the admin key.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn get(&self, path: &str) -> Response {
        self.send(self.request(Method::GET, path)).await
    }

    /// Sends JSON with another key. Gives the status and the answer's JSON; null where it has no body.
    ///
    /// # Panics
    /// When there is no answer, or its body is no JSON.
    pub async fn json_as(&self, key: &str, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        let mut request = self.client.request(method, self.url(path)).bearer_auth(key);
        if let Some(body) = body {
            request = request.json(body);
        }
        status_and_json(self.send(request).await).await
    }

    /// The same with the admin key.
    ///
    /// # Panics
    /// As [`Host::json_as`].
    pub async fn json(&self, method: Method, path: &str, body: Option<&Value>) -> (u16, Value) {
        self.json_as(&self.key, method, path, body).await
    }

    /// Uploads a component. Gives the status and the answer.
    ///
    /// # Panics
    /// As [`Host::json_as`].
    pub async fn install_as(&self, key: &str, path: &str, component: Vec<u8>) -> (u16, Value) {
        let request = self.client.post(self.url(path)).bearer_auth(key);
        let request = request.header("content-type", "application/wasm").body(component);
        status_and_json(self.send(request).await).await
    }

    /// Installs a component with the admin key, which has to succeed.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn install(&self, component: Vec<u8>) -> Value {
        let (status, answer) = self.install_as(&self.key, "/v1/plugins", component).await;
        assert!(matches!(status, 200 | 201), "{status}: {answer}\nThe server said:\n{}", self.log());
        answer
    }

    /// Tries a tool out with the admin key.
    ///
    /// # Panics
    /// When the answer is another than 200.
    pub async fn call_tool(&self, name: &str, arguments: Value) -> Value {
        self.post_ok(&format!("/v1/tools/{name}/call"), &serde_json::json!({"arguments": arguments})).await
    }

    /// POST with the admin key.
    ///
    /// # Panics
    /// When there is no answer.
    pub async fn post(&self, path: &str, body: &Value) -> Response {
        self.send(self.request(Method::POST, path).json(body)).await
    }

    /// POST that has to succeed.
    ///
    /// # Panics
    /// When the answer's status is another than 200, or its body no JSON.
    pub async fn post_ok(&self, path: &str, body: &Value) -> Value {
        let response = self.post(path, body).await;
        let status = response.status();
        let text = response.text().await.expect("the answer has a body");
        assert_eq!(status.as_u16(), 200, "{path} {body}: {text}\nThe server said:\n{}", self.log());
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{text:?} is no JSON: {error}"))
    }

    /// GET of an event stream.
    ///
    /// # Panics
    /// When the answer is no stream.
    pub async fn stream(&self, path: &str, query: &[(&str, &str)]) -> SseStream {
        SseStream::new(self.send(self.request(Method::GET, path).query(query)).await)
    }

    /// Sends it.
    ///
    /// # Panics
    /// With all that the server has said, when there is no answer.
    pub async fn send(&self, request: RequestBuilder) -> Response {
        match soon("an answer of the server", request.send()).await {
            Ok(response) => response,
            Err(error) => panic!("no answer: {error:?}\nThe server said:\n{}", self.log()),
        }
    }

    /// All that the server has said on standard output and standard error.
    #[must_use]
    pub fn log(&self) -> String {
        self.said.borrow().clone()
    }

    /// Waits until the server has said something that contains this.
    ///
    /// # Panics
    /// When it does not.
    pub async fn says(&self, text: &str) {
        let mut receiver = self.said.subscribe();
        let seen = soon(text, receiver.wait_for(|all| all.contains(text))).await.is_ok();
        assert!(seen, "the server never said {text:?}:\n{}", self.log());
    }

    /// The server's process id.
    ///
    /// # Panics
    /// When it has ended.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id().unwrap_or_else(|| panic!("the server has ended. It said:\n{}", self.log()))
    }

    /// Asks the server to stop, as an operator does, and waits for its end. Gives the data folder back.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop(self) -> (ExitStatus, TempDir) {
        self.terminate();
        self.stop_terminated().await
    }

    /// Waits for the end of a server that was asked to stop. Gives the data folder back.
    ///
    /// # Panics
    /// When it does not end.
    pub async fn stop_terminated(mut self) -> (ExitStatus, TempDir) {
        let status = soon("the server's end", self.child.wait()).await.expect("a child can be waited for");
        (status, self.data)
    }

    /// Sends SIGTERM and returns at once.
    ///
    /// # Panics
    /// When the server has ended already.
    pub fn terminate(&self) {
        self.signal("TERM");
    }

    /// Sends a signal by its name and returns at once.
    ///
    /// # Panics
    /// When the server has ended already.
    pub fn signal(&self, name: &str) {
        // The standard library sends no signal but SIGKILL, and a shell's own `kill` spares the tests the one line of unsafe code.
        let command = format!("kill -{name} {}", self.pid());
        let sent = std::process::Command::new("sh").args(["-c", &command]).status().expect("there is a shell");
        assert!(sent.success(), "`{command}`: {sent}");
    }

    /// `kill -9`. Gives the data folder back as it was at that moment.
    ///
    /// # Panics
    /// When it can not be killed.
    pub async fn kill(mut self) -> TempDir {
        self.child.kill().await.expect("a child can be killed");
        self.data
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_read_from_a_whole_line_only() {
        assert_eq!(find_address("listening on http://127.0.0.1:80"), None);
        assert_eq!(find_address("x http://127.0.0.1:8080/v1/run y\n").unwrap(), "http://127.0.0.1:8080");
        assert_eq!(find_address("at http://127.0.0.1:41\n").unwrap(), "http://127.0.0.1:41");
        assert_eq!(find_address("at http://127.0.0.1:41.\n").unwrap(), "http://127.0.0.1:41");
    }
}
