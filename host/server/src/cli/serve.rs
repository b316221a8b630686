//! `vivarium serve`.

use clap::Args;
use secrecy::ExposeSecret as _;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use vivarium::config::{Config, Flags};
use vivarium::sight::{LogFormat, MetricsListener, Sight};
use vivarium::{FirstKey, Host, READY, Server, Stopped, notify};

use super::{Failure, Place, compile, result, say};

#[derive(Debug, Args)]
pub(super) struct Serve {
    /// The address to listen on [default: 127.0.0.1:8080].
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<String>,
    /// A folder of documents to search.
    #[arg(long, value_name = "DIR")]
    corpus: Option<std::path::PathBuf>,
    /// The model that answers where none is named.
    #[arg(long, value_name = "PROVIDER/MODEL")]
    model: Option<String>,
    /// Show the sum of defaults, file, environment and flags, secrets masked, and end.
    #[arg(long)]
    print_config: bool,
    /// Look whether the configuration is in order, say all that is wrong with it, and end: 0 if it is, 2 if it is not.
    #[arg(long)]
    check_config: bool,
    #[command(flatten)]
    place: Place,
}

impl Serve {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { listen, corpus, model, print_config, check_config, place } = self;
        let mut config = place.read_in_silence(Flags { listen, corpus, model, data: None })?;
        config.compiler = compile::ourselves(&config)?;
        if print_config {
            return Ok(result(config.to_toml().map_err(Failure::failed)?.trim_end())?);
        }
        if check_config {
            return Ok(result("the configuration is in order")?);
        }
        let sight = Sight::begin(&config).map_err(Failure::failed)?;
        Config::warn_of_unknown_variables();
        raise_open_files();
        let _heard = survive_large_files()?;
        let mut stop = Signals::listen()?;
        let server = Server::bind(&config)
            .await
            .map_err(|error| Failure::Failed(format!("{} can not be listened on: {error}", config.listen)))?;
        let metrics = MetricsListener::bind(&config)
            .await
            .map_err(|error| Failure::Failed(format!("metrics_listen can not be listened on: {error}")))?;
        let host = tokio::select! {
            host = Host::build(&config, Box::new(|line| tracing::info!("corpus: {line}"))) => host?,
            () = stop.first() => return Ok(()),
        };
        host.take_up_runs().await?;
        announce(&host, &server, &config);
        notify(READY);
        let page = sight.metrics.page(host.runs.clone());
        let of_their_own = metrics.map(|listener| {
            tracing::info!("the metrics are at http://{}/metrics", listener.address());
            tokio::spawn(listener.serve(page.clone()))
        });
        match server.serve(&host, page, stop.first()).await {
            Stopped::Cleanly => tracing::info!("stopped"),
            Stopped::Cut => tracing::warn!("stopped; some connections did not end in time and were cut"),
        }
        if let Some(listener) = of_their_own {
            listener.abort();
        }
        drop(host);
        sight.end().await;
        Ok(())
    }
}

/// Connections, streams and guests' files each take a file descriptor: what the system allows is what we take.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let now = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: now.maximum, ..now }) {
        tracing::warn!(%error, current = now.current, "the bound on open files can not be raised");
    }
}

/// Where the system bounds the size of files, a write beyond it is an error like that of a full disk, and not the end of the
/// process, which it is to whoever does not listen for the signal.
fn survive_large_files() -> std::io::Result<Signal> {
    signal(SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw()))
}

/// The first signal stops the server in good order, the second at once.
struct Signals(mpsc::Receiver<()>);

impl Signals {
    fn listen() -> Result<Self, Failure> {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let (first, heard) = mpsc::channel(1);
        tokio::spawn(async move {
            for already_stopping in [false, true] {
                tokio::select! {
                    _ = terminate.recv() => (),
                    _ = interrupt.recv() => (),
                }
                if already_stopping {
                    say("stopped at once; what was under way is taken care of at the next start");
                    std::process::exit(1);
                }
                let _server_is_gone = first.send(()).await;
            }
        });
        Ok(Self(heard))
    }

    async fn first(&mut self) {
        let _signal = self.0.recv().await;
    }
}

/// Says where it serves: to a program that reads the log, or to a person.
fn announce(host: &Host, server: &Server, config: &Config) {
    match config.log_format {
        LogFormat::Json => {
            tracing::info!(model = model(host), "listening on {}://{}", server.scheme(), server.address());
            if let FirstKey::Made(key) = &host.first_key {
                // Not a line of the log: keys are never logged.
                say(format_args!("key {} (shown this once)", key.expose_secret()));
            }
        }
        LogFormat::Text => greet(host, server, config),
    }
    if !server.address().ip().is_loopback() && server.scheme() == "http" {
        tracing::info!(
            "other machines can reach this address in plain text: set tls_certificate_file, or put TLS before it"
        );
    }
}

/// Says what a newcomer needs for the first request.
fn greet(host: &Host, server: &Server, config: &Config) {
    let (address, scheme) = (server.address(), server.scheme());
    say(format_args!("Vivarium {} listens on {scheme}://{address}", env!("CARGO_PKG_VERSION")));
    say(format_args!("  model   {}", model(host)));
    match &config.corpus {
        Some(folder) => say(format_args!("  corpus  {}", folder.display())),
        None => say("  corpus  none; --corpus DIR makes a folder of documents searchable"),
    }
    let key = match &host.first_key {
        FirstKey::Made(key) => {
            say(format_args!("  key     {} (shown this once)", key.expose_secret()));
            key.expose_secret().to_owned()
        }
        FirstKey::FromEnvironment => "$VIVARIUM_ADMIN_KEY".to_owned(),
        FirstKey::NotNew => {
            say(
                "  key     as before; `vivarium key create` makes another, with --server, or while the server is stopped",
            );
            "$VIVARIUM_KEY".to_owned()
        }
    };
    say("");
    say(format_args!("curl {scheme}://{address}/v1/agent/run \\"));
    say(format_args!("  -H \"Authorization: Bearer {key}\" \\"));
    say("  -H \"Content-Type: application/json\" \\");
    say(
        "  -d '{\"query\": \"Summarize the latest advances in retrieval-augmented generation.\", \"mode\": \"research\", \"maxCycles\": 5}'",
    );
    say("");
}

/// The model; one that is no language model has a hint that says so, and what to do about it.
fn model(host: &Host) -> String {
    let hint = host.model_info().and_then(|info| info.hint);
    hint.unwrap_or_else(|| host.default_model.to_string())
}
