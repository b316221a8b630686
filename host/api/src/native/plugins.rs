//! `/v1/plugins`: a tenant's plugins, and those that the operator shares. A plugin's name is `owner/name`; in a path it
//! stands as two segments or, with the slash as `%2F`, as one.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};
use vivarium_domain::{
    ContentHash, Instances, KeyId, ModeManifest, PluginGrant, PluginLimits, PluginName, PluginVersion, Requests, Scope,
    Timestamp, ToolManifest,
};
use vivarium_registry::{Place, PluginInfo, RegistryError};

use super::NativeError;
use crate::ApiState;
use crate::auth::Caller;
use crate::body::{json_of, read_body};
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::query;

/// The names of what a plugin provides.
#[derive(Debug, Serialize)]
struct Provides {
    modes: Vec<String>,
    tools: Vec<String>,
}

/// A version of a plugin.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct VersionJson {
    version: semver::Version,
    digest: ContentHash,
    bytes: u64,
    active: bool,
    installed_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    installed_by: Option<KeyId>,
}

/// A plugin, as lists and answers show it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PluginJson {
    name: PluginName,
    version: semver::Version,
    digest: ContentHash,
    contract: semver::Version,
    description: String,
    /// The operator shares it with all tenants.
    shared: bool,
    /// It came with the host.
    builtin: bool,
    provides: Provides,
    /// What its manifest asks for.
    requests: Requests,
    /// What its manifest asks for of each limit.
    #[serde(skip_serializing_if = "PluginLimits::is_empty")]
    limits: PluginLimits,
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
#[derive(Debug, Serialize)]
struct WholePlugin {
    #[serde(flatten)]
    plugin: PluginJson,
    modes: Vec<ModeManifest>,
    tools: Vec<ToolManifest>,
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

/// A list that fits one page: what a tenant installs is bounded.
#[derive(Debug, Serialize)]
pub(super) struct Page<T> {
    data: Vec<T>,
    next: Option<String>,
}

impl<T> Page<T> {
    pub(super) fn whole(data: Vec<T>) -> Self {
        Self { data, next: None }
    }
}

/// The plugin that a path names.
#[derive(Debug, Deserialize)]
pub(super) struct Named {
    plugin: String,
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

pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
) -> Result<Json<impl Serialize>, NativeError> {
    let plugins = state.0.registry.plugins(&caller.tenant).await?;
    Ok(Json(Page::whole(plugins.into_iter().map(PluginJson::from).collect())))
}

/// Installs the component in the body. 201 if the version is new, 200 if it was there.
pub(super) async fn install(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    request: Request,
) -> Result<Response, NativeError> {
    let (head, body) = request.into_parts();
    let place = place(&caller, &head.uri)?;
    refuse_other_types(&head.headers)?;
    let _place = state.0.installs.place(&caller.tenant, state.0.body_timeout).await?;
    let component = read_body(body, state.0.max_component_bytes, state.0.body_timeout * 4).await?;
    let installed = state.0.registry.install(&place, component, Some(caller.key)).await?;
    let status = if installed.new { StatusCode::CREATED } else { StatusCode::OK };
    let location = format!("/v1/plugins/{}", installed.info.name);
    let mut response = (status, Json(PluginJson::from(installed.info))).into_response();
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
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

pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(named): Path<Named>,
) -> Result<Json<impl Serialize>, NativeError> {
    Ok(Json(WholePlugin::from(state.0.registry.plugin(&caller.tenant, &named.name()?).await?)))
}

pub(super) async fn versions_of(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(named): Path<Named>,
) -> Result<Json<impl Serialize>, NativeError> {
    let info = state.0.registry.plugin(&caller.tenant, &named.name()?).await?;
    Ok(Json(Page::whole(versions(&info))))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(named): Path<Named>,
    uri: Uri,
) -> Result<StatusCode, NativeError> {
    let place = place(&caller, &uri)?;
    state.0.registry.remove(&place, &named.name()?).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rollback {
    version: Option<semver::Version>,
}

/// Lets the version answer again that answered before, or the one that the body names.
pub(super) async fn rollback(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(named): Path<Named>,
    request: Request,
) -> Result<Json<impl Serialize>, NativeError> {
    let (head, body) = request.into_parts();
    let place = place(&caller, &head.uri)?;
    let body = read_body(body, state.0.max_body_bytes, state.0.body_timeout).await?;
    let Rollback { version } = if body.is_empty() { Rollback::default() } else { json_of(&body)? };
    let info = state.0.registry.rollback(&place, &named.name()?, version.as_ref()).await?;
    Ok(Json(WholePlugin::from(info)))
}

#[derive(Debug, Serialize)]
struct Granted {
    name: PluginName,
    grants: PluginGrant,
    /// What its manifest asks for: what it can do is what both allow.
    requests: Requests,
    /// What in the grant has no effect, in sentences.
    notes: Vec<String>,
}

pub(super) async fn grants(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(named): Path<Named>,
) -> Result<Json<impl Serialize>, NativeError> {
    let info = state.0.registry.plugin(&caller.tenant, &named.name()?).await?;
    let requests = info.active.manifest.requests;
    Ok(Json(Granted { name: info.name, grants: info.grant, requests, notes: Vec::new() }))
}

/// Sets all that a plugin may do in this tenant.
pub(super) async fn set_grants(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(named): Path<Named>,
    request: Request,
) -> Result<Json<impl Serialize>, NativeError> {
    caller.needs(Scope::Plugins)?;
    let (head, body) = request.into_parts();
    let body = crate::body::json_bytes(&state, &head.headers, body).await?;
    let grant: PluginGrant = json_of(&body)?;
    let by_operator = caller.may(Scope::Admin);
    let set = state.0.registry.set_grant(&caller.tenant, &named.name()?, grant, by_operator).await;
    let (info, notes) = set.map_err(|error: RegistryError| ApiError::from(error))?;
    let requests = info.active.manifest.requests;
    Ok(Json(Granted { name: info.name, grants: info.grant, requests, notes }))
}
