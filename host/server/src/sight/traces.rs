//! The way to the operator's collector of traces: OTLP over HTTP, in batches, from a thread of its own.
//!
//! Whoever makes a span puts it into a bounded line and goes on; when the line is full, spans are dropped. So a collector that is slow
//! or away costs spans and nothing else. It is told of once, and once when it is back.

use std::env;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use http::{Request, Response};
use opentelemetry::global;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use reqwest::Client;
use tokio::runtime::Handle;
use vivarium_sight::metric::TRACE_EXPORTS;

use super::SightError;
use crate::config::Config;

/// How long the collector may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long the stop waits for the last batch.
const STOP_PATIENCE: Duration = Duration::from_secs(3);
/// What of the collector's answer is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;
/// Where a collector takes traces.
const TRACES_PATH: &str = "/v1/traces";

/// The standard variables that name a collector.
const VARIABLES: [&str; 2] = ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"];

/// Traces on their way.
pub(super) struct Traces(SdkTracerProvider);

fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The collector's address for traces; none: it is in the standard variables.
fn endpoint(config: &Config) -> Option<String> {
    let base = config.otlp_endpoint.as_ref()?.as_str().trim_end_matches('/');
    Some(if base.ends_with(TRACES_PATH) { base.to_owned() } else { format!("{base}{TRACES_PATH}") })
}

impl Traces {
    /// Begins to make traces, if a collector is named and nobody has forbidden it.
    pub(super) fn begin(config: &Config) -> Result<Option<Self>, SightError> {
        let endpoint = endpoint(config);
        let named = endpoint.is_some() || VARIABLES.iter().any(|name| variable(name).is_some());
        let forbidden = variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true"));
        if !named || forbidden {
            return Ok(None);
        }
        let failed = |error: &dyn fmt::Display| SightError::Traces(error.to_string());
        let client = Client::builder()
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .build()
            .map_err(|error| failed(&error))?;
        let way = Way { client, runtime: Handle::current(), is_away: AtomicBool::new(false) };
        let mut exporter = SpanExporter::builder().with_http().with_http_client(way);
        if let Some(endpoint) = endpoint {
            exporter = exporter.with_endpoint(endpoint);
        }
        let exporter = exporter.build().map_err(|error| failed(&error))?;
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource()).build();
        global::set_tracer_provider(provider.clone());
        global::set_text_map_propagator(TraceContextPropagator::new());
        vivarium_sight::begin_tracing(env!("CARGO_PKG_VERSION"), config.otlp_include_content);
        Ok(Some(Self(provider)))
    }

    /// Sends what is left to send. What the collector does not take within seconds is lost.
    pub(super) async fn end(self) {
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(STOP_PATIENCE)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last spans did not reach the collector of traces");
        }
    }
}

/// Who says all this: the name that the standard variables give, or ours, and which process of it.
fn resource() -> Resource {
    const NAME: &str = "service.name";
    let detected = Resource::builder().build();
    let is_named = detected
        .get(&opentelemetry::Key::from_static_str(NAME))
        .is_some_and(|name| !name.as_str().starts_with("unknown_service"));
    let builder = Resource::builder().with_attributes([
        opentelemetry::KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        opentelemetry::KeyValue::new("service.instance.id", uuid::Uuid::now_v7().to_string()),
    ]);
    if is_named { builder.build() } else { builder.with_service_name("vivarium").build() }
}

/// The exporter works on a thread without a runtime; its requests are made on ours.
struct Way {
    client: Client,
    runtime: Handle,
    is_away: AtomicBool,
}

impl fmt::Debug for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Way")
    }
}

impl Way {
    /// Tells of the first failure after a success, and of the first success after a failure.
    fn tell(&self, failure: Option<String>) {
        TRACE_EXPORTS.add(1, &[("outcome", if failure.is_none() { "ok" } else { "error" })]);
        let was_away = self.is_away.swap(failure.is_some(), Ordering::Relaxed);
        match failure {
            Some(reason) if !was_away => {
                tracing::warn!(reason, "the collector takes no traces; they are lost until it does");
            }
            None if was_away => tracing::info!("the collector takes traces again"),
            _ => {}
        }
    }
}

async fn exchange(client: Client, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
    let mut answer = client.execute(reqwest::Request::try_from(request)?).await.map_err(reqwest::Error::without_url)?;
    let mut response = Response::builder().status(answer.status());
    if let Some(headers) = response.headers_mut() {
        *headers = std::mem::take(answer.headers_mut());
    }
    let mut body = BytesMut::new();
    while let Some(piece) = answer.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + piece.len() > MAX_ANSWER_BYTES {
            return Err(format!("the collector's answer is longer than {MAX_ANSWER_BYTES} bytes").into());
        }
        body.extend_from_slice(&piece);
    }
    Ok(response.body(body.freeze())?)
}

/// The cause at the bottom of an error.
fn cause(error: &HttpError) -> String {
    let mut cause: &(dyn std::error::Error + 'static) = error.as_ref();
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

impl HttpClient for Way {
    fn send_bytes<'s, 'f>(&'s self, request: Request<Bytes>) -> BoxFuture<'f, Result<Response<Bytes>, HttpError>>
    where
        's: 'f,
        Self: 'f,
    {
        let sent = self.runtime.spawn(exchange(self.client.clone(), request));
        async move {
            let answered = sent.await.unwrap_or_else(|error| Err(error.into()));
            self.tell(match &answered {
                Ok(response) if response.status().is_success() => None,
                Ok(response) => Some(format!("it answers {}", response.status())),
                Err(error) => Some(cause(error)),
            });
            answered
        }
        .boxed()
    }
}
