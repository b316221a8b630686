//! `plugin.toml`: what an author says of a plugin, and how it is built. It mirrors the manifest, with names in snake_case.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use semver::Version;
use serde_json::Value as Json;
use toml_edit::Value;
use vivarium_domain::{
    FileAccess, HostRequest, Instances, Manifest, ModeManifest, PluginLimits, PluginName, Requests, SecretName,
    ToolManifest, ToolName,
};

use crate::check::{Checked, check};
use crate::contract::{CONTRACT, CONTRACT_TEXT};
use crate::fault::{Fault, Faults};
use crate::reader::{At, Reader, Section};
use crate::schema;
use crate::template::short_name;

/// The file's name.
pub const PLUGIN_TOML: &str = "plugin.toml";
/// Nobody writes more by hand; schemas may stand in files of their own.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// What a host takes of each.
const MAX_TOOLS: usize = 64;
const MAX_MODES: usize = 16;
const MAX_NAMES: usize = 64;
const MAX_TITLE_BYTES: usize = 200;
const MAX_DESCRIPTION_BYTES: usize = 8 << 10;
const MAX_SETTING_BYTES: usize = 128;

/// How a plugin's component is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildPlan {
    /// By cargo, for `wasm32-wasip2`.
    Rust,
    /// By something else.
    Made {
        /// Run by `sh -c` in the project's folder; none: the component is there.
        command: Option<String>,
        /// Where the component is then, within the project's folder.
        component: PathBuf,
    },
}

/// A plugin's project: a folder with a `plugin.toml`.
#[derive(Debug, Clone, PartialEq)]
pub struct Project {
    /// The folder.
    pub folder: PathBuf,
    /// What goes into the component.
    pub manifest: Manifest,
    /// How the component is made.
    pub build: BuildPlan,
    source: Source,
}

/// The text of `plugin.toml`, and where its parts begin, for what is found wrong after it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Source {
    file: String,
    text: String,
    places: BTreeMap<&'static str, Range<usize>>,
}

/// The parts of `plugin.toml` that a component can contradict.
const PLACES: [&str; 5] = ["name", "contract", "requests", "tools", "modes"];

impl Project {
    /// Reads the `plugin.toml` of `folder`.
    ///
    /// # Errors
    /// All that is wrong in it, each with its place.
    pub fn read(folder: &Path) -> Result<Self, Faults> {
        let path = folder.join(PLUGIN_TOML);
        let text = bounded_text(&path).map_err(|message| {
            let shown = path.display().to_string();
            Faults(vec![Fault::new(&shown, "", 0..0, message)])
        })?;
        Self::parse(folder, &text)
    }

    /// As [`read`](Self::read), of a text that is there already. Files that it names are read from `folder`.
    ///
    /// # Errors
    /// All that is wrong in it, each with its place.
    pub fn parse(folder: &Path, text: &str) -> Result<Self, Faults> {
        let shown = folder.join(PLUGIN_TOML);
        let shown = shown.strip_prefix(".").unwrap_or(&shown).display().to_string();
        Reader::new(&shown, text).read(|file| {
            let build = build_plan(file);
            let manifest = manifest(folder, file);
            let places = PLACES.into_iter().filter_map(|part| Some((part, file.place(part)?))).collect();
            let source = Source { file: shown.clone(), text: text.to_owned(), places };
            Some(Self { folder: folder.to_owned(), manifest: manifest?, build: build?, source })
        })
    }

    /// A fault that was found after reading, of this part of the file; of the name where there is no such part.
    fn fault(&self, part: &str, message: String) -> Fault {
        let Source { file, text, places } = &self.source;
        let span = places.get(part).or_else(|| places.get("name")).cloned().unwrap_or_default();
        Fault::new(file, text, span, message)
    }

    /// Checks a component of this project; each reason stands at the line of `plugin.toml` that would change it.
    ///
    /// # Errors
    /// Every reason for which a host would not take it.
    pub fn check(&self, component: &[u8]) -> Result<Checked, Faults> {
        check(component).map_err(|refusals| {
            Faults(refusals.iter().map(|refusal| self.fault(refusal.about(), refusal.to_string())).collect())
        })
    }

