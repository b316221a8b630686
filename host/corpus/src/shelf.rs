//! The index on disk, and how it follows the folder.
//!
//! A shelf is a folder that holds `lock`, `index/` (tantivy's) and one `files-N.jsonl` (the manifest that the last
//! commit names). Files are compared by size and time, and by hash where the time moved; only what changed is read
//! again. Work is committed in portions, so a killed indexer loses one portion at most.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::time::Instant;

use tantivy::directory::MmapDirectory;
use tantivy::{Index, IndexWriter, TantivyDocument, Term};

use crate::extract::{SkipReason, is_readable_kind};
use crate::manifest::{CommitNote, FileRecord, Manifest, Outcome};
use crate::reading::{FileState, Job, Read, ReadOutcome, read_all};
use crate::schema::{FORMAT, Fields, Names};
use crate::walk::{Found, walk};
use crate::{CorpusError, OpenOptions, Progress, Report, words};

/// Memory of each thread that writes the index; tantivy flushes a segment when it is full.
const WRITER_BYTES_PER_THREAD: usize = 48 << 20;
/// More writers than this make more small segments than speed.
const MAX_WRITER_THREADS: usize = 4;

pub(crate) struct Shelf {
    options: OpenOptions,
    /// The folder of documents, canonical.
    folder: PathBuf,
    /// The folder of the index, canonical.
    index_dir: PathBuf,
    pub(crate) index: Index,
    pub(crate) fields: Fields,
    manifest: Manifest,
    manifest_number: u64,
    rebuilt: Option<String>,
    /// An update did not come to its end, so that `manifest` may say more than was committed.
    broken_off: bool,
    /// Held as long as the shelf is in use; the system lets go of it when the process dies.
    _lock: File,
}

impl Shelf {
    pub(crate) fn open(options: OpenOptions) -> Result<Self, CorpusError> {
        let folder = canonical_folder(&options.folder)?;
        let trouble = |error: &dyn std::fmt::Display| unusable(&options.index_dir, error);
        fs::create_dir_all(&options.index_dir).map_err(|error| trouble(&error))?;
        let index_dir = options.index_dir.canonicalize().map_err(|error| trouble(&error))?;
        if index_dir == folder {
            return Err(CorpusError::Unavailable(format!(
                "the index can not lie in {} itself: name another folder for it",
                folder.display()
            )));
        }
        let lock = lock(&index_dir)?;
        let fields = Fields::new();
        let (kept, rebuilt) = match Kept::load(&index_dir, &options) {
            Ok(kept) => (kept, None),
            Err(NotKept::Nothing) => (Kept::create(&index_dir, &fields)?, None),
            Err(NotKept::Unusable(reason)) => {
                tracing::info!(reason, index = %index_dir.display(), "the index is rebuilt");
                (Kept::create(&index_dir, &fields)?, Some(reason))
            }
        };
        words::register(kept.index.tokenizers());
        let Kept { index, manifest, manifest_number } = kept;
        Ok(Self {
            options,
            folder,
            index_dir,
            index,
            fields,
            manifest,
            manifest_number,
            rebuilt,
            broken_off: false,
            _lock: lock,
        })
    }

    /// Brings the index to what the folder holds now.
    pub(crate) fn update(&mut self, progress: &mut dyn FnMut(Progress)) -> Result<Report, CorpusError> {
        let started = Instant::now();
        if self.broken_off {
            self.manifest = self.committed_manifest()?;
            self.broken_off = false;
        }
        let walked = walk(&self.folder, &self.index_dir, &mut |files| progress(Progress::Scanning { files }))?;
        progress(Progress::Scanning { files: walked.files.len() as u64 });
        let mut report = Report { rebuilt: self.rebuilt.take(), ..Report::default() };
        let mut skipped = Skipped::default();
        walked.skipped.into_iter().for_each(|reason| skipped.add(reason));

        let plan = self.plan(walked.files, &mut skipped);
        report.unchanged = plan.unchanged;
        if !plan.jobs.is_empty() || !plan.gone.is_empty() {
            self.broken_off = true;
            self.carry_out(plan, &mut report, progress)?;
            self.broken_off = false;
        }
        self.sum_up(&mut report, skipped);
        report.elapsed = started.elapsed();
        Ok(report)
    }

    fn committed_manifest(&self) -> Result<Manifest, CorpusError> {
        let trouble = |error: &dyn std::fmt::Display| unusable(&self.index_dir, error);
        let Some(payload) = self.index.load_metas().map_err(|error| trouble(&error))?.payload else {
            return Ok(Manifest::default());
        };
        let note: CommitNote = serde_json::from_str(&payload).map_err(|error| trouble(&error))?;
        Manifest::load(&self.index_dir.join(&note.files)).map_err(|error| trouble(&error))
    }

