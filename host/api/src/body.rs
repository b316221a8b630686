//! A request's body: within its bound, in time, and JSON.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use vivarium_attachments::MAX_BODY_BYTES;

use crate::ApiState;
use crate::error::{ApiError, Kind};

/// The body of a request that must be JSON.
pub(crate) async fn json_bytes(state: &ApiState, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    json_within(state, headers, body, state.0.max_body_bytes).await
}

/// The same for a request that may bring files.
pub(crate) async fn json_bytes_of_files(state: &ApiState, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    json_within(state, headers, body, state.0.max_body_bytes.max(MAX_BODY_BYTES)).await
}

/// The body of a request that brings many documents: lines of JSON.
pub(crate) async fn ndjson_bytes(state: &ApiState, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    const NAMES: [&[u8]; 4] =
        [b"application/x-ndjson", b"application/ndjson", b"application/jsonl", b"application/x-jsonlines"];
    let value = headers.get(header::CONTENT_TYPE).map(|value| value.as_bytes()).unwrap_or_default();
    let essence = value.split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    if !is_json(headers) && !NAMES.iter().any(|name| essence.eq_ignore_ascii_case(name)) {
        let message = "the body must be lines of JSON: send it with Content-Type: application/x-ndjson";
        return Err(ApiError::new(Kind::UnsupportedMediaType, message));
    }
    read_body(body, state.0.max_body_bytes.max(MAX_BODY_BYTES), state.0.body_timeout).await
}

async fn json_within(state: &ApiState, headers: &HeaderMap, body: Body, max: usize) -> Result<Bytes, ApiError> {
    if !is_json(headers) {
        let message = "the body must be JSON: send it with Content-Type: application/json";
        return Err(ApiError::new(Kind::UnsupportedMediaType, message));
    }
    read_body(body, max, state.0.body_timeout).await
}

/// A whole body, within its bound and in time.
pub(crate) async fn read_body(body: Body, max: usize, patience: Duration) -> Result<Bytes, ApiError> {
    let read = tokio::time::timeout(patience, Limited::new(body, max).collect());
    let read = read.await.map_err(|_| {
        let seconds = patience.as_secs();
        ApiError::new(Kind::BodyTooSlow, format!("the body did not arrive within {seconds} s"))
    })?;
    match read {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::new(Kind::BodyTooLarge, format!("the body is larger than {max} bytes")))
        }
        Err(_) => Err(ApiError::new(Kind::InvalidRequest, "the body did not arrive whole")),
    }
}

/// A body as what it should be; the error names the field and what it takes.
pub(crate) fn json_of<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    read_json(body, serde_json::Error::to_string)
}

/// The same for a body that holds a secret: the error does not repeat anything of it.
pub(crate) fn secret_json_of<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    read_json(body, |error| {
        let text = error.to_string();
        // What serde says of a missing field names the field alone; all else may repeat a value.
        let names_a_field = error.is_data() && text.starts_with("missing field");
        if names_a_field { text } else { "is not as documented".to_owned() }
    })
}

fn read_json<'a, T: Deserialize<'a>>(body: &'a [u8], told: fn(&serde_json::Error) -> String) -> Result<T, ApiError> {
    // serde takes an array for an object, its items for the fields in order; no document of ours says so.
    if body.trim_ascii_start().starts_with(b"[") {
        return Err(ApiError::new(Kind::InvalidRequest, "the body must be a JSON object, not an array"));
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, error) = (error.path().to_string(), error.into_inner());
        match (error.is_data(), is_json_text(body)) {
            (true, _) => wrong_data(&path, &told(&error)),
            // For a number in place of a name serde has no better word than broken JSON.
            (false, true) if path != "." => wrong_data(&path, "invalid type, expected a string"),
            (false, _) => not_json(&told(&error)),
        }
    })?;
    reader.end().map_err(|error| not_json(&told(&error)))?;
    Ok(value)
}

fn is_json_text(body: &[u8]) -> bool {
    serde_json::from_slice::<serde::de::IgnoredAny>(body).is_ok()
}

fn not_json(reason: &str) -> ApiError {
    ApiError::new(Kind::InvalidRequest, format!("the body is not JSON: {reason}"))
}

/// JSON, but not what is documented: the error names the field, in the words of JSON.
fn wrong_data(path: &str, reason: &str) -> ApiError {
    let reason = in_words_of_json(reason);
    let within = |field: &str| if path == "." { field.to_owned() } else { format!("{path}.{field}") };
    if let Some((missing, _)) = quoted_after("missing field ", &reason) {
        let missing = within(missing);
        return ApiError::new(Kind::MissingParameter, format!("{missing} is required")).about(missing);
    }
    if let Some((unknown, rest)) = quoted_after("unknown field ", &reason) {
        let named = path == unknown || path.ends_with(&format!(".{unknown}"));
        let unknown = if named { path.to_owned() } else { within(unknown) };
        return ApiError::new(Kind::InvalidParameter, format!("there is no field {unknown}{rest}")).about(unknown);
    }
    match path {
        "." => ApiError::new(Kind::InvalidRequest, format!("the body is not as documented: {reason}")),
        path => ApiError::new(Kind::InvalidParameter, format!("{path}: {reason}")).about(path.to_owned()),
    }
}

