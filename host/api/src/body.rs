//! A request's body: within its bound, in time, and JSON.

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};

use crate::ApiState;
use crate::error::{ApiError, Kind};

/// The body of a request that must be JSON.
pub(crate) async fn json_bytes(state: &ApiState, headers: &HeaderMap, body: Body) -> Result<Bytes, ApiError> {
    if !is_json(headers) {
        let message = "the body must be JSON: send it with Content-Type: application/json";
        return Err(ApiError::new(Kind::UnsupportedMediaType, message));
    }
    let max = state.0.max_body_bytes;
    let read = tokio::time::timeout(state.0.body_timeout, Limited::new(body, max).collect());
    let read = read.await.map_err(|_| {
        let seconds = state.0.body_timeout.as_secs();
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

/// A client that names no type is believed to send JSON.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return true };
    let essence = value.as_bytes().split(|&byte| byte == b';').next().unwrap_or_default().trim_ascii();
    essence.eq_ignore_ascii_case(b"application/json")
        || (essence.len() > 5 && essence.get(essence.len() - 5..).is_some_and(|end| end.eq_ignore_ascii_case(b"+json")))
}
