//! Searching tenants' corpora, as the HTTP face asks for it.

use std::ops::Range;

use futures::future::BoxFuture;
use vivarium_domain::{DocumentId, TenantId};

/// A document that answers a query, with its best passage.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundDocument {
    /// The document.
    pub id: DocumentId,
    /// The id that it has where it came from.
    pub external_id: Option<String>,
    /// Its name.
    pub name: String,
    /// The heading that the passage stands under; empty where there is none.
    pub heading: String,
    /// Its best passage, word for word.
    pub passage: String,
    /// Where words of the query stand in the passage, in bytes.
    pub highlights: Vec<Range<usize>>,
    /// BM25: comparable within one answer only.
    pub score: f32,
}

/// Why a search failed; each text is for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CorporaError {
    /// The query holds no word to search for.
    #[error("{0}")]
    InvalidQuery(String),
    /// The index can not be used now.
    #[error("{0}")]
    Unavailable(String),
}

/// The indexes of tenants' corpora. Implemented by the host.
pub trait Corpora: Send + Sync {
    /// The documents of a corpus that answer `query` best, best first, `skip` of them passed over. What was committed before
    /// is found, unless so much was that it is still being indexed.
    fn search(
        &self,
        tenant: &TenantId,
        corpus: &str,
        query: String,
        skip: usize,
        take: usize,
    ) -> BoxFuture<'static, Result<Vec<FoundDocument>, CorporaError>>;

    /// Documents of a corpus were written or removed. To be called once that is on disk.
    fn changed(&self, tenant: &TenantId, corpus: &str, documents: Vec<DocumentId>);

    /// Removes all indexes of a tenant that is deleted; what is at work with one of them ends first, in the background. Blocks. To be
    /// called within the runtime.
    fn forget(&self, tenant: &TenantId);
}
