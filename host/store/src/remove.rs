//! Removing a session with all that is its own. That may be a hundred thousand records, and writing their end as one batch
//! would hold up everybody else. So first the door is closed: one small batch takes the session out of all lists and
//! leaves a mark, and from then on nothing of it is found, because readers pass over what belongs to a marked session.
//! Then it is emptied, piece by piece, each a batch like any other; the mark goes with the last. A new session of the same
//! id is refused until then. What a crash interrupts is finished when the store is opened again.
//!
//! Blobs are files and can not be part of a batch. The batch that removes a reference to one notes it as loose; what is
//! loose and has no other reference is then removed, and last the note. A text that somebody has put a moment ago, and that
//! nothing refers to yet, is left for the next time.

use std::collections::HashSet;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use vivarium_domain::{ContentHash, InstalledRecord, Run, RunId, SessionId, SessionMessage, TenantId};

use crate::batch::{Prepared, blob_of, from_json, list_of};
use crate::blobs::Blobs;
use crate::queue::Queue;
use crate::record::{self, Op};
use crate::table::{Key, Place, Range, Table, last_hash, last_id, split_tenant};
use crate::view::{Direction, PIECE, View};
use crate::{Condition, StoreError};

/// A piece ends where it has so many writes: a millisecond or two of the writer's time.
const LARGEST_PIECE: usize = 1000;
/// How many records of events are read at once: each may be large.
const EVENTS_AT_ONCE: usize = 16;

/// How many removals were begun and ended, so that readers know when they have to look for marks: nearly never.
#[derive(Debug, Default)]
pub(crate) struct Removals {
    begun: AtomicU64,
    ended: AtomicU64,
}

/// How many removals had begun when a reader began; none where one was under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Calm(Option<u64>);

impl Removals {
    /// What a reader asks first.
    pub(crate) fn calm(&self) -> Calm {
        // In this order: one that begins in between counts as under way.
        let ended = self.ended.load(Ordering::SeqCst);
        let begun = self.begun.load(Ordering::SeqCst);
        Calm((begun == ended).then_some(begun))
    }

    /// What a reader asks last: no removal was under way since it began, so what it has read is no half.
    pub(crate) fn is_calm_since(&self, calm: Calm) -> bool {
        calm.0 == Some(self.begun.load(Ordering::SeqCst))
    }
}

/// Empties a session whose door is closed, piece by piece.
pub(crate) struct Emptying {
    tenant: TenantId,
    session: SessionId,
    stage: Stage,
}

enum Stage {
    /// The messages of this range are next.
    Messages(Range),
    /// The runs of this range of the session's.
    Runs(Range),
    /// The events of this range, of this run; then the run itself, then the other runs.
    Events { run: RunId, events: Range, others: Range },
    /// Nothing but the mark is left.
    Mark,
    /// Nothing is left.
    Done,
}

impl Emptying {
    pub(crate) fn new(tenant: TenantId, session: SessionId) -> Self {
        let stage = Stage::Messages(Range::prefix(Key::of(&tenant).session(&session).as_slice()));
        Self { tenant, session, stage }
    }

