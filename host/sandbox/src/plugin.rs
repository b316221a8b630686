//! A plugin, loaded: compiled, its imports linked, its exports found, its schemas ready to check against. All that can be
//! done once is done here, so that a call does none of it.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Semaphore;
use vivarium_domain::{ContentHash, Manifest};
use wasmtime::Engine;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, InstancePre, Linker};

use crate::LoadError;
use crate::bindings::exports::vivarium::plugin::{mode, tool};
use crate::capability;
use crate::compile::{CompileCache, Form};
use crate::compiler::Compiler;
use crate::engine::{EngineConfig, PooledEngine};
use crate::guest::Guest;
use crate::manifest::read_manifest;
use crate::program::{InstalledProgram, Programs};
use crate::schedule::Scheduler;
use crate::schema::{self, ToolSchemas};
use crate::warm::idle_room;

/// The largest component that is taken.
const MAX_COMPONENT_BYTES: usize = 64 << 20;

/// How the sandbox is made.
#[derive(Debug, Clone, Default)]
pub struct SandboxConfig {
    /// Where compiled components are kept; none: they are compiled at each start.
    pub cache: Option<PathBuf>,
    /// Live instances at one time; none: as many as the machine carries.
    pub max_instances: Option<u32>,
    /// Who compiles what is not in the cache. Without a cache, this process.
    pub compiler: Compiler,
    /// The programs that tools may run, besides those of workspaces.
    pub programs: Vec<InstalledProgram>,
}

/// The engine with every capability linked: loads plugins. Cheap to clone.
#[derive(Clone)]
pub struct Sandbox {
    engine: PooledEngine,
    linker: Arc<Linker<Guest>>,
    cache: CompileCache,
    idle_room: Arc<Semaphore>,
    scheduler: Scheduler,
    programs: Programs,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("max_instances", &self.engine.max_instances).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts the engine.
    ///
    /// # Errors
    /// When the engine can not be made on this machine, or the cache's folder can not.
    pub fn new(config: SandboxConfig) -> Result<Self, LoadError> {
        let began = Instant::now();
        let engine = PooledEngine::new(EngineConfig { max_instances: config.max_instances })?;
        let mut linker = Linker::new(&engine.engine);
        capability::add_to_linker(&mut linker).map_err(|error| LoadError::Engine(format!("{error:#}")))?;
        tracing::debug!(max_instances = engine.max_instances, elapsed = ?began.elapsed(), "the sandbox's engine is up");
        let idle_room = idle_room(engine.max_instances);
        let cache = CompileCache::new(config.cache, config.compiler)?;
        let programs = Programs::new(&engine, &cache, config.programs)?;
        Ok(Self { engine, linker: Arc::new(linker), cache, idle_room, scheduler: Scheduler::new()?, programs })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine.engine
    }

    /// How many instances can live at one time.
    #[must_use]
    pub fn max_instances(&self) -> u32 {
        self.engine.max_instances
    }

    /// The component's compiled form is kept: loading it takes no compiling.
    #[must_use]
    pub fn keeps(&self, digest: ContentHash) -> bool {
        self.cache.keeps(&self.engine, digest)
    }

    /// Removes a component's compiled form from the cache. Plugins that are loaded go on.
    pub fn forget(&self, digest: ContentHash) {
        self.cache.forget(&self.engine, digest);
    }

    /// Loads a plugin. Takes seconds for a large component that is not in the cache: not for a request's thread.
    ///
    /// # Errors
    /// See [`LoadError`]. Nothing of the guest runs.
    pub fn load(&self, bytes: &[u8]) -> Result<Plugin, LoadError> {
        if bytes.len() > MAX_COMPONENT_BYTES {
            return Err(LoadError::TooLarge { size: bytes.len(), limit: MAX_COMPONENT_BYTES });
        }
        let began = Instant::now();
        let manifest = read_manifest(bytes)?;
        let schemas = schema::compile(&manifest)?;
        let digest = ContentHash::of(bytes);
        let component = self.cache.load(&self.engine, digest, bytes, Form::Plugin)?;
        check_imports(&component, &manifest)?;
        let pre = self
            .linker
            .instantiate_pre(&component)
            .map_err(|error| LoadError::NotAComponent(format!("it does not fit the contract: {error:#}")))?;
        let mode = mode::GuestIndices::new(&pre).ok();
        let tool = tool::GuestIndices::new(&pre).ok();
        if !manifest.modes.is_empty() && mode.is_none() {
            return Err(LoadError::Export { what: "modes", interface: "vivarium:plugin/mode@0.1.0" });
        }
        if !manifest.tools.is_empty() && tool.is_none() {
            return Err(LoadError::Export { what: "tools", interface: "vivarium:plugin/tool@0.1.0" });
        }
        tracing::debug!(plugin = %manifest.name, %digest, elapsed = ?began.elapsed(), "a plugin is loaded");
        Ok(Plugin {
            digest,
            manifest: Arc::new(manifest),
            pre,
            mode,
            tool,
            schemas,
            identity: Arc::default(),
            idle_room: Arc::clone(&self.idle_room),
            scheduler: self.scheduler.clone(),
            programs: self.programs.clone(),
        })
    }
}

