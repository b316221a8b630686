//! Finding the words of a query in a passage, as they are found in the index.

use std::collections::HashSet;
use std::ops::Range;

use tantivy::tokenizer::TextAnalyzer;

use crate::query::query_words;
use crate::words::{parts, places, stemmed};

/// More places than this in one passage tell nobody more.
const MAX_PLACES: usize = 50;

/// Finds the words of one query.
pub(crate) struct Highlighter {
    stems: HashSet<String>,
    /// What the stems begin with. Stemming leaves the first letter as it is, so that most words need no stemming to be told apart.
    initials: HashSet<char>,
    analyzer: TextAnalyzer,
}

impl Highlighter {
    pub(crate) fn new(query: &str) -> Self {
        let stems: HashSet<String> = query_words(query).into_iter().flat_map(|word| word.stems).collect();
        let initials = stems.iter().filter_map(|stem| stem.chars().next()).collect();
        Self { stems, initials, analyzer: stemmed() }
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
        let Some(first) = word.chars().next() else { return false };
        if first.is_ascii() && !self.initials.contains(&first.to_ascii_lowercase()) {
            return false;
        }
        let mut stream = self.analyzer.token_stream(word);
        // The first is the word as a whole.
        stream.advance() && self.stems.contains(&stream.token().text)
    }
}
