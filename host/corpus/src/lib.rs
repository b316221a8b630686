//! Full-text search over folders of documents: the index behind the contract's `corpus` capability. It is kept on disk
//! and updated, not rebuilt. This crate knows no plugin and no tenant.

use vivarium_domain::Document;

/// A passage that answers a query.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The document's path within the corpus, with `/`.
    pub location: String,
    /// The document's title.
    pub title: String,
    /// The heading that the passage stands under; empty where there is none.
    pub heading: String,
    /// The passage, word for word as [`Corpus::read`] gives it.
    pub passage: String,
    /// BM25: comparable within one answer only.
    pub score: f32,
}

/// Why the corpus did not answer.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The folder or the index can not be read or written.
    #[error("the corpus is not available: {0}")]
    Unavailable(String),
    /// The query holds no word to search for.
    #[error("the query {0:?} holds no word to search for")]
    InvalidQuery(String),
    /// No such document.
    #[error("the corpus holds no document {0:?}")]
    NotFound(String),
}

/// STUB: a corpus that is ready for queries.
pub struct Corpus {}

impl Corpus {
    /// The passages that answer `query` best, best first, at most two of one document.
    ///
    /// # Errors
    /// See [`CorpusError`].
    pub fn search(&self, _query: &str, _max_hits: usize) -> Result<Vec<Hit>, CorpusError> {
        Err(CorpusError::Unavailable("stub".into()))
    }

    /// A whole document, cut at `max_bytes` on a character's border.
    ///
    /// # Errors
    /// See [`CorpusError`].
    pub fn read(&self, _location: &str, _max_bytes: usize) -> Result<Document, CorpusError> {
        Err(CorpusError::Unavailable("stub".into()))
    }
}
