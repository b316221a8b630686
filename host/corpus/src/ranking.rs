//! Which passages answer best, by numbers alone: nothing that is stored is read here.
//!
//! It goes in two steps. BM25 over the one field that is searched finds the passages that may be the best; tantivy can pass over most
//! others without a look, because nothing but the sum of words counts there. Those few are then looked at closely: do words stand
//! together, and what does the rest of their document say?

use std::collections::{BinaryHeap, HashMap, HashSet};
use std::ops::Range;

use tantivy::postings::{Postings as _, SegmentPostings};
use tantivy::query::{Bm25StatisticsProvider as _, BooleanQuery, BoostQuery, EnableScoring, Occur, Query, TermQuery};
use tantivy::schema::IndexRecordOption;
use tantivy::{DocAddress, DocId, DocSet as _, Searcher, SegmentReader, Term};

use crate::query::Question;
use crate::schema::Fields;

/// How many passages are looked at closely.
pub(crate) const CLOSELY: usize = 320;

/// What two words of the query count that stand together as they do there.
const TOGETHER: f32 = 0.3;
/// How far apart they may be.
const WINDOW: u32 = 3;
/// How much of a document's score is of the whole document; the rest is of its best passage.
const WHOLE_DOCUMENT: f32 = 0.5;
/// BM25's, as in tantivy.
const K1: f32 = 1.2;
const B: f32 = 0.75;

/// What a hit is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Each passage for itself.
    Passage,
    /// Each document once, by its best passage.
    Document,
}

/// A passage that may answer.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ranked {
    pub(crate) score: f32,
    pub(crate) address: DocAddress,
    /// The document that it is of.
    pub(crate) key: u64,
    /// Its place in that document.
    pub(crate) order: u64,
    /// The same for documents with the same text.
    pub(crate) document: u64,
    /// How much of it stands in sentences, in percent.
    pub(crate) readable: u64,
}

/// What was found, best first.
#[derive(Debug)]
pub(crate) struct Ranking {
    pub(crate) best: Vec<Ranked>,
    /// Nothing else holds a word of the query.
    pub(crate) complete: bool,
}

/// The best of `depth` passages. The first ones are the same for any depth.
pub(crate) fn rank(
    searcher: &Searcher,
    fields: &Fields,
    question: &Question,
    depth: usize,
    unit: Unit,
) -> tantivy::Result<Ranking> {
    let depth = depth.max(CLOSELY);
    let mut found = likely(searcher, question, depth)?;
    let complete = found.len() < depth;
    let rest = found.split_off(found.len().min(CLOSELY));
    let columns = Columns::of(searcher)?;
    let mut best = Close::new(searcher, fields, question)?.look(&columns, &found, unit)?;
    best.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.key.cmp(&b.key)).then(a.order.cmp(&b.order)));
    let least = best.last().map_or(f32::MAX, |last| last.score);
    let mut seen: HashSet<u64> = best.iter().map(|ranked| ranked.key).collect();
    for (score, address) in rest {
        let Some(ranked) = columns.ranked(score.min(least), address) else { continue };
        if unit == Unit::Passage || seen.insert(ranked.key) {
            best.push(ranked);
        }
    }
    Ok(Ranking { best, complete })
}

/// The passages with the highest sums of words, best first.
fn likely(searcher: &Searcher, question: &Question, depth: usize) -> tantivy::Result<Vec<(f32, DocAddress)>> {
    let finding: Vec<_> = question.terms.iter().filter(|wanted| !wanted.is_grammar).collect();
    if finding.is_empty() {
        return Ok(Vec::new());
    }
    let clause = |wanted: &crate::query::Wanted| {
        let term = Box::new(TermQuery::new(wanted.term.clone(), IndexRecordOption::WithFreqs));
        (Occur::Should, Box::new(BoostQuery::new(term, wanted.weight)) as Box<dyn Query>)
    };
    let query = BooleanQuery::new(finding.into_iter().map(clause).collect());
    let weight = query.weight(EnableScoring::enabled_from_searcher(searcher))?;
    let mut segments: Vec<(u32, &SegmentReader)> = (0..).zip(searcher.segment_readers()).collect();
    // What the largest parts hold spares most of the others a look.
    segments.sort_by_key(|(_, segment)| std::cmp::Reverse(segment.max_doc()));
    let mut heap: BinaryHeap<Likely> = BinaryHeap::with_capacity(depth + 1);
    let mut seen = 0_u32;
    for (number, segment) in segments {
        let mut threshold = if heap.len() < depth { f32::MIN } else { heap.peek().map_or(f32::MIN, |l| l.score) };
        let alive = segment.alive_bitset();
        weight.for_each_pruning(threshold, segment, &mut |doc, score| {
            if alive.is_some_and(|alive| alive.is_deleted(doc)) {
                return threshold;
            }
            heap.push(Likely { score, seen, address: DocAddress::new(number, doc) });
            seen += 1;
            if heap.len() > depth {
                heap.pop();
            }
            if heap.len() == depth {
                threshold = heap.peek().map_or(f32::MIN, |least| least.score);
            }
            threshold
        })?;
    }
    Ok(heap.into_sorted_vec().into_iter().map(|likely| (likely.score, likely.address)).collect())
}

