//! How a model is to answer, in each vendor's words: effort, sampling, what goes back of its thoughts, what it may keep.

use std::collections::HashMap;
use std::time::Duration;

use serde_json::{Value, json};
use vivarium_domain::{
    AssistantMessage, GenerateRequest, GenerateResponse, Message, ModelError, ModelOptions, ToolMessage, Usage,
};
use vivarium_models::{Anthropic, Google, OpenAi, Provider, ProviderConfig, ProviderKind};

use crate::conversation::{Terms, ask, ask_so, config, everything, question};
use crate::server::{Play, Server};
use crate::{anthropic, google, openai};

fn hello(kind: ProviderKind) -> &'static str {
    match kind {
        ProviderKind::OpenAi => openai::HELLO,
        ProviderKind::Anthropic => anthropic::HELLO,
        ProviderKind::Google => google::HELLO,
    }
}

fn provider(config: &ProviderConfig) -> Box<dyn Provider> {
    match config.kind {
        ProviderKind::OpenAi => Box::new(OpenAi::new(config).unwrap()),
        ProviderKind::Anthropic => Box::new(Anthropic::new(config).unwrap()),
        ProviderKind::Google => Box::new(Google::new(config).unwrap()),
    }
}

fn options(json: Value) -> ModelOptions {
    serde_json::from_value(json).unwrap()
}

/// The body of a request with these options.
async fn body(kind: ProviderKind, model: &str, request: &GenerateRequest, said: Value) -> Value {
    let server = Server::playing([Play::events(hello(kind))]).await;
    let options = options(said);
    let provider = provider(&config(kind, &server));
    ask_so(provider.as_ref(), model, request, Terms { options: Some(&options), ..Terms::default() }).await.0.unwrap();
    serde_json::from_str(&server.asked_once().body).unwrap()
}

fn all() -> Value {
    json!({
        "temperature": 0.7, "topP": 0.9, "stop": ["END"], "seed": 7, "reasoningEffort": "xhigh",
        "vendor": {
            "openai": {"verbosity": "low", "service_tier": "flex", "frequency_penalty": 0.5, "parallel_tool_calls": false},
            "anthropic": {"top_k": 40, "service_tier": "standard_only"},
            "google": {"topK": 40, "presencePenalty": -0.5},
        },
    })
}

/// A body without the question.
fn settings(mut body: Value) -> Value {
    let fields = body.as_object_mut().unwrap();
    for plain in ["messages", "stream", "stream_options", "model", "contents", "max_tokens"] {
        fields.remove(plain);
    }
    body
}

