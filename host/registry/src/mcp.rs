//! A tenant's remote servers of tools: added, changed, looked at anew and removed. What a server says of its tools is accepted
//! by a person: by who adds it, and from then on tool by tool. Servers are asked without any lock held: one that is slow keeps
//! nobody waiting but who asks for it.

use std::collections::{BTreeMap, BTreeSet};

use vivarium_domain::{
    AuditAction, AuditBy, ContentHash, McpLeftOut, McpServer, McpServerConfig, McpServerName, McpTool, PluginName,
    TenantId, Tier, Timestamp, ToolManifest, ToolName,
};
use vivarium_egress::Meter;
use vivarium_mcp::{ListedTool, Listing, Place as Address, is_early};
use vivarium_sandbox::ToolSchemas;
use vivarium_store::{Batch, Write};

use crate::error::RegistryError;
use crate::service::{Place, Registry};

/// The most servers of a tenant.
const MAX_SERVERS: usize = 50;

/// The most secrets that go into the requests to one server.
const MAX_SECRETS: usize = 8;

/// The longest description of a tool that is taken, in bytes: a model reads it with every question.
const MAX_DESCRIPTION_BYTES: usize = 16 << 10;

/// All that is kept of one server's tools, in bytes.
const MAX_KEPT_BYTES: usize = 1 << 20;

/// What of a look is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Accepted {
    /// All tools, whatever the server says of them now.
    All,
    /// These, if the server says of each what its digest stands for. None of them: it is only looked.
    These(BTreeMap<ToolName, ContentHash>),
}

/// What a server has, as far as it can be used here.
struct Look {
    listing: Listing,
    tools: Vec<McpTool>,
    left_out: Vec<McpLeftOut>,
}

