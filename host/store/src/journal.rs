//! The journal: what makes a group of batches durable. One record per group, written and synced before anybody is told
//! that their batch is kept; the trees follow later (see [`crate::settle`]).
//!
//! Two files take turns. Each is written full of zeros once and then used over and over: a sync of blocks that are
//! already there needs no commit of the file system's own journal, which is most of what a sync costs. Records carry a
//! number that only grows and a checksum that is salted anew for each turn, so what an earlier turn left behind is never taken for
//! new, and nobody can have a record read by hiding its bytes within an event.
//!
//! A record that a crash cut off is the last one and was acknowledged to nobody: it is dropped, and the report says so.
//! A record that does not read with a later one behind it is damage: opening fails rather than losing what lies between. So
//! is a file that is shorter than it was when its turn began: no crash shortens a file that was on disk in full length.

use std::fs::{File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::StoreError;
use crate::record::Op;
use crate::table::Table;

const FILE_MAGIC: &[u8; 8] = b"vivjrnl2";
/// What a file began with whose header did not tell its length.
const FIRST_FILE_MAGIC: &[u8; 8] = b"vivjrnl1";
const RECORD_MAGIC: &[u8; 4] = b"VREC";
/// Magic, generation, first record's number, salt, the file's length, checksum.
const HEADER_LENGTH: usize = 44;
/// The same without the file's length.
const FIRST_HEADER_LENGTH: usize = 36;
/// The rest of the first block stays empty.
const FILE_HEADER: u64 = 4096;
/// Magic, checksum, number, length of the body.
const RECORD_HEADER: usize = 20;
/// Records begin at multiples of this.
const ALIGN: usize = 8;

/// A group of writes, laid out as it goes to disk.
pub(crate) struct Record(Vec<u8>);

impl Record {
    /// An empty group.
    pub(crate) fn new() -> Self {
        Self(vec![0; RECORD_HEADER])
    }

    /// Adds a write.
    pub(crate) fn push(&mut self, op: &Op) {
        encode(&mut self.0, op.table, &op.key, op.value.as_deref());
    }

    /// Bytes so far.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    fn seal(mut self, salt: u64, number: u64) -> Vec<u8> {
        let length = u32::try_from(self.0.len() - RECORD_HEADER).unwrap_or(u32::MAX);
        let mut header = [0_u8; RECORD_HEADER];
        header[0..4].copy_from_slice(RECORD_MAGIC);
        header[8..16].copy_from_slice(&number.to_be_bytes());
        header[16..20].copy_from_slice(&length.to_be_bytes());
        if let Some(body) = self.0.get(RECORD_HEADER..) {
            let crc = checksum(salt, &header[8..], body);
            header[4..8].copy_from_slice(&crc.to_be_bytes());
        }
        if let Some(start) = self.0.first_chunk_mut::<RECORD_HEADER>() {
            *start = header;
        }
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0);
        self.0
    }
}

/// One of the two files, while it is written.
pub(crate) struct Journal {
    file: File,
    size: u64,
    salt: u64,
    at: u64,
    next: u64,
}

impl Journal {
    /// Begins a turn: from here on the file belongs to `generation` and holds the records from `first` on. The header is
    /// on disk before any record, so that a record is never found behind another turn's header.
    pub(crate) fn begin(file: File, size: u64, generation: u64, first: u64) -> io::Result<Self> {
        let salt = RandomState::new().build_hasher().finish();
        file.write_all_at(&file_header(generation, first, salt, size), 0)?;
        file.sync_data()?;
        Ok(Self { file, size, salt, at: FILE_HEADER, next: first })
    }

    /// Ends the turn and gives the file back.
    pub(crate) fn into_file(self) -> File {
        self.file
    }

    /// The number of the next record.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// A record of so many bytes should go to the other file. A record larger than a whole file goes into an empty one
    /// and makes it grow.
    pub(crate) fn is_full_for(&self, length: usize) -> bool {
        self.at > FILE_HEADER && self.at + (length + ALIGN) as u64 > self.size
    }

