//! The hostile guest of the integration tests: an attack on a file or a request is too long for WAT, so it is written in Rust and
//! built as any plugin would be. The tests put its manifest to it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};
use vivarium_author::{Compiler, Target};

use crate::guests::{add_folder, replace};
use crate::repository::{self, Repository};
use crate::steps::Outcome;

const NAME: &str = "hostile";

/// Builds it into `test-guests` of the target folder, or finds that it is there already.
///
/// # Errors
/// When no compiler can be had, or it does not compile.
pub(crate) fn build(repository: &Repository) -> Result<Outcome> {
    let source = source(repository);
    let target = repository.target().join("test-guests");
    let (component, fingerprint) = (target.join(format!("{NAME}.wasm")), target.join(format!("{NAME}.fingerprint")));
    let hash = hash_of_sources(repository)?;
    if component.is_file() && fs::read_to_string(&fingerprint).is_ok_and(|kept| kept == hash) {
        return Ok(Outcome::Unchanged("nothing has changed".to_owned()));
    }
    let compiler = Compiler::find(Target::Wasip2, None, &mut |line| eprintln!("  {line}"))?;
    let compiled = target.join("target");
    let mut cargo = compiler.cargo()?;
    cargo.current_dir(&source).args(["build", "--release", "--locked"]).args(compiler.arguments());
    repository::run(cargo.arg("--target-dir").arg(&compiled))?;
    let made = compiled.join(Target::Wasip2.triple()).join("release").join(format!("{NAME}.wasm"));
    let bytes = fs::read(&made).with_context(|| format!("{} can not be read", made.display()))?;
    replace(&component, &bytes)?;
    replace(&fingerprint, hash.as_bytes())?;
    Ok(Outcome::Done(format!("{} KiB", bytes.len().div_ceil(1024))))
}

/// Whether it is formatted.
///
/// # Errors
/// When it is not.
pub(crate) fn check_format(repository: &Repository) -> Result<Outcome> {
    let mut cargo = repository.cargo();
    repository::run(cargo.args(["fmt", "--check"]).current_dir(source(repository)))?;
    Ok(Outcome::Done(String::new()))
}

fn source(repository: &Repository) -> PathBuf {
    repository.root.join("tests/guests").join(NAME)
}

fn hash_of_sources(repository: &Repository) -> Result<String> {
    let mut hash = Sha256::new();
    add_folder(&mut hash, &source(repository), &["target"])?;
    add_folder(&mut hash, &repository.root.join("wit/0.1.0"), &[])?;
    Ok(hex::encode(hash.finalize()))
}
