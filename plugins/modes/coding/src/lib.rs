//! The mode `coding`: plans, looks up what the task needs, changes files, runs what it has written and repairs it, with whichever of
//! these the agent's tools allow; and ends with what has changed and what was run, as the host has it.

mod calls;
mod prompts;
mod report;
mod work;

use std::fmt::Write as _;

use vivarium_reasoning::context::{Context, Fitting};
use vivarium_reasoning::{citing, grounded, tool_loop};
use vivarium_sdk::mode::{
    Abilities, GenerateRequest, Host, Message, ModeError, ModelInfo, Outcome, Request, ToolDefinition,
    generate_by_schema,
};

vivarium_sdk::export_mode!(run);

/// What an answerer that writes no text of its own says beside what it has found.
const NO_WORK: &str = "No file was changed and no code was run: this answerer can only quote documents. Writing and running code takes a \
                       language model.";

/// A plan is for the person who watches, and for the model; nobody reads a long one.
const MAX_PLAN_LINES: usize = 4;

fn run(host: &mut impl Host, request: Request) -> Result<Outcome, ModeError> {
    if request.input.trim().is_empty() {
        return Err(ModeError::InvalidInput("the input is empty: say what is to be done".to_owned()));
    }
    let info = host.describe();
    let tools = host.tools();
    if info.abilities.contains(Abilities::FREE_TEXT) {
        return with_a_model(host, &info, tools, request);
    }
    if request.output_schema.is_some() {
        return Err(ModeError::Model(format!(
            "an answer by a JSON Schema needs a language model. {}",
            grounded::nature(&info)
        )));
    }
    let found = grounded::answer(host, &info, &tools, &request.history, &request.input)?;
    let mut outcome = found.with_places();
    if tools.iter().any(|tool| calls::changes_files(&tool.name) || tool.name == calls::RUN_CODE) {
        outcome.answer.push_str("\n\n");
        outcome.answer.push_str(NO_WORK);
    }
    Ok(outcome)
}

fn with_a_model(
    host: &mut impl Host,
    info: &ModelInfo,
    tools: Vec<ToolDefinition>,
    request: Request,
) -> Result<Outcome, ModeError> {
    let tools = tool_loop::usable(tools, info.abilities.contains(Abilities::TOOL_CALLS));
    let mut context = Context::new(info);
    let history = context.history(host, request.history);
    // Without tools there is nothing to plan: the answer is all that can be done.
    let plan = if tools.is_empty() {
        None
    } else {
        plan(&mut Fitting { host, context: &mut context }, &tools, &history, &request.input)?
    };
    let own = instructions(&tools);
    let system = match &request.instructions {
        Some(instructions) => format!("{own}\n\n{instructions}"),
        None => own,
    };
    let mut messages = vec![Message::System(system)];
    messages.extend(history);
    messages.push(Message::user(match plan {
        Some(plan) => format!("{}\n\nYour plan:\n{plan}", request.input),
        None => request.input,
    }));
    let can_run = tools.iter().any(|tool| tool.name == calls::RUN_CODE);
    let may_change = tools.iter().any(|tool| !tool.read_only);
    let question = GenerateRequest::answer(messages).with_tools(tools);
    let mut answered = work::work(host, &mut context, question, request.max_cycles)?;
    let mut answer = answered.response.text;
    let citations = if answered.has_sources { citing::quotes_behind(host, &answer) } else { Vec::new() };
    let answer_json = match request.output_schema {
        None => None,
        Some(schema) => {
            answered.messages.push(Message::assistant(answer.clone()));
            answered.messages.push(Message::user(prompts::AS_JSON));
            let question = GenerateRequest::hidden(answered.messages);
            let mut fitting = Fitting { host, context: &mut context };
            let json = generate_by_schema(&mut fitting, info.abilities, question, schema);
            Some(json.map_err(|error| ModeError::Model(error.to_string()))?)
        }
    };
    let changes = if may_change { host.changes(report::MAX_DIFF_BYTES) } else { None };
    // Who has only looked need not be told that nothing has changed.
    let changes = changes.filter(|changes| answered.meant_to_change || !changes.files.is_empty());
    report::add(&mut answer, changes.as_ref(), &answered.runs, can_run);
    Ok(Outcome { answer, answer_json, citations })
}

/// What the model is told of its work, by what its tools can do.
fn instructions(tools: &[ToolDefinition]) -> String {
    if tools.is_empty() {
        return prompts::PLAIN.to_owned();
    }
    let mut own = vec![prompts::WITH_TOOLS];
    let runs = tools.iter().any(|tool| tool.name == calls::RUN_CODE);
    let changes = tools.iter().any(|tool| calls::changes_files(&tool.name));
    if changes {
        own.push(prompts::WITH_FILES);
    }
    own.push(if runs { prompts::WITH_RUNS } else { prompts::WITHOUT_RUNS });
    if changes || runs {
        own.push(prompts::AT_THE_END);
    }
    own.join("\n")
}

/// A few lines on how to go about it; the person who watches sees them as steps.
fn plan(
    host: &mut impl Host,
    tools: &[ToolDefinition],
    history: &[Message],
    task: &str,
) -> Result<Option<String>, ModeError> {
    host.step("Planning the work");
    let names: Vec<&str> = tools.iter().map(|tool| tool.name.as_str()).collect();
    let mut messages = vec![Message::system(format!("{}\n{}", prompts::PLAN, prompts::tools(&names.join(", "))))];
    messages.extend(history.iter().cloned());
    messages.push(Message::user(task));
    let response = host.generate(&GenerateRequest::hidden(messages))?;
    let mut plan = String::new();
    for line in response.text.lines().map(str::trim).filter(|line| !line.is_empty()).take(MAX_PLAN_LINES) {
        host.step(&format!("Plan: {line}"));
        // Writing to a String does not fail.
        let _ = writeln!(plan, "{line}");
    }
    Ok((!plan.is_empty()).then_some(plan))
}

#[cfg(test)]
mod tests;
