//! How much a key may do in a minute: requests that start runs (RPM), its runs' tokens (TPM), and, in the agent-hub dialect,
//! requests of any kind.
//!
//! All are the generic cell rate algorithm in one atomic number, the moment at which the whole allowance is there
//! again. That is written out here, in place of a library, because tokens are charged when a run *ends*: the charge may
//! go beyond what is left (the debt is then waited off), and every answer, a refused one too, tells what is left
//! without taking any. What all keys of a tenant may do together is a second allowance beside each key's own: both must have room,
//! and the headers tell of the tighter one.

pub(crate) mod tenant;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vivarium_domain::Tier;

use crate::error::{ApiError, Dialect};
use tenant::TenantUse;

const MINUTE_NS: u64 = 60_000_000_000;

/// What every key may at least do in the agent-hub dialect, in which each request counts: the document's number.
const AGENT_HUB_REQUESTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// What one key of a tier may do in a minute, and what a tenant of it may do with all its keys together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests of a key that start runs.
    pub requests_per_minute: NonZeroU32,
    /// Tokens of its runs' model calls.
    pub tokens_per_minute: NonZeroU32,
    /// The same of all keys of a tenant together; none: four times as many as a key's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_requests_per_minute: Option<NonZeroU32>,
    /// The same of all keys of a tenant together; none: four times as many as a key's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_tokens_per_minute: Option<NonZeroU32>,
    /// A tenant's runs that are under way or wait for their turn; none: its share of the host's places.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrent_runs: Option<u32>,
    /// A tenant's answers that are streamed at one time; none: as many as the host bears.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_streams: Option<u32>,
    /// Bytes of a tenant's files, documents, components, attachments and sources; none: as many as the disk takes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_bytes: Option<u64>,
    /// A tenant's own plugins; none: as many as the host lets every tenant have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plugins: Option<u32>,
}

impl RateLimit {
    /// So many requests and tokens of a key, and nothing else said.
    #[must_use]
    pub fn of_key(requests_per_minute: NonZeroU32, tokens_per_minute: NonZeroU32) -> Self {
        Self {
            requests_per_minute,
            tokens_per_minute,
            tenant_requests_per_minute: None,
            tenant_tokens_per_minute: None,
            concurrent_runs: None,
            open_streams: None,
            stored_bytes: None,
            plugins: None,
        }
    }

    /// What is not said as in `other`.
    fn or(self, other: Self) -> Self {
        Self {
            tenant_requests_per_minute: self.tenant_requests_per_minute.or(other.tenant_requests_per_minute),
            tenant_tokens_per_minute: self.tenant_tokens_per_minute.or(other.tenant_tokens_per_minute),
            concurrent_runs: self.concurrent_runs.or(other.concurrent_runs),
            open_streams: self.open_streams.or(other.open_streams),
            stored_bytes: self.stored_bytes.or(other.stored_bytes),
            plugins: self.plugins.or(other.plugins),
            ..self
        }
    }
}

/// The limits of the keys of each tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TierLimits {
    /// Of the free tier.
    pub free: RateLimit,
    /// Of the pro tier.
    pub pro: RateLimit,
    /// Of the max tier.
    pub max: RateLimit,
    /// Of the enterprise tier, which is also the operator's own.
    pub enterprise: RateLimit,
}

impl Default for TierLimits {
    fn default() -> Self {
        let number = |number: u32| NonZeroU32::MIN.saturating_add(number - 1);
        let limit = |requests: u32, tokens: u32| RateLimit::of_key(number(requests), number(tokens));
        let of_tenant = |limit: RateLimit, runs: u32, streams: u32, gib: u64| RateLimit {
            concurrent_runs: Some(runs),
            open_streams: Some(streams),
            stored_bytes: Some(gib << 30),
            ..limit
        };
        Self {
            free: of_tenant(limit(10, 40_000), 10, 20, 1),
            pro: of_tenant(limit(60, 200_000), 100, 200, 10),
            max: of_tenant(limit(600, 2_000_000), 1_000, 2_000, 100),
            // Beyond what one host does: there to count, not to stop.
            enterprise: limit(1_000_000, 1_000_000_000),
        }
    }
}

