//! A run and the request that waits for it. The client may leave at any time, and its run goes on.

use std::sync::Arc;

use futures::stream::{self, StreamExt as _};
use vivarium_domain::{EventBody, Money, Outcome, RunId, Timestamp, Usage};
use vivarium_runs::{Cursor, FollowError, Item, LoggedEvent, Payer, Reader, RunRequest, StartError, Started};

use crate::ApiState;
use crate::auth::{Caller, Life};
use crate::error::ApiError;
use crate::sse::Items;

/// A key pays for its runs' tokens when they end, whether or not anybody still listens.
impl Payer for Caller {
    fn pay(&self, usage: Usage) {
        self.limits.charge_tokens(usage.total());
    }
}

/// Follows a run for a request.
pub(crate) struct Attended {
    reader: Reader,
    /// The life of the key that asked for it.
    key: Arc<Life>,
}

impl Attended {
    pub(crate) fn new(reader: Reader, caller: &Caller) -> Self {
        Self { reader, key: Arc::clone(&caller.life) }
    }

    /// The next item; none after the run's last event. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Result<Option<Item>, FollowError> {
        self.reader.next().await
    }

    /// All items that are left, and none after an error.
    pub(crate) fn items(self) -> Items {
        let items = stream::unfold(Some(self.reader), async |reader| {
            let mut reader = reader?;
            let item = reader.next().await.transpose()?;
            let rest = item.is_ok().then_some(reader);
            Some((item, rest))
        });
        items.boxed()
    }
}

/// How a run ended well.
pub(crate) struct Completed {
    pub(crate) at: Timestamp,
    pub(crate) outcome: Outcome,
    pub(crate) paid: Paid,
}

/// What a run has used, and what that cost.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Paid {
    pub(crate) usage: Usage,
    pub(crate) cost: Money,
}

impl Attended {
    /// The next event for a client that waits for the whole; none after the run's last one. A host that stops ends the wait, and so does
    /// the end of the client's key.
    pub(crate) async fn next_event(&mut self, state: &ApiState) -> Result<Option<Arc<LoggedEvent>>, ApiError> {
        loop {
            let key = Arc::clone(&self.key);
            let item = tokio::select! {
                biased;
                item = self.next() => item?,
                over = key.end() => return Err(over),
                () = state.0.shutdown.cancelled() => return Err(ApiError::shutting_down()),
            };
            match item {
                Some(Item::Event(logged)) => return Ok(Some(logged)),
                Some(_) => {}
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
                EventBody::RunCompleted { outcome, usage, cost } => {
                    let paid = Paid { usage: *usage, cost: *cost };
                    return Ok(Completed { at: logged.event.at, outcome: outcome.clone(), paid });
                }
                EventBody::RunFailed { failure, .. } => return Err(failure.into()),
                EventBody::RunCancelled { reason, .. } => return Err(ApiError::run_cancelled(reason)),
                _ => each(logged),
            }
        }
        Err(ApiError::internal())
    }
}

/// Starts a run that its caller's key pays for.
pub(crate) async fn start(
    state: &ApiState,
    caller: &Arc<Caller>,
    mut request: RunRequest,
) -> Result<Started, StartError> {
    request.payer = Some(Arc::clone(caller) as Arc<dyn Payer>);
    request.key = Some(caller.key);
    state.0.runs.start(&caller.tenant, request).await
}

/// Follows a run for a caller, from its first event.
pub(crate) async fn attend(state: &ApiState, caller: &Caller, run: RunId) -> Result<Attended, ApiError> {
    attend_from(state, caller, run, Cursor::default()).await
}

/// The same from the first event that the caller has not seen; those before it come as [`Item::Seen`].
pub(crate) async fn attend_from(
    state: &ApiState,
    caller: &Caller,
    run: RunId,
    seen: Cursor,
) -> Result<Attended, ApiError> {
    vivarium_sight::log::names_run(run);
    let reader = state.0.runs.follow_whole(&caller.tenant, run, seen).await?;
    Ok(Attended::new(reader.ok_or_else(ApiError::run_not_found)?, caller))
}
