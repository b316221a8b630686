//! A run and the request that waits for it. The client may leave at any time, and its run goes on: whoever started a run
//! still pays for its tokens when it ends.

use std::sync::Arc;

use vivarium_domain::{EventBody, Outcome, Timestamp, Usage};
use vivarium_runs::{Item, LoggedEvent, Reader, Started};
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

/// How a run ended well.
pub(crate) struct Completed {
    pub(crate) at: Timestamp,
    pub(crate) outcome: Outcome,
    pub(crate) usage: Usage,
}

impl Attended {
    /// The next event for a client that waits for the whole; none after the run's last one. A host that stops ends the wait.
    pub(crate) async fn next_event(&mut self, state: &ApiState) -> Result<Option<Arc<LoggedEvent>>, ApiError> {
        loop {
            let item = tokio::select! {
                biased;
                item = self.next() => item?,
                () = state.0.shutdown.cancelled() => return Err(ApiError::shutting_down()),
            };
            match item {
                Some(Item::Event(logged)) => return Ok(Some(logged)),
                Some(Item::Token(_)) => {}
                None => return Ok(None),
            }
        }
    }

    /// Reads the run's log to its end. `each` gets the events before the last one.
    ///
    /// # Errors
    /// Why the run did not end well, in the words of the error that a client gets for it.
    pub(crate) async fn completed(
        mut self,
        state: &ApiState,
        mut each: impl FnMut(Arc<LoggedEvent>),
    ) -> Result<Completed, ApiError> {
        // The log ends with the run's last event; a log that does not is damaged.
        while let Some(logged) = self.next_event(state).await? {
            match &logged.event.body {
                EventBody::RunCompleted { outcome, usage } => {
                    return Ok(Completed { at: logged.event.at, outcome: outcome.clone(), usage: *usage });
                }
                EventBody::RunFailed { failure, .. } => return Err(failure.into()),
                EventBody::RunCancelled { reason, .. } => return Err(ApiError::run_cancelled(reason)),
                _ => each(logged),
            }
        }
        Err(ApiError::internal())
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
