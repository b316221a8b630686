//! Modes: what a reasoning loop sees of the host, and the words that it speaks.

use crate::bindings::mode as bindings;
use bindings::vivarium::plugin as imports;

pub use bindings::exports::vivarium::plugin::mode::{Guest, ModeError, Outcome, Request};
pub use imports::model::{
    Abilities, AssistantMessage, Citation, FinishReason, GenerateRequest, GenerateResponse, Image, Message, ModelError,
    ModelInfo, Part, Passage, ToolMessage, Visibility,
};
pub use imports::tools::CallResult;
pub use imports::types::{Source, ToolCall, ToolDefinition};

/// All that a mode can learn or do. [`Live`] is the real host; [`ScriptedHost`](crate::testing::ScriptedHost) plays one in tests.
pub trait Host {
    /// The model of this run.
    fn describe(&mut self) -> ModelInfo;
    /// Asks the model.
    ///
    /// # Errors
    /// When there is no answer; retries are done by then.
    fn generate(&mut self, request: &GenerateRequest) -> Result<GenerateResponse, ModelError>;
    /// The tools that the agent has and this mode may use.
    fn tools(&mut self) -> Vec<ToolDefinition>;
    /// Calls tools in parallel; answers in the order of `calls`. A failed call is a result with `is_error`.
    fn call_all(&mut self, calls: &[ToolCall]) -> Vec<CallResult>;
    /// The stored text of a source, cut on characters' borders.
    fn read_source(&mut self, id: &str, start_bytes: u32, max_bytes: u32) -> Option<String>;
    /// For each citation whether the quote stands in the source's stored text.
    fn check(&mut self, citations: &[Citation]) -> Vec<bool>;
    /// Shows the client one step: a short sentence in the present tense.
    fn step(&mut self, message: &str);
    /// Adds messages to the session's history, between the client's input and the answer.
    fn append(&mut self, messages: &[Message]);
}

/// The host that this component runs in.
#[derive(Debug, Clone, Copy)]
pub struct Live;

impl Host for Live {
    fn describe(&mut self) -> ModelInfo {
        imports::model::describe()
    }
    fn generate(&mut self, request: &GenerateRequest) -> Result<GenerateResponse, ModelError> {
        imports::model::generate(request)
    }
    fn tools(&mut self) -> Vec<ToolDefinition> {
        imports::tools::list()
    }
    fn call_all(&mut self, calls: &[ToolCall]) -> Vec<CallResult> {
        // The host takes at most 32 calls in one go.
        calls.chunks(32).flat_map(imports::tools::call_all).collect()
    }
    fn read_source(&mut self, id: &str, start_bytes: u32, max_bytes: u32) -> Option<String> {
        imports::sources::read(id, start_bytes, max_bytes)
    }
    fn check(&mut self, citations: &[Citation]) -> Vec<bool> {
        imports::sources::check(citations)
    }
    fn step(&mut self, message: &str) {
        imports::steps::report(message);
    }
    fn append(&mut self, messages: &[Message]) {
        imports::session::append(messages);
    }
}

/// Exports a mode. Takes the function `fn run(host: &mut impl Host, request: Request) -> Result<Outcome, ModeError>`.
#[macro_export]
macro_rules! export_mode {
    ($run:path) => {
        const _: () = {
            struct Component;
            impl $crate::mode::Guest for Component {
                fn run(request: $crate::mode::Request) -> Result<$crate::mode::Outcome, $crate::mode::ModeError> {
                    $crate::log::report_panics();
                    $run(&mut $crate::mode::Live, request)
                }
            }
            $crate::bindings::mode::export_mode_world!(Component with_types_in $crate::bindings::mode);
            $crate::manifest_section!();
        };
    };
}
