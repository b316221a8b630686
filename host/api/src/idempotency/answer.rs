//! An answer that can be given again, byte for byte.

use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use serde::Serialize;
use vivarium_domain::Timestamp;
use vivarium_store::KeptAnswer;

use crate::error::ApiError;

/// What a request that makes something answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// As JSON.
    pub(crate) fn json(status: StatusCode, body: &impl Serialize) -> Self {
        // Types of ours, of texts, numbers, lists and objects, can all be written.
        let body = serde_json::to_vec(body).unwrap_or_default().into();
        Self { status, headers: HeaderMap::new(), body }
    }

    /// With one header more, if that can be one.
    pub(crate) fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }

    pub(super) fn kept(&self, expires_at: Timestamp) -> KeptAnswer {
        let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        KeptAnswer {
            status: self.status.as_u16(),
            headers: self.headers.iter().map(|(name, value)| (name.to_string(), text(value))).collect(),
            body: String::from_utf8_lossy(&self.body).into_owned(),
            expires_at,
        }
    }

    pub(super) fn again(kept: KeptAnswer) -> Result<Self, ApiError> {
        let status = StatusCode::from_u16(kept.status).map_err(|_| ApiError::internal())?;
        let pairs = kept.headers.into_iter().map(|(name, value)| Some((name.parse().ok()?, value.parse().ok()?)));
        let headers = pairs.collect::<Option<HeaderMap>>().ok_or_else(ApiError::internal)?;
        Ok(Self { status, headers, body: kept.body.into() })
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let json = [(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))];
        (self.status, json, self.headers, self.body).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_kept_is_the_same_answer() {
        let body = serde_json::json!({"id": "1", "text": "caf\u{e9}\u{0}\"\\"});
        let answer = Answer::json(StatusCode::CREATED, &body).with(header::LOCATION, "/v1/things/1");
        let answer = answer.with(header::ETAG, "\"1\"");
        assert_eq!(Answer::again(answer.kept(Timestamp::UNIX_EPOCH)).unwrap(), answer);
    }
}
