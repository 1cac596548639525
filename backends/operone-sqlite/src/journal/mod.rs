//! The journal in a database file: agents, runs and jobs, with leases, epochs and events.

mod agents;
mod lease;
mod rows;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use operone_core::clock::{Clock, Timestamp};
use operone_core::id::{AgentId, TenantId, WorkId};
use operone_core::journal::{
    AgentRecord, Appended, Claim, Claimed, Journal, JournalEvent, Lease, NewAgent, NewEvent, NewWork,
    Outcome, Renewed, Seq, Status, Work,
};
use operone_core::{Error, Result};
use serde_json::Value;

use crate::database::Database;
use crate::error::Failure;
use crate::schema::Schema;

const SCHEMA: Schema = Schema {
    migrations: &[include_str!("../../migrations/journal-1.sql")],
    page_size: 4096,
    durable: true,
    secure_delete: false,
};

/// A journal in one file. Clones share it.
///
/// What was acknowledged survives the end of the process and a loss of power. Concurrent writes share a write to
/// the disk.
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
        let void_leases = "UPDATE work SET lease_until = 0 WHERE status = 'running'";
        let database = Database::open(path.as_ref(), SCHEMA, |db| db.execute(void_leases, []).map(drop))?;
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

    async fn append(
        &self,
        lease: &Lease,
        events: Vec<NewEvent>,
        snapshot: Option<Value>,
    ) -> Result<Appended> {
        let (lease, clock) = (lease.clone(), Arc::clone(&self.clock));
        let append = move |db: &_| lease::append(db, &lease, &events, snapshot.as_ref(), clock.now());
        self.database.write("journal.append", append).await
    }

    async fn finish(&self, lease: &Lease, events: Vec<NewEvent>, outcome: Outcome) -> Result<Seq> {
        if !outcome.status.is_terminal() {
            return Err(Error::invalid(format!("'{}' is no end", outcome.status.as_str())));
        }
        let (lease, clock) = (lease.clone(), Arc::clone(&self.clock));
        let finish = move |db: &_| lease::finish(db, &lease, &events, &outcome, clock.now());
        self.database.write("journal.finish", finish).await
    }

    async fn release(&self, lease: &Lease, not_before: Option<Timestamp>) -> Result<()> {
        let (lease, clock) = (lease.clone(), Arc::clone(&self.clock));
        let release = move |db: &_| lease::release(db, &lease, not_before, clock.now());
        self.database.write("journal.release", release).await
    }

    async fn cancel(&self, tenant: &TenantId, id: &WorkId) -> Result<Status> {
        let (tenant, id, clock) = (tenant.clone(), id.clone(), Arc::clone(&self.clock));
        self.database.write("journal.cancel", move |db| lease::cancel(db, &tenant, &id, clock.now())).await
    }

    async fn events(&self, id: &WorkId, after: Seq, limit: usize) -> Result<Vec<JournalEvent>> {
        let id = id.clone();
        self.database.read("journal.events", move |db| rows::events(db, &id, after, limit)).await
    }
}

fn not_found(what: &str, id: impl std::fmt::Display) -> Failure {
    Error::not_found(format!("there is no {what} {id}")).into()
}
