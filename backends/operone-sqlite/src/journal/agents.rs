//! Agents in the journal's file.

use operone_core::Error;
use operone_core::clock::Timestamp;
use operone_core::id::{AgentId, TenantId};
use operone_core::journal::{AgentRecord, NewAgent};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{not_found, rows};
use crate::database::integer;
use crate::error::{Failure, corrupt};
use crate::json::{json, to_json};

/// Creates agents, all or none.
pub(super) fn create(db: &Connection, agents: &[NewAgent]) -> Result<(), Failure> {
    let mut statement = db.prepare_cached(
        "INSERT INTO agents (id, tenant, spec, created_at) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (id) DO NOTHING",
    )?;
    for agent in agents {
        let spec = to_json(&agent.spec, "the spec")?;
        let created_at = agent.created_at.as_millis();
        let created =
            statement.execute(params![agent.id.as_str(), agent.tenant.as_str(), spec, created_at])?;
        if created == 0 {
            return Err(Error::conflict(format!("there is an agent {} already", agent.id)).into());
        }
    }
    Ok(())
}

/// An agent of the tenant with its latest run.
pub(super) fn one(db: &Connection, tenant: &TenantId, id: &AgentId) -> Result<AgentRecord, Failure> {
    let mut statement =
        db.prepare_cached("SELECT id, spec, created_at FROM agents WHERE id = ?1 AND tenant = ?2")?;
    let found = statement
        .query_row(params![id.as_str(), tenant.as_str()], |row| Ok(agent_of(tenant, row)))
        .optional()?;
    let agent = found.unwrap_or_else(|| Err(not_found("agent", id)))?;
    Ok(AgentRecord::new(agent, rows::latest_run(db, id)?))
}

/// Agents of the tenant, newest first, from the one before `before`.
pub(super) fn page(
    db: &Connection,
    tenant: &TenantId,
    before: Option<&AgentId>,
    limit: usize,
) -> Result<Vec<AgentRecord>, Failure> {
    let (created_at, number) = match before {
        Some(id) => place(db, tenant, id)?,
        None => (i64::MAX, i64::MAX),
    };
    let mut statement = db.prepare_cached(
        "SELECT id, spec, created_at FROM agents WHERE tenant = ?1 AND (created_at, number) < (?2, ?3)
         ORDER BY created_at DESC, number DESC LIMIT ?4",
    )?;
    let mut rows = statement.query(params![tenant.as_str(), created_at, number, integer(limit)])?;
    let mut page = Vec::new();
    while let Some(row) = rows.next()? {
        let agent = agent_of(tenant, row)?;
        let run = rows::latest_run(db, &agent.id)?;
        page.push(AgentRecord::new(agent, run));
    }
    Ok(page)
}

/// Removes an agent with everything of it.
pub(super) fn delete(db: &Connection, tenant: &TenantId, id: &AgentId) -> Result<(), Failure> {
    one(db, tenant, id)?;
    let open: bool = db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM work
             WHERE agent = ?1 AND status IN ('queued', 'running', 'waiting_approval'))",
        )?
        .query_row(params![id.as_str()], |row| row.get(0))?;
    if open {
        let message = format!("agent {id} has a run that has not ended");
        return Err(Error::conflict(message).with_code("running").into());
    }
    for sql in [
        "DELETE FROM approvals WHERE work IN (SELECT number FROM work WHERE agent = ?1)",
        "DELETE FROM work_events WHERE work IN (SELECT number FROM work WHERE agent = ?1)",
        "DELETE FROM work WHERE agent = ?1",
        "DELETE FROM agents WHERE id = ?1",
    ] {
        db.prepare_cached(sql)?.execute(params![id.as_str()])?;
    }
    Ok(())
}

fn place(db: &Connection, tenant: &TenantId, id: &AgentId) -> Result<(i64, i64), Failure> {
    let mut statement =
        db.prepare_cached("SELECT created_at, number FROM agents WHERE id = ?1 AND tenant = ?2")?;
    let found = statement
        .query_row(params![id.as_str(), tenant.as_str()], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    found.ok_or_else(|| not_found("agent", id))
}

fn agent_of(tenant: &TenantId, row: &Row<'_>) -> Result<NewAgent, Failure> {
    let id = AgentId::new(row.get::<_, String>(0)?).map_err(|_| corrupt("an id"))?;
    let created_at = Timestamp::from_millis(row.get(2)?);
    Ok(NewAgent::new(id, tenant.clone(), json(row, 1, "a spec")?, created_at))
}
