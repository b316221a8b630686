//! An index on disk of documents that are given, added and taken away, as many as there are: what a corpus of a tenant is
//! searched by. It is derived from what somebody else keeps, so it can be thrown away at any time, and says by itself what it
//! holds, so that whoever keeps the documents can see what is missing.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tantivy::directory::MmapDirectory;
use tantivy::{Index, IndexReader, IndexWriter, Term};
use vivarium_domain::Document;

use crate::extract::extract_given;
use crate::passages::split;
use crate::schema::{FORMAT, Fields, Names, key_of};
use crate::shelf::{lock, unusable};
use crate::{CorpusError, DocumentHit, Hit, search, words};

/// The memory of a writer of few documents: the least that tantivy takes.
const SMALL_WRITER_BYTES: usize = 16 << 20;
/// That of each of two writers of many.
const LARGE_WRITER_BYTES: usize = 48 << 20;
/// From how many documents on it is many.
const MANY: usize = 512;

/// A document to be held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// Title, location, media type and text.
    pub document: Document,
    /// The id that it has where it came from; empty where it has none.
    pub external_id: String,
    /// What tells this text of it from another one.
    pub hash: u64,
}

/// Documents that can be searched, in an index on disk. Cheap to clone; the index is let go of with the last clone.
#[derive(Clone)]
pub struct Holdings {
    inner: Arc<Inner>,
}

struct Inner {
    index_dir: PathBuf,
    fields: Fields,
    index: Index,
    reader: IndexReader,
    /// One change at a time.
    changing: Mutex<()>,
    _lock: File,
}

impl std::fmt::Debug for Holdings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Holdings").field("passages", &self.inner.reader.searcher().num_docs()).finish_non_exhaustive()
    }
}

impl Holdings {
    /// Opens the index in `index_dir`, which is made if it is not there; an index that can not be used any more is made anew,
    /// and holds nothing then. Blocks.
    ///
    /// # Errors
    /// [`CorpusError::Unavailable`] where the folder can not be written, or another process uses it.
    pub fn open(index_dir: &Path) -> Result<Self, CorpusError> {
        let trouble = |error: &dyn std::fmt::Display| unusable(index_dir, error);
        std::fs::create_dir_all(index_dir).map_err(|error| trouble(&error))?;
        let lock = lock(index_dir)?;
        let fields = Fields::new();
        let inner = index_dir.join("index");
        let index = match kept(&inner) {
            Some(index) => index,
            None => {
                if inner.exists() {
                    tracing::info!(index = %index_dir.display(), "the index is made anew: it is of another version, or damaged");
                    std::fs::remove_dir_all(&inner).map_err(|error| trouble(&error))?;
                }
                std::fs::create_dir(&inner).map_err(|error| trouble(&error))?;
                let directory = MmapDirectory::open(&inner).map_err(|error| trouble(&error))?;
                Index::open_or_create(directory, fields.schema.clone()).map_err(|error| trouble(&error))?
            }
        };
        words::register(index.tokenizers());
        let reader = search::reader(&index);
        let reader = reader.map_err(|error: tantivy::TantivyError| trouble(&error))?;
        let index_dir = index_dir.to_owned();
        Ok(Self {
            inner: Arc::new(Inner { index_dir, fields, index, reader, changing: Mutex::default(), _lock: lock }),
        })
    }

    /// The number that stands for a document of this location in [`known`](Self::known) and [`change`](Self::change).
    #[must_use]
    pub fn key(location: &str) -> u64 {
        key_of(location)
    }

    /// What is held, by key, each with the hash that it was given with. Costs a walk over all passages' numbers.
    ///
    /// # Errors
    /// [`CorpusError::Unavailable`] where the index fails.
    pub fn known(&self) -> Result<HashMap<u64, u64>, CorpusError> {
        let searcher = self.inner.reader.searcher();
        let mut known = HashMap::new();
        for segment in searcher.segment_readers() {
            let column = |name| segment.fast_fields().u64(name).map_err(|error| self.trouble(&error));
            let (keys, hashes) = (column("key")?, column("document")?);
            known.extend(segment.doc_ids_alive().filter_map(|id| Some((keys.first(id)?, hashes.first(id)?))));
        }
        Ok(known)
    }

    /// Takes documents away, and adds others, each in the place of what was held under its location; all of it is found by
    /// the searches after this one. A document without any text is held by its title. Blocks.
    ///
    /// # Errors
    /// [`CorpusError::Unavailable`] where the index can not be written; then nothing has changed.
    pub fn change(&self, gone: &[u64], given: Vec<Given>) -> Result<(), CorpusError> {
        let trouble = |error: tantivy::TantivyError| self.trouble(&error);
        let _one_at_a_time = self.inner.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let (threads, bytes) = if given.len() < MANY { (1, SMALL_WRITER_BYTES) } else { (2, 2 * LARGE_WRITER_BYTES) };
        let fields = &self.inner.fields;
        let mut writer: IndexWriter = self.inner.index.writer_with_num_threads(threads, bytes).map_err(trouble)?;
        for key in gone {
            writer.delete_term(Term::from_field_u64(fields.key, *key));
        }
        for Given { document, external_id, hash } in given {
            writer.delete_term(Term::from_field_u64(fields.key, key_of(&document.location)));
            let text = if document.text.trim().is_empty() { &document.title } else { &document.text };
            let Ok(mut extracted) = extract_given(&document.media_type, text) else { continue };
            extracted.title = document.title.clone();
            let spans = split(&extracted);
            let names = Names { location: &document.location, path: "", external: &external_id };
            fields.add(&writer, names, hash, &extracted, &spans).map_err(trouble)?;
        }
        let mut prepared = writer.prepare_commit().map_err(trouble)?;
        prepared.set_payload(&FORMAT.to_string());
        prepared.commit().map_err(trouble)?;
        writer.wait_merging_threads().map_err(trouble)?;
        self.inner.reader.reload().map_err(trouble)
    }

