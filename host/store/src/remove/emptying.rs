//! What is left to be removed behind a closed door, piece by piece.

use std::collections::VecDeque;

use vivarium_domain::{ContentHash, Run, RunId, SessionId, SessionMessage, TenantId};

use crate::StoreError;
use crate::batch::{GoneRun, Step, blob_of, ended_place, from_json, list_of};
use crate::record::{self, Op};
use crate::table::{Key, Place, Range, Table, last_hash, last_id};
use crate::view::{Direction, PIECE, View};

/// A piece ends where it has so many writes: a millisecond or two of the writer's time.
pub(super) const LARGEST_PIECE: usize = 1000;
/// How many records of events are read at once: each may be large.
const EVENTS_AT_ONCE: usize = 16;

/// Something that is emptied.
pub(super) trait Emptying {
    /// The writes of the next piece; none: there is nothing left to be done.
    fn next(&mut self, view: &View) -> Result<Option<Vec<Step>>, StoreError>;
}

/// Empties a session.
pub(super) struct OfSession {
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
    /// The files of this range, which came with runs that are gone.
    Files(Range),
    /// Nothing but the mark is left.
    Mark,
    /// Nothing is left.
    Done,
}

impl OfSession {
    pub(super) fn new(tenant: TenantId, session: SessionId) -> Self {
        let stage = Stage::Messages(Range::prefix(Key::of(&tenant).session(&session).as_slice()));
        Self { tenant, session, stage }
    }

    fn list(&self) -> Range {
        Range::prefix(Key::of(&self.tenant).session(&self.session).as_slice())
    }

    fn messages(&self, view: &View, range: Range, steps: &mut Vec<Step>) -> Result<Stage, StoreError> {
        let piece = view.walk(Table::Messages, &range, Direction::Forward, PIECE)?;
        let Some((last, _)) = piece.last() else { return Ok(Stage::Runs(self.list())) };
        let rest = range.after(last);
        for (key, payload) in piece {
            for message in list_of(Table::Messages, &key, &payload)?.1 {
                let message: SessionMessage = from_json(Table::Messages, &key, &message)?;
                message.attachments.iter().for_each(|kept| loosen(&self.tenant, kept.content, steps));
            }
            delete(Table::Messages, key, steps);
        }
        Ok(Stage::Messages(rest))
    }

    fn next_run(&self, view: &View, range: Range) -> Result<Stage, StoreError> {
        let Some((key, _)) = view.walk(Table::SessionRuns, &range, Direction::Forward, 1)?.pop() else {
            return Ok(Stage::Files(self.list()));
        };
        let no_run = || StoreError::Corrupt(format!("{}: there is no run", Place(Table::SessionRuns, &key)));
        let run = RunId::from_bytes(last_id(&key).ok_or_else(no_run)?);
        Ok(Stage::Events { run, events: log_of(&self.tenant, run), others: range.after(&key) })
    }

    fn files(&self, view: &View, range: Range, steps: &mut Vec<Step>) -> Result<Stage, StoreError> {
        let piece = view.keys(Table::SessionFiles, &range, Direction::Forward, PIECE)?;
        let Some(last) = piece.last() else { return Ok(Stage::Mark) };
        let rest = range.after(last);
        for key in piece {
            if let Some(file) = last_hash(&key) {
                loosen(&self.tenant, file, steps);
            }
            delete(Table::SessionFiles, key, steps);
        }
        Ok(Stage::Files(rest))
    }
}

impl Emptying for OfSession {
    fn next(&mut self, view: &View) -> Result<Option<Vec<Step>>, StoreError> {
        let mut steps = Vec::new();
        while steps.len() < LARGEST_PIECE {
            self.stage = match std::mem::replace(&mut self.stage, Stage::Done) {
                Stage::Messages(range) => self.messages(view, range, &mut steps)?,
                Stage::Runs(range) => self.next_run(view, range)?,
                Stage::Events { run, events, others } => {
                    match empty_log(view, &self.tenant, run, events, &mut steps)? {
                        Some(events) => Stage::Events { run, events, others },
                        None => {
                            let of_session = Key::of(&self.tenant).session(&self.session).run(run).into_bytes();
                            delete(Table::SessionRuns, of_session, &mut steps);
                            remove_run(view, &self.tenant, run, &mut steps)?;
                            Stage::Runs(others)
                        }
                    }
                }
                Stage::Files(range) => self.files(view, range, &mut steps)?,
                Stage::Mark => {
                    let mark = Key::of(&self.tenant).session(&self.session).into_bytes();
                    delete(Table::Removals, mark, &mut steps);
                    Stage::Done
                }
                Stage::Done => break,
            };
        }
        Ok((!steps.is_empty()).then_some(steps))
    }
}

/// Empties the logs of runs that are marked, and takes the marks away.
pub(super) struct OfLogs {
    tenant: TenantId,
    runs: VecDeque<RunId>,
    /// What is left of the first one's log; none: all of it.
    events: Option<Range>,
}

impl OfLogs {
    pub(super) fn new(tenant: TenantId, runs: impl IntoIterator<Item = RunId>) -> Self {
        Self { tenant, runs: runs.into_iter().collect(), events: None }
    }
}

