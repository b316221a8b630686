//! Words as the ranking compares them: lower case, stemmed, without the grammar of a question.

use std::collections::HashMap;

use frostem::{Algorithm, Stemmer};

/// Runs of letters and digits with their places in bytes. Scripts that write without spaces give a word per character.
pub(super) fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut rest_start = 0;
    std::iter::from_fn(move || {
        let rest = text.get(rest_start..)?;
        let start = rest_start + rest.find(char::is_alphanumeric)?;
        let tail = text.get(start..)?;
        let first = tail.chars().next()?;
        let length = if is_unspaced(first) {
            first.len_utf8()
        } else {
            tail.find(|c: char| !c.is_alphanumeric() || is_unspaced(c)).unwrap_or(tail.len())
        };
        rest_start = start + length;
        tail.get(..length).map(|word| (start, word))
    })
}

fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Stems words, each distinct one once.
pub(super) struct Stems {
    stemmer: Stemmer,
    known: HashMap<String, String>,
}

impl Stems {
    pub(super) fn new() -> Self {
        Self { stemmer: Stemmer::new(Algorithm::English), known: HashMap::new() }
    }

    pub(super) fn stem(&mut self, word: &str) -> String {
        /// A text can hold any number of distinct words; the memory for them is bounded.
        const MAX_KNOWN: usize = 50_000;
        if let Some(stem) = self.known.get(word) {
            return stem.clone();
        }
        let stem = self.stemmer.stem(&word.to_lowercase()).into_owned();
        if self.known.len() < MAX_KNOWN {
            self.known.insert(word.to_owned(), stem.clone());
        }
        stem
    }
}

/// Words that carry the grammar of a question and not its matter.
#[rustfmt::skip]
const STOP_WORDS: &[&str] = &[
    "a", "about", "all", "also", "am", "an", "and", "any", "are", "as", "at", "be", "because", "been", "being", "between",
    "but", "by", "can", "could", "d", "describe", "did", "didn", "do", "does", "doesn", "doing", "don", "explain", "for",
    "from", "give", "had", "has", "have", "having", "he", "help", "her", "him", "his", "how", "i", "if", "in", "instead",
    "into", "is", "isn", "it", "its", "just", "kind", "know", "ll", "m", "many", "may", "me", "mean", "means", "might",
    "more", "much", "must", "my", "need", "no", "not", "of", "on", "one", "or", "other", "our", "please", "re", "s",
    "shall", "she", "should", "show", "so", "some", "such", "t", "tell", "than", "that", "the", "their", "them", "then",
    "there", "these", "they", "this", "those", "to", "us", "use", "used", "uses", "using", "ve", "versus", "very", "vs",
    "was", "way", "we", "were", "what", "when", "where", "which", "while", "who", "whom", "whose", "why", "will", "with",
    "work", "works", "would", "you", "your",
];

pub(super) fn is_stop_word(word: &str) -> bool {
    STOP_WORDS.binary_search(&word).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_stop_words_is_sorted_for_its_search() {
        assert!(STOP_WORDS.is_sorted());
    }

    #[test]
    fn words_are_found_with_their_places() {
        let found: Vec<_> = words("a `push_str`, é 漢字").collect();
        assert_eq!(found, [(0, "a"), (3, "push"), (8, "str"), (14, "é"), (17, "漢"), (20, "字")]);
    }
}
