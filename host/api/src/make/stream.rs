//! Running an agent step by step: each step as an event, and then exactly one `done` or `error`. Who comes back with a step's
//! id is told the steps after it.

use axum::extract::{Request, State};
use axum::response::Response;
use serde::Serialize;
use vivarium_agents::AgentError;
use vivarium_domain::{AgentId, EventBody, Run, RunId, Scope, TeamId};
use vivarium_runs::Item;

use super::MakeError;
use super::answer::Teller;
use super::run::{RunBody, Running, name_run, start};
use super::step_id::{self, StepId};
use super::team::Asked;
use crate::ApiState;
use crate::attend::attend;
use crate::auth::Caller;
use crate::body::json_bytes;
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::idempotency::IdempotencyKey;
use crate::resume;
use crate::segment::Segment;
use crate::sse::{Ends, View, follow, write_json_event};

/// Run an agent with the provided ID and stream the response using Server Sent Events (SSE)
///
/// One event per execution step, `event: step`, the first with the instructions that the model is given; then one `event: done`
/// with the answer of the run, or one `event: error` with an error's body. What can be refused is refused before the stream
/// opens, with a status. Who leaves does not stop the run, and goes on with `Last-Event-ID` or `after` behind a step: that
/// starts no run, and of the body nothing is read.
#[utoipa::path(
    post, path = "/api/v2/ai-agents/v1/agents/{agentId}/run/stream", tag = "AI agents (make)",
    operation_id = "makeStreamAgent",
    params(
        ("agentId" = uuid::Uuid, Path, description = "The agent."),
        ("teamId" = u32, Query, description = "The team that it belongs to.", minimum = 1),
        IdempotencyKey,
        ("Last-Event-ID" = Option<uuid::Uuid>, Header, nullable = false, description = "The id of the last event that was seen: the stream of its run goes on behind it. Starts no run, and goes before `after`."),
        ("after" = Option<uuid::Uuid>, Query, nullable = false, description = "The same as `Last-Event-ID`, for who sets no headers."),
    ),
    request_body = RunBody,
    responses(
        (status = 200, description = "The steps.", body = String, content_type = "text/event-stream"),
        (status = 204, description = "The run has ended, and its last event is known. There is nothing more."),
        (status = 404, description = "The team has no such agent, or the agent no such thread, or no run with such a step."),
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
    let (head, body) = request.into_parts();
    if let Some(step) = resume::asked(&head.headers, resume::after(head.uri.query())?.as_deref())? {
        caller.needs(Scope::AgentsWrite)?;
        // It may be the same request once more.
        let _same = json_bytes(&state, &head.headers, body).await?;
        return Ok(resumed(&state, &caller, &id, Asked::new(head.uri.query(), &["teamId", "after"])?, step).await?);
    }
    let Running { run, teller, attended } = start(&state, &caller, &id, Request::from_parts(head, body)).await?;
    let mut response = follow(attended, Telling { run, teller, next: 0 }, Ends::of(&state, &caller));
    name_run(&mut response, run);
    Ok(response)
}

/// The stream of a run of this agent, behind this step.
async fn resumed(
    state: &ApiState,
    caller: &Caller,
    agent: &str,
    asked: Asked,
    step: StepId,
) -> Result<Response, ApiError> {
    let found = step_id::find(state, &caller.tenant, step).await?;
    let (run, place) = found.ok_or_else(ApiError::run_not_found)?;
    if !is_of(state, caller, &run, agent, asked.team()?).await? {
        return Err(ApiError::run_not_found());
    }
    if place == step_id::END && run.status.is_terminal() {
        return Ok(resume::nothing_more());
    }
    let telling = Telling { run: run.id, teller: Teller::of(&run), next: place + 1 };
    let mut response = follow(attend(state, caller, run.id).await?, telling, Ends::of(state, caller));
    name_run(&mut response, run.id);
    Ok(response)
}

/// The run is of this agent of this team; of one that was deleted, its id is all that is known.
async fn is_of(state: &ApiState, caller: &Caller, run: &Run, id: &str, team: TeamId) -> Result<bool, ApiError> {
    state.0.agents.team(&caller.tenant, team).await?;
    let named = id.parse::<AgentId>().ok();
    let Some(agent) = run.agent.map(|agent| agent.id).filter(|agent| named == Some(*agent)) else { return Ok(false) };
    match state.0.agents.by_id(&caller.tenant, agent).await {
        Ok(agent) => Ok(agent.config.team == team),
        Err(AgentError::NotFound) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// A run as the stream tells it.
struct Telling {
    run: RunId,
    teller: Teller,
    /// The place of the first step that the client has not seen.
    next: usize,
}

/// What was told of the run is void: its log is gone.
#[derive(Serialize)]
struct Reset {
    message: &'static str,
}

const RESET: Reset = Reset { message: "this host keeps logs for a time only; of this run it knows only the end" };

impl Telling {
    fn write_end(&self, out: &mut Vec<u8>, name: &str, data: &impl Serialize) {
        write_json_event(out, Some(&step_id::of(self.run, step_id::END)), Some(name), data);
    }
}

impl View for Telling {
    fn show(&mut self, item: Item) -> Vec<u8> {
        let mut out = Vec::new();
        let logged = match item {
            Item::Event(logged) => logged,
            Item::Reset(_) => {
                write_json_event(&mut out, None, Some("reset"), &RESET);
                return out;
            }
            // The document has no event for a piece of an answer.
            Item::Token { .. } | Item::Void { .. } | Item::Resumed { .. } | Item::Seen(_) => return out,
        };
        for step in self.teller.take(&logged.event).iter().filter(|step| step.place() >= self.next) {
            write_json_event(&mut out, Some(&step.id()), Some("step"), step);
        }
        match &logged.event.body {
            EventBody::RunCompleted { outcome, usage, .. } => {
                let answer = self.teller.answer(logged.event.at, outcome, *usage);
                self.write_end(&mut out, "done", &answer);
            }
            EventBody::RunFailed { failure, .. } => {
                self.write_end(&mut out, "error", &ApiError::from(failure).make_body());
            }
            EventBody::RunCancelled { reason, .. } => {
                self.write_end(&mut out, "error", &ApiError::run_cancelled(reason).make_body());
            }
            _ => {}
        }
        out
    }

    fn cut_short(&mut self, error: ApiError) -> Vec<u8> {
        let mut out = Vec::new();
        write_json_event(&mut out, None, Some("error"), &error.make_body());
        out
    }
}
