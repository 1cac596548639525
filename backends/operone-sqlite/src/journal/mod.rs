//! The journal in a database file: agents, runs and jobs, with leases, epochs and events.

mod agents;
mod approvals;
mod keys;
mod lease;
mod rows;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use operone_core::clock::{Clock, Timestamp};
use operone_core::id::{AgentId, ApprovalId, TenantId, WorkId};
use operone_core::journal::{
    AgentRecord, Append, Appended, Approval, ApprovalFilter, Claim, Claimed, Decision, Durability, Journal,
    JournalEvent, Lease, NewAgent, NewApproval, NewWork, Outcome, Page, Renewed, Reservation, Reserve, Seq,
    Status, Work,
};
use operone_core::{Error, Result};
use serde_json::Value;

use crate::database::Database;
use crate::error::Failure;
use crate::schema::Schema;

const MIGRATIONS: &[&str] =
    &[include_str!("../../migrations/journal-1.sql"), include_str!("../../migrations/journal-2.sql")];

/// A journal in one file. Clones share it.
///
/// Concurrent writes share a write to the disk.
#[derive(Clone, Debug)]
pub struct SqliteJournal {
    database: Database,
    clock: Arc<dyn Clock>,
}

impl SqliteJournal {
    /// Opens the file, creates it where it is missing, and voids every lease in it: work that a dead process left
    /// running can be claimed again at once. So the file must not be in use elsewhere; a locked
    /// [`DataFolder`](crate::DataFolder) sees to that.
    ///
    /// Blocks for a few writes to the disk; meant for the start of a program. A damaged file is `Internal` with
    /// code `corrupt`, one of a newer version `Unsupported` with code `newer_data`.
    pub fn open(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self> {
        Self::open_with(path, clock, Durability::Strict)
    }

    /// Opens the file as [`SqliteJournal::open`] does. `durability` says what an acknowledged write survives; the
    /// file is the same with either.
    pub fn open_with(path: impl AsRef<Path>, clock: Arc<dyn Clock>, durability: Durability) -> Result<Self> {
        let schema = Schema {
            migrations: MIGRATIONS,
            page_size: 4096,
            durable: durability != Durability::Process,
            secure_delete: false,
        };
        let void_holds = "UPDATE work SET lease_until = 0 WHERE status = 'running';
                          UPDATE request_keys SET held_at = NULL WHERE held_at IS NOT NULL;";
        let database = Database::open(path.as_ref(), schema, |db| db.execute_batch(void_holds))?;
        Ok(Self { database, clock })
    }
}

#[async_trait]
impl Journal for SqliteJournal {
    async fn create_agents(&self, agents: Vec<NewAgent>) -> Result<()> {
        self.database.write("journal.create_agents", move |db| agents::create(db, &agents)).await
    }

    async fn agent(&self, tenant: &TenantId, id: &AgentId) -> Result<AgentRecord> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.database.read("journal.agent", move |db| agents::one(db, &tenant, &id)).await
    }

    async fn agents(
        &self,
        tenant: &TenantId,
        before: Option<&AgentId>,
        limit: usize,
    ) -> Result<Vec<AgentRecord>> {
        let (tenant, before) = (tenant.clone(), before.cloned());
        let page = move |db: &_| agents::page(db, &tenant, before.as_ref(), limit);
        self.database.read("journal.agents", page).await
    }

    async fn enqueue(&self, work: NewWork) -> Result<Work> {
        self.database.write("journal.enqueue", move |db| lease::enqueue(db, work)).await
    }

