//! The ids in the host's log: each line of a request and of a run says whose it is.

use tokio::task_local;
use tracing::Span;
use tracing::field::{Empty, display};

use crate::Span as TraceSpan;

task_local! {
    /// The id of the request that this task answers.
    static REQUEST: String;
}

/// What a request's lines stand in. At the level of errors, so that no filter takes the ids from lines that it lets through.
#[must_use]
pub fn request(id: &str, trace: &TraceSpan) -> Span {
    tracing::error_span!("request", request_id = id, run_id = Empty, trace_id = trace.trace_id().map(display))
}

/// Says which run the request is about that this task answers.
pub fn names_run(run: impl std::fmt::Display) {
    Span::current().record("run_id", display(run));
}

/// What a run's lines stand in.
#[must_use]
pub fn run(id: impl std::fmt::Display, request: Option<&str>, trace: &TraceSpan) -> Span {
    // Of no parent: a run outlives the request that has started it.
    tracing::error_span!(
        parent: None,
        "run",
        run_id = display(id),
        request_id = request,
        trace_id = trace.trace_id().map(display)
    )
}

/// Works for the request of this id.
pub async fn for_request<F: Future>(id: String, work: F) -> F::Output {
    REQUEST.scope(id, work).await
}

/// The id of the request that this task answers, if it answers one.
#[must_use]
pub fn current_request() -> Option<String> {
    REQUEST.try_with(Clone::clone).ok()
}
