//! What a run has read, for who wants to see it: the ledger's entries, as the run's log tells them, and their stored texts.

use vivarium_domain::{Event, EventBody, RunId, Source, TenantId};
use vivarium_store::StoreError;

use crate::service::Runs;

/// How many events are read at a time.
const PAGE: usize = 512;
/// Every event that tells of a source holds this text. Others may, too.
const TELLS: &[u8] = b"source.added";

impl Runs {
    /// The sources of a run, by their numbers. A run has some hundreds at most.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sources(&self, tenant: &TenantId, run: RunId) -> Result<Vec<Source>, StoreError> {
        let (mut found, mut seen) = (Vec::new(), 0);
        loop {
            let page = self.store().events(tenant, run, seen, PAGE).await?;
            let Some((last, _)) = page.last() else { break };
            seen = *last;
            for (seq, json) in page {
                if !json.windows(TELLS.len()).any(|window| window == TELLS) {
                    continue;
                }
                let event: Event = serde_json::from_slice(&json)
                    .map_err(|error| StoreError::Corrupt(format!("event {seq} of run {run}: {error}")))?;
                if let EventBody::SourceAdded { source } = event.body {
                    found.push(source);
                }
            }
        }
        // Documents that are read at once come into the log in another order than they get their numbers.
        found.sort_by_key(|source| number(&source.id));
        Ok(found)
    }

    /// One source of a run with its stored text. None: there is no such source, or its text was removed.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn source(
        &self,
        tenant: &TenantId,
        run: RunId,
        id: &str,
    ) -> Result<Option<(Source, String)>, StoreError> {
        let source = self.sources(tenant, run).await?.into_iter().find(|source| source.id == id);
        let Some(source) = source else { return Ok(None) };
        let text = self.store().blob(tenant, source.content_hash).await?;
        Ok(text.map(|text| (source, String::from_utf8_lossy(&text).into_owned())))
    }
}

/// The number in a source's id.
#[must_use]
pub fn number(id: &str) -> Option<u32> {
    id.strip_prefix('s').filter(|number| !number.starts_with('+')).and_then(|number| number.parse().ok())
}
