//! How long to wait between attempts.

use std::time::Duration;

use vivarium_domain::Timestamp;

/// The waits after the first attempt, for a first one of 5 s; after the last there is no further attempt. Together some eight
/// hours: a server that comes back the same day is told.
const WAITS_SECONDS: [u64; 6] = [5, 30, 120, 600, 3600, 6 * 3600];

/// When to try again after so many attempts; none: not at all. Waits are a fifth shorter or longer, so that what failed
/// together does not come back together.
pub(crate) fn next_attempt(attempts: usize, first: Duration, now: Timestamp) -> Option<Timestamp> {
    let jitter = rand::random_range(0.8..1.2);
    let wait = wait(attempts, first)?.mul_f64(jitter);
    now.checked_add(wait).ok()
}

fn wait(attempts: usize, first: Duration) -> Option<Duration> {
    let seconds = WAITS_SECONDS.get(attempts.checked_sub(1)?)?;
    // A host with another first wait has all others in proportion.
    let factor = u32::try_from(seconds / 5).ok()?;
    first.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_end() {
        let waits: Vec<_> = (1..).map_while(|attempts| wait(attempts, Duration::from_secs(5))).collect();
        assert_eq!(waits.iter().map(Duration::as_secs).collect::<Vec<_>>(), WAITS_SECONDS);
        assert_eq!(wait(1, Duration::from_millis(100)), Some(Duration::from_millis(100)));
    }

    #[test]
    fn a_wait_is_a_fifth_shorter_or_longer_at_most() {
        let now = Timestamp::now();
        for _ in 0..1000 {
            let waited = next_attempt(2, Duration::from_secs(5), now).unwrap().duration_since(now).as_millis();
            assert!((24_000..=36_000).contains(&waited), "{waited}");
        }
        assert_eq!(next_attempt(7, Duration::from_secs(5), now), None);
    }
}
