//! What a provider's refusal means: which kind of error it is, whether another attempt may help, and how it is told to a
//! person without telling the key. Vendors and the servers that imitate them agree on nothing here, so their bodies are
//! read loosely.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;

use crate::ModelError;

/// Why an attempt failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Another attempt would fail, too.
    Final(ModelError),
    /// Another attempt may help, after so long if the provider said so.
    Retry { error: ModelError, after: Option<Duration> },
}

impl Fault {
    pub(crate) fn retry(error: ModelError) -> Self {
        Self::Retry { error, after: None }
    }

    pub(crate) fn into_error(self) -> ModelError {
        match self {
            Self::Final(error) | Self::Retry { error, .. } => error,
        }
    }
}

/// Who was asked: all that error texts say of it.
#[derive(Debug, Clone)]
pub(crate) struct Who {
    pub(crate) provider: String,
    /// Scheme, host and port.
    pub(crate) place: String,
    pub(crate) key: Option<SecretString>,
    pub(crate) key_variable: String,
}

/// The longest piece of a provider's own words that is handed on.
const MAX_MESSAGE_CHARS: usize = 500;

impl Who {
    /// `provider (place)`.
    pub(crate) fn called(&self) -> String {
        format!("{} ({})", self.provider, self.place)
    }

    pub(crate) fn unavailable(&self, what: impl std::fmt::Display) -> ModelError {
        ModelError::Unavailable(format!("{} {what}", self.called()))
    }

    /// A provider's words, fit to be shown: one line, bounded, without the key or what looks like one.
    pub(crate) fn scrub(&self, words: &str) -> String {
        let mut text = words.to_owned();
        if let Some(key) = self.key.as_ref().map(|key| key.expose_secret()).filter(|key| !key.is_empty()) {
            text = text.replace(key, "[key]");
        }
        let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
        let mut line = String::new();
        for word in words {
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(if self.like_a_key(word) { "[key]" } else { word });
        }
        match line.char_indices().nth(MAX_MESSAGE_CHARS) {
            Some((end, _)) => format!("{}…", line.get(..end).unwrap_or_default()),
            None => line,
        }
    }

    /// Providers echo a key with its middle starred out: still more of it than anybody should see.
    fn like_a_key(&self, word: &str) -> bool {
        const STARTS: [&str; 4] = ["sk-", "AIza", "gsk_", "key-"];
        let bare = word.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
        let known_start = self.key.as_ref().and_then(|key| key.expose_secret().get(..6));
        bare.len() > 6
            && (STARTS.iter().any(|start| bare.starts_with(start))
                || known_start.is_some_and(|start| bare.contains(start)))
    }
}

/// A refusal in a provider's own words.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Refusal {
    message: String,
    /// `type`, `status`, `code` and `reason`, whichever there are.
    codes: Vec<String>,
    /// A code that is a number: an HTTP status.
    number: Option<u16>,
    after: Option<Duration>,
}

impl Refusal {
    /// Reads a body. What is no JSON is its own message.
    pub(crate) fn of_body(body: &[u8]) -> Self {
        match serde_json::from_slice::<Value>(body) {
            Ok(value) => Self::of_json(&value),
            Err(_) => Self { message: String::from_utf8_lossy(body).into_owned(), ..Self::default() },
        }
    }

    /// Reads the JSON of an error that stands in an event.
    pub(crate) fn of_text(json: &str) -> Self {
        Self::of_body(json.as_bytes())
    }

