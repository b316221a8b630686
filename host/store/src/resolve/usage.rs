//! What was used is added to what was counted before: many batches of a group add to the same records, which are written once.

use bytes::Bytes;
use vivarium_domain::{UsageEntry, Used};

use super::{Facts, Resolver};
use crate::StoreError;
use crate::batch::{from_json, json};
use crate::record::{self, Op};
use crate::table::Table;

impl Resolver<'_> {
    pub(super) fn count_usage(&self, batch: &mut Facts, more: Vec<(Bytes, UsageEntry)>) -> Result<(), StoreError> {
        for (key, UsageEntry { by, used }) in more {
            let mut sum = match batch.usage.get(&key).or_else(|| self.group.usage.get(&key)) {
                Some(entry) => entry.used,
                None => match self.view.get(Table::Usage, &key)? {
                    Some(payload) => from_json::<UsageEntry>(Table::Usage, &key, &payload)?.used,
                    None => Used::default(),
                },
            };
            sum += used;
            batch.usage.insert(key, UsageEntry { by, used: sum });
        }
        Ok(())
    }

    pub(super) fn usage_writes(&self) -> Vec<Op> {
        let mut ops = Vec::new();
        for (key, entry) in &self.group.usage {
            // Our own types serialise without fail: they hold numbers, ids and names.
            record::put(&mut ops, Table::Usage, key.clone(), &json(entry).unwrap_or_default());
        }
        ops
    }
}
