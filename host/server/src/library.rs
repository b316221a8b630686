//! Tenants' corpora as they are searched whole: an index on disk for each, which follows the store. The store is what counts; an
//! index that is not there, or behind, is brought up before it is asked, so that what was committed is found and what was deleted
//! is not. One that is thrown away is made again.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::{OnceCell, Semaphore};
use vivarium_api::{Corpora, CorporaError, FoundDocument};
use vivarium_corpus::{DocumentHit, Given, Holdings};
use vivarium_domain::{ContentHash, CorpusDocument, Document, DocumentId, TenantId};
use vivarium_sandbox::{CorpusError, CorpusHit};
use vivarium_store::{Store, StoreError};

use crate::contexts::{LOCATION, form_of};
use crate::corpus::{hit, off_thread};

/// Indexes that are open at one time, while nobody uses more: each has some files mapped.
const MAX_OPEN: usize = 48;
/// Indexes that are written at one time: each may take a hundred megabytes meanwhile.
const WRITERS: usize = 2;
/// For how long a search waits for what was added before it.
const PATIENCE: Duration = Duration::from_secs(5);
/// Documents that are read and written at one time.
const AT_ONCE: usize = 2_000;
/// …or fewer, when their texts are large.
const BYTES_AT_ONCE: u64 = 32 << 20;
/// A page of the store's list.
const PAGE: usize = 1_000;

/// Which corpus of whom.
type Name = (TenantId, String);

/// All corpora of all tenants.
#[derive(Clone)]
pub(crate) struct Library(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    /// A folder for each tenant, with one for each corpus.
    root: PathBuf,
    /// The one that was used last is last.
    open: Mutex<Vec<Arc<Stack>>>,
    writers: Arc<Semaphore>,
}

/// One corpus.
struct Stack {
    name: Name,
    holdings: OnceCell<Holdings>,
    behind: Mutex<Behind>,
    /// Held by who brings it up.
    work: tokio::sync::Mutex<()>,
    /// Its tenant is deleted: nothing is made for it any more.
    gone: AtomicBool,
}

/// What the index does not know yet.
#[derive(Default)]
struct Behind {
    /// The whole of it is to be compared: it was just opened, or something failed.
    whole: bool,
    /// These were written or removed, each with the number of the change that did it last.
    documents: BTreeMap<DocumentId, u64>,
    /// How many changes there were.
    changes: u64,
}

impl Behind {
    fn is_nothing(&self) -> bool {
        !self.whole && self.documents.is_empty()
    }

    fn add(&mut self, documents: Vec<DocumentId>) {
        self.changes += 1;
        self.documents.extend(documents.into_iter().map(|id| (id, self.changes)));
    }

    /// These are in the index as they were after so many changes; what has changed again since is still to be done.
    fn done(&mut self, documents: impl IntoIterator<Item = DocumentId>, changes: u64) {
        for id in documents {
            if self.documents.get(&id).is_some_and(|change| *change <= changes) {
                self.documents.remove(&id);
            }
        }
    }
}

impl Library {
    /// The corpora of this store's tenants, with their indexes below `data`.
    pub(crate) fn new(store: Arc<dyn Store>, data: &Path) -> Self {
        let (root, writers) = (root(data), Arc::new(Semaphore::new(WRITERS)));
        Self(Arc::new(Inner { store, root, open: Mutex::default(), writers }))
    }

    /// As the contract's `corpus.search`.
    pub(crate) async fn passages(
        &self,
        tenant: &TenantId,
        corpus: &str,
        query: String,
        max_hits: usize,
    ) -> Result<Vec<CorpusHit>, CorpusError> {
        let Some((stack, holdings)) = self.current(tenant, corpus).await? else { return Ok(Vec::new()) };
        let hits = stack.ask(move || holdings.search(&query, max_hits)).await?;
        let still_there = |hit: &vivarium_corpus::Hit| !stack.is_behind(&hit.location);
        let there = hits.into_iter().filter(|hit| still_there(hit));
        Ok(there.map(hit).collect())
    }

    /// A document of a corpus, as it is searched.
    pub(crate) async fn read(
        &self,
        tenant: &TenantId,
        corpus: &str,
        location: String,
        max_bytes: usize,
    ) -> Result<Document, CorpusError> {
        let nothing = || CorpusError::NotFound(format!("the corpus {corpus} holds no document"));
        let (stack, holdings) = self.current(tenant, corpus).await?.ok_or_else(nothing)?;
        stack.ask(move || holdings.read(&location, max_bytes)).await
    }

