//! What tenants, keys and agents have used of their budgets, and what is kept of these for calls that are under way.
//!
//! Before a call the most that it may take is *reserved*: the look whether every budget has so much left and the reservation are one
//! step under one lock, so that however many calls are made at once, what is used and what is reserved never go beyond a
//! budget together. When the call has ended, what it has really used takes the reservation's place.
//!
//! The store is where usage is counted for good (in the batch of the event that it comes from). An account here begins with the store's
//! counts of the month and goes on by itself, so no look waits for a disk. It is kept by day: a day that turns, or a clock that is put
//! back, is another day to look at, and nothing has to be reset.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use vivarium_domain::{
    Budget, BudgetOwner, BudgetPeriod, BudgetUnit, Date, KeyId, Money, SpentBudget, Subject, TenantId, Tier, Timestamp,
    Used, UsedBy, beginning_of, utc_day,
};
use vivarium_store::{Store, StoreError};

/// How many accounts are kept; beyond it, those go that were not looked at for a while.
const MAX_ACCOUNTS: usize = 50_000;

/// An account that nobody has looked at for so long is what the store has counted by now.
const AT_REST: Duration = Duration::from_secs(600);

/// For how long a key's budget is believed: a change through this process counts at once.
const BELIEVED: Duration = Duration::from_secs(30);

/// What is counted by budgets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Amount {
    pub(crate) tokens: u64,
    pub(crate) money: Money,
    pub(crate) tool_ms: u64,
}

impl Amount {
    fn plus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_add(other.tokens),
            money: self.money.saturating_add(other.money),
            tool_ms: self.tool_ms.saturating_add(other.tool_ms),
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.saturating_sub(other.tokens),
            money: self.money.saturating_sub(other.money),
            tool_ms: self.tool_ms.saturating_sub(other.tool_ms),
        }
    }

    /// In each unit the larger one.
    fn max(self, other: Self) -> Self {
        Self {
            tokens: self.tokens.max(other.tokens),
            money: self.money.max(other.money),
            tool_ms: self.tool_ms.max(other.tool_ms),
        }
    }

    /// As a plain number: of tokens, billionths of a dollar, or milliseconds.
    fn of(&self, unit: BudgetUnit) -> u64 {
        match unit {
            BudgetUnit::Tokens => self.tokens,
            BudgetUnit::Money => self.money.nanos(),
            BudgetUnit::ToolSeconds => self.tool_ms,
        }
    }
}

impl From<Used> for Amount {
    fn from(used: Used) -> Self {
        Self { tokens: used.tokens(), money: used.cost, tool_ms: used.tool_ms }
    }
}

/// A plain number of a unit, for a person: tokens, dollars, or seconds.
fn written(unit: BudgetUnit, number: u64) -> String {
    match unit {
        BudgetUnit::Tokens => number.to_string(),
        BudgetUnit::Money => Money::from_nanos(number).to_string(),
        // Thousandths as billionths: the same digits.
        BudgetUnit::ToolSeconds => Money::from_nanos(number.saturating_mul(1_000_000)).to_string(),
    }
}

/// A subject with its budget.
pub(crate) type Bounded = (Subject, Budget);

/// The bounds of a budget, as plain numbers.
fn bounds(budget: &Budget) -> impl Iterator<Item = (BudgetUnit, BudgetPeriod, u64)> {
    let milliseconds = |seconds: u64| seconds.saturating_mul(1000);
    [
        (BudgetUnit::Tokens, BudgetPeriod::Day, budget.tokens_per_day),
        (BudgetUnit::Tokens, BudgetPeriod::Month, budget.tokens_per_month),
        (BudgetUnit::Money, BudgetPeriod::Day, budget.money_per_day.map(Money::nanos)),
        (BudgetUnit::Money, BudgetPeriod::Month, budget.money_per_month.map(Money::nanos)),
        (BudgetUnit::ToolSeconds, BudgetPeriod::Day, budget.tool_seconds_per_day.map(milliseconds)),
        (BudgetUnit::ToolSeconds, BudgetPeriod::Month, budget.tool_seconds_per_month.map(milliseconds)),
    ]
    .into_iter()
    .filter_map(|(unit, period, limit)| Some((unit, period, limit?)))
}

/// The month of a day.
fn month(day: Date) -> (i16, i8) {
    (day.year(), day.month())
}

/// What one subject has used and reserved.
#[derive(Debug)]
struct Account {
    days: BTreeMap<Date, Amount>,
    /// The months whose counts the store was asked for.
    asked: Vec<(i16, i8)>,
    reserved: Amount,
    touched: Instant,
}

impl Account {
    fn new() -> Self {
        Self { days: BTreeMap::new(), asked: Vec::new(), reserved: Amount::default(), touched: Instant::now() }
    }

    /// What is used in the period of this day.
    fn used(&self, period: BudgetPeriod, day: Date) -> Amount {
        match period {
            BudgetPeriod::Day => self.days.get(&day).copied().unwrap_or_default(),
            BudgetPeriod::Month => {
                let days = self.days.range(day.first_of_month()..=day.last_of_month());
                days.fold(Amount::default(), |sum, (_, amount)| sum.plus(*amount))
            }
        }
    }

