//! Which token comes next: by chance among the likely ones, as the request has it.

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use vivarium_domain::{Decimal, ModelOptions};

/// What is used where the request names no temperature: a small model does best close to its first choice.
const TEMPERATURE: f32 = 0.2;
/// Where the request does not say it: the likely tokens are those that together have this probability.
const NUCLEUS: f32 = 0.9;
/// What is so much less likely than the first choice is nobody's choice, and need not be put in order.
const NEGLIGIBLE: f32 = 1e-9;
/// A token that was said lately is this much less likely: small models fall into loops.
const REPETITION: f32 = 1.1;
/// What counts as lately, in tokens.
const LATELY: usize = 64;

/// Chooses tokens.
pub(super) struct Sampler {
    temperature: f32,
    nucleus: f32,
    chance: StdRng,
}

impl Sampler {
    /// As the request has it, and the options where it says nothing.
    pub(super) fn new(temperature: Option<f32>, options: &ModelOptions) -> Self {
        let temperature = temperature.or(options.temperature.map(Decimal::as_f32)).unwrap_or(TEMPERATURE);
        let nucleus = options.top_p.map_or(NUCLEUS, Decimal::as_f32);
        let chance = match options.seed {
            Some(seed) => StdRng::seed_from_u64(seed.into()),
            None => StdRng::from_rng(&mut rand::rng()),
        };
        Self { temperature, nucleus, chance }
    }

    /// The next token. `expected` is by token, minus infinity where a token may not come. None: none may.
    pub(super) fn next(&mut self, mut expected: Vec<f32>, said: &[u32]) -> Option<u32> {
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
        if self.temperature <= 0.0 {
            return Some(best.0);
        }
        for (_, one) in &mut likely {
            *one = ((*one - best.1) / self.temperature).exp();
        }
        likely.retain(|(_, one)| *one > NEGLIGIBLE);
        likely.sort_unstable_by(|a, b| b.1.total_cmp(&a.1));
        let total: f32 = likely.iter().map(|(_, one)| one).sum();
        let mut sum = 0.0;
        likely.retain(|(_, one)| {
            // The first choice is always one.
            let is_within = sum == 0.0 || sum < self.nucleus * total;
            sum += one;
            is_within
        });
        let mut left = self.chance.random::<f32>() * likely.iter().map(|(_, one)| one).sum::<f32>();
        let chosen = likely.iter().find(|(_, one)| {
            left -= one;
            left <= 0.0
        });
        Some(chosen.map_or(best.0, |(token, _)| *token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(expected: Vec<f32>, temperature: f32, said: &[u32]) -> Option<u32> {
        Sampler::new(Some(temperature), &ModelOptions::default()).next(expected, said)
    }

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

    #[test]
    fn a_seed_makes_the_same_choices_and_a_nucleus_of_zero_the_first() {
        let even = || vec![0.0; 100];
        let options = |seed, top_p| ModelOptions { seed, top_p, ..ModelOptions::default() };
        let chosen = |options: &ModelOptions| {
            let mut sampler = Sampler::new(Some(2.0), options);
            (0..20).map(|_| sampler.next(even(), &[]).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&options(Some(7), None)), chosen(&options(Some(7), None)));
        assert_ne!(chosen(&options(Some(7), None)), chosen(&options(Some(8), None)));
        assert_ne!(chosen(&options(None, None)), chosen(&options(None, None)));
        let mut steep = even();
        steep[3] = 1.0;
        let mut sampler = Sampler::new(None, &options(None, Some(Decimal::of_thousandths(0))));
        assert!((0..50).all(|_| sampler.next(steep.clone(), &[]) == Some(3)));
    }

    #[test]
    fn a_requests_own_temperature_comes_before_the_options() {
        let cold = ModelOptions { temperature: Some(Decimal::of_thousandths(0)), ..ModelOptions::default() };
        let expected = || vec![0.0, 0.001];
        let mut by_options = Sampler::new(None, &cold);
        assert!((0..50).all(|_| by_options.next(expected(), &[]) == Some(1)));
        let mut by_request = Sampler::new(Some(2.0), &cold);
        assert!((0..200).any(|_| by_request.next(expected(), &[]) == Some(0)));
    }
}
