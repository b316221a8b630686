//! Tenants and their tiers.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::id::TenantId;

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

impl Tier {
    /// Its name, on the wire and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Pro => "pro",
            Self::Max => "max",
            Self::Enterprise => "enterprise",
        }
    }
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
