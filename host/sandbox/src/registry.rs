//! Which modes and tools there are, by name, and what each plugin was granted.

use std::collections::BTreeMap;
use std::sync::Arc;

use vivarium_domain::{ModeManifest, ToolManifest};

use crate::capability::Grant;
use crate::error::LoadError;
use crate::plugin::Plugin;

/// A plugin and what it was granted.
#[derive(Debug, Clone)]
pub struct InstalledPlugin {
    /// The plugin.
    pub plugin: Arc<Plugin>,
    /// What it may do.
    pub grant: Arc<Grant>,
}

/// A mode that can be run.
#[derive(Debug, Clone)]
pub struct ModeEntry {
    /// What it says of itself.
    pub manifest: Arc<ModeManifest>,
    /// Whose it is.
    pub installed: InstalledPlugin,
}

/// A tool that can be called.
#[derive(Debug, Clone)]
pub struct ToolEntry {
    /// What it says of itself.
    pub manifest: Arc<ToolManifest>,
    /// Whose it is.
    pub installed: InstalledPlugin,
}

/// The plugins that are installed.
#[derive(Debug, Default)]
pub struct Registry {
    modes: BTreeMap<String, ModeEntry>,
    tools: BTreeMap<String, ToolEntry>,
}

impl Registry {
    /// Adds a plugin's modes and tools.
    ///
    /// # Errors
    /// When another plugin has a mode or a tool of the same name; nothing is added then.
    pub fn add(&mut self, installed: &InstalledPlugin) -> Result<(), LoadError> {
        let manifest = installed.plugin.manifest();
        let taken = |kind, name: &str, first: &InstalledPlugin| LoadError::NameTaken {
            kind,
            name: name.to_owned(),
            first: first.plugin.manifest().name.to_string(),
            second: manifest.name.to_string(),
        };
        for mode in &manifest.modes {
            if let Some(first) = self.modes.get(mode.name.as_str()) {
                return Err(taken("mode", mode.name.as_str(), &first.installed));
            }
        }
        for tool in &manifest.tools {
            if let Some(first) = self.tools.get(tool.name.as_str()) {
                return Err(taken("tool", tool.name.as_str(), &first.installed));
            }
        }
        for mode in &manifest.modes {
            let entry = ModeEntry { manifest: Arc::new(mode.clone()), installed: installed.clone() };
            self.modes.insert(mode.name.to_string(), entry);
        }
        for tool in &manifest.tools {
            let entry = ToolEntry { manifest: Arc::new(tool.clone()), installed: installed.clone() };
            self.tools.insert(tool.name.to_string(), entry);
        }
        Ok(())
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

    /// All modes, by name.
    pub fn modes(&self) -> impl Iterator<Item = &ModeEntry> {
        self.modes.values()
    }

    /// All tools, by name.
    pub fn tools(&self) -> impl Iterator<Item = &ToolEntry> {
        self.tools.values()
    }
}
