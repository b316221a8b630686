//! The public conformance suite of the Model Context Protocol, and a Node that can run it. Made once, under the target folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::repository::{self, Repository, output};
use crate::steps::Outcome;

/// What is installed. Pinned: a new release of somebody else must not break a build of ours. The suite needs a newer Node than
/// many machines have.
const PACKAGES: [&str; 2] = ["@modelcontextprotocol/conformance@0.1.16", "node@22.23.3"];

/// The suite's folder.
pub(crate) struct Suite {
    /// Where its packages are.
    pub(crate) folder: PathBuf,
    /// Whether it had to be made.
    pub(crate) outcome: Outcome,
}

/// Installs the suite, unless it is there.
///
/// # Errors
/// When there is no npm, or the package registry can not be reached.
pub(crate) fn prepare(repository: &Repository) -> Result<Suite> {
    let folder = repository.target().join("mcp-conformance");
    let wanted = PACKAGES.join("\n");
    let marker = folder.join("packages");
    let node = folder.join("node_modules/node/bin/node");
    let works = || output(Command::new(&node).arg("--version")).is_some();
    if fs::read_to_string(&marker).is_ok_and(|kept| kept == wanted) && works() {
        return Ok(Suite { folder, outcome: Outcome::Unchanged("there already".to_owned()) });
    }
    fs::create_dir_all(&folder).with_context(|| format!("{} can not be made", folder.display()))?;
    let mut npm = Command::new("npm");
    npm.args(["install", "--no-save", "--no-audit", "--no-fund", "--loglevel=error", "--prefix"]).arg(&folder);
    repository::run(npm.args(PACKAGES)).context("npm is needed, and a package registry that answers")?;
    fs::write(&marker, wanted).with_context(|| format!("{} can not be written", marker.display()))?;
    Ok(Suite { folder, outcome: Outcome::Done(PACKAGES.join(", ")) })
}
