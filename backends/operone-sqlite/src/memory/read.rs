//! Reading the log, single memories, and the names of scopes.

use operone_core::clock::Timestamp;
use operone_core::id::{MemoryId, TenantId};
use operone_core::memory::{Change, Entry, Record, Revision, Scope, ScopeKey};
use rusqlite::{Connection, OptionalExtension, params};

use super::find;
use crate::database::integer;
use crate::error::{Failure, corrupt};
use crate::json::json;

pub(super) fn scan(
    db: &Connection,
    scope: &ScopeKey,
    after: Revision,
    limit: usize,
) -> Result<Vec<Record>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT revision, id, kept, entry, entry IS NULL, tombstones.at FROM records
         LEFT JOIN tombstones ON tombstones.record = records.number
         WHERE scope = (SELECT number FROM scopes WHERE tenant = ?1 AND scope = ?2) AND revision > ?3
         ORDER BY revision LIMIT ?4",
    )?;
    let (tenant, scope) = (scope.tenant.as_str(), scope.scope.as_str());
    let mut rows = statement.query(params![tenant, scope, integer(after.0), integer(limit)])?;
    let mut records = Vec::new();
    while let Some(row) = rows.next()? {
        let id = MemoryId::new(row.get::<_, String>(1)?).map_err(|_| corrupt("an id"))?;
        let change = if row.get(2)? {
            Change::Written(Box::new(json(row, 3, "a memory")?))
        } else if row.get(4)? {
            // Tombstones of the first schema have no time.
            Change::Erased(Timestamp::from_millis(row.get::<_, Option<i64>>(5)?.unwrap_or_default()))
        } else {
            Change::Blank
        };
        records.push(Record::new(Revision(row.get(0)?), id, change));
    }
    Ok(records)
}

/// The current version of a memory and the record that holds it.
pub(super) fn current(db: &Connection, scope: i64, id: &MemoryId) -> Result<Option<(i64, Entry)>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT number, entry FROM records WHERE id = ?1 AND scope = ?2 AND entry IS NOT NULL AND kept = 1
         ORDER BY number DESC LIMIT 1",
    )?;
    let mut rows = statement.query(params![id.as_str(), scope])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    Ok(Some((row.get(0)?, json(row, 1, "a memory")?)))
}

pub(super) fn get(db: &Connection, scope: &ScopeKey, id: &MemoryId) -> Result<Option<Entry>, Failure> {
    let Some(found) = find(db, scope)? else { return Ok(None) };
    Ok(current(db, found.number, id)?.map(|(_, entry)| entry))
}

pub(super) fn history(db: &Connection, scope: &ScopeKey, id: &MemoryId) -> Result<Vec<Entry>, Failure> {
    let Some(found) = find(db, scope)? else { return Ok(Vec::new()) };
    let mut statement = db.prepare_cached(
        "SELECT entry FROM records WHERE id = ?1 AND scope = ?2 AND entry IS NOT NULL AND kept = 1
         ORDER BY number",
    )?;
    let mut rows = statement.query(params![id.as_str(), found.number])?;
    let mut versions = Vec::new();
    while let Some(row) = rows.next()? {
        versions.push(json(row, 0, "a memory")?);
    }
    Ok(versions)
}

pub(super) fn locate(db: &Connection, tenant: &TenantId, id: &MemoryId) -> Result<Option<ScopeKey>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT scopes.scope FROM records JOIN scopes ON scopes.number = records.scope
         WHERE records.id = ?2 AND records.entry IS NOT NULL AND records.kept = 1 AND scopes.tenant = ?1
         ORDER BY records.number LIMIT 1",
    )?;
    let found = statement.query_row(params![tenant.as_str(), id.as_str()], |row| row.get::<_, String>(0));
    let Some(name) = found.optional()? else { return Ok(None) };
    Ok(Some(ScopeKey::new(tenant.clone(), scope_of(name)?)))
}

pub(super) fn derived(
    db: &Connection,
    tenant: &TenantId,
    from: &[MemoryId],
) -> Result<Vec<(ScopeKey, MemoryId)>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT scopes.scope, records.id FROM origins
         JOIN records ON records.number = origins.record JOIN scopes ON scopes.number = records.scope
         WHERE origins.origin = ?2 AND scopes.tenant = ?1",
    )?;
    let mut found = Vec::new();
    for origin in from {
        let mut rows = statement.query(params![tenant.as_str(), origin.as_str()])?;
        while let Some(row) = rows.next()? {
            let id = MemoryId::new(row.get::<_, String>(1)?).map_err(|_| corrupt("an id"))?;
            found.push((ScopeKey::new(tenant.clone(), scope_of(row.get(0)?)?), id));
        }
    }
    found.sort_unstable();
    found.dedup();
    Ok(found)
}

pub(super) fn scopes(
    db: &Connection,
    tenant: &TenantId,
    after: Option<&Scope>,
    limit: usize,
) -> Result<Vec<Scope>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT scope FROM scopes WHERE tenant = ?1 AND scope > ?2 ORDER BY scope LIMIT ?3",
    )?;
    let after = after.map(Scope::as_str).unwrap_or_default();
    let mut rows = statement.query(params![tenant.as_str(), after, integer(limit)])?;
    let mut scopes = Vec::new();
    while let Some(row) = rows.next()? {
        scopes.push(scope_of(row.get(0)?)?);
    }
    Ok(scopes)
}

pub(super) fn tenants(
    db: &Connection,
    after: Option<&TenantId>,
    limit: usize,
) -> Result<Vec<TenantId>, Failure> {
    let mut statement =
        db.prepare_cached("SELECT DISTINCT tenant FROM scopes WHERE tenant > ?1 ORDER BY tenant LIMIT ?2")?;
    let mut rows =
        statement.query(params![after.map(TenantId::as_str).unwrap_or_default(), integer(limit)])?;
    let mut tenants = Vec::new();
    while let Some(row) = rows.next()? {
        tenants.push(TenantId::new(row.get::<_, String>(0)?).map_err(|_| corrupt("a tenant"))?);
    }
    Ok(tenants)
}

pub(super) fn mark(db: &Connection, scope: &ScopeKey, name: &str) -> Result<u64, Failure> {
    let Some(found) = find(db, scope)? else { return Ok(0) };
    let mut statement = db.prepare_cached("SELECT number FROM marks WHERE scope = ?1 AND name = ?2")?;
    let number = statement.query_row(params![found.number, name], |row| row.get(0)).optional()?;
    Ok(number.unwrap_or_default())
}

fn scope_of(name: String) -> Result<Scope, Failure> {
    Ok(Scope::new(name).map_err(|_| corrupt("a scope"))?)
}
