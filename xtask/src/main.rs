//! What a person types: `cargo xtask serve`, `cargo xtask test` and their kin.
//!
//! A build script can not build the guests (another target, another workspace, sometimes another compiler), and a newcomer
//! should not have to. So everything that stands between a fresh clone and a running server is done here, step by step,
//! each with its name and its time on standard error.
#![allow(clippy::print_stderr, reason = "telling a person what is going on is what this program is for")]

mod checks;
mod clients;
mod conformance;
mod examples;
mod guests;
mod host;
mod programs;
mod python;
mod repository;
mod steps;
mod test_guests;
mod weights;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use vivarium_author::Toolchain;

use crate::repository::Repository;
use crate::steps::Steps;

/// Builds, runs and checks Vivarium. Every command does what has to be done before it.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Builds guests and host and starts the server: serve [--with-model] [--listen ADDRESS] [--corpus DIR] …
    #[command(disable_help_flag = true)]
    Serve {
        /// Handed to `vivarium serve`; `cargo xtask serve --help` shows what there is.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Builds guests and host and answers one question: run "QUESTION" [--with-model] [--corpus DIR] …
    #[command(disable_help_flag = true)]
    Run {
        /// Handed to `vivarium run`; `cargo xtask run --help` shows what there is.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Everything that CI checks: format, lints, documentation, guests, all tests.
    Test {
        /// Handed to the host's `cargo test`, such as a test's name. Then only guests, build and tests are run.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Measures (in release mode: the first build takes many minutes).
    Bench {
        /// Handed to `cargo bench`.
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Builds the plugins that ship with Vivarium, into plugins/dist.
    Guests {
        /// Builds them even if nothing has changed.
        #[arg(long)]
        force: bool,
        /// Only with this compiler, instead of the first that can: rustup or debian.
        #[arg(long = "with")]
        only: Option<Toolchain>,
    },
    /// Builds the plugins in examples/plugins with their own languages' tools, into target/examples.
    Examples {
        /// Which ones; none: all.
        names: Vec<String>,
    },
    /// Fetches the programs that tools may run and that are not built here, such as Python, into target/programs.
    Programs,
    /// Prepares the Python environment of the sample clients and of the OpenAPI document's tests, and prints its interpreter.
    Clients,
}

fn main() -> ExitCode {
    match execute(Arguments::parse().command) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("cargo xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn execute(command: Command) -> Result<ExitCode> {
    let repository = Repository::find()?;
    let mut steps = Steps::default();
    match command {
        Command::Serve { arguments } => host::serve(&repository, &mut steps, &arguments),
        Command::Run { arguments } => host::run(&repository, &mut steps, &arguments),
        Command::Bench { arguments } => host::bench(&repository, &mut steps, &arguments),
        Command::Test { arguments } => checks::test(&repository, &mut steps, &arguments),
        Command::Guests { force, only } => {
            steps.required("guests", || guests::build(&repository, force, only))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Examples { names } => {
            let examples = examples::find(&repository, &names)?;
            host::build(&repository, &mut steps, false)?;
            for example in examples {
                steps.required(&format!("example {}", example.name), || Ok(example.build(&repository)?))?;
            }
            Ok(ExitCode::SUCCESS)
        }
        Command::Programs => {
            steps.required("programs", || programs::fetch(&repository))?;
            Ok(ExitCode::SUCCESS)
        }
        Command::Clients => {
            let mut python = PathBuf::new();
            steps.required("clients", || {
                let environment = clients::prepare(&repository)?;
                python.clone_from(&environment.python);
                Ok(environment.outcome)
            })?;
            eprintln!("{}", python.display());
            Ok(ExitCode::SUCCESS)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &[&str]) -> Command {
        Arguments::parse_from(std::iter::once(&"cargo xtask").chain(line)).command
    }

    #[test]
    fn what_is_meant_for_the_host_reaches_it_as_it_was_typed() {
        for line in [vec!["--corpus", "docs"], vec!["--", "--corpus", "docs"], vec!["--help"], vec![]] {
            let Command::Serve { arguments } = parsed(&[&["serve"], line.as_slice()].concat()) else {
                panic!("{line:?} is no serve")
            };
            let typed: Vec<_> = line.iter().filter(|word| **word != "--").collect();
            assert_eq!(arguments.iter().collect::<Vec<_>>(), typed, "{line:?}");
        }
        let Command::Run { arguments } = parsed(&["run", "what?", "--corpus", "docs", "--json"]) else {
            panic!("this is no run")
        };
        assert_eq!(arguments, ["what?", "--corpus", "docs", "--json"]);
    }

    #[test]
    fn guests_can_be_forced_and_their_compiler_named() {
        let Command::Guests { force, only } = parsed(&["guests", "--force", "--with", "debian"]) else {
            panic!("these are no guests")
        };
        assert!(force && only == Some(Toolchain::Debian));
    }
}
