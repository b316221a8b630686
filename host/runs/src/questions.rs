//! Questions to the model that are asked at once. Each is reserved for, recorded and counted by itself, as if it were asked alone;
//! that they were asked is on disk in one piece. Where a budget does not reach for all of them at once, the rest is asked when the
//! first have answered and have given back what they did not use.

use std::collections::VecDeque;

use futures::future::join_all;
use vivarium_domain::{GenerateRequest, ModelError, Visibility};
use vivarium_sandbox::{Answers, HostStop};

use crate::asking::{Answered, Put, Question};
use crate::fits;
use crate::host::RunHost;
use crate::spending::Call as UnderWay;

/// A question that has no answer yet.
struct Open {
    /// Its place among those that were asked at once.
    index: usize,
    question: Question,
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
            let (request, bytes, hash) = fits::asked(unseen(request), self.asking.max_output_tokens)
                .map_err(|error| HostStop(error.to_string()))?;
            match (self.put(request, bytes, hash)?, answers.get_mut(index)) {
                (Put::Answered(answer), Some(place)) => *place = answer,
                (Put::Open(question), _) => open.push_back(Open { index, question }),
                (Put::Answered(_), None) => {}
            }
        }
        while !open.is_empty() {
            let mut wave = self.reserve_some(&mut open).await?;
            let begun = wave.iter_mut().filter_map(|(one, _)| self.begin(&mut one.question));
            self.log.record_all(begun.collect());
            let asked = wave.into_iter().map(|(Open { index, question }, reserved)| async move {
                (index, self.ask_model(question, reserved).await)
            });
            for (index, answered) in join_all(asked).await {
                match (answered?, answers.get_mut(index)) {
                    (Answered::So(answer), Some(place)) => *place = answer,
                    (Answered::NotByThis(question), _) => open.push_back(Open { index, question }),
                    (Answered::So(_), None) => {}
                }
            }
        }
        Ok(answers)
    }

    /// Takes as many questions from the front as can be reserved for now. When that is none, the run ends.
    async fn reserve_some(&self, open: &mut VecDeque<Open>) -> Result<Vec<(Open, UnderWay)>, HostStop> {
        let mut wave = Vec::with_capacity(open.len());
        while let Some(mut one) = open.pop_front() {
            match self.reserve(&mut one.question).await? {
                Ok(reserved) => wave.push((one, reserved)),
                Err(refused) if wave.is_empty() => return Err(self.spent_out(refused)),
                Err(_) => {
                    open.push_front(one);
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
