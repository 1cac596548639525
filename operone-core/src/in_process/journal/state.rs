//! What an in-process journal holds, and the changes to it.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::clock::Timestamp;
use crate::error::{Error, ErrorKind, ErrorReport, Result};
use crate::id::{AgentId, ApprovalId, TenantId, WorkId};
use crate::journal::{
    AgentRecord, Append, Approval, Claim, JournalEvent, Lease, NewAgent, NewEvent, Outcome, Seq, Status, Work,
};

/// A place in the order of creation; the number decides between equal times.
pub(super) type Place = (Timestamp, u64);

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) agents: HashMap<AgentId, AgentEntry>,
    pub(super) newest: BTreeMap<Place, AgentId>,
    pub(super) work: HashMap<WorkId, WorkEntry>,
    /// Work that has not ended.
    pub(super) open: BTreeMap<Place, WorkId>,
    /// Approvals in the order in which they were asked for.
    pub(super) approvals: BTreeMap<u64, (TenantId, Approval)>,
    pub(super) keys: HashMap<(TenantId, String), super::keys::Key>,
    last_number: u64,
}

#[derive(Debug)]
pub(super) struct AgentEntry {
    pub(super) agent: NewAgent,
    pub(super) place: Place,
    /// Its runs, oldest first.
    pub(super) runs: Vec<WorkId>,
    /// Those that have not ended.
    pub(super) open: BTreeSet<Place>,
}

#[derive(Debug)]
pub(super) struct WorkEntry {
    pub(super) work: Work,
    pub(super) place: Place,
    pub(super) epoch: u64,
    /// When it can be claimed: the end of its lease, what a release asked for, or the first end of an approval.
    pub(super) due_at: Timestamp,
    pub(super) events: Vec<JournalEvent>,
}

impl WorkEntry {
    pub(super) fn append(&mut self, append: Append, now: Timestamp) -> Result<()> {
        if append.unless_cancelled && self.work.cancel_requested {
            return Err(Error::conflict(format!("the end of {} was asked for", self.work.new.id))
                .with_code("cancel_requested"));
        }
        if !append.events.is_empty() {
            self.work.attempts = 1;
        }
        if append.snapshot.is_some() {
            self.work.snapshot = append.snapshot;
        }
        self.push(append.events, now);
        Ok(())
    }

    /// Gives the lease back with its attempt.
    pub(super) fn give_back(&mut self, status: Status, due_at: Timestamp) {
        self.work.status = status;
        self.work.attempts = self.work.attempts.saturating_sub(1);
        self.due_at = due_at;
    }

    fn push(&mut self, events: Vec<NewEvent>, now: Timestamp) {
        for event in events {
            self.work.last_seq += 1;
            self.events.push(JournalEvent::new(self.work.last_seq, now, event));
        }
        self.work.updated_at = now;
    }
}

impl State {
    pub(super) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    pub(super) fn agent(&self, tenant: &TenantId, id: &AgentId) -> Result<&AgentEntry> {
        let found = self.agents.get(id).filter(|entry| entry.agent.tenant == *tenant);
        found.ok_or_else(|| Error::not_found(format!("there is no agent {id}")))
    }

    pub(super) fn record(&self, entry: &AgentEntry) -> AgentRecord {
        let run = entry.runs.last().and_then(|id| self.work.get(id));
        AgentRecord::new(entry.agent.clone(), run.map(|entry| entry.work.clone()))
    }

    pub(super) fn work(&self, tenant: &TenantId, id: &WorkId) -> Result<&WorkEntry> {
        let found = self.work.get(id).filter(|entry| entry.work.new.tenant == *tenant);
        found.ok_or_else(|| Error::not_found(format!("there is no work {id}")))
    }

    pub(super) fn oldest_due(&self, claim: &Claim, now: Timestamp) -> Option<WorkId> {
        let fits = |entry: &WorkEntry| {
            claim.kinds.contains(&entry.work.new.kind)
                && claim.work.as_ref().is_none_or(|id| entry.work.new.id == *id)
                && entry.due_at <= now
                && self.is_first(entry)
        };
        self.open.values().find(|id| self.work.get(id).is_some_and(fits)).cloned()
    }

    /// Whether no earlier run of its agent is open.
    fn is_first(&self, entry: &WorkEntry) -> bool {
        let agent = entry.work.new.agent.as_ref().and_then(|id| self.agents.get(id));
        agent.is_none_or(|agent| agent.open.first() == Some(&entry.place))
    }

    pub(super) fn leased(&mut self, lease: &Lease) -> Result<&mut WorkEntry> {
        let held =
            |entry: &&mut WorkEntry| entry.epoch == lease.epoch && entry.work.status == Status::Running;
        self.work.get_mut(&lease.work).filter(held).ok_or_else(|| {
            Error::conflict(format!("the lease of {} is lost", lease.work)).with_code("lease_lost")
        })
    }

    /// Ends a work with an end that nobody ran.
    pub(super) fn end_unrun(&mut self, id: &WorkId, outcome: Outcome, now: Timestamp) {
        self.end(id, Append::new(vec![outcome.end_event()]), outcome, now);
    }

    pub(super) fn end(&mut self, id: &WorkId, append: Append, outcome: Outcome, now: Timestamp) -> Seq {
        let Some(entry) = self.work.get_mut(id) else { return 0 };
        if append.snapshot.is_some() {
            entry.work.snapshot = append.snapshot;
        }
        entry.push(append.events, now);
        entry.work.status = outcome.status;
        entry.work.outcome = Some(outcome);
        self.open.remove(&entry.place);
        if let Some(agent) = entry.work.new.agent.as_ref().and_then(|id| self.agents.get_mut(id)) {
            agent.open.remove(&entry.place);
        }
        entry.work.last_seq
    }

    /// Removes an agent with everything of it.
    pub(super) fn delete_agent(&mut self, id: &AgentId) {
        let Some(agent) = self.agents.remove(id) else { return };
        self.newest.remove(&agent.place);
        for run in &agent.runs {
            self.work.remove(run);
        }
        self.approvals.retain(|_, (_, approval)| approval.agent.as_ref() != Some(id));
    }

    /// The place of an approval.
    pub(super) fn approval(&self, tenant: &TenantId, id: &ApprovalId) -> Result<u64> {
        let found =
            self.approvals.iter().find(|(_, (owner, approval))| owner == tenant && approval.new.id == *id);
        found.map(|(place, _)| *place).ok_or_else(|| Error::not_found(format!("there is no approval {id}")))
    }

    /// Whether an approval can still be decided.
    pub(super) fn is_pending(&self, approval: &Approval, now: Timestamp) -> bool {
        let open = self.work.get(&approval.work).is_some_and(|entry| !entry.work.status.is_terminal());
        open && approval.decided.is_none() && now <= approval.new.expires_at
    }
}

/// Work that was tried too often.
pub(super) fn crash_loop() -> Outcome {
    Outcome::failed(ErrorReport::new(ErrorKind::Internal, "crash_loop", "the work was tried too often"))
}
