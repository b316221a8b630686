//! What a client asks for, from a body or a query string, checked field by field. Unknown fields are let through: the
//! document does not say that there are none, and the vendor's client may grow.

use serde::Deserialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use vivarium_domain::SessionId;
use vivarium_runs::{Idempotency, RunRequest};

use crate::error::{ApiError, Kind};
use crate::query;

/// The document's bound.
const MAX_CYCLES: u64 = 8;

/// A question, not a book: attachments and the corpus are for those.
const MAX_QUERY_BYTES: usize = 128 << 10;

const DEFAULT_MODE: &str = "research";

/// A question, as the document has it; what is checked of it, and how a fault is told, is below.
#[derive(ToSchema, IntoParams)]
#[serde(rename_all = "camelCase")]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "fields are read one by one, so that an error can name the field and what it takes")]
pub(super) struct Question {
    /// The task or question for the agent to work on: at most 128 KiB of UTF-8.
    #[schema(min_length = 1, max_length = 131072, pattern = r"\S")]
    #[param(min_length = 1, pattern = r"\S")]
    query: String,
    /// The agent's behaviour: `chat`, `research`, `coding`, or another mode that is installed. `research` if it does not say.
    #[schema(min_length = 1, default = "research")]
    #[param(min_length = 1, default = "research")]
    mode: Option<String>,
    /// Continues an earlier conversation.
    session_id: Option<SessionId>,
    /// The bound on its cycles of reasoning. If it does not say: 1 for the mode `chat`, 5 for all others.
    #[schema(minimum = 1, maximum = 8)]
    #[param(minimum = 1, maximum = 8)]
    max_cycles: Option<u32>,
}

/// A checked question.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    query: String,
    mode: String,
    session_id: Option<SessionId>,
    max_cycles: Option<u32>,
}

/// The body as JSON, its fields' types not yet checked.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", expecting = "a JSON object")]
struct Fields {
    query: Option<Value>,
    mode: Option<Value>,
    session_id: Option<Value>,
    max_cycles: Option<Value>,
}

impl Ask {
    pub(super) fn from_body(body: &[u8]) -> Result<Self, ApiError> {
        let fields: Fields = serde_json::from_slice(body).map_err(|error| {
            ApiError::new(Kind::InvalidRequest, format!("the body is not a JSON object as documented: {error}"))
        })?;
        Ok(Self {
            query: check_query(text("query", fields.query)?)?,
            mode: check_mode(text("mode", fields.mode)?)?,
            session_id: check_session(text("sessionId", fields.session_id)?)?,
            max_cycles: fields.max_cycles.map(|value| check_cycles(value.as_u64())).transpose()?,
        })
    }

    pub(super) fn from_query_string(query_string: &str) -> Result<Self, ApiError> {
        let (mut query, mut mode, mut session_id, mut max_cycles) = (None, None, None, None);
        for (name, value) in query::pairs(query_string)? {
            match name.as_str() {
                "query" => query::set_once(&mut query, "query", value)?,
                "mode" => query::set_once(&mut mode, "mode", value)?,
                "sessionId" => query::set_once(&mut session_id, "sessionId", value)?,
                "maxCycles" => query::set_once(&mut max_cycles, "maxCycles", value)?,
                _ => {}
            }
        }
        Ok(Self {
            query: check_query(query)?,
            mode: check_mode(mode)?,
            session_id: check_session(session_id)?,
            max_cycles: max_cycles.map(|text| check_cycles(digits(&text))).transpose()?,
        })
    }

    /// The run to start. Whether this tenant has the mode, starting it shows.
    pub(super) fn into_request(self, idempotency: Option<Idempotency>) -> RunRequest {
        let max_cycles = self.max_cycles.unwrap_or(if self.mode == "chat" { 1 } else { 5 });
        RunRequest {
            session_id: self.session_id,
            max_cycles: Some(max_cycles),
            idempotency,
            ..RunRequest::new(self.mode, self.query)
        }
    }
}

