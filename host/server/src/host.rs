//! The wiring: each room is made once, and given what it may know.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use vivarium_agents::Agents;
use vivarium_api::{ApiConfig, ApiState, KeyError, MetricsPage, RateLimit};
use vivarium_attachments::Attachments;
use vivarium_domain::{AuditBy, ContentHash, IdError, ModelInfo, ModelName, TenantId, Tier, Timestamp, utc_day};
use vivarium_egress::{Egress, HostPort, PolicyError};
use vivarium_models::{ConfigError, DefaultModel, Models, ModelsConfig};
use vivarium_registry::{Registry, RegistryConfig, RegistryError, Rooms, Vault, VaultError};
use vivarium_runs::{RecoveryReport, Runs, RunsConfig};
use vivarium_sandbox::{CorpusView, LoadError, Sandbox, SandboxConfig};
use vivarium_sight::metric::{self, NO_LABELS};
use vivarium_store::{SledStore, Store, StoreError};
use vivarium_workspaces::WorkspacesConfig;

use crate::archive::ArchiveError;
use crate::backup::backups;
use crate::components::{self, OurModes};
use crate::config::{Config, UnpricedModels};
use crate::contexts::StoredContexts;
use crate::corpus::{CorpusProgress, LazyCorpus, follow};
use crate::deliveries::Deliveries;
use crate::health::{DiskRoom, Health};
use crate::keys::{FirstKey, first_key};
use crate::library::Library;
use crate::plugins::{self, Shared};
use crate::programs::programs;
use crate::sweep::{prune, retention, sweep};
use crate::tenants::finish_deletions;

/// The most versions of one plugin that are kept.
const MAX_VERSIONS: usize = 10;

