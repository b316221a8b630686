//! The audit log: what is noted is there with what it tells of, in a chain that nobody can change unseen.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod support;

use std::sync::Arc;

use support::*;
use vivarium_domain::{
    AuditAction, AuditBy, AuditCheck, AuditEntry, AuditFault, AuditHead, Team, TeamId, Tenant, TenantId, Tier,
};
use vivarium_store::{BackupPiece, Batch, Condition, Restore, SledStore, Store, Write};

fn noted(target: &str) -> Write {
    AuditBy::HOST.did(AuditAction::KeyCreated, target).into()
}

async fn chain(store: &SledStore, tenant: &TenantId) -> Vec<AuditEntry> {
    store.audit_from(tenant, 0, usize::MAX).await.unwrap().items
}

async fn verified(store: &SledStore, tenant: &TenantId) -> (AuditHead, Vec<AuditFault>) {
    let mut check = AuditCheck::new(tenant, None);
    chain(store, tenant).await.iter().for_each(|entry| check.next(entry));
    check.end(store.audit_head(tenant).await.unwrap())
}

fn team(number: u32) -> Write {
    Write::PutTeam(Team { id: TeamId::new(number).unwrap(), name: "a team".to_owned(), created_at: at(0) })
}

#[tokio::test]
async fn an_entry_is_there_with_what_it_tells_of_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    let refused =
        Batch { conditions: vec![Condition::SessionExists(session("none"))], writes: vec![team(2), noted("refused")] };
    store.commit(&acme, refused).await.unwrap_err();
    assert_eq!((chain(&store, &acme).await, store.teams(&acme).await.unwrap()), (vec![], vec![]));
    store.commit(&acme, batch([team(2), noted("done")])).await.unwrap();
    let entries = chain(&store, &acme).await;
    assert_eq!(entries.iter().map(|entry| entry.target.as_str()).collect::<Vec<_>>(), ["done"]);
    assert_eq!(store.teams(&acme).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chains_are_whole_whoever_writes_at_once_and_however_the_store_is_left() {
    let folder = tempfile::tempdir().unwrap();
    let (acme, other) = (tenant("acme"), tenant("other"));
    for opened in 1..=3_u64 {
        let store = Arc::new(open(&folder));
        let writers = (0..8).map(|number| {
            let (store, tenant) = (store.clone(), if number % 2 == 0 { acme.clone() } else { other.clone() });
            tokio::spawn(async move {
                for count in 0..20 {
                    // Two in one batch now and then.
                    let more = (count % 5 == 0).then(|| noted("more"));
                    store.commit(&tenant, batch([noted("one")].into_iter().chain(more))).await.unwrap();
                }
            })
        });
        for writer in writers.collect::<Vec<_>>() {
            writer.await.unwrap();
        }
        for tenant in [&acme, &other] {
            let (head, faults) = verified(&store, tenant).await;
            assert_eq!((head.seq, faults), (opened * 4 * 24, vec![]));
        }
        assert!(store.examine().iter().all(|part| part.errors.is_empty()), "{:?}", store.examine());
    }
}

#[tokio::test]
async fn pages_show_the_newest_first() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    for number in 1..=5 {
        store.commit(&acme, batch([noted(&number.to_string())])).await.unwrap();
    }
    let first = store.audit(&acme, None, 2).await.unwrap();
    assert_eq!(first.items.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [5, 4]);
    let next = store.audit(&acme, first.next, 3).await.unwrap();
    assert_eq!(next.items.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [3, 2, 1]);
    assert_eq!(next.next, None);
    // The other's id begins with the one's.
    assert_eq!(store.audit(&tenant("acme2"), None, 10).await.unwrap().items, []);
}

#[tokio::test]
async fn the_end_of_a_tenant_is_told_by_the_operators_chain_with_the_end_of_its_own() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme) = (open(&folder), tenant("acme"));
    let record = Tenant::new(acme.clone(), Tier::Max, at(0));
    store.commit(&acme, batch([Write::PutTenant(record), noted("one"), noted("two")])).await.unwrap();
    let end = store.audit_head(&acme).await.unwrap();
    assert_eq!(end.seq, 2);
    assert!(store.close_tenant(&acme, &AuditBy::CLI).await.unwrap());
    store.delete_closed_tenant(&acme).await.unwrap();
    let told = chain(&store, &TenantId::operator()).await;
    assert_eq!((told[0].action, told[0].target.as_str()), (AuditAction::TenantDeleted, "acme"));
    assert_eq!(told[0].details["chain"], serde_json::to_value(end).unwrap());
    // Another tenant of the same id begins a chain of its own.
    assert_eq!(chain(&store, &acme).await, []);
    store.commit(&acme, batch([noted("anew")])).await.unwrap();
    assert_eq!(verified(&store, &acme).await.0.seq, 1);
    assert_eq!(verified(&store, &acme).await.1, []);
}

#[tokio::test]
async fn a_backup_holds_the_chains_and_they_go_on_where_it_was_restored() {
    let (folder, restored) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, acme) = (open(&folder), tenant("acme"));
    store.commit(&acme, batch([noted("one"), noted("two")])).await.unwrap();
    let pieces = store.backup().await.unwrap();
    let schema = store.schema();
    let into = restored.path().to_owned();
    tokio::task::spawn_blocking(move || {
        let mut restore = Restore::begin(&into, schema).unwrap();
        for piece in pieces {
            match piece.unwrap() {
                BackupPiece::Records(records) => restore.records(&records).unwrap(),
                BackupPiece::Blob { .. } => panic!("there are no texts"),
            }
        }
        restore.finish().unwrap();
    })
    .await
    .unwrap();
    let restored = open(&restored);
    assert_eq!(chain(&restored, &acme).await, chain(&store, &acme).await);
    restored.commit(&acme, batch([noted("three")])).await.unwrap();
    let (head, faults) = verified(&restored, &acme).await;
    assert_eq!((head.seq, faults), (3, vec![]));
}