#[tokio::test]
async fn each_vendor_is_told_in_its_own_words_what_its_model_takes() {
    use ProviderKind as Kind;
    let mut told = String::new();
    for (kind, model) in [
        (Kind::OpenAi, "llama3.2"),
        (Kind::OpenAi, "gpt-4o"),
        (Kind::OpenAi, "gpt-5"),
        (Kind::Anthropic, "claude-sonnet-5-5"),
        (Kind::Anthropic, "claude-haiku-4-5"),
        (Kind::Anthropic, "claude-3-5-haiku"),
        (Kind::Google, "gemini-3.8-flash"),
        (Kind::Google, "gemini-2.5-pro"),
        (Kind::Google, "gemini-2.0-flash"),
    ] {
        told.push_str(&format!("{model}: {}\n", settings(body(kind, model, &question(), all()).await)));
    }
    insta::assert_snapshot!(told, @r#"
    llama3.2: {"frequency_penalty":0.5,"parallel_tool_calls":false,"reasoning_effort":"xhigh","seed":7,"service_tier":"flex","stop":["END"],"temperature":0.7,"top_p":0.9,"verbosity":"low"}
    gpt-4o: {"frequency_penalty":0.5,"parallel_tool_calls":false,"seed":7,"service_tier":"flex","stop":["END"],"temperature":0.7,"top_p":0.9,"verbosity":"low"}
    gpt-5: {"frequency_penalty":0.5,"parallel_tool_calls":false,"reasoning_effort":"high","seed":7,"service_tier":"flex","stop":["END"],"verbosity":"low"}
    claude-sonnet-5-5: {"output_config":{"effort":"xhigh"},"service_tier":"standard_only","stop_sequences":["END"],"thinking":{"type":"adaptive"}}
    claude-haiku-4-5: {"service_tier":"standard_only","stop_sequences":["END"],"thinking":{"budget_tokens":32000,"type":"enabled"}}
    claude-3-5-haiku: {"service_tier":"standard_only","stop_sequences":["END"],"temperature":0.7,"top_k":40}
    gemini-3.8-flash: {"generationConfig":{"presencePenalty":-0.5,"seed":7,"stopSequences":["END"],"temperature":0.7,"thinkingConfig":{"thinkingLevel":"high"},"topK":40,"topP":0.9}}
    gemini-2.5-pro: {"generationConfig":{"presencePenalty":-0.5,"seed":7,"stopSequences":["END"],"temperature":0.7,"thinkingConfig":{"thinkingBudget":32768},"topK":40,"topP":0.9}}
    gemini-2.0-flash: {"generationConfig":{"presencePenalty":-0.5,"seed":7,"stopSequences":["END"],"temperature":0.7,"topK":40,"topP":0.9}}
    "#);
}

#[tokio::test]
async fn thinking_that_is_off_is_said_where_it_can_be_said() {
    use ProviderKind as Kind;
    let none = json!({"reasoningEffort": "none"});
    for (kind, model, path, expected) in [
        (Kind::OpenAi, "gpt-6-sol", "/reasoning_effort", json!("none")),
        (Kind::OpenAi, "o3", "/reasoning_effort", json!("low")),
        (Kind::Anthropic, "claude-sonnet-5-5", "/output_config/effort", json!("low")),
        (Kind::Anthropic, "claude-sonnet-4-6", "/thinking", Value::Null),
        (Kind::Anthropic, "claude-haiku-4-5", "/thinking", Value::Null),
        (Kind::Google, "gemini-2.5-flash", "/generationConfig/thinkingConfig/thinkingBudget", json!(0)),
        (Kind::Google, "gemini-3.8-flash", "/generationConfig/thinkingConfig/thinkingLevel", json!("minimal")),
    ] {
        let body = body(kind, model, &question(), none.clone()).await;
        assert_eq!(body.pointer(path).unwrap_or(&Value::Null), &expected, "{model}: {body}");
    }
}

#[tokio::test]
async fn a_thinking_budget_leaves_the_answer_its_own_room() {
    let request = GenerateRequest { max_output_tokens: Some(500), ..question() };
    let said = json!({"reasoningEffort": "low"});
    let body = body(ProviderKind::Anthropic, "claude-haiku-4-5", &request, said.clone()).await;
    assert_eq!((&body["max_tokens"], &body["thinking"]["budget_tokens"]), (&json!(4_596), &json!(4_096)));
    let server = Server::playing([]).await;
    let provider = provider(&config(ProviderKind::Anthropic, &server));
    assert_eq!(provider.most_output_tokens("claude-haiku-4-5", 500, &options(said)), 4_596, "the budget is reserved");
}

#[tokio::test]
async fn what_a_mode_asks_for_goes_before_what_the_agent_says() {
    let request = GenerateRequest { temperature: Some(0.0), ..question() };
    let body = body(ProviderKind::OpenAi, "gpt-4o", &request, json!({"temperature": 1})).await;
    assert_eq!(body["temperature"], 0.0);
}

/// Thoughts, words, more thoughts, and a tool.
const THINKS_AND_CALLS: &str = r#"data: {"type":"message_start","message":{"usage":{"input_tokens":9,"output_tokens":2}}}

data: {"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"Hm"}}

data: {"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQB=="}}

data: {"type":"content_block_stop","index":0}

data: {"type":"content_block_start","index":1,"content_block":{"type":"text","text":"Let me "}}

data: {"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"look."}}

data: {"type":"content_block_start","index":2,"content_block":{"type":"redacted_thinking","data":"opaque"}}

data: {"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_a","name":"look","input":{}}}

data: {"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{}"}}