    /// The writes of the next piece; none: there is nothing left to be done.
    pub(crate) fn next(&mut self, view: &View) -> Result<Option<Vec<Op>>, StoreError> {
        let mut ops = Vec::new();
        while ops.len() < LARGEST_PIECE {
            match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Messages(range) => self.stage = self.messages(view, range, &mut ops)?,
                Stage::Runs(range) => self.stage = self.next_run(view, range)?,
                Stage::Events { run, events, others } => {
                    self.stage = self.events(view, run, events, others, &mut ops)?;
                }
                Stage::Mark => {
                    ops.push(Op::delete(Table::Removals, Key::of(&self.tenant).session(&self.session).into_bytes()));
                }
                Stage::Done => break,
            }
        }
        Ok((!ops.is_empty()).then_some(ops))
    }

    fn messages(&self, view: &View, range: Range, ops: &mut Vec<Op>) -> Result<Stage, StoreError> {
        let piece = view.walk(Table::Messages, &range, Direction::Forward, PIECE)?;
        let Some((last, _)) = piece.last() else {
            return Ok(Stage::Runs(Range::prefix(Key::of(&self.tenant).session(&self.session).as_slice())));
        };
        let rest = range.after(last);
        for (key, payload) in piece {
            for message in list_of(Table::Messages, &key, &payload)?.1 {
                let message: SessionMessage = from_json(Table::Messages, &key, &message)?;
                message.attachments.iter().for_each(|kept| self.loosen(kept.content, ops));
            }
            ops.push(Op::delete(Table::Messages, key));
        }
        Ok(Stage::Messages(rest))
    }

    fn next_run(&self, view: &View, range: Range) -> Result<Stage, StoreError> {
        let Some((key, _)) = view.walk(Table::SessionRuns, &range, Direction::Forward, 1)?.pop() else {
            return Ok(Stage::Mark);
        };
        let no_run = || StoreError::Corrupt(format!("{}: there is no run", Place(Table::SessionRuns, &key)));
        let run = RunId::from_bytes(last_id(&key).ok_or_else(no_run)?);
        let events = Range::prefix(Key::of(&self.tenant).run(run).as_slice());
        Ok(Stage::Events { run, events, others: range.after(&key) })
    }

    fn events(
        &self,
        view: &View,
        run: RunId,
        range: Range,
        others: Range,
        ops: &mut Vec<Op>,
    ) -> Result<Stage, StoreError> {
        let piece = view.walk(Table::Events, &range, Direction::Forward, EVENTS_AT_ONCE)?;
        let Some((last, _)) = piece.last() else {
            self.run(view, run, ops)?;
            return Ok(Stage::Runs(others));
        };
        let events = range.after(last);
        for (key, payload) in piece {
            for blob in list_of(Table::Events, &key, &payload)?.1.iter().filter_map(|event| blob_of(event)) {
                ops.push(Op::delete(Table::BlobUses, Key::of(&self.tenant).hash(&blob).run(run).into_bytes()));
                self.loosen(blob, ops);
            }
            ops.push(Op::delete(Table::Events, key));
        }
        Ok(Stage::Events { run, events, others })
    }

    /// A run's record, and what else is found by the run.
    fn run(&self, view: &View, id: RunId, ops: &mut Vec<Op>) -> Result<(), StoreError> {
        let key = Key::of(&self.tenant).run(id).into_bytes();
        if let Some(payload) = view.get(Table::Runs, &key)? {
            let run: Run = from_json(Table::Runs, &key, &payload)?;
            run.settings.attachments.iter().for_each(|kept| self.loosen(kept.content, ops));
            let of_agent = run.agent.map(|agent| Key::of(&self.tenant).agent(agent.id).run(id).into_bytes());
            ops.extend(of_agent.map(|key| Op::delete(Table::AgentRuns, key)));
        }
        // Few, of a run that has been asked for once: one for each key that a client has sent with the request.
        for (of_run, _) in view.walk(Table::RunKeys, &Range::prefix(&key), Direction::Forward, PIECE)? {
            if let Some(hash) = last_hash(&of_run) {
                ops.push(Op::delete(Table::Idempotency, Key::of(&self.tenant).hash(&hash).into_bytes()));
            }
            ops.push(Op::delete(Table::RunKeys, of_run));
        }
        let of_session = Key::of(&self.tenant).session(&self.session).run(id).into_bytes();
        ops.push(Op::delete(Table::SessionRuns, of_session));
        for table in [Table::Runs, Table::Unfinished, Table::Deliveries, Table::PendingDeliveries] {
            ops.push(Op::delete(table, key.clone()));
        }
        Ok(())
    }

    fn loosen(&self, blob: ContentHash, ops: &mut Vec<Op>) {
        record::put(ops, Table::LooseBlobs, Key::of(&self.tenant).hash(&blob).into_bytes(), b"");
    }
}

