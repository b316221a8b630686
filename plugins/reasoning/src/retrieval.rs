//! Finding and reading: searches run in parallel over whichever search tools the agent has, the best documents that were not
//! seen yet are read in parallel, and what fails is reported and gone around. Several parts of a question are searched and read for in
//! one go, and a document that one part has read costs the others no further call.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;
use vivarium_sdk::excerpt::{GAP, content_words};
use vivarium_sdk::mode::{CallResult, Host, Passage, Source, ToolCall, ToolDefinition};

use crate::likeness::Likeness;
use crate::location::{is_print_edition, is_web, key};

/// How many passages one search gives.
const HITS_PER_SEARCH: u32 = 12;
/// Longer ones are refused by the search tools.
const MAX_QUERY_CHARACTERS: usize = 1000;
/// Two queries that share this part of their words find the same.
const SAME_QUERY: f32 = 0.8;

/// Where documents come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// The operator's documents.
    Corpus,
    /// The web.
    Web,
}

impl Place {
    const ALL: [Self; 2] = [Self::Corpus, Self::Web];

    fn search_tool(self) -> &'static str {
        match self {
            Self::Corpus => "corpus_search",
            Self::Web => "web_search",
        }
    }

    fn read_tool(self) -> &'static str {
        match self {
            Self::Corpus => "corpus_read",
            Self::Web => "web_fetch",
        }
    }

    /// How a sentence calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Corpus => "the corpus",
            Self::Web => "the web",
        }
    }
}

/// A document that a search has named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Where it was found.
    pub place: Place,
    /// Its path or URL.
    pub location: String,
    /// Its title.
    pub title: String,
    /// The passages that the search showed. Those of the corpus stand in the document word for word.
    pub passages: Vec<Shown>,
}

/// A passage that a search has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// The heading that it stands under; may be empty.
    pub heading: String,
    /// Its words.
    pub text: String,
}

/// A document that was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// As the search named it.
    pub candidate: Candidate,
    /// The run's entry for it.
    pub source: Source,
    /// What the reading tool showed of it.
    pub content: String,
}

impl Reading {
    /// The pieces of it that an answer may rest on: what the search found, else what the reading showed.
    #[must_use]
    pub fn passages(&self) -> Vec<Passage> {
        let passage = |heading: &str, text: &str| {
            let title = &self.source.title;
            let title = if heading.is_empty() { title.clone() } else { format!("{title} › {heading}") };
            Passage { source_id: self.source.id.clone(), title, text: text.to_owned() }
        };
        match self.candidate.place {
            Place::Corpus if !self.candidate.passages.is_empty() => {
                self.candidate.passages.iter().map(|shown| passage(&shown.heading, &shown.text)).collect()
            }
            _ => {
                let parts = self.content.split(GAP).map(str::trim).filter(|part| !part.is_empty());
                parts.map(|part| passage("", part)).collect()
            }
        }
    }
}

/// What one part of a question wants to read.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What was found for it and not read yet, best first.
    pub found: VecDeque<Candidate>,
    /// What it wants to know: long documents are read for that.
    pub focus: String,
    /// How many documents it wants now.
    pub count: usize,
    /// What it has read, by the ids of the sources, with the passages that it was shown.
    shown: BTreeMap<String, BTreeSet<String>>,
}

impl Wanted {
    /// A part that wants to know this, and to read so many documents now.
    #[must_use]
    pub fn new(focus: &str, count: usize) -> Self {
        let focus = focus.chars().take(MAX_QUERY_CHARACTERS).collect();
        Self { focus, count, ..Self::default() }
    }

    /// Puts what was found now before what was left over.
    pub fn add(&mut self, mut found: VecDeque<Candidate>) {
        let left = std::mem::take(&mut self.found).into_iter();
        let known = |candidate: &Candidate| found.iter().any(|new| key(&new.location) == key(&candidate.location));
        let left: Vec<Candidate> = left.filter(|candidate| !known(candidate)).collect();
        found.extend(left);
        self.found = found;
    }

    /// Whether this is news to it: another document, or other passages of one that it has read.
    fn is_news(&mut self, candidate: &Candidate, source: &Source) -> bool {
        let is_first = !self.shown.contains_key(&source.id);
        let shown = self.shown.entry(source.id.clone()).or_default();
        let before = shown.len();
        shown.extend(candidate.passages.iter().map(|shown| shown.text.clone()));
        is_first || shown.len() > before
    }
}

