//! Finding and reading: searches run in parallel over whichever search tools the agent has, the best documents that were not
//! seen yet are read in parallel, and what fails is reported and gone around.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::Deserialize;
use vivarium_sdk::excerpt::{GAP, content_words};
use vivarium_sdk::mode::{CallResult, Host, Passage, Source, ToolCall, ToolDefinition};

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

/// The search and the reading of one run.
#[derive(Debug, Default)]
pub struct Retrieval {
    places: Vec<Place>,
    calls: u32,
    seen: BTreeSet<String>,
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
    /// once, without those that were read before.
    pub fn search(&mut self, host: &mut impl Host, queries: &[String]) -> VecDeque<Candidate> {
        let mut calls = Vec::new();
        let mut asked = Vec::new();
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
                asked.push(place);
                self.searched.push((place, query.clone()));
            }
        }
        if calls.is_empty() {
            return VecDeque::new();
        }
        let results = host.call_all(&calls);
        // A place that answers no query of a batch is down or not set up: the rest of the run does without it.
        let answers =
            |place: &Place| asked.iter().zip(&results).any(|(asked, result)| asked == place && !result.is_error);
        self.places.retain(|place| !asked.contains(place) || answers(place));
        let lists =
            asked.into_iter().zip(results).map(|(place, result)| self.candidates(host, place, result)).collect();
        self.merge(lists)
    }

    /// Reads up to `count` documents in parallel. For one that can not be read, the next one is tried.
    pub fn read(
        &mut self,
        host: &mut impl Host,
        candidates: &mut VecDeque<Candidate>,
        count: usize,
        focus: &str,
    ) -> Vec<Reading> {
        let mut readings: Vec<Reading> = Vec::new();
        while readings.len() < count && !candidates.is_empty() {
            let missing = (count - readings.len()).min(candidates.len());
            let batch: Vec<Candidate> = candidates.drain(..missing).collect();
            let calls: Vec<ToolCall> = batch
                .iter()
                .map(|candidate| {
                    host.step(&format!("Reading {}", label(candidate)));
                    self.seen.insert(key(&candidate.location));
                    let argument = match candidate.place {
                        Place::Corpus => "location",
                        Place::Web => "url",
                    };
                    let focus: String = focus.chars().take(MAX_QUERY_CHARACTERS).collect();
                    let arguments = serde_json::json!({ argument: candidate.location, "focus": focus });
                    self.call(candidate.place.read_tool(), &arguments)
                })
                .collect();
            for (candidate, result) in batch.into_iter().zip(host.call_all(&calls)) {
                match result.sources.into_iter().next() {
                    Some(source) if !result.is_error => {
                        self.seen.insert(key(&source.location));
                        readings.push(Reading { candidate, source, content: result.content });
                    }
                    _ => {
                        let why = format!("Could not read {}: {}", label(&candidate), first_line(&result.content));
                        self.problem(host, why);
                    }
                }
            }
        }
        readings
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

    /// One list of several: the first of each, then the second of each, … with one entry for each document.
    fn merge(&self, mut lists: Vec<Vec<Candidate>>) -> VecDeque<Candidate> {
        let longest = lists.iter().map(Vec::len).max().unwrap_or_default();
        let mut merged: VecDeque<Candidate> = VecDeque::new();
        for list in &mut lists {
            list.reverse();
        }
        for _ in 0..longest {
            for candidate in lists.iter_mut().filter_map(Vec::pop) {
                let location = key(&candidate.location);
                if self.seen.contains(&location) {
                    continue;
                }
                match merged.iter_mut().find(|known| key(&known.location) == location) {
                    Some(known) => {
                        let new = candidate.passages.into_iter().filter(|passage| !known.passages.contains(passage));
                        let new: Vec<Shown> = new.collect();
                        known.passages.extend(new);
                    }
                    None => merged.push_back(candidate),
                }
            }
        }
        merged
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

/// The same for all ways to write one location.
fn key(location: &str) -> String {
    let bare = location.split('#').next().unwrap_or_default().trim_end_matches('/');
    match bare.split_once("://") {
        Some((_, rest)) => {
            let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
            let host = host.to_ascii_lowercase();
            format!("{}/{path}", host.strip_prefix("www.").unwrap_or(&host))
        }
        None => bare.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use vivarium_sdk::mode::Abilities;
    use vivarium_sdk::testing::ScriptedHost;

    use super::*;

    fn hits(locations: &[&str]) -> String {
        let hits: Vec<_> = locations
            .iter()
            .map(|at| serde_json::json!({"location": at, "title": at, "passage": format!("On {at}.")}))
            .collect();
        serde_json::json!({ "hits": hits }).to_string()
    }

    fn corpus() -> ScriptedHost {
        ScriptedHost::new(Abilities::PASSAGES)
            .with_tool("corpus_search", |arguments| match arguments["query"].as_str() {
                Some("owners") => Ok((hits(&["a", "b"]), vec![])),
                Some("scopes") => Ok((hits(&["b", "c", "a/"]), vec![])),
                _ => Err("the index is broken\nand more".into()),
            })
            .with_tool("corpus_read", |arguments| match arguments["location"].as_str() {
                Some("b") => Err("it is gone".into()),
                Some(at) => Ok(("shown".into(), vec![(at.into(), at.into(), format!("On {at}."))])),
                None => Err("no location".into()),
            })
    }

    fn queries(queries: &[&str]) -> Vec<String> {
        queries.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn searches_run_in_one_batch_and_each_document_is_named_once() {
        let mut host = corpus();
        let mut retrieval = Retrieval::new(&host.tools());
        let found = retrieval.search(&mut host, &queries(&["owners", "scopes"]));
        assert_eq!(host.batches.len(), 1);
        let locations: Vec<&str> = found.iter().map(|candidate| candidate.location.as_str()).collect();
        assert_eq!(locations, ["a", "b", "c"]);
        assert_eq!(host.steps, ["Searching the corpus for “owners”", "Searching the corpus for “scopes”"]);
    }

    #[test]
    fn a_query_that_was_asked_in_other_words_order_is_not_asked_again() {
        let mut host = corpus();
        let mut retrieval = Retrieval::new(&host.tools());
        retrieval.search(&mut host, &queries(&["owners"]));
        assert!(retrieval.search(&mut host, &queries(&["the Owners?", "  "])).is_empty());
        assert_eq!(host.batches.len(), 1);
    }

    #[test]
    fn a_document_that_can_not_be_read_is_gone_around() {
        let mut host = corpus();
        let mut retrieval = Retrieval::new(&host.tools());
        let mut found = retrieval.search(&mut host, &queries(&["owners", "scopes"]));
        let readings = retrieval.read(&mut host, &mut found, 2, "owners");
        let read: Vec<&str> = readings.iter().map(|reading| reading.source.location.as_str()).collect();
        assert_eq!(read, ["a", "c"]);
        assert_eq!(retrieval.problems, ["Could not read “b”: it is gone"]);
        assert!(host.steps.contains(&"Could not read “b”: it is gone".to_owned()));
        assert!(
            retrieval.search(&mut host, &queries(&["scopes owners"])).is_empty(),
            "the broken search finds nothing"
        );
    }

    #[test]
    fn a_question_of_a_whole_page_is_cut_to_what_the_tools_take() {
        let mut host = corpus();
        let mut retrieval = Retrieval::new(&host.tools());
        retrieval.search(&mut host, &["ä ownership ".repeat(1_000)]);
        let arguments: serde_json::Value = serde_json::from_str(&host.batches[0][0].arguments_json).unwrap();
        assert_eq!(arguments["query"].as_str().unwrap().chars().count(), 1_000);
    }

    #[test]
    fn a_failed_search_is_reported_in_one_line() {
        let mut host = corpus();
        let mut retrieval = Retrieval::new(&host.tools());
        assert!(retrieval.search(&mut host, &queries(&["x1", "y1"])).is_empty());
        assert_eq!(retrieval.problems, ["Searching the corpus failed: the index is broken"]);
    }

    #[test]
    fn a_place_that_is_down_is_not_asked_again() {
        let mut host = corpus()
            .with_tool("web_search", |_| Err("no engine".into()))
            .with_tool("web_fetch", |_| Err("unused".into()));
        let mut retrieval = Retrieval::new(&host.tools());
        retrieval.search(&mut host, &queries(&["owners"]));
        retrieval.search(&mut host, &queries(&["scopes"]));
        assert_eq!(host.called(), ["corpus_search", "web_search", "corpus_search"]);
    }

    #[test]
    fn a_place_that_can_be_searched_but_not_read_is_left_alone() {
        let mut host = ScriptedHost::new(Abilities::PASSAGES).with_tool("web_search", |_| Ok((hits(&[]), vec![])));
        let retrieval = Retrieval::new(&host.tools());
        assert!(!retrieval.is_possible());
    }

    #[test]
    fn one_page_has_one_key_however_its_url_is_written() {
        assert_eq!(key("https://www.Example.com/a/#top"), key("http://example.com/a"));
        assert_ne!(key("https://example.com/A"), key("https://example.com/a"));
        assert_eq!(key("https://example.com"), key("https://example.com/"));
    }
}
