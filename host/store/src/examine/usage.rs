//! What was used: what is told apart adds up to what the tenant as a whole has used.

use std::collections::BTreeMap;

use vivarium_domain::{Date, TenantId, UsageEntry, Used};

use super::{Examined, Examiner};
use crate::table::Table;
use crate::usage::{OF_EACH, OF_TENANT, day_of};

impl Examiner<'_> {
    pub(super) fn usage(&self) -> Examined {
        let mut found = Examined::new("usage");
        let mut days = BTreeMap::<(TenantId, Date), [Used; 2]>::new();
        self.each::<UsageEntry>(Table::Usage, |tenant, key, entry| match day_of(tenant, key) {
            Ok((day, kind)) => {
                let [whole, sum] = days.entry((tenant.clone(), day)).or_default();
                match kind {
                    OF_TENANT => *whole += entry.used,
                    OF_EACH => *sum += entry.used,
                    _ => {}
                }
            }
            Err(error) => found.error(error.to_string()),
        });
        for ((tenant, day), [whole, sum]) in days {
            found.count += 1;
            found.expect(whole == sum, || {
                format!(
                    "what tenant {tenant} has used on {day} does not add up: {} tokens and {}",
                    whole.tokens(),
                    sum.tokens()
                )
            });
        }
        found.done()
    }
}
