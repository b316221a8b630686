//! How much of what tenants share goes to each, by its tier.

use std::num::NonZeroU16;

use serde::{Deserialize, Serialize};

use crate::Tier;

/// The weights of the tiers: where places and processor time are short, tenants get them in these proportions. 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TierWeights {
    /// Of the free tier.
    pub free: NonZeroU16,
    /// Of the pro tier.
    pub pro: NonZeroU16,
    /// Of the max tier.
    pub max: NonZeroU16,
    /// Of the enterprise tier.
    pub enterprise: NonZeroU16,
}

impl Default for TierWeights {
    fn default() -> Self {
        let weight = |weight: u16| NonZeroU16::MIN.saturating_add(weight - 1);
        Self { free: weight(1), pro: weight(2), max: weight(4), enterprise: weight(8) }
    }
}

impl TierWeights {
    /// The weight of a tier.
    #[must_use]
    pub fn of(&self, tier: Tier) -> u32 {
        let weight = match tier {
            Tier::Free => self.free,
            Tier::Pro => self.pro,
            Tier::Max => self.max,
            Tier::Enterprise => self.enterprise,
        };
        u32::from(weight.get())
    }
}
