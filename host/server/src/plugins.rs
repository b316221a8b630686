//! The plugins that all tenants have: those that came with the binary, and those of a folder that the operator names. What
//! each may do where a tenant has not said so itself is put together here, from its manifest and the configuration.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread;

use vivarium_domain::{HostRequest, Manifest, PluginGrant, PluginName, SecretUse};
use vivarium_egress::{AllowedHost, HostPort, Injection};
use vivarium_registry::{OperatorGift, OperatorSecret, SharedPlugin};
use vivarium_sandbox::{Plugin, Sandbox};

use crate::components::OurModes;
use crate::config::{Config, PluginConfig};
use crate::host::StartError;

/// File name and bytes of each component in `plugins/dist` when this binary was built.
const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/plugins.rs"));

/// What the files' names begin with that hold programs, and no plugins.
const PROGRAM: &str = "program-";

/// Names and code of the programs that came with this binary.
pub(crate) fn embedded_programs() -> impl Iterator<Item = (&'static str, &'static [u8])> {
    EMBEDDED.iter().filter_map(|(name, bytes)| Some((name.strip_prefix(PROGRAM)?, *bytes)))
}

/// The plugin that reads documents for the host itself: no tenant sees it.
const DOCUMENTS: &str = "vivarium/documents";

/// A component before it is loaded.
struct Component {
    name: String,
    bytes: Cow<'static, [u8]>,
    /// It came with the binary: what its manifest asks for is what we ask for.
    ours: bool,
}

/// What the operator has for all tenants.
pub(crate) struct Shared {
    /// Plugins that are there from the start.
    pub(crate) plugins: Vec<SharedPlugin>,
    /// What others get that the operator installs while the host runs.
    pub(crate) gifts: BTreeMap<PluginName, OperatorGift>,
    /// The components among them that came with the binary and provide modes.
    pub(crate) modes: OurModes,
    /// The host's own reader of documents; none where this build holds none.
    pub(crate) documents: Option<Arc<Plugin>>,
}

/// Loads the plugins, at once on all cores: what is not in the cache of compiled forms takes a second each.
pub(crate) fn load(sandbox: &Sandbox, config: &Config) -> Result<Shared, StartError> {
    let components = components(config.plugins_dir.as_deref())?;
    if components.is_empty() {
        return Err(StartError::NoPlugins);
    }
    let loaded: Vec<_> = thread::scope(|scope| {
        let threads: Vec<_> =
            components.iter().map(|component| scope.spawn(move || sandbox.load(&component.bytes))).collect();
        threads.into_iter().map(thread::ScopedJoinHandle::join).collect()
    });
    let mut gifts = gifts(config)?;
    let mut plugins = Vec::new();
    let (mut documents, mut modes) = (None, Vec::new());
    for (component, loaded) in components.iter().zip(loaded) {
        let failed = |reason: String| StartError::Plugin { name: component.name.clone(), reason };
        let plugin = loaded.map_err(|_| failed("loading it panicked".to_owned()))?;
        let plugin = plugin.map_err(|error| failed(error.to_string()))?;
        let manifest = plugin.manifest();
        if component.ours && manifest.name.as_str() == DOCUMENTS {
            documents = Some(Arc::new(plugin));
            continue;
        }
        let hosts_are_set = config.plugins.get(manifest.name.as_str()).is_some_and(|given| given.hosts.is_some());
        let mut gift = gifts.remove(&manifest.name).unwrap_or_default();
        check_asked(manifest, &gift).map_err(failed)?;
        if component.ours {
            give_what_it_asks(manifest, &mut gift.grant, hosts_are_set);
            if has_nothing_to_work_with(manifest, &gift.grant) {
                tracing::debug!(plugin = %manifest.name, "left out: nothing of this host is there for it to work with");
                continue;
            }
        }
        check_provided(manifest, &plugins).map_err(failed)?;
        if component.ours && !manifest.modes.is_empty() {
            modes.push((plugin.digest(), component.bytes.to_vec()));
        }
        plugins.push(SharedPlugin { plugin: Arc::new(plugin), bytes: component.bytes.len() as u64, gift });
    }
    for name in gifts.keys() {
        tracing::info!(plugin = %name, "the configuration gives this plugin something, and it is not among those of this start");
    }
    Ok(Shared { plugins, gifts, modes: OurModes(modes), documents })
}

