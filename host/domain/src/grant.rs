//! What a plugin may do: hosts, files and limits as both a manifest and a grant name them, and the grant itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::openapi::RefOr;
use utoipa::openapi::schema::Schema;
use utoipa::{PartialSchema, ToSchema};

use crate::id::{SecretName, ToolName};

/// The methods that a [`HostRequest`] without methods stands for.
pub const DEFAULT_METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/// A host that a plugin asks for, or is granted. As JSON either the host alone, `"api.example.com"`, or
/// `{"host": "api.example.com", "methods": ["GET"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "HostRequestForm", into = "HostRequestForm")]
pub struct HostRequest {
    /// `example.com`, `*.example.com` (its subdomains) or `*` (every public host), with `:port` where it is not 80 or 443.
    pub host: String,
    /// The methods, in capitals. Empty: [`DEFAULT_METHODS`].
    pub methods: Vec<String>,
}

impl HostRequest {
    /// This host, with every method.
    #[must_use]
    pub fn any_method(host: impl Into<String>) -> Self {
        Self { host: host.into(), methods: Vec::new() }
    }
}

impl PartialSchema for HostRequest {
    fn schema() -> RefOr<Schema> {
        HostRequestForm::schema()
    }
}

impl ToSchema for HostRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        HostRequestForm::schemas(schemas);
    }
}

/// A host that a plugin asks for, or is granted: `example.com`, `*.example.com` (its subdomains) or `*` (every public host),
/// with `:port` where it is not 80 or 443.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
enum HostRequestForm {
    /// The host, with every method.
    Host(String),
    /// The host, with these methods.
    WithMethods(HostWithMethods),
}

#[derive(Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct HostWithMethods {
    /// The host.
    host: String,
    /// The methods, in capitals.
    methods: Vec<String>,
}

impl From<HostRequestForm> for HostRequest {
    fn from(form: HostRequestForm) -> Self {
        match form {
            HostRequestForm::Host(host) => Self::any_method(host),
            HostRequestForm::WithMethods(HostWithMethods { host, methods }) => Self { host, methods },
        }
    }
}

impl From<HostRequest> for HostRequestForm {
    fn from(HostRequest { host, methods }: HostRequest) -> Self {
        if methods.is_empty() { Self::Host(host) } else { Self::WithMethods(HostWithMethods { host, methods }) }
    }
}

/// What may be done with the files of a workspace. Ordered: the later one includes the former.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum FileAccess {
    /// Look at them.
    Read,
    /// Look at them, make, change and remove them, within the quota.
    Write,
}

/// Whether a tool may be called without asking a person. Ordered: the later one is the stricter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Approval {
    /// Yes.
    #[default]
    Auto,
    /// A person says so for each call.
    Ask,
    /// The tool is not there at all.
    Never,
}

/// The limits of a plugin's calls. In a manifest: what it would like; in a grant: what it gets; in the configuration:
/// defaults and maxima. None: the next one in this order decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginLimits {
    /// From start to end of one call, in milliseconds, host time included.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_ms: Option<u64>,
    /// Processor time of one call, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ms: Option<u64>,
    /// The sum of all its memories, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_bytes: Option<u64>,
    /// The sum of all its tables, in elements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub table_elements: Option<u64>,
    /// What one call gives back, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_bytes: Option<u64>,
    /// Calls of the host in one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_calls: Option<u64>,
    /// Lines in the log in one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_lines: Option<u64>,
    /// Handles of host resources at one time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub handles: Option<u64>,
    /// Requests over the network in one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_requests: Option<u64>,
    /// Bytes over the network in one call, both ways.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub egress_bytes: Option<u64>,
    /// The sum of a workspace's files, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_bytes: Option<u64>,
    /// Files and folders of a workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<u64>,
    /// The keys and values of its state, in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state_bytes: Option<u64>,
}

impl PluginLimits {
    /// Nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Each limit of this one, or where it has none, that of `other`.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        self.with(other, Option::or)
    }

    /// Each limit of this one, but no more than `most` has.
    #[must_use]
    pub fn at_most(self, most: Self) -> Self {
        self.with(most, |value, most| match (value, most) {
            (Some(value), Some(most)) => Some(value.min(most)),
            (value, None) => value,
            (None, most) => most,
        })
    }

    fn with(self, other: Self, pick: fn(Option<u64>, Option<u64>) -> Option<u64>) -> Self {
        Self {
            wall_ms: pick(self.wall_ms, other.wall_ms),
            cpu_ms: pick(self.cpu_ms, other.cpu_ms),
            memory_bytes: pick(self.memory_bytes, other.memory_bytes),
            table_elements: pick(self.table_elements, other.table_elements),
            output_bytes: pick(self.output_bytes, other.output_bytes),
            host_calls: pick(self.host_calls, other.host_calls),
            log_lines: pick(self.log_lines, other.log_lines),
            handles: pick(self.handles, other.handles),
            egress_requests: pick(self.egress_requests, other.egress_requests),
            egress_bytes: pick(self.egress_bytes, other.egress_bytes),
            file_bytes: pick(self.file_bytes, other.file_bytes),
            files: pick(self.files, other.files),
            state_bytes: pick(self.state_bytes, other.state_bytes),
        }
    }
}

/// What a plugin is allowed within one tenant. The default allows nothing. What a plugin can do is what its manifest asks
/// for *and* its grant allows.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PluginGrant {
    /// Hosts that it may reach.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<HostRequest>,
    /// Secrets of the tenant that the host puts into its requests, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub secrets: Vec<SecretName>,
    /// Settings that it reads.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// What it may do with the files of the session's workspace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files: Option<FileAccess>,
    /// Full-text search over the tenant's documents.
    #[serde(default)]
    pub corpus: bool,
    /// A key-value space.
    #[serde(default)]
    pub state: bool,
    /// Running programs in the sandbox: those of the workspace and those that the operator has installed.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub programs: bool,
    /// Limits of its calls, up to the tenant's maxima.
    #[serde(default, skip_serializing_if = "PluginLimits::is_empty")]
    pub limits: PluginLimits,
    /// Which of its tools need a person's approval. A tool that is not here: `auto`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub approvals: BTreeMap<ToolName, Approval>,
    /// Hosts with ports that it may reach although their addresses are not public, and by plain http with a secret. Only
    /// an operator can give this.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dangerously_allow_private_addresses: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_text_or_has_methods() {
        let json = r#"["example.com",{"host":"*.example.com:8443","methods":["GET"]}]"#;
        let hosts: Vec<HostRequest> = serde_json::from_str(json).unwrap();
        assert_eq!(hosts[0], HostRequest::any_method("example.com"));
        assert_eq!(hosts[1].methods, ["GET"]);
        assert_eq!(serde_json::to_string(&hosts).unwrap(), json);
    }

    #[test]
    fn a_grants_limit_comes_before_the_manifests_and_stays_below_the_maximum() {
        let limit = |wall_ms| PluginLimits { wall_ms, ..PluginLimits::default() };
        let (grant, manifest, default) = (limit(None), limit(Some(9_000)), limit(Some(1_000)));
        assert_eq!(grant.or(manifest).or(default).at_most(limit(Some(5_000))).wall_ms, Some(5_000));
        assert_eq!(limit(Some(7)).or(manifest).at_most(limit(None)).wall_ms, Some(7));
    }
}
