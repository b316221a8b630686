//! How much may be used in a day and in a month, and what is said when that is spent.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::Timestamp;
use crate::money::Money;

/// What may be used in a day and in a calendar month, both of UTC. What is left out is not bounded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
#[schema(example = json!({"tokensPerDay": 1_000_000, "moneyPerMonth": "250"}))]
pub struct Budget {
    /// Tokens read and written in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_day: Option<u64>,
    /// Tokens read and written in a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens_per_month: Option<u64>,
    /// What models cost in a day.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money_per_day: Option<Money>,
    /// What models cost in a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub money_per_month: Option<Money>,
    /// Wall time of tool calls in a day, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_seconds_per_day: Option<u64>,
    /// Wall time of tool calls in a month, in seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tool_seconds_per_month: Option<u64>,
}

impl Budget {
    /// Nothing is bounded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The same with the bounds of `other` where it has none of its own.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self {
            tokens_per_day: self.tokens_per_day.or(other.tokens_per_day),
            tokens_per_month: self.tokens_per_month.or(other.tokens_per_month),
            money_per_day: self.money_per_day.or(other.money_per_day),
            money_per_month: self.money_per_month.or(other.money_per_month),
            tool_seconds_per_day: self.tool_seconds_per_day.or(other.tool_seconds_per_day),
            tool_seconds_per_month: self.tool_seconds_per_month.or(other.tool_seconds_per_month),
        }
    }

    /// Calls of models are bounded by it.
    #[must_use]
    pub fn bounds_models(&self) -> bool {
        self.tokens_per_day.is_some() || self.tokens_per_month.is_some() || self.bounds_money()
    }

    /// What models cost is bounded by it.
    #[must_use]
    pub fn bounds_money(&self) -> bool {
        self.money_per_day.is_some() || self.money_per_month.is_some()
    }
}

/// Whose a budget is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum BudgetOwner {
    /// The tenant's.
    Tenant,
    /// The key's that pays.
    Key,
    /// The agent's whose run it is.
    Agent,
}

/// What a budget is counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum BudgetUnit {
    /// Tokens read and written.
    Tokens,
    /// US dollars.
    Money,
    /// Wall time of tool calls.
    ToolSeconds,
}

/// For how long a budget is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub enum BudgetPeriod {
    /// A day of UTC.
    Day,
    /// A calendar month of UTC.
    Month,
}

/// A budget that something does not fit into any more. Amounts are decimal texts: of tokens, US dollars or seconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SpentBudget {
    /// Whose it is.
    pub owner: BudgetOwner,
    /// What it is counted in.
    pub unit: BudgetUnit,
    /// For how long it is.
    pub period: BudgetPeriod,
    /// How much it is.
    pub limit: String,
    /// What is used of it.
    pub used: String,
    /// What is kept for calls that are under way.
    pub reserved: String,
    /// What is left.
    pub left: String,
    /// What the call would have reserved; none: nothing was asked for yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub wanted: Option<String>,
    /// When the whole of it is there again.
    pub turns_at: Timestamp,
}

impl std::fmt::Display for SpentBudget {
    /// A sentence that says all of it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { limit, used, reserved, left, turns_at, .. } = self;
        let owner = match self.owner {
            BudgetOwner::Tenant => "this tenant's",
            BudgetOwner::Key => "this key's",
            BudgetOwner::Agent => "this agent's",
        };
        let period = match self.period {
            BudgetPeriod::Day => "a day",
            BudgetPeriod::Month => "a month",
        };
        let unit = match self.unit {
            BudgetUnit::Tokens => "tokens",
            BudgetUnit::Money => "US dollars",
            BudgetUnit::ToolSeconds => "seconds of tool calls",
        };
        write!(f, "{owner} budget of {limit} {unit} {period} is spent: {used} are used")?;
        if reserved != "0" {
            write!(f, ", {reserved} are kept for calls that are under way")?;
        }
        match &self.wanted {
            Some(wanted) => write!(f, ", {left} are left, and this call may take up to {wanted}")?,
            None => write!(f, ", {left} are left")?,
        }
        write!(f, "; the whole of it is there again at {turns_at}")
    }
}
