//! What a run wants done next, and how it ended.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::call::{PendingCall, ToolOutcome};
use crate::error::{Error, ErrorKind, ErrorReport, Result};
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
    /// Returns the answer of a run that completed, and the error of any other.
    ///
    /// # Errors
    ///
    /// What made the run fail, with its causes; `Cancelled` for a cancelled run, and code `max_steps` for one that used
    /// all its model turns.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use operone_core::agent::Agent;
    /// # use operone_core::in_process::{ScriptedModel, ScriptedTurn};
    /// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
    /// let agent = Agent::new(Arc::new(ScriptedModel::new(vec![ScriptedTurn::text(["Hello."])])));
    /// assert_eq!(agent.run("Say hello").await?.into_text()?, "Hello.");
    /// // The script has no second turn.
    /// assert_eq!(agent.run("Again").await?.into_text().unwrap_err().code(), "script_used_up");
    /// # Ok::<(), operone_core::Error>(()) }).unwrap();
    /// ```
    pub fn into_text(self) -> Result<String> {
        match (self.status, self.error) {
            (Status::Completed, _) => Ok(self.output.unwrap_or_default()),
            (_, Some(error)) => Err(error.into()),
            (Status::Cancelled, None) => Err(Error::new(ErrorKind::Cancelled, "the run was cancelled")),
            (Status::MaxSteps, None) => {
                let detail = "the run used all its steps without a final answer: allow more with max_steps";
                Err(Error::new(ErrorKind::RateLimited, detail).with_code("max_steps").with_retryable(false))
            }
            (status, None) => Err(Error::internal(format!("the run ended as '{}'", status.as_str()))),
        }
    }

    /// Returns the answer of a run that completed, read from its JSON into `T`.
    ///
    /// # Errors
    ///
    /// Those of [`RunEnd::into_text`], and `output_mismatch` if the answer cannot be read into `T`.
    pub fn into_typed<T: DeserializeOwned>(self) -> Result<T> {
        serde_json::from_str(&self.into_text()?).map_err(|error| {
            let detail = "the answer cannot be read into the type asked for";
            Error::new(ErrorKind::Unavailable, detail)
                .with_code("output_mismatch")
                .with_retryable(false)
                .with_source(error)
        })
    }

    /// Reads what [`RunEnd::outcome`] wrote. An outcome that a journal wrote itself has no usage.
    pub(in crate::agent) fn from_outcome(outcome: &Outcome) -> Result<Self> {
        let output = outcome.output.as_ref();
        let text = output.and_then(|output| output.get("text")).and_then(Value::as_str);
        let usage = match output.and_then(|output| output.get("usage")) {
            Some(usage) => Usage::deserialize(usage)
                .map_err(|error| Error::internal("the run's usage cannot be read").with_source(error))?,
            None => Usage::default(),
        };
        Ok(Self {
            status: outcome.status,
            output: text.map(str::to_owned),
            error: outcome.error.clone(),
            usage,
        })
    }

    /// What the journal keeps of it.
    pub fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::new(self.status);
        outcome.output = Some(json!({"text": self.output, "usage": self.usage}));
        outcome.error.clone_from(&self.error);
        outcome
    }
}
