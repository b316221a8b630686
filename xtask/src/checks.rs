//! Everything that CI checks, in the order of what it costs. A failed check does not hide the ones after it, unless they stand on it.

use std::env;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::Result;

use crate::examples::{self, Failure};
use crate::repository::{self, Repository};
use crate::steps::{Outcome, Steps};
use crate::{clients, conformance, guests, programs, test_guests, weights};

/// A warning fails: it is either worth mending or worth a reasoned exception. For guests.
const LINTS: [&str; 6] = ["clippy", "--workspace", "--all-targets", "--", "--deny", "warnings"];
/// The host with a language model of its own, as the tests run it.
const LINTS_WITH_MODEL: [&str; 8] =
    ["clippy", "--workspace", "--all-targets", "--features", weights::FEATURE, "--", "--deny", "warnings"];
/// The host without it. Its tests are the same.
const LINTS_WITHOUT_MODEL: [&str; 5] = ["clippy", "--workspace", "--", "--deny", "warnings"];

/// `cargo xtask test`.
///
/// # Errors
/// Never: what fails is in the table and in the exit code.
pub(crate) fn test(repository: &Repository, steps: &mut Steps, arguments: &[String]) -> Result<ExitCode> {
    let all = arguments.is_empty();
    if all {
        steps.checked("format", || cargo(repository.cargo(), &["fmt", "--all", "--check"]));
        steps.checked("guests: format", || cargo(repository.plugins_cargo(), &["fmt", "--all", "--check"]));
        steps.checked("examples: format", || examples::check_format(repository));
        steps.checked("tests' guest: format", || test_guests::check_format(repository));
    }
    // Before the host's lints, because the host's build takes the components in.
    let guests = steps.checked("guests", || guests::build(repository, false, None));
    // Where it can not be built, the tests that need it say so, and all others are run.
    steps.checked("tests' guest", || test_guests::build(repository));
    if all {
        steps.checked("guests: lints", || cargo(repository.plugins_cargo(), &LINTS));
        steps.checked("guests: unit tests", || cargo(repository.plugins_cargo(), &["test", "--workspace"]));
        written_checks(repository, steps);
    }
    let python = sample_clients(repository, steps);
    let suite = conformance_suite(repository, steps);
    // Where it can not be had, the tests that need it say so.
    steps.checked("programs", || programs::fetch(repository));
    let weights = weights(repository, steps);
    // With `--bins --tests`, and not by `cargo test`, because the integration tests start the real binary.
    let host = steps.checked("host", || {
        let all = ["build", "--workspace", "--bins", "--lib", "--tests", "--features", weights::FEATURE];
        cargo(repository.cargo(), &all)
    });
    if guests && host && (all || arguments.iter().any(|argument| argument.contains("example"))) {
        example_plugins(repository, steps);
    }
    if guests && host {
        let prepared = Prepared { python, suite, weights };
        steps.checked("host: all tests", || host_tests(repository, prepared, arguments));
    } else {
        steps.skipped("host: all tests", "what they run was not built");
    }
    eprintln!("\ncargo xtask test\n{}", steps.table());
    Ok(if steps.all_well() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What can be said of the host without running anything.
fn written_checks(repository: &Repository, steps: &mut Steps) {
    steps.checked("lints", || cargo(repository.cargo(), &LINTS_WITH_MODEL));
    steps.checked("lints, without the embedded model", || cargo(repository.cargo(), &LINTS_WITHOUT_MODEL));
    steps.checked("documentation", || {
        let mut command = repository.cargo();
        command.env("RUSTDOCFLAGS", "--deny warnings");
        cargo(command, &["doc", "--workspace", "--no-deps", "--quiet"])
    });
    if repository::output(Command::new("cargo-deny").arg("--version")).is_some() {
        let check = ["deny", "--offline", "check", "bans", "licenses", "sources"];
        steps.checked("dependencies' licences and sources", || cargo(repository.cargo(), &check));
    } else {
        let reason = "cargo-deny is not installed (`cargo install cargo-deny` brings it)";
        steps.skipped("dependencies' licences and sources", reason);
    }
}

/// A Python for the sample clients, if it can be had.
fn sample_clients(repository: &Repository, steps: &mut Steps) -> Option<PathBuf> {
    let mut python = None;
    let mut prepared = || {
        let environment = clients::prepare(repository)?;
        python = Some(environment.python);
        Ok(environment.outcome)
    };
    if required_clients() {
        steps.checked("sample clients", prepared);
    } else {
        steps.checked("sample clients", || prepared().or_else(|error| Ok(Outcome::Skipped(format!("{error:#}")))));
    }
    python
}

/// The weights of the embedded language model, if they can be had.
fn weights(repository: &Repository, steps: &mut Steps) -> Option<PathBuf> {
    let mut file = None;
    let mut fetched = || {
        let weights = weights::fetch(repository)?;
        file = Some(weights.file);
        Ok(weights.outcome)
    };
    let name = "weights of the embedded model";
    if required_clients() {
        steps.checked(name, fetched);
    } else {
        steps.checked(name, || fetched().or_else(|error| Ok(Outcome::Skipped(format!("{error:#}")))));
    }
    file
}

/// The conformance suite of the Model Context Protocol, if it can be had.
fn conformance_suite(repository: &Repository, steps: &mut Steps) -> Option<PathBuf> {
    let mut folder = None;
    let mut prepared = || {
        let suite = conformance::prepare(repository)?;
        folder = Some(suite.folder);
        Ok(suite.outcome)
    };
    if required_clients() {
        steps.checked("conformance suite", prepared);
    } else {
        steps.checked("conformance suite", || prepared().or_else(|error| Ok(Outcome::Skipped(format!("{error:#}")))));
    }
    folder
}

/// The examples whose languages are there. The tests run what was built.
fn example_plugins(repository: &Repository, steps: &mut Steps) {
    let examples = match examples::find(repository, &[]) {
        Ok(examples) => examples,
        Err(error) => {
            steps.checked("examples", || Err(error));
            return;
        }
    };
    for example in examples {
        steps.checked(&format!("example {}", example.name), || match example.build(repository) {
            Err(Failure::Tools(error)) if !required_clients() => Ok(Outcome::Skipped(format!("{error:#}"))),
            result => Ok(result?),
        });
    }
}

/// On a person's machine a client that is not installed is left out; CI must not become green by what it lacks.
fn required_clients() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false")
}

/// What was fetched for the tests; where a piece is missing, the tests that need it say so.
struct Prepared {
    /// The Python of the sample clients.
    python: Option<PathBuf>,
    /// The folder of the conformance suite of the Model Context Protocol.
    suite: Option<PathBuf>,
    /// The weights of the embedded language model.
    weights: Option<PathBuf>,
}

fn host_tests(repository: &Repository, prepared: Prepared, arguments: &[String]) -> Result<Outcome> {
    let mut command = repository.cargo();
    command.args(["test", "--workspace", "--features", weights::FEATURE]).args(arguments);
    if let Some(python) = prepared.python {
        command.env("VIVARIUM_CLIENTS_PYTHON", python);
    }
    if let Some(weights) = prepared.weights {
        command.env(weights::VARIABLE, weights);
    }
    if let Some(suite) = prepared.suite {
        command.env("VIVARIUM_MCP_CONFORMANCE", suite);
    }
    if required_clients() {
        command.env("VIVARIUM_CLIENTS_REQUIRED", "1").env("VIVARIUM_EXAMPLES_REQUIRED", "1");
    }
    repository::run(&mut command).map(|()| Outcome::Done(String::new()))
}

fn cargo(mut command: Command, arguments: &[&str]) -> Result<Outcome> {
    repository::run(command.args(arguments)).map(|()| Outcome::Done(String::new()))
}
