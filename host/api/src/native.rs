//! The native dialect: the host's health, and runs as they are, with the whole of their logs.

mod events;
mod health;
mod keys;
mod plugins;
mod runs;
mod secrets;
mod tools;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post, put};
use vivarium_domain::{RunId, Tier};

use crate::ApiState;
use crate::error::{ApiError, Dialect, Kind};
use crate::gate::{Gate, gate};

/// Health needs no key; everything else needs one, of any tier.
pub(crate) fn routes(state: &ApiState) -> Router<ApiState> {
    let guard = Gate { state: state.clone(), dialect: Dialect::Native, least: Tier::Free, scope: None };
    let health = Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz))
        .method_not_allowed_fallback(method_not_allowed);
    let keyed = Router::new()
        .route("/v1/runs/{id}", get(runs::one))
        .route("/v1/runs/{id}/events", get(events::events))
        .route("/v1/runs/{id}/cancel", post(runs::cancel))
        .route("/v1/runs/{id}/approve", post(runs::approve))
        .route("/v1/keys/{id}", delete(keys::revoke))
        .route("/v1/tools", get(tools::list))
        .route("/v1/tools/{name}/call", post(tools::call))
        .route("/v1/secrets", get(secrets::list))
        .route("/v1/secrets/{name}", put(secrets::set).delete(secrets::remove))
        .merge(plugin_routes())
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(from_fn_with_state(guard, gate));
    health.merge(keyed)
}

/// Each route twice: a plugin's name is two segments, or one with its slash encoded.
fn plugin_routes() -> Router<ApiState> {
    let mut routes = Router::new().route("/v1/plugins", get(plugins::list).post(plugins::install));
    for plugin in ["/v1/plugins/{plugin}", "/v1/plugins/{plugin}/{rest}"] {
        routes = routes
            .route(plugin, get(plugins::one).delete(plugins::remove))
            .route(&format!("{plugin}/versions"), get(plugins::versions_of))
            .route(&format!("{plugin}/grants"), get(plugins::grants).put(plugins::set_grants))
            .route(&format!("{plugin}/rollback"), post(plugins::rollback));
    }
    routes
}

/// An error in this dialect.
pub(crate) struct NativeError(ApiError);

impl<E: Into<ApiError>> From<E> for NativeError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl axum::response::IntoResponse for NativeError {
    fn into_response(self) -> Response {
        self.0.within(Dialect::Native).into_response()
    }
}

/// What is no id is nobody's run: the same 404.
fn run_id(text: &str) -> Result<RunId, ApiError> {
    text.parse().map_err(|_| ApiError::run_not_found())
}

async fn method_not_allowed(method: axum::http::Method) -> Response {
    let message = format!("this path does not take {method}; the Allow header says what it takes");
    ApiError::new(Kind::MethodNotAllowed, message).within(Dialect::Native).into_response()
}
