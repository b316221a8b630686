//! The plugins that ship with Vivarium: from sources to components.
//!
//! They are a workspace of their own, for another target and sometimes with another compiler. Building them is skipped when
//! nothing that goes into them has changed, so that every other command can begin with it.

mod component;
mod fingerprint;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::Value;
use vivarium_author::{Compiler, Target, Toolchain};

use crate::guests::fingerprint::Fingerprint;
pub(crate) use crate::guests::fingerprint::add_folder;
use crate::repository::{self, Repository};
use crate::steps::Outcome;

/// The guests that ship use nothing of WASI but what is granted, and so their target has none.
const TARGET: Target = Target::Unknown;

/// Programs are what their authors would build them for: std over WASI.
const PROGRAM_TARGET: Target = Target::Wasip2;

/// What a program's package is called, which the host knows it by, too.
const PROGRAM: &str = "program-";

/// A member of the guests' workspace that becomes a component.
struct Guest {
    package: String,
}

impl Guest {
    /// It is a program, and no plugin: it has no manifest, and the compiler makes its component.
    fn is_program(&self) -> bool {
        self.package.starts_with(PROGRAM)
    }
}

/// Builds all guests into `plugins/dist`, or finds that they are there already.
///
/// # Errors
/// When no compiler can be had, a guest does not compile, or it makes no valid component.
pub(crate) fn build(repository: &Repository, force: bool, only: Option<Toolchain>) -> Result<Outcome> {
    let guests = members(repository)?;
    let fingerprint = Fingerprint::of_sources(repository)?;
    if !force && fingerprint.still_fits(&repository.dist(), &packages(&guests)) {
        return Ok(Outcome::Unchanged(format!("{} components, nothing has changed", guests.len())));
    }
    let compiler = Compiler::find(TARGET, only, &mut |line| eprintln!("  {line}"))?;
    eprintln!("  compiling {} guests with {compiler}", guests.len());
    let modules = compile(repository, compiler, &guests)?;
    let programs = compile_programs(repository, only, &guests)?;
    let sizes = encode(repository, &guests, &modules, &programs)?;
    fingerprint.write(&repository.dist(), &packages(&guests))?;
    Ok(Outcome::Done(sizes.join(", ")))
}

fn packages(guests: &[Guest]) -> Vec<String> {
    guests.iter().map(|guest| guest.package.clone()).collect()
}

/// The packages with a `cdylib` library, and the programs, in the order of their names.
fn members(repository: &Repository) -> Result<Vec<Guest>> {
    let mut cargo = repository.plugins_cargo();
    cargo.args(["metadata", "--no-deps", "--format-version", "1"]).stderr(std::process::Stdio::inherit());
    let text = repository::output(&mut cargo).context("the guests' workspace plugins/Cargo.toml can not be read")?;
    let metadata: Value = serde_json::from_str(&text).context("`cargo metadata` printed something else than JSON")?;
    let guests = guests_of(&metadata);
    if guests.is_empty() {
        bail!("no package in plugins/ has a library of crate type cdylib, so there is no guest to build");
    }
    Ok(guests)
}

fn guests_of(metadata: &Value) -> Vec<Guest> {
    let list = |value: &Value, key: &str| value.get(key).and_then(Value::as_array).cloned().unwrap_or_default();
    let is_cdylib = |target: &Value| {
        list(target, "crate_types").iter().any(|kind| kind.as_str().is_some_and(|kind| kind == "cdylib"))
    };
    let mut guests: Vec<_> = list(metadata, "packages")
        .iter()
        .filter_map(|package| {
            let guest = Guest { package: package.get("name")?.as_str()?.to_owned() };
            (guest.is_program() || list(package, "targets").iter().any(is_cdylib)).then_some(guest)
        })
        .collect();
    guests.sort_by(|a, b| a.package.cmp(&b.package));
    guests
}

