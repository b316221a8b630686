//! Brings a store that an earlier version of the program wrote into the present form, when it is opened. Nothing is written
//! anew that reads as it is; what the present form has besides is worked out from what is there. Each step can be done
//! twice: a crash in the middle leaves the store in the earlier form, and the next start does it again.

use std::collections::BTreeMap;

use bytes::Bytes;
use vivarium_domain::{AgentId, Run, RunId, Session, TenantId};

use crate::batch::{blob_of, ended_place, from_json, json, list_of};
use crate::places::Head;
use crate::record::{self, Op};
use crate::resolve::KeptSession;
use crate::table::{Key, Place, Range, Table, last_hash, split_tenant};
use crate::view::{Direction, PIECE, View};
use crate::{IdempotencyRecord, Made, StoreError};

/// From the first form: sessions stand in lists, runs know the keys that stand for them, and the texts of sources know who
/// refers to them.
pub(crate) fn from_first(view: &View) -> Result<(), StoreError> {
    place_sessions(view)?;
    each(view, Table::Idempotency, |key, payload, ops| {
        let record: IdempotencyRecord = from_json(Table::Idempotency, key, payload)?;
        if let (Made::Run(run), Some((tenant, _)), Some(hash)) = (record.made, split_tenant(key), last_hash(key)) {
            let of_run = Key::of(&tenant).run(run).hash(&hash).into_bytes();
            record::put(ops, Table::RunKeys, of_run, b"");
        }
        Ok(())
    })?;
    each(view, Table::Events, |key, payload, ops| {
        for blob in list_of(Table::Events, key, payload)?.1.iter().filter_map(|event| blob_of(event)) {
            let (tenant, run) = log_of(key)?;
            record::put(ops, Table::BlobUses, Key::of(&tenant).hash(&blob).run(run).into_bytes(), b"");
        }
        Ok(())
    })
}

/// From the second form: runs that have ended are found by how and when they did, and are counted.
pub(crate) fn from_second(view: &View) -> Result<(), StoreError> {
    let mut counts = BTreeMap::<Bytes, u64>::new();
    each(view, Table::Runs, |key, payload, ops| {
        let run: Run = from_json(Table::Runs, key, payload)?;
        if run.status.is_terminal() {
            let tenant = tenant_of(Table::Runs, key)?;
            *counts.entry(Key::of(&tenant).into_bytes()).or_default() += 1;
            record::put(ops, Table::EndedRuns, ended_place(&tenant, &run, run.log_removed_at.is_some()), b"");
            record::put(ops, Table::StatusRuns, Key::of(&tenant).status(run.status).run(run.id).into_bytes(), b"");
        }
        Ok(())
    })?;
    let mut ops = Vec::new();
    for (tenant, count) in counts {
        record::put(&mut ops, Table::RunCounts, tenant, &count.to_be_bytes());
    }
    apply(view, &mut ops)
}

/// Gives every session its place, in the order in which they were made.
fn place_sessions(view: &View) -> Result<(), StoreError> {
    let mut sessions = Vec::new();
    each(view, Table::Sessions, |key, payload, _| {
        let session = match from_json::<KeptSession>(Table::Sessions, key, payload) {
            Ok(kept) => kept.session,
            Err(_) => from_json::<Session>(Table::Sessions, key, payload)?,
        };
        sessions.push((session.created_at, key.clone(), session));
        Ok(())
    })?;
    sessions.sort_unstable_by(|(a_made, a_key, _), (b_made, b_key, _)| (a_made, a_key).cmp(&(b_made, b_key)));
    let (mut heads, mut ops) = (BTreeMap::<Bytes, Head>::new(), Vec::new());
    for (_, key, session) in sessions {
        let tenant = tenant_of(Table::Sessions, &key)?;
        let mut take = |agent: Option<AgentId>| {
            let list = Key::of(&tenant).session_list(agent);
            let head = heads.entry(list.clone().into_bytes()).or_default();
            let place = head.next;
            *head = Head { next: place + 1, taken: place + 1 };
            let id = session.id.as_str().as_bytes();
            record::put(&mut ops, Table::SessionPlaces, list.number(place).into_bytes(), id);
            place
        };
        let (place, agent_place) = (take(None), session.agent_id.map(|agent| take(Some(agent))));
        if let Some(at) = session.expires_at {
            let expiry = Key::of(&tenant).time(at).session(&session.id).into_bytes();
            record::put(&mut ops, Table::SessionExpiries, expiry, b"");
        }
        record::put(&mut ops, Table::Sessions, key, &json(&KeptSession { place, agent_place, session })?);
        if ops.len() >= PIECE {
            apply(view, &mut ops)?;
        }
    }
    for (list, head) in heads {
        record::put(&mut ops, Table::SessionHeads, list, &head.to_bytes());
    }
    apply(view, &mut ops)
}

