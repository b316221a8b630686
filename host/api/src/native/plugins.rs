//! `/v1/plugins`: a tenant's plugins, and those that the operator shares. A plugin's name is `owner/name`; in a path it
//! stands as two segments or, with the slash as `%2F`, as one.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vivarium_domain::{
    ContentHash, Instances, KeyId, ModeManifest, PluginGrant, PluginLimits, PluginName, PluginVersion, Requests, Scope,
    Timestamp, ToolManifest,
};
use vivarium_registry::{Installed, Place, PluginInfo, RegistryError};

use super::NativeError;
use super::list::List;
use crate::ApiState;
use crate::auth::Caller;
use crate::body::{json_of, read_body};
use crate::error::{ApiError, Kind};
use crate::gate::{By, CallerExt};
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::query;
use crate::segment::Segment;

/// The names of what a plugin provides.
#[derive(Debug, Serialize, ToSchema)]
struct Provides {
    /// Its modes.
    modes: Vec<String>,
    /// Its tools.
    tools: Vec<String>,
}

/// A version of a plugin.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = PluginVersion)]
struct VersionJson {
    /// The version.
    #[schema(value_type = String, example = "1.2.0")]
    version: semver::Version,
    /// SHA-256 of the component.
    digest: ContentHash,
    /// The component's size.
    bytes: u64,
    /// It is the one that answers.
    active: bool,
    /// When it was installed.
    installed_at: Timestamp,
    /// With which key; none: from the command line.
    #[serde(skip_serializing_if = "Option::is_none")]
    installed_by: Option<KeyId>,
}

/// A plugin, as lists and answers show it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Plugin)]
struct PluginJson {
    /// `owner/name`.
    name: PluginName,
    /// The version that answers.
    #[schema(value_type = String, example = "1.2.0")]
    version: semver::Version,
    /// SHA-256 of its component.
    digest: ContentHash,
    /// The version of the contract that it is built for.
    #[schema(value_type = String, example = "0.1.0")]
    contract: semver::Version,
    /// One sentence.
    description: String,
    /// The operator shares it with all tenants.
    shared: bool,
    /// It came with the host.
    builtin: bool,
    /// The names of what it provides.
    provides: Provides,
    /// What its manifest asks for.
    requests: Requests,
    /// What its manifest asks for of each limit.
    #[serde(skip_serializing_if = "PluginLimits::is_empty")]
    #[schema(required = false)]
    limits: PluginLimits,
    /// Whether its tools' instances may be used again.
    instances: Instances,
    /// What it may do in this tenant.
    grants: PluginGrant,
}

impl From<PluginInfo> for PluginJson {
    fn from(info: PluginInfo) -> Self {
        let PluginVersion { digest, manifest, .. } = info.active;
        Self {
            name: info.name,
            digest,
            shared: info.shared,
            builtin: info.builtin,
            provides: Provides {
                modes: manifest.modes.iter().map(|mode| mode.name.to_string()).collect(),
                tools: manifest.tools.iter().map(|tool| tool.name.to_string()).collect(),
            },
            version: manifest.version,
            contract: manifest.contract,
            description: manifest.description,
            requests: manifest.requests,
            limits: manifest.limits,
            instances: manifest.instances,
            grants: info.grant,
        }
    }
}

/// One plugin, whole.
#[derive(Debug, Serialize, ToSchema)]
struct WholePlugin {
    #[serde(flatten)]
    plugin: PluginJson,
    /// Its modes.
    modes: Vec<ModeManifest>,
    /// Its tools.
    tools: Vec<ToolManifest>,
    /// Its versions, in the order in which they were installed.
    versions: Vec<VersionJson>,
}

impl From<PluginInfo> for WholePlugin {
    fn from(info: PluginInfo) -> Self {
        let versions = versions(&info);
        let (modes, tools) = (info.active.manifest.modes.clone(), info.active.manifest.tools.clone());
        Self { plugin: info.into(), modes, tools, versions }
    }
}

fn versions(info: &PluginInfo) -> Vec<VersionJson> {
    let version = |version: &PluginVersion| VersionJson {
        version: version.manifest.version.clone(),
        digest: version.digest,
        bytes: version.bytes,
        active: version.digest == info.active.digest,
        installed_at: version.installed_at,
        installed_by: version.installed_by,
    };
    info.versions.iter().map(version).collect()
}

/// The plugin that a path names.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    #[serde(alias = "owner")]
    plugin: String,
    #[serde(alias = "name")]
    rest: Option<String>,
}

impl Named {
    fn name(&self) -> Result<PluginName, ApiError> {
        let text = match &self.rest {
            Some(rest) => format!("{}/{rest}", self.plugin),
            None => self.plugin.clone(),
        };
        text.parse().map_err(|_| ApiError::new(Kind::NotFound, "there is no such plugin: a name is owner/name"))
    }
}