impl TierLimits {
    /// What is not said of a tier as it is where nobody says anything.
    #[must_use]
    pub fn or_default(self) -> Self {
        let default = Self::default();
        Self {
            free: self.free.or(default.free),
            pro: self.pro.or(default.pro),
            max: self.max.or(default.max),
            enterprise: self.enterprise.or(default.enterprise),
        }
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = (Tier, RateLimit)> {
        [Tier::Free, Tier::Pro, Tier::Max, Tier::Enterprise].map(|tier| (tier, self.of(tier))).into_iter()
    }

    /// The limits of a tier.
    #[must_use]
    pub fn of(&self, tier: Tier) -> RateLimit {
        match tier {
            Tier::Free => self.free,
            Tier::Pro => self.pro,
            Tier::Max => self.max,
            Tier::Enterprise => self.enterprise,
        }
    }
}

/// What a bucket holds at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Level {
    pub(crate) limit: u32,
    pub(crate) remaining: u32,
    /// Until the whole allowance is there again.
    pub(crate) full_in: Duration,
}

/// An allowance per minute that comes back evenly.
#[derive(Debug)]
struct Bucket {
    limit: NonZeroU32,
    /// When it is full again, in nanoseconds since `start`.
    full_at: AtomicU64,
}

impl Bucket {
    fn new(limit: NonZeroU32) -> Self {
        Self { limit, full_at: AtomicU64::new(0) }
    }

    fn cost(&self, amount: u64) -> u64 {
        (MINUTE_NS / u64::from(self.limit.get())).max(1).saturating_mul(amount)
    }

    /// The most that may be taken, in nanoseconds: just under or exactly a minute.
    fn capacity(&self) -> u64 {
        self.cost(self.limit.get().into())
    }

    fn level(&self, now: u64) -> Level {
        let used = self.full_at.load(Ordering::Relaxed).saturating_sub(now);
        let remaining = self.capacity().saturating_sub(used) / self.cost(1);
        Level {
            limit: self.limit.get(),
            remaining: u32::try_from(remaining).unwrap_or(u32::MAX),
            full_in: Duration::from_nanos(used),
        }
    }

    /// Takes one, if there is one; else says how long until there is.
    fn take(&self, now: u64) -> Result<(), Duration> {
        let taken = |full_at: u64| full_at.max(now).saturating_add(self.cost(1));
        let fits = |full_at: u64| taken(full_at) <= now.saturating_add(self.capacity());
        let update = |full_at: u64| fits(full_at).then(|| taken(full_at));
        match self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, update) {
            Ok(_) => Ok(()),
            Err(full_at) => {
                Err(Duration::from_nanos(taken(full_at).saturating_sub(now.saturating_add(self.capacity()))))
            }
        }
    }

    /// Gives one back that was taken.
    fn give_back(&self) {
        let given = |full_at: u64| Some(full_at.saturating_sub(self.cost(1)));
        let _always_some = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, given);
    }

    /// Takes so many, there or not.
    fn charge(&self, now: u64, amount: u64) {
        let charged = |full_at: u64| Some(full_at.max(now).saturating_add(self.cost(amount)));
        let _always_some = self.full_at.fetch_update(Ordering::Relaxed, Ordering::Relaxed, charged);
    }
}

/// One key's allowances.
#[derive(Debug)]
pub(crate) struct KeyLimits {
    start: Instant,
    requests: Bucket,
    tokens: Bucket,
    agent_hub: Bucket,
    of_tenant: Arc<TenantUse>,
}