fn text(param: &'static str, value: Option<Value>) -> Result<Option<String>, ApiError> {
    match value {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(ApiError::invalid(param, "must be a string")),
    }
}

fn check_query(query: Option<String>) -> Result<String, ApiError> {
    let query = query.ok_or_else(|| ApiError::missing("query"))?;
    if query.trim().is_empty() {
        return Err(ApiError::invalid("query", "must not be empty"));
    }
    if query.len() > MAX_QUERY_BYTES {
        return Err(ApiError::invalid(
            "query",
            format!("must be at most {MAX_QUERY_BYTES} bytes of UTF-8, not {}", query.len()),
        ));
    }
    Ok(query)
}

fn check_mode(mode: Option<String>) -> Result<String, ApiError> {
    match mode {
        None => Ok(DEFAULT_MODE.to_owned()),
        Some(mode) if mode.is_empty() => Err(ApiError::invalid("mode", "must not be empty")),
        Some(mode) => Ok(mode),
    }
}

fn check_session(session: Option<String>) -> Result<Option<SessionId>, ApiError> {
    let parse = |text: String| {
        text.parse().map_err(|_| ApiError::invalid("sessionId", "must be 1 to 128 visible ASCII characters"))
    };
    session.map(parse).transpose()
}

fn digits(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn check_cycles(cycles: Option<u64>) -> Result<u32, ApiError> {
    cycles
        .filter(|cycles| (1..=MAX_CYCLES).contains(cycles))
        .and_then(|cycles| u32::try_from(cycles).ok())
        .ok_or_else(|| ApiError::invalid("maxCycles", format!("must be an integer from 1 to {MAX_CYCLES}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use futures::FutureExt as _;
    use insta::assert_snapshot;
    use proptest::prelude::*;

    use crate::error::Dialect;

    /// Status and body as the client sees them.
    fn shown(refused: Result<Ask, ApiError>) -> String {
        let response = refused.unwrap_err().within(Dialect::Assisters).into_response();
        let status = response.status().as_u16();
        let body = axum::body::to_bytes(response.into_body(), 10_000).now_or_never().unwrap().unwrap();
        format!("{status} {}", String::from_utf8_lossy(&body))
    }

    fn body(text: &str) -> String {
        shown(Ask::from_body(text.as_bytes()))
    }

    fn query_string(text: &str) -> String {
        shown(Ask::from_query_string(text))
    }

    #[test]
    fn a_missing_or_empty_query_is_named() {
        assert_snapshot!(body("{}"), @r#"400 {"error":{"message":"query is required","type":"invalid_request_error","code":"missing_parameter","param":"query"}}"#);
        assert_snapshot!(body(r#"{"query":null}"#), @r#"400 {"error":{"message":"query is required","type":"invalid_request_error","code":"missing_parameter","param":"query"}}"#);
        assert_snapshot!(body(r#"{"query":" \n"}"#), @r#"400 {"error":{"message":"query must not be empty","type":"invalid_request_error","code":"invalid_parameter","param":"query"}}"#);
        assert_snapshot!(body(r#"{"query":7}"#), @r#"400 {"error":{"message":"query must be a string","type":"invalid_request_error","code":"invalid_parameter","param":"query"}}"#);
        assert_eq!(query_string("mode=chat"), body("{}"));
        assert_eq!(query_string("query="), body(r#"{"query":""}"#));
    }

    #[test]
    fn a_bad_number_of_cycles_is_named_in_the_body_and_in_the_query_string() {
        let expected = r#"400 {"error":{"message":"maxCycles must be an integer from 1 to 8","type":"invalid_request_error","code":"invalid_parameter","param":"maxCycles"}}"#;
        for bad in ["0", "9", "-1", "1.5", "\"x\"", "\"3\"", "true", "[]", "1e40", "99999999999999999999"] {
            assert_eq!(body(&format!(r#"{{"query":"q","maxCycles":{bad}}}"#)), expected, "{bad}");
        }
        for bad in ["0", "9", "-1", "1.5", "x", "", "%2B3", "99999999999999999999"] {
            assert_eq!(query_string(&format!("query=q&maxCycles={bad}")), expected, "{bad}");
        }
    }

    #[test]
    fn broken_json_and_other_shapes_are_refused_with_the_place() {
        assert_snapshot!(body(r#"{"query":"#), @r#"400 {"error":{"message":"the body is not a JSON object as documented: EOF while parsing a value at line 1 column 9","type":"invalid_request_error","code":"invalid_request","param":null}}"#);
        assert_snapshot!(body(r#"{"query":"a","query":"b"}"#), @r#"400 {"error":{"message":"the body is not a JSON object as documented: duplicate field `query` at line 1 column 20","type":"invalid_request_error","code":"invalid_request","param":null}}"#);
        for bad in ["", "null", "3", "\"q\"", "\u{0}", "{\"query\":\"\\ud800\"}"] {
            assert!(body(bad).starts_with("400 "), "{bad:?}");
        }
        assert!(shown(Ask::from_body(b"{\"query\":\"\xff\"}")).starts_with("400 "));
        assert!(shown(Ask::from_body("[".repeat(10_000).as_bytes())).starts_with("400 "));
    }

    #[test]
    fn sessions_modes_and_lengths_are_checked() {
        assert_snapshot!(body(r#"{"query":"q","sessionId":"a b"}"#), @r#"400 {"error":{"message":"sessionId must be 1 to 128 visible ASCII characters","type":"invalid_request_error","code":"invalid_parameter","param":"sessionId"}}"#);
        assert_snapshot!(body(r#"{"query":"q","mode":""}"#), @r#"400 {"error":{"message":"mode must not be empty","type":"invalid_request_error","code":"invalid_parameter","param":"mode"}}"#);
        assert_snapshot!(query_string("query=a&query=b"), @r#"400 {"error":{"message":"query is given more than once","type":"invalid_request_error","code":"invalid_parameter","param":"query"}}"#);
        let long = "x".repeat(MAX_QUERY_BYTES + 1);
        assert!(query_string(&format!("query={long}")).contains("must be at most"));
        assert_eq!(query_string("query=q&sessionId="), query_string("query=q&sessionId=%20"));
    }

    #[test]
    fn what_is_well_formed_is_taken_and_unknown_fields_are_let_through() {
        let ask = Ask {
            query: "q ü".into(),
            mode: "coding".into(),
            session_id: Some("s-1".parse().unwrap()),
            max_cycles: Some(8),
        };
        let body = r#"{"query":"q ü","mode":"coding","sessionId":"s-1","maxCycles":8,"stream":true,"x":{"y":[]}}"#;
        assert_eq!(Ask::from_body(body.as_bytes()).unwrap(), ask);
        assert_eq!(
            Ask::from_query_string("query=q+%C3%BC&mode=coding&sessionId=s-1&maxCycles=8&x=1&x=2").unwrap(),
            ask
        );
        let nulls = r#"{"query":"q","mode":null,"sessionId":null,"maxCycles":null}"#;
        assert_eq!(Ask::from_body(nulls.as_bytes()).unwrap(), Ask::from_query_string("query=q").unwrap());
    }

    #[test]
    fn the_default_cycles_depend_on_the_mode() {
        let cycles = |query_string: &str| Ask::from_query_string(query_string).unwrap().into_request(None).max_cycles;
        assert_eq!(cycles("query=q"), Some(5));
        assert_eq!(cycles("query=q&mode=chat"), Some(1));
        assert_eq!(cycles("query=q&mode=chat&maxCycles=2"), Some(2));
    }

    proptest! {
        #[test]
        fn no_body_panics(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _any = Ask::from_body(&bytes);
        }
    }
}