data: {"type":"message_delta","delta":{"stop_reason":"tool_use"},"usage":{"output_tokens":89}}

data: {"type":"message_stop"}

"#;

/// The request that follows an answer with tool calls.
fn followed(answer: &GenerateResponse) -> GenerateRequest {
    let mut request = everything();
    request.messages.truncate(1);
    request.passages.clear();
    request.messages.push(Message::user("Look."));
    let said = AssistantMessage { text: answer.text.clone(), tool_calls: answer.tool_calls.clone() };
    request.messages.push(Message::Assistant(said));
    for call in &answer.tool_calls {
        let (call_id, name) = (call.id.clone(), call.name.clone());
        request.messages.push(Message::Tool(ToolMessage { call_id, name, content: "ok".into(), is_error: false }));
    }
    request
}

/// As a log keeps them.
fn kept(answer: &GenerateResponse) -> HashMap<String, Value> {
    let json = serde_json::to_string(answer).unwrap();
    let answer: GenerateResponse = serde_json::from_str(&json).unwrap();
    HashMap::from([(answer.tool_calls[0].id.clone(), answer.thoughts.unwrap())])
}

#[tokio::test]
async fn anthropics_thoughts_go_back_unchanged_and_in_their_places() {
    let server =
        Server::playing([THINKS_AND_CALLS, anthropic::HELLO, anthropic::HELLO, anthropic::HELLO].map(Play::events))
            .await;
    let provider = provider(&config(ProviderKind::Anthropic, &server));
    let model = "claude-haiku-4-5";
    let options = options(json!({"reasoningEffort": "low"}));
    let with = Terms { options: Some(&options), ..Terms::default() };
    let answer = ask_so(provider.as_ref(), model, &question(), with).await.0.unwrap();
    assert_eq!(answer.text, "Let me look.");
    let (request, thoughts) = (followed(&answer), kept(&answer));
    ask_so(provider.as_ref(), model, &request, Terms { thoughts: Some(&thoughts), ..with }).await.0.unwrap();
    // Without them, and with other words than they were with.
    ask_so(provider.as_ref(), model, &request, with).await.0.unwrap();
    let mut other_words = request.clone();
    if let Some(Message::Assistant(said)) = other_words.messages.get_mut(2) {
        said.text = "Looking.".to_owned();
    }
    ask_so(provider.as_ref(), model, &other_words, Terms { thoughts: Some(&thoughts), ..with }).await.0.unwrap();
    let bodies: Vec<Value> =
        server.asked().iter().skip(1).map(|asked| serde_json::from_str(&asked.body).unwrap()).collect();
    let (thinking, redacted) = (
        json!({"type": "thinking", "thinking": "Hm", "signature": "EqQB=="}),
        json!({"type": "redacted_thinking", "data": "opaque"}),
    );
    let call = json!({"type": "tool_use", "id": "toolu_a", "name": "look", "input": {}});
    let text = |text: &str| json!({"type": "text", "text": text});
    let said = |body: &Value| body["messages"][1]["content"].clone();
    assert_eq!(said(&bodies[0]), json!([thinking, text("Let me look."), redacted, call]));
    assert_eq!(bodies[0]["thinking"]["type"], "enabled");
    assert_eq!(said(&bodies[1]), json!([text("Let me look."), call]));
    assert!(bodies[1].get("thinking").is_none(), "without its thoughts the API refuses to go on thinking");
    assert_eq!(said(&bodies[2]), json!([thinking, redacted, text("Looking."), call]));
}

