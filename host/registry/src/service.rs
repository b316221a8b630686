//! The registry itself: what is asked of it, and the catalogs that it hands out.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use bytes::Bytes;
use vivarium_domain::{
    ContentHash, InstalledRecord, PluginGrant, PluginLimits, PluginName, PluginVersion, SessionId, TenantId, Tier,
};
use vivarium_egress::{Egress, HostPort};
use vivarium_sandbox::{CorpusView, FileQuota, Plugin, Sandbox, Workspace};
use vivarium_store::{Batch, Store, StoreError, Write};
use vivarium_workspaces::{Scratch, Workspaces, WorkspacesConfig};

use crate::catalog::{Catalog, ModeEntry, ToolEntry};
use crate::error::RegistryError;
use crate::gift::OperatorGift;
use crate::shelf::Shelf;
use crate::state::StateSpace;
use crate::vault::Vault;

/// Whose registry is meant.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Place {
    /// A tenant's own.
    Tenant(TenantId),
    /// The operator's, which all tenants see.
    Shared,
}

/// How the registry is made.
#[derive(Debug, Clone)]
pub struct RegistryConfig {
    /// How much is kept of sessions' files, and where.
    pub workspaces: WorkspacesConfig,
    /// The folder of components that came with this binary or an earlier one: a file of each, named by its digest.
    pub components: PathBuf,
    /// The largest component.
    pub max_component_bytes: usize,
    /// The most plugins of one tenant.
    pub max_plugins: usize,
    /// The same by tier, where a tier has another number.
    pub plugins_of_tier: BTreeMap<Tier, u32>,
    /// The most bytes that are kept of one tenant, by tier.
    pub stored_bytes: BTreeMap<Tier, u64>,
    /// The most versions of one plugin that are kept.
    pub max_versions: usize,
    /// The most bytes of all versions of all plugins of one tenant together.
    pub max_plugin_bytes: u64,
    /// Limits of a tool's call where neither grant nor manifest says anything.
    pub tool_defaults: PluginLimits,
    /// Limits of a mode's run where neither grant nor manifest says anything.
    pub mode_defaults: PluginLimits,
    /// What no limit of a tenant goes beyond, by tier.
    pub maxima: BTreeMap<Tier, PluginLimits>,
    /// Hosts with ports whose addresses need not be public, for every plugin that is granted exactly that host and port.
    pub dangerously_allow_private_addresses: Vec<String>,
}

/// A plugin that came with the host, for all tenants.
#[derive(Debug, Clone)]
pub struct SharedPlugin {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// Its component's size.
    pub bytes: u64,
    /// What it may do in a tenant that has not granted it anything itself.
    pub gift: OperatorGift,
}

/// What can be told of a plugin.
#[derive(Debug, Clone)]
pub struct PluginInfo {
    /// Its name.
    pub name: PluginName,
    /// The operator shares it with all tenants.
    pub shared: bool,
    /// It came with the host and can not be removed.
    pub builtin: bool,
    /// The version that answers.
    pub active: PluginVersion,
    /// All versions, in the order in which they were installed.
    pub versions: Vec<PluginVersion>,
    /// What it may do in this tenant.
    pub grant: PluginGrant,
}

/// What came of an install.
#[derive(Debug, Clone)]
pub struct Installed {
    /// The plugin.
    pub info: PluginInfo,
    /// This version was not there before.
    pub new: bool,
}

/// The registry. Clones are the same one.
#[derive(Clone)]
pub struct Registry(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) shelf: Shelf,
    pub(crate) config: RegistryConfig,
    pub(crate) builtin: Vec<SharedPlugin>,
    /// What the operator gives plugins that are installed while the host runs.
    gifts: BTreeMap<PluginName, OperatorGift>,
    pub(crate) private: Vec<HostPort>,
    pub(crate) egress: Arc<Egress>,
    pub(crate) corpus: Option<Arc<dyn CorpusView>>,
    pub(crate) vault: Vault,
    pub(crate) workspaces: Arc<Workspaces>,
    pub(crate) spaces: Mutex<HashMap<(TenantId, PluginName), StateSpace>>,
    catalogs: RwLock<HashMap<TenantId, Arc<Catalog>>>,
    /// Counts changes: a catalog that was put together while something changed is not kept.
    changes: AtomicU64,
    /// Held while a record is read, changed and written.
    pub(crate) changing: tokio::sync::Mutex<()>,
}

