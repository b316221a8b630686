//! What is kept of installed plugins and of secrets.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::id::{ContentHash, KeyId, SecretName};
use crate::manifest::{Manifest, PluginName};

/// One version of an installed plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PluginVersion {
    /// SHA-256 of the component.
    pub digest: ContentHash,
    /// The component's size.
    pub bytes: u64,
    /// What it says of itself.
    pub manifest: Manifest,
    /// When it was installed.
    pub installed_at: Timestamp,
    /// With which key; none: from the command line.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub installed_by: Option<KeyId>,
}

/// An installed plugin: its versions and which of them answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct InstalledRecord {
    /// `owner/name`.
    pub name: PluginName,
    /// Its versions, in the order in which they were installed. Never empty.
    pub versions: Vec<PluginVersion>,
    /// The version that answers.
    pub active: ContentHash,
    /// Those that answered before, the last one last: where a rollback goes.
    #[serde(default)]
    pub before: Vec<ContentHash>,
}

impl InstalledRecord {
    /// The version with this digest.
    #[must_use]
    pub fn version(&self, digest: ContentHash) -> Option<&PluginVersion> {
        self.versions.iter().find(|version| version.digest == digest)
    }

    /// The version that answers.
    #[must_use]
    pub fn active(&self) -> Option<&PluginVersion> {
        self.version(self.active)
    }
}

/// Where the host puts a secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SecretUse {
    /// The host that gets it: one, exactly.
    pub host: String,
    /// The header that it goes into.
    pub header: String,
    /// What stands before it in the header, such as `Bearer `.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schema(pattern = "^[ -~]*$")]
    pub prefix: String,
}

/// A secret as it is kept: only its use can be read.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SealedSecret {
    /// Its name.
    pub name: SecretName,
    /// Where it goes.
    pub inject: SecretUse,
    /// Which key it is sealed with.
    pub key_id: String,
    /// Nonce and ciphertext with its tag, in base64.
    pub sealed: String,
    /// When it was set.
    pub set_at: Timestamp,
}

impl std::fmt::Debug for SealedSecret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedSecret").field("name", &self.name).field("inject", &self.inject).finish_non_exhaustive()
    }
}
