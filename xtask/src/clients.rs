//! A Python for the sample clients (httpx, and the vendor's own client of the Assisters dialect) and for the tests of the
//! OpenAPI document (a validator, and a fuzzer that reads it). Made once, under the target folder.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::python;
use crate::repository::{self, Repository, output};
use crate::steps::Outcome;

/// What is installed. Pinned: a new release of somebody else must not break a build of ours.
const REQUIREMENTS: [&str; 4] =
    ["assisters==0.1.0", "httpx==0.28.1", "openapi-spec-validator==0.9.0", "schemathesis==4.32.5"];

/// What has to work then.
const WORKS: &str = "import assisters, httpx, openapi_spec_validator, schemathesis; print('ok')";

/// A Python that has the requirements.
pub(crate) struct Environment {
    /// Its interpreter.
    pub(crate) python: PathBuf,
    /// Whether it had to be made.
    pub(crate) outcome: Outcome,
}

/// Makes the environment, unless it is there.
///
/// # Errors
/// When there is no Python 3 with `venv`, or the package registry can not be reached.
pub(crate) fn prepare(repository: &Repository) -> Result<Environment> {
    let folder = repository.target().join("clients");
    let python = folder.join("bin/python");
    let wanted = REQUIREMENTS.join("\n");
    let marker = folder.join("requirements");
    let works = || output(Command::new(&python).args(["-c", WORKS])).is_some();
    if fs::read_to_string(&marker).is_ok_and(|kept| kept == wanted) && works() {
        return Ok(Environment { python, outcome: Outcome::Unchanged("there already".to_owned()) });
    }
    // pip's own name for a file of requirements would be one more place for versions: the marker is written last, and only then.
    let python = python::environment(&folder)?;
    repository::run(python::pip_install(&python).args(REQUIREMENTS))?;
    fs::write(&marker, wanted).with_context(|| format!("{} can not be written", marker.display()))?;
    Ok(Environment { python, outcome: Outcome::Done(REQUIREMENTS.join(", ")) })
}
