//! Limits how many requests, and how many tokens, go to a model in a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{sleep, timeout};

use super::bucket::Bucket;
use super::concurrency::Waiting;
use super::watch::{End, Watch, watched};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{LanguageModel, ModelInfo, ModelRequest, ModelStream};

/// A model that is asked no more often than a service permits; further callers wait, first come, first served.
///
/// - Requests go out at a steady pace, 60 in a minute as one each second. [`RateLimit::with_burst`] lets so many go at
///   once after a rest; in any interval there are no more than the limit and the burst together.
/// - [`RateLimit::with_tokens`] limits tokens as well. What an answer will cost is not known before it ends: it is
///   charged then, and requests wait until the debt is paid off by time. An answer that fails or is dropped is not
///   charged, since nobody says what it used.
/// - Any wait is borne unless [`RateLimit::with_max_wait`] bounds it. A caller who would wait longer, by what is known
///   when it comes, is refused at once: `RateLimited` with code `model_rate_limited` and the time after which to come
///   back. One whose wait has become longer meanwhile is refused then.
/// - A caller that stops waiting, by dropping the future, gives its place to the next, and no request is counted. A
///   request that failed is counted.
/// - Put it below [`Retry`](super::Retry), so that each try is counted. Limits are kept within one process.
#[derive(Debug)]
pub struct RateLimit {
    model: Arc<dyn LanguageModel>,
    limits: Arc<Mutex<Limits>>,
    requests: u32,
    interval: Duration,
    max_wait: Option<Duration>,
    waiting: AtomicUsize,
    /// Held by the caller whose turn it is. Tokio's lock serves in order, and a dropped waiter loses its place.
    turn: tokio::sync::Mutex<()>,
}

/// What may go out. Never held across an await.
#[derive(Debug)]
struct Limits {
    requests: Bucket,
    tokens: Option<Bucket>,
}

impl RateLimit {
    /// Asks this model so often in each interval, at least once. An interval is at least a millisecond.
    pub fn new(model: Arc<dyn LanguageModel>, requests: u32, interval: Duration) -> Self {
        let limits = Limits { requests: Bucket::new(1, requests.into(), interval), tokens: None };
        Self {
            model,
            limits: Arc::new(Mutex::new(limits)),
            requests,
            interval,
            max_wait: None,
            waiting: AtomicUsize::new(0),
            turn: tokio::sync::Mutex::new(()),
        }
    }

    /// Sets how many requests may go at once after a rest; one unless told otherwise, and at least that.
    #[must_use]
    pub fn with_burst(self, requests: u32) -> Self {
        lock(&self.limits).requests = Bucket::new(requests.into(), self.requests.into(), self.interval);
        self
    }

    /// Sets how many tokens, read and written together, may be used in each interval.
    #[must_use]
    pub fn with_tokens(self, tokens: u64, interval: Duration) -> Self {
        lock(&self.limits).tokens = Some(Bucket::new(tokens, tokens, interval));
        self
    }

    /// Sets the longest wait of a caller.
    #[must_use]
    pub fn with_max_wait(mut self, wait: Duration) -> Self {
        self.max_wait = Some(wait);
        self
    }

    async fn wait(&self) -> Result<()> {
        let Some(longest) = self.max_wait else {
            self.take_turn().await;
            return Ok(());
        };
        let expected = self.expected();
        if expected > longest {
            return Err(refused(expected));
        }
        timeout(longest, self.take_turn()).await.map_err(|_| refused(self.expected()))
    }

    async fn take_turn(&self) {
        let _waiting = Waiting::enter(&self.waiting, usize::MAX);
        let _turn = self.turn.lock().await;
        loop {
            let wait = lock(&self.limits).take_or_wait();
            if wait.is_zero() {
                return;
            }
            sleep(wait).await;
        }
    }

    /// How long a caller who comes now has to wait, if those before it stay.
    fn expected(&self) -> Duration {
        let before = self.waiting.load(Ordering::Relaxed);
        lock(&self.limits).wait(before)
    }
}

impl Limits {
    fn wait(&mut self, callers_before: usize) -> Duration {
        let requests = self.requests.wait(callers_before as f64 + 1.0);
        let tokens = self.tokens.as_mut().map_or(Duration::ZERO, |tokens| tokens.wait(1.0));
        requests.max(tokens)
    }

    fn take_or_wait(&mut self) -> Duration {
        let wait = self.wait(0);
        if wait.is_zero() {
            self.requests.take(1.0);
        }
        wait
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a layer forwards what it does not change")]
impl LanguageModel for RateLimit {
    fn info(&self) -> ModelInfo {
        self.model.info()
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        self.wait().await?;
        watched(self.model.stream(request), Charge(Arc::clone(&self.limits))).await
    }
}

/// Charges an answer's tokens.
struct Charge(Arc<Mutex<Limits>>);

impl Watch for Charge {
    fn end(self, end: End<'_>) -> Result<()> {
        if let (End::Done(finish), Some(tokens)) = (end, &mut lock(&self.0).tokens) {
            tokens.take(finish.usage.total() as f64);
        }
        Ok(())
    }
}

fn lock(limits: &Mutex<Limits>) -> MutexGuard<'_, Limits> {
    limits.lock().unwrap_or_else(PoisonError::into_inner)
}

fn refused(after: Duration) -> Error {
    let detail = format!("the model may be asked again in {after:.1?}");
    Error::new(ErrorKind::RateLimited, detail).with_code("model_rate_limited").with_retry_after(after)
}
