//! `/v1/admin/tenants`: tenants and their keys, as the operator makes and changes them.

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::{ApiKey, Budget, Scope, Tenant, TenantId, TenantLimits, Tier, Timestamp};

use super::NativeError;
use super::keys::{self, MadeKeyJson, NewKeyJson, key_id, whole};
use super::list::{List, Parameters};
use crate::ApiState;
use crate::body::{given, given_object, json_bytes, json_of, object};
use crate::error::{ApiError, Kind};
use crate::gate::{By, CallerExt};
use crate::idempotency::{Answer, IdempotencyKey, Once};
use crate::keyring::KeyError;
use crate::segment::Segment;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
        .routes(routes!(list, create))
        .routes(routes!(one, change, delete))
        .routes(routes!(list_keys, create_key))
        .routes(routes!(revoke_key))
}

/// The tenant of a path; what is no id is nobody's.
pub(super) fn tenant_id(text: &str) -> Result<TenantId, ApiError> {
    text.parse().map_err(|_| KeyError::NoTenant.into())
}

/// List the tenants
///
/// Those with short ids first, and then by their ids. Needs the scope `admin`.
#[utoipa::path(
    get, path = "/v1/admin/tenants", operation_id = "listTenants", tag = "Native",
    params(
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("cursor" = Option<TenantId>, Query, nullable = false, description = "The `next` of an earlier page."),
    ),
    responses((status = 200, description = "A page of them.", body = List<Tenant>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<List<Tenant>>, NativeError> {
    caller.needs(Scope::Admin)?;
    let asked = Parameters::of(&uri, &["limit", "cursor"])?;
    let (limit, after) = (asked.limit()?, asked.cursor::<TenantId>()?);
    let page = state.0.keyring.tenants(after.as_ref(), limit).await?;
    Ok(Json(List::new(page.items, page.next)))
}

/// A tenant to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"id": "acme", "tier": "pro"}))]
struct NewTenant {
    /// Its id. It does not begin with an underscore.
    #[schema(pattern = "^[a-z0-9-][a-z0-9_-]*$")]
    id: TenantId,
    /// What it has paid for: decides its limits, and which endpoints answer.
    #[serde(default = "default_tier")]
    #[schema(default = "max")]
    tier: Tier,
    /// What it may use in a day and in a month; what is left out is as its tier has it.
    #[serde(default, deserialize_with = "object")]
    #[schema(required = false)]
    budget: Budget,
    /// Its own limits; what is left out is as its tier has it.
    #[serde(default, deserialize_with = "object")]
    #[schema(required = false)]
    limits: TenantLimits,
}

/// As the command line has it.
fn default_tier() -> Tier {
    Tier::Max
}

/// Make a tenant
///
/// It has no key yet: `POST /v1/admin/tenants/{id}/keys` makes the first one. Needs the scope `admin`.
#[utoipa::path(
    post, path = "/v1/admin/tenants", operation_id = "createTenant", tag = "Native",
    params(IdempotencyKey),
    request_body(content = NewTenant),
    responses(
        (status = 201, description = "The tenant.", body = Tenant),
        (status = 409, description = "There is a tenant of this id, or one is being deleted."),
    )
)]
pub(super) async fn create(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::Admin)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let make = async {
        let NewTenant { id, tier, budget, limits } = json_of(&body)?;
        let made = |tenant: &Tenant| Answer::json(StatusCode::CREATED, tenant);
        let along = |tenant: &Tenant| once.remember(&made(tenant));
        let tenant = Tenant { budget, limits, ..Tenant::new(id, tier, Timestamp::now()) };
        let tenant = state.0.keyring.create_tenant(&caller.tenant, tenant, &by, along).await?;
        tracing::info!(tenant = %tenant.id, tier = tenant.tier.name(), by = %caller.key, "a tenant was made");
        Ok(made(&tenant))
    };
    Ok(once.or(make).await?)
}

/// A tenant
///
/// Needs the scope `admin`.
#[utoipa::path(
    get, path = "/v1/admin/tenants/{id}", operation_id = "getTenant", tag = "Native",
    params(("id" = inline(TenantId), Path, description = "The tenant's id.")),
    responses((status = 200, description = "The tenant.", body = Tenant))
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
) -> Result<Json<Tenant>, NativeError> {
    caller.needs(Scope::Admin)?;
    Ok(Json(state.0.keyring.tenant(&tenant_id(&id)?).await?))
}

/// What of a tenant is changed; what is left out stays.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(example = json!({"tier": "enterprise"}))]
struct TenantChange {
    /// What it has paid for.
    #[serde(default, deserialize_with = "given")]
    #[schema(nullable = false)]
    tier: Option<Tier>,
    /// What it may use in a day and in a month: the whole of it, in place of what was there.
    #[serde(default, deserialize_with = "given_object")]
    #[schema(nullable = false)]
    budget: Option<Budget>,
    /// Its own limits: all of them, in place of what was there.
    #[serde(default, deserialize_with = "given_object")]
    #[schema(nullable = false)]
    limits: Option<TenantLimits>,
}

