//! The life of a work in the journal's file: queued, leased, written to under the lease, ended.
//!
//! Every write under a lease updates the work's row where epoch and status still fit, before anything else: a
//! lease that was lost changes no row.

use operone_core::Error;
use operone_core::clock::Timestamp;
use operone_core::error::{ErrorKind, ErrorReport};
use operone_core::id::{TenantId, WorkId};
use operone_core::journal::{
    Append, Appended, Claim, Claimed, Lease, NewEvent, NewWork, Outcome, Renewed, Seq, Status, Work,
};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::rows;
use crate::database::integer;
use crate::error::Failure;
use crate::json::to_json;

/// Work that a claim may lease.
#[derive(Clone, Debug)]
pub(super) struct Due {
    number: i64,
    id: String,
    tenant: String,
    created_at: i64,
    attempts: u32,
    epoch: u64,
}

pub(super) fn enqueue(db: &Connection, work: NewWork) -> Result<Work, Failure> {
    if let Some(id) = &work.agent {
        let record = super::agents::one(db, &work.tenant, id)?;
        if !work.behind && record.run.is_some_and(|run| !run.status.is_terminal()) {
            let message = format!("agent {id} has a run that has not ended");
            return Err(Error::conflict(message).with_code("already_running").into());
        }
    }
    let queued = Work::queued(work);
    let work = &queued.new;
    let mut statement = db.prepare_cached(
        "INSERT INTO work (id, kind, tenant, agent, spec, created_at, status, updated_at, snapshot)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9) ON CONFLICT (id) DO NOTHING",
    )?;
    let snapshot = queued.snapshot.as_ref().map(|snapshot| to_json(snapshot, "the snapshot")).transpose()?;
    let created = statement.execute(params![
        work.id.as_str(),
        work.kind.as_str(),
        work.tenant.as_str(),
        work.agent.as_ref().map(|id| id.as_str()),
        to_json(&work.spec, "the spec")?,
        work.created_at.as_millis(),
        queued.status.as_str(),
        queued.updated_at.as_millis(),
        snapshot,
    ])?;
    if created == 0 {
        return Err(Error::conflict(format!("there is work {} already", work.id)).into());
    }
    Ok(queued)
}

/// The oldest work that fits the claim and is due.
pub(super) fn oldest_due(db: &Connection, claim: &Claim, now: Timestamp) -> Result<Option<Due>, Failure> {
    let mut statement = db.prepare_cached(
        "SELECT number, id, tenant, created_at, attempts, epoch FROM work
         WHERE kind = ?1 AND status IN ('queued', 'running', 'waiting_approval')
           AND coalesce(lease_until, not_before, ?2) <= ?2 AND (?3 IS NULL OR id = ?3)
           AND (agent IS NULL OR NOT EXISTS (
                SELECT 1 FROM work AS earlier
                WHERE earlier.agent = work.agent AND earlier.number < work.number
                  AND earlier.status IN ('queued', 'running', 'waiting_approval')))
         ORDER BY created_at, number LIMIT 1",
    )?;
    let id = claim.work.as_ref().map(|id| id.as_str());
    let mut oldest: Option<Due> = None;
    for kind in &claim.kinds {
        let found = statement.query_row(params![kind.as_str(), now.as_millis(), id], due_of).optional()?;
        let older = |due: &Due| oldest.as_ref().is_none_or(|oldest| due.place() < oldest.place());
        if let Some(due) = found.filter(older) {
            oldest = Some(due);
        }
    }
    Ok(oldest)
}

pub(super) fn claim(db: &Connection, claim: &Claim, now: Timestamp) -> Result<Option<Claimed>, Failure> {
    while let Some(due) = oldest_due(db, claim, now)? {
        if due.attempts >= claim.max_attempts {
            let report = ErrorReport::new(ErrorKind::Internal, "crash_loop", "the work was tried too often");
            let outcome = Outcome::failed(report);
            end_unrun(db, due.number, &outcome, now)?;
            continue;
        }
        let mut statement = db.prepare_cached(
            "UPDATE work SET status = 'running', epoch = epoch + 1, attempts = attempts + 1, holder = ?2,
                    lease_until = ?3, not_before = NULL, updated_at = ?4
             WHERE number = ?1",
        )?;
        let lease_until = now.plus(claim.lease_for).as_millis();
        statement.execute(params![due.number, claim.holder, lease_until, now.as_millis()])?;
        let (tenant, id) = (TenantId::new(due.tenant)?, WorkId::new(due.id)?);
        let work = rows::work(db, &tenant, &id)?;
        return Ok(Some(Claimed::new(Lease::new(id, due.epoch + 1), work)));
    }
    Ok(None)
}

pub(super) fn renew(db: &Connection, lease: &Lease, until: Timestamp) -> Result<Renewed, Failure> {
    let mut statement = db.prepare_cached(
        "UPDATE work SET lease_until = ?3 WHERE id = ?1 AND epoch = ?2 AND status = 'running'
         RETURNING cancel_requested",
    )?;
    let held = params![lease.work.as_str(), integer(lease.epoch), until.as_millis()];
    let cancel_requested = statement.query_row(held, |row| row.get(0)).optional()?;
    Ok(Renewed::new(cancel_requested.ok_or_else(|| lost(lease))?))
}

