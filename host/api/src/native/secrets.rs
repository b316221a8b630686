//! `/v1/secrets`: credentials that the host puts into the requests of plugins that were granted them. A value goes in and
//! never comes out.

use axum::Json;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use vivarium_domain::{Scope, SecretName, SecretUse, Timestamp};
use vivarium_registry::SecretInfo;

use super::NativeError;
use super::plugins::Page;
use crate::ApiState;
use crate::body::{json_bytes, secret_json_of};
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    value: SecretString,
    inject: SecretUse,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct SecretJson {
    name: SecretName,
    inject: SecretUse,
    set_at: Timestamp,
}

impl From<SecretInfo> for SecretJson {
    fn from(SecretInfo { name, inject, set_at }: SecretInfo) -> Self {
        Self { name, inject, set_at }
    }
}

pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
) -> Result<Json<impl Serialize>, NativeError> {
    caller.needs(Scope::Secrets)?;
    let secrets = state.0.registry.secrets(&caller.tenant).await?;
    Ok(Json(Page::whole(secrets.into_iter().map(SecretJson::from).collect())))
}

/// Sets a secret, new or anew. The answer does not hold its value.
pub(super) async fn set(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(name): Path<String>,
    request: Request,
) -> Result<Json<impl Serialize>, NativeError> {
    caller.needs(Scope::Secrets)?;
    let name: SecretName = name.parse().map_err(|error: vivarium_domain::IdError| {
        ApiError::new(Kind::InvalidParameter, error.to_string()).about("name")
    })?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let NewSecret { value, inject } = secret_json_of(&body)?;
    let info = state.0.registry.set_secret(&caller.tenant, name, inject, value).await?;
    Ok(Json(SecretJson::from(info)))
}

pub(super) async fn remove(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Path(name): Path<String>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::Secrets)?;
    let not_found = || ApiError::new(Kind::NotFound, "there is no such secret");
    let name = name.parse().map_err(|_| not_found())?;
    match state.0.registry.remove_secret(&caller.tenant, &name).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(not_found().into()),
    }
}
