//! Running an agent step by step: each step as an event, and then exactly one `done` or `error`.

use std::io::Write as _;

use axum::extract::{Request, State};
use axum::response::Response;
use vivarium_domain::EventBody;
use vivarium_runs::Item;

use super::MakeError;
use super::answer::Teller;
use super::run::{RunBody, Running, name_run, start};
use crate::ApiState;
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::idempotency::IdempotencyKey;
use crate::segment::Segment;
use crate::sse::{Ends, View, follow, write_json_event};

/// Run an agent with the provided ID and stream the response using Server Sent Events (SSE)
///
/// One event per execution step, `event: step`, the first with the instructions that the model is given; then one `event: done`
/// with the answer of the run, or one `event: error` with an error's body. What can be refused is refused before the stream
/// opens, with a status. Who leaves does not stop the run.
#[utoipa::path(
    post, path = "/api/v2/ai-agents/v1/agents/{agentId}/run/stream", tag = "AI agents (make)",
    operation_id = "makeStreamAgent",
    params(
        ("agentId" = uuid::Uuid, Path, description = "The agent."),
        ("teamId" = u32, Query, description = "The team that it belongs to.", minimum = 1),
        IdempotencyKey,
    ),
    request_body = RunBody,
    responses(
        (status = 200, description = "The steps.", body = String, content_type = "text/event-stream"),
        (status = 404, description = "The team has no such agent, or the agent no such thread."),
        (status = 409, description = "The run was cancelled, or a run of the thread is under way and the agent takes no other."),
        (status = 424, description = "The model's provider did not answer."),
        (
            status = 429,
            description = "The key's allowance is used up, or the tenant has as many runs as it may; `Retry-After` says when to try again."
        ),
    )
)]
pub(super) async fn stream(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    request: Request,
) -> Result<Response, MakeError> {
    let Running { run, teller, attended } = start(&state, &caller, &id, request).await?;
    let ends = Ends { shutdown: state.0.shutdown.clone(), revoked: caller.revoked.clone() };
    let mut response = follow(attended, Telling { teller }, ends);
    name_run(&mut response, run);
    Ok(response)
}

/// A run as the stream tells it.
struct Telling {
    teller: Teller,
}

fn write_error(out: &mut Vec<u8>, error: &ApiError) {
    write_json_event(out, None, Some("error"), &error.make_body());
}

impl View for Telling {
    fn show(&mut self, item: Item) -> Vec<u8> {
        let mut out = Vec::new();
        // The document has no event for a piece of an answer.
        let Item::Event(logged) = item else { return out };
        for step in self.teller.take(&logged.event) {
            // Writing to a vector does not fail.
            let _written = writeln!(out, "id: {}", step.id());
            write_json_event(&mut out, None, Some("step"), step);
        }
        match &logged.event.body {
            EventBody::RunCompleted { outcome, usage } => {
                let answer = self.teller.answer(logged.event.at, outcome, *usage);
                write_json_event(&mut out, None, Some("done"), &answer);
            }
            EventBody::RunFailed { failure, .. } => write_error(&mut out, &failure.into()),
            EventBody::RunCancelled { reason, .. } => write_error(&mut out, &ApiError::run_cancelled(reason)),
            _ => {}
        }
        out
    }

    fn cut_short(&mut self, error: ApiError) -> Vec<u8> {
        let mut out = Vec::new();
        write_error(&mut out, &error);
        out
    }
}
