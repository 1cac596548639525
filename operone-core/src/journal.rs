//! The contract of the journal: agents, durable runs and jobs, with leases, epochs and events.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::clock::Timestamp;
use crate::error::{ErrorReport, Result};
use crate::id::{AgentId, TenantId, WorkId};

/// Runs and jobs: one log, one lease rule. The journal is the truth; everything else is a cache or a doorbell.
#[async_trait]
pub trait Journal: fmt::Debug + Send + Sync + 'static {
    /// Creates agents, all or none. An id that is taken is `Conflict`.
    async fn create_agents(&self, agents: Vec<NewAgent>) -> Result<()>;

    /// The agent with its latest run. Another tenant's agent is `NotFound`, like one that never was.
    async fn agent(&self, tenant: &TenantId, id: &AgentId) -> Result<AgentRecord>;

    /// The tenant's agents, newest first, from the one before `before`, at most `limit`.
    async fn agents(
        &self,
        tenant: &TenantId,
        before: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<AgentRecord>>;

    /// Queues work. Work of an agent that still has a run which has not ended is `Conflict` with code
    /// `already_running`; an agent that does not exist is `NotFound`; an id that is taken is `Conflict`.
    async fn enqueue(&self, work: NewWork) -> Result<Work>;

    /// A run or job of the tenant.
    async fn work(&self, tenant: &TenantId, id: &WorkId) -> Result<Work>;

    /// Leases the oldest due work that fits, for `lease_for`; `None` if nothing is due.
    ///
    /// - Due is what is queued, and what is running under a lease that has passed.
    /// - Leased work is invisible to other callers until it is released or its lease passes.
    /// - Each lease of a work carries a higher epoch than every earlier one.
    /// - The attempt is counted here. Work that was tried `max_attempts` times since its last event, without being
    ///   released, ends as failed with code `crash_loop` instead of being leased, with an `end` event like any
    ///   other end: it kills whoever runs it. Work that gets on is not held to the number.
    /// - A dropped future may leave work leased; it returns when the lease passes.
    async fn claim(&self, claim: Claim) -> Result<Option<Claimed>>;

    /// Prolongs a lease to `lease_for` from now and tells whether the work is to be cancelled. A lost lease is
    /// `Conflict` with code `lease_lost`.
    async fn renew(&self, lease: &Lease, lease_for: Duration) -> Result<Renewed>;

    /// Appends events and, where given, replaces the snapshot, in one transaction; gives the sequence number
    /// of the last event. A lost lease is `Conflict` with code `lease_lost` and changes nothing, however
    /// late the write arrives.
    ///
    /// - Numbers of one work are dense and start at 1.
    /// - Events count as getting on: attempts are counted anew from here.
    /// - After this returns the events survive a crash of the process.
    async fn append(&self, lease: &Lease, events: Vec<NewEvent>, snapshot: Option<Value>)
    -> Result<Appended>;

    /// Ends the work with its last events and gives the lease back. A lost lease is `Conflict` with code
    /// `lease_lost`.
    async fn finish(&self, lease: &Lease, events: Vec<NewEvent>, outcome: Outcome) -> Result<Seq>;

    /// Gives the lease back with its attempt: the work is queued again, to be due at `not_before`.
    async fn release(&self, lease: &Lease, not_before: Option<Timestamp>) -> Result<()>;

    /// Asks for the end of a work. Queued work ends at once as cancelled, with an `end` event; running work is
    /// told at its next renewal or append; ended work stays as it is. Gives the status afterwards.
    async fn cancel(&self, tenant: &TenantId, id: &WorkId) -> Result<Status>;

    /// The events after `after`, oldest first, at most `limit`.
    async fn events(&self, id: &WorkId, after: Seq, limit: usize) -> Result<Vec<JournalEvent>>;
}

/// A number of an event within its work: dense, from 1. Zero is before the first.
pub type Seq = u64;

/// What kind of work it is, for instance `agent` or `ingest`: decides who runs it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct WorkKind(std::borrow::Cow<'static, str>);

impl WorkKind {
    /// A run of an agent.
    pub const AGENT: Self = Self(std::borrow::Cow::Borrowed("agent"));
    /// A batch of documents to ingest.
    pub const INGEST: Self = Self(std::borrow::Cow::Borrowed("ingest"));

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

/// An agent to create.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NewAgent {
    /// Its id.
    pub id: AgentId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What it is to do, as the runtime reads it.
    pub spec: Value,
    /// When it was created.
    pub created_at: Timestamp,
}

