//! Every way in which a server can fail, for each vendor.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use vivarium_domain::{GenerateResponse, ModelError};
use vivarium_models::{
    Anthropic, Call, Google, Limits, OpenAi, Provider, ProviderConfig, ProviderKind, Retries, Timeouts,
};

use crate::conversation::{CALL, KEY, ask, config, question};
use crate::server::{Play, Server};
use crate::{anthropic, google, openai};

const VENDORS: [(ProviderKind, &str, &str); 3] = [
    (ProviderKind::OpenAi, "gpt-4o", openai::HELLO),
    (ProviderKind::Anthropic, "claude-sonnet-5-5", anthropic::HELLO),
    (ProviderKind::Google, "gemini-3.8-flash", google::HELLO),
];

fn provider(config: &ProviderConfig) -> Arc<dyn Provider> {
    match config.kind {
        ProviderKind::OpenAi => Arc::new(OpenAi::new(config).unwrap()),
        ProviderKind::Anthropic => Arc::new(Anthropic::new(config).unwrap()),
        ProviderKind::Google => Arc::new(Google::new(config).unwrap()),
    }
}

/// The stream up to the event after which the first piece was shown.
fn begun(hello: &str) -> String {
    let end = hello.find("Hel").unwrap();
    let rest = &hello[end..];
    let event = rest.find("\n\n").map_or_else(|| rest.find("\r\n\r\n").unwrap() + 4, |end| end + 2);
    hello[..end + event].to_owned()
}

/// What is played, given a stream that has begun.
type MakePlay = fn(&str) -> Play;
/// Sets one of the timeouts.
type SetTimeout = fn(&mut Timeouts, Duration);

/// Asks a server that plays this, with quick retries unless `change` says otherwise.
async fn ask_with(
    kind: ProviderKind,
    model: &str,
    plays: Vec<Play>,
    change: impl FnOnce(&mut ProviderConfig),
) -> (Result<GenerateResponse, ModelError>, Vec<String>, Server) {
    let server = Server::playing(plays).await;
    let mut config = config(kind, &server);
    change(&mut config);
    let (answer, shown) = ask(provider(&config).as_ref(), model, &question()).await;
    (answer, shown, server)
}

fn unavailable(answer: Result<GenerateResponse, ModelError>) -> String {
    match answer {
        Err(ModelError::Unavailable(text)) => text,
        other => panic!("expected the model to be unavailable, got {other:?}"),
    }
}

