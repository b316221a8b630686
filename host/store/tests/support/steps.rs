//! Steps: batches that write to many tables at once, and the check that each is there whole or not at all.

use vivarium_domain::{Agent, AgentId, AgentRef, AuditBy, Run, RunId, RunStatus, SessionId, TenantId};
use vivarium_store::{Batch, SessionFilter, SledStore, Store, StoreError};

use super::*;

/// Writers from this number on remove sessions, too.
pub(crate) const REMOVERS: u8 = 10;

/// The run of the writer with this number: the same in every process.
pub(crate) fn run_of(writer: u8) -> RunId {
    RunId::from_bytes([writer; 16])
}

/// The agent of the writer, and how it is in version `seq`.
pub(crate) fn agent_of(writer: u8, seq: u64) -> Agent {
    let prompt = if seq.is_multiple_of(20) { "large ".repeat(20_000) } else { format!("prompt {seq}") };
    let mut agent = agent(&format!("agent of {writer}, version {seq}"));
    agent.config.prompt = prompt;
    Agent { id: AgentId::from_bytes([writer; 16]), version: seq, ..agent }
}

/// The run of one step, in a session of its own.
pub(crate) fn run_of_step(writer: u8, seq: u64) -> Run {
    let [a, b, c, d, e, f, g, h] = seq.to_be_bytes();
    let id = RunId::from_bytes([writer, 0, 0, 0, 0, 0, 0, 1, a, b, c, d, e, f, g, h]);
    let agent = Some(AgentRef { id: AgentId::from_bytes([writer; 16]), version: seq });
    Run { id, agent, ..run(&format!("t{writer}-{seq}"), RunStatus::Completed) }
}

/// Event and message `seq`, the agent's next version, and a session with a run, together: one must never be there without
/// the others. Some are large.
pub(crate) fn step(writer: u8, seq: u64) -> Batch {
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
pub(crate) fn removed_after(writer: u8, seq: u64) -> Option<SessionId> {
    (writer >= REMOVERS && seq > 0 && seq.is_multiple_of(5)).then(|| run_of_step(writer, seq - 3).session_id)
}

/// How many steps of a writer are there; each is whole and in its place.
pub(crate) async fn steps(store: &SledStore, acme: &TenantId, writer: u8) -> Result<u64, StoreError> {
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
pub(crate) async fn agents_and_sessions(
    store: &SledStore,
    acme: &TenantId,
    writer: u8,
    steps: u64,
) -> Result<(), StoreError> {
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
pub(crate) async fn take_step(store: &SledStore, acme: &TenantId, writer: u8, seq: u64) -> Result<(), StoreError> {
    store.commit(acme, step(writer, seq)).await?;
    if let Some(session) = removed_after(writer, seq) {
        assert!(store.delete_session(acme, &session, &AuditBy::HOST).await?);
    }
    Ok(())
}
