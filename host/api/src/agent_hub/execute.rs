//! `POST /api/assistants/:assistantId/execute` and `/user-input`: an agent is asked, and answers when its run has ended, or
//! token by token.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse as _, Response};
use vivarium_attachments::ReadFile;
use vivarium_domain::{Agent, AgentId, RunId};
use vivarium_runs::{Attachment, Cursor, Idempotency, RunRequest, StartError, Started};

use super::AgentHubError;
use super::ask::{Ask, Execute, SCHEMA_FIELD, UserInput};
use super::message::{Awaited, Message};
use super::stream::{StreamEvent, Telling};
use crate::ApiState;
use crate::attend::{self, Attended, Completed, attend_from};
use crate::auth::Caller;
use crate::body::{json_bytes_of_files, json_of};
use crate::error::{ApiError, Kind};
use crate::files::FilePlace;
use crate::gate::CallerExt;
use crate::idempotency::{IdempotencyKey, Once};
use crate::resume::{self, LastEventId, Mark};
use crate::segment::Segment;
use crate::sse::{Ends, accepts_events, follow};

/// Ask an agent, once
///
/// Nothing is kept as a session. With `Accept: text/event-stream` the answer comes token by token, and with `Last-Event-ID` or
/// `after` the stream of a run goes on behind that event: no run is started. Needs the scope `runs`.
#[utoipa::path(
    post,
    path = "/api/assistants/{assistantId}/execute",
    operation_id = "hubExecute",
    tag = "Agent hub",
    params(
        ("assistantId" = String, Path, description = "the agent's id or name"),
        IdempotencyKey,
        LastEventId,
        ("after" = Option<String>, Query, nullable = false, pattern = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9]{1,15}(\.[1-9][0-9]{0,9}\.[0-9a-f]{8})?$", description = "the same as `Last-Event-ID`, for who sets no headers"),
    ),
    request_body(content = Execute, example = json!({"userInput": "Extract the contact information", "responseFormat": {"type": "json_object"}})),
    responses(
        (
            status = 200,
            description = "The answer; or, for `Accept: text/event-stream`, events of which the last is `done` or `error`",
            content((Message = "application/json"), (StreamEvent = "text/event-stream")),
            headers(("X-Run-ID" = String, description = "the run, whose log the native API has")),
        ),
        (status = 204, description = "The run has ended, and its last event is known. There is nothing more"),
        (status = 404, description = "There is no such agent, session, or run of the agent to go on with"),
        (status = 409, description = "The session is busy and its agent lets no message wait, the run was cancelled, or the agent's mode or provider is not there any more"),
    )
)]
pub(super) async fn execute(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(assistant): Segment<String>,
    request: Request,
) -> Result<Response, AgentHubError> {
    let (head, body) = request.into_parts();
    let place = place(&state, &caller, &head.headers).await?;
    let body = json_bytes_of_files(&state, &head.headers, body).await?;
    if let Some(mark) = mark(&head)? {
        // What the answer is to have besides its text, a request that goes on says again.
        let with_tools = !body.is_empty() && Ask::try_from(json_of::<Execute>(&body)?)?.with_tools;
        return Ok(resumed(&state, &caller, &assistant, mark, with_tools).await?);
    }
    let ask = Ask::try_from(json_of::<Execute>(&body)?)?;
    let with_tools = ask.with_tools;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let start = async {
        let agent = state.0.agents.get(&caller.tenant, &assistant).await?;
        start(&state, &caller, &agent, ask, place, once.of_run()).await
    };
    let started = once.or(start).await?;
    let as_stream = accepts_events(&head.headers).then(Cursor::default);
    Ok(told(&state, &caller, started.run_id, with_tools, as_stream).await?)
}

/// Say something in a conversation with an agent
///
/// Without `sessionId` a new session is made. With `Accept: text/event-stream` the answer comes token by token, and with
/// `Last-Event-ID` or `after` the stream of a run goes on behind that event: no run is started. Needs the scope `runs`.
#[utoipa::path(
    post,
    path = "/api/assistants/{assistantId}/user-input",
    operation_id = "hubUserInput",
    tag = "Agent hub",
    params(
        ("assistantId" = String, Path, description = "the agent's id or name"),
        IdempotencyKey,
        LastEventId,
        ("after" = Option<String>, Query, nullable = false, pattern = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9]{1,15}(\.[1-9][0-9]{0,9}\.[0-9a-f]{8})?$", description = "the same as `Last-Event-ID`, for who sets no headers"),
    ),
    request_body(content = UserInput, example = json!({"sessionId": "session_abc123", "userInput": "Tell me more about that last point"})),
    responses(
        (
            status = 200,
            description = "The answer; or, for `Accept: text/event-stream`, events of which the last is `done` or `error`",
            content((Message = "application/json"), (StreamEvent = "text/event-stream")),
            headers(("X-Run-ID" = String, description = "the run, whose log the native API has")),
        ),
        (status = 204, description = "The run has ended, and its last event is known. There is nothing more"),
        (status = 404, description = "There is no such agent, session, or run of the agent to go on with"),
        (status = 409, description = "The session is busy and its agent lets no message wait, the run was cancelled, or the agent's mode or provider is not there any more"),
    )
)]
pub(super) async fn user_input(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(assistant): Segment<String>,
    request: Request,
) -> Result<Response, AgentHubError> {
    let (head, body) = request.into_parts();
    let place = place(&state, &caller, &head.headers).await?;
    let body = json_bytes_of_files(&state, &head.headers, body).await?;
    if let Some(mark) = mark(&head)? {
        return Ok(resumed(&state, &caller, &assistant, mark, false).await?);
    }
    let ask = Ask::try_from(json_of::<UserInput>(&body)?)?;
    let with_tools = ask.with_tools;
    let once = Once::of(&state, &caller.tenant, &head, &body)?;
    let start = async {
        let agent = state.0.agents.get(&caller.tenant, &assistant).await?;
        if let Some(id) = &ask.session {
            let session = state.0.runs.session(&caller.tenant, id).await?;
            if session.agent_id.is_some_and(|with| with != agent.id) {
                return Err(no_such_session());
            }
        }
        start(&state, &caller, &agent, ask, place, once.of_run()).await
    };
    let started = once.or(start).await?;
    let as_stream = accepts_events(&head.headers).then(Cursor::default);
    Ok(told(&state, &caller, started.run_id, with_tools, as_stream).await?)
}

