//! Questions to the model that are asked at once. Each is reserved for, recorded and counted by itself, as if it were asked alone;
//! that they were asked is on disk in one piece. Where a budget does not reach for all of them at once, the rest is asked when the
//! first have answered and have given back what they did not use.

use std::collections::VecDeque;
use std::sync::atomic::Ordering::Relaxed;

use futures::future::join_all;
use vivarium_domain::{ContentHash, EventBody, GenerateRequest, ModelError, Visibility};
use vivarium_sandbox::{Answers, HostStop};

use crate::fits;
use crate::host::RunHost;
use crate::journal::short;
use crate::spending::Call as UnderWay;

/// A question that has no answer yet.
struct Open {
    /// Its place among those that were asked at once.
    index: usize,
    /// Its number in the run.
    call: u32,
    request: GenerateRequest,
    bytes: usize,
    hash: ContentHash,
    /// It was not asked before the host was stopped.
    is_new: bool,
}

/// Questions that are asked at once are seen by nobody: their tokens would come mixed.
pub(crate) fn unseen(request: GenerateRequest) -> GenerateRequest {
    GenerateRequest { visibility: Visibility::Hidden, ..request }
}

impl RunHost {
    pub(crate) async fn ask_all(&self, requests: Vec<GenerateRequest>) -> Result<Answers, HostStop> {
        let mut answers: Vec<_> = requests.iter().map(|_| Err(unanswered())).collect();
        let mut open = VecDeque::new();
        for (index, request) in requests.into_iter().enumerate() {
            let (request, bytes, hash) =
                fits::asked(unseen(request), self.max_output_tokens).map_err(|error| HostStop(error.to_string()))?;
            let call = self.model_calls.fetch_add(1, Relaxed) + 1;
            let asked = || format!("model.generate with a request of hash {}", short(hash));
            let recorded = self.recorded(asked, fits::model(hash))?;
            let is_new = recorded.is_none();
            match (recorded.flatten(), answers.get_mut(index)) {
                (Some(answer), Some(place)) => *place = answer,
                _ => open.push_back(Open { index, call, request, bytes, hash, is_new }),
            }
        }
        while !open.is_empty() {
            let wave = self.reserve_some(&mut open).await?;
            let begun = wave.iter().filter(|(question, _)| question.is_new).map(|(question, _)| {
                let (call, model, request_hash) = (question.call, self.model.clone(), question.hash);
                EventBody::ModelStarted { call, model, request_hash }
            });
            self.log.record_all(begun.collect());
            let asked = wave.into_iter().map(|(question, reserved)| async move {
                let Open { index, call, request, .. } = question;
                (index, self.ask_provider(call, &request, reserved).await)
            });
            for (index, answer) in join_all(asked).await {
                let answer = answer?;
                if let Some(place) = answers.get_mut(index) {
                    *place = answer;
                }
            }
        }
        Ok(answers)
    }

    /// Takes as many questions from the front as can be reserved for now. When that is none, the run ends.
    async fn reserve_some(&self, open: &mut VecDeque<Open>) -> Result<Vec<(Open, UnderWay)>, HostStop> {
        let mut wave = Vec::with_capacity(open.len());
        while let Some(mut question) = open.pop_front() {
            match self.reserve_model(&mut question.request, question.bytes).await? {
                Ok(reserved) => wave.push((question, reserved)),
                Err(refused) if wave.is_empty() => return Err(self.spent_out(refused)),
                Err(_) => {
                    open.push_front(question);
                    break;
                }
            }
        }
        Ok(wave)
    }
}

fn unanswered() -> ModelError {
    ModelError::Unavailable("the question was not put".to_owned())
}
