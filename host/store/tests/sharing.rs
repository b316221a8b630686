//! What many callers share, and what they do not: a sync, and nothing else.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a failed expectation is a failed test"
)]

mod support;

use std::collections::BTreeMap;

use futures::future::join_all;
use proptest::prelude::*;
use support::*;
use vivarium_domain::{
    Agent, AgentRef, AuditBy, ContentHash, CorpusDocument, DocumentId, Run, RunId, RunStatus, SessionMessage,
};
use vivarium_store::{AgentFilter, RunFilter, SessionFilter, SledStore, Store, Write};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_batches_share_syncs() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = SledStore::open(folder.path()).unwrap();
    let acme = tenant("acme");
    let calls = (0..1000).map(|_| store.commit(&acme, batch([events(RunId::new(), 1..=1)])));
    join_all(calls.collect::<Vec<_>>()).await.into_iter().for_each(Result::unwrap);
    assert_eq!(store.batches(), 1000);
    // In line at once and taken in groups: were each synced alone, these would be a thousand.
    assert!(store.flushes() < 250, "{} syncs for 1000 batches", store.flushes());
}

#[tokio::test]
async fn a_batch_alone_is_synced_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(&folder);
    for seq in 1..=20 {
        store.commit(&tenant("acme"), batch([events(RunId::from_bytes([1; 16]), seq..=seq)])).await.unwrap();
        assert_eq!(store.flushes(), seq);
    }
}

#[tokio::test]
async fn reads_see_the_same_before_while_and_after_the_journal_is_settled() {
    let folder = tempfile::tempdir().unwrap();
    let (store, acme, id) = (open(&folder), tenant("acme"), RunId::new());
    let mut unfinished = Vec::new();
    // Hundreds of turns of the small journals; every read crosses both layers and the trees.
    for seq in 1..=1500_u64 {
        let mut one = run("s", RunStatus::Running);
        store.commit(&acme, batch([events(id, seq..=seq), put(&one)])).await.unwrap();
        if seq % 3 == 0 {
            one.status = RunStatus::Completed;
            store.commit(&acme, batch([put(&one)])).await.unwrap();
        } else {
            unfinished.push(one.id);
        }
        if seq % 250 == 0 {
            let log = store.events(&acme, id, 0, usize::MAX).await.unwrap();
            assert!(log.iter().map(|(number, _)| *number).eq(1..=seq));
            let running = RunFilter { status: Some(RunStatus::Running), limit: usize::MAX, ..RunFilter::default() };
            let listed: Vec<_> =
                store.runs(&acme, running).await.unwrap().items.into_iter().map(|run| run.id).collect();
            assert!(listed.iter().eq(unfinished.iter().rev()));
        }
    }
}

/// What one tenant has under one name, used as the name of everything.
#[derive(Default)]
struct Owned {
    said: Vec<SessionMessage>,
    runs: Vec<RunId>,
    agent: Option<Agent>,
    document: Option<CorpusDocument>,
}

/// Writes a run with all that hangs on it.
async fn write(store: &SledStore, owner: &str, name: &str, count: usize, owned: &mut Owned) {
    let of = owned.agent.clone().unwrap_or_else(|| Agent { version: 0, ..agent(name) });
    let of = next(&of, |_| {});
    let reference = AgentRef { id: of.id, version: of.version };
    let made_run = Run { agent: Some(reference), ..run(name, RunStatus::Completed) };
    let said: Vec<_> = (0..count).map(|i| message(made_run.id, i as i64, &format!("{owner} {name} {i}"))).collect();
    let document = CorpusDocument {
        id: DocumentId::new(),
        corpus: name.to_owned(),
        name: owner.to_owned(),
        description: String::new(),
        media_type: "text/plain".to_owned(),
        length_bytes: 0,
        content: ContentHash::of(owner.as_bytes()),
        offset_bytes: None,
        external_id: None,
        metadata: serde_json::Map::new(),
        created_at: at(0),
    };
    let writes = [
        put(&made_run),
        put_agent(&of),
        ensure(&made(name, 0, Some(of.id))),
        messages(name, said.clone()),
        events(made_run.id, 1..=count as u64),
        Write::PutDocument(Box::new(document.clone())),
    ];
    store.commit(&tenant(owner), batch(writes)).await.unwrap();
    owned.said.extend(said);
    owned.runs.insert(0, made_run.id);
    owned.agent = Some(of);
    owned.document = Some(document);
}