    /// Where a built component goes: beside `plugin.toml`, named after the plugin.
    #[must_use]
    pub fn component_path(&self) -> PathBuf {
        self.folder.join(format!("{}.wasm", short_name(&self.manifest.name)))
    }
}

/// The text of a file that is not too large to be what it should be.
pub(crate) fn bounded_text(path: &Path) -> Result<String, String> {
    let size = fs::metadata(path).map_err(|error| format!("it can not be read: {error}"))?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("it has {size} bytes; at most {MAX_FILE_BYTES} are read"));
    }
    fs::read_to_string(path).map_err(|error| format!("it can not be read: {error}"))
}

fn manifest(folder: &Path, file: &Section<'_>) -> Option<Manifest> {
    let name = parsed::<PluginName>(file, file.required_text("name", "write owner/name"));
    let version = version(file, file.required_text("version", "write one such as \"0.1.0\""));
    let contract = contract(file);
    let description = sentence(file, "description", "one sentence for a person");
    let tools: Vec<Option<ToolManifest>> = file.sections("tools").iter().map(|section| tool(folder, section)).collect();
    let modes: Vec<Option<ModeManifest>> = file.sections("modes").iter().map(mode).collect();
    let requests = file.section("requests").map_or_else(|| Some(Requests::default()), |section| requests(&section));
    let limits = file.section("limits").map_or_else(PluginLimits::default, |section| limits(&section));
    let instances = instances(file);
    at_most(file, "tools", tools.len(), MAX_TOOLS);
    at_most(file, "modes", modes.len(), MAX_MODES);
    if tools.is_empty() && modes.is_empty() {
        file.fault(0..0, "it provides nothing: add a [[tools]] or a [[modes]]");
    }
    Some(Manifest {
        name: name?,
        version: version?,
        contract: contract?,
        description: description?,
        modes: once_each(file, "modes", modes.into_iter().collect::<Option<Vec<_>>>()?, |mode| &mode.name),
        tools: once_each(file, "tools", tools.into_iter().collect::<Option<Vec<_>>>()?, |tool| &tool.name),
        requests: requests?,
        limits,
        instances: instances?,
    })
}

/// A text that is parsed, and refused in the parser's own words.
fn parsed<T: FromStr<Err: std::fmt::Display>>(section: &Section<'_>, at: Option<At<String>>) -> Option<T> {
    let at = at?;
    match at.value.parse() {
        Ok(value) => Some(value),
        Err(error) => {
            section.fault(at.span, error.to_string().replacen("the plugin's manifest is not valid: ", "", 1));
            None
        }
    }
}

fn version(section: &Section<'_>, at: Option<At<String>>) -> Option<Version> {
    let At { value, span } = at?;
    match value.parse() {
        Ok(version) => Some(version),
        Err(error) => {
            section.fault(span, format!("a version has three numbers, such as \"0.1.0\": {error}"));
            None
        }
    }
}

fn sentence(section: &Section<'_>, key: &'static str, what: &str) -> Option<String> {
    let at = section.required_text(key, what)?;
    if at.value.trim().is_empty() {
        section.fault(at.span, format!("`{key}` is empty: write {what}"));
        return None;
    }
    let most = if key == "title" { MAX_TITLE_BYTES } else { MAX_DESCRIPTION_BYTES };
    if at.value.len() > most {
        section.fault(at.span, format!("`{key}` has {} bytes; at most {most} are allowed", at.value.len()));
        return None;
    }
    Some(at.value)
}

fn contract(file: &Section<'_>) -> Option<Version> {
    let Some(at) = file.text("contract") else { return (!file.has("contract")).then_some(CONTRACT) };
    let span = at.span.clone();
    let version = version(file, Some(at))?;
    if version != CONTRACT {
        file.fault(span, format!("this binary speaks vivarium:plugin {CONTRACT_TEXT}, not {version}"));
        return None;
    }
    Some(version)
}

fn instances(file: &Section<'_>) -> Option<Instances> {
    one_of(file, "instances", &[("fresh", Instances::Fresh), ("warm", Instances::Warm)]).map(Option::unwrap_or_default)
}

