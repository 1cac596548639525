//! Asks the next model where one fails.

use std::sync::Arc;

use async_trait::async_trait;

use super::begin::begin;
use crate::error::{ErrorKind, Result};
use crate::model::{LanguageModel, ModelInfo, ModelRequest, ModelStream};

/// Models of which the first that answers is heard; they are asked one after the other.
///
/// - Any error before the first event leads to the next model, also one that says that the request is wrong: what one
///   model refuses another may take. Only `Cancelled` is given at once.
/// - The call waits for the first event. After it errors are passed on: an answer is never put together from two.
/// - Where all fail, the last model's error is given; those of the others are logged, by code and without content.
/// - [`LanguageModel::info`] is the first model's, also where another one answers. A [`Telemetry`](super::Telemetry)
///   around each model tells them apart.
/// - Each call begins with the first model. Dropping the future ends the one that is being asked.
///
/// ```
/// # use std::sync::Arc;
/// # use operone_core::in_process::{ExtractiveModel, ScriptedModel};
/// # use operone_core::model::{LanguageModel, Message, ModelRequest};
/// use operone_core::model::layers::Fallback;
///
/// # let service = Arc::new(ScriptedModel::new(Vec::new()));
/// # let request = ModelRequest::new(vec![Message::user("hello")]);
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let model = Fallback::new(service).or(Arc::new(ExtractiveModel));
/// model.stream(request).await?;
/// # Ok::<(), operone_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Fallback {
    first: Arc<dyn LanguageModel>,
    others: Vec<Arc<dyn LanguageModel>>,
}

impl Fallback {
    /// Asks this model first.
    pub fn new(first: Arc<dyn LanguageModel>) -> Self {
        Self { first, others: Vec::new() }
    }

    /// Asks this model where all before it failed.
    #[must_use]
    pub fn or(mut self, next: Arc<dyn LanguageModel>) -> Self {
        self.others.push(next);
        self
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a layer forwards what it does not change")]
impl LanguageModel for Fallback {
    fn info(&self) -> ModelInfo {
        self.first.info()
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let mut model = &self.first;
        for next in &self.others {
            let error = match begin(&**model, request.clone()).await {
                Err(error) if error.kind() != ErrorKind::Cancelled => error,
                other => return other,
            };
            let (failed, next_one) = (model.info().name, next.info().name);
            tracing::warn!(model = failed, next = next_one, code = error.code(), "the next model is asked");
            model = next;
        }
        begin(&**model, request).await
    }
}
