//! Full-text search over folders of documents: the index behind the contract's `corpus` capability. It is kept on disk
//! and updated, not rebuilt. This crate knows no plugin and no tenant.
//!
//! The promise that everything here serves: a passage is words of the document, exactly as [`Corpus::read`] gives them,
//! so that an answer's quotes can be checked. See [`open`](Corpus::open) for what goes in, [`search`](Corpus::search)
//! for what comes out.

mod collection;
mod convert;
mod extract;
mod highlight;
mod holdings;
mod manifest;
mod passages;
mod query;
mod ranking;
mod reading;
mod schema;
mod search;
mod shelf;
mod walk;
mod words;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tantivy::IndexReader;
use vivarium_domain::Document;

pub use collection::Collection;
pub use convert::{ConvertError, Converter, Format};
pub use extract::SkipReason;
pub use holdings::{Given, Holdings};
use schema::Fields;
use shelf::Shelf;

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

/// A document that answers a query, with its best passage.
#[derive(Debug, Clone, PartialEq)]
pub struct DocumentHit {
    /// What it is read by.
    pub location: String,
    /// The id that it has where it came from; empty where it has none.
    pub external_id: String,
    /// The document's title.
    pub title: String,
    /// The heading that the passage stands under; empty where there is none.
    pub heading: String,
    /// Its best passage, word for word.
    pub passage: String,
    /// Where words of the query stand in the passage, in bytes.
    pub highlights: Vec<std::ops::Range<usize>>,
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

/// Bounds on what is read of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Larger files are skipped.
    pub max_file_bytes: u64,
    /// Longer texts are cut.
    pub max_text_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_file_bytes: 8 << 20, max_text_bytes: 2 << 20 }
    }
}

/// Which folder to search, and where its index is kept.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    /// The documents. Never written to.
    pub folder: PathBuf,
    /// Where the index is kept; made if it is not there. Must not be shared with anything else.
    pub index_dir: PathBuf,
    /// Bounds on what is read of one file.
    pub limits: Limits,
    /// How many files are indexed between two commits: what a killed process loses.
    pub commit_every: NonZeroUsize,
    /// Reads the formats that this crate does not; none: files of them are left out.
    pub converter: Option<Arc<dyn Converter>>,
}

impl OpenOptions {
    /// The documents in `folder`, indexed in `index_dir`, with the usual bounds.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>, index_dir: impl Into<PathBuf>) -> Self {
        let commit_every = NonZeroUsize::MIN.saturating_add(2047);
        Self {
            folder: folder.into(),
            index_dir: index_dir.into(),
            limits: Limits::default(),
            commit_every,
            converter: None,
        }
    }
}

/// How far opening or refreshing is. Reported for each file: show it a few times a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// The folder is walked.
    Scanning {
        /// Files found so far.
        files: u64,
    },
    /// New and changed files are read.
    Indexing {
        /// Files done.
        done: u64,
        /// Files to do.
        total: u64,
    },
    /// The index is written and its parts are merged.
    Finishing,
}

/// What opening or refreshing found and did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Documents that can be searched now.
    pub documents: u64,
    /// Their passages.
    pub passages: u64,
    /// Documents that are new in the index.
    pub added: u64,
    /// Documents that were indexed again because their file changed.
    pub changed: u64,
    /// Documents that are no longer in the index.
    pub removed: u64,
    /// Files that were left as they were, skipped ones among them.
    pub unchanged: u64,
    /// Documents of which only the beginning is indexed.
    pub truncated: u64,
    /// Files that are not in the index, by reason.
    pub skipped: BTreeMap<SkipReason, u64>,
    /// Why an index that was there was thrown away and built anew, if it was.
    pub rebuilt: Option<String>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Report {
    /// Documents that had to be read and indexed.
    #[must_use]
    pub fn indexed(&self) -> u64 {
        self.added + self.changed
    }
}

/// A corpus that is ready for queries. Cheap to clone; clones share the index, and its lock is held until the last one
/// is dropped.
#[derive(Clone)]
pub struct Corpus {
    inner: Arc<Inner>,
}

struct Inner {
    fields: Fields,
    reader: IndexReader,
    shelf: Mutex<Shelf>,
}

impl std::fmt::Debug for Corpus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Corpus").field("passages", &self.inner.reader.searcher().num_docs()).finish_non_exhaustive()
    }
}

impl Corpus {
    /// Opens the corpus and brings its index up to date; with nothing changed, that is a walk over the folder. Blocks,
    /// for as long as a minute for tens of thousands of new pages: call it off the async threads.
    ///
    /// What was committed before a crash is kept, and the rest is done now. An index of another version is rebuilt.
    ///
    /// # Errors
    /// [`CorpusError::Unavailable`] where the folder can not be read, the index can not be written, or another process
    /// uses it.
    pub fn open(options: OpenOptions, progress: &mut dyn FnMut(Progress)) -> Result<(Self, Report), CorpusError> {
        let index_dir = options.index_dir.clone();
        let mut shelf = Shelf::open(options)?;
        let report = shelf.update(progress)?;
        let reader = search::reader(&shelf.index);
        let reader = reader.map_err(|error: tantivy::TantivyError| shelf::unusable(&index_dir, &error))?;
        let fields = shelf.fields.clone();
        Ok((Self { inner: Arc::new(Inner { fields, reader, shelf: Mutex::new(shelf) }) }, report))
    }

    /// Looks at the folder again and takes in what changed. Queries meanwhile are answered from before. Blocks.
    ///
    /// # Errors
    /// [`CorpusError::Unavailable`], as for [`open`](Self::open).
    pub fn refresh(&self, progress: &mut dyn FnMut(Progress)) -> Result<Report, CorpusError> {
        let mut shelf = self.inner.shelf.lock().unwrap_or_else(PoisonError::into_inner);
        let report = shelf.update(progress)?;
        self.inner.reader.reload().map_err(|error| CorpusError::Unavailable(error.to_string()))?;
        Ok(report)
    }

    /// The passages that answer `query` best, best first, at most two of one document, at most 50 in all. A document
    /// that another one repeats word for word is left out.
    ///
    /// The query is taken as words; nothing in it has a special meaning.
    ///
    /// # Errors
    /// [`CorpusError::InvalidQuery`] where it holds no word, [`CorpusError::Unavailable`] where the index fails.
    pub fn search(&self, query: &str, max_hits: usize) -> Result<Vec<Hit>, CorpusError> {
        search::search(&self.inner.reader.searcher(), &self.inner.fields, query, max_hits)
    }

    /// A whole document as it was indexed, cut at `max_bytes` on a character's border. Looks the location up in the
    /// index, never in the file system.
    ///
    /// # Errors
    /// [`CorpusError::NotFound`] where the index has no such document, [`CorpusError::Unavailable`] where it fails.
    pub fn read(&self, location: &str, max_bytes: usize) -> Result<Document, CorpusError> {
        search::read(&self.inner.reader.searcher(), &self.inner.fields, location, max_bytes)
    }
}
