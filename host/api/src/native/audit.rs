//! `/v1/audit`: who did what in this tenant, with which grant; and for the operator the same of itself and of every tenant.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use vivarium_domain::{AuditEntry, AuditHead, Scope, TenantId};

use super::NativeError;
use super::list::Parameters;
use super::tenants::tenant_id;
use crate::ApiState;
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::segment::Segment;

/// What a query may say.
const PARAMETERS: [&str; 3] = ["limit", "cursor", "order"];

/// Which entries.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "the query string is read by hand, so that nothing in it is ignored")]
pub(super) struct Entries {
    /// The most entries; 50 if left out.
    #[param(nullable = false, minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `next` of an earlier page.
    #[param(nullable = false)]
    cursor: Option<u64>,
    /// Which entries come first; the newest if left out.
    #[param(nullable = false, inline)]
    order: Option<Order>,
}

/// Which entries come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Order {
    /// The oldest.
    Asc,
    /// The newest.
    Desc,
}

impl std::str::FromStr for Order {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "asc" => Ok(Self::Asc),
            "desc" => Ok(Self::Desc),
            _ => Err(()),
        }
    }
}

/// Some entries of a chain.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct AuditPage {
    /// The entries.
    data: Vec<AuditEntry>,
    /// The `cursor` of the next page; null: this is the last one.
    next: Option<String>,
    /// The chain's end. Kept elsewhere, it tells later that nothing was cut off.
    head: AuditHead,
}

/// What was done in this tenant
///
/// Its chain of the audit log: each entry has the hash of the one before it. Needs the scope `keys`.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "listAudit", tag = "Native", params(Entries),
    responses((status = 200, description = "The entries.", body = AuditPage))
)]
pub(super) async fn own(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<AuditPage>, NativeError> {
    caller.needs(Scope::Keys)?;
    Ok(Json(page(&state, &caller.tenant, &uri).await?))
}

/// What was done beyond any one tenant
///
/// The operator's chain of the audit log: tenants made, changed and deleted, shared plugins, backups. Needs the scope `admin`.
#[utoipa::path(
    get, path = "/v1/admin/audit", operation_id = "listOperatorAudit", tag = "Native", params(Entries),
    responses((status = 200, description = "The entries.", body = AuditPage))
)]
pub(super) async fn operators(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<AuditPage>, NativeError> {
    caller.needs(Scope::Admin)?;
    Ok(Json(page(&state, &TenantId::operator(), &uri).await?))
}

/// What was done in a tenant
///
/// Its chain of the audit log. Needs the scope `admin`.
#[utoipa::path(
    get, path = "/v1/admin/tenants/{id}/audit", operation_id = "listTenantAudit", tag = "Native",
    params(("id" = inline(TenantId), Path, description = "The tenant's id."), Entries),
    responses((status = 200, description = "The entries.", body = AuditPage))
)]
pub(super) async fn tenants(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    uri: Uri,
) -> Result<Json<AuditPage>, NativeError> {
    caller.needs(Scope::Admin)?;
    let tenant = state.0.keyring.tenant(&tenant_id(&id)?).await?;
    Ok(Json(page(&state, &tenant.id, &uri).await?))
}

async fn page(state: &ApiState, tenant: &TenantId, uri: &Uri) -> Result<AuditPage, ApiError> {
    let parameters = Parameters::of(uri, &PARAMETERS)?;
    let (limit, cursor) = (parameters.limit()?, parameters.cursor::<u64>()?);
    let store = &state.0.store;
    let page = match parameters.parsed("order", "must be asc or desc")? {
        Some(Order::Asc) => store.audit_from(tenant, cursor.unwrap_or(0), limit).await?,
        Some(Order::Desc) | None => store.audit(tenant, cursor, limit).await?,
    };
    // After the entries, so that it is never behind them.
    let head = store.audit_head(tenant).await?;
    Ok(AuditPage { data: page.items, next: page.next.map(|next| next.to_string()), head })
}
