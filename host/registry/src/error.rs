//! Why the registry did not do what was asked. Each text names both sides: what is there and what would be right.

use vivarium_mcp::McpError;
use vivarium_sandbox::LoadError;
use vivarium_store::StoreError;

use crate::vault::VaultError;

/// Why the registry did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    /// The component can not be a plugin of this host.
    #[error(transparent)]
    Component(#[from] LoadError),
    /// The component can be a plugin, but not here and now: a name or a version is taken.
    #[error("{0}")]
    Conflict(String),
    /// The name is not the tenant's to use.
    #[error("{0}")]
    NotYours(String),
    /// There is no such plugin, version or secret.
    #[error("{0}")]
    NotFound(String),
    /// A grant or a secret that can not be kept.
    #[error("{what} {reason}")]
    Invalid {
        /// The field, as in the request.
        what: String,
        /// What is wrong with it; completes a sentence that starts with the field.
        reason: String,
    },
    /// Only an operator may do this.
    #[error("{0}")]
    OperatorOnly(String),
    /// A bound on what a tenant keeps.
    #[error("{0}")]
    Full(String),
    /// A remote server of tools did not do what was asked.
    #[error("{}", error.told_of(server))]
    Mcp {
        /// Its name.
        server: String,
        /// Why.
        error: McpError,
    },
    /// The secrets can not be sealed or opened.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A workspace can not be made.
    #[error("the session's workspace can not be opened: {0}")]
    Workspace(String),
    /// The files of a tenant can not be removed.
    #[error("the tenant's files can not be removed: {0}")]
    Files(String),
    /// A part of the work broke off.
    #[error("the work broke off: {0}")]
    BrokeOff(String),
}

impl RegistryError {
    pub(crate) fn invalid(what: impl Into<String>, reason: impl std::fmt::Display) -> Self {
        Self::Invalid { what: what.into(), reason: reason.to_string() }
    }
}