/// Change a tenant
///
/// What is left out stays. Counts at once, also for its keys that are in use; their open streams go on. Needs the scope `admin`.
#[utoipa::path(
    patch, path = "/v1/admin/tenants/{id}", operation_id = "changeTenant", tag = "Native",
    params(("id" = inline(TenantId), Path, description = "The tenant's id.")),
    request_body(content = TenantChange),
    responses((status = 200, description = "The tenant as it is now.", body = Tenant))
)]
pub(super) async fn change(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(id): Segment<String>,
    request: Request,
) -> Result<Json<Tenant>, NativeError> {
    caller.needs(Scope::Admin)?;
    let id = tenant_id(&id)?;
    let (head, body) = request.into_parts();
    let TenantChange { tier, budget, limits } = json_of(&json_bytes(&state, &head.headers, body).await?)?;
    let changing = async move {
        let changed = state.0.keyring.change_tenant(&id, &by, |tenant| {
            tenant.tier = tier.unwrap_or(tenant.tier);
            tenant.budget = budget.unwrap_or(tenant.budget);
            tenant.limits = limits.unwrap_or(tenant.limits);
        });
        let changed = changed.await?;
        state.0.auth.tenant_changed(&id);
        tracing::info!(tenant = %id, tier = changed.tier.name(), by = %caller.key, "a tenant was changed");
        Ok(changed)
    };
    Ok(Json(whole(changing).await?))
}

/// Delete a tenant
///
/// With all that is its own: keys, agents, sessions, runs, plugins, secrets, documents, files. Its runs are cancelled first,
/// then its keys are refused and the streams that they opened end, and then the rest goes; the answer comes when nothing is left,
/// and who leaves does not stop it. A tenant can not be deleted with a key of its own. Needs the scope `admin`.
#[utoipa::path(
    delete, path = "/v1/admin/tenants/{id}", operation_id = "deleteTenant", tag = "Native",
    params(("id" = inline(TenantId), Path, description = "The tenant's id.")),
    responses(
        (status = 204, description = "Nothing of it is left."),
        (status = 409, description = "The key is one of this tenant's own."),
    )
)]
pub(super) async fn delete(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(id): Segment<String>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::Admin)?;
    let id = tenant_id(&id)?;
    if id == caller.tenant {
        let message = format!(
            "the tenant {id} can not be deleted with a key of its own: use an admin key of another tenant, or \
             `vivarium tenant delete {id}` on the data folder"
        );
        return Err(ApiError::new(Kind::Conflict, message).into());
    }
    let deleting = async move {
        let closed = state.0.runs.close_tenant(&id, &by).await?;
        state.0.auth.forget_tenant(&id);
        closed.delete().await?;
        // Not before: who still asks would make the index again of what is stored.
        state.0.corpora.forget(&id);
        tracing::info!(tenant = %id, by = %caller.key, "a tenant was deleted");
        Ok(StatusCode::NO_CONTENT)
    };
    // Half a tenant is nothing that anybody wants.
    Ok(whole(deleting).await?)
}

/// List a tenant's keys
///
/// Those that were made last come first, also those that are no longer valid. Needs the scope `admin`.
#[utoipa::path(
    get, path = "/v1/admin/tenants/{id}/keys", operation_id = "listTenantKeys", tag = "Native",
    params(
        ("id" = inline(TenantId), Path, description = "The tenant's id."),
        ("limit" = Option<u32>, Query, nullable = false, minimum = 1, maximum = 200, description = "At most so many; without it, 50."),
        ("cursor" = Option<uuid::Uuid>, Query, nullable = false, description = "The `next` of an earlier page."),
    ),
    responses((status = 200, description = "A page of them.", body = List<ApiKey>))
)]
pub(super) async fn list_keys(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Json<List<ApiKey>>, NativeError> {
    caller.needs(Scope::Admin)?;
    Ok(Json(keys::page(&state, &tenant_id(&id)?, &uri).await?))
}

/// Make a key for a tenant
///
/// Its first one, say, with the scope `keys`, so that the tenant makes its others itself. The key itself is in the answer, this
/// once. Needs the scope `admin`.
#[utoipa::path(
    post, path = "/v1/admin/tenants/{id}/keys", operation_id = "createTenantKey", tag = "Native",
    params(("id" = inline(TenantId), Path, description = "The tenant's id."), IdempotencyKey),
    request_body(content = NewKeyJson),
    responses(
        (status = 201, description = "The key.", body = MadeKeyJson<'_>),
        (status = 409, description = "The tenant has as many keys as it may."),
    )
)]
pub(super) async fn create_key(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment(id): Segment<String>,
    request: Request,
) -> Result<Answer, NativeError> {
    caller.needs(Scope::Admin)?;
    let id = tenant_id(&id)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(&state, &head.headers, body).await?;
    Ok(keys::make(&state, &caller, &by, &id, &head, &body).await?)
}

/// Revoke a key of a tenant
///
/// From then on it is refused, and the streams that it opened end. 404 if the tenant has no such key, or it was revoked before.
/// Needs the scope `admin`.
#[utoipa::path(
    delete, path = "/v1/admin/tenants/{id}/keys/{key}", operation_id = "revokeTenantKey", tag = "Native",
    params(
        ("id" = inline(TenantId), Path, description = "The tenant's id."),
        ("key" = vivarium_domain::KeyId, Path, description = "The key's public id."),
    ),
    responses(
        (status = 204, description = "It is revoked."),
        (status = 409, description = "It is the host's last key with the scope `admin`."),
    )
)]
pub(super) async fn revoke_key(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    By { 0: by }: By,
    Segment((id, key)): Segment<(String, String)>,
) -> Result<StatusCode, NativeError> {
    caller.needs(Scope::Admin)?;
    Ok(keys::end(state, by, tenant_id(&id)?, key_id(&key)?).await?)
}
