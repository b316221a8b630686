//! The HTTP under all vendors: one pooled client per provider, one POST whose answer is a stream of events, bounded in
//! time and size, and made again where that can help.
//!
//! An answer of a model costs money and may have been shown in part. So an attempt is made again only after a failure
//! that may pass, only while nothing of it was shown, and never because of silence: whoever was silent for minutes
//! would be so again.

use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, Request, Response};
use secrecy::ExposeSecret as _;
use serde::de::DeserializeOwned;
use tokio::time::{Instant, timeout, timeout_at};
use url::Url;
use vivarium_domain::GenerateResponse;

use crate::answer::{Answer, cut_off};
use crate::config::{ConfigError, Limits, ProviderConfig, Retries, Timeouts};
use crate::fault::{Fault, Refusal, Who};
use crate::sse::{Sse, SseError};
use crate::{Call, ModelError};

/// Whether more is to come of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Go on reading.
    More,
    /// That was the last event.
    Done,
}

/// A vendor's way of telling an answer in events. A fresh one reads each attempt.
pub(crate) trait EventReader: Send {
    /// Reads one event's data.
    fn event(&mut self, data: &str, answer: &mut Answer<'_>, who: &Who) -> Result<Step, Fault>;
}

/// On which terms a call is made.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Terms<'a> {
    idempotency_key: Option<&'a str>,
    /// In the place of the provider's own bounds on an attempt.
    timeout: Option<Duration>,
}

impl<'a> Terms<'a> {
    pub(crate) fn of(call: &Call<'a>) -> Self {
        Self { idempotency_key: call.idempotency_key, timeout: call.timeout }
    }
}

/// How a vendor wants the key.
#[derive(Debug, Clone)]
pub(crate) struct KeyHeader {
    pub(crate) name: HeaderName,
    /// What stands before the key, such as `Bearer `.
    pub(crate) before: &'static str,
}

/// The way to one provider.
pub(crate) struct Wire {
    client: Client,
    headers: HeaderMap,
    endpoint: Url,
    who: Who,
    timeouts: Timeouts,
    limits: Limits,
    retries: Retries,
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// How much of a refusal is read, and how long it is waited for.
const REFUSAL_BYTES: usize = 64 << 10;
const REFUSAL_TIME: Duration = Duration::from_secs(5);
/// How much a list of models may hold.
const LIST_BYTES: usize = 8 << 20;
/// What a server may still send after the last event for its connection to be used again.
const TAIL_BYTES: usize = 64 << 10;
const TAIL_TIME: Duration = Duration::from_secs(1);

impl Wire {
    pub(crate) fn new(config: &ProviderConfig, key: KeyHeader, extra: HeaderMap) -> Result<Self, ConfigError> {
        let endpoint = config.endpoint()?;
        let who = Who {
            provider: config.name.clone(),
            place: endpoint.origin().ascii_serialization(),
            key: config.api_key.clone(),
            key_variable: config.key_variable.clone(),
        };
        let mut headers = extra;
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(secret) = &config.api_key {
            let mut value = HeaderValue::from_str(&format!("{}{}", key.before, secret.expose_secret()))
                .map_err(|_| ConfigError::Key { variable: config.key_variable.clone() })?;
            value.set_sensitive(true);
            headers.insert(key.name, value);
        }
        let client = client(config, &endpoint)?;
        let (timeouts, limits, retries) = (config.timeouts, config.limits, config.retries);
        Ok(Self { client, headers, endpoint, who, timeouts, limits, retries })
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The endpoint's host and port.
    pub(crate) fn server(&self) -> Option<(&str, u16)> {
        Some((self.endpoint.host_str()?, self.endpoint.port_or_known_default()?))
    }

    /// The address of a path below the endpoint.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut url = self.endpoint.clone();
        url.set_path(&format!("{}/{path}", self.endpoint.path().trim_end_matches('/')));
        url
    }

    /// Posts `body` and reads the answer's events with a reader of `read`, in as many attempts as it takes and may take.
    pub(crate) async fn ask<R: EventReader>(
        &self,
        url: &Url,
        body: Vec<u8>,
        terms: Terms<'_>,
        mut answer: Answer<'_>,
        read: impl Fn() -> R + Send + Sync,
    ) -> Result<GenerateResponse, ModelError> {
        let body = Bytes::from(body);
        let mut failures = 0;
        loop {
            let one = self.attempt(url, body.clone(), terms, &mut answer, read());
            let total = terms.timeout.unwrap_or(self.timeouts.total);
            let result = match timeout(total, one).await {
                Ok(result) => result,
                Err(_) => Err(Fault::Final(self.slow("did not end its answer", total))),
            };
            let fault = match result {
                Ok(response) => return Ok(response),
                Err(fault) => fault,
            };
            let (error, after) = match fault {
                Fault::Retry { error, after } if !answer.shown() && failures < self.retries.max => (error, after),
                fault => return Err(fault.into_error()),
            };
            let wait = wait_before_retry(&self.retries, failures, after);
            failures += 1;
            tracing::warn!(
                provider = self.who.provider,
                failures,
                wait_ms = wait.as_millis(),
                "a model call failed and is made again: {error}"
            );
            tokio::time::sleep(wait).await;
            answer.reset();
        }
    }