    /// Reads `{"error": {…}}`, `{"error": "…"}`, `[{"error": …}]`, `{"message": …}` and `{"detail": …}`.
    pub(crate) fn of_json(value: &Value) -> Self {
        let value = value.as_array().and_then(|list| list.first()).unwrap_or(value);
        let error = value.get("error").unwrap_or(value);
        let message = match error {
            Value::String(text) => text.clone(),
            _ => ["message", "detail", "error"]
                .iter()
                .find_map(|name| error.get(name))
                .map(|text| text.as_str().map_or_else(|| text.to_string(), ToOwned::to_owned))
                .unwrap_or_default(),
        };
        let mut refusal = Self { message, ..Self::default() };
        for name in ["type", "status", "code"] {
            match error.get(name) {
                Some(Value::String(text)) => refusal.codes.push(text.clone()),
                Some(Value::Number(number)) => {
                    refusal.number = number.as_u64().and_then(|code| u16::try_from(code).ok())
                }
                _ => {}
            }
        }
        for detail in error.get("details").and_then(Value::as_array).into_iter().flatten() {
            refusal.codes.extend(detail.get("reason").and_then(Value::as_str).map(ToOwned::to_owned));
            let delay = detail.get("retryDelay").and_then(Value::as_str).and_then(|text| text.strip_suffix('s'));
            refusal.after = refusal.after.or_else(|| delay.and_then(seconds));
        }
        refusal
    }

    fn has_code(&self, code: &str) -> bool {
        self.codes.iter().any(|one| one.eq_ignore_ascii_case(code))
    }

    fn says(&self, parts: &[&str]) -> bool {
        let lower = self.message.to_lowercase();
        parts.iter().any(|part| lower.contains(part))
    }

    /// What an answer with this status and these headers means.
    pub(crate) fn fault_of_status(mut self, who: &Who, status: StatusCode, headers: &HeaderMap) -> Fault {
        self.number = Some(status.as_u16());
        self.after = retry_after(headers, jiff::Timestamp::now()).or(self.after);
        self.fault(who)
    }

    /// What it means, in the middle of a stream or, with `number` set, as an answer's status.
    pub(crate) fn fault(self, who: &Who) -> Fault {
        let (name, words) = (who.called(), who.scrub(&self.message));
        let status = self.number.map(|number| format!(" ({number})")).unwrap_or_default();
        let said = if words.is_empty() { "it gives no reason".to_owned() } else { format!("it says: {words}") };
        if self.is_about_the_key() {
            return Fault::Final(ModelError::InvalidRequest(key_sentence(who, &status, self.number, &said)));
        }
        if self.is_about_money() {
            let text = format!("{name} refuses because of its quota or billing{status}; {said}");
            return Fault::Final(ModelError::Unavailable(text));
        }
        if self.may_pass() {
            let error = ModelError::Unavailable(format!("{name} failed{status}; {said}"));
            return Fault::Retry { error, after: self.after };
        }
        let text = format!("{name} answered with an error{status}; {said}");
        Fault::Final(if self.is_too_long() {
            ModelError::ContextLengthExceeded(text)
        } else if self.is_policy() {
            ModelError::ContentPolicy(text)
        } else if self.says(&["does not support tools", "does not support image", "does not support vision"]) {
            ModelError::Unsupported(text)
        } else {
            ModelError::InvalidRequest(text)
        })
    }

    fn is_about_the_key(&self) -> bool {
        const CODES: [&str; 5] =
            ["authentication_error", "permission_error", "invalid_api_key", "API_KEY_INVALID", "UNAUTHENTICATED"];
        matches!(self.number, Some(401 | 403)) || CODES.iter().any(|code| self.has_code(code))
    }

    fn is_about_money(&self) -> bool {
        self.has_code("insufficient_quota") || self.has_code("billing_error") || self.number == Some(402)
    }

    fn may_pass(&self) -> bool {
        const PASSING: [&str; 9] = [
            "overloaded_error",
            "api_error",
            "rate_limit_error",
            "rate_limit_exceeded",
            "server_error",
            "timeout_error",
            "UNAVAILABLE",
            "RESOURCE_EXHAUSTED",
            "INTERNAL",
        ];
        match self.number {
            Some(408 | 409 | 425 | 429 | 500..=599) => true,
            Some(400..=499) => false,
            _ if PASSING.iter().any(|code| self.has_code(code)) => true,
            // In a stream, with no code that is known: whose fault it is can not be seen from a text that is about neither.
            _ => !self.is_too_long() && !self.is_policy() && !self.has_code("invalid_request_error"),
        }
    }

