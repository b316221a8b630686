//! Whether the host can serve. `/readyz` asks, and so does who accepts runs, once a second: a disk that is nearly full takes no new
//! work while what is under way can still be written to its end.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use tokio::sync::Mutex;
use tokio::time::error::Elapsed;
use tokio_util::sync::CancellationToken;
use vivarium_api::Readiness;
use vivarium_runs::Runs;
use vivarium_sandbox::Sandbox;
use vivarium_store::Store;

use crate::corpus::LazyCorpus;

/// For how long an answer is believed: whoever asks more often does not make the disk work more often.
const BELIEVED: Duration = Duration::from_secs(1);

/// How long the store and the engine may take to show that they are there.
const PATIENCE: Duration = Duration::from_secs(5);

/// What is asked.
pub(crate) struct Health {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) sandbox: Sandbox,
    pub(crate) corpus: Option<Arc<LazyCorpus>>,
    pub(crate) disk: DiskRoom,
    /// The host stops: that is looked at each time.
    pub(crate) draining: Arc<AtomicBool>,
}

/// How much room a folder's disk must have.
#[derive(Debug, Clone)]
pub(crate) struct DiskRoom {
    pub(crate) folder: PathBuf,
    pub(crate) least: u64,
}

impl DiskRoom {
    /// Why there is too little; none: there is enough. The host's own reserve of the store is less than this.
    pub(crate) fn shortage(&self) -> Option<String> {
        match free_bytes(&self.folder) {
            Ok(free) if free < self.least => Some(format!(
                "the disk of the data folder has {free} bytes free, and min_free_disk_bytes asks for {}",
                self.least
            )),
            Ok(_) => None,
            Err(error) => Some(format!("the disk of the data folder can not be looked at: {error}")),
        }
    }

    /// Lets the runs know whether there is room for new ones, until the host stops.
    pub(crate) async fn watch(self, runs: Runs, stop: CancellationToken) {
        let mut told = false;
        loop {
            let shortage = self.shortage();
            runs.set_disk_full(shortage.is_some());
            match (&shortage, told) {
                (Some(shortage), false) => tracing::error!("{shortage}; no new runs are accepted until there is more"),
                (None, true) => tracing::info!("the disk has room again; new runs are accepted"),
                _ => {}
            }
            told = shortage.is_some();
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(BELIEVED) => (),
            }
        }
    }
}

fn free_bytes(folder: &Path) -> std::io::Result<u64> {
    let stat = rustix::fs::statvfs(folder)?;
    Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Why a part does not do its work: `broken` where it says so itself, which is logged; `slow` where it says nothing in time.
fn reason<E: std::fmt::Display>(answer: Result<Result<(), E>, Elapsed>, broken: &str, slow: &str) -> Option<String> {
    match answer {
        Ok(Ok(())) => None,
        Ok(Err(error)) => {
            tracing::error!(%error, "{broken}");
            Some(format!("{broken}; the host's log says why"))
        }
        Err(_) => Some(slow.to_owned()),
    }
}

impl Health {
    /// As `/readyz` asks.
    pub(crate) fn readiness(self) -> Readiness {
        let (health, last) = (Arc::new(self), Arc::new(Mutex::new(None::<(Instant, Vec<String>)>)));
        Arc::new(move || {
            let (health, last) = (Arc::clone(&health), Arc::clone(&last));
            async move {
                if health.draining.load(Ordering::Relaxed) {
                    return vec!["the host is shutting down".to_owned()];
                }
                // Whoever asks meanwhile waits for the same answer.
                let mut last = last.lock().await;
                match last.as_ref().filter(|(at, _)| at.elapsed() < BELIEVED) {
                    Some((_, reasons)) => reasons.clone(),
                    None => {
                        let reasons = health.reasons().await;
                        *last = Some((Instant::now(), reasons.clone()));
                        reasons
                    }
                }
            }
            .boxed()
        })
    }

    /// Why the host can not serve, in sentences. What the operator alone should read is in the log.
    async fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        let (written, up) = tokio::join!(
            tokio::time::timeout(PATIENCE, self.store.check_writable()),
            tokio::time::timeout(PATIENCE, self.sandbox.check()),
        );
        reasons.extend(reason(
            written,
            "the store can not be written",
            "the store takes more than 5 seconds for a small write",
        ));
        reasons.extend(reason(
            up,
            "the engine makes no instances",
            "the engine takes more than 5 seconds for an instance",
        ));
        reasons.extend(self.disk.shortage());
        reasons.extend(self.corpus.as_ref().and_then(|corpus| corpus.trouble()));
        reasons
    }
}
