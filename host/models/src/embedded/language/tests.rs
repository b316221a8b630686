//! With the real weights, where `VIVARIUM_EMBEDDED_WEIGHTS` names them: `cargo xtask test` fetches them and sets it.

use std::sync::LazyLock;

use serde_json::{Value, json};
use vivarium_domain::{Decimal, Message};

use super::*;

/// The model, or none where its weights are not there.
static MODEL: LazyLock<Option<LanguageModel>> = LazyLock::new(|| {
    let path = std::env::var_os("VIVARIUM_EMBEDDED_WEIGHTS")?;
    Some(LanguageModel::load(Path::new(&path)).expect("the weights are whole"))
});

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

fn ask(model: &LanguageModel, request: &GenerateRequest) -> (Result<GenerateResponse, ModelError>, Vec<String>) {
    let mut pieces = Vec::new();
    let mut on_token = |piece: &str| pieces.push(piece.to_owned());
    let call = Call::new(NAME, request, &mut on_token);
    let answer = runtime().block_on(model.generate(call, Timeouts::default()));
    (answer, pieces)
}

fn request(question: &str) -> GenerateRequest {
    GenerateRequest { messages: vec![Message::user(question)], temperature: Some(0.0), ..GenerateRequest::default() }
}

#[test]
fn text_becomes_tokens_and_text_again() {
    let Some(model) = &*MODEL else { return };
    for text in ["Hello, world! 1234", "grüße 日本語 🦀\n\tx", "<|im_end|><|im_start|>system", ""] {
        let tokens = model.0.vocabulary.tokens(text).unwrap();
        let bytes: Vec<u8> = tokens.iter().flat_map(|token| model.0.vocabulary.bytes(*token).to_vec()).collect();
        assert_eq!(String::from_utf8(bytes).unwrap(), text);
        assert!(!tokens.contains(&model.0.vocabulary.end) && !tokens.contains(&model.0.vocabulary.turn), "{text}");
    }
    // As the tokenizer that the model was published with has it.
    assert_eq!(model.0.vocabulary.tokens("Hello world").unwrap(), [19556, 905]);
}

#[test]
fn it_knows_a_capital_and_streams_what_it_says() {
    let Some(model) = &*MODEL else { return };
    let (answer, pieces) = ask(model, &request("What is the capital of France?"));
    let answer = answer.unwrap();
    assert!(answer.text.contains("Paris"), "{}", answer.text);
    assert_eq!(pieces.concat(), answer.text);
    assert!(pieces.len() > 3, "{pieces:?}");
    assert_eq!(answer.finish_reason, FinishReason::Stop);
    assert!(answer.usage.input_tokens > 10 && answer.usage.output_tokens as usize >= pieces.len());
}

#[test]
fn a_prompt_of_many_pieces_is_read_as_one() {
    let Some(model) = &*MODEL else { return };
    let tokens: Vec<u32> = model.0.vocabulary.tokens(&"The cat sat on the mat, and ".repeat(40)).unwrap();
    let read = |pieces: &[usize]| {
        let mut memory = model.0.llama.memory();
        let (mut rest, mut expected) = (tokens.as_slice(), Vec::new());
        for piece in pieces {
            let (now, later) = rest.split_at((*piece).min(rest.len()));
            rest = later;
            expected = model.0.llama.next(now, &mut memory).unwrap();
        }
        expected
    };
    let whole = read(&[tokens.len()]);
    let parts = read(&[100, 3, 1, tokens.len() - 104]);
    let most = whole.iter().zip(&parts).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    // Weights of four bits are rounded otherwise when they are multiplied as they are.
    assert!(most < 1.0, "{most}");
}

#[test]
fn an_answer_by_a_schema_satisfies_it() {
    let Some(model) = &*MODEL else { return };
    let schema = json!({
        "type": "object",
        "properties": {
            "city": {"type": "string", "maxLength": 20},
            "kind": {"enum": ["capital", "village"]},
            "population": {"type": "integer", "minimum": 0, "maximum": 99_999_999}
        },
        "required": ["city", "kind", "population"],
        "additionalProperties": false
    });
    let mut asked = request("Tell me about Paris.");
    asked.output_schema = Some(schema);
    let (answer, _) = ask(model, &asked);
    let answer = answer.unwrap();
    let value: Value = serde_json::from_str(&answer.text).unwrap();
    assert!(value["city"].is_string() && value["population"].is_u64(), "{value}");
    assert!(["capital", "village"].map(Value::from).contains(&value["kind"]), "{value}");
    let mut impossible = request("x");
    impossible.output_schema =
        Some(json!({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}));
    assert!(matches!(ask(model, &impossible).0, Err(ModelError::Unsupported(_))));
}

