//! What a tenant may do: all of its keys share an allowance of requests and tokens, and a number of open streams.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use vivarium_domain::Tenant;

use super::{Bucket, RateLimit};
use crate::error::{ApiError, Kind};

/// How many times what one key may do in a minute all keys of a tenant may do together, where nobody says.
const KEYS_WORTH: u32 = 4;

/// What a tenant may do, as its tier has it and it itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Allowed {
    pub(super) requests_per_minute: NonZeroU32,
    pub(super) tokens_per_minute: NonZeroU32,
    /// None: as many as the host bears.
    pub(super) open_streams: Option<u32>,
    /// None: as much as the disk takes.
    pub(crate) stored_bytes: Option<u64>,
}

impl Allowed {
    pub(crate) fn of(tenant: &Tenant, tier: &RateLimit) -> Self {
        let own = tenant.limits;
        let times = NonZeroU32::MIN.saturating_add(KEYS_WORTH - 1);
        let worth = |of_key: NonZeroU32| of_key.saturating_mul(times);
        let requests = own.requests_per_minute.or(tier.tenant_requests_per_minute);
        let tokens = own.tokens_per_minute.or(tier.tenant_tokens_per_minute);
        Self {
            requests_per_minute: requests.unwrap_or_else(|| worth(tier.requests_per_minute)),
            tokens_per_minute: tokens.unwrap_or_else(|| worth(tier.tokens_per_minute)),
            open_streams: own.open_streams.or(tier.open_streams),
            stored_bytes: own.stored_bytes.or(tier.stored_bytes),
        }
    }
}

/// What a tenant has used of that.
#[derive(Debug)]
pub(crate) struct TenantUse {
    pub(crate) allowed: Allowed,
    pub(super) start: Instant,
    pub(super) requests: Bucket,
    pub(super) tokens: Bucket,
    /// Shared with what was known of the tenant before its limits were changed.
    streams: Arc<AtomicU64>,
}

impl TenantUse {
    /// `before`: what was known of the tenant with other limits; its open streams are still open.
    pub(crate) fn new(allowed: Allowed, before: Option<&Self>) -> Self {
        Self {
            allowed,
            start: Instant::now(),
            requests: Bucket::new(allowed.requests_per_minute),
            tokens: Bucket::new(allowed.tokens_per_minute),
            streams: before.map_or_else(Arc::default, |before| Arc::clone(&before.streams)),
        }
    }

    /// A place for an answer that is streamed.
    ///
    /// # Errors
    /// When the tenant has as many open as it may.
    pub(crate) fn open_stream(&self) -> Result<StreamPlace, ApiError> {
        let most = self.allowed.open_streams.map_or(u64::MAX, u64::from);
        let one_more = |open: u64| (open < most).then(|| open + 1);
        match self.streams.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) {
            Ok(_) => Ok(StreamPlace(Arc::clone(&self.streams))),
            Err(_) => {
                let message = format!(
                    "this tenant has {most} streams open, as many as it may; close one, or ask without a stream"
                );
                Err(ApiError::new(Kind::TenantBusy, message))
            }
        }
    }

    /// Nothing is lost with it.
    pub(crate) fn is_idle(&self) -> bool {
        let now = super::nanos_since(self.start);
        let is_full = |bucket: &Bucket| bucket.level(now).full_in.is_zero();
        is_full(&self.requests) && is_full(&self.tokens) && self.streams.load(Ordering::Relaxed) == 0
    }
}

/// The place of an open stream. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct StreamPlace(Arc<AtomicU64>);

impl Drop for StreamPlace {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
