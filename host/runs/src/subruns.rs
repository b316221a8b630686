//! Agents as tools: a run starts a run of another agent of its tenant, waits for its end, and gets its answer. The tree of
//! runs is bounded in depth and in number; what happens below is shown above; who ends a run ends those that it has started.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::Deserialize;
use vivarium_domain::{
    AgentAsTool, AgentRef, ApprovalQuestion, Document, EventBody, Outcome, ParentRun, Run, RunId, RunStatus, TenantId,
    ToolDefinition, ToolName, ToolUsage,
};
use vivarium_registry::Catalog;
use vivarium_sandbox::{HostStop, ToolOutput, ToolReport};
use vivarium_sight::InSpan as _;
use vivarium_store::StoreError;

use crate::calls::{IntendedCall, Subrun, end_tool_span, told};
use crate::cursor::Cursor;
use crate::host::{RunHost, stopped};
use crate::journal::Journal;
use crate::log::LoggedEvent;
use crate::reader::{FollowError, Item, Reader};
use crate::request::{RunRequest, StartError};
use crate::service::{Runs, Shared};
use crate::tools::failed;
use crate::waits::WaitFor;

/// How many runs may stand above one.
const MAX_DEPTH: u32 = 4;

/// How many runs one that a client has started may start, those that these start included.
pub(crate) const MAX_SUBRUNS: u32 = 32;

/// The longest part of a tool's name that is made of an agent's.
const MAX_SLUG_CHARS: usize = 48;

/// What an agent takes as a tool.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AgentInput {
    input: String,
}

/// What came of following a run that was started as a tool.
enum News {
    /// It goes on.
    More,
    /// It has ended: the answer, or why there is none.
    Ended(Result<Outcome, String>),
}

impl Shared {
    /// The agents that a request's run may start, each with a tool's name that nothing else has.
    pub(crate) async fn agents_as_tools(
        &self,
        tenant: &TenantId,
        request: &RunRequest,
        catalog: &Catalog,
    ) -> Result<Vec<AgentAsTool>, StoreError> {
        let may_none = request.parent.is_some_and(|parent| parent.depth >= MAX_DEPTH || parent.subruns == 0);
        if may_none {
            return Ok(Vec::new());
        }
        let mut taken = BTreeSet::new();
        let mut tools = Vec::with_capacity(request.agents.len());
        for id in &request.agents {
            // One that was deleted since is left out.
            let Some(agent) = self.store.agent(tenant, *id).await? else { continue };
            let slug = slug(&agent.config.name);
            let numbered = (2..).map(|number: u32| format!("ask_{slug}_{number}"));
            let names = std::iter::once(format!("ask_{slug}")).chain(numbered);
            let free = names.map(|name| name.parse::<ToolName>()).find(|name| match name {
                Ok(name) => !catalog.knows_tool(name.as_str()) && taken.insert(name.clone()),
                Err(_) => true,
            });
            if let Some(Ok(tool)) = free {
                tools.push(AgentAsTool { tool, agent: AgentRef::from(&agent) });
            }
        }
        Ok(tools)
    }

    /// What a model is told of agents that are tools.
    pub(crate) async fn agent_definitions(
        &self,
        tenant: &TenantId,
        agents: &[AgentAsTool],
    ) -> Result<Vec<ToolDefinition>, StoreError> {
        let mut definitions = Vec::with_capacity(agents.len());
        for AgentAsTool { tool, agent } in agents {
            let found = self.store.agent_version(tenant, agent.id, agent.version).await?;
            let Some(config) = found.map(|agent| agent.config) else { continue };
            let about = if config.description.is_empty() { String::new() } else { format!(": {}", config.description) };
            definitions.push(ToolDefinition {
                name: tool.clone(),
                description: format!(
                    "Asks the agent {:?}{about}. It sees nothing of this conversation but the input, works on it, and \
                     gives back its answer.",
                    config.name
                ),
                input_schema: serde_json::json!({
                    "type": "object",
                    "properties": {"input": {
                        "type": "string",
                        "description": "What the agent is to do or to answer, with all that it needs to know."
                    }},
                    "required": ["input"],
                    "additionalProperties": false,
                }),
                read_only: false,
            });
        }
        Ok(definitions)
    }
}

/// An agent's name as a part of a tool's.
fn slug(name: &str) -> String {
    let plain = name.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { ' ' });
    let plain: String = plain.collect();
    let words: Vec<&str> = plain.split_whitespace().collect();
    let slug: String = words.join("_").chars().take(MAX_SLUG_CHARS).collect();
    if slug.is_empty() { "agent".to_owned() } else { slug }
}

