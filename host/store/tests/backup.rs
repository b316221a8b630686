//! A backup of a store that is in use, and what comes back of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod support;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use support::steps::*;
use support::*;
use vivarium_domain::{AuditBy, ContentHash, RunId, RunStatus, TenantId};
use vivarium_store::{BackupPiece, BackupPieces, Examined, OpenReport, Restore, SledStore, Store, StoreError};

/// The pieces as they would lie in a file.
enum Kept {
    Records(Bytes),
    Blob(TenantId, ContentHash, Vec<u8>),
}

fn take(piece: BackupPiece) -> Kept {
    match piece {
        BackupPiece::Records(piece) => Kept::Records(piece),
        BackupPiece::Blob { tenant, hash, mut content, length } => {
            let mut bytes = Vec::new();
            content.read_to_end(&mut bytes).unwrap();
            assert_eq!(bytes.len() as u64, length);
            Kept::Blob(tenant, hash, bytes)
        }
    }
}

async fn all_of(pieces: BackupPieces) -> Vec<Kept> {
    tokio::task::spawn_blocking(move || pieces.map(|piece| take(piece.unwrap())).collect()).await.unwrap()
}

fn restore(pieces: &[Kept], schema: u32, folder: &Path) -> OpenReport {
    let mut restore = Restore::begin(folder, schema).unwrap();
    for piece in pieces {
        match piece {
            Kept::Records(piece) => restore.records(piece).unwrap(),
            Kept::Blob(tenant, hash, bytes) => restore.blob(tenant, *hash, &mut bytes.as_slice()).unwrap(),
        }
    }
    restore.finish().unwrap()
}

/// What the examination has to say, but for the logs: those of the steps tell no run's end.
fn complaints(store: &SledStore) -> Vec<String> {
    let parts = store.examine().into_iter().filter(|part| !matches!(part.name, "runs"));
    parts.flat_map(|Examined { errors, .. }| errors).collect()
}

/// One writer's counts: what was acknowledged to it.
type Acknowledged = Arc<[AtomicU64; 4]>;

/// Takes steps until it is told to stop; beside them come runs with texts, of which half go again with their sessions.
async fn write(store: Arc<SledStore>, number: u8, kept: Acknowledged, stop: Arc<AtomicBool>) {
    let (acme, writer) = (tenant("acme"), REMOVERS + number);
    let mut seq = 0;
    while !stop.load(Ordering::Relaxed) {
        seq += 1;
        take_step(&store, &acme, writer, seq).await.unwrap();
        kept[usize::from(number)].store(seq, Ordering::SeqCst);
        let text = store.put_blob(&acme, Bytes::from(format!("text {number} {seq}"))).await.unwrap();
        let name = format!("b{number}-{seq}");
        let reader = run(&name, RunStatus::Running);
        let writes = [put(&reader), ensure(&made(&name, 0, None)), with_source(reader.id, text)];
        store.commit(&acme, batch(writes)).await.unwrap();
        if seq.is_multiple_of(2) {
            assert!(store.delete_session(&acme, &session(&name), &AuditBy::HOST).await.unwrap());
        }
    }
}

fn with_source(run: RunId, text: ContentHash) -> vivarium_store::Write {
    vivarium_store::Write::AppendEvents { run, first_seq: 1, events: vec![source_event(1, text)] }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_backup_of_a_busy_store_is_the_store_of_one_moment() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (Arc::new(open(&folder)), tenant("acme"));
    let (kept, stop) = (Acknowledged::default(), Arc::new(AtomicBool::new(false)));
    let writers: Vec<_> =
        (0..4).map(|number| tokio::spawn(write(store.clone(), number, kept.clone(), stop.clone()))).collect();
    let counts = || kept.each_ref().map(|count| count.load(Ordering::SeqCst));
    let mut taken = Vec::new();
    let mut before = [20; 4];
    for _ in 0..4 {
        // So that each backup begins with more in the store than the one before.
        while counts().iter().zip(before).any(|(count, before)| *count < before + 20) {
            tokio::task::yield_now().await;
        }
        before = counts();
        let pieces = all_of(store.backup().await.unwrap()).await;
        taken.push((before, pieces, counts()));
    }
    stop.store(true, Ordering::Relaxed);
    for writer in writers {
        writer.await.unwrap();
    }
    assert_eq!(complaints(&store), [""; 0]);
    let mut grown = 0;
    for (before, pieces, after) in taken {
        let folder = tempfile::tempdir().unwrap();
        let report = restore(&pieces, store.schema(), folder.path());
        assert!(report.replayed_groups == 0 && report.migrated_from.is_none(), "{report}");
        let restored = open(&folder);
        assert_eq!(complaints(&restored), [""; 0]);
        for number in 0..4_u8 {
            let found = steps(&restored, &acme, REMOVERS + number).await.unwrap();
            let at_least = before[usize::from(number)];
            assert!(found >= at_least, "{at_least} steps were acknowledged before, {found} are there");
            // One may be under way that nobody has counted yet.
            assert!(found <= after[usize::from(number)] + 1);
            grown += found - at_least;
        }
    }
    assert!(grown > 0, "nothing was ever written while a backup was made");
}

