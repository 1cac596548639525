//! A tool call of a run: what the model asked for, how far it got, and what came of it.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::frame::Frame;
use crate::cache::ContentHash;
use crate::clock::Timestamp;
use crate::error::ErrorReport;
use crate::id::{ApprovalId, WorkId};
use crate::journal::{ApprovalReason, Verdict};
use crate::model::ToolCall;
use crate::text::floor_char_boundary;

/// The most bytes of one tool's output that a model reads.
const MAX_OUTPUT: usize = 64 * 1024;

/// A call that a model asked for, with what is known of the tool.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ProposedCall {
    /// What the model asked for.
    pub call: ToolCall,
    /// Whether it may run beside other calls.
    pub concurrent: bool,
    /// Whether strangers may have written what it returns.
    pub untrusted: bool,
    /// Why it needs approval, if it does.
    pub approval: Option<ApprovalReason>,
}

impl ProposedCall {
    /// A call that runs alone, is trusted, and needs no approval.
    pub fn new(call: ToolCall) -> Self {
        Self { call, concurrent: false, untrusted: false, approval: None }
    }
}

/// A tool call of the current turn. Stored with the run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PendingCall {
    /// Its step.
    pub step: u64,
    /// What the model asked for.
    pub call: ToolCall,
    /// Whether it may run beside other calls.
    #[serde(default)]
    pub concurrent: bool,
    /// Whether strangers may have written what it returns.
    #[serde(default)]
    pub untrusted: bool,
    /// Whether the begin of its step is written.
    #[serde(default)]
    pub announced: bool,
    /// Whether it was begun, in this life of the process or an earlier one.
    pub started: bool,
    /// Whom it waits for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval: Option<CallApproval>,
    /// The sub-agent that works on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) frame: Option<Box<Frame>>,
    /// What came of it.
    pub outcome: Option<ToolOutcome>,
}

impl PendingCall {
    pub(super) fn new(step: u64, proposed: ProposedCall) -> Self {
        Self {
            step,
            call: proposed.call,
            concurrent: proposed.concurrent,
            untrusted: proposed.untrusted,
            announced: false,
            started: false,
            approval: proposed.approval.map(|reason| CallApproval::new(reason, 0)),
            frame: None,
            outcome: None,
        }
    }

    /// Whether a person has yet to decide.
    pub fn is_waiting(&self) -> bool {
        self.approval.as_ref().is_some_and(|approval| approval.verdict.is_none())
    }

    /// Whether a person has said no, and what they said with it.
    pub fn denied(&self) -> Option<&CallApproval> {
        self.approval.as_ref().filter(|approval| approval.verdict == Some(Verdict::Deny))
    }

    /// The arguments as JSON, or as the text that they are.
    pub fn inputs(&self) -> Value {
        self.call.parsed_arguments().unwrap_or_else(|_| Value::from(self.call.arguments.as_str()))
    }

    /// The SHA-256 of tool and arguments, in hexadecimal: what an approval is bound to.
    pub fn arguments_hash(&self) -> String {
        ContentHash::of(format!("{}\n{}", self.call.name, self.inputs())).to_hex()
    }

    /// The same for each try of this call in `run`, and for no other call.
    pub fn idempotency_key(&self, run: &WorkId) -> String {
        ContentHash::of(format!("{run}\n{}\n{}\n{}", self.step, self.call.name, self.call.arguments)).to_hex()
    }

    /// The id of the approval that the call waits for in `run`.
    pub fn approval_id(&self, run: &WorkId) -> Option<ApprovalId> {
        let asked = self.approval.as_ref()?.asked;
        let hash =
            ContentHash::of(format!("{run}\n{}\n{asked}\n{}", self.step, self.arguments_hash())).to_hex();
        ApprovalId::new(format!("apr-{}", hash.get(..32)?)).ok()
    }
}

/// The approval of a call. Stored with the run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct CallApproval {
    /// Why a person is asked.
    pub reason: ApprovalReason,
    /// How often a person was asked about this call before.
    pub asked: u32,
    /// When it counts as denied; `None` until it was asked for.
    pub expires_at: Option<Timestamp>,
    /// What was decided.
    pub verdict: Option<Verdict>,
    /// What was said with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl CallApproval {
    pub(super) fn new(reason: ApprovalReason, asked: u32) -> Self {
        Self { reason, asked, expires_at: None, verdict: None, comment: None }
    }
}

/// What came of a tool call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ToolOutcome {
    /// Its output.
    Ok(Value),
    /// What went wrong, with the schema where the input did not fit.
    Error {
        /// The error.
        error: ErrorReport,
        /// The schema that the input must fit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input_schema: Option<Value>,
    },
}

impl ToolOutcome {
    /// An error without a schema.
    pub fn error(error: impl Into<ErrorReport>) -> Self {
        Self::Error { error: error.into(), input_schema: None }
    }

    /// What the model reads of it, at most 64 KiB.
    pub fn content(&self) -> String {
        let mut content = match self {
            Self::Ok(Value::String(text)) => text.clone(),
            Self::Ok(value) => value.to_string(),
            Self::Error { error, input_schema } => {
                let mut report = json!({"code": error.code, "detail": error.detail});
                if let (Some(object), Some(schema)) = (report.as_object_mut(), input_schema) {
                    object.insert("input_schema".into(), schema.clone());
                }
                json!({ "error": report }).to_string()
            }
        };
        if content.len() > MAX_OUTPUT {
            content.truncate(floor_char_boundary(&content, MAX_OUTPUT));
            content.push_str(" … (cut)");
        }
        content
    }

    /// Whether it is an output.
    pub fn is_ok(&self) -> bool {
        matches!(self, Self::Ok(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_output_is_cut_on_a_character() {
        let content = ToolOutcome::Ok(json!("é".repeat(MAX_OUTPUT))).content();
        assert!(content.len() < MAX_OUTPUT + 32 && content.ends_with("(cut)"));
    }

    #[test]
    fn an_approval_is_for_these_arguments_and_this_time() {
        let run = WorkId::new("run-1").unwrap();
        let pending = |arguments: &str, asked| {
            let call = ToolCall::new("1", "mail.send", arguments);
            let mut pending = PendingCall::new(2, ProposedCall::new(call));
            pending.approval = Some(CallApproval::new(ApprovalReason::Class, asked));
            pending
        };
        let first = pending(r#"{"to": "a"}"#, 0);
        assert_eq!(first.approval_id(&run), pending(r#"{ "to":"a" }"#, 0).approval_id(&run));
        assert_ne!(first.approval_id(&run), pending(r#"{"to": "b"}"#, 0).approval_id(&run));
        assert_ne!(first.approval_id(&run), pending(r#"{"to": "a"}"#, 1).approval_id(&run));
        assert_ne!(first.arguments_hash(), pending(r#"{"to": "b"}"#, 0).arguments_hash());
    }
}
