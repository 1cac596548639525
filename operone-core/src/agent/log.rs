//! Where a driver writes what happens in a run.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use serde_json::json;

use super::live::Live;
use super::machine::{Run, RunEnd};
use crate::clock::Clock;
use crate::error::Result;
use crate::event::{AGENT_LIFECYCLE, AGENT_TRACE, Event, EventBus};
use crate::id::{AgentId, TenantId};
use crate::journal::{Claimed, Journal, Lease, NewEvent, Status};

/// Where a driver writes what happens in a run: a journal, a socket to the process that holds the lease, or a
/// channel.
#[async_trait]
pub trait RunLog: fmt::Debug + Send + Sync {
    /// Writes events together with the run as it stands after them; tells whether the run is to end. When this
    /// returns they survive what the log promises to survive.
    async fn append(&self, events: Vec<NewEvent>, run: &Run) -> Result<bool>;

    /// Writes the last events and how the run ended.
    async fn finish(&self, events: Vec<NewEvent>, end: &RunEnd) -> Result<()>;

    /// Passes on a piece of the model's text, at once and without waiting. It may be lost.
    fn token(&self, step: u64, content: &str);
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

    async fn publish_steps(&self, events: &[NewEvent]) {
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
        let appended = self.journal.append(&self.lease, events.clone(), Some(run.to_snapshot()?)).await?;
        self.last_seq.store(appended.last_seq, Ordering::Relaxed);
        self.live.ring(&self.lease.work);
        self.publish_steps(&events).await;
        Ok(appended.cancel_requested)
    }

    async fn finish(&self, events: Vec<NewEvent>, end: &RunEnd) -> Result<()> {
        self.journal.finish(&self.lease, events.clone(), end.outcome()).await?;
        self.live.ring(&self.lease.work);
        self.publish_steps(&events).await;
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
}
