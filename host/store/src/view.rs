//! What readers see: the trees, and over them what is on disk in the journal but not yet in the trees.
//!
//! A group is published here only after it was synced, so nobody ever reads what a crash could take back. Reads run
//! where they are called, on the async worker too: they touch memory, or at worst a page of sled's that is not cached
//! (about 0.1 ms), and handing each to another thread would cost more than it saves. What could be long, a walk over
//! many records, goes in pieces of [`PIECE`] records, and the walker yields between them. The lock is held for one piece
//! at most: that is what bounds how long a reader can hold up the writer.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::iter::Peekable;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use bytes::Bytes;
use tokio::sync::Notify;

use crate::StoreError;
use crate::record::{self, Op};
use crate::table::{Range, Table};

/// How many records one piece of a walk reads at most.
pub(crate) const PIECE: usize = 64;

/// Which way a walk goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the smallest key.
    Forward,
    /// From the largest key.
    Backward,
}

/// Writes that are not in the trees yet; none stands for a deletion.
#[derive(Debug, Default)]
pub(crate) struct Layer(BTreeMap<Table, BTreeMap<Bytes, Option<Bytes>>>);

impl Layer {
    fn get(&self, table: Table, key: &[u8]) -> Option<&Option<Bytes>> {
        self.0.get(&table)?.get(key)
    }

    fn insert(&mut self, op: Op) {
        let Op { table, key, value } = op;
        let parts: Vec<_> = match self.0.entry(table).or_default().entry(key) {
            Entry::Vacant(place) => {
                place.insert(value);
                return;
            }
            Entry::Occupied(mut place) => {
                let old = std::mem::replace(place.get_mut(), value);
                let new = place.get().as_deref();
                old.map(|old| record::left_behind(table, place.key(), &old, new).collect()).unwrap_or_default()
            }
        };
        for part in parts {
            self.0.entry(Table::Parts).or_default().insert(part, None);
        }
    }

    fn range(&self, table: Table, range: &Range) -> impl DoubleEndedIterator<Item = (&Bytes, &Option<Bytes>)> {
        self.0.get(&table).into_iter().flat_map(|records| records.range::<[u8], _>(range.bounds()))
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Everything, sorted by table and key: neighbours share the tree's pages.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Table, &Bytes, &Option<Bytes>)> {
        self.0.iter().flat_map(|(table, records)| records.iter().map(|(key, value)| (*table, key, value)))
    }
}

#[derive(Debug, Default)]
struct Layers {
    /// What the current journal file holds.
    active: Layer,
    /// What the other one holds, while it goes into the trees.
    settling: Arc<Layer>,
}

/// sled's trees. Every call goes through here: sled panics on some damage, and that must not take a worker down.
#[derive(Debug)]
pub(crate) struct Trees(BTreeMap<Table, sled::Tree>);

impl Trees {
    pub(crate) fn new(trees: BTreeMap<Table, sled::Tree>) -> Self {
        Self(trees)
    }

    fn tree(&self, table: Table) -> Result<&sled::Tree, StoreError> {
        self.0.get(&table).ok_or_else(|| StoreError::Unavailable(format!("there is no tree {}", table.name())))
    }

    fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let tree = self.tree(table)?;
        let found = guarded(table.name(), || tree.get(key))?;
        Ok(found.map(|value| Bytes::copy_from_slice(&value)))
    }

    /// Writes to the trees, one after the other.
    pub(crate) fn apply(&self, writes: impl Iterator<Item = (Table, Bytes, Option<Bytes>)>) -> Result<(), StoreError> {
        for (table, key, value) in writes {
            let tree = self.tree(table)?;
            let old = guarded(table.name(), || match &value {
                Some(value) => tree.insert(&key, value.as_ref()),
                None => tree.remove(&key),
            })?;
            let Some(old) = old else { continue };
            for part in record::left_behind(table, &key, &old, value.as_deref()) {
                let parts = self.tree(Table::Parts)?;
                guarded(Table::Parts.name(), || parts.remove(&part))?;
            }
        }
        Ok(())
    }
}