/// Compiles all guests in one go, so that they share their dependencies. Gives the folder of the core modules.
fn compile(repository: &Repository, compiler: Compiler, guests: &[Guest]) -> Result<PathBuf> {
    let target = repository.plugins().join("target");
    let mut cargo = compiler.cargo()?;
    cargo.current_dir(repository.plugins()).args(["build", "--release", "--lib"]);
    cargo.args(compiler.arguments()).arg("--target-dir").arg(&target);
    for guest in guests.iter().filter(|guest| !guest.is_program()) {
        cargo.args(["-p", &guest.package]);
    }
    repository::run(&mut cargo)?;
    Ok(target.join(TARGET.triple()).join("release"))
}

/// Compiles the programs. Gives the folder of their components.
fn compile_programs(repository: &Repository, only: Option<Toolchain>, guests: &[Guest]) -> Result<PathBuf> {
    let compiler = Compiler::find(PROGRAM_TARGET, only, &mut |line| eprintln!("  {line}"))?;
    let target = repository.plugins().join("target");
    let mut cargo = compiler.cargo_for_commands()?;
    cargo.current_dir(repository.plugins()).args(["build", "--release", "--bins"]);
    cargo.args(compiler.arguments()).arg("--target-dir").arg(&target);
    for guest in guests.iter().filter(|guest| guest.is_program()) {
        cargo.args(["-p", &guest.package]);
    }
    repository::run(&mut cargo)?;
    Ok(target.join(PROGRAM_TARGET.triple()).join("release"))
}

/// Turns each core module into a component. Gives a word about each.
fn encode(repository: &Repository, guests: &[Guest], modules: &Path, programs: &Path) -> Result<Vec<String>> {
    let dist = repository.dist();
    fs::create_dir_all(&dist).with_context(|| format!("{} can not be made", dist.display()))?;
    let mut words = Vec::new();
    for guest in guests {
        let path = match guest.is_program() {
            true => programs.join(file_name(&guest.package)),
            false => modules.join(format!("{}.wasm", guest.package.replace('-', "_"))),
        };
        let mut component = fs::read(&path).with_context(|| format!("{} can not be read", path.display()))?;
        if !guest.is_program() {
            component = component::from_core_module(&component)
                .with_context(|| format!("the guest {} can not be made a component", guest.package))?;
        }
        replace(&dist.join(file_name(&guest.package)), &component)?;
        words.push(format!("{} {} KiB", guest.package, component.len().div_ceil(1024)));
    }
    remove_strangers(&dist, guests)?;
    Ok(words)
}

/// A component's file in `plugins/dist`.
fn file_name(package: &str) -> String {
    format!("{package}.wasm")
}

/// A reader sees the old file or the new one, never half of one.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    fs::write(&partial, bytes)
        .and_then(|()| fs::rename(&partial, path))
        .with_context(|| format!("{} can not be written", path.display()))
}

/// Components of guests that are gone would be installed at the next start.
fn remove_strangers(dist: &Path, guests: &[Guest]) -> Result<()> {
    for entry in fs::read_dir(dist)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let known = guests.iter().any(|guest| file_name(&guest.package) == name);
        if name.ends_with(".wasm") && !known {
            fs::remove_file(&path).with_context(|| format!("{} can not be removed", path.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_guest_is_a_member_with_a_cdylib_or_a_program() {
        let metadata = json!({"packages": [
            {"name": "tool-b", "targets": [{"crate_types": ["cdylib", "rlib"]}, {"crate_types": ["bin"]}]},
            {"name": "sdk", "targets": [{"crate_types": ["lib"]}]},
            {"name": "mode-a", "targets": [{"crate_types": ["cdylib"]}]},
            {"name": "program-c", "targets": [{"crate_types": ["bin"]}]},
        ]});
        assert_eq!(packages(&guests_of(&metadata)), ["mode-a", "program-c", "tool-b"]);
    }

    #[test]
    fn a_component_whose_guest_is_gone_goes_too() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["old.wasm", "kept.wasm", "note.txt"] {
            fs::write(folder.path().join(name), b"x").unwrap();
        }
        remove_strangers(folder.path(), &[Guest { package: "kept".to_owned() }]).unwrap();
        let left = |name: &str| folder.path().join(name).exists();
        assert!(left("kept.wasm") && left("note.txt") && !left("old.wasm"));
    }
}
