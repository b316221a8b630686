//! Writes a plugin's manifest while the plugin is built, from its `build.rs`: native code that may use whatever it likes,
//! so that the component carries a finished text and nothing of the plugin has to run to learn what it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::Serialize;

/// The version of `vivarium:plugin` that the SDK beside this crate speaks.
pub const CONTRACT: &str = "0.1.0";

/// A plugin, as it says of itself. The plugin's version is its package's.
#[derive(Debug, Clone, Serialize)]
pub struct Plugin {
    name: String,
    version: String,
    contract: String,
    description: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    modes: Vec<Mode>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool>,
    requests: Requests,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    limits: BTreeMap<String, u64>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
struct Mode {
    name: String,
    title: String,
    description: String,
    default_max_cycles: u32,
}

/// A tool, as the manifest shows it. All of its marks are off at first.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Tool {
    name: String,
    title: String,
    description: String,
    input_schema: serde_json::Value,
    read_only: bool,
    idempotent: bool,
    destructive: bool,
    open_world: bool,
}

#[derive(Debug, Clone, Default, Serialize)]
struct Requests {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    hosts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    secrets: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    settings: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    files: Option<String>,
    corpus: bool,
    state: bool,
    model: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    programs: bool,
}

impl Tool {
    /// It changes nothing, so it may be called again after a crash.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.read_only = true;
        self
    }

    /// Calling it twice with the same key is as calling it once.
    #[must_use]
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// It may destroy something.
    #[must_use]
    pub fn destructive(mut self) -> Self {
        self.destructive = true;
        self
    }

    /// It talks to the world outside the host.
    #[must_use]
    pub fn open_world(mut self) -> Self {
        self.open_world = true;
        self
    }
}