    /// Removes the indexes of tenants that are gone.
    pub(crate) async fn prune(&self) -> Result<(), StoreError> {
        let names = std::fs::read_dir(&self.0.root).into_iter().flatten().flatten();
        let names: Vec<String> = names.filter_map(|entry| entry.file_name().into_string().ok()).collect();
        for name in names {
            let tenant: Option<TenantId> = name.parse().ok();
            let there = match &tenant {
                Some(tenant) => self.0.store.tenant(tenant).await?.is_some(),
                None => false,
            };
            match tenant {
                _ if there => {}
                Some(tenant) => self.forget(&tenant),
                None => remove_folder(&self.0.root, &name),
            }
        }
        Ok(())
    }

    fn open(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Stack>>> {
        self.0.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the corpora of a tenant that is deleted out of use.
    fn take(&self, tenant: &TenantId) -> Vec<Arc<Stack>> {
        let gone: Vec<_> = self.open().extract_if(.., |stack| stack.name.0 == *tenant).collect();
        for stack in &gone {
            stack.gone.store(true, Ordering::Release);
        }
        gone
    }

    fn stack(&self, name: Name) -> Arc<Stack> {
        let mut open = self.open();
        if let Some(found) = open.iter().position(|stack| stack.name == name) {
            let stack = open.remove(found);
            open.push(Arc::clone(&stack));
            return stack;
        }
        // Nobody else may open an index that is in use, so one that is stays.
        while open.len() >= MAX_OPEN
            && let Some(unused) = open.iter().position(|stack| Arc::strong_count(stack) == 1)
        {
            open.remove(unused);
        }
        let behind = Mutex::new(Behind { whole: true, ..Behind::default() });
        let (holdings, work, gone) = (OnceCell::new(), tokio::sync::Mutex::default(), AtomicBool::new(false));
        let stack = Arc::new(Stack { name, holdings, behind, work, gone });
        open.push(Arc::clone(&stack));
        stack
    }

    /// The index, brought up to what the store holds, as far as that does not take too long; none where there is no such
    /// corpus, so that asking for any name leaves nothing behind.
    async fn current(&self, tenant: &TenantId, corpus: &str) -> Result<Option<(Arc<Stack>, Holdings)>, CorpusError> {
        let name = (tenant.clone(), corpus.to_owned());
        if !self.0.folder(&name).exists() {
            let page = self.0.store.documents(tenant, corpus, None, 1).await.map_err(failed)?;
            if page.items.is_empty() {
                return Ok(None);
            }
        }
        let stack = self.stack(name);
        let folder = self.0.folder(&stack.name);
        let holdings = stack.holdings.get_or_try_init(|| off_thread(move || Holdings::open(&folder))).await?.clone();
        if stack.is_gone() {
            remove_folder(&self.0.root, tenant.as_str());
            return Ok(None);
        }
        if !stack.behind().is_nothing() {
            let work = self.in_background(&stack);
            match tokio::time::timeout(PATIENCE, work).await {
                Ok(Ok(done)) => done?,
                Ok(Err(error)) => return Err(CorpusError::Unavailable(format!("indexing broke off: {error}"))),
                // What is indexed by now is there.
                Err(_) => {}
            }
        }
        Ok(Some((stack, holdings)))
    }

    /// Goes on also when nobody waits for it any more.
    fn in_background(&self, stack: &Arc<Stack>) -> tokio::task::JoinHandle<Result<(), CorpusError>> {
        let (inner, stack) = (Arc::clone(&self.0), Arc::clone(stack));
        tokio::spawn(async move {
            let _one_at_a_time = stack.work.lock().await;
            if stack.is_gone() {
                return Ok(());
            }
            let folder = inner.folder(&stack.name);
            let holdings =
                stack.holdings.get_or_try_init(|| off_thread(move || Holdings::open(&folder))).await?.clone();
            inner.bring_up(&stack, &holdings).await
        })
    }
}

impl Stack {
    fn behind(&self) -> std::sync::MutexGuard<'_, Behind> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the index, which is in use until that is done, also when nobody waits for it any more.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce() -> Result<T, vivarium_corpus::CorpusError> + Send + 'static,
    ) -> Result<T, CorpusError> {
        let in_use = Arc::clone(self);
        off_thread(move || {
            let found = work();
            drop(in_use);
            found
        })
        .await
    }

    fn is_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire)
    }

    /// A document of which the index may say what is no longer so.
    fn is_behind(&self, location: &str) -> bool {
        id_of(location).is_some_and(|id| self.behind().documents.contains_key(&id))
    }
}

