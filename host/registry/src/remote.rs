//! A remote server of tools in a tenant, with its rights worked out, and a call of one of its tools.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Map, Value};
use vivarium_domain::{
    ContentHash, McpServer, McpServerConfig, PluginLimits, PluginName, SealedSecret, TenantId, Tier, ToolManifest,
    ToolName, ToolUsage,
};
use vivarium_egress::{AllowedHost, EgressPolicy, HostPort, Injection, Limits, Redactor};
use vivarium_mcp::{Called, McpError, Place, RemoteServer, Shown, ToolCall, is_early};
use vivarium_sandbox::{Denial, ToolOutput, ToolReport, ToolSchemas};

use crate::error::RegistryError;
use crate::service::Registry;

/// What the protocol sends. A server is asked with these methods and no others.
const METHODS: [&str; 3] = ["POST", "GET", "DELETE"];

/// A remote server in a tenant.
#[derive(Debug)]
pub struct McpInUse {
    provider: PluginName,
    server: McpServer,
    way: Way,
    digests: HashMap<ToolName, ContentHash>,
}

/// The way to a server.
#[derive(Debug, Clone)]
pub(crate) struct Way {
    pub(crate) remote: RemoteServer,
    pub(crate) wall: Duration,
    output_bytes: usize,
    redactor: Redactor,
    /// Why it can not be gone.
    closed: Option<String>,
}

impl McpInUse {
    /// Under what it stands where plugins stand.
    #[must_use]
    pub fn provider_name(&self) -> &PluginName {
        &self.provider
    }

    pub(crate) fn server(&self) -> &McpServer {
        &self.server
    }

    /// What was accepted of a tool.
    pub(crate) fn digest(&self, tool: &ToolName) -> Option<ContentHash> {
        self.digests.get(tool).copied()
    }

    pub(crate) fn wall(&self) -> Duration {
        self.way.wall
    }

    /// Calls a tool. The arguments are checked against the schema that was accepted. Who drops this no longer waits, and the
    /// server is told so.
    pub async fn call(&self, tool: &ToolManifest, arguments_json: &str, idempotency_key: &str) -> ToolReport {
        let began = Instant::now();
        let mut report = self.ask(tool, arguments_json, idempotency_key).await;
        report.usage.wall_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        redacted(report, &self.way.redactor)
    }

    async fn ask(&self, tool: &ToolManifest, arguments_json: &str, idempotency_key: &str) -> ToolReport {
        let arguments = match self.prepared(tool, arguments_json) {
            Ok(arguments) => arguments,
            Err(message) => return refused(message),
        };
        let known = self.server.tools.iter().find(|known| known.manifest.name == tool.name);
        let Some(known) = known else { return refused(format!("{} has no tool {}", self.provider, tool.name)) };
        let call = ToolCall {
            name: known.remote_name.clone(),
            digest: known.digest,
            arguments,
            idempotency_key: idempotency_key.to_owned(),
            shown: Shown {
                server: self.server.name.to_string(),
                tool: known.remote_name.clone(),
                title: tool.title.clone(),
                is_document: tool.read_only,
            },
        };
        let Called { result, traffic } = self.way.remote.call(call, self.way.wall).await;
        let denials = result.as_ref().err().and_then(McpError::denial).into_iter();
        let denials = denials.map(|message| Denial { capability: "hosts", message }).collect();
        let usage = ToolUsage {
            egress_requests: u32::try_from(traffic.requests).unwrap_or(u32::MAX),
            egress_bytes: traffic.sent_bytes.saturating_add(traffic.received_bytes),
            ..ToolUsage::default()
        };
        let result = match result {
            Ok(answer) if answer.is_error => Err(answer.content),
            Ok(answer) => Ok(ToolOutput { content: answer.content, documents: answer.documents }),
            Err(error) => Err(error.told_of(self.server.name.as_str())),
        };
        let result = result.and_then(|output| self.taken(tool, output));
        ToolReport { result, usage, denials }
    }

    fn prepared(&self, tool: &ToolManifest, arguments_json: &str) -> Result<Map<String, Value>, String> {
        if let Some(why) = &self.way.closed {
            return Err(why.clone());
        }
        ToolSchemas::of(tool).map_err(|error| error.to_string())?.check_arguments(arguments_json)?;
        serde_json::from_str(arguments_json)
            .map_err(|error| format!("invalid arguments: they are no JSON object: {error}"))
    }

    /// What is taken of an answer: as much as a tool's output may be, and only what the tool says that it is.
    fn taken(&self, tool: &ToolManifest, output: ToolOutput) -> Result<ToolOutput, String> {
        let (bytes, most) = (output.content.len(), self.way.output_bytes);
        if bytes > most {
            return Err(format!("the tool's output has {bytes} bytes; at most {most} are taken"));
        }
        ToolSchemas::of(tool).map_err(|error| error.to_string())?.check_output(&output.content)?;
        Ok(output)
    }
}