#[tokio::test]
async fn a_backup_of_a_quiet_store_is_all_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    for seq in 1..=50 {
        take_step(&store, &acme, 1, seq).await.unwrap();
    }
    let text = store.put_blob(&acme, Bytes::from_static(b"a page")).await.unwrap();
    let pieces = all_of(store.backup().await.unwrap()).await;
    let restored = tempfile::tempdir().unwrap();
    assert!(restore(&pieces, store.schema(), restored.path()).is_clean());
    let restored = open(&restored);
    assert_eq!(steps(&restored, &acme, 1).await.unwrap(), 50);
    assert_eq!(restored.blob(&acme, text).await.unwrap(), store.blob(&acme, text).await.unwrap());
    // And it goes on from there.
    take_step(&restored, &acme, 1, 51).await.unwrap();
    assert_eq!(steps(&restored, &acme, 1).await.unwrap(), 51);
}

#[tokio::test]
async fn what_a_backup_refers_to_is_not_removed_under_it_and_goes_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    let put = async |text: &'static str| store.put_blob(&acme, Bytes::from_static(text.as_bytes())).await.unwrap();
    let (page, file, again) = (put("a page").await, put("a file").await, put("comes back").await);
    let reader = run("s", RunStatus::Running);
    let writes = [support::put(&reader), ensure(&made("s", 0, None)), with_source(reader.id, page)];
    store.commit(&acme, batch(writes)).await.unwrap();

    let pieces = store.backup().await.unwrap();
    assert!(store.delete_session(&acme, &session("s"), &AuditBy::HOST).await.unwrap());
    store.delete_blob(&acme, file).await.unwrap();
    store.delete_blob(&acme, again).await.unwrap();
    put("comes back").await;
    let blobs: BTreeMap<_, _> = all_of(pieces)
        .await
        .into_iter()
        .filter_map(|piece| if let Kept::Blob(_, hash, bytes) = piece { Some((hash, bytes)) } else { None })
        .collect();
    assert_eq!(blobs[&page], b"a page");
    assert_eq!(blobs[&file], b"a file");
    assert_eq!(store.blob(&acme, file).await.unwrap(), None);
    assert!(store.blob(&acme, again).await.unwrap().is_some());
    // What the session referred to goes with the next removal, or with the next start.
    drop(store);
    let store = open(&folder);
    assert_eq!(store.blob(&acme, page).await.unwrap(), None);
}

