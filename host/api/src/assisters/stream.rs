//! `GET /v1/agent/stream`: one run, told as it happens. A browser that loses the stream comes back by itself, with the id of
//! the last event that it has seen, and is told the rest of that run.

use std::fmt::Display;
use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, Uri};
use axum::response::Response;
use serde::Serialize;
use vivarium_domain::{EventBody, RunId};
use vivarium_runs::{Cursor, Item, LoggedEvent};

use super::AssistersError;
use super::answer::{Answer, RunIds, SourceView, Step};
use super::ask::{Ask, Question};
use super::run::start;
use crate::ApiState;
use crate::attend::{Paid, attend_from};
use crate::auth::Caller;
use crate::error::ApiError;
use crate::gate::CallerExt;
use crate::resume::{self, LastEventId, Mark};
use crate::sse::{Ends, View, follow, write_event, write_json_event};

/// Run an agent, streaming
///
/// Takes a question, starts its run, and streams its steps, tool calls, sources and tokens, then exactly one `done` or `error`,
/// then `[DONE]`. What can be refused is refused before the stream opens, with a status. With `Last-Event-ID` or `after` the
/// stream of a run goes on behind that event: no run is started, and of the other parameters none is read. Needs the max tier
/// and the scope `runs`.
#[utoipa::path(
    get, path = "/v1/agent/stream", operation_id = "streamAgent", tag = "Assisters",
    params(
        Question,
        LastEventId,
        ("after" = Option<String>, Query, nullable = false, pattern = r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}:[0-9]{1,15}(\.[1-9][0-9]{0,9}\.[0-9a-f]{8})?$", description = "The same as `Last-Event-ID`, for who sets no headers."),
    ),
    responses(
        (status = 200, description = "Each event is JSON on one line.", content_type = "text/event-stream", body = String,
         headers(("X-Run-Id" = String, description = "The run: its log can be read under it.")),
         example = "data: {\"type\":\"step\",\"message\":\"Searching the web for RAG advances\"}\n\ndata: {\"type\":\"done\",\"answer\":\"Recent RAG advances include...\"}\n\ndata: [DONE]\n\n"),
        (status = 204, description = "The run has ended, and its last event is known. There is nothing more."),
        (status = 404, description = "There is no such run to go on with."),
        (status = 409, description = "The session is busy with another run."),
        (status = 429, description = "The key's requests or tokens are used up, or the tenant's places are all taken."),
    )
)]
pub(super) async fn stream(
    State(state): State<ApiState>,
    CallerExt { 0: caller }: CallerExt,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, AssistersError> {
    if let Some(Mark { run, seen }) = resume::asked(&headers, resume::after(uri.query())?.as_deref())? {
        let run = resume::run_of(&state, &caller, run).await?;
        if resume::is_over(&run, seen) {
            return Ok(resume::nothing_more());
        }
        return Ok(told(&state, &caller, RunIds { run: run.id, session: run.session_id }, seen).await?);
    }
    let ask = Ask::from_query_string(uri.query().unwrap_or_default())?;
    let started = start(&state, &caller, ask.into_request(None)).await?;
    Ok(told(&state, &caller, started.into(), Cursor::default()).await?)
}

/// The stream of a run, behind what was seen of it.
async fn told(state: &ApiState, caller: &Caller, ids: RunIds, seen: Cursor) -> Result<Response, ApiError> {
    let run = attend_from(state, caller, ids.run, seen).await?;
    // Who loses the connection finds the run's log by it.
    let run_id = HeaderValue::from_str(&ids.run.to_string());
    let mut response = follow(run, Telling { ids, seen, sources: Vec::new() }, Ends::of(state, caller));
    if let Ok(run_id) = run_id {
        response.headers_mut().insert("x-run-id", run_id);
    }
    Ok(response)
}

/// A run as this dialect tells it.
struct Telling {
    ids: RunIds,
    /// Where the stream begins.
    seen: Cursor,
    /// The events that brought sources: the `done` event lists them with their quotes.
    sources: Vec<Arc<LoggedEvent>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
enum Told<'a> {
    Token {
        text: &'a str,
    },
    /// What was said of the answer is void: it begins anew.
    Void {},
    /// What was said of the run is void: it is told from its beginning, as far as it is still known.
    Reset {},
    Source(SourceView<'a>),
    Error {
        message: &'a str,
        code: &'a str,
        error_type: &'a str,
        run_id: RunId,
    },
}

impl Telling {
    fn mark(&self, seen: Cursor) -> Mark {
        Mark { run: self.ids.run, seen }
    }

    fn error(&self, out: &mut Vec<u8>, id: Option<&dyn Display>, error: &ApiError) {
        let (message, code, error_type) = (error.message(), error.code(), error.kind_name());
        write_json_event(out, id, None, &Told::Error { message, code, error_type, run_id: self.ids.run });
        write_event(out, None, None, b"[DONE]");
    }
}

impl View for Telling {
    /// An id, and no event: a browser remembers it, so that it never comes back to ask its question again.
    fn open(&self) -> Vec<u8> {
        format!("id: {}\n\n", self.mark(self.seen)).into_bytes()
    }

    fn show(&mut self, item: Item) -> Vec<u8> {
        let mut out = Vec::new();
        let logged = match item {
            Item::Event(logged) => logged,
            Item::Token { text, cursor } => {
                write_json_event(&mut out, Some(&self.mark(cursor)), None, &Told::Token { text: &text });
                return out;
            }
            Item::Void { after } => {
                write_json_event(&mut out, Some(&self.mark(Cursor::after(after))), None, &Told::Void {});
                return out;
            }
            Item::Reset(_) => {
                write_json_event(&mut out, Some(&self.mark(Cursor::default())), None, &Told::Reset {});
                return out;
            }
            Item::Resumed { .. } | Item::Seen(_) => return out,
        };
        let mark = self.mark(Cursor::after(logged.event.seq));
        let id: Option<&dyn Display> = Some(&mark);
        match &logged.event.body {
            EventBody::SourceAdded { source } => {
                write_json_event(&mut out, id, None, &Told::Source(SourceView::new(source, None)));
                self.sources.push(logged);
            }
            EventBody::RunCompleted { outcome, usage, cost } => {
                let paid = Paid { usage: *usage, cost: *cost };
                write_json_event(&mut out, id, None, &Answer::done(&self.ids, &self.sources, outcome, paid));
                write_event(&mut out, None, None, b"[DONE]");
            }
            EventBody::RunFailed { failure, .. } => self.error(&mut out, id, &failure.into()),
            EventBody::RunCancelled { reason, .. } => self.error(&mut out, id, &ApiError::run_cancelled(reason)),
            other => {
                if let Some(step) = Step::of(other) {
                    write_json_event(&mut out, id, None, &step);
                }
            }
        }
        out
    }

    fn cut_short(&mut self, error: ApiError) -> Vec<u8> {
        let mut out = Vec::new();
        self.error(&mut out, None, &error);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use insta::assert_snapshot;
    use vivarium_domain::{
        CheckedCitation, ContentHash, Event, FailureCode, Money, Outcome, RunFailure, Source, ToolOutcome, ToolUsage,
        Usage,
    };

    fn telling() -> Telling {
        let run = "0192f000-0000-7000-8000-000000000001".parse().unwrap();
        Telling { ids: RunIds { run, session: "s-1".parse().unwrap() }, seen: Cursor::default(), sources: Vec::new() }
    }

    fn event(seq: u64, body: EventBody) -> Item {
        let event = Event { seq, at: "2026-11-22T00:00:00Z".parse().unwrap(), body };
        let json = serde_json::to_vec(&event).unwrap().into();
        Item::Event(Arc::new(LoggedEvent { event, json }))
    }

    fn told(items: Vec<Item>) -> String {
        let mut telling = telling();
        let bytes: Vec<u8> = items.into_iter().flat_map(|item| telling.show(item)).collect();
        String::from_utf8(bytes).unwrap()
    }

    fn tool(seq: u64, outcome: ToolOutcome) -> Item {
        let usage = ToolUsage::default();
        event(
            seq,
            EventBody::ToolCompleted {
                call_id: "c1".into(),
                tool: "web_search".into(),
                outcome,
                sources: vec![],
                usage,
            },
        )
    }

    #[test]
    fn a_completed_run_is_told_step_by_step_and_ends_with_done_and_the_mark() {
        let source = Source {
            id: "s1".into(),
            title: "Vec".into(),
            location: "std/vec.html".into(),
            media_type: "text/markdown".into(),
            fetched_at: "2026-11-22T00:00:00Z".parse().unwrap(),
            content_hash: ContentHash::of(b""),
            length_bytes: 9,
            tool: "corpus_search".into(),
        };
        let citation = CheckedCitation {
            source_id: "s1".into(),
            quote: "a \"growable\" array".into(),
            verified: true,
            start: Some(10),
            end: Some(28),
            ..CheckedCitation::default()
        };
        let outcome = Outcome { answer: "Line one\nline two".into(), output: None, citations: vec![citation] };
        let started = EventBody::ToolStarted {
            call_id: "c1".into(),
            tool: "web_search".into(),
            arguments_json: "{}".into(),
            plugin: None,
            idempotency_key: "k".into(),
        };
        assert_snapshot!(told(vec![
            event(1, EventBody::Step { message: "Searching for \"vec\"".into() }),
            event(2, started),
            tool(3, ToolOutcome::Output("found".into())),
            tool(4, ToolOutcome::Error("no".into())),
            event(5, EventBody::SourceAdded { source }),
            Item::Token { text: "Line".into(), cursor: "5.4.00000000".parse().unwrap() },
            event(
                6,
                EventBody::RunCompleted {
                    outcome,
                    usage: Usage { input_tokens: 3, output_tokens: 4, ..Usage::default() },
                    cost: Money::from_nanos(1_500_000),
                }
            ),
        ]), @r#"
        id: 0192f000-0000-7000-8000-000000000001:1
        data: {"type":"step","message":"Searching for \"vec\""}

        id: 0192f000-0000-7000-8000-000000000001:2
        data: {"type":"tool","name":"web_search","status":"started","callId":"c1"}

        id: 0192f000-0000-7000-8000-000000000001:3
        data: {"type":"tool","name":"web_search","status":"completed","callId":"c1"}

        id: 0192f000-0000-7000-8000-000000000001:4
        data: {"type":"tool","name":"web_search","status":"failed","callId":"c1"}

        id: 0192f000-0000-7000-8000-000000000001:5
        data: {"type":"source","id":"s1","title":"Vec","url":"std/vec.html","fetchedAt":"2026-11-22T00:00:00Z","contentHash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}

        id: 0192f000-0000-7000-8000-000000000001:5.4.00000000
        data: {"type":"token","text":"Line"}

        id: 0192f000-0000-7000-8000-000000000001:6
        data: {"type":"done","answer":"Line one\nline two","sources":[{"id":"s1","title":"Vec","url":"std/vec.html","fetchedAt":"2026-11-22T00:00:00Z","contentHash":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","cited":true,"quotes":[{"text":"a \"growable\" array","verified":true,"start":10,"end":28}]}],"sessionId":"s-1","runId":"0192f000-0000-7000-8000-000000000001","usage":{"inputTokens":3,"outputTokens":4,"totalTokens":7,"cost":"0.0015"}}

        data: [DONE]
        "#);
    }

    #[test]
    fn a_failed_run_and_a_stream_that_is_cut_short_end_with_one_error_and_the_mark() {
        let failure = RunFailure::new(FailureCode::Trapped, "the mode trapped: unreachable");
        assert_snapshot!(told(vec![event(2, EventBody::RunFailed { failure, usage: Usage::default(), cost: Money::ZERO })]), @r#"
        id: 0192f000-0000-7000-8000-000000000001:2
        data: {"type":"error","message":"the mode trapped: unreachable","code":"run_failed","errorType":"server_error","runId":"0192f000-0000-7000-8000-000000000001"}

        data: [DONE]
        "#);
        let cut = String::from_utf8(telling().cut_short(ApiError::shutting_down())).unwrap();
        assert_snapshot!(cut, @r#"
        data: {"type":"error","message":"the host is shutting down; the run's log can be read when it is back","code":"shutting_down","errorType":"server_error","runId":"0192f000-0000-7000-8000-000000000001"}

        data: [DONE]
        "#);
    }

    #[test]
    fn what_a_client_need_not_see_is_not_told() {
        let quiet = EventBody::HostAnswered(vivarium_domain::HostCall::WallClock(1));
        assert_eq!(told(vec![event(1, quiet)]), "");
    }
}
