//! The command line.

mod cli;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser as _;
use tracing_subscriber::EnvFilter;

/// A run is made of small allocations that one thread makes and another frees: with glibc's allocator a third of the
/// processor time at full load went into its locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = cli::Cli::parse();
    trace();
    // Two crypto providers in one process panic at the first handshake: ours is chosen before anything can ask.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        tracing::error!("another TLS provider was installed before ours");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            tracing::error!(%error, "no threads can be started");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(command.run())
}

/// Logs go to standard error; `VIVARIUM_LOG` or `RUST_LOG` says how much.
fn trace() {
    let filter = ["VIVARIUM_LOG", "RUST_LOG"].iter().find_map(|name| EnvFilter::try_from_env(name).ok());
    let filter = filter.unwrap_or_else(|| EnvFilter::new("info,tantivy=warn,sled=warn"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .with_target(false)
        .init();
}