/// None: something else stands there. `Some(None)`: nothing stands there.
fn one_of<T: Copy>(section: &Section<'_>, key: &'static str, choices: &[(&str, T)]) -> Option<Option<T>> {
    let Some(at) = section.text(key) else { return (!section.has(key)).then_some(None) };
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == at.value) {
        return Some(Some(*value));
    }
    let names: Vec<_> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
    section.fault(at.span, format!("`{key}` is {}, not {:?}", names.join(" or "), at.value));
    None
}

fn at_most(section: &Section<'_>, key: &str, number: usize, most: usize) {
    if number > most {
        let span = section.place(key).unwrap_or_default();
        section.fault(span, format!("`{key}` has {number} entries; at most {most} are allowed"));
    }
}

/// A name that is given twice makes a plugin that no host takes.
fn once_each<T>(file: &Section<'_>, list: &'static str, items: Vec<T>, name: impl Fn(&T) -> &ToolName) -> Vec<T> {
    let spans: Vec<Range<usize>> = file.sections(list).iter().map(Section::span).collect();
    for (index, item) in items.iter().enumerate() {
        if items.iter().take(index).any(|before| name(before) == name(item)) {
            let span = spans.get(index).cloned().unwrap_or_default();
            file.fault(span, format!("there are two {list} of the name {}", name(item)));
        }
    }
    items
}

fn tool(folder: &Path, section: &Section<'_>) -> Option<ToolManifest> {
    let name = parsed::<ToolName>(section, section.required_text("name", "the name that models call it by"));
    let title = sentence(section, "title", "a few words for a person");
    let description = sentence(section, "description", "what it does and when to use it, for the model");
    let input = tool_schema(folder, section, "input_schema", "input_schema_file");
    let output = tool_schema(folder, section, "output_schema", "output_schema_file");
    let flag = |key| section.flag(key).is_some_and(|at| at.value);
    let (read_only, idempotent) = (flag("read_only"), flag("idempotent"));
    let (destructive, open_world) = (flag("destructive"), flag("open_world"));
    if let Some(span) = (read_only && destructive).then(|| section.flag("destructive")).flatten().map(|at| at.span) {
        section.fault(span, "a tool that is `read_only` changes nothing, so it can not be `destructive`");
    }
    if !section.has("input_schema") && !section.has("input_schema_file") {
        let example = "a JSON Schema of the arguments, such as { type = \"object\", properties = { city = { type = \"string\" } } }";
        section.missing("input_schema", example);
    }
    if let Some(at) = &input
        && at.value.get("type").and_then(Json::as_str) != Some("object")
    {
        section.fault(at.span.clone(), "a tool's arguments are an object: the schema's `type` must be \"object\"");
    }
    section.refuse_unknown();
    Some(ToolManifest {
        name: name?,
        title: title?,
        description: description?,
        input_schema: input?.value,
        output_schema: output.map(|at| at.value),
        read_only,
        idempotent,
        destructive,
        open_world,
    })
}

/// A schema that stands in the file itself, or in one that it names.
fn tool_schema(folder: &Path, section: &Section<'_>, key: &'static str, file_key: &'static str) -> Option<At<Json>> {
    let here = section.json(key);
    let elsewhere = section.text(file_key);
    if let (Some(_), Some(at)) = (&here, &elsewhere) {
        section.fault(at.span.clone(), format!("`{key}` is there too: one of the two is enough"));
    }
    let schema = match (here, elsewhere) {
        (Some(here), _) => here,
        (None, Some(at)) => match schema_file(folder, &at.value) {
            Ok(value) => At { value, span: at.span },
            Err(message) => {
                section.fault(at.span, message);
                return None;
            }
        },
        (None, None) => return None,
    };
    if let Err(reason) = schema::check(&schema.value) {
        section.fault(schema.span, format!("this is no JSON Schema: {reason}"));
        return None;
    }
    Some(schema)
}

fn schema_file(folder: &Path, name: &str) -> Result<Json, String> {
    let path = inside(folder, name)?;
    let text = bounded_text(&path).map_err(|message| format!("{name}: {message}"))?;
    serde_json::from_str(&text).map_err(|error| format!("{name} is no JSON: {error}"))
}

/// A path that a file of the project names: relative, and within the project.
pub(crate) fn inside(folder: &Path, name: &str) -> Result<PathBuf, String> {
    let path = Path::new(name);
    let within = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if name.is_empty() || !within {
        return Err(format!("{name:?} is no path within the project's folder"));
    }
    Ok(folder.join(path))
}