impl RunHost {
    /// Runs an agent, or goes on with the run that this call has begun before, and gives its answer as a tool would.
    pub(crate) async fn call_agent(
        &self,
        agent: AgentRef,
        subrun: &Subrun,
        intended: &IntendedCall,
    ) -> Result<ToolReport, HostStop> {
        let input = match serde_json::from_str::<AgentInput>(&intended.call.arguments_json) {
            Ok(AgentInput { input }) if !input.trim().is_empty() => input,
            Ok(_) => return Ok(failed("invalid arguments: input must not be empty".to_owned())),
            Err(error) => return Ok(failed(format!("invalid arguments: {error}"))),
        };
        let _waiting = self.waits.begin(WaitFor::Run);
        let (span, began) = (self.tool_span(intended, Some(&intended.call.name), None), Instant::now());
        let report = self.ask_agent(agent, subrun, intended, input).within(&span).await?;
        let outcome = if report.result.is_ok() { "ok" } else { "error" };
        told("agent", outcome, Some(began));
        end_tool_span(&span, &report, outcome);
        Ok(report)
    }

    async fn ask_agent(
        &self,
        agent: AgentRef,
        subrun: &Subrun,
        intended: &IntendedCall,
        input: String,
    ) -> Result<ToolReport, HostStop> {
        if let Some(refused) = self.start_subrun(agent, subrun, input).await? {
            return Ok(failed(refused));
        }
        let answer = self.follow_subrun(subrun, &intended.id).await?;
        match answer {
            Ok(outcome) => {
                let documents = self.cited(subrun.run, &outcome).await.map_err(|error| stopped(&error))?;
                let output = ToolOutput { content: outcome.answer, documents };
                Ok(ToolReport { result: Ok(output), usage: ToolUsage::default(), denials: Vec::new() })
            }
            Err(message) => Ok(failed(message)),
        }
    }

    /// Starts the run, unless it was started before. Gives why it could not be.
    async fn start_subrun(&self, agent: AgentRef, subrun: &Subrun, input: String) -> Result<Option<String>, HostStop> {
        let store = &self.shared.store;
        if store.run(&self.tenant, subrun.run).await.map_err(|error| stopped(&error))?.is_some() {
            return Ok(None);
        }
        let found = store.agent_version(&self.tenant, agent.id, agent.version).await;
        let Some(found) = found.map_err(|error| stopped(&error))? else {
            return Ok(Some("not found: the agent was deleted".to_owned()));
        };
        let parent = ParentRun { run_id: self.run, depth: self.depth + 1, subruns: subrun.allowance };
        let request = RunRequest {
            parent: Some(parent),
            stateless: true,
            payer: self.payer.clone(),
            key: self.used_by.key,
            ..RunRequest::of_agent(&found, input)
        };
        match Runs(self.shared.clone()).start_as(subrun.run, &self.tenant, request).await {
            Ok(_) => Ok(None),
            Err(StartError::Store(error)) => Err(stopped(&error)),
            Err(error) => Ok(Some(format!("unavailable: the agent can not be run: {error}"))),
        }
    }

    /// Follows a run to its end, and shows what happens in it in this run's log.
    async fn follow_subrun(&self, subrun: &Subrun, call_id: &str) -> Result<Result<Outcome, String>, HostStop> {
        let key = (self.tenant.clone(), subrun.run);
        let cursor = Cursor::after(subrun.seen);
        let mut reader = Reader::new(self.shared.clone(), self.tenant.clone(), subrun.run, cursor);
        // One that was followed before may wait already.
        let (mut may_wait, mut waiting) = (subrun.seen > 0, None);
        loop {
            let changed = self.shared.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if may_wait {
                let waits = self.shared.table().waiting(&key).is_some();
                if waits != waiting.is_some() {
                    waiting = waits.then(|| self.waits.begin(WaitFor::WaitingRun(subrun.run)));
                }
            }
            let item = tokio::select! {
                biased;
                item = reader.next() => match item {
                    Ok(item) => item,
                    Err(FollowError::Deleted) => None,
                    Err(FollowError::Store(error)) => return Err(stopped(&error)),
                    Err(error @ FollowError::Stopping) => return Err(HostStop(error.to_string())),
                },
                () = changed, if may_wait => continue,
            };
            match item {
                Some(Item::Event(logged)) => match self.pass_on(subrun.run, call_id, &logged, &mut may_wait).await? {
                    News::More => {}
                    News::Ended(ended) => return Ok(ended),
                },
                Some(_) => {}
                None => return self.last_of(subrun.run).await,
            }
        }
    }

