//! The host: built after the guests, and started in this program's place.

use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::guests;
use crate::programs;
use crate::repository::{self, Repository};
use crate::steps::{Outcome, Steps};

/// `cargo xtask serve`.
pub(crate) fn serve(repository: &Repository, steps: &mut Steps, arguments: &[String]) -> Result<ExitCode> {
    build(repository, steps)?;
    fetch_programs(repository, steps);
    become_vivarium(repository, "serve", arguments).map(|never| match never {})
}

/// `cargo xtask run`.
pub(crate) fn run(repository: &Repository, steps: &mut Steps, arguments: &[String]) -> Result<ExitCode> {
    build(repository, steps)?;
    fetch_programs(repository, steps);
    become_vivarium(repository, "run", arguments).map(|never| match never {})
}

/// `cargo xtask bench`.
pub(crate) fn bench(repository: &Repository, steps: &mut Steps, arguments: &[String]) -> Result<ExitCode> {
    steps.required("guests", || guests::build(repository, false, None))?;
    steps.required("host, in release mode", || {
        repository::run(repository.cargo().args(["build", "--release", "--workspace", "--bin", "vivarium"]))?;
        Ok(Outcome::Done(String::new()))
    })?;
    let mut cargo = repository.cargo();
    cargo.args(["bench", "--package", "vivarium-tests", "--benches", "--"]).args(arguments);
    steps.required("benches", || repository::run(&mut cargo).map(|()| Outcome::Done(String::new())))?;
    Ok(ExitCode::SUCCESS)
}

/// The guests and the server.
///
/// # Errors
/// When one of them does not build.
pub(crate) fn build(repository: &Repository, steps: &mut Steps) -> Result<()> {
    steps.required("guests", || guests::build(repository, false, None))?;
    // `--workspace` unifies features as `cargo test --workspace` does: so what one has built the other need not build again.
    steps.required("host", || {
        repository::run(repository.cargo().args(["build", "--workspace", "--bin", "vivarium"]))?;
        Ok(Outcome::Done(String::new()))
    })
}

/// The programs; a server without them says so when one is wanted.
fn fetch_programs(repository: &Repository, steps: &mut Steps) {
    let fetched = || programs::fetch(repository);
    steps.checked("programs", || fetched().or_else(|error| Ok(Outcome::Skipped(format!("{error:#}")))));
}

/// Replaces this program, so that Ctrl-C, the terminal and the exit code are the server's own.
fn become_vivarium(repository: &Repository, subcommand: &str, arguments: &[String]) -> Result<Infallible> {
    let mut vivarium = Command::new(repository.target().join("debug/vivarium"));
    repository::without_this_run(&mut vivarium);
    vivarium.arg(subcommand).args(arguments);
    let programs = programs::folder(repository);
    // What somebody has set goes before what is fetched here.
    let set = std::fs::read_to_string("vivarium.toml").is_ok_and(|text| text.contains("programs_dir"));
    if programs.is_dir() && !set && std::env::var_os("VIVARIUM_PROGRAMS_DIR").is_none() {
        vivarium.env("VIVARIUM_PROGRAMS_DIR", programs);
    }
    Err(vivarium.exec()).with_context(|| format!("`{}` can not be started", repository::shown(&vivarium)))
}
