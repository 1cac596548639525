//! A journal within the process: what a durable one does, without the disk.

mod approvals;
mod keys;
mod state;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Error, Result};
use crate::id::{AgentId, ApprovalId, TenantId, WorkId};
use crate::journal::{
    AgentRecord, Append, Appended, Approval, ApprovalFilter, Claim, Claimed, Decision, Journal, JournalEvent,
    Lease, NewAgent, NewApproval, NewWork, Outcome, Page, Renewed, Reservation, Reserve, Seq, Status, Work,
};

use state::{AgentEntry, State, WorkEntry, crash_loop};

/// Keeps agents, runs and jobs in memory. Clones share them.
#[derive(Clone, Debug)]
pub struct InProcessJournal {
    clock: Arc<dyn Clock>,
    // Never held across an await: each call is one step under the lock, which makes it atomic.
    state: Arc<Mutex<State>>,
}

impl InProcessJournal {
    /// An empty journal whose leases and times go by `clock`.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for InProcessJournal {
    /// An empty journal on the system's clock.
    fn default() -> Self {
        Self::new(Arc::new(SystemClock))
    }
}

#[async_trait]
impl Journal for InProcessJournal {
    async fn create_agents(&self, agents: Vec<NewAgent>) -> Result<()> {
        let mut state = self.state();
        for (place, agent) in agents.iter().enumerate() {
            if state.agents.contains_key(&agent.id)
                || agents.iter().take(place).any(|other| other.id == agent.id)
            {
                return Err(Error::conflict(format!("there is an agent {} already", agent.id)));
            }
        }
        for agent in agents {
            let place = (agent.created_at, state.next_number());
            state.newest.insert(place, agent.id.clone());
            state.agents.insert(
                agent.id.clone(),
                AgentEntry { agent, place, runs: Vec::new(), open: BTreeSet::new() },
            );
        }
        Ok(())
    }

    async fn agent(&self, tenant: &TenantId, id: &AgentId) -> Result<AgentRecord> {
        let state = self.state();
        Ok(state.record(state.agent(tenant, id)?))
    }

