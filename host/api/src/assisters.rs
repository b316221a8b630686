//! The Assisters dialect: two agent endpoints and the rate limit's.

mod answer;
mod ask;
mod rate_limit;
mod run;
mod stream;

use std::sync::Arc;

use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use vivarium_domain::{EventBody, RunId, Scope, SessionId, Tier};
use vivarium_runs::LoggedEvent;

use crate::ApiState;
use crate::attend::Paid;
use crate::error::{ApiError, Dialect};
use crate::gate::{Gate, guarded, method_not_allowed};

/// The agent endpoints need the max tier; the rate limit is anybody's to see.
pub(crate) fn routes(state: &ApiState) -> OpenApiRouter<ApiState> {
    let gate = |least| Gate { state: state.clone(), dialect: Dialect::Assisters, least, scope: Some(Scope::Runs) };
    let (schemas, paths, stream) = routes!(stream::stream);
    // Without this, axum would answer HEAD with GET's handler, and start a run whose answer nobody can see.
    let stream = stream.head(|method| method_not_allowed(method, Dialect::Assisters));
    let agent = OpenApiRouter::new().routes(routes!(run::run)).routes((schemas, paths, stream));
    let limits = OpenApiRouter::new().routes(routes!(rate_limit::rate_limit));
    guarded(agent, gate(Tier::Max)).merge(guarded(limits, Gate { scope: None, ..gate(Tier::Free) }))
}

/// The answer of `POST /v1/agent/run` for a completed run's log, for who has the log and no server. None: the log has no
/// such end.
#[must_use]
pub fn answer_json(run: RunId, session: &SessionId, log: &[Arc<LoggedEvent>]) -> Option<String> {
    let ids = answer::RunIds { run, session: session.clone() };
    log.iter().find_map(|logged| match &logged.event.body {
        EventBody::RunCompleted { outcome, usage, cost } => {
            let paid = Paid { usage: *usage, cost: *cost };
            serde_json::to_string(&answer::Answer::whole(&ids, log, outcome, paid)).ok()
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
