//! Tenants and their tiers.

use std::num::NonZeroU32;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::budget::Budget;
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
    /// What it may use in a day and in a month; what is left out is as its tier has it.
    #[serde(default, skip_serializing_if = "Budget::is_empty")]
    #[schema(required = false)]
    pub budget: Budget,
    /// Its own limits; what is left out is as its tier has it.
    #[serde(default, skip_serializing_if = "TenantLimits::is_empty")]
    #[schema(required = false)]
    pub limits: TenantLimits,
    /// When it was made.
    pub created_at: Timestamp,
}

impl Tenant {
    /// A tenant with nothing of its own but its tier.
    #[must_use]
    pub fn new(id: TenantId, tier: Tier, created_at: Timestamp) -> Self {
        Self { id, tier, budget: Budget::default(), limits: TenantLimits::default(), created_at }
    }
}

/// What a tenant may do at one time, in a minute, and keep. What is left out is as its tier has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct TenantLimits {
    /// Requests that start runs or try tools out, in a minute, of all its keys together.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub requests_per_minute: Option<NonZeroU32>,
    /// Tokens of its runs' model calls in a minute.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<u32>, minimum = 1)]
    pub tokens_per_minute: Option<NonZeroU32>,
    /// Runs that are under way or wait for their turn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub concurrent_runs: Option<u32>,
    /// Answers that are streamed at one time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_streams: Option<u32>,
    /// Bytes of files, documents, components, attachments and sources that are kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    /// Plugins of its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plugins: Option<u32>,
}

impl TenantLimits {
    /// It has none of its own.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
