//! From a person's words to the best passages.
//!
//! The query is built from words, never by a query language: what a user or a model types may hold anything. Each word
//! counts once, where it matches best (text, heading, title, path), so that a title that repeats on every passage of a
//! document can not outweigh the passage itself; words that stand together in the query count again where they stand
//! together in the text.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use tantivy::collector::{DocSetCollector, TopDocs};
use tantivy::query::{BooleanQuery, BoostQuery, DisjunctionMaxQuery, Occur, PhraseQuery, Query, TermQuery};
use tantivy::schema::{Field, IndexRecordOption};
use tantivy::{DocAddress, Searcher, TantivyDocument, Term};
use vivarium_domain::Document;

use crate::schema::{Entry, Fields};
use crate::words::{is_stop_word, is_weak, stemmed, whole, words};
use crate::{CorpusError, DocumentHit, Hit};

/// More words than this are a text, not a question; the first ones count.
const MAX_QUERY_WORDS: usize = 48;
const MAX_QUERY_BYTES: usize = 8 << 10;
pub(crate) const MAX_HITS: usize = 50;
const MAX_HITS_OF_ONE_DOCUMENT: usize = 2;
/// How many passages are looked at, at most, to find enough different ones.
const MAX_CANDIDATES: usize = 4096;

/// How much a match counts by where it stands.
const BODY: f32 = 1.0;
const WHOLE: f32 = 1.1;
const HEADING: f32 = 1.4;
const TITLE: f32 = 1.5;
const PATH: f32 = 0.4;
const TOGETHER: f32 = 0.8;
/// The first passage of a document says what the document is about.
const OPENING: f32 = 1.1;
/// …all the more where just that is asked.
const OPENING_FOR_DEFINITION: f32 = 1.3;
/// What a passage without any sentence keeps of its score: lists of signatures repeat the words of a query more often
/// than an explanation does, and say less.
const UNREADABLE: f32 = 0.6;
/// What a word counts that asks more than it names.
const WEAK: f32 = 0.35;
/// What the places other than the best one add.
const TIE_BREAKER: f32 = 0.3;

pub(crate) fn search(
    searcher: &Searcher,
    fields: &Fields,
    query: &str,
    max_hits: usize,
) -> Result<Vec<Hit>, CorpusError> {
    let parsed = parse(fields, query).ok_or_else(|| CorpusError::InvalidQuery(shortened(query)))?;
    let max_hits = max_hits.min(MAX_HITS);
    if max_hits == 0 {
        return Ok(Vec::new());
    }
    let mut candidates = max_hits * 8 + 32;
    loop {
        let found = top(searcher, fields, &parsed, candidates)?;
        let exhausted = found.len() < candidates;
        let hits = pick(found, max_hits);
        if hits.len() == max_hits || exhausted || candidates >= MAX_CANDIDATES {
            return Ok(hits);
        }
        candidates *= 4;
    }
}

/// The documents that answer `query` best, each once: by numbers alone, so that only those that are given are read.
pub(crate) fn documents(
    searcher: &Searcher,
    fields: &Fields,
    query: &str,
    skip: usize,
    take: usize,
) -> Result<Vec<DocumentHit>, CorpusError> {
    let parsed = parse(fields, query).ok_or_else(|| CorpusError::InvalidQuery(shortened(query)))?;
    if take == 0 {
        return Ok(Vec::new());
    }
    let columns = searcher.segment_readers().iter().map(|segment| segment.fast_fields().u64("key"));
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(|e| failed(&e))?;
    let wanted = skip.saturating_add(take);
    let mut candidates = wanted.saturating_mul(2).saturating_add(64);
    let best = loop {
        let collector = TopDocs::with_limit(candidates).order_by_score();
        let found = searcher.search(&parsed.query, &collector).map_err(|e| failed(&e))?;
        let exhausted = found.len() < candidates;
        let mut seen = HashSet::new();
        let mut best: Vec<(f32, u64, DocAddress)> = Vec::new();
        for (score, address) in found {
            let column = columns.get(address.segment_ord as usize);
            let Some(key) = column.and_then(|column| column.first(address.doc_id)) else { continue };
            if seen.insert(key) {
                best.push((score, key, address));
            }
        }
        if best.len() >= wanted || exhausted {
            break best;
        }
        candidates = candidates.saturating_mul(4);
    };
    let mut best = best;
    // Equal scores come in the order in which threads happened to index; pages need one that stays.
    best.sort_by(|(a, a_key, _), (b, b_key, _)| b.total_cmp(a).then_with(|| a_key.cmp(b_key)));
    let terms = Highlighter::new(query);
    let hit = |(score, _, address): &(f32, u64, DocAddress)| {
        let stored: TantivyDocument = searcher.doc(*address).map_err(|e| failed(&e))?;
        let Entry { location, title, heading, body: passage, external: external_id, .. } = fields.entry(&stored);
        let highlights = terms.places(&passage);
        Ok(DocumentHit { location, external_id, title, heading, passage, highlights, score: *score })
    };
    best.iter().skip(skip).take(take).map(hit).collect()
}