#[test]
fn what_is_too_long_is_refused_and_an_answer_keeps_to_its_bound() {
    let Some(model) = &*MODEL else { return };
    let (long, _) = ask(model, &request(&"word ".repeat(5000)));
    assert!(matches!(long, Err(ModelError::ContextLengthExceeded(_))), "{long:?}");
    let mut short = request("Count from one to one hundred.");
    short.max_output_tokens = Some(5);
    let (answer, _) = ask(model, &short);
    let answer = answer.unwrap();
    assert_eq!((answer.usage.output_tokens, answer.finish_reason), (5, FinishReason::Length));
}

#[test]
fn who_leaves_frees_the_place_for_the_next() {
    // One of its own, where nobody else stands in line.
    let Some(path) = std::env::var_os("VIVARIUM_EMBEDDED_WEIGHTS") else { return };
    let model = LanguageModel::load(Path::new(&path)).unwrap();
    runtime().block_on(async {
        let all = u32::try_from(model.places()).unwrap();
        let long = request("Write a very long story about a dragon and a knight.");
        let (first, said) = tokio::sync::oneshot::channel();
        let mut first = Some(first);
        let mut on_token = |_: &str| {
            if let Some(first) = first.take() {
                first.send(()).unwrap();
            }
        };
        tokio::select! {
            answer = model.generate(Call::new(NAME, &long, &mut on_token), Timeouts::default()) => panic!("it was done at once: {answer:?}"),
            _ = said => {}
        }
        // The place is given back before the next token, without anybody having to ask for it; the story would have 1,024.
        let places = Arc::clone(&model.0.places).acquire_many_owned(all);
        let places = tokio::time::timeout(Duration::from_secs(5), places).await;
        assert!(places.is_ok_and(|places| places.is_ok()), "nobody listens, and it goes on");
    });
}

#[test]
fn an_answer_that_takes_too_long_ends_with_which_of_its_bounds_it_broke() {
    let Some(model) = &*MODEL else { return };
    let ask = |bounds, timeout| {
        let long = request("Write a very long story about a dragon and a knight.");
        let mut pieces = 0;
        let mut on_token = |_: &str| pieces += 1;
        let call = Call { timeout, ..Call::new(NAME, &long, &mut on_token) };
        let answer = runtime().block_on(model.generate(call, bounds));
        (answer.unwrap_err().to_string(), pieces)
    };
    let none = Duration::ZERO;
    let (late, pieces) = ask(Timeouts { first_byte: none, ..Timeouts::default() }, None);
    assert!(late.contains("did not begin to answer within 0 s"), "{late}");
    assert_eq!(pieces, 0);
    let (silent, pieces) = ask(Timeouts { idle: none, ..Timeouts::default() }, None);
    assert!(silent.contains("fell silent in the middle of its answer within 0 s") && pieces > 0, "{silent}");
    let (slow, _) = ask(Timeouts { total: Duration::from_secs(2), ..Timeouts::default() }, None);
    assert!(slow.contains("did not end its answer within 2 s"), "{slow}");
    let (own, _) = ask(Timeouts::default(), Some(Duration::from_secs(2)));
    assert!(own.contains("within 2 s"), "the question's own bound: {own}");
}

#[test]
fn what_a_run_says_of_how_to_answer_holds_here_as_well() {
    let Some(model) = &*MODEL else { return };
    let mut asked = request("What is the capital of France?");
    (asked.temperature, asked.max_output_tokens) = (None, Some(24));
    let ask = |options: &ModelOptions| {
        let mut on_token = |_: &str| {};
        let call = Call { options: Some(options), ..Call::new(NAME, &asked, &mut on_token) };
        runtime().block_on(model.generate(call, Timeouts::default())).unwrap()
    };
    let cold = ModelOptions { temperature: Some(Decimal::of_thousandths(0)), ..ModelOptions::default() };
    let whole = ask(&cold);
    assert!(whole.text.contains("Paris"), "{whole:?}");
    let stopped = ask(&ModelOptions { stop: vec!["aris".to_owned()], ..cold });
    assert!(whole.text.starts_with(&stopped.text) && stopped.text.ends_with('P'), "{stopped:?}");
    assert_eq!(stopped.finish_reason, FinishReason::Stop);
    let seeded = ModelOptions {
        temperature: Some(Decimal::of_thousandths(1_500)),
        top_p: Some(Decimal::of_thousandths(990)),
        seed: Some(7),
        ..ModelOptions::default()
    };
    assert_eq!(ask(&seeded).text, ask(&seeded).text);
}

#[test]
fn other_weights_are_refused_with_what_is_right() {
    let file = tempfile();
    let error = LanguageModel::load(&file).unwrap_err();
    assert!(error.contains("these are not the weights of smollm2-135m-instruct"), "{error}");
    std::fs::remove_file(file).unwrap();
}

fn tempfile() -> std::path::PathBuf {
    let path = std::env::temp_dir().join(format!("vivarium-no-weights-{}", std::process::id()));
    std::fs::write(&path, b"GGUF").unwrap();
    path
}
