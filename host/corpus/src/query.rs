//! From a person's words to what is looked up.
//!
//! A query is words, never a query language: what a user or a model types may hold anything. Words of grammar find nothing where
//! there are others, but tell apart what those have found; an identifier is looked up whole and by its parts; words next to each other are looked up joined as well
//! ("hash map" also means `hashmap`).

use std::collections::{HashMap, HashSet};

use tantivy::{Searcher, Term};

use crate::schema::Fields;
use crate::words::{is_stop_word, is_weak, runs, stemmed, words};

/// What is longer is a text, not a question; its beginning counts.
pub(crate) const MAX_QUERY_BYTES: usize = 8 << 10;
/// So many different words are looked up…
const MAX_WORDS: usize = 256;
/// …and the rarest of what they are stemmed to are searched for: each costs time, and the common ones tell little.
const MAX_TERMS: usize = 48;

/// What an identifier as a whole counts, besides its parts, which share 1.
const WHOLE: f32 = 0.7;
/// What a word counts that asks more than it names.
const WEAK: f32 = 0.35;
/// What a word of grammar counts.
const GRAMMAR: f32 = 0.3;
/// What the first passage of a document counts: it says what the document is about.
const OPENING: f32 = 1.1;
/// …all the more where just that is asked.
const OPENING_FOR_DEFINITION: f32 = 1.3;

/// What is searched for.
#[derive(Debug)]
pub(crate) struct Question {
    /// Each once; all of them are in the index. May be none.
    pub(crate) terms: Vec<Wanted>,
    /// Terms that stand next to each other in the query, by their places in `terms`.
    pub(crate) pairs: Vec<(usize, usize)>,
    /// What the first passage of a document counts.
    pub(crate) opening: f32,
}

/// One term of a [`Question`].
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) term: Term,
    /// In how many passages it is; at least 1.
    pub(crate) frequency: u64,
    /// How much it counts.
    pub(crate) weight: f32,
    /// A passage that holds nothing else is no answer.
    pub(crate) is_grammar: bool,
}

/// A word of a query with the stems that it is looked up by: the whole first, then its parts, if it has any.
#[derive(Debug, Clone)]
pub(crate) struct Word {
    pub(crate) lower: String,
    /// There are others that say more.
    pub(crate) is_grammar: bool,
    pub(crate) stems: Vec<String>,
}

/// The words of a query in their order. A word that is said again is there again.
pub(crate) fn query_words(query: &str) -> Vec<Word> {
    let query = query.get(..query.floor_char_boundary(MAX_QUERY_BYTES)).unwrap_or_default();
    let all: Vec<(String, &str)> = runs(query).into_iter().map(|run| (run.to_lowercase(), run)).collect();
    let has_matter = all.iter().any(|(lower, _)| !is_stop_word(lower));
    let mut analyzer = stemmed();
    let mut known: HashMap<String, Vec<String>> = HashMap::new();
    let mut found = Vec::new();
    for (lower, run) in all {
        if known.len() >= MAX_WORDS && !known.contains_key(&lower) {
            continue;
        }
        let stems = known.entry(lower.clone()).or_insert_with(|| words(&mut analyzer, run)).clone();
        if !stems.is_empty() {
            let is_grammar = has_matter && is_stop_word(&lower);
            found.push(Word { lower, is_grammar, stems });
        }
    }
    found
}