    async fn work(&self, tenant: &TenantId, id: &WorkId) -> Result<Work> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.database.read("journal.work", move |db| rows::work(db, &tenant, &id)).await
    }

    async fn claim(&self, claim: Claim) -> Result<Option<Claimed>> {
        // Most claims find nothing: the look costs no turn of the writer.
        let (wanted, now) = (claim.clone(), self.clock.now());
        let due = self.database.read("journal.claim", move |db| lease::oldest_due(db, &wanted, now)).await?;
        if due.is_none() {
            return Ok(None);
        }
        let clock = Arc::clone(&self.clock);
        self.database.write("journal.claim", move |db| lease::claim(db, &claim, clock.now())).await
    }

    async fn renew(&self, lease: &Lease, lease_for: Duration) -> Result<Renewed> {
        let (lease, clock) = (lease.clone(), Arc::clone(&self.clock));
        let renew = move |db: &_| lease::renew(db, &lease, clock.now().plus(lease_for));
        self.database.write("journal.renew", renew).await
    }

    async fn append(&self, lease: &Lease, append: Append) -> Result<Appended> {
        let (lease, clock) = (lease.clone(), Arc::clone(&self.clock));
        self.database.write("journal.append", move |db| lease::append(db, &lease, &append, clock.now())).await
    }

    async fn suspend(&self, lease: &Lease, append: Append, approvals: Vec<NewApproval>) -> Result<Status> {
        let (lease, clock) = (lease.clone(), Arc::clone(&self.clock));
        let suspend = move |db: &_| approvals::suspend(db, &lease, &append, &approvals, clock.now());
        self.database.write("journal.suspend", suspend).await
    }

    async fn finish(&self, lease: &Lease, append: Append, outcome: Outcome) -> Result<Seq> {
        if !outcome.status.is_terminal() {
            return Err(Error::invalid(format!("'{}' is no end", outcome.status.as_str())));
        }
        let (lease, clock) = (lease.clone(), Arc::clone(&self.clock));
        let finish = move |db: &_| lease::finish(db, &lease, &append, &outcome, clock.now());
        self.database.write("journal.finish", finish).await
    }

    async fn release(&self, lease: &Lease, not_before: Option<Timestamp>) -> Result<()> {
        let (lease, clock) = (lease.clone(), Arc::clone(&self.clock));
        let release = move |db: &_| lease::give_back(db, &lease, Status::Queued, not_before, clock.now());
        self.database.write("journal.release", release).await
    }

    async fn cancel(&self, tenant: &TenantId, id: &WorkId) -> Result<Status> {
        let (tenant, id, clock) = (tenant.clone(), id.clone(), Arc::clone(&self.clock));
        self.database.write("journal.cancel", move |db| lease::cancel(db, &tenant, &id, clock.now())).await
    }

    async fn events(&self, id: &WorkId, after: Seq, page: Page) -> Result<Vec<JournalEvent>> {
        let id = id.clone();
        self.database.read("journal.events", move |db| rows::events(db, &id, after, page)).await
    }

    async fn delete_agent(&self, tenant: &TenantId, id: &AgentId) -> Result<()> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.database.write("journal.delete_agent", move |db| agents::delete(db, &tenant, &id)).await
    }

    async fn approvals(&self, tenant: &TenantId, filter: ApprovalFilter) -> Result<Vec<Approval>> {
        let (tenant, now) = (tenant.clone(), self.clock.now());
        self.database.read("journal.approvals", move |db| approvals::list(db, &tenant, &filter, now)).await
    }

    async fn decide(&self, tenant: &TenantId, id: &ApprovalId, decision: Decision) -> Result<Approval> {
        let (tenant, id, clock) = (tenant.clone(), id.clone(), Arc::clone(&self.clock));
        let decide = move |db: &_| approvals::decide(db, &tenant, &id, decision.clone(), clock.now());
        self.database.write("journal.decide", decide).await
    }

    async fn reserve(&self, tenant: &TenantId, reserve: Reserve) -> Result<Reservation> {
        let (tenant, clock) = (tenant.clone(), Arc::clone(&self.clock));
        let reserve = move |db: &_| keys::reserve(db, &tenant, &reserve, clock.now());
        self.database.write("journal.reserve", reserve).await
    }

    async fn settle(&self, tenant: &TenantId, key: &str, answer: Option<Value>) -> Result<()> {
        let (tenant, key) = (tenant.clone(), key.to_owned());
        let settle = move |db: &_| keys::settle(db, &tenant, &key, answer.as_ref());
        self.database.write("journal.settle", settle).await
    }
}

fn not_found(what: &str, id: impl std::fmt::Display) -> Failure {
    Error::not_found(format!("there is no {what} {id}")).into()
}
