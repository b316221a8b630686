//! `/v1/secrets`: credentials that the host puts into the requests of plugins that were granted them. A value goes in and
//! never comes out.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use vivarium_domain::{Scope, SecretName, SecretUse, Timestamp};
use vivarium_registry::SecretInfo;

use super::NativeError;
use super::list::List;
use crate::ApiState;
use crate::body::{json_bytes, secret_json_of};
use crate::error::{ApiError, Kind};
use crate::gate::{By, CallerExt};
use crate::segment::Segment;

/// A secret to keep.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct NewSecret {
    /// The secret itself. It is sealed, and no answer holds it.
    #[schema(value_type = String, write_only, min_length = 8, pattern = "^[ -~]+$")]
    value: SecretString,
    /// Where the host puts it.
    inject: SecretUse,
}

/// A secret, without its value.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = Secret)]
struct SecretJson {
    /// Its name.
    name: SecretName,
    /// Where the host puts it.
    inject: SecretUse,
    /// When it was set.
    set_at: Timestamp,
}

impl From<SecretInfo> for SecretJson {
    fn from(SecretInfo { name, inject, set_at }: SecretInfo) -> Self {
        Self { name, inject, set_at }
    }
}

/// List secrets
///
/// Their names and uses; no value. Needs the scope `secrets`.
#[utoipa::path(
    get, path = "/v1/secrets", operation_id = "listSecrets", tag = "Native",
    responses((status = 200, description = "All of them.", body = List<SecretJson>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
) -> Result<Json<impl Serialize>, NativeError> {
    caller.needs(Scope::Secrets)?;
    let secrets = state.0.registry.secrets(&caller.tenant).await?;
    Ok(Json(List::whole(secrets.into_iter().map(SecretJson::from).collect())))
}

/// Set a secret
///
/// New or anew. Needs the scope `secrets`.
#[utoipa::path(
    put, path = "/v1/secrets/{name}", operation_id = "setSecret", tag = "Native",
    params(("name" = SecretName, Path, description = "Its name.")),
    request_body(content = NewSecret, example = json!({
        "value": "ghp_example", "inject": {"host": "api.github.com", "header": "authorization", "prefix": "Bearer "}
    })),
    responses(
        (status = 200, description = "It is set.", body = SecretJson),
        (status = 409, description = "The tenant has as many secrets as it may."),
    )
)]
pub(super) async fn set(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(name): Segment<String>,
    request: Request,
) -> Result<Json<impl Serialize>, NativeError> {
    caller.needs(Scope::Secrets)?;
    let name: SecretName = name.parse().map_err(|error: vivarium_domain::IdError| {
        ApiError::new(Kind::InvalidParameter, error.to_string()).about("name")
    })?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let NewSecret { value, inject } = secret_json_of(&body)?;
    let info = state.0.registry.set_secret(&caller.tenant, name, inject, value, &by).await?;
    Ok(Json(SecretJson::from(info)))
}

/// Remove a secret
///
/// Needs the scope `secrets`.
#[utoipa::path(
    delete, path = "/v1/secrets/{name}", operation_id = "removeSecret", tag = "Native",
    params(("name" = SecretName, Path, description = "Its name.")),
    responses((status = 204, description = "It is gone."))
)]
pub(super) async fn remove(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(name): Segment<String>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::Secrets)?;
    let not_found = || ApiError::new(Kind::NotFound, "there is no such secret");
    let name = name.parse().map_err(|_| not_found())?;
    match state.0.registry.remove_secret(&caller.tenant, &name, &by).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(not_found().into()),
    }
}
