//! A collector of traces that keeps what it is sent, in OTLP over HTTP, and reads it as strictly as the protocol is written.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse};
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue, any_value};
use prost::Message as _;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vivarium_tests::soon;

/// A span, as it came.
#[derive(Debug, Clone)]
pub(super) struct Span {
    pub(super) name: String,
    /// 1: internal, 2: server, 3: client.
    pub(super) kind: i32,
    pub(super) trace: String,
    pub(super) id: String,
    pub(super) parent: String,
    pub(super) attributes: BTreeMap<String, Value>,
    /// 0: not said, 2: an error.
    pub(super) status: i32,
    pub(super) status_message: String,
    pub(super) nanoseconds: u64,
    pub(super) schema: String,
    pub(super) resource: BTreeMap<String, Value>,
}

impl Span {
    pub(super) fn get(&self, name: &str) -> &Value {
        self.attributes.get(name).unwrap_or(&Value::Null)
    }
}

/// The server. It stops when it is dropped.
pub(super) struct Collector {
    address: SocketAddr,
    spans: Arc<watch::Sender<Vec<Span>>>,
    server: JoinHandle<()>,
}

impl Drop for Collector {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Collector {
    /// One that takes all.
    pub(super) async fn start() -> Self {
        Self::with(post(take)).await
    }

    /// One that takes requests and never answers.
    pub(super) async fn hanging() -> Self {
        Self::with(post(|_: Bytes| std::future::pending::<()>())).await
    }

    async fn with(route: axum::routing::MethodRouter<Arc<watch::Sender<Vec<Span>>>>) -> Self {
        let spans = Arc::new(watch::Sender::new(Vec::new()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = Router::new().route("/v1/traces", route).with_state(Arc::clone(&spans));
        let server = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, spans, server }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// All spans so far, once they are as this says.
    pub(super) async fn until(&self, what: &str, are: impl Fn(&[Span]) -> bool) -> Vec<Span> {
        let mut spans = self.spans.subscribe();
        let waited = soon(what, spans.wait_for(|spans| are(spans)));
        waited.await.unwrap().clone()
    }

    /// All spans of a trace whose run has ended so, and whose request is answered.
    pub(super) async fn ended(&self, how: &str) -> Vec<Span> {
        self.until("the end of the run's span", |spans| {
            spans.iter().any(|span| span.name == "run" && span.get("vivarium.run.ended") == how)
        })
        .await
    }
}

async fn take(
    State(spans): State<Arc<watch::Sender<Vec<Span>>>>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, [(header::HeaderName, &'static str); 1], Vec<u8>) {
    assert_eq!(headers[header::CONTENT_TYPE], "application/x-protobuf");
    let request = ExportTraceServiceRequest::decode(body).expect("it is what the protocol says");
    let mut taken = Vec::new();
    for of_resource in request.resource_spans {
        let resource = of_resource.resource.map(|resource| attributes(resource.attributes)).unwrap_or_default();
        for of_scope in of_resource.scope_spans {
            for span in of_scope.spans {
                assert_eq!((span.trace_id.len(), span.span_id.len()), (16, 8));
                assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "{span:?}");
                let status = span.status.unwrap_or_default();
                taken.push(Span {
                    name: span.name,
                    kind: span.kind,
                    trace: hex(&span.trace_id),
                    id: hex(&span.span_id),
                    parent: hex(&span.parent_span_id),
                    attributes: attributes(span.attributes),
                    status: status.code,
                    status_message: status.message,
                    nanoseconds: span.end_time_unix_nano - span.start_time_unix_nano,
                    schema: of_scope.schema_url.clone(),
                    resource: resource.clone(),
                });
            }
        }
    }
    spans.send_modify(|spans| spans.extend(taken));
    let answer = ExportTraceServiceResponse::default().encode_to_vec();
    (StatusCode::OK, [(header::CONTENT_TYPE, "application/x-protobuf")], answer)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn attributes(found: Vec<KeyValue>) -> BTreeMap<String, Value> {
    let count = found.len();
    let read: BTreeMap<String, Value> = found.into_iter().map(|pair| (pair.key, json_of(pair.value))).collect();
    assert_eq!(read.len(), count, "an attribute is there twice: {read:?}");
    read
}

fn json_of(value: Option<AnyValue>) -> Value {
    match value.and_then(|value| value.value) {
        Some(any_value::Value::StringValue(text)) => json!(text),
        Some(any_value::Value::BoolValue(is)) => json!(is),
        Some(any_value::Value::IntValue(number)) => json!(number),
        Some(any_value::Value::DoubleValue(number)) => json!(number),
        Some(any_value::Value::ArrayValue(all)) => all.values.into_iter().map(|one| json_of(Some(one))).collect(),
        other => panic!("no attribute of ours is a {other:?}"),
    }
}

/// The names of a span and of all above it, the highest first.
pub(super) fn path(spans: &[Span], span: &Span) -> String {
    let above = spans.iter().find(|other| other.id == span.parent && other.trace == span.trace);
    match above {
        Some(above) => format!("{} > {}", path(spans, above), span.name),
        None => span.name.clone(),
    }
}
