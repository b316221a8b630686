//! Blobs that lost a reference. They are files and can not be part of a batch: the batch that removes a reference notes the
//! blob as loose; what is loose and has no other reference is then removed, and last the note. A text that somebody has put
//! a moment ago, and that nothing refers to yet, is left for the next time.

use std::collections::HashSet;

use vivarium_domain::{ContentHash, InstalledRecord, TenantId};

use super::next_tenant;
use crate::StoreError;
use crate::batch::from_json;
use crate::blobs::Blobs;
use crate::record::Op;
use crate::table::{Key, Range, Table, last_hash};
use crate::view::{Direction, PIECE, View};

/// The blobs of a tenant that nothing refers to; and the end of the notes of those that something does refer to.
pub(super) fn loose_blobs(view: &View, tenant: &TenantId) -> Result<(Vec<ContentHash>, Vec<Op>), StoreError> {
    let (mut loose, mut done) = (Vec::new(), Vec::new());
    let mut range = Range::prefix(Key::of(tenant).as_slice());
    let mut components = None;
    loop {
        let piece = view.walk(Table::LooseBlobs, &range, Direction::Forward, PIECE)?;
        let Some((last, _)) = piece.last() else { return Ok((loose, done)) };
        range = range.after(last);
        let components = match &mut components {
            Some(components) => components,
            None => components.insert(installed(view, tenant)?),
        };
        for (key, _) in piece {
            let Some(hash) = last_hash(&key) else { continue };
            if !is_used(view, &key)? && !components.contains(&hash) {
                loose.push(hash);
            } else {
                done.push(Op::delete(Table::LooseBlobs, key));
            }
        }
    }
}

/// Whether a run or a document refers to the blob of this note.
fn is_used(view: &View, note: &[u8]) -> Result<bool, StoreError> {
    Ok(!view.walk(Table::BlobUses, &Range::prefix(note), Direction::Forward, 1)?.is_empty())
}

/// Removes those blobs, and gives the end of their notes. What is about to be referred to stays, with its note.
pub(super) fn remove_loose(
    view: &View,
    blobs: &Blobs,
    tenant: &TenantId,
    loose: &[ContentHash],
) -> Result<Vec<Op>, StoreError> {
    let mut done = Vec::new();
    for hash in loose {
        let note = Key::of(tenant).hash(hash).into_bytes();
        if blobs.delete_loose(tenant, *hash, || is_used(view, &note))? {
            done.push(Op::delete(Table::LooseBlobs, note));
        }
    }
    Ok(done)
}

/// The components that a tenant has installed: blobs, too.
fn installed(view: &View, tenant: &TenantId) -> Result<HashSet<ContentHash>, StoreError> {
    let mut found = HashSet::new();
    let mut range = Range::prefix(Key::of(tenant).as_slice());
    loop {
        let piece = view.walk(Table::Plugins, &range, Direction::Forward, PIECE)?;
        let Some((last, _)) = piece.last() else { return Ok(found) };
        range = range.after(last);
        for (key, payload) in piece {
            let record: InstalledRecord = from_json(Table::Plugins, &key, &payload)?;
            found.extend(record.versions.iter().map(|version| version.digest));
        }
    }
}

/// The tenants that have notes of loose blobs.
pub(super) fn tenants_with_loose_blobs(view: &View) -> Result<Vec<TenantId>, StoreError> {
    let mut found = Vec::new();
    let mut range = Range::prefix(b"");
    while let Some((key, _)) = view.walk(Table::LooseBlobs, &range, Direction::Forward, 1)?.pop() {
        let (tenant, next) = next_tenant(Table::LooseBlobs, &key)?;
        found.push(tenant);
        range.from = next;
    }
    Ok(found)
}