/// The place that `?shared=true` or its absence means. Only an operator reaches the shared one.
fn place(caller: &Caller, uri: &Uri) -> Result<Place, ApiError> {
    caller.needs(Scope::Plugins)?;
    let mut shared = None;
    for (name, value) in query::pairs(uri.query().unwrap_or_default())? {
        if name == "shared" {
            query::set_once(&mut shared, "shared", value)?;
        }
    }
    match shared.as_deref() {
        None | Some("false") => Ok(Place::Tenant(caller.tenant.clone())),
        Some("true") => {
            caller.needs(Scope::Admin)?;
            Ok(Place::Shared)
        }
        Some(_) => Err(ApiError::invalid("shared", "must be true or false")),
    }
}

/// List plugins
///
/// The tenant's own, and those that the operator shares.
#[utoipa::path(
    get, path = "/v1/plugins", operation_id = "listPlugins", tag = "Native",
    responses((status = 200, description = "All of them.", body = List<PluginJson>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
) -> Result<Json<impl Serialize>, NativeError> {
    let plugins = state.0.registry.plugins(&caller.tenant).await?;
    Ok(Json(List::whole(plugins.into_iter().map(PluginJson::from).collect())))
}

/// Install a plugin
///
/// The body is the component. Nothing of it runs. Needs the scope `plugins`.
#[utoipa::path(
    post, path = "/v1/plugins", operation_id = "installPlugin", tag = "Native",
    params(
        ("shared" = Option<bool>, Query, nullable = false, description = "Of the plugins that the operator shares; needs the scope `admin`."),
        IdempotencyKey,
    ),
    request_body(content = Vec<u8>, content_type = "application/wasm", description = "A WebAssembly component with a manifest."),
    responses(
        (status = 201, description = "The version is new.", body = PluginJson,
         headers(("Location" = String, description = "Where the plugin is."))),
        (status = 200, description = "The version was there.", body = PluginJson),
        (status = 409, description = "The name or the version is taken, or the tenant has as many plugins as it may."),
        (status = 422, description = "It is no component, or one that can not be a plugin here."),
        (status = 429, description = "This tenant installs other plugins."),
    )
)]
pub(super) async fn install(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    request: Request,
) -> Result<Answer, NativeError> {
    let (head, body) = request.into_parts();
    let place = place(&caller, &head.uri)?;
    refuse_other_types(&head.headers)?;
    let _place = state.0.installs.place(&caller.tenant, state.0.body_timeout).await?;
    let component = read_body(body, state.0.max_component_bytes, state.0.body_timeout * 4).await?;
    let tenant = place.tenant();
    let once = Once::of(&state, &tenant, &head, &component)?;
    let make = async {
        let along = |installed: &Installed| once.remember(&made(installed));
        Ok(made(&state.0.registry.install(&place, component.clone(), &by, along).await?))
    };
    Ok(once.or(make).await?)
}

fn made(installed: &Installed) -> Answer {
    let status = if installed.new { StatusCode::CREATED } else { StatusCode::OK };
    let path = format!("/v1/plugins/{}", installed.info.name);
    Answer::json(status, &PluginJson::from(installed.info.clone())).with(header::LOCATION, &path)
}

fn refuse_other_types(headers: &HeaderMap) -> Result<(), ApiError> {
    let value = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if essence.eq_ignore_ascii_case(b"application/wasm") {
        return Ok(());
    }
    let message = "the body must be a WebAssembly component: send it with Content-Type: application/wasm";
    Err(ApiError::new(Kind::UnsupportedMediaType, message))
}

/// One plugin
///
/// With its modes, tools and versions.
#[utoipa::path(
    get, path = "/v1/plugins/{owner}/{name}", operation_id = "getPlugin", tag = "Native",
    params(("owner" = String, Path, description = "The plugin's owner.", example = "acme"), ("name" = String, Path, description = "Its name.", example = "weather")),
    responses((status = 200, description = "The plugin.", body = WholePlugin))
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(named): Segment<Named>,
) -> Result<Json<impl Serialize>, NativeError> {
    Ok(Json(WholePlugin::from(state.0.registry.plugin(&caller.tenant, &named.name()?).await?)))
}

/// A plugin's versions
#[utoipa::path(
    get, path = "/v1/plugins/{owner}/{name}/versions", operation_id = "listPluginVersions", tag = "Native",
    params(("owner" = String, Path, description = "The plugin's owner.", example = "acme"), ("name" = String, Path, description = "Its name.", example = "weather")),
    responses((status = 200, description = "All of them.", body = List<VersionJson>))
)]
pub(super) async fn versions_of(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(named): Segment<Named>,
) -> Result<Json<impl Serialize>, NativeError> {
    let info = state.0.registry.plugin(&caller.tenant, &named.name()?).await?;
    Ok(Json(List::whole(versions(&info))))
}