/// A reader finds under a name what is its own, and nothing else.
async fn reads_its_own(
    store: &SledStore,
    reader: &str,
    name: &str,
    owned: Option<&Owned>,
) -> Result<(), TestCaseError> {
    let (nothing, reader) = (Owned::default(), tenant(reader));
    let owned = owned.unwrap_or(&nothing);
    prop_assert_eq!(&store.messages(&reader, &session(name), 1000).await.unwrap(), &owned.said);
    prop_assert_eq!(&store.messages_from(&reader, &session(name), 0, 1000).await.unwrap(), &owned.said);
    let of_session = RunFilter { session: Some(session(name)), limit: 1000, ..RunFilter::default() };
    let listed = store.runs(&reader, of_session).await.unwrap().items.into_iter().map(|run| run.id);
    prop_assert_eq!(listed.collect::<Vec<_>>(), owned.runs.clone());
    prop_assert_eq!(store.agent_by_name(&reader, name).await.unwrap(), owned.agent.clone());
    let documents = store.documents(&reader, name, None, 1).await.unwrap().items;
    prop_assert_eq!(documents.first(), owned.document.as_ref());
    Ok(())
}

/// The lists of a tenant hold exactly what is its own.
async fn lists_its_own(
    store: &SledStore,
    reader: &str,
    all: &BTreeMap<(String, String), Owned>,
) -> Result<(), TestCaseError> {
    let owned = || all.iter().filter(|((owner, _), owned)| owner == reader && !owned.runs.is_empty());
    let agents = all.iter().filter(|((owner, _), owned)| owner == reader && owned.agent.is_some()).count();
    let reader = tenant(reader);
    let everything = SessionFilter { limit: 1000, ..SessionFilter::default() };
    let sessions = store.sessions(&reader, everything.clone()).await.unwrap().items;
    let mut listed: Vec<_> = sessions.iter().map(|session| session.id.as_str()).collect();
    listed.sort_unstable();
    prop_assert_eq!(listed, owned().map(|((_, name), _)| name.as_str()).collect::<Vec<_>>());
    prop_assert_eq!(store.count_sessions(&reader, None).await.unwrap(), owned().count() as u64);
    let listed = store.agents(&reader, AgentFilter { limit: 1000, ..AgentFilter::default() }).await.unwrap().items;
    prop_assert_eq!(listed.len(), agents);
    for ((owner, _), one) in all {
        let Some(of) = &one.agent else { continue };
        let is_own = owner.as_str() == reader.as_str();
        prop_assert_eq!(store.agent(&reader, of.id).await.unwrap().is_some(), is_own);
        prop_assert_eq!(store.agent_version(&reader, of.id, 1).await.unwrap().is_some(), is_own);
        let with = SessionFilter { agent: Some(of.id), ..everything.clone() };
        let is_listed = is_own && !one.runs.is_empty();
        prop_assert_eq!(store.sessions(&reader, with).await.unwrap().items.len(), usize::from(is_listed));
        prop_assert_eq!(store.count_sessions(&reader, Some(of.id)).await.unwrap(), u64::from(is_listed));
        let runs = RunFilter { agent: Some(of.id), limit: 1000, ..RunFilter::default() };
        let expected = if is_own { one.runs.len() } else { 0 };
        prop_assert_eq!(store.runs(&reader, runs).await.unwrap().items.len(), expected);
        for run in &one.runs {
            prop_assert_eq!(store.events(&reader, *run, 0, 1000).await.unwrap().is_empty(), !is_own);
            prop_assert_eq!(store.run(&reader, *run).await.unwrap().is_some(), is_own);
        }
        let document = one.document.as_ref().unwrap().id;
        prop_assert_eq!(store.document(&reader, document).await.unwrap().is_some(), is_own);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    /// Ids that are prefixes of each other, that hold separators, that look like lengths: whoever writes and removes what,
    /// each tenant reads exactly its own.
    #[test]
    fn tenants_and_sessions_read_exactly_their_own(
        writes in proptest::collection::vec(("[a1_-]{1,3}", "[a/:0!~]{1,3}", 1..4_usize, 0..4_u8), 1..30),
        reopen: bool,
    ) {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let mut store = open(&folder);
            let mut all: BTreeMap<(String, String), Owned> = BTreeMap::new();
            let mut removed = Vec::new();
            for (owner, name, count, then) in &writes {
                let owned = all.entry((owner.clone(), name.clone())).or_default();
                write(&store, owner, name, *count, owned).await;
                if *then == 0 {
                    prop_assert!(store.delete_session(&tenant(owner), &session(name), &AuditBy::HOST).await.unwrap());
                    owned.said.clear();
                    removed.append(&mut owned.runs);
                }
            }
            if reopen {
                drop(store);
                store = open(&folder);
            }
            for (owner, ..) in &writes {
                for (_, name, ..) in &writes {
                    reads_its_own(&store, owner, name, all.get(&(owner.clone(), name.clone()))).await?;
                }
                lists_its_own(&store, owner, &all).await?;
                for run in &removed {
                    prop_assert_eq!(store.run(&tenant(owner), *run).await.unwrap(), None);
                    prop_assert!(store.events(&tenant(owner), *run, 0, 10).await.unwrap().is_empty());
                }
            }
            Ok(())
        })?;
    }
}
