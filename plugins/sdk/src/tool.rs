//! Tools: what a function gets and gives back, and the host's capabilities that only tools have.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::tool as bindings;
use bindings::vivarium::plugin as imports;

pub use bindings::exports::vivarium::plugin::tool::{Context, Guest, Output, ToolError};
pub use imports::types::Document;

impl Output {
    /// Text for the model.
    pub fn text(content: impl Into<String>) -> Self {
        Self { content: content.into(), documents: Vec::new() }
    }

    /// JSON for the model.
    ///
    /// # Errors
    /// When `content` has no JSON form, such as a map whose keys are not text.
    pub fn json(content: &impl Serialize) -> Result<Self, ToolError> {
        let content = serde_json::to_string(content)
            .map_err(|error| ToolError::Failed(format!("the tool's output can not be written as JSON: {error}")))?;
        Ok(Self::text(content))
    }

    /// Adds a document that was read on the way: the host makes it a source of the run.
    #[must_use]
    pub fn with_document(mut self, document: Document) -> Self {
        self.documents.push(document);
        self
    }
}

/// Reads the arguments, calls the function.
///
/// # Errors
/// When the arguments do not fit, or the function fails.
#[doc(hidden)]
pub fn dispatch<A: DeserializeOwned>(
    tool: fn(A, &Context) -> Result<Output, ToolError>,
    arguments_json: &str,
    context: &Context,
) -> Result<Output, ToolError> {
    let arguments =
        serde_json::from_str(arguments_json).map_err(|error| ToolError::InvalidArguments(error.to_string()))?;
    tool(arguments, context)
}

/// Full-text search over the tenant's documents.
pub mod corpus {
    use super::imports;
    pub use imports::corpus::{CorpusError, Hit, read, search};

    impl From<CorpusError> for super::ToolError {
        fn from(error: CorpusError) -> Self {
            match error {
                CorpusError::Unavailable(why) => Self::Unavailable(why),
                CorpusError::InvalidQuery(why) => Self::InvalidArguments(why),
                CorpusError::NotFound(why) => Self::NotFound(why),
            }
        }
    }
}

/// What an operator has set for this plugin.
pub mod settings {
    /// The value of a setting, if there is one.
    pub use super::imports::settings::get;
}

/// Secrets are handles: the host puts their values into the requests that the grant names.
pub mod secrets {
    /// Whether the operator has granted a secret of this name.
    pub use super::imports::secrets::available;
}

/// A small key-value space of this plugin in this tenant.
pub mod state {
    pub use super::imports::state::{StateError, delete, get, list, set};
}

/// Tells a person how far a long call is.
pub mod progress {
    /// One short line, and, if known, how much is done, from 0 to 1.
    pub use super::imports::progress::report;
}

/// Runs programs in the sandbox, beside this component.
pub mod programs {
    pub use super::imports::programs::{
        Ending, Finished, InstalledProgram, Program, ProgramError, Request, Written, installed, run,
    };
}

/// Exports tools: `export_tools! { "name" => function, … }`, each `fn(Arguments, &Context) -> Result<Output, ToolError>`
/// whose `Arguments` can be deserialized.
#[macro_export]
macro_rules! export_tools {
    ($($name:literal => $tool:path),+ $(,)?) => {
        const _: () = {
            struct Component;
            impl $crate::tool::Guest for Component {
                fn call(
                    name: String,
                    arguments_json: String,
                    context: $crate::tool::Context,
                ) -> Result<$crate::tool::Output, $crate::tool::ToolError> {
                    $crate::log::report_panics();
                    match name.as_str() {
                        $($name => $crate::tool::dispatch($tool, &arguments_json, &context),)+
                        _ => Err($crate::tool::ToolError::UnknownTool(name)),
                    }
                }
            }
            // Natively, where the tests run, nothing is exported: the names of the canonical ABI are none to a native linker.
            const _: usize = { let _ = <Component as $crate::tool::Guest>::call; 0 };
            #[cfg(target_arch = "wasm32")]
            $crate::bindings::tool::export_tool_world!(Component with_types_in $crate::bindings::tool);
            $crate::manifest_section!();
        };
    };
}
