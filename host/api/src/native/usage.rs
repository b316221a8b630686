//! `GET /v1/usage` and `GET /v1/admin/tenants/{id}/usage`: what a tenant has used, by day, agent, model, plugin or key.

use std::collections::BTreeMap;
use std::ops::Bound;

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vivarium_domain::{Date, KeyId, Money, Scope, SpentBudget, TenantId, Timestamp, UsageEntry, Used, utc_day};

use super::NativeError;
use super::list::Parameters;
use super::tenants::tenant_id;
use crate::ApiState;
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::segment::Segment;

/// The longest time that is looked at in one request, in days: more than two years.
const MAX_DAYS: i32 = 800;

/// What one line of the answer is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum GroupBy {
    /// A day, in UTC.
    Day,
    /// An agent, by its id.
    Agent,
    /// A model, as `provider/model`.
    Model,
    /// A plugin, as `owner/name`.
    Plugin,
    /// A key, by its id.
    Key,
}

impl std::str::FromStr for GroupBy {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        Ok(match text {
            "day" => Self::Day,
            "agent" => Self::Agent,
            "model" => Self::Model,
            "plugin" => Self::Plugin,
            "key" => Self::Key,
            _ => return Err(()),
        })
    }
}

impl GroupBy {
    /// The group of an entry; empty: none.
    fn of(self, day: Date, entry: &UsageEntry) -> String {
        let by = &entry.by;
        let of = match self {
            Self::Day => Some(day.to_string()),
            Self::Agent => by.agent.map(|agent| agent.to_string()),
            Self::Model => by.model.clone(),
            Self::Plugin => by.plugin.as_ref().map(ToString::to_string),
            Self::Key => by.key.map(|key| key.to_string()),
        };
        of.unwrap_or_default()
    }
}

/// How much was used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Amounts {
    /// Runs that began.
    runs: u64,
    /// Calls of models that were answered, or broken off.
    model_calls: u64,
    /// Tokens read, cached ones included.
    input_tokens: u64,
    /// Of these, those that came from the provider's cache.
    cached_input_tokens: u64,
    /// Tokens written.
    output_tokens: u64,
    /// Of the tokens read and written, those of models without a price: they are not in `cost`.
    unpriced_tokens: u64,
    /// What the tokens cost.
    cost: Money,
    /// Calls of tools.
    tool_calls: u64,
    /// Wall time of these calls, in seconds.
    tool_seconds: f64,
}

impl From<Used> for Amounts {
    fn from(used: Used) -> Self {
        Self {
            runs: used.runs,
            model_calls: used.model_calls,
            input_tokens: used.input_tokens,
            cached_input_tokens: used.cached_input_tokens,
            output_tokens: used.output_tokens,
            unpriced_tokens: used.unpriced_tokens,
            cost: used.cost,
            tool_calls: used.tool_calls,
            tool_seconds: std::time::Duration::from_millis(used.tool_ms).as_secs_f64(),
        }
    }
}

/// What a group has used.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct GroupUsage {
    /// The day, agent, model, plugin or key; null: it was used without one.
    group: Option<String>,
    #[serde(flatten)]
    used: Amounts,
}

/// What a tenant has used.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageReport {
    /// The first day, in UTC.
    #[schema(value_type = String, format = Date)]
    from: Date,
    /// The last day.
    #[schema(value_type = String, format = Date)]
    to: Date,
    /// What a line is about.
    group_by: GroupBy,
    /// How the budgets of the tenant, and of the key that asks, stand today and this month.
    budgets: Vec<SpentBudget>,
    /// All of it.
    total: Amounts,
    /// A page of the groups.
    data: Vec<GroupUsage>,
    /// The `cursor` of the next page; null: this is the last one.
    next: Option<String>,
}

/// What is asked for.
struct Asked {
    from: Date,
    to: Date,
    group_by: GroupBy,
    limit: usize,
    after: Option<String>,
}

