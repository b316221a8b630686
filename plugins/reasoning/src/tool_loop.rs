//! A model that uses tools: ask it, call what it asks for in parallel, show it the results, ask again. Each round of tools is
//! one cycle; after the last one the model gets no more tools, so that it has to answer. A conversation that grows longer than the
//! model can read is made shorter on the way.

use vivarium_sdk::mode::{
    AssistantMessage, GenerateRequest, GenerateResponse, Host, Message, ModeError, ToolDefinition,
};

use crate::context::Context;

/// How the loop ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// The model's answer.
    pub response: GenerateResponse,
    /// The whole conversation, the answer not included.
    pub messages: Vec<Message>,
    /// Some document was read on the way.
    pub has_sources: bool,
}

/// Runs the loop over `request`, whose tools the model may use in `max_cycles` rounds.
///
/// # Errors
/// When the model does not answer.
pub fn run(
    host: &mut impl Host,
    context: &mut Context,
    mut request: GenerateRequest,
    max_cycles: u32,
    mut announce: impl FnMut(&str) -> Option<String>,
) -> Result<Answered, ModeError> {
    let mut has_sources = false;
    let mut rounds = 0;
    loop {
        let mut response = context.generate(host, &mut request)?;
        if response.tool_calls.is_empty() || request.tools.is_empty() {
            if response.text.trim().is_empty() {
                return Err(ModeError::Model("the model gave an empty answer".to_owned()));
            }
            return Ok(Answered { response, messages: request.messages, has_sources });
        }
        rounds += 1;
        for call in &response.tool_calls {
            if let Some(step) = announce(&call.name) {
                host.step(&step);
            }
        }
        let results = host.call_all(&response.tool_calls);
        let tool_calls = std::mem::take(&mut response.tool_calls);
        request.messages.push(Message::Assistant(AssistantMessage { text: response.text, tool_calls }));
        has_sources |= results.iter().any(|result| !result.sources.is_empty());
        request.messages.extend(results.into_iter().map(Message::from));
        if rounds >= max_cycles {
            request.tools = Vec::new();
        }
    }
}

/// The tools that a model may use; none for a model that can not ask for any.
#[must_use]
pub fn usable(tools: Vec<ToolDefinition>, can_call: bool) -> Vec<ToolDefinition> {
    if can_call { tools } else { Vec::new() }
}