pub(super) fn append(
    db: &Connection,
    lease: &Lease,
    append: &Append,
    now: Timestamp,
) -> Result<Appended, Failure> {
    let Append { events, unless_cancelled, .. } = append;
    let mut statement = db.prepare_cached(
        "UPDATE work SET last_seq = last_seq + ?3, snapshot = coalesce(?4, snapshot), updated_at = ?5,
                attempts = CASE WHEN ?3 > 0 THEN 1 ELSE attempts END
         WHERE id = ?1 AND epoch = ?2 AND status = 'running' AND NOT (?6 AND cancel_requested)
         RETURNING number, last_seq, cancel_requested",
    )?;
    let held = params![
        lease.work.as_str(),
        integer(lease.epoch),
        integer(events.len()),
        snapshot_of(append)?,
        now.as_millis(),
        unless_cancelled,
    ];
    let row = statement.query_row(held, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).optional()?;
    let Some((number, last_seq, cancel_requested)) = row else {
        held_number(db, lease)?;
        let message = format!("the end of {} was asked for", lease.work);
        return Err(Error::conflict(message).with_code("cancel_requested").into());
    };
    insert(db, number, lease.epoch, last_seq, events, now)?;
    Ok(Appended::new(last_seq, cancel_requested))
}

pub(super) fn finish(
    db: &Connection,
    lease: &Lease,
    append: &Append,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Seq, Failure> {
    end(db, held_number(db, lease)?, append, outcome, now)
}

/// The number of the work that the lease is still good for.
fn held_number(db: &Connection, lease: &Lease) -> Result<i64, Failure> {
    let mut statement =
        db.prepare_cached("SELECT number FROM work WHERE id = ?1 AND epoch = ?2 AND status = 'running'")?;
    let held = params![lease.work.as_str(), integer(lease.epoch)];
    statement.query_row(held, |row| row.get(0)).optional()?.ok_or_else(|| lost(lease))
}

/// Gives a lease back with its attempt; the work is due at `due_at`, or at once.
pub(super) fn give_back(
    db: &Connection,
    lease: &Lease,
    status: Status,
    due_at: Option<Timestamp>,
    now: Timestamp,
) -> Result<(), Failure> {
    let mut statement = db.prepare_cached(
        "UPDATE work SET status = ?3, attempts = max(attempts - 1, 0), holder = NULL, lease_until = NULL,
                not_before = ?4, updated_at = ?5
         WHERE id = ?1 AND epoch = ?2 AND status = 'running'",
    )?;
    let due_at = due_at.map(Timestamp::as_millis);
    let held = params![lease.work.as_str(), integer(lease.epoch), status.as_str(), due_at, now.as_millis()];
    if statement.execute(held)? == 0 { Err(lost(lease)) } else { Ok(()) }
}

pub(super) fn cancel(
    db: &Connection,
    tenant: &TenantId,
    id: &WorkId,
    now: Timestamp,
) -> Result<Status, Failure> {
    let status = rows::work(db, tenant, id)?.status;
    if status.is_terminal() {
        return Ok(status);
    }
    let mut statement = db.prepare_cached(
        "UPDATE work SET cancel_requested = 1, updated_at = ?2 WHERE id = ?1 RETURNING number",
    )?;
    let number: i64 = statement.query_row(params![id.as_str(), now.as_millis()], |row| row.get(0))?;
    if status == Status::Running {
        return Ok(status);
    }
    end_unrun(db, number, &Outcome::new(Status::Cancelled), now)?;
    Ok(Status::Cancelled)
}

/// Ends a work with an end that nobody ran.
fn end_unrun(db: &Connection, number: i64, outcome: &Outcome, now: Timestamp) -> Result<Seq, Failure> {
    end(db, number, &Append::new(vec![outcome.end_event()]), outcome, now)
}

/// Ends a work for good. The caller has made sure that it may.
fn end(
    db: &Connection,
    number: i64,
    append: &Append,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Seq, Failure> {
    let mut statement = db.prepare_cached(
        "UPDATE work SET status = ?2, outcome = ?3, last_seq = last_seq + ?4, holder = NULL, lease_until = NULL,
                not_before = NULL, updated_at = ?5, snapshot = coalesce(?6, snapshot)
         WHERE number = ?1 RETURNING epoch, last_seq",
    )?;
    let ended = params![
        number,
        outcome.status.as_str(),
        to_json(outcome, "the outcome")?,
        integer(append.events.len()),
        now.as_millis(),
        snapshot_of(append)?,
    ];
    let (epoch, last_seq) = statement.query_row(ended, |row| Ok((row.get(0)?, row.get(1)?)))?;
    insert(db, number, epoch, last_seq, &append.events, now)?;
    Ok(last_seq)
}

fn snapshot_of(append: &Append) -> Result<Option<String>, Failure> {
    append.snapshot.as_ref().map(|snapshot| to_json(snapshot, "the snapshot")).transpose()
}

/// Writes the events whose numbers were taken already and end with `last_seq`.
fn insert(
    db: &Connection,
    work: i64,
    epoch: u64,
    last_seq: Seq,
    events: &[NewEvent],
    now: Timestamp,
) -> Result<(), Failure> {
    let mut statement = db.prepare_cached(
        "INSERT INTO work_events (work, seq, epoch, kind, payload, time) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    let first = last_seq + 1 - events.len() as u64;
    for (seq, event) in (first..).zip(events) {
        let payload = to_json(&event.payload, "the payload")?;
        let time = now.as_millis();
        statement.execute(params![work, integer(seq), integer(epoch), event.kind, payload, time])?;
    }
    Ok(())
}

fn lost(lease: &Lease) -> Failure {
    Error::conflict(format!("the lease of {} is lost", lease.work)).with_code("lease_lost").into()
}

impl Due {
    fn place(&self) -> (i64, i64) {
        (self.created_at, self.number)
    }
}

fn due_of(row: &Row<'_>) -> rusqlite::Result<Due> {
    Ok(Due {
        number: row.get(0)?,
        id: row.get(1)?,
        tenant: row.get(2)?,
        created_at: row.get(3)?,
        attempts: row.get(4)?,
        epoch: row.get(5)?,
    })
}
