//! What a person types. Results go to standard output, everything else to standard error; 0 is done, 1 failed, 2 wrong
//! use.

mod audit;
mod backup;
mod compile;
mod corpus;
mod doctor;
mod either;
mod keys;
mod plugin;
mod remote;
mod replay;
mod run;
mod secret;
mod serve;
mod tenants;

use std::fmt::Display;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use vivarium::config::{Config, ConfigErrors, Flags};

/// Runs AI agents whose modes and tools are WebAssembly plugins, behind the HTTP APIs that clients know.
#[derive(Debug, Parser)]
#[command(version, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Start the server.
    Serve(serve::Serve),
    /// Answer one question in this process, without a server.
    Run(run::Run),
    /// Run a recorded run's mode again, offline, and show the first thing that it does otherwise.
    Replay(Box<replay::Replay>),
    /// Write, verify, install and operate plugins.
    #[command(subcommand)]
    Plugin(Box<plugin::Plugin>),
    /// A tenant's corpora: add documents, search them.
    #[command(subcommand)]
    Corpus(corpus::Corpus),
    /// A tenant's secrets.
    #[command(subcommand)]
    Secret(secret::Secret),
    /// API keys, on a server or in a data folder that no server has open.
    #[command(subcommand)]
    Key(keys::Key),
    /// Tenants, on a server or in a data folder that no server has open.
    #[command(subcommand)]
    Tenant(tenants::Tenants),
    /// Who did what, with which grant; and whether nobody has changed that since.
    #[command(subcommand)]
    Audit(audit::Audit),
    /// Make a backup of all that a running server keeps, as one file.
    Backup(backup::Backup),
    /// Put a backup into a data folder that has no store.
    Restore(backup::RestoreBackup),
    /// Look for damage in a data folder that no server has open, and say what to do.
    Doctor(doctor::Doctor),
    /// Compile a component for a server, which calls this.
    #[command(hide = true)]
    CompileComponent(compile::CompileComponent),
}

/// Where things are kept: what all commands take.
#[derive(Debug, Args)]
struct Place {
    /// The folder of all that is kept [default: vivarium-data].
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// The configuration file [default: vivarium.toml, if it is there].
    #[arg(long, value_name = "FILE", env = "VIVARIUM_CONFIG")]
    config: Option<PathBuf>,
}

impl Place {
    fn read(&self, flags: Flags) -> Result<Config, ConfigErrors> {
        let config = self.read_in_silence(flags)?;
        Config::warn_of_unknown_variables();
        Ok(config)
    }

    /// Reads the configuration before there is a log.
    fn read_in_silence(&self, flags: Flags) -> Result<Config, ConfigErrors> {
        Config::read(self.config.as_deref(), &Flags { data: self.data.clone(), ..flags })
    }
}

/// Why a command did not do what it was asked to.
enum Failure {
    /// It was asked wrongly: exit code 2.
    Use(String),
    /// It failed: exit code 1.
    Failed(String),
}

impl Failure {
    fn failed(error: impl Display) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Use(errors.to_string())
    }
}

impl From<vivarium::StartError> for Failure {
    fn from(error: vivarium::StartError) -> Self {
        Self::failed(error)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::failed(error)
    }
}

impl Cli {
    pub(crate) async fn run(self) -> ExitCode {
        // The server's log is as its configuration says.
        if !matches!(self.command, Command::Serve(_)) {
            vivarium::sight::log_as_text();
        }
        let done = match self.command {
            Command::Serve(serve) => serve.run().await,
            Command::Run(run) => run.run().await,
            Command::Replay(replay) => replay.run().await,
            Command::Plugin(plugin) => plugin.run().await,
            Command::Corpus(corpus) => corpus.run().await,
            Command::Secret(secret) => secret.run().await,
            Command::CompileComponent(compile) => return ExitCode::from(compile.run()),
            Command::Audit(audit) => audit.run().await,
            Command::Backup(backup) => backup.run().await,
            Command::Restore(restore) => restore.run().await,
            Command::Doctor(doctor) => doctor.run().await,
            Command::Key(key) => key.run().await,
            Command::Tenant(tenant) => tenant.run().await,
        };
        let (text, code) = match done {
            Ok(()) => return ExitCode::SUCCESS,
            Err(Failure::Use(text)) => (text, 2),
            Err(Failure::Failed(text)) => (text, 1),
        };
        let _nobody_reads = writeln!(io::stderr(), "error: {text}");
        ExitCode::from(code)
    }
}

/// One line of a result.
fn result(line: impl Display) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}

/// One line for the person at the terminal.
fn say(line: impl Display) {
    // Whoever closed standard error does not want to hear it.
    let _nobody_reads = writeln!(io::stderr(), "{line}");
}
