//! `/v1/webhooks`: what was told to clients' own servers of their runs' ends, and the secret that it is signed with.

use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::{Delivery, Scope};
use vivarium_webhooks::secret_text;

use super::list::{List, Parameters};
use super::{NativeError, run_id};
use crate::ApiState;
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::segment::Segment;

pub(super) fn routes() -> OpenApiRouter<ApiState> {
    OpenApiRouter::new().routes(routes!(list)).routes(routes!(secret)).routes(routes!(one))
}

/// The deliveries
///
/// Those of the newest runs first, each with all its attempts. Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/webhooks/deliveries", operation_id = "listDeliveries", tag = "Native",
    params(
        ("limit" = Option<u32>, Query, description = "The most deliveries; 50 if left out.", minimum = 1, maximum = 200),
        ("cursor" = Option<uuid::Uuid>, Query, description = "The `next` of an earlier page."),
    ),
    responses((status = 200, description = "The deliveries.", body = List<Delivery>))
)]
pub(super) async fn list(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<List<Delivery>>, NativeError> {
    caller.needs(Scope::Runs)?;
    let parameters = Parameters::of(&uri, &["limit", "cursor"])?;
    let (before, limit) = (parameters.cursor()?, parameters.limit()?);
    let page = state.0.store.deliveries(&caller.tenant, before, limit).await?;
    Ok(Json(List::new(page.items, page.next)))
}

/// The delivery of a run's end
///
/// Needs the scope `runs`.
#[utoipa::path(
    get, path = "/v1/webhooks/deliveries/{runId}", operation_id = "getDelivery", tag = "Native",
    params(("runId" = uuid::Uuid, Path, description = "The run.")),
    responses(
        (status = 200, description = "The delivery.", body = Delivery),
        (status = 404, description = "There is no such run, or nobody is told of its end."),
    )
)]
pub(super) async fn one(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
) -> Result<Json<Delivery>, NativeError> {
    caller.needs(Scope::Runs)?;
    let delivery = state.0.store.delivery(&caller.tenant, run_id(&id)?).await?;
    let not_found = || ApiError::new(Kind::NotFound, "there is no such run, or nobody is told of its end");
    Ok(Json(delivery.ok_or_else(not_found)?))
}

/// What deliveries are signed with.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct SecretJson {
    /// As the libraries for Standard Webhooks take it.
    #[schema(example = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", pattern = "^whsec_[A-Za-z0-9+/]{43}=$")]
    secret: String,
}

/// The secret that deliveries are signed with
///
/// The tenant's own. Needs the scope `secrets`.
#[utoipa::path(
    get, path = "/v1/webhooks/secret", operation_id = "getWebhookSecret", tag = "Native",
    responses((status = 200, description = "The secret.", body = SecretJson))
)]
pub(super) async fn secret(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
) -> Result<Json<SecretJson>, NativeError> {
    caller.needs(Scope::Secrets)?;
    Parameters::of(&uri, &[])?;
    let secret = secret_text(&state.0.registry.webhook_key(&caller.tenant));
    Ok(Json(SecretJson { secret }))
}
