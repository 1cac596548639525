//! A journal whose caller may crash before and after each call, and that may not answer.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use operone_core::Result;
use operone_core::clock::Timestamp;
use operone_core::id::{AgentId, ApprovalId, TenantId, WorkId};
use operone_core::journal::{
    AgentRecord, Append, Appended, Approval, ApprovalFilter, Claim, Claimed, Decision, Journal, JournalEvent,
    Lease, NewAgent, NewApproval, NewWork, Outcome, Page, Renewed, Reservation, Reserve, Seq, Status, Work,
};
use serde_json::Value;

use crate::world::Process;

/// The journal as one process sees it.
#[derive(Debug)]
pub(crate) struct FaultyJournal(pub(crate) Arc<Process>);

macro_rules! faulty {
    ($self:ident.$method:ident($($argument:expr),*)) => {{
        $self.0.fault().await?;
        let answer = $self.0.world.journal.$method($($argument),*).await;
        $self.0.fault().await?;
        answer
    }};
}

impl FaultyJournal {
    fn wrote(&self, lease: &Lease, last_seq: Seq) {
        let mut seen = self.0.world.seen();
        seen.epochs.entry(lease.work.clone()).or_default().push((last_seq, lease.epoch));
    }
}

#[async_trait]
impl Journal for FaultyJournal {
    async fn create_agents(&self, agents: Vec<NewAgent>) -> Result<()> {
        faulty!(self.create_agents(agents))
    }

    async fn agent(&self, tenant: &TenantId, id: &AgentId) -> Result<AgentRecord> {
        faulty!(self.agent(tenant, id))
    }

    async fn agents(
        &self,
        tenant: &TenantId,
        before: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<AgentRecord>> {
        faulty!(self.agents(tenant, before, limit))
    }

    async fn delete_agent(&self, tenant: &TenantId, id: &AgentId) -> Result<()> {
        faulty!(self.delete_agent(tenant, id))
    }

    async fn enqueue(&self, work: NewWork) -> Result<Work> {
        faulty!(self.enqueue(work))
    }

    async fn work(&self, tenant: &TenantId, id: &WorkId) -> Result<Work> {
        faulty!(self.work(tenant, id))
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Claimed>> {
        faulty!(self.claim(claim))
    }

    async fn renew(&self, lease: &Lease, lease_for: Duration) -> Result<Renewed> {
        faulty!(self.renew(lease, lease_for))
    }

    async fn append(&self, lease: &Lease, append: Append) -> Result<Appended> {
        self.0.fault().await?;
        let appended = self.0.world.journal.append(lease, append).await;
        if let Ok(appended) = &appended {
            self.wrote(lease, appended.last_seq);
        }
        self.0.fault().await?;
        appended
    }

    async fn suspend(&self, lease: &Lease, append: Append, approvals: Vec<NewApproval>) -> Result<Status> {
        faulty!(self.suspend(lease, append, approvals))
    }

    async fn finish(&self, lease: &Lease, append: Append, outcome: Outcome) -> Result<Seq> {
        self.0.fault().await?;
        let finished = self.0.world.journal.finish(lease, append, outcome).await;
        if let Ok(last_seq) = &finished {
            self.wrote(lease, *last_seq);
        }
        self.0.fault().await?;
        finished
    }

    async fn release(&self, lease: &Lease, not_before: Option<Timestamp>) -> Result<()> {
        faulty!(self.release(lease, not_before))
    }

    async fn cancel(&self, tenant: &TenantId, id: &WorkId) -> Result<Status> {
        faulty!(self.cancel(tenant, id))
    }

    async fn events(&self, id: &WorkId, after: Seq, page: Page) -> Result<Vec<JournalEvent>> {
        faulty!(self.events(id, after, page))
    }

    async fn approvals(&self, tenant: &TenantId, filter: ApprovalFilter) -> Result<Vec<Approval>> {
        faulty!(self.approvals(tenant, filter))
    }

    async fn decide(&self, tenant: &TenantId, id: &ApprovalId, decision: Decision) -> Result<Approval> {
        faulty!(self.decide(tenant, id, decision))
    }

    async fn reserve(&self, tenant: &TenantId, reserve: Reserve) -> Result<Reservation> {
        faulty!(self.reserve(tenant, reserve))
    }

    async fn settle(&self, tenant: &TenantId, key: &str, answer: Option<Value>) -> Result<()> {
        faulty!(self.settle(tenant, key, answer))
    }
}
