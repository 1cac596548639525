//! What a reader of a run sees, and where a reader stands.

use std::fmt;

use serde_json::json;

use super::log::Resolved;
use super::machine::{PendingCall, RunEnd, ToolOutcome};
use crate::error::{Error, Result};
use crate::id::WorkId;
use crate::journal::{JournalEvent, NewApproval, NewEvent, Seq};

/// One item of a run's stream.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum RunEvent {
    /// An event of the journal: the same for every reader, for ever.
    Durable(JournalEvent),
    /// A piece of the model's text, live. It is kept only for those who follow: the step's `step_end` has the whole
    /// text.
    Token {
        /// Its place: behind the begin of its step.
        cursor: Cursor,
        /// The step.
        step: u64,
        /// The piece.
        content: String,
    },
    /// The text of the open step so far, in place of pieces that this reader can no longer get one by one.
    Snapshot {
        /// The place up to which it reaches.
        cursor: Cursor,
        /// The step.
        step: u64,
        /// The text so far.
        text: String,
    },
}

/// Where a reader stands in a run: behind an event of the journal, and behind so many pieces of text after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor {
    /// The last event seen; zero before the first.
    pub seq: Seq,
    /// The pieces of text seen after it.
    pub token: u64,
}

impl Cursor {
    /// Behind an event.
    pub fn after(seq: Seq) -> Self {
        Self { seq, token: 0 }
    }

    /// Reads `<run>.<seq>` or `<run>.<seq>.<token>`, as [`Cursor::id`] writes it.
    pub fn parse(id: &str) -> Result<(WorkId, Self)> {
        let wrong =
            || Error::invalid(format!("'{id}' is no event id of a run")).with_code("invalid_event_id");
        let mut parts = id.split('.');
        let run = WorkId::new(parts.next().unwrap_or_default()).map_err(|_| wrong())?;
        let seq = parts.next().and_then(|seq| seq.parse().ok()).ok_or_else(wrong)?;
        let token = parts.next().map_or(Ok(0), |token| token.parse().map_err(|_| wrong()))?;
        if parts.next().is_some() {
            return Err(wrong());
        }
        Ok((run, Self { seq, token }))
    }

    /// The event id of this place in `run`.
    pub fn id(self, run: &WorkId) -> impl fmt::Display {
        if self.token == 0 {
            format!("{run}.{}", self.seq)
        } else {
            format!("{run}.{}.{}", self.seq, self.token)
        }
    }
}

/// Whose step it is: that of the agent, or of a sub-agent that works on a call.
#[derive(Clone, Debug, Default)]
pub(super) struct Owner {
    pub(super) within: Option<u64>,
    pub(super) agent: Option<String>,
}

fn step_begun(step: u64, owner: &Owner, action: &str, tool: Option<&str>) -> NewEvent {
    let mut payload = json!({"step_id": step, "action": action});
    if let Some(object) = payload.as_object_mut() {
        tool.into_iter().for_each(|tool| drop(object.insert("tool".into(), json!(tool))));
        if let Some(within) = owner.within {
            object.insert("parent_step_id".into(), json!(within));
            object.insert("agent".into(), json!(owner.agent));
        }
    }
    NewEvent::new("step_start", payload)
}

pub(super) fn think_begun(step: u64, owner: &Owner) -> NewEvent {
    step_begun(step, owner, "think", None)
}

pub(super) fn act_begun(call: &PendingCall, owner: &Owner) -> [NewEvent; 2] {
    let (step, tool) = (call.step, &call.call.name);
    let said = json!({"step_id": step, "call_id": call.call.id, "tool": tool, "inputs": call.inputs()});
    [step_begun(step, owner, "tool", Some(tool)), NewEvent::new("tool_call", said)]
}

pub(super) fn approval_required(approval: &NewApproval) -> NewEvent {
    let payload = json!({
        "approval_id": approval.id,
        "step_id": approval.step,
        "call_id": approval.call_id,
        "tool": approval.tool,
        "inputs": approval.inputs,
        "arguments_hash": approval.arguments_hash,
        "reason": approval.reason,
        "expires_at": approval.expires_at,
    });
    NewEvent::new("approval_required", payload)
}

pub(super) fn approval_decided(call: &PendingCall, resolved: &Resolved) -> NewEvent {
    let mut payload = json!({
        "approval_id": resolved.id,
        "step_id": call.step,
        "call_id": call.call.id,
        "tool": call.call.name,
        "decision": resolved.verdict,
    });
    if let (Some(object), Some(comment)) = (payload.as_object_mut(), &resolved.comment) {
        object.insert("comment".into(), json!(comment));
    }
    NewEvent::new("approval_decided", payload)
}

pub(super) fn act_ended(call: &PendingCall, outcome: &ToolOutcome, millis: u64) -> [NewEvent; 2] {
    let (step, tool) = (call.step, &call.call.name);
    let mut result = json!({"step_id": step, "call_id": call.call.id, "tool": tool});
    let (status, key, value) = match outcome {
        ToolOutcome::Ok(output) => ("ok", "output", output.clone()),
        ToolOutcome::Error { error, .. } => {
            ("error", "error", json!({"code": error.code, "detail": error.detail}))
        }
    };
    if let Some(object) = result.as_object_mut() {
        object.insert("status".into(), json!(status));
        object.insert(key.into(), value);
    }
    [NewEvent::new("tool_result", result), step_ended(step, status, &outcome.content(), millis)]
}

pub(super) fn step_ended(step: u64, status: &str, output: &str, millis: u64) -> NewEvent {
    NewEvent::new(
        "step_end",
        json!({"step_id": step, "status": status, "output": output, "duration_ms": millis}),
    )
}

pub(super) fn ended(end: &RunEnd) -> NewEvent {
    let mut payload = json!({"status": end.status, "output": end.output, "usage": end.usage});
    if let (Some(object), Some(error)) = (payload.as_object_mut(), &end.error) {
        object.insert("error".into(), json!({"code": error.code, "detail": error.detail}));
    }
    NewEvent::new("end", payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_id_is_read_as_it_is_written() {
        let run = WorkId::new("run-1").unwrap();
        for cursor in [Cursor::after(7), Cursor { seq: 7, token: 3 }, Cursor::default()] {
            assert_eq!(Cursor::parse(&cursor.id(&run).to_string()).unwrap(), (run.clone(), cursor));
        }
        for wrong in ["", "run-1", "run-1.", "run-1.x", "run-1.1.2.3", ".1", "run 1.1", "run-1.-1"] {
            assert_eq!(Cursor::parse(wrong).unwrap_err().code(), "invalid_event_id", "{wrong}");
        }
    }
}
