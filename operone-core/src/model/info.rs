//! Which model answers and what its tokens cost.

use serde::{Deserialize, Serialize};

use super::Usage;

/// What answers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelInfo {
    /// Who serves it, for instance `openai-compatible` or `operone`.
    pub provider: String,
    /// The model's name.
    pub name: String,
    /// False for stand-ins that follow rules, such as the extractive model.
    pub is_language_model: bool,
    /// What its tokens cost, if it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price: Option<Price>,
}

impl ModelInfo {
    /// A language model.
    pub fn new(provider: impl Into<String>, name: impl Into<String>) -> Self {
        Self { provider: provider.into(), name: name.into(), is_language_model: true, price: None }
    }

    /// Sets what its tokens cost.
    #[must_use]
    pub fn with_price(mut self, price: Option<Price>) -> Self {
        self.price = price;
        self
    }

    /// A stand-in that follows rules.
    pub fn rules(provider: impl Into<String>, name: impl Into<String>) -> Self {
        Self { is_language_model: false, ..Self::new(provider, name) }
    }
}

/// What a model's tokens cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Price {
    /// A million tokens read, in millionths of the currency.
    pub input_micros: u64,
    /// A million tokens written, in millionths of the currency.
    pub output_micros: u64,
}

impl Price {
    /// What a million tokens cost, in millionths of the currency: 2.50 is 2,500,000.
    pub fn new(input_micros: u64, output_micros: u64) -> Self {
        Self { input_micros, output_micros }
    }

    /// What these tokens cost, in millionths, rounded up.
    pub fn of(&self, usage: &Usage) -> u64 {
        let cost = |tokens: u64, micros: u64| u128::from(tokens) * u128::from(micros);
        let sum = cost(usage.input_tokens, self.input_micros) + cost(usage.output_tokens, self.output_micros);
        u64::try_from(sum.div_ceil(1_000_000)).unwrap_or(u64::MAX)
    }
}
