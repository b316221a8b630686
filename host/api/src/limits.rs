//! How much a key may do in a minute: requests that start runs (RPM), its runs' tokens (TPM), and, in the agent-hub dialect,
//! requests of any kind.
//!
//! All are the generic cell rate algorithm in one atomic number, the moment at which the whole allowance is there
//! again. That is written out here, in place of a library, because tokens are charged when a run *ends*: the charge may
//! go beyond what is left (the debt is then waited off), and every answer, a refused one too, tells what is left
//! without taking any.

use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::http::{HeaderName, HeaderValue, Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use vivarium_domain::Tier;

use crate::error::{ApiError, Dialect};

const MINUTE_NS: u64 = 60_000_000_000;

/// What every key may at least do in the agent-hub dialect, in which each request counts: the document's number.
const AGENT_HUB_REQUESTS: NonZeroU32 = NonZeroU32::MIN.saturating_add(99);

/// What one key may do in a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimit {
    /// Requests that start runs.
    pub requests_per_minute: NonZeroU32,
    /// Tokens of its runs' model calls.
    pub tokens_per_minute: NonZeroU32,
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
        let limit = |requests: u32, tokens: u32| RateLimit {
            requests_per_minute: NonZeroU32::MIN.saturating_add(requests - 1),
            tokens_per_minute: NonZeroU32::MIN.saturating_add(tokens - 1),
        };
        Self {
            free: limit(10, 40_000),
            pro: limit(60, 200_000),
            max: limit(600, 2_000_000),
            // Beyond what one host does: there to count, not to stop.
            enterprise: limit(1_000_000, 1_000_000_000),
        }
    }
}

impl TierLimits {
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
}

impl KeyLimits {
    /// `agent_hub`: how many requests it may make in the agent-hub dialect; none: as many as may start runs, but 100 in any
    /// case.
    pub(crate) fn new(limit: RateLimit, agent_hub: Option<NonZeroU32>) -> Self {
        Self {
            start: Instant::now(),
            requests: Bucket::new(limit.requests_per_minute),
            tokens: Bucket::new(limit.tokens_per_minute),
            agent_hub: Bucket::new(agent_hub.unwrap_or(limit.requests_per_minute.max(AGENT_HUB_REQUESTS))),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    /// Takes what a request costs whatever it asks for, where the dialect counts them all.
    pub(crate) fn enter(&self, dialect: Dialect) -> Result<(), ApiError> {
        if !dialect.counts_every_request() {
            return Ok(());
        }
        let limit = self.agent_hub.limit.get();
        self.agent_hub.take(self.now()).map_err(|wait| refused("requests", limit, wait))
    }

    /// Takes one request that starts a run, if there is one and the key's tokens are not overspent.
    pub(crate) fn take_request(&self) -> Result<(), ApiError> {
        let now = self.now();
        let tokens = self.tokens.level(now);
        if tokens.remaining == 0 {
            let wait = tokens.full_in.saturating_sub(Duration::from_nanos(self.tokens.capacity()));
            return Err(refused("tokens", tokens.limit, wait));
        }
        self.requests.take(now).map_err(|wait| refused("requests", self.requests.limit.get(), wait))
    }

    /// Charges an ended run's tokens.
    pub(crate) fn charge_tokens(&self, tokens: u64) {
        self.tokens.charge(self.now(), tokens);
    }

    /// What is left of the requests.
    pub(crate) fn requests(&self) -> Level {
        self.requests.level(self.now())
    }

    /// Whether nothing is used: the record says nothing that a new one would not.
    pub(crate) fn is_full(&self) -> bool {
        let now = self.now();
        [&self.requests, &self.tokens, &self.agent_hub].iter().all(|bucket| bucket.level(now).full_in.is_zero())
    }

    /// Tells the client what is left, in the dialect's headers.
    pub(crate) fn tell<B>(&self, response: &mut Response<B>, dialect: Dialect) {
        let now = self.now();
        match dialect {
            Dialect::AgentHub => tell(response, PLAIN, self.agent_hub.level(now)),
            Dialect::Assisters | Dialect::Make | Dialect::Native => {
                tell(response, RPM, self.requests.level(now));
                tell(response, TPM, self.tokens.level(now));
            }
        }
    }
}

fn refused(what: &str, limit: u32, wait: Duration) -> ApiError {
    let seconds = ceil_seconds(wait).max(1);
    ApiError::rate_limited(format!("this key's {limit} {what} a minute are used up; try again in {seconds} s"), seconds)
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
        let limits =
            KeyLimits::new(RateLimit { requests_per_minute: limit(10), tokens_per_minute: limit(60_000) }, None);
        assert!(limits.take_request().is_ok());
        limits.charge_tokens(65_000);
        let refused = limits.take_request().unwrap_err();
        assert_eq!(refused.code(), "rate_limit_exceeded");
        assert_eq!(refused.message(), "this key's 60000 tokens a minute are used up; try again in 5 s");
    }

    #[test]
    fn the_agent_hub_counts_every_request_and_lets_every_key_make_a_hundred() {
        let limit = |n| NonZeroU32::new(n).unwrap();
        let of_tier = |n| RateLimit { requests_per_minute: limit(n), tokens_per_minute: limit(1) };
        for (of_tier, set, expected) in
            [(of_tier(10), None, 100), (of_tier(600), None, 600), (of_tier(600), Some(limit(2)), 2)]
        {
            let limits = KeyLimits::new(of_tier, set);
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