impl Plugin {
    /// A plugin `owner/name`, described in one sentence.
    #[must_use]
    pub fn new(name: &str, description: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: std::env::var("CARGO_PKG_VERSION").unwrap_or_else(|_| "0.0.0".to_owned()),
            contract: CONTRACT.to_owned(),
            description: description.to_owned(),
            modes: Vec::new(),
            tools: Vec::new(),
            requests: Requests::default(),
            limits: BTreeMap::new(),
        }
    }

    /// Adds a mode. `max_cycles` is how many cycles a run takes when the client names none.
    #[must_use]
    pub fn mode(mut self, name: &str, title: &str, description: &str, max_cycles: u32) -> Self {
        self.modes.push(Mode {
            name: name.to_owned(),
            title: title.to_owned(),
            description: description.to_owned(),
            default_max_cycles: max_cycles,
        });
        // A mode that asks no model is no mode.
        self.requests.model = true;
        self
    }

    /// Adds a tool whose arguments are an `A`: the JSON Schema of `A` becomes the tool's input schema, and the doc comments of
    /// its fields become their descriptions.
    #[must_use]
    pub fn tool<A: JsonSchema>(
        mut self,
        name: &str,
        title: &str,
        description: &str,
        marks: impl FnOnce(Tool) -> Tool,
    ) -> Self {
        let mut input_schema = schemars::schema_for!(A).to_value();
        if let Some(schema) = input_schema.as_object_mut() {
            // The Rust name of the type tells a model nothing.
            schema.remove("title");
        }
        self.tools.push(marks(Tool {
            name: name.to_owned(),
            title: title.to_owned(),
            description: description.to_owned(),
            input_schema,
            read_only: false,
            idempotent: false,
            destructive: false,
            open_world: false,
        }));
        self
    }

    /// Asks for hosts: exact, `*.example.com`, or `*` for every public one.
    #[must_use]
    pub fn hosts(mut self, hosts: &[&str]) -> Self {
        self.requests.hosts.extend(hosts.iter().map(ToString::to_string));
        self
    }

    /// Asks for secrets, by name.
    #[must_use]
    pub fn secrets(mut self, names: &[&str]) -> Self {
        self.requests.secrets.extend(names.iter().map(ToString::to_string));
        self
    }

    /// Names the settings that it reads.
    #[must_use]
    pub fn settings(mut self, names: &[&str]) -> Self {
        self.requests.settings.extend(names.iter().map(ToString::to_string));
        self
    }

    /// Asks for full-text search over the tenant's documents.
    #[must_use]
    pub fn corpus(mut self) -> Self {
        self.requests.corpus = true;
        self
    }

    /// Asks for the files of the session: `read` or `write`.
    #[must_use]
    pub fn files(mut self, access: &str) -> Self {
        self.requests.files = Some(access.to_owned());
        self
    }

    /// Asks for a key-value space.
    #[must_use]
    pub fn state(mut self) -> Self {
        self.requests.state = true;
        self
    }

    /// What it needs of each limit, by the name that a manifest has for it, where the host's default is not enough.
    #[must_use]
    pub fn limits(mut self, limits: &[(&str, u64)]) -> Self {
        self.limits.extend(limits.iter().map(|(name, value)| ((*name).to_owned(), *value)));
        self
    }

    /// Asks to run programs in the sandbox.
    #[must_use]
    pub fn programs(mut self) -> Self {
        self.requests.programs = true;
        self
    }

    /// The manifest as JSON.
    ///
    /// # Errors
    /// When a schema can not be written as JSON.
    pub fn to_json(&self) -> Result<Vec<u8>, serde_json::Error> {
        serde_json::to_vec(self)
    }

    /// Writes the manifest to where the SDK's `export_…!` macros look for it. Call it in `build.rs`.
    ///
    /// # Errors
    /// When this is not a build script, or the folder can not be written.
    pub fn emit(&self) -> std::io::Result<()> {
        let folder = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or_else(|| {
            std::io::Error::other("OUT_DIR is not set: a manifest is written by the plugin's build.rs")
        })?;
        std::fs::write(folder.join("manifest.json"), self.to_json()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments as a plugin writes them.
    #[derive(schemars::JsonSchema)]
    #[schemars(rename_all = "camelCase", deny_unknown_fields)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    struct Greet {
        /// Whom to greet.
        #[schemars(length(min = 1))]
        full_name: String,
        /// How often.
        times: Option<u32>,
    }

    #[test]
    fn a_manifest_says_what_the_host_reads() {
        let plugin = Plugin::new("you/greeter", "Greets people.")
            .mode("greet", "Greet", "Greets for ever.", 3)
            .tool::<Greet>("greet", "Greet", "Greets a person.", |tool| tool.read_only().open_world())
            .hosts(&["example.com"])
            .settings(&["language"])
            .corpus();
        let json: serde_json::Value = serde_json::from_slice(&plugin.to_json().unwrap()).unwrap();
        let expected = serde_json::json!({
            "name": "you/greeter",
            "version": env!("CARGO_PKG_VERSION"),
            "contract": CONTRACT,
            "description": "Greets people.",
            "modes": [{"name": "greet", "title": "Greet", "description": "Greets for ever.", "defaultMaxCycles": 3}],
            "tools": [{
                "name": "greet",
                "title": "Greet",
                "description": "Greets a person.",
                "inputSchema": {
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    "description": "Arguments as a plugin writes them.",
                    "type": "object",
                    "properties": {
                        "fullName": {"description": "Whom to greet.", "type": "string", "minLength": 1},
                        "times": {"description": "How often.", "type": ["integer", "null"], "format": "uint32", "minimum": 0},
                    },
                    "required": ["fullName"],
                    "additionalProperties": false,
                },
                "readOnly": true,
                "idempotent": false,
                "destructive": false,
                "openWorld": true,
            }],
            "requests": {"hosts": ["example.com"], "settings": ["language"], "corpus": true, "state": false, "model": true},
        });
        assert_eq!(json, expected);
    }
}
