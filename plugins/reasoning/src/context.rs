//! A conversation within what its model can read. Before it is too long, it is made shorter: first what tools gave earlier is left
//! out, with a note of what it was, then the oldest turns are summarised by the model. Instructions, the question and the last
//! round stay as they are, as far as there is room for them at all. Where the provider says that it was too long all the same,
//! it is made shorter still, and asked again.

mod summary;

use vivarium_sdk::excerpt;
use vivarium_sdk::mode::{
    AssistantMessage, CallResult, Citation, Difference, GenerateRequest, GenerateResponse, Host, Message, ModelError,
    ModelInfo, ToolCall, ToolDefinition,
};

use crate::citing;
use crate::gauge::{self, Gauge};

/// How often a request is made shorter because its provider finds it too long.
const ATTEMPTS: usize = 4;
/// What a result of a tool takes that is not worth a note in its place.
const SHORT_RESULT_TOKENS: usize = 80;
/// The least of a result that is shown.
const LEAST_RESULT_TOKENS: usize = 150;

/// What a model can read of a run's conversation.
#[derive(Debug, Clone)]
pub struct Context {
    gauge: Gauge,
    /// How many messages the run's history has.
    told: usize,
    /// How many of them a summary of this run stands for.
    covered: usize,
}

/// A host whose model is asked no more than it can read. What is left out of one question is left out of that one alone: a
/// conversation that goes on goes through [`Context::generate`].
pub struct Fitting<'a, H> {
    /// The host.
    pub host: &'a mut H,
    /// What its model can read.
    pub context: &'a mut Context,
}

impl Context {
    /// For this model.
    #[must_use]
    pub fn new(info: &ModelInfo) -> Self {
        Self { gauge: Gauge::of(info), told: 0, covered: 0 }
    }

    /// The turns before this one: without the citation marks of earlier runs, whose `s1` is another document than this run's, and
    /// with a summary of the oldest where all of them would take more than half of what the model can read. The summary is kept
    /// for the runs to come.
    pub fn history(&mut self, host: &mut impl Host, mut history: Vec<Message>) -> Vec<Message> {
        self.told = history.len();
        for message in &mut history {
            if let Message::Assistant(AssistantMessage { text, .. }) = message
                && text.contains("[s")
            {
                *text = citing::without_marks(text);
            }
        }
        let room = self.gauge.room();
        if self.gauge.messages(&history) <= room / 2 {
            return history;
        }
        self.leave_out_results(host, &mut history, None, room / 2);
        if self.gauge.messages(&history) > room / 2 {
            self.summarise_turns(host, &mut history, None, room / 4);
        }
        history
    }

    /// Asks the model, and makes the request shorter before that where it has to be.
    ///
    /// # Errors
    /// What the model's error is when nothing that may be left out is left.
    pub fn generate(
        &mut self,
        host: &mut impl Host,
        request: &mut GenerateRequest,
    ) -> Result<GenerateResponse, ModelError> {
        self.fit(host, request);
        for attempt in 1.. {
            let guessed = gauge::guess(request);
            match host.generate(request) {
                Ok(response) => {
                    self.gauge.learn(guessed, response.input_tokens as usize);
                    return Ok(response);
                }
                Err(ModelError::ContextLengthExceeded(words)) if attempt < ATTEMPTS => {
                    self.gauge.too_long(guessed, &words);
                    self.shorten(host, request);
                    if gauge::guess(request) >= guessed {
                        return Err(ModelError::ContextLengthExceeded(words));
                    }
                }
                Err(error) => return Err(error),
            }
        }
        Err(ModelError::ContextLengthExceeded(String::new()))
    }

    /// Makes a request shorter if there is no room for it.
    fn fit(&mut self, host: &mut impl Host, request: &mut GenerateRequest) {
        if self.gauge.request(request) > self.gauge.room() {
            self.shorten(host, request);
        }
    }