impl Asked {
    fn of(uri: &Uri) -> Result<Self, ApiError> {
        let asked = Parameters::of(uri, &["from", "to", "groupBy", "limit", "cursor"])?;
        let day = |name| asked.parsed::<Date>(name, "must be a day in UTC, such as 2026-11-22");
        let to = day("to")?.unwrap_or_else(|| utc_day(Timestamp::now()));
        let from = day("from")?.unwrap_or_else(|| to.first_of_month());
        if from > to {
            return Err(ApiError::invalid("from", format!("must be a day not after {to}")));
        }
        if from.until(to).map_or(true, |span| span.get_days() >= MAX_DAYS) {
            return Err(ApiError::invalid("from", format!("must be less than {MAX_DAYS} days before {to}")));
        }
        let must = "must be one of day, agent, model, plugin, key";
        let group_by = asked.parsed("groupBy", must)?.unwrap_or(GroupBy::Day);
        Ok(Self { from, to, group_by, limit: asked.limit()?, after: asked.cursor()? })
    }
}

async fn report(
    state: &ApiState,
    tenant: &TenantId,
    key: Option<KeyId>,
    uri: &Uri,
) -> Result<Json<UsageReport>, ApiError> {
    let Asked { from, to, group_by, limit, after } = Asked::of(uri)?;
    let (mut total, mut groups) = (Used::default(), BTreeMap::<String, Used>::new());
    for (day, entry) in state.0.store.usage(tenant, from, to).await? {
        total += entry.used;
        *groups.entry(group_by.of(day, &entry)).or_default() += entry.used;
    }
    let start = after.map_or(Bound::Unbounded, Bound::Excluded);
    let mut rest = groups.range::<String, _>((start, Bound::Unbounded));
    let page: Vec<_> = rest.by_ref().take(limit).collect();
    let next = rest.next().and(page.last()).map(|(group, _)| (*group).clone());
    let named = |group: &String| Some(group.clone()).filter(|group| !group.is_empty());
    let data = page.into_iter().map(|(group, used)| GroupUsage { group: named(group), used: (*used).into() });
    let budgets = state.0.runs.budgets(tenant, key).await?;
    Ok(Json(UsageReport { from, to, group_by, budgets, total: total.into(), data: data.collect(), next }))
}

/// What was used
///
/// By this tenant, over whole days in UTC. Counted when a model has answered and when a tool has ended, and kept for as many days as
/// the operator says. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/usage", operation_id = "getUsage", tag = "Native",
    params(
        ("from" = Option<String>, Query, nullable = false, format = Date, description = "The first day; without it, the first of the last day's month."),
        ("to" = Option<String>, Query, nullable = false, format = Date, description = "The last day; without it, today."),
        ("groupBy" = Option<GroupBy>, Query, nullable = false, description = "What a line is about; without it, a day."),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many groups; without it, 50."),
        ("cursor" = Option<String>, Query, nullable = false, description = "The `next` of the page before."),
    ),
    responses((status = 200, description = "What was used, and a page of the groups.", body = UsageReport))
)]
pub(super) async fn own(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<UsageReport>, NativeError> {
    caller.needs(Scope::Runs)?;
    Ok(report(&state, &caller.tenant, Some(caller.key), &uri).await?)
}

/// What a tenant has used
///
/// As the tenant itself sees it. Needs the scope `admin`.
#[utoipa::path(
    get, path = "/v1/admin/tenants/{id}/usage", operation_id = "getTenantUsage", tag = "Native",
    params(
        ("id" = inline(TenantId), Path, description = "The tenant's id."),
        ("from" = Option<String>, Query, nullable = false, format = Date, description = "The first day; without it, the first of the last day's month."),
        ("to" = Option<String>, Query, nullable = false, format = Date, description = "The last day; without it, today."),
        ("groupBy" = Option<GroupBy>, Query, nullable = false, description = "What a line is about; without it, a day."),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many groups; without it, 50."),
        ("cursor" = Option<String>, Query, nullable = false, description = "The `next` of the page before."),
    ),
    responses((status = 200, description = "What was used, and a page of the groups.", body = UsageReport))
)]
pub(super) async fn of_tenant(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Json<UsageReport>, NativeError> {
    caller.needs(Scope::Admin)?;
    let tenant = state.0.keyring.tenant(&tenant_id(&id)?).await?;
    Ok(report(&state, &tenant.id, None, &uri).await?)
}