fn refused(message: String) -> ToolReport {
    ToolReport { result: Err(message), usage: ToolUsage::default(), denials: Vec::new() }
}

/// The door masks what comes in; what is put together here from its pieces is looked at once more.
fn redacted(mut report: ToolReport, redactor: &Redactor) -> ToolReport {
    let clean = |text: &mut String| {
        if let Cow::Owned(masked) = redactor.redact(text) {
            *text = masked;
        }
    };
    match &mut report.result {
        Ok(output) => {
            clean(&mut output.content);
            for document in &mut output.documents {
                [&mut document.title, &mut document.location, &mut document.media_type, &mut document.text]
                    .into_iter()
                    .for_each(clean);
            }
        }
        Err(message) => clean(message),
    }
    report
}

impl Registry {
    /// Works out the rights of a tenant's servers.
    pub(crate) fn servers_in_use(
        &self,
        tenant: &TenantId,
        tier: Tier,
        servers: Vec<McpServer>,
        secrets: &[SealedSecret],
    ) -> Vec<Arc<McpInUse>> {
        let mut in_use = Vec::with_capacity(servers.len());
        for server in servers {
            let is_early = is_early(&server.protocol);
            let way = match self.way(tenant, tier, server.name.as_str(), &server.config, is_early, secrets) {
                Ok(way) => way,
                Err(error) => {
                    tracing::error!(server = %server.name, %tenant, %error, "an MCP server can not be reached any more and is left out");
                    continue;
                }
            };
            let digests = server.tools.iter().map(|tool| (tool.manifest.name.clone(), tool.digest)).collect();
            in_use.push(Arc::new(McpInUse { provider: PluginName::from(&server.name), server, way, digests }));
        }
        in_use
    }

    /// The way to a server: to its host and port alone, within the tenant's limits, with its secrets.
    pub(crate) fn way(
        &self,
        tenant: &TenantId,
        tier: Tier,
        name: &str,
        config: &McpServerConfig,
        is_early: bool,
        secrets: &[SealedSecret],
    ) -> Result<Way, RegistryError> {
        let place: Place = config.url.parse().map_err(|error| RegistryError::invalid("url", error))?;
        let shared = &self.0;
        let maxima = shared.config.maxima.get(&tier).copied().unwrap_or_default();
        let limits = PluginLimits::from(config.limits).or(shared.config.tool_defaults).at_most(maxima);
        let bounded = vivarium_sandbox::Limits::for_tool().with(&limits);
        let methods = METHODS.map(str::to_owned);
        let allowed = AllowedHost::parse(&place.host_and_port(), &methods)
            .map_err(|error| RegistryError::invalid("url", format!("can not be used: {error}")))?;
        let here: HostPort = place
            .host_and_port()
            .parse()
            .map_err(|error| RegistryError::invalid("url", format!("can not be used: {error}")))?;
        let may_be_private = config.dangerously_allow_private_addresses || shared.private.contains(&here);
        let (mut injections, mut values, mut closed) = (Vec::new(), Vec::new(), None);
        for wanted in &config.secrets {
            let missing = || {
                format!(
                    "the MCP server {name} needs the secret {wanted}, which is not there; PUT /v1/secrets/{wanted} sets it"
                )
            };
            let Some(sealed) = secrets.iter().find(|secret| secret.name == *wanted) else {
                closed.get_or_insert_with(missing);
                continue;
            };
            let inject = &sealed.inject;
            let opened = shared.vault.open(tenant, sealed).ok();
            let injection = opened
                .as_ref()
                .and_then(|value| Injection::new(&inject.host, &inject.header, &inject.prefix, value.clone()).ok());
            match injection.zip(opened) {
                Some((injection, value)) => {
                    injections.push(injection);
                    values.push(value);
                }
                None => {
                    closed =
                        Some(format!("the secret {wanted} of the MCP server {name} can not be opened; set it anew"))
                }
            }
        }
        let most = limits.egress_bytes.unwrap_or(Limits::default().max_total_bytes);
        let policy = EgressPolicy {
            requested: vec![allowed.clone()],
            granted: vec![allowed],
            dangerously_allow_private_addresses: if may_be_private { vec![here] } else { Vec::new() },
            limits: Limits {
                max_requests: limits.egress_requests.unwrap_or(Limits::default().max_requests),
                max_request_bytes: most,
                max_response_bytes: most,
                max_total_bytes: most,
                // The conversation has a bound of its own, which tells more.
                total_timeout: bounded.wall + Duration::from_secs(10),
                ..Limits::default()
            },
            injections,
        };
        let remote = RemoteServer { place, egress: Arc::clone(&shared.egress), policy: Arc::new(policy), is_early };
        Ok(Way {
            remote,
            wall: bounded.wall,
            output_bytes: bounded.output_bytes,
            redactor: Redactor::new(values),
            closed,
        })
    }
}

impl Way {
    /// Why the way can not be gone.
    pub(crate) fn closed(&self) -> Option<&str> {
        self.closed.as_deref()
    }
}