    /// Writes a record; when this returns, it is on disk. After an error nothing of it counts: the next record takes its
    /// place and its number.
    pub(crate) fn append(&mut self, record: Record) -> io::Result<()> {
        let bytes = record.seal(self.salt, self.next);
        let written = self.file.write_all_at(&bytes, self.at).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            // As far as the disk still lets us: what was refused must not come back after a crash.
            let _ = self.file.write_all_at(&[0; RECORD_HEADER], self.at);
            return Err(error);
        }
        self.at += bytes.len() as u64;
        self.next += 1;
        Ok(())
    }
}

fn file_header(generation: u64, first: u64, salt: u64, size: u64) -> [u8; HEADER_LENGTH] {
    let mut header = [0; HEADER_LENGTH];
    header[0..8].copy_from_slice(FILE_MAGIC);
    header[8..16].copy_from_slice(&generation.to_be_bytes());
    header[16..24].copy_from_slice(&first.to_be_bytes());
    header[24..32].copy_from_slice(&salt.to_be_bytes());
    header[32..40].copy_from_slice(&size.to_be_bytes());
    let crc = crc32fast::hash(&header[..40]);
    header[40..44].copy_from_slice(&crc.to_be_bytes());
    header
}

fn checksum(salt: u64, header: &[u8], body: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&salt.to_be_bytes());
    crc.update(header);
    crc.update(body);
    crc.finalize()
}

/// Opens a journal file for writing; makes it, full of zeros and on disk, where it is missing or short. What it held is in
/// the trees by now: its header goes, because it would tell another length.
pub(crate) fn prepare(path: &Path, size: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
    file.write_all_at(&[0; HEADER_LENGTH], 0)?;
    let mut at = file.metadata()?.len();
    let zeros = vec![0; 1 << 20];
    while at < size {
        let step = (size - at).min(zeros.len() as u64);
        let piece = zeros.get(..usize::try_from(step).unwrap_or(zeros.len())).unwrap_or(&zeros);
        file.write_all_at(piece, at)?;
        at += step;
    }
    // One that a huge batch made grow gives the space back.
    file.set_len(size)?;
    file.sync_all()?;
    Ok(file)
}

/// What a journal file held.
pub(crate) struct Turn {
    pub(crate) path: PathBuf,
    pub(crate) generation: u64,
    pub(crate) first: u64,
    pub(crate) records: Vec<Vec<Op>>,
    /// A record at the end was cut off and dropped.
    pub(crate) torn: bool,
}

/// Reads a journal file. None: it is not there, or no turn of it ever began.
pub(crate) fn read(path: &Path) -> Result<Option<Turn>, StoreError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => Bytes::from(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::Unavailable(format!("{} can not be read: {error}", path.display()))),
    };
    let damage = |what: String| StoreError::Corrupt(format!("journal {}: {what}", path.display()));
    let Some(Header { generation, first, salt, size }) = read_header(&bytes) else {
        // A file that was prepared and not yet used is all zeros there.
        let is_unused = bytes.iter().take(HEADER_LENGTH).all(|byte| *byte == 0);
        return if is_unused { Ok(None) } else { Err(damage("its header does not read".to_owned())) };
    };
    if (bytes.len() as u64) < size {
        return Err(damage(format!("it has {} bytes and had {size}: it was cut", bytes.len())));
    }
    let mut turn = Turn { path: path.to_owned(), generation, first, records: Vec::new(), torn: false };
    let mut at = FILE_HEADER as usize;
    loop {
        let number = first + turn.records.len() as u64;
        match record_at(&bytes, salt, at) {
            Some((found, body, next)) if found == number => {
                let ops = decode(&body).ok_or_else(|| damage(format!("record {number} at byte {at} does not read")))?;
                turn.records.push(ops);
                at = next;
            }
            // What lies here reads as no record of this turn: the end, or damage.
            _ => {
                if let Some(later) = find_record(&bytes, salt, at, number + 1) {
                    return Err(damage(format!(
                        "record {number} at byte {at} does not read, but there is a later one at byte {later}"
                    )));
                }
                turn.torn = claims(&bytes, at, number);
                return Ok(Some(turn));
            }
        }
    }
}

struct Header {
    generation: u64,
    first: u64,
    salt: u64,
    /// How long the file was at least when its turn began; 0 where the header does not tell.
    size: u64,
}

