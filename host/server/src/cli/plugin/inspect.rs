//! `vivarium plugin inspect`: what is in a plugin's file, whether or not this host would take it.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use vivarium_author::{bytes_in_words, read_manifest, surface};
use vivarium_domain::ContentHash;

use super::{Failure, component, result};

#[derive(Debug, Args)]
pub(in crate::cli) struct Inspect {
    /// The plugin's file.
    file: PathBuf,
    /// As JSON.
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub(super) fn run(self) -> Result<(), Failure> {
        let bytes = component(&self.file)?;
        let surface = surface(&bytes).map_err(|error| Failure::Failed(format!("{}: {error}", self.file.display())))?;
        let manifest =
            read_manifest(&bytes).map_err(|error| Failure::Failed(format!("{}: {error}", self.file.display())))?;
        let digest = ContentHash::of(&bytes);
        if self.json {
            let all = json!({
                "digest": digest.to_string(),
                "bytes": bytes.len(),
                "manifest": manifest,
                "imports": surface.imports,
                "exports": surface.exports,
                "madeWith": surface.made_with,
                "accepted": vivarium_author::check(&bytes).is_ok(),
            });
            result(format!("{all:#}"))?;
            return Ok(());
        }
        result(format!("{} {}: {}", manifest.name, manifest.version, manifest.description))?;
        result(format!("digest    {digest}"))?;
        result(format!("size      {}", bytes_in_words(bytes.len() as u64)))?;
        result(format!("contract  vivarium:plugin {}", manifest.contract))?;
        let names = |names: Vec<&str>| if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        result(format!("tools     {}", names(manifest.tools.iter().map(|tool| tool.name.as_str()).collect())))?;
        result(format!("modes     {}", names(manifest.modes.iter().map(|mode| mode.name.as_str()).collect())))?;
        let made_with = surface.made_with.into_iter().collect();
        for (what, interfaces) in [("imports", surface.imports), ("exports", surface.exports), ("made with", made_with)]
        {
            result(what)?;
            for interface in interfaces {
                result(format!("  {interface}"))?;
            }
        }
        result("manifest")?;
        let text = serde_json::to_string_pretty(&manifest).map_err(Failure::failed)?;
        for line in text.lines() {
            result(format!("  {line}"))?;
        }
        Ok(())
    }
}