/// Runs a call into sled: its errors and its panics become errors of ours.
pub(crate) fn guarded<T>(what: &str, call: impl FnOnce() -> sled::Result<T>) -> Result<T, StoreError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(error @ sled::Error::Corruption { .. })) => Err(StoreError::Corrupt(format!("{what}: {error}"))),
        Ok(Err(error)) => Err(StoreError::Unavailable(format!("{what}: {error}"))),
        Err(panic) => Err(StoreError::Corrupt(format!("{what}: sled gave up: {}", panic_text(panic.as_ref())))),
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a word")
}

/// Trees and layers as one.
#[derive(Debug)]
pub(crate) struct View {
    trees: Trees,
    layers: RwLock<Layers>,
    /// Told when a layer has come into the trees.
    came_to_rest: Notify,
}

impl View {
    pub(crate) fn new(trees: Trees) -> Self {
        Self { trees, layers: RwLock::default(), came_to_rest: Notify::new() }
    }

    pub(crate) fn trees(&self) -> &Trees {
        &self.trees
    }

    /// Shows a group to the readers, whole: its batches appear together.
    pub(crate) fn publish(&self, ops: impl Iterator<Item = Op>) {
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        ops.for_each(|op| layers.active.insert(op));
    }

    /// Takes the active layer to be put into the trees; it is read until [`View::settled`].
    pub(crate) fn freeze(&self) -> Arc<Layer> {
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        layers.settling = Arc::new(std::mem::take(&mut layers.active));
        Arc::clone(&layers.settling)
    }

    /// The frozen layer is in the trees.
    pub(crate) fn settled(&self) {
        let mut layers = self.layers.write().unwrap_or_else(PoisonError::into_inner);
        let done = std::mem::take(&mut layers.settling);
        drop(layers);
        self.came_to_rest.notify_waiters();
        // Freeing many thousand records takes a while: not under the lock.
        drop(done);
    }

    /// Waits until nothing is on its way into the trees.
    pub(crate) async fn rest(&self) {
        loop {
            let rest = self.came_to_rest.notified();
            tokio::pin!(rest);
            // From here on it wakes us, so it is not missed between the look and the wait.
            rest.as_mut().enable();
            if self.read().settling.is_empty() {
                return;
            }
            rest.await;
        }
    }

    /// Nothing waits to be put into the trees.
    pub(crate) fn is_settled(&self) -> bool {
        let layers = self.read();
        layers.active.is_empty() && layers.settling.is_empty()
    }

    fn read(&self) -> RwLockReadGuard<'_, Layers> {
        self.layers.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn raw(&self, layers: &Layers, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        match layers.active.get(table, key).or_else(|| layers.settling.get(table, key)) {
            Some(value) => Ok(value.clone()),
            None => self.trees.get(table, key),
        }
    }

    fn open(&self, layers: &Layers, table: Table, key: &[u8], value: &Bytes) -> Result<Bytes, StoreError> {
        record::join(table, key, value, |part| self.raw(layers, Table::Parts, part))
    }

    /// One record's payload.
    pub(crate) fn get(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        let layers = self.read();
        let value = self.raw(&layers, table, key)?;
        value.map(|value| self.open(&layers, table, key, &value)).transpose()
    }

    /// A record as it is stored, whole or not.
    pub(crate) fn stored_value(&self, table: Table, key: &[u8]) -> Result<Option<Bytes>, StoreError> {
        self.raw(&self.read(), table, key)
    }

    /// Whether there is such a record, whole or not.
    pub(crate) fn contains(&self, table: Table, key: &[u8]) -> Result<bool, StoreError> {
        Ok(self.stored_value(table, key)?.is_some())
    }

    /// Up to `limit` records of a range (at most [`PIECE`]), as key and payload.
    pub(crate) fn walk(
        &self,
        table: Table,
        range: &Range,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        self.walk_layers(&self.read(), table, range, direction, limit)
    }

    /// A piece of a list, from the record on that holds the item with `key`: the last one that begins at or before it.
    /// Both under one lock, because records are joined when they are settled: a record's key is good for one look only.
    pub(crate) fn walk_list(
        &self,
        table: Table,
        list: &[u8],
        key: &[u8],
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let layers = self.read();
        let all = Range::prefix(list);
        let upto = all.clone().ending_at(key);
        let start = self.walk_layers(&layers, table, &upto, Direction::Backward, 1)?.pop();
        let range = match &start {
            Some((key, _)) => all.starting_at(key),
            None => all,
        };
        self.walk_layers(&layers, table, &range, Direction::Forward, limit)
    }

