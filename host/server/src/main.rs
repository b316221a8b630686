//! The command line.

mod cli;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;

/// A run is made of small allocations that one thread makes and another frees: with glibc's allocator a third of the
/// processor time at full load went into its locks.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let command = cli::Cli::parse();
    // Two crypto providers in one process panic at the first handshake: ours is chosen before anything can ask.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        let _nobody_reads = writeln!(io::stderr(), "error: another TLS provider was installed before ours");
        return ExitCode::FAILURE;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let _nobody_reads = writeln!(io::stderr(), "error: no threads can be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    runtime.block_on(command.run())
}
