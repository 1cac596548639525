//! Approvals: calls that wait for a person.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Seq;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::id::{AgentId, ApprovalId, WorkId};

/// Why a call waits for a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ApprovalReason {
    /// Tools of this class need it.
    Class,
    /// This tool needs it.
    Config,
    /// Strangers' text is in the context, and the tool sends things out or must not run twice.
    Tainted,
    /// The tool was begun before a crash and must not run twice: whether it took effect is unknown.
    OutcomeUnknown,
}

impl ApprovalReason {
    /// The word on the wire and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Class => "class",
            Self::Config => "config",
            Self::Tainted => "tainted",
            Self::OutcomeUnknown => "outcome_unknown",
        }
    }

    /// The reason of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Class, Self::Config, Self::Tainted, Self::OutcomeUnknown]
            .into_iter()
            .find(|reason| reason.as_str() == word)
    }
}

/// An approval to ask for. It holds for this call with these arguments and for no other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NewApproval {
    /// Its id.
    pub id: ApprovalId,
    /// The step of the call.
    pub step: Seq,
    /// The call's id, unique within its turn.
    pub call_id: String,
    /// The tool.
    pub tool: String,
    /// What the tool is to be called with.
    pub inputs: Value,
    /// The SHA-256 of tool and arguments, in hexadecimal.
    pub arguments_hash: String,
    /// Why a person is asked.
    pub reason: ApprovalReason,
    /// When it counts as denied.
    pub expires_at: Timestamp,
}

impl NewApproval {
    /// An approval of a call. The inputs are empty until they are set.
    pub fn new(id: ApprovalId, step: u64, tool: impl Into<String>, reason: ApprovalReason) -> Self {
        Self {
            id,
            step,
            call_id: String::new(),
            tool: tool.into(),
            inputs: Value::Null,
            arguments_hash: String::new(),
            reason,
            expires_at: Timestamp::from_millis(i64::MAX),
        }
    }
}

/// An approval as it stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Approval {
    /// What was asked.
    pub new: NewApproval,
    /// The run that waits.
    pub work: WorkId,
    /// The agent whose run it is.
    pub agent: Option<AgentId>,
    /// When it was asked.
    pub created_at: Timestamp,
    /// What was decided.
    pub decided: Option<Decided>,
}

impl Approval {
    /// An approval that nobody has decided.
    pub fn new(new: NewApproval, work: WorkId, agent: Option<AgentId>, created_at: Timestamp) -> Self {
        Self { new, work, agent, created_at, decided: None }
    }

    /// Whether a decision changes anything: false where the same verdict stands already. What may not be decided
    /// is an error, as [`Journal::decide`](super::Journal::decide) says.
    pub fn may_be_decided(&self, decision: &Decision, run_ended: bool, now: Timestamp) -> Result<bool> {
        let id = &self.new.id;
        let conflict = |detail: String, code: &'static str| Err(Error::conflict(detail).with_code(code));
        if let Some(decided) = &self.decided {
            return if decided.verdict == decision.verdict {
                Ok(false)
            } else {
                conflict(
                    format!("approval {id} was decided already: {}", decided.verdict.as_str()),
                    "already_decided",
                )
            };
        }
        if run_ended {
            return conflict(format!("the run of approval {id} has ended"), "run_ended");
        }
        if now > self.new.expires_at {
            return conflict(format!("approval {id} has expired and counts as denied"), "approval_expired");
        }
        if decision.arguments_hash.as_ref().is_some_and(|hash| *hash != self.new.arguments_hash) {
            return conflict(
                format!("approval {id} is for other arguments: look at it again"),
                "arguments_changed",
            );
        }
        Ok(true)
    }

    /// Whether the call may run: the verdict, or no once the time is over; `None` while it is open.
    pub fn verdict(&self, now: Timestamp) -> Option<Verdict> {
        match &self.decided {
            Some(decided) => Some(decided.verdict),
            None => (now > self.new.expires_at).then_some(Verdict::Deny),
        }
    }
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The call may run.
    Approve,
    /// The call must not run; the model is told.
    Deny,
}

impl Verdict {
    /// The word on the wire and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Deny => "deny",
        }
    }

    /// The verdict of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Approve, Self::Deny].into_iter().find(|verdict| verdict.as_str() == word)
    }
}

/// A decision to take.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Yes or no.
    pub verdict: Verdict,
    /// What the model is told with a no.
    pub comment: Option<String>,
    /// The hash of the arguments that the person saw; `None` takes those asked for.
    pub arguments_hash: Option<String>,
}

impl Decision {
    /// A decision without a comment.
    pub fn new(verdict: Verdict) -> Self {
        Self { verdict, comment: None, arguments_hash: None }
    }

    /// Adds what the model is told.
    #[must_use]
    pub fn with_comment(mut self, comment: impl Into<String>) -> Self {
        self.comment = Some(comment.into());
        self
    }

    /// Binds the decision to the arguments that the person saw.
    #[must_use]
    pub fn with_arguments_hash(mut self, hash: impl Into<String>) -> Self {
        self.arguments_hash = Some(hash.into());
        self
    }
}

/// A decision that was taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decided {
    /// Yes or no.
    pub verdict: Verdict,
    /// What the model is told with a no.
    pub comment: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl Decided {
    /// A decision that was taken at a time.
    pub fn new(verdict: Verdict, comment: Option<String>, at: Timestamp) -> Self {
        Self { verdict, comment, at }
    }
}

/// Which approvals to list.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ApprovalFilter {
    /// Only those of this run.
    pub work: Option<WorkId>,
    /// Only this one.
    pub id: Option<ApprovalId>,
    /// Only those that can still be decided: neither decided nor expired, and the run has not ended.
    pub pending: bool,
    /// Only those asked for after this one.
    pub after: Option<ApprovalId>,
    /// At most so many.
    pub limit: usize,
}

impl ApprovalFilter {
    /// All, at most `limit`.
    pub fn all(limit: usize) -> Self {
        Self { work: None, id: None, pending: false, after: None, limit }
    }

    /// Those that can still be decided, at most `limit`.
    pub fn pending(limit: usize) -> Self {
        Self { pending: true, ..Self::all(limit) }
    }

    /// All of one run.
    pub fn of(work: WorkId) -> Self {
        Self { work: Some(work), ..Self::all(usize::MAX) }
    }

    /// One.
    pub fn one(id: ApprovalId) -> Self {
        Self { id: Some(id), ..Self::all(1) }
    }

    /// Goes on behind an approval.
    #[must_use]
    pub fn with_after(mut self, after: Option<ApprovalId>) -> Self {
        self.after = after;
        self
    }
}
