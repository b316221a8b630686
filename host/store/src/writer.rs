//! The one thread that writes: takes what is in line, checks it batch by batch, writes all of it as one record of the
//! journal, syncs once, shows it to the readers, and only then answers. What the callers share is the sync, which costs
//! more than all the rest.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use bytes::Bytes;
use vivarium_sight::metric::{self, NO_LABELS};

use crate::StoreError;
use crate::backup::Follower;
use crate::blobs::Blobs;
use crate::journal::{Journal, Record};
use crate::queue::{Entry, Queue, Taken};
use crate::resolve::Resolver;
use crate::settle::{Job, Trouble};
use crate::view::View;

/// After this much quiet the journal is brought into the trees, and its memory is given back.
const QUIET: Duration = Duration::from_secs(1);
/// How often a writer that waits for a journal file looks whether it waits in vain.
const LOOK: Duration = Duration::from_millis(20);

/// How much was written, for backups, a bench and the tests of group commit.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    /// The number of the last record of the journal that readers see, or are just about to.
    pub(crate) last: AtomicU64,
    pub(crate) batches: AtomicU64,
    pub(crate) groups: AtomicU64,
}

impl Counters {
    /// Of a journal that goes on after this record.
    pub(crate) fn at(last: u64) -> Self {
        Self { last: last.into(), ..Self::default() }
    }
}

/// The thread's belongings.
pub(crate) struct Writer {
    pub(crate) queue: Arc<Queue>,
    pub(crate) view: Arc<View>,
    pub(crate) blobs: Blobs,
    pub(crate) journal: Journal,
    pub(crate) journal_bytes: u64,
    pub(crate) generation: u64,
    pub(crate) jobs: Sender<Job>,
    pub(crate) free: Receiver<File>,
    pub(crate) trouble: Trouble,
    pub(crate) follower: Follower,
    pub(crate) counters: Arc<Counters>,
    /// The tenants whose removal was under way when the store was opened, as keys.
    pub(crate) closed: HashSet<Bytes>,
}

impl Writer {
    /// Works until the queue is closed and empty.
    pub(crate) fn run(mut self) {
        let view = Arc::clone(&self.view);
        let queue = Arc::clone(&self.queue);
        let mut resolver = Resolver::new(&view, std::mem::take(&mut self.closed));
        loop {
            match queue.take(QUIET) {
                Taken::Group(group) => {
                    self.write(&mut resolver, group);
                    if self.follower.wants_turn() {
                        self.turn_if_free();
                    }
                }
                Taken::Idle => self.turn_if_free(),
                Taken::Closed => break,
            }
        }
        if !view.is_settled() && self.turn().is_ok() {
            tracing::debug!("the last journal goes into the trees");
        }
    }

    fn write(&mut self, resolver: &mut Resolver<'_>, group: Vec<Entry>) {
        let mut record = Record::new();
        let mut ops = Vec::new();
        let mut answers = Vec::with_capacity(group.len());
        for Entry { batch, answer } in group {
            let resolved = resolver.resolve(batch).map(|writes| {
                writes.iter().for_each(|op| record.push(op));
                ops.extend(writes);
            });
            answers.push((answer, resolved));
        }
        for op in resolver.shared() {
            record.push(&op);
            ops.push(op);
        }
        #[expect(clippy::cast_precision_loss, reason = "a group has a few thousand batches at the most")]
        metric::STORE_GROUP.record(answers.len() as f64, NO_LABELS);
        let written = if answers.iter().any(|(_, resolved)| resolved.is_ok()) { self.append(record) } else { Ok(()) };
        if written.is_ok() {
            self.counters.last.store(self.journal.next() - 1, Ordering::SeqCst);
            self.view.publish(ops.into_iter());
            self.blobs.referred(&resolver.published());
            self.counters.batches.fetch_add(answers.len() as u64, Ordering::Relaxed);
        } else {
            resolver.forget();
        }
        // A refusal waits for the group, too: it may rest on a batch of the same group, which is not there if the group
        // could not be written. And whoever is refused finds what stood in their way.
        for (answer, resolved) in answers {
            let told = match &written {
                Ok(()) => resolved,
                Err(reason) => Err(StoreError::Unavailable(reason.clone())),
            };
            // Whoever has gone does not want to know.
            let _ = answer.send(told);
        }
    }

    fn append(&mut self, record: Record) -> Result<(), String> {
        if self.journal.is_full_for(record.len()) {
            self.turn()?;
        }
        self.counters.groups.fetch_add(1, Ordering::Relaxed);
        let (began, bytes) = (Instant::now(), record.len() as u64);
        let written = self.journal.append(record);
        let outcome = if written.is_ok() { "ok" } else { "error" };
        metric::STORE_FLUSH.took(began.elapsed(), &[("outcome", outcome)]);
        metric::STORE_BYTES.add(if written.is_ok() { bytes } else { 0 }, NO_LABELS);
        written.map_err(|error| format!("the journal can not be written: {error}"))
    }

    /// Goes on in the other file, and has what this one holds brought into the trees. Waits for the other file, which is
    /// what slows the callers down when the trees can not keep up.
    fn turn(&mut self) -> Result<(), String> {
        let file = loop {
            match self.free.recv_timeout(LOOK) {
                Ok(file) => break file,
                Err(RecvTimeoutError::Disconnected) => return Err("the store is closed".to_owned()),
                Err(RecvTimeoutError::Timeout) => {
                    if let Some(reason) = self.trouble.get() {
                        return Err(format!("the journal is full, and can not be emptied: {reason}"));
                    }
                }
            }
        };
        self.turn_to(file)
    }

    fn turn_to(&mut self, file: File) -> Result<(), String> {
        let first = self.journal.next();
        let next = Journal::begin(file, self.journal_bytes, self.generation + 1, first)
            .map_err(|error| format!("the next journal can not be begun: {error}"))?;
        self.generation += 1;
        let full = std::mem::replace(&mut self.journal, next);
        let job = Job { layer: self.view.freeze(), last: first - 1, file: full.into_file() };
        self.jobs.send(job).map_err(|_| "the store is closed".to_owned())
    }

    /// Has what the journal holds brought into the trees, if that can be begun at once.
    fn turn_if_free(&mut self) {
        if self.view.is_settled() {
            return;
        }
        let Ok(file) = self.free.try_recv() else { return };
        if let Err(reason) = self.turn_to(file) {
            tracing::warn!(%reason, "the journal was not settled");
        }
    }
}
