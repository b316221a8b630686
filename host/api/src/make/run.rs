//! Running an agent, answered when the run has ended; and what running it step by step shares with that.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Request, State};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse as _, Response};
use jiff::Zoned;
use serde::Deserialize;
use utoipa::ToSchema;
use vivarium_domain::{Agent, Message, RunId, Scope, Session, SessionId, Timestamp, WebhookForm, bounds};
use vivarium_runs::{LoggedEvent, RunRequest, StartError, Webhook};

use super::MakeError;
use super::agents::find;
use super::answer::{RunAnswer, Teller};
use super::config::{RunConfig, of_run_config};
use super::connection::model_of;
use super::team::team_of;
use crate::ApiState;
use crate::attend::{self, Attended, Completed, attend};
use crate::auth::Caller;
use crate::body::{Object, json_bytes, json_of};
use crate::callback::callback_url;
use crate::error::{ApiError, Kind};
use crate::gate::CallerExt;
use crate::idempotency::{IdempotencyKey, Once};
use crate::segment::Segment;

/// The most messages of one request.
const MAX_MESSAGES: usize = 1000;

/// What an agent is asked.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[schema(example = json!({"messages": [{"role": "user", "content": "Where is my order 1234?"}]}))]
pub(super) struct RunBody {
    /// The conversation so far, oldest first; the last one is the user's. With `threadId`, what was said in the thread stands
    /// before these.
    #[schema(value_type = Vec<MessageForm>, min_items = 1, max_items = 1000)]
    messages: Vec<Object<MessageForm>>,
    /// The thread to go on with: from an earlier answer. A new one, if left out.
    #[schema(value_type = Option<String>, min_length = 1, max_length = 128, pattern = "^[!-~]+$")]
    thread_id: Option<SessionId>,
    /// Where the answer is sent, too, when the run has ended: `https:` or `http:`.
    #[schema(value_type = Option<String>, max_length = 2048, format = "uri")]
    callback_url: Option<String>,
    /// What this run has otherwise than the agent.
    #[schema(value_type = Option<RunConfig>)]
    config: Option<Object<RunConfig>>,
}

/// One message.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct MessageForm {
    /// Who speaks.
    role: RoleForm,
    /// What is said; not white space alone.
    #[schema(min_length = 1, max_length = 200_000, pattern = r"\S")]
    content: String,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum RoleForm {
    /// The client.
    User,
    /// The agent, earlier.
    Assistant,
}

/// A run that was accepted.
pub(super) struct Running {
    pub(super) run: RunId,
    pub(super) teller: Teller,
    pub(super) attended: Attended,
}

/// Run an agent with the provided ID
///
/// Answers when the run has ended; who leaves before does not stop it.
#[utoipa::path(
    post, path = "/api/v2/ai-agents/v1/agents/{agentId}/run", tag = "AI agents (make)", operation_id = "makeRunAgent",
    params(
        ("agentId" = uuid::Uuid, Path, description = "The agent."),
        ("teamId" = u32, Query, description = "The team that it belongs to.", minimum = 1),
        IdempotencyKey,
    ),
    request_body = RunBody,
    responses(
        (status = 200, description = "The answer.", body = RunAnswer<'_>),
        (status = 404, description = "The team has no such agent, or the agent no such thread."),
        (status = 409, description = "The run was cancelled, or a run of the thread is under way and the agent takes no other."),
        (status = 424, description = "The model's provider did not answer."),
        (
            status = 429,
            description = "The key's allowance is used up, or the tenant has as many runs as it may; `Retry-After` says when to try again."
        ),
    )
)]
pub(super) async fn run(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    Segment(id): Segment<String>,
    request: Request,
) -> Result<Response, MakeError> {
    let running = start(&state, &caller, &id, request).await?;
    let run = running.run;
    let mut response = match answer(&state, running).await {
        Ok(response) => response,
        Err(error) => MakeError::from(error).into_response(),
    };
    name_run(&mut response, run);
    Ok(response)
}