/// Remove a plugin
///
/// Calls that are under way end on it. Needs the scope `plugins`.
#[utoipa::path(
    delete, path = "/v1/plugins/{owner}/{name}", operation_id = "removePlugin", tag = "Native",
    params(("owner" = String, Path, description = "The plugin's owner.", example = "acme"), ("name" = String, Path, description = "Its name.", example = "weather"), ("shared" = Option<bool>, Query, nullable = false, description = "Of the plugins that the operator shares; needs the scope `admin`.")),
    responses((status = 204, description = "It is gone."))
)]
pub(super) async fn remove(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(named): Segment<Named>,
    uri: Uri,
) -> Result<StatusCode, NativeError> {
    let place = place(&caller, &uri)?;
    state.0.registry.remove(&place, &named.name()?, &by).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Which version is to answer.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Rollback {
    /// The version; none: the one that answered before.
    #[schema(value_type = Option<String>, example = "1.1.0", pattern = r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?(\+[0-9a-zA-Z-]+(\.[0-9a-zA-Z-]+)*)?$")]
    version: Option<semver::Version>,
}

/// Roll a plugin back
///
/// Lets the version answer again that answered before, or the one that the body names; a body is not needed. Needs the scope
/// `plugins`.
#[utoipa::path(
    post, path = "/v1/plugins/{owner}/{name}/rollback", operation_id = "rollBackPlugin", tag = "Native",
    params(("owner" = String, Path, description = "The plugin's owner.", example = "acme"), ("name" = String, Path, description = "Its name.", example = "weather"), ("shared" = Option<bool>, Query, nullable = false, description = "Of the plugins that the operator shares; needs the scope `admin`."), IdempotencyKey),
    request_body(content = Option<Rollback>, example = json!({"version": "1.1.0"})),
    responses(
        (status = 200, description = "It answers again.", body = WholePlugin),
        (status = 409, description = "There is no version to go back to."),
    )
)]
pub(super) async fn rollback(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(named): Segment<Named>,
    request: Request,
) -> Result<Answer, NativeError> {
    let (head, body) = request.into_parts();
    let place = place(&caller, &head.uri)?;
    let body = read_body(body, state.0.max_body_bytes, state.0.body_timeout).await?;
    let tenant = place.tenant();
    let once = Once::of(&state, &tenant, &head, &body)?;
    let make = async {
        let asked: Option<Rollback> = if body.is_empty() { None } else { json_of(&body)? };
        let Rollback { version } = asked.unwrap_or_default();
        let shown = |info: &PluginInfo| Answer::json(StatusCode::OK, &WholePlugin::from(info.clone()));
        let along = |info: &PluginInfo| once.remember(&shown(info));
        let info = state.0.registry.rollback(&place, &named.name()?, version.as_ref(), &by, along).await?;
        Ok(shown(&info))
    };
    Ok(once.or(make).await?)
}

/// What a plugin may do in this tenant.
#[derive(Debug, Serialize, ToSchema)]
struct Granted {
    /// `owner/name`.
    name: PluginName,
    /// What it is granted.
    grants: PluginGrant,
    /// What its manifest asks for: what it can do is what both allow.
    requests: Requests,
    /// What in the grant has no effect, in sentences.
    notes: Vec<String>,
}

/// A plugin's grants
#[utoipa::path(
    get, path = "/v1/plugins/{owner}/{name}/grants", operation_id = "getPluginGrants", tag = "Native",
    params(("owner" = String, Path, description = "The plugin's owner.", example = "acme"), ("name" = String, Path, description = "Its name.", example = "weather")),
    responses((status = 200, description = "What it may do in this tenant.", body = Granted))
)]
pub(super) async fn grants(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(named): Segment<Named>,
) -> Result<Json<impl Serialize>, NativeError> {
    let info = state.0.registry.plugin(&caller.tenant, &named.name()?).await?;
    let requests = info.active.manifest.requests;
    Ok(Json(Granted { name: info.name, grants: info.grant, requests, notes: Vec::new() }))
}

/// Set a plugin's grants
///
/// All that it may do in this tenant: what is left out is taken away. Needs the scope `plugins`.
#[utoipa::path(
    put, path = "/v1/plugins/{owner}/{name}/grants", operation_id = "setPluginGrants", tag = "Native",
    params(("owner" = String, Path, description = "The plugin's owner.", example = "acme"), ("name" = String, Path, description = "Its name.", example = "weather")),
    request_body(content = PluginGrant, example = json!({
        "hosts": [{"host": "api.example.com", "methods": ["GET"]}], "files": "read", "approvals": {"forecast": "ask"}
    })),
    responses((status = 200, description = "They are set.", body = Granted))
)]
pub(super) async fn set_grants(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(named): Segment<Named>,
    request: Request,
) -> Result<Json<impl Serialize>, NativeError> {
    caller.needs(Scope::Plugins)?;
    let (head, body) = request.into_parts();
    let body = crate::body::json_bytes(&state, &head.headers, body).await?;
    let grant: PluginGrant = json_of(&body)?;
    let by_operator = caller.may(Scope::Admin);
    let set = state.0.registry.set_grant(&caller.tenant, &named.name()?, grant, by_operator, &by).await;
    let (info, notes) = set.map_err(|error: RegistryError| ApiError::from(error))?;
    let requests = info.active.manifest.requests;
    Ok(Json(Granted { name: info.name, grants: info.grant, requests, notes }))
}