/// Why the host does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder can not be made.
    #[error("the data folder {folder} can not be used: {reason}")]
    Data {
        /// The folder.
        folder: String,
        /// The system's words.
        reason: String,
    },
    /// The store does not open.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The engine does not start.
    #[error(transparent)]
    Sandbox(#[from] LoadError),
    /// A plugin does not load, or not as configured.
    #[error("the plugin {name}: {reason}")]
    Plugin {
        /// The plugin, or its file.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// A program of the operator's is not described right.
    #[error("the program in {folder}: {reason}")]
    Program {
        /// Its folder.
        folder: String,
        /// What is wrong.
        reason: String,
    },
    /// Nothing could be run.
    #[error("this build holds no plugins; build with `cargo xtask serve`, or name a folder of them in plugins_dir")]
    NoPlugins,
    /// The key of the tenants' secrets can not be had.
    #[error(transparent)]
    Vault(#[from] VaultError),
    /// The plugins are not configured right.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The models are not set up right.
    #[error(transparent)]
    Models(#[from] ConfigError),
    /// The first key was not made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A built-in name is not one.
    #[error(transparent)]
    Id(#[from] IdError),
    /// An exception for a private address is none.
    #[error("dangerously_allow_private_addresses: {0}")]
    Exception(#[from] PolicyError),
    /// A backup can not be made there.
    #[error("{file}: {reason}")]
    Backup {
        /// Where.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// A backup was not made.
    #[error("the backup was not made: {0}")]
    Archive(#[from] ArchiveError),
    /// A part of start-up broke off.
    #[error("start-up broke off: {0}")]
    BrokeOff(String),
}

/// A host that can serve: everything but its socket.
pub struct Host {
    /// Starts, follows and ends runs.
    pub runs: Runs,
    /// Plugins, grants and secrets.
    pub registry: Registry,
    /// What the data folder's first key is.
    pub first_key: FirstKey,
    /// The model that answers where none is named.
    pub default_model: ModelName,
    api: ApiState,
    models: Arc<Models>,
    corpus: Option<Arc<LazyCorpus>>,
    corpus_opened: Option<tokio::sync::oneshot::Receiver<()>>,
    deliveries: Deliveries,
    draining: Arc<AtomicBool>,
    shutdown: CancellationToken,
}

impl Host {
    /// Opens the store, loads the plugins, finds the models. The
    /// corpus is opened meanwhile and may take longer: `progress` is told of it.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn build(config: &Config, progress: CorpusProgress) -> Result<Self, StartError> {
        let (store, plugins, models) = tokio::join!(open_store(&config.data), load_plugins(config), models(config));
        let (store, models) = (store?, Arc::new(models?));
        let (sandbox, shared) = plugins?;
        metric::INSTANCES_MAX.set(sandbox.max_instances() as usize, NO_LABELS);
        let egress = Arc::new(Egress::new());
        let exceptions = exceptions(config)?;
        let attachments = Attachments::new(Arc::clone(&egress), exceptions.clone(), shared.documents);
        let (draining, shutdown) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let (corpus, corpus_opened) = match &config.corpus {
            Some(folder) => {
                let (corpus, opened) = LazyCorpus::open(folder, &config.data, attachments.clone(), progress);
                if config.corpus_refresh_seconds > 0 {
                    let every = Duration::from_secs(u64::from(config.corpus_refresh_seconds));
                    tokio::spawn(follow(Arc::clone(&corpus), every, shutdown.clone()));
                }
                (Some(corpus), Some(opened))
            }
            None => (None, None),
        };
        let disk = DiskRoom { folder: config.data.clone(), least: config.min_free_disk_bytes };
        let health = Health {
            store: Arc::clone(&store),
            sandbox: sandbox.clone(),
            corpus: corpus.clone(),
            disk: disk.clone(),
            draining: Arc::clone(&draining),
        };
        let rooms = Rooms {
            store: Arc::clone(&store),
            sandbox,
            egress: Arc::clone(&egress),
            corpus: corpus.clone().map(|corpus| corpus as Arc<dyn CorpusView>),
            vault: vault(config)?,
        };
        let registry = Registry::new(rooms, registry_config(config), shared.plugins, shared.gifts)?;
        finish_deletions(&*store, &registry).await?;
        let library = Library::new(Arc::clone(&store), &config.data);
        library.prune().await?;
        let hosts = corpus.clone().map(|corpus| corpus as Arc<dyn CorpusView>);
        let contexts = StoredContexts::new(Arc::clone(&store), library.clone(), hosts);
        let (contexts, runs_config) = (Arc::new(contexts), runs_config(config));
        let runs = Runs::new(Arc::clone(&store), Arc::clone(&models), registry.clone(), contexts, runs_config);
        keep_components(components_folder(config), shared.modes, &*store).await?;
        // Last, so that a start that fails does not leave a key behind that nobody was shown.
        let first_key = first_key(&store, config.admin_key.as_ref()).await?;
        runs.set_disk_full(disk.shortage().is_some());
        tokio::spawn(disk.watch(runs.clone(), shutdown.clone()));
        let deliveries = Deliveries::new(
            config,
            Arc::clone(&store),
            Arc::clone(&egress),
            exceptions.clone(),
            registry.clone(),
            &runs,
        );
        let agents = Agents::new(Arc::clone(&store), Arc::clone(&models), registry.clone());
        tokio::spawn(sweep(runs.clone(), Arc::clone(&store), retention(config), config.usage_days, shutdown.clone()));
        tokio::spawn(prune(library.clone(), shutdown.clone()));
        let api = ApiState::new(ApiConfig {
            runs: runs.clone(),
            agents,
            attachments,
            corpora: Arc::new(library),
            registry: registry.clone(),
            store: Arc::clone(&store),
            backups: backups(config, &store),
            readiness: health.readiness(),
            shutdown: shutdown.clone(),
            limits: config.limits,
            agent_hub_requests_per_minute: config.agent_hub_requests_per_minute,
            max_body_bytes: config.max_body_bytes,
            max_component_bytes: config.max_component_bytes,
            body_timeout: config.request_timeout(),
            answers_kept: Duration::from_secs(config.idempotency_ttl_seconds),
        });
        let (tended, stop) = (api.clone(), shutdown.clone());
        tokio::spawn(async move { tended.tend_keys(stop).await });
        let default_model = models.default_model().clone();
        Ok(Self {
            runs,
            registry,
            first_key,
            default_model,
            api,
            models,
            corpus,
            corpus_opened,
            deliveries,
            draining,
            shutdown,
        })
    }

    /// What the default model can do.
    #[must_use]
    pub fn model_info(&self) -> Option<ModelInfo> {
        self.models.describe(&self.default_model).ok()
    }

    /// Waits until the corpus is open; at once where there is none. Why it is not, if it can not be.
    pub async fn corpus_ready(&mut self) -> Result<(), String> {
        if let Some(opened) = self.corpus_opened.take() {
            let _either_way = opened.await;
        }
        self.corpus.as_ref().and_then(|corpus| corpus.trouble()).map_or(Ok(()), Err)
    }

    /// All routes.
    pub fn router(&self, metrics: MetricsPage) -> axum::Router {
        vivarium_api::router(self.api.clone(), metrics)
    }

    /// Takes up the runs that the last process left, which go on from here. For a host that will serve, and before it does: one
    /// that ends soon would only leave them again.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn take_up_runs(&self) -> Result<(), StartError> {
        let recovered = self.runs.recover().await?;
        if !recovered.is_empty() {
            let RecoveryReport { resumed, queued, waiting, .. } = recovered;
            tracing::info!(resumed, queued, waiting, "runs that the last process left are taken up");
        }
        let (runs, stop) = (self.runs.clone(), self.shutdown.clone());
        tokio::spawn(async move { runs.expire_approvals(stop).await });
        Ok(())
    }

    /// Begins to tell clients' servers of runs' ends.
    pub fn deliver(&self) {
        self.deliveries.start();
    }

    /// Takes no new runs, waits up to `grace` for those under way, ends the rest, and then all open streams.
    pub async fn drain(&self, grace: Duration) {
        self.draining.store(true, Ordering::Relaxed);
        self.runs.drain(grace).await;
        self.shutdown.cancel();
        // What ended just now is told by the next start.
        self.deliveries.stop().await;
        self.api.write_key_uses().await;
    }
}

pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StartError> + Send + 'static,
) -> Result<T, StartError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StartError::BrokeOff(error.to_string())))
}

/// Opens the store of a data folder, which is made if it is not there.
pub(crate) async fn open_store(data: &Path) -> Result<Arc<dyn Store>, StartError> {
    let folder = data.to_owned();
    blocking(move || {
        std::fs::create_dir_all(&folder)
            .map_err(|error| StartError::Data { folder: folder.display().to_string(), reason: error.to_string() })?;
        let (store, report) = SledStore::open(folder.join("store"))?;
        if report.is_clean() {
            tracing::debug!("{report}");
        } else {
            tracing::warn!("{report}");
        }
        Ok(Arc::new(store) as Arc<dyn Store>)
    })
    .await
}

fn runs_config(config: &Config) -> RunsConfig {
    RunsConfig {
        max_running: config.max_running,
        max_queued: config.max_queued,
        tenant_share_percent: config.tenant_share_percent,
        max_tool_calls: config.max_tool_calls,
        weights: config.weights,
        tool_call_patience: Duration::from_secs(config.tool_call_patience_seconds),
        max_waiting: config.max_waiting,
        approval_patience: Duration::from_secs(config.approval_patience_seconds),
        concurrent_runs: of_tiers(config, |limit| limit.concurrent_runs),
        stored_bytes: of_tiers(config, |limit| limit.stored_bytes),
        budgets: config.budgets.iter().map(|(tier, table)| (*tier, (*table).into())).collect(),
        budgeted_output_tokens: config.budgeted_output_tokens.get(),
        unpriced_models_are_free: config.unpriced_models == UnpricedModels::Free,
        session_ttl_seconds: config.session_ttl_days.map(|days| u64::from(days.get()) * 24 * 3600),
        ..RunsConfig::default()
    }
}

/// The operator's exceptions for what tenants let the host fetch.
fn exceptions(config: &Config) -> Result<Vec<HostPort>, StartError> {
    let places = config.dangerously_allow_private_addresses.iter().map(|place| place.parse());
    Ok(places.collect::<Result<_, _>>()?)
}

/// Keeps the components of our modes for runs that outlive this binary. Start-up does not wait for it, and goes on without it.
async fn keep_components(folder: PathBuf, ours: OurModes, store: &dyn Store) -> Result<(), StoreError> {
    let unfinished = store.unfinished_runs().await?;
    let pinned: BTreeSet<ContentHash> = unfinished.into_iter().map(|(_, run)| run.plugin).collect();
    tokio::task::spawn_blocking(move || {
        if let Err(error) = components::keep(&folder, &ours, &pinned) {
            tracing::warn!(folder = %folder.display(), %error, "the components of the modes can not be kept: runs under way would not outlive an upgrade");
        }
    });
    Ok(())
}

fn components_folder(config: &Config) -> PathBuf {
    config.data.join("components")
}

/// A limit of tenants, by tier, where there is one.
fn of_tiers<T>(config: &Config, limit: impl Fn(RateLimit) -> Option<T>) -> BTreeMap<Tier, T> {
    config.limits.iter().filter_map(|(tier, of_tier)| Some((tier, limit(of_tier)?))).collect()
}

fn registry_config(config: &Config) -> RegistryConfig {
    RegistryConfig {
        workspaces: WorkspacesConfig {
            folder: workspaces(config),
            max_snapshots: config.max_snapshots,
            max_snapshot_bytes: config.max_snapshot_bytes,
        },
        components: components_folder(config),
        max_component_bytes: config.max_component_bytes,
        max_plugins: config.max_plugins,
        plugins_of_tier: of_tiers(config, |limit| limit.plugins),
        stored_bytes: of_tiers(config, |limit| limit.stored_bytes),
        max_versions: MAX_VERSIONS,
        max_plugin_bytes: config.max_plugin_bytes,
        tool_defaults: config.tool_limits.0,
        mode_defaults: config.mode_limits.0,
        maxima: config.max_limits.iter().map(|(tier, most)| (*tier, most.0)).collect(),
        dangerously_allow_private_addresses: config.dangerously_allow_private_addresses.clone(),
    }
}

/// The folder of the sessions' files.
pub(crate) fn workspaces(config: &Config) -> PathBuf {
    config.data.join("workspaces")
}

/// The variable that holds the key of the secrets in place of a file.
pub(crate) const SECRETS_KEY: &str = "VIVARIUM_SECRETS_KEY";

/// The key of the secrets as the environment has it.
pub(crate) fn secrets_key_text() -> Option<String> {
    std::env::var(SECRETS_KEY).ok().filter(|text| !text.is_empty())
}

/// The file of the key of the secrets.
pub(crate) fn secrets_key_file(config: &Config) -> PathBuf {
    config.secrets_key_file.clone().unwrap_or_else(|| config.data.join("secrets.key"))
}

/// Where the key of the secrets is, for a person.
pub(crate) fn secrets_key_place(config: &Config) -> String {
    match secrets_key_text() {
        Some(_) => SECRETS_KEY.to_owned(),
        None => secrets_key_file(config).display().to_string(),
    }
}

/// The key of the secrets, from the environment or from its file, which is made where it is not there.
fn vault(config: &Config) -> Result<Vault, StartError> {
    match secrets_key_text() {
        Some(text) => Ok(Vault::from_text(&text)?),
        None => Ok(Vault::from_file(&secrets_key_file(config))?),
    }
}

/// The store and the registry of a data folder that no server has open. Nothing can be run with them.
pub(crate) async fn without_server(config: &Config) -> Result<(Arc<dyn Store>, Registry), StartError> {
    let store = open_store(&config.data).await?;
    let cache = Some(config.data.join("compiled"));
    let rooms = Rooms {
        store: Arc::clone(&store),
        sandbox: Sandbox::new(SandboxConfig { cache, max_instances: Some(1), ..SandboxConfig::default() })?,
        egress: Arc::new(Egress::new()),
        corpus: None,
        vault: vault(config)?,
    };
    let registry = Registry::new(rooms, registry_config(config), Vec::new(), BTreeMap::new())?;
    Ok((store, registry))
}

/// Seals the secrets of a data folder that no server has open anew, with the key that seals now: of one tenant, or of all.
/// Gives how many were sealed with another key, by tenant.
///
/// # Errors
/// When the store or the key can not be had, or a secret does not open.
pub async fn reseal(config: &Config, of: Option<&TenantId>) -> Result<Vec<(TenantId, usize)>, StartError> {
    let (store, registry) = without_server(config).await?;
    let mut done = Vec::new();
    for tenant in store.tenants().await?.into_iter().filter(|tenant| of.is_none_or(|of| *of == tenant.id)) {
        let count = registry.reseal(&tenant.id, &AuditBy::CLI).await?;
        done.push((tenant.id, count));
    }
    Ok(done)
}

async fn load_plugins(config: &Config) -> Result<(Sandbox, Shared), StartError> {
    let config = config.clone();
    blocking(move || {
        let cache = Some(config.data.join("compiled"));
        if cache.as_ref().is_some_and(|cache| !cache.exists()) {
            tracing::info!("compiling the plugins; that is done once and takes some seconds");
        }
        let programs = programs(config.programs_dir.as_deref())?;
        let compiler = config.compiler.clone();
        let sandbox = Sandbox::new(SandboxConfig { cache, max_instances: None, compiler, programs })?;
        let shared = plugins::load(&sandbox, &config)?;
        Ok((sandbox, shared))
    })
    .await
}

async fn models(config: &Config) -> Result<Models, StartError> {
    let mut models = ModelsConfig::from_env(|name| match name {
        // The configuration has it, from this variable or from elsewhere.
        "VIVARIUM_MODEL" => None,
        name => std::env::var(name).ok(),
    })?;
    if let Some(model) = &config.model {
        models.default = DefaultModel::Named(model.clone());
    }
    models.embedded.weights.clone_from(&config.embedded_weights);
    models.prices = config.prices.clone();
    let providers = models.providers.iter_mut().map(|provider| &mut provider.timeouts);
    for timeouts in providers.chain([&mut models.embedded.timeouts]) {
        timeouts.first_byte = Duration::from_secs(config.model_first_token_seconds);
        timeouts.idle = Duration::from_secs(config.model_idle_seconds);
        timeouts.total = Duration::from_secs(config.model_timeout_seconds);
    }
    let models = Models::new(models).await?;
    let model = models.default_model();
    if models.price(model, utc_day(Timestamp::now())).is_none() {
        tracing::info!(%model, "this model has no price, so what it is asked costs nothing here; the configuration can give it one under `prices`");
    }
    Ok(models)
}
