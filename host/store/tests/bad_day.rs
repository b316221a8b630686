//! A bad day: killed at any moment, a disk that is full or lies, a folder that is in use.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod support;

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use support::*;
use vivarium_domain::{Agent, AgentId, AgentRef, Run, RunId, RunStatus, SessionId, TenantId};
use vivarium_store::{Batch, OpenReport, SessionFilter, SledStore, Store, StoreError, StoreOptions, Write};

const CHILD: &str = "VIVARIUM_STORE_TEST_FOLDER";

/// Writers from this number on remove sessions, too.
const REMOVERS: u8 = 10;

/// The run of the writer with this number: the same in every process.
fn run_of(writer: u8) -> RunId {
    RunId::from_bytes([writer; 16])
}

/// The agent of the writer, and how it is in version `seq`.
fn agent_of(writer: u8, seq: u64) -> Agent {
    let prompt = if seq.is_multiple_of(20) { "large ".repeat(20_000) } else { format!("prompt {seq}") };
    let mut agent = agent(&format!("agent of {writer}, version {seq}"));
    agent.config.prompt = prompt;
    Agent { id: AgentId::from_bytes([writer; 16]), version: seq, ..agent }
}

/// The run of one step, in a session of its own.
fn run_of_step(writer: u8, seq: u64) -> Run {
    let [a, b, c, d, e, f, g, h] = seq.to_be_bytes();
    let id = RunId::from_bytes([writer, 0, 0, 0, 0, 0, 0, 1, a, b, c, d, e, f, g, h]);
    let agent = Some(AgentRef { id: AgentId::from_bytes([writer; 16]), version: seq });
    Run { id, agent, ..run(&format!("t{writer}-{seq}"), RunStatus::Completed) }
}

/// Event and message `seq`, the agent's next version, and a session with a run, together: one must never be there without
/// the others. Some are large.
fn step(writer: u8, seq: u64) -> Batch {
    let text = if seq.is_multiple_of(20) { "large ".repeat(20_000) } else { format!("step {seq}") };
    let own = run_of_step(writer, seq);
    let name = own.session_id.as_str();
    batch([
        events(run_of(writer), seq..=seq),
        messages(&format!("s{writer}"), vec![message(run_of(writer), 0, &text)]),
        put_agent(&agent_of(writer, seq)),
        put(&own),
        events(own.id, 1..=3),
        ensure(&made(name, 0, own.agent.map(|agent| agent.id))),
        messages(name, vec![message(own.id, 0, &text)]),
    ])
}

/// The step whose session goes after step `seq`, with writers that remove.
fn removed_after(writer: u8, seq: u64) -> Option<SessionId> {
    (writer >= REMOVERS && seq > 0 && seq.is_multiple_of(5)).then(|| run_of_step(writer, seq - 3).session_id)
}

/// How many steps of a writer are there; each is whole and in its place.
async fn steps(store: &SledStore, acme: &TenantId, writer: u8) -> Result<u64, StoreError> {
    let logged = store.events(acme, run_of(writer), 0, usize::MAX).await?;
    for (index, (seq, json)) in logged.iter().enumerate() {
        assert_eq!((*seq, json), (index as u64 + 1, &event(*seq)));
    }
    let name = session(&format!("s{writer}"));
    let counted = store.session(acme, &name).await?.map_or(0, |session| session.messages);
    let said = store.messages(acme, &name, usize::MAX).await?;
    assert_eq!((counted, said.len()), (logged.len() as u64, logged.len()));
    agents_and_sessions(store, acme, writer, counted).await?;
    Ok(counted)
}

