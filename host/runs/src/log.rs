//! One run's log: written by the run, read by anybody.
//!
//! An event gets its number and is serialised when it is *recorded*; it goes to the store with the next *flush*, and only
//! what is on disk becomes *visible* to readers. Small answers of the host (a clock's value) are recorded without a flush
//! of their own: whatever the guest does with them becomes visible through a later flush, which carries them along.
//! Tokens are not part of the log; they are shown in their place between the events, as they come.
//!
//! Readers take what is visible by position, so a slow one holds up nobody, and one that leaves is not noticed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use vivarium_domain::{Event, EventBody, RunId, TenantId, Timestamp};
use vivarium_store::{Batch, Store, StoreError, Write};

/// How many events a reader of a stored log takes from the store at a time.
const PAGE: usize = 256;

/// A model that has said nothing for so long thinks: what was recorded before it was asked goes to disk meanwhile.
const THINKS: Duration = Duration::from_millis(10);

/// An event and its JSON, serialised once.
#[derive(Debug)]
pub struct LoggedEvent {
    /// The event.
    pub event: Event,
    /// The event as it is stored and sent.
    pub json: Bytes,
}

/// What a reader of a run's log sees, in order.
#[derive(Debug, Clone)]
pub enum Item {
    /// An event that is on disk.
    Event(Arc<LoggedEvent>),
    /// A piece of the answer's text, as the model writes it. Not in the log: `model.completed` and `run.completed` hold
    /// the whole.
    Token(Arc<str>),
}

pub(crate) struct RunLog {
    tenant: TenantId,
    run: RunId,
    store: Arc<dyn Store>,
    state: Mutex<State>,
    changed: Notify,
    flush_wanted: Notify,
}

#[derive(Default)]
struct State {
    last_seq: u64,
    /// Recorded, and not yet given to the store; the last one's number is `last_seq`.
    buffered: Vec<Bytes>,
    /// Recorded, and not yet on disk; tokens wait behind the events that came before them.
    waiting: VecDeque<Item>,
    visible: Vec<Item>,
    ended: bool,
    /// The store failed: readers must not wait for what will not come.
    broken: Option<String>,
}

impl State {
    /// Shows everything up to `durable`, and the tokens behind it.
    fn show(&mut self, durable: u64) {
        while let Some(item) = self.waiting.front() {
            if matches!(item, Item::Event(logged) if logged.event.seq > durable) {
                break;
            }
            if let Some(item) = self.waiting.pop_front() {
                self.ended |= matches!(&item, Item::Event(logged) if logged.event.body.is_terminal());
                self.visible.push(item);
            }
        }
    }
}

