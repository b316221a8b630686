//! A backup of a store that is in use, and its way back into a folder.
//!
//! Two parts, one after the other, are the records. First all of them, as a walk finds them while batches go on: what it finds
//! is of no one moment. Then every write that went into the trees since the walk began, in order. Writes are absolute (a value
//! or its end), so doing them over what the walk has found gives the store as it was when the last of them was settled, and
//! that is at the end of a group: no batch is there in part. Nothing is held up for it: the writer goes on, a piece of the walk
//! takes the readers' lock for [`AT_ONCE`] records, and the writes are set down by the thread that settles them, in a file of
//! no name. What is in memory is a piece of [`PIECE_BYTES`], and a record of the largest size beyond it.
//!
//! Two things would make such a copy a lie, and are kept off until it is done. Events of one run that are settled together are
//! joined into one record, and whoever removes them then removes that one: done over in the copy, which has them one by one,
//! that would leave the others behind. So meanwhile they are settled one by one. And a blob that nothing refers to any more at
//! the end may be referred to in the copy: meanwhile none is removed.
//!
//! Stopping the journal's turns would give a copy of one moment without any of that, but only as long as the other journal file
//! has room: a second or two. A copy of sled's files is none while sled writes.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read as _, Seek as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use vivarium_domain::{ContentHash, TenantId};

use crate::StoreError;
use crate::batch::Prepared;
use crate::blobs::{Blobs, Holding, Listing};
use crate::journal;
use crate::queue::Queue;
use crate::record;
use crate::settle::Trouble;
use crate::table::{Range, Table};
use crate::view::{Direction, Layer, View};
use crate::writer::Counters;

/// How many records a step of the walk reads: the readers' lock is held for so long.
const AT_ONCE: usize = 32;
/// A piece ends where it reaches this.
const PIECE_BYTES: usize = 1 << 20;
/// How often it is looked whether the end of the writes is waited for in vain.
const LOOK: Duration = Duration::from_millis(500);

/// A piece of a backup. They are given back to [`Restore`](crate::Restore) in the order in which they came.
#[derive(Debug)]
pub enum BackupPiece {
    /// Some records: about a mebibyte of them, or one that is larger.
    Records(Bytes),
    /// A blob.
    Blob {
        /// Whose.
        tenant: TenantId,
        /// Under which hash it is kept.
        hash: ContentHash,
        /// Its file.
        content: File,
        /// The file's length in bytes.
        length: u64,
    },
}

/// The pieces of a backup. Taking one blocks; so does dropping them, for as long as a settling takes. While they are not
/// dropped no blob is removed and the trees grow faster than else: whoever takes them should not stop for long.
pub type BackupPieces = Box<dyn Iterator<Item = Result<BackupPiece, StoreError>> + Send>;

/// Where the settling thread finds whoever makes a backup now. A clone is the same place.
#[derive(Clone, Default)]
pub(crate) struct Follower(Arc<Place>);

#[derive(Default)]
struct Place {
    following: Mutex<Option<Following>>,
    wants_turn: AtomicBool,
}

/// The writes that were settled since a backup began.
pub(crate) struct Following {
    file: BufWriter<File>,
    failed: Option<String>,
    settled: Sender<u64>,
}

impl Follower {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Option<Following>> {
        self.0.following.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The journal should turn to its other file as soon as that is free.
    pub(crate) fn wants_turn(&self) -> bool {
        self.0.wants_turn.load(Ordering::Relaxed)
    }

    fn want_turn(&self, wanted: bool) {
        self.0.wants_turn.store(wanted, Ordering::Relaxed);
    }
}

impl Following {
    /// Sets down what is about to go into the trees. What fails here fails the backup, and nobody else.
    pub(crate) fn write(&mut self, layer: &Layer) {
        if self.failed.is_none()
            && let Err(error) = self.try_write(layer)
        {
            self.fail(format!("the writes since the backup began can not be set down: {error}"));
        }
    }

    fn try_write(&mut self, layer: &Layer) -> io::Result<()> {
        let mut piece = Vec::new();
        for (table, key, value) in layer.iter() {
            journal::encode(&mut piece, table, key, value.as_deref());
            if piece.len() >= PIECE_BYTES {
                self.put(&mut piece)?;
            }
        }
        if piece.is_empty() { Ok(()) } else { self.put(&mut piece) }
    }

    fn put(&mut self, piece: &mut Vec<u8>) -> io::Result<()> {
        let length = u32::try_from(piece.len()).map_err(io::Error::other)?;
        self.file.write_all(&length.to_be_bytes())?;
        self.file.write_all(piece)?;
        piece.clear();
        Ok(())
    }

    /// Gives the backup up, and the space that it took.
    pub(crate) fn fail(&mut self, reason: String) {
        let _as_much_as_can_be = self.file.get_ref().set_len(0);
        self.failed.get_or_insert(reason);
    }

    /// Everything up to this record of the journal is in the trees.
    pub(crate) fn settled(&mut self, last: u64) {
        // Whoever has gone does not want to know.
        let _ = self.settled.send(last);
    }

    fn into_file(self) -> Result<File, StoreError> {
        if let Some(reason) = self.failed {
            return Err(StoreError::Unavailable(reason));
        }
        let mut file = self.file.into_inner().map_err(|error| unavailable(error.error()))?;
        file.rewind().map_err(|error| unavailable(&error))?;
        Ok(file)
    }
}

/// What a backup works with.
pub(crate) struct Source {
    pub(crate) view: Arc<View>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) blobs: Blobs,
    pub(crate) counters: Arc<Counters>,
    pub(crate) trouble: Trouble,
    pub(crate) follower: Follower,
}