impl Inner {
    fn folder(&self, (tenant, corpus): &Name) -> PathBuf {
        let name: String = ContentHash::of(corpus.as_bytes()).to_string().chars().take(16).collect();
        self.root.join(tenant.as_str()).join(name)
    }

    async fn bring_up(&self, stack: &Stack, holdings: &Holdings) -> Result<(), CorpusError> {
        loop {
            // What is written from here on is looked at in the next round.
            let (whole, some, changes) = {
                let mut behind = stack.behind();
                if behind.is_nothing() || stack.is_gone() {
                    return Ok(());
                }
                let some: Vec<DocumentId> = behind.documents.keys().copied().collect();
                (std::mem::take(&mut behind.whole), some, behind.changes)
            };
            let done = match whole {
                true => self.compare(stack, holdings, changes).await,
                false => self.follow(stack, holdings, &some, changes).await,
            };
            let mut behind = stack.behind();
            match done {
                Ok(()) => behind.done(some, changes),
                Err(error) => {
                    behind.whole = true;
                    return Err(error);
                }
            }
        }
    }

    /// Brings the index to what the store holds now.
    async fn compare(&self, stack: &Stack, holdings: &Holdings, changes: u64) -> Result<(), CorpusError> {
        let (tenant, corpus) = &stack.name;
        let known = holdings.clone();
        let mut known: HashMap<u64, u64> = off_thread(move || known.known()).await?;
        let (mut missing, mut before) = (Vec::new(), None);
        loop {
            let page = self.store.documents(tenant, corpus, before, PAGE).await.map_err(failed)?;
            for document in page.items {
                let hash = hash_of(&document);
                if known.remove(&Holdings::key(&location(document.id))) != Some(hash) {
                    missing.push(document);
                }
            }
            match page.next {
                Some(next) => before = Some(next),
                None => break,
            }
        }
        let gone: Vec<u64> = known.into_keys().collect();
        if !gone.is_empty() {
            self.change(holdings, gone, Vec::new()).await?;
        }
        self.add(stack, holdings, missing, changes).await
    }

    /// Takes in what was written and removed.
    async fn follow(
        &self,
        stack: &Stack,
        holdings: &Holdings,
        documents: &[DocumentId],
        changes: u64,
    ) -> Result<(), CorpusError> {
        let (tenant, corpus) = &stack.name;
        let (mut there, mut gone) = (Vec::new(), Vec::new());
        for id in documents {
            match self.store.document(tenant, *id).await.map_err(failed)?.filter(|found| found.corpus == *corpus) {
                Some(document) => there.push(document),
                None => gone.push(*id),
            }
        }
        if !gone.is_empty() {
            self.change(holdings, gone.iter().map(|id| Holdings::key(&location(*id))).collect(), Vec::new()).await?;
            stack.behind().done(gone, changes);
        }
        self.add(stack, holdings, there, changes).await
    }

    /// Adds documents, so many at a time that neither memory nor a crash costs much.
    async fn add(
        &self,
        stack: &Stack,
        holdings: &Holdings,
        mut documents: Vec<CorpusDocument>,
        changes: u64,
    ) -> Result<(), CorpusError> {
        // Documents whose texts are kept together are read together.
        documents.sort_unstable_by_key(|document| (document.content, document.offset_bytes));
        let mut documents = documents.into_iter().peekable();
        let mut last: Option<(ContentHash, Option<Bytes>)> = None;
        while documents.peek().is_some() && !stack.is_gone() {
            let (mut given, mut ids, mut bytes) = (Vec::new(), Vec::new(), 0);
            while let Some(document) = documents.next_if(|_| given.len() < AT_ONCE && bytes < BYTES_AT_ONCE) {
                ids.push(document.id);
                bytes += document.length_bytes;
                let blob = match &last {
                    Some((content, blob)) if *content == document.content => blob.clone(),
                    _ => {
                        let blob = self.store.blob(&stack.name.0, document.content).await.map_err(failed)?;
                        last.insert((document.content, blob)).1.clone()
                    }
                };
                let Some(text) = blob.as_deref().and_then(|blob| document.text_in(blob)) else { continue };
                given.push(Given {
                    hash: hash_of(&document),
                    document: Document {
                        location: location(document.id),
                        media_type: form_of(&document.media_type).to_owned(),
                        text: String::from_utf8_lossy(text).into_owned(),
                        title: document.name,
                    },
                    external_id: document.external_id.unwrap_or_default(),
                });
            }
            self.change(holdings, Vec::new(), given).await?;
            stack.behind().done(ids, changes);
        }
        Ok(())
    }