    /// Makes a request shorter, in the order of what is missed least, until there is room for it and for some more.
    fn shorten(&mut self, host: &mut impl Host, request: &mut GenerateRequest) {
        let room = self.gauge.room();
        let fixed = self.gauge.request(request).saturating_sub(self.gauge.messages(&request.messages));
        let target = (room * 7 / 10).saturating_sub(fixed);
        let messages = &mut request.messages;
        let last_round = last_round(messages);
        self.cut_results(host, messages, last_round, (room * 4 / 10).min(target));
        self.leave_out_results(host, messages, Some(last_round), target);
        if self.gauge.messages(messages) > target {
            self.summarise_turns(host, messages, Some(last_user(messages)), target / 3);
        }
        if self.gauge.messages(messages) > target {
            self.summarise_rounds(host, messages);
        }
        let length = self.gauge.messages(messages);
        if length > target {
            let last_round = self::last_round(messages);
            let results = self.gauge.messages(messages.get(last_round..).unwrap_or_default());
            self.cut_results(host, messages, last_round, target.saturating_sub(length - results));
        }
    }

    /// Puts notes in the place of long results of tools before message `end` (none: all), the oldest first, until all is within
    /// `target`.
    fn leave_out_results(&self, host: &mut impl Host, messages: &mut [Message], end: Option<usize>, target: usize) {
        let mut length = self.gauge.messages(messages);
        let (mut left_out, end) = (0, end.unwrap_or(messages.len()));
        for message in messages.iter_mut().take(end) {
            if length <= target {
                break;
            }
            let Message::Tool(result) = message else { continue };
            let tokens = self.gauge.text(&result.content);
            if tokens <= SHORT_RESULT_TOKENS {
                continue;
            }
            result.content = note(&result.name, &result.content);
            length = length.saturating_sub(tokens - self.gauge.text(&result.content));
            left_out += 1;
        }
        if left_out > 0 {
            host.step(&format!("Leaving out {} to make room", count(left_out, "earlier tool result")));
        }
    }

    /// Cuts the results from message `begin` on, each to its share, so that together they take no more than `most`.
    fn cut_results(&self, host: &mut impl Host, messages: &mut [Message], begin: usize, most: usize) {
        let results = messages.get_mut(begin..).unwrap_or_default();
        let length = self.gauge.messages(results);
        let long = |message: &Message| matches!(message, Message::Tool(result) if self.gauge.text(&result.content) > LEAST_RESULT_TOKENS);
        let shares = results.iter().filter(|message| long(message)).count();
        if length <= most || shares == 0 {
            return;
        }
        let share = (most / shares).max(LEAST_RESULT_TOKENS);
        let mut cut = Vec::new();
        for message in results {
            let Message::Tool(result) = message else { continue };
            let tokens = self.gauge.text(&result.content);
            if tokens > share {
                let bytes = result.content.len() * share / tokens;
                result.content = excerpt_of(&result.content, bytes);
                cut.push(result.name.clone());
            }
        }
        cut.dedup();
        if !cut.is_empty() {
            host.step(&format!(
                "Reading only the beginning and the end of what {} gave: it is long",
                cut.join(" and ")
            ));
        }
    }

    /// Puts a summary in the place of the oldest turns before message `end` (none: all but the last turn), so that those that stay
    /// take at most `keep`.
    fn summarise_turns(&mut self, host: &mut impl Host, messages: &mut Vec<Message>, end: Option<usize>, keep: usize) {
        let begin = messages.iter().take_while(|message| matches!(message, Message::System(_))).count();
        let end = end.unwrap_or_else(|| last_user(messages)).max(begin);
        let mut first_kept = end;
        let mut kept = 0;
        for (at, message) in messages.iter().enumerate().take(end).skip(begin).rev() {
            kept += self.gauge.messages(std::slice::from_ref(message));
            if kept > keep {
                break;
            }
            // Only a turn of the client's may come first: a tool's answer without its question is refused by providers.
            if matches!(message, Message::User(_)) {
                first_kept = at;
            }
        }
        let mut oldest: Vec<Message> = messages.drain(begin..first_kept).collect();
        if oldest.is_empty() {
            return;
        }
        let had_summary = self.covered > 0;
        let new = oldest.len() - usize::from(had_summary);
        if new == 0 {
            messages.splice(begin..begin, oldest);
            return;
        }
        let summary = summary::of(&mut self.gauge, host, &mut oldest, new);
        self.covered = (self.covered + new).min(self.told);
        if let Some(summary) = &summary {
            host.summarize(u32::try_from(self.covered).unwrap_or(u32::MAX), summary);
        }
        messages.insert(begin, summary::message(summary.as_deref(), new));
    }