    /// What there is to do, told from sizes and times alone.
    fn plan(&self, found: Vec<Found>, skipped: &mut Skipped) -> Plan {
        let mut plan = Plan::default();
        let mut wanted = BTreeSet::new();
        for file in found {
            if !is_readable_kind(&file.location, self.options.converter.is_some()) {
                skipped.add(SkipReason::UnknownKind);
                continue;
            }
            if file.size > self.options.limits.max_file_bytes {
                skipped.add(SkipReason::TooLarge);
                continue;
            }
            wanted.insert(file.location.clone());
            let known = self.manifest.files.get(&file.location);
            match known {
                Some(record)
                    if (record.size, record.modified, record.unsettled) == (file.size, file.modified, false) =>
                {
                    plan.unchanged += 1;
                }
                _ => plan.jobs.push(Job { found: file, known_hash: known.map(|record| record.hash.clone()) }),
            }
        }
        plan.gone = self.manifest.files.keys().filter(|location| !wanted.contains(*location)).cloned().collect();
        plan
    }

    fn carry_out(
        &mut self,
        plan: Plan,
        report: &mut Report,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(), CorpusError> {
        let threads = std::thread::available_parallelism().map_or(1, |cores| cores.get().div_ceil(2));
        let threads = threads.min(MAX_WRITER_THREADS);
        let mut writer: IndexWriter = self
            .index
            .writer_with_num_threads(threads, threads * WRITER_BYTES_PER_THREAD)
            .map_err(|error| unusable(&self.index_dir, &error))?;
        for location in plan.gone {
            self.forget(&mut writer, &location, report);
        }
        let total = plan.jobs.len() as u64;
        let mut done = 0;
        let mut uncommitted = 0;
        let folder = self.folder.clone();
        let limits = self.options.limits;
        let converter = self.options.converter.clone();
        read_all(&folder, limits, converter.as_deref(), &plan.jobs, |read| {
            self.take_in(&mut writer, read, report)?;
            done += 1;
            uncommitted += 1;
            if uncommitted >= self.options.commit_every.get() {
                self.commit(&mut writer)?;
                uncommitted = 0;
            }
            progress(Progress::Indexing { done, total });
            Ok(())
        })?;
        progress(Progress::Finishing);
        self.commit(&mut writer)?;
        writer.wait_merging_threads().map_err(|error| unusable(&self.index_dir, &error))
    }

    /// Takes one file's new state into the index and the manifest.
    fn take_in(
        &mut self,
        writer: &mut IndexWriter<TantivyDocument>,
        read: Read,
        report: &mut Report,
    ) -> Result<(), CorpusError> {
        let location = read.location;
        let known = self.manifest.files.get(&location).map(|record| record.outcome);
        let outcome = match read.outcome {
            ReadOutcome::Gone => {
                self.forget(writer, &location, report);
                return Ok(());
            }
            ReadOutcome::Same => {
                report.unchanged += 1;
                known.unwrap_or(Outcome::Skipped(SkipReason::Unreadable))
            }
            ReadOutcome::Skipped(reason) => {
                if matches!(known, Some(Outcome::Indexed { .. })) {
                    self.forget(writer, &location, report);
                }
                Outcome::Skipped(reason)
            }
            ReadOutcome::Document { document, spans, text_hash } => {
                if matches!(known, Some(Outcome::Indexed { .. })) {
                    writer.delete_term(Term::from_field_text(self.fields.location, &location));
                    report.changed += 1;
                } else {
                    report.added += 1;
                }
                let names = Names { location: &location, path: &location, external: "" };
                let added = self.fields.add(writer, names, text_hash, &document, &spans);
                added.map_err(|error| unusable(&self.index_dir, &error))?;
                let passages = u32::try_from(spans.len()).unwrap_or(u32::MAX);
                Outcome::Indexed { passages, truncated: document.truncated }
            }
        };
        let FileState { size, modified, hash, unsettled } = read.state;
        let record = FileRecord { location: location.clone(), size, modified, hash, unsettled, outcome };
        self.manifest.files.insert(location, record);
        Ok(())
    }

    fn forget(&mut self, writer: &mut IndexWriter<TantivyDocument>, location: &str, report: &mut Report) {
        let Some(record) = self.manifest.files.remove(location) else { return };
        if matches!(record.outcome, Outcome::Indexed { .. }) {
            writer.delete_term(Term::from_field_text(self.fields.location, location));
            report.removed += 1;
        }
    }

    /// Writes the manifest, then commits the index with its name.
    fn commit(&mut self, writer: &mut IndexWriter<TantivyDocument>) -> Result<(), CorpusError> {
        self.manifest_number += 1;
        let files = Manifest::file_name(self.manifest_number);
        let trouble = |error: &dyn std::fmt::Display| unusable(&self.index_dir, error);
        self.manifest.save(&self.index_dir.join(&files)).map_err(|error| trouble(&error))?;
        let note = CommitNote { format: FORMAT, max_text_bytes: self.options.limits.max_text_bytes, files };
        let payload = serde_json::to_string(&note).map_err(|error| trouble(&error))?;
        let mut prepared = writer.prepare_commit().map_err(|error| trouble(&error))?;
        prepared.set_payload(&payload);
        prepared.commit().map_err(|error| trouble(&error))?;
        Manifest::remove_others(&self.index_dir, Some(&note.files)).map_err(|error| trouble(&error))
    }

    fn sum_up(&self, report: &mut Report, mut skipped: Skipped) {
        for record in self.manifest.files.values() {
            match record.outcome {
                Outcome::Indexed { passages, truncated } => {
                    report.documents += 1;
                    report.passages += u64::from(passages);
                    report.truncated += u64::from(truncated);
                }
                Outcome::Skipped(reason) => skipped.add(reason),
            }
        }
        report.skipped = skipped.0;
    }
}

#[derive(Default)]
struct Plan {
    jobs: Vec<Job>,
    /// Files that the manifest knows and the folder has no more.
    gone: Vec<String>,
    unchanged: u64,
}

#[derive(Default)]
struct Skipped(BTreeMap<SkipReason, u64>);

impl Skipped {
    fn add(&mut self, reason: SkipReason) {
        *self.0.entry(reason).or_default() += 1;
    }
}

/// An index that was there before.
struct Kept {
    index: Index,
    manifest: Manifest,
    manifest_number: u64,
}

enum NotKept {
    /// The folder is new.
    Nothing,
    /// There is one, but it can not be used any more; says why.
    Unusable(String),
}

impl Kept {
    fn load(index_dir: &Path, options: &OpenOptions) -> Result<Self, NotKept> {
        let inner = index_dir.join("index");
        if !inner.join("meta.json").exists() {
            return Err(NotKept::Nothing);
        }
        let damaged = |error: &dyn std::fmt::Display| NotKept::Unusable(format!("it is damaged: {error}"));
        let index = Index::open_in_dir(&inner).map_err(|error| damaged(&error))?;
        let metas = index.load_metas().map_err(|error| damaged(&error))?;
        let Some(payload) = metas.payload else { return Err(NotKept::Nothing) };
        let note: CommitNote = serde_json::from_str(&payload).map_err(|error| damaged(&error))?;
        if note.format != FORMAT {
            return Err(NotKept::Unusable("it was made by another version".into()));
        }
        if note.max_text_bytes != options.limits.max_text_bytes {
            return Err(NotKept::Unusable("it was made with other limits".into()));
        }
        let manifest = Manifest::load(&index_dir.join(&note.files)).map_err(|error| damaged(&error))?;
        // Opening the segments is what finds files that are missing.
        words::register(index.tokenizers());
        index.reader().map_err(|error| damaged(&error))?;
        let manifest_number = Manifest::number(&note.files).unwrap_or_default();
        Ok(Self { index, manifest, manifest_number })
    }

