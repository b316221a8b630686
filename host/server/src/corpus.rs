//! The corpus as plugins see it: an index that may still be in the making when the first question comes. Indexing goes on
//! beside serving; a search meanwhile is answered with how far it is, and `/readyz` waits for its end. From then on the folder is
//! followed: what is written, changed and removed in it is found without a start.

use std::path::Path;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use vivarium_attachments::Attachments;
use vivarium_corpus::{ConvertError, Converter, Corpus, Format, OpenOptions, Progress, Report};
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
        attachments: Attachments,
        mut progress: CorpusProgress,
    ) -> (Arc<Self>, tokio::sync::oneshot::Receiver<()>) {
        let state = RwLock::new(State::Opening("it is being opened".to_owned()));
        let corpus = Arc::new(Self { ready: OnceLock::new(), state });
        let mut options = OpenOptions::new(folder, index_dir(folder, data));
        if attachments.reads_documents() {
            options.converter = Some(Arc::new(Sandboxed { attachments, runtime: Handle::current() }));
        }
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

/// Looks through the folder again and again, until the host stops. A look costs a walk over the folder; however large that is,
/// it takes a twentieth of the time at most.
pub(crate) async fn follow(corpus: Arc<LazyCorpus>, every: Duration, shutdown: CancellationToken) {
    let mut pause = every;
    while shutdown.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
        let Some(corpus) = corpus.ready.get().cloned() else { continue };
        let begun = Instant::now();
        match off_thread(move || corpus.refresh(&mut |_| {})).await {
            Ok(report) if report.indexed() + report.removed > 0 => tracing::info!("corpus: {}", summary(&report)),
            Ok(_) => {}
            Err(error) => tracing::warn!(%error, "the corpus's folder could not be looked through again"),
        }
        pause = every.max(begun.elapsed() * 20);
    }
}

/// Reads files of printers' and office programs' formats in the sandbox.
#[derive(Debug)]
struct Sandboxed {
    attachments: Attachments,
    runtime: Handle,
}

impl Converter for Sandboxed {
    fn convert(&self, format: Format, bytes: &[u8], max_text_bytes: usize) -> Result<String, ConvertError> {
        let media_type = match format {
            Format::Pdf => "application/pdf",
            Format::Docx => "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
            Format::Xlsx => "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
        };
        // Called on a thread of the index's own, which may wait.
        let read = self.runtime.block_on(self.attachments.read_for_operator(media_type, bytes, max_text_bytes));
        read.map_err(|problem| {
            if problem.is_the_hosts_fault() {
                return ConvertError::NotNow;
            }
            tracing::debug!(%problem, "a file of the corpus can not be read");
            ConvertError::Unreadable
        })
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
