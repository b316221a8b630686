//! How much of a model's context the passages may take, and whose they are: no cycle takes what others need.

/// Three bytes a token, cautiously, and half of the tokens for passages.
const BYTES_PER_TOKEN_HALVED: (usize, usize) = (3, 2);
/// However large a context is, more passages do not help.
const MAX_BYTES: usize = 96 * 1024;
/// Of a model that does not say how much it reads.
const UNKNOWN_BYTES: usize = 48 * 1024;

/// The bytes that the passages of one question to a model of `context_tokens` (0: unknown) may take together.
#[must_use]
pub fn of(context_tokens: u32) -> usize {
    let (bytes, of) = BYTES_PER_TOKEN_HALVED;
    match context_tokens as usize {
        0 => UNKNOWN_BYTES,
        tokens => (tokens.saturating_mul(bytes) / of).min(MAX_BYTES),
    }
}

/// Shares out `room` among those that want so much each: nobody gets more than it wants, and whoever gets less than that gets no less
/// than anybody else.
#[must_use]
pub fn shares(wanted: &[usize], room: usize) -> Vec<usize> {
    let mut order: Vec<(usize, usize)> = wanted.iter().copied().enumerate().collect();
    order.sort_by_key(|(_, wanted)| *wanted);
    let mut shares = vec![0; wanted.len()];
    let mut left = room;
    for (served, (at, wanted)) in order.iter().enumerate() {
        let share = (*wanted).min(left / (order.len() - served));
        left -= share;
        if let Some(place) = shares.get_mut(*at) {
            *place = share;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_one_does_not_need_the_others_get() {
        assert_eq!(shares(&[10, 100, 100], 110), [10, 50, 50]);
        assert_eq!(shares(&[100, 1], 10), [9, 1]);
        assert!(shares(&[], 10).is_empty());
    }

    #[test]
    fn a_small_model_gets_less_and_a_large_one_no_more_than_helps() {
        assert_eq!((of(8_000), of(0), of(1_000_000)), (12_000, UNKNOWN_BYTES, MAX_BYTES));
    }

    proptest! {
        #[test]
        fn all_is_given_and_nobody_starves(wanted in prop::collection::vec(0_usize..1000, 1..9), room in 0_usize..4000) {
            let given = shares(&wanted, room);
            let sum: usize = given.iter().sum();
            prop_assert!(sum <= room);
            prop_assert!(sum + wanted.len() > room || given == wanted, "{given:?} of {wanted:?}");
            let fair = room / wanted.len();
            for (given, wanted) in given.iter().zip(&wanted) {
                prop_assert!(given <= wanted && *given >= fair.min(*wanted));
            }
        }
    }
}