/// What the registry is given of the other rooms.
pub struct Rooms {
    /// Records and components.
    pub store: Arc<dyn Store>,
    /// Loads components.
    pub sandbox: Sandbox,
    /// The door to the network.
    pub egress: Arc<Egress>,
    /// The documents that can be searched.
    pub corpus: Option<Arc<dyn CorpusView>>,
    /// Seals and opens secrets.
    pub vault: Vault,
}

impl Place {
    /// The tenant id under which the store keeps this place's records.
    #[must_use]
    pub fn tenant(&self) -> TenantId {
        match self {
            Self::Tenant(tenant) => tenant.clone(),
            Self::Shared => TenantId::operator(),
        }
    }
}

impl Registry {
    /// A registry with these plugins for all tenants, and what the operator gives others by name.
    ///
    /// # Errors
    /// When an exception for a private address is no host with a port.
    pub fn new(
        rooms: Rooms,
        config: RegistryConfig,
        builtin: Vec<SharedPlugin>,
        gifts: BTreeMap<PluginName, OperatorGift>,
    ) -> Result<Self, RegistryError> {
        let Rooms { store, sandbox, egress, corpus, vault } = rooms;
        let private = private_addresses(&config.dangerously_allow_private_addresses)?;
        let workspaces = Arc::new(Workspaces::new(config.workspaces.clone()));
        Ok(Self(Arc::new(Shared {
            store,
            shelf: Shelf::new(sandbox),
            config,
            builtin,
            gifts,
            private,
            egress,
            corpus,
            vault,
            workspaces,
            spaces: Mutex::default(),
            catalogs: RwLock::default(),
            changes: AtomicU64::new(0),
            changing: tokio::sync::Mutex::new(()),
        })))
    }

