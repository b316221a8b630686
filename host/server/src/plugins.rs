//! The plugins of this host: those that came with the binary, and those of a folder that the operator names. What each
//! may do is put together here, from its manifest and the configuration.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use http::Method;
use vivarium_domain::Manifest;
use vivarium_egress::{Egress, EgressPolicy, HostPort, HostRule, Injection};
use vivarium_sandbox::{CorpusView, Grant, InstalledPlugin, Plugin, Registry, Sandbox};

use crate::config::{Config, PluginConfig};
use crate::host::StartError;

/// File name and bytes of each component in `plugins/dist` when this binary was built.
const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/plugins.rs"));

/// A component before it is loaded.
struct Component {
    name: String,
    bytes: std::borrow::Cow<'static, [u8]>,
    /// It came with the binary: what its manifest asks for is what we ask for.
    ours: bool,
}

/// What plugins can be given.
pub(crate) struct Gifts {
    pub(crate) egress: Arc<Egress>,
    pub(crate) corpus: Option<Arc<dyn CorpusView>>,
}

/// Loads all plugins, at once on all cores: what is not in the cache of compiled forms takes a second each.
pub(crate) fn load(sandbox: &Sandbox, config: &Config, gifts: &Gifts) -> Result<Registry, StartError> {
    let components = components(config.plugins_dir.as_deref())?;
    if components.is_empty() {
        return Err(StartError::NoPlugins);
    }
    let loaded: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            components.iter().map(|component| scope.spawn(move || sandbox.load(&component.bytes))).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut registry = Registry::default();
    let mut given = Vec::new();
    for (component, loaded) in components.iter().zip(loaded) {
        let failed = |reason: String| StartError::Plugin { name: component.name.clone(), reason };
        let plugin = loaded.map_err(|_| failed("loading it panicked".to_owned()))?;
        let plugin = plugin.map_err(|error| failed(error.to_string()))?;
        given.push(plugin.manifest().name.to_string());
        let grant = grant(&plugin, component.ours, config, gifts).map_err(failed)?;
        if component.ours && has_nothing_to_work_with(plugin.manifest(), &grant) {
            tracing::debug!(plugin = %plugin.manifest().name, "left out: nothing of this host is there for it to work with");
            continue;
        }
        let installed = InstalledPlugin { plugin: Arc::new(plugin), grant: Arc::new(grant) };
        registry.add(&installed).map_err(|error| failed(error.to_string()))?;
    }
    if let Some(nobody) = config.plugins.keys().find(|name| !given.contains(name)) {
        let reason =
            format!("the configuration has plugins.{nobody:?}, and no plugin has this name: {}", given.join(", "));
        return Err(StartError::Plugin { name: nobody.clone(), reason });
    }
    Ok(registry)
}

fn components(folder: Option<&Path>) -> Result<Vec<Component>, StartError> {
    let embedded = EMBEDDED.iter().map(|(name, bytes)| Component {
        name: (*name).to_owned(),
        bytes: std::borrow::Cow::Borrowed(*bytes),
        ours: true,
    });
    let mut components: Vec<Component> = embedded.collect();
    let Some(folder) = folder else { return Ok(components) };
    let unreadable = |error: std::io::Error| StartError::Plugin {
        name: folder.display().to_string(),
        reason: format!("the folder of plugins can not be read: {error}"),
    };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "wasm") {
            paths.push(path);
        }
    }
    paths.sort();
    for path in paths {
        let bytes = fs::read(&path).map_err(unreadable)?.into();
        components.push(Component { name: path.display().to_string(), bytes, ours: false });
    }
    Ok(components)
}

/// What a plugin may do: of what its manifest asks for, what the configuration gives.
fn grant(plugin: &Plugin, ours: bool, config: &Config, gifts: &Gifts) -> Result<Grant, String> {
    let manifest = plugin.manifest();
    let nothing = PluginConfig::default();
    let given = config.plugins.get(manifest.name.as_str()).unwrap_or(&nothing);
    for (what, names, asked) in [
        ("setting", given.settings.keys().collect::<Vec<_>>(), &manifest.requests.settings),
        ("secret", given.secrets.keys().collect(), &manifest.requests.secrets),
    ] {
        if let Some(unasked) = names.into_iter().find(|name| !asked.contains(name)) {
            let asked = if asked.is_empty() { "none".to_owned() } else { asked.join(", ") };
            return Err(format!("the configuration gives it the {what} {unasked:?}, and it asks for: {asked}"));
        }
    }
    let policy = policy(manifest, ours, given)?;
    Ok(Grant {
        egress: policy.map(|policy| (Arc::clone(&gifts.egress), Arc::new(policy))),
        settings: given.settings.clone(),
        secrets: given.secrets.keys().cloned().collect(),
        // Ours gets the corpus that the operator started the host with; others only where the configuration says so.
        corpus: gifts.corpus.clone().filter(|_| manifest.requests.corpus && (ours || given.corpus)),
    })
}

/// Our own tools over a corpus that is not there, or over a search engine that nobody has set: no model should be offered
/// what can only fail.
fn has_nothing_to_work_with(manifest: &Manifest, grant: &Grant) -> bool {
    let requests = &manifest.requests;
    (requests.corpus && grant.corpus.is_none()) || (!requests.settings.is_empty() && grant.settings.is_empty())
}

fn policy(manifest: &Manifest, ours: bool, given: &PluginConfig) -> Result<Option<EgressPolicy>, String> {
    let unasked: &[String] = if ours { &manifest.requests.hosts } else { &[] };
    let hosts = given.hosts.as_deref().unwrap_or(unasked);
    let private = &given.dangerously_allow_private_addresses;
    if hosts.is_empty() && private.is_empty() {
        return Ok(None);
    }
    let hosts: Result<Vec<HostRule>, _> = hosts.iter().map(|rule| rule.parse()).collect();
    let private: Result<Vec<HostPort>, _> = private.iter().map(|place| place.parse()).collect();
    let injections: Result<Vec<Injection>, _> = given
        .secrets
        .values()
        .map(|secret| Injection::new(&secret.host, &secret.header, &secret.prefix, secret.value.0.clone()))
        .collect();
    Ok(Some(EgressPolicy {
        hosts: hosts.map_err(|error| error.to_string())?,
        methods: vec![Method::GET, Method::HEAD, Method::POST],
        dangerously_allow_private_addresses: private.map_err(|error| error.to_string())?,
        injections: injections.map_err(|error| error.to_string())?,
        ..EgressPolicy::default()
    }))
}
