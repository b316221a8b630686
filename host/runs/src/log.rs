//! One run's log: written by the run, read by anybody.
//!
//! An event gets its number and is serialised when it is *recorded*; it goes to the store with the next *flush*, and only
//! what is on disk becomes *visible* to readers. Small answers of the host (a clock's value) are recorded without a flush
//! of their own: whatever the guest does with them becomes visible through a later flush, which carries them along. Answers
//! of models and tools are put in line for the disk at once, and the guest goes on meanwhile; what it brings about (a question
//! to a model, a call of a tool, its end) waits behind them.
//! Tokens are not part of the log; they are shown in their place between the events, as they come.
//!
//! Readers take what is visible by position, so a slow one holds up nobody, and one that leaves is not noticed. What was
//! recorded before the run was taken up again is in the store alone.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use vivarium_domain::{Date, Event, EventBody, RunId, TenantId, Timestamp, UsageEntry, utc_day};
use vivarium_store::{Batch, Store, StoreError, Write};

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

/// What a log shows, in order.
#[derive(Debug, Clone)]
pub(crate) enum Shown {
    /// An event that is on disk.
    Event(Arc<LoggedEvent>),
    /// A piece of the answer's text, as the model writes it. The pieces of one answer follow each other, with no event
    /// between them.
    Token(Arc<str>),
}

/// What comes next of what a log shows.
pub(crate) enum Next {
    /// This.
    Shown(Shown),
    /// Nothing yet.
    Wait,
    /// Nothing more: the run has ended.
    Ended,
    /// Nothing more here: nobody works on the run now.
    Left,
    /// Nothing more: the store failed.
    Broken(String),
}

pub(crate) struct RunLog {
    tenant: TenantId,
    run: RunId,
    store: Arc<dyn Store>,
    /// The last event before this log's first one: those up to it are in the store.
    base: u64,
    state: Mutex<State>,
    pub(crate) changed: Notify,
    flush_wanted: Notify,
}

#[derive(Default)]
struct State {
    last_seq: u64,
    /// The last event that is on disk, as far as is known here.
    shown: u64,
    /// The last answer that was flushed without waiting.
    answered: u64,
    /// Recorded, and not yet given to the store; the last one's number is `last_seq`.
    buffered: Vec<Bytes>,
    /// What was used for these, and on which day: it is counted with them.
    used: Vec<(Date, UsageEntry)>,
    /// What goes to disk with what is buffered.
    along: Vec<Write>,
    /// Recorded, and not yet on disk; tokens wait behind the events that came before them.
    waiting: VecDeque<Shown>,
    visible: Vec<Shown>,
    ended: bool,
    /// Nobody works on the run now: it waits, or the host stops.
    left: bool,
    /// The store failed: readers must not wait for what will not come.
    broken: Option<String>,
}

impl State {
    fn record(&mut self, body: EventBody, used: Option<UsageEntry>) -> u64 {
        let seq = self.last_seq + 1;
        let event = Event { seq, at: Timestamp::now(), body };
        self.used.extend(used.map(|used| (utc_day(event.at), used)));
        // Our own types serialise without fail: their maps have text keys and they hold no foreign Serialize.
        let json = serde_json::to_vec(&event).map(Bytes::from).unwrap_or_default();
        self.last_seq = seq;
        self.buffered.push(json.clone());
        self.waiting.push_back(Shown::Event(Arc::new(LoggedEvent { event, json })));
        seq
    }

    /// Shows everything up to `durable`, and the tokens behind it.
    fn show(&mut self, durable: u64) {
        while let Some(item) = self.waiting.front() {
            if matches!(item, Shown::Event(logged) if logged.event.seq > durable) {
                break;
            }
            if let Some(item) = self.waiting.pop_front() {
                if let Shown::Event(logged) = &item {
                    self.shown = logged.event.seq;
                    self.ended |= logged.event.body.is_terminal();
                }
                self.visible.push(item);
            }
        }
    }
}

impl RunLog {
    /// The log of a run whose last event so far is number `base`.
    pub(crate) fn new(tenant: TenantId, run: RunId, store: Arc<dyn Store>, base: u64) -> Self {
        let state = Mutex::new(State { last_seq: base, shown: base, ..State::default() });
        Self { tenant, run, store, base, state, changed: Notify::new(), flush_wanted: Notify::new() }
    }

    /// The last event that is in the store alone.
    pub(crate) fn base(&self) -> u64 {
        self.base
    }

