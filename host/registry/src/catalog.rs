//! What one tenant has at one moment: modes and tools by name, each with its plugin and what that may do.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use vivarium_domain::{Approval, ModeManifest, PluginGrant, PluginLimits, PluginName, ToolDefinition, ToolManifest};
use vivarium_sandbox::{CorpusView, FileQuota, Grant, Limits, Plugin, WarmPool};

use crate::provider::ToolProvider;
use crate::remote::McpInUse;

/// A plugin in a tenant: what it may do is worked out.
#[derive(Debug)]
pub struct PluginInUse {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// What it may do.
    pub grant: Arc<Grant>,
    /// What a call of one of its tools may use.
    pub tool_limits: Arc<Limits>,
    /// What a run of one of its modes may use.
    pub mode_limits: Arc<Limits>,
    /// What the workspace of a session may hold.
    pub file_quota: FileQuota,
    /// Its idle instances, of this tenant alone.
    pub warm: Arc<WarmPool>,
    /// Which of its tools need a person's approval.
    pub(crate) approvals: BTreeMap<vivarium_domain::ToolName, Approval>,
    /// It asks for documents to search and may have them, whether there are any or not.
    pub(crate) may_search: bool,
}

impl PluginInUse {
    /// One of our own that searches documents, where there are none: no model should be offered what can only fail. What
    /// others' plugins do without documents is theirs to know.
    fn waits_for_documents(&self) -> bool {
        self.may_search && self.grant.corpus.is_none() && self.name().is_ours()
    }

    /// The same with these documents to search.
    fn searching(&self, documents: &Arc<dyn CorpusView>) -> Self {
        let grant = Grant { corpus: Some(Arc::clone(documents)), ..(*self.grant).clone() };
        Self {
            plugin: Arc::clone(&self.plugin),
            grant: Arc::new(grant),
            tool_limits: Arc::clone(&self.tool_limits),
            mode_limits: Arc::clone(&self.mode_limits),
            file_quota: self.file_quota,
            // What an instance remembers of these documents is not for calls that have others.
            warm: Arc::default(),
            approvals: self.approvals.clone(),
            may_search: true,
        }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &PluginName {
        &self.plugin.manifest().name
    }
}

/// A mode that can be run.
#[derive(Debug, Clone)]
pub struct ModeEntry {
    /// What it says of itself.
    pub manifest: Arc<ModeManifest>,
    /// Whose it is.
    pub plugin: Arc<PluginInUse>,
}

/// A tool that can be called.
#[derive(Debug, Clone)]
pub struct ToolEntry {
    /// What it says of itself.
    pub manifest: Arc<ToolManifest>,
    /// Whose it is.
    pub provider: ToolProvider,
    /// Whether a person is asked before each call. Never [`Approval::Never`]: such a tool is not in a catalog.
    pub approval: Approval,
}

/// What a tenant has at one moment.
#[derive(Debug, Default)]
pub struct Catalog {
    modes: BTreeMap<String, ModeEntry>,
    tools: BTreeMap<String, ToolEntry>,
    definitions: Vec<ToolDefinition>,
    /// All plugins, in the order in which their names count.
    plugins: Vec<Arc<PluginInUse>>,
    servers: Vec<Arc<McpInUse>>,
    /// Tools that are there only with documents to search.
    waiting: BTreeSet<String>,
}

impl Catalog {
    /// Puts plugins and remote servers together; of two that provide the same name, the first one has it, and a plugin before
    /// a server.
    pub(crate) fn of(plugins: Vec<Arc<PluginInUse>>, servers: Vec<Arc<McpInUse>>) -> Self {
        let mut catalog = Self::default();
        for plugin in &plugins {
            catalog.add(plugin);
        }
        for server in &servers {
            catalog.add_server(server);
        }
        (catalog.plugins, catalog.servers) = (plugins, servers);
        catalog.definitions = catalog.tools.values().map(|tool| definition(&tool.manifest)).collect();
        catalog
    }

    fn add(&mut self, plugin: &Arc<PluginInUse>) {
        let manifest = plugin.plugin.manifest();
        for mode in &manifest.modes {
            let entry = ModeEntry { manifest: Arc::new(mode.clone()), plugin: Arc::clone(plugin) };
            self.modes.entry(mode.name.to_string()).or_insert(entry);
        }
        for tool in &manifest.tools {
            let approval = plugin.approvals.get(&tool.name).copied().unwrap_or_default();
            if approval == Approval::Never {
                continue;
            }
            if plugin.waits_for_documents() {
                self.waiting.insert(tool.name.to_string());
                continue;
            }
            let entry = ToolEntry {
                manifest: Arc::new(tool.clone()),
                provider: ToolProvider::Plugin(Arc::clone(plugin)),
                approval,
            };
            self.tools.entry(tool.name.to_string()).or_insert(entry);
        }
    }

