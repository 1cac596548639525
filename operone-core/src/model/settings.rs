//! How a model is to answer, apart from what it is asked.

use serde::{Deserialize, Serialize};

use super::{ReasoningEffort, ToolChoice};

/// How a model is to answer: sampling, limits, and the choice of tools. What is absent is the service's default.
///
/// A model that cannot honour a setting refuses the request: `Invalid` with code `unsupported_option`.
///
/// ```
/// use operone_core::model::{ModelRequest, ModelSettings};
///
/// let settings = ModelSettings::default().with_temperature(0.2).with_max_tokens(500);
/// let request = ModelRequest::default().with_settings(settings);
/// assert_eq!(request.settings.max_tokens, Some(500));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct ModelSettings {
    /// How freely words are chosen; 0 is the least.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// The share of the likeliest words to choose from, in (0, 1].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f32>,
    /// The most tokens of one answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<u32>,
    /// Texts before which an answer ends; they are not part of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stop: Vec<String>,
    /// The seed of random choices: the same number gives the same answer, as far as the service can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// How much to think before answering.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<ReasoningEffort>,
    /// Whether tools may or must be called.
    #[serde(skip_serializing_if = "ToolChoice::is_auto")]
    pub tool_choice: ToolChoice,
}

impl ModelSettings {
    /// Sets how freely words are chosen.
    #[must_use]
    pub fn with_temperature(mut self, temperature: f32) -> Self {
        self.temperature = Some(temperature);
        self
    }

    /// Sets the share of the likeliest words to choose from.
    #[must_use]
    pub fn with_top_p(mut self, top_p: f32) -> Self {
        self.top_p = Some(top_p);
        self
    }

    /// Sets the most tokens of one answer.
    #[must_use]
    pub fn with_max_tokens(mut self, max_tokens: u32) -> Self {
        self.max_tokens = Some(max_tokens);
        self
    }

    /// Ends an answer before any of these texts.
    #[must_use]
    pub fn with_stop(mut self, stop: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.stop = stop.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the seed of random choices.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// Sets how much to think before answering.
    #[must_use]
    pub fn with_reasoning(mut self, effort: ReasoningEffort) -> Self {
        self.reasoning = Some(effort);
        self
    }

    /// Sets whether tools may or must be called.
    #[must_use]
    pub fn with_tool_choice(mut self, choice: ToolChoice) -> Self {
        self.tool_choice = choice;
        self
    }

    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }
}
