//! A run's log as this dialect's clients see it: the same words in the answer of `run` and in the events of `stream`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use utoipa::ToSchema;
use vivarium_domain::{
    CheckedCitation, Claim, ContentHash, EventBody, Money, Outcome, RunId, SessionId, Source, Timestamp, ToolOutcome,
};
use vivarium_runs::{LoggedEvent, Started};

use crate::attend::Paid;

/// A step or a tool call, as an event and as an entry of `steps`.
#[derive(Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "camelCase")]
#[schema(as = AnswerStep)]
pub(super) enum Step<'a> {
    /// What the agent does.
    Step {
        /// A short sentence.
        message: Cow<'a, str>,
    },
    /// A tool call.
    #[serde(rename_all = "camelCase")]
    Tool {
        /// The tool.
        name: &'a str,
        /// Where the call is.
        status: ToolStatus,
        /// The call: each of its entries has the same.
        call_id: &'a str,
    },
}

/// Where a tool call is.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum ToolStatus {
    /// It is under way.
    Started,
    /// It has given an output.
    Completed,
    /// It has given an error.
    Failed,
}

impl<'a> Step<'a> {
    /// The step that an event is; none for all others.
    pub(super) fn of(body: &'a EventBody) -> Option<Self> {
        if let Some(message) = body.step() {
            return Some(Self::Step { message });
        }
        match body {
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
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AnswerSource)]
pub(super) struct SourceView<'a> {
    /// `s1`, `s2`, … in the order of arrival.
    id: &'a str,
    /// What a person calls it.
    title: &'a str,
    /// An absolute URL, or the path within the corpus.
    url: &'a str,
    /// When the host received it.
    fetched_at: Timestamp,
    /// SHA-256 of its text, as it is stored.
    content_hash: ContentHash,
    /// The answer rests on it: one of its quotes is verified. Left out where the answer is not there yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cited: Option<bool>,
    /// What the answer quotes of it; left out where the answer is not there yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    quotes: Option<Vec<Quote<'a>>>,
}

/// A quote that backs an answer: once for each sentence that rests on it. Places count Unicode characters (code points), from 0.
#[derive(Serialize, ToSchema)]
struct Quote<'a> {
    /// The quote.
    text: &'a str,
    /// It stands in the source's stored text, white space aside.
    verified: bool,
    /// Where it begins in that text, which `GET /v1/runs/{runId}/sources/{id}` gives; of several places the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    start: Option<u32>,
    /// Where it ends there: the first character behind it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    end: Option<u32>,
    /// In how many places it stands there, if in more than one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    occurrences: Option<u32>,
    /// The sentence of the answer that rests on it.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    claim: Option<&'a Claim>,
}

impl<'a> Quote<'a> {
    fn of(citation: &'a CheckedCitation) -> Self {
        Self {
            text: &citation.quote,
            verified: citation.verified,
            start: citation.start,
            end: citation.end,
            occurrences: citation.occurrences,
            claim: citation.claim.as_ref(),
        }
    }
}

impl<'a> SourceView<'a> {
    pub(super) fn new(source: &'a Source, outcome: Option<&'a Outcome>) -> Self {
        let quotes = |outcome: &'a Outcome| {
            let of_this = outcome.citations.iter().filter(|citation| citation.source_id == source.id);
            of_this.map(Quote::of).collect::<Vec<_>>()
        };
        let quotes = outcome.map(quotes);
        Self {
            id: &source.id,
            title: &source.title,
            url: &source.location,
            fetched_at: source.fetched_at,
            content_hash: source.content_hash,
            cited: quotes.as_ref().map(|quotes| quotes.iter().any(|quote| quote.verified)),
            quotes,
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
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AnswerUsage)]
pub(super) struct UsageView {
    /// Read.
    input_tokens: u64,
    /// Written.
    output_tokens: u64,
    /// Both together.
    total_tokens: u64,
    /// Of those read, those that the model's provider had in its cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    cached_input_tokens: Option<u64>,
    /// Of those written, those of thoughts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    reasoning_tokens: Option<u64>,
    /// What they cost, in US dollars; nothing for models without a price.
    cost: Money,
}

impl From<Paid> for UsageView {
    fn from(Paid { usage, cost }: Paid) -> Self {
        let some = |tokens: u64| Some(tokens).filter(|tokens| *tokens > 0);
        Self {
            input_tokens: usage.input_tokens,
            output_tokens: usage.output_tokens,
            total_tokens: usage.total(),
            cached_input_tokens: some(usage.cached_input_tokens),
            reasoning_tokens: some(usage.reasoning_tokens),
            cost,
        }
    }
}

/// What a completed run comes to: the body of `run`'s answer, and the `done` event but for its `type` and `steps`.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct Answer<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    r#type: Option<&'static str>,
    /// The answer, in Markdown.
    answer: &'a str,
    /// What the agent did, in its order.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<Step<'_>>, required)]
    steps: Option<Vec<Step<'a>>>,
    /// What it read.
    sources: Vec<SourceView<'a>>,
    /// The conversation: give it with the next question to continue.
    #[schema(value_type = SessionId)]
    session_id: &'a SessionId,
    /// The run.
    run_id: RunId,
    /// Tokens of the run, and what they cost.
    usage: UsageView,
}

/// Which run an answer is of.
#[derive(Clone)]
pub(super) struct RunIds {
    pub(super) run: RunId,
    pub(super) session: SessionId,
}

impl From<Started> for RunIds {
    fn from(started: Started) -> Self {
        Self { run: started.run_id, session: started.session_id }
    }
}

impl<'a> Answer<'a> {
    /// The answer of `run`.
    pub(super) fn whole(ids: &'a RunIds, log: &'a [Arc<LoggedEvent>], outcome: &'a Outcome, paid: Paid) -> Self {
        let steps = log.iter().filter_map(|logged| Step::of(&logged.event.body)).collect();
        Self { r#type: None, steps: Some(steps), ..Self::done(ids, log, outcome, paid) }
    }

    /// The `done` event.
    pub(super) fn done(ids: &'a RunIds, log: &'a [Arc<LoggedEvent>], outcome: &'a Outcome, paid: Paid) -> Self {
        Self {
            r#type: Some("done"),
            answer: &outcome.answer,
            steps: None,
            sources: sources(log, outcome),
            session_id: &ids.session,
            run_id: ids.run,
            usage: paid.into(),
        }
    }
}