/// The least likely is the greatest, so that the heap gives it away first.
struct Likely {
    score: f32,
    /// How many were found before it: of equal ones those found first stay.
    seen: u32,
    address: DocAddress,
}

impl Ord for Likely {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        other.score.total_cmp(&self.score).then(self.seen.cmp(&other.seen))
    }
}

impl PartialOrd for Likely {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Likely {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Likely {}

/// The numbers of passages, for each part of the index.
struct Columns(Vec<Column>);

struct Column {
    key: tantivy::columnar::Column<u64>,
    order: tantivy::columnar::Column<u64>,
    document: tantivy::columnar::Column<u64>,
    readable: tantivy::columnar::Column<u64>,
}

impl Columns {
    fn of(searcher: &Searcher) -> tantivy::Result<Self> {
        let column = |segment: &SegmentReader| {
            let column = |name| segment.fast_fields().u64(name);
            Ok(Column {
                key: column("key")?,
                order: column("order")?,
                document: column("document")?,
                readable: column("readable")?,
            })
        };
        Ok(Self(searcher.segment_readers().iter().map(column).collect::<tantivy::Result<_>>()?))
    }

    fn ranked(&self, score: f32, address: DocAddress) -> Option<Ranked> {
        let column = self.0.get(address.segment_ord as usize)?;
        let id = address.doc_id;
        Some(Ranked {
            score,
            address,
            key: column.key.first(id)?,
            order: column.order.first(id)?,
            document: column.document.first(id)?,
            readable: column.readable.first(id)?,
        })
    }
}

impl Column {
    /// The passages of the document that a passage is of: they stand one after the other.
    fn document_of(&self, id: DocId, passages: u32) -> Range<DocId> {
        let (key, order) = (self.key.first(id), self.order.first(id).unwrap_or_default());
        let belongs = |other: DocId| {
            let place = (order + u64::from(other)).checked_sub(u64::from(id));
            self.key.first(other) == key && self.order.first(other) == place
        };
        let start = (0..id).rev().take_while(|before| belongs(*before)).last().unwrap_or(id);
        let end = (id + 1..passages).take_while(|after| belongs(*after)).last().map_or(id + 1, |last| last + 1);
        start..end
    }
}

/// Looks at passages closely.
struct Close<'s> {
    searcher: &'s Searcher,
    fields: &'s Fields,
    question: &'s Question,
    /// What a term counts at most, for each term.
    terms: Vec<f32>,
    /// What two terms count at most that stand together, by their places.
    pairs: Vec<(usize, usize, f32)>,
    /// The length of a passage and of a document, in words, on the average.
    passage_length: f32,
    document_length: f32,
}

/// Passages of one document, within a part of the index.
struct Group {
    passages: Range<DocId>,
    /// Those of them that are looked at.
    candidates: Vec<DocId>,
}

/// How often the terms stand in one passage or document, and where.
#[derive(Clone, Default)]
struct Counts {
    times: Vec<u32>,
    places: Vec<Vec<u32>>,
}

impl<'s> Close<'s> {
    fn new(searcher: &'s Searcher, fields: &'s Fields, question: &'s Question) -> tantivy::Result<Self> {
        let passages = searcher.total_num_docs()?.max(1);
        let words = searcher.total_num_tokens(fields.text)? as f32;
        let terms = question.terms.iter();
        let terms: Vec<f32> =
            terms.map(|wanted| wanted.weight * (K1 + 1.0) * idf(wanted.frequency, passages)).collect();
        let pair =
            |(left, right): &(usize, usize)| Some((*left, *right, TOGETHER * (terms.get(*left)? + terms.get(*right)?)));
        let pairs = question.pairs.iter().filter_map(pair).collect();
        let documents = searcher.doc_freq(&Term::from_field_u64(fields.order, 0))?.max(1);
        let (passage_length, document_length) = (words / passages as f32, words / documents as f32);
        Ok(Self { searcher, fields, question, terms, pairs, passage_length, document_length })
    }

    fn look(&self, columns: &Columns, found: &[(f32, DocAddress)], unit: Unit) -> tantivy::Result<Vec<Ranked>> {
        let mut of_segment: HashMap<u32, Vec<DocId>> = HashMap::new();
        for (_, address) in found {
            of_segment.entry(address.segment_ord).or_default().push(address.doc_id);
        }
        let mut ranked = Vec::with_capacity(found.len());
        for (number, mut ids) in of_segment {
            let (Some(segment), Some(column)) =
                (self.searcher.segment_readers().get(number as usize), columns.0.get(number as usize))
            else {
                continue;
            };
            ids.sort_unstable();
            let groups = groups(&ids, |id| match unit {
                Unit::Passage => id..id + 1,
                Unit::Document => column.document_of(id, segment.max_doc()),
            });
            let scores = self.scores(segment, &groups, unit)?;
            let address = |id| DocAddress::new(number, id);
            ranked.extend(scores.into_iter().filter_map(|(score, id)| columns.ranked(score, address(id))));
        }
        Ok(ranked)
    }

