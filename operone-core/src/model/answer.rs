//! The parts of an answer and its end.

use serde::{Deserialize, Serialize};

use super::{Reasoning, ToolCall};

/// One part of an answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ModelEvent {
    /// More text.
    Text(String),
    /// More of what the model thinks; no part of the answer itself.
    Reasoning(Reasoning),
    /// A call, whole.
    Call(ToolCall),
    /// The end.
    Done(Finish),
}

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Finish {
    /// Why it ended.
    pub reason: FinishReason,
    /// What it cost; zeros where the service does not say.
    pub usage: Usage,
}

impl Finish {
    /// An end with what it cost.
    pub fn new(reason: FinishReason, usage: Usage) -> Self {
        Self { reason, usage }
    }
}

/// Why an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum FinishReason {
    /// The answer is complete.
    Stop,
    /// The model waits for tools.
    ToolCalls,
    /// The most tokens were reached: the answer is cut off.
    Length,
    /// The service withheld the answer.
    Refused,
}

/// Tokens used. Stored with runs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Usage {
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// What they cost, in millionths of the currency of the model's price; 0 where no price is known.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cost_micros: u64,
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}

impl Usage {
    /// Tokens read and written.
    pub fn new(input_tokens: u64, output_tokens: u64) -> Self {
        Self { input_tokens, output_tokens, cost_micros: 0 }
    }

    /// Tokens read and written together.
    pub fn total(&self) -> u64 {
        self.input_tokens.saturating_add(self.output_tokens)
    }

    /// Adds `other`.
    pub fn add(&mut self, other: Self) {
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
        self.cost_micros = self.cost_micros.saturating_add(other.cost_micros);
    }
}