    fn is_too_long(&self) -> bool {
        self.number == Some(413)
            || self.has_code("context_length_exceeded")
            || self.has_code("exceed_context_size_error")
            || self.says(&[
                "context length",
                "context window",
                "context size",
                "maximum context",
                "prompt is too long",
                "input token count",
                "input is too long",
                "exceeds the maximum number of tokens",
                "reduce the length",
            ])
    }

    fn is_policy(&self) -> bool {
        ["content_filter", "content_policy_violation", "moderation_blocked"].iter().any(|code| self.has_code(code))
            || self.says(&[
                "content policy",
                "content management policy",
                "usage policies",
                "usage policy",
                "safety system",
            ])
    }
}

fn key_sentence(who: &Who, status: &str, number: Option<u16>, said: &str) -> String {
    let (name, variable) = (who.called(), &who.key_variable);
    // What a provider says of a wrong key is the key; of a missing permission, which one.
    let said = if number == Some(403) { format!("; {said}") } else { String::new() };
    if who.key.is_none() {
        format!("{name} wants a key{status}: set {variable}{said}")
    } else {
        format!("{name} refused the key{status}: set {variable} to a key that is valid there{said}")
    }
}

/// What `Retry-After` asks for, in seconds or as a date; OpenAI also sends milliseconds.
fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(milliseconds) = text("retry-after-ms").and_then(|text| text.parse::<u64>().ok()) {
        return Some(Duration::from_millis(milliseconds));
    }
    let value = text("retry-after")?;
    seconds(value).or_else(|| {
        let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
        Some(Duration::try_from(date.duration_since(now)).unwrap_or(Duration::ZERO))
    })
}

