//! Where things are, and how a program is started from here.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, bail};

/// The clone that this program was built from.
pub(crate) struct Repository {
    /// The folder with the host's `Cargo.toml`.
    pub(crate) root: PathBuf,
}

impl Repository {
    /// # Errors
    /// When the folder that this program was compiled in is gone.
    pub(crate) fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask has no parent folder")?;
        if !root.join("plugins/Cargo.toml").is_file() {
            bail!("{} is no Vivarium clone any more; run `cargo xtask` inside one", root.display());
        }
        Ok(Self { root: root.to_owned() })
    }

    /// The guests' workspace.
    pub(crate) fn plugins(&self) -> PathBuf {
        self.root.join("plugins")
    }

    /// Where the guests' components go.
    pub(crate) fn dist(&self) -> PathBuf {
        self.root.join("plugins/dist")
    }

    /// Where the host's cargo builds: as cargo itself decides it.
    pub(crate) fn target(&self) -> PathBuf {
        match env::var_os("CARGO_TARGET_DIR") {
            Some(folder) => self.root.join(folder),
            None => self.root.join("target"),
        }
    }

    /// The cargo that started this program, in the host's workspace.
    pub(crate) fn cargo(&self) -> Command {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        without_this_run(&mut command);
        command.current_dir(&self.root);
        command
    }

    /// The same cargo in the guests' workspace, for what is done natively there: format, lints, unit tests.
    pub(crate) fn plugins_cargo(&self) -> Command {
        let mut command = self.cargo();
        command.current_dir(self.plugins()).env("CARGO_TARGET_DIR", self.plugins().join("target"));
        command
    }
}

/// `cargo run` tells a program about its own package and library paths. A cargo further in must not take that for its own.
pub(crate) fn without_this_run(command: &mut Command) {
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
pub(crate) fn shown(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(program).chain(command.get_args()).map(OsStr::to_string_lossy);
    words.collect::<Vec<_>>().join(" ")
}

/// Runs a command with its output on the screen.
///
/// # Errors
/// When it can not be started or ends badly.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if !status.success() {
        bail!("`{}` failed ({status})", shown(command));
    }
    Ok(())
}

/// Runs a command with its output on the screen and says how it ended.
///
/// # Errors
/// When it can not be started.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("`{}` can not be started", shown(command)))
}

/// What a command prints, without the white space around it; nothing if it is not there or fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
