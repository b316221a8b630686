//! The audit log: each chain is whole, as far as it can tell by itself.

use std::collections::BTreeSet;

use vivarium_domain::{AuditCheck, AuditEntry, TenantId};

use super::{Examined, Examiner};
use crate::audit::read_head;
use crate::batch::from_json;
use crate::table::{Key, Range, Table};
use crate::view::{Direction, PIECE};

impl Examiner<'_> {
    /// Chains of the audit log: no entry was changed, removed, put in between or moved, and each ends with its head.
    pub(super) fn audit(&self) -> Examined {
        let mut found = Examined::new("audit log");
        let mut chains = BTreeSet::new();
        for table in [Table::AuditHeads, Table::Audit] {
            self.each_key(table, |tenant, _, _| _ = chains.insert(tenant.clone()));
        }
        for tenant in chains {
            self.chain(&tenant, &mut found);
        }
        found.done()
    }

    fn chain(&self, tenant: &TenantId, found: &mut Examined) {
        let (mut check, mut range) = (AuditCheck::new(tenant, None), Range::prefix(Key::of(tenant).as_slice()));
        loop {
            let piece = match self.view.walk(Table::Audit, &range, Direction::Forward, PIECE) {
                Ok(piece) => piece,
                Err(error) => return found.error(format!("the audit log of {tenant} can not be read: {error}")),
            };
            let Some((last, _)) = piece.last() else { break };
            range = range.after(last);
            for (key, payload) in &piece {
                found.count += 1;
                match from_json::<AuditEntry>(Table::Audit, key, payload) {
                    Ok(entry) => check.next(&entry),
                    Err(error) => found.error(error.to_string()),
                }
            }
        }
        match read_head(self.view, Key::of(tenant).as_slice()) {
            Ok(head) => {
                for fault in check.end(head).1 {
                    found.error(format!("the audit log of {tenant}: {fault}"));
                }
            }
            Err(error) => found.error(error.to_string()),
        }
    }
}
