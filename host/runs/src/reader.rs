//! Follows one run's log, wherever it is: in the store, in the memory of the run that is under way, or nowhere while the run
//! waits. Any number of readers follow a run, each at its own pace; none of them is noticed by the run.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use vivarium_domain::{Event, EventBody, Run, RunFailure, RunId, RunStatus, TenantId, Timestamp};
use vivarium_store::StoreError;

use crate::cursor::{AnswerText, Cursor, Piece};
use crate::log::{LoggedEvent, Next, RunLog, Shown};
use crate::service::Shared;
use crate::table::Where;

/// How many events a reader takes from the store at a time.
const PAGE: usize = 256;

/// What a reader of a run's log sees, in order.
#[derive(Debug, Clone)]
pub enum Item {
    /// An event that is on disk.
    Event(Arc<LoggedEvent>),
    /// The event that tells that the run was taken up again. It may come in the middle of an answer of which the reader has
    /// seen something, so its number alone does not say how far the reader has come.
    Resumed {
        /// The event.
        event: Arc<LoggedEvent>,
        /// How far who has seen it has come.
        cursor: Cursor,
    },
    /// A piece of the answer's text, as the model writes it, or the whole of what is missing of it where it was written
    /// before. All pieces after one event are the text of the answer that the next event tells whole.
    Token {
        /// The piece.
        text: Arc<str>,
        /// How far who has seen it has come.
        cursor: Cursor,
    },
    /// What this reader has seen of the answer since event `after` is void: the host was stopped, the model was asked again,
    /// and writes something else. The answer follows from its beginning.
    Void {
        /// The last event before the answer.
        after: u64,
    },
    /// What the reader has seen before it came here, for who has to know it all the same to tell the rest.
    Seen(Box<Item>),
    /// The log does not reach back to the reader's cursor, or not up to it: this is the run as it is now, and what follows
    /// is what comes after it; at least the end. Who must know the whole gets it from the first event on.
    Reset(Box<Run>),
}

/// Why a run can not be followed any further.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The host stops, and leaves the run to the next start.
    #[error("the host is stopping; the run goes on when it is back")]
    Stopping,
    /// The run was deleted.
    #[error("the run was deleted")]
    Deleted,
}

/// Follows one run's log to its last event.
pub struct Reader {
    shared: Arc<Shared>,
    tenant: TenantId,
    run: RunId,
    text: AnswerText,
    source: Source,
    /// To be given out before the source is asked again.
    ready: VecDeque<Item>,
    /// The cursor was looked at.
    checked: bool,
    /// What is in front of this was seen, and is given as such.
    seen: Option<Cursor>,
    /// What was seen is given, too.
    gives_seen: bool,
    /// It was told that its cursor leads nowhere.
    was_reset: bool,
}

enum Source {
    /// To be looked for.
    Unknown,
    Live {
        log: Arc<RunLog>,
        position: usize,
    },
    Stored(VecDeque<(u64, Bytes)>),
    Ended,
}

impl Reader {
    /// From behind this cursor.
    pub(crate) fn new(shared: Arc<Shared>, tenant: TenantId, run: RunId, cursor: Cursor) -> Self {
        Self {
            shared,
            tenant,
            run,
            text: AnswerText::new(cursor),
            source: Source::Unknown,
            ready: VecDeque::new(),
            checked: cursor.after == 0,
            seen: None,
            gives_seen: false,
            was_reset: false,
        }
    }

    /// From the first event; what is in front of the cursor comes as [`Item::Seen`].
    pub(crate) fn giving_seen(self) -> Self {
        let cursor = self.text.at();
        let (text, seen) = match cursor.after {
            0 => (self.text, None),
            _ => (AnswerText::default(), Some(cursor)),
        };
        Self { text, seen, gives_seen: true, ..self }
    }

