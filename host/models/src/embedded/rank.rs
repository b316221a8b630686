//! Choosing the sentences that answer. Plain arithmetic over words, in an order that can be read:
//!
//! 1. The question becomes weighted stems: rare words of the passages weigh more; words of earlier turns a little, where
//!    the question leans on them.
//! 2. Each sentence is scored by the stems that it holds (BM25), by how much of the question it covers together with its
//!    title, its heading and its neighbours, and by its looks: definitions up; menus, code and lead-ins down.
//! 3. The best are taken one by one, each time counting off what has been said already, until they stop adding.
//! 4. What was taken is put into reading order: by source, and within a source as the author wrote it.

use std::collections::{BTreeMap, HashMap, HashSet};

use vivarium_domain::{Message, Passage};

use super::sentences::{Kind, MAX_QUOTE_BYTES, Sentence, split};
use super::words::{Stems, is_stop_word, words};

/// An answer is read by a person: this many sentences, and about this many words.
const MAX_SENTENCES: usize = 7;
const MAX_WORDS: usize = 200;
/// Only the best ones are compared with each other.
const MAX_CANDIDATES: usize = 120;
/// Text beyond this is not looked at, so that no request can hold a core for long.
const MAX_TEXT_BYTES: usize = 8 << 20;
/// How much of the question, by weight, the answer must speak of. Below, it answers something else.
const MIN_COVERAGE: f32 = 0.45;
/// How much of it one sentence, with its title, must speak of: words that are scattered over unrelated sentences cover much
/// together and answer nothing.
const MIN_COVERAGE_OF_BEST: f32 = 0.35;
/// A sentence this much worse than the best one adds noise.
const MIN_SHARE_OF_BEST: f32 = 0.33;

/// A sentence of the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) source_id: String,
    /// Word for word.
    pub(super) quote: String,
    /// It stands right after the one before, in the same paragraph.
    pub(super) continues: bool,
}

/// What is asked, as the ranking sees it.
#[derive(Debug, Clone, Default)]
pub(super) struct Question {
    /// Stems and how much each was asked for, from 0 to 1, in the order of the question.
    terms: Vec<(String, f32)>,
    /// Asks what something is.
    definition: bool,
    /// Asks for things to be told apart.
    comparison: bool,
    /// Asks for code.
    code: bool,
    /// Asks why or how.
    mechanism: bool,
    /// Asks what to do.
    advice: bool,
}

impl Question {
    pub(super) fn of(messages: &[Message]) -> Self {
        let turns: Vec<String> = messages
            .iter()
            .filter(|message| matches!(message, Message::User { .. }))
            .map(Message::text)
            .filter(|text| !text.trim().is_empty())
            .collect();
        let Some((last, earlier)) = turns.split_last() else { return Self::default() };
        let lower = last.to_lowercase();
        let mut stems = Stems::new();
        let mut question = Self {
            terms: Vec::new(),
            definition: ["what is ", "what are ", "what's ", "define ", "explain ", "who is ", "who was "]
                .iter()
                .any(|cue| lower.contains(cue)),
            comparison: ["differen", "versus", " vs", "compare", "instead of", "rather than", " or ", "better than"]
                .iter()
                .any(|cue| lower.contains(cue)),
            code: ["example", "code", "signature", "syntax", "snippet", "write a "]
                .iter()
                .any(|cue| lower.contains(cue)),
            advice: ["should ", "when to ", "when do ", "recommend", "which "].iter().any(|cue| lower.contains(cue)),
            mechanism: lower.starts_with("how ") || lower.starts_with("why ") || lower.contains(" how "),
        };
        question.add(last, 1.0, &mut stems);
        // "And how does it grow?": the word that matters stands in an earlier turn.
        let leans = question.terms.len() < 2
            || words(&lower).any(|(_, word)| {
                matches!(word, "it" | "its" | "they" | "them" | "their" | "that" | "this" | "those" | "these")
            });
        if leans {
            let mut weight = 0.5;
            for turn in earlier.iter().rev().take(3) {
                question.add(turn, weight, &mut stems);
                weight *= 0.5;
            }
        }
        question
    }

