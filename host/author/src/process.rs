//! How other programs are started: compilers, package managers, an author's own build command.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};

/// Why another program did not do its work.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It is not there, or may not be started.
    #[error("`{command}` can not be started: {error}")]
    NotStarted {
        /// The command as a person would type it.
        command: String,
        /// The system's words.
        error: io::Error,
    },
    /// It ended badly; its own words are on standard error.
    #[error("`{command}` failed ({status})")]
    Failed {
        /// The command as a person would type it.
        command: String,
        /// How it ended.
        status: ExitStatus,
    },
}

/// `cargo run` tells a program about its own package and library paths. A cargo further in must not take that for its own.
pub fn without_this_run(command: &mut Command) {
    for (name, _) in env::vars_os() {
        let Some(text) = name.to_str() else { continue };
        let of_this_package =
            text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_BIN_") || text.starts_with("CARGO_MANIFEST_");
        if of_this_package || matches!(text, "CARGO" | "CARGO_CRATE_NAME" | "CARGO_PRIMARY_PACKAGE" | "OUT_DIR") {
            command.env_remove(&name);
        }
    }
    command.env_remove("LD_LIBRARY_PATH").env_remove("RUST_RECURSION_COUNT");
}

/// The command as a person would type it.
#[must_use]
pub fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy);
    words.collect::<Vec<_>>().join(" ")
}

/// Runs a command with its output on the screen: on standard error, since standard output is for results.
///
/// # Errors
/// When it can not be started or ends badly.
pub fn run(command: &mut Command) -> Result<(), ProcessError> {
    command.stdout(Stdio::from(io::stderr()));
    let status = command.status().map_err(|error| ProcessError::NotStarted { command: shown(command), error })?;
    if status.success() { Ok(()) } else { Err(ProcessError::Failed { command: shown(command), status }) }
}

/// Runs a command for what it prints on standard output; its standard error is on the screen.
///
/// # Errors
/// When it can not be started or ends badly.
pub fn printed(command: &mut Command) -> Result<String, ProcessError> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| ProcessError::NotStarted { command: shown(command), error })?;
    if !output.status.success() {
        return Err(ProcessError::Failed { command: shown(command), status: output.status });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// What a command prints, without the white space around it; nothing if it is not there or fails.
#[must_use]
pub fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
