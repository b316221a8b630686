//! The registry itself: what is asked of it, and the catalogs that it hands out.

use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use secrecy::SecretString;
use vivarium_domain::{
    FileAccess, InstalledRecord, Manifest, PluginGrant, PluginLimits, PluginName, PluginVersion, SealedSecret,
    SecretName, SecretUse, SessionId, TenantId, Tier, Timestamp,
};
use vivarium_egress::{AllowedHost, Egress, EgressPolicy, HostPort, Injection, Redactor};
use vivarium_sandbox::{CorpusView, FileQuota, Grant, GuardedDoor, HttpDoor, Limits, Plugin, Sandbox, Workspace};
use vivarium_store::{Batch, Store, StoreError, Write};

use crate::catalog::{Catalog, PluginInUse, limits};
use crate::error::RegistryError;
use crate::gift::OperatorGift;
use crate::shelf::Shelf;
use crate::state::StateSpace;
use crate::vault::Vault;
use crate::workspaces::{Scratch, Workspaces};

/// The id under which the store keeps what the operator shares with all tenants. No tenant can have it: a tenant's own
/// id does not begin with an underscore.
pub const OPERATOR: &str = "_operator";

/// The most secrets of a tenant.
const MAX_SECRETS: usize = 200;

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
    /// The folder of the sessions' workspaces.
    pub workspaces: PathBuf,
    /// The largest component.
    pub max_component_bytes: usize,
    /// The most plugins of one tenant.
    pub max_plugins: usize,
    /// The most versions of one plugin that are kept.
    pub max_versions: usize,
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

/// A secret without its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretInfo {
    /// Its name.
    pub name: SecretName,
    /// Where it goes.
    pub inject: SecretUse,
    /// When it was set.
    pub set_at: Timestamp,
}

