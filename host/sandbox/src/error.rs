//! What can go wrong with a plugin: when it is loaded, and when it is called.

use vivarium_domain::{FailureCode, ManifestError};

/// Why a component was not loaded. Each text names both sides: what the component has and what is allowed.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are no component, or one that wasmtime does not take.
    #[error("this is not a WebAssembly component that can be loaded: {0}")]
    NotAComponent(String),
    /// The component is too large.
    #[error("the component has {size} bytes; at most {limit} are allowed")]
    TooLarge {
        /// Its size.
        size: usize,
        /// The limit.
        limit: usize,
    },
    /// It takes too long to compile.
    #[error("the component takes more than {seconds} s of processor time to compile, which is all that it may")]
    CompileTime {
        /// The limit.
        seconds: u64,
    },
    /// It takes too much memory to compile.
    #[error("the component takes more than {bytes} bytes of memory to compile, which is all that it may")]
    CompileMemory {
        /// The limit.
        bytes: u64,
    },
    /// There is no manifest, or it is not valid.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// The contract version is not served.
    #[error("the plugin is built for vivarium:plugin {wanted}, and this host serves {served}")]
    Contract {
        /// What the manifest says.
        wanted: String,
        /// What the host serves.
        served: &'static str,
    },
    /// The imports go beyond the contract or the manifest.
    #[error("the component imports {import}, {reason}")]
    Import {
        /// The import.
        import: String,
        /// Why it may not.
        reason: String,
    },
    /// The manifest promises what the component does not export.
    #[error("the manifest lists {what}, but the component does not export {interface}")]
    Export {
        /// `modes` or `tools`.
        what: &'static str,
        /// The interface that is missing.
        interface: &'static str,
    },
    /// A tool's schema is not a JSON Schema that can be checked against.
    #[error("the {which} schema of the tool {tool} is not valid: {reason}")]
    Schema {
        /// The tool.
        tool: String,
        /// `input` or `output`.
        which: &'static str,
        /// Why.
        reason: String,
    },
    /// The engine can not be made on this machine.
    #[error("the WebAssembly engine can not start: {0}")]
    Engine(String),
}

/// Why a call of a guest ended without its answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailure {
    /// It trapped: a panic, an illegal access, a violation of the component model's rules.
    #[error("the plugin trapped: {0}")]
    Trapped(String),
    /// It took longer than it may.
    #[error("the plugin took longer than {0} ms and was stopped")]
    DeadlineExceeded(u128),
    /// It used more processor time than it may.
    #[error("the plugin used more than {0} ms of processor time and was stopped")]
    CpuExceeded(u128),
    /// It needed more memory than it may.
    #[error("the plugin needed more than {0} bytes of memory and was stopped")]
    MemoryExceeded(usize),
    /// It gave more output, or called the host more often, than it may.
    #[error("the plugin was stopped: {0}")]
    OutputExceeded(String),
    /// The engine has no room for another instance.
    #[error("the host has no room for another plugin instance: {0}")]
    NoCapacity(String),
    /// The host can not go on (its store failed): not the guest's fault.
    #[error("the host stopped the call: {0}")]
    Host(String),
}

impl CallFailure {
    /// The word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Trapped(_) => "trapped",
            Self::DeadlineExceeded(_) => "deadline_exceeded",
            Self::CpuExceeded(_) => "cpu_exceeded",
            Self::MemoryExceeded(_) => "memory_exceeded",
            Self::OutputExceeded(_) => "output_exceeded",
            Self::NoCapacity(_) => "no_capacity",
            Self::Host(_) => "host",
        }
    }

    /// What a run says that failed for this reason.
    #[must_use]
    pub fn code(&self) -> FailureCode {
        match self {
            Self::Trapped(_) => FailureCode::Trapped,
            Self::DeadlineExceeded(_) => FailureCode::DeadlineExceeded,
            Self::CpuExceeded(_) => FailureCode::CpuExceeded,
            Self::MemoryExceeded(_) => FailureCode::MemoryExceeded,
            Self::OutputExceeded(_) => FailureCode::OutputExceeded,
            Self::NoCapacity(_) | Self::Host(_) => FailureCode::Internal,
        }
    }
}

/// Ends a guest's call from within a host call, as a trap that the guest can not catch.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{0}")]
pub(crate) struct Stop(pub(crate) CallFailure);
