//! What is done with plugins on a running server: install, list, grant, call, roll back, remove.

use std::path::PathBuf;

use clap::Args;
use reqwest::Method;
use serde_json::{Map, Value, json};
use vivarium_domain::{FileAccess, PluginName};

use super::component;
use crate::cli::remote::{Remote, list, text};
use crate::cli::{Failure, result, say};

#[derive(Debug, Args)]
pub(in crate::cli) struct Install {
    /// The component, as `vivarium plugin build` makes it.
    file: PathBuf,
    /// Share it with all tenants; needs a key with the scope admin.
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Install {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let path = if self.shared { "/v1/plugins?shared=true" } else { "/v1/plugins" };
        let request = self.remote.request(Method::POST, path)?;
        let request = request.header("content-type", "application/wasm").body(component(&self.file)?);
        let plugin = self.remote.send(request).await?;
        result(format_args!("{} {} is installed", text(&plugin, "name"), text(&plugin, "version")))?;
        for (kind, field) in [("mode", "/provides/modes"), ("tool", "/provides/tools")] {
            for name in plugin.pointer(field).and_then(Value::as_array).into_iter().flatten() {
                result(format_args!("  {kind} {}", name.as_str().unwrap_or_default()))?;
            }
        }
        if asks_for_something(&plugin) {
            say("it asks for more than it has: `vivarium plugin grant` gives it what you choose");
        }
        Ok(())
    }
}

/// Something in the plugin's requests is not in its grants.
fn asks_for_something(plugin: &Value) -> bool {
    let (requests, grants) = (plugin.get("requests"), plugin.get("grants"));
    let is_something = |value: &Value| !matches!(value, Value::Null | Value::Bool(false)) && value != &json!([]);
    requests.and_then(Value::as_object).into_iter().flatten().any(|(name, asked)| {
        name != "model" && is_something(asked) && !grants.and_then(|grants| grants.get(name)).is_some_and(is_something)
    })
}

#[derive(Debug, Args)]
pub(in crate::cli) struct List {
    #[command(flatten)]
    remote: Remote,
}