/// Who loses the connection finds the run's log by this.
pub(super) fn name_run(response: &mut Response, run: RunId) {
    if let Ok(run) = HeaderValue::from_str(&run.to_string()) {
        response.headers_mut().insert("x-run-id", run);
    }
}

/// Checks a request and starts its run.
pub(super) async fn start(
    state: &ApiState,
    caller: &Arc<Caller>,
    id: &str,
    request: Request,
) -> Result<Running, ApiError> {
    caller.needs(Scope::AgentsWrite)?;
    let (head, body) = request.into_parts();
    let body = json_bytes(state, &head.headers, body).await?;
    let once = Once::of(state, &caller.tenant, &head, &body)?;
    let start = async {
        let agent = agent_of(state, caller, id, &head.uri).await?;
        let body: RunBody = json_of(&body)?;
        let request = RunRequest { idempotency: once.of_run(), ..body.into_request(state, caller, agent).await? };
        caller.limits.take_request()?;
        attend::start(state, caller, request).await.map_err(of_start)
    };
    let started = once.or(start).await?;
    let attended = attend(state, caller, started.run_id).await?;
    // A repeat is told of the run that there is, whatever became of its agent.
    let run = state.0.runs.get(&caller.tenant, started.run_id).await?.ok_or_else(ApiError::internal)?;
    Ok(Running { run: run.id, teller: Teller::of(&run), attended })
}

async fn agent_of(state: &ApiState, caller: &Caller, id: &str, uri: &Uri) -> Result<Agent, ApiError> {
    let team = team_of(state, caller, uri.query()).await?;
    find(state, caller, team.id, id).await
}

/// The names of what can be wrong are this dialect's.
fn of_start(error: StartError) -> ApiError {
    let param = match &error {
        StartError::UnknownModel(_) => "defaultModel",
        StartError::MaxCycles { .. } => "invocationConfig.recursionLimit",
        StartError::OutputSchema(_) => "outputParserFormat.schema",
        StartError::Session(_) => "threadId",
        _ => return error.into(),
    };
    let message = error.to_string().replace("maxCycles", param).replace("sessionId", param);
    ApiError::new(Kind::InvalidParameter, message).about(param)
}

impl RunBody {
    /// The run to start.
    async fn into_request(self, state: &ApiState, caller: &Caller, mut agent: Agent) -> Result<RunRequest, ApiError> {
        let (earlier, input) = conversation(self.messages.into_iter().map(|message| message.0).collect())?;
        let callback = self.callback_url.map(|url| callback_url("callbackUrl", &url)).transpose()?;
        if let Some(thread) = &self.thread_id {
            find_thread(state, caller, &agent, thread).await?;
        }
        let mut additional = None;
        if let Some(Object(mut config)) = self.config {
            additional = config.additional_system_prompt.take().map(check_additional).transpose()?;
            let before = agent.config.clone();
            let change = config.into_change(state, &caller.tenant).await?;
            change.apply(&mut agent.config, model_of(&state.0.agents, None)).map_err(of_run_config)?;
            let checked = state.0.agents.check(&caller.tenant, &agent.config, Some(&before)).await;
            checked.map_err(of_run_config)?;
        }
        let instructions = instructions(&agent.config.prompt, additional.as_deref(), &Zoned::now());
        Ok(RunRequest {
            instructions: Some(instructions),
            session_id: self.thread_id,
            earlier,
            webhook: callback.map(|url| Webhook { url, form: WebhookForm::Make }),
            ..RunRequest::of_agent(&agent, input)
        })
    }
}

/// All messages but the last, and the last one's content.
fn conversation(messages: Vec<MessageForm>) -> Result<(Vec<Message>, String), ApiError> {
    if messages.len() > MAX_MESSAGES {
        return Err(ApiError::invalid("messages", format!("may be {MAX_MESSAGES}, not {}", messages.len())));
    }
    for (index, message) in messages.iter().enumerate() {
        let chars = message.content.chars().count();
        if chars > bounds::INPUT_CHARS || message.content.trim().is_empty() {
            let param = format!("messages[{index}].content");
            let wrong =
                format!("{param} must have 1 to {} characters, and one that is no white space", bounds::INPUT_CHARS);
            return Err(ApiError::new(Kind::InvalidParameter, wrong).about(param));
        }
    }
    let mut messages = messages;
    let Some(last) = messages.pop().filter(|last| last.role == RoleForm::User) else {
        return Err(ApiError::invalid("messages", "must not be empty, and must end with one of the role user"));
    };
    let message = |message: MessageForm| match message.role {
        RoleForm::User => Message::user(message.content),
        RoleForm::Assistant => Message::assistant(message.content),
    };
    Ok((messages.into_iter().map(message).collect(), last.content))
}