impl Registry {
    /// The tenant's servers, by name.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn mcp_servers(&self, tenant: &TenantId) -> Result<Vec<McpServer>, RegistryError> {
        Ok(self.0.store.mcp_servers(tenant).await?)
    }

    /// One of them.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub async fn mcp_server(&self, tenant: &TenantId, name: &McpServerName) -> Result<McpServer, RegistryError> {
        let found = self.0.store.mcp_servers(tenant).await?.into_iter().find(|server| server.name == *name);
        found.ok_or_else(no_server)
    }

    /// Adds a server, and accepts the tools that it has now. What `along` gives for it is written with it or not at all.
    ///
    /// # Errors
    /// When something of it is wrong, the name is taken, there are too many, or the server does not say what tools it has.
    pub async fn add_mcp_server(
        &self,
        tenant: &TenantId,
        name: McpServerName,
        config: McpServerConfig,
        by_operator: bool,
        by: &AuditBy,
        along: impl FnOnce(&McpServer) -> Batch + Send,
    ) -> Result<McpServer, RegistryError> {
        self.check_config(tenant, &config, by_operator).await?;
        self.check_free(tenant, &name).await?;
        let Look { listing, tools, left_out } = self.look(tenant, &name, &config, false).await?;
        check_approvals(&config, &tools)?;
        let now = Timestamp::now();
        let server = McpServer {
            name,
            config,
            tools,
            proposed: Vec::new(),
            gone: Vec::new(),
            left_out,
            protocol: listing.protocol,
            software: listing.software,
            created_at: now,
            updated_at: now,
            looked_at: now,
        };
        let _changing = self.0.changing.lock().await;
        self.check_free(tenant, &server.name).await?;
        self.keep(tenant, server, AuditAction::McpServerAdded, by, along).await
    }

    /// Changes what a tenant says of a server. At a new address its tools are looked at, and accepted as they are there.
    ///
    /// # Errors
    /// As for [`Self::add_mcp_server`], and [`RegistryError::NotFound`].
    pub async fn change_mcp_server(
        &self,
        tenant: &TenantId,
        name: &McpServerName,
        change: impl FnOnce(&mut McpServerConfig) + Send,
        by_operator: bool,
        by: &AuditBy,
    ) -> Result<McpServer, RegistryError> {
        let before = self.mcp_server(tenant, name).await?;
        let mut config = before.config.clone();
        change(&mut config);
        // What an operator has allowed stays allowed, until somebody changes where the server is.
        let keeps = config.dangerously_allow_private_addresses == before.config.dangerously_allow_private_addresses
            && config.url == before.config.url;
        self.check_config(tenant, &config, by_operator || keeps).await?;
        let mut server = McpServer { updated_at: Timestamp::now(), ..before.clone() };
        if config.url != before.config.url {
            let Look { listing, tools, left_out } = self.look(tenant, name, &config, false).await?;
            (server.tools, server.left_out, server.looked_at) = (tools, left_out, server.updated_at);
            (server.protocol, server.software) = (listing.protocol, listing.software);
            (server.proposed, server.gone) = (Vec::new(), Vec::new());
        }
        check_approvals(&config, &server.tools)?;
        server.config = config;
        let _changing = self.0.changing.lock().await;
        self.check_unchanged(tenant, &before).await?;
        self.keep(tenant, server, AuditAction::McpServerChanged, by, |_| Batch::default()).await
    }

    /// Looks what tools a server has now, and accepts some of them, all or none.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`]; [`RegistryError::Conflict`] when the server says something else of a tool than what is to
    /// be accepted; when the server does not say what tools it has.
    pub async fn refresh_mcp_server(
        &self,
        tenant: &TenantId,
        name: &McpServerName,
        accepted: &Accepted,
        by: &AuditBy,
        along: impl FnOnce(&McpServer) -> Batch + Send,
    ) -> Result<McpServer, RegistryError> {
        let before = self.mcp_server(tenant, name).await?;
        let Look { listing, tools, left_out } =
            self.look(tenant, name, &before.config, is_early(&before.protocol)).await?;
        let now = Timestamp::now();
        let pinned = pinned(&before.tools, &tools, accepted)?;
        let is_pinned = |tool: &McpTool| {
            pinned.iter().any(|kept| kept.manifest.name == tool.manifest.name && kept.digest == tool.digest)
        };
        let proposed = tools.iter().filter(|tool| !is_pinned(tool)).cloned().collect();
        let is_there = |tool: &McpTool| tools.iter().any(|listed| listed.manifest.name == tool.manifest.name);
        let gone = pinned.iter().filter(|tool| !is_there(tool)).map(|tool| tool.manifest.name.clone()).collect();
        let changed = pinned != before.tools;
        let server = McpServer {
            proposed,
            gone,
            left_out,
            protocol: listing.protocol,
            software: listing.software,
            updated_at: if changed { now } else { before.updated_at },
            looked_at: now,
            tools: pinned,
            ..before.clone()
        };
        let _changing = self.0.changing.lock().await;
        self.check_unchanged(tenant, &before).await?;
        if changed {
            return self.keep(tenant, server, AuditAction::McpServerAccepted, by, along).await;
        }
        // A look changes nothing that a run sees.
        let write = Batch::from(Write::PutMcpServer(Box::new(server.clone()))).and(along(&server));
        self.0.store.commit(tenant, write).await?;
        Ok(server)
    }

    /// Removes a server. Calls that are under way end well.
    ///
    /// # Errors
    /// [`RegistryError::NotFound`].
    pub async fn remove_mcp_server(
        &self,
        tenant: &TenantId,
        name: &McpServerName,
        by: &AuditBy,
    ) -> Result<(), RegistryError> {
        let _changing = self.0.changing.lock().await;
        self.mcp_server(tenant, name).await?;
        let note = by.did(AuditAction::McpServerRemoved, name);
        self.write(tenant, vec![Write::DeleteMcpServer(name.clone()), note.into()]).await?;
        self.changed(&Place::Tenant(tenant.clone()));
        Ok(())
    }

    async fn keep(
        &self,
        tenant: &TenantId,
        server: McpServer,
        action: AuditAction,
        by: &AuditBy,
        along: impl FnOnce(&McpServer) -> Batch + Send,
    ) -> Result<McpServer, RegistryError> {
        let url = server.config.url.parse::<Address>().map(|address| address.told()).unwrap_or_default();
        let tools: BTreeMap<_, _> = server.tools.iter().map(|tool| (&tool.manifest.name, tool.digest)).collect();
        let note = by
            .did(action, &server.name)
            .with("url", url)
            .with("secrets", &server.config.secrets)
            .with("approvals", &server.config.approvals)
            .with("privateAddresses", server.config.dangerously_allow_private_addresses)
            .with("tools", tools);
        let write = Batch::from(Write::PutMcpServer(Box::new(server.clone()))).and(note.into());
        self.0.store.commit(tenant, write.and(along(&server))).await?;
        self.changed(&Place::Tenant(tenant.clone()));
        Ok(server)
    }

    async fn check_free(&self, tenant: &TenantId, name: &McpServerName) -> Result<(), RegistryError> {
        let servers = self.0.store.mcp_servers(tenant).await?;
        if servers.iter().any(|server| server.name == *name) {
            return Err(RegistryError::Conflict(format!(
                "there is an MCP server {name} already; PATCH /v1/mcp-servers/{name} changes it"
            )));
        }
        if servers.len() >= MAX_SERVERS {
            return Err(RegistryError::Full(format!("a tenant may have {MAX_SERVERS} MCP servers; remove one first")));
        }
        Ok(())
    }

    /// Nobody has changed it since it was read.
    async fn check_unchanged(&self, tenant: &TenantId, before: &McpServer) -> Result<(), RegistryError> {
        match self.mcp_server(tenant, &before.name).await? {
            now if now == *before => Ok(()),
            _ => Err(RegistryError::Conflict(format!(
                "somebody else has changed the MCP server {} meanwhile; try again",
                before.name
            ))),
        }
    }

    async fn check_config(
        &self,
        tenant: &TenantId,
        config: &McpServerConfig,
        by_operator: bool,
    ) -> Result<(), RegistryError> {
        let address: Address = config.url.parse().map_err(|error| RegistryError::invalid("url", error))?;
        if config.dangerously_allow_private_addresses && !by_operator {
            return Err(RegistryError::OperatorOnly(
                "dangerouslyAllowPrivateAddresses can be given with a key of the scope admin alone".to_owned(),
            ));
        }
        let limits = config.limits;
        for (what, limit) in [
            ("limits.wallMs", limits.wall_ms),
            ("limits.outputBytes", limits.output_bytes),
            ("limits.egressRequests", limits.egress_requests),
            ("limits.egressBytes", limits.egress_bytes),
        ] {
            if limit == Some(0) {
                return Err(RegistryError::invalid(what, "must be at least 1"));
            }
        }
        if config.secrets.len() > MAX_SECRETS {
            let reason = format!("has {} entries; at most {MAX_SECRETS} are taken", config.secrets.len());
            return Err(RegistryError::invalid("secrets", reason));
        }
        let secrets = self.0.store.secrets(tenant).await?;
        for name in &config.secrets {
            let Some(secret) = secrets.iter().find(|secret| secret.name == *name) else {
                let reason = format!("names {name}, and there is no such secret: PUT /v1/secrets/{name} sets it");
                return Err(RegistryError::invalid("secrets", reason));
            };
            if secret.inject.host != address.host() {
                let (goes_to, host) = (&secret.inject.host, address.host());
                let reason =
                    format!("names {name}, which goes into requests to {goes_to}, and the server's host is {host}");
                return Err(RegistryError::invalid("secrets", reason));
            }
        }
        Ok(())
    }

    /// Asks a server what tools it has.
    async fn look(
        &self,
        tenant: &TenantId,
        name: &McpServerName,
        config: &McpServerConfig,
        is_early: bool,
    ) -> Result<Look, RegistryError> {
        let tier = self.0.store.tenant(tenant).await?.map_or(Tier::Free, |tenant| tenant.tier);
        let secrets = self.0.store.secrets(tenant).await?;
        let way = self.way(tenant, tier, name.as_str(), config, is_early, &secrets)?;
        if let Some(why) = way.closed() {
            return Err(RegistryError::Conflict(why.to_owned()));
        }
        let listing = way.remote.list(Meter::default(), way.wall).await;
        let listing = listing.map_err(|error| RegistryError::Mcp { server: name.to_string(), error })?;
        let catalog = self.catalog(tenant).await?;
        let provider = PluginName::from(name);
        let others = |tool: &ToolName| {
            let other = catalog.tool(tool.as_str()).filter(|entry| *entry.provider_name() != provider);
            other.map(|entry| entry.provider_name().clone())
        };
        let (tools, left_out) = usable(name, &listing.tools, others);
        Ok(Look { listing, tools, left_out })
    }
}

