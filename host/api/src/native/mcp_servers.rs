//! `/v1/mcp-servers`: a tenant's remote servers of tools, which speak the Model Context Protocol. Their tools are tools like all
//! others, once a person has accepted what the server says of them.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::{
    Approval, ContentHash, McpLeftOut, McpLimits, McpServer, McpServerConfig, McpServerName, McpTool, McpToolState,
    Scope, SecretName, Timestamp, ToolManifest, ToolName,
};
use vivarium_registry::Accepted;

use super::NativeError;
use super::list::{List, Parameters};
use crate::ApiState;
use crate::body::{json_bytes, json_of};
use crate::error::{ApiError, Kind};
use crate::gate::{By, CallerExt};
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::make::connection_id;
use crate::segment::Segment;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list, add)).routes(routes!(one, change, remove)).routes(routes!(refresh))
}

/// A server to add.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct NewMcpServer {
    /// Its name: its tools are named after it, `name_tool`.
    #[schema(required)]
    name: Option<McpServerName>,
    /// Where it answers over streamable HTTP: `https:` or `http:`. Its redirects are not followed.
    #[schema(required, min_length = 1, max_length = 2048, format = "uri")]
    url: Option<String>,
    /// The secrets that the host puts into the requests to it: each one's host is the URL's.
    #[serde(default)]
    #[schema(max_items = 8)]
    secrets: Vec<SecretName>,
    /// Whether a person is asked before a call of a tool. One that is not here: `auto` if the server hints that it changes
    /// nothing, else `ask`.
    #[serde(default)]
    approvals: BTreeMap<ToolName, Approval>,
    /// What one call may use.
    #[serde(default)]
    limits: McpLimits,
    /// Its address need not be public. Needs the scope `admin`.
    #[serde(default)]
    dangerously_allow_private_addresses: bool,
}

/// What to change of a server; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct McpServerChange {
    /// Where it answers. At another address than before, its tools are accepted as they are there.
    #[schema(nullable = false, min_length = 1, max_length = 2048, format = "uri")]
    url: Option<String>,
    /// All secrets that the host puts into the requests to it.
    #[schema(nullable = false, max_items = 8)]
    secrets: Option<Vec<SecretName>>,
    /// All approvals.
    #[schema(nullable = false)]
    approvals: Option<BTreeMap<ToolName, Approval>>,
    /// All limits.
    #[schema(nullable = false)]
    limits: Option<McpLimits>,
    /// Its address need not be public. Needs the scope `admin`.
    #[schema(nullable = false)]
    dangerously_allow_private_addresses: Option<bool>,
}

/// What is accepted of what a server says of its tools.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct McpRefresh {
    /// Tools, each with the digest that a look has shown: they are accepted if the server still says the same. Of a tool that is
    /// gone, the digest that was accepted.
    #[serde(default)]
    accept: BTreeMap<ToolName, ContentHash>,
    /// Accept all tools, whatever the server says of them now. Not together with `accept`.
    #[serde(default)]
    accept_all: bool,
}

/// A tool of a server.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = McpTool)]
struct ToolJson {
    #[serde(flatten)]
    manifest: ToolManifest,
    /// What the server calls it.
    remote_name: String,
    /// How it stands to what was accepted.
    state: McpToolState,
    /// SHA-256 of what the server says of it.
    digest: ContentHash,
    /// Whether a person is asked before a call.
    approval: Approval,
}

/// A server, as lists show it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = McpServer)]
struct ServerJson {
    /// Its name.
    name: McpServerName,
    /// Where it answers.
    url: String,
    /// The secrets that go into the requests to it.
    secrets: Vec<SecretName>,
    /// What was said of approvals.
    approvals: BTreeMap<ToolName, Approval>,
    /// What one call may use.
    limits: McpLimits,
    /// Its address need not be public.
    dangerously_allow_private_addresses: bool,
    /// The number that the make dialect has for it.
    mcp_connection_id: u64,
    /// The version of the protocol that it spoke at the last look.
    protocol_version: String,
    /// What it calls itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    software: Option<String>,
    /// The names of its tools that were accepted.
    provides: Vec<ToolName>,
    /// Tools wait to be accepted: they are new, changed or gone.
    needs_acceptance: bool,
    /// When it was added.
    created_at: Timestamp,
    /// When it was changed last.
    updated_at: Timestamp,
    /// When its tools were looked at last.
    looked_at: Timestamp,
}

