//! The mode `chat`: answers directly, with the agent's tools where the model can use them. The plain path (no tools) asks the
//! host three things: what the model is, which tools there are, and the answer.

mod prompts;

use vivarium_reasoning::context::{Context, Fitting};
use vivarium_reasoning::{citing, grounded, tool_loop};
use vivarium_sdk::mode::{
    Abilities, GenerateRequest, Host, Message, ModeError, ModelInfo, Outcome, Request, ToolDefinition,
    generate_by_schema,
};

vivarium_sdk::export_mode!(run);

fn run(host: &mut impl Host, request: Request) -> Result<Outcome, ModeError> {
    if request.input.trim().is_empty() {
        return Err(ModeError::InvalidInput("the input is empty: say what you want to know".to_owned()));
    }
    let info = host.describe();
    let tools = host.tools();
    if info.abilities.contains(Abilities::FREE_TEXT) {
        return converse(host, &info, tools, request);
    }
    if request.output_schema.is_some() {
        return Err(ModeError::Model(format!(
            "an answer by a JSON Schema needs a language model. {}",
            grounded::nature(&info)
        )));
    }
    Ok(grounded::answer(host, &info, &tools, &request.history, &request.input)?.outcome)
}

fn converse(
    host: &mut impl Host,
    info: &ModelInfo,
    tools: Vec<ToolDefinition>,
    request: Request,
) -> Result<Outcome, ModeError> {
    let tools = tool_loop::usable(tools, info.abilities.contains(Abilities::TOOL_CALLS));
    let mut messages = Vec::with_capacity(request.history.len() + 2);
    messages.push(Message::System(system(&tools, request.instructions.as_deref())));
    let mut context = Context::new(info);
    messages.extend(context.history(host, request.history));
    messages.push(Message::user(request.input));
    match request.output_schema {
        None => {
            let question = GenerateRequest::answer(messages).with_tools(tools);
            let answered = tool_loop::run(host, &mut context, question, request.max_cycles, |_| None)?;
            let answer = answered.response.text;
            let citations = if answered.has_sources { citing::quotes_behind(host, &answer) } else { Vec::new() };
            Ok(Outcome { answer, answer_json: None, citations })
        }
        Some(schema) => structured(host, context, info, messages, tools, request.max_cycles, schema),
    }
}

fn system(tools: &[ToolDefinition], instructions: Option<&str>) -> String {
    let own = if tools.is_empty() { prompts::PLAIN } else { prompts::WITH_TOOLS };
    match instructions {
        Some(instructions) => format!("{own}\n\n{instructions}"),
        None => own.to_owned(),
    }
}

/// An answer by a schema: with tools, first the answer in words, since not every provider takes tools and a schema at once.
fn structured(
    host: &mut impl Host,
    mut context: Context,
    info: &ModelInfo,
    messages: Vec<Message>,
    tools: Vec<ToolDefinition>,
    max_cycles: u32,
    schema: String,
) -> Result<Outcome, ModeError> {
    let mut question = GenerateRequest::hidden(messages);
    let mut words = None;
    let mut citations = Vec::new();
    if !tools.is_empty() {
        let answered = tool_loop::run(host, &mut context, question.with_tools(tools), max_cycles, |_| None)?;
        if answered.has_sources {
            citations = citing::quotes_behind(host, &answered.response.text);
        }
        question = GenerateRequest::hidden(answered.messages);
        question.messages.push(Message::assistant(answered.response.text.clone()));
        question.messages.push(Message::user(prompts::AS_JSON));
        words = Some(answered.response.text);
    }
    let mut fitting = Fitting { host, context: &mut context };
    let json = generate_by_schema(&mut fitting, info.abilities, question, schema)
        .map_err(|error| ModeError::Model(error.to_string()))?;
    Ok(Outcome { answer: words.unwrap_or_else(|| json.clone()), answer_json: Some(json), citations })
}

#[cfg(test)]
mod tests;
