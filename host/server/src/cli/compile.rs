//! `vivarium compile-component`, which nobody types: the process that compiles a component for a server.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use vivarium::config::Config;
use vivarium_sandbox::{Compiler, CompilerProcess, compile_component};

use super::{Failure, say};

/// Address space of a compiler: the code of a large component, several times over.
const MEMORY_BYTES: u64 = 6 << 30;

#[derive(Debug, Args)]
pub(super) struct CompileComponent {
    input: PathBuf,
    output: PathBuf,
    cpu_seconds: u64,
    memory_bytes: u64,
}

impl CompileComponent {
    /// The command's name.
    const NAME: &str = "compile-component";

    pub(super) fn run(&self) -> u8 {
        let cpu = Duration::from_secs(self.cpu_seconds);
        match compile_component(&self.input, &self.output, cpu, self.memory_bytes) {
            Ok(()) => 0,
            Err((code, text)) => {
                say(text);
                u8::try_from(code).unwrap_or(1)
            }
        }
    }
}

/// This program, as the one that compiles.
pub(super) fn ourselves(config: &Config) -> Result<Compiler, Failure> {
    let program = std::env::current_exe()
        .map_err(|error| Failure::Failed(format!("this program can not find itself, to compile with: {error}")))?;
    Ok(Compiler::Process(CompilerProcess {
        program,
        arguments: vec![CompileComponent::NAME.into()],
        cpu: Duration::from_secs(config.compile_seconds),
        memory_bytes: MEMORY_BYTES,
    }))
}