impl RunLog {
    pub(crate) fn new(tenant: TenantId, run: RunId, store: Arc<dyn Store>) -> Self {
        let state = Mutex::default();
        Self { tenant, run, store, state, changed: Notify::new(), flush_wanted: Notify::new() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, the state is still one that can be read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an event down; the next flush takes it to disk. Gives its number.
    pub(crate) fn record(&self, body: EventBody) -> u64 {
        let at = Timestamp::now();
        let mut state = self.lock();
        let seq = state.last_seq + 1;
        let event = Event { seq, at, body };
        // Our own types serialise without fail: their maps have text keys and they hold no foreign Serialize.
        let json = serde_json::to_vec(&event).map(Bytes::from).unwrap_or_default();
        state.last_seq = seq;
        state.buffered.push(json.clone());
        state.waiting.push_back(Item::Event(Arc::new(LoggedEvent { event, json })));
        seq
    }

    /// Shows a piece of the answer, behind the events that were recorded before it.
    pub(crate) fn token(&self, text: &str) {
        let token = Item::Token(text.into());
        let mut state = self.lock();
        if state.waiting.is_empty() {
            state.visible.push(token);
            drop(state);
            self.changed.notify_waiters();
        } else {
            state.waiting.push_back(token);
            drop(state);
            self.flush_wanted.notify_one();
        }
    }

    /// Flushes when a token waits behind an event, and once if the model thinks for a while: then readers want to see that it
    /// was asked, and a crash must leave that behind. A model that answers at once costs no flush of its own. Never ends.
    pub(crate) async fn flush_for_tokens(&self) {
        let thinks = tokio::time::sleep(THINKS);
        tokio::pin!(thinks);
        let mut waiting = true;
        loop {
            tokio::select! {
                () = self.flush_wanted.notified() => (),
                () = &mut thinks, if waiting => waiting = false,
            }
            if self.flush(Vec::new()).await.is_err() {
                // Whoever drives the run meets the same error at the next flush.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Takes to disk what was recorded, together with `writes`, and shows it. On an error nothing more will become visible,
    /// and readers are told.
    pub(crate) async fn flush(&self, mut writes: Vec<Write>) -> Result<(), StoreError> {
        let (durable, committed) = {
            let mut state = self.lock();
            let events = std::mem::take(&mut state.buffered);
            if !events.is_empty() {
                let first_seq = state.last_seq + 1 - events.len() as u64;
                writes.insert(0, Write::AppendEvents { run: self.run, first_seq, events });
            }
            if writes.is_empty() {
                return Ok(());
            }
            // Called while the lock is held, so that batches stand in line in the order of their numbers.
            let batch = Batch { conditions: Vec::new(), writes };
            (state.last_seq, self.store.commit(&self.tenant, batch))
        };
        let result = committed.await;
        let mut state = self.lock();
        match &result {
            Ok(()) => state.show(durable),
            Err(error) => state.broken = Some(error.to_string()),
        }
        drop(state);
        self.changed.notify_waiters();
        result
    }

    /// Readers have seen the run's end: its record is on disk with it.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// The number of the last event that was recorded.
    pub(crate) fn last_seq(&self) -> u64 {
        self.lock().last_seq
    }
}

/// Follows one run's log: from the store, then live. Ends after the run's last event.
pub struct Reader(Source);

enum Source {
    Live { log: Arc<RunLog>, position: usize, after: u64 },
    Stored(StoredLog),
}

struct StoredLog {
    store: Arc<dyn Store>,
    tenant: TenantId,
    run: RunId,
    after: u64,
    page: VecDeque<(u64, Bytes)>,
    ended: bool,
}

impl Reader {
    pub(crate) fn live(log: Arc<RunLog>, after: u64) -> Self {
        Self(Source::Live { log, position: 0, after })
    }

    pub(crate) fn stored(store: Arc<dyn Store>, tenant: TenantId, run: RunId, after: u64) -> Self {
        Self(Source::Stored(StoredLog { store, tenant, run, after, page: VecDeque::new(), ended: false }))
    }

    /// The next item; none after the run's last event. Cancel-safe.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next(&mut self) -> Result<Option<Item>, StoreError> {
        match &mut self.0 {
            Source::Live { log, position, after } => next_live(log, position, *after).await,
            Source::Stored(stored) => stored.next().await,
        }
    }
}

async fn next_live(log: &RunLog, position: &mut usize, after: u64) -> Result<Option<Item>, StoreError> {
    loop {
        let changed = log.changed.notified();
        tokio::pin!(changed);
        // From here on a change wakes us, so none is missed between the look and the wait.
        changed.as_mut().enable();
        {
            let state = log.lock();
            while let Some(item) = state.visible.get(*position) {
                *position += 1;
                let seen = match item {
                    Item::Event(logged) => logged.event.seq <= after,
                    // Tokens in front of the cursor were seen, or are part of an answer that the log tells whole.
                    Item::Token(_) => state.visible.get(*position..).is_some_and(|rest| {
                        rest.iter().any(|item| matches!(item, Item::Event(logged) if logged.event.seq <= after))
                    }),
                };
                if !seen {
                    return Ok(Some(item.clone()));
                }
            }
            if state.ended {
                return Ok(None);
            }
            if let Some(error) = &state.broken {
                return Err(StoreError::Unavailable(error.clone()));
            }
        }
        changed.await;
    }
}

impl StoredLog {
    async fn next(&mut self) -> Result<Option<Item>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        if self.page.is_empty() {
            self.page = self.store.events(&self.tenant, self.run, self.after, PAGE).await?.into();
        }
        let Some((seq, json)) = self.page.pop_front() else {
            self.ended = true;
            return Ok(None);
        };
        self.after = seq;
        let event: Event = serde_json::from_slice(&json)
            .map_err(|error| StoreError::Corrupt(format!("event {seq} of run {}: {error}", self.run)))?;
        self.ended = event.body.is_terminal();
        Ok(Some(Item::Event(Arc::new(LoggedEvent { event, json }))))
    }
}
