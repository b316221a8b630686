//! Budgets as the configuration has them: with underscores, as everything in the file is written.

use serde::{Deserialize, Serialize};
use vivarium_domain::{Budget, Money};

/// What may be used in a day and in a month, in a configuration file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BudgetTable {
    /// Tokens read and written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// Tokens read and written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_month: Option<u64>,
    /// US dollars, as a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money_per_day: Option<Money>,
    /// US dollars, as a text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money_per_month: Option<Money>,
    /// Wall time of tool calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_seconds_per_day: Option<u64>,
    /// Wall time of tool calls.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_seconds_per_month: Option<u64>,
}

impl From<BudgetTable> for Budget {
    fn from(table: BudgetTable) -> Self {
        Self {
            tokens_per_day: table.tokens_per_day,
            tokens_per_month: table.tokens_per_month,
            money_per_day: table.money_per_day,
            money_per_month: table.money_per_month,
            tool_seconds_per_day: table.tool_seconds_per_day,
            tool_seconds_per_month: table.tool_seconds_per_month,
        }
    }
}

/// What becomes of a question to a model without a price where a budget of money applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum UnpricedModels {
    /// It is not asked: nobody could say when the money is spent.
    #[default]
    Refuse,
    /// It costs nothing.
    Free,
}