    /// The next item; none after the run's last event. Cancel-safe.
    ///
    /// # Errors
    /// When the store fails, the run is deleted, or the host stops while it is under way.
    pub async fn next(&mut self) -> Result<Option<Item>, FollowError> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(Some(item));
            }
            match &mut self.source {
                Source::Ended => return Ok(None),
                Source::Unknown => self.look().await?,
                Source::Stored(page) => match page.pop_front() {
                    Some((seq, json)) => self.stored(seq, json)?,
                    None => self.source = Source::Unknown,
                },
                Source::Live { log, position } => {
                    let log = Arc::clone(log);
                    let changed = log.changed.notified();
                    tokio::pin!(changed);
                    // From here on a change wakes us, so none is missed between the look and the wait.
                    changed.as_mut().enable();
                    match log.at(*position) {
                        Next::Shown(shown) => {
                            *position += 1;
                            self.pass(shown);
                        }
                        Next::Wait => changed.await,
                        Next::Ended => self.source = Source::Ended,
                        Next::Left => self.source = Source::Unknown,
                        Next::Broken(error) => return Err(StoreError::Unavailable(error).into()),
                    }
                }
            }
        }
    }

    /// Looks where the log goes on.
    async fn look(&mut self) -> Result<(), FollowError> {
        let place = self.shared.table().whereabouts(&self.tenant, self.run);
        if !self.checked {
            self.check_cursor(&place).await?;
            self.checked = true;
            // What was looked up takes time, in which the run goes on.
            return Ok(());
        }
        let after = self.text.at().after;
        match place {
            Where::Active(log) if log.base() <= after => {
                let changed = log.changed.notified();
                tokio::pin!(changed);
                changed.as_mut().enable();
                if let Some(position) = log.position_after(after) {
                    self.source = Source::Live { log: Arc::clone(&log), position };
                    return Ok(());
                }
                // What was read in the store is about to be shown: what comes before it must not be taken for what comes after.
                match log.at(usize::MAX) {
                    Next::Broken(error) => return Err(StoreError::Unavailable(error).into()),
                    Next::Wait => changed.await,
                    Next::Shown(_) | Next::Ended | Next::Left => tokio::task::yield_now().await,
                }
            }
            Where::Waiting { last_seq, woken } if last_seq <= after => {
                let woken_up = woken.notified();
                tokio::pin!(woken_up);
                woken_up.as_mut().enable();
                let place = self.shared.table().whereabouts(&self.tenant, self.run);
                if matches!(place, Where::Waiting { last_seq, .. } if last_seq <= after) {
                    woken_up.await;
                }
            }
            place => {
                let page = self.shared.store.events(&self.tenant, self.run, after, PAGE).await?;
                let nowhere = matches!(place, Where::Nowhere);
                if page.is_empty() && nowhere {
                    return self.end().await;
                }
                self.source = Source::Stored(page.into());
            }
        }
        Ok(())
    }

    /// There is nothing more in the store of a run that nobody works on. Who has not seen its end, because its log was removed,
    /// is told it all the same.
    async fn end(&mut self) -> Result<(), FollowError> {
        let run = self.shared.store.run(&self.tenant, self.run).await?.ok_or(FollowError::Deleted)?;
        let end = last_word(&run).ok_or(FollowError::Stopping)?;
        if self.text.at().after < run.last_seq {
            if !self.was_reset {
                self.ready.push_back(Item::Reset(Box::new(run)));
            }
            self.ready.push_back(Item::Event(Arc::new(end)));
        }
        self.source = Source::Ended;
        Ok(())
    }

    /// A cursor that the log can not have given is told so, and gets what there is.
    async fn check_cursor(&mut self, place: &Where) -> Result<(), StoreError> {
        let after = self.seen.unwrap_or(self.text.at()).after;
        let last = match place {
            Where::Active(log) => log.last_seq(),
            Where::Waiting { last_seq, .. } => *last_seq,
            Where::Nowhere => self.shared.store.last_event(&self.tenant, self.run).await?,
        };
        if after <= last {
            return Ok(());
        }
        let Some(run) = self.shared.run_now(&self.tenant, self.run).await? else { return Ok(()) };
        let go_on = match run.status.is_terminal() {
            _ if self.gives_seen => 0,
            // The last event of a run that has ended is told again: a stream has an end always.
            true => last.saturating_sub(1),
            false => last,
        };
        self.text = AnswerText::new(Cursor::after(go_on));
        self.seen = None;
        self.was_reset = true;
        self.ready.push_back(Item::Reset(Box::new(run)));
        Ok(())
    }

    fn stored(&mut self, seq: u64, json: Bytes) -> Result<(), StoreError> {
        let event: Event = serde_json::from_slice(&json)
            .map_err(|error| StoreError::Corrupt(format!("event {seq} of run {}: {error}", self.run)))?;
        if event.body.is_terminal() {
            self.source = Source::Ended;
        }
        self.pass(Shown::Event(Arc::new(LoggedEvent { event, json })));
        Ok(())
    }

    /// Makes items of what a log shows.
    fn pass(&mut self, shown: Shown) {
        let pieces = match &shown {
            Shown::Token(text) => self.text.token(text),
            Shown::Event(logged) => match &logged.event.body {
                EventBody::ModelCompleted { response: Some(response), visible: true, .. } => {
                    self.text.whole(&response.text)
                }
                _ => Vec::new(),
            },
        };
        let after = self.text.at().after;
        let was_seen = self.seen.is_some();
        for piece in pieces {
            let item = match piece {
                Piece::Seen(..) if !self.gives_seen => continue,
                Piece::Seen(text, cursor) => Item::Seen(Box::new(Item::Token { text, cursor })),
                Piece::Void => Item::Void { after },
                Piece::Text(text, cursor) => seen_if(was_seen, Item::Token { text, cursor }),
            };
            self.ready.push_back(item);
        }
        if let Shown::Event(logged) = shown {
            let seq = logged.event.seq;
            let item = match logged.event.body {
                // It comes between a question and its answer.
                EventBody::RunResumed {} => {
                    self.text.event_within(seq);
                    Item::Resumed { event: logged, cursor: self.text.at() }
                }
                _ => {
                    self.text.event(seq);
                    Item::Event(logged)
                }
            };
            self.ready.push_back(seen_if(was_seen, item));
            if let Some(seen) = self.seen.take_if(|seen| seen.after <= seq) {
                self.text = AnswerText::new(seen);
            }
        }
    }
}

fn seen_if(seen: bool, item: Item) -> Item {
    if seen { Item::Seen(Box::new(item)) } else { item }
}

/// The last event of a run whose log is gone, made of its record. None: it has not ended.
fn last_word(run: &Run) -> Option<LoggedEvent> {
    let (usage, cost) = (run.usage, run.cost);
    let body = match run.status {
        RunStatus::Completed => {
            EventBody::RunCompleted { outcome: run.outcome.clone().unwrap_or_default(), usage, cost }
        }
        RunStatus::Failed => {
            let unknown =
                || RunFailure::new(vivarium_domain::FailureCode::Internal, "the run failed; why is not known any more");
            EventBody::RunFailed { failure: run.failure.clone().unwrap_or_else(unknown), usage, cost }
        }
        RunStatus::Cancelled => {
            EventBody::RunCancelled { reason: "why is not known any more: its log is gone".to_owned(), usage, cost }
        }
        RunStatus::Queued | RunStatus::Running | RunStatus::Waiting => return None,
    };
    let event = Event { seq: run.last_seq, at: run.ended_at.unwrap_or_else(Timestamp::now), body };
    let json = serde_json::to_vec(&event).map(Bytes::from).unwrap_or_default();
    Some(LoggedEvent { event, json })
}
