//! The mode `chat`.
use vivarium_sdk::mode::*;

fn run(host: &mut impl Host, request: Request) -> Result<Outcome, ModeError> {
    let info = host.describe();
    let tools = host.tools();
    let answer = host.generate(&GenerateRequest {
        messages: vec![Message::User(vec![Part::Text(request.input)])],
        tools, passages: vec![], output_schema: None, max_output_tokens: None, temperature: None, visibility: Visibility::Answer,
    }).map_err(|e| ModeError::Model(format!("{}: {e:?}", info.name)))?;
    Ok(Outcome { answer: answer.text, answer_json: None, citations: answer.citations })
}
vivarium_sdk::export_mode!(run);
