//! The audit log: chains of entries, one for each tenant and one for the operator. What happened is noted in the batch that
//! makes it happen; the writer gives the note its place in the chain, because it alone knows what stands before it.

use std::collections::HashMap;

use bytes::Bytes;
use vivarium_domain::{AuditEntry, AuditHead, AuditNote, ContentHash, TenantId};

use crate::batch::{Step, from_json, json};
use crate::record::{self, Op};
use crate::sled_store::{SledStore, Walk};
use crate::table::{Key, Place, Range, Table};
use crate::view::{Direction, View};
use crate::{Batch, Page, StoreError, Write};

/// A note on its way into a chain.
pub(crate) struct Noted {
    /// Whose chain.
    chain: TenantId,
    note: Box<AuditNote>,
    /// The tenant that goes with this: the entry says how its chain ended.
    ends: Option<TenantId>,
}

impl Noted {
    /// The key of its chain's head.
    pub(crate) fn key(&self) -> Bytes {
        Key::of(&self.chain).into_bytes()
    }
}

impl From<AuditNote> for Write {
    /// An entry in the chain of the batch's tenant.
    fn from(note: AuditNote) -> Self {
        Self::Audit { chain: None, note: Box::new(note) }
    }
}

impl Write {
    /// An entry in this tenant's chain, whose ever the batch is.
    #[must_use]
    pub fn audit(chain: TenantId, note: AuditNote) -> Self {
        Self::Audit { chain: Some(chain), note: Box::new(note) }
    }
}

impl From<AuditNote> for Batch {
    fn from(note: AuditNote) -> Self {
        Write::from(note).into()
    }
}

/// A note in a chain.
pub(crate) fn noted(chain: &TenantId, note: AuditNote) -> Step {
    Step::Audit(Noted { chain: chain.clone(), note: Box::new(note), ends: None })
}

/// A note in the operator's chain that a tenant goes, with the end of its own.
pub(crate) fn tenant_gone(tenant: &TenantId, note: AuditNote) -> Step {
    Step::Audit(Noted { chain: TenantId::operator(), note: Box::new(note), ends: Some(tenant.clone()) })
}

/// The heads of chains as batches have left them that are not readable yet.
pub(crate) type Heads = HashMap<Bytes, AuditHead>;

/// Gives a note its place, after what the batch and those before it have put there.
pub(crate) fn put(
    view: &View,
    group: &Heads,
    batch: &mut Heads,
    noted: Noted,
    ops: &mut Vec<Op>,
) -> Result<(), StoreError> {
    let head_of = |batch: &Heads, tenant: &TenantId| {
        let key = Key::of(tenant).into_bytes();
        match batch.get(&key).or_else(|| group.get(&key)) {
            Some(head) => Ok((key, *head)),
            None => Ok::<_, StoreError>((key.clone(), read_head(view, &key)?)),
        }
    };
    let Noted { chain, mut note, ends } = noted;
    if let Some(gone) = ends {
        *note = note.with("chain", head_of(batch, &gone)?.1);
    }
    let (key, head) = head_of(batch, &chain)?;
    let entry = note.follow(&chain, &head);
    let place = Key::of(&chain).number(entry.seq).into_bytes();
    record::put(ops, Table::Audit, place, &json(&entry)?);
    batch.insert(key, entry.head());
    Ok(())
}

/// The write of a chain's head.
pub(crate) fn put_head(ops: &mut Vec<Op>, key: &Bytes, head: AuditHead) {
    let payload = [head.seq.to_be_bytes().as_slice(), head.hash.as_bytes()].concat();
    record::put(ops, Table::AuditHeads, key.clone(), &payload);
}

pub(crate) fn read_head(view: &View, key: &[u8]) -> Result<AuditHead, StoreError> {
    let Some(payload) = view.get(Table::AuditHeads, key)? else { return Ok(AuditHead::default()) };
    head_from(key, &payload)
}

/// Reads a head's record.
pub(crate) fn head_from(key: &[u8], payload: &[u8]) -> Result<AuditHead, StoreError> {
    let parts = payload.split_first_chunk::<8>().and_then(|(seq, hash)| Some((seq, <[u8; 32]>::try_from(hash).ok()?)));
    let (seq, hash) = parts
        .ok_or_else(|| StoreError::Corrupt(format!("{}: it is no head of a chain", Place(Table::AuditHeads, key))))?;
    Ok(AuditHead { seq: u64::from_be_bytes(*seq), hash: ContentHash::from(hash) })
}

impl SledStore {
    pub(crate) async fn list_audit(
        &self,
        tenant: TenantId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<AuditEntry, u64>, StoreError> {
        let mut range = Range::prefix(Key::of(&tenant).as_slice());
        if let Some(before) = before {
            range = range.before(Key::of(&tenant).number(before).as_slice());
        }
        self.audit_page(range, Direction::Backward, limit).await
    }

    pub(crate) async fn audit_after(
        &self,
        tenant: TenantId,
        after: u64,
        limit: usize,
    ) -> Result<Page<AuditEntry, u64>, StoreError> {
        let range = Range::prefix(Key::of(&tenant).as_slice()).after(Key::of(&tenant).number(after).as_slice());
        self.audit_page(range, Direction::Forward, limit).await
    }

    async fn audit_page(
        &self,
        range: Range,
        direction: Direction,
        limit: usize,
    ) -> Result<Page<AuditEntry, u64>, StoreError> {
        let mut items = Vec::new();
        self.walk(Table::Audit, range, direction, limit.saturating_add(1), |key, payload| {
            items.push(from_json(Table::Audit, &key, &payload)?);
            Ok(if items.len() > limit { Walk::Stop } else { Walk::On })
        })
        .await?;
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|entry: &AuditEntry| entry.seq);
        Ok(Page { items, next })
    }
}
