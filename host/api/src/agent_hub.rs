//! The agent-hub dialect: assistants, sessions and their messages.

use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use crate::ApiState;
use crate::error::{ApiError, Dialect};

pub(crate) fn routes(_state: &ApiState) -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
}

/// An error in this dialect.
pub(crate) struct AgentHubError(ApiError);

impl<E: Into<ApiError>> From<E> for AgentHubError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl axum::response::IntoResponse for AgentHubError {
    fn into_response(self) -> Response {
        self.0.within(Dialect::AgentHub).into_response()
    }
}