fn mode(section: &Section<'_>) -> Option<ModeManifest> {
    let name = parsed::<ToolName>(section, section.required_text("name", "the name that clients use"));
    let title = sentence(section, "title", "a few words for a person");
    let description = sentence(section, "description", "what it does, for a person");
    if !section.has("default_max_cycles") {
        section.missing("default_max_cycles", "how many cycles a run takes when the client names none, such as 4");
    }
    let cycles = section.whole("default_max_cycles").and_then(|at| match u32::try_from(at.value) {
        Ok(cycles) if cycles > 0 => Some(cycles),
        _ => {
            section.fault(at.span, "a run takes at least 1 cycle, and at most 4294967295");
            None
        }
    });
    section.refuse_unknown();
    Some(ModeManifest { name: name?, title: title?, description: description?, default_max_cycles: cycles? })
}

fn requests(section: &Section<'_>) -> Option<Requests> {
    let files = one_of(section, "files", &[("read", FileAccess::Read), ("write", FileAccess::Write)]);
    let secrets: Vec<Option<SecretName>> =
        section.texts("secrets").into_iter().map(|at| parsed(section, Some(at))).collect();
    let settings = section.texts("settings");
    for at in settings.iter().filter(|at| !matches!(at.value.len(), 1..=MAX_SETTING_BYTES)) {
        section.fault(at.span.clone(), format!("a setting's name has 1 to {MAX_SETTING_BYTES} bytes"));
    }
    let hosts: Vec<Option<HostRequest>> = hosts(section);
    for (key, number) in [("hosts", hosts.len()), ("secrets", secrets.len()), ("settings", settings.len())] {
        at_most(section, key, number, MAX_NAMES);
    }
    let flag = |key| section.flag(key).is_some_and(|at| at.value);
    let (corpus, state, model, programs) = (flag("corpus"), flag("state"), flag("model"), flag("programs"));
    section.refuse_unknown();
    Some(Requests {
        hosts: hosts.into_iter().collect::<Option<_>>()?,
        secrets: secrets.into_iter().collect::<Option<_>>()?,
        settings: settings.into_iter().map(|at| at.value).collect(),
        files: files?,
        corpus,
        state,
        model,
        programs,
    })
}

fn hosts(section: &Section<'_>) -> Vec<Option<HostRequest>> {
    let expected = "hosts: \"api.example.com\" or { host = \"api.example.com\", methods = [\"GET\"] }";
    let either = |value: &'_ Value| value.is_str() || value.is_inline_table();
    let values = section.list("hosts", expected, |value| either(value).then_some(value));
    values.into_iter().map(|at| host(section, at)).collect()
}

fn host(section: &Section<'_>, at: At<&Value>) -> Option<HostRequest> {
    let (host, methods) = match at.value {
        Value::InlineTable(table) => {
            let inner = section.inside(table, "hosts", at.span.clone());
            let host = inner.required_text("host", "write one such as \"api.example.com\"");
            let methods = inner.texts("methods");
            inner.refuse_unknown();
            (host?, methods)
        }
        value => (At { value: value.as_str()?.to_owned(), span: at.span.clone() }, Vec::new()),
    };
    for method in &methods {
        if method.value.is_empty() || !method.value.bytes().all(|byte| byte.is_ascii_uppercase()) {
            section.fault(method.span.clone(), "a method is written in capitals, such as \"GET\"");
        }
    }
    if !is_host_rule(&host.value) {
        let example = "write example.com, *.example.com (its subdomains) or * (every public host), with :port where it is not 80 or 443";
        section.fault(host.span, format!("{:?} is no host: {example}", host.value));
        return None;
    }
    Some(HostRequest { host: host.value, methods: methods.into_iter().map(|at| at.value).collect() })
}

/// The form of a host rule; whether the host is public is seen when it is asked for.
fn is_host_rule(rule: &str) -> bool {
    let (host, port) = match rule.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (rule, None),
    };
    let port_fits = port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port != 0));
    let name = host.strip_prefix("*.").unwrap_or(host);
    let label = |label: &str| {
        matches!(label.len(), 1..=63)
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host_fits = match address {
        Some(address) => address.parse::<std::net::Ipv6Addr>().is_ok(),
        None => host == "*" || (name.len() <= 253 && name.split('.').all(label)),
    };
    port_fits && host_fits
}

