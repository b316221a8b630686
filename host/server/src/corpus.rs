//! The corpus as plugins see it: an index that may still be in the making when the first question comes. Indexing goes on
//! beside serving; a search meanwhile is answered with how far it is, and `/readyz` waits for its end.

use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use vivarium_corpus::{Corpus, OpenOptions, Progress, Report};
use vivarium_domain::{ContentHash, Document};
use vivarium_sandbox::{CorpusError, CorpusHit, CorpusView};

/// A line of progress at most so often.
const BETWEEN_LINES: Duration = Duration::from_millis(100);

/// Told how far indexing is: a short line, a few times a second, and at last what was found.
pub type CorpusProgress = Box<dyn FnMut(&str) + Send>;

#[derive(Clone)]
enum State {
    Opening(String),
    Failed(String),
}

/// A corpus that is there, or will be.
pub(crate) struct LazyCorpus {
    ready: OnceLock<Corpus>,
    state: RwLock<State>,
}

impl LazyCorpus {
    /// Begins to open the corpus on a thread of its own. The receiver hears of its end.
    pub(crate) fn open(
        folder: &Path,
        data: &Path,
        mut progress: CorpusProgress,
    ) -> (Arc<Self>, tokio::sync::oneshot::Receiver<()>) {
        let state = RwLock::new(State::Opening("it is being opened".to_owned()));
        let corpus = Arc::new(Self { ready: OnceLock::new(), state });
        let options = OpenOptions::new(folder, index_dir(folder, data));
        let (done, heard) = tokio::sync::oneshot::channel();
        let shared = Arc::clone(&corpus);
        tokio::task::spawn_blocking(move || {
            shared.fill(options, &mut progress);
            let _nobody_waits = done.send(());
        });
        (corpus, heard)
    }

    fn fill(&self, options: OpenOptions, progress: &mut CorpusProgress) {
        let mut last = None::<Instant>;
        let opened = Corpus::open(options, &mut |step| {
            if last.is_some_and(|last| last.elapsed() < BETWEEN_LINES) {
                return;
            }
            last = Some(Instant::now());
            let line = line(step);
            progress(&line);
            self.set(State::Opening(line));
        });
        match opened {
            Ok((corpus, report)) => {
                progress(&summary(&report));
                let _first = self.ready.set(corpus);
            }
            Err(error) => {
                progress(&error.to_string());
                self.set(State::Failed(error.to_string()));
            }
        }
    }

    fn set(&self, state: State) {
        *self.state.write().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// Why it can not be searched now; none: it can.
    pub(crate) fn trouble(&self) -> Option<String> {
        if self.ready.get().is_some() {
            return None;
        }
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Opening(line) => Some(format!("the corpus is not ready yet: {line}")),
            State::Failed(reason) => Some(reason.clone()),
        }
    }

    fn now(&self) -> Result<Corpus, CorpusError> {
        let not_ready = || CorpusError::Unavailable(self.trouble().unwrap_or_default());
        self.ready.get().cloned().ok_or_else(not_ready)
    }
}

/// One index per folder of documents, so that another `--corpus` does not throw this one's away.
fn index_dir(folder: &Path, data: &Path) -> std::path::PathBuf {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name: String = ContentHash::of(whole.as_os_str().as_encoded_bytes()).to_string().chars().take(16).collect();
    data.join("corpora").join(name)
}

fn line(progress: Progress) -> String {
    match progress {
        Progress::Scanning { files } => format!("looking through the folder, {files} files so far"),
        Progress::Indexing { done, total } => format!("{done} of {total} new or changed files read"),
        Progress::Finishing => "the index is being written".to_owned(),
    }
}

fn summary(report: &Report) -> String {
    let Report { documents, passages, added, changed, removed, elapsed, .. } = report;
    let skipped: u64 = report.skipped.values().sum();
    let seconds = elapsed.as_secs_f32();
    format!(
        "{documents} documents ({passages} passages) can be searched; {added} new, {changed} changed, {removed} gone, \
         {skipped} files left out; {seconds:.1} s"
    )
}

impl CorpusView for LazyCorpus {
    fn search(&self, query: String, max_hits: usize) -> BoxFuture<'static, Result<Vec<CorpusHit>, CorpusError>> {
        let corpus = self.now();
        Box::pin(async move {
            let corpus = corpus?;
            let hits = off_thread(move || corpus.search(&query, max_hits)).await?;
            Ok(hits.into_iter().map(hit).collect())
        })
    }

    fn read(&self, location: String, max_bytes: usize) -> BoxFuture<'static, Result<Document, CorpusError>> {
        let corpus = self.now();
        Box::pin(async move {
            let corpus = corpus?;
            off_thread(move || corpus.read(&location, max_bytes)).await
        })
    }
}

/// Searching reads files: not on a thread that serves others.
pub(crate) async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, vivarium_corpus::CorpusError> + Send + 'static,
) -> Result<T, CorpusError> {
    let done = tokio::task::spawn_blocking(work).await;
    let done = done.map_err(|error| CorpusError::Unavailable(format!("the search broke off: {error}")))?;
    done.map_err(|error| {
        let text = error.to_string();
        match error {
            vivarium_corpus::CorpusError::Unavailable(_) => CorpusError::Unavailable(text),
            vivarium_corpus::CorpusError::InvalidQuery(_) => CorpusError::InvalidQuery(text),
            vivarium_corpus::CorpusError::NotFound(_) => CorpusError::NotFound(text),
        }
    })
}

pub(crate) fn hit(hit: vivarium_corpus::Hit) -> CorpusHit {
    let vivarium_corpus::Hit { location, title, heading, passage, score } = hit;
    CorpusHit { location, title, heading, passage, score }
}