/// Finds the words of a query in passages.
struct Highlighter {
    stems: HashSet<String>,
}

impl Highlighter {
    /// More places than this in one passage tell nobody more.
    const MAX_PLACES: usize = 50;

    fn new(query: &str) -> Self {
        let query = query.get(..query.floor_char_boundary(MAX_QUERY_BYTES)).unwrap_or_default();
        let mut all = words(&mut whole(), query);
        if all.iter().any(|word| !is_stop_word(word)) {
            all.retain(|word| !is_stop_word(word));
        }
        let stems = all.iter().take(MAX_QUERY_WORDS).flat_map(|word| words(&mut stemmed(), word));
        Self { stems: stems.collect() }
    }

    /// Where they stand, in bytes, in order and not overlapping.
    fn places(&self, passage: &str) -> Vec<Range<usize>> {
        let mut analyzer = stemmed();
        let mut stream = analyzer.token_stream(passage);
        let mut places: Vec<Range<usize>> = Vec::new();
        while let (true, true) = (places.len() < Self::MAX_PLACES, stream.advance()) {
            let token = stream.token();
            let is_new = places.last().is_none_or(|last| last.end <= token.offset_from);
            if is_new && self.stems.contains(&token.text) {
                places.push(token.offset_from..token.offset_to);
            }
        }
        places
    }
}

fn top(searcher: &Searcher, fields: &Fields, parsed: &Parsed, limit: usize) -> Result<Vec<(f32, Entry)>, CorpusError> {
    let found = searcher.search(&parsed.query, &TopDocs::with_limit(limit).order_by_score()).map_err(|e| failed(&e))?;
    let entry = |(score, address)| {
        let stored: TantivyDocument = searcher.doc(address).map_err(|e| failed(&e))?;
        Ok((score, fields.entry(&stored)))
    };
    let mut entries = found.into_iter().map(entry).collect::<Result<Vec<_>, CorpusError>>()?;
    for (score, entry) in &mut entries {
        *score *= readability(&entry.body) * if entry.order == 0 { parsed.opening } else { 1.0 };
    }
    // Equal scores come in the order in which threads happened to index; a person expects the same answer each time.
    entries.sort_by(|(a_score, a), (b_score, b)| {
        b_score.total_cmp(a_score).then_with(|| a.location.cmp(&b.location)).then_with(|| a.order.cmp(&b.order))
    });
    Ok(entries)
}

/// From [`UNREADABLE`] to 1, by how much of a passage stands in lines that read like sentences.
fn readability(passage: &str) -> f32 {
    const MIN_WORDS: usize = 6;
    let is_sentence = |line: &&str| {
        let symbols = line.chars().filter(|c| "{}()[]<>=;:&|*!#$@\\/_+".contains(*c)).count();
        line.split_whitespace().nth(MIN_WORDS - 1).is_some() && symbols * 100 < line.len() * 14
    };
    let sentences: usize = passage.lines().filter(is_sentence).map(str::len).sum();
    UNREADABLE + (1.0 - UNREADABLE) * sentences as f32 / passage.len().max(1) as f32
}

/// Drops what says the same again: documents with the same text, passages that mostly repeat better ones (the same page
/// in another edition, a chapter within the whole book on one page), and more than two of one document.
fn pick(candidates: Vec<(f32, Entry)>, max_hits: usize) -> Vec<Hit> {
    let mut said = Said::default();
    let mut of_document: HashMap<u64, (String, usize)> = HashMap::new();
    let mut hits = Vec::new();
    for (score, entry) in candidates {
        let (location, count) = of_document.entry(entry.document).or_insert_with(|| (entry.location.clone(), 0));
        let is_copy = *location != entry.location;
        if is_copy || *count >= MAX_HITS_OF_ONE_DOCUMENT || said.repeats(&entry.body) {
            continue;
        }
        *count += 1;
        said.add(&entry.body);
        let Entry { location, title, heading, body: passage, .. } = entry;
        hits.push(Hit { location, title, heading, passage, score });
        if hits.len() == max_hits {
            break;
        }
    }
    hits
}

/// The lines of the passages that were picked.
#[derive(Default)]
struct Said {
    lines: HashSet<String>,
}

impl Said {
    /// Shorter lines (`}`, "Examples") are alike without meaning the same.
    const MIN_LINE_BYTES: usize = 30;

    /// Whether more than half of a passage has been said.
    fn repeats(&self, passage: &str) -> bool {
        let known: usize = Self::lines(passage).filter(|line| self.lines.contains(*line)).map(str::len).sum();
        known * 2 > passage.len()
    }

    fn add(&mut self, passage: &str) {
        self.lines.extend(Self::lines(passage).map(str::to_owned));
    }

    /// A passage of short lines only counts as one line.
    fn lines(passage: &str) -> impl Iterator<Item = &str> {
        let whole = passage.lines().all(|line| line.len() < Self::MIN_LINE_BYTES).then_some(passage);
        passage.lines().filter(|line| line.len() >= Self::MIN_LINE_BYTES).chain(whole)
    }
}

