//! `GET /v1/rate-limit`: what is left of this key's requests, without taking one.

use axum::Json;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::gate::CallerExt;

#[derive(Serialize)]
pub(super) struct RateLimitView {
    limit: u32,
    remaining: u32,
    /// When all of them are there again.
    reset: Timestamp,
}

/// Tells what is left. Not counted.
pub(super) async fn rate_limit(CallerExt { 0: caller }: CallerExt) -> Json<RateLimitView> {
    let level = caller.limits.requests();
    let full_in = SignedDuration::try_from(level.full_in).unwrap_or(SignedDuration::ZERO);
    let reset = Timestamp::now().saturating_add(full_in).unwrap_or(Timestamp::MAX);
    Json(RateLimitView { limit: level.limit, remaining: level.remaining, reset })
}