    /// What a tenant has now.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn catalog(&self, tenant: &TenantId) -> Result<Arc<Catalog>, RegistryError> {
        let shared = &self.0;
        let kept = shared.catalogs.read().unwrap_or_else(PoisonError::into_inner).get(tenant).cloned();
        if let Some(catalog) = kept {
            return Ok(catalog);
        }
        let changes = shared.changes.load(Ordering::Acquire);
        let catalog = Arc::new(self.put_together(tenant).await?);
        let mut catalogs = shared.catalogs.write().unwrap_or_else(PoisonError::into_inner);
        if shared.changes.load(Ordering::Acquire) == changes {
            // The first one stays, so that two first requests share warm instances.
            return Ok(Arc::clone(catalogs.entry(tenant.clone()).or_insert(catalog)));
        }
        Ok(catalog)
    }

    /// Something of this place has changed: what is asked next sees it.
    pub(crate) fn changed(&self, place: &Place) {
        let mut catalogs = self.0.catalogs.write().unwrap_or_else(PoisonError::into_inner);
        self.0.changes.fetch_add(1, Ordering::AcqRel);
        match place {
            Place::Tenant(tenant) => drop(catalogs.remove(tenant)),
            Place::Shared => catalogs.clear(),
        }
        drop(catalogs);
        self.0.shelf.sweep();
    }

    async fn put_together(&self, tenant: &TenantId) -> Result<Catalog, RegistryError> {
        let shared = &self.0;
        let tier = shared.store.tenant(tenant).await?.map_or(Tier::Free, |tenant| tenant.tier);
        let secrets = shared.store.secrets(tenant).await?;
        let mut plugins = Vec::new();
        // A tenant's own come first: what it has installed is what it wants.
        for record in shared.store.plugins(tenant).await? {
            plugins.push((tenant.clone(), record));
        }
        let operator = TenantId::operator();
        for record in shared.store.plugins(&operator).await? {
            plugins.push((operator.clone(), record));
        }
        let mut in_use = Vec::new();
        for (place, record) in plugins {
            let plugin = match self.active_plugin(&place, &record).await {
                Ok(plugin) => plugin,
                Err(RegistryError::Store(error)) => return Err(error.into()),
                Err(error) => {
                    tracing::error!(plugin = %record.name, %tenant, %error, "an installed plugin can not be loaded and is left out");
                    continue;
                }
            };
            let gift = shared.gifts.get(&record.name).filter(|_| place == operator);
            in_use.push(self.in_use(tenant, tier, plugin, gift, &secrets).await?);
        }
        for builtin in &shared.builtin {
            let plugin = Arc::clone(&builtin.plugin);
            in_use.push(self.in_use(tenant, tier, plugin, Some(&builtin.gift), &secrets).await?);
        }
        let servers = shared.store.mcp_servers(tenant).await?;
        Ok(Catalog::of(in_use, self.servers_in_use(tenant, tier, servers, &secrets)))
    }

    async fn active_plugin(&self, place: &TenantId, record: &InstalledRecord) -> Result<Arc<Plugin>, RegistryError> {
        if let Some(plugin) = self.0.shelf.get(record.active) {
            return Ok(plugin);
        }
        let gone = || RegistryError::NotFound(format!("the component {} is gone", record.active));
        let bytes = self.0.store.blob(place, record.active).await?.ok_or_else(gone)?;
        self.0.shelf.load(bytes).await
    }

    /// A mode of a component that need not be the one that answers by now: for a run that is pinned to it.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`] when the component is not kept any more.
    pub async fn pinned_mode(
        &self,
        tenant: &TenantId,
        digest: ContentHash,
        mode: &str,
    ) -> Result<ModeEntry, RegistryError> {
        let shared = &self.0;
        let gone = || RegistryError::NotFound(format!("the component {digest} is not kept any more"));
        let plugin = match shared.shelf.get(digest) {
            Some(plugin) => plugin,
            None => {
                let bytes = self.component(tenant, digest).await?.ok_or_else(gone)?;
                shared.shelf.load(bytes).await?
            }
        };
        let manifest = plugin.manifest().modes.iter().find(|manifest| manifest.name.as_str() == mode).cloned();
        let tier = shared.store.tenant(tenant).await?.map_or(Tier::Free, |tenant| tenant.tier);
        let secrets = shared.store.secrets(tenant).await?;
        let gift = self.gift(&plugin.manifest().name, true).cloned();
        let plugin = self.in_use(tenant, tier, plugin, gift.as_ref(), &secrets).await?;
        Ok(ModeEntry { manifest: Arc::new(manifest.ok_or_else(gone)?), plugin })
    }

    /// A component that the tenant has, or that all have.
    async fn component(&self, tenant: &TenantId, digest: ContentHash) -> Result<Option<Bytes>, RegistryError> {
        for place in [tenant, &TenantId::operator()] {
            if let Some(bytes) = self.0.store.blob(place, digest).await? {
                return Ok(Some(bytes));
            }
        }
        self.came_with_host(digest).await
    }

    /// A component that came with this binary or an earlier one.
    async fn came_with_host(&self, digest: ContentHash) -> Result<Option<Bytes>, RegistryError> {
        let file = self.0.config.components.join(format!("{digest}.wasm"));
        let read = tokio::task::spawn_blocking(move || std::fs::read(file)).await;
        let read = read.map_err(|error| RegistryError::BrokeOff(error.to_string()))?;
        Ok(read.ok().map(Bytes::from).filter(|bytes| ContentHash::of(bytes) == digest))
    }

    /// The component that a run is pinned to, as bytes, for who may have them: a tenant may have its own and what came with the
    /// host, and only the operator what the operator shares. None: this caller may not, or it is not kept.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn component_for(
        &self,
        tenant: &TenantId,
        digest: ContentHash,
        is_operator: bool,
    ) -> Result<Option<Bytes>, RegistryError> {
        if is_operator {
            return self.component(tenant, digest).await;
        }
        match self.0.store.blob(tenant, digest).await? {
            None => self.came_with_host(digest).await,
            own => Ok(own),
        }
    }

    pub(crate) fn space(&self, tenant: &TenantId, plugin: &PluginName) -> StateSpace {
        let mut spaces = self.0.spaces.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (tenant.clone(), plugin.clone());
        let new = || StateSpace::new(Arc::clone(&self.0.store), tenant.clone(), plugin.clone());
        spaces.entry(key).or_insert_with(new).clone()
    }

    /// The workspace of a session, for a plugin that was granted files.
    ///
    /// # Errors
    /// When the folder can not be made or read.
    pub async fn workspace(
        &self,
        tenant: &TenantId,
        session: &SessionId,
        quota: FileQuota,
    ) -> Result<Arc<Workspace>, RegistryError> {
        let (workspaces, tenant, session) = (Arc::clone(&self.0.workspaces), tenant.clone(), session.clone());
        let opening = tokio::task::spawn_blocking(move || workspaces.open(&tenant, &session, quota));
        let opened = opening.await.map_err(|error| RegistryError::BrokeOff(error.to_string()))?;
        opened.map_err(|error| RegistryError::Workspace(error.to_string()))
    }

    /// The files of all sessions.
    #[must_use]
    pub fn workspaces(&self) -> &Arc<Workspaces> {
        &self.0.workspaces
    }

    /// What a session's files may be together for a client of this tenant: as much as for that one of its plugins that may have
    /// the most.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn file_quota(&self, tenant: &TenantId) -> Result<FileQuota, RegistryError> {
        let shared = &self.0;
        let tier = shared.store.tenant(tenant).await?.map_or(Tier::Free, |tenant| tenant.tier);
        let maxima = shared.config.maxima.get(&tier).copied().unwrap_or_default();
        let limits = shared.config.tool_defaults.at_most(maxima);
        let least = FileQuota { bytes: limits.file_bytes.unwrap_or_default(), files: limits.files.unwrap_or_default() };
        let catalog = self.catalog(tenant).await?;
        let quotas = catalog.tools().filter_map(ToolEntry::file_quota);
        Ok(quotas.fold(least, |most, quota| FileQuota {
            bytes: most.bytes.max(quota.bytes),
            files: most.files.max(quota.files),
        }))
    }

    /// The id of a session that nobody has: its workspace is for one call.
    ///
    /// # Errors
    /// Never: such an id is a good one.
    pub fn scratch_session(&self) -> Result<SessionId, RegistryError> {
        let mut random = [0_u8; 16];
        rand::fill(&mut random);
        let id = format!("scratch-{}", hex::encode(random));
        id.parse().map_err(|error: vivarium_domain::IdError| RegistryError::BrokeOff(error.to_string()))
    }

    /// Removes a session's workspace when the answer is dropped.
    #[must_use]
    pub fn scratch(&self, tenant: &TenantId, session: &SessionId) -> Scratch {
        self.0.workspaces.scratch(tenant, session)
    }

    /// The default grant of a plugin that a tenant has not granted anything itself.
    pub(crate) fn gift(&self, name: &PluginName, shared: bool) -> Option<&OperatorGift> {
        let builtin = self.0.builtin.iter().find(|builtin| builtin.plugin.manifest().name == *name);
        builtin.map(|builtin| &builtin.gift).or_else(|| self.0.gifts.get(name).filter(|_| shared))
    }

    pub(crate) async fn write(&self, tenant: &TenantId, writes: Vec<Write>) -> Result<(), StoreError> {
        self.0.store.commit(tenant, Batch { conditions: Vec::new(), writes }).await
    }
}

pub(crate) fn private_addresses(places: &[String]) -> Result<Vec<HostPort>, RegistryError> {
    let parse = |place: &String| {
        place
            .parse()
            .map_err(|error| RegistryError::invalid("dangerouslyAllowPrivateAddresses", format!("is wrong: {error}")))
    };
    places.iter().map(parse).collect()
}
