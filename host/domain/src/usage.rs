//! What was used, by whom, of what, and on which day; and how much may be.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::id::{AgentId, KeyId};
use crate::manifest::PluginName;
use crate::model::{ModelName, Usage};
use crate::money::Money;

/// The day of a moment, in UTC: by these days is counted.
#[must_use]
pub fn utc_day(at: Timestamp) -> Date {
    at.to_zoned(TimeZone::UTC).date()
}

/// When a day begins, in UTC.
#[must_use]
pub fn beginning_of(day: Date) -> Timestamp {
    day.to_zoned(TimeZone::UTC).map_or(Timestamp::MAX, |begin| begin.timestamp())
}

/// What something was used for, and who pays.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsedBy {
    /// The key that pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyId>,
    /// The agent whose run it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentId>,
    /// The model that was asked, as `provider/model`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The plugin whose tool was called.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugin: Option<PluginName>,
}

impl UsedBy {
    /// The same, of a model.
    #[must_use]
    pub fn model(&self, model: &ModelName) -> Self {
        Self { model: Some(model.to_string()), ..self.clone() }
    }

    /// The same, of a plugin.
    #[must_use]
    pub fn plugin(&self, plugin: &PluginName) -> Self {
        Self { plugin: Some(plugin.clone()), ..self.clone() }
    }
}

/// How much was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Used {
    /// Runs that began.
    pub runs: u64,
    /// Calls of models that were answered, or broken off.
    pub model_calls: u64,
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Of these, those that came from the provider's cache.
    pub cached_input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Of the tokens read and written, those of models without a price.
    pub unpriced_tokens: u64,
    /// What the tokens cost.
    pub cost: Money,
    /// Calls of tools that reached their plugin.
    pub tool_calls: u64,
    /// Wall time of these calls, in milliseconds.
    pub tool_ms: u64,
}

impl Used {
    /// One call of a model. Without a price its tokens are counted as such.
    #[must_use]
    pub fn model_call(usage: Usage, cost: Option<Money>) -> Self {
        Self {
            model_calls: 1,
            input_tokens: usage.input_tokens,
            cached_input_tokens: usage.cached_input_tokens,
            output_tokens: usage.output_tokens,
            unpriced_tokens: if cost.is_none() { usage.total() } else { 0 },
            cost: cost.unwrap_or_default(),
            ..Self::default()
        }
    }

    /// One call of a tool.
    #[must_use]
    pub fn tool_call(wall_ms: u64) -> Self {
        Self { tool_calls: 1, tool_ms: wall_ms, ..Self::default() }
    }

    /// Tokens read and written.
    #[must_use]
    pub fn tokens(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }
}

impl std::ops::AddAssign for Used {
    fn add_assign(&mut self, other: Self) {
        for (sum, more) in [
            (&mut self.runs, other.runs),
            (&mut self.model_calls, other.model_calls),
            (&mut self.input_tokens, other.input_tokens),
            (&mut self.cached_input_tokens, other.cached_input_tokens),
            (&mut self.output_tokens, other.output_tokens),
            (&mut self.unpriced_tokens, other.unpriced_tokens),
            (&mut self.tool_calls, other.tool_calls),
            (&mut self.tool_ms, other.tool_ms),
        ] {
            *sum = sum.saturating_add(more);
        }
        self.cost += other.cost;
    }
}

/// How much was used by somebody for something.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UsageEntry {
    /// By whom, and for what.
    #[serde(flatten)]
    pub by: UsedBy,
    /// How much.
    #[serde(flatten)]
    pub used: Used,
}

/// Who has a budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum Subject {
    /// The tenant as a whole.
    Tenant,
    /// One of its keys.
    Key(KeyId),
    /// One of its agents.
    Agent(AgentId),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_one_of_utc_and_begins_at_its_midnight() {
        let late: Timestamp = "2026-11-22T23:59:59.999999999Z".parse().unwrap();
        assert_eq!(utc_day(late).to_string(), "2026-11-22");
        assert_eq!(beginning_of(utc_day(late)).to_string(), "2026-11-22T00:00:00Z");
        assert_eq!(utc_day("2026-11-23T01:00:00+02:00".parse().unwrap()).to_string(), "2026-11-22");
    }

    #[test]
    fn an_entry_is_read_also_where_it_lacks_what_was_not_counted_then() {
        let entry: UsageEntry = serde_json::from_str(r#"{"model":"a/b","inputTokens":3}"#).unwrap();
        let used = Used { input_tokens: 3, ..Used::default() };
        assert_eq!(entry, UsageEntry { by: UsedBy { model: Some("a/b".to_owned()), ..UsedBy::default() }, used });
        let json = serde_json::to_string(&entry).unwrap();
        assert_eq!(serde_json::from_str::<UsageEntry>(&json).unwrap(), entry);
    }
}
