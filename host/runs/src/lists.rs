//! Lists of runs, as clients see them: where a run is that has not ended, is known here and not in the store.

use vivarium_domain::{Run, RunId, RunStatus, TenantId};
use vivarium_store::{Page, RunFilter, StoreError};

use crate::service::Runs;

/// How many runs that have not ended are read at a time.
const AT_ONCE: usize = 64;

/// How many of them a page looks through at most.
const MOST_LOOKED_AT: usize = 4096;

impl Runs {
    /// Runs, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, tenant: &TenantId, filter: RunFilter) -> Result<Page<Run, RunId>, StoreError> {
        if let Some(asked) = filter.status.filter(|status| !status.is_terminal()) {
            return self.list_under_way(tenant, asked, filter).await;
        }
        let mut page = self.store().runs(tenant, filter).await?;
        for run in page.items.iter_mut().filter(|run| !run.status.is_terminal()) {
            if let Some(now) = self.get(tenant, run.id).await? {
                *run = now;
            }
        }
        Ok(page)
    }

    /// Looks through the runs that have not ended for those that are there now.
    async fn list_under_way(
        &self,
        tenant: &TenantId,
        asked: RunStatus,
        filter: RunFilter,
    ) -> Result<Page<Run, RunId>, StoreError> {
        let (mut items, mut last, mut looked_at, mut before) = (Vec::new(), None, 0, filter.before);
        if filter.limit == 0 {
            return Ok(Page { items, next: None });
        }
        loop {
            let some = RunFilter { before, limit: AT_ONCE, ..filter.clone() };
            let page = self.store().runs(tenant, some).await?;
            looked_at += page.items.len();
            for run in page.items {
                let now = self.get(tenant, run.id).await?;
                let Some(now) = now.filter(|now| now.status == asked) else { continue };
                // One more than the page holds: only so is it known that there is a next one.
                if items.len() == filter.limit {
                    return Ok(Page { items, next: last });
                }
                last = Some(now.id);
                items.push(now);
            }
            before = page.next;
            if before.is_none() || looked_at >= MOST_LOOKED_AT {
                return Ok(Page { items, next: before });
            }
        }
    }
}
