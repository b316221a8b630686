//! A run's questions to models: to the run's own, and to the next one that it names when that can not answer. Each attempt is an
//! event of the log with the model that it goes to, so that what was used and paid is counted by who has answered, and a
//! replay takes the same way.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use vivarium_domain::{
    Abilities, ContentHash, EventBody, GenerateRequest, GenerateResponse, Message, ModelError, ModelInfo, ModelName,
    ModelOptions, RunSettings, Timestamp, Used, Visibility, utc_day,
};
use vivarium_models::{Call, Price, Provider};
use vivarium_sandbox::HostStop;
use vivarium_sight::{Content, ModelCall, Span, attribute};

use crate::fits;
use crate::host::{RunHost, lock, millis, stopped};
use crate::journal::{RecordedModel, short};
use crate::spending::{Call as UnderWay, Refused, Spent};
use crate::trace::{end_model_span, input_messages};

/// A model that a run may ask.
#[derive(Clone)]
pub(crate) struct Candidate {
    pub(crate) provider: Arc<dyn Provider>,
    pub(crate) model: ModelName,
}

impl Candidate {
    fn describe(&self) -> ModelInfo {
        self.provider.describe(self.model.model())
    }
}

/// What a run says of how models are to be asked.
#[derive(Debug, Clone, Default)]
pub(crate) struct Asking {
    /// A bound on each answer.
    pub(crate) max_output_tokens: Option<u32>,
    /// A bound on the time of each.
    timeout: Option<Duration>,
    options: ModelOptions,
}

impl Asking {
    pub(crate) fn of(settings: &RunSettings) -> Self {
        Self {
            max_output_tokens: settings.max_output_tokens,
            timeout: settings.model_timeout_seconds.map(|seconds| Duration::from_secs(seconds.into())),
            options: settings.model_options.clone(),
        }
    }

    pub(crate) fn options(&self) -> &ModelOptions {
        &self.options
    }

    /// The options of one question. Where the model stops is said of the answer: a plan, a summary or JSON is not to end there.
    fn options_of(&self, visible: bool) -> Cow<'_, ModelOptions> {
        match visible || self.options.stop.is_empty() {
            true => Cow::Borrowed(&self.options),
            false => Cow::Owned(ModelOptions { stop: Vec::new(), ..self.options.clone() }),
        }
    }
}

/// What models want back with the answers to their tool calls, by the first call of each answer.
pub(crate) type Thoughts = HashMap<String, (ModelName, serde_json::Value)>;

/// A question of the mode's.
pub(crate) struct Question {
    request: GenerateRequest,
    /// Its length as JSON.
    bytes: usize,
    request_hash: ContentHash,
    /// Which of the run's models is to answer.
    place: usize,
    /// The number that it is asked with; none: it is not asked yet.
    call: Option<u32>,
}

/// What came of putting a question.
pub(crate) enum Put {
    /// It was answered before the host was stopped.
    Answered(Result<GenerateResponse, ModelError>),
    /// It is to be asked.
    Open(Question),
}

/// What came of asking one model.
pub(crate) enum Answered {
    /// This is the answer to the mode.
    So(Result<GenerateResponse, ModelError>),
    /// The next model is to be asked.
    NotByThis(Question),
}

/// What a mode may count on whichever of the models answers: what all of them can do, within the shortest context.
pub(crate) fn describe(models: &[Candidate]) -> Option<ModelInfo> {
    let (first, others) = models.split_first()?;
    Some(others.iter().map(Candidate::describe).fold(first.describe(), |all, one| ModelInfo {
        abilities: both(all.abilities, one.abilities),
        context_tokens: all.context_tokens.min(one.context_tokens),
        ..all
    }))
}

fn both(one: Abilities, other: Abilities) -> Abilities {
    Abilities {
        free_text: one.free_text && other.free_text,
        tool_calls: one.tool_calls && other.tool_calls,
        json_schema: one.json_schema && other.json_schema,
        images: one.images && other.images,
        passages: one.passages && other.passages,
    }
}

/// Another model may answer what this one did not. A request that is wrong is wrong everywhere, a conversation that is too
/// long is to be made shorter, and a budget is a budget.
fn may_be_answered_by_another(error: &ModelError) -> bool {
    match error {
        ModelError::Unavailable(_) | ModelError::ContentPolicy(_) | ModelError::Unsupported(_) => true,
        ModelError::InvalidRequest(_) | ModelError::ContextLengthExceeded(_) | ModelError::BudgetExhausted(_) => false,
    }
}

impl RunHost {
    /// What the run's models can do.
    pub(crate) fn model_info(&self) -> Option<ModelInfo> {
        describe(&self.models)
    }