impl From<&McpServer> for ServerJson {
    fn from(server: &McpServer) -> Self {
        let config = &server.config;
        Self {
            name: server.name.clone(),
            url: config.url.clone(),
            secrets: config.secrets.clone(),
            approvals: config.approvals.clone(),
            limits: config.limits,
            dangerously_allow_private_addresses: config.dangerously_allow_private_addresses,
            mcp_connection_id: connection_id(server),
            protocol_version: server.protocol.clone(),
            software: server.software.clone(),
            provides: server.tools.iter().map(|tool| tool.manifest.name.clone()).collect(),
            needs_acceptance: !server.proposed.is_empty() || !server.gone.is_empty(),
            created_at: server.created_at,
            updated_at: server.updated_at,
            looked_at: server.looked_at,
        }
    }
}

/// One server, whole.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
struct WholeMcpServer {
    #[serde(flatten)]
    server: ServerJson,
    /// Its tools: those that were accepted, and those that the last look found besides. A changed one is shown as the server has
    /// it now.
    tools: Vec<ToolJson>,
    /// Tools that can not be used here, and why.
    left_out: Vec<McpLeftOut>,
}

impl From<&McpServer> for WholeMcpServer {
    fn from(server: &McpServer) -> Self {
        let shown = |(tool, state): (&McpTool, McpToolState)| ToolJson {
            manifest: tool.manifest.clone(),
            remote_name: tool.remote_name.clone(),
            state,
            digest: tool.digest,
            approval: server.approval(&tool.manifest),
        };
        let mut tools: Vec<ToolJson> = server.all_tools().map(shown).collect();
        tools.sort_by(|one, other| one.manifest.name.cmp(&other.manifest.name));
        Self { server: server.into(), tools, left_out: server.left_out.clone() }
    }
}

fn named(text: &str) -> Result<McpServerName, ApiError> {
    text.parse().map_err(|_| ApiError::new(Kind::NotFound, "there is no such MCP server"))
}

/// List MCP servers
///
/// By name. Needs the scope `plugins`.
#[utoipa::path(
    get, path = "/v1/mcp-servers", operation_id = "listMcpServers", tag = "Native",
    params(
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "How many at most; 50 where nothing is said."),
        ("cursor" = Option<McpServerName>, Query, nullable = false, description = "The `next` of the page before."),
    ),
    responses((status = 200, description = "A page of them.", body = List<ServerJson>))
)]
async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<impl Serialize>, NativeError> {
    caller.needs(Scope::Plugins)?;
    let parameters = Parameters::of(&uri, &["limit", "cursor"])?;
    let (limit, after) = (parameters.limit()?, parameters.cursor::<McpServerName>()?);
    let servers = state.0.registry.mcp_servers(&caller.tenant).await?;
    let mut rest = servers.iter().filter(|server| after.as_ref().is_none_or(|after| server.name > *after));
    let page: Vec<ServerJson> = rest.by_ref().take(limit).map(ServerJson::from).collect();
    let next = rest.next().and_then(|_| page.last()).map(|last| last.name.clone());
    Ok(Json(List::new(page, next)))
}

/// Add an MCP server
///
/// It is asked what tools it has, and these are accepted as it tells of them now: they are tools like all others from then on. A
/// tool that it tells of in another way later is not called until that is accepted, too. Needs the scope `plugins`.
#[utoipa::path(
    post, path = "/v1/mcp-servers", operation_id = "addMcpServer", tag = "Native",
    params(IdempotencyKey),
    request_body(content = NewMcpServer, example = json!({
        "name": "docs", "url": "https://mcp.example.com/mcp", "secrets": ["docs-token"], "approvals": {"docs_search": "auto"}
    })),
    responses(
        (status = 201, description = "It is there, with its tools.", body = WholeMcpServer,
         headers(("Location" = String, description = "Where it is."))),
        (status = 409, description = "The name is taken, or the tenant has as many servers as it may."),
        (status = 429, description = "The key's requests of this minute are used up."),
        (status = 502, description = "The server does not say what tools it has."),
    )
)]
async fn add(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::Plugins)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let form: NewMcpServer = json_of(&body)?;
        let name = form.name.ok_or_else(|| ApiError::missing("name"))?;
        let config = McpServerConfig {
            url: form.url.ok_or_else(|| ApiError::missing("url"))?,
            secrets: form.secrets,
            approvals: form.approvals,
            limits: form.limits,
            dangerously_allow_private_addresses: form.dangerously_allow_private_addresses,
        };
        caller.limits.take_request()?;
        let along = |server: &McpServer| once.remember(&added(server));
        let by_operator = caller.may(Scope::Admin);
        let server = state.0.registry.add_mcp_server(&caller.tenant, name, config, by_operator, &by, along).await?;
        Ok(added(&server))
    };
    Ok(once.or(make).await?)
}

fn added(server: &McpServer) -> Answer {
    let path = format!("/v1/mcp-servers/{}", server.name);
    Answer::json(StatusCode::CREATED, &WholeMcpServer::from(server)).with(header::LOCATION, &path)
}

