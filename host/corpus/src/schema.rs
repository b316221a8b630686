//! The fields of the index. One entry is one passage; a document has no entry of its own, because it is the sum of its
//! passages and of the gaps before them: so what [`Corpus::read`](crate::Corpus::read) gives and what was quoted can
//! not come apart, even when the file has changed since.
//!
//! All that is searched is one field, because only a query of words in one field can leave out most of what it need not look at
//! (block-max WAND). A word's place counts by repetition: a title stands there twice, as BM25F would weigh it.

use sha2::{Digest as _, Sha256};
use tantivy::indexer::UserOperation;
use tantivy::schema::{
    FAST, Field, INDEXED, IndexRecordOption, STORED, STRING, Schema, TextFieldIndexing, TextOptions, Value as _,
};
use tantivy::{IndexWriter, TantivyDocument};

use crate::extract::{EXTRACTION_VERSION, Extracted};
use crate::passages::{Span, readable_percent};
use crate::words::STEMMED;

/// Raise it with every change of the fields or of the words' analysis.
const SCHEMA_VERSION: u32 = 3;
/// What an index must have been made with to be used.
pub(crate) const FORMAT: u32 = EXTRACTION_VERSION * 1000 + SCHEMA_VERSION;

#[derive(Debug, Clone)]
pub(crate) struct Fields {
    pub(crate) schema: Schema,
    pub(crate) location: Field,
    /// The hash of the location: what passages are grouped by, and documents removed by, without reading what is stored.
    pub(crate) key: Field,
    /// What is searched: title, headings, path and text.
    pub(crate) text: Field,
    title: Field,
    heading: Field,
    body: Field,
    gap: Field,
    /// The passage's place in its document, from 0.
    pub(crate) order: Field,
    /// The same for documents with the same text.
    document: Field,
    /// How much of the passage stands in sentences, in percent.
    readable: Field,
    external: Field,
    media_type: Field,
}

/// What a document is called.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Names<'d> {
    /// What it is read by.
    pub(crate) location: &'d str,
    /// Words of it that are searched, where its location says something of it.
    pub(crate) path: &'d str,
    /// The id that it has where it came from; may be empty.
    pub(crate) external: &'d str,
}

/// The number that stands for a location in the index.
pub(crate) fn key_of(location: &str) -> u64 {
    hash_of(location)
}

/// The number that stands for a text, and for it alone.
pub(crate) fn hash_of(text: &str) -> u64 {
    Sha256::digest(text.as_bytes()).first_chunk().copied().map_or(0, u64::from_be_bytes)
}

/// One passage as the index keeps it.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) location: String,
    pub(crate) title: String,
    pub(crate) media_type: String,
    pub(crate) heading: String,
    pub(crate) gap: String,
    pub(crate) body: String,
    pub(crate) order: u64,
    /// The id that the document has where it came from; empty where it has none.
    pub(crate) external: String,
}

impl Fields {
    pub(crate) fn new() -> Self {
        let indexing = TextFieldIndexing::default()
            .set_tokenizer(STEMMED)
            .set_index_option(IndexRecordOption::WithFreqsAndPositions);
        let mut schema = Schema::builder();
        let location = schema.add_text_field("location", STRING | STORED);
        let key = schema.add_u64_field("key", INDEXED | FAST);
        let text = schema.add_text_field("text", TextOptions::default().set_indexing_options(indexing));
        let title = schema.add_text_field("title", STORED);
        let heading = schema.add_text_field("heading", STORED);
        let body = schema.add_text_field("body", STORED);
        let gap = schema.add_text_field("gap", STORED);
        let order = schema.add_u64_field("order", STORED | INDEXED | FAST);
        let document = schema.add_u64_field("document", FAST);
        let readable = schema.add_u64_field("readable", FAST);
        let external = schema.add_text_field("external", STORED);
        let media_type = schema.add_text_field("media_type", STORED);
        let schema = schema.build();
        Self { schema, location, key, text, title, heading, body, gap, order, document, readable, external, media_type }
    }

    /// Adds a document, all its passages next to each other and in their order.
    pub(crate) fn add(
        &self,
        writer: &IndexWriter,
        names: Names<'_>,
        document_hash: u64,
        document: &Extracted,
        spans: &[Span],
    ) -> tantivy::Result<()> {
        let entries = self.entries(names, document_hash, document, spans).map(UserOperation::Add);
        writer.run(entries.collect::<Vec<_>>()).map(|_| ())
    }

    /// The entries of a document, one for each passage.
    fn entries<'d>(
        &'d self,
        names: Names<'d>,
        document_hash: u64,
        document: &'d Extracted,
        spans: &'d [Span],
    ) -> impl Iterator<Item = TantivyDocument> + 'd {
        let key = key_of(names.location);
        let mut end = 0;
        spans.iter().zip(0_u64..).map(move |(span, order)| {
            let part = |range| document.text.get(range).unwrap_or_default();
            let body = part(span.range.clone());
            let mut entry = TantivyDocument::default();
            entry.add_text(self.location, names.location);
            entry.add_u64(self.key, key);
            // Twice: what a document is called counts double.
            entry.add_text(self.text, &document.title);
            entry.add_text(self.text, &document.title);
            entry.add_text(self.text, searchable(span, &document.title));
            entry.add_text(self.text, names.path);
            entry.add_text(self.text, body);
            if !names.external.is_empty() {
                entry.add_text(self.external, names.external);
            }
            entry.add_text(self.title, &document.title);
            entry.add_text(self.media_type, document.media_type);
            entry.add_text(self.heading, &span.heading);
            entry.add_text(self.gap, part(end..span.range.start));
            entry.add_text(self.body, body);
            entry.add_u64(self.order, order);
            entry.add_u64(self.document, document_hash);
            entry.add_u64(self.readable, readable_percent(body));
            end = span.range.end;
            entry
        })
    }

    pub(crate) fn entry(&self, stored: &TantivyDocument) -> Entry {
        let text = |field| stored.get_first(field).and_then(|value| value.as_str()).unwrap_or_default().to_owned();
        let number = |field| stored.get_first(field).and_then(|value| value.as_u64()).unwrap_or_default();
        Entry {
            location: text(self.location),
            title: text(self.title),
            media_type: text(self.media_type),
            heading: text(self.heading),
            gap: text(self.gap),
            body: text(self.body),
            order: number(self.order),
            external: text(self.external),
        }
    }
}

/// The words of a passage's headings. Of a signature only what it declares: its types repeat in every other signature of
/// the page, and would make each of them look like an answer to a question about the type.
fn searchable(span: &Span, title: &str) -> String {
    let mut text = String::new();
    for label in std::iter::once(span.heading.as_str()).chain(span.context.lines()).filter(|label| *label != title) {
        let is_signature =
            label.contains("fn ") || label.contains('=') || label.contains("->") || label.starts_with("impl");
        let end = if is_signature { label.find(['(', '<', '=', '{']).unwrap_or(label.len()) } else { label.len() };
        text.push_str(label.get(..end).unwrap_or(label));
        text.push('\n');
    }
    text
}
