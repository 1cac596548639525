//! The rows of the journal's tables as the contract's values.

use operone_core::clock::Timestamp;
use operone_core::id::{AgentId, TenantId, WorkId};
use operone_core::journal::{JournalEvent, NewEvent, NewWork, Page, Seq, Status, Work, WorkKind};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::not_found;
use crate::database::integer;
use crate::error::{Failure, corrupt};
use crate::json::{json, optional_json};

/// The columns that [`work_of`] reads, in its order.
const WORK_COLUMNS: &str = "id, kind, tenant, agent, spec, created_at, status, attempts, last_seq, \
     cancel_requested, snapshot, outcome, updated_at";

/// A run or job of the tenant.
pub(super) fn work(db: &Connection, tenant: &TenantId, id: &WorkId) -> Result<Work, Failure> {
    let sql = format!("SELECT {WORK_COLUMNS} FROM work WHERE id = ?1 AND tenant = ?2");
    let mut statement = db.prepare_cached(&sql)?;
    let found =
        statement.query_row(params![id.as_str(), tenant.as_str()], |row| Ok(work_of(row))).optional()?;
    found.unwrap_or_else(|| Err(not_found("work", id)))
}

/// The latest run of an agent.
pub(super) fn latest_run(db: &Connection, agent: &AgentId) -> Result<Option<Work>, Failure> {
    let sql = format!("SELECT {WORK_COLUMNS} FROM work WHERE agent = ?1 ORDER BY number DESC LIMIT 1");
    let mut statement = db.prepare_cached(&sql)?;
    statement.query_row(params![agent.as_str()], |row| Ok(work_of(row))).optional()?.transpose()
}

/// The events of a work after `after`, oldest first.
pub(super) fn events(
    db: &Connection,
    id: &WorkId,
    after: Seq,
    page: Page,
) -> Result<Vec<JournalEvent>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT seq, time, kind, payload FROM work_events
         WHERE work = (SELECT number FROM work WHERE id = ?1) AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = statement.query(params![id.as_str(), integer(after), integer(page.limit)])?;
    let (mut events, mut bytes) = (Vec::new(), 0_usize);
    while let Some(row) = rows.next()? {
        let payload = row.get_ref(3)?.as_bytes_or_null().map_err(rusqlite::Error::from)?;
        bytes = bytes.saturating_add(payload.map_or(0, <[u8]>::len));
        if bytes > page.bytes && !events.is_empty() {
            break;
        }
        let event = NewEvent::new(row.get::<_, String>(2)?, json(row, 3, "a payload")?);
        events.push(JournalEvent::new(row.get(0)?, Timestamp::from_millis(row.get(1)?), event));
    }
    Ok(events)
}

fn work_of(row: &Row<'_>) -> Result<Work, Failure> {
    let text = |column: usize| row.get::<_, String>(column);
    let mut new = NewWork::new(
        WorkId::new(text(0)?).map_err(|_| corrupt("an id"))?,
        WorkKind::new(text(1)?),
        TenantId::new(text(2)?).map_err(|_| corrupt("a tenant"))?,
        json(row, 4, "a spec")?,
        Timestamp::from_millis(row.get(5)?),
    );
    if let Some(agent) = row.get::<_, Option<String>>(3)? {
        new = new.with_agent(AgentId::new(agent).map_err(|_| corrupt("an id"))?);
    }
    let mut work = Work::queued(new);
    work.status = Status::parse(&text(6)?).ok_or_else(|| corrupt("a status"))?;
    work.attempts = row.get(7)?;
    work.last_seq = row.get(8)?;
    work.cancel_requested = row.get(9)?;
    work.snapshot = optional_json(row, 10, "a snapshot")?;
    work.outcome = optional_json(row, 11, "an outcome")?;
    work.updated_at = Timestamp::from_millis(row.get(12)?);
    Ok(work)
}
