//! What the host tells its operator of itself, in one vocabulary: metrics, the spans of traces, and the ids in its log.
//!
//! The rooms say what happens in these words; where it goes (an exporter, a collector, nowhere) the binary decides, and
//! where it goes nowhere, saying it costs next to nothing. This crate knows no other room.

mod convention;
pub mod log;
pub mod metric;
mod shape;
mod span;

pub use convention::{SCHEMA_URL, SEMCONV_VERSION, attribute};
pub use shape::{AgentCall, Content, HostCall, ModelCall, ModelUsage, RequestIn, RunPart, ToolCall, Wait};
pub use span::{InSpan, Remote, Span, begin_tracing, includes_content};
