//! Documents that are given rather than found in a folder: an index in memory, made at once and never changed. What is
//! found in it and how is the same as for a folder.

use std::sync::Arc;

use tantivy::{Index, IndexReader, IndexWriter, TantivyError};
use vivarium_domain::Document;

use crate::extract::extract_given;
use crate::passages::split;
use crate::schema::{Fields, Names, hash_of};
use crate::{CorpusError, Hit, search, words};

/// The least that tantivy writes with; a larger collection is written in several portions.
const WRITER_BYTES: usize = 16 << 20;

/// Given documents that can be searched. Cheap to clone.
#[derive(Clone)]
pub struct Collection {
    inner: Arc<Inner>,
}

struct Inner {
    fields: Fields,
    reader: IndexReader,
}

impl std::fmt::Debug for Collection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collection").field("passages", &self.inner.reader.searcher().num_docs()).finish()
    }
}

impl Collection {
    /// Makes these documents searchable, each under its location. One without any text is left out. Blocks for about a
    /// second for each ten megabytes of text: call it off the async threads.
    ///
    /// # Errors
    /// [`CorpusError::Unavailable`] where the index can not be made.
    pub fn of(documents: impl IntoIterator<Item = Document>) -> Result<Self, CorpusError> {
        let failed = |error: TantivyError| CorpusError::Unavailable(format!("the index can not be made: {error}"));
        let fields = Fields::new();
        let index = Index::create_in_ram(fields.schema.clone());
        words::register(index.tokenizers());
        let mut writer: IndexWriter = index.writer_with_num_threads(1, WRITER_BYTES).map_err(failed)?;
        for document in documents {
            let Ok(mut extracted) = extract_given(&document.media_type, &document.text) else { continue };
            extracted.title = document.title;
            let spans = split(&extracted);
            let hash = hash_of(&extracted.text);
            let names = Names { location: &document.location, path: "", external: "" };
            fields.add(&writer, names, hash, &extracted, &spans).map_err(failed)?;
        }
        writer.commit().map_err(failed)?;
        writer.wait_merging_threads().map_err(failed)?;
        let reader = search::reader(&index).map_err(failed)?;
        Ok(Self { inner: Arc::new(Inner { fields, reader }) })
    }

    /// As [`Corpus::search`](crate::Corpus::search).
    ///
    /// # Errors
    /// [`CorpusError::InvalidQuery`] where it holds no word, [`CorpusError::Unavailable`] where the index fails.
    pub fn search(&self, query: &str, max_hits: usize) -> Result<Vec<Hit>, CorpusError> {
        search::search(&self.inner.reader.searcher(), &self.inner.fields, query, max_hits)
    }

    /// As [`Corpus::read`](crate::Corpus::read).
    ///
    /// # Errors
    /// [`CorpusError::NotFound`] where there is no such document, [`CorpusError::Unavailable`] where the index fails.
    pub fn read(&self, location: &str, max_bytes: usize) -> Result<Document, CorpusError> {
        search::read(&self.inner.reader.searcher(), &self.inner.fields, location, max_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(location: &str, media_type: &str, text: &str) -> Document {
        Document {
            title: format!("About {location}"),
            location: location.to_owned(),
            media_type: media_type.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn given_documents_are_found_by_their_words_and_read_under_their_locations() {
        let log = "# Harbour log\n\nThe sluice gates open at slack water.\n\n## Divers\n\nThey found eelgrass.";
        let numbers = format!("pier;depth\n4;{}", "7;".repeat(5_000));
        let collection = Collection::of([
            document("document:1", "text/markdown", log),
            document("document:2", "text/csv", &numbers),
            document("document:3", "text/plain", "   "),
        ])
        .unwrap();
        let hits = collection.search("When do the sluice gates open?", 5).unwrap();
        assert_eq!((hits[0].location.as_str(), hits[0].title.as_str()), ("document:1", "About document:1"));
        assert!(hits[0].passage.contains("open at slack water"));
        assert_eq!(collection.search("pier depth", 5).unwrap()[0].location, "document:2", "long lines are no reason");
        assert!(collection.read("document:1", 10_000).unwrap().text.contains("They found eelgrass."));
        assert!(matches!(collection.read("document:3", 100), Err(CorpusError::NotFound(_))));
    }

    #[test]
    fn a_collection_of_nothing_answers_with_nothing() {
        let collection = Collection::of([]).unwrap();
        assert!(collection.search("anything", 5).unwrap().is_empty());
    }
}
