//! Agents and teams: made, changed, rolled back and deleted, whichever dialect asks. What an agent is configured with is
//! checked when it is written, against what this tenant has, so that a run finds it in order. This crate knows no HTTP.

mod check;

use std::sync::Arc;

use vivarium_domain::{
    Agent, AgentConfig, AgentId, KeyId, ModelInfo, ModelName, Team, TeamId, TenantId, Timestamp, ToolManifest,
};
use vivarium_models::Models;
use vivarium_registry::{Registry, RegistryError};
use vivarium_store::{AgentFilter, Batch, Condition, Page, Store, StoreError, Write};

/// How often a change is tried again that met another one.
const ATTEMPTS: usize = 16;

/// The most teams of a tenant.
const MAX_TEAMS: usize = 1_000;

/// The most versions that a page shows.
pub const MAX_PAGE: usize = 1_000;

/// Why an agent was not made, changed or found.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The tenant has no such agent.
    #[error("there is no such agent")]
    NotFound,
    /// The agent has no such version.
    #[error("the agent has no version {0}")]
    NoSuchVersion(u64),
    /// The tenant has no such team.
    #[error("there is no team {0}")]
    NoSuchTeam(TeamId),
    /// Another agent has the name.
    #[error("another agent has the name {0:?}; names are unique within a tenant")]
    NameTaken(String),
    /// The agent is not in the version that the change was meant for.
    #[error("the agent is in version {found} by now, not in version {expected}; read it again and repeat the change")]
    Changed {
        /// What the change was meant for.
        expected: u64,
        /// What is there.
        found: u64,
    },
    /// The tenant has as many as it may.
    #[error("{0}")]
    Full(String),
    /// A field is not what it may be.
    #[error("{field} {wrong}")]
    Invalid {
        /// The field, by its name in [`AgentConfig`] as JSON.
        field: &'static str,
        /// The rest of a sentence that begins with the field.
        wrong: String,
    },
    /// The tenant's plugins can not be read.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store failed.
    #[error(transparent)]
    Store(StoreError),
}

impl AgentError {
    /// A field is wrong: `wrong` completes a sentence that begins with it.
    pub fn invalid(field: &'static str, wrong: impl Into<String>) -> Self {
        Self::Invalid { field, wrong: wrong.into() }
    }
}

impl From<StoreError> for AgentError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::ConditionFailed(Condition::AgentNameFree(name)) => Self::NameTaken(name),
            other => Self::Store(other),
        }
    }
}

/// All agents of the host. Cheap to clone.
#[derive(Clone)]
pub struct Agents {
    store: Arc<dyn Store>,
    models: Arc<Models>,
    registry: Registry,
    /// Held while a team gets its number: two at once must not get the same one.
    numbering: Arc<tokio::sync::Mutex<()>>,
}