#[tokio::test]
async fn what_may_pass_is_tried_again() {
    for (kind, model, hello) in VENDORS {
        let plays = vec![
            Play::json(429, r#"{"error":{"message":"slow down"}}"#).with_header("retry-after", "0"),
            Play::json(500, "<html>"),
            Play::hang_up(),
            Play::events(hello),
        ];
        let (answer, shown, server) = ask_with(kind, model, plays, |_| {}).await;
        assert!(answer.unwrap().text.starts_with("Hello"));
        assert_eq!(shown.len(), 2, "{kind:?}");
        let asked = server.asked();
        assert_eq!(asked.len(), 4);
        let keys: Vec<Option<&str>> = asked.iter().map(|asked| asked.header("idempotency-key")).collect();
        assert_eq!(keys, [Some(CALL); 4], "{kind:?}: every attempt of a call carries the same key");
    }
}

#[tokio::test]
async fn retry_after_is_waited_for_up_to_the_bound() {
    for (value, wait) in [("1", 1_000), ("3600", 1_200)] {
        let plays = vec![Play::json(529, "{}").with_header("retry-after", value), Play::events(openai::HELLO)];
        let change = |config: &mut ProviderConfig| config.retries.longest_wait = Duration::from_millis(1_200);
        let (answer, _, server) = ask_with(ProviderKind::OpenAi, "gpt-4o", plays, change).await;
        answer.unwrap();
        let asked = server.asked();
        let waited = asked[1].at.duration_since(asked[0].at);
        assert!(waited >= Duration::from_millis(wait), "{value}: {waited:?}");
    }
}

#[tokio::test]
async fn after_the_last_attempt_the_providers_words_are_told() {
    for (kind, model, _) in VENDORS {
        let plays = (0..9).map(|_| Play::json(503, r#"{"error":{"message":"down for\nrepair"}}"#)).collect();
        let change = |config: &mut ProviderConfig| config.retries = Retries { max: 2, ..config.retries };
        let (answer, _, server) = ask_with(kind, model, plays, change).await;
        let place = server.url().as_str().trim_end_matches('/').to_owned();
        let name = kind.name();
        assert_eq!(unavailable(answer), format!("{name} ({place}) failed (503); it says: down for repair"));
        assert_eq!(server.asked().len(), 3);
    }
}

#[tokio::test]
async fn what_is_our_fault_is_not_tried_again() {
    for (kind, model, _) in VENDORS {
        let plays = vec![Play::json(400, r#"{"error":{"message":"no such thing","type":"invalid_request_error"}}"#)];
        let (answer, _, server) = ask_with(kind, model, plays, |_| {}).await;
        let error = answer.unwrap_err();
        assert!(matches!(&error, ModelError::InvalidRequest(text) if text.ends_with("no such thing")), "{error}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_refused_key_names_its_variable_and_is_not_told() {
    for (kind, model, _) in VENDORS {
        for status in [401, 403] {
            let body = format!(r#"{{"error":{{"message":"Incorrect API key: {KEY}. Region?","type":"x"}}}}"#);
            let (answer, _, _) = ask_with(kind, model, vec![Play::json(status, &body)], |_| {}).await;
            let ModelError::InvalidRequest(text) = answer.unwrap_err() else { panic!("{kind:?}") };
            assert!(text.contains(kind.key_variable()) && !text.contains("0123456789"), "{text}");
        }
        let change = |config: &mut ProviderConfig| config.api_key = None;
        let (answer, _, _) = ask_with(kind, model, vec![Play::json(401, "{}")], change).await;
        let text = answer.unwrap_err().to_string();
        assert!(text.ends_with(&format!("wants a key (401): set {}", kind.key_variable())), "{text}");
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_is_an_error_and_no_short_answer() {
    for (kind, model, hello) in VENDORS {
        // Whether the connection breaks or the body ends properly, with and without half an event.
        for (place, part) in [begun(hello), begun(hello) + "data: {\"cho"].into_iter().enumerate() {
            for play in [Play::cut_after(&part), Play::events(&part)] {
                let (answer, shown, server) = ask_with(kind, model, vec![play], |_| {}).await;
                let text = unavailable(answer);
                assert!(text.ends_with("broke off in the middle of its answer"), "{kind:?} {place}: {text}");
                assert_eq!((shown.len(), server.asked().len()), (1, 1));
            }
        }
    }
}

#[tokio::test]
async fn a_stream_that_is_cut_before_anything_was_shown_is_tried_again() {
    for (kind, model, hello) in VENDORS {
        let plays = vec![Play::cut_after(": ping\n\n"), Play::events(""), Play::events(hello)];
        let (answer, shown, _) = ask_with(kind, model, plays, |_| {}).await;
        assert!(answer.unwrap().text.starts_with("Hello"));
        assert_eq!(shown.len(), 2);
    }
}

#[tokio::test]
async fn garbage_is_an_error() {
    for (kind, model, hello) in VENDORS {
        for garbage in ["data: <html>\n\n".as_bytes().to_vec(), b"data: \xFF\xFE{}\n\n".to_vec()] {
            let text = [begun(hello).into_bytes(), garbage].concat();
            let (answer, shown, _) = ask_with(kind, model, vec![Play::bytes(text)], |_| {}).await;
            let text = unavailable(answer);
            assert!(text.contains("sent an event that"), "{text}");
            assert_eq!(shown.len(), 1);
        }
    }
}

#[tokio::test]
async fn a_document_where_a_stream_was_asked_for_is_an_error() {
    for (kind, model, _) in VENDORS {
        let (answer, _, _) = ask_with(kind, model, vec![Play::json(200, r#"{"choices":[]}"#)], |_| {}).await;
        assert!(unavailable(answer).contains("where a stream of events was asked for"));
        let refusal = Play::json(200, r#"{"error":{"message":"prompt is too long"}}"#);
        let (answer, _, _) = ask_with(kind, model, vec![refusal], |_| {}).await;
        assert!(matches!(answer, Err(ModelError::ContextLengthExceeded(_))), "{kind:?}");
    }
}

#[tokio::test]
async fn an_error_in_a_stream_is_an_error() {
    for (kind, model, hello) in VENDORS {
        let event = match kind {
            ProviderKind::Anthropic => r#"{"type":"error","error":{"type":"api_error","message":"engine died"}}"#,
            _ => r#"{"error":{"message":"engine died","code":500}}"#,
        };
        let text = format!("{}data: {event}\n\ndata: [DONE]\n\n", begun(hello));
        let (answer, shown, _) = ask_with(kind, model, vec![Play::events(&text)], |_| {}).await;
        let text = unavailable(answer);
        assert!(text.ends_with("it says: engine died"), "{text}");
        assert_eq!(shown.len(), 1);
    }
}

#[tokio::test]
async fn silence_is_an_error_at_each_of_its_bounds() {
    let short = Duration::from_millis(60);
    let cases: [(MakePlay, SetTimeout, &str); 4] = [
        (|_| Play::nothing(), |timeouts, short| timeouts.first_byte = short, "did not begin to answer within 0.06 s"),
        (
            |_| Play::silent_after(""),
            |timeouts, short| timeouts.first_byte = short,
            "did not begin to answer within 0.06 s",
        ),
        (
            |text| Play::silent_after(text),
            |timeouts, short| timeouts.idle = short,
            "fell silent in the middle of its answer within 0.06 s",
        ),
        (
            |text| Play::silent_after(text),
            |timeouts, short| timeouts.total = short,
            "did not end its answer within 0.06 s",
        ),
    ];
    for (kind, model, hello) in VENDORS {
        for (play, limit, expected) in cases {
            let change = |config: &mut ProviderConfig| limit(&mut config.timeouts, short);
            let (answer, _, mut server) = ask_with(kind, model, vec![play(&begun(hello))], change).await;
            let text = unavailable(answer);
            assert!(text.ends_with(expected), "{text}");
            server.client_has_left().await;
            assert_eq!(server.asked().len(), 1, "silence is not tried again");
        }
    }
}

#[tokio::test]
async fn nobody_at_the_address_is_told_without_the_path() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let free = listener.local_addr().unwrap();
    drop(listener);
    for (kind, model, _) in VENDORS {
        let change = |config: &mut ProviderConfig| {
            config.base_url = Some(format!("http://{free}/secret-path").parse().unwrap());
            config.retries.max = 1;
        };
        let (answer, _, _) = ask_with(kind, model, Vec::new(), change).await;
        let text = unavailable(answer);
        assert!(text.contains("can not be reached") && !text.contains("secret-path"), "{text}");
    }
}

#[tokio::test]
async fn an_answer_is_bounded_in_all_its_sizes() {
    let many = (0..5).map(|n| format!(r#"{{"index":{n},"id":"c{n}","function":{{"name":"t","arguments":"{{}}"}}}}"#));
    let calls = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"tool_calls\":[{}]}}}}]}}\n\n",
        many.collect::<Vec<_>>().join(",")
    );
    let long = format!("data: {}\n\n", "x".repeat(5_000));
    let endless = ": ping\n\n".repeat(5_000);
    let limits = Limits { response_bytes: 20_000, event_bytes: 4_000, tool_calls: 4 };
    for (text, expected) in [
        (calls, "asked for more than 4 tools in one answer"),
        (long, "sent an event of more than 4000 bytes"),
        (endless, "sent an answer of more than 20000 bytes"),
    ] {
        let change = |config: &mut ProviderConfig| config.limits = limits;
        let (answer, _, server) = ask_with(ProviderKind::OpenAi, "gpt-4o", vec![Play::events(&text)], change).await;
        let error = unavailable(answer);
        assert!(error.ends_with(expected), "{error}");
        assert_eq!(server.asked().len(), 1);
    }
}

#[tokio::test]
async fn a_dropped_call_closes_its_connection() {
    for (kind, model, hello) in VENDORS {
        let mut server = Server::playing([Play::silent_after(&begun(hello))]).await;
        let provider = provider(&config(kind, &server));
        let (first, mut came) = tokio::sync::mpsc::unbounded_channel();
        let request = question();
        let mut on_token = |piece: &str| first.send(piece.to_owned()).unwrap();
        let call = provider.generate(Call::new(model, &request, &mut on_token));
        tokio::select! {
            answer = call => panic!("{answer:?}"),
            piece = came.recv() => assert!(piece.unwrap().starts_with("Hel")),
        }
        server.client_has_left().await;
    }
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let target = Server::playing([]).await;
    for (kind, model, _) in VENDORS {
        let play = Play::json(307, "").with_header("location", target.url().as_str());
        let (answer, _, _) = ask_with(kind, model, vec![play], |_| {}).await;
        assert!(matches!(answer, Err(ModelError::InvalidRequest(text)) if text.contains("redirect")), "{kind:?}");
    }
    assert!(target.asked().is_empty());
}