/// A session that was begun without an agent is anybody's to go on with.
fn is_of(session: &Session, agent: &Agent) -> bool {
    session.agent_id.is_none_or(|with| with == agent.id)
}

/// The thread must be there, and be of no other agent.
async fn find_thread(state: &ApiState, caller: &Caller, agent: &Agent, thread: &SessionId) -> Result<(), ApiError> {
    let session = state.0.store.session(&caller.tenant, thread).await?;
    let found = session.filter(|session| !session.is_expired(Timestamp::now()) && is_of(session, agent));
    let message = "the agent has no such thread; leave threadId out to begin one";
    found.map(|_| ()).ok_or_else(|| ApiError::new(Kind::NotFound, message).about("threadId"))
}

fn check_additional(prompt: String) -> Result<String, ApiError> {
    if (1..=bounds::INSTRUCTIONS_CHARS).contains(&prompt.chars().count()) {
        return Ok(prompt);
    }
    Err(ApiError::invalid(
        "config.additionalSystemPrompt",
        format!("must have 1 to {} characters", bounds::INSTRUCTIONS_CHARS),
    ))
}

/// What the model is told: the system prompt, what is added to it, and what time it is where the host stands.
fn instructions(prompt: &str, additional: Option<&str>, now: &Zoned) -> String {
    let prompts: Vec<&str> =
        [prompt, additional.unwrap_or_default()].into_iter().filter(|text| !text.is_empty()).collect();
    let prompts = prompts.join("\n\n");
    let separator = if prompts.is_empty() { "" } else { "\n" };
    format!("{prompts}{separator}Current time (ISO): {}", now.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z"))
}

/// Reads the run's log to its end.
async fn answer(state: &ApiState, running: Running) -> Result<Response, ApiError> {
    let Running { mut teller, attended, .. } = running;
    let note = |logged: Arc<LoggedEvent>| {
        // The steps are told together, at the end.
        let _steps = teller.take(&logged.event);
    };
    let Completed { at, outcome, paid } = attended.completed(state, note).await?;
    Ok(Json(teller.answer(at, &outcome, paid.usage)).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_told_the_time_of_day_after_its_prompts() {
        let now: Zoned = "2025-06-26T01:42:30.08-06:00[-06:00]".parse().unwrap();
        let time = "Current time (ISO): 2025-06-26T01:42:30.080-06:00";
        assert_eq!(instructions("do what user says", None, &now), format!("do what user says\n{time}"));
        assert_eq!(instructions("do", Some("and more"), &now), format!("do\n\nand more\n{time}"));
        assert_eq!(instructions("", None, &now), time);
    }

    #[test]
    fn a_conversation_ends_with_the_user() {
        let message = |role, content: &str| MessageForm { role, content: content.to_owned() };
        let (earlier, input) = conversation(vec![
            message(RoleForm::User, "a"),
            message(RoleForm::Assistant, "b"),
            message(RoleForm::User, "c"),
        ])
        .unwrap();
        assert_eq!(earlier, [Message::user("a"), Message::assistant("b")]);
        assert_eq!(input, "c");
        for bad in [
            vec![],
            vec![message(RoleForm::Assistant, "a")],
            vec![message(RoleForm::User, " \n")],
            vec![message(RoleForm::User, &"x".repeat(bounds::INPUT_CHARS + 1))],
            (0..=MAX_MESSAGES).map(|_| message(RoleForm::User, "a")).collect(),
        ] {
            assert_eq!(conversation(bad).unwrap_err().code(), "invalid_parameter");
        }
    }
}
