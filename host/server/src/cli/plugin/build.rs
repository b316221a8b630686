//! `vivarium plugin build`: from sources to one file that a host takes.

use std::path::PathBuf;

use clap::Args;
use vivarium_author::Toolchain;

use super::{Failure, built, project, result, say};

#[derive(Debug, Args)]
pub(in crate::cli) struct Build {
    /// The folder with the plugin.toml [default: this one].
    folder: Option<PathBuf>,
    /// Where the component goes [default: beside the plugin.toml, named after the plugin].
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Only with this Rust, instead of the first that can: rustup or debian.
    #[arg(long, value_name = "TOOLCHAIN")]
    with: Option<Toolchain>,
}

impl Build {
    pub(super) fn run(self) -> Result<(), Failure> {
        let project = project(self.folder.as_deref())?;
        let built = built(&project, self.output.as_deref(), self.with)?;
        for ask in &built.checked.asks {
            say(format!("  {ask}"));
        }
        for note in &built.checked.notes {
            say(format!("note: {note}"));
        }
        result(built.path.display())?;
        Ok(())
    }
}
