//! Tenants and their API keys.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::id::{KeyId, TenantId};

/// What a tenant has paid for. Decides limits and which endpoints answer. Ordered: a later one has all of the former.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// The least.
    Free,
    /// More requests.
    Pro,
    /// The Assisters dialect's agent endpoints answer from here on.
    Max,
    /// The most.
    Enterprise,
}

/// Who is isolated from whom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// Its tier.
    pub tier: Tier,
    /// When it was made.
    pub created_at: Timestamp,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Make and read runs.
    Runs,
    /// Read agents.
    #[serde(rename = "agents:read", alias = "ai-agents:read")]
    AgentsRead,
    /// Make, change and delete agents, and run them through the make dialect.
    #[serde(rename = "agents:write", alias = "ai-agents:write")]
    AgentsWrite,
    /// Install, grant and remove the tenant's plugins.
    Plugins,
    /// Set and remove the tenant's secrets.
    Secrets,
    /// Everything, tenants included: an operator's.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Runs, Self::AgentsRead, Self::AgentsWrite, Self::Plugins, Self::Secrets, Self::Admin];

    /// Its name, on the wire and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Runs => "runs",
            Self::AgentsRead => "agents:read",
            Self::AgentsWrite => "agents:write",
            Self::Plugins => "plugins",
            Self::Secrets => "secrets",
            Self::Admin => "admin",
        }
    }
}

/// An API key. The key itself is shown once and kept nowhere; it is found by its SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct ApiKey {
    /// Its public name.
    pub id: KeyId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What a person calls it.
    pub name: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Since when it is no longer valid.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revoked_at: Option<Timestamp>,
}