/// The sessions whose removal a crash has interrupted.
pub(crate) fn interrupted(view: &View) -> Result<Vec<(TenantId, SessionId)>, StoreError> {
    let mut found = Vec::new();
    let mut range = Range::prefix(b"");
    loop {
        let piece = view.walk(Table::Removals, &range, Direction::Forward, PIECE)?;
        let Some((last, _)) = piece.last() else { return Ok(found) };
        range = range.after(last);
        for (key, _) in piece {
            let no_session = || StoreError::Corrupt(format!("{}: there is no session", Place(Table::Removals, &key)));
            let (tenant, rest) = split_tenant(&key).ok_or_else(no_session)?;
            let session = rest.get(1..).and_then(|text| std::str::from_utf8(text).ok()?.parse().ok());
            found.push((tenant, session.ok_or_else(no_session)?));
        }
    }
}

/// The blobs of a tenant that nothing refers to; and the end of the notes of those that something does refer to.
fn loose_blobs(view: &View, tenant: &TenantId) -> Result<(Vec<ContentHash>, Vec<Op>), StoreError> {
    let (mut loose, mut done) = (Vec::new(), Vec::new());
    let mut range = Range::prefix(Key::of(tenant).as_slice());
    let mut components = None;
    loop {
        let piece = view.walk(Table::LooseBlobs, &range, Direction::Forward, PIECE)?;
        let Some((last, _)) = piece.last() else { return Ok((loose, done)) };
        range = range.after(last);
        let components = match &mut components {
            Some(components) => components,
            None => components.insert(installed(view, tenant)?),
        };
        for (key, _) in piece {
            let Some(hash) = last_hash(&key) else { continue };
            if !is_used(view, &key)? && !components.contains(&hash) {
                loose.push(hash);
            } else {
                done.push(Op::delete(Table::LooseBlobs, key));
            }
        }
    }
}

/// Whether a run or a document refers to the blob of this note.
fn is_used(view: &View, note: &[u8]) -> Result<bool, StoreError> {
    Ok(!view.walk(Table::BlobUses, &Range::prefix(note), Direction::Forward, 1)?.is_empty())
}

/// Removes those blobs, and gives the end of their notes. What is about to be referred to stays, with its note.
fn remove_loose(view: &View, blobs: &Blobs, tenant: &TenantId, loose: &[ContentHash]) -> Result<Vec<Op>, StoreError> {
    let mut done = Vec::new();
    for hash in loose {
        let note = Key::of(tenant).hash(hash).into_bytes();
        if blobs.delete_loose(tenant, *hash, || is_used(view, &note))? {
            done.push(Op::delete(Table::LooseBlobs, note));
        }
    }
    Ok(done)
}

/// The components that a tenant has installed: blobs, too.
fn installed(view: &View, tenant: &TenantId) -> Result<HashSet<ContentHash>, StoreError> {
    let mut found = HashSet::new();
    let mut range = Range::prefix(Key::of(tenant).as_slice());
    loop {
        let piece = view.walk(Table::Plugins, &range, Direction::Forward, PIECE)?;
        let Some((last, _)) = piece.last() else { return Ok(found) };
        range = range.after(last);
        for (key, payload) in piece {
            let record: InstalledRecord = from_json(Table::Plugins, &key, &payload)?;
            found.extend(record.versions.iter().map(|version| version.digest));
        }
    }
}

/// What a removal works with. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Remover {
    pub(crate) queue: Arc<Queue>,
    pub(crate) view: Arc<View>,
    pub(crate) blobs: Blobs,
    pub(crate) removals: Arc<Removals>,
}

