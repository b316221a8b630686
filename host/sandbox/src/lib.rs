//! The sandbox: one WebAssembly engine, plugins that are compiled once, a fresh instance for each call, limits on all that
//! a guest can use, and one file per capability that it may be given. This crate knows no HTTP API and no run: what a mode
//! asks of its run goes through [`ModeHost`].

mod adapt;
mod bindings;
mod call;
mod capability;
mod check;
mod compile;
mod compiler;
mod engine;
mod error;
mod guest;
mod limits;
mod manifest;
mod plugin;
mod program;
mod schedule;
mod schema;
mod warm;

pub use call::{ModeAnswer, ModeCall, ModeError, ModeReport, ToolCallContext, ToolOutput, ToolReport};
pub use capability::clocks::FixedWorld;
pub use capability::corpus::{CorpusError, CorpusHit, CorpusView};
pub use capability::denial::Denial;
pub use capability::files::{Alone, FileQuota, GrowError, Workspace, WorkspaceError};
pub use capability::http::{BodyError, DoorRequest, DoorResponse, GuardedDoor, HttpDoor};
pub use capability::mode::{Answers, HostStop, ModeHost, ToolResult};
pub use capability::state::{StateError, StateView};
pub use capability::{Grant, LogLevel, LogSink, TracingLog};
pub use compiler::{Compiler, CompilerProcess, compile_component};
pub use engine::EngineConfig;
pub use error::{CallFailure, LoadError};
pub use limits::Limits;
pub use manifest::{CONTRACT, read_manifest};
pub use plugin::{Plugin, Sandbox, SandboxConfig};
pub use program::{InstalledProgram, ProgramCode};
pub use schedule::Payer;
pub use schema::ToolSchemas;
pub use warm::WarmPool;
