//! Approvals on the wire.

use operone_core::clock::Timestamp;
use operone_core::journal::{Approval, ApprovalReason, Decision, Verdict};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An approval as `GET /approvals` shows it.
#[derive(Serialize)]
pub(crate) struct ApprovalView {
    approval_id: String,
    agent_id: Option<String>,
    run_id: String,
    step_id: u64,
    call_id: String,
    tool: String,
    inputs: Value,
    arguments_hash: String,
    reason: ApprovalReason,
    status: &'static str,
    created_at: Timestamp,
    expires_at: Timestamp,
    #[serde(skip_serializing_if = "Option::is_none")]
    decided_at: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    comment: Option<String>,
}

impl ApprovalView {
    pub(crate) fn new(approval: Approval, now: Timestamp) -> Self {
        let status = match (&approval.decided, approval.verdict(now)) {
            (None, Some(_)) => "expired",
            (_, Some(Verdict::Approve)) => "approved",
            (_, Some(Verdict::Deny)) => "denied",
            (_, None) => "pending",
        };
        let Approval { new, work, agent, created_at, decided, .. } = approval;
        Self {
            approval_id: new.id.to_string(),
            agent_id: agent.map(|agent| agent.to_string()),
            run_id: work.to_string(),
            step_id: new.step,
            call_id: new.call_id,
            tool: new.tool,
            inputs: new.inputs,
            arguments_hash: new.arguments_hash,
            reason: new.reason,
            status,
            created_at,
            expires_at: new.expires_at,
            decided_at: decided.as_ref().map(|decided| decided.at),
            comment: decided.and_then(|decided| decided.comment),
        }
    }
}

#[derive(Serialize)]
pub(crate) struct ApprovalPage {
    pub(crate) approvals: Vec<ApprovalView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Decide {
    pub(crate) decision: Verdict,
    pub(crate) comment: Option<String>,
    pub(crate) arguments_hash: Option<String>,
}

impl From<Decide> for Decision {
    fn from(decide: Decide) -> Self {
        let mut decision = Self::new(decide.decision);
        decision.comment = decide.comment;
        decision.arguments_hash = decide.arguments_hash;
        decision
    }
}
