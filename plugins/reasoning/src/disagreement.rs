//! Sentences of two sources that say the same but for a number or a "not": a plain comparison of words, for an answerer that
//! understands none of them. What it finds, it shows; that it finds all, nobody promises.

use std::collections::BTreeSet;

use vivarium_sdk::mode::{Citation, Passage};

use crate::citing::sentences;
use crate::likeness::{is_negation, is_number, words};

/// Two sentences that share this part of their words, numbers and negations aside, speak of the same.
const SAME_POINT: f32 = 0.75;
/// With fewer words there is nothing to tell what they speak of.
const MIN_WORDS: usize = 4;
/// More are not compared.
const MAX_SENTENCES: usize = 2_000;
/// More are not shown.
const MAX_SHOWN: usize = 3;

/// Two quotes that can not both be right.
#[derive(Debug, Clone, PartialEq)]
pub struct Disagreement {
    /// What one source says.
    pub first: Citation,
    /// What another one says.
    pub second: Citation,
}

struct Point {
    words: BTreeSet<String>,
    numbers: BTreeSet<String>,
    is_negated: bool,
}

impl Point {
    fn of(sentence: &str) -> Self {
        let mut point = Self { words: BTreeSet::new(), numbers: BTreeSet::new(), is_negated: false };
        for word in words(sentence) {
            if is_number(&word) {
                point.numbers.insert(word);
            } else if is_negation(&word) {
                point.is_negated = !point.is_negated;
            } else {
                point.words.insert(word);
            }
        }
        point
    }

    fn contradicts(&self, other: &Self) -> bool {
        if self.words.len() < MIN_WORDS || other.words.len() < MIN_WORDS {
            return false;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of words")]
        let shared =
            self.words.intersection(&other.words).count() as f32 / self.words.union(&other.words).count() as f32;
        let numbers = self.numbers.len() == other.numbers.len() && self.numbers != other.numbers;
        shared >= SAME_POINT && (numbers || (self.is_negated != other.is_negated && self.numbers == other.numbers))
    }
}

/// What other sources say against these quotes.
#[must_use]
pub fn with_others(quotes: &[Citation], passages: &[Passage]) -> Vec<Disagreement> {
    let mut found: Vec<Disagreement> = Vec::new();
    let others: Vec<(&str, &str, Point)> = passages
        .iter()
        .flat_map(|passage| {
            sentences(&passage.text).into_iter().map(move |sentence| (passage.source_id.as_str(), sentence))
        })
        .take(MAX_SENTENCES)
        .map(|(id, sentence)| (id, sentence, Point::of(sentence)))
        .collect();
    for quote in quotes {
        let point = Point::of(&quote.quote);
        for (id, sentence, _) in
            others.iter().filter(|(id, _, other)| *id != quote.source_id && point.contradicts(other))
        {
            let second = Citation { source_id: (*id).to_owned(), quote: (*sentence).to_owned() };
            let known = |one: &Disagreement| {
                (&one.first == quote && one.second == second) || (one.first == second && &one.second == quote)
            };
            if found.len() < MAX_SHOWN && !found.iter().any(known) {
                found.push(Disagreement { first: quote.clone(), second });
            }
        }
    }
    found
}

/// The sentence that says so, in an answer. `about`, where somebody knows what it is about.
#[must_use]
pub fn sentence(about: Option<&str>, Disagreement { first, second }: &Disagreement) -> String {
    let about = about.map(|about| format!(" on {about}")).unwrap_or_default();
    let quoted = |citation: &Citation| {
        let words: Vec<&str> = citation.quote.split_whitespace().collect();
        format!("“{}” [{}]", words.join(" "), citation.source_id)
    };
    format!("Sources disagree{about}: {}, but {}.", quoted(first), quoted(second))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(id: &str, text: &str) -> Passage {
        Passage { source_id: id.to_owned(), title: String::new(), text: text.to_owned() }
    }

    fn against(quote: &str, other: &str) -> bool {
        let quote = Citation { source_id: "s1".into(), quote: quote.into() };
        !with_others(&[quote], &[passage("s1", other), passage("s2", other)]).is_empty()
    }

    #[test]
    fn another_number_or_a_not_is_a_disagreement() {
        assert!(against("The tower of Brenholt is 310 metres tall.", "The tower of Brenholt is 320 metres tall."));
        assert!(against("The old ferry still crosses the sound.", "The old ferry never still crosses the sound."));
    }

    #[test]
    fn what_speaks_of_something_else_or_says_the_same_is_none() {
        let quote = "The tower of Brenholt is 310 metres tall.";
        for other in [
            quote,
            "The tower of Brenholt is very tall.",
            "The bridge of Osterby is 320 metres long.",
            "It was built in 1921 by the sisters Marsh.",
        ] {
            assert!(!against(quote, other), "{other}");
        }
        assert!(!against("310 m", "320 m"), "too short to tell what it is about");
    }

    #[test]
    fn it_is_said_with_both_quotes() {
        let quote = Citation { source_id: "s1".into(), quote: "The tower of Brenholt\n is 310 metres tall.".into() };
        let found = with_others(&[quote], &[passage("s2", "Hm. The tower of Brenholt is 320 metres tall.")]);
        assert_eq!(
            sentence(Some("its height"), &found[0]),
            "Sources disagree on its height: “The tower of Brenholt is 310 metres tall.” [s1], but “The tower of Brenholt is 320 \
             metres tall.” [s2]."
        );
    }
}