impl List {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let plugins = self.remote.send(self.remote.request(Method::GET, "/v1/plugins")?).await?;
        for plugin in list(&plugins, "data") {
            let whose = match (plugin.get("builtin"), plugin.get("shared")) {
                (Some(Value::Bool(true)), _) => "came with the host",
                (_, Some(Value::Bool(true))) => "shared",
                _ => "own",
            };
            let (name, version) = (text(plugin, "name"), text(plugin, "version"));
            result(format_args!("{name}\t{version}\t{whose}\t{}", text(plugin, "description")))?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Grant {
    /// The plugin.
    name: PluginName,
    /// A host that it may reach: example.com, *.example.com, *, each with :port where it is not 80 or 443. Again for more.
    #[arg(long = "host", value_name = "HOST")]
    hosts: Vec<String>,
    /// A secret that the host puts into its requests, by name. Again for more.
    #[arg(long = "secret", value_name = "NAME")]
    secrets: Vec<String>,
    /// A setting that it reads. Again for more.
    #[arg(long = "setting", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// What it may do with a session's files: read or write.
    #[arg(long, value_name = "ACCESS", value_parser = file_access)]
    files: Option<FileAccess>,
    /// It may search the documents.
    #[arg(long)]
    corpus: bool,
    /// It may keep data between calls.
    #[arg(long)]
    state: bool,
    /// It may run programs in the sandbox.
    #[arg(long)]
    programs: bool,
    /// A limit of its calls, as in the API: wallMs=5000. Again for more.
    #[arg(long = "limit", value_name = "NAME=NUMBER")]
    limits: Vec<String>,
    /// Whether a tool needs a person's approval: auto, ask or never. Again for more.
    #[arg(long = "approval", value_name = "TOOL=MODE")]
    approvals: Vec<String>,
    /// All that its manifest asks for, besides what is named here; settings and secrets aside, which need values.
    #[arg(long)]
    all_requested: bool,
    /// A host with a port that it may reach although its address is not public; needs a key with the scope admin.
    #[arg(long, value_name = "HOST:PORT")]
    dangerously_allow_private_address: Vec<String>,
    /// Show what it may do now, and change nothing.
    #[arg(long)]
    show: bool,
    #[command(flatten)]
    remote: Remote,
}

fn file_access(text: &str) -> Result<FileAccess, String> {
    match text {
        "read" => Ok(FileAccess::Read),
        "write" => Ok(FileAccess::Write),
        _ => Err("it is read or write".to_owned()),
    }
}

fn pairs(what: &str, texts: &[String], value: fn(&str) -> Option<Value>) -> Result<Value, Failure> {
    let mut map = Map::new();
    for text in texts {
        let pair = text.split_once('=').and_then(|(name, text)| Some((name.to_owned(), value(text)?)));
        let (name, value) = pair.ok_or_else(|| Failure::Use(format!("--{what} is written NAME=VALUE, not {text}")))?;
        map.insert(name, value);
    }
    Ok(map.into())
}

fn as_text(text: &str) -> Option<Value> {
    Some(text.into())
}

fn as_number(text: &str) -> Option<Value> {
    text.parse::<u64>().ok().map(Value::from)
}

impl Grant {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let path = format!("/v1/plugins/{}/grants", self.name);
        let granted = if self.show {
            self.remote.send(self.remote.request(Method::GET, &path)?).await?
        } else {
            let mut grant = self.grant()?;
            if self.all_requested {
                self.add_requested(&path, &mut grant).await?;
            }
            self.remote.send(self.remote.request(Method::PUT, &path)?.json(&grant)).await?
        };
        let grants = granted.get("grants").cloned().unwrap_or_default();
        result(serde_json::to_string_pretty(&grants).map_err(Failure::failed)?)?;
        for note in list(&granted, "notes") {
            say(format_args!("note: {}", note.as_str().unwrap_or_default()));
        }
        Ok(())
    }

    fn grant(&self) -> Result<Value, Failure> {
        Ok(json!({
            "hosts": self.hosts,
            "secrets": self.secrets,
            "settings": pairs("setting", &self.settings, as_text)?,
            "files": self.files,
            "corpus": self.corpus,
            "state": self.state,
            "programs": self.programs,
            "limits": pairs("limit", &self.limits, as_number)?,
            "approvals": pairs("approval", &self.approvals, as_text)?,
            "dangerouslyAllowPrivateAddresses": self.dangerously_allow_private_address,
        }))
    }

    async fn add_requested(&self, path: &str, grant: &mut Value) -> Result<(), Failure> {
        let now = self.remote.send(self.remote.request(Method::GET, path)?).await?;
        let requests = now.get("requests").cloned().unwrap_or_default();
        let Some(grant) = grant.as_object_mut() else { return Ok(()) };
        for field in ["files", "corpus", "state", "programs"] {
            let given = grant.get(field).is_some_and(|value| !matches!(value, Value::Null | Value::Bool(false)));
            if let Some(asked) = requests.get(field).filter(|_| !given) {
                grant.insert(field.to_owned(), asked.clone());
            }
        }
        let mut hosts = list(&requests, "hosts").to_vec();
        hosts.extend(self.hosts.iter().map(|host| Value::from(host.as_str())));
        grant.insert("hosts".to_owned(), hosts.into());
        Ok(())
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Call {
    /// The tool.
    tool: String,
    /// Its arguments, as a JSON object.
    #[arg(default_value = "{}")]
    arguments: String,
    /// The session whose files it works on.
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Print the whole answer as JSON: what was used, what was denied, the log.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Call {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let arguments: Value = serde_json::from_str(&self.arguments)
            .map_err(|error| Failure::Use(format!("the arguments must be a JSON object: {error}")))?;
        let mut body = json!({"arguments": arguments});
        if let (Some(session), Some(body)) = (self.session, body.as_object_mut()) {
            body.insert("sessionId".to_owned(), session.into());
        }
        let request = self.remote.request(Method::POST, &format!("/v1/tools/{}/call", self.tool))?.json(&body);
        let answer = self.remote.send(request).await?;
        if self.json {
            return Ok(result(serde_json::to_string_pretty(&answer).map_err(Failure::failed)?)?);
        }
        for line in list(&answer, "log") {
            say(format_args!("{}: {}", text(line, "level"), text(line, "line")));
        }
        for denial in list(&answer, "denials") {
            say(format_args!("denied: {}", text(denial, "message")));
        }
        match answer.get("output").and_then(Value::as_str) {
            Some(output) => Ok(result(output)?),
            None => Err(Failure::Failed(text(&answer, "error").to_owned())),
        }
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Rollback {
    /// The plugin.
    name: PluginName,
    /// The version that should answer [default: the one that answered before].
    #[arg(long, value_name = "VERSION")]
    to: Option<semver::Version>,
    /// The one that is shared with all tenants; needs a key with the scope admin.
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    remote: Remote,
}

fn shared_query(shared: bool) -> &'static str {
    if shared { "?shared=true" } else { "" }
}

impl Rollback {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let path = format!("/v1/plugins/{}/rollback{}", self.name, shared_query(self.shared));
        let body = json!({"version": self.to});
        let plugin = self.remote.send(self.remote.request(Method::POST, &path)?.json(&body)).await?;
        Ok(result(format_args!("{} {} answers now", text(&plugin, "name"), text(&plugin, "version")))?)
    }
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Remove {
    /// The plugin.
    name: PluginName,
    /// The one that is shared with all tenants; needs a key with the scope admin.
    #[arg(long)]
    shared: bool,
    #[command(flatten)]
    remote: Remote,
}

impl Remove {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let path = format!("/v1/plugins/{}{}", self.name, shared_query(self.shared));
        self.remote.send(self.remote.request(Method::DELETE, &path)?).await?;
        Ok(result(format_args!("{} is removed", self.name))?)
    }
}
