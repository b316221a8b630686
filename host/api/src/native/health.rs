//! `GET /healthz`: the process answers. `GET /readyz`: it can serve, or says why not.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::ApiState;

/// How the host is.
#[derive(Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`, `ready` or `not ready`.
    #[schema(example = "ready")]
    status: &'static str,
    /// Why it can not serve, in sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    reasons: Vec<String>,
}

/// Alive
///
/// The process answers.
#[utoipa::path(
    get, path = "/healthz", operation_id = "getHealth", tag = "Native", security(()),
    responses((status = 200, description = "It does.", body = Health, example = json!({"status": "ok"})))
)]
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok", reasons: Vec::new() })
}

/// Able to serve
///
/// Asks everything that serving needs.
#[utoipa::path(
    get, path = "/readyz", operation_id = "getReadiness", tag = "Native", security(()),
    responses(
        (status = 200, description = "It can serve.", body = Health, example = json!({"status": "ready"})),
        (status = 503, description = "It can not, and says why.", body = Health,
         example = json!({"status": "not ready", "reasons": ["the store can not be written to"]})),
    )
)]
pub(super) async fn readyz(State(state): State<ApiState>) -> (StatusCode, Json<Health>) {
    let reasons = (state.0.readiness)().await;
    if reasons.is_empty() {
        (StatusCode::OK, Json(Health { status: "ready", reasons }))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "not ready", reasons }))
    }
}
