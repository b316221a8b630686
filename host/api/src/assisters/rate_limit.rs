//! `GET /v1/rate-limit`: what is left of this key's requests, without taking one.

use axum::Json;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::gate::CallerExt;

/// What is left of a key's requests.
#[derive(Serialize, ToSchema)]
#[schema(as = RateLimit)]
pub(super) struct RateLimitView {
    /// How many it may make in a minute.
    #[schema(example = 60)]
    limit: u32,
    /// How many are left.
    #[schema(example = 58)]
    remaining: u32,
    /// When all of them are there again.
    reset: Timestamp,
}

/// Rate limit
///
/// What is left of this key's requests. Asking is not counted.
#[utoipa::path(
    get, path = "/v1/rate-limit", operation_id = "getRateLimit", tag = "Assisters",
    responses((status = 200, description = "What is left.", body = RateLimitView))
)]
pub(super) async fn rate_limit(CallerExt { 0: caller }: CallerExt) -> Json<RateLimitView> {
    let level = caller.limits.requests();
    let full_in = SignedDuration::try_from(level.full_in).unwrap_or(SignedDuration::ZERO);
    let reset = Timestamp::now().saturating_add(full_in).unwrap_or(Timestamp::MAX);
    Json(RateLimitView { limit: level.limit, remaining: level.remaining, reset })
}