impl From<SealedSecret> for SecretInfo {
    fn from(secret: SealedSecret) -> Self {
        Self { name: secret.name, inject: secret.inject, set_at: secret.set_at }
    }
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
    private: Vec<HostPort>,
    egress: Arc<Egress>,
    corpus: Option<Arc<dyn CorpusView>>,
    vault: Vault,
    workspaces: Arc<Workspaces>,
    spaces: Mutex<HashMap<(TenantId, PluginName), StateSpace>>,
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

pub(crate) fn operator() -> Result<TenantId, RegistryError> {
    OPERATOR.parse().map_err(|error: vivarium_domain::IdError| RegistryError::BrokeOff(error.to_string()))
}

impl Place {
    /// The tenant id under which the store keeps this place's records.
    pub(crate) fn tenant(&self) -> Result<TenantId, RegistryError> {
        match self {
            Self::Tenant(tenant) => Ok(tenant.clone()),
            Self::Shared => operator(),
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
        let operator = operator()?;
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
        Ok(Catalog::of(in_use))
    }

    async fn active_plugin(&self, place: &TenantId, record: &InstalledRecord) -> Result<Arc<Plugin>, RegistryError> {
        if let Some(plugin) = self.0.shelf.get(record.active) {
            return Ok(plugin);
        }
        let gone = || RegistryError::NotFound(format!("the component {} is gone", record.active));
        let bytes = self.0.store.blob(place, record.active).await?.ok_or_else(gone)?;
        self.0.shelf.load(bytes).await
    }

    /// Works out what a plugin may do in a tenant.
    async fn in_use(
        &self,
        tenant: &TenantId,
        tier: Tier,
        plugin: Arc<Plugin>,
        gift: Option<&OperatorGift>,
        secrets: &[SealedSecret],
    ) -> Result<Arc<PluginInUse>, RegistryError> {
        let shared = &self.0;
        let manifest = plugin.manifest();
        let own = shared.store.grant(tenant, &manifest.name).await?;
        let granted = own.or_else(|| gift.map(|gift| gift.grant.clone())).unwrap_or_default();
        let maxima = shared.config.maxima.get(&tier).copied().unwrap_or_default();
        let tool = limits(&granted, manifest, shared.config.tool_defaults, maxima);
        // A mode waits for models and tools: its time is another one than a tool's.
        let patience = PluginLimits { wall_ms: None, cpu_ms: None, host_calls: None, ..maxima };
        let mode = limits(&granted, manifest, shared.config.mode_defaults, patience);
        let mut credentials = self.tenant_secrets(tenant, manifest, &granted, secrets);
        credentials.extend(gift.into_iter().flat_map(|gift| operator_secrets(manifest, gift)));
        let grant = self.effective(tenant, manifest, &granted, gift, credentials, tool);
        Ok(Arc::new(PluginInUse {
            grant: Arc::new(grant),
            tool_limits: Arc::new(Limits::for_tool().with(&tool)),
            mode_limits: Arc::new(Limits::for_mode().with(&mode)),
            file_quota: FileQuota { bytes: tool.file_bytes.unwrap_or_default(), files: tool.files.unwrap_or_default() },
            warm: Arc::default(),
            approvals: granted.approvals,
            plugin,
        }))
    }

    /// The secrets that a plugin asks for and is granted. One that does not open is left out, and the log says so.
    fn tenant_secrets(
        &self,
        tenant: &TenantId,
        manifest: &Manifest,
        granted: &PluginGrant,
        secrets: &[SealedSecret],
    ) -> Vec<Credential> {
        let is_granted = |name: &SecretName| manifest.requests.secrets.contains(name) && granted.secrets.contains(name);
        let mut opened = Vec::new();
        for secret in secrets.iter().filter(|secret| is_granted(&secret.name)) {
            match self.0.vault.open(tenant, secret) {
                Ok(value) => {
                    opened.push(Credential { name: secret.name.clone(), inject: secret.inject.clone(), value })
                }
                Err(error) => tracing::error!(%tenant, %error, "a secret is left out"),
            }
        }
        opened
    }

    fn effective(
        &self,
        tenant: &TenantId,
        manifest: &Manifest,
        granted: &PluginGrant,
        gift: Option<&OperatorGift>,
        credentials: Vec<Credential>,
        limits: PluginLimits,
    ) -> Grant {
        let shared = &self.0;
        let requests = &manifest.requests;
        let policy = self.policy(manifest, granted, gift, &credentials, limits);
        let door = GuardedDoor { egress: Arc::clone(&shared.egress), policy: Arc::new(policy) };
        let asked = |name: &String| requests.settings.contains(name);
        Grant {
            egress: Some(Arc::new(door) as Arc<dyn HttpDoor>),
            settings: granted.settings.iter().filter(|(name, _)| asked(name)).map(cloned).collect(),
            secrets: credentials.iter().map(|credential| credential.name.to_string()).collect(),
            corpus: shared.corpus.clone().filter(|_| requests.corpus && granted.corpus),
            state: (requests.state && granted.state).then(|| {
                let quota = limits.state_bytes.unwrap_or_default();
                self.space(tenant, &manifest.name).with_quota(quota)
            }),
            files: requests.files.zip(granted.files).map(|(asked, granted): (FileAccess, _)| asked.min(granted)),
            redactor: Arc::new(Redactor::new(credentials.iter().map(|credential| &credential.value))),
        }
    }

    fn policy(
        &self,
        manifest: &Manifest,
        granted: &PluginGrant,
        gift: Option<&OperatorGift>,
        credentials: &[Credential],
        limits: PluginLimits,
    ) -> EgressPolicy {
        // All of these texts were checked when they were kept; one that reads no longer allows nothing.
        let hosts = |hosts: &[vivarium_domain::HostRequest]| {
            hosts.iter().filter_map(|host| AllowedHost::parse(&host.host, &host.methods).ok()).collect::<Vec<_>>()
        };
        let injection = |credential: &Credential| {
            let Credential { inject, value, .. } = credential;
            Injection::new(&inject.host, &inject.header, &inject.prefix, value.clone()).ok()
        };
        let exceptions = granted.dangerously_allow_private_addresses.iter();
        let exceptions =
            exceptions.chain(gift.into_iter().flat_map(|gift| &gift.grant.dangerously_allow_private_addresses));
        let mut private: Vec<HostPort> = exceptions.filter_map(|place| place.parse().ok()).collect();
        let exactly = |place: &&HostPort| granted.hosts.iter().any(|host| host.host == place.to_string());
        private.extend(self.0.private.iter().filter(exactly).cloned());
        let mut bounds = vivarium_egress::Limits::default();
        if let Some(requests) = limits.egress_requests {
            bounds.max_requests = requests;
        }
        if let Some(bytes) = limits.egress_bytes {
            bounds.max_total_bytes = bytes;
            bounds.max_response_bytes = bytes;
            bounds.max_request_bytes = bytes;
        }
        let mut allowed = hosts(&granted.hosts);
        // An exception is the operator's own grant of that host and port.
        allowed.extend(private.iter().filter_map(|place| AllowedHost::parse(&place.to_string(), &[]).ok()));
        EgressPolicy {
            requested: hosts(&manifest.requests.hosts),
            granted: allowed,
            dangerously_allow_private_addresses: private,
            limits: bounds,
            injections: credentials.iter().filter_map(injection).collect(),
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
        opening.await.map_err(|error| RegistryError::BrokeOff(error.to_string()))?
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

    /// Sets a secret.
    ///
    /// # Errors
    /// When it can not be put where it should go, there are too many, or the store fails.
    pub async fn set_secret(
        &self,
        tenant: &TenantId,
        name: SecretName,
        inject: SecretUse,
        value: SecretString,
    ) -> Result<SecretInfo, RegistryError> {
        Injection::new(&inject.host, &inject.header, &inject.prefix, value.clone())
            .map_err(|error| RegistryError::invalid("inject", format!("can not be used: {error}")))?;
        let _changing = self.0.changing.lock().await;
        let secrets = self.0.store.secrets(tenant).await?;
        if secrets.len() >= MAX_SECRETS && !secrets.iter().any(|secret| secret.name == name) {
            return Err(RegistryError::Full(format!("a tenant may have {MAX_SECRETS} secrets; remove one first")));
        }
        let sealed = self.0.vault.seal(tenant, name, inject, &value)?;
        self.write(tenant, vec![Write::PutSecret(sealed.clone())]).await?;
        self.changed(&Place::Tenant(tenant.clone()));
        Ok(sealed.into())
    }

    /// The tenant's secrets, by name, without their values.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn secrets(&self, tenant: &TenantId) -> Result<Vec<SecretInfo>, RegistryError> {
        Ok(self.0.store.secrets(tenant).await?.into_iter().map(SecretInfo::from).collect())
    }

    /// Removes a secret. False: there is none of this name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn remove_secret(&self, tenant: &TenantId, name: &SecretName) -> Result<bool, RegistryError> {
        let _changing = self.0.changing.lock().await;
        if !self.0.store.secrets(tenant).await?.iter().any(|secret| secret.name == *name) {
            return Ok(false);
        }
        self.write(tenant, vec![Write::DeleteSecret(name.clone())]).await?;
        self.changed(&Place::Tenant(tenant.clone()));
        Ok(true)
    }

    /// Seals all secrets of a tenant anew that another key than the current one sealed. Gives how many.
    ///
    /// # Errors
    /// When one does not open, or the store fails.
    pub async fn reseal(&self, tenant: &TenantId) -> Result<usize, RegistryError> {
        let _changing = self.0.changing.lock().await;
        let mut writes = Vec::new();
        for secret in self.0.store.secrets(tenant).await? {
            if !self.0.vault.is_current(&secret) {
                let value = self.0.vault.open(tenant, &secret)?;
                writes.push(Write::PutSecret(self.0.vault.seal(tenant, secret.name, secret.inject, &value)?));
            }
        }
        let count = writes.len();
        self.write(tenant, writes).await?;
        Ok(count)
    }

    pub(crate) async fn write(&self, tenant: &TenantId, writes: Vec<Write>) -> Result<(), StoreError> {
        self.0.store.commit(tenant, Batch { conditions: Vec::new(), writes }).await
    }
}

/// A secret in the clear, on its way into a policy.
struct Credential {
    name: SecretName,
    inject: SecretUse,
    value: SecretString,
}

fn operator_secrets(manifest: &Manifest, gift: &OperatorGift) -> Vec<Credential> {
    let asked = gift.secrets.iter().filter(|(name, _)| manifest.requests.secrets.contains(name));
    asked
        .map(|(name, secret)| Credential {
            name: name.clone(),
            inject: secret.inject.clone(),
            value: secret.value.clone(),
        })
        .collect()
}

pub(crate) fn private_addresses(places: &[String]) -> Result<Vec<HostPort>, RegistryError> {
    let parse = |place: &String| {
        place
            .parse()
            .map_err(|error| RegistryError::invalid("dangerouslyAllowPrivateAddresses", format!("is wrong: {error}")))
    };
    places.iter().map(parse).collect()
}

fn cloned((name, value): (&String, &String)) -> (String, String) {
    (name.clone(), value.clone())
}
