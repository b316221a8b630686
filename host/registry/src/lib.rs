//! The registry: which plugins each tenant has, what each may do there, and the tenant's secrets.
//!
//! A tenant sees its own plugins and those that the operator shares with all. What comes of both, with each plugin's
//! grant worked out, is the tenant's [`Catalog`]: a snapshot that is made when it is first asked for and made anew when
//! something changes. A run or a call holds the snapshot that it began with, so that it ends on the version that it
//! began on.
//!
//! This crate knows no HTTP and no run.

mod audit;
mod catalog;
mod effective;
mod error;
mod gift;
mod install;
mod mcp;
mod provider;
mod remote;
mod secrets;
mod service;
mod shelf;
mod state;
mod tenants;
mod vault;

pub use catalog::{Catalog, ModeEntry, PluginInUse, ToolEntry};
pub use error::RegistryError;
pub use gift::{OperatorGift, OperatorSecret};
pub use mcp::Accepted;
pub use provider::ToolProvider;
pub use remote::McpInUse;
pub use secrets::SecretInfo;
pub use service::{Installed, Place, PluginInfo, Registry, RegistryConfig, Rooms, SharedPlugin};
pub use vault::{Vault, VaultError};
pub use vivarium_mcp::McpError;
/// Why a component can not be a plugin.
pub use vivarium_sandbox::LoadError;
/// Lets files go that were for one call.
pub use vivarium_workspaces::Scratch;
