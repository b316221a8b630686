//! The make dialect: AI agents of teams, run as a whole or step by step.

use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

use crate::ApiState;
use crate::error::{ApiError, Dialect};

pub(crate) fn routes(_state: &ApiState) -> OpenApiRouter<ApiState> {
    OpenApiRouter::new()
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