    /// Puts a summary in the place of all rounds since the question but the last one.
    fn summarise_rounds(&mut self, host: &mut impl Host, messages: &mut Vec<Message>) {
        let begin = (last_user(messages) + 1).min(messages.len());
        let mut end = last_round(messages);
        // The question of the last round belongs to it.
        if end > begin && matches!(messages.get(end - 1), Some(Message::Assistant(_))) {
            end -= 1;
        }
        if end <= begin {
            return;
        }
        let mut rounds: Vec<Message> = messages.drain(begin..end).collect();
        let number = rounds.len();
        let summary = summary::of(&mut self.gauge, host, &mut rounds, number);
        messages.insert(begin, summary::message(summary.as_deref(), number));
    }
}

/// Where the results begin that nothing has followed yet; the end where the last message is none.
fn last_round(messages: &[Message]) -> usize {
    messages.iter().rposition(|message| !matches!(message, Message::Tool(_))).map_or(0, |at| at + 1)
}

/// Where the client's last words are; the end where there are none.
fn last_user(messages: &[Message]) -> usize {
    let of_client = |message: &Message| matches!(message, Message::User(_)) && !summary::is_one(message);
    messages.iter().rposition(of_client).unwrap_or(messages.len())
}

/// What stands in the place of a result.
fn note(tool: &str, content: &str) -> String {
    let first = content.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
    let beginning = excerpt::beginning(first, 120);
    format!(
        "[left out to make room: {} bytes that {tool} gave, beginning with: {beginning}… Call the tool again if they are needed.]",
        content.len()
    )
}

/// The beginning and the end of a text, together about so many bytes.
fn excerpt_of(text: &str, bytes: usize) -> String {
    let head = excerpt::beginning(text, bytes * 2 / 3);
    let tail_at = text.ceil_char_boundary(text.len().saturating_sub(bytes / 3).max(head.len()));
    let tail = text.get(tail_at..).unwrap_or_default();
    let left_out = text.len() - head.len() - tail.len();
    format!("{head}\n[… {left_out} bytes are left out here to make room …]\n{tail}")
}

/// `1 message`, `2 messages`.
fn count(number: usize, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

impl<H: Host> Host for Fitting<'_, H> {
    fn describe(&mut self) -> ModelInfo {
        self.host.describe()
    }
    fn generate(&mut self, request: &GenerateRequest) -> Result<GenerateResponse, ModelError> {
        self.context.generate(self.host, &mut request.clone())
    }
    fn generate_all(&mut self, requests: &[GenerateRequest]) -> Vec<Result<GenerateResponse, ModelError>> {
        let fitting: Vec<GenerateRequest> = requests
            .iter()
            .map(|request| {
                let mut request = request.clone();
                self.context.fit(self.host, &mut request);
                request
            })
            .collect();
        self.host.generate_all(&fitting)
    }
    fn tools(&mut self) -> Vec<ToolDefinition> {
        self.host.tools()
    }
    fn call_all(&mut self, calls: &[ToolCall]) -> Vec<CallResult> {
        self.host.call_all(calls)
    }
    fn read_source(&mut self, id: &str, start_bytes: u32, max_bytes: u32) -> Option<String> {
        self.host.read_source(id, start_bytes, max_bytes)
    }
    fn check(&mut self, citations: &[Citation]) -> Vec<bool> {
        self.host.check(citations)
    }
    fn step(&mut self, message: &str) {
        self.host.step(message);
    }
    fn changes(&mut self, max_bytes: u32) -> Option<Difference> {
        self.host.changes(max_bytes)
    }
    fn append(&mut self, messages: &[Message]) {
        self.host.append(messages);
    }
    fn summarize(&mut self, messages: u32, summary: &str) {
        self.host.summarize(messages, summary);
    }
}

#[cfg(test)]
mod tests;
