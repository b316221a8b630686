//! What a run uses: added up for its record, and counted for its tenant with the events that it comes from.

use std::ops::AddAssign;

use vivarium_domain::{GenerateResponse, Money, PluginName, Usage, UsageEntry, Used, UsedBy};

use crate::host::RunHost;

/// What model calls have used.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spent {
    /// Tokens.
    pub(crate) usage: Usage,
    /// What they cost; nothing for those of models without a price.
    pub(crate) cost: Money,
}

impl Spent {
    /// What an answer has used; without one, nothing.
    pub(crate) fn of(response: Option<&GenerateResponse>, cost: Option<Money>) -> Self {
        Self { usage: response.map(|response| response.usage).unwrap_or_default(), cost: cost.unwrap_or_default() }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.usage += other.usage;
        self.cost += other.cost;
    }
}

impl RunHost {
    /// A call of the run's model.
    pub(crate) fn of_model(&self, used: Used) -> UsageEntry {
        UsageEntry { by: self.used_by.model(&self.model), used }
    }
}

/// A call of a plugin's tool.
pub(crate) fn of_plugin(by: &UsedBy, plugin: &PluginName, wall_ms: u64) -> UsageEntry {
    UsageEntry { by: by.plugin(plugin), used: Used::tool_call(wall_ms) }
}