    async fn agents(
        &self,
        tenant: &TenantId,
        before: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<AgentRecord>> {
        let state = self.state();
        let end = match before {
            Some(id) => state.agent(tenant, id)?.place,
            None => (Timestamp::from_millis(i64::MAX), u64::MAX),
        };
        Ok(state
            .newest
            .range(..end)
            .rev()
            .filter_map(|(_, id)| state.agent(tenant, id).ok())
            .take(limit)
            .map(|entry| state.record(entry))
            .collect())
    }

    async fn enqueue(&self, work: NewWork) -> Result<Work> {
        let mut state = self.state();
        if let Some(id) = &work.agent {
            let record = state.record(state.agent(&work.tenant, id)?);
            if !work.behind && record.run.is_some_and(|run| !run.status.is_terminal()) {
                return Err(Error::conflict(format!("agent {id} has a run that has not ended"))
                    .with_code("already_running"));
            }
        }
        if state.work.contains_key(&work.id) {
            return Err(Error::conflict(format!("there is work {} already", work.id)));
        }
        let place = (work.created_at, state.next_number());
        if let Some(entry) = work.agent.as_ref().and_then(|id| state.agents.get_mut(id)) {
            entry.runs.push(work.id.clone());
            entry.open.insert(place);
        }
        let entry = WorkEntry {
            place,
            work: Work::queued(work),
            epoch: 0,
            due_at: Timestamp::from_millis(i64::MIN),
            events: Vec::new(),
        };
        let work = entry.work.clone();
        state.open.insert(entry.place, work.new.id.clone());
        state.work.insert(work.new.id.clone(), entry);
        Ok(work)
    }

    async fn work(&self, tenant: &TenantId, id: &WorkId) -> Result<Work> {
        Ok(self.state().work(tenant, id)?.work.clone())
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Claimed>> {
        let mut state = self.state();
        let now = self.clock.now();
        while let Some(id) = state.oldest_due(&claim, now) {
            let Some(entry) = state.work.get_mut(&id) else { break };
            if entry.work.attempts >= claim.max_attempts {
                state.end_unrun(&id, crash_loop(), now);
                continue;
            }
            entry.epoch += 1;
            entry.due_at = now.plus(claim.lease_for);
            entry.work.attempts += 1;
            entry.work.status = Status::Running;
            entry.work.updated_at = now;
            return Ok(Some(Claimed::new(Lease::new(id, entry.epoch), entry.work.clone())));
        }
        Ok(None)
    }

    async fn renew(&self, lease: &Lease, lease_for: Duration) -> Result<Renewed> {
        let mut state = self.state();
        let entry = state.leased(lease)?;
        entry.due_at = self.clock.now().plus(lease_for);
        Ok(Renewed::new(entry.work.cancel_requested))
    }

    async fn append(&self, lease: &Lease, append: Append) -> Result<Appended> {
        let mut state = self.state();
        let entry = state.leased(lease)?;
        entry.append(append, self.clock.now())?;
        Ok(Appended::new(entry.work.last_seq, entry.work.cancel_requested))
    }

    async fn suspend(&self, lease: &Lease, append: Append, approvals: Vec<NewApproval>) -> Result<Status> {
        approvals::suspend(&mut self.state(), lease, append, approvals, self.clock.now())
    }

    async fn finish(&self, lease: &Lease, append: Append, outcome: Outcome) -> Result<Seq> {
        if !outcome.status.is_terminal() {
            return Err(Error::invalid(format!("'{}' is no end", outcome.status.as_str())));
        }
        let mut state = self.state();
        state.leased(lease)?;
        Ok(state.end(&lease.work, append, outcome, self.clock.now()))
    }

    async fn release(&self, lease: &Lease, not_before: Option<Timestamp>) -> Result<()> {
        let mut state = self.state();
        let entry = state.leased(lease)?;
        entry.give_back(Status::Queued, not_before.unwrap_or(Timestamp::from_millis(i64::MIN)));
        entry.work.updated_at = self.clock.now();
        Ok(())
    }

    async fn cancel(&self, tenant: &TenantId, id: &WorkId) -> Result<Status> {
        let mut state = self.state();
        let status = state.work(tenant, id)?.work.status;
        if status.is_terminal() {
            return Ok(status);
        }
        let now = self.clock.now();
        if let Some(entry) = state.work.get_mut(id) {
            entry.work.cancel_requested = true;
            entry.work.updated_at = now;
        }
        if status == Status::Running {
            return Ok(status);
        }
        state.end_unrun(id, Outcome::new(Status::Cancelled), now);
        Ok(Status::Cancelled)
    }

    async fn events(&self, id: &WorkId, after: Seq, page: Page) -> Result<Vec<JournalEvent>> {
        let state = self.state();
        let events = state.work.get(id).map(|entry| entry.events.as_slice()).unwrap_or_default();
        // Numbers are dense from 1, so the event after `after` has the index `after`.
        let begin = usize::try_from(after).unwrap_or(usize::MAX);
        let (mut given, mut bytes) = (Vec::new(), 0_usize);
        for event in events.iter().skip(begin).take(page.limit) {
            if page.bytes < usize::MAX {
                bytes = bytes.saturating_add(event.event.payload.to_string().len());
            }
            if bytes > page.bytes && !given.is_empty() {
                break;
            }
            given.push(event.clone());
        }
        Ok(given)
    }

    async fn delete_agent(&self, tenant: &TenantId, id: &AgentId) -> Result<()> {
        let mut state = self.state();
        if !state.agent(tenant, id)?.open.is_empty() {
            return Err(
                Error::conflict(format!("agent {id} has a run that has not ended")).with_code("running")
            );
        }
        state.delete_agent(id);
        Ok(())
    }

    async fn approvals(&self, tenant: &TenantId, filter: ApprovalFilter) -> Result<Vec<Approval>> {
        approvals::list(&self.state(), tenant, &filter, self.clock.now())
    }

    async fn decide(&self, tenant: &TenantId, id: &ApprovalId, decision: Decision) -> Result<Approval> {
        approvals::decide(&mut self.state(), tenant, id, decision, self.clock.now())
    }

    async fn reserve(&self, tenant: &TenantId, reserve: Reserve) -> Result<Reservation> {
        keys::reserve(&mut self.state().keys, tenant, reserve, self.clock.now())
    }

    async fn settle(&self, tenant: &TenantId, key: &str, answer: Option<Value>) -> Result<()> {
        keys::settle(&mut self.state().keys, tenant, key, answer);
        Ok(())
    }
}