fn limits(section: &Section<'_>) -> PluginLimits {
    let limit = |key| {
        let at = section.whole(key)?;
        if at.value == 0 {
            section.fault(at.span, format!("`{key}` is 0: leave it out for the host's default"));
        }
        Some(at.value)
    };
    let limits = PluginLimits {
        wall_ms: limit("wall_ms"),
        cpu_ms: limit("cpu_ms"),
        memory_bytes: limit("memory_bytes"),
        table_elements: limit("table_elements"),
        output_bytes: limit("output_bytes"),
        host_calls: limit("host_calls"),
        log_lines: limit("log_lines"),
        handles: limit("handles"),
        egress_requests: limit("egress_requests"),
        egress_bytes: limit("egress_bytes"),
        file_bytes: limit("file_bytes"),
        files: limit("files"),
        state_bytes: limit("state_bytes"),
    };
    section.refuse_unknown();
    limits
}

fn build_plan(file: &Section<'_>) -> Option<BuildPlan> {
    let Some(section) = file.section("build") else { return Some(BuildPlan::Rust) };
    let command = section.text("command");
    let component =
        section.required_text("component", "where the component is after the build, such as \"dist/plugin.wasm\"");
    section.refuse_unknown();
    let component = component?;
    if let Err(message) = inside(Path::new(""), &component.value) {
        section.fault(component.span, message);
        return None;
    }
    Some(BuildPlan::Made { command: command.map(|at| at.value), component: component.value.into() })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parsed(text: &str) -> Result<Project, String> {
        Project::parse(Path::new("."), text).map_err(|faults| faults.to_string())
    }

    const HEAD: &str = "name = \"a/b\"\nversion = \"0.1.0\"\ndescription = \"It does.\"\n";
    const TOOL: &str = "[[tools]]\nname = \"t\"\ntitle = \"T\"\ndescription = \"Does t.\"\n\
                        input_schema = { type = \"object\" }\n";

    #[test]
    fn everything_that_a_manifest_holds_can_be_written() {
        let text = r#"
            name = "acme/weather"
            version = "1.2.3-rc.1"
            contract = "0.1.0"
            description = "Weather."
            instances = "warm"
            [build]
            command = "make"
            component = "dist/weather.wasm"
            [[tools]]
            name = "weather"
            title = "Weather"
            description = "Says how the weather is."
            read_only = true
            idempotent = true
            open_world = true
            output_schema = { type = "object" }
            [tools.input_schema]
            type = "object"
            properties.city = { type = "string", maxLength = 80 }
            properties.days = { type = "number", minimum = 0.5, enum = [1, 2.5] }
            [[modes]]
            name = "m"
            title = "M"
            description = "Does m."
            default_max_cycles = 3
            [requests]
            hosts = ["api.example.com", { host = "*.example.com:8443", methods = ["GET"] }, "*", "[::1]:80"]
            secrets = ["weather-key"]
            settings = ["base_url"]
            files = "write"
            corpus = true
            state = true
            model = true
            programs = true
            [limits]
            wall_ms = 1
            cpu_ms = 2
            memory_bytes = 3
            table_elements = 4
            output_bytes = 5
            host_calls = 6
            log_lines = 7
            handles = 8
            egress_requests = 9
            egress_bytes = 10
            file_bytes = 11
            files = 12
            state_bytes = 13
        "#;
        let project = parsed(text).unwrap();
        let expected = json!({
            "name": "acme/weather", "version": "1.2.3-rc.1", "contract": "0.1.0", "description": "Weather.",
            "modes": [{"name": "m", "title": "M", "description": "Does m.", "defaultMaxCycles": 3}],
            "tools": [{
                "name": "weather", "title": "Weather", "description": "Says how the weather is.",
                "inputSchema": {"type": "object", "properties": {
                    "city": {"type": "string", "maxLength": 80},
                    "days": {"type": "number", "minimum": 0.5, "enum": [1, 2.5]}
                }},
                "outputSchema": {"type": "object"},
                "readOnly": true, "idempotent": true, "destructive": false, "openWorld": true
            }],
            "requests": {
                "hosts": ["api.example.com", {"host": "*.example.com:8443", "methods": ["GET"]}, "*", "[::1]:80"],
                "secrets": ["weather-key"], "settings": ["base_url"], "files": "write",
                "corpus": true, "state": true, "model": true, "programs": true
            },
            "limits": {
                "wallMs": 1, "cpuMs": 2, "memoryBytes": 3, "tableElements": 4, "outputBytes": 5, "hostCalls": 6,
                "logLines": 7, "handles": 8, "egressRequests": 9, "egressBytes": 10, "fileBytes": 11, "files": 12,
                "stateBytes": 13
            },
            "instances": "warm"
        });
        assert_eq!(serde_json::to_value(&project.manifest).unwrap(), expected);
        let component = "dist/weather.wasm".into();
        assert_eq!(project.build, BuildPlan::Made { command: Some("make".to_owned()), component });
        assert_eq!(project.component_path(), Path::new("./weather.wasm"));
    }

    #[test]
    fn all_faults_are_told_at_once_each_with_its_line() {
        let text = r#"name = "Weather"
version = "1.0"
descripton = "Weather."

[[tools]]
name = "get weather"
title = ""
description = "Says how the weather is."
read_only = "yes"
input_schema = { type = "string" }
output_schema_file = "../schema.json"

[[tools]]
name = "other"
title = "Other"
description = "Other."
input_schema = { type = "object", properties = { a = { type = "strin" } } }

[requests]
hosts = ["https://api.example.com/", { host = "x.org", methods = ["get"], method = "GET" }]
files = "all"

[limits]
wall-ms = 3
"#;
        insta::assert_snapshot!(parsed(text).unwrap_err(), @r##"
        plugin.toml:1:8: a plugin's name is owner/name, each of 1 to 64 of a-z, 0-9, '-' and '_', not "Weather"
            1 | name = "Weather"
              |        ^^^^^^^^^
        plugin.toml:2:11: a version has three numbers, such as "0.1.0": unexpected end of input while parsing minor version number
            2 | version = "1.0"
              |           ^^^^^
        plugin.toml:3:1: there is no `descripton` here; did you mean `description`?
            3 | descripton = "Weather."
              | ^^^^^^^^^^
        plugin.toml:6:8: a tool's name must be 1 to 64 of a-z, A-Z, 0-9, '-' and '_', not "get weather"
            6 | name = "get weather"
              |        ^^^^^^^^^^^^^
        plugin.toml:7:9: `title` is empty: write a few words for a person
            7 | title = ""
              |         ^^
        plugin.toml:9:13: `tools[0].read_only` must be true or false, not of type string
            9 | read_only = "yes"
              |             ^^^^^
        plugin.toml:10:16: a tool's arguments are an object: the schema's `type` must be "object"
           10 | input_schema = { type = "string" }
              |                ^^^^^^^^^^^^^^^^^^^
        plugin.toml:11:22: "../schema.json" is no path within the project's folder
           11 | output_schema_file = "../schema.json"
              |                      ^^^^^^^^^^^^^^^^
        plugin.toml:17:16: this is no JSON Schema: /properties/a/type: "strin" is not valid under any of the schemas listed in the 'anyOf' keyword
           17 | input_schema = { type = "object", properties = { a = { type = "strin" } } }
              |                ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
        plugin.toml:20:10: "https://api.example.com/" is no host: write example.com, *.example.com (its subdomains) or * (every public host), with :port where it is not 80 or 443
           20 | hosts = ["https://api.example.com/", { host = "x.org", methods = ["get"], method = "GET" }]
              |          ^^^^^^^^^^^^^^^^^^^^^^^^^^
        plugin.toml:20:67: a method is written in capitals, such as "GET"
           20 | hosts = ["https://api.example.com/", { host = "x.org", methods = ["get"], method = "GET" }]
              |                                                                   ^^^^^
        plugin.toml:20:75: there is no `method` in `requests.hosts`; did you mean `methods`?
           20 | hosts = ["https://api.example.com/", { host = "x.org", methods = ["get"], method = "GET" }]
              |                                                                           ^^^^^^
        plugin.toml:21:9: `files` is "read" or "write", not "all"
           21 | files = "all"
              |         ^^^^^
        plugin.toml:24:1: there is no `wall-ms` in `limits`; did you mean `wall_ms`?
           24 | wall-ms = 3
              | ^^^^^^^
        "##);
    }

    #[test]
    fn broken_toml_is_one_fault_with_its_place() {
        insta::assert_snapshot!(parsed("name = \"a/b\"\nversion = 0.1.0\n").unwrap_err(), @r#"
        plugin.toml:2:14: this is no TOML: expected newline, `#`
            2 | version = 0.1.0
              |              ^
        "#);
    }

    #[test]
    fn a_plugin_that_provides_nothing_or_one_name_twice_is_refused() {
        assert!(parsed(HEAD).unwrap_err().contains("add a [[tools]] or a [[modes]]"));
        let twice = parsed(&format!("{HEAD}{TOOL}{TOOL}")).unwrap_err();
        assert!(twice.starts_with("plugin.toml:9:1: there are two tools of the name t"), "{twice}");
    }

    #[test]
    fn what_no_host_takes_so_much_of_is_refused_where_it_stands() {
        let long = parsed(&HEAD.replace("It does.", &"x".repeat(8_193))).unwrap_err();
        assert!(long.contains("`description` has 8193 bytes; at most 8192 are allowed"), "{long}");
        let names: Vec<String> = (0..65).map(|number| format!("\"s{number}\"")).collect();
        let many =
            parsed(&format!("{HEAD}requests = {{ settings = [{}, \"\"] }}\n{TOOL}", names.join(","))).unwrap_err();
        assert!(many.contains("`settings` has 66 entries; at most 64 are allowed"), "{many}");
        assert!(many.contains("a setting's name has 1 to 128 bytes"), "{many}");
    }

    #[test]
    fn another_contract_is_refused_by_both_versions() {
        let error = parsed(&format!("{HEAD}contract = \"0.2.0\"\n{TOOL}")).unwrap_err();
        assert!(error.contains("this binary speaks vivarium:plugin 0.1.0, not 0.2.0"), "{error}");
    }

    #[test]
    fn a_schema_may_stand_in_a_file_of_the_project_and_nowhere_else() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("s.json"), r#"{"type": "object", "title": "S"}"#).unwrap();
        fs::write(folder.path().join("broken.json"), "{").unwrap();
        let with = |name: &str| {
            let tool = TOOL.replace("input_schema = { type = \"object\" }", &format!("input_schema_file = {name:?}"));
            Project::parse(folder.path(), &format!("{HEAD}{tool}")).map_err(|faults| faults.to_string())
        };
        assert_eq!(with("s.json").unwrap().manifest.tools[0].input_schema["title"], "S");
        assert!(with("broken.json").unwrap_err().contains("broken.json is no JSON"));
        assert!(with("none.json").unwrap_err().contains("can not be read"));
        assert!(with("../s.json").unwrap_err().contains("no path within the project's folder"));
        assert!(with("/etc/passwd").unwrap_err().contains("no path within the project's folder"));
    }

    #[test]
    fn a_schema_that_reaches_out_is_refused() {
        let tool = TOOL.replace("{ type = \"object\" }", "{ type = \"object\", \"$ref\" = \"https://example.com/s\" }");
        assert!(parsed(&format!("{HEAD}{tool}")).unwrap_err().contains("is not local"));
    }

    #[test]
    fn hosts_are_names_and_no_addresses_of_pages() {
        for host in [
            "example.com",
            "*.example.com",
            "*",
            "*:8443",
            "a.b.c:1",
            "[::1]",
            "10.0.0.1:80",
            "xn--bcher-kva.de",
            "bücher.de",
        ] {
            assert!(is_host_rule(host), "{host}");
        }
        for host in [
            "",
            "https://x.org",
            "x.org/",
            "x.org:0",
            "x.org:70000",
            "*x.org",
            "a..b",
            "-a.org",
            "x org",
            "*.",
            "user@x",
        ] {
            assert!(!is_host_rule(host), "{host}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_breaks_the_reader(text in "[a-z_\\[\\]{}=\", .\n0-9é#']{0,200}") {
            let _refused = Project::parse(Path::new("."), &text);
        }
    }
}
