//! Limits how many answers are given at the same time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::watch::{End, Watch, watched};
use crate::error::{Error, ErrorKind, Result};
use crate::model::{LanguageModel, ModelInfo, ModelRequest, ModelStream};

/// A model that gives so many answers at the same time; further callers wait, first come, first served.
///
/// - An answer counts from its call to its end, or until it is dropped. A caller that keeps a stream without reading
///   it keeps its place.
/// - [`ConcurrencyLimit::with_most_waiting`] bounds how many callers wait; one more is refused at once: `RateLimited`
///   with code `model_busy`.
/// - A caller that stops waiting, by dropping the future, gives its place to the next.
#[derive(Debug)]
pub struct ConcurrencyLimit {
    model: Arc<dyn LanguageModel>,
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    most_waiting: usize,
}

impl ConcurrencyLimit {
    /// Limits the answers of this model to so many at the same time, at least one.
    pub fn new(model: Arc<dyn LanguageModel>, most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS)));
        Self { model, places, waiting: AtomicUsize::new(0), most_waiting: usize::MAX }
    }

    /// Sets how many callers may wait; any number unless told otherwise. With none, a caller that would have to wait
    /// is refused.
    #[must_use]
    pub fn with_most_waiting(mut self, callers: usize) -> Self {
        self.most_waiting = callers;
        self
    }

    async fn place(&self) -> Result<OwnedSemaphorePermit> {
        if let Ok(place) = Arc::clone(&self.places).try_acquire_owned() {
            return Ok(place);
        }
        let _waiting = Waiting::enter(&self.waiting, self.most_waiting).ok_or_else(|| {
            let detail = "too many callers wait for the model already";
            Error::new(ErrorKind::RateLimited, detail).with_code("model_busy")
        })?;
        let place = Arc::clone(&self.places).acquire_owned().await;
        place.map_err(|closed| Error::internal("the model is closed").with_source(closed))
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a layer forwards what it does not change")]
impl LanguageModel for ConcurrencyLimit {
    fn info(&self) -> ModelInfo {
        self.model.info()
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let place = Place(self.place().await?);
        watched(self.model.stream(request), place).await
    }
}

/// A caller's place, until the answer has ended.
struct Place(OwnedSemaphorePermit);

impl Watch for Place {
    fn end(self, _: End<'_>) -> Result<()> {
        drop(self.0);
        Ok(())
    }
}

/// A caller that waits, for as long as this exists.
#[derive(Debug)]
pub(super) struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    /// `None` where so many wait already.
    pub(super) fn enter(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let enter = |waiting: usize| (waiting < most).then_some(waiting + 1);
        waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, enter).ok()?;
        Some(Self(waiting))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