fn components(folder: Option<&Path>) -> Result<Vec<Component>, StartError> {
    let embedded = EMBEDDED.iter().filter(|(name, _)| !name.starts_with(PROGRAM)).map(|(name, bytes)| Component {
        name: (*name).to_owned(),
        bytes: Cow::Borrowed(*bytes),
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

/// What the configuration gives, by plugin; all of it reads.
fn gifts(config: &Config) -> Result<BTreeMap<PluginName, OperatorGift>, StartError> {
    let mut gifts = BTreeMap::new();
    for (name, given) in &config.plugins {
        let failed = |reason: String| StartError::Plugin { name: name.clone(), reason };
        let plugin = name.parse::<PluginName>().map_err(|error| failed(error.to_string()))?;
        gifts.insert(plugin, gift(given).map_err(failed)?);
    }
    Ok(gifts)
}

fn gift(given: &PluginConfig) -> Result<OperatorGift, String> {
    let hosts: Vec<HostRequest> = given.hosts.clone().unwrap_or_default();
    for host in &hosts {
        AllowedHost::parse(&host.host, &host.methods).map_err(|error| error.to_string())?;
    }
    for place in &given.dangerously_allow_private_addresses {
        place.parse::<HostPort>().map_err(|error| error.to_string())?;
    }
    let mut secrets = BTreeMap::new();
    for (name, secret) in &given.secrets {
        let value = secret.value.0.clone();
        Injection::new(&secret.host, &secret.header, &secret.prefix, value.clone())
            .map_err(|error| error.to_string())?;
        let (host, header, prefix) = (secret.host.clone(), secret.header.clone(), secret.prefix.clone());
        secrets.insert(name.clone(), OperatorSecret { inject: SecretUse { host, header, prefix }, value });
    }
    let grant = PluginGrant {
        hosts,
        secrets: Vec::new(),
        settings: given.settings.clone(),
        files: given.files,
        corpus: given.corpus,
        state: given.state,
        programs: given.programs,
        limits: given.limits.0,
        approvals: given.approvals.clone(),
        dangerously_allow_private_addresses: given.dangerously_allow_private_addresses.clone(),
    };
    Ok(OperatorGift { grant, secrets })
}

/// A setting or a secret that the plugin does not ask for is a typing error in the configuration.
fn check_asked(manifest: &Manifest, gift: &OperatorGift) -> Result<(), String> {
    let requests = &manifest.requests;
    let secrets: Vec<String> = requests.secrets.iter().map(ToString::to_string).collect();
    for (what, names, asked) in [
        ("setting", gift.grant.settings.keys().cloned().collect::<Vec<_>>(), &requests.settings),
        ("secret", gift.secrets.keys().map(ToString::to_string).collect(), &secrets),
    ] {
        if let Some(unasked) = names.into_iter().find(|name| !asked.contains(name)) {
            let asked = if asked.is_empty() { "none".to_owned() } else { asked.join(", ") };
            return Err(format!("the configuration gives it the {what} {unasked:?}, and it asks for: {asked}"));
        }
    }
    Ok(())
}

/// Two plugins of the same start can not both provide a mode or a tool of one name.
fn check_provided(manifest: &Manifest, plugins: &[SharedPlugin]) -> Result<(), String> {
    for other in plugins {
        let other = other.plugin.manifest();
        if let Some((kind, name)) = manifest.provides_too(other) {
            return Err(format!("{} and {} both provide the {kind} {name}", other.name, manifest.name));
        }
    }
    Ok(())
}

/// What came with the binary gets what its manifest asks for, unless the operator has named its hosts.
fn give_what_it_asks(manifest: &Manifest, grant: &mut PluginGrant, hosts_are_set: bool) {
    let requests = &manifest.requests;
    if !hosts_are_set {
        grant.hosts.clone_from(&requests.hosts);
    }
    grant.files = grant.files.or(requests.files);
    grant.corpus |= requests.corpus;
    grant.state |= requests.state;
    grant.programs |= requests.programs;
}

/// Our own tools over a search engine that nobody has set: no model should be offered what can only fail. Tools over
/// documents stay: a run may bring some. Settings alone are choices, which may be left as they are.
fn has_nothing_to_work_with(manifest: &Manifest, grant: &PluginGrant) -> bool {
    !manifest.requests.secrets.is_empty() && grant.settings.is_empty()
}
