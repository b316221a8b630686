//! An agent as this dialect shows it, whichever dialect made it.

use std::collections::HashMap;

use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;
use vivarium_domain::{
    Agent, AgentConfig, AgentId, AgentTool, Approval, CorpusDocument, DocumentId, TenantId, Timestamp,
};

use super::config::{ContextForm, HistoryConfig, InvocationConfig, LlmConfig, OutputParser, ScenarioForm};
use super::connection::model_of;
use super::mcp::{Connections, McpConfig};
use super::scenario::Scenarios;
use crate::ApiState;
use crate::connections::connection_of;
use crate::error::ApiError;

/// An agent.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentView {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    id: AgentId,
    /// The same.
    #[schema(value_type = uuid::Uuid)]
    agent_id: AgentId,
    /// Unique within the tenant.
    name: String,
    /// The team that it belongs to.
    team_id: u32,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Instructions for the model.
    system_prompt: String,
    /// The model's name at its provider: the host's default model's, where the agent names none.
    default_model: String,
    /// The model provider; null where it is none that this host knows by now.
    make_connection_id: Option<u64>,
    /// The model provider's name.
    make_connection_type: String,
    /// The same.
    llm_provider_id: String,
    /// Bounds on its runs.
    invocation_config: InvocationConfig,
    /// The tools that it may use.
    scenarios: Vec<ScenarioForm>,
    /// The tools of remote servers that it may use without asking; those that are asked about are scenarios.
    mcp_configs: Vec<McpConfig>,
    /// How much of the thread a run is given; null: as much as the host gives.
    history_config: Option<HistoryConfig>,
    /// Bounds on what the model writes.
    llm_config: LlmConfig,
    /// Documents that its search tools find, besides the host's own.
    contexts: Vec<ContextView>,
    /// What its answers must be.
    output_parser: OutputParser,
}

/// A document of an agent's.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct ContextView {
    /// Its id.
    #[schema(value_type = uuid::Uuid)]
    id: DocumentId,
    /// The agent's.
    #[schema(value_type = uuid::Uuid)]
    agent_id: AgentId,
    /// Its file name or title; null, as all that follows, where it has been removed since.
    document_name: Option<String>,
    /// For a person.
    description: Option<String>,
    /// When it was added.
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
    /// The owner's own notes.
    #[schema(value_type = Option<Object>)]
    metadata: Option<Map<String, Value>>,
    /// Always false: documents stay until they are removed.
    is_temporary: bool,
}

/// An agent with its earlier versions.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct AgentWithPast {
    #[serde(flatten)]
    agent: AgentView,
    /// The versions before this one, newest first, at most 100, and as many as 4 MiB of texts hold.
    past_configurations: Vec<PastConfiguration>,
}

/// An earlier version of an agent: the fields that a change of it takes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct PastConfiguration {
    /// Its number, from 1.
    version: u64,
    /// When this version was made.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
    /// Its name then.
    name: String,
    /// Its team then.
    team_id: u32,
    /// Its model provider then.
    make_connection_id: Option<u64>,
    /// Its model then.
    default_model: String,
    /// Its instructions then.
    system_prompt: String,
    /// Its bounds on what the model writes then.
    llm_config: LlmConfig,
    /// Its tools then.
    scenarios: Vec<ScenarioForm>,
    /// How much of the thread its runs were given then.
    history_config: Option<HistoryConfig>,
    /// Its remote servers' tools then.
    mcp_configs: Vec<McpConfig>,
    /// Its documents then.
    contexts: Vec<ContextForm>,
    /// What its answers had to be then.
    output_parser_format: OutputParser,
    /// Its bounds on runs then.
    invocation_config: InvocationConfig,
}

/// Shows agents of one tenant. Looks up once what several of them name.
pub(super) struct Views<'a> {
    state: &'a ApiState,
    tenant: &'a TenantId,
    providers: Vec<&'a str>,
    scenarios: Option<Scenarios>,
    connections: Option<Connections>,
    documents: HashMap<DocumentId, Option<CorpusDocument>>,
}

impl<'a> Views<'a> {
    pub(super) fn new(state: &'a ApiState, tenant: &'a TenantId) -> Self {
        let providers = state.0.agents.providers();
        Self { state, tenant, providers, scenarios: None, connections: None, documents: HashMap::new() }
    }

    pub(super) async fn agent(&mut self, agent: Agent) -> Result<AgentView, ApiError> {
        self.look_up(&agent.config).await?;
        Ok(self.shown(agent))
    }

    /// Looks up what an agent so configured names, for [`Views::shown`].
    pub(super) async fn look_up(&mut self, config: &AgentConfig) -> Result<(), ApiError> {
        if config.tools.is_none() && self.scenarios.is_none() {
            self.scenarios = Some(Scenarios::of(self.state, self.tenant).await?);
        }
        if self.connections.is_none() {
            self.connections = Some(Connections::of(self.state, self.tenant).await?);
        }
        for id in &config.contexts {
            if !self.documents.contains_key(id) {
                let document = self.state.0.store.document(self.tenant, *id).await?;
                self.documents.insert(*id, document);
            }
        }
        Ok(())
    }