    async fn attempt<R: EventReader>(
        &self,
        url: &Url,
        body: Bytes,
        terms: Terms<'_>,
        answer: &mut Answer<'_>,
        mut reader: R,
    ) -> Result<GenerateResponse, Fault> {
        let mut request = Request::new(Method::POST, url.clone());
        request.headers_mut().clone_from(&self.headers);
        // Ours are visible ASCII; another one is no header.
        if let Some(key) = terms.idempotency_key.and_then(|key| HeaderValue::from_str(key).ok()) {
            request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        }
        *request.body_mut() = Some(body.into());
        let to_begin = terms.timeout.unwrap_or(self.timeouts.first_byte);
        let to_go_on = terms.timeout.unwrap_or(self.timeouts.idle);
        let first_byte = Instant::now() + to_begin;
        let mut response = match timeout_at(first_byte, self.client.execute(request)).await {
            Ok(result) => result.map_err(|error| self.broken(&error))?,
            Err(_) => return Err(Fault::Final(self.slow("did not begin to answer", to_begin))),
        };
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        if is_json(response.headers()) {
            return Err(self.no_stream(response).await);
        }

        let mut sse = Sse::new(self.limits.event_bytes);
        let mut received = 0_usize;
        loop {
            let chunk = if received == 0 {
                let waited = timeout_at(first_byte, response.chunk()).await;
                waited.map_err(|_| self.slow("did not begin to answer", to_begin))
            } else {
                let waited = timeout(to_go_on, response.chunk()).await;
                waited.map_err(|_| self.slow("fell silent in the middle of its answer", to_go_on))
            };
            let chunk = chunk.map_err(Fault::Final)?.map_err(|_| cut_off(&self.who))?;
            let Some(chunk) = chunk else { break };
            received = received.saturating_add(chunk.len());
            if received > self.limits.response_bytes {
                let what = format!("sent an answer of more than {} bytes", self.limits.response_bytes);
                return Err(Fault::Final(self.who.unavailable(what)));
            }
            sse.push(&chunk);
            while let Some(event) = sse.next().map_err(|error| self.garbled(error))? {
                if reader.event(event, answer, &self.who)? == Step::Done {
                    read_tail(response);
                    return answer.finish(&self.who);
                }
            }
        }
        // What the server did not end with an empty line counts if it is whole; else the answer was cut there.
        if let Ok(Some(event)) = sse.rest() {
            let read = reader.event(event, answer, &self.who);
            read.map_err(|fault| if answer.finish.is_some() { fault } else { cut_off(&self.who) })?;
        }
        answer.finish(&self.who)
    }

    /// Gets a JSON document, in one attempt.
    pub(crate) async fn get<T: DeserializeOwned>(&self, url: Url) -> Result<T, ModelError> {
        let mut request = Request::new(Method::GET, url);
        request.headers_mut().clone_from(&self.headers);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static("application/json"));
        let get = async {
            let response = self.client.execute(request).await.map_err(|error| self.broken(&error))?;
            if !response.status().is_success() {
                return Err(self.refused(response).await);
            }
            let body = read_bounded(response, LIST_BYTES).await;
            serde_json::from_slice(&body).map_err(|error| {
                Fault::Final(self.who.unavailable(format!("sent a list that can not be read: {error}")))
            })
        };
        match timeout(self.timeouts.list, get).await {
            Ok(result) => result.map_err(Fault::into_error),
            Err(_) => Err(self.slow("did not list its models", self.timeouts.list)),
        }
    }

    async fn refused(&self, response: Response) -> Fault {
        let (status, headers) = (response.status(), response.headers().clone());
        if status.is_redirection() {
            let text = format!(
                "{} answers with a redirect ({}), which a model call does not follow: correct the base URL",
                self.who.called(),
                status.as_u16()
            );
            return Fault::Final(ModelError::InvalidRequest(text));
        }
        let body = timeout(REFUSAL_TIME, read_bounded(response, REFUSAL_BYTES)).await.unwrap_or_default();
        Refusal::of_body(&body).fault_of_status(&self.who, status, &headers)
    }

