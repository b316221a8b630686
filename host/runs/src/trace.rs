//! A run as a trace: one span for each part of it (a run that waits, or whose host was stopped, has several, in one trace), in
//! it the agent at work, in that its steps, and in each step what the model and the tools are asked for. Recorded answers that
//! a resumed mode is given again make no spans: they have theirs, in the part in which they were given.

use std::sync::Mutex;

use serde_json::{Value, json};
use vivarium_domain::{GenerateResponse, Message, ModelError, Part, Run, RunTrace, TenantId, Usage};
use vivarium_sight::{AgentCall, Content, ModelUsage, Remote, RunPart, Span, attribute};

use crate::host::lock;

/// Where a run comes from that is being accepted now.
pub(crate) fn asked_now() -> Option<RunTrace> {
    let remote = Span::current().as_remote();
    let request_id = vivarium_sight::log::current_request();
    let (parent, state) = remote.map_or((None, None), |Remote { parent, state }| (Some(parent), state));
    (request_id.is_some() || parent.is_some()).then_some(RunTrace { request_id, parent, state })
}

/// What a part of a run is told in: the span of a trace, and the lines of the log.
pub(crate) struct Told {
    pub(crate) span: Span,
    pub(crate) log: tracing::Span,
}

/// Begins a part of a run.
pub(crate) fn begin_part(tenant: &TenantId, run: &Run, resumed: bool) -> Told {
    let trace = run.trace.clone().unwrap_or_default();
    let asked_by = trace.parent.map(|parent| Span::remote(&Remote { parent, state: trace.state }));
    let (id, parent) = (run.id.to_string(), run.parent.map(|parent| parent.run_id.to_string()));
    let part = RunPart {
        run: &id,
        parent_run: parent.as_deref(),
        tenant: tenant.as_str(),
        session: run.session_id.as_str(),
        mode: &run.mode,
        resumed,
    };
    let span = part.begin(&asked_by.unwrap_or_default());
    let log = vivarium_sight::log::run(&id, trace.request_id.as_deref(), &span);
    Told { span, log }
}

/// The agent at work in one attempt at a run.
pub(crate) struct AgentTrace {
    agent: Span,
    step: Mutex<Step>,
}

#[derive(Default)]
struct Step {
    number: u32,
    span: Span,
}

impl AgentTrace {
    /// Begins it, below the current span.
    pub(crate) fn begin(run: &Run) -> Self {
        let id = run.agent.map(|agent| (agent.id.to_string(), agent.version));
        let call = AgentCall {
            provider: run.model.provider(),
            model: run.model.model(),
            session: run.session_id.as_str(),
            mode: &run.mode,
            agent: id.as_ref().map(|(id, version)| (id.as_str(), *version)),
        };
        Self { agent: call.begin(), step: Mutex::default() }
    }

    /// The whole of it.
    pub(crate) fn agent(&self) -> &Span {
        &self.agent
    }

    /// The mode comes to its next step; none is told of that was told before the run was taken up again.
    pub(crate) fn step(&self, message: Option<&str>) {
        let mut step = lock(&self.step);
        step.number += 1;
        step.span.end();
        step.span = Span::default();
        if let Some(message) = message {
            step.span = self.agent.step(step.number);
            Content::set(&step.span, attribute::STEP_MESSAGE, || message.to_owned());
        }
    }

    /// What is being done now: the step, or the whole where there is none.
    pub(crate) fn now(&self) -> Span {
        let step = lock(&self.step);
        if step.span.records() { step.span.clone() } else { self.agent.clone() }
    }

    /// It is over.
    pub(crate) fn end(&self) {
        lock(&self.step).span.end();
        self.agent.end();
    }
}

/// Says in the trace what a model has answered.
pub(crate) fn end_model_span(span: &Span, answer: &Result<GenerateResponse, ModelError>) {
    match answer {
        Ok(response) => {
            let Usage { input_tokens, output_tokens, .. } = response.usage;
            ModelUsage { input_tokens, output_tokens, finish_reason: response.finish_reason.word() }.tell(span);
            Content::set(span, attribute::OUTPUT_MESSAGES, || output_messages(response));
        }
        Err(error) => span.fail(error.word()),
    }
    span.end();
}

/// What a model was told, as the conventions have it.
pub(crate) fn input_messages(messages: &[Message]) -> String {
    Value::Array(messages.iter().map(message).collect()).to_string()
}

/// What a model has answered, as the conventions have it.
fn output_messages(response: &GenerateResponse) -> String {
    let calls = response.tool_calls.iter().map(|call| tool_call(&call.id, &call.name, &call.arguments_json));
    let parts: Vec<Value> = std::iter::once(words(&response.text)).chain(calls).collect();
    json!([{"role": "assistant", "parts": parts, "finish_reason": response.finish_reason.word()}]).to_string()
}

fn message(message: &Message) -> Value {
    match message {
        Message::System { text } => json!({"role": "system", "parts": [words(text)]}),
        Message::User { parts } => json!({"role": "user", "parts": parts.iter().map(part).collect::<Vec<_>>()}),
        Message::Assistant(said) => {
            let calls = said.tool_calls.iter().map(|call| tool_call(&call.id, &call.name, &call.arguments_json));
            let parts: Vec<Value> = std::iter::once(words(&said.text)).chain(calls).collect();
            json!({"role": "assistant", "parts": parts})
        }
        Message::Tool(answer) => json!({"role": "tool", "parts": [
            {"type": "tool_call_response", "id": answer.call_id, "response": answer.content}
        ]}),
    }
}

fn part(part: &Part) -> Value {
    match part {
        Part::Text(text) => words(text),
        // Its bytes would be more than a span carries.
        Part::Image(image) => json!({"type": "blob", "modality": "image", "mime_type": image.media_type}),
    }
}

fn words(text: &str) -> Value {
    json!({"type": "text", "content": text})
}

fn tool_call(id: &str, name: &str, arguments: &str) -> Value {
    json!({"type": "tool_call", "id": id, "name": name, "arguments": arguments})
}

#[cfg(test)]
mod tests {
    use vivarium_domain::{FinishReason, ToolCall};

    use super::*;

    #[test]
    fn what_is_said_to_a_model_is_told_in_roles_and_parts() {
        let told = input_messages(&[Message::System { text: "s".into() }, Message::user("u")]);
        let told: Value = serde_json::from_str(&told).unwrap();
        assert_eq!(told[1], json!({"role": "user", "parts": [{"type": "text", "content": "u"}]}));
        let call = ToolCall { id: "1".into(), name: "t".into(), arguments_json: "{}".into() };
        let response = GenerateResponse {
            tool_calls: vec![call],
            finish_reason: FinishReason::ToolCalls,
            ..GenerateResponse::default()
        };
        let told: Value = serde_json::from_str(&output_messages(&response)).unwrap();
        assert_eq!(told[0]["finish_reason"], "tool_calls");
        assert_eq!(told[0]["parts"][1]["name"], "t");
    }
}