    /// An agent of which all was looked up.
    pub(super) fn shown(&self, agent: Agent) -> AgentView {
        let scenarios = self.scenarios(&agent.config);
        let contexts = self.contexts(&agent);
        let model = model_of(&self.state.0.agents, agent.config.model.as_ref());
        AgentView {
            id: agent.id,
            agent_id: agent.id,
            team_id: agent.config.team.get(),
            created_at: agent.created_at,
            default_model: model.model().to_owned(),
            make_connection_id: connection_of(&self.providers, model.provider()),
            make_connection_type: model.provider().to_owned(),
            llm_provider_id: model.provider().to_owned(),
            invocation_config: InvocationConfig::from(&agent.config),
            scenarios,
            mcp_configs: self.mcp_configs(&agent.config),
            history_config: history(&agent.config),
            llm_config: LlmConfig::from(&agent.config),
            contexts,
            output_parser: OutputParser::from(&agent.config.output),
            name: agent.config.name,
            system_prompt: agent.config.prompt,
        }
    }

    /// The agent with these versions of it, newest first.
    pub(super) async fn with_past(&mut self, agent: Agent, past: Vec<Agent>) -> Result<AgentWithPast, ApiError> {
        let mut past_configurations = Vec::with_capacity(past.len());
        for version in past {
            past_configurations.push(self.past(version).await?);
        }
        Ok(AgentWithPast { agent: self.agent(agent).await?, past_configurations })
    }

    async fn past(&mut self, version: Agent) -> Result<PastConfiguration, ApiError> {
        self.look_up(&version.config).await?;
        let config = version.config;
        let scenarios = self.scenarios(&config);
        let model = model_of(&self.state.0.agents, config.model.as_ref());
        Ok(PastConfiguration {
            version: version.version,
            updated_at: version.updated_at,
            team_id: config.team.get(),
            make_connection_id: connection_of(&self.providers, model.provider()),
            default_model: model.model().to_owned(),
            llm_config: LlmConfig::from(&config),
            scenarios,
            history_config: history(&config),
            mcp_configs: self.mcp_configs(&config),
            contexts: config.contexts.iter().map(|id| ContextForm { id: *id }).collect(),
            output_parser_format: OutputParser::from(&config.output),
            invocation_config: InvocationConfig::from(&config),
            name: config.name,
            system_prompt: config.prompt,
        })
    }

    /// The agent's own tools, or all that the tenant has.
    fn tools<'t>(&'t self, config: &'t AgentConfig) -> &'t [AgentTool] {
        match &config.tools {
            Some(tools) => tools,
            None => self.scenarios.as_ref().map(Scenarios::all).unwrap_or_default(),
        }
    }

    /// A tool that is never there is no scenario, nor is one that is shown as its server's.
    fn scenarios(&self, config: &AgentConfig) -> Vec<ScenarioForm> {
        let of_server = |tool: &AgentTool| self.connections.as_ref().is_some_and(|servers| servers.shows(tool));
        let shown = self.tools(config).iter().filter(|tool| tool.approval != Approval::Never && !of_server(tool));
        shown.map(ScenarioForm::from).collect()
    }

    fn mcp_configs(&self, config: &AgentConfig) -> Vec<McpConfig> {
        let connections = self.connections.as_ref();
        connections.map(|connections| connections.configs(self.tools(config))).unwrap_or_default()
    }

    fn contexts(&self, agent: &Agent) -> Vec<ContextView> {
        let context = |id: &DocumentId| {
            let document = self.documents.get(id).and_then(Option::as_ref);
            ContextView {
                id: *id,
                agent_id: agent.id,
                document_name: document.map(|document| document.name.clone()),
                description: document.map(|document| document.description.clone()),
                created_at: document.map(|document| document.created_at),
                metadata: document.map(|document| document.metadata.clone()),
                is_temporary: false,
            }
        };
        agent.config.contexts.iter().map(context).collect()
    }
}

fn history(config: &AgentConfig) -> Option<HistoryConfig> {
    config.history_turns.map(|turns| HistoryConfig { iterations_from_history_count: Some(Some(turns)) })
}

impl From<&AgentConfig> for LlmConfig {
    fn from(config: &AgentConfig) -> Self {
        Self { max_tokens: config.max_output_tokens.map(Some) }
    }
}

impl From<&AgentConfig> for InvocationConfig {
    fn from(config: &AgentConfig) -> Self {
        Self { recursion_limit: config.max_cycles.map(Some), timeout: config.timeout_seconds.map(Some) }
    }
}
