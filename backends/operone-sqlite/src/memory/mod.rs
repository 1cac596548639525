//! The memory store in a database file: an append log per scope, from which erased text is gone.

mod erase;
mod read;
mod write;

use std::path::Path;

use async_trait::async_trait;
use operone_core::Result;
use operone_core::clock::Timestamp;
use operone_core::id::{MemoryId, TenantId};
use operone_core::memory::{Batch, Entry, Erased, MemoryStore, Receipt, Record, Revision, Scope, ScopeKey};
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::Database;
use crate::error::Failure;
use crate::schema::Schema;

const SCHEMA: Schema = Schema {
    migrations: &[
        include_str!("../../migrations/memory-1.sql"),
        include_str!("../../migrations/memory-2.sql"),
    ],
    page_size: 4096,
    durable: true,
    secure_delete: true,
};

/// How much of the file the writing connection keeps in memory at most.
const CACHE_KIBIBYTES: i64 = 64 * 1024;
/// How many pages the log has before it is copied into the file.
const LOG_PAGES: i64 = 8_000;

/// A memory store in one file. Clones share it.
///
/// What was acknowledged survives the end of the process and a loss of power. What was erased is overwritten, in
/// the file and in its log, before [`MemoryStore::erase`] returns; copies that the file system or the device keeps
/// of overwritten blocks are beyond its reach. Several processes may have the file open: their writes wait for each
/// other, and each sees what the others have acknowledged.
#[derive(Clone, Debug)]
pub struct SqliteMemoryStore {
    database: Database,
}

impl SqliteMemoryStore {
    /// Opens the file and creates it where it is missing. A file of an earlier version is brought up to date.
    ///
    /// Blocks for a few writes to the disk; meant for the start of a program. A damaged file is `Internal` with
    /// code `corrupt`, one of a newer version `Unsupported` with code `newer_data`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let prepare = |db: &Connection| {
            // The index of contents is written all over: its pages stay in memory, and are copied into the file seldom.
            db.pragma_update(None, "cache_size", -CACHE_KIBIBYTES)?;
            db.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
            write::enter_contents(db)?;
            // An erasure that was cut off between its commit and the end of the log is made up for here. Where
            // another process is reading, the erasure's own caller has to.
            db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
        };
        Ok(Self { database: Database::open(path.as_ref(), SCHEMA, prepare)? })
    }
}

#[async_trait]
impl MemoryStore for SqliteMemoryStore {
    async fn write(&self, scope: &ScopeKey, batch: Batch) -> Result<Receipt> {
        let scope = scope.clone();
        self.database.write("memory.write", move |db| write::write(db, &scope, &batch)).await
    }

    async fn scan(&self, scope: &ScopeKey, after: Revision, limit: usize) -> Result<Vec<Record>> {
        let scope = scope.clone();
        self.database.read("memory.scan", move |db| read::scan(db, &scope, after, limit)).await
    }

    async fn get(&self, scope: &ScopeKey, id: &MemoryId) -> Result<Option<Entry>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.database.read("memory.get", move |db| read::get(db, &scope, &id)).await
    }

    async fn history(&self, scope: &ScopeKey, id: &MemoryId) -> Result<Vec<Entry>> {
        let (scope, id) = (scope.clone(), id.clone());
        self.database.read("memory.history", move |db| read::history(db, &scope, &id)).await
    }

    async fn locate(&self, tenant: &TenantId, id: &MemoryId) -> Result<Option<ScopeKey>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.database.read("memory.locate", move |db| read::locate(db, &tenant, &id)).await
    }

    async fn derived(&self, tenant: &TenantId, from: &[MemoryId]) -> Result<Vec<(ScopeKey, MemoryId)>> {
        let (tenant, from) = (tenant.clone(), from.to_vec());
        self.database.read("memory.derived", move |db| read::derived(db, &tenant, &from)).await
    }

    async fn erase(&self, scope: &ScopeKey, ids: &[MemoryId], at: Timestamp) -> Result<Erased> {
        let (scope, ids) = (scope.clone(), ids.to_vec());
        let job = move |db: &Connection| erase::erase(db, &scope, &ids, at);
        self.database.write_and_purge("memory.erase", job).await
    }

    async fn revision(&self, scope: &ScopeKey) -> Result<Revision> {
        let scope = scope.clone();
        let revision = move |db: &_| Ok(find(db, &scope)?.map(|found| found.revision).unwrap_or_default());
        self.database.read("memory.revision", revision).await
    }

    async fn scopes(&self, tenant: &TenantId, after: Option<&Scope>, limit: usize) -> Result<Vec<Scope>> {
        let (tenant, after) = (tenant.clone(), after.cloned());
        self.database.read("memory.scopes", move |db| read::scopes(db, &tenant, after.as_ref(), limit)).await
    }

    async fn tenants(&self, after: Option<&TenantId>, limit: usize) -> Result<Vec<TenantId>> {
        let after = after.cloned();
        self.database.read("memory.tenants", move |db| read::tenants(db, after.as_ref(), limit)).await
    }

    async fn mark(&self, scope: &ScopeKey, name: &str) -> Result<u64> {
        let (scope, name) = (scope.clone(), name.to_owned());
        self.database.read("memory.mark", move |db| read::mark(db, &scope, &name)).await
    }
}

/// A row of `scopes`.
struct Found {
    number: i64,
    revision: Revision,
}

fn find(db: &Connection, scope: &ScopeKey) -> Result<Option<Found>, Failure> {
    let mut statement =
        db.prepare_cached("SELECT number, revision FROM scopes WHERE tenant = ?1 AND scope = ?2")?;
    let found = statement.query_row(params![scope.tenant.as_str(), scope.scope.as_str()], |row| {
        Ok(Found { number: row.get(0)?, revision: Revision(row.get(1)?) })
    });
    Ok(found.optional()?)
}

fn set_revision(db: &Connection, scope: i64, revision: Revision) -> Result<(), Failure> {
    let mut statement = db.prepare_cached("UPDATE scopes SET revision = ?2 WHERE number = ?1")?;
    statement.execute(params![scope, crate::database::integer(revision.0)])?;
    Ok(())
}

/// What `contents` keeps of [`Entry::content_key`]: the same bits, with a sign.
fn content_number(entry: &Entry) -> i64 {
    i64::from_be_bytes(entry.content_key().to_be_bytes())
}
