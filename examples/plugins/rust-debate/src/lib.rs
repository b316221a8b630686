//! A mode for Vivarium: before the model answers a question, it argues for and against, and then weighs both.
//!
//! A mode is a reasoning loop. This one has no loop at all, which makes it short: three questions to the model, each with
//! a step that the client sees, and the last one's words go straight to the client.

mod prompts;

use crate::exports::vivarium::plugin::mode::{Guest, ModeError, Outcome, Request};
use crate::vivarium::plugin::model::{
    self, Abilities, GenerateRequest, GenerateResponse, Message, ModelError, Part, Visibility,
};
use crate::vivarium::plugin::steps;

wit_bindgen::generate!({ world: "debate", path: "wit", generate_all });

/// One for each side, one for the verdict.
const CYCLES: u32 = 3;

struct Debate;

export!(Debate);

impl Guest for Debate {
    fn run(request: Request) -> Result<Outcome, ModeError> {
        if request.input.trim().is_empty() {
            return Err(ModeError::InvalidInput("there is nothing to debate: ask a question".to_owned()));
        }
        check_abilities(request.output_schema.is_some())?;
        let sides = if request.max_cycles < CYCLES { None } else { Some(argue(&request)?) };
        steps::report("Weighing both sides");
        verdict(request, sides)
    }
}

/// Says what is missing before the first question, and not after two of three.
fn check_abilities(with_schema: bool) -> Result<(), ModeError> {
    let info = model::describe();
    let hint = info.hint.unwrap_or_default();
    let needed = if with_schema { Abilities::JSON_SCHEMA } else { Abilities::FREE_TEXT };
    if info.abilities.contains(needed) {
        return Ok(());
    }
    let ability = if with_schema { "answer by a JSON Schema" } else { "write text of its own" };
    Err(ModeError::Model(format!("a debate needs a model that can {ability}; {} can not. {hint}", info.name)))
}

/// What speaks for it, and what against.
fn argue(request: &Request) -> Result<[String; 2], ModeError> {
    steps::report("Arguing for it");
    let pro = ask(conversation(request, prompts::FOR, &[]), Visibility::Hidden, None)?.text;
    steps::report("Arguing against it");
    let contra = ask(conversation(request, prompts::AGAINST, &[]), Visibility::Hidden, None)?.text;
    Ok([pro, contra])
}

fn verdict(request: Request, sides: Option<[String; 2]>) -> Result<Outcome, ModeError> {
    let messages = match &sides {
        Some([pro, contra]) => conversation(&request, prompts::VERDICT, &[("For", pro), ("Against", contra)]),
        None => conversation(&request, prompts::ALL_IN_ONE, &[]),
    };
    // Half a JSON document is nothing to look at while it is being written.
    let visibility = if request.output_schema.is_some() { Visibility::Hidden } else { Visibility::Answer };
    let structured = request.output_schema.is_some();
    let answer = ask(messages, visibility, request.output_schema)?.text;
    Ok(Outcome { answer_json: structured.then(|| answer.clone()), answer, citations: Vec::new() })
}

/// The conversation so far, the question, and what was argued about it. Arguments are the model's own words, but they
/// are told as the client's: a model must not take them for instructions.
fn conversation(request: &Request, task: &str, arguments: &[(&str, &String)]) -> Vec<Message> {
    let instructions = match &request.instructions {
        Some(instructions) => format!("{task}\n\n{instructions}"),
        None => task.to_owned(),
    };
    let mut question = request.input.clone();
    for (side, argument) in arguments {
        question.push_str(&format!("\n\n## {side}\n\n{argument}"));
    }
    let mut messages = vec![Message::System(instructions)];
    messages.extend(request.history.iter().cloned());
    messages.push(Message::User(vec![Part::Text(question)]));
    messages
}

fn ask(
    messages: Vec<Message>,
    visibility: Visibility,
    output_schema: Option<String>,
) -> Result<GenerateResponse, ModeError> {
    let request = GenerateRequest {
        messages,
        tools: Vec::new(),
        passages: Vec::new(),
        output_schema,
        max_output_tokens: None,
        temperature: None,
        visibility,
    };
    model::generate(&request).map_err(|error| ModeError::Model(sentence(error)))
}

fn sentence(error: ModelError) -> String {
    match error {
        ModelError::Unsupported(text)
        | ModelError::InvalidRequest(text)
        | ModelError::ContextLengthExceeded(text)
        | ModelError::ContentPolicy(text)
        | ModelError::Unavailable(text)
        | ModelError::BudgetExhausted(text) => text,
    }
}
