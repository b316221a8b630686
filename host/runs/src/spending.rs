//! What a run's calls may take and what they have taken: reserved before, settled after, added up for the run's record, and counted for
//! its tenant with the events that it comes from.

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::Instant;

use vivarium_domain::{
    GenerateRequest, KeyId, Message, ModelName, ModelUsed, Money, Part, RunFailure, SpentBudget, TenantId, Timestamp,
    Usage, UsageEntry, Used, UsedBy, utc_day,
};
use vivarium_models::Price;
use vivarium_registry::ToolEntry;
use vivarium_sandbox::HostStop;
use vivarium_store::{Store, StoreError, Write};

use crate::accounts::{Amount, Bounded, Reservation};
use crate::asking::Candidate;
use crate::host::{RunHost, stopped};
use crate::service::{Runs, Shared};

/// The most tokens that a provider reads for an image: the dearest way to cut a large one into tiles that is known.
const IMAGE_TOKENS: u64 = 50_000;

/// What a provider adds to a request by itself, such as how tools are called.
const PROVIDERS_OWN_TOKENS: u64 = 512;

/// What model calls have used.
#[derive(Debug, Clone, Default)]
pub(crate) struct Spent {
    /// Tokens.
    pub(crate) usage: Usage,
    /// What they cost; nothing for those of models without a price.
    pub(crate) cost: Money,
    /// The same by model, in the order in which they first answered.
    pub(crate) by_model: Vec<ModelUsed>,
}

impl Spent {
    /// What an answer has used.
    pub(crate) fn of(model: &ModelName, usage: Usage, cost: Option<Money>) -> Self {
        let by_model = vec![ModelUsed { model: model.clone(), calls: 1, usage, cost }];
        Self { usage, cost: cost.unwrap_or_default(), by_model }
    }
}

impl AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.usage += other.usage;
        self.cost += other.cost;
        for more in other.by_model {
            match self.by_model.iter_mut().find(|one| one.model == more.model) {
                Some(one) => {
                    one.calls = one.calls.saturating_add(more.calls);
                    one.usage += more.usage;
                    // A price may come on a day in between.
                    one.cost = match (one.cost, more.cost) {
                        (Some(cost), Some(more)) => Some(cost.saturating_add(more)),
                        (cost, more) => cost.or(more),
                    };
                }
                None => self.by_model.push(more),
            }
        }
    }
}

/// A call that is under way. Broken off, it is counted: a question to a model as all that it may have taken, because nobody can
/// know what its provider has charged, and a tool's call as the time that it took. Unless the host stops: then the call is
/// made again by the next one, and counted there.
pub(crate) struct Call {
    shared: Arc<Shared>,
    tenant: TenantId,
    by: UsedBy,
    /// None: it was settled.
    reservation: Option<Reservation>,
    /// The most that a question to a model takes; none: it is a tool's call.
    at_most: Option<Used>,
    started: Instant,
}

impl Call {
    /// It has ended, and this is what it has used: to be counted with its event.
    pub(crate) fn ended(mut self, used: Used) -> UsageEntry {
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(used);
        }
        UsageEntry { by: self.by.clone(), used }
    }

    /// It has used nothing.
    pub(crate) fn came_to_nothing(mut self) {
        drop(self.reservation.take());
    }

    /// What it may take at most.
    pub(crate) fn at_most(&self) -> Used {
        self.at_most.unwrap_or_default()
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Some(reservation) = self.reservation.take() else { return };
        if self.shared.is_closing() {
            return;
        }
        let wall_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let used = self.at_most.unwrap_or_else(|| Used::tool_call(wall_ms));
        reservation.settle(used);
        let more = Box::new(UsageEntry { by: std::mem::take(&mut self.by), used });
        let write = Write::CountUsage { day: utc_day(Timestamp::now()), more };
        // It stands in line from here on, whether or not somebody waits for it.
        drop(self.shared.store.commit(&self.tenant, write.into()));
    }
}

/// Why a call is not made.
pub(crate) enum Refused {
    /// A budget has not enough left.
    Spent(Box<SpentBudget>),
    /// What it costs is not known, and a budget of money applies.
    NoPrice(String),
}

impl Refused {
    pub(crate) fn failure(self) -> RunFailure {
        let code = vivarium_domain::FailureCode::BudgetExhausted;
        match self {
            Self::Spent(budget) => {
                RunFailure { budget: Some(budget.clone()), ..RunFailure::new(code, budget.to_string()) }
            }
            Self::NoPrice(message) => RunFailure::new(code, message),
        }
    }
}

/// The sentence where a budget of money meets a model without a price.
pub(crate) fn no_price(model: &ModelName) -> String {
    format!(
        "the model {model} has no price, and a budget of money applies: nobody could say when that is spent. The operator can give it one"
    )
}

impl Shared {
    /// Whether a question to a model without a price is refused under these budgets.
    pub(crate) fn needs_price(&self, bounded: &[Bounded]) -> bool {
        !self.config.unpriced_models_are_free && bounded.iter().any(|(_, budget)| budget.bounds_money())
    }

