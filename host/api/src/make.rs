//! The make dialect: AI agents of teams, run as a whole or step by step.

use axum::Router;
use axum::response::Response;

use crate::ApiState;
use crate::error::{ApiError, Dialect};

pub(crate) fn routes(_state: &ApiState) -> Router<ApiState> {
    Router::new()
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