    /// Whether a text holds a word that names what is asked about, not only how it is asked.
    fn is_named_in(&self, counts: &[u8]) -> bool {
        const NAMES: f32 = 0.45;
        let names = |(_, asked): &(String, f32)| *asked >= NAMES;
        let holds = |(term, count): (&(String, f32), &u8)| *count > 0 && names(term);
        self.terms.iter().zip(counts).any(holds) || !self.terms.iter().any(names)
    }

    fn add(&mut self, text: &str, weight: f32, stems: &mut Stems) {
        /// More words than this are a text, not a question.
        const MAX_TERMS: usize = 48;
        let all: Vec<String> = words(text).map(|(_, word)| word.to_lowercase()).collect();
        let only_stop_words = self.terms.is_empty() && all.iter().all(|word| is_stop_word(word));
        for word in all.iter().filter(|word| only_stop_words || !is_stop_word(word)) {
            let stem = stems.stem(word);
            let known = self.terms.iter().any(|(term, _)| *term == stem);
            if !known && self.terms.len() < MAX_TERMS {
                // What a question calls for ("difference", "example") matters less than what it is about.
                let about = !matches!(
                    stem.as_str(),
                    "differ" | "exampl" | "compar" | "code" | "best" | "happen" | "once" | "rust"
                );
                self.terms.push((stem, if about { weight } else { weight * 0.4 }));
            }
        }
    }
}

/// One sentence and what is known of it.
struct Candidate<'p> {
    passage: usize,
    /// Its place among all sentences, which are in reading order.
    place: usize,
    text: &'p str,
    kind: Kind,
    follows: bool,
    /// How often it holds each term of the question.
    counts: Vec<u8>,
    words: usize,
    score: f32,
}

/// The sentences that answer, in reading order; empty where none does.
pub(super) fn choose(question: &Question, passages: &[Passage], max_words: Option<usize>) -> Vec<Chosen> {
    if question.terms.is_empty() {
        return Vec::new();
    }
    let mut stems = Stems::new();
    let index: HashMap<&str, usize> =
        question.terms.iter().enumerate().map(|(at, (term, _))| (term.as_str(), at)).collect();
    let mut counter = Counter { index: &index, stems: &mut stems, initials: initials(question) };
    let titles: Vec<Vec<u8>> = passages.iter().map(|passage| counter.count(&passage.title).0).collect();
    let mut candidates = candidates(passages, &mut counter);
    let weights = weights(question, &candidates);
    score(question, &weights, &titles, &mut candidates);
    let taken =
        take(question, &weights, &titles, &candidates, max_words.unwrap_or(usize::MAX).min(MAX_WORDS), &mut stems);
    in_reading_order(&candidates, &taken, passages)
}

/// Counts the question's terms in texts.
struct Counter<'q> {
    index: &'q HashMap<&'q str, usize>,
    stems: &'q mut Stems,
    /// The first characters of the question's terms: a stem starts as its word does, so others need no stemming.
    initials: HashSet<char>,
}

fn initials(question: &Question) -> HashSet<char> {
    question.terms.iter().filter_map(|(term, _)| term.chars().next()).collect()
}

impl Counter<'_> {
    /// How often each term occurs, and how many words there are.
    fn count(&mut self, text: &str) -> (Vec<u8>, usize) {
        let mut counts = vec![0_u8; self.index.len()];
        let mut total = 0;
        for (_, word) in words(text) {
            total += 1;
            let initial = word.chars().next().and_then(|c| c.to_lowercase().next());
            if !initial.is_some_and(|initial| self.initials.contains(&initial)) {
                continue;
            }
            let stem = self.stems.stem(word);
            if let Some(count) = self.index.get(stem.as_str()).and_then(|at| counts.get_mut(*at)) {
                *count = count.saturating_add(1);
            }
        }
        (counts, total)
    }
}

fn candidates<'p>(passages: &'p [Passage], counter: &mut Counter<'_>) -> Vec<Candidate<'p>> {
    let mut found = Vec::new();
    let mut budget = MAX_TEXT_BYTES;
    for (passage, text) in passages.iter().map(|passage| passage.text.as_str()).enumerate() {
        let text = text.get(..text.floor_char_boundary(budget)).unwrap_or_default();
        budget -= text.len();
        for Sentence { range, kind, follows } in split(text) {
            let Some(text) = text.get(range) else { continue };
            let (counts, words) = counter.count(text);
            found.push(Candidate { passage, place: found.len(), text, kind, follows, counts, words, score: 0.0 });
        }
    }
    found
}