/// After `steps` steps, the agent and the sessions are as they must be, in their own places and in all lists.
async fn agents_and_sessions(store: &SledStore, acme: &TenantId, writer: u8, steps: u64) -> Result<(), StoreError> {
    let id = AgentId::from_bytes([writer; 16]);
    let expected = (steps > 0).then(|| agent_of(writer, steps));
    assert_eq!(store.agent(acme, id).await?, expected);
    assert_eq!(store.agent_versions(acme, id, None, usize::MAX).await?.items.len() as u64, steps);
    if let Some(expected) = expected {
        assert_eq!(store.agent_by_name(acme, &expected.config.name).await?.as_ref(), Some(&expected));
    }
    if steps > 1 {
        assert_eq!(store.agent_by_name(acme, &agent_of(writer, steps - 1).config.name).await?, None);
    }
    let mut there = Vec::new();
    for seq in (1..=steps).rev() {
        let own = run_of_step(writer, seq);
        let is_there = store.session(acme, &own.session_id).await?.is_some();
        let found = [
            !store.messages(acme, &own.session_id, 1).await?.is_empty(),
            store.run(acme, own.id).await?.is_some(),
            store.events(acme, own.id, 0, 10).await?.len() == 3,
        ];
        assert_eq!(found, [is_there; 3], "half of session {} is there", own.session_id);
        // The removal that follows the last step may have been begun or not; those before it were waited for.
        if removed_after(writer, seq + 3).is_none() || seq + 3 > steps {
            assert!(is_there, "session {} is not there", own.session_id);
        } else if seq + 3 < steps {
            assert!(!is_there, "session {} came back", own.session_id);
        }
        there.extend(is_there.then_some(own.session_id));
    }
    let all = SessionFilter { agent: Some(id), limit: usize::MAX, ..SessionFilter::default() };
    let listed = store.sessions(acme, all).await?.items.into_iter().map(|session| session.id);
    assert!(listed.eq(there.iter().cloned()));
    assert_eq!(store.count_sessions(acme, Some(id)).await?, there.len() as u64);
    Ok(())
}

/// Takes step `seq`, and removes what goes after it.
async fn take_step(store: &SledStore, acme: &TenantId, writer: u8, seq: u64) -> Result<(), StoreError> {
    store.commit(acme, step(writer, seq)).await?;
    if let Some(session) = removed_after(writer, seq) {
        assert!(store.delete_session(acme, &session).await?);
    }
    Ok(())
}

/// Not a promise: what the child processes of the promises below run. Writes until it is killed or refused, and prints
/// each acknowledgement.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(folder) = std::env::var_os(CHILD) else { return };
    let store = std::sync::Arc::new(SledStore::open_with(folder, SMALL).unwrap().0);
    let acme = tenant("acme");
    let writers = (REMOVERS..REMOVERS + 4).map(|writer| {
        let (store, acme) = (store.clone(), acme.clone());
        tokio::spawn(async move {
            let mut seq = steps(&store, &acme, writer).await.unwrap();
            // The process before may have been killed between the last step and what goes after it.
            if let Some(session) = removed_after(writer, seq) {
                store.delete_session(&acme, &session).await.unwrap();
            }
            loop {
                if let Err(refused) = take_step(&store, &acme, writer, seq + 1).await {
                    assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}");
                    println!("refused {refused}");
                    break;
                }
                seq += 1;
                println!("kept {writer} {seq}");
            }
            // What was kept is read, and nothing else; or it is refused: sled may want to tidy up before it answers.
            match steps(&store, &acme, writer).await {
                // The step may be there whose removal was refused.
                Ok(found) => assert!(found == seq || found == seq + 1 && removed_after(writer, found).is_some()),
                Err(refused) => assert!(matches!(refused, StoreError::Unavailable(_)), "{refused}"),
            }
        })
    });
    futures::future::join_all(writers.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    assert!(store.check_writable().await.is_err());
}

fn start(mut command: Command, folder: &Path) -> (Child, impl Iterator<Item = String> + use<>) {
    command.env(CHILD, folder).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    (child, lines)
}

fn this_test() -> PathBuf {
    std::env::current_exe().unwrap()
}

/// The writer and the number in a line that acknowledges.
fn acknowledged(line: &str) -> Option<(u8, u64)> {
    // The test harness may print on the same line before us.
    let (_, rest) = line.split_once("kept ")?;
    let (writer, seq) = rest.split_once(' ')?;
    Some((writer.parse().ok()?, seq.parse().ok()?))
}

