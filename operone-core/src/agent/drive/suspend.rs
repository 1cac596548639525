//! Asks for the approvals that a run waits for.

use std::time::Duration;

use super::Drive;
use crate::agent::driver::{Driven, RunIdentity};
use crate::agent::event;
use crate::agent::log::Suspended;
use crate::agent::machine::{PendingCall, ToolOutcome};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::journal::{ApprovalReason, NewApproval};

impl Drive<'_> {
    /// Asks for the approvals that the run waits for, and gives the run back; goes on if they are decided already.
    pub(super) async fn suspend(&mut self, calls: Vec<PendingCall>) -> Result<Option<Driven>> {
        let expires_in = Duration::from_secs(self.run.approval_policy().expires_in);
        let mut events = std::mem::take(&mut self.ended);
        let ended = events.len();
        let mut approvals = Vec::with_capacity(calls.len());
        for call in calls {
            let known = call.approval.as_ref().and_then(|approval| approval.expires_at);
            let expires_at = known.unwrap_or_else(|| self.log.now().plus(expires_in));
            let Some(approval) = approval_of(&call, self.identity, expires_at) else { continue };
            self.run.approval_asked(call.step, expires_at);
            if known.is_none() {
                events.push(event::approval_required(&approval));
            }
            approvals.push(approval);
        }
        match self.log.suspend(events.clone(), &self.run, approvals).await? {
            Suspended::Waiting => return Ok(Some(Driven::Waiting)),
            Suspended::Resolved(resolved) => self.resolve(resolved),
            Suspended::Cancelled => {
                events.truncate(ended);
                self.ended = events;
                self.cancelled.cancel();
            }
        }
        Ok(None)
    }
}

fn approval_of(call: &PendingCall, identity: &RunIdentity, expires_at: Timestamp) -> Option<NewApproval> {
    let reason = call.approval.as_ref()?.reason;
    let mut approval =
        NewApproval::new(call.approval_id(&identity.run)?, call.step, call.call.name.as_str(), reason);
    approval.call_id.clone_from(&call.call.id);
    approval.inputs = call.inputs();
    approval.arguments_hash = call.arguments_hash();
    approval.expires_at = expires_at;
    Some(approval)
}

/// What the model is told of a call that a person did not allow.
pub(in crate::agent) fn refusal(call: &PendingCall) -> Option<ToolOutcome> {
    let approval = call.denied()?;
    let said = approval.comment.as_ref().map(|comment| format!(": {comment}")).unwrap_or_default();
    let error = if approval.reason == ApprovalReason::OutcomeUnknown {
        let detail =
            "the tool was begun before a crash and was not run again: whether it took effect is unknown";
        Error::conflict(format!("{detail}{said}")).with_code("outcome_unknown")
    } else {
        Error::conflict(format!("the call was not approved{said}")).with_code("approval_denied")
    };
    Some(ToolOutcome::error(&error))
}
