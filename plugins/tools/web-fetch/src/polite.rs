//! Between two requests to one host some time passes. When the next one may go out is agreed through the plugin's state, which all
//! calls of a tenant share: each takes the next free moment and waits for it, if its own time allows. Two calls that look at the same
//! instant may take the same one; more can not be promised without a lock, and a server notices no difference.

use vivarium_sdk::http::{Response, Url};
use vivarium_sdk::tool::ToolError;

use crate::times::ms_until;
use crate::world::World;

/// Between two requests, where neither the site nor the operator says.
const DELAY_MS: u64 = 500;
/// Moments further ahead are from a clock that was set back since.
const FURTHEST_MS: u64 = 3600 * 1000;
/// What an operator may set.
const SETTING: &str = "min-delay-ms";

/// Waits for the next moment at which this host may be asked, and takes it.
///
/// # Errors
/// When that is after `deadline_ms`.
pub(crate) fn wait(
    world: &mut impl World,
    url: &Url,
    asked_for_ms: Option<u64>,
    deadline_ms: u64,
) -> Result<(), ToolError> {
    let host = url.host_str().unwrap_or_default();
    let set = world.setting(SETTING).and_then(|value| value.trim().parse().ok());
    let delay = asked_for_ms.unwrap_or(0).max(set.unwrap_or(DELAY_MS)).min(FURTHEST_MS);
    let now = world.now_ms();
    let moment = next(world, host, now);
    if moment > deadline_ms {
        let seconds = (moment - now).div_ceil(1000);
        return Err(ToolError::Unavailable(format!(
            "{host} wants to be asked less often: ask again in {seconds} s, or take another source"
        )));
    }
    if delay > 0 {
        world.set(&key(host), (moment + delay).to_be_bytes().to_vec());
    }
    if moment > now {
        world.sleep_ms(moment - now);
    }
    Ok(())
}

/// Notes that a host has asked for time: nobody of this tenant asks it before then. Gives how long that is.
pub(crate) fn hold_off(world: &mut impl World, response: &Response) -> Option<u64> {
    let now = world.now_ms();
    let asked_for = response.header("retry-after")?.trim();
    let wait = match asked_for.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1000),
        Err(_) => ms_until(response, asked_for, now)?,
    };
    let wait = wait.min(FURTHEST_MS);
    let host = response.url.host_str().unwrap_or_default();
    if next(world, host, now) < now + wait {
        world.set(&key(host), (now + wait).to_be_bytes().to_vec());
    }
    Some(wait)
}

fn next(world: &mut impl World, host: &str, now: u64) -> u64 {
    let kept = world.get(&key(host)).and_then(|bytes| bytes.try_into().ok()).map_or(0, u64::from_be_bytes);
    if kept > now + FURTHEST_MS { now } else { kept.max(now) }
}

fn key(host: &str) -> String {
    format!("h:{}", crate::world::short(host))
}
