//! `vivarium plugin check`: what a host will say to a plugin, before it is uploaded.

use std::path::PathBuf;

use clap::Args;

use super::{Failure, component, loaded, project, tell};

#[derive(Debug, Args)]
pub(in crate::cli) struct Check {
    /// The plugin's file, or the folder with its plugin.toml [default: this folder].
    plugin: Option<PathBuf>,
}

impl Check {
    pub(super) fn run(self) -> Result<(), Failure> {
        let plugin = self.plugin.unwrap_or_else(|| ".".into());
        if !plugin.is_dir() {
            let bytes = component(&plugin)?;
            let checked = vivarium_author::check(&bytes).map_err(|refusals| {
                let reasons: Vec<String> = refusals.iter().map(|refusal| format!("\n- {refusal}")).collect();
                Failure::Failed(format!("no host would take {}:{}", plugin.display(), reasons.concat()))
            })?;
            loaded(&bytes)?;
            return tell(&checked);
        }
        let project = project(Some(&plugin))?;
        let path = project.component_path();
        if !path.is_file() {
            let (toml, path) = (plugin.join("plugin.toml"), path.display());
            let text =
                format!("{} is valid, and there is no {path} yet: `vivarium plugin build` makes it", toml.display());
            return Err(Failure::Failed(text));
        }
        let bytes = component(&path)?;
        let checked = project
            .check(&bytes)
            .map_err(|faults| Failure::Failed(format!("no host would take {}:\n{faults}", path.display())))?;
        loaded(&bytes)?;
        tell(&checked)
    }
}
