//! `Idempotency-Key`: makes a request that creates something safe to repeat. A key belongs to one request of one tenant: the
//! same key with another body, or sent to another path, is a conflict and never somebody else's answer.
//!
//! The key is remembered in the batch that creates the thing, so that neither is there without the other, whenever the host
//! stops. A repeat is looked up before anything that the request names, and before anything is charged for it: the first one was
//! charged. What was refused is not remembered: it has created nothing, and the next one may try.

mod answer;
mod turns;

use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method};
use utoipa::IntoParams;
use vivarium_domain::{ContentHash, TenantId, Timestamp};
use vivarium_runs::{Idempotency, Started};
use vivarium_store::{Batch, Condition, IdempotencyRecord, Made, Write};

use crate::ApiState;
use crate::error::{ApiError, Kind};

pub(crate) use answer::Answer;
pub(crate) use turns::Turns;

/// The header's name.
pub(crate) const HEADER: &str = "Idempotency-Key";

/// The longest key.
const MAX_KEY_BYTES: usize = 255;

/// The header, in the document.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "the key is read from the headers; this says what they may hold")]
pub(crate) struct IdempotencyKey {
    /// Makes the request safe to repeat: the same key with the same request gets the first answer, and makes nothing again.
    #[param(rename = "Idempotency-Key", nullable = false, min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    key: Option<String>,
}

/// A request that makes something in a tenant: once, however often it comes with its key.
pub(crate) struct Once<'a> {
    state: &'a ApiState,
    tenant: &'a TenantId,
    idempotency: Option<Idempotency>,
}

impl<'a> Once<'a> {
    /// # Errors
    /// When the request's key is none.
    pub(crate) fn of(state: &'a ApiState, tenant: &'a TenantId, head: &Parts, body: &[u8]) -> Result<Self, ApiError> {
        Ok(Self { state, tenant, idempotency: idempotency(head, body)? })
    }

    /// What a run remembers by itself.
    pub(crate) fn of_run(&self) -> Option<Idempotency> {
        self.idempotency.clone()
    }

    /// What remembers this answer, to be written in the batch that makes what it tells of.
    pub(crate) fn remember(&self, answer: &Answer) -> Batch {
        self.memory().remember(answer)
    }

    /// What remembers an answer also where the client does not wait for it any more.
    pub(crate) fn memory(&self) -> Memory {
        Memory { idempotency: self.idempotency.clone(), kept: self.state.0.answers_kept }
    }

    /// What the first request with the key has made; without one, what `make` makes now. Requests with the same key take turns,
    /// so that those that come meanwhile find it. `make` has to write [`Once::remember`] or to give [`Once::of_run`] to its run.
    ///
    /// # Errors
    /// Those of `make`, and when the key belongs to another request.
    pub(crate) async fn or<T: Found>(&self, make: impl Future<Output = Result<T, ApiError>>) -> Result<T, ApiError> {
        let Some(idempotency) = &self.idempotency else { return make.await };
        let _turn = self.state.0.turns.turn(self.tenant, &idempotency.key).await;
        if let Some(found) = T::found(self.state, self.tenant, idempotency).await? {
            return Ok(found);
        }
        match make.await {
            Ok(made) => Ok(made),
            // A client that left had its turn ended, but not the batch that was under way: then that stood against this one.
            Err(error) => T::found(self.state, self.tenant, idempotency).await?.ok_or(error),
        }
    }
}

/// What remembers the answer to a request.
pub(crate) struct Memory {
    idempotency: Option<Idempotency>,
    kept: Duration,
}

impl Memory {
    /// What is written of this answer, if the request has a key.
    pub(crate) fn remember(&self, answer: &Answer) -> Batch {
        let Some(Idempotency { key, request_hash }) = self.idempotency.clone() else { return Batch::default() };
        let now = Timestamp::now();
        let expires_at = now.checked_add(self.kept).unwrap_or(Timestamp::MAX);
        let record = IdempotencyRecord { request_hash, made: Made::Answer(answer.kept(expires_at)), created_at: now };
        let conditions = vec![Condition::IdempotencyKeyUnused(key.clone())];
        Batch { conditions, writes: vec![Write::PutIdempotency { key, record }] }
    }
}

/// What a request with a key has made and its repeats are given.
pub(crate) trait Found: Sized {
    fn found(
        state: &ApiState,
        tenant: &TenantId,
        idempotency: &Idempotency,
    ) -> impl Future<Output = Result<Option<Self>, ApiError>> + Send;
}

