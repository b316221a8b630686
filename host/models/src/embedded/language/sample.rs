//! Which token comes next: by chance among the likely ones, as the request's temperature has it.

use rand::Rng as _;

/// What is used where the request names no temperature: a small model does best close to its first choice.
pub(super) const TEMPERATURE: f32 = 0.2;
/// The likely tokens are those that together have this probability.
const NUCLEUS: f32 = 0.9;
/// A token that was said lately is this much less likely: small models fall into loops.
const REPETITION: f32 = 1.1;
/// What counts as lately, in tokens.
const LATELY: usize = 64;

/// The next token. `expected` is by token, minus infinity where a token may not come. None: none may.
pub(super) fn next(mut expected: Vec<f32>, temperature: f32, said: &[u32]) -> Option<u32> {
    let mut lately = said.get(said.len().saturating_sub(LATELY)..).unwrap_or_default().to_vec();
    lately.sort_unstable();
    lately.dedup();
    for token in lately {
        if let Some(one) = expected.get_mut(token as usize) {
            *one = if *one > 0.0 { *one / REPETITION } else { *one * REPETITION };
        }
    }
    let mut likely: Vec<(u32, f32)> = (0..).zip(expected).filter(|(_, one)| one.is_finite()).collect();
    let best = likely.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1))?;
    if temperature <= 0.0 {
        return Some(best.0);
    }
    for (_, one) in &mut likely {
        *one = ((*one - best.1) / temperature).exp();
    }
    likely.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
    let total: f32 = likely.iter().map(|(_, one)| one).sum();
    let mut sum = 0.0;
    likely.retain(|(_, one)| {
        let is_within = sum < NUCLEUS * total;
        sum += one;
        is_within
    });
    let mut left = rand::rng().random::<f32>() * likely.iter().map(|(_, one)| one).sum::<f32>();
    let chosen = likely.iter().find(|(_, one)| {
        left -= one;
        left <= 0.0
    });
    Some(chosen.map_or(best.0, |(token, _)| *token))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temperature_of_zero_takes_the_likeliest() {
        assert_eq!(next(vec![0.1, 3.0, f32::NEG_INFINITY, 2.9], 0.0, &[]), Some(1));
        assert_eq!(next(vec![0.1, 3.0, 2.9], 0.0, &[1]), Some(2), "what was just said is less likely");
    }

    #[test]
    fn what_may_not_come_does_not() {
        assert_eq!(next(vec![f32::NEG_INFINITY; 3], 1.0, &[]), None);
        for _ in 0..100 {
            assert_eq!(next(vec![f32::NEG_INFINITY, 0.0, f32::NEG_INFINITY], 2.0, &[1]), Some(1));
        }
    }

    #[test]
    fn unlikely_tokens_do_not_come() {
        let mut expected = vec![0.0; 1000];
        expected[7] = 12.0;
        assert!((0..200).all(|_| next(expected.clone(), 1.0, &[]) == Some(7)));
    }
}
