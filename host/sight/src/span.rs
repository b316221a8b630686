//! Spans: what took how long, within what. Where no traces are made, each of these is nothing and costs a look at a flag.
//!
//! A span is current while a future that was put [`within`](InSpan::within) it is polled, and what begins then is its child. Work that
//! goes on elsewhere (on another task, on another runtime) has to be put there with the span that it belongs to.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::OnceLock;

use futures::future::Either;
use opentelemetry::context::{FutureExt as _, WithContext};
use opentelemetry::global::{self, BoxedTracer};
use opentelemetry::trace::{SpanKind, Status, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, InstrumentationScope, KeyValue, Value};
use tracing::Instrument as _;

use crate::convention::{SCHEMA_URL, attribute};

/// The longest `tracestate` that is kept; the standard asks for no more.
const MAX_TRACE_STATE_BYTES: usize = 512;

struct Tracing {
    tracer: BoxedTracer,
    includes_content: bool,
}

static TRACING: OnceLock<Tracing> = OnceLock::new();

/// Makes spans from now on, with the process's tracer provider and its propagator, which must be set by now. Without `includes_content`
/// no prompt, answer, argument or result goes into any of them.
pub fn begin_tracing(version: &'static str, includes_content: bool) {
    let scope = InstrumentationScope::builder("vivarium").with_version(version).with_schema_url(SCHEMA_URL).build();
    // A second time would be a mistake of the wiring, and loses.
    let _ = TRACING.set(Tracing { tracer: global::tracer_with_scope(scope), includes_content });
}

/// Whether spans may hold what people, models and tools say.
#[must_use]
pub fn includes_content() -> bool {
    TRACING.get().is_some_and(|tracing| tracing.includes_content)
}

/// Where a trace comes from, as text: it is kept with a run, so that the run's later parts belong to the same trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// W3C `traceparent`.
    pub parent: String,
    /// W3C `tracestate`.
    pub state: Option<String>,
}

/// A span, or nothing. Clones are the same one; it ends with the last of them, if nobody ends it before.
#[derive(Debug, Clone, Default)]
pub struct Span(Option<Context>);

impl Span {
    /// What the work that is being done now belongs to.
    #[must_use]
    pub fn current() -> Self {
        if TRACING.get().is_none() {
            return Self(None);
        }
        Self(Context::map_current(|context| context.has_active_span().then(|| context.clone())))
    }

    /// Somebody else's span, or one of another process or time: it is only a parent. Nothing where the text is none.
    #[must_use]
    pub fn remote(remote: &Remote) -> Self {
        if TRACING.get().is_none() {
            return Self(None);
        }
        let state = remote.state.iter().filter(|state| state.len() <= MAX_TRACE_STATE_BYTES);
        let state = state.map(|state| ("tracestate".to_owned(), state.clone()));
        let carrier: HashMap<String, String> =
            state.chain([("traceparent".to_owned(), remote.parent.clone())]).collect();
        let context =
            global::get_text_map_propagator(|propagator| propagator.extract_with_context(&Context::new(), &carrier));
        Self(Some(context).filter(Context::has_active_span))
    }

    /// What [`Span::remote`] makes a parent of.
    #[must_use]
    pub fn as_remote(&self) -> Option<Remote> {
        let context = self.0.as_ref()?;
        let mut carrier = HashMap::new();
        global::get_text_map_propagator(|propagator| propagator.inject_context(context, &mut carrier));
        let state = carrier.remove("tracestate").filter(|state| !state.is_empty());
        Some(Remote { parent: carrier.remove("traceparent")?, state })
    }

    /// A span below this one; below nothing, the first of a new trace.
    pub(crate) fn child(&self, name: impl Into<Cow<'static, str>>, kind: SpanKind, attributes: Vec<KeyValue>) -> Self {
        let Some(tracing) = TRACING.get() else { return Self(None) };
        let parent = self.0.clone().unwrap_or_default();
        let builder = tracing.tracer.span_builder(name).with_kind(kind).with_attributes(attributes);
        let span = tracing.tracer.build_with_context(builder, &parent);
        Self(Some(parent.with_span(span)))
    }

    /// Whether anything that is said of it is kept. To be asked before costly things are made for it.
    #[must_use]
    pub fn records(&self) -> bool {
        self.0.as_ref().is_some_and(|context| context.span().is_recording())
    }

    /// Says something of it; the names are in [`attribute`].
    pub fn set(&self, name: &'static str, value: impl Into<Value>) {
        if let Some(context) = &self.0 {
            context.span().set_attribute(KeyValue::new(name, value));
        }
    }

    /// It failed: why, in one word of a closed set.
    pub fn fail(&self, error_type: impl Into<Cow<'static, str>>) {
        if let Some(context) = &self.0 {
            let error_type: Value = match error_type.into() {
                Cow::Borrowed(word) => word.into(),
                Cow::Owned(word) => word.into(),
            };
            context.span().set_attribute(KeyValue::new(attribute::ERROR_TYPE, error_type));
            // Without words: what a failure says can hold what people said.
            context.span().set_status(Status::error(""));
        }
    }

    /// It is over.
    pub fn end(&self) {
        if let Some(context) = &self.0 {
            context.span().end();
        }
    }

    /// The id of its trace.
    #[must_use]
    pub fn trace_id(&self) -> Option<String> {
        Some(self.0.as_ref()?.span().span_context().trace_id().to_string())
    }
}

/// Work within a span.
pub trait InSpan: Future + Sized {
    /// This, with the span as the current one.
    fn within(self, span: &Span) -> Either<WithContext<Self>, Self> {
        match &span.0 {
            Some(context) => Either::Left(self.with_context(context.clone())),
            None => Either::Right(self),
        }
    }

    /// This, for what the work of now is for, wherever it is polled: with the current span, and within what the log says now.
    fn carried(self) -> tracing::instrument::Instrumented<Either<WithContext<Self>, Self>> {
        self.within(&Span::current()).in_current_span()
    }
}

impl<F: Future> InSpan for F {}
