//! `vivarium plugin …`. What an author does needs no server and no configuration: it works on files.

mod build;
mod check;
mod inspect;
mod new;
mod operate;
mod scripted;
mod test;

use std::path::{Path, PathBuf};

use clap::Subcommand;
use vivarium_author::{Checked, Project, Toolchain, bytes_in_words};
use vivarium_sandbox::{Sandbox, SandboxConfig};

use super::{Failure, result, say};

#[derive(Debug, Subcommand)]
pub(super) enum Plugin {
    /// Begin a plugin: a Rust project that builds and passes its own tests.
    New(new::New),
    /// Build the plugin of a folder into one .wasm file, with its manifest, checked.
    Build(build::Build),
    /// Say whether a host would take a plugin, and what it will ask of an operator.
    Check(check::Check),
    /// Run a plugin's test cases in the sandbox, without a network.
    Test(test::Test),
    /// Show what is in a plugin's file.
    Inspect(inspect::Inspect),
    /// Install a component on a running server, or a new version of it.
    Install(operate::Install),
    /// List a server's plugins: name, version, whose, what for.
    List(operate::List),
    /// Set all that a plugin may do in this tenant; what is not named is taken away.
    Grant(operate::Grant),
    /// Try a tool out on a running server.
    Call(operate::Call),
    /// Let an earlier version answer again.
    Rollback(operate::Rollback),
    /// Remove a plugin with its versions, its grant and its state.
    Remove(operate::Remove),
}

impl Plugin {
    pub(super) async fn run(self) -> Result<(), Failure> {
        match self {
            Self::New(new) => new.run(),
            Self::Build(build) => build.run(),
            Self::Check(check) => check.run(),
            Self::Test(test) => test.run().await,
            Self::Inspect(inspect) => inspect.run(),
            Self::Install(install) => install.run().await,
            Self::List(list) => list.run().await,
            Self::Grant(grant) => grant.run().await,
            Self::Call(call) => call.run().await,
            Self::Rollback(rollback) => rollback.run().await,
            Self::Remove(remove) => remove.run().await,
        }
    }
}

/// The project of a folder.
fn project(folder: Option<&Path>) -> Result<Project, Failure> {
    Project::read(folder.unwrap_or(Path::new("."))).map_err(Failure::failed)
}

/// Builds a project and says how it goes.
fn built(project: &Project, output: Option<&Path>, with: Option<Toolchain>) -> Result<vivarium_author::Built, Failure> {
    vivarium_author::build(project, output, with, &mut |line| say(format!("  {line}"))).map_err(Failure::failed)
}

/// The bytes of a plugin's file.
pub(in crate::cli) fn component(file: &PathBuf) -> Result<Vec<u8>, Failure> {
    std::fs::read(file).map_err(|error| Failure::Failed(format!("{} can not be read: {error}", file.display())))
}

/// The plugin as a server would load it: compiled and linked, and nothing of it run. What a server refuses is refused here.
pub(in crate::cli) fn loaded(component: &[u8]) -> Result<vivarium_sandbox::Plugin, Failure> {
    let sandbox =
        Sandbox::new(SandboxConfig { max_instances: Some(1), ..SandboxConfig::default() }).map_err(Failure::failed)?;
    sandbox.load(component).map_err(|error| Failure::Failed(format!("no host would take it: {error}")))
}

/// What it is, what it will ask of an operator, and what its author should think about.
fn tell(checked: &Checked) -> Result<(), Failure> {
    let manifest = &checked.manifest;
    let size = bytes_in_words(checked.bytes as u64);
    result(format!("{} {}: {} ({size})", manifest.name, manifest.version, manifest.description))?;
    for tool in &manifest.tools {
        let traits = [
            (tool.read_only, "changes nothing"),
            (tool.idempotent, "may be called twice"),
            (tool.destructive, "may destroy something"),
            (tool.open_world, "talks to the world outside"),
        ];
        let traits: Vec<&str> = traits.into_iter().filter(|(is, _)| *is).map(|(_, words)| words).collect();
        let traits = if traits.is_empty() { String::new() } else { format!(" ({})", traits.join(", ")) };
        result(format!("  tool {}: {}{traits}", tool.name, tool.title))?;
    }
    for mode in &manifest.modes {
        result(format!("  mode {}: {}", mode.name, mode.title))?;
    }
    result("What it will ask of an operator:")?;
    if checked.asks.is_empty() {
        result("  Nothing.")?;
    }
    for ask in &checked.asks {
        result(format!("  {ask}"))?;
    }
    for note in &checked.notes {
        say(format!("note: {note}"));
    }
    Ok(())
}
