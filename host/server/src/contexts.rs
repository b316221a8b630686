//! A tenant's own documents as a run's tools see them. Those that an agent names one by one are an index in memory, made when it
//! is first searched and kept for the next run with the same documents; whole corpora are the library's. The host's own corpus is
//! searched beside them.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use vivarium_corpus::Collection;
use vivarium_domain::{ContentHash, CorpusDocument, Document, DocumentId, TenantId};
use vivarium_runs::Contexts;
use vivarium_sandbox::{CorpusError, CorpusHit, CorpusView};
use vivarium_store::Store;

use crate::corpus::{hit, off_thread};
use crate::library::{Library, location};

/// What the text of one run's documents may hold together: with its index it takes two to three times that.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// What the texts of all that is kept hold together.
const MAX_KEPT_BYTES: u64 = 128 << 20;
/// How many are kept, however small.
const MAX_KEPT: usize = 64;

/// Tells a document of a tenant from a file of the host's corpus.
pub(crate) const LOCATION: &str = "document:";

/// Which documents of whom, with which texts.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    tenant: TenantId,
    documents: Vec<(DocumentId, ContentHash)>,
}

struct Kept {
    key: Key,
    collection: Collection,
    bytes: u64,
}

/// Makes tenants' documents searchable.
pub(crate) struct StoredContexts(Arc<Shared>);

struct Shared {
    store: Arc<dyn Store>,
    library: Library,
    /// The host's own.
    corpus: Option<Arc<dyn CorpusView>>,
    /// The one that was used last is last.
    kept: Mutex<Vec<Kept>>,
}

impl StoredContexts {
    pub(crate) fn new(store: Arc<dyn Store>, library: Library, corpus: Option<Arc<dyn CorpusView>>) -> Self {
        Self(Arc::new(Shared { store, library, corpus, kept: Mutex::default() }))
    }
}

impl Contexts for StoredContexts {
    fn view(&self, tenant: &TenantId, documents: &[DocumentId], corpora: &[String]) -> Arc<dyn CorpusView> {
        let mut documents = documents.to_vec();
        documents.sort_unstable();
        Arc::new(ContextView(Arc::new(View {
            shared: Arc::clone(&self.0),
            tenant: tenant.clone(),
            documents,
            corpora: corpora.to_vec(),
            opened: OnceCell::new(),
        })))
    }
}

struct ContextView(Arc<View>);

/// The documents and corpora of one run.
struct View {
    shared: Arc<Shared>,
    tenant: TenantId,
    documents: Vec<DocumentId>,
    corpora: Vec<String>,
    opened: OnceCell<Collection>,
}

impl View {
    async fn collection(&self) -> Result<Collection, CorpusError> {
        let make = || self.shared.collection(&self.tenant, &self.documents);
        self.opened.get_or_try_init(make).await.cloned()
    }

