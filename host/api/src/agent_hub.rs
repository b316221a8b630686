//! The agent-hub dialect: assistants, which are agents, and conversations with them. What the vendor's document leaves open
//! is decided in `docs/api-agent-hub.md`.

mod ask;
mod assistant;
mod assistants;
mod execute;
mod history;
mod message;
mod message_id;
mod params;
mod sessions;
mod stream;

use axum::response::{IntoResponse, Response};
use axum::routing::post;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::{Scope, Tier};

use crate::ApiState;
use crate::error::{ApiError, Dialect};
use crate::gate::{Gate, guarded};

/// Every request counts, and needs a key of any tier. Who talks with an assistant needs the scope `runs`; who reads or
/// changes assistants, a scope that the handler asks for.
pub(crate) fn routes(state: &ApiState) -> OpenApiRouter<ApiState> {
    let guard = |scope| Gate { state: state.clone(), dialect: Dialect::AgentHub, least: Tier::Free, scope };
    let assistants = OpenApiRouter::new().routes(routes!(assistants::list, assistants::create)).routes(routes!(
        assistants::one,
        assistants::change,
        assistants::replace,
        assistants::remove
    ));
    let talk = OpenApiRouter::new()
        .routes(routes!(execute::execute))
        .routes(routes!(execute::user_input))
        .routes(routes!(sessions::create, sessions::list))
        .routes(routes!(sessions::one, sessions::rename, sessions::remove))
        .routes(routes!(history::messages))
        // The vendor's clients have the singular, too.
        .route("/api/assistant/{assistantId}/execute", post(execute::execute))
        .route("/api/assistant/{assistantId}/user-input", post(execute::user_input));
    guarded(assistants, guard(None)).merge(guarded(talk, guard(Some(Scope::Runs))))
}

/// An error in this dialect.
pub(crate) struct AgentHubError(ApiError);

impl<E: Into<ApiError>> From<E> for AgentHubError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for AgentHubError {
    fn into_response(self) -> Response {
        self.0.within(Dialect::AgentHub).into_response()
    }
}
