//! The corpus, as plugins see it: the index's blocking work goes to threads that may block.

use futures::FutureExt as _;
use futures::future::BoxFuture;
use vivarium_corpus::{Corpus, CorpusError, Hit};
use vivarium_domain::Document;
use vivarium_sandbox::{CorpusError as ViewError, CorpusHit, CorpusView};

/// A corpus that can be granted.
pub(crate) struct GrantedCorpus(pub(crate) Corpus);

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CorpusError> + Send + 'static,
) -> Result<T, ViewError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(|error| match error {
            CorpusError::Unavailable(_) => ViewError::Unavailable(error.to_string()),
            CorpusError::InvalidQuery(_) => ViewError::InvalidQuery(error.to_string()),
            CorpusError::NotFound(_) => ViewError::NotFound(error.to_string()),
        }),
        Err(error) => Err(ViewError::Unavailable(format!("the corpus did not answer: {error}"))),
    }
}

impl CorpusView for GrantedCorpus {
    fn search(&self, query: String, max_hits: usize) -> BoxFuture<'static, Result<Vec<CorpusHit>, ViewError>> {
        let corpus = self.0.clone();
        let hit = |hit: Hit| {
            let Hit { location, title, heading, passage, score } = hit;
            CorpusHit { location, title, heading, passage, score }
        };
        blocking(move || corpus.search(&query, max_hits).map(|hits| hits.into_iter().map(hit).collect())).boxed()
    }

    fn read(&self, location: String, max_bytes: usize) -> BoxFuture<'static, Result<Document, ViewError>> {
        let corpus = self.0.clone();
        blocking(move || corpus.read(&location, max_bytes)).boxed()
    }
}
