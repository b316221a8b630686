//! Reading and parsing files on all cores, while one thread takes the results in. The channel between them is short:
//! however large the folder is, only a few parsed documents wait in memory.

use std::fs::File;
use std::io::{self, Read as _};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use crate::convert::{ConvertError, Converter};
use crate::extract::{Extracted, SkipReason, converted, extract, format_of};
use crate::passages::{Span, split};
use crate::schema::hash_of;
use crate::walk::{Found, modified};
use crate::{CorpusError, Limits};

/// Parsing a page takes a multiple of its size in memory, so threads are bounded.
const MAX_THREADS: usize = 8;
/// Documents that may wait for the index.
const WAITING: usize = 32;
/// File systems write times in steps; the coarsest in use (FAT) has two seconds.
const COARSEST_TIME_NANOS: u64 = 2_000_000_000;

/// A file to look into.
pub(crate) struct Job {
    pub(crate) found: Found,
    /// The hash that the index was made from.
    pub(crate) known_hash: Option<String>,
}

/// A file as it was when it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct FileState {
    pub(crate) size: u64,
    pub(crate) modified: u64,
    pub(crate) hash: String,
    pub(crate) unsettled: bool,
}

/// What came of a job.
pub(crate) struct Read {
    pub(crate) location: String,
    pub(crate) state: FileState,
    pub(crate) outcome: ReadOutcome,
}

pub(crate) enum ReadOutcome {
    /// The bytes are those that the index was made from.
    Same,
    /// The file was removed meanwhile.
    Gone,
    Skipped(SkipReason),
    Document {
        document: Extracted,
        spans: Vec<Span>,
        text_hash: u64,
    },
}

/// Does all jobs; gives each result to `take`, in no particular order, on the calling thread. The first error of
/// `take` ends it.
pub(crate) fn read_all(
    folder: &Path,
    limits: Limits,
    converter: Option<&dyn Converter>,
    jobs: &[Job],
    mut take: impl FnMut(Read) -> Result<(), CorpusError>,
) -> Result<(), CorpusError> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS).min(jobs.len().max(1));
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let (sender, results) = sync_channel(WAITING);
        for _ in 0..threads {
            let sender = sender.clone();
            let next = &next;
            scope.spawn(move || work(&Reader { folder, limits, converter }, jobs, next, &sender));
        }
        drop(sender);
        // Leaving early drops the receiver, and the workers stop at their next send.
        results.into_iter().try_for_each(&mut take)
    })
}

/// What the threads share.
struct Reader<'r> {
    folder: &'r Path,
    limits: Limits,
    converter: Option<&'r dyn Converter>,
}

fn work(reader: &Reader<'_>, jobs: &[Job], next: &AtomicUsize, results: &SyncSender<Read>) {
    while let Some(job) = jobs.get(next.fetch_add(1, Ordering::Relaxed)) {
        if results.send(read(reader, job)).is_err() {
            return;
        }
    }
}

fn read(reader: &Reader<'_>, job: &Job) -> Read {
    let limits = reader.limits;
    let location = job.found.location.clone();
    let fallback = FileState { size: job.found.size, modified: job.found.modified, ..FileState::default() };
    let (bytes, mut state) = match load(reader.folder, limits, &job.found.path) {
        Ok(loaded) => loaded,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Read { location, state: fallback, outcome: ReadOutcome::Gone };
        }
        Err(error) => {
            tracing::warn!(location, %error, "a document of the corpus can not be read");
            // Not to be taken for settled: the cause may go away without the file changing.
            let state = FileState { unsettled: true, ..fallback };
            return Read { location, state, outcome: ReadOutcome::Skipped(SkipReason::Unreadable) };
        }
    };
    if bytes.len() as u64 > limits.max_file_bytes {
        return Read { location, state: fallback, outcome: ReadOutcome::Skipped(SkipReason::TooLarge) };
    }
    let digest = Sha256::digest(&bytes);
    state.hash = hex::encode(digest.get(..16).unwrap_or_default());
    if job.known_hash.as_ref() == Some(&state.hash) {
        return Read { location, state, outcome: ReadOutcome::Same };
    }
    let outcome = match (format_of(&location), reader.converter) {
        (Some(format), Some(converter)) => match converter.convert(format, &bytes, limits.max_text_bytes) {
            Ok(markdown) => parse(&location, || converted(&location, &markdown, limits.max_text_bytes)),
            Err(ConvertError::Unreadable) => ReadOutcome::Skipped(SkipReason::Unreadable),
            Err(ConvertError::NotNow) => {
                // To be tried again although the file has not changed.
                (state.unsettled, state.hash) = (true, String::new());
                ReadOutcome::Skipped(SkipReason::Unreadable)
            }
        },
        _ => parse(&location, || extract(&location, &bytes, limits.max_text_bytes)),
    };
    Read { location, state, outcome }
}

fn load(folder: &Path, limits: Limits, path: &Path) -> io::Result<(Vec<u8>, FileState)> {
    // The walk met no link on this path. If it resolves elsewhere now, somebody has put one there.
    if path.canonicalize()? != path || !path.starts_with(folder) {
        return Err(io::Error::other("it has become a symbolic link"));
    }
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    let modified = modified(&metadata);
    let mut bytes = Vec::with_capacity(usize::try_from(metadata.len().min(limits.max_file_bytes)).unwrap_or(0));
    file.take(limits.max_file_bytes.saturating_add(1)).read_to_end(&mut bytes)?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    let unsettled = u128::from(modified.saturating_add(COARSEST_TIME_NANOS)) > now;
    Ok((bytes, FileState { size: metadata.len(), modified, hash: String::new(), unsettled }))
}

/// A parser's panic over one strange file must not cost all others.
fn parse(location: &str, extract: impl FnOnce() -> Result<Extracted, SkipReason>) -> ReadOutcome {
    let parsed = catch_unwind(AssertUnwindSafe(|| {
        let document = extract()?;
        let spans = split(&document);
        Ok((document, spans))
    }));
    match parsed {
        Ok(Ok((document, spans))) => {
            let text_hash = hash_of(&document.text);
            ReadOutcome::Document { document, spans, text_hash }
        }
        Ok(Err(reason)) => ReadOutcome::Skipped(reason),
        Err(_) => {
            tracing::error!(location, "parsing this document panicked; it is left out");
            ReadOutcome::Skipped(SkipReason::Unreadable)
        }
    }
}