/// One MCP server
///
/// With its tools, and how each stands to what was accepted. Needs the scope `plugins`.
#[utoipa::path(
    get, path = "/v1/mcp-servers/{name}", operation_id = "getMcpServer", tag = "Native",
    params(("name" = McpServerName, Path, description = "Its name.")),
    responses((status = 200, description = "The server.", body = WholeMcpServer))
)]
async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(name): Segment<String>,
) -> Result<Json<impl Serialize>, NativeError> {
    caller.needs(Scope::Plugins)?;
    let server = state.0.registry.mcp_server(&caller.tenant, &named(&name)?).await?;
    Ok(Json(WholeMcpServer::from(&server)))
}

/// Change an MCP server
///
/// What is left out stays. Runs that are under way go on with what they began with. Needs the scope `plugins`.
#[utoipa::path(
    patch, path = "/v1/mcp-servers/{name}", operation_id = "changeMcpServer", tag = "Native",
    params(("name" = McpServerName, Path, description = "Its name.")),
    request_body(content = McpServerChange, example = json!({"approvals": {"docs_search": "ask"}})),
    responses(
        (status = 200, description = "It is changed.", body = WholeMcpServer),
        (status = 409, description = "Somebody else has changed it meanwhile."),
        (status = 429, description = "The key's requests of this minute are used up."),
        (status = 502, description = "The server does not say what tools it has at the new address."),
    )
)]
async fn change(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(name): Segment<String>,
    request: Request,
) -> Result<Json<impl Serialize>, NativeError> {
    caller.needs(Scope::Plugins)?;
    let name = named(&name)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let form: McpServerChange = json_of(&body)?;
    if form.url.is_some() {
        caller.limits.take_request()?;
    }
    let change = |config: &mut McpServerConfig| {
        let McpServerChange { url, secrets, approvals, limits, dangerously_allow_private_addresses } = form;
        set(&mut config.url, url);
        set(&mut config.secrets, secrets);
        set(&mut config.approvals, approvals);
        set(&mut config.limits, limits);
        set(&mut config.dangerously_allow_private_addresses, dangerously_allow_private_addresses);
    };
    let by_operator = caller.may(Scope::Admin);
    let server = state.0.registry.change_mcp_server(&caller.tenant, &name, change, by_operator, &by).await?;
    Ok(Json(WholeMcpServer::from(&server)))
}

fn set<T>(place: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *place = value;
    }
}

/// Look at an MCP server anew
///
/// Asks what tools it has now. Without a body it is only looked: what is new, changed or gone is shown, and stays as it was
/// until it is accepted by its digest. Needs the scope `plugins`.
#[utoipa::path(
    post, path = "/v1/mcp-servers/{name}/refresh", operation_id = "refreshMcpServer", tag = "Native",
    params(("name" = McpServerName, Path, description = "Its name."), IdempotencyKey),
    request_body(content = Option<McpRefresh>, example = json!({
        "accept": {"docs_search": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"}
    })),
    responses(
        (status = 200, description = "The server as it is now.", body = WholeMcpServer),
        (status = 409, description = "The server says something else of a tool than what is to be accepted, or somebody else has changed it meanwhile."),
        (status = 429, description = "The key's requests of this minute are used up."),
        (status = 502, description = "The server does not say what tools it has."),
    )
)]
async fn refresh(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(name): Segment<String>,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::Plugins)?;
    let name = named(&name)?;
    let (head, body) = request.into_parts();
    let body = crate::body::read_body(body, state.0.max_body_bytes, state.0.body_timeout).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let asked: Option<McpRefresh> = if body.is_empty() { None } else { json_of(&body)? };
        let McpRefresh { accept, accept_all } = asked.unwrap_or_default();
        let accepted = match (accept_all, accept.is_empty()) {
            (true, false) => {
                return Err(ApiError::invalid("acceptAll", "must be false or left out where there is an accept"));
            }
            (true, true) => Accepted::All,
            (false, _) => Accepted::These(accept),
        };
        caller.limits.take_request()?;
        let shown = |server: &McpServer| Answer::json(StatusCode::OK, &WholeMcpServer::from(server));
        let along = |server: &McpServer| once.remember(&shown(server));
        let server = state.0.registry.refresh_mcp_server(&caller.tenant, &name, &accepted, &by, along).await?;
        Ok(shown(&server))
    };
    Ok(once.or(make).await?)
}

/// Remove an MCP server
///
/// With its tools. Calls that are under way end well. Needs the scope `plugins`.
#[utoipa::path(
    delete, path = "/v1/mcp-servers/{name}", operation_id = "removeMcpServer", tag = "Native",
    params(("name" = McpServerName, Path, description = "Its name.")),
    responses((status = 204, description = "It is gone."))
)]
async fn remove(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(name): Segment<String>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::Plugins)?;
    state.0.registry.remove_mcp_server(&caller.tenant, &named(&name)?, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}