impl Remover {
    /// Removes a session. False: there is none.
    pub(crate) async fn remove(self, tenant: TenantId, session: SessionId) -> Result<bool, StoreError> {
        // Before the mark can be there, and until it surely is not. Where it stays after an error, readers go on looking.
        self.removals.begun.fetch_add(1, Ordering::SeqCst);
        let is_there = match self.commit(Prepared::closing(&tenant, &session)).await {
            Ok(()) => Ok(true),
            // Another removal of it may be under way, or was given up: then this one helps.
            Err(StoreError::ConditionFailed(Condition::SessionExists(_))) => {
                self.view.contains(Table::Removals, Key::of(&tenant).session(&session).as_slice())
            }
            Err(error) => Err(error),
        };
        if matches!(is_there, Ok(true)) {
            self.empty(&tenant, &session).await?;
        }
        self.removals.ended.fetch_add(1, Ordering::SeqCst);
        if matches!(is_there, Ok(true))
            && let Err(error) = self.sweep(&tenant).await
        {
            // The session is gone, and what is loose is noted: the next removal takes it away.
            tracing::warn!(%tenant, %error, "blobs of a removed session are still there");
        }
        is_there
    }

    async fn empty(&self, tenant: &TenantId, session: &SessionId) -> Result<(), StoreError> {
        let mut emptying = Emptying::new(tenant.clone(), session.clone());
        while let Some(ops) = emptying.next(&self.view)? {
            self.commit(Prepared::of_ops(ops)).await?;
        }
        Ok(())
    }

    /// Removes the blobs that nothing refers to any more.
    async fn sweep(&self, tenant: &TenantId) -> Result<(), StoreError> {
        let (loose, mut done) = loose_blobs(&self.view, tenant)?;
        if !loose.is_empty() {
            let (view, blobs, of_tenant) = (Arc::clone(&self.view), self.blobs.clone(), tenant.clone());
            let removed = tokio::task::spawn_blocking(move || remove_loose(&view, &blobs, &of_tenant, &loose));
            done.extend(removed.await.map_err(|error| StoreError::Unavailable(error.to_string()))??);
        }
        if done.is_empty() { Ok(()) } else { self.commit(Prepared::of_ops(done)).await }
    }

    async fn commit(&self, prepared: Prepared) -> Result<(), StoreError> {
        self.queue.push(prepared)?.await.unwrap_or_else(|_| Err(crate::queue::closed()))
    }
}

/// Finishes what a crash has interrupted: straight in the trees, because nobody else uses them yet. Says how many sessions
/// that were.
pub(crate) fn finish(view: &View, blobs: &Blobs) -> Result<u64, StoreError> {
    let mut finished = 0;
    for (tenant, session) in interrupted(view)? {
        let mut emptying = Emptying::new(tenant, session);
        while let Some(ops) = emptying.next(view)? {
            apply(view, ops)?;
        }
        finished += 1;
    }
    for tenant in tenants_with_loose_blobs(view)? {
        let (loose, mut done) = loose_blobs(view, &tenant)?;
        done.extend(remove_loose(view, blobs, &tenant, &loose)?);
        apply(view, done)?;
    }
    Ok(finished)
}

fn apply(view: &View, ops: Vec<Op>) -> Result<(), StoreError> {
    view.trees().apply(ops.into_iter().map(|op| (op.table, op.key, op.value)))
}

fn tenants_with_loose_blobs(view: &View) -> Result<Vec<TenantId>, StoreError> {
    let mut found = Vec::new();
    let mut range = Range::prefix(b"");
    while let Some((key, _)) = view.walk(Table::LooseBlobs, &range, Direction::Forward, 1)?.pop() {
        let (tenant, next) = next_tenant(Table::LooseBlobs, &key)?;
        found.push(tenant);
        range.from = next;
    }
    Ok(found)
}