impl Emptying for OfLogs {
    fn next(&mut self, view: &View) -> Result<Option<Vec<Step>>, StoreError> {
        let mut steps = Vec::new();
        while steps.len() < LARGEST_PIECE {
            let Some(run) = self.runs.front().copied() else { break };
            let events = self.events.take().unwrap_or_else(|| log_of(&self.tenant, run));
            self.events = empty_log(view, &self.tenant, run, events, &mut steps)?;
            if self.events.is_none() {
                delete(Table::RunRemovals, Key::of(&self.tenant).run(run).into_bytes(), &mut steps);
                self.runs.pop_front();
            }
        }
        Ok((!steps.is_empty()).then_some(steps))
    }
}

/// Empties a tenant: table by table, whatever stands there.
pub(super) struct OfTenant {
    tenant: TenantId,
    tables: VecDeque<Table>,
    /// What is left of the first one; none: all of it.
    keys: Option<Range>,
}

impl OfTenant {
    pub(super) fn new(tenant: TenantId) -> Self {
        // The parts of a record go with it, and the mark goes last. Keys are found by the tenant's list of them.
        let elsewhere = [Table::ApiKeys, Table::Parts, Table::TenantRemovals];
        let tables = Table::ALL.into_iter().filter(|table| !elsewhere.contains(table)).collect();
        Self { tenant, tables, keys: None }
    }
}

impl Emptying for OfTenant {
    fn next(&mut self, view: &View) -> Result<Option<Vec<Step>>, StoreError> {
        let mut steps = Vec::new();
        while steps.len() < LARGEST_PIECE {
            let Some(table) = self.tables.front().copied() else { break };
            let range = self.keys.take().unwrap_or_else(|| Range::prefix(Key::of(&self.tenant).as_slice()));
            let keys = view.keys(table, &range, Direction::Forward, PIECE)?;
            let Some(last) = keys.last() else {
                self.tables.pop_front();
                continue;
            };
            self.keys = Some(range.after(last));
            for key in keys {
                if let (Table::TenantApiKeys, Some(hash)) = (table, last_hash(&key)) {
                    delete(Table::ApiKeys, bytes::Bytes::copy_from_slice(hash.as_bytes()), &mut steps);
                }
                delete(table, key, &mut steps);
            }
        }
        Ok((!steps.is_empty()).then_some(steps))
    }
}

/// All records of a run's log.
fn log_of(tenant: &TenantId, run: RunId) -> Range {
    Range::prefix(Key::of(tenant).run(run).as_slice())
}

/// The end of some records of a log, and of their references to texts. Gives what is left; none: nothing.
fn empty_log(
    view: &View,
    tenant: &TenantId,
    run: RunId,
    range: Range,
    steps: &mut Vec<Step>,
) -> Result<Option<Range>, StoreError> {
    let piece = view.walk(Table::Events, &range, Direction::Forward, EVENTS_AT_ONCE)?;
    let Some((last, _)) = piece.last() else { return Ok(None) };
    let rest = range.after(last);
    for (key, payload) in piece {
        for blob in list_of(Table::Events, &key, &payload)?.1.iter().filter_map(|event| blob_of(event)) {
            delete(Table::BlobUses, Key::of(tenant).hash(&blob).run(run).into_bytes(), steps);
            loosen(tenant, blob, steps);
        }
        delete(Table::Events, key, steps);
    }
    Ok(Some(rest))
}

/// The end of a run's record, and of what else is found by the run.
pub(super) fn remove_run(view: &View, tenant: &TenantId, id: RunId, steps: &mut Vec<Step>) -> Result<(), StoreError> {
    let key = Key::of(tenant).run(id).into_bytes();
    if let Some(payload) = view.get(Table::Runs, &key)? {
        let run: Run = from_json(Table::Runs, &key, &payload)?;
        if let Some(agent) = run.agent {
            delete(Table::AgentRuns, Key::of(tenant).agent(agent.id).run(id).into_bytes(), steps);
        }
        delete(Table::StatusRuns, Key::of(tenant).status(run.status).run(id).into_bytes(), steps);
        let session = (!run.stateless).then(|| Key::of(tenant).session(&run.session_id));
        if let Some(session) = &session {
            delete(Table::SessionRuns, session.clone().run(id).into_bytes(), steps);
        }
        steps.push(Step::RunGone(GoneRun {
            tenant: Key::of(tenant).into_bytes(),
            key: key.clone(),
            places: [false, true].map(|log_removed| ended_place(tenant, &run, log_removed)),
            session: session.map(Key::into_bytes),
            files: run.settings.attachments.iter().map(|kept| kept.content).collect(),
        }));
    }
    // Few, of a run that has been asked for once: one for each key that a client has sent with the request.
    for of_run in view.keys(Table::RunKeys, &Range::prefix(&key), Direction::Forward, PIECE)? {
        if let Some(hash) = last_hash(&of_run) {
            delete(Table::Idempotency, Key::of(tenant).hash(&hash).into_bytes(), steps);
        }
        delete(Table::RunKeys, of_run, steps);
    }
    for table in [Table::Runs, Table::Unfinished, Table::Deliveries, Table::PendingDeliveries] {
        delete(table, key.clone(), steps);
    }
    Ok(())
}

fn delete(table: Table, key: bytes::Bytes, steps: &mut Vec<Step>) {
    steps.push(Step::Write(Op::delete(table, key)));
}

fn loosen(tenant: &TenantId, blob: ContentHash, steps: &mut Vec<Step>) {
    let mut ops = Vec::new();
    record::put(&mut ops, Table::LooseBlobs, Key::of(tenant).hash(&blob).into_bytes(), b"");
    steps.extend(ops.into_iter().map(Step::Write));
}