#[tokio::test]
async fn googles_signatures_survive_the_process_that_got_them() {
    let calls = r#"data: {"candidates":[{"content":{"parts":[{"functionCall":{"name":"look","args":{}},"thoughtSignature":"c2ln"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":5,"thoughtsTokenCount":40}}

"#;
    let server = Server::playing([calls, google::HELLO, google::HELLO].map(Play::events)).await;
    let config = config(ProviderKind::Google, &server);
    let answer = ask(provider(&config).as_ref(), "gemini-3.8-flash", &question()).await.0.unwrap();
    assert_eq!(answer.usage, Usage { input_tokens: 9, output_tokens: 45, reasoning_tokens: 40, ..Usage::default() });
    let (request, thoughts) = (followed(&answer), kept(&answer));
    let another = provider(&config);
    let with = Terms { thoughts: Some(&thoughts), ..Terms::default() };
    ask_so(another.as_ref(), "gemini-3.8-flash", &request, with).await.0.unwrap();
    ask(another.as_ref(), "gemini-3.8-flash", &request).await.0.unwrap();
    let signature = |at: usize| {
        let body: Value = serde_json::from_str(&server.asked()[at].body).unwrap();
        body["contents"][1]["parts"][0]["thoughtSignature"].clone()
    };
    assert_eq!((signature(1), signature(2)), (json!("c2ln"), json!("skip_thought_signature_validator")));
}

#[tokio::test]
async fn anthropics_cache_keeps_what_stands_in_front_of_the_last_turns() {
    let mut request = everything();
    request.passages.clear();
    let body = body(ProviderKind::Anthropic, "claude-sonnet-5-5", &request, json!({})).await;
    let kept = json!({"type": "ephemeral"});
    assert_eq!(body["tools"][0]["cache_control"], kept);
    assert_eq!(body["system"][0]["cache_control"], kept);
    let turns = body["messages"].as_array().unwrap();
    let marked = |turn: &Value| turn["content"].as_array().unwrap().last().unwrap()["cache_control"] == kept;
    let of_user: Vec<bool> = turns.iter().filter(|turn| turn["role"] == "user").map(marked).collect();
    assert_eq!(of_user, [true, true]);
    assert_eq!(body.to_string().matches("cache_control").count(), 4, "the API takes four marks");
}

#[tokio::test]
async fn what_comes_next_begins_with_what_came_before() {
    for (kind, model) in [
        (ProviderKind::OpenAi, "gpt-4o"),
        (ProviderKind::Anthropic, "claude-sonnet-5-5"),
        (ProviderKind::Google, "gemini-3.8-flash"),
    ] {
        let mut request = everything();
        request.passages.clear();
        request.messages.truncate(5);
        let shorter = body(kind, model, &request, json!({})).await;
        request.messages.extend([Message::assistant("A cat."), Message::user("And now?")]);
        let longer = body(kind, model, &request, json!({})).await;
        let front = |body: &Value| {
            let mut text = body[if kind == ProviderKind::Google { "contents" } else { "messages" }].to_string();
            text = text.replace(r#""cache_control":{"type":"ephemeral"},"#, "");
            (body["tools"].clone(), body["system"].clone(), body["systemInstruction"].clone(), text)
        };
        let (before, after) = (front(&shorter), front(&longer));
        assert_eq!((&before.0, &before.1, &before.2), (&after.0, &after.1, &after.2), "{kind:?}");
        assert!(after.3.starts_with(before.3.trim_end_matches(']')), "{kind:?}: {} {}", before.3, after.3);
    }
}

#[tokio::test]
async fn a_call_may_have_less_time_than_its_provider() {
    for (kind, model) in [
        (ProviderKind::OpenAi, "gpt-4o"),
        (ProviderKind::Anthropic, "claude-sonnet-5-5"),
        (ProviderKind::Google, "gemini-3.8-flash"),
    ] {
        let mut server = Server::playing([Play::nothing()]).await;
        let provider = provider(&config(kind, &server));
        let soon = Terms { timeout: Some(Duration::from_millis(50)), ..Terms::default() };
        let error = ask_so(provider.as_ref(), model, &question(), soon).await.0.unwrap_err();
        assert!(matches!(&error, ModelError::Unavailable(text) if text.contains("within 0.05 s")), "{error}");
        server.client_has_left().await;
    }
}