    pub(crate) async fn ask(&self, request: GenerateRequest) -> Result<Result<GenerateResponse, ModelError>, HostStop> {
        let (request, bytes, request_hash) =
            fits::asked(request, self.asking.max_output_tokens).map_err(|error| HostStop(error.to_string()))?;
        let mut open = match self.put(request, bytes, request_hash)? {
            Put::Answered(answer) => return Ok(answer),
            Put::Open(question) => question,
        };
        loop {
            let reserved = match self.reserve(&mut open).await? {
                Ok(reserved) => reserved,
                Err(refused) => return Err(self.spent_out(refused)),
            };
            let begun = self.begin(&mut open);
            self.log.record_all(begun.into_iter().collect());
            match self.ask_model(open, reserved).await? {
                Answered::So(answer) => return Ok(answer),
                Answered::NotByThis(next) => open = next,
            }
        }
    }

    /// Puts a question: what was recorded is its answer, or it is to be asked.
    pub(crate) fn put(
        &self,
        request: GenerateRequest,
        bytes: usize,
        request_hash: ContentHash,
    ) -> Result<Put, HostStop> {
        let asked = || format!("model.generate with a request of hash {}", short(request_hash));
        let mut question = Question { request, bytes, request_hash, place: 0, call: None };
        if let Some(recorded) = self.recorded(asked, fits::model(request_hash))? {
            let RecordedModel { call, model, answer, failed, under_way, .. } = *recorded;
            self.model_calls.fetch_max(call, Relaxed);
            if let Some(answer) = answer {
                if let Ok(response) = &answer {
                    self.remember(&model, response);
                }
                return Ok(Put::Answered(answer));
            }
            // It was asked before, and the answer lost with the host that waited for it.
            (question.place, question.call) = (failed, under_way.then_some(call));
        }
        Ok(Put::Open(question))
    }

    /// The model that a question is for.
    fn candidate(&self, place: usize) -> Result<&Candidate, HostStop> {
        let gone = || HostStop("the run's log tells of more models than the run has".to_owned());
        self.models.get(place).ok_or_else(gone)
    }

    /// Reserves what a question may take.
    pub(crate) async fn reserve(&self, question: &mut Question) -> Result<Result<UnderWay, Refused>, HostStop> {
        let candidate = self.candidate(question.place)?;
        self.reserve_model(candidate, &mut question.request, question.bytes).await
    }

    /// Gives a question its number. The event that tells that it is asked; none: it was told before.
    pub(crate) fn begin(&self, question: &mut Question) -> Option<EventBody> {
        if question.call.is_some() {
            return None;
        }
        let call = self.model_calls.fetch_add(1, Relaxed) + 1;
        question.call = Some(call);
        let model = self.models.get(question.place)?.model.clone();
        Some(EventBody::ModelStarted { call, model, request_hash: question.request_hash })
    }

    /// Asks one model a question that was begun.
    pub(crate) async fn ask_model(&self, question: Question, reserved: UnderWay) -> Result<Answered, HostStop> {
        let Question { ref request, place, .. } = question;
        let (candidate, call) = (self.candidate(place)?, question.call.unwrap_or_default());
        self.log.flush_answers().await.map_err(|error| stopped(&error))?;
        let (started, span) = (Instant::now(), self.model_span(candidate, call, request));
        let visible = request.visibility == Visibility::Answer;
        let (answer, shown) = self.wait_for(candidate, call, request).await?;
        end_model_span(&span, &answer);
        let duration_ms = millis(started);
        let answered = match answer {
            Ok(response) => {
                self.remember(&candidate.model, &response);
                self.answered(candidate, call, &response, duration_ms, visible, reserved);
                Answered::So(Ok(response))
            }
            Err(error) => {
                reserved.came_to_nothing();
                // What a client has seen of an answer is not begun anew by somebody else.
                let next = self.models.get(place + 1).map(|next| next.model.clone());
                let fallback = next.filter(|_| !shown && may_be_answered_by_another(&error));
                let goes_on = fallback.is_some();
                self.log.record(EventBody::ModelCompleted {
                    call,
                    response: None,
                    error: serde_json::to_value(&error).ok(),
                    fallback,
                    duration_ms,
                    cost: None,
                    visible,
                });
                match goes_on {
                    true => Answered::NotByThis(Question { place: place + 1, call: None, ..question }),
                    false => Answered::So(Err(error)),
                }
            }
        };
        self.log.flush_soon();
        Ok(answered)
    }

