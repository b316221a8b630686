//! What an author of plugins needs, and nothing of an engine: reading `plugin.toml`, building, checking what a component
//! asks for, beginning a new project, and judging a test case. An author has one binary and none of this repository, so
//! the contract and the templates are inside.

mod binary;
mod process;
mod toolchain;

pub use binary::{BinaryError, Kind, append_section, custom_sections, kind, to_component, without_section};
pub use process::{ProcessError, output, printed, run, shown, without_this_run};
pub use toolchain::{Compiler, Target, Toolchain, ToolchainError};
