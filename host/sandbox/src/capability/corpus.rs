//! Full-text search over the tenant's documents, where a grant includes it.

use std::sync::Arc;

use futures::future::BoxFuture;
use vivarium_domain::Document;

use crate::bindings::vivarium::plugin::{corpus as wit, types};
use crate::guest::Guest;

/// The most hits of one search.
const MAX_HITS: u32 = 50;
/// The longest query.
const MAX_QUERY_BYTES: usize = 4 << 10;

/// A passage that answers a query; the fields are those of the contract's `corpus.hit`.
#[derive(Debug, Clone, PartialEq)]
pub struct CorpusHit {
    /// The document's path within the corpus.
    pub location: String,
    /// The document's title.
    pub title: String,
    /// The heading that the passage stands under.
    pub heading: String,
    /// The passage.
    pub passage: String,
    /// BM25.
    pub score: f32,
}

/// Why a search or a read failed; the contract's `corpus-error`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorpusError {
    /// The corpus can not be used now.
    #[error("{0}")]
    Unavailable(String),
    /// The query holds nothing to search for.
    #[error("{0}")]
    InvalidQuery(String),
    /// No such document.
    #[error("{0}")]
    NotFound(String),
}

/// The documents that a grant lets a plugin search. Implemented by the host over its index.
pub trait CorpusView: Send + Sync {
    /// The passages that answer `query` best, best first.
    fn search(&self, query: String, max_hits: usize) -> BoxFuture<'static, Result<Vec<CorpusHit>, CorpusError>>;

    /// A whole document, cut at `max_bytes` on a character's border.
    fn read(&self, location: String, max_bytes: usize) -> BoxFuture<'static, Result<Document, CorpusError>>;
}

impl From<CorpusError> for wit::CorpusError {
    fn from(error: CorpusError) -> Self {
        match error {
            CorpusError::Unavailable(text) => Self::Unavailable(text),
            CorpusError::InvalidQuery(text) => Self::InvalidQuery(text),
            CorpusError::NotFound(text) => Self::NotFound(text),
        }
    }
}

impl Guest {
    fn corpus(&self) -> Result<Arc<dyn CorpusView>, wit::CorpusError> {
        self.grant.corpus.clone().ok_or_else(|| {
            let message = "no corpus is granted: start the host with --corpus DIR, or grant the plugin one";
            self.denials.note("corpus", message.to_owned());
            wit::CorpusError::Unavailable(message.to_owned())
        })
    }
}

impl wit::Host for Guest {
    async fn search(
        &mut self,
        query: String,
        max_hits: u32,
    ) -> wasmtime::Result<Result<Vec<wit::Hit>, wit::CorpusError>> {
        self.count_host_call()?;
        let corpus = match self.corpus() {
            Ok(corpus) => corpus,
            Err(error) => return Ok(Err(error)),
        };
        if query.len() > MAX_QUERY_BYTES {
            let message = format!("the query has {} bytes; at most {MAX_QUERY_BYTES} are searched for", query.len());
            return Ok(Err(wit::CorpusError::InvalidQuery(message)));
        }
        let max_hits = max_hits.clamp(1, MAX_HITS) as usize;
        let _span = self.span("corpus.search");
        let hits = corpus.search(query, max_hits).await;
        Ok(hits.map(|hits| hits.into_iter().map(hit).collect()).map_err(Into::into))
    }

    async fn read(
        &mut self,
        location: String,
        max_bytes: u32,
    ) -> wasmtime::Result<Result<types::Document, wit::CorpusError>> {
        self.count_host_call()?;
        let corpus = match self.corpus() {
            Ok(corpus) => corpus,
            Err(error) => return Ok(Err(error)),
        };
        // The guest must be able to hold it, and to hand it back.
        let max_bytes = (max_bytes as usize).min(self.limits.memory_bytes / 4);
        let _span = self.span("corpus.read");
        let document = corpus.read(location, max_bytes).await;
        Ok(document.map(Into::into).map_err(Into::into))
    }
}

fn hit(hit: CorpusHit) -> wit::Hit {
    let CorpusHit { location, title, heading, passage, score } = hit;
    wit::Hit { location, title, heading, passage, score }
}

impl From<Document> for types::Document {
    fn from(document: Document) -> Self {
        let Document { title, location, media_type, text } = document;
        Self { title, location, media_type, text }
    }
}

impl From<types::Document> for Document {
    fn from(document: types::Document) -> Self {
        let types::Document { title, location, media_type, text } = document;
        Self { title, location, media_type, text }
    }
}
