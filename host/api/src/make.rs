//! The make dialect: AI agents of teams, run as a whole or step by step. Its words for the house's: a *connection* is a
//! model provider, a *scenario* is a tool with an approval mode, an *MCP
//! connection* is a remote server's tools, a *thread* is a session.
//!
//! Its document says only that agents are beta; what it leaves open is decided in `docs/api-make.md`. Each route answers
//! at the documented path under `/api/v2` and, for clients that were given a base URL with that in it, without.

mod agents;
mod answer;
mod config;
mod connection;
mod mcp;
mod run;
mod scenario;
mod step_id;
mod stream;
mod team;
mod view;

use axum::http::{HeaderValue, Method, header};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use utoipa_axum::router::{OpenApiRouter, UtoipaMethodRouter};
use utoipa_axum::routes;
use vivarium_domain::Tier;

use crate::ApiState;
use crate::error::{ApiError, Dialect, Kind};
use crate::gate::{Gate, gate};

pub(crate) use answer::ended_body;
pub(crate) use mcp::connection_id;
pub(crate) use scenario::scenario_id;

/// Every route needs a key, of any tier; which scope, its handler says, since one path has both.
pub(crate) fn routes(state: &ApiState) -> OpenApiRouter<ApiState> {
    let guard = Gate { state: state.clone(), dialect: Dialect::Make, least: Tier::Free, scope: None };
    let router = OpenApiRouter::default();
    let router = twice(router, "agents", "GET, POST", routes!(agents::list, agents::create));
    let one = routes!(agents::one, agents::modify, agents::delete);
    let router = twice(router, "agents/{agentId}", "GET, PATCH, DELETE", one);
    let router = twice(router, "agents/{agentId}/run", "POST", routes!(run::run));
    let router = twice(router, "agents/{agentId}/run/stream", "POST", routes!(stream::stream));
    router.route_layer(from_fn_with_state(guard, gate))
}

/// A route at its documented path and at the one without `/api/v2`, which is in no document. HEAD is not GET here: the
/// document does not have it.
fn twice(
    router: OpenApiRouter<ApiState>,
    path: &str,
    allowed: &'static str,
    (schemas, paths, methods): UtoipaMethodRouter<ApiState>,
) -> OpenApiRouter<ApiState> {
    let refuse = async move |method: Method| method_not_allowed(&method, allowed);
    let methods = methods.head(refuse).fallback(refuse);
    router.route(&format!("/ai-agents/v1/{path}"), methods.clone()).routes((schemas, paths, methods))
}

fn method_not_allowed(method: &Method, allowed: &'static str) -> Response {
    let message = format!("this path does not take {method}; it takes {allowed}");
    let mut response = ApiError::new(Kind::MethodNotAllowed, message).within(Dialect::Make).into_response();
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

/// An error in this dialect.
pub(crate) struct MakeError(ApiError);

impl<E: Into<ApiError>> From<E> for MakeError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl axum::response::IntoResponse for MakeError {
    fn into_response(self) -> Response {
        self.0.within(Dialect::Make).into_response()
    }
}
