//! Brings what the journal holds into the trees, on a thread of its own and away from anybody's latency.
//!
//! A journal file may be used anew only when all of it is in the trees *and* the trees are on disk. sled's `flush` calls
//! `sync_file_range`, which a power cut survives only by luck (it syncs neither the file's length nor the disk's cache),
//! so the file is synced by us as well. Then the number of the last record is noted in the trees; opening the store
//! replays what lies behind that number. Replaying twice is harmless: the journal holds values, not changes.
//!
//! sled does not recover from a disk that refuses: it must be reopened, and until then even some reads fail, because a
//! read may tidy up a page. So a file is settled only while there is room to spare;
//! until then the journal, whose space is reserved, takes what it can, and then commits are refused until there is room.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Resource, getrlimit};
use vivarium_sight::metric;

use crate::StoreError;
use crate::backup::Follower;
use crate::journal;
use crate::record::Joined;
use crate::view::{Layer, View, guarded};

/// After this a refused attempt is made again.
const RETRY: Duration = Duration::from_millis(500);

/// What keeps the trees from being written, for whoever asks; none when all is well.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble(Arc<Mutex<Option<String>>>);

impl Trouble {
    pub(crate) fn get(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, trouble: Option<String>) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match (&*now, &trouble) {
            (None, Some(text)) => tracing::error!(reason = %text, "the store can not settle its journal"),
            (Some(_), None) => tracing::info!("the store settles its journal again"),
            _ => {}
        }
        *now = trouble;
    }
}

/// The trees' files, and how to get them to disk.
#[derive(Debug)]
pub(crate) struct Disk {
    db: sled::Db,
    meta: sled::Tree,
    file: File,
    folder: PathBuf,
    /// Room that must be free before the trees are written.
    reserve_bytes: u64,
}

impl Disk {
    pub(crate) fn new(db: sled::Db, meta: sled::Tree, folder: &Path, reserve_bytes: u64) -> Result<Self, StoreError> {
        let path = folder.join("db");
        let file = File::open(&path)
            .map_err(|error| StoreError::Unavailable(format!("{} can not be opened: {error}", path.display())))?;
        Ok(Self { db, meta, file, folder: folder.to_owned(), reserve_bytes })
    }

    /// The trees on disk, whatever happens to the machine.
    pub(crate) fn sync(&self) -> Result<(), StoreError> {
        guarded("flush", || self.db.flush())?;
        self.file.sync_data().map_err(|error| StoreError::Unavailable(format!("the trees can not be synced: {error}")))
    }

    /// Notes that the trees hold everything up to this record.
    pub(crate) fn note_settled(&self, number: u64) -> Result<(), StoreError> {
        // First the data, then the note: it must never claim more than is there.
        self.sync()?;
        guarded("meta", || self.meta.insert(b"settled", &number.to_be_bytes()))?;
        self.sync()
    }

    /// Notes the form of the store.
    pub(crate) fn note_schema(&self, schema: u32) -> Result<(), StoreError> {
        guarded("meta", || self.meta.insert(b"schema", &schema.to_be_bytes()))?;
        self.sync()
    }

    /// Up to which record the trees hold everything.
    pub(crate) fn settled(&self) -> Result<u64, StoreError> {
        match guarded("meta", || self.meta.get(b"settled"))? {
            None => Ok(0),
            Some(bytes) => bytes
                .as_ref()
                .try_into()
                .map(u64::from_be_bytes)
                .map_err(|_| StoreError::Corrupt("meta, key 'settled': it must have 8 bytes".to_owned())),
        }
    }

    fn has_room(&self) -> Result<(), StoreError> {
        let stat = rustix::fs::statvfs(&self.folder)
            .map_err(|error| StoreError::Unavailable(format!("{}: {error}", self.folder.display())))?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < self.reserve_bytes {
            return Err(StoreError::Unavailable(format!(
                "{} has {free} bytes free, and writing needs {}",
                self.folder.display(),
                self.reserve_bytes
            )));
        }
        self.may_grow()
    }

