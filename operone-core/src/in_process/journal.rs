//! A journal within the process: what a durable one does, without the disk.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::clock::{Clock, SystemClock, Timestamp};
use crate::error::{Error, ErrorKind, ErrorReport, Result};
use crate::id::{AgentId, TenantId, WorkId};
use crate::journal::{
    AgentRecord, Appended, Claim, Claimed, Journal, JournalEvent, Lease, NewAgent, NewEvent, NewWork,
    Outcome, Renewed, Seq, Status, Work,
};

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
            state.agents.insert(agent.id.clone(), AgentEntry { agent, place, latest: None });
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
            if record.run.is_some_and(|run| !run.status.is_terminal()) {
                return Err(Error::conflict(format!("agent {id} has a run that has not ended"))
                    .with_code("already_running"));
            }
        }
        if state.work.contains_key(&work.id) {
            return Err(Error::conflict(format!("there is work {} already", work.id)));
        }
        if let Some(entry) = work.agent.as_ref().and_then(|id| state.agents.get_mut(id)) {
            entry.latest = Some(work.id.clone());
        }
        let entry = WorkEntry {
            place: (work.created_at, state.next_number()),
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
                let report =
                    ErrorReport::new(ErrorKind::Internal, "crash_loop", "the work was tried too often");
                let outcome = Outcome::failed(report);
                state.end(&id, vec![outcome.end_event()], outcome, now);
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

    async fn append(
        &self,
        lease: &Lease,
        events: Vec<NewEvent>,
        snapshot: Option<Value>,
    ) -> Result<Appended> {
        let mut state = self.state();
        let entry = state.leased(lease)?;
        if !events.is_empty() {
            entry.work.attempts = 1;
        }
        entry.append(events, self.clock.now());
        if snapshot.is_some() {
            entry.work.snapshot = snapshot;
        }
        Ok(Appended::new(entry.work.last_seq, entry.work.cancel_requested))
    }

    async fn finish(&self, lease: &Lease, events: Vec<NewEvent>, outcome: Outcome) -> Result<Seq> {
        if !outcome.status.is_terminal() {
            return Err(Error::invalid(format!("'{}' is no end", outcome.status.as_str())));
        }
        let mut state = self.state();
        state.leased(lease)?;
        Ok(state.end(&lease.work, events, outcome, self.clock.now()))
    }

    async fn release(&self, lease: &Lease, not_before: Option<Timestamp>) -> Result<()> {
        let mut state = self.state();
        let entry = state.leased(lease)?;
        entry.work.status = Status::Queued;
        entry.work.attempts = entry.work.attempts.saturating_sub(1);
        entry.work.updated_at = self.clock.now();
        entry.due_at = not_before.unwrap_or(Timestamp::from_millis(i64::MIN));
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
        let outcome = Outcome::new(Status::Cancelled);
        state.end(id, vec![outcome.end_event()], outcome, now);
        Ok(Status::Cancelled)
    }

    async fn events(&self, id: &WorkId, after: Seq, limit: usize) -> Result<Vec<JournalEvent>> {
        let state = self.state();
        let events = state.work.get(id).map(|entry| entry.events.as_slice()).unwrap_or_default();
        // Numbers are dense from 1, so the event after `after` has the index `after`.
        let begin = usize::try_from(after).unwrap_or(usize::MAX);
        Ok(events.iter().skip(begin).take(limit).cloned().collect())
    }
}

/// A place in the order of creation; the number decides between equal times.
type Place = (Timestamp, u64);

#[derive(Debug, Default)]
struct State {
    agents: HashMap<AgentId, AgentEntry>,
    newest: BTreeMap<Place, AgentId>,
    work: HashMap<WorkId, WorkEntry>,
    /// Work that has not ended.
    open: BTreeMap<Place, WorkId>,
    last_number: u64,
}

#[derive(Debug)]
struct AgentEntry {
    agent: NewAgent,
    place: Place,
    latest: Option<WorkId>,
}

#[derive(Debug)]
struct WorkEntry {
    work: Work,
    place: Place,
    epoch: u64,
    /// When it can be claimed: the end of its lease, or what a release asked for.
    due_at: Timestamp,
    events: Vec<JournalEvent>,
}

impl WorkEntry {
    fn append(&mut self, events: Vec<NewEvent>, now: Timestamp) {
        for event in events {
            self.work.last_seq += 1;
            self.events.push(JournalEvent::new(self.work.last_seq, now, event));
        }
        self.work.updated_at = now;
    }
}

impl State {
    fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    fn agent(&self, tenant: &TenantId, id: &AgentId) -> Result<&AgentEntry> {
        let found = self.agents.get(id).filter(|entry| entry.agent.tenant == *tenant);
        found.ok_or_else(|| Error::not_found(format!("there is no agent {id}")))
    }

    fn record(&self, entry: &AgentEntry) -> AgentRecord {
        let run = entry.latest.as_ref().and_then(|id| self.work.get(id));
        AgentRecord::new(entry.agent.clone(), run.map(|entry| entry.work.clone()))
    }

    fn work(&self, tenant: &TenantId, id: &WorkId) -> Result<&WorkEntry> {
        let found = self.work.get(id).filter(|entry| entry.work.new.tenant == *tenant);
        found.ok_or_else(|| Error::not_found(format!("there is no work {id}")))
    }

    fn oldest_due(&self, claim: &Claim, now: Timestamp) -> Option<WorkId> {
        let fits = |entry: &WorkEntry| {
            claim.kinds.contains(&entry.work.new.kind)
                && claim.work.as_ref().is_none_or(|id| entry.work.new.id == *id)
                && entry.due_at <= now
        };
        self.open.values().find(|id| self.work.get(id).is_some_and(fits)).cloned()
    }

    fn leased(&mut self, lease: &Lease) -> Result<&mut WorkEntry> {
        let held =
            |entry: &&mut WorkEntry| entry.epoch == lease.epoch && entry.work.status == Status::Running;
        self.work.get_mut(&lease.work).filter(held).ok_or_else(|| {
            Error::conflict(format!("the lease of {} is lost", lease.work)).with_code("lease_lost")
        })
    }

    fn end(&mut self, id: &WorkId, events: Vec<NewEvent>, outcome: Outcome, now: Timestamp) -> Seq {
        let Some(entry) = self.work.get_mut(id) else { return 0 };
        entry.append(events, now);
        entry.work.status = outcome.status;
        entry.work.outcome = Some(outcome);
        self.open.remove(&entry.place);
        entry.work.last_seq
    }
}