    fn add_server(&mut self, in_use: &Arc<McpInUse>) {
        let server = in_use.server();
        for tool in &server.tools {
            let (manifest, approval) = (&tool.manifest, server.approval(&tool.manifest));
            if approval == Approval::Never || self.waiting.contains(manifest.name.as_str()) {
                continue;
            }
            let provider = ToolProvider::Mcp(Arc::clone(in_use));
            let entry = ToolEntry { manifest: Arc::new(manifest.clone()), provider, approval };
            self.tools.entry(manifest.name.to_string()).or_insert(entry);
        }
    }

    /// The same with these documents to search, for each plugin that may search.
    #[must_use]
    pub fn searching(&self, documents: &Arc<dyn CorpusView>) -> Self {
        let with_documents = |plugin: &Arc<PluginInUse>| match plugin.may_search {
            true => Arc::new(plugin.searching(documents)),
            false => Arc::clone(plugin),
        };
        Self::of(self.plugins.iter().map(with_documents).collect(), self.servers.clone())
    }

    /// Whether there is a tool of this name, or would be with documents to search.
    #[must_use]
    pub fn knows_tool(&self, name: &str) -> bool {
        self.tools.contains_key(name) || self.waiting.contains(name)
    }

    /// A mode by its name.
    #[must_use]
    pub fn mode(&self, name: &str) -> Option<&ModeEntry> {
        self.modes.get(name)
    }

    /// A tool by its name.
    #[must_use]
    pub fn tool(&self, name: &str) -> Option<&ToolEntry> {
        self.tools.get(name)
    }

    /// All tools, by name.
    pub fn tools(&self) -> impl Iterator<Item = &ToolEntry> {
        self.tools.values()
    }

    /// The modes' names in order, for a sentence; `none` where there are none.
    #[must_use]
    pub fn mode_names(&self) -> String {
        listed(self.modes.keys())
    }

    /// The tools' names in order, for a sentence; `none` where there are none.
    #[must_use]
    pub fn tool_names(&self) -> String {
        listed(self.tools.keys())
    }

    /// All tools as a model is told of them, by name.
    #[must_use]
    pub fn definitions(&self) -> &[ToolDefinition] {
        &self.definitions
    }
}

fn listed<'a>(names: impl Iterator<Item = &'a String>) -> String {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

fn definition(manifest: &ToolManifest) -> ToolDefinition {
    ToolDefinition {
        name: manifest.name.clone(),
        description: manifest.description.clone(),
        input_schema: manifest.input_schema.clone(),
        read_only: manifest.read_only,
    }
}

/// A plugin's limits in a tenant: its grant's, else its manifest's, else the default, and never more than the maximum.
pub(crate) fn limits(
    grant: &PluginGrant,
    manifest: &vivarium_domain::Manifest,
    defaults: PluginLimits,
    maxima: PluginLimits,
) -> PluginLimits {
    grant.limits.or(manifest.limits).or(defaults).at_most(maxima)
}

/// What no limit of a mode goes beyond. A mode waits for models, tools and people, so its time is another one than a
/// tool's: where the tenant's maximum is below a mode's default, the default is the maximum.
pub(crate) fn mode_maxima(maxima: PluginLimits, defaults: PluginLimits) -> PluginLimits {
    let wider = |most: Option<u64>, default: Option<u64>| most.map(|most| most.max(default.unwrap_or_default()));
    PluginLimits {
        wall_ms: wider(maxima.wall_ms, defaults.wall_ms),
        cpu_ms: wider(maxima.cpu_ms, defaults.cpu_ms),
        host_calls: wider(maxima.host_calls, defaults.host_calls),
        ..maxima
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_gets_its_default_time_where_the_tenants_maximum_is_less_and_never_more_than_both() {
        let limits = |wall_ms, cpu_ms, host_calls| PluginLimits {
            wall_ms: Some(wall_ms),
            cpu_ms: Some(cpu_ms),
            host_calls: Some(host_calls),
            ..PluginLimits::default()
        };
        let defaults = limits(600, 20, 50);
        let wishes = limits(u64::MAX, u64::MAX, u64::MAX);
        let maxima = PluginLimits { memory_bytes: Some(7), ..limits(60, 100, 200) };
        let most = wishes.or(PluginLimits { memory_bytes: Some(9), ..wishes }).at_most(mode_maxima(maxima, defaults));
        assert_eq!(most, PluginLimits { memory_bytes: Some(7), ..limits(600, 100, 200) });
        assert_eq!(defaults.at_most(mode_maxima(maxima, defaults)).wall_ms, Some(600));
        assert_eq!(mode_maxima(PluginLimits::default(), defaults), PluginLimits::default(), "no maximum is no maximum");
    }
}