/// What serde says, without the place in the text and without the names of Rust's types: the client knows neither.
fn in_words_of_json(reason: &str) -> String {
    let reason = reason.rsplit_once(" at line ").map_or(reason, |(reason, _)| reason);
    let Some((found, expected)) = reason.split_once(", expected ") else { return reason.to_owned() };
    let expected = match expected {
        "a nonzero u32" => "an integer from 1",
        "u8" | "u16" | "u32" | "u64" | "usize" => "an integer from 0",
        "f32" | "f64" => "a number",
        "a map" => "an object",
        "a sequence" => "an array",
        "variant identifier" | "identifier" => "a string",
        _ if expected.starts_with("struct ") || expected.contains("tagged enum ") => "an object",
        other => other,
    };
    let found = match found {
        "invalid type: map" => "invalid type: an object",
        "invalid type: sequence" => "invalid type: an array",
        other => other,
    };
    format!("{found}, expected {expected}")
}

/// The name that serde puts into backquotes after these words, and what it says after that.
fn quoted_after<'a>(words: &str, reason: &'a str) -> Option<(&'a str, &'a str)> {
    reason.strip_prefix(words)?.strip_prefix('`')?.split_once('`')
}

/// A field that must be an object: serde's structs are read from arrays as well, field by field in their order, which no
/// document says. (Of whole bodies that is seen to above.)
#[derive(Debug)]
pub(crate) struct Object<T>(pub(crate) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ObjectVisitor(PhantomData)).map(Self)
    }
}

/// Such a field, for `deserialize_with`.
pub(crate) fn object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    Object::deserialize(deserializer).map(|Object(value)| value)
}

/// A field that is there, be it null: what is left out stays as it is, and that is another thing. For `deserialize_with`.
pub(crate) fn given<'de, T: Deserialize<'de>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The same for one that must be an object.
pub(crate) fn given_object<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    object(deserializer).map(Some)
}

struct ObjectVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
    }
}

/// A client that names no type is believed to send JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/json")
        || (essence.len() > 5 && essence.get(essence.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case(b"+json")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::IntoResponse as _;
    use futures::FutureExt as _;
    use insta::assert_snapshot;

    use crate::error::Dialect;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what is refused is looked at")]
    struct Outer {
        inner: Inner,
        number: Option<u32>,
        way: Option<Way>,
    }

    #[derive(Debug, Deserialize)]
    enum Way {
        Up,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only what is refused is looked at")]
    struct Inner {
        name: String,
    }

    fn refused(body: &str) -> String {
        let response = json_of::<Outer>(body.as_bytes()).unwrap_err().within(Dialect::Native).into_response();
        let body = axum::body::to_bytes(response.into_body(), 10_000).now_or_never().unwrap().unwrap();
        String::from_utf8_lossy(&body).into_owned()
    }

    #[test]
    fn what_is_missing_unknown_or_of_another_type_is_named_with_its_place() {
        assert_snapshot!(refused("{}"), @r#"{"error":{"message":"inner is required","code":"missing_parameter","details":{"param":"inner"}}}"#);
        assert_snapshot!(refused(r#"{"inner":{}}"#), @r#"{"error":{"message":"inner.name is required","code":"missing_parameter","details":{"param":"inner.name"}}}"#);
        assert_snapshot!(refused(r#"{"inner":{"name":"a"},"more":1}"#), @r#"{"error":{"message":"there is no field more, expected one of `inner`, `number`, `way`","code":"invalid_parameter","details":{"param":"more"}}}"#);
        assert_snapshot!(refused(r#"{"inner":{"name":"a","more":1}}"#), @r#"{"error":{"message":"there is no field inner.more, expected `name`","code":"invalid_parameter","details":{"param":"inner.more"}}}"#);
        assert_snapshot!(refused(r#"{"inner":{"name":1}}"#), @r#"{"error":{"message":"inner.name: invalid type: integer `1`, expected a string","code":"invalid_parameter","details":{"param":"inner.name"}}}"#);
        assert_snapshot!(refused(r#"{"inner":{"name":"a"},"number":-1}"#), @r#"{"error":{"message":"number: invalid value: integer `-1`, expected an integer from 0","code":"invalid_parameter","details":{"param":"number"}}}"#);
        assert_snapshot!(refused(r#"{"inner":{"name":"a"},"inner":{"name":"a"}}"#), @r#"{"error":{"message":"the body is not as documented: duplicate field `inner`","code":"invalid_request"}}"#);
        assert_snapshot!(refused("[]"), @r#"{"error":{"message":"the body must be a JSON object, not an array","code":"invalid_request"}}"#);
        assert_snapshot!(refused(r#"{"inner":{"name":"a"},"way":7}"#), @r#"{"error":{"message":"way: invalid type, expected a string","code":"invalid_parameter","details":{"param":"way"}}}"#);
        assert_snapshot!(refused(r#"{"inner":7}"#), @r#"{"error":{"message":"inner: invalid type: integer `7`, expected an object","code":"invalid_parameter","details":{"param":"inner"}}}"#);
        assert_snapshot!(refused("3"), @r#"{"error":{"message":"the body is not as documented: invalid type: integer `3`, expected an object","code":"invalid_request"}}"#);
        assert_snapshot!(refused("{"), @r#"{"error":{"message":"the body is not JSON: EOF while parsing an object at line 1 column 1","code":"invalid_request"}}"#);
        assert_snapshot!(refused("{} {}"), @r#"{"error":{"message":"inner is required","code":"missing_parameter","details":{"param":"inner"}}}"#);
        assert_snapshot!(refused(""), @r#"{"error":{"message":"the body is not JSON: EOF while parsing a value at line 1 column 0","code":"invalid_request"}}"#);
    }
}