impl Found for Answer {
    async fn found(state: &ApiState, tenant: &TenantId, of: &Idempotency) -> Result<Option<Self>, ApiError> {
        match state.0.store.idempotency(tenant, &of.key).await? {
            None => Ok(None),
            Some(IdempotencyRecord { request_hash, made: Made::Answer(kept), .. })
                if request_hash == of.request_hash =>
            {
                Self::again(kept).map(Some)
            }
            Some(_) => Err(ApiError::idempotency_conflict()),
        }
    }
}

impl Found for Started {
    async fn found(state: &ApiState, tenant: &TenantId, of: &Idempotency) -> Result<Option<Self>, ApiError> {
        Ok(state.0.runs.replay(tenant, of).await?)
    }
}

/// Whether a request can only be a repeat, or be refused as another one with the same key: either way it makes nothing.
pub(crate) async fn makes_nothing(
    state: &ApiState,
    tenant: &TenantId,
    method: &Method,
    headers: &HeaderMap,
) -> Result<bool, ApiError> {
    match key_of(headers) {
        Ok(Some(key)) if method == Method::POST => Ok(state.0.store.idempotency(tenant, key).await?.is_some()),
        // A key that is none, the handler refuses.
        _ => Ok(false),
    }
}

/// The `Idempotency-Key` of a request, with the hash of what it stands for.
fn idempotency(head: &Parts, body: &[u8]) -> Result<Option<Idempotency>, ApiError> {
    let Some(key) = key_of(&head.headers)? else { return Ok(None) };
    let target = head.uri.path_and_query().map_or("/", |target| target.as_str());
    // No path and no query string holds a line break, so what is hashed can be read in one way only.
    let request_hash = ContentHash::of_all(&[target.as_bytes(), b"\n", body]);
    Ok(Some(Idempotency { key: key.to_owned(), request_hash }))
}

fn key_of(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=MAX_KEY_BYTES).contains(&key.len()));
    let key = key.filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
    let key = key.filter(|_| values.next().is_none());
    let wrong = || ApiError::invalid(HEADER, format!("must be 1 to {MAX_KEY_BYTES} visible ASCII characters, once"));
    key.map(Some).ok_or_else(wrong)
}

impl ApiError {
    /// The key was used with another request.
    pub(crate) fn idempotency_conflict() -> Self {
        let message = "this Idempotency-Key was used with another body or at another address";
        Self::new(Kind::IdempotencyConflict, message).about(HEADER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::{HeaderValue, Request};

    fn hash(target: &str, body: &[u8]) -> ContentHash {
        let (head, ()) = Request::post(target).header(HEADER, "k").body(()).unwrap().into_parts();
        idempotency(&head, body).unwrap().unwrap().request_hash
    }

    #[test]
    fn a_key_stands_for_one_body_at_one_address() {
        assert_eq!(hash("/v1/runs", b"{}"), hash("/v1/runs", b"{}"));
        assert_eq!(hash("/v1/runs", b"{}"), ContentHash::of(b"/v1/runs\n{}"), "as it was hashed from the beginning");
        assert_ne!(hash("/v1/runs", b"{}"), hash("/v1/runs", b"{ }"));
        assert_ne!(hash("/v1/runs", b"{}"), hash("/v1/agent/run", b"{}"));
        assert_ne!(hash("/agents?teamId=1", b"{}"), hash("/agents?teamId=2", b"{}"));
    }

    #[test]
    fn an_answer_that_is_too_large_to_be_kept_is_refused_for_its_key() {
        let error = ApiError::from(vivarium_store::StoreError::AnswerTooLarge { bytes: 5_000_000 });
        let expected = "Idempotency-Key must be left out here: an answer of 5000000 bytes is not kept for repeats; the most is 4194304";
        assert_eq!((error.code(), error.message()), ("invalid_parameter", expected));
    }

    #[test]
    fn a_key_that_is_none_is_named() {
        for bad in [&b""[..], b"\xff", &[b'x'; 256]] {
            let value = HeaderValue::from_bytes(bad).unwrap();
            let headers = HeaderMap::from_iter([("idempotency-key".parse().unwrap(), value)]);
            assert_eq!(key_of(&headers).unwrap_err().code(), "invalid_parameter", "{bad:?}");
        }
        let mut twice = HeaderMap::new();
        twice.append("idempotency-key", HeaderValue::from_static("a"));
        twice.append("idempotency-key", HeaderValue::from_static("b"));
        assert!(key_of(&twice).is_err());
        assert!(key_of(&HeaderMap::new()).unwrap().is_none());
    }
}