fn read_header(bytes: &[u8]) -> Option<Header> {
    let number = |at: usize| bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
    let (generation, first, salt) = (number(8)?, number(16)?, number(24)?);
    if bytes.starts_with(FIRST_FILE_MAGIC) {
        let (header, crc) = bytes.first_chunk::<FIRST_HEADER_LENGTH>()?.split_last_chunk::<4>()?;
        return (crc32fast::hash(header).to_be_bytes() == *crc).then_some(Header { generation, first, salt, size: 0 });
    }
    let size = number(32)?;
    bytes.starts_with(&file_header(generation, first, salt, size)).then_some(Header { generation, first, salt, size })
}

/// The whole record at `at`: its number, its body and where the next begins.
fn record_at(bytes: &Bytes, salt: u64, at: usize) -> Option<(u64, Bytes, usize)> {
    let header = bytes.get(at..)?.first_chunk::<RECORD_HEADER>()?;
    let (magic, rest) = header.split_first_chunk::<4>()?;
    let (crc, checked) = rest.split_first_chunk::<4>()?;
    let (number, length) = checked.split_first_chunk::<8>()?;
    if magic != RECORD_MAGIC {
        return None;
    }
    let length = usize::try_from(u32::from_be_bytes(*length.first_chunk()?)).ok()?;
    let start = at + RECORD_HEADER;
    let body = bytes.get(start..start.checked_add(length)?)?;
    (checksum(salt, checked, body) == u32::from_be_bytes(*crc))
        .then(|| (u64::from_be_bytes(*number), bytes.slice_ref(body), (start + length).next_multiple_of(ALIGN)))
}

/// A record with this number was begun here.
fn claims(bytes: &Bytes, at: usize, number: u64) -> bool {
    let header = bytes.get(at..).and_then(|rest| rest.first_chunk::<16>());
    header.is_some_and(|header| header.starts_with(RECORD_MAGIC) && header.ends_with(&number.to_be_bytes()))
}

/// The first whole record from `from` on whose number is at least `number`.
fn find_record(bytes: &Bytes, salt: u64, from: usize, number: u64) -> Option<usize> {
    (from..bytes.len()).step_by(ALIGN).find(|at| record_at(bytes, salt, *at).is_some_and(|(found, ..)| found >= number))
}

/// Lays out a write. Keys are bounded by the ids in them, values by 64 KiB: both lengths fit.
pub(crate) fn encode(to: &mut Vec<u8>, table: Table, key: &[u8], value: Option<&[u8]>) {
    to.extend_from_slice(&[table.number(), u8::from(value.is_some())]);
    to.extend_from_slice(&u32::try_from(key.len()).unwrap_or(u32::MAX).to_be_bytes());
    to.extend_from_slice(key);
    if let Some(value) = value {
        to.extend_from_slice(&u32::try_from(value.len()).unwrap_or(u32::MAX).to_be_bytes());
        to.extend_from_slice(value);
    }
}

/// The writes that were laid out one after the other; none where they do not read.
pub(crate) fn decode(body: &Bytes) -> Option<Vec<Op>> {
    let mut ops = Vec::new();
    let mut rest = body.clone();
    while !rest.is_empty() {
        let table = Table::from_number(*rest.first()?)?;
        let has_value = *rest.get(1)? == 1;
        rest = rest.slice(2..);
        let key = take(&mut rest)?;
        let value = if has_value { Some(take(&mut rest)?) } else { None };
        ops.push(Op { table, key, value });
    }
    Some(ops)
}

