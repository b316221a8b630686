//! A remote server of tools, which speaks the Model Context Protocol, as a tenant keeps it.
//!
//! What a server says of its tools is what models are told, so a person accepts it: the tools are kept as they were then, each
//! under the digest of its name, description, schemas and hints. What the server says later is a proposal.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::grant::{Approval, PluginLimits};
use crate::id::{ContentHash, McpServerName, SecretName, ToolName};
use crate::manifest::ToolManifest;

/// What one call of a server's tool may use. None: the host's default for tools. Never more than the tenant's maxima.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct McpLimits {
    /// From start to end, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub wall_ms: Option<u64>,
    /// What it gives back, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub output_bytes: Option<u64>,
    /// Requests over the network. A call takes three to six, by the server's version of the protocol.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub egress_requests: Option<u64>,
    /// Bytes over the network, both ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1)]
    pub egress_bytes: Option<u64>,
}

impl McpLimits {
    /// Nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl From<McpLimits> for PluginLimits {
    fn from(McpLimits { wall_ms, output_bytes, egress_requests, egress_bytes }: McpLimits) -> Self {
        Self { wall_ms, output_bytes, egress_requests, egress_bytes, ..Self::default() }
    }
}

/// What a tenant says of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct McpServerConfig {
    /// Where it answers.
    pub url: String,
    /// Secrets of the tenant that the host puts into the requests to it. Each one's host is the URL's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
    /// Whether a person is asked before a call of a tool. One that is not here: `auto` if the server says that it changes
    /// nothing, else `ask`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub approvals: BTreeMap<ToolName, Approval>,
    /// What one call may use.
    #[serde(default, skip_serializing_if = "McpLimits::is_empty")]
    pub limits: McpLimits,
    /// Its address need not be public, and it is reached by plain http with a secret. Only an operator can give this.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub dangerously_allow_private_addresses: bool,
}

/// A tool of a server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct McpTool {
    /// What the server calls it.
    pub remote_name: String,
    /// What the server says of it, under the name that the tenant has for it: the server's, `_` and the tool's. Whether it
    /// changes anything or can be repeated is a hint of somebody who need not be trusted.
    pub manifest: ToolManifest,
    /// SHA-256 of all that the server says of it that a model is told or a decision rests on.
    pub digest: ContentHash,
}

/// A tool of a server that can not be used here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct McpLeftOut {
    /// What the server calls it.
    pub remote_name: String,
    /// Why.
    pub reason: String,
}

/// How a tool stands to what was accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum McpToolState {
    /// The server says of it what was accepted: it can be called.
    Accepted,
    /// The server says something else of it now: its calls are refused until that is accepted.
    Changed,
    /// It was not there when the tools were accepted: it is not offered until it is accepted.
    New,
    /// The server has it no more.
    Gone,
}

/// A server, as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct McpServer {
    /// Its name in the tenant.
    pub name: McpServerName,
    /// What the tenant says of it.
    pub config: McpServerConfig,
    /// The tools that were accepted, by name.
    pub tools: Vec<McpTool>,
    /// The tools that the server had at the last look and that are not accepted as they are, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub proposed: Vec<McpTool>,
    /// The accepted tools that the server had no more at the last look.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub gone: Vec<ToolName>,
    /// The tools of the last look that can not be used here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<McpLeftOut>,
    /// The version of the protocol that it spoke at the last look.
    pub protocol: String,
    /// What it calls itself: a name and a version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub software: Option<String>,
    /// When it was added.
    pub created_at: Timestamp,
    /// When something of it was changed last.
    pub updated_at: Timestamp,
    /// When its tools were looked at last.
    pub looked_at: Timestamp,
}

impl McpServer {
    /// Whether a person is asked before a call of this tool.
    #[must_use]
    pub fn approval(&self, tool: &ToolManifest) -> Approval {
        let cautious = if tool.read_only { Approval::Auto } else { Approval::Ask };
        self.config.approvals.get(&tool.name).copied().unwrap_or(cautious)
    }

    /// All tools that are known of, each with how it stands: a changed one as the server has it now.
    pub fn all_tools(&self) -> impl Iterator<Item = (&McpTool, McpToolState)> {
        let is_accepted = |name: &ToolName| self.tools.iter().any(|tool| tool.manifest.name == *name);
        let proposed = self.proposed.iter().map(move |tool| {
            let state = if is_accepted(&tool.manifest.name) { McpToolState::Changed } else { McpToolState::New };
            (tool, state)
        });
        let is_proposed = |name: &ToolName| self.proposed.iter().any(|tool| tool.manifest.name == *name);
        let accepted = self.tools.iter().filter(move |tool| !is_proposed(&tool.manifest.name)).map(|tool| {
            let gone = self.gone.contains(&tool.manifest.name);
            (tool, if gone { McpToolState::Gone } else { McpToolState::Accepted })
        });
        accepted.chain(proposed)
    }

    /// How an accepted tool stood at the last look.
    #[must_use]
    pub fn state(&self, tool: &ToolName) -> Option<McpToolState> {
        self.all_tools().find(|(known, _)| known.manifest.name == *tool).map(|(_, state)| state)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tool(name: &str, read_only: bool, digest: &[u8]) -> McpTool {
        let manifest = ToolManifest {
            name: name.parse().unwrap(),
            title: String::new(),
            description: String::new(),
            input_schema: serde_json::json!({"type": "object"}),
            output_schema: None,
            read_only,
            idempotent: false,
            destructive: false,
            open_world: true,
        };
        McpTool { remote_name: name.to_owned(), manifest, digest: ContentHash::of(digest) }
    }

    fn server() -> McpServer {
        let now = Timestamp::UNIX_EPOCH;
        let config = McpServerConfig {
            url: "https://mcp.example.com/".to_owned(),
            secrets: Vec::new(),
            approvals: BTreeMap::from([("s_write".parse().unwrap(), Approval::Never)]),
            limits: McpLimits::default(),
            dangerously_allow_private_addresses: false,
        };
        McpServer {
            name: "s".parse().unwrap(),
            config,
            tools: vec![tool("s_read", true, b"1"), tool("s_same", false, b"1"), tool("s_old", false, b"1")],
            proposed: vec![tool("s_new", false, b"2"), tool("s_read", true, b"2")],
            gone: vec!["s_old".parse().unwrap()],
            left_out: Vec::new(),
            protocol: "2026-07-28".to_owned(),
            software: None,
            created_at: now,
            updated_at: now,
            looked_at: now,
        }
    }

    #[test]
    fn a_tool_that_does_not_say_that_it_changes_nothing_is_asked_about() {
        let server = server();
        let approval = |name, read_only| server.approval(&tool(name, read_only, b"1").manifest);
        assert_eq!(approval("s_read", true), Approval::Auto);
        assert_eq!(approval("s_same", false), Approval::Ask);
        assert_eq!(
            approval("s_write", true),
            Approval::Never,
            "what the tenant says goes before what the server hints"
        );
    }

    #[test]
    fn each_tool_is_there_once_with_how_it_stands() {
        let server = server();
        let mut states: Vec<_> = server.all_tools().map(|(tool, state)| (tool.manifest.name.as_str(), state)).collect();
        states.sort_by_key(|(name, _)| *name);
        let expected = [
            ("s_new", McpToolState::New),
            ("s_old", McpToolState::Gone),
            ("s_read", McpToolState::Changed),
            ("s_same", McpToolState::Accepted),
        ];
        assert_eq!(states, expected);
        assert_eq!(server.state(&"s_nothing".parse().unwrap()), None);
    }
}