fn no_server() -> RegistryError {
    RegistryError::NotFound("there is no such MCP server".to_owned())
}

fn check_approvals(config: &McpServerConfig, tools: &[McpTool]) -> Result<(), RegistryError> {
    let known = |name: &ToolName| tools.iter().any(|tool| tool.manifest.name == *name);
    match config.approvals.keys().find(|name| !known(name)) {
        None => Ok(()),
        Some(unknown) => {
            let names: Vec<&str> = tools.iter().map(|tool| tool.manifest.name.as_str()).collect();
            let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
            Err(RegistryError::invalid(
                "approvals",
                format!("names the tool {unknown}; the server's tools are: {names}"),
            ))
        }
    }
}

/// The tools that are accepted from now on, by name.
fn pinned(before: &[McpTool], listed: &[McpTool], accepted: &Accepted) -> Result<Vec<McpTool>, RegistryError> {
    let these = match accepted {
        Accepted::All => return Ok(listed.to_vec()),
        Accepted::These(these) => these,
    };
    let mut kept: BTreeMap<ToolName, McpTool> =
        before.iter().map(|tool| (tool.manifest.name.clone(), tool.clone())).collect();
    for (name, digest) in these {
        let now = listed.iter().find(|tool| tool.manifest.name == *name);
        match now {
            Some(tool) if tool.digest == *digest => drop(kept.insert(name.clone(), tool.clone())),
            Some(tool) => {
                return Err(RegistryError::Conflict(format!(
                    "what the server says of the tool {name} has the digest {} now, and {digest} was to be accepted; look at \
                     it again",
                    tool.digest
                )));
            }
            // That a tool is gone is accepted, too.
            None if kept.get(name).is_some_and(|tool| tool.digest == *digest) => drop(kept.remove(name)),
            None => {
                return Err(RegistryError::invalid(
                    "accept",
                    format!("names the tool {name}, which the server does not have"),
                ));
            }
        }
    }
    Ok(kept.into_values().collect())
}

