//! Where a driver writes what happens in a run.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::live::Live;
use super::machine::{Run, RunEnd};
use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::Result;
use crate::event::{AGENT_LIFECYCLE, AGENT_TRACE, Event, EventBus};
use crate::id::{AgentId, ApprovalId, TenantId};
use crate::journal::{Append, Approval, Claimed, Journal, Lease, NewApproval, NewEvent, Status, Verdict};

/// Where a driver writes what happens in a run: a journal, a socket to the process that holds the lease, or a
/// channel.
#[async_trait]
pub trait RunLog: fmt::Debug + Send + Sync {
    /// Writes events together with the run as it stands after them. False if the end of the run was asked for: then
    /// nothing was written. When this returns the events survive what the log promises to survive.
    async fn append(&self, events: Vec<NewEvent>, run: &Run) -> Result<bool>;

    /// Writes events and the run, and asks for approvals.
    async fn suspend(
        &self,
        events: Vec<NewEvent>,
        run: &Run,
        approvals: Vec<NewApproval>,
    ) -> Result<Suspended>;

    /// Writes the last events and how the run ended.
    async fn finish(&self, events: Vec<NewEvent>, run: &Run, end: &RunEnd) -> Result<()>;

    /// Passes on a piece of the model's text, at once and without waiting. It may be lost.
    fn token(&self, step: u64, content: &str);

    /// The time by which approvals expire.
    fn now(&self) -> Timestamp {
        SystemClock.now()
    }
}

/// What came of asking for approvals.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Suspended {
    /// The run waits, and is driven again once something was decided.
    Waiting,
    /// These were decided at once.
    Resolved(Vec<Resolved>),
    /// The end of the run was asked for: nothing was written.
    Cancelled,
}

/// What was decided of a call that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Resolved {
    /// The approval.
    pub id: ApprovalId,
    /// Yes or no.
    pub verdict: Verdict,
    /// What the model is told with a no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<String>,
}

impl Resolved {
    /// What was decided.
    pub fn new(id: ApprovalId, verdict: Verdict, comment: Option<String>) -> Self {
        Self { id, verdict, comment }
    }

    /// What holds of an approval now; `None` while it is open. Once its time is over it counts as denied.
    pub fn of(approval: &Approval, now: Timestamp) -> Option<Self> {
        let verdict = approval.verdict(now)?;
        let comment = match &approval.decided {
            Some(decided) => decided.comment.clone(),
            None => Some("nobody decided in time".to_owned()),
        };
        Some(Self::new(approval.new.id.clone(), verdict, comment))
    }
}

/// Writes to the journal under a lease, tells the readers of the run, and publishes on the bus.
#[derive(Debug)]
pub struct JournalLog {
    journal: Arc<dyn Journal>,
    bus: Arc<dyn EventBus>,
    live: Live,
    clock: Arc<dyn Clock>,
    lease: Lease,
    tenant: TenantId,
    agent: Option<AgentId>,
    last_seq: AtomicU64,
}

impl JournalLog {
    /// The log of claimed work.
    pub fn new(
        journal: Arc<dyn Journal>,
        bus: Arc<dyn EventBus>,
        live: Live,
        clock: Arc<dyn Clock>,
        claimed: &Claimed,
    ) -> Self {
        Self {
            journal,
            bus,
            live,
            clock,
            lease: claimed.lease.clone(),
            tenant: claimed.work.new.tenant.clone(),
            agent: claimed.work.new.agent.clone(),
            last_seq: AtomicU64::new(claimed.work.last_seq),
        }
    }

    /// Publishes that the run starts, or goes on. The text of a step that was interrupted does not hold any more.
    pub async fn started(&self) {
        let last_seq = self.last_seq.load(Ordering::Relaxed);
        self.live.restart(&self.lease.work, last_seq);
        let event = if last_seq == 0 { "agent.started" } else { "agent.resumed" };
        self.publish_lifecycle(event).await;
    }

    async fn publish_lifecycle(&self, event: &str) {
        let payload = json!({
            "agent_id": self.agent,
            "run_id": self.lease.work,
            "timestamp": self.clock.now(),
        });
        self.publish(AGENT_LIFECYCLE, event, payload).await;
    }

    async fn publish(&self, topic: &str, event: &str, payload: serde_json::Value) {
        let published = self.bus.publish(Event::new(topic, self.tenant.clone(), event, payload)).await;
        if let Err(error) = published {
            // The journal has it; whoever misses it on the bus reads it there.
            tracing::warn!(%error, event, "an event was not published");
        }
    }

    /// Tells readers and the bus what was written.
    async fn tell(&self, events: &[NewEvent]) {
        self.live.written(&self.lease.work, events);
        for step in events.iter().filter(|event| event.kind == "step_end") {
            let payload = json!({
                "agent_id": self.agent,
                "run_id": self.lease.work,
                "step_id": step.payload.get("step_id"),
                "status": step.payload.get("status"),
                "duration_ms": step.payload.get("duration_ms"),
            });
            self.publish(AGENT_TRACE, "step.complete", payload).await;
        }
    }
}

#[async_trait]
impl RunLog for JournalLog {
    async fn append(&self, events: Vec<NewEvent>, run: &Run) -> Result<bool> {
        let append = Append::new(events.clone()).with_snapshot(run.to_snapshot()?).unless_cancelled();
        let Some(appended) = unless_cancelled(self.journal.append(&self.lease, append).await)? else {
            return Ok(false);
        };
        self.last_seq.store(appended.last_seq, Ordering::Relaxed);
        self.tell(&events).await;
        Ok(true)
    }

    async fn suspend(
        &self,
        events: Vec<NewEvent>,
        run: &Run,
        approvals: Vec<NewApproval>,
    ) -> Result<Suspended> {
        let append = Append::new(events.clone()).with_snapshot(run.to_snapshot()?).unless_cancelled();
        let suspended = self.journal.suspend(&self.lease, append, approvals).await;
        if unless_cancelled(suspended)?.is_none() {
            return Ok(Suspended::Cancelled);
        }
        self.tell(&events).await;
        self.publish_lifecycle("agent.waiting_approval").await;
        Ok(Suspended::Waiting)
    }

    async fn finish(&self, events: Vec<NewEvent>, run: &Run, end: &RunEnd) -> Result<()> {
        let append = Append::new(events.clone()).with_snapshot(run.to_snapshot()?);
        self.journal.finish(&self.lease, append, end.outcome()).await?;
        self.tell(&events).await;
        let event = match end.status {
            Status::Completed => "agent.completed",
            Status::Cancelled => "agent.cancelled",
            Status::MaxSteps => "agent.max_steps",
            _ => "agent.failed",
        };
        self.publish_lifecycle(event).await;
        Ok(())
    }

    fn token(&self, step: u64, content: &str) {
        self.live.token(&self.lease.work, self.last_seq.load(Ordering::Relaxed), step, content);
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }
}

/// `None` where nothing was written because the end was asked for.
fn unless_cancelled<T>(written: Result<T>) -> Result<Option<T>> {
    match written {
        Ok(written) => Ok(Some(written)),
        Err(error) if error.code() == "cancel_requested" => Ok(None),
        Err(error) => Err(error),
    }
}
