//! What a run has read, for who wants to see it: the ledger's entries, as the run's log tells them, and their stored texts.

use vivarium_domain::{Event, EventBody, RunId, Source, TenantId};
use vivarium_store::StoreError;

use crate::service::Runs;

/// How many events are read at a time.
const PAGE: usize = 512;
/// Every event that tells of a source holds this text. Others may, too.
const TELLS: &[u8] = b"source.added";

impl Runs {
    /// The sources of a run, in the order of arrival: those behind the number `after`, at most `limit`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn sources(
        &self,
        tenant: &TenantId,
        run: RunId,
        after: u32,
        limit: usize,
    ) -> Result<Vec<Source>, StoreError> {
        let (mut found, mut seen) = (Vec::new(), 0);
        loop {
            let page = self.store().events(tenant, run, seen, PAGE).await?;
            let Some((last, _)) = page.last() else { return Ok(found) };
            seen = *last;
            for (seq, json) in page {
                if !json.windows(TELLS.len()).any(|window| window == TELLS) {
                    continue;
                }
                let event: Event = serde_json::from_slice(&json)
                    .map_err(|error| StoreError::Corrupt(format!("event {seq} of run {run}: {error}")))?;
                let EventBody::SourceAdded { source } = event.body else { continue };
                if number(&source.id).is_some_and(|number| number > after) {
                    found.push(source);
                }
                if found.len() >= limit {
                    return Ok(found);
                }
            }
        }
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
        let Some(number) = number(id) else { return Ok(None) };
        let Some(before) = number.checked_sub(1) else { return Ok(None) };
        let source = self.sources(tenant, run, before, 1).await?.pop();
        let Some(source) = source.filter(|source| source.id == id) else { return Ok(None) };
        let text = self.store().blob(tenant, source.content_hash).await?;
        Ok(text.map(|text| (source, String::from_utf8_lossy(&text).into_owned())))
    }
}

/// The number in a source's id: they are given in ascending order.
#[must_use]
pub fn number(id: &str) -> Option<u32> {
    id.strip_prefix('s').filter(|number| !number.starts_with('+')).and_then(|number| number.parse().ok())
}
