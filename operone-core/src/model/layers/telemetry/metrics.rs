//! What calls of models took and cost, counted within the process.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::model::{ModelInfo, Usage};

/// The most models, and the most kinds of errors, that are told apart.
const MOST: usize = 64;
/// What stands in the place of further ones.
const OTHER: &str = "_OTHER";

const SECONDS: [f64; 14] =
    [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92];
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The metrics of OpenTelemetry's conventions for generative AI, for a server's `/metrics`. Clones share them.
///
/// Sixty-four models and sixty-four kinds of errors are told apart; further ones are counted as `_OTHER`, so that the
/// memory is bounded. Counting locks for a few instructions. Nothing is ever reset.
#[derive(Clone, Debug, Default)]
pub struct ModelMetrics(Arc<Mutex<Counted>>);

/// Never held across an await.
#[derive(Debug, Default)]
struct Counted {
    models: BTreeSet<(String, String)>,
    errors: BTreeSet<String>,
    histograms: BTreeMap<Labels, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Labels {
    metric: Metric,
    provider: String,
    model: String,
    error_type: Option<String>,
    token_type: Option<&'static str>,
}

impl ModelMetrics {
    /// Every series that was counted, in a fixed order.
    pub fn snapshot(&self) -> Vec<Series> {
        let counted = self.counted();
        let series = counted.histograms.iter().map(|(labels, histogram)| Series {
            metric: labels.metric,
            provider: labels.provider.clone(),
            model: labels.model.clone(),
            error_type: labels.error_type.clone(),
            token_type: labels.token_type,
            histogram: histogram.clone(),
        });
        series.collect()
    }

    /// The text that Prometheus reads (exposition format 0.0.4).
    pub fn to_prometheus(&self) -> String {
        super::prometheus::text(&self.snapshot())
    }

    pub(super) fn record(
        &self,
        info: &ModelInfo,
        took: Duration,
        first_event: Option<Duration>,
        usage: Usage,
        error: Option<&str>,
    ) {
        let mut counted = self.counted();
        let (provider, model) = counted.model(info);
        let error_type = error.map(|error| counted.error(error));
        let labels = |metric| Labels {
            metric,
            provider: provider.clone(),
            model: model.clone(),
            error_type: None,
            token_type: None,
        };
        let duration = Labels { error_type, ..labels(Metric::OperationDuration) };
        counted.add(duration, took.as_secs_f64());
        if let Some(first_event) = first_event {
            counted.add(labels(Metric::TimeToFirstChunk), first_event.as_secs_f64());
        }
        for (token_type, tokens) in [("input", usage.input_tokens), ("output", usage.output_tokens)] {
            if tokens > 0 {
                let labels = Labels { token_type: Some(token_type), ..labels(Metric::TokenUsage) };
                counted.add(labels, tokens as f64);
            }
        }
    }

    fn counted(&self) -> MutexGuard<'_, Counted> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counted {
    fn model(&mut self, info: &ModelInfo) -> (String, String) {
        let model = (info.provider.clone(), info.name.clone());
        if self.models.len() >= MOST && !self.models.contains(&model) {
            return (OTHER.into(), OTHER.into());
        }
        self.models.insert(model.clone());
        model
    }

    fn error(&mut self, error: &str) -> String {
        if self.errors.len() >= MOST && !self.errors.contains(error) {
            return OTHER.into();
        }
        self.errors.insert(error.into());
        error.into()
    }

    fn add(&mut self, labels: Labels, value: f64) {
        let bounds = labels.metric.bounds();
        let histogram = self.histograms.entry(labels).or_insert_with(|| Histogram::new(bounds));
        histogram.add(value);
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Metric {
    /// The time from the call to the end of the answer, in seconds.
    OperationDuration,
    /// The time from the call to the first event of the answer, in seconds.
    TimeToFirstChunk,
    /// The tokens of an answer, read and written apart.
    TokenUsage,
}

impl Metric {
    /// The name in the conventions.
    pub const fn name(self) -> &'static str {
        match self {
            Self::OperationDuration => "gen_ai.client.operation.duration",
            Self::TimeToFirstChunk => "gen_ai.client.operation.time_to_first_chunk",
            Self::TokenUsage => "gen_ai.client.token.usage",
        }
    }

    const fn bounds(self) -> &'static [f64] {
        match self {
            Self::OperationDuration | Self::TimeToFirstChunk => &SECONDS,
            Self::TokenUsage => &TOKENS,
        }
    }
}

/// What was measured of calls that have everything in common.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Series {
    /// What is measured.
    pub metric: Metric,
    /// Who serves the model.
    pub provider: String,
    /// The model's name.
    pub model: String,
    /// How the calls failed, where they did; only of [`Metric::OperationDuration`].
    pub error_type: Option<String>,
    /// `input` or `output`; only of [`Metric::TokenUsage`].
    pub token_type: Option<&'static str>,
    /// What was measured.
    pub histogram: Histogram,
}

/// How many values lie where.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Histogram {
    /// The bounds of the buckets; a value on a bound lies below it.
    pub bounds: &'static [f64],
    /// How many values lie in each bucket, and in the last place those above all bounds.
    pub counts: Vec<u64>,
    /// All values together.
    pub sum: f64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len() + 1], sum: 0.0 }
    }

    fn add(&mut self, value: f64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.counts.get_mut(bucket) {
            *count += 1;
        }
        self.sum += value;
    }

    /// How many values there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}