/// A loaded plugin.
pub struct Plugin {
    digest: ContentHash,
    manifest: Arc<Manifest>,
    pub(crate) pre: InstancePre<Guest>,
    pub(crate) mode: Option<mode::GuestIndices>,
    pub(crate) tool: Option<tool::GuestIndices>,
    schemas: HashMap<String, ToolSchemas>,
    /// Tells this loaded plugin from all others, also from the same component loaded again.
    pub(crate) identity: Arc<()>,
    pub(crate) idle_room: Arc<Semaphore>,
    pub(crate) scheduler: Scheduler,
    pub(crate) programs: Programs,
}

impl std::fmt::Debug for Plugin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Plugin")
            .field("name", &self.manifest.name)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl Plugin {
    /// SHA-256 of the component.
    #[must_use]
    pub fn digest(&self) -> ContentHash {
        self.digest
    }

    /// What it says of itself.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    pub(crate) fn shared_manifest(&self) -> Arc<Manifest> {
        Arc::clone(&self.manifest)
    }

    /// Checks a call's arguments, so that a tool sees only what its schema allows. The error is for the model.
    pub(crate) fn check_arguments(&self, tool: &str, arguments_json: &str) -> Result<(), String> {
        let Some(schemas) = self.schemas.get(tool) else {
            return Err(format!("{} has no tool {tool}", self.manifest.name));
        };
        schemas.check_arguments(arguments_json)
    }

    /// Checks what a tool gives back, where its manifest says what that looks like.
    pub(crate) fn check_output(&self, tool: &str, content: &str) -> Result<(), String> {
        self.schemas.get(tool).map_or(Ok(()), |schemas| schemas.check_output(content))
    }
}

/// An interface that is imported for its types alone gives nothing: a mode's request names types of `model`.
fn has_functions(import: &ComponentItem, engine: &Engine) -> bool {
    match import {
        ComponentItem::ComponentInstance(interface) => {
            interface.exports(engine).any(|(_, item)| matches!(item.ty, ComponentItem::ComponentFunc(_)))
        }
        _ => true,
    }
}

/// An import must be of the contract, and the manifest must ask for what it gives.
fn check_imports(component: &Component, manifest: &Manifest) -> Result<(), LoadError> {
    let requests = &manifest.requests;
    let component_type = component.component_type();
    for (import, item) in component_type.imports(component.engine()) {
        let interface = import.split('@').next().unwrap_or(import);
        let asked = match interface {
            "vivarium:plugin/model" => Some(("model", requests.model)),
            "vivarium:plugin/corpus" => Some(("corpus", requests.corpus)),
            "vivarium:plugin/state" => Some(("state", requests.state)),
            "vivarium:plugin/programs" => Some(("programs", requests.programs)),
            "vivarium:plugin/secrets" => Some(("secrets", !requests.secrets.is_empty())),
            "vivarium:plugin/settings" => Some(("settings", !requests.settings.is_empty())),
            "wasi:http/outgoing-handler" => Some(("hosts", !requests.hosts.is_empty())),
            // Every standard library pulls in the rest of WASI, files and sockets too: they give nothing by themselves.
            _ => None,
        };
        if let Some((field, false)) = asked.filter(|_| has_functions(&item.ty, component.engine())) {
            let reason = format!("and its manifest does not ask for it: set `requests.{field}`");
            return Err(LoadError::Import { import: import.to_owned(), reason });
        }
        if !interface.starts_with("vivarium:plugin/") && !interface.starts_with("wasi:") {
            let reason = "which this host does not have: it links vivarium:plugin 0.1.0 and WASI 0.2".to_owned();
            return Err(LoadError::Import { import: import.to_owned(), reason });
        }
    }
    Ok(())
}
