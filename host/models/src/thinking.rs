//! How much a model thinks: what is asked for, in the nearest words that its vendor has for it.

use vivarium_domain::ReasoningEffort;

/// How a model is told how much to think.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Thinking {
    /// It is not.
    Unsaid,
    /// In one of these words, the least first.
    Levels(&'static [ReasoningEffort]),
    /// In so many tokens at most; none of them to turn it off, where it can be.
    Budget {
        /// The most that it takes.
        most: u32,
        /// It can be turned off.
        off: bool,
    },
}

use ReasoningEffort::{High, Low, Medium, Minimal, Xhigh};

pub(crate) const ALL: Thinking = Thinking::Levels(&[ReasoningEffort::None, Minimal, Low, Medium, High, Xhigh]);
pub(crate) const LOW_TO_HIGH: Thinking = Thinking::Levels(&[Low, Medium, High]);
pub(crate) const LOW_TO_XHIGH: Thinking = Thinking::Levels(&[Low, Medium, High, Xhigh]);
pub(crate) const MINIMAL_TO_HIGH: Thinking = Thinking::Levels(&[Minimal, Low, Medium, High]);
pub(crate) const NONE_TO_HIGH: Thinking = Thinking::Levels(&[ReasoningEffort::None, Low, Medium, High]);
pub(crate) const NONE_TO_XHIGH: Thinking = Thinking::Levels(&[ReasoningEffort::None, Low, Medium, High, Xhigh]);
pub(crate) const LOW_OR_HIGH: Thinking = Thinking::Levels(&[Low, High]);

/// The least budget that vendors take.
const LEAST_BUDGET: u32 = 1_024;

impl Thinking {
    /// The word that is nearest to what is asked for, and rather less than more. None: it has no words for it.
    pub(crate) fn level(self, asked: ReasoningEffort) -> Option<&'static str> {
        let Self::Levels(levels) = self else { return None };
        let rank = |effort: ReasoningEffort| effort as i32;
        let nearest = levels.iter().min_by_key(|level| ((rank(**level) - rank(asked)).abs(), rank(**level)))?;
        Some(match nearest {
            ReasoningEffort::None => "none",
            Minimal => "minimal",
            Low => "low",
            Medium => "medium",
            High => "high",
            Xhigh => "xhigh",
        })
    }

    /// The tokens that it may think for what is asked for. None: it is not told in tokens.
    pub(crate) fn budget(self, asked: ReasoningEffort) -> Option<u32> {
        let Self::Budget { most, off } = self else { return None };
        let tokens = match asked {
            ReasoningEffort::None if off => return Some(0),
            ReasoningEffort::None | Minimal => LEAST_BUDGET,
            Low => 4_096,
            Medium => 8_192,
            High => 16_384,
            Xhigh => 32_768,
        };
        Some(tokens.min(most))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_word_is_taken_and_of_two_the_lesser() {
        assert_eq!(LOW_TO_HIGH.level(ReasoningEffort::None), Some("low"));
        assert_eq!(LOW_TO_HIGH.level(Xhigh), Some("high"));
        assert_eq!(LOW_OR_HIGH.level(Medium), Some("low"));
        assert_eq!(NONE_TO_HIGH.level(Minimal), Some("none"));
        assert_eq!(ALL.level(Minimal), Some("minimal"));
        assert_eq!(Thinking::Unsaid.level(High), None);
    }

    #[test]
    fn a_budget_is_within_what_the_model_takes() {
        let bounded = Thinking::Budget { most: 24_576, off: true };
        assert_eq!((bounded.budget(ReasoningEffort::None), bounded.budget(Xhigh)), (Some(0), Some(24_576)));
        assert_eq!(Thinking::Budget { most: 32_768, off: false }.budget(ReasoningEffort::None), Some(LEAST_BUDGET));
    }
}
