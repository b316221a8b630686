//! The Assisters dialect: two agent endpoints and the rate limit's.

mod answer;
mod ask;
mod rate_limit;
mod run;
mod stream;

use std::sync::Arc;

use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use vivarium_domain::{EventBody, RunId, Scope, SessionId, Tier};
use vivarium_runs::LoggedEvent;

use crate::ApiState;
use crate::error::{ApiError, Dialect, Kind};
use crate::gate::{Gate, gate};

/// The agent endpoints need the max tier; the rate limit is anybody's to see.
pub(crate) fn routes(state: &ApiState) -> Router<ApiState> {
    let guard = |least| Gate { state: state.clone(), dialect: Dialect::Assisters, least, scope: Some(Scope::Runs) };
    let agent = Router::new()
        .route("/v1/agent/run", post(run::run))
        // Without this, axum would answer HEAD with GET's handler, and start a run whose answer nobody can see.
        .route("/v1/agent/stream", get(stream::stream).head(method_not_allowed))
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(from_fn_with_state(guard(Tier::Max), gate));
    let limits = Router::new()
        .route("/v1/rate-limit", get(rate_limit::rate_limit))
        .method_not_allowed_fallback(method_not_allowed)
        .route_layer(from_fn_with_state(Gate { scope: None, ..guard(Tier::Free) }, gate));
    agent.merge(limits)
}

/// The answer of `POST /v1/agent/run` for a completed run's log, for who has the log and no server. None: the log has no
/// such end.
#[must_use]
pub fn answer_json(run: RunId, session: &SessionId, log: &[Arc<LoggedEvent>]) -> Option<String> {
    let ids = answer::RunIds { run, session: session.clone() };
    log.iter().find_map(|logged| match &logged.event.body {
        EventBody::RunCompleted { outcome, usage } => {
            serde_json::to_string(&answer::Answer::whole(&ids, log, outcome, *usage)).ok()
        }
        _ => None,
    })
}

/// An error in this dialect.
pub(crate) struct AssistersError(ApiError);

impl From<ApiError> for AssistersError {
    fn from(error: ApiError) -> Self {
        Self(error)
    }
}

impl axum::response::IntoResponse for AssistersError {
    fn into_response(self) -> Response {
        self.0.within(Dialect::Assisters).into_response()
    }
}

async fn method_not_allowed(method: axum::http::Method) -> Response {
    let message = format!("this path does not take {method}; the Allow header says what it takes");
    ApiError::new(Kind::MethodNotAllowed, message).within(Dialect::Assisters).into_response()
}
