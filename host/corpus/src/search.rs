//! The best passages and the best documents, as they are given out. Only what is given out is read from the index, and what has
//! to be compared with it.

use std::collections::{HashMap, HashSet};

use tantivy::collector::DocSetCollector;
use tantivy::query::TermQuery;
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, Index, IndexReader, ReloadPolicy, Searcher, TantivyDocument, Term};
use vivarium_domain::Document;

use crate::highlight::Highlighter;
use crate::query::Question;
use crate::ranking::{CLOSELY, Ranked, Unit, rank};
use crate::schema::{Entry, Fields};
use crate::{CorpusError, DocumentHit, Hit};

pub(crate) const MAX_HITS: usize = 50;
const MAX_HITS_OF_ONE_DOCUMENT: usize = 2;
/// How many passages are looked at, at most, to find enough different ones.
const MAX_CANDIDATES: usize = 4096;
/// How many more are looked at when those before were not enough.
const MORE: usize = 4;
/// What a passage without any sentence keeps of its score: lists of signatures repeat the words of a query more often
/// than an explanation does, and say less.
const UNREADABLE: f32 = 0.6;

/// Blocks of stored text that each part of an index keeps unpacked, of 16 KiB each. Hits lie far apart, so that more would only hold
/// memory, for as many indexes as are open.
const BLOCKS_KEPT: usize = 4;

/// Reads an index as it was when this was asked last to.
pub(crate) fn reader(index: &Index) -> tantivy::Result<IndexReader> {
    index.reader_builder().reload_policy(ReloadPolicy::Manual).doc_store_cache_num_blocks(BLOCKS_KEPT).try_into()
}

pub(crate) fn search(
    searcher: &Searcher,
    fields: &Fields,
    query: &str,
    max_hits: usize,
) -> Result<Vec<Hit>, CorpusError> {
    let question = question(searcher, fields, query)?;
    let max_hits = max_hits.min(MAX_HITS);
    if max_hits == 0 {
        return Ok(Vec::new());
    }
    let mut depth = CLOSELY;
    loop {
        let mut found = rank(searcher, fields, &question, depth, Unit::Passage).map_err(|e| failed(&e))?;
        for ranked in &mut found.best {
            let readable = UNREADABLE + (1.0 - UNREADABLE) * ranked.readable as f32 / 100.0;
            ranked.score *= readable * if ranked.order == 0 { question.opening } else { 1.0 };
        }
        // Equal scores come in the order in which threads happened to index; a person expects the same answer each time.
        found.best.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.key.cmp(&b.key)).then(a.order.cmp(&b.order)));
        let hits = pick(searcher, fields, &found.best, max_hits)?;
        if hits.len() == max_hits || found.complete || depth >= MAX_CANDIDATES {
            return Ok(hits);
        }
        depth *= MORE;
    }
}

/// The documents that answer `query` best, each once.
pub(crate) fn documents(
    searcher: &Searcher,
    fields: &Fields,
    query: &str,
    skip: usize,
    take: usize,
) -> Result<Vec<DocumentHit>, CorpusError> {
    let question = question(searcher, fields, query)?;
    if take == 0 {
        return Ok(Vec::new());
    }
    let wanted = skip.saturating_add(take);
    let mut depth = CLOSELY;
    while depth < wanted {
        depth = depth.saturating_mul(MORE);
    }
    let found = loop {
        let found = rank(searcher, fields, &question, depth, Unit::Document).map_err(|e| failed(&e))?;
        if found.best.len() >= wanted || found.complete {
            break found.best;
        }
        depth = depth.saturating_mul(MORE);
    };
    let mut highlighter = Highlighter::new(query);
    let hit = |ranked: &Ranked| {
        let entry = stored(searcher, fields, ranked.address)?;
        let Entry { location, title, heading, body: passage, external: external_id, .. } = entry;
        let highlights = highlighter.places(&passage);
        Ok(DocumentHit { location, external_id, title, heading, passage, highlights, score: ranked.score })
    };
    found.iter().skip(skip).take(take).map(hit).collect()
}

fn question(searcher: &Searcher, fields: &Fields, query: &str) -> Result<Question, CorpusError> {
    let question = Question::new(searcher, fields, query).map_err(|e| failed(&e))?;
    question.ok_or_else(|| CorpusError::InvalidQuery(shortened(query)))
}

fn stored(searcher: &Searcher, fields: &Fields, address: DocAddress) -> Result<Entry, CorpusError> {
    let stored: TantivyDocument = searcher.doc(address).map_err(|e| failed(&e))?;
    Ok(fields.entry(&stored))
}

/// Drops what says the same again: documents with the same text, passages that mostly repeat better ones (the same page
/// in another edition, a chapter within the whole book on one page), and more than two of one document.
fn pick(searcher: &Searcher, fields: &Fields, candidates: &[Ranked], max_hits: usize) -> Result<Vec<Hit>, CorpusError> {
    let mut said = Said::default();
    let mut of_document: HashMap<u64, (u64, usize)> = HashMap::new();
    let mut hits = Vec::new();
    for ranked in candidates {
        let (first, count) = of_document.entry(ranked.document).or_insert((ranked.key, 0));
        if *first != ranked.key || *count >= MAX_HITS_OF_ONE_DOCUMENT {
            continue;
        }
        let Entry { location, title, heading, body: passage, .. } = stored(searcher, fields, ranked.address)?;
        if said.repeats(&passage) {
            continue;
        }
        *count += 1;
        said.add(&passage);
        hits.push(Hit { location, title, heading, passage, score: ranked.score });
        if hits.len() == max_hits {
            break;
        }
    }
    Ok(hits)
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
    let entries = addresses.into_iter().map(|address| stored(searcher, fields, address));
    let mut entries = entries.collect::<Result<Vec<_>, CorpusError>>()?;
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