fn take(rest: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(u32::from_be_bytes(*rest.first_chunk::<4>()?)).ok()?;
    let end = length.checked_add(4).filter(|end| *end <= rest.len())?;
    let piece = rest.slice(4..end);
    *rest = rest.slice(end..);
    Some(piece)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: u64 = 64 * 1024;

    fn group(text: &str) -> (Record, Op) {
        let op = Op {
            table: Table::Runs,
            key: Bytes::copy_from_slice(text.as_bytes()),
            value: Some(Bytes::from(vec![7; 100])),
        };
        let mut record = Record::new();
        record.push(&op);
        (record, op)
    }

    fn written(texts: &[&str]) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("0");
        let mut journal = Journal::begin(prepare(&path, SIZE).unwrap(), SIZE, 1, 10).unwrap();
        for text in texts {
            journal.append(group(text).0).unwrap();
        }
        (folder, path)
    }

    fn keys(turn: &Turn) -> Vec<String> {
        turn.records.iter().flatten().map(|op| String::from_utf8_lossy(&op.key).into_owned()).collect()
    }

    fn damage(path: &Path, at: u64) {
        let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    }

    #[test]
    fn records_come_back_in_order() {
        let (_folder, path) = written(&["a", "b", "c"]);
        let turn = read(&path).unwrap().unwrap();
        assert_eq!((turn.generation, turn.first, turn.torn), (1, 10, false));
        assert_eq!(keys(&turn), ["a", "b", "c"]);
    }

    #[test]
    fn a_record_that_was_cut_off_is_dropped_and_said() {
        let (_folder, path) = written(&["a", "b"]);
        // Each record takes 136 bytes here; the last byte of the second one's value.
        damage(&path, FILE_HEADER + 136 + 120);
        let turn = read(&path).unwrap().unwrap();
        assert_eq!((keys(&turn), turn.torn), (vec!["a".to_owned()], true));
    }

    #[test]
    fn damage_before_a_later_record_is_no_torn_end() {
        let (_folder, path) = written(&["a", "b", "c"]);
        damage(&path, FILE_HEADER + 136 + 50);
        let error = read(&path).err().unwrap().to_string();
        assert!(
            error.contains("record 11 at byte 4232 does not read, but there is a later one at byte 4368"),
            "{error}"
        );
    }

    #[test]
    fn a_damaged_header_does_not_hide_records() {
        let (_folder, path) = written(&["a"]);
        damage(&path, 10);
        assert!(matches!(read(&path), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn a_file_that_was_cut_is_no_torn_end() {
        let (_folder, path) = written(&["a", "b", "c"]);
        let file = OpenOptions::new().write(true).open(&path).unwrap();
        // Behind all records, between two of them, and within one.
        for length in [SIZE - 1, FILE_HEADER + 2 * 136, FILE_HEADER + 100] {
            file.set_len(length).unwrap();
            let error = read(&path).err().unwrap().to_string();
            assert!(error.ends_with(&format!("it has {length} bytes and had {SIZE}: it was cut")), "{error}");
        }
    }

    #[test]
    fn a_file_whose_header_tells_no_length_is_read() {
        let (_folder, path) = written(&["a", "b"]);
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let mut header = [0; FIRST_HEADER_LENGTH];
        file.read_exact_at(&mut header, 0).unwrap();
        header[..8].copy_from_slice(FIRST_FILE_MAGIC);
        let crc = crc32fast::hash(&header[..32]);
        header[32..].copy_from_slice(&crc.to_be_bytes());
        file.write_all_at(&header, 0).unwrap();
        assert_eq!(keys(&read(&path).unwrap().unwrap()), ["a", "b"]);
        damage(&path, 20);
        assert!(matches!(read(&path), Err(StoreError::Corrupt(_))));
    }

    #[test]
    fn what_an_earlier_turn_left_behind_is_not_read() {
        let (_folder, path) = written(&["old", "old", "old"]);
        let mut journal = Journal::begin(prepare(&path, SIZE).unwrap(), SIZE, 3, 20).unwrap();
        journal.append(group("new").0).unwrap();
        let turn = read(&path).unwrap().unwrap();
        assert_eq!((keys(&turn), turn.torn), (vec!["new".to_owned()], false));
    }

    #[test]
    fn a_record_larger_than_the_file_makes_it_grow() {
        let (_folder, path) = written(&[]);
        let mut journal = Journal::begin(prepare(&path, SIZE).unwrap(), SIZE, 1, 1).unwrap();
        let mut record = Record::new();
        for _ in 0..3 {
            record.push(&Op {
                table: Table::Events,
                key: Bytes::from_static(b"k"),
                value: Some(vec![1; 60_000].into()),
            });
        }
        assert!(!journal.is_full_for(record.len()));
        journal.append(record).unwrap();
        assert!(journal.is_full_for(1));
        assert_eq!(read(&path).unwrap().unwrap().records[0].len(), 3);
    }
}
