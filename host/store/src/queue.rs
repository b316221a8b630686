//! The line of batches that wait for the writer.
//!
//! A batch is in line as soon as `commit` was called, also when nobody polls its future: that is what makes the order of
//! calls the order of writes. So the line can not make a caller wait before it lets them in; a caller waits for the
//! acknowledgement instead, and every caller that does has one batch in line. The bound is for those who do not: past it
//! a batch is refused, and nothing of it is written.
//!
//! A group is what stood in line when the writer came: it never waits for a group to fill. So sharing a sync delays nobody
//! longer than the group that is being written takes, and those that stand before it in line; and a group ends at
//! [`LARGEST_GROUP`], which is some milliseconds of a disk's time.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::StoreError;
use crate::batch::Prepared;

/// What the line holds at most. Thousands of ordinary batches, and a few of the largest.
const LONGEST_LINE: usize = 256 << 20;
/// A group ends where it reaches this: its record is synced at once, and the first in it wait for the last.
const LARGEST_GROUP: usize = 2 << 20;

/// Where the answer to a batch comes.
pub(crate) type Receipt = oneshot::Receiver<Result<(), StoreError>>;

/// A batch in line.
pub(crate) struct Entry {
    pub(crate) batch: Prepared,
    pub(crate) answer: oneshot::Sender<Result<(), StoreError>>,
}

/// What the writer finds.
pub(crate) enum Taken {
    /// These are next.
    Group(Vec<Entry>),
    /// Nothing came for a while.
    Idle,
    /// Nothing will come any more.
    Closed,
}

#[derive(Default)]
struct State {
    line: VecDeque<Entry>,
    bytes: usize,
    is_closed: bool,
    /// The writer sleeps: waking it costs a system call, which is spared while it works.
    is_awaited: bool,
}

/// The line.
#[derive(Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    arrived: Condvar,
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a batch in line.
    pub(crate) fn push(&self, batch: Prepared) -> Result<Receipt, StoreError> {
        let (answer, receipt) = oneshot::channel();
        let mut state = self.lock();
        if state.is_closed {
            return Err(closed());
        }
        if state.bytes.saturating_add(batch.bytes) > LONGEST_LINE {
            return Err(StoreError::Unavailable(format!("{LONGEST_LINE} bytes wait to be written; try again later")));
        }
        state.bytes += batch.bytes;
        state.line.push_back(Entry { batch, answer });
        let wake = std::mem::take(&mut state.is_awaited);
        drop(state);
        if wake {
            self.arrived.notify_one();
        }
        Ok(receipt)
    }

    /// Takes whatever is in line, up to a group's size; waits for `patience` where there is nothing.
    pub(crate) fn take(&self, patience: Duration) -> Taken {
        let mut state = self.lock();
        if state.line.is_empty() && !state.is_closed {
            state.is_awaited = true;
            let waited = self.arrived.wait_timeout_while(state, patience, |s| s.line.is_empty() && !s.is_closed);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
            state.is_awaited = false;
        }
        if state.line.is_empty() {
            return if state.is_closed { Taken::Closed } else { Taken::Idle };
        }
        let mut bytes = 0;
        let mut group = Vec::with_capacity(state.line.len());
        while bytes < LARGEST_GROUP {
            let Some(entry) = state.line.pop_front() else { break };
            bytes += entry.batch.bytes;
            group.push(entry);
        }
        state.bytes = state.bytes.saturating_sub(bytes);
        Taken::Group(group)
    }

    /// Lets nobody in any more; who is in line is still served.
    pub(crate) fn close(&self) {
        self.lock().is_closed = true;
        self.arrived.notify_all();
    }
}

/// What a batch is told that came too late.
pub(crate) fn closed() -> StoreError {
    StoreError::Unavailable("the store is closed".to_owned())
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::record::Op;
    use crate::table::Table;

    fn of(bytes: usize) -> Prepared {
        let value = Some(Bytes::from(vec![0; bytes]));
        Prepared::of_ops(vec![Op { table: Table::State, key: Bytes::new(), value }])
    }

    fn taken(queue: &Queue) -> usize {
        let Taken::Group(group) = queue.take(Duration::from_secs(3600)) else { panic!("nothing is in line") };
        group.len()
    }

    #[test]
    fn whoever_is_in_line_is_taken_at_once_and_a_group_does_not_grow_for_ever() {
        let (queue, begun) = (Queue::default(), Instant::now());
        let _alone = queue.push(of(10)).unwrap();
        assert_eq!(taken(&queue), 1);
        let _many: Vec<_> = (0..100).map(|_| queue.push(of(LARGEST_GROUP / 8)).unwrap()).collect();
        let groups: Vec<usize> = (0..13).map(|_| taken(&queue)).collect();
        assert_eq!((groups.iter().max(), groups.iter().sum::<usize>()), (Some(&8), 100));
        // An hour was offered for more to come.
        assert!(begun.elapsed() < Duration::from_secs(60));
    }
}