fn nanos_since(start: Instant) -> u64 {
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// The one that lets less through.
fn tighter(of_key: Level, of_tenant: Level) -> Level {
    if of_tenant.remaining < of_key.remaining { of_tenant } else { of_key }
}

impl KeyLimits {
    /// `agent_hub`: how many requests it may make in the agent-hub dialect; none: as many as may start runs, but 100 in any
    /// case.
    pub(crate) fn new(limit: RateLimit, agent_hub: Option<NonZeroU32>, of_tenant: Arc<TenantUse>) -> Self {
        Self {
            start: Instant::now(),
            requests: Bucket::new(limit.requests_per_minute),
            tokens: Bucket::new(limit.tokens_per_minute),
            agent_hub: Bucket::new(agent_hub.unwrap_or(limit.requests_per_minute.max(AGENT_HUB_REQUESTS))),
            of_tenant,
        }
    }

    /// What its tenant has used.
    pub(crate) fn of_tenant(&self) -> &Arc<TenantUse> {
        &self.of_tenant
    }

    fn now(&self) -> u64 {
        nanos_since(self.start)
    }

    /// Takes what a request costs whatever it asks for, where the dialect counts them all.
    pub(crate) fn enter(&self, dialect: Dialect) -> Result<(), ApiError> {
        if !dialect.counts_every_request() {
            return Ok(());
        }
        let limit = self.agent_hub.limit.get();
        self.agent_hub.take(self.now()).map_err(|wait| refused("key", "requests", limit, wait))
    }

    /// Takes one request that starts a run, if there is one and the key's tokens are not overspent.
    pub(crate) fn take_request(&self) -> Result<(), ApiError> {
        let (now, tenant) = (self.now(), &self.of_tenant);
        let tenants_now = nanos_since(tenant.start);
        for (whose, tokens, now) in [("key", &self.tokens, now), ("tenant", &tenant.tokens, tenants_now)] {
            let level = tokens.level(now);
            if level.remaining == 0 {
                let wait = level.full_in.saturating_sub(Duration::from_nanos(tokens.capacity()));
                return Err(refused(whose, "tokens", level.limit, wait));
            }
        }
        self.requests.take(now).map_err(|wait| refused("key", "requests", self.requests.limit.get(), wait))?;
        tenant.requests.take(tenants_now).map_err(|wait| {
            self.requests.give_back();
            refused("tenant", "requests", tenant.requests.limit.get(), wait)
        })
    }

    /// Charges an ended run's tokens.
    pub(crate) fn charge_tokens(&self, tokens: u64) {
        self.tokens.charge(self.now(), tokens);
        self.of_tenant.tokens.charge(nanos_since(self.of_tenant.start), tokens);
    }

    /// What is left of the requests: of the key's or of the tenant's, whichever is less.
    pub(crate) fn requests(&self) -> Level {
        let tenant = &self.of_tenant;
        tighter(self.requests.level(self.now()), tenant.requests.level(nanos_since(tenant.start)))
    }

    /// What is left of a key's requests of any kind; of its tenant's runs, where none of these is left.
    fn agent_hub(&self) -> Level {
        let tenant = self.of_tenant.requests.level(nanos_since(self.of_tenant.start));
        if tenant.remaining == 0 { tenant } else { self.agent_hub.level(self.now()) }
    }

    /// What is left of the tokens, in the same way.
    fn tokens(&self) -> Level {
        let tenant = &self.of_tenant;
        tighter(self.tokens.level(self.now()), tenant.tokens.level(nanos_since(tenant.start)))
    }

    /// Whether nothing is used: the record says nothing that a new one would not.
    pub(crate) fn is_full(&self) -> bool {
        let now = self.now();
        [&self.requests, &self.tokens, &self.agent_hub].iter().all(|bucket| bucket.level(now).full_in.is_zero())
    }

    /// Tells the client what is left, in the dialect's headers.
    pub(crate) fn tell<B>(&self, response: &mut Response<B>, dialect: Dialect) {
        match dialect {
            Dialect::AgentHub => tell(response, PLAIN, self.agent_hub()),
            Dialect::Assisters | Dialect::Make | Dialect::Native => {
                tell(response, RPM, self.requests());
                tell(response, TPM, self.tokens());
            }
        }
    }
}

fn refused(whose: &str, what: &str, limit: u32, wait: Duration) -> ApiError {
    let seconds = ceil_seconds(wait).max(1);
    ApiError::rate_limited(
        format!("this {whose}'s {limit} {what} a minute are used up; try again in {seconds} s"),
        seconds,
    )
}

fn ceil_seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

const RPM: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-rpm"),
    HeaderName::from_static("x-ratelimit-remaining-rpm"),
    HeaderName::from_static("x-ratelimit-reset-rpm"),
];
const TPM: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit-tpm"),
    HeaderName::from_static("x-ratelimit-remaining-tpm"),
    HeaderName::from_static("x-ratelimit-reset-tpm"),
];
/// The agent-hub dialect's.
const PLAIN: [HeaderName; 3] = [
    HeaderName::from_static("x-ratelimit-limit"),
    HeaderName::from_static("x-ratelimit-remaining"),
    HeaderName::from_static("x-ratelimit-reset"),
];