/// The search and the reading of one run.
#[derive(Debug, Default)]
pub struct Retrieval {
    places: Vec<Place>,
    calls: u32,
    /// What was read, by its location's key.
    read: BTreeMap<String, (Reading, Likeness)>,
    /// What can not be read, and what another document says, too.
    left_out: BTreeSet<String>,
    queries: Vec<BTreeSet<String>>,
    /// What was searched for, and where, in order.
    pub searched: Vec<(Place, String)>,
    /// What went wrong, each once.
    pub problems: Vec<String>,
}

/// What `corpus_search` and `web_search` answer.
#[derive(Deserialize)]
struct Findings {
    #[serde(default)]
    hits: Vec<Hit>,
    #[serde(default)]
    results: Vec<WebResult>,
}

#[derive(Deserialize)]
struct Hit {
    location: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    heading: String,
    #[serde(default)]
    passage: String,
}

#[derive(Deserialize)]
struct WebResult {
    url: String,
    #[serde(default)]
    title: String,
    #[serde(default)]
    snippet: String,
}

impl Retrieval {
    /// A retrieval over the places that `tools` can both search and read.
    #[must_use]
    pub fn new(tools: &[ToolDefinition]) -> Self {
        let has = |name: &str| tools.iter().any(|tool| tool.name == name);
        let places = Place::ALL.into_iter().filter(|place| has(place.search_tool()) && has(place.read_tool()));
        Self { places: places.collect(), ..Self::default() }
    }

    /// There is something to search.
    #[must_use]
    pub fn is_possible(&self) -> bool {
        !self.places.is_empty()
    }

    /// Searches all places for all queries that were not searched for yet, in parallel. The best documents come first, each
    /// once.
    pub fn search(&mut self, host: &mut impl Host, queries: &[String]) -> VecDeque<Candidate> {
        self.search_each(host, &[queries.to_vec()]).pop().unwrap_or_default()
    }

    /// The same for several parts of a question at once: what each has found.
    pub fn search_each(&mut self, host: &mut impl Host, parts: &[Vec<String>]) -> Vec<VecDeque<Candidate>> {
        let mut calls = Vec::new();
        let mut asked = Vec::new();
        for (part, queries) in parts.iter().enumerate() {
            for query in queries {
                // What the tools take at most. A question may be a whole page.
                let query: String = query.chars().take(MAX_QUERY_CHARACTERS).collect();
                if !self.is_new(&query) {
                    continue;
                }
                for place in self.places.clone() {
                    host.step(&format!("Searching {} for “{query}”", place.name()));
                    let arguments = match place {
                        Place::Corpus => serde_json::json!({ "query": query, "maxHits": HITS_PER_SEARCH }),
                        Place::Web => serde_json::json!({ "query": query }),
                    };
                    calls.push(self.call(place.search_tool(), &arguments));
                    asked.push((part, place));
                    self.searched.push((place, query.clone()));
                }
            }
        }
        if calls.is_empty() {
            return vec![VecDeque::new(); parts.len()];
        }
        let results = host.call_all(&calls);
        // A place that answers no query of a batch is down or not set up: the rest of the run does without it.
        let is_of = |place: &Place| asked.iter().any(|(_, asked)| asked == place);
        let answers =
            |place: &Place| asked.iter().zip(&results).any(|((_, asked), result)| asked == place && !result.is_error);
        self.places.retain(|place| !is_of(place) || answers(place));
        let mut lists: Vec<Vec<Vec<Candidate>>> = vec![Vec::new(); parts.len()];
        for ((part, place), result) in asked.into_iter().zip(results) {
            let candidates = self.candidates(host, place, result);
            if let Some(lists) = lists.get_mut(part) {
                lists.push(candidates);
            }
        }
        lists.into_iter().map(|lists| self.merge(lists)).collect()
    }

    /// Reads up to `count` documents in parallel. For one that can not be read, the next one is tried.
    pub fn read(
        &mut self,
        host: &mut impl Host,
        candidates: &mut VecDeque<Candidate>,
        count: usize,
        focus: &str,
    ) -> Vec<Reading> {
        let mut wanted = [Wanted { found: std::mem::take(candidates), ..Wanted::new(focus, count) }];
        let readings = self.read_each(host, &mut wanted).pop().unwrap_or_default();
        let [wanted] = wanted;
        *candidates = wanted.found;
        readings
    }