/// What each term is worth: how much it was asked for, times how rare it is among the sentences. A term that no
/// sentence holds is worth the most; that is what tells an answer from a near miss.
fn weights(question: &Question, candidates: &[Candidate<'_>]) -> Vec<f32> {
    let total = candidates.len() as f32;
    let weigh = |(at, (_, asked)): (usize, &(String, f32))| {
        let holding = candidates.iter().filter(|c| c.counts.get(at).is_some_and(|count| *count > 0)).count() as f32;
        // The passages were found by these very words, so rarity among them says less than in a library.
        asked * (1.0 + 0.4 * (1.0 + (total - holding + 0.5) / (holding + 0.5)).ln())
    };
    question.terms.iter().enumerate().map(weigh).collect()
}

fn score(question: &Question, weights: &[f32], titles: &[Vec<u8>], candidates: &mut [Candidate<'_>]) {
    let all: f32 = weights.iter().sum::<f32>().max(f32::EPSILON);
    let average = candidates.iter().map(|c| c.words).sum::<usize>() as f32 / candidates.len().max(1) as f32;
    let scores: Vec<f32> = (0..candidates.len())
        .map(|at| {
            let Some(candidate) = candidates.get(at) else { return 0.0 };
            let title = titles.get(candidate.passage).map(Vec::as_slice).unwrap_or_default();
            let own = bm25(weights, &candidate.counts, title, candidate.words as f32, average);
            if own <= 0.0 || !question.is_named_in(&candidate.counts) {
                return 0.0;
            }
            let context = Context::of(candidates, at, titles);
            let covered = coverage(weights, &candidate.counts, &context) / all;
            let rank = 1.0 - 0.03 * candidate.passage.min(15) as f32;
            own * (0.25 + covered) * rank * looks(question, candidate, &context)
        })
        .collect();
    for (candidate, score) in candidates.iter_mut().zip(scores) {
        candidate.score = score;
    }
}

/// What stands around a sentence and tells what it is about.
struct Context<'c> {
    title: Option<&'c [u8]>,
    heading: Option<&'c [u8]>,
    before: Option<&'c Candidate<'c>>,
    first: bool,
}

impl<'c> Context<'c> {
    fn of(candidates: &'c [Candidate<'c>], at: usize, titles: &'c [Vec<u8>]) -> Self {
        let passage = candidates.get(at).map(|candidate| candidate.passage);
        let same = |candidate: &&Candidate<'_>| Some(candidate.passage) == passage;
        let before = at.checked_sub(1).and_then(|before| candidates.get(before)).filter(same);
        let heading = (at.saturating_sub(12)..at)
            .rev()
            .filter_map(|before| candidates.get(before))
            .take_while(same)
            .find(|candidate| candidate.kind == Kind::Fragment && !candidate.follows);
        Self {
            title: passage.and_then(|passage| titles.get(passage)).map(Vec::as_slice),
            heading: heading.map(|candidate| candidate.counts.as_slice()),
            before,
            first: before.is_none(),
        }
    }
}

/// On a page about vectors a sentence need not say "vector": what the title holds counts as said, nearly.
fn bm25(weights: &[f32], counts: &[u8], title: &[u8], length: f32, average: f32) -> f32 {
    const K1: f32 = 1.2;
    const B: f32 = 0.4;
    const IN_TITLE: f32 = 0.6;
    let norm = K1 * (1.0 - B + B * length / average.max(1.0));
    let part = |((weight, count), in_title): ((&f32, &u8), &u8)| {
        let count = f32::from(*count).max(if *in_title > 0 { IN_TITLE } else { 0.0 });
        weight * count * (K1 + 1.0) / (count + norm)
    };
    weights.iter().zip(counts).zip(title).map(part).sum()
}

