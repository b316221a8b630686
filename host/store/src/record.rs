//! What a value looks like on disk: a version, a checksum over the key and the payload, the payload. The checksum binds
//! a value to its place, so that one that was moved is found as well as one that was changed.
//!
//! sled keeps values of 128 KiB and more in files of their own and leaks them when they are overwritten; so no value is
//! larger than 64 KiB. A larger payload is cut: the record itself says into how many parts, and they lie in a table of
//! their own. Whoever takes a record's place, or removes it, removes the parts that it leaves behind
//! ([`left_behind`]).

use bytes::{Bytes, BytesMut};

use crate::StoreError;
use crate::table::{Place, Table, part_key};

/// The form of all records that this program writes.
const VERSION: u8 = 1;
/// The payload follows.
const WHOLE: u8 = 0;
/// The payload lies in parts.
const CUT: u8 = 1;
/// Version, kind, checksum.
const HEADER: usize = 6;
/// The largest payload of one value; with header and key it stays below 64 KiB.
const LARGEST: usize = 60 * 1024;

/// A write to one table: a value, or none to delete it.
#[derive(Debug, Clone)]
pub(crate) struct Op {
    pub(crate) table: Table,
    pub(crate) key: Bytes,
    pub(crate) value: Option<Bytes>,
}

impl Op {
    /// Deletes a record.
    pub(crate) fn delete(table: Table, key: Bytes) -> Self {
        Self { table, key, value: None }
    }
}

/// What a stored value says.
pub(crate) enum Content {
    /// The payload.
    Whole(Bytes),
    /// How long the payload is, and in how many parts it lies.
    Cut { length: usize, parts: u32 },
}

/// The writes that store `payload` under `key`.
pub(crate) fn put(ops: &mut Vec<Op>, table: Table, key: Bytes, payload: &[u8]) {
    if payload.len() <= LARGEST {
        let value = seal(table, &key, WHOLE, payload);
        ops.push(Op { table, key, value: Some(value) });
        return;
    }
    let mut parts = 0_u32;
    for piece in payload.chunks(LARGEST) {
        let part = part_key(table, &key, parts);
        let value = seal(Table::Parts, &part, WHOLE, piece);
        ops.push(Op { table: Table::Parts, key: part, value: Some(value) });
        parts += 1;
    }
    let mut head = [0_u8; 12];
    let (length, count) = head.split_at_mut(8);
    length.copy_from_slice(&(payload.len() as u64).to_be_bytes());
    count.copy_from_slice(&parts.to_be_bytes());
    let value = seal(table, &key, CUT, &head);
    ops.push(Op { table, key, value: Some(value) });
}

/// Checks a stored value and opens it.
pub(crate) fn open(table: Table, key: &[u8], value: &Bytes) -> Result<Content, StoreError> {
    let corrupt = |what: &str| StoreError::Corrupt(format!("{}: {what}", Place(table, key)));
    let header = value.first_chunk::<HEADER>().ok_or_else(|| corrupt("the record is cut off"))?;
    let [version, kind, crc @ ..] = *header;
    if version != VERSION {
        return Err(corrupt(&format!("the record has version {version}, this program reads {VERSION}")));
    }
    let payload = value.slice(HEADER..);
    if u32::from_be_bytes(crc) != checksum(table, key, kind, &payload) {
        return Err(corrupt("the record does not match its checksum"));
    }
    match (kind, payload.first_chunk::<8>(), payload.last_chunk::<4>()) {
        (WHOLE, ..) => Ok(Content::Whole(payload)),
        (CUT, Some(length), Some(parts)) if payload.len() == 12 => Ok(Content::Cut {
            length: usize::try_from(u64::from_be_bytes(*length)).unwrap_or(usize::MAX),
            parts: u32::from_be_bytes(*parts),
        }),
        _ => Err(corrupt("the record is of an unknown kind")),
    }
}

/// In how many parts a stored value lies; 0: it is whole, or does not read.
pub(crate) fn parts_of(table: Table, key: &[u8], value: &[u8]) -> u32 {
    if value.get(1) != Some(&CUT) {
        return 0;
    }
    // Checked first: a number that the disk has changed must not send anybody after four billion parts.
    match open(table, key, &Bytes::copy_from_slice(value)) {
        Ok(Content::Cut { parts, .. }) => parts,
        _ => 0,
    }
}