    /// A server that sends JSON where events were asked for has failed, or does not know streaming.
    async fn no_stream(&self, response: Response) -> Fault {
        let body = timeout(REFUSAL_TIME, read_bounded(response, REFUSAL_BYTES)).await.unwrap_or_default();
        match serde_json::from_slice::<serde_json::Value>(&body) {
            Ok(value) if value.get("error").is_some_and(|error| !error.is_null()) => {
                Refusal::of_json(&value).fault(&self.who)
            }
            _ => Fault::Final(
                self.who.unavailable("answered with a JSON document where a stream of events was asked for"),
            ),
        }
    }

    fn garbled(&self, error: SseError) -> Fault {
        Fault::Final(self.who.unavailable(error))
    }

    fn slow(&self, what: &str, limit: Duration) -> ModelError {
        self.who.unavailable(format!("{what} within {} s", limit.as_secs_f64()))
    }

    /// The connection could not be made or broke. The client's own text may hold the address with all its parts.
    fn broken(&self, error: &reqwest::Error) -> Fault {
        let what = if error.is_connect() { "can not be reached" } else { "broke the connection" };
        let cause = innermost(error);
        Fault::retry(self.who.unavailable(format!("{what}: {}", self.who.scrub(&cause))))
    }
}

fn client(config: &ProviderConfig, endpoint: &Url) -> Result<Client, ConfigError> {
    // The first in the process counts; a binary that has chosen another keeps it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let fail = |error: reqwest::Error| ConfigError::Client { provider: config.name.clone(), why: innermost(&error) };
    let mut builder = Client::builder()
        .connect_timeout(config.timeouts.connect)
        .tcp_nodelay(true)
        .tcp_keepalive(Duration::from_secs(30))
        .pool_idle_timeout(Duration::from_secs(60))
        // A redirect would carry the key to a place that nobody has named.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("vivarium/", env!("CARGO_PKG_VERSION")))
        .no_proxy();
    if let Some(proxy) = &config.proxy {
        builder = builder.proxy(reqwest::Proxy::all(proxy.clone()).map_err(fail)?);
    } else if endpoint.scheme() == "http" {
        // Without TLS there is nothing to verify, so the system's certificates are not read.
        builder = builder.http1_only().tls_certs_only(std::iter::empty());
    }
    builder.build().map_err(fail)
}

/// The cause at the bottom of an error: the layers above it say `error sending request`, and the like, with the address.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    match cause.downcast_ref::<reqwest::Error>() {
        // It has no cause: then its kind must do, for its text holds the address.
        Some(_) => "the request failed".to_owned(),
        None => cause.to_string(),
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().to_ascii_lowercase().starts_with(b"application/json"))
}

/// At most so many bytes of a body; what comes before a break counts.
async fn read_bounded(mut response: Response, max_bytes: usize) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = response.chunk().await {
        let room = max_bytes.saturating_sub(body.len());
        body.extend_from_slice(chunk.get(..room.min(chunk.len())).unwrap_or_default());
        if chunk.len() > room {
            break;
        }
    }
    body
}

/// Reads what follows the last event, so that the connection goes back to the pool. Mostly it is there already; where it
/// is not, nobody waits for it.
fn read_tail(mut response: Response) {
    let rest = async move {
        let mut received = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            received += chunk.len();
            if received > TAIL_BYTES {
                return;
            }
        }
    };
    let mut rest = Box::pin(rest);
    if rest.as_mut().now_or_never().is_none() {
        tokio::spawn(timeout(TAIL_TIME, rest));
    }
}

/// How long to wait before the attempt after `failures + 1` failures.
fn wait_before_retry(retries: &Retries, failures: u32, asked: Option<Duration>) -> Duration {
    let grown = retries.first_wait.saturating_mul(2_u32.saturating_pow(failures.min(16)));
    let wait = grown.mul_f64(rand::random_range(0.5..=1.0));
    asked.map_or(wait, |asked| asked.max(wait)).min(retries.longest_wait)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_wait_grows_heeds_the_provider_and_stays_within_its_bound(failures in 0_u32..40, asked_ms in prop::option::of(0_u64..100_000)) {
            let retries = Retries::default();
            let asked = asked_ms.map(Duration::from_millis);
            let wait = wait_before_retry(&retries, failures, asked);
            prop_assert!(wait <= retries.longest_wait);
            prop_assert!(wait >= asked.unwrap_or_default().min(retries.longest_wait));
            let least = retries.first_wait.mul_f64(0.5).saturating_mul(2_u32.saturating_pow(failures.min(16)));
            prop_assert!(wait >= least.min(retries.longest_wait.mul_f64(0.5)));
        }
    }
}
