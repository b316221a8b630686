//! A tenant's own documents as a run's tools see them: an index in memory, made when it is first searched and kept for the
//! next run with the same documents. The host's own corpus is searched beside it.

use std::sync::{Arc, Mutex, PoisonError};

use futures::future::BoxFuture;
use tokio::sync::OnceCell;
use vivarium_corpus::Collection;
use vivarium_domain::{Document, DocumentId, TenantId};
use vivarium_runs::Contexts;
use vivarium_sandbox::{CorpusError, CorpusHit, CorpusView};
use vivarium_store::Store;

use crate::corpus::{hit, off_thread};

/// What the text of one run's documents may hold together: with its index it takes two to three times that.
const MAX_TEXT_BYTES: u64 = 64 << 20;
/// What the texts of all that is kept hold together.
const MAX_KEPT_BYTES: u64 = 128 << 20;
/// How many are kept, however small.
const MAX_KEPT: usize = 64;

/// Tells a document of a tenant from a file of the host's corpus.
const LOCATION: &str = "document:";

/// Which documents of whom. A document does not change: another text is another document.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Key {
    tenant: TenantId,
    documents: Vec<DocumentId>,
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
    /// The host's own.
    corpus: Option<Arc<dyn CorpusView>>,
    /// The one that was used last is last.
    kept: Mutex<Vec<Kept>>,
}

impl StoredContexts {
    pub(crate) fn new(store: Arc<dyn Store>, corpus: Option<Arc<dyn CorpusView>>) -> Self {
        Self(Arc::new(Shared { store, corpus, kept: Mutex::default() }))
    }
}

impl Contexts for StoredContexts {
    fn view(&self, tenant: &TenantId, documents: &[DocumentId]) -> Arc<dyn CorpusView> {
        let mut documents = documents.to_vec();
        documents.sort_unstable();
        let key = Key { tenant: tenant.clone(), documents };
        Arc::new(ContextView(Arc::new(View { shared: Arc::clone(&self.0), key, opened: OnceCell::new() })))
    }
}

struct ContextView(Arc<View>);

/// The documents of one run.
struct View {
    shared: Arc<Shared>,
    key: Key,
    opened: OnceCell<Collection>,
}

impl View {
    async fn collection(&self) -> Result<Collection, CorpusError> {
        self.opened.get_or_try_init(|| self.shared.collection(&self.key)).await.cloned()
    }
}

impl Shared {
    async fn collection(&self, asked: &Key) -> Result<Collection, CorpusError> {
        let failed = |error: vivarium_store::StoreError| {
            tracing::error!(%error, "a tenant's documents can not be read");
            CorpusError::Unavailable("the documents can not be read at present".to_owned())
        };
        let mut records = Vec::with_capacity(asked.documents.len());
        for id in &asked.documents {
            records.extend(self.store.document(&asked.tenant, *id).await.map_err(failed)?);
        }
        let bytes = records.iter().map(|record| record.length_bytes).sum();
        if bytes > MAX_TEXT_BYTES {
            return Err(CorpusError::Unavailable(format!(
                "the documents of this agent hold {bytes} bytes of text, and at most {MAX_TEXT_BYTES} are searched"
            )));
        }
        // Of those that are still there.
        let key = Key { tenant: asked.tenant.clone(), documents: records.iter().map(|record| record.id).collect() };
        if let Some(kept) = self.take(&key) {
            return Ok(kept);
        }
        let mut documents = Vec::with_capacity(records.len());
        for record in records {
            let Some(text) = self.store.blob(&key.tenant, record.content).await.map_err(failed)? else { continue };
            documents.push(Document {
                title: record.name,
                location: format!("{LOCATION}{}", record.id),
                media_type: form_of(&record.media_type).to_owned(),
                text: String::from_utf8_lossy(&text).into_owned(),
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
        Box::pin(async move {
            let collection = view.collection().await?;
            let asked = query.clone();
            let own = off_thread(move || collection.search(&asked, max_hits)).await?;
            let own = own.into_iter().map(hit).collect();
            let Some(corpus) = &view.shared.corpus else { return Ok(own) };
            match corpus.search(query, max_hits).await {
                Ok(hosts) => Ok(in_turn(own, hosts, max_hits)),
                // It may still be in the making; what is there is there.
                Err(CorpusError::Unavailable(_)) if !own.is_empty() => Ok(own),
                Err(error) => Err(error),
            }
        })
    }

    fn read(&self, location: String, max_bytes: usize) -> BoxFuture<'static, Result<Document, CorpusError>> {
        let view = Arc::clone(&self.0);
        Box::pin(async move {
            match &view.shared.corpus {
                Some(corpus) if !location.starts_with(LOCATION) => corpus.read(location, max_bytes).await,
                _ => {
                    let collection = view.collection().await?;
                    off_thread(move || collection.read(&location, max_bytes)).await
                }
            }
        })
    }
}

/// What the text of a document is that came as `media_type`: of some it was made.
fn form_of(media_type: &str) -> &'static str {
    let office = media_type.starts_with("application/vnd.openxmlformats-officedocument.");
    if office || matches!(media_type, "text/markdown" | "text/html") { "text/markdown" } else { "text/plain" }
}

/// One of each in turn, the run's own first: scores of two indexes do not compare.
fn in_turn(own: Vec<CorpusHit>, hosts: Vec<CorpusHit>, max_hits: usize) -> Vec<CorpusHit> {
    let (mut own, mut hosts) = (own.into_iter(), hosts.into_iter());
    let mut hits = Vec::with_capacity(max_hits);
    while hits.len() < max_hits {
        let (one, other) = (own.next(), hosts.next());
        if one.is_none() && other.is_none() {
            break;
        }
        hits.extend(one);
        hits.extend(other);
    }
    hits.truncate(max_hits);
    hits
}
