//! `GET /healthz`: the process answers. `GET /readyz`: it can serve, or says why not.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde::Serialize;

use crate::ApiState;

#[derive(Serialize)]
pub(super) struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

/// Says that the process lives.
pub(super) async fn healthz() -> Json<Health> {
    Json(Health { status: "ok", reasons: Vec::new() })
}

/// Asks everything that serving needs.
pub(super) async fn readyz(State(state): State<ApiState>) -> (StatusCode, Json<Health>) {
    let reasons = (state.0.readiness)().await;
    if reasons.is_empty() {
        (StatusCode::OK, Json(Health { status: "ready", reasons }))
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, Json(Health { status: "not ready", reasons }))
    }
}
