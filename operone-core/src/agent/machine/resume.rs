//! A new run that goes on where an ended one stood.

use super::call::{PendingCall, ToolOutcome};
use super::frame::{Frame, FrameState};
use super::{Run, instructions};
use crate::agent::spec::AgentSpec;
use crate::error::{Error, Result};
use crate::journal::Status;
use crate::model::Message;

impl Run {
    /// A new run of the agent with the conversation of this one, with a full budget, and with what the user says next.
    ///
    /// - Calls that were not begun are run now. Of those that were begun and not answered nobody knows the outcome:
    ///   the model is told, and decides.
    /// - A run that has not ended is `Conflict` with code `running`, a completed one to which the user says nothing
    ///   is `Conflict` with code `completed`.
    pub fn resume(self, spec: &AgentSpec, message: Option<String>) -> Result<Self> {
        let Some(end) = &self.end else {
            return Err(
                Error::conflict("the run has not ended: there is nothing to resume").with_code("running")
            );
        };
        if end.status == Status::Completed && message.is_none() {
            let detail = "the run is complete: say with 'message' what else is to be done";
            return Err(Error::conflict(detail).with_code("completed"));
        }
        let mut next = Self::new(spec);
        next.root.tainted = self.root.tainted;
        next.root.messages = self.root.messages;
        // A prompt that has changed since holds from here on.
        if let Some(first) = next.root.messages.first_mut() {
            *first = instructions(spec);
        }
        if let FrameState::Act { calls } = self.root.state {
            let open = calls.into_iter().map(|call| next.reopened(call)).collect();
            next.root.state = FrameState::Act { calls: open };
            if message.is_some() {
                // The user's word comes behind the results of all calls, so none is left open.
                next.root.close_open_calls();
            }
            next.root.collect();
        }
        if let Some(content) = message {
            next.root.messages.push(Message::User { content });
        }
        Ok(next)
    }

    fn reopened(&mut self, mut call: PendingCall) -> PendingCall {
        self.last_step += 1;
        call.step = self.last_step;
        call.frame = None;
        call.announced = false;
        if call.started && call.outcome.is_none() {
            call.outcome = Some(interrupted());
        }
        call.started = false;
        if let Some(approval) = &mut call.approval {
            (approval.expires_at, approval.verdict, approval.comment) = (None, None, None);
        }
        call
    }
}

impl Frame {
    fn close_open_calls(&mut self) {
        let FrameState::Act { calls } = &mut self.state else { return };
        for call in calls.iter_mut().filter(|call| call.outcome.is_none()) {
            call.outcome = Some(interrupted());
        }
    }
}

fn interrupted() -> ToolOutcome {
    let detail = "the run ended before this call was answered: whether it took effect is unknown";
    ToolOutcome::error(&Error::conflict(detail).with_code("interrupted"))
}
