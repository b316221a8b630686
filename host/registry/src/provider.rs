//! Who provides a tool: a plugin, or a remote server. Whoever calls one need not know which it is but for the call itself.

use std::sync::Arc;
use std::time::Duration;

use vivarium_domain::{ContentHash, PluginName};
use vivarium_sandbox::FileQuota;

use crate::catalog::{PluginInUse, ToolEntry};
use crate::remote::McpInUse;

/// Who provides a tool.
#[derive(Debug, Clone)]
pub enum ToolProvider {
    /// An installed component.
    Plugin(Arc<PluginInUse>),
    /// A remote server that speaks the Model Context Protocol.
    Mcp(Arc<McpInUse>),
}

impl ToolEntry {
    /// Under what the provider stands in events, usage and traces: a plugin's name, or `mcp/` and a server's.
    #[must_use]
    pub fn provider_name(&self) -> &PluginName {
        match &self.provider {
            ToolProvider::Plugin(plugin) => plugin.name(),
            ToolProvider::Mcp(server) => server.provider_name(),
        }
    }

    /// What exactly is called: the component, or what a remote server says of the tool.
    #[must_use]
    pub fn digest(&self) -> Option<ContentHash> {
        match &self.provider {
            ToolProvider::Plugin(plugin) => Some(plugin.plugin.digest()),
            ToolProvider::Mcp(server) => server.digest(&self.manifest.name),
        }
    }

    /// How long a call may take.
    #[must_use]
    pub fn wall(&self) -> Duration {
        match &self.provider {
            ToolProvider::Plugin(plugin) => plugin.tool_limits.wall,
            ToolProvider::Mcp(server) => server.wall(),
        }
    }

    /// What the workspace of its session may hold; none: it sees no files.
    #[must_use]
    pub fn file_quota(&self) -> Option<FileQuota> {
        match &self.provider {
            ToolProvider::Plugin(plugin) => plugin.grant.files.map(|_| plugin.file_quota),
            ToolProvider::Mcp(_) => None,
        }
    }
}
