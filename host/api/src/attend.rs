//! A run and the request that waits for it. The client may leave at any time, and its run goes on: whoever started a run
//! still pays for its tokens when it ends.

use std::sync::Arc;

use vivarium_domain::{EventBody, Usage};
use vivarium_runs::{Item, Reader, Started};
use vivarium_store::StoreError;

use crate::ApiState;
use crate::auth::Caller;
use crate::error::ApiError;

/// Follows a run for a request, and charges the key when the run ends, whether or not anybody still listens.
pub(crate) struct Attended {
    /// Gone once the run has ended.
    reader: Option<Reader>,
    /// Who pays; nobody where an idempotency key found a run that was paid for.
    payer: Option<Arc<Caller>>,
}

impl Attended {
    pub(crate) fn new(reader: Reader, payer: Option<Arc<Caller>>) -> Self {
        Self { reader: Some(reader), payer }
    }

    /// The next item; none after the run's last event. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Item>, StoreError> {
        let Some(reader) = &mut self.reader else { return Ok(None) };
        let item = reader.next().await?;
        if let Some(usage) = item.as_ref().and_then(final_usage) {
            self.reader = None;
            charge(self.payer.take(), usage);
        }
        Ok(item)
    }
}

/// Follows a run that was just started for a caller, from its first event. Nobody pays twice for a run that an idempotency
/// key has found.
pub(crate) async fn attend(state: &ApiState, caller: &Arc<Caller>, started: &Started) -> Result<Attended, ApiError> {
    let run = started.run_id;
    tracing::Span::current().record("run", tracing::field::display(run));
    let reader = state.0.runs.follow(&caller.tenant, run, 0).await?.ok_or_else(ApiError::internal)?;
    let payer = (!started.replayed).then(|| Arc::clone(caller));
    Ok(Attended::new(reader, payer))
}

impl Drop for Attended {
    fn drop(&mut self) {
        let (Some(mut reader), Some(payer)) = (self.reader.take(), self.payer.take()) else { return };
        // Without a runtime the process is ending, and the allowance with it.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(async move {
            while let Ok(Some(item)) = reader.next().await {
                if let Some(usage) = final_usage(&item) {
                    charge(Some(payer), usage);
                    return;
                }
            }
        });
    }
}

fn charge(payer: Option<Arc<Caller>>, usage: Usage) {
    if let Some(payer) = payer {
        payer.limits.charge_tokens(usage.total());
    }
}

/// What the run used, if this is its last event.
fn final_usage(item: &Item) -> Option<Usage> {
    let Item::Event(logged) = item else { return None };
    match &logged.event.body {
        EventBody::RunCompleted { usage, .. }
        | EventBody::RunFailed { usage, .. }
        | EventBody::RunCancelled { usage, .. } => Some(*usage),
        _ => None,
    }
}