impl Question {
    /// None where there is no word to search for.
    pub(crate) fn new(searcher: &Searcher, fields: &Fields, query: &str) -> tantivy::Result<Option<Self>> {
        let all = query_words(query);
        if all.is_empty() {
            return Ok(None);
        }
        let mut stems = Stems::default();
        let mut pairs: Vec<(usize, usize)> = Vec::new();
        let mut analyzer = stemmed();
        let mut before: Option<(&Word, usize)> = None;
        for word in all.iter().filter(|word| !word.is_grammar) {
            let weight = if is_weak(&word.lower) { WEAK } else { 1.0 };
            let Some((first, last)) = stems.add_word(word, weight) else { continue };
            if let Some((left, end)) = before {
                pairs.push((end, first));
                if let [joined] = words(&mut analyzer, &format!("{}{}", left.lower, word.lower)).as_slice() {
                    stems.add(joined, 1.0);
                }
            }
            before = Some((word, last));
        }
        let matter = stems.weights.len();
        for word in all.iter().filter(|word| word.is_grammar) {
            stems.add_word(word, GRAMMAR);
        }
        let mut found = Vec::with_capacity(stems.weights.len());
        for (place, (stem, weight)) in stems.weights.into_iter().enumerate() {
            let term = Term::from_field_text(fields.text, &stem);
            let frequency = searcher.doc_freq(&term)?;
            if frequency > 0 {
                found.push((place, Wanted { term, frequency, weight, is_grammar: place >= matter }));
            }
        }
        if found.len() > MAX_TERMS {
            found.sort_by_key(|(_, wanted)| (wanted.is_grammar, wanted.frequency));
            found.truncate(MAX_TERMS);
        }
        let places: HashMap<usize, usize> = found.iter().enumerate().map(|(new, (old, _))| (*old, new)).collect();
        let pair = |(left, right)| Some((*places.get(&left)?, *places.get(&right)?));
        let mut seen = HashSet::new();
        let pairs = pairs.into_iter().filter_map(pair);
        let pairs = pairs.filter(|(left, right)| left != right && seen.insert((*left, *right))).collect();
        let terms = found.into_iter().map(|(_, wanted)| wanted).collect();
        Ok(Some(Self { terms, pairs, opening: if defines(query) { OPENING_FOR_DEFINITION } else { OPENING } }))
    }
}

/// Whether the query asks what something is.
fn defines(query: &str) -> bool {
    let start = query.trim_start();
    let lower = start.get(..start.floor_char_boundary(MAX_QUERY_BYTES)).unwrap_or_default().to_lowercase();
    ["what is ", "what are ", "what's ", "define ", "explain "].iter().any(|start| lower.starts_with(start))
        || lower.contains("differen")
}

/// Stems in the order of the query, each once, with what they count: as often as they are said.
#[derive(Default)]
struct Stems {
    weights: Vec<(String, f32)>,
    places: HashMap<String, usize>,
}

impl Stems {
    /// The places of the first and the last stem that stand for the word itself.
    fn add_word(&mut self, word: &Word, weight: f32) -> Option<(usize, usize)> {
        let (whole, parts) = word.stems.split_first()?;
        if parts.is_empty() {
            let place = self.add(whole, weight);
            return Some((place, place));
        }
        self.add(whole, weight * WHOLE);
        let share = weight / parts.len() as f32;
        let places: Vec<usize> = parts.iter().map(|part| self.add(part, share)).collect();
        Some((*places.first()?, *places.last()?))
    }

    fn add(&mut self, stem: &str, weight: f32) -> usize {
        if let Some(place) = self.places.get(stem).copied() {
            if let Some((_, known)) = self.weights.get_mut(place) {
                *known += weight;
            }
            return place;
        }
        self.weights.push((stem.to_owned(), weight));
        self.places.insert(stem.to_owned(), self.weights.len() - 1);
        self.weights.len() - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_text_that_is_given_for_a_question_its_beginning_and_so_many_words_count() {
        let words = |count: usize| (0..count).map(|n| format!("w{n} ")).collect::<String>();
        assert_eq!(query_words(&words(MAX_WORDS + 50)).len(), MAX_WORDS);
        assert_eq!(query_words(&words(10).repeat(40)).len(), 400, "a word that is said again is there again");
        let long = format!("first {}end", " ".repeat(MAX_QUERY_BYTES));
        assert_eq!(query_words(&long).len(), 1, "what stands behind the bound is not looked at");
    }
}