    /// What is at this position of what the log shows.
    pub(crate) fn at(&self, position: usize) -> Next {
        let state = self.lock();
        if let Some(shown) = state.visible.get(position) {
            return Next::Shown(shown.clone());
        }
        match &state.broken {
            _ if state.ended => Next::Ended,
            _ if state.left => Next::Left,
            Some(error) => Next::Broken(error.clone()),
            None => Next::Wait,
        }
    }

    /// Where what comes after event `seq` begins in what the log shows. None: the event is not shown yet, though it may be in
    /// the store.
    pub(crate) fn position_after(&self, seq: u64) -> Option<usize> {
        if seq <= self.base {
            return Some(0);
        }
        let is_it = |shown: &Shown| matches!(shown, Shown::Event(logged) if logged.event.seq == seq);
        self.lock().visible.iter().rposition(is_it).map(|at| at + 1)
    }

    /// Nobody works on the run from now on; its readers look elsewhere.
    pub(crate) fn leave(&self) {
        self.lock().left = true;
        self.changed.notify_waiters();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it is held; if it did, the state is still one that can be read.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes an event down; the next flush takes it to disk. Gives its number.
    pub(crate) fn record(&self, body: EventBody) -> u64 {
        self.lock().record(body, None)
    }

    /// The same of an event that something was used for: it is counted when the event is on disk, and only then.
    pub(crate) fn record_used(&self, body: EventBody, used: UsageEntry) -> u64 {
        self.lock().record(body, Some(used))
    }

    /// Writes an event down, and what is written with it or not at all.
    pub(crate) fn record_with(&self, body: EventBody, along: Write) {
        let mut state = self.lock();
        state.record(body, None);
        state.along.push(along);
    }

    /// Writes events down that one flush takes to disk, all or none.
    pub(crate) fn record_all(&self, bodies: Vec<EventBody>) {
        let mut state = self.lock();
        for body in bodies {
            state.record(body, None);
        }
    }

    /// Shows a piece of the answer, behind the events that were recorded before it.
    pub(crate) fn token(&self, text: &str) {
        let token = Shown::Token(text.into());
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
    pub(crate) async fn flush(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        match self.enqueue(writes) {
            Some((durable, committed)) => self.settle(durable, committed).await,
            None => Ok(()),
        }
    }

    /// The same without waiting for it: what was recorded stands in line now, and whatever has an effect outside of the host
    /// is flushed behind it. Who waits has the same after a crash as who does not.
    pub(crate) fn flush_soon(self: &Arc<Self>) {
        {
            let mut state = self.lock();
            state.answered = state.last_seq;
        }
        if let Some((durable, committed)) = self.enqueue(Vec::new()) {
            let log = Arc::clone(self);
            tokio::spawn(async move {
                // Whoever drives the run meets the same error at the next flush.
                let _either_way = log.settle(durable, committed).await;
            });
        }
    }

    /// Waits until the answers are on disk that were flushed without waiting: for who is about to ask somebody outside of the
    /// host something that rests on them, and would ask something else after a crash.
    pub(crate) async fn flush_answers(&self) -> Result<(), StoreError> {
        let waits = {
            let state = self.lock();
            state.shown < state.answered
        };
        if waits { self.flush(Vec::new()).await } else { Ok(()) }
    }

    /// Puts what was recorded in line, together with `writes`. None: all is on disk. Gives the number of the last event that is
    /// on disk with it.
    fn enqueue(&self, mut writes: Vec<Write>) -> Option<(u64, BoxFuture<'static, Result<(), StoreError>>)> {
        let mut state = self.lock();
        let events = std::mem::take(&mut state.buffered);
        if !events.is_empty() {
            let first_seq = state.last_seq + 1 - events.len() as u64;
            writes.insert(0, Write::AppendEvents { run: self.run, first_seq, events });
            writes.append(&mut state.along);
        }
        let used = std::mem::take(&mut state.used).into_iter();
        writes.extend(used.map(|(day, more)| Write::CountUsage { day, more: Box::new(more) }));
        if writes.is_empty() && state.shown == state.last_seq {
            return None;
        }
        // Called while the lock is held, so that batches stand in line in the order of their numbers. An empty one stands behind
        // those that others have put there.
        let batch = Batch { conditions: Vec::new(), writes };
        Some((state.last_seq, self.store.commit(&self.tenant, batch)))
    }

    async fn settle(
        &self,
        durable: u64,
        committed: BoxFuture<'static, Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
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
