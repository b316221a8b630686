//! What a run works with: its mode's component, its model's provider, its tenant's tools. Found when the run is accepted,
//! and again when it is taken up after the host was stopped.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use vivarium_domain::{
    Approval, ContentHash, FailureCode, ModelError, ModelName, Run, RunFailure, RunSettings, TenantId, ToolDefinition,
    ToolName,
};
use vivarium_registry::{Catalog, ModeEntry};
use vivarium_store::StoreError;

use crate::asking::Candidate;
use crate::service::Shared;
use crate::structured::OutputSchema;

/// How many texts of tools' definitions are known to be on disk.
const MOST_KNOWN: usize = 10_000;

/// What a run works with.
#[derive(Clone)]
pub(crate) struct Found {
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) mode: ModeEntry,
    /// The run's model, and those that are asked instead.
    pub(crate) models: Vec<Candidate>,
    pub(crate) output_schema: Option<OutputSchema>,
}

impl Found {
    /// The tools that a run with these settings may offer its model.
    pub(crate) fn offered(&self, settings: &RunSettings) -> Arc<[ToolDefinition]> {
        let Some(tools) = &settings.tools else { return self.catalog.definitions().into() };
        let allowed: HashMap<&ToolName, Approval> = tools.iter().map(|tool| (&tool.name, tool.approval)).collect();
        let may = |tool: &&ToolDefinition| allowed.get(&tool.name).is_some_and(|approval| *approval != Approval::Never);
        self.catalog.definitions().iter().filter(may).cloned().collect()
    }
}

/// Texts of tools' definitions that are on disk, so that they are not written with each run. The oldest ones are forgotten.
#[derive(Debug, Default)]
pub(crate) struct KnownDefinitions(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    all: HashSet<(TenantId, ContentHash)>,
    oldest_first: VecDeque<(TenantId, ContentHash)>,
}

impl KnownDefinitions {
    fn has(&self, key: &(TenantId, ContentHash)) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).all.contains(key)
    }

    /// Nothing of this tenant's is on disk any more.
    pub(crate) fn forget(&self, tenant: &TenantId) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.all.retain(|(owner, _)| owner != tenant);
        known.oldest_first.retain(|(owner, _)| owner != tenant);
    }

    fn add(&self, key: (TenantId, ContentHash)) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.all.insert(key.clone()) {
            known.oldest_first.push_back(key);
        }
        while known.oldest_first.len() > MOST_KNOWN
            && let Some(oldest) = known.oldest_first.pop_front()
        {
            known.all.remove(&oldest);
        }
    }
}

impl Shared {
    /// Keeps the definitions of a run's tools, which are the same for most runs of a tenant.
    pub(crate) async fn keep_definitions(
        &self,
        tenant: &TenantId,
        tools: &[ToolDefinition],
    ) -> Result<ContentHash, StoreError> {
        let json = serde_json::to_vec(tools).map_err(|error| StoreError::Refused(error.to_string()))?;
        let hash = ContentHash::of(&json);
        let key = (tenant.clone(), hash);
        if !self.known_definitions.has(&key) {
            self.store.put_blob(tenant, Bytes::from(json)).await?;
            self.known_definitions.add(key);
        }
        Ok(hash)
    }

    /// The definitions that a run's log names. None: they are gone.
    pub(crate) async fn definitions(
        &self,
        tenant: &TenantId,
        hash: ContentHash,
    ) -> Result<Option<Arc<[ToolDefinition]>>, StoreError> {
        let Some(json) = self.store.blob(tenant, hash).await? else { return Ok(None) };
        let tools: Vec<ToolDefinition> = serde_json::from_slice(&json)
            .map_err(|error| StoreError::Corrupt(format!("the tools' definitions {hash}: {error}")))?;
        Ok(Some(tools.into()))
    }

    /// A run's model and those that are asked instead, with who serves them.
    pub(crate) fn candidates(&self, model: &ModelName, others: &[ModelName]) -> Result<Vec<Candidate>, ModelError> {
        let resolve = |name| {
            let (provider, model) = self.models.resolve(Some(name))?;
            Ok(Candidate { provider, model })
        };
        std::iter::once(model).chain(others).map(resolve).collect()
    }

    /// What a run worked with before the host was stopped, or before it waited: the same component, and for its tools what
    /// the tenant has now.
    pub(crate) async fn found_again(&self, tenant: &TenantId, run: &Run) -> Result<Found, RunFailure> {
        let failure = |code, message: String| RunFailure::new(code, message);
        let registry = &self.toolbox.registry;
        let catalog = registry.catalog(tenant).await.map_err(|error| {
            failure(FailureCode::Internal, format!("the tenant's plugins can not be read: {error}"))
        })?;
        let catalog = self.with_contexts(tenant, &run.settings.contexts, &run.settings.corpora, catalog);
        let mode = match catalog.mode(&run.mode).filter(|mode| mode.plugin.plugin.digest() == run.plugin) {
            Some(mode) => mode.clone(),
            None => registry.pinned_mode(tenant, run.plugin, &run.mode).await.map_err(|error| {
                let message = format!("the component {} that the run began with can not be had: {error}", run.plugin);
                failure(FailureCode::Interrupted, message)
            })?,
        };
        let models = self
            .candidates(&run.model, &run.settings.fallback_models)
            .map_err(|error| failure(FailureCode::ModelUnavailable, error.to_string()))?;
        let output_schema = run.settings.output.schema().as_ref().map(OutputSchema::new).transpose();
        let output_schema = output_schema.map_err(|error| failure(FailureCode::Internal, error))?;
        Ok(Found { catalog, mode, models, output_schema })
    }
}