/// How much of the question is spoken of here, by weight; what only the surroundings hold counts in part.
fn coverage(weights: &[f32], counts: &[u8], context: &Context<'_>) -> f32 {
    const TITLE: f32 = 0.5;
    const HEADING: f32 = 0.5;
    const BEFORE: f32 = 0.4;
    let holds = |counts: Option<&[u8]>, at: usize| counts.and_then(|c| c.get(at)).is_some_and(|count| *count > 0);
    let before = context.before.map(|candidate| candidate.counts.as_slice());
    weights
        .iter()
        .enumerate()
        .map(|(at, weight)| {
            if holds(Some(counts), at) {
                *weight
            } else if holds(context.title, at) {
                weight * TITLE
            } else if holds(context.heading, at) {
                weight * HEADING
            } else if holds(before, at) {
                weight * BEFORE
            } else {
                0.0
            }
        })
        .sum()
}

/// What a sentence's form says about how well it would stand in an answer.
fn looks(question: &Question, candidate: &Candidate<'_>, context: &Context<'_>) -> f32 {
    let text = candidate.text;
    let mut factor: f32 = match candidate.kind {
        Kind::Prose => 1.0,
        Kind::LeadIn => 0.45,
        Kind::Fragment => 0.15,
        Kind::Code if question.code => 0.9,
        Kind::Code => 0.08,
    };
    factor *= match candidate.words {
        0..=3 => 0.3,
        4..=6 => 0.7,
        7..=45 => 1.0,
        46..=70 => 0.75,
        _ => 0.4,
    };
    if text.len() > MAX_QUOTE_BYTES {
        factor *= 0.2;
    }
    if text.ends_with('?') {
        // A question does not answer one, however well it repeats it.
        factor *= 0.1;
    }
    let lower = text.to_lowercase();
    if starts_with_reference(&lower) {
        factor *= 0.8;
    }
    const ABOUT_THE_TEXT: &[&str] = &[
        "listing ",
        "chapter",
        "in this section",
        "let’s",
        "let's",
        "we’ll",
        "we'll",
        "figure ",
        "as discussed",
        "as we saw",
        "for more information",
        "see also",
        "read more",
        "the following",
        "shown in",
        "click ",
        "error[",
        "explains how",
        "this handbook",
        "this guide",
        "this page",
        "this book",
        "this document",
        "this example",
        "in the example",
        "see the ",
    ];
    if ABOUT_THE_TEXT.iter().any(|phrase| lower.contains(phrase)) {
        factor *= 0.6;
    }
    if context.first {
        factor *= 1.1;
    }
    if (question.definition || question.comparison) && is_definition(question, &lower) {
        factor *= 1.5;
    }
    if question.comparison && CONTRAST.iter().any(|cue| lower.contains(cue)) {
        factor *= 1.25;
    }
    if question.advice && ADVICE.iter().any(|cue| lower.contains(cue)) {
        factor *= 1.3;
    }
    if question.mechanism && REASON.iter().any(|cue| lower.contains(cue)) {
        factor *= 1.2;
    }
    factor
}

const ADVICE: &[&str] = &[
    "if you",
    "when you",
    "consider",
    "prefer",
    "should",
    "recommend",
    "choose",
    "use ",
    "only use",
    "suitable",
    "better",
    "appropriate",
    "intended for",
    "must ",
];
const CONTRAST: &[&str] = &[
    "differ",
    "whereas",
    "while ",
    "unlike",
    "instead",
    "but ",
    "rather than",
    "compared",
    "in contrast",
    "however",
    "on the other hand",
    "similar",
    "equivalent",
    "counterpart",
    "prefer",
    "trade-off",
    "tradeoff",
];
const REASON: &[&str] =
    &["because", "so that", "in order to", "therefore", "by ", "when ", "if ", "as a result", "means that"];

/// It leans on the sentence before.
fn starts_with_reference(lower: &str) -> bool {
    const STARTS: &[&str] = &[
        "it",
        "its",
        "this",
        "that",
        "these",
        "those",
        "they",
        "their",
        "however",
        "but",
        "so",
        "therefore",
        "thus",
        "also",
        "in addition",
        "then",
        "such",
        "otherwise",
        "similarly",
        "both",
        "and",
        "here",
        "again",
        "in this case",
        "in that case",
        "because of this",
        "as a result",
        "finally",
        "first",
        "next",
        "now",
        "note that this",
        "rather",
    ];
    let is_start = |start: &&str| {
        lower.strip_prefix(*start).is_some_and(|rest| !rest.starts_with(|c: char| c.is_alphanumeric() || c == '-'))
    };
    STARTS.iter().any(is_start)
}