/// The whole text under `location`, put together from its passages.
pub(crate) fn read(
    searcher: &Searcher,
    fields: &Fields,
    location: &str,
    max_bytes: usize,
) -> Result<Document, CorpusError> {
    let query = TermQuery::new(Term::from_field_text(fields.location, location), IndexRecordOption::Basic);
    let addresses = searcher.search(&query, &DocSetCollector).map_err(|e| failed(&e))?;
    let entry = |address| {
        let stored: TantivyDocument = searcher.doc(address).map_err(|e| failed(&e))?;
        Ok(fields.entry(&stored))
    };
    let mut entries = addresses.into_iter().map(entry).collect::<Result<Vec<_>, CorpusError>>()?;
    entries.sort_by_key(|entry| entry.order);
    let first = entries.first().ok_or_else(|| CorpusError::NotFound(shortened(location)))?;
    let (title, media_type) = (first.title.clone(), first.media_type.clone());
    let mut text = String::new();
    for entry in &entries {
        if text.len() > max_bytes {
            break;
        }
        text.push_str(&entry.gap);
        text.push_str(&entry.body);
    }
    text.truncate(text.floor_char_boundary(max_bytes));
    Ok(Document { title, location: location.to_owned(), media_type, text })
}

fn failed(error: &tantivy::TantivyError) -> CorpusError {
    CorpusError::Unavailable(format!(
        "the index could not be read: {error}. If it stays so, delete the index's folder: the next start builds it anew"
    ))
}

/// For error texts: a query may be megabytes.
fn shortened(text: &str) -> String {
    const MAX_CHARS: usize = 100;
    let mut short: String = text.chars().take(MAX_CHARS).collect();
    if short.len() < text.len() {
        short.push('…');
    }
    short
}

struct Parsed {
    query: BooleanQuery,
    /// What the first passage of a document counts.
    opening: f32,
}

/// None where there is no word to search for.
fn parse(fields: &Fields, query: &str) -> Option<Parsed> {
    let query = query.get(..query.floor_char_boundary(MAX_QUERY_BYTES)).unwrap_or_default();
    let lower = query.trim_start().to_lowercase();
    let defines =
        ["what is ", "what are ", "what's ", "define ", "explain "].iter().any(|start| lower.starts_with(start))
            || lower.contains("differen");
    let mut all = words(&mut whole(), query);
    if all.iter().any(|word| !is_stop_word(word)) {
        all.retain(|word| !is_stop_word(word));
    }
    let mut seen = HashSet::new();
    all.retain(|word| seen.insert(word.clone()));
    all.truncate(MAX_QUERY_WORDS);
    if all.is_empty() {
        return None;
    }
    let stems: Vec<Vec<String>> = all.iter().map(|word| words(&mut stemmed(), word)).collect();
    let mut clauses: Vec<(Occur, Box<dyn Query>)> = Vec::new();
    for (word, stems) in all.iter().zip(&stems) {
        let query = word_query(fields, word, stems);
        let query = if is_weak(word) { Box::new(BoostQuery::new(query, WEAK)) } else { query };
        clauses.push((Occur::Should, query));
    }
    for ((first, first_stems), (second, second_stems)) in all.iter().zip(&stems).zip(all.iter().zip(&stems).skip(1)) {
        if let (Some(left), Some(right)) = (first_stems.last(), second_stems.first()) {
            clauses.push((Occur::Should, near(fields, left, right)));
        }
        // "hash map" also means `HashMap`.
        let joined = term(fields.whole, &format!("{first}{second}"));
        clauses.push((Occur::Should, Box::new(BoostQuery::new(joined, WHOLE))));
    }
    let opening = if defines { OPENING_FOR_DEFINITION } else { OPENING };
    Some(Parsed { query: BooleanQuery::new(clauses), opening })
}

fn word_query(fields: &Fields, word: &str, stems: &[String]) -> Box<dyn Query> {
    let places = [(fields.body, BODY), (fields.headings, HEADING), (fields.title, TITLE), (fields.path, PATH)];
    let share = 1.0 / stems.len().max(1) as f32;
    let mut places: Vec<Box<dyn Query>> = stems
        .iter()
        .flat_map(|stem| places.map(|(field, weight)| (field, weight * share, stem)))
        .map(|(field, weight, stem)| Box::new(BoostQuery::new(term(field, stem), weight)) as Box<dyn Query>)
        .collect();
    places.push(Box::new(BoostQuery::new(term(fields.whole, word), WHOLE)));
    Box::new(DisjunctionMaxQuery::with_tie_breaker(places, TIE_BREAKER))
}

fn near(fields: &Fields, left: &str, right: &str) -> Box<dyn Query> {
    let terms = vec![Term::from_field_text(fields.body, left), Term::from_field_text(fields.body, right)];
    let mut phrase = PhraseQuery::new(terms);
    phrase.set_slop(2);
    Box::new(BoostQuery::new(Box::new(phrase), TOGETHER))
}

fn term(field: Field, text: &str) -> Box<dyn Query> {
    Box::new(TermQuery::new(Term::from_field_text(field, text), IndexRecordOption::WithFreqs))
}
