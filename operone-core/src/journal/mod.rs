//! The contract of the journal: agents, durable runs and jobs, with leases, epochs, events and approvals.

mod agent;
mod approval;
mod event;
mod lease;
mod reservation;
mod work;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::clock::Timestamp;
use crate::error::Result;
use crate::id::{AgentId, ApprovalId, TenantId, WorkId};

pub use agent::{AgentRecord, NewAgent};
pub use approval::{Approval, ApprovalFilter, ApprovalReason, Decided, Decision, NewApproval, Verdict};
pub use event::{Append, Appended, JournalEvent, NewEvent, Page, Seq};
pub use lease::{Claim, Claimed, Lease, Renewed};
pub use reservation::{Reservation, Reserve};
pub use work::{NewWork, Outcome, Status, Work, WorkKind};

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

    /// Removes the agent with its runs, their events and approvals. One with a run that has not ended is `Conflict`
    /// with code `running`.
    async fn delete_agent(&self, tenant: &TenantId, id: &AgentId) -> Result<()>;

    /// Queues work. Work of an agent that still has a run which has not ended is `Conflict` with code
    /// `already_running`, unless it may wait behind that run; an agent that does not exist is `NotFound`; an id that
    /// is taken is `Conflict`.
    async fn enqueue(&self, work: NewWork) -> Result<Work>;

    /// A run or job of the tenant.
    async fn work(&self, tenant: &TenantId, id: &WorkId) -> Result<Work>;

    /// Leases the oldest due work that fits, for `lease_for`; `None` if nothing is due.
    ///
    /// - Due is what is queued, what is running under a lease that has passed, and what waits for an approval that
    ///   has expired. A run that waits behind another of its agent is not due.
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
    /// - What is to be written only while nobody asked for the end is `Conflict` with code `cancel_requested` after
    ///   that, and changes nothing.
    /// - After this returns the events survive what the journal's [`Durability`] says.
    async fn append(&self, lease: &Lease, append: Append) -> Result<Appended>;

    /// Appends, asks for approvals, and gives the lease back with its attempt until one of them is decided or has
    /// expired: the work is `waiting_approval`, or `queued` if one of them was decided already. An approval that was
    /// asked for before stays as it is. Gives the status.
    async fn suspend(&self, lease: &Lease, append: Append, approvals: Vec<NewApproval>) -> Result<Status>;

    /// Ends the work with its last events and snapshot and gives the lease back. A lost lease is `Conflict` with code
    /// `lease_lost`.
    async fn finish(&self, lease: &Lease, append: Append, outcome: Outcome) -> Result<Seq>;

    /// Gives the lease back with its attempt: the work is queued again, to be due at `not_before`.
    async fn release(&self, lease: &Lease, not_before: Option<Timestamp>) -> Result<()>;

    /// Asks for the end of a work. Queued and waiting work ends at once as cancelled, with an `end` event; running
    /// work is told at its next renewal or append; ended work stays as it is. Gives the status afterwards.
    async fn cancel(&self, tenant: &TenantId, id: &WorkId) -> Result<Status>;

    /// The events after `after`, oldest first: one page. A work that does not exist has none.
    async fn events(&self, id: &WorkId, after: Seq, page: Page) -> Result<Vec<JournalEvent>>;

    /// The tenant's approvals that the filter lets through, oldest first.
    async fn approvals(&self, tenant: &TenantId, filter: ApprovalFilter) -> Result<Vec<Approval>>;

    /// Decides an approval and makes the work that waits for it due.
    ///
    /// - The first decision stands: the same verdict again changes nothing, the other one is `Conflict` with code
    ///   `already_decided`.
    /// - An approval that has expired is `Conflict` with code `approval_expired`; one whose work has ended is
    ///   `Conflict` with code `run_ended`; a decision about other arguments is `Conflict` with code
    ///   `arguments_changed`.
    async fn decide(&self, tenant: &TenantId, id: &ApprovalId, decision: Decision) -> Result<Approval>;

    /// Reserves a key under which a client repeats a request, for a day.
    ///
    /// - The first request, and one whose first try was given up or never settled within a minute, is to be done:
    ///   both get the seed of the first, from which new ids are made, so that what was done already is found again.
    /// - A request that was answered gets its answer.
    /// - One that is being done elsewhere is `Conflict` with code `idempotency_key_in_use`.
    /// - Another request under the same key is `Invalid` with code `idempotency_key_reused`.
    async fn reserve(&self, tenant: &TenantId, reserve: Reserve) -> Result<Reservation>;

    /// Keeps the answer to a request under its key; `None` gives the key up, so that the request can be repeated.
    async fn settle(&self, tenant: &TenantId, key: &str, answer: Option<Value>) -> Result<()>;
}

/// What an acknowledged write to a journal survives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// The end of the process, of the operating system, and a loss of power.
    #[default]
    Strict,
    /// The end of the process. A crash of the operating system or a loss of power may cost the last writes: what is
    /// there afterwards is whole and in order.
    Process,
}