    async fn change(&self, holdings: &Holdings, gone: Vec<u64>, given: Vec<Given>) -> Result<(), CorpusError> {
        let _writer = self.writers.acquire().await.map_err(|error| CorpusError::Unavailable(error.to_string()))?;
        let holdings = holdings.clone();
        off_thread(move || holdings.change(&gone, given)).await
    }
}

impl Corpora for Library {
    fn search(
        &self,
        tenant: &TenantId,
        corpus: &str,
        query: String,
        skip: usize,
        take: usize,
    ) -> BoxFuture<'static, Result<Vec<FoundDocument>, CorporaError>> {
        let (library, tenant, corpus) = (self.clone(), tenant.clone(), corpus.to_owned());
        Box::pin(async move {
            let current = library.current(&tenant, &corpus).await.map_err(for_clients)?;
            let Some((stack, holdings)) = current else { return Ok(Vec::new()) };
            let hits = stack.ask(move || holdings.documents(&query, skip, take)).await.map_err(for_clients)?;
            let there = hits.into_iter().filter(|hit| !stack.is_behind(&hit.location));
            Ok(there.filter_map(found).collect())
        })
    }

    fn changed(&self, tenant: &TenantId, corpus: &str, documents: Vec<DocumentId>) {
        let stack = {
            let name = (tenant.clone(), corpus.to_owned());
            let open = self.open();
            // One that nobody has asked yet compares the whole when it is.
            open.iter().find(|stack| stack.name == name).map(Arc::clone)
        };
        let Some(stack) = stack else { return };
        stack.behind().add(documents);
        // Not to be waited for: who searches before it is done does.
        drop(self.in_background(&stack));
    }

    fn forget(&self, tenant: &TenantId) {
        let (library, tenant) = (self.clone(), tenant.clone());
        let mut gone = library.take(&tenant);
        remove_folder(&library.0.root, tenant.as_str());
        if gone.is_empty() {
            return;
        }
        // What is at work with one of them may leave something behind, or ask for it again.
        tokio::spawn(async move {
            while !gone.is_empty() {
                for stack in gone {
                    let _at_work = stack.work.lock().await;
                }
                remove_folder(&library.0.root, tenant.as_str());
                gone = library.take(&tenant);
            }
        });
    }
}

/// Removes all indexes of a tenant of a data folder.
pub(crate) fn remove(data: &Path, tenant: &TenantId) {
    remove_folder(&root(data), tenant.as_str());
}

fn remove_folder(root: &Path, tenant: &str) {
    match std::fs::remove_dir_all(root.join(tenant)) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => tracing::warn!(%error, tenant, "the indexes of a tenant that is gone can not be removed"),
    }
}

fn found(hit: DocumentHit) -> Option<FoundDocument> {
    let DocumentHit { location, external_id, title: name, heading, passage, highlights, score } = hit;
    let external_id = Some(external_id).filter(|id| !id.is_empty());
    Some(FoundDocument { id: id_of(&location)?, external_id, name, heading, passage, highlights, score })
}

fn for_clients(error: CorpusError) -> CorporaError {
    match error {
        CorpusError::InvalidQuery(why) | CorpusError::NotFound(why) => CorporaError::InvalidQuery(why),
        CorpusError::Unavailable(why) => {
            tracing::error!(why, "a corpus can not be searched");
            CorporaError::Unavailable("the corpus can not be searched at present; try again".to_owned())
        }
    }
}

fn failed(error: StoreError) -> CorpusError {
    tracing::error!(%error, "a tenant's documents can not be read");
    CorpusError::Unavailable("the documents can not be read at present".to_owned())
}

/// Where the indexes of tenants' corpora are.
fn root(data: &Path) -> PathBuf {
    data.join("corpora").join("tenants")
}

pub(crate) fn location(id: DocumentId) -> String {
    format!("{LOCATION}{id}")
}

fn id_of(location: &str) -> Option<DocumentId> {
    location.strip_prefix(LOCATION)?.parse().ok()
}

/// What tells a document's text and names from what it was before.
fn hash_of(document: &CorpusDocument) -> u64 {
    Holdings::key(&format!("{} {:?} {}", document.content, document.offset_bytes, document.name))
}
