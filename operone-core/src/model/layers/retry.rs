//! Asks again where asking again may help.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use tokio::time::sleep;

use super::begin::begin;
use crate::backoff::Backoff;
use crate::error::Result;
use crate::model::{LanguageModel, ModelInfo, ModelRequest, ModelStream};

/// How many answers at the first try earn one retry.
const ANSWERS_PER_RETRY: u64 = 10;
/// How many retries are saved up at most, where nothing else is said.
const SAVED: u32 = 50;

/// A model that asks again after an error that may pass, while no event of the answer has been given out.
///
/// - Only what is [retryable](crate::Error::is_retryable) is tried again, as the [`Backoff`] says: three times, half a
///   second apart and more, unless told otherwise. A wait that the other side asks for is heeded, and ends the tries
///   where it is longer than the longest wait. The last error is given as it came.
/// - The call waits for the first event: an answer that fails or ends before it is tried again as well. After the
///   first event errors are passed on.
/// - All calls together have a *budget* of retries, so that an outage is not multiplied by the tries: 50 at first. An
///   answer that took retries gives one back, ten others earn one. Where nothing is left, the first error counts.
/// - A stack with two of these multiplies the tries: have one. Concurrent calls are tried each by itself; dropping the
///   future ends tries and waits.
///
/// ```
/// # use std::sync::Arc;
/// # use operone_core::{Error, ErrorKind};
/// # use operone_core::in_process::{ScriptedModel, ScriptedTurn};
/// # use operone_core::model::{LanguageModel, ModelRequest};
/// use operone_core::backoff::Backoff;
/// use operone_core::model::layers::Retry;
///
/// # let gone = Error::new(ErrorKind::Unavailable, "nobody is there");
/// # let service = ScriptedModel::new(vec![ScriptedTurn::error(&gone), ScriptedTurn::text(["Hello."])]);
/// # let service: Arc<dyn LanguageModel> = Arc::new(service);
/// # let request = ModelRequest::default();
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let model = Retry::new(service).with_backoff(Backoff::default().with_tries(5));
/// model.stream(request).await?;
/// # Ok::<(), Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Retry {
    model: Arc<dyn LanguageModel>,
    backoff: Backoff,
    budget: Budget,
}

impl Retry {
    /// Asks this model again.
    pub fn new(model: Arc<dyn LanguageModel>) -> Self {
        Self { model, backoff: Backoff::default(), budget: Budget::new(SAVED) }
    }

    /// Sets how often a call is tried and how long to wait in between.
    #[must_use]
    pub fn with_backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Sets how many retries all calls have together at first, which is also the most that they save up. With none,
    /// nothing is tried again.
    #[must_use]
    pub fn with_budget(mut self, retries: u32) -> Self {
        self.budget = Budget::new(retries);
        self
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a layer forwards what it does not change")]
impl LanguageModel for Retry {
    fn info(&self) -> ModelInfo {
        self.model.info()
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let mut tries = 1;
        loop {
            let error = match begin(&*self.model, request.clone()).await {
                Ok(answer) => {
                    self.budget.earn(tries);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let Some(wait) = self.backoff.wait(tries, &error) else { return Err(error) };
            if !self.budget.spend() {
                tracing::debug!(tries, code = error.code(), "the model is not asked again: no retry is left");
                return Err(error);
            }
            tracing::debug!(tries, code = error.code(), ?wait, "the model is asked again");
            sleep(wait).await;
            tries = tries.saturating_add(1);
        }
    }
}

/// The retries that are left to all calls, in shares of one.
#[derive(Debug)]
struct Budget {
    shares: AtomicU64,
    most: u64,
}

impl Budget {
    fn new(retries: u32) -> Self {
        let most = u64::from(retries) * ANSWERS_PER_RETRY;
        Self { shares: AtomicU64::new(most), most }
    }

    fn spend(&self) -> bool {
        let spend = |shares: u64| shares.checked_sub(ANSWERS_PER_RETRY);
        self.shares.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spend).is_ok()
    }

    /// An answer came at this try.
    fn earn(&self, tries: u32) {
        let earned = if tries > 1 { ANSWERS_PER_RETRY } else { 1 };
        let earn = |shares: u64| Some((shares + earned).min(self.most));
        // Never `Err`: the function always gives a number.
        let _ = self.shares.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earn);
    }
}
