//! Where things are, and how a program is started from here.

use std::env;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};

use anyhow::{Context as _, Result, bail};
pub(crate) use vivarium_author::{output, shown, without_this_run};

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
