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

use support::steps::*;
use support::*;
use vivarium_domain::AuditBy;
use vivarium_store::{OpenReport, SledStore, Store, StoreError, StoreOptions, Write};

const CHILD: &str = "VIVARIUM_STORE_TEST_FOLDER";

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
                store.delete_session(&acme, &session, &AuditBy::HOST).await.unwrap();
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
    // What it is about to write is nothing that a crash has left.
    let incoming = folder.path().join("incoming/7");
    std::fs::write(&incoming, "half a file").unwrap();
    let second = SledStore::open_with(folder.path(), SMALL);
    let told = second.err().unwrap().to_string();
    assert!(told.ends_with("tree is open in another process"), "{told}");
    assert!(incoming.exists());
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