/// The tools that can be used here, by name, and why the others can not.
fn usable(
    server: &McpServerName,
    listed: &[ListedTool],
    others: impl Fn(&ToolName) -> Option<PluginName>,
) -> (Vec<McpTool>, Vec<McpLeftOut>) {
    let (mut tools, mut left_out): (BTreeMap<ToolName, McpTool>, _) = (BTreeMap::new(), Vec::new());
    let (mut bytes, mut seen) = (0, BTreeSet::new());
    for tool in listed {
        let taken = own_name(server, &tool.name)
            .and_then(|name| match others(&name) {
                Some(other) => Err(format!("it would be named {name}, which is a tool of {other}")),
                None => Ok(name),
            })
            .and_then(|name| match seen.insert(name.clone()) {
                true => Ok(name),
                false => Err(format!("another tool of the server is named {name} here already")),
            })
            .and_then(|name| fitting(name, tool, &mut bytes));
        match taken {
            Ok(tool) => drop(tools.insert(tool.manifest.name.clone(), tool)),
            Err(reason) => {
                let remote_name = tool.name.chars().take(200).collect();
                left_out.push(McpLeftOut { remote_name, reason });
            }
        }
    }
    (tools.into_values().collect(), left_out)
}

/// A tool's name in the tenant: no two servers, and no server and no plugin, have one in common by chance.
fn own_name(server: &McpServerName, remote: &str) -> Result<ToolName, String> {
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
    let name = format!("{server}_{}", remote.chars().map(plain).collect::<String>());
    name.parse().map_err(|_| {
        let chars = name.chars().count();
        format!(
            "with the server's name before it its name would have {chars} characters, and a tool's name may have 64"
        )
    })
}

