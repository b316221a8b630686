//! Finding the words of a query in a passage, as they are found in the index.

use std::collections::HashSet;
use std::ops::Range;

use tantivy::tokenizer::TextAnalyzer;

use crate::query::query_words;
use crate::words::{parts, places, stemmed};

/// More places than this in one passage tell nobody more.
const MAX_PLACES: usize = 50;

/// Stemming changes at most so many letters at a stem's end (`dying`, `die`).
const CHANGED: usize = 2;

/// Finds the words of one query.
pub(crate) struct Highlighter {
    stems: HashSet<String>,
    /// How words begin that may have one of the stems, so that most others need no stemming to be told apart.
    beginnings: Vec<String>,
    analyzer: TextAnalyzer,
}

impl Highlighter {
    pub(crate) fn new(query: &str) -> Self {
        let stems: HashSet<String> =
            query_words(query).into_iter().filter(|word| !word.is_grammar).flat_map(|word| word.stems).collect();
        let beginning = |stem: &String| {
            let end = stem.len().saturating_sub(CHANGED).max(1);
            stem.get(..stem.floor_char_boundary(end)).unwrap_or_default().to_owned()
        };
        Self { beginnings: stems.iter().map(beginning).collect(), stems, analyzer: stemmed() }
    }

    /// Where they stand, in bytes, in order and not overlapping.
    pub(crate) fn places(&mut self, passage: &str) -> Vec<Range<usize>> {
        let mut found: Vec<Range<usize>> = Vec::new();
        for whole in places(passage) {
            if found.len() >= MAX_PLACES {
                break;
            }
            let word = passage.get(whole.clone()).unwrap_or_default();
            if self.is_one(word) {
                found.push(whole);
            } else {
                let parts = parts(word, whole.start).into_iter().rev();
                found.extend(parts.filter(|part| self.is_one(passage.get(part.clone()).unwrap_or_default())));
            }
        }
        found.truncate(MAX_PLACES);
        found
    }

    fn is_one(&mut self, word: &str) -> bool {
        let begins =
            |beginning: &String| word.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning));
        if word.is_ascii() && !self.beginnings.iter().any(begins) {
            return false;
        }
        let mut stream = self.analyzer.token_stream(word);
        // The first is the word as a whole.
        stream.advance() && self.stems.contains(&stream.token().text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn found(query: &str, passage: &str) -> Vec<String> {
        let places = Highlighter::new(query).places(passage);
        places.into_iter().map(|place| passage[place].to_owned()).collect()
    }

    #[test]
    fn words_are_found_in_every_form_that_has_their_stem() {
        let passage = "They lie dying under the skies; happy, http_headers (parseHttpHeader) and Cafés die.";
        assert_eq!(found("die", passage), ["dying", "die"]);
        assert_eq!(found("happiness", passage), ["happy"]);
        assert_eq!(found("header", passage), ["headers", "Header"]);
        assert_eq!(found("parseHttpHeader", passage), ["http", "headers", "parseHttpHeader"]);
        assert_eq!(found("cafe sky", passage), ["skies", "Cafés"]);
    }

    proptest! {
        #[test]
        fn nothing_that_has_the_stem_is_passed_over(word in "[a-zA-Z]{1,14}(s|es|ing|ed|ies|ily|ness|ational|izer|y|'s)?") {
            let query = Highlighter::new(&word);
            let whole = crate::words::words(&mut stemmed(), &word);
            if let [stem] = whole.as_slice() && query.stems.contains(stem) {
                prop_assert!(!found(&word, &word).is_empty());
            }
        }
    }
}