    /// The same for several parts of a question at once: what each has read. What another part has read is read for all.
    pub fn read_each(&mut self, host: &mut impl Host, parts: &mut [Wanted]) -> Vec<Vec<Reading>> {
        let mut readings: Vec<Vec<Reading>> = vec![Vec::new(); parts.len()];
        loop {
            let mut batch: Vec<(usize, Candidate)> = Vec::new();
            for (at, (part, readings)) in parts.iter_mut().zip(&mut readings).enumerate() {
                self.choose(at, part, readings, &mut batch);
            }
            if batch.is_empty() {
                return readings;
            }
            let calls: Vec<ToolCall> = batch
                .iter()
                .map(|(part, candidate)| {
                    let focus = parts.get(*part).map(|part| part.focus.as_str()).unwrap_or_default();
                    self.call_to_read(host, candidate, focus)
                })
                .collect();
            for ((part, candidate), result) in batch.into_iter().zip(host.call_all(&calls)) {
                match self.keep(host, candidate, result) {
                    Kept::Yes(reading) => {
                        if let (Some(part), Some(readings)) = (parts.get_mut(part), readings.get_mut(part))
                            && part.is_news(&reading.candidate, &reading.source)
                        {
                            readings.push(*reading);
                        }
                    }
                    Kept::ElseFrom(candidate) => {
                        if let Some(part) = parts.get_mut(part) {
                            part.found.push_front(candidate);
                        }
                    }
                    Kept::No => {}
                }
            }
        }
    }

    /// What a part is to read next, as far as it wants more: what was read before at once, the rest into `batch`, each document
    /// once.
    fn choose(&self, at: usize, part: &mut Wanted, readings: &mut Vec<Reading>, batch: &mut Vec<(usize, Candidate)>) {
        let mut on_their_way = 0;
        let mut waiting = VecDeque::new();
        while readings.len() + on_their_way < part.count {
            let Some(candidate) = part.found.pop_front() else { break };
            let location = key(&candidate.location);
            if self.left_out.contains(&location) {
                continue;
            }
            if let Some((known, _)) = self.read.get(&location) {
                if part.is_news(&candidate, &known.source) {
                    readings.push(Reading { candidate, ..known.clone() });
                }
            } else {
                on_their_way += 1;
                if batch.iter().any(|(_, other)| key(&other.location) == location) {
                    // Another part reads it just now: it is there the next time.
                    waiting.push_back(candidate);
                } else {
                    batch.push((at, candidate));
                }
            }
        }
        while let Some(candidate) = waiting.pop_back() {
            part.found.push_front(candidate);
        }
    }

    fn call_to_read(&mut self, host: &mut impl Host, candidate: &Candidate, focus: &str) -> ToolCall {
        host.step(&format!("Reading {}", label(candidate)));
        let argument = match candidate.place {
            Place::Corpus => "location",
            Place::Web => "url",
        };
        let arguments = serde_json::json!({ argument: candidate.location, "focus": focus });
        self.call(candidate.place.read_tool(), &arguments)
    }

    /// What came of reading a document.
    fn keep(&mut self, host: &mut impl Host, candidate: Candidate, result: CallResult) -> Kept {
        let location = key(&candidate.location);
        let Some(source) = result.sources.into_iter().next().filter(|_| !result.is_error) else {
            let why = format!("Could not read {}: {}", label(&candidate), first_line(&result.content));
            self.problem(host, why);
            // A document of the corpus that has an address can be had from there.
            if candidate.place == Place::Corpus && is_web(&candidate.location) && self.places.contains(&Place::Web) {
                return Kept::ElseFrom(Candidate { place: Place::Web, ..candidate });
            }
            self.left_out.insert(location);
            return Kept::No;
        };
        let likeness = Likeness::of(&result.content);
        // What has led elsewhere is known by both of its addresses.
        let (there, other) = (key(&source.location), |known: &Reading| known.source.location != source.location);
        let same = self
            .read
            .values()
            .find(|(known, is)| other(known) && (is_same_text(&known.source, &source) || likeness.is_of(is)));
        if let Some((known, _)) = same {
            host.step(&format!("{} says what “{}” says, and is left out", label(&candidate), known.source.title));
            self.left_out.extend([location, there]);
            return Kept::No;
        }
        let reading = Reading { candidate, source, content: result.content };
        for key in [location, there] {
            self.read.insert(key, (reading.clone(), likeness.clone()));
        }
        Kept::Yes(Box::new(reading))
    }

