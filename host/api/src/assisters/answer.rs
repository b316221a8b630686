//! A run's log as this dialect's clients see it: the same words in the answer of `run` and in the events of `stream`.

use std::sync::Arc;

use serde::Serialize;
use vivarium_domain::{ContentHash, EventBody, Outcome, RunId, SessionId, Source, Timestamp, ToolOutcome, Usage};
use vivarium_runs::LoggedEvent;

/// A step or a tool call, as an event and as an entry of `steps`.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub(super) enum Step<'a> {
    Step { message: &'a str },
    Tool { name: &'a str, status: ToolStatus, call_id: &'a str },
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum ToolStatus {
    Started,
    Completed,
    Failed,
}

impl<'a> Step<'a> {
    /// The step that an event is; none for all others.
    pub(super) fn of(body: &'a EventBody) -> Option<Self> {
        match body {
            EventBody::Step { message } => Some(Self::Step { message }),
            EventBody::ToolStarted { call_id, tool, .. } => {
                Some(Self::Tool { name: tool, status: ToolStatus::Started, call_id })
            }
            EventBody::ToolCompleted { call_id, tool, outcome, .. } => {
                let status = match outcome {
                    ToolOutcome::Output(_) => ToolStatus::Completed,
                    ToolOutcome::Error(_) => ToolStatus::Failed,
                };
                Some(Self::Tool { name: tool, status, call_id })
            }
            _ => None,
        }
    }
}

/// A fetched document.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SourceView<'a> {
    id: &'a str,
    title: &'a str,
    url: &'a str,
    fetched_at: Timestamp,
    content_hash: ContentHash,
    /// What the answer quotes of it; left out where the answer is not there yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    quotes: Option<Vec<Quote<'a>>>,
}

#[derive(Serialize)]
struct Quote<'a> {
    text: &'a str,
    verified: bool,
}

impl<'a> SourceView<'a> {
    pub(super) fn new(source: &'a Source, outcome: Option<&'a Outcome>) -> Self {
        let quotes = |outcome: &'a Outcome| {
            let of_this = outcome.citations.iter().filter(|citation| citation.source_id == source.id);
            of_this.map(|citation| Quote { text: &citation.quote, verified: citation.verified }).collect()
        };
        Self {
            id: &source.id,
            title: &source.title,
            url: &source.location,
            fetched_at: source.fetched_at,
            content_hash: source.content_hash,
            quotes: outcome.map(quotes),
        }
    }
}

/// The fetched documents of a log, with what the answer quotes of them.
pub(super) fn sources<'a>(log: &'a [Arc<LoggedEvent>], outcome: &'a Outcome) -> Vec<SourceView<'a>> {
    let added = log.iter().filter_map(|logged| match &logged.event.body {
        EventBody::SourceAdded { source } => Some(SourceView::new(source, Some(outcome))),
        _ => None,
    });
    added.collect()
}

/// Tokens of the run.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct UsageView {
    input_tokens: u64,
    output_tokens: u64,
    total_tokens: u64,
}

impl From<Usage> for UsageView {
    fn from(usage: Usage) -> Self {
        Self { input_tokens: usage.input_tokens, output_tokens: usage.output_tokens, total_tokens: usage.total() }
    }
}

/// What a completed run comes to: the body of `run`'s answer, and the `done` event but for its `type` and `steps`.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    answer: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    steps: Option<Vec<Step<'a>>>,
    sources: Vec<SourceView<'a>>,
    session_id: &'a SessionId,
    run_id: RunId,
    usage: UsageView,
}

/// Which run an answer is of.
#[derive(Clone)]
pub(super) struct RunIds {
    pub(super) run: RunId,
    pub(super) session: SessionId,
}

impl<'a> Answer<'a> {
    /// The answer of `run`.
    pub(super) fn whole(ids: &'a RunIds, log: &'a [Arc<LoggedEvent>], outcome: &'a Outcome, usage: Usage) -> Self {
        let steps = log.iter().filter_map(|logged| Step::of(&logged.event.body)).collect();
        Self { r#type: None, steps: Some(steps), ..Self::done(ids, log, outcome, usage) }
    }

    /// The `done` event.
    pub(super) fn done(ids: &'a RunIds, log: &'a [Arc<LoggedEvent>], outcome: &'a Outcome, usage: Usage) -> Self {
        Self {
            r#type: Some("done"),
            answer: &outcome.answer,
            steps: None,
            sources: sources(log, outcome),
            session_id: &ids.session,
            run_id: ids.run,
            usage: usage.into(),
        }
    }
}
