//! A request's body: within its bound, in time, and JSON.

use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde::Deserialize;
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
        wrong_json(&path, &told(&error), error.is_data())
    })?;
    reader.end().map_err(|error| wrong_json(".", &told(&error), false))?;
    Ok(value)
}

fn wrong_json(path: &str, reason: &str, of_data: bool) -> ApiError {
    if !of_data {
        return ApiError::new(Kind::InvalidRequest, format!("the body is not JSON: {reason}"));
    }
    let within = |field: &str| if path == "." { field.to_owned() } else { format!("{path}.{field}") };
    if let Some(missing) = quoted_after("missing field ", reason) {
        let missing = within(missing);
        return ApiError::new(Kind::MissingParameter, format!("{missing} is required")).about(missing);
    }
    match (path, quoted_after("unknown field ", reason)) {
        (".", Some(unknown)) => ApiError::new(Kind::InvalidParameter, reason.to_owned()).about(unknown.to_owned()),
        (".", None) => ApiError::new(Kind::InvalidRequest, format!("the body is not as documented: {reason}")),
        (path, _) => ApiError::new(Kind::InvalidParameter, format!("{path}: {reason}")).about(path.to_owned()),
    }
}

/// The name that serde puts into backquotes after these words.
fn quoted_after<'a>(words: &str, reason: &'a str) -> Option<&'a str> {
    reason.strip_prefix(words)?.strip_prefix('`')?.split_once('`').map(|(name, _)| name)
}

/// A client that names no type is believed to send JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/json")
        || (essence.len() > 5 && essence.get(essence.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case(b"+json")))
}
