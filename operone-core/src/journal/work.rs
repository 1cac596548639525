//! Runs and jobs as a journal keeps them: what was asked for, where it stands, how it ended.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{NewEvent, Seq};
use crate::clock::Timestamp;
use crate::error::ErrorReport;
use crate::id::{AgentId, TenantId, WorkId};

/// What kind of work it is, for instance `agent` or `ingest`: decides who runs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkKind(std::borrow::Cow<'static, str>);

impl WorkKind {
    /// A run of an agent.
    pub const AGENT: Self = Self(std::borrow::Cow::Borrowed("agent"));
    /// A batch of documents to ingest.
    pub const INGEST: Self = Self(std::borrow::Cow::Borrowed("ingest"));
    /// A collection whose vectors are made anew by another embedder.
    pub const REEMBED: Self = Self(std::borrow::Cow::Borrowed("reembed"));

    /// A kind by its name.
    pub fn new(name: impl Into<String>) -> Self {
        Self(std::borrow::Cow::Owned(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Where a run or job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Status {
    /// Waits for a worker.
    Queued,
    /// A worker has it.
    Running,
    /// Waits for a person.
    WaitingApproval,
    /// Ended well.
    Completed,
    /// Ended with an error.
    Failed,
    /// Ended on request.
    Cancelled,
    /// Ended because it had used its steps.
    MaxSteps,
}

impl Status {
    /// Whether nothing will happen any more.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled | Self::MaxSteps)
    }

    /// The word on the wire and in SQL.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Running => "running",
            Self::WaitingApproval => "waiting_approval",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::MaxSteps => "max_steps",
        }
    }

    /// The status of this word.
    pub fn parse(word: &str) -> Option<Self> {
        [
            Self::Queued,
            Self::Running,
            Self::WaitingApproval,
            Self::Completed,
            Self::Failed,
            Self::Cancelled,
            Self::MaxSteps,
        ]
        .into_iter()
        .find(|status| status.as_str() == word)
    }
}

/// Work to queue.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewWork {
    /// Its id.
    pub id: WorkId,
    /// Who is to run it.
    pub kind: WorkKind,
    /// Whose it is.
    pub tenant: TenantId,
    /// The agent whose run it is.
    pub agent: Option<AgentId>,
    /// What is to be done, as the one who runs it reads it.
    pub spec: Value,
    /// Where it begins, if not at the begin.
    pub snapshot: Option<Value>,
    /// Whether it may wait behind another run of its agent.
    pub behind: bool,
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl NewWork {
    /// Work that belongs to no agent.
    pub fn new(id: WorkId, kind: WorkKind, tenant: TenantId, spec: Value, created_at: Timestamp) -> Self {
        Self { id, kind, tenant, agent: None, spec, snapshot: None, behind: false, created_at }
    }

    /// Makes it a run of `agent`.
    #[must_use]
    pub fn with_agent(mut self, agent: AgentId) -> Self {
        self.agent = Some(agent);
        self
    }

    /// Makes it begin where a snapshot stands.
    #[must_use]
    pub fn with_snapshot(mut self, snapshot: Value) -> Self {
        self.snapshot = Some(snapshot);
        self
    }

    /// Lets it wait behind another run of its agent.
    #[must_use]
    pub fn behind_others(mut self) -> Self {
        self.behind = true;
        self
    }
}

/// A run or job as it stands.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Work {
    /// What was queued.
    pub new: NewWork,
    /// Where it stands.
    pub status: Status,
    /// How often it was leased, and not released, since its last event; the lease that wrote the event included.
    pub attempts: u32,
    /// The number of its last event.
    pub last_seq: Seq,
    /// Whether its end was asked for.
    pub cancel_requested: bool,
    /// The last snapshot.
    pub snapshot: Option<Value>,
    /// How it ended.
    pub outcome: Option<Outcome>,
    /// When it was changed last.
    pub updated_at: Timestamp,
}

impl Work {
    /// Work that was just queued.
    pub fn queued(mut new: NewWork) -> Self {
        let (updated_at, snapshot) = (new.created_at, new.snapshot.take());
        Self {
            new,
            status: Status::Queued,
            attempts: 0,
            last_seq: 0,
            cancel_requested: false,
            snapshot,
            outcome: None,
            updated_at,
        }
    }
}

/// How a run or job ended. Stored as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Outcome {
    /// A terminal status.
    pub status: Status,
    /// What came of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<Value>,
    /// What went wrong.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorReport>,
}

impl Outcome {
    /// An end without output and error.
    pub fn new(status: Status) -> Self {
        Self { status, output: None, error: None }
    }

    /// Ended well.
    pub fn completed(output: Value) -> Self {
        Self { output: Some(output), ..Self::new(Status::Completed) }
    }

    /// Ended with an error.
    pub fn failed(error: ErrorReport) -> Self {
        Self { error: Some(error), ..Self::new(Status::Failed) }
    }

    /// The `end` event that a journal writes for an end nobody ran: cancelled in the queue, or a crash loop.
    pub fn end_event(&self) -> NewEvent {
        let mut payload = serde_json::json!({"status": self.status});
        if let (Some(object), Some(error)) = (payload.as_object_mut(), &self.error) {
            object.insert("error".into(), serde_json::json!({"code": error.code, "detail": error.detail}));
        }
        NewEvent::new("end", payload)
    }
}