    /// Reserves the time that a tool's call may take.
    pub(crate) async fn reserve_tool(
        self: &Arc<Self>,
        tenant: &TenantId,
        by: &UsedBy,
        entry: &ToolEntry,
    ) -> Result<Result<Call, Box<SpentBudget>>, StoreError> {
        let bounded = self.accounts.bounded(tenant, by).await?;
        let tool_ms = u64::try_from(entry.wall().as_millis()).unwrap_or(u64::MAX);
        let wanted = Amount { tool_ms, ..Amount::default() };
        let reserved = self.accounts.reserve(tenant, &bounded, wanted).await?;
        Ok(reserved.map(|reservation| Call {
            shared: Arc::clone(self),
            tenant: tenant.clone(),
            by: by.plugin(entry.provider_name()),
            reservation: Some(reservation),
            at_most: None,
            started: Instant::now(),
        }))
    }
}

/// The most tokens that a provider reads for a request of so many bytes as JSON: a token is at least one byte of what it is made of.
fn input_bound(request: &GenerateRequest, bytes: usize) -> u64 {
    let images = |message: &Message| match message {
        Message::User { parts } => parts.iter().filter(|part| matches!(part, Part::Image(_))).count(),
        _ => 0,
    };
    let images: usize = request.messages.iter().map(images).sum();
    (bytes as u64) + IMAGE_TOKENS * images as u64 + PROVIDERS_OWN_TOKENS
}

impl RunHost {
    /// Reserves what a question to the model may take. Where a budget bounds it, its answer is bounded, too: by what is asked for,
    /// else by what the operator says; the provider is told so.
    pub(crate) async fn reserve_model(
        &self,
        candidate: &Candidate,
        request: &mut GenerateRequest,
        bytes: usize,
    ) -> Result<Result<Call, Refused>, HostStop> {
        let accounts = &self.shared.accounts;
        let bounded = accounts.bounded(&self.tenant, &self.used_by).await.map_err(|error| stopped(&error))?;
        let price = self.price(&candidate.model);
        if price.is_none() && self.shared.needs_price(&bounded) {
            return Ok(Err(Refused::NoPrice(no_price(&candidate.model))));
        }
        if bounded.iter().any(|(_, budget)| budget.bounds_models()) {
            request.max_output_tokens.get_or_insert(self.shared.config.budgeted_output_tokens);
        }
        let used = self.at_most(candidate, request, bytes, price);
        let reserved = accounts.reserve(&self.tenant, &bounded, used.into()).await.map_err(|error| stopped(&error))?;
        Ok(reserved.map_err(Refused::Spent).map(|reservation| Call {
            shared: Arc::clone(&self.shared),
            tenant: self.tenant.clone(),
            by: self.used_by.model(&candidate.model),
            reservation: Some(reservation),
            at_most: Some(used),
            started: Instant::now(),
        }))
    }

    fn at_most(&self, candidate: &Candidate, request: &GenerateRequest, bytes: usize, price: Option<Price>) -> Used {
        let asked = request.max_output_tokens.unwrap_or(self.shared.config.budgeted_output_tokens);
        let output_tokens =
            candidate.provider.most_output_tokens(candidate.model.model(), asked, self.asking.options()).into();
        let input_tokens = input_bound(request, bytes);
        let usage = Usage { input_tokens, output_tokens, ..Usage::default() };
        Used::model_call(usage, price.map(|price| price.at_most(input_tokens, output_tokens)))
    }
}

impl Runs {
    /// The budget of a key may be another one from now on.
    pub fn key_changed(&self, key: KeyId) {
        self.0.accounts.key_changed(key);
    }

    /// How the budgets stand that apply to a tenant, and to one of its keys.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn budgets(&self, tenant: &TenantId, key: Option<KeyId>) -> Result<Vec<SpentBudget>, StoreError> {
        let by = UsedBy { key, ..UsedBy::default() };
        let bounded = self.0.accounts.bounded(tenant, &by).await?;
        self.0.accounts.left(tenant, &bounded).await
    }
}

/// Counts a call that belongs to no run.
pub(crate) async fn count(store: &dyn Store, tenant: &TenantId, used: UsageEntry) -> Result<(), StoreError> {
    let write = Write::CountUsage { day: utc_day(Timestamp::now()), more: Box::new(used) };
    store.commit(tenant, write.into()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_has_no_more_tokens_than_bytes_and_an_image_as_many_as_the_dearest() {
        let image = vivarium_domain::Image { media_type: "image/png".to_owned(), data: vec![1; 70] };
        let with = |parts| GenerateRequest { messages: vec![Message::User { parts }], ..GenerateRequest::default() };
        let text = with(vec![Part::Text("hi".to_owned())]);
        assert_eq!(input_bound(&text, 100), 100 + PROVIDERS_OWN_TOKENS);
        let two = with(vec![Part::Image(image.clone()), Part::Image(image)]);
        assert_eq!(input_bound(&two, 100), 100 + PROVIDERS_OWN_TOKENS + 2 * IMAGE_TOKENS);
    }
}