    /// To the trees, a bound on the size of this process's files is a full disk like any other.
    fn may_grow(&self) -> Result<(), StoreError> {
        let Some(bound) = getrlimit(Resource::Fsize).current else { return Ok(()) };
        let length = self.file.metadata().map_err(|error| StoreError::Unavailable(error.to_string()))?.len();
        if bound.saturating_sub(length) >= self.reserve_bytes {
            return Ok(());
        }
        Err(StoreError::Unavailable(format!(
            "the trees have {length} bytes, this process may write files of {bound}, and writing needs {} more",
            self.reserve_bytes
        )))
    }
}

/// A journal file whose turn is over, and what it holds.
pub(crate) struct Job {
    pub(crate) layer: Arc<Layer>,
    pub(crate) last: u64,
    pub(crate) file: File,
}

/// The thread's belongings.
pub(crate) struct Settler {
    pub(crate) view: Arc<View>,
    pub(crate) disk: Disk,
    pub(crate) trouble: Trouble,
    /// Whoever makes a backup now.
    pub(crate) follower: Follower,
    pub(crate) journal_bytes: u64,
    /// Files whose turn is over; ends when the writer has.
    pub(crate) jobs: Receiver<Job>,
    /// Files that can be used anew.
    pub(crate) free: Sender<File>,
    /// Disconnected: the store is being closed, and nothing is tried again.
    pub(crate) closing: Receiver<()>,
}

impl Settler {
    /// Prepares the second journal file, then settles until the writer has ended.
    pub(crate) fn run(self, spare: &Path) {
        if let Some(file) = self.insist(|| prepare(spare, self.journal_bytes)) {
            let _ = self.free.send(file);
        }
        while let Ok(job) = self.jobs.recv() {
            let Job { layer, last, file } = job;
            let settle = || {
                let began = Instant::now();
                let settled = self.settle(&layer, last);
                let outcome = if settled.is_ok() { "ok" } else { "error" };
                metric::STORE_SETTLE.took(began.elapsed(), &[("outcome", outcome)]);
                settled
            };
            if self.insist(settle).is_none() {
                // It stays in the journal, and is replayed when the store is opened again.
                continue;
            }
            drop(layer);
            if self.insist(|| restore_size(&file, self.journal_bytes)).is_some() {
                let _ = self.free.send(file);
            }
        }
    }

    fn settle(&self, layer: &Layer, last: u64) -> Result<(), StoreError> {
        // Held until readers see the trees: a backup does not begin between the two.
        let mut follower = self.follower.lock();
        let room = self.disk.has_room();
        if let (Err(reason), Some(following)) = (&room, follower.as_mut()) {
            // What it has set down is the first that can go.
            following.fail(format!("no room is left for the writes since the backup began: {reason}"));
        }
        room?;
        match follower.as_mut() {
            None => self.view.trees().apply(Joined::new(layer.iter()))?,
            Some(following) => {
                following.write(layer);
                self.view.trees().apply(layer.iter().map(|(table, key, value)| (table, key.clone(), value.clone())))?;
            }
        }
        self.disk.note_settled(last)?;
        self.view.settled();
        if let Some(following) = follower.as_mut() {
            following.settled(last);
        }
        Ok(())
    }

    /// Tries until it works or the store is closed.
    fn insist<T>(&self, attempt: impl Fn() -> Result<T, StoreError>) -> Option<T> {
        loop {
            match attempt() {
                Ok(done) => {
                    self.trouble.set(None);
                    return Some(done);
                }
                Err(StoreError::Unavailable(text) | StoreError::Corrupt(text)) => self.trouble.set(Some(text)),
                Err(error) => self.trouble.set(Some(error.to_string())),
            }
            if self.closing.recv_timeout(RETRY) == Err(RecvTimeoutError::Disconnected) {
                return None;
            }
        }
    }
}

/// Opens a journal file for writing.
pub(crate) fn prepare(path: &Path, size: u64) -> Result<File, StoreError> {
    journal::prepare(path, size)
        .map_err(|error| StoreError::Unavailable(format!("journal {} can not be made: {error}", path.display())))
}

/// A file that a huge batch made grow gives the space back.
fn restore_size(file: &File, size: u64) -> Result<(), StoreError> {
    let restored = file.metadata().and_then(|now| if now.len() > size { file.set_len(size) } else { Ok(()) });
    restored.map_err(|error| StoreError::Unavailable(format!("a journal file can not be cut: {error}")))
}