#[tokio::test]
async fn a_run_that_was_settled_and_removed_under_a_backup_is_not_half_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    let reader = run("s", RunStatus::Running);
    store.commit(&acme, batch([put(&reader), ensure(&made("s", 0, None)), events(reader.id, 1..=1)])).await.unwrap();
    let pieces = store.backup().await.unwrap();
    // Some turns of the small journals: by the end most of it lies in the trees.
    for seq in 2..=2000 {
        store.commit(&acme, batch([events(reader.id, seq..=seq)])).await.unwrap();
    }
    assert!(store.delete_session(&acme, &session("s"), &AuditBy::HOST).await.unwrap());
    let restored = tempfile::tempdir().unwrap();
    restore(&all_of(pieces).await, store.schema(), restored.path());
    let restored = open(&restored);
    assert_eq!(restored.events(&acme, reader.id, 0, 10).await.unwrap(), []);
    for part in restored.examine() {
        assert!(part.errors.is_empty() && part.warnings.is_empty(), "{part:#?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenant_that_is_removed_under_a_backup_is_whole_in_it_or_on_its_way_out() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (Arc::new(open(&folder)), tenant("acme"));
    let text = store.put_blob(&acme, Bytes::from_static(b"a page")).await.unwrap();
    let record = vivarium_domain::Tenant::new(acme.clone(), vivarium_domain::Tier::Max, at(0));
    let reader = run("s", RunStatus::Running);
    let writes = [
        vivarium_store::Write::PutTenant(record),
        put(&reader),
        ensure(&made("s", 0, None)),
        with_source(reader.id, text),
    ];
    store.commit(&acme, batch(writes)).await.unwrap();
    let pieces = store.backup().await.unwrap();
    assert!(store.close_tenant(&acme, &AuditBy::HOST).await.unwrap());
    let (of, gone) = (store.clone(), acme.clone());
    let removing = tokio::spawn(async move { of.delete_closed_tenant(&gone).await });
    let taken = all_of(pieces).await;
    removing.await.unwrap().unwrap();
    assert_eq!(store.blob(&acme, text).await.unwrap(), None);
    let restored = tempfile::tempdir().unwrap();
    restore(&taken, store.schema(), restored.path());
    let restored = open(&restored);
    assert_eq!(complaints(&restored), [""; 0]);
    if restored.closed_tenants().await.unwrap() == [acme.clone()] {
        restored.delete_closed_tenant(&acme).await.unwrap();
    }
    assert!(
        restored.examine().iter().all(|part| part.count == 0 || of_the_operator(part.name)),
        "{:#?}",
        restored.examine()
    );
}

/// What the operator's chain of the audit log is found in, which says that the tenant has gone; and files of nobody's.
fn of_the_operator(part: &str) -> bool {
    matches!(part, "blobs" | "records" | "audit log")
}

#[tokio::test]
async fn one_backup_is_made_at_a_time_and_one_that_is_given_up_stands_in_nobodys_way() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    take_step(&store, &acme, 1, 1).await.unwrap();
    let mut pieces = store.backup().await.unwrap();
    assert!(matches!(store.backup().await, Err(StoreError::Refused(_))));
    assert!(pieces.next().unwrap().is_ok());
    drop(pieces);
    for seq in 2..=200 {
        take_step(&store, &acme, 1, seq).await.unwrap();
    }
    assert!(!all_of(store.backup().await.unwrap()).await.is_empty());
    assert_eq!(steps(&store, &acme, 1).await.unwrap(), 200);
}

#[tokio::test]
async fn a_backup_of_another_form_is_refused_and_so_is_a_folder_that_holds_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    let newer = tempfile::tempdir().unwrap();
    let refused = Restore::begin(newer.path(), store.schema() + 1).err().unwrap();
    assert!(refused.to_string().contains("this program reads 1 to"), "{refused}");
    drop(store);
    assert!(matches!(Restore::begin(folder.path(), 1), Err(StoreError::Refused(_))));
}

#[tokio::test]
async fn a_backup_of_an_earlier_form_is_brought_into_the_present_one() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    for seq in 1..=20 {
        take_step(&store, &acme, 1, seq).await.unwrap();
    }
    let pieces = all_of(store.backup().await.unwrap()).await;
    let restored = tempfile::tempdir().unwrap();
    // What the form before did not have is there, and is worked out again.
    let report = restore(&pieces, store.schema() - 1, restored.path());
    assert_eq!(report.migrated_from, Some(store.schema() - 1));
    let restored = open(&restored);
    assert_eq!(steps(&restored, &acme, 1).await.unwrap(), 20);
    assert_eq!(complaints(&restored), [""; 0]);
}

#[tokio::test]
async fn a_damaged_record_fails_a_backup_in_words() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for seq in 1..=100 {
        take_step(&store, &tenant("acme"), 2, seq).await.unwrap();
    }
    drop(store);
    let file = folder.path().join("tree/db");
    let mut bytes = std::fs::read(&file).unwrap();
    // A message's text, wherever sled has put it: also where it stood before.
    let all: Vec<_> =
        bytes.windows(7).enumerate().filter(|(_, window)| *window == b"step 57").map(|(at, _)| at).collect();
    assert!(!all.is_empty());
    all.into_iter().for_each(|at| bytes[at] ^= 1);
    std::fs::write(&file, bytes).unwrap();
    // sled's own checksums or ours: one of them tells, here or there.
    let Ok((store, _)) = SledStore::open_with(folder.path(), SMALL) else { return };
    let pieces = store.backup().await.unwrap();
    let told = tokio::task::spawn_blocking(move || pieces.filter_map(Result::err).collect::<Vec<_>>()).await.unwrap();
    assert!(matches!(told.as_slice(), [StoreError::Corrupt(_)]), "{told:?}");
    assert!(!complaints(&store).is_empty());
}
