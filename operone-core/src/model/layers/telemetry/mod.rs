//! Tells of every call, by the conventions of OpenTelemetry for generative AI.

mod content;
mod metrics;
mod prometheus;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::json;
use tokio::time::Instant;
use tracing::{Instrument, Span, field};

use super::watch::{End, Watch, watched};
use crate::error::Result;
use crate::model::{Finish, LanguageModel, ModelEvent, ModelInfo, ModelRequest, ModelStream};
use content::Spoken;

pub use metrics::{Histogram, Metric, ModelMetrics, Series};

/// A model whose every call is a [`tracing`] span, and is counted where metrics are asked for.
///
/// - The span lies around the call up to the end of the answer, or to the moment in which its caller drops it. What is
///   logged below stands in it. Its name is `chat`; `otel.name` is `chat` and the model's name, as exporters to
///   OpenTelemetry want it.
/// - Fields: `gen_ai.operation.name`, `gen_ai.provider.name`, `gen_ai.request.model`, `gen_ai.request.stream`,
///   `gen_ai.output.type`; of the request's options `gen_ai.request.max_tokens`, `.temperature`, `.top_p`, `.seed` and
///   `.stop_sequences`; of the answer `gen_ai.response.finish_reasons`, `gen_ai.response.time_to_first_chunk`,
///   `gen_ai.usage.input_tokens`, `gen_ai.usage.output_tokens`; and `error.type`. Lists are JSON texts, since a span has
///   none.
/// - `error.type` is the error's code, `cancelled` where the caller dropped the answer, and `model_cut_off` where it
///   broke off. Tokens that the service does not tell are not reported.
/// - What people and models say is in none of it. [`Telemetry::with_content`] adds it.
/// - Around a [`Retry`](super::Retry) or [`Cache`](super::Cache) it tells of the call as the caller sees it; below, of
///   each try and of what was really asked.
///
/// ```
/// # use std::sync::Arc;
/// # use futures_util::StreamExt;
/// # use operone_core::in_process::{ScriptedModel, ScriptedTurn};
/// # use operone_core::model::{LanguageModel, ModelRequest};
/// use operone_core::model::layers::{ModelMetrics, Telemetry};
///
/// # let service = Arc::new(ScriptedModel::new(vec![ScriptedTurn::text(["Hello."])]));
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let metrics = ModelMetrics::default();
/// let model = Telemetry::new(service).with_metrics(metrics.clone());
/// model.stream(ModelRequest::default()).await?.collect::<Vec<_>>().await;
/// assert!(metrics.to_prometheus().contains("gen_ai_client_operation_duration_seconds_count"));
/// # Ok::<(), operone_core::Error>(()) }).unwrap();
/// ```
#[derive(Debug)]
pub struct Telemetry {
    model: Arc<dyn LanguageModel>,
    metrics: Option<ModelMetrics>,
    content: bool,
}

impl Telemetry {
    /// Tells of the calls of this model, in spans.
    pub fn new(model: Arc<dyn LanguageModel>) -> Self {
        Self { model, metrics: None, content: false }
    }

    /// Counts calls here as well.
    #[must_use]
    pub fn with_metrics(mut self, metrics: ModelMetrics) -> Self {
        self.metrics = Some(metrics);
        self
    }

    /// Sets whether conversations are told too, as two events `gen_ai.client.inference.operation.details` in the span:
    /// one with `gen_ai.input.messages`, and one with `gen_ai.output.messages` of an answer that came to its end. They
    /// hold whatever people wrote: see to it who may read them. False by default.
    #[must_use]
    pub fn with_content(mut self, content: bool) -> Self {
        self.content = content;
        self
    }
}

#[async_trait]
#[deny(clippy::missing_trait_methods, reason = "a layer forwards what it does not change")]
impl LanguageModel for Telemetry {
    fn info(&self) -> ModelInfo {
        self.model.info()
    }

    async fn stream(&self, request: ModelRequest) -> Result<ModelStream> {
        let info = self.info();
        let span = span(&info, &request);
        if self.content {
            span.in_scope(|| content::tell_input(&request));
        }
        let call = Call {
            span: span.clone(),
            metrics: self.metrics.clone(),
            info,
            begun: Instant::now(),
            first_event: None,
            spoken: self.content.then(Spoken::default),
        };
        watched(self.model.stream(request).instrument(span), call).await
    }
}

fn span(info: &ModelInfo, request: &ModelRequest) -> Span {
    let span = tracing::info_span!(
        "chat",
        otel.name = format!("chat {}", info.name),
        otel.kind = "client",
        gen_ai.operation.name = "chat",
        gen_ai.provider.name = info.provider,
        gen_ai.request.model = info.name,
        gen_ai.request.stream = true,
        gen_ai.request.max_tokens = request.settings.max_tokens,
        gen_ai.request.temperature = request.settings.temperature.map(f64::from),
        gen_ai.request.top_p = request.settings.top_p.map(f64::from),
        gen_ai.request.seed = request.settings.seed,
        gen_ai.request.stop_sequences = field::Empty,
        gen_ai.output.type = if request.response_schema.is_some() { "json" } else { "text" },
        gen_ai.response.finish_reasons = field::Empty,
        gen_ai.response.time_to_first_chunk = field::Empty,
        gen_ai.usage.input_tokens = field::Empty,
        gen_ai.usage.output_tokens = field::Empty,
        error.type = field::Empty,
    );
    if !request.settings.stop.is_empty() {
        span.record("gen_ai.request.stop_sequences", json!(request.settings.stop).to_string());
    }
    span
}

/// A call that goes on.
struct Call {
    span: Span,
    metrics: Option<ModelMetrics>,
    info: ModelInfo,
    begun: Instant,
    first_event: Option<Duration>,
    spoken: Option<Spoken>,
}

impl Call {
    fn event(&mut self) {
        if self.first_event.is_none() {
            let waited = self.begun.elapsed();
            self.first_event = Some(waited);
            self.span.record("gen_ai.response.time_to_first_chunk", waited.as_secs_f64());
        }
    }

    fn done(&mut self, finish: &Finish) {
        self.event();
        let usage = finish.usage;
        self.span.record("gen_ai.response.finish_reasons", json!([finish.reason]).to_string());
        if usage.total() > 0 {
            self.span.record("gen_ai.usage.input_tokens", usage.input_tokens);
            self.span.record("gen_ai.usage.output_tokens", usage.output_tokens);
        }
        if let Some(spoken) = self.spoken.take() {
            self.span.in_scope(|| spoken.tell(finish.reason));
        }
    }
}

impl Watch for Call {
    fn span(&self) -> Option<&Span> {
        Some(&self.span)
    }

    fn part(&mut self, part: &ModelEvent) {
        self.event();
        if let Some(spoken) = &mut self.spoken {
            spoken.push(part);
        }
    }

    fn end(mut self, end: End<'_>) -> Result<()> {
        let (usage, error) = match end {
            End::Done(finish) => {
                self.done(finish);
                (finish.usage, None)
            }
            End::Failed(error) => (Default::default(), Some(error.code())),
            End::CutOff => (Default::default(), Some("model_cut_off")),
            End::Dropped => (Default::default(), Some("cancelled")),
        };
        if let Some(error) = error {
            self.span.record("error.type", error);
        }
        if let Some(metrics) = &self.metrics {
            metrics.record(&self.info, self.begun.elapsed(), self.first_event, usage, error);
        }
        Ok(())
    }
}