/// A client without a valid key may do nothing, and is told so in the same headers.
pub(crate) fn tell_nothing<B>(response: &mut Response<B>, dialect: Dialect) {
    let nothing = Level { limit: 0, remaining: 0, full_in: Duration::ZERO };
    match dialect {
        Dialect::AgentHub => tell(response, PLAIN, nothing),
        Dialect::Assisters | Dialect::Make | Dialect::Native => {
            tell(response, RPM, nothing);
            tell(response, TPM, nothing);
        }
    }
}

fn tell<B>(response: &mut Response<B>, [limit, remaining, reset]: [HeaderName; 3], level: Level) {
    let reset_at = Timestamp::now().as_second().saturating_add_unsigned(ceil_seconds(level.full_in));
    let headers = response.headers_mut();
    headers.insert(limit, HeaderValue::from(level.limit));
    headers.insert(remaining, HeaderValue::from(level.remaining));
    headers.insert(reset, HeaderValue::from(reset_at));
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND_NS: u64 = 1_000_000_000;

    fn bucket(limit: u32) -> Bucket {
        Bucket::new(NonZeroU32::new(limit).unwrap())
    }

    fn of_tenant(limit: RateLimit) -> Arc<TenantUse> {
        let tenant = vivarium_domain::Tenant::new("acme".parse().unwrap(), Tier::Max, Timestamp::UNIX_EPOCH);
        Arc::new(TenantUse::new(tenant::Allowed::of(&tenant, &limit), None))
    }

    fn key_limits(limit: RateLimit, agent_hub: Option<NonZeroU32>) -> KeyLimits {
        KeyLimits::new(limit, agent_hub, of_tenant(limit))
    }

    #[test]
    fn all_keys_of_a_tenant_share_its_allowance_and_each_is_told_of_the_tighter_one() {
        let limit = |n| NonZeroU32::new(n).unwrap();
        let of_key =
            RateLimit { tenant_requests_per_minute: Some(limit(15)), ..RateLimit::of_key(limit(10), limit(1000)) };
        let shared = of_tenant(of_key);
        let [first, second] = [0; 2].map(|_| KeyLimits::new(of_key, None, Arc::clone(&shared)));
        for _ in 0..10 {
            first.take_request().unwrap();
        }
        assert_eq!(
            first.take_request().unwrap_err().message().split(';').next().unwrap(),
            "this key's 10 requests a minute are used up"
        );
        assert_eq!((second.requests().limit, second.requests().remaining), (15, 5));
        for _ in 0..5 {
            second.take_request().unwrap();
        }
        let refused = second.take_request().unwrap_err();
        assert_eq!(refused.message().split(';').next().unwrap(), "this tenant's 15 requests a minute are used up");
        assert_eq!(second.requests.level(second.now()).remaining, 5, "what the tenant refused, the key has still");
        // Four keys' worth of tokens.
        first.charge_tokens(4000);
        assert_eq!(
            second.take_request().unwrap_err().message().split(';').next().unwrap(),
            "this tenant's 4000 tokens a minute are used up"
        );
    }

    #[test]
    fn a_tenant_has_so_many_streams_open_and_its_own_limits_go_before_its_tiers() {
        let limit = |n| NonZeroU32::new(n).unwrap();
        let tier = RateLimit { open_streams: Some(1), ..RateLimit::of_key(limit(10), limit(1000)) };
        let shared = of_tenant(tier);
        let place = shared.open_stream().unwrap();
        assert_eq!(
            shared.open_stream().unwrap_err().message(),
            "this tenant has 1 streams open, as many as it may; close one, or ask without a stream"
        );
        let mut tenant = vivarium_domain::Tenant::new("acme".parse().unwrap(), Tier::Max, Timestamp::UNIX_EPOCH);
        tenant.limits.open_streams = Some(2);
        let changed = TenantUse::new(tenant::Allowed::of(&tenant, &tier), Some(&shared));
        let second = changed.open_stream().unwrap();
        assert!(changed.open_stream().is_err(), "the one that was open before counts");
        drop((place, second));
        assert!(changed.is_idle());
    }

    #[test]
    fn a_minutes_allowance_can_be_spent_at_once_and_not_one_more() {
        let bucket = bucket(60);
        for left in (0..60).rev() {
            assert_eq!(bucket.take(0), Ok(()));
            assert_eq!(bucket.level(0).remaining, left);
        }
        assert_eq!(bucket.take(0), Err(Duration::from_secs(1)));
        assert_eq!(bucket.take(SECOND_NS), Ok(()));
        assert_eq!(bucket.take(SECOND_NS), Err(Duration::from_secs(1)));
    }

    #[test]
    fn a_charge_beyond_what_is_left_is_waited_off() {
        let bucket = bucket(60);
        bucket.charge(0, 90);
        assert_eq!(bucket.level(0), Level { limit: 60, remaining: 0, full_in: Duration::from_secs(90) });
        assert_eq!(bucket.level(30 * SECOND_NS).remaining, 0);
        assert_eq!(bucket.level(31 * SECOND_NS).remaining, 1);
        assert_eq!(bucket.level(90 * SECOND_NS).remaining, 60);
    }

    #[test]
    fn a_key_without_tokens_is_told_when_to_come_back() {
        let limit = |n| NonZeroU32::new(n).unwrap();
        let limits = key_limits(RateLimit::of_key(limit(10), limit(60_000)), None);
        assert!(limits.take_request().is_ok());
        limits.charge_tokens(65_000);
        let refused = limits.take_request().unwrap_err();
        assert_eq!(refused.code(), "rate_limit_exceeded");
        assert_eq!(refused.message(), "this key's 60000 tokens a minute are used up; try again in 5 s");
    }

    #[test]
    fn the_agent_hub_counts_every_request_and_lets_every_key_make_a_hundred() {
        let limit = |n| NonZeroU32::new(n).unwrap();
        let of_tier = |n| RateLimit::of_key(limit(n), limit(1));
        for (of_tier, set, expected) in
            [(of_tier(10), None, 100), (of_tier(600), None, 600), (of_tier(600), Some(limit(2)), 2)]
        {
            let limits = key_limits(of_tier, set);
            let taken = (0..1000).take_while(|_| limits.enter(Dialect::AgentHub).is_ok()).count();
            // What comes back meanwhile is none of it.
            assert!((expected..expected + 10).contains(&taken), "{taken}");
            assert!(limits.enter(Dialect::Native).is_ok());
        }
    }

    proptest! {
        #[test]
        fn no_minute_holds_more_than_two_allowances(limit in 1_u32..200, steps in proptest::collection::vec(0_u64..2 * SECOND_NS, 1..400)) {
            // A full bucket and what comes back during the minute: the algorithm's known bound.
            let bucket = bucket(limit);
            let (mut now, mut taken) = (0, 0_u32);
            for step in steps {
                now += step;
                if now > MINUTE_NS { break }
                taken += u32::from(bucket.take(now).is_ok());
            }
            prop_assert!(taken <= 2 * limit);
        }
    }
}
