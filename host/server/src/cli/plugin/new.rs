//! `vivarium plugin new`: a project to begin with.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use vivarium_author::{TemplateKind, new_project, short_name};
use vivarium_domain::PluginName;

use super::{Failure, result, say};

#[derive(Debug, Args)]
pub(in crate::cli) struct New {
    /// The plugin's name, owner/name.
    name: PluginName,
    /// What it provides.
    #[arg(long, value_enum, default_value = "tool")]
    kind: Kind,
    /// The folder to make [default: the name without its owner].
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    /// A function that a model may call.
    Tool,
    /// An agent's reasoning loop.
    Mode,
}

impl New {
    pub(super) fn run(self) -> Result<(), Failure> {
        let Self { name, kind, dir } = self;
        let kind = match kind {
            Kind::Tool => TemplateKind::Tool,
            Kind::Mode => TemplateKind::Mode,
        };
        let folder = dir.unwrap_or_else(|| short_name(&name).into());
        new_project(&name, kind, &folder).map_err(Failure::failed)?;
        let shown = folder.display();
        say(format!("next: cd {shown} && vivarium plugin build && vivarium plugin test"));
        result(shown)?;
        Ok(())
    }
}