    /// Up to `limit` keys of a range (at most [`PIECE`]), whatever stands there: nothing is read of it.
    pub(crate) fn keys(
        &self,
        table: Table,
        range: &Range,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Bytes>, StoreError> {
        let found = self.raw_range(&self.read(), table, range, direction, limit)?;
        Ok(found.into_iter().map(|(key, _)| key).collect())
    }

    /// The same, forward, with each record read by itself: one that is damaged does not hide the others.
    pub(crate) fn walk_damaged(
        &self,
        table: Table,
        range: &Range,
        limit: usize,
    ) -> Result<Vec<MaybeDamaged>, StoreError> {
        let layers = self.read();
        let found = self.raw_range(&layers, table, range, Direction::Forward, limit)?;
        let opened = found.into_iter().map(|(key, value)| {
            let payload = self.open(&layers, table, &key, &value);
            (key, payload)
        });
        Ok(opened.collect())
    }

    fn walk_layers(
        &self,
        layers: &Layers,
        table: Table,
        range: &Range,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        let found = self.raw_range(layers, table, range, direction, limit)?;
        let opened = found.into_iter().map(|(key, value)| {
            let payload = self.open(layers, table, &key, &value)?;
            Ok((key, payload))
        });
        opened.collect()
    }

    /// Records as they are stored.
    fn raw_range(
        &self,
        layers: &Layers,
        table: Table,
        range: &Range,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<(Bytes, Bytes)>, StoreError> {
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let tree = self.trees.tree(table)?;
        let limit = limit.min(PIECE);
        let stored = || tree.range::<&[u8], _>(range.bounds());
        let mut active = layers.active.range(table, range).map(copied);
        let mut settling = layers.settling.range(table, range).map(copied);
        guarded(table.name(), || match direction {
            Direction::Forward => merge([&mut active, &mut settling, &mut stored().map(from_sled)], direction, limit),
            Direction::Backward => {
                merge([&mut active.rev(), &mut settling.rev(), &mut stored().rev().map(from_sled)], direction, limit)
            }
        })
    }
}

/// A record's key, and its payload if that can be read.
pub(crate) type MaybeDamaged = (Bytes, Result<Bytes, StoreError>);

type Stored = sled::Result<(Bytes, Option<Bytes>)>;

fn copied((key, value): (&Bytes, &Option<Bytes>)) -> Stored {
    Ok((key.clone(), value.clone()))
}

fn from_sled(stored: sled::Result<(sled::IVec, sled::IVec)>) -> Stored {
    stored.map(|(key, value)| (Bytes::copy_from_slice(&key), Some(Bytes::copy_from_slice(&value))))
}

/// Merges sorted sources; where several have a key, the first source's value counts, and a deletion hides it.
fn merge(
    sources: [&mut dyn Iterator<Item = Stored>; 3],
    direction: Direction,
    limit: usize,
) -> sled::Result<Vec<(Bytes, Bytes)>> {
    let mut sources = sources.map(Iterator::peekable);
    let mut found = Vec::new();
    while found.len() < limit {
        let mut next: Option<Bytes> = None;
        for source in &mut sources {
            let Some(key) = peek(source)? else { continue };
            let is_sooner = next.as_ref().is_none_or(|next| match direction {
                Direction::Forward => key < *next,
                Direction::Backward => key > *next,
            });
            if is_sooner {
                next = Some(key);
            }
        }
        let Some(key) = next else { break };
        let mut value = None;
        for source in &mut sources {
            if let Some(Ok((_, candidate))) = source.next_if(|item| item.as_ref().is_ok_and(|(k, _)| *k == key)) {
                value = value.or(Some(candidate));
            }
        }
        if let Some(Some(value)) = value {
            found.push((key, value));
        }
    }
    Ok(found)
}

fn peek(source: &mut Peekable<&mut dyn Iterator<Item = Stored>>) -> sled::Result<Option<Bytes>> {
    match source.peek() {
        Some(Ok((key, _))) => Ok(Some(key.clone())),
        Some(Err(error)) => Err(error.clone()),
        None => Ok(None),
    }
}