    /// Shows an event of a run that was started as a tool.
    async fn pass_on(
        &self,
        run: RunId,
        call_id: &str,
        logged: &LoggedEvent,
        may_wait: &mut bool,
    ) -> Result<News, HostStop> {
        let (call_id, source_seq) = (call_id.to_owned(), logged.event.seq);
        let shown = match logged.event.body.clone() {
            EventBody::RunCompleted { outcome, .. } => return Ok(News::Ended(Ok(outcome))),
            EventBody::RunFailed { failure, .. } => {
                return Ok(News::Ended(Err(format!("the agent's run failed: {}", failure.message))));
            }
            EventBody::RunCancelled { reason, .. } => {
                return Ok(News::Ended(Err(format!("the agent's run was cancelled: {reason}"))));
            }
            EventBody::Step { message } => EventBody::SubrunStep { call_id, run_id: run, source_seq, message },
            EventBody::SubrunStep { run_id, message, .. } => {
                EventBody::SubrunStep { call_id, run_id, source_seq, message }
            }
            EventBody::ApprovalRequested { call_id: asked, tool, arguments_json, expires_at } => {
                *may_wait = true;
                let approval = ApprovalQuestion { call_id: asked, tool, arguments_json, expires_at };
                EventBody::SubrunApprovalRequested { call_id, run_id: run, source_seq, approval }
            }
            EventBody::SubrunApprovalRequested { run_id, approval, .. } => {
                *may_wait = true;
                EventBody::SubrunApprovalRequested { call_id, run_id, source_seq, approval }
            }
            _ => return Ok(News::More),
        };
        self.log.record(shown);
        self.log.flush_soon();
        Ok(News::More)
    }

    /// What came of a run whose log is gone.
    async fn last_of(&self, run: RunId) -> Result<Result<Outcome, String>, HostStop> {
        let run = self.shared.store.run(&self.tenant, run).await.map_err(|error| stopped(&error))?;
        Ok(match run {
            Some(Run { status: RunStatus::Completed, outcome: Some(outcome), .. }) => Ok(outcome),
            Some(Run { failure: Some(failure), .. }) => Err(format!("the agent's run failed: {}", failure.message)),
            _ => Err("the agent's run was deleted".to_owned()),
        })
    }

    /// The documents that an answer quotes, so that whoever asked for it can quote them, too.
    async fn cited(&self, run: RunId, outcome: &Outcome) -> Result<Vec<Document>, StoreError> {
        let verified = outcome.citations.iter().filter(|citation| citation.verified);
        let cited: BTreeSet<&str> = verified.map(|citation| citation.source_id.as_str()).collect();
        if cited.is_empty() {
            return Ok(Vec::new());
        }
        let store = &*self.shared.store;
        let sources = Journal::read(store, &self.tenant, run).await?.sources;
        let mut documents = Vec::with_capacity(cited.len());
        for source in sources.into_iter().filter(|source| cited.contains(source.id.as_str())) {
            let Some(text) = store.blob(&self.tenant, source.content_hash).await? else { continue };
            documents.push(Document {
                title: source.title,
                location: source.location,
                media_type: source.media_type,
                text: String::from_utf8_lossy(&text).into_owned(),
            });
        }
        Ok(documents)
    }
}

impl Runs {
    /// A run has ended: those that it has started end, and the one that has started it and waits goes on.
    pub(crate) fn ended(&self, tenant: &TenantId, run: &Run) {
        let started = self.0.table().started_by(tenant, run.id);
        for started in started {
            self.tell_to_end(&(tenant.clone(), started), "the run that started it has ended");
        }
        if let Some(parent) = run.parent {
            self.wake_if(&(tenant.clone(), parent.run_id), |waiting| waiting.subruns.contains(&run.id));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_agents_name_makes_a_tools_name() {
        for (name, expected) in [("Math Helper", "math_helper"), ("  x--y ", "x_y"), ("数学", "agent"), ("a b", "a_b")]
        {
            assert_eq!(slug(name), expected);
            assert!(format!("ask_{}_12", slug(&name.repeat(50))).parse::<ToolName>().is_ok());
        }
    }
}
