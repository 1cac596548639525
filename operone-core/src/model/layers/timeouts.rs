//! Gives up on a model that is silent.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{StreamExt, stream};
use tokio::time::timeout;

use super::begin::begin;
use crate::error::{Error, ErrorKind, Result};
use crate::model::{LanguageModel, ModelEvent, ModelInfo, ModelRequest, ModelStream};

/// A model whose silence has an end: before the first event of an answer, and between two events.
///
/// - The error is `Unavailable` with code `model_stalled`, and retryable. The answer below is dropped before the error
///   is given.
/// - The call itself waits for the first event, so that its silence is the error of the call.
/// - Only the model's time counts: between two events the time begins when the caller asks for the next one.
/// - Around a [`Retry`](super::Retry) all tries together must bring the first event in time; below it, each try. What
///   callers wait for in a limit below counts as the model's silence: put limits around it.
/// - Two minutes each, unless told otherwise. [`Duration::MAX`] is no limit.
#[derive(Debug)]
pub struct Timeouts {
    model: Arc<dyn LanguageModel>,
    first_event: Duration,
    next_event: Duration,
}

impl Timeouts {
    /// Limits the silence of this model.
    pub fn new(model: Arc<dyn LanguageModel>) -> Self {
        let silence = Duration::from_secs(120);
        Self { model, first_event: silence, next_event: silence }
    }

    /// Sets the longest wait from the call to the first event.
    #[must_use]
    pub fn with_first_event(mut self, wait: Duration) -> Self {
        self.first_event = wait;
        self
    }

    /// Sets the longest wait for each event after the first.
    #[must_use]
    pub fn with_next_event(mut self, wait: Duration) -> Self {
        self.next_event = wait;
        self
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a layer forwards what it does not change")]
impl LanguageModel for Timeouts {
    fn info(&self) -> ModelInfo {
        self.model.info()
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let begun = timeout(self.first_event, begin(&*self.model, request)).await;
        let answer = begun.map_err(|_| stalled(self.first_event))??;
        let wait = self.next_event;
        Ok(stream::unfold(Some(answer), move |answer| next(answer, wait)).boxed())
    }
}

/// The next event, and what of the answer is left after it.
async fn next(
    answer: Option<ModelStream>,
    wait: Duration,
) -> Option<(Result<ModelEvent>, Option<ModelStream>)> {
    let mut answer = answer?;
    let event = match timeout(wait, answer.next()).await {
        Ok(event) => event?,
        Err(_) => Err(stalled(wait)),
    };
    let is_last = matches!(event, Ok(ModelEvent::Done(_)) | Err(_));
    Some((event, (!is_last).then_some(answer)))
}

fn stalled(wait: Duration) -> Error {
    let detail = format!("the model gave nothing for {wait:?}");
    Error::new(ErrorKind::Unavailable, detail).with_code("model_stalled")
}
