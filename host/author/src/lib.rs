//! What an author of plugins needs, and nothing of an engine: reading `plugin.toml`, building, checking what a component
//! asks for, beginning a new project, and judging a test case. An author has one binary and none of this repository, so
//! the contract and the templates are inside.

mod binary;
#[cfg(feature = "project")]
mod build;
#[cfg(feature = "project")]
mod case;
#[cfg(feature = "project")]
mod check;
#[cfg(feature = "project")]
mod contract;
#[cfg(feature = "project")]
mod fault;
#[cfg(feature = "project")]
mod judge;
mod process;
#[cfg(feature = "project")]
mod project;
#[cfg(feature = "project")]
mod reader;
#[cfg(feature = "project")]
mod recording;
#[cfg(feature = "project")]
mod schema;
#[cfg(feature = "project")]
mod surface;
#[cfg(feature = "project")]
mod template;
mod toolchain;
#[cfg(feature = "project")]
mod words;

pub use binary::{BinaryError, Kind, append_section, custom_sections, kind, to_component, without_section};
#[cfg(feature = "project")]
pub use build::{BuildError, Built, build};
#[cfg(feature = "project")]
pub use case::{CASES, Case, CaseCall, ModelTurn, ScriptedTool};
#[cfg(feature = "project")]
pub use check::{Checked, Refusal, check, read_manifest};
#[cfg(feature = "project")]
pub use contract::{CONTRACT, MAX_COMPONENT_BYTES, WIT};
#[cfg(feature = "project")]
pub use fault::{Fault, Faults};
#[cfg(feature = "project")]
pub use judge::{Difference, Expectation, ExpectedDocument, Observed};
pub use process::{ProcessError, output, printed, run, shown, without_this_run};
#[cfg(feature = "project")]
pub use project::{BuildPlan, PLUGIN_TOML, Project};
#[cfg(feature = "project")]
pub use recording::{AskedRequest, Exchange, ExpectedRequest, RecordedResponse, Recording};
#[cfg(feature = "project")]
pub use surface::{Surface, surface};
#[cfg(feature = "project")]
pub use template::{NewError, TemplateKind, new_project, short_name};
pub use toolchain::{Compiler, Target, Toolchain, ToolchainError};
#[cfg(feature = "project")]
pub use words::bytes as bytes_in_words;