/// "A slice is …", "`String` provides …": the subject is what was asked about, and the verb says what it is.
fn is_definition(question: &Question, lower: &str) -> bool {
    const VERBS: &[&str] = &[
        "is",
        "are",
        "was",
        "were",
        "means",
        "refers",
        "represents",
        "provides",
        "describes",
        "denotes",
        "stands",
        "allows",
        "enables",
        "lets",
        "consists",
        "defines",
        "has",
        "owns",
        "stores",
    ];
    let opening: Vec<&str> = words(lower).map(|(_, word)| word).take(8).collect();
    let Some(verb) = opening.iter().position(|word| VERBS.contains(word)) else { return false };
    let subject: Vec<&&str> = opening.iter().take(verb).filter(|word| !is_stop_word(word)).collect();
    let mut stems = Stems::new();
    let asked = |word: &str| {
        let stem = stems.stem(word);
        question.terms.iter().any(|(term, _)| *term == stem)
    };
    verb <= 6 && !subject.is_empty() && subject.into_iter().copied().any(asked)
}

/// Takes the best sentences one by one. Places in `candidates`.
fn take(
    question: &Question,
    weights: &[f32],
    titles: &[Vec<u8>],
    candidates: &[Candidate<'_>],
    max_words: usize,
    stems: &mut Stems,
) -> Vec<usize> {
    let mut pool = best(candidates);
    let top = pool.first().and_then(|at| candidates.get(*at)).map_or(0.0, |candidate| candidate.score);
    let bags: BTreeMap<usize, HashSet<String>> =
        pool.iter().filter_map(|at| Some((*at, bag(candidates.get(*at)?.text, stems)))).collect();
    let mut said = vec![false; weights.len()];
    let mut taken: Vec<usize> = Vec::new();
    let mut words_left = max_words;
    while taken.len() < MAX_SENTENCES && !pool.is_empty() {
        let value = |at: usize| -> f32 {
            let Some(candidate) = candidates.get(at) else { return 0.0 };
            let likeness = taken.iter().map(|other| alike(&bags, at, *other)).fold(0.0, f32::max);
            let news = news(weights, &candidate.counts, &said);
            if likeness > 0.75 { 0.0 } else { candidate.score * (1.0 - 0.6 * likeness) * (0.85 + 0.3 * news) }
        };
        let Some((slot, at, worth)) = pool
            .iter()
            .enumerate()
            .map(|(slot, at)| (slot, *at, value(*at)))
            .max_by(|a, b| a.2.total_cmp(&b.2).then_with(|| b.1.cmp(&a.1)))
        else {
            break;
        };
        pool.remove(slot);
        if worth < top * MIN_SHARE_OF_BEST {
            break;
        }
        let Some(candidate) = candidates.get(at).filter(|candidate| candidate.words_as_tokens() <= words_left) else {
            continue;
        };
        words_left -= candidate.words_as_tokens();
        taken.push(at);
        for (said, count) in said.iter_mut().zip(&candidate.counts) {
            *said |= *count > 0;
        }
        lead_up(candidates, at, &mut taken, &mut words_left);
    }
    if answers(question, weights, titles, candidates, &taken) { taken } else { Vec::new() }
}

impl Candidate<'_> {
    /// Its words as usage counts them, with room for the source's mark.
    fn words_as_tokens(&self) -> usize {
        self.text.split_whitespace().count() + 2
    }
}

/// The candidates worth comparing, best first.
fn best(candidates: &[Candidate<'_>]) -> Vec<usize> {
    let mut pool: Vec<&Candidate<'_>> = candidates.iter().filter(|candidate| candidate.score > 0.0).collect();
    pool.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.place.cmp(&b.place)));
    pool.into_iter().take(MAX_CANDIDATES).map(|candidate| candidate.place).collect()
}

fn bag(text: &str, stems: &mut Stems) -> HashSet<String> {
    words(text)
        .map(|(_, word)| word.to_lowercase())
        .filter(|word| !is_stop_word(word))
        .map(|w| stems.stem(&w))
        .collect()
}

/// The share of the smaller sentence's words that the other one holds too.
fn alike(bags: &BTreeMap<usize, HashSet<String>>, a: usize, b: usize) -> f32 {
    let (Some(a), Some(b)) = (bags.get(&a), bags.get(&b)) else { return 0.0 };
    let common = a.intersection(b).count() as f32;
    common / a.len().min(b.len()).max(1) as f32
}