async fn check_kept(folder: &Path, kept: &BTreeMap<u8, u64>) -> OpenReport {
    let (store, report) = SledStore::open_with(folder, SMALL).unwrap();
    for (writer, seq) in kept {
        let found = steps(&store, &tenant("acme"), *writer).await.unwrap();
        assert!(found >= *seq, "writer {writer} was told of {seq}, and {found} are there");
    }
    report
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_and_nothing_torn_when_the_process_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = BTreeMap::new();
    let mut recovered = 0;
    for round in 0..12_usize {
        let mut command = Command::new(this_test());
        command.args(["--exact", "child", "--nocapture"]);
        let (mut child, mut lines) = start(command, folder.path());
        // Killed after another number of acknowledgements each time, wherever its threads are then.
        let mut wanted = 10 + round * 37;
        while wanted > 0 {
            let line = lines.next().expect("the child writes until it is killed");
            if let Some((writer, seq)) = acknowledged(&line) {
                kept.insert(writer, seq);
                wanted -= 1;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kept.extend(lines.filter_map(|line| acknowledged(&line)));
        let report = check_kept(folder.path(), &kept).await;
        recovered += report.replayed_groups;
    }
    assert!(recovered > 0, "no kill ever found anything in the journal");
}

#[tokio::test]
async fn a_disk_that_refuses_is_an_error_to_the_caller_and_loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    // A limit on the size of a file is what a full disk looks like to the trees: their next write fails. In units of
    // 512 bytes; the shell ignores the signal that would come with it.
    let mut command = Command::new("sh");
    let limited = "trap '' XFSZ; ulimit -f 4096; exec \"$0\" --exact child --nocapture";
    command.args(["-c", limited]).arg(this_test());
    let (mut child, lines) = start(command, folder.path());
    let (mut kept, mut refusals) = (BTreeMap::new(), Vec::new());
    for line in lines {
        match acknowledged(&line) {
            Some(step) => kept.extend([step]),
            None => refusals.extend(line.split_once("refused ").map(|(_, reason)| reason.to_owned())),
        }
    }
    assert!(child.wait().unwrap().success());
    assert_eq!(refusals.len(), 4, "{refusals:?}");
    check_kept(folder.path(), &kept).await;
}

#[tokio::test]
async fn on_a_disk_that_is_nearly_full_commits_are_refused_and_reads_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let acme = tenant("acme");
    let no_room = StoreOptions { reserve_bytes: u64::MAX, ..SMALL };
    let (store, _) = SledStore::open_with(folder.path(), no_room).unwrap();
    let mut kept = 0;
    let refused = loop {
        match store.commit(&acme, step(0, kept + 1)).await {
            Ok(()) => kept += 1,
            Err(refused) => break refused,
        }
    };
    assert!(refused.to_string().contains("bytes free, and writing needs"), "{refused}");
    assert!(matches!(store.check_writable().await, Err(StoreError::Unavailable(_))));
    assert_eq!(steps(&store, &acme, 0).await.unwrap(), kept);
    drop(store);

    let (store, report) = SledStore::open_with(folder.path(), SMALL).unwrap();
    assert!(report.replayed_groups > 0, "{report}");
    assert_eq!(steps(&store, &acme, 0).await.unwrap(), kept);
    store.commit(&acme, step(0, kept + 1)).await.unwrap();
    store.check_writable().await.unwrap();
}

#[tokio::test]
async fn a_store_that_was_closed_opens_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let acme = tenant("acme");
    let (store, report) = SledStore::open_with(folder.path(), SMALL).unwrap();
    assert!(report.created);
    // The last ones are not waited for: closing finishes what is in line.
    let mut calls: Vec<_> = (1..=100).map(|seq| store.commit(&acme, step(1, seq))).collect();
    drop(calls.split_off(50));
    drop(store);
    for call in calls {
        call.await.unwrap();
    }
    let (store, report) = SledStore::open_with(folder.path(), SMALL).unwrap();
    assert_eq!(report.to_string(), "the store was closed cleanly");
    assert_eq!(steps(&store, &acme, 1).await.unwrap(), 100);
}