impl Agents {
    /// Agents over this store, with these models and plugins.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, models: Arc<Models>, registry: Registry) -> Self {
        Self { store, models, registry, numbering: Arc::default() }
    }

    /// The providers that are configured, by name.
    #[must_use]
    pub fn providers(&self) -> Vec<&str> {
        self.models.names()
    }

    /// The model that answers for an agent that names none.
    #[must_use]
    pub fn default_model(&self) -> &ModelName {
        self.models.default_model()
    }

    /// What the model can do that a provider is usually asked for. None: only the provider itself knows its models.
    #[must_use]
    pub fn usual_model(&self, provider: &str) -> Option<ModelInfo> {
        let model = self.models.usual_model(provider)?;
        self.models.describe(&model).ok()
    }

    /// The tools that the tenant has, by name.
    ///
    /// # Errors
    /// When the tenant's plugins can not be read.
    pub async fn tools(&self, tenant: &TenantId) -> Result<Vec<Arc<ToolManifest>>, AgentError> {
        Ok(self.registry.catalog(tenant).await?.tools().map(|tool| Arc::clone(&tool.manifest)).collect())
    }

    /// Makes an agent, in version 1. `by` is the key that asks for it; what `along` gives for it is written with it or not at
    /// all.
    ///
    /// # Errors
    /// When a field is wrong, the name is taken, or the team is not there.
    pub async fn create(
        &self,
        tenant: &TenantId,
        by: Option<KeyId>,
        config: AgentConfig,
        along: impl FnOnce(&Agent) -> Batch + Send,
    ) -> Result<Agent, AgentError> {
        self.check(tenant, &config, None).await?;
        let now = Timestamp::now();
        let agent = Agent { id: AgentId::new(), version: 1, created_at: now, updated_at: now, updated_by: by, config };
        let write = Batch::from(Write::PutAgent(Box::new(agent.clone())));
        self.write(tenant, write.and(along(&agent))).await?;
        Ok(agent)
    }

    /// One agent, by its id or its name.
    ///
    /// # Errors
    /// [`AgentError::NotFound`].
    pub async fn get(&self, tenant: &TenantId, id_or_name: &str) -> Result<Agent, AgentError> {
        let found = match id_or_name.parse::<AgentId>() {
            Ok(id) => self.store.agent(tenant, id).await?,
            Err(_) => self.store.agent_by_name(tenant, id_or_name).await?,
        };
        found.ok_or(AgentError::NotFound)
    }

    /// One agent, by its id.
    ///
    /// # Errors
    /// [`AgentError::NotFound`].
    pub async fn by_id(&self, tenant: &TenantId, id: AgentId) -> Result<Agent, AgentError> {
        self.store.agent(tenant, id).await?.ok_or(AgentError::NotFound)
    }

    /// Agents, newest first.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, tenant: &TenantId, filter: AgentFilter) -> Result<Page<Agent, AgentId>, AgentError> {
        Ok(self.store.agents(tenant, filter).await?)
    }

    /// Changes an agent: the next version is what `change` makes of the current one. A change that changes nothing makes no
    /// version. With `expected`, only that version is changed.
    ///
    /// # Errors
    /// As [`Agents::create`], and what `change` refuses.
    pub async fn change(
        &self,
        tenant: &TenantId,
        by: Option<KeyId>,
        id: AgentId,
        expected: Option<u64>,
        change: impl Fn(&mut AgentConfig) -> Result<(), AgentError>,
    ) -> Result<Agent, AgentError> {
        self.change_along(tenant, by, id, expected, change, |_| Batch::default()).await
    }

    /// The same, with what `along` gives for the agent as it is then.
    async fn change_along(
        &self,
        tenant: &TenantId,
        by: Option<KeyId>,
        id: AgentId,
        expected: Option<u64>,
        change: impl Fn(&mut AgentConfig) -> Result<(), AgentError>,
        along: impl Fn(&Agent) -> Batch + Send,
    ) -> Result<Agent, AgentError> {
        for _ in 0..ATTEMPTS {
            let current = self.by_id(tenant, id).await?;
            if let Some(expected) = expected.filter(|expected| *expected != current.version) {
                return Err(AgentError::Changed { expected, found: current.version });
            }
            let mut config = current.config.clone();
            change(&mut config)?;
            if config == current.config {
                self.write(tenant, along(&current)).await?;
                return Ok(current);
            }
            self.check(tenant, &config, Some(&current.config)).await?;
            let next = Agent {
                version: current.version + 1,
                updated_at: Timestamp::now().max(current.updated_at),
                updated_by: by,
                config,
                ..current
            };
            let write = Batch::from(Write::PutAgent(Box::new(next.clone())));
            match self.write(tenant, write.and(along(&next))).await {
                Ok(()) => return Ok(next),
                // Another change was faster, or the agent is gone: look again.
                Err(AgentError::Store(StoreError::ConditionFailed(Condition::AgentVersion { .. }))) => {}
                Err(error) => return Err(error),
            }
        }
        Err(AgentError::Store(StoreError::Unavailable(
            "the agent changes faster than this change could be made".to_owned(),
        )))
    }

    /// Deletes an agent and all its versions. Its sessions and runs stay.
    ///
    /// # Errors
    /// [`AgentError::NotFound`].
    pub async fn delete(&self, tenant: &TenantId, id: AgentId) -> Result<(), AgentError> {
        // Looked up first: removing what is not there is no error of the store's.
        self.by_id(tenant, id).await?;
        self.write(tenant, Write::DeleteAgent(id).into()).await
    }

    /// An agent's versions below `before`, newest first, the current one included.
    ///
    /// # Errors
    /// [`AgentError::NotFound`].
    pub async fn versions(
        &self,
        tenant: &TenantId,
        id: AgentId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Page<Agent, u64>, AgentError> {
        self.by_id(tenant, id).await?;
        Ok(self.store.agent_versions(tenant, id, before, limit.min(MAX_PAGE)).await?)
    }

    /// An agent as it was in one version.
    ///
    /// # Errors
    /// [`AgentError::NotFound`], [`AgentError::NoSuchVersion`].
    pub async fn version(&self, tenant: &TenantId, id: AgentId, version: u64) -> Result<Agent, AgentError> {
        self.by_id(tenant, id).await?;
        self.store.agent_version(tenant, id, version).await?.ok_or(AgentError::NoSuchVersion(version))
    }

    /// Makes an agent again what it was in a version: as a new version, unless it is that already. What `along` gives for the
    /// agent as it is then is written with it.
    ///
    /// # Errors
    /// As [`Agents::version`] and [`Agents::change`]: what the old version names may be gone by now.
    pub async fn roll_back(
        &self,
        tenant: &TenantId,
        by: Option<KeyId>,
        id: AgentId,
        version: u64,
        along: impl Fn(&Agent) -> Batch + Send,
    ) -> Result<Agent, AgentError> {
        let old = self.version(tenant, id, version).await?.config;
        let change = |config: &mut AgentConfig| {
            config.clone_from(&old);
            Ok(())
        };
        self.change_along(tenant, by, id, None, change, along).await
    }

    /// The tenant's teams, by number. The first one is always there.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn teams(&self, tenant: &TenantId) -> Result<Vec<Team>, AgentError> {
        let mut teams = self.store.teams(tenant).await?;
        if teams.first().is_none_or(|team| team.id != TeamId::default()) {
            let made = self.store.tenant(tenant).await?.map_or(Timestamp::UNIX_EPOCH, |tenant| tenant.created_at);
            teams.insert(0, Team { id: TeamId::default(), name: "default".to_owned(), created_at: made });
        }
        Ok(teams)
    }

    /// One team.
    ///
    /// # Errors
    /// [`AgentError::NoSuchTeam`].
    pub async fn team(&self, tenant: &TenantId, id: TeamId) -> Result<Team, AgentError> {
        let teams = self.teams(tenant).await?;
        teams.into_iter().find(|team| team.id == id).ok_or(AgentError::NoSuchTeam(id))
    }

    /// Makes a team, with the next number. What `along` gives for it is written with it or not at all.
    ///
    /// # Errors
    /// When the name is wrong, or the tenant has as many teams as it may.
    pub async fn create_team(
        &self,
        tenant: &TenantId,
        name: &str,
        along: impl FnOnce(&Team) -> Batch + Send,
    ) -> Result<Team, AgentError> {
        check::text("name", name, 1, check::MAX_NAME_CHARS)?;
        let _numbering = self.numbering.lock().await;
        let teams = self.teams(tenant).await?;
        let last = teams.last().map_or(0, |team| team.id.get());
        let id = TeamId::new(last.saturating_add(1)).filter(|_| teams.len() < MAX_TEAMS);
        let id = id.ok_or_else(|| AgentError::Full(format!("a tenant may have {MAX_TEAMS} teams")))?;
        let team = Team { id, name: name.to_owned(), created_at: Timestamp::now() };
        let write = Batch::from(Write::PutTeam(team.clone()));
        self.write(tenant, write.and(along(&team))).await?;
        Ok(team)
    }

    async fn write(&self, tenant: &TenantId, batch: Batch) -> Result<(), AgentError> {
        Ok(self.store.commit(tenant, batch).await?)
    }
}
