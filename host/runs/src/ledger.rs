//! The run's ledger: the documents that its tools have read, and the check that a quote stands in one of them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use vivarium_domain::{CheckedCitation, Citation, ContentHash, Document, Source, Timestamp};

use crate::quotes::{self, Found};

/// How much text the ledger of one run holds.
const MAX_TOTAL_BYTES: usize = 64 << 20;
/// One document; longer ones are cut.
const MAX_DOCUMENT_BYTES: usize = 4 << 20;
const MAX_SOURCES: usize = 500;
const MAX_TITLE_BYTES: usize = 500;
const MAX_LOCATION_BYTES: usize = 4 << 10;
const MAX_MEDIA_TYPE_BYTES: usize = 200;
/// An answer's citations that are checked; more are dropped.
const MAX_CITATIONS: usize = 500;

/// A source with its text.
pub(crate) struct Entry {
    pub(crate) source: Source,
    pub(crate) text: Arc<str>,
    /// The text with each stretch of white space as one space, made when the first quote is looked for.
    folded: OnceLock<String>,
}

#[derive(Default)]
pub(crate) struct Ledger {
    entries: Vec<Arc<Entry>>,
    by_content: HashMap<(String, ContentHash), usize>,
    total_bytes: usize,
    /// The number in the newest id. A run that was taken up again may lack sources that were never recorded.
    last_number: usize,
}

/// What came of adding a document.
pub(crate) enum Added {
    /// It is new.
    New(Arc<Entry>),
    /// The same text from the same place is there already.
    Known(Arc<Entry>),
    /// The ledger is full.
    Full,
}

impl Ledger {
    /// Adds a document that `tool` has read.
    pub(crate) fn add(&mut self, tool: &str, document: Document) -> Added {
        let mut text = document.text;
        cut(&mut text, MAX_DOCUMENT_BYTES);
        let mut location = document.location;
        cut(&mut location, MAX_LOCATION_BYTES);
        let content_hash = ContentHash::of(text.as_bytes());
        let key = (location, content_hash);
        if let Some(known) = self.by_content.get(&key).and_then(|&index| self.entries.get(index)) {
            return Added::Known(Arc::clone(known));
        }
        if self.entries.len() >= MAX_SOURCES || self.total_bytes + text.len() > MAX_TOTAL_BYTES {
            return Added::Full;
        }
        let (mut title, mut media_type) = (document.title, document.media_type);
        cut(&mut title, MAX_TITLE_BYTES);
        cut(&mut media_type, MAX_MEDIA_TYPE_BYTES);
        let source = Source {
            id: format!("s{}", self.last_number + 1),
            title,
            location: key.0.clone(),
            media_type,
            fetched_at: Timestamp::now(),
            content_hash,
            length_bytes: u32::try_from(text.len()).unwrap_or(u32::MAX),
            tool: tool.to_owned(),
        };
        self.last_number += 1;
        Added::New(self.put(source, text.into()))
    }

    /// Puts a source back that the run's log tells of.
    pub(crate) fn restore(&mut self, source: Source, text: Arc<str>) {
        let number = source.id.strip_prefix('s').and_then(|number| number.parse().ok());
        self.last_number = self.last_number.max(number.unwrap_or(0));
        self.put(source, text);
    }

    fn put(&mut self, source: Source, text: Arc<str>) -> Arc<Entry> {
        self.total_bytes += text.len();
        self.by_content.insert((source.location.clone(), source.content_hash), self.entries.len());
        let entry = Arc::new(Entry { source, text, folded: OnceLock::new() });
        self.entries.push(Arc::clone(&entry));
        entry
    }

    pub(crate) fn sources(&self) -> Vec<Source> {
        self.entries.iter().map(|entry| entry.source.clone()).collect()
    }

    pub(crate) fn entry(&self, id: &str) -> Option<&Arc<Entry>> {
        self.entries.iter().find(|entry| entry.source.id == id)
    }

    /// The sources of these ids. None: one of them is not there.
    pub(crate) fn known(&self, ids: &[String]) -> Option<Vec<Source>> {
        ids.iter().map(|id| self.entry(id).map(|entry| entry.source.clone())).collect()
    }

    /// A part of a source's text, cut on characters' borders.
    pub(crate) fn read(&self, id: &str, start: usize, max_bytes: usize) -> Option<String> {
        let text = &self.entry(id)?.text;
        let start = text.ceil_char_boundary(start.min(text.len()));
        let end = text.floor_char_boundary(start.saturating_add(max_bytes).min(text.len()));
        Some(text.get(start..end).unwrap_or_default().to_owned())
    }

