//! The time, and waiting for it. What a guest waits counts against its call's time.

use crate::bindings::clock::wasi::clocks::{monotonic_clock, wall_clock};

/// Milliseconds since 1970 by the host's clock, which somebody may set.
#[must_use]
pub fn now_ms() -> u64 {
    let now = wall_clock::now();
    now.seconds.saturating_mul(1000).saturating_add(u64::from(now.nanoseconds / 1_000_000))
}

/// Waits.
pub fn sleep_ms(ms: u64) {
    monotonic_clock::subscribe_duration(ms.saturating_mul(1_000_000)).block();
}
