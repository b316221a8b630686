//! `vivarium run "question"`: one run in this process.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use vivarium::config::Flags;
use vivarium::{Host, default_tenant};
use vivarium_domain::{EventBody, Money, Outcome, RunId, TenantId, ToolOutcome, Usage};
use vivarium_runs::{Cursor, Item, LoggedEvent, RunRequest, StartError, Started};

use super::{Failure, Place, compile, result, say};

#[derive(Debug, Args)]
pub(super) struct Run {
    /// The question or the task.
    question: String,
    /// Which mode works on it.
    #[arg(long, default_value = "research")]
    mode: String,
    /// The model that answers.
    #[arg(long, value_name = "PROVIDER/MODEL")]
    model: Option<String>,
    /// A folder of documents to search.
    #[arg(long, value_name = "DIR")]
    corpus: Option<PathBuf>,
    /// How many cycles of planning and reading, at most.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=8))]
    max_cycles: Option<u32>,
    /// Print the answer as JSON, in the form of POST /v1/agent/run.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    place: Place,
}

impl Run {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let Self { question, mode, model, corpus, max_cycles, json, place } = self;
        if question.trim().is_empty() {
            return Err(Failure::Use("the question must not be empty".to_owned()));
        }
        let mut config = place.read(Flags { corpus, model, ..Flags::default() })?;
        config.compiler = compile::ourselves(&config)?;
        let progress = Progress::new();
        let shown = progress.clone();
        let mut host = Host::build(&config, Box::new(move |line| shown.now(&format!("corpus: {line}")))).await?;
        host.corpus_ready().await.map_err(Failure::Failed)?;
        progress.now(&format!("asking {}", host.default_model));

        let tenant = default_tenant().map_err(Failure::failed)?;
        let request = RunRequest { max_cycles, ..RunRequest::new(mode, question) };
        let started = host.runs.start(&tenant, request).await.map_err(wrong_use_or_failure)?;
        let ended = tokio::select! {
            ended = follow(&host, &tenant, started.run_id, &progress) => ended,
            _ = tokio::signal::ctrl_c() => Err(Failure::Failed("interrupted".to_owned())),
        };
        progress.end();
        host.drain(Duration::ZERO).await;
        show(&started, &ended?, json)
    }
}

fn wrong_use_or_failure(error: StartError) -> Failure {
    match error {
        StartError::UnknownMode { .. } | StartError::UnknownModel(_) | StartError::MaxCycles { .. } => {
            Failure::Use(error.to_string())
        }
        other => Failure::failed(other),
    }
}

/// Shows the run's steps as they come, and gives its whole log.
async fn follow(
    host: &Host,
    tenant: &TenantId,
    run: RunId,
    progress: &Progress,
) -> Result<Vec<Arc<LoggedEvent>>, Failure> {
    let reader = host.runs.follow(tenant, run, Cursor::default()).await.map_err(Failure::failed)?;
    let mut reader = reader.ok_or_else(|| Failure::Failed("the run is gone".to_owned()))?;
    let mut log = Vec::new();
    while let Some(item) = reader.next().await.map_err(Failure::failed)? {
        let Item::Event(logged) = item else { continue };
        if let Some(step) = logged.event.body.step() {
            progress.step(&step);
        }
        match &logged.event.body {
            EventBody::ToolCompleted { tool, outcome: ToolOutcome::Error(error), .. } => {
                progress.step(&format!("{tool} failed: {error}"));
            }
            EventBody::RunCompleted { usage, cost, .. } => progress.step(&used(*usage, *cost)),
            EventBody::RunFailed { failure, usage, cost } => {
                if usage.total() > 0 {
                    progress.step(&used(*usage, *cost));
                }
                return Err(Failure::Failed(failure.message.clone()));
            }
            EventBody::RunCancelled { reason, .. } => return Err(Failure::Failed(format!("cancelled: {reason}"))),
            _ => {}
        }
        log.push(logged);
    }
    Ok(log)
}

/// What a run has used, for a person.
fn used(usage: Usage, cost: Money) -> String {
    let of_them = |tokens: u64, what: &str| match tokens {
        0 => String::new(),
        tokens => format!(" ({tokens} {what})"),
    };
    let cached = of_them(usage.cached_input_tokens, "from the cache");
    let thoughts = of_them(usage.reasoning_tokens, "of thoughts");
    let cost = if cost.is_zero() { String::new() } else { format!(", {cost} US dollars") };
    format!("{} tokens read{cached}, {} written{thoughts}{cost}", usage.input_tokens, usage.output_tokens)
}

fn show(started: &Started, log: &[Arc<LoggedEvent>], json: bool) -> Result<(), Failure> {
    let outcome = log.iter().find_map(|logged| match &logged.event.body {
        EventBody::RunCompleted { outcome, .. } => Some(outcome),
        _ => None,
    });
    let outcome = outcome.ok_or_else(|| Failure::Failed("the run's log has no end".to_owned()))?;
    if json {
        let text = vivarium_api::answer_json(started.run_id, &started.session_id, log);
        return Ok(result(text.ok_or_else(|| Failure::Failed("the answer can not be written as JSON".to_owned()))?)?);
    }
    result(outcome.answer.trim_end())?;
    Ok(show_sources(log, outcome)?)
}

/// The sources that the answer quotes, each with its quotes.
fn show_sources(log: &[Arc<LoggedEvent>], outcome: &Outcome) -> io::Result<()> {
    let mut first = true;
    for logged in log {
        let EventBody::SourceAdded { source } = &logged.event.body else { continue };
        let mut quotes: Vec<_> = outcome.citations.iter().filter(|citation| citation.source_id == source.id).collect();
        // One that several sentences rest on is there once for each.
        quotes.dedup_by_key(|citation| &citation.quote);
        if quotes.is_empty() {
            continue;
        }
        if std::mem::take(&mut first) {
            result("\nQuotes")?;
        }
        result(format_args!("[{}] {} ({})", source.id, source.title, source.location))?;
        for citation in quotes {
            let words: Vec<&str> = citation.quote.split_whitespace().collect();
            let found = if citation.verified { "" } else { "  -- NOT FOUND in the source" };
            result(format_args!("    \"{}\"{found}", words.join(" ")))?;
        }
    }
    Ok(())
}

/// A line that changes, on a terminal; nothing in a pipe.
#[derive(Clone)]
struct Progress(Option<ProgressBar>);

impl Progress {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self(bar)
    }

    /// What goes on now.
    fn now(&self, line: &str) {
        if let Some(bar) = &self.0 {
            bar.set_message(line.to_owned());
        }
    }

    /// What stays to be seen.
    fn step(&self, line: &str) {
        match &self.0 {
            Some(bar) => bar.println(format!("· {line}")),
            None => say(format_args!("· {line}")),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