/// The parts that `old` has left behind, now that `new` (none: nothing) is there in its place.
pub(crate) fn left_behind(table: Table, key: &[u8], old: &[u8], new: Option<&[u8]>) -> impl Iterator<Item = Bytes> {
    let had = parts_of(table, key, old);
    let has = if had == 0 { 0 } else { new.map_or(0, |new| parts_of(table, key, new)) };
    (has..had).map(move |part| part_key(table, key, part))
}

/// Checks a stored value and opens it, with its parts where it is cut.
pub(crate) fn join(
    table: Table,
    key: &[u8],
    value: &Bytes,
    mut part: impl FnMut(&[u8]) -> Result<Option<Bytes>, StoreError>,
) -> Result<Bytes, StoreError> {
    let (length, parts) = match open(table, key, value)? {
        Content::Whole(payload) => return Ok(payload),
        Content::Cut { length, parts } => (length, parts),
    };
    // The length is checked as it grows, not reserved at once: it is only a number on a disk.
    let mut whole = BytesMut::new();
    for number in 0..parts {
        let key_of_part = part_key(table, key, number);
        let missing = || StoreError::Corrupt(format!("{}: part {number} of {parts} is missing", Place(table, key)));
        let stored = part(&key_of_part)?.ok_or_else(missing)?;
        match open(Table::Parts, &key_of_part, &stored)? {
            Content::Whole(piece) => whole.extend_from_slice(&piece),
            Content::Cut { .. } => return Err(missing()),
        }
    }
    if whole.len() == length {
        Ok(whole.freeze())
    } else {
        let found = whole.len();
        Err(StoreError::Corrupt(format!("{}: it should have {length} bytes and has {found}", Place(table, key))))
    }
}

fn seal(table: Table, key: &[u8], kind: u8, payload: &[u8]) -> Bytes {
    let mut value = Vec::with_capacity(HEADER + payload.len());
    value.extend_from_slice(&[VERSION, kind]);
    value.extend_from_slice(&checksum(table, key, kind, payload).to_be_bytes());
    value.extend_from_slice(payload);
    value.into()
}

fn checksum(table: Table, key: &[u8], kind: u8, payload: &[u8]) -> u32 {
    let mut crc = crc32fast::Hasher::new();
    crc.update(&[VERSION, kind, table.number()]);
    crc.update(key);
    crc.update(payload);
    crc.finalize()
}

/// Events or messages that follow each other, in one payload: each its length and its bytes. Two such payloads, one
/// after the other, are the payload of both.
pub(crate) mod list {
    use bytes::Bytes;

    use super::LARGEST;

    /// Packs as many of `items` as one value takes, at least one. Gives the payload and how many it holds.
    pub(crate) fn pack(items: &[Bytes]) -> (Vec<u8>, usize) {
        let mut payload = Vec::new();
        let mut count = 0;
        for item in items {
            if count > 0 && payload.len() + 4 + item.len() > LARGEST {
                break;
            }
            // A batch is bounded far below 4 GiB before it is written.
            payload.extend_from_slice(&u32::try_from(item.len()).unwrap_or(u32::MAX).to_be_bytes());
            payload.extend_from_slice(item);
            count += 1;
        }
        (payload, count)
    }

    /// Takes them apart; none where the lengths do not fit.
    pub(crate) fn unpack(payload: &Bytes) -> Option<Vec<Bytes>> {
        let mut items = Vec::new();
        let mut rest = payload.clone();
        while let Some(length) = rest.first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            let mut item = rest.split_off(4);
            if length > item.len() {
                return None;
            }
            rest = item.split_off(length);
            items.push(item);
        }
        rest.is_empty().then_some(items)
    }
}

/// Joins the records of one log that follow each other, as far as one value takes them. A run appends often and little,
/// and what a tree costs is by the record: most runs' events become one.
pub(crate) struct Joined<I> {
    writes: I,
    open: Option<(Bytes, Vec<u8>)>,
    ready: Option<(Table, Bytes, Option<Bytes>)>,
}

impl<'a, I: Iterator<Item = (Table, &'a Bytes, &'a Option<Bytes>)>> Joined<I> {
    /// `writes` are sorted.
    pub(crate) fn new(writes: I) -> Self {
        Self { writes, open: None, ready: None }
    }

    fn close(&mut self) -> Option<(Table, Bytes, Option<Bytes>)> {
        let (key, payload) = self.open.take()?;
        let value = seal(Table::Events, &key, WHOLE, &payload);
        Some((Table::Events, key, Some(value)))
    }
}