/// A backup under way.
pub(crate) struct Backup {
    source: Source,
    settled: Receiver<u64>,
    stage: Stage,
    /// Kept until the last blob is read.
    _holding: Holding,
}

enum Stage {
    /// The records of this range of the first of these tables are next, then the other tables.
    Walk { tables: std::slice::Iter<'static, Table>, now: Option<(Table, Range)> },
    /// The writes since the beginning.
    Writes(BufReader<File>),
    /// The blobs.
    Blobs(Listing),
    /// Nothing is left.
    Done,
}

impl Backup {
    /// Begins: waits for a settling that is under way.
    pub(crate) fn begin(source: Source) -> Result<Self, StoreError> {
        let file = source.blobs.nameless_file()?;
        let (told, settled) = channel();
        let mut follower = source.follower.lock();
        if follower.is_some() {
            return Err(StoreError::Refused("a backup is under way already".to_owned()));
        }
        let holding = source.blobs.hold();
        *follower = Some(Following { file: BufWriter::new(file), failed: None, settled: told });
        drop(follower);
        let stage = Stage::Walk { tables: Table::ALL.iter(), now: None };
        Ok(Self { source, settled, stage, _holding: holding })
    }

    fn piece(&mut self) -> Result<Option<BackupPiece>, StoreError> {
        loop {
            match &mut self.stage {
                Stage::Walk { tables, now } => {
                    if let Some(piece) = walk(&self.source.view, tables, now)? {
                        return Ok(Some(BackupPiece::Records(piece)));
                    }
                    self.stage = Stage::Writes(BufReader::new(self.end_of_writes()?));
                }
                Stage::Writes(file) => {
                    if let Some(piece) = next_piece(file).map_err(|error| unavailable(&error))? {
                        return Ok(Some(BackupPiece::Records(piece)));
                    }
                    self.stage = Stage::Blobs(self.source.blobs.listing());
                }
                Stage::Blobs(listing) => {
                    let Some((tenant, hash, content)) = listing.next().transpose()? else {
                        self.stage = Stage::Done;
                        continue;
                    };
                    let length = content.metadata().map_err(|error| unavailable(&error))?.len();
                    return Ok(Some(BackupPiece::Blob { tenant, hash, content, length }));
                }
                Stage::Done => return Ok(None),
            }
        }
    }

    /// Waits until all that the walk can have met is settled, and set down with it. From then on settling is as always.
    fn end_of_writes(&self) -> Result<File, StoreError> {
        let Source { view, queue, counters, trouble, follower, .. } = &self.source;
        // Counted before it is shown: what the walk has met is no later.
        let target = counters.last.load(Ordering::SeqCst);
        follower.want_turn(true);
        // Wakes the writer; what becomes of it is all the same.
        drop(queue.push(Prepared::probe())?);
        let mut last = 0;
        while last < target && !view.is_settled() {
            match self.settled.recv_timeout(LOOK) {
                Ok(number) => last = number,
                Err(RecvTimeoutError::Timeout) => {
                    trouble.get().map_or(Ok(()), |why| Err(StoreError::Unavailable(why)))?
                }
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        follower.want_turn(false);
        let following = follower.lock().take();
        following.ok_or_else(|| StoreError::Unavailable("the backup was given up".to_owned()))?.into_file()
    }
}

impl Iterator for Backup {
    type Item = Result<BackupPiece, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let piece = self.piece();
        if piece.is_err() {
            self.stage = Stage::Done;
        }
        piece.transpose()
    }
}

impl Drop for Backup {
    fn drop(&mut self) {
        self.source.follower.want_turn(false);
        *self.source.follower.lock() = None;
    }
}

/// The next records of the walk; none after the last. Each is written as if it were new, so that one that is cut takes its
/// parts along as they were at the same moment.
fn walk(
    view: &View,
    tables: &mut std::slice::Iter<'static, Table>,
    now: &mut Option<(Table, Range)>,
) -> Result<Option<Bytes>, StoreError> {
    let (mut piece, mut ops) = (Vec::new(), Vec::new());
    while piece.len() < PIECE_BYTES {
        let Some((table, range)) = now else {
            let Some(next) = tables.find(|table| **table != Table::Parts) else { break };
            *now = Some((*next, Range::prefix(b"")));
            continue;
        };
        let found = view.walk(*table, range, Direction::Forward, AT_ONCE)?;
        let Some((last, _)) = found.last() else {
            *now = None;
            continue;
        };
        *range = range.clone().after(last);
        for (key, payload) in found {
            record::put(&mut ops, *table, key, &payload);
        }
        ops.drain(..).for_each(|op| journal::encode(&mut piece, op.table, &op.key, op.value.as_deref()));
    }
    Ok((!piece.is_empty()).then(|| piece.into()))
}

fn next_piece(file: &mut BufReader<File>) -> io::Result<Option<Bytes>> {
    let mut length = [0; 4];
    match file.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        read => read?,
    }
    let mut piece = vec![0; usize::try_from(u32::from_be_bytes(length)).map_err(io::Error::other)?];
    file.read_exact(&mut piece)?;
    Ok(Some(piece.into()))
}

fn unavailable(error: &io::Error) -> StoreError {
    StoreError::Unavailable(format!("the backup: {error}"))
}
