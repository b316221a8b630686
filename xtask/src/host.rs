//! The host: built after the guests, and started in this program's place.

use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use crate::repository::{self, Repository};
use crate::steps::{Outcome, Steps};
use crate::{guests, programs, weights};

/// Asks for a server with a language model of its own.
const WITH_MODEL: &str = "--with-model";

/// `cargo xtask serve`.
pub(crate) fn serve(repository: &Repository, steps: &mut Steps, arguments: &[String]) -> Result<ExitCode> {
    start(repository, steps, "serve", arguments)
}

/// `cargo xtask run`.
pub(crate) fn run(repository: &Repository, steps: &mut Steps, arguments: &[String]) -> Result<ExitCode> {
    start(repository, steps, "run", arguments)
}

/// Builds the server and starts it, with the embedded language model if the arguments ask for it.
fn start(repository: &Repository, steps: &mut Steps, subcommand: &str, arguments: &[String]) -> Result<ExitCode> {
    let (with_model, arguments) = with_model(arguments);
    let mut weights = None;
    if with_model {
        steps.required("weights of the embedded model", || {
            let fetched = weights::fetch(repository)?;
            weights = Some(fetched.file);
            Ok(fetched.outcome)
        })?;
    }
    build(repository, steps, with_model)?;
    fetch_programs(repository, steps);
    become_vivarium(repository, subcommand, &arguments, weights).map(|never| match never {})
}

/// Whether `--with-model` is there, and the arguments for the server. What stands behind `--` is the server's alone.
fn with_model(arguments: &[String]) -> (bool, Vec<String>) {
    let ours = arguments.iter().take_while(|argument| *argument != "--").count();
    let (ours, theirs) = arguments.split_at(ours);
    let kept = ours.iter().filter(|argument| *argument != WITH_MODEL).chain(theirs).cloned().collect();
    (ours.iter().any(|argument| argument == WITH_MODEL), kept)
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
pub(crate) fn build(repository: &Repository, steps: &mut Steps, with_model: bool) -> Result<()> {
    steps.required("guests", || guests::build(repository, false, None))?;
    // `--workspace` unifies features as `cargo test --workspace` does: so what one has built the other need not build again,
    // but for the embedded model and what uses it: the tests have it, and a server where it is asked for.
    steps.required("host", || {
        let mut cargo = repository.cargo();
        cargo.args(["build", "--workspace", "--bin", "vivarium"]);
        if with_model {
            cargo.args(["--features", weights::FEATURE]);
        }
        repository::run(&mut cargo).map(|()| Outcome::Done(String::new()))
    })
}

/// The programs; a server without them says so when one is wanted.
fn fetch_programs(repository: &Repository, steps: &mut Steps) {
    let fetched = || programs::fetch(repository);
    steps.checked("programs", || fetched().or_else(|error| Ok(Outcome::Skipped(format!("{error:#}")))));
}

/// Replaces this program, so that Ctrl-C, the terminal and the exit code are the server's own.
fn become_vivarium(
    repository: &Repository,
    subcommand: &str,
    arguments: &[String],
    weights: Option<PathBuf>,
) -> Result<Infallible> {
    let mut vivarium = Command::new(repository.target().join("debug/vivarium"));
    if let Some(file) = weights {
        vivarium.env(weights::VARIABLE, file);
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_asked_for_here_and_the_server_hears_nothing_of_it() {
        let words = |line: &str| line.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(with_model(&words("--with-model --corpus docs")), (true, words("--corpus docs")));
        assert_eq!(with_model(&words("hi --corpus docs")), (false, words("hi --corpus docs")));
        assert_eq!(with_model(&words("-- --with-model")), (false, words("-- --with-model")));
    }
}