    /// What was searched, as the end of a sentence: `the corpus for “a” and “b”, the web for “a”`.
    #[must_use]
    pub fn summary(&self) -> String {
        let mut by_place: BTreeMap<Place, Vec<String>> = BTreeMap::new();
        for (place, query) in &self.searched {
            by_place.entry(*place).or_default().push(format!("“{query}”"));
        }
        let parts = by_place.iter().map(|(place, queries)| format!("{} for {}", place.name(), queries.join(", ")));
        parts.collect::<Vec<_>>().join("; ")
    }

    fn call(&mut self, name: &str, arguments: &serde_json::Value) -> ToolCall {
        self.calls += 1;
        ToolCall { id: format!("c{}", self.calls), name: name.to_owned(), arguments_json: arguments.to_string() }
    }

    /// Whether nothing like `query` was searched for yet; from now on it was.
    fn is_new(&mut self, query: &str) -> bool {
        let mut words: BTreeSet<String> = content_words(query).into_iter().collect();
        if words.is_empty() {
            words = query.split_whitespace().map(str::to_lowercase).collect();
        }
        if words.is_empty() {
            return false;
        }
        let same = |known: &BTreeSet<String>| {
            #[expect(clippy::cast_precision_loss, reason = "counts of words")]
            let part = known.intersection(&words).count() as f32 / known.union(&words).count().max(1) as f32;
            part >= SAME_QUERY
        };
        let new = !self.queries.iter().any(same);
        if new {
            self.queries.push(words);
        }
        new
    }

    fn candidates(&mut self, host: &mut impl Host, place: Place, result: CallResult) -> Vec<Candidate> {
        if result.is_error {
            let why = format!("Searching {} failed: {}", place.name(), first_line(&result.content));
            self.problem(host, why);
            return Vec::new();
        }
        let Ok(findings) = serde_json::from_str::<Findings>(&result.content) else {
            let why = format!("Searching {} gave something that is no list of hits", place.name());
            self.problem(host, why);
            return Vec::new();
        };
        let hits = findings.hits.into_iter().map(|hit| (hit.location, hit.title, hit.heading, hit.passage));
        let results =
            findings.results.into_iter().map(|result| (result.url, result.title, String::new(), result.snippet));
        let candidate = |(location, title, heading, text): (String, String, String, String)| {
            let passages = if text.trim().is_empty() { Vec::new() } else { vec![Shown { heading, text }] };
            Candidate { place, location, title, passages }
        };
        hits.chain(results).map(candidate).collect()
    }

    /// One list of several: the first of each, then the second of each, … with one entry for each document. The print edition
    /// of a book comes last: its chapters say the same, and a reader finds the place in them.
    fn merge(&self, mut lists: Vec<Vec<Candidate>>) -> VecDeque<Candidate> {
        let longest = lists.iter().map(Vec::len).max().unwrap_or_default();
        let mut merged: Vec<Candidate> = Vec::new();
        for list in &mut lists {
            list.reverse();
        }
        for _ in 0..longest {
            for candidate in lists.iter_mut().filter_map(Vec::pop) {
                let location = key(&candidate.location);
                if self.left_out.contains(&location) {
                    continue;
                }
                match merged.iter_mut().find(|known| key(&known.location) == location) {
                    Some(known) => {
                        let new = candidate.passages.into_iter().filter(|passage| !known.passages.contains(passage));
                        let new: Vec<Shown> = new.collect();
                        known.passages.extend(new);
                    }
                    None => merged.push(candidate),
                }
            }
        }
        merged.sort_by_key(|candidate| is_print_edition(&candidate.location));
        merged.into()
    }

    fn problem(&mut self, host: &mut impl Host, why: String) {
        if !self.problems.contains(&why) {
            host.step(&why);
            self.problems.push(why);
        }
    }
}

fn label(candidate: &Candidate) -> String {
    let title = candidate.title.trim();
    if title.is_empty() { candidate.location.clone() } else { format!("“{title}”") }
}

fn first_line(text: &str) -> &str {
    vivarium_sdk::excerpt::beginning(text.lines().next().unwrap_or_default(), 300)
}

/// Both are there, and they are the same.
fn is_same_text(one: &Source, other: &Source) -> bool {
    !one.content_hash.is_empty() && one.content_hash == other.content_hash
}

/// What became of a document.
enum Kept {
    /// It was read.
    Yes(Box<Reading>),
    /// It may be had from elsewhere.
    ElseFrom(Candidate),
    /// It can not be read, or says nothing new.
    No,
}
