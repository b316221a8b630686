//! What a plugin says of itself: a custom section of its component, read without running it.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::grant::{FileAccess, HostRequest, PluginLimits};
use crate::id::{McpServerName, SecretName, ToolName};
use crate::schema;

/// Why a manifest is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the plugin's manifest is not valid: {0}")]
pub struct ManifestError(pub String);

/// A plugin's name, `owner/name`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct PluginName(String);

impl PluginName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// It came with the host: nobody else installs under this owner.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.0.starts_with("vivarium/")
    }
}

impl PluginName {
    /// The owner of the names that stand for remote servers of tools. No plugin is installed under it.
    pub const OWNER_OF_MCP_SERVERS: &str = "mcp";
}

impl From<&McpServerName> for PluginName {
    /// Under what a remote server stands where plugins stand: in events, usage and traces.
    fn from(server: &McpServerName) -> Self {
        Self(format!("{}/{server}", Self::OWNER_OF_MCP_SERVERS))
    }
}

impl FromStr for PluginName {
    type Err = ManifestError;
    fn from_str(text: &str) -> Result<Self, ManifestError> {
        let part = |part: &str| {
            matches!(part.len(), 1..=64)
                && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
        };
        match text.split_once('/') {
            Some((owner, name)) if part(owner) && part(name) => Ok(Self(text.to_owned())),
            _ => Err(ManifestError(format!(
                "a plugin's name is owner/name, each of 1 to 64 of a-z, 0-9, '-' and '_', not {text:?}"
            ))),
        }
    }
}

impl PartialSchema for PluginName {
    fn schema() -> RefOr<Schema> {
        let description = "A plugin's name: owner/name.";
        schema::text(description, "^[a-z0-9_-]{1,64}/[a-z0-9_-]{1,64}$", 3..=129, "acme/weather")
    }
}

impl ToSchema for PluginName {}

impl TryFrom<String> for PluginName {
    type Error = ManifestError;
    fn try_from(text: String) -> Result<Self, ManifestError> {
        text.parse()
    }
}

impl From<PluginName> for String {
    fn from(name: PluginName) -> Self {
        name.0
    }
}

impl fmt::Display for PluginName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A mode that a plugin provides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ModeManifest {
    /// The name that clients use.
    pub name: ToolName,
    /// For a person.
    pub title: String,
    /// What it does.
    pub description: String,
    /// How many cycles a run takes when the client names none.
    pub default_max_cycles: u32,
}

/// A tool that a plugin provides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ToolManifest {
    /// The name that models use.
    pub name: ToolName,
    /// For a person.
    pub title: String,
    /// What it does and when to use it, for the model.
    pub description: String,
    /// JSON Schema of the arguments: an object.
    pub input_schema: serde_json::Value,
    /// JSON Schema of the output's content, for a tool that answers in JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_schema: Option<serde_json::Value>,
    /// It changes nothing.
    #[serde(default)]
    pub read_only: bool,
    /// Calling it twice with the same key is as calling it once.
    #[serde(default)]
    pub idempotent: bool,
    /// It may destroy something.
    #[serde(default)]
    pub destructive: bool,
    /// It talks to the world outside the host.
    #[serde(default)]
    pub open_world: bool,
}

/// What a plugin asks for. Nothing is granted by being asked for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Requests {
    /// Hosts that it wants to reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostRequest>,
    /// Secrets that it wants to use, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
    /// Settings that it reads, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub settings: Vec<String>,
    /// The workspace of the session that it works in, through `wasi:filesystem`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FileAccess>,
    /// Full-text search over the tenant's documents.
    #[serde(default)]
    pub corpus: bool,
    /// A key-value space.
    #[serde(default)]
    pub state: bool,
    /// The run's language model: for modes.
    #[serde(default)]
    pub model: bool,
    /// Running programs in the sandbox, beside itself: those of the workspace and those that the operator has installed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub programs: bool,
}

/// Whether a call gets an instance of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Instances {
    /// Each call gets a new one.
    #[default]
    Fresh,
    /// A tool's instance may be used again by later calls of the same tenant; never after a failure.
    Warm,
}

/// What a plugin says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Manifest {
    /// `owner/name`.
    pub name: PluginName,
    /// The plugin's version.
    pub version: semver::Version,
    /// The version of `vivarium:plugin` that it is built for.
    pub contract: semver::Version,
    /// One sentence.
    pub description: String,
    /// The modes that it provides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub modes: Vec<ModeManifest>,
    /// The tools that it provides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolManifest>,
    /// What it asks for.
    #[serde(default)]
    pub requests: Requests,
    /// What it needs of each limit, where the host's default is not enough or more than it wants. The host has maxima.
    #[serde(default, skip_serializing_if = "PluginLimits::is_empty")]
    pub limits: PluginLimits,
    /// Whether its tools' instances may be used again.
    #[serde(default)]
    pub instances: Instances,
}

impl Manifest {
    /// What both plugins provide: `mode` or `tool`, and its name. None of one tenant's plugins can have the same.
    #[must_use]
    pub fn provides_too(&self, other: &Self) -> Option<(&'static str, &ToolName)> {
        let mode = self.modes.iter().find(|mode| other.modes.iter().any(|taken| taken.name == mode.name));
        let tool = self.tools.iter().find(|tool| other.tools.iter().any(|taken| taken.name == tool.name));
        mode.map(|mode| ("mode", &mode.name)).or_else(|| tool.map(|tool| ("tool", &tool.name)))
    }

    /// The name of the component's custom section that holds the manifest as JSON.
    pub const SECTION: &'static str = "vivarium:manifest";

    /// Reads a manifest.
    ///
    /// # Errors
    /// When the JSON is broken, a field is missing or unknown, a name is given twice, or nothing is provided.
    pub fn from_json(json: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(json).map_err(|error| ManifestError(error.to_string()))?;
        if manifest.modes.is_empty() && manifest.tools.is_empty() {
            return Err(ManifestError("it provides neither modes nor tools".to_owned()));
        }
        let mut names = std::collections::BTreeSet::new();
        let modes = manifest.modes.iter().map(|mode| ("mode", &mode.name));
        let tools = manifest.tools.iter().map(|tool| ("tool", &tool.name));
        for (kind, name) in modes.chain(tools) {
            if !names.insert((kind, name)) {
                return Err(ManifestError(format!("the {kind} {name} is there twice")));
            }
        }
        Ok(manifest)
    }
}
