//! Moments as HTTP writes them.

use std::time::{SystemTime, UNIX_EPOCH};

use vivarium_sdk::http::Response;

/// How many milliseconds there are until the moment that `value` names: a date in any of HTTP's three ways to write one, told by the
/// clock of the server, which may go otherwise than ours. None where it is no date; 0 where it is over.
pub(crate) fn ms_until(response: &Response, value: &str, now_ms: u64) -> Option<u64> {
    let moment = unix_ms(value)?;
    let now = response.header("date").and_then(unix_ms).unwrap_or(now_ms);
    Some(moment.saturating_sub(now))
}

fn unix_ms(date: &str) -> Option<u64> {
    let moment: SystemTime = httpdate::parse_http_date(date.trim()).ok()?;
    moment.duration_since(UNIX_EPOCH).ok().and_then(|since| u64::try_from(since.as_millis()).ok())
}
