//! What stands in a path where the route has a name or an id. Axum's own extractor answers a path that is not UTF-8 in
//! words of its own; here it is what it is to every client: a path where nothing is.

use axum::extract::{FromRequestParts, Path};
use axum::http::request::Parts;
use serde::de::DeserializeOwned;

use crate::error::{ApiError, Dialect, DialectError, Kind};

/// The variable segments of a path, decoded: a text, or a tuple of texts.
pub(crate) struct Segment<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Segment<T> {
    type Rejection = DialectError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, DialectError> {
        let dialect = Dialect::of_path(parts.uri.path());
        match Path::<T>::from_request_parts(parts, state).await {
            Ok(Path(segments)) => Ok(Self(segments)),
            Err(_) => {
                Err(ApiError::new(Kind::NotFound, "there is nothing at a path that is not UTF-8").within(dialect))
            }
        }
    }
}