    /// The answer, and whether the client has seen something of it.
    async fn wait_for(
        &self,
        candidate: &Candidate,
        call: u32,
        request: &GenerateRequest,
    ) -> Result<(Result<GenerateResponse, ModelError>, bool), HostStop> {
        let visible = request.visibility == Visibility::Answer;
        let _place = match self.shared.model_place(&self.tenant, candidate, self.asking.timeout).await {
            Ok(place) => place,
            Err(why) => {
                let message = format!("{} is asked by too many: {why}", candidate.model);
                return Ok((Err(ModelError::Unavailable(message)), false));
            }
        };
        let mut shown = false;
        let mut on_token = |piece: &str| {
            if visible {
                shown = true;
                self.log.token(piece);
            }
        };
        let idempotency_key = format!("{}-m{call}", self.run);
        let thoughts = self.thoughts_for(&candidate.model, request);
        let options = self.asking.options_of(visible);
        let asked = candidate.provider.generate(Call {
            idempotency_key: Some(&idempotency_key),
            cache_key: Some(self.session.as_str()),
            thoughts: Some(&thoughts),
            options: Some(&options),
            timeout: self.asking.timeout,
            ..Call::new(candidate.model.model(), request, &mut on_token)
        });
        let answer = tokio::select! {
            biased;
            answer = within(self.asking.timeout, &candidate.model, asked) => answer,
            () = self.log.flush_for_tokens() => return Err(HostStop("the log ended".to_owned())),
        };
        Ok((answer, shown))
    }

    /// Keeps what a model wants back.
    fn remember(&self, model: &ModelName, response: &GenerateResponse) {
        if let (Some(thoughts), Some(first)) = (&response.thoughts, response.tool_calls.first()) {
            lock(&self.thoughts).insert(first.id.clone(), (model.clone(), thoughts.clone()));
        }
    }

    /// What this model wants back with this request. Another model's thoughts are nothing to it.
    fn thoughts_for(&self, model: &ModelName, request: &GenerateRequest) -> HashMap<String, serde_json::Value> {
        let kept = lock(&self.thoughts);
        let firsts = request.messages.iter().filter_map(|message| match message {
            Message::Assistant(said) => said.tool_calls.first(),
            _ => None,
        });
        let known = firsts.filter_map(|call| Some((call.id.clone(), kept.get(&call.id)?)));
        known.filter(|(_, (of, _))| of == model).map(|(id, (_, thoughts))| (id, thoughts.clone())).collect()
    }

    /// Records an answer, and what it has used.
    fn answered(
        &self,
        candidate: &Candidate,
        call: u32,
        response: &GenerateResponse,
        duration_ms: u64,
        visible: bool,
        reserved: UnderWay,
    ) {
        let cost = self.price(&candidate.model).map(|price| price.of(response.usage));
        *lock(&self.spent) += Spent::of(&candidate.model, response.usage, cost);
        // A provider that does not say what it has used is taken to have used all that it may.
        let used = match response.usage.total() {
            0 => reserved.at_most(),
            _ => Used::model_call(response.usage, cost),
        };
        let (used, response) = (reserved.ended(used), Some(response.clone()));
        let (error, fallback) = (None, None);
        let body = EventBody::ModelCompleted { call, response, error, fallback, duration_ms, cost, visible };
        self.log.record_used(body, used);
    }

    /// What a model costs today.
    pub(crate) fn price(&self, model: &ModelName) -> Option<Price> {
        self.shared.models.price(model, utc_day(Timestamp::now()))
    }

    /// A question to a model, in the run's trace.
    fn model_span(&self, candidate: &Candidate, number: u32, request: &GenerateRequest) -> Span {
        let options = &self.asking.options;
        let call = ModelCall {
            provider: candidate.model.provider(),
            server: candidate.provider.server(),
            model: candidate.model.model(),
            session: self.session.as_str(),
            number,
            max_tokens: request.max_output_tokens,
            temperature: request.temperature.or(options.temperature.map(vivarium_domain::Decimal::as_f32)),
            json: request.output_schema.is_some(),
        };
        let span = call.begin(&self.trace.now());
        Content::set(&span, attribute::INPUT_MESSAGES, || input_messages(&request.messages));
        span
    }
}

/// The answer, if it comes in time, all attempts together.
async fn within(
    timeout: Option<Duration>,
    model: &ModelName,
    asked: impl Future<Output = Result<GenerateResponse, ModelError>>,
) -> Result<GenerateResponse, ModelError> {
    let Some(timeout) = timeout else { return asked.await };
    tokio::time::timeout(timeout, asked).await.unwrap_or_else(|_| {
        let message = format!("{model} did not end its answer within the {} s that it may take", timeout.as_secs());
        Err(ModelError::Unavailable(message))
    })
}