/// The tenant of a key, and where the keys of the next begin.
pub(crate) fn next_tenant(table: Table, key: &Bytes) -> Result<(TenantId, Bound<Vec<u8>>), StoreError> {
    let no_tenant = || StoreError::Corrupt(format!("{}: there is no tenant", Place(table, key)));
    let (tenant, _) = split_tenant(key).ok_or_else(no_tenant)?;
    let next = match Range::prefix(Key::of(&tenant).as_slice()).to {
        Bound::Excluded(next) => Bound::Included(next),
        // No tenant's keys are the last that there can be. Were they, whoever walks must still get on.
        _ => Bound::Excluded(key.to_vec()),
    };
    Ok((tenant, next))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use vivarium_domain::{
        AgentId, AgentRef, Message, ModelName, RunSettings, RunStatus, Session, Timestamp, Usage, WebhookForm,
    };

    use super::*;
    use crate::{Batch, IdempotencyRecord, SledStore, Store, StoreOptions, Write};

    const OPTIONS: StoreOptions = StoreOptions { journal_bytes: 64 * 1024, reserve_bytes: 0 };

    /// All keys of all tables, but for the few numbers that a list keeps of its past.
    fn everything(view: &View) -> Vec<String> {
        let mut found = Vec::new();
        for table in Table::ALL.into_iter().filter(|table| !matches!(table, Table::SessionHeads | Table::SessionGaps)) {
            let mut range = Range::prefix(b"");
            loop {
                let piece = view.walk(table, &range, Direction::Forward, PIECE).unwrap();
                let Some((last, _)) = piece.last() else { break };
                range = range.after(last);
                found.extend(piece.iter().map(|(key, _)| Place(table, key).to_string()));
            }
        }
        found
    }

    fn run(session: &SessionId, text: &str) -> Run {
        Run {
            id: RunId::new(),
            status: RunStatus::Running,
            mode: "chat".to_owned(),
            plugin: ContentHash::of(b"plugin"),
            model: ModelName::new("embedded", "extractive").unwrap(),
            session_id: session.clone(),
            stateless: false,
            agent: Some(AgentRef { id: AgentId::from_bytes([1; 16]), version: 1 }),
            input: text.to_owned(),
            max_cycles: 3,
            settings: RunSettings::default(),
            created_at: Timestamp::UNIX_EPOCH,
            ended_at: None,
            outcome: None,
            failure: None,
            usage: Usage::default(),
            last_seq: 0,
        }
    }

    /// Writes that leave something in every table that a session can have something in; `text` is large or small.
    fn writes(session: &SessionId, run: &Run, first_seq: u64, text: &str) -> Vec<Write> {
        let at = Timestamp::UNIX_EPOCH;
        let made = Session {
            agent_id: run.agent.map(|agent| agent.id),
            ttl_seconds: Some(60),
            ..Session::new(session.clone(), at)
        };
        let event = format!(
            r#"{{"seq":1,"at":"","type":"source.added","source":{{"contentHash":"{}"}}}}"#,
            ContentHash::of(b"x")
        );
        let key = IdempotencyRecord { request_hash: ContentHash::of(b"x"), run: run.id, created_at: at };
        let said = SessionMessage { run_id: run.id, at, message: Message::user(text), attachments: Vec::new() };
        vec![
            Write::PutRun(Box::new(Run { input: text.to_owned(), ..run.clone() })),
            Write::EnsureSession(Box::new(made)),
            Write::ChangeSession { session: session.clone(), title: Some(Some(text.to_owned())), at },
            Write::AppendMessages { session: session.clone(), messages: vec![said] },
            Write::AppendEvents { run: run.id, first_seq, events: vec![event.into(), Bytes::from(text.to_owned())] },
            Write::PutIdempotency { key: text.chars().take(10).collect(), record: key },
            Write::PutDelivery(Box::new(vivarium_domain::Delivery {
                run_id: run.id,
                url: text.to_owned(),
                form: WebhookForm::Native,
                status: vivarium_domain::DeliveryStatus::Pending,
                attempts: Vec::new(),
                next_attempt_at: None,
                created_at: at,
            })),
        ]
    }

    /// The large ones are cut, and some of them shrink: in the layer that they were written to, over the layer before, and
    /// in the trees.
    #[tokio::test]
    async fn a_removed_session_leaves_no_record_in_any_table() {
        let folder = tempfile::tempdir().unwrap();
        let (tenant, session): (TenantId, SessionId) = ("acme".parse().unwrap(), "s".parse().unwrap());
        let (large, small) = ("large".repeat(50_000), "small");
        let run = run(&session, small);
        let (mut store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
        let mut seq = 1;
        for (index, text) in [&large, small, &large, &large, small, &large].into_iter().enumerate() {
            let batch = Batch { conditions: Vec::new(), writes: writes(&session, &run, seq, text) };
            store.commit(&tenant, batch).await.unwrap();
            seq += 2;
            if index % 2 == 1 {
                drop(store);
                store = SledStore::open_with(folder.path(), OPTIONS).unwrap().0;
            }
        }
        assert!(everything(&store.view).len() > 30);
        assert!(store.delete_session(&tenant, &session).await.unwrap());
        // Parts that lie in the trees go with the next settling, and nobody finds them until then.
        let mut left = everything(&store.view);
        left.retain(|place| !place.starts_with("table parts"));
        assert_eq!(left, Vec::<String>::new());
        drop(store);
        let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
        assert_eq!(everything(&store.view), Vec::<String>::new());
    }

    #[tokio::test]
    async fn what_shrinks_leaves_no_parts_behind() {
        let folder = tempfile::tempdir().unwrap();
        let (tenant, session): (TenantId, SessionId) = ("acme".parse().unwrap(), "s".parse().unwrap());
        let run = run(&session, "");
        // The second pair lies in the trees before it shrinks.
        for reopen in [false, true] {
            let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
            let put = |store: &SledStore, kilobytes: usize| {
                let run = Run { input: "x".repeat(kilobytes << 10), ..run.clone() };
                store.commit(&tenant, Batch { conditions: Vec::new(), writes: vec![Write::PutRun(Box::new(run))] })
            };
            let parts = |store: &SledStore| {
                everything(&store.view).iter().filter(|place| place.starts_with("table parts")).count()
            };
            put(&store, 500).await.unwrap();
            assert_eq!(parts(&store), 9);
            let store = if reopen {
                drop(store);
                SledStore::open_with(folder.path(), OPTIONS).unwrap().0
            } else {
                store
            };
            put(&store, 200).await.unwrap();
            drop(store);
            let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
            assert_eq!(parts(&store), 4);
            put(&store, 1).await.unwrap();
            drop(store);
            let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
            assert_eq!(parts(&store), 0);
        }
    }

    #[tokio::test]
    async fn a_removal_that_was_interrupted_is_finished_when_the_store_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let (tenant, session): (TenantId, SessionId) = ("acme".parse().unwrap(), "s".parse().unwrap());
        let run = run(&session, "small");
        let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
        let text = store.put_blob(&tenant, Bytes::from_static(b"x")).await.unwrap();
        let batch = Batch { conditions: Vec::new(), writes: writes(&session, &run, 1, "small") };
        store.commit(&tenant, batch).await.unwrap();
        store.queue.push(Prepared::closing(&tenant, &session)).unwrap().await.unwrap().unwrap();
        drop(store);
        let (store, report) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
        assert_eq!(
            report.to_string(),
            "the store was not closed cleanly: 0 groups of writes recovered, 1 half-removed sessions removed"
        );
        assert_eq!(everything(&store.view), Vec::<String>::new());
        assert_eq!(store.blob(&tenant, text).await.unwrap(), None);
    }

    #[tokio::test]
    async fn a_text_that_is_about_to_be_referred_to_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let (tenant, session): (TenantId, SessionId) = ("acme".parse().unwrap(), "s".parse().unwrap());
        let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
        let batch = Batch { conditions: Vec::new(), writes: writes(&session, &run(&session, ""), 1, "small") };
        let text = store.put_blob(&tenant, Bytes::from_static(b"x")).await.unwrap();
        store.commit(&tenant, batch).await.unwrap();
        // Another run has put the same and not written its event yet.
        store.put_blob(&tenant, Bytes::from_static(b"x")).await.unwrap();
        assert!(store.delete_session(&tenant, &session).await.unwrap());
        assert!(store.blob(&tenant, text).await.unwrap().is_some());
        // It never does, and after a start nobody is about to: then the text goes.
        drop(store);
        let (store, _) = SledStore::open_with(folder.path(), OPTIONS).unwrap();
        assert_eq!(store.blob(&tenant, text).await.unwrap(), None);
        assert_eq!(everything(&store.view), Vec::<String>::new());
    }
}