    /// As [`Corpus::search`](crate::Corpus::search).
    ///
    /// # Errors
    /// [`CorpusError::InvalidQuery`] where it holds no word, [`CorpusError::Unavailable`] where the index fails.
    pub fn search(&self, query: &str, max_hits: usize) -> Result<Vec<Hit>, CorpusError> {
        search::search(&self.inner.reader.searcher(), &self.inner.fields, query, max_hits)
    }

    /// The documents that answer `query` best, best first, each with its best passage; `skip` of them are passed over. Unlike
    /// [`search`](Self::search) it leaves nothing out that another document says as well.
    ///
    /// # Errors
    /// [`CorpusError::InvalidQuery`] where it holds no word, [`CorpusError::Unavailable`] where the index fails.
    pub fn documents(&self, query: &str, skip: usize, take: usize) -> Result<Vec<DocumentHit>, CorpusError> {
        search::documents(&self.inner.reader.searcher(), &self.inner.fields, query, skip, take)
    }

    /// As [`Corpus::read`](crate::Corpus::read).
    ///
    /// # Errors
    /// [`CorpusError::NotFound`] where there is no such document, [`CorpusError::Unavailable`] where the index fails.
    pub fn read(&self, location: &str, max_bytes: usize) -> Result<Document, CorpusError> {
        search::read(&self.inner.reader.searcher(), &self.inner.fields, location, max_bytes)
    }

    fn trouble(&self, error: &dyn std::fmt::Display) -> CorpusError {
        unusable(&self.inner.index_dir, error)
    }
}

/// The index that is there, if it is one of this version and whole.
fn kept(folder: &Path) -> Option<Index> {
    if !folder.join("meta.json").exists() {
        return None;
    }
    let index = Index::open_in_dir(folder).ok()?;
    let payload = index.load_metas().ok()?.payload?;
    words::register(index.tokenizers());
    // Opening the segments is what finds files that are missing.
    (payload == FORMAT.to_string() && index.reader().is_ok()).then_some(index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(id: u32, title: &str, text: &str, hash: u64) -> Given {
        let document = Document {
            title: title.to_owned(),
            location: format!("document:{id}"),
            media_type: "text/plain".to_owned(),
            text: text.to_owned(),
        };
        Given { document, external_id: format!("d{id}"), hash }
    }

    fn found(holdings: &Holdings, query: &str) -> Vec<String> {
        holdings.documents(query, 0, 10).unwrap().into_iter().map(|hit| hit.external_id).collect()
    }

    #[test]
    fn documents_come_go_and_change_and_are_there_when_it_is_opened_again() {
        let folder = tempfile::tempdir().unwrap();
        let index = folder.path().join("a");
        let holdings = Holdings::open(&index).unwrap();
        holdings
            .change(
                &[],
                vec![
                    given(1, "Gates", "They open at noon.", 7),
                    given(2, "Tides", "They fall at noon.", 8),
                    given(3, "Only a title", "", 9),
                ],
            )
            .unwrap();
        assert_eq!(found(&holdings, "noon").len(), 2);
        assert_eq!(found(&holdings, "only title"), ["d3"]);
        holdings.change(&[Holdings::key("document:2")], vec![given(1, "Gates", "They open at midnight.", 10)]).unwrap();
        assert!(found(&holdings, "noon").is_empty());
        drop(holdings);
        let holdings = Holdings::open(&index).unwrap();
        assert_eq!(found(&holdings, "midnight"), ["d1"]);
        let known = holdings.known().unwrap();
        assert_eq!(known.get(&Holdings::key("document:1")), Some(&10));
        assert_eq!((known.len(), known.contains_key(&Holdings::key("document:2"))), (2, false));
        assert!(matches!(Holdings::open(&index), Err(CorpusError::Unavailable(_))), "it is in use");
    }

    #[test]
    fn an_index_of_another_version_is_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let holdings = Holdings::open(folder.path()).unwrap();
        holdings.change(&[], vec![given(1, "Gates", "They open at noon.", 7)]).unwrap();
        drop(holdings);
        let meta = folder.path().join("index/meta.json");
        let text = std::fs::read_to_string(&meta).unwrap();
        std::fs::write(&meta, text.replace(&format!("\"{FORMAT}\""), "\"1\"")).unwrap();
        assert!(Holdings::open(folder.path()).unwrap().known().unwrap().is_empty());
    }

    #[test]
    fn each_document_is_one_hit_and_pages_go_on_where_the_one_before_ends() {
        let folder = tempfile::tempdir().unwrap();
        let holdings = Holdings::open(folder.path()).unwrap();
        let long = "The gates of the pier are described here at length. ".repeat(100);
        let mut all: Vec<Given> = (1..30).map(|n| given(n, "Pier", &format!("Gate {n} of the pier."), 1)).collect();
        all.push(given(30, "All the gates", &long, 1));
        holdings.change(&[], all).unwrap();
        let whole = holdings.documents("gate pier", 0, 100).unwrap();
        assert_eq!(whole.len(), 30);
        let mut paged = Vec::new();
        for page in 0..5 {
            paged.extend(holdings.documents("gate pier", page * 7, 7).unwrap());
        }
        assert_eq!(paged, whole);
        for hit in &whole {
            for range in &hit.highlights {
                let word = hit.passage.get(range.clone()).unwrap().to_lowercase();
                assert!(["gate", "gates", "pier"].contains(&word.as_str()), "{word}");
            }
            assert!(!hit.highlights.is_empty());
        }
    }
}