impl NewAgent {
    /// An agent to create.
    pub fn new(id: AgentId, tenant: TenantId, spec: Value, created_at: Timestamp) -> Self {
        Self { id, tenant, spec, created_at }
    }
}

/// An agent with its latest run.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct AgentRecord {
    /// The agent as it was created.
    pub agent: NewAgent,
    /// Its latest run; `None` before the first.
    pub run: Option<Work>,
}

impl AgentRecord {
    /// An agent with its latest run.
    pub fn new(agent: NewAgent, run: Option<Work>) -> Self {
        Self { agent, run }
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
    /// When it was asked for.
    pub created_at: Timestamp,
}

impl NewWork {
    /// Work that belongs to no agent.
    pub fn new(id: WorkId, kind: WorkKind, tenant: TenantId, spec: Value, created_at: Timestamp) -> Self {
        Self { id, kind, tenant, agent: None, spec, created_at }
    }

    /// Makes it a run of `agent`.
    #[must_use]
    pub fn with_agent(mut self, agent: AgentId) -> Self {
        self.agent = Some(agent);
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
    pub fn queued(new: NewWork) -> Self {
        let updated_at = new.created_at;
        Self {
            new,
            status: Status::Queued,
            attempts: 0,
            last_seq: 0,
            cancel_requested: false,
            snapshot: None,
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

/// Which work to lease, and how.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claim {
    /// The kinds the caller can run.
    pub kinds: Vec<WorkKind>,
    /// Only this work.
    pub work: Option<WorkId>,
    /// Who asks, for people.
    pub holder: String,
    /// How long the lease lasts.
    pub lease_for: Duration,
    /// How often work may be tried without getting on.
    pub max_attempts: u32,
}

impl Claim {
    /// Asks for work of these kinds, for 30 seconds and at most 5 attempts.
    pub fn new(kinds: Vec<WorkKind>, holder: impl Into<String>) -> Self {
        Self { kinds, work: None, holder: holder.into(), lease_for: Duration::from_secs(30), max_attempts: 5 }
    }

    /// Asks for this work only.
    #[must_use]
    pub fn with_work(mut self, work: WorkId) -> Self {
        self.work = Some(work);
        self
    }

    /// Sets how long the lease lasts.
    #[must_use]
    pub fn with_lease_for(mut self, lease_for: Duration) -> Self {
        self.lease_for = lease_for;
        self
    }
}

/// The right to write to a work until it passes or a later one is given.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lease {
    /// The work.
    pub work: WorkId,
    /// Higher than that of every earlier lease of the work.
    pub epoch: u64,
}

impl Lease {
    /// A lease of a work.
    pub fn new(work: WorkId, epoch: u64) -> Self {
        Self { work, epoch }
    }
}

/// Work with the right to write to it.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Claimed {
    /// The right to write.
    pub lease: Lease,
    /// The work as it stands.
    pub work: Work,
}

impl Claimed {
    /// Work with its lease.
    pub fn new(lease: Lease, work: Work) -> Self {
        Self { lease, work }
    }
}

/// What a renewal tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Renewed {
    /// Whether the end of the work was asked for.
    pub cancel_requested: bool,
}

impl Renewed {
    /// What a renewal tells.
    pub fn new(cancel_requested: bool) -> Self {
        Self { cancel_requested }
    }
}

/// What an append tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Appended {
    /// The number of the last event.
    pub last_seq: Seq,
    /// Whether the end of the work was asked for.
    pub cancel_requested: bool,
}

impl Appended {
    /// What an append tells.
    pub fn new(last_seq: Seq, cancel_requested: bool) -> Self {
        Self { last_seq, cancel_requested }
    }
}

/// An event to append.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NewEvent {
    /// What happened, for instance `step_end`.
    pub kind: String,
    /// What else there is to know: an object.
    pub payload: Value,
}

impl NewEvent {
    /// An event to append.
    pub fn new(kind: impl Into<String>, payload: Value) -> Self {
        Self { kind: kind.into(), payload }
    }
}

/// An event of a run or job.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct JournalEvent {
    /// Its number.
    pub seq: Seq,
    /// When it was appended.
    pub time: Timestamp,
    /// What happened.
    pub event: NewEvent,
}

impl JournalEvent {
    /// An event with its number.
    pub fn new(seq: Seq, time: Timestamp, event: NewEvent) -> Self {
        Self { seq, time, event }
    }
}
