//! Which plugins this host has, and what each may do: the first-party ones out of the binary itself, others from files
//! that the operator names. Nothing is granted by being asked for: a file's plugin gets nothing but its own memory.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use axum::http::Method;
use vivarium_egress::{Egress, EgressPolicy, HostPort, HostRule, Injection};
use vivarium_sandbox::{CorpusView, Grant, InstalledPlugin, Plugin, Registry, Sandbox};

use crate::config::{WebConfig, WebSearchEngine};

/// The components that the build put into the binary: file name and bytes.
const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/plugins.rs"));

/// What the first-party plugins can be granted.
pub(crate) struct Grants {
    /// The documents, if there are any.
    pub(crate) corpus: Option<Arc<dyn CorpusView>>,
    /// What the operator has set about the web.
    pub(crate) web: WebConfig,
}

/// Loads all plugins. A plugin whose work is impossible on this host (a corpus without documents, a search without an
/// engine) is left out, so that no model is offered a tool that can only fail.
pub(crate) fn load(sandbox: &Sandbox, files: &[PathBuf], grants: &Grants) -> Result<Registry> {
    if EMBEDDED.is_empty() {
        bail!("this build holds no plugins: build it with `cargo xtask serve` (or `cargo xtask guests`, then cargo build)");
    }
    let mut components: Vec<(String, Vec<u8>)> =
        EMBEDDED.iter().map(|(name, bytes)| ((*name).to_owned(), bytes.to_vec())).collect();
    for file in files {
        let bytes = std::fs::read(file).with_context(|| format!("the plugin {} can not be read", file.display()))?;
        components.push((file.display().to_string(), bytes));
    }
    let egress = Arc::new(Egress::new());
    let mut registry = Registry::default();
    for ((name, _), plugin) in components.iter().zip(load_all(sandbox, &components)) {
        let plugin = plugin.with_context(|| format!("the plugin {name} can not be loaded"))?;
        // Only what came with the binary is first-party, whatever a file's manifest calls itself.
        let first_party = EMBEDDED.iter().any(|(embedded, _)| embedded == name);
        let grant = if first_party { grants.for_first_party(&plugin, &egress)? } else { Some(Grant::default()) };
        if let Some(grant) = grant {
            let installed = InstalledPlugin { plugin: Arc::new(plugin), grant: Arc::new(grant) };
            registry.add(&installed).with_context(|| format!("the plugin {name} can not be added"))?;
        }
    }
    Ok(registry)
}

/// One thread a component: the first start compiles them all.
fn load_all(
    sandbox: &Sandbox,
    components: &[(String, Vec<u8>)],
) -> Vec<Result<Plugin, vivarium_sandbox::LoadError>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            components.iter().map(|(_, bytes)| scope.spawn(move || sandbox.load(bytes))).collect();
        threads
            .into_iter()
            .map(|thread| {
                thread.join().unwrap_or_else(|_| {
                    Err(vivarium_sandbox::LoadError::Engine("the compiler broke off".to_owned()))
                })
            })
            .collect()
    })
}

impl Grants {
    /// What a first-party plugin may do; none: it has nothing to work with here.
    fn for_first_party(&self, plugin: &Plugin, egress: &Arc<Egress>) -> Result<Option<Grant>> {
        Ok(match plugin.manifest().name.as_str() {
            "vivarium/corpus" => {
                self.corpus.clone().map(|corpus| Grant { corpus: Some(corpus), ..Grant::default() })
            }
            "vivarium/web-search" => self.web_search(egress)?,
            "vivarium/web-fetch" => self.web.fetch.then(|| self.web_fetch(egress)),
            _ => Some(Grant::default()),
        })
    }

    fn private_addresses(&self) -> Vec<HostPort> {
        self.web.dangerously_allow_private_addresses.clone()
    }

    /// Every public page may be read, none be written to.
    fn web_fetch(&self, egress: &Arc<Egress>) -> Grant {
        let policy = EgressPolicy {
            hosts: "*".parse::<HostRule>().into_iter().collect(),
            methods: vec![Method::GET, Method::HEAD],
            dangerously_allow_private_addresses: self.private_addresses(),
            ..EgressPolicy::default()
        };
        Grant { egress: Some((Arc::clone(egress), Arc::new(policy))), ..Grant::default() }
    }

    /// The one engine that the operator has chosen, with its key where it has one.
    fn web_search(&self, egress: &Arc<Egress>) -> Result<Option<Grant>> {
        let Some(engine) = &self.web.search else { return Ok(None) };
        let mut settings = BTreeMap::from([("engine".to_owned(), engine.name().to_owned())]);
        let base_url = engine.base_url();
        settings.insert("base-url".to_owned(), base_url.to_string());
        let host = base_url.host_str().context("the search engine's base-url names no host")?;
        let rule = match base_url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        let mut policy = EgressPolicy {
            hosts: vec![rule.parse().context("the search engine's base-url")?],
            methods: vec![Method::GET, Method::POST],
            dangerously_allow_private_addresses: self.private_addresses(),
            ..EgressPolicy::default()
        };
        let mut secrets = BTreeSet::new();
        match engine {
            WebSearchEngine::Searxng { .. } => {
                // The operator names the instance, so it may stand beside the host.
                let port = base_url.port_or_known_default().context("the search engine's base-url has no port")?;
                let exception = format!("{host}:{port}").parse().context("the search engine's base-url")?;
                policy.dangerously_allow_private_addresses.push(exception);
            }
            WebSearchEngine::Brave { key, .. } => {
                policy.injections.push(Injection::new(host, "x-subscription-token", "", key.clone())?);
                secrets.insert("brave-key".to_owned());
            }
            WebSearchEngine::Tavily { key, .. } => {
                policy.injections.push(Injection::new(host, "authorization", "Bearer ", key.clone())?);
                secrets.insert("tavily-key".to_owned());
            }
        }
        let egress = Some((Arc::clone(egress), Arc::new(policy)));
        Ok(Some(Grant { egress, settings, secrets, corpus: None }))
    }
}
