//! What a run wants done next, and how it ended.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::call::{PendingCall, ToolOutcome};
use crate::error::ErrorReport;
use crate::journal::{Outcome, Status};
use crate::model::Usage;

/// What is to be done next.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Next {
    /// These, all at once.
    Do(Vec<Action>),
    /// Nothing until a person has decided on one of these calls.
    Wait(Vec<PendingCall>),
    /// Nothing: the run has ended.
    Done(RunEnd),
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Action {
    /// Ask the model.
    Think {
        /// The step of the call that a sub-agent works on; `None` for the agent itself.
        within: Option<u64>,
        /// The sub-agents from the agent down to the one that thinks, by the names of their tools.
        agents: Vec<String>,
        /// The step, if it was begun before, in this life or an earlier one.
        step: Option<u64>,
    },
    /// Call a tool.
    Call {
        /// The step of the call that a sub-agent works on; `None` for the agent itself.
        within: Option<u64>,
        /// The sub-agents from the agent down to the one that calls.
        agents: Vec<String>,
        /// The call.
        call: Box<PendingCall>,
    },
    /// Take a sub-agent's answer as the outcome of a call.
    Return {
        /// The call.
        call: Box<PendingCall>,
        /// The answer.
        outcome: ToolOutcome,
    },
}

/// How a run ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RunEnd {
    /// A terminal status.
    pub status: Status,
    /// The answer; what there was of it if the run did not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<String>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
    /// What the run used.
    pub usage: Usage,
}

impl RunEnd {
    /// What the journal keeps of it.
    pub fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::new(self.status);
        outcome.output = Some(json!({"text": self.output, "usage": self.usage}));
        outcome.error.clone_from(&self.error);
        outcome
    }
}
