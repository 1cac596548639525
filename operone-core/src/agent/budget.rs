//! What one run may use, and what it has used.

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, ErrorReport, Result};
use crate::model::Usage;

/// The most that one run may use, its sub-agents included. What is absent is not limited. Model turns are limited
/// by [`AgentSpec::max_steps`](super::AgentSpec::max_steps).
///
/// A run that goes beyond one of them ends as failed with code `budget_exceeded`. What was begun is counted when it
/// is done, so tokens and cost may go over by one model turn.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Budget {
    /// Calls of tools and of sub-agents.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool_calls: Option<u32>,
    /// Tokens read and written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Seconds of work. Waiting for an approval or for a free worker does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<u64>,
    /// Money, in millionths of the currency in which the model's price is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_micros: Option<u64>,
}

impl Budget {
    /// Limits the calls of tools.
    #[must_use]
    pub fn with_tool_calls(mut self, calls: u32) -> Self {
        self.tool_calls = Some(calls);
        self
    }

    /// Limits the tokens read and written.
    #[must_use]
    pub fn with_tokens(mut self, tokens: u64) -> Self {
        self.tokens = Some(tokens);
        self
    }

    /// Limits the seconds of work.
    #[must_use]
    pub fn with_seconds(mut self, seconds: u64) -> Self {
        self.seconds = Some(seconds);
        self
    }

    /// Limits the cost, in millionths.
    #[must_use]
    pub fn with_cost_micros(mut self, micros: u64) -> Self {
        self.cost_micros = Some(micros);
        self
    }

    /// Refuses a limit of zero, under which nothing could begin.
    pub fn check(&self) -> Result<()> {
        let limits = [
            ("tool_calls", self.tool_calls.map(u64::from)),
            ("tokens", self.tokens),
            ("seconds", self.seconds),
            ("cost_micros", self.cost_micros),
        ];
        match limits.iter().find(|(_, limit)| *limit == Some(0)) {
            Some((name, _)) => Err(Error::invalid(format!(
                "a budget of 0 {name} lets nothing begin: leave it out or give more"
            ))
            .with_code("invalid_budget")),
            None => Ok(()),
        }
    }

    /// The first limit that is used up, in words.
    pub(super) fn used_up(&self, spent: &Spent) -> Option<String> {
        let over = |limit: Option<u64>, used: u64| limit.filter(|limit| used >= *limit);
        if let Some(limit) = over(self.tokens, spent.usage.total()) {
            return Some(format!("{limit} tokens"));
        }
        if let Some(limit) = over(self.cost_micros, spent.usage.cost_micros) {
            return Some(format!("{limit} millionths of cost"));
        }
        over(self.seconds, spent.millis / 1000).map(|limit| format!("{limit} seconds"))
    }

    /// The milliseconds of work that are left; `None` without a limit.
    pub(super) fn millis_left(&self, spent: &Spent) -> Option<u64> {
        self.seconds.map(|seconds| seconds.saturating_mul(1000).saturating_sub(spent.millis))
    }
}

/// What a run has used so far. Stored with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Spent {
    /// Model turns that were begun.
    pub(super) turns: u32,
    pub(super) tool_calls: u32,
    pub(super) usage: Usage,
    /// Milliseconds of work.
    pub(super) millis: u64,
}

/// The error of a run that used up its budget.
pub(super) fn exceeded(limit: &str) -> ErrorReport {
    let detail = format!("the run's budget of {limit} is used up");
    ErrorReport::new(ErrorKind::RateLimited, "budget_exceeded", detail)
}
