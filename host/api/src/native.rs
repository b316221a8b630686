//! The native dialect: the host's health, and runs as they are, with the whole of their logs.

mod agents;
mod audit;
mod backup;
mod corpora;
mod events;
mod export;
mod health;
mod keys;
mod list;
mod mcp_servers;
mod models;
mod new_run;
mod plugins;
mod recording;
mod run_list;
mod runs;
mod schemas;
mod secrets;
mod session_archive;
mod session_files;
mod sessions;
mod snapshots;
mod sources;
mod teams;
mod tenants;
mod tools;
mod usage;
mod webhooks;

use axum::Router;
use axum::response::Response;
use axum::routing::{get, post};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::{RunId, Tier};

use crate::error::{ApiError, Dialect};
use crate::gate::{Gate, guarded, unguarded};
use crate::{ApiState, metrics, openapi};

/// Health and the document need no key; everything else needs one, of any tier.
pub(crate) fn routes(state: &ApiState) -> OpenApiRouter<ApiState> {
    let gate = Gate { state: state.clone(), dialect: Dialect::Native, least: Tier::Free, scope: None };
    let open = OpenApiRouter::new()
        .routes(routes!(health::healthz))
        .routes(routes!(health::readyz))
        .merge(metrics::routes())
        .merge(openapi::routes());
    let keyed = OpenApiRouter::new()
        .routes(routes!(new_run::create, run_list::list))
        .routes(routes!(runs::one, runs::delete))
        .routes(routes!(events::events))
        .routes(routes!(recording::recording))
        .routes(routes!(sources::list))
        .routes(routes!(sources::one))
        .routes(routes!(runs::cancel))
        .routes(routes!(runs::approve))
        .routes(routes!(usage::own))
        .routes(routes!(usage::of_tenant))
        .routes(routes!(backup::make))
        .routes(routes!(audit::own))
        .routes(routes!(audit::operators))
        .routes(routes!(audit::tenants))
        .routes(routes!(tools::list))
        .routes(routes!(tools::call))
        .routes(routes!(secrets::list))
        .routes(routes!(secrets::set, secrets::remove))
        .merge(agents::routes())
        .merge(corpora::routes())
        .merge(teams::routes())
        .merge(mcp_servers::routes())
        .merge(keys::routes())
        .merge(tenants::routes())
        .merge(models::routes())
        .merge(sessions::routes())
        .merge(session_files::routes())
        .merge(session_archive::routes())
        .merge(snapshots::routes())
        .merge(webhooks::routes())
        .merge(plugin_routes());
    unguarded(open, Dialect::Native).merge(guarded(keyed, gate))
}

/// A plugin's name is two segments; as one with its slash encoded it is found, too.
fn plugin_routes() -> OpenApiRouter<ApiState> {
    let encoded = Router::new()
        .route("/v1/plugins/{plugin}", get(plugins::one).delete(plugins::remove))
        .route("/v1/plugins/{plugin}/versions", get(plugins::versions_of))
        .route("/v1/plugins/{plugin}/grants", get(plugins::grants).put(plugins::set_grants))
        .route("/v1/plugins/{plugin}/rollback", post(plugins::rollback));
    OpenApiRouter::from(encoded)
        .routes(routes!(plugins::list, plugins::install))
        .routes(routes!(plugins::one, plugins::remove))
        .routes(routes!(plugins::versions_of))
        .routes(routes!(plugins::grants, plugins::set_grants))
        .routes(routes!(plugins::rollback))
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