    /// The hits of each index, best first.
    async fn search(&self, query: String, max_hits: usize) -> Result<Vec<CorpusHit>, CorpusError> {
        let mut lists = Vec::new();
        if !self.documents.is_empty() {
            let (collection, asked) = (self.collection().await?, query.clone());
            let own = off_thread(move || collection.search(&asked, max_hits)).await?;
            lists.push(own.into_iter().map(hit).collect());
        }
        for corpus in &self.corpora {
            lists.push(self.shared.library.passages(&self.tenant, corpus, query.clone(), max_hits).await?);
        }
        if let Some(corpus) = &self.shared.corpus {
            match corpus.search(query, max_hits).await {
                Ok(hosts) => lists.push(hosts),
                // It may still be in the making; what is there is there.
                Err(CorpusError::Unavailable(_)) if lists.iter().any(|list| !list.is_empty()) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(in_turn(lists, max_hits))
    }

    async fn read(&self, at: String, max_bytes: usize) -> Result<Document, CorpusError> {
        if let Some(corpus) = self.shared.corpus.as_ref().filter(|_| !at.starts_with(LOCATION)) {
            return corpus.read(at, max_bytes).await;
        }
        if self.documents.iter().any(|id| location(*id) == at) {
            let collection = self.collection().await?;
            return off_thread(move || collection.read(&at, max_bytes)).await;
        }
        for corpus in &self.corpora {
            match self.shared.library.read(&self.tenant, corpus, at.clone(), max_bytes).await {
                Err(CorpusError::NotFound(_)) => {}
                found => return found,
            }
        }
        Err(CorpusError::NotFound("there is no document at this location: take one that corpus_search gave".to_owned()))
    }
}

impl Shared {
    async fn collection(&self, tenant: &TenantId, asked: &[DocumentId]) -> Result<Collection, CorpusError> {
        let failed = |error: vivarium_store::StoreError| {
            tracing::error!(%error, "a tenant's documents can not be read");
            CorpusError::Unavailable("the documents can not be read at present".to_owned())
        };
        let mut records: Vec<CorpusDocument> = Vec::with_capacity(asked.len());
        for id in asked {
            records.extend(self.store.document(tenant, *id).await.map_err(failed)?);
        }
        let bytes = records.iter().map(|record| record.length_bytes).sum();
        if bytes > MAX_TEXT_BYTES {
            return Err(CorpusError::Unavailable(format!(
                "the documents of this agent hold {bytes} bytes of text, and at most {MAX_TEXT_BYTES} are searched"
            )));
        }
        // Of those that are still there.
        let documents = records.iter().map(|record| (record.id, record.content)).collect();
        let key = Key { tenant: tenant.clone(), documents };
        if let Some(kept) = self.take(&key) {
            return Ok(kept);
        }
        let mut documents = Vec::with_capacity(records.len());
        for record in records {
            let Some(blob) = self.store.blob(&key.tenant, record.content).await.map_err(failed)? else { continue };
            let text = String::from_utf8_lossy(record.text_in(&blob).unwrap_or_default()).into_owned();
            documents.push(Document {
                title: record.name,
                location: location(record.id),
                media_type: form_of(&record.media_type).to_owned(),
                text,
            });
        }
        let collection = off_thread(move || Collection::of(documents)).await?;
        self.keep(Kept { key, collection: collection.clone(), bytes });
        Ok(collection)
    }

    fn take(&self, key: &Key) -> Option<Collection> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().position(|kept| kept.key == *key)?;
        let found = kept.remove(found);
        let collection = found.collection.clone();
        kept.push(found);
        Some(collection)
    }

    fn keep(&self, new: Kept) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|kept| kept.key != new.key);
        kept.push(new);
        while kept.len() > MAX_KEPT || kept.iter().map(|kept| kept.bytes).sum::<u64>() > MAX_KEPT_BYTES {
            kept.remove(0);
        }
    }
}

impl CorpusView for ContextView {
    fn search(&self, query: String, max_hits: usize) -> BoxFuture<'static, Result<Vec<CorpusHit>, CorpusError>> {
        let view = Arc::clone(&self.0);
        Box::pin(async move { view.search(query, max_hits).await })
    }

    fn read(&self, location: String, max_bytes: usize) -> BoxFuture<'static, Result<Document, CorpusError>> {
        let view = Arc::clone(&self.0);
        Box::pin(async move { view.read(location, max_bytes).await })
    }
}

/// What the text of a document is that came as `media_type`: of some it was made.
pub(crate) fn form_of(media_type: &str) -> &'static str {
    let office = media_type.starts_with("application/vnd.openxmlformats-officedocument.");
    if office || matches!(media_type, "text/markdown" | "text/html") { "text/markdown" } else { "text/plain" }
}

/// One of each in turn, the run's own first: scores of two indexes do not compare.
fn in_turn(lists: Vec<Vec<CorpusHit>>, max_hits: usize) -> Vec<CorpusHit> {
    let mut lists: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut hits = Vec::with_capacity(max_hits);
    while hits.len() < max_hits {
        let before = hits.len();
        hits.extend(lists.iter_mut().filter_map(Iterator::next));
        if hits.len() == before {
            break;
        }
    }
    hits.truncate(max_hits);
    hits
}