#[tokio::test]
async fn a_folder_is_open_once() {
    let folder = tempfile::tempdir().unwrap();
    let _first = open(&folder);
    let second = SledStore::open_with(folder.path(), SMALL);
    assert!(matches!(second, Err(StoreError::Unavailable(_))), "{:?}", second.map(|(_, report)| report));
}

/// A store with a hundred steps, closed.
async fn closed_store() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for seq in 1..=100 {
        store.commit(&tenant("acme"), step(2, seq)).await.unwrap();
    }
    folder
}

/// Opens and reads everything: each is right or a typed error; none is missing without a word.
async fn right_or_refused(folder: &Path, what: &str) -> bool {
    let store = match SledStore::open_with(folder, SMALL) {
        Ok((store, _)) => store,
        Err(StoreError::Corrupt(_) | StoreError::Unavailable(_)) => return false,
        Err(other) => panic!("{what}: {other}"),
    };
    let log = store.events(&tenant("acme"), run_of(2), 0, 1000).await;
    let said = store.messages(&tenant("acme"), &session("s2"), 1000).await;
    for found in [log.map(|log| log.len()), said.map(|said| said.len())] {
        match found {
            Ok(found) => assert_eq!(found, 100, "{what}: something is missing without a word"),
            Err(StoreError::Corrupt(_) | StoreError::Unavailable(_)) => return false,
            Err(other) => panic!("{what}: {other}"),
        }
    }
    true
}

#[tokio::test]
async fn a_truncated_store_is_refused_not_shortened() {
    let folder = closed_store().await;
    let file = folder.path().join("tree/db");
    let whole = std::fs::read(&file).unwrap();
    // sled's file ends in empty space: cut where there is something.
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for length in [0, 1, 1000, used / 4, used / 2, used - 1000] {
        std::fs::write(&file, &whole[..length]).unwrap();
        assert!(!right_or_refused(folder.path(), &format!("cut to {length}")).await, "cut to {length} and not noticed");
    }
}

#[tokio::test]
async fn a_damaged_store_is_refused_not_misread() {
    let folder = closed_store().await;
    let file = folder.path().join("tree/db");
    let whole = std::fs::read(&file).unwrap();
    let used = whole.iter().rposition(|byte| *byte != 0).unwrap();
    let mut noticed = 0;
    for at in (0..used).step_by(used / 23) {
        let mut damaged = whole.clone();
        damaged[at..(at + 16).min(used)].iter_mut().for_each(|byte| *byte ^= 0x5a);
        std::fs::write(&file, &damaged).unwrap();
        noticed += usize::from(!right_or_refused(folder.path(), &format!("damaged at {at}")).await);
    }
    assert!(noticed > 0);
}

#[tokio::test]
async fn a_lost_tree_is_not_taken_for_a_new_store() {
    let folder = closed_store().await;
    std::fs::remove_dir_all(folder.path().join("tree")).unwrap();
    let lost = SledStore::open_with(folder.path(), SMALL).err().unwrap();
    assert!(lost.to_string().contains("what lies between is lost"), "{lost}");
}

#[tokio::test]
async fn a_damaged_blob_is_refused_and_can_be_put_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    let bytes = bytes::Bytes::from_static(b"a page");
    let hash = store.put_blob(&acme, bytes.clone()).await.unwrap();
    let name = hash.to_string();
    std::fs::write(folder.path().join("blobs/acme").join(&name[..2]).join(&name), b"a pagf").unwrap();
    assert!(matches!(store.blob(&acme, hash).await, Err(StoreError::Corrupt(_))));
    store.put_blob(&acme, bytes.clone()).await.unwrap();
    assert_eq!(store.blob(&acme, hash).await.unwrap(), Some(bytes));
}

#[tokio::test]
async fn a_batch_that_is_far_too_large_is_refused_by_itself() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    let huge = bytes::Bytes::from(vec![b'x'; 70 << 20]);
    let write = Write::AppendEvents { run: run_of(1), first_seq: 1, events: vec![huge] };
    assert!(matches!(store.commit(&acme, batch([write])).await, Err(StoreError::Refused(_))));
    store.commit(&acme, step(1, 1)).await.unwrap();
}