    /// The best passage of each group, with its score.
    fn scores(&self, segment: &SegmentReader, groups: &[Group], unit: Unit) -> tantivy::Result<Vec<(f32, DocId)>> {
        let lengths = segment.get_fieldnorms_reader(self.fields.text)?;
        let index = segment.inverted_index(self.fields.text)?;
        let in_pairs: HashSet<usize> = self.question.pairs.iter().flat_map(|(left, right)| [*left, *right]).collect();
        let terms = self.question.terms.len();
        let blank = Counts { times: vec![0; terms], places: vec![Vec::new(); terms] };
        let mut whole: Vec<Vec<u32>> = vec![vec![0; terms]; groups.len()];
        let mut each: Vec<Vec<Counts>> =
            groups.iter().map(|group| vec![blank.clone(); group.candidates.len()]).collect();
        for (place, wanted) in self.question.terms.iter().enumerate() {
            let option = IndexRecordOption::WithFreqsAndPositions;
            let Some(mut postings) = index.read_postings(&wanted.term, option)? else { continue };
            let positions = in_pairs.contains(&place);
            for ((group, whole), each) in groups.iter().zip(&mut whole).zip(&mut each) {
                count(&mut postings, group, place, positions, whole, each);
            }
        }
        let best = |((group, whole), each): ((&Group, &Vec<u32>), &Vec<Counts>)| {
            let passages = group.candidates.iter().zip(each);
            let passages = passages.map(|(id, counts)| (self.passage(lengths.fieldnorm(*id), counts), *id));
            let (passage, id) = passages.max_by(|(a, _), (b, _)| a.total_cmp(b))?;
            let score = match unit {
                Unit::Passage => passage,
                Unit::Document => {
                    let length: u32 = group.passages.clone().map(|id| lengths.fieldnorm(id)).sum();
                    WHOLE_DOCUMENT * self.document(length as f32, whole) + (1.0 - WHOLE_DOCUMENT) * passage
                }
            };
            Some((score, id))
        };
        Ok(groups.iter().zip(&whole).zip(&each).filter_map(best).collect())
    }

    fn passage(&self, length: u32, counts: &Counts) -> f32 {
        let norm = norm(length as f32, self.passage_length);
        let place = |term: usize| counts.places.get(term).map(Vec::as_slice).unwrap_or_default();
        let pairs = self.pairs.iter();
        let pairs = pairs.map(|(left, right, most)| most * share(together(place(*left), place(*right)), norm));
        let terms = self.terms.iter().zip(&counts.times).map(|(most, times)| most * share(*times, norm));
        terms.sum::<f32>() + pairs.sum::<f32>()
    }

    fn document(&self, length: f32, times: &[u32]) -> f32 {
        let norm = norm(length, self.document_length);
        self.terms.iter().zip(times).map(|(most, times)| most * share(*times, norm)).sum()
    }
}

/// What a term says that is in so many of all passages.
fn idf(frequency: u64, all: u64) -> f32 {
    let (frequency, all) = (frequency.min(all) as f32, all as f32);
    (1.0 + (all - frequency + 0.5) / (frequency + 0.5)).ln()
}

fn norm(length: f32, average: f32) -> f32 {
    K1 * (1.0 - B + B * length / average.max(1.0))
}

/// How much of what a term counts at most it counts when it is there so many times.
fn share(times: u32, norm: f32) -> f32 {
    times as f32 / (times as f32 + norm)
}

fn groups(ids: &[DocId], document_of: impl Fn(DocId) -> Range<DocId>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for id in ids {
        match groups.last_mut() {
            Some(group) if group.passages.contains(id) => group.candidates.push(*id),
            _ => groups.push(Group { passages: document_of(*id), candidates: vec![*id] }),
        }
    }
    groups
}

/// Counts one term in the passages of a document.
fn count(
    postings: &mut SegmentPostings,
    group: &Group,
    term: usize,
    positions: bool,
    whole: &mut [u32],
    each: &mut [Counts],
) {
    if postings.doc() < group.passages.start {
        postings.seek(group.passages.start);
    }
    let mut candidates = group.candidates.iter().zip(each).peekable();
    while group.passages.contains(&postings.doc()) {
        let (id, times) = (postings.doc(), postings.term_freq());
        if let Some(sum) = whole.get_mut(term) {
            *sum += times;
        }
        while candidates.next_if(|(candidate, _)| **candidate < id).is_some() {}
        if let Some((_, counts)) = candidates.next_if(|(candidate, _)| **candidate == id) {
            if let Some(place) = counts.times.get_mut(term) {
                *place = times;
            }
            if let Some(place) = counts.places.get_mut(term).filter(|_| positions) {
                postings.positions(place);
            }
        }
        postings.advance();
    }
}

/// How often a place of `right` follows one of `left` closely.
fn together(left: &[u32], right: &[u32]) -> u32 {
    let mut rights = right.iter().peekable();
    let mut times = 0;
    for place in left {
        while rights.next_if(|right| **right <= *place).is_some() {}
        times += u32::from(rights.peek().is_some_and(|right| **right - place <= WINDOW));
    }
    times
}