/// The share of the question's weight that this sentence is the first to speak of.
fn news(weights: &[f32], counts: &[u8], said: &[bool]) -> f32 {
    let all: f32 = weights.iter().sum::<f32>().max(f32::EPSILON);
    let fresh = weights.iter().zip(counts).zip(said).filter(|((_, count), said)| **count > 0 && !**said);
    fresh.map(|((weight, _), _)| weight).sum::<f32>() / all
}

/// A sentence that starts with "It" is nothing without the one before.
fn lead_up(candidates: &[Candidate<'_>], at: usize, taken: &mut Vec<usize>, words_left: &mut usize) {
    let Some(candidate) = candidates.get(at) else { return };
    if !candidate.follows || !starts_with_reference(&candidate.text.to_lowercase()) {
        return;
    }
    let before = at.checked_sub(1).filter(|before| !taken.contains(before));
    let Some((before, lead)) = before.and_then(|before| Some((before, candidates.get(before)?))) else { return };
    let fits = lead.kind == Kind::Prose && lead.words <= 45 && lead.words_as_tokens() <= *words_left;
    if fits && taken.len() < MAX_SENTENCES {
        *words_left -= lead.words_as_tokens();
        taken.push(before);
    }
}

/// Whether what was taken speaks of enough of the question to be called an answer.
fn answers(
    question: &Question,
    weights: &[f32],
    titles: &[Vec<u8>],
    candidates: &[Candidate<'_>],
    taken: &[usize],
) -> bool {
    let sentences = || taken.iter().filter_map(|at| candidates.get(*at));
    let spoken_of = |at: usize| {
        let holds = |counts: &[u8]| counts.get(at).is_some_and(|count| *count > 0);
        sentences().any(|s| holds(&s.counts) || titles.get(s.passage).is_some_and(|title| holds(title)))
    };
    // Words of earlier turns help to find; they are not asked for again.
    let is_asked = |at: &usize| question.terms.get(*at).is_some_and(|(_, asked)| *asked > 0.5);
    let asked: Vec<(usize, f32)> = weights.iter().copied().enumerate().filter(|(at, _)| is_asked(at)).collect();
    let all: f32 = asked.iter().map(|(_, weight)| weight).sum();
    let spoken: f32 = asked.iter().filter(|(at, _)| spoken_of(*at)).map(|(_, weight)| weight).sum();
    let by_one = |s: &Candidate<'_>| -> f32 {
        let title = titles.get(s.passage);
        let holds = |at: usize| {
            s.counts.get(at).is_some_and(|count| *count > 0)
                || title.and_then(|title| title.get(at)).is_some_and(|count| *count > 0)
        };
        asked.iter().filter(|(at, _)| holds(*at)).map(|(_, weight)| weight).sum()
    };
    let best = sentences().map(by_one).fold(0.0, f32::max);
    !taken.is_empty() && (all <= 0.0 || (spoken / all >= MIN_COVERAGE && best / all >= MIN_COVERAGE_OF_BEST))
}

fn in_reading_order(candidates: &[Candidate<'_>], taken: &[usize], passages: &[Passage]) -> Vec<Chosen> {
    let mut sources: Vec<&str> = Vec::new();
    let source = |at: &usize| candidates.get(*at).and_then(|c| passages.get(c.passage)).map(|p| p.source_id.as_str());
    for id in taken.iter().filter_map(source) {
        if !sources.contains(&id) {
            sources.push(id);
        }
    }
    let mut order: Vec<usize> = taken.to_vec();
    order.sort_by_key(|at| (source(at).and_then(|id| sources.iter().position(|known| *known == id)), *at));
    let mut previous: Option<usize> = None;
    let mut chosen: Vec<Chosen> = Vec::new();
    for at in order {
        let (Some(candidate), Some(source_id)) = (candidates.get(at), source(&at)) else { continue };
        let continues = candidate.follows && previous.is_some_and(|previous| previous + 1 == at);
        chosen.push(Chosen { source_id: source_id.to_owned(), quote: candidate.text.to_owned(), continues });
        previous = Some(at);
    }
    chosen
}