fn seconds(text: &str) -> Option<Duration> {
    text.parse::<f64>().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    const KEY: &str = "sk-proj-0123456789abcdef";

    fn who() -> Who {
        Who {
            provider: "openai".to_owned(),
            place: "https://api.openai.com".to_owned(),
            key: Some(KEY.into()),
            key_variable: "OPENAI_API_KEY".to_owned(),
        }
    }

    fn fault(status: u16, body: &Value) -> Fault {
        let status = StatusCode::from_u16(status).unwrap();
        Refusal::of_body(body.to_string().as_bytes()).fault_of_status(&who(), status, &HeaderMap::new())
    }

    fn kind(fault: &Fault) -> &'static str {
        match fault {
            Fault::Retry { .. } => "retry",
            Fault::Final(ModelError::InvalidRequest(_)) => "invalid",
            Fault::Final(ModelError::ContextLengthExceeded(_)) => "too long",
            Fault::Final(ModelError::ContentPolicy(_)) => "policy",
            Fault::Final(ModelError::Unsupported(_)) => "unsupported",
            Fault::Final(_) => "other",
        }
    }

    #[test]
    fn each_vendors_refusals_get_their_kind() {
        let cases = [
            (
                400,
                json!({"error": {"message": "m", "type": "invalid_request_error", "code": "context_length_exceeded"}}),
                "too long",
            ),
            (
                400,
                json!({"type": "error", "error": {"type": "invalid_request_error", "message": "prompt is too long: 210000 tokens > 200000 maximum"}}),
                "too long",
            ),
            (
                400,
                json!({"error": {"code": 400, "message": "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).", "status": "INVALID_ARGUMENT"}}),
                "too long",
            ),
            (
                400,
                json!({"error": {"code": 400, "type": "exceed_context_size_error", "message": "the request exceeds the available context size"}}),
                "too long",
            ),
            (
                400,
                json!({"object": "error", "message": "This model's maximum context length is 4096 tokens", "type": "BadRequestError", "code": 400}),
                "too long",
            ),
            (413, json!({"type": "error", "error": {"type": "request_too_large", "message": "too large"}}), "too long"),
            (
                400,
                json!({"error": {"message": "triggered our content management policy", "code": "content_filter"}}),
                "policy",
            ),
            (
                400,
                json!({"error": {"message": "Your request was rejected by our safety system", "code": "moderation_blocked"}}),
                "policy",
            ),
            (400, json!({"error": "registry.ollama.ai/library/x does not support tools"}), "unsupported"),
            (404, json!({"error": {"message": "The model `x` does not exist", "code": "model_not_found"}}), "invalid"),
            (
                400,
                json!([{"error": {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}}]),
                "invalid",
            ),
            (
                429,
                json!({"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}),
                "other",
            ),
            (
                429,
                json!({"error": {"message": "Rate limit reached: context window", "code": "rate_limit_exceeded"}}),
                "retry",
            ),
            (529, json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}), "retry"),
            (500, json!({"detail": "x"}), "retry"),
        ];
        for (status, body, expected) in cases {
            assert_eq!(kind(&fault(status, &body)), expected, "{body}");
        }
    }

    #[test]
    fn a_refusal_in_a_stream_is_tried_again_unless_it_is_ours() {
        let of = |value: Value| Refusal::of_json(&value).fault(&who());
        assert_eq!(kind(&of(json!({"error": {"type": "overloaded_error", "message": "Overloaded"}}))), "retry");
        assert_eq!(kind(&of(json!({"error": {"message": "something", "code": 503}}))), "retry");
        assert_eq!(
            kind(&of(json!({"error": {"code": 400, "message": "exceeds the available context size"}}))),
            "too long"
        );
        assert_eq!(kind(&of(json!({"error": {"type": "invalid_request_error", "message": "no"}}))), "invalid");
        assert_eq!(kind(&of(json!({"error": "out of memory"}))), "retry");
    }

    #[test]
    fn a_wrong_key_names_the_variable_and_never_the_key() {
        let echo = format!("Incorrect API key provided: {KEY}. You can find sk-proj-****cdef at 'sk-proj-01234'.");
        for status in [401, 403] {
            let text = fault(status, &json!({"error": {"message": echo}})).into_error().to_string();
            assert!(text.contains("OPENAI_API_KEY"), "{text}");
            assert!(!text.contains("0123") && !text.contains("cdef"), "{text}");
        }
    }

    #[test]
    fn a_key_of_any_form_is_taken_out_whole() {
        let odd = Who { key: Some("k 1".into()), ..who() };
        assert_eq!(odd.scrub("wrong key:\nk 1!"), "wrong key: [key]!");
    }

    #[test]
    fn retry_after_is_read_in_each_form() {
        let now: jiff::Timestamp = "2026-11-22T01:00:00Z".parse().unwrap();
        let read = |name: &'static str, value: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(name, value.parse().unwrap());
            retry_after(&headers, now)
        };
        assert_eq!(read("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(read("retry-after", "0.25"), Some(Duration::from_millis(250)));
        assert_eq!(read("retry-after", "Sun, 22 Nov 2026 01:00:09 GMT"), Some(Duration::from_secs(9)));
        assert_eq!(read("retry-after", "Sun, 22 Nov 2026 00:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("retry-after-ms", "30"), Some(Duration::from_millis(30)));
        for nonsense in ["soon", "-1", "NaN", "1e300"] {
            assert_eq!(read("retry-after", nonsense), None, "{nonsense}");
        }
        let google = json!({"error": {"details": [{"@type": "RetryInfo", "retryDelay": "12.5s"}]}});
        assert_eq!(Refusal::of_json(&google).after, Some(Duration::from_millis(12_500)));
    }

    proptest! {
        #[test]
        fn no_text_gets_the_key_through(before in ".{0,20}", after in ".{0,20}") {
            let text = who().scrub(&format!("{before}{KEY}{after}"));
            prop_assert!(!text.contains("0123456789"), "{}", text);
        }
    }
}