fn fitting(name: ToolName, listed: &ListedTool, bytes: &mut usize) -> Result<McpTool, String> {
    if listed.description.len() > MAX_DESCRIPTION_BYTES {
        let found = listed.description.len();
        return Err(format!("its description has {found} bytes, and at most {MAX_DESCRIPTION_BYTES} are taken"));
    }
    let manifest = ToolManifest {
        name,
        title: listed.title.clone(),
        description: listed.description.clone(),
        input_schema: listed.input_schema.clone(),
        output_schema: listed.output_schema.clone(),
        read_only: listed.read_only,
        idempotent: listed.idempotent,
        destructive: listed.destructive,
        open_world: listed.open_world,
    };
    ToolSchemas::of(&manifest).map_err(|error| error.to_string())?;
    let size = serde_json::to_vec(&manifest).map_or(usize::MAX, |json| json.len());
    let after = bytes.saturating_add(size);
    if after > MAX_KEPT_BYTES {
        return Err(format!("what the server says of its tools has more than {MAX_KEPT_BYTES} bytes with it"));
    }
    *bytes = after;
    Ok(McpTool { remote_name: listed.name.clone(), manifest, digest: listed.digest })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn listed(name: &str, description: &str, input_schema: Value) -> ListedTool {
        ListedTool {
            name: name.to_owned(),
            title: String::new(),
            description: description.to_owned(),
            input_schema,
            output_schema: None,
            read_only: true,
            idempotent: false,
            destructive: false,
            open_world: false,
            digest: ContentHash::of(description.as_bytes()),
        }
    }

    fn look(tools: &[ListedTool]) -> (Vec<McpTool>, Vec<McpLeftOut>) {
        let others = |name: &ToolName| (name.as_str() == "s_taken").then(|| "acme/other".parse().unwrap());
        usable(&"s".parse().unwrap(), tools, others)
    }

    fn object() -> Value {
        json!({"type": "object"})
    }

    #[test]
    fn a_tool_that_can_not_be_used_is_left_out_with_why_and_the_others_stay() {
        let (tools, left_out) = look(&[
            listed("b.read/file", "", object()),
            listed("a", "", object()),
            listed("taken", "", object()),
            listed("b_read_file", "", object()),
            listed(&"x".repeat(63), "", object()),
            listed("long", &"x".repeat(MAX_DESCRIPTION_BYTES + 1), object()),
            listed("list", "", json!({"type": "array"})),
            listed("remote", "", json!({"type": "object", "$ref": "https://example.com/schema.json"})),
        ]);
        let names: Vec<_> = tools.iter().map(|tool| (tool.manifest.name.as_str(), tool.remote_name.as_str())).collect();
        assert_eq!(names, [("s_a", "a"), ("s_b_read_file", "b.read/file")]);
        let reasons: Vec<_> = left_out.iter().map(|left| left.reason.as_str()).collect();
        for (reason, expected) in reasons.iter().zip([
            "it would be named s_taken, which is a tool of acme/other",
            "another tool of the server is named s_b_read_file here already",
            "with the server's name before it its name would have 65 characters",
            "its description has 16385 bytes",
            "must be \"object\"",
            "is not local",
        ]) {
            assert!(reason.contains(expected), "{reason} | {expected}");
        }
        assert_eq!(reasons.len(), 6);
    }

    #[test]
    fn what_is_kept_of_a_server_has_a_bound() {
        let tools: Vec<_> = (0..100).map(|n| listed(&format!("t{n}"), &"x".repeat(15 << 10), object())).collect();
        let (kept, left_out) = look(&tools);
        assert!(kept.len() < 70 && kept.len() + left_out.len() == 100, "{} {}", kept.len(), left_out.len());
    }

    #[test]
    fn what_is_accepted_is_what_was_shown() {
        let (before, _) = look(&[listed("a", "one", object()), listed("old", "", object())]);
        let (now, _) = look(&[listed("a", "two", object()), listed("new", "", object())]);
        let digests = |tools: &[McpTool]| {
            tools.iter().map(|tool| (tool.manifest.name.to_string(), tool.digest)).collect::<Vec<_>>()
        };
        let name = |text: &str| text.parse::<ToolName>().unwrap();
        let these = |names: &[(&str, &[u8])]| {
            Accepted::These(names.iter().map(|(text, digest)| (name(text), ContentHash::of(digest))).collect())
        };
        assert_eq!(pinned(&before, &now, &these(&[])).unwrap(), before, "a look accepts nothing");
        let accepted = pinned(&before, &now, &these(&[("s_a", b"two"), ("s_old", b"")])).unwrap();
        assert_eq!(digests(&accepted), [("s_a".to_owned(), ContentHash::of(b"two"))]);
        assert!(matches!(pinned(&before, &now, &these(&[("s_a", b"one")])), Err(RegistryError::Conflict(_))));
        assert!(matches!(pinned(&before, &now, &these(&[("s_x", b"one")])), Err(RegistryError::Invalid { .. })));
        assert_eq!(pinned(&before, &now, &Accepted::All).unwrap(), now);
    }
}