    /// An empty index, in the place of whatever was there.
    fn create(index_dir: &Path, fields: &Fields) -> Result<Self, CorpusError> {
        let trouble = |error: &dyn std::fmt::Display| unusable(index_dir, error);
        let inner = index_dir.join("index");
        if inner.exists() {
            fs::remove_dir_all(&inner).map_err(|error| trouble(&error))?;
        }
        Manifest::remove_others(index_dir, None).map_err(|error| trouble(&error))?;
        fs::create_dir(&inner).map_err(|error| trouble(&error))?;
        let directory = MmapDirectory::open(&inner).map_err(|error| trouble(&error))?;
        let index = Index::open_or_create(directory, fields.schema.clone()).map_err(|error| trouble(&error))?;
        Ok(Self { index, manifest: Manifest::default(), manifest_number: 0 })
    }
}

fn canonical_folder(folder: &Path) -> Result<PathBuf, CorpusError> {
    let canonical = folder.canonicalize().map_err(|error| {
        CorpusError::Unavailable(format!(
            "the folder {} can not be opened: {error}. Name a folder of documents that exists and is readable",
            folder.display()
        ))
    })?;
    if canonical.is_dir() {
        Ok(canonical)
    } else {
        Err(CorpusError::Unavailable(format!(
            "{} is a file: name the folder that holds the documents",
            folder.display()
        )))
    }
}

pub(crate) fn lock(index_dir: &Path) -> Result<File, CorpusError> {
    let path = index_dir.join("lock");
    let file = File::options().create(true).write(true).truncate(false).open(&path);
    let file = file.map_err(|error| unusable(index_dir, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(CorpusError::Unavailable(format!(
            "the index in {} is in use by another process: stop that one, or name another folder for this index",
            index_dir.display()
        ))),
        Err(TryLockError::Error(error)) => Err(unusable(index_dir, &error)),
    }
}

/// The index can not be read or written.
pub(crate) fn unusable(index_dir: &Path, error: &dyn std::fmt::Display) -> CorpusError {
    CorpusError::Unavailable(format!(
        "the index in {} can not be used: {error}. Check that the folder is writable and its disk not full; deleting the \
         folder makes the next start build it anew",
        index_dir.display()
    ))
}