/// Where the request wants a stream to go on.
fn mark(head: &Parts) -> Result<Option<Mark>, ApiError> {
    let mark = resume::asked(&head.headers, resume::after(head.uri.query())?.as_deref())?;
    if mark.is_some() && !accepts_events(&head.headers) {
        return Err(ApiError::invalid(resume::HEADER, "is for streams: it must come with Accept: text/event-stream"));
    }
    Ok(mark)
}

/// The stream of a run of this agent, behind what was seen of it.
async fn resumed(
    state: &ApiState,
    caller: &Caller,
    assistant: &str,
    mark: Mark,
    with_tools: bool,
) -> Result<Response, ApiError> {
    let run = resume::run_of(state, caller, mark.run).await?;
    let agent = run.agent.ok_or_else(ApiError::run_not_found)?.id;
    // By its id it is known also when it was deleted.
    let is_named = match assistant.parse::<AgentId>() {
        Ok(id) => id == agent,
        Err(_) => state.0.agents.get(&caller.tenant, assistant).await?.id == agent,
    };
    if !is_named {
        return Err(ApiError::run_not_found());
    }
    if resume::is_over(&run, mark.seen) {
        return Ok(resume::nothing_more());
    }
    told(state, caller, run.id, with_tools, Some(mark.seen)).await
}

/// A place for the body, if it is a large one.
async fn place(state: &ApiState, caller: &Caller, headers: &HeaderMap) -> Result<Option<FilePlace>, ApiError> {
    let (ordinary, patience) = (state.0.max_body_bytes, state.0.body_timeout);
    state.0.file_places.place(&caller.tenant, headers, ordinary, patience).await
}

/// Starts the run, if the caller may.
async fn start(
    state: &ApiState,
    caller: &Arc<Caller>,
    agent: &Agent,
    mut ask: Ask,
    place: Option<FilePlace>,
    idempotency: Option<Idempotency>,
) -> Result<Started, ApiError> {
    caller.limits.take_request()?;
    let files = std::mem::take(&mut ask.files);
    let files = state.0.attachments.read_all(&caller.tenant, files).await?;
    let attachments = files.into_iter().map(attachment).collect();
    let request = RunRequest { attachments, idempotency, ..ask.request(agent) };
    let started = attend::start(state, caller, request).await.map_err(refused)?;
    // What came is where it belongs.
    drop(place);
    Ok(started)
}

/// The answer of a run that was started, now or by an earlier request; as a stream, behind what was seen of that, or as a whole.
async fn told(
    state: &ApiState,
    caller: &Caller,
    run: RunId,
    with_tools: bool,
    as_stream: Option<Cursor>,
) -> Result<Response, ApiError> {
    let attended = attend_from(state, caller, run, as_stream.unwrap_or_default()).await?;
    let run = resume::run_of(state, caller, run).await?;
    let agent = run.agent.ok_or_else(ApiError::internal)?.id;
    let run_id = HeaderValue::from_str(&run.id.to_string());
    let session = (!run.stateless).then_some(run.session_id);
    let awaited = Awaited::new(caller.tenant.clone(), run.id, agent, session, with_tools);
    let mut response = if let Some(seen) = as_stream {
        let telling = Telling::new(state.clone(), awaited, !run.settings.output.is_text(), seen);
        follow(attended, telling, Ends::of(state, caller))
    } else {
        match answer(state, awaited, attended).await {
            Ok(message) => Json(message).into_response(),
            // With the run's id, as any answer about it.
            Err(error) => AgentHubError::from(error).into_response(),
        }
    };
    if let Ok(run_id) = run_id {
        response.headers_mut().insert("x-run-id", run_id);
    }
    Ok(response)
}

fn attachment(file: ReadFile) -> Attachment {
    let ReadFile { file_name, media_type, kind, content } = file;
    Attachment { file_name, media_type, kind, content }
}

/// Reads the run's log to its end.
async fn answer(state: &ApiState, mut awaited: Awaited, run: Attended) -> Result<Message, ApiError> {
    let Completed { at, outcome, .. } = run.completed(state, |logged| awaited.note(&logged)).await?;
    Ok(awaited.answer(awaited.placed(state, at).await, &outcome))
}

/// A foreign session, an unknown one and one that is with another agent are the same.
fn no_such_session() -> ApiError {
    ApiError::new(Kind::NotFound, "there is no such session")
}

/// Why a run was not started, in this dialect's words: the mode and the model are the agent's, and not the request's.
fn refused(error: StartError) -> ApiError {
    match error {
        StartError::UnknownMode { .. } | StartError::UnknownModel(_) | StartError::MaxCycles { .. } => {
            ApiError::new(Kind::Conflict, format!("the agent can not run as it is: {error}"))
        }
        StartError::OutputSchema(reason) => {
            ApiError::invalid(SCHEMA_FIELD, format!("must be a valid JSON Schema: {reason}"))
        }
        StartError::Session(_) => no_such_session(),
        other => other.into(),
    }
}