/// Calls `one` with every record of a table, and writes what it asks for.
fn each(
    view: &View,
    table: Table,
    mut one: impl FnMut(&Bytes, &Bytes, &mut Vec<Op>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let (mut range, mut ops) = (Range::prefix(b""), Vec::new());
    loop {
        let piece = view.walk(table, &range, Direction::Forward, PIECE)?;
        let Some((last, _)) = piece.last() else { return Ok(()) };
        range = range.after(last);
        for (key, payload) in &piece {
            one(key, payload, &mut ops)?;
        }
        apply(view, &mut ops)?;
    }
}

fn apply(view: &View, ops: &mut Vec<Op>) -> Result<(), StoreError> {
    view.trees().apply(ops.drain(..).map(|op| (op.table, op.key, op.value)))
}

fn tenant_of(table: Table, key: &[u8]) -> Result<TenantId, StoreError> {
    let no_tenant = || StoreError::Corrupt(format!("{}: there is no tenant", Place(table, key)));
    split_tenant(key).map(|(tenant, _)| tenant).ok_or_else(no_tenant)
}

/// Whose log a record of events is part of: after the tenant stands the run.
fn log_of(key: &[u8]) -> Result<(TenantId, RunId), StoreError> {
    let no_run = || StoreError::Corrupt(format!("{}: there is no run", Place(Table::Events, key)));
    let (tenant, rest) = split_tenant(key).ok_or_else(no_run)?;
    let run = rest.first_chunk::<16>().ok_or_else(no_run)?;
    Ok((tenant, RunId::from_bytes(*run)))
}

#[cfg(test)]
mod tests {
    use vivarium_domain::{ContentHash, RunStatus, SessionId, Timestamp};

    use super::*;
    use crate::open::{StoreOptions, open};
    use crate::{Batch, EndedFilter, RunFilter, SessionFilter, SessionStart, SledStore, Store, Write};

    const OPTIONS: StoreOptions = StoreOptions { journal_bytes: 64 * 1024, reserve_bytes: 0 };

    /// Opens what was open a moment ago: sled's threads may still hold on to it.
    fn open_again<T>(open: impl Fn() -> Result<T, StoreError>) -> T {
        for _ in 0..500 {
            if let Ok(opened) = open() {
                return opened;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
        open().unwrap()
    }

    /// What the first form of a store looked like: sessions by themselves, and no table that came later.
    fn write_first_form(folder: &std::path::Path, tenant: &TenantId, run: RunId, blob: ContentHash) {
        let opened = open(folder, OPTIONS).unwrap();
        let mut ops = Vec::new();
        for number in 0..500_u32 {
            let id: SessionId = format!("s{number}").parse().unwrap();
            // Made in another order than that of their ids.
            let made = Timestamp::from_second(1_800_000_000 + i64::from(number * 7919 % 500)).unwrap();
            let key = Key::of(tenant).session(&id).into_bytes();
            record::put(&mut ops, Table::Sessions, key, &serde_json::to_vec(&Session::new(id, made)).unwrap());
        }
        let event = format!(r#"{{"seq":1,"at":"now","type":"source.added","source":{{"contentHash":"{blob}"}}}}"#);
        let (payload, _) = record::list::pack(&[event.into()]);
        record::put(&mut ops, Table::Events, Key::of(tenant).run(run).number(1).into_bytes(), &payload);
        let payload = serde_json::json!({"request_hash": blob, "run": run, "created_at": Timestamp::UNIX_EPOCH});
        let payload = serde_json::to_vec(&payload).unwrap();
        record::put(&mut ops, Table::Idempotency, Key::of(tenant).client_text("once").into_bytes(), &payload);
        // As that form had it: no field that came later.
        let ended = serde_json::json!({
            "id": run, "status": "failed", "mode": "chat", "plugin": blob, "model": "embedded/extractive", "sessionId": "s1",
            "input": "q", "maxCycles": 3, "createdAt": "2026-11-22T00:00:00Z", "endedAt": "2026-11-22T00:00:01Z",
            "usage": {"inputTokens": 0, "outputTokens": 0}, "lastSeq": 1,
        });
        let payload = serde_json::to_vec(&ended).unwrap();
        record::put(&mut ops, Table::Runs, Key::of(tenant).run(run).into_bytes(), &payload);
        apply(&opened.view, &mut ops).unwrap();
        opened.disk.note_schema(1).unwrap();
    }

    #[tokio::test]
    async fn a_store_of_the_first_form_is_brought_into_the_present_one() {
        let folder = tempfile::tempdir().unwrap();
        let (tenant, run, blob) = ("acme".parse().unwrap(), RunId::new(), ContentHash::of(b"a page"));
        write_first_form(folder.path(), &tenant, run, blob);
        // Twice: as after a crash that came before the end was noted.
        open_again(|| open(folder.path(), OPTIONS)).disk.note_schema(1).unwrap();
        let (store, _) = open_again(|| SledStore::open_with(folder.path(), OPTIONS));

        assert_eq!(store.count_sessions(&tenant, None).await.unwrap(), 500);
        let all = SessionFilter { limit: 1000, ..SessionFilter::default() };
        let listed = store.sessions(&tenant, all).await.unwrap().items;
        assert_eq!(listed.len(), 500);
        assert!(listed.is_sorted_by(|newer, older| newer.created_at > older.created_at));
        let last = SessionFilter { start: SessionStart::Skip(499), limit: 10, ..SessionFilter::default() };
        assert_eq!(store.sessions(&tenant, last).await.unwrap().items, listed[499..]);
        assert!(store.view.contains(Table::BlobUses, Key::of(&tenant).hash(&blob).run(run).as_slice()).unwrap());
        let of_run = Key::of(&tenant).run(run).client_text("once");
        assert!(store.view.contains(Table::RunKeys, of_run.as_slice()).unwrap());
        let failed = RunFilter { status: Some(RunStatus::Failed), limit: 10, ..RunFilter::default() };
        assert!(store.runs(&tenant, failed).await.unwrap().items.iter().map(|found| found.id).eq([run]));
        let ended = store.ended_runs(EndedFilter { limit: 10, ..EndedFilter::default() }).await.unwrap();
        assert_eq!(ended, [(tenant.clone(), run)]);
        assert_eq!(store.count_ended_runs(&tenant).await.unwrap(), 1);
        assert_eq!(store.idempotency(&tenant, "once").await.unwrap().unwrap().made, Made::Run(run));

        // And it goes on from there.
        let next = Session::new("next".parse().unwrap(), Timestamp::now());
        let batch = Batch { conditions: Vec::new(), writes: vec![Write::EnsureSession(Box::new(next.clone()))] };
        store.commit(&tenant, batch).await.unwrap();
        let newest = SessionFilter { limit: 1, ..SessionFilter::default() };
        assert_eq!(store.sessions(&tenant, newest).await.unwrap().items, [next]);
    }
}