    /// Takes the store's counts. What was counted here since then may be in them or not: the larger one is right, because the
    /// store has never counted more than what was used.
    fn learn(&mut self, of: (i16, i8), used: Vec<(Date, Used)>) {
        for (day, used) in used {
            let known = self.days.entry(day).or_default();
            *known = known.max(used.into());
        }
        self.asked.push(of);
    }
}

type Key = (TenantId, Subject);

#[derive(Debug, Default)]
struct State {
    accounts: HashMap<Key, Account>,
    key_budgets: HashMap<KeyId, (Instant, Budget)>,
}

/// All accounts of the host.
pub(crate) struct Accounts {
    store: Arc<dyn Store>,
    /// What a tenant may use that has no budget of its own.
    of_tier: BTreeMap<Tier, Budget>,
    state: Mutex<State>,
}

impl Accounts {
    pub(crate) fn new(store: Arc<dyn Store>, of_tier: BTreeMap<Tier, Budget>) -> Arc<Self> {
        Arc::new(Self { store, of_tier, state: Mutex::default() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, the numbers are still ones that can be read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whose budgets apply to what somebody does, and what they are now.
    pub(crate) async fn bounded(&self, tenant: &TenantId, by: &UsedBy) -> Result<Vec<Bounded>, StoreError> {
        let record = self.store.tenant(tenant).await?;
        let of_tier = |tier| self.of_tier.get(&tier).copied().unwrap_or_default();
        let of_tenant = record.map(|tenant| tenant.budget.or(of_tier(tenant.tier))).unwrap_or_default();
        let mut bounded = vec![(Subject::Tenant, of_tenant)];
        if let Some(key) = by.key {
            bounded.push((Subject::Key(key), self.of_key(tenant, key).await?));
        }
        if let Some(id) = by.agent {
            let agent = self.store.agent(tenant, id).await?;
            bounded.push((Subject::Agent(id), agent.map(|agent| agent.config.budget).unwrap_or_default()));
        }
        Ok(bounded)
    }

    async fn of_key(&self, tenant: &TenantId, id: KeyId) -> Result<Budget, StoreError> {
        let known = self.lock().key_budgets.get(&id).copied();
        if let Some((_, budget)) = known.filter(|(asked, _)| asked.elapsed() < BELIEVED) {
            return Ok(budget);
        }
        let asked = Instant::now();
        let keys = self.store.api_keys(tenant).await?;
        let budget = keys.iter().find(|(_, key)| key.id == id).map(|(_, key)| key.budget).unwrap_or_default();
        let mut state = self.lock();
        if state.key_budgets.len() >= MAX_ACCOUNTS {
            state.key_budgets.retain(|_, (asked, _)| asked.elapsed() < BELIEVED);
        }
        state.key_budgets.insert(id, (asked, budget));
        Ok(budget)
    }

    /// A key's budget may be another one from now on.
    pub(crate) fn key_changed(&self, key: KeyId) {
        self.lock().key_budgets.remove(&key);
    }

    /// A tenant is gone.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        self.lock().accounts.retain(|(owner, _), _| owner != tenant);
    }

    /// Sees to it that the accounts know what was used in the month of this day.
    async fn know(&self, tenant: &TenantId, bounded: &[Bounded], day: Date) -> Result<(), StoreError> {
        for (subject, _) in bounded {
            let key = (tenant.clone(), *subject);
            let is_known =
                |state: &State| state.accounts.get(&key).is_some_and(|account| account.asked.contains(&month(day)));
            if is_known(&self.lock()) {
                continue;
            }
            let used = self.store.used(tenant, *subject, day.first_of_month(), day.last_of_month()).await?;
            let mut state = self.lock();
            if state.accounts.len() >= MAX_ACCOUNTS {
                let rests =
                    |account: &Account| account.reserved == Amount::default() && account.touched.elapsed() >= AT_REST;
                state.accounts.retain(|_, account| !rests(account));
            }
            let account = state.accounts.entry(key).or_insert_with(Account::new);
            if !account.asked.contains(&month(day)) {
                account.learn(month(day), used);
            }
        }
        Ok(())
    }

    /// Reserves this, if every budget has so much left.
    pub(crate) async fn reserve(
        self: &Arc<Self>,
        tenant: &TenantId,
        bounded: &[Bounded],
        wanted: Amount,
    ) -> Result<Result<Reservation, Box<SpentBudget>>, StoreError> {
        self.reserve_on(utc_day(Timestamp::now()), tenant, bounded, wanted).await
    }

    async fn reserve_on(
        self: &Arc<Self>,
        day: Date,
        tenant: &TenantId,
        bounded: &[Bounded],
        wanted: Amount,
    ) -> Result<Result<Reservation, Box<SpentBudget>>, StoreError> {
        self.know(tenant, bounded, day).await?;
        let mut state = self.lock();
        for (subject, budget) in bounded {
            let account = state.accounts.get(&(tenant.clone(), *subject));
            let is_in_the_way = |bound: &Bound| {
                let wanted = wanted.of(bound.unit);
                wanted > 0 && bound.taken().saturating_add(wanted) > bound.limit
            };
            if let Some(bound) = bounds_of(*subject, budget, account, day).find(is_in_the_way) {
                return Ok(Err(Box::new(bound.spent(Some(wanted)))));
            }
        }
        let subjects: Vec<Subject> = bounded.iter().map(|(subject, _)| *subject).collect();
        for subject in &subjects {
            // It is there since `know`, unless its tenant is being deleted.
            if let Some(account) = state.accounts.get_mut(&(tenant.clone(), *subject)) {
                account.reserved = account.reserved.plus(wanted);
                account.touched = Instant::now();
            }
        }
        Ok(Ok(Reservation { accounts: Arc::clone(self), tenant: tenant.clone(), subjects, amount: wanted }))
    }

    /// A budget of tokens or money of which nothing at all is left, if there is one: then nothing needs to be begun.
    pub(crate) async fn exhausted(
        &self,
        tenant: &TenantId,
        bounded: &[Bounded],
    ) -> Result<Option<Box<SpentBudget>>, StoreError> {
        let day = utc_day(Timestamp::now());
        self.know(tenant, bounded, day).await?;
        let state = self.lock();
        let all = bounded.iter().flat_map(|(subject, budget)| {
            bounds_of(*subject, budget, state.accounts.get(&(tenant.clone(), *subject)), day).collect::<Vec<_>>()
        });
        let mut spent = all.filter(|bound| bound.unit != BudgetUnit::ToolSeconds && bound.used >= bound.limit);
        Ok(spent.next().map(|bound| Box::new(bound.spent(None))))
    }

    /// What is left of each budget.
    pub(crate) async fn left(&self, tenant: &TenantId, bounded: &[Bounded]) -> Result<Vec<SpentBudget>, StoreError> {
        let day = utc_day(Timestamp::now());
        self.know(tenant, bounded, day).await?;
        let state = self.lock();
        let all = bounded.iter().flat_map(|(subject, budget)| {
            bounds_of(*subject, budget, state.accounts.get(&(tenant.clone(), *subject)), day).collect::<Vec<_>>()
        });
        Ok(all.map(|bound| bound.spent(None)).collect())
    }

    fn change(&self, tenant: &TenantId, subjects: &[Subject], change: impl Fn(&mut Account)) {
        let mut state = self.lock();
        for subject in subjects {
            if let Some(account) = state.accounts.get_mut(&(tenant.clone(), *subject)) {
                account.touched = Instant::now();
                change(account);
            }
        }
    }
}

/// One bound of a budget, and how it stands.
struct Bound {
    owner: BudgetOwner,
    unit: BudgetUnit,
    period: BudgetPeriod,
    limit: u64,
    used: u64,
    reserved: u64,
    turns_at: Timestamp,
}

fn bounds_of(subject: Subject, budget: &Budget, account: Option<&Account>, day: Date) -> impl Iterator<Item = Bound> {
    let owner = match subject {
        Subject::Tenant => BudgetOwner::Tenant,
        Subject::Key(_) => BudgetOwner::Key,
        Subject::Agent(_) => BudgetOwner::Agent,
    };
    bounds(budget).map(move |(unit, period, limit)| Bound {
        owner,
        unit,
        period,
        limit,
        used: account.map_or(0, |account| account.used(period, day).of(unit)),
        reserved: account.map_or(0, |account| account.reserved.of(unit)),
        turns_at: match period {
            BudgetPeriod::Day => day.tomorrow(),
            BudgetPeriod::Month => day.last_of_month().tomorrow(),
        }
        .map_or(Timestamp::MAX, beginning_of),
    })
}

impl Bound {
    fn taken(&self) -> u64 {
        self.used.saturating_add(self.reserved)
    }

    fn spent(&self, wanted: Option<Amount>) -> SpentBudget {
        let text = |number| written(self.unit, number);
        SpentBudget {
            owner: self.owner,
            unit: self.unit,
            period: self.period,
            limit: text(self.limit),
            used: text(self.used),
            reserved: text(self.reserved),
            left: text(self.limit.saturating_sub(self.taken())),
            wanted: wanted.map(|wanted| text(wanted.of(self.unit))),
            turns_at: self.turns_at,
        }
    }
}

/// What is kept of budgets for a call. Dropped, it is given back.
#[must_use]
pub(crate) struct Reservation {
    accounts: Arc<Accounts>,
    tenant: TenantId,
    subjects: Vec<Subject>,
    amount: Amount,
}

impl Reservation {
    /// The call has ended, and has really used this.
    pub(crate) fn settle(self, used: Used) {
        let day = utc_day(Timestamp::now());
        self.accounts.change(&self.tenant, &self.subjects, |account| {
            let known = account.days.entry(day).or_default();
            *known = known.plus(used.into());
        });
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let amount = self.amount;
        self.accounts.change(&self.tenant, &self.subjects, |account| account.reserved = account.reserved.minus(amount));
    }
}

#[cfg(test)]
mod tests;
