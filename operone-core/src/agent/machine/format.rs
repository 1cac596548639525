//! How a run is stored: in this version's format, read in this and every earlier one.

use serde::Deserialize;
use serde_json::Value;

use super::call::PendingCall;
use super::frame::{Frame, FrameState};
use super::{FORMAT, Run, RunEnd};
use crate::agent::budget::{Budget, Spent};
use crate::agent::policy::ApprovalPolicy;
use crate::error::{Error, Result};
use crate::model::{Message, Usage};

impl Run {
    /// Reads what [`Run::to_snapshot`] wrote, in this version or an earlier one.
    pub fn from_snapshot(snapshot: &Value) -> Result<Self> {
        let unreadable = |detail: String| Error::internal(detail).with_code("unreadable_run");
        let read = match snapshot.get("format").and_then(Value::as_u64) {
            Some(format) if format == u64::from(FORMAT) => Self::deserialize(snapshot),
            Some(1) => RunFormat1::deserialize(snapshot).map(Self::from),
            format => {
                return Err(unreadable(format!(
                    "the stored run has format {format:?}, this version reads 1 to {FORMAT}: run it with the version \
                     that wrote it"
                )));
            }
        };
        read.map_err(|error| unreadable("the stored run cannot be read".into()).with_source(error))
    }

    /// The run as stored.
    pub fn to_snapshot(&self) -> Result<Value> {
        serde_json::to_value(self)
            .map_err(|error| Error::internal("the run cannot be stored").with_source(error))
    }
}

/// A run as version 1 stored it: without sub-agents, budgets and approvals.
#[derive(Deserialize)]
struct RunFormat1 {
    messages: Vec<Message>,
    max_steps: u32,
    turns: u32,
    last_step: u64,
    usage: Usage,
    state: StateFormat1,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum StateFormat1 {
    Think { step: Option<u64> },
    Act { calls: Vec<PendingCall> },
    Ended(RunEnd),
}

impl From<RunFormat1> for Run {
    fn from(stored: RunFormat1) -> Self {
        // What the tools returned was not told apart: all of it may be strangers' text.
        let tainted = stored.messages.iter().any(|message| matches!(message, Message::Tool { .. }));
        let (state, end) = match stored.state {
            StateFormat1::Think { step } => (FrameState::Think { step }, None),
            StateFormat1::Act { mut calls } => {
                for call in &mut calls {
                    (call.announced, call.untrusted) = (call.started, true);
                }
                (FrameState::Act { calls }, None)
            }
            StateFormat1::Ended(end) => (FrameState::Think { step: None }, Some(end)),
        };
        let turns = stored.turns;
        let mut root = Frame::new(stored.messages, stored.max_steps, tainted);
        (root.turns, root.state) = (turns, state);
        Self {
            format: FORMAT,
            last_step: stored.last_step,
            max_steps: stored.max_steps,
            spent: Spent { turns, usage: stored.usage, ..Spent::default() },
            budget: Budget::default(),
            policy: ApprovalPolicy::default(),
            root,
            end,
        }
    }
}