impl<'a, I: Iterator<Item = (Table, &'a Bytes, &'a Option<Bytes>)>> Iterator for Joined<I> {
    type Item = (Table, Bytes, Option<Bytes>);

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(ready) = self.ready.take() {
            return Some(ready);
        }
        while let Some((table, key, value)) = self.writes.next() {
            let payload = match (table, value) {
                (Table::Events, Some(value)) => match open(table, key, value) {
                    Ok(Content::Whole(payload)) => Some(payload),
                    // A cut one stays as it is; a damaged one stays damaged, and is found when it is read.
                    _ => None,
                },
                _ => None,
            };
            let Some(payload) = payload else {
                let write = (table, key.clone(), value.clone());
                let Some(closed) = self.close() else { return Some(write) };
                self.ready = Some(write);
                return Some(closed);
            };
            match &mut self.open {
                Some((first, joined)) if is_same_log(first, key) && joined.len() + payload.len() <= LARGEST => {
                    joined.extend_from_slice(&payload);
                }
                _ => {
                    let closed = self.close();
                    self.open = Some((key.clone(), payload.to_vec()));
                    if closed.is_some() {
                        return closed;
                    }
                }
            }
        }
        self.close()
    }
}

/// The keys differ in the number alone.
fn is_same_log(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.split_last_chunk::<8>().map(|(log, _)| log) == b.split_last_chunk::<8>().map(|(log, _)| log)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn stored(payload: &[u8]) -> BTreeMap<(Table, Bytes), Bytes> {
        let mut ops = Vec::new();
        put(&mut ops, Table::Runs, Bytes::from_static(b"key"), payload);
        ops.into_iter().filter_map(|op| Some(((op.table, op.key), op.value?))).collect()
    }

    fn read(stored: &BTreeMap<(Table, Bytes), Bytes>) -> Result<Bytes, StoreError> {
        let head = &stored[&(Table::Runs, Bytes::from_static(b"key"))];
        join(Table::Runs, b"key", head, |part| Ok(stored.get(&(Table::Parts, Bytes::copy_from_slice(part))).cloned()))
    }

    #[test]
    fn a_large_payload_is_cut_below_64_kib_and_joined() {
        let payload: Vec<u8> = (0..1_000_003_u32).map(|i| (i % 251) as u8).collect();
        let stored = stored(&payload);
        assert!(stored.len() > 10);
        assert!(stored.values().all(|value| value.len() < 64 * 1024));
        assert_eq!(read(&stored).unwrap(), payload);
    }

    #[test]
    fn a_missing_part_is_said() {
        let mut stored = stored(&vec![1; 200_000]);
        stored.remove(&(Table::Parts, part_key(Table::Runs, b"key", 1))).unwrap();
        let error = read(&stored).unwrap_err().to_string();
        assert_eq!(error, "the store is damaged: table runs, key 'key': part 1 of 4 is missing");
    }

    #[test]
    fn a_value_under_anothers_key_is_damage() {
        let stored = stored(b"payload");
        let value = &stored[&(Table::Runs, Bytes::from_static(b"key"))];
        assert!(matches!(open(Table::Runs, b"yek", value), Err(StoreError::Corrupt(_))));
        assert!(matches!(open(Table::Sessions, b"key", value), Err(StoreError::Corrupt(_))));
    }

    proptest! {
        #[test]
        fn any_changed_byte_is_found(payload in proptest::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, bit in 0..8_u8) {
            let mut stored = stored(&payload);
            let value = stored.get_mut(&(Table::Runs, Bytes::from_static(b"key"))).unwrap();
            let mut bytes = value.to_vec();
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            *value = bytes.into();
            prop_assert!(matches!(read(&stored), Err(StoreError::Corrupt(_))));
        }

        #[test]
        fn packed_events_come_apart_as_they_were(events in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..50), 1..20)) {
            let events: Vec<Bytes> = events.into_iter().map(Bytes::from).collect();
            let (payload, count) = list::pack(&events);
            prop_assert_eq!(count, events.len());
            prop_assert_eq!(list::unpack(&payload.into()).unwrap(), events);
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let bytes = Bytes::from(bytes);
            let _ = open(Table::Runs, b"key", &bytes);
            let _ = list::unpack(&bytes);
        }
    }
}