    /// Says of each citation whether its quote stands in its source, white space aside, and where.
    pub(crate) fn check(&self, citations: &[Citation]) -> Vec<CheckedCitation> {
        citations.iter().take(MAX_CITATIONS).map(|citation| self.check_one(citation)).collect()
    }

    fn check_one(&self, Citation { source_id, quote }: &Citation) -> CheckedCitation {
        let found = self.entry(source_id).and_then(|entry| entry.find(quote));
        CheckedCitation {
            source_id: source_id.clone(),
            quote: quote.clone(),
            verified: found.is_some(),
            start: found.map(|found| found.start),
            end: found.map(|found| found.end),
            occurrences: found.map(|found| found.occurrences).filter(|count| *count > 1),
            claim: None,
        }
    }
}

impl Entry {
    fn find(&self, quote: &str) -> Option<Found> {
        quotes::find(&self.text, self.folded.get_or_init(|| quotes::fold(&self.text)), quote)
    }
}

fn cut(text: &mut String, max_bytes: usize) {
    if text.len() > max_bytes {
        text.truncate(text.floor_char_boundary(max_bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger_of(text: &str) -> Ledger {
        let mut ledger = Ledger::default();
        let added = ledger.add("web_fetch", document("https://example.com/", text));
        assert!(matches!(added, Added::New(_)));
        ledger
    }

    fn document(location: &str, text: &str) -> Document {
        Document {
            title: "A page".to_owned(),
            location: location.to_owned(),
            media_type: "text/plain".to_owned(),
            text: text.to_owned(),
        }
    }

    fn verified(ledger: &Ledger, id: &str, quote: &str) -> bool {
        let citation = Citation { source_id: id.to_owned(), quote: quote.to_owned() };
        ledger.check(&[citation]).first().is_some_and(|checked| checked.verified)
    }

    #[test]
    fn only_a_quote_that_stands_in_its_source_is_verified() {
        let ledger = ledger_of("A vector grows\n  by doubling its capacity.");
        assert!(verified(&ledger, "s1", "grows by doubling"));
        assert!(verified(&ledger, "s1", " grows\tby  doubling "));
        assert!(!verified(&ledger, "s1", "grows by tripling"));
        assert!(!verified(&ledger, "s2", "grows by doubling"), "an unknown source holds nothing");
        assert!(!verified(&ledger, "s1", "  "), "an empty quote proves nothing");
    }

    #[test]
    fn the_same_document_is_one_source() {
        let mut ledger = ledger_of("text");
        assert!(matches!(ledger.add("web_fetch", document("https://example.com/", "text")), Added::Known(_)));
        assert!(matches!(ledger.add("web_fetch", document("https://example.com/", "new text")), Added::New(_)));
        assert!(matches!(ledger.add("web_fetch", document("https://example.org/", "text")), Added::New(_)));
        assert_eq!(ledger.sources().len(), 3);
    }

    #[test]
    fn a_source_that_is_put_back_keeps_its_id_and_is_known_again() {
        let mut before = ledger_of("one");
        assert!(matches!(before.add("web_fetch", document("https://example.com/", "two")), Added::New(_)));
        let second = before.entry("s2").unwrap();
        let mut ledger = Ledger::default();
        ledger.restore(second.source.clone(), Arc::clone(&second.text));
        assert!(matches!(ledger.add("web_fetch", document("https://example.com/", "two")), Added::Known(_)));
        assert!(matches!(ledger.add("web_fetch", document("https://example.com/", "one")), Added::New(_)));
        let ids: Vec<String> = ledger.sources().into_iter().map(|source| source.id).collect();
        assert_eq!(ids, ["s2", "s3"]);
    }

    #[test]
    fn a_read_never_splits_a_character() {
        let ledger = ledger_of("aäöü");
        for start in 0..10 {
            for length in 0..10 {
                assert!(ledger.read("s1", start, length).is_some());
            }
        }
        assert_eq!(ledger.read("s1", 1, 2).as_deref(), Some("ä"));
        assert_eq!(ledger.read("s9", 0, 1), None);
    }

    #[test]
    fn a_flood_of_documents_is_bounded() {
        let mut ledger = Ledger::default();
        for number in 0..MAX_SOURCES {
            assert!(matches!(ledger.add("t", document(&number.to_string(), "x")), Added::New(_)));
        }
        assert!(matches!(ledger.add("t", document("one more", "x")), Added::Full));
    }
}
