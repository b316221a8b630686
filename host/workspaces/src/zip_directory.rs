//! A zip's directory, looked through before a library reads it: the library keeps all of it in memory, and of two entries with one
//! name it keeps the last without a word.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};

use crate::error::FilesError;

/// The record at the end, without its comment.
const END_BYTES: usize = 22;
/// The longest comment.
const MAX_COMMENT_BYTES: u64 = 65_535;
/// A directory's entry, without its name.
const ENTRY_BYTES: usize = 46;
const END: &[u8] = b"PK\x05\x06";
const ENTRY: &[u8] = b"PK\x01\x02";

/// Refuses an archive whose directory is not at its end, is larger than it may be, or names something twice.
pub(crate) fn check(file: &mut File, max_entries: u64) -> Result<(), FilesError> {
    let broken = |what: &str| FilesError::archive(format!("it is no whole zip: {what}"));
    let unreadable = |error: std::io::Error| FilesError::archive(format!("it can not be read: {error}"));
    let length = file.seek(SeekFrom::End(0)).map_err(unreadable)?;
    let tail_at = length.saturating_sub(MAX_COMMENT_BYTES + END_BYTES as u64);
    let mut tail = Vec::new();
    file.seek(SeekFrom::Start(tail_at)).map_err(unreadable)?;
    file.read_to_end(&mut tail).map_err(unreadable)?;
    // The one whose comment ends with the file: what else looks like it is a part of the comment, or of a file.
    let is_end = |at: &usize| {
        let record = tail.get(*at..).unwrap_or_default();
        record.starts_with(END)
            && number(record, 20, 2).is_some_and(|comment| record.len() as u64 == END_BYTES as u64 + comment)
    };
    let end = (0..tail.len()).rev().find(is_end).ok_or_else(|| broken("its directory is not at its end"))?;
    let record = tail.get(end..).unwrap_or_default();
    let of = |at, bytes| number(record, at, bytes).unwrap_or(u64::MAX);
    let (entries, bytes, begins) = (of(10, 2), of(12, 4), of(16, 4));
    if entries == 0xffff || begins == 0xffff_ffff {
        return Err(FilesError::archive("it is a zip of the 64-bit form, which is not taken; send a tar"));
    }
    if entries > max_entries {
        let reason = format!("it has {entries} entries, and a session may have {max_entries} files and folders");
        return Err(FilesError::archive(reason));
    }
    if begins.checked_add(bytes) != Some(tail_at + end as u64) {
        return Err(broken("its directory does not stand right before its end"));
    }
    file.seek(SeekFrom::Start(begins)).map_err(unreadable)?;
    let mut directory = Vec::new();
    file.take(bytes).read_to_end(&mut directory).map_err(unreadable)?;
    let (mut rest, mut names) = (directory.as_slice(), HashSet::new());
    for _ in 0..entries {
        let entry = rest.get(..ENTRY_BYTES).filter(|entry| entry.starts_with(ENTRY));
        let entry = entry.ok_or_else(|| broken("its directory ends too early"))?;
        let size = |at| number(entry, at, 2).and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let (name, more) = (size(28), size(30) + size(32));
        let name = rest.get(ENTRY_BYTES..ENTRY_BYTES + name).ok_or_else(|| broken("its directory ends too early"))?;
        if !names.insert(name) {
            return Err(FilesError::entry(&String::from_utf8_lossy(name), "is there twice"));
        }
        rest = rest.get(ENTRY_BYTES + name.len() + more..).ok_or_else(|| broken("its directory ends too early"))?;
    }
    if !rest.is_empty() {
        return Err(broken("its directory has more entries than it says"));
    }
    file.rewind().map_err(unreadable)
}

/// A little-endian number.
fn number(bytes: &[u8], at: usize, length: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + length)?;
    Some(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}
