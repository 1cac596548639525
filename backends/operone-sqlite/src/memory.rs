//! The memory store in a database file: an append log per scope, from which erased text is gone.

use std::path::Path;

use async_trait::async_trait;
use operone_core::Result;
use operone_core::id::{MemoryId, TenantId};
use operone_core::memory::{Entry, MemoryStore, Record, Revision, Scope, ScopeKey};
use rusqlite::{Connection, OptionalExtension, params};

use crate::database::{Database, integer};
use crate::error::{Failure, corrupt};
use crate::json::{json, to_json};
use crate::schema::Schema;

const SCHEMA: Schema = Schema {
    migrations: &[include_str!("../migrations/memory-1.sql")],
    page_size: 4096,
    durable: true,
    secure_delete: true,
};

/// A memory store in one file. Clones share it.
///
/// What was acknowledged survives the end of the process and a loss of power. What was erased is overwritten, in
/// the file and in its log, before [`MemoryStore::erase`] returns; copies that the file system or the device keeps
/// of overwritten blocks are beyond its reach.
#[derive(Clone, Debug)]
pub struct SqliteMemoryStore {
    database: Database,
}

impl SqliteMemoryStore {
    /// Opens the file and creates it where it is missing.
    ///
    /// Blocks for a few writes to the disk; meant for the start of a program. A damaged file is `Internal` with
    /// code `corrupt`, one of a newer version `Unsupported` with code `newer_data`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        // An erasure that was cut off between its commit and the end of the log is made up for here.
        let empty_log = |db: &Connection| db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        Ok(Self { database: Database::open(path.as_ref(), SCHEMA, empty_log)? })
    }
}

#[async_trait]
impl MemoryStore for SqliteMemoryStore {
    async fn append(&self, scope: &ScopeKey, entries: Vec<Entry>) -> Result<Revision> {
        if entries.is_empty() {
            return self.revision(scope).await;
        }
        let scope = scope.clone();
        self.database.write("memory.append", move |db| append(db, &scope, &entries)).await
    }

    async fn scan(&self, scope: &ScopeKey, after: Revision, limit: usize) -> Result<Vec<Record>> {
        let scope = scope.clone();
        self.database.read("memory.scan", move |db| scan(db, &scope, after, limit)).await
    }

    async fn get(&self, tenant: &TenantId, id: &MemoryId) -> Result<Option<(ScopeKey, Entry)>> {
        let (tenant, id) = (tenant.clone(), id.clone());
        self.database.read("memory.get", move |db| get(db, &tenant, &id)).await
    }

    async fn erase(&self, scope: &ScopeKey, ids: &[MemoryId]) -> Result<(Revision, usize)> {
        let (scope, ids) = (scope.clone(), ids.to_vec());
        self.database.write_and_purge("memory.erase", move |db| erase(db, &scope, &ids)).await
    }

    async fn revision(&self, scope: &ScopeKey) -> Result<Revision> {
        let scope = scope.clone();
        let revision = move |db: &_| Ok(find(db, &scope)?.map(|found| found.revision).unwrap_or_default());
        self.database.read("memory.revision", revision).await
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

fn find_or_create(db: &Connection, scope: &ScopeKey) -> Result<Found, Failure> {
    if let Some(found) = find(db, scope)? {
        return Ok(found);
    }
    let mut statement = db.prepare_cached("INSERT INTO scopes (tenant, scope) VALUES (?1, ?2)")?;
    let number = statement.insert(params![scope.tenant.as_str(), scope.scope.as_str()])?;
    Ok(Found { number, revision: Revision(0) })
}

fn append(db: &Connection, scope: &ScopeKey, entries: &[Entry]) -> Result<Revision, Failure> {
    let Found { number, mut revision } = find_or_create(db, scope)?;
    let mut statement = db.prepare_cached(
        "INSERT INTO records (scope, revision, id, kept, entry) VALUES (?1, ?2, ?3, 1, ?4)
         ON CONFLICT (id, scope) WHERE entry IS NOT NULL DO NOTHING",
    )?;
    for entry in entries {
        let json = to_json(entry, "the entry")?;
        let added = statement.execute(params![
            number,
            integer(revision.0 + 1),
            entry.id.as_str(),
            json.as_bytes()
        ])?;
        revision.0 += added as u64;
    }
    set_revision(db, number, revision)?;
    Ok(revision)
}

fn erase(db: &Connection, scope: &ScopeKey, ids: &[MemoryId]) -> Result<(Revision, usize), Failure> {
    let Some(Found { number, mut revision }) = find(db, scope)? else { return Ok((Revision(0), 0)) };
    // Zeros of the same length overwrite the row in its place. A shorter row could make SQLite merge pages, which
    // leaves copies of neighbours where `secure_delete` does not reach.
    let mut overwrite = db.prepare_cached(
        "UPDATE records SET kept = 0, entry = zeroblob(length(entry))
         WHERE id = ?1 AND scope = ?2 AND entry IS NOT NULL AND kept = 1",
    )?;
    let mut bury = db.prepare_cached(
        "INSERT INTO records (scope, revision, id, kept, entry) VALUES (?1, ?2, ?3, 0, NULL)",
    )?;
    let before = revision;
    for id in ids {
        if overwrite.execute(params![id.as_str(), number])? > 0 {
            revision.0 += 1;
            bury.execute(params![number, integer(revision.0), id.as_str()])?;
        }
    }
    set_revision(db, number, revision)?;
    Ok((revision, usize::try_from(revision.0 - before.0).unwrap_or(usize::MAX)))
}

fn set_revision(db: &Connection, scope: i64, revision: Revision) -> Result<(), Failure> {
    let mut statement = db.prepare_cached("UPDATE scopes SET revision = ?2 WHERE number = ?1")?;
    statement.execute(params![scope, integer(revision.0)])?;
    Ok(())
}

fn scan(db: &Connection, scope: &ScopeKey, after: Revision, limit: usize) -> Result<Vec<Record>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT revision, id, kept, entry FROM records
         WHERE scope = (SELECT number FROM scopes WHERE tenant = ?1 AND scope = ?2) AND revision > ?3
         ORDER BY revision LIMIT ?4",
    )?;
    let (tenant, scope) = (scope.tenant.as_str(), scope.scope.as_str());
    let mut rows = statement.query(params![tenant, scope, integer(after.0), integer(limit)])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let id = MemoryId::new(row.get::<_, String>(1)?).map_err(|_| corrupt("an id"))?;
        let entry = if row.get(2)? { Some(json(row, 3, "a memory")?) } else { None };
        records.push(Record::new(Revision(row.get(0)?), id, entry));
    }
    Ok(records)
}

fn get(db: &Connection, tenant: &TenantId, id: &MemoryId) -> Result<Option<(ScopeKey, Entry)>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT scopes.scope, records.entry FROM records JOIN scopes ON scopes.number = records.scope
         WHERE records.id = ?2 AND records.entry IS NOT NULL AND records.kept = 1 AND scopes.tenant = ?1
         ORDER BY records.number LIMIT 1",
    )?;
    let mut rows = statement.query(params![tenant.as_str(), id.as_str()])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let scope = Scope::new(row.get::<_, String>(0)?).map_err(|_| corrupt("a scope"))?;
    Ok(Some((ScopeKey::new(tenant.clone(), scope), json(row, 1, "a memory")?)))
}
