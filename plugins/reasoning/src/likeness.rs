//! Whether two documents are one: a page and its mirror, a chapter and the book that holds it. A copy in which a number or a "not"
//! differs is no copy: it may be the one that is right.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

/// So many words in a row make a shingle.
const SHINGLE: usize = 5;
/// A text of fewer shingles is too short to be told from another one.
const MIN_SHINGLES: usize = 12;
/// This share of the shorter text's shingles stand in the longer one, if they are one.
const MIN_CONTAINED: f32 = 0.95;
/// More of a text is not looked at.
const MAX_WORDS: usize = 20_000;

/// What is compared of a text.
#[derive(Debug, Clone)]
pub struct Likeness {
    shingles: BTreeSet<u64>,
    /// Its numbers and its negations: what must not differ.
    telling: BTreeSet<String>,
}

impl Likeness {
    /// Of a text.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let words: Vec<String> = words(text).take(MAX_WORDS).collect();
        let telling = words.iter().filter(|word| is_number(word) || is_negation(word)).cloned().collect();
        let shingle = |words: &[String]| {
            let mut hasher = DefaultHasher::new();
            words.hash(&mut hasher);
            hasher.finish()
        };
        Self { shingles: words.windows(SHINGLE).map(shingle).collect(), telling }
    }

    /// One of them says what the other one says, or a part of it.
    #[must_use]
    pub fn is_of(&self, other: &Self) -> bool {
        let (short, long) = if self.shingles.len() <= other.shingles.len() { (self, other) } else { (other, self) };
        if short.shingles.len() < MIN_SHINGLES || !short.telling.is_subset(&long.telling) {
            return false;
        }
        #[expect(clippy::cast_precision_loss, reason = "counts of shingles")]
        let contained = short.shingles.intersection(&long.shingles).count() as f32 / short.shingles.len() as f32;
        contained >= MIN_CONTAINED
    }
}

/// The words of a text in lower case; a number with its point or comma is one.
pub(crate) fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c: char| !c.is_alphanumeric() && !matches!(c, '.' | ',' | '\'' | '’'))
        .map(|word| word.trim_matches(['.', ',', '\'', '’']))
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
}

/// It says how much.
pub(crate) fn is_number(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_digit())
}

/// It turns a sentence around.
pub(crate) fn is_negation(word: &str) -> bool {
    const NEGATIONS: &[&str] = &["not", "no", "never", "none", "neither", "nor", "cannot", "without"];
    NEGATIONS.contains(&word) || word.ends_with("n't") || word.ends_with("n’t")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(number: usize) -> String {
        let sentence = |at: usize| format!("Sentence {at} of chapter {number} tells how vector {at}{number} grows. ");
        (0..20).map(sentence).collect()
    }

    #[test]
    fn a_chapter_and_the_book_that_holds_it_are_one() {
        let (chapter, book) = (Likeness::of(&page(1)), Likeness::of(&(page(1) + &page(2))));
        assert!(chapter.is_of(&book) && book.is_of(&chapter));
        assert!(!Likeness::of(&page(3)).is_of(&book));
    }

    #[test]
    fn a_copy_in_which_a_number_or_a_not_differs_is_another_document() {
        let long = page(1);
        let other = long.replacen("Sentence 7 ", "Sentence 70 ", 1);
        assert!(!Likeness::of(&long).is_of(&Likeness::of(&other)));
        let negated = long.replacen("grows", "never grows", 1);
        assert!(Likeness::of(&long).is_of(&Likeness::of(&long)));
        assert!(!Likeness::of(&format!("{negated} x")).is_of(&Likeness::of(&format!("{long} y z"))));
    }

    #[test]
    fn short_texts_are_told_apart_by_nothing() {
        assert!(!Likeness::of("Yes.").is_of(&Likeness::of("Yes.")));
    }
}
